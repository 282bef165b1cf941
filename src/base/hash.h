/* Hashing, checksums, text codecs. */
#pragma once
#include "base/bytes.h"

/* XXH3-64, seed 0. For tables and for the identifiers of spec/service-protocol.md §11. */
uint64_t hash64(struct slice s);
/* Order-dependent combination, for state hashes and composite keys. */
uint64_t hash64_combine(uint64_t h, uint64_t v);
/* CRC-32C (Castagnoli), hardware-assisted where the CPU has it; `crc` is the running value, 0 at the start.
 */
uint32_t crc32c(uint32_t crc, const void *ptr, size_t len);
/* The same without hardware help (tests compare the two). */
uint32_t crc32c_portable(uint32_t crc, const void *ptr, size_t len);
/* SipHash-1-3 with key (0,0), as the reference seeds `random_seed` (service-protocol.md §11.5). */
uint64_t siphash13(struct slice s);

/* Base62 with the reference's alphabet 0-9a-zA-Z, most significant digit first, fixed width. */
#define BASE62_U64_WIDTH  11
#define BASE62_U128_WIDTH 22
void base62_encode_u64(uint64_t v, char out[BASE62_U64_WIDTH]);
void base62_encode_u128(struct u128 v, char out[BASE62_U128_WIDTH]);
/* false on a foreign character or overflow. `text.len` must be the width. */
bool base62_decode_u64(struct slice text, uint64_t *out);
bool base62_decode_u128(struct slice text, struct u128 *out);

/* base64url without padding. Output room: 4 * ceil(n / 3). Returns the length written; no NUL. */
size_t base64url_encode(struct slice in, char *out);
/* Standard alphabet with padding. */
size_t base64_encode(struct slice in, char *out);
/* Either alphabet (also mixed), padding optional. `out` needs room for 3 * ceil(n / 4) bytes; *out_len is the
 * decoded length. false on a foreign character, an impossible length, or padding that does not belong. Bits
 * that the last character carries beyond the last byte must be zero. */
bool base64_decode(struct slice in, uint8_t *out, size_t *out_len);

void hex_encode(struct slice in, char *out); /* 2 * len characters, lower case, no NUL */
bool hex_decode(struct slice in, uint8_t *out);
int hex_value(uint8_t digit); /* of either case; -1: it is none */

struct writer;
void write_base64url(struct writer *w, struct slice in); /* without padding */
void write_hex(struct writer *w, struct slice in);
/* The UTF-8 of a code point (below 2^21, not checked further); the bytes it takes. */
size_t utf8_encode(uint32_t code_point, uint8_t out[4]);
void write_utf8(struct writer *w, uint32_t code_point);

/* Percent-encode every byte except A-Z a-z 0-9 - _ . ~ (upper-case hex). */
void percent_encode(struct writer *w, struct slice s);
/* Percent-decode; '+' stays literal; a malformed escape stays as it is. */
void percent_decode(struct writer *w, struct slice s);
