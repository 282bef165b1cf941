/* Proves the table command x status of spec/invocation-lifecycle.md §5.9, row by row: every command against
 * an invocation in every status has the documented effect, reply and actions, and nothing else. */
#include "machine_fixture.h"

static const enum invocation_status all[] = {INV_FREE,      INV_SCHEDULED, INV_INBOXED,  INV_INVOKED,
                                             INV_SUSPENDED, INV_PAUSED,    INV_COMPLETED};

#define DUE 2000000u

/* An exclusive object invocation in the given status, waiting for request 1 (not for Free). Sleep 5 is open
 * where it has run. */
static struct invocation_id make(struct fixture *fx, enum invocation_status status)
{
    static int n;
    char key[16];
    snprintf(key, sizeof(key), "obj%d", n++);
    struct invoke_options o = {.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj", .key = key, .request = 1};
    if (status == INV_FREE)
        return fresh_id(fx);
    if (status == INV_INBOXED)
        invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj", .key = key});
    if (status == INV_SCHEDULED)
        o.execution_time_ms = DUE;
    struct invocation_id id = invoke(fx, o);
    struct writer w = effects_of(id);
    pin_effect(&w, 5, 6);
    sleep_entry(&w, DUE, 5);
    if (status == INV_SUSPENDED)
        suspend_on(&w, NOTIFICATION_COMPLETION, 5, NULL);
    if (status == INV_PAUSED)
        effect_write(&w,
                     &(struct effect){.kind = EFFECT_PAUSED, .payload = SLICE_LIT("{\"ty\":\"Paused\"}")});
    if (status == INV_COMPLETED) {
        output_entry(&w, "done");
        end_effect(&w);
    }
    if (status >= INV_INVOKED)
        apply_effects(fx, &w);
    else
        writer_free(&w);
    assert_int_equal(status_of(fx, id), status);
    return id;
}

static size_t sinks_of(struct fixture *fx, struct invocation_id id)
{
    return store_invocation_get(fx->store, id)->sinks.len;
}

static void invoke_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        invoke(fx, (struct invoke_options){.id = id,
                                           .kind = TARGET_OBJECT_EXCLUSIVE,
                                           .service = "Obj",
                                           .key = "zzz",
                                           .request = 2,
                                           .submit = 2});
        struct action *submitted = find_action(fx, ACTION_SUBMITTED);
        assert_int_equal(submitted->is_new, all[i] == INV_FREE);
        assert_int_equal(submitted->execution_time_ms, all[i] == INV_SCHEDULED ? DUE : 0);
        if (all[i] == INV_FREE) {
            assert_int_equal(status_of(fx, id), INV_INVOKED);
            assert_int_equal(count_actions(fx, ACTION_INVOKE), 1);
        } else if (all[i] == INV_COMPLETED) {
            struct action *a = find_action(fx, ACTION_RESPONSE);
            assert_success(a->outcome, "done");
            assert_int_equal(a->expiry_ms, fx->now_ms + RETENTION_MS);
        } else {
            assert_int_equal(status_of(fx, id), all[i]);
            assert_int_equal(sinks_of(fx, id), 2);
            assert_int_equal(fx->actions.len, 1);
        }
    }
}

static void invoke_retry_of_same_request_is_new(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.submit = 9});
    invoke(fx, (struct invoke_options){.id = id, .submit = 9});
    assert_true(find_action(fx, ACTION_SUBMITTED)->is_new);
    invoke(fx, (struct invoke_options){.id = id, .submit = 10});
    assert_false(find_action(fx, ACTION_SUBMITTED)->is_new);
}

static void timer_invoke_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        timer(fx, DUE, TIMER_INVOKE, id, 0);
        assert_int_equal(status_of(fx, id), all[i] == INV_SCHEDULED ? INV_INVOKED : all[i]);
        assert_int_equal(count_actions(fx, ACTION_INVOKE), all[i] == INV_SCHEDULED);
        assert_int_equal(count_actions(fx, ACTION_TIMER_DELETED), 1);
    }
}

