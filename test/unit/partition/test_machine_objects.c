/* Proves the rules of objects and workflows (spec/invocation-lifecycle.md §6, §7.5): lock and inbox order,
 * state patches in turn, promises, the life of a workflow run and its clean-up. */
#include "machine_fixture.h"

static struct invocation_id exclusive(struct fixture *fx, uint64_t execution_time)
{
    return invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_EXCLUSIVE,
                                              .service = "Obj",
                                              .execution_time_ms = execution_time});
}

static bool locked_by(struct fixture *fx, struct invocation_id id)
{
    struct invocation_id owner;
    return store_lock_get(fx->store, SLICE_LIT("Obj"), SLICE_LIT("k"), &owner) && invocation_id_eq(owner, id);
}

static void one_at_a_time_in_order(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id a = exclusive(fx, 0), b = exclusive(fx, 0), delayed = exclusive(fx, 5000000),
                         c = exclusive(fx, 0);
    assert_int_equal(status_of(fx, b), INV_INBOXED);
    assert_int_equal(status_of(fx, delayed), INV_SCHEDULED);
    timer(fx, 5000000, TIMER_INVOKE, delayed, 0); /* takes its place when due (§6.2) */
    assert_int_equal(status_of(fx, delayed), INV_INBOXED);
    struct invocation_id last = exclusive(fx, 0);
    struct invocation_id order[] = {a, b, c, delayed, last};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_int_equal(status_of(fx, order[i]), INV_INVOKED);
        assert_true(locked_by(fx, order[i]));
        finish(fx, order[i], "ok");
        assert_int_equal(count_actions(fx, ACTION_INVOKE), i + 1 < ARRAY_LEN(order));
    }
    struct invocation_id owner;
    assert_false(store_lock_get(fx->store, SLICE_LIT("Obj"), SLICE_LIT("k"), &owner));
}

static void shared_handlers_do_not_wait(void **state)
{
    struct fixture *fx = *state;
    exclusive(fx, 0);
    struct invocation_id shared =
        invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_SHARED, .service = "Obj"});
    assert_int_equal(status_of(fx, shared), INV_INVOKED);
    finish(fx, shared, "x");
    assert_int_equal(status_of(fx, exclusive(fx, 0)), INV_INBOXED);
}

static void removal_keeps_the_order(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id a = exclusive(fx, 0), b = exclusive(fx, 0), c = exclusive(fx, 0),
                         d = exclusive(fx, 0);
    terminate(fx, c, true);
    terminate(fx, a, true); /* kill passes the lock on, after the abort of the killed attempt */
    assert_int_equal(fx->actions.items[0].kind, ACTION_ABORT);
    assert_true(locked_by(fx, b));
    finish(fx, b, "x");
    assert_true(locked_by(fx, d));
}

static void suspended_and_paused_keep_the_lock(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id a = exclusive(fx, 0), b = exclusive(fx, 0);
    struct writer w = effects_of(a);
    suspend_on(&w, NOTIFICATION_SIGNAL, 17, NULL);
    apply_effects(fx, &w);
    assert_true(locked_by(fx, a));
    operate(fx, CMD_PAUSE, a);
    assert_true(locked_by(fx, a));
    assert_int_equal(status_of(fx, b), INV_INBOXED);
}

static void patches_wait_for_their_turn(void **state)
{
    struct fixture *fx = *state;
    patch_state(fx, "Obj", "k", NULL, "name", "bob");
    assert_state(fx, "Obj", "k", "name", "bob");
    struct invocation_id a = exclusive(fx, 0);
    patch_state(fx, "Obj", "k", NULL, "name", "eve");
    struct invocation_id b = exclusive(fx, 0);
    assert_state(fx, "Obj", "k", "name", "bob");
    struct writer w = effects_of(a);
    set_state_entry(&w, "other", "1");
    output_entry(&w, "x");
    end_effect(&w);
    apply_effects(fx, &w);
    assert_state(fx, "Obj", "k", "name", "eve"); /* the whole state is replaced */
    assert_state(fx, "Obj", "k", "other", NULL);
    assert_true(locked_by(fx, b));
    finish(fx, b, "x");

    patch_state(fx, "Obj", "k", "wrong-version", "name", "nobody");
    assert_state(fx, "Obj", "k", "name", "eve");
    patch_state(fx, "Obj", "k", NULL, "name", "bob");
    patch_state(fx, "Obj", "k", "tDqA04Lj3_qJ-PgNPTecXDGZgpwy6jm2Ni2BYqJIthM", NULL,
                NULL); /* version of name=bob (§6.3) */
    assert_state(fx, "Obj", "k", "name", NULL);
    patch_state(fx, "Obj", "k", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "n", "v"); /* of nothing */
    assert_state(fx, "Obj", "k", "n", "v");
}

static void state_survives_failure_and_kill(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id a = exclusive(fx, 0);
    struct writer w = effects_of(a);
    set_state_entry(&w, "n", "1");
    apply_effects(fx, &w);
    terminate(fx, a, true);
    assert_state(fx, "Obj", "k", "n", "1");
}

/* ---- workflows ---- */

static struct invocation_id workflow(struct fixture *fx, struct invocation_id id, uint64_t request)
{
    return invoke(fx, (struct invoke_options){
                          .id = id, .kind = TARGET_WORKFLOW_RUN, .service = "Wf", .request = request});
}

static struct invocation_id workflow_shared(struct fixture *fx)
{
    return invoke(fx, (struct invoke_options){.kind = TARGET_WORKFLOW_SHARED, .service = "Wf"});
}

