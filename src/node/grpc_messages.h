/* Protobuf messages that several operator services share (spec/restatectl.md §6). */
#pragma once
#include "node/provision.h"
#include "wire/pb.h"

/* A nested message, also when it is empty; frees `inner`. */
void pb_put_message(struct writer *w, uint32_t field, struct writer *inner_take);
void pb_put_text(struct writer *w, uint32_t field, const char *text); /* omitted when empty */
/* `{1 value}`: Version, Lsn, LeaderEpoch. */
void pb_put_wrapped(struct writer *w, uint32_t field, uint64_t value);
/* Timestamp or Duration from milliseconds. */
void pb_put_time(struct writer *w, uint32_t field, uint64_t ms);
void pb_put_node_id(struct writer *w, uint32_t field, uint32_t id, uint32_t generation);

/* Field 1 of a `{1 value}` message; false if malformed. */
bool pb_read_wrapped(struct slice message, uint64_t *value);

/* restate.cluster.ClusterConfiguration */
void pb_put_cluster_configuration(struct writer *w, uint32_t field, const struct provision_settings *s);
/* A ReplicationProperty message. RC_INVALID with a sentence. */
enum rc pb_read_replication(struct slice message, struct replication *out, struct err *err);
