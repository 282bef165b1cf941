/* Expressions: operators by precedence (query/sql.h). */
#include <stdlib.h>

#include "query/parser.h"

enum {
    POWER_OR = 5,
    POWER_AND = 10,
    POWER_NOT = 15,
    POWER_IS = 17,
    POWER_COMPARE = 20,
    POWER_LIKE = 25,
    POWER_OTHER = 30,
    POWER_ADD = 40,
    POWER_MULTIPLY = 50,
    POWER_UNARY = 60,
    POWER_CAST = 70,
};

static struct expr *parse_power(struct parser *p, int power);

struct expr *expr_new(struct parser *p, enum expr_kind kind)
{
    struct expr *e = arena_alloc(p->arena, sizeof(*e));
    e->kind = kind;
    e->line = peek(p)->line;
    e->column = peek(p)->column;
    return e;
}

static void set_args(struct parser *p, struct expr *e, struct expr *a, struct expr *b)
{
    e->args = arena_array(p->arena, struct expr *, 2);
    e->args[0] = a;
    e->args[1] = b;
    e->n_args = b ? 2 : 1;
}

struct expr *parse_expr(struct parser *p)
{
    return parse_power(p, 0);
}

struct expr *parse_before_in(struct parser *p)
{
    return parse_power(p, POWER_LIKE);
}

struct expr **parse_exprs(struct parser *p, size_t *n)
{
    struct {
        struct expr **items;
        size_t len, cap;
    } list = {0};
    struct expr *e;
    do {
        e = parse_expr(p);
        if (e)
            VEC_PUSH(&list, e);
    } while (e && take_symbol(p, ","));
    struct expr **out = NULL;
    if (e) {
        out = arena_array(p->arena, struct expr *, list.len);
        memcpy(out, list.items, list.len * sizeof(struct expr *));
        *n = list.len;
    }
    VEC_FREE(&list);
    return out;
}

/* ---- infix operators ---- */

