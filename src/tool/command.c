/* Parsing of a command line along a table of commands: see command.h. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/containers.h"
#include "tool/tool.h"

bool option_part(const char **rest, struct slice *part)
{
    if (!*rest || !**rest)
        return false;
    const char *bar = strchr(*rest, '|');
    *part = slice_make(*rest, bar ? (size_t)(bar - *rest) : strlen(*rest));
    *rest = bar ? bar + 1 : NULL;
    return part->ptr[0] != '~' || option_part(rest, part);
}

static bool has_part(const char *parts, struct slice text)
{
    while (parts && *parts) {
        const char *bar = strchr(parts, '|');
        struct slice part = slice_make(parts, bar ? (size_t)(bar - parts) : strlen(parts));
        if (part.len && part.ptr[0] == '~')
            part = slice_sub(part, 1, part.len - 1);
        if (slice_eq(part, text))
            return true;
        parts = bar ? bar + 1 : NULL;
    }
    return false;
}

struct parser {
    struct tool *t;
    struct parsed *p;
    char **argv;
    int argc, at;
    size_t n_arguments; /* positional ones so far */
    bool options_ended;
};

static const struct command *current(const struct parser *ps)
{
    return ps->p->path[ps->p->depth - 1];
}

/* ---- messages ---- */

enum usage { NO_USAGE, USAGE, USAGE_STRICT /* without [OPTIONS] */ };

static enum rc refuse(struct parser *ps, enum usage usage, const struct option *with, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static enum rc refuse(struct parser *ps, enum usage usage, const struct option *with, const char *fmt, ...)
{
    struct writer w = WRITER_INIT;
    va_list ap;
    tool_flush(ps->t);
    if (usage) {
        command_usage(&w, ps->p->path, ps->p->depth, usage == USAGE, with);
        write_u8(&w, '\n');
    }
    fprintf(stderr, "error: ");
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n\n%.*sFor more information, try '--help'.\n", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
    return RC_INVALID;
}

static const char *label_of(struct parser *ps, const struct option *o)
{
    struct writer w = WRITER_INIT;
    option_label(&w, o);
    return tool_take_text(ps->t, &w);
}

/* ---- finding ---- */

static const struct option *find_in(const struct option *list, struct slice name, char letter)
{
    for (const struct option *o = list; o && o->name; o++) {
        if (o->flags & OPTION_POSITIONAL)
            continue;
        if (letter ? o->letter == letter : slice_eq_cstr(name, o->name) || has_part(o->aliases, name))
            return o;
    }
    return NULL;
}

static const struct option *find_option(const struct parser *ps, struct slice name, char letter)
{
    const struct option *o = find_in(current(ps)->options, name, letter);
    return o ? o : find_in(ps->p->path[0]->options, name, letter);
}

static const struct option *argument_at(const struct command *c, size_t i)
{
    const struct option *last = NULL;
    for (const struct option *o = c->options; o && o->name; o++) {
        if (!(o->flags & OPTION_POSITIONAL))
            continue;
        last = o;
        if (i-- == 0)
            return o;
    }
    return last && (last->flags & (OPTION_LIST | OPTION_REPEAT)) ? last : NULL;
}

/* ---- values ---- */

static enum rc add_one(struct parser *ps, const struct option *o, const char *text)
{
    struct err err = {0};
    struct parsed *p = ps->p;
    if (text && o->choices && !has_part(o->choices, slice_cstr(text))) {
        struct writer w = WRITER_INIT;
        struct slice part;
        for (const char *rest = o->choices; option_part(&rest, &part);)
            write_fmt(&w, "%s%.*s", w.len ? ", " : "", SLICE_FMT(part));
        write_u8(&w, 0);
        const char *choices = arena_copy_text(&ps->t->arena, (const char *)w.buf->data);
        writer_free(&w);
        return refuse(ps, NO_USAGE, NULL, "invalid value '%s' for '%s'\n  [possible values: %s]", text,
                      label_of(ps, o), choices);
    }
    if (text && o->check && o->check(text, &err) != RC_OK)
        return refuse(ps, NO_USAGE, NULL, "invalid value '%s' for '%s': %s", text, label_of(ps, o), err.msg);
    if (p->n_values == p->cap_values)
        p->values = vec_grow(p->values, &p->cap_values, p->n_values + 1, sizeof(*p->values));
    p->values[p->n_values++] = (struct option_value){o, text};
    return RC_OK;
}

static bool has_value(const struct parsed *p, const struct option *o)
{
    for (size_t i = 0; i < p->n_values; i++)
        if (p->values[i].option == o)
            return true;
    return false;
}

static enum rc add_value(struct parser *ps, const struct option *o, const char *text)
{
    if (!(o->flags & (OPTION_LIST | OPTION_REPEAT)) && has_value(ps->p, o) && o->value)
        return refuse(ps, USAGE, NULL, "the argument '%s' cannot be used multiple times", label_of(ps, o));
    if (!(o->flags & OPTION_LIST))
        return add_one(ps, o, text);
    char *copy = arena_copy_text(&ps->t->arena, text), *save = NULL;
    for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        while (*item == ' ')
            item++;
        enum rc rc = add_one(ps, o, item);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != 0;
}

/* `inline_value`: what stood behind `=` or the letter; NULL: take the next argument. */
static enum rc take_value(struct parser *ps, const struct option *o, const char *inline_value)
{
    if (!o->value)
        return inline_value
                   ? refuse(ps, USAGE, NULL, "unexpected value '%s' for '%s' found; no more were expected",
                            inline_value, label_of(ps, o))
                   : add_one(ps, o, NULL);
    if (inline_value)
        return add_value(ps, o, inline_value);
    if (o->flags & OPTION_MANY) {
        size_t n = 0;
        enum rc rc = RC_OK;
        for (; rc == RC_OK && ps->at < ps->argc && !is_option(ps->argv[ps->at]); n++)
            rc = add_value(ps, o, ps->argv[ps->at++]);
        return n == 0 ? add_one(ps, o, NULL) : rc; /* given, and empty */
    }
    if (ps->at >= ps->argc)
        return refuse(ps, NO_USAGE, NULL, "a value is required for '%s' but none was supplied",
                      label_of(ps, o));
    return add_value(ps, o, ps->argv[ps->at++]);
}

/* ---- words ---- */

static enum rc long_option(struct parser *ps, const char *word)
{
    const char *equals = strchr(word, '=');
    struct slice name = slice_make(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
    const struct option *o = find_option(ps, name, 0);
    if (!o && slice_eq_cstr(name, "help")) {
        command_print_help(ps->t, ps->p->path, ps->p->depth);
        return RC_EOF;
    }
    if (!o && slice_eq_cstr(name, "version")) {
        tool_say(ps->t, "%s %s\n", ps->p->path[0]->name, ps->t->version);
        return RC_EOF;
    }
    if (!o)
        return refuse(ps, USAGE, NULL, "unexpected argument '--%.*s' found", SLICE_FMT(name));
    return take_value(ps, o, equals ? equals + 1 : NULL);
}

static enum rc letters(struct parser *ps, const char *word)
{
    for (const char *p = word + 1; *p; p++) {
        if (*p == 'h') {
            command_print_help(ps->t, ps->p->path, ps->p->depth);
            return RC_EOF;
        }
        if (*p == 'V') {
            tool_say(ps->t, "%s %s\n", ps->p->path[0]->name, ps->t->version);
            return RC_EOF;
        }
        const struct option *o = find_option(ps, SLICE_EMPTY, *p);
        if (!o)
            return refuse(ps, USAGE, NULL, "unexpected argument '-%c' found", *p);
        if (!o->value) {
            enum rc rc = add_one(ps, o, NULL);
            if (rc != RC_OK)
                return rc;
            continue;
        }
        const char *rest = p[1] == '=' ? p + 2 : p + 1;
        return take_value(ps, o, p[1] ? rest : NULL);
    }
    return RC_OK;
}

/* How many single-character edits apart, at most 3. */
static size_t distance(struct slice a, struct slice b)
{
    size_t row[64];
    if (a.len >= ARRAY_LEN(row) || b.len >= ARRAY_LEN(row))
        return 3;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t up = row[j];
            row[j] = MIN(MIN(row[j], row[j - 1]) + 1, corner + (a.ptr[i - 1] != b.ptr[j - 1]));
            corner = up;
        }
    }
    return row[b.len];
}

