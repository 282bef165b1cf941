/* Implementation of node/config_value.h, but for the TOML parser (config_toml.cc). */
#include "node/config_value.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/containers.h"

#define ENV_SOURCE "`RESTATE_` environment variable(s)"

struct cv *cv_new(enum cv_type type, const char *source)
{
    struct cv *v = xcalloc(1, sizeof(*v));
    v->type = type;
    v->source = source;
    return v;
}

void cv_free(struct cv *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < v->len; i++)
        cv_free(v->items[i]);
    free(v->items);
    free(v->key);
    free(v->string);
    free(v);
}

struct cv *cv_copy(const struct cv *v)
{
    struct cv *c = cv_new(v->type, v->source);
    c->key = v->key ? xstrdup(v->key) : NULL;
    c->string = v->string ? xstrdup(v->string) : NULL;
    c->integer = v->integer;
    c->number = v->number;
    c->boolean = v->boolean;
    for (size_t i = 0; i < v->len; i++)
        cv_push(c, cv_copy(v->items[i]));
    return c;
}

struct cv *cv_string(const char *s, const char *source)
{
    struct cv *v = cv_new(CV_STRING, source);
    v->string = xstrdup(s);
    return v;
}

struct cv *cv_int(int64_t i, const char *source)
{
    struct cv *v = cv_new(CV_INT, source);
    v->integer = i;
    return v;
}

struct cv *cv_bool(bool b, const char *source)
{
    struct cv *v = cv_new(CV_BOOL, source);
    v->boolean = b;
    return v;
}

static ptrdiff_t member_index(const struct cv *table, const char *key)
{
    for (size_t i = 0; table->type == CV_TABLE && i < table->len; i++) {
        if (strcmp(table->items[i]->key, key) == 0)
            return (ptrdiff_t)i;
    }
    return -1;
}

struct cv *cv_member(const struct cv *table, const char *key)
{
    ptrdiff_t i = member_index(table, key);
    return i < 0 ? NULL : table->items[i];
}

void cv_push(struct cv *list, struct cv *value)
{
    if (list->len == list->cap)
        list->items = vec_grow(list->items, &list->cap, list->len + 1, sizeof(*list->items));
    list->items[list->len++] = value;
}

void cv_set_member(struct cv *table, const char *key, struct cv *value)
{
    ASSERT(table->type == CV_TABLE);
    char *copy = xstrdup(key);
    free(value->key);
    value->key = copy;
    ptrdiff_t i = member_index(table, key);
    if (i < 0) {
        cv_push(table, value);
        return;
    }
    cv_free(table->items[i]);
    table->items[i] = value;
}

void cv_remove_member(struct cv *table, const char *key)
{
    ptrdiff_t i = member_index(table, key);
    if (i < 0)
        return;
    cv_free(table->items[i]);
    memmove(&table->items[i], &table->items[i + 1], (table->len - (size_t)i - 1) * sizeof(*table->items));
    table->len--;
}

struct cv *cv_get(const struct cv *root, const char *path)
{
    const struct cv *v = root;
    char part[256];
    while (v && *path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof(part))
            return NULL;
        memcpy(part, path, n);
        part[n] = 0;
        v = cv_member(v, part);
        path += n + (path[n] == '.');
    }
    return (struct cv *)v;
}

enum rc cv_set(struct cv *root, const char *path, struct cv *value)
{
    struct cv *v = root;
    char part[256];
    for (;;) {
        size_t n = strcspn(path, ".");
        if (v->type != CV_TABLE || n >= sizeof(part)) {
            cv_free(value);
            return RC_CONFLICT;
        }
        memcpy(part, path, n);
        part[n] = 0;
        if (path[n] == 0) {
            cv_set_member(v, part, value);
            return RC_OK;
        }
        struct cv *next = cv_member(v, part);
        if (!next) {
            next = cv_new(CV_TABLE, value->source);
            cv_set_member(v, part, next);
        }
        v = next;
        path += n + 1;
    }
}

