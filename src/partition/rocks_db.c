/* The RocksDB of a node: options, opening, and syncs merged between all partitions (store.h).
 *
 * WAL off: the partitions' logs are the WAL. One column family: a memtable that reaches disk contains whole
 * batches in the order of writing, so what survives a crash is a prefix of each partition's batches, and its
 * applied LSN says which. */
#define _GNU_SOURCE /* pthread_setname_np */
#include <time.h>

#include "base/metrics.h"
#include "partition/rocks_internal.h"

#define MEMORY_DEFAULT    (64u << 20)
#define NO_SPACE_RETRY_MS 1000

enum rc rocks_error(char *text, struct err *err)
{
    if (!text)
        return RC_OK;
    enum rc rc = strstr(text, "No space left") || strstr(text, "NoSpace") || strstr(text, "quota exceeded")
                     ? RC_NO_SPACE
                 : strncmp(text, "Corruption", 10) == 0 ? RC_CORRUPT
                                                        : RC_IO;
    err_set(err, rc, "%s", text);
    rocksdb_free(text);
    return rc;
}

/* ---- options ---- */

static void set_memory(struct rocks_db *db, uint64_t budget)
{
    uint64_t buffer = budget / 4;
    buffer = MAX(buffer, 2u << 20);
    buffer = MIN(buffer, 32u << 20);
    rocksdb_options_t *o = db->options;
    rocksdb_options_set_write_buffer_size(o, buffer);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    rocksdb_options_set_arena_block_size(o, 128 << 10); /* an idle memtable takes next to nothing */
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.02);
    rocksdb_options_set_memtable_whole_key_filtering(o, 1);
    uint64_t cache = budget > 3 * buffer ? budget - 2 * buffer : buffer;
    db->cache = rocksdb_cache_create_lru(cache);
}

static void set_table(struct rocks_db *db)
{
    rocksdb_block_based_table_options_t *t = db->table_options = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, db->cache);
    rocksdb_block_based_options_set_block_size(t, 8 << 10);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_options_set_block_based_table_factory(db->options, t);
}

static void set_options(struct rocks_db *db)
{
    rocksdb_options_t *o = db->options;
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_target_file_size_base(o, 16 << 20);
    rocksdb_options_set_max_bytes_for_level_base(o, 64 << 20);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);
    rocksdb_options_set_compaction_filter(o, db->filter);
    /* Open fast, and be quiet when idle. */
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(o, 1);
    rocksdb_options_set_max_open_files(o, 512);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    /* Small on disk when empty. */
    rocksdb_options_set_manifest_preallocation_size(o, 4096);
    rocksdb_options_set_max_manifest_file_size(o, 1 << 20);
    rocksdb_options_set_info_log_level(o, 2); /* warnings */
    rocksdb_options_set_max_log_file_size(o, 1 << 20);
    rocksdb_options_set_keep_log_file_num(o, 2);
}

/* Options that have no setter in the C interface. Periodic compaction: whatever no compaction has touched for
 * a day is compacted, so that expired values go even when nothing is written. */
static void set_options_by_name(struct rocks_db *db)
{
    rocksdb_options_t *more = rocksdb_options_create();
    char *text = NULL;
    rocksdb_get_options_from_string(db->options, "allow_fallocate=false;periodic_compaction_seconds=86400",
                                    more, &text);
    struct err err = {0};
    if (rocks_error(text, &err) != RC_OK) {
        LOG0(LOG_WARN, ROCKS_LOG, "this RocksDB does not know an option: %s", err.msg);
        rocksdb_options_destroy(more);
        return;
    }
    rocksdb_options_destroy(db->options);
    db->options = more;
}

