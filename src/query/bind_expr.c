/* Types of expressions, resolution of columns and calls (query/bind.h). */
#include <stdio.h>

#include "query/bind.h"
#include "wire/id.h"

/* ---- types of two operands ---- */

static enum sql_type common_number(enum sql_type a, enum sql_type b)
{
    if (a == SQL_F64 || b == SQL_F64)
        return SQL_F64;
    if (a == SQL_U64_KEY || b == SQL_U64_KEY)
        return SQL_U64_KEY;
    if (a >= SQL_DECIMAL20 || b >= SQL_DECIMAL20)
        return MAX(a, b) == SQL_DECIMAL21 ? SQL_DECIMAL21 : SQL_DECIMAL20;
    bool a_unsigned = a == SQL_U32 || a == SQL_U64, b_unsigned = b == SQL_U32 || b == SQL_U64;
    if (a_unsigned == b_unsigned)
        return MAX(a, b);
    return a == SQL_U64 || b == SQL_U64 ? SQL_DECIMAL20 : SQL_I64;
}

enum sql_type sql_common_type(enum sql_type a, enum sql_type b)
{
    if (a == b || b == SQL_NULL)
        return a;
    if (a == SQL_NULL)
        return b;
    if (sql_is_text(a) && sql_is_text(b))
        return MAX(a, b);
    if (sql_is_number(a) && sql_is_number(b))
        return common_number(a, b);
    if (sql_is_time(a) && sql_is_time(b)) /* a zone wins over none, a time over a date */
        return MIN(a, b);
    if (sql_is_binary(a) && sql_is_binary(b))
        return SQL_LARGE_BINARY;
    if (sql_is_list(a) && sql_is_list(b))
        return sql_is_text(sql_list_element(a)) ? a : b;
    if ((a == SQL_DURATION_MS && b == SQL_INTERVAL) || (b == SQL_DURATION_MS && a == SQL_INTERVAL))
        return SQL_DURATION_MS;
    enum sql_type text = sql_is_text(a) ? a : b, other = sql_is_text(a) ? b : a;
    if (!sql_is_text(text))
        return SQL_TYPES;
    if (sql_is_time(other) || sql_is_binary(other) || other == SQL_DURATION_MS || other == SQL_INTERVAL)
        return other;
    return sql_is_number(other) ? SQL_UTF8 : SQL_TYPES;
}

enum sql_type sql_compare_type(const struct expr *a, const struct expr *b)
{
    /* A text beside a number is read as a number (spec/sql.md §11.2 item 7). */
    if (sql_is_text(a->type) && sql_is_number(b->type))
        return b->type;
    if (sql_is_text(b->type) && sql_is_number(a->type))
        return a->type;
    return sql_common_type(a->type, b->type);
}

bool expr_is_constant(const struct expr *e)
{
    return e->kind <= E_DATE;
}

bool expr_equal(const struct expr *a, const struct expr *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->kind != b->kind || a->n_args != b->n_args || a->negated != b->negated ||
        a->flag != b->flag || a->distinct != b->distinct || a->integer != b->integer || a->real != b->real ||
        a->query != b->query || a->window != b->window || a->order.n || b->order.n ||
        !slice_eq(a->text, b->text) || (a->kind == E_CAST && a->cast_type != b->cast_type))
        return false;
    if ((a->op || b->op) && (!a->op || !b->op || strcmp(a->op, b->op) != 0))
        return false;
    if (a->kind == E_COLUMN && a->target != b->target)
        return false;
    if ((a->filter || b->filter) && !expr_equal(a->filter, b->filter))
        return false;
    for (size_t i = 0; i < a->n_args; i++)
        if (!expr_equal(a->args[i], b->args[i]))
            return false;
    return true;
}

/* ---- columns ---- */

static void list_fields(const struct scope *s, char *out, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < s->n && at + 80 < cap; i++) {
        const struct bound_column *c = s->columns[i];
        at += (size_t)snprintf(out + at, cap - at, "%s%s%s%.60s", i ? ", " : "",
                               c->qualifier ? c->qualifier : "", c->qualifier ? "." : "", c->name);
    }
    snprintf(out + MIN(at, cap - 2), 2, ".");
}

static const struct bound_column *scope_find(const struct scope *s, const char *qualifier, const char *name,
                                             bool *ambiguous)
{
    const struct bound_column *found = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct bound_column *c = s->columns[i];
        if (strcmp(c->name, name) != 0)
            continue;
        if (qualifier ? !c->qualifier || strcmp(c->qualifier, qualifier) != 0 : c->hidden)
            continue;
        if (found)
            *ambiguous = true;
        found = c;
    }
    return found;
}

