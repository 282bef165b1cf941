/* The object-store key-value provider: see object_kv.h. */
#include "node/object_kv.h"

#include <stdio.h>
#include <stdlib.h>

#include "metadata/kv_inbox.h"

#define FORMAT         1u
#define HEAD_BYTES     14u
#define CHANGES_MAX    10u /* somebody else's writes in between, before a write gives up */
#define READINGS_MAX   10u /* of a list */
#define FETCHES_MAX    16u /* of one list at a time */
#define OPERATIONS_MAX 4096u

/* ---- content and names ---- */

void object_value_write(struct writer *w, const struct object_value *v, uint64_t salt)
{
    write_u8(w, v->deleted ? 'd' : 'e');
    write_u8(w, FORMAT);
    write_u64le(w, salt);
    write_u32le(w, v->version);
    write_slice_raw(w, v->value);
}

enum rc object_value_read(struct slice content, struct object_value *out, struct err *err)
{
    struct reader r = reader_make(content);
    uint8_t kind = read_u8(&r), format = read_u8(&r);
    read_u64le(&r);
    *out = (struct object_value){.deleted = kind == 'd', .version = read_u32le(&r)};
    out->value = read_raw(&r, reader_left(&r));
    if (r.failed || (kind != 'e' && kind != 'd') || format != FORMAT || (out->deleted && out->value.len))
        return err_set(err, RC_CORRUPT, "the object was not written by this server");
    return RC_OK;
}

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static const char digits[] = "0123456789ABCDEF";

bool object_kv_name(struct slice prefix, struct slice key, char out[OBJECT_KEY_MAX + 1])
{
    size_t n = 0;
    if (prefix.len + 1 + 3 * key.len > OBJECT_KEY_MAX)
        return false;
    if (prefix.len) {
        memcpy(out, prefix.ptr, prefix.len);
        n = prefix.len;
        out[n++] = '/';
    }
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.ptr[i];
        if (!is_plain(c)) {
            out[n++] = '!';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = 0;
    return true;
}

bool object_kv_key(struct slice name, char out[KV_KEY_MAX], size_t *len)
{
    size_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        if (n == KV_KEY_MAX)
            return false;
        if (c == '!') {
            const char *high = i + 2 < name.len && name.ptr[i + 1] ? strchr(digits, name.ptr[i + 1]) : NULL;
            const char *low = high && name.ptr[i + 2] ? strchr(digits, name.ptr[i + 2]) : NULL;
            if (!low)
                return false;
            c = (uint8_t)((high - digits) << 4 | (low - digits));
            i += 2;
            if (is_plain(c))
                return false; /* another name of a key that has one */
        } else if (!is_plain(c)) {
            return false;
        }
        out[n++] = (char)c;
    }
    *len = n;
    return n > 0;
}

/* ---- operations ---- */

/* One object of a list. */
struct fetch {
    struct operation *operation;
    struct object_op object;
    char *name, *key;
    size_t key_len;
    char before[OBJECT_ETAG_MAX]; /* of the reading before; "": absent */
};
struct operation {
    struct list link;
    struct object_kv *client;
    struct kv_op *op; /* NULL: answered, the store has not finished yet */
    struct object_op object;
    char name[OBJECT_KEY_MAX + 1];
    struct bytes body; /* of a write */
    unsigned changes;

    struct {
        struct fetch *items;
        size_t len, next, in_flight;
        size_t bytes;
        unsigned readings;
        bool changed;
        enum rc rc;
        struct err err;
    } list;
};

struct object_kv {
    struct kv base;
    struct env *env;
    struct object_store *store;
    char *prefix;
    struct kv_inbox inbox;
    struct list running; /* struct operation */
    uint32_t n_operations;
    bool stopped, closed;
};

static void list_free(struct operation *o)
{
    for (size_t i = 0; i < o->list.len; i++) {
        object_op_release(&o->list.items[i].object);
        free(o->list.items[i].name);
        free(o->list.items[i].key);
    }
    free(o->list.items);
    o->list.items = NULL;
    o->list.len = 0;
}

static void release(struct object_kv *c)
{
    if (!c->closed || !list_empty(&c->running))
        return;
    free(c->prefix);
    free(c);
}

/* The store has nothing of it any more. */
static void operation_free(struct operation *o)
{
    struct object_kv *c = o->client;
    list_remove(&o->link);
    c->n_operations--;
    object_op_release(&o->object);
    bytes_unref(&o->body);
    list_free(o);
    free(o);
    release(c);
}

