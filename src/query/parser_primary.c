/* Operands: literals, names, calls, CASE, CAST, subqueries (query/sql.h). */
#include <errno.h>
#include <stdlib.h>

#include "query/parser.h"

/* ---- types ---- */

struct type_name {
    const char *name;
    enum sql_type type;
};
static const struct type_name type_names[] = {
    {"int", SQL_I32},           {"integer", SQL_I32},
    {"int4", SQL_I32},          {"smallint", SQL_I32},
    {"int2", SQL_I32},          {"tinyint", SQL_I32},
    {"bigint", SQL_I64},        {"int8", SQL_I64},
    {"double", SQL_F64},        {"float", SQL_F64},
    {"float8", SQL_F64},        {"float4", SQL_F64},
    {"real", SQL_F64},          {"varchar", SQL_UTF8_VIEW},
    {"text", SQL_UTF8_VIEW},    {"string", SQL_UTF8_VIEW},
    {"char", SQL_UTF8_VIEW},    {"character", SQL_UTF8_VIEW},
    {"boolean", SQL_BOOL},      {"bool", SQL_BOOL},
    {"timestamp", SQL_TIME_NS}, {"timestamptz", SQL_TIME_NS},
    {"datetime", SQL_TIME_NS},  {"date", SQL_DATE},
    {"bytea", SQL_BINARY},      {"varbinary", SQL_BINARY},
    {"interval", SQL_INTERVAL},
};

/* Type modifiers such as varchar(10) say nothing here. */
static bool skip_modifier(struct parser *p)
{
    if (!take_symbol(p, "("))
        return true;
    while (!at_symbol(p, ")")) {
        if (peek(p)->kind == TOKEN_END)
            return expect_symbol(p, ")");
        p->at++;
    }
    p->at++;
    return true;
}

bool parse_type(struct parser *p, enum sql_type *out)
{
    const struct token *t = peek(p);
    for (size_t i = 0; t->kind == TOKEN_WORD && i < ARRAY_LEN(type_names); i++) {
        if (strcmp(t->text, type_names[i].name) != 0)
            continue;
        *out = type_names[i].type;
        p->at++;
        take_word(p, "precision");
        take_word(p, "varying");
        if (!skip_modifier(p))
            return false;
        if (take_word(p, "unsigned"))
            *out = *out == SQL_I64 ? SQL_U64 : SQL_U32;
        if (take_words(p, "with", "time") || take_words(p, "without", "time"))
            return expect_word(p, "zone");
        return true;
    }
    if (t->kind == TOKEN_WORD)
        return sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "Unsupported SQL type %s", t->raw);
    return parse_refuse(p, "a data type name");
}

/* ---- literals ---- */

static struct expr *parse_number(struct parser *p)
{
    struct expr *e = expr_new(p, E_INT);
    const char *text = peek(p)->text;
    p->at++;
    if (!strpbrk(text, ".eE")) {
        errno = 0;
        unsigned long long v = strtoull(text, NULL, 10);
        e->integer = (int64_t)v;
        if (errno == 0 && v > INT64_MAX)
            e->kind = E_UINT;
        if (errno == 0)
            return e;
    }
    e->kind = E_FLOAT;
    e->real = strtod(text, NULL);
    return e;
}

static struct expr *parse_string(struct parser *p)
{
    struct expr *e = expr_new(p, E_STRING);
    e->text = slice_make(peek(p)->text, peek(p)->len);
    p->at++;
    return e;
}

static const char *const interval_units[] = {
    "year", "years", "month",  "months",  "week",   "weeks",   "day",         "days",
    "hour", "hours", "minute", "minutes", "second", "seconds", "millisecond", "milliseconds"};

static struct expr *parse_interval(struct parser *p)
{
    struct expr *e = expr_new(p, E_INTERVAL);
    p->at++;
    bool negative = take_symbol(p, "-");
    const struct token *t = peek(p);
    if (t->kind != TOKEN_STRING && t->kind != TOKEN_NUMBER) {
        parse_refuse(p, "a literal after INTERVAL");
        return NULL;
    }
    p->at++;
    const char *unit = NULL;
    for (size_t i = 0; i < ARRAY_LEN(interval_units); i++)
        if (take_word(p, interval_units[i]))
            unit = interval_units[i];
    e->text = slice_make(t->text, t->len);
    if (!sql_interval_parse(e->text, unit, &e->interval)) {
        sql_fail(p->err, SQL_ERROR_EXECUTION,
                 "Arrow error: Parser error: Invalid input syntax for type interval: \"%.200s\"", t->text);
        return NULL;
    }
    if (negative)
        e->interval = (struct sql_interval){-e->interval.months, -e->interval.days, -e->interval.ns};
    return e;
}

