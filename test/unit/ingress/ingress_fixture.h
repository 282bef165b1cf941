/* Fixture of the ingress tests: a loop on the test's thread, an ingress on a loopback port, a router whose
 * answers the test decides, and raw HTTP/1.1 connections. Include once per test program. */
#pragma once
#include "schema_fixture.h"

#include "ingress/ingress.h"
#include "wire/service_protocol.h"

#define SUBMITTED_MAX 64

/* A request as the router got it. `si` points into `record`. */
struct submitted {
    struct partition_rpc *rpc; /* NULL once answered */
    enum rpc_kind kind;
    struct u128 request_id;
    struct bytes record;
    struct service_invocation si;
    struct cmd_signal signal;
};

struct fixture {
    struct loop *loop;
    struct net_listener *listener;
    struct net_address addr;
    struct schema_cell cell;
    struct ingress_shared *shared;
    struct ingress *ingress;
    struct partition_router router;
    struct submitted submitted[SUBMITTED_MAX];
    size_t n_submitted, n_canceled;
    /* If set: every submission is answered by this, in a later step of the same iteration. */
    void (*script)(struct submitted *s);
    struct env_task script_task;
    size_t n_scripted;
    bool drained;
};
static struct fixture F;

/* ---- router ---- */

static inline void answer(struct submitted *s, const struct rpc_reply *reply)
{
    struct partition_rpc *rpc = s->rpc;
    assert_non_null(rpc);
    s->rpc = NULL;
    rpc->reply(rpc, reply);
}
static inline void answer_failed(struct submitted *s, enum rc rc)
{
    struct rpc_reply r = {.status = RPC_FAILED, .rc = rc};
    snprintf(r.detail, sizeof(r.detail), "the test says %s", rc_name(rc));
    answer(s, &r);
}
static inline void answer_value(struct submitted *s, struct slice value, uint64_t expiry_ms)
{
    struct bytes b = bytes_copy(value);
    struct rpc_reply r = {
        .status = RPC_OK,
        .outcome = {.kind = OUTCOME_SUCCESS, .value = bytes_slice(b)},
        .outcome_bytes = b,
        .expiry_ms = expiry_ms,
    };
    answer(s, &r);
    bytes_unref(&b);
}

static void router_run_script(struct env_task *t)
{
    while (F.n_scripted < F.n_submitted)
        F.script(&F.submitted[F.n_scripted++]);
}

static void router_submit(struct partition_router *r, struct partition_rpc *rpc)
{
    assert_true(F.n_submitted < SUBMITTED_MAX);
    struct submitted *s = &F.submitted[F.n_submitted++];
    *s = (struct submitted){
        .rpc = rpc, .kind = rpc->kind, .request_id = rpc->request_id, .record = rpc->record};
    rpc->record = BYTES_EMPTY;
    assert_true(rpc->partition_key == rpc->id.partition_key);
    if (s->record.ptr) {
        struct reader body = reader_make(record_body(bytes_slice(s->record)));
        assert_true(rpc->kind == RPC_SIGNAL ? cmd_signal_read(&body, &s->signal)
                                            : service_invocation_read(&body, &s->si));
        assert_true(reader_done(&body));
        /* As a leader does: fill in the header of a record that nobody else may be writing. */
        struct record_header h = {.version = RECORD_VERSION,
                                  .kind = rpc->kind == RPC_SIGNAL ? CMD_SIGNAL : CMD_INVOKE,
                                  .created_at_ms = F.n_submitted};
        record_header_put((uint8_t *)(uintptr_t)s->record.ptr, &h);
    }
    if (F.script)
        env_defer(loop_env(F.loop), &F.script_task);
}

static void router_cancel(struct partition_router *r, struct partition_rpc *rpc)
{
    F.n_canceled++;
    for (size_t i = 0; i < F.n_submitted; i++) {
        if (F.submitted[i].rpc == rpc)
            answer_failed(&F.submitted[i], RC_CANCELED);
    }
}

/* ---- running the loop ---- */

struct until {
    struct env_timer timer;
    bool (*cond)(void *ctx);
    void *ctx;
    uint64_t deadline;
};

