/* Limits of scopes in the state machine (spec/invocation-lifecycle.md §12.5, §8): held invocations under
 * every operation, slots that come back whatever ends an attempt, objects of scopes, a bounded number of
 * starts per record, and a store that is opened again. */
#include "machine_fixture.h"
#include "partition/limits.h"

static void limit(struct fixture *fx, uint32_t version, const char *pattern, uint32_t concurrency)
{
    struct writer rules = WRITER_INIT, w = record_writer();
    cmd_rule_book_add(&rules, slice_cstr(pattern), concurrency);
    cmd_rule_book_write(
        &w, &(struct cmd_rule_book){.version = version, .n_rules = 1, .rules = writer_slice(&rules)});
    writer_free(&rules);
    fixture_apply(fx, CMD_RULE_BOOK, &w);
}

static struct invocation_id scoped(struct fixture *fx)
{
    return invoke(fx, (struct invoke_options){.scope = "s"});
}

static void suspend(struct fixture *fx, struct invocation_id id)
{
    struct writer w = effects_of(id);
    suspend_on(&w, NOTIFICATION_SIGNAL, 17, NULL);
    apply_effects(fx, &w);
    assert_int_equal(status_of(fx, id), INV_SUSPENDED);
}

static void who_exceeds_the_limit_is_held(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 1, "s", 1);
    struct invocation_id a = scoped(fx), b = scoped(fx);
    assert_int_equal(status_of(fx, a), INV_INVOKED);
    assert_int_equal(status_of(fx, b), INV_HELD);
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 0);
    struct invocation_id free = invoke(fx, (struct invoke_options){0}),
                         other = invoke(fx, (struct invoke_options){.scope = "t"});
    assert_int_equal(status_of(fx, free), INV_INVOKED);
    assert_int_equal(status_of(fx, other), INV_INVOKED);
    finish(fx, a, "x");
    assert_int_equal(status_of(fx, b), INV_INVOKED);
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 1);
    assert_true(invocation_id_eq(find_action(fx, ACTION_INVOKE)->id, b));
}

/* Ends of an attempt: each gives the slot to the next. */
static void every_end_of_an_attempt_gives_its_slot_back(void **state)
{
    for (int end = 0; end < 6; end++) {
        struct fixture fx;
        fixture_init(&fx);
        limit(&fx, 1, "s", 1);
        struct invocation_id a = scoped(&fx), b = scoped(&fx);
        struct writer w;
        switch (end) {
        case 0:
            finish(&fx, a, "x");
            break;
        case 1:
            suspend(&fx, a);
            break;
        case 2:
            terminate(&fx, a, true);
            break;
        case 3:
            operate(&fx, CMD_PAUSE, a);
            assert_int_equal(status_of(&fx, a), INV_PAUSED);
            break;
        case 4: /* paused by its attempt */
            w = effects_of(a);
            effect_write(
                &w, &(struct effect){.kind = EFFECT_PAUSED, .payload = SLICE_LIT("{\"ty\":\"Paused\"}")});
            apply_effects(&fx, &w);
            break;
        default: /* quarantined: a state access that may not be here */
            w = effects_of(a);
            set_state_entry(&w, "k", "v");
            apply_effects(&fx, &w);
            assert_true(store_invocation_get(fx.store, a)->quarantined);
        }
        assert_int_equal(status_of(&fx, b), INV_INVOKED);
        fixture_free(&fx);
    }
}

static void operations_on_one_that_never_ran(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 1, "s", 1);
    struct invocation_id a = scoped(fx), b = scoped(fx), c = scoped(fx), d = scoped(fx);
    operate(fx, CMD_PAUSE, b);
    assert_int_equal(reply_status(fx), RPC_NOT_RUNNING);
    resume(fx, b, false, 0);
    assert_int_equal(reply_status(fx), RPC_NOT_STARTED);
    restart(fx, b, fresh_id(fx), 0);
    assert_int_equal(reply_status(fx), RPC_NOT_STARTED);
    operate(fx, CMD_PURGE, b);
    assert_int_equal(reply_status(fx), RPC_NOT_COMPLETED);
    terminate(fx, b, false);
    assert_int_equal(status_of(fx, b), INV_FREE);
    terminate(fx, c, true);
    assert_int_equal(status_of(fx, c), INV_FREE);
    finish(fx, a, "x");
    assert_int_equal(status_of(fx, d), INV_INVOKED);
    assert_int_equal(limits_held(store_limits(fx->store)), 0);
}

