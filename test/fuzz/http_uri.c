/* URIs as users write them: parts must lie inside the text. The same text as a proxy and its exceptions. */
#include <stdlib.h>

#include "http/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice part, const uint8_t *data, size_t size)
{
    if (part.len && !(part.len == 1 && part.ptr[0] == '/') && !slice_eq_cstr(part, "localhost"))
        ASSERT(part.ptr >= data && part.ptr + part.len <= data + size);
}

static void as_proxy(struct slice text)
{
    struct http_proxy *p = NULL;
    char *copy = slice_dup_cstr(text);
    if (http_proxy_new(copy, NULL, &p, NULL) == RC_OK)
        ASSERT(http_proxy_serves(p, "service.example"));
    http_proxy_free(p);
    ASSERT(http_proxy_new("http://proxy.example", copy, &p, NULL) == RC_OK);
    http_proxy_serves(p, "service.example");
    http_proxy_serves(p, "10.1.2.3");
    http_proxy_serves(p, "2001:db8::1");
    http_proxy_serves(p, copy);
    http_proxy_free(p);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    as_proxy(slice_make(data, size));
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