static void timer_sleep_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        timer(fx, DUE, TIMER_SLEEP, id, 5);
        switch (all[i]) {
        case INV_INVOKED:
            assert_journal(fx, id, "Input Sleep +Sleep");
            assert_int_equal(find_action(fx, ACTION_FORWARD_NOTIFICATION)->index, 2);
            break;
        case INV_SUSPENDED:
            assert_journal(fx, id, "Input Sleep +Sleep");
            assert_int_equal(status_of(fx, id), INV_INVOKED);
            assert_int_equal(count_actions(fx, ACTION_INVOKE), 1);
            break;
        case INV_PAUSED:
            assert_journal(fx, id, "Input Sleep +Sleep");
            assert_int_equal(status_of(fx, id), INV_PAUSED);
            assert_int_equal(fx->actions.len, 1);
            break;
        default:
            assert_int_equal(status_of(fx, id), all[i]);
            assert_int_equal(fx->actions.len, 1);
        }
        timer(fx, DUE, TIMER_SLEEP, id, 5); /* the row is gone: no second notification */
        assert_int_equal(count_actions(fx, ACTION_FORWARD_NOTIFICATION), 0);
    }
}

static void effects_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        struct writer w = effects_of(id);
        set_state_entry(&w, "s", "v");
        apply_effects(fx, &w);
        struct action *applied = find_action(fx, ACTION_EFFECTS_APPLIED);
        assert_int_equal(applied->token, 11);
        assert_int_equal(applied->batch, 22);
        assert_int_equal(applied->dropped, all[i] != INV_INVOKED);
        assert_int_equal(count_actions(fx, ACTION_ABORT), all[i] != INV_INVOKED);
        if (all[i] == INV_INVOKED)
            assert_journal(fx, id, "Input Sleep SetState");
        assert_int_equal(status_of(fx, id), all[i]);
    }
}

static void signal_row(void **state)
{
    struct fixture *fx = *state;
    struct outcome ok = {.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("sig")};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        signal_index(fx, id, 17, ok);
        assert_int_equal(status_of(fx, id), all[i]);
        bool stored = all[i] == INV_INVOKED || all[i] == INV_SUSPENDED || all[i] == INV_PAUSED;
        if (stored)
            assert_journal(fx, id, "Input Sleep +Signal");
        assert_int_equal(count_actions(fx, ACTION_FORWARD_NOTIFICATION), all[i] == INV_INVOKED);
        assert_int_equal(fx->actions.len, all[i] == INV_INVOKED);
    }
}

static void response_row(void **state)
{
    struct fixture *fx = *state;
    struct outcome ok = {.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("r")};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        respond(fx, CMD_INVOCATION_RESPONSE, id, 99,
                ok);                                     /* no such command: a leftover, ignored everywhere */
        respond(fx, CMD_INVOCATION_RESPONSE, id, 5, ok); /* a Sleep takes no value */
        assert_int_equal(status_of(fx, id), all[i]);
        assert_int_equal(fx->actions.len, 0);
        respond(fx, CMD_INVOCATION_RESPONSE, id, 5, (struct outcome){.kind = OUTCOME_VOID});
        bool stored = all[i] == INV_INVOKED || all[i] == INV_SUSPENDED || all[i] == INV_PAUSED;
        if (stored)
            assert_journal(fx, id, "Input Sleep +Sleep");
        assert_int_equal(status_of(fx, id), all[i] == INV_SUSPENDED ? INV_INVOKED : all[i]);
    }
}

static void cancel_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        terminate(fx, id, false);
        switch (all[i]) {
        case INV_FREE:
            assert_int_equal(reply_status(fx), RPC_NOT_FOUND);
            assert_int_equal(count_actions(fx, ACTION_ABORT), 1);
            break;
        case INV_SCHEDULED:
        case INV_INBOXED:
            assert_int_equal(reply_status(fx), RPC_OK);
            assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "canceled");
            assert_int_equal(status_of(fx, id), INV_FREE);
            break;
        case INV_COMPLETED:
            assert_int_equal(reply_status(fx), RPC_ALREADY_COMPLETED);
            break;
        default:
            assert_int_equal(reply_status(fx), RPC_APPENDED);
            assert_journal(fx, id, "Input Sleep +Signal");
            assert_int_equal(status_of(fx, id), INV_INVOKED);
            assert_int_equal(count_actions(fx, ACTION_INVOKE), all[i] != INV_INVOKED);
            assert_int_equal(count_actions(fx, ACTION_FORWARD_NOTIFICATION), all[i] == INV_INVOKED);
        }
    }
}

