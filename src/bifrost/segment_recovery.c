/* Segment store: opening. The state of the loglets comes from the header of the last segment and its batches;
 * the index of closed segments from their footers (or from scanning them); only the last segment is always
 * scanned.
 *
 * What may be wrong after a crash: the last write, and nothing else. So an invalid batch ends the last
 * segment if no valid batch follows it; everything else that does not add up is RC_CORRUPT. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "bifrost/segment_store_impl.h"

#define HEADER_READ_BYTES ((uint64_t)64 << 10)

/* ---- the directory ---- */

struct listing {
    struct segment_store *s;
    struct {
        char (*items)[32];
        size_t len, cap;
    } leftovers;
    struct {
        char (*items)[32];
        size_t len, cap;
    } spares;
    bool reserve;
};

static bool parse_name(const char *name, const char *prefix, uint64_t *number)
{
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || strlen(name) != n + 16)
        return false;
    char *end;
    *number = strtoull(name + n, &end, 16);
    return *end == '\0';
}

static void visit_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    uint64_t number;
    if (parse_name(name, "segment-", &number)) {
        VEC_PUSH(&l->s->segments, segment_new(number)); /* fixed-width names: ascending ids */
    } else if (parse_name(name, "spare-", &number) || parse_name(name, "fill-", &number)) {
        l->s->next_file = MAX(l->s->next_file, number + 1);
        if (name[0] == 's') {
            l->spares.items = vec_grow(l->spares.items, &l->spares.cap, l->spares.len + 1, 32);
            snprintf(l->spares.items[l->spares.len++], 32, "%s", name);
        } else {
            l->leftovers.items = vec_grow(l->leftovers.items, &l->leftovers.cap, l->leftovers.len + 1, 32);
            snprintf(l->leftovers.items[l->leftovers.len++], 32, "%s", name);
        }
    } else if (strcmp(name, RESERVE_NAME) == 0) {
        l->reserve = true;
    }
}

static enum rc file_size(struct segment_store *s, const char *name, uint64_t *size, struct err *err)
{
    struct disk_file *f;
    enum rc rc = s->disk->ops->open(s->disk, name, false, &f, err);
    if (rc != RC_OK)
        return rc;
    rc = s->disk->ops->size(s->disk, f, size, err);
    s->disk->ops->close(s->disk, f);
    return rc;
}

/* Spares beyond the bound and unfinished files are removed; the others are kept for reuse. */
static enum rc adopt_files(struct segment_store *s, struct listing *l, struct err *err)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; i < l->leftovers.len && rc == RC_OK; i++)
        rc = s->disk->ops->remove(s->disk, l->leftovers.items[i], err);
    for (size_t i = 0; i < l->spares.len && rc == RC_OK; i++) {
        struct spare_file spare = {0};
        memcpy(spare.name, l->spares.items[i], sizeof(spare.name));
        rc = file_size(s, spare.name, &spare.size, err);
        if (rc != RC_OK)
            break;
        if (s->spares.len < s->options.max_spares && spare.size % 4096 == 0)
            VEC_PUSH(&s->spares, spare);
        else
            rc = s->disk->ops->remove(s->disk, spare.name, err);
    }
    if (rc == RC_OK && l->reserve)
        rc = file_size(s, RESERVE_NAME, &s->reserve_size, err);
    return rc;
}

/* ---- headers ---- */

static enum rc bad_header(const struct segment *g, struct err *err)
{
    return err_set(err, RC_CORRUPT, "log file %s is damaged at offset 0: bad segment header", g->name);
}

