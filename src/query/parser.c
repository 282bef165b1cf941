/* Queries and statements (query/sql.h). Expressions are in parser_expr.c and parser_primary.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/parser.h"

/* ---- tokens ---- */

const struct token *peek_at(const struct parser *p, size_t n)
{
    size_t i = p->at;
    while (n-- && p->tokens[i].kind != TOKEN_END)
        i++;
    return &p->tokens[i];
}

bool at_word(const struct parser *p, const char *word)
{
    return token_is(peek(p), TOKEN_WORD, word);
}

bool at_symbol(const struct parser *p, const char *symbol)
{
    return token_is(peek(p), TOKEN_SYMBOL, symbol);
}

bool take_word(struct parser *p, const char *word)
{
    bool is = at_word(p, word);
    p->at += is;
    return is;
}

bool take_symbol(struct parser *p, const char *symbol)
{
    bool is = at_symbol(p, symbol);
    p->at += is;
    return is;
}

bool take_words(struct parser *p, const char *first, const char *second)
{
    bool are = at_word(p, first) && token_is(peek_at(p, 1), TOKEN_WORD, second);
    p->at += are ? 2 : 0;
    return are;
}

bool parse_refuse(struct parser *p, const char *what)
{
    const struct token *t = peek(p);
    return sql_fail(p->err, SQL_ERROR_PARSE,
                    "SQL error: ParserError(\"Expected: %s, found: %.200s at Line: %u, Column: %u\")", what,
                    t->raw, t->line, t->column);
}

bool expect_symbol(struct parser *p, const char *symbol)
{
    return take_symbol(p, symbol) || parse_refuse(p, symbol);
}

bool expect_word(struct parser *p, const char *word)
{
    char upper[24];
    size_t n = 0;
    for (; word[n] && n < sizeof(upper) - 1; n++)
        upper[n] = (char)(word[n] >= 'a' && word[n] <= 'z' ? word[n] - 'a' + 'A' : word[n]);
    upper[n] = '\0';
    return take_word(p, word) || parse_refuse(p, upper);
}

bool parse_enter(struct parser *p)
{
    if (p->depth >= SQL_DEPTH_MAX)
        return sql_fail(p->err, SQL_ERROR_PARSE, "SQL error: RecursionLimitExceeded");
    p->depth++;
    return true;
}

