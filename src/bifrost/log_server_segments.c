/* The segment store as the disk of a log-server: see log_server_store.h. */
#include <stdlib.h>

#include "bifrost/log_server_store.h"

struct segments_store {
    struct log_server_store store;
    struct env *env;
    struct env_task work;
    struct segment_store *segments;
    struct store_batch *batch;
    struct log_server_segments_observer observer;
};

static const struct log_server_store_ops ops;

static struct segments_store *self(struct log_server_store *s)
{
    ASSERT(s->ops == &ops);
    return CONTAINER_OF(s, struct segments_store, store);
}

static void put(struct segment_store *s, const struct store_entry *e)
{
    switch (e->kind) {
    case STORE_RECORD:
        segment_store_put(s, e->loglet, e->offset, e->body);
        return;
    case STORE_META:
        segment_store_put_meta(s, e->loglet, e->body);
        return;
    case STORE_SEAL:
        segment_store_put_seal(s, e->loglet);
        return;
    case STORE_TRIM:
        segment_store_put_trim(s, e->loglet, e->offset);
        return;
    }
    UNREACHABLE("store entry of kind %d", (int)e->kind);
}

static enum rc write_batch(struct segments_store *s, const struct store_batch *b, uint64_t bytes,
                           struct err *err)
{
    enum rc rc = segment_store_begin(s->segments, b->control_only ? SEGMENT_ROOM_CONTROL : SEGMENT_ROOM_DATA,
                                     b->len, bytes, err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < b->len; i++)
        put(s->segments, &b->items[i]);
    return segment_store_commit(s->segments, err);
}

static void commit(struct env_task *t)
{
    struct segments_store *s = CONTAINER_OF(t, struct segments_store, work);
    struct store_batch *b = s->batch;
    struct err err = {0};
    uint64_t bytes = 0, record_bytes = 0;
    size_t records = 0;
    for (size_t i = 0; i < b->len; i++) {
        bytes += b->items[i].body.len;
        if (b->items[i].kind == STORE_RECORD) {
            records++;
            record_bytes += b->items[i].body.len;
        }
    }
    if (s->observer.begin)
        s->observer.begin(s->observer.ctx);
    enum rc rc = write_batch(s, b, bytes, &err);
    if (s->observer.end)
        s->observer.end(s->observer.ctx, rc, records, record_bytes, &err);
    s->batch = NULL;
    b->done(b, rc);
}

static void segments_submit(struct log_server_store *store, struct store_batch *b)
{
    struct segments_store *s = self(store);
    ASSERT(!s->batch && b->len > 0);
    s->batch = b;
    env_defer(s->env, &s->work);
}

static enum rc segments_info(struct log_server_store *s, uint64_t loglet, struct loglet_info *out)
{
    return segment_store_info(self(s)->segments, loglet, out);
}

static bool segments_has(struct log_server_store *s, uint64_t loglet, uint64_t offset)
{
    return segment_store_has(self(s)->segments, loglet, offset);
}

static bool segments_extent(struct log_server_store *s, uint64_t loglet, uint64_t from, uint64_t *first,
                            uint64_t *last)
{
    return segment_store_extent(self(s)->segments, loglet, from, first, last);
}

static enum rc segments_read(struct log_server_store *s, uint64_t loglet, uint64_t from, size_t max_bytes,
                             struct stored_records *out, struct err *err)
{
    return segment_store_read(self(s)->segments, loglet, from, max_bytes, out, err);
}

static bool segments_full(struct log_server_store *s)
{
    return segment_store_full(self(s)->segments);
}

static const struct log_server_store_ops ops = {
    .submit = segments_submit,
    .info = segments_info,
    .has = segments_has,
    .extent = segments_extent,
    .read = segments_read,
    .full = segments_full,
};

struct log_server_store *log_server_segments_new(struct env *env, struct segment_store *segments)
{
    struct segments_store *s = xcalloc(1, sizeof(*s));
    s->store.ops = &ops;
    s->env = env;
    s->segments = segments;
    env_task_init(&s->work, commit);
    return &s->store;
}

void log_server_segments_observe(struct log_server_store *store, const struct log_server_segments_observer *o)
{
    self(store)->observer = *o;
}

void log_server_segments_free(struct log_server_store *store)
{
    struct segments_store *s = self(store);
    ASSERT(!s->batch);
    free(s);
}
