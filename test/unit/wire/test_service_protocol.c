/* The service protocol's messages: every captured frame decodes, and what the server writes is the captured
 * bytes again (spec/service-protocol-vectors.md); the malformed inputs of spec/service-protocol.md §13 are
 * refused. */
#include "wire/service_protocol.h"

#include "captured_frames.h"
#include "wire_test.h"

/* ---- captured frames ---- */

static void check_start(struct slice payload)
{
    struct start_message m = {0};
    struct reader r = reader_make(payload);
    struct pb_field f;
    struct writer w = WRITER_INIT, state = WRITER_INIT;
    while (pb_next(&r, &f)) {
        switch (f.number) {
        case 1:
            m.id = invocation_id_from_bytes(f.bytes.ptr);
            break;
        case 3:
            m.known_entries = (uint32_t)f.value;
            break;
        case 4:
            write_lp(&state, f.bytes);
            break;
        case 5:
            m.partial_state = f.value;
            break;
        case 6:
            m.key = f.bytes;
            break;
        case 7:
            m.retry_count = (uint32_t)f.value;
            break;
        case 8:
            m.duration_since_last_entry_ms = f.value;
            break;
        case 9:
            m.random_seed = f.value;
            break;
        default:
            break;
        }
    }
    assert_true(invocation_random_seed(m.id) == m.random_seed);
    start_begin(&w, &m);
    r = reader_make(writer_slice(&state));
    while (reader_left(&r)) {
        struct reader entry = reader_make(read_lp(&r));
        struct slice key = SLICE_EMPTY, value = SLICE_EMPTY;
        while (pb_next(&entry, &f))
            *(f.number == 1 ? &key : &value) = f.bytes;
        start_state(&w, key, value);
    }
    start_finish(&w, &m);
    struct slice frame = writer_slice(&w);
    struct frame_header h = frame_header_get(frame.ptr);
    assert_true(h.type == MSG_START && !h.ack && h.length == payload.len);
    assert_slice(slice_sub(frame, FRAME_HEADER_SIZE, frame.len - FRAME_HEADER_SIZE), payload);
    writer_free(&w);
    writer_free(&state);
}

static void check_command(uint16_t type, struct slice payload)
{
    struct command_view c;
    struct err err = {0};
    if (command_decode(type, payload, &c, &err) != RC_OK)
        fail_msg("%s", err.msg);
    if (type != MSG_INPUT)
        return;
    struct writer w = WRITER_INIT;
    struct slice key, value;
    size_t pos = 0, size = 0;
    while (command_header_next(&c, &pos, &key, &value)) {
        input_write_header(&w, key, value);
        size += input_header_size(key, value);
    }
    input_write_value(&w, c.value.value);
    size += input_value_size(c.value.value.len);
    assert_slice(writer_slice(&w), payload);
    assert_int_equal(size, payload.len);
    writer_free(&w);
}

static void check_notification(uint16_t type, struct slice payload)
{
    struct notification_view n;
    struct writer w = WRITER_INIT;
    assert_true(notification_decode(payload, &n));
    assert_true((type == MSG_N_SIGNAL) == (n.id.kind != NOTIFICATION_COMPLETION));
    if (!n.has_other_result) {
        notification_write(&w, &n.id, &n.outcome);
        assert_slice(writer_slice(&w), payload);
    } else if (type == MSG_N_CALL_INVOCATION_ID) {
        struct reader r = reader_make(payload);
        struct pb_field f;
        struct invocation_id id;
        pb_next(&r, &f);
        pb_next(&r, &f);
        assert_int_equal(invocation_id_parse(f.bytes, &id), ID_OK);
        notification_invocation_id_write(&w, n.id.index, id);
        assert_slice(writer_slice(&w), payload);
    }
    writer_free(&w);
}

static void check_control(uint16_t type, struct slice payload)
{
    struct error_view error;
    struct propose_run_view run;
    struct writer ids = WRITER_INIT;
    size_t count;
    struct slice future;
    switch (type) {
    case MSG_START:
        check_start(payload);
        break;
    case MSG_ERROR:
        assert_true(error_decode(payload, &error));
        assert_true(error.code >= 500);
        break;
    case MSG_PROPOSE_RUN:
        assert_true(propose_run_decode(payload, &run));
        break;
    case MSG_SUSPENSION:
        assert_true(suspension_decode(payload, &ids, &count));
        if (count == 0)
            assert_int_equal(future_decode(payload, 4, 10, &future), RC_OK);
        break;
    case MSG_AWAITING_ON:
        assert_int_equal(future_decode(payload, 1, 10, &future), RC_OK);
        break;
    default:
        assert_true(pb_valid(payload));
    }
    writer_free(&ids);
}

