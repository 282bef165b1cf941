/* `status` (spec/restatectl.md §11.1). */
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "ctl/ctl.h"

const struct option status_options[] = {
    {"extra", .help = "The tables of nodes, logs, partitions and metadata servers"},
    {"watch", 'w', .help = "Refresh until Ctrl-C"},
    {"interval", 0, "INTERVAL", 0, "Time between two looks with --watch", .fallback = "2s",
     .check = check_duration},
    {"json", .help = "Print JSON", .excludes = "watch"},
    {0}};

/* ---- the metadata column ---- */

struct metadata_status {
    bool asked;
    struct grpc_status status;
    uint64_t value;
};

static void ask_metadata_servers(struct tool *t, const struct nodes_config *nodes,
                                 const struct cluster_state *state, struct metadata_status *out)
{
    struct rpc *calls = arena_array(&t->arena, struct rpc, nodes->n_nodes + 1);
    size_t *index = arena_array(&t->arena, size_t, nodes->n_nodes + 1);
    size_t n = 0;
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        const struct node_state *s = cluster_state_node(state, e->id);
        if (e->tombstone || !(e->roles & ROLE_METADATA_SERVER) || !s || !s->alive)
            continue;
        index[n] = i;
        calls[n++] = (struct rpc){.address = e->address,
                                  .path = "/restate.metadata_server_svc.MetadataServerSvc/Status",
                                  .dead = ctl_peer(ctl_of(t), e->address)->dead};
    }
    if (n)
        rpc_run(ctl_of(t), calls, n);
    for (size_t i = 0; i < n; i++)
        out[index[i]] =
            (struct metadata_status){true, calls[i].status, msg_u64(bytes_slice(calls[i].reply), 1)};
}

static void metadata_cell(struct tool *t, struct table *tb, const struct node_entry *e,
                          const struct node_state *s, const struct metadata_status *m)
{
    if (!m->asked) {
        table_text(tb, STYLE_PLAIN, "");
    } else if (m->status.code == GRPC_OK) {
        metadata_server_status_cell(tb, m->value);
    } else if (m->status.code == GRPC_UNIMPLEMENTED) {
        table_text(tb, STYLE_YELLOW, "Local");
    } else {
        table_text(tb, STYLE_RED, "ERR!");
        tool_item_failed(t, "restatectl::commands::status",
                         "failed to get metadata status from node N%u:%u: %s", e->id, s->generation,
                         status_raw(t, &m->status));
    }
}

/* ---- counts ---- */

static void processor_cells(struct tool *t, struct table *tb, const struct node_state *s)
{
    unsigned leaders = 0, leaders_soon = 0, followers = 0, followers_soon = 0, broken = 0;
    for (size_t i = 0; i < s->n_processors; i++) {
        const struct processor *p = &s->processors[i];
        if (p->broken)
            broken++;
        else if (p->effective == MODE_LEADER)
            *(p->planned == MODE_FOLLOWER ? &followers_soon : &leaders) += 1;
        else if (p->effective == MODE_FOLLOWER)
            *(p->planned == MODE_LEADER ? &leaders_soon : &followers) += 1;
    }
    const char *plus = leaders_soon ? tool_format(t, "+%u", leaders_soon) : "";
    table_cell(tb, STYLE_PLAIN, "%u%s", leaders, plus);
    plus = followers_soon ? tool_format(t, "+%u", followers_soon) : "";
    table_cell(tb, broken ? STYLE_RED : STYLE_PLAIN, "%u%s%s", followers, plus,
               broken ? tool_format(t, " (%u broken)", broken) : "");
}

static bool leads(const struct node_state *s, uint32_t partition)
{
    for (size_t i = 0; i < s->n_processors; i++)
        if (s->processors[i].partition == partition)
            return s->processors[i].effective == MODE_LEADER || s->processors[i].planned == MODE_LEADER;
    return false;
}

