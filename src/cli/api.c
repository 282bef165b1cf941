/* Calls to the admin API: see cli.h (spec/admin-api.md §2, §3, §20). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "base/hash.h"
#include "base/time.h"
#include "cli/cli.h"

/* ---- open, close ---- */

int cli_open(struct tool *t)
{
    struct cli *c = cli_of(t);
    struct http_client_config config;
    c->tool = t;
    t->borders = strcmp(tool_text(t, "table-style"), "borders") == 0;
    const char *format = tool_text(t, "time-format");
    c->time_format = strcmp(format, "human") == 0     ? TIME_HUMAN
                     : strcmp(format, "iso8601") == 0 ? TIME_ISO8601
                                                      : TIME_RFC2822;
    if (tool_flag(t, "insecure-skip-tls-verify"))
        return tool_fail(
            t, "certificates are always verified; name your certificate authority with SSL_CERT_FILE");
    int rc = settings_load(t);
    if (rc != 0)
        return rc;
    c->base = c->settings.admin_url;
    c->request_timeout_ms = tool_number(t, "request-timeout");
    http_client_config_default(&config);
    config.connect_timeout_ms = tool_number(t, "connect-timeout");
    c->loop = loop_new("restate");
    c->http = http_client_new(c->loop, &config);
    return 0;
}

static void free_documents(struct cli *c)
{
    for (size_t i = 0; i < c->documents.len; i++)
        json_decref(c->documents.items[i]);
    VEC_FREE(&c->documents);
}

void cli_close(struct cli *c)
{
    free_documents(c);
    if (!c->loop)
        return;
    http_client_free(c->http);
    loop_run_for(c->loop, 0); /* connections end */
    loop_free(c->loop);
}

json_t *cli_keep(struct tool *t, json_t *doc)
{
    struct cli *c = cli_of(t);
    if (doc)
        VEC_PUSH(&c->documents, doc);
    return doc;
}

enum rc check_seconds(const char *value, struct err *err)
{
    char *end;
    double v = strtod(value, &end);
    return *value && !*end && v >= 0 && v < 1e6 ? RC_OK : err_set(err, RC_INVALID, "not a number of seconds");
}

static void pause_watch(struct tool *t, uint64_t ms)
{
    free_documents(cli_of(t));
    loop_run_for(cli_of(t)->loop, ms);
}

int cli_watch(struct tool *t, int (*once)(struct tool *t))
{
    if (!tool_flag(t, "watch"))
        return once(t);
    if (!api_ready(t))
        return 1;
    return tool_watch(t, cli_of(t)->base, (uint64_t)(strtod(tool_text(t, "interval"), NULL) * 1000), once,
                      pause_watch);
}

/* ---- one call ---- */

static void arm_deadline(struct api_call *call)
{
    struct cli *c = call->cli;
    if (c->request_timeout_ms)
        env_timer_arm(loop_env(c->loop), &call->deadline, c->request_timeout_ms);
}

static void on_head(void *ctx, struct http_stream *s, int status, enum http_version version,
                    const struct http_header *headers, size_t n)
{
    struct api_call *call = ctx;
    call->status = status;
    call->content_type =
        arena_copy_slice(&call->cli->tool->arena, http_header_find(headers, n, "content-type"));
}

static void on_data(void *ctx, struct http_stream *s, struct bytes data)
{
    struct api_call *call = ctx;
    http_stream_consumed(s, data.len);
    if (call->on_data && api_good(call)) {
        arm_deadline(call); /* a long answer may take its time, silence may not */
        call->on_data(call, bytes_slice(data));
        return;
    }
    if (call->buffer.len + data.len > REPLY_MAX) {
        err_set(&call->err, RC_TOO_LARGE, "the answer is larger than %u bytes", REPLY_MAX);
        http_stream_reset(s);
        return;
    }
    write_slice_raw(&call->buffer, bytes_slice(data));
}

static void on_end(void *ctx, struct http_stream *s) {}