static void every_captured_frame_is_understood_and_reproduced(void **state)
{
    size_t starts = 0;
    for (size_t i = 0; i < ARRAY_LEN(captured_frames); i++) {
        struct slice header = unhex(captured_frames[i].header), payload = unhex(captured_frames[i].payload);
        struct frame_header h = frame_header_get(header.ptr);
        assert_int_equal(h.length, payload.len);
        assert_non_null(message_type_name(h.type));
        uint8_t again[FRAME_HEADER_SIZE];
        frame_header_put(again, h.type, h.length);
        if (!h.ack)
            assert_memory_equal(again, header.ptr, sizeof(again));
        if (message_is_command(h.type))
            check_command(h.type, payload);
        else if (message_is_notification(h.type))
            check_notification(h.type, payload);
        else
            check_control(h.type, payload);
        starts += h.type == MSG_START;
        free_slice(header);
        free_slice(payload);
    }
    assert_true(starts > 30);
}

/* ---- details of captured messages ---- */

static void commands_are_decoded_to_their_fields(void **state)
{
    struct command_view c;
    struct slice m =
        unhex("220d0a04466c6f7712056e6f6b65795801"); /* GetInvocationOutput workflow Flow/nokey, cid 1 */
    assert_int_equal(command_decode(MSG_GET_OUTPUT, m, &c, NULL), RC_OK);
    assert_int_equal(c.attach_kind, ATTACH_TARGET_WORKFLOW);
    assert_slice(c.attach_service, SLICE_LIT("Flow"));
    assert_slice(c.attach_key, SLICE_LIT("nokey"));
    assert_int_equal(c.completion_id, 1);
    free_slice(m);

    struct writer w = WRITER_INIT; /* a Call with everything */
    pb_write_bytes(&w, 1, SLICE_LIT("Svc"));
    pb_write_bytes(&w, 2, SLICE_LIT("h"));
    pb_write_bytes(&w, 3, SLICE_LIT("\xff\x00"));
    pb_write_bytes(&w, 4, SLICE_LIT("\x0a\x01k\x12\x01v"));
    pb_write_bytes(&w, 5, SLICE_LIT("key"));
    pb_write_bytes_always(&w, 6, SLICE_EMPTY);
    pb_write_u64(&w, 10, 1);
    pb_write_u64(&w, 11, 2);
    pb_write_bytes(&w, 12, SLICE_LIT("label"));
    pb_write_bytes(&w, 99, SLICE_LIT("unknown fields are ignored"));
    assert_int_equal(command_decode(MSG_CALL, writer_slice(&w), &c, NULL), RC_OK);
    assert_slice(c.service, SLICE_LIT("Svc"));
    assert_slice(c.handler, SLICE_LIT("h"));
    assert_slice(c.parameter, SLICE_LIT("\xff\x00"));
    assert_slice(c.key, SLICE_LIT("key"));
    assert_true(c.has_idempotency_key && c.idempotency_key.len == 0);
    assert_false(c.has_scope || c.has_limit_key);
    assert_true(c.invocation_id_completion_id == 1 && c.completion_id == 2);
    assert_slice(c.name, SLICE_LIT("label"));
    size_t pos = 0;
    struct slice key, value;
    assert_true(command_header_next(&c, &pos, &key, &value));
    assert_slice(key, SLICE_LIT("k"));
    assert_slice(value, SLICE_LIT("v"));
    assert_false(command_header_next(&c, &pos, &key, &value));
    writer_free(&w);
}