/* Read and verify the header; *whole is valid until the next read. */
static enum rc load_header(struct segment_store *s, struct segment *g, struct segment_header *h,
                           struct slice *whole, struct err *err)
{
    struct read_window *window;
    if (g->size < 4096)
        return bad_header(g, err);
    enum rc rc = store_window(s, g, 0, SEGMENT_HEADER_SIZE, &window, whole, err);
    if (rc != RC_OK)
        return rc;
    rc = segment_header_decode(*whole, h);
    if (rc == RC_UNSUPPORTED)
        return err_set(err, rc, "log file %s was written by a newer version", g->name);
    if (rc != RC_OK || h->id != g->id || h->length > g->size)
        return bad_header(g, err);
    g->end = MAX(g->end, h->length);
    rc = store_window(s, g, 0, h->length, &window, whole, err);
    if (rc != RC_OK)
        return rc;
    if (!segment_header_check(*whole, h))
        return bad_header(g, err);
    *whole = slice_sub(*whole, 0, h->length);
    if (g->size < h->size)
        return err_set(err, RC_CORRUPT, "log file %s is cut off: %" PRIu64 " bytes instead of %" PRIu64,
                       g->name, g->size, h->size);
    return RC_OK;
}

static enum rc open_segment(struct segment_store *s, struct segment *g, struct segment_header *h,
                            struct slice *whole, struct err *err)
{
    enum rc rc = s->disk->ops->open(s->disk, g->name, false, &g->file, err);
    if (rc == RC_OK)
        rc = s->disk->ops->size(s->disk, g->file, &g->size, err);
    if (rc != RC_OK)
        return rc;
    g->size = g->size / 4096 * 4096;
    g->end = MIN(g->size, HEADER_READ_BYTES); /* not a whole window: there may be many segments */
    rc = load_header(s, g, h, whole, err);
    g->end = g->size; /* until we know better: everything may be read */
    if (rc != RC_OK)
        return rc;
    g->salt = h->salt;
    g->block_size = h->block_size;
    g->first_sequence = g->next_sequence = h->first_sequence;
    g->start = align_up(h->length, h->block_size);
    return RC_OK;
}

/* What the last header knows about the closed segments. Segments that it lists and that are gone have been
 * freed. */
static enum rc apply_refs(struct segment_store *s, struct reader *r, uint32_t n, struct err *err)
{
    size_t at = 0, closed = s->segments.len - 1;
    for (uint32_t i = 0; i < n; i++) {
        struct segment_ref ref = segment_header_next_ref(r);
        if (at == closed || s->segments.items[at]->id != ref.id)
            continue;
        struct segment *g = s->segments.items[at++];
        if (ref.end > g->size || ref.end < g->start || ref.next_sequence < g->first_sequence)
            return err_set(err, RC_CORRUPT, "log file %s does not match the header of its successor",
                           g->name);
        g->end = ref.end;
        g->next_sequence = ref.next_sequence;
    }
    if (at < closed)
        return err_set(err, RC_CORRUPT, "log file %s is not known to %s", s->segments.items[at]->name,
                       store_active(s)->name);
    return RC_OK;
}

static void apply_snapshots(struct segment_store *s, struct reader *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct loglet_snapshot snap = segment_header_next_loglet(r);
        struct loglet *l = store_loglet_make(s, snap.id);
        l->tail = MAX(snap.tail, 1);
        l->trim_point = snap.trim_point;
        l->sealed = snap.flags & LOGLET_SEALED;
        bytes_unref(&l->meta);
        l->meta = bytes_copy(snap.meta);
    }
}

/* ---- closed segments ---- */

/* The footer at the end of the segment's data, checked completely. Reading it goes up to the end of the file.
 */
static bool read_footer(struct segment_store *s, struct segment *g, struct slice *footer,
                        struct batch_header *h)
{
    uint64_t end = g->end;
    struct read_window *window;
    if (end + BATCH_HEADER_SIZE > g->size)
        return false;
    g->end = g->size;
    enum rc rc = store_load_batch(s, g, end, &window, footer, h, NULL);
    g->end = end;
    if (rc != RC_OK || h->kind != BATCH_FOOTER || h->sequence != g->next_sequence || h->body_length != 0)
        return false;
    for (uint32_t i = 0; i < h->n_entries; i++) {
        struct footer_entry e;
        footer_entry_decode(footer->ptr + BATCH_HEADER_SIZE + (size_t)i * BATCH_ENTRY_SIZE, &e);
        if (e.count == 0 || e.length == 0 || e.first == 0 || e.first + e.count < e.first ||
            ((uint64_t)e.position + e.length) * SEGMENT_UNIT > end)
            return false;
    }
    return true;
}

