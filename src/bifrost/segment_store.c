/* Segment store: loglets, batches, commit, and moving on to the next segment (see segment_store.h). */
#include "bifrost/segment_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "bifrost/segment_store_impl.h"

#define BUFFER_KEEP ((size_t)8 << 20) /* a larger write buffer is given back after its commit */

/* ---- loglets ---- */

static int loglet_cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct loglet, node)->id, y = CONTAINER_OF(b, struct loglet, node)->id;
    return x < y ? -1 : x > y;
}

static int loglet_key_cmp(const void *key, const struct omap_node *n)
{
    uint64_t x = *(const uint64_t *)key, y = CONTAINER_OF(n, struct loglet, node)->id;
    return x < y ? -1 : x > y;
}

struct loglet *store_loglet(const struct segment_store *s, uint64_t id)
{
    if (s->last_loglet && s->last_loglet->id == id)
        return s->last_loglet;
    struct omap_node *n = omap_find(&s->loglets, &id, loglet_key_cmp);
    return n ? CONTAINER_OF(n, struct loglet, node) : NULL;
}

struct loglet *store_loglet_make(struct segment_store *s, uint64_t id)
{
    struct loglet *l = store_loglet(s, id);
    if (!l) {
        l = xcalloc(1, sizeof(*l));
        l->id = id;
        l->tail = 1;
        omap_insert(&s->loglets, &l->node);
    }
    s->last_loglet = l;
    return l;
}

void store_loglet_free(struct segment_store *s, struct loglet *l)
{
    if (s->last_loglet == l)
        s->last_loglet = NULL;
    omap_remove(&s->loglets, &l->node);
    bytes_unref(&l->meta);
    segment_index_free(&l->index);
    free(l);
}

enum rc segment_store_info(const struct segment_store *s, uint64_t loglet, struct loglet_info *out)
{
    struct loglet *l = store_loglet(s, loglet);
    *out = (struct loglet_info){.tail = 1};
    if (!l)
        return RC_NOT_FOUND;
    *out = (struct loglet_info){l->tail, l->trim_point, l->sealed, bytes_slice(l->meta)};
    return RC_OK;
}

void segment_store_each(const struct segment_store *s, void (*visit)(void *ctx, uint64_t loglet), void *ctx)
{
    for (struct omap_node *n = omap_first(&s->loglets); n; n = omap_next(n))
        visit(ctx, CONTAINER_OF(n, struct loglet, node)->id);
}

bool segment_store_has(const struct segment_store *s, uint64_t loglet, uint64_t offset)
{
    struct loglet *l = store_loglet(s, loglet);
    return l && segment_index_lookup(&l->index, offset);
}

bool segment_store_extent(const struct segment_store *s, uint64_t loglet, uint64_t from, uint64_t *first,
                          uint64_t *last)
{
    struct loglet *l = store_loglet(s, loglet);
    const struct segment_run *r = l ? segment_index_find(&l->index, from) : NULL;
    if (!r)
        return false;
    *first = MAX(from, r->first);
    *last = segment_run_last(r);
    while ((r = segment_index_next(&l->index, r)) && r->first == *last + 1)
        *last = segment_run_last(r);
    return true;
}

/* ---- segments ---- */

struct segment *segment_new(uint64_t id)
{
    struct segment *g = xcalloc(1, sizeof(*g));
    g->id = id;
    snprintf(g->name, sizeof(g->name), "segment-%016" PRIx64, id);
    return g;
}

void segment_free(struct segment_store *s, struct segment *g)
{
    if (g->file)
        s->disk->ops->close(s->disk, g->file);
    free(g);
}

uint64_t store_next_size(const struct segment_store *s)
{
    if (!s->segments.len)
        return s->options.first_segment_bytes;
    return MIN(s->options.max_segment_bytes,
               MAX(store_active(s)->size, s->options.first_segment_bytes / 2) * 2);
}

/* What its footer may need once `more_entries` entries have been added. */
uint64_t segment_footer_room(const struct segment *g, size_t more_entries)
{
    return align_up(BATCH_HEADER_SIZE + (g->live_runs + (uint64_t)more_entries) * BATCH_ENTRY_SIZE, 4096);
}

/* Room that data leaves free at the end of every segment, so that trims find a place when the disk is full.
 */
static uint64_t control_room(uint64_t segment_size)
{
    return MIN(MAX(align_up(segment_size / 64, 4096), 16384), (uint64_t)256 << 10);
}

