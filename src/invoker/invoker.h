/* The invoker of one shard loop: runs attempts of invocations against deployments (spec/service-protocol.md
 * §3, §6 to §10, §12; spec/invocation-lifecycle.md §9). Leader memory only: nothing here survives a crash,
 * the journal does.
 *
 * One `struct invoker` per loop; one `struct invoker_partition` per partition led on that loop. */
#pragma once
#include "http/client.h"
#include "invoker/lambda.h"
#include "invoker/throttle.h"
#include "metadata/schema.h"
#include "partition/attempt_status.h"
#include "partition/processor.h"
#include "trace/tracer.h"

struct invoker;
struct invoker_partition;

struct invoker_config {
    uint32_t concurrent_invocations_limit; /* attempts per partition leader (1000); further ones queue FIFO */
    uint64_t message_size_warning;
    uint64_t
        message_size_limit; /* as configured; 256 KiB of slack are added (spec/service-protocol.md §3.10) */
    uint64_t eager_state_size_limit; /* 0: none */
    uint64_t memory_limit;           /* bytes of attempt buffers on this node; at the limit attempts wait */
    uint64_t per_invocation_memory_limit;
    uint32_t max_awaited_future_depth;
    bool enable_v7;
    bool scopes;         /* calls may name a scope (lifecycle §12.4) */
    bool scoped_objects; /* also those of virtual objects */
    /* Back-offs of scoped invocations from this on give the slot of their limit back; 0: none. */
    uint64_t yield_threshold_ms;
    const char *identity_key_pem; /* content of the PEM file, NULL: no signatures */
    uint64_t identity_expiration_s;
    const struct schema_header *additional_headers; /* x-restate-cluster-name by default */
    size_t n_additional_headers;
    const char *created_using_version;
    struct lambda_access *lambda; /* NULL: no deployments on AWS Lambda */
    uint64_t lambda_compression_threshold;
    struct invoker_throttles *throttles; /* of the node, outlives the invoker; NULL: none */
    struct tracer *tracer;               /* of this loop; NULL: no tracing */
};

/* What the invoker asks of the partition. `ctx` is the processor's host glue. */
struct invoker_ops {
    /* Propose a record of effects (consumes the reference, also on failure). RC_OVERLOADED / RC_NO_SPACE: the
     * invoker keeps its own reference, stops giving window to that stream and tries again. Any other failure:
     * the leader is gone, the chain is aborted. Must not call back into the invoker. */
    enum rc (*propose)(void *ctx, struct bytes record_take);
    /* The invocation as stored now (NULL if gone): journal, pin, target. Valid during the call chain, on the
     * same loop. */
    struct invocation *(*invocation)(void *ctx, struct invocation_id id);
    struct partition_store *(*store)(void *ctx);
};

/* Copies the config. `cell` outlives the invoker and is read for every attempt. */
enum rc invoker_new(struct loop *loop, struct env *env, struct http_client *client,
                    const struct invoker_config *config, const struct schema_cell *cell, struct invoker **out,
                    struct err *err);
/* Timeouts and limits that react to a configuration reload. */
void invoker_reconfigure(struct invoker *inv, const struct invoker_config *config);
/* Breaks off discoveries, previews and calls of Lambda functions and takes no new ones; `closed`, never from
 * inside, when no worker thread is busy with any. To be waited for before invoker_free where config.lambda
 * was set.
 */
void invoker_close(struct invoker *inv, void (*closed)(void *ctx), void *ctx);
/* All partitions were freed before. Streams that still drain are let go; the http_client is freed after the
 * invoker. */
void invoker_free(struct invoker *inv);
/* "publickeyv1_..." to be logged at start, or NULL without an identity key (spec/service-protocol.md §3.6).
 */
