/* Queries: FROM, select lists, grouping, ordering, set operations (query/bind.h). */
#include "query/bind.h"
#include "base/containers.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- columns of FROM items ---- */

struct columns {
    struct bound_column **items;
    size_t len, cap;
};

static const char *emit_column(struct binder *b, char prefix, unsigned number, size_t column)
{
    char text[40];
    snprintf(text, sizeof(text), "%c%u.c%zu", prefix, number, column);
    return arena_copy_text(b->arena, text);
}

static struct bound_column *add_column(struct binder *b, struct bound_item *item, const char *name,
                                       const char *qualifier, enum sql_type type, bool nullable)
{
    struct bound_column *c = arena_alloc(b->arena, sizeof(*c));
    *c = (struct bound_column){.name = name, .qualifier = qualifier, .type = type, .nullable = nullable};
    c->emit = emit_column(b, 't', item->number, item->n);
    item->columns[item->n++] = c;
    return c;
}

static bool apply_column_aliases(struct binder *b, struct bound_item *item, const char **names, size_t n)
{
    if (n > item->n)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                        "Source table contains %zu columns but %zu names given as column alias", item->n, n);
    for (size_t i = 0; i < n; i++)
        item->columns[i]->name = names[i];
    return true;
}

static struct bound_item *item_new(struct binder *b, size_t n)
{
    struct bound_item *item = arena_alloc(b->arena, sizeof(*item));
    item->number = b->next_number++;
    item->columns = arena_array(b->arena, struct bound_column *, n);
    return item;
}

static const struct cte *find_cte(const struct binder *b, const char *name)
{
    for (const struct cte_scope *s = b->ctes; s; s = s->parent)
        if (strcmp(s->cte->name, name) == 0)
            return s->cte;
    return NULL;
}

static struct bound_item *bind_cte_reference(struct binder *b, struct from_item *f, const struct cte *cte)
{
    const struct bound_query *q = cte->query->bound;
    struct bound_item *item = item_new(b, q->n);
    item->cte = cte;
    for (size_t i = 0; i < q->n; i++)
        add_column(b, item, i < cte->n_column_aliases ? cte->column_aliases[i] : q->outputs[i].name,
                   f->alias ? f->alias : cte->name, q->outputs[i].type, q->outputs[i].nullable);
    return item;
}

static struct bound_item *bind_table(struct binder *b, struct from_item *f)
{
    const struct cte *cte = f->schema ? NULL : find_cte(b, f->name);
    if (cte)
        return bind_cte_reference(b, f, cte);
    const struct sql_table *t =
        sql_table_find(b->context, f->schema ? slice_cstr(f->schema) : SLICE_EMPTY, slice_cstr(f->name));
    if (!t) {
        sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "table 'restate.%.200s.%.200s' not found",
                 f->schema ? f->schema : "public", f->name);
        return NULL;
    }
    struct bound_item *item = item_new(b, t->n_columns);
    item->table = t;
    for (size_t i = 0; i < t->n_columns; i++) {
        const struct sql_column *c = &t->columns[i];
        add_column(b, item, c->name, f->alias ? f->alias : t->name, c->type, !c->not_null)->source = c;
    }
    return item;
}

/* Without an alias the columns keep the qualifiers they had inside (spec/sql.md §11.2 item 11). */
static struct bound_item *bind_derived(struct binder *b, struct from_item *f)
{
    struct scope *outer = b->scope;
    b->scope = outer ? outer->parent : NULL; /* not LATERAL: siblings are not seen */
    bool ok = bind_query(b, f->query);
    b->scope = outer;
    if (!ok)
        return NULL;
    const struct bound_query *q = f->query->bound;
    struct bound_item *item = item_new(b, q->n);
    for (size_t i = 0; i < q->n; i++)
        add_column(b, item, q->outputs[i].name, f->alias ? f->alias : q->outputs[i].qualifier,
                   q->outputs[i].type, q->outputs[i].nullable);
    return item;
}

static bool bind_from(struct binder *b, struct from_item *f, struct columns *out);

static struct bound_column *named_column(const struct columns *c, size_t from, size_t to, const char *name)
{
    for (size_t i = from; i < to; i++)
        if (!c->items[i]->hidden && strcmp(c->items[i]->name, name) == 0)
            return c->items[i];
    return NULL;
}

