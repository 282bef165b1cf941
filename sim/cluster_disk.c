/* What the nodes of the simulated cluster keep: the log-server's disk, the file of the metadata server, the
 * partition stores, the marker of the data directory. */
#include <stdio.h>
#include <stdlib.h>

#include "bifrost/segment_store.h"
#include "metadata/raft_file.h"
#include "partition/rocks_compact.h"
#include "sim/cluster_sim.h"

#define BLOCK         512u
#define FORGET_WRITES 20u
#define SEGMENT_BYTES (128u << 10)
#define DATA_PATH     "/sim/n%u"

struct csim_host *csim_host_of_path(const char *path)
{
    unsigned n = 0;
    int matched = sscanf(path, DATA_PATH, &n);
    ASSERT_MSG(matched == 1 && n >= 1 && n <= csim->options.nodes, "no simulated path: %s", path);
    return &csim->hosts[n - 1];
}

/* ---- the log-server's disk: disk_memory, whose durable writes take time ---- */

struct sim_disk {
    struct disk base;
    struct csim_host *host;
};

static struct disk *medium(struct disk *d)
{
    return CONTAINER_OF(d, struct sim_disk, base)->host->disk.log;
}

/* The process may die in what it has asked for. */
static enum rc alive(struct disk *d, enum rc rc)
{
    if (disk_memory_crashed(medium(d)))
        csim_die();
    return rc;
}

/* A write lasts. */
static enum rc durable(struct disk *d, enum rc rc)
{
    uint64_t us = CONTAINER_OF(d, struct sim_disk, base)->host->disk_us;
    csim_spend(us / 4 + csim_below(2 * us + 1));
    return alive(d, rc);
}

static bool is_full(struct disk *d)
{
    return CONTAINER_OF(d, struct sim_disk, base)->host->disk.full;
}

static enum rc no_space(struct err *err)
{
    return err_set(err, RC_NO_SPACE, "the simulated disk is full");
}

static enum rc sim_open(struct disk *d, const char *name, bool create, struct disk_file **out,
                        struct err *err)
{
    return alive(d, medium(d)->ops->open(medium(d), name, create, out, err));
}

static void sim_close(struct disk *d, struct disk_file *f)
{
    medium(d)->ops->close(medium(d), f);
}

static enum rc sim_size(struct disk *d, struct disk_file *f, uint64_t *out, struct err *err)
{
    return medium(d)->ops->size(medium(d), f, out, err);
}

static enum rc sim_write(struct disk *d, struct disk_file *f, uint64_t offset, const void *ptr, size_t len,
                         struct err *err)
{
    struct csim_disk *kept = &CONTAINER_OF(d, struct sim_disk, base)->host->disk;
    if (csim_mutated(CSIM_LOG_FORGETS) && ++kept->log_writes % FORGET_WRITES == 0) {
        if (kept->log_before)
            kept->log_before->ops->free(kept->log_before);
        kept->log_before = disk_memory_clone(kept->log);
    }
    d->writes++;
    return durable(d, medium(d)->ops->write(medium(d), f, offset, ptr, len, err));
}

static enum rc sim_read(struct disk *d, struct disk_file *f, uint64_t offset, void *ptr, size_t len,
                        size_t *got, struct err *err)
{
    return medium(d)->ops->read(medium(d), f, offset, ptr, len, got, err);
}

static enum rc sim_sync(struct disk *d, struct disk_file *f, struct err *err)
{
    return alive(d, medium(d)->ops->sync(medium(d), f, err));
}

static enum rc sim_zero_fill(struct disk *d, struct disk_file *f, uint64_t size, struct err *err)
{
    return is_full(d) ? no_space(err) : alive(d, medium(d)->ops->zero_fill(medium(d), f, size, err));
}

static enum rc sim_rename(struct disk *d, const char *from, const char *to, struct err *err)
{
    return alive(d, medium(d)->ops->rename(medium(d), from, to, err));
}

static enum rc sim_remove(struct disk *d, const char *name, struct err *err)
{
    return alive(d, medium(d)->ops->remove(medium(d), name, err));
}

static enum rc sim_list(struct disk *d, void (*visit)(void *ctx, const char *name), void *ctx,
                        struct err *err)
{
    return medium(d)->ops->list(medium(d), visit, ctx, err);
}

static void sim_free(struct disk *d) {}

