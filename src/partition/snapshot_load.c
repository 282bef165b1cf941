/* Loading a snapshot (partition/snapshot_repository.h, spec/cluster.md §6.3, B3): candidates newest first;
 * each is downloaded to the scratch space and verified completely before the partition is touched.
 *
 * A file that is not there may have been pruned under our eyes (TR-11): then latest.json is read again. When
 * all that it names is of no use, or it is damaged itself, whatever else lies in the partition's directory is
 * tried. */
#include "partition/snapshot_internal.h"

#define PARALLEL  4u /* files in memory at a time */
#define READS_MAX 4u /* of latest.json */

struct fetch {
    struct snapshot_load *load;
    struct object_op op;
    struct job job;
    size_t index;
    char key[SNAPSHOT_KEY_MAX];
    struct bytes content;
    enum rc rc;
    struct err err;
};

struct snapshot_load {
    struct list link;
    struct snapshot_repository *repository;
    struct snapshot_load_request request;
    snapshot_load_done done;
    void *ctx;
    bool canceled, listed;
    struct err err, last; /* last: why the candidate before was of no use */

    struct latest_read read;
    char latest_etag[OBJECT_ETAG_MAX];
    unsigned reads;
    struct {
        struct snapshot_ref *items; /* newest first */
        size_t len, cap;
    } candidates, tried;
    size_t next_candidate;

    struct snapshot_ref ref; /* being tried */
    struct snapshot_metadata meta;
    struct object_op op;
    char key[SNAPSHOT_KEY_MAX];
    struct fetch fetches[PARALLEL];
    size_t next_file, fetching;
    size_t scratch_files;  /* at most so many are in the scratch space */
    bool missing, damaged; /* the candidate is pruned or partial; cannot be used */

    struct store_import *import;
    size_t next_import;
};

static void try_next(struct snapshot_load *l);
static void look(struct snapshot_load *l);

/* ---- ends ---- */

static void scratch_key(const struct snapshot_load *l, size_t index, char out[SNAPSHOT_KEY_MAX])
{
    snprintf(out, SNAPSHOT_KEY_MAX, "%u/%06zu", (unsigned)l->request.partition_id, index);
}

static void load_free(struct snapshot_load *l)
{
    struct snapshot_repository *r = l->repository;
    object_op_release(&l->op);
    snapshot_metadata_free(&l->meta);
    VEC_FREE(&l->candidates);
    VEC_FREE(&l->tried);
    list_remove(&l->link);
    free(l);
    repository_end(r);
}

static void clean_next(struct object_op *op)
{
    struct snapshot_load *l = CONTAINER_OF(op, struct snapshot_load, op);
    if (l->scratch_files == 0 || l->repository->closing) { /* what is left is removed at the next start */
        bool ok = l->err.rc == RC_OK;
        l->done(l->ctx, ok ? &l->ref : NULL, ok ? NULL : &l->err);
        load_free(l);
        return;
    }
    scratch_key(l, --l->scratch_files, l->key);
    l->op.kind = OBJECT_DELETE;
    l->op.key = l->key;
    l->op.done = clean_next;
    repository_submit(l->repository, l->repository->scratch, &l->op);
}

static void finish(struct snapshot_load *l)
{
    if (l->import)
        store_import_free(l->import);
    l->import = NULL;
    clean_next(&l->op);
}

static void fail(struct snapshot_load *l, const struct err *err)
{
    l->err = *err;
    finish(l);
}

static bool stopped(struct snapshot_load *l)
{
    if (!l->canceled)
        return false;
    struct err err = {0};
    err_set(&err, RC_CANCELED, "loading the snapshot was canceled");
    fail(l, &err);
    return true;
}

/* ---- import ---- */

static void import_committed(void *ctx, const struct err *err)
{
    struct snapshot_load *l = ctx;
    if (err)
        fail(l, err);
    else
        finish(l);
}

static void import_next(struct snapshot_load *l);

static void file_imported(void *ctx, const struct err *err)
{
    struct snapshot_load *l = ctx;
    if (err)
        fail(l, err);
    else
        import_next(l);
}

static void scratch_read(struct object_op *op)
{
    struct snapshot_load *l = CONTAINER_OF(op, struct snapshot_load, op);
    struct bytes content = op->content;
    op->content = BYTES_EMPTY;
    if (op->rc != RC_OK) {
        bytes_unref(&content);
        fail(l, &op->err);
        return;
    }
    store_import_file(l->import, content, file_imported, l);
}

