/* Implementation of kafka/ingestion.h. */
#include "kafka/ingestion.h"

#include <stdlib.h>

#include "base/log.h"

#define TARGET "restate_ingress_kafka"

struct entry {
    struct list in_stream, in_lane;
    int64_t offset;
    uint64_t partition_key;
    struct bytes record;
    size_t bytes;
    bool done;
};

struct lane {
    struct ingestion *ingestion;
    struct stream *stream; /* NULL: closed, and freed with the answer */
    struct list link_;     /* in the stream's */
    uint32_t number;
    struct list entries;
    size_t sent; /* so many of the first entries are in flight */
    bool busy;
    struct partition_rpc rpc;
    struct env_timer retry;
    unsigned failures; /* one after the other */
};

struct stream {
    struct ingestion *ingestion;
    struct list link_;
    struct list entries, lanes;
    size_t bytes;
    stream_progress_fn progress;
    void *ctx;
};

struct ingestion {
    struct env *env;
    struct partition_router *router;
    struct ingestion_config config;
    struct list streams, orphans; /* lanes in flight whose stream is closed */
    size_t in_flight;
    bool dying;
    void (*gone)(void *ctx);
    void *ctx;
};

struct ingestion *ingestion_new(struct env *env, struct partition_router *router,
                                const struct ingestion_config *config)
{
    struct ingestion *g = xcalloc(1, sizeof(*g));
    g->env = env;
    g->router = router;
    g->config = *config;
    list_init(&g->streams);
    list_init(&g->orphans);
    return g;
}

static void release(struct ingestion *g)
{
    if (!g->dying || g->in_flight > 0)
        return;
    void (*gone)(void *ctx) = g->gone;
    void *ctx = g->ctx;
    free(g);
    if (gone)
        gone(ctx);
}

void ingestion_free(struct ingestion *g, void (*gone)(void *ctx), void *ctx)
{
    LIST_FOREACH_SAFE(n, next, &g->streams)
    stream_close(CONTAINER_OF(n, struct stream, link_));
    g->gone = gone;
    g->ctx = ctx;
    LIST_FOREACH_SAFE(n, next, &g->orphans)
    partition_router_cancel(g->router, &CONTAINER_OF(n, struct lane, link_)->rpc);
    g->dying = true;
    release(g);
}

size_t ingestion_requests_in_flight(const struct ingestion *g)
{
    return g->in_flight;
}

/* ---- lanes ---- */

static void entry_free(struct entry *e)
{
    bytes_unref(&e->record);
    free(e);
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply);

static void lane_send(struct lane *l)
{
    struct ingestion *g = l->ingestion;
    struct entry *first = CONTAINER_OF(l->entries.next, struct entry, in_lane);
    struct writer w = WRITER_INIT;
    l->sent = 0;
    LIST_FOREACH(n, &l->entries)
    {
        struct entry *e = CONTAINER_OF(n, struct entry, in_lane);
        if (l->sent > 0 && w.len + e->bytes > g->config.batch_bytes)
            break;
        rpc_ingest_add(&w, bytes_slice(e->record));
        l->sent++;
    }
    l->rpc = (struct partition_rpc){.kind = RPC_INGEST,
                                    .request_id = {env_random(g->env), env_random(g->env)},
                                    .partition_key = first->partition_key,
                                    .record = writer_take(&w),
                                    .reply = on_reply};
    l->busy = true;
    g->in_flight++;
    partition_router_submit(g->router, &l->rpc);
}

static void lane_run(struct lane *l)
{
    if (!l->busy && !env_timer_armed(&l->retry) && !list_empty(&l->entries))
        lane_send(l);
}

static void retry(struct env_timer *t)
{
    lane_run(CONTAINER_OF(t, struct lane, retry));
}

static struct lane *lane_of(struct stream *s, uint32_t number)
{
    LIST_FOREACH(n, &s->lanes)
    {
        struct lane *l = CONTAINER_OF(n, struct lane, link_);
        if (l->number == number)
            return l;
    }
    struct lane *l = xcalloc(1, sizeof(*l));
    l->ingestion = s->ingestion;
    l->stream = s;
    l->number = number;
    list_init(&l->entries);
    env_timer_init(&l->retry, retry);
    list_push_back(&s->lanes, &l->link_);
    return l;
}

