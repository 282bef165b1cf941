/* Implementation of wire/pb_describe.h. A file is read token by token, each declaration written as it is
 * read; numbers of fields below are those of google/protobuf/descriptor.proto. */
#include "wire/pb_describe.h"

#include <ctype.h>

#include "wire/pb.h"

enum { LABEL_OPTIONAL = 1, LABEL_REPEATED = 3 };
enum { TYPE_MESSAGE = 11, TYPE_ENUM = 14 };
static const struct {
    const char *name;
    unsigned type;
} scalars[] = {{"int64", 3},  {"uint64", 4}, {"int32", 5},   {"bool", 8},
               {"string", 9}, {"bytes", 12}, {"uint32", 13}, {"double", 1}};

struct source {
    const struct pb_file *files;
    size_t n_files;
    struct slice rest;
    struct slice package;
};

/* ---- tokens: words, quoted names, single characters; empty at the end ---- */

static bool of_word(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '.';
}

static struct slice token(struct source *s)
{
    while (s->rest.len && isspace(s->rest.ptr[0]))
        s->rest = slice_sub(s->rest, 1, s->rest.len - 1);
    size_t n = 0;
    if (s->rest.len && s->rest.ptr[0] == '"') {
        ptrdiff_t end = slice_find(s->rest, '"', 1);
        ASSERT(end > 0);
        n = (size_t)end + 1;
    } else {
        while (n < s->rest.len && of_word(s->rest.ptr[n]))
            n++;
        n = MAX(n, MIN(s->rest.len, 1u));
    }
    struct slice t = slice_sub(s->rest, 0, n);
    s->rest = slice_sub(s->rest, n, s->rest.len - n);
    return t;
}

static bool next_is(struct source *s, const char *text)
{
    struct source ahead = *s;
    if (!slice_eq_cstr(token(&ahead), text))
        return false;
    *s = ahead;
    return true;
}

static void expect(struct source *s, const char *text)
{
    ASSERT_MSG(next_is(s, text), "expected %s before %.20s", text, (const char *)s->rest.ptr);
}

static uint64_t number(struct source *s)
{
    struct slice t = token(s);
    uint64_t n = 0;
    for (size_t i = 0; i < t.len; i++)
        n = n * 10 + (t.ptr[i] - '0');
    return n;
}

static struct slice quoted(struct source *s)
{
    struct slice t = token(s);
    return slice_sub(t, 1, t.len - 2);
}

/* ---- names ---- */

/* Reads `syntax` and `package`; what follows is imports and declarations. */
static struct source open_file(const struct pb_file *files, size_t n, size_t i)
{
    struct source s = {files, n, files[i].text, SLICE_EMPTY};
    expect(&s, "syntax");
    expect(&s, "=");
    token(&s);
    expect(&s, ";");
    expect(&s, "package");
    s.package = token(&s);
    expect(&s, ";");
    return s;
}

static bool next_import(struct source *s, struct slice *name)
{
    if (!next_is(s, "import"))
        return false;
    *name = quoted(s);
    expect(s, ";");
    return true;
}

static void skip_block(struct source *s)
{
    expect(s, "{");
    for (int depth = 1; depth > 0;) {
        struct slice t = token(s);
        ASSERT(t.len > 0);
        depth += slice_eq_cstr(t, "{") ? 1 : slice_eq_cstr(t, "}") ? -1 : 0;
    }
}

/* `package.name` is `full`. */
static bool is_named(const struct source *s, struct slice name, struct slice full)
{
    return full.len == s->package.len + 1 + name.len && slice_starts_with(full, s->package) &&
           full.ptr[s->package.len] == '.' && slice_eq(slice_sub(full, s->package.len + 1, name.len), name);
}

