/* A node's way into the members of the metadata server: asks again until it is one, or is refused for good
 * (spec/cluster.md §2.4 "Join"). A small deterministic core over a raft_client and the own raft_server. */
#pragma once
#include "metadata/raft_client.h"

struct raft_joiner;
/* Ask now and every `interval_ms` while the server is on standby. A node that was removed asks only when told
 * (raft_joiner_start after `add-node`), a refusal ends the asking; `refused` (may be NULL) hears the
 * sentence.
 */
struct raft_joiner *raft_joiner_new(struct env *env, struct raft_server *server, struct raft_client *client,
                                    uint32_t interval_ms, bool replace_lost_storage,
                                    void (*refused)(void *ctx, const char *message), void *ctx);
/* Auto-join, or `again`: also if it was removed. */
void raft_joiner_start(struct raft_joiner *j, bool again);
/* Before the client is closed. */
void raft_joiner_free(struct raft_joiner *j);