static void destroy(struct rocks_db *db)
{
    rocksdb_writeoptions_destroy(db->write_options);
    rocksdb_readoptions_destroy(db->read_options);
    rocksdb_flushoptions_destroy(db->flush_options);
    rocksdb_block_based_options_destroy(db->table_options);
    rocksdb_options_destroy(db->options);
    rocksdb_compactionfilter_destroy(db->filter);
    rocksdb_cache_destroy(db->cache);
    watermarks_free(&db->watermarks);
    pthread_cond_destroy(&db->wake);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

/* ---- sync ---- */

static void sync_deliver(struct loop_msg *m)
{
    struct rocks_sync *q = CONTAINER_OF(m, struct rocks_sync, msg);
    q->done(q->ctx, RC_OK);
    free(q);
}

/* Until it succeeds: a full disk is waited for, anything else ends the process (after a failed fsync nothing
 * is certain). */
static void flush_memtable(struct rocks_db *db)
{
    for (bool told = false;; told = true) {
        char *text = NULL;
        struct err err = {0};
        rocksdb_flush(db->db, db->flush_options, &text);
        enum rc rc = rocks_error(text, &err);
        if (rc == RC_OK)
            return;
        if (rc != RC_NO_SPACE) {
            LOG0(LOG_ERROR, ROCKS_LOG, "the partition store cannot be made durable: %s", err.msg);
            abort();
        }
        if (!told)
            LOG0(LOG_WARN, ROCKS_LOG, "the disk of the partition store is full; waiting for space: %s",
                 err.msg);
        nanosleep(&(struct timespec){NO_SPACE_RETRY_MS / 1000, 0}, NULL);
    }
}

/* Takes all that wait, flushes once, answers; meanwhile others gather for the next round. */
static void *sync_thread(void *arg)
{
    struct rocks_db *db = arg;
    pthread_setname_np(pthread_self(), "store-sync");
    pthread_mutex_lock(&db->lock);
    for (;;) {
        while (list_empty(&db->syncs) && !db->stopping)
            pthread_cond_wait(&db->wake, &db->lock);
        if (list_empty(&db->syncs))
            break;
        struct list batch, *n;
        list_init(&batch);
        list_splice(&batch, &db->syncs);
        pthread_mutex_unlock(&db->lock);
        flush_memtable(db);
        while ((n = list_pop_front(&batch))) {
            struct rocks_sync *q = CONTAINER_OF(n, struct rocks_sync, link);
            q->msg.deliver = sync_deliver;
            loop_post(q->loop, &q->msg);
        }
        pthread_mutex_lock(&db->lock);
    }
    pthread_mutex_unlock(&db->lock);
    return NULL;
}

void rocks_db_sync(struct rocks_db *db, struct rocks_sync *q)
{
    pthread_mutex_lock(&db->lock);
    list_push_back(&db->syncs, &q->link);
    pthread_cond_signal(&db->wake);
    pthread_mutex_unlock(&db->lock);
}

/* ---- compaction ---- */

static void compaction_deliver(struct loop_msg *m)
{
    struct rocks_compaction *c = CONTAINER_OF(m, struct rocks_compaction, msg);
    c->done(c, c->err.rc == RC_OK ? NULL : &c->err);
}

static void compaction_finish(struct rocks_compaction *c, bool canceled)
{
    if (canceled)
        err_set(&c->err, RC_CANCELED, "the compaction was canceled: the node is shutting down");
    c->msg.deliver = compaction_deliver;
    loop_post(c->loop, &c->msg);
}

static void compact(struct rocks_db *db, const struct rocks_compaction *c)
{
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(o, (unsigned char)c->bottommost);
    rocksdb_compactoptions_set_change_level(o, c->change_level);
    rocksdb_compact_range_opt(db->db, o, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(o);
}

static void *compact_run(void *arg)
{
    struct rocks_db *db = arg;
    struct list *n;
    pthread_setname_np(pthread_self(), "store-compact");
    pthread_mutex_lock(&db->lock);
    while ((n = list_pop_front(&db->compactions))) {
        struct rocks_compaction *c = CONTAINER_OF(n, struct rocks_compaction, link);
        bool stopped = db->compact_stopped;
        pthread_mutex_unlock(&db->lock);
        if (!stopped)
            compact(db, c);
        pthread_mutex_lock(&db->lock);
        compaction_finish(c, db->compact_stopped);
    }
    db->compacting = false;
    pthread_mutex_unlock(&db->lock);
    return NULL;
}

void rocks_db_compact(struct rocks_db *db, struct rocks_compaction *c)
{
    pthread_mutex_lock(&db->lock);
    list_push_back(&db->compactions, &c->link);
    if (!db->compacting) {
        if (db->compact_joinable)
            pthread_join(db->compact_thread, NULL); /* has done its work */
        int failed = pthread_create(&db->compact_thread, NULL, compact_run, db);
        ASSERT_MSG(failed == 0, "cannot start a thread: %s", strerror(failed));
        db->compacting = db->compact_joinable = true;
    }
    pthread_mutex_unlock(&db->lock);
}

void rocks_db_compact_stop(struct rocks_db *db)
{
    pthread_mutex_lock(&db->lock);
    db->compact_stopped = true;
    pthread_mutex_unlock(&db->lock);
    rocksdb_disable_manual_compaction(db->db);
}

/* ---- open, close ---- */

enum rc rocks_db_open(const struct rocks_db_config *config, struct rocks_db **out, struct err *err)
{
    struct rocks_db *db = xcalloc(1, sizeof(*db));
    pthread_mutex_init(&db->lock, NULL);
    pthread_cond_init(&db->wake, NULL);
    list_init(&db->syncs);
    list_init(&db->compactions);
    db->options = rocksdb_options_create();
    db->filter = rocks_filter_new(&db->watermarks);
    set_memory(db, config->memory_budget_bytes ? config->memory_budget_bytes : MEMORY_DEFAULT);
    set_table(db);
    set_options(db);
    set_options_by_name(db);
    db->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(db->write_options, 1);
    db->read_options = rocksdb_readoptions_create();
    db->flush_options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(db->flush_options, 1);
    char *text = NULL;
    db->db = rocksdb_open(db->options, config->path, &text);
    if (!db->db) {
        enum rc rc = rocks_error(text, err);
        err_prefix(err, "cannot open the partition store at %s: ", config->path);
        destroy(db);
        return rc == RC_OK ? RC_IO : rc;
    }
    int failed = pthread_create(&db->sync_thread, NULL, sync_thread, db);
    ASSERT_MSG(failed == 0, "cannot start a thread: %s", strerror(failed));
    *out = db;
    return RC_OK;
}

void rocks_db_close(struct rocks_db *db)
{
    ASSERT(db->backends == 0 && list_empty(&db->syncs) && list_empty(&db->compactions));
    pthread_mutex_lock(&db->lock);
    db->stopping = true;
    pthread_cond_signal(&db->wake);
    pthread_mutex_unlock(&db->lock);
    pthread_join(db->sync_thread, NULL);
    if (db->compact_joinable)
        pthread_join(db->compact_thread, NULL);
    rocksdb_close(db->db);
    destroy(db);
}

/* ---- metrics ---- */

static void set_gauge(const char *name, const char *labels, const char *help, uint64_t value)
{
    metric_set(metric_gauge(name, labels, help), (int64_t)value);
}

void rocks_db_refresh_metrics(struct rocks_db *db)
{
    static const struct {
        const char *property, *name, *help;
    } properties[] = {
        {"rocksdb.estimate-num-keys", "restate_rocksdb_estimate_num_keys",
         "Keys in the partition store, estimated"},
        {"rocksdb.estimate-live-data-size", "restate_rocksdb_estimate_live_data_size_bytes",
         "Size of the live data, estimated"},
        {"rocksdb.total-sst-files-size", "restate_rocksdb_total_sst_files_size_bytes",
         "Size of all table files"},
        {"rocksdb.cur-size-active-mem-table", "restate_rocksdb_cur_size_active_mem_table_bytes",
         "Size of the active memtable"},
        {"rocksdb.cur-size-all-mem-tables", "restate_rocksdb_cur_size_all_mem_tables_bytes",
         "Size of all memtables that are not flushed"},
        {"rocksdb.mem-table-flush-pending", "restate_rocksdb_mem_table_flush_pending",
         "1 if a flush of a memtable waits"},
        {"rocksdb.compaction-pending", "restate_rocksdb_compaction_pending", "1 if a compaction waits"},
        {"rocksdb.num-running-compactions", "restate_rocksdb_num_running_compactions",
         "Compactions that run"},
    };
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        uint64_t value;
        if (rocksdb_property_int(db->db, properties[i].property, &value) == 0)
            set_gauge(properties[i].name, "db=\"db\",cf=\"default\"", properties[i].help, value);
    }
    set_gauge("restate_rocksdb_block_cache_capacity_bytes", "db=\"db\"", "Capacity of the block cache",
              rocksdb_cache_get_capacity(db->cache));
    set_gauge("restate_rocksdb_block_cache_usage_bytes", "db=\"db\"", "Bytes in the block cache",
              rocksdb_cache_get_usage(db->cache));
}
