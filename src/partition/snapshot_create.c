/* Creating a snapshot (partition/snapshot_repository.h, spec/cluster.md §6.3): export file by file,
 * metadata.json, then latest.json under the condition that it is still the one that was looked at.
 *
 * The trap is the write of latest.json whose answer is lost: it may have happened, or may still happen. So
 * after it the files are only deleted when latest.json is known to have become another object, which makes
 * the condition of the lost write impossible for good. Otherwise they stay; whoever publishes next sweeps
 * them. */
#include "base/time.h"
#include "partition/snapshot_internal.h"

#define PUBLISH_ROUNDS 8u
#define ROUND_DELAY_MS 100u

struct snapshot_create {
    struct list link;
    struct snapshot_repository *repository;
    struct snapshot_create_request request;
    snapshot_create_done done; /* NULL: was called */
    void *ctx;
    struct err err;
    bool canceled;
    struct env_task cancel_task;

    struct store_export *export;
    bool export_busy;
    struct snapshot_metadata meta;
    struct snapshot_created result;

    struct latest_read read;
    struct object_op op;
    char key[SNAPSHOT_KEY_MAX];
    struct bytes body;
    struct env_timer delay;
    unsigned rounds;
    bool undecided;                       /* a write of latest.json may still take effect ... */
    char undecided_etag[OBJECT_ETAG_MAX]; /* ... while latest.json has this ETag ("": is absent) */
    size_t discarded;
};

/* ---- ends ---- */

static void answer(struct snapshot_create *c)
{
    snapshot_create_done done = c->done;
    if (!done)
        return;
    c->done = NULL;
    bool ok = c->err.rc == RC_OK;
    done(c->ctx, ok ? &c->result : NULL, ok ? NULL : &c->err);
}

static void release_export(struct snapshot_create *c)
{
    if (c->export && !c->export_busy) {
        store_export_free(c->export);
        c->export = NULL;
    }
}

static void finish(struct snapshot_create *c)
{
    struct snapshot_repository *r = c->repository;
    release_export(c);
    ASSERT(!c->export);
    answer(c);
    env_undefer(&c->cancel_task);
    env_timer_cancel(r->env, &c->delay);
    snapshot_metadata_free(&c->meta);
    bytes_unref(&c->body);
    object_op_release(&c->op);
    list_remove(&c->link);
    free(c);
    repository_end(r);
}

static void submit(struct snapshot_create *c, enum object_op_kind kind, void (*done)(struct object_op *op))
{
    c->op.kind = kind;
    c->op.key = c->key;
    c->op.body = c->body;
    c->op.done = done;
    repository_submit(c->repository, c->repository->store, &c->op);
}

static void file_key(struct snapshot_create *c, const char *name)
{
    char path[SNAPSHOT_PATH_MAX];
    snprintf(path, sizeof(path), "%s", c->meta.ref.path);
    repository_key(c->repository, c->request.partition_id, path, name, c->key);
}

/* ---- discarding: data files, then metadata.json; what cannot be deleted is swept later ---- */

static void discard_next(struct object_op *op)
{
    struct snapshot_create *c = CONTAINER_OF(op, struct snapshot_create, op);
    if (c->discarded > c->meta.files.len || c->repository->closing) {
        finish(c);
        return;
    }
    size_t i = c->discarded++;
    file_key(c, i < c->meta.files.len ? c->meta.files.items[i].name : "/metadata.json");
    submit(c, OBJECT_DELETE, discard_next);
}

/* The caller is answered first: it need not wait for the cleaning. */
static void discard(struct snapshot_create *c)
{
    release_export(c);
    answer(c);
    bytes_unref(&c->body);
    c->op.condition = OBJECT_ANY;
    if (c->undecided || !c->meta.ref.path[0])
        finish(c);
    else
        discard_next(&c->op);
}

static void fail(struct snapshot_create *c, const struct err *err)
{
    if (c->err.rc == RC_OK)
        c->err = *err;
    discard(c);
}

/* Something else was asked for meanwhile: unwind. */
static bool stopped(struct snapshot_create *c)
{
    if (!c->canceled)
        return false;
    struct err err = {0};
    err_set(&err, RC_CANCELED, "the snapshot was canceled");
    fail(c, &err);
    return true;
}

/* ---- publishing ---- */

static void publish_look(struct snapshot_create *c);

static void published(struct snapshot_create *c)
{
    c->result.ref = c->meta.ref;
    sweep_soon(c->repository, c->request.partition_id);
    finish(c);
}

static void existed(struct snapshot_create *c, const struct snapshot_latest *l)
{
    repository_status_of(l, &c->result.status);
    c->result.ref = l->retained.items[0];
    c->result.existed = true;
    discard(c);
}

static void look_again(struct env_timer *t)
{
    publish_look(CONTAINER_OF(t, struct snapshot_create, delay));
}

