/* The frame of the snapshot repository: keys, latest.json, status, closing (partition/snapshot_repository.h).
 */
#include "partition/snapshot_internal.h"

void repository_key(const struct snapshot_repository *r, uint16_t partition_id, const char *a, const char *b,
                    char out[SNAPSHOT_KEY_MAX])
{
    snprintf(out, SNAPSHOT_KEY_MAX, "%s%s%u/%s%s", r->prefix, r->prefix[0] ? "/" : "", (unsigned)partition_id,
             a, b);
}

/* ---- submitting and closing ---- */

static void refuse_run(struct env_task *t)
{
    struct snapshot_repository *r = CONTAINER_OF(t, struct snapshot_repository, refuse_task);
    struct list *n;
    while ((n = list_pop_front(&r->refused))) {
        struct object_op *op = CONTAINER_OF(n, struct object_op, link);
        object_op_reset_result(op);
        op->rc = err_set(&op->err, RC_CANCELED, "the snapshot repository is being closed");
        op->done(op);
    }
}

void repository_submit(struct snapshot_repository *r, struct object_store *which, struct object_op *op)
{
    if (!r->closing) {
        object_submit(which, op);
        return;
    }
    list_push_back(&r->refused, &op->link);
    env_defer(r->env, &r->refuse_task);
}

static void close_run(struct env_task *t)
{
    struct snapshot_repository *r = CONTAINER_OF(t, struct snapshot_repository, close_task);
    void (*closed)(void *) = r->closed;
    void *ctx = r->closed_ctx;
    sweep_free(r);
    free(r->prefix);
    free(r->place);
    free(r->cluster_name);
    free(r->node_name);
    free(r);
    closed(ctx);
}

static void close_when_idle(struct snapshot_repository *r)
{
    if (r->closing && r->active == 0 && r->stores_open == 0)
        env_defer(r->env, &r->close_task);
}

void repository_begin(struct snapshot_repository *r)
{
    ASSERT(!r->closing);
    r->active++;
}

void repository_end(struct snapshot_repository *r)
{
    ASSERT(r->active > 0);
    r->active--;
    close_when_idle(r);
}

static void store_closed(void *ctx)
{
    struct snapshot_repository *r = ctx;
    r->stores_open--;
    close_when_idle(r);
}

void snapshot_repository_close(struct snapshot_repository *r, void (*done)(void *ctx), void *ctx)
{
    ASSERT(!r->closing);
    r->closing = true;
    r->closed = done;
    r->closed_ctx = ctx;
    sweep_stop(r);
    LIST_FOREACH_SAFE(n, next, &r->creates)
    snapshot_create_close(n);
    LIST_FOREACH_SAFE(n, next, &r->loads)
    snapshot_load_close(n);
    object_store_close(r->store, store_closed, r);
    object_store_close(r->scratch, store_closed, r);
}

struct snapshot_repository *snapshot_repository_new(struct env *env, struct object_store *store,
                                                    struct object_store *scratch, struct job_runner *jobs,
                                                    const struct snapshot_repository_config *config)
{
    ASSERT(config->num_retained >= 1 && strlen(config->prefix) < OBJECT_KEY_MAX / 2);
    struct snapshot_repository *r = xcalloc(1, sizeof(*r));
    r->env = env;
    r->store = store;
    r->scratch = scratch;
    r->stores_open = 2;
    r->jobs = jobs;
    r->prefix = xstrdup(config->prefix);
    r->place = xstrdup(config->place);
    r->cluster_name = xstrdup(config->cluster_name);
    r->node_name = xstrdup(config->node_name);
    r->fingerprint = config->fingerprint;
    r->grace_ms = config->grace_ms;
    r->num_retained = config->num_retained;
    list_init(&r->creates);
    list_init(&r->loads);
    list_init(&r->refused);
    env_task_init(&r->refuse_task, refuse_run);
    env_task_init(&r->close_task, close_run);
    sweep_init(r);
    return r;
}

/* ---- latest.json ---- */

enum rc repository_check_owner(const struct snapshot_repository *r, const struct snapshot_owner *o,
                               uint16_t partition_id, const char *what, struct err *err)
{
    if (strcmp(o->cluster_name, r->cluster_name) != 0)
        return err_set(err, RC_CONFLICT, "%s in %s belongs to cluster '%s', this is cluster '%s'", what,
                       r->place, o->cluster_name, r->cluster_name);
    if (o->fingerprint && r->fingerprint && o->fingerprint != r->fingerprint)
        return err_set(
            err, RC_CONFLICT,
            "%s in %s belongs to another cluster of the name '%s': its fingerprint is %llu, ours is %llu",
            what, r->place, r->cluster_name, (unsigned long long)o->fingerprint,
            (unsigned long long)r->fingerprint);
    if (o->partition_id != partition_id)
        return err_set(err, RC_CONFLICT, "%s in %s belongs to partition %u, expected partition %u", what,
                       r->place, (unsigned)o->partition_id, (unsigned)partition_id);
    return RC_OK;
}

static void latest_got(struct object_op *op)
{
    struct latest_read *l = CONTAINER_OF(op, struct latest_read, op);
    l->rc = op->rc;
    l->err = op->err;
    if (op->rc == RC_OK)
        memcpy(l->etag, op->etag, sizeof(l->etag));
    if (op->rc == RC_TOO_LARGE)
        l->rc = err_set(&l->err, RC_UNSUPPORTED, "latest.json is larger than %u bytes", LATEST_MAX);
    if (op->rc == RC_OK) {
        l->rc = snapshot_latest_decode(bytes_slice(op->content), &l->latest, &l->err);
        if (l->rc == RC_OK) {
            l->rc = repository_check_owner(l->repository, &l->latest.owner, l->partition_id, "latest.json",
                                           &l->err);
            if (l->rc != RC_OK)
                snapshot_latest_free(&l->latest);
        }
    }
    object_op_release(op);
    l->done(l);
}

void latest_read_start(struct latest_read *l, struct snapshot_repository *r, uint16_t partition_id,
                       void (*done)(struct latest_read *l))
{
    *l = (struct latest_read){.repository = r, .partition_id = partition_id, .done = done};
    repository_key(r, partition_id, "latest.json", "", l->key);
    l->op.kind = OBJECT_GET;
    l->op.key = l->key;
    l->op.max_bytes = LATEST_MAX;
    l->op.done = latest_got;
    repository_submit(r, r->store, &l->op);
}

void repository_status_of(const struct snapshot_latest *l, struct snapshot_status *out)
{
    *out = (struct snapshot_status){
        .exists = true,
        .latest = l->retained.items[0],
        .archived = l->retained.items[l->retained.len - 1].lsn,
    };
}

/* ---- status ---- */

struct status_query {
    struct latest_read read;
    snapshot_status_done done;
    void *ctx;
};

static void status_read(struct latest_read *l)
{
    struct status_query *q = CONTAINER_OF(l, struct status_query, read);
    struct snapshot_status s = {0};
    if (l->rc == RC_OK) {
        repository_status_of(&l->latest, &s);
        snapshot_latest_free(&l->latest);
    }
    bool known = l->rc == RC_OK || l->rc == RC_NOT_FOUND;
    q->done(q->ctx, known ? &s : NULL, known ? NULL : &l->err);
    repository_end(l->repository);
    free(q);
}

void snapshot_repository_status(struct snapshot_repository *r, uint16_t partition_id,
                                snapshot_status_done done, void *ctx)
{
    repository_begin(r);
    struct status_query *q = xcalloc(1, sizeof(*q));
    q->done = done;
    q->ctx = ctx;
    latest_read_start(&q->read, r, partition_id, status_read);
}
