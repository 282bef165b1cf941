/* The inside of the segment store, shared by segment_store.c, segment_read.c, segment_recovery.c and
 * segment_reclaim.c. */
#pragma once
#include "base/containers.h"
#include "bifrost/segment_format.h"
#include "bifrost/segment_index.h"
#include "bifrost/segment_store.h"

#define SEGMENT_UNIT    512u /* unit of positions in the index */
#define LOG_TARGET      "restate_bifrost::segment_store"
#define RESERVE_NAME    "reserve"
#define CHECKPOINT_NAME "checkpoint"

struct segment {
    uint64_t id, salt;
    uint64_t size;  /* of the file */
    uint64_t start; /* first batch */
    uint64_t end;   /* after the last batch */
    uint64_t first_sequence, next_sequence;
    uint64_t live_bytes; /* maintained by the index */
    uint32_t live_runs;
    uint32_t block_size;
    bool footer_done; /* written, or no room for it */
    bool damaged;     /* rewriting met a bad checksum: leave it alone */
    struct disk_file *file;
    char name[32];
};

struct loglet {
    struct omap_node node;
    uint64_t id, tail, trim_point;
    uint64_t staged_last; /* highest offset in the open batch */
    bool sealed;
    struct bytes meta;
    struct segment_index index;
};

struct spare_file {
    uint64_t size;
    char name[32];
};

/* A part of a segment in memory, verified batch by batch as it is used. Record bodies refer to the buffer. */
struct read_window {
    struct segment *segment;
    uint64_t start, len;
    struct buf *buf;
    const uint8_t *data;
    uint64_t last_use;
};
#define READ_WINDOWS      64 /* after a crash 24 partitions replay from different places */
#define READ_WINDOW_BYTES ((uint64_t)1 << 20)
#define WRITTEN_WINDOWS   4 /* who lags further behind the writer reads the disk */

struct staged_entry {
    struct batch_entry entry;
    bool moved;       /* a record that rewriting carries forward */
    size_t body_from; /* in the write buffer */
};

/* A live stretch of the segment that is being rewritten, in units of 512 bytes. */
struct live_range {
    uint32_t position, length;
};

struct segment_store {
    struct disk *disk;
    struct segment_store_options options;
    struct omap loglets;
    struct loglet *last_loglet; /* the one looked up last */
    struct {
        struct segment **items; /* ascending ids; the last one is active */
        size_t len, cap;
    } segments;
    struct {
        struct spare_file *items;
        size_t len, cap;
    } spares;
    uint64_t reserve_size; /* 0: there is none at present */
    uint64_t next_file;    /* number for the next spare */
    bool preparing, full, failed;
    uint64_t refused_size; /* of the segment that the disk had no room for; 0 if not full */

    /* the open batch */
    bool open;
    size_t announced_entries;
    uint64_t announced_bytes;
    uint8_t *buffer; /* header, bodies, table; aligned for the disk */
    size_t buffer_cap, body_end;
    struct {
        struct staged_entry *items;
        size_t len, cap;
    } staged;

    struct read_window windows[READ_WINDOWS];
    uint64_t window_clock;
    /* What was written last, for those who read behind the writer (replicas on other nodes); kept only while
     * somebody does. */
    bool followed;
    struct read_window written[WRITTEN_WINDOWS];
    unsigned newest_written;

    /* rewriting */
    struct segment *victim;
    struct {
        struct live_range *items;
        size_t len, cap;
    } ranges;
    size_t next_range;
    uint64_t next_position; /* within that range; bytes in the file */

    uint64_t commits, records, bytes_appended, rewritten_bytes;
};

static inline uint64_t align_up(uint64_t n, uint64_t block)
{
    return (n + block - 1) / block * block;
}
static inline struct segment *store_active(const struct segment_store *s)
{
    ASSERT(s->segments.len > 0);
    return s->segments.items[s->segments.len - 1];
}

/* segment_store.c */
enum segment_room_internal {
    ROOM_DATA = SEGMENT_ROOM_DATA,
    ROOM_CONTROL = SEGMENT_ROOM_CONTROL,
    ROOM_REWRITE, /* may use the reserve, since it frees a segment soon */
};
enum rc store_begin(struct segment_store *s, enum segment_room_internal room, size_t entries,
                    uint64_t body_bytes, struct err *err);
void store_put_moved(struct segment_store *s, uint64_t loglet, uint64_t offset, struct slice body);
/* Move on to a new segment with room for `need` bytes of batches. */
enum rc store_roll(struct segment_store *s, enum segment_room_internal room, uint64_t need, struct err *err);
struct loglet *store_loglet(const struct segment_store *s, uint64_t id); /* NULL if unknown */
struct loglet *store_loglet_make(struct segment_store *s, uint64_t id);
void store_loglet_free(struct segment_store *s, struct loglet *l);
/* What a committed entry means. `run` says where its batch is (its segment, position and length). */
void store_apply(struct segment_store *s, const struct segment_run *where, const struct batch_entry *e,
                 struct slice body, bool moved);
struct segment *segment_new(uint64_t id);
void segment_free(struct segment_store *s, struct segment *g);
uint64_t store_next_size(const struct segment_store *s);
/* What the header of segment `id` would say now: who is closed, and the state of every loglet. The caller
 * sets the size. */
struct segment_header store_encode_header(struct segment_store *s, struct writer *w, uint64_t id);
uint64_t segment_footer_room(const struct segment *g, size_t more_entries);

/* segment_read.c */
/* `len` bytes at `position` of the segment, or fewer only at the end of the segment's data. Valid until the
 * next call; take a reference of window->buf to keep them. */
enum rc store_window(struct segment_store *s, struct segment *g, uint64_t position, uint64_t len,
                     struct read_window **window, struct slice *out, struct err *err);
void store_windows_forget(struct segment_store *s, const struct segment *g);
/* A batch, padding included, was written at `position`. */
void store_keep_written(struct segment_store *s, struct segment *g, uint64_t position, struct slice batch);
/* The batch at `position` of a segment known to be good: header, table and position checked, bodies not. */
enum rc store_load_batch(struct segment_store *s, struct segment *g, uint64_t position,
                         struct read_window **window, struct slice *batch, struct batch_header *h,
                         struct err *err);

/* segment_recovery.c: read the directory into an empty store; no segments if it is empty. */
enum rc store_recover(struct segment_store *s, struct err *err);

/* segment_reclaim.c */
/* On an orderly close: a footer for the active segment too, and the header that its successor would have in a
 * file of its own, so that the next opening need not scan. Only a hint; failing is harmless. */
void store_write_checkpoint(struct segment_store *s);
enum rc store_write_footer(struct segment_store *s, struct segment *g, struct err *err);
