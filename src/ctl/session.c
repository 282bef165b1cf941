/* Connections and single calls: see ctl.h. */
#include <stdlib.h>

#include "base/log.h"
#include "base/time.h"
#include "ctl/ctl.h"

static struct http_client_config client_config(struct tool *t)
{
    struct http_client_config config;
    http_client_config_default(&config);
    config.connect_timeout_ms = tool_number(t, "connect-timeout");
    config.ca_file = tool_text(t, "tls-ca");
    config.cert_file = tool_text(t, "tls-cert");
    config.key_file = tool_text(t, "tls-key");
    config.tls_skip_verify = tool_flag(t, "insecure-skip-tls-verify");
    return config;
}

const char *address_normal(struct tool *t, const char *text, struct err *err)
{
    struct http_uri uri;
    bool has_scheme = strstr(text, "://") || strncmp(text, "unix:", 5) == 0;
    const char *full = has_scheme ? text : tool_format(t, "http://%s", text);
    if (http_uri_parse(slice_cstr(full), &uri, err) != RC_OK)
        return NULL;
    if (uri.is_unix)
        return full;
    return tool_format(t, "%s://%.*s%.*s", uri.tls ? "https" : "http", SLICE_FMT(uri.authority),
                       SLICE_FMT(uri.path));
}

static int read_seeds(struct tool *t, struct ctl *c)
{
    struct err err = {0};
    const char *one = tool_text(t, "single-address");
    c->single = one != NULL;
    size_t n = 0;
    while (!one && tool_item(t, "address", n))
        n++;
    c->n_seeds = one ? 1 : n;
    c->seeds = arena_array(&t->arena, const char *, c->n_seeds ? c->n_seeds : 1);
    for (size_t i = 0; i < c->n_seeds; i++) {
        c->seeds[i] = address_normal(t, one ? one : tool_item(t, "address", i), &err);
        if (!c->seeds[i])
            return tool_usage_error(t, "%s", err.msg);
    }
    return 0;
}

int ctl_open(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    c->tool = t;
    t->strict = tool_flag(t, "strict");
    t->borders = strcmp(tool_text(t, "table-style"), "borders") == 0;
    const char *format = tool_text(t, "time-format");
    c->time_format = strcmp(format, "human") == 0     ? TIME_HUMAN
                     : strcmp(format, "iso8601") == 0 ? TIME_ISO8601
                                                      : TIME_RFC2822;
    if (!tool_text(t, "tls-cert") != !tool_text(t, "tls-key"))
        return tool_usage_error(t, "--tls-cert and --tls-key are given together or not at all");
    t->verbosity = (int)tool_count(t, "verbose") - (int)tool_count(t, "quiet");
    c->request_timeout_ms = tool_number(t, "request-timeout");
    c->message_limit = tool_number(t, "message-size-limit") + (1u << 20);
    struct http_client_config config = client_config(t);
    c->loop = loop_new("restatectl");
    c->http = http_client_new(c->loop, &config);
    return read_seeds(t, c);
}

void ctl_close(struct ctl *c)
{
    if (!c->loop)
        return;
    http_client_free(c->http);
    loop_run_for(c->loop, 0); /* connections end */
    loop_free(c->loop);
    for (size_t i = 0; i < c->peers.len; i++) {
        free(c->peers.items[i]->address);
        free(c->peers.items[i]);
    }
    VEC_FREE(&c->peers);
}

void ctl_forget(struct ctl *c)
{
    c->nodes = NULL;
    c->logs = NULL;
    c->partitions = NULL;
    for (size_t i = 0; i < c->peers.len; i++)
        c->peers.items[i]->dead = false;
}

struct peer *ctl_peer(struct ctl *c, const char *address)
{
    for (size_t i = 0; i < c->peers.len; i++)
        if (strcmp(c->peers.items[i]->address, address) == 0)
            return c->peers.items[i];
    struct peer *p = xcalloc(1, sizeof(*p));
    p->address = xstrdup(address);
    VEC_PUSH(&c->peers, p);
    return p;
}

/* ---- calls ---- */

static void on_message(void *ctx, struct bytes message)
{
    struct rpc *r = ctx;
    if (r->on_message) {
        r->on_message(r, message);
    } else if (!r->has_reply) {
        uint8_t *copy = arena_alloc(&r->ctl->tool->arena, message.len + 1);
        if (message.len)
            memcpy(copy, message.ptr, message.len);
        r->reply = bytes_static(slice_make(copy, message.len));
    }
    r->has_reply = true;
}

