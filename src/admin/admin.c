/* Dispatch of the admin API: version prefix, route look-up, limits, life of a call (spec/admin-api.md §1,
 * §2). */
#include "admin/admin_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

struct admin *admin_new(const struct admin_deps *deps)
{
    struct admin *a = xcalloc(1, sizeof(*a));
    a->deps = *deps;
    list_init(&a->calls);
    return a;
}

static void release_if_done(struct admin *a)
{
    if (a->closing && a->n_calls == 0)
        free(a);
}

/* Abandoning a call may end others (those of a batch end their parent), so begin anew after each. */
static bool abandon_one(struct admin *a)
{
    LIST_FOREACH(n, &a->calls)
    if (call_rpc_abandon(CONTAINER_OF(n, struct admin_call, link)))
        return true;
    return false;
}

void admin_free(struct admin *a)
{
    while (abandon_one(a))
        ;
    a->closing = true;
    release_if_done(a);
}

size_t admin_requests_in_progress(const struct admin *a)
{
    return a->n_calls;
}

/* ---- routes ---- */

static struct slice next_segment(struct slice *path)
{
    ptrdiff_t slash = slice_find(*path, '/', 0);
    size_t n = slash < 0 ? path->len : (size_t)slash;
    struct slice segment = slice_sub(*path, 0, n);
    *path = slash < 0 ? slice_sub(*path, n, 0) : slice_sub(*path, n + 1, path->len - n - 1);
    return segment;
}

/* Both begin with '/'. Fills up to ADMIN_PARAMS_MAX raw parameters. */
static bool pattern_matches(const char *pattern, struct slice path, struct slice params[ADMIN_PARAMS_MAX])
{
    struct slice p = slice_sub(slice_cstr(pattern), 1, strlen(pattern) - 1);
    struct slice left = slice_sub(path, 1, path.len - 1);
    unsigned n = 0;
    for (;;) {
        bool pattern_ends = slice_find(p, '/', 0) < 0, path_ends = slice_find(left, '/', 0) < 0;
        struct slice want = next_segment(&p), rest = left;
        if (slice_eq_cstr(want, "{*}")) {
            params[n++] = rest;
            return rest.len > 0;
        }
        struct slice have = next_segment(&left);
        if (slice_eq_cstr(want, "{}")) {
            if (have.len == 0)
                return false;
            params[n++] = have;
        } else if (!slice_eq(want, have)) {
            return false;
        }
        if (pattern_ends || path_ends)
            return pattern_ends && path_ends;
    }
}

/* The route, or NULL with the methods that the path has instead (empty: unknown path). HEAD is answered like
 * GET. */
static const struct admin_route *find_route(struct slice method, struct slice path,
                                            struct slice params[ADMIN_PARAMS_MAX], char allow[64])
{
    allow[0] = '\0';
    for (size_t i = 0; i < admin_n_routes; i++) {
        const struct admin_route *r = &admin_routes[i];
        struct slice found[ADMIN_PARAMS_MAX] = {{0}};
        if (!pattern_matches(r->pattern, path, found))
            continue;
        memcpy(params, found, sizeof(found));
        bool get = strcmp(r->method, "GET") == 0;
        if (slice_eq_cstr(method, r->method) || (get && slice_eq_cstr(method, "HEAD")))
            return r;
        size_t n = strlen(allow);
        snprintf(allow + n, 64 - n, "%s%s%s", n ? "," : "", r->method, get ? ",HEAD" : "");
    }
    return NULL;
}

struct split_target {
    struct slice path, query;
    unsigned version; /* 0: none */
    bool version_1;
};

static struct split_target split(struct slice target)
{
    struct split_target t = {.path = target};
    ptrdiff_t q = slice_find(target, '?', 0);
    if (q >= 0) {
        t.path = slice_sub(target, 0, (size_t)q);
        t.query = slice_sub(target, (size_t)q + 1, target.len - (size_t)q - 1);
    }
    if (slice_eq_cstr(t.path, "/v1"))
        t.version_1 = true;
    if (t.path.len < 4 || t.path.ptr[0] != '/' || t.path.ptr[1] != 'v' || t.path.ptr[3] != '/') {
        if (t.path.len == 3 && t.path.ptr[1] == 'v' && t.path.ptr[2] >= '2' && t.path.ptr[2] <= '4') {
            t.version = t.path.ptr[2] - '0'; /* "/v4" answers like "/" */
            t.path = SLICE_LIT("/");
        }
        return t;
    }
    unsigned version = (unsigned)t.path.ptr[2] - '0';
    if (version == 1 && t.path.len > 4)
        t.version_1 = true;
    if (version < ADMIN_VERSION_MIN || version > ADMIN_VERSION_MAX)
        return t;
    t.version = version;
    /* "/v4/" is no path of ours, "/v4/ui" is. */
    t.path = t.path.len == 4 ? SLICE_LIT("//") : slice_sub(t.path, 3, t.path.len - 3);
    return t;
}

size_t admin_body_limit(struct slice method, struct slice target)
{
    struct split_target t = split(target);
    struct slice params[ADMIN_PARAMS_MAX];
    char allow[64];
    const struct admin_route *r = t.path.len ? find_route(method, t.path, params, allow) : NULL;
    if (!r || r->body == BODY_IGNORED)
        return 0;
    return r->body == BODY_RAW ? ADMIN_RAW_BODY_LIMIT_BYTES : ADMIN_BODY_LIMIT_BYTES;
}

/* ---- calls ---- */

static const char *decoded(struct arena *a, struct slice raw)
{
    struct writer w = WRITER_INIT;
    percent_decode(&w, raw);
    struct slice s = writer_slice(&w);
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\0') {
            s = raw; /* no name or id of ours contains NUL: keep the escape, it will not be found */
            break;
        }
    const char *text = arena_copy_slice(a, s);
    writer_free(&w);
    return text;
}

