/* The proxy of the configuration (spec/config.md §4: http-proxy, no-proxy; measured on release 1.7.12). It
 * serves plain http only: the connection goes to the proxy and speaks as it would to the service, HTTP/2 or
 * HTTP/1.1 with the service's name as authority. https and unix sockets are dialled directly, credentials in
 * the proxy's address are not sent. Pure; everything borrowed is copied. */
#pragma once
#include "http/http.h"

struct http_proxy;

/* `uri` is the proxy's address ("http://" may be missing); `no_proxy` lists exceptions separated by commas
 * (NULL: none): host names with their subdomains (a dot in front changes nothing), addresses, networks as
 * address/bits, or an asterisk for everything. At most 65,534 bytes of address; entries that are none of
 * these match no host. */
enum rc http_proxy_new(const char *uri, const char *no_proxy, struct http_proxy **out, struct err *err);
void http_proxy_free(struct http_proxy *p); /* NULL is fine */

/* The proxy to dial for a plain http connection to `host` (without brackets). */
bool http_proxy_serves(const struct http_proxy *p, const char *host);
const char *http_proxy_host(const struct http_proxy *p);
uint16_t http_proxy_port(const struct http_proxy *p);
