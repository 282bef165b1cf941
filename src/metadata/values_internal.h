/* Shared by the files that decode typed metadata values. */
#pragma once
#include "metadata/values.h"

/* Reading members of a map; each returns false if the member is missing or of another type. */
static inline bool value_u32(struct flex map, const char *key, uint32_t *out)
{
    uint64_t v;
    if (!flex_get_u64(map, key, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}
/* A text without NUL, copied to the arena. */
static inline bool value_text(struct arena *a, struct flex v, const char **out)
{
    struct slice text;
    if (!flex_text(v, &text) || slice_find(text, 0, 0) >= 0)
        return false;
    *out = arena_copy_slice(a, text);
    return true;
}
static inline bool value_member_text(struct arena *a, struct flex map, const char *key, const char **out)
{
    struct flex v;
    return flex_get(map, key, &v) && value_text(a, v, out);
}
/* Absent or null. */
static inline bool value_missing(struct flex map, const char *key)
{
    struct flex v;
    return !flex_get(map, key, &v) || flex_kind(v) == FLEX_NULL;
}
/* `[id, x]`, as maps with numeric keys are stored. */
static inline bool value_pair(struct flex v, uint64_t *id, struct flex *second)
{
    if (flex_kind(v) != FLEX_SEQUENCE || flex_count(v) != 2 || !flex_u64(flex_at(v, 0), id))
        return false;
    *second = flex_at(v, 1);
    return true;
}
static inline void value_put_text(struct flex_writer *f, const char *key, const char *text)
{
    flex_key(f, key);
    flex_put_text(f, slice_cstr(text));
}
static inline void value_put_u64(struct flex_writer *f, const char *key, uint64_t v)
{
    flex_key(f, key);
    flex_put_u64(f, v);
}
static inline void value_put_null(struct flex_writer *f, const char *key)
{
    flex_key(f, key);
    flex_put_null(f);
}
/* Parse and insist on a map; the sentence says which value it is. */
enum rc value_open(struct slice stored, const char *what, struct flex *root, struct err *err);
