/* Calls as SQLite SQL (query/emit.h). */
#include <inttypes.h>

#include "query/emit.h"

static void emit_argument(struct emitter *m, const struct expr *x, char class)
{
    if (class == 's' && !sql_is_text(x->type))
        emit_as(m, x, SQL_UTF8);
    else if ((class == 'n' || class == 'd') && x->type == SQL_U64_KEY)
        emit_as(m, x, SQL_F64);
    else if ((class == 't' || class == 'p') && sql_is_text(x->type))
        emit_as(m, x, SQL_TIME_NS);
    else
        emit_expr(m, x);
}

static char class_of(const struct sql_function *f, size_t index)
{
    char last = 'a';
    size_t i = 0;
    for (const char *c = f->args; *c; c++) {
        if (*c == '?')
            continue;
        if (*c == '*')
            return last;
        if (i++ == index)
            return *c;
        last = *c;
    }
    return last;
}

static void emit_arguments(struct emitter *m, const struct expr *e, size_t from)
{
    for (size_t i = from; i < e->n_args; i++) {
        if (i > from)
            emit_text(m, ", ");
        emit_argument(m, e->args[i], class_of(e->function, i));
    }
}

static void emit_common(struct emitter *m, const struct expr *e, const char *name)
{
    enum sql_type t = e->type;
    if (e->n_args == 1) { /* coalesce needs two */
        emit_as(m, e->args[0], t);
        return;
    }
    write_fmt(m->w, "%s(", name);
    for (size_t i = 0; i < e->n_args; i++) {
        if (i)
            emit_text(m, ", ");
        emit_as(m, e->args[i], t);
    }
    emit_text(m, ")");
}

static int64_t units_per_second(enum sql_type time)
{
    return time == SQL_TIME_MS ? 1000 : 1000000000;
}

static enum sql_type time_type(const struct expr *x)
{
    return x->type == SQL_TIME_MS ? SQL_TIME_MS : SQL_TIME_NS;
}

/* date_bin(stride, time, origin) */
static void emit_bin(struct emitter *m, const struct expr *e)
{
    const struct expr *stride = e->args[0], *time = e->args[1];
    enum sql_type t = time_type(time);
    if (stride->kind != E_INTERVAL || stride->interval.months) {
        sql_fail(m->b->err, SQL_ERROR_NOT_IMPLEMENTED,
                 "DATE_BIN stride must be an interval literal without months");
        return;
    }
    int64_t ns = stride->interval.days * INT64_C(86400000000000) + stride->interval.ns;
    int64_t units = t == SQL_TIME_MS ? ns / 1000000 : ns;
    if (units <= 0) {
        sql_fail(m->b->err, SQL_ERROR_EXECUTION, "Execution error: DATE_BIN stride must be non-zero");
        return;
    }
    write_fmt(m->w, "sql_date_bin(%" PRId64 ", ", units);
    emit_as(m, time, t);
    emit_text(m, ", ");
    if (e->n_args > 2)
        emit_as(m, e->args[2], t);
    else
        emit_text(m, "0");
    emit_text(m, ")");
}

/* date_trunc(part, time), date_part(part, time) */
static void emit_trunc(struct emitter *m, const struct expr *e)
{
    enum sql_type t = time_type(e->args[1]);
    if (e->args[1]->type == SQL_DURATION_MS) { /* only date_part takes it */
        emit_text(m, "sql_duration_part(");
        emit_arguments(m, e, 0);
        emit_text(m, ")");
        return;
    }
    write_fmt(m->w, "%s(", e->function->emit);
    emit_argument(m, e->args[0], 's');
    emit_text(m, ", ");
    emit_as(m, e->args[1], t);
    write_fmt(m->w, ", %" PRId64 ")", units_per_second(t));
}

static void emit_to_time(struct emitter *m, const struct expr *e)
{
    const struct expr *x = e->args[0];
    if (!sql_is_number(x->type)) {
        emit_as(m, x, SQL_TIME_NS);
        return;
    }
    emit_text(m, "CAST(");
    emit_expr(m, x);
    write_fmt(m->w, " * %s AS INTEGER)", e->function->emit);
}

static void emit_unixtime(struct emitter *m, const struct expr *e)
{
    const struct expr *x = e->args[0];
    if (sql_is_number(x->type)) {
        emit_as(m, x, SQL_I64);
        return;
    }
    enum sql_type t = time_type(x);
    write_fmt(m->w, "sql_floor_div(");
    emit_as(m, x, t);
    write_fmt(m->w, ", %" PRId64 ")", units_per_second(t));
}

static bool aggregates(const struct expr *e)
{
    for (size_t i = 0; i < e->n_args; i++)
        if (aggregates(e->args[i]))
            return true;
    return e->aggregate;
}

/* The argument is not computed, but an aggregate in it makes the statement one. */
static void emit_typeof(struct emitter *m, const struct expr *e)
{
    bool grouped = aggregates(e->args[0]);
    emit_text(m, grouped ? "iif(count(*), " : "");
    for (int i = 0; i < (grouped ? 2 : 1); i++) {
        emit_text(m, i ? ", " : "");
        emit_string(m, slice_cstr(sql_type_name(e->args[0]->type)));
    }
    emit_text(m, grouped ? ")" : "");
}

/* ---- aggregates ---- */

