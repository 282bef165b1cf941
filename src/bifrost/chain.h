/* The chain of a log (spec/cluster.md §5.1): which segment (loglet) holds which LSNs. A plain value that
 * lives in the `bifrost_config` metadata and is changed by compare-and-swap; these are its operations and the
 * arithmetic between LSNs and offsets. It does not know how segments are stored. No I/O, no ownership beyond
 * its own array.
 *
 * Invariants: bases ascend strictly, except that a seal marker may stand at the base of an empty segment;
 * indexes ascend; a seal marker can only be last, the segment that follows takes its place; a chain is never
 * empty. */
#pragma once
#include "bifrost/log.h"
#include "metadata/logs_config.h"

struct chain_segment {
    lsn_t base_lsn; /* of offset 1 */
    uint32_t index; /* never reused within a log */
    enum segment_kind kind;
    struct bytes params; /* the provider's parameters, opaque here */
};

struct chain {
    uint32_t log_id;
    struct chain_segment *segments;
    size_t len, cap;
};

/* Offsets within a segment start at 1; the soft limit keeps them within 31 bits (§5.1). */
#define CHAIN_OFFSET_MAX ((uint64_t)1 << 31)

/* The chain of a new log: segment 0 at LSN 1. The references of `params_take` are consumed here and below. */
struct chain chain_create(uint32_t log_id, enum segment_kind kind, struct bytes params_take);
struct chain chain_copy(const struct chain *c);
void chain_free(struct chain *c);

/* The last real segment, for appends; NULL after a seal marker. */
const struct chain_segment *chain_tail(const struct chain *c);
/* The index that a writer must name to change the chain. A marker shares the index of the segment it seals.
 */
uint32_t chain_last_index(const struct chain *c);
lsn_t chain_first_lsn(const struct chain *c);

/* Append a segment whose first LSN is `base`, the decided tail of the sealed last one. If that is empty it is
 * replaced; the new index is one higher in any case. RC_CONFLICT: `expected_last_index` is not the last,
 * somebody else was quicker. RC_INVALID: `base` is lower than the last base, or differs from that of a seal
 * marker. */
enum rc chain_append_segment(struct chain *c, uint32_t expected_last_index, lsn_t base,
                             enum segment_kind kind, struct bytes params_take, struct err *err);
/* End the log at `tail` for now. `params` is the marker's JSON. Errors as above; RC_SEALED: there is a marker
 * already. */
enum rc chain_append_seal_marker(struct chain *c, uint32_t expected_last_index, lsn_t tail,
                                 struct bytes params_take, struct err *err);
/* Drop the segments all of whose LSNs are below `first_kept`; never the last one. Returns how many. */
size_t chain_trim_prefix(struct chain *c, lsn_t first_kept);

/* The segment that holds or will hold `lsn`; *end is the LSN behind it, 0 if it is open. NULL: below the
 * first base, or behind a seal marker. */
const struct chain_segment *chain_find(const struct chain *c, lsn_t lsn, lsn_t *end);
static inline uint64_t chain_offset(const struct chain_segment *s, lsn_t lsn)
{
    ASSERT(lsn >= s->base_lsn);
    return lsn - s->base_lsn + 1;
}
static inline lsn_t chain_lsn(const struct chain_segment *s, uint64_t offset)
{
    ASSERT(offset > 0);
    return s->base_lsn + offset - 1;
}
/* How the segment is named on log-servers. */
static inline uint64_t chain_loglet_id(uint32_t log_id, uint32_t segment_index)
{
    return (uint64_t)log_id << 32 | segment_index;
}
