/* Counters, rules and lines of scoped invocations: see limits.h. */
#include <stdlib.h>

#include "partition/limits_internal.h"
#include "partition/limits_mutations.h"
#include "wire/command.h"

/* ---- lines ---- */

static const struct fair *fair_of(const struct omap_node *n)
{
    return CONTAINER_OF(n, struct fair, node);
}

static int fair_cmp(const struct omap_node *a, const struct omap_node *b)
{
    const struct fair *x = fair_of(a), *y = fair_of(b);
    if (x->tag != y->tag)
        return x->tag < y->tag ? -1 : 1;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* `f` stands in the line where its best one would; NULL: it has none and does not stand there. */
static void place(struct omap *line, struct fair *f, const struct fair *best)
{
    if (f->linked && best && f->tag == best->tag && f->seq == best->seq)
        return;
    if (f->linked)
        omap_remove(line, &f->node);
    f->linked = best != NULL;
    if (!best)
        return;
    f->tag = best->tag;
    f->seq = best->seq;
    struct omap_node *there = omap_insert(line, &f->node);
    ASSERT_MSG(!there, "two entries with one sequence number");
}

bool limits_full(const struct limit_node *n)
{
    return n->usage >= n->limit && !(LIMITS_BROKEN(LEVEL2_FREE) && n->depth == 2);
}

static void place_node(struct limits *l, struct limit_node *n)
{
    place(n->parent ? &n->parent->ready : &l->runnable, &n->fair,
          limits_full(n) ? NULL : limits_first(&n->ready));
}

/* After a change of usage or of a line at `n`. */
static void place_path(struct limits *l, struct limit_node *n)
{
    for (; n; n = n->parent)
        place_node(l, n);
}

/* ---- rules ---- */

static int rule_cmp(const void *key, const void *rule)
{
    return slice_cmp(*(const struct slice *)key, ((const struct rule *)rule)->pattern);
}

/* The rule of highest rank for the counter: literals count 4 for the scope, 2 and 1 for the levels (§12.5).
 */
static const struct rule *rule_for(const struct limits *l, const struct limit_node *n)
{
    struct slice names[DEPTHS] = {0};
    for (const struct limit_node *at = n; at; at = at->parent)
        names[at->depth] = at->name;
    for (unsigned rank = 8; rank-- > 0;) {
        unsigned literals = LIMITS_BROKEN(RANK) ? 7 - rank : rank;
        uint8_t text[PATTERN_MAX];
        size_t len = 0;
        bool possible = true;
        for (unsigned d = 0; d < DEPTHS; d++) {
            bool literal = literals & (4u >> d);
            possible = possible && (d <= n->depth || !literal);
            if (d > n->depth || !possible)
                continue;
            struct slice part = literal ? names[d] : SLICE_LIT("*");
            if (d)
                text[len++] = '/';
            memcpy(text + len, part.ptr, part.len);
            len += part.len;
        }
        struct slice pattern = slice_make(text, len);
        const struct rule *r = possible && l->n_rules
                                   ? bsearch(&pattern, l->rules, l->n_rules, sizeof(*l->rules), rule_cmp)
                                   : NULL;
        if (r)
            return r;
    }
    return NULL;
}

static void resolve(struct limits *l, struct limit_node *n)
{
    const struct rule *r = rule_for(l, n);
    n->limit = r ? r->limit : NO_LIMIT;
    n->pattern = r ? r->pattern : SLICE_EMPTY;
}

static void resolve_below(struct limits *l, struct limit_node *n)
{
    for (struct omap_node *c = omap_first(&n->children); c; c = omap_next(c))
        resolve_below(l, limit_node_of(c));
    resolve(l, n);
    place_node(l, n);
}

void limits_set_rules(struct limits *l, struct bytes encoded)
{
    struct bytes old = l->encoded;
    struct rule *old_rules = l->rules;
    l->encoded = bytes_ref(encoded);
    l->n_rules = 0;
    struct cmd_rule_book book;
    struct reader r = reader_make(bytes_slice(encoded));
    bool ok = cmd_rule_book_read(&r, &book);
    ASSERT(ok);
    l->rules = xcalloc(book.n_rules + 1, sizeof(*l->rules));
    struct slice pattern;
    uint32_t limit;
    while (cmd_rule_book_next(&book, &pattern, &limit))
        l->rules[l->n_rules++] = (struct rule){pattern, limit};
    for (struct omap_node *n = omap_first(&l->scopes); n && !LIMITS_BROKEN(RULES_LATER); n = omap_next(n))
        resolve_below(l, limit_node_of(n));
    free(old_rules);
    bytes_unref(&old);
}

/* ---- counters ---- */

static int name_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(limit_node_of(a)->name, limit_node_of(b)->name);
}