void cv_merge(struct cv *into, const struct cv *layer)
{
    ASSERT(into->type == CV_TABLE && layer->type == CV_TABLE);
    for (size_t i = 0; i < layer->len; i++) {
        const struct cv *item = layer->items[i];
        struct cv *mine = cv_member(into, item->key);
        if (mine && mine->type == CV_TABLE && item->type == CV_TABLE)
            cv_merge(mine, item);
        else
            cv_set_member(into, item->key, cv_copy(item));
    }
}

void cv_describe(const struct cv *v, char *out, size_t cap)
{
    switch (v->type) {
    case CV_TABLE:
        snprintf(out, cap, "map");
        break;
    case CV_LIST:
        snprintf(out, cap, "sequence");
        break;
    case CV_STRING:
        snprintf(out, cap, "string \"%s\"", v->string);
        break;
    case CV_CHAR:
        snprintf(out, cap, "char `%s`", v->string);
        break;
    case CV_INT:
        snprintf(out, cap, "signed int `%lld`", (long long)v->integer);
        break;
    case CV_UINT:
        snprintf(out, cap, "unsigned int `%lld`", (long long)v->integer);
        break;
    case CV_FLOAT:
        snprintf(out, cap, "float `%g`", v->number);
        break;
    case CV_BOOL:
        snprintf(out, cap, "bool `%s`", v->boolean ? "true" : "false");
        break;
    }
}

/* ---- values of environment variables ---- */

struct scan {
    const char *p, *end;
};

static void skip_blanks(struct scan *s)
{
    while (s->p < s->end && isspace((unsigned char)*s->p))
        s->p++;
}

/* A bare word or number between delimiters. */
static struct cv *env_scalar(const char *start, const char *end)
{
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    size_t n = (size_t)(end - start);
    char *text = xmalloc(n + 1);
    memcpy(text, start, n);
    text[n] = 0;
    struct cv *v;
    char *rest = NULL;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        v = cv_bool(text[0] == 't', ENV_SOURCE);
    } else if (n > 0 && (isdigit((unsigned char)text[0]) || ((text[0] == '-' || text[0] == '+') && n > 1)) &&
               strspn(text + 1, "0123456789") == n - 1) {
        v = cv_new(text[0] == '-' ? CV_INT : CV_UINT, ENV_SOURCE);
        v->integer = strtoll(text, &rest, 10);
    } else if (n > 1 && strchr(text, '.') && strspn(text, "+-0123456789.") == n &&
               (strtod(text, &rest), rest && !*rest)) {
        v = cv_new(CV_FLOAT, ENV_SOURCE);
        v->number = strtod(text, NULL);
    } else if (n == 3 && text[0] == '\'' && text[2] == '\'') {
        v = cv_new(CV_CHAR, ENV_SOURCE);
        v->string = xasprintf("%c", text[1]);
    } else {
        v = cv_string(text, ENV_SOURCE);
    }
    free(text);
    return v;
}

static struct cv *env_value(struct scan *s, const char *stops);

static struct cv *env_quoted(struct scan *s)
{
    const char *p = s->p + 1;
    char *text = xmalloc((size_t)(s->end - p) + 1);
    size_t n = 0;
    for (; p < s->end && *p != '"'; p++) {
        if (*p == '\\' && p + 1 < s->end && p[1] == '"')
            p++;
        text[n++] = *p;
    }
    if (p == s->end) {
        free(text);
        return NULL;
    }
    text[n] = 0;
    s->p = p + 1;
    struct cv *v = cv_string(text, ENV_SOURCE);
    free(text);
    return v;
}

