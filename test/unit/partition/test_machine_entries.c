/* Proves what each journal entry of an attempt stores, sends and completes (spec/invocation-lifecycle.md
 * §5.3, §5.4, §5.8), the race of suspension (§5.7, §17 trap 7), retention at the end (§4.5), and that
 * impossible entries quarantine one invocation only (B2). */
#include "machine_fixture.h"

static void request_and_response(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.request = 5});
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 1);
    assert_journal(fx, id, "Input");
    fx->now_ms += 7;
    struct writer w = effects_of(id);
    pin_effect(&w, 1, 6);
    output_entry(&w, "out");
    end_effect(&w);
    apply_effects(fx, &w);
    struct action *a = find_action(fx, ACTION_RESPONSE);
    assert_true(u128_eq(a->request_id, request(5)));
    assert_success(a->outcome, "out");
    assert_int_equal(a->expiry_ms, 0);
    struct invocation *inv = store_invocation_get(fx->store, id);
    assert_int_equal(inv->status, INV_COMPLETED);
    assert_int_equal(inv->at.created_at, fx->now_ms - 7);
    assert_int_equal(inv->at.running_at, fx->now_ms - 7);
    assert_int_equal(inv->at.completed_at, fx->now_ms);
    assert_int_equal(inv->commands, 2);
    assert_true(inv->pinned);
}

static void last_output_counts_and_end_without_output_fails(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.request = 1});
    struct writer w = effects_of(id);
    output_entry(&w, "first");
    output_entry(&w, "second");
    end_effect(&w);
    apply_effects(fx, &w);
    assert_success(find_action(fx, ACTION_RESPONSE)->outcome, "second");
    id = invoke(fx, (struct invoke_options){.request = 2});
    w = effects_of(id);
    end_effect(&w);
    apply_effects(fx, &w);
    assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 500, "the handler ended without an output");
}

static void failed_effect_ends(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.request = 1});
    struct bytes owner;
    struct outcome failure = machine_failure(500, "boom", &owner);
    failure.stacktrace = SLICE_LIT("at line 1");
    struct writer w = effects_of(id);
    effect_write(&w, &(struct effect){.kind = EFFECT_FAILED, .failure = failure});
    apply_effects(fx, &w);
    bytes_unref(&owner);
    assert_failure(find_action(fx, ACTION_RESPONSE)->outcome, 500, "boom");
    struct invocation *inv = store_invocation_get(fx->store, id);
    assert_failure(inv->result, 500, "boom");
    assert_true(slice_eq_cstr(inv->result.stacktrace, "at line 1"));
}

static void call_builds_the_callee(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0}), child = fresh_id(fx);
    struct writer w = effects_of(id);
    call_entry(&w, false, child, TARGET_OBJECT_EXCLUSIVE, 2, 0);
    apply_effects(fx, &w);
    assert_journal(fx, id, "Input Call +CallInvocationId");
    assert_int_equal(find_action(fx, ACTION_FORWARD_NOTIFICATION)->index, 2);
    struct service_invocation si;
    struct reader r = outbox_body(fx, 0, CMD_INVOKE);
    assert_true(service_invocation_read(&r, &si));
    assert_true(invocation_id_eq(si.id, child));
    assert_int_equal(si.target.kind, TARGET_OBJECT_EXCLUSIVE);
    assert_true(slice_eq_cstr(si.target.service, "Callee"));
    assert_true(slice_eq_cstr(si.target.key, "ck"));
    assert_int_equal(si.source, SOURCE_SERVICE);
    assert_true(invocation_id_eq(si.source_id, id));
    assert_true(slice_eq_cstr(si.source_target.service, "Svc"));
    assert_int_equal(si.response_sink.kind, SINK_INVOCATION);
    assert_int_equal(si.response_sink.completion_id, 2);
    assert_int_equal(si.completion_retention_ms, 5000);
    struct command_view input;
    assert_true(reader_done(&r));
    assert_int_equal(command_decode(MSG_INPUT, si.input, &input, NULL), RC_OK);
    assert_success(input.value, "arg");
    struct slice name, value;
    size_t pos = 0;
    assert_true(command_header_next(&input, &pos, &name, &value));
    assert_true(slice_eq_cstr(name, "h") && slice_eq_cstr(value, "v"));
    assert_false(command_header_next(&input, &pos, &name, &value));

    struct outcome result = {.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("reply")};
    respond(fx, CMD_INVOCATION_RESPONSE, id, 2, result);
    assert_journal(fx, id, "Input Call +CallInvocationId +Call");
    assert_success(notification_at(fx, id, 3), "reply");
    respond(fx, CMD_INVOCATION_RESPONSE, id, 1, result); /* the invocation-id completion takes no response */
    assert_journal(fx, id, "Input Call +CallInvocationId +Call");
}

