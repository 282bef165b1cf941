/* Names of output columns without an alias, as the reference prints expressions (spec/sql.md §11.4). */
#include "query/bind.h"

#define NAME_MAX_BYTES 600

static void name_write(struct writer *w, const struct expr *e, bool top);

static void names_write(struct writer *w, struct expr *const *args, size_t n, const char *separator)
{
    for (size_t i = 0; i < n; i++) {
        if (i)
            write_slice_raw(w, slice_cstr(separator));
        name_write(w, args[i], false);
    }
}

static void call_write(struct writer *w, const struct expr *e)
{
    write_fmt(w, "%s(%s", e->op, e->distinct ? "DISTINCT " : "");
    if (e->n_args == 1 && e->args[0]->kind == E_STAR)
        write_u8(w, '*');
    else
        names_write(w, e->args, e->n_args, ",");
    for (size_t i = 0; i < e->order.n; i++) {
        const struct order_item *o = &e->order.items[i];
        write_slice_raw(w, slice_cstr(i ? ", " : " ORDER BY ["));
        name_write(w, o->expr, false);
        write_fmt(w, " %s NULLS %s%s", o->descending ? "DESC" : "ASC", o->nulls_first ? "FIRST" : "LAST",
                  i + 1 == e->order.n ? "]" : "");
    }
    write_u8(w, ')');
    if (e->filter) {
        write_slice_raw(w, SLICE_LIT(" FILTER (WHERE "));
        name_write(w, e->filter, false);
        write_u8(w, ')');
    }
    if (e->window) {
        if (e->window->n_partition) {
            write_slice_raw(w, SLICE_LIT(" PARTITION BY ["));
            names_write(w, e->window->partition, e->window->n_partition, ", ");
            write_u8(w, ']');
        }
        for (size_t i = 0; i < e->window->order.n; i++) {
            const struct order_item *o = &e->window->order.items[i];
            write_slice_raw(w, slice_cstr(i ? ", " : " ORDER BY ["));
            name_write(w, o->expr, false);
            write_fmt(w, " %s NULLS %s%s", o->descending ? "DESC" : "ASC", o->nulls_first ? "FIRST" : "LAST",
                      i + 1 == e->window->order.n ? "]" : "");
        }
    }
}

static void case_write(struct writer *w, const struct expr *e)
{
    size_t i = 0;
    write_slice_raw(w, SLICE_LIT("CASE "));
    if (e->flag) {
        name_write(w, e->args[i++], false);
        write_u8(w, ' ');
    }
    for (; i + 1 < e->n_args; i += 2) {
        write_slice_raw(w, SLICE_LIT("WHEN "));
        name_write(w, e->args[i], false);
        write_slice_raw(w, SLICE_LIT(" THEN "));
        name_write(w, e->args[i + 1], false);
        write_u8(w, ' ');
    }
    if (i < e->n_args) {
        write_slice_raw(w, SLICE_LIT("ELSE "));
        name_write(w, e->args[i], false);
        write_u8(w, ' ');
    }
    write_slice_raw(w, SLICE_LIT("END"));
}

static void column_write(struct writer *w, const struct expr *e, bool top)
{
    if (!top && e->target && e->target->qualifier)
        write_fmt(w, "%s.", e->target->qualifier);
    write_slice_raw(w, slice_cstr(e->names[e->n_names - 1]));
}

static void literal_write(struct writer *w, const struct expr *e)
{
    switch (e->kind) {
    case E_NULL:
        write_slice_raw(w, SLICE_LIT("NULL"));
        break;
    case E_BOOL:
        write_fmt(w, "Boolean(%s)", e->integer ? "true" : "false");
        break;
    case E_INT:
        write_fmt(w, "Int64(%lld)", (long long)e->integer);
        break;
    case E_UINT:
        write_fmt(w, "UInt64(%llu)", (unsigned long long)e->integer);
        break;
    case E_FLOAT:
        write_slice_raw(w, SLICE_LIT("Float64("));
        if (e->real < 1e15 && e->real > -1e15 && e->real == (double)(int64_t)e->real)
            write_fmt(w, "%lld", (long long)e->real);
        else
            sql_float_write(w, e->real);
        write_u8(w, ')');
        break;
    case E_STRING:
        write_slice_raw(w, SLICE_LIT("Utf8(\""));
        write_slice_raw(w, e->text);
        write_slice_raw(w, SLICE_LIT("\")"));
        break;
    case E_INTERVAL:
        write_slice_raw(w, SLICE_LIT("IntervalMonthDayNano(\""));
        write_slice_raw(w, e->text);
        write_slice_raw(w, SLICE_LIT("\")"));
        break;
    default:
        if (e->op) /* now() was folded */
            write_fmt(w, "%s()", e->op);
        else
            write_slice_raw(w, e->text);
        break;
    }
}

