/* `sql` (spec/restatectl.md §9): a query on the first seed, rows as they come. */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/arrow.h"
#include "ctl/ctl.h"

const struct option sql_options[] = {
    {"QUERY", .value = "QUERY", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = "The query"},
    {"jsonl", .help = "Print a JSON object per line", .aliases = "ldjson", .excludes = "json"},
    {"json", .help = "Print a JSON array"},
    {0}};

struct query {
    struct tool *t;
    struct arrow_reader reader;
    struct table *table; /* NULL: JSON */
    bool lines;
    uint64_t rows;
    struct err err;
    struct writer warnings;
};

static void table_rows_of(struct query *q, const struct arrow_batch *b)
{
    struct writer w = WRITER_INIT;
    for (size_t row = 0; row < b->rows; row++) {
        table_row(q->table);
        for (size_t i = 0; i < q->reader.schema.n; i++) {
            writer_reset(&w);
            arrow_print(&w, &b->columns[i], row, false);
            table_text(q->table, STYLE_PLAIN, arena_copy_slice(&q->t->arena, writer_slice(&w)));
        }
    }
    writer_free(&w);
}

static void json_rows_of(struct query *q, const struct arrow_batch *b)
{
    struct writer *w = &q->t->out;
    for (size_t row = 0; row < b->rows; row++) {
        bool first = true;
        write_fmt(w, "%s{", q->lines ? "" : q->rows + row ? "," : "[");
        for (size_t i = 0; i < q->reader.schema.n; i++) {
            if (arrow_is_null(&b->columns[i], row))
                continue;
            write_fmt(w, "%s", first ? "" : ",");
            first = false;
            write_json_string(w, slice_cstr(q->reader.schema.fields[i].name));
            write_u8(w, ':');
            arrow_print(w, &b->columns[i], row, true);
        }
        write_fmt(w, "}%s", q->lines ? "\n" : "");
    }
    tool_flush(q->t);
}

static void header(struct query *q)
{
    for (size_t i = 0; i < q->reader.schema.n; i++) {
        char *name = arena_copy_text(&q->t->arena, q->reader.schema.fields[i].name);
        for (char *p = name; *p; p++)
            if (*p >= 'a' && *p <= 'z')
                *p = (char)(*p - 'a' + 'A');
        table_column(q->table, name);
    }
}

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
    struct slice in = msg_bytes(bytes_slice(message), 1);
    take_warnings(q, bytes_slice(message));
    while (q->err.rc == RC_OK) {
        struct arrow_batch batch;
        size_t before = in.len;
        bool had_schema = q->reader.has_schema;
        enum rc rc = arrow_next(&q->reader, &in, &batch, &q->err);
        if (!had_schema && q->reader.has_schema && q->table)
            header(q);
        if (rc == RC_EOF || (rc == RC_AGAIN && in.len == before))
            return;
        if (rc != RC_OK)
            continue; /* the schema, or an error */
        if (q->table)
            table_rows_of(q, &batch);
        else
            json_rows_of(q, &batch);
        q->rows += batch.rows;
    }
}

static void print_duration(struct writer *w, uint64_t ns)
{
    if (ns >= UINT64_C(1000000000))
        write_fmt(w, "%.9gs", (double)ns / 1e9);
    else if (ns >= 1000000)
        write_fmt(w, "%.9gms", (double)ns / 1e6);
    else
        write_fmt(w, "%.6gµs", (double)ns / 1e3);
}

int sql_run(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    bool json = tool_flag(t, "json"), lines = tool_flag(t, "jsonl");
    struct query q = {.t = t, .reader = {.arena = &t->arena}, .lines = lines};
    struct writer request = WRITER_INIT, took = WRITER_INIT;
    q.table = json || lines ? NULL : table_new(t, "rows");
    msg_put_text(&request, 1, tool_text(t, "QUERY"));
    uint64_t begin = os_mono_ns();
    struct rpc r = {.address = c->seeds[0],
                    .path = "/restate.cluster_ctrl.ClusterCtrlSvc/Query",
                    .request = writer_take(&request),
                    .on_message = on_message,
                    .user = &q,
                    .timeout_ms = tool_given(t, "request-timeout") ? 0 : UINT64_MAX};
    rpc_run(c, &r, 1);
    uint64_t ns = os_mono_ns() - begin;
    if (json)
        write_fmt(&t->out, q.rows ? "]" : "[]");
    if (q.table && q.rows) {
        table_print(q.table);
        tool_say(t, "\n");
    }
    tool_flush(t);
    if (q.warnings.len)
        fprintf(stderr, "WARNING (partial results):\n%.*s", SLICE_FMT(writer_slice(&q.warnings)));
    writer_free(&q.warnings);
    if (!rpc_good(&r) && !r.has_reply)
        return tool_fail_cause(t, status_raw(t, &r.status), "Failed to run query");
    if (!rpc_good(&r))
        return tool_fail_cause(t, status_raw(t, &r.status), "The query broke off");
    if (q.err.rc != RC_OK)
        return tool_fail(t, "The answer cannot be read: %s", q.err.msg);
    print_duration(&took, ns);
    fprintf(stderr, "%llu rows. Query took %.*s\n", (unsigned long long)q.rows,
            SLICE_FMT(writer_slice(&took)));
    writer_free(&took);
    return 0;
}