static void cancel_by_signal(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id scheduled = make(fx, INV_SCHEDULED), suspended = make(fx, INV_SUSPENDED);
    signal_index(fx, scheduled, SIGNAL_INDEX_CANCEL, (struct outcome){.kind = OUTCOME_VOID});
    assert_int_equal(status_of(fx, scheduled), INV_FREE);
    assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "canceled");
    signal_index(fx, suspended, SIGNAL_INDEX_CANCEL, (struct outcome){.kind = OUTCOME_VOID});
    assert_int_equal(status_of(fx, suspended), INV_INVOKED);
}

static void kill_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        terminate(fx, id, true);
        switch (all[i]) {
        case INV_FREE:
            assert_int_equal(reply_status(fx), RPC_NOT_FOUND);
            break;
        case INV_COMPLETED:
            assert_int_equal(reply_status(fx), RPC_ALREADY_COMPLETED);
            break;
        case INV_SCHEDULED:
        case INV_INBOXED:
            assert_int_equal(reply_status(fx), RPC_OK);
            assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "killed");
            assert_int_equal(status_of(fx, id), INV_FREE);
            break;
        default:
            assert_int_equal(reply_status(fx), RPC_OK);
            assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 409, "killed");
            assert_int_equal(count_actions(fx, ACTION_ABORT), 1);
            assert_int_equal(status_of(fx, id), INV_COMPLETED);
        }
    }
}

static void purge_rows(void **state)
{
    struct fixture *fx = *state;
    static const enum command_kind kinds[] = {CMD_PURGE, CMD_PURGE_JOURNAL};
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            struct invocation_id id = make(fx, all[i]);
            operate(fx, kinds[k], id);
            if (all[i] == INV_FREE) {
                assert_int_equal(reply_status(fx), RPC_NOT_FOUND);
            } else if (all[i] != INV_COMPLETED) {
                assert_int_equal(reply_status(fx), RPC_NOT_COMPLETED);
                assert_int_equal(status_of(fx, id), all[i]);
            } else {
                assert_int_equal(reply_status(fx), RPC_OK);
                assert_int_equal(status_of(fx, id), k == 0 ? INV_FREE : INV_COMPLETED);
                if (k == 1) {
                    struct invocation *inv = store_invocation_get(fx->store, id);
                    assert_true(inv->journal_purged);
                    assert_int_equal(inv->journal.len, 0);
                    assert_success(inv->result, "done");
                }
            }
        }
    }
}

static void pause_row(void **state)
{
    struct fixture *fx = *state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        operate(fx, CMD_PAUSE, id);
        int expected = all[i] == INV_FREE                                 ? RPC_NOT_FOUND
                       : all[i] == INV_INVOKED || all[i] == INV_SUSPENDED ? RPC_APPENDED
                       : all[i] == INV_PAUSED                             ? RPC_OK
                                                                          : RPC_NOT_RUNNING;
        assert_int_equal(reply_status(fx), expected);
        assert_int_equal(status_of(fx, id), expected == RPC_APPENDED ? INV_PAUSED : all[i]);
        assert_int_equal(count_actions(fx, ACTION_ABORT), all[i] == INV_INVOKED);
    }
}

