/* Segment store: housekeeping. Files prepared ahead of time, footers of closed segments, freeing of dead
 * segments, and rewriting of segments that a few live records pin. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "bifrost/segment_store_impl.h"

#define REWRITE_STEP_BYTES ((uint64_t)1 << 20)

/* ---- preparing ---- */

static void leave_full(struct segment_store *s)
{
    if (s->full)
        LOG0(LOG_INFO, LOG_TARGET, "There is disk space again: appends are accepted");
    s->full = false;
    s->refused_size = 0;
}

/* A spare of the size that the next batch needs, as far as it is known. */
static bool has_spare(const struct segment_store *s)
{
    for (size_t i = 0; i < s->spares.len; i++) {
        if (!s->full || s->spares.items[i].size >= s->refused_size)
            return true;
    }
    return false;
}

bool segment_store_prepare_begin(struct segment_store *s, struct segment_prepare *job)
{
    bool reserve = s->reserve_size == 0, spare = has_spare(s);
    if (s->preparing || s->failed)
        return false;
    if (spare && !reserve) {
        leave_full(s); /* a write failed, not the making of a file: it may be tried again */
        return false;
    }
    /* The next segment is more urgent than the reserve, except on a full disk: without reserve, trims could
     * get stuck. */
    if (!spare && !s->full)
        reserve = false;
    *job = (struct segment_prepare){.disk = s->disk, .reserve = reserve};
    job->size = reserve ? s->options.reserve_bytes : MAX(store_next_size(s), s->full ? s->refused_size : 0);
    uint64_t number = s->next_file++;
    snprintf(job->temporary, sizeof(job->temporary), "fill-%016" PRIx64, number);
    if (reserve)
        snprintf(job->name, sizeof(job->name), RESERVE_NAME);
    else
        snprintf(job->name, sizeof(job->name), "spare-%016" PRIx64, number);
    s->preparing = true;
    return true;
}

void segment_prepare_run(struct segment_prepare *job)
{
    const struct disk_ops *ops = job->disk->ops;
    struct disk_file *f;
    job->rc = ops->open(job->disk, job->temporary, true, &f, &job->err);
    if (job->rc != RC_OK)
        return;
    job->rc = ops->zero_fill(job->disk, f, job->size, &job->err);
    ops->close(job->disk, f);
    if (job->rc == RC_OK)
        job->rc = ops->rename(job->disk, job->temporary, job->name, &job->err);
    if (job->rc != RC_OK)
        ops->remove(job->disk, job->temporary, NULL);
}

enum rc segment_store_prepare_end(struct segment_store *s, struct segment_prepare *job, struct err *err)
{
    ASSERT(s->preparing);
    s->preparing = false;
    if (job->rc != RC_OK) {
        if (err)
            *err = job->err;
        return job->rc;
    }
    if (job->reserve) {
        s->reserve_size = job->size;
        return RC_OK;
    }
    struct spare_file spare = {.size = job->size};
    memcpy(spare.name, job->name, sizeof(spare.name));
    VEC_PUSH(&s->spares, spare);
    leave_full(s);
    return RC_OK;
}

enum rc segment_store_prepare(struct segment_store *s, struct err *err)
{
    struct segment_prepare job;
    if (!segment_store_prepare_begin(s, &job))
        return RC_AGAIN;
    segment_prepare_run(&job);
    return segment_store_prepare_end(s, &job, err);
}

/* ---- footers ---- */

struct footer {
    uint8_t *data;
    uint32_t n, max;
    const struct segment *segment;
};

static void footer_add_loglet(struct footer *f, const struct loglet *l)
{
    for (size_t i = l->index.head; i < l->index.len; i++) {
        const struct segment_run *r = &l->index.runs[i];
        if (r->segment != f->segment)
            continue;
        ASSERT(f->n < f->max);
        struct footer_entry e = {l->id, r->first, r->count, r->bytes, r->position, r->length};
        footer_entry_encode(f->data + BATCH_HEADER_SIZE + (size_t)f->n++ * BATCH_ENTRY_SIZE, &e);
    }
}