static bool footer_matches(struct segment_store *s, struct segment *g)
{
    struct slice footer;
    struct batch_header h;
    return read_footer(s, g, &footer, &h);
}

/* Take the index from the footer. False if there is none: the segment must be scanned. */
static bool load_footer(struct segment_store *s, struct segment *g)
{
    struct slice footer;
    struct batch_header h;
    if (!read_footer(s, g, &footer, &h))
        return false;
    for (uint32_t i = 0; i < h.n_entries; i++) {
        struct footer_entry e;
        footer_entry_decode(footer.ptr + BATCH_HEADER_SIZE + (size_t)i * BATCH_ENTRY_SIZE, &e);
        struct loglet *l = store_loglet(s, e.loglet);
        if (!l)
            continue; /* dropped since */
        struct segment_run run = {e.first, e.count, e.bytes, e.position, e.length, g};
        segment_index_add(&l->index, &run);
    }
    return true;
}

/* Hand the entries of a checked batch to `store_apply`. `records_only`: the rest is history that the last
 * header has. */
static bool apply_batch(struct segment_store *s, struct segment *g, uint64_t position, struct slice batch,
                        const struct batch_header *h, bool records_only)
{
    struct segment_run where = {
        .position = (uint32_t)(position / SEGMENT_UNIT),
        .length = (uint32_t)(align_up(batch_length(h), g->block_size) / SEGMENT_UNIT),
        .segment = g,
    };
    const uint8_t *table = batch.ptr + BATCH_HEADER_SIZE + h->body_length,
                  *body = batch.ptr + BATCH_HEADER_SIZE;
    for (uint32_t i = 0; i < h->n_entries; i++) {
        struct batch_entry e;
        batch_entry_decode(table + (size_t)i * BATCH_ENTRY_SIZE, &e);
        if (e.kind < ENTRY_RECORD || e.kind > ENTRY_DROP ||
            (e.kind == ENTRY_RECORD && (e.offset == 0 || e.offset == UINT64_MAX)))
            return false;
        if (!records_only || (e.kind == ENTRY_RECORD && store_loglet(s, e.loglet)))
            store_apply(s, &where, &e, slice_make(body, e.length), false);
        body += e.length;
    }
    return true;
}

/* Is there a complete, valid batch of this segment at `position`? */
static enum rc probe_batch(struct segment_store *s, struct segment *g, uint64_t position, struct slice *batch,
                           struct batch_header *h, bool *valid, struct err *err)
{
    struct read_window *window;
    *valid = false;
    enum rc rc = store_window(s, g, position, BATCH_HEADER_SIZE, &window, batch, err);
    if (rc != RC_OK || !batch_header_decode(*batch, h) || h->segment_id != g->id || h->salt != g->salt ||
        batch_length(h) > g->end - position)
        return rc;
    rc = store_window(s, g, position, batch_length(h), &window, batch, err);
    *valid = rc == RC_OK && batch_check(*batch, h);
    return rc;
}

static enum rc scan_closed(struct segment_store *s, struct segment *g, struct err *err)
{
    uint64_t position = g->start, sequence = g->first_sequence;
    while (position < g->end) {
        struct slice batch;
        struct batch_header h;
        bool valid;
        enum rc rc = probe_batch(s, g, position, &batch, &h, &valid, err);
        if (rc != RC_OK)
            return rc;
        if (!valid || h.kind != BATCH_DATA || h.sequence != sequence ||
            !apply_batch(s, g, position, batch, &h, true))
            return err_set(err, RC_CORRUPT, "log file %s is damaged at offset %" PRIu64 ": bad batch",
                           g->name, position);
        position += align_up(batch_length(&h), g->block_size);
        sequence++;
    }
    if (position != g->end || sequence != g->next_sequence)
        return err_set(err, RC_CORRUPT,
                       "log file %s ends at offset %" PRIu64 " with batch %" PRIu64 " instead of %" PRIu64,
                       g->name, position, sequence, g->next_sequence);
    return RC_OK;
}

/* ---- the last segment ---- */

