/* An admin API over a fake router, a fake discovery and a metadata store in memory, which survives
 * fixture_close. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin.h"
#include "admin/ui.h"
#include "unit/metadata/fake_env.h"
#include "unit/metadata/memory_kv.h"

#define RPC_SCRIPT_MAX 64

struct fixture {
    struct fake_env fenv;
    struct kv *kv;
    struct schema_store *store;
    struct schema_defaults defaults;
    const struct schema_fixed_clusters *fixed_clusters;
    struct admin *admin;
    struct admin_ui *ui;
    /* router: requests are answered one after the other with the scripted replies, the last one repeats */
    struct partition_router router;
    struct rpc_reply replies[RPC_SCRIPT_MAX];
    size_t n_replies, next_reply;
    struct partition_rpc *waiting[2048];
    size_t n_waiting;
    struct env_task router_task;
    enum rpc_kind kinds[4096]; /* what was asked */
    size_t n_kinds;
    struct partition_rpc last; /* copy of the last request, without its record */
    struct bytes last_record;
    /* discovery */
    struct admin_discovery_result discovered;
    size_t discoveries;
    struct admin_discovery_request last_discovery;
    char last_uri[256];
    void (*discovery_done)(void *ctx, const struct admin_discovery_result *result);
    void *discovery_ctx;
    struct env_task discovery_task;
    /* previews: one at a time, answered with these pieces (NULL ends them), then `preview_failure` */
    struct admin_preview_request preview;
    char preview_serde[64], preview_body[64];
    const char *preview_pieces[4], *preview_failure;
    size_t preview_consumed;
    bool preview_canceled, preview_stalls; /* stalls: nothing comes by itself */
    struct env_task preview_task;
    /* the last answer */
    bool cut; /* it was not complete */
    struct writer pieces;
    int answers;
    int status;
    char content_type[64], location[128], allow[64];
    char *body;
};

static inline void fixture_submit(struct partition_router *r, struct partition_rpc *rpc)
{
    struct fixture *f = CONTAINER_OF(r, struct fixture, router);
    assert_true(f->n_waiting < ARRAY_LEN(f->waiting));
    f->waiting[f->n_waiting++] = rpc;
    f->kinds[f->n_kinds++] = rpc->kind;
    f->last = *rpc;
    bytes_unref(&f->last_record);
    f->last_record = rpc->record;
    rpc->record = BYTES_EMPTY;
    env_defer(&f->fenv.env, &f->router_task);
}

static inline void fixture_reply(struct env_task *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, router_task);
    struct partition_rpc *all[2048];
    size_t n = f->n_waiting;
    memcpy(all, f->waiting, n * sizeof(*all));
    f->n_waiting = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(f->n_replies > 0);
        struct rpc_reply reply = f->replies[MIN(f->next_reply, f->n_replies - 1)];
        f->next_reply++;
        all[i]->reply(all[i], &reply);
    }
}

static inline void fixture_discover(void *ctx, const struct admin_discovery_request *request,
                                    void (*done)(void *, const struct admin_discovery_result *),
                                    void *done_ctx)
{
    struct fixture *f = ctx;
    f->discoveries++;
    f->last_discovery = *request;
    snprintf(f->last_uri, sizeof(f->last_uri), "%s", request->uri ? request->uri : request->arn);
    f->discovery_done = done;
    f->discovery_ctx = done_ctx;
    env_defer(&f->fenv.env, &f->discovery_task);
}

static inline void fixture_discovered(struct env_task *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, discovery_task);
    f->discovery_done(f->discovery_ctx, &f->discovered);
}

static inline void *fixture_preview(void *ctx, const struct admin_preview_request *request)
{
    struct fixture *f = ctx;
    f->preview = *request;
    f->preview_consumed = 0;
    f->preview_canceled = false;
    snprintf(f->preview_serde, sizeof(f->preview_serde), "%.*s/%s/%.*s", SLICE_FMT(request->service),
             request->encode ? "encode" : "decode", SLICE_FMT(request->serde));
    snprintf(f->preview_body, sizeof(f->preview_body), "%.*s", SLICE_FMT(request->body));
    if (!f->preview_stalls)
        env_defer(&f->fenv.env, &f->preview_task);
    return f;
}
static inline void fixture_previewed(struct env_task *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, preview_task);
    for (size_t i = 0; i < ARRAY_LEN(f->preview_pieces) && f->preview_pieces[i]; i++)
        f->preview.on_data(f->preview.ctx, bytes_static(slice_cstr(f->preview_pieces[i])));
    f->preview.on_done(f->preview.ctx, f->preview_failure);
}
static inline void fixture_preview_consumed(void *preview, size_t n)
{
    ((struct fixture *)preview)->preview_consumed += n;
}
static inline void fixture_preview_cancel(void *preview)
{
    ((struct fixture *)preview)->preview_canceled = true;
}

