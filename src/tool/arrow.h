/* Reading an Arrow IPC stream, as much of it as SQL answers use (spec/restatectl.md §9.2): uncompressed,
 * little-endian, no dictionaries; null, integers, doubles, text, booleans, timestamps, dates, durations,
 * intervals, lists of these. The bytes come from a server and are not trusted. */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"

enum arrow_type {
    ARROW_NULL = 1,
    ARROW_INT = 2,
    ARROW_FLOAT = 3,
    ARROW_BINARY = 4,
    ARROW_UTF8 = 5,
    ARROW_BOOL = 6,
    ARROW_DATE = 8,
    ARROW_TIMESTAMP = 10,
    ARROW_INTERVAL = 11,
    ARROW_LIST = 12,
    ARROW_DURATION = 18,
    /* the same with 64-bit offsets */
    ARROW_LARGE_BINARY = 19,
    ARROW_LARGE_UTF8 = 20,
    ARROW_LARGE_LIST = 21,
};
#define ARROW_COLUMNS_MAX 192
#define ARROW_DEPTH_MAX   4

struct arrow_field {
    const char *name;
    enum arrow_type type;
    unsigned bits; /* ARROW_INT: 8, 16, 32, 64 */
    bool is_signed;
    unsigned unit;             /* ARROW_TIMESTAMP, ARROW_DURATION: 0 s, 1 ms, 2 us, 3 ns */
    bool zoned;                /* ARROW_TIMESTAMP: of a time zone, which is UTC here */
    struct arrow_field *child; /* ARROW_LIST */
};
struct arrow_schema {
    struct arrow_field *fields;
    size_t n;
};
/* Buffers of a column within one batch; checked to hold `length` values. */
struct arrow_array {
    const struct arrow_field *field;
    size_t length;
    struct slice validity, offsets, data; /* validity empty: no nulls */
    struct arrow_array *child;
};
struct arrow_batch {
    struct arrow_array *columns; /* as many as the schema has fields */
    size_t rows;
};

struct arrow_reader {
    struct arena *arena;
    bool has_schema, ended;
    struct arrow_schema schema;
};
/* Take the next message from the front of `in`. RC_OK: a batch; RC_AGAIN: a schema or nothing more in `in`;
 * RC_EOF: the end marker; RC_CORRUPT, RC_UNSUPPORTED. The batch points into `in`. */
/* Bytes of the message at the front of `s`, body included; 0: not enough is there to tell. What is no message
 * counts as all of `s`, for arrow_next to refuse. */
size_t arrow_message_size(struct slice s);
enum rc arrow_next(struct arrow_reader *r, struct slice *in, struct arrow_batch *out, struct err *err);

bool arrow_is_null(const struct arrow_array *a, size_t row);
/* The text of a value; null: nothing. `json`: as a JSON value. */
void arrow_print(struct writer *w, const struct arrow_array *a, size_t row, bool json);