static void answer(struct operation *o, const struct kv_result *r)
{
    struct kv_op *op = o->op;
    o->op = NULL;
    if (!op)
        return;
    bytes_unref(&op->value);
    op->done(op, r);
}

static void finish(struct operation *o, enum rc rc, const char *message)
{
    struct kv_result r = {.rc = rc, .message = message};
    answer(o, &r);
    operation_free(o);
}

static void finish_closed(struct operation *o)
{
    finish(o, RC_CLOSED, "this node stops");
}

/* A failure of the store. What was only read has not happened. */
static void finish_failed(struct operation *o, const struct object_op *object, bool write)
{
    enum rc rc = object->rc == RC_CANCELED ? RC_CLOSED : object->rc;
    if (rc == RC_TIMEOUT && !write)
        rc = RC_UNAVAILABLE;
    finish(o, rc, object->err.msg);
}

/* ---- reading and writing one key ---- */

static void read_done(struct object_op *object);
static void write_done(struct object_op *object);

static void read_object(struct operation *o)
{
    o->object.kind = OBJECT_GET;
    o->object.done = read_done;
    object_submit(o->client->store, &o->object);
}

/* With the condition and, for OBJECT_MATCHES, the ETag that are set. */
static void write_object(struct operation *o, enum object_condition condition)
{
    struct writer w = WRITER_INIT;
    struct object_value v = {
        .deleted = o->op->kind == KV_DELETE, .version = o->op->version, .value = bytes_slice(o->op->value)};
    object_value_write(&w, &v, env_random(o->client->env));
    bytes_unref(&o->body);
    o->body = writer_take(&w);
    o->object.kind = OBJECT_PUT;
    o->object.body = o->body;
    o->object.condition = condition;
    o->object.done = write_done;
    object_submit(o->client->store, &o->object);
}

/* RC_EOF: there is nothing to delete. */
static enum rc judge(const struct kv_op *op, bool exists, uint32_t version, const char **message)
{
    *message = "";
    if (op->precondition == KV_DOES_NOT_EXIST && exists) {
        *message = "the key exists already";
        return RC_CONFLICT;
    }
    if (op->precondition == KV_MATCHES_VERSION && (!exists || version != op->expected_version)) {
        *message = "the version of the key is another one";
        return RC_CONFLICT;
    }
    if (op->kind == KV_PUT && exists && op->version < version) {
        *message = "the version of a key cannot go back";
        return RC_CONFLICT;
    }
    return op->kind == KV_DELETE && !exists ? RC_EOF : RC_OK;
}

static void answer_get(struct operation *o, const struct object_value *v)
{
    struct kv_result r = {.rc = RC_OK, .message = ""};
    struct bytes value = bytes_copy(v->value);
    r.entry = (struct kv_entry){o->op->key, value, v->version};
    answer(o, &r);
    bytes_unref(&value);
    operation_free(o);
}

/* What is there is known: `v` NULL, nothing; the ETag is in the operation. */
static void have_read(struct operation *o, const struct object_value *v)
{
    struct kv_op *op = o->op;
    const char *message;
    bool exists = v && !v->deleted;
    if (op->kind == KV_GET) {
        if (exists)
            answer_get(o, v);
        else
            finish(o, RC_NOT_FOUND, "");
        return;
    }
    enum rc rc = judge(op, exists, v ? v->version : 0, &message);
    if (rc != RC_OK) {
        finish(o, rc == RC_EOF ? RC_OK : rc, message);
        return;
    }
    if (op->kind == KV_DELETE)
        op->version = v->version; /* the tombstone tells what was deleted */
    write_object(o, v ? OBJECT_MATCHES : OBJECT_ABSENT);
}

static void read_done(struct object_op *object)
{
    struct operation *o = CONTAINER_OF(object, struct operation, object);
    struct object_value v;
    struct bytes content = object->content;
    object->content = BYTES_EMPTY;
    if (o->client->stopped || !o->op) {
        finish_closed(o);
    } else if (object->rc == RC_NOT_FOUND) {
        have_read(o, NULL);
    } else if (object->rc != RC_OK) {
        finish_failed(o, object, false);
    } else if (object_value_read(bytes_slice(content), &v, &object->err) != RC_OK) {
        finish(o, RC_CORRUPT, object->err.msg);
    } else {
        have_read(o, &v);
    }
    bytes_unref(&content);
}

static void write_done(struct object_op *object)
{
    struct operation *o = CONTAINER_OF(object, struct operation, object);
    if (object->rc == RC_OK)
        finish(o, RC_OK, "");
    else if (o->client->stopped || !o->op)
        finish_closed(o);
    else if (object->rc != RC_CONFLICT)
        finish_failed(o, object, true);
    else if (++o->changes >= CHANGES_MAX)
        finish(o, RC_UNAVAILABLE, "other writers of the key were faster every time");
    else
        read_object(o); /* somebody was faster: does the precondition still hold? */
}

