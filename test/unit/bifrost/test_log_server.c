/* The log-server over the segment store on a disk in memory: the table of spec/cluster.md §5.5 row by row,
 * what is durable before which reply, and what survives a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bifrost/disk_memory.h"
#include "bifrost/log_server.h"
#include "sim/sim_env.h"

#define LOGLET (UINT64_C(5) << 32)

struct fixture {
    struct sim_env env;
    struct disk *disk;
    struct segment_store *segments;
    struct log_server_store *store;
    struct log_server *server;
    /* Replies in order; bodies are copied. */
    struct {
        struct loglet_message m;
        struct bytes bodies[16];
        struct loglet_range ranges[16];
    } got[64];
    size_t n, taken;
};

static const struct node_ref sequencer = {1, 7}, other = {2, 3};

static void on_reply(void *ctx, const struct log_server_peer *to, const struct loglet_message *m)
{
    struct fixture *f = ctx;
    assert_true(f->n < ARRAY_LEN(f->got));
    f->got[f->n].m = *m;
    for (uint32_t i = 0; i < m->n_records && i < 16; i++)
        f->got[f->n].bodies[i] = bytes_ref(m->records[i]);
    for (uint32_t i = 0; i < m->n_ranges && i < 16; i++)
        f->got[f->n].ranges[i] = m->ranges[i];
    f->n++;
}

static void start(struct fixture *f)
{
    struct segment_store_options o = {.random = 1 + f->env.rng[0],
                                      .first_segment_bytes = 64 << 10,
                                      .max_segment_bytes = 256 << 10,
                                      .reserve_bytes = 64 << 10};
    struct err err = {0};
    assert_int_equal(segment_store_open(f->disk, &o, &f->segments, &err), RC_OK);
    f->store = log_server_segments_new(&f->env.env, f->segments);
    f->server = log_server_new(&(struct log_server_config){
        .env = &f->env.env, .store = f->store, .reply = on_reply, .ctx = f, .pending_limit_bytes = 100000});
}

static void drop_replies(struct fixture *f)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = 0; j < 16; j++)
            bytes_unref(&f->got[i].bodies[j]);
    }
    memset(f->got, 0, sizeof(f->got));
    f->n = f->taken = 0;
}

/* The process dies: whatever was not reported durable may be lost. */
static void stop(struct fixture *f)
{
    log_server_free(f->server);
    sim_env_run(&f->env);
    log_server_segments_free(f->store);
    segment_store_close(f->segments);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    sim_env_init(&f->env, 1);
    f->disk = disk_memory_new(512);
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stop(f);
    drop_replies(f);
    f->disk->ops->free(f->disk);
    sim_env_free(&f->env);
    free(f);
    return 0;
}

static void restart(struct fixture *f)
{
    stop(f);
    start(f);
}

static struct loglet_message request(enum loglet_message_kind kind)
{
    return (struct loglet_message){.kind = kind,
                                   .request_id = 1,
                                   .loglet_id = LOGLET,
                                   .committed_tail = 1,
                                   .repaired_tail = 1,
                                   .sequencer = sequencer};
}

static void send_from(struct fixture *f, struct node_ref from, const struct loglet_message *m)
{
    struct log_server_peer peer = {from, 0};
    log_server_on_message(f->server, &peer, m);
}

static const struct loglet_message *reply(struct fixture *f)
{
    sim_env_run(&f->env);
    assert_true(f->taken < f->n);
    return &f->got[f->taken++].m;
}

static struct bytes body(uint64_t offset)
{
    static char text[64][16];
    snprintf(text[offset % 64], 16, "record %llu", (unsigned long long)offset);
    return bytes_static(slice_cstr(text[offset % 64]));
}

static void send_store(struct fixture *f, struct node_ref from, uint64_t first, uint32_t n,
                       uint64_t committed, uint64_t repaired, uint32_t flags)
{
    struct bytes bodies[16];
    for (uint32_t i = 0; i < n; i++)
        bodies[i] = body(first + i);
    struct loglet_message m = request(LOGLET_STORE);
    m.first_offset = first;
    m.records = bodies;
    m.n_records = n;
    m.committed_tail = committed;
    m.repaired_tail = repaired;
    m.flags = flags;
    send_from(f, from, &m);
}

