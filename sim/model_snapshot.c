/* Model of publishing snapshots: two nodes create snapshots of one partition in one bucket and prune what is
 * not retained, without a grace time (partition/snapshot_create.c, snapshot_sweep.c as they are, over stores
 * in memory). Any operation that is under way may be next; a conditional write may stay without an answer,
 * with effect, without, or with effect later; a node may crash, and what it had asked for may still happen.
 * Checked after every change of the bucket: T-b. */
#include <stdio.h>
#include <stdlib.h>

#include "partition/snapshot_repository.h"
#include "sim/models.h"
#include "sim/sim_env.h"

#define PARTITION   3
#define NODES       2
#define PLAN        2
#define OBJECTS_MAX 32
#define FINGERPRINT 4711

enum wrong { RIGHT, UNDECIDED_IS_NO, PUT_IS_BLIND, WRONGS };
static const char *wrong_name(unsigned wrong)
{
    static const char *const names[WRONGS] = {
        "nothing",
        "an undecided write of latest.json taken for one that was not done",
        "a conflict of latest.json treated as success",
    };
    return names[wrong];
}

struct snapshot_case {
    lsn_t plan[NODES][PLAN]; /* LSNs at which the nodes create snapshots; 0: no more */
    unsigned undecided, crashes, timers;
    enum wrong wrong;
};

struct object {
    char key[300];
    struct bytes content;
};

/* An operation in the bucket's hands. */
struct ask {
    struct object_op *op; /* NULL: nobody waits any more */
    unsigned node;
    enum object_op_kind kind;
    enum object_condition condition;
    char key[300], etag[OBJECT_ETAG_MAX];
    struct bytes body;
};

struct snap_world;
struct snap_node {
    struct snap_world *world;
    unsigned index, step, timers_left;
    uint64_t inputs;
    bool dead, closed, creating;
    struct sim_env env;
    struct object_store handle, scratch;
    struct kv_backend *kv;
    struct partition_store *store;
    struct job_runner_deferred jobs;
    struct snapshot_repository *repository;
};
struct snap_world {
    struct explore *x;
    const struct snapshot_case *scenario;
    unsigned undecided, crashes;
    struct object objects[OBJECTS_MAX];
    unsigned n_objects;
    struct {
        struct ask *items;
        size_t len, cap;
    } asks;
    struct snap_node nodes[NODES];
    lsn_t latest;
};

/* ---- T-b ---- */

static struct object *find(struct snap_world *w, const char *key)
{
    for (unsigned i = 0; i < w->n_objects; i++) {
        if (strcmp(w->objects[i].key, key) == 0)
            return &w->objects[i];
    }
    return NULL;
}

static bool is_complete(struct snap_world *w, const struct snapshot_ref *ref)
{
    char key[300];
    struct snapshot_metadata m;
    snprintf(key, sizeof(key), "%u/%s/metadata.json", PARTITION, ref->path);
    struct object *o = find(w, key);
    if (!o || snapshot_metadata_decode(bytes_slice(o->content), &m, NULL) != RC_OK)
        return false;
    bool complete = m.ref.lsn == ref->lsn;
    for (size_t i = 0; i < m.files.len; i++) {
        snprintf(key, sizeof(key), "%u/%s%s", PARTITION, ref->path, m.files.items[i].name);
        o = find(w, key);
        complete &= o && hash64(bytes_slice(o->content)) == m.files.items[i].checksum;
    }
    snapshot_metadata_free(&m);
    return complete;
}

static void check(struct snap_world *w)
{
    struct object *o = find(w, "3/latest.json");
    struct snapshot_latest l;
    if (!o)
        return;
    if (snapshot_latest_decode(bytes_slice(o->content), &l, NULL) != RC_OK) {
        explore_violated(w->x, "T-b: latest.json cannot be read");
        return;
    }
    for (size_t i = 0; i < l.retained.len; i++) {
        if (!is_complete(w, &l.retained.items[i]))
            explore_violated(w->x, "T-b: latest.json names %s, which is not complete",
                             l.retained.items[i].path);
    }
    if (l.retained.items[0].lsn < w->latest)
        explore_violated(w->x, "T-b: latest.json goes back from LSN %llu to %llu",
                         (unsigned long long)w->latest, (unsigned long long)l.retained.items[0].lsn);
    w->latest = l.retained.items[0].lsn;
    snapshot_latest_free(&l);
}