static void say_ended(const struct rpc *r)
{
    struct tool *t = r->ctl->tool;
    unsigned long long ms = (os_mono_ns() - r->began_ns) / 1000000;
    if (r->status.code == GRPC_OK)
        tool_log(t, LOG_INFO, "restatectl::call", "%s %s: %llu ms", r->address, r->path, ms);
    else
        tool_log(t, LOG_WARN, "restatectl::call", "%s %s: %s (%llu ms)", r->address, r->path,
                 status_text(t, &r->status), ms);
}

static void on_done(void *ctx, const struct grpc_status *status)
{
    struct rpc *r = ctx;
    struct peer *p = ctl_peer(r->ctl, r->address);
    r->status = *status;
    p->connected |= !status->transport;
    say_ended(r);
    if (--*r->left == 0)
        loop_stop(r->ctl->loop);
}

static const struct grpc_client_ops rpc_ops = {on_message, on_done};

static void fail_rpc(struct rpc *r, enum grpc_code code, const char *message)
{
    r->status = (struct grpc_status){.code = code, .transport = true};
    snprintf(r->status.message, sizeof(r->status.message), "%s", message);
    bytes_unref(&r->request);
    --*r->left;
}

void rpc_run(struct ctl *c, struct rpc *calls, size_t n)
{
    size_t left = n;
    for (size_t i = 0; i < n; i++) {
        struct rpc *r = &calls[i];
        struct http_uri uri;
        struct err err = {0};
        r->ctl = c;
        r->left = &left;
        r->has_reply = false;
        r->began_ns = os_mono_ns();
        if (http_uri_parse(slice_cstr(r->address), &uri, &err) != RC_OK) {
            fail_rpc(r, GRPC_UNAVAILABLE, err.msg);
            continue;
        }
        if (r->dead) {
            fail_rpc(r, GRPC_UNAVAILABLE,
                     tool_format(c->tool,
                                 "Node %s was previously flagged as unreachable, not attempting to connect",
                                 r->address));
            continue;
        }
        uint64_t timeout = r->timeout_ms == 0            ? c->request_timeout_ms
                           : r->timeout_ms == UINT64_MAX ? 0
                                                         : r->timeout_ms;
        grpc_client_call(c->loop, c->http, &uri, r->path, r->request, timeout, c->message_limit, &rpc_ops, r);
        r->request = BYTES_EMPTY;
    }
    if (left)
        loop_run(c->loop);
}

/* ---- texts of statuses ---- */

const char *grpc_description(enum grpc_code code)
{
    static const char *const texts[] = {
        "The operation completed successfully",
        "The operation was cancelled",
        "Unknown error",
        "Client specified an invalid argument",
        "Deadline expired before operation could complete",
        "Some requested entity was not found",
        "Some entity that we attempted to create already exists",
        "The caller does not have permission to execute the specified operation",
        "Some resource has been exhausted",
        "The system is not in a state required for the operation's execution",
        "The operation was aborted",
        "Operation was attempted past the valid range",
        "Operation is not implemented or not supported",
        "Internal error",
        "The service is currently unavailable",
        "Unrecoverable data loss or corruption",
        "The request does not have valid authentication credentials",
    };
    return texts[code < ARRAY_LEN(texts) ? code : GRPC_UNKNOWN];
}

const char *status_text(struct tool *t, const struct grpc_status *s)
{
    const char *hint =
        s->code == GRPC_OUT_OF_RANGE
            ? "\n💡 Please contact Restate server admin/operator and ask for the configured message sizes."
            : "";
    if (!s->message[0])
        return tool_format(t, "%s%s", grpc_description(s->code), hint);
    return tool_format(t, "%s: %s%s", grpc_description(s->code), s->message, hint);
}

const char *status_raw(struct tool *t, const struct grpc_status *s)
{
    struct writer quoted = WRITER_INIT;
    write_json_string(&quoted, slice_cstr(s->message));
    const char *text = s->message[0] ? tool_format(t, "code: '%s', message: %.*s", grpc_description(s->code),
                                                   SLICE_FMT(writer_slice(&quoted)))
                                     : tool_format(t, "code: '%s'", grpc_description(s->code));
    writer_free(&quoted);
    return text;
}
