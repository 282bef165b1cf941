/* Queries as SQLite SQL (query/bind.h). Output columns are called c0, c1, ... everywhere. */
#include "query/emit.h"

/* `outputs` not NULL: items that equal an output column are written as its position. */
void emit_order(struct emitter *m, const struct order_list *order, const struct bound_query *outputs)
{
    bool any = false;
    for (size_t i = 0; i < order->n; i++) {
        const struct order_item *o = &order->items[i];
        size_t position = outputs ? outputs->order_output[i] : 0;
        if (!position && expr_is_constant(o->expr))
            continue; /* would be taken for a position, and orders nothing */
        emit_text(m, any ? ", " : " ORDER BY ");
        any = true;
        if (position)
            write_fmt(m->w, "%zu", position);
        else
            emit_expr(m, o->expr);
        write_fmt(m->w, " %s NULLS %s", o->descending ? "DESC" : "ASC", o->nulls_first ? "FIRST" : "LAST");
    }
}

static void emit_limit(struct emitter *m, const struct select *s)
{
    if (s->limit)
        emit_wanted(m, s->limit, SQL_I64);
    if (s->offset)
        emit_wanted(m, s->offset, SQL_I64);
    bool limited = s->limit && s->limit->kind == E_INT;
    if (limited)
        write_fmt(m->w, " LIMIT %lld", (long long)s->limit->integer);
    if (s->offset && s->offset->kind == E_INT)
        write_fmt(m->w, "%s OFFSET %lld", limited ? "" : " LIMIT -1", (long long)s->offset->integer);
}

/* ---- FROM ---- */

static void emit_from(struct emitter *m, const struct from_item *f);

static void emit_join(struct emitter *m, const struct from_item *f)
{
    static const char *const words[] = {
        [JOIN_COMMA] = " JOIN ",     [JOIN_CROSS] = " JOIN ",       [JOIN_INNER] = " JOIN ",
        [JOIN_LEFT] = " LEFT JOIN ", [JOIN_RIGHT] = " RIGHT JOIN ", [JOIN_FULL] = " FULL JOIN "};
    emit_from(m, f->left);
    emit_text(m, words[f->join]);
    bool nested = f->right->kind == FROM_JOIN;
    if (nested)
        emit_text(m, "(");
    emit_from(m, f->right);
    if (nested)
        emit_text(m, ")");
    if (f->on) {
        emit_text(m, " ON ");
        emit_expr(m, f->on);
    }
}

static void emit_from(struct emitter *m, const struct from_item *f)
{
    if (f->kind == FROM_JOIN) {
        emit_join(m, f);
        return;
    }
    const struct bound_item *item = f->bound;
    if (item->table) {
        write_fmt(m->w, "v%d AS t%u", (int)item->table->id, item->number);
    } else if (item->cte) {
        write_fmt(m->w, "w%u AS t%u", item->cte->number, item->number);
    } else {
        emit_text(m, "(");
        emit_select(m, f->query, NULL);
        write_fmt(m->w, ") AS t%u", item->number);
    }
}

static void emit_unnests(struct emitter *m, const struct select *s)
{
    const struct bound_query *q = s->bound;
    for (size_t i = 0; i < q->n_unnests; i++) {
        emit_text(m, i || s->from ? " JOIN " : " FROM ");
        emit_text(m, "json_each(coalesce(");
        emit_expr(m, q->unnests[i]->args[0]);
        const char *emit = q->unnests[i]->target->emit; /* u5.value */
        write_fmt(m->w, ", '[]')) AS %.*s", (int)strcspn(emit, "."), emit);
    }
}

/* ---- the three forms ---- */

static void emit_outputs(struct emitter *m, const struct bound_query *q, const enum sql_type *types)
{
    for (size_t i = 0; i < q->n; i++) {
        if (i)
            emit_text(m, ", ");
        emit_as(m, q->outputs[i].expr, types ? types[i] : q->outputs[i].type);
        write_fmt(m->w, " AS c%zu", i);
    }
}

