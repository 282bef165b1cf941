/* Identifiers, partition keys and seeds against the captured values of spec/service-protocol.md §11,
 * spec/invocation-lifecycle.md §2, spec/ingress.md §5.4 and §9, and the order of the id errors of
 * spec/errors.md §10. */
#include "wire/id.h"

#include "wire_test.h"

static struct slice str(const char *s)
{
    return slice_cstr(s);
}

static void ids_have_the_text_of_the_live_server(void **state)
{
    static const struct {
        const char *bytes, *text;
        uint64_t seed;
    } cases[] = {
        {"4bb38163eb3d439b1142dfc9935cf983ce54d1cc9730795a", "inv_1dksungV1ROj2KIGZ9RGeWRyLGTaNv090t",
         6901092853594379197u},
        {"548ae3cba54055b32f4bbb5855fdbedd54ffeb8d459728ba", "inv_1foAirY4KKzi5Fh7Cu54E3OE0PwWx0ikxh",
         6162218336069523142u},
        {"548ae3cba54055b3d781d0d3687e0b766e72aec78a5adcbe", "inv_1foAirY4KKzi5O9f85JUmYbetommgic3Dp",
         14721899506219678995u},
        {"0102030405060708090a0b0c0d0e0f101112131415161718", "inv_10GJfy0GGPIZ0JsmI2YhihwhbLzDth0Jvz",
         15533405192183074856u},
        {"548ae3cba54055b3d54e878239a6891ad7af57d8fdf2d024", "inv_1foAirY4KKzi17tdfUqfjFt4MM3f0KYj9r",
         13522826165238686129u},
        {"3b93c0c33d1fb19585340707753c14437a0a9b8276f445e2", "inv_1cQNZJ2myUr16SYeAQI7aj7WAnrZWZDK2V",
         17107797347321476405u},
        {"d6724ed0d4ec79e7495a8425f58b245f018bb9095f2d647d", "inv_1jS8QKc7rHPU3OBOXKFLkLaKUgjEA8R95n",
         6635461831951512723u},
        {"758d82ac80d0460a01a204768340a69343c9540040dc64a5", "inv_10SHxgluLUdD525PhZLJkg6MfDIdifckSd",
         15477583449439803105u},
        {"550299a0e18603b81d6c7522ee49ab6574bc60136d64cf60", "inv_1fNv3Uf4oakR2WG2Bbxfn2QxCUuLufDRaB",
         7934196720120318020u},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice raw = unhex(cases[i].bytes);
        struct invocation_id id = invocation_id_from_bytes(raw.ptr), parsed;
        char text[INVOCATION_ID_TEXT + 1];
        invocation_id_format(id, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(invocation_id_parse(str(text), &parsed), ID_OK);
        assert_true(invocation_id_eq(id, parsed));
        assert_true(invocation_random_seed(id) == cases[i].seed);
        uint8_t back[INVOCATION_ID_BYTES];
        invocation_id_to_bytes(parsed, back);
        assert_memory_equal(back, raw.ptr, sizeof(back));
        free_slice(raw);
    }
}

static void extreme_ids_round_trip(void **state)
{
    static const struct {
        uint64_t pk;
        struct u128 uuid;
        const char *text;
    } cases[] = {
        {0, {0, 0}, "inv_1000000000000000000000000000000000"},
        {1, {0, 1}, "inv_105k1wlNFHb201SZwviYzes2mjOamuMJWw"},
        {UINT64_MAX, {UINT64_MAX, UINT64_MAX}, "inv_1lYGhA16ahyf7N42dgm5tFLK9N8MT7fHC7"},
        {0x7965cb547adea41a,
         {0x777ca0d0653502d0, 0xfade047c1468be8b},
         "inv_12hPbbPvjccF4fGWRQSb70rLGupghEojVZ"},
        {0x9ac4ac482dec557d,
         {0xbe7f80350c2c2d2e, 0x88e9e925c424e860},
         "inv_1aL9PPmpBXMC2WRlUacGR4IYcr1UkHzdNk"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct invocation_id id = {cases[i].pk, cases[i].uuid}, parsed;
        char text[INVOCATION_ID_TEXT + 1];
        invocation_id_format(id, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(invocation_id_parse(str(text), &parsed), ID_OK);
        assert_true(invocation_id_eq(id, parsed));
        char queue[QUEUE_ID_TEXT + 1];
        queue_id_format(id, queue);
        assert_memory_equal(queue, "vq_", 3);
        assert_string_equal(queue + 3, cases[i].text + 4);
        assert_int_equal(queue_id_parse(str(queue), &parsed), ID_OK);
        assert_true(invocation_id_eq(id, parsed));
        assert_int_equal(queue_id_parse(str(text), &parsed), ID_TYPE_MISMATCH);
    }
}

static void id_errors_come_in_the_documented_order(void **state)
{
    static const struct {
        const char *text;
        enum id_error error;
        const char *message;
    } cases[] = {
        {"", ID_BAD_LENGTH, "bad length"},
        {"foo", ID_BAD_FORMAT, "bad format"},
        {"foo_1abc", ID_UNRECOGNIZED_TYPE, "unrecognized resource type: foo"},
        {"foo_", ID_UNRECOGNIZED_TYPE, "unrecognized resource type: foo"},
        {"_1abc", ID_UNRECOGNIZED_TYPE, "unrecognized resource type: "},
        {"inv_", ID_BAD_LENGTH, "bad length"},
        {"inv_2abc", ID_UNRECOGNIZED_VERSION, "unrecognized codec version"},
        {"dp_2abc", ID_UNRECOGNIZED_VERSION, "unrecognized codec version"},
        {"dp_1abc", ID_TYPE_MISMATCH, "id doesn't match the expected type"},
        {"vq_1", ID_TYPE_MISMATCH, "id doesn't match the expected type"},
        {"inv_1", ID_BAD_LENGTH, "bad length"},
        {"inv_1abc", ID_BAD_LENGTH, "bad length"},
        {"inv_1-----------0000000000000000000000", ID_CODEC, "base62 decode error"},
        {"inv_1ZZZZZZZZZZZ0000000000000000000000", ID_CODEC, "base62 decode error"},
        {"inv_100000000000ZZZZZZZZZZZZZZZZZZZZZZ", ID_CODEC, "base62 decode error"},
        {"inv_1000000000000000000000000000000000x", ID_BAD_LENGTH, "bad length"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct invocation_id id;
        char message[128];
        struct slice text = exact_copy(str(cases[i].text));
        enum id_error e = invocation_id_parse(text, &id);
        id_error_message(e, text, message, sizeof(message));
        free_slice(text);
        if (e != cases[i].error)
            fail_msg("%s: %s", cases[i].text, message);
        assert_string_equal(message, cases[i].message);
    }
}

static void resource_ids(void **state)
{
    struct u128 ulid = {0x0102030405060708, 0x090a0b0c0d0e0f10}, parsed;
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, ulid, text);
    assert_string_equal(text, "dp_10uiKXbWmXpGW2WV00yx41r");
    assert_int_equal(resource_id_parse(RESOURCE_DEPLOYMENT, str(text), &parsed), ID_OK);
    assert_true(u128_eq(ulid, parsed));
    assert_int_equal(resource_id_parse(RESOURCE_SUBSCRIPTION, str(text), &parsed), ID_TYPE_MISMATCH);
    assert_int_equal(resource_id_parse(RESOURCE_DEPLOYMENT, str("dp_14O5c0wK76FlHa8A28ixkS5"), &parsed),
                     ID_OK);
    assert_true(u128_eq(parsed, (struct u128){0x01a204417d3d8d58, 0xd8b753adbf22f89d}));
    assert_int_equal(resource_id_parse(RESOURCE_DEPLOYMENT, str("dp_1"), &parsed), ID_BAD_LENGTH);
    assert_int_equal(resource_id_parse(RESOURCE_DEPLOYMENT, str("dp_14O5c0wK76FlHa8A28ixkS50"), &parsed),
                     ID_BAD_LENGTH);
    resource_id_format(RESOURCE_SNAPSHOT, ulid, text);
    assert_int_equal(resource_id_parse(RESOURCE_SNAPSHOT, str(text), &parsed), ID_OK);
    resource_id_format(RESOURCE_MUTATION, ulid, text);
    assert_int_equal(resource_id_parse(RESOURCE_MUTATION, str(text), &parsed), ID_OK);
}

static void ulid_text_is_crockford_base32(void **state)
{
    char text[ULID_TEXT + 1];
    ulid_format((struct u128){UINT64_MAX, UINT64_MAX}, text);
    assert_string_equal(text, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    struct u128 u = ulid_make(0x0123456789ab, 0xffff0000ffff1234, 0x55aa55aa55aa55aa);
    assert_true(u.hi == 0x0123456789ab1234 && u.lo == 0x55aa55aa55aa55aa);
    ulid_format(ulid_make(1469918176385u, 0, 0), text);
    assert_memory_equal(text, "01ARYZ6S41", 10); /* the time part of the example of the ULID specification */
}

static void awakeable_ids(void **state)
{
    struct awakeable_id a;
    const char *text = "sign_1-LC7YetatLY_M0cBWuK1lWfTugg_IpxWAAAAEQ";
    assert_int_equal(awakeable_id_parse(str(text), &a), ID_OK);
    assert_int_equal(a.index, 17);
    assert_false(a.is_promise);
    uint8_t raw[INVOCATION_ID_BYTES];
    invocation_id_to_bytes(a.invocation, raw);
    assert_hex(slice_make(raw, sizeof(raw)), "f8b0bb61eb5ab4b63f3347015ae2b59567d3ba083f229c56");
    char again[48];
    awakeable_id_format(a, again);
    assert_string_equal(again, text);

    char id_text[INVOCATION_ID_TEXT + 1];
    assert_int_equal(awakeable_id_parse(str("sign_1_MTaZc2PDnXX9auIk0icKNfE8-856NmdAAAAEQ"), &a), ID_OK);
    invocation_id_format(a.invocation, id_text);
    assert_string_equal(id_text, "inv_1a35DW8Y9SI44NRnvy8B8aApmtjopg4ZaT");

    assert_int_equal(awakeable_id_parse(str("prom_1_MTaZc2PDnXX9auIk0icKNfE8-856NmdAAAAEQ"), &a), ID_OK);
    assert_true(a.is_promise);
    awakeable_id_format(a, again);
    assert_string_equal(again, "prom_1_MTaZc2PDnXX9auIk0icKNfE8-856NmdAAAAEQ");

    assert_int_equal(awakeable_id_parse(str("foo"), &a), ID_BAD_FORMAT);
    assert_int_equal(awakeable_id_parse(str("sign_1abc"), &a),
                     ID_TYPE_MISMATCH); /* the error of the second attempt */
    assert_int_equal(awakeable_id_parse(str("prom_1abc"), &a), ID_BAD_LENGTH);
    assert_int_equal(awakeable_id_parse(str("prom_1!!!!"), &a), ID_CODEC);
    assert_int_equal(awakeable_id_parse(str(""), &a), ID_BAD_LENGTH);
}

static void partition_keys(void **state)
{
    assert_true(partition_key_of_key(str("")) == 0xd6bcec3c6b29d72e);
    assert_true(partition_key_of_key(SLICE_EMPTY) == 0xd6bcec3c6b29d72e);
    assert_true(partition_key_of_key(str("a")) == 0x13acce3537d6b799);
    assert_true(partition_key_of_key(str("k1")) == 0x548ae3cba54055b3);
    assert_true(partition_key_of_key(str("alice")) == 0xfc790b5848624bf5);
    assert_true(partition_key_of_key(str("ключ /%a")) == 0x304193c4823a9304);
    assert_true(partition_key_of_key(str("counter-1")) == 0x4543b1fe32d6bf3d);
    assert_int_equal(idempotency_bucket(str("ik-2")), 424);
    assert_int_equal(idempotency_bucket(str("ik-1")), 77);
    assert_true(partition_key_of_service_bucket(str("Greeter"), 0) == 0xb8482bbd25b7de4a);
    assert_true(partition_key_of_service_bucket(str("Greeter"), 1) == 0xdd1bb149e4155f79);
    assert_true(partition_key_of_service_bucket(str("Greeter"), 511) == 0x450da5b9ba3acc39);
    assert_true(partition_key_of_service_bucket(str("Svc"), 424) == 0x9c6a80ff37f647b6);
    char *long_key = malloc(5000);
    memset(long_key, 'x', 5000);
    uint64_t direct = partition_key_of_key(slice_make(long_key, 4999));
    long_key[4999] = (char)0xff;
    assert_true(direct == hash64(slice_make(long_key, 5000)));
    free(long_key);
}

static void derived_uuids(void **state)
{
    struct slice none = SLICE_EMPTY;
    struct u128 u = idempotency_uuid(none, str("Greeter"), none, str("greet"), str("ik-1"));
    assert_true(u128_eq(u, (struct u128){0x1142dfc9935cf983, 0xce54d1cc9730795a}));
    u = idempotency_uuid(none, str("Counter"), str("k1"), str("add"), str("ik-2"));
    assert_true(u128_eq(u, (struct u128){0x2f4bbb5855fdbedd, 0x54ffeb8d459728ba}));
    u = workflow_run_uuid(none, str("Flow"), str("k1"));
    assert_true(u128_eq(u, (struct u128){0xd781d0d3687e0b76, 0x6e72aec78a5adcbe}));
    u = idempotency_uuid(str("ten-a"), str("Svc"), none, str("echo"), str("ik-2"));
    assert_true(u128_eq(u, (struct u128){0x93cb66f35ae3266b, 0x4e7e032640035168}));
    u = workflow_run_uuid(str("ten-a"), str("Wf"), str("w1"));
    assert_true(u128_eq(u, (struct u128){0xbe7f80350c2c2d2e, 0x88e9e925c424e860}));

    char text[INVOCATION_ID_TEXT + 1];
    struct invocation_id id = {
        partition_key_of_service_bucket(str("Vec"), idempotency_bucket(str("a1"))),
        idempotency_uuid(none, str("Vec"), none, str("count"), str("a1")),
    };
    assert_true(id.partition_key == 2644575904936983176u);
    invocation_id_format(id, text);
    assert_string_equal(text, "inv_1bIt27e8ImUs3mWWmESRaRAy04YQhikUFu");
    id = (struct invocation_id){partition_key_of_key(str("s1")),
                                workflow_run_uuid(str("s1"), str("VecWf"), str("k"))};
    invocation_id_format(id, text);
    assert_string_equal(text, "inv_1a1mlWikgvPI1uVaSXH4IM8kD93KsXxcgg");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_have_the_text_of_the_live_server),
        cmocka_unit_test(extreme_ids_round_trip),
        cmocka_unit_test(id_errors_come_in_the_documented_order),
        cmocka_unit_test(resource_ids),
        cmocka_unit_test(ulid_text_is_crockford_base32),
        cmocka_unit_test(awakeable_ids),
        cmocka_unit_test(partition_keys),
        cmocka_unit_test(derived_uuids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