/* TIMESTAMP '...', DATE '...' */
static struct expr *parse_typed_literal(struct parser *p)
{
    bool date = at_word(p, "date");
    struct expr *e = expr_new(p, date ? E_DATE : E_TIME);
    const struct token *t = peek_at(p, 1);
    p->at += 2;
    e->text = slice_make(t->text, t->len);
    int32_t days = 0;
    bool ok = date ? sql_date_parse(e->text, &days) : sql_time_parse(e->text, &e->integer);
    if (date)
        e->integer = days;
    if (ok)
        return e;
    sql_fail(p->err, SQL_ERROR_EXECUTION, "Arrow error: Parser error: Error parsing %s from '%.200s'",
             date ? "date" : "timestamp", t->text);
    return NULL;
}

/* ---- special forms ---- */

static struct expr *wrap(struct parser *p, enum expr_kind kind, struct expr *x)
{
    struct expr *e = expr_new(p, kind);
    e->args = arena_array(p->arena, struct expr *, 1);
    e->args[0] = x;
    e->n_args = 1;
    return e;
}

static struct expr *parse_cast(struct parser *p)
{
    bool try = at_word(p, "try_cast");
    p->at++;
    if (!expect_symbol(p, "("))
        return NULL;
    struct expr *x = parse_expr(p);
    if (!x || !expect_word(p, "as"))
        return NULL;
    struct expr *e = wrap(p, E_CAST, x);
    e->cast_try = try;
    return parse_type(p, &e->cast_type) && expect_symbol(p, ")") ? e : NULL;
}

static struct expr *parse_case(struct parser *p)
{
    struct expr *e = expr_new(p, E_CASE), *x = NULL;
    struct {
        struct expr **items;
        size_t len, cap;
    } list = {0};
    p->at++;
    bool ok = true;
    if (!at_word(p, "when")) {
        e->flag = true;
        ok = (x = parse_expr(p)) != NULL;
        VEC_PUSH(&list, x);
    }
    size_t pairs = 0;
    while (ok && take_word(p, "when")) {
        ok = (x = parse_expr(p)) && expect_word(p, "then");
        VEC_PUSH(&list, x);
        ok = ok && (x = parse_expr(p));
        VEC_PUSH(&list, x);
        pairs++;
    }
    if (ok && pairs == 0)
        ok = expect_word(p, "when");
    if (ok && take_word(p, "else")) {
        ok = (x = parse_expr(p)) != NULL;
        VEC_PUSH(&list, x);
    }
    ok = ok && expect_word(p, "end");
    e->args = arena_array(p->arena, struct expr *, list.len + 1);
    if (list.len)
        memcpy(e->args, list.items, list.len * sizeof(struct expr *));
    e->n_args = list.len;
    VEC_FREE(&list);
    return ok ? e : NULL;
}

static struct expr *parse_subquery(struct parser *p, enum expr_kind kind)
{
    struct expr *e = expr_new(p, kind);
    e->query = parse_query(p);
    return e->query && expect_symbol(p, ")") ? e : NULL;
}

static bool at_query(const struct parser *p)
{
    return at_word(p, "select") || at_word(p, "with") || at_word(p, "values");
}

static struct expr *parse_parenthesis(struct parser *p)
{
    p->at++;
    if (at_query(p))
        return parse_subquery(p, E_SUBQUERY);
    struct expr *e = parse_expr(p);
    if (!e || !expect_symbol(p, ")"))
        return NULL;
    e->parenthesized = true;
    return e;
}

static struct expr *parse_array(struct parser *p)
{
    struct expr *e = expr_new(p, E_ARRAY);
    p->at++;
    if (!expect_symbol(p, "["))
        return NULL;
    if (take_symbol(p, "]"))
        return e;
    e->args = parse_exprs(p, &e->n_args);
    return e->args && expect_symbol(p, "]") ? e : NULL;
}

