/* A controller over a key-value store in memory, nodes that a test describes, and processors that behave:
 * they catch up at once and lead when told to, unless the test says otherwise. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "controller/controller.h"
#include "metadata/kv_table.h"
#include "sim/sim_env.h"

/* ---- the store ---- */

struct fake_kv {
    struct kv kv;
    struct sim_env *env;
    struct kv_table table;
    struct list waiting;
    struct env_task task;
    bool held;          /* answers nothing */
    enum rc put_fault;  /* of the next put */
    bool fault_applies; /* and it happens anyway */
    unsigned faults;    /* how many */
    unsigned gets, puts, lists, rounds;
};

static void fake_kv_answer(struct fake_kv *k, struct kv_op *op)
{
    struct kv_result r = {.rc = RC_OK, .message = ""};
    struct kv_entry *list = NULL;
    size_t cap = 0;
    if (op->kind == KV_GET) {
        k->gets++;
        r.rc = kv_table_get(&k->table, op->key, &r.entry) ? RC_OK : RC_NOT_FOUND;
    } else if (op->kind == KV_LIST) {
        k->lists++;
        struct kv_cursor c = kv_table_seek(&k->table, op->key);
        struct kv_entry e;
        while (kv_cursor_next(&c, &e) && slice_starts_with(e.key, op->key)) {
            list = vec_grow(list, &cap, r.n_entries + 1, sizeof(*list));
            list[r.n_entries++] = e;
        }
        r.entries = list;
    } else {
        k->puts++;
        struct kv_write w = {op->kind == KV_PUT,   op->precondition, op->version,
                             op->expected_version, op->key,          bytes_slice(op->value)};
        bool fault = k->faults > 0;
        r.rc = kv_table_judge(&k->table, &w, &r.message);
        if (r.rc == RC_OK && (!fault || k->fault_applies))
            kv_table_put(&k->table, op->key, bytes_ref(op->value), op->version);
        if (fault) {
            k->faults--;
            r.rc = k->put_fault;
            r.message = "fault";
        }
        bytes_unref(&op->value);
    }
    op->done(op, &r);
    free(list);
}

static void fake_kv_run(struct env_task *t)
{
    struct fake_kv *k = CONTAINER_OF(t, struct fake_kv, task);
    struct list all, *n;
    list_init(&all);
    if (k->held)
        return;
    k->rounds++;
    list_splice(&all, &k->waiting);
    while ((n = list_pop_front(&all)))
        fake_kv_answer(k, CONTAINER_OF(n, struct kv_op, link));
}

static void fake_kv_submit(struct kv *kv, struct kv_op *op)
{
    struct fake_kv *k = CONTAINER_OF(kv, struct fake_kv, kv);
    list_push_back(&k->waiting, &op->link);
    env_defer(sim_env_get(k->env), &k->task);
}

static inline void fake_kv_init(struct fake_kv *k, struct sim_env *env)
{
    static const struct kv_provider provider = {fake_kv_submit, NULL};
    *k = (struct fake_kv){.kv = {&provider}, .env = env};
    kv_table_init(&k->table);
    list_init(&k->waiting);
    env_task_init(&k->task, fake_kv_run);
}

/* Decoded into `a`; fails the test if it is absent. */
static inline struct epoch_metadata fake_kv_epoch(struct fake_kv *k, struct arena *a, uint32_t p)
{
    char key[EPOCH_KEY_SIZE];
    struct kv_entry e;
    struct epoch_metadata m;
    epoch_key(p, key);
    assert_true(kv_table_get(&k->table, slice_cstr(key), &e));
    assert_int_equal(epoch_metadata_decode(a, bytes_slice(e.value), p, &m, NULL), RC_OK);
    assert_int_equal(m.version, e.version);
    return m;
}

