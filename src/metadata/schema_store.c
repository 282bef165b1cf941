/* Loading and serialised edits of the schema: see schema_store.h. */
#include "metadata/schema_store.h"

#include <stdlib.h>

#include "base/log.h"
#include "metadata/json.h"
#include "metadata/schema_records.h"

#define TARGET              "restate_metadata"
#define COMMIT_ATTEMPTS_MAX 20u
#define LOAD_AGAIN_MS       500u /* the key-value store has tried for seconds before it says that it failed */

struct stored { /* a record as the key-value store has it */
    char *key;
    struct bytes value;
    uint32_t version;
    bool deleted; /* by the last edit, but still there */
};
typedef struct {
    struct schema_op *items;
    size_t len, cap;
} op_list;

struct schema_store {
    struct env *env;
    struct kv *kv;
    void (*changed)(void *ctx, struct schema *schema);
    void (*loaded)(void *ctx, const struct err *err);
    void *ctx;
    struct schema *current;
    struct {
        struct stored *items;
        size_t len, cap;
    } records;
    op_list unfinished; /* of the last edit, not written to its records yet */
    size_t next_unfinished;
    struct list waiting;
    size_t n_waiting;
    struct schema_edit *running;
    struct schema_change change; /* of `running` */
    unsigned attempts;
    unsigned holds;
    struct kv_op op;
    bool op_busy, is_loaded, refresh_wanted;
    bool stalled; /* writing the records of the last edit failed; tried again with the next edit */
    bool dying;   /* freed while an operation was in progress: its answer completes it */
    char *op_key;
    struct env_task task;
    struct env_timer load_again;
};

/* ---- records in memory ---- */

static struct stored *find_record(struct schema_store *s, const char *key)
{
    for (size_t i = 0; i < s->records.len; i++)
        if (strcmp(s->records.items[i].key, key) == 0)
            return &s->records.items[i];
    return NULL;
}

static void drop_record(struct schema_store *s, struct stored *r)
{
    free(r->key);
    bytes_unref(&r->value);
    *r = s->records.items[--s->records.len];
}

static void keep_record(struct schema_store *s, const char *key, struct slice value, uint32_t version)
{
    struct stored *r = find_record(s, key);
    if (!r) {
        struct stored fresh = {.key = xstrdup(key)};
        VEC_PUSH(&s->records, fresh);
        r = &s->records.items[s->records.len - 1];
    }
    bytes_unref(&r->value);
    r->value = bytes_copy(value);
    r->version = version;
    r->deleted = false;
}

static void free_ops(op_list *ops)
{
    for (size_t i = 0; i < ops->len; i++) {
        free(ops->items[i].key);
        free(ops->items[i].value);
    }
    VEC_FREE(ops);
}

/* ---- the head record: {"v":1,"ops":[{"key":"...","value":{...}|null}]} ---- */

static struct bytes encode_head(const struct schema_change *c)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_number(&o, "v", 1);
    json_open_at(&o, "ops", '[');
    for (size_t i = 0; i < c->ops.len; i++) {
        json_open(&o, '{');
        json_text(&o, "key", c->ops.items[i].key);
        json_raw(&o, "value", c->ops.items[i].value ? c->ops.items[i].value : "null");
        json_close(&o, '}');
    }
    json_close(&o, ']');
    json_close(&o, '}');
    return writer_take(&w);
}

static bool decode_head(struct slice json, op_list *ops)
{
    json_t *o = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(o, "ops");
    bool good = json_integer_value(json_object_get(o, "v")) == 1 && json_is_array(list);
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i), *value = json_object_get(item, "value");
        const char *key = json_string_value(json_object_get(item, "key"));
        good = key && strncmp(key, SCHEMA_PREFIX, strlen(SCHEMA_PREFIX)) == 0 &&
               strcmp(key, SCHEMA_HEAD_KEY) != 0 && (json_is_null(value) || json_is_object(value));
        if (good) {
            char *text = json_is_object(value) ? json_dumps(value, JSON_COMPACT) : NULL;
            struct schema_op op = {xstrdup(key), text};
            VEC_PUSH(ops, op);
        }
    }
    json_decref(o);
    return good;
}

/* ---- key-value operations, one at a time ---- */

static void advance(struct schema_store *s);