static void one_way_call_may_be_delayed(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    struct writer w = effects_of(id);
    call_entry(&w, true, fresh_id(fx), TARGET_SERVICE, 1, 1234567);
    apply_effects(fx, &w);
    struct service_invocation si;
    struct reader r = outbox_body(fx, 0, CMD_INVOKE);
    assert_true(service_invocation_read(&r, &si));
    assert_int_equal(si.execution_time_ms, 1234567);
    assert_int_equal(si.response_sink.kind, SINK_NONE);
    assert_null(si.target.key.ptr);
    assert_journal(fx, id, "Input OneWayCall +CallInvocationId");
}

static void attach_commands(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0}), target = fresh_id(fx);
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(target, text);
    struct writer w = effects_of(id);
    for (uint32_t i = 0; i < 2; i++) {
        struct writer p = WRITER_INIT;
        pb_write_bytes(&p, 1, slice_cstr(text));
        pb_write_u64(&p, 11, 3 + i);
        effect_write(&w, &(struct effect){.kind = EFFECT_ENTRY,
                                          .entry_type = i ? MSG_GET_OUTPUT : MSG_ATTACH,
                                          .attach_id = target,
                                          .payload = writer_slice(&p)});
        writer_free(&p);
    }
    apply_effects(fx, &w);
    struct cmd_attach c;
    struct reader r = outbox_body(fx, 1, CMD_ATTACH);
    assert_true(cmd_attach_read(&r, &c));
    assert_true(c.block);
    assert_int_equal(c.sink.completion_id, 3);
    r = outbox_body(fx, 0, CMD_ATTACH);
    assert_true(cmd_attach_read(&r, &c));
    assert_false(c.block);
    respond(fx, CMD_OUTPUT_RESPONSE, id, 4, (struct outcome){.kind = OUTCOME_VOID});
    assert_int_equal(notification_at(fx, id, 3).kind, OUTCOME_VOID);
    respond(fx, CMD_INVOCATION_RESPONSE, id, 3,
            (struct outcome){.kind = OUTCOME_VOID}); /* an attach needs a result */
    assert_journal(fx, id, "Input AttachInvocation GetInvocationOutput +GetInvocationOutput");
}

static void signals_leave_through_the_outbox(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0}), target = fresh_id(fx);
    char text[INVOCATION_ID_TEXT + 1], awakeable[48];
    invocation_id_format(target, text);
    awakeable_id_format((struct awakeable_id){.invocation = target, .index = 17}, awakeable);
    struct writer w = effects_of(id), p = WRITER_INIT;
    pb_write_bytes(&p, 1, slice_cstr(text));
    pb_write_bytes(&p, 3, SLICE_LIT("go"));
    put_value(&p, 5, "x");
    entry(&w, MSG_SEND_SIGNAL, &p);
    pb_write_bytes(&p, 1, slice_cstr(awakeable));
    put_failure(&p, 3, 500, "no");
    entry(&w, MSG_COMPLETE_AWAKEABLE, &p);
    apply_effects(fx, &w);
    struct cmd_signal c;
    struct reader r = outbox_body(fx, 1, CMD_SIGNAL);
    assert_true(cmd_signal_read(&r, &c));
    assert_true(c.named && slice_eq_cstr(c.name, "go"));
    assert_true(invocation_id_eq(c.id, target));
    assert_success(c.outcome, "x");
    r = outbox_body(fx, 0, CMD_SIGNAL);
    assert_true(cmd_signal_read(&r, &c));
    assert_false(c.named);
    assert_int_equal(c.index, 17);
    assert_failure(c.outcome, 500, "no");
}

