/* Implementation of partition/snapshot_file.h. Layout: docs/snapshot-format.md. */
#include "partition/snapshot_file.h"

#include <zstd.h>

#include "base/hash.h"

#define MAGIC        "RSTCSNAP"
#define HEADER_SIZE  36u
#define BLOCK_HEADER 20u
#define ZSTD_LEVEL   3
enum block_kind { BLOCK_PLAIN = 0, BLOCK_ZSTD = 1, BLOCK_END = 0xff };

/* ---- writing ---- */

void snapshot_writer_begin(struct snapshot_writer *w, uint16_t partition_id, lsn_t lsn, uint32_t index)
{
    *w = (struct snapshot_writer){.zstd = ZSTD_createCCtx()};
    ASSERT(w->zstd);
    write_raw(&w->file, MAGIC, 8);
    write_u32le(&w->file, SNAPSHOT_FILE_VERSION);
    write_u32le(&w->file, index);
    write_u64le(&w->file, lsn);
    write_u32le(&w->file, partition_id);
    write_u32le(&w->file, 0);
    write_u32le(&w->file, crc32c(0, writer_slice(&w->file).ptr, HEADER_SIZE - 4));
}

/* The checksum covers the rest of the header and the stored bytes. */
static void put_block(struct snapshot_writer *w, enum block_kind kind, size_t raw, uint32_t rows,
                      struct slice stored)
{
    uint8_t head[BLOCK_HEADER];
    put_u32le(head + 4, (uint32_t)kind);
    put_u32le(head + 8, (uint32_t)stored.len);
    put_u32le(head + 12, (uint32_t)raw);
    put_u32le(head + 16, rows);
    put_u32le(head, crc32c(crc32c(0, head + 4, BLOCK_HEADER - 4), stored.ptr, stored.len));
    write_raw(&w->file, head, sizeof(head));
    write_slice_raw(&w->file, stored);
}

static void flush_block(struct snapshot_writer *w)
{
    if (w->block_rows == 0)
        return;
    struct slice raw = writer_slice(&w->block);
    struct writer packed = WRITER_INIT;
    size_t room = ZSTD_compressBound(raw.len);
    size_t n = ZSTD_compressCCtx(w->zstd, writer_reserve(&packed, room), room, raw.ptr, raw.len, ZSTD_LEVEL);
    if (!ZSTD_isError(n) && n < raw.len) {
        packed.len = n;
        put_block(w, BLOCK_ZSTD, raw.len, w->block_rows, writer_slice(&packed));
    } else {
        put_block(w, BLOCK_PLAIN, raw.len, w->block_rows, raw);
    }
    writer_free(&packed);
    writer_reset(&w->block);
    w->block_rows = 0;
}

void snapshot_writer_add(struct snapshot_writer *w, struct slice key, struct slice value)
{
    if (w->block.len + key.len + value.len > SNAPSHOT_BLOCK_SIZE)
        flush_block(w);
    write_lp(&w->block, key);
    write_lp(&w->block, value);
    w->block_rows++;
    w->rows++;
    if (w->block.len >= SNAPSHOT_BLOCK_SIZE)
        flush_block(w);
}

size_t snapshot_writer_size(const struct snapshot_writer *w)
{
    return w->file.len;
}

struct bytes snapshot_writer_finish(struct snapshot_writer *w)
{
    flush_block(w);
    uint8_t total[8];
    put_u64le(total, w->rows);
    put_block(w, BLOCK_END, 0, 0, slice_make(total, sizeof(total)));
    return writer_take(&w->file);
}

void snapshot_writer_free(struct snapshot_writer *w)
{
    ZSTD_freeCCtx(w->zstd);
    writer_free(&w->file);
    writer_free(&w->block);
    *w = (struct snapshot_writer){0};
}

/* ---- reading ---- */

static enum rc corrupt(struct err *err, const char *what)
{
    return err_set(err, RC_CORRUPT, "snapshot file: %s", what);
}

