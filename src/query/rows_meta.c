/* Rows that need no partition: services, deployments, information_schema (query/tables.h; spec/sql.md §3.9,
 * §3.10, §6). */
#include "query/tables.h"

/* ---- schema registry ---- */

static const char *service_type_name(enum service_type t)
{
    static const char *const names[] = {"service", "virtual_object", "workflow"};
    return names[t];
}

static void service_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct schema_service *const *services;
    schema_services(c->q->schema, &services);
    const struct schema_service *s = services[c->index];
    switch (column) {
    case 0:
        out_text(out, slice_cstr(s->name));
        break;
    case 1:
        sqlite3_result_int64(out, s->revision);
        break;
    case 2:
        sqlite3_result_int(out, s->is_public);
        break;
    case 3:
        out_cstr(out, service_type_name(s->type));
        break;
    default:
        out_resource(out, RESOURCE_DEPLOYMENT, s->deployment->id);
    }
}

static void deployment_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct schema_deployment *const *deployments;
    schema_deployments(c->q->schema, &deployments);
    const struct schema_deployment *d = deployments[c->index];
    switch (column) {
    case 0:
        out_resource(out, RESOURCE_DEPLOYMENT, d->id);
        break;
    case 1:
        out_cstr(out, d->kind == DEPLOYMENT_LAMBDA ? "lambda" : "http");
        break;
    case 2:
        out_text(out, slice_cstr(d->kind == DEPLOYMENT_LAMBDA ? d->arn : d->uri));
        break;
    case 3:
        out_time(out, d->created_at_ms);
        break;
    case 4:
        sqlite3_result_int64(out, d->min_protocol_version);
        break;
    case 5:
        sqlite3_result_int64(out, d->max_protocol_version);
        break;
    default:
        writer_reset(&c->text);
        write_u8(&c->text, '[');
        for (size_t i = 0; i < d->n_services; i++) {
            if (i)
                write_u8(&c->text, ',');
            write_json_string(&c->text, slice_cstr(d->services[i]->name));
        }
        write_u8(&c->text, ']');
        out_text(out, writer_slice(&c->text));
    }
}

/* ---- information_schema ---- */

/* The n-th table that is listed, from *at on. */
static const struct sql_table *listed(const struct cursor *c, size_t at, bool views_too)
{
    for (size_t i = at; i < SQL_TABLES; i++) {
        const struct sql_table *t = &sql_tables[i];
        if (!t->hidden && sql_table_in(t, c->q->context) && (views_too || !sql_table_is_information(t->id)))
            return t;
    }
    return NULL;
}

static const struct sql_table *table_of(struct cursor *c)
{
    return listed(c, c->index, c->aux->table->id == TABLE_IS_TABLES);
}

static void tables_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct sql_table *t = table_of(c);
    if (column == 0)
        out_cstr(out, "restate");
    else if (column == 1)
        out_cstr(out, t->schema);
    else if (column == 2)
        out_cstr(out, t->name);
    else if (c->aux->table->id == TABLE_IS_TABLES)
        out_cstr(out, t->view ? "VIEW" : "BASE TABLE");
    else if (t->view && !sql_table_is_information(t->id))
        out_cstr(out, "built in");
}

static void columns_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct sql_table *t = table_of(c);
    const struct sql_column *col = &t->columns[c->column];
    bool sized = sql_is_integer(col->type) && col->type != SQL_U64 && col->type != SQL_U64_KEY;
    switch (column) {
    case 0:
        out_cstr(out, "restate");
        break;
    case 1:
        out_cstr(out, t->schema);
        break;
    case 2:
        out_cstr(out, t->name);
        break;
    case 3:
        out_cstr(out, col->name);
        break;
    case 4:
        sqlite3_result_int64(out, (sqlite3_int64)c->column);
        break;
    case 6:
        out_cstr(out, col->not_null ? "NO" : "YES");
        break;
    case 7:
        out_cstr(out, sql_type_name(col->type));
        break;
    case 9:
        if (col->type == SQL_LARGE_UTF8 || col->type == SQL_LARGE_BINARY)
            sqlite3_result_int64(out, INT64_MAX);
        else if (col->type == SQL_UTF8 || col->type == SQL_BINARY)
            sqlite3_result_int64(out, INT32_MAX);
        break;
    case 10:
        if (sized)
            sqlite3_result_int(out, col->type == SQL_I32 || col->type == SQL_U32 ? 32 : 64);
        break;
    case 11:
        if (sized)
            sqlite3_result_int(out, 2);
        break;
    default:
        break;
    }
}

static void schemata_column(struct cursor *c, sqlite3_context *out, int column)
{
    static const char *const values[] = {"restate", "public"};
    if (column < 2)
        out_cstr(out, values[column]);
}

/* ---- dispatch ---- */

bool meta_row_at(struct cursor *c)
{
    const struct schema_service *const *services;
    const struct schema_deployment *const *deployments;
    const struct sql_table *t;
    switch (c->aux->table->id) {
    case TABLE_SYS_SERVICE:
        return c->index < schema_services(c->q->schema, &services);
    case TABLE_SYS_DEPLOYMENT:
        return c->index < schema_deployments(c->q->schema, &deployments);
    case TABLE_IS_TABLES:
    case TABLE_IS_VIEWS:
        t = table_of(c);
        c->index = t ? t->id : SQL_TABLES; /* skip what is not listed */
        return t != NULL;
    case TABLE_IS_COLUMNS:
        t = table_of(c);
        if (t && c->index < t->id) {
            c->index = t->id;
            c->column = 0;
        }
        if (t && c->column >= t->n_columns) {
            c->index++;
            c->column = 0;
            return meta_row_at(c);
        }
        return t != NULL;
    case TABLE_IS_SCHEMATA:
        return c->index < 1;
    default:
        return false; /* features that are not there: no rows */
    }
}

void meta_column(struct cursor *c, sqlite3_context *out, int column)
{
    switch (c->aux->table->id) {
    case TABLE_SYS_SERVICE:
        service_column(c, out, column);
        break;
    case TABLE_SYS_DEPLOYMENT:
        deployment_column(c, out, column);
        break;
    case TABLE_IS_COLUMNS:
        columns_column(c, out, column);
        break;
    case TABLE_IS_SCHEMATA:
        schemata_column(c, out, column);
        break;
    default:
        tables_column(c, out, column);
    }
}
