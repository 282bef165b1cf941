/* The chain of a log (see chain.h). */
#include "bifrost/chain.h"

#include <stdlib.h>

static const struct chain_segment *last_of(const struct chain *c)
{
    ASSERT(c->len > 0);
    return &c->segments[c->len - 1];
}

static void push(struct chain *c, struct chain_segment s)
{
    if (c->len == c->cap)
        c->segments = vec_grow(c->segments, &c->cap, c->len + 1, sizeof(*c->segments));
    c->segments[c->len++] = s;
}

struct chain chain_create(uint32_t log_id, enum segment_kind kind, struct bytes params)
{
    ASSERT(kind != SEGMENT_SEALED);
    struct chain c = {.log_id = log_id};
    push(&c, (struct chain_segment){1, 0, kind, params});
    return c;
}

struct chain chain_copy(const struct chain *c)
{
    struct chain copy = {.log_id = c->log_id};
    for (size_t i = 0; i < c->len; i++) {
        struct chain_segment s = c->segments[i];
        s.params = bytes_ref(s.params);
        push(&copy, s);
    }
    return copy;
}

void chain_free(struct chain *c)
{
    for (size_t i = 0; i < c->len; i++)
        bytes_unref(&c->segments[i].params);
    free(c->segments);
    *c = (struct chain){0};
}

const struct chain_segment *chain_tail(const struct chain *c)
{
    const struct chain_segment *last = last_of(c);
    return last->kind == SEGMENT_SEALED ? NULL : last;
}

uint32_t chain_last_index(const struct chain *c)
{
    return last_of(c)->index;
}

lsn_t chain_first_lsn(const struct chain *c)
{
    ASSERT(c->len > 0);
    return c->segments[0].base_lsn;
}

static enum rc check_writer(const struct chain *c, uint32_t expected, lsn_t base, struct err *err)
{
    const struct chain_segment *last = last_of(c);
    if (last->index != expected)
        return err_set(err, RC_CONFLICT, "segment index mismatch: the last segment of log %u is %u, not %u",
                       c->log_id, last->index, expected);
    if (base < last->base_lsn)
        return err_set(err, RC_INVALID, "the base LSN %llu is below that of the last segment, %llu",
                       (unsigned long long)base, (unsigned long long)last->base_lsn);
    return RC_OK;
}

enum rc chain_append_segment(struct chain *c, uint32_t expected_last_index, lsn_t base,
                             enum segment_kind kind, struct bytes params, struct err *err)
{
    ASSERT(kind != SEGMENT_SEALED);
    enum rc rc = check_writer(c, expected_last_index, base, err);
    const struct chain_segment *last = last_of(c);
    if (rc == RC_OK && last->kind == SEGMENT_SEALED && base != last->base_lsn)
        rc = err_set(err, RC_INVALID, "log %u is sealed at LSN %llu; the next segment must start there",
                     c->log_id, (unsigned long long)last->base_lsn);
    if (rc == RC_OK && last->index == UINT32_MAX)
        rc = err_set(err, RC_TOO_LARGE, "log %u has used up its segment indexes", c->log_id);
    if (rc != RC_OK) {
        bytes_unref(&params);
        return rc;
    }
    /* Whatever starts at `base` holds nothing: an empty last segment, or a marker (with an empty segment
     * before it). */
    while (c->len > 0 && last_of(c)->base_lsn == base)
        bytes_unref(&c->segments[--c->len].params);
    push(c, (struct chain_segment){base, expected_last_index + 1, kind, params});
    return RC_OK;
}

enum rc chain_append_seal_marker(struct chain *c, uint32_t expected_last_index, lsn_t tail,
                                 struct bytes params, struct err *err)
{
    enum rc rc = check_writer(c, expected_last_index, tail, err);
    if (rc == RC_OK && last_of(c)->kind == SEGMENT_SEALED)
        rc = err_set(err, RC_SEALED, "log %u is sealed already", c->log_id);
    if (rc != RC_OK) {
        bytes_unref(&params);
        return rc;
    }
    push(c, (struct chain_segment){tail, expected_last_index, SEGMENT_SEALED, params});
    return RC_OK;
}

size_t chain_trim_prefix(struct chain *c, lsn_t first_kept)
{
    size_t n = 0;
    /* A segment ends where its successor begins. A marker needs the segment that it seals in front of it only
     * for the history; it may become the first one. */
    while (n + 1 < c->len && c->segments[n + 1].base_lsn <= first_kept)
        n++;
    for (size_t i = 0; i < n; i++)
        bytes_unref(&c->segments[i].params);
    memmove(c->segments, c->segments + n, (c->len - n) * sizeof(*c->segments));
    c->len -= n;
    return n;
}

const struct chain_segment *chain_find(const struct chain *c, lsn_t lsn, lsn_t *end)
{
    for (size_t i = c->len; i-- > 0;) {
        const struct chain_segment *s = &c->segments[i];
        if (s->base_lsn > lsn)
            continue;
        if (s->kind == SEGMENT_SEALED)
            return NULL;
        *end = i + 1 < c->len ? c->segments[i + 1].base_lsn : 0;
        return s;
    }
    return NULL;
}
