/* Man pages from a table of commands: see command.h. */
#include <stdlib.h>

#include "tool/tool.h"

/* Text where roff sees no commands. */
static void roff_text(struct writer *w, const char *text)
{
    bool start = true;
    for (; text && *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            write_fmt(w, "\\&");
        if (*text == '\\')
            write_fmt(w, "\\e");
        else if (*text == '-')
            write_fmt(w, "\\-");
        else
            write_u8(w, (uint8_t)*text);
        start = *text == '\n';
    }
    write_u8(w, '\n');
}

static void options(struct writer *w, const struct option *list)
{
    for (const struct option *o = list; o && o->name; o++) {
        if (o->flags & OPTION_HIDDEN)
            continue;
        struct writer label = WRITER_INIT;
        option_label(&label, o);
        write_u8(&label, 0);
        write_fmt(w, ".TP\n.B ");
        if (o->letter)
            write_fmt(w, "\\-%c, ", o->letter);
        roff_text(w, (const char *)label.buf->data);
        writer_free(&label);
        roff_text(w, o->help ? o->help : "");
        if (o->fallback) {
            write_fmt(w, "Default: ");
            roff_text(w, o->fallback);
        }
        if (o->env)
            write_fmt(w, "Environment: %s\n", o->env);
        struct slice part;
        const char *sep = "One of: ";
        for (const char *rest = o->choices; option_part(&rest, &part); sep = ", ")
            write_fmt(w, "%s%.*s", sep, SLICE_FMT(part));
        if (o->choices)
            write_u8(w, '\n');
    }
}

static void examples(struct writer *w, const char *text)
{
    write_fmt(w, ".PP\n.nf\n");
    roff_text(w, text);
    write_fmt(w, ".fi\n");
}

static void command(struct writer *w, const struct command **path, size_t depth)
{
    const struct command *c = path[depth - 1];
    if (c->hidden)
        return;
    if (!command_has_children(c)) {
        write_fmt(w, ".SS \"");
        for (size_t i = 1; i < depth; i++)
            write_fmt(w, "%s%s", i > 1 ? " " : "", path[i]->name);
        write_fmt(w, "\"\n");
        roff_text(w, c->help);
        if (c->details) {
            write_fmt(w, ".PP\n");
            roff_text(w, c->details);
        }
        options(w, c->options);
        if (c->examples)
            examples(w, c->examples);
    }
    for (const struct command *child = c->children; child && child->name; child++) {
        path[depth] = child;
        command(w, path, depth + 1);
    }
}

void command_manual(struct writer *w, const struct command *root, const char *version)
{
    const struct command *path[5] = {root};
    write_fmt(w, ".TH %s 1 \"\" \"", root->name);
    write_fmt(w, "%s\"\n.SH NAME\n%s \\- ", version, root->name);
    roff_text(w, root->help);
    write_fmt(w, ".SH SYNOPSIS\n.B %s\n[OPTIONS] COMMAND\n.SH DESCRIPTION\n", root->name);
    roff_text(w, root->details ? root->details : root->help);
    write_fmt(w, ".SH OPTIONS\n");
    options(w, root->options);
    write_fmt(w, ".SH COMMANDS\n");
    for (const struct command *child = root->children; child->name; child++) {
        path[1] = child;
        command(w, path, 2);
    }
    write_fmt(w, ".SH EXAMPLES\n");
    if (root->examples)
        examples(w, root->examples);
    write_fmt(w, ".SH EXIT STATUS\n0: done; 1: an error; 2: the command line was not understood.\n");
}
