/* Fuzzes base64, base62, hex and percent coding: decoding is bounded, and encoding what was decoded gives the
 * input. */
#include <stdlib.h>

#include "base/codec.h"
#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_base64(struct slice in)
{
    uint8_t *out = xmalloc(3 * ((in.len + 3) / 4));
    char *text = xmalloc(4 * ((in.len + 2) / 3));
    size_t len, n;
    if (base64_decode(in, out, &len)) {
        n = base64url_encode(slice_make(out, len), text);
        size_t unpadded = in.len;
        while (unpadded && in.ptr[unpadded - 1] == '=')
            unpadded--;
        ASSERT(n == unpadded); /* canonical: one text per value, up to alphabet and padding */
    }
    n = base64_encode(in, text);
    free(out);
    out = xmalloc(3 * ((n + 3) / 4));
    ASSERT(base64_decode(slice_make(text, n), out, &len) && slice_eq(slice_make(out, len), in));
    free(out);
    free(text);
}

static void fuzz_base62(struct slice in)
{
    uint64_t v;
    struct u128 w;
    char text[BASE62_U128_WIDTH];
    if (base62_decode_u64(in, &v)) {
        base62_encode_u64(v, text);
        ASSERT(memcmp(text, in.ptr, in.len) == 0);
    }
    if (base62_decode_u128(in, &w)) {
        base62_encode_u128(w, text);
        ASSERT(memcmp(text, in.ptr, in.len) == 0);
    }
}

static void fuzz_hex_and_percent(struct slice in)
{
    uint8_t *out = xmalloc(in.len / 2);
    hex_decode(in, out);
    free(out);
    struct writer a = WRITER_INIT, b = WRITER_INIT;
    percent_decode(&a, in);
    ASSERT(a.len <= in.len);
    writer_reset(&a);
    percent_encode(&a, in);
    percent_decode(&b, writer_slice(&a));
    ASSERT(slice_eq(writer_slice(&b), in));
    writer_free(&a);
    writer_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    fuzz_base64(in);
    fuzz_base62(in);
    fuzz_hex_and_percent(in);
    return 0;
}
