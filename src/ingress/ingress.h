/* HTTP front door of one loop (spec/ingress.md): turns requests into commands for the partitions' leaders and
 * their replies into responses. Every shard loop has one `struct ingress`; what all of them share is in
 * `struct ingress_shared`. Except for ingress_shared_*, everything is called on the loop's thread. */
#pragma once
#include "http/server.h"
#include "metadata/schema.h"
#include "partition/rpc.h"
#include "trace/tracer.h"

struct ingress;
struct ingress_shared;

struct ingress_config {
    size_t request_size_limit;             /* bytes; 0: 32 MiB */
    uint64_t concurrent_requests_limit;    /* over all loops of the node; 0: none */
    uint32_t http2_max_concurrent_streams; /* 0: 200 */
    bool controlled_idempotent_sharding;   /* cluster feature, spec/ingress.md §1.3 */
    bool vqueues; /* scoped routes are allowed; else they answer the documented 400 */
    bool scoped_virtual_objects;
    const char *version; /* put into new invocations; copied */
};

/* Limits and settings common to the loops of a node. Immutable but for the counter of requests in progress.
 */
struct ingress_shared *ingress_shared_new(const struct ingress_config *config);
/* After the last ingress was freed. */
void ingress_shared_free(struct ingress_shared *shared);
uint64_t ingress_shared_in_progress(const struct ingress_shared *shared);

/* `schema` is the loop's cell: its content may be replaced between two calls. Nothing is taken over. */
struct ingress *ingress_new(struct ingress_shared *shared, struct loop *loop, struct partition_router *router,
                            const struct schema_cell *schema);
/* Of this loop; NULL (as at first): no spans, and the client's trace context is stored as it came. */
void ingress_set_tracer(struct ingress *in, struct tracer *tracer);
/* Serve this connection (takes it over). */
void ingress_accept(struct ingress *in, struct net_conn *conn);
/* For net_listen with the ingress as ctx. */
extern const struct net_listener_ops ingress_listener_ops;
/* The listeners must be closed by their owner. Tells connections to close, waits at most `timeout_ms` for
 * requests in progress, drops the rest; `done` runs on the loop (spec/ingress.md §1.4: 5 s). */
void ingress_drain(struct ingress *in, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx);
/* Closes all connections. Requests handed to the router keep their small state until its reply comes. */
void ingress_free(struct ingress *in);
