/* Model of leadership: steps and cases, see model_leadership.h. */
#include "sim/model_leadership.h"

#include <stdlib.h>

#include "base/hash.h"
#include "sim/models.h"

#define OPTIONS_MAX 64

static const char *wrong_name(unsigned wrong)
{
    switch ((enum ld_wrong)wrong) {
    case RIGHT:
        return "nothing";
    case CLAIM_TIMEOUT:
        return "an undecided claim is taken for ours";
    case CLAIM_NODE:
        return "reading back does not look at the generation and the epoch";
    case BLIND_SWAP:
        return "the metadata store does not compare";
    case NO_FENCE:
        return "proposals of an earlier epoch take effect";
    case OLD_ANNOUNCEMENT:
        return "the announcement of an earlier epoch takes effect";
    case LEADS_AT_ONCE:
        return "a candidate leads before it has read its announcement (TR-7)";
    case RETRY_AS_NEW:
        return "a client takes an unknown outcome for a refusal";
    }
    return "";
}

/* ---- steps ---- */

static uint64_t pending_hash(const struct ld_pending *items, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = hash64_combine(h, hash64(bytes_slice(items[i].record)));
    return h;
}

/* The store is a function of what was applied; claim and processor say the rest. */
static uint64_t node_hash(const struct ld_node *n)
{
    const struct claim *c = &n->claim;
    const struct processor *p = n->p;
    uint64_t attempts = 0, h = n->generation | (uint64_t)n->next << 8 | (uint64_t)p->role << 24 |
                               p->epoch << 28 | p->next_seq << 36 | (uint64_t)p->self_count << 44 |
                               (uint64_t)n->claiming << 52;
    h = hash64_combine(h, p->host_epoch | (uint64_t)p->admitting << 8 | (uint64_t)p->waiting.count << 16);
    if (n->claiming)
        h = hash64_combine(h, c->tries | c->read_epoch << 8 | c->tried << 16 | (uint64_t)c->fresh << 24 |
                                  (uint64_t)c->version << 32);
    const struct epoch_metadata *m = epochs_get(n->epochs, 0);
    h = hash64_combine(h, m->version | m->epoch << 16 | (uint64_t)m->node_id << 32);
    h = hash64_combine(h, pending_hash(n->pending.items, n->pending.len));
    h = hash64_combine(h, pending_hash(n->late.items, n->late.len));
    for (size_t i = 0; i < n->attempts.len; i++) /* a set */
        attempts += hash64_combine(n->attempts.items[i].id.uuid.lo + n->attempts.items[i].id.uuid.hi * 16,
                                   hash64(bytes_slice(n->attempts.items[i].state)));
    return hash64_combine(h, attempts);
}

static uint64_t world_hash(const struct ld_world *w)
{
    char key[EPOCH_KEY_SIZE];
    struct kv_entry e;
    epoch_key(0, key);
    ASSERT(kv_table_get(&w->table, slice_cstr(key), &e));
    uint64_t asks = 0, h = w->left.hints | w->left.undecided << 4 | w->left.crashes << 8 | w->committed << 12;
    h = hash64_combine(h, hash64(bytes_slice(e.value)) + e.version);
    for (unsigned i = 0; i < LD_NODES; i++)
        h = hash64_combine(h, node_hash(&w->nodes[i]));
    for (size_t i = 0; i < w->asks.len; i++) {
        const struct ld_ask *a = &w->asks.items[i];
        asks += hash64_combine(a->node | a->kind << 4 | (uint64_t)!a->op << 8 | (uint64_t)a->expected << 16,
                               hash64(bytes_slice(a->value)));
    }
    for (lsn_t i = 0; i < w->committed; i++)
        h = hash64_combine(h, hash64(bytes_slice(w->log[i])));
    for (unsigned i = 0; i < w->scenario->requests; i++) {
        const struct ld_request *r = &w->requests[i];
        h = hash64_combine(h, r->tries | r->node << 4 | r->incarnation << 8 | (unsigned)r->open << 12 |
                                  (unsigned)r->done << 13);
    }
    for (unsigned i = 0; i < LD_EPOCHS_MAX; i++)
        h = hash64_combine(h, w->owners[i].id | (uint64_t)w->owners[i].generation << 8);
    return hash64_combine(h, asks);
}

struct option {
    enum { ARRIVE, COMMIT, COMMIT_LATE, FORGET_LATE, DELIVER, FINISH, ASK, HINT, CRASH } kind;
    size_t a;
    unsigned b;
};

