/* Compaction of a node's RocksDB on request of an operator: on a thread of its own, one request after the
 * other; reads and writes go on meanwhile. */
#pragma once
#include "loop/loop.h"
#include "partition/store.h"

enum rocks_bottommost { ROCKS_SKIP, ROCKS_IF_HAVE_FILTER, ROCKS_FORCE, ROCKS_FORCE_OPTIMIZED };
/* Kept by the caller until `done`, which runs on `loop` with NULL or RC_CANCELED. */
struct rocks_compaction {
    enum rocks_bottommost bottommost; /* are files of the lowest level written anew? */
    bool change_level;                /* move what comes out to the lowest level that can hold it */
    struct loop *loop;
    void (*done)(struct rocks_compaction *c, const struct err *err);
    /* private */
    struct loop_msg msg;
    struct list link;
    struct err err;
};
void rocks_db_compact(struct rocks_db *db, struct rocks_compaction *c);
/* Those under way end soon with RC_CANCELED, and there will be no others. */
void rocks_db_compact_stop(struct rocks_db *db);
