/* JSON documents: see document.h. */
#include "tool/document.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

struct doc *doc_new(struct arena *a, enum doc_kind kind)
{
    struct doc *d = arena_alloc(a, sizeof(*d));
    d->kind = kind;
    return d;
}

/* ---- lists and maps ---- */

static void insert_at(struct arena *a, struct doc *d, size_t at, struct slice key, struct doc *value)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 4;
        struct doc **items = arena_array(a, struct doc *, cap);
        struct slice *keys = d->kind == DOC_MAP ? arena_array(a, struct slice, cap) : NULL;
        if (d->n)
            memcpy(items, d->items, d->n * sizeof(*items));
        if (d->n && keys)
            memcpy(keys, d->keys, d->n * sizeof(*keys));
        d->items = items;
        d->keys = keys;
        d->cap = cap;
    }
    memmove(d->items + at + 1, d->items + at, (d->n - at) * sizeof(*d->items));
    d->items[at] = value;
    if (d->kind == DOC_MAP) {
        memmove(d->keys + at + 1, d->keys + at, (d->n - at) * sizeof(*d->keys));
        d->keys[at] = key;
    }
    d->n++;
}

static void remove_at(struct doc *d, size_t at)
{
    memmove(d->items + at, d->items + at + 1, (d->n - at - 1) * sizeof(*d->items));
    if (d->kind == DOC_MAP)
        memmove(d->keys + at, d->keys + at + 1, (d->n - at - 1) * sizeof(*d->keys));
    d->n--;
}

/* Where a key is or would be. */
static size_t position(const struct doc *map, struct slice key, bool *found)
{
    size_t low = 0, high = map->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (slice_cmp(map->keys[mid], key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *found = low < map->n && slice_eq(map->keys[low], key);
    return low;
}

struct doc *doc_member(const struct doc *map, struct slice key)
{
    bool found;
    if (map->kind != DOC_MAP)
        return NULL;
    size_t at = position(map, key, &found);
    return found ? map->items[at] : NULL;
}

void doc_set(struct arena *a, struct doc *map, struct slice key, struct doc *value)
{
    bool found;
    size_t at = position(map, key, &found);
    if (found)
        map->items[at] = value;
    else
        insert_at(a, map, at, key, value);
}

bool doc_drop(struct doc *map, struct slice key)
{
    bool found;
    if (map->kind != DOC_MAP)
        return false;
    size_t at = position(map, key, &found);
    if (found)
        remove_at(map, at);
    return found;
}

struct doc *doc_copy(struct arena *a, const struct doc *d)
{
    struct doc *copy = doc_new(a, d->kind);
    *copy = *d;
    copy->items = NULL;
    copy->keys = NULL;
    copy->n = copy->cap = 0;
    for (size_t i = 0; i < d->n; i++)
        insert_at(a, copy, i, d->keys ? d->keys[i] : SLICE_EMPTY, doc_copy(a, d->items[i]));
    return copy;
}

bool doc_eq(const struct doc *a, const struct doc *b)
{
    if (a->kind != b->kind || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if ((a->kind == DOC_MAP && !slice_eq(a->keys[i], b->keys[i])) || !doc_eq(a->items[i], b->items[i]))
            return false;
    return a->flag == b->flag && a->number == b->number && a->negative == b->negative && a->real == b->real &&
           slice_eq(a->text, b->text);
}

/* ---- JSON in ---- */

struct scan {
    struct arena *a;
    struct slice text;
    size_t at;
    unsigned depth;
    struct err *err;
};

static enum rc bad(struct scan *s, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < s->at && i < s->text.len; i++) {
        column = s->text.ptr[i] == '\n' ? 1 : column + 1;
        line += s->text.ptr[i] == '\n';
    }
    if (s->at >= s->text.len)
        column--; /* the last character there is */
    return err_set(s->err, RC_INVALID, "%s at line %zu column %zu", what, line, column);
}

static void blanks(struct scan *s)
{
    while (s->at < s->text.len && strchr(" \t\r\n", s->text.ptr[s->at]) && s->text.ptr[s->at])
        s->at++;
}

static int peek(const struct scan *s)
{
    return s->at < s->text.len ? s->text.ptr[s->at] : -1;
}

static bool hex4(struct scan *s, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        int v = c < 0 ? -1 : hex_value((uint8_t)c);
        if (v < 0)
            return false;
        *out = *out << 4 | (uint32_t)v;
    }
    return true;
}

static bool escape(struct scan *s, struct writer *w)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    int c = peek(s);
    uint32_t unit, low;
    s->at++;
    if (c == 'u') {
        if (!hex4(s, &unit) || unit == 0 || (unit >= 0xdc00 && unit < 0xe000))
            return false;
        if (unit >= 0xd800 && unit < 0xdc00) {
            if (peek(s) != '\\' || s->at + 1 >= s->text.len || s->text.ptr[s->at + 1] != 'u')
                return false;
            s->at += 2;
            if (!hex4(s, &low) || low < 0xdc00 || low >= 0xe000)
                return false;
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        }
        write_utf8(w, unit);
        return true;
    }
    const char *p = c > 0 ? strchr(plain, c) : NULL;
    if (!p)
        return false;
    write_u8(w, (uint8_t)meant[p - plain]);
    return true;
}