static void import_next(struct snapshot_load *l)
{
    if (stopped(l))
        return;
    size_t i = l->next_import;
    if (i == l->meta.files.len) {
        store_import_commit(l->import, import_committed, l);
        return;
    }
    l->next_import++;
    scratch_key(l, i, l->key);
    l->op.kind = OBJECT_GET;
    l->op.key = l->key;
    l->op.max_bytes = SNAPSHOT_FILE_MAX;
    l->op.done = scratch_read;
    repository_submit(l->repository, l->repository->scratch, &l->op);
}

static void import_begun(void *ctx, const struct err *err)
{
    struct snapshot_load *l = ctx;
    if (err) {
        fail(l, err);
        return;
    }
    import_next(l);
}

static void import_begin(struct snapshot_load *l)
{
    if (stopped(l))
        return;
    l->import = store_import_new(l->request.kv, l->repository->jobs, l->request.partition_id, l->ref.lsn);
    store_import_begin(l->import, import_begun, l);
}

/* ---- one candidate ---- */

/* Of no use: say why, and go on. */
static void skip(struct snapshot_load *l, const struct err *err)
{
    l->last = *err;
    LOG0(LOG_WARN, SNAPSHOT_LOG, "snapshot %s of partition %u in %s cannot be used: %s", l->ref.path,
         (unsigned)l->request.partition_id, l->repository->place, err->msg);
    if (l->missing && l->reads < READS_MAX)
        look(l);
    else
        try_next(l);
}

/* Is it a property of this snapshot, so that another one may do? */
static bool concerns_candidate(enum rc rc)
{
    return rc == RC_NOT_FOUND || rc == RC_CORRUPT || rc == RC_UNSUPPORTED || rc == RC_TOO_LARGE ||
           rc == RC_CONFLICT;
}

static void fetch_start(struct fetch *f);

/* The last of the fetches under way has ended. */
static void fetched_all(struct snapshot_load *l)
{
    if (stopped(l))
        return;
    const struct fetch *failed = NULL;
    for (size_t i = 0; i < PARALLEL; i++) {
        const struct fetch *f = &l->fetches[i];
        if (f->rc != RC_OK && (!failed || (concerns_candidate(failed->rc) && !concerns_candidate(f->rc))))
            failed = f;
    }
    if (!failed) {
        import_begin(l);
        return;
    }
    struct err err = failed->err;
    if (!concerns_candidate(failed->rc)) {
        fail(l, &err);
        return;
    }
    l->missing = failed->rc == RC_NOT_FOUND;
    skip(l, &err);
}

static void fetch_end(struct fetch *f)
{
    struct snapshot_load *l = f->load;
    bytes_unref(&f->content);
    l->damaged = l->damaged || f->rc != RC_OK;
    if (l->next_file < l->meta.files.len && !l->damaged && !l->canceled) {
        fetch_start(f);
        return;
    }
    if (--l->fetching == 0)
        fetched_all(l);
}

static void fetch_stored(struct object_op *op)
{
    struct fetch *f = CONTAINER_OF(op, struct fetch, op);
    f->rc = op->rc;
    f->err = op->err;
    fetch_end(f);
}

static void check_work(struct job *j)
{
    struct fetch *f = CONTAINER_OF(j, struct fetch, job);
    const struct snapshot_file_entry *e = &f->load->meta.files.items[f->index];
    struct slice content = bytes_slice(f->content);
    uint64_t rows;
    if (content.len != e->size)
        f->rc = err_set(&f->err, RC_CORRUPT, "file %s has %zu bytes instead of %llu", e->name, content.len,
                        (unsigned long long)e->size);
    else if (hash64(content) != e->checksum)
        f->rc = err_set(&f->err, RC_CORRUPT, "the checksum of file %s is wrong", e->name);
    else
        f->rc = snapshot_file_verify(content, f->load->request.partition_id, f->load->ref.lsn,
                                     (uint32_t)f->index, &rows, &f->err);
}

static void checked(struct job *j)
{
    struct fetch *f = CONTAINER_OF(j, struct fetch, job);
    if (f->rc != RC_OK) {
        fetch_end(f);
        return;
    }
    scratch_key(f->load, f->index, f->key);
    f->op.kind = OBJECT_PUT;
    f->op.key = f->key;
    f->op.body = f->content;
    f->op.condition = OBJECT_ANY;
    f->op.done = fetch_stored;
    repository_submit(f->load->repository, f->load->repository->scratch, &f->op);
}

