/* Partition table and key ranges: see values.h. */
#include "metadata/values.h"

#include <stdio.h>

#include "metadata/values_internal.h"

#define HYBRID_EPOCH_MS 1640995200000u /* 2022-01-01 UTC */

uint64_t hybrid_timestamp(uint64_t wall_ms)
{
    return ((wall_ms > HYBRID_EPOCH_MS ? wall_ms - HYBRID_EPOCH_MS : 0) << 22) + 1;
}

uint64_t hybrid_wall_ms(uint64_t hybrid)
{
    return ((hybrid - 1) >> 22) + HYBRID_EPOCH_MS;
}

enum rc value_open(struct slice stored, const char *what, struct flex *root, struct err *err)
{
    if (flex_parse_stored(stored, root, err) != RC_OK) {
        err_prefix(err, "the %s cannot be decoded: ", what);
        if (err)
            err->rc = RC_CORRUPT;
        return RC_CORRUPT;
    }
    return flex_kind(*root) == FLEX_MAP ? RC_OK : err_set(err, RC_CORRUPT, "the %s is not a map", what);
}

/* ---- key ranges ---- */

/* ceil(i * 2^64 / n), as a 128-bit number: i = n gives 2^64. */
static unsigned __int128 range_start(uint32_t n, uint32_t i)
{
    return ((((unsigned __int128)i) << 64) + n - 1) / n;
}

struct key_range partition_key_range(uint32_t n, uint32_t i)
{
    ASSERT(i < n);
    return (struct key_range){(uint64_t)range_start(n, i), (uint64_t)(range_start(n, i + 1) - 1)};
}

uint32_t partition_of_key(uint32_t n, uint64_t key)
{
    ASSERT(n > 0);
    uint32_t i = (uint32_t)(((unsigned __int128)key * n) >> 64);
    struct key_range r = partition_key_range(n, i);
    ASSERT(r.start <= key && key <= r.end);
    return i;
}

/* ---- partition table ---- */

void partition_table_encode(struct writer *w, const struct partition_table *t)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    value_put_u64(&f, "version", t->version);
    value_put_u64(&f, "num_partitions", t->n_partitions);
    flex_key(&f, "partitions");
    flex_open_sequence(&f);
    for (uint32_t i = 0; i < t->n_partitions; i++) {
        struct key_range range = partition_key_range(t->n_partitions, i);
        flex_open_sequence(&f);
        flex_put_u64(&f, i);
        flex_open_map(&f);
        value_put_null(&f, "log_id");
        flex_key(&f, "key_range");
        flex_open_map(&f);
        value_put_u64(&f, "start", range.start);
        value_put_u64(&f, "end", range.end);
        flex_close_map(&f);
        value_put_null(&f, "db_name");
        value_put_null(&f, "cf_name");
        flex_close_map(&f);
        flex_close_sequence(&f);
    }
    flex_close_sequence(&f);
    flex_key(&f, "replication");
    flex_open_map(&f);
    flex_key(&f, "limit");
    replication_write(&f, &t->replication, true);
    flex_close_map(&f);
    flex_close_map(&f);
    flex_finish_stored(&f, w);
}

/* Every partition once, with its equal range and its own log. `seen` has n bits. */
static bool check_partition(struct flex entry, uint32_t n, uint8_t *seen)
{
    uint64_t id, start, end, log_id;
    struct flex partition, range;
    if (!value_pair(entry, &id, &partition) || id >= n || (seen[id / 8] & 1u << id % 8))
        return false;
    seen[id / 8] |= (uint8_t)(1u << id % 8);
    struct key_range expected = partition_key_range(n, (uint32_t)id);
    return flex_get(partition, "key_range", &range) && flex_get_u64(range, "start", &start) &&
           flex_get_u64(range, "end", &end) && start == expected.start && end == expected.end &&
           (value_missing(partition, "log_id") ||
            (flex_get_u64(partition, "log_id", &log_id) && log_id == id));
}

static bool check_partitions(struct flex root, uint32_t n)
{
    struct flex list;
    uint8_t seen[PARTITIONS_MAX / 8 + 1] = {0};
    if (value_missing(root, "partitions"))
        return true;
    if (!flex_get(root, "partitions", &list) || flex_kind(list) != FLEX_SEQUENCE || flex_count(list) != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!check_partition(flex_at(list, i), n, seen))
            return false;
    }
    return true;
}

enum rc partition_table_decode(struct slice stored, struct partition_table *out, struct err *err)
{
    struct flex root, replication, limit;
    *out = (struct partition_table){.replication = replication_nodes(1)};
    enum rc rc = value_open(stored, "partition table", &root, err);
    if (rc != RC_OK)
        return rc;
    if (!value_u32(root, "version", &out->version) ||
        !value_u32(root, "num_partitions", &out->n_partitions) || out->n_partitions == 0 ||
        out->n_partitions > PARTITIONS_MAX)
        return err_set(err, RC_CORRUPT, "the partition table is incomplete or out of range");
    if (!check_partitions(root, out->n_partitions))
        return err_set(err, RC_CORRUPT,
                       "the partition table does not divide the key space into equal ranges, one log each");
    if (flex_get(root, "replication", &replication) && flex_get(replication, "limit", &limit) &&
        !replication_read(limit, &out->replication))
        return err_set(err, RC_CORRUPT, "the partition table has an invalid replication property");
    return RC_OK;
}
