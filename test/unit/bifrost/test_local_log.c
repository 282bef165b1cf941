/* The local provider over a real directory, with two shard loops and the log loop as threads: records come
 * back in order, live and after a restart; appends of many logs share writes; trim, seal, find_tail and close
 * do what log.h says.
 *
 * Run by hand with BIFROST_BENCH=<records per log> to see records per second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "bifrost/disk_memory.h"
#include "bifrost/local_internal.h"
#include "bifrost/log.h"
#include "loop/loop.h"

#define SHARDS 2

static char directory[64];
static struct local_logs *logs;
static struct loop *loops[SHARDS];
static struct local_logs_port *ports[SHARDS];
static sem_t finished;

/* Run `run(ctx)` on a shard's loop. */
struct call {
    struct loop_msg msg;
    void (*run)(void *ctx);
    void *ctx;
};

static void deliver_call(struct loop_msg *m)
{
    struct call *c = CONTAINER_OF(m, struct call, msg);
    c->run(c->ctx);
    free(c);
}

static void call_on(int shard, void (*run)(void *ctx), void *ctx)
{
    struct call *c = xcalloc(1, sizeof(*c));
    c->msg.deliver = deliver_call;
    c->run = run;
    c->ctx = ctx;
    loop_post(loops[shard], &c->msg);
}

static void free_port(void *ctx)
{
    local_logs_port_free(ctx);
    sem_post(&finished);
}

static struct disk *memory_disk; /* taken by the next start instead of the directory */

static void start(void)
{
    struct local_logs_config config = {directory, 0};
    struct segment_store_options small = {.random = 5,
                                          .first_segment_bytes = 64 << 10,
                                          .max_segment_bytes = 256 << 10,
                                          .reserve_bytes = 64 << 10};
    struct err err = {0};
    enum rc rc = memory_disk ? local_logs_open_disk(&config, &small, memory_disk, &logs, &err)
                             : local_logs_open(&config, &logs, &err);
    memory_disk = NULL;
    if (rc != RC_OK)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, RC_OK);
    for (int i = 0; i < SHARDS; i++) {
        loops[i] = loop_new(i ? "shard1" : "shard0");
        ports[i] = local_logs_port_new(logs, loops[i]);
        loop_start(loops[i]);
    }
}

static void stop(void)
{
    for (int i = 0; i < SHARDS; i++) {
        call_on(i, free_port, ports[i]);
        sem_wait(&finished);
        loop_stop(loops[i]);
        loop_join(loops[i]);
    }
    local_logs_close(logs);
    /* Only now: ThreadSanitizer does not see libuv close descriptors, and would take the reuse of their
     * numbers by the pool thread of the log loop for a race. */
    for (int i = 0; i < SHARDS; i++)
        loop_free(loops[i]);
}

static int make_directory(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/test_local_log.XXXXXX");
    sem_init(&finished, 0, 0);
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    return system(command);
}

/* ---- a user of one log: appends, reads what it appended, closes ---- */

struct driver {
    struct log *log;
    uint32_t log_id;
    int shard;
    size_t to_append, window, body_len;
    size_t appended, acked;
    lsn_t read_from, next, read_upto;
    bool append_first; /* the reader starts when half of the records are there */
    uint64_t gaps;
    lsn_t trim_when_done;
    struct waiter {
        struct log_append_wait wait;
        struct driver *driver;
        struct list free;
    } * waiters;
    struct list free_waiters;
};

static void fill_body(uint8_t *p, size_t len, uint32_t log_id, lsn_t lsn)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(lsn * 31 + log_id * 7 + i);
}

static void driver_closed(void *ctx)
{
    sem_post(&finished);
}

static void driver_maybe_close(struct driver *d)
{
    if (d->log && d->acked == d->to_append && d->next > d->read_upto) {
        if (d->trim_when_done)
            log_trim(d->log, d->trim_when_done);
        struct log *log = d->log;
        d->log = NULL;
        log_close(log, driver_closed, d);
    }
}

static void on_records(void *ctx, const struct log_record *records, size_t n)
{
    struct driver *d = ctx;
    assert_true(n > 0 && n <= LOG_READ_BATCH);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(records[i].lsn, d->next);
        assert_int_equal(records[i].body.len, d->body_len);
        uint8_t expected[4096];
        fill_body(expected, d->body_len, d->log_id, d->next);
        assert_memory_equal(records[i].body.ptr, expected, d->body_len);
        d->next++;
    }
    assert_true(d->next - 1 <= d->log->committed);
    driver_maybe_close(d);
}

static void on_trim_gap(void *ctx, lsn_t from, lsn_t to)
{
    struct driver *d = ctx;
    assert_int_equal(from, d->next);
    d->gaps++;
    d->next = to + 1;
}

