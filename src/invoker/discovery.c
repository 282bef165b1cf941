/* Discovery of an endpoint (spec/service-protocol.md §2): the GET with its retries, checks of the response
 * head, and the sentences that the admin API shows (spec/admin-api.md §7.3). The manifest itself is read by
 * metadata/. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "invoker/invoker_internal.h"

#define MANIFEST_TYPE(v) "application/vnd.restate.endpointmanifest.v" v "+json"
#define MANIFEST_TYPES                                                                                       \
    MANIFEST_TYPE("1") ", " MANIFEST_TYPE("2") ", " MANIFEST_TYPE("3") ", " MANIFEST_TYPE("4")
#define MAX_RETRIES         4
#define FIRST_RETRY_MS      100
#define RESPONSE_TIMEOUT_MS 30000
#define ERROR_BODY_SHOWN    256

struct discovery {
    struct list link; /* invoker.discoveries */
    struct invoker *inv;
    char *uri_text; /* or the ARN of a Lambda function */
    bool is_lambda;
    char *assume_role_arn;
    struct http_uri uri;
    bool use_http_11;
    struct http_header *headers; /* of the request; owned text */
    size_t n_headers;
    void (*done)(void *ctx, const struct discovery_result *result);
    void *ctx;
    uint32_t retries;
    struct env_timer timer; /* back-off, or the response timeout while a stream is open */
    struct carrier stream;
    bool finished; /* `done` ran; waits for the stream's end */
    bool timed_out;
    bool refused; /* the request itself is wrong: the timer only defers `done` */
    int status;
    struct writer header_text; /* response headers for error messages */
    struct writer body;
    struct discovery_result result;
};

static void discovery_free(struct discovery *d)
{
    if (d->inv) {
        env_timer_cancel(d->inv->env, &d->timer);
        list_remove(&d->link);
    }
    for (size_t i = 0; i < d->n_headers; i++) {
        free((char *)d->headers[i].name.ptr);
        free((char *)d->headers[i].value.ptr);
    }
    free(d->headers);
    free(d->uri_text);
    free(d->assume_role_arn);
    writer_free(&d->header_text);
    writer_free(&d->body);
    bytes_unref(&d->result.manifest);
    free(d);
}

static void finish(struct discovery *d)
{
    env_timer_cancel(d->inv->env, &d->timer);
    d->finished = true;
    void (*done)(void *, const struct discovery_result *) = d->done;
    void *ctx = d->ctx;
    done(ctx, &d->result);
    if (!carrier_is_open(&d->stream))
        discovery_free(d);
}

static void set_failed(struct discovery *d, enum rc rc, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void set_failed(struct discovery *d, enum rc rc, const char *code, const char *fmt, ...)
{
    d->result.rc = rc;
    d->result.http_status = 500;
    snprintf(d->result.restate_code, sizeof(d->result.restate_code), "%s", code);
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->result.message, sizeof(d->result.message), fmt, args);
    va_end(args);
}

/* ---- one try ---- */

static void send_request(struct discovery *d);

/* §2.7: 100, 200, 400, 800 ms, each plus up to 30 %. */
static void fail_or_retry(struct discovery *d, bool retryable)
{
    if (!retryable || d->retries == MAX_RETRIES) {
        finish(d);
        return;
    }
    uint64_t delay = (uint64_t)FIRST_RETRY_MS << d->retries++;
    delay += env_random(d->inv->env) % (delay * 3 / 10 + 1);
    LOG0(LOG_DEBUG, "restate_invoker", "discovery of '%s' failed, retrying: %s", d->uri_text,
         d->result.message);
    env_timer_arm(d->inv->env, &d->timer, delay);
}

static void on_timer(struct env_timer *t)
{
    struct discovery *d = CONTAINER_OF(t, struct discovery, timer);
    if (d->refused) {
        finish(d);
    } else if (carrier_is_open(&d->stream)) {
        d->timed_out = true;
        carrier_reset(&d->stream);
    } else {
        send_request(d);
    }
}

static bool known_type(struct slice type)
{
    return slice_eq_cstr(type, MANIFEST_TYPE("1")) || slice_eq_cstr(type, MANIFEST_TYPE("2")) ||
           slice_eq_cstr(type, MANIFEST_TYPE("3")) || slice_eq_cstr(type, MANIFEST_TYPE("4"));
}

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n)
{
    struct discovery *d = ctx;
    if (d->finished)
        return;
    d->status = status;
    d->result.http_1_1 = version != HTTP_2;
    struct slice server = http_header_find(headers, n, "x-restate-server");
    snprintf(d->result.sdk_version, sizeof(d->result.sdk_version), "%.*s", SLICE_FMT(server));
    if (status < 200 || status > 299) {
        headers_show(&d->header_text, headers, n);
        return;
    }
    struct slice type = http_header_find(headers, n, "content-type");
    if (type.ptr && known_type(type))
        return;
    struct writer shown = WRITER_INIT;
    if (type.ptr)
        write_json_string(&shown, type);
    else
        write_fmt(&shown, "None");
    set_failed(d, RC_INVALID, "META0013",
               "received a bad response from the SDK: Bad content type header: %.*s. Expected one of "
               "'\"" MANIFEST_TYPES "\"'",
               SLICE_FMT(writer_slice(&shown)));
    writer_free(&shown);
    finish(d);
    carrier_reset(&d->stream);
}

