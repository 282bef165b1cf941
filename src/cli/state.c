/* `state get`, `edit`, `patch`, `clear` (spec/admin-api.md §21.5). Values are shown and changed as JSON, or
 * as base64 of their bytes with --binary. */
#include <stdlib.h>

#include "base/hash.h"
#include "cli/cli.h"
#include "cli/state_version.h"
#include "tool/document.h"

/* ---- reading ---- */

struct entries {
    struct entry *items;
    size_t n;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static bool decode_rows(struct tool *t, json_t *rows, struct entries *out)
{
    size_t i;
    json_t *row;
    *out = (struct entries){arena_array(&t->arena, struct entry, json_array_size(rows) + 1), 0};
    json_array_foreach(rows, i, row)
    {
        const char *hex = jtext(row, "value");
        size_t n = strlen(hex) / 2;
        uint8_t *bytes = arena_alloc(&t->arena, n + 1);
        if (strlen(hex) % 2 || !hex_decode(slice_cstr(hex), bytes)) {
            tool_fail(t, "the value of '%s' cannot be read", jtext(row, "key"));
            return false;
        }
        out->items[out->n++] = (struct entry){jtext(row, "key"), slice_make(bytes, n)};
    }
    qsort(out->items, out->n, sizeof(*out->items), by_key);
    return true;
}

static bool read_state(struct tool *t, struct entries *out)
{
    json_t *rows =
        query_rowsf(t, "select key, value from state where service_name = %s and service_key = %s ;",
                    sql_text(t, tool_text(t, "SERVICE")), sql_text(t, tool_text(t, "KEY")));
    return rows && decode_rows(t, rows, out);
}

/* The service must keep state. `must_exist`: refuse what the registry does not know. */
static bool check_service(struct tool *t, bool must_exist)
{
    struct api_call call = {.method = "GET",
                            .path = tool_format(t, "/services/%s", url_part(t, tool_text(t, "SERVICE")))};
    if (!api_ready(t))
        return false;
    api_run(t, &call, 1);
    if (call.status == 404 && !must_exist) {
        tool_warning_box(
            t, "This service does not exist in the registry; it may have been deleted, or never existed");
        return true;
    }
    if (!api_good(&call)) {
        api_failed(t, &call);
        return false;
    }
    json_t *s = api_json(t, &call, NULL);
    if (strcmp(jtext(s, "ty"), "Service") == 0) {
        tool_fail(t, "Only virtual objects and workflows support state");
        return false;
    }
    return true;
}

/* A map of the values as documents; NULL: printed why not. */
static struct doc *as_document(struct tool *t, const struct entries *e, bool binary)
{
    struct doc *map = doc_new(&t->arena, DOC_MAP);
    for (size_t i = 0; i < e->n; i++) {
        struct doc *v = doc_new(&t->arena, DOC_TEXT);
        struct slice raw = e->items[i].value;
        if (binary) {
            char *text = arena_alloc(&t->arena, (raw.len + 2) / 3 * 4 + 1);
            size_t n = base64_encode(raw, text);
            for (size_t k = 0; k < n; k++)
                text[k] = text[k] == '+' ? '-' : text[k] == '/' ? '_' : text[k];
            v->text = slice_make(text, n);
        } else if (doc_parse(&t->arena, raw, &v, NULL) != RC_OK) {
            tool_fail(t, "The value of '%s' is no JSON; use --binary", e->items[i].key);
            return NULL;
        }
        doc_set(&t->arena, map, slice_cstr(e->items[i].key), v);
    }
    return map;
}

/* ---- showing ---- */

static void head(struct tool *t, const char *title, bool change)
{
    struct table *tb = table_new(t, "object");
    say_title(t, title);
    table_row(tb);
    const char *const rows[][2] = {{"Service", tool_text(t, "SERVICE")}, {"Key", tool_text(t, "KEY")}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, rows[i][0]);
        table_text(tb, STYLE_PLAIN, rows[i][1]);
    }
    if (change) {
        table_row(tb);
        table_text(tb, STYLE_PLAIN, "Force?");
        table_text(tb, STYLE_PLAIN, tool_flag(t, "force") ? "true" : "false");
        table_row(tb);
        table_text(tb, STYLE_PLAIN, "Binary?");
        table_text(tb, STYLE_PLAIN, tool_flag(t, "binary") ? "true" : "false");
    }
    table_print(tb);
    tool_say(t, "\n");
}

