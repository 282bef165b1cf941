/* The data files of a snapshot: rows of one partition in blocks with checksums (docs/snapshot-format.md). A
 * snapshot is one or more such files, numbered from 0, whose rows are in ascending order of keys over all of
 * them. A file is read and written as a whole in memory: writers start a new one at SNAPSHOT_FILE_SIZE. */
#pragma once
#include "base/codec.h"
#include "bifrost/log.h"

#define SNAPSHOT_FILE_VERSION 1u
#define SNAPSHOT_FILE_SIZE    (16u << 20)  /* a file is closed when it has reached this size */
#define SNAPSHOT_FILE_MAX     (512u << 20) /* with one very large row at its end */
#define SNAPSHOT_BLOCK_SIZE   (256u << 10) /* before compression; a larger row has a block of its own */

/* ---- writing ---- */
struct snapshot_writer {
    struct writer file, block;
    uint32_t block_rows;
    uint64_t rows;
    void *zstd;
};
void snapshot_writer_begin(struct snapshot_writer *w, uint16_t partition_id, lsn_t lsn, uint32_t index);
/* Keys ascend (asserted by the reader, not here). */
void snapshot_writer_add(struct snapshot_writer *w, struct slice key, struct slice value);
/* What the file has by now, without the rows of the block that is being filled. */
size_t snapshot_writer_size(const struct snapshot_writer *w);
struct bytes snapshot_writer_finish(struct snapshot_writer *w);
void snapshot_writer_free(struct snapshot_writer *w); /* after finish, or instead of it */

/* ---- reading ---- */
struct snapshot_reader {
    struct reader r;
    struct bytes block;
    struct reader rows;
    uint32_t block_rows_left;
    uint64_t n_rows;
    struct slice last_key; /* in the block, or in */
    struct bytes kept_key; /* the last key of the block before */
    uint16_t partition_id;
    uint32_t index;
    lsn_t lsn;
};
/* `file` must stay valid. RC_CORRUPT, or RC_UNSUPPORTED for a format of the future. */
enum rc snapshot_reader_open(struct snapshot_reader *s, struct slice file, struct err *err);
/* The next row, valid until the next call. RC_EOF after the last one, when the end of the file was found and
 * is right; RC_CORRUPT. */
enum rc snapshot_reader_next(struct snapshot_reader *s, struct slice *key, struct slice *value,
                             struct err *err);
void snapshot_reader_close(struct snapshot_reader *s);