static struct cv *env_list(struct scan *s)
{
    s->p++;
    struct cv *list = cv_new(CV_LIST, ENV_SOURCE);
    for (;;) {
        skip_blanks(s);
        if (s->p < s->end && *s->p == ']') {
            s->p++;
            return list;
        }
        struct cv *item = s->p < s->end ? env_value(s, ",]") : NULL;
        if (!item)
            break;
        cv_push(list, item);
        skip_blanks(s);
        if (s->p < s->end && *s->p == ',')
            s->p++;
        else if (s->p == s->end || *s->p != ']')
            break;
    }
    cv_free(list);
    return NULL;
}

static struct cv *env_table(struct scan *s)
{
    s->p++;
    struct cv *table = cv_new(CV_TABLE, ENV_SOURCE);
    for (;;) {
        skip_blanks(s);
        if (s->p < s->end && *s->p == '}') {
            s->p++;
            return table;
        }
        const char *start = s->p;
        while (s->p < s->end &&
               (isalnum((unsigned char)*s->p) || *s->p == '-' || *s->p == '_' || *s->p == '.'))
            s->p++;
        char *key = slice_dup_cstr(slice_make(start, (size_t)(s->p - start)));
        skip_blanks(s);
        struct cv *item = NULL;
        if (*key && s->p < s->end && *s->p == '=') {
            s->p++;
            skip_blanks(s);
            item = env_value(s, ",}");
        }
        if (item)
            cv_set_member(table, key, item);
        free(key);
        skip_blanks(s);
        if (!item)
            break;
        if (s->p < s->end && *s->p == ',')
            s->p++;
        else if (s->p == s->end || *s->p != '}')
            break;
    }
    cv_free(table);
    return NULL;
}

/* NULL: does not parse as this grammar (the caller falls back to the text as a string). */
static struct cv *env_value(struct scan *s, const char *stops)
{
    if (s->p == s->end)
        return env_scalar(s->p, s->p);
    switch (*s->p) {
    case '"':
        return env_quoted(s);
    case '[':
        return env_list(s);
    case '{':
        return env_table(s);
    default:
        break;
    }
    const char *start = s->p;
    while (s->p < s->end && !strchr(stops, *s->p))
        s->p++;
    return env_scalar(start, s->p);
}

struct cv *cv_parse_env(const char *text)
{
    struct scan s = {text, text + strlen(text)};
    skip_blanks(&s);
    while (s.end > s.p && isspace((unsigned char)s.end[-1]))
        s.end--;
    const char *start = s.p;
    struct cv *v = env_value(&s, "");
    if (v && s.p == s.end)
        return v;
    cv_free(v);
    char *whole = slice_dup_cstr(slice_make(start, (size_t)(s.end - start)));
    v = cv_string(whole, ENV_SOURCE);
    free(whole);
    return v;
}

/* ---- building blocks for config_toml.cc, which cannot include C headers with C11 atomics ---- */

struct cv *config_toml_new(int type, const char *source);
void config_toml_scalar(struct cv *v, const char *string, long long integer, double number, int boolean);
void config_toml_member(struct cv *table, const char *key, struct cv *value);
void config_toml_push(struct cv *list, struct cv *value);
struct cv *config_toml_parse(const char *text, size_t len, const char *source, char **message);

struct cv *config_toml_new(int type, const char *source)
{
    return cv_new((enum cv_type)type, source);
}

void config_toml_scalar(struct cv *v, const char *string, long long integer, double number, int boolean)
{
    v->string = string ? xstrdup(string) : NULL;
    v->integer = integer;
    v->number = number;
    v->boolean = boolean;
}

void config_toml_member(struct cv *table, const char *key, struct cv *value)
{
    cv_set_member(table, key, value);
}

void config_toml_push(struct cv *list, struct cv *value)
{
    cv_push(list, value);
}

enum rc cv_parse_toml(struct slice text, const char *source, struct cv **out, char **message)
{
    *out = config_toml_parse((const char *)text.ptr, text.len, source, message);
    return *out ? RC_OK : RC_INVALID;
}
