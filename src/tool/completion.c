/* Completion scripts for shells from a table of commands: see command.h. The scripts ask nothing at run time:
 * they list, per path of commands, the subcommands and options. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tool/tool.h"

struct visit {
    struct writer *w;
    const struct command *root;
    void (*node)(struct visit *v, const char *path, const struct command *c);
};

static void walk(struct visit *v, const char *path, const struct command *c)
{
    v->node(v, path, c);
    for (const struct command *child = c->children; child && child->name; child++) {
        char *below = xasprintf("%s %s", path, child->name);
        if (!child->hidden)
            walk(v, below, child);
        free(below);
    }
}

static void words(struct writer *w, const struct option *list)
{
    for (const struct option *o = list; o && o->name; o++)
        if (!(o->flags & (OPTION_HIDDEN | OPTION_POSITIONAL)))
            write_fmt(w, " --%s", o->name);
}

static void choices(struct writer *w, const struct option *o)
{
    struct slice part;
    for (const char *rest = o->choices; option_part(&rest, &part);)
        write_fmt(w, " %.*s", SLICE_FMT(part));
}

/* ---- bash ---- */

static void bash_node(struct visit *v, const char *path, const struct command *c)
{
    write_fmt(v->w, "    \"%s\") words=\"", path);
    for (const struct command *child = c->children; child && child->name; child++)
        if (!child->hidden)
            write_fmt(v->w, " %s", child->name);
    for (const struct option *o = c->options; o && o->name; o++)
        if ((o->flags & OPTION_POSITIONAL) && o->choices)
            choices(v->w, o);
    words(v->w, c->options);
    write_fmt(v->w, "\" ;;\n");
}

static void bash_values(struct visit *v, const char *path, const struct command *c)
{
    for (const struct option *o = c->options; o && o->name; o++)
        if (o->choices && !(o->flags & (OPTION_POSITIONAL | OPTION_HIDDEN))) {
            write_fmt(v->w, "    \"%s --%s\") COMPREPLY=($(compgen -W \"", path, o->name);
            choices(v->w, o);
            write_fmt(v->w, "\" -- \"$cur\")); return ;;\n");
        }
}

static void bash(struct visit *v)
{
    struct writer *w = v->w;
    const char *name = v->root->name;
    write_fmt(w,
              "# bash completion of %s\n_%s() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\" path=\"%s\" "
              "words=\"\" i\n"
              "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"$path ${COMP_WORDS[i]}\" in\n    ",
              name, name, name);
    /* every path of commands, to follow the words typed so far */
    size_t start = w->len;
    v->node = bash_node;
    (void)start;
    struct visit paths = *v;
    struct writer list = WRITER_INIT;
    paths.w = &list;
    walk(&paths, name, v->root);
    struct slice rest = writer_slice(&list);
    bool first = true;
    while (rest.len) { /* the quoted text of each line */
        size_t open = (size_t)slice_find(rest, '"', 0), close = (size_t)slice_find(rest, '"', open + 1);
        write_fmt(w, "%s%.*s", first ? "" : " | ", (int)(close - open + 1), (const char *)rest.ptr + open);
        first = false;
        size_t end = (size_t)slice_find(rest, '\n', 0);
        rest = slice_sub(rest, end + 1, rest.len - end - 1);
    }
    write_fmt(w, ") path=\"$path ${COMP_WORDS[i]}\" ;;\n    esac\n  done\n  case \"$path "
                 "${COMP_WORDS[COMP_CWORD-1]}\" in\n");
    v->node = bash_values;
    walk(v, name, v->root);
    write_fmt(w, "  esac\n  case \"$path\" in\n%.*s  esac\n  words=\"$words", SLICE_FMT(writer_slice(&list)));
    words(w, v->root->options);
    write_fmt(
        w,
        " --help\"\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _%s %s\n",
        name, name);
    writer_free(&list);
}

/* ---- zsh: the same function, through its emulation ---- */

static void zsh(struct visit *v)
{
    write_fmt(v->w, "#compdef %s\nautoload -U +X bashcompinit && bashcompinit\n", v->root->name);
    bash(v);
}

/* ---- fish ---- */

static void fish_text(struct writer *w, const char *text)
{
    write_u8(w, '\'');
    for (; text && *text; text++) {
        if (*text == '\'' || *text == '\\')
            write_u8(w, '\\');
        write_u8(w, (uint8_t)*text);
    }
    write_u8(w, '\'');
}

static void fish_options(struct visit *v, const char *condition, const struct option *list)
{
    for (const struct option *o = list; o && o->name; o++) {
        if (o->flags & (OPTION_HIDDEN | OPTION_POSITIONAL))
            continue;
        write_fmt(v->w, "complete -c %s %s -l %s", v->root->name, condition, o->name);
        if (o->letter)
            write_fmt(v->w, " -s %c", o->letter);
        if (o->value)
            write_fmt(v->w, " -r");
        if (o->choices) {
            write_fmt(v->w, " -f -a '");
            choices(v->w, o);
            write_u8(v->w, '\'');
        }
        write_fmt(v->w, " -d ");
        fish_text(v->w, o->help);
        write_u8(v->w, '\n');
    }
}

