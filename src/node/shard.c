/* Implementation of node/shard.h: the loop, its partitions, and the glue between processor, invoker and
 * shipper. */
#include "node/shard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "node/shipper.h"

#define TARGET            "restate_worker"
#define STATS_INTERVAL_MS 1000u

/* One partition on this shard, and the processor's host. */
struct shard_partition {
    struct shard *shard;
    uint16_t id;
    struct processor *processor;
    struct log *log;                   /* the processor's; for its tail and trim point */
    struct invoker_partition *invoker; /* while leading */
    struct shipper *shipper;
    bool ready;
    bool closing; /* its log may be gone already: the processor is not asked any more */
};

struct shard {
    const struct shard_shared *shared;
    uint32_t index;
    struct loop *loop;
    struct env *env;
    struct schema_cell schema;
    struct local_logs_port *port;
    struct kv_backend *backend;
    struct http_client *client;
    struct invoker *invoker;
    struct partition_router *router;
    struct ingress *ingress;
    struct net_listener **listeners; /* accepting ingress connections */
    size_t n_listeners;
    struct shard_partition *partitions;
    uint32_t n_partitions;
    struct env_timer stats_timer;

    /* start and stop */
    struct loop *reply_loop;
    void (*ready)(void *ctx, const struct err *err);
    void (*stopped)(void *ctx);
    void *ready_ctx, *stopped_ctx;
    uint32_t n_ready, n_closed;
    bool answered;
    uint64_t drain_timeout_ms;

    _Atomic uint32_t stat_leaders;
    _Atomic int64_t stat_lag, stat_waiting_ms;
    _Atomic uint64_t stat_busy_us;
};

/* A closure for another loop. */
struct call {
    struct loop_msg msg;
    void (*run)(struct call *c);
    struct shard *shard;
    struct schema *schema;
    const struct node_config *config;
    struct net_listener **listeners;
    size_t n_listeners;
    void (*ready)(void *ctx, const struct err *err);
    void (*done)(void *ctx);
    void (*reported)(void *ctx, const struct partition_report *reports, size_t n);
    struct loop *reply_loop;
    struct partition_report *reports;
    size_t n_reports;
    uint16_t partition;
    lsn_t upto;
    void *ctx;
    struct err err;
};

static void call_deliver(struct loop_msg *m)
{
    struct call *c = CONTAINER_OF(m, struct call, msg);
    c->run(c);
    free(c);
}

static struct call *call_new(struct shard *s, void (*run)(struct call *c))
{
    struct call *c = xcalloc(1, sizeof(*c));
    c->msg.deliver = call_deliver;
    c->run = run;
    c->shard = s;
    return c;
}

/* ---- start-up ---- */

static void call_ready(struct call *c)
{
    c->ready(c->ctx, c->err.rc == RC_OK ? NULL : &c->err);
}

static void answer_ready(struct shard *s, const struct err *err)
{
    if (s->answered)
        return;
    s->answered = true;
    struct call *c = call_new(s, call_ready);
    c->ready = s->ready;
    c->ctx = s->ready_ctx;
    if (err)
        c->err = *err;
    loop_post(s->reply_loop, &c->msg);
}

/* ---- the processor's host ---- */

static void host_invoke(void *host, struct processor *p, struct invocation *inv)
{
    struct shard_partition *sp = host;
    invoker_invoke(sp->invoker, inv);
}

static void host_abort(void *host, struct processor *p, struct invocation_id id)
{
    struct shard_partition *sp = host;
    invoker_abort(sp->invoker, id);
}

static void host_forward(void *host, struct processor *p, struct invocation *inv, uint32_t entry_index)
{
    struct shard_partition *sp = host;
    invoker_notify(sp->invoker, inv, entry_index);
}

static void host_ack(void *host, struct processor *p, struct invocation_id id, uint32_t command_index)
{
    struct shard_partition *sp = host;
    invoker_ack_command(sp->invoker, id, command_index);
}

static void host_retry_now(void *host, struct processor *p, struct invocation_id id)
{
    struct shard_partition *sp = host;
    invoker_retry_now(sp->invoker, id);
}

static void host_effects_applied(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                                 uint64_t batch, bool dropped)
{
    struct shard_partition *sp = host;
    invoker_effects_applied(sp->invoker, id, token, batch, dropped);
}

static bool host_pause(void *host, struct processor *p, struct invocation_id id)
{
    struct shard_partition *sp = host;
    return invoker_pause(sp->invoker, id);
}

