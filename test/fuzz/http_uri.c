/* URIs as users write them: parts must lie inside the text. */
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice part, const uint8_t *data, size_t size)
{
    if (part.len && !(part.len == 1 && part.ptr[0] == '/') && !slice_eq_cstr(part, "localhost"))
        ASSERT(part.ptr >= data && part.ptr + part.len <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_uri u;
    struct err err = {0};
    if (http_uri_parse(slice_make(data, size), &u, &err) != RC_OK) {
        ASSERT(err.msg[0] != 0);
        return 0;
    }
    ASSERT(u.host.len > 0 && u.path.len > 0);
    inside(u.host, data, size);
    inside(u.authority, data, size);
    inside(u.path, data, size);
    inside(u.query, data, size);
    return 0;
}