static void one_that_wakes_up_waits_for_a_slot(void **state)
{
    struct fixture *fx = *state;
    struct outcome go = {.kind = OUTCOME_VOID};
    limit(fx, 1, "s", 1);
    struct invocation_id a = scoped(fx), b = scoped(fx), c = scoped(fx);
    suspend(fx, a);
    assert_int_equal(status_of(fx, b), INV_INVOKED);
    signal_index(fx, a, 17, go);
    assert_int_equal(status_of(fx, a), INV_HELD);
    signal_index(fx, a, 18, go); /* stored, like for a suspended one */
    assert_journal(fx, a, "Input +Signal +Signal");
    resume(fx, a, false, 0);
    assert_int_equal(reply_status(fx), RPC_OK);
    assert_int_equal(status_of(fx, a), INV_HELD);
    restart(fx, a, fresh_id(fx), 0);
    assert_int_equal(reply_status(fx), RPC_STILL_RUNNING);
    terminate(fx, a, false); /* it will see that it is canceled */
    assert_int_equal(status_of(fx, a), INV_HELD);
    finish(fx, b, "x"); /* it goes on before c, which has not begun */
    assert_int_equal(status_of(fx, a), INV_INVOKED);
    assert_int_equal(status_of(fx, c), INV_HELD);
    terminate(fx, a, true);
    assert_int_equal(status_of(fx, c), INV_INVOKED);
    operate(fx, CMD_PAUSE, c);
    struct invocation_id d = scoped(fx), e = scoped(fx);
    resume(fx, c, false, 0);
    assert_int_equal(status_of(fx, c), INV_HELD);
    operate(fx, CMD_PAUSE, c);
    assert_int_equal(status_of(fx, c), INV_PAUSED);
    finish(fx, d, "x");
    assert_int_equal(status_of(fx, e), INV_INVOKED);
    assert_int_equal(status_of(fx, c), INV_PAUSED);
}

static void one_that_is_woken_at_once_keeps_its_slot(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 1, "s", 1);
    struct invocation_id a = scoped(fx), b = scoped(fx);
    signal_index(fx, a, 17, (struct outcome){.kind = OUTCOME_VOID});
    struct writer w = effects_of(a);
    suspend_on(&w, NOTIFICATION_SIGNAL, 17, NULL);
    apply_effects(fx, &w);
    assert_int_equal(status_of(fx, a), INV_INVOKED);
    assert_int_equal(status_of(fx, b), INV_HELD);
}

static void yield(struct fixture *fx, struct invocation_id id, uint64_t until)
{
    struct writer w = effects_of(id);
    effect_write(&w,
                 &(struct effect){
                     .kind = EFFECT_YIELD, .resume_at_ms = until, .retries = 3, .retries_since_command = 2});
    apply_effects(fx, &w);
    assert_int_equal(status_of(fx, id), INV_HELD);
}

static void one_that_backs_off_for_long_gives_its_slot_back(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 1, "s", 1);
    struct invocation_id a = scoped(fx), b = scoped(fx), c = scoped(fx);
    yield(fx, a, 5000);
    assert_int_equal(status_of(fx, b), INV_INVOKED);
    struct invocation *inv = store_invocation_get(fx->store, a);
    assert_true(inv->backoff.retries == 3 && inv->backoff.retries_since_command == 2);
    timer(fx, 4000, TIMER_RETRY, a, 0); /* not its own */
    assert_int_equal(status_of(fx, a), INV_HELD);
    assert_true(inv->backoff.resume_at_ms == 5000);
    /* its time has come, but the slot is taken: it waits in front of c */
    timer(fx, 5000, TIMER_RETRY, a, 0);
    assert_int_equal(status_of(fx, a), INV_HELD);
    assert_true(inv->backoff.resume_at_ms == 0 && inv->backoff.retries == 3);
    finish(fx, b, "x");
    assert_int_equal(status_of(fx, a), INV_INVOKED);
    assert_int_equal(status_of(fx, c), INV_HELD);
    struct writer w = effects_of(a); /* progress */
    run_entry(&w, 1);
    apply_effects(fx, &w);
    assert_true(inv->backoff.retries == 3 && inv->backoff.retries_since_command == 0);
    /* the counts survive */
    yield(fx, a, 9000);
    fixture_close_store(fx, false);
    fixture_open(fx);
    inv = store_invocation_get(fx->store, a);
    assert_true(inv->backoff.resume_at_ms == 9000 && inv->backoff.retries == 3);
    finish(fx, c, "x");
    timer(fx, 9000, TIMER_RETRY, a, 0);
    assert_int_equal(status_of(fx, a), INV_INVOKED);
    finish(fx, a, "x");
}

