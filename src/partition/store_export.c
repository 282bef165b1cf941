/* Export of a partition (partition/snapshot.h): a frozen view of the backend is read file by file on other
 * threads while the store goes on. What has expired by the record time of the view is left out, as the
 * compaction filter would. */
#include "partition/snapshot.h"
#include "partition/store_internal.h"

struct store_export {
    struct partition_store *store;
    struct job_runner *jobs;
    struct kv_view *view;
    uint16_t partition_id;
    struct store_point point;
    bool busy, at_end;
    _Atomic bool canceled;
    uint32_t next_index;
    struct bytes resume; /* the last key that was read; the next file begins behind it */
    void (*ready)(void *ctx, lsn_t lsn, const struct err *err);
    void (*done)(void *ctx, struct snapshot_file *file_take, const struct err *err);
    void *ctx;

    struct job job;
    struct snapshot_file file;
    struct err err;
};

void snapshot_file_release(struct snapshot_file *f)
{
    bytes_unref(&f->content);
    bytes_unref(&f->first_key);
    bytes_unref(&f->last_key);
}

/* An import of verified files must not find anything wrong any more: its old rows are gone by then. */
static enum rc verify_row(const struct snapshot_reader *r, struct slice key, struct slice value,
                          struct err *err)
{
    if (key.ptr[0] < TABLE_VARS || key.ptr[0] > TABLE_LAST)
        return err_set(err, RC_UNSUPPORTED,
                       "the snapshot has rows of table %u, which this version does not know",
                       (unsigned)key.ptr[0]);
    bool first = r->index == 0 && r->n_rows == 1;
    if (first != (key.ptr[0] == TABLE_VARS))
        return err_set(err, RC_CORRUPT, "the snapshot does not begin with the variables of the partition");
    struct stored_vars v;
    if (first && (!stored_vars_decode(value, &v) || v.vars.applied_lsn != r->lsn))
        return err_set(err, RC_CORRUPT, "the variables of the partition are not those of LSN %llu",
                       (unsigned long long)r->lsn);
    return RC_OK;
}

enum rc snapshot_file_verify(struct slice file, uint16_t partition_id, lsn_t lsn, uint32_t index,
                             uint64_t *rows, struct err *err)
{
    struct snapshot_reader r;
    enum rc rc = snapshot_reader_open(&r, file, err);
    if (rc == RC_OK && (r.partition_id != partition_id || r.lsn != lsn || r.index != index))
        rc =
            err_set(err, RC_CORRUPT,
                    "snapshot file: it is file %u of partition %u at LSN %llu, expected file %u of partition "
                    "%u at LSN %llu",
                    (unsigned)r.index, (unsigned)r.partition_id, (unsigned long long)r.lsn, (unsigned)index,
                    (unsigned)partition_id, (unsigned long long)lsn);
    struct slice key, value;
    while (rc == RC_OK) {
        rc = snapshot_reader_next(&r, &key, &value, err);
        if (rc == RC_OK)
            rc = verify_row(&r, key, value, err);
    }
    if (rc == RC_EOF && index == 0 && r.n_rows == 0)
        rc = err_set(err, RC_CORRUPT, "the snapshot has no variables of the partition");
    *rows = r.n_rows;
    snapshot_reader_close(&r);
    return rc == RC_EOF ? RC_OK : rc;
}

/* ---- the view ---- */

static enum rc view_point(struct store_export *e, struct err *err)
{
    const struct kv_backend_ops *ops = e->store->kv->ops;
    struct writer from = WRITER_INIT, to = WRITER_INIT;
    key_begin(&from, e->partition_id, TABLE_VARS);
    key_begin(&to, e->partition_id, TABLE_VARS + 1);
    struct kv_iter *it = ops->view_iter_new(e->view, writer_slice(&from), writer_slice(&to));
    struct slice key, value;
    struct stored_vars v = {0};
    enum rc rc = RC_OK;
    if (!ops->iter_next(it, &key, &value)) {
        rc = ops->view_iter_error(it, err);
        if (rc == RC_OK)
            rc = err_set(err, RC_NOT_FOUND, "partition %u has not applied anything yet", e->partition_id);
    } else if (!stored_vars_decode(value, &v)) {
        rc = err_set(err, RC_CORRUPT, "the variables of partition %u cannot be decoded", e->partition_id);
    }
    ops->iter_free(it);
    writer_free(&from);
    writer_free(&to);
    e->point = (struct store_point){.lsn = v.vars.applied_lsn, .time_ms = v.vars.applied_time_ms};
    return rc;
}

static void flushed(void *ctx, lsn_t durable)
{
    struct store_export *e = ctx;
    e->busy = false;
    const struct err *failure = store_failure(e->store);
    struct err err = {0};
    if (!failure && (e->store->abandoned || atomic_load(&e->canceled))) {
        err_set(&err, RC_CANCELED, "the partition is closing");
        failure = &err;
    }
    if (!failure) {
        /* Before the view is taken, so that nothing it shows can be reclaimed (README "Rules to keep"). */
        store_views_change(e->store, 1);
        e->view = e->store->kv->ops->view_new(e->store->kv);
        if (view_point(e, &err) != RC_OK)
            failure = &err;
    }
    e->ready(e->ctx, e->point.lsn, failure);
}

