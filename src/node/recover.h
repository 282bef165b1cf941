/* `restate-server recover metadata`: an operator's way back after the majority of the metadata servers was
 * lost for ever (docs/operations.md, BETTER B13). Runs instead of a server, on its data directory. */
#pragma once
#include "base/bytes.h"

/* True if the command line asks for a recovery; then `*exit_code` is its outcome. The remaining arguments are
 * those of a server: they say which data directory. */
bool node_recover(int argc, char **argv, char **envp, int *exit_code);
