/* Read-modify-write of one metadata key: read, change, put with a precondition on the version that was read,
 * and again when somebody else was faster. Embedded in the caller's object, which stays alive until `done`;
 * everything on the loop of the key-value store. */
#pragma once
#include "base/codec.h"
#include "metadata/kv.h"

#define KV_EDIT_TRIES 10

struct kv_edit {
    struct kv *kv;
    const char *key; /* alive until done */
    /* Write the new value to `w` and its version to `*version`. `current` is NULL when the key is absent.
     * RC_OK: put it; RC_EOF: nothing to change, which is a success; otherwise the edit fails with `err`. May
     * run several times. */
    enum rc (*change)(struct kv_edit *e, const struct kv_entry *current, struct writer *w, uint32_t *version,
                      struct err *err);
    /* `err` NULL on success. Never called from inside kv_edit_start. */
    void (*done)(struct kv_edit *e, const struct err *err);

    struct kv_op op; /* private */
    unsigned tries;
    struct err err;
};
void kv_edit_start(struct kv_edit *e);
/* For `done`: it failed because somebody else was faster every time, nothing was refused. It may be started
 * again, after a pause. */
static inline bool kv_edit_was_outrun(const struct kv_edit *e, const struct err *err)
{
    return err && err->rc == RC_CONFLICT && e->tries >= KV_EDIT_TRIES;
}
