/* What every object store must do, for the directory and for memory; that retries repeat what may be repeated
 * and nothing else; that closing answers everything. */
#include "unit/objects/objects_fixture.h"

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
