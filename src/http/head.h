/* The header fields of one message in one growing block of text plus an index, so that a request costs no
 * allocation per header and a recycled head costs none at all. Private to http/. */
#pragma once
#include "http/http.h"

struct http_head_field {
    uint32_t name, name_len, value, value_len; /* offsets into text */
};

struct http_head {
    uint8_t *text;
    size_t len, text_cap;
    struct {
        struct http_head_field *items;
        size_t len, cap;
    } fields;
    struct http_header *headers; /* filled by http_head_resolve, fields.len entries */
    size_t headers_cap;
};

void http_head_free(struct http_head *h);
/* Forget the content; keeps the room unless it is larger than a usual head needs. */
void http_head_reset(struct http_head *h);
/* Append raw text and return its offset. */
uint32_t http_head_append(struct http_head *h, const void *ptr, size_t len);
/* The same in ASCII lower case. */
uint32_t http_head_append_lower(struct http_head *h, const void *ptr, size_t len);
/* Add a complete field; the name is lower-cased. */
void http_head_add(struct http_head *h, struct slice name, struct slice value);
/* The same for a field that arrives in pieces (HTTP/1): of the name, then of the value. When it is complete,
 * white space at its end is dropped and it is filed; without a field nothing happens. */
struct http_head_pieces {
    struct http_head_field field;
    bool begun, in_value;
};
void http_head_name_piece(struct http_head *h, struct http_head_pieces *p, const void *ptr, size_t len);
void http_head_value_piece(struct http_head *h, struct http_head_pieces *p, const void *ptr, size_t len);
void http_head_end_pieces(struct http_head *h, struct http_head_pieces *p);
/* Text at an offset. Valid until the next append. */
static inline struct slice http_head_text(const struct http_head *h, uint32_t off, size_t len)
{
    return len ? slice_make(h->text + off, len) : slice_make("", 0);
}
/* Point h->headers at the text. Call once the head is complete. */
void http_head_resolve(struct http_head *h);