static void latest_written(struct object_op *op)
{
    struct snapshot_create *c = CONTAINER_OF(op, struct snapshot_create, op);
    bytes_unref(&c->body);
    bool again = op->rc == RC_CONFLICT || op->rc == RC_TIMEOUT;
    if (op->rc == RC_TIMEOUT || op->rc == RC_CANCELED) {
        c->undecided = true;
        snprintf(c->undecided_etag, sizeof(c->undecided_etag), "%s", c->read.etag);
    }
    if (op->rc == RC_OK) {
        published(c);
    } else if (again && c->rounds < PUBLISH_ROUNDS) {
        env_timer_arm(c->repository->env, &c->delay,
                      c->repository->closing ? 0 : ROUND_DELAY_MS << c->rounds);
    } else {
        fail(c, &op->err);
    }
}

static void write_latest(struct snapshot_create *c, const struct snapshot_latest *old)
{
    const struct snapshot_repository *r = c->repository;
    struct snapshot_latest fresh = {.owner = c->meta.owner};
    VEC_PUSH(&fresh.retained, c->meta.ref);
    for (size_t i = 0; old && i < old->retained.len && fresh.retained.len < r->num_retained; i++)
        VEC_PUSH(&fresh.retained, old->retained.items[i]);
    struct writer w = WRITER_INIT;
    snapshot_latest_encode(&w, &fresh);
    repository_status_of(&fresh, &c->result.status);
    snapshot_latest_free(&fresh);
    c->body = writer_take(&w);
    repository_key(r, c->request.partition_id, "latest.json", "", c->key);
    c->op.condition = c->read.rc == RC_NOT_FOUND ? OBJECT_ABSENT : OBJECT_MATCHES;
    snprintf(c->op.etag, sizeof(c->op.etag), "%s", c->read.etag);
    c->rounds++;
    submit(c, OBJECT_PUT, latest_written);
}

static bool names_mine(const struct snapshot_create *c, const struct snapshot_latest *l)
{
    for (size_t i = 0; i < l->retained.len; i++) {
        if (strcmp(l->retained.items[i].id, c->meta.ref.id) == 0)
            return true;
    }
    return false;
}

static void decide(struct snapshot_create *c, const struct latest_read *l,
                   const struct snapshot_latest *latest)
{
    if (l->rc != RC_OK && l->rc != RC_NOT_FOUND && l->rc != RC_CORRUPT) {
        fail(c, &l->err);
        return;
    }
    if (c->undecided && strcmp(l->etag, c->undecided_etag) != 0)
        c->undecided = false; /* the lost write happened, or never will */
    if (l->rc == RC_OK && names_mine(c, latest)) {
        repository_status_of(latest, &c->result.status);
        published(c);
    } else if (l->rc == RC_OK && latest->retained.items[0].lsn >= c->meta.ref.lsn) {
        existed(c, latest);
    } else if (c->canceled || c->rounds >= PUBLISH_ROUNDS) {
        struct err err = {0};
        err_set(&err, c->canceled ? RC_CANCELED : RC_TIMEOUT,
                "latest.json of partition %u could not be written", (unsigned)c->request.partition_id);
        fail(c, &err);
    } else {
        write_latest(c, l->rc == RC_OK ? latest : NULL);
    }
}

static void latest_seen(struct latest_read *l)
{
    struct snapshot_latest latest = l->latest; /* `l` may be gone afterwards */
    decide(CONTAINER_OF(l, struct snapshot_create, read), l, &latest);
    snapshot_latest_free(&latest);
}

static void publish_look(struct snapshot_create *c)
{
    latest_read_start(&c->read, c->repository, c->request.partition_id, latest_seen);
}

/* ---- uploading ---- */

static void metadata_written(struct object_op *op)
{
    struct snapshot_create *c = CONTAINER_OF(op, struct snapshot_create, op);
    bytes_unref(&c->body);
    if (op->rc != RC_OK)
        fail(c, &op->err);
    else if (!stopped(c))
        publish_look(c);
}

static void write_metadata(struct snapshot_create *c)
{
    struct writer w = WRITER_INIT;
    snapshot_metadata_encode(&w, &c->meta);
    c->body = writer_take(&w);
    file_key(c, "/metadata.json");
    submit(c, OBJECT_PUT, metadata_written);
}

static void next_file(struct snapshot_create *c);

static void file_written(struct object_op *op)
{
    struct snapshot_create *c = CONTAINER_OF(op, struct snapshot_create, op);
    bytes_unref(&c->body);
    if (op->rc != RC_OK)
        fail(c, &op->err);
    else if (!stopped(c))
        next_file(c);
}

static char *hex_of(struct bytes key)
{
    char *text = xmalloc(2 * key.len + 1);
    hex_encode(bytes_slice(key), text);
    text[2 * key.len] = 0;
    return text;
}