enum rc snapshot_reader_open(struct snapshot_reader *s, struct slice file, struct err *err)
{
    *s = (struct snapshot_reader){.r = reader_make(file)};
    struct slice head = read_raw(&s->r, HEADER_SIZE);
    if (s->r.failed || memcmp(head.ptr, MAGIC, 8) != 0)
        return corrupt(err, "it does not begin like one");
    if (crc32c(0, head.ptr, HEADER_SIZE - 4) != get_u32le(head.ptr + HEADER_SIZE - 4))
        return corrupt(err, "the checksum of its header is wrong");
    if (get_u32le(head.ptr + 8) != SNAPSHOT_FILE_VERSION)
        return err_set(err, RC_UNSUPPORTED, "snapshot file: format %u was written by a newer version",
                       (unsigned)get_u32le(head.ptr + 8));
    s->index = get_u32le(head.ptr + 12);
    s->lsn = get_u64le(head.ptr + 16);
    s->partition_id = (uint16_t)get_u32le(head.ptr + 24);
    return RC_OK;
}

static enum rc unpack(struct snapshot_reader *s, struct slice stored, size_t raw, struct err *err)
{
    /* A frame says how large it is: nothing is reserved that the content does not fill. */
    if (ZSTD_getFrameContentSize(stored.ptr, stored.len) != raw)
        return corrupt(err, "a block has another size than its header says");
    struct buf *buf = buf_new(raw ? raw : 1);
    size_t n = ZSTD_decompress(buf->data, raw, stored.ptr, stored.len);
    if (ZSTD_isError(n) || n != raw) {
        buf_unref(buf);
        return corrupt(err, "a block cannot be decompressed");
    }
    s->block = bytes_take_buf(buf, 0, raw);
    return RC_OK;
}

static enum rc read_end(struct snapshot_reader *s, struct slice stored, struct err *err)
{
    if (stored.len != 8 || get_u64le(stored.ptr) != s->n_rows)
        return corrupt(err, "it has another number of rows than its end says");
    return reader_done(&s->r) ? RC_EOF : corrupt(err, "there is something behind its end");
}

static enum rc next_block(struct snapshot_reader *s, struct err *err)
{
    bytes_unref(&s->kept_key);
    s->kept_key = bytes_copy(s->last_key);
    s->last_key = bytes_slice(s->kept_key);
    bytes_unref(&s->block);
    struct slice head = read_raw(&s->r, BLOCK_HEADER);
    struct slice stored = s->r.failed ? SLICE_EMPTY : read_raw(&s->r, get_u32le(head.ptr + 8));
    if (s->r.failed)
        return corrupt(err, "it is cut off");
    if (crc32c(crc32c(0, head.ptr + 4, BLOCK_HEADER - 4), stored.ptr, stored.len) != get_u32le(head.ptr))
        return corrupt(err, "the checksum of a block is wrong");
    uint32_t kind = get_u32le(head.ptr + 4), raw = get_u32le(head.ptr + 12);
    s->block_rows_left = get_u32le(head.ptr + 16);
    if (kind == BLOCK_END)
        return read_end(s, stored, err);
    if (s->block_rows_left == 0 || raw > SNAPSHOT_FILE_MAX)
        return corrupt(err, "a block has an impossible size");
    if (kind == BLOCK_ZSTD) {
        enum rc rc = unpack(s, stored, raw, err);
        if (rc != RC_OK)
            return rc;
        s->rows = reader_make(bytes_slice(s->block));
        return RC_OK;
    }
    if (kind != BLOCK_PLAIN || raw != stored.len)
        return corrupt(err, "a block is of an unknown kind");
    s->rows = reader_make(stored);
    return RC_OK;
}

enum rc snapshot_reader_next(struct snapshot_reader *s, struct slice *key, struct slice *value,
                             struct err *err)
{
    if (s->block_rows_left == 0) {
        if (s->n_rows > 0 && s->rows.p != s->rows.end)
            return corrupt(err, "a block has more than its rows");
        enum rc rc = next_block(s, err);
        if (rc != RC_OK)
            return rc;
    }
    *key = read_lp(&s->rows);
    *value = read_lp(&s->rows);
    if (s->rows.failed || key->len == 0)
        return corrupt(err, "a row is cut off");
    if (slice_cmp(s->last_key, *key) >= 0)
        return corrupt(err, "its rows are not in order");
    s->last_key = *key;
    s->block_rows_left--;
    s->n_rows++;
    return RC_OK;
}

void snapshot_reader_close(struct snapshot_reader *s)
{
    bytes_unref(&s->block);
    bytes_unref(&s->kept_key);
    *s = (struct snapshot_reader){0};
}