static struct expr *output_find(const struct scope *s, const char *name)
{
    for (size_t i = 0; s->outputs && i < s->outputs->n; i++)
        if (s->outputs->outputs[i].expr && strcmp(s->outputs->outputs[i].name, name) == 0)
            return s->outputs->outputs[i].expr;
    return NULL;
}

static bool refer_to_output(struct expr *e, struct expr *output)
{
    e->alias_of = output;
    e->type = output->type;
    e->nullable = output->nullable;
    return true;
}

static bool bind_column(struct binder *b, struct expr *e)
{
    const char *name = e->names[e->n_names - 1];
    const char *qualifier = e->n_names > 1 ? e->names[e->n_names - 2] : NULL;
    struct expr *output = qualifier ? NULL : output_find(b->scope, name);
    if (output && b->scope->outputs_first)
        return refer_to_output(e, output);
    for (const struct scope *s = b->scope; s; s = s->parent) {
        bool ambiguous = false;
        const struct bound_column *c = scope_find(s, qualifier, name, &ambiguous);
        if (ambiguous)
            return sql_fail(b->err, SQL_ERROR_SCHEMA, "Ambiguous reference to unqualified field %s", name);
        if (c) {
            e->target = c;
            e->type = c->type;
            e->nullable = c->nullable;
            return true;
        }
    }
    if (output)
        return refer_to_output(e, output);
    char fields[640] = "";
    if (b->scope->n)
        list_fields(b->scope, fields, sizeof(fields));
    return sql_fail(b->err, SQL_ERROR_SCHEMA, "No field named %s%s%.100s.%s%s", qualifier ? qualifier : "",
                    qualifier ? "." : "", name, fields[0] ? " Valid fields are " : "", fields);
}

/* ---- operators ---- */

static bool refuse_operator(struct binder *b, const struct expr *e, const char *what)
{
    return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                    "Cannot infer common argument type for %s operation %s %s %s", what,
                    sql_type_name(e->args[0]->type), e->op ? e->op : "=", sql_type_name(e->args[1]->type));
}

static bool comparable(struct binder *b, struct expr *e, struct expr *x, struct expr *y)
{
    if (sql_compare_type(x, y) != SQL_TYPES)
        return true;
    return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                    "Cannot infer common argument type for comparison operation %s %s %s",
                    sql_type_name(x->type), e->op ? e->op : "=", sql_type_name(y->type));
}

/* Intervals are literals, and so is their sum. */
static bool fold_intervals(struct binder *b, struct expr *e)
{
    const struct expr *x = e->args[0], *y = e->args[1];
    int64_t sign = e->op[0] == '-' ? -1 : 1, sign_ns;
    struct sql_interval sum = x->interval;
    if (x->kind != E_INTERVAL || y->kind != E_INTERVAL)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "intervals that are not literals");
    if (__builtin_add_overflow(sum.months, sign * y->interval.months, &sum.months) ||
        __builtin_add_overflow(sum.days, sign * y->interval.days, &sum.days) ||
        __builtin_mul_overflow(sign, y->interval.ns, &sign_ns) ||
        __builtin_add_overflow(sum.ns, sign_ns, &sum.ns))
        return sql_fail(b->err, SQL_ERROR_EXECUTION,
                        "Arrow error: Arithmetic overflow: the interval is too long");
    e->kind = E_INTERVAL;
    e->interval = sum;
    e->text = x->text;
    e->type = SQL_INTERVAL;
    e->n_args = 0;
    return true;
}

static bool arithmetic_of_times(struct binder *b, struct expr *e)
{
    enum sql_type l = e->args[0]->type, r = e->args[1]->type;
    bool minus = strcmp(e->op, "-") == 0, plus = strcmp(e->op, "+") == 0;
    if ((plus || minus) && l == SQL_INTERVAL && r == SQL_INTERVAL)
        return fold_intervals(b, e);
    if (minus && l == SQL_DATE && r == SQL_DATE) {
        e->type = SQL_I64;
        return true;
    }
    /* a text beside a time is a time */
    if (minus && sql_is_time(l) && sql_is_text(r))
        r = l;
    if (minus && sql_is_time(l) && sql_is_time(r))
        e->type = SQL_DURATION_MS;
    else if ((plus || minus) && sql_is_time(l) && (r == SQL_INTERVAL || r == SQL_DURATION_MS))
        e->type = l;
    else if (plus && (l == SQL_INTERVAL || l == SQL_DURATION_MS) && sql_is_time(r))
        e->type = r;
    else if ((plus || minus) && (l == SQL_DURATION_MS || r == SQL_DURATION_MS) &&
             sql_common_type(l, r) == SQL_DURATION_MS)
        e->type = SQL_DURATION_MS;
    else
        return refuse_operator(b, e, "arithmetic");
    return true;
}