struct segment_header store_encode_header(struct segment_store *s, struct writer *w, uint64_t id)
{
    struct segment *active = s->segments.len ? store_active(s) : NULL;
    struct segment_header h = {
        .block_size = (uint32_t)s->disk->block_size,
        .id = id,
        .salt = hash64_combine(s->options.random, id),
        .first_sequence = active ? active->next_sequence : 1,
    };
    segment_header_begin(w);
    for (size_t i = 0; i < s->segments.len; i++) {
        const struct segment *g = s->segments.items[i];
        segment_header_add_ref(w, &(struct segment_ref){g->id, g->end, g->next_sequence});
        h.n_segments++;
    }
    for (struct omap_node *n = omap_first(&s->loglets); n; n = omap_next(n)) {
        const struct loglet *l = CONTAINER_OF(n, struct loglet, node);
        struct loglet_snapshot snap = {l->id, l->tail, l->trim_point, l->sealed ? LOGLET_SEALED : 0,
                                       bytes_slice(l->meta)};
        segment_header_add_loglet(w, &snap);
        h.n_loglets++;
    }
    return h;
}

/* Find a file of at least `size` bytes for the next segment: a spare, the reserve, or a new one. */
static enum rc take_file(struct segment_store *s, enum segment_room_internal room, uint64_t size,
                         struct spare_file *out, struct err *err)
{
    size_t best = s->spares.len;
    for (size_t i = 0; i < s->spares.len; i++) {
        if (s->spares.items[i].size >= size &&
            (best == s->spares.len || s->spares.items[i].size > s->spares.items[best].size))
            best = i;
    }
    if (best < s->spares.len) {
        *out = s->spares.items[best];
        return RC_OK;
    }
    enum rc rc = err_set(err, RC_NO_SPACE, "the disk is full");
    if (!s->full || room == ROOM_CONTROL) {
        struct segment_prepare job = {.disk = s->disk, .size = MAX(size, store_next_size(s))};
        snprintf(job.temporary, sizeof(job.temporary), "fill-%016" PRIx64, s->next_file);
        snprintf(job.name, sizeof(job.name), "spare-%016" PRIx64, s->next_file++);
        segment_prepare_run(&job);
        rc = job.rc;
        if (rc == RC_OK) {
            VEC_PUSH(&s->spares, ((struct spare_file){.size = job.size}));
            *out = s->spares.items[s->spares.len - 1];
            memcpy(out->name, job.name, sizeof(out->name));
            s->spares.items[s->spares.len - 1] = *out;
            return RC_OK;
        }
        if (err)
            *err = job.err;
    }
    if (rc != RC_NO_SPACE)
        return rc;
    if (!s->full)
        LOG0(LOG_WARN, LOG_TARGET,
             "The disk is full: appends are refused until there is space again; reads and trims go on");
    s->full = true;
    s->refused_size = MAX(s->refused_size, size);
    if (room != ROOM_DATA && s->reserve_size >= size) {
        *out = (struct spare_file){.size = s->reserve_size, .name = RESERVE_NAME};
        return RC_OK;
    }
    return rc;
}

static void forget_file(struct segment_store *s, const struct spare_file *file)
{
    if (strcmp(file->name, RESERVE_NAME) == 0) {
        s->reserve_size = 0;
        return;
    }
    for (size_t i = 0; i < s->spares.len; i++) {
        if (strcmp(s->spares.items[i].name, file->name) == 0) {
            s->spares.items[i] = s->spares.items[--s->spares.len];
            return;
        }
    }
    UNREACHABLE("spare %s is unknown", file->name);
}

/* Turn `file` into the segment `g`: header first, then the name, so that every file with a segment's name has
 * a header. */
static enum rc activate(struct segment_store *s, struct segment *g, const struct spare_file *file,
                        struct slice header, struct err *err)
{
    const struct disk_ops *ops = s->disk->ops;
    uint64_t padded = align_up(header.len, s->disk->block_size);
    uint8_t *block = disk_alloc(padded);
    memset(block, 0, padded);
    memcpy(block, header.ptr, header.len);
    struct disk_file *f = NULL;
    enum rc rc = ops->open(s->disk, file->name, false, &f, err);
    if (rc == RC_OK) {
        rc = ops->write(s->disk, f, 0, block, padded, err);
        ops->close(s->disk, f);
    }
    free(block);
    if (rc == RC_OK)
        rc = ops->rename(s->disk, file->name, g->name, err);
    if (rc == RC_OK)
        rc = ops->open(s->disk, g->name, false, &g->file, err);
    g->start = g->end = padded;
    return rc;
}

