/* The `memory` provider keeps the contract of log.h over nothing but struct env. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "bifrost/log.h"

/* An env that knows only deferred tasks. */
static struct list deferred;

static void fake_defer(struct env *e, struct env_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&deferred, &t->link);
}
static const struct env_ops fake_ops = {.defer = fake_defer};
static struct env env = {&fake_ops};

static void run_deferred(void)
{
    struct list *n;
    while ((n = list_pop_front(&deferred))) {
        struct env_task *t = CONTAINER_OF(n, struct env_task, link);
        t->run(t);
    }
}

static struct log *reader_log;
static lsn_t seen, gap_to;
static size_t calls;

static void on_records(void *ctx, const struct log_record *records, size_t n)
{
    calls++;
    assert_true(n <= LOG_READ_BATCH);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(records[i].lsn, seen + 1);
        assert_int_equal(records[i].body.ptr[0], (uint8_t)records[i].lsn);
        seen++;
    }
    if (seen == 5) /* callbacks may append */
        assert_int_equal(log_append(reader_log, bytes_copy(slice_make(&(uint8_t){6}, 1)), NULL), RC_OK);
}
static void on_trim_gap(void *ctx, lsn_t from, lsn_t to)
{
    assert_int_equal(from, seen + 1);
    seen = gap_to = to;
}
static void on_error(void *ctx, const struct err *err)
{
    fail();
}
static const struct log_reader_ops reader = {
    .on_records = on_records, .on_trim_gap = on_trim_gap, .on_error = on_error};

static size_t done_calls;
static enum rc done_rc;
static void appended(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    done_calls++;
    done_rc = rc;
}
static lsn_t found_tail;
static void on_tail(void *ctx, enum rc rc, lsn_t tail)
{
    assert_int_equal(rc, RC_OK);
    found_tail = tail;
}
static void closed(void *ctx)
{
    ++*(int *)ctx;
}

static void append_n(struct log *log, lsn_t first, size_t n, struct log_append_wait *w)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(first + i);
        assert_int_equal(log_append(log, bytes_copy(slice_make(&byte, 1)), i + 1 == n ? w : NULL), RC_OK);
    }
}

static int reset(void **state)
{
    list_init(&deferred);
    seen = gap_to = found_tail = 0;
    calls = done_calls = 0;
    return 0;
}

static void appends_commit_in_the_next_pass_in_order(void **state)
{
    struct memory_logs *m = memory_logs_new();
    struct log *log = reader_log = memory_log_open(m, &env, 4);
    struct log_append_wait w = {.done = appended};
    log_read_from(log, 1, &reader, NULL);
    append_n(log, 1, 5, &w);
    assert_int_equal(log->inflight_bytes, 5);
    assert_int_equal(done_calls + calls, 0); /* never from within the call */
    run_deferred();
    assert_int_equal(done_calls, 1);
    assert_int_equal(seen, 6);
    assert_int_equal(log->committed, 6);
    assert_int_equal(log->inflight_bytes, 0);
    int n = 0;
    log_close(log, closed, &n);
    run_deferred();
    assert_int_equal(n, 1);
    memory_logs_free(m);
}

static void content_survives_closing_and_trim_makes_a_gap(void **state)
{
    struct memory_logs *m = memory_logs_new();
    struct log *log = memory_log_open(m, &env, 4);
    int n = 0;
    append_n(log, 1, 1000, NULL);
    run_deferred();
    log_trim(log, 300);
    log_close(log, closed, &n);
    run_deferred();
    log = memory_log_open(m, &env, 4);
    assert_int_equal(log->committed, 1000);
    assert_int_equal(log->trim_point, 300);
    log_read_from(log, 1, &reader, NULL);
    run_deferred();
    assert_int_equal(gap_to, 300);
    assert_int_equal(seen, 1000);
    assert_int_equal(calls, 3);
    log_close(log, closed, &n);
    run_deferred();
    memory_logs_free(m);
}

static void sealing_and_closing_end_appends(void **state)
{
    struct memory_logs *m = memory_logs_new();
    struct log *log = memory_log_open(m, &env, 4);
    struct log_append_wait w = {.done = appended};
    append_n(log, 1, 2, &w);
    log_seal(log, on_tail, NULL);
    assert_int_equal(log_append(log, bytes_static(SLICE_LIT("x")), NULL), RC_SEALED);
    run_deferred();
    assert_int_equal(found_tail, 3);
    assert_int_equal(done_rc, RC_OK);
    int n = 0;
    log_close(log, closed, &n);
    run_deferred();
    log = memory_log_open(m, &env, 5);
    append_n(log, 1, 1, &w);
    log_close(log, closed, &n);
    assert_int_equal(done_rc, RC_CLOSED);
    run_deferred();
    assert_int_equal(n, 2);
    memory_logs_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(appends_commit_in_the_next_pass_in_order, reset),
        cmocka_unit_test_setup(content_survives_closing_and_trim_makes_a_gap, reset),
        cmocka_unit_test_setup(sealing_and_closing_end_appends, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