/* ---- lists ---- */

static void names_listed(struct object_op *object);
static void fetch_more(struct operation *o);

static void list_names(struct operation *o)
{
    o->object.kind = OBJECT_LIST;
    o->object.done = names_listed;
    object_submit(o->client->store, &o->object);
}

static void finish_list(struct operation *o)
{
    struct kv_result r = {.rc = o->list.rc, .message = o->list.err.msg};
    struct kv_entry *entries = xcalloc(o->list.len + 1, sizeof(*entries));
    for (size_t i = 0; i < o->list.len && r.rc == RC_OK; i++) {
        const struct fetch *f = &o->list.items[i];
        struct object_value v;
        if (f->object.rc == RC_NOT_FOUND)
            continue;
        r.rc = object_value_read(bytes_slice(f->object.content), &v, &o->list.err);
        if (r.rc != RC_OK || v.deleted)
            continue;
        entries[r.n_entries++] = (struct kv_entry){slice_make(f->key, f->key_len),
                                                   bytes_part(f->object.content, v.value), v.version};
    }
    r.entries = entries;
    size_t n = r.n_entries;
    if (r.rc != RC_OK)
        r.n_entries = 0;
    answer(o, &r);
    for (size_t i = 0; i < n; i++)
        bytes_unref(&entries[i].value);
    free(entries);
    operation_free(o);
}

/* All objects of this reading are here, or failed. */
static void reading_over(struct operation *o)
{
    if (o->client->stopped || !o->op)
        finish_closed(o);
    else if (o->list.rc != RC_OK || (o->list.readings > 1 && !o->list.changed) || !o->list.len)
        finish_list(o);
    else if (o->list.readings >= READINGS_MAX)
        finish(o, RC_UNAVAILABLE, "the keys of the list change all the time");
    else
        list_names(o);
}

static void fetched(struct object_op *object)
{
    struct fetch *f = CONTAINER_OF(object, struct fetch, object);
    struct operation *o = f->operation;
    bool there = object->rc == RC_OK;
    o->list.in_flight--;
    if (!there && object->rc != RC_NOT_FOUND && o->list.rc == RC_OK) {
        o->list.rc = object->rc == RC_TIMEOUT    ? RC_UNAVAILABLE
                     : object->rc == RC_CANCELED ? RC_CLOSED
                                                 : object->rc;
        o->list.err = object->err;
    }
    if (strcmp(f->before, there ? object->etag : "") != 0)
        o->list.changed = true;
    snprintf(f->before, sizeof(f->before), "%s", there ? object->etag : "");
    o->list.bytes += object->content.len;
    if (o->list.bytes > OBJECT_KV_LIST_BYTES_MAX && o->list.rc == RC_OK)
        o->list.rc =
            err_set(&o->list.err, RC_TOO_LARGE, "the metadata under this prefix is larger than 256 MiB");
    fetch_more(o);
}

static void fetch_more(struct operation *o)
{
    bool go_on = o->list.rc == RC_OK && !o->client->stopped && o->op;
    while (go_on && o->list.next < o->list.len && o->list.in_flight < FETCHES_MAX) {
        struct fetch *f = &o->list.items[o->list.next++];
        object_op_release(&f->object);
        f->object = (struct object_op){
            .kind = OBJECT_GET, .key = f->name, .max_bytes = KV_VALUE_MAX + HEAD_BYTES, .done = fetched};
        o->list.in_flight++;
        object_submit(o->client->store, &f->object);
    }
    if (!o->list.in_flight)
        reading_over(o);
}

/* The names as in the reading before? Then its objects are read again. */
static bool same_names(const struct operation *o, const struct fetch *items, size_t n)
{
    bool same = n == o->list.len;
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(items[i].name, o->list.items[i].name) == 0;
    return same;
}

static struct fetch *take_names(struct operation *o, size_t *n)
{
    struct fetch *items = xcalloc(o->object.listed.len + 1, sizeof(*items));
    size_t skip = o->client->prefix[0] ? strlen(o->client->prefix) + 1 : 0;
    *n = 0;
    for (size_t i = 0; i < o->object.listed.len; i++) {
        const char *name = o->object.listed.items[i].key;
        char key[KV_KEY_MAX];
        struct fetch *f = &items[*n];
        if (strlen(name) <= skip || !object_kv_key(slice_cstr(name + skip), key, &f->key_len))
            continue; /* somebody else's object */
        f->operation = o;
        f->name = xstrdup(name);
        f->key = slice_dup_cstr(slice_make(key, f->key_len));
        (*n)++;
    }
    return items;
}