static void fetched(struct object_op *op)
{
    struct fetch *f = CONTAINER_OF(op, struct fetch, op);
    f->rc = op->rc;
    f->err = op->err;
    f->content = op->content;
    op->content = BYTES_EMPTY;
    if (op->rc != RC_OK) {
        fetch_end(f);
        return;
    }
    f->job = (struct job){.work = check_work, .done = checked};
    job_submit(f->load->repository->jobs, &f->job);
}

static void fetch_start(struct fetch *f)
{
    struct snapshot_load *l = f->load;
    f->index = l->next_file++;
    l->scratch_files = MAX(l->scratch_files, l->next_file);
    const struct snapshot_file_entry *e = &l->meta.files.items[f->index];
    repository_key(l->repository, l->request.partition_id, l->ref.path, e->name, f->key);
    f->op.kind = OBJECT_GET;
    f->op.key = f->key;
    f->op.body = BYTES_EMPTY;
    f->op.max_bytes = MIN(e->size, SNAPSHOT_FILE_MAX);
    f->op.done = fetched;
    repository_submit(l->repository, l->repository->store, &f->op);
}

static void fetch_all(struct snapshot_load *l)
{
    l->next_file = 0;
    l->damaged = false;
    l->fetching = MIN(PARALLEL, l->meta.files.len);
    for (size_t i = 0; i < PARALLEL; i++)
        l->fetches[i] = (struct fetch){.load = l};
    for (size_t i = 0, n = l->fetching; i < n; i++)
        fetch_start(&l->fetches[i]);
}

static enum rc check_metadata(struct snapshot_load *l, struct slice text, struct err *err)
{
    enum rc rc = snapshot_metadata_decode(text, &l->meta, err);
    if (rc != RC_OK)
        return rc;
    rc = repository_check_owner(l->repository, &l->meta.owner, l->request.partition_id, "metadata.json", err);
    if (rc == RC_OK && (l->meta.ref.lsn != l->ref.lsn || strcmp(l->meta.ref.id, l->ref.id) != 0))
        rc = err_set(err, RC_CORRUPT, "its metadata.json is that of snapshot %s at LSN %llu", l->meta.ref.id,
                     (unsigned long long)l->meta.ref.lsn);
    return rc;
}

static void metadata_read(struct object_op *op)
{
    struct snapshot_load *l = CONTAINER_OF(op, struct snapshot_load, op);
    struct err err = op->err;
    enum rc rc = op->rc;
    if (rc == RC_OK)
        rc = check_metadata(l, bytes_slice(op->content), &err);
    object_op_release(op);
    if (stopped(l))
        return;
    if (rc == RC_OK) {
        fetch_all(l);
    } else if (concerns_candidate(rc)) {
        l->missing = rc == RC_NOT_FOUND;
        skip(l, &err);
    } else {
        fail(l, &err);
    }
}

static void try_candidate(struct snapshot_load *l, const struct snapshot_ref *ref)
{
    l->ref = *ref;
    l->missing = false;
    VEC_PUSH(&l->tried, *ref);
    snapshot_metadata_free(&l->meta);
    l->meta = (struct snapshot_metadata){0};
    repository_key(l->repository, l->request.partition_id, l->ref.path, "/metadata.json", l->key);
    l->op.kind = OBJECT_GET;
    l->op.key = l->key;
    l->op.max_bytes = METADATA_MAX;
    l->op.done = metadata_read;
    repository_submit(l->repository, l->repository->store, &l->op);
}

/* ---- candidates ---- */

static bool was_tried(const struct snapshot_load *l, const char *path)
{
    for (size_t i = 0; i < l->tried.len; i++) {
        if (strcmp(l->tried.items[i].path, path) == 0)
            return true;
    }
    return false;
}

static int newest_first(const void *a, const void *b)
{
    const struct snapshot_ref *x = a, *y = b;
    if (x->lsn != y->lsn)
        return x->lsn > y->lsn ? -1 : 1;
    return strcmp(x->path, y->path);
}

/* "<dir>/metadata.json" below the partition's directory names a snapshot. */
static bool ref_of_key(const struct snapshot_load *l, const char *key, struct snapshot_ref *ref)
{
    struct slice rest = slice_cstr(key + strlen(l->key));
    if (!slice_ends_with(rest, SLICE_LIT("/metadata.json")))
        return false;
    struct slice dir = slice_sub(rest, 0, rest.len - strlen("/metadata.json"));
    *ref = (struct snapshot_ref){0};
    if (dir.len >= sizeof(ref->path) || slice_find(dir, '/', 0) >= 0 || !snapshot_path_lsn(dir, &ref->lsn) ||
        dir.len - 25 >= sizeof(ref->id))
        return false;
    memcpy(ref->path, dir.ptr, dir.len);
    memcpy(ref->id, dir.ptr + 25, dir.len - 25);
    return true;
}