/* ---- the bucket ---- */

static void etag_of(const struct object *o, char out[OBJECT_ETAG_MAX])
{
    snprintf(out, OBJECT_ETAG_MAX, "%016llx", (unsigned long long)hash64(bytes_slice(o->content)));
}

static enum rc put(struct snap_world *w, const struct ask *a)
{
    struct object *o = find(w, a->key);
    char etag[OBJECT_ETAG_MAX] = "";
    if (o)
        etag_of(o, etag);
    bool allowed = a->condition == OBJECT_ANY || (a->condition == OBJECT_ABSENT && !o) ||
                   (a->condition == OBJECT_MATCHES && o && strcmp(etag, a->etag) == 0);
    if (!allowed && w->scenario->wrong != PUT_IS_BLIND)
        return RC_CONFLICT;
    if (!o) {
        ASSERT(w->n_objects < OBJECTS_MAX);
        o = &w->objects[w->n_objects++];
        snprintf(o->key, sizeof(o->key), "%s", a->key);
    }
    bytes_unref(&o->content);
    o->content = bytes_ref(a->body);
    check(w);
    return RC_OK;
}

static void delete (struct snap_world *w, const char *key)
{
    struct object *o = find(w, key);
    if (!o)
        return;
    bytes_unref(&o->content);
    *o = w->objects[--w->n_objects];
    w->objects[w->n_objects] = (struct object){.key = ""};
    check(w);
}

static enum rc execute(struct snap_world *w, const struct ask *a)
{
    struct object *o = find(w, a->key);
    if (a->kind == OBJECT_PUT)
        return put(w, a);
    if (a->kind == OBJECT_DELETE)
        delete (w, a->key);
    if (a->kind == OBJECT_GET && !o)
        return RC_NOT_FOUND;
    if (a->kind == OBJECT_GET) {
        a->op->content = bytes_ref(o->content);
        etag_of(o, a->op->etag);
    }
    for (unsigned i = 0; i < w->n_objects && a->kind == OBJECT_LIST; i++) {
        const struct object *each = &w->objects[i];
        if (strncmp(each->key, a->key, strlen(a->key)) == 0)
            object_list_add(a->op, slice_cstr(each->key), each->content.len);
    }
    if (a->kind == OBJECT_LIST)
        object_list_sort(a->op);
    return RC_OK;
}

static void told(struct snap_node *n, uint64_t what)
{
    n->inputs = hash64_combine(n->inputs, what);
}

static void answer(struct snap_node *n, struct object_op *op, enum rc rc)
{
    told(n, (uint64_t)rc << 8 | op->kind);
    told(n, hash64(bytes_slice(op->content)) + op->listed.len);
    for (size_t i = 0; i < op->listed.len; i++)
        told(n, hash64(slice_cstr(op->listed.items[i].key)));
    op->rc = rc;
    if (rc != RC_OK)
        err_set(&op->err, rc, "%s", rc_name(rc));
    op->done(op);
    sim_env_run(&n->env);
}

static void ask_free(struct ask *a)
{
    bytes_unref(&a->body);
}

static struct ask take(struct snap_world *w, size_t i)
{
    struct ask a = w->asks.items[i];
    memmove(&w->asks.items[i], &w->asks.items[i + 1], (--w->asks.len - i) * sizeof(a));
    return a;
}

static void submit(struct object_store *s, struct object_op *op)
{
    struct snap_node *n = CONTAINER_OF(s, struct snap_node, handle);
    object_op_reset_result(op);
    struct ask a = {.op = op, .node = n->index, .kind = op->kind, .condition = op->condition};
    snprintf(a.key, sizeof(a.key), "%s", op->key);
    snprintf(a.etag, sizeof(a.etag), "%s", op->etag);
    if (op->kind == OBJECT_PUT)
        a.body = bytes_ref(op->body);
    else
        a.condition = OBJECT_ANY;
    VEC_PUSH(&n->world->asks, a);
}

