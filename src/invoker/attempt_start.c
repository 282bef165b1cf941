/* The beginning of an attempt: which deployment and protocol version (spec/service-protocol.md §3.1), the
 * request head (§3.2), Start with eager state (§10), and the replay of the journal (§6.2). */
#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h" /* percent_encode */
#include "base/metrics.h"
#include "base/time.h"
#include "invoker/invoker_internal.h"
#include "invoker/rt_codes.h"

struct slice attempt_media_type(uint32_t version)
{
    switch (version) {
    case 5:
        return SLICE_LIT("application/vnd.restate.invocation.v5");
    case 6:
        return SLICE_LIT("application/vnd.restate.invocation.v6");
    case 7:
        return SLICE_LIT("application/vnd.restate.invocation.v7");
    }
    UNREACHABLE("service protocol version %u", version);
}

struct choice {
    const struct schema_deployment *deployment;
    const struct schema_handler *handler;
    uint32_t version;
};

/* ---- failures before anything was sent ---- */

static void fail_early(struct entry *e, const char *doc_code, bool not_retryable, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void fail_early(struct entry *e, const char *doc_code, bool not_retryable, const char *fmt, ...)
{
    char text[768];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct failure f = {
        .code = CODE_INTERNAL, .doc_code = doc_code, .not_retryable = not_retryable, .not_reached = true};
    f.message = slice_make(text, (size_t)MIN(n, (int)sizeof(text) - 1));
    entry_failed(e, &f);
}

/* Options while no handler is known. */
static void default_options(const struct schema_defaults *d, struct invocation_options *o)
{
    *o = (struct invocation_options){
        .inactivity_timeout_ms = d->inactivity_timeout_ms,
        .abort_timeout_ms = d->abort_timeout_ms,
        .lazy_state = d->disable_eager_state,
        .retry_initial_interval_ms = d->retry_initial_interval_ms,
        .retry_max_interval_ms = d->retry_max_interval_ms,
        .retry_max_attempts = d->retry_max_attempts,
        .retry_factor = d->retry_factor,
        .retry_on_max_attempts = d->retry_on_max_attempts,
    };
    if (d->retry_max_attempts_cap != OPTION_UNSET && d->retry_max_attempts_cap < o->retry_max_attempts)
        o->retry_max_attempts = d->retry_max_attempts_cap;
}

/* ---- §3.1 ---- */

static bool choose_pinned(struct entry *e, const struct schema *schema, const struct invocation *inv,
                          struct choice *c)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, inv->deployment_id, id);
    c->deployment = schema_deployment(schema, inv->deployment_id);
    c->version = inv->protocol_version;
    if (!c->deployment) {
        fail_early(
            e, RT_NO_DEPLOYMENT, false,
            "the deployment '%s' this invocation is pinned to was removed; register it again, or resume the "
            "invocation on another deployment",
            id);
        return false;
    }
    const struct schema_service *service = schema_deployment_service(c->deployment, inv->si.target.service);
    c->handler = service ? schema_handler(service, inv->si.target.handler) : NULL;
    if (!c->handler) {
        fail_early(e, RT_NO_DEPLOYMENT, false,
                   "the deployment '%s' this invocation is pinned to does not offer %.*s/%.*s any more", id,
                   SLICE_FMT(inv->si.target.service), SLICE_FMT(inv->si.target.handler));
        return false;
    }
    if (c->version < PROTOCOL_MIN || c->version > PROTOCOL_MAX) {
        fail_early(
            e, RT_PINNED_UNSUPPORTED, false,
            "the invocation is pinned to service protocol version %u, which this server does not speak",
            c->version);
        return false;
    }
    return true;
}

static bool choose_latest(struct entry *e, const struct schema *schema, const struct invocation *inv,
                          struct choice *c)
{
    uint32_t highest = e->p->inv->config.enable_v7 ? 7 : 6;
    const struct schema_service *service = schema_service(schema, inv->si.target.service);
    c->handler = service ? schema_handler(service, inv->si.target.handler) : NULL;
    c->deployment = c->handler ? service->deployment : NULL;
    if (!c->deployment) {
        fail_early(e, RT_NO_DEPLOYMENT, false, "no deployment was found to process the invocation");
        return false;
    }
    c->version = MIN(c->deployment->max_protocol_version, highest);
    if (c->deployment->min_protocol_version > highest || c->version < PROTOCOL_MIN) {
        fail_early(e, RT_NO_COMMON_VERSION, false,
                   "the deployment supports service protocol versions [%u, %u], this server speaks [%u, %u]",
                   c->deployment->min_protocol_version, c->deployment->max_protocol_version, PROTOCOL_MIN,
                   highest);
        return false;
    }
    return true;
}

