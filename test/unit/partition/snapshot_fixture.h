/* Nodes with a store in memory that share a bucket, for the tests of the snapshot repository. The content of
 * a store is a function of its LSN, so that any snapshot can be checked. The bucket is watched: T-b must hold
 * after every single change (spec/cluster.md §11.2). */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/log.h"
#include "objects/memory_objects.h"
#include "partition/snapshot.h"
#include "partition/snapshot_repository.h"
#include "partition/store_codec.h"
#include "sim/sim_env.h"

enum { PARTITION = 3, LSN_MAX = 2000, NODES_MAX = 3 };
#define KEY_PREFIX  "pre/fix/3/"
#define LATEST      KEY_PREFIX "latest.json"
#define FINGERPRINT 13578661352296356999u /* above 2^63 */

struct snap_world {
    struct sim_env sim;
    struct memory_objects *bucket;
    struct memory_objects_hooks hooks;
    uint64_t hash_at[LSN_MAX];
    lsn_t latest_lsn; /* T-b: never decreases */
    bool tampered;    /* the test damages objects itself: T-b is not watched */
    size_t ops;       /* submitted to the bucket */
    size_t stop_at;   /* the operation at which on_stop is called */
    enum object_fault stop_fault;
    unsigned fault_percent;
    struct snap_node *stop_node; /* crashes when stop_at is reached */
    uint64_t late_ms;
};

struct snap_node {
    struct snap_world *w;
    struct kv_backend *kv;
    struct partition_store *s;
    struct job_runner_deferred jobs;
    struct memory_objects *scratch_bucket;
    struct snapshot_repository *r;
    struct snapshot_repository_config config;
    bool closed;

    /* the last answers */
    bool created, loaded, known;
    struct snapshot_created create;
    struct snapshot_ref load;
    struct snapshot_status status;
    struct err err;
    struct snapshot_create *creating;
};

/* ---- T-b ---- */

static inline struct bytes sn_object(struct snap_world *w, const char *dir, const char *name)
{
    char key[400];
    snprintf(key, sizeof(key), KEY_PREFIX "%s%s", dir, name);
    return memory_objects_peek(w->bucket, key);
}

static inline void sn_check_complete(struct snap_world *w, const struct snapshot_ref *ref)
{
    struct snapshot_metadata m;
    struct err err = {0};
    struct bytes text = sn_object(w, ref->path, "/metadata.json");
    if (!text.ptr)
        fail_msg("latest.json names %s, which has no metadata.json", ref->path);
    if (snapshot_metadata_decode(bytes_slice(text), &m, &err) != RC_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(m.ref.lsn, ref->lsn);
    for (size_t i = 0; i < m.files.len; i++) {
        struct bytes file = sn_object(w, ref->path, m.files.items[i].name);
        uint64_t rows;
        assert_non_null(file.ptr);
        assert_int_equal(file.len, m.files.items[i].size);
        assert_true(hash64(bytes_slice(file)) == m.files.items[i].checksum);
        if (snapshot_file_verify(bytes_slice(file), PARTITION, ref->lsn, (uint32_t)i, &rows, &err) != RC_OK)
            fail_msg("%s", err.msg);
        assert_int_equal(rows, m.files.items[i].rows);
    }
    snapshot_metadata_free(&m);
}

static inline void sn_changed(void *ctx, const char *key, const struct bytes *content)
{
    struct snap_world *w = ctx;
    struct bytes text = memory_objects_peek(w->bucket, LATEST);
    if (w->tampered || !text.ptr || (content && strcmp(key, LATEST) != 0))
        return;
    struct snapshot_latest l;
    struct err err = {0};
    if (snapshot_latest_decode(bytes_slice(text), &l, &err) != RC_OK)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < l.retained.len; i++)
        sn_check_complete(w, &l.retained.items[i]);
    assert_true(l.retained.items[0].lsn >= w->latest_lsn);
    w->latest_lsn = l.retained.items[0].lsn;
    snapshot_latest_free(&l);
}

/* ---- world and nodes ---- */

static inline void sn_crash(struct snap_node *n);

static inline enum object_fault sn_fault(void *ctx, const struct object_op *op)
{
    struct snap_world *w = ctx;
    if (++w->ops == w->stop_at)
        return w->stop_fault;
    if (w->fault_percent && sim_env_random(&w->sim) % 100 < w->fault_percent)
        return (enum object_fault)(1 + sim_env_random(&w->sim) % 4);
    return OBJECT_FAULT_NONE;
}

static inline void sn_no_log(void *ctx, enum log_level level, struct slice line) {}