const char *invoker_identity_key_id(const struct invoker *inv);
struct invoker_stats {
    size_t running, queued, backing_off,
        draining; /* attempts and waiting invocations of all partitions of this loop */
    uint64_t memory_used;
    uint64_t attempts_started, attempts_failed;
};
void invoker_get_stats(const struct invoker *inv, struct invoker_stats *out);

struct invoker_partition *invoker_partition_new(struct invoker *inv, uint16_t partition_id,
                                                const struct invoker_ops *ops, void *ctx);
/* Abort everything (loss of leadership, shutdown): streams are reset, retry state forgotten. */
void invoker_partition_free(struct invoker_partition *p);

/* Action Invoke: queue an attempt; a fresh entry unless one is there already. */
void invoker_invoke(struct invoker_partition *p, struct invocation *inv);
void invoker_abort(struct invoker_partition *p, struct invocation_id id);
/* A notification was stored at this journal index: send it to the running attempt, unless the replay already
 * contained it. */
void invoker_notify(struct invoker_partition *p, struct invocation *inv, uint32_t entry_index);
void invoker_ack_command(struct invoker_partition *p, struct invocation_id id, uint32_t command_index);
/* Effects record `batch` of attempt chain `token` was applied, or dropped. Gates retries (§6.5) and acks. */
void invoker_effects_applied(struct invoker_partition *p, struct invocation_id id, uint64_t token,
                             uint64_t batch, bool dropped);
/* Operator: pause. True if there is an entry (running or backing off). */
bool invoker_pause(struct invoker_partition *p, struct invocation_id id);
/* Operator: resume of an Invoked one: skip the back-off. */
void invoker_retry_now(struct invoker_partition *p, struct invocation_id id);

/* For introspection (spec/invocation-lifecycle.md §9.4). Texts in `out` are valid until the next call into
 * the invoker. */
bool invoker_status(struct invoker_partition *p, struct invocation_id id,
                    struct invocation_attempt_status *out);
/* The same of every invocation that the partition's leader knows, in no order. */
void invoker_scan(struct invoker_partition *p,
                  void (*visit)(void *ctx, struct invocation_id id,
                                const struct invocation_attempt_status *status),
                  void *ctx);

/* ---- discovery (spec/service-protocol.md §2) ---- */
struct discovery_request {
    const char *uri; /* or NULL and: */
    const char *arn, *assume_role_arn;
    bool use_http_11;
    const struct schema_header *headers;
    size_t n_headers;
};
struct discovery_result {
    enum rc rc;            /* RC_OK, or failed */
    char restate_code[12]; /* "META0003", ... or ""; `message` does not repeat it */
    char message[ERR_MESSAGE_SIZE];
    int http_status;       /* status the admin API answers with when failed */
    bool http_1_1;         /* version of the response */
    char sdk_version[128]; /* x-restate-server, "" if none */
    struct bytes manifest; /* the JSON body */
};
/* One discovery with its retries (§2.7); `done` exactly once on the loop. */
void invoker_discover(struct invoker *inv, const struct discovery_request *request,
                      void (*done)(void *ctx, const struct discovery_result *result), void *ctx);

/* ---- preview of serdes (spec/service-protocol.md §3.11) ---- */
struct preview_request {
    const struct schema_deployment *deployment; /* all of this is lent for the call */
    struct slice service, serde;                /* plain text; the serde's name may contain slashes */
    bool encode;                                /* JSON to the serde's form; else back */
    struct slice body;
    /* Bytes of a successful answer, lent; to be given back by preview_consumed, then or later. */
    void (*on_data)(void *ctx, struct bytes data);
    /* Exactly once, on the loop, never from inside invoker_preview, unless cancelled: NULL, or why there is
     * no answer, or none after what arrived. Nothing may be called for this preview any more. */
    void (*on_done)(void *ctx, const char *failure);
    void *ctx;
};
struct preview;
struct preview *invoker_preview(struct invoker *inv, const struct preview_request *request);
void preview_consumed(struct preview *p, size_t n);
/* No callback runs any more. */
void preview_cancel(struct preview *p);
