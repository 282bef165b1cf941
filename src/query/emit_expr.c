/* Expressions as SQLite SQL (query/emit.h). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "query/emit.h"
#include "query/values.h"

#define NS_PER_DAY INT64_C(86400000000000)

void emit_text(struct emitter *m, const char *text)
{
    write_slice_raw(m->w, slice_cstr(text));
}

void emit_string(struct emitter *m, struct slice text)
{
    write_u8(m->w, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            write_u8(m->w, '\'');
        write_u8(m->w, text.ptr[i]);
    }
    write_u8(m->w, '\'');
}

/* ---- literals ---- */

static void emit_integer(struct emitter *m, int64_t v)
{
    if (v == INT64_MIN)
        emit_text(m, "(-9223372036854775807 - 1)");
    else
        write_fmt(m->w, v < 0 ? "(%" PRId64 ")" : "%" PRId64, v);
}

static void emit_real(struct emitter *m, double v)
{
    char text[40];
    if (!isfinite(v)) {
        emit_text(m, isnan(v) ? "NULL" : v > 0 ? "9e999" : "(-9e999)");
        return;
    }
    snprintf(text, sizeof(text), "%.17g", v);
    write_fmt(m->w, v < 0 ? "(%s%s)" : "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void emit_value(struct emitter *m, const struct sql_value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        emit_text(m, "NULL");
        break;
    case VALUE_INT:
        emit_integer(m, v->integer);
        break;
    case VALUE_REAL:
        emit_real(m, v->real);
        break;
    case VALUE_TEXT:
        emit_string(m, v->bytes);
        break;
    case VALUE_BLOB:
        emit_text(m, "x'");
        write_hex(m->w, v->bytes);
        emit_text(m, "'");
        break;
    }
}

void emit_wanted(struct emitter *m, const struct expr *e, enum sql_type type)
{
    if (e->kind == E_NULL && e->integer && (uint64_t)e->integer <= m->b->n_parameters &&
        m->b->parameters[e->integer - 1] == SQL_NULL)
        m->b->parameters[e->integer - 1] = type;
}

static void emit_constant(struct emitter *m, const struct expr *e, enum sql_type to)
{
    struct sql_value v = {.kind = VALUE_INT, .integer = e->integer};
    uint8_t raw[SQL_INTERVAL_BYTES];
    if (e->kind == E_NULL)
        v.kind = VALUE_NULL;
    else if (e->kind == E_UINT)
        v.integer = u64_to_key((uint64_t)e->integer);
    else if (e->kind == E_FLOAT)
        v = (struct sql_value){.kind = VALUE_REAL, .real = e->real};
    else if (e->kind == E_STRING)
        v = (struct sql_value){.kind = VALUE_TEXT, .bytes = e->text};
    else if (e->kind == E_INTERVAL) {
        sql_interval_put(raw, e->interval);
        v = (struct sql_value){.kind = VALUE_BLOB, .bytes = slice_make(raw, sizeof(raw))};
    }
    struct writer scratch = WRITER_INIT;
    char reason[300];
    if (e->kind == E_INT && e->integer < 0 && to == SQL_U64_KEY)
        emit_text(m, "NULL"); /* no unsigned number is negative */
    else if (sql_convert(&v, e->type, to, &scratch, reason, sizeof(reason)))
        emit_value(m, &v);
    else
        sql_fail(m->b->err, SQL_ERROR_EXECUTION, "%s", reason);
    writer_free(&scratch);
}

/* ---- conversion ---- */

/* Both have the same form in SQLite. */
static bool same_form(enum sql_type from, enum sql_type to)
{
    if (from == to || from == SQL_NULL || (sql_is_text(from) && sql_is_text(to)) ||
        (sql_is_list(from) && sql_is_list(to)) || (sql_is_binary(from) && sql_is_binary(to)))
        return true;
    static const uint8_t width[SQL_TYPES] = {
        [SQL_I32] = 1, [SQL_U32] = 2, [SQL_U64] = 3, [SQL_I64] = 4, [SQL_DECIMAL20] = 5, [SQL_DECIMAL21] = 6};
    return width[from] && width[to] && width[from] <= width[to] && !(from == SQL_I32 && to < SQL_I64);
}

