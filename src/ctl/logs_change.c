/* `logs trim`, `reconfigure`, `seal`, `forced-seal`, `generate-metadata` (spec/restatectl.md §11.3). */
#include <stdlib.h>

#include "ctl/ctl.h"

#define SERVICE "/restate.cluster_ctrl.ClusterCtrlSvc/"
#define MODULE  "restatectl::commands::log::"

/* ---- trim ---- */

int logs_trim_run(struct tool *t)
{
    struct ids ids = arg_ranges(t, "LOG_ID");
    if (!need_cluster(t))
        return 1;
    for (size_t i = 0; i < ids.len; i++) {
        struct writer request = WRITER_INIT;
        pb_write_u64(&request, 1, ids.items[i]);
        pb_write_u64(&request, 2, tool_number(t, "trim-point"));
        struct answer a = ctl_call(ctl_of(t), ROLE_ADMIN, SERVICE "TrimLog", &request);
        if (a.good)
            tool_say(t, "Submitted for log %u\n", ids.items[i]);
        else
            tool_item_failed(t, MODULE "trim_log", "Failed to trim log %u: failed to submit trim request: %s",
                             ids.items[i], a.error);
    }
    return tool_done(t);
}

/* ---- reconfigure ---- */

struct extension {
    const char *provider, *replication;
    struct ids nodeset;
    uint32_t sequencer, sequencer_generation;
};

static const struct log_segment *last_replicated(const struct log_chain *chain)
{
    for (size_t i = chain ? chain->n_segments : 0; i-- > 0;)
        if (chain->segments[i].kind == SEGMENT_REPLICATED)
            return &chain->segments[i];
    return NULL;
}

/* NULL, or why not. */
static const char *plan(struct tool *t, const struct log_chain *chain, const char *provider,
                        struct extension *x)
{
    const struct log_segment *old = last_replicated(chain);
    struct loglet_params params;
    bool has_old = old && segment_params(old, &params);
    const char *given = tool_text(t, "sequencer"), *replication = tool_text(t, "replication");
    *x = (struct extension){.provider = provider, .nodeset = arg_nodes(t, "nodeset")};
    if (strcmp(provider, "replicated") != 0)
        return has_old ? "Switching back to local provider kind is not supported" : NULL;
    if (x->nodeset.len == 0 && !has_old)
        return "Missing nodeset. Nodeset is required if the last segment is not of replicated type";
    if (!replication && !has_old)
        return "Missing replication. Replication factor is required if the last segment is not of replicated "
               "type";
    if (!given && !has_old)
        return "Missing sequencer. Sequencer is required if the last segment is not of replicated type";
    if (x->nodeset.len == 0) {
        x->nodeset.len = params.nodeset.len;
        x->nodeset.items = arena_array(&t->arena, uint32_t, params.nodeset.len + 1);
        memcpy(x->nodeset.items, params.nodeset.ids, params.nodeset.len * sizeof(uint32_t));
    }
    x->replication =
        replication ? normal_replication(t, replication) : replication_text(t, &params.replication);
    if (given) {
        parse_node_id(given, &x->sequencer, &x->sequencer_generation);
    } else {
        x->sequencer = params.sequencer.id;
        x->sequencer_generation = params.sequencer.generation;
    }
    return NULL;
}

static struct answer seal_and_extend(struct tool *t, uint32_t log, const struct extension *x)
{
    struct writer request = WRITER_INIT, extension = WRITER_INIT;
    pb_write_u64(&request, 1, log);
    pb_put_wrapped(&request, 2, tool_number(t, "min-version"));
    if (tool_given(t, "segment-index"))
        pb_write_u64_always(&extension, 2, tool_number(t, "segment-index"));
    pb_put_text(&extension, 4, x->provider);
    if (x->replication) {
        msg_put_replication(&extension, 6, x->replication);
        pb_put_node_id(&extension, 7, x->sequencer, x->sequencer_generation);
        for (size_t i = 0; i < x->nodeset.len; i++)
            pb_put_node_id(&extension, 8, x->nodeset.items[i], 0);
    }
    pb_put_message(&request, 3, &extension);
    return ctl_call(ctl_of(t), ROLE_ADMIN, SERVICE "SealAndExtendChain", &request);
}

