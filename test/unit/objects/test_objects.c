/* What every object store must do, for the directory and for memory; that retries repeat what may be repeated
 * and nothing else; that closing answers everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/workers.h"
#include "objects/file_objects.h"
#include "objects/memory_objects.h"
#include "sim/sim_env.h"

struct world {
    struct sim_env sim;
    struct memory_objects *bucket;
    struct object_store *store;
    char dir[64];
    enum object_fault faults[32];
    size_t n_faults, asked;
    bool closed;
};

struct call {
    struct object_op op;
    bool done;
};

static void call_done(struct object_op *op)
{
    struct call *c = CONTAINER_OF(op, struct call, op);
    assert_false(c->done);
    c->done = true;
}

static void submit(struct world *w, struct call *c, enum object_op_kind kind, const char *key)
{
    c->op.kind = kind;
    c->op.key = key;
    c->op.done = call_done;
    c->op.max_bytes = c->op.max_bytes ? c->op.max_bytes : 1000;
    c->done = false;
    object_submit(w->store, &c->op);
    assert_false(c->done);
}

static void wait(struct world *w, struct call *c)
{
    for (int i = 0; i < 1000 && !c->done; i++)
        sim_env_advance(&w->sim, 100);
    assert_true(c->done);
}

static enum rc put(struct world *w, const char *key, const char *text, enum object_condition condition,
                   char etag[OBJECT_ETAG_MAX])
{
    struct call c = {.op = {.body = bytes_static(slice_cstr(text)), .condition = condition}};
    if (etag)
        memcpy(c.op.etag, etag, OBJECT_ETAG_MAX);
    submit(w, &c, OBJECT_PUT, key);
    wait(w, &c);
    if (etag && c.op.rc == RC_OK)
        memcpy(etag, c.op.etag, OBJECT_ETAG_MAX);
    assert_int_equal(c.op.rc == RC_OK ? 0 : c.op.rc, c.op.err.rc);
    object_op_release(&c.op);
    return c.op.rc;
}

static enum rc expect(struct world *w, const char *key, const char *text, char etag[OBJECT_ETAG_MAX])
{
    struct call c = {0};
    submit(w, &c, OBJECT_GET, key);
    wait(w, &c);
    if (text) {
        assert_int_equal(c.op.rc, RC_OK);
        assert_true(slice_eq_cstr(bytes_slice(c.op.content), text));
    }
    if (etag)
        memcpy(etag, c.op.etag, OBJECT_ETAG_MAX);
    enum rc rc = c.op.rc;
    object_op_release(&c.op);
    return rc;
}

static enum rc delete (struct world *w, const char *key) {
    struct call c = {0}; submit(w, &c, OBJECT_DELETE, key); wait(w, &c); return c.op.rc;
}

static void expect_list(struct world *w, const char *prefix, size_t n, const char *const *keys)
{
    struct call c = {0};
    submit(w, &c, OBJECT_LIST, prefix);
    wait(w, &c);
    assert_int_equal(c.op.rc, RC_OK);
    assert_int_equal(c.op.listed.len, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(c.op.listed.items[i].key, keys[i]);
    object_op_release(&c.op);
}

static enum object_fault next_fault(void *ctx, const struct object_op *op)
{
    struct world *w = ctx;
    size_t i = w->asked++;
    return i < w->n_faults ? w->faults[i] : OBJECT_FAULT_NONE;
}

static void open_memory(struct world *w, uint64_t delay_ms)
{
    memset(w, 0, sizeof(*w));
    sim_env_init(&w->sim, 3);
    struct memory_objects_hooks hooks = {
        .fault = next_fault, .ctx = w, .max_delay_ms = delay_ms, .late_ms = 5000};
    w->bucket = memory_objects_new(&w->sim.env, &hooks);
    w->store = memory_objects_open(w->bucket);
}

struct file_runner {
    struct job_runner_deferred deferred;
};

static void open_file(struct world *w)
{
    memset(w, 0, sizeof(*w));
    sim_env_init(&w->sim, 3);
    snprintf(w->dir, sizeof(w->dir), "/tmp/objects-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    struct file_runner *r = xcalloc(1, sizeof(*r));
    job_runner_deferred_init(&r->deferred, &w->sim.env);
    struct file_objects_config config = {.directory = w->dir, .durable = true};
    w->store = file_objects_new(&w->sim.env, &r->deferred.base, &config);
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->closed = true;
}

static void close_world(struct world *w)
{
    object_store_close(w->store, on_closed, w);
    sim_env_advance(&w->sim, 1000);
    assert_true(w->closed);
    if (w->bucket)
        memory_objects_free(w->bucket);
    sim_env_free(&w->sim);
    if (w->dir[0]) {
        char command[128];
        snprintf(command, sizeof(command), "rm -rf %s", w->dir);
        assert_int_equal(system(command), 0);
    }
}

static void contract(struct world *w)
{
    char etag[OBJECT_ETAG_MAX] = "", stale[OBJECT_ETAG_MAX];
    assert_int_equal(expect(w, "a/b", NULL, NULL), RC_NOT_FOUND);
    assert_int_equal(put(w, "a/b", "one", OBJECT_MATCHES, etag), RC_CONFLICT);
    assert_int_equal(put(w, "a/b", "one", OBJECT_ABSENT, etag), RC_OK);
    assert_int_equal(put(w, "a/b", "two", OBJECT_ABSENT, NULL), RC_CONFLICT);
    assert_int_equal(expect(w, "a/b", "one", stale), RC_OK);
    assert_string_equal(stale, etag);
    assert_int_equal(put(w, "a/b", "two", OBJECT_MATCHES, etag), RC_OK);
    assert_string_not_equal(stale, etag);
    assert_int_equal(put(w, "a/b", "three", OBJECT_MATCHES, stale), RC_CONFLICT);
    assert_int_equal(expect(w, "a/b", "two", NULL), RC_OK);
    assert_int_equal(put(w, "a/b", "three", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(put(w, "a/c/d", "", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(put(w, "ab", "x", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(expect(w, "a/c/d", "", NULL), RC_OK);
    assert_int_equal(expect(w, "a", NULL, NULL), RC_NOT_FOUND);
    expect_list(w, "", 3, (const char *const[]){"a/b", "a/c/d", "ab"});
    expect_list(w, "a/", 2, (const char *const[]){"a/b", "a/c/d"});
    expect_list(w, "a/c", 1, (const char *const[]){"a/c/d"});
    expect_list(w, "zz/", 0, NULL);
    struct call c = {.op = {.max_bytes = 4}};
    submit(w, &c, OBJECT_GET, "a/b");
    wait(w, &c);
    assert_int_equal(c.op.rc, RC_TOO_LARGE);
    assert_int_equal(delete (w, "a/c/d"), RC_OK);
    assert_int_equal(delete (w, "a/c/d"), RC_OK);
    assert_int_equal(expect(w, "a/c/d", NULL, NULL), RC_NOT_FOUND);
    expect_list(w, "", 2, (const char *const[]){"a/b", "ab"});
    assert_int_equal(put(w, "a/c/d", "again", OBJECT_ANY, NULL), RC_OK);
}

static void memory_keeps_the_contract(void **state)
{
    struct world w;
    open_memory(&w, 50);
    contract(&w);
    close_world(&w);
}

static void directory_keeps_the_contract(void **state)
{
    struct world w;
    open_file(&w);
    contract(&w);
    close_world(&w);
}

static void directory_cleans_up_and_refuses(void **state)
{
    struct world w;
    open_file(&w);
    assert_int_equal(put(&w, "a/b", "x", OBJECT_ANY, NULL), RC_OK);
    char path[128];
    snprintf(path, sizeof(path), "%s/a/.tmp-999999999-1", w.dir); /* of a process that is no more */
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    expect_list(&w, "", 1, (const char *const[]){"a/b"});
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(put(&w, "../x", "x", OBJECT_ANY, NULL), RC_INVALID);
    assert_int_equal(put(&w, "a//x", "x", OBJECT_ANY, NULL), RC_INVALID);
    assert_int_equal(put(&w, "a/b/c", "x", OBJECT_ANY, NULL), RC_INVALID); /* a/b is an object */
    if (geteuid() != 0) {
        chmod(w.dir, 0500);
        assert_int_equal(put(&w, "new/x", "x", OBJECT_ANY, NULL), RC_INVALID);
        chmod(w.dir, 0700);
    }
    close_world(&w);
}

