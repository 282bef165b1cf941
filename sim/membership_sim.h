/* The simulated world of membership/: a few nodes with clocks of their own, a network, what their partitions
 * do, one seed (spec/cluster.md §3, §11.1). membership/ is the production code; the transport's hints, the
 * fetching of metadata and the replicas are played.
 *
 * Files: membership_sim.c (time, options, runs), membership_sim_node.c (nodes and what they publish),
 * membership_sim_net.c (network, hints), membership_sim_faults.c (what goes wrong, and healing),
 * membership_sim_check.c (what must hold). */
#pragma once
#include "membership/membership_internal.h"
#include "sim/sim_env.h"

#define SIM_NODES      5u
#define SIM_PARTITIONS 7u
#define FINGERPRINT    UINT64_C(0x5afe)
#define DEAD_WITHIN_MS 1500u /* of the end of a process, by silence */
#define LATE_MS        3000u /* how late packets can be in runs with late ones */

struct world;
struct sim_node;

/* Something that happens later; a packet, a hint, a step of a replica. */
struct sim_event {
    struct list link; /* world's, or the inbox of a paused node */
    struct env_timer timer;
    struct world *world;
    void (*run)(struct world *w, struct sim_event *e);
    uint32_t from, to; /* indices */
    uint64_t to_life;
    struct node_ref ref;
    enum gossip_kind kind;
    uint16_t partition;
    uint32_t version;
    uint64_t epoch;
    bool flag;
    struct bytes data;
};

struct sim_replica {
    bool runs;
    enum partition_mode mode;
    uint64_t epoch; /* last announcement read */
    struct node_ref leader;
    uint64_t applied;
};

/* What the checker remembers of a verdict of one process about a node. */
struct sim_view {
    enum membership_verdict verdict;
    uint32_t generation;
    uint64_t dead_ms;  /* last seen dead */
    uint64_t alive_ms; /* alive since */
    uint64_t looked_ms;
    bool was_alive, was_dead;
    uint32_t flaps;
};

struct sim_node {
    struct world *world;
    uint32_t index; /* id - 1 */
    struct sim_env env;
    uint64_t skew_ms;     /* of its monotonic clock */
    struct membership *m; /* NULL: not running */
    uint64_t life;        /* goes up with every start and end */
    uint32_t generation;
    bool paused, stopping;
    struct list inbox;                    /* while paused */
    uint32_t known_generation[SIM_NODES]; /* its nodes configuration */
    uint32_t known_version;
    uint32_t epoch_version[SIM_PARTITIONS];
    struct sim_replica replicas[SIM_PARTITIONS];
    struct env_timer progress;
    /* for the checks */
    uint64_t boot_ms, end_ms; /* of its last process */
    uint64_t calm_ms;         /* it has run without a gap since */
    uint64_t gaps_ms;         /* time that its last process did not run */
    uint64_t resume_ms, deaths_at_resume, paused_ms;
    uint64_t heard_ms;         /* last message delivered to it */
    uint64_t isolated_ms;      /* when it last heard something again after a silence of all */
    uint64_t isolated_gaps_ms; /* gaps_ms then */
    struct sim_view views[SIM_NODES];
    uint64_t hint_ms[SIM_NODES];        /* its process was told of the end of that one, 0 not */
    uint64_t wrong_ms[SIM_NODES];       /* and this was not true */
    uint64_t led_epoch[SIM_PARTITIONS]; /* highest one offered to its routers */
};

struct world {
    uint64_t seed;
    struct sim_env env;
    struct membership_config options;
    uint32_t n;
    struct sim_node nodes[SIM_NODES];
    struct list events;
    /* network */
    bool blocked[SIM_NODES][SIM_NODES];
    uint64_t open_ms[SIM_NODES][SIM_NODES]; /* the link was last closed until then */
    uint32_t drop_permille, repeat_permille, delay_ms, late_permille, hint_permille;
    bool was_late;
    /* truth */
    uint32_t nodes_version;
    uint32_t epoch_version[SIM_PARTITIONS];
    struct {
        struct node_ref *items; /* who claimed epoch i + 1 */
        size_t len, cap;
    } owners[SIM_PARTITIONS];
    struct env_timer fault, check;
    bool healed;
    uint64_t resumed_ms; /* any node last went on: what waited in its sockets is old */
    enum membership_mutation mutation;
    bool trace;
    /* statistics */
    uint64_t n_kills, n_stops, n_pauses, n_cuts, n_hints, n_claims, n_packets, n_samples;
};

_Noreturn void sim_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline uint64_t sim_now(const struct world *w)
{
    return w->env.mono_ms;
}
static inline uint64_t sim_below(struct world *w, uint64_t n)
{
    return sim_env_below(&w->env, n);
}
static inline bool sim_chance(struct world *w, uint32_t permille)
{
    return sim_below(w, 1000) < permille;
}
struct sim_event *sim_later(struct world *w, uint64_t ms, void (*run)(struct world *w, struct sim_event *e));
void sim_event_free(struct sim_event *e);
/* Run what is due at the node now. */
void sim_enter(struct sim_node *n);
void sim_leave(struct sim_node *n);

/* nodes */
void sim_node_init(struct world *w, uint32_t index);
void sim_node_boot(struct sim_node *n);
void sim_node_kill(struct sim_node *n);
void sim_node_stop(struct sim_node *n); /* in good order */
void sim_node_pause(struct sim_node *n, uint64_t ms);
void sim_node_resume(struct sim_node *n);
void sim_node_free(struct sim_node *n);
void sim_claim(struct sim_node *n, uint16_t partition);
void sim_move(struct sim_node *n, uint16_t partition); /* the replica comes or goes */

/* network */
void sim_net_send(struct sim_node *from, uint32_t to, struct slice message);
void sim_net_cut(struct world *w, uint32_t from, uint32_t to, bool cut);
void sim_net_ended(struct sim_node *n, bool abruptly); /* its process has ended: hints */
void sim_net_began(struct sim_node *n);
void sim_net_wrong_hint(struct world *w);
/* Deliver to the process that was meant, now or when it goes on. True: the event was taken. */
bool sim_net_hold(struct world *w, struct sim_event *e);

/* faults */
void sim_faults_start(struct world *w);
void sim_heal(struct world *w);

/* checks */
void sim_checks_start(struct world *w);
void sim_check_end(struct world *w);
