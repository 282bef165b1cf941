/* The replicated log in this process (spec/cluster.md §5): what ties the log-server, the chains and the nodes
 * to the loops that have logs. `struct node_logs` belongs to the main loop and follows metadata; each loop
 * has a `struct loop_logs` with a way to log-servers, the chains, and the nodes as they are known. */
#pragma once
#include "bifrost/chain_service.h"
#include "bifrost/log_host.h"
#include "bifrost/log_port.h"
#include "bifrost/replicated_log.h"
#include "loop/loop.h"
#include "peer/peer.h"

struct node_logs;
struct loop_logs;

/* replicated_logs_config.improve_ms, unless bifrost.disable-auto-improvement. */
#define LOGS_IMPROVE_MS 5000u

struct node_logs_config {
    struct loop *loop; /* the main loop */
    struct kv *kv;     /* whoever sees its values calls node_logs_on_... */
    struct node_ref me;
    struct log_host *host; /* NULL: this node is no log-server. Not owned */
    struct peers *peers;   /* of the main loop; NULL: there are no other nodes */
    /* Of all loops; zero: the defaults of replicated_logs_config. */
    unsigned window_records;
    size_t retain_bytes;
    uint64_t improve_ms;
};
struct node_logs *node_logs_new(const struct node_logs_config *config);
/* All its loop_logs are closed and freed, no loop of them runs. */
void node_logs_free(struct node_logs *n);

/* ---- main loop: news ---- */

void node_logs_on_nodes_config(struct node_logs *n, const struct nodes_config *c);
void node_logs_on_logs_config(struct node_logs *n, struct bytes value, uint32_t version);
/* Hints of the failure detector; without, every node counts as alive. Asked for each node of the
 * configuration at each change of it and whenever node_logs_liveness_changed says so. */
void node_logs_set_liveness(struct node_logs *n, enum liveness (*liveness)(void *ctx, uint32_t node_id),
                            void *ctx);
void node_logs_liveness_changed(struct node_logs *n);
/* No news to other loops from now on: they are being closed. */
void node_logs_stop_news(struct node_logs *n);

struct chain_service *node_logs_chains(struct node_logs *n);
struct log_host *node_logs_host(struct node_logs *n);
/* Of the main loop: operators' requests. Closed and freed by its user as the others are. */
struct loop_logs *node_logs_main(struct node_logs *n);

/* ---- of one loop ---- */

/* Made on the main loop before `loop` runs, with what is known then. `peers`: of that loop, they outlive it;
 * NULL: there are no other nodes. */
struct loop_logs *loop_logs_new(struct node_logs *n, struct loop *loop, struct peers *peers);
struct replicated_logs *loop_logs_replicated(struct loop_logs *l);
struct loglet_calls *loop_logs_calls(struct loop_logs *l);
struct chain_store *loop_logs_chain_store(struct loop_logs *l);
/* Somebody who asks through the loop's calls or chains; told when they are closed, to forget what is pending
 * and leave (loop_logs_leave). Embedded in its owner. */
struct loop_logs_user {
    struct list link;
    void (*closing)(struct loop_logs_user *u);
};
void loop_logs_join(struct loop_logs *l, struct loop_logs_user *u);
void loop_logs_leave(struct loop_logs_user *u);

/* Add what was committed since the last time to the metrics. */
void loop_logs_publish(struct loop_logs *l);
/* All logs are closed. `done` when nothing is on its way any more; never from inside. */
void loop_logs_close(struct loop_logs *l, void (*done)(void *ctx), void *ctx);
/* Main loop; a closed one, whose loop has ended (or is the main loop), or one whose loop never ran. */
void loop_logs_free(struct loop_logs *l);
