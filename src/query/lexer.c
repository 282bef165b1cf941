/* Cuts SQL text into tokens (query/sql.h). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/containers.h"
#include "query/sql.h"

#define TOKENS_MAX 200000u

struct lexer {
    struct arena *arena;
    const uint8_t *p, *end;
    uint32_t line, column;
    struct {
        struct token *items;
        size_t len, cap;
    } tokens;
    struct sql_error *err;
};

bool sql_fail(struct sql_error *e, enum sql_error_kind kind, const char *fmt, ...)
{
    if (e->kind != SQL_ERROR_NONE)
        return false;
    e->kind = kind;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof(e->message)) { /* not in the middle of a character */
        size_t end = sizeof(e->message) - 1;
        while (end && ((uint8_t)e->message[end - 1] & 0xc0) == 0x80)
            end--;
        e->message[end ? end - 1 : 0] = '\0';
    }
    return false;
}

static int at(const struct lexer *l, size_t ahead)
{
    return (size_t)(l->end - l->p) > ahead ? l->p[ahead] : -1;
}

static void step(struct lexer *l)
{
    if (*l->p == '\n') {
        l->line++;
        l->column = 0;
    }
    if ((*l->p & 0xc0) != 0x80)
        l->column++;
    l->p++;
}

static bool word_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool refuse(struct lexer *l, uint32_t line, uint32_t column, const char *what)
{
    return sql_fail(l->err, SQL_ERROR_PARSE, "SQL error: TokenizerError(\"%s at Line: %u, Column: %u\")",
                    what, line, column);
}

/* Blanks and comments. */
static bool skip(struct lexer *l)
{
    for (;;) {
        int c = at(l, 0);
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            step(l);
        } else if (c == '-' && at(l, 1) == '-') {
            while (l->p < l->end && *l->p != '\n')
                step(l);
        } else if (c == '/' && at(l, 1) == '*') {
            uint32_t line = l->line, column = l->column;
            unsigned depth = 0;
            do {
                if (l->p == l->end)
                    return refuse(l, line, column, "Unexpected EOF while in a multi-line comment");
                if (at(l, 0) == '/' && at(l, 1) == '*') {
                    depth++;
                    step(l);
                } else if (at(l, 0) == '*' && at(l, 1) == '/') {
                    depth--;
                    step(l);
                }
                step(l);
            } while (depth);
        } else {
            return true;
        }
    }
}

static void add(struct lexer *l, enum token_kind kind, struct slice text, struct slice raw, uint32_t line,
                uint32_t column)
{
    struct token t = {.kind = kind, .len = text.len, .line = line, .column = column};
    char *copy = arena_copy_slice(l->arena, text);
    t.raw = raw.ptr == text.ptr ? copy : arena_copy_slice(l->arena, raw);
    if (kind == TOKEN_WORD) {
        t.raw = arena_copy_slice(l->arena, raw);
        for (char *c = copy; *c; c++)
            if (*c >= 'A' && *c <= 'Z')
                *c += 'a' - 'A';
    }
    t.text = copy;
    VEC_PUSH(&l->tokens, t);
}

