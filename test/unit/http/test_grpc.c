/* gRPC on the server: unary and streaming replies, statuses, compressed requests, limits. The client side is
 * a plain stream; trailers are seen through a raw HTTP/1.1 exchange, where they follow the last chunk. */
#include "harness.h"
#include "http/grpc.h"

static size_t finished;
static uint64_t seen_timeout_ms;

static void on_finished(struct grpc_call *c, bool completed)
{
    finished++;
}
static void long_message(struct grpc_call *c, struct bytes m)
{
    struct writer w = WRITER_INIT;
    grpc_call_compress(c);
    for (int i = 0; i < 1000; i++)
        write_fmt(&w, "%s", m.len ? "0123456789" : "");
    grpc_call_reply(c, writer_take(&w));
    writer_free(&w);
}
static void echo_message(struct grpc_call *c, struct bytes m)
{
    seen_timeout_ms = grpc_call_timeout_ms(c);
    grpc_call_reply(c, bytes_ref(m));
}
static void stream_message(struct grpc_call *c, struct bytes m)
{
    grpc_call_send(c, bytes_ref(m));
    grpc_call_send(c, bytes_ref(m));
}
static void stream_end(struct grpc_call *c)
{
    grpc_call_finish(c, GRPC_ABORTED, "after `it`: [x, y]");
}
static void fail_message(struct grpc_call *c, struct bytes m)
{
    grpc_call_finish(c, GRPC_NOT_FOUND, "no such thing");
}

static void on_grpc_request(void *ctx, struct http_request *r)
{
    static const struct grpc_call_ops echo = {.on_message = echo_message, .on_finished = on_finished};
    static const struct grpc_call_ops longer = {.on_message = long_message, .on_finished = on_finished};
    static const struct grpc_call_ops stream = {
        .on_message = stream_message, .on_end = stream_end, .on_finished = on_finished};
    static const struct grpc_call_ops fail = {.on_message = fail_message, .on_finished = on_finished};
    struct slice t = http_request_target(r);
    if (slice_eq_cstr(t, "/echo"))
        grpc_call_accept(r, true, 1000, &echo, NULL);
    else if (slice_eq_cstr(t, "/long"))
        grpc_call_accept(r, true, 1000, &longer, NULL);
    else if (slice_eq_cstr(t, "/stream"))
        grpc_call_accept(r, false, 1 << 20, &stream, NULL);
    else if (slice_eq_cstr(t, "/fail"))
        grpc_call_accept(r, true, 1000, &fail, NULL);
    else
        grpc_refuse(r, GRPC_UNIMPLEMENTED, NULL);
}

static int grpc_setup(void **state)
{
    struct http_server_config sc;
    fixture_start(NULL, NULL);
    http_server_free(F.server);
    http_server_config_default(&sc);
    F.server = http_server_new(F.loop, &sc, &(struct http_server_ops){.on_request = on_grpc_request}, NULL);
    finished = 0;
    return 0;
}

