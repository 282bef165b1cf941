/* Addresses of deployments (spec/admin-api.md §7.1, §7.3). */
#pragma once
#include "base/codec.h"

/* Write the normal form: lower-case scheme, authority as written, "/" for a missing path, query kept,
 * fragment dropped. RC_INVALID: not a URI at all. RC_NOT_FOUND: a URI, but without scheme or authority ("not
 * absolute"). */
enum rc deployment_uri_normalize(struct slice text, struct writer *out, struct err *err);
/* Do two normal forms name the same endpoint: authority and path equal; scheme and query do not count. */
bool deployment_uri_same(const char *a, const char *b);
