/* Messages of etcd: see etcd_messages.h. Field numbers are those of etcd's rpc.proto and kv.proto. */
#include "metadata/etcd_messages.h"

#include <stdlib.h>

#include "wire/pb.h"

#define SUFFIX SLICE_LIT(ETCD_VERSION_SUFFIX)

/* Compare: target VERSION counts the writes of a key since it was created, 0: there is none. */
enum { COMPARE_EQUAL = 0, TARGET_VERSION = 0, TARGET_VALUE = 3 };

/* ---- requests ---- */

static void put_version_key(struct writer *w, uint32_t field, struct slice key)
{
    pb_write_len_header(w, field, key.len + SUFFIX.len);
    write_slice_raw(w, key);
    write_slice_raw(w, SUFFIX);
}

void etcd_write_list(struct writer *w, struct slice prefix, struct slice from, uint32_t limit,
                     uint64_t revision)
{
    /* The end of a range of all keys with a prefix: the prefix with its last byte that can grow grown; "\0":
     * no end. */
    size_t len = prefix.len;
    while (len && prefix.ptr[len - 1] == 0xff)
        len--;
    if (from.len)
        pb_write_bytes(w, 1, from);
    else
        pb_write_bytes(w, 1, SLICE_LIT("\0"));
    if (len) {
        pb_write_len_header(w, 2, len);
        write_raw(w, prefix.ptr, len - 1);
        write_u8(w, (uint8_t)(prefix.ptr[len - 1] + 1));
    } else {
        pb_write_bytes(w, 2, SLICE_LIT("\0"));
    }
    pb_write_u64(w, 3, limit);
    pb_write_u64(w, 4, revision);
}

static void put_range_op(struct writer *txn, uint32_t list, struct slice key, bool version_key)
{
    struct writer range = WRITER_INIT, op = WRITER_INIT;
    if (version_key)
        put_version_key(&range, 1, key);
    else
        pb_write_bytes(&range, 1, key);
    pb_put_message(&op, 1, &range);
    pb_put_message(txn, list, &op);
}

void etcd_write_get(struct writer *w, struct slice key)
{
    put_range_op(w, 2, key, false);
    put_range_op(w, 2, key, true);
}

static void put_compare(struct writer *txn, const struct etcd_change *c)
{
    struct writer compare = WRITER_INIT;
    uint8_t expected[4];
    pb_write_u64(&compare, 1, COMPARE_EQUAL);
    pb_write_u64(&compare, 2, c->condition == ETCD_IF_ABSENT ? TARGET_VERSION : TARGET_VALUE);
    put_version_key(&compare, 3, c->key);
    put_u32le(expected, c->expected);
    if (c->condition == ETCD_IF_ABSENT)
        pb_write_u64_always(&compare, 4, 0);
    else
        pb_write_bytes(&compare, 7, slice_make(expected, 4));
    pb_put_message(txn, 1, &compare);
}

static void put_put_op(struct writer *txn, const struct etcd_change *c, bool version_key)
{
    struct writer put = WRITER_INIT, op = WRITER_INIT;
    uint8_t version[4];
    put_u32le(version, c->version);
    if (version_key)
        put_version_key(&put, 1, c->key);
    else
        pb_write_bytes(&put, 1, c->key);
    pb_write_bytes(&put, 2, version_key ? slice_make(version, 4) : c->value);
    pb_put_message(&op, 2, &put);
    pb_put_message(txn, 2, &op);
}

static void put_delete_op(struct writer *txn, const struct etcd_change *c, bool version_key)
{
    struct writer range = WRITER_INIT, op = WRITER_INIT;
    if (version_key)
        put_version_key(&range, 1, c->key);
    else
        pb_write_bytes(&range, 1, c->key);
    pb_put_message(&op, 3, &range);
    pb_put_message(txn, 2, &op);
}

void etcd_write_change(struct writer *w, const struct etcd_change *c)
{
    if (c->condition != ETCD_IF_ANY)
        put_compare(w, c);
    for (int version_key = 0; version_key < 2; version_key++) {
        if (c->put)
            put_put_op(w, c, version_key);
        else
            put_delete_op(w, c, version_key);
    }
    put_range_op(w, 3, c->key, true);
}

/* ---- answers ---- */

static bool read_header(struct slice message, uint64_t *revision)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    while (pb_next(&r, &f))
        if (f.number == 3 && f.wire == PB_VARINT)
            *revision = f.value;
    return !r.failed;
}

static bool read_pair(struct slice message, struct etcd_answer *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    struct etcd_pair p = {0};
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            p.key = f.bytes;
        else if (f.number == 5 && f.wire == PB_LEN)
            p.value = f.bytes;
    }
    if (r.failed || !p.key.len) /* etcd has no empty keys */
        return false;
    VEC_PUSH(&out->pairs, p);
    return true;
}

static bool read_range(struct slice message, struct etcd_answer *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool good = true;
    while (good && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            good = read_header(f.bytes, &out->revision);
        else if (f.number == 2 && f.wire == PB_LEN)
            good = read_pair(f.bytes, out);
        else if (f.number == 3 && f.wire == PB_VARINT)
            out->more = f.value != 0;
    }
    return good && !r.failed;
}

/* ResponseOp: ranges are of interest, what was put and deleted is not. */
static bool read_op(struct slice message, struct etcd_answer *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool good = true;
    while (good && pb_next(&r, &f))
        if (f.number == 1 && f.wire == PB_LEN)
            good = read_range(f.bytes, out);
    return good && !r.failed;
}

static bool read_txn(struct slice message, struct etcd_answer *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool good = true;
    while (good && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            good = read_header(f.bytes, &out->revision);
        else if (f.number == 2 && f.wire == PB_VARINT)
            out->succeeded = f.value != 0;
        else if (f.number == 3 && f.wire == PB_LEN)
            good = read_op(f.bytes, out);
    }
    return good && !r.failed;
}

static enum rc settle(bool good, struct etcd_answer *out, struct err *err)
{
    if (good)
        return RC_OK;
    etcd_answer_release(out);
    return err_set(err, RC_CORRUPT, "the answer is not one of etcd's API");
}

enum rc etcd_read_list(struct slice message, struct etcd_answer *out, struct err *err)
{
    *out = (struct etcd_answer){0};
    return settle(read_range(message, out), out, err);
}

enum rc etcd_read_txn(struct slice message, struct etcd_answer *out, struct err *err)
{
    *out = (struct etcd_answer){0};
    return settle(read_txn(message, out), out, err);
}

void etcd_answer_release(struct etcd_answer *a)
{
    VEC_FREE(&a->pairs);
}

/* ---- keys ---- */

bool etcd_version_parse(struct slice value, uint32_t *out)
{
    if (value.len != 4)
        return false;
    *out = get_u32le(value.ptr);
    return true;
}

bool etcd_has_version_suffix(struct slice key)
{
    return key.len >= SUFFIX.len && slice_eq(slice_sub(key, key.len - SUFFIX.len, SUFFIX.len), SUFFIX);
}

bool etcd_is_version_key(struct slice key, struct slice of)
{
    return key.len == of.len + SUFFIX.len && slice_starts_with(key, of) && etcd_has_version_suffix(key);
}