static void submit(struct schema_store *s, enum kv_op_kind kind, const char *key,
                   void (*done)(struct kv_op *, const struct kv_result *))
{
    ASSERT(!s->op_busy);
    free(s->op_key);
    s->op_key = xstrdup(key);
    s->op.kind = kind;
    s->op.key = slice_cstr(s->op_key);
    s->op.done = done;
    s->op_busy = true;
    kv_submit(s->kv, &s->op);
}

static void free_store(struct schema_store *s);

/* At the beginning of every answer: true if nobody is interested any more. */
static bool op_over(struct schema_store *s)
{
    s->op_busy = false;
    if (!s->dying)
        return false;
    free_store(s);
    return true;
}

static void publish(struct schema_store *s, struct schema *schema_take)
{
    schema_unref(s->current);
    s->current = schema_take;
    s->changed(s->ctx, s->current);
}

/* Lay the last edit over the records found: a crash may have left it half written. */
static void overlay_unfinished(struct schema_store *s)
{
    for (size_t i = 0; i < s->unfinished.len; i++) {
        struct schema_op *op = &s->unfinished.items[i];
        struct stored *r = find_record(s, op->key);
        if (op->value)
            keep_record(s, op->key, slice_cstr(op->value), r ? r->version : 0);
        else if (r)
            r->deleted = true;
    }
}

static enum rc take_entries(struct schema_store *s, const struct kv_result *r, uint32_t *version,
                            struct err *err)
{
    while (s->records.len)
        drop_record(s, &s->records.items[0]);
    free_ops(&s->unfinished);
    s->next_unfinished = 0;
    *version = 0;
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct kv_entry *e = &r->entries[i];
        if (slice_eq_cstr(e->key, SCHEMA_HEAD_KEY)) {
            *version = e->version;
            if (!decode_head(bytes_slice(e->value), &s->unfinished))
                return err_set(err, RC_CORRUPT, "the metadata record " SCHEMA_HEAD_KEY " cannot be read");
            continue;
        }
        char *key = slice_dup_cstr(e->key);
        keep_record(s, key, bytes_slice(e->value), e->version);
        free(key);
    }
    return RC_OK;
}

/* What of the last edit is in its records already needs no writing. */
static void forget_finished(struct schema_store *s, uint32_t version)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->unfinished.len; i++) {
        struct schema_op *op = &s->unfinished.items[i];
        struct stored *r = find_record(s, op->key);
        bool finished = op->value ? r && r->version >= version : !r;
        if (finished) {
            free(op->key);
            free(op->value);
        } else {
            s->unfinished.items[kept++] = *op;
        }
    }
    s->unfinished.len = kept;
}

static enum rc build_snapshot(struct schema_store *s, uint32_t version, struct schema **out, struct err *err)
{
    struct schema_record *list = xcalloc(s->records.len + 1, sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < s->records.len; i++) {
        const struct stored *r = &s->records.items[i];
        if (!r->deleted)
            list[n++] = (struct schema_record){slice_cstr(r->key), bytes_slice(r->value)};
    }
    enum rc rc = schema_decode(list, n, version, out, err);
    free(list);
    return rc;
}

static void on_listed(struct kv_op *op, const struct kv_result *r)
{
    struct schema_store *s = CONTAINER_OF(op, struct schema_store, op);
    if (op_over(s))
        return;
    struct err err = {0};
    uint32_t version = 0;
    struct schema *next = NULL;
    if (!s->is_loaded && r->rc && r->rc != RC_CLOSED) {
        LOG0(LOG_WARN, TARGET, "The schema cannot be read yet, which is repeated: %s", r->message);
        env_timer_arm(s->env, &s->load_again, LOAD_AGAIN_MS);
        return;
    }
    if (r->rc)
        err_set(&err, r->rc, "cannot read the schema: %s", r->message);
    else if (!take_entries(s, r, &version, &err)) {
        forget_finished(s, version);
        /* Versions of the records stay those of the store: they are the preconditions of finishing. */
        overlay_unfinished(s);
        build_snapshot(s, version, &next, &err);
    }
    if (next) {
        bool first = !s->is_loaded;
        s->is_loaded = true;
        if (first || version > schema_version(s->current))
            publish(s, next);
        else
            schema_unref(next);
        if (first)
            s->loaded(s->ctx, &err);
    } else if (!s->is_loaded) {
        s->loaded(s->ctx, &err);
        return;
    } else {
        LOG0(LOG_ERROR, TARGET, "%s", err.msg);
    }
    env_defer(s->env, &s->task);
}

