/* A disk in memory, for tests, fuzzers and the simulator: deterministic, with the faults that a real one has.
 * What was written is durable when the call returns, except for the write during which a crash is injected:
 * of that one, any subset of its blocks reaches the medium. */
#pragma once
#include "bifrost/disk.h"

struct disk *disk_memory_new(size_t block_size);
/* Bytes that all files together may occupy; RC_NO_SPACE beyond. Unlimited at first. */
void disk_memory_set_capacity(struct disk *d, uint64_t bytes);
uint64_t disk_memory_used(struct disk *d);

/* Crash during operation number `operation` from now (0 = the next one; writes, zero_fills, renames and
 * removes count). Of a write, block i of its range reaches the medium if bit i mod 64 of `keep_blocks` is
 * set; of the others, the operation takes place if keep_blocks is odd. That call and every later one returns
 * RC_IO until disk_memory_restart. */
void disk_memory_crash_at(struct disk *d, uint64_t operation, uint64_t keep_blocks);
bool disk_memory_crashed(struct disk *d);
/* Power on again: drops the crash and all open handles (free them with close as usual, before or after). */
void disk_memory_restart(struct disk *d);
uint64_t disk_memory_operations(struct disk *d); /* so far */
uint64_t disk_memory_reads(struct disk *d);      /* so far; they are no operations */
/* Length in blocks of the last write; 0 if the last operation was of another kind. */
uint64_t disk_memory_last_write_blocks(struct disk *d);

/* The content of a file, to look at and to damage; NULL if it does not exist. Valid until it is resized or
 * removed. */
uint8_t *disk_memory_content(struct disk *d, const char *name, size_t *len);
/* Create or replace a file. */
void disk_memory_put(struct disk *d, const char *name, const void *ptr, size_t len);
/* An independent copy of everything on the medium, to try several futures of one history. */
struct disk *disk_memory_clone(struct disk *d);