/* Everything at the front of the stream that is done. */
static void stream_advance(struct stream *s)
{
    int64_t next = -1;
    size_t bytes = 0, records = 0;
    while (!list_empty(&s->entries)) {
        struct entry *e = CONTAINER_OF(s->entries.next, struct entry, in_stream);
        if (!e->done)
            break;
        next = e->offset + 1;
        bytes += e->bytes;
        records++;
        list_remove(&e->in_stream);
        entry_free(e);
    }
    s->bytes -= bytes;
    if (records)
        s->progress(s->ctx, next, bytes, records);
}

static void lane_committed(struct lane *l)
{
    for (; l->sent > 0; l->sent--) {
        struct entry *e = CONTAINER_OF(list_pop_front(&l->entries), struct entry, in_lane);
        bytes_unref(&e->record);
        e->done = true;
    }
    l->failures = 0;
}

/* Fail-over takes a moment: only what lasts is worth a line. */
#define FAILURES_TOLD_EVERY 60u
#define FAILURES_TOLD_FIRST 7u

static void lane_failed(struct lane *l, const struct rpc_reply *reply)
{
    bool bug = reply->rc == RC_INVALID || reply->rc == RC_TOO_LARGE || reply->rc == RC_UNSUPPORTED;
    uint64_t pause = bug || l->failures >= 6 ? INGESTION_RETRY_MAX_MS : INGESTION_RETRY_MIN_MS << l->failures;
    l->failures++;
    if (l->failures % FAILURES_TOLD_EVERY == (bug ? 1 : FAILURES_TOLD_FIRST))
        LOG0(bug ? LOG_ERROR : LOG_WARN, TARGET,
             "Records from Kafka cannot be appended to the log of partition %u, trying again: %s", l->number,
             reply->detail[0] ? reply->detail : rc_name(reply->rc));
    l->sent = 0;
    env_timer_arm(l->ingestion->env, &l->retry, MIN(pause, (uint64_t)INGESTION_RETRY_MAX_MS));
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct lane *l = CONTAINER_OF(rpc, struct lane, rpc);
    struct ingestion *g = l->ingestion;
    struct stream *s = l->stream;
    l->busy = false;
    g->in_flight--;
    if (!s) {
        list_remove(&l->link_);
        free(l);
        release(g);
        return;
    }
    if (reply->status == RPC_OK) {
        lane_committed(l);
        lane_run(l);
        stream_advance(s); /* last: it may close the stream */
    } else {
        lane_failed(l, reply);
    }
}

/* ---- streams ---- */

struct stream *stream_open(struct ingestion *g, stream_progress_fn progress, void *ctx)
{
    struct stream *s = xcalloc(1, sizeof(*s));
    s->ingestion = g;
    s->progress = progress;
    s->ctx = ctx;
    list_init(&s->entries);
    list_init(&s->lanes);
    list_push_back(&g->streams, &s->link_);
    return s;
}

void stream_push(struct stream *s, int64_t offset, uint32_t lane, uint64_t partition_key,
                 struct bytes record_take)
{
    struct entry *e = xcalloc(1, sizeof(*e));
    e->offset = offset;
    e->partition_key = partition_key;
    e->bytes = record_take.len;
    e->record = record_take;
    list_init(&e->in_lane);
    list_push_back(&s->entries, &e->in_stream);
    s->bytes += e->bytes;
    if (e->bytes == 0) {
        e->done = true;
        stream_advance(s);
        return;
    }
    list_push_back(&lane_of(s, lane)->entries, &e->in_lane);
}

void stream_flush(struct stream *s)
{
    LIST_FOREACH(n, &s->lanes)
    lane_run(CONTAINER_OF(n, struct lane, link_));
}

size_t stream_close(struct stream *s)
{
    struct ingestion *g = s->ingestion;
    struct list *n;
    size_t bytes = s->bytes;
    while ((n = list_pop_front(&s->lanes))) {
        struct lane *l = CONTAINER_OF(n, struct lane, link_);
        env_timer_cancel(g->env, &l->retry);
        l->stream = NULL;
        list_init(&l->entries);
        if (l->busy)
            list_push_back(&g->orphans, &l->link_);
        else
            free(l);
    }
    while ((n = list_pop_front(&s->entries)))
        entry_free(CONTAINER_OF(n, struct entry, in_stream));
    list_remove(&s->link_);
    free(s);
    return bytes;
}