static void log_cells(struct table *tb, const struct logs_config *logs, const struct node_state *s)
{
    unsigned member = 0, sequencer = 0;
    bool local = true; /* sequencers stand next to the leaders */
    for (size_t i = 0; i < logs->n_chains; i++) {
        struct loglet_params params;
        if (!segment_params(chain_tail(&logs->chains[i]), &params))
            continue;
        member += nodeset_position(&params.nodeset, s->id) >= 0;
        if (params.sequencer.id == s->id && params.sequencer.generation == s->generation) {
            sequencer++;
            local &= leads(s, logs->chains[i].log_id);
        }
    }
    table_cell(tb, STYLE_PLAIN, "%u", member);
    table_cell(tb, sequencer == 0 ? STYLE_PLAIN : local ? STYLE_GREEN : STYLE_YELLOW, "%u", sequencer);
}

static void node_row(struct tool *t, struct table *tb, const struct node_entry *e, const struct node_state *s,
                     const struct metadata_status *metadata)
{
    struct writer uptime = WRITER_INIT;
    table_row(tb);
    if (!s->alive) {
        table_cell(tb, STYLE_RED, "N%u", e->id);
        table_text(tb, STYLE_PLAIN, e->name);
        table_text(tb, STYLE_RED, "offline");
        for (int i = 0; i < 5; i++)
            table_text(tb, STYLE_PLAIN, "");
        table_text(tb, STYLE_PLAIN, roles_text(t, e->roles));
        return;
    }
    duration_friendly(&uptime, s->uptime_s);
    table_cell(tb, STYLE_GREEN, "N%u:%u", e->id, s->generation);
    table_text(tb, STYLE_PLAIN, e->name);
    table_cell(tb, STYLE_PLAIN, "%.*s", SLICE_FMT(writer_slice(&uptime)));
    metadata_cell(t, tb, e, s, metadata);
    processor_cells(t, tb, s);
    log_cells(tb, ctl_of(t)->logs, s);
    table_text(tb, STYLE_PLAIN, roles_text(t, e->roles));
    writer_free(&uptime);
}

static int status_compact(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    struct contacts contacts = {0};
    struct err err = {0};
    struct cluster_state state;
    if (!fetch_nodes(c, &contacts, &err))
        return nodes_unavailable_print(t, &contacts, &err, false, true);
    if (!need_logs(t) || !need_cluster_state(t, &state))
        return 1;
    struct metadata_status *metadata = arena_array(&t->arena, struct metadata_status, c->nodes->n_nodes + 1);
    ask_metadata_servers(t, c->nodes, &state, metadata);
    struct table *tb = table_new(t, "nodes");
    table_header(tb, "NODE-ID", "NAME", "UPTIME", "METADATA", "LEADER", "FOLLOWER", "NODESET-MEMBER",
                 "SEQUENCER", "ROLES", NULL);
    tool_say(t, "Node Configuration (v%u)\n", c->nodes->version);
    for (size_t i = 0; i < c->nodes->n_nodes; i++) {
        const struct node_state *s = cluster_state_node(&state, c->nodes->nodes[i].id);
        if (s && !c->nodes->nodes[i].tombstone)
            node_row(t, tb, &c->nodes->nodes[i], s, &metadata[i]);
    }
    table_print(tb);
    return 0;
}

static int status_extra(struct tool *t)
{
    int rc = nodes_list_print(t, true, true);
    if (rc == 0) {
        tool_say(t, "\n");
        rc = logs_list_print(t);
    }
    if (rc == 0) {
        tool_say(t, "\n");
        rc = partitions_list_print(t);
    }
    if (rc == 0) {
        tool_say(t, "\n");
        rc = metadata_servers_print(t);
    }
    return rc;
}

static int status_once(struct tool *t)
{
    return tool_flag(t, "extra") ? status_extra(t) : status_compact(t);
}

static void pause_watch(struct tool *t, uint64_t ms)
{
    ctl_forget(ctl_of(t));
    loop_run_for(ctl_of(t)->loop, ms); /* connections stay alive */
}

int status_run(struct tool *t)
{
    uint64_t interval_ns = 0;
    t->json = tool_flag(t, "json");
    duration_parse(slice_cstr(tool_text(t, "interval")), &interval_ns, NULL);
    if (!tool_flag(t, "watch"))
        return status_once(t);
    return tool_watch(t, ctl_of(t)->seeds[0], interval_ns / 1000000, status_once, pause_watch);
}
