/* A zero-copy protobuf (proto3) cursor and writer. Reading yields slices into the input; nothing is
 * allocated. Used for the service protocol, where payload bytes must be kept verbatim and never copied, and
 * for gRPC messages. */
#pragma once
#include "base/codec.h"

enum pb_wire { PB_VARINT = 0, PB_FIXED64 = 1, PB_LEN = 2, PB_FIXED32 = 5 };

struct pb_field {
    uint32_t number;
    enum pb_wire wire;
    uint64_t value;     /* PB_VARINT, PB_FIXED64, PB_FIXED32 */
    struct slice bytes; /* PB_LEN */
};
/* Next field, or false at the end or on malformed input (then r->failed is set). Field number 0, groups and
 * unknown wire types are malformed. Unknown field numbers are for the caller to ignore. */
bool pb_next(struct reader *r, struct pb_field *f);
/* Walk a packed repeated varint field (also used element-wise when the sender did not pack). */
bool pb_packed_next(struct reader *r, uint64_t *value);
/* Well-formed all the way through (top level only)? */
bool pb_valid(struct slice message);

void pb_write_tag(struct writer *w, uint32_t number, enum pb_wire wire);
void pb_write_u64(struct writer *w, uint32_t number, uint64_t v);        /* omitted when 0 */
void pb_write_u64_always(struct writer *w, uint32_t number, uint64_t v); /* oneof or optional member */
void pb_write_bool(struct writer *w, uint32_t number, bool v);           /* omitted when false */
void pb_write_bytes(struct writer *w, uint32_t number, struct slice v);  /* omitted when empty */
void pb_write_bytes_always(struct writer *w, uint32_t number, struct slice v);
/* Nested message: size is computed by the caller (two passes), so that no byte moves. */
void pb_write_len_header(struct writer *w, uint32_t number, size_t len);
size_t pb_varint_size(uint64_t v);
/* Size of tag + length + payload of a LEN field. */
size_t pb_len_field_size(uint32_t number, size_t payload_len);

/* Off the data path a nested message is built in a writer of its own and copied. Written also when it is
 * empty; frees `inner`. */
void pb_put_message(struct writer *w, uint32_t number, struct writer *inner_take);
void pb_put_text(struct writer *w, uint32_t number, const char *text); /* omitted when empty */
/* What the operator services say often (spec/restatectl.md §6): `{1 value}` for Version, Lsn, LeaderEpoch;
 * Timestamp or Duration from milliseconds; NodeId. */
void pb_put_wrapped(struct writer *w, uint32_t number, uint64_t value);
void pb_put_time(struct writer *w, uint32_t number, uint64_t ms);
void pb_put_node_id(struct writer *w, uint32_t number, uint32_t id, uint32_t generation);
