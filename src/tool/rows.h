/* Rows of an SQL answer (an Arrow stream in pieces) as a table, a JSON array or JSON lines. */
#pragma once
#include "tool/arrow.h"
#include "tool/table.h"

enum rows_form { ROWS_TABLE, ROWS_JSON, ROWS_JSON_LINES };

struct rows {
    struct tool *t;
    enum rows_form form;
    struct arrow_reader reader;
    struct table *table;
    uint64_t count;
    struct err err; /* the stream is broken */
};
void rows_begin(struct rows *r, struct tool *t, enum rows_form form);
/* A piece that consists of whole Arrow messages. JSON is written at once, a table at the end. */
void rows_take(struct rows *r, struct slice stream);
/* What remains on standard output; false if the stream was broken. */
bool rows_end(struct rows *r);
/* `51.442663ms` */
void rows_duration(struct writer *w, uint64_t ns);
