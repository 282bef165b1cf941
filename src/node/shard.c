/* Implementation of node/shard.h: the loop, what its replicas share, and calls from other loops. */
#include "node/shard.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "node/remote.h"

#define STATS_INTERVAL_MS 1000u

struct shard {
    const struct shard_shared *shared;
    uint32_t index;
    struct loop *loop;
    struct env *env;
    struct schema_cell schema;
    struct peers *peers;
    struct remote *remote;
    struct loop_logs *logs;
    struct kv_backend *backend;
    struct http_client *client;
    struct invoker *invoker;
    struct partition_router *router;
    struct ingress *ingress;
    struct kafka_ingress *kafka;     /* with the worker role, from start to drain */
    struct net_listener **listeners; /* accepting ingress connections */
    size_t n_listeners;
    struct shard_snapshots snapshots;
    struct tracer *tracer; /* NULL: no tracing */
    struct replica_host host;
    struct replica **replicas; /* of all partitions that belong to this shard, whether they run or not */
    uint32_t n_replicas;
    struct env_timer stats_timer;
    struct metric *held; /* scoped invocations that wait in the partitions led here */

    /* start and stop */
    struct loop *reply_loop;
    void (*ready)(void *ctx, const struct err *err);
    void (*stopped)(void *ctx);
    void *ready_ctx, *stopped_ctx;
    uint32_t n_closed, n_draining;
    bool closing;
    uint64_t drain_timeout_ms;

    _Atomic bool change_told; /* the node has not looked since */
    _Atomic uint32_t stat_partitions, stat_leaders;
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
    void (*visit)(void *ctx, struct partition_store *store, struct invoker_partition *invoker);
    struct loop *reply_loop;
    struct partition_report *reports;
    size_t n_reports;
    uint16_t partition;
    bool wanted;
    uint64_t epoch;
    lsn_t upto;
    uint32_t version;
    struct bytes bytes;
    lsn_t *lsns;
    size_t n_lsns;
    snapshot_create_done snapshot_done;
    replica_trim_done trim_done;
    struct snapshot_created created;
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

static void call_done(struct call *c)
{
    c->done(c->ctx);
}

/* ---- start-up ---- */

static void call_ready(struct call *c)
{
    c->ready(c->ctx, c->err.rc == RC_OK ? NULL : &c->err);
}

static void answer_ready(struct shard *s, const struct err *err)
{
    struct call *c = call_new(s, call_ready);
    c->ready = s->ready;
    c->ctx = s->ready_ctx;
    if (err)
        c->err = *err;
    loop_post(s->reply_loop, &c->msg);
}

/* ---- replicas ---- */

static void tell_changed(struct call *c)
{
    atomic_store(&c->shard->change_told, false);
    c->shard->shared->replicas_changed(c->shard->shared->replicas_ctx);
}

static void replicas_changed(struct replica_host *h)
{
    struct shard *s = CONTAINER_OF(h, struct shard, host);
    if (!s->closing && !atomic_exchange(&s->change_told, true))
        loop_post(s->reply_loop, &call_new(s, tell_changed)->msg);
}

static struct replica *replica_of(struct shard *s, uint16_t partition)
{
    return s->replicas[partition / s->shared->config->shards];
}

static void set_replica_on_loop(struct call *c)
{
    struct replica *r = replica_of(c->shard, c->partition);
    if (c->shard->closing)
        return;
    if (c->wanted)
        replica_run(r);
    else
        replica_close(r, NULL, NULL);
}

void shard_set_replica(struct shard *s, uint16_t partition, bool run)
{
    struct call *c = call_new(s, set_replica_on_loop);
    c->partition = partition;
    c->wanted = run;
    loop_post(s->loop, &c->msg);
}

static void lead_on_loop(struct call *c)
{
    struct replica *r = replica_of(c->shard, c->partition);
    if (c->shard->closing)
        return;
    if (c->epoch)
        replica_lead(r, c->epoch);
    else
        replica_step_down(r);
}

void shard_lead(struct shard *s, uint16_t partition, uint64_t epoch)
{
    struct call *c = call_new(s, lead_on_loop);
    c->partition = partition;
    c->epoch = epoch;
    loop_post(s->loop, &c->msg);
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
        .scopes = c->invoker.scopes,
        .yield_threshold_ms = c->invoker.yield_threshold_ms,
        .scoped_objects = c->invoker.scoped_objects,
        .identity_key_pem = shared->identity_key_pem,
        .identity_expiration_s = c->invoker.identity_expiration_s,
        .additional_headers = c->invoker.additional_headers,
        .n_additional_headers = c->invoker.n_additional_headers,
        .created_using_version = shared->version,
        .lambda = shared->lambda,
        .throttles = shared->throttles,
        .lambda_compression_threshold = c->invoker.lambda_compression_threshold,
    };
}

