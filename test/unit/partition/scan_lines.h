/* What a store holds as sorted lines of text: once through its ordinary functions, once through scans
 * (partition/scan.h). */
#pragma once
#include "partition/scan.h"
#include "unit/partition/store_fixture.h"

struct lines {
    struct {
        char **items;
        size_t len, cap;
    } v;
};

static inline void line_add(struct lines *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void line_add(struct lines *l, const char *fmt, ...)
{
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    VEC_PUSH(&l->v, xstrdup(text));
}

static inline int line_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void lines_sort(struct lines *l)
{
    if (l->v.len)
        qsort(l->v.items, l->v.len, sizeof(char *), line_order);
}

static inline void lines_free(struct lines *l)
{
    for (size_t i = 0; i < l->v.len; i++)
        free(l->v.items[i]);
    VEC_FREE(&l->v);
}

#define HASH_OF(s) (unsigned long long)hash64(s)

static inline void line_invocation(struct lines *l, const struct invocation *inv, bool journal)
{
    line_add(
        l,
        "inv %llx %d origin %llx awaiting %llx result %d %llx entries %zu events %zu commands %u purged %d",
        (unsigned long long)hash_id(inv->id), inv->status, HASH_OF(bytes_slice(inv->origin)),
        HASH_OF(bytes_slice(inv->awaiting.encoded)), inv->result.kind, HASH_OF(inv->result.value),
        inv->journal.len, inv->events.len, inv->commands, inv->journal_purged);
    for (size_t i = 0; journal && i < inv->journal.len; i++)
        line_add(l, "entry %llx %zu %x %llx %llx", (unsigned long long)hash_id(inv->id), i,
                 inv->journal.items[i].type, HASH_OF(bytes_slice(inv->journal.items[i].payload)),
                 HASH_OF(inv->journal.items[i].signal_name));
    for (size_t i = 0; journal && i < inv->events.len; i++)
        line_add(l, "event %llx %zu %llx", (unsigned long long)hash_id(inv->id), i,
                 HASH_OF(bytes_slice(inv->events.items[i].json)));
}

static inline void line_row(struct lines *l, enum scan_kind kind, const struct scan_row *r)
{
    line_add(l, "row %d %llx/%llx id %llx seq %llu %d name %llx value %zu %llx outcome %d %llx", kind,
             HASH_OF(r->service), HASH_OF(r->key), (unsigned long long)hash_id(r->id),
             (unsigned long long)r->seq, r->inbox, HASH_OF(r->name), r->value.len, HASH_OF(r->value),
             r->outcome.kind, HASH_OF(r->outcome.value));
}

/* Read the scan to its end and free it. */
static inline void lines_of_scan(struct lines *l, struct store_scan *c, enum scan_kind kind)
{
    const struct invocation *inv;
    struct scan_row row;
    if (kind == SCAN_INVOCATIONS || kind == SCAN_JOURNALS)
        while ((inv = store_scan_invocation(c)))
            line_invocation(l, inv, kind == SCAN_JOURNALS);
    else
        while (store_scan_row(c, &row))
            line_row(l, kind, &row);
    struct err err = {0};
    if (store_scan_error(c, &err) != RC_OK)
        fail_msg("%s", err.msg);
    store_scan_free(c);
    lines_sort(l);
}

struct expect {
    struct lines *l;
    enum scan_kind kind;
    const struct scan_filter *filter;
    struct slice service, key;
};

static inline bool expect_invocation(void *ctx, const struct invocation *inv)
{
    struct expect *x = ctx;
    if ((!x->filter->by_id || invocation_id_eq(inv->id, x->filter->id)) &&
        !(x->filter->live_only && inv->status == INV_COMPLETED))
        line_invocation(x->l, inv, x->kind == SCAN_JOURNALS);
    return true;
}

static inline bool expect_state(void *ctx, struct slice key, struct bytes value)
{
    struct expect *x = ctx;
    struct scan_row row = {.service = x->service, .key = x->key, .name = key, .value = bytes_slice(value)};
    line_row(x->l, x->kind, &row);
    return true;
}

/* The same of one object, straight from its memory: only for stores that have never written anything. */
static inline void expect_object(struct expect *x, const struct object *o)
{
    struct scan_row row = {.service = o->service, .key = o->key, .id = o->header.owner};
    if (x->kind == SCAN_LOCKS && o->header.locked)
        line_row(x->l, x->kind, &row);
    const struct omap *map = x->kind == SCAN_INBOX ? &o->inbox : &o->promises;
    for (struct omap_node *n = omap_first(map); n && x->kind != SCAN_LOCKS; n = omap_next(n)) {
        const struct row *r = CONTAINER_OF(n, struct row, node);
        if (r->wb.flags & WB_DEAD)
            continue;
        row = (struct scan_row){.service = o->service, .key = o->key};
        if (x->kind == SCAN_INBOX) {
            const struct inbox_row *i = CONTAINER_OF(r, struct inbox_row, row);
            row.seq = i->entry.seq;
            row.inbox = i->entry.kind;
            row.id = i->entry.id;
        } else {
            const struct promise_row *p = CONTAINER_OF(r, struct promise_row, row);
            row.name = p->key;
            row.outcome = p->outcome;
        }
        line_row(x->l, x->kind, &row);
    }
}

/* What a scan of `s` has to show. `s` keeps everything in memory. */
static inline void lines_expected(struct lines *l, struct partition_store *s, enum scan_kind kind,
                                  const struct scan_filter *filter)
{
    struct expect x = {l, kind, filter, SLICE_EMPTY, SLICE_EMPTY};
    if (kind == SCAN_INVOCATIONS || kind == SCAN_JOURNALS) {
        store_scan_invocations(s, expect_invocation, &x);
    } else {
        struct hmap_iter it;
        for (struct hmap_node *n = hmap_begin(&s->objects, &it); n; n = hmap_step(&s->objects, &it)) {
            const struct object *o = CONTAINER_OF(n, struct object, by_name);
            x.service = o->service;
            x.key = o->key;
            if (filter->by_object &&
                (!slice_eq(filter->service, o->service) || !slice_eq(filter->key, o->key)))
                continue;
            if (kind == SCAN_STATE)
                store_state_scan(s, o->service, o->key, expect_state, &x);
            else
                expect_object(&x, o);
        }
    }
    lines_sort(l);
}
