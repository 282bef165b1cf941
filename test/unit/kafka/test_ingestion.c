/* Exactly once, whatever requests come to: random logs that refuse, that lose answers, that take a part of a
 * batch, that answer late; a second consumer that sends the same records at the same time; consumers that end
 * in the middle and begin again from what was confirmed. The logs drop repeats as partitions do: by the
 * highest sequence of the producer (spec/invocation-lifecycle.md §3.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kafka/ingestion.h"
#include "sim/sim_env.h"

#define LANES   5
#define RECORDS 400

struct model {
    struct sim_env env;
    struct partition_router router;
    struct list waiting;
    struct env_timer answer;
    bool faults;
    int64_t applied[LANES][RECORDS]; /* offsets, in the order of the log */
    size_t n_applied[LANES];
    int64_t last[LANES]; /* deduplication: the highest so far */
    size_t requests, repeats, largest;
};

struct request { /* with the logs */
    struct list link_;
    struct partition_rpc *rpc;
};

static uint32_t lane_of(int64_t offset)
{
    return (uint32_t)((uint64_t)offset * 2654435761u >> 7) % LANES;
}

static struct bytes record_of(int64_t offset)
{
    struct writer w = WRITER_INIT;
    write_u64le(&w, (uint64_t)offset);
    for (int64_t i = 0; i < offset % 40; i++)
        write_u8(&w, 'x');
    return writer_take(&w);
}

static void apply(struct model *m, uint32_t lane, int64_t offset)
{
    assert_int_equal(lane_of(offset), lane);
    if (offset <= m->last[lane]) {
        m->repeats++;
        return;
    }
    m->last[lane] = offset;
    m->applied[lane][m->n_applied[lane]++] = offset;
}

/* Append up to `limit` records of the batch. */
static void append(struct model *m, struct partition_rpc *rpc, size_t limit)
{
    struct reader r = reader_make(bytes_slice(rpc->record));
    struct slice record;
    for (size_t n = 0; n < limit && rpc_ingest_next(&r, &record); n++)
        apply(m, (uint32_t)rpc->partition_key, (int64_t)get_u64le(record.ptr));
    assert_false(r.failed);
}

static void on_answer(struct env_timer *t)
{
    struct model *m = CONTAINER_OF(t, struct model, answer);
    /* In any order: requests of different lanes and consumers overtake each other. */
    size_t n = 0;
    LIST_FOREACH(node, &m->waiting)
    n++;
    size_t pick = sim_env_below(&m->env, n);
    struct list *node = m->waiting.next;
    while (pick--)
        node = node->next;
    struct request *q = CONTAINER_OF(node, struct request, link_);
    struct partition_rpc *rpc = q->rpc;
    struct rpc_reply reply = {.status = RPC_OK};
    uint64_t dice = m->faults ? sim_env_below(&m->env, 10) : 9;
    m->requests++;
    m->largest = MAX(m->largest, rpc->record.len);
    if (dice < 4)
        reply = (struct rpc_reply){.status = RPC_FAILED, .rc = dice < 2 ? RC_LOST_LEADERSHIP : RC_NOT_LEADER};
    append(m, rpc, dice == 0 ? 1 : dice == 1 || dice > 3 ? SIZE_MAX : 0);
    list_remove(node);
    free(q);
    bytes_unref(&rpc->record);
    if (!list_empty(&m->waiting))
        env_timer_arm(&m->env.env, &m->answer, 1 + sim_env_below(&m->env, 5));
    rpc->reply(rpc, &reply);
}

static void submit(struct partition_router *r, struct partition_rpc *rpc)
{
    struct model *m = CONTAINER_OF(r, struct model, router);
    struct request *q = xcalloc(1, sizeof(*q));
    q->rpc = rpc;
    list_push_back(&m->waiting, &q->link_);
    if (!env_timer_armed(&m->answer))
        env_timer_arm(&m->env.env, &m->answer, 1);
}

static void cancel(struct partition_router *r, struct partition_rpc *rpc) {} /* it is answered in its time */

static void model_init(struct model *m, uint64_t seed, bool faults)
{
    static const struct partition_router_ops ops = {submit, cancel};
    *m = (struct model){.faults = faults, .router.ops = &ops};
    sim_env_init(&m->env, seed);
    list_init(&m->waiting);
    env_timer_init(&m->answer, on_answer);
    for (int i = 0; i < LANES; i++)
        m->last[i] = -1;
}

/* ---- a consumer of one topic partition ---- */

struct reader_ {
    struct model *m;
    struct ingestion *g;
    struct stream *s;
    int64_t next, confirmed;
    size_t held_bytes, held_records;
    bool gone;
};

static bool in_logs(const struct model *m, int64_t offset)
{
    uint32_t lane = lane_of(offset);
    for (size_t i = 0; i < m->n_applied[lane]; i++)
        if (m->applied[lane][i] == offset)
            return true;
    return false;
}

static void on_progress(void *ctx, int64_t next_offset, size_t bytes, size_t records)
{
    struct reader_ *r = ctx;
    assert_true(next_offset > r->confirmed);
    for (int64_t i = r->confirmed; i < next_offset; i++)
        assert_true(in_logs(r->m, i)); /* never confirmed before it is committed */
    r->confirmed = next_offset;
    assert_true(r->held_bytes >= bytes && r->held_records >= records);
    r->held_bytes -= bytes;
    r->held_records -= records;
}