static void resume_row(void **state)
{
    struct fixture *fx = *state;
    static const int expected[] = {RPC_NOT_FOUND, RPC_NOT_STARTED, RPC_NOT_STARTED,      RPC_OK,
                                   RPC_OK,        RPC_OK,          RPC_ALREADY_COMPLETED};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]);
        resume(fx, id, false, 0);
        assert_int_equal(reply_status(fx), expected[i]);
        assert_int_equal(count_actions(fx, ACTION_RETRY_NOW), all[i] == INV_INVOKED);
        assert_int_equal(count_actions(fx, ACTION_INVOKE), all[i] == INV_SUSPENDED || all[i] == INV_PAUSED);
    }
    struct invocation_id running = make(fx, INV_INVOKED), paused = make(fx, INV_PAUSED);
    resume(fx, running, true, 9);
    assert_int_equal(reply_status(fx), RPC_BAD_DEPLOYMENT);
    resume(fx, paused, true, 9);
    assert_int_equal(reply_status(fx), RPC_OK);
    struct invocation *inv = store_invocation_get(fx->store, paused);
    assert_int_equal(inv->deployment_id.lo, 9);
    assert_int_equal(inv->protocol_version, 6);
}

static void restart_row(void **state)
{
    struct fixture *fx = *state;
    static const int expected[] = {RPC_NOT_FOUND,     RPC_NOT_STARTED,   RPC_NOT_STARTED, RPC_STILL_RUNNING,
                                   RPC_STILL_RUNNING, RPC_STILL_RUNNING, RPC_OK};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct invocation_id id = make(fx, all[i]), copy = fresh_id(fx);
        restart(fx, id, copy, 0);
        assert_int_equal(reply_status(fx), expected[i]);
        assert_int_equal(status_of(fx, copy), all[i] == INV_COMPLETED ? INV_INVOKED : INV_FREE);
    }
}

static void attach_rows(void **state)
{
    struct fixture *fx = *state;
    struct sink sink = {.kind = SINK_INGRESS, .request_id = {0, 77}};
    for (int block = 0; block < 2; block++) {
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            struct invocation_id id = make(fx, all[i]);
            attach(fx, id, block, sink);
            if (all[i] == INV_FREE) {
                assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 404, "not found");
            } else if (all[i] == INV_COMPLETED) {
                assert_success(find_action(fx, ACTION_RESPONSE)->outcome, "done");
            } else if (block) {
                assert_int_equal(fx->actions.len, 0);
                assert_int_equal(sinks_of(fx, id), 2);
                attach(fx, id, block, sink); /* a set */
                assert_int_equal(sinks_of(fx, id), 2);
            } else {
                assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 470,
                               "the response is not ready yet");
                assert_int_equal(sinks_of(fx, id), 1);
            }
            assert_int_equal(status_of(fx, id), all[i]);
        }
    }
}

static void attach_from_an_invocation(void **state)
{
    struct fixture *fx = *state;
    struct sink sink = {.kind = SINK_INVOCATION, .caller = fresh_id(fx), .completion_id = 4};
    struct cmd_invocation_response c;
    struct invocation_id running = make(fx, INV_INVOKED);
    attach(fx, running, false, sink);
    struct reader r = outbox_body(fx, 0, CMD_OUTPUT_RESPONSE);
    assert_true(cmd_invocation_response_read(&r, &c));
    assert_int_equal(c.outcome.kind, OUTCOME_VOID);
    attach(fx, fresh_id(fx), true, sink);
    r = outbox_body(fx, 0, CMD_INVOCATION_RESPONSE);
    assert_true(cmd_invocation_response_read(&r, &c));
    assert_failure(c.outcome, 404, "not found");
    attach(fx, running, true, sink);
    finish(fx, running, "late");
    r = outbox_body(fx, 0, CMD_INVOCATION_RESPONSE);
    assert_true(cmd_invocation_response_read(&r, &c));
    assert_success(c.outcome, "late");
    assert_int_equal(c.completion_id, 4);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(invoke_row),       CASE(invoke_retry_of_same_request_is_new),
        CASE(timer_invoke_row), CASE(timer_sleep_row),
        CASE(effects_row),      CASE(signal_row),
        CASE(response_row),     CASE(cancel_row),
        CASE(cancel_by_signal), CASE(kill_row),
        CASE(purge_rows),       CASE(pause_row),
        CASE(resume_row),       CASE(restart_row),
        CASE(attach_rows),      CASE(attach_from_an_invocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
