/* The proxy for plain http: see proxy.h. */
#include "http/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/codec.h"

struct http_proxy {
    char *host;
    uint16_t port;
    char *no_proxy; /* "" if there are no exceptions */
};

/* With a scheme, as many leave it out; without user information, which our parser refuses and nobody uses. */
static char *normalized(const char *uri)
{
    const char *authority = strstr(uri, "://");
    struct writer w = WRITER_INIT;
    if (authority) {
        authority += 3;
        write_raw(&w, uri, (size_t)(authority - uri));
    } else {
        authority = uri;
        if (!slice_starts_with(slice_cstr(uri), SLICE_LIT("unix:")))
            write_fmt(&w, "http://");
    }
    const char *at = memchr(authority, '@', strcspn(authority, "/?#"));
    write_slice_raw(&w, slice_cstr(at ? at + 1 : authority));
    char *text = slice_dup_cstr(writer_slice(&w));
    writer_free(&w);
    return text;
}

enum rc http_proxy_new(const char *uri, const char *no_proxy, struct http_proxy **out, struct err *err)
{
    char *text = normalized(uri);
    struct http_uri u;
    enum rc rc = http_uri_parse(slice_cstr(text), &u, err);
    if (rc == RC_OK && (u.tls || u.is_unix))
        rc = err_set(err, RC_UNSUPPORTED,
                     "a proxy is reached over plain http, as in http://proxy.example:3128");
    if (rc == RC_OK) {
        struct http_proxy *p = xcalloc(1, sizeof(*p));
        p->host = slice_dup_cstr(u.host);
        p->port = u.port;
        p->no_proxy = xstrdup(no_proxy ? no_proxy : "");
        *out = p;
    }
    free(text);
    return rc;
}

void http_proxy_free(struct http_proxy *p)
{
    if (!p)
        return;
    free(p->host);
    free(p->no_proxy);
    free(p);
}

const char *http_proxy_host(const struct http_proxy *p)
{
    return p->host;
}

uint16_t http_proxy_port(const struct http_proxy *p)
{
    return p->port;
}

/* ---- exceptions ---- */

#define ADDRESS_MAX 16

/* Bytes of an address written as text: 4, 16, or 0 if it is none. */
static size_t address_parse(const char *text, uint8_t out[ADDRESS_MAX])
{
    if (inet_pton(AF_INET, text, out) == 1)
        return 4;
    return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, size_t bits)
{
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00u >> bits % 8);
    return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) & mask) == 0;
}

/* "10.0.0.0/8", "::1" */
static bool network_has(struct slice entry, const uint8_t *address, size_t len)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t network[ADDRESS_MAX];
    ptrdiff_t slash = slice_find(entry, '/', 0);
    size_t text_len = slash < 0 ? entry.len : (size_t)slash;
    if (text_len >= sizeof(text))
        return false;
    memcpy(text, entry.ptr, text_len);
    text[text_len] = 0;
    if (address_parse(text, network) != len)
        return false;
    size_t bits = 0, digits = slash < 0 ? 0 : entry.len - text_len - 1;
    if (slash < 0)
        bits = len * 8;
    else if (digits == 0 || digits > 3)
        return false;
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = entry.ptr[text_len + 1 + i];
        if (c < '0' || c > '9')
            return false;
        bits = bits * 10 + (size_t)(c - '0');
    }
    return bits <= len * 8 && same_bits(network, address, bits);
}

/* The name itself and everything below it. */
static bool domain_has(struct slice entry, struct slice host)
{
    if (entry.len > 0 && entry.ptr[0] == '.')
        entry = slice_sub(entry, 1, entry.len - 1);
    if (entry.len == 0 || host.len < entry.len)
        return false;
    size_t above = host.len - entry.len;
    return slice_eq_nocase(slice_sub(host, above, entry.len), entry) &&
           (above == 0 || host.ptr[above - 1] == '.');
}

bool http_proxy_serves(const struct http_proxy *p, const char *host)
{
    uint8_t address[ADDRESS_MAX];
    size_t address_len = address_parse(host, address);
    for (const char *at = p->no_proxy; *at;) {
        size_t len = strcspn(at, ",");
        struct slice entry = slice_trim(slice_make(at, len));
        at += len + (at[len] == ',');
        if (slice_eq_cstr(entry, "*"))
            return false;
        if (address_len > 0 ? network_has(entry, address, address_len) : domain_has(entry, slice_cstr(host)))
            return false;
    }
    return true;
}