static struct expr *column_expr(struct binder *b, const struct bound_column *c)
{
    struct expr *e = arena_alloc(b->arena, sizeof(*e));
    e->kind = E_COLUMN;
    e->names[0] = c->name;
    e->n_names = 1;
    e->target = c;
    e->type = c->type;
    e->nullable = c->nullable;
    e->bound = true;
    return e;
}

/* USING and NATURAL become conditions; one of the two columns is hidden. */
static bool join_using(struct binder *b, struct from_item *f, struct columns *c, size_t left, size_t right)
{
    if (f->natural) {
        f->using_names = arena_array(b->arena, const char *, c->len - right + 1);
        for (size_t i = right; i < c->len; i++)
            if (named_column(c, left, right, c->items[i]->name))
                f->using_names[f->n_using++] = c->items[i]->name;
    }
    if (f->n_using == 0)
        return true;
    f->on = arena_alloc(b->arena, sizeof(*f->on));
    f->on->kind = E_AND;
    f->on->args = arena_array(b->arena, struct expr *, f->n_using);
    for (size_t i = 0; i < f->n_using; i++) {
        struct bound_column *l = named_column(c, left, right, f->using_names[i]);
        struct bound_column *r = named_column(c, right, c->len, f->using_names[i]);
        if (!l || !r)
            return sql_fail(b->err, SQL_ERROR_SCHEMA, "No field named %s.", f->using_names[i]);
        struct expr *equal = arena_alloc(b->arena, sizeof(*equal));
        equal->kind = E_BINARY;
        equal->op = "=";
        equal->args = arena_array(b->arena, struct expr *, 2);
        equal->args[0] = column_expr(b, l);
        equal->args[1] = column_expr(b, r);
        equal->n_args = 2;
        f->on->args[f->on->n_args++] = equal;
        (f->join == JOIN_RIGHT ? l : r)->hidden = true;
        if (f->join == JOIN_FULL) { /* either side may be the one that is there */
            char text[100];
            snprintf(text, sizeof(text), "coalesce(%s, %s)", l->emit, r->emit);
            struct bound_column *merged = arena_alloc(b->arena, sizeof(*merged));
            *merged = *l;
            merged->emit = arena_copy_text(b->arena, text);
            l->hidden = true;
            VEC_PUSH(c, merged);
        }
    }
    return true;
}

static bool bind_join(struct binder *b, struct from_item *f, struct columns *out)
{
    size_t left = out->len;
    if (!bind_from(b, f->left, out))
        return false;
    size_t right = out->len;
    if (!bind_from(b, f->right, out))
        return false;
    size_t end = out->len;
    if (!join_using(b, f, out, left, right))
        return false;
    if (f->on) {
        struct scope on = {.parent = b->scope->parent, .columns = out->items + left, .n = end - left};
        struct scope *saved = b->scope;
        b->scope = &on;
        bool ok = bind_expr(b, f->on);
        b->scope = saved;
        if (!ok)
            return false;
        if (f->on->type != SQL_BOOL && f->on->type != SQL_NULL)
            return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "the condition of a join must be boolean");
    }
    for (size_t i = left; i < end; i++)
        if (i < right ? f->join == JOIN_RIGHT || f->join == JOIN_FULL
                      : f->join == JOIN_LEFT || f->join == JOIN_FULL)
            out->items[i]->nullable = true;
    return true;
}

static bool bind_from(struct binder *b, struct from_item *f, struct columns *out)
{
    if (f->kind == FROM_JOIN)
        return bind_join(b, f, out);
    f->bound = f->kind == FROM_TABLE ? bind_table(b, f) : bind_derived(b, f);
    if (!f->bound || !apply_column_aliases(b, f->bound, f->column_aliases, f->n_column_aliases))
        return false;
    for (size_t i = 0; i < f->bound->n; i++)
        VEC_PUSH(out, f->bound->columns[i]);
    return true;
}

/* ---- select list ---- */

struct outputs {
    struct bound_output *items;
    size_t len, cap;
};

static bool expand_star(struct binder *b, const struct expr *star, struct outputs *out)
{
    size_t before = out->len;
    const char *qualifier = star->n_names ? star->names[0] : NULL;
    for (size_t i = 0; i < b->scope->n; i++) {
        const struct bound_column *c = b->scope->columns[i];
        if (qualifier ? !c->qualifier || strcmp(c->qualifier, qualifier) != 0 : c->hidden)
            continue;
        struct bound_output o = {column_expr(b, c), c->name, c->qualifier, c->type, c->nullable};
        VEC_PUSH(out, o);
    }
    if (out->len > before)
        return true;
    if (qualifier)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "Invalid qualifier %.100s", qualifier);
    return sql_fail(b->err, SQL_ERROR_PLAN, "SELECT * with no tables specified is not valid");
}