static void listed(struct object_op *op)
{
    struct snapshot_load *l = CONTAINER_OF(op, struct snapshot_load, op);
    if (op->rc != RC_OK) {
        struct err err = op->err;
        fail(l, &err);
        return;
    }
    l->candidates.len = l->next_candidate = 0;
    for (size_t i = 0; i < op->listed.len; i++) {
        struct snapshot_ref ref;
        if (ref_of_key(l, op->listed.items[i].key, &ref))
            VEC_PUSH(&l->candidates, ref);
    }
    object_op_release(op);
    if (l->candidates.len)
        qsort(l->candidates.items, l->candidates.len, sizeof(*l->candidates.items), newest_first);
    try_next(l);
}

static void list_all(struct snapshot_load *l)
{
    l->listed = true;
    repository_key(l->repository, l->request.partition_id, "", "", l->key);
    l->op.kind = OBJECT_LIST;
    l->op.key = l->key;
    l->op.done = listed;
    repository_submit(l->repository, l->repository->store, &l->op);
}

static void try_next(struct snapshot_load *l)
{
    if (stopped(l))
        return;
    while (l->next_candidate < l->candidates.len) {
        const struct snapshot_ref *ref = &l->candidates.items[l->next_candidate++];
        if (ref->lsn >= l->request.min_lsn && !was_tried(l, ref->path)) {
            try_candidate(l, ref);
            return;
        }
    }
    if (!l->listed) {
        list_all(l);
        return;
    }
    struct err err = l->last;
    err_prefix(&err, "no snapshot of partition %u in %s can be used: ", (unsigned)l->request.partition_id,
               l->repository->place);
    if (err.rc == RC_OK || err.rc == RC_NOT_FOUND)
        err.rc = RC_CORRUPT;
    fail(l, &err);
}

static void latest_known(struct latest_read *read)
{
    struct snapshot_load *l = CONTAINER_OF(read, struct snapshot_load, read);
    bool changed = l->reads == 1 || strcmp(l->latest_etag, read->etag) != 0;
    memcpy(l->latest_etag, read->etag, sizeof(l->latest_etag));
    struct err err = read->err;
    if (read->rc == RC_OK && changed) {
        VEC_FREE(&l->candidates);
        l->candidates.items = read->latest.retained.items;
        l->candidates.len = read->latest.retained.len;
        l->candidates.cap = read->latest.retained.cap;
        l->next_candidate = 0;
    } else if (read->rc == RC_OK) {
        snapshot_latest_free(&read->latest);
    }
    if (read->rc == RC_CORRUPT) {
        LOG0(LOG_WARN, SNAPSHOT_LOG, "partition %u in %s: %s; looking for snapshots without it",
             (unsigned)l->request.partition_id, l->repository->place, err.msg);
        l->last = err;
    } else if (read->rc != RC_OK) {
        fail(l, &err);
        return;
    }
    if (read->rc == RC_OK && l->candidates.len && l->candidates.items[0].lsn < l->request.min_lsn) {
        err_set(
            &err, RC_TRIMMED,
            "The latest available snapshot is from an LSN before the target LSN! snapshot %s is at LSN %llu, "
            "the log is trimmed to %llu",
            l->candidates.items[0].id, (unsigned long long)l->candidates.items[0].lsn,
            (unsigned long long)l->request.min_lsn);
        fail(l, &err);
        return;
    }
    try_next(l);
}

static void look(struct snapshot_load *l)
{
    l->reads++;
    latest_read_start(&l->read, l->repository, l->request.partition_id, latest_known);
}

void snapshot_load_cancel(struct snapshot_load *l)
{
    l->canceled = true;
}

void snapshot_load_close(struct list *link)
{
    snapshot_load_cancel(CONTAINER_OF(link, struct snapshot_load, link));
}

struct snapshot_load *snapshot_load_start(struct snapshot_repository *r,
                                          const struct snapshot_load_request *request,
                                          snapshot_load_done done, void *ctx)
{
    repository_begin(r);
    struct snapshot_load *l = xcalloc(1, sizeof(*l));
    l->repository = r;
    l->request = *request;
    l->done = done;
    l->ctx = ctx;
    list_push_back(&r->loads, &l->link);
    look(l);
    return l;
}