static void print_values(struct tool *t, const struct doc *map)
{
    struct table *tb = table_new(t, "state");
    table_header(tb, "KEY", "VALUE", NULL);
    for (size_t i = 0; i < map->n; i++) {
        struct writer w = WRITER_INIT;
        doc_print(&w, map->items[i]);
        table_row(tb);
        table_text(tb, STYLE_PLAIN, arena_copy_slice(&t->arena, map->keys[i]));
        table_text(tb, STYLE_PLAIN, arena_copy_slice(&t->arena, slice_sub(writer_slice(&w), 0, w.len - 1)));
        writer_free(&w);
    }
    table_print(tb);
    tool_say(t, "\n");
}

static int get_once(struct tool *t)
{
    struct entries e;
    struct doc *map;
    if (!check_service(t, false) || !read_state(t, &e) || !(map = as_document(t, &e, tool_flag(t, "binary"))))
        return 1;
    if (tool_flag(t, "plain") || tool_flag(t, "json")) {
        doc_print_compact(&t->out, map);
        write_u8(&t->out, '\n');
        return 0;
    }
    head(t, "State", false);
    print_values(t, map);
    return 0;
}

static int get_run(struct tool *t)
{
    return cli_watch(t, get_once);
}

/* ---- changing ---- */

/* Version of a state: what was read must still be there when the change is applied (spec §11). */
static const char *version_of(struct tool *t, const struct entries *e)
{
    char version[STATE_VERSION_SIZE];
    state_version(e->items, e->n, version);
    return arena_copy_text(&t->arena, version);
}

static bool value_bytes(struct tool *t, const struct doc *v, bool binary, struct slice *out)
{
    struct writer w = WRITER_INIT;
    if (binary) {
        size_t n = 0;
        uint8_t *bytes = arena_alloc(&t->arena, v->text.len + 4);
        if (v->kind != DOC_TEXT || !base64_decode(v->text, bytes, &n))
            return false;
        *out = slice_make(bytes, n);
        return true;
    }
    doc_print_compact(&w, v);
    *out = slice_make(arena_copy_slice(&t->arena, writer_slice(&w)), w.len);
    writer_free(&w);
    return true;
}

static const char *request_body(struct tool *t, const char *key, const char *version, const struct doc *map,
                                bool binary)
{
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '{');
    json_text(&o, "version", version);
    json_text(&o, "object_key", key);
    json_key(&o, "new_state");
    write_u8(&w, '{');
    for (size_t i = 0; i < map->n; i++) {
        struct slice raw;
        if (!value_bytes(t, map->items[i], binary, &raw)) {
            tool_fail(t, "the value of '%.*s' is no base64", SLICE_FMT(map->keys[i]));
            writer_free(&w);
            return NULL;
        }
        write_fmt(&w, i ? "," : "");
        write_json_string(&w, map->keys[i]);
        write_fmt(&w, ":[");
        for (size_t k = 0; k < raw.len; k++)
            write_fmt(&w, "%s%u", k ? "," : "", raw.ptr[k]);
        write_u8(&w, ']');
    }
    write_fmt(&w, "}}");
    return tool_take_text(t, &w);
}

