/* The command line (spec/config.md §3). */
#pragma once
#include "node/config_value.h"

struct cli {
    struct cv *layer;        /* values given by flags */
    const char *config_file; /* NULL; borrowed from argv */
    bool dump_config, production, metadata_migration, no_logo, help, short_help, version;
};
/* RC_INVALID after printing the usage error to stderr (exit code 2). */
enum rc cli_parse(int argc, char **argv, struct cli *out);
void cli_print_help(void);
/* Keys whose RESTATE_ variable is read by a flag: raw text, never parsed as a number or list. */
bool cli_key_reads_env(const char *path);