static void file_exported(void *ctx, struct snapshot_file *file_take, const struct err *err)
{
    struct snapshot_create *c = ctx;
    c->export_busy = false;
    if (err || c->canceled) {
        if (file_take)
            snapshot_file_release(file_take);
        if (err && !c->canceled)
            fail(c, err);
        else
            stopped(c);
        return;
    }
    if (!file_take) {
        release_export(c); /* the database need not hold the view any longer */
        write_metadata(c);
        return;
    }
    struct snapshot_file_entry entry = {
        .size = file_take->content.len,
        .rows = file_take->rows,
        .checksum = hash64(bytes_slice(file_take->content)),
        .start_key = hex_of(file_take->first_key),
        .end_key = hex_of(file_take->last_key),
    };
    snprintf(entry.name, sizeof(entry.name), "/%06u.data", file_take->index);
    VEC_PUSH(&c->meta.files, entry);
    c->result.bytes += entry.size;
    c->result.rows += entry.rows;
    c->result.files++;
    c->body = bytes_ref(file_take->content);
    snapshot_file_release(file_take);
    file_key(c, entry.name);
    submit(c, OBJECT_PUT, file_written);
}

static void next_file(struct snapshot_create *c)
{
    c->export_busy = true;
    store_export_next(c->export, file_exported, c);
}

static void export_ready(void *ctx, lsn_t lsn, const struct err *err)
{
    struct snapshot_create *c = ctx;
    struct env *env = c->repository->env;
    c->export_busy = false;
    if (c->canceled) {
        stopped(c);
        return;
    }
    if (err) {
        fail(c, err);
        return;
    }
    uint64_t now = env_wall_ms(env), a = env_random(env), b = env_random(env);
    snapshot_ref_make(&c->meta.ref, ulid_make(now, a, b), lsn, now);
    next_file(c);
}

/* ---- start ---- */

static void looked(struct latest_read *l)
{
    struct snapshot_create *c = CONTAINER_OF(l, struct snapshot_create, read);
    struct snapshot_latest latest = l->latest;
    lsn_t wanted = c->request.min_lsn;
    if (!wanted && !c->canceled)
        wanted = store_vars(c->request.store)->applied_lsn;
    if (stopped(c)) {
        ;
    } else if (l->rc == RC_OK && latest.retained.items[0].lsn >= wanted) {
        existed(c, &latest);
    } else if (l->rc == RC_OK || l->rc == RC_NOT_FOUND || l->rc == RC_CORRUPT) {
        if (l->rc == RC_CORRUPT)
            LOG0(LOG_WARN, SNAPSHOT_LOG, "partition %u in %s: %s; the next snapshot replaces it",
                 (unsigned)c->request.partition_id, c->repository->place, l->err.msg);
        c->export_busy = true;
        c->export = store_export_new(c->request.store, c->repository->jobs, export_ready, c);
    } else {
        fail(c, &l->err);
    }
    snapshot_latest_free(&latest);
}

static void cancel_run(struct env_task *t)
{
    struct snapshot_create *c = CONTAINER_OF(t, struct snapshot_create, cancel_task);
    if (c->export)
        return; /* its call is under way: it answers */
    err_set(&c->err, RC_CANCELED, "the snapshot was canceled");
    answer(c);
}

void snapshot_create_cancel(struct snapshot_create *c)
{
    if (c->canceled)
        return;
    c->canceled = true;
    if (c->export_busy)
        store_export_cancel(c->export);
    release_export(c);
    env_defer(c->repository->env, &c->cancel_task);
}

void snapshot_create_close(struct list *link)
{
    snapshot_create_cancel(CONTAINER_OF(link, struct snapshot_create, link));
}

struct snapshot_create *snapshot_create_start(struct snapshot_repository *r,
                                              const struct snapshot_create_request *request,
                                              snapshot_create_done done, void *ctx)
{
    repository_begin(r);
    struct snapshot_create *c = xcalloc(1, sizeof(*c));
    c->repository = r;
    c->request = *request;
    c->done = done;
    c->ctx = ctx;
    list_push_back(&r->creates, &c->link);
    env_task_init(&c->cancel_task, cancel_run);
    env_timer_init(&c->delay, look_again);
    struct snapshot_owner *o = &c->meta.owner;
    o->partition_id = request->partition_id;
    o->log_id = request->log_id;
    o->fingerprint = r->fingerprint;
    snprintf(o->cluster_name, sizeof(o->cluster_name), "%s", r->cluster_name);
    snprintf(o->node_name, sizeof(o->node_name), "%s", r->node_name);
    c->meta.key_start = request->key_start;
    c->meta.key_end = request->key_end;
    snprintf(c->meta.comparator, sizeof(c->meta.comparator), "%s", SNAPSHOT_COMPARATOR);
    latest_read_start(&c->read, r, request->partition_id, looked);
    return c;
}
