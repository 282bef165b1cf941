/* Discovery manifests: no crash; a refusal comes with a status and a sentence in UTF-8; what is accepted can
 * be registered, and its record decodes again. */
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void register_it(const struct manifest *m)
{
    struct schema *empty = schema_empty(), *again = NULL;
    struct schema_register r = {.kind = DEPLOYMENT_HTTP, .uri = "http://h/"};
    struct schema_discovered found = {.manifest = m};
    struct schema_change change;
    enum schema_register_outcome outcome;
    struct u128 id;
    struct problem problem;
    if (schema_register(empty, &r, NULL, &found, 5, (struct u128){1, 2}, &change, &outcome, &id, &problem)) {
        struct schema_record record = {slice_cstr(change.ops.items[0].key),
                                       slice_cstr(change.ops.items[0].value)};
        ASSERT(schema_decode(&record, 1, 1, &again, NULL) == RC_OK);
        schema_change_free(&change);
        schema_unref(again);
    } else {
        ASSERT(problem.http_status >= 400 && problem.message[0] &&
               slice_is_utf8(slice_cstr(problem.message)));
    }
    schema_unref(empty);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest m;
    struct problem problem;
    if (manifest_parse(slice_make(data, size), NULL, false, &m, &problem)) {
        register_it(&m);
        manifest_free(&m);
    } else {
        ASSERT(problem.http_status == 500 && problem.message[0]);
        ASSERT(!slice_is_utf8(slice_make(data, size)) || slice_is_utf8(slice_cstr(problem.message)));
    }
    return 0;
}
