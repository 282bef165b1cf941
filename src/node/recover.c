/* Implementation of node/recover.h. */
#include "node/recover.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "metadata/raft_recover.h"
#include "metadata/raft_server.h"
#include "node/config.h"
#include "node/data_dir.h"
#include "node/metadata_host.h"

static void usage(FILE *to)
{
    fprintf(
        to,
        "Make this node the only member of the metadata servers, after their majority was lost for ever\n\n"
        "Usage: restate-server recover metadata [--dry-run | --yes] [OPTIONS]\n\n"
        "  --dry-run   Say what would be done and change nothing (also without --yes)\n"
        "  --yes       Do it\n\n"
        "The other options are those of the server, and say which data directory is meant: --config-file,\n"
        "--base-dir, --node-name, --cluster-name. The server must not run.\n");
}

static void print_members(const struct raft_members *members)
{
    for (uint32_t i = 0; i < members->n; i++) {
        char text[RAFT_MEMBER_TEXT];
        raft_member_format(members->items[i], text);
        printf("%s%s", i ? ", " : "", text);
    }
}

static void print_plan(const char *dir, const struct raft_recovery *r)
{
    char before[RAFT_MEMBER_TEXT], after[RAFT_MEMBER_TEXT];
    raft_member_format(r->before, before);
    raft_member_format(r->after, after);
    printf("Metadata of cluster '%s' in %s\n"
           "  member            %s\n"
           "  members so far    ",
           r->cluster_name, dir, before);
    print_members(&r->members);
    printf("\n"
           "  last entry        %llu of term %llu; the highest among survivors is the one to recover from\n"
           "  known committed   %llu\n",
           (unsigned long long)r->last_index, (unsigned long long)r->last_term,
           (unsigned long long)r->commit);
    if (r->last_index > r->commit)
        printf("  undecided         %llu entries behind that are kept: changes that may not have been "
               "acknowledged\n",
               (unsigned long long)(r->last_index - r->commit));
    if (r->removed)
        printf("  warning           this member had been removed: its metadata may be older than that of "
               "others\n");
    printf("  members from now  %s\n\n"
           "Changes that were acknowledged by the others and did not reach this node are lost. The other "
           "members "
           "must\nnever run again with the metadata they have: delete " METADATA_SERVER_DIRECTORY
           " in their data "
           "directories.\n",
           after);
}

static int run(const struct node_config *config, bool yes)
{
    struct err err = {0};
    struct data_dir data = {.lock_fd = -1};
    struct raft_recovery r;
    char *dir = xasprintf("%s/%s/" METADATA_SERVER_DIRECTORY, config->base_dir, config->node_name);
    enum rc rc = RC_OK;
    /* Opening would create a directory that is not there. */
    if (!data_dir_exists(config->base_dir, config->node_name))
        rc = err_set(&err, RC_NOT_FOUND, "%s/%s is not the data directory of a node", config->base_dir,
                     config->node_name);
    if (rc == RC_OK)
        rc = data_dir_open(config->base_dir, config->node_name, config->cluster_name, &data, &err);
    bool looked = rc == RC_OK;
    if (looked)
        rc = raft_recover_look(dir, os_wall_ms(), &r, &err);
    looked &= rc == RC_OK;
    if (looked)
        print_plan(dir, &r);
    if (looked && yes)
        rc = raft_recover(dir, &r, &err);
    if (rc != RC_OK)
        fprintf(stderr, "Error: %s\n", err.msg);
    else if (yes)
        printf("\nDone. The file as it was: %s\n"
               "Start the node; then `restatectl metadata-server add-node` for every node that shall be a "
               "member, "
               "and `restatectl logs recover`.\n",
               r.backup);
    else
        printf("\nNothing was changed. Repeat with --yes to do it.\n");
    if (looked)
        raft_recovery_free(&r);
    data_dir_close(&data);
    free(dir);
    return rc == RC_OK ? 0 : 1;
}

bool node_recover(int argc, char **argv, char **envp, int *exit_code)
{
    if (argc < 2 || strcmp(argv[1], "recover") != 0)
        return false;
    bool yes = false, dry_run = false, help = false;
    char **rest = xcalloc((size_t)argc + 1, sizeof(*rest));
    int n = 0;
    rest[n++] = argv[0];
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--yes") == 0)
            yes = true;
        else if (strcmp(argv[i], "--dry-run") == 0)
            dry_run = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            help = true;
        else
            rest[n++] = argv[i];
    }
    bool known = argc >= 3 && strcmp(argv[2], "metadata") == 0;
    struct node_config *config;
    enum config_action action;
    if (!known || help || (yes && dry_run)) {
        usage(help ? stdout : stderr);
        *exit_code = help ? 0 : 2;
    } else if (config_load(n, rest, envp, &config, &action, exit_code) == RC_OK && action != CONFIG_EXIT) {
        *exit_code = run(config, yes);
        config_free(config);
    }
    free(rest);
    return true;
}
