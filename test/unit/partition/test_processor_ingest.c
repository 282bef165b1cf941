/* Proves what the partition processor does with records of outside producers (Kafka subscriptions):
 * they get in once, are refused as a whole, and never in after their subscription was deleted
 * (spec/invocation-lifecycle.md §3.2). */
#include "processor_fixture.h"

#define SUBSCRIPTION ((struct u128){7, 7})

/* A record of an outside producer. */
static void add_produced(struct writer *batch, uint64_t offset, uint64_t n)
{
    struct writer w = WRITER_INIT;
    struct invocation_id id = id_of(n);
    record_begin(&w, 64);
    invocation_write(&w, &(struct invoke_options){.id = id, .subscription = SUBSCRIPTION}, id);
    struct bytes record = writer_take(&w);
    struct record_header h = {.version = RECORD_VERSION,
                              .kind = CMD_INVOKE,
                              .dedup = DEDUP_PRODUCER,
                              .key_start = id.partition_key,
                              .key_end = id.partition_key,
                              .producer = {5, 6},
                              .seq_lo = offset};
    record_header_put((uint8_t *)record.ptr, &h);
    rpc_ingest_add(batch, bytes_slice(record));
    bytes_unref(&record);
}

static struct test_rpc ingest_rpc(uint64_t request_number, uint64_t from, uint64_t n)
{
    struct test_rpc t = new_rpc(RPC_INGEST, request_number, id_of(0));
    struct writer batch = WRITER_INIT;
    for (uint64_t i = from; i < from + n; i++)
        add_produced(&batch, i, 1000 + i);
    t.rpc.record = writer_take(&batch);
    return t;
}

static void records_of_a_producer(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    processor_set_subscriptions(r->p, 1, &SUBSCRIPTION, 1);
    struct test_rpc a = ingest_rpc(1, 0, 3), again = ingest_rpc(2, 1, 4), old = ingest_rpc(3, 0, 2);
    processor_rpc(r->p, &a.rpc);
    assert_int_equal(a.replies, 0);
    settle(w);
    assert_int_equal(a.replies, 1);
    assert_int_equal(a.reply.status, RPC_OK);
    assert_int_equal(r->invoked, 3); /* sequence 0 counts */
    processor_rpc(r->p, &again.rpc);
    processor_rpc(r->p, &old.rpc);
    settle(w);
    assert_int_equal(again.reply.status, RPC_OK);
    assert_int_equal(old.reply.status, RPC_OK);
    assert_int_equal(r->invoked, 5); /* 3 and 4 were new */
    /* The rule survives the replica. */
    stop_replica(w, 0, false);
    start_replica(w, 0);
    processor_set_subscriptions(r->p, 1, &SUBSCRIPTION, 1);
    processor_become_leader(r->p, 2);
    settle(w);
    struct test_rpc once_more = ingest_rpc(4, 0, 6);
    processor_rpc(r->p, &once_more.rpc);
    settle(w);
    assert_int_equal(once_more.reply.status, RPC_OK);
    assert_int_equal(r->invoked, 6);
}

static void refused_records_of_a_producer(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    processor_set_subscriptions(r->p, 1, &SUBSCRIPTION, 1);
    struct test_rpc empty = new_rpc(RPC_INGEST, 1, id_of(0)), cut = ingest_rpc(2, 0, 2);
    struct test_rpc full = ingest_rpc(3, 0, 2), plain = new_rpc(RPC_INGEST, 4, id_of(0));
    processor_rpc(r->p, &empty.rpc);
    cut.rpc.record.len--;
    processor_rpc(r->p, &cut.rpc);
    struct writer batch = WRITER_INIT, record = WRITER_INIT;
    record_begin(&record, 64); /* without a header that says whose it is */
    invocation_write(&record, &(struct invoke_options){.id = id_of(9)}, id_of(9));
    rpc_ingest_add(&batch, writer_slice(&record));
    writer_free(&record);
    plain.rpc.record = writer_take(&batch);
    processor_rpc(r->p, &plain.rpc);
    settle(w);
    assert_int_equal(empty.reply.rc, RC_INVALID);
    assert_int_equal(cut.reply.rc, RC_INVALID);
    assert_int_equal(plain.reply.rc, RC_INVALID);
    sim_logs_refuse(w->logs, RC_OVERLOADED);
    processor_rpc(r->p, &full.rpc);
    settle(w);
    assert_int_equal(full.reply.status, RPC_FAILED);
    assert_int_equal(full.reply.rc, RC_OVERLOADED);
    sim_logs_refuse(w->logs, RC_OK);
    processor_step_down(r->p);
    settle(w);
    struct test_rpc late = ingest_rpc(5, 0, 2);
    processor_rpc(r->p, &late.rpc);
    settle(w);
    assert_int_equal(late.reply.rc, RC_NOT_LEADER);
    assert_int_equal(r->invoked, 0);
}