static void answer_head(struct admin_exchange *x, int status, const char *allow)
{
    struct admin_answer answer = {.status = status, .allow = allow};
    x->respond(x, &answer);
}

static void answer_plain(struct admin_exchange *x, int status, const char *text)
{
    struct admin_answer answer = {.status = status,
                                  .content_type = "text/plain; charset=utf-8",
                                  .body = bytes_static(slice_cstr(text))};
    x->respond(x, &answer);
}

static void start_call(struct admin *a, struct admin_exchange *x, const struct admin_route *route,
                       const struct split_target *t, const struct slice params[ADMIN_PARAMS_MAX])
{
    struct admin_call *c = xcalloc(1, sizeof(*c));
    c->admin = a;
    c->exchange = x;
    c->route = route;
    c->api_version = t->version;
    bool utf8 = true;
    for (unsigned i = 0; i < ADMIN_PARAMS_MAX; i++) {
        c->params[i] = decoded(&c->arena, params[i]);
        utf8 = utf8 && slice_is_utf8(slice_cstr(c->params[i]));
    }
    c->query = arena_copy_slice(&c->arena, t->query);
    if (x->content_type.ptr)
        c->content_type = arena_copy_slice(&c->arena, x->content_type);
    c->body = slice_make(arena_copy_slice(&c->arena, x->body), x->body.len);
    c->body_too_large = x->body_too_large;
    list_push_back(&a->calls, &c->link);
    a->n_calls++;
    if (utf8 || route->handle == handle_ui) /* there is no such file: its index, as for any other */
        route->handle(c);
    else
        answer_text(c, 400, "Invalid URL: Invalid UTF-8 in the path");
}

void admin_handle(struct admin *a, struct admin_exchange *x)
{
    ASSERT(!a->closing);
    struct split_target t = split(x->target);
    if (t.version_1) {
        answer_plain(x, 400,
                     "Unsupported Admin API version V1. This server supports versions between V2 and V4.");
        return;
    }
    struct slice params[ADMIN_PARAMS_MAX] = {{0}};
    char allow[64] = "";
    const struct admin_route *route =
        t.path.len && t.path.ptr[0] == '/' ? find_route(x->method, t.path, params, allow) : NULL;
    if (!route) {
        answer_head(x, allow[0] ? 405 : 404, allow[0] ? allow : NULL);
        return;
    }
    size_t limit = a->deps.config.concurrent_requests_limit;
    if (limit && a->n_calls >= limit) {
        answer_head(x, 429, NULL);
        return;
    }
    start_call(a, x, route, &t, params);
}

/* ---- answers ---- */

static void finish(struct admin_call *c, const struct admin_answer *answer)
{
    struct admin_exchange *x = c->exchange;
    x->respond(x, answer);
    call_close(c);
}

void call_close(struct admin_call *c)
{
    struct admin *a = c->admin;
    list_remove(&c->link);
    a->n_calls--;
    json_decref(c->json);
    arena_free(&c->arena);
    free(c);
    release_if_done(a);
}

void answer_empty(struct admin_call *c, int status)
{
    struct admin_answer answer = {.status = status};
    finish(c, &answer);
}

static void answer_body(struct admin_call *c, int status, const char *content_type, struct writer *w,
                        const char *location)
{
    struct bytes body = writer_take(w);
    struct admin_answer answer = {
        .status = status, .content_type = content_type, .location = location, .body = body};
    finish(c, &answer);
    bytes_unref(&body);
}

void answer_json(struct admin_call *c, int status, struct writer *w, const char *location)
{
    answer_body(c, status, "application/json", w, location);
}

static void answer_message(struct admin_call *c, int status, const char *code, const char *message)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "message", message);
    json_text(&o, "restate_code", code && code[0] ? code : NULL);
    json_close(&o, '}');
    answer_json(c, status, &w, NULL);
}

void answer_error(struct admin_call *c, int status, const char *fmt, ...)
{
    char message[PROBLEM_MESSAGE_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    answer_message(c, status, NULL, message);
}

void answer_query_error(struct admin_call *c, int status, struct writer *message, unsigned retry_after_s)
{
    struct writer w = WRITER_INIT;
    write_slice_raw(&w, SLICE_LIT("{\"message\":"));
    write_json_string(&w, writer_slice(message));
    write_u8(&w, '}');
    writer_free(message);
    struct bytes body = writer_take(&w);
    struct admin_answer answer = {
        .status = status, .content_type = "application/json", .retry_after_s = retry_after_s, .body = body};
    finish(c, &answer);
    bytes_unref(&body);
}

void answer_problem(struct admin_call *c, const struct problem *p)
{
    answer_message(c, p->http_status, p->code, p->message);
}

void answer_text(struct admin_call *c, int status, const char *fmt, ...)
{
    char message[PROBLEM_MESSAGE_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    struct writer w = WRITER_INIT;
    write_slice_raw(&w, slice_cstr(message));
    answer_body(c, status, "text/plain; charset=utf-8", &w, NULL);
}

void answer_file(struct admin_call *c, const char *content_type, struct bytes content)
{
    struct admin_answer answer = {
        .status = 200, .content_type = content_type, .is_ui_file = true, .body = content};
    finish(c, &answer);
}

void answer_redirect(struct admin_call *c, const char *location)
{
    struct admin_answer answer = {.status = 308, .location = location};
    finish(c, &answer);
}

void answer_not_implemented(struct admin_call *c, const char *what)
{
    answer_error(c, 501, "%s not supported by this server yet.", what);
}
