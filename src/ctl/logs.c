/* `logs list`, `find-tail`, and the table of the logs group (spec/restatectl.md §11.3). */
#include <stdlib.h>

#include "ctl/ctl.h"

static void chain_row(struct tool *t, struct table *tb, const struct log_chain *chain)
{
    const struct log_segment *tail = chain_tail(chain);
    struct loglet_params params;
    table_row(tb);
    table_cell(tb, STYLE_PLAIN, "%u", chain->log_id);
    table_cell(tb, STYLE_PLAIN, "%zu", chain->n_segments);
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)tail->base_lsn);
    table_text(tb, STYLE_PLAIN, segment_kind_name(tail->kind));
    if (!segment_params(tail, &params)) {
        for (int i = 0; i < 4; i++)
            table_text(tb, STYLE_RED, "N/A");
        return;
    }
    table_text(tb, STYLE_PLAIN, loglet_text(t, params.loglet_id));
    table_text(tb, STYLE_PLAIN, replication_text(t, &params.replication));
    table_cell(tb, STYLE_PLAIN, "N%u:%u", params.sequencer.id, params.sequencer.generation);
    table_text(tb, STYLE_PLAIN, nodeset_text(t, params.nodeset.ids, params.nodeset.len));
}

int logs_list_print(struct tool *t)
{
    const struct logs_config *logs = need_logs(t);
    struct writer provider = WRITER_INIT;
    if (!logs)
        return 1;
    if (logs->n_chains == 0) {
        tool_say(t, "No logs were found. Check if the cluster has been provisioned and partition processors "
                    "have started "
                    "on a worker node. `restatectl provision`.\n\nUse `restatectl provision` if you have not "
                    "provisioned "
                    "this cluster yet.\n");
        return tool_fail(t, "%s", NOT_PROVISIONED_TEXT);
    }
    provider_text(&provider, log_provider_name(logs->provider), replication_text(t, &logs->replication),
                  logs->target_nodeset_size, 0);
    tool_say(t, "Logs v%u\n%.*s", logs->version, SLICE_FMT(writer_slice(&provider)));
    writer_free(&provider);
    struct table *tb = table_new(t, "logs");
    table_header(tb, "L-ID", "SEGMENTS", "FROM", "KIND", "LOGLET-ID", "REPLICATION", "SEQUENCER", "NODESET",
                 NULL);
    for (size_t i = 0; i < logs->n_chains; i++)
        chain_row(t, tb, &logs->chains[i]);
    table_print(tb);
    return 0;
}

static int logs_list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return logs_list_print(t);
}

/* ---- find-tail ---- */

#define FIND_TAIL_TIMEOUT_MS 10000

static void tail_row(struct tool *t, struct table *tb, uint32_t log)
{
    static const char *const states[] = {"TailState_UNKNOWN", "OPEN", "SEALED"};
    struct writer request = WRITER_INIT;
    pb_write_u64(&request, 1, log);
    struct answer a = ctl_call_for(ctl_of(t), ROLE_ADMIN, "/restate.cluster_ctrl.ClusterCtrlSvc/FindTail",
                                   &request, FIND_TAIL_TIMEOUT_MS);
    table_row(tb);
    table_cell(tb, STYLE_PLAIN, "%u", log);
    if (!a.good) {
        table_text(tb, STYLE_PLAIN, "");
        table_text(tb, STYLE_RED, a.error);
        t->failures++;
        return;
    }
    uint64_t state = msg_u64(a.reply, 3);
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(a.reply, 2));
    table_text(tb,
               state == 1   ? STYLE_GREEN
               : state == 2 ? STYLE_RED
                            : STYLE_PLAIN,
               state < ARRAY_LEN(states) ? states[state] : "unknown");
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)msg_u64(a.reply, 4));
}

static int find_tail_run(struct tool *t)
{
    struct ids ids = arg_ranges(t, "LOG_ID");
    t->json = tool_flag(t, "json");
    if (!need_cluster(t))
        return 1;
    struct table *tb = table_new(t, "tails");
    table_header(tb, "LOG-ID", "SEGMENT", "STATE", "TAIL-LSN", NULL);
    for (size_t i = 0; i < ids.len; i++)
        tail_row(t, tb, ids.items[i]);
    table_print(tb);
    return tool_done(t);
}

/* ---- the group ---- */

#define LOG_IDS(extra_flags, text)                                                                           \
    {                                                                                                        \
        "LOG_ID", .value = "LOG_ID", .flags = OPTION_POSITIONAL | OPTION_LIST | (extra_flags), .help = text, \
                  .check = check_range                                                                       \
    }
#define JSON_OPTION                                                                                          \
    {                                                                                                        \
        "json", .help = "Print JSON"                                                                         \
    }

static const struct option list_options[] = {JSON_OPTION, {0}};
static const struct option find_tail_options[] = {
    LOG_IDS(OPTION_REQUIRED, "Logs: `0`, `1-4`"), JSON_OPTION, {0}};