enum rc store_write_footer(struct segment_store *s, struct segment *g, struct err *err)
{
    uint64_t length = BATCH_HEADER_SIZE + (uint64_t)g->live_runs * BATCH_ENTRY_SIZE;
    uint64_t padded = align_up(length, s->disk->block_size);
    g->footer_done = true;
    if (g->end % s->disk->block_size != 0 || g->end + padded > g->size)
        return RC_OK; /* no room: opening will scan the segment */
    struct footer f = {.data = disk_alloc(padded), .max = g->live_runs, .segment = g};
    memset(f.data, 0, padded);
    for (struct omap_node *n = omap_first(&s->loglets); n; n = omap_next(n))
        footer_add_loglet(&f, CONTAINER_OF(n, struct loglet, node));
    ASSERT(f.n == f.max);
    struct batch_header h = {.kind = BATCH_FOOTER,
                             .segment_id = g->id,
                             .salt = g->salt,
                             .sequence = g->next_sequence,
                             .n_entries = f.n};
    batch_finish(f.data, &h);
    enum rc rc = s->disk->ops->write(s->disk, g->file, g->end, f.data, padded, err);
    free(f.data);
    return rc;
}

void store_write_checkpoint(struct segment_store *s)
{
    struct segment *g = store_active(s);
    if (g->end + segment_footer_room(g, 0) > g->size)
        return;
    for (size_t i = 0; i < s->segments.len; i++) {
        if (!s->segments.items[i]->footer_done && store_write_footer(s, s->segments.items[i], NULL) != RC_OK)
            return;
    }
    struct writer w = WRITER_INIT;
    struct segment_header h = store_encode_header(s, &w, g->id + 1);
    segment_header_finish(&w, &h);
    uint64_t padded = align_up(w.len, 4096);
    uint8_t *block = disk_alloc(padded);
    memset(block, 0, padded);
    memcpy(block, w.buf->data, w.len);
    struct disk_file *f;
    if (s->disk->ops->open(s->disk, CHECKPOINT_NAME, true, &f, NULL) == RC_OK) {
        s->disk->ops->write(s->disk, f, 0, block, padded, NULL);
        s->disk->ops->close(s->disk, f);
    }
    free(block);
    writer_free(&w);
}

/* ---- freeing ---- */

static enum rc free_segment(struct segment_store *s, size_t at, struct err *err)
{
    struct segment *g = s->segments.items[at];
    ASSERT(g->live_runs == 0 && g->live_bytes == 0 && g != store_active(s));
    store_windows_forget(s, g);
    if (s->victim == g)
        s->victim = NULL;
    /* On a full disk the space goes back to the file system while the reserve is missing: it must come first.
     */
    bool keep = s->spares.len < s->options.max_spares && g->size <= s->options.max_segment_bytes &&
                g->size >= store_next_size(s) / 2 &&
                !(s->full && (s->reserve_size == 0 || g->size < s->refused_size));
    enum rc rc;
    if (keep) {
        struct spare_file spare = {.size = g->size};
        snprintf(spare.name, sizeof(spare.name), "spare-%016" PRIx64, s->next_file++);
        rc = s->disk->ops->rename(s->disk, g->name, spare.name, err);
        if (rc == RC_OK) {
            VEC_PUSH(&s->spares, spare);
            leave_full(s);
        }
    } else {
        rc = s->disk->ops->remove(s->disk, g->name, err);
    }
    if (rc != RC_OK)
        return rc;
    segment_free(s, g);
    memmove(&s->segments.items[at], &s->segments.items[at + 1],
            (s->segments.len - at - 1) * sizeof(struct segment *));
    s->segments.len--;
    return RC_OK;
}

/* ---- rewriting ---- */

