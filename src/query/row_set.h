/* Rows of a table as bytes: how tables that the node fills in (nodes, partitions, configuration, ...) come to
 * the query, and how rows travel between nodes. Every row has all columns of its table; values as
 * query/types.h says. */
#pragma once
#include "query/values.h"

struct row_set {
    struct writer bytes;
    uint32_t rows;
};
/* Append the values of a row one after the other, then end it. */
void row_null(struct row_set *s);
void row_int(struct row_set *s, int64_t v);
void row_bool(struct row_set *s, bool v);
void row_text(struct row_set *s, struct slice text); /* ptr NULL: NULL */
void row_fmt(struct row_set *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void row_value(struct row_set *s, const struct sql_value *v);
void row_end(struct row_set *s);
void row_set_free(struct row_set *s);

/* Reads one row of `n` values, which point into the bytes. False at the end, and if the bytes are damaged
 * (then r->failed, which reader_done shows). */
bool row_read(struct reader *r, struct sql_value *values, size_t n);