bool word_reserved(const char *word)
{
    static const char *const words[] = {
        "and",    "as",        "asc",   "between", "case",     "cross",   "desc",   "else",    "end",
        "except", "fetch",     "for",   "from",    "full",     "group",   "having", "ilike",   "in",
        "inner",  "intersect", "is",    "join",    "lateral",  "like",    "limit",  "natural", "not",
        "nulls",  "offset",    "on",    "or",      "order",    "qualify", "select", "similar", "tablesample",
        "then",   "union",     "using", "values",  "when",     "where",   "window", "with",    "filter",
        "over",   "outer",     "left",  "right",   "distinct", "escape",  "set",
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

const char *take_name(struct parser *p)
{
    const struct token *t = peek(p);
    if (t->kind == TOKEN_QUOTED || (t->kind == TOKEN_WORD && !word_reserved(t->text))) {
        p->at++;
        return t->text;
    }
    return NULL;
}

/* [AS] name. AS makes every word a name. False: error. */
static bool parse_alias(struct parser *p, const char **out)
{
    if (!take_word(p, "as")) {
        *out = take_name(p);
        return true;
    }
    const struct token *t = peek(p);
    if (t->kind != TOKEN_WORD && t->kind != TOKEN_QUOTED)
        return parse_refuse(p, "an identifier after AS");
    *out = t->text;
    p->at++;
    return true;
}

/* (a, b, c) after an alias. */
static bool parse_names(struct parser *p, const char ***out, size_t *n)
{
    struct {
        const char **items;
        size_t len, cap;
    } list = {0};
    bool ok = expect_symbol(p, "(");
    while (ok) {
        const char *name = take_name(p);
        ok = name || parse_refuse(p, "identifier");
        if (ok)
            VEC_PUSH(&list, name);
        if (ok && !take_symbol(p, ","))
            break;
    }
    ok = ok && expect_symbol(p, ")");
    if (ok) {
        *out = arena_array(p->arena, const char *, list.len);
        memcpy(*out, list.items, list.len * sizeof(const char *));
        *n = list.len;
    }
    VEC_FREE(&list);
    return ok;
}

/* ---- FROM ---- */

static struct from_item *parse_from(struct parser *p);

static bool parse_table_name(struct parser *p, struct from_item *f)
{
    const char *parts[3] = {0};
    size_t n = 0;
    do {
        if (n == 3 || !(parts[n++] = take_name(p)))
            return parse_refuse(p, "identifier");
    } while (take_symbol(p, "."));
    if (n == 3 && strcmp(parts[0], "restate") != 0)
        return sql_fail(p->err, SQL_ERROR_PLAN_POSITION, "table '%s.%s.%s' not found", parts[0], parts[1],
                        parts[2]);
    f->name = parts[n - 1];
    f->schema = n > 1 ? parts[n - 2] : NULL;
    return !at_symbol(p, "(") ||
           sql_fail(p->err, SQL_ERROR_PLAN_POSITION, "table function '%s' not found", f->name);
}

static struct from_item *parse_from_primary(struct parser *p)
{
    struct from_item *f = arena_alloc(p->arena, sizeof(*f));
    if (take_symbol(p, "(")) {
        if (at_word(p, "select") || at_word(p, "with") || at_word(p, "values")) {
            f->kind = FROM_QUERY;
            if (!(f->query = parse_query(p)))
                return NULL;
        } else {
            if (!(f = parse_from(p)))
                return NULL;
            return expect_symbol(p, ")") ? f : NULL;
        }
        if (!expect_symbol(p, ")"))
            return NULL;
    } else if (take_word(p, "lateral")) {
        sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "LATERAL");
        return NULL;
    } else if (!parse_table_name(p, f)) {
        return NULL;
    }
    if (!parse_alias(p, &f->alias))
        return NULL;
    if (f->alias && at_symbol(p, "(") && !parse_names(p, &f->column_aliases, &f->n_column_aliases))
        return NULL;
    return f;
}

static bool parse_join_kind(struct parser *p, struct from_item *j)
{
    if (take_symbol(p, ",")) {
        j->join = JOIN_COMMA;
        return true;
    }
    j->natural = take_word(p, "natural");
    if (take_word(p, "cross"))
        j->join = JOIN_CROSS;
    else if (take_word(p, "left"))
        j->join = JOIN_LEFT;
    else if (take_word(p, "right"))
        j->join = JOIN_RIGHT;
    else if (take_word(p, "full"))
        j->join = JOIN_FULL;
    else
        j->join = JOIN_INNER;
    if (j->join == JOIN_INNER)
        take_word(p, "inner");
    if (j->join >= JOIN_LEFT)
        take_word(p, "outer");
    return expect_word(p, "join");
}

static bool at_join(const struct parser *p)
{
    static const char *const words[] = {"join", "inner", "left", "right", "full", "cross", "natural"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (at_word(p, words[i]))
            return true;
    return at_symbol(p, ",");
}

static struct from_item *parse_from(struct parser *p)
{
    if (!parse_enter(p))
        return NULL;
    struct from_item *left = parse_from_primary(p);
    for (unsigned joins = 0; left && at_join(p); joins++) {
        struct from_item *j = arena_alloc(p->arena, sizeof(*j));
        j->kind = FROM_JOIN;
        j->left = left;
        left = NULL;
        if (joins > 30) {
            sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "more than 30 joins");
            break;
        }
        if (!parse_join_kind(p, j) || !(j->right = parse_from_primary(p)))
            break;
        if (take_word(p, "on")) {
            if (!(j->on = parse_expr(p)))
                break;
        } else if (take_word(p, "using")) {
            if (!parse_names(p, &j->using_names, &j->n_using))
                break;
        } else if (j->join >= JOIN_LEFT && !j->natural) {
            parse_refuse(p, "ON, or USING after JOIN");
            break;
        }
        left = j;
    }
    p->depth--;
    return left;
}

/* ---- SELECT ---- */

bool parse_order(struct parser *p, struct order_list *out)
{
    struct {
        struct order_item *items;
        size_t len, cap;
    } list = {0};
    bool ok = expect_word(p, "order") && expect_word(p, "by");
    while (ok) {
        struct order_item o = {.expr = parse_expr(p)};
        ok = o.expr != NULL;
        o.descending = take_word(p, "desc");
        if (!o.descending)
            take_word(p, "asc");
        if (ok && take_word(p, "nulls")) {
            o.nulls_given = true;
            o.nulls_first = take_word(p, "first");
            ok = o.nulls_first || expect_word(p, "last");
        }
        if (!o.nulls_given)
            o.nulls_first = o.descending; /* spec/sql.md §11.2 item 1 */
        if (ok)
            VEC_PUSH(&list, o);
        if (!ok || !take_symbol(p, ","))
            break;
    }
    if (ok) {
        out->items = arena_array(p->arena, struct order_item, list.len);
        memcpy(out->items, list.items, list.len * sizeof(struct order_item));
        out->n = list.len;
    }
    VEC_FREE(&list);
    return ok;
}

static bool parse_items(struct parser *p, struct select *s)
{
    struct {
        struct select_item *items;
        size_t len, cap;
    } list = {0};
    bool ok = true;
    do {
        struct select_item item = {.expr = parse_expr(p)};
        ok = item.expr && parse_alias(p, &item.alias);
        if (ok)
            VEC_PUSH(&list, item);
    } while (ok && take_symbol(p, ","));
    if (ok) {
        s->items = arena_array(p->arena, struct select_item, list.len);
        memcpy(s->items, list.items, list.len * sizeof(struct select_item));
        s->n_items = list.len;
    }
    VEC_FREE(&list);
    return ok;
}

static struct select *parse_core(struct parser *p)
{
    struct select *s = arena_alloc(p->arena, sizeof(*s));
    p->at++;
    s->distinct = take_word(p, "distinct");
    if (s->distinct && take_word(p, "on")) {
        s->distinct = false;
        if (!expect_symbol(p, "(") || !(s->distinct_on = parse_exprs(p, &s->n_distinct_on)) ||
            !expect_symbol(p, ")"))
            return NULL;
    }
    if (!s->distinct && !s->distinct_on)
        take_word(p, "all");
    if (!parse_items(p, s))
        return NULL;
    if (take_word(p, "from") && !(s->from = parse_from(p)))
        return NULL;
    if (take_word(p, "where") && !(s->where = parse_expr(p)))
        return NULL;
    if (take_words(p, "group", "by")) {
        if (at_word(p, "rollup") || at_word(p, "cube") || at_word(p, "grouping")) {
            sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "grouping sets");
            return NULL;
        }
        if (!(s->group_by = parse_exprs(p, &s->n_group_by)))
            return NULL;
    }
    if (take_word(p, "having") && !(s->having = parse_expr(p)))
        return NULL;
    if (at_word(p, "qualify") || at_word(p, "window")) {
        sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "%s", peek(p)->raw);
        return NULL;
    }
    return s;
}