static inline void fixture_changed(void *ctx, struct schema *schema) {}
static inline void fixture_loaded(void *ctx, const struct err *err)
{
    if (err->rc)
        fail_msg("%s", err->msg);
}

static size_t one_member(void *ctx, uint32_t *out, size_t cap)
{
    out[0] = 1;
    return 1;
}

static inline void fixture_open(struct fixture *f, size_t limit)
{
    f->store = schema_store_new(&f->fenv.env, f->kv, fixture_changed, fixture_loaded, f);
    fake_env_run(&f->fenv);
    struct admin_deps deps = {
        .ui = f->ui = admin_ui_own(),
        .env = &f->fenv.env,
        .router = &f->router,
        .schema = f->store,
        .defaults = &f->defaults,
        .discovery = {fixture_discover, f},
        .previews = {fixture_preview, fixture_preview_consumed, fixture_preview_cancel, f},
        .fixed_clusters = f->fixed_clusters,
        .info = {.version = "1.7.12",
                 .ingress_endpoint = "http://127.0.0.1:8080/",
                 .cluster_name = "localcluster",
                 .metadata_members = one_member},
        .config = {.concurrent_requests_limit = limit},
    };
    f->admin = admin_new(&deps);
}

static inline struct fixture *fixture_new(void)
{
    static const struct partition_router_ops ops = {.submit = fixture_submit};
    struct fixture *f = calloc(1, sizeof(*f));
    fake_env_init(&f->fenv);
    f->kv = memory_kv_new(&f->fenv.env);
    f->router.ops = &ops;
    env_task_init(&f->router_task, fixture_reply);
    env_task_init(&f->discovery_task, fixture_discovered);
    env_task_init(&f->preview_task, fixture_previewed);
    f->discovered.restate_code = f->discovered.message = f->discovered.sdk_version = "";
    f->defaults = (struct schema_defaults){.inactivity_timeout_ms = 60000,
                                           .abort_timeout_ms = 600000,
                                           .journal_retention_ms = 86400000,
                                           .idempotency_retention_ms = 86400000,
                                           .workflow_completion_retention_ms = 86400000,
                                           .max_journal_retention_ms = OPTION_UNSET,
                                           .max_idempotency_retention_ms = OPTION_UNSET,
                                           .max_workflow_completion_retention_ms = OPTION_UNSET,
                                           .retry_initial_interval_ms = 500,
                                           .retry_max_interval_ms = 60000,
                                           .retry_max_attempts = 70,
                                           .retry_max_attempts_cap = OPTION_UNSET,
                                           .retry_factor = 2,
                                           .retry_on_max_attempts = ON_MAX_ATTEMPTS_PAUSE};
    fixture_open(f, 0);
    return f;
}

static inline void fixture_close(struct fixture *f)
{
    admin_free(f->admin);
    admin_ui_free(f->ui);
    fake_env_run(&f->fenv);
    schema_store_free(f->store);
}

static inline void fixture_free(struct fixture *f)
{
    fixture_close(f);
    bytes_unref(&f->last_record);
    kv_close(f->kv);
    fake_env_free(&f->fenv);
    writer_free(&f->pieces);
    free(f->body);
    free(f);
}

struct fixture_exchange {
    struct admin_exchange x;
    struct fixture *f;
};

static inline void fixture_answered(struct admin_exchange *x, const struct admin_answer *a)
{
    struct fixture_exchange *e = CONTAINER_OF(x, struct fixture_exchange, x);
    struct fixture *f = e->f;
    f->answers++;
    f->status = a->status;
    snprintf(f->content_type, sizeof(f->content_type), "%s", a->content_type ? a->content_type : "");
    snprintf(f->location, sizeof(f->location), "%s", a->location ? a->location : "");
    snprintf(f->allow, sizeof(f->allow), "%s", a->allow ? a->allow : "");
    free(f->body);
    f->body = slice_dup_cstr(bytes_slice(a->body));
    free(e);
}

/* An answer in pieces. */
static inline void fixture_started(struct admin_exchange *x, const struct admin_answer *a)
{
    struct fixture *f = CONTAINER_OF(x, struct fixture_exchange, x)->f;
    f->status = a->status;
    snprintf(f->content_type, sizeof(f->content_type), "%s", a->content_type ? a->content_type : "");
    writer_reset(&f->pieces);
}
static inline size_t fixture_written(struct admin_exchange *x, struct bytes take)
{
    write_slice_raw(&CONTAINER_OF(x, struct fixture_exchange, x)->f->pieces, bytes_slice(take));
    bytes_unref(&take);
    return 0;
}
static inline void fixture_ended(struct admin_exchange *x, bool complete)
{
    struct fixture_exchange *e = CONTAINER_OF(x, struct fixture_exchange, x);
    struct fixture *f = e->f;
    f->answers++;
    f->cut = !complete;
    free(f->body);
    f->body = slice_dup_cstr(writer_slice(&f->pieces));
    free(e);
}