static size_t add_asks(const struct ld_world *w, struct option *out)
{
    size_t n = 0;
    for (size_t i = 0; i < w->asks.len; i++) {
        const struct ld_ask *a = &w->asks.items[i];
        out[n++] = (struct option){ARRIVE, i, DONE};
        for (unsigned f = DONE_UNHEARD; f <= DONE_LATER; f++) {
            if (a->op && a->kind == KV_PUT && w->left.undecided > 0)
                out[n++] = (struct option){ARRIVE, i, f};
        }
    }
    return n;
}

static size_t add_node(const struct ld_world *w, unsigned i, struct option *out)
{
    const struct ld_node *node = &w->nodes[i];
    size_t n = 0;
    if (node->pending.len > 0)
        out[n++] = (struct option){COMMIT, i, 0};
    if (node->late.len > 0) {
        out[n++] = (struct option){COMMIT_LATE, i, 0};
        out[n++] = (struct option){FORGET_LATE, i, 0};
    }
    if (node->next <= w->committed)
        out[n++] = (struct option){DELIVER, i, 0};
    for (unsigned k = 0; k < node->attempts.len; k++)
        out[n++] = (struct option){FINISH, i, k};
    for (unsigned k = 0; k < w->scenario->requests && node->p->role == PROCESSOR_LEADER; k++) {
        const struct ld_request *r = &w->requests[k];
        if (!r->open && !r->done && r->tries < w->scenario->tries)
            out[n++] = (struct option){ASK, i, k};
    }
    if (w->left.hints > 0 && !node->claiming && node->p->role == PROCESSOR_FOLLOWER)
        out[n++] = (struct option){HINT, i, 0};
    if (w->left.crashes > 0)
        out[n++] = (struct option){CRASH, i, 0};
    return n;
}

static void act(struct ld_world *w, const struct option *o)
{
    struct ld_node *n = &w->nodes[o->kind == ARRIVE ? 0 : o->a];
    switch (o->kind) {
    case ARRIVE:
        ld_arrive(w, o->a, (enum ld_fate)o->b);
        break;
    case COMMIT:
    case COMMIT_LATE:
        ld_commit(n, o->kind == COMMIT_LATE);
        break;
    case FORGET_LATE:
        while (n->late.len)
            bytes_unref(&n->late.items[--n->late.len].record);
        break;
    case DELIVER:
        ld_deliver(n);
        break;
    case FINISH:
        ld_finish(n, o->b);
        break;
    case ASK:
        ld_ask(&w->requests[o->b], n);
        break;
    case HINT:
        w->left.hints--;
        ld_hint(n);
        break;
    case CRASH:
        w->left.crashes--;
        ld_node_crash(n);
        break;
    }
    for (unsigned i = 0; i < LD_NODES; i++)
        ld_check_node(&w->nodes[i]);
}

static size_t options(struct ld_world *w, struct option *out)
{
    size_t n = add_asks(w, out);
    for (unsigned i = 0; i < LD_NODES; i++)
        n += add_node(w, i, out + n);
    ASSERT(n <= OPTIONS_MAX);
    return n;
}

static bool step(struct ld_world *w)
{
    struct option all[OPTIONS_MAX];
    int chosen = EXPLORE_STEP(w->x, world_hash(w), options(w, all));
    if (chosen < 0)
        return false;
    act(w, &all[chosen]);
    return !explore_over(w->x);
}

/* ---- a run ---- */

static void begin(struct ld_world *w)
{
    static uint32_t set[] = {1, 2};
    struct replication two = replication_nodes(2);
    struct epoch_metadata m = {0};
    struct writer out = WRITER_INIT;
    char key[EPOCH_KEY_SIZE];
    epoch_metadata_set_initial(&m, &two, set, 2, 0);
    epoch_metadata_encode(&out, 0, &m);
    epoch_key(0, key);
    kv_table_init(&w->table);
    kv_table_put(&w->table, slice_cstr(key), writer_take(&out), m.version);
    sim_env_init(&w->env, 1);
    w->backend = memory_backend_new(&w->env.env);
    w->store = ld_open_store(w->backend, &w->env);
    for (unsigned i = 0; i < LD_NODES; i++) {
        struct ld_node *n = &w->nodes[i];
        n->world = w;
        n->index = i;
        sim_env_init(&n->env, 1);
        n->env.mono_ms = 1000;
        n->backend = memory_backend_new(&n->env.env);
        ld_node_start(n);
    }
    for (unsigned i = 0; i < w->scenario->requests; i++) {
        w->requests[i].world = w;
        w->requests[i].number = i;
    }
}