static enum rc unknown_command(struct parser *ps, struct slice word)
{
    struct writer tip = WRITER_INIT;
    size_t n = 0;
    for (const struct command *c = current(ps)->children; c->name; c++) {
        struct slice name = slice_cstr(c->name);
        if (slice_starts_with(name, word) || distance(word, name) <= 2) {
            write_fmt(&tip, "%s'%s'", n ? ", " : "", c->name);
            n++;
        }
    }
    write_u8(&tip, 0);
    const char *names = arena_copy_text(&ps->t->arena, (const char *)tip.buf->data);
    writer_free(&tip);
    if (n == 0)
        return refuse(ps, USAGE, NULL, "unrecognized subcommand '%.*s'", SLICE_FMT(word));
    return refuse(ps, USAGE, NULL, "unrecognized subcommand '%.*s'\n\n  tip: %s: %s", SLICE_FMT(word),
                  n == 1 ? "a similar subcommand exists" : "some similar subcommands exist", names);
}

static const struct command *find_command(const struct command *list, struct slice word)
{
    const struct command *only = NULL;
    size_t n = 0;
    for (const struct command *c = list; c->name; c++)
        if (slice_eq_cstr(word, c->name) || has_part(c->aliases, word))
            return c;
    for (const struct command *c = list; c->name; c++) {
        bool prefix = slice_starts_with(slice_cstr(c->name), word);
        struct slice part;
        for (const char *rest = c->aliases; !prefix && option_part(&rest, &part);)
            prefix = slice_starts_with(part, word);
        if (prefix) {
            only = c;
            n++;
        }
    }
    return n == 1 ? only : NULL;
}

