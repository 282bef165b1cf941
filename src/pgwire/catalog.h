/* What clients ask about the server itself, answered without SQL: parameters (SHOW), statements that only
 * change a session, and the catalog statements of psql's \d commands (spec/sql.md §14.4, §14.7). */
#pragma once
#include "query/catalog.h"
#include "query/result.h"
#include "query/row_set.h"

#define PG_LOCAL_COLUMNS 20u

/* A small result that is there at once. */
struct pg_local {
    struct result_column columns[PG_LOCAL_COLUMNS];
    size_t n_columns;
    struct row_set rows;
};
void pg_local_free(struct pg_local *l);

enum pg_statement {
    PG_STATEMENT_EMPTY,
    PG_STATEMENT_TAG,     /* nothing but its tag, see pg_classify */
    PG_STATEMENT_LOCAL,   /* a result of pg_local_answer */
    PG_STATEMENT_UNKNOWN, /* of pg_catalog, and not known: 42P01 */
    PG_STATEMENT_QUERY,   /* for the query engine */
};
/* `tag` (static) for PG_STATEMENT_TAG. */
enum pg_statement pg_classify(struct slice sql, const char **tag);
/* For PG_STATEMENT_LOCAL. */
void pg_local_answer(struct slice sql, struct pg_local *out);

/* The first statement of a text, without the semicolon; *rest is what follows. */
struct slice pg_first_statement(struct slice sql, struct slice *rest);
