/* The oracle of the model of leadership, see model_leadership.h: P-1, P-2, P-3 and P-6 of spec/cluster.md
 * §11.2. */
#include "sim/model_leadership.h"

typedef unsigned long long ull;

/* P-1 */
void ld_check_owner(struct ld_world *w, uint64_t epoch, struct node_ref who, const char *what)
{
    ASSERT(epoch < LD_EPOCHS_MAX);
    struct node_ref *owner = &w->owners[epoch];
    if (owner->id && !node_ref_eq(*owner, who))
        explore_violated(w->x, "P-1: N%u:%u %s epoch %llu, which belongs to N%u:%u", who.id, who.generation,
                         what, (ull)epoch, owner->id, owner->generation);
    *owner = who;
}

static unsigned count(struct slice log, unsigned request)
{
    unsigned n = 0;
    for (size_t i = 0; i < log.len; i++)
        n += log.ptr[i] == '1' + request;
    return n;
}

/* P-6 */
void ld_check_object(struct ld_world *w)
{
    struct bytes now = BYTES_EMPTY;
    if (!store_state_get(w->store, SLICE_LIT("Object"), LD_KEY, LD_STATE, &now))
        now = BYTES_EMPTY;
    if (!slice_starts_with(bytes_slice(now), bytes_slice(w->object)))
        explore_violated(w->x, "P-6: the object was \"%.*s\" and is \"%.*s\"",
                         SLICE_FMT(bytes_slice(w->object)), SLICE_FMT(bytes_slice(now)));
    bytes_unref(&w->object);
    w->object = now;
    for (unsigned i = 0; i < w->scenario->requests; i++) {
        unsigned n = count(bytes_slice(now), i);
        if (n > 1 || (w->requests[i].done && n == 0))
            explore_violated(w->x, "P-6: request %u took effect %u times%s", i + 1, n,
                             w->requests[i].done ? " and was answered" : "");
    }
}

/* P-2: `h` as its proposer wrote it. */
void ld_check_accepted(struct ld_world *w, const struct record_header *h, const struct apply_result *r)
{
    if (h->dedup != DEDUP_SELF)
        return;
    bool announces = h->kind == CMD_ANNOUNCE_LEADER;
    if (announces && !r->skipped) {
        if (h->seq_hi <= w->epoch)
            explore_violated(w->x, "P-2: epoch %llu begins after epoch %llu", (ull)h->seq_hi, (ull)w->epoch);
        ld_check_owner(w, h->seq_hi, (struct node_ref){r->node_id, r->node_generation}, "announces");
        w->epoch = h->seq_hi;
        w->last_seq = 0;
    } else if (!announces) {
        if (!r->skipped && h->seq_hi != w->epoch)
            explore_violated(w->x, "P-2: a proposal of epoch %llu takes effect in epoch %llu", (ull)h->seq_hi,
                             (ull)w->epoch);
        bool good = h->seq_hi == w->epoch && h->seq_lo > w->last_seq;
        if (r->skipped == good)
            explore_violated(w->x,
                             "P-2: proposal %llu of epoch %llu %s effect; the last one of epoch %llu is %llu",
                             (ull)h->seq_lo, (ull)h->seq_hi, r->skipped ? "has no" : "takes", (ull)w->epoch,
                             (ull)w->last_seq);
        w->last_seq = r->skipped ? w->last_seq : h->seq_lo;
    }
}

/* P-3, and whoever leads has read its own announcement and no later one. */
void ld_check_node(struct ld_node *n)
{
    struct ld_world *w = n->world;
    const struct partition_vars *v = store_vars(processor_store(n->p));
    if (v->applied_lsn && v->state_hash != w->states[v->applied_lsn])
        explore_violated(w->x, "P-3: N%u differs behind LSN %llu", n->index + 1, (ull)v->applied_lsn);
    if (n->p->role == PROCESSOR_LEADER &&
        (v->leader_epoch != n->p->epoch || v->leader_node_id != n->index + 1 ||
         v->leader_node_generation != n->generation))
        explore_violated(w->x, "P-2: N%u leads with epoch %llu; it has read of epoch %llu", n->index + 1,
                         (ull)n->p->epoch, (ull)v->leader_epoch);
}