static bool bind_unnest(struct binder *b, struct bound_query *q, struct expr *e)
{
    if (e->kind != E_CALL || e->function->form != FORM_UNNEST)
        return true;
    if (q->n_unnests == 0)
        q->unnests = arena_array(b->arena, struct expr *, 8);
    if (q->n_unnests == 8)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "more than eight unnest calls");
    q->unnests[q->n_unnests++] = e;
    char text[40];
    struct bound_column *c = arena_alloc(b->arena, sizeof(*c));
    snprintf(text, sizeof(text), "u%u.value", b->next_number++);
    *c = (struct bound_column){.name = "unnest", .type = e->type, .nullable = true};
    c->emit = arena_copy_text(b->arena, text);
    e->target = c;
    return true;
}

static bool bind_items(struct binder *b, struct select *s, struct bound_query *q)
{
    struct outputs out = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_items; i++) {
        struct select_item *item = &s->items[i];
        if (item->expr->kind == E_STAR) {
            ok = expand_star(b, item->expr, &out);
            continue;
        }
        struct expr *e = item->expr;
        ok = bind_expr(b, e) && bind_unnest(b, q, e);
        if (!ok)
            break;
        bool plain = e->kind == E_COLUMN && !item->alias;
        struct bound_output o = {e, item->alias ? item->alias : expr_name(b, e),
                                 plain && e->target ? e->target->qualifier : NULL, e->type, e->nullable};
        VEC_PUSH(&out, o);
    }
    if (ok && out.len > 2000)
        ok = sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "more than 2000 output columns");
    if (ok) {
        q->outputs = arena_array(b->arena, struct bound_output, out.len);
        memcpy(q->outputs, out.items, out.len * sizeof(struct bound_output));
        q->n = out.len;
    }
    VEC_FREE(&out);
    return ok;
}

static const char *described(struct binder *b, const struct bound_output *o)
{
    const char *name = expr_name(b, o->expr);
    char text[400];
    if (o->expr->kind == E_COLUMN && o->qualifier)
        snprintf(text, sizeof(text), "%s.%s", o->qualifier, o->name);
    else if (strcmp(name, o->name) == 0)
        snprintf(text, sizeof(text), "%.300s", name);
    else
        snprintf(text, sizeof(text), "%.200s AS %.150s", name, o->name);
    return arena_copy_text(b->arena, text);
}

static bool unique_names(struct binder *b, const struct bound_query *q)
{
    for (size_t i = 0; i < q->n && q->n <= 500; i++) {
        for (size_t j = 0; j < i; j++) {
            const struct bound_output *x = &q->outputs[j], *y = &q->outputs[i];
            if (strcmp(x->name, y->name) != 0 || !x->qualifier != !y->qualifier ||
                (x->qualifier && strcmp(x->qualifier, y->qualifier) != 0))
                continue;
            return sql_fail(
                b->err, SQL_ERROR_PLAN,
                "Projections require unique expression names but the expression \"%s\" at position %zu and "
                "\"%s\" at position %zu have the same name. Consider aliasing (\"AS\") one of them.",
                described(b, x), j, described(b, y), i);
        }
    }
    return true;
}

/* ---- grouping ---- */

static bool ordinal(struct binder *b, const struct bound_query *q, const struct expr *e, size_t *out)
{
    *out = 0;
    if (e->kind != E_INT || e->parenthesized)
        return true;
    if (e->integer < 1 || (uint64_t)e->integer > q->n)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                        "Cannot find column with position %lld in SELECT clause. Valid columns: 1 to %zu",
                        (long long)e->integer, q->n);
    *out = (size_t)e->integer;
    return true;
}

static bool bind_groups(struct binder *b, struct select *s, struct bound_query *q)
{
    b->scope->outputs = q;
    for (size_t i = 0; i < s->n_group_by; i++) {
        size_t position;
        if (!ordinal(b, q, s->group_by[i], &position))
            return false;
        if (position)
            s->group_by[i] = q->outputs[position - 1].expr;
        else if (!bind_expr(b, s->group_by[i]))
            return false;
        if (s->group_by[i]->alias_of)
            s->group_by[i] = s->group_by[i]->alias_of;
        if (s->group_by[i]->aggregate)
            return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "an aggregate cannot be grouped by");
    }
    return true;
}

