/* `metadata get`, `put`, `patch` (spec/restatectl.md §11.8). */
#include <stdlib.h>

#include "ctl/ctl.h"
#include "tool/document.h"

#define DOCUMENT_MAX (8u << 20)

/* The document of a key; NULL: the key is absent. false: printed the error. */
static bool get_document(struct tool *t, const char *key, struct doc **out, uint32_t *version)
{
    struct slice stored;
    struct answer a;
    struct err err = {0};
    bool present;
    *out = NULL;
    if (!metadata_get(t, key, &stored, version, &present, &a)) {
        tool_fail(t, "%s", a.error);
        return false;
    }
    if (!present)
        return true;
    if (doc_decode(&t->arena, stored, out, &err) != RC_OK) {
        tool_fail(t, "%s", err.msg);
        return false;
    }
    struct doc *inner = doc_member(*out, SLICE_LIT("version"));
    if ((*out)->kind != DOC_MAP || !inner || inner->kind != DOC_UINT || inner->number != *version) {
        tool_fail(t, "returned payload and metadata object versions must align");
        return false;
    }
    return true;
}

static int get_run(struct tool *t)
{
    struct doc *d;
    uint32_t version;
    if (!need_cluster(t) || !get_document(t, tool_text(t, "key"), &d, &version))
        return 1;
    doc_print(&t->out, d ? d : doc_new(&t->arena, DOC_NULL));
    return 0;
}

/* ---- writing ---- */

static int store(struct tool *t, struct doc *d, bool present, uint32_t old_version)
{
    const char *key = tool_text(t, "key");
    struct doc *number = doc_new(&t->arena, DOC_UINT);
    if (d->kind != DOC_MAP)
        return tool_fail(t, "invalid type: %s, expected a map", d->kind == DOC_LIST ? "sequence" : "scalar");
    number->number = present ? (uint64_t)old_version + 1 : 1;
    doc_set(&t->arena, d, SLICE_LIT("version"), number);
    if (!tool_flag(t, "dry-run")) {
        struct writer w = WRITER_INIT;
        doc_encode(&w, d, number->number);
        struct answer a =
            metadata_put(t, key, writer_slice(&w), (uint32_t)number->number, old_version, !present);
        writer_free(&w);
        if (!a.good)
            return tool_fail(t, "%s", a.error);
    }
    doc_print(&t->out, d);
    return 0;
}

static bool version_as_expected(struct tool *t, bool present, uint32_t version)
{
    if (!tool_given(t, "version") || (present && tool_number(t, "version") == version))
        return true;
    tool_fail(t, "Version mismatch: expected v%llu, got v%u from store",
              (unsigned long long)tool_number(t, "version"), version);
    return false;
}

static int put_run(struct tool *t)
{
    struct bytes text = BYTES_EMPTY;
    struct err err = {0};
    struct doc *d, *old;
    uint32_t version;
    if (tool_read_file(tool_text(t, "DOC"), DOCUMENT_MAX, &text, &err) != RC_OK)
        return tool_fail(t, "%s", err.msg);
    enum rc rc = doc_parse(&t->arena, bytes_slice(text), &d, &err);
    bytes_unref(&text);
    if (rc != RC_OK)
        return tool_fail_cause(t, err.msg, "Parsing JSON value");
    if (!need_cluster(t) || !get_document(t, tool_text(t, "key"), &old, &version) ||
        !version_as_expected(t, old != NULL, version))
        return 1;
    return store(t, d, old != NULL, version);
}

static int patch_run(struct tool *t)
{
    struct err err = {0};
    struct doc *patch, *d;
    uint32_t version;
    if (doc_parse(&t->arena, slice_cstr(tool_text(t, "patch")), &patch, &err) != RC_OK)
        return tool_fail(t, "Parsing JSON patch: %s", err.msg);
    if (!need_cluster(t) || !get_document(t, tool_text(t, "key"), &d, &version) ||
        !version_as_expected(t, d != NULL, version))
        return 1;
    bool present = d != NULL;
    if (d)
        doc_drop(d, SLICE_LIT("version"));
    else
        d = doc_new(&t->arena, DOC_NULL);
    if (doc_patch(&t->arena, &d, patch, &err) != RC_OK)
        return tool_fail_cause(t, err.msg, "Patch failed");
    return store(t, d, present, version);
}

#define KEY_OPTION                                                                                           \
    {                                                                                                        \
        "key", 'k', "KEY", OPTION_REQUIRED, "Key of the metadata store", .check = check_key                  \
    }
#define WRITE_OPTIONS                                                                                        \
    {"version", 0, "VERSION", 0, "Refuse when the store has another version", .check = check_u32},           \
    {                                                                                                        \
        "dry-run", 'n', .help = "Show the result, write nothing"                                             \
    }

static const struct option get_options[] = {KEY_OPTION, {0}};
static const struct option put_options[] = {KEY_OPTION,
                                            {"DOC", .value = "DOC",
                                             .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
                                             .help = "File with a JSON object; `-`: standard input"},
                                            WRITE_OPTIONS,
                                            {0}};
static const struct option patch_options[] = {KEY_OPTION,
                                              {"patch", 'p', "PATCH", OPTION_REQUIRED,
                                               .help = "Operations as of RFC 6902, for example "
                                                       "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]"},
                                              WRITE_OPTIONS,
                                              {0}};
const struct command metadata_commands[] = {
    {"get", "Print the value of a key as JSON", .options = get_options, .run = get_run,
     .examples = "restatectl metadata get -k nodes_config"},
    {"patch", "Change a value by a JSON Patch", .options = patch_options, .run = patch_run,
     .examples =
         "restatectl metadata patch -k demo -p '[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]' --dry-run"},
    {"put", "Replace a value", .options = put_options, .run = put_run,
     .examples = "restatectl metadata put -k demo demo.json"},
    {"migrate", "Copy the metadata of the cluster to another metadata store",
     .options = metadata_migrate_options, .run = metadata_migrate_run,
     .examples = "restatectl metadata migrate --toml target.toml"},
    {0}};
