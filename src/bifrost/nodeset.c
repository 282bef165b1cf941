/* Storage states, node sets and quorums: see nodeset.h. */
#include "bifrost/nodeset.h"

#include <stdlib.h>

#include "base/containers.h"

/* ---- nodes ---- */

bool storage_takes_writes(enum storage_state s)
{
    return s == STORAGE_READ_WRITE || s == STORAGE_READ_ONLY;
}

bool storage_wants_writes(enum storage_state s)
{
    return s == STORAGE_READ_WRITE;
}

bool storage_can_read(enum storage_state s)
{
    return s != STORAGE_DISABLED;
}

bool storage_authoritative(enum storage_state s)
{
    return s != STORAGE_DISABLED && s != STORAGE_DATA_LOSS;
}

bool location_parse(struct slice text, struct location *out)
{
    *out = (struct location){0};
    while (text.len > 0 && *text.ptr == ' ')
        text = slice_sub(text, 1, text.len - 1);
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    ptrdiff_t dot = slice_find(text, '.', 0);
    size_t region = dot < 0 ? text.len : (size_t)dot;
    struct slice zone = dot < 0 ? SLICE_EMPTY : slice_sub(text, region + 1, text.len - region - 1);
    if (region > LOCATION_LABEL_MAX || zone.len > LOCATION_LABEL_MAX || slice_find(zone, '.', 0) >= 0 ||
        (region == 0 && zone.len > 0))
        return false;
    if (region)
        memcpy(out->region, text.ptr, region);
    if (zone.len)
        memcpy(out->zone, zone.ptr, zone.len);
    return true;
}

void node_directory_free(struct node_directory *d)
{
    free(d->nodes);
    *d = (struct node_directory){0};
}