static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct discovery *d = ctx;
    carrier_consumed(&d->stream, data.len);
    if (d->finished)
        return;
    if (d->body.len + data.len <= message_limit(d->inv)) {
        write_slice_raw(&d->body, bytes_slice(data));
        return;
    }
    set_failed(
        d, RC_TOO_LARGE, "META0013",
        "received a bad response from the SDK: the discovery response is larger than the message size limit");
    finish(d);
    carrier_reset(&d->stream);
}

static bool status_retryable(int status)
{
    return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

static void bad_status(struct discovery *d)
{
    struct slice body = writer_slice(&d->body), headers = writer_slice(&d->header_text);
    body.len = MIN(body.len, (size_t)ERROR_BODY_SHOWN);
    if (d->status == 404)
        set_failed(d, RC_NOT_FOUND, "META0003",
                   "got status code '404'. Make sure the provided URI has the correct path where the Restate "
                   "SDK endpoint is "
                   "mounted. Response headers: %.*s. Body: %.*s",
                   SLICE_FMT(headers), SLICE_FMT(body));
    else
        set_failed(d, RC_UNAVAILABLE, "META0003",
                   "got status code '%d %s'. Response headers: %.*s. Body: %.*s", d->status,
                   http_reason(d->status), SLICE_FMT(headers), SLICE_FMT(body));
    fail_or_retry(d, status_retryable(d->status));
}

/* The stream failed before the response was complete. */
static void broken(struct discovery *d, const struct err *err)
{
    if (d->timed_out) {
        set_failed(d, RC_TIMEOUT, "META0003",
                   "error when calling '%s': no complete response within %d seconds", d->uri_text,
                   RESPONSE_TIMEOUT_MS / 1000);
        fail_or_retry(d, true);
    } else if (d->is_lambda) {
        char cause[ERR_MESSAGE_SIZE];
        dial_cause(err, true, cause, sizeof(cause));
        set_failed(d, err->rc == RC_OK ? RC_UNAVAILABLE : err->rc, "META0003", "error when calling '%s': %s",
                   d->uri_text, cause);
        fail_or_retry(d, err->rc != RC_INVALID && err->rc != RC_TOO_LARGE);
    } else if (err->rc == RC_UNSUPPORTED && !d->use_http_11) {
        set_failed(d, RC_UNSUPPORTED, "META0014",
                   "error when calling '%s': server possibly supports only HTTP1.1, consider discovery with "
                   "--use-http1.1.",
                   d->uri_text);
        fail_or_retry(d, false);
    } else if (d->use_http_11 && (err->rc == RC_INVALID || err->rc == RC_UNSUPPORTED)) {
        set_failed(d, RC_UNSUPPORTED, "META0003",
                   "error when calling '%s': server possibly supports only HTTP/2, consider discovering "
                   "without --use-http1.1. %s",
                   d->uri_text, err->msg);
        fail_or_retry(d, false);
    } else {
        char cause[ERR_MESSAGE_SIZE];
        dial_cause(err, d->use_http_11, cause, sizeof(cause));
        set_failed(d, RC_UNAVAILABLE, "META0003", "error when calling '%s': %s", d->uri_text, cause);
        fail_or_retry(d, true);
    }
}

static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct discovery *d = ctx;
    d->stream = (struct carrier){0};
    if (d->finished) {
        discovery_free(d);
        return;
    }
    env_timer_cancel(d->inv->env, &d->timer);
    if (err->rc != RC_OK || d->status == 0) {
        broken(d, err);
    } else if (d->status < 200 || d->status > 299) {
        bad_status(d);
    } else {
        d->result.rc = RC_OK;
        d->result.restate_code[0] = d->result.message[0] = 0;
        d->result.http_status = 200;
        d->result.manifest = writer_take(&d->body);
        finish(d);
    }
}

static void on_end(void *ctx, struct http_stream *s) {} /* on_done follows: the request side is closed */

static const struct http_stream_ops stream_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_done = on_done};