/* ---- §3.2 ---- */

static void push_header(struct invoker *inv, struct slice name, struct slice value)
{
    struct http_header h = {name, value};
    VEC_PUSH(&inv->head, h);
}

static void open_stream(struct attempt *a, const struct invocation *inv)
{
    struct invoker *invoker = a->inv;
    const struct target *t = &inv->si.target;
    char id[INVOCATION_ID_TEXT + 1];
    invocation_id_format(inv->id, id);
    struct writer path = WRITER_INIT, key = WRITER_INIT, jwt = WRITER_INIT;
    char traceparent[TRACEPARENT_TEXT];
    struct slice tracestate;
    writer_init(&path, a->ep->path_prefix.len + t->service.len + t->handler.len + a->ep->path_query.len + 16);
    write_slice_raw(&path, bytes_slice(a->ep->path_prefix));
    size_t audience_at = path.len;
    write_raw(&path, "/invoke/", 8);
    write_slice_raw(&path, t->service);
    write_u8(&path, '/');
    write_slice_raw(&path, t->handler);
    size_t audience_len = path.len - audience_at;
    write_slice_raw(&path, bytes_slice(a->ep->path_query));

    invoker->head.len = 0;
    struct slice media_type = attempt_media_type(a->version);
    push_header(invoker, SLICE_LIT("content-type"), media_type);
    push_header(invoker, SLICE_LIT("accept"), media_type);
    push_header(invoker, SLICE_LIT("x-restate-invocation-id"), slice_make(id, INVOCATION_ID_TEXT));
    if (target_is_keyed(t->kind)) {
        percent_encode(&key, t->key);
        push_header(invoker, SLICE_LIT("x-restate-service-key"), writer_slice(&key));
    }
    if (attempt_trace_headers(a, traceparent, &tracestate)) {
        push_header(invoker, SLICE_LIT("traceparent"), slice_make(traceparent, sizeof(traceparent)));
        push_header(invoker, SLICE_LIT("tracestate"), tracestate);
    }
    head_push(invoker, a->ep->headers, a->ep->n_headers);
    struct http_header signature[2];
    size_t n = signature_headers(invoker, slice_sub(writer_slice(&path), audience_at, audience_len),
                                 target_is_keyed(t->kind) ? t->key : SLICE_EMPTY, &jwt, signature);
    head_push(invoker, signature, n);
    head_push(invoker, invoker->extra_headers, invoker->config.n_additional_headers);

    a->stream = endpoint_post(invoker, a->ep, writer_slice(&path), &attempt_stream_ops, a);
    writer_free(&path);
    writer_free(&key);
    writer_free(&jwt);
}

/* ---- Start and eager state (§10) ---- */

struct eager {
    struct writer *w;
    uint64_t limit, total;
    bool partial;
};
static bool add_state(void *ctx, struct slice key, struct bytes value)
{
    struct eager *eager = ctx;
    if (eager->total + key.len + value.len > eager->limit) {
        eager->partial = true;
        return false;
    }
    eager->total += key.len + value.len;
    start_state(eager->w, key, bytes_slice(value));
    return true;
}

static void write_start(struct attempt *a, struct invocation *inv, struct partition_store *store)
{
    struct entry *e = a->entry;
    const struct target *t = &inv->si.target;
    uint64_t now = env_wall_ms(a->inv->env);
    bool keyed = target_is_keyed(t->kind);
    struct eager eager = {.w = &a->out, .limit = a->inv->config.eager_state_size_limit};
    eager.partial = !keyed || e->options.lazy_state || eager.limit == 0;

    struct start_message m = {
        .id = inv->id,
        .known_entries = a->known_entries,
        .key = keyed ? t->key : SLICE_EMPTY,
        .retry_count = e->retries_since_command,
        .duration_since_last_entry_ms = now > inv->at.modified_at ? now - inv->at.modified_at : 0,
        .random_seed = inv->has_random_seed ? inv->random_seed : invocation_random_seed(inv->id),
    };
    if (a->version >= 7 && a->inv->config.scopes) {
        m.scope = t->scope;
        m.limit_key = inv->si.limit_key;
        m.idempotency_key = inv->si.idempotency_key;
    }
    start_begin(&a->out, &m);
    if (!eager.partial) {
        struct object_name o = object_name_of(t);
        store_state_scan(store, o.service, o.key, add_state, &eager);
        object_name_free(&o);
        if (eager.partial)
            metric_inc(a->inv->metrics.eager_truncated);
    }
    m.partial_state = eager.partial;
    start_finish(&a->out, &m);
}