static void until_fire(struct env_timer *t)
{
    struct until *u = CONTAINER_OF(t, struct until, timer);
    struct env *env = loop_env(F.loop);
    if (u->cond(u->ctx) || env_mono_ms(env) >= u->deadline)
        loop_stop(F.loop);
    else
        env_timer_arm(env, &u->timer, 1);
}

static inline bool run_until(bool (*cond)(void *ctx), void *ctx, uint64_t ms)
{
    struct until u = {.cond = cond, .ctx = ctx};
    struct env *env = loop_env(F.loop);
    if (cond(ctx))
        return true;
    u.deadline = env_mono_ms(env) + ms;
    env_timer_init(&u.timer, until_fire);
    env_timer_arm(env, &u.timer, 1);
    loop_run(F.loop);
    env_timer_cancel(env, &u.timer);
    return cond(ctx);
}
static inline bool never(void *ctx)
{
    return false;
}
static inline void run_for(uint64_t ms)
{
    run_until(never, NULL, ms);
}
static bool has_submitted(void *ctx)
{
    return F.n_submitted >= *(size_t *)ctx;
}
/* Wait for the n-th submission (from 1). */
static inline struct submitted *submission(size_t n)
{
    if (!run_until(has_submitted, &n, 3000))
        fail_msg("only %zu requests reached the router", F.n_submitted);
    return &F.submitted[n - 1];
}

/* ---- ingress ---- */

static inline void fixture_start(const struct ingress_config *config)
{
    static const struct ingress_config standard = {.controlled_idempotent_sharding = true,
                                                   .version = "1.7.0-test"};
    static const struct partition_router_ops router_ops = {router_submit, router_cancel};
    struct err err = {0};
    memset(&F, 0, sizeof(F));
    F.loop = loop_new("test");
    F.router.ops = &router_ops;
    env_task_init(&F.script_task, router_run_script);
    F.cell.schema = fixture_schema();
    fixture_defaults(&F.cell.defaults);
    F.shared = ingress_shared_new(config ? config : &standard);
    F.ingress = ingress_new(F.shared, F.loop, &F.router, &F.cell);
    struct net_address any = {.family = NET_TCP, .host = "127.0.0.1"};
    assert_int_equal(net_listen(F.loop, &any, false, &ingress_listener_ops, F.ingress, &F.listener, &err),
                     RC_OK);
    assert_int_equal(net_listener_start(F.listener, &err), RC_OK);
    net_listener_address(F.listener, &F.addr);
}

static inline void fixture_stop(void)
{
    net_listener_close(F.listener);
    ingress_free(F.ingress);
    run_for(5);
    for (size_t i = 0; i < F.n_submitted; i++) {
        if (F.submitted[i].rpc)
            answer_failed(&F.submitted[i], RC_LOST_LEADERSHIP);
        bytes_unref(&F.submitted[i].record);
    }
    assert_int_equal(ingress_shared_in_progress(F.shared), 0);
    loop_free(F.loop);
    ingress_shared_free(F.shared);
    schema_unref(F.cell.schema);
}
static inline int setup(void **state)
{
    fixture_start(NULL);
    return 0;
}
static inline int teardown(void **state)
{
    fixture_stop();
    return 0;
}

/* ---- connections ---- */

struct client {
    struct net_conn *conn;
    struct writer in;
    bool ended;
};
/* One response, parsed off the front of what was received. */
struct response {
    int status;
    char *head; /* status line and header lines */
    char *body;
    size_t body_len;
};

static void client_read(void *ctx, struct bytes data)
{
    write_slice_raw(&((struct client *)ctx)->in, bytes_slice(data));
}
static void client_eof(void *ctx)
{
    ((struct client *)ctx)->ended = true;
}
static void client_closed(void *ctx, const struct err *why)
{
    ((struct client *)ctx)->ended = true;
    ((struct client *)ctx)->conn = NULL;
}
static void client_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    static const struct net_conn_ops ops = {
        .on_read = client_read, .on_eof = client_eof, .on_closed = client_closed};
    assert_int_equal(err->rc, RC_OK);
    net_conn_start(conn, &ops, ctx);
}
static inline void client_open(struct client *c)
{
    memset(c, 0, sizeof(*c));
    c->conn = net_connect(F.loop, &F.addr, 1000, client_connected, c);
}
static inline void client_send(struct client *c, struct slice s)
{
    net_conn_write(c->conn, bytes_copy(s));
}
static inline bool client_ended(void *ctx)
{
    return ((struct client *)ctx)->ended;
}
static inline void client_close(struct client *c)
{
    if (c->conn)
        net_conn_close(c->conn);
    run_for(2);
    writer_free(&c->in);
}

