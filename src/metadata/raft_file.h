/* The durable store of a member of the metadata server: what it must offer, and the one over a file of frames
 * (metadata/frame_file.h; `raft.log` in the directory of the metadata server). A torn tail is cut at every
 * byte (BETTER B12); a failed fsync ends the process. */
#pragma once
#include "loop/loop.h"
#include "metadata/frame_file.h"
#include "metadata/raft_core.h"

struct raft_store;
struct raft_store_ops {
    /* Append `body`, or replace everything by it, sync, then call `done`. One at a time. */
    void (*write)(struct raft_store *s, struct bytes body_take, bool rewrite);
    /* `done` does not run any more; a write under way is finished and may be on disk. */
    void (*close)(struct raft_store *s);
};
struct raft_store {
    const struct raft_store_ops *ops;
    /* Set by the owner. RC_NO_SPACE, RC_IO: nothing was written. Never from inside `write`. */
    void (*done)(void *ctx, enum rc rc, const struct err *err);
    void *ctx;
};

#define RAFT_FILE_NAME "raft.log"
extern const struct frame_format raft_frame_format;

/* Open or create in `dir` (created if missing, its parent exists). `durable` becomes what it holds, without
 * an identity if it is new; the caller frees it or hands it on. Blocks for reading. Writes run on the pool of
 * `loop`; NULL: they block the caller's thread (tools, tests), `done` follows as a deferred task of `env`.
 * RC_EXISTS: another process has it; RC_CORRUPT: see frame_file.h. */
enum rc raft_file_open(struct env *env, struct loop *loop, const char *dir, struct raft_durable *durable,
                       struct raft_store **out, struct err *err);
