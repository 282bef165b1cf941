/* Proves kill propagation and restart-as-new (spec/invocation-lifecycle.md §8.2, §8.7), deduplication and
 * fencing (§3.2), and that the state is a function of the records alone: two stores with different flush
 * points and crashes end with equal state hashes. */
#include "machine_fixture.h"

static void kill_reaches_calls_and_sends(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.no_retention = true}), a = fresh_id(fx),
                         b = fresh_id(fx);
    struct writer w = effects_of(id);
    call_entry(&w, true, a, TARGET_SERVICE, 1, 0);
    call_entry(&w, false, b, TARGET_SERVICE, 3, 0);
    apply_effects(fx, &w);
    terminate(fx, id, true);
    struct cmd_terminate c;
    struct reader r = outbox_body(fx, 1, CMD_TERMINATE);
    assert_true(cmd_terminate_read(&r, &c));
    assert_true(c.kill && invocation_id_eq(c.id, a));
    r = outbox_body(fx, 0, CMD_TERMINATE);
    assert_true(cmd_terminate_read(&r, &c));
    assert_true(c.kill && invocation_id_eq(c.id, b));
    assert_int_equal(status_of(fx, id), INV_FREE);
    assert_int_equal(c.reply_request_id.lo, 0);
}

/* Input, Run(1), +Run(1), Sleep(2), SetState, +Sleep(2), Output */
static struct invocation_id completed(struct fixture *fx, uint32_t protocol)
{
    struct invocation_id id =
        invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj"});
    struct writer w = effects_of(id);
    pin_effect(&w, 5, protocol);
    run_entry(&w, 1);
    run_completion_entry(&w, 1, "ran");
    sleep_entry(&w, 50, 2);
    set_state_entry(&w, "s", "1");
    apply_effects(fx, &w);
    timer(fx, 50, TIMER_SLEEP, id, 2);
    finish(fx, id, "x");
    assert_journal(fx, id, "Input Run +Run Sleep SetState +Sleep Output");
    return id;
}

static void restart_copies_the_prefix_and_its_completions(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = completed(fx, 6), copy = fresh_id(fx);
    patch_state(fx, "Obj", "k", NULL, NULL, NULL);
    restart(fx, id, copy, 3);
    assert_int_equal(reply_status(fx), RPC_OK);
    assert_true(invocation_id_eq(find_action(fx, ACTION_OPERATION_REPLY)->new_id, copy));
    assert_journal(fx, copy, "Input Run +Run Sleep +Sleep");
    struct invocation *inv = store_invocation_get(fx->store, copy);
    assert_int_equal(inv->si.source, SOURCE_RESTART);
    assert_true(invocation_id_eq(inv->si.source_id, id));
    assert_null(inv->si.idempotency_key.ptr);
    assert_int_equal(inv->commands, 3);
    assert_int_equal(inv->deployment_id.lo, 77);
    assert_int_equal(inv->protocol_version, 6);
    assert_true(inv->has_random_seed);
    assert_int_equal(inv->random_seed, invocation_random_seed(id));
    assert_state(fx, "Obj", "k", "s", NULL); /* not applied again */
    restart(fx, id, copy, 3);                /* the same command once more */
    assert_int_equal(reply_status(fx), RPC_OK);
    finish(fx, copy, "again");
    assert_int_equal(status_of(fx, id), INV_COMPLETED);
}

static void restart_takes_the_lock_like_any_other(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = completed(fx, 6), copy = fresh_id(fx);
    invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj"});
    restart(fx, id, copy, 0);
    assert_int_equal(status_of(fx, copy), INV_INBOXED);
    assert_false(store_invocation_get(fx->store, copy)->has_random_seed);
}

