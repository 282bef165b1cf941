/* The local key-value provider: see kv_local.h. One batch is in progress at a time; what it changes becomes
 * visible to reads, and is answered, after it was synced. */
#include "metadata/kv_local.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "metadata/kv_file.h"
#include "metadata/kv_table.h"

#define REWRITE_MIN_BYTES (256u << 10) /* below this size a file is never rewritten */
#define REWRITE_FACTOR    4u           /* rewritten when this many times larger than the live entries */
#define BATCH_MAX_BYTES   (16u << 20)

struct kv_local {
    struct kv base;
    struct env *env;
    struct loop *loop;
    struct kv_file *file;
    struct kv_table table;
    size_t rewrite_above; /* not rewritten below this size: a rewrite that failed is not repeated at once */
    struct list queue;    /* submitted, in order */
    struct list batch;    /* being written */
    struct env_task work_task;
    struct loop_work work;
    struct writer body;
    bool rewriting, busy, closing;
    enum rc work_rc;
    struct err work_err;
};

static void replay(void *ctx, const struct kv_file_op *op)
{
    struct kv_local *kv = ctx;
    if (op->kind == KV_FILE_PUT)
        kv_table_put(&kv->table, op->key, bytes_copy(op->value), op->version);
    else
        kv_table_delete(&kv->table, op->key);
}

/* ---- answering ---- */

static void answer(struct kv_op *op, enum rc rc, const char *message)
{
    struct kv_result r = {.rc = rc, .message = message};
    bytes_unref(&op->value);
    op->done(op, &r);
}

static void answer_get(struct kv_local *kv, struct kv_op *op)
{
    struct kv_result r = {.rc = RC_NOT_FOUND, .message = ""};
    if (kv_table_get(&kv->table, op->key, &r.entry))
        r.rc = RC_OK;
    op->done(op, &r);
}

static void answer_list(struct kv_local *kv, struct kv_op *op)
{
    struct {
        struct kv_entry *items;
        size_t len, cap;
    } found = {0};
    struct kv_entry e;
    for (struct kv_cursor c = kv_table_seek(&kv->table, op->key); kv_cursor_next(&c, &e);) {
        if (!slice_starts_with(e.key, op->key))
            break;
        VEC_PUSH(&found, e);
    }
    struct kv_result r = {.rc = RC_OK, .message = "", .entries = found.items, .n_entries = found.len};
    op->done(op, &r);
    VEC_FREE(&found);
}

/* RC_OK if the write may be done against the entries as they are. */
static enum rc judge(struct kv_local *kv, const struct kv_op *op, const char **message)
{
    struct kv_write w = {op->kind == KV_PUT,   op->precondition, op->version,
                         op->expected_version, op->key,          bytes_slice(op->value)};
    return kv_table_judge(&kv->table, &w, message);
}

/* ---- batches ---- */

static bool in_batch(struct kv_local *kv, struct slice key)
{
    LIST_FOREACH(n, &kv->batch)
    if (slice_eq(CONTAINER_OF(n, struct kv_op, link)->key, key))
        return true;
    return false;
}

/* Move writes from the queue to the batch, answering reads and refused writes on the way, until one depends
 * on the batch. */
static void collect(struct kv_local *kv)
{
    LIST_FOREACH_SAFE(n, next, &kv->queue)
    {
        struct kv_op *op = CONTAINER_OF(n, struct kv_op, link);
        const char *message;
        if (op->kind == KV_PUT || op->kind == KV_DELETE) {
            if (kv->busy || in_batch(kv, op->key) || kv->body.len > BATCH_MAX_BYTES)
                return;
            enum rc rc = judge(kv, op, &message);
            list_remove(n);
            if (rc) {
                answer(op, rc, message);
                continue;
            }
            struct kv_file_op fop = {op->kind == KV_PUT ? KV_FILE_PUT : KV_FILE_DELETE, op->version, op->key,
                                     bytes_slice(op->value)};
            kv_file_op_write(&kv->body, &fop);
            list_push_back(&kv->batch, n);
        } else {
            list_remove(n);
            if (op->kind == KV_GET)
                answer_get(kv, op);
            else
                answer_list(kv, op);
        }
    }
}

static void work_run(struct loop_work *w)
{
    struct kv_local *kv = CONTAINER_OF(w, struct kv_local, work);
    kv->work_err = (struct err){0};
    kv->work_rc = kv->rewriting ? kv_file_rewrite(kv->file, writer_slice(&kv->body), &kv->work_err)
                                : kv_file_append(kv->file, writer_slice(&kv->body), &kv->work_err);
}

