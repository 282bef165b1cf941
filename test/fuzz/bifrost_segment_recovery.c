/* Opening a segment store whose files contain anything. Two ways, chosen by the first byte:
 *   raw      the input is the content of a segment file;
 *   patched  a good store of several segments is damaged at places given by the input, and the checksums of
 * its headers, batches and footers are made good again, so that the decoder behind them meets contradictions.
 * The store must open, or refuse; if it opens, reading, appending and housekeeping must not crash. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "bifrost/disk_memory.h"
#include "bifrost/segment_format.h"
#include "bifrost/segment_store.h"

static const struct segment_store_options options = {
    .random = 7, .first_segment_bytes = 32 << 10, .max_segment_bytes = 64 << 10, .reserve_bytes = 32 << 10};

static void drop_line(void *ctx, enum log_level level, struct slice line) {}

static struct disk *good_disk(void)
{
    struct disk *d = disk_memory_new(512);
    struct segment_store *s;
    struct err err = {0};
    uint8_t body[600] = {1, 2, 3};
    ASSERT(segment_store_open(d, &options, &s, &err) == RC_OK);
    for (uint64_t i = 1; i < 60; i++) {
        ASSERT(segment_store_begin(s, SEGMENT_ROOM_DATA, 6, 6 * sizeof(body), &err) == RC_OK);
        for (uint64_t l = 1; l <= 3; l++)
            segment_store_put(s, l, i, slice_make(body, 200 * l));
        if (i % 20 == 0)
            segment_store_put_trim(s, 1, i - 3);
        if (i == 30)
            segment_store_put_meta(s, 2, SLICE_LIT("meta"));
        if (i == 31)
            segment_store_put_seal(s, 2);
        ASSERT(segment_store_commit(s, &err) == RC_OK);
        if (i == 40)
            segment_store_housekeep(s, &err);
    }
    segment_store_close(s);
    return d;
}

static void visit(void *ctx, const char *name)
{
    char **out = ctx;
    for (int i = 0; i < 16; i++) {
        if (!out[i] && (strncmp(name, "segment-", 8) == 0 || strcmp(name, "checkpoint") == 0)) {
            out[i] = xstrdup(name);
            return;
        }
    }
}

/* Make the checksum of whatever starts here good again. */
static void mend(uint8_t *p, size_t left)
{
    struct batch_header b;
    struct segment_header h;
    if (segment_header_decode(slice_make(p, left), &h) == RC_OK && h.length <= left) {
        uint32_t crc = crc32c(0, p, SEGMENT_HEADER_SIZE - 4);
        put_u32le(p + SEGMENT_HEADER_SIZE - 4,
                  crc32c(crc, p + SEGMENT_HEADER_SIZE, h.length - SEGMENT_HEADER_SIZE));
    }
    if (!batch_header_decode(slice_make(p, left), &b) || batch_length(&b) > left)
        return;
    uint8_t *body = p + BATCH_HEADER_SIZE, *table = body + b.body_length;
    uint64_t at = 0;
    for (uint32_t i = 0; b.kind == BATCH_DATA && i < b.n_entries; i++) {
        struct batch_entry e;
        batch_entry_decode(table + (size_t)i * BATCH_ENTRY_SIZE, &e);
        if (e.length > b.body_length - at)
            break;
        put_u32le(table + (size_t)i * BATCH_ENTRY_SIZE + 8, crc32c(0, body + at, e.length));
        at += e.length;
    }
    batch_finish(p, &b);
}

static struct disk *patched_disk(const uint8_t *data, size_t size)
{
    static struct disk *good;
    static char *names[16];
    static int n_names;
    if (!good) {
        good = good_disk();
        good->ops->list(good, visit, names, NULL);
        while (n_names < 16 && names[n_names])
            n_names++;
    }
    struct disk *d = disk_memory_clone(good);
    for (; size >= 5; data += 5, size -= 5) {
        size_t len;
        uint8_t *p = disk_memory_content(d, names[data[0] % n_names], &len);
        size_t block = data[1] % (len / 512) * 512;
        size_t at = block + ((size_t)data[2] << 1 | (data[4] & 1));
        p[at] = data[3];
        mend(p + block, len - block);
        if (data[4] & 2) /* also the batch that the block may belong to */
            mend(p + (block >= 512 ? block - 512 : 0), len - block);
    }
    return d;
}

static void use(struct segment_store *s)
{
    struct err err = {0};
    struct stored_records out = {0};
    for (uint64_t l = 0; l < 5; l++) {
        uint64_t from = 1;
        struct loglet_info info;
        segment_store_info(s, l, &info);
        from = info.trim_point + 1;
        for (int i = 0; i < 50 && segment_store_read(s, l, from, 1000, &out, &err) == RC_OK; i++) {
            from = out.items[out.len - 1].offset + 1;
            stored_records_clear(&out);
        }
        stored_records_clear(&out);
    }
    stored_records_free(&out);
    for (int i = 0; i < 10; i++)
        segment_store_housekeep(s, &err);
    uint64_t first, last;
    if (!segment_store_has(s, 9, 1) && !segment_store_extent(s, 9, 0, &first, &last) &&
        segment_store_begin(s, SEGMENT_ROOM_DATA, 1, 5, &err) == RC_OK) {
        segment_store_put(s, 9, 1, SLICE_LIT("hello"));
        segment_store_commit(s, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_sink(drop_line, NULL);
    if (size < 1)
        return 0;
    struct disk *d;
    if (data[0] & 1) {
        d = patched_disk(data + 1, size - 1);
    } else {
        size_t padded = (size - 1 + 4095) / 4096 * 4096;
        uint8_t *file = xcalloc(1, padded + 1);
        memcpy(file, data + 1, size - 1);
        d = disk_memory_new(data[0] & 2 ? 512 : 4096);
        disk_memory_put(d, "segment-0000000000000001", file, padded);
        free(file);
    }
    struct segment_store *s;
    struct err err = {0};
    if (segment_store_open(d, &options, &s, &err) == RC_OK) {
        use(s);
        segment_store_close(s);
        if (segment_store_open(d, &options, &s, &err) == RC_OK)
            segment_store_close(s);
    }
    d->ops->free(d);
    return 0;
}