static bool is_temporal(enum sql_type t)
{
    return sql_is_time(t) || t == SQL_DURATION_MS || t == SQL_INTERVAL;
}

static bool bind_arithmetic(struct binder *b, struct expr *e)
{
    enum sql_type l = e->args[0]->type, r = e->args[1]->type;
    e->nullable = e->args[0]->nullable || e->args[1]->nullable;
    if (is_temporal(l) || is_temporal(r))
        return arithmetic_of_times(b, e);
    if (sql_is_text(l) && sql_is_number(r))
        l = r;
    if (sql_is_text(r) && sql_is_number(l))
        r = l;
    if (l == SQL_NULL)
        l = r;
    if (r == SQL_NULL)
        r = l;
    if (l == SQL_NULL)
        l = r = SQL_I64;
    if (!sql_is_number(l) || !sql_is_number(r))
        return refuse_operator(b, e, "arithmetic");
    if (l == SQL_U64_KEY || r == SQL_U64_KEY)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED,
                        "arithmetic with partition keys (use CAST(partition_key AS DOUBLE))");
    e->type = common_number(l, r);
    bool decimal = e->type == SQL_DECIMAL20 || e->type == SQL_DECIMAL21;
    if (decimal)
        e->type = strcmp(e->op, "/") == 0 ? SQL_F64 : SQL_DECIMAL21;
    return true;
}

static bool bind_binary(struct binder *b, struct expr *e)
{
    const char *op = e->op;
    struct expr *l = e->args[0], *r = e->args[1];
    e->nullable = l->nullable || r->nullable;
    if (strchr("+-*/%", op[0]) && op[1] == '\0')
        return bind_arithmetic(b, e);
    if (strcmp(op, "||") == 0) {
        if (sql_is_list(l->type) || sql_is_list(r->type) || sql_is_binary(l->type))
            return refuse_operator(b, e, "string");
        e->type = sql_is_text(l->type) && sql_is_text(r->type) ? MAX(l->type, r->type) : SQL_UTF8;
        return true;
    }
    if (strcmp(op, "->") == 0 || strcmp(op, "->>") == 0) {
        e->type = SQL_UTF8;
        e->nullable = true;
        return sql_is_text(l->type) || l->type == SQL_NULL || refuse_operator(b, e, "JSON");
    }
    if (strchr("&|#", op[0]) || strcmp(op, "<<") == 0 || strcmp(op, ">>") == 0) {
        e->type = common_number(l->type, r->type);
        return (sql_is_integer(l->type) && sql_is_integer(r->type) && e->type != SQL_U64_KEY &&
                strcmp(op, "#") != 0) ||
               refuse_operator(b, e, "bitwise");
    }
    e->type = SQL_BOOL;
    if (strchr("~!", op[0]) && strcmp(op, "!=") != 0)
        return ((l->type == SQL_NULL || sql_is_text(l->type)) &&
                (r->type == SQL_NULL || sql_is_text(r->type))) ||
               refuse_operator(b, e, "regex");
    if (sql_compare_type(l, r) == SQL_TYPES)
        return refuse_operator(b, e, "comparison");
    return true;
}

static bool bind_condition(struct binder *b, struct expr *e, struct expr *x)
{
    if (x->type == SQL_BOOL || x->type == SQL_NULL)
        return true;
    return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                    "Cannot create filter with non-boolean predicate '%s' returning %s", expr_name(b, x),
                    sql_type_name(x->type));
}

