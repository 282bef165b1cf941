/* The log loop: see log_host.h. This is the shell around the log-server core: disk, threads, mailboxes,
 * preparing and reclaiming files, metrics. */
#include "bifrost/log_host.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "bifrost/log_port_internal.h"

#define LOG_TARGET         "restate_log_server"
#define HOUSEKEEP_PAUSE_MS 5
#define KEEP_READS_MS      1000 /* read buffers are freed when nobody has read for this long */
#define FULL_RETRY_MS      500
#define MARKER_LOGLET      UINT64_MAX /* its metadata is the storage marker; no log has such an id */

struct log_host {
    struct log_host_config config;
    struct loop *loop;
    struct disk *disk;
    struct segment_store *segments;
    struct log_server_store *store;
    struct log_server *server;
    struct env_task work;
    struct env_timer housekeeping, full_retry, forget_reads;
    bool has_read; /* since forget_reads was armed */
    struct {
        struct loop_work work;
        struct segment_prepare job;
        bool running;
    } prepare;
    struct {
        struct metric *records, *bytes, *commit;
        struct metric *refused, *shed, *segments, *file_bytes, *live_bytes, *loglets, *full;
        uint64_t refused_before, shed_before; /* as counted already */
    } metrics;
    uint64_t commit_start_ns;
    struct loglet_message_room room; /* of the remote message that is being handled */
    struct {
        struct log_port **items;
        size_t len, cap;
    } ports; /* that have asked something and are not closed */
    uint64_t next_token;
    bool was_full;
    struct loop_msg stop;
    struct env_task stop_task;
    bool started, stopping;
    struct {
        _Atomic uint64_t commits, records, bytes_appended, segments, live_bytes, file_bytes;
        _Atomic uint64_t loglets, refused, shed;
        _Atomic bool full, failsafe;
    } stats;
};

/* ---- what others may look at ---- */