struct store_export *store_export_new(struct partition_store *s, struct job_runner *jobs,
                                      void (*ready)(void *ctx, lsn_t lsn, const struct err *err), void *ctx)
{
    struct store_export *e = xcalloc(1, sizeof(*e));
    e->store = s;
    e->jobs = jobs;
    e->partition_id = s->config.partition_id;
    e->ready = ready;
    e->ctx = ctx;
    e->busy = true;
    store_flush(s, flushed, e);
    return e;
}

/* ---- files, on another thread ---- */

static void add_row(struct store_export *e, struct snapshot_writer *w, struct slice key, struct slice value)
{
    struct slice short_key = slice_sub(key, 2, key.len - 2); /* without the partition id */
    size_t cut;
    enum row_fate fate =
        key.ptr[2] == TABLE_INVOCATION ? stored_fate(key, value, e->point.time_ms, &cut) : ROW_KEEP;
    if (fate == ROW_DROP)
        return;
    if (fate == ROW_CUT) {
        struct bytes shorter = bytes_copy(slice_sub(value, 0, cut));
        ((uint8_t *)shorter.ptr)[2] |= STORED_JOURNAL_GONE;
        snapshot_writer_add(w, short_key, bytes_slice(shorter));
        bytes_unref(&shorter);
    } else {
        snapshot_writer_add(w, short_key, value);
    }
    if (!e->file.first_key.ptr)
        e->file.first_key = bytes_copy(short_key);
}

static void begin_range(const struct store_export *e, struct writer *from, struct writer *to)
{
    if (e->resume.ptr) {
        write_slice_raw(from, bytes_slice(e->resume));
        write_u8(from, 0); /* the smallest key behind it */
    } else {
        key_begin(from, e->partition_id, TABLE_VARS);
    }
    write_u16be(to, e->partition_id);
    write_u8(to, 0xff);
}

/* Rows until the file is full. True: there are more behind it. */
static bool fill_file(struct store_export *e, struct kv_iter *it, struct snapshot_writer *w)
{
    const struct kv_backend_ops *ops = e->store->kv->ops;
    struct slice key, value;
    struct writer last = WRITER_INIT;
    bool more = ops->iter_next(it, &key, &value);
    while (more && !atomic_load_explicit(&e->canceled, memory_order_relaxed)) {
        add_row(e, w, key, value);
        writer_reset(&last);
        write_slice_raw(&last, key);
        more = ops->iter_next(it, &key, &value);
        if (snapshot_writer_size(w) >= SNAPSHOT_FILE_SIZE)
            break;
    }
    if (last.len) {
        bytes_unref(&e->resume);
        e->resume = writer_take(&last);
        e->file.last_key = bytes_copy(slice_sub(bytes_slice(e->resume), 2, e->resume.len - 2));
    }
    writer_free(&last);
    return more;
}

static void export_work(struct job *j)
{
    struct store_export *e = CONTAINER_OF(j, struct store_export, job);
    const struct kv_backend_ops *ops = e->store->kv->ops;
    struct writer from = WRITER_INIT, to = WRITER_INIT;
    begin_range(e, &from, &to);
    struct kv_iter *it = ops->view_iter_new(e->view, writer_slice(&from), writer_slice(&to));
    struct snapshot_writer w;
    snapshot_writer_begin(&w, e->partition_id, e->point.lsn, e->next_index);
    e->at_end = !fill_file(e, it, &w);
    ops->view_iter_error(it, &e->err);
    if (atomic_load(&e->canceled))
        err_set(&e->err, RC_CANCELED, "the export was broken off");
    e->file.rows = w.rows;
    e->file.index = e->next_index;
    if (e->err.rc == RC_OK)
        e->file.content = snapshot_writer_finish(&w);
    snapshot_writer_free(&w);
    ops->iter_free(it);
    writer_free(&from);
    writer_free(&to);
}

static void export_done(struct job *j)
{
    struct store_export *e = CONTAINER_OF(j, struct store_export, job);
    e->busy = false;
    struct snapshot_file file = e->file;
    e->file = (struct snapshot_file){0};
    e->next_index++;
    if (e->err.rc != RC_OK)
        snapshot_file_release(&file);
    e->done(e->ctx, e->err.rc == RC_OK ? &file : NULL, e->err.rc == RC_OK ? NULL : &e->err);
}

static void nothing(struct job *j) {}

static void export_ended(struct job *j)
{
    struct store_export *e = CONTAINER_OF(j, struct store_export, job);
    e->busy = false;
    e->done(e->ctx, NULL, NULL);
}

void store_export_next(struct store_export *e,
                       void (*done)(void *ctx, struct snapshot_file *file_take, const struct err *err),
                       void *ctx)
{
    ASSERT(e->view && !e->busy && e->err.rc == RC_OK);
    e->busy = true;
    e->done = done;
    e->ctx = ctx;
    e->job = e->at_end ? (struct job){.work = nothing, .done = export_ended}
                       : (struct job){.work = export_work, .done = export_done};
    job_submit(e->jobs, &e->job);
}

void store_export_cancel(struct store_export *e)
{
    atomic_store(&e->canceled, true);
}

void store_export_free(struct store_export *e)
{
    ASSERT(!e->busy);
    if (e->view) {
        e->store->kv->ops->view_free(e->view);
        store_views_change(e->store, -1);
    }
    bytes_unref(&e->resume);
    free(e);
}
