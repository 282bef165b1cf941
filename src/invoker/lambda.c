/* Calls of Lambda functions (invoker/lambda.h). A call is either with a worker (a job), with the HTTP client
 * (a stream), or with its user (collecting the body, delivering the response); it ends in `finish`. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <jansson.h>

#include "invoker/lambda_internal.h"

#define CHUNK_BYTES  ((size_t)64 << 10)  /* of the response, per callback */
#define WINDOW_BYTES ((size_t)256 << 10) /* handed over and not yet consumed */
#define SHOWN_BYTES  256u                /* of texts of others in a sentence */

enum call_state {
    CALL_COLLECTING, /* body open */
    CALL_PREPARING,  /* job: envelope, credentials, signature */
    CALL_SENT,       /* stream open */
    CALL_DECODING,   /* job */
    CALL_DELIVERING,
    CALL_FAILED, /* `err` is to be reported */
};

struct lambda_call {
    struct list link; /* lambda.calls */
    struct lambda *l;
    enum call_state state;
    bool canceled;
    struct env_task task; /* delivery and reports, never from inside a call */
    struct job job;
    struct http_stream *stream;
    const struct http_stream_ops *ops;
    void *ctx;

    char *arn, *role;
    struct slice method, path;
    struct http_header *headers; /* text in `text` */
    size_t n_headers;
    struct bytes text;
    bool zstd;
    uint64_t compress_from;
    struct writer body;

    struct writer payload;
    struct lambda_invoke invoke;
    int status; /* of the API */
    char error_type[96], function_error[48], retry_after[48];
    bool too_large;
    struct writer raw; /* the API's answer */

    struct lambda_answer answer;
    bool head_delivered;
    size_t delivered, unconsumed;
    size_t held; /* reported to lambda.held */
    struct err err;
};

struct lambda {
    struct lambda_access *access;
    struct env *env;
    struct http_client *client;
    struct job_runner *runner;
    struct list calls;
    bool closing;
    struct env_task closed_task;
    void (*closed)(void *ctx);
    void *closed_ctx;
    void (*held)(void *ctx, int64_t delta);
    void *held_ctx;
};

/* ---- frame ---- */

static void on_closed_task(struct env_task *t)
{
    struct lambda *l = CONTAINER_OF(t, struct lambda, closed_task);
    l->closed(l->closed_ctx);
}

struct lambda *lambda_new(struct lambda_access *access, struct loop *loop, struct http_client *client,
                          void (*held)(void *ctx, int64_t delta), void *ctx)
{
    struct lambda *l = xcalloc(1, sizeof(*l));
    l->access = access;
    l->env = loop_env(loop);
    l->client = client;
    l->runner = lambda_access_runner(access, loop);
    l->held = held;
    l->held_ctx = ctx;
    list_init(&l->calls);
    env_task_init(&l->closed_task, on_closed_task);
    return l;
}

void lambda_free(struct lambda *l)
{
    ASSERT_MSG(list_empty(&l->calls), "calls of Lambda functions are left");
    env_undefer(&l->closed_task);
    free(l->runner);
    free(l);
}

static void told_if_closed(struct lambda *l)
{
    if (l->closing && list_empty(&l->calls))
        env_defer(l->env, &l->closed_task);
}

void lambda_close(struct lambda *l, void (*closed)(void *ctx), void *ctx)
{
    ASSERT(!l->closing);
    l->closing = true;
    l->closed = closed;
    l->closed_ctx = ctx;
    lambda_access_cancel(l->access);
    LIST_FOREACH_SAFE(node, next, &l->calls)
    lambda_reset(CONTAINER_OF(node, struct lambda_call, link));
    told_if_closed(l);
}

static void set_held(struct lambda_call *c, size_t n)
{
    if (n != c->held)
        c->l->held(c->l->held_ctx, (int64_t)n - (int64_t)c->held);
    c->held = n;
}