static enum loglet_status store(struct fixture *f, uint64_t first, uint32_t n, uint64_t committed)
{
    send_store(f, sequencer, first, n, committed, 1, 0);
    const struct loglet_message *r = reply(f);
    assert_int_equal(r->kind, LOGLET_STORED);
    return r->status;
}

static enum loglet_status repair(struct fixture *f, uint64_t first, uint32_t n, uint64_t repaired)
{
    send_store(f, other, first, n, 1, repaired, LOGLET_IGNORE_SEAL);
    return reply(f)->status;
}

static const struct loglet_message *ask(struct fixture *f, struct loglet_message m)
{
    send_from(f, other, &m);
    return reply(f);
}

static const struct loglet_message *info(struct fixture *f)
{
    return ask(f, request(LOGLET_GET_INFO));
}

/* ---- the table ---- */

static void the_table_of_stores(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(info(f)->local_tail, 1);
    assert_int_equal(store(f, 1, 0, 1), LOGLET_MALFORMED);
    assert_int_equal(store(f, LOGLET_OFFSET_MAX, 1, 1), LOGLET_MALFORMED);
    assert_int_equal(store(f, 2, 1, 1), LOGLET_OUT_OF_BOUNDS);
    assert_int_equal(store(f, 1, 3, 1), LOGLET_OK);
    assert_int_equal(store(f, 1, 3, 1), LOGLET_OK); /* again: idempotent */
    assert_int_equal(store(f, 2, 4, 1), LOGLET_OK); /* overlapping */
    assert_int_equal(info(f)->local_tail, 6);
    assert_int_equal(store(f, 7, 1, 1), LOGLET_OUT_OF_BOUNDS);
    assert_int_equal(store(f, 9, 1, 9), LOGLET_OK); /* a hole below the global tail */
    assert_int_equal(info(f)->local_tail, 10);
    /* Somebody else's record, at the tail or below. */
    send_store(f, other, 10, 1, 1, 1, 0);
    assert_int_equal(reply(f)->status, LOGLET_SEQUENCER_MISMATCH);
    struct loglet_message m = request(LOGLET_STORE);
    struct bytes b = body(10);
    m.sequencer = (struct node_ref){1, 8};
    m.first_offset = 10;
    m.records = &b;
    m.n_records = 1;
    send_from(f, m.sequencer, &m);
    assert_int_equal(reply(f)->status, LOGLET_SEQUENCER_MISMATCH);
    log_server_set_writable(f->server, false);
    assert_int_equal(store(f, 10, 1, 1), LOGLET_REFUSES);
    log_server_set_writable(f->server, true);
    assert_int_equal(ask(f, request(LOGLET_SEAL))->sealed, true);
    assert_int_equal(store(f, 10, 1, 1), LOGLET_IS_SEALED);
    assert_int_equal(store(f, 1, 1, 1), LOGLET_IS_SEALED); /* also what it has */
    assert_int_equal(repair(f, 10, 1, 1), LOGLET_OK);
    assert_int_equal(info(f)->local_tail, 11);
}

static void nothing_is_said_before_it_is_durable(void **state)
{
    struct fixture *f = *state;
    send_store(f, sequencer, 1, 2, 1, 1, 0);
    send_store(f, sequencer, 3, 1, 1, 1, 0); /* pipelined: continues what is staged */
    send_store(f, sequencer, 1, 2, 1, 1, 0); /* a retransmission waits for the original */
    struct loglet_message m = request(LOGLET_SEAL);
    send_from(f, other, &m);
    send_store(f, sequencer, 4, 1, 1, 1, 0); /* after the seal was asked for */
    assert_int_equal(f->n, 1);
    assert_int_equal(f->got[0].m.status, LOGLET_SEALING);
    assert_int_equal(f->got[0].m.local_tail, 1);
    assert_false(f->got[0].m.sealed);
    sim_env_run(&f->env);
    assert_int_equal(f->n, 5);
    for (int i = 1; i < 4; i++)
        assert_int_equal(f->got[i].m.status, LOGLET_OK);
    /* The seal's answer names a tail above everything that was acknowledged. */
    assert_int_equal(f->got[4].m.kind, LOGLET_SEALED);
    assert_int_equal(f->got[4].m.local_tail, 4);
    assert_true(f->got[4].m.sealed);
    struct log_server_stats stats;
    log_server_get_stats(f->server, &stats);
    assert_int_equal(stats.batches, 1); /* group commit */
    f->taken = f->n;
    restart(f);
    assert_true(info(f)->sealed);
    assert_int_equal(info(f)->local_tail, 4);
    assert_int_equal(repair(f, 4, 1, 4), LOGLET_OK);
}