static const struct option describe_options[] = {
    LOG_IDS(0, "Logs: `0`, `1-4`; all without one"),
    {"from-segment-id", 0, "FROM_SEGMENT_ID", 0, "Begin with this segment", .check = check_u32,
     .excludes = "skip"},
    {"skip", 0, "SKIP", 0, "Leave out the first segments", .check = check_u32},
    {"tail", 0, "TAIL", 0, "Show the last segments", .check = check_u32, .fallback = "25",
     .excludes = "head|all"},
    {"head", 0, "HEAD", 0, "Show the first segments", .check = check_u32, .excludes = "all"},
    {"all", .help = "Show all segments"},
    {"extra", .help = "Show the trim point and the parameters of segments"},
    JSON_OPTION,
    {0}};
static const struct option trim_options[] = {LOG_IDS(OPTION_REQUIRED, "Logs: `0`, `1-4`"),
                                             {"trim-point", 't', "TRIM_POINT", OPTION_REQUIRED,
                                              "Records up to this number are removed, itself included",
                                              .check = check_u64},
                                             {0}};
static const struct option reconfigure_options[] = {
    {"log-id", 'l', "LOG_ID", OPTION_REQUIRED | OPTION_LIST, "Logs: `0`, `1-4`", .check = check_range},
    {"provider", 'p', "PROVIDER", 0,
     "Kind of the new segment; that of the cluster's configuration without it",
     .choices = "local|replicated|~in-memory"},
    {"segment-index", 'i', "SEGMENT_INDEX", 0, "Segment to seal; the last one without it",
     .check = check_u32},
    {"min-version", 'm', "MIN_VERSION", 0, "Version of the logs' metadata that the server has to know",
     .fallback = "1", .check = check_u32},
    {"replication", 0, "REPLICATION", 0, "Copies of a record; those of the sealed segment without it",
     .check = check_replication},
    {"nodeset", 0, "NODESET", OPTION_LIST | OPTION_MANY, "Nodes that store the new segment",
     .check = check_node_id},
    {"sequencer", 0, "SEQUENCER", 0, "Node that writes the new segment", .check = check_node_id},
    {0}};
static const struct option seal_options[] = {LOG_IDS(OPTION_REQUIRED, "Logs: `0`, `1-4`"),
                                             {"segment-index", 'i', "SEGMENT_INDEX", 0,
                                              "Segment to seal; the last one without it", .check = check_u32},
                                             {"reason", 0, "REASON", .help = "Kept with the seal"},
                                             {0}};
static const struct option forced_seal_options[] = {
    {"LOG_ID", .value = "LOG_ID", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = "Log",
     .check = check_u32},
    {"TAIL_LSN", .value = "TAIL_LSN", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
     .help = "End of the log: records from here on are lost", .check = check_u64},
    {"segment-index", 'i', "SEGMENT_INDEX", 0, "Segment to seal; the last one without it",
     .check = check_u32},
    {"reason", 0, "REASON", .help = "Kept with the seal"},
    {0}};
static const struct option recover_options[] = {
    LOG_IDS(0, "Logs: `0`, `1-4`; all without one"),
    {"dry-run", 'n', .help = "Say what is lost and what would be done, change nothing"},
    {"reason", 0, "REASON", .help = "Kept with the seal"},
    {0}};
static const struct option generate_options[] = {
    {"replication", 'r', "REPLICATION", OPTION_REQUIRED, "Copies of a record", .check = check_replication},
    {"nodeset", 0, "NODESET", OPTION_REQUIRED | OPTION_LIST | OPTION_MANY, "Nodes that store the logs",
     .check = check_node_id},
    {"sequencer", 0, "SEQUENCER", OPTION_REQUIRED, "Node and generation that writes, as N1:1",
     .check = check_generational_id},
    {"num-logs", 'n', "NUM_LOGS", OPTION_REQUIRED, "Number of logs", .check = check_u16},
    {"version", 0, "VERSION", OPTION_HIDDEN, "Version of the value", .fallback = "2", .check = check_u32},
    {"pretty", .help = "With line breaks"},
    {0}};

const struct command logs_commands[] = {
    {"list", "The logs and their last segments", .aliases = "ls", .options = list_options,
     .run = logs_list_run},
    {"generate-metadata", "Print a logs configuration as JSON, without a server", .options = generate_options,
     .run = logs_generate_run},
    {"describe", "The segments of logs", .options = describe_options, .run = logs_describe_run,
     .examples = "restatectl logs describe 0-3 --extra"},
    {"trim", "Remove the beginning of logs", .options = trim_options, .run = logs_trim_run,
     .examples = "restatectl logs trim 0 --trim-point 1000"},
    {"reconfigure", "Seal the last segment of logs and add a new one", .options = reconfigure_options,
     .run = logs_reconfigure_run, .examples = "restatectl logs reconfigure --log-id 0-3 --nodeset N1,N2,N3"},
    {"seal", "Seal logs: they take no more records until they are reconfigured", .options = seal_options,
     .run = logs_seal_run},
    {"forced-seal", "Seal a log at a given end, whatever its servers say; records may be lost",
     .hidden = true, .options = forced_seal_options, .run = logs_forced_seal_run},
    {"recover", "Accept the loss of what only log-servers had that are gone for good, and go on",
     .options = recover_options, .run = logs_recover_run, .examples = "restatectl logs recover --dry-run"},
    {"find-tail", "The end of logs", .options = find_tail_options, .run = find_tail_run,
     .examples = "restatectl logs find-tail 0-23"},
    {0}};
