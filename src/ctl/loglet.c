/* `replicated-loglet info`, `list-servers` (spec/restatectl.md §11.9). */
#include <stdlib.h>

#include "ctl/loglet.h"

/* ---- the loglet in the chain ---- */

bool loglet_find(struct tool *t, uint64_t id, struct loglet *out)
{
    const struct logs_config *logs = need_logs(t);
    *out = (struct loglet){.id = id};
    if (!logs)
        return false;
    for (size_t i = 0; i < logs->n_chains; i++)
        for (size_t j = 0; j < logs->chains[i].n_segments; j++) {
            const struct log_segment *s = &logs->chains[i].segments[j];
            struct loglet_params params;
            if (!segment_params(s, &params) || params.loglet_id != id)
                continue;
            out->found = true;
            out->params = params;
            out->used_in = tool_format(t, "%s%sLogId=%u at Segment=%u %s", out->used_in ? out->used_in : "",
                                       out->used_in ? "\n" : "", logs->chains[i].log_id, s->index,
                                       j + 1 < logs->chains[i].n_segments ? "(SEGMENT IS SEALED)" : "");
        }
    if (!out->found)
        tool_fail(t, "loglet %s not found", loglet_text(t, id));
    return out->found;
}

static const char *sequencer_text(struct tool *t, struct node_ref s)
{
    const struct node_entry *e = nodes_config_by_id(ctl_of(t)->nodes, s.id);
    if (!e || e->tombstone)
        return tool_format(t, "N%u:%u (removed)", s.id, s.generation);
    if (e->generation != s.generation)
        return tool_format(t, "N%u:%u (gone; current generation is N%u:%u)", s.id, s.generation, s.id,
                           e->generation);
    return tool_format(t, "N%u:%u", s.id, s.generation);
}

void loglet_print_info(struct tool *t, const struct loglet *l, const uint64_t *global_tail)
{
    struct table *tb = table_new(t, "loglet");
    table_key_value(tb, "Loglet Id", "%s (raw=%llu)", loglet_text(t, l->id), (unsigned long long)l->id);
    table_key_value(tb, "Used in", "%s", l->used_in);
    table_key_value(tb, "Sequencer", "%s", sequencer_text(t, l->params.sequencer));
    table_key_value(tb, "Replication", "%s", replication_text(t, &l->params.replication));
    table_key_value(tb, "Nodeset", "%s", nodeset_text(t, l->params.nodeset.ids, l->params.nodeset.len));
    if (global_tail)
        table_key_value(tb, "Observed Global Tail", "%llu", (unsigned long long)*global_tail);
    table_print(tb);
}

/* ---- asking its nodes ---- */

void loglet_ask(struct tool *t, struct loglet *l)
{
    struct rpc *calls = arena_array(&t->arena, struct rpc, NODESET_MAX);
    size_t n = 0;
    l->nodes = arena_array(&t->arena, struct loglet_node, NODESET_MAX);
    for (unsigned i = 0; i < l->params.nodeset.len; i++) {
        const struct node_entry *e = nodes_config_by_id(ctl_of(t)->nodes, l->params.nodeset.ids[i]);
        if (!e || e->tombstone || e->storage == STORAGE_DISABLED)
            continue;
        struct writer request = WRITER_INIT;
        pb_write_u64(&request, 1, l->id);
        l->nodes[n].entry = e;
        calls[n++] = (struct rpc){.address = e->address,
                                  .path = "/restate.log_server.LogServerSvc/GetLogletInfo",
                                  .request = writer_take(&request),
                                  .dead = ctl_peer(ctl_of(t), e->address)->dead};
    }
    l->n_nodes = n;
    if (n)
        rpc_run(ctl_of(t), calls, n);
    for (size_t i = 0; i < n; i++) {
        struct slice info = msg_bytes(bytes_slice(calls[i].reply), 1), header = msg_bytes(info, 1);
        struct loglet_node *node = &l->nodes[i];
        node->answered = rpc_good(&calls[i]) && msg_u64(header, 1) == 1;
        node->local_tail = msg_u64(header, 2);
        node->global_tail = msg_u64(header, 3);
        node->sealed = msg_u64(header, 4) != 0;
        node->trim_point = msg_u64(info, 2);
    }
}

