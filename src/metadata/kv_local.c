/* The local key-value provider: see kv_local.h. One batch is in progress at a time; what it changes becomes
 * visible to reads, and is answered, after it was synced. */
#include "metadata/kv_local.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "metadata/kv_file.h"

#define REWRITE_MIN_BYTES (256u << 10) /* below this size a file is never rewritten */
#define REWRITE_FACTOR    4u           /* rewritten when this many times larger than the live entries */
#define BATCH_MAX_BYTES   (16u << 20)

struct entry {
    struct omap_node node;
    struct slice key; /* heap */
    struct bytes value;
    uint32_t version;
};

struct kv_local {
    struct kv base;
    struct env *env;
    struct loop *loop;
    struct kv_file *file;
    struct omap entries;
    size_t live_bytes;
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

static int compare_entries(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(CONTAINER_OF(a, struct entry, node)->key, CONTAINER_OF(b, struct entry, node)->key);
}

static int compare_key(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, CONTAINER_OF(n, struct entry, node)->key);
}

static struct entry *find(struct kv_local *kv, struct slice key)
{
    struct omap_node *n = omap_find(&kv->entries, &key, compare_key);
    return n ? CONTAINER_OF(n, struct entry, node) : NULL;
}

static size_t entry_bytes(const struct entry *e)
{
    return e->key.len + e->value.len + 16;
}

static void remove_entry(struct kv_local *kv, struct entry *e)
{
    kv->live_bytes -= entry_bytes(e);
    omap_remove(&kv->entries, &e->node);
    free((void *)e->key.ptr);
    bytes_unref(&e->value);
    free(e);
}

static void store_entry(struct kv_local *kv, struct slice key, struct bytes value_take, uint32_t version)
{
    struct entry *e = find(kv, key);
    if (e) {
        kv->live_bytes -= entry_bytes(e);
        bytes_unref(&e->value);
    } else {
        e = xcalloc(1, sizeof(*e));
        e->key = slice_make(slice_dup_cstr(key), key.len);
        omap_insert(&kv->entries, &e->node);
    }
    e->value = value_take;
    e->version = version;
    kv->live_bytes += entry_bytes(e);
}

static void replay(void *ctx, const struct kv_file_op *op)
{
    struct kv_local *kv = ctx;
    if (op->kind == KV_FILE_PUT) {
        store_entry(kv, op->key, bytes_copy(op->value), op->version);
        return;
    }
    struct entry *e = find(kv, op->key);
    if (e)
        remove_entry(kv, e);
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
    struct entry *e = find(kv, op->key);
    struct kv_result r = {.rc = e ? RC_OK : RC_NOT_FOUND, .message = ""};
    if (e)
        r.entry = (struct kv_entry){e->key, e->value, e->version};
    op->done(op, &r);
}

static void answer_list(struct kv_local *kv, struct kv_op *op)
{
    struct {
        struct kv_entry *items;
        size_t len, cap;
    } found = {0};
    for (struct omap_node *n = omap_lower_bound(&kv->entries, &op->key, compare_key); n; n = omap_next(n)) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        if (!slice_starts_with(e->key, op->key))
            break;
        struct kv_entry item = {e->key, e->value, e->version};
        VEC_PUSH(&found, item);
    }
    struct kv_result r = {.rc = RC_OK, .message = "", .entries = found.items, .n_entries = found.len};
    op->done(op, &r);
    VEC_FREE(&found);
}

/* RC_OK if the write may be done against the entries as they are. */
static enum rc judge(struct kv_local *kv, const struct kv_op *op, const char **message)
{
    const struct entry *e = find(kv, op->key);
    *message = "";
    if (op->key.len == 0 || op->key.len > KV_KEY_MAX) {
        *message = "a metadata key has 1 to 512 bytes";
        return RC_INVALID;
    }
    if (op->value.len > KV_VALUE_MAX) {
        *message = "the metadata value is larger than 8 MiB";
        return RC_TOO_LARGE;
    }
    if (op->precondition == KV_DOES_NOT_EXIST && e) {
        *message = "the key exists already";
        return RC_CONFLICT;
    }
    if (op->precondition == KV_MATCHES_VERSION && (!e || e->version != op->expected_version)) {
        *message = "the version of the key is another one";
        return RC_CONFLICT;
    }
    if (op->kind == KV_PUT && e && op->version < e->version) {
        *message = "the version of a key cannot go back";
        return RC_CONFLICT;
    }
    return RC_OK;
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
    struct omap_node *n;
    while ((n = omap_first(&kv->entries)))
        remove_entry(kv, CONTAINER_OF(n, struct entry, node));
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
                store_entry(kv, op->key, op->value, op->version);
                op->value = BYTES_EMPTY;
            } else if (find(kv, op->key)) {
                remove_entry(kv, find(kv, op->key));
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
    for (struct omap_node *n = omap_first(&kv->entries); n; n = omap_next(n)) {
        struct entry *e = CONTAINER_OF(n, struct entry, node);
        struct kv_file_op op = {KV_FILE_PUT, e->version, e->key, bytes_slice(e->value)};
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
    if (list_empty(&kv->batch) && size > kv->rewrite_above && size / REWRITE_FACTOR > kv->live_bytes)
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
    omap_init(&kv->entries, compare_entries);
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