static void emit_groups(struct emitter *m, const struct select *s)
{
    for (size_t i = 0; i < s->n_group_by; i++) {
        emit_text(m, i ? ", " : " GROUP BY ");
        if (expr_is_constant(s->group_by[i]))
            emit_text(m, "NULL");
        else
            emit_expr(m, s->group_by[i]);
    }
}

/* What DISTINCT ON needs besides: the row's number within its group, and what the result is ordered by. */
static void emit_distinct_columns(struct emitter *m, const struct select *s)
{
    const struct bound_query *q = s->bound;
    for (size_t i = 0; i < s->order.n; i++) {
        if (q->order_output[i])
            continue;
        emit_text(m, ", ");
        emit_expr(m, s->order.items[i].expr);
        write_fmt(m->w, " AS o%zu", i);
    }
    emit_text(m, ", row_number() OVER (PARTITION BY ");
    for (size_t i = 0; i < s->n_distinct_on; i++) {
        if (i)
            emit_text(m, ", ");
        if (expr_is_constant(s->distinct_on[i]))
            emit_text(m, "NULL");
        else
            emit_expr(m, s->distinct_on[i]);
    }
    for (size_t i = 0; i < s->order.n; i++) {
        const struct order_item *o = &s->order.items[i];
        const struct expr *e = q->order_output[i] ? q->outputs[q->order_output[i] - 1].expr : o->expr;
        emit_text(m, i ? ", " : " ORDER BY ");
        emit_expr(m, e);
        write_fmt(m->w, " %s NULLS %s", o->descending ? "DESC" : "ASC", o->nulls_first ? "FIRST" : "LAST");
    }
    emit_text(m, ") AS rn");
}

/* ORDER BY around the rows of DISTINCT ON. */
static void emit_distinct_order(struct emitter *m, const struct select *s)
{
    for (size_t i = 0; i < s->order.n; i++) {
        const struct order_item *o = &s->order.items[i];
        size_t position = s->bound->order_output[i];
        write_fmt(m->w, "%s%c%zu %s NULLS %s", i ? ", " : " ORDER BY ", position ? 'c' : 'o',
                  position ? position - 1 : i, o->descending ? "DESC" : "ASC",
                  o->nulls_first ? "FIRST" : "LAST");
    }
}

static void emit_core(struct emitter *m, const struct select *s, const enum sql_type *types)
{
    emit_text(m, s->distinct ? "SELECT DISTINCT " : "SELECT ");
    emit_outputs(m, s->bound, types);
    if (s->n_distinct_on)
        emit_distinct_columns(m, s);
    if (s->from) {
        emit_text(m, " FROM ");
        emit_from(m, s->from);
    }
    emit_unnests(m, s);
    if (s->where) {
        emit_text(m, " WHERE ");
        emit_expr(m, s->where);
    }
    emit_groups(m, s);
    if (s->having) {
        emit_text(m, " HAVING ");
        emit_expr(m, s->having);
    }
}

static void emit_values(struct emitter *m, const struct select *s, const enum sql_type *types)
{
    const struct bound_query *q = s->bound;
    for (size_t c = 0; c < q->n; c++)
        write_fmt(m->w, "%scolumn%zu AS c%zu", c ? ", " : "SELECT ", c + 1, c);
    emit_text(m, " FROM (VALUES ");
    for (size_t r = 0; r < s->n_values; r++) {
        emit_text(m, r ? ", (" : "(");
        for (size_t c = 0; c < q->n; c++) {
            if (c)
                emit_text(m, ", ");
            emit_as(m, s->values[r][c], types ? types[c] : q->outputs[c].type);
        }
        emit_text(m, ")");
    }
    emit_text(m, ")");
}

static void emit_columns(struct emitter *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        write_fmt(m->w, "%sc%zu", i ? ", " : "SELECT ", i);
}

