/* POST /query (spec/admin-api.md §16, spec/sql.md §8): the result goes out batch by batch, no faster than the
 * client takes it; a client that leaves ends its query. */
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "loop/net.h"
#include "query/engine.h"

struct query_call {
    struct admin_call *call; /* NULL once it is over */
    struct query_job *job;
    enum result_format format;
    bool started;
    size_t held; /* bytes that were written while the client did not take more */
};

static void over(struct query_call *q)
{
    call_close(q->call);
    free(q);
}

static void on_data(void *ctx, struct bytes take)
{
    struct query_call *q = ctx;
    struct admin_exchange *x = q->call->exchange;
    if (!q->started) {
        struct admin_answer head = {.status = 200,
                                    .content_type = q->format == RESULT_JSON
                                                        ? "application/json"
                                                        : "application/vnd.apache.arrow.stream"};
        x->start(x, &head);
        q->started = true;
    }
    size_t n = take.len;
    if (x->write(x, take) > NET_HIGH_WATER)
        q->held += n;
    else
        query_taken(q->job, n);
}

static void writable(struct admin_exchange *x)
{
    struct query_call *q = x->user;
    query_taken(q->job, q->held);
    q->held = 0;
}

static void gone(struct admin_exchange *x)
{
    struct query_call *q = x->user;
    query_cancel(q->job);
    x->end(x, false);
    over(q);
}

static void on_end(void *ctx, const struct sql_error *err, uint64_t rows, unsigned retry_after_s)
{
    struct query_call *q = ctx;
    struct admin_exchange *x = q->call->exchange;
    x->gone = NULL;
    x->writable = NULL;
    if (q->started) {
        x->end(x, err->kind == SQL_ERROR_NONE);
        over(q);
        return;
    }
    struct admin_call *c = q->call;
    struct writer message = WRITER_INIT;
    sql_error_write(&message, err, true);
    free(q);
    answer_query_error(c, retry_after_s ? 429 : sql_error_http_status(err), &message, retry_after_s);
}

/* {"query": "..."} or ["..."]; NULL after having answered. */
static const json_t *statement(struct admin_call *c)
{
    json_t *body = call_json(c);
    if (!body)
        return NULL;
    const json_t *text = json_is_object(body) ? json_object_get(body, "query") : json_array_get(body, 0);
    if (json_is_string(text) && (json_is_object(body) || json_array_size(body) == 1))
        return text;
    if (!json_is_object(body) && !json_is_array(body))
        answer_bad_shape(c, "", "invalid type: expected struct QueryRequest");
    else if (!text)
        answer_bad_shape(c, "", "missing field `query`");
    else
        answer_bad_shape(c, "query", "invalid type: expected a string");
    return NULL;
}

void handle_query(struct admin_call *c)
{
    static const struct query_events events = {.on_data = on_data, .on_end = on_end};
    const json_t *text = statement(c);
    if (!text)
        return;
    if (!c->admin->deps.queries) {
        struct writer message = WRITER_INIT;
        write_fmt(&message, "Query service not available");
        answer_query_error(c, 503, &message, 0);
        return;
    }
    struct admin_exchange *x = c->exchange;
    struct query_call *q = xcalloc(1, sizeof(*q));
    q->call = c;
    q->format = slice_eq_cstr(x->accept, "application/json") ? RESULT_JSON : RESULT_ARROW;
    x->user = q;
    x->writable = writable;
    x->gone = gone;
    struct query_request request = {
        .sql = slice_make(json_string_value(text), json_string_length(text)),
        .context = SQL_CONTEXT_ADMIN,
        .format = q->format,
    };
    q->job = query_start(c->admin->deps.queries, &request, &events, q);
}
