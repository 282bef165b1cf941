/* Implementation of node/node_metrics.h. */
#include "node/node_metrics.h"

#include <stdio.h>
#include <unistd.h>

#include "base/metrics.h"
#include "node/node_internal.h"

/* Of jemalloc, where it is linked. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new_value, size_t new_len)
    __attribute__((weak));

static void gauge(const char *name, const char *labels, const char *help, int64_t value)
{
    metric_set(metric_gauge(name, labels, help), value);
}

static void partitions(struct node *n)
{
    uint32_t running = 0, leaders = 0;
    int64_t lag = 0;
    for (uint32_t i = 0; i < n->n_shards; i++) {
        struct shard_stats s;
        shard_get_stats(n->shards[i], &s);
        running += s.partitions;
        leaders += s.leaders;
        lag = MAX(lag, s.max_lag);
    }
    gauge("restate_num_partitions", NULL, "Partitions of the cluster", n->map->count);
    gauge("restate_num_active_partitions", NULL, "Partition replicas that run on this node", running);
    gauge("restate_num_active_partition_leaders", NULL, "Partitions that this node leads", leaders);
    gauge("restate_partition_applied_lsn_lag", "quantile=\"1\"",
          "Records that are committed and not applied, of the replica that is furthest behind", lag);
}

static void memory(void)
{
    uint64_t epoch = 1;
    size_t value, len = sizeof(value), pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*u %zu", &pages) == 1)
        gauge("restate_process_resident_bytes", NULL, "Resident memory of the process",
              (int64_t)(pages * (size_t)sysconf(_SC_PAGESIZE)));
    if (f)
        fclose(f);
    if (!mallctl || mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) != 0)
        return;
    if (mallctl("stats.allocated", &value, &len, NULL, 0) == 0)
        gauge("restate_jemalloc_allocated_bytes", NULL, "Bytes allocated by the process", (int64_t)value);
    if (mallctl("stats.resident", &value, &len, NULL, 0) == 0)
        gauge("restate_jemalloc_resident_bytes", NULL, "Bytes in pages of the allocator", (int64_t)value);
}

static void refresh(void *ctx)
{
    struct node *n = ctx;
    memory();
    if (n->n_shards == 0 || n->stopping)
        return;
    partitions(n);
    if (n->db)
        rocks_db_refresh_metrics(n->db);
}

void node_metrics_register(struct node *n)
{
    metrics_on_render(refresh, n);
}