static void add_retry(struct world *w, unsigned attempts)
{
    struct object_retry_policy policy = {
        .initial_ms = 100, .max_ms = 1000, .factor = 2, .max_attempts = attempts};
    w->store = object_retry_new(&w->sim.env, w->store, &policy);
}

static void set_faults(struct world *w, size_t n, const enum object_fault *faults)
{
    memcpy(w->faults, faults, n * sizeof(*faults));
    w->n_faults = n;
    w->asked = 0;
}

static void retries_repeat_what_may_be_repeated(void **state)
{
    struct world w;
    open_memory(&w, 20);
    add_retry(&w, 4);
    contract(&w);
    const enum object_fault unsure[] = {OBJECT_FAULT_REFUSED, OBJECT_FAULT_LOST, OBJECT_FAULT_LOST_ANSWER};
    set_faults(&w, 3, unsure);
    assert_int_equal(put(&w, "r", "1", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(w.asked, 4);
    set_faults(&w, 3, unsure);
    assert_int_equal(expect(&w, "r", "1", NULL), RC_OK);
    set_faults(&w, 3, unsure);
    assert_int_equal(delete (&w, "r"), RC_OK);
    /* a condition that may have been fulfilled by the lost try is not tried again */
    set_faults(&w, 3, unsure);
    assert_int_equal(put(&w, "r", "1", OBJECT_ABSENT, NULL), RC_TIMEOUT);
    assert_int_equal(w.asked, 2);
    /* an end */
    const enum object_fault down[] = {OBJECT_FAULT_REFUSED, OBJECT_FAULT_REFUSED, OBJECT_FAULT_REFUSED,
                                      OBJECT_FAULT_REFUSED, OBJECT_FAULT_REFUSED};
    set_faults(&w, 5, down);
    assert_int_equal(expect(&w, "a/b", NULL, NULL), RC_UNAVAILABLE);
    assert_int_equal(w.asked, 4);
    close_world(&w);
}

static void closing_answers_everything(void **state)
{
    for (int retry = 0; retry < 2; retry++) {
        struct world w;
        open_memory(&w, 300);
        if (retry)
            add_retry(&w, 0);
        const enum object_fault down[] = {OBJECT_FAULT_REFUSED, OBJECT_FAULT_REFUSED, OBJECT_FAULT_LATE};
        set_faults(&w, 3, down);
        struct call calls[6] = {0};
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            calls[i].op.body = bytes_static(SLICE_LIT("x"));
            submit(&w, &calls[i], i % 2 ? OBJECT_GET : OBJECT_PUT, "k");
        }
        sim_env_advance(&w.sim, 100);
        close_world(&w);
        for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
            assert_true(calls[i].done);
            object_op_release(&calls[i].op);
        }
    }
}