/* How files[i] declares `full`: `message`, `enum`, `service`, or empty. */
static struct slice declared(const struct pb_file *files, size_t n, size_t i, struct slice full)
{
    struct source s = open_file(files, n, i);
    struct slice import;
    while (next_import(&s, &import)) {
    }
    for (;;) {
        struct slice kind = token(&s), name = token(&s);
        if (!kind.len || is_named(&s, name, full))
            return kind;
        skip_block(&s);
    }
}

size_t pb_find_symbol(const struct pb_file *files, size_t n, struct slice symbol)
{
    size_t i = 0;
    while (i < n && !declared(files, n, i, symbol).len)
        i++;
    ptrdiff_t dot = -1;
    for (size_t k = 0; k < symbol.len; k++)
        dot = symbol.ptr[k] == '.' ? (ptrdiff_t)k : dot;
    if (i < n || dot < 0)
        return i;
    /* a method, or a field */
    struct slice outer = slice_sub(symbol, 0, (size_t)dot),
                 inner = slice_sub(symbol, (size_t)dot + 1, symbol.len - (size_t)dot - 1);
    for (i = 0; i < n; i++) {
        if (!declared(files, n, i, outer).len)
            continue;
        struct source s = {files, n, files[i].text, SLICE_EMPTY};
        for (struct slice t = token(&s); t.len; t = token(&s)) {
            if (slice_eq(t, inner))
                return i;
        }
    }
    return n;
}

size_t pb_find_file(const struct pb_file *files, size_t n, struct slice name)
{
    size_t i = 0;
    while (i < n && !slice_eq_cstr(name, files[i].name))
        i++;
    return i;
}

void pb_imports(const struct pb_file *files, size_t n, size_t i, void (*visit)(void *ctx, size_t imported),
                void *ctx)
{
    struct source s = open_file(files, n, i);
    struct slice import;
    while (next_import(&s, &import))
        visit(ctx, pb_find_file(files, n, import));
}

/* ---- fields ---- */

/* `.package.Name` of a type that stands in a file of `s`. */
static void write_full_name(const struct source *s, struct slice name, struct writer *w)
{
    write_u8(w, '.');
    if (slice_find(name, '.', 0) < 0) {
        write_slice_raw(w, s->package);
        write_u8(w, '.');
    }
    write_slice_raw(w, name);
}

static void put_type(const struct source *s, struct slice name, struct writer *field)
{
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        if (slice_eq_cstr(name, scalars[i].name)) {
            pb_write_u64(field, 5, scalars[i].type);
            return;
        }
    }
    struct writer full = WRITER_INIT;
    write_full_name(s, name, &full);
    struct slice symbol = slice_sub(writer_slice(&full), 1, full.len - 1);
    size_t i = pb_find_symbol(s->files, s->n_files, symbol);
    ASSERT_MSG(i < s->n_files, "unknown type %.*s", SLICE_FMT(symbol));
    bool is_enum = slice_eq_cstr(declared(s->files, s->n_files, i, symbol), "enum");
    pb_write_u64(field, 5, is_enum ? TYPE_ENUM : TYPE_MESSAGE);
    pb_write_bytes(field, 6, writer_slice(&full));
    writer_free(&full);
}

/* `snake_case` as `snakeCase`, or as the `SnakeCase` of an entry of a map. */
static void write_camel(struct slice name, bool upper, struct writer *w)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '_')
            upper = true;
        else
            write_u8(w, (uint8_t)(upper ? toupper(name.ptr[i]) : name.ptr[i]));
        upper = name.ptr[i] == '_';
    }
}

static void write_json_name(struct slice name, struct writer *field)
{
    struct writer json = WRITER_INIT;
    write_camel(name, false, &json);
    pb_write_bytes(field, 10, writer_slice(&json));
    writer_free(&json);
}

struct message_parts {
    struct slice name;
    struct writer fields, nested, oneofs, reserved;
    uint64_t n_oneofs;
};

struct field {
    struct slice type, name;
    uint64_t number;
    unsigned label;
    bool optional; /* explicit presence: the only member of a oneof `_name` */
    int64_t oneof; /* -1: of none */
};

