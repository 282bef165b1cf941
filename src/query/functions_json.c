/* Functions on JSON documents held in text columns, and on lists, which are JSON arrays inside SQLite
 * (query/functions.h). What is no JSON, or has no such member, gives NULL. */
#include <jansson.h>
#include <stdlib.h>

#include "query/functions.h"

/* The document, and the member that the path leads to. The document is to be given back with json_decref. */
static json_t *load(sqlite3_value *v)
{
    struct slice s = value_text(v);
    return json_loadb((const char *)s.ptr, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static json_t *descend(json_t *at, int n, sqlite3_value **path)
{
    for (int i = 0; at && i < n; i++) {
        if (sqlite3_value_type(path[i]) == SQLITE_INTEGER) {
            sqlite3_int64 index = sqlite3_value_int64(path[i]);
            at = index >= 0 ? json_array_get(at, (size_t)index) : NULL;
        } else if (sqlite3_value_type(path[i]) == SQLITE_TEXT) {
            at = json_object_get(at, (const char *)sqlite3_value_text(path[i]));
        } else {
            at = NULL;
        }
    }
    return at;
}

static void result_json(sqlite3_context *c, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (text)
        sqlite3_result_text(c, text, -1, SQLITE_TRANSIENT);
    free(text);
}

enum json_want {
    WANT_STRING,
    WANT_INT,
    WANT_FLOAT,
    WANT_BOOL,
    WANT_JSON,
    WANT_TEXT,
    WANT_CONTAINS,
    WANT_LENGTH
};

static void result_wanted(sqlite3_context *c, const json_t *m, enum json_want want)
{
    if (want == WANT_CONTAINS) {
        sqlite3_result_int(c, m != NULL);
        return;
    }
    if (!m)
        return;
    if (want == WANT_JSON)
        result_json(c, m);
    else if (want == WANT_LENGTH && (json_is_array(m) || json_is_object(m)))
        sqlite3_result_int64(c, (sqlite3_int64)(json_is_array(m) ? json_array_size(m) : json_object_size(m)));
    else if (want == WANT_INT && json_is_integer(m))
        sqlite3_result_int64(c, json_integer_value(m));
    else if (want == WANT_FLOAT && json_is_number(m))
        sqlite3_result_double(c, json_number_value(m));
    else if (want == WANT_BOOL && json_is_boolean(m))
        sqlite3_result_int(c, json_is_true(m));
    else if ((want == WANT_STRING || want == WANT_TEXT) && json_is_string(m))
        result_slice(c, slice_make(json_string_value(m), json_string_length(m)));
    else if (want == WANT_TEXT && !json_is_null(m))
        result_json(c, m);
}

static void get(sqlite3_context *c, int n, sqlite3_value **v, enum json_want want)
{
    if (any_null(n, v))
        return;
    json_t *document = load(v[0]);
    result_wanted(c, descend(document, n - 1, v + 1), want);
    json_decref(document);
}

#define JSON_FUNCTION(name, want)                                                                            \
    static void sql_json_##name(sqlite3_context *c, int n, sqlite3_value **v)                                \
    {                                                                                                        \
        get(c, n, v, want);                                                                                  \
    }
JSON_FUNCTION(str, WANT_STRING)
JSON_FUNCTION(int, WANT_INT)
JSON_FUNCTION(float, WANT_FLOAT)
JSON_FUNCTION(bool, WANT_BOOL)
JSON_FUNCTION(json, WANT_JSON)
JSON_FUNCTION(text, WANT_TEXT)
JSON_FUNCTION(contains, WANT_CONTAINS)
JSON_FUNCTION(length, WANT_LENGTH)

/* ---- lists ---- */

static void list_length(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    json_t *list = load(v[0]);
    if (json_array_size(list)) /* the length of an empty list is NULL in the reference too */
        sqlite3_result_int64(c, (sqlite3_int64)json_array_size(list));
    json_decref(list);
}

/* The element is compared as text. */
static void list_has(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    json_t *list = load(v[0]), *item;
    struct slice want = value_text(v[1]);
    bool found = false;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item)) {
            found |= slice_eq(want, slice_make(json_string_value(item), json_string_length(item)));
        } else {
            char *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);
            found |= text && slice_eq_cstr(want, text);
            free(text);
        }
    }
    sqlite3_result_int(c, found);
    json_decref(list);
}

/* Positions begin with 1, negative ones count from the end. */
static void list_get(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    json_t *list = load(v[0]);
    sqlite3_int64 index = sqlite3_value_int64(v[1]), size = (sqlite3_int64)json_array_size(list);
    if (index < 0 && index >= -size)
        index += size + 1;
    const json_t *item = index > 0 && index <= size ? json_array_get(list, (size_t)index - 1) : NULL;
    if (json_is_integer(item))
        sqlite3_result_int64(c, json_integer_value(item));
    else
        result_wanted(c, item, WANT_TEXT);
    json_decref(list);
}

static void list_text(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    json_t *list = load(v[0]), *item;
    struct writer w = WRITER_INIT;
    bool first = true;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (json_is_null(item))
            continue;
        if (!first)
            write_slice_raw(&w, value_text(v[1]));
        first = false;
        if (json_is_string(item)) {
            write_raw(&w, json_string_value(item), json_string_length(item));
        } else {
            char *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);
            write_slice_raw(&w, slice_cstr(text));
            free(text);
        }
    }
    json_decref(list);
    result_writer(c, &w);
}

const struct function_entry json_functions[] = {
    {"sql_json_str", -1, sql_json_str},
    {"sql_json_int", -1, sql_json_int},
    {"sql_json_float", -1, sql_json_float},
    {"sql_json_bool", -1, sql_json_bool},
    {"sql_json_json", -1, sql_json_json},
    {"sql_json_text", -1, sql_json_text},
    {"sql_json_contains", -1, sql_json_contains},
    {"sql_json_length", -1, sql_json_length},
    {"sql_list_length", 1, list_length},
    {"sql_list_has", 2, list_has},
    {"sql_list_get", 2, list_get},
    {"sql_list_text", 2, list_text},
    {NULL, 0, NULL},
};
