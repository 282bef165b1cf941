/* The replicated log on one node as the server runs it: a log loop over a real directory, two shard loops
 * with ports, and a main loop with the chains in a metadata store. Records come back in order, live and after
 * restarts; appends of many logs share writes; trim, seal, find_tail, close and a full disk do what log.h
 * says; the store knows whose it is.
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
#include "bifrost/chain_client.h"
#include "bifrost/disk_memory.h"
#include "bifrost/log_host.h"
#include "bifrost/log_port.h"
#include "bifrost/replicated_log.h"
#include "unit/metadata/memory_kv.h"

#define SHARDS 2

static char directory[64];
static uint32_t generation;
static struct log_host *host;
static struct loop *main_loop;
static struct kv *kv;
static struct chain_service *chains;
static struct shard {
    struct loop *loop;
    struct log_port *port;
    struct chain_client *client;
    struct node_directory nodes;
    struct loglet_calls calls;
    struct replicated_logs *logs;
    unsigned closing;
} shards[SHARDS];
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

static void call_loop(struct loop *loop, void (*run)(void *ctx), void *ctx)
{
    struct call *c = xcalloc(1, sizeof(*c));
    c->msg.deliver = deliver_call;
    c->run = run;
    c->ctx = ctx;
    loop_post(loop, &c->msg);
}

static void call_on(int shard, void (*run)(void *ctx), void *ctx)
{
    call_loop(shards[shard].loop, run, ctx);
}

static struct disk *memory_disk; /* taken by the next start instead of the directory */

static void config_written(struct kv_op *op, const struct kv_result *r)
{
    assert_true(r->rc == RC_OK || r->rc == RC_CONFLICT); /* there since the first start */
    sem_post(&finished);
}

/* What provisioning writes. */
static void write_config(void *ctx)
{
    static struct kv_op op;
    struct logs_config c = {
        .version = 1, .provider = LOG_PROVIDER_REPLICATED, .replication = replication_nodes(1)};
    struct writer w = WRITER_INIT;
    logs_config_encode(&w, &c);
    op = (struct kv_op){.kind = KV_PUT,
                        .key = SLICE_LIT(LOGS_CONFIG_KEY),
                        .value = writer_take(&w),
                        .version = 1,
                        .precondition = KV_DOES_NOT_EXIST,
                        .done = config_written};
    kv_submit(kv, &op);
}

static void chains_changed(void *ctx, struct chain_set *set) {}

static void start_main(void)
{
    main_loop = loop_new("main");
    if (!kv)
        kv = memory_kv_new(loop_env(main_loop));
    CONTAINER_OF(kv, struct memory_kv, base)->env = loop_env(main_loop);
    chains = chain_service_new(
        &(struct chain_service_config){.env = loop_env(main_loop), .kv = kv, .changed = chains_changed});
    loop_start(main_loop);
    call_loop(main_loop, write_config, NULL);
    sem_wait(&finished);
}

static void start_shard(struct shard *s, const char *name, struct node_ref me)
{
    struct node_info info = {
        .id = me.id, .generation = me.generation, .storage = STORAGE_READ_WRITE, .liveness = LIVENESS_ALIVE};
    s->loop = loop_new(name);
    s->port = log_port_new(host, s->loop, me, NULL);
    s->client = chain_client_new(chains, main_loop, s->loop);
    node_directory_put(&s->nodes, &info);
    loglet_calls_init(&s->calls, loop_env(s->loop), log_port_net(s->port), &s->nodes, me);
    log_port_set_calls(s->port, &s->calls);
    s->logs = replicated_logs_new(&(struct replicated_logs_config){
        .calls = &s->calls, .chains = chain_client_store(s->client), .improve_ms = 200});
    loop_start(s->loop);
}