static void put_field(const struct source *s, const struct field *f, struct writer *out, uint32_t number)
{
    struct writer field = WRITER_INIT;
    pb_write_bytes(&field, 1, f->name);
    pb_write_u64(&field, 3, f->number);
    pb_write_u64(&field, 4, f->label);
    put_type(s, f->type, &field);
    if (f->oneof >= 0)
        pb_write_u64_always(&field, 9, (uint64_t)f->oneof);
    write_json_name(f->name, &field);
    pb_write_bool(&field, 17, f->optional);
    pb_put_message(out, number, &field);
}

static void put_oneof(struct writer *out, const char *prefix, struct slice name)
{
    struct writer oneof = WRITER_INIT, text = WRITER_INIT;
    write_fmt(&text, "%s%.*s", prefix, SLICE_FMT(name));
    pb_write_bytes(&oneof, 1, writer_slice(&text));
    writer_free(&text);
    pb_put_message(out, 8, &oneof);
}

/* `map<K, V> name = n;` is a repeated entry message. */
static void read_map(struct source *s, struct message_parts *m)
{
    struct field key = {.name = SLICE_LIT("key"), .number = 1, .label = LABEL_OPTIONAL, .oneof = -1};
    struct field value = {.name = SLICE_LIT("value"), .number = 2, .label = LABEL_OPTIONAL, .oneof = -1};
    struct writer entry = WRITER_INIT, name = WRITER_INIT, options = WRITER_INIT, field = WRITER_INIT;
    expect(s, "<");
    key.type = token(s);
    expect(s, ",");
    value.type = token(s);
    expect(s, ">");
    struct slice field_name = token(s);
    expect(s, "=");
    uint64_t n = number(s);
    expect(s, ";");
    write_camel(field_name, true, &name);
    write_fmt(&name, "Entry");
    pb_write_bytes(&entry, 1, writer_slice(&name));
    put_field(s, &key, &entry, 2);
    put_field(s, &value, &entry, 2);
    pb_write_bool(&options, 7, true);
    pb_put_message(&entry, 7, &options);
    pb_put_message(&m->nested, 3, &entry);
    pb_write_bytes(&field, 1, field_name);
    pb_write_u64(&field, 3, n);
    pb_write_u64(&field, 4, LABEL_REPEATED);
    pb_write_u64(&field, 5, TYPE_MESSAGE);
    struct writer full = WRITER_INIT;
    write_full_name(s, m->name, &full);
    write_fmt(&full, ".%.*s", SLICE_FMT(writer_slice(&name)));
    pb_write_bytes(&field, 6, writer_slice(&full));
    write_json_name(field_name, &field);
    pb_put_message(&m->fields, 2, &field);
    writer_free(&full);
    writer_free(&name);
}

/* `[optional|repeated] type name = n;`, of the oneof number `oneof` or of none. */
static void read_field(struct source *s, struct message_parts *m, int64_t oneof)
{
    struct field f = {.label = LABEL_OPTIONAL, .oneof = oneof};
    if (next_is(s, "map")) {
        read_map(s, m);
        return;
    }
    if (next_is(s, "repeated"))
        f.label = LABEL_REPEATED;
    f.optional = next_is(s, "optional");
    f.type = token(s);
    f.name = token(s);
    expect(s, "=");
    f.number = number(s);
    expect(s, ";");
    if (f.optional) {
        f.oneof = (int64_t)m->n_oneofs++;
        put_oneof(&m->oneofs, "_", f.name);
    }
    put_field(s, &f, &m->fields, 2);
}

static void read_reserved(struct source *s, struct message_parts *m)
{
    struct writer range = WRITER_INIT;
    uint64_t n = number(s);
    expect(s, ";");
    pb_write_u64(&range, 1, n);
    pb_write_u64(&range, 2, n + 1);
    pb_put_message(&m->reserved, 9, &range);
}

