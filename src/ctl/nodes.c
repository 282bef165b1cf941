/* `nodes list`, also a part of `status` (spec/restatectl.md §11.2). */
#include <stdlib.h>

#include "ctl/ctl.h"

#define IDENT_TIMEOUT_MS 1000

static const char *const node_status[] = {"-", "Alive", "Starting up", "Shutting down"};
static const char *const role_status[] = {"-", "Ready", "Starting up", "Failsafe", "Stopping"};
static const char *const server_status[] = {"-", "Starting", "Provisioning", "Member", "Standby"};

static void word(struct table *tb, const char *const *names, size_t n, unsigned value)
{
    table_text(tb, value == 1 && names != server_status ? STYLE_GREEN : STYLE_PLAIN,
               names[value < n ? value : 0]);
}

static void ident_cells(struct tool *t, struct table *tb, const struct ident *i)
{
    struct writer uptime = WRITER_INIT;
    if (ctl_of(t)->time_format == TIME_HUMAN)
        duration_rough(&uptime, i->age_s);
    else
        write_fmt(&uptime, i->age_s ? "PT%lluS" : "P0D", (unsigned long long)i->age_s);
    table_cell(tb, STYLE_PLAIN, "%.*s", SLICE_FMT(writer_slice(&uptime)));
    writer_free(&uptime);
    word(tb, node_status, ARRAY_LEN(node_status), i->status);
    word(tb, role_status, ARRAY_LEN(role_status), i->admin);
    word(tb, role_status, ARRAY_LEN(role_status), i->worker);
    word(tb, role_status, ARRAY_LEN(role_status), i->log_server);
    word(tb, server_status, ARRAY_LEN(server_status), i->metadata_server);
    table_cell(tb, STYLE_PLAIN, "v%u", i->nodes_version);
    table_cell(tb, STYLE_PLAIN, "v%u", i->logs_version);
    table_cell(tb, STYLE_PLAIN, "v%u", i->schema_version);
    table_cell(tb, STYLE_PLAIN, "v%u", i->partition_table_version);
}

static struct table *new_table(struct tool *t, bool extra, bool configured)
{
    struct table *tb = table_new(t, "nodes");
    table_header(tb, "NODE", "GEN", "NAME", "ADDRESS", "ROLES", NULL);
    if (extra && configured)
        table_header(tb, "LOCATION", "STORAGE-STATE", "WORKER-STATE", NULL);
    if (extra)
        table_header(tb, "UPTIME", "STATUS", "ADMIN", "WORKER", "LOG-SERVER", "META", "NODES", "LOGS",
                     "SCHEMA", "P-TABLE", NULL);
    return tb;
}

static int by_address(const void *a, const void *b)
{
    return strcmp(((const struct seen_node *)a)->address, ((const struct seen_node *)b)->address);
}

/* No nodes configuration: what the seeds say about themselves. */
static int print_seen(struct tool *t, struct contacts *contacts, bool extra, bool status_command)
{
    bool awaiting = status_command;
    struct table *tb = new_table(t, extra, false);
    qsort(contacts->seen.items, contacts->seen.len, sizeof(*contacts->seen.items), by_address);
    tool_say(t,
             "The cluster metadata service was unavailable but the following node(s) from the address list "
             "responded directly\n");
    for (size_t i = 0; i < contacts->seen.len; i++) {
        const struct seen_node *n = &contacts->seen.items[i];
        awaiting |= n->ident.metadata_server == 2;
        table_row(tb);
        if (n->ident.id)
            table_cell(tb, STYLE_PLAIN, "%u", n->ident.id);
        else
            table_text(tb, STYLE_PLAIN, "n/a");
        if (n->ident.generation)
            table_cell(tb, STYLE_PLAIN, "%u", n->ident.generation);
        else
            table_text(tb, STYLE_PLAIN, "");
        table_text(tb, STYLE_PLAIN, "-");
        table_text(tb, STYLE_PLAIN, n->address);
        table_text(tb, STYLE_PLAIN, role_names_text(t, &n->ident));
        if (extra)
            ident_cells(t, tb, &n->ident);
    }
    table_print(tb);
    return tool_fail(t, "%s", awaiting ? NOT_PROVISIONED_TEXT : NO_METADATA_TEXT);
}

/* GetIdent of every node at once. */
static struct rpc *ask_all(struct tool *t, const struct nodes_config *nodes)
{
    struct ctl *c = ctl_of(t);
    struct rpc *calls = arena_array(&t->arena, struct rpc, nodes->n_nodes + 1);
    size_t n = 0;
    for (size_t i = 0; i < nodes->n_nodes; i++)
        if (!nodes->nodes[i].tombstone)
            calls[n++] = (struct rpc){.address = nodes->nodes[i].address,
                                      .path = "/restate.node_ctl_svc.NodeCtlSvc/GetIdent",
                                      .timeout_ms = IDENT_TIMEOUT_MS};
    rpc_run(c, calls, n);
    for (size_t i = 0; i < n; i++)
        if (!rpc_good(&calls[i]))
            ctl_peer(c, calls[i].address)->dead = true;
    return calls;
}