static enum rc string(struct scan *s, struct slice *out)
{
    struct writer w = WRITER_INIT;
    enum rc rc = RC_OK;
    for (s->at++; rc == RC_OK;) {
        int c = peek(s);
        if (c == '"')
            break;
        if (c < 0x20) {
            rc = bad(s, c < 0 ? "EOF while parsing a string" : "control character in a string");
            break;
        }
        s->at++;
        if (c == '\\' && !escape(s, &w))
            rc = bad(s, "invalid escape");
        else if (c != '\\')
            write_u8(&w, (uint8_t)c);
    }
    s->at++;
    if (rc == RC_OK && w.len && !slice_is_utf8(writer_slice(&w)))
        rc = bad(s, "invalid unicode");
    if (rc == RC_OK)
        *out = slice_make(arena_copy_slice(s->a, writer_slice(&w)), w.len);
    writer_free(&w);
    return rc;
}

static enum rc number(struct scan *s, struct doc *d)
{
    char text[64];
    size_t start = s->at;
    bool whole = true;
    while (s->at < s->text.len && s->at - start < sizeof(text) - 1 && peek(s) > 0 &&
           strchr("+-.eE0123456789", peek(s))) {
        whole &= !strchr(".eE", peek(s));
        s->at++;
    }
    size_t len = s->at - start;
    memcpy(text, s->text.ptr + start, len);
    text[len] = 0;
    const char *digits = text + (*text == '-');
    if (*digits < '0' || *digits > '9' || (digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'))
        return bad(s, "invalid number");
    char *end;
    errno = 0;
    if (whole && *text != '-') {
        d->number = strtoull(text, &end, 10);
        d->kind = DOC_UINT;
    } else if (whole) {
        d->negative = strtoll(text, &end, 10);
        d->kind = d->negative ? DOC_INT : DOC_UINT;
    }
    if (!whole || errno == ERANGE) {
        errno = 0;
        d->number = 0;
        d->negative = 0;
        d->real = strtod(text, &end);
        d->kind = DOC_FLOAT;
    }
    if (*end || !isfinite(d->real))
        return bad(s, "invalid number");
    return RC_OK;
}

static enum rc value(struct scan *s, struct doc **out);

static enum rc list(struct scan *s, struct doc *d)
{
    s->at++;
    blanks(s);
    while (peek(s) != ']') {
        struct doc *item;
        if (peek(s) < 0)
            return bad(s, "EOF while parsing a list");
        enum rc rc = value(s, &item);
        if (rc != RC_OK)
            return rc;
        insert_at(s->a, d, d->n, SLICE_EMPTY, item);
        blanks(s);
        if (peek(s) == ',')
            s->at++;
        else if (peek(s) != ']')
            return bad(s, peek(s) < 0 ? "EOF while parsing a list" : "expected `,` or `]`");
        else
            break;
    }
    s->at++;
    return RC_OK;
}

static enum rc map(struct scan *s, struct doc *d)
{
    s->at++;
    blanks(s);
    while (peek(s) != '}') {
        struct slice key;
        struct doc *item;
        blanks(s);
        if (peek(s) != '"')
            return bad(s, peek(s) < 0 ? "EOF while parsing an object" : "expected a key");
        enum rc rc = string(s, &key);
        if (rc != RC_OK)
            return rc;
        if (slice_find(key, 0, 0) >= 0)
            return bad(s, "a key contains NUL");
        blanks(s);
        if (peek(s) != ':')
            return bad(s, "expected `:`");
        s->at++;
        if ((rc = value(s, &item)) != RC_OK)
            return rc;
        doc_set(s->a, d, key, item); /* the last one wins */
        blanks(s);
        if (peek(s) == ',')
            s->at++;
        else if (peek(s) != '}')
            return bad(s, peek(s) < 0 ? "EOF while parsing an object" : "expected `,` or `}`");
        else
            break;
    }
    s->at++;
    return RC_OK;
}

static bool literal(struct scan *s, const char *text)
{
    struct slice rest = slice_sub(s->text, s->at, s->text.len - s->at);
    if (!slice_starts_with(rest, slice_cstr(text)))
        return false;
    s->at += strlen(text);
    return true;
}

static enum rc value(struct scan *s, struct doc **out)
{
    blanks(s);
    struct doc *d = *out = doc_new(s->a, DOC_NULL);
    int c = peek(s);
    if (c < 0)
        return bad(s, "EOF while parsing a value");
    if (c == '{' || c == '[') {
        if (++s->depth > DOC_DEPTH_MAX)
            return bad(s, "nested too deeply");
        d->kind = c == '{' ? DOC_MAP : DOC_LIST;
        enum rc rc = c == '{' ? map(s, d) : list(s, d);
        s->depth--;
        return rc;
    }
    if (c == '"') {
        d->kind = DOC_TEXT;
        return string(s, &d->text);
    }
    if (literal(s, "null"))
        return RC_OK;
    d->kind = DOC_BOOL;
    if (literal(s, "false"))
        return RC_OK;
    d->flag = true;
    if (literal(s, "true"))
        return RC_OK;
    d->flag = false;
    return c == '-' || (c >= '0' && c <= '9') ? number(s, d) : bad(s, "expected value");
}

enum rc doc_parse(struct arena *a, struct slice json, struct doc **out, struct err *err)
{
    struct scan s = {.a = a, .text = json, .err = err};
    enum rc rc = value(&s, out);
    blanks(&s);
    if (rc == RC_OK && s.at < json.len)
        rc = bad(&s, "trailing characters");
    return rc;
}

/* ---- stored values ---- */

static struct doc *from_flex(struct arena *a, struct flex v)
{
    struct doc *d = doc_new(a, DOC_NULL);
    struct slice text;
    uint64_t u;
    int64_t i;
    switch (flex_kind(v)) {
    case FLEX_NULL:
    case FLEX_BLOB:
        break;
    case FLEX_BOOL:
        d->kind = DOC_BOOL;
        flex_bool(v, &d->flag);
        break;
    case FLEX_INT:
    case FLEX_UINT:
        if (flex_u64(v, &u)) {
            d->kind = DOC_UINT;
            d->number = u;
        } else if (flex_i64(v, &i)) {
            d->kind = DOC_INT;
            d->negative = i;
        }
        break;
    case FLEX_FLOAT:
        d->kind = DOC_FLOAT;
        flex_f64(v, &d->real);
        break;
    case FLEX_TEXT:
        d->kind = DOC_TEXT;
        flex_text(v, &text);
        d->text = slice_make(arena_copy_slice(a, text), text.len);
        break;
    case FLEX_SEQUENCE:
        d->kind = DOC_LIST;
        for (size_t n = 0; n < flex_count(v); n++)
            insert_at(a, d, n, SLICE_EMPTY, from_flex(a, flex_at(v, n)));
        break;
    case FLEX_MAP:
        d->kind = DOC_MAP;
        for (size_t n = 0; n < flex_count(v); n++) {
            struct slice key = flex_key_at(v, n);
            insert_at(a, d, n, slice_make(arena_copy_slice(a, key), key.len), from_flex(a, flex_at(v, n)));
        }
        break;
    }
    return d;
}

enum rc doc_decode(struct arena *a, struct slice stored, struct doc **out, struct err *err)
{
    static const char *const names[] = {NULL, "protobuf", NULL, "raw-bytes", NULL, NULL, "bilrost", "custom"};
    struct flex root;
    unsigned codec = stored.len ? stored.ptr[0] : 0;
    if (codec == CODEC_JSON)
        return doc_parse(a, slice_sub(stored, 1, stored.len - 1), out, err);
    if (codec != CODEC_FLEXBUFFERS)
        return err_set(err, RC_UNSUPPORTED, "unsupported codec kind: %s",
                       codec < ARRAY_LEN(names) && names[codec] ? names[codec] : "unknown");
    enum rc rc = flex_parse_stored(stored, &root, err);
    if (rc == RC_OK)
        *out = from_flex(a, root);
    return rc;
}

static void put_flex(struct flex_writer *f, const struct doc *d)
{
    switch (d->kind) {
    case DOC_NULL:
        flex_put_null(f);
        break;
    case DOC_BOOL:
        flex_put_bool(f, d->flag);
        break;
    case DOC_UINT:
        flex_put_u64(f, d->number);
        break;
    case DOC_INT:
        flex_put_i64(f, d->negative);
        break;
    case DOC_FLOAT:
        flex_put_f64(f, d->real);
        break;
    case DOC_TEXT:
        flex_put_text(f, d->text);
        break;
    case DOC_LIST:
        flex_open_sequence(f);
        for (size_t i = 0; i < d->n; i++)
            put_flex(f, d->items[i]);
        flex_close_sequence(f);
        break;
    case DOC_MAP:
        flex_open_map(f);
        for (size_t i = 0; i < d->n; i++) {
            flex_key_slice(f, d->keys[i]);
            put_flex(f, d->items[i]);
        }
        flex_close_map(f);
        break;
    }
}

void doc_encode(struct writer *w, const struct doc *map, uint64_t version)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    flex_open_map(&f);
    flex_key(&f, "version");
    flex_put_u64(&f, version);
    for (size_t i = 0; i < map->n; i++) {
        if (slice_eq_cstr(map->keys[i], "version"))
            continue;
        flex_key_slice(&f, map->keys[i]);
        put_flex(&f, map->items[i]);
    }
    flex_close_map(&f);
    flex_finish_stored(&f, w);
}

/* ---- JSON out ---- */

static void print(struct writer *w, const struct doc *d, unsigned depth);

static void print_member(struct writer *w, const struct doc *d, size_t i, unsigned depth, bool *first)
{
    write_fmt(w, "%s\n%*s", *first ? "" : ",", (int)(depth + 1) * 2, "");
    *first = false;
    if (d->kind == DOC_MAP) {
        write_json_string(w, d->keys[i]);
        write_fmt(w, ": ");
    }
    print(w, d->items[i], depth + 1);
}

static void print_container(struct writer *w, const struct doc *d, unsigned depth)
{
    bool first = true, found = false;
    size_t version = d->kind == DOC_MAP && depth == 0 ? position(d, SLICE_LIT("version"), &found) : 0;
    write_u8(w, d->kind == DOC_MAP ? '{' : '[');
    if (found)
        print_member(w, d, version, depth, &first);
    for (size_t i = 0; i < d->n; i++)
        if (!found || i != version)
            print_member(w, d, i, depth, &first);
    if (d->n)
        write_fmt(w, "\n%*s", (int)depth * 2, "");
    write_u8(w, d->kind == DOC_MAP ? '}' : ']');
}

static void print_real(struct writer *w, double v)
{
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    write_fmt(w, "%s%s", text, strpbrk(text, ".eEn") ? "" : ".0");
}

static void print(struct writer *w, const struct doc *d, unsigned depth)
{
    switch (d->kind) {
    case DOC_NULL:
        write_fmt(w, "null");
        break;
    case DOC_BOOL:
        write_fmt(w, d->flag ? "true" : "false");
        break;
    case DOC_UINT:
        write_fmt(w, "%llu", (unsigned long long)d->number);
        break;
    case DOC_INT:
        write_fmt(w, "%lld", (long long)d->negative);
        break;
    case DOC_FLOAT:
        print_real(w, d->real);
        break;
    case DOC_TEXT:
        write_json_string(w, d->text);
        break;
    case DOC_LIST:
    case DOC_MAP:
        print_container(w, d, depth);
        break;
    }
}

void doc_print_compact(struct writer *w, const struct doc *d)
{
    if (d->kind != DOC_LIST && d->kind != DOC_MAP) {
        print(w, d, 0);
        return;
    }
    write_u8(w, d->kind == DOC_MAP ? '{' : '[');
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            write_u8(w, ',');
        if (d->kind == DOC_MAP) {
            write_json_string(w, d->keys[i]);
            write_u8(w, ':');
        }
        doc_print_compact(w, d->items[i]);
    }
    write_u8(w, d->kind == DOC_MAP ? '}' : ']');
}

