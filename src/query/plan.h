/* A statement made ready to run: parsed, bound, and written again for SQLite (sql.h, bind.h). Pure function
 * of text, catalog and time; any thread. */
#pragma once
#include "query/result.h"
#include "query/sql.h"

#define SQL_TEXT_MAX (2u << 20) /* bytes of a statement */

struct sql_plan {
    struct arena arena;
    const struct result_column *columns;
    size_t n_columns;
    const char *text; /* SQLite SQL; NULL: an empty result (SET and the like) */
    bool returns;     /* false: SET; its result has no columns */
};
/* `now_ns` is what now() stands for. False with `err`; sql_plan_free in either case. */
bool sql_plan_make(struct sql_plan *p, struct slice sql, enum sql_context context, int64_t now_ns,
                   struct sql_error *err);
/* The columns of a statement with parameters, and what these are: parameters[n - 1] is the type of $n,
 * SQL_NULL if anything will do. It cannot be run. */
bool sql_plan_describe(struct sql_plan *p, struct slice sql, enum sql_context context,
                       enum sql_type *parameters, size_t n_parameters, struct sql_error *err);
void sql_plan_free(struct sql_plan *p);

/* The error as clients see it: "Datafusion error: SQL error: ParserError(\"...\")"; gRPC leaves the first
 * prefix out. */
void sql_error_write(struct writer *w, const struct sql_error *err, bool prefix);
int sql_error_http_status(const struct sql_error *err);
