/* Read-modify-write: see kv_edit.h. */
#include "metadata/kv_edit.h"

static void read_done(struct kv_op *op, const struct kv_result *r);

static void read_again(struct kv_edit *e)
{
    e->op = (struct kv_op){.kind = KV_GET, .key = slice_cstr(e->key), .done = read_done};
    kv_submit(e->kv, &e->op);
}

static void finish(struct kv_edit *e)
{
    e->done(e, e->err.rc == RC_OK ? NULL : &e->err);
}

static void put_done(struct kv_op *op, const struct kv_result *r)
{
    struct kv_edit *e = CONTAINER_OF(op, struct kv_edit, op);
    if (r->rc == RC_CONFLICT && ++e->tries < KV_EDIT_TRIES) {
        read_again(e);
        return;
    }
    if (r->rc != RC_OK)
        err_set(&e->err, r->rc, "cannot write %s: %s", e->key, r->message);
    finish(e);
}

static void read_done(struct kv_op *op, const struct kv_result *r)
{
    struct kv_edit *e = CONTAINER_OF(op, struct kv_edit, op);
    if (r->rc != RC_OK && r->rc != RC_NOT_FOUND) {
        err_set(&e->err, r->rc, "cannot read %s: %s", e->key, r->message);
        finish(e);
        return;
    }
    const struct kv_entry *current = r->rc == RC_OK ? &r->entry : NULL;
    uint32_t read_version = current ? current->version : 0;
    struct writer w = WRITER_INIT;
    uint32_t version = 0;
    enum rc rc = e->change(e, current, &w, &version, &e->err);
    if (rc != RC_OK) {
        writer_free(&w);
        if (rc == RC_EOF)
            e->err = (struct err){0};
        else if (e->err.rc == RC_OK)
            err_set(&e->err, rc, "cannot change %s", e->key);
        finish(e);
        return;
    }
    e->op = (struct kv_op){.kind = KV_PUT,
                           .key = slice_cstr(e->key),
                           .value = writer_take(&w),
                           .version = version,
                           .precondition = current ? KV_MATCHES_VERSION : KV_DOES_NOT_EXIST,
                           .expected_version = read_version,
                           .done = put_done};
    kv_submit(e->kv, &e->op);
}

void kv_edit_start(struct kv_edit *e)
{
    e->tries = 0;
    e->err = (struct err){0};
    read_again(e);
}
