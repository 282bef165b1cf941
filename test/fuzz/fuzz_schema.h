/* A schema for fuzz targets that need one: a service "S" and a virtual object "O", each with a handler "h".
 */
#pragma once
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

/* Kept as long as the process lives. */
static inline struct schema *fuzz_schema(void)
{
    static const char json[] =
        "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":["
        "{\"name\":\"S\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"}]},"
        "{\"name\":\"O\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"h\"}]}]}";
    struct manifest m;
    struct problem problem;
    ASSERT(manifest_parse(slice_cstr(json), NULL, false, &m, &problem));
    struct schema_register r = {.kind = DEPLOYMENT_HTTP, .uri = "http://127.0.0.1:1/"};
    struct schema_discovered found = {.manifest = &m};
    struct schema_change change;
    enum schema_register_outcome outcome;
    struct u128 id;
    struct schema *empty = schema_empty();
    ASSERT(
        schema_register(empty, &r, NULL, &found, 1, (struct u128){1, 2}, &change, &outcome, &id, &problem));
    struct schema *s = schema_ref(change.next);
    schema_change_free(&change);
    schema_unref(empty);
    manifest_free(&m);
    return s;
}
