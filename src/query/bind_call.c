/* Calls of functions: arguments, result type, aggregates and windows (query/bind.h). */
#include <stdio.h>

#include "base/calendar.h"
#include "query/bind.h"

static bool argument_fits(char class, enum sql_type t)
{
    switch (class) {
    case 's':
        return !sql_is_list(t);
    case 'n':
        return sql_is_number(t);
    case 'd':
        return sql_is_number(t) || t == SQL_DURATION_MS;
    case 'i':
        return sql_is_integer(t) && t != SQL_U64_KEY;
    case 't':
        return sql_is_time(t) || sql_is_text(t);
    case 'p':
        return sql_is_time(t) || sql_is_text(t) || t == SQL_DURATION_MS;
    case 'l':
        return sql_is_list(t);
    case 'b':
        return t == SQL_BOOL;
    case 'v':
        return t == SQL_INTERVAL;
    default:
        return true;
    }
}

static bool refuse_arguments(struct binder *b, const struct expr *e)
{
    char types[400] = "";
    size_t at = 0;
    for (size_t i = 0; i < e->n_args && at < sizeof(types) - 40; i++)
        at += (size_t)snprintf(types + at, sizeof(types) - at, "%s%s", i ? ", " : "",
                               sql_type_name(e->args[i]->type));
    return sql_fail(
        b->err, SQL_ERROR_PLAN_POSITION,
        "Internal error: Failed to match any signature, errors: No function matches the given name and "
        "argument types '%s(%s)'. You might need to add explicit type casts.",
        e->op, types);
}

static bool check_arguments(struct binder *b, const struct expr *e)
{
    const char *class = e->function->args;
    bool optional = false;
    size_t i = 0;
    for (; *class; class ++) {
        if (*class == '?') {
            optional = true;
            continue;
        }
        if (*class == '*') { /* the letter before, any number of times */
            for (; i < e->n_args; i++)
                if (e->args[i]->type != SQL_NULL && !argument_fits(class[-1], e -> args[i] -> type))
                    return refuse_arguments(b, e);
            return true;
        }
        if (i == e->n_args)
            return optional || class[1] == '*' ? (i > 0 || optional) || refuse_arguments(b, e)
                                               : refuse_arguments(b, e);
        if (e->args[i]->type != SQL_NULL && !argument_fits(*class, e->args[i]->type))
            return refuse_arguments(b, e);
        i++;
    }
    return i == e->n_args || refuse_arguments(b, e);
}

static enum sql_type sum_type(enum sql_type t)
{
    switch (t) {
    case SQL_U32:
    case SQL_U64:
        return SQL_U64;
    case SQL_I32:
    case SQL_I64:
        return SQL_I64;
    case SQL_F64:
    case SQL_DURATION_MS:
    case SQL_DECIMAL20:
    case SQL_DECIMAL21:
        return t;
    default:
        return SQL_TYPES;
    }
}

static bool result_type(struct binder *b, struct expr *e)
{
    const struct sql_function *f = e->function;
    enum sql_type first = e->n_args ? e->args[0]->type : SQL_NULL;
    switch (f->result) {
    case RESULT_BOOL:
        e->type = SQL_BOOL;
        break;
    case RESULT_I32:
        e->type = SQL_I32;
        break;
    case RESULT_I64:
        e->type = SQL_I64;
        break;
    case RESULT_U64:
        e->type = SQL_U64;
        break;
    case RESULT_F64:
        e->type = SQL_F64;
        break;
    case RESULT_UTF8:
        e->type = SQL_UTF8;
        break;
    case RESULT_BINARY:
        e->type = SQL_BINARY;
        break;
    case RESULT_TIME_NS:
        e->type = SQL_TIME_NS;
        break;
    case RESULT_SAME:
        e->type = first;
        break;
    case RESULT_TEXT:
        e->type = sql_is_text(first) ? first : SQL_UTF8;
        break;
    case RESULT_SECOND:
        e->type = sql_is_time(e->args[1]->type) ? e->args[1]->type : SQL_TIME_NS;
        if (e->type == SQL_DATE)
            e->type = SQL_TIME_NS;
        break;
    case RESULT_PART:
        e->type = e->args[0]->kind == E_STRING && slice_eq_nocase(e->args[0]->text, SLICE_LIT("epoch"))
                      ? SQL_F64
                      : SQL_I32;
        break;
    case RESULT_LENGTH:
        e->type = first == SQL_LARGE_UTF8 ? SQL_I64 : SQL_I32;
        break;
    case RESULT_AVERAGE:
        e->type = first == SQL_DURATION_MS ? first : SQL_F64;
        break;
    case RESULT_ELEMENT:
        e->type = sql_is_list(first) ? sql_list_element(first) : SQL_NULL;
        break;
    case RESULT_LIST:
        e->type = sql_list_of(first);
        break;
    case RESULT_SUM:
        e->type = sum_type(first);
        if (e->type == SQL_TYPES)
            return refuse_arguments(b, e);
        break;
    case RESULT_COMMON:
        e->type = SQL_NULL;
        for (size_t i = 0; i < e->n_args && e->type != SQL_TYPES; i++) {
            struct expr so_far = {.type = e->type};
            e->type = sql_compare_type(&so_far, e->args[i]); /* a text beside a number is a number */
        }
        if (e->type == SQL_TYPES)
            return refuse_arguments(b, e);
        break;
    }
    return true;
}