static struct select *parse_values(struct parser *p)
{
    struct select *s = arena_alloc(p->arena, sizeof(*s));
    struct {
        struct expr ***items;
        size_t len, cap;
    } rows = {0};
    p->at++;
    bool ok = true;
    do {
        size_t n = 0;
        struct expr **row = NULL;
        ok = expect_symbol(p, "(") && (row = parse_exprs(p, &n)) && expect_symbol(p, ")");
        if (ok && rows.len && n != s->values_width)
            ok = sql_fail(
                p->err, SQL_ERROR_PLAN,
                "Inconsistent data length across values list: got %zu values in row %zu but expected %zu", n,
                rows.len, s->values_width);
        s->values_width = n;
        if (ok)
            VEC_PUSH(&rows, row);
    } while (ok && take_symbol(p, ","));
    if (ok) {
        s->values = arena_array(p->arena, struct expr **, rows.len);
        memcpy(s->values, rows.items, rows.len * sizeof(struct expr **));
        s->n_values = rows.len;
    }
    VEC_FREE(&rows);
    return ok ? s : NULL;
}

static struct select *parse_operand(struct parser *p)
{
    if (at_word(p, "select"))
        return parse_core(p);
    if (at_word(p, "values"))
        return parse_values(p);
    if (take_symbol(p, "(")) {
        struct select *s = parse_query(p);
        return s && expect_symbol(p, ")") ? s : NULL;
    }
    parse_refuse(p, "SELECT, VALUES, or a subquery in the query body");
    return NULL;
}

/* INTERSECT binds tighter than UNION and EXCEPT. */
static struct select *parse_set(struct parser *p, bool intersect)
{
    if (!parse_enter(p))
        return NULL;
    struct select *left = intersect ? parse_operand(p) : parse_set(p, true);
    for (unsigned n = 0; left; n++) {
        enum set_op op = SET_NONE;
        if (intersect)
            op = take_word(p, "intersect") ? SET_INTERSECT : SET_NONE;
        else if (take_word(p, "union"))
            op = SET_UNION;
        else if (take_word(p, "except"))
            op = SET_EXCEPT;
        if (op == SET_NONE)
            break;
        struct select *s = arena_alloc(p->arena, sizeof(*s));
        s->set_op = op;
        s->set_all = take_word(p, "all");
        if (!s->set_all)
            take_word(p, "distinct");
        s->left = left;
        s->right = intersect ? parse_operand(p) : parse_set(p, true);
        left = s->right && n < SQL_DEPTH_MAX ? s : NULL;
        if (s->right && !left)
            sql_fail(p->err, SQL_ERROR_PARSE, "SQL error: RecursionLimitExceeded");
    }
    p->depth--;
    return left;
}