static void close_handle(struct object_store *s, void (*done)(void *ctx), void *ctx)
{
    struct snap_node *n = CONTAINER_OF(s, struct snap_node, handle);
    struct snap_world *w = n->world;
    for (size_t i = 0; i < w->asks.len; i++) {
        struct object_op *op = w->asks.items[i].op;
        if (w->asks.items[i].node != n->index || !op)
            continue;
        w->asks.items[i].op = NULL; /* a read without a reader has no effect, see arrive */
        op->rc = err_set(&op->err, RC_CANCELED, "closed");
        op->done(op);
    }
    done(ctx);
}

static void no_submit(struct object_store *s, struct object_op *op)
{
    ASSERT_MSG(false, "nothing is loaded here");
}

static void close_scratch(struct object_store *s, void (*done)(void *ctx), void *ctx)
{
    done(ctx);
}

/* ---- nodes ---- */

static void start(struct snap_world *w, unsigned index)
{
    static const struct object_store_ops ops = {submit, close_handle}, scratch = {no_submit, close_scratch};
    struct snap_node *n = &w->nodes[index];
    struct snapshot_repository_config config = {.prefix = "",
                                                .place = "the bucket",
                                                .cluster_name = "model",
                                                .node_name = index ? "node-2" : "node-1",
                                                .fingerprint = FINGERPRINT,
                                                .num_retained = 1};
    struct store_config store = {.partition_id = PARTITION,
                                 .key_end = UINT64_MAX,
                                 .cache_bytes = 1 << 20,
                                 .flush_dirty_bytes = 1 << 20,
                                 .flush_interval_ms = 3600000};
    struct err err = {0};
    n->world = w;
    n->index = index;
    n->timers_left = w->scenario->timers;
    n->handle.ops = &ops;
    n->scratch.ops = &scratch;
    sim_env_init(&n->env, index + 1);
    job_runner_deferred_init(&n->jobs, &n->env.env);
    n->kv = memory_backend_new(&n->env.env);
    n->repository = snapshot_repository_new(&n->env.env, &n->handle, &n->scratch, &n->jobs.base, &config);
    ASSERT(store_open(n->kv, &n->env.env, &store, &n->store, &err) == RC_OK);
}

static void on_closed(void *ctx)
{
    ((struct snap_node *)ctx)->closed = true;
}

static void wait_closed(struct snap_node *n)
{
    for (int i = 0; i < 100 && !n->closed; i++) {
        sim_env_run(&n->env);
        if (!n->closed)
            sim_env_next(&n->env, UINT32_MAX);
    }
    ASSERT(n->closed);
}

static void stop(struct snap_node *n)
{
    n->closed = false;
    snapshot_repository_close(n->repository, on_closed, n);
    wait_closed(n);
    n->closed = false;
    store_close(n->store, true, on_closed, n);
    wait_closed(n);
    memory_backend_free(n->kv);
    job_runner_deferred_free(&n->jobs);
    sim_env_free(&n->env);
    n->dead = true;
}

static void on_created(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct snap_node *n = ctx;
    n->creating = false;
    explore_note(n->world->x, "N%u: %s", n->index + 1,
                 err          ? err->msg
                 : c->existed ? "there was one already"
                              : "published");
    if (c && n->world->latest < c->ref.lsn)
        explore_violated(n->world->x, "N%u says that LSN %llu is archived; latest.json has %llu",
                         n->index + 1, (unsigned long long)c->ref.lsn, (unsigned long long)n->world->latest);
}