static void emit_keys(struct emitter *m, const struct order_list *order)
{
    emit_text(m, ", '");
    for (size_t i = 0; i < order->n; i++)
        write_fmt(m->w, "%c%c", order->items[i].descending ? 'd' : 'a',
                  order->items[i].nulls_first ? 'f' : 'l');
    emit_text(m, "'");
    for (size_t i = 0; i < order->n; i++) {
        emit_text(m, ", ");
        emit_expr(m, order->items[i].expr);
    }
}

static void emit_aggregate(struct emitter *m, const struct expr *e)
{
    const struct sql_function *f = e->function;
    bool first = strcmp(f->emit, "first_value") == 0, last = strcmp(f->emit, "last_value") == 0;
    const char *name = f->emit;
    if ((first || last) && !e->window)
        name = first ? "sql_first" : "sql_last";
    bool by = (first || last || strcmp(f->emit, "sql_first") == 0) && e->order.n;
    write_fmt(m->w, "%s%s(%s", name, by ? "_by" : "", e->distinct ? "DISTINCT " : "");
    emit_argument(m, e->args[0], f->args[0]);
    if (by)
        emit_keys(m, &e->order);
    emit_text(m, ")");
}

static void emit_list(struct emitter *m, const struct expr *e)
{
    enum sql_type element = sql_list_element(e->type);
    write_fmt(m->w, "sql_array_agg(%s", e->distinct ? "DISTINCT " : "");
    if (sql_is_text(element))
        emit_as(m, e->args[0], SQL_UTF8);
    else
        emit_as(m, e->args[0], element);
    if (e->order.n)
        emit_keys(m, &e->order);
    emit_text(m, ")");
}

static void emit_string_agg(struct emitter *m, const struct expr *e)
{
    if (e->distinct)
        sql_fail(m->b->err, SQL_ERROR_NOT_IMPLEMENTED, "DISTINCT in string_agg");
    emit_text(m, "sql_string_agg(");
    emit_arguments(m, e, 0);
    if (e->order.n)
        emit_keys(m, &e->order);
    emit_text(m, ")");
}

static void emit_count(struct emitter *m, const struct expr *e)
{
    if (e->n_args == 0 || e->args[0]->kind == E_STAR) {
        emit_text(m, "count(*)");
        return;
    }
    write_fmt(m->w, "count(%s", e->distinct ? "DISTINCT " : "");
    emit_expr(m, e->args[0]);
    emit_text(m, ")");
}

static void emit_over(struct emitter *m, const struct window *w)
{
    emit_text(m, " OVER (");
    for (size_t i = 0; i < w->n_partition; i++) {
        emit_text(m, i ? ", " : "PARTITION BY ");
        emit_expr(m, w->partition[i]);
    }
    if (w->order.n)
        emit_order(m, &w->order, NULL);
    if (w->frame)
        write_fmt(m->w, " %s", w->frame);
    emit_text(m, ")");
}

static void emit_form(struct emitter *m, const struct expr *e)
{
    const struct sql_function *f = e->function;
    switch (f->form) {
    case FORM_COMMON:
        emit_common(m, e, f->emit);
        break;
    case FORM_BIN:
        emit_bin(m, e);
        break;
    case FORM_TRUNC:
        emit_trunc(m, e);
        break;
    case FORM_TO_TIME:
        emit_to_time(m, e);
        break;
    case FORM_UNIXTIME:
        emit_unixtime(m, e);
        break;
    case FORM_COUNT:
        emit_count(m, e);
        break;
    case FORM_AGGREGATE:
        emit_aggregate(m, e);
        break;
    case FORM_LIST:
        emit_list(m, e);
        break;
    case FORM_STRING_AGG:
        emit_string_agg(m, e);
        break;
    case FORM_UNNEST:
        if (e->target)
            emit_text(m, e->target->emit);
        else
            sql_fail(m->b->err, SQL_ERROR_NOT_IMPLEMENTED, "unnest inside of an expression");
        break;
    case FORM_TYPEOF:
        emit_typeof(m, e);
        break;
    case FORM_ARROW_CAST:
        emit_as(m, e->args[0], SQL_UTF8);
        break;
    case FORM_HAS:
        write_fmt(m->w, "%s(", f->emit);
        emit_expr(m, e->args[0]);
        emit_text(m, ", ");
        emit_as(m, e->args[1], SQL_UTF8);
        emit_text(m, ")");
        break;
    case FORM_PLAIN:
    case FORM_CONSTANT:
        if (strcmp(f->emit, "0 < instr") == 0 || strncmp(f->emit, "8 *", 3) == 0) {
            write_fmt(m->w, "(%s(", f->emit);
            emit_arguments(m, e, 0);
            emit_text(m, "))");
            break;
        }
        write_fmt(m->w, "%s(", f->emit);
        emit_arguments(m, e, 0);
        emit_text(m, ")");
        break;
    }
}

void emit_call(struct emitter *m, const struct expr *e)
{
    /* SQLite's is a float whatever it is taken of. */
    bool whole = e->function->result == RESULT_AVERAGE && e->type == SQL_DURATION_MS;
    emit_text(m, whole ? "CAST(" : "");
    emit_form(m, e);
    if (e->filter) {
        emit_text(m, " FILTER (WHERE ");
        emit_expr(m, e->filter);
        emit_text(m, ")");
    }
    if (e->window)
        emit_over(m, e->window);
    emit_text(m, whole ? " AS INTEGER)" : "");
}
