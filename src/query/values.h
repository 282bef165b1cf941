/* One value on its way between SQLite and the types of SQL, and conversions between types (CAST, and what
 * comparisons and functions need). */
#pragma once
#include "query/types.h"

enum value_kind { VALUE_NULL, VALUE_INT, VALUE_REAL, VALUE_TEXT, VALUE_BLOB };
struct sql_value {
    enum value_kind kind;
    int64_t integer;
    double real;
    struct slice bytes; /* VALUE_TEXT, VALUE_BLOB */
};

/* Brings `v` from one type to another. Bytes of the result may point into `scratch`. False: it does not fit;
 * `reason` tells in the words of the reference. */
bool sql_convert(struct sql_value *v, enum sql_type from, enum sql_type to, struct writer *scratch,
                 char *reason, size_t reason_cap);
/* The value as text, as in JSON results but without quotes. */
void sql_value_write(struct writer *w, const struct sql_value *v, enum sql_type type);
