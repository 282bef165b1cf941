/* restate: the service developer's tool (spec/admin-api.md §20 to §25). */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    struct cli cli = {0};
    int exit_code = tool_main(argc, argv, &restate_root, CLI_VERSION " (restate in C)", &cli, cli_open);
    cli_close(&cli);
    return exit_code;
}