static void on_error(void *ctx, const struct err *err)
{
    fail_msg("%s", err->msg);
}

static const struct log_reader_ops reader_ops = {on_records, on_trim_gap, on_error};

static void driver_append(struct driver *d);

static void appended(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct waiter *waiter = CONTAINER_OF(w, struct waiter, wait);
    struct driver *d = waiter->driver;
    assert_int_equal(rc, RC_OK);
    d->acked++;
    assert_int_equal(lsn, d->read_upto - d->to_append + d->acked); /* in order */
    list_push_back(&d->free_waiters, &waiter->free);
    if (d->append_first && d->acked == d->to_append / 2)
        log_read_from(d->log, d->read_from, &reader_ops, d);
    driver_append(d);
    driver_maybe_close(d);
}

static void driver_append(struct driver *d)
{
    while (d->appended < d->to_append && d->log) {
        struct list *n = list_pop_front(&d->free_waiters);
        if (!n)
            return;
        struct waiter *w = CONTAINER_OF(n, struct waiter, free);
        w->driver = d;
        w->wait.done = appended;
        struct buf *b = buf_new(d->body_len);
        lsn_t lsn = d->read_upto - d->to_append + d->appended + 1;
        fill_body(b->data, d->body_len, d->log_id, lsn);
        assert_int_equal(log_append(d->log, bytes_take_buf(b, 0, d->body_len), &w->wait), RC_OK);
        d->appended++;
    }
}

static void opened(void *ctx, struct log *log, const struct err *err)
{
    struct driver *d = ctx;
    assert_non_null(log);
    d->log = log;
    d->next = d->read_from;
    d->read_upto = log->committed + d->to_append;
    if (!d->append_first)
        log_read_from(log, d->read_from, &reader_ops, d);
    driver_append(d);
    driver_maybe_close(d);
}

static void open_driver(void *ctx)
{
    struct driver *d = ctx;
    local_log_open(ports[d->shard], d->log_id, opened, d);
}

static void drivers_init(struct driver *drivers, size_t n, size_t to_append, size_t window, size_t body_len)
{
    for (size_t i = 0; i < n; i++) {
        struct driver *d = &drivers[i];
        *d = (struct driver){.log_id = (uint32_t)i,
                             .shard = (int)(i % SHARDS),
                             .to_append = to_append,
                             .window = window,
                             .body_len = body_len,
                             .read_from = 1};
        d->waiters = xcalloc(window, sizeof(*d->waiters));
        list_init(&d->free_waiters);
        for (size_t j = 0; j < window; j++)
            list_push_back(&d->free_waiters, &d->waiters[j].free);
    }
}

static void drivers_run(struct driver *drivers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        call_on(drivers[i].shard, open_driver, &drivers[i]);
    for (size_t i = 0; i < n; i++)
        sem_wait(&finished);
    for (size_t i = 0; i < n; i++)
        free(drivers[i].waiters);
}

/* ---- tests ---- */

static void logs_of_two_shards_append_read_and_recover(void **state)
{
    struct driver drivers[6];
    for (int round = 0; round < 3; round++) {
        start();
        drivers_init(drivers, ARRAY_LEN(drivers), round < 2 ? 3000 : 0, 64, 200);
        drivers_run(drivers, ARRAY_LEN(drivers));
        struct local_logs_stats stats;
        local_logs_get_stats(logs, &stats);
        if (round < 2) {
            assert_int_equal(stats.records, 6 * 3000);
            assert_true(stats.commits < stats.records / 4); /* shared writes */
        } else {
            assert_int_equal(stats.commits, 0);
        }
        assert_false(stats.full);
        stop();
    }
}

static void a_reader_that_starts_late_catches_up(void **state)
{
    struct driver drivers[4];
    start();
    drivers_init(drivers, ARRAY_LEN(drivers), 4000, 32, 300);
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        drivers[i].append_first = true;
    drivers_run(drivers, ARRAY_LEN(drivers));
    stop();
}

static void trimmed_records_are_a_gap_for_the_reader(void **state)
{
    struct driver d;
    start();
    drivers_init(&d, 1, 1000, 100, 1000);
    d.trim_when_done = 600;
    drivers_run(&d, 1);
    stop();
    start();
    drivers_init(&d, 1, 10, 10, 1000);
    drivers_run(&d, 1);
    assert_int_equal(d.gaps, 1);
    stop();
}

/* One scenario after the other on shard 0, each step continuing in the callback of the one before. */
struct scenario {
    struct log *log;
    struct log_append_wait waits[4];
    enum rc results[4];
    size_t n_results;
};
static struct scenario *now;

