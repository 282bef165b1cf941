/* Whole requests: `METHOD SP target LF body`. No crash, every request is answered exactly once, an answer
 * with a body has a content type, and JSON answers are JSON. */
#include <stdlib.h>
#include <unistd.h>

#include "../unit/metadata/fake_env.h"
#include "admin/admin.h"
#include "metadata/json.h"
#include "metadata/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_env fenv;
static struct schema_store *store;
static struct admin *api;
static struct partition_rpc *waiting[2048];
static size_t n_waiting, n_answers;

/* A key-value store that holds nothing and forgets what it is told. */
static struct list kv_queue;
static void kv_serve(struct env_task *t)
{
    struct list *n;
    while ((n = list_pop_front(&kv_queue))) {
        struct kv_op *op = CONTAINER_OF(n, struct kv_op, link);
        struct kv_result r = {.message = ""};
        bytes_unref(&op->value);
        op->done(op, &r);
    }
}
static struct env_task kv_task;
static void kv_take(struct kv *kv, struct kv_op *op)
{
    list_push_back(&kv_queue, &op->link);
    env_defer(&fenv.env, &kv_task);
}
static void rpc_serve(struct env_task *t)
{
    size_t n = n_waiting;
    struct partition_rpc *all[2048];
    memcpy(all, waiting, n * sizeof(*all));
    n_waiting = 0;
    for (size_t i = 0; i < n; i++) {
        struct rpc_reply r = {.status = (enum rpc_status)(all[i]->id.uuid.lo % (RPC_QUEUES_FULL + 1)),
                              .invocation_status = INV_PAUSED,
                              .pinned = true,
                              .protocol_version = 6};
        all[i]->reply(all[i], &r);
    }
}
static struct env_task rpc_task;
static void rpc_take(struct partition_router *r, struct partition_rpc *rpc)
{
    bytes_unref(&rpc->record);
    waiting[n_waiting++] = rpc;
    env_defer(&fenv.env, &rpc_task);
}
static void discover(void *ctx, const struct admin_discovery_request *request,
                     void (*done)(void *, const struct admin_discovery_result *), void *done_ctx)
{
    static const char manifest[] = "{\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"protocolMode\":"
                                   "\"BIDI_STREAM\",\"services\":[{\"name\":\"A\","
                                   "\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"h\"}]}]}";
    struct admin_discovery_result r = {
        .restate_code = "", .message = "", .sdk_version = "", .manifest = SLICE_LIT(manifest)};
    done(done_ctx, &r);
}
/* One preview at a time, which fails. */
static struct admin_preview_request preview;
static void preview_fails(struct env_task *t)
{
    preview.on_done(preview.ctx, "nobody listens");
}
static struct env_task preview_task;
static void *preview_start(void *ctx, const struct admin_preview_request *request)
{
    preview = *request;
    env_defer(&fenv.env, &preview_task);
    return &preview;
}
static void preview_consumed(void *p, size_t n) {}
static void preview_cancel(void *p) {}
static void changed(void *ctx, struct schema *schema) {}
static void loaded(void *ctx, const struct err *err) {}
static struct rule_store *rules;
static void rules_changed(void *ctx, const struct rule_book *book) {}

static void start(void)
{
    static const struct kv_provider provider = {kv_take, NULL};
    static struct kv kv = {&provider};
    static const struct partition_router_ops ops = {.submit = rpc_take};
    static struct partition_router router = {&ops};
    static const struct schema_defaults defaults = {.retry_factor = 2};
    fake_env_init(&fenv);
    list_init(&kv_queue);
    env_task_init(&kv_task, kv_serve);
    env_task_init(&rpc_task, rpc_serve);
    env_task_init(&preview_task, preview_fails);
    store = schema_store_new(&fenv.env, &kv, changed, loaded, NULL);
    rules = rule_store_new(&fenv.env, &kv, 1u << 30, rules_changed, NULL);
    fake_env_run(&fenv);
    struct admin_deps deps = {.env = &fenv.env,
                              .router = &router,
                              .schema = store,
                              .rules = rules,
                              .defaults = &defaults,
                              .discovery = {discover, NULL},
                              .previews = {preview_start, preview_consumed, preview_cancel, NULL},
                              .info = {.version = "1.7.12", .cluster_name = "c"}};
    api = admin_new(&deps);
}

static void stop(void)
{
    admin_free(api);
    schema_store_free(store);
    rule_store_free(rules);
    fake_env_run(&fenv);
    fake_env_free(&fenv);
}

static void answered(struct admin_exchange *x, const struct admin_answer *a)
{
    n_answers++;
    ASSERT(a->status >= 200 && a->status < 600);
    ASSERT((a->body.len == 0) || a->content_type);
    if (a->content_type && strcmp(a->content_type, "application/json") == 0) {
        json_t *v = json_loadb((const char *)a->body.ptr, a->body.len, JSON_ALLOW_NUL, NULL);
        ASSERT_MSG(v, "%.*s", (int)a->body.len, (const char *)a->body.ptr);
        json_decref(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice all = slice_make(data, size);
    ptrdiff_t blank = slice_find(all, ' ', 0), line = blank < 0 ? -1 : slice_find(all, '\n', (size_t)blank);
    if (line < 0)
        return 0;
    size_t body = (size_t)line + 1;
    struct admin_exchange x = {.method = slice_sub(all, 0, (size_t)blank),
                               .target = slice_sub(all, (size_t)blank + 1, (size_t)line - (size_t)blank - 1),
                               .content_type = SLICE_LIT("application/json"),
                               .body = slice_sub(all, body, all.len - body),
                               .respond = answered};
    n_answers = 0;
    start();
    struct admin_exchange first = {.method = SLICE_LIT("POST"),
                                   .target = SLICE_LIT("/deployments"),
                                   .content_type = SLICE_LIT("application/json"),
                                   .body = SLICE_LIT("{\"uri\":\"http://h/\"}"),
                                   .respond = answered};
    admin_handle(api, &first);
    fake_env_run(&fenv);
    ASSERT(n_answers == 1);
    n_answers = 0;
    admin_body_limit(x.method, x.target);
    admin_handle(api, &x);
    fake_env_run(&fenv);
    ASSERT(n_answers == 1);
    stop();
    return 0;
}
