/* Simulated disk of a log-server: batches are durable after a latency; a crash keeps all of a batch or
 * nothing. */
#include <stdlib.h>

#include "sim/loglet_sim.h"

struct sim_disk {
    struct log_server_store store;
    struct sim_world *world;
    unsigned node;
    struct omap loglets;
    struct store_batch *batch; /* being written */
    uint64_t batch_number;
    bool applied; /* MUTATE_ACK_BEFORE_SYNC never loses what it wrote before the crash lottery */
    unsigned latency_ms;
    bool full, fail_next;
    /* MUTATE_ACK_BEFORE_SYNC: reported, but a crash may take them. */
    struct {
        struct {
            uint64_t loglet, offset;
        } * items;
        size_t len, cap;
    } unsynced;
};

struct disk_event {
    struct sim_event event;
    uint64_t batch_number;
};

static const struct log_server_store_ops ops;

static struct sim_disk *self(struct log_server_store *s)
{
    ASSERT(s->ops == &ops);
    return CONTAINER_OF(s, struct sim_disk, store);
}

static int loglet_cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct sim_disk_loglet, node)->id;
    uint64_t y = CONTAINER_OF(b, struct sim_disk_loglet, node)->id;
    return x < y ? -1 : x > y;
}

static int loglet_key_cmp(const void *key, const struct omap_node *n)
{
    uint64_t x = *(const uint64_t *)key, y = CONTAINER_OF(n, struct sim_disk_loglet, node)->id;
    return x < y ? -1 : x > y;
}

static struct sim_disk_loglet *find(struct sim_disk *d, uint64_t id)
{
    struct omap_node *n = omap_find(&d->loglets, &id, loglet_key_cmp);
    return n ? CONTAINER_OF(n, struct sim_disk_loglet, node) : NULL;
}

const struct sim_disk_loglet *sim_disk_find(struct sim_disk *d, uint64_t loglet)
{
    return find(d, loglet);
}

static struct sim_disk_loglet *make(struct sim_disk *d, uint64_t id)
{
    struct sim_disk_loglet *l = find(d, id);
    if (!l) {
        l = xcalloc(1, sizeof(*l));
        l->id = id;
        l->tail = 1;
        omap_insert(&d->loglets, &l->node);
    }
    return l;
}

static bool has(const struct sim_disk_loglet *l, uint64_t offset)
{
    return l && offset >= 1 && offset <= l->cap && l->records[offset - 1].ptr;
}

bool sim_disk_has(struct sim_disk *d, uint64_t loglet, uint64_t offset)
{
    return has(find(d, loglet), offset);
}

static void put_record(struct sim_disk *d, struct sim_disk_loglet *l, const struct store_entry *e)
{
    if (e->offset > l->cap) {
        size_t before = l->cap;
        l->records = vec_grow(l->records, &l->cap, e->offset, sizeof(*l->records));
        memset(l->records + before, 0, (l->cap - before) * sizeof(*l->records));
    }
    ASSERT_MSG(!has(l, e->offset), "a record is stored twice");
    ASSERT_MSG(e->offset > l->trim_point, "a trimmed record is stored");
    l->records[e->offset - 1] = bytes_copy(e->body);
    l->tail = MAX(l->tail, e->offset + 1);
    if (d->world->options.mutation == MUTATE_ACK_BEFORE_SYNC) {
        VEC_PUSH(&d->unsynced, ((__typeof__(*d->unsynced.items)){l->id, e->offset}));
    }
}

static void put_trim(struct sim_disk_loglet *l, uint64_t upto)
{
    for (uint64_t o = l->trim_point + 1; o <= upto && o <= l->cap; o++)
        bytes_unref(&l->records[o - 1]);
    l->trim_point = MAX(l->trim_point, upto);
    l->tail = MAX(l->tail, l->trim_point + 1);
}

static void apply(struct sim_disk *d, const struct store_batch *b)
{
    for (size_t i = 0; i < b->len; i++) {
        const struct store_entry *e = &b->items[i];
        struct sim_disk_loglet *l = make(d, e->loglet);
        switch (e->kind) {
        case STORE_RECORD:
            put_record(d, l, e);
            break;
        case STORE_META:
            bytes_unref(&l->meta);
            l->meta = bytes_copy(e->body);
            break;
        case STORE_SEAL:
            l->sealed = true;
            break;
        case STORE_TRIM:
            put_trim(l, e->offset);
            break;
        }
        sim_check_durable(d->world, d->node, e);
    }
    for (size_t i = 0; i < b->len; i++)
        sim_check_disk(d->world, d->node, b->items[i].loglet);
}

static void written(struct sim_world *w, struct sim_event *event)
{
    struct disk_event *e = CONTAINER_OF(event, struct disk_event, event);
    struct sim_node *n = &w->nodes[event->node];
    struct sim_disk *d = n->disk;
    struct store_batch *b = d->batch;
    enum rc rc = RC_OK;
    ASSERT(b && d->batch_number == e->batch_number);
    free(e);
    d->batch = NULL;
    if (d->fail_next)
        rc = RC_IO;
    else if (d->full && !b->control_only)
        rc = RC_NO_SPACE;
    d->fail_next = false;
    if (rc == RC_OK || (rc == RC_IO && sim_chance(w, 50)))
        apply(d, b);
    b->done(b, rc);
}