static void finish(struct lambda_call *c)
{
    struct lambda *l = c->l;
    struct err err = c->err;
    if (c->canceled)
        err_set(&err, RC_CANCELED, "reset by the caller");
    env_undefer(&c->task);
    list_remove(&c->link);
    set_held(c, 0);
    c->ops->on_done(c->ctx, NULL, &err);
    free(c->arn);
    free(c->role);
    free(c->headers);
    bytes_unref(&c->text);
    writer_free(&c->body);
    writer_free(&c->payload);
    writer_free(&c->raw);
    lambda_invoke_free(&c->invoke);
    lambda_answer_free(&c->answer);
    free(c);
    told_if_closed(l);
}

/* ---- the response, to the user ---- */

static void deliver(struct lambda_call *c)
{
    if (!c->head_delivered) {
        c->head_delivered = true;
        c->ops->on_head(c->ctx, NULL, c->answer.status, HTTP_1_1, c->answer.headers, c->answer.n_headers);
    }
    struct slice body = bytes_slice(c->answer.body);
    while (!c->canceled && c->delivered < body.len && c->unconsumed < WINDOW_BYTES) {
        size_t n = MIN(CHUNK_BYTES, body.len - c->delivered);
        struct bytes chunk = bytes_part(c->answer.body, slice_sub(body, c->delivered, n));
        c->delivered += n;
        c->unconsumed += n;
        c->ops->on_data(c->ctx, NULL, chunk);
        bytes_unref(&chunk);
    }
    if (!c->canceled && c->delivered < body.len)
        return; /* goes on in lambda_consumed */
    if (!c->canceled)
        c->ops->on_end(c->ctx, NULL);
    finish(c);
}

static void on_task(struct env_task *t)
{
    struct lambda_call *c = CONTAINER_OF(t, struct lambda_call, task);
    if (c->state == CALL_DELIVERING && !c->canceled)
        deliver(c);
    else
        finish(c);
}

static void fail(struct lambda_call *c)
{
    c->state = CALL_FAILED;
    finish(c);
}

/* ---- what the API answers ---- */

static void decode_work(struct job *j)
{
    struct lambda_call *c = CONTAINER_OF(j, struct lambda_call, job);
    if (lambda_answer_read(writer_slice(&c->raw), &c->answer, &c->err) != RC_OK)
        err_prefix(&c->err, "function response could not be deserialized: ");
}

static void decode_done(struct job *j)
{
    struct lambda_call *c = CONTAINER_OF(j, struct lambda_call, job);
    if (c->canceled || c->err.rc != RC_OK) {
        fail(c);
        return;
    }
    writer_free(&c->raw);
    set_held(c, c->answer.body.len);
    c->state = CALL_DELIVERING;
    deliver(c);
}

static void decode(struct lambda_call *c)
{
    c->state = CALL_DECODING;
    c->job = (struct job){.work = decode_work, .done = decode_done};
    job_submit(c->l->runner, &c->job);
}

/* The function ended with an error of its own, outside of what the SDK catches: its payload is the reason. */
static void function_failed(struct lambda_call *c)
{
    struct slice text = writer_slice(&c->raw);
    err_set(&c->err, RC_INVALID, "function returned an error during execution: %.*s",
            (int)MIN(text.len, SHOWN_BYTES), (const char *)text.ptr);
    fail(c);
}

/* 429 and 413 mean for the user what they mean over HTTP. */
static void answer_as_http(struct lambda_call *c)
{
    c->answer.status = c->status;
    if (c->retry_after[0]) {
        c->answer.headers = xcalloc(1, sizeof(*c->answer.headers));
        c->answer.headers[c->answer.n_headers++] =
            (struct http_header){slice_cstr(xstrdup("retry-after")), slice_cstr(xstrdup(c->retry_after))};
    }
    c->answer.body = writer_take(&c->raw);
    c->state = CALL_DELIVERING;
    deliver(c);
}

