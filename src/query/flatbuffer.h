/* Writes flatbuffers, the metadata of Arrow messages: from back to front, as the format wants it (an object
 * is written after everything that it refers to). Positions are counted from the end of the buffer. */
#pragma once
#include "base/codec.h"

#define FLATBUFFER_SLOTS 8

struct flatbuffer {
    uint8_t *buf; /* content at buf[cap - len, cap) */
    size_t cap, len;
    size_t alignment; /* largest so far */
    size_t slots[FLATBUFFER_SLOTS], table_start;
};
void flatbuffer_free(struct flatbuffer *f);
void flatbuffer_reset(struct flatbuffer *f);

/* A table: begin, add fields (the order decides the layout), end gives its position. */
void flatbuffer_table(struct flatbuffer *f);
void flatbuffer_add(struct flatbuffer *f, unsigned slot, uint64_t value, size_t size);
void flatbuffer_add_offset(struct flatbuffer *f, unsigned slot, size_t target);
size_t flatbuffer_table_end(struct flatbuffer *f);

size_t flatbuffer_string(struct flatbuffer *f, struct slice s);
/* A vector: begin, then the elements from the last to the first, end. */
void flatbuffer_vector(struct flatbuffer *f, size_t n, size_t item_size, size_t alignment);
void flatbuffer_item_offset(struct flatbuffer *f, size_t target);
void flatbuffer_item_u64(struct flatbuffer *f, uint64_t v);
size_t flatbuffer_vector_end(struct flatbuffer *f, size_t n);
/* The finished buffer; valid until the next call. */
struct slice flatbuffer_finish(struct flatbuffer *f, size_t root);