static int symbol_power(const char *s)
{
    static const struct {
        const char *symbol;
        int power;
    } powers[] = {
        {"=", POWER_COMPARE},  {"==", POWER_COMPARE}, {"!=", POWER_COMPARE}, {"<>", POWER_COMPARE},
        {"<", POWER_COMPARE},  {"<=", POWER_COMPARE}, {">", POWER_COMPARE},  {">=", POWER_COMPARE},
        {"||", POWER_OTHER},   {"->", POWER_OTHER},   {"->>", POWER_OTHER},  {"~", POWER_OTHER},
        {"~*", POWER_OTHER},   {"!~", POWER_OTHER},   {"!~*", POWER_OTHER},  {"&", POWER_OTHER},
        {"|", POWER_OTHER},    {"#", POWER_OTHER},    {"<<", POWER_OTHER},   {">>", POWER_OTHER},
        {"+", POWER_ADD},      {"-", POWER_ADD},      {"*", POWER_MULTIPLY}, {"/", POWER_MULTIPLY},
        {"%", POWER_MULTIPLY}, {"::", POWER_CAST},    {"[", POWER_CAST + 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(powers); i++)
        if (strcmp(powers[i].symbol, s) == 0)
            return powers[i].power;
    return 0;
}

static int infix_power(const struct parser *p)
{
    const struct token *t = peek(p);
    if (t->kind == TOKEN_SYMBOL)
        return symbol_power(t->text);
    if (t->kind != TOKEN_WORD)
        return 0;
    if (strcmp(t->text, "or") == 0)
        return POWER_OR;
    if (strcmp(t->text, "and") == 0)
        return POWER_AND;
    if (strcmp(t->text, "is") == 0)
        return POWER_IS;
    static const char *const like[] = {"between", "in", "like", "ilike", "similar"};
    if (strcmp(t->text, "not") == 0)
        t = peek_at(p, 1);
    for (size_t i = 0; i < ARRAY_LEN(like); i++)
        if (token_is(t, TOKEN_WORD, like[i]))
            return POWER_LIKE;
    return 0;
}

/* a AND b AND c is one node: long chains must not nest. */
static struct expr *parse_chain(struct parser *p, struct expr *first, enum expr_kind kind, const char *word,
                                int power)
{
    struct {
        struct expr **items;
        size_t len, cap;
    } list = {0};
    struct expr *e = expr_new(p, kind), *next = first;
    VEC_PUSH(&list, first);
    while (next && take_word(p, word)) {
        next = parse_power(p, power);
        if (next)
            VEC_PUSH(&list, next);
    }
    if (next) {
        e->args = arena_array(p->arena, struct expr *, list.len);
        memcpy(e->args, list.items, list.len * sizeof(struct expr *));
        e->n_args = list.len;
    }
    VEC_FREE(&list);
    return next ? e : NULL;
}

static struct expr *parse_is(struct parser *p, struct expr *left)
{
    p->at++;
    struct expr *e = expr_new(p, E_IS);
    e->negated = take_word(p, "not");
    if (take_words(p, "distinct", "from")) {
        e->kind = E_IS_DISTINCT;
        struct expr *right = parse_power(p, POWER_COMPARE);
        set_args(p, e, left, right);
        return right ? e : NULL;
    }
    static const char *const words[] = {"null", "true", "false", "unknown"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (take_word(p, words[i])) {
            e->op = words[i];
            set_args(p, e, left, NULL);
            return e;
        }
    }
    parse_refuse(p, "[NOT] NULL | TRUE | FALSE | DISTINCT FROM after IS");
    return NULL;
}

static struct expr *in_items(struct parser *p, struct expr *e, struct expr *left, struct expr **items,
                             size_t n)
{
    e->args = arena_array(p->arena, struct expr *, n + 1);
    e->args[0] = left;
    memcpy(e->args + 1, items, n * sizeof(struct expr *));
    e->n_args = n + 1;
    return e;
}

/* `e` after "(": a query, or NULL if there is none. */
static struct expr *in_query(struct parser *p, struct expr *e, struct expr *left)
{
    e->kind = E_IN_QUERY;
    set_args(p, e, left, NULL);
    e->query = parse_query(p);
    return e->query && expect_symbol(p, ")") ? e : NULL;
}

static bool at_query(const struct parser *p)
{
    return at_word(p, "select") || at_word(p, "with") || at_word(p, "values");
}

static struct expr *parse_in(struct parser *p, struct expr *left, bool negated)
{
    struct expr *e = expr_new(p, E_IN);
    e->negated = negated;
    if (!expect_symbol(p, "("))
        return NULL;
    if (at_query(p))
        return in_query(p, e, left);
    size_t n;
    struct expr **items = parse_exprs(p, &n);
    return items && expect_symbol(p, ")") ? in_items(p, e, left, items, n) : NULL;
}

/* The items of '{a,"b c",NULL}', as drivers write lists into the text; NULL if it is none. */
static struct expr **list_literal(struct parser *p, struct slice text, size_t *n)
{
    if (text.len < 2 || text.ptr[0] != '{' || text.ptr[text.len - 1] != '}')
        return NULL;
    struct expr **items = arena_array(p->arena, struct expr *, text.len);
    size_t at = 1, end = text.len - 1;
    for (*n = 0; at < end || *n; at++) {
        char *item = arena_alloc(p->arena, end - at + 1);
        bool quoted = text.ptr[at] == '"' && at < end, open = quoted;
        size_t len = 0;
        for (at += quoted; at < end && (open || text.ptr[at] != ','); at++) {
            if (open && text.ptr[at] == '"') {
                open = false;
                continue;
            }
            if (text.ptr[at] == '\\' && at + 1 < end)
                at++;
            item[len++] = (char)text.ptr[at];
        }
        struct expr *e = expr_new(
            p, !quoted && slice_eq_nocase(slice_make(item, len), SLICE_LIT("null")) ? E_NULL : E_STRING);
        e->text = slice_make(item, len);
        items[(*n)++] = e;
        if (at >= end)
            break;
    }
    return items;
}

/* x = ANY (...), x <> ALL (...): what IN and NOT IN, or array_has, say. */
static struct expr *parse_quantified(struct parser *p, struct expr *left, const char *op, bool all)
{
    bool equal = strcmp(op, "=") == 0 || strcmp(op, "==") == 0;
    if (equal ? all : !(all && (strcmp(op, "<>") == 0 || strcmp(op, "!=") == 0))) {
        sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "%s %s", op, all ? "ALL" : "ANY");
        return NULL;
    }
    struct expr *e = expr_new(p, E_IN);
    e->negated = !equal;
    p->at += 2; /* the word and its parenthesis */
    if (at_query(p))
        return in_query(p, e, left);
    struct expr *list = parse_expr(p);
    if (!list || !expect_symbol(p, ")"))
        return NULL;
    if (list->kind == E_ARRAY && list->n_args)
        return in_items(p, e, left, list->args, list->n_args);
    const struct expr *literal = list->kind == E_CAST ? list->args[0] : list;
    size_t n;
    struct expr **items = literal->kind == E_STRING ? list_literal(p, literal->text, &n) : NULL;
    if (items && n)
        return in_items(p, e, left, items, n);
    if (items || list->kind == E_ARRAY) { /* nothing is in the empty list */
        e->kind = E_BOOL;
        e->integer = e->negated;
        return e;
    }
    struct expr *has = expr_new(p, E_CALL);
    has->op = "array_has";
    set_args(p, has, list, left);
    if (equal)
        return has;
    e->kind = E_NOT;
    set_args(p, e, has, NULL);
    return e;
}

static struct expr *parse_between(struct parser *p, struct expr *left, bool negated)
{
    struct expr *e = expr_new(p, E_BETWEEN);
    e->negated = negated;
    e->args = arena_array(p->arena, struct expr *, 3);
    e->n_args = 3;
    e->args[0] = left;
    if (!(e->args[1] = parse_power(p, POWER_LIKE)) || !expect_word(p, "and") ||
        !(e->args[2] = parse_power(p, POWER_LIKE)))
        return NULL;
    return e;
}