static void acknowledged_commands_carry_the_command_index(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    struct writer w = effects_of(id);
    sleep_entry(&w, 99, 1);
    struct writer p = WRITER_INIT;
    pb_write_u64(&p, 11, 2);
    effect_write(&w,
                 &(struct effect){
                     .kind = EFFECT_ENTRY, .entry_type = MSG_RUN, .ack = true, .payload = writer_slice(&p)});
    writer_free(&p);
    run_completion_entry(&w, 2, "ran");
    apply_effects(fx, &w);
    assert_int_equal(find_action(fx, ACTION_ACK_COMMAND)->index, 2);
    assert_int_equal(find_action(fx, ACTION_FORWARD_NOTIFICATION)->index, 3);
    assert_journal(fx, id, "Input Sleep Run +Run");
}

static void suspension_that_is_already_decided_resumes(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    struct writer w = effects_of(id);
    run_entry(&w, 1);
    run_completion_entry(&w, 1, "ran");
    suspend_on(&w, NOTIFICATION_COMPLETION, 1, NULL);
    output_entry(&w, "never"); /* after a terminal effect nothing counts */
    apply_effects(fx, &w);
    assert_int_equal(status_of(fx, id), INV_INVOKED);
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 1);
    assert_journal(fx, id, "Input Run +Run");
}

static void signal_before_its_awaiting(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    struct outcome value = {.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("v")};
    signal_named(fx, id, "ready", value);
    struct writer w = effects_of(id);
    suspend_on(&w, NOTIFICATION_NAMED_SIGNAL, 0, "ready");
    apply_effects(fx, &w);
    assert_int_equal(status_of(fx, id), INV_INVOKED);
    w = effects_of(id);
    suspend_on(&w, NOTIFICATION_NAMED_SIGNAL, 0, "later");
    apply_effects(fx, &w);
    assert_int_equal(status_of(fx, id), INV_SUSPENDED);
    signal_named(fx, id, "other", value);
    assert_int_equal(status_of(fx, id), INV_SUSPENDED);
    signal_named(fx, id, "later", value);
    assert_int_equal(status_of(fx, id), INV_INVOKED);
}

static void paused_stores_but_does_not_wake(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    struct writer w = effects_of(id);
    sleep_entry(&w, 5, 1);
    effect_write(&w,
                 &(struct effect){.kind = EFFECT_EVENT, .payload = SLICE_LIT("{\"ty\":\"TransientError\"}")});
    effect_write(&w, &(struct effect){.kind = EFFECT_PAUSED, .payload = SLICE_LIT("{\"ty\":\"Paused\"}")});
    apply_effects(fx, &w);
    timer(fx, 5, TIMER_SLEEP, id, 1);
    assert_int_equal(status_of(fx, id), INV_PAUSED);
    assert_journal(fx, id, "Input Sleep +Sleep");
    struct invocation *inv = store_invocation_get(fx->store, id);
    assert_int_equal(inv->events.len, 2);
    assert_int_equal(inv->events.items[1].after_entry_index, 1);
}

static void nothing_stays_without_retention(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.no_retention = true, .request = 1});
    finish(fx, id, "x");
    assert_success(find_action(fx, ACTION_RESPONSE)->outcome, "x");
    assert_int_equal(status_of(fx, id), INV_FREE);
}

static void journal_goes_before_the_result(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.journal_retention_ms = 1});
    finish(fx, id, "x");
    struct invocation *inv = store_invocation_get(fx->store, id);
    assert_true(inv->journal_purged);
    assert_int_equal(inv->journal.len, 0);
    assert_success(inv->result, "x");
}

static void expired_results_are_free(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    finish(fx, id, "x");
    fx->now_ms += RETENTION_MS - 1;
    invoke(fx, (struct invoke_options){.id = id, .request = 2});
    assert_success(find_action(fx, ACTION_RESPONSE)->outcome, "x");
    fx->now_ms += 1;
    invoke(fx, (struct invoke_options){.id = id, .submit = 3});
    assert_true(find_action(fx, ACTION_SUBMITTED)->is_new);
    assert_int_equal(status_of(fx, id), INV_INVOKED);
    assert_journal(fx, id, "Input");
}