static int submit(struct tool *t, const struct entries *old, const struct doc *map)
{
    bool binary = tool_flag(t, "binary");
    const char *version = tool_flag(t, "force") ? NULL : version_of(t, old);
    const char *body = request_body(t, tool_text(t, "KEY"), version, map, binary);
    if (!body)
        return 1;
    say_title(t, "New State");
    print_values(t, map);
    tool_say(t, "About to submit the new state mutation to the system for processing.\n"
                "If there are ongoing invocations for this key this mutation will be enqueued to be "
                "processed after them.\n\n");
    if (!tool_confirm(t, "Are you sure?"))
        return tool_aborted(t);
    if (!api_do(t, "POST", tool_format(t, "/services/%s/state", url_part(t, tool_text(t, "SERVICE"))), body))
        return 1;
    tool_say(t, "\n\nSuccessfully submitted state update.\n");
    return 0;
}

static int patch_run(struct tool *t)
{
    struct entries e;
    struct doc *map, *patch;
    struct err err = {0};
    if (doc_parse(&t->arena, slice_cstr(tool_text(t, "patch")), &patch, &err) != RC_OK)
        return tool_fail(t, "Parsing JSON patch: %s", err.msg);
    if (!check_service(t, true) || !read_state(t, &e) || !(map = as_document(t, &e, tool_flag(t, "binary"))))
        return 1;
    if (doc_patch(&t->arena, &map, patch, &err) != RC_OK)
        return tool_fail_cause(t, err.msg, "Patch failed");
    if (map->kind != DOC_MAP)
        return tool_fail(t, "the state is an object: a key has a value");
    head(t, "Patch State", true);
    return submit(t, &e, map);
}

static int edit_run(struct tool *t)
{
    struct entries e;
    struct doc *map, *changed;
    struct writer text = WRITER_INIT;
    struct bytes edited = BYTES_EMPTY;
    struct err err = {0};
    if (!check_service(t, true) || !read_state(t, &e) || !(map = as_document(t, &e, tool_flag(t, "binary"))))
        return 1;
    doc_print(&text, map);
    enum rc rc = tool_edit_text(t, ".json", writer_slice(&text), &edited, &err);
    writer_free(&text);
    if (rc == RC_OK)
        rc = doc_parse(&t->arena, bytes_slice(edited), &changed, &err);
    bytes_unref(&edited);
    if (rc != RC_OK)
        return tool_fail(t, "%s", err.msg);
    if (changed->kind != DOC_MAP)
        return tool_fail(t, "the state is an object: a key has a value");
    if (doc_eq(map, changed)) {
        tool_say(t, "No changes\n");
        return 0;
    }
    head(t, "State Update", true);
    return submit(t, &e, changed);
}

/* ---- clear ---- */

/* Rows of one object, which stand together after sorting. */
struct object {
    const char *key;
    struct entries state;
};

static int by_object(const void *a, const void *b)
{
    return strcmp(jtext(*(json_t *const *)a, "service_key"), jtext(*(json_t *const *)b, "service_key"));
}

static struct object *group(struct tool *t, json_t *rows, size_t *n_objects)
{
    size_t n = json_array_size(rows);
    json_t **sorted = arena_array(&t->arena, json_t *, n + 1);
    struct object *objects = arena_array(&t->arena, struct object, n + 1);
    *n_objects = 0;
    for (size_t i = 0; i < n; i++)
        sorted[i] = json_array_get(rows, i);
    qsort(sorted, n, sizeof(*sorted), by_object);
    for (size_t i = 0; i < n;) {
        json_t *own = cli_keep(t, json_array());
        const char *key = jtext(sorted[i], "service_key");
        for (; i < n && strcmp(jtext(sorted[i], "service_key"), key) == 0; i++)
            json_array_append(own, sorted[i]);
        struct object *o = &objects[(*n_objects)++];
        o->key = key;
        if (!decode_rows(t, own, &o->state))
            return NULL;
    }
    return objects;
}

