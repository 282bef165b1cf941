/* Text and byte forms of identifiers (wire/id.h): parsing reports errors in the order of spec/errors.md §10.
 */
#include "wire/id.h"

#include <stdio.h>

#include "base/codec.h"
#include "base/hash.h"

enum id_prefix {
    PREFIX_INV,
    PREFIX_DP,
    PREFIX_SUB,
    PREFIX_PROM,
    PREFIX_SIGN,
    PREFIX_SNAP,
    PREFIX_MUT,
    PREFIX_VQ,
    PREFIX_UNKNOWN,
};
static const char *const prefixes[PREFIX_UNKNOWN] = {"inv", "dp", "sub", "prom", "sign", "snap", "mut", "vq"};
#define ID_VERSION '1'

int invocation_id_cmp(struct invocation_id a, struct invocation_id b)
{
    if (a.partition_key != b.partition_key)
        return a.partition_key < b.partition_key ? -1 : 1;
    return u128_cmp(a.uuid, b.uuid);
}

uint64_t invocation_id_hash(struct invocation_id id)
{
    return hash64_combine(hash64_combine(id.partition_key, id.uuid.hi), id.uuid.lo);
}

void invocation_id_to_bytes(struct invocation_id id, uint8_t out[INVOCATION_ID_BYTES])
{
    put_u64be(out, id.partition_key);
    put_u64be(out + 8, id.uuid.hi);
    put_u64be(out + 16, id.uuid.lo);
}

struct invocation_id invocation_id_from_bytes(const uint8_t in[INVOCATION_ID_BYTES])
{
    return (struct invocation_id){get_u64be(in), {get_u64be(in + 8), get_u64be(in + 16)}};
}

/* The text encodes the value whose little-endian bytes are the big-endian bytes of the id. */
static struct u128 u128_swap(struct u128 v)
{
    return (struct u128){__builtin_bswap64(v.lo), __builtin_bswap64(v.hi)};
}

static void format_parts(struct invocation_id id, char *out)
{
    base62_encode_u64(__builtin_bswap64(id.partition_key), out);
    base62_encode_u128(u128_swap(id.uuid), out + BASE62_U64_WIDTH);
    out[BASE62_U64_WIDTH + BASE62_U128_WIDTH] = '\0';
}

void invocation_id_format(struct invocation_id id, char out[INVOCATION_ID_TEXT + 1])
{
    memcpy(out, "inv_1", 5);
    format_parts(id, out + 5);
}

void queue_id_format(struct invocation_id queue, char out[QUEUE_ID_TEXT + 1])
{
    memcpy(out, "vq_1", 4);
    format_parts(queue, out + 4);
}

static enum id_prefix prefix_of(struct slice name)
{
    for (int i = 0; i < PREFIX_UNKNOWN; i++)
        if (slice_eq_cstr(name, prefixes[i]))
            return (enum id_prefix)i;
    return PREFIX_UNKNOWN;
}

/* Check everything before the body and return the body. */
static enum id_error id_split(struct slice text, enum id_prefix expected, struct slice *body)
{
    if (text.len == 0)
        return ID_BAD_LENGTH;
    ptrdiff_t underscore = slice_find(text, '_', 0);
    if (underscore < 0)
        return ID_BAD_FORMAT;
    enum id_prefix prefix = prefix_of(slice_sub(text, 0, (size_t)underscore));
    if (prefix == PREFIX_UNKNOWN)
        return ID_UNRECOGNIZED_TYPE;
    size_t at = (size_t)underscore + 1;
    if (at == text.len)
        return ID_BAD_LENGTH;
    if (text.ptr[at] != ID_VERSION)
        return ID_UNRECOGNIZED_VERSION;
    if (prefix != expected)
        return ID_TYPE_MISMATCH;
    *body = slice_sub(text, at + 1, text.len - at - 1);
    return ID_OK;
}

static enum id_error body_take_u64(struct slice *body, uint64_t *out)
{
    if (body->len < BASE62_U64_WIDTH)
        return ID_BAD_LENGTH;
    uint64_t swapped;
    if (!base62_decode_u64(slice_sub(*body, 0, BASE62_U64_WIDTH), &swapped))
        return ID_CODEC;
    *out = __builtin_bswap64(swapped);
    *body = slice_sub(*body, BASE62_U64_WIDTH, body->len - BASE62_U64_WIDTH);
    return ID_OK;
}

static enum id_error body_take_u128(struct slice *body, struct u128 *out)
{
    if (body->len < BASE62_U128_WIDTH)
        return ID_BAD_LENGTH;
    struct u128 swapped;
    if (!base62_decode_u128(slice_sub(*body, 0, BASE62_U128_WIDTH), &swapped))
        return ID_CODEC;
    *out = u128_swap(swapped);
    *body = slice_sub(*body, BASE62_U128_WIDTH, body->len - BASE62_U128_WIDTH);
    return ID_OK;
}

static enum id_error parse_parts(struct slice text, enum id_prefix prefix, struct invocation_id *out)
{
    struct slice body;
    struct invocation_id id;
    enum id_error e = id_split(text, prefix, &body);
    if (e == ID_OK)
        e = body_take_u64(&body, &id.partition_key);
    if (e == ID_OK)
        e = body_take_u128(&body, &id.uuid);
    if (e == ID_OK && body.len != 0)
        e = ID_BAD_LENGTH;
    if (e == ID_OK)
        *out = id;
    return e;
}

