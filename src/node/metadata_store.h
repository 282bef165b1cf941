/* Metadata of the cluster in a store outside of its nodes (spec/cluster.md §2.7): etcd, or an object store.
 * The surroundings of the cores that do the work: metadata/etcd_client.h, node/object_kv.h. Owned by one
 * loop. */
#pragma once
#include "loop/loop.h"
#include "metadata/kv.h"
#include "node/config.h"

struct metadata_store;

/* `config` names an external store and was checked (config.c); it stays valid. Connects to nothing yet. */
enum rc metadata_store_open(struct loop *loop, const struct metadata_client_config *config,
                            struct metadata_store **out, struct err *err);
/* Closed (kv_close) by its owner, after metadata_store_stop or _abandon and before metadata_store_free. */
struct kv *metadata_store_kv(struct metadata_store *s);
/* Breaks off what is in progress (RC_CLOSED) and lets go of connections and threads; `done` later, once. */
void metadata_store_stop(struct metadata_store *s, void (*done)(void *ctx), void *ctx);
/* Instead of it, when the process has failed and the loop does not run any more. No-op after it. */
void metadata_store_abandon(struct metadata_store *s);
void metadata_store_free(struct metadata_store *s);
