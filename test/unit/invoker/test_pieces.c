/* The pure parts: frame decoding from chunks of any size, retry delays, Retry-After, preconditions of
 * commands. */
#include "invoker_fixture.h"

#include <time.h>

#include "invoker/rt_codes.h"

/* ---- frames ---- */

struct seen {
    struct writer text;
    int stop_after;
    const uint8_t *last_ptr;
};
static bool see(void *ctx, const struct frame_header *h, struct slice payload)
{
    struct seen *s = ctx;
    write_fmt(&s->text, "%04x%s:", h->type, h->ack ? "!" : "");
    write_hex(&s->text, payload);
    write_u8(&s->text, ' ');
    s->last_ptr = payload.ptr;
    return s->stop_after == 0 || --s->stop_after > 0;
}

static const char three_frames[] =
    "0403 8000 00000008 0a016b1a030a0131 0003000000000000 0411000000000005 5801620172";
static const char three_seen[] = "0403!:0a016b1a030a0131 0003: 0411:5801620172 ";

static void frames_are_found_whatever_the_chunks(void **state)
{
    uint8_t raw[64];
    struct slice all = hex_bytes(three_frames, raw, sizeof(raw));
    for (size_t chunk = 1; chunk <= all.len; chunk++) {
        struct frame_input in = {0};
        struct seen s = {0};
        for (size_t at = 0; at < all.len; at += chunk)
            assert_int_equal(
                frame_input_feed(&in, slice_sub(all, at, MIN(chunk, all.len - at)), 100, see, &s), RC_OK);
        assert_string_equal(text_of(&s.text), three_seen);
        assert_int_equal(frame_input_held(&in), 0);
        frame_input_free(&in);
        writer_free(&s.text);
    }
}

static void a_whole_message_is_not_copied(void **state)
{
    uint8_t raw[64];
    struct slice all = hex_bytes(three_frames, raw, sizeof(raw));
    struct frame_input in = {0};
    struct seen s = {0};
    assert_int_equal(frame_input_feed(&in, all, 100, see, &s), RC_OK);
    assert_ptr_equal(s.last_ptr, raw + all.len - 5);
    writer_free(&s.text);
}

static void limits_and_stops(void **state)
{
    uint8_t raw[64];
    struct slice all = hex_bytes(three_frames, raw, sizeof(raw));
    struct frame_input in = {0};
    struct seen s = {0};
    assert_int_equal(frame_input_feed(&in, all, 8, see, &s), RC_TOO_LARGE);
    assert_int_equal(in.header.length, 8);
    in = (struct frame_input){0};
    s.stop_after = 2;
    assert_int_equal(frame_input_feed(&in, all, 100, see, &s), RC_CANCELED);
    assert_string_equal(text_of(&s.text), "0403!:0a016b1a030a0131 0003: ");
    writer_free(&s.text);
    /* a header that promises 30 MiB and brings 100 bytes holds little */
    struct slice promise = hex_bytes("0401000001e00000", raw, sizeof(raw));
    in = (struct frame_input){0};
    assert_int_equal(frame_input_feed(&in, promise, UINT64_MAX, see, &s), RC_OK);
    static const uint8_t zeros[100];
    assert_int_equal(frame_input_feed(&in, slice_make(zeros, 100), UINT64_MAX, see, &s), RC_OK);
    assert_true(frame_input_held(&in) <= 64 << 10);
    frame_input_free(&in);
}

/* ---- retry policy ---- */

static void delays_grow_to_the_maximum(void **state)
{
    struct invocation_options o = {.retry_initial_interval_ms = 500,
                                   .retry_factor = 2,
                                   .retry_max_interval_ms = 3000,
                                   .retry_max_attempts = 70};
    static const uint64_t expected[] = {500, 1000, 2000, 3000, 3000};
    for (uint32_t i = 0; i < ARRAY_LEN(expected); i++) {
        uint64_t least, most;
        assert_true(retry_policy_next(&o, i, 0, &least));
        assert_true(retry_policy_next(&o, i, UINT64_MAX, &most));
        assert_int_equal(least, expected[i]);
        assert_in_range(most, expected[i] * 129 / 100, expected[i] * 130 / 100);
    }
    uint64_t delay;
    assert_true(retry_policy_next(&o, 68, 0, &delay));
    assert_false(retry_policy_next(&o, 69, 0, &delay)); /* the 70th attempt was the last */
    o.retry_max_attempts = 1;
    assert_false(retry_policy_next(&o, 0, 0, &delay));
    o.retry_max_attempts = RETRY_UNLIMITED;
    assert_true(retry_policy_next(&o, 4000000000u, 0, &delay)); /* factor^n overflows */
    assert_int_equal(delay, 3000);
}

