/* The bytes of a segment file (docs/segment-format.md): segment header, batches, footers. Pure functions over
 * memory; the caller does the I/O. All integers little-endian.
 *
 *   block 0..   segment header: identity, table of the closed segments, state of every loglet
 *   then        batches, each starting on a block: header, bodies, table of entries, padding
 *   at the end  (closed segments) one batch of kind footer: the index of this segment
 *
 * A recycled file keeps its old content; what belongs to the present segment is told by its id and its random
 * salt. */
#pragma once
#include "base/bytes.h"
#include "base/codec.h"

#define SEGMENT_VERSION      1
#define SEGMENT_HEADER_SIZE  72 /* fixed part */
#define SEGMENT_REF_SIZE     24 /* one closed segment in the table */
#define LOGLET_SNAPSHOT_SIZE 40 /* one loglet, without its metadata blob */
#define BATCH_HEADER_SIZE    56
#define BATCH_ENTRY_SIZE     32
#define BATCH_BYTES_MAX      ((uint64_t)1 << 30) /* sanity limit on lengths read from disk */

struct segment_header {
    uint32_t block_size; /* of the disk when the segment was written: batches start on multiples of it */
    uint64_t id, salt, first_sequence, size;
    uint32_t length; /* header with both tables, before padding */
    uint32_t n_segments, n_loglets;
};

/* A closed segment as later headers remember it. */
struct segment_ref {
    uint64_t id, end, next_sequence; /* `end`: where its batches end and its footer may stand */
};

#define LOGLET_SEALED 1u

struct loglet_snapshot {
    uint64_t id, tail, trim_point;
    uint32_t flags;
    struct slice meta;
};

/* Begin a header: reserves the fixed part. Then add the refs, then the snapshots, then finish. */
void segment_header_begin(struct writer *w);
void segment_header_add_ref(struct writer *w, const struct segment_ref *r);
void segment_header_add_loglet(struct writer *w, const struct loglet_snapshot *s);
void segment_header_finish(struct writer *w, struct segment_header *h); /* fills h->length */

/* Decode the fixed part from the first SEGMENT_HEADER_SIZE bytes. RC_INVALID: not a header of this format;
 * RC_UNSUPPORTED: a newer version. The checksum is verified by segment_header_check over `length` bytes. */
enum rc segment_header_decode(struct slice start, struct segment_header *out);
bool segment_header_check(struct slice whole, const struct segment_header *h);
/* Cursor over both tables of a checked header. */
struct reader segment_header_tables(struct slice whole);
struct segment_ref segment_header_next_ref(struct reader *r);
struct loglet_snapshot segment_header_next_loglet(struct reader *r);

enum batch_kind { BATCH_DATA = 1, BATCH_FOOTER = 2 };

struct batch_header {
    uint32_t kind;
    uint64_t segment_id, salt, sequence;
    uint64_t body_length; /* bytes between header and table */
    uint32_t n_entries;
};

enum entry_kind {
    ENTRY_RECORD = 1, /* offset of the record; body */
    ENTRY_TRIM,       /* everything up to and including `offset` is dropped */
    ENTRY_SEAL,
    ENTRY_META, /* body: the loglet's metadata blob */
    ENTRY_DROP, /* the loglet ceases to exist */
};

struct batch_entry {
    uint8_t kind;
    uint32_t length; /* of the body */
    uint32_t crc;    /* CRC-32C of the body */
    uint64_t loglet, offset;
};

/* A run of a closed segment's index, as a footer entry. Positions in units of 512 bytes. */
struct footer_entry {
    uint64_t loglet, first;
    uint32_t count, bytes, position, length;
};

static inline uint64_t batch_length(const struct batch_header *h)
{
    return BATCH_HEADER_SIZE + h->body_length + (uint64_t)h->n_entries * BATCH_ENTRY_SIZE;
}
void batch_entry_encode(uint8_t out[BATCH_ENTRY_SIZE], const struct batch_entry *e);
void batch_entry_decode(const uint8_t in[BATCH_ENTRY_SIZE], struct batch_entry *e);
void footer_entry_encode(uint8_t out[BATCH_ENTRY_SIZE], const struct footer_entry *e);
void footer_entry_decode(const uint8_t in[BATCH_ENTRY_SIZE], struct footer_entry *e);
/* Write the header in front of bodies and table that are already in place at `batch`. */
void batch_finish(uint8_t *batch, const struct batch_header *h);

/* Does a batch of this segment start here? Looks at the fixed part only; `start` may be shorter than a header
 * (false). */
bool batch_header_decode(struct slice start, struct batch_header *out);
/* Checksum of header and table; `table` has n_entries * BATCH_ENTRY_SIZE bytes. */
bool batch_table_check(const uint8_t *header, const uint8_t *table, const struct batch_header *h);
/* Table and all bodies of a batch that lies in memory completely; also that the bodies fill the body area
 * exactly. */
bool batch_check(struct slice batch, const struct batch_header *h);
