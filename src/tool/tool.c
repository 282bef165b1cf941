/* A run of a command-line tool: see tool.h. */
#include "tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/time.h"
#include "loop/loop.h"
#include "tool/table.h"

void tool_init(struct tool *t, const struct command *root, const char *version, void *app)
{
    *t = (struct tool){.root = root, .version = version, .app = app};
}

void tool_free(struct tool *t)
{
    free(t->parsed.values);
    writer_free(&t->out);
    arena_free(&t->arena);
}

/* ---- terminal ---- */

static bool env_set(const char *name)
{
    const char *v = getenv(name);
    return v && *v && strcmp(v, "0") != 0;
}

static bool wants_color(int fd)
{
    const char *term = getenv("TERM");
    if (env_set("CLICOLOR_FORCE"))
        return true;
    return isatty(fd) && !env_set("NO_COLOR") && !(term && strcmp(term, "dumb") == 0);
}

static unsigned terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* `KEY=value` lines of `.env` in the working directory or above; what is set already stays. */
static void load_dotenv(void)
{
    char dir[1024], path[1100], line[4096];
    if (!getcwd(dir, sizeof(dir)))
        return;
    FILE *f = NULL;
    for (;;) {
        snprintf(path, sizeof(path), "%s/.env", strcmp(dir, "/") == 0 ? "" : dir);
        char *slash = strrchr(dir, '/');
        if ((f = fopen(path, "re")) || !slash || slash[1] == 0)
            break;
        slash[slash == dir] = 0;
    }
    while (f && fgets(line, sizeof(line), f)) {
        char *p = line + strspn(line, " \t"), *equals = strchr(p, '=');
        if (*p == '#' || !equals)
            continue;
        if (strncmp(p, "export ", 7) == 0)
            p += 7;
        *equals = 0;
        char *v = equals + 1;
        v[strcspn(v, "\r\n")] = 0;
        size_t len = strlen(v);
        if (len >= 2 && (*v == '"' || *v == '\'') && v[len - 1] == *v) {
            v[len - 1] = 0;
            v++;
        }
        setenv(p, v, 0);
    }
    if (f)
        fclose(f);
}

/* What was collected and not written yet is not worth an interrupted run. */
static void interrupted(int signum)
{
    _exit(1);
}

int tool_main(int argc, char **argv, const struct command *root, const char *version, void *app,
              int (*before)(struct tool *t))
{
    struct tool t;
    int exit_code = 0;
    loop_open_standard_streams();
    signal(SIGINT, interrupted);
    load_dotenv();
    tool_init(&t, root, version, app);
    t.columns = terminal_width();
    t.color = wants_color(STDOUT_FILENO);
    t.color_err = wants_color(STDERR_FILENO);
    if (command_parse(&t, argc, argv, &t.parsed, &exit_code) == RC_OK) {
        t.yes = tool_flag(&t, "yes") || getenv("CI");
        exit_code = before ? before(&t) : 0;
        if (exit_code == 0)
            exit_code = t.parsed.path[t.parsed.depth - 1]->run(&t);
    }
    table_json_end(&t);
    tool_flush(&t);
    tool_free(&t);
    /* whoever reads a pipe may have enough; a full disk is an error */
    if (t.out_errno && t.out_errno != EPIPE) {
        fprintf(stderr, "Error: cannot write to standard output: %s\n", strerror(t.out_errno));
        return exit_code ? exit_code : 1;
    }
    return exit_code;
}

/* ---- options ---- */

static const struct option *find_named(const struct option *list, const char *name)
{
    for (const struct option *o = list; o && o->name; o++)
        if (strcmp(o->name, name) == 0)
            return o;
    return NULL;
}

static const struct option *declared(const struct tool *t, const char *name)
{
    const struct option *o = find_named(t->parsed.path[t->parsed.depth - 1]->options, name);
    if (!o)
        o = find_named(t->root->options, name);
    ASSERT_MSG(o, "option %s is not declared", name);
    return o;
}

