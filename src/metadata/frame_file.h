/* A file of frames: bodies appended with a checksum and a sequence number, one fsync per frame; rewritten as
 * a whole (temporary file, fsync, rename, fsync of the directory) when it has grown. Below
 * the members of the metadata servers (metadata/raft_file.h).
 *
 *   file  := header (8 bytes) frame*
 *   frame := u32 magic, u32 body length, u32 crc32c(length, sequence, body), u64 sequence, body
 *                                                                                        (little endian)
 * A frame becomes visible in full or not at all. An incomplete last frame (a crash) is cut off; a broken
 * frame with a good one behind it means that synced bytes were lost and is refused as RC_CORRUPT (BETTER
 * B12). All calls block; one thread at a time. */
#pragma once
#include "base/codec.h"

#define FRAME_FILE_HEADER 8u
#define FRAME_HEAD        20u
#define FRAME_BODY_MAX    (1u << 30)

struct frame_format {
    const char *header;                  /* FRAME_FILE_HEADER characters */
    bool (*readable)(struct slice body); /* can a body with a good checksum be understood? */
};
typedef void (*frame_visit)(void *ctx, struct slice body);

/* Walk the content of a file. `*good` becomes the length of the valid prefix, `*sequence` the number of its
 * last frame. RC_CORRUPT as above, or when this is no such file. An empty file, and a torn header, have a
 * prefix of length 0. Pure. */
enum rc frame_scan(const struct frame_format *format, struct slice content, frame_visit visit, void *ctx,
                   size_t *good, uint64_t *sequence, struct err *err);
/* The content of such a file as it is; no lock is taken. RC_NOT_FOUND; RC_IO, without the path. */
enum rc frame_file_read(const char *path, struct bytes *out, struct err *err);
/* The bytes of one frame. Pure. */
struct bytes frame_make(struct slice body, uint64_t sequence);

struct frame_file;
/* Open or create `<dir>/<name>` (the directory exists), visiting every body in order. Holds the lock
 * `<dir>/<lock_name>`: RC_EXISTS if another process has it open. */
enum rc frame_file_open(const struct frame_format *format, const char *dir, const char *name,
                        const char *lock_name, frame_visit visit, void *ctx, struct frame_file **out,
                        struct err *err);
/* Append one frame and sync. RC_NO_SPACE or RC_IO: nothing was written. A failed sync aborts the process. */
enum rc frame_file_append(struct frame_file *f, struct slice body, struct err *err);
/* Replace the content by one frame. On error the old file stays. */
enum rc frame_file_rewrite(struct frame_file *f, struct slice body, struct err *err);
size_t frame_file_size(const struct frame_file *f);
void frame_file_close(struct frame_file *f);