/* ---- names and calls ---- */

static bool parse_frame(struct parser *p, struct window *w)
{
    static const char *const words[] = {"rows",    "range", "groups",    "between",   "unbounded",
                                        "current", "row",   "preceding", "following", "and"};
    struct writer text = WRITER_INIT;
    for (bool more = true; more;) {
        more = peek(p)->kind == TOKEN_NUMBER && !strpbrk(peek(p)->text, ".eE");
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            more |= at_word(p, words[i]);
        if (!more)
            break;
        write_fmt(&text, "%s%s", text.len ? " " : "", peek(p)->text);
        p->at++;
    }
    if (text.len)
        w->frame = arena_copy_slice(p->arena, writer_slice(&text));
    writer_free(&text);
    return true;
}

static struct window *parse_window(struct parser *p)
{
    struct window *w = arena_alloc(p->arena, sizeof(*w));
    if (!expect_symbol(p, "("))
        return NULL;
    if (take_words(p, "partition", "by") && !(w->partition = parse_exprs(p, &w->n_partition)))
        return NULL;
    if (at_word(p, "order") && !parse_order(p, &w->order))
        return NULL;
    return parse_frame(p, w) && expect_symbol(p, ")") ? w : NULL;
}

static bool parse_arguments(struct parser *p, struct expr *e)
{
    if (take_symbol(p, ")"))
        return true;
    e->distinct = take_word(p, "distinct");
    if (!e->distinct)
        take_word(p, "all");
    if (at_symbol(p, "*")) {
        e->args = arena_array(p->arena, struct expr *, 1);
        e->args[0] = expr_new(p, E_STAR);
        e->n_args = 1;
        p->at++;
    } else if (!(e->args = parse_exprs(p, &e->n_args))) {
        return false;
    }
    if (at_word(p, "order") && !parse_order(p, &e->order))
        return false;
    return expect_symbol(p, ")");
}

/* substring(x from a for b), position(x in y), trim(both x from y): the keywords become commas. */
static struct expr *parse_keyword_call(struct parser *p, struct expr *e)
{
    bool trim = strcmp(e->op, "trim") == 0;
    if (trim && take_word(p, "leading"))
        e->op = "ltrim";
    else if (trim && take_word(p, "trailing"))
        e->op = "rtrim";
    else if (trim)
        take_word(p, "both");
    struct expr *args[3] = {strcmp(e->op, "position") == 0 ? parse_before_in(p) : parse_expr(p)};
    size_t n = 1;
    if (args[0] && strcmp(e->op, "substring") == 0 && take_word(p, "for")) { /* from the first character */
        args[n] = expr_new(p, E_INT);
        args[n++]->integer = 1;
        args[n++] = parse_expr(p);
    }
    while (args[n - 1] && n < 3 &&
           (take_symbol(p, ",") || take_word(p, "from") || take_word(p, "for") || take_word(p, "in")))
        args[n++] = parse_expr(p);
    if (!args[n - 1] || !expect_symbol(p, ")"))
        return NULL;
    e->args = arena_array(p->arena, struct expr *, 3);
    memcpy(e->args, args, sizeof(args));
    e->n_args = n;
    if (trim && n == 2 && e->flag) { /* trim(x from y) is trim(y, x) */
        e->args[0] = args[1];
        e->args[1] = args[0];
    }
    return e;
}

/* Does FROM, FOR or IN stand at the top level of these parentheses? */
static bool keyword_arguments(const struct parser *p)
{
    unsigned depth = 0;
    for (size_t i = 0;; i++) {
        const struct token *t = peek_at(p, i);
        if (t->kind == TOKEN_END || (token_is(t, TOKEN_SYMBOL, ")") && depth-- == 0))
            return false;
        if (token_is(t, TOKEN_SYMBOL, "("))
            depth++;
        if (depth == 0 && (token_is(t, TOKEN_WORD, "from") || token_is(t, TOKEN_WORD, "for") ||
                           token_is(t, TOKEN_WORD, "in")))
            return true;
    }
}