unsigned tool_count(const struct tool *t, const char *name)
{
    const struct option *o = declared(t, name);
    unsigned n = 0;
    for (size_t i = 0; i < t->parsed.n_values; i++)
        n += t->parsed.values[i].option == o;
    return n;
}

bool tool_given(const struct tool *t, const char *name)
{
    return tool_count(t, name) > 0;
}

bool tool_flag(const struct tool *t, const char *name)
{
    return tool_count(t, name) > 0;
}

const char *tool_item(const struct tool *t, const char *name, size_t nth)
{
    const struct option *o = declared(t, name);
    size_t seen = 0;
    for (size_t i = 0; i < t->parsed.n_values; i++) {
        const struct option_value *v = &t->parsed.values[i];
        if (v->option == o && v->text && seen++ == nth)
            return v->text;
    }
    return seen == 0 && nth == 0 ? o->fallback : NULL;
}

const char *tool_text(const struct tool *t, const char *name)
{
    const struct option *o = declared(t, name);
    for (size_t i = t->parsed.n_values; i-- > 0;)
        if (t->parsed.values[i].option == o)
            return t->parsed.values[i].text;
    return o->fallback;
}

bool parse_u64(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (*text < '0' || *text > '9' || v > (max - digit) / 10 || (digit > max))
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

uint64_t tool_number(const struct tool *t, const char *name)
{
    const char *text = tool_text(t, name);
    uint64_t v = 0;
    if (text)
        parse_u64(text, UINT64_MAX, &v);
    return v;
}

static enum rc check_number(const char *value, uint64_t max, struct err *err)
{
    uint64_t v;
    if (parse_u64(value, max, &v))
        return RC_OK;
    if (!*value)
        return err_set(err, RC_INVALID, "cannot parse integer from empty string");
    if (strspn(value, "0123456789") == strlen(value) && max == UINT16_MAX)
        return err_set(err, RC_INVALID, "%s is not in 0..=65535", value);
    if (strspn(value, "0123456789") == strlen(value))
        return err_set(err, RC_INVALID, "number too large to fit in target type");
    return err_set(err, RC_INVALID, "invalid digit found in string");
}
enum rc check_u16(const char *value, struct err *err)
{
    return check_number(value, UINT16_MAX, err);
}
enum rc check_u32(const char *value, struct err *err)
{
    return check_number(value, UINT32_MAX, err);
}
enum rc check_u64(const char *value, struct err *err)
{
    return check_number(value, UINT64_MAX, err);
}
enum rc check_duration(const char *value, struct err *err)
{
    uint64_t ns;
    return duration_parse(slice_cstr(value), &ns, err);
}

/* ---- output ---- */

char *tool_format_va(struct tool *t, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    ASSERT(len >= 0);
    char *text = arena_alloc(&t->arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, ap);
    return text;
}

char *tool_format(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = tool_format_va(t, fmt, ap);
    va_end(ap);
    return text;
}

char *tool_take_text(struct tool *t, struct writer *w_take)
{
    char *text = arena_copy_slice(&t->arena, writer_slice(w_take));
    writer_free(w_take);
    return text;
}

void tool_say(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    if (t->json)
        return; /* tables speak */
    va_start(ap, fmt);
    const char *text = tool_format_va(t, fmt, ap);
    va_end(ap);
    write_raw(&t->out, text, strlen(text));
}

/* Length of a style's escape sequence at the front, `ESC [ 1 ; 2 m`; 0: there is none. */
static size_t style_sequence(struct slice s)
{
    size_t n = 2;
    if (s.len < 3 || s.ptr[0] != '\033' || s.ptr[1] != '[')
        return 0;
    while (n < s.len && (s.ptr[n] == ';' || (s.ptr[n] >= '0' && s.ptr[n] <= '9')))
        n++;
    return n < s.len && s.ptr[n] == 'm' ? n + 1 : 0;
}

void write_for_terminal(struct writer *w, struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        uint8_t c = s.ptr[i];
        size_t style = style_sequence(slice_sub(s, i, s.len - i));
        size_t n = style ? style : 1;
        bool second = c == 0xc2 && i + 1 < s.len && s.ptr[i + 1] >= 0x80 && s.ptr[i + 1] < 0xa0;
        if (style || (c >= 0x20 && c != 0x7f && !second) || c == '\n' || c == '\t')
            write_raw(w, s.ptr + i, n);
        else if (c < 0x20)
            write_utf8(w, 0x2400u + c); /* its picture */
        else
            write_utf8(w, 0x2421);
        i += second ? 2 : n;
    }
}

