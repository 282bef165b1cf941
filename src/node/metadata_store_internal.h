/* Between metadata_store.c and the kinds of stores. */
#pragma once
#include "node/metadata_store.h"

struct metadata_store_ops {
    void (*stop)(struct metadata_store *s, void (*done)(void *ctx), void *ctx);
    void (*abandon)(struct metadata_store *s);
    void (*free)(struct metadata_store *s);
};
struct metadata_store {
    const struct metadata_store_ops *ops;
    struct kv *kv;
    bool stopped;
};

enum rc metadata_etcd_open(struct loop *loop, const struct metadata_client_config *config,
                           struct metadata_store **out, struct err *err);
enum rc metadata_objects_open(struct loop *loop, const struct metadata_client_config *config,
                              struct metadata_store **out, struct err *err);
