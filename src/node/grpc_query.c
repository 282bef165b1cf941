/* ClusterCtrlSvc/Query (node/grpc_query.h): an Arrow stream, cut into messages of whole batches. */
#include "node/grpc_query.h"

#include <stdlib.h>

#include "node/grpc_requests.h"
#include "node/node_internal.h"
#include "wire/pb.h"

struct query_call {
    struct rpc *rpc;
    struct query_job *job;
    struct writer warnings; /* fields of the next answer */
    size_t held;            /* bytes sent while the client did not take more */
};

static void on_data(void *ctx, struct bytes take)
{
    struct query_call *q = ctx;
    struct writer w = WRITER_INIT;
    pb_write_bytes_always(&w, 1, bytes_slice(take));
    write_slice_raw(&w,
                    writer_slice(&q->warnings)); /* not behind the end of the stream: nobody reads there */
    writer_free(&q->warnings);
    size_t n = take.len;
    bytes_unref(&take);
    if (rpc_send(q->rpc, &w) > NET_HIGH_WATER)
        q->held += n;
    else
        query_taken(q->job, n);
}

/* QueryWarning: `{1 node, 2 message}`. */
static void on_warnings(void *ctx, struct slice warnings)
{
    struct query_call *q = ctx;
    struct reader r = reader_make(warnings);
    while (reader_left(&r) && !r.failed) {
        struct writer warning = WRITER_INIT;
        pb_write_bytes(&warning, 1, read_lp(&r));
        pb_write_bytes(&warning, 2, read_lp(&r));
        pb_put_message(&q->warnings, 2, &warning);
    }
}

static void writable(void *ctx)
{
    struct query_call *q = ctx;
    query_taken(q->job, q->held);
    q->held = 0;
}

static void gone(void *ctx)
{
    struct query_call *q = ctx;
    query_cancel(q->job);
    writer_free(&q->warnings);
    free(q);
}

static enum grpc_code code_of(const struct sql_error *err, unsigned retry_after_s)
{
    if (retry_after_s)
        return GRPC_RESOURCE_EXHAUSTED;
    switch (err->kind) {
    case SQL_ERROR_PARSE:
    case SQL_ERROR_SCHEMA:
    case SQL_ERROR_EXECUTION:
        return GRPC_INVALID_ARGUMENT;
    case SQL_ERROR_UNAVAILABLE:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_INTERNAL;
    }
}

static void on_end(void *ctx, const struct sql_error *err, uint64_t rows, unsigned retry_after_s)
{
    struct query_call *q = ctx;
    struct rpc *rpc = q->rpc;
    writer_free(&q->warnings);
    free(q);
    if (err->kind == SQL_ERROR_NONE) {
        rpc_end(rpc);
        return;
    }
    struct writer text = WRITER_INIT;
    sql_error_write(&text, err, false);
    rpc_fail(rpc, code_of(err, retry_after_s), "%.*s", SLICE_FMT(writer_slice(&text)));
    writer_free(&text);
}

void cluster_query(struct rpc *rpc, struct node *n, struct bytes message)
{
    static const struct query_events events = {
        .on_warnings = on_warnings, .on_data = on_data, .on_end = on_end};
    struct slice sql;
    if (!bytes_request_decode(bytes_slice(message), 1, &sql) || !n->queries) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "the request does not decode");
        return;
    }
    struct query_call *q = xcalloc(1, sizeof(*q));
    q->rpc = rpc;
    struct rpc_stream stream = {writable, gone, q};
    rpc_begin_stream(rpc, &stream);
    struct query_request request = {.sql = sql, .context = SQL_CONTEXT_CLUSTER, .format = RESULT_ARROW};
    q->job = query_start(n->queries, &request, &events, q);
}
