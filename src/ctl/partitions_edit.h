/* Changes of epoch metadata: what placement and leadership commands share (spec/restatectl.md §4.7, §7.5). */
#pragma once
#include "ctl/ctl.h"

/* Change one partition's metadata; the version is raised by the change itself. Returns NULL, or why not. */
typedef const char *(*epoch_change)(struct tool *t, struct epoch_metadata *e, uint32_t partition,
                                    const void *arg);

/* Partitions of PARTITIONS_ARGUMENT that exist, or all when none was given; complains about the others. */
struct ids existing_partitions(struct tool *t, const struct partition_table *table);
/* Edit each partition, tell the controller, print `said` (with %u) for each. An error ends it. */
int edit_partitions(struct tool *t, const struct ids *partitions, epoch_change change, const void *arg,
                    const char *said);
/* The same as a whole command: the partitions of PARTITIONS_ARGUMENT. */
int edit_asked_partitions(struct tool *t, epoch_change change, const void *arg, const char *said);
/* Read one; false: absent (`*error` NULL) or failed. */
bool read_epoch(struct tool *t, uint32_t partition, struct epoch_metadata *out, const char **error);