static void end(struct ld_world *w)
{
    bool closed = false;
    for (unsigned i = 0; i < LD_NODES; i++) {
        struct ld_node *n = &w->nodes[i];
        ld_node_stop(n);
        for (size_t k = 0; k < n->late.len; k++)
            bytes_unref(&n->late.items[k].record);
        VEC_FREE(&n->late);
        VEC_FREE(&n->pending);
        VEC_FREE(&n->attempts);
        memory_backend_free(n->backend);
        sim_env_free(&n->env);
    }
    store_close(w->store, true, ld_on_closed, &closed);
    ld_wait_closed(&w->env, &closed);
    memory_backend_free(w->backend);
    sim_env_free(&w->env);
    for (size_t i = 0; i < w->asks.len; i++)
        bytes_unref(&w->asks.items[i].value);
    VEC_FREE(&w->asks);
    for (lsn_t i = 0; i < w->committed; i++)
        bytes_unref(&w->log[i]);
    bytes_unref(&w->object);
    kv_table_free(&w->table);
    free(w);
}

static void run(struct explore *x, void *ctx)
{
    struct ld_world *w = xcalloc(1, sizeof(*w));
    w->x = x;
    w->scenario = ctx;
    w->left = *w->scenario;
    controller_mutation =
        w->scenario->wrong < BLIND_SWAP ? (enum controller_mutation)w->scenario->wrong : CONTROLLER_MUT_NONE;
    begin(w);
    while (step(w))
        ;
    end(w);
}

static const struct ld_case cases[] = {
    {.hints = 2, .undecided = 2},
    {.hints = 2, .requests = 1, .tries = 2},
    {.hints = 2, .crashes = 1},
    {.hints = 2, .undecided = 1, .requests = 1, .tries = 2},
    {.hints = 2, .requests = 2, .tries = 2},
    {.hints = 2, .crashes = 1, .requests = 1, .tries = 2},
    {.hints = 3, .requests = 1, .tries = 2},
    {.hints = 3, .undecided = 1, .requests = 1, .tries = 1},
    {.hints = 3, .undecided = 1, .crashes = 1},
};
static const struct model_part parts[] = {
    {"leadership", "any order; 2 hints, 2 undecided claims", run, &cases[0], true},
    {"leadership", "any order; 2 hints; 1 request, sent twice", run, &cases[1], true},
    {"leadership", "any order; 2 hints, 1 crash", run, &cases[2], true},
    {"leadership", "any order; 2 hints, 1 undecided claim; 1 request, sent twice", run, &cases[3], false},
    {"leadership", "any order; 2 hints; 2 requests, sent twice", run, &cases[4], false},
    {"leadership", "any order; 2 hints, 1 crash; 1 request, sent twice", run, &cases[5], false},
    {"leadership", "any order; 3 hints; 1 request, sent twice", run, &cases[6], false},
    {"leadership", "any order; 3 hints, 1 undecided claim; 1 request", run, &cases[7], false},
    {"leadership", "any order; 3 hints, 1 undecided claim, 1 crash", run, &cases[8], false},
};

static const struct ld_case wrongs[] = {
    {.hints = 2, .undecided = 1, .wrong = CLAIM_TIMEOUT},
    {.hints = 3, .undecided = 1, .crashes = 1, .wrong = CLAIM_NODE},
    {.hints = 2, .wrong = BLIND_SWAP},
    {.hints = 2, .requests = 1, .tries = 1, .wrong = NO_FENCE},
    {.hints = 2, .wrong = OLD_ANNOUNCEMENT},
    {.hints = 1, .wrong = LEADS_AT_ONCE},
    {.hints = 2, .requests = 1, .tries = 2, .wrong = RETRY_AS_NEW},
};
static const struct model_mutation mutations[] = {
    {"leadership", CLAIM_TIMEOUT, run, &wrongs[0]},    {"leadership", CLAIM_NODE, run, &wrongs[1]},
    {"leadership", BLIND_SWAP, run, &wrongs[2]},       {"leadership", NO_FENCE, run, &wrongs[3]},
    {"leadership", OLD_ANNOUNCEMENT, run, &wrongs[4]}, {"leadership", LEADS_AT_ONCE, run, &wrongs[5]},
    {"leadership", RETRY_AS_NEW, run, &wrongs[6]},
};
const struct model model_leadership = {parts, ARRAY_LEN(parts), mutations, ARRAY_LEN(mutations), wrong_name};