static int by_key(const void *a, const void *b)
{
    const struct fetch *x = a, *y = b;
    return slice_cmp(slice_make(x->key, x->key_len), slice_make(y->key, y->key_len));
}

static void names_listed(struct object_op *object)
{
    struct operation *o = CONTAINER_OF(object, struct operation, object);
    if (o->client->stopped || !o->op) {
        finish_closed(o);
        return;
    }
    if (object->rc != RC_OK) {
        finish_failed(o, object, false);
        return;
    }
    size_t n;
    struct fetch *items = take_names(o, &n);
    object_op_release(object);
    qsort(items, n, sizeof(*items), by_key); /* the names sort otherwise */
    o->list.readings++;
    o->list.next = 0;
    o->list.bytes = 0;
    o->list.changed = !same_names(o, items, n);
    if (o->list.changed) {
        list_free(o);
        o->list.items = items;
        o->list.len = n;
    } else {
        for (size_t i = 0; i < n; i++) {
            free(items[i].name);
            free(items[i].key);
        }
        free(items);
    }
    fetch_more(o);
}

/* ---- life ---- */

static const char *check(const struct object_kv *c, const struct kv_op *op, char name[OBJECT_KEY_MAX + 1],
                         enum rc *rc)
{
    *rc = RC_INVALID;
    if (op->kind != KV_LIST && (op->key.len == 0 || op->key.len > KV_KEY_MAX))
        return "a metadata key has 1 to 512 bytes";
    if (!object_kv_name(slice_cstr(c->prefix), op->key, name))
        return "the metadata key is too long for an object store";
    *rc = RC_TOO_LARGE;
    if (op->kind == KV_PUT && op->value.len > KV_VALUE_MAX)
        return "the metadata value is larger than 8 MiB";
    return NULL;
}

static void begin(struct kv_inbox *inbox, struct kv_op *op)
{
    struct object_kv *c = CONTAINER_OF(inbox, struct object_kv, inbox);
    char name[OBJECT_KEY_MAX + 1];
    enum rc rc;
    const char *problem = check(c, op, name, &rc);
    if (c->stopped || problem || c->n_operations >= OPERATIONS_MAX) {
        kv_answer(op,
                  c->stopped ? RC_CLOSED
                  : problem  ? rc
                             : RC_OVERLOADED,
                  c->stopped ? "this node stops"
                  : problem  ? problem
                             : "too many operations on metadata are in progress");
        return;
    }
    struct operation *o = xcalloc(1, sizeof(*o));
    o->client = c;
    o->op = op;
    memcpy(o->name, name, sizeof(name));
    o->object.key = o->name;
    o->object.max_bytes = KV_VALUE_MAX + HEAD_BYTES;
    list_push_back(&c->running, &o->link);
    c->n_operations++;
    if (op->kind == KV_LIST)
        list_names(o);
    else if (op->kind == KV_PUT && op->precondition == KV_DOES_NOT_EXIST)
        write_object(o, OBJECT_ABSENT);
    else
        read_object(o);
}

static void kv_client_submit(struct kv *kv, struct kv_op *op)
{
    kv_inbox_submit(&CONTAINER_OF(kv, struct object_kv, base)->inbox, op);
}

void object_kv_stop(struct object_kv *c)
{
    c->stopped = true;
}

static void kv_client_close(struct kv *kv)
{
    struct object_kv *c = CONTAINER_OF(kv, struct object_kv, base);
    struct kv_result closed = {.rc = RC_CLOSED, .message = "this node stops"};
    object_kv_stop(c);
    LIST_FOREACH_SAFE(n, tmp, &c->running)
    answer(CONTAINER_OF(n, struct operation, link), &closed);
    kv_inbox_close(&c->inbox);
    c->closed = true;
    release(c);
}

struct object_kv *object_kv_new(struct env *env, struct object_store *store, const char *prefix)
{
    static const struct kv_provider provider = {kv_client_submit, kv_client_close};
    struct object_kv *c = xcalloc(1, sizeof(*c));
    c->base.provider = &provider;
    c->env = env;
    c->store = store;
    c->prefix = xstrdup(prefix);
    kv_inbox_init(&c->inbox, env, begin);
    list_init(&c->running);
    return c;
}

struct kv *object_kv_provider(struct object_kv *c)
{
    return &c->base;
}