static void load_again(struct env_timer *t)
{
    submit(CONTAINER_OF(t, struct schema_store, load_again), KV_LIST, SCHEMA_PREFIX, on_listed);
}

/* ---- edits ---- */

static void finish_edit(struct schema_store *s, enum rc rc, const char *message)
{
    struct schema_edit *e = s->running;
    s->running = NULL;
    s->attempts = 0;
    schema_change_free(&s->change);
    e->done(e, rc, message, s->current);
}

static void refuse_waiting(struct schema_store *s, enum rc rc, const char *message)
{
    struct list all, *n;
    list_init(&all);
    list_splice(&all, &s->waiting);
    s->n_waiting = 0;
    while ((n = list_pop_front(&all))) {
        struct schema_edit *e = CONTAINER_OF(n, struct schema_edit, link);
        e->done(e, rc, message, s->current);
    }
}

static void on_record_written(struct kv_op *op, const struct kv_result *r)
{
    struct schema_store *s = CONTAINER_OF(op, struct schema_store, op);
    if (op_over(s))
        return;
    /* Conflict: another node finished it. Anything else: the edit is committed in the head record all the
     * same, and finished before the next one or at the next load. */
    if (r->rc && r->rc != RC_CONFLICT) {
        LOG0(LOG_WARN, TARGET, "writing %s failed, to be repeated: %s", s->op_key, r->message);
        s->stalled = true;
        if (s->running)
            finish_edit(s, RC_OK, "");
        refuse_waiting(s, r->rc, r->message);
        return;
    }
    const struct schema_op *done = &s->unfinished.items[s->next_unfinished++];
    struct stored *record = find_record(s, done->key);
    if (record && done->value)
        record->version = schema_version(s->current);
    else if (record && record->deleted)
        drop_record(s, record);
    advance(s);
}

static void write_next_record(struct schema_store *s)
{
    const struct schema_op *op = &s->unfinished.items[s->next_unfinished];
    const struct stored *r = find_record(s, op->key);
    s->op.precondition = KV_NONE;
    if (op->value) {
        s->op.value = bytes_copy(slice_cstr(op->value));
        s->op.version = schema_version(s->current);
        s->op.precondition = r && r->version ? KV_MATCHES_VERSION : KV_DOES_NOT_EXIST;
        s->op.expected_version = r ? r->version : 0;
    } else if (r && r->version) {
        /* A later edit of another node may write the key again: that must survive this deletion. */
        s->op.precondition = KV_MATCHES_VERSION;
        s->op.expected_version = r->version;
    }
    submit(s, op->value ? KV_PUT : KV_DELETE, op->key, on_record_written);
}

/* The head is durable: this is the schema now. The records follow. */
static void commit(struct schema_store *s)
{
    free_ops(&s->unfinished);
    s->next_unfinished = 0;
    for (size_t i = 0; i < s->change.ops.len; i++) {
        VEC_PUSH(&s->unfinished, s->change.ops.items[i]);
        s->change.ops.items[i] = (struct schema_op){0};
    }
    overlay_unfinished(s);
    struct schema *next = s->change.next;
    s->change.next = NULL;
    publish(s, next);
}

static void on_head_written(struct kv_op *op, const struct kv_result *r)
{
    struct schema_store *s = CONTAINER_OF(op, struct schema_store, op);
    if (op_over(s))
        return;
    if (r->rc == RC_CONFLICT && s->attempts < COMMIT_ATTEMPTS_MAX) {
        /* Another node was faster: read again, plan again. */
        schema_change_free(&s->change);
        list_push_front(&s->waiting, &s->running->link);
        s->n_waiting++;
        s->running = NULL;
        submit(s, KV_LIST, SCHEMA_PREFIX, on_listed);
        return;
    }
    if (r->rc) {
        s->refresh_wanted = true; /* it may have happened */
        finish_edit(s, r->rc, r->message);
        env_defer(s->env, &s->task);
        return;
    }
    commit(s);
    advance(s);
}

