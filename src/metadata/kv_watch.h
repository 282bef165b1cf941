/* A key-value store that tells what passes through it: every value that was read or written successfully, so
 * that caches follow all writers of this node without each of them knowing the caches. */
#pragma once
#include "metadata/kv.h"

/* Takes over `inner`; `seen` runs on its loop, before the operation's own `done`, with a value that is
 * committed. Values of one key may be seen again, and an older one after a newer one: compare versions.
 * Deletions and lists are not reported. */
struct kv *kv_watch_new(struct kv *inner_take, void (*seen)(void *ctx, const struct kv_entry *entry),
                        void *ctx);