/* Send one body with the given extra header line, expect `parts` in the answer. */
static void exchange(const char *path, const char *header, struct slice body, const char *const *parts,
                     size_t n)
{
    struct raw r;
    struct writer w = WRITER_INIT;
    write_fmt(&w, "POST %s HTTP/1.1\r\n%scontent-length: %zu\r\n\r\n", path, header, body.len);
    write_slice_raw(&w, body);
    size_t before = finished;
    raw_open(&r);
    net_conn_write(r.conn, writer_take(&w));
    for (size_t i = 0; i < n; i++)
        raw_expect(&r, parts[i], 1);
    run_for(2);
    raw_close(&r);
    if (strcmp(path, "/none") != 0)
        assert_int_equal(finished, before + 1);
}
#define EXCHANGE(path, header, body, ...)                                                                    \
    exchange(path, header, body, (const char *const[]){__VA_ARGS__},                                         \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void unary(void **state)
{
    EXCHANGE("/echo", "grpc-timeout: 10000000u\r\n", S("\0\0\0\0\3abc"), "200 OK",
             "content-type: application/grpc\r\n", "abc\r\n0\r\ngrpc-status: 0\r\n\r\n");
    assert_int_equal(seen_timeout_ms, 10000);
    EXCHANGE("/echo", "", S("\0\0\0\0\0"), "grpc-status: 0\r\n\r\n"); /* an empty message is a message */
    assert_true(seen_timeout_ms == GRPC_NO_TIMEOUT);
    EXCHANGE("/echo", "", SLICE_EMPTY, "grpc-status: 13\r\n",
             "grpc-message: Missing%20request%20message.\r\n");
    EXCHANGE("/echo", "", S("\0\0\0\0\3ab"), "grpc-status: 13\r\n");
}

static void statuses(void **state)
{
    EXCHANGE("/fail", "", S("\0\0\0\0\0"), "grpc-status: 5\r\n", "grpc-message: no%20such%20thing\r\n");
    EXCHANGE("/none", "", S("\0\0\0\0\0"), "grpc-status: 12\r\n");
    EXCHANGE("/stream", "", S("\0\0\0\0\1x\0\0\0\0\2yz"),
             "grpc-status: 10\r\ngrpc-message: after%20%60it%60:%20[x,%20y]\r\n\r\n");
}

static void limits_and_encodings(void **state)
{
    EXCHANGE("/echo", "", S("\0\0\0\x03\xe9"), "grpc-status: 11\r\n",
             "too%20large:%20found%201001%20bytes,%20the%20limit%20is:%201000%20bytes\r\n");
    EXCHANGE("/echo", "grpc-encoding: snappy\r\n", S("\1\0\0\0\0"), "grpc-status: 12\r\n",
             "grpc-message: Content%20is%20compressed%20with%20%60snappy%60%20which%20isn't%20supported\r\n",
             "grpc-accept-encoding: gzip,zstd,identity\r\n");
    EXCHANGE("/echo", "", S("\1\0\0\0\1x"), "grpc-status: 13\r\n", "no%20grpc-encoding%20was%20specified");
    /* the frames of spec/restatectl.md §3.3 */
    EXCHANGE("/echo", "grpc-encoding: zstd\r\n", S("\1\0\0\0\x09\x28\xb5\x2f\xfd\0\x58\1\0\0"),
             "grpc-status: 0\r\n");
    EXCHANGE("/echo", "grpc-encoding: zstd\r\n", S("\1\0\0\0\x0b\x28\xb5\x2f\xfd\0\x58\x11\0\0\x10\1"),
             "\x10\1\r\n", "grpc-status: 0\r\n");
    EXCHANGE("/echo", "grpc-encoding: zstd\r\n", S("\1\0\0\0\x0a\x28\xb5\x2f\xfd\0\x58\x11\0\0\x10"),
             "grpc-status: 13\r\n");
    EXCHANGE("/echo", "grpc-encoding: gzip\r\n",
             S("\1\0\0\0\x17\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x4a\x06\0\xc2\x41\x24\x35\x03\0\0\0"),
             "abc\r\n");
    /* RLE: 3 bytes that mean 4096 */
    EXCHANGE("/echo", "grpc-encoding: zstd\r\n", S("\1\0\0\0\x0a\x28\xb5\x2f\xfd\0\x58\x03\x80\0x"),
             "grpc-status: 11\r\n");
}

/* Answers in the first encoding that both know; small ones as they are. */
static void compressed_answers(void **state)
{
    struct slice ask = S("\0\0\0\0\1x"), ask_short = S("\0\0\0\0\0");
    EXCHANGE("/long", "grpc-accept-encoding: snappy, zstd,gzip\r\n", ask, "grpc-encoding: zstd\r\n",
             "\x28\xb5\x2f\xfd", "grpc-status: 0\r\n");
    EXCHANGE("/long", "grpc-accept-encoding: gzip,zstd\r\n", ask, "grpc-encoding: gzip\r\n", "\x1f\x8b\x08",
             "grpc-status: 0\r\n");
    EXCHANGE("/long", "grpc-accept-encoding: identity\r\n", ask, "01234567890123456789",
             "grpc-status: 0\r\n");
    EXCHANGE("/long", "", ask, "01234567890123456789", "grpc-status: 0\r\n");
    EXCHANGE("/long", "grpc-accept-encoding: zstd\r\n", ask_short, "grpc-status: 0\r\n");
    for (enum grpc_encoding e = GRPC_GZIP; e <= GRPC_ZSTD; e++) { /* and back */
        struct writer body = WRITER_INIT, frame = WRITER_INIT, text = WRITER_INIT;
        struct grpc_reader g = {.limit = 100000, .encoding = e};
        struct bytes m = BYTES_EMPTY;
        struct err err = {0};
        for (int i = 0; i < 5000; i++)
            write_fmt(&text, "%d,", i);
        assert_int_equal(grpc_deflate(e, S("short"), &body), RC_EOF);
        assert_int_equal(grpc_deflate(e, writer_slice(&text), &body), RC_OK);
        assert_true(body.len < text.len / 2);
        write_u8(&frame, 1);
        write_u32be(&frame, (uint32_t)body.len);
        write_slice_raw(&frame, writer_slice(&body));
        struct bytes whole = writer_take(&frame);
        struct slice in = bytes_slice(whole);
        assert_int_equal(grpc_reader_next(&g, whole, &in, &m, &err), RC_OK);
        assert_true(slice_eq(bytes_slice(m), writer_slice(&text)));
        bytes_unref(&m);
        bytes_unref(&whole);
        writer_free(&body);
        writer_free(&text);
    }
}

static void messages_in_pieces(void **state)
{
    struct grpc_reader g = {.limit = 100};
    struct bytes stream = bytes_static(S("\0\0\0\0\5hello\0\0\0\0\0\0\0\0\0\2hi"));
    size_t got = 0;
    for (size_t i = 0; i < stream.len; i++) {
        struct slice in = {stream.ptr + i, 1};
        struct bytes m;
        while (grpc_reader_next(&g, stream, &in, &m, NULL) == RC_OK) {
            got++;
            assert_true(slice_eq_cstr(bytes_slice(m), got == 1 ? "hello" : got == 2 ? "" : "hi"));
            bytes_unref(&m);
        }
    }
    assert_int_equal(got, 3);
    assert_false(grpc_reader_partial(&g));
}

static void over_http2(void **state)
{
    struct call c;
    call_open(&c, HTTP_CLIENT_H2, "POST", "/stream");
    http_stream_write(c.stream, bytes_static(S("\0\0\0\0\1x")));
    http_stream_end(c.stream);
    call_finish(&c);
    assert_int_equal(c.err.rc, RC_OK);
    assert_int_equal(c.body.len, 12);
    assert_memory_equal(c.body.buf->data, "\0\0\0\0\1x\0\0\0\0\1x", 12);
    call_free(&c);
    call_open(&c, HTTP_CLIENT_H2, "POST", "/fail"); /* headers only */
    http_stream_write(c.stream, bytes_static(S("\0\0\0\0\0")));
    http_stream_end(c.stream);
    call_finish(&c);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.content_type, "application/grpc");
    assert_int_equal(c.body.len, 0);
}

int main(void)
{
#define GT(f) cmocka_unit_test_setup_teardown(f, grpc_setup, teardown)
    const struct CMUnitTest tests[] = {
        GT(unary),     GT(statuses), GT(limits_and_encodings), GT(messages_in_pieces), GT(compressed_answers),
        GT(over_http2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