/* ---- real threads ---- */

struct racer {
    struct call call;
    struct object_store *store;
    struct loop *loop;
    unsigned *left;
    int wins;
};

static void raced(struct object_op *op)
{
    struct racer *r = CONTAINER_OF(op, struct racer, call.op);
    r->wins += op->rc == RC_OK;
    assert_true(op->rc == RC_OK || op->rc == RC_CONFLICT);
    if (--*r->left == 0)
        loop_stop(r->loop);
}

static void stop_loop(void *ctx)
{
    loop_stop(ctx);
}

/* Only one of many that write under the same condition at the same time wins. */
static void one_writer_wins_in_a_directory(void **state)
{
    char dir[] = "/tmp/objects-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct loop *loop = loop_new("test");
    struct workers *workers = workers_new("objects", 8);
    struct file_objects_config config = {.directory = dir, .durable = false};
    struct object_store *store = file_objects_new(loop_env(loop), workers_runner_new(workers, loop), &config);
    struct racer racers[16] = {0};
    for (int round = 0; round < 10; round++) {
        char key[16];
        snprintf(key, sizeof(key), "k/%d", round);
        unsigned left = ARRAY_LEN(racers);
        for (size_t i = 0; i < ARRAY_LEN(racers); i++) {
            racers[i] = (struct racer){.loop = loop, .left = &left};
            struct object_op *op = &racers[i].call.op;
            op->kind = OBJECT_PUT;
            op->key = key;
            op->condition = OBJECT_ABSENT;
            op->body = bytes_static(slice_make("0123456789abcdef", i + 1));
            op->done = raced;
            object_submit(store, op);
        }
        loop_run(loop);
        int wins = 0;
        for (size_t i = 0; i < ARRAY_LEN(racers); i++)
            wins += racers[i].wins;
        assert_int_equal(wins, 1);
    }
    object_store_close(store, stop_loop, loop);
    loop_run(loop);
    workers_free(workers);
    loop_free(loop);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_keeps_the_contract),
        cmocka_unit_test(directory_keeps_the_contract),
        cmocka_unit_test(directory_cleans_up_and_refuses),
        cmocka_unit_test(retries_repeat_what_may_be_repeated),
        cmocka_unit_test(closing_answers_everything),
        cmocka_unit_test(one_writer_wins_in_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
