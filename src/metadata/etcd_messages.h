/* What a key-value store needs of etcd's gRPC API, version 3 (etcdserverpb.KV): requests are written, answers
 * read. Pure. The layout is that of spec/cluster.md §2.7: the value under its key, the version that its
 * writer gave it as four bytes (little-endian) under `<key>::version`. */
#pragma once
#include "base/codec.h"
#include "base/containers.h"

#define ETCD_VERSION_SUFFIX "::version"
#define ETCD_RANGE_PATH     "/etcdserverpb.KV/Range"
#define ETCD_TXN_PATH       "/etcdserverpb.KV/Txn"

/* A range read of keys that begin with `prefix`, from `from` on (itself one of them, or `prefix`), at most
 * `limit`, as of `revision` (0: now). */
void etcd_write_list(struct writer *w, struct slice prefix, struct slice from, uint32_t limit,
                     uint64_t revision);
/* A transaction that reads the value and the version of `key` at the same revision. */
void etcd_write_get(struct writer *w, struct slice key);

/* A transaction that writes or deletes both if the version is the expected one, and otherwise reads the
 * version. */
struct etcd_change {
    struct slice key, value;
    bool put; /* else delete */
    uint32_t version;
    enum { ETCD_IF_ANY, ETCD_IF_ABSENT, ETCD_IF_VERSION } condition;
    uint32_t expected;
};
void etcd_write_change(struct writer *w, const struct etcd_change *c);

struct etcd_pair {
    struct slice key, value; /* lie in the message */
};
struct etcd_answer {
    bool succeeded; /* of a transaction: the condition held */
    bool more;      /* of a list: it was cut at the limit */
    uint64_t revision;
    struct {
        struct etcd_pair *items;
        size_t len, cap;
    } pairs; /* in the order of the answer */
};
/* RC_CORRUPT: no such message. Nothing is to be released then. */
enum rc etcd_read_list(struct slice message, struct etcd_answer *out, struct err *err);
enum rc etcd_read_txn(struct slice message, struct etcd_answer *out, struct err *err);
void etcd_answer_release(struct etcd_answer *a);

/* The value of a version key; false: it has another form. */
bool etcd_version_parse(struct slice value, uint32_t *out);
/* `key` is the version key of `of`. */
bool etcd_is_version_key(struct slice key, struct slice of);
bool etcd_has_version_suffix(struct slice key);
