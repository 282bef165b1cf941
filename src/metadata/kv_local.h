/* The `local` provider of the key-value interface: all values in memory, durable in one file of the node
 * (metadata/kv_file.h). */
#pragma once
#include "loop/loop.h"
#include "metadata/kv.h"

/* Open or create in `dir` (created if missing, its parent exists). Blocks for the few milliseconds of reading
 * the file. Operations belong to the loop of `env`; writes and syncs run on the pool of `loop`, several
 * operations waiting together share one sync. `loop` NULL: they block the caller's thread (tools, tests). */
enum rc kv_local_open(struct env *env, struct loop *loop, const char *dir, struct kv **out, struct err *err);
