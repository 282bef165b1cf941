/* What the commands on replicated loglets share. */
#pragma once
#include "ctl/ctl.h"

struct loglet_node {
    const struct node_entry *entry;
    bool answered, sealed;
    uint64_t local_tail, global_tail, trim_point;
};
struct loglet {
    uint64_t id;
    bool found;
    struct loglet_params params;
    const char *used_in;
    struct loglet_node *nodes; /* the effective node set, after loglet_ask */
    size_t n_nodes;
};
/* In the chains; prints the error. */
bool loglet_find(struct tool *t, uint64_t id, struct loglet *out);
/* GetLogletInfo of every node of the effective node set. */
void loglet_ask(struct tool *t, struct loglet *l);
/* Which records its nodes have (GetDigest). */
struct digest {
    struct slice *replies; /* Digest message per node of the loglet; ptr NULL: no answer */
    uint64_t from, to;     /* inclusive, set by the caller */
};
void loglet_ask_digests(struct tool *t, const struct loglet *l, struct digest *d);
void loglet_print_info(struct tool *t, const struct loglet *l, const uint64_t *global_tail);
int loglet_digest_run(struct tool *t);
