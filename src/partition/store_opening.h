/* Opening the store of a partition so that its log can be followed (spec/cluster.md §4.6, §6.5). An import
 * that was interrupted is dropped. A store that ends before the log begins is brought up from a snapshot;
 * without a suitable one it waits and looks again every 30 s, so it heals by itself when a healthy replica
 * publishes one. A deterministic core on the loop of the store. */
#pragma once
#include "partition/snapshot_repository.h"

#define STORE_OPENING_RETRY_MS 30000u

struct store_opening;
struct store_opening_request {
    struct kv_backend *kv;
    struct store_config store; /* the partition's store is closed */
    struct log *log;           /* its trim point counts, as it is at each look; may be NULL */
    lsn_t min_lsn;             /* the log is known to be trimmed to here: processor_status.trim_gap */
    struct snapshot_repository *repository; /* NULL: none is configured */
};
/* The receiver's store, or NULL and why: the database cannot be read, RC_CANCELED. Not for lack of a
 * snapshot. */
typedef void (*store_opening_done)(void *ctx, struct partition_store *store_take, const struct err *err);
/* Never calls back from inside. */
struct store_opening *store_opening_start(struct env *env, const struct store_opening_request *request,
                                          store_opening_done done, void *ctx);
/* `done` comes with RC_CANCELED when the step under way has ended. */
void store_opening_cancel(struct store_opening *o);
/* Why it waits, NULL: it does not. Valid until the next pass. */
const struct err *store_opening_problem(const struct store_opening *o);