/* Trap TR-1: repairs justify holes, but raise nothing that readers trust. */
static void repair_does_not_raise_the_trusted_tail(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(store(f, 1, 2, 1), LOGLET_OK);
    ask(f, request(LOGLET_SEAL));
    assert_int_equal(repair(f, 5, 2, 4), LOGLET_OUT_OF_BOUNDS);
    assert_int_equal(repair(f, 5, 2, 5), LOGLET_OK);
    const struct loglet_message *r = info(f);
    assert_int_equal(r->committed_tail, 1);
    assert_int_equal(r->repaired_tail, 5);
    assert_int_equal(r->local_tail, 7);
    /* Also not by a crash: what justifies the hole is as durable as the hole. */
    restart(f);
    r = info(f);
    assert_int_equal(r->committed_tail, 1);
    assert_int_equal(r->repaired_tail, 5);
    assert_int_equal(repair(f, 3, 2, 3), LOGLET_OK); /* the hole can still be filled */
    r = ask(f, (struct loglet_message){.kind = LOGLET_GET_DIGEST,
                                       .request_id = 1,
                                       .loglet_id = LOGLET,
                                       .committed_tail = 1,
                                       .repaired_tail = 1,
                                       .from = 1,
                                       .to = 20});
    assert_int_equal(r->n_ranges, 1);
    assert_int_equal(f->got[f->taken - 1].ranges[0].to, 6);
}

static void the_sequencer_is_remembered(void **state)
{
    struct fixture *f = *state;
    ask(f, request(LOGLET_SEAL)); /* nothing stored yet */
    restart(f);
    struct loglet_message m = request(LOGLET_SEAL);
    assert_true(ask(f, m)->sealed);
    send_store(f, other, 1, 1, 1, 1, LOGLET_IGNORE_SEAL);
    assert_int_equal(reply(f)->status, LOGLET_OK);
    struct bytes b = body(2);
    m = request(LOGLET_STORE);
    m.sequencer = other;
    m.first_offset = 2;
    m.records = &b;
    m.n_records = 1;
    m.flags = LOGLET_IGNORE_SEAL;
    assert_int_equal(ask(f, m)->status, LOGLET_SEQUENCER_MISMATCH);
}

/* ---- reading and trimming ---- */

static const struct loglet_message *get(struct fixture *f, uint64_t from, uint64_t to, uint32_t max_bytes)
{
    struct loglet_message m = request(LOGLET_GET_RECORDS);
    m.from = from;
    m.to = to;
    m.max_bytes = max_bytes;
    return ask(f, m);
}