static void open_sleeps_end_with_their_invocation(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){.no_retention = true});
    struct writer w = effects_of(id);
    sleep_entry(&w, 5000000, 1);
    output_entry(&w, "raced");
    end_effect(&w);
    apply_effects(fx, &w);
    struct timer_key key;
    assert_int_equal(store_timer_scan(fx->store, NULL, &key, 1), 0);
}

static void lazy_and_eager_state(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id =
        invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj"});
    struct writer w = effects_of(id), p = WRITER_INIT;
    set_state_entry(&w, "b", "2");
    set_state_entry(&w, "a", "1");
    keyed_entry(&w, MSG_GET_LAZY_STATE, "a", 1);
    keyed_entry(&w, MSG_GET_LAZY_STATE, "nope", 2);
    pb_write_u64(&p, 11, 3);
    entry(&w, MSG_GET_LAZY_STATE_KEYS, &p);
    for (int i = 0; i < 2; i++) {
        pb_write_bytes(&p, 1, slice_cstr(i ? "nope" : "b"));
        effect_write(&w, &(struct effect){.kind = EFFECT_ENTRY,
                                          .entry_type = MSG_GET_EAGER_STATE,
                                          .value_from_state = true,
                                          .payload = writer_slice(&p)});
        writer_free(&p);
    }
    keyed_entry(&w, MSG_CLEAR_STATE, "b", 0);
    apply_effects(fx, &w);
    assert_journal(
        fx, id,
        "Input SetState SetState GetLazyState +GetLazyState GetLazyState +GetLazyState GetLazyStateKeys "
        "+GetLazyStateKeys GetEagerState GetEagerState ClearState");
    assert_success(notification_at(fx, id, 4), "1");
    assert_int_equal(notification_at(fx, id, 6).kind, OUTCOME_VOID);
    struct invocation *inv = store_invocation_get(fx->store, id);
    struct command_view c;
    assert_int_equal(
        command_decode(MSG_GET_EAGER_STATE, bytes_slice(inv->journal.items[9].payload), &c, NULL), RC_OK);
    assert_success(c.value, "2");
    assert_int_equal(
        command_decode(MSG_GET_EAGER_STATE, bytes_slice(inv->journal.items[10].payload), &c, NULL), RC_OK);
    assert_int_equal(c.value.kind, OUTCOME_VOID);
    assert_state(fx, "Obj", "k", "a", "1");
    assert_state(fx, "Obj", "k", "b", NULL);
}

static void large_state_is_read_by_reference(void **state)
{
    struct fixture *fx = *state;
    static char large[20001];
    memset(large, 'x', sizeof(large) - 1);
    struct invocation_id id =
        invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_EXCLUSIVE, .service = "Obj"});
    struct writer w = effects_of(id), p = WRITER_INIT;
    set_state_entry(&w, "big", large);
    for (int i = 0; i < 2; i++) {
        pb_write_bytes(&p, 1, SLICE_LIT("big"));
        if (i)
            pb_write_bytes(&p, 12, SLICE_LIT("label")); /* another layout: copied, equally right */
        effect_write(&w, &(struct effect){.kind = EFFECT_ENTRY,
                                          .entry_type = MSG_GET_EAGER_STATE,
                                          .value_from_state = true,
                                          .payload = writer_slice(&p)});
        writer_free(&p);
    }
    apply_effects(fx, &w);
    assert_state(fx, "Obj", "k", "big", large);
    struct invocation *inv = store_invocation_get(fx->store, id);
    struct bytes value;
    assert_true(store_state_get(fx->store, SLICE_LIT("Obj"), SLICE_LIT("k"), SLICE_LIT("big"), &value));
    for (int i = 0; i < 2; i++) {
        struct command_view c;
        assert_int_equal(
            command_decode(MSG_GET_EAGER_STATE, bytes_slice(inv->journal.items[2 + i].payload), &c, NULL),
            RC_OK);
        assert_true(slice_eq_cstr(c.key, "big"));
        assert_success(c.value, large);
        assert_int_equal(c.value.value.ptr == value.ptr, i == 0);
    }
    bytes_unref(&value);
}