static void restart_preconditions(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = completed(fx, 6);
    restart(fx, id, fresh_id(fx), 7);
    assert_int_equal(reply_status(fx), RPC_BAD_PREFIX);
    operate(fx, CMD_PURGE_JOURNAL, id);
    restart(fx, id, fresh_id(fx), 0);
    assert_int_equal(reply_status(fx), RPC_GONE);
    restart(fx, completed(fx, 5), fresh_id(fx), 1);
    assert_int_equal(reply_status(fx), RPC_UNSUPPORTED);

    struct invocation_id open = invoke(fx, (struct invoke_options){0});
    struct writer w = effects_of(open);
    pin_effect(&w, 5, 6);
    sleep_entry(&w, 9999999, 1);
    output_entry(&w, "x");
    end_effect(&w);
    apply_effects(fx, &w);
    restart(fx, open, fresh_id(fx), 1);
    assert_int_equal(reply_status(fx), RPC_BAD_PREFIX);
    restart(fx, open, fresh_id(fx), 0);
    assert_int_equal(reply_status(fx), RPC_OK);

    struct invocation_id wf =
        invoke(fx, (struct invoke_options){.kind = TARGET_WORKFLOW_RUN, .service = "Wf"});
    finish(fx, wf, "x");
    restart(fx, wf, fresh_id(fx), 0);
    assert_int_equal(reply_status(fx), RPC_UNSUPPORTED);
}

/* ---- exactly once ---- */

static bool send_deduplicated(struct fixture *fx, struct record_header h)
{
    struct invocation_id id = fresh_id(fx);
    struct writer w = record_writer();
    struct invoke_options o = {0};
    invocation_write(&w, &o, id);
    h.kind = CMD_INVOKE;
    h.key_end = h.key_end ? h.key_end : UINT64_MAX;
    assert_int_equal(fixture_apply_header(fx, h, &w), RC_OK);
    assert_int_equal(status_of(fx, id) == INV_FREE, fx->result.skipped);
    return !fx->result.skipped;
}

static void announce(struct fixture *fx, uint64_t epoch, bool effective)
{
    struct cmd_announce_leader c = {
        .node_id = 1, .node_generation = 2, .epoch = epoch, .key_end = UINT64_MAX};
    struct writer w = record_writer();
    cmd_announce_leader_write(&w, &c);
    struct record_header h = {
        .kind = CMD_ANNOUNCE_LEADER, .dedup = DEDUP_SELF, .key_end = UINT64_MAX, .seq_hi = epoch};
    assert_int_equal(fixture_apply_header(fx, h, &w), RC_OK);
    assert_int_equal(fx->result.leader_announced, effective);
}

static void duplicates_and_deposed_leaders_are_dropped(void **state)
{
    struct fixture *fx = *state;
    announce(fx, 5, true);
    assert_true(send_deduplicated(fx, (struct record_header){.dedup = DEDUP_SELF, .seq_hi = 5, .seq_lo = 1}));
    assert_false(
        send_deduplicated(fx, (struct record_header){.dedup = DEDUP_SELF, .seq_hi = 5, .seq_lo = 1}));
    announce(fx, 6, true);
    assert_false(
        send_deduplicated(fx, (struct record_header){.dedup = DEDUP_SELF, .seq_hi = 5, .seq_lo = 2}));
    assert_true(send_deduplicated(fx, (struct record_header){.dedup = DEDUP_SELF, .seq_hi = 6, .seq_lo = 1}));
    announce(fx, 4, false);
    assert_int_equal(store_vars(fx->store)->leader_epoch, 6);

    struct record_header foreign = {.dedup = DEDUP_FOREIGN, .producer = {0, 8}, .seq_lo = 100};
    assert_true(send_deduplicated(fx, foreign));
    assert_false(send_deduplicated(fx, foreign));
    foreign.producer.lo = 9;
    foreign.seq_lo = 0;
    assert_true(send_deduplicated(fx, foreign));
    struct record_header producer = {.dedup = DEDUP_PRODUCER, .producer = {3, 8}, .seq_lo = 0};
    assert_true(send_deduplicated(fx, producer));
    assert_false(send_deduplicated(fx, producer));
    uint64_t lsn = store_vars(fx->store)->applied_lsn;
    assert_false(send_deduplicated(fx, producer));
    assert_int_equal(store_vars(fx->store)->applied_lsn, lsn + 1); /* a dropped record still counts */
}