static void retry_after_forms(void **state)
{
    uint64_t d;
    uint64_t now = 1795371203000; /* Sun, 22 Nov 2026 18:13:23 GMT */
    assert_true(retry_after_parse(SLICE_LIT("7"), now, &d) && d == 7000);
    assert_true(retry_after_parse(SLICE_LIT(" 0 "), now, &d) && d == 0);
    char date[30];
    time_t s = (time_t)(now / 1000 + 90);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&s));
    assert_true(retry_after_parse(slice_cstr(date), now, &d));
    assert_int_equal(d, 90000);
    s -= 200; /* in the past */
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&s));
    assert_false(retry_after_parse(slice_cstr(date), now, &d));
    assert_false(retry_after_parse(SLICE_LIT(""), now, &d));
    assert_false(retry_after_parse(SLICE_LIT("-1"), now, &d));
    assert_false(retry_after_parse(SLICE_LIT("soon"), now, &d));
    assert_true(retry_after_parse(SLICE_LIT("99999999999999999999999"), now, &d)); /* capped, no overflow */
}

/* ---- preconditions ---- */

static struct effect prepared;
static bool scopes, scoped_objects; /* switched on */
static char reason[ERR_MESSAGE_SIZE];

/* NULL if accepted, else the documentation code. */
static const char *prepare(enum target_kind kind, uint16_t type, const char *hex)
{
    uint8_t raw[512];
    struct command_view c;
    struct err err = {0};
    struct command_context ctx = {.schema = F.cell.schema,
                                  .defaults = &F.cell.defaults,
                                  .env = F.env,
                                  .kind = kind,
                                  .scopes = scopes,
                                  .scoped_objects = scoped_objects};
    const char *doc_code = NULL;
    prepared = (struct effect){0};
    enum rc rc =
        command_prepare(&ctx, type, hex_bytes(hex, raw, sizeof(raw)), &c, &prepared, &doc_code, &err);
    snprintf(reason, sizeof(reason), "%s", err.msg);
    assert_true(rc == RC_OK || rc == RC_CONFLICT || rc == RC_INVALID);
    return rc == RC_OK ? NULL : doc_code;
}

static void state_and_promise_commands_need_the_right_target(void **state)
{
    const char *key_void = "0a016b6a00", *set = "0a016b1a030a0131", *get = "0a016b5801";
    assert_string_equal(prepare(TARGET_SERVICE, MSG_GET_EAGER_STATE, key_void), RT_PRECONDITION);
    assert_string_equal(reason, "unsupported entry type, this service type doesn't have state access");
    assert_string_equal(prepare(TARGET_SERVICE, MSG_GET_LAZY_STATE, get), RT_PRECONDITION);
    assert_string_equal(prepare(TARGET_SERVICE, MSG_GET_LAZY_STATE_KEYS, "5801"), RT_PRECONDITION);
    assert_string_equal(prepare(TARGET_SERVICE, MSG_SET_STATE, set), RT_PRECONDITION);
    assert_null(prepare(TARGET_OBJECT_SHARED, MSG_GET_EAGER_STATE, key_void));
    assert_string_equal(prepare(TARGET_OBJECT_SHARED, MSG_SET_STATE, set), RT_PRECONDITION);
    assert_string_equal(reason, "unsupported entry type, this handler type cannot write state");
    assert_string_equal(prepare(TARGET_WORKFLOW_SHARED, MSG_CLEAR_ALL_STATE, ""), RT_PRECONDITION);
    assert_null(prepare(TARGET_OBJECT_EXCLUSIVE, MSG_SET_STATE, set));
    assert_null(prepare(TARGET_WORKFLOW_RUN, MSG_CLEAR_STATE, "0a016b"));
    assert_string_equal(prepare(TARGET_OBJECT_EXCLUSIVE, MSG_GET_PROMISE, get), RT_PRECONDITION);
    assert_string_equal(reason, "unsupported entry type, only Workflow services support it");
    assert_null(prepare(TARGET_WORKFLOW_SHARED, MSG_GET_PROMISE, get));
    assert_null(prepare(TARGET_WORKFLOW_RUN, MSG_COMPLETE_PROMISE, "0a0170 12030a0131 5801"));
}

