/* Snapshots and trimming in the simulated cluster (spec/cluster.md §11.2): latest.json always names a
 * complete snapshot, and its LSN never decreases (T-b); a log is trimmed only up to where a snapshot is kept
 * (T-a; with the modes of these clusters there must be one). */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "partition/snapshot_manifest.h"
#include "sim/cluster_sim.h"

#define CHECK(cond, ...) SIM_CHECK(&csim->base, cond, __VA_ARGS__)
#define U(x)             ((unsigned long)(x))
#define LATEST           "latest.json"

static struct {
    lsn_t lsn;      /* of the latest one; 0: none */
    char path[400]; /* of its directory, with a slash at the end */
} published[CSIM_PARTITIONS_MAX];

static void check_complete(uint16_t partition, const char *directory)
{
    char key[512];
    struct snapshot_metadata m = {0};
    struct err err = {0};
    snprintf(key, sizeof(key), "%smetadata.json", directory);
    struct bytes text = memory_objects_peek(csim->bucket, key);
    CHECK(text.ptr, "T-b: latest.json of partition %u names %s, which is not there", partition, directory);
    CHECK(snapshot_metadata_decode(bytes_slice(text), &m, &err) == RC_OK, "T-b: %s: %s", key, err.msg);
    for (size_t i = 0; i < m.files.len; i++) {
        const struct snapshot_file_entry *f = &m.files.items[i];
        snprintf(key, sizeof(key), "%s%s", directory, f->name[0] == '/' ? f->name + 1 : f->name);
        struct bytes content = memory_objects_peek(csim->bucket, key);
        CHECK(content.ptr && content.len == f->size && hash64(bytes_slice(content)) == f->checksum,
              "T-b: latest.json of partition %u names a snapshot without its file %s", partition, key);
    }
    snapshot_metadata_free(&m);
}

void csim_bucket_changed(void *ctx, const char *key, const struct bytes *content)
{
    size_t len = strlen(key);
    bool data = content && content->len && len > 5 && strcmp(key + len - 5, ".data") == 0;
    if (csim_mutated(CSIM_FILE_LOST) && data && csim_chance(200)) {
        memory_objects_poke(csim->bucket, key, BYTES_EMPTY);
        return;
    }
    for (uint32_t i = 0; i < csim->options.partitions && !content; i++)
        CHECK(!published[i].lsn || strncmp(key, published[i].path, strlen(published[i].path)) != 0,
              "T-b: %s is deleted, and latest.json names it", key);
    if (len < sizeof(LATEST) || strcmp(key + len - (sizeof(LATEST) - 1), LATEST) != 0)
        return;
    CHECK(content, "T-b: %s is deleted", key);
    struct snapshot_latest l;
    struct err err = {0};
    CHECK(snapshot_latest_decode(bytes_slice(*content), &l, &err) == RC_OK, "T-b: %s: %s", key, err.msg);
    uint16_t p = l.owner.partition_id;
    const struct snapshot_ref *newest = &l.retained.items[0];
    CHECK(p < csim->options.partitions && newest->lsn >= published[p].lsn,
          "T-b: the latest snapshot of partition %u goes from LSN %lu to %lu", p, U(published[p].lsn),
          U(newest->lsn));
    published[p].lsn = newest->lsn;
    snprintf(published[p].path, sizeof(published[p].path), "%.*s%s/", (int)(len - (sizeof(LATEST) - 1)), key,
             newest->path);
    check_complete(p, published[p].path);
    snapshot_latest_free(&l);
}

/* T-a */
void csim_snapshot_trim(uint32_t partition, lsn_t upto)
{
    bool alone = csim->options.replication == 1 && csim->options.nodes == 1;
    CHECK(alone || upto <= published[partition].lsn,
          "T-a: log %u is trimmed up to LSN %lu; the latest snapshot is of LSN %lu", partition, U(upto),
          U(published[partition].lsn));
}