static void put(_Atomic uint64_t *where, uint64_t v)
{
    atomic_store_explicit(where, v, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *where)
{
    return atomic_load_explicit(where, memory_order_relaxed);
}

static void tell_space_again(struct log_host *h);

static void publish_stats(struct log_host *h)
{
    struct segment_store_stats s;
    struct log_server_stats ls;
    segment_store_get_stats(h->segments, &s);
    log_server_get_stats(h->server, &ls);
    put(&h->stats.commits, s.commits);
    put(&h->stats.records, s.records);
    put(&h->stats.bytes_appended, s.bytes_appended);
    put(&h->stats.segments, s.segments);
    put(&h->stats.live_bytes, s.live_bytes);
    put(&h->stats.file_bytes, s.file_bytes);
    put(&h->stats.loglets, ls.loglets);
    put(&h->stats.refused, ls.refused);
    put(&h->stats.shed, ls.shed);
    atomic_store_explicit(&h->stats.full, s.full, memory_order_relaxed);
    atomic_store_explicit(&h->stats.failsafe, log_server_failsafe(h->server), memory_order_relaxed);
    if (h->was_full && !s.full)
        tell_space_again(h);
    h->was_full = s.full;
}

void log_host_get_stats(struct log_host *h, struct log_host_stats *out)
{
    *out = (struct log_host_stats){
        .commits = get(&h->stats.commits),
        .records = get(&h->stats.records),
        .bytes_appended = get(&h->stats.bytes_appended),
        .bytes_written = h->disk->bytes_written,
        .syncs = h->disk->syncs,
        .segments = get(&h->stats.segments),
        .live_bytes = get(&h->stats.live_bytes),
        .file_bytes = get(&h->stats.file_bytes),
        .loglets = get(&h->stats.loglets),
        .refused = get(&h->stats.refused),
        .shed = get(&h->stats.shed),
        .full = atomic_load_explicit(&h->stats.full, memory_order_relaxed),
        .failsafe = atomic_load_explicit(&h->stats.failsafe, memory_order_relaxed),
    };
}

bool log_host_refuses(struct log_host *h)
{
    return atomic_load_explicit(&h->stats.full, memory_order_relaxed) ||
           atomic_load_explicit(&h->stats.failsafe, memory_order_relaxed);
}

void log_host_refresh_metrics(struct log_host *h)
{
    struct log_host_stats s;
    log_host_get_stats(h, &s);
    metric_add(h->metrics.refused, (int64_t)(s.refused - h->metrics.refused_before));
    metric_add(h->metrics.shed, (int64_t)(s.shed - h->metrics.shed_before));
    h->metrics.refused_before = s.refused;
    h->metrics.shed_before = s.shed;
    metric_set(h->metrics.segments, (int64_t)s.segments);
    metric_set(h->metrics.file_bytes, (int64_t)s.file_bytes);
    metric_set(h->metrics.live_bytes, (int64_t)s.live_bytes);
    metric_set(h->metrics.loglets, (int64_t)s.loglets);
    metric_set(h->metrics.full, s.full);
}

struct loop *log_host_loop(struct log_host *h)
{
    return h->loop;
}

void log_host_each_loglet(struct log_host *h,
                          void (*visit)(void *ctx, const struct log_server_loglet_view *v), void *ctx)
{
    log_server_each(h->server, visit, ctx);
}

/* ---- housekeeping ---- */

static void prepare_work(struct loop_work *w)
{
    segment_prepare_run(&CONTAINER_OF(w, struct log_host, prepare.work)->prepare.job);
}

static void start_preparing(struct log_host *h);

static void prepare_done(struct loop_work *w)
{
    struct log_host *h = CONTAINER_OF(w, struct log_host, prepare.work);
    struct err err = {0};
    h->prepare.running = false;
    enum rc rc = segment_store_prepare_end(h->segments, &h->prepare.job, &err);
    if (rc != RC_OK && rc != RC_NO_SPACE)
        LOG0(LOG_WARN, LOG_TARGET, "Cannot prepare a log file: %s", err.msg);
    publish_stats(h);
    if (h->stopping)
        env_defer(loop_env(h->loop), &h->stop_task);
    else if (rc != RC_OK)
        env_timer_arm(loop_env(h->loop), &h->full_retry, FULL_RETRY_MS);
    else
        start_preparing(h); /* the next file */
}

static void start_preparing(struct log_host *h)
{
    if (h->prepare.running || h->stopping || env_timer_armed(&h->full_retry) ||
        !segment_store_prepare_begin(h->segments, &h->prepare.job))
        return;
    h->prepare.running = true;
    h->prepare.work.work = prepare_work;
    h->prepare.work.done = prepare_done;
    loop_work_submit(h->loop, &h->prepare.work);
}

static void on_full_retry(struct env_timer *t)
{
    struct log_host *h = CONTAINER_OF(t, struct log_host, full_retry);
    start_preparing(h);
    publish_stats(h);
}

static void on_forget_reads(struct env_timer *t)
{
    struct log_host *h = CONTAINER_OF(t, struct log_host, forget_reads);
    if (h->has_read)
        env_timer_arm(loop_env(h->loop), t, KEEP_READS_MS);
    else
        segment_store_forget_reads(h->segments);
    h->has_read = false;
}

static void note_read(struct log_host *h)
{
    h->has_read = true;
    if (!env_timer_armed(&h->forget_reads))
        env_timer_arm(loop_env(h->loop), &h->forget_reads, KEEP_READS_MS);
}

static void on_housekeeping(struct env_timer *t)
{
    struct log_host *h = CONTAINER_OF(t, struct log_host, housekeeping);
    struct err err = {0};
    enum rc rc = segment_store_housekeep(h->segments, &err);
    if (rc == RC_OK)
        note_read(h); /* it reads what it moves */
    if (rc == RC_CORRUPT || rc == RC_IO)
        LOG0(LOG_ERROR, LOG_TARGET, "Cannot reclaim log space: %s", err.msg);
    if (rc == RC_OK)
        env_timer_arm(loop_env(h->loop), &h->housekeeping, HOUSEKEEP_PAUSE_MS);
    publish_stats(h);
    start_preparing(h);
}

/* After each batch. */
static void run_work(struct env_task *t)
{
    struct log_host *h = CONTAINER_OF(t, struct log_host, work);
    publish_stats(h);
    if (!env_timer_armed(&h->housekeeping))
        env_timer_arm(loop_env(h->loop), &h->housekeeping, HOUSEKEEP_PAUSE_MS);
    start_preparing(h);
}

/* ---- batches, as the store tells ---- */

static void batch_begins(void *ctx)
{
    struct log_host *h = ctx;
    h->commit_start_ns = os_mono_ns();
}

static void batch_ended(void *ctx, enum rc rc, size_t records, uint64_t bytes, const struct err *err)
{
    struct log_host *h = ctx;
    if (rc == RC_OK) {
        metric_observe_us(h->metrics.commit, (os_mono_ns() - h->commit_start_ns) / 1000);
        metric_add(h->metrics.records, (int64_t)records);
        metric_add(h->metrics.bytes, (int64_t)bytes);
    } else if (rc == RC_NO_SPACE) {
        env_timer_arm(loop_env(h->loop), &h->full_retry, FULL_RETRY_MS);
    } else {
        LOG0(LOG_ERROR, LOG_TARGET, "Log-server stops accepting writes until it is restarted: %s", err->msg);
    }
    env_defer(loop_env(h->loop), &h->work);
}

/* ---- requests of this process ---- */

static void on_message(struct log_host *h, const struct log_server_peer *from, const struct loglet_message *m)
{
    if (m->kind == LOGLET_GET_RECORDS)
        note_read(h);
    log_server_on_message(h->server, from, m);
}

/* By token and not by address: the log-server may want to answer a port that is gone. */
static struct log_port *find_port(const struct log_host *h, uint64_t token)
{
    for (size_t i = 0; i < h->ports.len; i++) {
        if (h->ports.items[i]->host_side.token == token)
            return h->ports.items[i];
    }
    return NULL;
}

static void flush_replies(struct loop_flush *f)
{
    struct log_port *p = CONTAINER_OF(f, struct log_port, host_side.flush);
    struct log_parcel *parcel = p->host_side.out;
    p->host_side.out = NULL;
    parcel->msg.deliver = log_port_on_parcel;
    loop_post(p->loop, &parcel->msg);
}

static struct log_parcel *reply_parcel(struct log_host *h, struct log_port *p)
{
    if (!p->host_side.out) {
        p->host_side.out = log_port_take_parcel(p, &p->host_side.spare);
        loop_flush_request(h->loop, &p->host_side.flush);
    }
    return p->host_side.out;
}

/* Who was refused has to try again; in this process nobody needs to wait for that. */
static void tell_space_again(struct log_host *h)
{
    for (size_t i = 0; i < h->ports.len; i++)
        reply_parcel(h, h->ports.items[i])->space_again = true;
}

static void register_port(struct log_host *h, struct log_port *p)
{
    p->host_side.token = ++h->next_token;
    loop_flush_init(&p->host_side.flush, flush_replies);
    VEC_PUSH(&h->ports, p);
}

void log_host_on_parcel(struct loop_msg *msg)
{
    struct log_parcel *parcel = CONTAINER_OF(msg, struct log_parcel, msg);
    struct log_port *port = parcel->port;
    if (!port->host_side.token)
        register_port(port->host, port);
    struct log_server_peer from = {port->me, port->host_side.token};
    for (size_t i = 0; i < parcel->messages.len; i++) {
        struct loglet_message m = log_parcel_get(parcel, i);
        on_message(port->host, &from, &m);
    }
    log_port_keep_parcel(parcel, &port->host_side.spare);
}

static void reply(void *ctx, const struct log_server_peer *to, const struct loglet_message *m)
{
    struct log_host *h = ctx;
    if (to->node.id != h->config.me.id) {
        if (h->config.remote_reply)
            h->config.remote_reply(h->config.ctx, to, m);
        return;
    }
    struct log_port *p = find_port(h, to->token);
    if (p)
        log_parcel_add(reply_parcel(h, p), m);
}

/* ---- other nodes ---- */

bool log_host_on_frame(struct log_host *h, struct node_ref from, uint64_t token, struct bytes frame)
{
    struct loglet_message m;
    if (from.id == h->config.me.id || !loglet_message_decode(frame, &h->room, &m))
        return false;
    struct log_server_peer peer = {from, token};
    on_message(h, &peer, &m);
    return true;
}

struct writable_msg {
    struct loop_msg msg;
    struct log_host *host;
    bool writable;
};

static void set_writable(struct loop_msg *msg)
{
    struct writable_msg *m = CONTAINER_OF(msg, struct writable_msg, msg);
    log_server_set_writable(m->host->server, m->writable);
    free(m);
}

void log_host_set_writable(struct log_host *h, bool writable)
{
    struct writable_msg *m = xcalloc(1, sizeof(*m));
    m->msg.deliver = set_writable;
    m->host = h;
    m->writable = writable;
    loop_post(h->loop, &m->msg);
}

/* ---- the storage marker ---- */

struct marker {
    uint32_t node_id;
    uint64_t created_at;
};

static bool read_marker(struct log_host *h, struct marker *out)
{
    struct loglet_info info;
    if (segment_store_info(h->segments, MARKER_LOGLET, &info) != RC_OK || info.meta.len == 0)
        return false;
    json_t *o = json_loadb((const char *)info.meta.ptr, info.meta.len, JSON_REJECT_DUPLICATES, NULL);
    out->node_id = (uint32_t)json_integer_value(json_object_get(o, "id"));
    out->created_at = (uint64_t)json_integer_value(json_object_get(o, "created_at"));
    json_decref(o);
    return true; /* unreadable: that of node 0, which is nobody */
}

static void note_loglet(void *ctx, uint64_t loglet)
{
    *(bool *)ctx |= loglet != MARKER_LOGLET;
}

static bool holds_records(struct log_host *h)
{
    bool any = false;
    segment_store_each(h->segments, note_loglet, &any);
    return any;
}

enum log_store_verdict log_host_check(struct log_host *h, enum storage_state state,
                                      const struct storage_generation *generation, struct err *err)
{
    uint32_t me = h->config.me.id;
    struct marker marker = {0};
    bool present = read_marker(h, &marker);
    if (present && marker.node_id != me) {
        err_set(err, RC_CONFLICT,
                "log-server storage marker was found but it was created by another node. Found N%u while "
                "this node is N%u",
                marker.node_id, me);
        return LOG_STORE_REFUSE;
    }
    if (state == STORAGE_DISABLED) {
        err_set(err, RC_CONFLICT, "This node cannot start its log-server because its storage-state is `%s`",
                storage_state_name(state));
        return LOG_STORE_REFUSE;
    }
    if (state == STORAGE_PROVISIONING && !generation)
        return present ? LOG_STORE_READY : LOG_STORE_FRESH;
    /* A new disk that did not come so far as to serve anything begins again. */
    if (!holds_records(h) && (!present || state == STORAGE_DATA_LOSS))
        return LOG_STORE_LOST;
    if (!present) {
        err_set(err, RC_CORRUPT, "the log-server's store in its data directory has lost its storage marker");
        return LOG_STORE_DOUBT;
    }
    if (generation && marker.created_at != generation->created_at) {
        err_set(
            err, RC_CONFLICT,
            "the log-server's store in its data directory is from before the node came back with an empty "
            "disk (made at %llu, the one that counts at %llu), and lacks what was acknowledged since",
            (unsigned long long)marker.created_at, (unsigned long long)generation->created_at);
        return LOG_STORE_DOUBT;
    }
    if (state == STORAGE_DATA_LOSS) {
        err_set(err, RC_CORRUPT,
                "its storage-state is `data-loss`, and yet its data directory holds a log-server's store. "
                "Only if "
                "nothing of what was written last can be missing there: `restatectl nodes set-storage-state "
                "--nodes N%u --storage-state read-write --force` lets it go on",
                me);
        return LOG_STORE_DOUBT;
    }
    return state == STORAGE_PROVISIONING ? LOG_STORE_READY : LOG_STORE_RUN;
}

enum rc log_host_write_marker(struct log_host *h, uint64_t created_at, struct err *err)
{
    ASSERT(!h->started);
    char text[96];
    int len = snprintf(text, sizeof(text), "{\"id\":%u,\"created_at\":%llu}", h->config.me.id,
                       (unsigned long long)created_at);
    enum rc rc = segment_store_begin(h->segments, SEGMENT_ROOM_CONTROL, 1, (uint64_t)len, err);
    if (rc != RC_OK)
        return rc;
    segment_store_put_meta(h->segments, MARKER_LOGLET, slice_make(text, (size_t)len));
    return segment_store_commit(h->segments, err);
}

void log_host_set_lost(struct log_host *h, const struct storage_generation *generation)
{
    ASSERT(!h->started);
    log_server_set_lost(h->server, generation);
}

/* ---- life ---- */

static void register_metrics(struct log_host *h)
{
    h->metrics.records = metric_counter("restate_log_server_store_records_total", "status=\"ok\"",
                                        "Records stored by the log-server");
    h->metrics.bytes = metric_counter("restate_log_server_store_bytes_total", "status=\"ok\"",
                                      "Bytes of records stored by the log-server");
    h->metrics.refused = metric_counter("restate_log_server_refused_total", NULL,
                                        "Requests to store that the log-server refused: sealed segments, "
                                        "other writers, a full disk");
    h->metrics.shed =
        metric_counter("restate_log_server_shed_total", NULL,
                       "Requests to store that the log-server shed because too much was waiting");
    h->metrics.segments = metric_gauge("restate_log_store_segments", NULL, "Segment files of the log store");
    h->metrics.file_bytes = metric_gauge("restate_log_store_file_bytes", NULL,
                                         "Disk space of the log store, with spare files and reserve");
    h->metrics.live_bytes =
        metric_gauge("restate_log_store_live_bytes", NULL, "Bytes of the log store that are not trimmed");
    h->metrics.loglets =
        metric_gauge("restate_log_server_loglets", NULL, "Log segments that the log-server has in memory");
    h->metrics.full = metric_gauge("restate_log_store_full", NULL,
                                   "1 while the log-server takes no records because the disk is full");
    h->metrics.commit = metric_summary("restate_log_store_commit_duration_seconds", NULL,
                                       "Duration of one durable write of the log store");
}

static uint64_t random_salt(void)
{
    uint64_t salt;
    ssize_t n;
    do {
        n = getrandom(&salt, sizeof(salt), 0);
    } while (n < 0 && errno == EINTR);
    ASSERT(n == sizeof(salt));
    return salt;
}

/* Posts nothing more and frees nothing until everything that was begun has an end. */
static void try_stop(struct env_task *t)
{
    struct log_host *h = CONTAINER_OF(t, struct log_host, stop_task);
    if (log_server_busy(h->server))
        env_defer(loop_env(h->loop), t);
    else if (!h->prepare.running)
        loop_stop(h->loop);
}

static void on_stop(struct loop_msg *msg)
{
    struct log_host *h = CONTAINER_OF(msg, struct log_host, stop);
    h->stopping = true;
    log_server_flush(h->server);
    env_defer(loop_env(h->loop), &h->stop_task);
}

void log_host_on_port_closed(struct loop_msg *msg)
{
    struct log_port *p = CONTAINER_OF(msg, struct log_port, close_msg);
    struct log_host *h = p->host;
    for (size_t i = 0; i < h->ports.len; i++) {
        if (h->ports.items[i] == p)
            h->ports.items[i] = h->ports.items[--h->ports.len];
    }
    if (p->host_side.out) {
        list_remove(&p->host_side.flush.link);
        log_parcel_free(p->host_side.out);
        p->host_side.out = NULL;
    }
    msg->deliver = log_port_on_closed;
    loop_post(p->loop, msg);
}

enum rc log_host_open_disk(struct disk *disk, const struct segment_store_options *options,
                           const struct log_host_config *config, struct log_host **out, struct err *err)
{
    struct log_host *h = xcalloc(1, sizeof(*h));
    h->config = *config;
    h->disk = disk;
    enum rc rc = segment_store_open(disk, options, &h->segments, err);
    if (rc != RC_OK) {
        disk->ops->free(disk);
        free(h);
        return rc;
    }
    h->loop = loop_new("log");
    struct env *env = loop_env(h->loop);
    h->store = log_server_segments_new(env, h->segments);
    log_server_segments_observe(h->store,
                                &(struct log_server_segments_observer){batch_begins, batch_ended, h});
    h->server =
        log_server_new(&(struct log_server_config){.env = env, .store = h->store, .reply = reply, .ctx = h});
    env_task_init(&h->work, run_work);
    env_task_init(&h->stop_task, try_stop);
    env_timer_init(&h->housekeeping, on_housekeeping);
    env_timer_init(&h->full_retry, on_full_retry);
    env_timer_init(&h->forget_reads, on_forget_reads);
    register_metrics(h);
    publish_stats(h);
    *out = h;
    return RC_OK;
}

enum rc log_host_open(const char *directory, const struct log_host_config *config, struct log_host **out,
                      struct err *err)
{
    struct disk *disk;
    enum rc rc = disk_posix_open(directory, &disk, err);
    if (rc != RC_OK)
        return rc;
    struct segment_store_options options = {.random = random_salt()};
    return log_host_open_disk(disk, &options, config, out, err);
}

void log_host_start(struct log_host *h)
{
    env_defer(loop_env(h->loop), &h->work); /* prepares files; the thread does not run yet */
    h->started = true;
    loop_start(h->loop);
}

void log_host_close(struct log_host *h)
{
    if (h->started) {
        h->stop.deliver = on_stop;
        loop_post(h->loop, &h->stop);
        loop_join(h->loop);
    }
    log_server_free(h->server);
    log_server_segments_free(h->store);
    loop_free(h->loop);
    segment_store_close(h->segments);
    h->disk->ops->free(h->disk);
    VEC_FREE(&h->ports);
    free(h);
}
