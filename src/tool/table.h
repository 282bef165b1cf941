/* Tables on a terminal, in a file, or as JSON (spec/restatectl.md §10.4): compact or with borders, cells of
 * several lines, wide characters, wrapped to the width of the terminal. All memory from the tool's arena. */
#pragma once
#include "tool/tool.h"

struct table;

/* `name` is the key of the table in JSON output. */
struct table *table_new(struct tool *t, const char *name);
/* Headers, ended by NULL; without a call the table has none. */
void table_header(struct table *tb, ...) __attribute__((sentinel));
void table_column(struct table *tb, const char *header);
/* The first column is a marker: no padding around it, not in JSON. */
void table_marker_first(struct table *tb);
void table_row(struct table *tb);
/* Next cell of the current row. */
void table_cell(struct table *tb, unsigned style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void table_text(struct table *tb, unsigned style, const char *text); /* as it is; NULL: blank */
/* `key:` in bold and the value, a row of a table without headers. */
void table_key_value(struct table *tb, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
size_t table_rows(const struct table *tb);
void table_print(struct table *tb);
/* Ends the JSON object when more than one table was printed as JSON; called at the end of a run. */
void table_json_end(struct tool *t);

/* Rows that show how a text changed: lines with ` `, `-` or `+` in front. */
void table_diff(struct table *tb, struct tool *t, const char *before, const char *after);

/* Columns that a text takes on a terminal: wide characters count two, combining ones nothing. */
size_t display_width(struct slice text);
