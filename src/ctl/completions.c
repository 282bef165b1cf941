/* `completions` (spec/restatectl.md §11.13): shell completion and man page from the table of commands. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ctl/ctl.h"

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
    {"generate", "Print a completion script", .options = shell_options, .run = generate_run,
     .examples = "source <(restatectl completions generate bash)"},
    {"install", "Write the completion script to where your shell looks for it", .options = shell_options,
     .run = install_run},
    {"man", "Print the man page", .run = manual_run,
     .examples = "restatectl completions man > ~/.local/share/man/man1/restatectl.1"},
    {0}};
