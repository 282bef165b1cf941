/* What the simulator of the metadata server and its small model both check of Raft (spec/cluster.md §11.2:
 * M-3 to M-5). Pure. */
#pragma once
#include "metadata/raft_core.h"

/* What the sender of this message promises - "votes", "stands", "acknowledges" -, or NULL. */
const char *raft_promise(const struct metadata_message *m);
/* M-3: the promise is on the sender's disk. */
bool raft_promise_durable(const struct metadata_message *m, const struct raft_durable *disk);
/* M-5: they differ in one member at most, so that their majorities intersect. */
bool raft_change_is_single(const struct raft_members *before, const struct raft_members *after);