static void records_come_in_runs(void **state)
{
    struct fixture *f = *state;
    store(f, 1, 4, 1);
    store(f, 7, 2, 7);
    const struct loglet_message *r = get(f, 2, 3, 1000);
    assert_int_equal(r->first_offset, 2);
    assert_int_equal(r->n_records, 2);
    assert_int_equal(r->next_offset, 4);
    assert_true(slice_eq_cstr(bytes_slice(f->got[f->taken - 1].bodies[1]), "record 3"));
    assert_int_equal(get(f, 2, 8, 1000)->n_records, 3); /* up to the hole */
    r = get(f, 5, 8, 1000);
    assert_int_equal(r->n_records, 0);
    assert_int_equal(r->next_offset, 5);
    assert_int_equal(get(f, 7, 100, 1000)->n_records, 2);
    assert_int_equal(get(f, 1, 100, 1)->n_records, 1); /* at least one */
    struct loglet_message m = request(LOGLET_TRIM);
    m.to = 2;
    r = ask(f, m);
    assert_int_equal(r->trim_point, 2);
    r = get(f, 1, 100, 1000);
    assert_int_equal(r->trim_point, 2);
    assert_int_equal(r->first_offset, 3);
    assert_int_equal(r->n_records, 2);
    m.to = 1;
    assert_int_equal(ask(f, m)->trim_point, 2); /* merged by maximum */
    m.to = 100;
    assert_int_equal(ask(f, m)->trim_point, 8); /* clipped to the local tail */
    restart(f);
    r = info(f);
    assert_int_equal(r->trim_point, 8);
    assert_int_equal(r->local_tail, 9);
    assert_int_equal(store(f, 3, 1, 1), LOGLET_OK); /* trimmed counts as stored */
    assert_int_equal(get(f, 3, 8, 1000)->n_records, 0);
}

static void a_trim_and_a_late_store_in_one_batch(void **state)
{
    struct fixture *f = *state;
    store(f, 1, 2, 1);
    store(f, 8, 1, 8);
    struct loglet_message m = request(LOGLET_TRIM);
    m.to = 6;
    send_from(f, other, &m);
    send_store(f, sequencer, 3, 2, 1, 1, 0); /* will be trimmed before it is written */
    send_store(f, sequencer, 6, 2, 1, 1, 0); /* half of it */
    assert_int_equal(reply(f)->trim_point, 6);
    assert_int_equal(reply(f)->status, LOGLET_OK);
    assert_int_equal(reply(f)->status, LOGLET_OK);
    assert_int_equal(get(f, 7, 8, 1000)->n_records, 2);
}

/* ---- waiting ---- */

static void waiters_hear_of_the_tail(void **state)
{
    struct fixture *f = *state;
    store(f, 1, 4, 1);
    struct loglet_message m = request(LOGLET_WAIT_FOR_TAIL);
    m.from = 3;
    m.timeout_ms = 1000;
    send_from(f, other, &m);
    sim_env_run(&f->env);
    size_t before = f->n;
    struct loglet_message release = request(LOGLET_RELEASE);
    release.committed_tail = 2;
    send_from(f, sequencer, &release);
    assert_int_equal(f->n, before);
    release.repaired_tail = 5; /* not the watermark that readers wait for */
    send_from(f, sequencer, &release);
    assert_int_equal(f->n, before);
    release.committed_tail = 3;
    send_from(f, sequencer, &release);
    assert_int_equal(reply(f)->committed_tail, 3);
    m.from = 4;
    send_from(f, other, &m);
    sim_env_advance(&f->env, 999);
    assert_int_equal(f->taken, f->n);
    sim_env_advance(&f->env, 2);
    assert_int_equal(reply(f)->kind, LOGLET_TAIL);
    send_from(f, other, &m);
    struct loglet_message seal = request(LOGLET_SEAL);
    send_from(f, other, &seal);
    assert_int_equal(reply(f)->kind, LOGLET_SEALED);
    assert_true(reply(f)->sealed); /* the waiter's */
    /* Persisted in the background. */
    sim_env_advance(&f->env, 20000);
    restart(f);
    assert_int_equal(info(f)->committed_tail, 3);
}

/* ---- limits and failures ---- */

static void overload_is_shed(void **state)
{
    struct fixture *f = *state;
    struct bytes big = bytes_take_buf(buf_new(60000), 0, 60000);
    memset(big.owner->data, 1, 60000);
    struct loglet_message m = request(LOGLET_STORE);
    m.records = &big;
    m.n_records = 1;
    m.first_offset = 1;
    send_from(f, sequencer, &m);
    m.first_offset = 2;
    send_from(f, sequencer, &m);
    assert_int_equal(reply(f)->status, LOGLET_DROPPED);
    assert_int_equal(reply(f)->status, LOGLET_OK);
    send_from(f, sequencer, &m);
    assert_int_equal(reply(f)->status, LOGLET_OK);
    bytes_unref(&big);
}