static void dropped(struct sim_event *event)
{
    free(CONTAINER_OF(event, struct disk_event, event));
}

static void disk_submit(struct log_server_store *s, struct store_batch *b)
{
    struct sim_disk *d = self(s);
    ASSERT(!d->batch && b->len > 0);
    d->batch = b;
    struct disk_event *e = xcalloc(1, sizeof(*e));
    e->batch_number = ++d->batch_number;
    e->event.node = d->node;
    e->event.incarnation = d->world->nodes[d->node].incarnation;
    e->event.run = written;
    e->event.drop = dropped;
    sim_at(d->world, &e->event, sim_random(d->world, d->latency_ms + 1));
}

void sim_disk_crash(struct sim_disk *d)
{
    /* A write in progress is atomic: it took place or not. */
    if (d->batch && sim_chance(d->world, 50))
        apply(d, d->batch);
    d->batch = NULL;
    d->fail_next = false;
    for (size_t i = 0; i < d->unsynced.len; i++) {
        struct sim_disk_loglet *l = find(d, d->unsynced.items[i].loglet);
        uint64_t offset = d->unsynced.items[i].offset;
        /* The last few writes are lost. */
        if (i + 8 >= d->unsynced.len && has(l, offset)) {
            bytes_unref(&l->records[offset - 1]);
            while (l->tail > l->trim_point + 1 && !has(l, l->tail - 1))
                l->tail--;
        }
    }
    d->unsynced.len = 0;
    if (d->world->options.mutation == MUTATE_SEAL_FORGOTTEN) {
        for (struct omap_node *n = omap_first(&d->loglets); n; n = omap_next(n))
            CONTAINER_OF(n, struct sim_disk_loglet, node)->sealed = false;
    }
}

void sim_disk_wipe(struct sim_disk *d)
{
    struct omap_node *n;
    while ((n = omap_first(&d->loglets))) {
        struct sim_disk_loglet *l = CONTAINER_OF(n, struct sim_disk_loglet, node);
        omap_remove(&d->loglets, n);
        for (size_t i = 0; i < l->cap; i++)
            bytes_unref(&l->records[i]);
        bytes_unref(&l->meta);
        free(l->records);
        free(l);
    }
}

/* ---- reading ---- */

static enum rc disk_info(struct log_server_store *s, uint64_t loglet, struct loglet_info *out)
{
    const struct sim_disk_loglet *l = find(self(s), loglet);
    *out = (struct loglet_info){.tail = 1};
    if (!l)
        return RC_NOT_FOUND;
    *out = (struct loglet_info){l->tail, l->trim_point, l->sealed, bytes_slice(l->meta)};
    return RC_OK;
}

static bool disk_has(struct log_server_store *s, uint64_t loglet, uint64_t offset)
{
    return sim_disk_has(self(s), loglet, offset);
}

static bool disk_extent(struct log_server_store *s, uint64_t loglet, uint64_t from, uint64_t *first,
                        uint64_t *last)
{
    const struct sim_disk_loglet *l = find(self(s), loglet);
    uint64_t o = from;
    while (l && o < l->tail && !has(l, o))
        o++;
    if (!has(l, o))
        return false;
    *first = o;
    while (has(l, o + 1))
        o++;
    *last = o;
    return true;
}

static enum rc disk_read(struct log_server_store *s, uint64_t loglet, uint64_t from, size_t max_bytes,
                         struct stored_records *out, struct err *err)
{
    const struct sim_disk_loglet *l = find(self(s), loglet);
    size_t bytes = 0, n = out->len;
    if (l && from <= l->trim_point)
        return RC_TRIMMED;
    for (uint64_t o = from; l && o < l->tail && (out->len == n || bytes < max_bytes); o++) {
        if (!has(l, o))
            continue;
        struct stored_record r = {o, bytes_ref(l->records[o - 1])};
        VEC_PUSH(out, r);
        bytes += r.body.len;
    }
    return out->len > n ? RC_OK : RC_AGAIN;
}

static bool disk_full(struct log_server_store *s)
{
    return self(s)->full;
}

static const struct log_server_store_ops ops = {
    .submit = disk_submit,
    .info = disk_info,
    .has = disk_has,
    .extent = disk_extent,
    .read = disk_read,
    .full = disk_full,
};

/* ---- life ---- */

struct sim_disk *sim_disk_new(struct sim_world *w, unsigned node)
{
    struct sim_disk *d = xcalloc(1, sizeof(*d));
    d->store.ops = &ops;
    d->world = w;
    d->node = node;
    d->latency_ms = 2;
    omap_init(&d->loglets, loglet_cmp);
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    sim_disk_wipe(d);
    VEC_FREE(&d->unsynced);
    free(d);
}

struct log_server_store *sim_disk_store(struct sim_disk *d)
{
    return &d->store;
}

void sim_disk_set_latency(struct sim_disk *d, unsigned ms)
{
    d->latency_ms = ms;
}

void sim_disk_set_full(struct sim_disk *d, bool full)
{
    d->full = full;
}

void sim_disk_fail_next(struct sim_disk *d, bool fail)
{
    d->fail_next = fail;
}