static int info_run(struct tool *t)
{
    struct loglet l;
    uint64_t id = 0;
    t->json = tool_flag(t, "json");
    parse_loglet(tool_text(t, "LOGLET_ID"), &id);
    if (!need_cluster(t) || !loglet_find(t, id, &l))
        return 1;
    loglet_ask(t, &l);
    loglet_print_info(t, &l, NULL);
    tool_say(t, "\n");
    struct table *tb = table_new(t, "nodes");
    table_header(tb, "", "LOCAL-TAIL", "GLOBAL-TAIL", "TRIM-POINT", "SEALED", NULL);
    for (size_t i = 0; i < l.n_nodes; i++) {
        const struct loglet_node *n = &l.nodes[i];
        table_row(tb);
        table_cell(tb, STYLE_PLAIN, "N%u", n->entry->id);
        if (!n->answered) {
            for (int k = 0; k < 4; k++)
                table_text(tb, STYLE_RED, "?");
            continue;
        }
        table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)n->local_tail);
        table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)n->global_tail);
        table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)n->trim_point);
        table_text(tb, n->sealed ? STYLE_MAGENTA : STYLE_PLAIN, n->sealed ? "YES" : "NO");
    }
    table_print(tb);
    return 0;
}

/* ---- list-servers ---- */

static void count_loglets(const struct logs_config *logs, uint32_t node, unsigned *historical,
                          unsigned *active)
{
    *historical = *active = 0;
    for (size_t i = 0; i < logs->n_chains; i++)
        for (size_t j = 0; j < logs->chains[i].n_segments; j++) {
            struct loglet_params params;
            if (!segment_params(&logs->chains[i].segments[j], &params) ||
                nodeset_position(&params.nodeset, node) < 0)
                continue;
            *historical += 1;
            *active += j + 1 == logs->chains[i].n_segments;
        }
}

static int servers_run(struct tool *t)
{
    const struct logs_config *logs;
    t->json = tool_flag(t, "json");
    if (!need_cluster(t) || !(logs = need_logs(t)))
        return 1;
    const struct nodes_config *nodes = ctl_of(t)->nodes;
    tool_say(t, "Node configuration v%u\nLog chain v%u\n", nodes->version, logs->version);
    struct table *tb = table_new(t, "servers");
    table_header(tb, "NODE", "GEN", "STORAGE-STATE", "HISTORICAL-LOGLETS", "ACTIVE-LOGLETS", NULL);
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        unsigned historical, active;
        if (e->tombstone || (!(e->roles & ROLE_LOG_SERVER) && e->storage == STORAGE_PROVISIONING))
            continue;
        count_loglets(logs, e->id, &historical, &active);
        table_row(tb);
        table_cell(tb, STYLE_PLAIN, "N%u", e->id);
        table_cell(tb, STYLE_PLAIN, "N%u:%u", e->id, e->generation);
        table_text(tb, STYLE_PLAIN, storage_state_name(e->storage));
        table_cell(tb, STYLE_PLAIN, "%u", historical);
        table_cell(tb, STYLE_PLAIN, "%u", active);
    }
    table_print(tb);
    return 0;
}

#define LOGLET_ARGUMENT                                                                                      \
    {                                                                                                        \
        "LOGLET_ID", .value = "LOGLET_ID", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,                     \
                     .help = "Segment of a log: `3_0`, or the number", .check = check_loglet                 \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "json", .help = "Print JSON"                                                                         \
    }
static const struct option info_options[] = {LOGLET_ARGUMENT, JSON_OPTION, {0}};
static const struct option servers_options[] = {JSON_OPTION, {0}};
static const struct option digest_options[] = {
    LOGLET_ARGUMENT,
    {"from", 0, "FROM", 0, "First offset", .check = check_u32},
    {"to", 0, "TO", 0, "Last offset", .check = check_u32},
    {"under-replicated-only", 'u', .help = "Only records with too few copies"},
    {0}};

const struct command loglet_commands[] = {
    {"digest", "Which records of a segment stand on which server", .options = digest_options,
     .run = loglet_digest_run},
    {"info", "A segment: where it is stored, how far, whether it is sealed", .options = info_options,
     .run = info_run},
    {"list-servers", "Log servers and how many segments they hold", .aliases = "servers|nodes",
     .options = servers_options, .run = servers_run},
    {0}};