/* Every column outside of aggregates must be among the groups. */
static bool grouped_properly(struct binder *b, const struct select *s, const struct expr *e)
{
    if (e->alias_of)
        e = e->alias_of;
    for (size_t i = 0; i < s->n_group_by; i++)
        if (expr_equal(s->group_by[i], e))
            return true;
    if (e->aggregate)
        return true;
    if (e->kind == E_COLUMN) {
        for (size_t i = 0; i < b->scope->n; i++)
            if (b->scope->columns[i] == e->target)
                return sql_fail(
                    b->err, SQL_ERROR_PLAN_POSITION,
                    "Column in SELECT must be in GROUP BY or an aggregate function: While expanding "
                    "wildcard, column \"%s%s%s\" must appear in the GROUP BY clause or must be part of an "
                    "aggregate function",
                    e->target->qualifier ? e->target->qualifier : "", e->target->qualifier ? "." : "",
                    e->target->name);
        return true;
    }
    for (size_t i = 0; i < e->n_args; i++)
        if (e->args[i]->kind != E_STAR && !grouped_properly(b, s, e->args[i]))
            return false;
    return true;
}

static bool check_grouping(struct binder *b, const struct select *s, const struct bound_query *q)
{
    for (size_t i = 0; i < q->n; i++)
        if (!grouped_properly(b, s, q->outputs[i].expr))
            return false;
    for (size_t i = 0; i < s->order.n; i++)
        if (!q->order_output[i] && !grouped_properly(b, s, s->order.items[i].expr))
            return false;
    return !s->having || grouped_properly(b, s, s->having);
}

/* ---- ordering ---- */

static bool bind_order(struct binder *b, struct select *s, struct bound_query *q)
{
    b->scope->outputs = q;
    b->scope->outputs_first = true;
    q->order_output = arena_array(b->arena, size_t, s->order.n + 1);
    for (size_t i = 0; i < s->order.n; i++) {
        struct expr *e = s->order.items[i].expr;
        if (!ordinal(b, q, e, &q->order_output[i]))
            return false;
        if (!q->order_output[i] && !bind_expr(b, e))
            return false;
        const struct expr *target = e->alias_of ? e->alias_of : e;
        for (size_t o = 0; o < q->n && !q->order_output[i]; o++)
            if (q->outputs[o].expr && expr_equal(q->outputs[o].expr, target))
                q->order_output[i] = o + 1;
        if (sql_is_list(e->type))
            return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "ordering by a list");
    }
    b->scope->outputs_first = false;
    return true;
}

static bool bind_limit(struct binder *b, struct expr *e)
{
    if (!e)
        return true;
    struct scope none = {0}, *saved = b->scope; /* no column is seen */
    b->scope = &none;
    bool ok = bind_expr(b, e);
    b->scope = saved;
    if (!ok)
        return false;
    if (e->kind != E_INT && e->kind != E_NULL)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "Expected LIMIT and OFFSET to be integer literals");
    return e->kind == E_NULL || e->integer >= 0 ||
           sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "LIMIT must be >= 0, '%lld' was provided",
                    (long long)e->integer);
}

/* The first row of each group in the given order: the order must begin with the groups. */
static bool bind_distinct_on(struct binder *b, struct select *s, struct bound_query *q)
{
    for (size_t i = 0; i < s->n_distinct_on; i++) {
        size_t position;
        if (!ordinal(b, q, s->distinct_on[i], &position))
            return false;
        if (position)
            s->distinct_on[i] = q->outputs[position - 1].expr;
        else if (!bind_expr(b, s->distinct_on[i]))
            return false;
        if (s->distinct_on[i]->alias_of)
            s->distinct_on[i] = s->distinct_on[i]->alias_of;
    }
    for (size_t i = 0; i < MIN(s->n_distinct_on, s->order.n); i++) {
        const struct expr *e = s->order.items[i].expr;
        bool found = false;
        if (q->order_output[i])
            e = q->outputs[q->order_output[i] - 1].expr;
        else if (e->alias_of)
            e = e->alias_of;
        for (size_t j = 0; j < s->n_distinct_on && !found; j++)
            found = expr_equal(s->distinct_on[j], e);
        if (!found)
            return sql_fail(b->err, SQL_ERROR_PLAN,
                            "SELECT DISTINCT ON expressions must match initial ORDER BY expressions");
    }
    return true;
}

/* ---- the three forms of a query ---- */