static void a_full_disk_refuses_stores_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    uint64_t next = 1;
    disk_memory_set_capacity(f->disk, disk_memory_used(f->disk) + 4096);
    struct bytes big = bytes_take_buf(buf_new(6000), 0, 6000);
    memset(big.owner->data, 1, 6000);
    struct loglet_message m = request(LOGLET_STORE);
    m.records = &big;
    m.n_records = 1;
    enum loglet_status status = LOGLET_OK;
    while (status == LOGLET_OK && next < 500) {
        m.first_offset = next;
        send_from(f, sequencer, &m);
        status = reply(f)->status;
        next += status == LOGLET_OK;
        drop_replies(f);
    }
    assert_int_equal(status, LOGLET_REFUSES);
    assert_false(log_server_failsafe(f->server));
    assert_int_equal(info(f)->local_tail, next);
    assert_int_equal(get(f, 1, 1, 1000)->n_records, 1);
    assert_true(ask(f, request(LOGLET_SEAL))->sealed);
    struct loglet_message trim = request(LOGLET_TRIM);
    trim.to = next - 1;
    assert_int_equal(ask(f, trim)->trim_point, next - 1);
    bytes_unref(&big);
}

static void a_failed_write_stops_all_writing(void **state)
{
    struct fixture *f = *state;
    store(f, 1, 2, 1);
    disk_memory_crash_at(f->disk, 0, 0);
    assert_int_equal(store(f, 3, 1, 1), LOGLET_REFUSES);
    assert_true(log_server_failsafe(f->server));
    assert_int_equal(store(f, 3, 1, 1), LOGLET_REFUSES);
    const struct loglet_message *r = ask(f, request(LOGLET_SEAL));
    assert_false(r->sealed); /* a seal that is not durable is not acknowledged */
    assert_int_equal(info(f)->local_tail, 3);
    disk_memory_restart(f->disk);
    restart(f);
    assert_int_equal(info(f)->local_tail, 3);
    assert_int_equal(store(f, 3, 1, 1), LOGLET_OK);
}

/* Every kind of request, whatever the new disk has meanwhile; later segments are as any other. */
static void what_was_lost_is_only_said_to_be_lost(void **state)
{
    struct fixture *f = *state;
    struct lost_log lost[] = {{4, 9}, {5, 0}};
    log_server_set_lost(f->server, &(struct storage_generation){2, 1000, lost, 2});
    assert_int_equal(store(f, 1, 2, 1), LOGLET_LOST);
    assert_int_equal(repair(f, 1, 2, 1), LOGLET_LOST);
    static const enum loglet_message_kind kinds[] = {LOGLET_SEAL,          LOGLET_GET_INFO,
                                                     LOGLET_GET_RECORDS,   LOGLET_GET_DIGEST,
                                                     LOGLET_WAIT_FOR_TAIL, LOGLET_TRIM};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct loglet_message m = request(kinds[i]);
        m.from = m.to = 1;
        const struct loglet_message *r = ask(f, m);
        assert_true(loglet_message_is_reply(r->kind) && r->kind == kinds[i] + 1);
        assert_int_equal(r->status, LOGLET_LOST);
        assert_true(!r->sealed && r->local_tail == 1 && r->committed_tail == 1);
        struct writer w = WRITER_INIT;
        struct loglet_message decoded;
        static struct loglet_message_room room;
        loglet_message_encode(&w, r);
        struct bytes frame = writer_take(&w);
        assert_true(loglet_message_decode(frame, &room, &decoded));
        assert_int_equal(decoded.status, LOGLET_LOST);
        bytes_unref(&frame);
    }
    struct loglet_message later = request(LOGLET_SEAL);
    later.loglet_id = LOGLET + 1;
    assert_true(ask(f, later)->sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_table_of_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_said_before_it_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(repair_does_not_raise_the_trusted_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(the_sequencer_is_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(records_come_in_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_trim_and_a_late_store_in_one_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(waiters_hear_of_the_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(overload_is_shed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_stores_and_nothing_else, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_stops_all_writing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_lost_is_only_said_to_be_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