/* The batch at `position` is invalid. If a valid one follows, acknowledged data has been damaged: stop. */
static enum rc check_nothing_behind(struct segment_store *s, struct segment *g, uint64_t position,
                                    struct err *err)
{
    for (uint64_t at = position + g->block_size; at + BATCH_HEADER_SIZE <= g->size; at += g->block_size) {
        struct slice batch;
        struct batch_header h;
        bool valid;
        enum rc rc = probe_batch(s, g, at, &batch, &h, &valid, err);
        if (rc != RC_OK)
            return rc;
        if (valid && h.sequence >= g->next_sequence)
            return err_set(err, RC_CORRUPT,
                           "log file %s is damaged at offset %" PRIu64 ": bad batch, but batch %" PRIu64
                           " at offset %" PRIu64 " behind it is good",
                           g->name, position, h.sequence, at);
    }
    return RC_OK;
}

/* Wipe the block in which a torn batch started, so that its header cannot meet other bytes later. */
static enum rc wipe_torn(struct segment_store *s, struct segment *g, struct err *err)
{
    struct read_window *window;
    struct slice start;
    struct batch_header h;
    if (g->end + g->block_size > g->size)
        return RC_OK;
    uint64_t end = g->end;
    g->end = g->size;
    enum rc rc = store_window(s, g, end, BATCH_HEADER_SIZE, &window, &start, err);
    g->end = end;
    if (rc != RC_OK || !batch_header_decode(start, &h) || h.segment_id != g->id || h.salt != g->salt)
        return rc;
    if (h.kind == BATCH_DATA)
        LOG0(LOG_WARN, LOG_TARGET, "Cut a torn write off the log: file %s, offset %" PRIu64, g->name, end);
    if (end % s->disk->block_size != 0)
        return RC_OK; /* other block size than then: nothing more is written to this file */
    uint8_t *zeros = disk_alloc(s->disk->block_size);
    memset(zeros, 0, s->disk->block_size);
    rc = s->disk->ops->write(s->disk, g->file, end, zeros, s->disk->block_size, err);
    free(zeros);
    return rc;
}

static enum rc scan_last(struct segment_store *s, struct segment *g, struct err *err)
{
    /* A process that was killed may have left writes in the device's cache that nobody has acknowledged yet.
     * We are about to act on them: make them durable first. */
    enum rc rc = s->disk->ops->sync(s->disk, g->file, err);
    uint64_t position = g->start;
    while (rc == RC_OK && position + BATCH_HEADER_SIZE <= g->size) {
        struct slice batch;
        struct batch_header h;
        bool valid;
        rc = probe_batch(s, g, position, &batch, &h, &valid, err);
        if (rc != RC_OK)
            return rc;
        if (!valid || h.kind != BATCH_DATA || h.sequence != g->next_sequence)
            break;
        if (!apply_batch(s, g, position, batch, &h, false))
            return err_set(err, RC_CORRUPT, "log file %s contains an unknown entry at offset %" PRIu64,
                           g->name, position);
        position += align_up(batch_length(&h), g->block_size);
        g->next_sequence++;
    }
    if (rc == RC_OK)
        rc = check_nothing_behind(s, g, position, err);
    g->end = MIN(position, g->size);
    if (rc == RC_OK)
        rc = wipe_torn(s, g, err);
    store_windows_forget(s, g); /* they show what lies behind the end */
    return rc;
}

/* ---- after an orderly close ---- */

/* Read the checkpoint into *out (aligned memory, freed by the caller). False if there is none, or not a good
 * one. */
static bool read_checkpoint(struct segment_store *s, uint8_t **out, struct segment_header *h)
{
    const struct disk_ops *ops = s->disk->ops;
    struct disk_file *f;
    uint64_t size;
    size_t got = 0;
    *out = NULL;
    if (ops->open(s->disk, CHECKPOINT_NAME, false, &f, NULL) != RC_OK)
        return false;
    if (ops->size(s->disk, f, &size, NULL) == RC_OK && size > 0 && size % 4096 == 0 &&
        size <= BATCH_BYTES_MAX) {
        *out = disk_alloc(size);
        if (ops->read(s->disk, f, 0, *out, size, &got, NULL) != RC_OK)
            got = 0;
    }
    ops->close(s->disk, f);
    struct slice whole = slice_make(*out, got);
    return got && segment_header_decode(whole, h) == RC_OK && segment_header_check(whole, h);
}

