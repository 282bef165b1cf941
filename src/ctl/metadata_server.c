/* `metadata-server` (spec/restatectl.md §11.10). */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/ctl.h"

#define SERVICE "/restate.metadata_server_svc.MetadataServerSvc/"

/* ---- list-servers ---- */

static const char *members_text(struct tool *t, struct slice configuration)
{
    struct reader r = reader_make(configuration);
    struct pb_field f;
    uint32_t ids[256];
    size_t n = 0;
    while (pb_next(&r, &f))
        if (f.number == 2 && f.wire == PB_LEN && n < ARRAY_LEN(ids))
            ids[n++] = (uint32_t)msg_u64(f.bytes, 1);
    for (size_t i = 1; i < n; i++) /* insertion sort of a few */
        for (size_t j = i; j > 0 && ids[j - 1] > ids[j]; j--) {
            uint32_t swap = ids[j];
            ids[j] = ids[j - 1];
            ids[j - 1] = swap;
        }
    return nodes_text(t, ids, n, ",");
}

static void status_row(struct tool *t, struct table *tb, const struct node_entry *e, struct slice m)
{
    struct slice configuration = msg_bytes(m, 2), snapshot = msg_bytes(m, 4), raft = msg_bytes(m, 5);
    struct writer size = WRITER_INIT;
    uint64_t version = 0, first = msg_u64(raft, 4), last = msg_u64(raft, 5);
    msg_wrapped(configuration, 1, &version);
    byte_size_format(&size, msg_u64(snapshot, 2));
    table_row(tb);
    table_cell(tb, STYLE_PLAIN, "N%u", e->id);
    metadata_server_status_cell(tb, msg_u64(m, 1));
    table_cell(tb, STYLE_PLAIN, "v%llu", (unsigned long long)version);
    if (msg_has(m, 3))
        table_cell(tb, STYLE_PLAIN, "N%llu", (unsigned long long)msg_u64(m, 3));
    else
        table_text(tb, STYLE_PLAIN, "-");
    table_text(tb, STYLE_PLAIN, members_text(t, configuration));
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(raft, 2));
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(raft, 3));
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(raft, 1));
    table_cell(tb, STYLE_PLAIN, "%llu",
               (unsigned long long)(raft.len && last + 1 > first ? last + 1 - first : 0));
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(snapshot, 1));
    table_cell(tb, STYLE_PLAIN, "%.*s", SLICE_FMT(writer_slice(&size)));
    writer_free(&size);
}

int metadata_servers_print(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    if (!need_cluster(t))
        return 1;
    struct rpc *calls = arena_array(&t->arena, struct rpc, c->nodes->n_nodes + 1);
    const struct node_entry **entries =
        arena_array(&t->arena, const struct node_entry *, c->nodes->n_nodes + 1);
    size_t n = 0;
    for (size_t i = 0; i < c->nodes->n_nodes; i++) {
        const struct node_entry *e = &c->nodes->nodes[i];
        if (e->tombstone || !(e->roles & ROLE_METADATA_SERVER))
            continue;
        entries[n] = e;
        calls[n++] = (struct rpc){
            .address = e->address, .path = SERVICE "Status", .dead = ctl_peer(c, e->address)->dead};
    }
    if (n)
        rpc_run(c, calls, n);
    struct table *tb = table_new(t, "metadata_servers"), *lost = table_new(t, "unreachable");
    table_header(tb, "NODE", "STATUS", "VERSION", "LEADER", "MEMBERS", "APPLIED", "COMMITTED", "TERM",
                 "LOG-LENGTH", "SNAP-INDEX", "SNAP-SIZE", NULL);
    table_header(lost, "NODE", "REASON", NULL);
    for (size_t i = 0; i < n; i++) {
        if (rpc_good(&calls[i])) {
            status_row(t, tb, entries[i], bytes_slice(calls[i].reply));
            continue;
        }
        table_row(lost);
        table_cell(lost, STYLE_PLAIN, "N%u", entries[i]->id);
        table_text(lost, STYLE_RED,
                   calls[i].dead
                       ? "code: 'Unknown error', message: \"Node is unreachable\", source: NodeUnreachable"
                       : status_raw(t, &calls[i].status));
    }
    tool_say(t, "Metadata service\n");
    table_print(tb);
    if (table_rows(lost)) {
        tool_say(t, "\n🔌 Unreachable nodes\n");
        table_print(lost);
    }
    return 0;
}

static int list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return metadata_servers_print(t);
}

/* ---- add-node ---- */

