/* Segment store: reading. Files are read in windows of about a MiB that are kept for a while, because at
 * start-up all partitions of a node replay the same stretch of the file side by side. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "bifrost/segment_store_impl.h"

static void window_forget(struct read_window *w)
{
    if (w->buf)
        buf_unref(w->buf);
    *w = (struct read_window){0};
}

void store_windows_forget(struct segment_store *s, const struct segment *g)
{
    for (size_t i = 0; i < READ_WINDOWS; i++) {
        if (!g || s->windows[i].segment == g)
            window_forget(&s->windows[i]);
    }
    for (size_t i = 0; i < WRITTEN_WINDOWS; i++) {
        if (!g || s->written[i].segment == g)
            window_forget(&s->written[i]);
    }
}

void segment_store_forget_reads(struct segment_store *s)
{
    s->followed = false;
    store_windows_forget(s, NULL);
}

/* Readers hold what is before the end; only what is behind it changes. */
void store_keep_written(struct segment_store *s, struct segment *g, uint64_t position, struct slice batch)
{
    struct read_window *w = &s->written[s->newest_written];
    if (!s->followed)
        return;
    if (w->segment != g || w->start + w->len != position || batch.len > w->buf->cap - w->len) {
        s->newest_written = (s->newest_written + 1) % WRITTEN_WINDOWS;
        w = &s->written[s->newest_written];
        window_forget(w);
        struct buf *buf = buf_new(MAX(batch.len, (size_t)READ_WINDOW_BYTES));
        *w = (struct read_window){.segment = g, .start = position, .buf = buf, .data = buf->data};
    }
    memcpy(w->buf->data + w->len, batch.ptr, batch.len);
    w->len += batch.len;
}

static bool window_has(const struct read_window *w, const struct segment *g, uint64_t position, uint64_t len)
{
    return w->segment == g && w->start <= position && position + len <= w->start + w->len;
}

static struct read_window *find_window(struct segment_store *s, const struct segment *g, uint64_t position,
                                       uint64_t len)
{
    for (size_t i = 0; i < WRITTEN_WINDOWS; i++) {
        if (window_has(&s->written[i], g, position, len))
            return &s->written[i];
    }
    for (size_t i = 0; i < READ_WINDOWS; i++) {
        if (window_has(&s->windows[i], g, position, len))
            return &s->windows[i];
    }
    return NULL;
}

/* The window to replace: an older view of the same place, or the one used longest ago. */
static struct read_window *pick_window(struct segment_store *s, const struct segment *g, uint64_t start)
{
    struct read_window *oldest = &s->windows[0];
    for (size_t i = 0; i < READ_WINDOWS; i++) {
        struct read_window *w = &s->windows[i];
        if (w->segment == g && w->start == start)
            return w;
        if (w->last_use < oldest->last_use)
            oldest = w;
    }
    return oldest;
}

static enum rc fill_window(struct segment_store *s, struct segment *g, uint64_t position, uint64_t len,
                           struct read_window **out, struct err *err)
{
    uint64_t block = s->disk->block_size;
    /* On a common grid, so that partitions at different places of the same stretch share the window. */
    uint64_t start = position / READ_WINDOW_BYTES * READ_WINDOW_BYTES;
    uint64_t limit = align_up(g->end, block);
    uint64_t want = MIN(MAX(position + len - start, READ_WINDOW_BYTES), limit - start);
    want = align_up(want, block);
    struct buf *buf = buf_new(want + block);
    uint8_t *data = (uint8_t *)align_up((uintptr_t)buf->data, block);
    size_t got;
    enum rc rc = s->disk->ops->read(s->disk, g->file, start, data, want, &got, err);
    if (rc != RC_OK) {
        buf_unref(buf);
        return rc;
    }
    struct read_window *w = pick_window(s, g, start);
    window_forget(w);
    *w = (struct read_window){.segment = g, .start = start, .buf = buf, .data = data};
    w->len = MIN(got, g->end - start); /* what lies behind the end may still be written */
    *out = w;
    return RC_OK;
}

enum rc store_window(struct segment_store *s, struct segment *g, uint64_t position, uint64_t len,
                     struct read_window **window, struct slice *out, struct err *err)
{
    ASSERT(position < g->end);
    len = MIN(len, g->end - position);
    struct read_window *w = find_window(s, g, position, len);
    if (!w) {
        enum rc rc = fill_window(s, g, position, len, &w, err);
        if (rc != RC_OK)
            return rc;
    }
    w->last_use = ++s->window_clock;
    if (position >= w->start + w->len)
        return err_set(err, RC_CORRUPT, "log file %s ends at offset %" PRIu64 ", before its data", g->name,
                       position);
    *window = w;
    *out = slice_make(w->data + (position - w->start), w->len - (position - w->start));
    return RC_OK;
}

