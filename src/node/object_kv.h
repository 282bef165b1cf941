/* The `object-store` provider of the key-value interface (metadata/kv.h, spec/cluster.md §2.7): one object
 * per key, changed by conditional writes. A deterministic core on top of objects/object_store.h.
 *
 * The name of an object is `<prefix>/<key>`, where letters, digits, `_` and `-` of the key stand for
 * themselves and every other byte is `!` and two upper-case hexadecimal digits. Its content:
 *
 *     u8   'e' exists, 'd' deleted (a tombstone, whose value is empty)
 *     u8   1, the format
 *     u64  salt, random: the ETags of two writes of the same value differ
 *     u32  version
 *     ...  value                                      (numbers are little-endian)
 *
 * An object is created with If-None-Match and replaced with If-Match on the ETag that was read, also to
 * delete: so a late write of somebody else never takes effect on what it has not seen. Writes with unknown
 * outcome are RC_TIMEOUT (TR-6). A list reads all its objects, and again until nothing has changed between
 * two readings: what it reports was there at one moment.
 *
 * One owner, the loop of `env`. */
#pragma once
#include "base/codec.h"
#include "base/env.h"
#include "metadata/kv.h"
#include "objects/object_store.h"

#define OBJECT_KV_LIST_BYTES_MAX (256u << 20) /* values that a list may have */

struct object_kv;
/* `store` must outlive it, `prefix` ("" none, otherwise without slashes at its ends) is copied. */
struct object_kv *object_kv_new(struct env *env, struct object_store *store, const char *prefix);
/* The provider. After kv_close, operations of the store that have not ended keep the client; otherwise it is
 * freed. */
struct kv *object_kv_provider(struct object_kv *c);
/* Nothing is asked of the store from now on; operations end with RC_CLOSED, those in progress when the store
 * has ended them. */
void object_kv_stop(struct object_kv *c);

struct object_value {
    bool deleted;
    uint32_t version;
    struct slice value; /* lies in the content */
};
void object_value_write(struct writer *w, const struct object_value *v, uint64_t salt);
/* RC_CORRUPT: no such content. */
enum rc object_value_read(struct slice content, struct object_value *out, struct err *err);

/* False: it would be longer than OBJECT_KEY_MAX. */
bool object_kv_name(struct slice prefix, struct slice key, char out[OBJECT_KEY_MAX + 1]);
/* `name` without the prefix; false: not a name that object_kv_name gives. */
bool object_kv_key(struct slice name, char out[KV_KEY_MAX], size_t *len);