static void second_run_is_refused(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = fresh_id(fx);
    workflow(fx, id, 1);
    workflow(fx, id, 2);
    assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "the workflow method was already invoked");
    workflow(fx, id, 1); /* the ingress repeats the very same request: it joins (B10) */
    assert_int_equal(fx->actions.len, 0);
    finish(fx, id, "done");
    assert_int_equal(count_actions(fx, ACTION_RESPONSE), 1);
    workflow(fx, id, 3);
    assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "the workflow method was already invoked");
    workflow(fx, id, 1);
    assert_success(find_action(fx, ACTION_RESPONSE)->outcome, "done");
}

static void complete_promise_entry(struct writer *w, const char *key, const char *value, uint32_t cid)
{
    struct writer p = WRITER_INIT;
    pb_write_bytes(&p, 1, slice_cstr(key));
    put_value(&p, 2, value);
    pb_write_u64(&p, 11, cid);
    entry(w, MSG_COMPLETE_PROMISE, &p);
}

static void promises_complete_once(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id run = workflow(fx, fresh_id(fx), 0), shared = workflow_shared(fx);
    struct writer w = effects_of(run);
    keyed_entry(&w, MSG_GET_PROMISE, "p", 1);
    keyed_entry(&w, MSG_PEEK_PROMISE, "p", 2);
    apply_effects(fx, &w);
    assert_journal(fx, run, "Input GetPromise PeekPromise +PeekPromise");
    assert_int_equal(notification_at(fx, run, 3).kind, OUTCOME_VOID);

    w = effects_of(shared);
    complete_promise_entry(&w, "p", "yes", 1);
    complete_promise_entry(&w, "p", "again", 2);
    keyed_entry(&w, MSG_GET_PROMISE, "p", 3);
    apply_effects(fx, &w);
    assert_int_equal(notification_at(fx, shared, 2).kind, OUTCOME_VOID);
    assert_failure(notification_at(fx, shared, 4), 409, "promise was already completed");
    assert_success(notification_at(fx, shared, 6), "yes");

    struct cmd_invocation_response c;
    struct reader r = outbox_body(fx, 0, CMD_INVOCATION_RESPONSE);
    assert_true(cmd_invocation_response_read(&r, &c));
    assert_true(invocation_id_eq(c.caller, run));
    assert_int_equal(c.completion_id, 1);
    assert_success(c.outcome, "yes");
    respond(fx, CMD_INVOCATION_RESPONSE, run, 1, c.outcome);
    assert_success(notification_at(fx, run, 4), "yes");
}

static void clean_up_takes_state_and_promises(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id run = workflow(fx, fresh_id(fx), 0);
    struct writer w = effects_of(run);
    set_state_entry(&w, "s", "1");
    complete_promise_entry(&w, "p", "v", 1);
    output_entry(&w, "done");
    end_effect(&w);
    apply_effects(fx, &w);
    struct timer_key key;
    assert_int_equal(store_timer_scan(fx->store, NULL, &key, 1), 1);
    assert_int_equal(key.kind, TIMER_CLEANUP);
    assert_int_equal(key.wake_up_ms, fx->now_ms + RETENTION_MS);
    assert_true(timer_key_cmp(&find_action(fx, ACTION_TIMER_REGISTERED)->timer, &key) == 0);

    fx->now_ms += RETENTION_MS + 5;
    workflow(fx, run, 9); /* late, but before the clean-up: still the old run (§6.4) */
    assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "the workflow method was already invoked");
    assert_state(fx, "Wf", "k", "s", "1");
    timer(fx, key.wake_up_ms, TIMER_CLEANUP, run, 0);
    assert_int_equal(status_of(fx, run), INV_FREE);
    assert_state(fx, "Wf", "k", "s", NULL);
    struct promise p;
    assert_false(store_promise_get(fx->store, SLICE_LIT("Wf"), SLICE_LIT("k"), SLICE_LIT("p"), &p));
    workflow(fx, run, 10);
    assert_int_equal(status_of(fx, run), INV_INVOKED);
}

static void purge_by_hand_drops_the_timer(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id run = workflow(fx, fresh_id(fx), 0);
    struct writer w = effects_of(run);
    set_state_entry(&w, "s", "1");
    output_entry(&w, "done");
    end_effect(&w);
    apply_effects(fx, &w);
    operate(fx, CMD_PURGE, run);
    struct timer_key key;
    assert_int_equal(store_timer_scan(fx->store, NULL, &key, 1), 0);
    assert_state(fx, "Wf", "k", "s", NULL);
}

static void purge_of_an_object_call_keeps_state(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id a = exclusive(fx, 0);
    struct writer w = effects_of(a);
    set_state_entry(&w, "s", "1");
    output_entry(&w, "x");
    end_effect(&w);
    apply_effects(fx, &w);
    operate(fx, CMD_PURGE, a);
    assert_state(fx, "Obj", "k", "s", "1");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(one_at_a_time_in_order),
        CASE(shared_handlers_do_not_wait),
        CASE(removal_keeps_the_order),
        CASE(suspended_and_paused_keep_the_lock),
        CASE(patches_wait_for_their_turn),
        CASE(state_survives_failure_and_kill),
        CASE(second_run_is_refused),
        CASE(promises_complete_once),
        CASE(clean_up_takes_state_and_promises),
        CASE(purge_by_hand_drops_the_timer),
        CASE(purge_of_an_object_call_keeps_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
