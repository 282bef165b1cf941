/* Import of a partition (partition/snapshot.h). The first batch drops the old rows and leaves a mark; the
 * variables, which make a partition of the rows, are held back and written by the last one, which takes the
 * mark away. */
#include "partition/snapshot.h"
#include "partition/store_internal.h"

#define IMPORT_BATCH_BYTES (1u << 20)

struct store_import {
    struct kv_backend *kv;
    struct job_runner *jobs;
    uint16_t partition_id;
    lsn_t lsn;
    uint32_t next_index;
    bool busy, begun;
    struct bytes vars; /* held back until the commit */
    struct err err;
    store_import_done done;
    void *ctx;

    struct bytes file; /* being imported */
    struct snapshot_reader reader;
    bool file_end;
    struct kv_batch *batch;
    struct job job;
};

/* ---- looking at a closed partition ---- */

static enum rc get_row(struct kv_backend *b, uint16_t partition_id, enum store_table table, struct bytes *out,
                       struct err *err)
{
    struct writer key = WRITER_INIT;
    key_begin(&key, partition_id, table);
    enum rc rc = b->ops->get(b, writer_slice(&key), out, err);
    writer_free(&key);
    return rc;
}

enum rc store_peek_applied(struct kv_backend *b, uint16_t partition_id, lsn_t *applied, bool *unfinished,
                           struct err *err)
{
    struct bytes value = BYTES_EMPTY;
    *applied = 0;
    *unfinished = false;
    enum rc rc = get_row(b, partition_id, TABLE_IMPORT, &value, err);
    bytes_unref(&value);
    if (rc != RC_NOT_FOUND) {
        *unfinished = rc == RC_OK;
        return rc;
    }
    rc = get_row(b, partition_id, TABLE_VARS, &value, err);
    if (rc != RC_OK)
        return rc == RC_NOT_FOUND ? RC_OK : rc;
    struct stored_vars v;
    if (stored_vars_decode(bytes_slice(value), &v))
        *applied = v.vars.applied_lsn;
    else
        rc = err_set(err, RC_CORRUPT, "the variables of partition %u cannot be decoded",
                     (unsigned)partition_id);
    bytes_unref(&value);
    return rc;
}

/* The partition may begin again at an earlier record time: nothing may be reclaimed by the old one. */
static void batch_drop_rows(struct kv_backend *b, struct kv_batch *w, uint16_t partition_id)
{
    if (b->ops->set_watermark)
        b->ops->set_watermark(b, partition_id, 0);
    struct writer from = WRITER_INIT, to = WRITER_INIT;
    write_u16be(&from, partition_id);
    write_u16be(&to, partition_id);
    write_u8(&to, 0xff);
    b->ops->batch_delete_range(w, writer_slice(&from), writer_slice(&to));
    writer_free(&from);
    writer_free(&to);
}

/* ---- dropping ---- */

struct drop {
    struct kv_backend *kv;
    store_import_done done;
    void *ctx;
};

static void drop_finish(struct drop *d, enum rc rc)
{
    struct err err = {0};
    if (rc != RC_OK)
        err_set(&err, rc, "dropping the rows of a partition failed: %s", rc_name(rc));
    d->done(d->ctx, rc == RC_OK ? NULL : &err);
    free(d);
}

static void drop_synced(void *ctx, enum rc rc)
{
    drop_finish(ctx, rc);
}

static void drop_written(void *ctx, enum rc rc)
{
    struct drop *d = ctx;
    if (rc == RC_OK)
        d->kv->ops->sync(d->kv, drop_synced, d);
    else
        drop_finish(d, rc);
}

void store_drop(struct kv_backend *b, uint16_t partition_id, store_import_done done, void *ctx)
{
    struct drop *d = xcalloc(1, sizeof(*d));
    *d = (struct drop){b, done, ctx};
    struct kv_batch *w = b->ops->batch_new(b);
    batch_drop_rows(b, w, partition_id);
    b->ops->batch_write(b, w, drop_written, d);
}

