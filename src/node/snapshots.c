/* Implementation of node/snapshots.h. */
#define _GNU_SOURCE /* nftw */
#include "node/snapshots.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/objects.h"
#include "objects/file_objects.h"

#define TARGET      "restate_partition_store::snapshots"
#define THREADS_MAX 32u
#define WARN_MS     60000u

struct node_snapshots {
    const struct node_config *config;
    struct object_url url;
    bool configured;
    char *scratch;
    uint64_t fingerprint;
    struct workers *workers;
    struct snapshot_slots slots;
    _Atomic bool cluster;
    uint64_t warn_at_ms;
};

/* ---- the repository that is configured ---- */

static enum rc parse_destination(const struct snapshot_config *c, struct object_url *url, struct err *err)
{
    enum rc rc = object_url_parse(slice_cstr(c->destination), url, err);
    if (rc != RC_OK)
        err_prefix(err, "worker.snapshots.destination: ");
    return rc;
}

enum rc node_snapshots_check(const struct node_config *config, struct err *err)
{
    struct object_url url;
    return config->snapshots.destination ? parse_destination(&config->snapshots, &url, err) : RC_OK;
}

/* ---- node ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

/* What a process left that died while it restored a partition. */
static enum rc empty_scratch(const char *path, struct err *err)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return err_set_errno(err, RC_IO, errno, "cannot empty the scratch directory %s", path);
    return RC_OK;
}

static void warn_at_start(const struct node_snapshots *s)
{
    const struct snapshot_config *c = &s->config->snapshots;
    if (s->configured && s->url.scheme == OBJECT_URL_FILE)
        LOG0(
            LOG_WARN, TARGET,
            "Snapshots go to the directory %s: all nodes of a cluster must share it, and it is no protection "
            "against the loss of this machine",
            s->url.directory);
    if (!s->configured && (c->interval_ms || c->num_records))
        LOG0(LOG_WARN, TARGET,
             "worker.snapshots has an interval but no destination: there will be no snapshots");
}

enum rc node_snapshots_new(const struct node_config *config, const char *data_dir, uint64_t fingerprint,
                           struct node_snapshots **out, struct err *err)
{
    struct node_snapshots *s = xcalloc(1, sizeof(*s));
    s->config = config;
    s->fingerprint = fingerprint;
    s->configured = config->snapshots.destination != NULL;
    s->scratch = xasprintf("%s/pp-snapshots", data_dir);
    enum rc rc = s->configured ? parse_destination(&config->snapshots, &s->url, err) : RC_OK;
    if (rc == RC_OK)
        rc = empty_scratch(s->scratch, err);
    if (rc != RC_OK) {
        free(s->scratch);
        free(s);
        return rc;
    }
    unsigned limit = config->snapshots.export_concurrency_limit;
    atomic_store(&s->slots.free, (int)limit);
    s->workers = workers_new("snapshots", MIN(MAX(2 * limit, 4u), THREADS_MAX));
    warn_at_start(s);
    *out = s;
    return RC_OK;
}

void node_snapshots_free(struct node_snapshots *s)
{
    workers_free(s->workers);
    free(s->scratch);
    free(s);
}

void node_snapshots_set_cluster(struct node_snapshots *s, bool cluster)
{
    atomic_store(&s->cluster, cluster);
}

bool node_snapshots_is_cluster(const struct node_snapshots *s)
{
    return atomic_load(&s->cluster);
}

enum durability_mode node_snapshots_mode(const struct node_snapshots *s)
{
    return s->config->durability_mode_set ? s->config->durability_mode
                                          : durability_mode_default(atomic_load(&s->cluster));
}

void node_snapshots_warn(struct node_snapshots *s, uint64_t now_mono_ms)
{
    if (s->configured || !atomic_load(&s->cluster) || !durability_needs_snapshots(node_snapshots_mode(s)) ||
        now_mono_ms < s->warn_at_ms)
        return;
    s->warn_at_ms = now_mono_ms + WARN_MS;
    LOG0(LOG_WARN, TARGET,
         "Detected cluster environment with no snapshot repository configured. Automatic log trimming is "
         "disabled: the logs grow without end. Set worker.snapshots.destination on all nodes");
}

/* ---- loops ---- */

enum rc shard_snapshots_open(struct node_snapshots *s, struct loop *loop, struct shard_snapshots *out,
                             struct err *err)
{
    const struct snapshot_config *c = &s->config->snapshots;
    struct env *env = loop_env(loop);
    *out = (struct shard_snapshots){0};
    if (s->configured) {
        struct object_store *store;
        enum rc rc =
            node_objects_open(&s->url, &c->access, env, workers_runner_new(s->workers, loop), &store, err);
        if (rc != RC_OK) {
            err_prefix(err, "worker.snapshots: ");
            return rc;
        }
        struct file_objects_config scratch = {.directory = s->scratch, .durable = false};
        struct snapshot_repository_config config = {
            .prefix = s->url.prefix,
            .place = c->destination,
            .cluster_name = s->config->cluster_name,
            .node_name = s->config->node_name,
            .fingerprint = s->fingerprint,
            .num_retained = c->num_retained,
            .grace_ms = SNAPSHOT_GRACE_MS,
        };
        out->jobs = workers_runner_new(s->workers, loop);
        out->repository = snapshot_repository_new(
            env, store, file_objects_new(env, workers_runner_new(s->workers, loop), &scratch), out->jobs,
            &config);
    }
    struct snapshot_agent_config agent = {.interval_ms = c->interval_ms, .num_records = c->num_records};
    out->agent = snapshot_agent_new(env, out->repository, &s->slots, &agent);
    return RC_OK;
}

void shard_snapshots_configure(struct shard_snapshots *s, const struct snapshot_config *c)
{
    struct snapshot_agent_config agent = {.interval_ms = c->interval_ms, .num_records = c->num_records};
    if (s->agent)
        snapshot_agent_configure(s->agent, &agent);
}

static void repository_closed(void *ctx)
{
    struct shard_snapshots *s = ctx;
    free(s->jobs);
    s->repository = NULL;
    s->jobs = NULL;
    s->closed(s->closed_ctx);
}

void shard_snapshots_close(struct shard_snapshots *s, void (*done)(void *ctx), void *ctx)
{
    if (s->agent)
        snapshot_agent_free(s->agent);
    s->agent = NULL;
    if (!s->repository) {
        done(ctx);
        return;
    }
    s->closed = done;
    s->closed_ctx = ctx;
    snapshot_repository_close(s->repository, repository_closed, s);
}
