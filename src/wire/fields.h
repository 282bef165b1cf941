/* Field encodings shared by the record bodies and by messages between nodes: ids, optional strings, text that
 * must be UTF-8. Readers mark the reader failed when a field is malformed, so that a decoder checks once at
 * its end.
 */
#pragma once
#include "wire/command.h"

static inline void field_fail(struct reader *r)
{
    r->failed = true;
    r->p = r->end;
}
/* Length-prefixed text; the slice is never NULL, so that "present but empty" stays distinct from "absent". */
struct slice read_text(struct reader *r);
/* A flag byte, then the text if it is there; ptr NULL if not. */
void write_opt_text(struct writer *w, struct slice s);
struct slice read_opt_text(struct reader *r);
/* The same for a scope, and for a limit key: what is no such label fails. */
struct slice read_opt_scope(struct reader *r);
struct slice read_opt_limit_key(struct reader *r);
void write_id(struct writer *w, struct invocation_id id);
struct invocation_id read_id(struct reader *r);
void write_u128(struct writer *w, struct u128 v);
struct u128 read_u128(struct reader *r);
void write_bool(struct writer *w, bool v);
bool read_bool(struct reader *r);
/* A byte below `end`. */
uint8_t read_enum(struct reader *r, uint8_t end);
/* A varint that fits 32 bits. */
uint32_t read_varint32(struct reader *r);
void target_write(struct writer *w, const struct target *t);
bool target_read(struct reader *r, struct target *out);
void sink_write(struct writer *w, const struct sink *s);
bool sink_read(struct reader *r, struct sink *out);
