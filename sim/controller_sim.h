/* Simulator of the cluster controller and of claims: nodes, each with a cache of epoch metadata, a controller
 * and processors, over one linearizable store whose answers may be lost or late, with failure detectors that
 * are slow, wrong or random, several active controllers, and operators. src/controller runs unchanged; the
 * rest is a model. Checks P-1, P-5, N-3, F-1 of spec/cluster.md §11.2, frozen policies, and after healing
 * that every partition is placed and led in time and that then nothing moves any more. A run is a seed.
 *
 * Files: controller_sim.c (time, faults, operators, runs), controller_sim_kv.c (the store),
 * controller_sim_node.c (nodes and processors), controller_sim_check.c (invariants). */
#pragma once
#include "controller/claims.h"
#include "controller/controller_internal.h"
#include "metadata/kv_table.h"
#include "sim/sim_env.h"

#define NODES_MAX          5u
#define SIM_PARTITIONS_MAX 12u
#define CHAOS_MS           30000u
#define LED_MS             5000u  /* after healing; if a node stays dead, only PLACED_MS */
#define PLACED_MS          16000u /* 10 s until the dead are given up, and 5 s of patience with the slowest */
#define FAIL_OVER_MS       2000u  /* B9: led again after a kill; the detector takes 1.2 s of it */
#define HAND_OVER_MS       400u   /* the same for a graceful stop */
#define QUIET_AFTER_MS     30000u
#define QUIET_MS           10000u

struct world;
struct node;

/* Of a process: its claim and its place in the log. */
struct processor {
    struct node *node;
    uint32_t partition;
    bool present, claiming;
    uint64_t caught_up_at_ms;
    uint64_t epoch; /* claimed, announced or led; 0: follower */
    bool leads;
    size_t read; /* announcements read from the log */
    uint64_t last_epoch;
    struct claim claim;
    struct env_timer announce;
};

/* What another node told last. */
struct report {
    uint32_t generation;
    struct controller_replica replica[SIM_PARTITIONS_MAX];
};

struct node {
    struct world *world;
    uint32_t id, generation; /* of the process */
    bool up, isolated, active;
    uint64_t life;
    struct sim_env env;
    struct kv kv;
    struct list calls; /* unanswered */
    struct epochs *epochs;
    struct epochs_listener listener;
    struct controller *controller;
    struct processor processors[SIM_PARTITIONS_MAX];
    uint32_t seen[SIM_PARTITIONS_MAX]; /* versions (N-3) */
    /* The view of others, by id. */
    enum controller_liveness sees[NODES_MAX + 1];
    uint64_t differs_since_ms[NODES_MAX + 1];
    bool reaches[NODES_MAX + 1];
    struct report reports[NODES_MAX + 1];
    bool failing_over;
    uint64_t stops_at_ms, starts_at_ms;
};

enum sim_writer { BY_CONTROLLER, BY_CLAIM, BY_OPERATOR };
struct announcement {
    uint64_t epoch;
    uint32_t node, generation;
};
struct partition_history {
    uint32_t version, configuration; /* the highest */
    uint64_t epoch;                  /* the highest in the store */
    struct {                         /* claims that were reported as won, by epoch */
        struct node_ref *items;
        size_t len, cap;
    } won;
    struct {
        struct announcement *items;
        size_t len, cap;
    } log;
};

struct world {
    uint64_t seed;
    uint32_t n_nodes, n_partitions;
    struct sim_env env; /* messages and the dice */
    struct kv_table table;
    struct node nodes[NODES_MAX + 1]; /* by id */
    struct node_entry entries[NODES_MAX];
    struct nodes_config config;
    struct partition_table partitions;
    struct partition_history history[SIM_PARTITIONS_MAX];
    bool random_detector, zones, chaos, trace;
    uint32_t lost_permille, undecided_permille, refused_permille;
    uint64_t healed_ms, last_write_ms, last_hint_ms, led_since_ms, placed_since_ms;
    bool led, placed, one_dead, one_drains;
    /* for the summary */
    uint64_t writes, claims, conflicts, undecided, hints, crashes, edits, two_active;
    uint64_t max_led_ms, max_placed_ms, fail_overs;
};

/* controller_sim.c */
static inline uint64_t below(struct world *w, uint64_t n)
{
    return sim_env_below(&w->env, n);
}
static inline bool chance(struct world *w, uint32_t permille)
{
    return below(w, 1000) < permille;
}
static inline uint64_t now_ms(const struct world *w)
{
    return w->env.mono_ms;
}
void sim_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sim_reaches(const struct world *w, uint32_t from, uint32_t to);
/* Run once after `ms`. */
void sim_later(struct world *w, uint64_t ms, void (*run)(struct world *w, void *arg), void *arg);

/* controller_sim_kv.c */
struct kv *sim_kv_open(struct node *n);
/* The process died: nobody waits for its calls. */
void sim_kv_close(struct node *n);
/* An operator's write, at once: false if it lost the comparison. */
bool sim_kv_put(struct world *w, uint32_t partition, const struct epoch_metadata *m);
/* False: absent. */
bool sim_kv_get(struct world *w, uint32_t partition, struct arena *a, struct epoch_metadata *out);

/* controller_sim_node.c */
void sim_node_start(struct node *n);
void sim_node_crash(struct node *n);
void sim_node_tick(struct node *n);
void sim_node_configure(struct node *n);

/* controller_sim_check.c */
void sim_check_write(struct world *w, uint32_t partition, enum sim_writer by,
                     const struct epoch_metadata *before, const struct epoch_metadata *after);
void sim_check_won(struct world *w, uint32_t partition, uint64_t epoch, struct node_ref who);
void sim_check_tick(struct world *w);
void sim_check_end(struct world *w);
/* All partitions are led now. */
void sim_check_led(struct world *w, const char *when);
/* Nobody leads more partitions than the replica sets make necessary, unless leaders are pinned. */
void sim_check_spread(struct world *w);
