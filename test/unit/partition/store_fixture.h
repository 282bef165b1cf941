/* A store over either backend for the tests of the store: `memory` in virtual time, `rocks` on a real loop
 * and a directory of its own. Tests drive both in the same way. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "partition/snapshot.h"
#include "partition/store_internal.h"
#include "sim/sim_env.h"

struct store_fixture {
    bool rocks;
    struct sim_env sim;
    struct loop *loop;
    struct rocks_db *db;
    char dir[64];
    struct env *env;
    struct kv_backend *kv;
    struct store_config config;
    struct partition_store *s;
    uint64_t now_ms;
    bool done;
};

static inline void sf_open_store(struct store_fixture *f)
{
    struct err err = {0};
    if (store_open(f->kv, f->env, &f->config, &f->s, &err) != RC_OK)
        fail_msg("%s", err.msg);
}

static inline void sf_open_backend(struct store_fixture *f)
{
    if (!f->rocks) {
        f->kv = memory_backend_new(f->env);
        return;
    }
    struct err err = {0};
    struct rocks_db_config config = {f->dir, 16 << 20};
    if (rocks_db_open(&config, &f->db, &err) != RC_OK)
        fail_msg("%s", err.msg);
    f->kv = rocks_backend_new(f->db, f->loop);
}

static inline void sf_init(struct store_fixture *f, bool rocks)
{
    memset(f, 0, sizeof(*f));
    f->rocks = rocks;
    f->now_ms = 1000000;
    f->config = (struct store_config){.partition_id = 258,
                                      .key_end = UINT64_MAX,
                                      .cache_bytes = 64 << 20,
                                      .flush_dirty_bytes = 4 << 20,
                                      .flush_interval_ms = 10000};
    if (rocks) {
        f->loop = loop_new("test");
        f->env = loop_env(f->loop);
        snprintf(f->dir, sizeof(f->dir), "/tmp/store-test-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
    } else {
        sim_env_init(&f->sim, 1);
        f->env = &f->sim.env;
    }
    sf_open_backend(f);
    sf_open_store(f);
}

static inline void sf_stop_loop(struct store_fixture *f)
{
    f->done = true;
    if (f->rocks)
        loop_stop(f->loop);
}
static inline void sf_on_flushed(void *ctx, lsn_t durable)
{
    sf_stop_loop(ctx);
}
static inline void sf_on_closed(void *ctx)
{
    sf_stop_loop(ctx);
}
/* Run until a callback above came. */
static inline void sf_wait(struct store_fixture *f)
{
    if (f->rocks)
        loop_run(f->loop);
    for (int i = 0; i < 1000 && !f->done; i++)
        sim_env_advance(&f->sim, 10);
    assert_true(f->done);
    f->done = false;
}

static inline void sf_flush(struct store_fixture *f)
{
    store_flush(f->s, sf_on_flushed, f);
    sf_wait(f);
    assert_null(store_failure(f->s));
}

static inline void sf_close_store(struct store_fixture *f, bool abandon)
{
    store_close(f->s, abandon, sf_on_closed, f);
    sf_wait(f);
    f->s = NULL;
}

static inline void sf_close_backend(struct store_fixture *f)
{
    if (f->rocks) {
        rocks_backend_free(f->kv);
        rocks_db_close(f->db);
    } else {
        memory_backend_free(f->kv);
    }
}

/* Everything out of memory and back. */
static inline void sf_reopen(struct store_fixture *f)
{
    sf_close_store(f, false);
    if (f->rocks) {
        sf_close_backend(f);
        sf_open_backend(f);
    }
    sf_open_store(f);
}

/* Flush, then drop everything clean from the cache. */
static inline void sf_evict(struct store_fixture *f)
{
    sf_flush(f);
    size_t budget = f->s->config.cache_bytes;
    f->s->config.cache_bytes = 0;
    store_maintain(f->s);
    f->s->config.cache_bytes = budget;
}

/* ---- snapshots ---- */

struct sf_snapshot {
    lsn_t lsn;
    struct {
        struct bytes *items;
        size_t len, cap;
    } files;
    struct store_export *export;
    struct err err;
    bool end;
};

static inline void sf_snapshot_free(struct sf_snapshot *x)
{
    for (size_t i = 0; i < x->files.len; i++)
        bytes_unref(&x->files.items[i]);
    VEC_FREE(&x->files);
    *x = (struct sf_snapshot){0};
}

struct sf_snapshot_call {
    struct store_fixture *f;
    struct sf_snapshot *x;
};

static inline void sf_export_ready(void *ctx, lsn_t lsn, const struct err *err)
{
    struct sf_snapshot_call *c = ctx;
    c->x->lsn = lsn;
    c->x->err = err ? *err : (struct err){0};
    sf_stop_loop(c->f);
}

static inline void sf_export_file(void *ctx, struct snapshot_file *file_take, const struct err *err)
{
    struct sf_snapshot_call *c = ctx;
    c->x->err = err ? *err : (struct err){0};
    c->x->end = !file_take;
    if (file_take) {
        VEC_PUSH(&c->x->files, bytes_ref(file_take->content));
        snapshot_file_release(file_take);
    }
    sf_stop_loop(c->f);
}

static inline void sf_export_begin(struct store_fixture *f, struct job_runner *jobs, struct sf_snapshot *x)
{
    struct sf_snapshot_call c = {f, x};
    x->export = store_export_new(f->s, jobs, sf_export_ready, &c);
    sf_wait(f);
    assert_int_equal(x->err.rc, RC_OK);
}

