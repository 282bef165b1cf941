/* The `etcd` provider of the key-value interface (metadata/kv.h, spec/cluster.md §2.7): a client of an etcd
 * cluster. A deterministic core; the shell around it (node/metadata_etcd.h) makes the gRPC calls.
 *
 * One endpoint is used until it fails, then the next one. Reads are linearizable and are repeated until
 * `operation_ms`. A write is repeated only while it certainly did not reach etcd; when its answer does not
 * come, or says that etcd itself does not know, it is reported as RC_TIMEOUT, undecided (TR-6). That is harm-
 * less when it takes effect late: every write is bound to the version it replaces.
 *
 * A key without `<key>::version`, or one that ends like that, is not ours: such a key is not listed, reading
 * it is RC_CORRUPT, and writing one is refused.
 *
 * One owner, the loop of `env`. */
#pragma once
#include "base/env.h"
#include "metadata/kv.h"

#define ETCD_ENDPOINTS_MAX  32u
#define ETCD_LIST_BYTES_MAX (256u << 20) /* keys and values that a list may have */

struct etcd_client_options {
    uint32_t read_ms;        /* 1000: wait for the answer of one endpoint */
    uint32_t write_ms;       /* 2000 */
    uint32_t pause_ms;       /* 100: when all were asked in vain, about so long */
    uint32_t operation_ms;   /* 10000: then give up */
    uint32_t operations_max; /* 4096: more are refused as RC_OVERLOADED */
    uint32_t list_page;      /* 128 keys of etcd's in one answer */
};
void etcd_client_options_default(struct etcd_client_options *o);

/* A request in progress; embedded in the client's operation, which lives until etcd_client_answered. */
struct etcd_call {
    size_t endpoint;
    const char *path; /* ETCD_RANGE_PATH, ETCD_TXN_PATH */
    uint32_t timeout_ms;
    void *private_; /* the shell's */
};
/* How a call ended. */
struct etcd_reply {
    bool transport; /* etcd did not answer (in time) */
    bool unsent;    /* the request certainly did not reach it */
    unsigned code;  /* gRPC status; 0: OK */
    const char *message;
    struct bytes body; /* lent */
};
struct etcd_client_ops {
    /* Send `message` to an endpoint; etcd_client_answered follows, never from inside, at the latest a little
     * after `timeout_ms`. */
    void (*send)(void *ctx, struct etcd_call *call, struct bytes message_take);
};

struct etcd_client;
/* `n_endpoints` is 1 to ETCD_ENDPOINTS_MAX. */
struct etcd_client *etcd_client_new(struct env *env, const struct etcd_client_options *o, size_t n_endpoints,
                                    const struct etcd_client_ops *ops, void *ctx);
/* The provider. kv_close frees the client: every call must have been answered. */
struct kv *etcd_client_kv(struct etcd_client *c);
void etcd_client_answered(struct etcd_client *c, struct etcd_call *call, const struct etcd_reply *reply);
/* Nothing is sent from now on: operations end with RC_CLOSED, those in progress when they are answered. */
void etcd_client_stop(struct etcd_client *c);