void shard_throttles_config(const struct node_config *c, struct invoker_throttles *out)
{
    throttle_set(&out->starts, c->invoker.starts_per_second, c->invoker.starts_burst);
    throttle_set(&out->actions, c->invoker.actions_per_second, c->invoker.actions_burst);
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
    out->proxy = c->invoker.http_proxy;
    out->no_proxy = c->invoker.no_proxy;
}

static void publish_stats(struct env_timer *t)
{
    struct shard *s = CONTAINER_OF(t, struct shard, stats_timer);
    int64_t lag = 0, waiting = 0, held = 0;
    uint32_t partitions = 0, leaders = 0;
    for (uint32_t i = 0; i < s->n_replicas; i++) {
        struct partition_report r;
        if (!replica_report(s->replicas[i], &r))
            continue;
        partitions++;
        leaders += r.role == PROCESSOR_LEADER;
        held += r.role == PROCESSOR_LEADER ? (int64_t)r.held : 0;
        lag = MAX(lag, (int64_t)(r.committed - MIN(r.applied, r.committed)));
        waiting = MAX(waiting, (int64_t)r.oldest_waiting_ms);
        replica_tick(s->replicas[i]);
    }
    atomic_store(&s->stat_partitions, partitions);
    atomic_store(&s->stat_leaders, leaders);
    atomic_store(&s->stat_lag, lag);
    atomic_store(&s->stat_waiting_ms, waiting);
    atomic_store(&s->stat_busy_us, loop_busy_us(s->loop));
    metric_set(s->held, held);
    loop_logs_publish(s->logs);
    env_timer_arm(s->env, &s->stats_timer, STATS_INTERVAL_MS);
}

static uint32_t partition_of(void *ctx, uint64_t partition_key)
{
    return partition_map_find(ctx, partition_key);
}

static void start_kafka(struct shard *s)
{
    const struct node_config *c = s->shared->config;
    if (!(c->roles & ROLE_WORKER))
        return;
    s->kafka = kafka_ingress_new(
        &(struct kafka_ingress_config){.loop = s->loop,
                                       .router = s->router,
                                       .partition_of = partition_of,
                                       .partition_ctx = s->shared->map,
                                       .fixed = &c->ingress_options.kafka_clusters,
                                       .index = s->index,
                                       .n_loops = c->shards,
                                       .inflight_bytes = c->ingress_options.kafka_inflight_bytes,
                                       .batch_bytes = c->ingress_options.kafka_batch_bytes,
                                       .version = s->shared->version,
                                       .scopes = {.from_headers = c->ingress_options.kafka_scope,
                                                  .allowed = c->invoker.scopes,
                                                  .of_objects = c->invoker.scoped_objects}});
    kafka_ingress_set_schema(s->kafka, s->schema.schema, &s->schema.defaults);
}

