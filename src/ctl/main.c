/* restatectl: the operator's tool (spec/restatectl.md §10, §11). */
#include "ctl/ctl.h"

int main(int argc, char **argv)
{
    struct ctl ctl = {0};
    int exit_code =
        tool_main(argc, argv, &restatectl_root, RESTATECTL_VERSION " (restate in C)", &ctl, ctl_open);
    ctl_close(&ctl);
    return exit_code;
}
