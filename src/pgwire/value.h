/* SQL types as PostgreSQL types: descriptions and values of rows, parameters of clients (spec/sql.md §14.5,
 * §14.6). Any thread. */
#pragma once
#include "pgwire/message.h"
#include "query/result.h"

enum pg_oid {
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_NAME = 19,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_OID = 26,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_UNKNOWN = 705,
    PG_TEXT_ARRAY = 1015,
    PG_INT8_ARRAY = 1016,
    PG_BPCHAR = 1042,
    PG_VARCHAR = 1043,
    PG_DATE = 1082,
    PG_TIMESTAMP = 1114,
    PG_TIMESTAMPTZ = 1184,
    PG_INTERVAL = 1186,
    PG_NUMERIC = 1700,
};
enum pg_oid pg_type_of(enum sql_type t);

/* RowDescription; `binary` per column, NULL: all text. */
void pg_row_description(struct writer *w, const struct result_column *columns, size_t n, const bool *binary);
/* DataRow. */
void pg_data_row(struct writer *w, const struct sql_value *values, const struct result_column *columns,
                 size_t n, const bool *binary);

/* The statement with every $n replaced by its value as a literal, NULL when `values` is NULL. *highest is the
 * highest n. False with a SQLSTATE and a sentence: a value that is none of its type, or not supported. */
struct pg_parameters {
    const struct pg_value *values; /* NULL: all NULL */
    size_t n_values;
    const uint32_t *oids;
    size_t n_oids;
};
bool pg_substitute(struct writer *w, struct slice sql, const struct pg_parameters *p, unsigned *highest,
                   char code[6], struct err *err);
