/* Log output (base/log.h, spec/config.md §5.1): filter, three formats, one write(2) per event. */
#define _GNU_SOURCE /* gettid, pthread_getname_np */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/containers.h"
#include "base/time.h"

/* ---- filter ---- */

struct directive {
    char *target; /* "" is the default */
    int level;    /* 0 = off */
};

struct filter {
    struct filter *older; /* replaced filters stay: a reader may still hold them, and changes are rare */
    int max_level;
    size_t len, cap;
    struct directive *items;
};

static struct directive default_items[] = {{(char[]){""}, LOG_WARN}, {(char[]){"restate"}, LOG_INFO}};
static struct filter default_filter = {NULL, LOG_INFO, 2, 2, default_items};
static struct filter *_Atomic current_filter = &default_filter;
static _Atomic int config_format = LOG_PRETTY;
static _Atomic bool config_ansi = false;

void log_configure(const struct log_config *config)
{
    atomic_store(&config_format, (int)config->format);
    atomic_store(&config_ansi, config->ansi);
}

static int parse_level(struct slice s)
{
    static const char *const names[] = {"off", "error", "warn", "info", "debug", "trace"};
    for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
        if (slice_eq_nocase(s, slice_cstr(names[i])) || (s.len == 1 && s.ptr[0] == '0' + i))
            return i;
    }
    return -1;
}

static bool is_target(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == ':' || c == '-' || c == '.'))
            return false;
    }
    return s.len > 0;
}

/* Adds one directive; `had_span` means that a [span{...}] part was cut out: accepted, without effect. */
static enum rc filter_add(struct filter *f, struct slice target, struct slice level_text, bool had_level,
                          bool had_span, struct err *err)
{
    int level = LOG_TRACE; /* a target alone means everything of it */
    if (had_level && (level = parse_level(level_text)) < 0)
        return err_set(err, RC_INVALID, "invalid level '%.*s' in log filter", SLICE_FMT(level_text));
    if (!had_level && !had_span) {
        int bare = parse_level(target);
        if (bare >= 0) {
            level = bare;
            target = SLICE_LIT("");
        }
    }
    if (target.len && !is_target(target))
        return err_set(err, RC_INVALID, "invalid target '%.*s' in log filter", SLICE_FMT(target));
    if (had_level && !target.len && !had_span)
        return err_set(err, RC_INVALID, "missing target before '=' in log filter");
    if (had_span)
        return RC_OK;
    struct directive d = {slice_dup_cstr(target), level};
    VEC_PUSH(f, d);
    f->max_level = MAX(f->max_level, level);
    return RC_OK;
}

/* One directive: LEVEL | target | target=LEVEL | target[span{field=value}]=LEVEL */
static enum rc filter_parse_directive(struct filter *f, struct slice s, struct err *err)
{
    ptrdiff_t open = slice_find(s, '[', 0);
    struct slice target = s, level = SLICE_EMPTY;
    bool had_level = false;
    if (open >= 0) {
        ptrdiff_t close = -1;
        for (size_t i = s.len; i-- > (size_t)open;) {
            if (s.ptr[i] == ']') {
                close = (ptrdiff_t)i;
                break;
            }
        }
        if (close < 0)
            return err_set(err, RC_INVALID, "missing ']' in log filter directive '%.*s'", SLICE_FMT(s));
        target = slice_sub(s, 0, (size_t)open);
        struct slice rest = slice_trim(slice_sub(s, (size_t)close + 1, s.len - (size_t)close - 1));
        if (rest.len) {
            if (rest.ptr[0] != '=')
                return err_set(err, RC_INVALID, "unexpected text after ']' in log filter");
            had_level = true;
            level = slice_sub(rest, 1, rest.len - 1);
        }
    } else {
        ptrdiff_t eq = slice_find(s, '=', 0);
        if (eq >= 0) {
            had_level = true;
            target = slice_sub(s, 0, (size_t)eq);
            level = slice_sub(s, (size_t)eq + 1, s.len - (size_t)eq - 1);
        }
    }
    return filter_add(f, slice_trim(target), slice_trim(level), had_level, open >= 0, err);
}

static void filter_free(struct filter *f)
{
    for (size_t i = 0; i < f->len; i++)
        free(f->items[i].target);
    free(f->items);
    free(f);
}