static void print_extra_cells(struct tool *t, struct table *tb, const struct node_entry *e,
                              const struct rpc *call)
{
    struct ident ident;
    table_text(tb, STYLE_PLAIN, e->location);
    table_text(tb, STYLE_PLAIN, storage_state_name(e->storage));
    table_text(tb, STYLE_PLAIN, worker_state_name(e->worker));
    if (rpc_good(call) && ident_decode(t, bytes_slice(call->reply), &ident)) {
        ident_cells(t, tb, &ident);
    } else {
        table_text(tb, STYLE_RED, "N/A");
        table_text(tb, STYLE_RED, "Unknown");
    }
}

int nodes_unavailable_print(struct tool *t, struct contacts *contacts, const struct err *err, bool extra,
                            bool status_command)
{
    if (contacts->not_available)
        return print_seen(t, contacts, extra, status_command);
    return tool_fail(t, "%s", err->rc == RC_UNAVAILABLE ? failures_text(t, &contacts->failures) : err->msg);
}

int nodes_list_print(struct tool *t, bool extra, bool status_command)
{
    struct contacts contacts = {0};
    struct err err = {0};
    const struct nodes_config *nodes = fetch_nodes(ctl_of(t), &contacts, &err);
    if (!nodes)
        return nodes_unavailable_print(t, &contacts, &err, extra, status_command);
    struct rpc *calls = extra ? ask_all(t, nodes) : NULL;
    struct table *tb = new_table(t, extra, true);
    size_t call = 0;
    tool_say(t, "Node Configuration (v%u)\n", nodes->version);
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        if (e->tombstone)
            continue;
        table_row(tb);
        table_cell(tb, STYLE_PLAIN, "N%u", e->id);
        table_cell(tb, STYLE_PLAIN, "%u", e->generation);
        table_text(tb, STYLE_PLAIN, e->name);
        table_text(tb, STYLE_PLAIN, e->address);
        table_text(tb, STYLE_PLAIN, roles_text(t, e->roles));
        if (extra)
            print_extra_cells(t, tb, e, &calls[call++]);
    }
    table_print(tb);
    return 0;
}

static int nodes_list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return nodes_list_print(t, tool_flag(t, "extra"), false);
}

static const struct option list_options[] = {
    {"extra", .help = "Ask every node for its uptime, the state of its roles and the versions that it knows"},
    {"json", .help = "Print JSON"},
    {0}};

#define NODES_OPTION(text)                                                                                   \
    {                                                                                                        \
        "nodes", 0, "NODES", OPTION_REQUIRED | OPTION_LIST, text, .aliases = "node", .check = check_node_id  \
    }

static const struct option remove_options[] = {
    NODES_OPTION("The nodes to remove: a comma-separated list, or several options"), {0}};
static const struct option storage_options[] = {
    NODES_OPTION("The nodes to change: a comma-separated list, or several options"),
    {"storage-state", 0, "STORAGE_STATE", OPTION_REQUIRED, "The new state of their storage",
     .choices = "provisioning|disabled|read-only|gone|read-write|data-loss"},
    {"force", .help = "Skip the safety checks; can cost availability or data"},
    {0}};
static const struct option worker_options[] = {
    NODES_OPTION("The nodes to change: a comma-separated list, or several options"),
    {"worker-state", 0, "WORKER_STATE", OPTION_REQUIRED, "The new state of their worker",
     .choices = "provisioning|active|draining|disabled"},
    {"force", .help = "Skip the safety checks"},
    {0}};

const struct command nodes_commands[] = {
    {"list", "The nodes of the cluster", .aliases = "ls", .options = list_options, .run = nodes_list_run,
     .examples = "restatectl nodes list --extra"},
    {"remove", "Remove nodes from the cluster for good", .aliases = "rm", .options = remove_options,
     .run = nodes_remove_run,
     .details = "Refused while a node may still be needed: its storage takes writes or is part of a segment "
                "that was "
                "not trimmed, or it is a member of the metadata store. Ids are never used again.",
     .examples = "restatectl nodes remove --nodes N3"},
    {"set-storage-state", "Set the state of the log storage of nodes", .options = storage_options,
     .run = nodes_set_storage_run,
     .examples =
         "# no new segments on N3\nrestatectl nodes set-storage-state --nodes N3 --storage-state read-only"},
    {"set-worker-state", "Set the state of the workers of nodes", .options = worker_options,
     .run = nodes_set_worker_run,
     .examples = "# move partitions away from N3\nrestatectl nodes set-worker-state --nodes N3 "
                 "--worker-state draining"},
    {0}};
