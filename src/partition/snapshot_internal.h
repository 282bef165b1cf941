/* Shared by snapshot_repository.c (frame, latest.json), snapshot_create.c, snapshot_load.c and
 * snapshot_sweep.c. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "base/env.h"
#include "base/hash.h"
#include "base/log.h"
#include "partition/snapshot.h"
#include "partition/snapshot_repository.h"

#define SNAPSHOT_LOG     "restate_partition_store::snapshots"
#define LATEST_MAX       (1u << 20) /* bytes of latest.json */
#define METADATA_MAX     (64u << 20)
#define SNAPSHOT_KEY_MAX (OBJECT_KEY_MAX + 1)

/* Directories of a partition that no future latest.json can name: what was seen, and since when. */
struct garbage {
    char path[SNAPSHOT_PATH_MAX];
    uint64_t since_ms;
};
struct swept_partition {
    struct omap_node node;
    uint16_t partition_id;
    uint64_t due_ms;
    struct {
        struct garbage *items;
        size_t len, cap;
    } garbage;
};

struct snapshot_repository {
    struct env *env;
    struct object_store *store, *scratch;
    struct job_runner *jobs;
    char *prefix, *place, *cluster_name, *node_name;
    uint64_t fingerprint, grace_ms;
    unsigned num_retained;

    struct list creates, loads;
    size_t active; /* operations of any kind that have not called back */
    bool closing;
    size_t stores_open;
    struct list refused; /* object_op submitted while closing */
    struct env_task refuse_task, close_task;
    void (*closed)(void *ctx);
    void *closed_ctx;

    /* snapshot_sweep.c */
    struct omap swept;
    struct sweep *sweep; /* running */
    struct env_timer sweep_timer;
};

/* ---- snapshot_repository.c ---- */
/* `which`: r->store or r->scratch. While closing every operation ends with RC_CANCELED. */
void repository_submit(struct snapshot_repository *r, struct object_store *which, struct object_op *op);
void repository_begin(struct snapshot_repository *r); /* one more active operation */
void repository_end(struct snapshot_repository *r);
/* "<prefix>/<partition>/<a><b>" */
void repository_key(const struct snapshot_repository *r, uint16_t partition_id, const char *a, const char *b,
                    char out[SNAPSHOT_KEY_MAX]);
/* A document belongs to this cluster and partition. */
enum rc repository_check_owner(const struct snapshot_repository *r, const struct snapshot_owner *o,
                               uint16_t partition_id, const char *what, struct err *err);
void repository_status_of(const struct snapshot_latest *l, struct snapshot_status *out);

/* Reading of latest.json, embedded in what needs it. */
struct latest_read {
    struct snapshot_repository *repository;
    uint16_t partition_id;
    char key[SNAPSHOT_KEY_MAX];
    struct object_op op;
    void (*done)(struct latest_read *l);
    /* RC_OK; RC_NOT_FOUND; RC_CORRUPT with the ETag of the damaged object; RC_CONFLICT: of another cluster...
     */
    enum rc rc;
    struct err err;
    struct snapshot_latest latest; /* RC_OK: to be freed */
    char etag[OBJECT_ETAG_MAX];
};
void latest_read_start(struct latest_read *l, struct snapshot_repository *r, uint16_t partition_id,
                       void (*done)(struct latest_read *l));

/* ---- snapshot_create.c, snapshot_load.c ---- */
void snapshot_create_close(struct list *link);
void snapshot_load_close(struct list *link);

/* ---- snapshot_sweep.c ---- */
void sweep_init(struct snapshot_repository *r);
/* Something may have become garbage. */
void sweep_soon(struct snapshot_repository *r, uint16_t partition_id);
void sweep_stop(struct snapshot_repository *r); /* closing: no new one */
void sweep_free(struct snapshot_repository *r);