static bool parse_with(struct parser *p, struct cte **out, size_t *n)
{
    struct {
        struct cte *items;
        size_t len, cap;
    } list = {0};
    bool ok = true, recursive = take_word(p, "recursive");
    while (ok) {
        struct cte c = {.name = take_name(p), .recursive = recursive};
        ok = c.name || parse_refuse(p, "identifier");
        if (ok && at_symbol(p, "("))
            ok = parse_names(p, &c.column_aliases, &c.n_column_aliases);
        ok = ok && expect_word(p, "as") && expect_symbol(p, "(") && (c.query = parse_query(p)) &&
             expect_symbol(p, ")");
        if (ok)
            VEC_PUSH(&list, c);
        if (!ok || !take_symbol(p, ","))
            break;
    }
    if (ok) {
        *out = arena_array(p->arena, struct cte, list.len);
        memcpy(*out, list.items, list.len * sizeof(struct cte));
        *n = list.len;
    }
    VEC_FREE(&list);
    return ok;
}

static bool parse_limits(struct parser *p, struct select *s)
{
    for (;;) {
        if (take_word(p, "limit")) {
            if (!take_word(p, "all") && !(s->limit = parse_expr(p)))
                return false;
        } else if (take_word(p, "offset")) {
            if (!(s->offset = parse_expr(p)))
                return false;
            if (!take_word(p, "rows"))
                take_word(p, "row");
        } else if (take_words(p, "for", "update")) {
            continue; /* everything is read only */
        } else {
            return true;
        }
    }
}

/* SELECT * FROM (q), to put another WITH, ORDER BY or LIMIT around it. */
static struct select *wrapped(struct parser *p, struct select *q)
{
    struct select *s = arena_alloc(p->arena, sizeof(*s));
    s->items = arena_array(p->arena, struct select_item, 1);
    s->items[0].expr = expr_new(p, E_STAR);
    s->n_items = 1;
    s->from = arena_alloc(p->arena, sizeof(*s->from));
    s->from->kind = FROM_QUERY;
    s->from->query = q;
    return s;
}

struct select *parse_query(struct parser *p)
{
    if (!parse_enter(p))
        return NULL;
    struct cte *ctes = NULL;
    size_t n_ctes = 0;
    struct select *s = NULL;
    if (!take_word(p, "with") || parse_with(p, &ctes, &n_ctes))
        s = parse_set(p, false);
    bool more = n_ctes || at_word(p, "order") || at_word(p, "limit") || at_word(p, "offset");
    if (s && more && (s->n_ctes || s->order.n || s->limit || s->offset))
        s = wrapped(p, s);
    if (s && n_ctes) {
        s->ctes = ctes;
        s->n_ctes = n_ctes;
    }
    if (s && ((at_word(p, "order") && !parse_order(p, &s->order)) || !parse_limits(p, s)))
        s = NULL;
    if (s && at_word(p, "fetch")) {
        sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "FETCH clause is not supported");
        s = NULL;
    }
    p->depth--;
    return s;
}

/* ---- statements ---- */

