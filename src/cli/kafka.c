/* `kafka-clusters` (spec/admin-api.md §21.7). */
#include <stdlib.h>

#include "cli/pairs.h"

#define REDACTED "***"

static const char *path_of(struct tool *t, const char *suffix)
{
    return tool_format(t, "/kafka-clusters/%s%s", url_part(t, tool_text(t, "NAME")), suffix);
}

static int list_once(struct tool *t)
{
    size_t i;
    json_t *c;
    json_t *doc = api_get(t, "/kafka-clusters");
    if (!doc)
        return 1;
    json_t *list =
        json_member(doc, "clusters") ? json_member(doc, "clusters") : json_member(doc, "kafka_clusters");
    if (json_array_size(list) == 0 && !t->json) {
        tool_say(t, "No Kafka clusters registered.\n");
        return 0;
    }
    struct table *tb = table_new(t, "kafka_clusters");
    table_header(tb, "NAME", "BROKERS", "PROPERTIES", "CREATED-AT", NULL);
    json_array_foreach(list, i, c)
    {
        const json_t *properties = json_object_get(c, "properties");
        table_row(tb);
        table_text(tb, STYLE_PLAIN, jtext(c, "name"));
        table_text(tb, STYLE_PLAIN, pairs_brokers(properties));
        table_cell(tb, STYLE_PLAIN, "%zu", json_object_size(properties));
        table_text(tb, STYLE_PLAIN, date_text(t, jtext(c, "created_at")));
    }
    table_print(tb);
    return 0;
}

static int list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, list_once);
}

static int create_run(struct tool *t)
{
    json_t *properties = cli_keep(t, json_object()), *body = cli_keep(t, json_object());
    if (!pairs_read_file(t, tool_text(t, "from-file"), "properties", false, properties))
        return 1;
    if (!pairs_read(t, "PROPERTIES", properties))
        return 2;
    if (tool_flag(t, "edit") && !(properties = pairs_edit(t, properties)))
        return 1;
    json_object_set_new(body, "name", json_string(tool_text(t, "NAME")));
    json_object_set(body, "properties", properties);
    pairs_print(t, "properties", properties);
    if (!tool_confirm(t, "Create this Kafka cluster?"))
        return tool_aborted(t);
    if (!api_send(t, "POST", "/kafka-clusters", pairs_text(t, body)))
        return 1;
    say_good(t, "Kafka cluster %s created", tool_text(t, "NAME"));
    return 0;
}

static int describe_once(struct tool *t)
{
    size_t i;
    json_t *s, *c = api_get(t, path_of(t, "?include_subscriptions=true"));
    if (!c)
        return 1;
    json_t *properties = json_object_get(c, "properties"),
           *subscriptions = json_object_get(c, "subscriptions");
    struct table *tb = table_new(t, "kafka_cluster"), *used = table_new(t, "subscriptions");
    table_key_value(tb, "Name", "%s", jtext(c, "name"));
    table_key_value(tb, "Brokers", "%s", pairs_brokers(properties));
    table_key_value(tb, "Properties", "%zu", json_object_size(properties));
    table_key_value(tb, "Subscriptions", "%zu", json_array_size(subscriptions));
    table_key_value(tb, "Created at", "%s", date_text(t, jtext(c, "created_at")));
    table_print(tb);
    tool_say(t, "\n");
    pairs_print(t, "properties", properties);
    if (json_array_size(subscriptions) == 0)
        return 0;
    table_header(used, "ID", "SOURCE", "SINK", NULL);
    json_array_foreach(subscriptions, i, s)
    {
        table_row(used);
        table_text(used, STYLE_PLAIN, jtext(s, "id"));
        table_text(used, STYLE_PLAIN, jtext(s, "source"));
        table_text(used, STYLE_PLAIN, jtext(s, "sink"));
    }
    tool_say(t, "\n");
    table_print(used);
    return 0;
}

static int describe_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return cli_watch(t, describe_once);
}

static int update(struct tool *t, const json_t *old, json_t *new)
{
    struct table *tb = table_new(t, "changes");
    const char *key;
    json_t *value;
    table_header(tb, "PROPERTY", "OLD", "NEW", NULL);
    json_object_foreach(new, key, value)
    {
        if (strcmp(jtext(old, key), json_string_value(value)) == 0)
            continue;
        table_row(tb);
        table_text(tb, STYLE_PLAIN, key);
        table_text(tb, STYLE_RED, jtext(old, key));
        table_text(tb, STYLE_GREEN, json_string_value(value));
    }
    json_object_foreach((json_t *)(uintptr_t)old, key, value)
    {
        if (json_object_get(new, key))
            continue;
        table_row(tb);
        table_text(tb, STYLE_PLAIN, key);
        table_text(tb, STYLE_RED, json_string_value(value));
    }
    if (table_rows(tb) == 0) {
        tool_say(t, "No changes detected. Aborting.\n");
        return 0;
    }
    table_print(tb);
    if (!tool_confirm(t, "Apply these changes?"))
        return tool_aborted(t);
    json_t *body = cli_keep(t, json_object());
    json_object_set(body, "properties", new);
    if (!api_do(t, "PATCH", path_of(t, ""), pairs_text(t, body)))
        return 1;
    say_good(t, "Kafka cluster %s updated", tool_text(t, "NAME"));
    return 0;
}