static void one_way_call_uses_its_own_field_numbers(void **state)
{
    struct command_view c;
    struct writer w = WRITER_INIT;
    pb_write_bytes(&w, 1, SLICE_LIT("Obj"));
    pb_write_bytes(&w, 2, SLICE_LIT("add"));
    pb_write_u64(&w, 4, 1795371199358u);
    pb_write_bytes(&w, 5, SLICE_LIT("\x0a\x01k\x12\x01v"));
    pb_write_bytes(&w, 6, SLICE_LIT("k1"));
    pb_write_bytes(&w, 7, SLICE_LIT("ik"));
    assert_int_equal(command_decode(MSG_ONE_WAY_CALL, writer_slice(&w), &c, NULL), RC_OK);
    assert_true(c.time_ms == 1795371199358u && c.header_field == 5);
    assert_slice(c.key, SLICE_LIT("k1"));
    assert_slice(c.idempotency_key, SLICE_LIT("ik"));
    writer_free(&w);
}

static void errors_of_the_sdk(void **state)
{
    struct slice m = unhex("08f403120b7472616e7369656e7420311a124572726f723a207472616e7369656e74203120012a056"
                           "66c616b793091084064");
    struct error_view e;
    assert_true(error_decode(m, &e));
    assert_int_equal(e.code, 500);
    assert_slice(e.message, SLICE_LIT("transient 1"));
    assert_true(e.has_command_index && e.command_index == 1);
    assert_slice(e.command_name, SLICE_LIT("flaky"));
    assert_true(e.has_command_type && e.command_type == MSG_RUN);
    assert_true(e.has_next_retry_delay && e.next_retry_delay_ms == 100);
    assert_int_equal(e.behavior, 0);
    free_slice(m);
}

static void suspensions_list_what_they_wait_for(void **state)
{
    struct slice m = unhex("0a020201120201111a0178");
    struct writer ids = WRITER_INIT;
    size_t count;
    assert_true(suspension_decode(m, &ids, &count));
    assert_int_equal(count, 5);
    static const struct notification_id want[] = {
        {NOTIFICATION_COMPLETION, 2, {NULL, 0}},
        {NOTIFICATION_COMPLETION, 1, {NULL, 0}},
        {NOTIFICATION_SIGNAL, 1, {NULL, 0}},
        {NOTIFICATION_SIGNAL, 17, {NULL, 0}},
        {NOTIFICATION_NAMED_SIGNAL, 0, {(const uint8_t *)"x", 1}},
    };
    struct reader r = reader_make(writer_slice(&ids));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct notification_id id;
        assert_true(notification_id_read(&r, &id));
        assert_true(id.kind == want[i].kind && id.index == want[i].index);
        assert_slice(id.name, want[i].name);
    }
    assert_true(reader_done(&r));
    writer_free(&ids);
    free_slice(m);
    m = unhex("08011005"); /* the same lists, not packed */
    assert_true(suspension_decode(m, &ids, &count));
    assert_int_equal(count, 2);
    writer_free(&ids);
    free_slice(m);
}

