/* Vocabulary shared by HTTP server and client. Header names are lower case. */
#pragma once
#include "base/bytes.h"

struct http_header {
    struct slice name;
    struct slice value;
};
#define HTTP_HEADER_LIT(n, v) ((struct http_header){SLICE_LIT(n), SLICE_LIT(v)})

enum http_version { HTTP_1_0 = 10, HTTP_1_1 = 11, HTTP_2 = 20 };

/* First header of that (lower-case) name, or an empty slice with ptr NULL. */
struct slice http_header_find(const struct http_header *headers, size_t n, const char *name);
/* Reason phrase, "<none>" if unassigned. */
const char *http_reason(int status);

/* A parsed absolute URI of the kinds we dial. Slices point into the text that was parsed. */
struct http_uri {
    bool tls;
    bool is_unix;           /* unix:PATH */
    struct slice host;      /* without brackets */
    uint16_t port;          /* default filled in: 80 / 443 */
    struct slice authority; /* host[:port] as written */
    struct slice path;      /* "/" if empty */
    struct slice query;     /* without '?', empty if none */
};
enum rc http_uri_parse(struct slice text, struct http_uri *out, struct err *err);
