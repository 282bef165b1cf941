/* Request targets: routing never crashes, and what it lets through has a service, valid UTF-8 and no more
 * segments than allowed. */
#include <stdlib.h>

#include "ingress/route.h"
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct schema *make_schema(void)
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
    struct schema *s = schema_ref(change.next); /* kept as long as the process lives */
    schema_change_free(&change);
    schema_unref(empty);
    manifest_free(&m);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema *schema;
    if (!schema)
        schema = make_schema();
    struct slice path, query;
    struct route r;
    target_split(slice_make(data, size), &path, &query);
    ASSERT(path.len + query.len <= size);
    if (route_parse(path, schema, &r)) {
        if (r.kind == ROUTE_CALL || r.kind == ROUTE_SEND)
            ASSERT(r.service && slice_is_utf8(r.handler));
        ASSERT(!r.key.ptr || slice_is_utf8(r.key));
        ASSERT(!r.scope.ptr || slice_is_utf8(r.scope));
        ASSERT(slice_is_utf8(r.id) && slice_is_utf8(r.idempotency_key));
    } else {
        ASSERT(r.status >= 400 && r.message.len > 0);
    }
    route_free(&r);
    return 0;
}
