/* The functions that the written SQL calls, registered with a SQLite connection. */
#pragma once
#include <sqlite3.h>

#include "base/codec.h"

struct function_entry {
    const char *name;
    int args; /* -1: any number */
    void (*run)(sqlite3_context *c, int n, sqlite3_value **v);
};
struct aggregate_entry {
    const char *name;
    int args;
    void (*step)(sqlite3_context *c, int n, sqlite3_value **v);
    void (*final)(sqlite3_context *c);
};
/* False if SQLite refuses. */
bool functions_register(sqlite3 *db);

/* The tables of functions_*.c. */
extern const struct function_entry text_functions[], time_functions[], number_functions[], json_functions[];
extern const struct aggregate_entry aggregates[];

/* ---- helpers ---- */
struct slice value_text(sqlite3_value *v); /* bytes of a text or blob */
/* Numbers by value, anything else by its bytes; neither is NULL. */
int value_compare(sqlite3_value *a, sqlite3_value *b);
/* The writer's content as text; the writer is freed. */
void result_writer(sqlite3_context *c, struct writer *w);
void result_slice(sqlite3_context *c, struct slice s);
void result_error(sqlite3_context *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Is any of them NULL? Then the result is. */
bool any_null(int n, sqlite3_value **v);
/* % any text, _ one character, \ escape. */
bool like_matches(struct slice text, struct slice pattern);
