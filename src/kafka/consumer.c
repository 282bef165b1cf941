/* The loop's side of a consumer: see kafka/consumer.h. */
#include "kafka/consumer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kafka/internal.h"

void consumer_wake(struct consumer *c)
{
    uint64_t one = 1;
    ssize_t n = write(c->wake, &one, sizeof(one));
    ASSERT(n == sizeof(one) || errno == EAGAIN);
}

/* ---- what the logs have ---- */

static void on_progress(void *ctx, int64_t next_offset, size_t bytes, size_t records)
{
    struct loop_stream *s = ctx;
    struct consumer *c = s->consumer;
    struct progress p = {s->partition, s->generation, next_offset, records};
    bool merged = false;
    atomic_fetch_sub(&c->config.budget->used, bytes);
    pthread_mutex_lock(&c->inbox.lock);
    for (size_t i = 0; i < c->inbox.progress.len && !merged; i++) {
        struct progress *q = &c->inbox.progress.items[i];
        merged = q->partition == p.partition && q->generation == p.generation;
        if (merged) {
            q->next_offset = next_offset;
            q->records += records;
        }
    }
    if (!merged)
        VEC_PUSH(&c->inbox.progress, p);
    pthread_mutex_unlock(&c->inbox.lock);
    consumer_wake(c);
}

/* ---- what the thread hands over ---- */

static struct loop_stream *find_stream(struct consumer *c, const struct handoff *h)
{
    LIST_FOREACH(n, &c->streams)
    {
        struct loop_stream *s = CONTAINER_OF(n, struct loop_stream, link_);
        if (s->partition == h->partition && s->generation == h->generation)
            return s;
    }
    return NULL;
}

static void open_stream(struct consumer *c, const struct handoff *h)
{
    struct loop_stream *s = xcalloc(1, sizeof(*s));
    s->consumer = c;
    s->partition = h->partition;
    s->generation = h->generation;
    s->stream = stream_open(c->config.ingestion, on_progress, s);
    list_push_back(&c->streams, &s->link_);
}

static void close_stream(struct loop_stream *s)
{
    atomic_fetch_sub(&s->consumer->config.budget->used, stream_close(s->stream));
    list_remove(&s->link_);
    free(s);
}

static void push_records(struct consumer *c, struct handoff *h)
{
    struct loop_stream *s = find_stream(c, h);
    ASSERT(s); /* it is closed by the thread only */
    for (size_t i = 0; i < h->n; i++) {
        struct handed *r = &h->items[i];
        uint32_t lane = c->config.partition_of(c->config.partition_ctx, r->partition_key);
        stream_push(s->stream, r->offset, lane, r->partition_key, r->record);
    }
    stream_flush(s->stream);
}

static void finish(struct consumer *c)
{
    void (*stopped)(void *ctx) = c->stopped;
    void *ctx = c->stopped_ctx;
    pthread_join(c->thread, NULL);
    ASSERT(list_empty(&c->streams));
    close(c->wake);
    pthread_mutex_destroy(&c->inbox.lock);
    VEC_FREE(&c->inbox.progress);
    schema_unref(c->inbox.schema);
    schema_unref(c->schema);
    VEC_FREE(&c->assigned);
    kafka_settings_free(&c->settings);
    free(c->topic);
    free(c->group);
    free(c);
    stopped(ctx);
}

static void deliver(struct loop_msg *m)
{
    struct handoff *h = CONTAINER_OF(m, struct handoff, msg);
    struct consumer *c = h->consumer;
    switch (h->kind) {
    case HANDOFF_OPEN:
        open_stream(c, h);
        break;
    case HANDOFF_RECORDS:
        push_records(c, h);
        break;
    case HANDOFF_CLOSE:
        close_stream(find_stream(c, h));
        break;
    case HANDOFF_STOPPED:
        finish(c);
        break;
    }
    free(h);
}

struct handoff *handoff_new(struct consumer *c, enum handoff_kind kind, int32_t partition,
                            uint64_t generation, size_t n)
{
    struct handoff *h = xcalloc(1, sizeof(*h) + n * sizeof(h->items[0]));
    h->msg.deliver = deliver;
    h->consumer = c;
    h->kind = kind;
    h->partition = partition;
    h->generation = generation;
    return h;
}

/* ---- life ---- */

struct consumer *consumer_start(const struct consumer_config *config, struct kafka_settings *settings,
                                struct schema *schema, const struct schema_defaults *defaults)
{
    struct consumer *c = xcalloc(1, sizeof(*c));
    const struct schema_subscription *s = schema_subscription(schema, config->subscription);
    ASSERT(s);
    c->config = *config;
    c->settings = *settings;
    *settings = (struct kafka_settings){0};
    resource_id_format(RESOURCE_SUBSCRIPTION, s->id, c->name);
    c->topic = xstrdup(s->topic);
    const char *group = kafka_settings_get(&c->settings, "group.id");
    c->group = xstrdup(group ? group : c->name);
    c->schema = schema_ref(schema);
    c->defaults = *defaults;
    list_init(&c->streams);
    pthread_mutex_init(&c->inbox.lock, NULL);
    c->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ASSERT_MSG(c->wake >= 0, "no file descriptor for a Kafka consumer");
    sigset_t all, before; /* signals are for the main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&c->thread, NULL, consumer_thread, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT_MSG(failed == 0, "no thread for a Kafka consumer");
    return c;
}

void consumer_set_schema(struct consumer *c, struct schema *schema, const struct schema_defaults *defaults)
{
    pthread_mutex_lock(&c->inbox.lock);
    schema_unref(c->inbox.schema);
    c->inbox.schema = schema_ref(schema);
    c->inbox.defaults = *defaults;
    pthread_mutex_unlock(&c->inbox.lock);
    consumer_wake(c);
}

void consumer_stop(struct consumer *c, void (*stopped)(void *ctx), void *ctx)
{
    ASSERT(!c->stopping);
    c->stopping = true;
    c->stopped = stopped;
    c->stopped_ctx = ctx;
    pthread_mutex_lock(&c->inbox.lock);
    c->inbox.stop = true;
    pthread_mutex_unlock(&c->inbox.lock);
    consumer_wake(c);
}
