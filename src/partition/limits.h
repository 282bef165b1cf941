/* Who of the invocations that have a scope may run (spec/invocation-lifecycle.md §12.5): counters per scope
 * and per level of limit keys, the rules that bound them, and the invocations that wait. A pure structure
 * without clock or I/O; its owner is the partition store, which persists the entries.
 *
 * The order is a function of the entries and the rules alone, so that every replica admits the same ones,
 * also one that has just read its entries back. Fair between the flows of a scope - those of one service and
 * limit key - by virtual time: an entry is tagged one above the one before it in its flow, but not below the
 * one that is next in line; the smallest tag goes first, among equals the smaller sequence number. So flows
 * take turns, whatever their lengths.
 *
 * Every call costs O(log n) in the number of entries, limits_set_rules O(counters), pausing O(queues). */
#pragma once
#include "base/codec.h"
#include "base/containers.h"
#include "wire/id.h"

#define NO_LIMIT UINT32_MAX

struct limits;
struct limit_node;
struct limit_flow;

/* Something that stands in a line. */
struct fair {
    struct omap_node node;
    uint64_t tag, seq;
    enum { FAIR_ENTRY, FAIR_FLOW, FAIR_NODE } kind;
    bool linked;
};

/* An invocation that runs, or waits for its turn. Owned by the caller. */
struct limit_entry {
    struct invocation_id id;
    struct fair fair; /* tag and sequence number of it */
    bool held;        /* it waits */
    /* private */
    struct limit_node *node;
    struct limit_flow *flow; /* held */
};
/* What an invocation is counted by. Slices are lent. */
struct limit_address {
    struct slice scope, l1, l2; /* ptr NULL: no such level */
    struct slice service;
};

/* Entries of one service and limit key of a scope are a queue; its id (queue_id_format) is a function of its
 * address. */
struct invocation_id limits_queue_id(const struct limit_address *a);

struct limits *limits_new(void);
void limits_free(struct limits *l); /* the entries are forgotten, not touched */

/* A new entry with its id; `seq` is above that of all that came before, or, with `woken`, the one it had when
 * it began: then it stands before all that have not begun. True: it runs. */
bool limits_enter(struct limits *l, struct limit_entry *e, const struct limit_address *a, uint64_t seq,
                  bool woken);
/* An entry as it was: id, tag, seq and held are set. In any order, before anything else but rules and pauses.
 */
void limits_restore(struct limits *l, struct limit_entry *e, const struct limit_address *a);
/* It ends, sleeps or waits no more. */
void limits_leave(struct limits *l, struct limit_entry *e);
/* The next one whose turn it is, from now on running; NULL: nobody may run now. */
struct limit_entry *limits_next(struct limits *l);
bool limits_any_next(const struct limits *l);
size_t limits_held(const struct limits *l);

/* The rules: `encoded` as in struct cmd_rule_book, which is valid. */
void limits_set_rules(struct limits *l, struct bytes encoded);
/* While a queue is paused nobody of it starts, whatever the counters say; who runs goes on. Kept by id: the
 * queue need not exist. O(entries' queues). False: QUEUES_PAUSED_MAX are paused already. */
#define QUEUES_PAUSED_MAX 4096
bool limits_pause(struct limits *l, struct invocation_id queue);
void limits_resume(struct limits *l, struct invocation_id queue);
bool limits_paused(const struct limits *l, struct invocation_id queue);
size_t limits_paused_count(const struct limits *l);
/* In the order of their ids. */
void limits_visit_paused(const struct limits *l, void (*visit)(void *ctx, struct invocation_id queue),
                         void *ctx);
/* Of an entry; valid while it is in. */
void limits_address(const struct limit_entry *e, struct limit_address *out);

/* ---- for SQL ---- */
struct limit_counter {
    struct limit_address address; /* without service */
    unsigned level;               /* 0: scope */
    uint32_t usage, limit;        /* NO_LIMIT */
    struct slice pattern;         /* of the rule; ptr NULL: none */
    uint64_t waiting;             /* entries that this counter holds back */
};
void limits_visit_counters(const struct limits *l, void (*visit)(void *ctx, const struct limit_counter *c),
                           void *ctx);
struct limit_line { /* a flow with somebody waiting that is not paused */
    struct limit_address address;
    size_t waiting;
    struct invocation_id head;
    bool blocked; /* by: */
    unsigned level;
    struct slice pattern;
};
void limits_visit_lines(const struct limits *l, void (*visit)(void *ctx, const struct limit_line *line),
                        void *ctx);