/* NULL, with the reason in `err`, if the text is malformed. */
static struct filter *filter_parse(struct slice s, struct err *err)
{
    struct filter *f = xcalloc(1, sizeof(*f));
    /* Without a default directive only errors of other targets are shown. */
    struct directive fallback = {xstrdup(""), LOG_ERROR};
    VEC_PUSH(f, fallback);
    f->max_level = LOG_ERROR;
    size_t from = 0;
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i <= s.len; i++) {
        uint8_t c = i < s.len ? s.ptr[i] : 0;
        quoted ^= c == '"';
        if (!quoted)
            depth += (c == '[' || c == '{') - (c == ']' || c == '}');
        if (i < s.len && (c != ',' || depth > 0 || quoted))
            continue;
        struct slice part = slice_trim(slice_sub(s, from, i - from));
        from = i + 1;
        if (part.len && filter_parse_directive(f, part, err)) {
            filter_free(f);
            return NULL;
        }
    }
    return f;
}

enum rc log_check_filter(const char *text, struct err *err)
{
    struct filter *f = filter_parse(slice_cstr(text), err);
    if (!f)
        return RC_INVALID;
    filter_free(f);
    return RC_OK;
}

enum rc log_set_filter(const char *text, struct err *err)
{
    struct filter *f = filter_parse(slice_cstr(text), err);
    if (!f)
        return RC_INVALID;
    f->older = atomic_load(&current_filter);
    while (!atomic_compare_exchange_weak(&current_filter, &f->older, f))
        ;
    return RC_OK;
}

static bool directive_matches(const char *prefix, size_t len, const char *target)
{
    if (strncmp(target, prefix, len) != 0)
        return false;
    const char *rest = target + len;
    return len == 0 || *rest == '\0' || (rest[0] == ':' && rest[1] == ':') ||
           (*rest == '_' && len == 7 && memcmp(prefix, "restate", 7) == 0);
}

bool log_enabled(enum log_level level, const char *target)
{
    const struct filter *f = atomic_load_explicit(&current_filter, memory_order_acquire);
    if ((int)level > f->max_level)
        return false;
    int allowed = 0;
    size_t best = 0;
    for (size_t i = 0; i < f->len; i++) {
        size_t len = strlen(f->items[i].target);
        if (len >= best && directive_matches(f->items[i].target, len, target)) {
            best = len;
            allowed = f->items[i].level; /* of equals the last one wins */
        }
    }
    return (int)level <= allowed;
}

/* ---- formats ---- */

static const char *const level_names[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
static const char *const level_colours[] = {"", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[34m", "\x1b[35m"};

struct log_event {
    uint64_t wall_us;
    enum log_level level;
    const char *target;
    const struct log_field *fields;
    size_t n_fields;
    struct slice message;
    bool ansi;
};

static void write_text(struct writer *w, const char *s)
{
    write_raw(w, s, strlen(s));
}

/* `text` between an escape sequence and the reset, if colours are on. */
static void write_styled(struct writer *w, bool ansi, const char *style, const char *text)
{
    if (ansi)
        write_text(w, style);
    write_text(w, text);
    if (ansi)
        write_text(w, "\x1b[0m");
}

static void write_head(struct writer *w, const struct log_event *e)
{
    char level[8];
    snprintf(level, sizeof(level), "%5s", level_names[e->level]);
    if (e->ansi)
        write_text(w, "\x1b[2m");
    time_format_rfc3339(w, e->wall_us, 6, "Z");
    write_text(w, e->ansi ? "\x1b[0m " : " ");
    write_styled(w, e->ansi, level_colours[e->level], level);
    write_u8(w, ' ');
    write_styled(w, e->ansi, "\x1b[2m", e->target);
}

static void format_json(struct writer *w, const struct log_event *e)
{
    write_text(w, "{\"timestamp\":\"");
    time_format_rfc3339(w, e->wall_us, 6, "Z");
    write_fmt(w, "\",\"level\":\"%s\",\"fields\":{\"message\":", level_names[e->level]);
    write_json_string(w, e->message);
    for (size_t i = 0; i < e->n_fields; i++) {
        write_u8(w, ',');
        write_json_string(w, slice_cstr(e->fields[i].key));
        write_u8(w, ':');
        write_json_string(w, slice_cstr(e->fields[i].value));
    }
    write_text(w, "},\"target\":");
    write_json_string(w, slice_cstr(e->target));
    write_text(w, "}\n");
}

/* Keeps a compact event on its line and terminals safe: control characters become escapes. */
static void write_one_line(struct writer *w, struct slice s, bool keep_newlines)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c == '\n' && !keep_newlines)
            write_text(w, "\\n");
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            write_fmt(w, "\\x%02x", c);
        else
            write_u8(w, c);
    }
}

static void format_compact(struct writer *w, const struct log_event *e)
{
    write_head(w, e);
    write_text(w, ": ");
    write_one_line(w, e->message, false);
    for (size_t i = 0; i < e->n_fields; i++) {
        write_u8(w, ' ');
        write_styled(w, e->ansi, "\x1b[3m", e->fields[i].key);
        write_styled(w, e->ansi, "\x1b[2m", "=");
        write_one_line(w, slice_cstr(e->fields[i].value), false);
    }
    write_u8(w, '\n');
}

static void format_pretty(struct writer *w, const struct log_event *e)
{
    char thread[16] = "main";
    if (gettid() != getpid())
        pthread_getname_np(pthread_self(), thread, sizeof(thread));
    write_head(w, e);
    write_text(w, "\n  ");
    write_one_line(w, e->message, true);
    for (size_t i = 0; i < e->n_fields; i++) {
        write_text(w, "\n    ");
        write_styled(w, e->ansi, "\x1b[3m", e->fields[i].key);
        write_text(w, ": ");
        write_one_line(w, slice_cstr(e->fields[i].value), true);
    }
    write_text(w, "\non ");
    write_text(w, thread);
    write_u8(w, '\n');
}

/* ---- output ---- */

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink_fn)(void *ctx, enum log_level level, struct slice line);
static void *sink_ctx;
static _Atomic bool sink_set;