static inline void sn_world_init(struct snap_world *w, uint64_t seed, uint64_t delay_ms)
{
    memset(w, 0, sizeof(*w));
    log_set_sink(sn_no_log, NULL);
    sim_env_init(&w->sim, seed);
    w->sim.wall_base_ms = 1795369983111; /* 2026-11-22T17:53:03.111Z */
    w->hooks = (struct memory_objects_hooks){
        .fault = sn_fault, .changed = sn_changed, .ctx = w, .max_delay_ms = delay_ms, .late_ms = 60000};
    w->bucket = memory_objects_new(&w->sim.env, &w->hooks);
}

static inline void sn_world_free(struct snap_world *w)
{
    memory_objects_free(w->bucket);
    sim_env_free(&w->sim);
}

static inline void sn_open_repository(struct snap_node *n)
{
    struct object_retry_policy retry = {.initial_ms = 50, .max_ms = 400, .factor = 2, .max_attempts = 4};
    struct env *env = &n->w->sim.env;
    n->r = snapshot_repository_new(env, object_retry_new(env, memory_objects_open(n->w->bucket), &retry),
                                   memory_objects_open(n->scratch_bucket), &n->jobs.base, &n->config);
}

static inline void sn_open_store(struct snap_node *n)
{
    struct store_config config = {.partition_id = PARTITION,
                                  .key_end = UINT64_MAX,
                                  .cache_bytes = 1 << 20,
                                  .flush_dirty_bytes = 1 << 20,
                                  .flush_interval_ms = 1000};
    struct err err = {0};
    if (store_open(n->kv, &n->w->sim.env, &config, &n->s, &err) != RC_OK)
        fail_msg("%s", err.msg);
}

static inline void sn_node_init(struct snap_node *n, struct snap_world *w)
{
    memset(n, 0, sizeof(*n));
    n->w = w;
    n->config = (struct snapshot_repository_config){.prefix = "pre/fix",
                                                    .place = "s3://bucket/pre/fix",
                                                    .cluster_name = "test",
                                                    .node_name = "node-1",
                                                    .fingerprint = FINGERPRINT,
                                                    .num_retained = 1,
                                                    .grace_ms = 300000};
    job_runner_deferred_init(&n->jobs, &w->sim.env);
    n->scratch_bucket = memory_objects_new(&w->sim.env, NULL);
    n->kv = memory_backend_new(&w->sim.env);
    sn_open_repository(n);
    sn_open_store(n);
}

static inline void sn_closed(void *ctx)
{
    ((struct snap_node *)ctx)->closed = true;
}

static inline void sn_wait(struct snap_world *w, const bool *flag)
{
    for (int i = 0; i < 100000 && !*flag; i++)
        sim_env_advance(&w->sim, 10);
    assert_true(*flag);
}

static inline void sn_close_store(struct snap_node *n, bool abandon)
{
    if (!n->s)
        return;
    n->closed = false;
    store_close(n->s, abandon, sn_closed, n);
    sn_wait(n->w, &n->closed);
    n->s = NULL;
}

static inline void sn_close_repository(struct snap_node *n)
{
    n->closed = false;
    snapshot_repository_close(n->r, sn_closed, n);
    sn_wait(n->w, &n->closed);
    n->r = NULL;
}

/* The process dies and starts again: memory is lost, what was under way to the bucket may still happen. */
static inline void sn_crash(struct snap_node *n)
{
    sn_close_repository(n);
    memory_backend_crash(n->kv);
    sn_close_store(n, true);
    sn_open_repository(n);
}

static inline void sn_node_free(struct snap_node *n)
{
    if (n->r)
        sn_close_repository(n);
    sn_close_store(n, true);
    memory_backend_free(n->kv);
    memory_objects_free(n->scratch_bucket);
    job_runner_deferred_free(&n->jobs);
}

/* ---- content ---- */

static inline void sn_apply_to(struct snap_node *n, lsn_t to)
{
    while (store_vars(n->s)->applied_lsn < to) {
        lsn_t lsn = store_vars(n->s)->applied_lsn + 1;
        char key[16];
        snprintf(key, sizeof(key), "k%u", (unsigned)(lsn % 17));
        struct buf *b = buf_new(300);
        for (size_t i = 0; i < 300; i++)
            b->data[i] = (uint8_t)(lsn * (i + 7) >> 3);
        store_apply_begin(n->s, lsn, 1000 * lsn);
        store_state_put(n->s, SLICE_LIT("svc"), SLICE_LIT("obj"), slice_cstr(key), bytes_take_buf(b, 0, 300));
        store_apply_end(n->s);
        store_maintain(n->s);
        uint64_t hash = store_vars(n->s)->state_hash;
        assert_true(n->w->hash_at[lsn] == 0 || n->w->hash_at[lsn] == hash);
        n->w->hash_at[lsn] = hash;
    }
}

