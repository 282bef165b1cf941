/* The node port tells links from HTTP, and refuses links with a sentence: other clusters, other nodes, older
 * processes, unknown versions, broken bytes. */
#include "peer_fixture.h"

static struct peer_answer answer_of(const struct raw *r)
{
    struct peer_answer a;
    size_t used;
    assert_int_equal(peer_answer_decode(writer_slice(&r->in), &used, &a), RC_OK);
    return a;
}

static void expect_refusal(struct tnode *n, const struct peer_hello *h, const char *sentence)
{
    struct raw r = {0};
    raw_connect(&r, n);
    raw_hello(&r, h);
    WAIT_FOR(r.closed, 1);
    struct peer_answer a = answer_of(&r);
    char text[ERR_MESSAGE_SIZE];
    snprintf(text, sizeof(text), "%.*s", SLICE_FMT(a.reason));
    assert_false(a.accepted);
    if (!strstr(text, sentence))
        fail_msg("'%s' is not about '%s'", text, sentence);
    assert_int_equal(n->accepted_ups, 0);
    raw_close(&r);
}

static void test_refusals(void **state)
{
    struct tnode n;
    t_start(&n, 2, NULL);
    peer_acceptor_set_node(n.acceptor, (struct node_ref){5, 7}, "http://127.0.0.1:1/");
    struct peer_hello h = good_hello(1, 2);
    h.cluster_name = SLICE_LIT("another");
    expect_refusal(&n, &h, "this node belongs to the cluster 'test', you to 'another'");
    h = good_hello(1, 2);
    h.fingerprint = 78;
    expect_refusal(&n, &h, "fingerprints differ");
    h = good_hello(1, 3); /* */
    expect_refusal(&n, &h, "this node is N2, not N3: two nodes may advertise the same address");
    h = good_hello(5, 2);
    expect_refusal(&n, &h, "N5:1 was replaced by N5:7");
    h = good_hello(2, 2); /* S-15: somebody else claims to be this node */
    h.from.generation = 9;
    expect_refusal(&n, &h, "this node is N2:1 and you say that you are N2:9");
    h = good_hello(1, 2);
    h.min_version = 8;
    h.max_version = 9;
    expect_refusal(&n, &h, "no common version");
    h = good_hello(0, 2);
    h.channel = PEER_PARTITION;
    expect_refusal(&n, &h, "nodes that have joined");
    h = good_hello(1, 2);
    h.channel = PEER_LOG;
    expect_refusal(&n, &h, "does not serve the log channel");
    t_stop(&n);
}

static void test_not_joined_yet(void **state)
{
    struct tnode n;
    t_start(&n, 0, NULL);
    struct peer_hello h = good_hello(1, 2);
    expect_refusal(&n, &h, "has not joined yet");
    struct raw r = {0};
    raw_connect(&r, &n);
    h = good_hello(1, 0); /* by address: perhaps to form a cluster */
    raw_hello(&r, &h);
    WAIT_FOR(n.accepted_ups, 1);
    WAIT_FOR(r.received, 1);
    assert_true(answer_of(&r).accepted && answer_of(&r).me.id == 0 && answer_of(&r).fingerprint == 0);
    raw_close(&r);
    t_stop(&n);
}

/* Later versions may say more, and more than this server understands. */
static void test_newer_versions(void **state)
{
    struct tnode n;
    t_start(&n, 2, NULL);
    struct raw r = {0};
    raw_connect(&r, &n);
    struct peer_hello h = good_hello(1, 2);
    h.max_version = 300;
    struct writer w = WRITER_INIT;
    peer_hello_encode(&w, &h);
    write_raw(&w, "news", 4);
    put_u32le(w.buf->data + 8, get_u32le(w.buf->data + 8) + 4);
    for (size_t i = 0; i < w.len; i += 5) { /* in pieces */
        raw_write(&r, w.buf->data + i, MIN(w.len - i, (size_t)5));
        run_for(0);
    }
    writer_reset(&w);
    write_u32le(&w, 3);
    write_u8(&w, 200); /* no such service */
    write_raw(&w, "abc", 3);
    write_u32le(&w, 3);
    write_u8(&w, PEER_METADATA);
    write_raw(&w, "def", 3);
    raw_write(&r, w.buf->data, w.len);
    WAIT_FOR(n.frames, 1);
    assert_int_equal(answer_of(&r).version, 1);
    assert_true(slice_eq_cstr(writer_slice(&n.text), "def"));
    writer_free(&w);
    raw_close(&r);
    t_stop(&n);
}

