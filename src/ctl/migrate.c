/* `metadata migrate` (spec/restatectl.md §11.8): the settings of the target store are read from TOML,
 * completed, and sent to the cluster, which copies. What is not a setting of that kind of store is left out.
 */
#include <stdlib.h>

#include "ctl/ctl.h"
#include "tool/document.h"

#define TOML_MAX (1u << 20)

/* The settings of each kind of store, in the order in which they are sent; and their defaults as JSON. */
struct setting {
    const char *key, *fallback; /* NULL: none */
    bool required;
};
#define RETRY "{\"type\":\"exponential\",\"initial-interval\":\"100ms\",\"factor\":"
#define CONNECTION                                                                                           \
    {"connect-timeout", "\"3s\"", false}, {"keep-alive-interval", "\"5s\"", false},                          \
        {"keep-alive-timeout", "\"5s\"", false},                                                             \
        {"backoff-policy", RETRY "1.4,\"max-attempts\":10,\"max-interval\":\"1s\"}", false},                 \
    {                                                                                                        \
        "message-size-limit", NULL, false                                                                    \
    }
#define AWS                                                                                                  \
    {"aws-profile", NULL, false}, {"aws-region", NULL, false}, {"aws-access-key-id", NULL, false},           \
        {"aws-secret-access-key", NULL, false}, {"aws-session-token", NULL, false},                          \
        {"aws-endpoint-url", NULL, false},                                                                   \
    {                                                                                                        \
        "aws-allow-http", NULL, false                                                                        \
    }
static const struct setting replicated[] = {{"addresses", "[]", false}, CONNECTION, {0}};
static const struct setting etcd[] = {{"addresses", NULL, true}, CONNECTION, {0}};
static const struct setting object_store[] = {
    {"path", NULL, true},
    AWS,
    {"object-store-retry-policy", RETRY "2.0,\"max-attempts\":10,\"max-interval\":\"10s\"}", false},
    CONNECTION,
    {0}};
static const struct setting dynamo_db[] = {
    {"table", NULL, true}, {"key-prefix", "null", false}, AWS, CONNECTION, {0}};
static const struct {
    const char *type;
    const struct setting *settings;
} kinds[] = {
    {"replicated", replicated}, {"etcd", etcd}, {"object-store", object_store}, {"dynamo-db", dynamo_db}};

struct target {
    const char *type;
    const struct setting *settings;
    struct doc *given;
};

static struct doc *value_of(struct tool *t, const struct target *target, const struct setting *s)
{
    struct doc *d = doc_member(target->given, slice_cstr(s->key));
    if (!d && s->fallback)
        doc_parse(&t->arena, slice_cstr(s->fallback), &d, NULL);
    return d;
}

/* Addresses of nodes in the form in which they are advertised; `address` is the older spelling for one. */
static void normal_addresses(struct tool *t, struct doc *given)
{
    struct doc *list = doc_member(given, SLICE_LIT("addresses")),
               *one = doc_member(given, SLICE_LIT("address"));
    if (!list && one && one->kind == DOC_TEXT) {
        struct doc **items = arena_array(&t->arena, struct doc *, 1);
        items[0] = one;
        list = doc_new(&t->arena, DOC_LIST);
        list->items = items;
        list->n = list->cap = 1;
        doc_set(&t->arena, given, SLICE_LIT("addresses"), list);
    }
    for (size_t i = 0; list && list->kind == DOC_LIST && i < list->n; i++) {
        struct err err = {0};
        struct doc *d = list->items[i];
        const char *text = d->kind == DOC_TEXT ? arena_copy_slice(&t->arena, d->text) : "";
        const char *normal = strstr(text, "://") ? address_normal(t, text, &err) : NULL;
        if (normal)
            d->text = slice_cstr(normal);
    }
}

/* NULL, or what is wrong. */
static const char *choose_target(struct tool *t, struct doc *given, struct target *out)
{
    struct doc *type = doc_member(given, SLICE_LIT("type"));
    struct slice name = type && type->kind == DOC_TEXT ? type->text : SLICE_LIT("replicated");
    *out = (struct target){.given = given};
    if (slice_eq_cstr(name, "embedded"))
        name = SLICE_LIT("replicated");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (slice_eq_cstr(name, kinds[i].type)) {
            out->type = kinds[i].type;
            out->settings = kinds[i].settings;
        }
    }
    if (!out->type || (type && type->kind != DOC_TEXT))
        return tool_format(t,
                           "unknown type '%.*s' of `metadata-client`: it is one of replicated, etcd, "
                           "object-store, dynamo-db",
                           SLICE_FMT(name));
    if (out->settings == replicated)
        normal_addresses(t, given);
    for (const struct setting *s = out->settings; s->key; s++)
        if (s->required && !doc_member(given, slice_cstr(s->key)))
            return tool_format(t, "missing field `%s` of a `metadata-client` of type %s", s->key, out->type);
    return NULL;
}