static void host_ship(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                      struct bytes record_take)
{
    struct shard_partition *sp = host;
    shipper_ship(sp->shipper, index, partition_key, record_take);
}

static enum rc invoker_propose(void *ctx, struct bytes record_take)
{
    struct shard_partition *sp = ctx;
    return processor_propose_effects(sp->processor, record_take);
}

static struct invocation *invoker_invocation(void *ctx, struct invocation_id id)
{
    struct shard_partition *sp = ctx;
    return store_invocation_get(processor_store(sp->processor), id);
}

static struct partition_store *invoker_store(void *ctx)
{
    struct shard_partition *sp = ctx;
    return processor_store(sp->processor);
}

static const struct invoker_ops invoker_callbacks = {
    .propose = invoker_propose,
    .invocation = invoker_invocation,
    .store = invoker_store,
};

static void host_leading(void *host, struct processor *p, uint64_t epoch)
{
    struct shard_partition *sp = host;
    struct shard *s = sp->shard;
    sp->invoker = invoker_partition_new(s->invoker, sp->id, &invoker_callbacks, sp);
    char id[8];
    snprintf(id, sizeof(id), "%u", sp->id);
    LOG(LOG_DEBUG, TARGET "::partition", LOG_FIELDS({"partition_id", id}),
        "Processor became Leader of epoch e%llu", (unsigned long long)epoch);
    atomic_fetch_add(&s->stat_leaders, 1);
    if (sp->ready)
        return;
    sp->ready = true;
    if (++s->n_ready == s->n_partitions)
        answer_ready(s, NULL);
}

static void host_following(void *host, struct processor *p)
{
    struct shard_partition *sp = host;
    shipper_reset(sp->shipper);
    if (sp->invoker) {
        invoker_partition_free(sp->invoker);
        sp->invoker = NULL;
        atomic_fetch_sub(&sp->shard->stat_leaders, 1);
    }
}

static void host_failed(void *host, struct processor *p, const struct err *err)
{
    struct shard_partition *sp = host;
    char id[8];
    snprintf(id, sizeof(id), "%u", sp->id);
    LOG(LOG_ERROR, TARGET "::partition", LOG_FIELDS({"partition_id", id}, {"error", err->msg}),
        "Partition processor stopped: it cannot continue from its log");
    answer_ready(sp->shard, err);
}

static const struct processor_host_ops host_ops = {
    .invoke = host_invoke,
    .abort = host_abort,
    .forward_notification = host_forward,
    .ack_command = host_ack,
    .retry_now = host_retry_now,
    .effects_applied = host_effects_applied,
    .pause = host_pause,
    .ship = host_ship,
    .leading = host_leading,
    .following = host_following,
    .failed = host_failed,
};

/* ---- opening partitions ---- */

static struct processor_config processor_configuration(const struct shard *s, uint16_t id)
{
    const struct partition_slot *slot = &s->shared->map->slots[id];
    return (struct processor_config){
        .partition_id = id,
        .node_id = s->shared->node_id,
        .node_generation = s->shared->node_generation,
        .key_start = slot->key_start,
        .key_end = slot->key_end,
        .max_inflight_ship = 1024,
        .self_proposal_limit_bytes = 64u << 20,
        .trim_delay_ms = s->shared->config->trim_delay_ms,
        .trim_log = s->shared->config->trim_log,
        .version = s->shared->version,
    };
}

static void log_opened(void *ctx, struct log *log, const struct err *open_err)
{
    struct shard_partition *sp = ctx;
    struct shard *s = sp->shard;
    if (!log) {
        answer_ready(s, open_err);
        return;
    }
    const struct partition_slot *slot = &s->shared->map->slots[sp->id];
    size_t per_partition = s->shared->config->storage_memory_bytes / 32 / s->shared->map->count;
    struct store_config config = {
        .partition_id = sp->id,
        .key_start = slot->key_start,
        .key_end = slot->key_end,
        .cache_bytes = MAX(per_partition, (size_t)1 << 20),
        .flush_dirty_bytes = 1u << 20, /* small pauses, little memory; a flush of 24 partitions is one sync */
        .flush_interval_ms = 10 * 1000,
    };
    struct err err = {0};
    struct partition_store *store;
    if (store_open(s->backend, s->env, &config, &store, &err) != RC_OK) {
        answer_ready(s, &err);
        return;
    }
    struct processor_config pc = processor_configuration(s, sp->id);
    sp->processor = processor_new(s->env, &pc, store, log, &host_ops, sp);
    sp->log = log;
    sp->shipper = shipper_new(s->loop, s->shared->map, sp->processor, sp->id);
    s->shared->map->slots[sp->id].processor = sp->processor;
    processor_become_leader(sp->processor, s->shared->epochs[sp->id]);
}

