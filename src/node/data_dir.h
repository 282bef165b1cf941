/* The node's data directory: exclusive lock and cluster marker (spec/config.md §1.12, spec/cluster.md §1.6).
 */
#pragma once
#include "base/bytes.h"

struct data_dir {
    char path[4400]; /* base-dir/node-name */
    int lock_fd;
    char cluster_name[256];
    uint64_t fingerprint; /* 0: not provisioned */
    bool provisioned;
};
/* Has a node lived there? */
bool data_dir_exists(const char *base_dir, const char *node_name);
/* Creates the directory, locks it against a second server, and validates or writes the marker. RC_CONFLICT
 * with the reference's sentence for another cluster name, a directory of a reference server, or a second
 * server. */
enum rc data_dir_open(const char *base_dir, const char *node_name, const char *cluster_name,
                      struct data_dir *out, struct err *err);
/* Durable: temp file, fsync, rename, fsync of the directory. */
enum rc data_dir_set_provisioned(struct data_dir *d, uint64_t fingerprint, struct err *err);
void data_dir_close(struct data_dir *d);