static inline void fake_kv_set_epoch(struct fake_kv *k, uint32_t p, const struct epoch_metadata *m)
{
    char key[EPOCH_KEY_SIZE];
    struct writer w = WRITER_INIT;
    epoch_key(p, key);
    epoch_metadata_encode(&w, p, m);
    kv_table_put(&k->table, slice_cstr(key), writer_take(&w), m->version);
}

/* ---- the cluster ---- */

#define FIX_NODES      9
#define FIX_PARTITIONS 1000

struct fixture {
    struct sim_env env;
    struct fake_kv kv;
    struct epochs *epochs;
    struct controller *controller;
    struct node_entry entries[FIX_NODES];
    struct nodes_config nodes;
    struct partition_table table;
    struct controller_node view[FIX_NODES + 1];
    struct controller_replica replica[FIX_NODES + 1][FIX_PARTITIONS];
    bool slow[FIX_NODES + 1]; /* does not catch up */
    bool deaf[FIX_NODES + 1]; /* does not lead when told to */
    unsigned hints, hints_to[FIX_NODES + 1];
    struct arena arena;
};

static void fixture_node(void *ctx, uint32_t node, struct controller_node *out)
{
    *out = ((struct fixture *)ctx)->view[node];
}

static void fixture_replica(void *ctx, uint32_t node, uint32_t p, struct controller_replica *out)
{
    *out = ((struct fixture *)ctx)->replica[node][p];
}

static void fixture_depose(struct fixture *f, uint32_t p)
{
    for (uint32_t n = 1; n <= FIX_NODES; n++)
        f->replica[n][p].leads = false;
}

static void fixture_lead(void *ctx, uint32_t node, uint32_t p)
{
    struct fixture *f = ctx;
    f->hints++;
    f->hints_to[node]++;
    if (f->deaf[node])
        return;
    struct arena a = {0};
    struct epoch_metadata m = fake_kv_epoch(&f->kv, &a, p);
    epoch_metadata_claim(&m, node, f->entries[node - 1].generation);
    fake_kv_set_epoch(&f->kv, p, &m);
    fixture_depose(f, p);
    f->replica[node][p].known = f->replica[node][p].leads = true;
    f->replica[node][p].epoch = m.epoch;
    arena_free(&a);
    controller_epoch_changed(f->controller, p, m.version);
}

/* Processors follow their placements. */
static void fixture_placed(void *ctx, uint32_t p, const struct epoch_metadata *m)
{
    struct fixture *f = ctx;
    for (uint32_t n = 1; n <= FIX_NODES; n++) {
        struct controller_replica *r = &f->replica[n][p];
        if (!epoch_metadata_has(m, n))
            *r = (struct controller_replica){0};
        else if (f->view[n].liveness == CONTROLLER_ALIVE)
            *r = (struct controller_replica){.known = true,
                                             .caught_up = r->caught_up || !f->slow[n],
                                             .leads = r->leads,
                                             .epoch = r->epoch,
                                             .applied_lsn = r->applied_lsn};
    }
}

static const struct controller_ops fixture_ops = {fixture_node, fixture_replica, fixture_lead,
                                                  fixture_placed};

static void fixture_quiet(void *ctx, enum log_level level, struct slice line) {}

static inline struct fixture *fixture_new(unsigned nodes, unsigned partitions, unsigned copies)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    log_set_sink(fixture_quiet, NULL);
    sim_env_init(&f->env, 1);
    fake_kv_init(&f->kv, &f->env);
    f->epochs = epochs_new(sim_env_get(&f->env), &f->kv.kv, &(struct epochs_config){0});
    f->controller = controller_new(sim_env_get(&f->env), &f->kv.kv, f->epochs, &(struct controller_config){0},
                                   &fixture_ops, f);
    for (unsigned i = 0; i < FIX_NODES; i++)
        f->entries[i] = (struct node_entry){.id = i + 1,
                                            .generation = 1,
                                            .name = "n",
                                            .address = "",
                                            .location = "",
                                            .roles = ROLE_WORKER | ROLE_ADMIN,
                                            .worker = WORKER_ACTIVE};
    for (unsigned i = 1; i <= nodes; i++)
        f->view[i] = (struct controller_node){CONTROLLER_ALIVE, true};
    f->nodes = (struct nodes_config){.version = 1, .nodes = f->entries, .n_nodes = nodes};
    f->table = (struct partition_table){1, partitions, replication_nodes((uint8_t)copies)};
    return f;
}