static int read_target(struct tool *t, struct target *out)
{
    struct bytes text = BYTES_EMPTY;
    struct err err = {0};
    struct doc *d = NULL;
    const char *problem = err.msg;
    enum rc rc = tool_read_file(tool_text(t, "toml"), TOML_MAX, &text, &err);
    if (rc == RC_OK)
        rc = doc_parse_toml(&t->arena, bytes_slice(text), &d, &problem);
    bytes_unref(&text);
    if (rc == RC_OK) {
        struct doc *client = doc_member(d, SLICE_LIT("metadata-client"));
        problem = client && client->kind == DOC_MAP ? choose_target(t, client, out)
                                                    : "missing field `metadata-client`";
    }
    return problem ? tool_fail_cause(t, problem, "Failed to load provider config from toml input") : 0;
}

static void write_json(struct tool *t, const struct target *target, struct writer *w)
{
    write_fmt(w, "{\"type\":\"%s\"", target->type);
    for (const struct setting *s = target->settings; s->key; s++) {
        struct doc *d = value_of(t, target, s);
        if (!d)
            continue;
        write_fmt(w, ",\"%s\":", s->key);
        if (s->fallback && !doc_member(target->given, slice_cstr(s->key)))
            write_fmt(w, "%s", s->fallback); /* members in the order in which they stand there */
        else
            doc_print_compact(w, d);
    }
    write_u8(w, '}');
}

static void write_retry_policy(const struct doc *d, struct writer *w)
{
    static const char *const keys[] = {"type",   "initial-interval", "interval",
                                       "factor", "max-attempts",     "max-interval"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct doc *member = doc_member(d, slice_cstr(keys[i]));
        if (!member || member->kind == DOC_NULL)
            continue;
        write_fmt(w, "%s = ", keys[i]);
        doc_print_compact(w, member);
        write_u8(w, '\n');
    }
}

/* The table for the configuration of the nodes: values, then tables. */
static void write_toml(struct tool *t, const struct target *target, struct writer *w)
{
    write_fmt(w, "[metadata-client]\ntype = \"%s\"\n", target->type);
    for (int tables = 0; tables < 2; tables++) {
        for (const struct setting *s = target->settings; s->key; s++) {
            struct doc *d = value_of(t, target, s);
            if (!d || d->kind == DOC_NULL || (d->kind == DOC_MAP) != tables)
                continue;
            write_fmt(w, tables ? "\n[metadata-client.%s]\n" : "%s = ", s->key);
            if (tables) {
                write_retry_policy(d, w);
            } else {
                doc_print_compact(w, d);
                write_u8(w, '\n');
            }
        }
    }
}

static void print_next_steps(struct tool *t, const struct target *target)
{
    struct writer toml = WRITER_INIT;
    write_toml(t, target, &toml);
    struct table *tb = table_new(t, "migration");
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "✅");
    table_text(tb, STYLE_PLAIN, "Metadata migration completed");
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "1.");
    table_cell(tb, STYLE_PLAIN, "Please make sure to update all nodes config with\n\n%.*s",
               SLICE_FMT(writer_slice(&toml)));
    table_row(tb);
    table_text(tb, STYLE_PLAIN, "2.");
    table_text(tb, STYLE_PLAIN, "Restart all nodes without the --metadata-migration-mode");
    writer_free(&toml);
    tool_say(t, "\n\n");
    table_print(tb);
    tool_say(t, "\n");
}

int metadata_migrate_run(struct tool *t)
{
    struct target target = {0};
    struct writer request = WRITER_INIT, json = WRITER_INIT;
    int failed = read_target(t, &target);
    if (failed)
        return failed;
    if (!need_cluster(t))
        return 1;
    write_json(t, &target, &json);
    pb_write_bool(&request, 1, tool_flag(t, "force"));
    pb_write_bytes(&request, 2, writer_slice(&json));
    writer_free(&json);
    struct answer a = ctl_call_for(
        ctl_of(t), ROLE_ADMIN, "/restate.cluster_ctrl.ClusterCtrlSvc/MigrateMetadata", &request, UINT64_MAX);
    if (!a.good)
        return tool_fail(t, "%s", a.error);
    print_next_steps(t, &target);
    return 0;
}

const struct option metadata_migrate_options[] = {
    {"toml", 0, "TOML", OPTION_REQUIRED,
     .help = "File with the `[metadata-client]` table of the target store; `-`: standard input"},
    {"force", .help = "Overwrite what the target store has of a cluster"},
    {0}};