static void fish_node(struct visit *v, const char *path, const struct command *c)
{
    const char *below = strchr(path, ' ');
    char *condition = xasprintf("-n '__%s_at \"%s\"'", v->root->name, below ? below + 1 : "");
    for (const struct command *child = c->children; child && child->name; child++) {
        if (child->hidden)
            continue;
        write_fmt(v->w, "complete -c %s -f %s -a %s -d ", v->root->name, condition, child->name);
        fish_text(v->w, child->help);
        write_u8(v->w, '\n');
    }
    if (below)
        fish_options(v, condition, c->options);
    free(condition);
}

static void fish(struct visit *v)
{
    write_fmt(v->w,
              "# fish completion of %s\nfunction __%s_at\n    set -l words\n"
              "    for word in (commandline -opc)[2..]\n        string match -q -- '-*' $word; or set -a "
              "words $word\n"
              "    end\n    test \"$words\" = \"$argv[1]\"\nend\n",
              v->root->name, v->root->name);
    v->node = fish_node;
    walk(v, v->root->name, v->root);
    fish_options(v, "", v->root->options);
}

bool command_completion(struct writer *w, const struct command *root, const char *shell)
{
    struct visit v = {.w = w, .root = root};
    if (strcmp(shell, "bash") == 0)
        bash(&v);
    else if (strcmp(shell, "zsh") == 0)
        zsh(&v);
    else if (strcmp(shell, "fish") == 0)
        fish(&v);
    else
        return false;
    return true;
}

/* ---- commands of the tools ---- */

static const char *shell_or_guess(const char *shell)
{
    const char *path = getenv("SHELL"), *slash = path ? strrchr(path, '/') : NULL;
    return shell ? shell : slash ? slash + 1 : path ? path : "bash";
}

static int tool_print_completion(struct tool *t, const char *shell)
{
    shell = shell_or_guess(shell);
    return command_completion(&t->out, t->root, shell)
               ? 0
               : tool_fail(t, "no completion for the shell '%s'", shell);
}

static enum rc make_parents(char *path, struct err *err)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        int rc = mkdir(path, 0755);
        *p = '/';
        if (rc != 0 && errno != EEXIST)
            return err_set_errno(err, RC_IO, errno, "cannot create the folder of %s", path);
    }
    return RC_OK;
}

static int tool_install_completion(struct tool *t, const char *shell)
{
    const char *home = getenv("HOME"), *name = t->root->name;
    struct writer w = WRITER_INIT;
    struct err err = {0};
    shell = shell_or_guess(shell);
    if (!command_completion(&w, t->root, shell))
        return tool_fail(t, "no completion for the shell '%s'", shell);
    char *path = strcmp(shell, "bash") == 0 ? tool_format(t, "%s/.local/share/bash-completion/completions/%s",
                                                          home ? home : "", name)
                 : strcmp(shell, "zsh") == 0
                     ? tool_format(t, "%s/.local/share/zsh/site-functions/_%s", home ? home : "", name)
                     : tool_format(t, "%s/.config/fish/completions/%s.fish", home ? home : "", name);
    FILE *f = NULL;
    if (make_parents(path, &err) == RC_OK && !(f = fopen(path, "we")))
        err_set_errno(&err, RC_IO, errno, "cannot write %s", path);
    bool written = f && fwrite(w.buf->data, 1, w.len, f) == w.len;
    if (f && (fclose(f) != 0 || !written))
        err_set(&err, RC_IO, "cannot write %s", path);
    writer_free(&w);
    if (err.rc != RC_OK)
        return tool_fail(t, "%s", err.msg);
    tool_say(t, "Installed %s\n", path);
    return 0;
}

static int generate_run(struct tool *t)
{
    return tool_print_completion(t, tool_text(t, "SHELL"));
}

static int install_run(struct tool *t)
{
    return tool_install_completion(t, tool_text(t, "SHELL"));
}

static int manual_run(struct tool *t)
{
    command_manual(&t->out, t->root, t->version);
    return 0;
}

static const struct option shell_options[] = {{"SHELL", .value = "SHELL", .flags = OPTION_POSITIONAL,
                                               .help = "Your shell; found out from $SHELL without it",
                                               .choices = "bash|fish|zsh"},
                                              {0}};

const struct command completions_commands[] = {
    {"generate", "Print a completion script", .options = shell_options, .run = generate_run},
    {"install", "Write the completion script to where your shell looks for it", .options = shell_options,
     .run = install_run},
    {"man", "Print the man page", .run = manual_run},
    {0}};
