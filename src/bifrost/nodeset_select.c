/* Choice of the node set of a new segment (spec/cluster.md §5.3): see nodeset_select in nodeset.h. */
#include <stdlib.h>

#include "base/hash.h"
#include "bifrost/nodeset.h"

struct candidate {
    const struct node_info *node;
    uint64_t rank[4]; /* lower is better, first differing one decides */
    bool chosen;
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    for (size_t i = 0; i < ARRAY_LEN(x->rank); i++) {
        if (x->rank[i] != y->rank[i])
            return x->rank[i] < y->rank[i] ? -1 : 1;
    }
    return x->node->id < y->node->id ? -1 : 1;
}

/* Nodes that are alive first, then the sequencer's own, the old set's, and the rest by rendezvous hashing, so
 * that the choice is stable and spread over the nodes. */
static size_t list_candidates(const struct node_directory *d, const struct nodeset_wish *wish,
                              struct candidate *out)
{
    size_t n = 0;
    for (size_t i = 0; i < d->len; i++) {
        const struct node_info *node = &d->nodes[i];
        if (node->removed || !storage_wants_writes(node->storage))
            continue;
        bool old = wish->preferred && nodeset_position(wish->preferred, node->id) >= 0;
        uint64_t key[2] = {wish->salt, node->id};
        out[n++] = (struct candidate){node,
                                      {node->liveness == LIVENESS_DEAD, node->id != wish->sequencer, !old,
                                       hash64(slice_make(key, sizeof(key)))},
                                      false};
    }
    qsort(out, n, sizeof(*out), compare_candidates);
    return n;
}

static bool same_label(const struct location *a, const struct location *b, enum location_scope scope)
{
    return strcmp(a->region, b->region) == 0 && (scope == SCOPE_REGION || strcmp(a->zone, b->zone) == 0);
}

static bool labelled(const struct location *l, enum location_scope scope)
{
    return l->region[0] && (scope == SCOPE_REGION || l->zone[0]);
}

/* Chosen candidates in the same domain as `c`. */
static unsigned crowd(const struct candidate *all, size_t n, const struct candidate *c,
                      enum location_scope scope)
{
    unsigned count = 0;
    for (size_t i = 0; i < n; i++)
        count += all[i].chosen && labelled(&all[i].node->location, scope) &&
                 same_label(&all[i].node->location, &c->node->location, scope);
    return count;
}

/* Is the domain of `c` at some scope short of the nodes that let it take part in every write quorum? */
static bool domain_is_short(const struct candidate *all, size_t n, const struct candidate *c,
                            const struct replication *r)
{
    for (int s = SCOPE_ZONE; s < SCOPES; s++) {
        unsigned factor = r->copies[s];
        if (factor && labelled(&c->node->location, (enum location_scope)s) &&
            crowd(all, n, c, (enum location_scope)s) < replication_copies(r) - factor + 1)
            return true;
    }
    return false;
}

/* The candidate of the emptiest region, then zone; earlier ones win ties. */
static struct candidate *next_candidate(struct candidate *all, size_t n, const struct replication *r,
                                        bool only_short)
{
    struct candidate *best = NULL;
    unsigned best_crowd[2] = {0, 0};
    for (size_t i = 0; i < n; i++) {
        struct candidate *c = &all[i];
        if (c->chosen || (only_short && !domain_is_short(all, n, c, r)))
            continue;
        unsigned region = r->copies[SCOPE_REGION] ? crowd(all, n, c, SCOPE_REGION) : 0;
        unsigned zone = r->copies[SCOPE_ZONE] ? crowd(all, n, c, SCOPE_ZONE) : 0;
        if (!best || region < best_crowd[0] || (region == best_crowd[0] && zone < best_crowd[1])) {
            best = c;
            best_crowd[0] = region;
            best_crowd[1] = zone;
        }
    }
    return best;
}

enum rc nodeset_select(const struct node_directory *d, const struct nodeset_wish *wish, struct nodeset *out,
                       struct err *err)
{
    *out = (struct nodeset){.len = 0};
    unsigned copies = replication_copies(&wish->replication);
    unsigned target = MIN(MAX(MAX(wish->target_size, 2 * copies - 1), copies + 1), (unsigned)NODESET_MAX);
    struct candidate *all = xcalloc(d->len + 1, sizeof(*all));
    size_t n = list_candidates(d, wish, all);
    struct candidate *c;
    while (out->len < NODESET_MAX &&
           (c = next_candidate(all, n, &wish->replication, out->len >= target)) != NULL) {
        c->chosen = true;
        nodeset_add(out, c->node->id);
    }
    free(all);
    struct quorum q;
    quorum_init(&q, &wish->replication, out, d);
    if (quorum_is_write(&q, q.writable))
        return RC_OK;
    out->len = 0;
    struct writer text = WRITER_INIT;
    replication_print(&text, &wish->replication);
    enum rc rc = err_set(err, RC_UNAVAILABLE,
                         "Insufficient writeable nodes in the nodeset: %zu candidates for replication %.*s",
                         n, SLICE_FMT(writer_slice(&text)));
    writer_free(&text);
    return rc;
}