static void write_replay(struct attempt *a, const struct invocation *inv)
{
    for (size_t i = 0; i < inv->journal.len; i++) {
        const struct journal_entry *entry = &inv->journal.items[i];
        a->has_output = a->has_output || entry->type == MSG_OUTPUT;
        attempt_write_frame(a, entry->type, entry->payload);
    }
    attempt_flush_out(a);
}

/* ---- the start ---- */

/* The journal is written by reference to what the store holds, however long it is; one message is the unit
 * that must fit. */
static bool replay_fits(struct entry *e, const struct invocation *inv)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < inv->journal.len; i++)
        largest = MAX(largest, inv->journal.items[i].payload.len);
    if (memory_fits(e->p->inv, largest))
        return true;
    char text[MEMORY_TEXT_MAX];
    memory_exhausted_text(text, "reading journal entries", largest);
    fail_early(e, RT_TIMEOUT_OR_MEMORY, true, "%s", text);
    return false;
}

static bool choose(struct entry *e, const struct invocation *inv, struct choice *c)
{
    const struct schema_cell *cell = e->p->inv->cell;
    default_options(&cell->defaults, &e->options);
    bool found =
        inv->pinned ? choose_pinned(e, cell->schema, inv, c) : choose_latest(e, cell->schema, inv, c);
    if (!found)
        return false;
    schema_resolve_options(&cell->defaults, c->handler, &e->options);
    e->last_deployment = c->deployment->id;
    return true;
}

static void begin_exchange(struct entry *e, struct invocation *inv, const struct choice *c,
                           struct endpoint *ep)
{
    struct partition_store *store = e->p->ops->store(e->p->ctx);
    struct attempt *a = attempt_new(e);
    a->ep = ep;
    a->version = c->version;
    a->kind = inv->si.target.kind;
    a->pinned = inv->pinned;
    a->known_entries = (uint32_t)inv->journal.len;
    a->next_command_index = inv->commands;
    e->attempt = a;
    e->state = ENTRY_RUNNING;
    e->attempts++;
    writer_reset(&e->awaiting_on);
    e->p->inv->attempts_started++;
    e->last_start_wall_ms = env_wall_ms(e->p->inv->env);
    attempt_begin_timers(a);
    a->carrier_type = ep->is_lambda                           ? CARRIER_LAMBDA
                      : e->options.inactivity_timeout_ms == 0 ? CARRIER_REQUEST_RESPONSE
                                                              : CARRIER_BIDI;
    a->counted_task = true;
    a->started_mono_ms = env_mono_ms(e->p->inv->env);
    metric_inc(e->p->metrics.tasks[TASK_STARTED]);
    attempt_trace_begin(a, inv);
    open_stream(a, inv);
    if (!carrier_is_open(&a->stream)) {
        e->attempt = NULL;
        a->entry = NULL;
        metric_inc(e->p->metrics.tasks[TASK_FAILED]);
        attempt_free(a);
        fail_early(e, RT_NETWORK, false, "too many requests are waiting for a connection to the deployment");
        return;
    }
    write_start(a, inv, store);
    write_replay(a, inv);
    if (ep->is_lambda || e->options.inactivity_timeout_ms == 0)
        attempt_half_close(a); /* request-response mode (§12.2) */
}

void attempt_start(struct entry *e)
{
    struct invoker_partition *p = e->p;
    struct invocation *inv = p->ops->invocation(p->ctx, e->id);
    if (!inv || inv->status != INV_INVOKED) {
        entry_free(e); /* it ended while it waited */
        return;
    }
    store_journal_load(p->ops->store(p->ctx), inv);
    ASSERT_MSG(inv->journal.len > 0, "an invoked invocation has at least its Input");
    struct choice c = {0};
    if (!choose(e, inv, &c) || !replay_fits(e, inv))
        return;
    struct err err = {0};
    struct endpoint *ep = endpoint_get(p->inv, c.deployment, &err);
    if (!ep) {
        fail_early(e, RT_NETWORK, false, "error when calling '%s': %s",
                   c.deployment->uri ? c.deployment->uri : c.deployment->arn, err.msg);
        return;
    }
    if (ep->is_lambda && !p->inv->lambda) {
        endpoint_unref(ep);
        fail_early(e, RT_NETWORK, false, "this node has no access to AWS Lambda");
        return;
    }
    begin_exchange(e, inv, &c, ep);
}