static bool any_owner(void *ctx, uint64_t owner)
{
    return true;
}

static bool knows_producers(struct replica *r)
{
    uint64_t owner;
    return store_dedup_orphan(processor_store(r->p), any_owner, NULL, &owner);
}

static void refused_as_unknown(struct world *w, int replica, uint64_t request, uint64_t from)
{
    struct test_rpc t = ingest_rpc(request, from, 1);
    processor_rpc(w->replicas[replica].p, &t.rpc);
    settle(w);
    assert_int_equal(t.reply.status, RPC_FAILED);
    assert_int_equal(t.reply.rc, RC_UNAVAILABLE);
}

/* A subscription that was deleted is forgotten, and nothing of it gets in afterwards - through no leader,
 * however old its schema is. */
static void a_deleted_subscription(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0], *follower = &w->replicas[1];
    refused_as_unknown(w, 0, 1, 0); /* nobody has said what stands */
    processor_set_subscriptions(r->p, 1, &SUBSCRIPTION, 1);
    start_replica(w, 1);
    processor_set_subscriptions(follower->p, 1, &SUBSCRIPTION, 1);
    struct test_rpc taken = ingest_rpc(2, 0, 3), late = ingest_rpc(3, 3, 2);
    processor_rpc(r->p, &taken.rpc);
    settle(w);
    assert_int_equal(taken.reply.status, RPC_OK);
    assert_true(knows_producers(r) && knows_producers(follower));

    /* Deleted while records are on their way through the log, of which the table knows nothing yet. */
    processor_rpc(r->p, &late.rpc);
    processor_set_subscriptions(r->p, 5, NULL, 0);
    settle(w);
    assert_false(knows_producers(r) || knows_producers(follower));
    refused_as_unknown(w, 0, 4, 0);
    unsigned invoked = r->invoked;

    /* A leader that has not heard of it, one that starts again, and one that is told of older schemas. */
    processor_step_down(r->p);
    processor_become_leader(follower->p, 2);
    settle(w);
    refused_as_unknown(w, 1, 5, 0);
    stop_replica(w, 1, false);
    start_replica(w, 1);
    processor_set_subscriptions(follower->p, 4, &SUBSCRIPTION, 1);
    processor_become_leader(follower->p, 3);
    settle(w);
    refused_as_unknown(w, 1, 6, 0);
    processor_set_subscriptions(follower->p, 6, NULL, 0);
    settle(w);
    refused_as_unknown(w, 1, 7, 0);
    assert_false(knows_producers(r) || knows_producers(follower));
    assert_int_equal(r->invoked, invoked);
}

/* To a leader whose schema is older than the subscription, it is unknown and not deleted. */
static void a_subscription_that_is_not_known_yet(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0], *behind = &w->replicas[1];
    processor_set_subscriptions(r->p, 1, &SUBSCRIPTION, 1);
    start_replica(w, 1);
    struct test_rpc taken = ingest_rpc(1, 0, 3), again = ingest_rpc(2, 0, 4);
    processor_rpc(r->p, &taken.rpc);
    settle(w);
    processor_step_down(r->p);
    processor_become_leader(behind->p, 2);
    settle(w);
    refused_as_unknown(w, 1, 3, 3);
    assert_true(knows_producers(behind));
    processor_set_subscriptions(behind->p, 1, &SUBSCRIPTION, 1);
    unsigned invoked = behind->invoked;
    processor_rpc(behind->p, &again.rpc);
    settle(w);
    assert_int_equal(again.reply.status, RPC_OK);
    assert_int_equal(behind->invoked, invoked + 1);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(records_of_a_producer),
        CASE(refused_records_of_a_producer),
        CASE(a_deleted_subscription),
        CASE(a_subscription_that_is_not_known_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
