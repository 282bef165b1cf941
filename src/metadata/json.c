/* JSON helpers: see json.h. */
#include "metadata/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void separator(struct json_out *o)
{
    if (o->comma)
        write_u8(o->w, ',');
    o->comma = true;
}

static void raw_text(struct json_out *o, const char *text)
{
    write_raw(o->w, text, strlen(text));
}

void json_key(struct json_out *o, const char *key)
{
    separator(o);
    write_fmt(o->w, "\"%s\":", key);
    o->comma = false;
}

static void begin_value(struct json_out *o, const char *key)
{
    if (key)
        json_key(o, key);
    separator(o);
}

void json_open(struct json_out *o, char bracket)
{
    json_open_at(o, NULL, bracket);
}

void json_open_at(struct json_out *o, const char *key, char bracket)
{
    ASSERT(bracket == '{' || bracket == '[');
    begin_value(o, key);
    write_u8(o->w, (uint8_t)bracket);
    o->comma = false;
}

void json_close(struct json_out *o, char bracket)
{
    ASSERT(bracket == '}' || bracket == ']');
    write_u8(o->w, (uint8_t)bracket);
    o->comma = true;
}

void json_text(struct json_out *o, const char *key, const char *text)
{
    if (text)
        json_text_slice(o, key, slice_cstr(text));
    else
        json_nothing(o, key);
}

void json_text_slice(struct json_out *o, const char *key, struct slice text)
{
    begin_value(o, key);
    write_json_string(o->w, text);
}

void json_text_opt(struct json_out *o, const char *key, const char *text)
{
    if (text)
        json_text(o, key, text);
}

void json_number(struct json_out *o, const char *key, uint64_t v)
{
    begin_value(o, key);
    write_fmt(o->w, "%llu", (unsigned long long)v);
}

void json_real_number(struct json_out *o, const char *key, double v)
{
    ASSERT(isfinite(v));
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, sizeof(text), "%.*g", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    begin_value(o, key);
    raw_text(o, text);
    if (!strpbrk(text, ".e"))
        raw_text(o, ".0");
}

void json_flag(struct json_out *o, const char *key, bool v)
{
    begin_value(o, key);
    raw_text(o, v ? "true" : "false");
}

void json_nothing(struct json_out *o, const char *key)
{
    begin_value(o, key);
    raw_text(o, "null");
}

void json_raw(struct json_out *o, const char *key, const char *json)
{
    begin_value(o, key);
    raw_text(o, json);
}

void json_raw_opt(struct json_out *o, const char *key, const char *json)
{
    if (json)
        json_raw(o, key, json);
}

char *json_text_of(const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    ASSERT_MSG(text, "a value that was parsed can be printed");
    return text;
}

json_t *json_member(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return v && !json_is_null(v) ? v : NULL;
}