static int name_key_cmp(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, limit_node_of(n)->name);
}

static int service_cmp(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(limit_flow_of(a)->service, limit_flow_of(b)->service);
}

static int service_key_cmp(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, limit_flow_of(n)->service);
}

static struct limit_node *node_get(struct limits *l, struct limit_node *parent, struct slice name)
{
    struct omap *in = parent ? &parent->children : &l->scopes;
    struct omap_node *there = omap_find(in, &name, name_key_cmp);
    if (there)
        return limit_node_of(there);
    ASSERT(name.len <= LABEL_MAX);
    struct limit_node *n = xcalloc(1, sizeof(*n));
    n->parent = parent;
    n->depth = parent ? parent->depth + 1 : 0;
    n->fair.kind = FAIR_NODE;
    memcpy(n->text, name.ptr, name.len);
    n->name = slice_make(n->text, name.len);
    omap_init(&n->children, name_cmp);
    omap_init(&n->flows, service_cmp);
    omap_init(&n->ready, fair_cmp);
    omap_insert(in, &n->by_name);
    resolve(l, n);
    return n;
}

static struct limit_node *node_at(struct limits *l, const struct limit_address *a)
{
    struct limit_node *n = node_get(l, NULL, a->scope);
    if (a->l1.ptr)
        n = node_get(l, n, a->l1);
    if (a->l1.ptr && a->l2.ptr)
        n = node_get(l, n, a->l2);
    return n;
}

/* Counters that count nothing go, from the deepest on. */
static void node_release(struct limits *l, struct limit_node *n)
{
    while (n && n->usage == 0 && n->waiting == 0) {
        struct limit_node *parent = n->parent;
        ASSERT(!n->children.count && !n->flows.count && !n->fair.linked);
        omap_remove(parent ? &parent->children : &l->scopes, &n->by_name);
        free(n);
        n = parent;
    }
}

static void count_usage(struct limit_node *n, int by)
{
    for (; n; n = n->parent)
        n->usage += (uint32_t)by;
}

/* ---- flows ---- */

static void place_flow(struct limit_flow *f)
{
    place(&f->node->ready, &f->fair, f->paused ? NULL : limits_first(&f->entries));
}

void limits_node_address(const struct limit_node *n, struct limit_address *out)
{
    struct slice *levels[DEPTHS] = {&out->scope, &out->l1, &out->l2};
    *out = (struct limit_address){0};
    for (; n; n = n->parent)
        *levels[n->depth] = n->name;
}

static struct limit_flow *flow_get(struct limits *l, struct limit_node *n, struct slice service)
{
    struct omap_node *there = omap_find(&n->flows, &service, service_key_cmp);
    if (there)
        return limit_flow_of(there);
    struct limit_flow *f = xcalloc(1, sizeof(*f) + service.len);
    f->node = n;
    f->fair.kind = FAIR_FLOW;
    if (service.len)
        memcpy(f->text, service.ptr, service.len);
    f->service = slice_make(f->text, service.len);
    omap_init(&f->entries, fair_cmp);
    omap_insert(&n->flows, &f->by_service);
    struct limit_address a;
    limits_node_address(n, &a);
    a.service = f->service;
    f->paused = limits_address_paused(l, &a);
    return f;
}

static void hold(struct limits *l, struct limit_entry *e, struct limit_flow *f)
{
    e->held = true;
    e->flow = f;
    e->fair.kind = FAIR_ENTRY;
    e->fair.linked = true;
    struct omap_node *there = omap_insert(&f->entries, &e->fair.node);
    ASSERT_MSG(!there, "two entries with one sequence number");
    for (struct limit_node *n = f->node; n; n = n->parent)
        n->waiting++;
    l->held++;
    limits_place_flow(l, f);
}

/* Out of its line; the caller sees to the counters. */
static void unhold(struct limits *l, struct limit_entry *e)
{
    struct limit_flow *f = e->flow;
    omap_remove(&f->entries, &e->fair.node);
    e->fair.linked = e->held = false;
    e->flow = NULL;
    for (struct limit_node *n = f->node; n; n = n->parent)
        n->waiting--;
    l->held--;
    place_flow(f);
    if (f->entries.count == 0) {
        omap_remove(&f->node->flows, &f->by_service);
        free(f);
    }
}

