/* The frame of results, and JSON (query/result.h). */
#include "query/result.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "query/values.h"

void result_init(struct result *r, enum result_format format, const struct result_column *columns, size_t n,
                 const struct result_encoder *encoder, void *encoder_ctx)
{
    *r = (struct result){.format = format, .columns = columns, .n_columns = n};
    if (format == RESULT_ARROW) {
        r->arrow = xcalloc(MAX(n, (size_t)1), sizeof(*r->arrow));
        arrow_schema(r);
        return;
    }
    if (format == RESULT_CUSTOM) {
        r->encoder = encoder;
        r->encoder_ctx = encoder_ctx;
        r->values = xcalloc(MAX(n, (size_t)1), sizeof(*r->values));
        return;
    }
    r->keys = xcalloc(MAX(n, (size_t)1), sizeof(*r->keys));
    for (size_t i = 0; i < n; i++) {
        write_json_string(&r->keys[i], slice_cstr(columns[i].name));
        write_u8(&r->keys[i], ':');
    }
    write_slice_raw(&r->out, SLICE_LIT("{\"rows\":["));
}

void result_free(struct result *r)
{
    if (r->arrow)
        arrow_free(r);
    for (size_t i = 0; r->keys && i < r->n_columns; i++)
        writer_free(&r->keys[i]);
    free(r->keys);
    free(r->values);
    writer_free(&r->out);
    flatbuffer_free(&r->fb);
}

static struct sql_value value_of(sqlite3_stmt *row, int i, enum sql_type type)
{
    struct sql_value v = {0};
    switch (sqlite3_column_type(row, i)) {
    case SQLITE_NULL:
        return v;
    case SQLITE_INTEGER:
        v = (struct sql_value){.kind = VALUE_INT, .integer = sqlite3_column_int64(row, i)};
        break;
    case SQLITE_FLOAT:
        v = (struct sql_value){.kind = VALUE_REAL, .real = sqlite3_column_double(row, i)};
        break;
    case SQLITE_BLOB:
        v = (struct sql_value){.kind = VALUE_BLOB};
        v.bytes.ptr = sqlite3_column_blob(row, i);
        v.bytes.len = (size_t)sqlite3_column_bytes(row, i);
        break;
    default:
        v = (struct sql_value){.kind = VALUE_TEXT};
        v.bytes.ptr = sqlite3_column_text(row, i);
        v.bytes.len = (size_t)sqlite3_column_bytes(row, i);
    }
    if (v.kind == VALUE_REAL && type != SQL_F64) { /* an integer sum that left 64 bits */
        v.kind = VALUE_INT;
        v.integer = sqlite3_column_int64(row, i);
    }
    return v;
}

static void json_value(struct writer *w, enum sql_type type, sqlite3_stmt *row, int i)
{
    struct sql_value v = value_of(row, i, type);
    if (type == SQL_F64) {
        double x = v.kind == VALUE_REAL ? v.real : (double)v.integer;
        if (isfinite(x))
            sql_float_json(w, x);
        else
            write_slice_raw(w, SLICE_LIT("null"));
    } else if (sql_is_list(type) || type == SQL_BOOL || sql_is_integer(type)) {
        sql_value_write(w, &v, type);
    } else if (sql_is_text(type)) {
        write_json_string(w, v.bytes);
    } else {
        write_u8(w, '"');
        sql_value_write(w, &v, type);
        write_u8(w, '"');
    }
}

static void json_row(struct result *r, sqlite3_stmt *row)
{
    struct writer *w = &r->out;
    write_slice_raw(w, r->total ? SLICE_LIT(",{") : SLICE_LIT("{"));
    bool first = true;
    for (size_t i = 0; i < r->n_columns; i++) {
        if (sqlite3_column_type(row, (int)i) == SQLITE_NULL)
            continue;
        if (!first)
            write_u8(w, ',');
        first = false;
        write_slice_raw(w, writer_slice(&r->keys[i]));
        json_value(w, r->columns[i].type, row, (int)i);
    }
    write_u8(w, '}');
}

static void custom_row(struct result *r, sqlite3_stmt *row)
{
    for (size_t i = 0; i < r->n_columns; i++)
        r->values[i] = value_of(row, (int)i, r->columns[i].type);
    r->encoder->row(r->encoder_ctx, &r->out, r->values, r->columns, r->n_columns);
}

void result_row(struct result *r, sqlite3_stmt *row)
{
    if (r->format == RESULT_CUSTOM)
        custom_row(r, row);
    else if (r->format == RESULT_JSON)
        json_row(r, row);
    else
        arrow_row(r, row);
    r->rows++;
    r->total++;
}

struct bytes result_take(struct result *r, bool last)
{
    if (r->format == RESULT_ARROW && r->rows)
        arrow_batch(r);
    if (last && r->format == RESULT_ARROW)
        arrow_end(r);
    else if (last && r->format == RESULT_JSON)
        write_slice_raw(&r->out, SLICE_LIT("]}"));
    r->rows = 0;
    return writer_take(&r->out);
}