/* If the store was closed in an orderly way, the active segment has a footer where its data ends, and the
 * checkpoint says where that is. It serves for one opening; the first batch then overwrites the footer. */
static bool load_checkpoint(struct segment_store *s)
{
    struct segment *g = store_active(s);
    struct segment_header h;
    uint8_t *data;
    bool good = read_checkpoint(s, &data, &h) && h.id == g->id + 1 && h.n_segments > 0;
    if (good) {
        struct reader tables = segment_header_tables(slice_make(data, h.length));
        struct segment_ref last = {0};
        for (uint32_t i = 0; i < h.n_segments; i++)
            last = segment_header_next_ref(&tables);
        good =
            last.id == g->id && last.end >= g->start && last.end <= g->size && last.end % g->block_size == 0;
        if (good) {
            g->end = last.end;
            g->next_sequence = last.next_sequence;
            good = footer_matches(s, g);
        }
        if (good) { /* instead of what the segment's header said */
            while (s->loglets.count)
                store_loglet_free(s, CONTAINER_OF(omap_first(&s->loglets), struct loglet, node));
            apply_snapshots(s, &tables, h.n_loglets);
        } else {
            g->end = g->size;
            g->next_sequence = g->first_sequence;
        }
    }
    free(data);
    return good;
}

/* ---- all of it ---- */

/* Headers, and the state of the loglets: from the checkpoint (*clean), or from the last header, which the
 * last segment's batches then bring up to date. */
static enum rc load_headers(struct segment_store *s, bool *clean, struct err *err)
{
    size_t n = s->segments.len;
    for (size_t i = 0; i < n; i++) {
        struct segment *g = s->segments.items[i];
        struct segment_header h;
        struct slice whole;
        enum rc rc = open_segment(s, g, &h, &whole, err);
        if (rc == RC_OK && i + 1 == n) {
            struct reader tables = segment_header_tables(whole);
            rc = apply_refs(s, &tables, h.n_segments, err);
            if (rc == RC_OK)
                apply_snapshots(s, &tables, h.n_loglets);
        }
        if (rc != RC_OK)
            return rc;
    }
    *clean = n > 0 && load_checkpoint(s);
    return RC_OK;
}

static enum rc recover_segments(struct segment_store *s, struct err *err)
{
    size_t n = s->segments.len;
    bool clean = false;
    enum rc rc = load_headers(s, &clean, err);
    for (size_t i = 0; i + 1 < n && rc == RC_OK; i++) {
        struct segment *g = s->segments.items[i];
        g->footer_done = load_footer(s, g);
        if (!g->footer_done)
            rc = scan_closed(s, g, err);
        store_windows_forget(s, g);
    }
    if (rc != RC_OK || n == 0)
        return rc;
    if (clean) {
        if (!load_footer(s, store_active(s)))
            return err_set(err, RC_IO, "log file %s cannot be read twice alike", store_active(s)->name);
        store_windows_forget(s, store_active(s));
    }
    rc = s->disk->ops->remove(s->disk, CHECKPOINT_NAME, err); /* from now on it would be out of date */
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        return rc;
    for (struct omap_node *m = omap_first(&s->loglets); m; m = omap_next(m)) {
        struct loglet *l = CONTAINER_OF(m, struct loglet, node);
        segment_index_trim(&l->index, l->trim_point);
    }
    return clean ? RC_OK : scan_last(s, store_active(s), err);
}

enum rc store_recover(struct segment_store *s, struct err *err)
{
    struct listing l = {.s = s};
    enum rc rc = s->disk->ops->list(s->disk, visit_name, &l, err);
    if (rc == RC_OK)
        rc = adopt_files(s, &l, err);
    if (rc == RC_OK)
        rc = recover_segments(s, err);
    free(l.leftovers.items);
    free(l.spares.items);
    return rc;
}