/* Whatever ends the wait takes the timer along. */
static void operations_on_one_that_backs_off(void **state)
{
    for (int what = 0; what < 4; what++) {
        struct fixture fx;
        fixture_init(&fx);
        struct invocation_id a = scoped(&fx);
        yield(&fx, a, 5000);
        switch (what) {
        case 0:
            terminate(&fx, a, true);
            assert_int_equal(status_of(&fx, a), INV_COMPLETED);
            break;
        case 1: /* it has to see that it is canceled */
            terminate(&fx, a, false);
            assert_int_equal(status_of(&fx, a), INV_INVOKED);
            break;
        case 2:
            operate(&fx, CMD_PAUSE, a);
            assert_int_equal(status_of(&fx, a), INV_PAUSED);
            break;
        default: /* retry now, and from the beginning of its policy */
            resume(&fx, a, false, 0);
            assert_int_equal(reply_status(&fx), RPC_OK);
            assert_int_equal(status_of(&fx, a), INV_INVOKED);
            assert_int_equal(store_invocation_get(fx.store, a)->backoff.retries, 0);
        }
        struct timer_key left;
        assert_int_equal(store_timer_scan(fx.store, NULL, &left, 1), 0);
        fixture_free(&fx);
    }
}

static void objects_of_a_scope_lock_first_and_then_wait(void **state)
{
    struct fixture *fx = *state;
    struct invoke_options o = {.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj", .scope = "s"};
    limit(fx, 1, "s", 1);
    struct invocation_id holder = scoped(fx), first = invoke(fx, o), second = invoke(fx, o);
    assert_int_equal(status_of(fx, first), INV_HELD); /* it has the lock */
    assert_int_equal(status_of(fx, second), INV_INBOXED);
    o.scope = NULL;
    struct invocation_id unscoped = invoke(fx, o); /* another object */
    assert_int_equal(status_of(fx, unscoped), INV_INVOKED);
    terminate(fx, first, false); /* the lock goes on, the slot does not exist yet */
    assert_int_equal(status_of(fx, second), INV_HELD);
    finish(fx, holder, "x");
    assert_int_equal(status_of(fx, second), INV_INVOKED);
    finish(fx, second, "x");
    o.scope = "s";
    assert_int_equal(status_of(fx, invoke(fx, o)), INV_INVOKED);
}

/* The invoker refuses it before; what gets here all the same must not reach another partition. */
static void a_call_into_a_malformed_scope_is_quarantined(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0}), callee = fresh_id(fx);
    struct writer w = effects_of(id), p = WRITER_INIT;
    pb_write_bytes(&p, 1, SLICE_LIT("Svc"));
    pb_write_bytes(&p, 2, SLICE_LIT("run"));
    pb_write_bytes(&p, 7, SLICE_LIT("a b"));
    pb_write_u64(&p, 10, 1);
    pb_write_u64(&p, 11, 2);
    effect_write(&w, &(struct effect){.kind = EFFECT_ENTRY,
                                      .entry_type = MSG_CALL,
                                      .payload = writer_slice(&p),
                                      .has_callee = true,
                                      .callee = {.id = callee}});
    writer_free(&p);
    apply_effects(fx, &w);
    assert_true(store_invocation_get(fx->store, id)->quarantined);
    assert_true(store_vars(fx->store)->outbox_seq == 0);
}

