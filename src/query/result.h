/* Results on their way out: rows of SQLite become JSON or an Arrow IPC stream (spec/sql.md §2.1, §8.2, §9).
 */
#pragma once
#include <sqlite3.h>

#include "query/flatbuffer.h"
#include "query/types.h"
#include "query/values.h"

#define RESULT_BATCH_ROWS 128u

enum result_format { RESULT_ARROW, RESULT_JSON, RESULT_CUSTOM };
struct result_column {
    const char *name; /* lent for the life of the result */
    enum sql_type type;
    bool nullable;
};

/* Any other form: called on the query's thread, appends to `w`. `values` as they come from SQLite
 * (query/types.h). */
struct result_encoder {
    void (*row)(void *ctx, struct writer *w, const struct sql_value *values,
                const struct result_column *columns, size_t n);
};

/* One column of the Arrow batch that is being built. */
struct arrow_column {
    struct writer valid; /* one byte per row */
    struct writer data, offsets;
    struct writer child_valid, child_data, child_offsets; /* lists */
    uint64_t nulls, child_nulls, child_rows;
};
struct result {
    enum result_format format;
    const struct result_column *columns;
    size_t n_columns;
    struct writer out;
    uint32_t rows; /* in this batch */
    uint64_t total;
    struct writer *keys; /* JSON: "name": with comma, encoded once */
    struct arrow_column *arrow;
    struct flatbuffer fb;
    const struct result_encoder *encoder; /* RESULT_CUSTOM */
    void *encoder_ctx;
    struct sql_value *values;
};
/* `encoder` only for RESULT_CUSTOM. */
void result_init(struct result *r, enum result_format format, const struct result_column *columns, size_t n,
                 const struct result_encoder *encoder, void *encoder_ctx);
void result_free(struct result *r);
/* Adds the row that the statement stands on. */
void result_row(struct result *r, sqlite3_stmt *row);
static inline bool result_full(const struct result *r)
{
    return r->rows >= RESULT_BATCH_ROWS || r->out.len >= 256u << 10;
}
/* What is to be sent now; `last`: everything there is, with the end mark. */
struct bytes result_take(struct result *r, bool last);

/* result_arrow.c */
void arrow_schema(struct result *r);
void arrow_row(struct result *r, sqlite3_stmt *row);
void arrow_batch(struct result *r);
void arrow_end(struct result *r);
void arrow_free(struct result *r);