static int range_cmp(const void *a, const void *b)
{
    const struct live_range *x = a, *y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

/* List the live stretches of the victim in file order, without overlaps. */
static void collect_ranges(struct segment_store *s)
{
    s->ranges.len = 0;
    for (struct omap_node *n = omap_first(&s->loglets); n; n = omap_next(n)) {
        const struct segment_index *ix = &CONTAINER_OF(n, struct loglet, node)->index;
        for (size_t i = ix->head; i < ix->len; i++) {
            if (ix->runs[i].segment == s->victim)
                VEC_PUSH(&s->ranges, ((struct live_range){ix->runs[i].position, ix->runs[i].length}));
        }
    }
    qsort(s->ranges.items, s->ranges.len, sizeof(struct live_range), range_cmp);
    size_t kept = 0;
    for (size_t i = 1; i < s->ranges.len; i++) {
        struct live_range *last = &s->ranges.items[kept], r = s->ranges.items[i];
        if (r.position < last->position + last->length)
            last->length = MAX(last->position + last->length, r.position + r.length) - last->position;
        else
            s->ranges.items[++kept] = r;
    }
    s->ranges.len = s->ranges.len ? kept + 1 : 0;
    s->next_range = 0;
    s->next_position = s->ranges.len ? (uint64_t)s->ranges.items[0].position * SEGMENT_UNIT : 0;
}

/* The closed segment with the smallest live part, if that is small enough to be worth it. */
static struct segment *choose_victim(const struct segment_store *s)
{
    struct segment *best = NULL;
    for (size_t i = 0; i + 1 < s->segments.len; i++) {
        struct segment *g = s->segments.items[i];
        if (g->damaged || g->live_bytes * 100 >= g->size * s->options.rewrite_percent)
            continue;
        if (!best || g->live_bytes * best->size < best->live_bytes * g->size)
            best = g;
    }
    /* On a full disk only what is sure to fit into the reserve, or the reserve would be gone for nothing. */
    if (best && s->full && best->live_bytes * 2 > s->options.reserve_bytes)
        return NULL;
    return best;
}

/* A record of the victim that is still the live copy. */
static bool is_live(const struct segment_store *s, const struct batch_entry *e, uint64_t position)
{
    struct loglet *l = e->kind == ENTRY_RECORD ? store_loglet(s, e->loglet) : NULL;
    const struct segment_run *r = l ? segment_index_lookup(&l->index, e->offset) : NULL;
    uint64_t unit = position / SEGMENT_UNIT;
    return r && r->segment == s->victim && unit >= r->position && unit < (uint64_t)r->position + r->length;
}

/* Records to be carried forward in one batch, so that rewriting also packs what small commits had spread. */
struct moved_record {
    uint64_t loglet, offset;
    struct bytes body;
};
struct moved_records {
    struct moved_record *items;
    size_t len, cap;
    uint64_t bytes, read; /* bodies; file read for them */
};

static int moved_cmp(const void *a, const void *b)
{
    const struct moved_record *x = a, *y = b;
    if (x->loglet != y->loglet)
        return x->loglet < y->loglet ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Collect the live records of the batch at s->next_position, and step behind it. */
static enum rc gather_batch(struct segment_store *s, struct moved_records *m, struct err *err)
{
    struct segment *g = s->victim;
    uint64_t position = s->next_position;
    struct read_window *window;
    struct slice batch;
    struct batch_header h;
    enum rc rc = store_load_batch(s, g, position, &window, &batch, &h, err);
    if (rc == RC_OK && !batch_check(batch, &h))
        rc = err_set(err, RC_CORRUPT, "log file %s is damaged at offset %" PRIu64 ": bad record checksum",
                     g->name, position);
    if (rc != RC_OK)
        return rc;
    const uint8_t *table = batch.ptr + BATCH_HEADER_SIZE + h.body_length,
                  *body = batch.ptr + BATCH_HEADER_SIZE;
    for (uint32_t i = 0; i < h.n_entries && h.kind == BATCH_DATA; i++) {
        struct batch_entry e;
        batch_entry_decode(table + (size_t)i * BATCH_ENTRY_SIZE, &e);
        if (is_live(s, &e, position)) {
            VEC_PUSH(m, ((struct moved_record){e.loglet, e.offset, {body, e.length, buf_ref(window->buf)}}));
            m->bytes += e.length;
        }
        body += e.length;
    }
    m->read += batch.len;
    s->next_position = position + align_up(batch_length(&h), g->block_size);
    return RC_OK;
}

/* Collect up to about a MiB from the ranges that are left. */
static enum rc gather(struct segment_store *s, struct moved_records *m, struct err *err)
{
    while (s->next_range < s->ranges.len && m->read < REWRITE_STEP_BYTES) {
        const struct live_range *r = &s->ranges.items[s->next_range];
        uint64_t range_start = (uint64_t)r->position * SEGMENT_UNIT;
        s->next_position = MAX(s->next_position, range_start);
        if (s->next_position >= range_start + (uint64_t)r->length * SEGMENT_UNIT) {
            s->next_range++;
            continue;
        }
        enum rc rc = gather_batch(s, m, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc commit_moved(struct segment_store *s, struct moved_records *m, struct err *err)
{
    qsort(m->items, m->len, sizeof(*m->items), moved_cmp);
    enum rc rc = store_begin(s, ROOM_REWRITE, m->len, m->bytes, err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < m->len; i++) {
        /* A crash during an earlier rewriting may have left a record twice in one place. */
        if (i == 0 || moved_cmp(&m->items[i - 1], &m->items[i]) != 0)
            store_put_moved(s, m->items[i].loglet, m->items[i].offset, bytes_slice(m->items[i].body));
    }
    return segment_store_commit(s, err);
}

/* Carry one part of the victim forward. */
static enum rc rewrite_step(struct segment_store *s, struct err *err)
{
    struct moved_records m = {0};
    size_t range = s->next_range;
    uint64_t position = s->next_position;
    enum rc rc = gather(s, &m, err);
    if (rc == RC_CORRUPT || rc == RC_IO) {
        s->victim->damaged = true;
        s->victim = NULL;
    } else if (rc == RC_OK && m.len) {
        rc = commit_moved(s, &m, err);
    }
    if (rc == RC_NO_SPACE) { /* the same part again later */
        s->next_range = range;
        s->next_position = position;
    }
    for (size_t i = 0; i < m.len; i++)
        bytes_unref(&m.items[i].body);
    free(m.items);
    if (s->victim && s->next_range == s->ranges.len) {
        if (s->victim->live_runs > 0) { /* the index speaks of records that are not in the file */
            s->victim->damaged = true;
            rc = err_set(err, RC_CORRUPT, "log file %s lacks records that its index names", s->victim->name);
        }
        s->victim = NULL;
    }
    return rc;
}

/* Spares that are too small for what was refused stand in the way of one that is not. */
static enum rc drop_small_spare(struct segment_store *s, struct err *err)
{
    struct spare_file *last = &s->spares.items[s->spares.len - 1];
    enum rc rc = s->disk->ops->remove(s->disk, last->name, err);
    if (rc == RC_OK)
        s->spares.len--;
    return rc;
}

/* ---- one step ---- */

enum rc segment_store_housekeep(struct segment_store *s, struct err *err)
{
    ASSERT(!s->open);
    if (s->failed)
        return RC_AGAIN;
    for (size_t i = 0; i + 1 < s->segments.len; i++) {
        struct segment *g = s->segments.items[i];
        if (g->live_runs == 0)
            return free_segment(s, i, err);
        if (!g->footer_done)
            return store_write_footer(s, g, err);
    }
    if (s->full && s->spares.len > 0 && !has_spare(s) && !s->preparing)
        return drop_small_spare(s, err);
    if (!s->victim) {
        s->victim = choose_victim(s);
        if (!s->victim)
            return RC_AGAIN;
        collect_ranges(s);
    }
    return rewrite_step(s, err);
}
