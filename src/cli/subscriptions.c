/* `subscriptions` (spec/admin-api.md §21.7). */
#include <stdlib.h>
#include <string.h>

#include "cli/pairs.h"

static int list_once(struct tool *t)
{
    const char *source = tool_text(t, "source"), *sink = tool_text(t, "sink");
    const char *path = "/subscriptions";
    size_t i;
    json_t *s;
    if (sink)
        path = tool_format(t, "%s?sink=%s", path, url_part(t, sink));
    if (source)
        path = tool_format(t, "%s%csource=%s", path, sink ? '&' : '?', url_part(t, source));
    json_t *doc = api_get(t, path), *list = json_member(doc, "subscriptions");
    if (!doc)
        return 1;
    if (json_array_size(list) == 0 && !t->json) {
        tool_say(t, "No subscriptions registered.\n");
        return 0;
    }
    struct table *tb = table_new(t, "subscriptions");
    table_header(tb, "ID", "SOURCE", "SINK", "OPTIONS", NULL);
    json_array_foreach(list, i, s)
    {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(s, "id"));
        table_text(tb, STYLE_PLAIN, jtext(s, "source"));
        table_text(tb, STYLE_PLAIN, jtext(s, "sink"));
        table_cell(tb, STYLE_PLAIN, "%zu", json_object_size(json_object_get(s, "options")));
    }
    table_print(tb);
    return 0;
}

static int list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, list_once);
}

/* `source` or `sink`: from the command line, else from what a file or the editor said; it moves from the
 * options into the body. false: nobody said it. */
static bool end_of(struct tool *t, const char *name, const char *argument, json_t *options, json_t *body)
{
    const char *said = argument ? argument : jtext(options, name);
    json_object_set_new(body, name, json_string(said));
    json_object_del(options, name);
    if (!*jtext(body, name))
        tool_usage_error(t, "`%s` is required, as an argument, in the file or in the editor", name);
    return *jtext(body, name) != 0;
}

/* Source and sink stand in front of what is edited. */
static json_t *edited(struct tool *t, const char *source, const char *sink, json_t *options)
{
    json_t *all = cli_keep(t, json_object());
    json_object_set_new(all, "source", json_string(source ? source : jtext(options, "source")));
    json_object_set_new(all, "sink", json_string(sink ? sink : jtext(options, "sink")));
    json_object_update_missing(all, options);
    return pairs_edit(t, all);
}

static int create_run(struct tool *t)
{
    json_t *options = cli_keep(t, json_object()), *body = cli_keep(t, json_object());
    const char *source = tool_text(t, "SOURCE"), *sink = tool_text(t, "SINK");
    if (!pairs_read_file(t, tool_text(t, "from-file"), "options", true, options))
        return 1;
    if (!pairs_read(t, "OPTIONS", options))
        return 2;
    if (tool_flag(t, "edit")) {
        options = edited(t, source, sink, options);
        source = sink = NULL;
    }
    if (!options)
        return 1;
    if (!end_of(t, "source", source, options, body) || !end_of(t, "sink", sink, options, body))
        return 2;
    json_object_set(body, "options", json_object_size(options) ? options : json_null());
    struct table *tb = table_new(t, "subscription");
    table_key_value(tb, "Source", "%s", jtext(body, "source"));
    table_key_value(tb, "Sink", "%s", jtext(body, "sink"));
    table_print(tb);
    if (json_object_size(options))
        pairs_print(t, "options", options);
    if (!tool_confirm(t, "Create this subscription?"))
        return tool_aborted(t);
    json_t *done = api_send(t, "POST", "/subscriptions", pairs_text(t, body));
    if (!done)
        return 1;
    say_good(t, "Subscription %s created", jtext(done, "id"));
    return 0;
}

static json_t *get(struct tool *t)
{
    return api_get(t, tool_format(t, "/subscriptions/%s", url_part(t, tool_text(t, "ID"))));
}

