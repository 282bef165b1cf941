/* Request targets: routing never crashes, and what it lets through has a service, valid UTF-8 and no more
 * segments than allowed. */
#include <stdlib.h>

#include "fuzz_schema.h"
#include "ingress/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema *schema;
    if (!schema)
        schema = fuzz_schema();
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
