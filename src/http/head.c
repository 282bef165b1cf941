/* Header fields of one message in one block (http/head.h). */
#include "http/head.h"

#include <stdlib.h>

#include "base/containers.h"

#define HEAD_TEXT_FIRST  1024u
#define HEAD_TEXT_KEPT   (16u << 10) /* a recycled head keeps at most this much */
#define HEAD_FIELDS_KEPT 128u

void http_head_free(struct http_head *h)
{
    free(h->text);
    free(h->headers);
    VEC_FREE(&h->fields);
    memset(h, 0, sizeof(*h));
}

void http_head_reset(struct http_head *h)
{
    if (h->text_cap > HEAD_TEXT_KEPT || h->fields.cap > HEAD_FIELDS_KEPT)
        http_head_free(h);
    h->len = 0;
    h->fields.len = 0;
}

static uint8_t *head_room(struct http_head *h, size_t n)
{
    if (h->text_cap - h->len < n) {
        size_t cap = h->text_cap ? h->text_cap : HEAD_TEXT_FIRST;
        while (cap - h->len < n)
            cap *= 2;
        ASSERT(cap <= UINT32_MAX);
        h->text = xrealloc(h->text, cap);
        h->text_cap = cap;
    }
    return h->text + h->len;
}

uint32_t http_head_append(struct http_head *h, const void *ptr, size_t len)
{
    uint32_t off = (uint32_t)h->len;
    if (len) {
        memcpy(head_room(h, len), ptr, len);
        h->len += len;
    }
    return off;
}

uint32_t http_head_append_lower(struct http_head *h, const void *ptr, size_t len)
{
    uint32_t off = (uint32_t)h->len;
    const uint8_t *from = ptr;
    uint8_t *to = len ? head_room(h, len) : NULL;
    for (size_t i = 0; i < len; i++)
        to[i] = from[i] >= 'A' && from[i] <= 'Z' ? from[i] | 0x20 : from[i];
    h->len += len;
    return off;
}

void http_head_add(struct http_head *h, struct slice name, struct slice value)
{
    struct http_head_field f = {.name_len = (uint32_t)name.len, .value_len = (uint32_t)value.len};
    f.name = http_head_append_lower(h, name.ptr, name.len);
    f.value = http_head_append(h, value.ptr, value.len);
    VEC_PUSH(&h->fields, f);
}

void http_head_name_piece(struct http_head *h, struct http_head_pieces *p, const void *ptr, size_t len)
{
    uint32_t off = http_head_append_lower(h, ptr, len);
    if (!p->begun)
        *p = (struct http_head_pieces){.field.name = off, .begun = true};
    p->field.name_len += (uint32_t)len;
}

void http_head_value_piece(struct http_head *h, struct http_head_pieces *p, const void *ptr, size_t len)
{
    uint32_t off = http_head_append(h, ptr, len);
    if (!p->in_value)
        p->field.value = off;
    p->in_value = true;
    p->field.value_len += (uint32_t)len;
}

void http_head_end_pieces(struct http_head *h, struct http_head_pieces *p)
{
    if (!p->begun)
        return;
    struct http_head_field f = p->field;
    while (f.value_len &&
           (h->text[f.value + f.value_len - 1] == ' ' || h->text[f.value + f.value_len - 1] == '\t'))
        f.value_len--;
    VEC_PUSH(&h->fields, f);
    p->begun = p->in_value = false;
}

void http_head_resolve(struct http_head *h)
{
    if (h->headers_cap < h->fields.len) {
        h->headers_cap = h->fields.cap;
        h->headers = xrealloc(h->headers, h->headers_cap * sizeof(*h->headers));
    }
    for (size_t i = 0; i < h->fields.len; i++) {
        const struct http_head_field *f = &h->fields.items[i];
        h->headers[i].name = http_head_text(h, f->name, f->name_len);
        h->headers[i].value = http_head_text(h, f->value, f->value_len);
    }
}