void doc_print(struct writer *w, const struct doc *d)
{
    print(w, d, 0);
    write_u8(w, '\n');
}

/* ---- JSON Patch ---- */

/* The next token of a pointer, unescaped; false at the end. */
static bool pointer_token(struct arena *a, struct slice *rest, struct slice *token)
{
    if (rest->len == 0)
        return false;
    ptrdiff_t slash = slice_find(*rest, '/', 1);
    size_t len = (slash < 0 ? rest->len : (size_t)slash) - 1;
    char *text = arena_copy_slice(a, slice_sub(*rest, 1, len));
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        bool tilde = text[i] == '~' && i + 1 < len && (text[i + 1] == '0' || text[i + 1] == '1');
        text[n++] = tilde ? (text[i + 1] == '0' ? '~' : '/') : text[i];
        i += tilde;
    }
    *token = slice_make(text, n);
    *rest = slice_sub(*rest, len + 1, rest->len - len - 1);
    return true;
}

static bool list_index(struct slice token, size_t *out)
{
    *out = 0;
    if (token.len == 0 || token.len > 9 || (token.len > 1 && token.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < token.len; i++) {
        if (token.ptr[i] < '0' || token.ptr[i] > '9')
            return false;
        *out = *out * 10 + (token.ptr[i] - '0');
    }
    return true;
}

struct place {
    struct doc *parent; /* NULL: the whole document */
    struct slice token; /* in the parent */
};

static struct doc *child(const struct doc *d, struct slice token)
{
    size_t i;
    if (d->kind == DOC_LIST)
        return list_index(token, &i) && i < d->n ? d->items[i] : NULL;
    return doc_member(d, token);
}

static bool find_place(struct arena *a, struct doc *root, struct slice pointer, struct place *out)
{
    struct slice token, next;
    *out = (struct place){0};
    if (pointer.len == 0)
        return true;
    if (pointer.ptr[0] != '/')
        return false;
    pointer_token(a, &pointer, &token);
    struct doc *parent = root;
    while (pointer_token(a, &pointer, &next)) {
        if (!(parent = child(parent, token)))
            return false;
        token = next;
    }
    *out = (struct place){parent, token};
    return parent->kind == DOC_MAP || parent->kind == DOC_LIST;
}

static struct doc *get_at(struct doc *root, const struct place *p)
{
    return p->parent ? child(p->parent, p->token) : root;
}

static bool add_at(struct arena *a, struct doc **root, const struct place *p, struct doc *v)
{
    size_t i;
    if (!p->parent) {
        *root = v;
        return true;
    }
    if (p->parent->kind == DOC_MAP) {
        doc_set(a, p->parent, p->token, v);
        return true;
    }
    if (slice_eq_cstr(p->token, "-"))
        i = p->parent->n;
    else if (!list_index(p->token, &i) || i > p->parent->n)
        return false;
    insert_at(a, p->parent, i, SLICE_EMPTY, v);
    return true;
}

static bool drop_at(const struct place *p)
{
    size_t i;
    if (!p->parent)
        return false;
    if (p->parent->kind == DOC_MAP)
        return doc_drop(p->parent, p->token);
    if (!list_index(p->token, &i) || i >= p->parent->n)
        return false;
    remove_at(p->parent, i);
    return true;
}

static const char *operation(struct arena *a, struct doc **d, const struct doc *op)
{
    struct doc *name = doc_member(op, SLICE_LIT("op")), *path = doc_member(op, SLICE_LIT("path"));
    struct doc *v = doc_member(op, SLICE_LIT("value")), *from = doc_member(op, SLICE_LIT("from"));
    struct place to, source;
    if (!name || name->kind != DOC_TEXT || !path || path->kind != DOC_TEXT)
        return "needs the members op and path";
    if (!find_place(a, *d, path->text, &to))
        return "path is invalid";
    struct slice kind = name->text;
    bool needs_value =
        slice_eq_cstr(kind, "add") || slice_eq_cstr(kind, "replace") || slice_eq_cstr(kind, "test");
    if (needs_value && !v)
        return "needs the member value";
    if (slice_eq_cstr(kind, "add"))
        return add_at(a, d, &to, doc_copy(a, v)) ? NULL : "path is invalid";
    if (slice_eq_cstr(kind, "remove"))
        return drop_at(&to) ? NULL : "path is invalid";
    if (slice_eq_cstr(kind, "replace")) {
        if (!get_at(*d, &to))
            return "path is invalid";
        if (to.parent && to.parent->kind == DOC_LIST)
            drop_at(&to);
        return add_at(a, d, &to, doc_copy(a, v)) ? NULL : "path is invalid";
    }
    if (slice_eq_cstr(kind, "test"))
        return get_at(*d, &to) && doc_eq(get_at(*d, &to), v) ? NULL : "value did not match";
    bool move = slice_eq_cstr(kind, "move");
    if (!move && !slice_eq_cstr(kind, "copy"))
        return "unknown operation";
    if (!from || from->kind != DOC_TEXT || !find_place(a, *d, from->text, &source) ||
        !(v = get_at(*d, &source)))
        return "\"from\" path is invalid";
    v = doc_copy(a, v);
    if (move && path->text.len > from->text.len && slice_starts_with(path->text, from->text) &&
        path->text.ptr[from->text.len] == '/')
        return "cannot move a value into itself";
    if (move && !drop_at(&source))
        return "\"from\" path is invalid";
    if (move && !find_place(a, *d, path->text, &to))
        return "path is invalid";
    return add_at(a, d, &to, v) ? NULL : "path is invalid";
}

enum rc doc_patch(struct arena *a, struct doc **d, const struct doc *patch, struct err *err)
{
    if (patch->kind != DOC_LIST)
        return err_set(err, RC_INVALID, "a JSON Patch is a list of operations");
    for (size_t i = 0; i < patch->n; i++) {
        const char *why = operation(a, d, patch->items[i]);
        struct doc *path = doc_member(patch->items[i], SLICE_LIT("path"));
        if (why)
            return err_set(err, RC_CONFLICT, "operation '/%zu' failed at path '%.*s': %s", i,
                           path ? (int)MIN(path->text.len, 200) : 0, path ? (const char *)path->text.ptr : "",
                           why);
    }
    return RC_OK;
}