/* Texts come from services and their callers: on a terminal they must not move the cursor or set the title.
 */
static bool put(FILE *f, bool terminal, struct slice text)
{
    struct writer w = WRITER_INIT;
    if (terminal)
        write_for_terminal(&w, text);
    struct slice out = terminal ? writer_slice(&w) : text;
    bool good = out.len == 0 || fwrite(out.ptr, 1, out.len, f) == out.len;
    writer_free(&w);
    return good;
}

void tool_flush(struct tool *t)
{
    bool good = put(stdout, t->columns > 0, writer_slice(&t->out));
    if (fflush(stdout) != 0 || !good)
        t->out_errno = errno ? errno : EIO;
    writer_reset(&t->out);
}

const char *style_begin(bool on, unsigned style)
{
    static const char *const plain[] = {
        "", "\033[38;5;10m", "\033[38;5;9m", "\033[38;5;11m", "\033[38;5;12m", "\033[38;5;13m"};
    static const char *const bold[] = {"\033[1m",
                                       "\033[38;5;10m\033[1m",
                                       "\033[38;5;9m\033[1m",
                                       "\033[38;5;11m\033[1m",
                                       "\033[38;5;12m\033[1m",
                                       "\033[38;5;13m\033[1m"};
    if (!on)
        return "";
    return (style & STYLE_BOLD ? bold : plain)[style & ~(unsigned)STYLE_BOLD];
}

const char *style_end(bool on, unsigned style)
{
    if (!on || style == STYLE_PLAIN)
        return "";
    return style & STYLE_BOLD ? "\033[0m" : "\033[39m";
}

const char *tool_styled(struct tool *t, unsigned style, const char *text)
{
    return tool_format(t, "%s%s%s", style_begin(t->color, style), text, style_end(t->color, style));
}

/* ---- errors ---- */

static void print_error(struct tool *t, const char *message)
{
    table_json_end(t);
    tool_flush(t);
    fprintf(stderr, "%sError:%s ", style_begin(t->color_err, STYLE_RED | STYLE_BOLD),
            style_end(t->color_err, STYLE_RED | STYLE_BOLD));
    put(stderr, isatty(STDERR_FILENO), slice_cstr(message));
    fputc('\n', stderr);
}

int tool_fail(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_error(t, tool_format_va(t, fmt, ap));
    va_end(ap);
    return 1;
}

int tool_fail_cause(struct tool *t, const char *cause, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_error(t, tool_format_va(t, fmt, ap));
    va_end(ap);
    fprintf(stderr, "  ├─ %s\n", cause);
    return 1;
}

void tool_warn(struct tool *t, const char *icon, const char *plain_icon, const char *fmt, ...)
{
    va_list ap;
    tool_flush(t);
    va_start(ap, fmt);
    fprintf(stderr, "%s %s\n", t->color_err ? icon : plain_icon, tool_format_va(t, fmt, ap));
    va_end(ap);
}

static void log_line(struct tool *t, enum log_level level, const char *module, const char *text)
{
    static const struct {
        const char *name;
        unsigned style;
    } levels[] = {[LOG_ERROR] = {"ERROR", STYLE_RED},
                  [LOG_WARN] = {" WARN", STYLE_YELLOW},
                  [LOG_INFO] = {" INFO", STYLE_GREEN}};
    struct writer when = WRITER_INIT;
    if (t->verbosity < (int)level - (int)LOG_ERROR)
        return;
    tool_flush(t);
    time_format_rfc3339(&when, os_wall_us(), 6, "Z");
    fprintf(stderr, "%.*s %s%s%s %s: %s\n", SLICE_FMT(writer_slice(&when)),
            style_begin(t->color_err, levels[level].style), levels[level].name,
            style_end(t->color_err, levels[level].style), module, text);
    writer_free(&when);
}

