/* Texts that several commands print: see cli.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/time.h"
#include "cli/cli.h"

/* ---- members of answers ---- */

const char *jtext(const json_t *object, const char *key)
{
    const json_t *v = object ? json_object_get(object, key) : NULL;
    return json_is_string(v) ? json_string_value(v) : "";
}

int64_t jint(const json_t *object, const char *key)
{
    return json_integer_value(object ? json_object_get(object, key) : NULL);
}

bool jbool(const json_t *object, const char *key)
{
    return json_is_true(object ? json_object_get(object, key) : NULL);
}

void print_json(struct tool *t, const json_t *doc)
{
    char *text = json_dumps(doc, JSON_INDENT(2));
    write_fmt(&t->out, "%s\n", text ? text : "null");
    free(text);
}

/* ---- lines ---- */

void say_title(struct tool *t, const char *title)
{
    struct writer line = WRITER_INIT;
    for (size_t i = 0; i < display_width(slice_cstr(title)) + 2; i++)
        write_fmt(&line, "―");
    tool_say(t, "\n %s\n%.*s\n", tool_styled(t, STYLE_BOLD, tool_format(t, "%s:", title)),
             SLICE_FMT(writer_slice(&line)));
    writer_free(&line);
}

void say_good(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tool_say(t, "%s %s\n", t->color ? "✅" : "[OK]:", tool_format_va(t, fmt, ap));
    va_end(ap);
}

void say_bad(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tool_warn(t, "❌", "[ERR]:", "%s", tool_format_va(t, fmt, ap));
    va_end(ap);
}

void say_tip(struct tool *t, const char *text)
{
    tool_flush(t);
    fprintf(stderr, "  %s   %s\n", t->color_err ? "💡" : "[TIP]:", text);
}

/* ---- times ---- */

static bool digits(const char **p, size_t n, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool take(const char **p, const char *any)
{
    if (!**p || !strchr(any, **p))
        return false;
    (*p)++;
    return true;
}

bool parse_rfc3339(const char *text, uint64_t *wall_ms)
{
    int64_t year, month, day, hour, minute, second, ms = 0, offset_h = 0, offset_m = 0;
    const char *p = text;
    if (!digits(&p, 4, &year) || !take(&p, "-") || !digits(&p, 2, &month) || !take(&p, "-") ||
        !digits(&p, 2, &day) || !take(&p, "Tt ") || !digits(&p, 2, &hour) || !take(&p, ":") ||
        !digits(&p, 2, &minute) || !take(&p, ":") || !digits(&p, 2, &second))
        return false;
    if (*p == '.') {
        int64_t scale = 100;
        for (p++; *p >= '0' && *p <= '9'; p++, scale /= 10)
            ms += (*p - '0') * scale;
    }
    int64_t sign = *p == '-' ? -1 : 1;
    if (!take(&p, "Zz")) {
        if (!take(&p, "+-") || !digits(&p, 2, &offset_h) || !take(&p, ":") || !digits(&p, 2, &offset_m))
            return false;
    }
    struct tm tm = {.tm_year = (int)year - 1900,
                    .tm_mon = (int)month - 1,
                    .tm_mday = (int)day,
                    .tm_hour = (int)hour,
                    .tm_min = (int)minute,
                    .tm_sec = (int)second};
    int64_t seconds = timegm(&tm) - sign * (offset_h * 3600 + offset_m * 60);
    if (seconds < 0 || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    *wall_ms = (uint64_t)seconds * 1000 + (uint64_t)ms;
    return true;
}

/* strftime in the local zone; `%z` as +00:00. */
static const char *local_text(struct tool *t, uint64_t wall_ms, const char *date, bool ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[64], zone[16];
    localtime_r(&seconds, &tm);
    strftime(text, sizeof(text), date, &tm);
    strftime(zone, sizeof(zone), "%z", &tm);
    return tool_format(t, ms ? "%s.%03u %.3s:%s" : "%s%.0u %.3s:%s", text,
                       (unsigned)(ms ? wall_ms % 1000 : 0), zone, strlen(zone) > 3 ? zone + 3 : "00");
}

static const char *other_format(struct tool *t, uint64_t ms)
{
    struct writer w = WRITER_INIT;
    instant_print(&w, cli_of(t)->time_format, ms);
    return tool_take_text(t, &w);
}

const char *date_text(struct tool *t, const char *rfc3339)
{
    uint64_t ms;
    if (!parse_rfc3339(rfc3339, &ms))
        return rfc3339;
    return cli_of(t)->time_format == TIME_HUMAN ? local_text(t, ms, "%a %d %b %Y %H:%M:%S", false)
                                                : other_format(t, ms);
}

const char *stamp_text(struct tool *t, const char *rfc3339)
{
    uint64_t ms;
    if (!parse_rfc3339(rfc3339, &ms))
        return rfc3339;
    return cli_of(t)->time_format == TIME_HUMAN ? local_text(t, ms, "%Y-%m-%d %H:%M:%S", true)
                                                : other_format(t, ms);
}

static const char *span(struct tool *t, uint64_t from, uint64_t to,
                        void (*print)(struct writer *w, uint64_t v), uint64_t divide)
{
    struct writer w = WRITER_INIT;
    print(&w, to > from ? (to - from) / divide : 0);
    return tool_take_text(t, &w);
}

const char *since_text(struct tool *t, const char *rfc3339)
{
    uint64_t ms;
    return parse_rfc3339(rfc3339, &ms) ? span(t, ms, os_wall_ms(), duration_precise, 1) : "";
}

const char *until_text(struct tool *t, const char *rfc3339)
{
    uint64_t ms;
    return parse_rfc3339(rfc3339, &ms) ? span(t, os_wall_ms(), ms, duration_precise, 1) : "";
}

const char *rough_ago_text(struct tool *t, const char *rfc3339)
{
    uint64_t ms;
    if (!parse_rfc3339(rfc3339, &ms))
        return "";
    return tool_format(t, "%s ago", span(t, ms, os_wall_ms(), duration_rough, 1000));
}

const char *flavor_text(const char *service_type)
{
    return strcmp(service_type, "VirtualObject") == 0 ? "virtual object"
           : strcmp(service_type, "Workflow") == 0    ? "workflow"
                                                      : "";
}