/* Send a request without waiting for the answer. */
static inline struct admin_exchange *send_with(struct fixture *f, const char *method, const char *target,
                                               const char *content_type, struct slice body)
{
    struct fixture_exchange *e = calloc(1, sizeof(*e));
    e->f = f;
    e->x = (struct admin_exchange){.method = slice_cstr(method),
                                   .target = slice_cstr(target),
                                   .body = body,
                                   .respond = fixture_answered,
                                   .start = fixture_started,
                                   .write = fixture_written,
                                   .end = fixture_ended};
    if (content_type)
        e->x.content_type = slice_cstr(content_type);
    if (body.len > ADMIN_BODY_LIMIT_BYTES) {
        e->x.body = SLICE_EMPTY;
        e->x.body_too_large = true;
    }
    admin_handle(f->admin, &e->x);
    return &e->x;
}

/* Send and run until it is answered; the body is JSON. */
static inline int request(struct fixture *f, const char *method, const char *target, const char *body)
{
    f->answers = 0;
    send_with(f, method, target, body ? "application/json" : NULL, slice_cstr(body));
    fake_env_run(&f->fenv);
    for (int i = 0; i < 200 && !f->answers; i++)
        fake_env_advance(&f->fenv, 100);
    assert_int_equal(f->answers, 1);
    return f->status;
}

static inline void expect(struct fixture *f, const char *method, const char *target, const char *body,
                          int status, const char *answer)
{
    request(f, method, target, body);
    if (f->status != status || (answer && strcmp(f->body, answer) != 0))
        fail_msg("%s %s %s\n  gave %d %s\n  want %d %s", method, target, body ? body : "", f->status, f->body,
                 status, answer ? answer : "(anything)");
}

static inline void expect_error(struct fixture *f, const char *method, const char *target, const char *body,
                                int status, const char *message)
{
    char json[1024];
    snprintf(json, sizeof(json), "{\"message\":\"%s\",\"restate_code\":null}", message);
    expect(f, method, target, body, status, json);
    assert_string_equal(f->content_type, "application/json");
}

/* Status and beginning of a text answer. */
static inline void expect_text(struct fixture *f, const char *method, const char *target, const char *body,
                               int status, const char *begins)
{
    request(f, method, target, body);
    if (f->status != status || strncmp(f->body, begins, strlen(begins)) != 0)
        fail_msg("%s %s %s\n  gave %d %s\n  want %d %s", method, target, body ? body : "", f->status, f->body,
                 status, begins);
    assert_string_equal(f->content_type, "text/plain; charset=utf-8");
}

static inline void replies(struct fixture *f, size_t n, const struct rpc_reply *list)
{
    memcpy(f->replies, list, n * sizeof(*list));
    f->n_replies = n;
    f->next_reply = f->n_kinds = 0;
}
static inline void replies_with(struct fixture *f, enum rpc_status status)
{
    struct rpc_reply r = {.status = status};
    replies(f, 1, &r);
}

static inline void announces(struct fixture *f, const char *manifest)
{
    f->discovered = (struct admin_discovery_result){
        .restate_code = "", .message = "", .sdk_version = "sdk/1.0", .manifest = slice_cstr(manifest)};
}

#define MANIFEST(services)                                                                                   \
    "{\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"protocolMode\":\"BIDI_STREAM\",\"services\":"      \
    "[" services "]}"
#define GREETER "{\"name\":\"Greeter\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"greet\"}]}"
#define COUNTER                                                                                              \
    "{\"name\":\"Counter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"add\",\"ty\":\"EXCLUSIVE\"}," \
    "{\"name\":\"get\",\"ty\":\"SHARED\"}]}"
#define WF "{\"name\":\"Wf\",\"ty\":\"WORKFLOW\",\"handlers\":[{\"name\":\"run\",\"ty\":\"WORKFLOW\"}]}"

/* The id in the last answer. */
static inline const char *answered_id(struct fixture *f)
{
    static char id[64];
    const char *at = strstr(f->body, "\"id\":\"");
    assert_non_null(at);
    snprintf(id, sizeof(id), "%.26s", at + 6);
    return id;
}

static inline int with_fixture(void **state)
{
    *state = fixture_new();
    return 0;
}
static inline int without_fixture(void **state)
{
    fixture_free(*state);
    return 0;
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, with_fixture, without_fixture)
