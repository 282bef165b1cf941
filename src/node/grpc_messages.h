/* Protobuf messages that several operator services share (spec/restatectl.md §6). */
#pragma once
#include "node/provision.h"
#include "wire/pb.h"

/* Field 1 of a `{1 value}` message; false if malformed. */
bool pb_read_wrapped(struct slice message, uint64_t *value);

/* restate.cluster.ClusterConfiguration */
void pb_put_cluster_configuration(struct writer *w, uint32_t field, const struct provision_settings *s);
/* A ReplicationProperty message. RC_INVALID with a sentence. */
enum rc pb_read_replication(struct slice message, struct replication *out, struct err *err);