static void reader_start(struct reader_ *r, struct model *m, int64_t from)
{
    *r = (struct reader_){.m = m, .next = from, .confirmed = from};
    r->g = ingestion_new(&m->env.env, &m->router, &(struct ingestion_config){.batch_bytes = 200});
    r->s = stream_open(r->g, on_progress, r);
}

static void gone(void *ctx)
{
    ((struct reader_ *)ctx)->gone = true;
}

static void reader_stop(struct reader_ *r)
{
    assert_int_equal(stream_close(r->s), r->held_bytes);
    ingestion_free(r->g, gone, r);
}

static void reader_read(struct reader_ *r, size_t n)
{
    for (; n > 0 && r->next < RECORDS; n--, r->next++) {
        struct bytes record = record_of(r->next);
        r->held_bytes += record.len;
        r->held_records++;
        stream_push(r->s, r->next, lane_of(r->next), lane_of(r->next), record);
    }
    stream_flush(r->s);
}

static void check_logs(const struct model *m)
{
    size_t total = 0;
    for (uint32_t lane = 0; lane < LANES; lane++) {
        total += m->n_applied[lane];
        for (size_t i = 1; i < m->n_applied[lane]; i++)
            assert_true(m->applied[lane][i - 1] < m->applied[lane][i]);
    }
    assert_int_equal(total, RECORDS);
    for (int64_t i = 0; i < RECORDS; i++)
        assert_true(in_logs(m, i));
}

static void drain(struct model *m)
{
    sim_env_advance(&m->env, 5000);
    assert_true(list_empty(&m->waiting));
    sim_env_free(&m->env);
}

static void batches_in_order(void **state)
{
    struct model m;
    struct reader_ r;
    model_init(&m, 1, false);
    reader_start(&r, &m, 0);
    reader_read(&r, RECORDS);
    sim_env_advance(&m.env, 60000);
    assert_int_equal(r.confirmed, RECORDS);
    assert_int_equal(r.held_bytes, 0);
    check_logs(&m);
    assert_int_equal(m.repeats, 0);
    assert_true(m.requests < RECORDS / 3); /* batches */
    assert_true(m.largest <= 200 + 60);
    reader_stop(&r);
    assert_true(r.gone);
    drain(&m);
}

static void skipped_records_count_in_their_turn(void **state)
{
    struct model m;
    struct reader_ r;
    model_init(&m, 1, false);
    reader_start(&r, &m, 0);
    r.confirmed = -1; /* what is skipped is in no log: only look at the offsets */
    r.held_records = 3;
    struct bytes record = record_of(1);
    r.held_bytes = record.len;
    m.applied[lane_of(0)][m.n_applied[lane_of(0)]++] = 0;
    m.applied[lane_of(2)][m.n_applied[lane_of(2)]++] = 2;
    r.confirmed = 0;
    stream_push(r.s, 0, 0, 0, BYTES_EMPTY);
    assert_int_equal(r.confirmed, 1);
    stream_push(r.s, 1, lane_of(1), lane_of(1), record);
    stream_push(r.s, 2, 0, 0, BYTES_EMPTY);
    assert_int_equal(r.confirmed, 1); /* not before the one in front of it */
    stream_flush(r.s);
    sim_env_advance(&m.env, 100);
    assert_int_equal(r.confirmed, 3);
    assert_int_equal(r.held_records, 0);
    reader_stop(&r);
    drain(&m);
}

/* Readers come and go; sometimes two at once, as after a rebalance that one of them has not heard of. */
static void storm(uint64_t seed, size_t *repeats)
{
    struct model m;
    struct reader_ readers[40] = {0};
    size_t n = 1, first = 0;
    int64_t committed = 0;
    model_init(&m, seed, true);
    reader_start(&readers[0], &m, 0);
    while (committed < RECORDS) {
        for (size_t i = first; i < n; i++)
            reader_read(&readers[i], sim_env_below(&m.env, 12));
        sim_env_advance(&m.env, sim_env_below(&m.env, 60));
        for (size_t i = first; i < n; i++)
            committed = MAX(committed, readers[i].confirmed);
        if (n < ARRAY_LEN(readers) && n - first < 2 && sim_env_below(&m.env, 20) == 0)
            reader_start(&readers[n++], &m, committed);
        if (n - first > 1 && sim_env_below(&m.env, 15) == 0)
            reader_stop(&readers[first++]);
    }
    while (first < n)
        reader_stop(&readers[first++]);
    sim_env_advance(&m.env, 60000);
    for (size_t i = 0; i < n; i++)
        assert_true(readers[i].gone);
    check_logs(&m);
    *repeats += m.repeats;
    drain(&m);
}

static void storms(void **state)
{
    size_t repeats = 0;
    for (uint64_t seed = 1; seed <= 300; seed++)
        storm(seed, &repeats);
    assert_true(repeats > 1000); /* else nothing was put to the test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_in_order),
        cmocka_unit_test(skipped_records_count_in_their_turn),
        cmocka_unit_test(storms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