static inline void sf_export_rest(struct store_fixture *f, struct sf_snapshot *x)
{
    struct sf_snapshot_call c = {f, x};
    while (!x->end) {
        store_export_next(x->export, sf_export_file, &c);
        sf_wait(f);
        if (x->err.rc != RC_OK)
            fail_msg("%s", x->err.msg);
    }
    store_export_free(x->export);
    x->export = NULL;
}

static inline void sf_export(struct store_fixture *f, struct sf_snapshot *x)
{
    struct job_runner_deferred jobs;
    job_runner_deferred_init(&jobs, f->env);
    sf_export_begin(f, &jobs.base, x);
    sf_export_rest(f, x);
    job_runner_deferred_free(&jobs);
}

struct sf_import_call {
    struct store_fixture *f;
    struct err err;
};

static inline void sf_import_called(void *ctx, const struct err *err)
{
    struct sf_import_call *c = ctx;
    c->err = err ? *err : (struct err){0};
    sf_stop_loop(c->f);
}

static inline void sf_drop(struct store_fixture *f)
{
    struct sf_import_call c = {.f = f};
    store_drop(f->kv, f->config.partition_id, sf_import_called, &c);
    sf_wait(f);
    assert_int_equal(c.err.rc, RC_OK);
}

/* Import into the closed partition; `steps`: how many calls are made before it is left (SIZE_MAX: all). */
static inline enum rc sf_import_steps(struct store_fixture *f, const struct sf_snapshot *x, size_t steps,
                                      struct err *err)
{
    struct job_runner_deferred jobs;
    job_runner_deferred_init(&jobs, f->env);
    struct sf_import_call c = {.f = f};
    struct store_import *i = store_import_new(f->kv, &jobs.base, f->config.partition_id, x->lsn);
    for (size_t n = 0; n < steps && n < x->files.len + 2 && c.err.rc == RC_OK; n++) {
        if (n == 0)
            store_import_begin(i, sf_import_called, &c);
        else if (n <= x->files.len)
            store_import_file(i, bytes_ref(x->files.items[n - 1]), sf_import_called, &c);
        else
            store_import_commit(i, sf_import_called, &c);
        sf_wait(f);
    }
    store_import_free(i);
    job_runner_deferred_free(&jobs);
    if (err)
        *err = c.err;
    return c.err.rc;
}

static inline enum rc sf_import(struct store_fixture *f, const struct sf_snapshot *x, struct err *err)
{
    return sf_import_steps(f, x, SIZE_MAX, err);
}

static inline void sf_free(struct store_fixture *f)
{
    if (f->s)
        sf_close_store(f, true);
    sf_close_backend(f);
    if (f->rocks) {
        loop_free(f->loop);
        char command[96];
        snprintf(command, sizeof(command), "rm -rf %s", f->dir);
        assert_int_equal(system(command), 0);
    } else {
        sim_env_free(&f->sim);
    }
}

static inline void sf_begin(struct store_fixture *f)
{
    store_apply_begin(f->s, store_vars(f->s)->applied_lsn + 1, f->now_ms);
}
static inline void sf_end(struct store_fixture *f)
{
    store_apply_end(f->s);
}

/* ---- building invocations ---- */

static inline struct invocation_id sf_id(uint64_t n)
{
    return (struct invocation_id){.partition_key = n * 0x9e3779b97f4a7c15u, .uuid = {n, ~n}};
}

struct sf_spec {
    struct target target;
    uint64_t completion_retention_ms, journal_retention_ms;
    struct slice input;
};

/* An InputCommandMessage around `content`. */
static inline struct bytes sf_input(struct bytes content_take)
{
    struct writer w = WRITER_INIT;
    input_write_value(&w, bytes_slice(content_take));
    bytes_unref(&content_take);
    return writer_take(&w);
}

/* The origin as an Invoke record would carry it, and entry 0 as a part of it. */
static inline struct invocation *sf_create(struct partition_store *s, struct invocation_id id,
                                           const struct sf_spec *spec, uint64_t now_ms)
{
    struct service_invocation si = {.id = id,
                                    .target = spec->target,
                                    .input = spec->input,
                                    .completion_retention_ms = spec->completion_retention_ms,
                                    .journal_retention_ms = spec->journal_retention_ms,
                                    .created_using = SLICE_LIT("test")};
    struct writer w = WRITER_INIT;
    service_invocation_write(&w, &si);
    struct bytes origin = writer_take(&w);
    struct invocation *inv = store_invocation_create(s, id);
    struct err err = {0};
    assert_int_equal(invocation_set_origin(inv, origin, &err), RC_OK);
    bytes_unref(&origin);
    inv->status = INV_INVOKED;
    inv->at.created_at = inv->at.modified_at = now_ms;
    struct journal_entry input = {
        .type = MSG_INPUT, .appended_at_ms = now_ms, .payload = bytes_part(inv->origin, inv->si.input)};
    store_journal_append(s, inv, &input);
    inv->commands = 1;
    store_invocation_changed(s, inv);
    return inv;
}

static inline void sf_complete(struct partition_store *s, struct invocation *inv, struct bytes value_take,
                               uint64_t now_ms)
{
    inv->status = INV_COMPLETED;
    inv->at.completed_at = inv->at.modified_at = now_ms;
    inv->result_bytes = value_take;
    inv->result = (struct outcome){.kind = OUTCOME_SUCCESS, .value = bytes_slice(value_take)};
    VEC_FREE(&inv->sinks);
    store_invocation_changed(s, inv);
}

static inline struct bytes sf_fill(size_t len, uint64_t seed)
{
    struct buf *b = buf_new(len ? len : 1);
    for (size_t i = 0; i < len; i++)
        b->data[i] = (uint8_t)(seed + i * (seed | 1) + (i >> 8));
    return bytes_take_buf(b, 0, len);
}
