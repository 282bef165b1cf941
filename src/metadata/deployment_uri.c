/* Addresses of deployments: see deployment_uri.h. */
#include "metadata/deployment_uri.h"

struct parts {
    struct slice scheme, authority, path, rest; /* rest: "?query" or empty */
};

static bool is_scheme_char(uint8_t c, bool first)
{
    bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alpha || (!first && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'));
}

static size_t scheme_length(struct slice s)
{
    size_t n = 0;
    while (n < s.len && is_scheme_char(s.ptr[n], n == 0))
        n++;
    return n;
}

/* Position of the first byte of `set` at or after `from`, or the length. */
static size_t find_any(struct slice s, const char *set, size_t from)
{
    for (; from < s.len; from++)
        if (strchr(set, s.ptr[from]))
            break;
    return from;
}

static enum rc split(struct slice text, struct parts *out, struct err *err)
{
    if (text.len == 0)
        return err_set(err, RC_INVALID, "empty string");
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= 0x20 || text.ptr[i] >= 0x7f || strchr("<>\\^`{|}\"", text.ptr[i]))
            return err_set(err, RC_INVALID, "invalid uri character");
    size_t scheme = scheme_length(text);
    if (scheme == 0 || text.len < scheme + 3 || memcmp(text.ptr + scheme, "://", 3) != 0)
        return err_set(err, RC_NOT_FOUND, "no scheme");
    size_t authority = scheme + 3;
    size_t path = find_any(text, "/?#", authority);
    if (path == authority)
        return err_set(err, RC_NOT_FOUND, "no authority");
    size_t query = find_any(text, "?#", path);
    size_t end = find_any(text, "#", query);
    out->scheme = slice_sub(text, 0, scheme);
    out->authority = slice_sub(text, authority, path - authority);
    out->path = slice_sub(text, path, query - path);
    out->rest = slice_sub(text, query, end - query);
    return RC_OK;
}

/* [user[:password]@]host[:port]; the port is a number below 65536. */
static bool authority_valid(struct slice a)
{
    size_t host = 0;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] == '@')
            host = i + 1;
    struct slice h = slice_sub(a, host, a.len - host);
    size_t end = 0;
    if (h.len && h.ptr[0] == '[') {
        ptrdiff_t close = slice_find(h, ']', 1);
        if (close < 0)
            return false;
        end = (size_t)close + 1;
    } else {
        end = find_any(h, ":", 0);
    }
    if (end == 0)
        return false;
    if (end == h.len)
        return true;
    uint32_t port = 0;
    if (h.ptr[end] != ':' || h.len - end > 6)
        return false;
    for (size_t i = end + 1; i < h.len; i++) {
        if (h.ptr[i] < '0' || h.ptr[i] > '9')
            return false;
        port = port * 10 + (h.ptr[i] - '0');
    }
    return port <= 65535;
}

enum rc deployment_uri_normalize(struct slice text, struct writer *out, struct err *err)
{
    struct parts p;
    enum rc rc = split(text, &p, err);
    if (rc)
        return rc;
    if (!authority_valid(p.authority))
        return err_set(err, RC_INVALID, "invalid authority");
    for (size_t i = 0; i < p.scheme.len; i++)
        write_u8(out, (uint8_t)(p.scheme.ptr[i] >= 'A' && p.scheme.ptr[i] <= 'Z' ? p.scheme.ptr[i] + 32
                                                                                 : p.scheme.ptr[i]));
    write_raw(out, "://", 3);
    write_slice_raw(out, p.authority);
    if (p.path.len)
        write_slice_raw(out, p.path);
    else
        write_u8(out, '/');
    write_slice_raw(out, p.rest);
    return RC_OK;
}

bool deployment_uri_same(const char *a, const char *b)
{
    struct parts pa, pb;
    if (split(slice_cstr(a), &pa, NULL) || split(slice_cstr(b), &pb, NULL))
        return false;
    return slice_eq(pa.authority, pb.authority) && slice_eq(pa.path, pb.path);
}