/* One process: each start is a generation of its own. */
static void start(void)
{
    struct segment_store_options small = {.random = 5,
                                          .first_segment_bytes = 64 << 10,
                                          .max_segment_bytes = 256 << 10,
                                          .reserve_bytes = 64 << 10};
    struct err err = {0};
    struct node_ref me = {1, ++generation};
    struct log_host_config config = {.me = me};
    enum rc rc = memory_disk ? log_host_open_disk(memory_disk, &small, &config, &host, &err)
                             : log_host_open(directory, &config, &host, &err);
    memory_disk = NULL;
    if (rc != RC_OK)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, RC_OK);
    log_host_start(host);
    start_main();
    for (int i = 0; i < SHARDS; i++)
        start_shard(&shards[i], i ? "shard1" : "shard0", me);
}

static void part_closed(void *ctx)
{
    struct shard *s = ctx;
    if (--s->closing == 0)
        sem_post(&finished);
}

static void close_shard(void *ctx)
{
    struct shard *s = ctx;
    s->closing = 2;
    log_port_close(s->port, part_closed, s);
    chain_client_close(s->client, part_closed, s);
}

static void stop(void)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &shards[i];
        call_on(i, close_shard, s);
        sem_wait(&finished);
        loop_stop(s->loop);
        loop_join(s->loop);
        replicated_logs_free(s->logs);
        loglet_calls_free(&s->calls);
        chain_client_free(s->client);
        log_port_free(s->port);
        node_directory_free(&s->nodes);
    }
    log_host_close(host);
    loop_stop(main_loop);
    loop_join(main_loop);
    chain_service_free(chains); /* the metadata stays, as the directory does */
    loop_free(main_loop);
    /* Only now: ThreadSanitizer does not see libuv close descriptors, and would take the reuse of their
     * numbers by the pool thread of the log loop for a race. */
    for (int i = 0; i < SHARDS; i++) {
        loop_free(shards[i].loop);
        shards[i] = (struct shard){0};
    }
}

static int make_directory(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/test_log_host.XXXXXX");
    sem_init(&finished, 0, 0);
    generation = 0;
    return mkdtemp(directory) ? 0 : -1;
}

/* The directory and the metadata belong together. */
static int remove_directory(void **state)
{
    if (kv)
        kv_close(kv);
    kv = NULL;
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

static const struct log_reader_ops reader_ops = {
    .on_records = on_records, .on_trim_gap = on_trim_gap, .on_error = on_error};

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

static void tail_known(void *ctx, enum rc rc, lsn_t tail)
{
    struct driver *d = ctx;
    assert_int_equal(rc, RC_OK);
    d->next = d->read_from;
    d->read_upto = tail - 1 + d->to_append;
    if (!d->append_first)
        log_read_from(d->log, d->read_from, &reader_ops, d);
    driver_append(d);
    driver_maybe_close(d);
}

static void open_driver(void *ctx)
{
    struct driver *d = ctx;
    d->log = replicated_log_open(shards[d->shard].logs, d->log_id);
    replicated_log_claim(d->log);
    log_find_tail(d->log, tail_known, d);
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
        struct log_host_stats stats;
        log_host_get_stats(host, &stats);
        if (round < 2) {
            assert_int_equal(stats.records, 6 * 3000);
            assert_true(stats.commits < stats.records / 4); /* shared writes */
        } else {
            assert_int_equal(stats.records, 0);
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

static void after_seal(void *ctx, enum rc rc, lsn_t tail)
{
    struct scenario *s = ctx;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(tail, 3);
    assert_int_equal(s->n_results, 2); /* what was appended before is committed before */
    assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("x")), NULL), RC_SEALED);
    log_close(s->log, scenario_closed, s);
}

static void created(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct scenario *s = now;
    note_result(w, rc, lsn);
    s->waits[1].done = note_result;
    assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("abc")), &s->waits[1]), RC_OK);
    log_seal(s->log, after_seal, s);
    assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("x")), NULL), RC_SEALED);
}