void emit_as(struct emitter *m, const struct expr *e, enum sql_type type)
{
    emit_wanted(m, e, type);
    if (expr_is_constant(e)) {
        emit_constant(m, e, type);
    } else if (same_form(e->type, type)) {
        emit_expr(m, e);
    } else if (type == SQL_F64 && sql_is_integer(e->type) && e->type != SQL_U64_KEY) {
        emit_text(m, "CAST(");
        emit_expr(m, e);
        emit_text(m, " AS REAL)");
    } else {
        emit_text(m, "sql_conv(");
        emit_expr(m, e);
        write_fmt(m->w, ", %d, %d)", (int)e->type, (int)type);
    }
}

/* ---- operators ---- */

static void emit_pair(struct emitter *m, const struct expr *l, const char *op, const struct expr *r,
                      enum sql_type type)
{
    emit_text(m, "(");
    emit_as(m, l, type);
    emit_text(m, op);
    emit_as(m, r, type);
    emit_text(m, ")");
}

static int64_t units_per_day(enum sql_type time)
{
    return time == SQL_TIME_MS ? 86400000 : time == SQL_TIME_NS ? NS_PER_DAY : 1;
}

static void emit_time_plus(struct emitter *m, const struct expr *time, const struct expr *delta, int sign)
{
    enum sql_type t = time->type;
    int64_t per_day = units_per_day(t);
    if (delta->type == SQL_DURATION_MS) {
        if (t == SQL_DATE)
            sql_fail(m->b->err, SQL_ERROR_NOT_IMPLEMENTED, "a date plus a duration");
        emit_text(m, "(");
        emit_expr(m, time);
        write_fmt(m->w, " %c %s", sign > 0 ? '+' : '-', t == SQL_TIME_NS ? "1000000 * " : "");
        emit_expr(m, delta);
        emit_text(m, ")");
        return;
    }
    if (delta->kind != E_INTERVAL) {
        sql_fail(m->b->err, SQL_ERROR_NOT_IMPLEMENTED, "intervals that are not literals");
        return;
    }
    struct sql_interval v = delta->interval;
    int64_t ns_per_unit = NS_PER_DAY / per_day;
    int64_t rest;
    if (__builtin_mul_overflow((int64_t)v.days, per_day, &rest) ||
        __builtin_add_overflow(rest, v.ns / ns_per_unit, &rest) || rest == INT64_MIN ||
        v.months == INT32_MIN) {
        sql_fail(m->b->err, SQL_ERROR_EXECUTION,
                 "Arrow error: Arithmetic overflow: the interval is too long");
        return;
    }
    write_fmt(m->w, "%s", v.months ? "(sql_add_months(" : "(");
    emit_expr(m, time);
    if (v.months)
        write_fmt(m->w, ", %" PRId64 ", %d)", per_day, sign * v.months);
    emit_text(m, " + ");
    emit_integer(m, sign * rest);
    emit_text(m, ")");
}

static void emit_temporal(struct emitter *m, const struct expr *e)
{
    const struct expr *l = e->args[0], *r = e->args[1];
    int sign = e->op[0] == '-' ? -1 : 1;
    if (e->type == SQL_I64)
        emit_pair(m, l, " - ", r, SQL_DATE);
    else if (sql_is_time(l->type) && (sql_is_time(r->type) || sql_is_text(r->type)))
        emit_pair(m, l, " - ", r, SQL_TIME_MS);
    else if (sql_is_time(l->type))
        emit_time_plus(m, l, r, sign);
    else if (sql_is_time(r->type))
        emit_time_plus(m, r, l, sign);
    else
        emit_pair(m, l, sign < 0 ? " - " : " + ", r, SQL_DURATION_MS);
}

