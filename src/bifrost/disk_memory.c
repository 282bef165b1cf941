/* The disk in memory (see disk_memory.h). */
#include <pthread.h>
#include <stdlib.h>

#include "bifrost/disk_memory.h"

#define NAME_MAX_LEN 64

/* One file on the medium. A handle points at it; a rename keeps the handle valid, as with a real file. */
struct medium_file {
    char name[NAME_MAX_LEN];
    uint8_t *data;
    size_t len;
    struct medium_file *next; /* sorted by name */
};

struct disk_file {
    struct medium_file *file;
};

struct disk_memory {
    struct disk disk;
    pthread_mutex_t lock; /* tests run the local provider on it, whose pool threads prepare files */
    struct medium_file *files;
    uint64_t capacity, operations, reads, last_write_blocks;
    bool crash_armed, crashed;
    uint64_t crash_operation, keep_blocks;
};

static struct disk_memory *memory_of(struct disk *d)
{
    return CONTAINER_OF(d, struct disk_memory, disk);
}

static void unlock(struct disk_memory **m)
{
    pthread_mutex_unlock(&(*m)->lock);
}

/* The disk behind `d`, locked until the end of the block. */
#define LOCKED(m, d)                                                                                         \
    __attribute__((cleanup(unlock))) struct disk_memory *m = memory_of(d);                                   \
    pthread_mutex_lock(&m->lock)

static struct medium_file **find_slot(struct disk_memory *m, const char *name)
{
    struct medium_file **slot = &m->files;
    while (*slot && strcmp((*slot)->name, name) < 0)
        slot = &(*slot)->next;
    return slot;
}

static struct medium_file *find_file(struct disk_memory *m, const char *name)
{
    struct medium_file *f = *find_slot(m, name);
    return f && strcmp(f->name, name) == 0 ? f : NULL;
}

static void insert_file(struct disk_memory *m, struct medium_file *f)
{
    struct medium_file **slot = find_slot(m, f->name);
    f->next = *slot;
    *slot = f;
}

static void unlink_file(struct disk_memory *m, struct medium_file *f)
{
    struct medium_file **slot = find_slot(m, f->name);
    ASSERT(*slot == f);
    *slot = f->next;
}

static void resize(struct medium_file *f, size_t len)
{
    if (len > f->len) {
        f->data = xrealloc(f->data, len);
        memset(f->data + f->len, 0, len - f->len);
        f->len = len;
    }
}

/* Counts an operation; true if the machine crashes during it. */
static bool operation_crashes(struct disk_memory *m)
{
    m->operations++;
    m->last_write_blocks = 0;
    if (m->crash_armed && m->crash_operation-- == 0) {
        m->crash_armed = false;
        m->crashed = true;
    }
    return m->crashed;
}

static enum rc down(struct err *err)
{
    return err_set(err, RC_IO, "the machine is down");
}

static bool has_room(struct disk_memory *m, struct medium_file *f, uint64_t len)
{
    uint64_t used = 0;
    for (struct medium_file *other = m->files; other; other = other->next)
        used += other->len;
    return len <= f->len || used - f->len + len <= m->capacity;
}

static enum rc memory_open(struct disk *d, const char *name, bool create, struct disk_file **out,
                           struct err *err)
{
    LOCKED(m, d);
    if (m->crashed)
        return down(err);
    struct medium_file *f = find_file(m, name);
    if (create && f)
        return err_set(err, RC_EXISTS, "%s exists", name);
    if (!create && !f)
        return err_set(err, RC_NOT_FOUND, "%s does not exist", name);
    if (create) {
        ASSERT(strlen(name) < NAME_MAX_LEN);
        f = xcalloc(1, sizeof(*f));
        memcpy(f->name, name, strlen(name) + 1);
        insert_file(m, f);
    }
    *out = xcalloc(1, sizeof(**out));
    (*out)->file = f;
    return RC_OK;
}

static void memory_close(struct disk *d, struct disk_file *f)
{
    free(f);
}

static enum rc memory_size(struct disk *d, struct disk_file *f, uint64_t *out, struct err *err)
{
    LOCKED(m, d);
    if (m->crashed)
        return down(err);
    *out = f->file->len;
    return RC_OK;
}

static enum rc memory_write(struct disk *d, struct disk_file *f, uint64_t offset, const void *ptr, size_t len,
                            struct err *err)
{
    LOCKED(m, d);
    size_t block = d->block_size;
    ASSERT(offset % block == 0 && len % block == 0 && (uintptr_t)ptr % block == 0);
    bool was_down = m->crashed;
    bool crash = operation_crashes(m);
    if (was_down)
        return down(err);
    if (!has_room(m, f->file, offset + len))
        return err_set(err, RC_NO_SPACE, "the disk is full");
    m->last_write_blocks = len / block;
    resize(f->file, offset + len);
    for (size_t i = 0; i < len / block; i++) {
        if (!crash || (m->keep_blocks >> (i % 64) & 1))
            memcpy(f->file->data + offset + i * block, (const uint8_t *)ptr + i * block, block);
    }
    d->writes++;
    d->syncs++;
    d->bytes_written += len;
    return crash ? down(err) : RC_OK;
}

static enum rc memory_read(struct disk *d, struct disk_file *f, uint64_t offset, void *ptr, size_t len,
                           size_t *got, struct err *err)
{
    ASSERT(offset % d->block_size == 0 && len % d->block_size == 0 && (uintptr_t)ptr % d->block_size == 0);
    LOCKED(m, d);
    if (m->crashed)
        return down(err);
    m->reads++;
    *got = offset >= f->file->len ? 0 : MIN(len, f->file->len - offset);
    if (*got)
        memcpy(ptr, f->file->data + offset, *got);
    return RC_OK;
}

