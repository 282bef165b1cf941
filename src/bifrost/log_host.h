/* The log-server of this node (spec/cluster.md §5.5, §5.12): the log loop with its disk, the segment store,
 * and the log-server core over it. Whatever has arrived while one write was in progress goes into the next
 * one: no timer, no tuning, one durable write for all loops, all logs and all nodes.
 *
 * Requests come from loops of this process through ports (log_port.h), without encoding, and from other nodes
 * through log_host_on_frame. */
#pragma once
#include "bifrost/log_server.h"
#include "metadata/nodes_config.h"

struct log_host;
struct loop;
struct disk;

struct log_host_config {
    struct node_ref me;
    /* A reply to another node, on the log loop; `m` is lent, the peer may be gone. NULL: there are none. */
    void (*remote_reply)(void *ctx, const struct log_server_peer *to, const struct loglet_message *m);
    void *ctx;
};
/* Opens the store in `directory` (recovers the last segment). Nothing runs yet. Blocks; start-up only.
 * RC_CORRUPT names file and offset. */
enum rc log_host_open(const char *directory, const struct log_host_config *config, struct log_host **out,
                      struct err *err);
/* The same on a disk that the caller has opened (tests: one in memory). Takes the disk, also on error. */
enum rc log_host_open_disk(struct disk *disk_take, const struct segment_store_options *options,
                           const struct log_host_config *config, struct log_host **out, struct err *err);

/* ---- before log_host_start: whose store is it? (§5.12) ---- */

enum log_store_verdict {
    LOG_STORE_RUN,    /* the marker is ours */
    LOG_STORE_FRESH,  /* never used: write the marker, then this node may become read-write */
    LOG_STORE_READY,  /* the marker is ours but the state still says provisioning: become read-write */
    LOG_STORE_LOST,   /* empty, although this node stored records: they are gone (BETTER B14) */
    LOG_STORE_DOUBT,  /* it holds something, and may not be what was acknowledged last: see err */
    LOG_STORE_REFUSE, /* the process ends, see err */
};
/* Compares the marker in the store with this node, its storage state in the nodes configuration, and its
 * storage generation (NULL: it still has its first disk). */
enum log_store_verdict log_host_check(struct log_host *h, enum storage_state state,
                                      const struct storage_generation *generation, struct err *err);
/* Durably marks the store as that of this node. `created_at`: wall clock, ms. */
enum rc log_host_write_marker(struct log_host *h, uint64_t created_at, struct err *err);
/* log_server_set_lost. */
void log_host_set_lost(struct log_host *h, const struct storage_generation *generation);

void log_host_start(struct log_host *h);
/* All ports must be closed. Writes down what is known of tails and joins the log loop. */
void log_host_close(struct log_host *h);

struct loop *log_host_loop(struct log_host *h);
/* Own storage state takes writes or not; any thread. True at first. */
void log_host_set_writable(struct log_host *h, bool writable);

/* On the log loop: log_server_each. */
void log_host_each_loglet(struct log_host *h,
                          void (*visit)(void *ctx, const struct log_server_loglet_view *v), void *ctx);

/* On the log loop: a request of another node as it came over its link. `token` names the way back in
 * remote_reply. False: these bytes are no message, the link is not worth keeping. */
bool log_host_on_frame(struct log_host *h, struct node_ref from, uint64_t token, struct bytes frame);

struct log_host_stats {
    uint64_t commits, records, bytes_appended, bytes_written, syncs, segments, live_bytes, file_bytes;
    uint64_t loglets, refused, shed;
    bool full;     /* stores are refused because the disk is full */
    bool failsafe; /* stores are refused until restart because a write failed */
};
/* As published after the last commit; any thread. */
void log_host_get_stats(struct log_host *h, struct log_host_stats *out);
/* Takes no records at present, because the disk is full (passes by itself when there is space, B18) or
 * because a write has failed (until restart): health `Failsafe`. Any thread. */
bool log_host_refuses(struct log_host *h);
/* Gauges and counters of the store; on the thread that renders metrics. */
void log_host_refresh_metrics(struct log_host *h);