static bool not_zero(const struct expr *e)
{
    return (e->kind == E_INT && e->integer != 0) || (e->kind == E_FLOAT && e->real != 0);
}

static void emit_quotient(struct emitter *m, const struct expr *l, const struct expr *r)
{
    emit_text(m, "sql_quotient(");
    emit_as(m, l, SQL_F64);
    emit_text(m, ", ");
    emit_as(m, r, SQL_F64);
    write_fmt(m->w, ", %d)", sql_is_integer(l->type) && sql_is_integer(r->type));
}

static void emit_arithmetic(struct emitter *m, const struct expr *e)
{
    const struct expr *l = e->args[0], *r = e->args[1];
    char op[4] = {' ', e->op[0], ' ', '\0'};
    bool divides = e->op[0] == '/' || e->op[0] == '%';
    bool safe = r->kind == E_INT && r->integer != 0 && r->integer != -1;
    if (e->type == SQL_F64 && e->op[0] == '/' && !not_zero(r)) {
        emit_quotient(m, l, r);
        return;
    }
    if (e->type == SQL_F64 && e->op[0] == '%')
        emit_text(m, "sql_fmod(");
    else if (divides && e->type != SQL_F64 && !safe)
        emit_text(m, e->op[0] == '/' ? "sql_div(" : "sql_mod(");
    else if (!divides && e->type != SQL_F64) /* SQLite's own turn into floats instead of wrapping around */
        emit_text(m, e->op[0] == '+' ? "sql_add(" : e->op[0] == '-' ? "sql_sub(" : "sql_mul(");
    else {
        emit_pair(m, l, op, r, e->type);
        return;
    }
    emit_as(m, l, e->type);
    emit_text(m, ", ");
    emit_as(m, r, e->type);
    emit_text(m, ")");
}

static void emit_regex(struct emitter *m, const struct expr *e)
{
    const char *op = e->op;
    if (op[0] == '!')
        emit_text(m, "NOT ");
    emit_text(m, "sql_regexp(");
    emit_expr(m, e->args[0]);
    emit_text(m, ", ");
    emit_expr(m, e->args[1]);
    emit_text(m, strchr(op, '*') ? ", 'i')" : ", '')");
}

static void emit_binary(struct emitter *m, const struct expr *e)
{
    const struct expr *l = e->args[0], *r = e->args[1];
    const char *op = e->op;
    if (strchr("+-*/%", op[0]) && op[1] == '\0') {
        bool temporal = sql_is_time(l->type) || sql_is_time(r->type) || l->type == SQL_DURATION_MS ||
                        r->type == SQL_DURATION_MS;
        if (temporal)
            emit_temporal(m, e);
        else
            emit_arithmetic(m, e);
    } else if (strcmp(op, "||") == 0) {
        emit_pair(m, l, " || ", r, SQL_UTF8);
    } else if (op[0] == '-') { /* -> and ->> */
        emit_text(m, op[2] ? "sql_json_text(" : "sql_json_json(");
        emit_expr(m, l);
        emit_text(m, ", ");
        emit_expr(m, r);
        emit_text(m, ")");
    } else if (op[0] == '~' || (op[0] == '!' && op[1] == '~')) {
        emit_text(m, "(");
        emit_regex(m, e);
        emit_text(m, ")");
    } else {
        char spaced[6];
        snprintf(spaced, sizeof(spaced), " %s ", op);
        enum sql_type t = e->type == SQL_BOOL ? sql_compare_type(l, r) : e->type;
        emit_pair(m, l, spaced, r, t);
    }
}