static inline ptrdiff_t find_text(struct slice in, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i + n <= in.len; i++)
        if (memcmp(in.ptr + i, text, n) == 0)
            return (ptrdiff_t)i;
    return -1;
}

/* Value of a response header (names as sent, lower case), or NULL; valid until the next call. */
static inline const char *header(const struct response *r, const char *name)
{
    static char value[8][512];
    static int slot;
    char needle[80];
    snprintf(needle, sizeof(needle), "\r\n%s: ", name);
    const char *at = strstr(r->head, needle);
    if (!at)
        return NULL;
    at += strlen(needle);
    slot = (slot + 1) % 8;
    snprintf(value[slot], sizeof(value[slot]), "%.*s", (int)strcspn(at, "\r"), at);
    return value[slot];
}

static bool response_is_there(void *ctx)
{
    struct client *c = ctx;
    struct slice in = writer_slice(&c->in);
    ptrdiff_t end = find_text(in, "\r\n\r\n");
    if (end < 0)
        return c->ended;
    ptrdiff_t length = find_text(slice_sub(in, 0, (size_t)end + 2), "content-length: ");
    size_t body = length < 0 ? 0 : (size_t)atol((const char *)in.ptr + length + 16);
    return in.len >= (size_t)end + 4 + body || c->ended;
}

static inline void client_receive(struct client *c, struct response *r)
{
    memset(r, 0, sizeof(*r));
    if (!run_until(response_is_there, c, 5000))
        fail_msg("no response: %.*s", SLICE_FMT(writer_slice(&c->in)));
    struct slice in = writer_slice(&c->in);
    ptrdiff_t end = find_text(in, "\r\n\r\n");
    assert_true(end > 0);
    r->head = slice_dup_cstr(slice_sub(in, 0, (size_t)end + 2));
    assert_int_equal(sscanf(r->head, "HTTP/1.1 %d", &r->status), 1);
    const char *length = header(r, "content-length");
    r->body_len = length ? (size_t)atol(length) : 0;
    size_t total = (size_t)end + 4 + r->body_len;
    assert_true(in.len >= total);
    r->body = slice_dup_cstr(slice_sub(in, (size_t)end + 4, r->body_len));
    memmove(c->in.buf->data, c->in.buf->data + total, in.len - total);
    c->in.len -= total;
}
static inline void response_free(struct response *r)
{
    free(r->head);
    free(r->body);
}

/* Write a request: `headers` are lines without their line ends, separated by '\n'; `body` NULL: none. */
static inline void client_request(struct client *c, const char *method, const char *path, const char *headers,
                                  const char *body)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "%s %s HTTP/1.1\r\nhost: test\r\n", method, path);
    for (const char *h = headers; h && *h;) {
        size_t n = strcspn(h, "\n");
        write_fmt(&w, "%.*s\r\n", (int)n, h);
        h += n + (h[n] == '\n');
    }
    if (body)
        write_fmt(&w, "content-length: %zu\r\n", strlen(body));
    write_fmt(&w, "\r\n%s", body ? body : "");
    client_send(c, writer_slice(&w));
    writer_free(&w);
}

/* A whole exchange on a connection of its own; needs F.script if the request reaches the router. */
static inline void exchange(struct response *r, const char *method, const char *path, const char *headers,
                            const char *body)
{
    struct client c;
    client_open(&c);
    client_request(&c, method, path, headers, body);
    client_receive(&c, r);
    client_close(&c);
}

#define expect_header(r, name, value)                                                                        \
    do {                                                                                                     \
        const char *got_ = header(r, name);                                                                  \
        if (!got_ || strcmp(got_, value) != 0)                                                               \
            fail_msg("%s: %s", name, got_ ? got_ : "(absent)");                                              \
    } while (0)
#define expect_no_header(r, name) assert_null(header(r, name))