static void rules_of_an_older_book_change_nothing(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 5, "s", 2);
    limit(fx, 4, "s", 1);
    assert_int_equal(store_rules_version(fx->store), 5);
    scoped(fx);
    assert_int_equal(status_of(fx, scoped(fx)), INV_INVOKED);
    assert_int_equal(status_of(fx, scoped(fx)), INV_HELD);
}

static struct invocation_id queue_of(const char *scope)
{
    struct limit_address a = {.scope = slice_cstr(scope), .service = SLICE_LIT("Svc")};
    return limits_queue_id(&a);
}

static void a_paused_queue_waits(void **state)
{
    struct fixture *fx = *state;
    struct outcome go = {.kind = OUTCOME_VOID};
    struct invocation_id a = scoped(fx), b = scoped(fx),
                         other = invoke(fx, (struct invoke_options){.scope = "t"});
    suspend(fx, a);
    operate(fx, CMD_PAUSE_QUEUE, queue_of("s"));
    assert_int_equal(reply_status(fx), RPC_OK);
    assert_int_equal(status_of(fx, b), INV_INVOKED); /* what runs goes on */
    struct invocation_id c = scoped(fx), d = scoped(fx);
    assert_int_equal(status_of(fx, c), INV_HELD);
    signal_index(fx, a, 17, go); /* what wakes up waits, too */
    assert_int_equal(status_of(fx, a), INV_HELD);
    finish(fx, b, "x");
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 0);
    finish(fx, other, "x");
    terminate(fx, d, true);
    assert_int_equal(status_of(fx, d), INV_FREE);

    uint64_t hash = store_vars(fx->store)->state_hash;
    fixture_close_store(fx, false);
    fixture_open(fx);
    assert_true(store_vars(fx->store)->state_hash == hash);
    struct invocation_id e = scoped(fx);
    assert_int_equal(status_of(fx, e), INV_HELD);
    operate(fx, CMD_RESUME_QUEUE, queue_of("nobody"));
    assert_int_equal(reply_status(fx), RPC_OK);
    assert_int_equal(status_of(fx, a), INV_HELD);
    operate(fx, CMD_RESUME_QUEUE, queue_of("s"));
    assert_int_equal(status_of(fx, a), INV_INVOKED);
    assert_int_equal(status_of(fx, c), INV_INVOKED);
    assert_int_equal(status_of(fx, e), INV_INVOKED);
    assert_true(invocation_id_eq(find_action(fx, ACTION_INVOKE)->id, a)); /* it stood before the others */
    fixture_close_store(fx, false);
    fixture_open(fx);
    assert_int_equal(limits_paused_count(store_limits(fx->store)), 0);
}

static void too_many_paused_queues_are_refused(void **state)
{
    struct fixture *fx = *state;
    for (uint64_t i = 0; i < QUEUES_PAUSED_MAX; i++)
        assert_true(store_queue_pause(fx->store, (struct invocation_id){7, {7, i}}));
    operate(fx, CMD_PAUSE_QUEUE, queue_of("s"));
    assert_int_equal(reply_status(fx), RPC_QUEUES_FULL);
    assert_int_equal(status_of(fx, scoped(fx)), INV_INVOKED);
}

static const struct queue_history *history(struct fixture *fx, struct invocation_id id)
{
    return &store_invocation_get(fx->store, id)->queue;
}

