/* The file of the local key-value provider: see kv_file.h. */
#include "metadata/kv_file.h"

#include <stdlib.h>

#include "metadata/frame_file.h"

struct kv_file {
    struct frame_file *frames;
};

void kv_file_op_write(struct writer *w, const struct kv_file_op *op)
{
    write_u8(w, (uint8_t)op->kind);
    write_u32le(w, op->version);
    write_lp(w, op->key);
    write_lp(w, op->value);
}

static bool op_read(struct reader *r, struct kv_file_op *op)
{
    op->kind = read_u8(r);
    op->version = read_u32le(r);
    op->key = read_lp(r);
    op->value = read_lp(r);
    return !r->failed && (op->kind == KV_FILE_PUT || op->kind == KV_FILE_DELETE);
}

static bool body_readable(struct slice body)
{
    struct reader r = reader_make(body);
    struct kv_file_op op;
    while (reader_left(&r))
        if (!op_read(&r, &op))
            return false;
    return true;
}

static const struct frame_format format = {"RSTKV001", body_readable};

struct visitor {
    kv_file_visit visit;
    void *ctx;
};

static void body_visit(void *ctx, struct slice body)
{
    const struct visitor *v = ctx;
    struct reader r = reader_make(body);
    struct kv_file_op op;
    while (reader_left(&r) && op_read(&r, &op))
        v->visit(v->ctx, &op);
}

enum rc kv_file_scan(struct slice content, kv_file_visit visit, void *ctx, size_t *good, uint64_t *sequence,
                     struct err *err)
{
    struct visitor v = {visit, ctx};
    return frame_scan(&format, content, body_visit, &v, good, sequence, err);
}

enum rc kv_file_open(const char *dir, kv_file_visit visit, void *ctx, struct kv_file **out, struct err *err)
{
    struct visitor v = {visit, ctx};
    struct frame_file *frames;
    enum rc rc = frame_file_open(&format, dir, KV_FILE_NAME, "metadata.lock", body_visit, &v, &frames, err);
    if (rc)
        return rc;
    *out = xcalloc(1, sizeof(**out));
    (*out)->frames = frames;
    return RC_OK;
}

enum rc kv_file_append(struct kv_file *f, struct slice body, struct err *err)
{
    return frame_file_append(f->frames, body, err);
}

enum rc kv_file_rewrite(struct kv_file *f, struct slice body, struct err *err)
{
    return frame_file_rewrite(f->frames, body, err);
}

size_t kv_file_size(const struct kv_file *f)
{
    return frame_file_size(f->frames);
}

void kv_file_close(struct kv_file *f)
{
    frame_file_close(f->frames);
    free(f);
}