static bool bind_where(struct binder *b, struct select *s)
{
    if (!s->where)
        return true;
    if (!bind_expr(b, s->where))
        return false;
    if (s->where->type != SQL_BOOL && s->where->type != SQL_NULL)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                        "Cannot create filter with non-boolean predicate '%s' returning %s",
                        expr_name(b, s->where), sql_type_name(s->where->type));
    if (b->scope->has_aggregate)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION, "aggregate functions are not allowed in WHERE");
    return bind_check_ids(b, s->where);
}

static bool bind_core_in_scope(struct binder *b, struct select *s, struct bound_query *q)
{
    if (!bind_where(b, s) || !bind_items(b, s, q) || !unique_names(b, q) || !bind_groups(b, s, q))
        return false;
    if (s->having && !bind_expr(b, s->having))
        return false;
    if (!bind_order(b, s, q))
        return false;
    if (!bind_distinct_on(b, s, q))
        return false;
    q->grouped = s->n_group_by || b->scope->has_aggregate || s->having;
    if (q->grouped && q->n_unnests)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED, "unnest together with grouping");
    return !q->grouped || check_grouping(b, s, q);
}

static bool bind_core(struct binder *b, struct select *s, struct bound_query *q)
{
    struct scope scope = {.parent = b->scope};
    struct columns columns = {0};
    b->scope = &scope;
    bool ok = !s->from || bind_from(b, s->from, &columns);
    scope.columns = columns.items;
    scope.n = columns.len;
    ok = ok && bind_core_in_scope(b, s, q);
    b->scope = scope.parent;
    VEC_FREE(&columns);
    return ok;
}

static bool bind_values(struct binder *b, struct select *s, struct bound_query *q)
{
    struct scope scope = {.parent = b->scope};
    bool ok = true;
    q->n = s->values_width;
    q->outputs = arena_array(b->arena, struct bound_output, q->n);
    b->scope = &scope;
    for (size_t c = 0; ok && c < q->n; c++) {
        char name[24];
        snprintf(name, sizeof(name), "column%zu", c + 1);
        struct bound_output *o = &q->outputs[c];
        *o = (struct bound_output){.name = arena_copy_text(b->arena, name), .nullable = true};
        for (size_t r = 0; ok && r < s->n_values; r++) {
            ok = bind_expr(b, s->values[r][c]);
            o->type = ok ? sql_common_type(o->type, s->values[r][c]->type) : SQL_NULL;
            if (o->type == SQL_TYPES)
                ok = sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                              "Inconsistent types in the values of column %zu", c + 1);
        }
    }
    b->scope = scope.parent;
    q->order_output = arena_array(b->arena, size_t, s->order.n + 1);
    return ok;
}

static bool bind_set(struct binder *b, struct select *s, struct bound_query *q)
{
    if (!bind_query(b, s->left) || !bind_query(b, s->right))
        return false;
    const struct bound_query *l = s->left->bound, *r = s->right->bound;
    static const char *const names[] = {"", "UNION", "EXCEPT", "INTERSECT"};
    if (l->n != r->n)
        return sql_fail(
            b->err, SQL_ERROR_PLAN_POSITION,
            "%s queries have different number of columns: left has %zu columns whereas right has %zu columns",
            names[s->set_op], l->n, r->n);
    q->n = l->n;
    q->outputs = arena_array(b->arena, struct bound_output, q->n);
    for (size_t i = 0; i < q->n; i++) {
        struct bound_output *o = &q->outputs[i];
        o->name = l->outputs[i].name;
        o->nullable = l->outputs[i].nullable || r->outputs[i].nullable;
        o->type = sql_common_type(l->outputs[i].type, r->outputs[i].type);
        if (o->type == SQL_TYPES)
            return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                            "Incompatible inputs for %s: column %zu is %s and %s", names[s->set_op], i + 1,
                            sql_type_name(l->outputs[i].type), sql_type_name(r->outputs[i].type));
    }
    return true;
}

/* ORDER BY around a set operation or VALUES sees the output columns only. */
static bool bind_outer_order(struct binder *b, struct select *s, struct bound_query *q)
{
    struct scope scope = {.parent = b->scope};
    struct bound_column **columns = arena_array(b->arena, struct bound_column *, q->n);
    for (size_t i = 0; i < q->n; i++) {
        char text[40];
        snprintf(text, sizeof(text), "c%zu", i);
        columns[i] = arena_alloc(b->arena, sizeof(*columns[i]));
        *columns[i] = (struct bound_column){.name = q->outputs[i].name,
                                            .type = q->outputs[i].type,
                                            .nullable = q->outputs[i].nullable,
                                            .emit = arena_copy_text(b->arena, text)};
    }
    scope.columns = columns;
    scope.n = q->n;
    b->scope = &scope;
    bool ok = bind_order(b, s, q);
    b->scope = scope.parent;
    return ok;
}

