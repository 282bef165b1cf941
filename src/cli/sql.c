/* `sql` (spec/admin-api.md §21.6): Arrow, so that columns without values are there too. */
#include <stdio.h>

#include "base/time.h"
#include "cli/cli.h"
#include "tool/rows.h"

const struct option sql_options[] = {ROWS_OPTIONS, WATCH_OPTIONS, {0}};

/* The stream comes in pieces of any size: whole messages are cut out of what has arrived. */
struct stream {
    struct rows rows;
    struct writer pending;
};

/* Length of the message at the front of `s`; 0: not all there. */
static size_t whole_message(struct slice s)
{
    if (s.len < 8)
        return 0;
    size_t n = arrow_message_size(s);
    return n && n <= s.len ? n : 0;
}

static void on_data(struct api_call *call, struct slice data)
{
    struct stream *s = call->user;
    size_t at = 0, n;
    write_slice_raw(&s->pending, data);
    struct slice all = writer_slice(&s->pending);
    while (s->rows.err.rc == RC_OK && (n = whole_message(slice_sub(all, at, all.len - at)))) {
        rows_take(&s->rows, slice_sub(all, at, n));
        at += n;
    }
    if (at == 0)
        return;
    memmove(s->pending.buf->data, all.ptr + at, all.len - at);
    s->pending.len -= at;
}

static int sql_once(struct tool *t)
{
    struct stream s = {.pending = WRITER_INIT};
    rows_begin(&s.rows, t);
    if (!api_ready(t))
        return 1;
    uint64_t begin = os_mono_ns();
    struct api_call call = {.method = "POST",
                            .path = "/query",
                            .body = query_body(t, tool_text(t, "QUERY")),
                            .on_data = on_data,
                            .user = &s};
    api_run(t, &call, 1);
    uint64_t ns = os_mono_ns() - begin;
    size_t left = s.pending.len;
    writer_free(&s.pending);
    if (!api_good(&call))
        return api_failed(t, &call);
    if (!rows_end(&s.rows))
        return tool_fail(t, "The answer cannot be read: %s", s.rows.err.msg);
    if (left)
        return tool_fail(t, "The answer is cut off");
    rows_say_took(&s.rows, ns);
    return 0;
}

int sql_run(struct tool *t)
{
    return cli_watch(t, sql_once);
}
