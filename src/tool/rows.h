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
/* Options of a command that prints rows, the query in front. */
#define ROWS_OPTIONS                                                                                         \
    {"QUERY", .value = "QUERY", .flags = OPTION_POSITIONAL | OPTION_REQUIRED, .help = "The query"},          \
        {"jsonl", .help = "Print a JSON object per line", .aliases = "ldjson", .excludes = "json"},          \
    {                                                                                                        \
        "json", .help = "Print a JSON array"                                                                 \
    }
/* In the form that ROWS_OPTIONS say. */
void rows_begin(struct rows *r, struct tool *t);
/* A piece that consists of whole Arrow messages. JSON is written at once, a table at the end. */
void rows_take(struct rows *r, struct slice stream);
/* What remains on standard output; false if the stream was broken. */
bool rows_end(struct rows *r);
/* `2 rows. Query took 51.442663ms` on standard error. */
void rows_say_took(const struct rows *r, uint64_t ns);
/* `51.442663ms` */
void rows_duration(struct writer *w, uint64_t ns);