/* ---- import ---- */

struct store_import *store_import_new(struct kv_backend *b, struct job_runner *jobs, uint16_t partition_id,
                                      lsn_t lsn)
{
    struct store_import *i = xcalloc(1, sizeof(*i));
    i->kv = b;
    i->jobs = jobs;
    i->partition_id = partition_id;
    i->lsn = lsn;
    return i;
}

static void finish(struct store_import *i)
{
    i->busy = false;
    i->done(i->ctx, i->err.rc == RC_OK ? NULL : &i->err);
}

static void call_begin(struct store_import *i, store_import_done done, void *ctx)
{
    ASSERT(!i->busy && i->err.rc == RC_OK);
    i->busy = true;
    i->done = done;
    i->ctx = ctx;
}

static void write_failed(struct store_import *i, enum rc rc)
{
    err_set(&i->err, rc, "writing the rows of partition %u failed: %s", (unsigned)i->partition_id,
            rc_name(rc));
    finish(i);
}

static void begun(void *ctx, enum rc rc)
{
    struct store_import *i = ctx;
    if (rc != RC_OK) {
        write_failed(i, rc);
        return;
    }
    i->begun = true;
    finish(i);
}

/* Refusals come through a job: callbacks never run from inside. */
static void nothing(struct job *j) {}

static void refused(struct job *j)
{
    finish(CONTAINER_OF(j, struct store_import, job));
}

void store_import_begin(struct store_import *i, store_import_done done, void *ctx)
{
    call_begin(i, done, ctx);
    lsn_t applied;
    bool unfinished;
    if (store_peek_applied(i->kv, i->partition_id, &applied, &unfinished, &i->err) == RC_OK &&
        applied > i->lsn)
        err_set(&i->err, RC_CONFLICT,
                "the snapshot is at LSN %llu, but partition %u has applied LSN %llu already",
                (unsigned long long)i->lsn, (unsigned)i->partition_id, (unsigned long long)applied);
    if (i->err.rc != RC_OK) {
        i->job = (struct job){.work = nothing, .done = refused};
        job_submit(i->jobs, &i->job);
        return;
    }
    const struct kv_backend_ops *ops = i->kv->ops;
    struct kv_batch *w = ops->batch_new(i->kv);
    batch_drop_rows(i->kv, w, i->partition_id);
    struct writer key = WRITER_INIT;
    key_begin(&key, i->partition_id, TABLE_IMPORT);
    ops->batch_put(w, writer_slice(&key), SLICE_LIT("\x01"));
    writer_free(&key);
    ops->batch_write(i->kv, w, begun, i);
}

/* ---- files: a job fills a batch, the loop hands it to the backend ---- */

static enum rc add_row(struct store_import *i, struct writer *key, struct slice suffix, struct slice value,
                       struct err *err)
{
    if (suffix.ptr[0] < TABLE_VARS || suffix.ptr[0] > TABLE_LAST)
        return err_set(err, RC_UNSUPPORTED,
                       "the snapshot has rows of table %u, which this version does not know",
                       (unsigned)suffix.ptr[0]);
    if (suffix.ptr[0] == TABLE_VARS) {
        bytes_unref(&i->vars);
        i->vars = bytes_copy(value);
        return RC_OK;
    }
    writer_reset(key);
    write_u16be(key, i->partition_id);
    write_slice_raw(key, suffix);
    i->kv->ops->batch_put(i->batch, writer_slice(key), value);
    return RC_OK;
}

static void fill_batch(struct job *j)
{
    struct store_import *i = CONTAINER_OF(j, struct store_import, job);
    struct writer key = WRITER_INIT;
    struct slice suffix, value;
    enum rc rc = RC_OK;
    while (rc == RC_OK && i->kv->ops->batch_bytes(i->batch) < IMPORT_BATCH_BYTES) {
        rc = snapshot_reader_next(&i->reader, &suffix, &value, &i->err);
        if (rc == RC_OK)
            rc = add_row(i, &key, suffix, value, &i->err);
    }
    i->file_end = rc == RC_EOF;
    writer_free(&key);
}