static void on_done(void *ctx, struct http_stream *s, const struct err *err)
{
    struct api_call *call = ctx;
    env_timer_cancel(loop_env(call->cli->loop), &call->deadline);
    call->reply =
        slice_make(arena_copy_slice(&call->cli->tool->arena, writer_slice(&call->buffer)), call->buffer.len);
    writer_free(&call->buffer);
    if (err->rc != RC_OK) {
        call->status = 0;
        if (call->timed_out)
            err_set(&call->err, RC_TIMEOUT, "no answer within the time limit");
        else if (call->err.rc == RC_OK)
            call->err = *err;
    }
    if (--*call->left == 0)
        loop_stop(call->cli->loop);
}

static void on_deadline(struct env_timer *timer)
{
    struct api_call *call = CONTAINER_OF(timer, struct api_call, deadline);
    call->timed_out = true;
    http_stream_reset(call->stream);
}

static const struct http_stream_ops call_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_done = on_done};

static const char *full_path(struct tool *t, const struct api_call *call, const struct http_uri *base)
{
    struct slice prefix = base->path; /* ends with `/`, the path begins with one */
    const char *version =
        call->no_prefix || !cli_of(t)->version ? "" : tool_format(t, "/v%u", cli_of(t)->version);
    return tool_format(t, "%.*s%s%s", (int)(prefix.len ? prefix.len - 1 : 0), (const char *)prefix.ptr,
                       version, call->path);
}

static void start(struct tool *t, struct api_call *call, const struct http_uri *base)
{
    struct cli *c = cli_of(t);
    struct http_header headers[6];
    struct utsname os = {.machine = ""};
    size_t n = 0, length = call->body ? strlen(call->body) : 0;
    uname(&os);
    const char *agent = tool_format(t, "restate-cli/" CLI_VERSION " linux-%s", os.machine);
    headers[n++] = (struct http_header){SLICE_LIT("accept"), slice_cstr(call->accept ? call->accept : "*/*")};
    headers[n++] = (struct http_header){SLICE_LIT("user-agent"), slice_cstr(agent)};
    if (call->body) {
        headers[n++] = HTTP_HEADER_LIT("content-type", "application/json");
        headers[n++] =
            (struct http_header){SLICE_LIT("content-length"), slice_cstr(tool_format(t, "%zu", length))};
    }
    if (c->settings.token)
        headers[n++] = (struct http_header){SLICE_LIT("authorization"),
                                            slice_cstr(tool_format(t, "Bearer %s", c->settings.token))};
    call->stream = http_client_open(c->http, base, HTTP_CLIENT_H1, slice_cstr(call->method),
                                    slice_cstr(full_path(t, call, base)), headers, n, &call_ops, call);
    if (call->body)
        http_stream_write(call->stream, bytes_copy(slice_make(call->body, length)));
    http_stream_end(call->stream);
    arm_deadline(call);
}

void api_run(struct tool *t, struct api_call *calls, size_t n)
{
    struct cli *c = cli_of(t);
    struct http_uri base;
    struct err err = {0};
    size_t left = n;
    enum rc rc = http_uri_parse(slice_cstr(c->base), &base, &err);
    for (size_t i = 0; i < n; i++) {
        struct api_call *call = &calls[i];
        call->cli = c;
        call->left = &left;
        call->status = 0;
        call->err = err;
        call->buffer = WRITER_INIT;
        env_timer_init(&call->deadline, on_deadline);
        if (rc == RC_OK)
            start(t, call, &base);
    }
    if (rc == RC_OK && n)
        loop_run(c->loop);
}

/* ---- errors ---- */

json_t *api_json(struct tool *t, const struct api_call *call, json_error_t *error)
{
    return cli_keep(t, json_loadb((const char *)call->reply.ptr, call->reply.len, 0, error));
}

static const char *call_url(struct tool *t, const struct api_call *call)
{
    struct http_uri base;
    if (http_uri_parse(slice_cstr(cli_of(t)->base), &base, NULL) != RC_OK)
        return cli_of(t)->base;
    if (base.is_unix)
        return tool_format(t, "%s%s", cli_of(t)->base, full_path(t, call, &base));
    return tool_format(t, "%s://%.*s%s", base.tls ? "https" : "http", SLICE_FMT(base.authority),
                       full_path(t, call, &base));
}

const char *api_reason(struct tool *t, const struct api_call *call)
{
    json_t *doc = api_json(t, call, NULL);
    const char *message = jtext(doc, "message"), *code = jtext(doc, "restate_code");
    if (call->status == 0)
        return tool_format(t, "%s", call->err.msg);
    if (!*message)
        message = call->reply.len
                      ? tool_format(t, "%.*s", (int)MIN(call->reply.len, 2000), (const char *)call->reply.ptr)
                      : http_reason(call->status);
    return tool_format(t, "%s %s", *code ? code : "<UNKNOWN>", message);
}

