/* URIs of subscriptions, and names of clusters: no crash; parts lie inside the text; what has a scheme and an
 * authority is the text again when put together. */
#include <stdlib.h>

#include "base/codec.h"
#include "metadata/schema_kafka.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct kafka_uri u;
    char *name = slice_dup_cstr(text);
    kafka_property_secret(name);
    free(name);
    if (!kafka_uri_parse(text, &u) || !u.scheme.ptr)
        return 0;
    ASSERT(u.scheme.len + 3 + u.authority.len + u.path.len <= text.len);
    ASSERT(!u.authority.ptr || kafka_cluster_name_valid(u.authority));
    struct writer w = WRITER_INIT;
    write_slice_raw(&w, u.scheme);
    write_slice_raw(&w, SLICE_LIT("://"));
    write_slice_raw(&w, u.authority);
    if (u.path.len)
        write_u8(&w, '/');
    write_slice_raw(&w, u.path);
    ASSERT(slice_starts_with(text, writer_slice(&w)));
    writer_free(&w);
    return 0;
}