static enum rc memory_sync(struct disk *d, struct disk_file *f, struct err *err)
{
    d->syncs++;
    return memory_of(d)->crashed ? down(err) : RC_OK;
}

static enum rc memory_zero_fill(struct disk *d, struct disk_file *f, uint64_t size, struct err *err)
{
    LOCKED(m, d);
    bool was_down = m->crashed;
    bool crash = operation_crashes(m);
    if (was_down || (crash && !(m->keep_blocks & 1)))
        return down(err);
    if (!has_room(m, f->file, size))
        return err_set(err, RC_NO_SPACE, "the disk is full");
    resize(f->file, size);
    memset(f->file->data, 0, f->file->len);
    d->syncs++;
    return crash ? down(err) : RC_OK;
}

static enum rc memory_rename(struct disk *d, const char *from, const char *to, struct err *err)
{
    LOCKED(m, d);
    bool was_down = m->crashed;
    bool crash = operation_crashes(m);
    if (was_down || (crash && !(m->keep_blocks & 1)))
        return down(err);
    struct medium_file *f = find_file(m, from);
    if (!f)
        return err_set(err, RC_NOT_FOUND, "%s does not exist", from);
    ASSERT(!find_file(m, to));
    unlink_file(m, f);
    memset(f->name, 0, sizeof(f->name));
    memcpy(f->name, to, strlen(to));
    insert_file(m, f);
    return crash ? down(err) : RC_OK;
}

static enum rc memory_remove(struct disk *d, const char *name, struct err *err)
{
    LOCKED(m, d);
    bool was_down = m->crashed;
    bool crash = operation_crashes(m);
    if (was_down || (crash && !(m->keep_blocks & 1)))
        return down(err);
    struct medium_file *f = find_file(m, name);
    if (!f)
        return err_set(err, RC_NOT_FOUND, "%s does not exist", name);
    unlink_file(m, f);
    free(f->data);
    free(f);
    return crash ? down(err) : RC_OK;
}

static enum rc memory_list(struct disk *d, void (*visit)(void *ctx, const char *name), void *ctx,
                           struct err *err)
{
    struct disk_memory *m = memory_of(d);
    if (m->crashed)
        return down(err);
    for (struct medium_file *f = m->files; f; f = f->next)
        visit(ctx, f->name);
    return RC_OK;
}

static void memory_free(struct disk *d)
{
    struct disk_memory *m = memory_of(d);
    while (m->files) {
        struct medium_file *f = m->files;
        m->files = f->next;
        free(f->data);
        free(f);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct disk_ops memory_ops = {
    .open = memory_open,
    .close = memory_close,
    .size = memory_size,
    .write = memory_write,
    .read = memory_read,
    .sync = memory_sync,
    .zero_fill = memory_zero_fill,
    .rename = memory_rename,
    .remove = memory_remove,
    .list = memory_list,
    .free = memory_free,
};

struct disk *disk_memory_new(size_t block_size)
{
    struct disk_memory *m = xcalloc(1, sizeof(*m));
    m->disk.ops = &memory_ops;
    m->disk.block_size = block_size;
    m->capacity = UINT64_MAX;
    pthread_mutex_init(&m->lock, NULL);
    return &m->disk;
}

void disk_memory_set_capacity(struct disk *d, uint64_t bytes)
{
    LOCKED(m, d);
    m->capacity = bytes;
}

uint64_t disk_memory_used(struct disk *d)
{
    LOCKED(m, d);
    uint64_t used = 0;
    for (struct medium_file *f = m->files; f; f = f->next)
        used += f->len;
    return used;
}

void disk_memory_crash_at(struct disk *d, uint64_t operation, uint64_t keep_blocks)
{
    struct disk_memory *m = memory_of(d);
    m->crash_armed = true;
    m->crash_operation = operation;
    m->keep_blocks = keep_blocks;
}

bool disk_memory_crashed(struct disk *d)
{
    return memory_of(d)->crashed;
}

void disk_memory_restart(struct disk *d)
{
    memory_of(d)->crashed = false;
    memory_of(d)->crash_armed = false;
}

uint64_t disk_memory_reads(struct disk *d)
{
    LOCKED(m, d);
    return m->reads;
}

uint64_t disk_memory_operations(struct disk *d)
{
    return memory_of(d)->operations;
}

uint64_t disk_memory_last_write_blocks(struct disk *d)
{
    return memory_of(d)->last_write_blocks;
}

uint8_t *disk_memory_content(struct disk *d, const char *name, size_t *len)
{
    struct medium_file *f = find_file(memory_of(d), name);
    if (!f)
        return NULL;
    *len = f->len;
    return f->data;
}

void disk_memory_put(struct disk *d, const char *name, const void *ptr, size_t len)
{
    struct disk_memory *m = memory_of(d);
    struct medium_file *f = find_file(m, name);
    if (!f) {
        ASSERT(strlen(name) < NAME_MAX_LEN);
        f = xcalloc(1, sizeof(*f));
        memcpy(f->name, name, strlen(name) + 1);
        insert_file(m, f);
    }
    f->data = xrealloc(f->data, len ? len : 1);
    f->len = len;
    if (len)
        memcpy(f->data, ptr, len);
}

struct disk *disk_memory_clone(struct disk *d)
{
    struct disk *copy = disk_memory_new(d->block_size);
    memory_of(copy)->capacity = memory_of(d)->capacity;
    for (struct medium_file *f = memory_of(d)->files; f; f = f->next)
        disk_memory_put(copy, f->name, f->data, f->len);
    return copy;
}
