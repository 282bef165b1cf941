/* AWS Lambda functions as deployments (spec/service-protocol.md §12.3): synchronous calls of the Invoke API,
 * signed (SigV4), over the loop's HTTP client. What may block or takes time - credentials, encoding, signing,
 * decoding - runs as jobs on worker threads. */
#pragma once
#include "http/client.h"
#include "invoker/lambda_envelope.h"
#include "metadata/schema.h"

/* ---- who we are for AWS: one per node, any thread ---- */
struct lambda_access;
struct lambda_access_config {
    const char *profile; /* worker.invoker.aws-profile; NULL: the default chain (objects/aws_credentials.h) */
    const char *external_id; /* worker.invoker.aws-assume-role-external-id; NULL: none */
};
/* Endpoint of the Invoke API: AWS_ENDPOINT_URL_LAMBDA, AWS_ENDPOINT_URL, else the one of the function's
 * region. */
struct lambda_access *lambda_access_new(const struct lambda_access_config *config);
/* Every `struct lambda` that uses it is closed. Joins its threads. */
void lambda_access_free(struct lambda_access *a);

/* ---- calls of one loop ---- */
struct lambda;
struct lambda_call; /* one call, from lambda_open until on_done */

/* `held(ctx, delta)`: bytes of responses that are kept until they are consumed became more or less. */
struct lambda *lambda_new(struct lambda_access *access, struct loop *loop, struct http_client *client,
                          void (*held)(void *ctx, int64_t delta), void *ctx);
/* Breaks off what runs; `closed` when nothing is left, never from inside. Calls opened later are refused. All
 * users of the same access are meant to close at about the same time: what blocks is broken off for all. */
void lambda_close(struct lambda *l, void (*closed)(void *ctx), void *ctx);
/* No call may be left: closed, or never used. */
void lambda_free(struct lambda *l);

struct lambda_request {
    const char *arn, *assume_role_arn; /* role NULL: as ourselves */
    struct slice method, path;
    const struct http_header *headers;
    size_t n_headers;
    bool zstd;                    /* the function understands zstd: offer it for the answer, ... */
    uint64_t compress_from_bytes; /* ... and use it for a request body from this size on */
};
/* Begin a call. Everything is copied. The callbacks are those of an HTTP stream and keep its rules
 * (http/client.h): the body is open until lambda_end; on_done exactly once, never from inside a call of this
 * header; `s` is NULL. The function's response arrives as head, data, end. Failures arrive as on_done with a
 * sentence: RC_INVALID where another try would not help by itself (credentials, no such function, a function
 * that failed), RC_UNAVAILABLE and others where it may. Throttling and payloads that are too large for AWS
 * arrive as responses with status 429 and 413. */
struct lambda_call *lambda_open(struct lambda *l, const struct lambda_request *request,
                                const struct http_stream_ops *ops, void *ctx);
/* Appends to the body (consumes the reference); returns the bytes collected. */
size_t lambda_write(struct lambda_call *c, struct bytes take);
/* The request is complete: it goes out. */
void lambda_end(struct lambda_call *c);
/* Give back window for received bytes. */
void lambda_consumed(struct lambda_call *c, size_t n);
/* Break off; on_done (RC_CANCELED) follows. */
void lambda_reset(struct lambda_call *c);
