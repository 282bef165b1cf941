/* The frame of scans: opening, reading the view, errors (partition/scan.h). */
#include <stdarg.h>
#include <stdio.h>

#include "partition/scan_internal.h"

struct store_scan *store_scan_new(struct partition_store *s, enum scan_kind kind,
                                  const struct scan_filter *filter)
{
    struct store_scan *c = xcalloc(1, sizeof(*c));
    c->kind = kind;
    c->filter = *filter;
    c->filter_text = xmalloc(filter->service.len + filter->key.len + 1);
    if (filter->service.len)
        memcpy(c->filter_text, filter->service.ptr, filter->service.len);
    if (filter->key.len)
        memcpy(c->filter_text + filter->service.len, filter->key.ptr, filter->key.len);
    c->filter.service = slice_make(c->filter_text, filter->service.len);
    c->filter.key = slice_make(c->filter_text + filter->service.len, filter->key.len);
    c->partition_id = s->config.partition_id;
    c->now_ms = MAX(filter->now_ms, store_now(s));
    c->ops = s->kv->ops;
    c->view = c->ops->view_new(s->kv);
    hmap_init(&c->by_key);
    if (s->failure.rc != RC_OK)
        c->err = s->failure;
    else if (kind == SCAN_INVOCATIONS || kind == SCAN_JOURNALS)
        scan_copy_invocations(c, s);
    else
        scan_copy_objects(c, s);
    return c;
}

void store_scan_free(struct store_scan *c)
{
    scan_invocations_free(c);
    scan_objects_free(c);
    hmap_free(&c->by_key);
    if (c->it)
        c->ops->iter_free(c->it);
    if (c->state)
        c->ops->iter_free(c->state);
    c->ops->view_free(c->view);
    bytes_unref(&c->suffix);
    bytes_unref(&c->row);
    bytes_unref(&c->blob);
    writer_free(&c->key);
    writer_free(&c->service);
    writer_free(&c->name);
    free(c->filter_text);
    free(c);
}

void scan_fail(struct store_scan *c, enum rc rc, const char *fmt, ...)
{
    if (c->err.rc != RC_OK)
        return;
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(&c->err, rc, "%s", text);
}

enum rc store_scan_error(const struct store_scan *c, struct err *err)
{
    if (c->err.rc != RC_OK && err)
        *err = c->err;
    return c->err.rc;
}

struct kv_iter *scan_iter(struct store_scan *c, struct slice from, struct slice to)
{
    return c->ops->view_iter_new(c->view, from, to);
}

bool scan_iter_next(struct store_scan *c, struct kv_iter **it, struct slice *key, struct slice *value)
{
    if (!*it)
        return false;
    if (c->ops->iter_next(*it, key, value))
        return true;
    struct err err = {0};
    if (c->ops->view_iter_error(*it, &err) != RC_OK)
        scan_fail(c, err.rc, "%s", err.msg);
    c->ops->iter_free(*it);
    *it = NULL;
    return false;
}

bool scan_get(struct store_scan *c, struct slice key, struct bytes *out)
{
    struct writer to = WRITER_INIT;
    write_slice_raw(&to, key);
    write_u8(&to, 0);
    struct kv_iter *it = scan_iter(c, key, writer_slice(&to));
    struct slice k, v;
    bool found = scan_iter_next(c, &it, &k, &v);
    if (found)
        *out = bytes_copy(v);
    if (it)
        c->ops->iter_free(it);
    writer_free(&to);
    return found;
}

bool scan_blob(struct store_scan *c, uint64_t id, struct bytes *out)
{
    key_begin(&c->key, c->partition_id, TABLE_BLOB);
    write_u64be(&c->key, id);
    return scan_get(c, writer_slice(&c->key), out);
}