static enum rc subcommand(struct parser *ps, const char *word)
{
    struct parsed *p = ps->p;
    if (strcmp(word, "help") == 0) {
        while (ps->at < ps->argc && command_has_children(current(ps)) && p->depth < ARRAY_LEN(p->path)) {
            struct slice next = slice_cstr(ps->argv[ps->at++]);
            const struct command *c = find_command(current(ps)->children, next);
            if (!c)
                return unknown_command(ps, next);
            p->path[p->depth++] = c;
        }
        command_print_help(ps->t, p->path, p->depth);
        return RC_EOF;
    }
    const struct command *c = find_command(current(ps)->children, slice_cstr(word));
    if (!c)
        return unknown_command(ps, slice_cstr(word));
    ASSERT(p->depth < ARRAY_LEN(p->path));
    p->path[p->depth++] = c;
    return RC_OK;
}

static enum rc word(struct parser *ps, const char *text)
{
    if (!ps->options_ended && strcmp(text, "--") == 0) {
        ps->options_ended = true;
        return RC_OK;
    }
    if (!ps->options_ended && is_option(text))
        return text[1] == '-' ? long_option(ps, text) : letters(ps, text);
    if (command_has_children(current(ps)))
        return subcommand(ps, text);
    const struct option *o = argument_at(current(ps), ps->n_arguments++);
    if (!o)
        return refuse(ps, USAGE, NULL, "unexpected argument '%s' found", text);
    return add_value(ps, o, text);
}

/* ---- afterwards ---- */

static enum rc from_environment(struct parser *ps, const struct option *list)
{
    for (const struct option *o = list; o && o->name; o++) {
        const char *text = o->env ? getenv(o->env) : NULL;
        if (!text || !*text || has_value(ps->p, o))
            continue;
        enum rc rc = o->value ? add_value(ps, o, text) : add_one(ps, o, NULL);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc check_excludes(struct parser *ps, const struct option *list)
{
    for (const struct option *o = list; o && o->name; o++) {
        struct slice part;
        if (!has_value(ps->p, o))
            continue;
        for (const char *rest = o->excludes; option_part(&rest, &part);) {
            const struct option *other = find_option(ps, part, 0);
            if (other && has_value(ps->p, other))
                return refuse(ps, USAGE_STRICT, o, "the argument '%s' cannot be used with '%s'",
                              label_of(ps, o), label_of(ps, other));
        }
    }
    return RC_OK;
}

static enum rc check_required(struct parser *ps)
{
    struct writer w = WRITER_INIT;
    for (const struct option *o = current(ps)->options; o && o->name; o++)
        if ((o->flags & OPTION_REQUIRED) && !has_value(ps->p, o)) {
            write_fmt(&w, "  ");
            option_label(&w, o);
            write_u8(&w, '\n');
        }
    if (!w.len)
        return RC_OK;
    const char *list = arena_copy_slice(&ps->t->arena, slice_sub(writer_slice(&w), 0, w.len - 1));
    writer_free(&w);
    return refuse(ps, USAGE_STRICT, NULL, "the following required arguments were not provided:\n%s", list);
}

enum rc command_parse(struct tool *t, int argc, char **argv, struct parsed *out, int *exit_code)
{
    struct parser ps = {.t = t, .p = out, .argv = argv, .argc = argc, .at = 1};
    enum rc rc = RC_OK;
    out->path[0] = t->root;
    out->depth = 1;
    /* a key of an object with a replaced character would be another key */
    for (int i = 1; i < argc; i++)
        if (!slice_is_utf8(slice_cstr(argv[i]))) {
            *exit_code = tool_usage_error(t, "invalid UTF-8 was detected in one or more arguments");
            return RC_INVALID;
        }
    while (rc == RC_OK && ps.at < argc)
        rc = word(&ps, argv[ps.at++]);
    if (rc == RC_OK && command_has_children(current(&ps))) {
        /* no command: help, as an error */
        command_print_help(t, out->path, out->depth);
        fprintf(stderr, "%.*s", (int)t->out.len, t->out.buf ? (const char *)t->out.buf->data : "");
        writer_reset(&t->out);
        rc = RC_INVALID;
    }
    /* What was given excludes each other; what comes from the environment gives way. */
    if (rc == RC_OK)
        rc = check_excludes(&ps, t->root->options);
    if (rc == RC_OK && out->depth > 1)
        rc = check_excludes(&ps, current(&ps)->options);
    if (rc == RC_OK)
        rc = from_environment(&ps, t->root->options);
    if (rc == RC_OK && out->depth > 1)
        rc = from_environment(&ps, current(&ps)->options);
    if (rc == RC_OK)
        rc = check_required(&ps);
    *exit_code = rc == RC_INVALID ? 2 : 0;
    return rc;
}