static bool parse_text(struct parser *p, struct statement *out, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static bool parse_text(struct parser *p, struct statement *out, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct parser inner = {.arena = p->arena, .context = p->context, .err = p->err};
    struct token *tokens;
    size_t n;
    if (!sql_tokenize(p->arena, slice_cstr(text), &tokens, &n, p->err))
        return false;
    inner.tokens = tokens;
    out->query = parse_query(&inner);
    return out->query != NULL;
}

/* The columns of a table; a table that is not there is an error. */
static bool parse_describe(struct parser *p, struct statement *out, const char *columns)
{
    struct from_item f = {0};
    if (!parse_table_name(p, &f))
        return false;
    struct slice schema = f.schema ? slice_cstr(f.schema) : SLICE_EMPTY;
    const struct sql_table *t = sql_table_find(p->context, schema, slice_cstr(f.name));
    if (!t)
        return sql_fail(p->err, SQL_ERROR_PLAN_POSITION, "table 'restate.%s.%.200s' not found",
                        f.schema ? f.schema : "public", f.name);
    return parse_text(p, out,
                      "select %s from information_schema.columns where table_name = '%s' order by "
                      "ordinal_position",
                      columns, t->name);
}

static bool parse_show(struct parser *p, struct statement *out)
{
    if (take_word(p, "tables"))
        return parse_text(p, out, "select * from information_schema.tables");
    if (take_word(p, "columns"))
        return (take_word(p, "from") || expect_word(p, "in")) &&
               parse_describe(p, out,
                              "table_catalog, table_schema, table_name, column_name, data_type, is_nullable");
    return sql_fail(p->err, SQL_ERROR_NOT_IMPLEMENTED, "SHOW %.100s", peek(p)->raw);
}

/* What changes data or definitions, in the reference's words. */
static bool refuse_write(struct parser *p)
{
    static const struct {
        const char *first, *second, *message;
    } writes[] = {
        {"create", "table", "DDL not supported: CreateMemoryTable"},
        {"create", "view", "DDL not supported: CreateView"},
        {"create", "external", "DDL not supported: CreateExternalTable"},
        {"create", "schema", "DDL not supported: CreateCatalogSchema"},
        {"create", "database", "DDL not supported: CreateCatalog"},
        {"create", "index", "DDL not supported: CreateIndex"},
        {"create", "function", "DDL not supported: CreateFunction"},
        {"create", NULL, "DDL not supported: Create"},
        {"drop", "table", "DDL not supported: DropTable"},
        {"drop", "view", "DDL not supported: DropView"},
        {"drop", NULL, "DDL not supported: Drop"},
        {"alter", NULL, "DDL not supported: Alter"},
        {"truncate", NULL, "DML not supported: Truncate"},
        {"insert", NULL, "DML not supported: Insert Into"},
        {"update", NULL, "DML not supported: Update"},
        {"delete", NULL, "DML not supported: Delete"},
        {"copy", NULL, "DML not supported: COPY"},
        {"begin", NULL, "Statement not supported: TransactionStart"},
        {"start", NULL, "Statement not supported: TransactionStart"},
        {"commit", NULL, "Statement not supported: TransactionEnd"},
        {"rollback", NULL, "Statement not supported: TransactionEnd"},
        {"prepare", NULL, "Statement not supported: Prepare"},
        {"execute", NULL, "Statement not supported: Execute"},
        {"deallocate", NULL, "Statement not supported: Deallocate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        if (at_word(p, writes[i].first) &&
            (!writes[i].second || token_is(peek_at(p, 1), TOKEN_WORD, writes[i].second)))
            return !sql_fail(p->err, SQL_ERROR_PLAN, "%s", writes[i].message);
    return false;
}

static bool parse_statement(struct parser *p, struct statement *out)
{
    if (peek(p)->kind == TOKEN_END)
        return sql_fail(p->err, SQL_ERROR_PLAN, "No SQL statements were provided in the query string");
    if (refuse_write(p))
        return false;
    if (take_word(p, "describe") || take_word(p, "desc"))
        return parse_describe(p, out, "column_name, data_type, is_nullable");
    if (take_word(p, "show"))
        return parse_show(p, out);
    if (take_word(p, "set") || take_word(p, "reset")) {
        out->kind = STATEMENT_SET;
        while (peek(p)->kind != TOKEN_END && !at_symbol(p, ";"))
            p->at++;
        return true;
    }
    if (take_word(p, "explain")) {
        out->kind = STATEMENT_EXPLAIN;
        take_word(p, "analyze");
        take_word(p, "verbose");
    }
    if (!at_word(p, "select") && !at_word(p, "with") && !at_word(p, "values") && !at_symbol(p, "("))
        return parse_refuse(p, "an SQL statement");
    out->query = parse_query(p);
    return out->query != NULL;
}

bool sql_parse(struct arena *a, struct slice sql, enum sql_context context, struct statement *out,
               struct sql_error *err)
{
    struct parser p = {.arena = a, .context = context, .err = err};
    struct token *tokens;
    size_t n;
    *out = (struct statement){0};
    if (!sql_tokenize(a, sql, &tokens, &n, err))
        return false;
    p.tokens = tokens;
    while (take_symbol(&p, ";"))
        ;
    if (!parse_statement(&p, out))
        return false;
    bool separated = false;
    while (take_symbol(&p, ";"))
        separated = true;
    if (peek(&p)->kind == TOKEN_END)
        return true;
    if (separated)
        return sql_fail(err, SQL_ERROR_NOT_IMPLEMENTED,
                        "The context currently only supports a single SQL statement");
    return parse_refuse(&p, "end of statement");
}
