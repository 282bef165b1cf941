/* Parts of membership/ that its files share. See membership.h. */
#pragma once
#include "membership/membership.h"

#define FORGIVE_EVERY_MS    60000u /* own isolation excuses the others at most this often */
#define ASK_AGAIN_MS        500u   /* repeat ops->newer */
#define FLUSH_EVERY_MS      5u     /* urgent messages are at least this far apart */
#define URGENT_TIMES        2u     /* an urgent fact is sent that often ahead of its turn */
#define STATUSES_PER_PART   128u   /* per message; 24 KiB at most */
#define EPOCHS_PER_PART     2048u  /* per message; 16 KiB at most */
#define GONE_TICKS          2u /* ticks that others may have heard beyond what we know of a gone process */
#define CLOCK_START         (UINT64_C(1) << 40) /* ages reach back before it */
#define MEMBERSHIP_VERDICTS 4u
#define MEMBERSHIP_COUNTERS 7u
#define EXTRAS_EVERY_MAX    1000u

/* Built only into the simulator's copy: rules that can be switched off to show that its checks notice. */
enum membership_mutation {
    MEMBERSHIP_MUT_NONE,
    MEMBERSHIP_MUT_OWN_GAPS,       /* the detector's clock runs on while this loop does not */
    MEMBERSHIP_MUT_OLD_GENERATION, /* whatever generation was told last is taken */
    MEMBERSHIP_MUT_ANY_MENTION,    /* a relayed tick is news even if it is not higher */
    MEMBERSHIP_MUT_RELAYED_AGE,    /* the age of relayed news is ignored */
    MEMBERSHIP_MUT_NO_SUSPECT,     /* nobody is damped */
    MEMBERSHIP_MUT_LATE_NEWS,      /* gone processes come back with any tick that is higher */
    MEMBERSHIP_MUT_DEAF,           /* lonely senders are alive */
    MEMBERSHIP_MUT_LAST_CLAIM,     /* the leader told of last leads */
    MEMBERSHIP_MUT_KEEP_ABSENT,    /* statuses that are not repeated stay */
};
#ifdef MEMBERSHIP_MUTATIONS
extern enum membership_mutation membership_mutation;
#define MUTATED(m) (membership_mutation == (m))
#else
#define MUTATED(m) false
#endif

struct node_statuses { /* by partition */
    struct membership_status *items;
    size_t len, cap;
};

/* A node of the configuration; the node itself is one of them. Times named *_at are on the detector's clock.
 */
struct peer {
    uint32_t id, generation;
    enum membership_verdict verdict; /* DEAD, SUSPECT or ALIVE; FAILING_OVER is a flag below */
    bool failing_over;               /* this generation said so */
    uint64_t known_at;               /* this generation */
    /* evidence of life */
    uint64_t tick;    /* highest known of this generation, 0: none */
    uint64_t news_at; /* when it last went up */
    uint64_t news_ms; /* same, monotonic; for display */
    uint32_t beats;   /* pieces of news since it came back */
    bool ever_heard;  /* in any generation */
    bool gone;        /* by a hint: news up to gone_tick is from before its end */
    uint64_t gone_tick;
    /* damping */
    bool was_alive;    /* in any generation, while this process watched */
    bool was_dead;     /* after it was alive */
    bool died_silent;  /* same generation, of silence: may have been our own fault */
    uint64_t alive_at; /* SUSPECT: alive from here on if news continue */
    uint64_t alive_since;
    unsigned flaps; /* deaths that followed soon after it had come back */
    /* direct link */
    uint64_t seq; /* newest message of this generation */
    bool heard;   /* nothing says that the link is down since */
    uint64_t heard_at;
    bool hears_me;
    bool reachable; /* both ways, as last computed */
    uint64_t greeted_at;
    bool greeted;
    uint32_t *hears; /* ids that it hears, ascending */
    size_t n_hears;
    bool has_hears;
    uint64_t hears_at;
    /* what it told */
    uint64_t uptime_ms, uptime_at_ms; /* monotonic */
    struct node_statuses statuses;
    bool told; /* it has said which partitions it runs, or began to */
};

