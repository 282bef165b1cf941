/* Absolute URIs of the kinds we dial: http, https, unix (http_uri_parse in http/http.h). */
#include "http/http.h"

#define URI_MAX_BYTES 65534u

static bool uri_take_prefix(struct slice *s, const char *prefix)
{
    struct slice p = slice_cstr(prefix);
    if (s->len < p.len || !slice_eq_nocase(slice_sub(*s, 0, p.len), p))
        return false;
    *s = slice_sub(*s, p.len, s->len - p.len);
    return true;
}

static enum rc uri_check_bytes(struct slice text, struct err *err)
{
    if (text.len > URI_MAX_BYTES)
        return err_set(err, RC_INVALID, "invalid URI: longer than %u bytes", URI_MAX_BYTES);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= 0x20 || text.ptr[i] == 0x7f)
            return err_set(err, RC_INVALID, "invalid URI: character 0x%02x is not allowed", text.ptr[i]);
    }
    return RC_OK;
}

static enum rc uri_parse_port(struct slice digits, struct http_uri *out, struct err *err)
{
    uint32_t port = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9' || (port = port * 10 + (digits.ptr[i] - '0')) > 65535)
            return err_set(err, RC_INVALID, "invalid URI: '%.*s' is not a port", SLICE_FMT(digits));
    }
    if (digits.len) /* "host:" means the default port */
        out->port = (uint16_t)port;
    return RC_OK;
}

/* host[:port], IPv6 literals in brackets. User information is not supported: nobody should put secrets there.
 */
static enum rc uri_parse_authority(struct slice a, struct http_uri *out, struct err *err)
{
    out->authority = a;
    if (slice_find(a, '@', 0) >= 0)
        return err_set(err, RC_INVALID, "invalid URI: user information is not supported");
    ptrdiff_t host_end;
    if (a.len && a.ptr[0] == '[') {
        ptrdiff_t close = slice_find(a, ']', 0);
        if (close < 0)
            return err_set(err, RC_INVALID, "invalid URI: ']' is missing in '%.*s'", SLICE_FMT(a));
        out->host = slice_sub(a, 1, (size_t)close - 1);
        host_end = close + 1;
        if ((size_t)host_end < a.len && a.ptr[host_end] != ':')
            return err_set(err, RC_INVALID, "invalid URI: unexpected text after ']' in '%.*s'", SLICE_FMT(a));
    } else {
        host_end = slice_find(a, ':', 0);
        if (host_end < 0)
            host_end = (ptrdiff_t)a.len;
        out->host = slice_sub(a, 0, (size_t)host_end);
    }
    if (out->host.len == 0)
        return err_set(err, RC_INVALID, "invalid URI: the host is empty");
    if (out->host.len > 255)
        return err_set(err, RC_INVALID, "invalid URI: the host is longer than 255 bytes");
    if ((size_t)host_end >= a.len)
        return RC_OK;
    return uri_parse_port(slice_sub(a, (size_t)host_end + 1, a.len - (size_t)host_end - 1), out, err);
}

enum rc http_uri_parse(struct slice text, struct http_uri *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    out->query = slice_make("", 0);
    enum rc rc = uri_check_bytes(text, err);
    if (rc != RC_OK)
        return rc;
    struct slice rest = text;
    if (uri_take_prefix(&rest, "unix:")) {
        if (rest.len == 0)
            return err_set(err, RC_INVALID, "invalid URI: the socket path is empty");
        out->is_unix = true;
        out->host = rest;
        out->authority = SLICE_LIT("localhost");
        out->path = SLICE_LIT("/");
        return RC_OK;
    }
    if (uri_take_prefix(&rest, "https://")) {
        out->tls = true;
        out->port = 443;
    } else if (uri_take_prefix(&rest, "http://")) {
        out->port = 80;
    } else {
        return err_set(err, RC_INVALID,
                       "invalid URI '%.*s': expected http://, https:// or unix:", (int)MIN(text.len, 200),
                       (const char *)text.ptr);
    }
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?' && rest.ptr[end] != '#')
        end++;
    rc = uri_parse_authority(slice_sub(rest, 0, end), out, err);
    if (rc != RC_OK)
        return rc;
    rest = slice_sub(rest, end, rest.len - end);
    ptrdiff_t hash = slice_find(rest, '#', 0);
    if (hash >= 0)
        rest.len = (size_t)hash;
    ptrdiff_t mark = slice_find(rest, '?', 0);
    if (mark >= 0) {
        out->query = slice_sub(rest, (size_t)mark + 1, rest.len - (size_t)mark - 1);
        rest.len = (size_t)mark;
    }
    out->path = rest.len ? rest : SLICE_LIT("/");
    return RC_OK;
}
