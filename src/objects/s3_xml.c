/* Implementation of objects/s3_xml.h. */
#include <stdlib.h>

#include "objects/s3_xml.h"

/* ---- reader ---- */

/* Position behind the next `what`, or 0. */
static size_t behind(struct slice s, size_t from, const char *what)
{
    size_t n = strlen(what);
    for (size_t i = from; i + n <= s.len; i++) {
        if (memcmp(s.ptr + i, what, n) == 0)
            return i + n;
    }
    return 0;
}

static struct slice name_of(struct slice tag)
{
    size_t n = 0, start = 0;
    while (n < tag.len && !strchr(" \t\r\n/", tag.ptr[n])) {
        if (tag.ptr[n] == ':')
            start = n + 1;
        n++;
    }
    return slice_sub(tag, start, n - start);
}

/* Behind declarations and comments at pos; false: one has no end. */
static bool skip_markup(struct xml_reader *r)
{
    for (;;) {
        struct slice rest = slice_sub(r->input, r->pos, r->input.len - r->pos);
        size_t end;
        if (slice_starts_with(rest, SLICE_LIT("<?")))
            end = behind(r->input, r->pos + 2, "?>");
        else if (slice_starts_with(rest, SLICE_LIT("<!--")))
            end = behind(r->input, r->pos + 4, "-->");
        else
            return !slice_starts_with(rest, SLICE_LIT("<!"));
        if (!end)
            return false;
        r->pos = end;
    }
}

enum xml_event xml_next(struct xml_reader *r)
{
    if (r->pending_end) {
        r->pending_end = false;
        return XML_END;
    }
    if (!skip_markup(r))
        return XML_BAD;
    if (r->pos == r->input.len)
        return XML_EOF;
    if (r->input.ptr[r->pos] != '<') {
        ptrdiff_t end = slice_find(r->input, '<', r->pos);
        size_t to = end < 0 ? r->input.len : (size_t)end;
        r->text = slice_sub(r->input, r->pos, to - r->pos);
        r->pos = to;
        return XML_TEXT;
    }
    ptrdiff_t close = slice_find(r->input, '>', r->pos);
    if (close < 0)
        return XML_BAD;
    struct slice tag = slice_sub(r->input, r->pos + 1, (size_t)close - r->pos - 1);
    r->pos = (size_t)close + 1;
    bool end = tag.len && tag.ptr[0] == '/';
    if (end)
        tag = slice_sub(tag, 1, tag.len - 1);
    r->name = name_of(tag);
    if (r->name.len == 0)
        return XML_BAD;
    r->pending_end = !end && tag.ptr[tag.len - 1] == '/';
    return end ? XML_END : XML_START;
}

static const struct {
    const char *name;
    char c;
} entities[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};

/* Bytes used of `s`, which begins with '&'; 0: not a character of ASCII. */
static size_t unescape_number(struct slice s, struct writer *out)
{
    ptrdiff_t end = slice_find(s, ';', 0);
    if (end < 4 - 1 || end > 8 || s.ptr[1] != '#')
        return 0;
    char digits[10];
    memcpy(digits, s.ptr + 2, (size_t)end - 2);
    digits[end - 2] = 0;
    bool hex = digits[0] == 'x';
    char *stop;
    unsigned long v = strtoul(digits + hex, &stop, hex ? 16 : 10);
    if (*stop || v == 0 || v > 127)
        return 0;
    write_u8(out, (uint8_t)v);
    return (size_t)end + 1;
}

void xml_unescape(struct slice text, struct writer *out)
{
    for (size_t i = 0; i < text.len;) {
        struct slice rest = slice_sub(text, i, text.len - i);
        size_t used = 0;
        if (rest.ptr[0] == '&') {
            for (size_t e = 0; e < ARRAY_LEN(entities) && !used; e++) {
                if (slice_starts_with(rest, slice_cstr(entities[e].name))) {
                    write_u8(out, (uint8_t)entities[e].c);
                    used = strlen(entities[e].name);
                }
            }
            if (!used)
                used = unescape_number(rest, out);
        }
        if (!used) {
            write_u8(out, rest.ptr[0]);
            used = 1;
        }
        i += used;
    }
}

/* ---- documents ---- */

/* Text up to the end of the element that has just begun; false: it is not plain text. */
static bool element_text(struct xml_reader *r, struct writer *out)
{
    for (;;) {
        switch (xml_next(r)) {
        case XML_TEXT:
            xml_unescape(r->text, out);
            break;
        case XML_END:
            return true;
        default:
            return false;
        }
    }
}

static bool element_cstr(struct xml_reader *r, char *out, size_t cap)
{
    struct writer w = WRITER_INIT;
    bool ok = element_text(r, &w);
    struct slice s = writer_slice(&w);
    size_t n = MIN(s.len, cap - 1);
    if (n)
        memcpy(out, s.ptr, n);
    out[n] = 0;
    writer_free(&w);
    return ok;
}

bool xml_find(struct slice document, const char *name, char *out, size_t cap)
{
    struct xml_reader r = {.input = document};
    out[0] = 0;
    for (;;) {
        enum xml_event e = xml_next(&r);
        if (e == XML_EOF || e == XML_BAD)
            return false;
        if (e == XML_START && slice_eq_cstr(r.name, name))
            return element_cstr(&r, out, cap);
    }
}

static bool parse_contents(struct xml_reader *r, struct object_op *op)
{
    char key[OBJECT_KEY_MAX + 2] = "", size[24] = "";
    for (unsigned depth = 0;;) {
        enum xml_event e = xml_next(r);
        if (e == XML_EOF || e == XML_BAD)
            return false;
        if (e == XML_START && depth == 0 && slice_eq_cstr(r->name, "Key")) {
            if (!element_cstr(r, key, sizeof(key)))
                return false;
        } else if (e == XML_START && depth == 0 && slice_eq_cstr(r->name, "Size")) {
            if (!element_cstr(r, size, sizeof(size)))
                return false;
        } else if (e == XML_START) {
            depth++;
        } else if (e == XML_END && depth-- == 0) {
            break;
        }
    }
    /* Keys that are longer, and markers of directories, cannot be ours. */
    if (object_key_is_valid(key))
        object_list_add(op, slice_cstr(key), strtoull(size, NULL, 10));
    return true;
}

enum rc s3_list_parse(struct slice document, struct object_op *op, struct s3_list_page *page, struct err *err)
{
    struct xml_reader r = {.input = document};
    char truncated[8] = "";
    bool result = false, ok = true;
    page->next_token[0] = 0;
    for (enum xml_event e = xml_next(&r); ok && e != XML_EOF; e = ok ? xml_next(&r) : XML_EOF) {
        if (e == XML_BAD)
            ok = false;
        else if (e != XML_START)
            continue;
        else if (slice_eq_cstr(r.name, "ListBucketResult"))
            result = true;
        else if (slice_eq_cstr(r.name, "Contents"))
            ok = parse_contents(&r, op);
        else if (slice_eq_cstr(r.name, "IsTruncated"))
            ok = element_cstr(&r, truncated, sizeof(truncated));
        else if (slice_eq_cstr(r.name, "NextContinuationToken"))
            ok = element_cstr(&r, page->next_token, sizeof(page->next_token));
    }
    page->truncated = strcmp(truncated, "true") == 0;
    if (!ok || !result || (page->truncated && !page->next_token[0]))
        return err_set(err, RC_CORRUPT, "the object store's answer to a listing is not a ListBucketResult");
    return RC_OK;
}