static void scenario_closed(void *ctx)
{
    sem_post(&finished);
}

static void note_result(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    now->results[w - now->waits] = rc;
    now->n_results++;
}

static void after_second_seal(void *ctx, enum rc rc, lsn_t tail)
{
    struct scenario *s = ctx;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(tail, 3);
    log_close(s->log, scenario_closed, s);
}

static void after_seal(void *ctx, enum rc rc, lsn_t tail)
{
    struct scenario *s = ctx;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(tail, 3);
    assert_int_equal(s->n_results, 2); /* what was appended before is committed before */
    assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("x")), NULL), RC_SEALED);
    log_seal(s->log, after_second_seal, s);
}

static void after_tail(void *ctx, enum rc rc, lsn_t tail)
{
    struct scenario *s = ctx;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(tail, 1);
    for (int i = 0; i < 2; i++) {
        s->waits[i].done = note_result;
        assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("abc")), &s->waits[i]), RC_OK);
    }
    log_seal(s->log, after_seal, s);
    assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("x")), NULL), RC_SEALED);
}

static void opened_twice(void *ctx, struct log *log, const struct err *err)
{
    struct scenario *s = ctx;
    assert_null(log);
    assert_int_equal(err->rc, RC_CONFLICT);
    log_find_tail(s->log, after_tail, s);
}

static void opened_for_seal(void *ctx, struct log *log, const struct err *err)
{
    struct scenario *s = ctx;
    s->log = log;
    local_log_open(ports[0], log->log_id, opened_twice, s);
}

static void opened_sealed(void *ctx, struct log *log, const struct err *err)
{
    struct scenario *s = ctx;
    assert_int_equal(log->committed, 2);
    assert_int_equal(log_append(log, bytes_static(SLICE_LIT("x")), NULL), RC_SEALED);
    log_close(log, scenario_closed, s);
}

static void open_for_seal(void *ctx)
{
    local_log_open(ports[0], 77, opened_for_seal, ctx);
}

static void open_sealed(void *ctx)
{
    local_log_open(ports[0], 77, opened_sealed, ctx);
}

static void seal_is_final_and_durable(void **state)
{
    struct scenario s = {0};
    now = &s;
    start();
    call_on(0, open_for_seal, &s);
    sem_wait(&finished);
    stop();
    start();
    call_on(0, open_sealed, &s);
    sem_wait(&finished);
    stop();
}

static void opened_for_close(void *ctx, struct log *log, const struct err *err)
{
    struct scenario *s = ctx;
    for (int i = 0; i < 4; i++) {
        s->waits[i].done = note_result;
        assert_int_equal(log_append(log, bytes_static(SLICE_LIT("abc")), &s->waits[i]), RC_OK);
    }
    log_close(log, scenario_closed, s);
    assert_int_equal(log_append(log, bytes_static(SLICE_LIT("x")), NULL), RC_CLOSED);
}

static void open_for_close(void *ctx)
{
    local_log_open(ports[0], 78, opened_for_close, ctx);
}