/* What SQL shows of queues (spec/sql.md §3.13). */
static void the_way_through_a_queue_is_counted(void **state)
{
    struct fixture *fx = *state;
    struct outcome go = {.kind = OUTCOME_VOID};
    struct invocation_id a = scoped(fx), none = invoke(fx, (struct invoke_options){0});
    struct queue_history h = *history(fx, a);
    uint64_t first = fx->now_ms;
    assert_true(h.attempts == 1 && h.first_attempt_at == first && h.latest_attempt_at == first &&
                h.moved_at == first);
    fx->now_ms += 10;
    suspend(fx, a);
    assert_true(history(fx, a)->moved_at == first + 10);
    fx->now_ms += 10;
    signal_index(fx, a, 17, go);
    h = *history(fx, a);
    assert_true(h.attempts == 2 && h.suspensions == 1 && h.errors == 0 && !h.backing_off);
    assert_true(h.first_attempt_at == first && h.latest_attempt_at == first + 20 && h.moved_at == first + 20);
    fx->now_ms += 10;
    yield(fx, a, fx->now_ms + 1000000);
    h = *history(fx, a);
    assert_true(h.errors == 1 && h.backing_off && h.moved_at == first + 30);
    operate(fx, CMD_PAUSE, a);
    fixture_close_store(fx, false);
    fixture_open(fx);
    h = *history(fx, a);
    assert_true(h.pauses == 1 && h.errors == 1 && h.backing_off);
    fx->now_ms += 10;
    resume(fx, a, false, 0);
    assert_true(history(fx, a)->attempts == 3 && !history(fx, a)->backing_off);
    fx->now_ms += 10;
    finish(fx, a, "x");
    h = *history(fx, a);
    assert_true(h.attempts == 3 && h.latest_attempt_at == first + 40 && h.moved_at == first + 50);
    h = *history(fx, none);
    assert_true(h.attempts == 0 && h.moved_at == 0 && h.first_attempt_at == 0);
}

static size_t held(struct fixture *fx)
{
    return limits_held(store_limits(fx->store));
}

static void one_record_starts_a_bounded_number(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 1, "s", 1);
    for (int i = 0; i < 1000; i++)
        scoped(fx);
    assert_int_equal(held(fx), 999);
    limit(fx, 2, "other", 1); /* everybody may run now */
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 256);
    assert_int_equal(held(fx), 999 - 256);
    assert_true(store_slot_any_next(fx->store));
    assert_int_equal(status_of(fx, scoped(fx)), INV_HELD); /* in its turn */
    while (store_slot_any_next(fx->store)) {               /* as the leader does */
        struct writer w = record_writer();
        fixture_apply(fx, CMD_ADMIT, &w);
        assert_true(count_actions(fx, ACTION_INVOKE) > 0);
    }
    assert_int_equal(held(fx), 0);
}

/* The same history in a store that was opened again in the middle, and the same afterwards. */
static void what_was_held_survives_in_its_order(void **state)
{
    struct fixture *fx = *state;
    limit(fx, 1, "s", 2);
    struct invocation_id ids[10];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ids[i] = invoke(fx, (struct invoke_options){.scope = "s", .limit_key = i % 3 ? "a" : "b"});
    suspend(fx, ids[1]);
    uint64_t hash = store_vars(fx->store)->state_hash;
    fixture_close_store(fx, false);
    fixture_open(fx);
    assert_true(store_vars(fx->store)->state_hash == hash);
    assert_int_equal(store_rules_version(fx->store), 1);
    size_t running = 0;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        running += status_of(fx, ids[i]) == INV_INVOKED;
    assert_int_equal(running, 2);
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < ARRAY_LEN(ids); i++)
            if (status_of(fx, ids[i]) == INV_INVOKED) {
                finish(fx, ids[i], "x");
                any = true;
            }
    }
    assert_int_equal(held(fx), 0);
    assert_int_equal(status_of(fx, ids[1]), INV_SUSPENDED);

    struct fixture other;
    fixture_init(&other);
    for (size_t i = 0; i < fx->history.len; i++)
        assert_int_equal(fixture_apply_bytes(&other, fx->history.items[i], false), RC_OK);
    assert_true(store_vars(other.store)->state_hash == store_vars(fx->store)->state_hash);
    fixture_free(&other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(who_exceeds_the_limit_is_held),
        T(every_end_of_an_attempt_gives_its_slot_back),
        T(operations_on_one_that_never_ran),
        T(one_that_wakes_up_waits_for_a_slot),
        T(one_that_is_woken_at_once_keeps_its_slot),
        T(one_that_backs_off_for_long_gives_its_slot_back),
        T(operations_on_one_that_backs_off),
        T(objects_of_a_scope_lock_first_and_then_wait),
        T(a_call_into_a_malformed_scope_is_quarantined),
        T(rules_of_an_older_book_change_nothing),
        T(one_record_starts_a_bounded_number),
        T(what_was_held_survives_in_its_order),
        T(a_paused_queue_waits),
        T(the_way_through_a_queue_is_counted),
        T(too_many_paused_queues_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