/* What is known of a partition apart from the statuses of its replicas. */
struct partition_info {
    struct node_ref leader; /* of the highest epoch heard of */
    uint64_t leader_epoch;
    uint32_t epoch_own, epoch_heard, epoch_from, epoch_asked; /* versions of its epoch metadata */
    uint64_t epoch_asked_ms;
    uint8_t urgent;
};

struct membership {
    struct env *env;
    struct membership_config config;
    const struct membership_ops *ops;
    void *ctx;

    struct node_ref self; /* id 0: not yet */
    uint64_t started_ms;
    uint64_t fingerprint; /* 0: nodes not known yet */
    uint32_t nodes_version;
    struct peer *peers; /* by id */
    size_t n_peers;
    uint32_t n_others;
    bool failing_over;

    /* time */
    struct env_timer timer;
    bool running;
    uint64_t clock, clock_ms; /* detector's clock, and the monotonic time when it was set */
    uint64_t due_ms;          /* of the next tick */
    uint64_t tick, seq;
    uint64_t settled_at; /* start is over */
    bool was_ready;
    uint64_t no_deaths_until, ready_at, damping_from;
    uint64_t received_at; /* any message of a peer */
    uint64_t forgiven_at, forgive_until;
    bool forgiven;

    /* spread */
    struct partition_info *partitions; /* by id */
    size_t n_partitions;
    uint32_t own[GOSSIP_GLOBAL_KINDS], heard[GOSSIP_GLOBAL_KINDS], heard_from[GOSSIP_GLOBAL_KINDS];
    uint32_t asked[GOSSIP_GLOBAL_KINDS];
    uint64_t asked_ms[GOSSIP_GLOBAL_KINDS];
    bool epochs_behind; /* some partition's epoch_heard is above epoch_own */
    struct {
        uint16_t *items;
        size_t len, cap;
    } withdrawn; /* to be told */
    bool announce, urgent;
    struct env_task flush_task;
    struct env_timer flush_timer;
    uint64_t flushed_ms;

    struct env_task notify_task;
    unsigned changed;
    struct membership_stats stats;
    struct {
        struct metric *nodes[MEMBERSHIP_VERDICTS], *lonely, *instance, *counters[MEMBERSHIP_COUNTERS];
        struct membership_stats told; /* what the counters show */
    } metrics;
};

/* membership.c */
struct peer *membership_peer(const struct membership *m, uint32_t id);
static inline struct peer *membership_own(const struct membership *m)
{
    return membership_peer(m, m->self.id);
}
static inline bool membership_is_self(const struct membership *m, const struct peer *p)
{
    return p->id == m->self.id;
}
void membership_note(struct membership *m, unsigned what); /* ops->changed, later */
void membership_notify_later(struct membership *m);

/* membership_detect.c */
uint64_t membership_clock(const struct membership *m);
uint64_t membership_threshold_ms(const struct membership *m);
void membership_start(struct membership *m); /* once self and nodes are known */
void membership_fresh_instance(struct membership *m, struct peer *p, uint32_t generation);
/* `p` was at `tick` of this generation, `age` ms ago; `direct`: it says so itself. */
void membership_news(struct membership *m, struct peer *p, uint64_t tick, uint64_t age, bool direct);
void membership_die(struct membership *m, struct peer *p);
void membership_note_received(struct membership *m);
bool membership_hears(const struct membership *m, const struct peer *p); /* directly, at present */
void membership_update_reachable(struct membership *m, struct peer *p);

/* membership_send.c */
void membership_heartbeat(struct membership *m);
void membership_greet(struct membership *m, uint32_t node);
void membership_flush_later(struct membership *m);
void membership_flush_run(struct env_task *t);
void membership_flush_timer(struct env_timer *t);

/* membership_status.c */
struct partition_info *membership_partition(struct membership *m, uint16_t partition);
void membership_receive_statuses(struct membership *m, struct peer *p, const struct gossip_message *msg,
                                 bool in_order);
void membership_clear_statuses(struct membership *m, struct peer *p);

/* membership_versions.c */
void membership_receive_versions(struct membership *m, const struct gossip_message *msg);
void membership_ask(struct membership *m); /* ops->newer where due */
bool membership_behind(const struct membership *m);

/* membership_metrics.c */
void membership_metrics_init(struct membership *m);
void membership_metrics_update(struct membership *m);