void tool_item_failed(struct tool *t, const char *module, const char *fmt, ...)
{
    va_list ap;
    t->failures++;
    va_start(ap, fmt);
    log_line(t, LOG_ERROR, module, tool_format_va(t, fmt, ap));
    va_end(ap);
}

void tool_log(struct tool *t, enum log_level level, const char *module, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    log_line(t, level, module, tool_format_va(t, fmt, ap));
    va_end(ap);
}

int tool_usage_error(struct tool *t, const char *fmt, ...)
{
    va_list ap;
    tool_flush(t);
    va_start(ap, fmt);
    fprintf(stderr, "error: %s\n\nFor more information, try '--help'.\n", tool_format_va(t, fmt, ap));
    va_end(ap);
    return 2;
}

#define BOX_WIDTH 120

static void rule(struct writer *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        write_fmt(w, "─");
}

void tool_warning_box(struct tool *t, const char *text)
{
    struct writer lines = WRITER_INIT, w = WRITER_INIT;
    const char *icon = t->color_err ? "⚠️ " : "[WARNING]:";
    size_t icon_width = display_width(slice_cstr(icon));
    size_t longest = 0;
    wrap_text(&lines, text, 0, BOX_WIDTH - icon_width - 9); /* frame, blanks */
    struct slice all = writer_slice(&lines);
    for (size_t at = 0; at < all.len;) {
        size_t end = (size_t)slice_find(all, '\n', at);
        longest = MAX(longest, end - at);
        at = end + 1;
    }
    size_t inner = 2 + icon_width + 4 + longest + 1;
    write_fmt(&w, "┌");
    rule(&w, inner);
    write_fmt(&w, "┐\n");
    for (size_t at = 0; at < all.len;) {
        size_t end = (size_t)slice_find(all, '\n', at);
        struct slice line = slice_sub(all, at, end - at);
        write_fmt(&w, "│  %s%*s    %.*s%*s │\n", at == 0 ? icon : "", at == 0 ? 0 : (int)icon_width, "",
                  SLICE_FMT(line), (int)(longest - line.len), "");
        at = end + 1;
    }
    write_fmt(&w, "└");
    rule(&w, inner);
    write_fmt(&w, "┘\n");
    tool_flush(t);
    fwrite(w.buf->data, 1, w.len, stderr);
    writer_free(&w);
    writer_free(&lines);
}

/* ---- questions ---- */

bool tool_confirm(struct tool *t, const char *question)
{
    char line[64];
    if (t->yes) {
        tool_say(t, "%s Auto-confirming --yes is set.\n", question);
        return true;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return false;
    tool_flush(t);
    fprintf(stderr, "%s [y/N] ", question);
    if (!fgets(line, sizeof(line), stdin))
        return false;
    return line[0] == 'y' || line[0] == 'Y';
}

int tool_aborted(struct tool *t)
{
    return tool_fail(t, "User aborted");
}

/* ---- watching ---- */

#define WATCH_INTERVAL_MIN_MS 100

int tool_watch(struct tool *t, const char *what, uint64_t interval_ms, int (*once)(struct tool *t),
               void (*pause)(struct tool *t, uint64_t ms))
{
    bool terminal = t->columns > 0;
    for (;;) {
        struct arena keep = t->arena;
        struct writer when = WRITER_INIT;
        t->arena = (struct arena){0};
        time_format_rfc3339(&when, os_wall_us(), 0, "Z");
        if (terminal)
            fputs("\033[H\033[2J", stdout);
        tool_say(t, "%.*s  %s  (Ctrl-C ends)\n\n", SLICE_FMT(writer_slice(&when)), what);
        writer_free(&when);
        once(t); /* an error is part of the view */
        tool_say(t, "\n");
        tool_flush(t);
        arena_free(&t->arena);
        t->arena = keep;
        if (ferror(stdout))
            return 1;
        pause(t, MAX(interval_ms, WATCH_INTERVAL_MIN_MS));
    }
}