/* The message is in "message" or "Message". */
static void api_failed(struct lambda_call *c)
{
    json_error_t e;
    struct slice raw = writer_slice(&c->raw);
    json_t *o = json_loadb((const char *)raw.ptr, raw.len, 0, &e);
    const char *text = json_string_value(json_object_get(o, "message"));
    text = text ? text : json_string_value(json_object_get(o, "Message"));
    bool expired = strncmp(c->error_type, "ExpiredToken", 12) == 0;
    bool passing = expired || c->status >= 500 || c->status == 408;
    if (expired)
        lambda_access_forget(c->l->access, c->role);
    err_set(&c->err, passing ? RC_UNAVAILABLE : RC_INVALID, "lambda service returned error: %d %s%s%.*s",
            c->status, c->error_type, text ? ": " : "", (int)SHOWN_BYTES, text ? text : "");
    json_decref(o);
    fail(c);
}

static void interpret(struct lambda_call *c)
{
    if (c->too_large) {
        err_set(&c->err, RC_TOO_LARGE, "the function's answer is larger than %zu bytes", LAMBDA_ANSWER_MAX);
        fail(c);
    } else if (c->status == 429 || c->status == 413) {
        answer_as_http(c);
    } else if (c->status < 200 || c->status > 299) {
        api_failed(c);
    } else if (c->function_error[0]) {
        function_failed(c);
    } else {
        decode(c);
    }
}

/* ---- the exchange with the API ---- */

static void keep_text(const struct http_header *headers, size_t n, const char *name, const char *until,
                      char *out, size_t cap)
{
    struct slice v = http_header_find(headers, n, name);
    snprintf(out, cap, "%.*s", SLICE_FMT(v));
    out[strcspn(out, until)] = 0;
}

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n)
{
    struct lambda_call *c = ctx;
    c->status = status;
    keep_text(headers, n, "x-amzn-errortype", ":;", c->error_type, sizeof(c->error_type));
    keep_text(headers, n, "x-amz-function-error", "", c->function_error, sizeof(c->function_error));
    keep_text(headers, n, "retry-after", "", c->retry_after, sizeof(c->retry_after));
}

static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct lambda_call *c = ctx;
    http_stream_consumed(s, data.len);
    c->too_large = c->too_large || data.len > LAMBDA_ANSWER_MAX - c->raw.len;
    if (!c->too_large)
        write_slice_raw(&c->raw, bytes_slice(data));
    else
        http_stream_reset(s);
    set_held(c, c->raw.len);
}

static void on_end(void *ctx, struct http_stream *s) {}

static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct lambda_call *c = ctx;
    c->stream = NULL;
    if (c->canceled) {
        finish(c);
    } else if (err->rc != RC_OK && !c->too_large) {
        c->err = *err;
        if (c->err.rc == RC_INVALID || c->err.rc == RC_UNSUPPORTED) /* may pass, unlike what AWS says */
            c->err.rc = RC_CLOSED;
        fail(c);
    } else if (c->status == 0) {
        err_set(&c->err, RC_CLOSED, "AWS Lambda closed the connection without an answer");
        fail(c);
    } else {
        interpret(c);
    }
}

static const struct http_stream_ops stream_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_done = on_done};

static void send_invoke(struct lambda_call *c)
{
    struct lambda_invoke *i = &c->invoke;
    struct http_uri uri;
    struct err err = {0};
    char length[24];
    ASSERT(http_uri_parse(slice_cstr(i->url), &uri, &err) == RC_OK); /* as when it was signed */
    snprintf(length, sizeof(length), "%zu", c->payload.len);
    struct http_header headers[6] = {
        HTTP_HEADER_LIT("content-type", "application/json"),
        {SLICE_LIT("content-length"), slice_cstr(length)},
        HTTP_HEADER_LIT("x-amz-invocation-type", "RequestResponse"),
        {SLICE_LIT("x-amz-date"), slice_cstr(i->date)},
        {SLICE_LIT("authorization"), slice_cstr((const char *)writer_slice(&i->authorization).ptr)}};
    size_t n = 5;
    if (i->session_token)
        headers[n++] = (struct http_header){SLICE_LIT("x-amz-security-token"), slice_cstr(i->session_token)};
    c->state = CALL_SENT;
    c->stream = http_client_open(c->l->client, &uri, HTTP_CLIENT_H1, SLICE_LIT("POST"),
                                 writer_slice(&i->path), headers, n, &stream_ops, c);
    http_stream_write(c->stream, writer_take(&c->payload));
    http_stream_end(c->stream);
}

