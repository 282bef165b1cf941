/* Checks of a request's parts: header values, query parameters, delays, input rules
 * (spec/ingress.md §5.3, §6.2, §7). Pure functions; a refusal leaves the sentence of spec/ingress.md
 * §10.1 in a writer. */
#pragma once
#include "base/codec.h"
#include "metadata/schema.h"
#include "wire/scope.h" /* scopes and limit keys */

/* Visible ASCII, space and tab. */
bool header_value_ok(struct slice value);
/* Value of the first parameter of that name (names compared without case), form-decoded, appended to `value`.
 * `query` starts with '?'. */
bool query_find(struct slice query, const char *name, struct writer *value);
/* Time of execution asked for by `delay` (a decoded parameter value). */
bool delay_parse(struct slice delay, uint64_t now_ms, uint64_t *execution_time_ms, struct writer *message);
/* Does a request with this content type (ptr NULL: no header) and body size satisfy the handler's rules? */
bool input_check(const struct schema_handler *h, struct slice content_type, size_t body_len,
                 struct writer *message);
/* Content type of a successful response, NULL for none. */
const char *output_content_type(const struct schema_handler *h, size_t body_len);