static void start_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    struct http_client_config client_config;
    shard_client_config(s->shared->config, &client_config);
    s->client = http_client_new(s->loop, &client_config);
    struct invoker_config invoker_config;
    shard_invoker_config(s->shared, s->shared->config, &invoker_config);
    invoker_config.tracer = s->tracer;
    struct err err = {0};
    if (invoker_new(s->loop, s->env, s->client, &invoker_config, &s->schema, &s->invoker, &err) != RC_OK) {
        answer_ready(s, &err);
        return;
    }
    s->backend = rocks_backend_new(s->shared->db, s->loop);
    s->host.logs = loop_logs_replicated(s->logs);
    s->host.backend = s->backend;
    s->host.invoker = s->invoker;
    s->host.snapshots = &s->snapshots;
    if (shard_snapshots_open(s->shared->snapshots, s->loop, &s->snapshots, &err) != RC_OK) {
        answer_ready(s, &err);
        return;
    }
    env_timer_init(&s->stats_timer, publish_stats);
    char label[32];
    snprintf(label, sizeof(label), "shard=\"%u\"", s->index);
    s->held = metric_gauge("restate_scope_held_invocations", label,
                           "Invocations that the limits of their scope hold back");
    env_timer_arm(s->env, &s->stats_timer, STATS_INTERVAL_MS);
    start_kafka(s);
    answer_ready(s, NULL);
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
    s->peers = links_add(shared->links, s->loop, PEER_PARTITION);
    s->remote = remote_new(s->loop, s->peers, shared->map, s->router, true);
    s->logs = loop_logs_new(shared->logs, s->loop, s->peers);
    bool worker = shared->config->roles & ROLE_WORKER;
    s->host = (struct replica_host){.shared = shared,
                                    .loop = s->loop,
                                    .env = s->env,
                                    .schema = &s->schema,
                                    .changed = replicas_changed,
                                    .ships = s->remote->ships};
    if (shared->traces)
        s->host.tracer = s->tracer = tracer_new(shared->traces, s->loop);
    s->replicas = xcalloc(shared->map->count / shared->config->shards + 1, sizeof(*s->replicas));
    for (uint32_t id = index; worker && id < shared->map->count; id += shared->config->shards) {
        s->replicas[s->n_replicas++] = replica_new(&s->host, (uint16_t)id);
        shared->map->slots[id].loop = s->loop;
    }
    if (shared->ingress)
        s->ingress = ingress_new(shared->ingress, s->loop, s->router, &s->schema);
    if (s->ingress)
        ingress_set_tracer(s->ingress, s->tracer);
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
    for (uint32_t i = 0; i < s->n_replicas && !s->closing; i++)
        replica_schema_changed(s->replicas[i]);
    if (s->kafka)
        kafka_ingress_set_schema(s->kafka, s->schema.schema, &s->schema.defaults);
    struct call *r = call_new(s, call_done);
    r->done = c->done;
    r->ctx = c->ctx;
    loop_post(c->reply_loop, &r->msg);
}

void shard_set_schema(struct shard *s, struct schema *schema, struct loop *reply_loop,
                      void (*applied)(void *ctx), void *ctx)
{
    struct call *c = call_new(s, set_schema_on_loop);
    c->schema = schema_ref(schema);
    c->reply_loop = reply_loop;
    c->done = applied;
    c->ctx = ctx;
    loop_post(s->loop, &c->msg);
}

static void set_rules_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    bytes_unref(&s->host.rules);
    s->host.rules = c->bytes;
    s->host.rules_version = c->version;
    for (uint32_t i = 0; i < s->n_replicas && !s->closing; i++)
        replica_rules_changed(s->replicas[i]);
}

void shard_set_rules(struct shard *s, uint32_t version, struct bytes encoded)
{
    struct call *c = call_new(s, set_rules_on_loop);
    c->version = version;
    c->bytes = bytes_ref(encoded);
    loop_post(s->loop, &c->msg);
}

static void set_config_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    s->schema.defaults = c->config->defaults;
    struct invoker_config invoker_config;
    shard_invoker_config(s->shared, c->config, &invoker_config);
    invoker_config.tracer = s->tracer;
    if (s->invoker)
        invoker_reconfigure(s->invoker, &invoker_config);
    if (s->kafka)
        kafka_ingress_set_schema(s->kafka, s->schema.schema, &s->schema.defaults);
    shard_snapshots_configure(&s->snapshots, &c->config->snapshots);
    replicated_logs_set_improvement(loop_logs_replicated(s->logs),
                                    c->config->bifrost.disable_improvement ? 0 : LOGS_IMPROVE_MS);
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
    answer->reports = xcalloc(s->n_replicas + 1, sizeof(*answer->reports));
    for (uint32_t i = 0; i < s->n_replicas && !s->closing; i++)
        answer->n_reports += replica_report(s->replicas[i], &answer->reports[answer->n_reports]);
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

