/* Is the loss of a log-server's disk bearable? See storage_loss.h. */
#include "bifrost/storage_loss.h"

#include <stdio.h>

#include "bifrost/replicated_params.h"

static void put_nodes(struct writer *w, const struct nodeset *set, struct marks which)
{
    const char *comma = "";
    for (unsigned i = 0; i < set->len; i++) {
        if (!marks_has(which, i))
            continue;
        write_fmt(w, "%sN%u", comma, set->ids[i]);
        comma = ", ";
    }
    if (!*comma)
        write_fmt(w, "none");
}

static enum rc not_enough(const struct log_segment *s, const struct loglet_params *p, uint32_t log_id,
                          struct marks left, unsigned more, struct err *err)
{
    struct writer members = WRITER_INIT, holders = WRITER_INIT, copies = WRITER_INIT;
    struct marks all = {{UINT64_MAX, UINT64_MAX}};
    char others[48] = "";
    put_nodes(&members, &p->nodeset, all);
    put_nodes(&holders, &p->nodeset, left);
    replication_print(&copies, &p->replication);
    if (more)
        snprintf(others, sizeof(others), " (and of %u more segments)", more);
    enum rc rc = err_set(
        err, RC_UNAVAILABLE,
        "records of log %u, segment %u_%u%s may have had no other copy: replication %.*s on the "
        "nodes %.*s, of which %.*s still %s what was stored",
        log_id, log_id, s->index, others, SLICE_FMT(writer_slice(&copies)), SLICE_FMT(writer_slice(&members)),
        SLICE_FMT(writer_slice(&holders)), marks_count(left) == 1 ? "has" : "have");
    writer_free(&members);
    writer_free(&holders);
    writer_free(&copies);
    return rc;
}

/* Members that have what they acknowledged. */
static struct marks holders(const struct loglet_params *p, const struct quorum *q,
                            const struct storage_generations *g, uint32_t lost, uint32_t log_id,
                            uint32_t index)
{
    struct marks m = {{0}};
    for (unsigned i = 0; i < p->nodeset.len; i++) {
        uint32_t id = p->nodeset.ids[i];
        if (id != lost && marks_has(q->authoritative, i) &&
            !storage_generation_lost(storage_generation_of(g, id), log_id, index))
            marks_add(&m, i);
    }
    return m;
}

enum rc storage_loss_check(const struct nodes_config *nodes, const struct logs_config *logs,
                           const struct storage_generations *g, uint32_t node, struct err *err)
{
    struct node_directory directory = {0};
    const struct log_segment *first = NULL;
    struct loglet_params p, first_params;
    struct marks first_left = {{0}};
    uint32_t first_log = 0;
    unsigned n = 0;
    enum rc rc = RC_OK;
    node_directory_add(&directory, nodes);
    /* A node that was disabled or removed by force while it was in the node set does not make the rest know
     * more. */
    for (size_t i = 0; i < directory.len; i++) {
        if (directory.nodes[i].storage == STORAGE_DISABLED)
            directory.nodes[i].storage = STORAGE_DATA_LOSS;
        directory.nodes[i].removed = false;
    }
    for (size_t i = 0; i < logs->n_chains && rc == RC_OK; i++) {
        const struct log_chain *chain = &logs->chains[i];
        for (size_t k = 0; k < chain->n_segments && rc == RC_OK; k++) {
            const struct log_segment *s = &chain->segments[k];
            if (s->kind != SEGMENT_REPLICATED)
                continue;
            rc = loglet_params_decode(slice_cstr(s->params), &p, err);
            if (rc != RC_OK || nodeset_position(&p.nodeset, node) < 0)
                continue;
            struct quorum q;
            quorum_init(&q, &p.replication, &p.nodeset, &directory);
            struct marks left = holders(&p, &q, g, node, chain->log_id, s->index);
            if (quorum_is_f_majority(&q, left) || n++ > 0)
                continue;
            first = s;
            first_params = p;
            first_left = left;
            first_log = chain->log_id;
        }
    }
    node_directory_free(&directory);
    return rc == RC_OK && first ? not_enough(first, &first_params, first_log, first_left, n - 1, err) : rc;
}

void storage_loss_everything(struct arena *a, const struct logs_config *logs, struct storage_generation *out)
{
    out->n_lost = logs->n_chains;
    out->lost = arena_array(a, struct lost_log, logs->n_chains + 1);
    for (size_t i = 0; i < logs->n_chains; i++) {
        const struct log_chain *chain = &logs->chains[i];
        out->lost[i] = (struct lost_log){chain->log_id, chain->segments[chain->n_segments - 1].index};
    }
}
