/* One run of a command-line tool: the parsed command line, output to a terminal or a file, errors, prompts.
 *
 * Standard output is collected and written at the end, before anything goes to standard error and before a
 * question, so the order is kept. Strings made here live in `arena` until the run ends. One thread. */
#pragma once
#include <stdarg.h>
#include <stdio.h>

#include "base/codec.h"
#include "base/log.h"
#include "metadata/arena.h"
#include "tool/command.h"

enum style { /* one colour, may be combined with STYLE_BOLD */
             STYLE_PLAIN,
             STYLE_GREEN,
             STYLE_RED,
             STYLE_YELLOW,
             STYLE_BLUE,
             STYLE_MAGENTA,
             STYLE_BOLD = 16
};

struct tool {
    const struct command *root;
    const char *version;
    struct parsed parsed;
    struct arena arena;
    struct writer out;     /* not written yet */
    int out_errno;         /* standard output cannot be written; 0: it can */
    bool color, color_err; /* styles on standard output, standard error */
    unsigned columns;      /* width of the terminal; 0: standard output is none */
    bool borders;          /* table style */
    bool json;             /* tables as JSON */
    bool json_open;        /* a JSON object of several tables is open */
    bool yes;              /* questions are answered with yes */
    bool strict;           /* failures of single items count */
    unsigned failures;     /* of single items */
    int verbosity;         /* 0: errors; more or fewer levels of log lines on standard error */
    void *app;             /* the tool's own state */
};

/* Parse and run: the whole of main(). `app` is the tool's own state, `before` (may be NULL) runs after
 * parsing and may refuse with an exit code other than 0. */
int tool_main(int argc, char **argv, const struct command *root, const char *version, void *app,
              int (*before)(struct tool *t));
/* For tests: no environment, no terminal. */
void tool_init(struct tool *t, const struct command *root, const char *version, void *app);
void tool_free(struct tool *t);

/* ---- options; naming one that the command does not have is a bug ---- */
bool tool_given(const struct tool *t, const char *name);
bool tool_flag(const struct tool *t, const char *name);
unsigned tool_count(const struct tool *t, const char *name);
const char *tool_text(const struct tool *t, const char *name); /* the last value, the fallback, or NULL */
uint64_t tool_number(const struct tool *t, const char *name);  /* of an option that was checked to be one */
/* i-th value of a list, NULL after the last. */
const char *tool_item(const struct tool *t, const char *name, size_t i);

/* ---- output ---- */
char *tool_format(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *tool_format_va(struct tool *t, const char *fmt, va_list ap);
/* What was written, as a text; frees the writer. */
char *tool_take_text(struct tool *t, struct writer *w_take);
void tool_say(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tool_flush(struct tool *t);
/* `s` with its control characters as pictures (U+2400...), but for line ends, tabs and the sequences of
 * styles. */
void write_for_terminal(struct writer *w, struct slice s);
/* `text` with the style's escape sequences, if styles are on. */
const char *tool_styled(struct tool *t, unsigned style, const char *text);
/* Bytes to switch a style on and off; "" if styles are off. */
const char *style_begin(bool on, unsigned style);
const char *style_end(bool on, unsigned style);

/* ---- errors: all return 1, the exit code ---- */
int tool_fail(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int tool_fail_cause(struct tool *t, const char *cause, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* `[ERR]: ...` and the like: a message on standard error that does not end the command. */
void tool_warn(struct tool *t, const char *icon, const char *plain_icon, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* One item of several failed: a log line on standard error; the exit code stays 0 unless --strict. */
void tool_item_failed(struct tool *t, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A log line on standard error, if the verbosity asks for its level. */
void tool_log(struct tool *t, enum log_level level, const char *module, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A frame with a warning around it, on standard error. */
void tool_warning_box(struct tool *t, const char *text);
int tool_usage_error(struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Exit code at the end of a command with items. */
static inline int tool_done(const struct tool *t)
{
    return t->strict && t->failures ? 1 : 0;
}

/* ---- questions ---- */
/* false: no, or nobody is there to ask; the caller then returns tool_aborted(t). */
bool tool_confirm(struct tool *t, const char *question);
int tool_aborted(struct tool *t);

/* ---- common checks of option values ---- */
enum rc check_u16(const char *value, struct err *err);
enum rc check_u32(const char *value, struct err *err);
enum rc check_u64(const char *value, struct err *err);
enum rc check_duration(const char *value, struct err *err);
bool parse_u64(const char *text, uint64_t max, uint64_t *out);

/* ---- commands that both tools have: shell completion and man page ---- */
extern const struct command completions_commands[];

/* ---- looking again and again ---- */
/* Show `once` every `interval_ms` until the process is ended, each time with memory of its own; `pause`
 * passes the time. `what` stands in the first line. Returns when standard output is gone. */
int tool_watch(struct tool *t, const char *what, uint64_t interval_ms, int (*once)(struct tool *t),
               void (*pause)(struct tool *t, uint64_t ms));

/* Read a file, or standard input for `-`. At most `limit` bytes. */
enum rc tool_read_file(const char *path, size_t limit, struct bytes *out, struct err *err);
/* The user's editor on a text (VISUAL, EDITOR, vi); the changed text. */
enum rc tool_edit_text(struct tool *t, const char *suffix, struct slice text, struct bytes *out,
                       struct err *err);
