/* Records and command bodies: every body reads back as written, every truncation and no flipped byte crashes,
 * and malformed contents are refused (wire/command.h). */
#include "wire/command.h"

#include "wire/service_protocol.h"
#include "wire_test.h"

static const struct invocation_id id_a = {0x1122334455667788, {0x99aabbccddeeff00, 0x0102030405060708}};
static const struct invocation_id id_b = {7, {8, 9}};
static const struct u128 request = {0xaaaa, 0xbbbb};

static bool id_eq(struct invocation_id a, struct invocation_id b)
{
    return invocation_id_eq(a, b);
}

/* ---- header ---- */

static void record_headers_round_trip(void **state)
{
    struct record_header h = {.version = RECORD_VERSION,
                              .kind = CMD_INVOKE,
                              .dedup = DEDUP_PRODUCER,
                              .created_at_ms = 123,
                              .key_start = 5,
                              .key_end = UINT64_MAX,
                              .producer = {1, 2},
                              .seq_hi = 3,
                              .seq_lo = 4},
                         got;
    struct writer w = WRITER_INIT;
    record_begin(&w, 10);
    write_raw(&w, "body", 4);
    record_header_put(w.buf->data, &h);
    assert_true(record_header_get(writer_slice(&w), &got));
    assert_true(got.version == h.version && got.kind == h.kind && got.dedup == h.dedup);
    assert_true(got.created_at_ms == 123 && got.key_start == 5 && got.key_end == UINT64_MAX);
    assert_true(u128_eq(got.producer, h.producer) && got.seq_hi == 3 && got.seq_lo == 4);
    assert_slice(record_body(writer_slice(&w)), SLICE_LIT("body"));
    static const struct {
        size_t at;
        uint8_t value;
    } broken[] = {{0, 2}, {0, 0}, {1, 0}, {1, 16}, {1, 27}, {2, 4}, {3, 1}, {7, 1}, {16, 0xff}};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        h.key_end = 6;
        record_header_put(w.buf->data, &h);
        w.buf->data[broken[i].at] = broken[i].value;
        assert_false(record_header_get(writer_slice(&w), &got));
    }
    assert_false(record_header_get(slice_sub(writer_slice(&w), 0, RECORD_HEADER_SIZE - 1), &got));
    writer_free(&w);
}

static void every_kind_has_a_name(void **state)
{
    assert_string_equal(command_kind_name(CMD_INVOKE), "Invoke");
    for (int kind = CMD_ANNOUNCE_LEADER; kind <= CMD_FORGET_PRODUCERS; kind++) {
        bool unassigned = kind == 16 || kind == 20;
        assert_int_equal(strcmp(command_kind_name((enum command_kind)kind), "unknown") == 0, unassigned);
    }
}

/* ---- robustness of one encoded body ---- */

typedef bool (*read_fn)(struct reader *r);

/* Reads complete input; refuses every truncation; survives every single-byte change. */
static void assert_robust(struct slice body, read_fn read)
{
    struct reader r = reader_make(body);
    assert_true(read(&r));
    assert_true(reader_done(&r));
    for (size_t n = 0; n < body.len; n++) {
        struct slice cut = exact_copy(slice_sub(body, 0, n));
        r = reader_make(cut);
        if (read(&r))
            fail_msg("accepted %zu of %zu bytes", n, body.len);
        free_slice(cut);
    }
    for (size_t n = 0; n < body.len; n++) {
        struct slice changed = exact_copy(body);
        for (int bit = 0; bit < 8; bit++) {
            ((uint8_t *)(uintptr_t)changed.ptr)[n] ^= (uint8_t)(1 << bit);
            r = reader_make(changed);
            (void)read(&r);
        }
        free_slice(changed);
    }
}

#define READER(name, type)                                                                                   \
    static struct type got_##name;                                                                           \
    static bool do_read_##name(struct reader *r)                                                             \
    {                                                                                                        \
        return name##_read(r, &got_##name);                                                                  \
    }