static void future_trees_are_checked(void **state)
{
    static const struct {
        const char *hex;
        enum rc rc;
    } cases[] = {
        {"0a080a01011201012801", RC_OK},
        {"0a0d12010122060a02010228042801", RC_OK},
        {"", RC_INVALID},     /* no tree */
        {"0a00", RC_INVALID}, /* no leaves */
        {"0a042200"
         "2801",
         RC_INVALID},                   /* nested, no leaves */
        {"0a050a01012806", RC_INVALID}, /* unknown combinator */
        {"0a0422020a01", RC_INVALID},   /* broken nested message */
        {"0a08220622042202220022", RC_INVALID},
        {"0a07220522030a0201", RC_INVALID},
        {"0a09220722052203120101", RC_TOO_LARGE}, /* depth 4 */
        {"0a03220101", RC_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice m = unhex(cases[i].hex), future;
        enum rc rc = future_decode(m, 1, 3, &future);
        if (rc != cases[i].rc)
            fail_msg("%s: %s", cases[i].hex, rc_name(rc));
        free_slice(m);
    }
}

/* Nesting deeper than any stack must end in an error, not in a crash. */
static void hostile_nesting_is_cut(void **state)
{
    enum { DEPTH = 20000 };
    struct writer w = WRITER_INIT, next = WRITER_INIT;
    pb_write_u64_always(&w, 1, 1);
    for (int i = 0; i < DEPTH; i++) {
        writer_reset(&next);
        pb_write_bytes_always(&next, 4, writer_slice(&w));
        struct writer t = w;
        w = next;
        next = t;
    }
    assert_int_equal(future_validate(writer_slice(&w), UINT32_MAX), RC_TOO_LARGE);
    writer_free(&w);
    writer_free(&next);
}

static void incomplete_and_malformed_commands_are_refused(void **state)
{
    static const struct {
        uint16_t type;
        const char *hex;
    } bad[] = {
        {MSG_OUTPUT, ""},                    /* no result */
        {MSG_SET_STATE, "0a0161"},           /* no value */
        {MSG_SET_STATE, "0a01ff1a030a0131"}, /* key not UTF-8 */
        {MSG_GET_EAGER_STATE, "0a0161"},
        {MSG_GET_EAGER_STATE_KEYS, ""},
        {MSG_COMPLETE_PROMISE, "0a01615801"},
        {MSG_GET_PROMISE, "0a01ff5801"},
        {MSG_ATTACH, "5801"}, /* no target */
        {MSG_GET_OUTPUT, "5801"},
        {MSG_ATTACH, "0a03666f6f5801"}, /* id does not parse */
        {MSG_SEND_SIGNAL, "0a03666f6f10012200"},
        {MSG_COMPLETE_AWAKEABLE, "0a03666f6f1200"},
        {MSG_CALL, "0a01ff"},     /* service not UTF-8 */
        {MSG_CALL, "0801"},       /* wrong wire type */
        {MSG_CALL, "22030a01ff"}, /* header not UTF-8 */
        {MSG_SLEEP, "0a0161"},
        {MSG_RUN, "58"}, /* cut off */
        {MSG_OUTPUT, "7a0308"
                     "80"}, /* broken failure */
        {MSG_OUTPUT, "7205"},
        {MSG_RUN, "6201ff"}, /* label not UTF-8 */
        {MSG_INPUT, "0a0100"},
        {MSG_INPUT, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice m = unhex(bad[i].hex);
        struct command_view c;
        struct err err = {0};
        if (command_decode(bad[i].type, m, &c, &err) != RC_INVALID)
            fail_msg("%s %s was accepted", message_type_name(bad[i].type), bad[i].hex);
        assert_true(err.msg[0] != '\0');
        free_slice(m);
    }
    struct propose_run_view run;
    struct slice m = unhex("0801");
    assert_true(propose_run_decode(m, &run) &&
                run.outcome.kind == OUTCOME_NONE); /* a proposal without result */
    free_slice(m);
}

static void a_signal_needs_both_oneofs(void **state)
{
    static const char *const bad[] = {"1001", "2200"};
    for (size_t i = 0; i < ARRAY_LEN(bad) + 1; i++) {
        struct command_view c;
        struct writer w = WRITER_INIT;
        pb_write_bytes(&w, 1, SLICE_LIT("inv_1foAirY4KKzi17tdfUqfjFt4MM3f0KYj9r"));
        struct slice rest = unhex(i < ARRAY_LEN(bad) ? bad[i] : "10012200");
        write_slice_raw(&w, rest);
        enum rc rc = command_decode(MSG_SEND_SIGNAL, writer_slice(&w), &c, NULL);
        assert_int_equal(rc, i < ARRAY_LEN(bad) ? RC_INVALID : RC_OK);
        free_slice(rest);
        writer_free(&w);
    }
}

/* ---- what the server writes ---- */

static void notifications_have_the_documented_bytes(void **state)
{
    struct writer w = WRITER_INIT;
    struct notification_id one = {.kind = NOTIFICATION_COMPLETION, .index = 1};
    struct notification_id cancel = {.kind = NOTIFICATION_SIGNAL, .index = 1};
    struct outcome o = {.kind = OUTCOME_VOID};
    notification_write(&w, &one, &o);
    assert_hex(writer_slice(&w), "08012200");
    writer_reset(&w);
    notification_write(&w, &cancel, &o);
    assert_hex(writer_slice(&w), "10012200");
    writer_reset(&w);
    o = (struct outcome){.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("6")};
    notification_write(&w, &one, &o);
    assert_hex(writer_slice(&w), "08012a030a0136");
    writer_reset(&w);
    o.value = SLICE_EMPTY;
    notification_write(&w, &one, &o);
    assert_hex(writer_slice(&w), "08012a00");
    writer_reset(&w);
    struct writer failure = WRITER_INIT;
    failure_write(&failure, 404, SLICE_LIT("not found"));
    o = (struct outcome){.kind = OUTCOME_FAILURE, .value = writer_slice(&failure)};
    notification_write(&w, &one, &o);
    assert_hex(writer_slice(&w), "0801320e08940312096e6f7420666f756e64");
    writer_reset(&w);
    writer_reset(&failure);
    failure_write(&failure, 70000, SLICE_LIT("big")); /* codes have 16 bits (§9.1) */
    o.value = writer_slice(&failure);
    notification_write(&w, &one, &o);
    assert_hex(writer_slice(&w), "0801320808f4031203626967");
    struct failure_view view;
    assert_true(failure_parse(o.value, &view) && view.code == 500);
    writer_reset(&w);
    struct writer keys = WRITER_INIT;
    write_lp(&keys, SLICE_LIT("big"));
    write_lp(&keys, SLICE_LIT("count"));
    notification_state_keys_write(&w, 1, writer_slice(&keys));
    assert_hex(writer_slice(&w), "08018a010c0a036269670a05636f756e74");
    writer_reset(&w);
    notification_state_keys_write(&w, 1, SLICE_EMPTY);
    assert_hex(writer_slice(&w), "08018a0100");
    writer_free(&w);
    writer_free(&failure);
    writer_free(&keys);
}

static void names_and_completions_of_types(void **state)
{
    assert_string_equal(message_type_name(MSG_CALL), "Call");
    assert_string_equal(message_type_name(MSG_GET_OUTPUT), "GetInvocationOutput");
    assert_string_equal(message_type_name(MSG_N_GET_OUTPUT), "GetInvocationOutput");
    assert_string_equal(message_type_name(MSG_N_CALL_INVOCATION_ID), "CallInvocationId");
    assert_string_equal(message_type_name(MSG_N_SIGNAL), "Signal");
    assert_string_equal(message_type_name(MSG_START), "Start");
    static const uint16_t unknown[] = {0x0008, 0x03ff, 0x040f, 0x0415, 0x0600, 0x8000,
                                       0x8001, 0x800f, 0x8010, 0xfc01, 0xffff};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_null(message_type_name(unknown[i]));
    assert_int_equal(notification_type_for(MSG_CALL), MSG_N_CALL);
    assert_int_equal(notification_type_for(MSG_ONE_WAY_CALL), 0);
    assert_int_equal(notification_type_for(MSG_GET_LAZY_STATE), MSG_N_GET_LAZY_STATE);
}

static void a_state_map_keeps_empty_values(void **state)
{
    struct start_message m = {.id = {1, {2, 3}}, .known_entries = 1, .key = SLICE_LIT("k")};
    struct writer w = WRITER_INIT;
    start_begin(&w, &m);
    start_state(&w, SLICE_LIT("a"), SLICE_EMPTY);
    start_finish(&w, &m);
    struct slice frame = writer_slice(&w);
    uint32_t last = 0, entries = 0;
    struct reader r = reader_make(slice_sub(frame, FRAME_HEADER_SIZE, frame.len - FRAME_HEADER_SIZE));
    struct pb_field f;
    while (pb_next(&r, &f)) {
        assert_true(f.number >= last);
        last = f.number;
        entries += f.number == 4;
    }
    assert_true(reader_done(&r) && entries == 1 && last == 6);
    writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_captured_frame_is_understood_and_reproduced),
        cmocka_unit_test(commands_are_decoded_to_their_fields),
        cmocka_unit_test(one_way_call_uses_its_own_field_numbers),
        cmocka_unit_test(errors_of_the_sdk),
        cmocka_unit_test(suspensions_list_what_they_wait_for),
        cmocka_unit_test(future_trees_are_checked),
        cmocka_unit_test(hostile_nesting_is_cut),
        cmocka_unit_test(incomplete_and_malformed_commands_are_refused),
        cmocka_unit_test(a_signal_needs_both_oneofs),
        cmocka_unit_test(notifications_have_the_documented_bytes),
        cmocka_unit_test(names_and_completions_of_types),
        cmocka_unit_test(a_state_map_keeps_empty_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
