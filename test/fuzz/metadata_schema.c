/* Stored records of the schema: lines of `key TAB value` become records. No crash; a refusal names a record;
 * what decodes can be looked up and edited. */
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

#define RECORDS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t split(struct slice text, struct schema_record out[RECORDS_MAX])
{
    size_t n = 0;
    while (text.len && n < RECORDS_MAX) {
        ptrdiff_t end = slice_find(text, '\n', 0);
        struct slice line = slice_sub(text, 0, end < 0 ? text.len : (size_t)end);
        text = end < 0 ? SLICE_EMPTY : slice_sub(text, (size_t)end + 1, text.len - (size_t)end - 1);
        ptrdiff_t tab = slice_find(line, '\t', 0);
        if (tab < 0)
            continue;
        out[n].key = slice_sub(line, 0, (size_t)tab);
        out[n++].value = slice_sub(line, (size_t)tab + 1, line.len - (size_t)tab - 1);
    }
    return n;
}

static void use(const struct schema *s)
{
    const struct schema_service *const *services;
    const struct schema_deployment *const *deployments;
    size_t n = schema_services(s, &services);
    for (size_t i = 0; i < n; i++) {
        struct slice name = slice_cstr(services[i]->name);
        ASSERT(schema_service(s, name) == services[i]);
        for (size_t j = 0; j < services[i]->n_handlers; j++)
            ASSERT(schema_handler(services[i], slice_cstr(services[i]->handlers[j].name)) ==
                   &services[i]->handlers[j]);
        struct schema_service_patch patch;
        struct schema_change change;
        struct problem problem;
        schema_service_patch_init(&patch);
        patch.abort_timeout_ms = 1;
        ASSERT(schema_patch_service(s, name, &patch, &change, &problem));
        schema_change_free(&change);
    }
    n = schema_deployments(s, &deployments);
    for (size_t i = 0; i < n; i++)
        ASSERT(schema_deployment(s, deployments[i]->id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema_record records[RECORDS_MAX];
    struct schema *s;
    struct err err = {0};
    size_t n = split(slice_make(data, size), records);
    if (schema_decode(records, n, 1, &s, &err) == RC_OK) {
        use(s);
        schema_unref(s);
    } else {
        ASSERT(err.rc == RC_CORRUPT && err.msg[0]);
    }
    return 0;
}