struct expr *parse_call(struct parser *p)
{
    struct expr *e = expr_new(p, E_CALL);
    e->op = peek(p)->text;
    p->at += 2; /* name and parenthesis */
    bool keywords =
        strcmp(e->op, "substring") == 0 || strcmp(e->op, "position") == 0 || strcmp(e->op, "trim") == 0;
    if (keywords && keyword_arguments(p)) {
        e->flag = true;
        if (!parse_keyword_call(p, e))
            return NULL;
    } else if (!parse_arguments(p, e)) {
        return NULL;
    }
    if (take_word(p, "filter")) {
        if (!expect_symbol(p, "(") || !expect_word(p, "where") || !(e->filter = parse_expr(p)) ||
            !expect_symbol(p, ")"))
            return NULL;
    }
    if (take_word(p, "over") && !(e->window = parse_window(p)))
        return NULL;
    return e;
}

static struct expr *parse_column(struct parser *p)
{
    struct expr *e = expr_new(p, E_COLUMN);
    do {
        if (e->n_names > 0 && at_symbol(p, "*")) {
            e->kind = E_STAR;
            e->names[0] = e->names[e->n_names - 1];
            e->n_names = 1;
            p->at++;
            return e;
        }
        const struct token *t = peek(p);
        if ((t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED) || e->n_names == ARRAY_LEN(e->names)) {
            parse_refuse(p, "an identifier");
            return NULL;
        }
        e->names[e->n_names++] = t->text;
        p->at++;
    } while (take_symbol(p, "."));
    return e;
}

static struct expr *parse_word(struct parser *p)
{
    const struct token *t = peek(p), *next = peek_at(p, 1);
    struct expr *e;
    if (take_word(p, "null"))
        return expr_new(p, E_NULL);
    if (at_word(p, "true") || at_word(p, "false")) {
        e = expr_new(p, E_BOOL);
        e->integer = at_word(p, "true");
        p->at++;
        return e;
    }
    if (at_word(p, "case"))
        return parse_case(p);
    if ((at_word(p, "cast") || at_word(p, "try_cast")) && token_is(next, TOKEN_SYMBOL, "("))
        return parse_cast(p);
    if (at_word(p, "exists") && token_is(next, TOKEN_SYMBOL, "(")) {
        p->at += 2;
        return parse_subquery(p, E_EXISTS);
    }
    if (at_word(p, "interval") &&
        (next->kind == TOKEN_STRING || next->kind == TOKEN_NUMBER || token_is(next, TOKEN_SYMBOL, "-")))
        return parse_interval(p);
    if ((at_word(p, "timestamp") || at_word(p, "timestamptz") || at_word(p, "date")) &&
        next->kind == TOKEN_STRING)
        return parse_typed_literal(p);
    if (at_word(p, "array") && token_is(next, TOKEN_SYMBOL, "["))
        return parse_array(p);
    if (at_word(p, "current_timestamp") || at_word(p, "current_date")) {
        e = expr_new(p, E_CALL);
        e->op = t->text;
        p->at++;
        if (take_symbol(p, "(") && !expect_symbol(p, ")"))
            return NULL;
        return e;
    }
    if (token_is(next, TOKEN_SYMBOL, "("))
        return parse_call(p);
    if (word_reserved(t->text)) {
        parse_refuse(p, "an expression");
        return NULL;
    }
    return parse_column(p);
}

static struct expr *parse_parameter(struct parser *p)
{
    struct expr *e = expr_new(p, E_NULL);
    e->integer = strtoll(peek(p)->text, NULL, 10);
    if (e->integer == 0) {
        parse_refuse(p, "an expression");
        return NULL;
    }
    p->at++;
    return e;
}

struct expr *parse_primary(struct parser *p)
{
    const struct token *t = peek(p);
    switch (t->kind) {
    case TOKEN_NUMBER:
        return parse_number(p);
    case TOKEN_STRING:
        return parse_string(p);
    case TOKEN_QUOTED:
        return parse_column(p);
    case TOKEN_PARAMETER:
        return parse_parameter(p);
    case TOKEN_WORD:
        return parse_word(p);
    case TOKEN_SYMBOL:
        if (strcmp(t->text, "(") == 0)
            return parse_parenthesis(p);
        if (strcmp(t->text, "*") == 0) {
            p->at++;
            return expr_new(p, E_STAR);
        }
        break;
    case TOKEN_END:
        break;
    }
    parse_refuse(p, "an expression");
    return NULL;
}