void shard_invoker_config(const struct shard_shared *shared, const struct node_config *c,
                          struct invoker_config *out)
{
    *out = (struct invoker_config){
        .concurrent_invocations_limit = c->invoker.concurrent_invocations_limit,
        .message_size_warning = c->invoker.message_size_warning,
        .message_size_limit = c->invoker.message_size_limit,
        .eager_state_size_limit = c->invoker.eager_state_size_limit,
        .memory_limit = c->invoker.memory_limit / MAX(c->shards, 1u),
        .per_invocation_memory_limit = c->invoker.per_invocation_memory_limit,
        .max_awaited_future_depth = c->invoker.max_awaited_future_depth,
        .enable_v7 = c->invoker.enable_v7,
        .identity_key_pem = shared->identity_key_pem,
        .identity_expiration_s = c->invoker.identity_expiration_s,
        .additional_headers = c->invoker.additional_headers,
        .n_additional_headers = c->invoker.n_additional_headers,
        .created_using_version = shared->version,
    };
}

void shard_client_config(const struct node_config *c, struct http_client_config *out)
{
    http_client_config_default(out);
    out->connect_timeout_ms = c->invoker.connect_timeout_ms;
    out->keep_alive_interval_ms = c->invoker.keep_alive_interval_ms;
    out->keep_alive_timeout_ms = c->invoker.keep_alive_timeout_ms;
    out->keep_alive_jitter = c->invoker.keep_alive_jitter;
    out->streams_per_connection = c->invoker.streams_per_connection;
    out->initial_max_send_streams = c->invoker.initial_max_send_streams;
    out->idle_connection_timeout_ms = c->invoker.idle_connection_timeout_ms;
    out->initial_stream_window = c->invoker.initial_stream_window;
    out->initial_connection_window = c->invoker.initial_connection_window;
    out->max_frame_size = c->invoker.max_frame_size;
}

static void publish_stats(struct env_timer *t)
{
    struct shard *s = CONTAINER_OF(t, struct shard, stats_timer);
    int64_t lag = 0, waiting = 0;
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        if (!s->partitions[i].processor || s->partitions[i].closing)
            continue;
        struct processor_status st;
        processor_get_status(s->partitions[i].processor, &st);
        lag = MAX(lag, (int64_t)(st.committed - MIN(st.applied, st.committed)));
        waiting = MAX(waiting, (int64_t)st.oldest_waiting_ms);
    }
    atomic_store(&s->stat_lag, lag);
    atomic_store(&s->stat_waiting_ms, waiting);
    atomic_store(&s->stat_busy_us, loop_busy_us(s->loop));
    env_timer_arm(s->env, &s->stats_timer, STATS_INTERVAL_MS);
}

static void start_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    struct http_client_config client_config;
    shard_client_config(s->shared->config, &client_config);
    s->client = http_client_new(s->loop, &client_config);
    struct invoker_config invoker_config;
    shard_invoker_config(s->shared, s->shared->config, &invoker_config);
    struct err err = {0};
    if (invoker_new(s->loop, s->env, s->client, &invoker_config, &s->schema, &s->invoker, &err) != RC_OK) {
        answer_ready(s, &err);
        return;
    }
    s->backend = rocks_backend_new(s->shared->db, s->loop);
    s->port = local_logs_port_new(s->shared->logs, s->loop);
    env_timer_init(&s->stats_timer, publish_stats);
    env_timer_arm(s->env, &s->stats_timer, STATS_INTERVAL_MS);
    if (s->n_partitions == 0)
        answer_ready(s, NULL);
    for (uint32_t i = 0; i < s->n_partitions; i++)
        local_log_open(s->port, s->partitions[i].id, log_opened, &s->partitions[i]);
}

