/* What carries a request to a deployment: a stream of the HTTP client, or a call of a Lambda function. Both
 * have the same callbacks (http/client.h) and rules. */
#pragma once
#include "http/client.h"
#include "invoker/lambda.h"

struct carrier {
    struct http_stream *http;
    struct lambda_call *lambda; /* one of the two; none: not open, or done */
};

static inline bool carrier_is_open(const struct carrier *c)
{
    return c->http || c->lambda;
}
static inline size_t carrier_write(struct carrier *c, struct bytes take)
{
    return c->lambda ? lambda_write(c->lambda, take) : http_stream_write(c->http, take);
}
static inline void carrier_end(struct carrier *c)
{
    if (c->lambda)
        lambda_end(c->lambda);
    else
        http_stream_end(c->http);
}
static inline void carrier_consumed(struct carrier *c, size_t n)
{
    if (c->lambda)
        lambda_consumed(c->lambda, n);
    else
        http_stream_consumed(c->http, n);
}
static inline void carrier_reset(struct carrier *c)
{
    if (c->lambda)
        lambda_reset(c->lambda);
    else
        http_stream_reset(c->http);
}