struct sn_sum {
    uint64_t hash;
    size_t n;
};
static inline bool sn_add(void *ctx, struct slice key, struct bytes v)
{
    struct sn_sum *s = ctx;
    s->hash = hash64_combine(hash64_combine(s->hash, hash64(key)), hash64(bytes_slice(v)));
    s->n++;
    return true;
}

/* The store has exactly what was applied up to `lsn` (T-c). */
static inline void sn_check_content(struct snap_node *n, lsn_t lsn)
{
    assert_int_equal(store_vars(n->s)->applied_lsn, lsn);
    assert_true(store_vars(n->s)->state_hash == n->w->hash_at[lsn]);
    struct snap_node plain;
    sn_node_init(&plain, n->w);
    sn_apply_to(&plain, lsn);
    struct sn_sum a = {0}, b = {0};
    store_state_scan(n->s, SLICE_LIT("svc"), SLICE_LIT("obj"), sn_add, &a);
    store_state_scan(plain.s, SLICE_LIT("svc"), SLICE_LIT("obj"), sn_add, &b);
    assert_int_equal(a.n, b.n);
    assert_true(a.hash == b.hash);
    sn_node_free(&plain);
}

/* ---- calls ---- */

static inline void sn_on_created(void *ctx, const struct snapshot_created *c, const struct err *err)
{
    struct snap_node *n = ctx;
    n->created = true;
    n->creating = NULL;
    n->err = err ? *err : (struct err){0};
    if (c)
        n->create = *c;
}

static inline void sn_create_start(struct snap_node *n, lsn_t min_lsn)
{
    struct snapshot_create_request q = {.store = n->s,
                                        .partition_id = PARTITION,
                                        .log_id = PARTITION,
                                        .key_end = UINT64_MAX,
                                        .min_lsn = min_lsn};
    n->created = false;
    n->creating = snapshot_create_start(n->r, &q, sn_on_created, n);
    assert_false(n->created);
}

static inline enum rc sn_create(struct snap_node *n)
{
    sn_create_start(n, 0);
    sn_wait(n->w, &n->created);
    return n->err.rc;
}

static inline void sn_on_loaded(void *ctx, const struct snapshot_ref *ref, const struct err *err)
{
    struct snap_node *n = ctx;
    n->loaded = true;
    n->err = err ? *err : (struct err){0};
    if (ref)
        n->load = *ref;
}

static inline void sn_load_start(struct snap_node *n, lsn_t min_lsn)
{
    struct snapshot_load_request q = {.kv = n->kv, .partition_id = PARTITION, .min_lsn = min_lsn};
    n->loaded = false;
    snapshot_load_start(n->r, &q, sn_on_loaded, n);
    assert_false(n->loaded);
}

/* The store must be closed. */
static inline enum rc sn_load(struct snap_node *n, lsn_t min_lsn)
{
    sn_load_start(n, min_lsn);
    sn_wait(n->w, &n->loaded);
    assert_null(memory_objects_next(n->scratch_bucket, NULL)); /* it is left clean */
    return n->err.rc;
}

/* Load into a fresh node and compare. Returns the LSN. */
static inline lsn_t sn_load_and_check(struct snap_world *w, lsn_t min_lsn)
{
    struct snap_node n;
    sn_node_init(&n, w);
    sn_close_store(&n, true);
    if (sn_load(&n, min_lsn) != RC_OK)
        fail_msg("%s", n.err.msg);
    sn_open_store(&n);
    sn_check_content(&n, n.load.lsn);
    lsn_t lsn = n.load.lsn;
    sn_node_free(&n);
    return lsn;
}

static inline void sn_on_status(void *ctx, const struct snapshot_status *s, const struct err *err)
{
    struct snap_node *n = ctx;
    n->known = true;
    n->err = err ? *err : (struct err){0};
    n->status = s ? *s : (struct snapshot_status){0};
}

static inline enum rc sn_status(struct snap_node *n)
{
    n->known = false;
    snapshot_repository_status(n->r, PARTITION, sn_on_status, n);
    sn_wait(n->w, &n->known);
    return n->err.rc;
}

/* Directories of snapshots in the bucket. */
static inline size_t sn_directories(struct snap_world *w)
{
    size_t n = 0;
    char before[400] = "";
    for (const char *k = memory_objects_next(w->bucket, NULL); k; k = memory_objects_next(w->bucket, k)) {
        char dir[400];
        snprintf(dir, sizeof(dir), "%s", k);
        *strrchr(dir, '/') = 0;
        if (strcmp(k, LATEST) == 0 || strcmp(dir, before) == 0)
            continue;
        n++;
        snprintf(before, sizeof(before), "%s", dir);
    }
    return n;
}