enum rc store_roll(struct segment_store *s, enum segment_room_internal room, uint64_t need, struct err *err)
{
    struct segment *g = segment_new(s->segments.len ? store_active(s)->id + 1 : 1);
    struct writer w = WRITER_INIT;
    struct segment_header h = store_encode_header(s, &w, g->id);
    uint64_t size = align_up(w.len, 4096) + need;
    size = align_up(size + control_room(size + size / 32), 4096);
    struct spare_file file;
    enum rc rc = take_file(s, room, size, &file, err);
    if (rc == RC_OK) {
        h.size = file.size;
        segment_header_finish(&w, &h);
        g->size = file.size;
        g->salt = h.salt;
        g->block_size = h.block_size;
        g->first_sequence = g->next_sequence = h.first_sequence;
        rc = activate(s, g, &file, writer_slice(&w), err);
        if (rc != RC_OK && rc != RC_NO_SPACE)
            s->failed = true;
    }
    writer_free(&w);
    if (rc != RC_OK) {
        segment_free(s, g);
        return rc;
    }
    forget_file(s, &file);
    VEC_PUSH(&s->segments, g);
    return RC_OK;
}

/* ---- batches ---- */

static bool fits(const struct segment_store *s, enum segment_room_internal room, size_t entries,
                 uint64_t need)
{
    const struct segment *g = store_active(s);
    if (g->end % s->disk->block_size != 0)
        return false; /* written by a disk with smaller blocks */
    uint64_t keep = segment_footer_room(g, entries) + (room == ROOM_DATA ? control_room(g->size) : 0);
    return g->end + need + keep <= g->size;
}

static void reserve_buffer(struct segment_store *s, uint64_t size)
{
    if (s->buffer_cap >= size)
        return;
    free(s->buffer);
    s->buffer_cap = align_up(MAX(size, 64 << 10), 64 << 10);
    s->buffer = disk_alloc(s->buffer_cap);
}

enum rc store_begin(struct segment_store *s, enum segment_room_internal room, size_t entries,
                    uint64_t body_bytes, struct err *err)
{
    ASSERT(!s->open);
    if (s->failed)
        return err_set(err, RC_IO, "the log store has stopped after a failed write");
    uint64_t need =
        align_up(BATCH_HEADER_SIZE + body_bytes + (uint64_t)entries * BATCH_ENTRY_SIZE, s->disk->block_size);
    if (need > BATCH_BYTES_MAX)
        return err_set(err, RC_TOO_LARGE, "a batch of %" PRIu64 " bytes is too large", need);
    if (!fits(s, room, entries, need)) {
        enum rc rc = store_roll(s, room, need + segment_footer_room(&(struct segment){0}, entries), err);
        if (rc != RC_OK)
            return rc;
        ASSERT(fits(s, room, entries, need));
    } else if (s->full && room == ROOM_DATA) {
        return err_set(err, RC_NO_SPACE, "the disk is full");
    }
    reserve_buffer(s, need);
    s->open = true;
    s->announced_entries = entries;
    s->announced_bytes = body_bytes;
    s->body_end = BATCH_HEADER_SIZE;
    s->staged.len = 0;
    return RC_OK;
}

enum rc segment_store_begin(struct segment_store *s, enum segment_room room, size_t entries,
                            uint64_t body_bytes, struct err *err)
{
    return store_begin(s, (enum segment_room_internal)room, entries, body_bytes, err);
}

static void stage(struct segment_store *s, struct batch_entry e, struct slice body, bool moved)
{
    ASSERT(s->open && s->staged.len < s->announced_entries);
    ASSERT(s->body_end - BATCH_HEADER_SIZE + body.len <= s->announced_bytes);
    e.length = (uint32_t)body.len;
    if (body.len)
        memcpy(s->buffer + s->body_end, body.ptr, body.len);
    e.crc = crc32c(0, body.ptr, body.len);
    VEC_PUSH(&s->staged, ((struct staged_entry){e, moved, s->body_end}));
    s->body_end += body.len;
}