static int edit_run(struct tool *t)
{
    json_t *c = api_get(t, path_of(t, ""));
    json_t *properties = c ? json_object_get(c, "properties") : NULL;
    json_t *edited = properties ? pairs_edit(t, properties) : NULL;
    return edited ? update(t, properties, edited) : 1;
}

static int patch_run(struct tool *t)
{
    const char *file = tool_text(t, "from-file"), *key, *item;
    json_t *value, *c = api_get(t, path_of(t, ""));
    json_t *old = c ? json_object_get(c, "properties") : NULL;
    if (!old)
        return 1;
    json_t *new = cli_keep(t, file ? json_object() : json_copy(old));
    if (!pairs_read_file(t, file, "properties", false, new))
        return 1;
    for (size_t i = 0; (item = tool_item(t, "unset", i)); i++)
        json_object_del(new, item);
    if (!pairs_read(t, "set", new))
        return 2;
    json_object_foreach(new, key, value)
    {
        /* the server shows secrets as stars; sending those back would be a guess about what it does with them
         */
        if (strcmp(json_string_value(value), REDACTED) == 0)
            return tool_fail(t, "the value of '%s' is hidden by the server; give it with --set %s=VALUE", key,
                             key);
    }
    return update(t, old, new);
}

static int delete_run(struct tool *t)
{
    bool force = tool_flag(t, "force");
    json_t *c = api_get(t, path_of(t, "?include_subscriptions=true"));
    if (!c)
        return 1;
    size_t n = json_array_size(json_object_get(c, "subscriptions"));
    if (n && !force)
        return tool_fail(t,
                         "Kafka cluster %s is used by %zu subscriptions; delete them first, or use --force",
                         tool_text(t, "NAME"), n);
    if (!tool_confirm(t, tool_format(t, "Delete the Kafka cluster %s?", tool_text(t, "NAME"))))
        return tool_aborted(t);
    if (!api_do(t, "DELETE", path_of(t, force ? "?force=true" : ""), NULL))
        return 1;
    say_good(t, "Kafka cluster %s deleted", tool_text(t, "NAME"));
    return 0;
}

#define NAME_ARGUMENT                                                                                        \
    {                                                                                                        \
        "NAME", .value = "NAME", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = "Name of the cluster" \
    }
static const struct option list_options[] = {{"json", .help = "Print JSON"}, WATCH_OPTIONS, {0}};
static const struct option create_options[] = {
    NAME_ARGUMENT,
    {"PROPERTIES", .value = "PROPERTIES", .flags = OPTION_POSITIONAL | OPTION_REPEAT,
     .help = "KEY=VALUE of librdkafka; bootstrap.servers is needed"},
    PAIRS_FILE_OPTION("File of KEY=VALUE lines, `-`: standard input; or `.toml` with a table [properties]"),
    {"edit", .help = "Open the properties in an editor first"},
    {0}};
static const struct option describe_options[] = {
    NAME_ARGUMENT, {"json", .help = "Print JSON"}, WATCH_OPTIONS, {0}};
static const struct option edit_options[] = {NAME_ARGUMENT, {0}};
static const struct option patch_options[] = {
    NAME_ARGUMENT,
    {"set", 0, "SET", OPTION_REPEAT, .help = "KEY=VALUE"},
    {"unset", 0, "UNSET", OPTION_REPEAT, .help = "KEY"},
    PAIRS_FILE_OPTION("All properties, from a file as for `create`; --set and --unset come after it"),
    {0}};
static const struct option delete_options[] = {
    NAME_ARGUMENT, {"force", .help = "Even if subscriptions use it"}, {0}};

const struct command kafka_commands[] = {
    {"list", "The Kafka clusters", .aliases = "ls", .options = list_options, .run = list_run},
    {"create", "Add a Kafka cluster", .aliases = "register", .options = create_options, .run = create_run,
     .examples = "restate kafka-clusters create my-cluster bootstrap.servers=localhost:9092"},
    {"describe", "One Kafka cluster", .aliases = "get", .options = describe_options, .run = describe_run},
    {"edit", "Change the properties in an editor", .options = edit_options, .run = edit_run},
    {"patch", "Change properties", .options = patch_options, .run = patch_run},
    {"delete", "Delete a Kafka cluster", .aliases = "rm|remove", .options = delete_options,
     .run = delete_run},
    {0}};
