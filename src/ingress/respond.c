/* Responses of the ingress: CORS headers, error bodies (spec/ingress.md §2.2, §2.3, §10.1). */
#include "ingress/internal.h"

#define RESPONSE_HEADERS_MAX 10
#define CORS_HEADERS_MAX     5

/* Mirror `request_header` as `name` if the request has it. */
static size_t mirror(struct http_request *http, struct http_header *out, size_t n, const char *request_header,
                     const char *name)
{
    struct slice value = http_request_header(http, request_header);
    if (!value.ptr)
        return n;
    out[n] = (struct http_header){slice_cstr(name), value};
    return n + 1;
}

static size_t cors_headers(struct http_request *http, struct http_header *out, size_t n)
{
    out[n++] =
        HTTP_HEADER_LIT("vary", "origin, access-control-request-method, access-control-request-headers");
    out[n++] = HTTP_HEADER_LIT("access-control-allow-credentials", "true");
    return mirror(http, out, n, "origin", "access-control-allow-origin");
}

void respond_preflight(struct http_request *http)
{
    struct http_header headers[CORS_HEADERS_MAX];
    size_t n = cors_headers(http, headers, 0);
    n = mirror(http, headers, n, "access-control-request-method", "access-control-allow-methods");
    n = mirror(http, headers, n, "access-control-request-headers", "access-control-allow-headers");
    http_respond(http, 200, headers, n, BYTES_EMPTY);
}

void respond_length_limit(struct http_request *http)
{
    const struct http_header header = HTTP_HEADER_LIT("content-type", "text/plain; charset=utf-8");
    http_respond(http, 413, &header, 1, bytes_static(SLICE_LIT("length limit exceeded")));
}

void respond(struct http_request *http, int status, const struct http_header *headers, size_t n,
             struct bytes body_take)
{
    struct http_header all[RESPONSE_HEADERS_MAX];
    ASSERT(n + CORS_HEADERS_MAX <= RESPONSE_HEADERS_MAX);
    for (size_t i = 0; i < n; i++)
        all[i] = headers[i];
    n = cors_headers(http, all, n);
    http_respond(http, status, all, n, body_take);
}

void respond_error(struct http_request *http, int status, struct slice message)
{
    const struct http_header headers[] = {
        HTTP_HEADER_LIT("x-restate-error-source", "ingress"),
        HTTP_HEADER_LIT("content-type", "application/json"),
    };
    struct writer body = WRITER_INIT;
    write_fmt(&body, "{\"code\":%d,\"message\":", status);
    write_json_string(&body, message);
    write_fmt(&body, ",\"source\":\"ingress\"}");
    respond(http, status, headers, ARRAY_LEN(headers), writer_take(&body));
}
