/* Nested messages of the service protocol shared by commands and notifications (private to wire/;
 * spec/service-protocol.md §5.1). */
#pragma once
#include "wire/service_protocol.h"

/* Value {1 content}: the content (empty if absent), or false if malformed. */
bool value_parse(struct slice message, struct slice *content);
void value_field_write(struct writer *w, uint32_t number, struct slice content);
/* A field that is Void, Value or Failure according to `kind`. */
bool outcome_field(const struct pb_field *f, enum outcome_kind kind, struct outcome *out);
/* StateKeys {1 keys*}, each key UTF-8. */
bool state_keys_valid(struct slice message);
/* Header {1 key, 2 value}, both UTF-8. */
bool header_parse(struct slice message, struct slice *key, struct slice *value);