/* Long chains as a balanced tree: SQLite limits the depth of expressions. */
static void emit_chain(struct emitter *m, struct expr *const *args, size_t n, const char *op)
{
    if (n == 1) {
        emit_expr(m, args[0]);
        return;
    }
    emit_text(m, "(");
    emit_chain(m, args, n / 2, op);
    emit_text(m, op);
    emit_chain(m, args + n / 2, n - n / 2, op);
    emit_text(m, ")");
}

static void emit_in(struct emitter *m, const struct expr *e)
{
    enum sql_type t = e->args[0]->type;
    for (size_t i = 1; i < e->n_args; i++) {
        struct expr left = *e->args[0];
        left.type = t;
        enum sql_type common = sql_compare_type(&left, e->args[i]);
        if (common == SQL_TYPES)
            sql_fail(m->b->err, SQL_ERROR_PLAN_POSITION, "the items of an IN list must have one type");
        else
            t = common;
    }
    emit_text(m, "(");
    emit_as(m, e->args[0], t);
    emit_text(m, e->negated ? " NOT IN (" : " IN (");
    for (size_t i = 1; i < e->n_args; i++) {
        if (i > 1)
            emit_text(m, ", ");
        emit_as(m, e->args[i], t);
    }
    emit_text(m, "))");
}

static void emit_in_query(struct emitter *m, const struct expr *e)
{
    struct expr column = {.type = e->query->bound->outputs[0].type};
    enum sql_type t = sql_compare_type(e->args[0], &column);
    emit_text(m, "(");
    emit_as(m, e->args[0], t);
    emit_text(m, e->negated ? " NOT IN (" : " IN (");
    emit_select(m, e->query, &t);
    emit_text(m, "))");
}

static void emit_between(struct emitter *m, const struct expr *e)
{
    enum sql_type t = sql_compare_type(e->args[0], e->args[1]);
    struct expr bound = {.type = t};
    enum sql_type both = sql_compare_type(&bound, e->args[2]);
    if (both != SQL_TYPES)
        t = both;
    emit_text(m, "(");
    emit_as(m, e->args[0], t);
    emit_text(m, e->negated ? " NOT BETWEEN " : " BETWEEN ");
    emit_as(m, e->args[1], t);
    emit_text(m, " AND ");
    emit_as(m, e->args[2], t);
    emit_text(m, ")");
}

static void emit_like(struct emitter *m, const struct expr *e)
{
    emit_text(m, e->negated ? "(NOT " : "(");
    emit_text(m, e->kind == E_SIMILAR ? "sql_similar(" : e->flag ? "sql_ilike(" : "sql_like(");
    emit_expr(m, e->args[0]);
    emit_text(m, ", ");
    emit_expr(m, e->args[1]);
    emit_text(m, "))");
}

static void emit_case(struct emitter *m, const struct expr *e)
{
    size_t i = e->flag ? 1 : 0;
    emit_text(m, "CASE");
    for (; i + 1 < e->n_args; i += 2) {
        emit_text(m, " WHEN ");
        if (e->flag)
            emit_pair(m, e->args[0], " = ", e->args[i], sql_compare_type(e->args[0], e->args[i]));
        else
            emit_expr(m, e->args[i]);
        emit_text(m, " THEN ");
        emit_as(m, e->args[i + 1], e->type);
    }
    if (i < e->n_args) {
        emit_text(m, " ELSE ");
        emit_as(m, e->args[i], e->type);
    }
    emit_text(m, " END");
}

static void emit_cast(struct emitter *m, const struct expr *e)
{
    const struct expr *x = e->args[0];
    if (e->cast_try) {
        emit_text(m, "sql_try_conv(");
        emit_expr(m, x);
        write_fmt(m->w, ", %d, %d)", (int)x->type, (int)e->type);
        return;
    }
    emit_as(m, x, e->type);
}

static void emit_is(struct emitter *m, const struct expr *e)
{
    emit_text(m, "(");
    emit_expr(m, e->args[0]);
    const char *word = strcmp(e->op, "unknown") == 0 ? "NULL" : e->op;
    write_fmt(m->w, " IS %s%s)", e->negated ? "NOT " : "", word);
}