/* A oneof stands before the optional fields of its message, whose own ones come last. */
static void read_oneof(struct source *s, struct message_parts *m)
{
    int64_t oneof = (int64_t)m->n_oneofs++;
    put_oneof(&m->oneofs, "", token(s));
    expect(s, "{");
    while (!next_is(s, "}"))
        read_field(s, m, oneof);
}

static void take(struct writer *out, struct writer *part)
{
    write_slice_raw(out, writer_slice(part));
    writer_free(part);
}

static void read_message(struct source *s, struct writer *out)
{
    struct message_parts m = {.name = token(s)};
    struct writer message = WRITER_INIT;
    expect(s, "{");
    while (!next_is(s, "}")) {
        if (next_is(s, "oneof"))
            read_oneof(s, &m);
        else if (next_is(s, "reserved"))
            read_reserved(s, &m);
        else
            read_field(s, &m, -1);
    }
    pb_write_bytes(&message, 1, m.name);
    take(&message, &m.fields);
    take(&message, &m.nested);
    take(&message, &m.oneofs);
    take(&message, &m.reserved);
    pb_put_message(out, 4, &message);
}

/* ---- enums, services, files ---- */

static void read_enum(struct source *s, struct writer *out)
{
    struct writer e = WRITER_INIT;
    pb_write_bytes(&e, 1, token(s));
    expect(s, "{");
    while (!next_is(s, "}")) {
        struct writer value = WRITER_INIT;
        pb_write_bytes(&value, 1, token(s));
        expect(s, "=");
        pb_write_u64_always(&value, 2, number(s));
        expect(s, ";");
        pb_put_message(&e, 2, &value);
    }
    pb_put_message(out, 5, &e);
}

/* `(stream Type)`; true: a stream. */
static bool read_method_type(struct source *s, uint32_t field, struct writer *method)
{
    struct writer full = WRITER_INIT;
    expect(s, "(");
    bool stream = next_is(s, "stream");
    write_full_name(s, token(s), &full);
    expect(s, ")");
    pb_write_bytes(method, field, writer_slice(&full));
    writer_free(&full);
    return stream;
}

static void read_service(struct source *s, struct writer *out)
{
    struct writer service = WRITER_INIT;
    pb_write_bytes(&service, 1, token(s));
    expect(s, "{");
    while (!next_is(s, "}")) {
        struct writer method = WRITER_INIT;
        expect(s, "rpc");
        pb_write_bytes(&method, 1, token(s));
        bool in = read_method_type(s, 2, &method);
        expect(s, "returns");
        bool back = read_method_type(s, 3, &method);
        expect(s, ";");
        pb_write_bool(&method, 5, in);
        pb_write_bool(&method, 6, back);
        pb_put_message(&service, 2, &method);
    }
    pb_put_message(out, 6, &service);
}

void pb_describe(const struct pb_file *files, size_t n, size_t i, struct writer *w)
{
    struct source s = open_file(files, n, i);
    struct writer messages = WRITER_INIT, enums = WRITER_INIT, services = WRITER_INIT;
    struct slice import;
    pb_put_text(w, 1, files[i].name);
    pb_write_bytes(w, 2, s.package);
    while (next_import(&s, &import))
        pb_write_bytes(w, 3, import);
    for (struct slice kind = token(&s); kind.len; kind = token(&s)) {
        if (slice_eq_cstr(kind, "message"))
            read_message(&s, &messages);
        else if (slice_eq_cstr(kind, "enum"))
            read_enum(&s, &enums);
        else if (slice_eq_cstr(kind, "service"))
            read_service(&s, &services);
        else
            ASSERT_MSG(false, "unexpected %.*s in %s", SLICE_FMT(kind), files[i].name);
    }
    take(w, &messages);
    take(w, &enums);
    take(w, &services);
    pb_put_text(w, 12, "proto3");
}