enum rc store_load_batch(struct segment_store *s, struct segment *g, uint64_t position,
                         struct read_window **window, struct slice *batch, struct batch_header *h,
                         struct err *err)
{
    enum rc rc = store_window(s, g, position, BATCH_HEADER_SIZE, window, batch, err);
    if (rc != RC_OK)
        return rc;
    bool good = batch_header_decode(*batch, h) && h->segment_id == g->id && h->salt == g->salt &&
                batch_length(h) <= g->end - position;
    if (good && batch->len < batch_length(h)) {
        rc = store_window(s, g, position, batch_length(h), window, batch, err);
        if (rc != RC_OK)
            return rc;
        good = batch->len >= batch_length(h);
    }
    if (!good || !batch_table_check(batch->ptr, batch->ptr + BATCH_HEADER_SIZE + h->body_length, h))
        return err_set(err, RC_CORRUPT, "log file %s is damaged at offset %" PRIu64 ": bad batch checksum",
                       g->name, position);
    *batch = slice_sub(*batch, 0, batch_length(h));
    return RC_OK;
}

struct read_state {
    struct stored_records *out;
    size_t first; /* out->len at the start */
    size_t bytes, max_bytes;
    uint64_t loglet, next;
};

static bool read_enough(const struct read_state *r)
{
    return r->out->len > r->first && r->bytes >= r->max_bytes;
}

/* Take the wanted records out of one batch. */
static enum rc read_batch(struct read_state *r, const struct segment *g, uint64_t position,
                          const struct read_window *window, struct slice batch, const struct batch_header *h,
                          uint64_t last, struct err *err)
{
    const uint8_t *table = batch.ptr + BATCH_HEADER_SIZE + h->body_length;
    uint64_t at = BATCH_HEADER_SIZE;
    for (uint32_t i = 0; i < h->n_entries && h->kind == BATCH_DATA; i++) {
        struct batch_entry e;
        batch_entry_decode(table + (size_t)i * BATCH_ENTRY_SIZE, &e);
        uint64_t body_at = at;
        at += e.length;
        if (e.kind != ENTRY_RECORD || e.loglet != r->loglet || e.offset != r->next)
            continue;
        const uint8_t *body = batch.ptr + body_at;
        if (at > BATCH_HEADER_SIZE + h->body_length || crc32c(0, body, e.length) != e.crc)
            return err_set(err, RC_CORRUPT,
                           "log file %s is damaged at offset %" PRIu64 ": bad record checksum", g->name,
                           position + body_at);
        struct bytes b = {body, e.length, buf_ref(window->buf)};
        VEC_PUSH(r->out, ((struct stored_record){e.offset, b}));
        r->bytes += e.length;
        r->next++;
        if (r->next > last || read_enough(r))
            return RC_OK;
    }
    return RC_OK;
}

static enum rc read_run(struct segment_store *s, struct read_state *r, const struct segment_run *run,
                        struct err *err)
{
    struct segment *g = run->segment;
    uint64_t position = (uint64_t)run->position * SEGMENT_UNIT;
    uint64_t end = position + (uint64_t)run->length * SEGMENT_UNIT;
    uint64_t last = segment_run_last(run);
    while (position < end && r->next <= last && !read_enough(r)) {
        struct read_window *window;
        struct slice batch;
        struct batch_header h;
        enum rc rc = store_load_batch(s, g, position, &window, &batch, &h, err);
        if (rc == RC_OK)
            rc = read_batch(r, g, position, window, batch, &h, last, err);
        if (rc != RC_OK)
            return rc;
        position += align_up(batch_length(&h), g->block_size);
    }
    if (r->next <= last && !read_enough(r))
        return err_set(err, RC_CORRUPT, "log file %s lacks offset %" PRIu64 " of loglet %" PRIu64, g->name,
                       r->next, r->loglet);
    return RC_OK;
}

enum rc segment_store_read(struct segment_store *s, uint64_t loglet, uint64_t from, size_t max_bytes,
                           struct stored_records *out, struct err *err)
{
    struct loglet *l = store_loglet(s, loglet);
    if (!l)
        return RC_AGAIN;
    if (from <= l->trim_point)
        return err_set(err, RC_TRIMMED, "offset %" PRIu64 " is trimmed, the trim point is %" PRIu64, from,
                       l->trim_point);
    struct read_state r = {.out = out, .first = out->len, .max_bytes = max_bytes, .loglet = loglet};
    const struct segment_run *run = segment_index_find(&l->index, from);
    enum rc rc = RC_OK;
    while (rc == RC_OK && run && !read_enough(&r)) {
        s->followed |= run->segment == store_active(s);
        r.next = MAX(from, run->first);
        rc = read_run(s, &r, run, err);
        run = segment_index_next(&l->index, run);
    }
    if (out->len > r.first)
        return RC_OK; /* an error is found again by the next call */
    return rc == RC_OK ? RC_AGAIN : rc;
}

void stored_records_clear(struct stored_records *r)
{
    for (size_t i = 0; i < r->len; i++)
        bytes_unref(&r->items[i].body);
    r->len = 0;
}

void stored_records_free(struct stored_records *r)
{
    stored_records_clear(r);
    VEC_FREE(r);
}
