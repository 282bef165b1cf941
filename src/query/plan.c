/* From text to a plan, and how errors are worded (query/plan.h). */
#include "query/plan.h"

#include "query/bind.h"

static const struct result_column explain_columns[] = {{"plan_type", SQL_UTF8, false},
                                                       {"plan", SQL_UTF8, false}};

static void take_columns(struct sql_plan *p, const struct bound_query *q)
{
    struct result_column *columns = arena_array(&p->arena, struct result_column, q->n + 1);
    for (size_t i = 0; i < q->n; i++)
        columns[i] = (struct result_column){q->outputs[i].name, q->outputs[i].type, q->outputs[i].nullable};
    p->columns = columns;
    p->n_columns = q->n;
}

/* One row: what SQLite is asked to run. */
static void explain(struct sql_plan *p, struct writer *w)
{
    struct writer row = WRITER_INIT;
    write_slice_raw(&row, SLICE_LIT("SELECT 'physical_plan' AS c0, '"));
    struct slice text = writer_slice(w);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            write_u8(&row, '\'');
        write_u8(&row, text.ptr[i]);
    }
    write_slice_raw(&row, SLICE_LIT("' AS c1"));
    writer_free(w);
    *w = row;
    p->columns = explain_columns;
    p->n_columns = ARRAY_LEN(explain_columns);
}

static bool make(struct sql_plan *p, struct slice sql, struct binder b)
{
    struct sql_error *err = b.err;
    *p = (struct sql_plan){0};
    *err = (struct sql_error){0};
    if (sql.len > SQL_TEXT_MAX)
        return sql_fail(err, SQL_ERROR_PLAN, "the statement is longer than %u bytes", SQL_TEXT_MAX);
    struct statement s;
    if (!sql_parse(&p->arena, sql, b.context, &s, err))
        return false;
    if (s.kind == STATEMENT_SET)
        return true;
    p->returns = true;
    b.arena = &p->arena;
    struct writer w = WRITER_INIT;
    bool ok = bind_query(&b, s.query) && emit_query(&b, s.query, &w);
    if (ok) {
        take_columns(p, s.query->bound);
        if (s.kind == STATEMENT_EXPLAIN)
            explain(p, &w);
        p->text = arena_copy_slice(&p->arena, writer_slice(&w));
    }
    writer_free(&w);
    return ok;
}

bool sql_plan_make(struct sql_plan *p, struct slice sql, enum sql_context context, int64_t now_ns,
                   struct sql_error *err)
{
    return make(p, sql, (struct binder){.err = err, .context = context, .now_ns = now_ns});
}

bool sql_plan_describe(struct sql_plan *p, struct slice sql, enum sql_context context,
                       enum sql_type *parameters, size_t n_parameters, struct sql_error *err)
{
    for (size_t i = 0; i < n_parameters; i++)
        parameters[i] = SQL_NULL;
    return make(p, sql,
                (struct binder){
                    .err = err, .context = context, .parameters = parameters, .n_parameters = n_parameters});
}

void sql_plan_free(struct sql_plan *p)
{
    arena_free(&p->arena);
}

void sql_error_write(struct writer *w, const struct sql_error *err, bool prefix)
{
    static const char *const kinds[] = {
        [SQL_ERROR_NONE] = "",
        [SQL_ERROR_PARSE] = "",
        [SQL_ERROR_PLAN] = "Error during planning: ",
        [SQL_ERROR_PLAN_POSITION] = "Error during planning: ",
        [SQL_ERROR_SCHEMA] = "Schema error: ",
        [SQL_ERROR_NOT_IMPLEMENTED] = "This feature is not implemented: ",
        [SQL_ERROR_EXECUTION] = "",
        [SQL_ERROR_RESOURCES] = "Resources exhausted: ",
        [SQL_ERROR_CANCELED] = "Execution error: ",
        [SQL_ERROR_UNAVAILABLE] = "",
    };
    bool own_words = err->kind == SQL_ERROR_UNAVAILABLE;
    if (prefix && !own_words)
        write_slice_raw(w, SLICE_LIT("Datafusion error: "));
    write_slice_raw(w, slice_cstr(kinds[err->kind]));
    write_slice_raw(w, slice_cstr(err->message));
}

int sql_error_http_status(const struct sql_error *err)
{
    switch (err->kind) {
    case SQL_ERROR_PARSE:
    case SQL_ERROR_PLAN:
        return 400;
    case SQL_ERROR_UNAVAILABLE:
        return 503;
    default:
        return 500;
    }
}