struct shard *shard_new(const struct shard_shared *shared, uint32_t index, struct schema *schema)
{
    struct shard *s = xcalloc(1, sizeof(*s));
    s->shared = shared;
    s->index = index;
    char name[16];
    snprintf(name, sizeof(name), "shard-%u", index);
    s->loop = loop_new(name);
    s->env = loop_env(s->loop);
    s->schema.schema = schema_ref(schema);
    s->schema.defaults = shared->config->defaults;
    s->router = router_new(s->loop, shared->map);
    bool worker = shared->config->roles & ROLE_WORKER;
    s->partitions = xcalloc(shared->map->count / shared->config->shards + 1, sizeof(*s->partitions));
    for (uint32_t id = index; worker && id < shared->map->count; id += shared->config->shards) {
        struct shard_partition *sp = &s->partitions[s->n_partitions++];
        sp->shard = s;
        sp->id = (uint16_t)id;
        shared->map->slots[id].loop = s->loop;
    }
    if (shared->ingress)
        s->ingress = ingress_new(shared->ingress, s->loop, s->router, &s->schema);
    return s;
}

struct loop *shard_loop(struct shard *s)
{
    return s->loop;
}

struct ingress *shard_ingress(struct shard *s)
{
    return s->ingress;
}

void shard_start(struct shard *s, struct loop *reply_loop, void (*ready)(void *ctx, const struct err *err),
                 void *ctx)
{
    s->reply_loop = reply_loop;
    s->ready = ready;
    s->ready_ctx = ctx;
    loop_start(s->loop);
    loop_post(s->loop, &call_new(s, start_on_loop)->msg);
}

/* ---- changes at run time ---- */

static void set_schema_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    schema_unref(s->schema.schema);
    s->schema.schema = c->schema;
}

void shard_set_schema(struct shard *s, struct schema *schema)
{
    struct call *c = call_new(s, set_schema_on_loop);
    c->schema = schema_ref(schema);
    loop_post(s->loop, &c->msg);
}

static void set_config_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    s->schema.defaults = c->config->defaults;
    struct invoker_config invoker_config;
    shard_invoker_config(s->shared, c->config, &invoker_config);
    if (s->invoker)
        invoker_reconfigure(s->invoker, &invoker_config);
}

void shard_set_config(struct shard *s, const struct node_config *config)
{
    struct call *c = call_new(s, set_config_on_loop);
    c->config = config;
    loop_post(s->loop, &c->msg);
}

static void serve_on_loop(struct call *c)
{
    c->shard->listeners = c->listeners;
    c->shard->n_listeners = c->n_listeners;
    for (size_t i = 0; i < c->n_listeners; i++) {
        struct err err = {0};
        if (net_listener_start(c->listeners[i], &err) != RC_OK)
            LOG(LOG_ERROR, "restate_ingress_http::server", LOG_FIELDS({"error", err.msg}),
                "Ingress cannot accept connections");
    }
}

void shard_serve_ingress(struct shard *s, struct net_listener **listeners, size_t n)
{
    struct call *c = call_new(s, serve_on_loop);
    c->listeners = listeners;
    c->n_listeners = n;
    loop_post(s->loop, &c->msg);
}

/* ---- questions and requests of operators ---- */

static void report_arrived(struct call *c)
{
    c->reported(c->ctx, c->reports, c->n_reports);
    free(c->reports);
}

static void report_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    struct call *answer = call_new(s, report_arrived);
    answer->reported = c->reported;
    answer->ctx = c->ctx;
    answer->reports = xcalloc(s->n_partitions + 1, sizeof(*answer->reports));
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        const struct shard_partition *sp = &s->partitions[i];
        if (!sp->processor || sp->closing)
            continue;
        struct processor_status st;
        processor_get_status(sp->processor, &st);
        answer->reports[answer->n_reports++] = (struct partition_report){
            .id = sp->id,
            .role = st.role,
            .epoch = st.epoch,
            .applied = st.applied,
            .committed = st.committed,
            .durable = st.durable,
            .trimmed = sp->log->trim_point,
            .schema_version = schema_version(s->schema.schema),
        };
    }
    loop_post(c->reply_loop, &answer->msg);
}

void shard_report(struct shard *s, struct loop *reply_loop,
                  void (*done)(void *ctx, const struct partition_report *reports, size_t n), void *ctx)
{
    struct call *c = call_new(s, report_on_loop);
    c->reported = done;
    c->reply_loop = reply_loop;
    c->ctx = ctx;
    loop_post(s->loop, &c->msg);
}

struct trim_request {
    struct shard_partition *partition;
    lsn_t upto;
};

static void flushed_for_trim(void *ctx, lsn_t durable)
{
    struct trim_request *t = ctx;
    if (!t->partition->closing)
        log_trim(t->partition->log, MIN(t->upto, durable));
    free(t);
}

