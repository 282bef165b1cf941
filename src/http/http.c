/* Vocabulary shared by server and client: header lookup and reason phrases (http/http.h). */
#include "http/http.h"

#include "http/h1_parser.h"

struct slice http_header_find(const struct http_header *headers, size_t n, const char *name)
{
    struct slice wanted = slice_cstr(name);
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(headers[i].name, wanted))
            return headers[i].value;
    }
    return SLICE_EMPTY;
}

const char *http_reason(int status)
{
    switch (status) {
#define REASON(code, name, text)                                                                             \
    case code:                                                                                               \
        return #text;
        H1_STATUS_MAP(REASON)
#undef REASON
    default:
        return "<none>";
    }
}
