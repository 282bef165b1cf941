/* gRPC for clients, on top of one http_stream: unary calls and server streaming, with a deadline. Requests
 * are sent as zstd when that makes them smaller; answers may be zstd or gzip. All calls and callbacks on the
 * loop's thread. */
#pragma once
#include "http/client.h"
#include "http/grpc.h"

struct grpc_status {
    enum grpc_code code;
    /* Of the answer; or, when there is none, what went wrong with the connection. "" when nothing was said.
     */
    char message[ERR_MESSAGE_SIZE];
    bool transport; /* no answer of a gRPC server: not connected, reset, timeout, other protocol */
    bool unsent;    /* the request certainly did not reach the server */
};

struct grpc_client_call; /* valid until on_done returns */
struct grpc_client_ops {
    /* One message of the answer, decompressed and lent. */
    void (*on_message)(void *ctx, struct bytes message);
    /* Last callback, exactly once; never from inside grpc_client_call or grpc_client_cancel. */
    void (*on_done)(void *ctx, const struct grpc_status *status);
};

/* `path` is `/package.Service/Method`. `message` is consumed. `timeout_ms` 0: none. `authority` as in the
 * URI. A message of more than `max_message_bytes` ends the call with OUT_OF_RANGE. */
struct grpc_client_call *grpc_client_call(struct loop *loop, struct http_client *client,
                                          const struct http_uri *uri, const char *path,
                                          struct bytes message_take, uint64_t timeout_ms,
                                          size_t max_message_bytes, const struct grpc_client_ops *ops,
                                          void *ctx);
/* The same with metadata of the caller's (lower-case names; copied), to a server that may not know zstd: the
 * request is sent as it is. */
#define GRPC_CLIENT_METADATA_MAX 64 /* further ones are not sent */
struct grpc_client_call *grpc_client_call_with(struct loop *loop, struct http_client *client,
                                               const struct http_uri *uri, const char *path,
                                               const struct http_header *metadata, size_t n_metadata,
                                               struct bytes message_take, uint64_t timeout_ms,
                                               size_t max_message_bytes, const struct grpc_client_ops *ops,
                                               void *ctx);
/* on_done follows with CANCELLED. */
void grpc_client_cancel(struct grpc_client_call *c);
