/* Single HTTP requests through libcurl, for jobs on worker threads (blocking). Connections are kept between
 * requests. Any number of threads. */
#pragma once
#include <stdatomic.h>

#include "base/bytes.h"
#include "objects/aws_sign.h"

struct aws_http;
struct aws_http *aws_http_new(void);
/* No request may be running. */
void aws_http_free(struct aws_http *h);

struct aws_http_request {
    const char *method, *url;
    const struct aws_header *headers;
    size_t n_headers;
    struct slice body;
    size_t max_bytes;             /* of a good answer; of an error it is 64 KiB, the rest is ignored */
    bool fresh;                   /* on a new connection: curl repeats requests when a kept one was closed */
    bool direct;                  /* no proxy: services of this machine */
    uint32_t connect_ms;          /* until the connection is there */
    uint32_t stall_ms;            /* then broken off when nothing moved for so long */
    const _Atomic bool *canceled; /* looked at about every second; NULL: cannot be */
};
struct aws_http_response {
    long status;
    char etag[128], region[64]; /* x-amz-bucket-region */
    struct bytes body;          /* the receiver's reference */
};
/* RC_OK: there is an answer of whatever status, complete. Otherwise nothing to release:
 *   RC_UNAVAILABLE  not sent: no connection
 *   RC_TIMEOUT      sent, at least in part, without a complete answer
 *   RC_TOO_LARGE    the answer is larger than max_bytes
 *   RC_INVALID      the URL cannot be used, the certificate is not accepted
 *   RC_CANCELED */
enum rc aws_http_run(struct aws_http *h, const struct aws_http_request *request,
                     struct aws_http_response *out, struct err *err);
