/* Scopes, limit keys, patterns of rules (wire/scope.h). */
#include "wire/scope.h"

#include <stdio.h>

static const char too_many_levels[] = "too many levels";

static bool label_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

const char *label_problem(struct slice value, char room[LABEL_ROOM])
{
    if (value.len == 0)
        return "value cannot be empty";
    if (value.len > LABEL_MAX) {
        snprintf(room, LABEL_ROOM, "value too long: %zu bytes (max %d)", value.len, LABEL_MAX);
        return room;
    }
    for (size_t i = 0; i < value.len; i++)
        if (!label_char(value.ptr[i]))
            return "value contains characters outside the allowed set [a-zA-Z0-9_.-]";
    return NULL;
}

static struct slice without_last_slash(struct slice value)
{
    if (value.len && value.ptr[value.len - 1] == '/')
        value.len--;
    return value;
}

/* The next level of `*rest`; ptr NULL at its end. */
static struct slice next_level(struct slice *rest)
{
    if (!rest->ptr)
        return SLICE_EMPTY;
    ptrdiff_t slash = slice_find(*rest, '/', 0);
    size_t end = slash < 0 ? rest->len : (size_t)slash;
    struct slice level = slice_make(rest->ptr, end);
    *rest = slash < 0 ? SLICE_EMPTY : slice_sub(*rest, end + 1, rest->len - end - 1);
    return level;
}

static size_t levels_of(struct slice value)
{
    size_t levels = 1;
    for (size_t i = 0; i < value.len; i++)
        levels += value.ptr[i] == '/';
    return levels;
}

/* What is wrong with the first level that is not right; NULL if all are. */
static const char *limit_key_problem(struct slice value, char room[LABEL_ROOM])
{
    value = without_last_slash(value);
    struct slice level, rest = value.ptr ? value : slice_make("", 0);
    const char *problem = NULL;
    for (int levels = 0; !problem && (level = next_level(&rest)).ptr; levels++)
        problem = levels < LIMIT_KEY_LEVELS ? label_problem(level, room) : too_many_levels;
    return problem;
}

bool limit_key_check(struct slice value, struct writer *message)
{
    char room[LABEL_ROOM];
    const char *problem = limit_key_problem(value, room);
    if (problem == too_many_levels)
        write_fmt(message, "invalid limit-key: too many path components in the given limit-key (max %d)",
                  LIMIT_KEY_LEVELS);
    else if (problem)
        write_fmt(message, "invalid limit-key: invalid limit-key component: %s", problem);
    return !problem;
}

bool limit_key_valid(struct slice value)
{
    char room[LABEL_ROOM];
    return !limit_key_problem(value, room);
}

struct slice limit_key_trim(struct slice value)
{
    value = without_last_slash(value);
    return value.len ? value : SLICE_EMPTY;
}

void limit_key_split(struct slice value, struct slice *l1, struct slice *l2)
{
    struct slice rest = limit_key_trim(value);
    *l1 = next_level(&rest);
    *l2 = next_level(&rest);
}

const char *pattern_problem(struct slice value, struct slice levels[PATTERN_LEVELS], char room[128])
{
    for (size_t i = 0; i < PATTERN_LEVELS; i++)
        levels[i] = SLICE_EMPTY;
    value = without_last_slash(value);
    if (value.len == 0)
        return "pattern cannot be empty";
    if (levels_of(value) > PATTERN_LEVELS)
        return "too many path components (max 3)";
    for (size_t i = 0; value.ptr; i++) {
        char reason[LABEL_ROOM];
        levels[i] = next_level(&value);
        const char *problem = slice_eq_cstr(levels[i], "*") ? NULL : label_problem(levels[i], reason);
        if (!problem)
            continue;
        snprintf(room, 128, "invalid component: %s", problem);
        return room;
    }
    return NULL;
}