static void closing_fails_waiting_appends(void **state)
{
    struct scenario s = {0};
    now = &s;
    start();
    call_on(0, open_for_close, &s);
    sem_wait(&finished);
    assert_int_equal(s.n_results, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(s.results[i], RC_CLOSED);
    stop();
}

static void opened_for_overload(void *ctx, struct log *log, const struct err *err)
{
    enum rc rc = RC_OK;
    for (int i = 0; i < 64 && rc == RC_OK; i++) {
        struct buf *b = buf_new(2 << 20);
        memset(b->data, i, b->cap);
        rc = log_append(log, bytes_take_buf(b, 0, b->cap), NULL);
    }
    assert_int_equal(rc, RC_OVERLOADED);
    assert_int_equal(log->inflight_bytes, 64 << 20);
    log_close(log, scenario_closed, ctx);
}

static void open_for_overload(void *ctx)
{
    local_log_open(ports[0], 79, opened_for_overload, ctx);
}

static void too_much_in_flight_is_refused(void **state)
{
    struct scenario s = {0};
    start();
    call_on(0, open_for_overload, &s);
    sem_wait(&finished);
    stop();
}

/* ---- full disk ---- */

struct filler {
    struct log *log;
    struct log_append_wait waits[4096];
    size_t n, committed, closed;
    bool refused;
    struct env_timer tick;
    uint64_t ticks;
    enum { FILL, WAIT_FOR_SPACE, CLOSE_WHILE_FULL } mode;
    struct disk *disk;
};
static struct filler filler;

static void filler_closed(void *ctx)
{
    sem_post(&finished);
}

static void filler_appended(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    if (rc == RC_OK) {
        filler.committed++;
        assert_int_equal(lsn, filler.committed);
    } else {
        assert_int_equal(rc, RC_CLOSED);
        filler.closed++;
    }
}

/* Append until the disk is full; then make room or close. */
static void filler_tick(struct env_timer *t)
{
    struct filler *f = &filler;
    assert_true(++f->ticks < 5000);
    enum rc rc = RC_OK;
    for (int i = 0; i < 20 && rc == RC_OK && f->n < ARRAY_LEN(f->waits); i++) {
        struct buf *b = buf_new(2000);
        memset(b->data, 1, b->cap);
        f->waits[f->n].done = filler_appended;
        rc = log_append(f->log, bytes_take_buf(b, 0, b->cap), &f->waits[f->n]);
        f->n += rc == RC_OK;
    }
    env_timer_arm(loop_env(loops[0]), t, 2);
    if (!f->refused) {
        if (rc == RC_OK)
            return;
        assert_int_equal(rc, RC_NO_SPACE);
        f->refused = true;
        assert_true(f->committed < f->n); /* what was accepted before is parked, not lost */
        if (f->mode == WAIT_FOR_SPACE)
            disk_memory_set_capacity(f->disk, 64 << 20);
        else if (f->mode == FILL)
            log_trim(f->log, f->committed);
    }
    if (f->mode == CLOSE_WHILE_FULL || f->n == ARRAY_LEN(f->waits)) {
        if (f->mode != CLOSE_WHILE_FULL && f->committed < f->n)
            return;
        env_timer_cancel(loop_env(loops[0]), t);
        log_close(f->log, filler_closed, f);
    } else if (f->mode == FILL) {
        log_trim(f->log, f->committed);
    }
}

static void filler_opened(void *ctx, struct log *log, const struct err *err)
{
    filler.log = log;
    env_timer_init(&filler.tick, filler_tick);
    env_timer_arm(loop_env(loops[0]), &filler.tick, 0);
}

static void open_filler(void *ctx)
{
    local_log_open(ports[0], 5, filler_opened, NULL);
}

static void a_full_disk_parks_appends_and_goes_on_by_itself(void **state)
{
    for (int mode = FILL; mode <= CLOSE_WHILE_FULL; mode++) {
        memset(&filler, 0, sizeof(filler));
        filler.mode = mode;
        filler.disk = memory_disk = disk_memory_new(4096);
        disk_memory_set_capacity(memory_disk, 3 << 20);
        start();
        call_on(0, open_filler, NULL);
        sem_wait(&finished);
        assert_true(filler.refused);
        if (mode == CLOSE_WHILE_FULL)
            assert_true(filler.closed > 0 && filler.closed + filler.committed == filler.n);
        else
            assert_int_equal(filler.committed, ARRAY_LEN(filler.waits));
        struct local_logs_stats stats;
        local_logs_get_stats(logs, &stats);
        assert_int_equal(stats.full, mode == CLOSE_WHILE_FULL);
        stop();
    }
}

static void speed(void **state)
{
    const char *n = getenv("BIFROST_BENCH");
    if (!n)
        skip();
    static const size_t windows[] = {1, 8, 64, 512};
    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        struct driver drivers[24];
        size_t each = (size_t)atoi(n) / (i < 2 ? 16 : 1);
        start();
        struct local_logs_stats before, after;
        local_logs_get_stats(logs, &before);
        drivers_init(drivers, ARRAY_LEN(drivers), each, windows[i], 300);
        for (size_t j = 0; j < ARRAY_LEN(drivers); j++) {
            drivers[j].log_id += 1000 + 100 * (uint32_t)i;
            drivers[j].read_from = 1;
        }
        uint64_t t0 = os_mono_ns();
        drivers_run(drivers, ARRAY_LEN(drivers));
        double seconds = (double)(os_mono_ns() - t0) / 1e9;
        local_logs_get_stats(logs, &after);
        double records = (double)each * ARRAY_LEN(drivers),
               commits = (double)(after.commits - before.commits);
        print_message("24 logs, window %3zu: %8.0f records/s, %5.1f records/commit, %.0f us/commit\n",
                      windows[i], records / seconds, records / commits, seconds / commits * 1e6);
        stop();
    }
}

static void drop_line(void *ctx, enum log_level level, struct slice line) {}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logs_of_two_shards_append_read_and_recover, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_reader_that_starts_late_catches_up, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(trimmed_records_are_a_gap_for_the_reader, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(seal_is_final_and_durable, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(closing_fails_waiting_appends, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(too_much_in_flight_is_refused, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_full_disk_parks_appends_and_goes_on_by_itself, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(speed, make_directory, remove_directory),
    };
    log_set_sink(drop_line, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