/* Frames sent together with the greeting are not lost on the way to the loop that serves them. */
static void test_bytes_after_greeting(void **state)
{
    struct tnode n;
    t_start(&n, 2, NULL);
    struct raw r = {0};
    raw_connect(&r, &n);
    struct writer w = WRITER_INIT;
    struct peer_hello h = good_hello(1, 2);
    peer_hello_encode(&w, &h);
    for (int i = 0; i < 3; i++) {
        write_u32le(&w, 2);
        write_u8(&w, PEER_METADATA);
        write_raw(&w, "ab", 2);
    }
    raw_write(&r, w.buf->data, w.len - 1);
    WAIT_FOR(n.frames, 2);
    raw_write(&r, w.buf->data + w.len - 1, 1);
    WAIT_FOR(n.frames, 3);
    assert_true(slice_eq_cstr(writer_slice(&n.text), "ababab"));
    writer_free(&w);
    raw_close(&r);
    t_stop(&n);
}

static void test_broken_bytes(void **state)
{
    struct tnode n;
    struct peers_config c = t_impatient();
    t_start(&n, 2, &c);
    struct raw r = {0};
    raw_connect(&r, &n);
    raw_write(&r, PEER_MAGIC "\xff\xff\xff\xff", 12);
    WAIT_FOR(r.closed, 1);
    assert_true(slice_eq_cstr(answer_of(&r).reason, "malformed greeting"));
    raw_close(&r);
    /* a frame above the limit */
    r = (struct raw){0};
    raw_connect(&r, &n);
    struct peer_hello h = good_hello(1, 2);
    raw_hello(&r, &h);
    raw_write(&r, "\x01\x00\x80\x02\x01x", 6); /* 40 MiB + 1 */
    WAIT_FOR(n.accepted_downs, 1);
    assert_int_equal(n.down.reason, PEER_DOWN_CLOSED);
    assert_non_null(strstr(n.why, "above the limit"));
    WAIT_FOR(r.closed, 1);
    raw_close(&r);
    /* half a greeting and then nothing */
    r = (struct raw){0};
    raw_connect(&r, &n);
    raw_write(&r, PEER_MAGIC, 5);
    WAIT_FOR(r.closed, 1);
    assert_int_equal(n.http_conns, 0);
    raw_close(&r);
    t_stop(&n);
}

static void test_http_passes(void **state)
{
    struct tnode n;
    struct peers_config c = t_impatient();
    t_start(&n, 2, &c);
    struct raw r = {0};
    raw_connect(&r, &n);
    raw_write(&r, "GET / HT", 8);
    WAIT_FOR(n.http_conns, 1);
    raw_write(&r, "TP/1.1\r\n\r\n", 10);
    run_for(20);
    assert_true(slice_eq_cstr(writer_slice(&n.http_text), "GET / HTTP/1.1\r\n\r\n"));
    net_conn_write(n.http, bytes_static(SLICE_LIT("ok")));
    WAIT_FOR(r.received, 2);
    raw_close(&r);
    WAIT_FOR(n.http_closed, 1);
    /* begins like ours, but is not */
    writer_reset(&n.http_text);
    r = (struct raw){0};
    raw_connect(&r, &n);
    raw_write(&r, "\0Rs", 3);
    run_for(10);
    assert_int_equal(n.http_conns, 1);
    raw_write(&r, "XX", 2);
    WAIT_FOR(n.http_conns, 2);
    run_for(5);
    assert_true(slice_eq(writer_slice(&n.http_text), SLICE_LIT("\0RsXX")));
    raw_close(&r);
    WAIT_FOR(n.http_closed, 2);
    /* silent ones are not cut: clients keep connections in reserve */
    r = (struct raw){0};
    raw_connect(&r, &n);
    WAIT_FOR(n.http_conns, 3);
    raw_close(&r);
    WAIT_FOR(n.http_closed, 3);
    t_stop(&n);
}

static void test_free_while_sniffing(void **state)
{
    struct tnode n;
    t_start(&n, 2, NULL);
    struct raw r[3] = {0};
    for (int i = 0; i < 3; i++)
        raw_connect(&r[i], &n);
    raw_write(&r[1], PEER_MAGIC, 4);
    struct peer_hello h = good_hello(1, 9);
    raw_hello(&r[2], &h); /* refused: closing when the acceptor goes */
    run_for(2);
    t_stop(&n);
    for (int i = 0; i < 3; i++) {
        WAIT_FOR(r[i].closed, 1);
        raw_close(&r[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        CASE(test_refusals),
        CASE(test_not_joined_yet),
        CASE(test_newer_versions),
        CASE(test_bytes_after_greeting),
        CASE(test_broken_bytes),
        CASE(test_http_passes),
        CASE(test_free_while_sniffing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
