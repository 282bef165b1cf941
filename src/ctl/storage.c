/* `storage compact` (spec/restatectl.md §11.12). */
#include <strings.h>

#include "base/time.h"
#include "ctl/ctl.h"

#define KINDS "partition-store, log-server, metadata-server, local-loglet"

static unsigned kind_of(const char *text)
{
    static const char *const names[] = {
        NULL, NULL, "partition-store", "log-server", "metadata-server", "local-loglet"};
    for (unsigned i = 2; i < ARRAY_LEN(names); i++)
        if (strcasecmp(text, names[i]) == 0)
            return i;
    return 0;
}

static enum rc check_kind(const char *value, struct err *err)
{
    return kind_of(value)
               ? RC_OK
               : err_set(err, RC_INVALID, "Unknown database type '%s'. Valid options: " KINDS, value);
}

static struct bytes encode(struct tool *t)
{
    static const char *const levels[] = {"", "skip", "if-have-compaction-filter", "force", "force-optimized"};
    struct writer request = WRITER_INIT, kinds = WRITER_INIT, options = WRITER_INIT;
    const char *text, *level = tool_text(t, "bottommost-level-compaction");
    for (size_t i = 0; (text = tool_item(t, "database", i)); i++)
        write_varint(&kinds, kind_of(text));
    pb_write_bytes(&request, 1, writer_slice(&kinds));
    writer_free(&kinds);
    for (size_t i = 1; i < ARRAY_LEN(levels); i++)
        if (strcmp(level, levels[i]) == 0)
            pb_write_u64(&options, 1, i);
    pb_write_bool(&options, 2, tool_flag(t, "recalculate-level"));
    pb_put_message(&request, 2, &options);
    return writer_take(&request);
}

struct outcome {
    unsigned good, bad;
};

static void node_rows(struct tool *t, struct table *tb, const struct rpc *r, struct outcome *o)
{
    struct reader reader = reader_make(bytes_slice(r->reply));
    struct pb_field f;
    if (!rpc_good(r)) {
        o->bad++;
        table_row(tb);
        table_text(tb, STYLE_PLAIN, r->address);
        table_text(tb, STYLE_PLAIN, "-");
        table_cell(tb, STYLE_RED, "ERROR: gRPC error: %s", status_raw(t, &r->status));
        table_text(tb, STYLE_PLAIN, "-");
        return;
    }
    while (pb_next(&reader, &f)) {
        if (f.number != 1 || f.wire != PB_LEN)
            continue;
        bool good = msg_u64(f.bytes, 2) != 0;
        table_row(tb);
        table_text(tb, STYLE_PLAIN, r->address);
        table_text(tb, STYLE_PLAIN, msg_text(t, f.bytes, 1));
        if (good)
            table_text(tb, STYLE_GREEN, "OK");
        else
            table_cell(tb, STYLE_RED, "FAILED: %s", msg_text(t, f.bytes, 3));
        table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(f.bytes, 4));
        *(good ? &o->good : &o->bad) += 1;
    }
}

static int compact_run(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    struct ids ids = arg_nodes(t, "node");
    uint64_t timeout_ns = 0;
    struct outcome outcome = {0};
    size_t n = 0;
    if (!need_cluster(t))
        return 1;
    duration_parse(slice_cstr(tool_text(t, "timeout")), &timeout_ns, NULL);
    struct rpc *calls = arena_array(&t->arena, struct rpc, c->nodes->n_nodes + ids.len + 1);
    for (size_t i = 0; i < (ids.len ? ids.len : c->nodes->n_nodes); i++) {
        const struct node_entry *e =
            ids.len ? nodes_config_by_id(c->nodes, ids.items[i]) : &c->nodes->nodes[i];
        if (ids.len && (!e || e->tombstone))
            return tool_fail(t, "Node N%u not found in cluster configuration", ids.items[i]);
        if (e->tombstone)
            continue;
        calls[n++] = (struct rpc){.address = e->address,
                                  .path = "/restate.node_ctl_svc.NodeCtlSvc/TriggerCompaction",
                                  .request = encode(t),
                                  .timeout_ms = MAX(timeout_ns / 1000000, 1)};
    }
    tool_say(t, "Triggering compaction on %zu node(s)...\n", n);
    tool_flush(t);
    if (n)
        rpc_run(c, calls, n);
    struct table *tb = table_new(t, "compaction");
    table_header(tb, "NODE", "DATABASE", "STATUS", "COLUMN FAMILIES", NULL);
    for (size_t i = 0; i < n; i++)
        node_rows(t, tb, &calls[i], &outcome);
    table_print(tb);
    tool_say(t, "Compaction results: %u succeeded, %u failed\n", outcome.good, outcome.bad);
    return outcome.bad ? tool_fail(t, "%u compaction operation(s) failed", outcome.bad) : 0;
}

static const struct option compact_options[] = {
    {"database", 'd', "DATABASE", OPTION_LIST, "Databases: " KINDS "; all without one", .check = check_kind},
    {"node", 'n', "NODE", OPTION_LIST, "Nodes; all without one", .check = check_node_id},
    {"timeout", 0, "TIMEOUT", 0, "How long to wait for the results; the nodes go on", .fallback = "30m",
     .check = check_duration},
    {"bottommost-level-compaction", 0, "BOTTOMMOST_LEVEL_COMPACTION", 0,
     "Whether files of the lowest level are written anew",
     .choices = "skip|if-have-compaction-filter|force|force-optimized",
     .fallback = "if-have-compaction-filter"},
    {"recalculate-level", .help = "Move files to the lowest level that can hold the data"},
    {0}};

const struct command storage_commands[] = {
    {"compact", "Compact the databases of nodes", .options = compact_options, .run = compact_run,
     .examples = "restatectl storage compact --database partition-store --node N1"},
    {0}};