/* EXCEPT ALL, INTERSECT ALL: equal rows are told apart by their number. */
static void emit_set_all(struct emitter *m, const struct select *s, const enum sql_type *own)
{
    size_t n = s->bound->n;
    const struct select *sides[] = {s->left, s->right};
    emit_columns(m, n);
    emit_text(m, " FROM (");
    for (size_t i = 0; i < 2; i++) {
        if (i)
            emit_text(m, s->set_op == SET_EXCEPT ? " EXCEPT " : " INTERSECT ");
        emit_columns(m, n);
        for (size_t c = 0; c < n; c++)
            write_fmt(m->w, "%sc%zu", c ? ", " : ", row_number() OVER (PARTITION BY ", c);
        emit_text(m, ") AS rn FROM (");
        emit_select(m, sides[i], own);
        emit_text(m, ")");
    }
    emit_text(m, ")");
}

static void emit_set(struct emitter *m, const struct select *s, const enum sql_type *types)
{
    static const char *const words[] = {
        [SET_UNION] = " UNION ", [SET_EXCEPT] = " EXCEPT ", [SET_INTERSECT] = " INTERSECT "};
    const struct bound_query *q = s->bound;
    enum sql_type *own = arena_array(m->b->arena, enum sql_type, q->n);
    for (size_t i = 0; i < q->n; i++)
        own[i] = types ? types[i] : q->outputs[i].type;
    if (s->set_all && s->set_op != SET_UNION) {
        emit_set_all(m, s, own);
        return;
    }
    const struct select *sides[] = {s->left, s->right};
    for (size_t i = 0; i < 2; i++) {
        if (i)
            emit_text(m, s->set_all ? " UNION ALL " : words[s->set_op]);
        emit_columns(m, q->n);
        emit_text(m, " FROM (");
        emit_select(m, sides[i], own);
        emit_text(m, ")");
    }
}

static void emit_recursive(struct emitter *m, const struct select *s)
{
    const struct bound_query *q = s->bound;
    enum sql_type *types = arena_array(m->b->arena, enum sql_type, q->n);
    for (size_t i = 0; i < q->n; i++)
        types[i] = q->outputs[i].type;
    emit_columns(m, q->n);
    emit_text(m, " FROM (");
    emit_select(m, s->left, types);
    emit_text(m, s->set_all ? ") UNION ALL " : ") UNION ");
    emit_core(m, s->right, types);
}

static void emit_ctes(struct emitter *m, const struct select *s)
{
    for (size_t i = 0; i < s->n_ctes; i++) {
        const struct cte *c = &s->ctes[i];
        write_fmt(m->w, "%sw%u AS (", i ? ", " : "WITH ", c->number); /* SQLite needs no RECURSIVE */
        if (c->recursive)
            emit_recursive(m, c->query);
        else
            emit_select(m, c->query, NULL);
        emit_text(m, ")");
    }
    if (s->n_ctes)
        emit_text(m, " ");
}

void emit_select(struct emitter *m, const struct select *s, const enum sql_type *types)
{
    if (m->b->err->kind != SQL_ERROR_NONE)
        return;
    bool compound = s->set_op || s->values;
    bool distinct_on = s->n_distinct_on > 0;
    bool wrap = distinct_on || (compound && (s->order.n || s->limit || s->offset));
    emit_ctes(m, s);
    if (wrap) {
        emit_columns(m, s->bound->n);
        emit_text(m, " FROM (");
    }
    if (s->set_op)
        emit_set(m, s, types);
    else if (s->values)
        emit_values(m, s, types);
    else
        emit_core(m, s, types);
    if (wrap)
        emit_text(m, distinct_on ? ") WHERE rn = 1" : ")");
    if (distinct_on)
        emit_distinct_order(m, s);
    else
        emit_order(m, &s->order, s->bound);
    emit_limit(m, s);
}

bool emit_query(struct binder *b, const struct select *s, struct writer *out)
{
    struct emitter m = {.b = b, .w = out};
    emit_select(&m, s, NULL);
    return b->err->kind == SQL_ERROR_NONE;
}