static void stage_record(struct segment_store *s, uint64_t loglet, uint64_t offset, struct slice body,
                         bool moved)
{
    ASSERT(offset > 0 && body.len <= SEGMENT_RECORD_MAX);
    struct loglet *l = store_loglet_make(s, loglet);
    ASSERT_MSG(offset > l->staged_last, "offsets of a loglet must ascend within a batch");
    ASSERT_MSG(moved || !segment_index_lookup(&l->index, offset), "offset %" PRIu64 " is stored already",
               offset);
    l->staged_last = offset;
    stage(s, (struct batch_entry){.kind = ENTRY_RECORD, .loglet = loglet, .offset = offset}, body, moved);
}

void segment_store_put(struct segment_store *s, uint64_t loglet, uint64_t offset, struct slice body)
{
    stage_record(s, loglet, offset, body, false);
}

void store_put_moved(struct segment_store *s, uint64_t loglet, uint64_t offset, struct slice body)
{
    stage_record(s, loglet, offset, body, true);
}

void segment_store_put_trim(struct segment_store *s, uint64_t loglet, uint64_t upto)
{
    stage(s, (struct batch_entry){.kind = ENTRY_TRIM, .loglet = loglet, .offset = upto}, SLICE_EMPTY, false);
}

void segment_store_put_seal(struct segment_store *s, uint64_t loglet)
{
    stage(s, (struct batch_entry){.kind = ENTRY_SEAL, .loglet = loglet}, SLICE_EMPTY, false);
}

void segment_store_put_meta(struct segment_store *s, uint64_t loglet, struct slice meta)
{
    ASSERT(meta.len <= SEGMENT_META_MAX);
    stage(s, (struct batch_entry){.kind = ENTRY_META, .loglet = loglet}, meta, false);
}

void segment_store_put_drop(struct segment_store *s, uint64_t loglet)
{
    stage(s, (struct batch_entry){.kind = ENTRY_DROP, .loglet = loglet}, SLICE_EMPTY, false);
}

/* Size of a record on disk, for the live counters. */
static uint32_t record_bytes(const struct batch_entry *e)
{
    return e->length + BATCH_ENTRY_SIZE;
}

void store_apply(struct segment_store *s, const struct segment_run *where, const struct batch_entry *e,
                 struct slice body, bool moved)
{
    struct loglet *l = e->kind == ENTRY_DROP ? store_loglet(s, e->loglet) : store_loglet_make(s, e->loglet);
    switch (e->kind) {
    case ENTRY_RECORD: {
        struct segment_run run = *where;
        run.first = e->offset;
        run.count = 1;
        run.bytes = record_bytes(e);
        if (moved)
            segment_index_move(&l->index, &run);
        else if (e->offset > l->trim_point)
            segment_index_add(&l->index, &run);
        l->tail = MAX(l->tail, e->offset + 1);
        break;
    }
    case ENTRY_TRIM:
        l->trim_point = MAX(l->trim_point, e->offset);
        l->tail = MAX(l->tail, l->trim_point + 1);
        segment_index_trim(&l->index, l->trim_point);
        break;
    case ENTRY_SEAL:
        l->sealed = true;
        break;
    case ENTRY_META:
        bytes_unref(&l->meta);
        l->meta = bytes_copy(body);
        break;
    case ENTRY_DROP:
        if (l) {
            segment_index_trim(&l->index, UINT64_MAX);
            store_loglet_free(s, l);
        }
        break;
    default:
        UNREACHABLE("entry kind %d", e->kind);
    }
}

/* The batch is over: forget what was staged. */
static void end_batch(struct segment_store *s)
{
    for (size_t i = 0; i < s->staged.len; i++) {
        struct loglet *l = store_loglet(s, s->staged.items[i].entry.loglet);
        if (l)
            l->staged_last = 0;
    }
    s->open = false;
    s->staged.len = 0;
    if (s->buffer_cap > BUFFER_KEEP) {
        free(s->buffer);
        s->buffer = NULL;
        s->buffer_cap = 0;
    }
}

/* Header, table and padding around the bodies. Returns the length to write. */
static uint64_t finish_buffer(struct segment_store *s, const struct segment *g)
{
    struct batch_header h = {
        .kind = BATCH_DATA,
        .segment_id = g->id,
        .salt = g->salt,
        .sequence = g->next_sequence,
        .body_length = s->body_end - BATCH_HEADER_SIZE,
        .n_entries = (uint32_t)s->staged.len,
    };
    uint8_t *table = s->buffer + s->body_end;
    for (size_t i = 0; i < s->staged.len; i++)
        batch_entry_encode(table + i * BATCH_ENTRY_SIZE, &s->staged.items[i].entry);
    batch_finish(s->buffer, &h);
    uint64_t length = batch_length(&h), padded = align_up(length, s->disk->block_size);
    ASSERT(padded <= s->buffer_cap);
    memset(s->buffer + length, 0, padded - length);
    return padded;
}