static void trim_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        struct shard_partition *sp = &s->partitions[i];
        if (sp->id != c->partition || !sp->processor || sp->closing)
            continue;
        struct trim_request *t = xcalloc(1, sizeof(*t));
        t->partition = sp;
        t->upto = c->upto;
        store_flush(processor_store(sp->processor), flushed_for_trim, t);
    }
}

void shard_trim_log(struct shard *s, uint16_t partition, lsn_t upto)
{
    struct call *c = call_new(s, trim_on_loop);
    c->partition = partition;
    c->upto = upto;
    loop_post(s->loop, &c->msg);
}

/* ---- stopping ---- */

static void call_done(struct call *c)
{
    c->done(c->ctx);
}

static void answer_stopped(struct shard *s)
{
    struct call *c = call_new(s, call_done);
    c->done = s->stopped;
    c->ctx = s->stopped_ctx;
    loop_post(s->reply_loop, &c->msg);
}

static void stop_finished(struct shard *s)
{
    env_timer_cancel(s->env, &s->stats_timer);
    if (s->ingress)
        ingress_free(s->ingress);
    s->ingress = NULL;
    if (s->invoker)
        invoker_free(s->invoker);
    if (s->client)
        http_client_free(s->client);
    if (s->port)
        local_logs_port_free(s->port);
    if (s->backend)
        rocks_backend_free(s->backend);
    answer_stopped(s);
}

static void processor_closed(void *ctx)
{
    struct shard_partition *sp = ctx;
    struct shard *s = sp->shard;
    if (++s->n_closed == s->n_partitions)
        stop_finished(s);
}

static void close_partitions(struct shard *s)
{
    uint32_t unopened = 0;
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        struct shard_partition *sp = &s->partitions[i];
        if (!sp->processor) {
            unopened++;
            continue;
        }
        sp->closing = true;
        processor_step_down(sp->processor);
        if (sp->invoker)
            host_following(sp, sp->processor);
        shipper_free(sp->shipper);
        s->shared->map->slots[sp->id].processor = NULL;
    }
    s->n_closed += unopened;
    if (s->n_closed == s->n_partitions) {
        stop_finished(s);
        return;
    }
    for (uint32_t i = 0; i < s->n_partitions; i++) {
        if (s->partitions[i].processor)
            processor_close(s->partitions[i].processor, false, processor_closed, &s->partitions[i]);
    }
}

static void drained(void *ctx)
{
    answer_stopped(ctx);
}

static void drain_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    for (size_t i = 0; i < s->n_listeners; i++)
        net_listener_close(s->listeners[i]);
    s->n_listeners = 0;
    if (s->ingress)
        ingress_drain(s->ingress, s->drain_timeout_ms, drained, s);
    else
        answer_stopped(s);
}

static void stop_on_loop(struct call *c)
{
    close_partitions(c->shard);
}

static void begin_stop(struct shard *s, void (*run)(struct call *c), struct loop *reply_loop,
                       void (*done)(void *ctx), void *ctx)
{
    s->reply_loop = reply_loop;
    s->stopped = done;
    s->stopped_ctx = ctx;
    loop_post(s->loop, &call_new(s, run)->msg);
}

void shard_drain(struct shard *s, uint64_t timeout_ms, struct loop *reply_loop, void (*done)(void *ctx),
                 void *ctx)
{
    s->drain_timeout_ms = timeout_ms;
    begin_stop(s, drain_on_loop, reply_loop, done, ctx);
}

void shard_stop(struct shard *s, struct loop *reply_loop, void (*done)(void *ctx), void *ctx)
{
    begin_stop(s, stop_on_loop, reply_loop, done, ctx);
}

void shard_free(struct shard *s)
{
    loop_stop(s->loop);
    loop_join(s->loop);
    loop_free(s->loop);
    router_free(s->router);
    schema_unref(s->schema.schema);
    free(s->partitions);
    free(s);
}

void shard_get_stats(const struct shard *s, struct shard_stats *out)
{
    *out = (struct shard_stats){
        .partitions = s->n_partitions,
        .leaders = atomic_load(&s->stat_leaders),
        .busy_us = atomic_load(&s->stat_busy_us),
        .max_lag = atomic_load(&s->stat_lag),
        .oldest_waiting_ms = atomic_load(&s->stat_waiting_ms),
    };
}
