/* The file below the `local` key-value provider: `metadata.kv`, a file of frames (metadata/frame_file.h). One
 * frame is one batch of operations.
 *
 *   body      := operation*
 *   operation := u8 kind (1 put, 2 delete), u32 version, varint-prefixed key, varint-prefixed value
 *
 * All calls block; one thread at a time. */
#pragma once
#include "base/codec.h"

#define KV_FILE_NAME "metadata.kv"

struct kv_file;

enum kv_file_op_kind { KV_FILE_PUT = 1, KV_FILE_DELETE = 2 };
struct kv_file_op {
    enum kv_file_op_kind kind;
    uint32_t version;
    struct slice key, value;
};
typedef void (*kv_file_visit)(void *ctx, const struct kv_file_op *op);

/* Walk the content of a file. `*good` becomes the length of the valid prefix, `*sequence` the number of its
 * last frame. RC_CORRUPT as above, or when this is no such file. An empty file, and a torn header, have a
 * prefix of length 0. */
enum rc kv_file_scan(struct slice content, kv_file_visit visit, void *ctx, size_t *good, uint64_t *sequence,
                     struct err *err);

/* Open or create in `dir` (which exists), visiting every operation in order. Holds a lock: RC_EXISTS if
 * another process has it open. */
enum rc kv_file_open(const char *dir, kv_file_visit visit, void *ctx, struct kv_file **out, struct err *err);
/* Append one frame with this body and sync. RC_NO_SPACE or RC_IO: nothing was written. A failed sync aborts
 * the process. */
enum rc kv_file_append(struct kv_file *f, struct slice body, struct err *err);
/* Replace the content by one frame with this body. On error the old file stays. */
enum rc kv_file_rewrite(struct kv_file *f, struct slice body, struct err *err);
size_t kv_file_size(const struct kv_file *f);
void kv_file_close(struct kv_file *f);

void kv_file_op_write(struct writer *w, const struct kv_file_op *op);