static void print_reconfigured(struct tool *t, uint32_t log, struct slice reply)
{
    uint64_t index = msg_u64(reply, 1);
    struct slice sealed = msg_bytes(reply, 2);
    struct loglet_params p;
    if (!msg_has(reply, 2)) {
        tool_say(t, "✅ Log scheduled for reconfiguration\n");
        return;
    }
    const char *provider = msg_text(t, sealed, 1), *params = msg_text(t, sealed, 2);
    tool_say(t, "✅ Log reconfiguration (%u)\n └ Segment Index: %llu\n\nSealed segment\n", log,
             (unsigned long long)index);
    tool_say(t, " ├ Index: %llu\n ├ Tail LSN: %llu\n ├ Provider: %s\n",
             (unsigned long long)(index ? index - 1 : 0), (unsigned long long)msg_u64(sealed, 3), provider);
    if (strcmp(provider, "replicated") != 0 || loglet_params_decode(slice_cstr(params), &p, NULL) != RC_OK) {
        tool_say(t, " └ Params: %s\n", params);
        return;
    }
    tool_say(t, " ├ Loglet ID: %s\n ├ Sequencer: N%u:%u\n ├ Replication: %s\n └ Node Set: %s\n",
             loglet_text(t, p.loglet_id), p.sequencer.id, p.sequencer.generation,
             replication_text(t, &p.replication), nodeset_text(t, p.nodeset.ids, p.nodeset.len));
}

int logs_reconfigure_run(struct tool *t)
{
    struct ids ids = arg_ranges(t, "log-id");
    const struct logs_config *logs;
    if (!need_cluster(t) || !(logs = need_logs(t)))
        return 1;
    const char *provider =
        tool_given(t, "provider") ? tool_text(t, "provider") : log_provider_name(logs->provider);
    for (size_t i = 0; i < ids.len; i++) {
        const struct log_chain *chain = logs_config_chain(logs, ids.items[i]);
        struct extension x;
        const char *why =
            chain ? plan(t, chain, provider, &x) : tool_format(t, "Unknown log id '%u'", ids.items[i]);
        struct answer a = {.error = why};
        if (!why)
            a = seal_and_extend(t, ids.items[i], &x);
        if (a.good)
            print_reconfigured(t, ids.items[i], a.reply);
        else
            tool_item_failed(t, MODULE "reconfigure", "Failed to reconfigure log %u: %s", ids.items[i],
                             a.error);
        tool_say(t, "\n");
        tool_flush(t);
    }
    return tool_done(t);
}

/* ---- seal ---- */

static void put_context(struct writer *request, const char *key, const char *value)
{
    struct writer entry = WRITER_INIT;
    pb_put_text(&entry, 1, key);
    pb_put_text(&entry, 2, value);
    pb_put_message(request, 3, &entry);
}

struct answer logs_seal(struct tool *t, uint32_t log, const uint32_t *segment, const char *reason,
                        uint64_t forced_tail)
{
    struct writer request = WRITER_INIT;
    pb_write_u64(&request, 1, log);
    if (segment)
        pb_write_u64_always(&request, 2, *segment);
    put_context(&request, "source", "restatectl");
    if (reason)
        put_context(&request, "reason", reason);
    if (forced_tail)
        pb_write_u64_always(&request, 4, forced_tail);
    struct answer a = ctl_call(ctl_of(t), ROLE_ADMIN, SERVICE "SealChain", &request);
    if (a.good)
        tool_say(t, "✅ log=%u chain has been sealed\n ├ Tail LSN: %llu\n\n", log,
                 (unsigned long long)msg_u64(a.reply, 1));
    return a;
}

static struct answer seal_one(struct tool *t, uint32_t log, uint64_t forced_tail)
{
    uint32_t segment = (uint32_t)(tool_given(t, "segment-index") ? tool_number(t, "segment-index") : 0);
    return logs_seal(t, log, tool_given(t, "segment-index") ? &segment : NULL, tool_text(t, "reason"),
                     forced_tail);
}

int logs_seal_run(struct tool *t)
{
    struct ids ids = arg_ranges(t, "LOG_ID");
    if (!need_cluster(t))
        return 1;
    for (size_t i = 0; i < ids.len; i++) {
        struct answer a = seal_one(t, ids.items[i], 0);
        if (!a.good) {
            tool_item_failed(t, MODULE "seal", "Failed to seal log chain for log=%u: %s", ids.items[i],
                             a.error);
            tool_say(t, "\n");
        }
    }
    return tool_done(t);
}

