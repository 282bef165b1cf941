/* --help and usage lines from a table of commands: see command.h. */
#include "tool/tool.h"

#define HELP_WIDTH 100

void option_label(struct writer *w, const struct option *o)
{
    const char *more = o->flags & OPTION_MANY ? "..." : "";
    if (o->flags & OPTION_POSITIONAL) {
        bool required = o->flags & OPTION_REQUIRED;
        write_fmt(w, required ? "<%s>%s" : "[%s]%s", o->name,
                  o->flags & (OPTION_LIST | OPTION_REPEAT) ? "..." : "");
        return;
    }
    write_fmt(w, "--%s", o->name);
    if (o->value)
        write_fmt(w, " <%s>%s", o->value, more);
}

void command_usage(struct writer *w, const struct command *const *path, size_t depth, bool options,
                   const struct option *with)
{
    const struct command *c = path[depth - 1];
    write_fmt(w, "Usage:");
    for (size_t i = 0; i < depth; i++)
        write_fmt(w, " %s", path[i]->name);
    write_fmt(w, options ? " [OPTIONS]" : "");
    if (with) {
        write_u8(w, ' ');
        option_label(w, with);
    }
    for (int arguments = 0; arguments < 2; arguments++)
        for (const struct option *o = c->options; o && o->name; o++) {
            bool is_argument = o->flags & OPTION_POSITIONAL;
            if (is_argument != (arguments == 1) ||
                (!is_argument && (o == with || !(o->flags & OPTION_REQUIRED))))
                continue;
            write_u8(w, ' ');
            option_label(w, o);
        }
    if (command_has_children(c))
        write_fmt(w, " <COMMAND>");
    write_u8(w, '\n');
}

void wrap_text(struct writer *w, const char *text, size_t indent, size_t width)
{
    size_t room = width > indent + 20 ? width - indent : 20;
    while (*text) {
        const char *end = strchr(text, '\n');
        size_t len = end ? (size_t)(end - text) : strlen(text);
        if (len > room) {
            size_t cut = room;
            while (cut > 0 && text[cut] != ' ')
                cut--;
            len = cut ? cut : len;
        }
        if (len)
            write_fmt(w, "%*s%.*s", (int)indent, "", (int)len, text);
        write_u8(w, '\n');
        text += len;
        while (*text == ' ')
            text++;
        if (*text == '\n')
            text++;
    }
}

static void print_option(struct writer *w, const struct option *o, size_t width)
{
    if (o->flags & OPTION_HIDDEN)
        return;
    if (o->flags & OPTION_POSITIONAL)
        write_fmt(w, "  ");
    else if (o->letter)
        write_fmt(w, "  -%c, ", o->letter);
    else
        write_fmt(w, "      ");
    option_label(w, o);
    write_u8(w, '\n');
    struct writer text = WRITER_INIT;
    write_fmt(&text, "%s", o->help ? o->help : "");
    if (o->env)
        write_fmt(&text, " [env: %s]", o->env);
    if (o->fallback)
        write_fmt(&text, " [default: %s]", o->fallback);
    if (o->choices) {
        struct slice part;
        bool first = true;
        write_fmt(&text, " [possible values: ");
        for (const char *rest = o->choices; option_part(&rest, &part); first = false)
            write_fmt(&text, "%s%.*s", first ? "" : ", ", SLICE_FMT(part));
        write_u8(&text, ']');
    }
    if (o->aliases) {
        const char *rest = o->aliases;
        struct slice part;
        write_fmt(&text, " [alias:");
        while (option_part(&rest, &part))
            write_fmt(&text, " --%.*s", SLICE_FMT(part));
        write_u8(&text, ']');
    }
    write_u8(&text, 0);
    wrap_text(w, (const char *)text.buf->data, 10, width);
    writer_free(&text);
}

static void print_options(struct writer *w, const struct option *list, bool arguments, const char *title,
                          size_t width)
{
    bool any = false;
    for (const struct option *o = list; o && o->name; o++) {
        if (((o->flags & OPTION_POSITIONAL) != 0) != arguments || (o->flags & OPTION_HIDDEN))
            continue;
        if (!any && title)
            write_fmt(w, "\n%s:\n", title);
        any = true;
        print_option(w, o, width);
    }
}

static void print_children(struct writer *w, const struct command *children, size_t width)
{
    size_t longest = 4;
    for (const struct command *c = children; c->name; c++)
        if (!c->hidden)
            longest = MAX(longest, strlen(c->name));
    write_fmt(w, "\nCommands:\n");
    for (const struct command *c = children; c->name; c++) {
        if (c->hidden)
            continue;
        struct writer text = WRITER_INIT;
        struct slice part;
        write_fmt(&text, "%s", c->help);
        for (const char *rest = c->aliases; option_part(&rest, &part);)
            write_fmt(&text, " [alias: %.*s]", SLICE_FMT(part));
        write_u8(&text, 0);
        size_t start = w->len;
        wrap_text(w, (const char *)text.buf->data, longest + 4, width);
        writer_free(&text);
        memcpy(w->buf->data + start + 2, c->name, strlen(c->name));
    }
    write_fmt(w, "  %-*s  Print this message or the help of a command\n", (int)longest, "help");
}

static void print_examples(struct writer *w, const char *examples)
{
    write_fmt(w, "\nExamples:\n");
    while (*examples) {
        const char *end = strchr(examples, '\n');
        size_t len = end ? (size_t)(end - examples) : strlen(examples);
        write_fmt(w, "  %.*s\n", (int)len, examples);
        examples += len + (end != NULL);
    }
}

void command_print_help(struct tool *t, const struct command *const *path, size_t depth)
{
    const struct command *c = path[depth - 1];
    struct writer *w = &t->out;
    size_t width = t->columns && t->columns < HELP_WIDTH ? t->columns : HELP_WIDTH;
    wrap_text(w, c->help, 0, width);
    if (c->details) {
        write_u8(w, '\n');
        wrap_text(w, c->details, 0, width);
    }
    write_u8(w, '\n');
    command_usage(w, path, depth, true, NULL);
    if (command_has_children(c))
        print_children(w, c->children, width);
    print_options(w, c->options, true, "Arguments", width);
    if (depth > 1)
        print_options(w, c->options, false, "Options", width);
    print_options(w, path[0]->options, false, depth > 1 ? "Options of all commands" : "Options", width);
    write_fmt(w, "  -h, --help\n          Print help\n");
    if (depth == 1)
        write_fmt(w, "  -V, --version\n          Print the version\n");
    if (c->examples)
        print_examples(w, c->examples);
}