/* The tag of whoever is next in line where the entry stands. */
static uint64_t virtual_time(const struct limit_node *n)
{
    for (; n; n = n->parent) {
        const struct fair *next = limits_first(&n->ready);
        if (next)
            return next->tag;
    }
    return 0;
}

static bool has_room(const struct limit_node *n)
{
    for (; n; n = n->parent) {
        if (limits_full(n) || (!n->parent && n->fair.linked)) /* those that may run already come first */
            return false;
    }
    return true;
}

void limits_place_flow(struct limits *l, struct limit_flow *f)
{
    place_flow(f);
    place_path(l, f->node);
}

/* ---- entries ---- */

bool limits_enter(struct limits *l, struct limit_entry *e, const struct limit_address *a, uint64_t seq,
                  bool woken)
{
    struct limit_node *n = node_at(l, a);
    e->node = n;
    e->flow = NULL;
    e->held = false;
    e->fair = (struct fair){.kind = FAIR_ENTRY, .seq = seq, .tag = virtual_time(n)};
    if (!limits_address_paused(l, a) && has_room(n)) {
        count_usage(n, 1);
        place_path(l, n);
        return true;
    }
    struct limit_flow *f = flow_get(l, n, a->service);
    struct omap_node *last = f->entries.root ? omap_last(&f->entries) : NULL;
    if (last && !woken)
        e->fair.tag = MAX(e->fair.tag, fair_of(last)->tag + 1);
    hold(l, e, f);
    return false;
}

void limits_restore(struct limits *l, struct limit_entry *e, const struct limit_address *a)
{
    e->node = node_at(l, a);
    e->flow = NULL;
    e->fair.kind = FAIR_ENTRY;
    e->fair.linked = false;
    if (e->held) {
        hold(l, e, flow_get(l, e->node, a->service));
    } else if (!LIMITS_BROKEN(SLOT_LOST)) {
        count_usage(e->node, 1);
        place_path(l, e->node);
    }
}

void limits_leave(struct limits *l, struct limit_entry *e)
{
    if (e->held)
        unhold(l, e);
    else
        count_usage(e->node, -1);
    place_path(l, e->node);
    node_release(l, e->node);
    e->node = NULL;
}

struct limit_entry *limits_next(struct limits *l)
{
    const struct fair *f = limits_first(&l->runnable);
    if (!f)
        return NULL;
    while (f->kind != FAIR_ENTRY) /* down the tree, always to the first in line */
        f = f->kind == FAIR_NODE ? limits_first(&CONTAINER_OF(f, struct limit_node, fair)->ready)
                                 : limits_first(&CONTAINER_OF(f, struct limit_flow, fair)->entries);
    struct limit_entry *e = CONTAINER_OF(f, struct limit_entry, fair);
    unhold(l, e);
    count_usage(e->node, 1);
    place_path(l, e->node);
    return e;
}

bool limits_any_next(const struct limits *l)
{
    return l->runnable.root != NULL;
}

size_t limits_held(const struct limits *l)
{
    return l->held;
}

void limits_address(const struct limit_entry *e, struct limit_address *out)
{
    limits_node_address(e->node, out);
    if (e->flow)
        out->service = e->flow->service;
}

/* ---- life ---- */

struct limits *limits_new(void)
{
    struct limits *l = xcalloc(1, sizeof(*l));
    limits_pauses_init(l);
    omap_init(&l->scopes, name_cmp);
    omap_init(&l->runnable, fair_cmp);
    return l;
}

static void node_free(struct limit_node *n)
{
    while (n->children.root) {
        struct limit_node *c = limit_node_of(n->children.root);
        omap_remove(&n->children, &c->by_name);
        node_free(c);
    }
    while (n->flows.root) {
        struct limit_flow *f = limit_flow_of(n->flows.root);
        omap_remove(&n->flows, &f->by_service);
        free(f);
    }
    free(n);
}

void limits_free(struct limits *l)
{
    while (l->scopes.root) {
        struct limit_node *n = limit_node_of(l->scopes.root);
        omap_remove(&l->scopes, &n->by_name);
        node_free(n);
    }
    limits_pauses_free(l);
    free(l->rules);
    bytes_unref(&l->encoded);
    free(l);
}
