/* The index of one loglet: which records are where. Records that follow each other in the log and lie near
 * each other in one segment share a run, so the index costs about one run (32 bytes) per loglet and 64 KiB of
 * file. Sorted by offset, runs are disjoint. Keeps the live counters of the segments it refers to. */
#pragma once
#include "base/bytes.h"

struct segment;

struct segment_run {
    uint64_t first;            /* offset of the first record */
    uint32_t count;            /* consecutive records */
    uint32_t bytes;            /* their size with overhead, for the live counters */
    uint32_t position, length; /* where the batches with them lie in the file, in units of 512 bytes */
    struct segment *segment;
};
static inline uint64_t segment_run_last(const struct segment_run *r)
{
    return r->first + r->count - 1;
}

struct segment_index {
    struct segment_run *runs; /* valid: runs[head .. len) */
    size_t head, len, cap;
};

void segment_index_free(struct segment_index *ix); /* without touching the counters */
/* Add the part of `run` that the index does not have yet. True if that was any. */
bool segment_index_add(struct segment_index *ix, const struct segment_run *run);
/* The run that contains `offset`, or else the next one after it; NULL if there is none. */
const struct segment_run *segment_index_find(const struct segment_index *ix, uint64_t offset);
const struct segment_run *segment_index_next(const struct segment_index *ix, const struct segment_run *r);
/* Is `offset` stored, and where. */
const struct segment_run *segment_index_lookup(const struct segment_index *ix, uint64_t offset);
/* Forget everything up to and including `upto`. */
void segment_index_trim(struct segment_index *ix, uint64_t upto);
/* The record run->first now lives where `run` (count 1) says; it must be in the index. */
void segment_index_move(struct segment_index *ix, const struct segment_run *run);
/* Last offset + 1, 0 if empty. */
uint64_t segment_index_tail(const struct segment_index *ix);
