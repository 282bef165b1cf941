/* The disk as the segment store sees it: a directory of files with positioned, aligned I/O. `disk_posix` does system calls (log loop only);
 * `sim/` provides one whose crash keeps only what was synced and may tear the last write. Calls block; they belong on the log loop. */
#pragma once
#include "base/bytes.h"

struct disk;
struct disk_file;

struct disk_ops {
    /* Open for reading and writing; `create`: RC_EXISTS if it is there already. */
    enum rc (*open)(struct disk *d, const char *name, bool create, struct disk_file **out, struct err *err);
    void (*close)(struct disk *d, struct disk_file *f);
    enum rc (*size)(struct disk *d, struct disk_file *f, uint64_t *out, struct err *err);
    /* `offset`, `len` and `ptr` are multiples of block_size. A write that returned RC_OK is durable (O_DSYNC, or write + fdatasync).
     * RC_NO_SPACE leaves the content of the range undefined. RC_IO from a sync is fatal for the caller: it must stop the process. */
    enum rc (*write)(struct disk *d, struct disk_file *f, uint64_t offset, const void *ptr, size_t len, struct err *err);
    /* Reads up to `len`; *got may be short only at the end of the file. */
    enum rc (*read)(struct disk *d, struct disk_file *f, uint64_t offset, void *ptr, size_t len, size_t *got, struct err *err);
    /* Make the file `size` bytes long, all zero and allocated on disk, and sync it. */
    enum rc (*zero_fill)(struct disk *d, struct disk_file *f, uint64_t size, struct err *err);
    enum rc (*rename)(struct disk *d, const char *from, const char *to, struct err *err); /* durable */
    enum rc (*remove)(struct disk *d, const char *name, struct err *err);                 /* durable */
    /* Calls `visit` for each name in the directory, in byte order. */
    enum rc (*list)(struct disk *d, void (*visit)(void *ctx, const char *name), void *ctx, struct err *err);
    void (*free)(struct disk *d);
};
struct disk {
    const struct disk_ops *ops;
    size_t block_size; /* 512 or 4096 */
    uint64_t writes, bytes_written, syncs; /* counters for metrics and the benchmark */
};

/* Directory `path` (created if missing, 0700). Uses O_DIRECT|O_DSYNC where the file system takes it, else write + fdatasync. */
enum rc disk_posix_open(const char *path, struct disk **out, struct err *err);