void log_set_sink(void (*sink)(void *ctx, enum log_level level, struct slice line), void *ctx)
{
    pthread_mutex_lock(&sink_lock);
    sink_fn = sink;
    sink_ctx = ctx;
    atomic_store(&sink_set, sink != NULL);
    pthread_mutex_unlock(&sink_lock);
}

/* True if a sink took the event. */
static bool emit_to_sink(enum log_level level, struct slice text)
{
    if (!atomic_load(&sink_set))
        return false;
    pthread_mutex_lock(&sink_lock);
    bool taken = sink_fn != NULL;
    if (taken)
        sink_fn(sink_ctx, level, slice_sub(text, 0, text.len - 1)); /* without the final newline */
    pthread_mutex_unlock(&sink_lock);
    return taken;
}

static void emit_to_fd(int fd, struct slice text)
{
    while (text.len) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n > 0) {
            text = slice_sub(text, (size_t)n, text.len - (size_t)n);
        } else if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, 1000) <= 0)
                return; /* nobody reads: losing a line beats stopping the loop */
        } else if (n == 0 || errno != EINTR) {
            return;
        }
    }
}

void log_write(enum log_level level, const char *target, const struct log_field *fields, size_t n_fields,
               const char *fmt, ...)
{
    int saved_errno = errno; /* callers format errno after logging; %m must see it as well */
    char inline_text[1024];
    char *text = inline_text;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(inline_text), fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    if ((size_t)n >= sizeof(inline_text)) {
        text = xmalloc((size_t)n + 1);
        va_start(ap, fmt);
        vsnprintf(text, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    struct log_event e = {.wall_us = os_wall_us(),
                          .level = level,
                          .target = target,
                          .fields = fields,
                          .n_fields = n_fields,
                          .message = slice_make(text, (size_t)n),
                          .ansi = atomic_load_explicit(&config_ansi, memory_order_relaxed)};
    struct writer w;
    writer_init(&w, 512 + (size_t)n);
    int format = atomic_load_explicit(&config_format, memory_order_relaxed);
    if (format == LOG_JSON)
        format_json(&w, &e);
    else if (format == LOG_COMPACT)
        format_compact(&w, &e);
    else
        format_pretty(&w, &e);
    if (!emit_to_sink(level, writer_slice(&w)))
        emit_to_fd(level <= LOG_WARN ? STDERR_FILENO : STDOUT_FILENO, writer_slice(&w));
    writer_free(&w);
    if (text != inline_text)
        free(text);
    errno = saved_errno;
}
