/* Models of one segment: a sequencer, two sealers that repair, a reader, and log-servers. Each sealer may be
 * the one whose end of the segment the chain takes, so what holds for the decided end must hold for all ends
 * that were found. */
#include "sim/model_log.h"
#include "sim/models.h"

#define LOGLET 7

struct segment_case {
    struct ml_bounds bounds;
    unsigned sealers;
    bool reader;
    enum ml_mutation mutation;
};

/* ---- sealers ---- */

static void on_tail(void *ctx, const struct loglet_tail *t)
{
    struct ml_client *c = ctx;
    c->op = NULL;
    c->told = t->tail;
    c->timers_left = 0;
    ml_check_sealed(c, LOGLET, t->tail);
}

static void seal(struct ml_client *c, unsigned arg)
{
    struct ml_world *w = c->world;
    unsigned copies = w->copies;
    if (w->mutation == ML_SEAL_ON_TOO_FEW)
        copies++;
    if (w->mutation == ML_REPAIR_TOO_FEW)
        copies--;
    struct loglet_params p = ml_params(w, LOGLET, w->clients[0].me, copies);
    c->op = loglet_find_tail(&c->calls, &p, LOGLET_TAIL_SEAL, on_tail, c);
}

/* ---- reader: follows the tail that the sequencer committed, once ---- */

static void on_read(void *ctx, const struct loglet_read_result *r)
{
    struct ml_client *c = ctx;
    c->op = NULL;
    for (uint32_t i = 0; i < r->n; i++)
        ml_check_delivered(c, LOGLET, i + 1, bytes_slice(r->records[i]));
}

static void on_news(void *ctx, const struct loglet_watch_news *n)
{
    struct ml_client *c = ctx;
    struct loglet_params p = ml_params(c->world, LOGLET, c->world->clients[0].me, c->world->copies);
    uint64_t tail = n->committed_tail;
    if (tail == 1)
        return;
    loglet_op_cancel(c->op);
    c->op = loglet_read(&c->calls, &p, 1, tail - 1, 4096, tail, on_read, c);
}

static void read_tail(struct ml_client *c, unsigned arg)
{
    struct loglet_params p = ml_params(c->world, LOGLET, c->world->clients[0].me, c->world->copies);
    c->op = loglet_watch(&c->calls, &p, 1, on_news, c);
}

/* ---- */

static void run(struct explore *x, void *ctx)
{
    const struct segment_case *s = ctx;
    static const char *const names[] = {"sealer X", "sealer Y"};
    struct ml_world *w = ml_new(x, &s->bounds, s->mutation);
    struct ml_client *sequencer = ml_add_client(w, "sequencer");
    struct loglet_params p =
        ml_params(w, LOGLET, sequencer->me, w->copies - (s->mutation == ML_ACK_ONE_LESS ? 1 : 0));
    ml_add_loglet(w, &p);
    ml_start_sequencer(sequencer, &p, 1);
    for (unsigned i = 0; i < s->bounds.records; i++)
        ml_act(sequencer, ml_append, i + 1);
    for (unsigned i = 0; i < s->sealers; i++)
        ml_act(ml_add_client(w, names[i]), seal, 0);
    if (s->reader)
        ml_act(ml_add_client(w, "reader"), read_tail, 0);
    while (ml_step(w))
        ;
    ml_free(w);
}

