/* The disk as the segment store sees it: a directory of files with positioned, aligned I/O. `disk_posix` does
 * system calls; `disk_memory` (disk_memory.h) is one whose crash keeps only what was synced and may tear the
 * last write. Calls block; they belong on the log loop. Exception: the preparation of a new file (open with
 * create, zero_fill, close, rename, remove) may run on a pool thread as long as no other thread touches that
 * file. */
#pragma once
#include "base/bytes.h"

struct disk;
struct disk_file;

struct disk_ops {
    /* Open for reading and writing; `create`: RC_EXISTS if it is there already, otherwise RC_NOT_FOUND if it
     * is not. */
    enum rc (*open)(struct disk *d, const char *name, bool create, struct disk_file **out, struct err *err);
    void (*close)(struct disk *d, struct disk_file *f);
    enum rc (*size)(struct disk *d, struct disk_file *f, uint64_t *out, struct err *err);
    /* `offset`, `len` and `ptr` are multiples of block_size. A write that returned RC_OK is durable (O_DSYNC,
     * or write + fdatasync). RC_NO_SPACE leaves the content of the range undefined. An I/O error of a write
     * or sync never returns: it stops the process (DESIGN principle 6), because what is on disk is unknown
     * from then on. */
    enum rc (*write)(struct disk *d, struct disk_file *f, uint64_t offset, const void *ptr, size_t len,
                     struct err *err);
    /* Reads up to `len`; *got may be short only at the end of the file. Same alignment. */
    enum rc (*read)(struct disk *d, struct disk_file *f, uint64_t offset, void *ptr, size_t len, size_t *got,
                    struct err *err);
    /* Make whatever a former process has written to the file durable, including the device's cache. */
    enum rc (*sync)(struct disk *d, struct disk_file *f, struct err *err);
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
    size_t block_size;                             /* 512 or 4096: the unit that a crash never tears */
    _Atomic uint64_t writes, bytes_written, syncs; /* counters for metrics and the benchmark */
};

/* Directory `path` (created if missing, 0700). Uses O_DIRECT|O_DSYNC where the file system takes it, else
 * write + fdatasync. Holds an exclusive lock on the directory: RC_CONFLICT if another process has it. */
enum rc disk_posix_open(const char *path, struct disk **out, struct err *err);

/* Memory for I/O, aligned to 4096; free() releases it. */
void *disk_alloc(size_t len);