static void time_never_goes_back(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    uint64_t then = fx->now_ms;
    fx->now_ms -= 500;
    finish(fx, id, "x");
    assert_int_equal(store_invocation_get(fx->store, id)->at.completed_at, then);
}

/* ---- determinism ---- */

static void workload(struct fixture *fx)
{
    struct invocation_id ids[64];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        char key[8];
        snprintf(key, sizeof(key), "k%d", (int)(i % 5));
        fx->now_ms += i;
        ids[i] = invoke(fx, (struct invoke_options){.kind = (enum target_kind)(i % 5),
                                                    .service = i % 5 > 2 ? "Wf" : "Obj",
                                                    .key = key,
                                                    .execution_time_ms = i % 7 == 3 ? fx->now_ms + 50 : 0,
                                                    .no_retention = i % 3 == 0});
        if (i % 11 == 10)
            terminate(fx, ids[i], i % 2);
        if (status_of(fx, ids[i]) != INV_INVOKED)
            continue;
        struct writer w = effects_of(ids[i]);
        pin_effect(&w, i, 6);
        if (target_writes_state((enum target_kind)(i % 5)))
            set_state_entry(&w, "s", key);
        call_entry(&w, i % 2, fresh_id(fx), TARGET_SERVICE, 2, 0);
        sleep_entry(&w, fx->now_ms + 100, 4);
        if (i % 4 == 0)
            suspend_on(&w, NOTIFICATION_COMPLETION, 4, NULL);
        apply_effects(fx, &w);
        if (i % 4 == 1)
            finish(fx, ids[i], "done");
    }
    struct timer_key due[128];
    size_t n = store_timer_scan(fx->store, NULL, due, ARRAY_LEN(due));
    for (size_t i = 0; i < n / 2; i++)
        timer(fx, due[i].wake_up_ms, due[i].kind, due[i].id, due[i].index);
    patch_state(fx, "Obj", "k1", NULL, "s", "patched");
    struct cmd_truncate_outbox c = {.index = 7};
    struct writer w = record_writer();
    cmd_truncate_outbox_write(&w, &c);
    fixture_apply(fx, CMD_TRUNCATE_OUTBOX, &w);
}

static void flushed(void *ctx, lsn_t durable)
{
    *(lsn_t *)ctx = durable;
}

/* Apply the history to another store that flushes and crashes every few records, as a follower. */
static uint64_t replay_with_crashes(const struct fixture *from, uint64_t seed)
{
    struct fixture fx;
    lsn_t durable = 0;
    fixture_init(&fx);
    sim_rng_seed(fx.env.rng, seed);
    for (lsn_t lsn; (lsn = store_vars(fx.store)->applied_lsn) < from->history.len;) {
        assert_int_equal(fixture_apply_bytes(&fx, from->history.items[lsn], seed & 1), RC_OK);
        uint64_t dice = sim_env_below(&fx.env, 40);
        if (dice == 0) {
            store_flush(fx.store, flushed, &durable);
            if (sim_env_below(&fx.env, 2))
                sim_env_advance(&fx.env, 100);
        } else if (dice == 1) {
            fixture_close_store(&fx, true);
            memory_backend_crash(fx.kv);
            fixture_open(&fx);
        }
    }
    uint64_t hash = store_vars(fx.store)->state_hash;
    fixture_free(&fx);
    return hash;
}

static void state_is_a_function_of_the_records(void **state)
{
    struct fixture *fx = *state;
    workload(fx);
    uint64_t hash = store_vars(fx->store)->state_hash;
    for (uint64_t seed = 1; seed <= 8; seed++)
        assert_int_equal(replay_with_crashes(fx, seed), hash);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(kill_reaches_calls_and_sends),
        CASE(restart_copies_the_prefix_and_its_completions),
        CASE(restart_takes_the_lock_like_any_other),
        CASE(restart_preconditions),
        CASE(duplicates_and_deposed_leaders_are_dropped),
        CASE(time_never_goes_back),
        CASE(state_is_a_function_of_the_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