static bool bind_case(struct binder *b, struct expr *e)
{
    size_t first = e->flag ? 1 : 0, n = e->n_args;
    bool has_else = (n - first) % 2 == 1;
    e->type = SQL_NULL;
    e->nullable = !has_else;
    for (size_t i = first; i < n; i++) {
        bool result = (i - first) % 2 == 1 || (has_else && i == n - 1);
        if (!result) {
            if (e->flag ? !comparable(b, e, e->args[0], e->args[i]) : !bind_condition(b, e, e->args[i]))
                return false;
            continue;
        }
        e->nullable |= e->args[i]->nullable;
        enum sql_type t = sql_common_type(e->type, e->args[i]->type);
        if (t == SQL_TYPES)
            return sql_fail(
                b->err, SQL_ERROR_PLAN_POSITION,
                "Failed to coerce then (%s) and else (%s) to common types in CASE WHEN expression",
                sql_type_name(e->type), sql_type_name(e->args[i]->type));
        e->type = t;
    }
    return true;
}

static bool castable(enum sql_type from, enum sql_type to)
{
    if (from == to || from == SQL_NULL || sql_is_text(from) || sql_is_text(to))
        return true;
    if (sql_is_number(from) || from == SQL_BOOL)
        return sql_is_number(to) || to == SQL_BOOL || sql_is_time(to) || to == SQL_DURATION_MS;
    if (sql_is_time(from))
        return sql_is_time(to) || to == SQL_I64;
    if (from == SQL_DURATION_MS)
        return to == SQL_I64 || to == SQL_INTERVAL;
    return sql_is_binary(from) && sql_is_binary(to);
}

static bool bind_cast(struct binder *b, struct expr *e)
{
    if (e->flag)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "a cast to a list");
    const struct expr *x = e->args[0];
    enum sql_type from = x->type;
    e->type = e->cast_type;
    if (x->kind == E_STRING && e->type == SQL_INTERVAL &&
        sql_interval_parse(x->text, NULL, &e->interval)) { /* '1 day'::interval is a literal */
        e->kind = E_INTERVAL;
        e->text = x->text;
        e->n_args = 0;
        return true;
    }
    e->nullable = e->args[0]->nullable || e->cast_try;
    if (!castable(from, e->type))
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "Unsupported CAST from %s to %s",
                        sql_type_name(from), sql_type_name(e->type));
    return true;
}

/* ---- subqueries ---- */

static bool bind_subquery(struct binder *b, struct expr *e)
{
    if (!bind_query(b, e->query))
        return false;
    const struct bound_query *q = e->query->bound;
    if (e->kind == E_EXISTS) {
        e->type = SQL_BOOL;
        return true;
    }
    if (q->n != 1)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                        "Too many columns! The subquery should only return one column");
    e->nullable = true;
    if (e->kind == E_SUBQUERY) {
        e->type = q->outputs[0].type;
        return true;
    }
    e->type = SQL_BOOL;
    struct expr column = {.type = q->outputs[0].type};
    return comparable(b, e, e->args[0], &column);
}

/* ---- dispatch ---- */

static bool bind_args(struct binder *b, struct expr *e)
{
    for (size_t i = 0; i < e->n_args; i++) {
        if (!bind_expr(b, e->args[i]))
            return false;
        e->nullable |= e->args[i]->nullable;
    }
    return true;
}

static bool bind_conditions(struct binder *b, struct expr *e)
{
    e->type = SQL_BOOL;
    for (size_t i = 0; i < e->n_args; i++)
        if (e->args[i]->type != SQL_BOOL && e->args[i]->type != SQL_NULL)
            return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                            "Cannot infer common argument type for logical boolean operation %s %s %s",
                            sql_type_name(e->args[0]->type),
                            e->kind == E_AND  ? "AND"
                            : e->kind == E_OR ? "OR"
                                              : "NOT",
                            sql_type_name(e->args[i]->type));
    return true;
}

static bool bind_list_type(struct binder *b, struct expr *e)
{
    enum sql_type t = SQL_NULL;
    for (size_t i = 0; i < e->n_args && t != SQL_TYPES; i++)
        t = sql_common_type(t, e->args[i]->type);
    if (t == SQL_TYPES)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "the elements of an array must have one type");
    e->type = sql_list_of(t);
    e->nullable = false;
    return true;
}

