/* Helpers of the wire tests: cmocka's includes, hex literals, exact-size copies that let ASan see any
 * over-read. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/hash.h"

/* Bytes of a hex string in a heap block of exactly that size; the caller frees `ptr`. */
static inline struct slice unhex(const char *hex)
{
    size_t n = strlen(hex) / 2;
    uint8_t *p = malloc(n ? n : 1);
    assert_true(hex_decode(slice_make(hex, 2 * n), p));
    return slice_make(p, n);
}
static inline void free_slice(struct slice s)
{
    free((void *)(uintptr_t)s.ptr);
}
static inline struct slice exact_copy(struct slice s)
{
    uint8_t *p = malloc(s.len ? s.len : 1);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return slice_make(p, s.len);
}
static inline void assert_slice(struct slice got, struct slice want)
{
    if (!slice_eq(got, want))
        fail_msg("got '%.*s', want '%.*s'", SLICE_FMT(got), SLICE_FMT(want));
}
static inline void assert_hex(struct slice got, const char *want)
{
    struct slice w = unhex(want);
    if (!slice_eq(got, w)) {
        char *text = calloc(1, 2 * got.len + 1);
        hex_encode(got, text);
        fail_msg("got %s, want %s", text, want);
    }
    free_slice(w);
}