static void result_nullable(struct expr *e)
{
    const struct sql_function *f = e->function;
    e->nullable = !f->not_null;
    if (f->not_null || f->class != FUNCTION_SCALAR)
        return;
    bool any = false, all = e->n_args > 0;
    for (size_t i = 0; i < e->n_args; i++) {
        any |= e->args[i]->nullable;
        all &= e->args[i]->nullable;
    }
    bool skips_null = f->result == RESULT_COMMON;
    bool may_fail = strncmp(f->emit, "sql_json", 8) == 0 || f->result == RESULT_ELEMENT ||
                    strcmp(f->name, "nullif") == 0 || strncmp(f->emit, "sql_list", 8) == 0;
    e->nullable = may_fail || (skips_null ? all : any);
}

/* now() and the like stand for one value in the whole statement. */
static bool fold(struct binder *b, struct expr *e)
{
    if (strcmp(e->function->name, "version") == 0) {
        e->kind = E_STRING;
        e->text = SLICE_LIT("restate-c, SQL on SQLite");
        e->type = SQL_UTF8;
    } else if (strcmp(e->function->name, "current_date") == 0 || strcmp(e->function->name, "today") == 0) {
        struct sql_civil c = sql_civil_of(b->now_ns, INT64_C(86400) * 1000000000);
        e->kind = E_DATE;
        e->integer = calendar_days(c.year, c.month, c.day);
        e->type = SQL_DATE;
    } else {
        e->kind = E_TIME;
        e->integer = b->now_ns;
        e->type = SQL_TIME_NS;
    }
    e->nullable = false;
    return true;
}

static bool bind_window(struct binder *b, struct expr *e)
{
    struct window *w = e->window;
    for (size_t i = 0; i < w->n_partition; i++)
        if (!bind_expr(b, w->partition[i]))
            return false;
    for (size_t i = 0; i < w->order.n; i++)
        if (!bind_expr(b, w->order.items[i].expr))
            return false;
    return true;
}

/* Arguments of count(*) are none. */
static bool bind_call_arguments(struct binder *b, struct expr *e)
{
    bool count = strcmp(e->function->name, "count") == 0;
    bool star = count && e->n_args == 1 && e->args[0]->kind == E_STAR;
    for (size_t i = 0; i < e->n_args && !star; i++)
        if (!bind_expr(b, e->args[i]))
            return false;
    for (size_t i = 0; i < e->order.n; i++)
        if (!bind_expr(b, e->order.items[i].expr))
            return false;
    if (e->filter && !bind_expr(b, e->filter))
        return false;
    if (e->filter && e->filter->type != SQL_BOOL && e->filter->type != SQL_NULL)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "the condition of FILTER must be boolean");
    return star || check_arguments(b, e);
}

bool bind_call(struct binder *b, struct expr *e)
{
    e->function = sql_function_find(e->op);
    if (!e->function)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "Invalid function '%.100s'.", e->op);
    const struct sql_function *f = e->function;
    bool is_aggregate = f->class == FUNCTION_AGGREGATE;
    if (f->class == FUNCTION_SCALAR && (e->window || e->filter || e->distinct || e->order.n))
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "%s is not an aggregate function", e->op);
    if (f->class == FUNCTION_WINDOW && !e->window)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "%s needs an OVER clause", e->op);
    if (e->distinct && e->order.n)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "DISTINCT together with ORDER BY in an aggregate");
    if (e->distinct && e->window)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "DISTINCT in a window function");
    if (!bind_call_arguments(b, e))
        return false;
    if (e->window) {
        if (!bind_window(b, e))
            return false;
    } else if (is_aggregate) {
        e->aggregate = true;
        b->scope->has_aggregate = true;
    }
    if (f->form == FORM_CONSTANT)
        return fold(b, e);
    if (!result_type(b, e))
        return false;
    result_nullable(e);
    return true;
}
