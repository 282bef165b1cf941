/* Parameters of a replicated segment, immutable (spec/cluster.md §5.3). Stored in the chain as JSON with the
 * reference's field names, because operators' tools read and write it (§2.1). */
#pragma once
#include "bifrost/nodeset.h"

struct loglet_params {
    uint64_t loglet_id;
    struct node_ref sequencer; /* the one process that assigns offsets */
    struct replication replication;
    struct nodeset nodeset;
};

/* `{"loglet_id":12884901888,"sequencer":"N1:2","replication":{"node":2},"nodeset":[1,2,3]}` */
struct bytes loglet_params_encode(const struct loglet_params *p);
/* Accepts the forms of a replication property that the tools write. RC_CORRUPT with a sentence. */
enum rc loglet_params_decode(struct slice json, struct loglet_params *out, struct err *err);