static void call_targets(void **state)
{
    /* service 1, handler 2, key 5 */
    assert_string_equal(prepare(TARGET_SERVICE, MSG_CALL, "0a044e6f706512017850015802"), RT_UNKNOWN_CALLEE);
    assert_string_equal(
        prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 2a016b 50015802"),
        RT_PRECONDITION);
    assert_string_equal(prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 3200 50015802"),
                        RT_PRECONDITION);
    assert_string_equal(
        prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 3a0173 50015802"), RT_SCOPE);
    assert_string_equal(
        prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 42016c 50015802"), RT_SCOPE);

    /* V6.11: Greeter/greet with idempotency key ik-1 has a derived id (spec §11.2) */
    char id[INVOCATION_ID_TEXT + 1];
    assert_null(prepare(
        TARGET_SERVICE, MSG_CALL,
        "0a0747726565746572120567726565741a03225822220e0a08782d637573746f6d120276313204696b2d3150015802"));
    invocation_id_format(prepared.callee.id, id);
    assert_string_equal(id, "inv_1dksungV1ROj2KIGZ9RGeWRyLGTaNv090t");
    /* run handler of Flow, key k1; an empty key is legal too */
    assert_null(prepare(TARGET_SERVICE, MSG_CALL, "0a04466c6f77 120372756e 2a026b31 50015802"));
    invocation_id_format(prepared.callee.id, id);
    assert_string_equal(id, "inv_1foAirY4KKzi5O9f85JUmYbetommgic3Dp");
    assert_int_equal(prepared.callee.kind, TARGET_WORKFLOW_RUN);
    assert_null(prepare(TARGET_SERVICE, MSG_ONE_WAY_CALL, "0a07436f756e746572 1203616464 5001"));
    assert_true(prepared.callee.id.partition_key == 0xd6bcec3c6b29d72e);
    /* without key the random part differs from call to call */
    assert_null(prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 50015802"));
    struct u128 first = prepared.callee.id.uuid;
    assert_null(prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 50015802"));
    assert_false(u128_eq(first, prepared.callee.id.uuid));
}

/* Such deployments are not taken any more, but metadata may hold one. */
static void callee_of_a_deprecated_deployment(void **state)
{
    const char *greet = "0a0747726565746572 12056772656574 50015802";
    struct schema_deployment *d =
        (struct schema_deployment *)(uintptr_t)schema_service(F.cell.schema, SLICE_LIT("Greeter"))
            ->deployment;
    uint32_t max = d->max_protocol_version;
    d->max_protocol_version = 4;
    assert_string_equal(prepare(TARGET_SERVICE, MSG_CALL, greet), RT_DEPRECATED_CALLEE);
    assert_non_null(strstr(reason, "Greeter is exposed by a deprecated deployment"));
    d->max_protocol_version = 5;
    assert_null(prepare(TARGET_SERVICE, MSG_CALL, greet));
    d->max_protocol_version = max;
}

/* scope 7 and limit key 8 of a call (lifecycle §2.2, §2.4, §12.4) */
static void scoped_calls(void **state)
{
    static const char greet[] = "0a0747726565746572 12056772656574 3a0374656e 5001 5802";
    scopes = true;
    assert_null(prepare(TARGET_SERVICE, MSG_CALL, greet));
    assert_true(prepared.callee.id.partition_key == partition_key_of_key(SLICE_LIT("ten")));
    assert_null(prepare(TARGET_SERVICE, MSG_CALL,
                        "0a0747726565746572 12056772656574 3a0374656e 4204752f3432 5001 5802"));
    /* H("ten-a"), and the scope in the hash of the run's id: Flow/k1 */
    assert_null(
        prepare(TARGET_SERVICE, MSG_CALL, "0a04466c6f77 120372756e 2a026b31 3a0574656e2d61 5001 5802"));
    assert_true(prepared.callee.id.partition_key == 0x9ac4ac482dec557d);
    struct u128 run = prepared.callee.id.uuid;
    assert_true(u128_eq(run, workflow_run_uuid(SLICE_LIT("ten-a"), SLICE_LIT("Flow"), SLICE_LIT("k1"))));
    assert_null(prepare(TARGET_SERVICE, MSG_ATTACH, "22110a04466c6f7712026b311a0574656e2d61 5801"));
    assert_true(u128_eq(run, prepared.attach_id.uuid) &&
                prepared.attach_id.partition_key == 0x9ac4ac482dec557d);

    assert_string_equal(
        prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 42016c 5001 5802"), RT_SCOPE);
    assert_string_equal(
        prepare(TARGET_SERVICE, MSG_CALL, "0a0747726565746572 12056772656574 3a03612062 5001 5802"),
        RT_SCOPE);
    assert_string_equal(reason,
                        "bad scope value: value contains characters outside the allowed set [a-zA-Z0-9_.-]");
    assert_string_equal(prepare(TARGET_SERVICE, MSG_CALL,
                                "0a0747726565746572 12056772656574 3a0173 4205612f622f63 5001 5802"),
                        RT_SCOPE);
    assert_string_equal(reason, "invalid limit-key: too many path components in the given limit-key (max 2)");
    assert_string_equal(
        prepare(TARGET_SERVICE, MSG_ONE_WAY_CALL, "0a07436f756e746572 1203616464 4a0173 5001"), RT_SCOPE);
    assert_string_equal(prepare(TARGET_SERVICE, MSG_CALL, "0a07436f756e746572 1203616464 3a0173 5001 5802"),
                        RT_PRECONDITION);
    scoped_objects = true;
    assert_null(prepare(TARGET_SERVICE, MSG_CALL, "0a07436f756e746572 1203616464 3a0173 5001 5802"));
    scopes = scoped_objects = false;
}

static void tokens_are_reserved_ahead(void **state)
{
    struct throttle t = {0};
    assert_int_equal(throttle_reserve(&t, 1000, 5), 0); /* no limit */
    throttle_set(&t, 10, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(throttle_reserve(&t, 1, 5), 0);
    assert_int_equal(throttle_reserve(&t, 1, 5), 100);
    assert_int_equal(throttle_reserve(&t, 2, 5), 300);
    assert_int_equal(throttle_reserve(&t, 1, 305), 100);   /* everything before is paid */
    assert_int_equal(throttle_reserve(&t, 3, 1000000), 0); /* never more than the burst is saved up */
    assert_int_equal(throttle_reserve(&t, 1, 1000000), 100);
    struct throttle slow = {0};
    throttle_set(&slow, 1.0 / 3600, 1e15); /* nothing overflows */
    assert_int_equal(throttle_reserve(&slow, UINT64_MAX / 2, 1000000), 0);
    assert_true(throttle_reserve(&slow, UINT64_MAX / 2, 1000000) > UINT64_C(1000000000000));
}

static void ids_in_commands(void **state)
{
    /* V6.26 attach, then a malformed id, then workflow and idempotent targets */
    assert_null(
        prepare(TARGET_SERVICE, MSG_ATTACH,
                "0a26696e765f3168706a51365a586243314e316b6b68595858376c4b78387774727648494772327758 01"));
    char id[INVOCATION_ID_TEXT + 1];
    invocation_id_format(prepared.attach_id, id);
    assert_string_equal(id, "inv_1hpjQ6ZXbC1N1kkhYXX7lKx8wtrvHIGr2w");
    assert_string_equal(prepare(TARGET_SERVICE, MSG_ATTACH, "0a03696e76 5801"), RT_PRECONDITION);
    assert_null(prepare(TARGET_SERVICE, MSG_GET_OUTPUT, "220a0a04466c6f7712026b31 5801"));
    invocation_id_format(prepared.attach_id, id);
    assert_string_equal(id, "inv_1foAirY4KKzi5O9f85JUmYbetommgic3Dp");
    assert_null(
        prepare(TARGET_SERVICE, MSG_ATTACH, "1a160a07477265657465721a05677265657422 04696b2d31 5801"));
    invocation_id_format(prepared.attach_id, id);
    assert_string_equal(id, "inv_1dksungV1ROj2KIGZ9RGeWRyLGTaNv090t");
    /* V6.14 awakeable, V6.24 cancel of a child */
    assert_null(prepare(TARGET_SERVICE, MSG_COMPLETE_AWAKEABLE,
                        "0a2c7369676e5f316844564254583633643745424d704e486d6151425847474e754476443877516c4141"
                        "41414551120d0a0b22726573"
                        "6f6c7665642122"));
    assert_string_equal(prepare(TARGET_SERVICE, MSG_COMPLETE_AWAKEABLE, "0a0178 1200"), RT_PROTOCOL);
    assert_null(
        prepare(TARGET_SERVICE, MSG_SEND_SIGNAL,
                "0a26696e765f316453647235416b4954775333493465567a6d3843645634736a356c494155334f7010012200"));
    assert_string_equal(prepare(TARGET_SERVICE, MSG_SEND_SIGNAL, "0a0178 1001 2200"), RT_PROTOCOL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    log_set_filter("error", NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_found_whatever_the_chunks),
        cmocka_unit_test(a_whole_message_is_not_copied),
        cmocka_unit_test(limits_and_stops),
        cmocka_unit_test(delays_grow_to_the_maximum),
        cmocka_unit_test(retry_after_forms),
        T(state_and_promise_commands_need_the_right_target),
        T(call_targets),
        T(callee_of_a_deprecated_deployment),
        T(scoped_calls),
        T(ids_in_commands),
        cmocka_unit_test(tokens_are_reserved_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