static size_t lower_bound(const struct node_directory *d, uint32_t id)
{
    size_t low = 0, high = d->len;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (d->nodes[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void node_directory_put(struct node_directory *d, const struct node_info *node)
{
    ASSERT(node->id > 0);
    size_t at = lower_bound(d, node->id);
    if (at == d->len || d->nodes[at].id != node->id) {
        if (d->len == d->cap)
            d->nodes = vec_grow(d->nodes, &d->cap, d->len + 1, sizeof(*d->nodes));
        memmove(&d->nodes[at + 1], &d->nodes[at], (d->len - at) * sizeof(*d->nodes));
        d->len++;
    }
    d->nodes[at] = *node;
}

void node_directory_add(struct node_directory *d, const struct nodes_config *c)
{
    for (size_t i = 0; i < c->n_nodes; i++) {
        const struct node_entry *e = &c->nodes[i];
        struct node_info info = {.id = e->id,
                                 .generation = e->generation,
                                 .storage = e->tombstone ? STORAGE_DISABLED : e->storage,
                                 .removed = e->tombstone};
        if (e->location)
            location_parse(slice_cstr(e->location), &info.location); /* none if it cannot be read */
        node_directory_put(d, &info);
    }
}

const struct node_info *node_directory_find(const struct node_directory *d, uint32_t id)
{
    size_t at = lower_bound(d, id);
    return at < d->len && d->nodes[at].id == id ? &d->nodes[at] : NULL;
}

enum storage_state node_directory_storage(const struct node_directory *d, uint32_t id)
{
    const struct node_info *n = node_directory_find(d, id);
    if (!n)
        return STORAGE_PROVISIONING;
    return n->removed ? STORAGE_DISABLED : n->storage;
}

enum liveness node_directory_liveness(const struct node_directory *d, uint32_t id)
{
    const struct node_info *n = node_directory_find(d, id);
    return n ? n->liveness : LIVENESS_UNKNOWN;
}

bool node_directory_superseded(const struct node_directory *d, struct node_ref ref)
{
    const struct node_info *n = node_directory_find(d, ref.id);
    return n && (n->removed || n->generation > ref.generation);
}

/* ---- node sets ---- */

bool nodeset_add(struct nodeset *s, uint32_t id)
{
    unsigned at = 0;
    while (at < s->len && s->ids[at] < id)
        at++;
    if (at < s->len && s->ids[at] == id)
        return true;
    if (s->len == NODESET_MAX)
        return false;
    memmove(&s->ids[at + 1], &s->ids[at], (s->len - at) * sizeof(s->ids[0]));
    s->ids[at] = id;
    s->len++;
    return true;
}

int nodeset_position(const struct nodeset *s, uint32_t id)
{
    for (unsigned i = 0; i < s->len; i++) {
        if (s->ids[i] == id)
            return (int)i;
    }
    return -1;
}

bool nodeset_eq(const struct nodeset *a, const struct nodeset *b)
{
    return a->len == b->len && memcmp(a->ids, b->ids, a->len * sizeof(a->ids[0])) == 0;
}

/* ---- quorums ---- */

static bool same_domain(const struct location *a, const struct location *b, enum location_scope scope)
{
    return strcmp(a->region, b->region) == 0 && (scope == SCOPE_REGION || strcmp(a->zone, b->zone) == 0);
}

static bool has_label(const struct location *l, enum location_scope scope)
{
    return l->region[0] && (scope == SCOPE_REGION || l->zone[0]);
}

/* Number the domains of one scope in order of first appearance. */
static void number_domains(struct quorum *q, enum location_scope scope, const struct nodeset *set,
                           const struct node_directory *d)
{
    for (unsigned i = 0; i < set->len; i++) {
        q->domain[scope][i] = QUORUM_NO_DOMAIN;
        if (!marks_has(q->effective, i))
            continue;
        if (scope == SCOPE_NODE) {
            q->domain[scope][i] = (uint8_t)q->n_domains[scope]++;
            continue;
        }
        const struct node_info *node = node_directory_find(d, set->ids[i]);
        if (!node || !has_label(&node->location, scope))
            continue;
        for (unsigned j = 0; j < i && q->domain[scope][i] == QUORUM_NO_DOMAIN; j++) {
            if (q->domain[scope][j] != QUORUM_NO_DOMAIN &&
                same_domain(&node_directory_find(d, set->ids[j])->location, &node->location, scope))
                q->domain[scope][i] = q->domain[scope][j];
        }
        if (q->domain[scope][i] == QUORUM_NO_DOMAIN)
            q->domain[scope][i] = (uint8_t)q->n_domains[scope]++;
    }
}

void quorum_init(struct quorum *q, const struct replication *r, const struct nodeset *set,
                 const struct node_directory *d)
{
    ASSERT(set->len <= NODESET_MAX);
    *q = (struct quorum){.replication = *r, .len = set->len, .all_provisioning = true};
    for (unsigned i = 0; i < set->len; i++) {
        enum storage_state s = node_directory_storage(d, set->ids[i]);
        if (s == STORAGE_DISABLED)
            continue;
        marks_add(&q->effective, i);
        q->all_provisioning &= s == STORAGE_PROVISIONING;
        if (storage_authoritative(s))
            marks_add(&q->authoritative, i);
        if (storage_takes_writes(s))
            marks_add(&q->writable, i);
    }
    for (int s = 0; s < SCOPES; s++)
        number_domains(q, (enum location_scope)s, set, d);
}

void quorum_lose(struct quorum *q, struct marks lost)
{
    q->authoritative = marks_minus(q->authoritative, lost);
    q->writable = marks_minus(q->writable, lost);
}

bool quorum_is_write(const struct quorum *q, struct marks m)
{
    m = marks_and(m, q->effective);
    for (int s = 0; s < SCOPES; s++) {
        unsigned need = replication_at(&q->replication, (enum location_scope)s), touched = 0;
        struct marks seen = {{0}};
        for (unsigned i = 0; i < q->len && need > 0; i++) {
            uint8_t d = q->domain[s][i];
            if (!marks_has(m, i) || d == QUORUM_NO_DOMAIN || marks_has(seen, d))
                continue;
            marks_add(&seen, d);
            touched++;
        }
        if (touched < need)
            return false;
    }
    return true;
}

bool quorum_is_best_write(const struct quorum *q, struct marks m)
{
    if (quorum_is_write(q, q->writable))
        return quorum_is_write(q, m);
    return !marks_empty(q->writable) && marks_empty(marks_minus(q->writable, m));
}

/* A domain counts only when all its effective nodes are in `m`: a single node of a zone proves nothing about
 * the zone. */
static bool f_majority_at(const struct quorum *q, enum location_scope scope, struct marks m)
{
    unsigned need = replication_at(&q->replication, scope);
    if (need == 0)
        return false;
    struct marks incomplete = {{0}};
    for (unsigned i = 0; i < q->len; i++) {
        if (q->domain[scope][i] != QUORUM_NO_DOMAIN && !marks_has(m, i))
            marks_add(&incomplete, q->domain[scope][i]);
    }
    unsigned complete = q->n_domains[scope] - marks_count(incomplete);
    /* With fewer domains than copies nothing was ever written; still somebody has to answer. */
    unsigned enough = q->n_domains[scope] >= need ? q->n_domains[scope] - need + 1 : 1;
    return complete >= enough;
}

bool quorum_is_f_majority(const struct quorum *q, struct marks m)
{
    for (int s = 0; s < SCOPES; s++) {
        if (f_majority_at(q, (enum location_scope)s, m))
            return true;
    }
    return false;
}

enum quorum_authority quorum_authority(const struct quorum *q, struct marks m)
{
    if (quorum_is_f_majority(q, marks_and(m, q->authoritative)))
        return AUTHORITY_SUCCESS;
    if (quorum_is_f_majority(q, marks_and(m, q->effective)))
        return AUTHORITY_WITH_RISK;
    if (!marks_empty(q->authoritative) && marks_empty(marks_minus(q->authoritative, m)))
        return AUTHORITY_BEST_EFFORT;
    return AUTHORITY_NONE;
}

static int compare_sizes(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return x < y ? -1 : x > y;
}

/* Fewest nodes whose loss leaves less than `need` domains of the scope that can be written. */
static int losses_to_stop_writes(const struct quorum *q, enum location_scope scope)
{
    unsigned need = replication_at(&q->replication, scope), size[NODESET_MAX] = {0}, n = 0;
    if (need == 0)
        return NODESET_MAX + 1;
    for (unsigned i = 0; i < q->len; i++) {
        if (marks_has(q->writable, i) && q->domain[scope][i] != QUORUM_NO_DOMAIN)
            size[q->domain[scope][i]]++;
    }
    for (unsigned i = 0; i < q->n_domains[scope]; i++) {
        if (size[i] > 0)
            size[n++] = size[i];
    }
    if (n < need)
        return 0;
    qsort(size, n, sizeof(size[0]), compare_sizes);
    unsigned losses = 0;
    for (unsigned i = 0; i < n - need + 1; i++)
        losses += size[i];
    return (int)losses;
}

struct quorum_tolerance quorum_tolerance(const struct quorum *q)
{
    int losses = NODESET_MAX + 1;
    for (int s = 0; s < SCOPES; s++)
        losses = MIN(losses, losses_to_stop_writes(q, (enum location_scope)s));
    /* What stops a seal is exactly the loss of a write quorum, and the smallest one has `copies` members,
     * unless there is none at all. */
    int sealable = quorum_is_write(q, q->effective) ? (int)replication_copies(&q->replication) - 1
                                                    : (int)marks_count(q->effective) - 1;
    return (struct quorum_tolerance){losses - 1, sealable};
}