static bool bind_by_kind(struct binder *b, struct expr *e)
{
    switch (e->kind) {
    case E_NULL:
        if (e->integer && (uint64_t)e->integer > b->n_parameters)
            return sql_fail(b->err, SQL_ERROR_EXECUTION,
                            "Execution error: Placeholder '$%lld' was not provided a value for execution.",
                            (long long)e->integer);
        e->type = SQL_NULL;
        e->nullable = true;
        return true;
    case E_BOOL:
        e->type = SQL_BOOL;
        return true;
    case E_INT:
        e->type = SQL_I64;
        return true;
    case E_UINT:
        e->type = SQL_U64_KEY;
        return true;
    case E_FLOAT:
        e->type = SQL_F64;
        return true;
    case E_STRING:
        e->type = SQL_UTF8;
        return true;
    case E_INTERVAL:
        e->type = SQL_INTERVAL;
        return true;
    case E_TIME:
        e->type = SQL_TIME_NS;
        return true;
    case E_DATE:
        e->type = SQL_DATE;
        return true;
    case E_COLUMN:
        return bind_column(b, e);
    case E_STAR:
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "Wildcard is not allowed here");
    case E_CALL:
        return bind_call(b, e);
    case E_NEGATE:
        e->type = e->args[0]->type == SQL_U32 ? SQL_I64 : e->args[0]->type;
        return (sql_is_number(e->type) && e->type != SQL_U64_KEY) || e->type == SQL_DURATION_MS ||
               sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "Negation only supports numeric types");
    case E_BINARY:
        return bind_binary(b, e);
    case E_AND:
    case E_OR:
    case E_NOT:
        return bind_conditions(b, e);
    case E_IS:
        e->type = SQL_BOOL;
        e->nullable = false;
        return strcmp(e->op, "null") == 0 || bind_condition(b, e, e->args[0]);
    case E_IS_DISTINCT:
        e->type = SQL_BOOL;
        e->nullable = false;
        return comparable(b, e, e->args[0], e->args[1]);
    case E_BETWEEN:
    case E_IN:
        e->type = SQL_BOOL;
        for (size_t i = 1; i < e->n_args; i++)
            if (!comparable(b, e, e->args[0], e->args[i]))
                return false;
        return true;
    case E_LIKE:
    case E_SIMILAR:
        e->type = SQL_BOOL;
        for (size_t i = 0; i < 2; i++)
            if (!sql_is_text(e->args[i]->type) && e->args[i]->type != SQL_NULL)
                return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                                "There isn't a common type to coerce %s and %s in LIKE expression",
                                sql_type_name(e->args[0]->type), sql_type_name(e->args[1]->type));
        return true;
    case E_CASE:
        return bind_case(b, e);
    case E_CAST:
        return bind_cast(b, e);
    case E_IN_QUERY:
    case E_EXISTS:
    case E_SUBQUERY:
        return bind_subquery(b, e);
    case E_ARRAY:
        return bind_list_type(b, e);
    case E_SUBSCRIPT:
        e->nullable = true;
        if (!sql_is_list(e->args[0]->type) || !sql_is_integer(e->args[1]->type))
            return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                            "only lists have subscripts, and they are integers");
        e->type = sql_list_element(e->args[0]->type);
        return true;
    }
    return false;
}

/* An expression may be reached twice (an alias in GROUP BY and its output): once is enough. */
bool bind_expr(struct binder *b, struct expr *e)
{
    if (e->bound)
        return true;
    if (b->depth > 10 * SQL_DEPTH_MAX)
        return sql_fail(b->err, SQL_ERROR_PLAN, "the statement nests too deeply");
    b->depth++;
    bool ok = (e->kind == E_CALL || bind_args(b, e)) && bind_by_kind(b, e);
    b->depth--;
    e->bound = ok;
    return ok;
}

/* ---- id literals ---- */

static bool check_literal(struct binder *b, const struct expr *column, const struct expr *literal)
{
    if (column->kind != E_COLUMN || !column->target || !column->target->source ||
        !column->target->source->invocation_id || literal->kind != E_STRING)
        return true;
    struct invocation_id id;
    return invocation_id_parse(literal->text, &id) == ID_OK ||
           sql_fail(b->err, SQL_ERROR_EXECUTION, "External error: non valid invocation id");
}

bool bind_check_ids(struct binder *b, const struct expr *e)
{
    if (e->kind == E_AND) {
        for (size_t i = 0; i < e->n_args; i++)
            if (!bind_check_ids(b, e->args[i]))
                return false;
        return true;
    }
    if (e->kind == E_BINARY && strcmp(e->op, "=") == 0)
        return check_literal(b, e->args[0], e->args[1]) && check_literal(b, e->args[1], e->args[0]);
    for (size_t i = 1; e->kind == E_IN && !e->negated && i < e->n_args; i++)
        if (!check_literal(b, e->args[0], e->args[i]))
            return false;
    return true;
}