static bool quoted(struct lexer *l, uint8_t quote, enum token_kind kind, bool escapes)
{
    uint32_t line = l->line, column = l->column;
    const uint8_t *from = l->p;
    struct writer w = WRITER_INIT;
    step(l);
    for (;;) {
        if (l->p == l->end) {
            writer_free(&w);
            return refuse(l, line, column,
                          quote == '\'' ? "Unterminated string literal"
                                        : "Expected close delimiter '\\\"' before EOF.");
        }
        uint8_t c = *l->p;
        if (c == quote && at(l, 1) != quote)
            break;
        if (c == quote) {
            step(l);
        } else if (escapes && c == '\\' && l->p + 1 < l->end) {
            step(l);
            c = *l->p;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
        write_u8(&w, c);
        step(l);
    }
    step(l);
    struct slice text = writer_slice(&w);
    bool clean = slice_find(text, 0, 0) < 0;
    if (clean)
        add(l, kind, text, slice_make(from, (size_t)(l->p - from)), line, column);
    writer_free(&w);
    return clean || refuse(l, line, column, "Text must not contain NUL");
}

static bool number(struct lexer *l)
{
    uint32_t line = l->line, column = l->column;
    const uint8_t *from = l->p;
    while (digit(at(l, 0)))
        step(l);
    if (at(l, 0) == '.' && at(l, 1) != '.') {
        step(l);
        while (digit(at(l, 0)))
            step(l);
    }
    int sign = at(l, 1) == '+' || at(l, 1) == '-';
    if ((at(l, 0) == 'e' || at(l, 0) == 'E') && digit(at(l, 1 + (size_t)sign))) {
        step(l);
        if (sign)
            step(l);
        while (digit(at(l, 0)))
            step(l);
    }
    struct slice text = slice_make(from, (size_t)(l->p - from));
    if (text.len > 100)
        return refuse(l, line, column, "Number is too long");
    add(l, TOKEN_NUMBER, text, text, line, column);
    return true;
}

static bool symbol(struct lexer *l)
{
    static const char *const symbols[] = {"->>", "!~*", "<=>", "::", "->", "~*", "!~", "<=", ">=",
                                          "<>",  "!=",  "==",  "||", "<<", ">>", "(",  ")",  ",",
                                          ".",   ";",   "+",   "-",  "*",  "/",  "%",  "=",  "<",
                                          ">",   "[",   "]",   "~",  "&",  "|",  "#",  "^",  ":"};
    struct slice left = slice_make(l->p, (size_t)(l->end - l->p));
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        struct slice s = slice_cstr(symbols[i]);
        if (!slice_starts_with(left, s))
            continue;
        add(l, TOKEN_SYMBOL, s, s, l->line, l->column);
        for (size_t n = 0; n < s.len; n++)
            step(l);
        return true;
    }
    char what[64];
    size_t n = utf8_sequence(l->p, left.len);
    snprintf(what, sizeof(what), "Unexpected character %.*s", (int)MAX(n, (size_t)1), (const char *)l->p);
    return refuse(l, l->line, l->column, what);
}

static bool parameter(struct lexer *l)
{
    uint32_t line = l->line, column = l->column;
    step(l);
    const uint8_t *from = l->p;
    while (l->p < l->end && digit(*l->p))
        step(l);
    struct slice text = slice_make(from, (size_t)(l->p - from));
    add(l, TOKEN_PARAMETER, text, text, line, column);
    return true;
}

static bool next(struct lexer *l)
{
    int c = at(l, 0);
    if (c == '\'')
        return quoted(l, '\'', TOKEN_STRING, false);
    if ((c == 'e' || c == 'E') && at(l, 1) == '\'') {
        step(l);
        return quoted(l, '\'', TOKEN_STRING, true);
    }
    if (c == '"')
        return quoted(l, '"', TOKEN_QUOTED, false);
    if (digit(c) || (c == '.' && digit(at(l, 1))))
        return number(l);
    if (c == '$' && digit(at(l, 1)))
        return parameter(l);
    if (!word_start(c))
        return symbol(l);
    uint32_t line = l->line, column = l->column;
    const uint8_t *from = l->p;
    while (l->p < l->end && (word_start(*l->p) || digit(*l->p) || *l->p == '$'))
        step(l);
    struct slice text = slice_make(from, (size_t)(l->p - from));
    add(l, TOKEN_WORD, text, text, line, column);
    return true;
}

bool sql_tokenize(struct arena *a, struct slice sql, struct token **out, size_t *n, struct sql_error *err)
{
    struct lexer l = {.arena = a, .p = sql.ptr, .end = sql.ptr + sql.len, .line = 1, .column = 1, .err = err};
    bool ok = slice_is_utf8(sql) ||
              sql_fail(err, SQL_ERROR_PARSE, "SQL error: TokenizerError(\"the statement is not UTF-8\")");
    while (ok && (ok = skip(&l)) && l.p < l.end) {
        ok = next(&l);
        if (ok && l.tokens.len > TOKENS_MAX)
            ok = refuse(&l, l.line, l.column, "The statement has too many words");
    }
    if (ok) {
        add(&l, TOKEN_END, SLICE_LIT("EOF"), SLICE_LIT("EOF"), l.line, l.column);
        *out = arena_array(a, struct token, l.tokens.len);
        memcpy(*out, l.tokens.items, l.tokens.len * sizeof(struct token));
        *n = l.tokens.len;
    }
    VEC_FREE(&l.tokens);
    return ok;
}