struct trim_call {
    struct shard *shard;
    struct loop *reply_loop;
    replica_trim_done done; /* may be NULL */
    void *ctx;
};

static void trim_told(struct call *c)
{
    c->trim_done(c->ctx, c->upto, c->err.rc == RC_OK ? NULL : &c->err);
}

static void trim_ended(void *ctx, lsn_t trim_point, const struct err *err)
{
    struct trim_call *q = ctx;
    if (q->done) {
        struct call *answer = call_new(q->shard, trim_told);
        answer->trim_done = q->done;
        answer->ctx = q->ctx;
        answer->upto = trim_point;
        if (err)
            answer->err = *err;
        loop_post(q->reply_loop, &answer->msg);
    }
    free(q);
}

static void trim_on_loop(struct call *c)
{
    struct trim_call *q = xcalloc(1, sizeof(*q));
    *q = (struct trim_call){c->shard, c->reply_loop, c->trim_done, c->ctx};
    struct err err = {0};
    if (c->shard->closing) {
        err_set(&err, RC_CANCELED, "the node is stopping");
        trim_ended(q, 0, &err);
        return;
    }
    replica_trim_log(replica_of(c->shard, c->partition), c->upto, trim_ended, q);
}

void shard_trim_log(struct shard *s, uint16_t partition, lsn_t upto, struct loop *reply_loop,
                    replica_trim_done done, void *ctx)
{
    struct call *c = call_new(s, trim_on_loop);
    c->partition = partition;
    c->upto = upto;
    c->reply_loop = reply_loop;
    c->trim_done = done;
    c->ctx = ctx;
    loop_post(s->loop, &c->msg);
}

static void peers_on_loop(struct call *c)
{
    if (!c->shard->closing)
        replica_set_peers(replica_of(c->shard, c->partition), c->lsns, c->n_lsns);
    free(c->lsns);
}

void shard_set_peers(struct shard *s, uint16_t partition, const lsn_t *durable, size_t n)
{
    struct call *c = call_new(s, peers_on_loop);
    c->partition = partition;
    c->lsns = xcalloc(n + 1, sizeof(lsn_t));
    c->n_lsns = n;
    for (size_t i = 0; i < n; i++)
        c->lsns[i] = durable[i];
    loop_post(s->loop, &c->msg);
}

struct snapshot_call {
    struct shard *shard;
    struct loop *reply_loop;
    snapshot_create_done done;
    void *ctx;
};

static void snapshot_told(struct call *c)
{
    bool ok = c->err.rc == RC_OK;
    c->snapshot_done(c->ctx, ok ? &c->created : NULL, ok ? NULL : &c->err);
}

static void snapshot_ended(void *ctx, const struct snapshot_created *created, const struct err *err)
{
    struct snapshot_call *q = ctx;
    struct call *answer = call_new(q->shard, snapshot_told);
    answer->snapshot_done = q->done;
    answer->ctx = q->ctx;
    if (created)
        answer->created = *created;
    if (err)
        answer->err = *err;
    loop_post(q->reply_loop, &answer->msg);
    free(q);
}

static void snapshot_on_loop(struct call *c)
{
    struct snapshot_call *q = xcalloc(1, sizeof(*q));
    *q = (struct snapshot_call){c->shard, c->reply_loop, c->snapshot_done, c->ctx};
    struct err err = {0};
    if (c->shard->closing) {
        err_set(&err, RC_CANCELED, "the node is stopping");
        snapshot_ended(q, NULL, &err);
        return;
    }
    replica_create_snapshot(replica_of(c->shard, c->partition), c->upto, snapshot_ended, q);
}

void shard_create_snapshot(struct shard *s, uint16_t partition, lsn_t min_lsn, struct loop *reply_loop,
                           snapshot_create_done done, void *ctx)
{
    struct call *c = call_new(s, snapshot_on_loop);
    c->partition = partition;
    c->upto = min_lsn;
    c->reply_loop = reply_loop;
    c->snapshot_done = done;
    c->ctx = ctx;
    loop_post(s->loop, &c->msg);
}

