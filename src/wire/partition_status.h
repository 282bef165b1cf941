/* What a node tells the others about a partition that it runs (spec/cluster.md §4.6, §6.4; the columns of
 * `restatectl partitions list`). Spread by membership/, read by routers, the controller and the operators'
 * tools. A hint like everything that comes from there: it may be late, never rely on it for safety. */
#pragma once
#include "wire/node_ref.h"

enum partition_mode { PARTITION_MODE_FOLLOWER = 1, PARTITION_MODE_CANDIDATE, PARTITION_MODE_LEADER };
enum partition_run {
    PARTITION_RUN_STARTING = 1,
    PARTITION_RUN_CATCHING_UP, /* towards target_tail */
    PARTITION_RUN_ACTIVE,
    PARTITION_RUN_BROKEN, /* parked: its store is ahead of its log */
};

struct partition_status {
    uint16_t partition;
    enum partition_mode mode;
    enum partition_run run;
    bool planned_leader;             /* was told to become leader, or leads */
    uint64_t leader_epoch;           /* of the last AnnounceLeader applied (a leader's own), 0: none */
    struct node_ref leader;          /* who announced it */
    uint32_t epoch_metadata_version; /* of pp_epoch_<partition> that the replica acts on, 0: none */
    uint32_t schema_version, rule_book_version;
    uint64_t applied;           /* LSN of the last record applied, 0: none; so are the others */
    uint64_t tail;              /* committed end of the log as far as this replica knows (exclusive) */
    uint64_t target_tail;       /* catching up: active when applied has reached it (exclusive) */
    uint64_t durable;           /* applied and flushed to the local store */
    uint64_t archived;          /* in the newest snapshot in the repository */
    uint64_t record_applied_ms; /* wall clock of the node when `applied` was; for display only, 0: none */
    uint32_t features;          /* bit set of the partition's storage features, for display */
};
