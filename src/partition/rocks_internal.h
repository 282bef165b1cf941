/* What rocks_db.c (the database of a node), rocks_filter.c (reclaiming expired values) and rocks_backend.c
 * (the view of one loop) share. */
#pragma once
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdlib.h>

#include "base/log.h"
#include "loop/loop.h"
#include "partition/rocks_compact.h"
#include "partition/store_codec.h"

#define ROCKS_LOG "restate_partition::rocksdb"

/* Durable record time per partition id: what the compaction filter compares expiries with. Written by the
 * shard loops, read by compaction threads. Two levels, because few of the 65536 ids are in use. */
struct watermarks {
    _Atomic(_Atomic uint64_t *) pages[256];
};
void watermark_set(struct watermarks *w, uint16_t partition_id, uint64_t time_ms);
uint64_t watermark_get(struct watermarks *w, uint16_t partition_id); /* 0 if never set */
void watermarks_free(struct watermarks *w);

rocksdb_compactionfilter_t *rocks_filter_new(struct watermarks *w);

/* A sync asked for by a backend; answered by a message to its loop. */
struct rocks_sync {
    struct loop_msg msg;
    struct list link;
    struct loop *loop;
    void (*done)(void *ctx, enum rc rc);
    void *ctx;
};

struct rocks_db {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table_options;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write_options; /* WAL off */
    rocksdb_readoptions_t *read_options;
    rocksdb_flushoptions_t *flush_options;
    rocksdb_compactionfilter_t *filter;
    struct watermarks watermarks;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    pthread_t sync_thread;
    struct list syncs; /* rocks_sync waiting for the next flush */
    bool stopping;
    size_t backends;
    pthread_t compact_thread;
    struct list compactions;                            /* that wait */
    bool compacting, compact_joinable, compact_stopped; /* the thread runs; is to be joined */
};

/* Consumes `text` (from RocksDB; may be NULL: RC_OK). */
enum rc rocks_error(char *text, struct err *err);
/* Answer `q` on its loop once everything written before this call is durable. Any thread. */
void rocks_db_sync(struct rocks_db *db, struct rocks_sync *q);