static int clear_run(struct tool *t)
{
    char *service = arena_copy_text(&t->arena, tool_text(t, "QUERY")), *slash = strchr(service, '/');
    size_t n;
    if (slash)
        *slash = 0;
    json_t *rows = query_rowsf(
        t, "SELECT service_name, service_key, key, value FROM state WHERE service_name = %s%s",
        sql_text(t, service), slash ? tool_format(t, " AND service_key = %s", sql_text(t, slash + 1)) : "");
    if (!rows)
        return 1;
    if (json_array_size(rows) == 0)
        return tool_fail(t, "No state found!");
    struct object *objects = group(t, rows, &n);
    if (!objects)
        return 1;
    struct table *tb = table_new(t, "state");
    table_header(tb, "SERVICE/KEY", "STATE", NULL);
    for (size_t i = 0; i < n; i++) {
        struct writer keys = WRITER_INIT;
        for (size_t k = 0; k < objects[i].state.n; k++)
            write_fmt(&keys, "%s%s", k ? ", " : "", objects[i].state.items[k].key);
        table_row(tb);
        table_cell(tb, STYLE_PLAIN, "%s/%s", service, objects[i].key);
        table_cell(tb, STYLE_PLAIN, "[%.*s]", SLICE_FMT(writer_slice(&keys)));
        writer_free(&keys);
    }
    table_print(tb);
    tool_say(t,
             "\nGoing to %s all the aforementioned state entries.\n"
             "About to submit the new state mutation to the system for processing.\n"
             "If there are currently active invocations, then this mutation will be enqueued to be processed "
             "after them.\n\n",
             tool_styled(t, STYLE_BOLD, "remove"));
    if (!tool_confirm(t, "Are you sure?"))
        return tool_aborted(t);
    for (size_t i = 0; i < n; i++) {
        const char *body =
            request_body(t, objects[i].key, tool_flag(t, "force") ? NULL : version_of(t, &objects[i].state),
                         doc_new(&t->arena, DOC_MAP), false);
        if (!api_do(t, "POST", tool_format(t, "/services/%s/state", url_part(t, service)), body))
            return 1;
    }
    tool_say(t, "\n\nEnqueued successfully for processing\n");
    return 0;
}

/* ---- the group ---- */

#define OBJECT_ARGUMENTS                                                                                     \
    {"SERVICE", .value = "SERVICE", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,                            \
     .help = "Virtual object or workflow"},                                                                  \
    {                                                                                                        \
        "KEY", .value = "KEY", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = "Its key"               \
    }
#define BINARY_OPTION                                                                                        \
    {                                                                                                        \
        "binary", .help = "Values as base64 of their bytes instead of JSON"                                  \
    }
#define FORCE_OPTION                                                                                         \
    {                                                                                                        \
        "force", 'f', .help = "Even if the state has changed in the meantime"                                \
    }
static const struct option get_options[] = {OBJECT_ARGUMENTS,
                                            BINARY_OPTION,
                                            {"plain", 'p', .help = "One line of JSON"},
                                            {"json", .help = "The same as --plain"},
                                            WATCH_OPTIONS,
                                            {0}};
static const struct option edit_options[] = {OBJECT_ARGUMENTS, BINARY_OPTION, FORCE_OPTION, {0}};
static const struct option patch_options[] = {
    OBJECT_ARGUMENTS,
    {"patch", 'p', "PATCH", OPTION_REQUIRED, .help = "Operations as of RFC 6902 on the object of all values"},
    BINARY_OPTION,
    FORCE_OPTION,
    {0}};
static const struct option clear_options[] = {{"QUERY", .value = "QUERY",
                                               .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
                                               .help = "`Service` or `Service/key`"},
                                              FORCE_OPTION,
                                              {0}};

const struct command state_commands[] = {
    {"get", "The state of an object", .options = get_options, .run = get_run,
     .examples = "restate kv get Counter my-key"},
    {"edit", "Change the state of an object in an editor", .options = edit_options, .run = edit_run},
    {"patch", "Change the state of an object", .options = patch_options, .run = patch_run,
     .examples =
         "restate kv patch Counter my-key -p '[{\"op\":\"replace\",\"path\":\"/count\",\"value\":9}]'"},
    {"clear", "Remove the state of one object or of all objects of a service", .options = clear_options,
     .run = clear_run, .examples = "restate kv clear Counter/my-key"},
    {0}};