static void is_write(struct writer *w, const struct expr *e)
{
    char upper[8] = "";
    for (size_t i = 0; e->op[i] && i < sizeof(upper) - 1; i++)
        upper[i] = (char)(e->op[i] - 'a' + 'A');
    name_write(w, e->args[0], false);
    write_fmt(w, " IS %s%s", e->negated ? "NOT " : "", upper);
}

static void list_write(struct writer *w, const struct expr *e)
{
    name_write(w, e->args[0], false);
    write_fmt(w, " %sIN (", e->negated ? "NOT " : "");
    if (e->kind == E_IN)
        names_write(w, e->args + 1, e->n_args - 1, ", ");
    else
        write_slice_raw(w, SLICE_LIT("<subquery>"));
    write_u8(w, ')');
}

static void name_write(struct writer *w, const struct expr *e, bool top)
{
    if (w->len > NAME_MAX_BYTES)
        return; /* long enough to be a name */
    switch (e->kind) {
    case E_COLUMN:
        column_write(w, e, top);
        break;
    case E_CALL:
        call_write(w, e);
        break;
    case E_NEGATE:
        write_slice_raw(w, SLICE_LIT("(- "));
        name_write(w, e->args[0], false);
        write_u8(w, ')');
        break;
    case E_BINARY:
        name_write(w, e->args[0], false);
        write_fmt(w, " %s ", e->op);
        name_write(w, e->args[1], false);
        break;
    case E_AND:
        names_write(w, e->args, e->n_args, " AND ");
        break;
    case E_OR:
        names_write(w, e->args, e->n_args, " OR ");
        break;
    case E_NOT:
        write_slice_raw(w, SLICE_LIT("NOT "));
        name_write(w, e->args[0], false);
        break;
    case E_IS:
        is_write(w, e);
        break;
    case E_IS_DISTINCT:
        name_write(w, e->args[0], false);
        write_fmt(w, " IS %sDISTINCT FROM ", e->negated ? "NOT " : "");
        name_write(w, e->args[1], false);
        break;
    case E_BETWEEN:
        name_write(w, e->args[0], false);
        write_fmt(w, " %sBETWEEN ", e->negated ? "NOT " : "");
        name_write(w, e->args[1], false);
        write_slice_raw(w, SLICE_LIT(" AND "));
        name_write(w, e->args[2], false);
        break;
    case E_IN:
    case E_IN_QUERY:
        list_write(w, e);
        break;
    case E_LIKE:
    case E_SIMILAR:
        name_write(w, e->args[0], false);
        write_fmt(w, " %s%s ", e->negated ? "NOT " : "",
                  e->kind == E_SIMILAR ? "SIMILAR TO"
                  : e->flag            ? "ILIKE"
                                       : "LIKE");
        name_write(w, e->args[1], false);
        break;
    case E_CASE:
        case_write(w, e);
        break;
    case E_CAST:
        name_write(w, e->args[0], top);
        break;
    case E_EXISTS:
        write_slice_raw(w, SLICE_LIT("EXISTS (<subquery>)"));
        break;
    case E_SUBQUERY:
        if (e->query->bound && e->query->bound->n == 1)
            write_slice_raw(w, slice_cstr(e->query->bound->outputs[0].name));
        break;
    case E_ARRAY:
        write_slice_raw(w, SLICE_LIT("make_array("));
        names_write(w, e->args, e->n_args, ",");
        write_u8(w, ')');
        break;
    case E_SUBSCRIPT:
        name_write(w, e->args[0], false);
        write_u8(w, '[');
        name_write(w, e->args[1], false);
        write_u8(w, ']');
        break;
    case E_STAR:
        write_u8(w, '*');
        break;
    default:
        literal_write(w, e);
    }
}

const char *expr_name(struct binder *b, const struct expr *e)
{
    struct writer w = WRITER_INIT;
    name_write(&w, e, true);
    size_t n = w.len;
    while (n > NAME_MAX_BYTES && (w.buf->data[n] & 0xc0) == 0x80)
        n--;
    const char *out = arena_copy_slice(b->arena, n ? slice_make(w.buf->data, n) : SLICE_EMPTY);
    writer_free(&w);
    return out;
}
