/* `logs describe` (spec/restatectl.md §11.3). */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/ctl.h"
#include "metadata/json.h"

/* ---- which segments ---- */

struct window {
    size_t from, to; /* indexes into the chain */
};

static struct window choose(struct tool *t, const struct log_chain *chain)
{
    struct window w = {0, chain->n_segments};
    if (tool_given(t, "from-segment-id"))
        while (w.from < w.to && chain->segments[w.from].index < tool_number(t, "from-segment-id"))
            w.from++;
    else if (tool_given(t, "skip"))
        w.from = MIN(tool_number(t, "skip"), w.to);
    if (tool_flag(t, "all"))
        return w;
    if (tool_given(t, "head"))
        w.to = MIN(w.to, w.from + tool_number(t, "head"));
    else if (w.to - w.from > tool_number(t, "tail"))
        w.from = w.to - tool_number(t, "tail");
    return w;
}

/* ---- cells ---- */

static void created_cell(struct tool *t, struct table *tb, uint64_t created_at)
{
    struct writer w = WRITER_INIT;
    if (!created_at) {
        table_text(tb, STYLE_PLAIN, "--");
        return;
    }
    uint64_t at = hybrid_wall_ms(created_at), now = os_wall_ms();
    if (ctl_of(t)->time_format != TIME_HUMAN) {
        instant_print(&w, ctl_of(t)->time_format, at);
    } else {
        duration_rough(&w, now > at ? (now - at) / 1000 : 0);
        write_fmt(&w, " ago"); /* `now ago` too, as the reference */
    }
    table_cell(tb, STYLE_PLAIN, "%.*s", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
}

static void replicated_cells(struct tool *t, struct table *tb, const struct loglet_params *p, bool tail)
{
    const struct nodes_config *nodes = ctl_of(t)->nodes;
    uint32_t effective[NODESET_MAX];
    size_t n = 0;
    for (unsigned i = 0; i < p->nodeset.len; i++) {
        const struct node_entry *e = nodes_config_by_id(nodes, p->nodeset.ids[i]);
        if (e && !e->tombstone && e->storage != STORAGE_DISABLED)
            effective[n++] = p->nodeset.ids[i];
    }
    const struct node_entry *sequencer = nodes_config_by_id(nodes, p->sequencer.id);
    bool current = sequencer && !sequencer->tombstone && sequencer->generation == p->sequencer.generation;
    table_text(tb, STYLE_PLAIN, loglet_text(t, p->loglet_id));
    table_text(tb, STYLE_PLAIN, replication_text(t, &p->replication));
    table_cell(tb,
               !tail     ? STYLE_PLAIN
               : current ? STYLE_GREEN
                         : STYLE_RED,
               "N%u:%u", p->sequencer.id, p->sequencer.generation);
    table_text(tb, n < replication_copies(&p->replication) ? STYLE_RED : STYLE_PLAIN,
               nodeset_text(t, effective, n));
}

/* What a seal marker says about itself. */
static const char *seal_notes(struct tool *t, const char *params)
{
    json_t *doc = json_loads(params, 0, NULL);
    struct writer w = WRITER_INIT;
    uint64_t at = (uint64_t)json_integer_value(json_member(doc, "sealed_at"));
    const char *key, *sep = " ";
    json_t *value;
    write_fmt(&w, "At ");
    time_format_rfc3339(&w, at * 1000, 3, "Z");
    json_object_foreach(json_member(doc, "context"), key, value)
    {
        write_fmt(&w, "%s%s=%s", sep, key, json_is_string(value) ? json_string_value(value) : "");
        sep = ", ";
    }
    const char *text = doc ? arena_copy_slice(&t->arena, writer_slice(&w)) : "";
    writer_free(&w);
    json_decref(doc);
    return text;
}

static void segment_row(struct tool *t, struct table *tb, const struct log_segment *s, bool tail, bool extra)
{
    struct loglet_params params;
    table_row(tb);
    table_text(tb, STYLE_GREEN, tail ? "▶︎" : "");
    table_cell(tb, STYLE_PLAIN, "%u", s->index);
    table_cell(tb, STYLE_PLAIN, "%llu", (unsigned long long)s->base_lsn);
    table_text(tb, STYLE_PLAIN, segment_kind_name(s->kind));
    if (segment_params(s, &params)) {
        replicated_cells(t, tb, &params, tail);
    } else {
        for (int i = 0; i < 4; i++)
            table_text(tb, STYLE_PLAIN, "");
    }
    created_cell(t, tb, s->created_at);
    if (extra)
        table_text(tb, STYLE_PLAIN, s->params);
    table_text(tb, STYLE_PLAIN, s->kind == SEGMENT_SEALED ? seal_notes(t, s->params) : " ");
}

static bool describe_extra(struct tool *t, uint32_t log, uint64_t *trim_point)
{
    struct writer request = WRITER_INIT;
    pb_write_u64(&request, 1, log);
    struct answer a =
        ctl_call(ctl_of(t), ROLE_ADMIN, "/restate.cluster_ctrl.ClusterCtrlSvc/DescribeLog", &request);
    *trim_point = msg_u64(a.reply, 4);
    if (!a.good)
        tool_fail(t, "%s", a.error);
    return a.good;
}

static int describe(struct tool *t, const struct logs_config *logs, uint32_t log)
{
    const struct log_chain *chain = logs_config_chain(logs, log);
    bool extra = tool_flag(t, "extra");
    uint64_t trim_point = 0;
    if (!chain)
        return tool_fail(t, "Failed to get log chain");
    if (extra && !describe_extra(t, log, &trim_point))
        return 1;
    tool_say(t, "Log Id: %u (v%u)\n", log, logs->version);
    if (extra)
        tool_say(t, "Trim Point LSN: %llu\n", (unsigned long long)trim_point);
    struct window w = choose(t, chain);
    if (w.from >= w.to) {
        tool_say(t, "No segments to display.\n");
        return 0;
    }
    struct table *tb = table_new(t, tool_format(t, "log_%u", log));
    table_marker_first(tb);
    table_header(tb, "", "IDX", "FROM-LSN", "KIND", "LOGLET-ID", "REPLICATION", "SEQUENCER", "EFF-NODESET",
                 "CREATED-AT", NULL);
    if (extra)
        table_column(tb, "PARAMS");
    table_column(tb, "");
    for (size_t i = w.from; i < w.to; i++)
        segment_row(t, tb, &chain->segments[i], i + 1 == chain->n_segments, extra);
    table_print(tb);
    tool_say(t, "---\n%zu/%zu segments shown.\n\n", w.to - w.from, chain->n_segments);
    return 0;
}

int logs_describe_run(struct tool *t)
{
    const struct logs_config *logs;
    t->json = tool_flag(t, "json");
    if (!need_cluster(t) || !(logs = need_logs(t)))
        return 1;
    struct ids ids = arg_ranges(t, "LOG_ID");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ids.len; i++)
        rc = describe(t, logs, ids.items[i]);
    for (size_t i = 0; rc == 0 && ids.len == 0 && i < logs->n_chains; i++)
        rc = describe(t, logs, logs->chains[i].log_id);
    return rc;
}