static void prepare_work(struct job *j)
{
    struct lambda_call *c = CONTAINER_OF(j, struct lambda_call, job);
    bool zstd = c->zstd && c->body.len >= c->compress_from;
    enum rc rc = lambda_request_write(&c->payload, c->method, c->path, c->headers, c->n_headers,
                                      writer_slice(&c->body), zstd, &c->err);
    if (rc == RC_OK)
        lambda_invoke_prepare(c->l->access, c->arn, c->role, writer_slice(&c->payload), &c->invoke, &c->err);
}

static void prepare_done(struct job *j)
{
    struct lambda_call *c = CONTAINER_OF(j, struct lambda_call, job);
    writer_free(&c->body);
    if (c->canceled || c->err.rc != RC_OK)
        fail(c);
    else
        send_invoke(c);
}

/* ---- the user's side ---- */

static struct slice put(struct writer *w, struct slice s)
{
    write_slice_raw(w, s);
    return s;
}

static void copy_texts(struct lambda_call *c, const struct lambda_request *r)
{
    struct writer w = WRITER_INIT;
    c->headers = xcalloc(r->n_headers + 1, sizeof(*c->headers));
    put(&w, r->method);
    put(&w, r->path);
    for (size_t i = 0; i < r->n_headers; i++) {
        put(&w, r->headers[i].name);
        put(&w, r->headers[i].value);
    }
    c->text = writer_take(&w);
    const uint8_t *at = c->text.ptr;
    c->method = slice_make(at, r->method.len);
    at += r->method.len;
    c->path = slice_make(at, r->path.len);
    at += r->path.len;
    for (size_t i = 0; i < r->n_headers; i++) {
        c->headers[i].name = slice_make(at, r->headers[i].name.len);
        at += r->headers[i].name.len;
        c->headers[i].value = slice_make(at, r->headers[i].value.len);
        at += r->headers[i].value.len;
    }
    c->n_headers = r->n_headers;
    if (r->zstd)
        c->headers[c->n_headers++] = HTTP_HEADER_LIT("accept-encoding", "zstd");
}

struct lambda_call *lambda_open(struct lambda *l, const struct lambda_request *r,
                                const struct http_stream_ops *ops, void *ctx)
{
    struct lambda_call *c = xcalloc(1, sizeof(*c));
    c->l = l;
    c->ops = ops;
    c->ctx = ctx;
    c->arn = xstrdup(r->arn);
    c->role = r->assume_role_arn ? xstrdup(r->assume_role_arn) : NULL;
    c->zstd = r->zstd;
    c->compress_from = r->compress_from_bytes;
    copy_texts(c, r);
    env_task_init(&c->task, on_task);
    list_push_back(&l->calls, &c->link);
    if (l->closing)
        lambda_reset(c);
    return c;
}

size_t lambda_write(struct lambda_call *c, struct bytes take)
{
    ASSERT(c->state == CALL_COLLECTING);
    write_slice_raw(&c->body, bytes_slice(take));
    bytes_unref(&take);
    return c->body.len;
}

void lambda_end(struct lambda_call *c)
{
    if (c->state != CALL_COLLECTING || c->canceled)
        return;
    c->state = CALL_PREPARING;
    c->job = (struct job){.work = prepare_work, .done = prepare_done};
    job_submit(c->l->runner, &c->job);
}

void lambda_consumed(struct lambda_call *c, size_t n)
{
    ASSERT(n <= c->unconsumed);
    c->unconsumed -= n;
    if (c->state == CALL_DELIVERING && c->delivered < c->answer.body.len)
        env_defer(c->l->env, &c->task);
}

void lambda_reset(struct lambda_call *c)
{
    if (c->canceled)
        return;
    c->canceled = true;
    if (c->stream)
        http_stream_reset(c->stream);
    else if (c->state == CALL_COLLECTING || c->state == CALL_DELIVERING || c->state == CALL_FAILED)
        env_defer(c->l->env, &c->task);
}
