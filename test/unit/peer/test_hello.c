/* Greetings and frames as bytes: round trips, every cut of the stream, broken and oversize input; addresses.
 */
#include "peer_fixture.h"

static void test_greetings_round_trip(void **state)
{
    struct peer_hello h = good_hello(3, 2), back;
    h.max_version = 9;
    struct writer w = WRITER_INIT;
    size_t used;
    peer_hello_encode(&w, &h);
    write_raw(&w, "rest", 4);
    struct slice all = writer_slice(&w);
    for (size_t n = 0; n < all.len - 4; n++)
        assert_int_equal(peer_hello_decode(slice_sub(all, 0, n), &used, &back), RC_AGAIN);
    assert_int_equal(peer_hello_decode(all, &used, &back), RC_OK);
    assert_int_equal(used, all.len - 4);
    assert_true(back.from.id == 3 && back.from.generation == 1 && back.expected_id == 2);
    assert_true(back.min_version == 1 && back.max_version == 9 && back.channel == PEER_CONTROL);
    assert_true(back.fingerprint == 77 && slice_eq_cstr(back.cluster_name, "test"));
    writer_reset(&w);
    struct peer_answer a = {.version = 1, .me = {2, 5}, .reason = SLICE_LIT("no")}, answer;
    peer_answer_encode(&w, &a);
    assert_int_equal(peer_answer_decode(writer_slice(&w), &used, &answer), RC_OK);
    assert_true(!answer.accepted && answer.me.generation == 5 && slice_eq_cstr(answer.reason, "no"));
    writer_free(&w);
}

static void test_broken_greetings(void **state)
{
    struct peer_hello h = good_hello(3, 2), back;
    struct writer w = WRITER_INIT;
    size_t used;
    peer_hello_encode(&w, &h);
    uint8_t *p = w.buf->data;
    p[3] ^= 1; /* magic */
    assert_int_equal(peer_hello_decode(writer_slice(&w), &used, &back), RC_INVALID);
    assert_int_equal(peer_hello_decode(slice_make(p, 4), &used, &back), RC_INVALID);
    p[3] ^= 1;
    p[16] = PEER_CHANNELS; /* no such channel */
    assert_int_equal(peer_hello_decode(writer_slice(&w), &used, &back), RC_INVALID);
    p[16] = PEER_CONTROL;
    p[12] = 2; /* min above max */
    assert_int_equal(peer_hello_decode(writer_slice(&w), &used, &back), RC_INVALID);
    p[12] = 1;
    put_u32le(p + 8, 5); /* cut inside */
    assert_int_equal(peer_hello_decode(writer_slice(&w), &used, &back), RC_INVALID);
    put_u32le(p + 8, PEER_GREETING_MAX + 1);
    assert_int_equal(peer_hello_decode(writer_slice(&w), &used, &back), RC_INVALID);
    writer_free(&w);
}

struct seen {
    size_t n, bytes;
    uint64_t sum;
    bool stop;
};

static bool see(void *ctx, uint8_t service, struct bytes payload)
{
    struct seen *s = ctx;
    s->n++;
    s->bytes += payload.len;
    for (size_t i = 0; i < payload.len; i++)
        s->sum = s->sum * 31 + payload.ptr[i] + service;
    return !s->stop;
}

static void write_frame(struct writer *w, uint8_t service, size_t len)
{
    write_u32le(w, (uint32_t)len);
    write_u8(w, service);
    for (size_t i = 0; i < len; i++)
        write_u8(w, (uint8_t)(i * 7 + len));
}

static void test_frames_at_every_cut(void **state)
{
    struct writer w = WRITER_INIT;
    write_frame(&w, 1, 0);
    write_frame(&w, 2, 1);
    write_frame(&w, 3, 40);
    write_frame(&w, 1, 0);
    struct bytes all = writer_take(&w);
    struct seen whole = {0};
    struct peer_frames f = {.limit = 40};
    assert_int_equal(peer_frames_feed(&f, all, see, &whole), RC_OK);
    assert_int_equal(whole.n, 4);
    for (size_t cut = 0; cut <= all.len; cut++) {
        for (size_t cut2 = cut; cut2 <= all.len; cut2++) {
            struct seen s = {0};
            peer_frames_feed(&f, (struct bytes){all.ptr, cut, all.owner}, see, &s);
            peer_frames_feed(&f, (struct bytes){all.ptr + cut, cut2 - cut, all.owner}, see, &s);
            peer_frames_feed(&f, (struct bytes){all.ptr + cut2, all.len - cut2, all.owner}, see, &s);
            assert_true(s.n == 4 && s.bytes == whole.bytes && s.sum == whole.sum);
        }
    }
    bytes_unref(&all);
    peer_frames_free(&f);
}

static void test_frame_limits(void **state)
{
    struct writer w = WRITER_INIT;
    write_frame(&w, 1, 41);
    struct bytes all = writer_take(&w);
    struct seen s = {0};
    struct peer_frames f = {.limit = 40};
    assert_int_equal(peer_frames_feed(&f, all, see, &s), RC_TOO_LARGE);
    assert_int_equal(s.n, 0);
    f = (struct peer_frames){.limit = 41};
    s.stop = true;
    struct bytes half = {all.ptr, 20, all.owner};
    assert_int_equal(peer_frames_feed(&f, half, see, &s), RC_OK);
    assert_int_equal(s.n, 0);
    peer_frames_free(&f); /* with half a frame inside */
    bytes_unref(&all);
}

static void test_addresses(void **state)
{
    struct net_address a;
    struct err err = {0};
    assert_int_equal(peer_address_parse(SLICE_LIT("http://n1:77/"), &a, NULL), RC_OK);
    assert_true(a.family == NET_TCP && a.port == 77 && strcmp(a.host, "n1") == 0);
    assert_int_equal(peer_address_parse(SLICE_LIT("10.0.0.1"), &a, NULL), RC_OK);
    assert_true(a.port == 5122 && strcmp(a.host, "10.0.0.1") == 0);
    assert_int_equal(peer_address_parse(SLICE_LIT("http://[::1]:5123"), &a, NULL), RC_OK);
    assert_true(a.port == 5123 && strcmp(a.host, "[::1]") == 0);
    assert_int_equal(peer_address_parse(SLICE_LIT("unix:/tmp/x"), &a, NULL), RC_OK);
    assert_true(a.family == NET_UNIX && strcmp(a.host, "/tmp/x") == 0);
    const char *bad[] = {"",     "http://", "http://a:0/", "http://a:65536/", "a:b", "http://a/b",
                         "[]:1", ":1",      "unix:"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(peer_address_parse(slice_cstr(bad[i]), &a, &err), RC_INVALID);
    assert_int_equal(peer_address_parse(SLICE_LIT("https://a:1/"), &a, &err), RC_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greetings_round_trip),
        cmocka_unit_test(test_broken_greetings),
        cmocka_unit_test(test_frames_at_every_cut),
        cmocka_unit_test(test_frame_limits),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
