/* Entries of a key-value store: see kv_table.h. */
#include "metadata/kv_table.h"

#include <stdlib.h>

#define ENTRY_OVERHEAD 16u

struct entry {
    struct omap_node node;
    struct slice key; /* heap */
    struct bytes value;
    uint32_t version;
};

static int compare_entries(const struct omap_node *a, const struct omap_node *b)
{
    return slice_cmp(CONTAINER_OF(a, struct entry, node)->key, CONTAINER_OF(b, struct entry, node)->key);
}

static int compare_key(const void *key, const struct omap_node *n)
{
    return slice_cmp(*(const struct slice *)key, CONTAINER_OF(n, struct entry, node)->key);
}

static struct entry *find(const struct kv_table *t, struct slice key)
{
    struct omap_node *n = omap_find(&t->entries, &key, compare_key);
    return n ? CONTAINER_OF(n, struct entry, node) : NULL;
}

static size_t entry_bytes(const struct entry *e)
{
    return e->key.len + e->value.len + ENTRY_OVERHEAD;
}

void kv_table_init(struct kv_table *t)
{
    *t = (struct kv_table){0};
    omap_init(&t->entries, compare_entries);
}

static void remove_entry(struct kv_table *t, struct entry *e)
{
    t->bytes -= entry_bytes(e);
    omap_remove(&t->entries, &e->node);
    free((void *)e->key.ptr);
    bytes_unref(&e->value);
    free(e);
}

void kv_table_free(struct kv_table *t)
{
    struct omap_node *n;
    while ((n = omap_first(&t->entries)))
        remove_entry(t, CONTAINER_OF(n, struct entry, node));
}

bool kv_table_get(const struct kv_table *t, struct slice key, struct kv_entry *out)
{
    const struct entry *e = find(t, key);
    if (e)
        *out = (struct kv_entry){e->key, e->value, e->version};
    return e != NULL;
}

void kv_table_put(struct kv_table *t, struct slice key, struct bytes value_take, uint32_t version)
{
    struct entry *e = find(t, key);
    if (e) {
        t->bytes -= entry_bytes(e);
        bytes_unref(&e->value);
    } else {
        e = xcalloc(1, sizeof(*e));
        e->key = slice_make(slice_dup_cstr(key), key.len);
        omap_insert(&t->entries, &e->node);
    }
    e->value = value_take;
    e->version = version;
    t->bytes += entry_bytes(e);
}

void kv_table_delete(struct kv_table *t, struct slice key)
{
    struct entry *e = find(t, key);
    if (e)
        remove_entry(t, e);
}

enum rc kv_table_judge(const struct kv_table *t, const struct kv_write *w, const char **message)
{
    const struct entry *e = find(t, w->key);
    *message = "";
    if (w->key.len == 0 || w->key.len > KV_KEY_MAX) {
        *message = "a metadata key has 1 to 512 bytes";
        return RC_INVALID;
    }
    if (w->value.len > KV_VALUE_MAX) {
        *message = "the metadata value is larger than 8 MiB";
        return RC_TOO_LARGE;
    }
    if (w->precondition == KV_DOES_NOT_EXIST && e) {
        *message = "the key exists already";
        return RC_CONFLICT;
    }
    if (w->precondition == KV_MATCHES_VERSION && (!e || e->version != w->expected_version)) {
        *message = "the version of the key is another one";
        return RC_CONFLICT;
    }
    if (w->put && e && w->version < e->version) {
        *message = "the version of a key cannot go back";
        return RC_CONFLICT;
    }
    return RC_OK;
}

struct kv_cursor kv_table_seek(const struct kv_table *t, struct slice key)
{
    return (struct kv_cursor){omap_lower_bound(&t->entries, &key, compare_key)};
}

bool kv_cursor_next(struct kv_cursor *c, struct kv_entry *out)
{
    if (!c->node)
        return false;
    const struct entry *e = CONTAINER_OF(c->node, struct entry, node);
    *out = (struct kv_entry){e->key, e->value, e->version};
    c->node = omap_next(c->node);
    return true;
}

void kv_table_write(const struct kv_table *t, struct writer *w)
{
    struct kv_entry e;
    for (struct kv_cursor c = kv_table_seek(t, SLICE_EMPTY); kv_cursor_next(&c, &e);) {
        write_u32le(w, e.version);
        write_lp(w, e.key);
        write_lp(w, bytes_slice(e.value));
    }
}

enum rc kv_table_read(struct kv_table *t, struct slice content, struct err *err)
{
    struct reader r = reader_make(content);
    struct slice last = SLICE_EMPTY;
    kv_table_free(t);
    while (reader_left(&r)) {
        uint32_t version = read_u32le(&r);
        struct slice key = read_lp(&r);
        struct slice value = read_lp(&r);
        if (r.failed || key.len == 0 || key.len > KV_KEY_MAX || value.len > KV_VALUE_MAX ||
            slice_cmp(last, key) >= 0) {
            kv_table_free(t);
            return err_set(err, RC_CORRUPT, "the snapshot of the metadata store cannot be read");
        }
        kv_table_put(t, key, bytes_copy(value), version);
        last = key;
    }
    return RC_OK;
}
