/* The functions of the dialect: arguments, results, and what they are called in SQLite (spec/sql.md §11.5).
 */
#include "query/bind.h"

#define S(name, args, result, form, emit)                                                                    \
    {                                                                                                        \
        name, FUNCTION_SCALAR, args, RESULT_##result, FORM_##form, emit, false                               \
    }
#define P(name, args, result, emit) S(name, args, result, PLAIN, emit)
#define A(name, args, result, form, emit)                                                                    \
    {                                                                                                        \
        name, FUNCTION_AGGREGATE, args, RESULT_##result, FORM_##form, emit, false                            \
    }
#define W(name, args, result)                                                                                \
    {                                                                                                        \
        name, FUNCTION_WINDOW, args, RESULT_##result, FORM_PLAIN, name, false                                \
    }

static const struct sql_function functions[] = {
    /* conditions */
    S("coalesce", "a*", COMMON, COMMON, "coalesce"),
    S("nvl", "aa", COMMON, COMMON, "coalesce"),
    S("ifnull", "aa", COMMON, COMMON, "coalesce"),
    S("nullif", "aa", COMMON, COMMON, "nullif"),
    S("greatest", "a*", COMMON, COMMON, "sql_greatest"),
    S("least", "a*", COMMON, COMMON, "sql_least"),
    /* time */
    {"now", FUNCTION_SCALAR, "", RESULT_TIME_NS, FORM_CONSTANT, "", true},
    {"current_timestamp", FUNCTION_SCALAR, "", RESULT_TIME_NS, FORM_CONSTANT, "", true},
    {"current_date", FUNCTION_SCALAR, "", RESULT_TIME_NS, FORM_CONSTANT, "", true},
    {"today", FUNCTION_SCALAR, "", RESULT_TIME_NS, FORM_CONSTANT, "", true},
    S("date_bin", "vt?t", SECOND, BIN, "sql_date_bin"),
    S("date_trunc", "st", SECOND, TRUNC, "sql_date_trunc"),
    S("datetrunc", "st", SECOND, TRUNC, "sql_date_trunc"),
    S("date_part", "sp", PART, TRUNC, "sql_date_part"),
    S("datepart", "sp", PART, TRUNC, "sql_date_part"),
    S("to_unixtime", "a", I64, UNIXTIME, ""),
    S("to_timestamp", "a", TIME_NS, TO_TIME, "1000000000"),
    S("to_timestamp_seconds", "a", TIME_NS, TO_TIME, "1000000000"),
    S("to_timestamp_millis", "a", TIME_NS, TO_TIME, "1000000"),
    S("to_timestamp_micros", "a", TIME_NS, TO_TIME, "1000"),
    S("to_timestamp_nanos", "a", TIME_NS, TO_TIME, "1"),
    /* text */
    P("lower", "s", TEXT, "sql_lower"),
    P("upper", "s", TEXT, "sql_upper"),
    P("length", "s", LENGTH, "length"),
    P("char_length", "s", LENGTH, "length"),
    P("character_length", "s", LENGTH, "length"),
    P("octet_length", "s", LENGTH, "sql_octet_length"),
    P("bit_length", "s", LENGTH, "8 * sql_octet_length"),
    P("substr", "si?i", TEXT, "sql_substr"),
    P("substring", "si?i", TEXT, "sql_substr"),
    P("concat", "s*", UTF8, "sql_concat"),
    P("concat_ws", "ss*", UTF8, "sql_concat_ws"),
    P("starts_with", "ss", BOOL, "sql_starts_with"),
    P("ends_with", "ss", BOOL, "sql_ends_with"),
    P("contains", "ss", BOOL, "0 < instr"),
    P("strpos", "ss", LENGTH, "instr"),
    P("position", "ss", LENGTH, "sql_position"),
    P("replace", "sss", TEXT, "replace"),
    P("split_part", "ssi", TEXT, "sql_split_part"),
    P("trim", "s?s", TEXT, "trim"),
    P("btrim", "s?s", TEXT, "trim"),
    P("ltrim", "s?s", TEXT, "ltrim"),
    P("rtrim", "s?s", TEXT, "rtrim"),
    P("reverse", "s", TEXT, "sql_reverse"),
    P("repeat", "si", TEXT, "sql_repeat"),
    P("left", "si", TEXT, "sql_left"),
    P("right", "si", TEXT, "sql_right"),
    P("ascii", "s", I32, "unicode"),
    P("chr", "i", UTF8, "char"),
    P("to_hex", "i", UTF8, "sql_to_hex"),
    P("encode", "as", UTF8, "sql_encode"),
    P("regexp_like", "ss?s", BOOL, "sql_regexp"),
    {"version", FUNCTION_SCALAR, "", RESULT_UTF8, FORM_CONSTANT, "", true},
    /* numbers */
    S("abs", "n", SAME, PLAIN, "abs"),
    P("round", "n?i", F64, "sql_round"),
    P("floor", "n", F64, "sql_floor"),
    P("ceil", "n", F64, "sql_ceil"),
    P("trunc", "n", F64, "sql_trunc"),
    P("sqrt", "n", F64, "sql_sqrt"),
    P("exp", "n", F64, "sql_exp"),
    P("ln", "n", F64, "sql_ln"),
    P("log10", "n", F64, "sql_log10"),
    P("log2", "n", F64, "sql_log2"),
    P("power", "nn", F64, "sql_power"),
    P("pow", "nn", F64, "sql_power"),
    P("signum", "n", F64, "sign"),
    /* types */
    S("arrow_cast", "as", UTF8, ARROW_CAST, ""),
    {"arrow_typeof", FUNCTION_SCALAR, "a", RESULT_UTF8, FORM_TYPEOF, "", true},
    /* JSON */
    P("json_get_str", "sa*", UTF8, "sql_json_str"),
    P("json_get_int", "sa*", I64, "sql_json_int"),
    P("json_get_float", "sa*", F64, "sql_json_float"),
    P("json_get_bool", "sa*", BOOL, "sql_json_bool"),
    P("json_get_json", "sa*", UTF8, "sql_json_json"),
    P("json_get_array", "sa*", UTF8, "sql_json_json"),
    P("json_get", "sa*", UTF8, "sql_json_text"),
    P("json_as_text", "sa*", UTF8, "sql_json_text"),
    P("json_contains", "sa*", BOOL, "sql_json_contains"),
    P("json_length", "s?a*", U64, "sql_json_length"),
    /* lists */
    S("array_has", "la", BOOL, HAS, "sql_list_has"),
    S("array_contains", "la", BOOL, HAS, "sql_list_has"),
    S("list_has", "la", BOOL, HAS, "sql_list_has"),
    P("array_length", "l", U64, "sql_list_length"),
    P("list_length", "l", U64, "sql_list_length"),
    P("cardinality", "l", U64, "sql_list_length"),
    P("array_element", "li", ELEMENT, "sql_list_get"),
    P("array_to_string", "ls", UTF8, "sql_list_text"),
    S("unnest", "l", ELEMENT, UNNEST, ""),
    /* aggregates */
    {"count", FUNCTION_AGGREGATE, "?a", RESULT_I64, FORM_COUNT, "count", true},
    A("sum", "a", SUM, AGGREGATE, "sum"),
    A("avg", "d", AVERAGE, AGGREGATE, "avg"),
    A("mean", "d", AVERAGE, AGGREGATE, "avg"),
    A("min", "a", SAME, AGGREGATE, "min"),
    A("max", "a", SAME, AGGREGATE, "max"),
    A("first_value", "a", SAME, AGGREGATE, "first_value"),
    A("last_value", "a", SAME, AGGREGATE, "last_value"),
    A("any_value", "a", SAME, AGGREGATE, "sql_first"),
    A("array_agg", "a", LIST, LIST, "sql_array_agg"),
    A("string_agg", "ss", TEXT, STRING_AGG, "sql_string_agg"),
    A("bool_and", "b", BOOL, AGGREGATE, "min"),
    A("bool_or", "b", BOOL, AGGREGATE, "max"),
    A("median", "n", F64, AGGREGATE, "sql_median"),
    A("stddev", "n", F64, AGGREGATE, "sql_stddev"),
    A("stddev_samp", "n", F64, AGGREGATE, "sql_stddev"),
    A("stddev_pop", "n", F64, AGGREGATE, "sql_stddev_pop"),
    A("var", "n", F64, AGGREGATE, "sql_var"),
    A("var_samp", "n", F64, AGGREGATE, "sql_var"),
    A("var_pop", "n", F64, AGGREGATE, "sql_var_pop"),
    /* windows */
    {"row_number", FUNCTION_WINDOW, "", RESULT_U64, FORM_PLAIN, "row_number", true},
    {"rank", FUNCTION_WINDOW, "", RESULT_U64, FORM_PLAIN, "rank", true},
    {"dense_rank", FUNCTION_WINDOW, "", RESULT_U64, FORM_PLAIN, "dense_rank", true},
    {"percent_rank", FUNCTION_WINDOW, "", RESULT_F64, FORM_PLAIN, "percent_rank", true},
    {"cume_dist", FUNCTION_WINDOW, "", RESULT_F64, FORM_PLAIN, "cume_dist", true},
    {"ntile", FUNCTION_WINDOW, "i", RESULT_U64, FORM_PLAIN, "ntile", true},
    W("lag", "a?ia", SAME),
    W("lead", "a?ia", SAME),
    W("nth_value", "ai", SAME),
};

const struct sql_function *sql_function_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}
