/* Text codecs of base/hash.h: base62, base64, hex, UTF-8, percent encoding. */
#include "base/codec.h"
#include "base/hash.h"

/* ---- base62 ---- */

static const char base62_digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

static int base62_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 36;
    return -1;
}

static void base62_encode(unsigned __int128 v, char *out, size_t width)
{
    for (size_t i = width; i-- > 0;) {
        out[i] = base62_digits[v % 62];
        v /= 62;
    }
}

void base62_encode_u64(uint64_t v, char out[BASE62_U64_WIDTH])
{
    base62_encode(v, out, BASE62_U64_WIDTH);
}

void base62_encode_u128(struct u128 v, char out[BASE62_U128_WIDTH])
{
    base62_encode((unsigned __int128)v.hi << 64 | v.lo, out, BASE62_U128_WIDTH);
}

static bool base62_decode(struct slice text, unsigned __int128 max, unsigned __int128 *out)
{
    unsigned __int128 v = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = base62_value(text.ptr[i]);
        if (digit < 0 || v > (max - (unsigned)digit) / 62)
            return false;
        v = v * 62 + (unsigned)digit;
    }
    *out = v;
    return true;
}

bool base62_decode_u64(struct slice text, uint64_t *out)
{
    unsigned __int128 v;
    if (text.len != BASE62_U64_WIDTH || !base62_decode(text, UINT64_MAX, &v))
        return false;
    *out = (uint64_t)v;
    return true;
}

bool base62_decode_u128(struct slice text, struct u128 *out)
{
    unsigned __int128 v;
    if (text.len != BASE62_U128_WIDTH || !base62_decode(text, ~(unsigned __int128)0, &v))
        return false;
    *out = (struct u128){(uint64_t)(v >> 64), (uint64_t)v};
    return true;
}

/* ---- base64 ---- */

static size_t base64_write(struct slice in, char *out, const char *digits, bool pad)
{
    size_t n = 0, i = 0;
    for (; in.len - i >= 3; i += 3) {
        uint32_t v = (uint32_t)in.ptr[i] << 16 | (uint32_t)in.ptr[i + 1] << 8 | in.ptr[i + 2];
        out[n++] = digits[v >> 18];
        out[n++] = digits[v >> 12 & 63];
        out[n++] = digits[v >> 6 & 63];
        out[n++] = digits[v & 63];
    }
    size_t left = in.len - i;
    if (left == 0)
        return n;
    uint32_t v = (uint32_t)in.ptr[i] << 16 | (left == 2 ? (uint32_t)in.ptr[i + 1] << 8 : 0);
    out[n++] = digits[v >> 18];
    out[n++] = digits[v >> 12 & 63];
    if (left == 2)
        out[n++] = digits[v >> 6 & 63];
    while (pad && n % 4)
        out[n++] = '=';
    return n;
}

size_t base64url_encode(struct slice in, char *out)
{
    return base64_write(in, out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", false);
}

size_t base64_encode(struct slice in, char *out)
{
    return base64_write(in, out, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true);
}

void write_base64url(struct writer *w, struct slice in)
{
    w->len += base64url_encode(in, (char *)writer_reserve(w, in.len / 3 * 4 + 4));
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

bool base64_decode(struct slice in, uint8_t *out, size_t *out_len)
{
    size_t padding = 0;
    while (padding < 2 && in.len > 0 && in.ptr[in.len - 1] == '=') {
        in.len--;
        padding++;
    }
    if (in.len % 4 == 1 || (padding && (in.len + padding) % 4 != 0))
        return false;
    size_t n = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < in.len; i++) {
        int v = base64_value(in.ptr[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 != 0)
            out[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    uint32_t rest = in.len % 4 == 2 ? 0xf : in.len % 4 == 3 ? 0x3 : 0;
    if (bits & rest)
        return false;
    *out_len = n;
    return true;
}

/* ---- hex ---- */

int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void hex_encode(struct slice in, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        out[2 * i] = digits[in.ptr[i] >> 4];
        out[2 * i + 1] = digits[in.ptr[i] & 15];
    }
}

void write_hex(struct writer *w, struct slice in)
{
    hex_encode(in, (char *)writer_reserve(w, 2 * in.len));
    w->len += 2 * in.len;
}

bool hex_decode(struct slice in, uint8_t *out)
{
    if (in.len % 2)
        return false;
    for (size_t i = 0; i < in.len; i += 2) {
        int hi = hex_value(in.ptr[i]), lo = hex_value(in.ptr[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

/* ---- UTF-8 ---- */

size_t utf8_encode(uint32_t code_point, uint8_t out[4])
{
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; code_point >>= 6)
        out[i] = (uint8_t)(0x80 | (code_point & 0x3f));
    out[0] = (uint8_t)(lead[len] | code_point);
    return len;
}

void write_utf8(struct writer *w, uint32_t code_point)
{
    w->len += utf8_encode(code_point, writer_reserve(w, 4));
}

/* ---- percent encoding ---- */

static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void percent_encode(struct writer *w, struct slice s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (is_unreserved(c))
            write_u8(w, c);
        else
            write_raw(w, (char[3]){'%', digits[c >> 4], digits[c & 15]}, 3);
    }
}

void percent_decode(struct writer *w, struct slice s)
{
    uint8_t *out = writer_reserve(w, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int hi, lo;
        if (s.ptr[i] == '%' && s.len - i > 2 && (hi = hex_value(s.ptr[i + 1])) >= 0 &&
            (lo = hex_value(s.ptr[i + 2])) >= 0) {
            out[n++] = (uint8_t)(hi << 4 | lo);
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    w->len += n;
}