/* ---- quarantine ---- */

static void assert_quarantined(struct fixture *fx, struct invocation_id id)
{
    struct invocation *inv = store_invocation_get(fx->store, id);
    assert_int_equal(inv->status, INV_PAUSED);
    assert_true(inv->quarantined);
    assert_int_equal(inv->events.len, 1);
    assert_int_equal(count_actions(fx, ACTION_ABORT), 1);
    resume(fx, id, false, 0);
    assert_int_equal(status_of(fx, id), INV_INVOKED);
    assert_false(store_invocation_get(fx->store, id)->quarantined);
}

static void impossible_entries_quarantine(void **state)
{
    struct fixture *fx = *state;
    static const uint16_t undecodable[] = {MSG_OUTPUT, MSG_SET_STATE, MSG_ATTACH, 0x0600, MSG_N_SLEEP};
    for (size_t i = 0; i < ARRAY_LEN(undecodable); i++) {
        struct invocation_id id = invoke(fx, (struct invoke_options){0});
        struct writer w = effects_of(id), p = WRITER_INIT;
        entry(&w, undecodable[i], &p);
        output_entry(&w, "never");
        apply_effects(fx, &w);
        assert_journal(fx, id, "Input");
        assert_quarantined(fx, id);
    }
    struct invocation_id shared =
        invoke(fx, (struct invoke_options){.kind = TARGET_OBJECT_SHARED, .service = "Obj"});
    struct writer w = effects_of(shared);
    set_state_entry(&w, "a", "b");
    apply_effects(fx, &w);
    assert_state(fx, "Obj", "k", "a", NULL);
    assert_quarantined(fx, shared);

    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    w = effects_of(id);
    effect_write(&w, &(struct effect){.kind = EFFECT_SUSPEND});
    apply_effects(fx, &w);
    assert_quarantined(fx, id);
}

static void unknown_commands_stop_the_replica(void **state)
{
    struct fixture *fx = *state;
    struct writer w = record_writer();
    assert_int_equal(fixture_apply_header(fx, (struct record_header){.kind = 99, .key_end = UINT64_MAX}, &w),
                     RC_UNSUPPORTED);
    w = record_writer();
    assert_int_equal(
        fixture_apply_header(fx, (struct record_header){.kind = CMD_INVOKE, .key_end = UINT64_MAX}, &w),
        RC_CORRUPT);
    struct cmd_version_barrier barrier = {.min_version = SLICE_LIT("9.0.0"), .reason = SLICE_LIT("test")};
    w = record_writer();
    cmd_version_barrier_write(&w, &barrier);
    assert_int_equal(fixture_apply_header(
                         fx, (struct record_header){.kind = CMD_VERSION_BARRIER, .key_end = UINT64_MAX}, &w),
                     RC_UNSUPPORTED);
    barrier = (struct cmd_version_barrier){.min_version = SLICE_LIT("1.7.0"), .features = 2};
    w = record_writer();
    cmd_version_barrier_write(&w, &barrier);
    assert_int_equal(fixture_apply_header(
                         fx, (struct record_header){.kind = CMD_VERSION_BARRIER, .key_end = UINT64_MAX}, &w),
                     RC_OK);
    assert_int_equal(store_vars(fx->store)->features, 2);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(request_and_response),
        CASE(last_output_counts_and_end_without_output_fails),
        CASE(failed_effect_ends),
        CASE(call_builds_the_callee),
        CASE(one_way_call_may_be_delayed),
        CASE(attach_commands),
        CASE(signals_leave_through_the_outbox),
        CASE(acknowledged_commands_carry_the_command_index),
        CASE(suspension_that_is_already_decided_resumes),
        CASE(signal_before_its_awaiting),
        CASE(paused_stores_but_does_not_wake),
        CASE(nothing_stays_without_retention),
        CASE(journal_goes_before_the_result),
        CASE(expired_results_are_free),
        CASE(open_sleeps_end_with_their_invocation),
        CASE(lazy_and_eager_state),
        CASE(large_state_is_read_by_reference),
        CASE(impossible_entries_quarantine),
        CASE(unknown_commands_stop_the_replica),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
