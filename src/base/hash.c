/* Hash functions and checksums (base/hash.h). The text codecs are in text.c. */
#include "base/hash.h"

#include <pthread.h>
#include <xxhash.h>

#include "base/codec.h"

uint64_t hash64(struct slice s)
{
    return XXH3_64bits(s.len ? s.ptr : (const uint8_t *)"", s.len);
}

uint64_t hash64_combine(uint64_t h, uint64_t v)
{
    /* The multiply-xorshift finaliser of splitmix64 over the sum of a rotated state and the value. */
    uint64_t x = (h << 27 | h >> 37) * 5 + v + 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* ---- CRC-32C ---- */

#define CRC32C_POLY 0x82f63b78u /* reflected */

static uint32_t crc_table[8][256];
static uint32_t (*crc_run)(uint32_t crc, const uint8_t *p, size_t len);
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

/* Slicing by eight: one table look-up per byte, eight bytes in flight. */
static uint32_t crc_run_table(uint32_t crc, const uint8_t *p, size_t len)
{
    while (len >= 8) {
        uint64_t word = get_u64le(p) ^ crc;
        crc = crc_table[7][word & 0xff] ^ crc_table[6][word >> 8 & 0xff] ^ crc_table[5][word >> 16 & 0xff] ^
              crc_table[4][word >> 24 & 0xff] ^ crc_table[3][word >> 32 & 0xff] ^
              crc_table[2][word >> 40 & 0xff] ^ crc_table[1][word >> 48 & 0xff] ^ crc_table[0][word >> 56];
        p += 8;
        len -= 8;
    }
    while (len--)
        crc = crc_table[0][(crc ^ *p++) & 0xff] ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_run_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t c = crc;
    for (; len >= 8; p += 8, len -= 8)
        c = __builtin_ia32_crc32di(c, get_u64le(p));
    crc = (uint32_t)c;
    while (len--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif

static void crc_setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? (c >> 1) ^ CRC32C_POLY : c >> 1;
        crc_table[0][i] = c;
    }
    for (int t = 1; t < 8; t++) {
        for (int i = 0; i < 256; i++)
            crc_table[t][i] = crc_table[0][crc_table[t - 1][i] & 0xff] ^ (crc_table[t - 1][i] >> 8);
    }
    crc_run = crc_run_table;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        crc_run = crc_run_sse42;
#endif
}

uint32_t crc32c(uint32_t crc, const void *ptr, size_t len)
{
    pthread_once(&crc_once, crc_setup);
    return ~crc_run(~crc, ptr, len);
}

uint32_t crc32c_portable(uint32_t crc, const void *ptr, size_t len)
{
    pthread_once(&crc_once, crc_setup);
    return ~crc_run_table(~crc, ptr, len);
}

/* ---- SipHash-1-3 ---- */

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

uint64_t siphash13(struct slice s)
{
    /* The constants of the algorithm ("somepseudorandomlygeneratedbytes"), xored with a zero key. */
    uint64_t v[4] = {0x736f6d6570736575ull, 0x646f72616e646f6dull, 0x6c7967656e657261ull,
                     0x7465646279746573ull};
    const uint8_t *p = s.ptr;
    size_t left = s.len;
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t m = get_u64le(p);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t m = (uint64_t)(s.len & 0xff) << 56;
    for (size_t i = 0; i < left; i++)
        m |= (uint64_t)p[i] << (8 * i);
    v[3] ^= m;
    sip_round(v);
    v[0] ^= m;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
