/* Commands and options of a command-line tool as data: one table describes what is parsed, shown by --help,
 * completed by shells and printed as man page. Used by restatectl (ctl/) and restate (cli/).
 *
 * The shape of the language: `tool [OPTIONS] COMMAND [SUBCOMMAND] [OPTIONS] [ARGUMENTS]`; options of the root
 * may stand anywhere; commands may be shortened to an unambiguous prefix; `--name value`, `--name=value`,
 * `-n value`, `-nvalue`, `-abc` for flags; `--` ends options. */
#pragma once
#include "base/bytes.h"

struct tool;

enum option_flags {
    OPTION_REQUIRED = 1,
    OPTION_LIST = 2,       /* may be repeated; values are split at commas */
    OPTION_MANY = 4,       /* takes all values up to the next option (list) */
    OPTION_REPEAT = 8,     /* may be repeated; values are kept whole */
    OPTION_HIDDEN = 16,    /* works, is not shown */
    OPTION_POSITIONAL = 32 /* an argument; `name` is its metavar */
};

struct option {
    const char *name;  /* long name; of an argument: what it is called in the usage line */
    char letter;       /* 0: none */
    const char *value; /* what the value is called; NULL: a flag */
    unsigned flags;    /* enum option_flags */
    const char *help;
    const char *aliases;  /* further long names, separated by `|` */
    const char *choices;  /* the texts that are allowed, separated by `|`, hidden ones with `~`; NULL: any */
    const char *fallback; /* value when not given */
    const char *env;      /* environment variable that gives the value */
    const char *excludes; /* long names of options that cannot be used with this one, separated by `|` */
    /* RC_OK or a sentence; runs for every single value while parsing. NULL: any text. */
    enum rc (*check)(const char *value, struct err *err);
};

struct command {
    const char *name;
    const char *help;    /* one sentence */
    const char *aliases; /* separated by `|` */
    bool hidden;
    const struct option *options;   /* ended by one without name; arguments in their order */
    const struct command *children; /* ended by one without name; then `run` is NULL */
    int (*run)(struct tool *t);     /* returns the exit code */
    const char *details;            /* more paragraphs for --help */
    const char *examples;           /* lines: `command` or `# explanation` */
};

/* One value as it was given; list options have several. */
struct option_value {
    const struct option *option;
    const char *text; /* NULL for flags */
};

/* What a command line said. Texts live in the tool's arena or in argv. */
struct parsed {
    const struct command *path[4]; /* root first */
    size_t depth;
    struct option_value *values;
    size_t n_values, cap_values;
};

/* RC_OK: `out` says which command to run. RC_EOF: help or version was asked for and printed; RC_INVALID: a
 * usage error was printed. The exit code is then in `*exit_code`. */
enum rc command_parse(struct tool *t, int argc, char **argv, struct parsed *out, int *exit_code);

/* ---- help.c ---- */
void command_print_help(struct tool *t, const struct command *const *path, size_t depth);
/* `Usage: tool nodes list [OPTIONS]` and a newline. `options`: with that word; `with`: also this option. */
struct writer;
void command_usage(struct writer *w, const struct command *const *path, size_t depth, bool options,
                   const struct option *with);
/* How an option is named in messages: `--nodes <NODES>`, `<LOG_ID>...`. */
void option_label(struct writer *w, const struct option *o);
/* `text` in lines of at most `width` columns, each after `indent` blanks. */
void wrap_text(struct writer *w, const char *text, size_t indent, size_t width);

/* ---- completion.c ---- */
/* A script for `bash`, `zsh` or `fish`; false for another shell. */
bool command_completion(struct writer *w, const struct command *root, const char *shell);
/* ---- manual.c ---- */
/* A man page in section 1 (roff). */
void command_manual(struct writer *w, const struct command *root, const char *version);

/* Visit the parts of a text separated by `|`, those with `~` in front left out. */
bool option_part(const char **rest, struct slice *part);
/* Options of a command that also stand for its subcommands are those of the root. */
static inline bool command_has_children(const struct command *c)
{
    return c->children && c->children->name;
}