enum rc segment_store_commit(struct segment_store *s, struct err *err)
{
    ASSERT(s->open);
    struct segment *g = store_active(s);
    uint64_t padded = finish_buffer(s, g);
    enum rc rc = s->disk->ops->write(s->disk, g->file, g->end, s->buffer, padded, err);
    if (rc != RC_OK) {
        if (rc == RC_NO_SPACE)
            s->full = true;
        else
            s->failed = true;
        end_batch(s);
        return rc;
    }
    struct segment_run where = {.position = (uint32_t)(g->end / SEGMENT_UNIT),
                                .length = (uint32_t)(padded / SEGMENT_UNIT),
                                .segment = g};
    store_keep_written(s, g, g->end, slice_make(s->buffer, padded));
    g->end += padded;
    g->next_sequence++;
    s->commits++;
    for (size_t i = 0; i < s->staged.len; i++) {
        const struct staged_entry *e = &s->staged.items[i];
        store_apply(s, &where, &e->entry, slice_make(s->buffer + e->body_from, e->entry.length), e->moved);
        if (e->moved) {
            s->rewritten_bytes += record_bytes(&e->entry);
        } else if (e->entry.kind == ENTRY_RECORD) {
            s->records++;
            s->bytes_appended += e->entry.length;
        }
    }
    end_batch(s);
    return RC_OK;
}

/* ---- the store as a whole ---- */

void segment_store_get_stats(const struct segment_store *s, struct segment_store_stats *out)
{
    *out = (struct segment_store_stats){
        .commits = s->commits,
        .records = s->records,
        .bytes_appended = s->bytes_appended,
        .rewritten_bytes = s->rewritten_bytes,
        .segments = s->segments.len,
        .file_bytes = s->reserve_size,
        .full = s->full,
    };
    for (size_t i = 0; i < s->segments.len; i++) {
        out->live_bytes += s->segments.items[i]->live_bytes;
        out->file_bytes += s->segments.items[i]->size;
    }
    for (size_t i = 0; i < s->spares.len; i++)
        out->file_bytes += s->spares.items[i].size;
}

bool segment_store_full(const struct segment_store *s)
{
    return s->full;
}

static void set_defaults(struct segment_store_options *o)
{
    if (!o->first_segment_bytes)
        o->first_segment_bytes = 2 << 20;
    if (!o->max_segment_bytes)
        o->max_segment_bytes = 64 << 20;
    if (!o->reserve_bytes)
        o->reserve_bytes = 4 << 20;
    if (!o->max_spares)
        o->max_spares = 2;
    if (!o->rewrite_percent)
        o->rewrite_percent = 20;
    ASSERT(o->first_segment_bytes % 4096 == 0 && o->max_segment_bytes % 4096 == 0 &&
           o->reserve_bytes % 4096 == 0);
}

static void store_free(struct segment_store *s)
{
    store_windows_forget(s, NULL);
    while (s->loglets.count)
        store_loglet_free(s, CONTAINER_OF(omap_first(&s->loglets), struct loglet, node));
    for (size_t i = 0; i < s->segments.len; i++)
        segment_free(s, s->segments.items[i]);
    VEC_FREE(&s->segments);
    VEC_FREE(&s->spares);
    VEC_FREE(&s->staged);
    VEC_FREE(&s->ranges);
    free(s->buffer);
    free(s);
}

enum rc segment_store_open(struct disk *disk, const struct segment_store_options *options,
                           struct segment_store **out, struct err *err)
{
    struct segment_store *s = xcalloc(1, sizeof(*s));
    s->disk = disk;
    s->options = *options;
    s->next_file = 1;
    set_defaults(&s->options);
    omap_init(&s->loglets, loglet_cmp);
    enum rc rc = store_recover(s, err);
    if (rc == RC_OK && !s->segments.len)
        rc = store_roll(s, ROOM_DATA, 0, err);
    if (rc != RC_OK) {
        store_free(s);
        return rc;
    }
    *out = s;
    return RC_OK;
}

void segment_store_close(struct segment_store *s)
{
    ASSERT(!s->open);
    if (!s->failed)
        store_write_checkpoint(s);
    store_free(s);
}