int api_failed(struct tool *t, const struct api_call *call)
{
    const char *reason = api_reason(t, call);
    if (call->status == 0)
        return tool_fail(t, "Unable to connect to the Restate server '%s': %s", cli_of(t)->base, reason);
    tool_fail(t, "%s", reason);
    fprintf(stderr, "  -> Http status code %d %s at '%s'\n", call->status, http_reason(call->status),
            call_url(t, call));
    return 1;
}

/* ---- the version of the API ---- */

static bool use_version(struct tool *t, const json_t *doc)
{
    struct cli *c = cli_of(t);
    int64_t low = jint(doc, "min_admin_api_version"), high = jint(doc, "max_admin_api_version");
    snprintf(c->server_version, sizeof(c->server_version), "%s", jtext(doc, "version"));
    if (*jtext(doc, "ingress_endpoint"))
        snprintf(c->advertised_ingress, sizeof(c->advertised_ingress), "%s", jtext(doc, "ingress_endpoint"));
    if (low > API_VERSION_MAX || high < API_VERSION_MIN) {
        tool_fail(t,
                  "The server '%s' (version %s) speaks the admin API versions %lld to %lld, this tool %d to "
                  "%d. Please use "
                  "a tool of the server's version.",
                  c->base, c->server_version, (long long)low, (long long)high, API_VERSION_MIN,
                  API_VERSION_MAX);
        return false;
    }
    c->version = (unsigned)MIN(high, API_VERSION_MAX);
    return true;
}

bool api_ready(struct tool *t)
{
    struct cli *c = cli_of(t);
    if (c->version)
        return true;
    struct api_call call = {.method = "GET", .path = "/version", .no_prefix = true};
    api_run(t, &call, 1);
    json_t *doc = api_good(&call) ? api_json(t, &call, NULL) : NULL;
    if (json_is_integer(json_member(doc, "min_admin_api_version")) &&
        json_is_integer(json_member(doc, "max_admin_api_version")))
        return use_version(t, doc);
    struct api_call health = {.method = "GET", .path = "/health", .no_prefix = true};
    if (call.status)
        api_run(t, &health, 1);
    if (call.status && !api_good(&health)) {
        tool_fail(
            t,
            "What answers at '%s' is not the admin API of a Restate server: %d to GET /version, %d to GET "
            "/health.",
            c->base, call.status, health.status);
        return false;
    }
    if (!call.status) {
        tool_fail_cause(
            t, call.err.msg,
            "Unable to connect to the Restate server '%s'. Please make sure that it is running and "
            "reachable.",
            c->base);
        return false;
    }
    tool_warning_box(
        t, "The server does not say which versions of the admin API it speaks. Trying without one.");
    return true;
}

/* ---- the usual calls ---- */

static json_t *parsed(struct tool *t, struct api_call *call)
{
    json_error_t error;
    if (!api_good(call)) {
        api_failed(t, call);
        return NULL;
    }
    json_t *doc = api_json(t, call, &error);
    if (!doc)
        tool_fail(t, "(Protocol error) the answer of '%s' is no JSON: %s", call_url(t, call), error.text);
    return doc;
}

json_t *api_get(struct tool *t, const char *path)
{
    return api_send(t, "GET", path, NULL);
}

json_t *api_send(struct tool *t, const char *method, const char *path, const char *body)
{
    struct api_call call = {.method = method, .path = path, .body = body};
    if (!api_ready(t))
        return NULL;
    api_run(t, &call, 1);
    return parsed(t, &call);
}

bool api_do(struct tool *t, const char *method, const char *path, const char *body)
{
    struct api_call call = {.method = method, .path = path, .body = body};
    if (!api_ready(t))
        return false;
    api_run(t, &call, 1);
    if (!api_good(&call))
        api_failed(t, &call);
    return api_good(&call);
}

const char *url_part(struct tool *t, const char *text)
{
    struct writer w = WRITER_INIT;
    percent_encode(&w, slice_cstr(text));
    return tool_take_text(t, &w);
}
