/* Bringing records into the logs of partitions, in order and without loss (spec/ingress.md §12.3). A
 * deterministic core: `struct env` and a partition router.
 *
 * A stream is one assigned topic partition. Its records go to several partitions of ours; those for one of
 * them form a lane, which has one request in flight: a batch of records. The next batch is sent when the
 * whole one is committed, and after any failure the same records are sent again from the first on. So a
 * record never enters a log unless every earlier one of its stream for that log is in it before - which is
 * what the partition's deduplication by the highest offset needs to be exact, whoever else sends the same
 * records.
 *
 * Everything on the loop of `env`. */
#pragma once
#include "base/env.h"
#include "partition/rpc.h"

#define INGESTION_RETRY_MIN_MS 20u
#define INGESTION_RETRY_MAX_MS 1000u

struct ingestion_config {
    size_t batch_bytes; /* of one request, unless a single record is larger */
};
struct ingestion;
struct ingestion *ingestion_new(struct env *env, struct partition_router *router,
                                const struct ingestion_config *config);
/* Streams are closed. Requests in flight are given up (what they carry may become durable); they are answered
 * when their partition can or closes, and the memory lives until then. `gone`, unless NULL, when nothing is
 * left, possibly from inside. */
void ingestion_free(struct ingestion *g, void (*gone)(void *ctx), void *ctx);
size_t ingestion_requests_in_flight(const struct ingestion *g);

struct stream;
/* Every record below `next_offset` is committed; `bytes` and `records` less are held for this stream. */
typedef void (*stream_progress_fn)(void *ctx, int64_t next_offset, size_t bytes, size_t records);
struct stream *stream_open(struct ingestion *g, stream_progress_fn progress, void *ctx);
/* Offsets increase. `lane` is the number of the partition that `partition_key` belongs to. A record without
 * bytes only counts as done: one that was skipped. */
void stream_push(struct stream *s, int64_t offset, uint32_t lane, uint64_t partition_key,
                 struct bytes record_take);
/* What was pushed may go: requests are sent where none is in flight. */
void stream_flush(struct stream *s);
/* No more progress is told. Records that wait are forgotten; those in flight may become durable. Returns the
 * bytes that were held. */
size_t stream_close(struct stream *s);