static const struct disk_ops disk_ops = {.open = sim_open,
                                         .close = sim_close,
                                         .size = sim_size,
                                         .write = sim_write,
                                         .read = sim_read,
                                         .sync = sim_sync,
                                         .zero_fill = sim_zero_fill,
                                         .rename = sim_rename,
                                         .remove = sim_remove,
                                         .list = sim_list,
                                         .free = sim_free};

enum rc __wrap_disk_posix_open(const char *path, struct disk **out, struct err *err);
enum rc __wrap_disk_posix_open(const char *path, struct disk **out, struct err *err)
{
    struct csim_host *h = csim_host_of_path(path);
    if (!h->disk.log)
        h->disk.log = disk_memory_new(BLOCK);
    struct sim_disk *d = xcalloc(1, sizeof(*d));
    d->base.ops = &disk_ops;
    d->base.block_size = BLOCK;
    d->host = h;
    *out = &d->base;
    return RC_OK;
}

/* Small segments: there are several, and they are reclaimed. */
enum rc __real_segment_store_open(struct disk *disk, const struct segment_store_options *options,
                                  struct segment_store **out, struct err *err);
enum rc __wrap_segment_store_open(struct disk *disk, const struct segment_store_options *options,
                                  struct segment_store **out, struct err *err);
enum rc __wrap_segment_store_open(struct disk *disk, const struct segment_store_options *options,
                                  struct segment_store **out, struct err *err)
{
    struct segment_store_options small = *options;
    small.first_segment_bytes = small.max_segment_bytes = SEGMENT_BYTES;
    small.reserve_bytes = SEGMENT_BYTES;
    small.max_spares = 1;
    return __real_segment_store_open(disk, &small, out, err);
}

/* ---- the file of the metadata server ---- */

struct sim_raft {
    struct raft_store base;
    struct csim_host *host;
    struct loop_work work;
    struct loop *loop;
    struct bytes body;
    bool rewrite;
    enum rc rc;
    struct err err;
};

static void put_frame(struct csim_disk *d, struct slice body, bool rewrite)
{
    d->raft_before = rewrite ? 0 : d->raft.len;
    struct bytes frame = frame_make(body, ++d->raft_frames);
    if (rewrite) {
        writer_reset(&d->raft);
        write_raw(&d->raft, raft_frame_format.header, FRAME_FILE_HEADER);
    }
    write_raw(&d->raft, frame.ptr, frame.len);
    if (rewrite)
        d->raft_identity = d->raft.len;
    bytes_unref(&frame);
}

static void raft_work(struct loop_work *w)
{
    struct sim_raft *s = CONTAINER_OF(w, struct sim_raft, work);
    s->err = (struct err){0};
    s->rc = RC_OK;
    if (s->host->disk.full)
        s->rc = no_space(&s->err);
    else
        put_frame(&s->host->disk, bytes_slice(s->body), s->rewrite);
}

static void raft_done(struct loop_work *w)
{
    struct sim_raft *s = CONTAINER_OF(w, struct sim_raft, work);
    bytes_unref(&s->body);
    s->base.done(s->base.ctx, s->rc, &s->err);
}

static void raft_write(struct raft_store *base, struct bytes body_take, bool rewrite)
{
    struct sim_raft *s = CONTAINER_OF(base, struct sim_raft, base);
    s->body = body_take;
    s->rewrite = rewrite;
    loop_work_submit(s->loop, &s->work);
}

static void raft_close(struct raft_store *base) {}

struct recovery {
    struct raft_durable *durable;
    enum rc rc;
    struct err *err;
};

static void recover_body(void *ctx, struct slice body)
{
    struct recovery *r = ctx;
    if (!r->rc)
        r->rc = raft_durable_fold(r->durable, body, r->err);
}

enum rc __wrap_raft_file_open(struct env *env, struct loop *loop, const char *dir,
                              struct raft_durable *durable, struct raft_store **out, struct err *err);