enum id_error invocation_id_parse(struct slice text, struct invocation_id *out)
{
    return parse_parts(text, PREFIX_INV, out);
}

enum id_error queue_id_parse(struct slice text, struct invocation_id *out)
{
    return parse_parts(text, PREFIX_VQ, out);
}

void id_error_message(enum id_error e, struct slice text, char *out, size_t cap)
{
    switch (e) {
    case ID_OK:
        snprintf(out, cap, "ok");
        return;
    case ID_BAD_LENGTH:
        snprintf(out, cap, "bad length");
        return;
    case ID_BAD_FORMAT:
        snprintf(out, cap, "bad format");
        return;
    case ID_UNRECOGNIZED_TYPE: {
        ptrdiff_t underscore = slice_find(text, '_', 0);
        size_t len = underscore < 0 ? text.len : (size_t)underscore;
        snprintf(out, cap, "unrecognized resource type: %.*s", (int)MIN(len, (size_t)1024),
                 (const char *)text.ptr);
        return;
    }
    case ID_UNRECOGNIZED_VERSION:
        snprintf(out, cap, "unrecognized codec version");
        return;
    case ID_TYPE_MISMATCH:
        snprintf(out, cap, "id doesn't match the expected type");
        return;
    case ID_CODEC:
        snprintf(out, cap, "base62 decode error");
        return;
    }
    UNREACHABLE("id error %d", (int)e);
}

static enum id_prefix resource_prefix(enum resource_kind kind)
{
    switch (kind) {
    case RESOURCE_DEPLOYMENT:
        return PREFIX_DP;
    case RESOURCE_SUBSCRIPTION:
        return PREFIX_SUB;
    case RESOURCE_SNAPSHOT:
        return PREFIX_SNAP;
    case RESOURCE_MUTATION:
        return PREFIX_MUT;
    }
    UNREACHABLE("resource kind %d", (int)kind);
}

void resource_id_format(enum resource_kind kind, struct u128 ulid, char out[RESOURCE_ID_TEXT_MAX])
{
    char body[BASE62_U128_WIDTH];
    base62_encode_u128(u128_swap(ulid), body);
    snprintf(out, RESOURCE_ID_TEXT_MAX, "%s_%c%.*s", prefixes[resource_prefix(kind)], ID_VERSION,
             BASE62_U128_WIDTH, body);
}

enum id_error resource_id_parse(enum resource_kind kind, struct slice text, struct u128 *out)
{
    struct slice body;
    struct u128 ulid;
    enum id_error e = id_split(text, resource_prefix(kind), &body);
    if (e == ID_OK)
        e = body_take_u128(&body, &ulid);
    if (e == ID_OK && body.len != 0)
        e = ID_BAD_LENGTH;
    if (e == ID_OK)
        *out = ulid;
    return e;
}

struct u128 ulid_make(uint64_t wall_ms, uint64_t random_a, uint64_t random_b)
{
    return (struct u128){wall_ms << 16 | (random_a & 0xffff), random_b};
}

void ulid_format(struct u128 ulid, char out[ULID_TEXT + 1])
{
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    for (int i = ULID_TEXT - 1; i >= 0; i--) {
        out[i] = digits[ulid.lo & 31];
        ulid.lo = ulid.lo >> 5 | ulid.hi << 59;
        ulid.hi >>= 5;
    }
    out[ULID_TEXT] = '\0';
}

/* ---- awakeables ---- */

#define AWAKEABLE_BYTES    (INVOCATION_ID_BYTES + 4)
#define AWAKEABLE_BODY_MAX 64 /* longer than 28 bytes encode to, short enough for the stack */

static enum id_error awakeable_body_parse(struct slice text, enum id_prefix prefix, struct awakeable_id *out)
{
    struct slice body;
    enum id_error e = id_split(text, prefix, &body);
    if (e != ID_OK)
        return e;
    if (body.len > AWAKEABLE_BODY_MAX)
        return ID_BAD_LENGTH;
    uint8_t raw[AWAKEABLE_BODY_MAX];
    size_t len;
    if (!base64_decode(body, raw, &len))
        return ID_CODEC;
    if (len != AWAKEABLE_BYTES)
        return ID_BAD_LENGTH;
    out->invocation = invocation_id_from_bytes(raw);
    out->index = get_u32be(raw + INVOCATION_ID_BYTES);
    out->is_promise = prefix == PREFIX_PROM;
    return ID_OK;
}

enum id_error awakeable_id_parse(struct slice text, struct awakeable_id *out)
{
    if (awakeable_body_parse(text, PREFIX_SIGN, out) == ID_OK)
        return ID_OK;
    return awakeable_body_parse(text, PREFIX_PROM, out);
}

void awakeable_id_format(struct awakeable_id id, char out[48])
{
    uint8_t raw[AWAKEABLE_BYTES];
    invocation_id_to_bytes(id.invocation, raw);
    put_u32be(raw + INVOCATION_ID_BYTES, id.index);
    memcpy(out, id.is_promise ? "prom_1" : "sign_1", 6);
    size_t n = base64url_encode(slice_make(raw, sizeof(raw)), out + 6);
    out[6 + n] = '\0';
}
