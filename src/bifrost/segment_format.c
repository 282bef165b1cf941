/* Encoding and checking of segment files (see segment_format.h). */
#include "bifrost/segment_format.h"

#include "base/hash.h"

static const uint8_t header_magic[8] = {'R', 'C', 'S', 'E', 'G', 'M', 'N', 'T'};
static const uint8_t batch_magic[8] = {'R', 'C', 'B', 'A', 'T', 'C', 'H', '1'};

/* Fixed part of the segment header: magic 8, version 4, block size 4, id 8, salt 8, first sequence 8, size 8,
 * length 4, segments 4, loglets 4, reserved 8, crc 4. The CRC covers everything else. */
#define HEADER_CRC_AT (SEGMENT_HEADER_SIZE - 4)

void segment_header_begin(struct writer *w)
{
    memset(writer_reserve(w, SEGMENT_HEADER_SIZE), 0, SEGMENT_HEADER_SIZE);
    w->len += SEGMENT_HEADER_SIZE;
}

void segment_header_add_ref(struct writer *w, const struct segment_ref *r)
{
    write_u64le(w, r->id);
    write_u64le(w, r->end);
    write_u64le(w, r->next_sequence);
}

void segment_header_add_loglet(struct writer *w, const struct loglet_snapshot *s)
{
    write_u64le(w, s->id);
    write_u64le(w, s->tail);
    write_u64le(w, s->trim_point);
    write_u32le(w, s->flags);
    write_u32le(w, (uint32_t)s->meta.len);
    write_u64le(w, 0); /* reserved */
    write_slice_raw(w, s->meta);
}

static uint32_t header_crc(const uint8_t *p, size_t len)
{
    uint32_t crc = crc32c(0, p, HEADER_CRC_AT);
    return crc32c(crc, p + SEGMENT_HEADER_SIZE, len - SEGMENT_HEADER_SIZE);
}

void segment_header_finish(struct writer *w, struct segment_header *h)
{
    h->length = (uint32_t)w->len;
    uint8_t *p = w->buf->data;
    memcpy(p, header_magic, 8);
    put_u32le(p + 8, SEGMENT_VERSION);
    put_u32le(p + 12, h->block_size);
    put_u64le(p + 16, h->id);
    put_u64le(p + 24, h->salt);
    put_u64le(p + 32, h->first_sequence);
    put_u64le(p + 40, h->size);
    put_u32le(p + 48, h->length);
    put_u32le(p + 52, h->n_segments);
    put_u32le(p + 56, h->n_loglets);
    put_u32le(p + HEADER_CRC_AT, header_crc(p, w->len));
}

enum rc segment_header_decode(struct slice start, struct segment_header *out)
{
    if (start.len < SEGMENT_HEADER_SIZE || memcmp(start.ptr, header_magic, 8) != 0)
        return RC_INVALID;
    const uint8_t *p = start.ptr;
    if (get_u32le(p + 8) != SEGMENT_VERSION)
        return RC_UNSUPPORTED;
    out->block_size = get_u32le(p + 12);
    out->id = get_u64le(p + 16);
    out->salt = get_u64le(p + 24);
    out->first_sequence = get_u64le(p + 32);
    out->size = get_u64le(p + 40);
    out->length = get_u32le(p + 48);
    out->n_segments = get_u32le(p + 52);
    out->n_loglets = get_u32le(p + 56);
    uint64_t least = SEGMENT_HEADER_SIZE + (uint64_t)out->n_segments * SEGMENT_REF_SIZE +
                     (uint64_t)out->n_loglets * LOGLET_SNAPSHOT_SIZE;
    bool sane = (out->block_size == 512 || out->block_size == 4096) && out->length >= least &&
                out->length <= BATCH_BYTES_MAX && out->first_sequence > 0;
    return sane ? RC_OK : RC_INVALID;
}

bool segment_header_check(struct slice whole, const struct segment_header *h)
{
    if (whole.len < h->length || get_u32le(whole.ptr + HEADER_CRC_AT) != header_crc(whole.ptr, h->length))
        return false;
    struct reader r = segment_header_tables(slice_sub(whole, 0, h->length));
    for (uint32_t i = 0; i < h->n_segments; i++)
        segment_header_next_ref(&r);
    for (uint32_t i = 0; i < h->n_loglets; i++)
        segment_header_next_loglet(&r);
    return reader_done(&r);
}

struct reader segment_header_tables(struct slice whole)
{
    return reader_make(slice_sub(whole, SEGMENT_HEADER_SIZE, whole.len - SEGMENT_HEADER_SIZE));
}

struct segment_ref segment_header_next_ref(struct reader *r)
{
    struct segment_ref ref;
    ref.id = read_u64le(r);
    ref.end = read_u64le(r);
    ref.next_sequence = read_u64le(r);
    return ref;
}