static inline void fixture_config(struct fixture *f)
{
    controller_set_nodes(f->controller, &f->nodes);
    controller_set_table(f->controller, &f->table);
}

static inline void fixture_start(struct fixture *f)
{
    fixture_config(f);
    controller_set_active(f->controller, true, (struct node_ref){1, 1});
    sim_env_run(&f->env);
}

static inline void fixture_run(struct fixture *f, uint64_t ms)
{
    controller_poke(f->controller);
    sim_env_advance(&f->env, ms);
}

static inline void fixture_liveness(struct fixture *f, uint32_t node, enum controller_liveness l)
{
    f->view[node].liveness = l;
    if (l == CONTROLLER_DEAD)
        memset(f->replica[node], 0, sizeof(f->replica[node]));
    for (uint32_t p = 0; p < f->table.n_partitions && l == CONTROLLER_ALIVE; p++)
        if (epochs_get(f->epochs, p))
            fixture_placed(f, p, epochs_get(f->epochs, p));
    controller_poke(f->controller);
}

static inline void fixture_free(struct fixture *f)
{
    controller_free(f->controller);
    epochs_free(f->epochs);
    sim_env_run(&f->env);
    kv_table_free(&f->kv.table);
    arena_free(&f->arena);
    sim_env_free(&f->env);
    free(f);
}

/* ---- what came out ---- */

static inline struct epoch_metadata fixture_get(struct fixture *f, uint32_t p)
{
    return fake_kv_epoch(&f->kv, &f->arena, p);
}

static inline bool fixture_holds(struct fixture *f, uint32_t p, uint32_t node)
{
    struct epoch_metadata m = fixture_get(f, p);
    return configuration_has(&m.current, node);
}

/* `1,2 v1` or `1,2 v1 > 2,3 v2`, nodes in ascending order. */
static inline const char *fixture_set(struct fixture *f, uint32_t p)
{
    struct epoch_metadata m = fixture_get(f, p);
    struct writer w = WRITER_INIT;
    for (int next = 0; next <= (int)m.has_next; next++) {
        const struct partition_configuration *c = next ? &m.next : &m.current;
        bool first = true;
        write_fmt(&w, "%s", next ? " > " : "");
        for (uint32_t n = 1; n <= FIX_NODES; n++)
            if (configuration_has(c, n)) {
                write_fmt(&w, first ? "%u" : ",%u", n);
                first = false;
            }
        write_fmt(&w, " v%u", c->version);
    }
    const char *text = arena_copy_slice(&f->arena, writer_slice(&w));
    writer_free(&w);
    return text;
}

static inline unsigned fixture_replicas(struct fixture *f, uint32_t node)
{
    unsigned n = 0;
    for (uint32_t p = 0; p < f->table.n_partitions; p++) {
        struct epoch_metadata m = fixture_get(f, p);
        n += configuration_has(m.has_next ? &m.next : &m.current, node);
    }
    return n;
}

static inline uint32_t fixture_leader(struct fixture *f, uint32_t p)
{
    for (uint32_t n = 1; n <= FIX_NODES; n++)
        if (f->replica[n][p].leads && f->view[n].liveness != CONTROLLER_DEAD)
            return n;
    return 0;
}

static inline unsigned fixture_leaders(struct fixture *f, uint32_t node)
{
    unsigned n = 0;
    for (uint32_t p = 0; p < f->table.n_partitions; p++)
        n += fixture_leader(f, p) == node;
    return n;
}