static void free_all(struct kv_local *kv)
{
    kv_table_free(&kv->table);
    writer_free(&kv->body);
    if (kv->file)
        kv_file_close(kv->file);
    free(kv);
}

static void finish_closing(struct kv_local *kv)
{
    struct list *n;
    while ((n = list_pop_front(&kv->queue)))
        answer(CONTAINER_OF(n, struct kv_op, link), RC_CLOSED, "the metadata store was closed");
    free_all(kv);
}

static void work_done(struct loop_work *w)
{
    struct kv_local *kv = CONTAINER_OF(w, struct kv_local, work);
    kv->busy = false;
    writer_reset(&kv->body);
    if (kv->work_rc)
        LOG0(LOG_ERROR, "restate_metadata_store", "%s", kv->work_err.msg);
    struct list *n;
    struct list batch;
    list_init(&batch);
    list_splice(&batch, &kv->batch);
    /* All changes first: whoever is answered sees the whole batch. */
    if (!kv->work_rc)
        LIST_FOREACH(pos, &batch)
        {
            struct kv_op *op = CONTAINER_OF(pos, struct kv_op, link);
            if (op->kind == KV_PUT) {
                kv_table_put(&kv->table, op->key, op->value, op->version);
                op->value = BYTES_EMPTY;
            } else {
                kv_table_delete(&kv->table, op->key);
            }
        }
    while ((n = list_pop_front(&batch)))
        answer(CONTAINER_OF(n, struct kv_op, link), kv->work_rc, kv->work_err.msg);
    if (kv->rewriting && !kv->work_rc)
        kv->rewrite_above = REWRITE_MIN_BYTES;
    kv->rewriting = false;
    if (kv->closing)
        finish_closing(kv);
    else
        env_defer(kv->env, &kv->work_task);
}

static void start_work(struct kv_local *kv)
{
    kv->busy = true;
    if (kv->loop) {
        loop_work_submit(kv->loop, &kv->work);
        return;
    }
    work_run(&kv->work);
    work_done(&kv->work);
}

static void start_rewrite(struct kv_local *kv)
{
    struct kv_entry e;
    for (struct kv_cursor c = kv_table_seek(&kv->table, SLICE_EMPTY); kv_cursor_next(&c, &e);) {
        struct kv_file_op op = {KV_FILE_PUT, e.version, e.key, bytes_slice(e.value)};
        kv_file_op_write(&kv->body, &op);
    }
    kv->rewriting = true;
    kv->rewrite_above = kv_file_size(kv->file) + REWRITE_MIN_BYTES;
    start_work(kv);
}

static void run(struct env_task *t)
{
    struct kv_local *kv = CONTAINER_OF(t, struct kv_local, work_task);
    collect(kv);
    if (kv->busy)
        return;
    size_t size = kv_file_size(kv->file);
    if (list_empty(&kv->batch) && size > kv->rewrite_above && size / REWRITE_FACTOR > kv->table.bytes)
        start_rewrite(kv);
    else if (!list_empty(&kv->batch))
        start_work(kv);
}

static void local_submit(struct kv *base, struct kv_op *op)
{
    struct kv_local *kv = CONTAINER_OF(base, struct kv_local, base);
    ASSERT(!kv->closing);
    list_push_back(&kv->queue, &op->link);
    env_defer(kv->env, &kv->work_task);
}

static void local_close(struct kv *base)
{
    struct kv_local *kv = CONTAINER_OF(base, struct kv_local, base);
    ASSERT(!kv->closing);
    kv->closing = true;
    env_undefer(&kv->work_task);
    if (!kv->busy)
        finish_closing(kv);
}

enum rc kv_local_open(struct env *env, struct loop *loop, const char *dir, struct kv **out, struct err *err)
{
    static const struct kv_provider provider = {local_submit, local_close};
    if (mkdir(dir, 0755) && errno != EEXIST)
        return err_set_errno(err, RC_IO, errno, "cannot create %s", dir);
    struct kv_local *kv = xcalloc(1, sizeof(*kv));
    kv->base.provider = &provider;
    kv->env = env;
    kv->loop = loop;
    kv->rewrite_above = REWRITE_MIN_BYTES;
    kv_table_init(&kv->table);
    list_init(&kv->queue);
    list_init(&kv->batch);
    env_task_init(&kv->work_task, run);
    kv->work.work = work_run;
    kv->work.done = work_done;
    enum rc rc = kv_file_open(dir, replay, kv, &kv->file, err);
    if (rc) {
        free_all(kv);
        return rc;
    }
    *out = &kv->base;
    return RC_OK;
}
