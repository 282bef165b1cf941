/* Model of a chain: the last segment holds records whose writer is gone, and two processes seal and extend at
 * once. Whoever finds the new last segment to be its own writes into it. */
#include "sim/model_log.h"
#include "sim/models.h"

#define LOG 3

struct chain_case {
    struct ml_bounds bounds;
    enum ml_mutation mutation;
};

static void on_extended(void *ctx, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct ml_client *c = ctx;
    struct loglet_params p;
    c->op = NULL;
    explore_note(c->world->x, "%s: %s", c->name, rc_name(rc));
    if (!chain)
        return;
    const struct chain_segment *last = &chain->segments[chain->len - 1];
    ASSERT(loglet_params_decode(bytes_slice(last->params), &p, NULL) == RC_OK);
    bool mine = node_ref_eq(p.sequencer, c->me);
    if (c->world->mutation == ML_CONFLICT_IS_SUCCESS && !mine) {
        p.sequencer = c->me;
        mine = true;
    }
    if (!mine)
        return;
    ml_start_sequencer(c, &p, last->base_lsn);
    ml_act(c, ml_append, 10 + c->index);
}

static void extend(struct ml_client *c, unsigned arg)
{
    struct replication r = replication_nodes((uint8_t)c->world->copies);
    struct extend_request request = {.calls = &c->calls,
                                     .store = &c->chains,
                                     .log_id = LOG,
                                     .expected_index = 0,
                                     .sequencer = c->me,
                                     .replication = &r};
    c->op = replicated_extend(&request, on_extended, c);
}

static void run(struct explore *x, void *ctx)
{
    const struct chain_case *s = ctx;
    struct ml_world *w = ml_new(x, &s->bounds, s->mutation);
    struct ml_client *old = ml_add_client(w, "old writer");
    struct loglet_params p = ml_params(w, chain_loglet_id(LOG, 0), old->me, w->copies);
    ml_add_loglet(w, &p);
    w->chain = chain_create(LOG, SEGMENT_REPLICATED, loglet_params_encode(&p));
    w->version = 1;
    ml_start_sequencer(old, &p, 1);
    old->timers_left = 0;
    for (unsigned i = 0; i < s->bounds.records; i++)
        ml_act(old, ml_append, i + 1);
    ml_act(ml_add_client(w, "extender X"), extend, 0);
    ml_act(ml_add_client(w, "extender Y"), extend, 0);
    while (ml_step(w))
        ;
    if (!explore_over(x))
        ml_check_end(w);
    ml_free(w);
}

static const struct chain_case cases[] = {
    {.bounds = {3, 2, 1, .delays = 2, .unknown = 2, .timers = 4}},
    {.bounds = {3, 2, 1, .delays = 1, .unknown = 2, .timers = 4, .limbo = 2}},
    {.bounds = {3, 2, 1, .delays = 3, .unknown = 2, .timers = 4}},
    {.bounds = {3, 2, 1, .delays = 3, .unknown = 2, .timers = 4, .limbo = 2}},
    {.bounds = {3, 2, 1, .delays = 1, .losses = 1, .crashes = 1, .unknown = 1, .timers = 4}},
};
static const struct model_part parts[] = {
    {"chain", "2 delays, 2 undecided swaps; 1 record", run, &cases[0], true},
    {"chain", "1 delay, 2 undecided swaps; 1 record in limbo", run, &cases[1], true},
    {"chain", "3 delays, 2 undecided swaps; 1 record", run, &cases[2], false},
    {"chain", "3 delays, 2 undecided swaps; 1 record in limbo", run, &cases[3], false},
    {"chain", "1 delay, 1 undecided swap, 1 loss, 1 crash; 1 record", run, &cases[4], false},
};

#define MUTATION(m)                                                                                          \
    &(const struct chain_case)                                                                               \
    {                                                                                                        \
        {3, 2, 1, .delays = 3, .unknown = 1, .timers = 3}, .mutation = m                                     \
    }
static const struct model_mutation mutations[] = {
    {"chain", ML_SWAP_BLIND, run, MUTATION(ML_SWAP_BLIND)},
    {"chain", ML_CONFLICT_IS_SUCCESS, run, MUTATION(ML_CONFLICT_IS_SUCCESS)},
};
const struct model model_chain = {parts, ARRAY_LEN(parts), mutations, ARRAY_LEN(mutations), ml_mutation_name};
