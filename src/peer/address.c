/* Addresses of nodes as text (spec/cluster.md §1.5). */
#include <stdio.h>

#include "peer/peer.h"

#define DEFAULT_PORT 5122u

static enum rc malformed(struct slice text, struct err *err)
{
    return err_set(err, RC_INVALID, "'%.*s' is not the address of a node", (int)MIN(text.len, (size_t)200),
                   (const char *)text.ptr);
}

/* ":5122" or nothing. */
static bool parse_port(struct slice s, uint16_t *out)
{
    *out = DEFAULT_PORT;
    if (s.len == 0)
        return true;
    uint32_t port = 0;
    if (s.ptr[0] != ':' || s.len < 2 || s.len > 6)
        return false;
    for (size_t i = 1; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        port = port * 10 + (s.ptr[i] - '0');
    }
    *out = (uint16_t)port;
    return port > 0 && port <= 65535;
}

enum rc peer_address_parse(struct slice text, struct net_address *out, struct err *err)
{
    struct slice s = text;
    *out = (struct net_address){.family = NET_TCP};
    if (slice_starts_with(s, SLICE_LIT("unix:"))) {
        s = slice_sub(s, 5, s.len - 5);
        out->family = NET_UNIX;
        if (s.len == 0 || s.len >= sizeof(out->host))
            return malformed(text, err);
        memcpy(out->host, s.ptr, s.len);
        return RC_OK;
    }
    if (slice_starts_with(s, SLICE_LIT("https://")))
        return err_set(err, RC_UNSUPPORTED, "'%.*s': links between nodes do not use TLS",
                       (int)MIN(text.len, (size_t)200), (const char *)text.ptr);
    if (slice_starts_with(s, SLICE_LIT("http://")))
        s = slice_sub(s, 7, s.len - 7);
    ptrdiff_t slash = slice_find(s, '/', 0);
    if (slash >= 0 && (size_t)slash != s.len - 1)
        return malformed(text, err);
    if (slash >= 0)
        s.len--;
    bool bracket = s.len && s.ptr[0] == '[';
    ptrdiff_t end = bracket ? slice_find(s, ']', 0) : slice_find(s, ':', 0);
    size_t host = end < 0 ? s.len : (size_t)end + bracket;
    if (host == 0 || host >= sizeof(out->host) || (bracket && end < 2) ||
        !parse_port(slice_sub(s, host, s.len - host), &out->port))
        return malformed(text, err);
    memcpy(out->host, s.ptr, host);
    return RC_OK;
}
