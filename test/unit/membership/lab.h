/* A few nodes in lock step for the tests of membership/: each with its own clock, messages arrive in the next
 * step of 10 ms. Links can be cut one way, nodes paused, killed and restarted. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "membership/membership.h"
#include "sim/sim_env.h"

#define LAB_MAX     6u /* ids 1.. */
#define STEP_MS     10u
#define FINGERPRINT UINT64_C(77)

struct lab_node {
    struct lab *lab;
    uint32_t id, generation;
    struct sim_env env;
    struct membership *m; /* NULL: not running */
    bool paused;
    unsigned changed;
    uint32_t n_newer, n_sent;
    struct {
        enum gossip_kind kind;
        uint16_t partition;
        uint32_t version, from;
    } newer; /* last */
};
struct lab_packet {
    uint32_t from, to;
    struct bytes data;
};
struct lab {
    uint32_t n;
    struct lab_node nodes[LAB_MAX + 1];
    bool cut[LAB_MAX + 1][LAB_MAX + 1]; /* from, to */
    struct {
        struct lab_packet *items;
        size_t len, cap;
    } wire;
    struct node_entry entries[LAB_MAX];
    struct nodes_config config;
    struct membership_config options;
};

static inline void lab_send(void *ctx, uint32_t node, struct slice message)
{
    struct lab_node *n = ctx;
    n->n_sent++;
    if (node <= n->lab->n && !n->lab->cut[n->id][node])
        VEC_PUSH(&n->lab->wire, ((struct lab_packet){n->id, node, bytes_copy(message)}));
}

static inline void lab_changed(void *ctx, unsigned what)
{
    ((struct lab_node *)ctx)->changed |= what;
}

static inline void lab_newer(void *ctx, enum gossip_kind kind, uint16_t partition, uint32_t version,
                             uint32_t from)
{
    struct lab_node *n = ctx;
    n->n_newer++;
    n->newer.kind = kind;
    n->newer.partition = partition;
    n->newer.version = version;
    n->newer.from = from;
}

static const struct membership_ops lab_ops = {lab_send, lab_changed, lab_newer};

/* Start a process of the node, one generation up; the others learn of it from messages only. */
static inline void lab_start(struct lab *l, uint32_t id)
{
    struct lab_node *n = &l->nodes[id];
    assert_null(n->m);
    n->generation++;
    n->paused = false;
    n->m = membership_new(&n->env.env, &l->options, &lab_ops, n);
    membership_set_self(n->m, (struct node_ref){id, n->generation}, n->env.mono_ms);
    membership_set_nodes(n->m, &l->config);
}

static inline void lab_kill(struct lab *l, uint32_t id)
{
    membership_free(l->nodes[id].m);
    l->nodes[id].m = NULL;
}

/* `n` nodes configured, none running. */
static inline void lab_init(struct lab *l, uint32_t n)
{
    *l = (struct lab){.n = n};
    membership_config_default(&l->options);
    for (uint32_t id = 1; id <= n; id++) {
        l->nodes[id].lab = l;
        l->nodes[id].id = id;
        sim_env_init(&l->nodes[id].env, id);
        l->nodes[id].env.mono_ms = 1000 * id; /* clocks have nothing in common */
        l->entries[id - 1] = (struct node_entry){.id = id, .generation = 1, .name = "n", .address = "a"};
    }
    l->config = (struct nodes_config){
        .version = 1, .cluster_fingerprint = FINGERPRINT, .nodes = l->entries, .n_nodes = n};
}

static inline void lab_free(struct lab *l)
{
    for (uint32_t id = 1; id <= l->n; id++) {
        lab_kill(l, id);
        sim_env_free(&l->nodes[id].env);
    }
    for (size_t i = 0; i < l->wire.len; i++)
        bytes_unref(&l->wire.items[i].data);
    VEC_FREE(&l->wire);
}

static inline void lab_step(struct lab *l)
{
    size_t n = l->wire.len, kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct lab_packet p = l->wire.items[i];
        struct lab_node *to = &l->nodes[p.to];
        if (to->m && to->paused) {
            l->wire.items[kept++] = p; /* stays in the socket */
            continue;
        }
        if (to->m)
            membership_receive(to->m, bytes_slice(p.data));
        bytes_unref(&p.data);
    }
    if (n)
        memmove(l->wire.items + kept, l->wire.items + n, (l->wire.len - n) * sizeof(*l->wire.items));
    l->wire.len -= n - kept;
    for (uint32_t id = 1; id <= l->n; id++) {
        if (l->nodes[id].paused)
            l->nodes[id].env.mono_ms += STEP_MS;
        else
            sim_env_advance(&l->nodes[id].env, STEP_MS);
    }
}

static inline void lab_run(struct lab *l, uint64_t ms)
{
    for (; ms >= STEP_MS; ms -= STEP_MS)
        lab_step(l);
}

static inline struct membership *lab_m(struct lab *l, uint32_t id)
{
    return l->nodes[id].m;
}

/* All configured nodes run and see each other. */
static inline void lab_up(struct lab *l, uint32_t n)
{
    lab_init(l, n);
    for (uint32_t id = 1; id <= n; id++)
        lab_start(l, id);
    lab_run(l, 1000);
    for (uint32_t a = 1; a <= n; a++)
        for (uint32_t b = 1; b <= n; b++)
            assert_int_equal(membership_verdict(lab_m(l, a), b), MEMBERSHIP_ALIVE);
}

/* Time until `of` has the verdict at `at`, or `limit`. */
static inline uint64_t lab_wait(struct lab *l, uint32_t at, uint32_t of, enum membership_verdict verdict,
                                uint64_t limit)
{
    uint64_t ms = 0;
    while (ms < limit && membership_verdict(lab_m(l, at), of) != verdict) {
        lab_step(l);
        ms += STEP_MS;
    }
    return ms;
}