/* With the headers in invoker.head. */
static void open_carrier(struct discovery *d, struct slice path)
{
    struct invoker *inv = d->inv;
    if (!d->is_lambda) {
        enum http_client_protocol protocol = d->use_http_11 ? HTTP_CLIENT_H1 : HTTP_CLIENT_NEGOTIATE;
        d->stream.http = http_client_open(inv->client, &d->uri, protocol, SLICE_LIT("GET"), path,
                                          inv->head.items, inv->head.len, &stream_ops, d);
        return;
    }
    struct lambda_request r = {
        .arn = d->uri_text,
        .assume_role_arn = d->assume_role_arn,
        .method = SLICE_LIT("GET"),
        .path = path,
        .headers = inv->head.items,
        .n_headers = inv->head.len,
    };
    d->stream.lambda = lambda_open(inv->lambda, &r, &stream_ops, d);
}

static void send_request(struct discovery *d)
{
    struct invoker *inv = d->inv;
    struct writer path = WRITER_INIT, jwt = WRITER_INIT;
    if (d->is_lambda)
        write_fmt(&path, "/discover");
    else
        uri_path_write(&path, &d->uri, SLICE_LIT("/discover"));
    d->status = 0;
    d->timed_out = false;
    writer_reset(&d->body);

    struct http_header accept = HTTP_HEADER_LIT("accept", MANIFEST_TYPES), signature[2];
    inv->head.len = 0;
    head_push(inv, &accept, 1);
    head_push(inv, d->headers, d->n_headers);
    head_push(inv, signature, signature_headers(inv, SLICE_LIT("/discover"), SLICE_EMPTY, &jwt, signature));
    head_push(inv, inv->extra_headers, inv->config.n_additional_headers);

    open_carrier(d, writer_slice(&path));
    writer_free(&path);
    writer_free(&jwt);
    if (!carrier_is_open(&d->stream)) {
        set_failed(d, RC_OVERLOADED, "META0003",
                   "error when calling '%s': too many requests are waiting for a connection", d->uri_text);
        fail_or_retry(d, true);
        return;
    }
    carrier_end(&d->stream);
    env_timer_arm(inv->env, &d->timer, RESPONSE_TIMEOUT_MS);
}

/* ---- public ---- */

static void copy_headers(struct discovery *d, const struct discovery_request *request)
{
    d->headers = xcalloc(request->n_headers + 1, sizeof(*d->headers));
    for (size_t i = 0; i < request->n_headers; i++) {
        char *name = xstrdup(request->headers[i].name);
        for (char *c = name; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
        d->headers[i] =
            (struct http_header){slice_cstr(name), slice_cstr(xstrdup(request->headers[i].value))};
    }
    d->n_headers = request->n_headers;
}

static enum rc check_address(struct discovery *d, struct err *err)
{
    struct lambda_arn arn;
    if (!d->is_lambda)
        return http_uri_parse(slice_cstr(d->uri_text), &d->uri, err);
    if (!d->inv->lambda)
        return err_set(err, RC_UNSUPPORTED, "this node has no access to AWS Lambda");
    return lambda_arn_parse(d->uri_text, &arn, err);
}

void invoker_discover(struct invoker *inv, const struct discovery_request *request,
                      void (*done)(void *ctx, const struct discovery_result *result), void *ctx)
{
    struct discovery *d = xcalloc(1, sizeof(*d));
    d->inv = inv;
    d->is_lambda = request->uri == NULL;
    d->uri_text = xstrdup(d->is_lambda ? request->arn : request->uri);
    d->assume_role_arn = d->is_lambda && request->assume_role_arn ? xstrdup(request->assume_role_arn) : NULL;
    d->use_http_11 = request->use_http_11;
    d->done = done;
    d->ctx = ctx;
    env_timer_init(&d->timer, on_timer);
    list_push_back(&inv->discoveries, &d->link);
    copy_headers(d, request);
    struct err err = {0};
    if (check_address(d, &err) == RC_OK) {
        send_request(d);
        return;
    }
    set_failed(d, err.rc, "", "The request field '%s' is invalid. Reason: %s", d->is_lambda ? "arn" : "uri",
               err.msg);
    d->result.http_status = 400;
    d->refused = true;
    env_timer_arm(inv->env, &d->timer, 0);
}

void discovery_cancel_all(struct invoker *inv)
{
    LIST_FOREACH_SAFE(l, next, &inv->discoveries)
    {
        struct discovery *d = CONTAINER_OF(l, struct discovery, link);
        if (!d->finished) {
            set_failed(d, RC_CANCELED, "", "the server is shutting down");
            d->finished = true;
            d->done(d->ctx, &d->result);
        }
        env_timer_cancel(inv->env, &d->timer);
        list_remove(&d->link);
        d->inv = NULL;
        if (carrier_is_open(&d->stream))
            carrier_reset(&d->stream);
        else
            discovery_free(d);
    }
}