static void create(struct snap_node *n)
{
    lsn_t to = n->world->scenario->plan[n->index][n->step++];
    struct snapshot_create_request q = {
        .store = n->store, .partition_id = PARTITION, .log_id = PARTITION, .key_end = UINT64_MAX};
    explore_note(n->world->x, "N%u creates a snapshot at LSN %llu", n->index + 1, (unsigned long long)to);
    told(n, to);
    while (store_vars(n->store)->applied_lsn < to) {
        lsn_t lsn = store_vars(n->store)->applied_lsn + 1;
        store_apply_begin(n->store, lsn, 1000 * lsn);
        store_state_put(n->store, SLICE_LIT("svc"), SLICE_LIT("obj"), SLICE_LIT("k"),
                        bytes_copy(slice_cstr(lsn % 2 ? "odd" : "even")));
        store_apply_end(n->store);
    }
    n->creating = true;
    snapshot_create_start(n->repository, &q, on_created, n);
    sim_env_run(&n->env);
}

/* ---- steps ---- */

static uint64_t ask_hash(const struct ask *a)
{
    uint64_t h = (uint64_t)a->kind ^ a->node << 4 ^ (uint64_t)a->condition << 8 ^ (uint64_t)!a->op << 12;
    h = hash64_combine(h, hash64(slice_cstr(a->key)));
    return hash64_combine(hash64_combine(h, hash64(slice_cstr(a->etag))), hash64(bytes_slice(a->body)));
}

static uint64_t world_hash(const struct snap_world *w)
{
    uint64_t h = w->undecided ^ (uint64_t)w->crashes << 8 ^ w->latest << 16, objects = 0, asks = 0;
    for (unsigned i = 0; i < NODES; i++) {
        const struct snap_node *n = &w->nodes[i];
        h = hash64_combine(h, n->inputs);
        h = hash64_combine(h, n->step ^ (uint64_t)n->timers_left << 8 ^ (uint64_t)n->dead << 16);
    }
    for (unsigned i = 0; i < w->n_objects; i++) /* sets: no order */
        objects +=
            hash64_combine(hash64(slice_cstr(w->objects[i].key)), hash64(bytes_slice(w->objects[i].content)));
    for (size_t i = 0; i < w->asks.len; i++)
        asks += ask_hash(&w->asks.items[i]);
    return hash64_combine(hash64_combine(h, objects), asks);
}

enum fate { DONE, DONE_UNHEARD, NOT_DONE, DONE_LATER };

static void arrive(struct snap_world *w, size_t i, enum fate fate)
{
    static const char *const kinds[] = {"get", "put", "delete", "list"};
    static const char *const fates[] = {"", ", unheard", ", no answer, not done", ", no answer yet"};
    struct ask a = take(w, i);
    struct object_op *op = a.op;
    explore_note(w->x, "N%u: %s %s%s%s", a.node + 1, kinds[a.kind], a.key, fates[fate], op ? "" : " (late)");
    w->undecided -= fate != DONE && op;
    enum rc rc = RC_TIMEOUT;
    bool read = a.kind == OBJECT_GET || a.kind == OBJECT_LIST;
    if ((fate == DONE || fate == DONE_UNHEARD) && (op || !read)) {
        enum rc outcome = execute(w, &a);
        rc = fate == DONE ? outcome : RC_TIMEOUT;
    }
    if (rc == RC_TIMEOUT && w->scenario->wrong == UNDECIDED_IS_NO)
        rc = RC_UNAVAILABLE;
    a.op = NULL;
    if (fate == DONE_LATER)
        VEC_PUSH(&w->asks, a);
    else
        ask_free(&a);
    if (op)
        answer(&w->nodes[a.node], op, rc);
}

struct option {
    enum { ARRIVE, FORGET, CREATE, TIMER, CRASH } kind;
    size_t index;
    enum fate fate;
};

static bool idle(const struct snap_world *w, unsigned node)
{
    for (size_t i = 0; i < w->asks.len; i++) {
        if (w->asks.items[i].node == node && w->asks.items[i].op)
            return false;
    }
    return true;
}

#define OPTIONS_MAX 128

