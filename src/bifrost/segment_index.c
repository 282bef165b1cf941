/* The index of one loglet (see segment_index.h). */
#include "bifrost/segment_index.h"

#include <stdlib.h>

#include "base/containers.h"
#include "bifrost/segment_store_impl.h"

#define RUN_WINDOW ((64u << 10) / 512) /* reading one record reads at most about this much too much */

static void count_live(struct segment *s, const struct segment_run *r)
{
    s->live_bytes += r->bytes;
    s->live_runs++;
}

static void uncount_live(struct segment *s, uint64_t bytes, uint32_t runs)
{
    ASSERT(s->live_bytes >= bytes && s->live_runs >= runs);
    s->live_bytes -= bytes;
    s->live_runs -= runs;
}

void segment_index_free(struct segment_index *ix)
{
    free(ix->runs);
    *ix = (struct segment_index){0};
}

/* First position in runs[] whose run ends at or after `offset`. */
static size_t find_position(const struct segment_index *ix, uint64_t offset)
{
    size_t low = ix->head, high = ix->len;
    if (low < high && segment_run_last(&ix->runs[high - 1]) < offset)
        return high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (segment_run_last(&ix->runs[mid]) < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void make_room(struct segment_index *ix)
{
    if (ix->len < ix->cap)
        return;
    if (ix->head > ix->cap / 2) {
        memmove(ix->runs, ix->runs + ix->head, (ix->len - ix->head) * sizeof(*ix->runs));
        ix->len -= ix->head;
        ix->head = 0;
        return;
    }
    ix->runs = vec_grow(ix->runs, &ix->cap, ix->len + 1, sizeof(*ix->runs));
}

/* Can `r` be appended to `before`? The file order of both must be the order of offsets. */
static bool extends(const struct segment_run *before, const struct segment_run *r)
{
    uint32_t end = r->position + r->length;
    bool adjacent = before->segment == r->segment && before->first + before->count == r->first &&
                    r->position >= before->position && end >= before->position + before->length;
    return adjacent && (end - before->position <= RUN_WINDOW || end == before->position + before->length) &&
           before->count + r->count >= r->count && (uint64_t)before->bytes + r->bytes < UINT32_MAX;
}

static void insert_at(struct segment_index *ix, size_t at, const struct segment_run *r)
{
    if (at > ix->head && extends(&ix->runs[at - 1], r)) {
        struct segment_run *before = &ix->runs[at - 1];
        before->count += r->count;
        before->bytes += r->bytes;
        before->length = r->position + r->length - before->position;
        r->segment->live_bytes += r->bytes;
        return;
    }
    size_t from_head = at - ix->head;
    make_room(ix);
    at = ix->head + from_head;
    memmove(&ix->runs[at + 1], &ix->runs[at], (ix->len - at) * sizeof(*ix->runs));
    ix->runs[at] = *r;
    ix->len++;
    count_live(r->segment, r);
}

/* The part from..to of `r`, its bytes in proportion. */
static struct segment_run part_of(const struct segment_run *r, uint64_t from, uint64_t to)
{
    struct segment_run part = *r;
    part.first = from;
    part.count = (uint32_t)(to - from + 1);
    part.bytes = (uint32_t)((uint64_t)r->bytes * part.count / r->count);
    return part;
}

bool segment_index_add(struct segment_index *ix, const struct segment_run *run)
{
    ASSERT(run->count > 0);
    uint64_t from = run->first, last = segment_run_last(run);
    bool added = false;
    size_t at = find_position(ix, from);
    while (from <= last) {
        if (at < ix->len && ix->runs[at].first <= from) {
            from = segment_run_last(&ix->runs[at]) + 1;
            at++;
            continue;
        }
        uint64_t to = at < ix->len ? MIN(last, ix->runs[at].first - 1) : last;
        struct segment_run part = part_of(run, from, to);
        insert_at(ix, at, &part);
        added = true;
        from = to + 1;
        at = find_position(ix, from);
    }
    return added;
}

const struct segment_run *segment_index_find(const struct segment_index *ix, uint64_t offset)
{
    size_t at = find_position(ix, offset);
    return at < ix->len ? &ix->runs[at] : NULL;
}

const struct segment_run *segment_index_next(const struct segment_index *ix, const struct segment_run *r)
{
    return r + 1 < ix->runs + ix->len ? r + 1 : NULL;
}

const struct segment_run *segment_index_lookup(const struct segment_index *ix, uint64_t offset)
{
    const struct segment_run *r = segment_index_find(ix, offset);
    return r && r->first <= offset ? r : NULL;
}

void segment_index_trim(struct segment_index *ix, uint64_t upto)
{
    while (ix->head < ix->len && segment_run_last(&ix->runs[ix->head]) <= upto) {
        uncount_live(ix->runs[ix->head].segment, ix->runs[ix->head].bytes, 1);
        ix->head++;
    }
    if (ix->head == ix->len) {
        ix->head = ix->len = 0;
        return;
    }
    struct segment_run *r = &ix->runs[ix->head];
    if (r->first <= upto) {
        struct segment_run rest = part_of(r, upto + 1, segment_run_last(r));
        uncount_live(r->segment, r->bytes - rest.bytes, 0);
        *r = rest;
    }
}

/* Cut the single offset `offset` out of the run at `at`. */
static void cut_out(struct segment_index *ix, size_t at, uint64_t offset)
{
    struct segment_run whole = ix->runs[at];
    uint64_t last = segment_run_last(&whole);
    uncount_live(whole.segment, whole.bytes, 1);
    memmove(&ix->runs[at], &ix->runs[at + 1], (ix->len - at - 1) * sizeof(*ix->runs));
    ix->len--;
    if (offset < last) {
        struct segment_run after = part_of(&whole, offset + 1, last);
        insert_at(ix, at, &after);
    }
    if (offset > whole.first) {
        struct segment_run before = part_of(&whole, whole.first, offset - 1);
        insert_at(ix, at, &before);
    }
}

void segment_index_move(struct segment_index *ix, const struct segment_run *run)
{
    ASSERT(run->count == 1);
    size_t at = find_position(ix, run->first);
    ASSERT(at < ix->len && ix->runs[at].first <= run->first);
    cut_out(ix, at, run->first);
    insert_at(ix, find_position(ix, run->first), run);
}

uint64_t segment_index_tail(const struct segment_index *ix)
{
    return ix->head < ix->len ? segment_run_last(&ix->runs[ix->len - 1]) + 1 : 0;
}