/* More rows than one are an error, where SQLite takes the first. */
static bool at_most_one_row(const struct select *s)
{
    if (s->limit && s->limit->kind == E_INT && s->limit->integer <= 1)
        return true;
    if (s->set_op || s->values)
        return s->values && s->n_values <= 1;
    return (s->bound->grouped && s->n_group_by == 0) || (!s->from && s->bound->n_unnests == 0);
}

static void emit_scalar_query(struct emitter *m, const struct expr *e)
{
    bool one = at_most_one_row(e->query);
    emit_text(m, one ? "(" : "(SELECT sql_only(c0) FROM (");
    emit_select(m, e->query, NULL);
    emit_text(m, one ? ")" : "))");
}

static void emit_array(struct emitter *m, const struct expr *e)
{
    bool text = sql_is_text(sql_list_element(e->type));
    emit_text(m, "json_array(");
    for (size_t i = 0; i < e->n_args; i++) {
        if (i)
            emit_text(m, ", ");
        if (text)
            emit_as(m, e->args[i], SQL_UTF8);
        else
            emit_expr(m, e->args[i]);
    }
    emit_text(m, ")");
}

static void emit_column(struct emitter *m, const struct expr *e)
{
    if (e->alias_of)
        emit_expr(m, e->alias_of);
    else
        emit_text(m, e->target->emit);
}

static void emit_by_kind(struct emitter *m, const struct expr *e)
{
    switch (e->kind) {
    case E_COLUMN:
        emit_column(m, e);
        break;
    case E_CALL:
        emit_call(m, e);
        break;
    case E_NEGATE:
        emit_text(m, "(- ");
        emit_expr(m, e->args[0]);
        emit_text(m, ")");
        break;
    case E_BINARY:
        emit_binary(m, e);
        break;
    case E_AND:
        emit_chain(m, e->args, e->n_args, " AND ");
        break;
    case E_OR:
        emit_chain(m, e->args, e->n_args, " OR ");
        break;
    case E_NOT:
        emit_text(m, "(NOT ");
        emit_expr(m, e->args[0]);
        emit_text(m, ")");
        break;
    case E_IS:
        emit_is(m, e);
        break;
    case E_IS_DISTINCT:
        emit_pair(m, e->args[0], e->negated ? " IS " : " IS NOT ", e->args[1],
                  sql_compare_type(e->args[0], e->args[1]));
        break;
    case E_BETWEEN:
        emit_between(m, e);
        break;
    case E_IN:
        emit_in(m, e);
        break;
    case E_IN_QUERY:
        emit_in_query(m, e);
        break;
    case E_LIKE:
    case E_SIMILAR:
        emit_like(m, e);
        break;
    case E_CASE:
        emit_case(m, e);
        break;
    case E_CAST:
        emit_cast(m, e);
        break;
    case E_SUBQUERY:
        emit_scalar_query(m, e);
        break;
    case E_EXISTS:
        emit_text(m, "EXISTS (");
        emit_select(m, e->query, NULL);
        emit_text(m, ")");
        break;
    case E_ARRAY:
        emit_array(m, e);
        break;
    case E_SUBSCRIPT:
        emit_text(m, "sql_list_get(");
        emit_expr(m, e->args[0]);
        emit_text(m, ", ");
        emit_expr(m, e->args[1]);
        emit_text(m, ")");
        break;
    default:
        emit_constant(m, e, e->type);
    }
}

void emit_expr(struct emitter *m, const struct expr *e)
{
    if (m->b->err->kind != SQL_ERROR_NONE)
        return;
    if (m->w->len > 16u << 20 || m->depth > 10 * SQL_DEPTH_MAX) {
        sql_fail(m->b->err, SQL_ERROR_PLAN, "the statement is too large");
        return;
    }
    m->depth++;
    emit_by_kind(m, e);
    m->depth--;
}
