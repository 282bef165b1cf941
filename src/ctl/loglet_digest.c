/* `replicated-loglet digest` (spec/restatectl.md §11.9): which records stand on which server. */
#include <stdlib.h>

#include "ctl/loglet.h"

#define DIGEST_ROWS_MAX 1000000u

void loglet_ask_digests(struct tool *t, const struct loglet *l, struct digest *d)
{
    struct rpc *calls = arena_array(&t->arena, struct rpc, l->n_nodes + 1);
    d->replies = arena_array(&t->arena, struct slice, l->n_nodes + 1);
    for (size_t i = 0; i < l->n_nodes; i++) {
        struct writer request = WRITER_INIT;
        pb_write_u64(&request, 1, l->id);
        pb_write_u64(&request, 2, d->from);
        pb_write_u64(&request, 3, d->to);
        calls[i] = (struct rpc){.address = l->nodes[i].entry->address,
                                .path = "/restate.log_server.LogServerSvc/GetDigest",
                                .request = writer_take(&request),
                                .dead = !l->nodes[i].answered};
    }
    rpc_run(ctl_of(t), calls, l->n_nodes);
    for (size_t i = 0; i < l->n_nodes; i++) {
        struct slice digest = msg_bytes(bytes_slice(calls[i].reply), 1);
        if (rpc_good(&calls[i]) && msg_u64(msg_bytes(digest, 1), 1) == 1)
            d->replies[i] = digest.ptr ? digest : SLICE_LIT("");
    }
}

/* Cell of one node at one offset. */
static char record_at(struct slice digest, uint64_t offset)
{
    struct reader r = reader_make(digest);
    struct pb_field f;
    if (!digest.ptr)
        return '?';
    while (pb_next(&r, &f)) {
        if (f.number != 2 || f.wire != PB_LEN)
            continue;
        if (offset < msg_u64(f.bytes, 1) || offset > msg_u64(f.bytes, 2))
            continue;
        uint64_t status = msg_u64(f.bytes, 3);
        return status == 1 ? 'T' : status == 2 ? 'A' : status == 3 ? 'X' : '?';
    }
    return '-';
}

static void digest_row(struct tool *t, struct table *tb, const struct loglet *l, const struct digest *d,
                       const struct quorum *q, uint64_t offset)
{
    char *cells = arena_alloc(&t->arena, l->n_nodes + 1);
    struct marks copies = {{0}};
    bool gone = false;
    for (size_t i = 0; i < l->n_nodes; i++) {
        int position = nodeset_position(&l->params.nodeset, l->nodes[i].entry->id);
        cells[i] = record_at(d->replies[i], offset);
        if (cells[i] == 'X' || cells[i] == 'A')
            marks_add(&copies, (unsigned)position);
        gone |= cells[i] == 'T';
    }
    bool under = !gone && !quorum_is_write(q, copies);
    if (tool_flag(t, "under-replicated-only") && !under)
        return;
    table_row(tb);
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)offset);
    for (size_t i = 0; i < l->n_nodes; i++)
        table_cell(tb,
                   cells[i] == '?'   ? STYLE_RED
                   : cells[i] == 'X' ? STYLE_GREEN
                                     : STYLE_PLAIN,
                   "%c", cells[i]);
    table_text(tb, STYLE_RED, under ? "U" : "");
}

static void repeat_row(struct table *tb, const char *text, size_t n)
{
    table_row(tb);
    for (size_t i = 0; i < n; i++)
        table_text(tb, STYLE_PLAIN, text);
}

static void summary_row(struct table *tb, const struct loglet *l, const char *title, size_t member)
{
    table_row(tb);
    table_text(tb, STYLE_BOLD, title);
    for (size_t i = 0; i < l->n_nodes; i++) {
        const uint64_t values[] = {l->nodes[i].local_tail, l->nodes[i].global_tail, l->nodes[i].trim_point};
        if (l->nodes[i].answered)
            table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)values[member]);
        else
            table_text(tb, STYLE_RED, "?");
    }
}

static void print_digest(struct tool *t, const struct loglet *l, const struct digest *d, uint64_t global_tail)
{
    struct node_directory directory = {0};
    struct quorum q;
    struct table *tb = table_new(t, "digest");
    node_directory_add(&directory, ctl_of(t)->nodes);
    quorum_init(&q, &l->params.replication, &l->params.nodeset, &directory);
    table_column(tb, "OFFSET");
    for (size_t i = 0; i < l->n_nodes; i++)
        table_column(tb, tool_format(t, "N%u%s", l->nodes[i].entry->id,
                                     !l->nodes[i].answered ? "(E)"
                                     : l->nodes[i].sealed  ? "(S)"
                                                           : ""));
    table_column(tb, "ISSUES");
    for (uint64_t offset = d->from; offset <= d->to; offset++) {
        if (offset == global_tail)
            repeat_row(tb, "────", l->n_nodes + 1);
        digest_row(t, tb, l, d, &q, offset);
    }
    repeat_row(tb, "", l->n_nodes + 1);
    repeat_row(tb, "═════════", l->n_nodes + 1);
    summary_row(tb, l, "LOCAL TAIL", 0);
    summary_row(tb, l, "GLOBAL TAIL", 1);
    summary_row(tb, l, "TRIM POINT", 2);
    table_print(tb);
    node_directory_free(&directory);
}

int loglet_digest_run(struct tool *t)
{
    struct loglet l;
    struct digest d = {0};
    uint64_t id = 0, trimmed = UINT64_MAX, local_tail = 0, global_tail = 0;
    bool any = false;
    parse_loglet(tool_text(t, "LOGLET_ID"), &id);
    if (!need_cluster(t) || !loglet_find(t, id, &l))
        return 1;
    loglet_ask(t, &l);
    for (size_t i = 0; i < l.n_nodes; i++) {
        if (!l.nodes[i].answered)
            continue;
        any = true;
        trimmed = MIN(trimmed, l.nodes[i].trim_point);
        local_tail = MAX(local_tail, l.nodes[i].local_tail);
        global_tail = MAX(global_tail, l.nodes[i].global_tail);
    }
    if (!any)
        return tool_fail(t, "Couldn't determine local-tail of any node in the nodeset");
    d.from = MAX(trimmed + 1, tool_given(t, "from") ? tool_number(t, "from") : 1);
    d.to = local_tail ? local_tail - 1 : 0;
    if (tool_given(t, "to"))
        d.to = MIN(d.to, tool_number(t, "to"));
    if (d.to >= d.from && d.to - d.from >= DIGEST_ROWS_MAX)
        return tool_fail(t, "more than %u records; choose a part with --from and --to", DIGEST_ROWS_MAX);
    loglet_ask_digests(t, &l, &d);
    print_digest(t, &l, &d, global_tail);
    tool_say(t, "\n");
    loglet_print_info(t, &l, &global_tail);
    return 0;
}