static void visit_on_loop(struct call *c)
{
    struct replica *r = c->shard->closing ? NULL : replica_of(c->shard, c->partition);
    struct invoker_partition *invoker = r ? replica_invoker(r) : NULL;
    if (invoker)
        c->visit(c->ctx, processor_store(replica_processor(r)), invoker);
    else
        c->visit(c->ctx, NULL, NULL);
}

void shard_visit(struct shard *s, uint16_t partition,
                 void (*visit)(void *ctx, struct partition_store *store, struct invoker_partition *invoker),
                 void *ctx)
{
    struct call *c = call_new(s, visit_on_loop);
    c->partition = partition;
    c->visit = visit;
    c->ctx = ctx;
    loop_post(s->loop, &c->msg);
}

/* ---- stopping ---- */

static void answer_stopped(struct shard *s)
{
    struct call *c = call_new(s, call_done);
    c->done = s->stopped;
    c->ctx = s->stopped_ctx;
    loop_post(s->reply_loop, &c->msg);
}

static void logs_closed(void *ctx)
{
    struct shard *s = ctx;
    peers_free(s->peers);
    answer_stopped(s);
}

static void stop_finished(void *ctx)
{
    struct shard *s = ctx;
    env_timer_cancel(s->env, &s->stats_timer);
    if (s->ingress)
        ingress_free(s->ingress);
    s->ingress = NULL;
    if (s->invoker)
        invoker_free(s->invoker);
    if (s->client)
        http_client_free(s->client);
    if (s->tracer)
        tracer_free(s->tracer);
    s->tracer = NULL;
    if (s->backend)
        rocks_backend_free(s->backend);
    remote_free_keeping_peers(s->remote);
    loop_logs_close(s->logs, logs_closed, s);
}

/* Calls of Lambda functions may be with worker threads. */
static void snapshots_closed(void *ctx)
{
    struct shard *s = ctx;
    if (s->invoker)
        invoker_close(s->invoker, stop_finished, s);
    else
        stop_finished(s);
}

static void replica_closed(void *ctx)
{
    struct shard *s = ctx;
    if (++s->n_closed == s->n_replicas + 1)
        shard_snapshots_close(&s->snapshots, snapshots_closed, s);
}

static void close_replicas(struct shard *s)
{
    s->closing = true;
    for (uint32_t i = 0; i < s->n_replicas; i++)
        replica_close(s->replicas[i], replica_closed, s);
    replica_closed(s);
}

static void drained(void *ctx)
{
    struct shard *s = ctx;
    if (--s->n_draining == 0)
        answer_stopped(s);
}

static void drain_on_loop(struct call *c)
{
    struct shard *s = c->shard;
    for (size_t i = 0; i < s->n_listeners; i++)
        net_listener_close(s->listeners[i]);
    s->n_listeners = 0;
    struct kafka_ingress *kafka = s->kafka;
    s->kafka = NULL;
    s->n_draining = 1 + (s->ingress != NULL) + (kafka != NULL);
    if (kafka)
        kafka_ingress_stop(kafka, drained, s);
    if (s->ingress)
        ingress_drain(s->ingress, s->drain_timeout_ms, drained, s);
    drained(s);
}

static void stop_on_loop(struct call *c)
{
    close_replicas(c->shard);
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
    loop_logs_free(s->logs);
    loop_free(s->loop);
    router_free(s->router);
    schema_unref(s->schema.schema);
    bytes_unref(&s->host.rules);
    for (uint32_t i = 0; i < s->n_replicas; i++)
        replica_free(s->replicas[i]);
    free(s->replicas);
    free(s);
}

void shard_get_stats(const struct shard *s, struct shard_stats *out)
{
    *out = (struct shard_stats){
        .partitions = atomic_load(&s->stat_partitions),
        .leaders = atomic_load(&s->stat_leaders),
        .busy_us = atomic_load(&s->stat_busy_us),
        .max_lag = atomic_load(&s->stat_lag),
        .oldest_waiting_ms = atomic_load(&s->stat_waiting_ms),
    };
}
