/* The operator services on the node port (spec/restatectl.md §5, §8): one table of methods per service, and
 * the unary call that a method answers. Everything on the main loop. */
#pragma once
#include "base/codec.h"
#include "http/grpc.h"

struct node;
struct rpc; /* one call; lives until it is answered and the exchange is over */

struct rpc_method {
    const char *name;
    /* Answers now or later, exactly once. The message is lent: take a reference to keep it. */
    void (*run)(struct rpc *rpc, struct node *n, struct bytes message);
};
struct rpc_service {
    const char *name;
    unsigned role; /* the node must have it, or the service does not exist here; 0: any */
    /* NULL: always. Otherwise UNAVAILABLE `svc is not ready yet` while false. */
    bool (*ready)(const struct node *n);
    const struct rpc_method *methods;
    size_t n_methods;
};
extern const struct rpc_service node_ctl_service;        /* grpc_node_ctl.c */
extern const struct rpc_service metadata_proxy_service;  /* grpc_metadata_store.c */
extern const struct rpc_service metadata_server_service; /* grpc_metadata_server.c */
extern const struct rpc_service cluster_ctrl_service;    /* grpc_cluster_ctrl.c */
extern const struct rpc_service log_server_service;      /* grpc_log_server.c */

/* Take over a POST to `/<service>/<method>`; false if there is no such service here. */
bool grpc_server_serve(struct node *n, struct http_request *r, struct slice service, struct slice method);

void rpc_reply(struct rpc *rpc, struct writer *message_take);
void rpc_reply_empty(struct rpc *rpc);
void rpc_fail(struct rpc *rpc, enum grpc_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* For answers of many messages: any number of rpc_send, then rpc_end or rpc_fail. rpc_send returns the bytes
 * that wait to be sent; above NET_HIGH_WATER wait for `writable`. When the client is gone before, `gone` is
 * called, and the call is over with it. */
struct rpc_stream {
    void (*writable)(void *ctx);
    void (*gone)(void *ctx);
    void *ctx;
};
void rpc_begin_stream(struct rpc *rpc, const struct rpc_stream *stream);
size_t rpc_send(struct rpc *rpc, struct writer *message_take);
void rpc_end(struct rpc *rpc);

/* Status for a result code of ours. */
enum grpc_code grpc_code_of(enum rc rc);