static void after_tail(void *ctx, enum rc rc, lsn_t tail)
{
    struct scenario *s = ctx;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(tail, 1);
    s->waits[0].done = created;
    assert_int_equal(log_append(s->log, bytes_static(SLICE_LIT("abc")), &s->waits[0]), RC_OK);
}

static void open_for_seal(void *ctx)
{
    struct scenario *s = ctx;
    s->log = replicated_log_open(shards[0].logs, 77);
    log_find_tail(s->log, after_tail, s);
}

static void tail_of_sealed(void *ctx, enum rc rc, lsn_t tail)
{
    struct scenario *s = ctx;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(tail, 3);
    log_close(s->log, scenario_closed, s);
}

static void open_sealed(void *ctx)
{
    struct scenario *s = ctx;
    s->log = replicated_log_open(shards[0].logs, 77);
    log_find_tail(s->log, tail_of_sealed, s);
}

static void a_seal_ends_the_log_durably(void **state)
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

static void open_for_close(void *ctx)
{
    struct scenario *s = ctx;
    struct log *log = replicated_log_open(shards[0].logs, 78);
    for (int i = 0; i < 4; i++) {
        s->waits[i].done = note_result;
        assert_int_equal(log_append(log, bytes_static(SLICE_LIT("abc")), &s->waits[i]), RC_OK);
    }
    log_close(log, scenario_closed, s);
    assert_int_equal(log_append(log, bytes_static(SLICE_LIT("x")), NULL), RC_CLOSED);
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

static void open_for_overload(void *ctx)
{
    struct log *log = replicated_log_open(shards[0].logs, 79);
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

static void too_much_in_flight_is_refused(void **state)
{
    struct scenario s = {0};
    start();
    call_on(0, open_for_overload, &s);
    sem_wait(&finished);
    stop();
}

/* ---- one write for everything that waits ---- */

#define BATCH_LOGS    10
#define BATCH_RECORDS 30

static struct batch {
    struct log *logs[BATCH_LOGS];
    struct log_append_wait waits[BATCH_LOGS * BATCH_RECORDS];
    size_t expected, committed, closed;
} batch;

static void batch_closed(void *ctx)
{
    if (++batch.closed == BATCH_LOGS)
        sem_post(&finished);
}

static void batch_appended(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    assert_int_equal(rc, RC_OK);
    if (++batch.committed == batch.expected)
        sem_post(&finished);
}

/* `ctx` is how many records each log gets, all in this one iteration. */
static void batch_append(void *ctx)
{
    size_t each = (size_t)(uintptr_t)ctx;
    batch.committed = 0;
    batch.expected = each * BATCH_LOGS;
    for (size_t i = 0; i < batch.expected; i++) {
        batch.waits[i].done = batch_appended;
        assert_int_equal(
            log_append(batch.logs[i % BATCH_LOGS], bytes_copy(SLICE_LIT("record")), &batch.waits[i]), RC_OK);
    }
}

static void batch_open(void *ctx)
{
    for (uint32_t i = 0; i < BATCH_LOGS; i++)
        batch.logs[i] = replicated_log_open(shards[0].logs, i);
    batch_append((void *)(uintptr_t)1);
}

static void batch_close(void *ctx)
{
    for (uint32_t i = 0; i < BATCH_LOGS; i++)
        log_close(batch.logs[i], batch_closed, NULL);
}

static void all_appends_of_an_iteration_are_one_write(void **state)
{
    struct log_host_stats before, after;
    memset(&batch, 0, sizeof(batch));
    start();
    call_on(0, batch_open, NULL); /* creates the logs */
    sem_wait(&finished);
    log_host_get_stats(host, &before);
    call_on(0, batch_append, (void *)(uintptr_t)BATCH_RECORDS);
    sem_wait(&finished);
    log_host_get_stats(host, &after);
    assert_int_equal(after.records - before.records, BATCH_LOGS * BATCH_RECORDS);
    assert_int_equal(after.commits - before.commits, 1);
    call_on(0, batch_close, NULL);
    sem_wait(&finished);
    stop();
}

/* ---- moving on to a better segment ---- */

static struct {
    struct log *log;
    struct log_append_wait waits[2];
    struct env_timer poll;
    unsigned polls;
} mover;

static void mover_closed(void *ctx)
{
    sem_post(&finished);
}

static void second_append_done(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct replicated_log_status st;
    assert_int_equal(rc, RC_OK);
    assert_int_equal(lsn, 2); /* the log goes on where it was */
    replicated_log_get_status(mover.log, &st);
    assert_int_equal(st.role, REPLICATED_LOG_WRITER);
    assert_int_equal(st.segment_index, 1);
    assert_int_equal(st.base_lsn, 2);
    assert_false(replicated_log_improvable(mover.log));
    log_close(mover.log, mover_closed, NULL);
}

static void mover_poll(struct env_timer *t)
{
    struct replicated_log_status st;
    replicated_log_get_status(mover.log, &st);
    if (st.segment_index == 0) {
        assert_true(++mover.polls < 2000);
        env_timer_arm(loop_env(shards[0].loop), t, 10);
        return;
    }
    mover.waits[1].done = second_append_done;
    assert_int_equal(log_append(mover.log, bytes_static(SLICE_LIT("two")), &mover.waits[1]), RC_OK);
}

/* Another log-server joins the cluster. */
static void first_append_done(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    assert_int_equal(rc, RC_OK);
    assert_false(replicated_log_improvable(mover.log));
    struct node_info other = {
        .id = 2, .generation = 1, .storage = STORAGE_READ_WRITE, .liveness = LIVENESS_ALIVE};
    node_directory_put(&shards[0].nodes, &other);
    loglet_calls_nodes_changed(&shards[0].calls);
    assert_true(replicated_log_improvable(mover.log));
    env_timer_init(&mover.poll, mover_poll);
    env_timer_arm(loop_env(shards[0].loop), &mover.poll, 10);
}

static void open_mover(void *ctx)
{
    mover.log = replicated_log_open(shards[0].logs, 3);
    mover.waits[0].done = first_append_done;
    assert_int_equal(log_append(mover.log, bytes_static(SLICE_LIT("one")), &mover.waits[0]), RC_OK);
}

static void a_better_node_set_is_used_after_a_while(void **state)
{
    memset(&mover, 0, sizeof(mover));
    start();
    call_on(0, open_mover, NULL);
    sem_wait(&finished);
    stop();
}

/* ---- more copies than there are nodes, and then fewer: who waits for nodes hears of it ---- */

static void copied_once(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    assert_int_equal(rc, RC_OK);
    assert_int_equal(lsn, 1);
    log_close(mover.log, mover_closed, NULL);
}

static void fewer_copies(struct env_timer *t)
{
    struct replicated_log_status st;
    struct replication one = replication_nodes(1);
    replicated_log_get_status(mover.log, &st);
    assert_int_equal(st.role, REPLICATED_LOG_CLAIMING);
    replicated_logs_set_replication(shards[0].logs, &one, 0);
}

static void open_too_many(void *ctx)
{
    struct replication two = replication_nodes(2);
    replicated_logs_set_replication(shards[0].logs, &two, 0);
    mover.log = replicated_log_open(shards[0].logs, 3);
    mover.waits[0].done = copied_once;
    assert_int_equal(log_append(mover.log, bytes_static(SLICE_LIT("one")), &mover.waits[0]), RC_OK);
    env_timer_init(&mover.poll, fewer_copies);
    env_timer_arm(loop_env(shards[0].loop), &mover.poll, 100);
}

static void a_segment_that_waits_for_nodes_takes_fewer_copies(void **state)
{
    memset(&mover, 0, sizeof(mover));
    start();
    call_on(0, open_too_many, NULL);
    sem_wait(&finished);
    stop();
}

/* ---- full disk ---- */

struct filler {
    struct log *log;
    struct log_append_wait waits[4096];
    size_t n, committed, closed;
    bool was_full;
    struct env_timer tick;
    uint64_t ticks;
    enum { TRIM, WAIT_FOR_SPACE, CLOSE_WHILE_FULL } mode;
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

static void filler_append(struct filler *f)
{
    for (int i = 0; i < 20 && f->n < ARRAY_LEN(f->waits) && f->n < f->committed + 400; i++) {
        struct buf *b = buf_new(2000);
        memset(b->data, 1, b->cap);
        f->waits[f->n].done = filler_appended;
        assert_int_equal(log_append(f->log, bytes_take_buf(b, 0, b->cap), &f->waits[f->n]), RC_OK);
        f->n++;
    }
}

/* Append until the disk is full; then make room or close. What was accepted waits and is not lost. */
static void filler_tick(struct env_timer *t)
{
    struct filler *f = &filler;
    struct log_host_stats stats;
    assert_true(++f->ticks < 5000);
    filler_append(f);
    log_host_get_stats(host, &stats);
    env_timer_arm(loop_env(shards[0].loop), t, 2);
    if (stats.full && !f->was_full) {
        f->was_full = true;
        assert_true(f->committed < f->n);
        if (f->mode == WAIT_FOR_SPACE)
            disk_memory_set_capacity(f->disk, 64 << 20);
    }
    if (f->was_full && f->mode == TRIM)
        log_trim(f->log, f->committed);
    if (f->committed == ARRAY_LEN(f->waits) || (f->was_full && f->mode == CLOSE_WHILE_FULL)) {
        env_timer_cancel(loop_env(shards[0].loop), t);
        log_close(f->log, filler_closed, f);
    }
}

static void open_filler(void *ctx)
{
    filler.log = replicated_log_open(shards[0].logs, 5);
    env_timer_init(&filler.tick, filler_tick);
    env_timer_arm(loop_env(shards[0].loop), &filler.tick, 0);
}

static void a_full_disk_makes_appends_wait_and_goes_on_by_itself(void **state)
{
    for (int mode = TRIM; mode <= CLOSE_WHILE_FULL; mode++) {
        memset(&filler, 0, sizeof(filler));
        filler.mode = mode;
        filler.disk = memory_disk = disk_memory_new(4096);
        disk_memory_set_capacity(memory_disk, 3 << 20);
        assert_int_equal(remove_directory(NULL) | make_directory(NULL), 0);
        start();
        call_on(0, open_filler, NULL);
        sem_wait(&finished);
        assert_true(filler.was_full);
        if (mode == CLOSE_WHILE_FULL)
            assert_true(filler.closed > 0 && filler.closed + filler.committed == filler.n);
        else
            assert_int_equal(filler.committed, ARRAY_LEN(filler.waits));
        struct log_host_stats stats;
        log_host_get_stats(host, &stats);
        assert_int_equal(stats.full, mode == CLOSE_WHILE_FULL);
        stop();
    }
}

/* ---- whose store is it (spec/cluster.md §5.12) ---- */

/* `generation`: the date of the disk that counts; 0: there was never another. `mark`: of the new marker; 0:
 * none. */
static enum log_store_verdict check_as(uint32_t node_id, enum storage_state state, uint64_t generation,
                                       uint64_t mark)
{
    struct log_host_config config = {.me = {node_id, 1}};
    struct storage_generation g = {.node_id = node_id, .created_at = generation};
    struct err err = {0};
    assert_int_equal(log_host_open(directory, &config, &host, &err), RC_OK);
    err = (struct err){0};
    enum log_store_verdict v = log_host_check(host, state, generation ? &g : NULL, &err);
    assert_int_equal(err.rc != RC_OK, v == LOG_STORE_DOUBT || v == LOG_STORE_REFUSE);
    if (mark)
        assert_int_equal(log_host_write_marker(host, mark, &err), RC_OK);
    log_host_close(host);
    return v;
}

static void the_store_knows_whose_it_is(void **state)
{
    assert_int_equal(check_as(2, STORAGE_READ_WRITE, 0, 0), LOG_STORE_LOST);
    assert_int_equal(check_as(2, STORAGE_READ_ONLY, 0, 0), LOG_STORE_LOST);
    assert_int_equal(check_as(2, STORAGE_DATA_LOSS, 0, 0), LOG_STORE_LOST);
    assert_int_equal(check_as(2, STORAGE_DISABLED, 0, 0), LOG_STORE_REFUSE);
    assert_int_equal(check_as(2, STORAGE_PROVISIONING, 0, 1234), LOG_STORE_FRESH);
    assert_int_equal(check_as(2, STORAGE_PROVISIONING, 0, 0), LOG_STORE_READY);
    assert_int_equal(check_as(2, STORAGE_READ_WRITE, 0, 0), LOG_STORE_RUN);
    assert_int_equal(check_as(2, STORAGE_READ_ONLY, 0, 0), LOG_STORE_RUN);
    /* An empty one that was marked and did not come to serve begins again. */
    assert_int_equal(check_as(2, STORAGE_DATA_LOSS, 1234, 0), LOG_STORE_LOST);
    assert_int_equal(check_as(5, STORAGE_PROVISIONING, 0, 0), LOG_STORE_REFUSE);
    assert_int_equal(check_as(5, STORAGE_READ_WRITE, 0, 0), LOG_STORE_REFUSE);
}

static void a_store_with_records_is_used_only_if_it_is_the_one_that_counts(void **state)
{
    assert_int_equal(check_as(1, STORAGE_PROVISIONING, 0, 1234), LOG_STORE_FRESH);
    struct driver d;
    start();
    drivers_init(&d, 1, 10, 1, 10);
    drivers_run(&d, 1);
    stop();
    assert_int_equal(check_as(1, STORAGE_READ_WRITE, 0, 0), LOG_STORE_RUN);
    assert_int_equal(check_as(1, STORAGE_READ_WRITE, 1234, 0), LOG_STORE_RUN);
    assert_int_equal(check_as(1, STORAGE_READ_WRITE, 2000, 0), LOG_STORE_DOUBT); /* an old disk turned up */
    assert_int_equal(check_as(1, STORAGE_DATA_LOSS, 2000, 0), LOG_STORE_DOUBT);
    assert_int_equal(check_as(1, STORAGE_DATA_LOSS, 1234, 0),
                     LOG_STORE_DOUBT); /* the operator's word is needed */
    assert_int_equal(check_as(1, STORAGE_DATA_LOSS, 0, 0), LOG_STORE_DOUBT);
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
        struct log_host_stats before, after;
        log_host_get_stats(host, &before);
        drivers_init(drivers, ARRAY_LEN(drivers), each, windows[i], 300);
        for (size_t j = 0; j < ARRAY_LEN(drivers); j++) {
            drivers[j].log_id += 1000 + 100 * (uint32_t)i;
            drivers[j].read_from = 1;
        }
        uint64_t t0 = os_mono_ns();
        drivers_run(drivers, ARRAY_LEN(drivers));
        double seconds = (double)(os_mono_ns() - t0) / 1e9;
        log_host_get_stats(host, &after);
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
        cmocka_unit_test_setup_teardown(a_seal_ends_the_log_durably, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(closing_fails_waiting_appends, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(too_much_in_flight_is_refused, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(all_appends_of_an_iteration_are_one_write, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_better_node_set_is_used_after_a_while, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_segment_that_waits_for_nodes_takes_fewer_copies, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(a_full_disk_makes_appends_wait_and_goes_on_by_itself, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(the_store_knows_whose_it_is, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(a_store_with_records_is_used_only_if_it_is_the_one_that_counts,
                                        make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(speed, make_directory, remove_directory),
    };
    log_set_sink(drop_line, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