static const struct segment_case cases[] = {
    {.bounds = {3, 2, 1, .delays = ML_ANY_ORDER, .limbo = 2}, .sealers = 1},
    {.bounds = {3, 2, 1, .delays = 3, .limbo = 2, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {3, 2, 3, .delays = 2, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {3, 2, 3, .delays = 1, .losses = 1, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {3, 2, 3, .losses = 1, .crashes = 1, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {3, 2, 1, .delays = 4, .limbo = 2, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {3, 2, 3, .delays = 3, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {3, 2, 3, .delays = 1, .losses = 1, .timers = 2, .sequencer_dies = true},
     .sealers = 2,
     .reader = true},
    {.bounds = {4, 2, 1, .delays = 2, .limbo = 3, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {5, 4, 1, .delays = 2, .limbo = 4, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {4, 2, 2, .delays = 1, .losses = 1, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {5, 4, 2, .delays = 1, .losses = 1, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {4, 2, 1, .delays = 3, .limbo = 3, .timers = 2}, .sealers = 2, .reader = true},
    {.bounds = {5, 4, 1, .delays = 3, .limbo = 4, .timers = 2}, .sealers = 2, .reader = true},
};
static const struct model_part parts[] = {
    {"segment", "any order; 1 record in limbo, 1 sealer", run, &cases[0], false},
    {"segment", "3 delays; 1 record in limbo, 2 sealers, reader", run, &cases[1], true},
    {"segment", "2 delays; 3 records, 2 sealers, reader", run, &cases[2], true},
    {"segment", "1 delay, 1 loss; 3 records, 2 sealers, reader", run, &cases[3], true},
    {"segment", "1 loss, 1 crash; 3 records, 2 sealers, reader", run, &cases[4], true},
    {"segment", "4 delays; 1 record in limbo, 2 sealers, reader", run, &cases[5], false},
    {"segment", "3 delays; 3 records, 2 sealers, reader", run, &cases[6], false},
    {"segment", "1 delay, 1 loss, the sequencer dies; 3 records, 2 sealers, reader", run, &cases[7], false},
    {"segment-4", "4 servers, R = 2; 2 delays; 1 record in limbo, 2 sealers, reader", run, &cases[8], true},
    {"segment-5", "5 servers, R = 4; 2 delays; 1 record in limbo, 2 sealers, reader", run, &cases[9], true},
    {"segment-4", "4 servers, R = 2; 1 delay, 1 loss; 2 records, 2 sealers, reader", run, &cases[10], false},
    {"segment-5", "5 servers, R = 4; 1 delay, 1 loss; 2 records, 2 sealers, reader", run, &cases[11], false},
    {"segment-4", "4 servers, R = 2; 3 delays; 1 record in limbo, 2 sealers, reader", run, &cases[12], false},
    {"segment-5", "5 servers, R = 4; 3 delays; 1 record in limbo, 2 sealers, reader", run, &cases[13], false},
};

static const struct segment_case wrongs[] = {
    {.bounds = {3, 2, 1, .losses = 2}, .sealers = 0, .mutation = ML_ACK_ONE_LESS},
    {.bounds = {3, 2, 1, .crashes = 1}, .sealers = 1, .mutation = ML_SEAL_FORGOTTEN},
    {.bounds = {3, 2, 1, .delays = 3}, .sealers = 1, .mutation = ML_SEAL_IGNORED},
    {.bounds = {3, 2, 1, .losses = 2}, .sealers = 1, .mutation = ML_SEAL_ON_TOO_FEW},
    {.bounds = {3, 2, 1, .losses = 2}, .sealers = 1, .mutation = ML_REPAIR_TOO_FEW},
    {.bounds = {3, 2, 1, .delays = 4, .timers = 2, .limbo = 2},
     .sealers = 2,
     .reader = true,
     .mutation = ML_REPAIR_RAISES_TRUST},
    {.bounds = {3, 2, 1, .losses = 0}, .sealers = 0, .mutation = ML_OTHER_BYTES},
    {.bounds = {4, 2, 1, .losses = 2}, .sealers = 1, .mutation = ML_SEAL_ON_TOO_FEW},
    {.bounds = {5, 4, 1, .delays = 4, .limbo = 2}, .sealers = 1, .mutation = ML_REPAIR_TOO_FEW},
};
static const struct model_mutation mutations[] = {
    {"segment", ML_ACK_ONE_LESS, run, &wrongs[0]},     {"segment", ML_SEAL_FORGOTTEN, run, &wrongs[1]},
    {"segment", ML_SEAL_IGNORED, run, &wrongs[2]},     {"segment", ML_SEAL_ON_TOO_FEW, run, &wrongs[3]},
    {"segment", ML_REPAIR_TOO_FEW, run, &wrongs[4]},   {"segment", ML_REPAIR_RAISES_TRUST, run, &wrongs[5]},
    {"segment", ML_OTHER_BYTES, run, &wrongs[6]},      {"segment-4", ML_SEAL_ON_TOO_FEW, run, &wrongs[7]},
    {"segment-5", ML_REPAIR_TOO_FEW, run, &wrongs[8]},
};

const struct model model_segment = {parts, ARRAY_LEN(parts), mutations, ARRAY_LEN(mutations),
                                    ml_mutation_name};