int logs_forced_seal_run(struct tool *t)
{
    uint64_t log = tool_number(t, "LOG_ID"), tail = tool_number(t, "TAIL_LSN");
    if (tail == 0)
        return tool_fail(t, "tail LSN must be a valid non-zero value");
    if (!need_cluster(t))
        return 1;
    if (!tool_confirm(
            t, tool_format(t, "Force-seal log %llu with tail LSN %llu? This can cause permanent data loss",
                           (unsigned long long)log, (unsigned long long)tail)))
        return tool_aborted(t);
    struct answer a = seal_one(t, (uint32_t)log, tail);
    return a.good ? 0 : tool_fail(t, "%s", a.error);
}

/* ---- generate-metadata: JSON with its keys in their order ---- */

static void nl(struct writer *w, bool pretty, int depth)
{
    if (pretty)
        write_fmt(w, "\n%*s", depth * 2, "");
}

static void key(struct writer *w, bool pretty, int depth, const char *name)
{
    nl(w, pretty, depth);
    write_fmt(w, "\"%s\":%s", name, pretty ? " " : "");
}

static void put_chain(struct writer *w, bool p, uint32_t log, const char *params)
{
    nl(w, p, 2);
    write_u8(w, '[');
    nl(w, p, 3);
    write_fmt(w, "%u,", log);
    nl(w, p, 3);
    write_u8(w, '{');
    key(w, p, 4, "chain");
    write_u8(w, '[');
    nl(w, p, 5);
    write_u8(w, '[');
    nl(w, p, 6);
    write_fmt(w, "1,");
    nl(w, p, 6);
    write_u8(w, '{');
    key(w, p, 7, "kind");
    write_fmt(w, "\"replicated\",");
    key(w, p, 7, "params");
    write_json_string(w, slice_cstr(params));
    write_u8(w, ',');
    key(w, p, 7, "index");
    write_fmt(w, "0,");
    key(w, p, 7, "created_at");
    write_fmt(w, "null");
    static const char closing[] = "}]]}]";
    static const int depths[] = {6, 5, 4, 3, 2};
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        nl(w, p, depths[i]);
        write_u8(w, (uint8_t)closing[i]);
    }
}

int logs_generate_run(struct tool *t)
{
    struct writer *w = &t->out;
    struct ids nodeset = arg_nodes(t, "nodeset");
    struct replication replication;
    uint32_t id, generation;
    bool p = tool_flag(t, "pretty");
    replication_parse(slice_cstr(tool_text(t, "replication")), &replication, NULL);
    parse_node_id(tool_text(t, "sequencer"), &id, &generation);
    write_u8(w, '{');
    key(w, p, 1, "version");
    write_fmt(w, "%llu,", (unsigned long long)tool_number(t, "version"));
    key(w, p, 1, "logs");
    write_u8(w, '[');
    uint64_t n = tool_number(t, "num-logs");
    for (uint32_t log = 0; log < n; log++) {
        char *params = replicated_params(&t->arena, loglet_id_make(log, 0), id, generation, &replication,
                                         nodeset.items, nodeset.len);
        write_fmt(w, "%s", log ? "," : "");
        put_chain(w, p, log, params);
    }
    nl(w, p && n, 1);
    write_fmt(w, "],");
    key(w, p, 1, "config");
    write_u8(w, '{');
    key(w, p, 2, "default_provider");
    write_u8(w, '{');
    key(w, p, 3, "replicated");
    write_u8(w, '{');
    key(w, p, 4, "replication_property");
    write_fmt(w, "\"{node: 1}\","); /* settings for later segments are not what was asked for */
    key(w, p, 4, "target_nodeset_size");
    write_u8(w, '1');
    for (int depth = 3; depth > 0; depth--) {
        nl(w, p, depth);
        write_u8(w, '}');
    }
    write_u8(w, ',');
    key(w, p, 1, "modified_at");
    write_fmt(w, "null");
    nl(w, p, 0);
    write_fmt(w, "}\n");
    return 0;
}