static struct expr *parse_like(struct parser *p, struct expr *left, bool negated, enum expr_kind kind,
                               bool fold)
{
    struct expr *e = expr_new(p, kind);
    e->negated = negated;
    e->flag = fold;
    struct expr *pattern = parse_power(p, POWER_LIKE);
    if (!pattern)
        return NULL;
    set_args(p, e, left, pattern);
    if (take_word(p, "escape")) {
        const struct token *t = peek(p);
        if (t->kind != TOKEN_STRING || strcmp(t->text, "\\") != 0) {
            sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED,
                     "LIKE does not support escape_char other than the backslash (\\)");
            return NULL;
        }
        p->at++;
    }
    return e;
}

static struct expr *parse_like_family(struct parser *p, struct expr *left)
{
    bool negated = take_word(p, "not");
    if (take_word(p, "in"))
        return parse_in(p, left, negated);
    if (take_word(p, "between"))
        return parse_between(p, left, negated);
    if (take_word(p, "like"))
        return parse_like(p, left, negated, E_LIKE, false);
    if (take_word(p, "ilike"))
        return parse_like(p, left, negated, E_LIKE, true);
    if (take_words(p, "similar", "to"))
        return parse_like(p, left, negated, E_SIMILAR, false);
    parse_refuse(p, "IN, BETWEEN, LIKE, ILIKE or SIMILAR TO");
    return NULL;
}

static struct expr *parse_infix(struct parser *p, struct expr *left, int power)
{
    const struct token *t = peek(p);
    if (power == POWER_OR)
        return parse_chain(p, left, E_OR, "or", POWER_OR);
    if (power == POWER_AND)
        return parse_chain(p, left, E_AND, "and", POWER_AND);
    if (power == POWER_IS)
        return parse_is(p, left);
    if (power == POWER_LIKE)
        return parse_like_family(p, left);
    struct expr *e = expr_new(p, E_BINARY);
    p->at++;
    if (strcmp(t->text, "::") == 0) {
        e->kind = E_CAST;
        set_args(p, e, left, NULL);
        if (!parse_type(p, &e->cast_type))
            return NULL;
        if (at_symbol(p, "[") && token_is(peek_at(p, 1), TOKEN_SYMBOL, "]")) {
            e->flag = true; /* a list: only understood within ANY */
            p->at += 2;
        }
        return e;
    }
    if (power == POWER_COMPARE && (at_word(p, "any") || at_word(p, "some") || at_word(p, "all")) &&
        token_is(peek_at(p, 1), TOKEN_SYMBOL, "("))
        return parse_quantified(p, left, t->text, at_word(p, "all"));
    if (strcmp(t->text, "[") == 0) {
        e->kind = E_SUBSCRIPT;
        struct expr *index = parse_expr(p);
        set_args(p, e, left, index);
        return index && expect_symbol(p, "]") ? e : NULL;
    }
    e->op = strcmp(t->text, "==") == 0 ? "=" : strcmp(t->text, "<>") == 0 ? "!=" : t->text;
    struct expr *right = parse_power(p, power);
    set_args(p, e, left, right);
    return right ? e : NULL;
}

static struct expr *parse_prefix(struct parser *p)
{
    if (at_word(p, "not")) {
        struct expr *e = expr_new(p, E_NOT);
        p->at++;
        struct expr *x = parse_power(p, POWER_NOT);
        if (!x)
            return NULL;
        set_args(p, e, x, NULL);
        return e;
    }
    if (at_symbol(p, "+")) {
        p->at++;
        return parse_power(p, POWER_UNARY);
    }
    if (!at_symbol(p, "-"))
        return parse_primary(p);
    struct expr *e = expr_new(p, E_NEGATE);
    p->at++;
    struct expr *x = parse_power(p, POWER_UNARY);
    if (!x)
        return NULL;
    if (x->kind == E_INT && !x->parenthesized) {
        x->integer = -x->integer;
        return x;
    }
    if (x->kind == E_UINT && (uint64_t)x->integer == UINT64_C(1) << 63) {
        x->kind = E_INT; /* the smallest integer is its own bits */
        return x;
    }
    if (x->kind == E_FLOAT) {
        x->real = -x->real;
        return x;
    }
    set_args(p, e, x, NULL);
    return e;
}

static struct expr *parse_power(struct parser *p, int power)
{
    if (!parse_enter(p))
        return NULL;
    struct expr *e = parse_prefix(p);
    unsigned chain = 0; /* a || b || c ... nests to the left: bounded like everything else */
    while (e) {
        int next = infix_power(p);
        if (next <= power)
            break;
        if (++chain > 8 * SQL_DEPTH_MAX) {
            sql_fail(p->err, SQL_ERROR_PARSE, "SQL error: RecursionLimitExceeded");
            e = NULL;
            break;
        }
        e = parse_infix(p, e, next);
    }
    p->depth--;
    return e;
}