/* ---- WITH RECURSIVE ---- */

static bool from_names(const struct from_item *f, const char *name)
{
    if (!f)
        return false;
    if (f->kind == FROM_JOIN)
        return from_names(f->left, name) || from_names(f->right, name);
    return f->kind == FROM_TABLE && !f->schema && strcmp(f->name, name) == 0;
}

/* Only the form that SQLite has: <start> UNION [ALL] <step>, where the step's own FROM names the query.
 * Everything else named so is another table, or none. */
static bool cte_names_itself(const struct cte *c)
{
    const struct select *q = c->query;
    return q->set_op == SET_UNION && !q->order.n && !q->limit && !q->offset && !q->n_ctes &&
           !q->right->set_op && !q->right->values && from_names(q->right->from, c->name);
}

static bool bind_recursive(struct binder *b, struct cte *c)
{
    struct select *s = c->query, *step = s->right;
    if (!bind_query(b, s->left))
        return false;
    const struct bound_query *start = s->left->bound;
    struct bound_query *q = s->bound = arena_alloc(b->arena, sizeof(*q));
    q->n = start->n;
    q->outputs = arena_array(b->arena, struct bound_output, q->n);
    q->order_output = arena_array(b->arena, size_t, 1);
    for (size_t i = 0; i < q->n; i++)
        q->outputs[i] = (struct bound_output){
            .name = start->outputs[i].name, .type = start->outputs[i].type, .nullable = true};
    struct cte_scope own = {b->ctes, c};
    b->ctes = &own;
    bool ok = bind_query(b, step);
    b->ctes = own.parent;
    if (!ok)
        return false;
    const struct bound_query *r = step->bound;
    if (r->n != q->n)
        return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                        "UNION queries have different number of columns: left has %zu columns whereas right "
                        "has %zu columns",
                        q->n, r->n);
    if (r->grouped || step->distinct || step->n_distinct_on || step->order.n || step->limit || step->offset ||
        step->n_ctes)
        return sql_fail(b->err, SQL_ERROR_NOT_IMPLEMENTED,
                        "grouping, DISTINCT, ORDER BY or LIMIT in the recursive part of a query");
    for (size_t i = 0; i < q->n; i++)
        if (sql_common_type(q->outputs[i].type, r->outputs[i].type) == SQL_TYPES)
            return sql_fail(b->err, SQL_ERROR_PLAN_POSITION,
                            "Incompatible inputs for UNION: column %zu is %s and %s", i + 1,
                            sql_type_name(q->outputs[i].type), sql_type_name(r->outputs[i].type));
    return true;
}

static bool bind_ctes(struct binder *b, struct select *s)
{
    for (size_t i = 0; i < s->n_ctes; i++) {
        struct cte *c = &s->ctes[i];
        for (size_t j = 0; j < i; j++)
            if (strcmp(s->ctes[j].name, c->name) == 0)
                return sql_fail(b->err, SQL_ERROR_PLAN, "WITH query name \"%s\" specified more than once",
                                c->name);
        c->number = b->next_cte++;
        c->recursive = c->recursive && cte_names_itself(c);
        if (!(c->recursive ? bind_recursive(b, c) : bind_query(b, c->query)))
            return false;
        struct cte_scope *scope = arena_alloc(b->arena, sizeof(*scope));
        *scope = (struct cte_scope){b->ctes, c};
        b->ctes = scope;
    }
    return true;
}

bool bind_query(struct binder *b, struct select *s)
{
    struct bound_query *q = arena_alloc(b->arena, sizeof(*q));
    struct cte_scope *ctes = b->ctes;
    bool ok = bind_ctes(b, s);
    if (ok && (s->set_op || s->values))
        ok = (s->set_op ? bind_set(b, s, q) : bind_values(b, s, q)) && bind_outer_order(b, s, q);
    else if (ok)
        ok = bind_core(b, s, q);
    ok = ok && bind_limit(b, s->limit) && bind_limit(b, s->offset);
    b->ctes = ctes;
    s->bound = q;
    return ok;
}
