/* `sql` (spec/restatectl.md §9): a query on the first seed that can be reached, rows as they come. */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/ctl.h"
#include "tool/rows.h"

const struct option sql_options[] = {ROWS_OPTIONS, {0}};

struct query {
    struct rows rows;
    struct writer warnings;
};

static void take_warnings(struct query *q, struct slice message)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    while (pb_next(&r, &f)) {
        if (f.number != 2 || f.wire != PB_LEN)
            continue;
        struct slice node = msg_bytes(f.bytes, 1), text = msg_bytes(f.bytes, 2);
        write_fmt(&q->warnings, "  %.*s: %.*s\n", SLICE_FMT(node), SLICE_FMT(text));
    }
}

static void on_message(struct rpc *r, struct bytes message)
{
    struct query *q = r->user;
    take_warnings(q, bytes_slice(message));
    rows_take(&q->rows, msg_bytes(bytes_slice(message), 1));
}

int sql_run(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    struct query q = {.warnings = WRITER_INIT};
    struct writer request = WRITER_INIT;
    rows_begin(&q.rows, t);
    pb_put_text(&request, 1, tool_text(t, "QUERY"));
    uint64_t begin = os_mono_ns();
    struct bytes message = writer_take(&request);
    struct rpc r = {0};
    for (size_t i = 0; i == 0 || (i < c->n_seeds && !rpc_good(&r) && r.status.transport && !r.has_reply);
         i++) {
        r = (struct rpc){.address = c->seeds[i],
                         .path = "/restate.cluster_ctrl.ClusterCtrlSvc/Query",
                         .request = bytes_ref(message),
                         .on_message = on_message,
                         .user = &q,
                         .timeout_ms = tool_given(t, "request-timeout") ? 0 : UINT64_MAX};
        rpc_run(c, &r, 1);
    }
    bytes_unref(&message);
    uint64_t ns = os_mono_ns() - begin;
    bool good = true;
    if (rpc_good(&r) || r.has_reply)
        good = rows_end(&q.rows);
    if (q.warnings.len)
        fprintf(stderr, "WARNING (partial results):\n%.*s", SLICE_FMT(writer_slice(&q.warnings)));
    writer_free(&q.warnings);
    if (!rpc_good(&r))
        return tool_fail_cause(t, status_raw(t, &r.status),
                               r.has_reply ? "The query broke off" : "Failed to run query");
    if (!good)
        return tool_fail(t, "The answer cannot be read: %s", q.rows.err.msg);
    rows_say_took(&q.rows, ns);
    return 0;
}