enum rc __wrap_raft_file_open(struct env *env, struct loop *loop, const char *dir,
                              struct raft_durable *durable, struct raft_store **out, struct err *err)
{
    static const struct raft_store_ops ops = {raft_write, raft_close};
    struct csim_host *h = csim_host_of_path(dir);
    struct csim_disk *d = &h->disk;
    struct recovery r = {durable, RC_OK, err};
    size_t good;
    *durable = (struct raft_durable){0};
    enum rc rc =
        frame_scan(&raft_frame_format, writer_slice(&d->raft), recover_body, &r, &good, &d->raft_frames, err);
    SIM_CHECK(&csim->base, rc == RC_OK && r.rc == RC_OK, "the metadata file of n%u: %s", h->index + 1,
              err->msg);
    if (good == 0) {
        writer_reset(&d->raft);
        write_raw(&d->raft, raft_frame_format.header, FRAME_FILE_HEADER);
        good = FRAME_FILE_HEADER;
    }
    d->raft.len = good;
    struct sim_raft *s = xcalloc(1, sizeof(*s));
    s->base.ops = &ops;
    s->host = h;
    s->loop = loop;
    s->work.work = raft_work;
    s->work.done = raft_done;
    *out = &s->base;
    return RC_OK;
}

/* ---- partition stores ---- */

struct rocks_db {
    struct csim_host *host;
};

enum rc rocks_db_open(const struct rocks_db_config *config, struct rocks_db **out, struct err *err)
{
    *out = xcalloc(1, sizeof(**out));
    (*out)->host = csim_host_of_path(config->path);
    return RC_OK;
}

/* Nothing is compacted here, nor counted. */
void rocks_db_refresh_metrics(struct rocks_db *db) {}

void rocks_db_compact(struct rocks_db *db, struct rocks_compaction *c) {}

void rocks_db_compact_stop(struct rocks_db *db) {}

void rocks_db_close(struct rocks_db *db)
{
    free(db);
}

struct kv_backend *rocks_backend_new(struct rocks_db *db, struct loop *loop)
{
    unsigned shard = 0;
    sscanf(loop_name(loop), "shard-%u", &shard);
    struct kv_backend **b = &db->host->disk.partitions[shard];
    if (*b)
        memory_backend_reopen(*b, loop_env(loop));
    else
        *b = memory_backend_new(loop_env(loop));
    return *b;
}

void rocks_backend_free(struct kv_backend *b) {}

/* ---- the data directory ---- */

enum rc data_dir_open(const char *base_dir, const char *node_name, const char *cluster_name,
                      struct data_dir *out, struct err *err)
{
    *out = (struct data_dir){.lock_fd = -1};
    snprintf(out->path, sizeof(out->path), "%s/%s", base_dir, node_name);
    snprintf(out->cluster_name, sizeof(out->cluster_name), "%s", cluster_name);
    struct csim_host *h = csim_host_of_path(out->path);
    out->provisioned = h->disk.provisioned;
    out->fingerprint = h->disk.fingerprint;
    return RC_OK;
}

enum rc data_dir_set_provisioned(struct data_dir *d, uint64_t fingerprint, struct err *err)
{
    struct csim_host *h = csim_host_of_path(d->path);
    d->provisioned = h->disk.provisioned = true;
    d->fingerprint = h->disk.fingerprint = fingerprint;
    return RC_OK;
}

void data_dir_close(struct data_dir *d) {}

/* ---- crashes ---- */

void csim_disk_crash(struct csim_host *h)
{
    struct csim_disk *d = &h->disk;
    for (size_t i = 0; i < ARRAY_LEN(d->partitions); i++) {
        if (d->partitions[i])
            memory_backend_crash(d->partitions[i]);
    }
    if (d->log)
        disk_memory_restart(d->log);
    if (d->log_before) {
        d->log = d->log_before;
        d->log_before = NULL;
    }
    if (csim_mutated(CSIM_RAFT_FORGETS) && d->raft_before > FRAME_FILE_HEADER)
        d->raft.len = d->raft_before;
}

void csim_disk_lose_partitions(struct csim_host *h)
{
    memset(h->disk.partitions, 0, sizeof(h->disk.partitions));
}

void csim_disk_lose_log(struct csim_host *h)
{
    h->disk.log = NULL;
    h->lost_log = true;
    csim_log_lost(h);
}

void csim_disk_lose_directory(struct csim_host *h)
{
    h->disk.provisioned = false;
    h->disk.fingerprint = 0;
    h->no_provision = true; /* else it could make a cluster of its own while it reaches nobody */
}

void csim_disk_lose_raft(struct csim_host *h)
{
    h->disk.raft.len = csim_mutated(CSIM_RAFT_OLD_COPY) ? h->disk.raft_identity : 0;
}