READER(service_invocation, service_invocation)
READER(cmd_announce_leader, cmd_announce_leader)
READER(cmd_version_barrier, cmd_version_barrier)
READER(cmd_partition_durability, cmd_partition_durability)
READER(cmd_patch_state, cmd_patch_state)
READER(cmd_terminate, cmd_terminate)
READER(cmd_target_id, cmd_target_id)
READER(cmd_truncate_outbox, cmd_truncate_outbox)
READER(cmd_forget_producers, cmd_forget_producers)
READER(cmd_attach, cmd_attach)
READER(cmd_resume, cmd_resume)
READER(cmd_restart_as_new, cmd_restart_as_new)
READER(timer_key, timer_key)
READER(cmd_invocation_response, cmd_invocation_response)
READER(cmd_signal, cmd_signal)
READER(cmd_rule_book, cmd_rule_book)
READER(outcome, outcome)

/* Write, check robustness, and leave the decoded value of the original in got_<name>. The writer stays alive
 * for its slices. */
#define ROUND_TRIP(name, value)                                                                              \
    struct writer name##_w = WRITER_INIT;                                                                    \
    name##_write(&name##_w, value);                                                                          \
    assert_robust(writer_slice(&name##_w), do_read_##name);                                                  \
    struct reader name##_r = reader_make(writer_slice(&name##_w));                                           \
    assert_true(name##_read(&name##_r, &got_##name));                                                        \
    assert_true(reader_done(&name##_r))

/* ---- Invoke ---- */

static struct slice some_input(struct writer *w)
{
    input_write_header(w, SLICE_LIT("content-type"), SLICE_LIT("application/json"));
    input_write_header(w, SLICE_LIT("empty"), SLICE_EMPTY);
    input_write_value(w, SLICE_LIT("{\"a\":1}"));
    return writer_slice(w);
}

static void invoke_by_ingress(void **state)
{
    struct writer input = WRITER_INIT;
    struct service_invocation si = {
        .id = id_a,
        .target = {.kind = TARGET_OBJECT_EXCLUSIVE,
                   .service = SLICE_LIT("Obj"),
                   .handler = SLICE_LIT("add"),
                   .key = SLICE_EMPTY},
        .input = some_input(&input),
        .source = SOURCE_INGRESS,
        .source_request_id = request,
        .execution_time_ms = 1795371199358u,
        .completion_retention_ms = 86400000,
        .journal_retention_ms = 5,
        .idempotency_key = SLICE_LIT(""),
        .traceparent = SLICE_LIT("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        .created_using = SLICE_LIT("1.7.0"),
        .response_sink = {.kind = SINK_INGRESS, .request_id = request},
        .notify_submission = true,
    };
    ROUND_TRIP(service_invocation, &si);
    const struct service_invocation *got = &got_service_invocation;
    assert_true(id_eq(got->id, id_a) && got->target.kind == TARGET_OBJECT_EXCLUSIVE);
    assert_slice(got->target.service, SLICE_LIT("Obj"));
    assert_true(got->target.key.ptr && got->target.key.len == 0); /* empty, not absent */
    assert_null(got->target.scope.ptr);
    assert_slice(got->input, si.input);
    assert_true(u128_eq(got->source_request_id, request));
    assert_true(got->execution_time_ms == si.execution_time_ms && got->journal_retention_ms == 5);
    assert_true(got->idempotency_key.ptr && got->idempotency_key.len == 0);
    assert_null(got->limit_key.ptr);
    assert_true(got->response_sink.kind == SINK_INGRESS && got->notify_submission);

    struct writer in_place = WRITER_INIT; /* the input written in place gives the same bytes */
    service_invocation_write_head(
        &in_place, &si,
        input_header_size(SLICE_LIT("content-type"), SLICE_LIT("application/json")) +
            input_header_size(SLICE_LIT("empty"), SLICE_EMPTY) + input_value_size(7));
    some_input(&in_place);
    assert_slice(writer_slice(&in_place), writer_slice(&service_invocation_w));
    writer_free(&in_place);
    writer_free(&service_invocation_w);
    writer_free(&input);
}

static void invoke_by_a_handler(void **state)
{
    struct writer input = WRITER_INIT;
    struct service_invocation si = {
        .id = id_a,
        .target = {.kind = TARGET_SERVICE,
                   .service = SLICE_LIT("S"),
                   .handler = SLICE_LIT("h"),
                   .scope = SLICE_LIT("s1")},
        .input = some_input(&input),
        .source = SOURCE_SERVICE,
        .source_id = id_b,
        .source_target = {.kind = TARGET_WORKFLOW_RUN,
                          .service = SLICE_LIT("W"),
                          .handler = SLICE_LIT("run"),
                          .key = SLICE_LIT("k")},
        .limit_key = SLICE_LIT("a/b"),
        .response_sink = {.kind = SINK_INVOCATION, .caller = id_b, .completion_id = 70000},
    };
    ROUND_TRIP(service_invocation, &si);
    const struct service_invocation *got = &got_service_invocation;
    assert_slice(got->target.scope, SLICE_LIT("s1"));
    assert_null(got->target.key.ptr);
    assert_true(id_eq(got->source_id, id_b));
    assert_slice(got->source_target.key, SLICE_LIT("k"));
    assert_slice(got->limit_key, SLICE_LIT("a/b"));
    assert_true(id_eq(got->response_sink.caller, id_b) && got->response_sink.completion_id == 70000);
    writer_free(&service_invocation_w);
    writer_free(&input);
}

static void an_invoke_with_a_bad_input_or_name_is_refused(void **state)
{
    struct service_invocation si = {
        .id = id_a,
        .target = {.kind = TARGET_SERVICE, .service = SLICE_LIT("S"), .handler = SLICE_LIT("h")},
        .input = SLICE_LIT("\x72\x05"),
        .source = SOURCE_INTERNAL,
    };
    for (int i = 0; i < 2; i++) {
        struct writer w = WRITER_INIT;
        service_invocation_write(&w, &si);
        struct reader r = reader_make(writer_slice(&w));
        assert_false(service_invocation_read(&r, &got_service_invocation));
        writer_free(&w);
        si.input = SLICE_LIT("\x72\x00");
        si.target.service = SLICE_LIT("\xff");
    }
}

static void targets_print_as_paths(void **state)
{
    struct writer w = WRITER_INIT;
    struct target t = {.kind = TARGET_SERVICE, .service = SLICE_LIT("Svc"), .handler = SLICE_LIT("h")};
    target_format(&w, &t);
    assert_slice(writer_slice(&w), SLICE_LIT("Svc/h"));
    writer_reset(&w);
    t = (struct target){.kind = TARGET_OBJECT_SHARED,
                        .service = SLICE_LIT("O"),
                        .handler = SLICE_LIT("h"),
                        .key = SLICE_LIT("k")};
    target_format(&w, &t);
    assert_slice(writer_slice(&w), SLICE_LIT("O/k/h"));
    writer_free(&w);
}

/* ---- outcomes ---- */

static void outcomes_round_trip(void **state)
{
    struct writer failure = WRITER_INIT;
    failure_write(&failure, 409, SLICE_LIT("no\xffpe")); /* malformed text is mended, not logged */
    struct outcome o = {
        .kind = OUTCOME_FAILURE, .value = writer_slice(&failure), .stacktrace = SLICE_LIT("at x")};
    ROUND_TRIP(outcome, &o);
    struct failure_view view;
    assert_true(failure_parse(got_outcome.value, &view));
    assert_int_equal(view.code, 409);
    assert_slice(view.message, SLICE_LIT("no\xef\xbf\xbdpe"));
    assert_slice(got_outcome.stacktrace, SLICE_LIT("at x"));
    static const enum outcome_kind kinds[] = {OUTCOME_NONE, OUTCOME_VOID, OUTCOME_SUCCESS};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        o = (struct outcome){.kind = kinds[i], .value = SLICE_LIT("v")};
        struct writer w = WRITER_INIT;
        outcome_write(&w, &o);
        struct reader r = reader_make(writer_slice(&w));
        assert_true(outcome_read(&r, &got_outcome) && reader_done(&r) && got_outcome.kind == kinds[i]);
        writer_free(&w);
    }
    writer_free(&outcome_w);
    writer_free(&failure);
}

static void failure_metadata_is_iterated(void **state)
{
    struct slice encoded = unhex("0899031204"
                                 "6e6f7065"
                                 "1a060a01611201"
                                 "62"
                                 "1a00"
                                 "1a030a0163");
    struct failure_view view;
    assert_true(failure_parse(encoded, &view));
    assert_int_equal(view.code, 409);
    size_t pos = 0;
    struct slice key, value;
    assert_true(failure_metadata_next(encoded, &pos, &key, &value));
    assert_slice(key, SLICE_LIT("a"));
    assert_slice(value, SLICE_LIT("b"));
    assert_true(failure_metadata_next(encoded, &pos, &key, &value));
    assert_true(key.len == 0 && value.len == 0);
    assert_true(failure_metadata_next(encoded, &pos, &key, &value));
    assert_slice(key, SLICE_LIT("c"));
    assert_false(failure_metadata_next(encoded, &pos, &key, &value));
    free_slice(encoded);
}

/* ---- the other bodies ---- */

static void partition_commands(void **state)
{
    struct cmd_announce_leader leader = {1, 2, 3, 4, 5, SLICE_LIT("{}")};
    ROUND_TRIP(cmd_announce_leader, &leader);
    assert_true(got_cmd_announce_leader.epoch == 3 && got_cmd_announce_leader.key_end == 5);
    struct cmd_version_barrier barrier = {SLICE_LIT("1.7.0"), SLICE_LIT("because"), 2};
    ROUND_TRIP(cmd_version_barrier, &barrier);
    assert_true(got_cmd_version_barrier.features == 2);
    struct cmd_partition_durability durable = {300, 400};
    ROUND_TRIP(cmd_partition_durability, &durable);
    assert_true(got_cmd_partition_durability.durable_lsn == 300 && got_cmd_partition_durability.at_ms == 400);
    struct cmd_truncate_outbox outbox = {UINT64_MAX};
    ROUND_TRIP(cmd_truncate_outbox, &outbox);
    assert_true(got_cmd_truncate_outbox.index == UINT64_MAX);
    struct cmd_forget_producers forget = {producer_tag((struct u128){1, 2}), UINT32_MAX};
    ROUND_TRIP(cmd_forget_producers, &forget);
    assert_true(got_cmd_forget_producers.tag == forget.tag && forget.tag != 0);
    assert_true(got_cmd_forget_producers.schema_version == UINT32_MAX);
    struct reader nobody = reader_make(SLICE_LIT("\0\0\0\0\0\0\0\1"));
    assert_false(cmd_forget_producers_read(&nobody, &got_cmd_forget_producers));
    writer_free(&cmd_forget_producers_w);
    writer_free(&cmd_announce_leader_w);
    writer_free(&cmd_version_barrier_w);
    writer_free(&cmd_partition_durability_w);
    writer_free(&cmd_truncate_outbox_w);
}

static void state_patches(void **state)
{
    struct writer entries = WRITER_INIT;
    write_lp(&entries, SLICE_LIT("k"));
    write_lp(&entries, SLICE_LIT("\xff\xfe"));
    struct cmd_patch_state patch = {SLICE_LIT("Obj"), SLICE_LIT(""), SLICE_EMPTY, SLICE_LIT("v1"),
                                    writer_slice(&entries)};
    ROUND_TRIP(cmd_patch_state, &patch);
    assert_slice(got_cmd_patch_state.entries, patch.entries);
    assert_slice(got_cmd_patch_state.expected_version, SLICE_LIT("v1"));
    static const char *const bad[] = {"\x01k", "\x01\xff\x01v", "\x05k"};
    for (size_t i = 0; i < ARRAY_LEN(bad);
         i++) { /* a key without value, a key that is not UTF-8, a length too large */
        struct writer w = WRITER_INIT;
        patch.entries = slice_cstr(bad[i]);
        cmd_patch_state_write(&w, &patch);
        struct reader r = reader_make(writer_slice(&w));
        assert_false(cmd_patch_state_read(&r, &got_cmd_patch_state));
        writer_free(&w);
    }
    writer_free(&cmd_patch_state_w);
    writer_free(&entries);
}

static void invocation_commands(void **state)
{
    struct cmd_terminate terminate = {id_a, true, request};
    ROUND_TRIP(cmd_terminate, &terminate);
    assert_true(got_cmd_terminate.kill && u128_eq(got_cmd_terminate.reply_request_id, request));
    struct cmd_target_id target = {id_b, request};
    ROUND_TRIP(cmd_target_id, &target);
    assert_true(id_eq(got_cmd_target_id.id, id_b));
    struct cmd_attach attach = {id_a, true, {.kind = SINK_INVOCATION, .caller = id_b, .completion_id = 3}};
    ROUND_TRIP(cmd_attach, &attach);
    assert_true(got_cmd_attach.block && got_cmd_attach.sink.completion_id == 3);
    struct cmd_resume resume = {id_a, true, {5, 6}, request};
    ROUND_TRIP(cmd_resume, &resume);
    assert_true(got_cmd_resume.repin && u128_eq(got_cmd_resume.deployment_id, (struct u128){5, 6}));
    struct cmd_restart_as_new restart = {id_a, id_b, 12, false, {0, 0}, request, SLICE_LIT("1.7.0")};
    ROUND_TRIP(cmd_restart_as_new, &restart);
    assert_true(id_eq(got_cmd_restart_as_new.new_id, id_b) && got_cmd_restart_as_new.copy_prefix_up_to == 12);
    writer_free(&cmd_terminate_w);
    writer_free(&cmd_target_id_w);
    writer_free(&cmd_attach_w);
    writer_free(&cmd_resume_w);
    writer_free(&cmd_restart_as_new_w);
}

static void timers_and_responses(void **state)
{
    struct timer_key timer = {77, TIMER_SLEEP, id_a, 9};
    ROUND_TRIP(timer_key, &timer);
    assert_int_equal(timer_key_cmp(&timer, &got_timer_key), 0);
    struct timer_key later = timer;
    later.index = 10;
    assert_true(timer_key_cmp(&timer, &later) < 0);
    later.kind = TIMER_INVOKE;
    assert_true(timer_key_cmp(&timer, &later) > 0);
    later.wake_up_ms = 78;
    assert_true(timer_key_cmp(&timer, &later) < 0);

    struct cmd_invocation_response response = {id_a, 4, {.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("x")}};
    ROUND_TRIP(cmd_invocation_response, &response);
    assert_slice(got_cmd_invocation_response.outcome.value, SLICE_LIT("x"));
    struct cmd_signal signal = {id_a, true, 0, SLICE_LIT("go"), {.kind = OUTCOME_VOID}};
    ROUND_TRIP(cmd_signal, &signal);
    assert_slice(got_cmd_signal.name, SLICE_LIT("go"));
    struct writer w = WRITER_INIT;
    signal =
        (struct cmd_signal){id_a, false, 17, SLICE_EMPTY, {.kind = OUTCOME_NONE}}; /* nothing to deliver */
    cmd_signal_write(&w, &signal);
    struct reader r = reader_make(writer_slice(&w));
    assert_false(cmd_signal_read(&r, &got_cmd_signal));
    writer_free(&w);
    writer_free(&timer_key_w);
    writer_free(&cmd_invocation_response_w);
    writer_free(&cmd_signal_w);
}

/* ---- invoker effects ---- */

static bool read_all_effects(struct reader *r)
{
    struct effects_head head;
    struct effect e;
    if (!effects_begin_read(r, &head))
        return false;
    bool ended = false; /* the test's batch ends with End, so that a truncation at an effect's boundary is
                           told apart */
    while (effect_read(r, &e))
        ended = e.kind == EFFECT_END;
    return !r->failed && ended;
}

static void effects_round_trip(void **state)
{
    struct writer w = WRITER_INIT, call = WRITER_INIT, attach = WRITER_INIT, ids = WRITER_INIT,
                  failure = WRITER_INIT;
    pb_write_bytes(&call, 1, SLICE_LIT("S"));
    pb_write_bytes(&call, 2, SLICE_LIT("h"));
    pb_write_bytes(&attach, 1, SLICE_LIT("inv_1foAirY4KKzi17tdfUqfjFt4MM3f0KYj9r"));
    notification_id_write(&ids, &(struct notification_id){.kind = NOTIFICATION_COMPLETION, .index = 300});
    notification_id_write(
        &ids, &(struct notification_id){.kind = NOTIFICATION_NAMED_SIGNAL, .name = SLICE_LIT("x")});
    failure_write(&failure, 500, SLICE_LIT("boom"));
    const struct effect effects[] = {
        {.kind = EFFECT_PIN_DEPLOYMENT, .deployment_id = {1, 2}, .protocol_version = 6},
        {.kind = EFFECT_ENTRY, .entry_type = MSG_OUTPUT, .ack = true, .payload = SLICE_LIT("\x72\x00")},
        {.kind = EFFECT_ENTRY,
         .entry_type = MSG_CALL,
         .has_callee = true,
         .payload = writer_slice(&call),
         .callee = {id_b, TARGET_SERVICE, 10, 20}},
        {.kind = EFFECT_ENTRY, .entry_type = MSG_ATTACH, .attach_id = id_a, .payload = writer_slice(&attach)},
        {.kind = EFFECT_ENTRY,
         .entry_type = MSG_GET_EAGER_STATE,
         .value_from_state = true,
         .payload = SLICE_LIT("\x0a\x01k")},
        {.kind = EFFECT_ENTRY, .entry_type = MSG_N_RUN, .payload = SLICE_LIT("\x08\x01\x2a\x00")},
        {.kind = EFFECT_EVENT, .payload = SLICE_LIT("{\"ty\":\"TransientError\"}")},
        {.kind = EFFECT_SUSPEND, .payload = writer_slice(&ids)},
        {.kind = EFFECT_SUSPEND_TREE, .payload = SLICE_LIT("\x08\x01")},
        {.kind = EFFECT_PAUSED, .payload = SLICE_LIT("{}")},
        {.kind = EFFECT_FAILED, .failure = {.kind = OUTCOME_FAILURE, .value = writer_slice(&failure)}},
        {.kind = EFFECT_END},
    };
    effects_begin(&w, id_a, 11, 22);
    for (size_t i = 0; i < ARRAY_LEN(effects); i++)
        effect_write(&w, &effects[i]);
    assert_robust(writer_slice(&w), read_all_effects);

    struct reader r = reader_make(writer_slice(&w));
    struct effects_head head;
    struct effect e;
    assert_true(effects_begin_read(&r, &head));
    assert_true(id_eq(head.id, id_a) && head.token == 11 && head.batch == 22);
    for (size_t i = 0; i < ARRAY_LEN(effects); i++) {
        assert_true(effect_read(&r, &e));
        assert_true(e.kind == effects[i].kind && e.entry_type == effects[i].entry_type);
        assert_true(e.ack == effects[i].ack && e.has_callee == effects[i].has_callee);
        assert_true(e.value_from_state == effects[i].value_from_state);
        assert_slice(e.payload, effects[i].payload);
        assert_true(id_eq(e.attach_id, effects[i].attach_id));
        assert_true(id_eq(e.callee.id, effects[i].callee.id));
        assert_true(e.callee.completion_retention_ms == effects[i].callee.completion_retention_ms);
    }
    assert_false(effect_read(&r, &e));
    assert_true(reader_done(&r));
    writer_free(&w);
    writer_free(&call);
    writer_free(&attach);
    writer_free(&ids);
    writer_free(&failure);
}

/* Every replica counts by them. */
static void malformed_scopes_and_limit_keys_are_refused(void **state)
{
    static const struct {
        struct slice scope, limit_key;
        bool good;
    } cases[] = {
        {SLICE_LIT("s"), SLICE_LIT("a/b"), true},
        {SLICE_LIT("s"), {NULL, 0}, true},
        {{NULL, 0}, {NULL, 0}, true},
        {SLICE_LIT(""), {NULL, 0}, false},
        {SLICE_LIT("a b"), {NULL, 0}, false},
        {SLICE_LIT("a\0b"), {NULL, 0}, false},
        {SLICE_LIT("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), {NULL, 0}, false},
        {SLICE_LIT("s"), SLICE_LIT("a/b/c"), false},
        {SLICE_LIT("s"), SLICE_LIT(""), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer w = WRITER_INIT;
        struct service_invocation si = {
            .id = id_a,
            .target = {.service = SLICE_LIT("S"), .handler = SLICE_LIT("h"), .scope = cases[i].scope},
            .input = SLICE_LIT("\x72\x00"),
            .limit_key = cases[i].limit_key,
        };
        service_invocation_write(&w, &si);
        struct reader r = reader_make(writer_slice(&w));
        if (service_invocation_read(&r, &got_service_invocation) != cases[i].good)
            fail_msg("case %zu", i);
        writer_free(&w);
    }
}

static void rule_books(void **state)
{
    static const struct {
        const char *first, *second;
        uint32_t limit;
        bool good;
    } cases[] = {
        {"*", "s/a/x", 1, true},  {"s", "s/*", UINT32_MAX, true}, {"s", "s", 1, false}, {"t", "s", 1, false},
        {"s", "t/a b", 1, false}, {"s", "t/a/b/c", 1, false},     {"s", "t", 0, false}, {"s", "t/", 1, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer rules = WRITER_INIT, w = WRITER_INIT;
        cmd_rule_book_add(&rules, slice_cstr(cases[i].first), 3);
        cmd_rule_book_add(&rules, slice_cstr(cases[i].second), cases[i].limit);
        struct cmd_rule_book book = {.version = 7, .n_rules = 2, .rules = writer_slice(&rules)};
        cmd_rule_book_write(&w, &book);
        struct reader r = reader_make(writer_slice(&w));
        assert_int_equal(cmd_rule_book_read(&r, &got_cmd_rule_book) && reader_done(&r), cases[i].good);
        if (cases[i].good)
            assert_robust(writer_slice(&w), do_read_cmd_rule_book);
        writer_free(&rules);
        writer_free(&w);
    }
    /* a number of rules that is not there */
    struct writer w = WRITER_INIT;
    cmd_rule_book_write(&w, &(struct cmd_rule_book){.version = 1, .n_rules = 1});
    struct reader r = reader_make(writer_slice(&w));
    assert_false(cmd_rule_book_read(&r, &got_cmd_rule_book));
    writer_free(&w);
}

static void effects_that_no_replica_could_apply_are_refused(void **state)
{
    static const struct effect bad[] = {
        {.kind = EFFECT_YIELD},                                                 /* until when? */
        {.kind = EFFECT_ENTRY, .entry_type = MSG_OUTPUT, .payload = {NULL, 0}}, /* no result */
        {.kind = EFFECT_ENTRY,
         .entry_type = MSG_N_SLEEP,
         .payload = {(const uint8_t *)"\x08\x01\x22\x00", 4}},
        {.kind = EFFECT_ENTRY, .entry_type = 0x0600, .payload = {NULL, 0}}, /* custom entry */
        {.kind = EFFECT_ENTRY, .entry_type = 0x040f, .payload = {NULL, 0}},
        {.kind = EFFECT_ENTRY, .entry_type = MSG_N_RUN, .payload = {(const uint8_t *)"\x08\x01", 2}},
        {.kind = EFFECT_SUSPEND, .payload = {NULL, 0}},
        {.kind = EFFECT_SUSPEND, .payload = {(const uint8_t *)"\x03\x01", 2}},
        {.kind = EFFECT_SUSPEND_TREE, .payload = {NULL, 0}},
        {.kind = EFFECT_EVENT, .payload = {(const uint8_t *)"\xff", 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct writer w = WRITER_INIT;
        struct effect e;
        effect_write(&w, &bad[i]);
        struct reader r = reader_make(writer_slice(&w));
        assert_false(effect_read(&r, &e));
        assert_true(r.failed);
        writer_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_headers_round_trip),
        cmocka_unit_test(every_kind_has_a_name),
        cmocka_unit_test(invoke_by_ingress),
        cmocka_unit_test(invoke_by_a_handler),
        cmocka_unit_test(an_invoke_with_a_bad_input_or_name_is_refused),
        cmocka_unit_test(targets_print_as_paths),
        cmocka_unit_test(outcomes_round_trip),
        cmocka_unit_test(failure_metadata_is_iterated),
        cmocka_unit_test(partition_commands),
        cmocka_unit_test(state_patches),
        cmocka_unit_test(invocation_commands),
        cmocka_unit_test(timers_and_responses),
        cmocka_unit_test(malformed_scopes_and_limit_keys_are_refused),
        cmocka_unit_test(rule_books),
        cmocka_unit_test(effects_round_trip),
        cmocka_unit_test(effects_that_no_replica_could_apply_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