/* The cluster of a source, kafka://<cluster>/<topic>; NULL: it cannot be asked for, which is no error. */
static const json_t *cluster_of(struct tool *t, const char *source)
{
    const char *name = strstr(source, "://");
    if (!name)
        return NULL;
    name += 3;
    const char *text = tool_format(t, "%.*s", (int)strcspn(name, "/"), name);
    struct api_call call = {.method = "GET", .path = tool_format(t, "/kafka-clusters/%s", url_part(t, text))};
    api_run(t, &call, 1);
    return api_good(&call) ? api_json(t, &call, NULL) : NULL;
}

/* `cluster` may be NULL. */
static void print_one(struct tool *t, const json_t *s, const json_t *cluster)
{
    struct table *tb = table_new(t, "subscription");
    table_key_value(tb, "ID", "%s", jtext(s, "id"));
    table_key_value(tb, "Source", "%s", jtext(s, "source"));
    table_key_value(tb, "Sink", "%s", jtext(s, "sink"));
    if (cluster)
        table_key_value(tb, "Kafka brokers", "%s", pairs_brokers(json_object_get(cluster, "properties")));
    if (json_is_true(json_object_get(s, "paused")))
        table_key_value(tb, "Paused", "yes");
    if (*jtext(s, "on_bad_record"))
        table_key_value(tb, "Bad records", "%s", jtext(s, "on_bad_record"));
    table_print(tb);
    if (json_object_size(json_object_get(s, "options"))) {
        tool_say(t, "\n");
        pairs_print(t, "options", json_object_get(s, "options"));
    }
}

static int describe_once(struct tool *t)
{
    json_t *s = get(t);
    if (s)
        print_one(t, s, cluster_of(t, jtext(s, "source")));
    return s ? 0 : 1;
}

static int describe_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, describe_once);
}

static int delete_run(struct tool *t)
{
    json_t *s = get(t);
    if (!s)
        return 1;
    print_one(t, s, NULL);
    if (!tool_confirm(t, "Delete this subscription?"))
        return tool_aborted(t);
    if (!api_do(t, "DELETE", tool_format(t, "/subscriptions/%s", url_part(t, tool_text(t, "ID"))), NULL))
        return 1;
    say_good(t, "Subscription %s deleted", tool_text(t, "ID"));
    return 0;
}

#define ID_ARGUMENT                                                                                          \
    {                                                                                                        \
        "ID", .value = "ID", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,                                   \
              .help = "Id of the subscription: sub_..."                                                      \
    }
static const struct option list_options[] = {{"source", 0, "SOURCE", .help = "kafka://cluster/topic"},
                                             {"sink", 0, "SINK", .help = "service://Service/handler"},
                                             {"json", .help = "Print JSON"},
                                             WATCH_OPTIONS,
                                             {0}};
static const struct option create_options[] = {
    {"SOURCE", .value = "SOURCE", .flags = OPTION_POSITIONAL,
     .help = "kafka://cluster/topic; may stand in the file or be given in the editor"},
    {"SINK", .value = "SINK", .flags = OPTION_POSITIONAL, .help = "service://Service/handler; the same"},
    {"OPTIONS", .value = "OPTIONS", .flags = OPTION_POSITIONAL | OPTION_REPEAT, .help = "KEY=VALUE"},
    PAIRS_FILE_OPTION(
        "File of KEY=VALUE lines, also `source` and `sink`, `-`: standard input; or `.toml` with "
        "a table [options]"),
    {"edit", .help = "Open it in an editor first"},
    {0}};
static const struct option describe_options[] = {
    ID_ARGUMENT, {"json", .help = "Print JSON"}, WATCH_OPTIONS, {0}};
static const struct option delete_options[] = {ID_ARGUMENT, {0}};

const struct command subscriptions_commands[] = {
    {"list", "The subscriptions", .aliases = "ls", .options = list_options, .run = list_run},
    {"create", "Let a topic invoke a handler", .aliases = "register", .options = create_options,
     .run = create_run,
     .examples = "restate subscriptions create kafka://my-cluster/orders service://Orders/process "
                 "auto.offset.reset=earliest"},
    {"describe", "One subscription", .aliases = "get", .options = describe_options, .run = describe_run},
    {"delete", "Delete a subscription", .aliases = "rm|remove", .options = delete_options, .run = delete_run},
    {0}};