static void start_edit(struct schema_store *s, struct schema_edit *e)
{
    s->running = e;
    if (!e->plan(e, s->current, &s->change)) {
        memset(&s->change, 0, sizeof(s->change));
        finish_edit(s, RC_INVALID, "");
        return;
    }
    if (s->change.ops.len == 0) {
        finish_edit(s, RC_OK, "");
        return;
    }
    uint32_t version = schema_version(s->current);
    ASSERT(s->change.next && schema_version(s->change.next) == version + 1);
    s->op.value = encode_head(&s->change);
    s->op.version = version + 1;
    s->op.precondition = version ? KV_MATCHES_VERSION : KV_DOES_NOT_EXIST;
    s->op.expected_version = version;
    s->attempts++;
    submit(s, KV_PUT, SCHEMA_HEAD_KEY, on_head_written);
}

/* Finish the last edit, answer it, begin the next. What another node left unfinished, or is still busy with,
 * is finished only when there is something to write: every reader lays the last edit over the records. */
static void advance(struct schema_store *s)
{
    while (!s->op_busy && s->is_loaded && !s->stalled) {
        bool wants_to_write = s->running || !list_empty(&s->waiting);
        if (wants_to_write && s->next_unfinished < s->unfinished.len) {
            write_next_record(s);
            return;
        }
        if (s->running) {
            if (s->holds)
                return;
            finish_edit(s, RC_OK, "");
        }
        if (s->refresh_wanted) {
            s->refresh_wanted = false;
            submit(s, KV_LIST, SCHEMA_PREFIX, on_listed);
            return;
        }
        struct list *n = list_pop_front(&s->waiting);
        if (!n)
            return;
        s->n_waiting--;
        start_edit(s, CONTAINER_OF(n, struct schema_edit, link));
    }
}

static void run_task(struct env_task *t)
{
    struct schema_store *s = CONTAINER_OF(t, struct schema_store, task);
    advance(s);
}

struct schema_store *schema_store_new(struct env *env, struct kv *kv,
                                      void (*changed)(void *ctx, struct schema *schema),
                                      void (*loaded)(void *ctx, const struct err *err), void *ctx)
{
    struct schema_store *s = xcalloc(1, sizeof(*s));
    s->env = env;
    s->kv = kv;
    s->changed = changed;
    s->loaded = loaded;
    s->ctx = ctx;
    s->current = schema_empty();
    list_init(&s->waiting);
    list_init(&s->op.link);
    env_task_init(&s->task, run_task);
    env_timer_init(&s->load_again, load_again);
    submit(s, KV_LIST, SCHEMA_PREFIX, on_listed);
    return s;
}

struct schema *schema_store_current(const struct schema_store *s)
{
    return s->current;
}

enum rc schema_store_edit(struct schema_store *s, struct schema_edit *e)
{
    if (!s->is_loaded || s->n_waiting >= SCHEMA_EDITS_WAITING_MAX)
        return RC_OVERLOADED;
    list_push_back(&s->waiting, &e->link);
    s->n_waiting++;
    s->stalled = false;
    env_defer(s->env, &s->task);
    return RC_OK;
}

void schema_store_hold(struct schema_store *s)
{
    s->holds++;
}

void schema_store_release(struct schema_store *s)
{
    ASSERT(s->holds > 0);
    if (--s->holds == 0)
        env_defer(s->env, &s->task);
}

void schema_store_refresh(struct schema_store *s)
{
    s->refresh_wanted = true;
    env_defer(s->env, &s->task);
}

static void free_store(struct schema_store *s)
{
    schema_change_free(&s->change);
    free_ops(&s->unfinished);
    while (s->records.len)
        drop_record(s, &s->records.items[0]);
    VEC_FREE(&s->records);
    schema_unref(s->current);
    free(s->op_key);
    free(s);
}

void schema_store_free(struct schema_store *s)
{
    static const char why[] = "the server is shutting down";
    env_undefer(&s->task);
    env_timer_cancel(s->env, &s->load_again);
    if (s->running)
        finish_edit(s, RC_CLOSED, why);
    refuse_waiting(s, RC_CLOSED, why);
    s->dying = true;
    if (!s->op_busy)
        free_store(s);
}