static void next_batch(struct store_import *i);

static void file_finish(struct store_import *i)
{
    snapshot_reader_close(&i->reader);
    bytes_unref(&i->file);
    finish(i);
}

static void batch_written(void *ctx, enum rc rc)
{
    struct store_import *i = ctx;
    if (rc != RC_OK)
        err_set(&i->err, rc, "writing the rows of partition %u failed: %s", (unsigned)i->partition_id,
                rc_name(rc));
    if (i->err.rc != RC_OK || i->file_end)
        file_finish(i);
    else
        next_batch(i);
}

static void batch_filled(struct job *j)
{
    struct store_import *i = CONTAINER_OF(j, struct store_import, job);
    struct kv_batch *w = i->batch;
    i->batch = NULL;
    i->kv->ops->batch_write(i->kv, w, batch_written, i); /* also after an error: nothing of it is visible */
}

static void next_batch(struct store_import *i)
{
    i->batch = i->kv->ops->batch_new(i->kv);
    i->job = (struct job){.work = fill_batch, .done = batch_filled};
    job_submit(i->jobs, &i->job);
}

void store_import_file(struct store_import *i, struct bytes file_take, store_import_done done, void *ctx)
{
    ASSERT(i->begun);
    call_begin(i, done, ctx);
    i->file = file_take;
    i->file_end = false;
    if (snapshot_reader_open(&i->reader, bytes_slice(i->file), &i->err) == RC_OK &&
        (i->reader.partition_id != i->partition_id || i->reader.lsn != i->lsn ||
         i->reader.index != i->next_index))
        err_set(&i->err, RC_CORRUPT, "snapshot file: it is not the file it should be");
    i->next_index++;
    if (i->err.rc == RC_OK) {
        next_batch(i);
        return;
    }
    snapshot_reader_close(&i->reader);
    bytes_unref(&i->file);
    i->job = (struct job){.work = nothing, .done = refused};
    job_submit(i->jobs, &i->job);
}

/* ---- commit ---- */

static void committed(void *ctx, enum rc rc)
{
    struct store_import *i = ctx;
    if (rc != RC_OK)
        write_failed(i, rc);
    else
        finish(i);
}

static void commit_written(void *ctx, enum rc rc)
{
    struct store_import *i = ctx;
    if (rc != RC_OK)
        write_failed(i, rc);
    else
        i->kv->ops->sync(i->kv, committed, i);
}

void store_import_commit(struct store_import *i, store_import_done done, void *ctx)
{
    ASSERT(i->begun);
    call_begin(i, done, ctx);
    struct stored_vars v;
    if (!i->vars.ptr || !stored_vars_decode(bytes_slice(i->vars), &v))
        err_set(&i->err, RC_CORRUPT, "the snapshot has no variables of the partition");
    else if (v.vars.applied_lsn != i->lsn)
        err_set(&i->err, RC_CORRUPT, "the snapshot is at LSN %llu, but its rows are of LSN %llu",
                (unsigned long long)i->lsn, (unsigned long long)v.vars.applied_lsn);
    if (i->err.rc != RC_OK) {
        i->job = (struct job){.work = nothing, .done = refused};
        job_submit(i->jobs, &i->job);
        return;
    }
    const struct kv_backend_ops *ops = i->kv->ops;
    struct kv_batch *w = ops->batch_new(i->kv);
    struct writer key = WRITER_INIT;
    key_begin(&key, i->partition_id, TABLE_VARS);
    ops->batch_put(w, writer_slice(&key), bytes_slice(i->vars));
    key_begin(&key, i->partition_id, TABLE_IMPORT);
    ops->batch_delete(w, writer_slice(&key));
    writer_free(&key);
    ops->batch_write(i->kv, w, commit_written, i);
}

void store_import_free(struct store_import *i)
{
    ASSERT(!i->busy);
    bytes_unref(&i->vars);
    free(i);
}