struct loglet_snapshot segment_header_next_loglet(struct reader *r)
{
    struct loglet_snapshot s;
    s.id = read_u64le(r);
    s.tail = read_u64le(r);
    s.trim_point = read_u64le(r);
    s.flags = read_u32le(r);
    uint32_t meta_len = read_u32le(r);
    read_u64le(r);
    s.meta = read_raw(r, meta_len);
    return s;
}

/* Batch header: magic 8, kind 4, entries 4, segment id 8, salt 8, sequence 8, body length 8, reserved 4,
 * crc 4. The CRC covers the rest of the header and the table; the table holds the CRC of each body, so every
 * byte is summed once. */
#define BATCH_CRC_AT (BATCH_HEADER_SIZE - 4)

void batch_entry_encode(uint8_t out[BATCH_ENTRY_SIZE], const struct batch_entry *e)
{
    memset(out, 0, BATCH_ENTRY_SIZE);
    out[0] = e->kind;
    put_u32le(out + 4, e->length);
    put_u32le(out + 8, e->crc);
    put_u64le(out + 16, e->loglet);
    put_u64le(out + 24, e->offset);
}

void batch_entry_decode(const uint8_t in[BATCH_ENTRY_SIZE], struct batch_entry *e)
{
    e->kind = in[0];
    e->length = get_u32le(in + 4);
    e->crc = get_u32le(in + 8);
    e->loglet = get_u64le(in + 16);
    e->offset = get_u64le(in + 24);
}

void footer_entry_encode(uint8_t out[BATCH_ENTRY_SIZE], const struct footer_entry *e)
{
    put_u64le(out, e->loglet);
    put_u64le(out + 8, e->first);
    put_u32le(out + 16, e->count);
    put_u32le(out + 20, e->bytes);
    put_u32le(out + 24, e->position);
    put_u32le(out + 28, e->length);
}

void footer_entry_decode(const uint8_t in[BATCH_ENTRY_SIZE], struct footer_entry *e)
{
    e->loglet = get_u64le(in);
    e->first = get_u64le(in + 8);
    e->count = get_u32le(in + 16);
    e->bytes = get_u32le(in + 20);
    e->position = get_u32le(in + 24);
    e->length = get_u32le(in + 28);
}

static uint32_t batch_crc(const uint8_t *header, const uint8_t *table, const struct batch_header *h)
{
    uint32_t crc = crc32c(0, header, BATCH_CRC_AT);
    return crc32c(crc, table, (size_t)h->n_entries * BATCH_ENTRY_SIZE);
}

void batch_finish(uint8_t *batch, const struct batch_header *h)
{
    memcpy(batch, batch_magic, 8);
    put_u32le(batch + 8, h->kind);
    put_u32le(batch + 12, h->n_entries);
    put_u64le(batch + 16, h->segment_id);
    put_u64le(batch + 24, h->salt);
    put_u64le(batch + 32, h->sequence);
    put_u64le(batch + 40, h->body_length);
    put_u32le(batch + 48, 0);
    put_u32le(batch + BATCH_CRC_AT, batch_crc(batch, batch + BATCH_HEADER_SIZE + h->body_length, h));
}

bool batch_header_decode(struct slice start, struct batch_header *out)
{
    if (start.len < BATCH_HEADER_SIZE || memcmp(start.ptr, batch_magic, 8) != 0)
        return false;
    const uint8_t *p = start.ptr;
    out->kind = get_u32le(p + 8);
    out->n_entries = get_u32le(p + 12);
    out->segment_id = get_u64le(p + 16);
    out->salt = get_u64le(p + 24);
    out->sequence = get_u64le(p + 32);
    out->body_length = get_u64le(p + 40);
    return (out->kind == BATCH_DATA || out->kind == BATCH_FOOTER) && out->body_length <= BATCH_BYTES_MAX &&
           out->n_entries <= BATCH_BYTES_MAX / BATCH_ENTRY_SIZE;
}

bool batch_table_check(const uint8_t *header, const uint8_t *table, const struct batch_header *h)
{
    return get_u32le(header + BATCH_CRC_AT) == batch_crc(header, table, h);
}

bool batch_check(struct slice batch, const struct batch_header *h)
{
    if (batch.len < batch_length(h))
        return false;
    const uint8_t *body = batch.ptr + BATCH_HEADER_SIZE;
    const uint8_t *table = body + h->body_length;
    if (!batch_table_check(batch.ptr, table, h))
        return false;
    if (h->kind == BATCH_FOOTER)
        return h->body_length == 0;
    uint64_t left = h->body_length;
    for (uint32_t i = 0; i < h->n_entries; i++) {
        struct batch_entry e;
        batch_entry_decode(table + (size_t)i * BATCH_ENTRY_SIZE, &e);
        if (e.length > left || crc32c(0, body, e.length) != e.crc)
            return false;
        body += e.length;
        left -= e.length;
    }
    return left == 0;
}