static int add_run(struct tool *t)
{
    struct ids ids = arg_nodes(t, "NODES");
    if (!need_cluster(t))
        return 1;
    for (size_t i = 0; i < ids.len; i++) {
        const struct node_entry *e = nodes_config_by_id(ctl_of(t)->nodes, ids.items[i]);
        if (!e || e->tombstone)
            return tool_fail_cause(t, tool_format(t, "node N%u was not found in config", ids.items[i]),
                                   "failed to add unknown node N%u to the metadata cluster", ids.items[i]);
        struct rpc r = {.address = e->address, .path = SERVICE "AddNode"};
        rpc_run(ctl_of(t), &r, 1);
        if (r.status.code == GRPC_ALREADY_EXISTS)
            tool_say(t, "Node 'N%u' is already a member of the metadata cluster\n", e->id);
        else if (!rpc_good(&r))
            return tool_fail(t, "failed adding node N%u to metadata cluster: %s", e->id,
                             status_raw(t, &r.status));
        else
            tool_say(t, "Added node 'N%u' to the metadata cluster\n", e->id);
    }
    return 0;
}

/* ---- remove-node: only the leader can; members are asked in turn, for a while ---- */

#define REMOVE_TRIES    10
#define REMOVE_WAIT_MS  200
#define REMOVE_WAIT_MAX 1500

enum removal { REMOVED, NO_MEMBER, NOT_REMOVED };

static enum removal remove_once(struct tool *t, uint32_t id, struct failures *failures)
{
    const struct nodes_config *nodes = ctl_of(t)->nodes;
    failures->list.len = 0;
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        if (e->tombstone || !(e->roles & ROLE_METADATA_SERVER))
            continue;
        struct writer request = WRITER_INIT;
        pb_write_u64(&request, 1, id);
        struct rpc r = {
            .address = e->address, .path = SERVICE "RemoveNode", .request = writer_take(&request)};
        rpc_run(ctl_of(t), &r, 1);
        if (rpc_good(&r))
            return REMOVED;
        if (strstr(r.status.message, "is not a member"))
            return NO_MEMBER;
        failures_add(t, failures, e->address, &r.status);
    }
    return NOT_REMOVED;
}

static bool remove_one(struct tool *t, uint32_t id)
{
    struct failures failures = {0};
    uint64_t wait = REMOVE_WAIT_MS;
    enum removal r = NOT_REMOVED;
    for (unsigned tries = 0; tries < REMOVE_TRIES; tries++) {
        if (tries) {
            loop_run_for(ctl_of(t)->loop, wait);
            wait = MIN(wait * 2, REMOVE_WAIT_MAX);
        }
        r = remove_once(t, id, &failures);
        if (r != NOT_REMOVED)
            break;
    }
    if (r == NO_MEMBER)
        tool_say(t, "Node 'N%u' is not a member of the metadata cluster\n", id);
    if (r != NOT_REMOVED) {
        tool_say(t, "Removed node 'N%u' from the metadata cluster\n", id);
        return true;
    }
    tool_say(t, "Failed removing node 'N%u' from the metadata cluster\n", id);
    for (size_t i = 0; i < failures.list.len; i++)
        tool_say(t, "  ├─ %s: %s. %s\n", failures.list.items[i].address,
                 grpc_description(failures.list.items[i].status.code), failures.list.items[i].status.message);
    return false;
}

static int remove_run(struct tool *t)
{
    struct ids ids = arg_nodes(t, "NODES");
    bool good = true;
    if (!need_cluster(t))
        return 1;
    for (size_t i = 0; i < ids.len; i++)
        good &= remove_one(t, ids.items[i]);
    return good ? 0 : tool_fail(t, "Failed removing some nodes from the metadata cluster");
}

#define NODES_ARGUMENT                                                                                       \
    {                                                                                                        \
        "NODES", .value = "NODES", .flags = OPTION_POSITIONAL | OPTION_REQUIRED | OPTION_LIST,               \
                 .help = "Nodes", .check = check_node_id                                                     \
    }
static const struct option nodes_options[] = {NODES_ARGUMENT, {0}};
static const struct option list_options[] = {{"json", .help = "Print JSON"}, {0}};

const struct command metadata_server_commands[] = {
    {"add-node", "Make nodes members of the metadata store", .aliases = "add", .options = nodes_options,
     .run = add_run, .examples = "restatectl metadata-server add-node N2,N3"},
    {"remove-node", "Remove members of the metadata store", .aliases = "rm", .options = nodes_options,
     .run = remove_run},
    {"list-servers", "The metadata servers and what they hold", .aliases = "ls", .options = list_options,
     .run = list_run},
    {0}};