static size_t options(struct snap_world *w, struct option *out)
{
    size_t n = 0;
    for (size_t i = 0; i < w->asks.len; i++) {
        const struct ask *a = &w->asks.items[i];
        out[n++] = (struct option){ARRIVE, i, DONE};
        if (!a->op)
            out[n++] = (struct option){FORGET, i, DONE};
        for (unsigned f = DONE_UNHEARD; f <= DONE_LATER; f++) {
            if (a->op && a->kind == OBJECT_PUT && a->condition != OBJECT_ANY && w->undecided > 0)
                out[n++] = (struct option){ARRIVE, i, (enum fate)f};
        }
    }
    for (unsigned i = 0; i < NODES; i++) {
        struct snap_node *node = &w->nodes[i];
        if (node->dead)
            continue;
        if (!node->creating && node->step < PLAN && w->scenario->plan[i][node->step])
            out[n++] = (struct option){CREATE, i, DONE};
        if (idle(w, i) && node->timers_left > 0 && heap_min(&node->env.timers))
            out[n++] = (struct option){TIMER, i, DONE};
        if (w->crashes > 0 && node->creating)
            out[n++] = (struct option){CRASH, i, DONE};
    }
    ASSERT(n <= OPTIONS_MAX);
    return n;
}

static bool step(struct snap_world *w)
{
    struct option all[OPTIONS_MAX];
    int chosen = EXPLORE_STEP(w->x, world_hash(w), options(w, all));
    if (chosen < 0)
        return false;
    const struct option *o = &all[chosen];
    if (o->kind == ARRIVE) {
        arrive(w, o->index, o->fate);
    } else if (o->kind == FORGET) {
        struct ask a = take(w, o->index);
        ask_free(&a);
    } else if (o->kind == CREATE) {
        create(&w->nodes[o->index]);
    } else if (o->kind == TIMER) {
        explore_note(w->x, "a timer of N%zu fires", o->index + 1);
        w->nodes[o->index].timers_left--;
        told(&w->nodes[o->index], 'T');
        sim_env_next(&w->nodes[o->index].env, UINT32_MAX);
    } else {
        explore_note(w->x, "N%zu crashes", o->index + 1);
        w->crashes--;
        stop(&w->nodes[o->index]);
    }
    return !explore_over(w->x);
}

static void run(struct explore *x, void *ctx)
{
    struct snap_world *w = xcalloc(1, sizeof(*w));
    w->x = x;
    w->scenario = ctx;
    w->undecided = w->scenario->undecided;
    w->crashes = w->scenario->crashes;
    for (unsigned i = 0; i < NODES; i++)
        start(w, i);
    while (step(w))
        ;
    for (unsigned i = 0; i < NODES; i++) {
        if (!w->nodes[i].dead)
            stop(&w->nodes[i]);
    }
    for (size_t i = 0; i < w->asks.len; i++)
        ask_free(&w->asks.items[i]);
    VEC_FREE(&w->asks);
    for (unsigned i = 0; i < w->n_objects; i++)
        bytes_unref(&w->objects[i].content);
    free(w);
}

static const struct snapshot_case cases[] = {
    {.plan = {{1}, {2}}, .undecided = 1, .timers = 2},
    {.plan = {{1}, {2}}, .undecided = 2, .crashes = 1, .timers = 3},
};
static const struct model_part parts[] = {
    {"snapshot", "any order; 1 snapshot each, 1 undecided write", run, &cases[0], true},
    {"snapshot", "any order; 1 snapshot each, 2 undecided writes, 1 crash", run, &cases[1], false},
};

#define WRONG(w)                                                                                             \
    &(const struct snapshot_case)                                                                            \
    {                                                                                                        \
        .plan = {{1}, {2}}, .undecided = 1, .timers = 2, .wrong = w                                          \
    }
static const struct model_mutation mutations[] = {
    {"snapshot", UNDECIDED_IS_NO, run, WRONG(UNDECIDED_IS_NO)},
    {"snapshot", PUT_IS_BLIND, run, WRONG(PUT_IS_BLIND)},
};
const struct model model_snapshot = {parts, ARRAY_LEN(parts), mutations, ARRAY_LEN(mutations), wrong_name};
