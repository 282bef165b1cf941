/* Properties of the pure parts over random clusters: replica sets (src/controller/placement.h) satisfy what
 * was asked, are even and stable; leaders (src/controller/leaders.h) end up as even as they can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controller/leaders.h"
#include "controller/placement.h"
#include "sim/sim_env.h"

#define NODES      12
#define PARTITIONS 48

struct cluster {
    struct sim_env env;
    struct placement_node items[NODES];
    struct placement_nodes nodes;
    struct replication replication;
    struct placement_set sets[PARTITIONS];
};

static uint64_t below(struct cluster *c, uint64_t n)
{
    return sim_env_below(&c->env, n);
}

static void add_node(struct cluster *c, uint32_t region, uint32_t zone)
{
    struct placement_node *n = &c->items[c->nodes.len++];
    *n = (struct placement_node){.id = (uint32_t)c->nodes.len, .candidate = true, .keeps = true};
    n->domain[SCOPE_REGION] = region;
    n->domain[SCOPE_ZONE] = zone;
}

static void random_cluster(struct cluster *c, uint64_t seed)
{
    *c = (struct cluster){.nodes.items = c->items};
    sim_env_init(&c->env, seed);
    uint32_t regions = 1 + (uint32_t)below(c, 3), zones = 1 + (uint32_t)below(c, 3);
    size_t n = 1 + below(c, NODES);
    for (size_t i = 0; i < n; i++) {
        uint32_t r = (uint32_t)below(c, regions), z = (uint32_t)below(c, zones);
        bool no_zone = below(c, 8) == 0, no_region = below(c, 16) == 0;
        add_node(c, no_region ? NO_DOMAIN : r, no_region || no_zone ? NO_DOMAIN : r * 10 + z);
    }
    uint8_t copies = (uint8_t)(1 + below(c, 4)), in_zones = (uint8_t)below(c, copies + 1u);
    uint8_t in_regions = in_zones ? (uint8_t)below(c, in_zones + 1u) : 0;
    c->replication = (struct replication){{copies, in_zones, in_regions}};
}

static struct placement_wish wish(const struct cluster *c, uint32_t p)
{
    return (struct placement_wish){.partition = p,
                                   .replication = c->replication,
                                   .members = c->sets[p].ids,
                                   .n_members = c->sets[p].len};
}

static void count(struct cluster *c)
{
    for (size_t i = 0; i < c->nodes.len; i++)
        c->items[i].replicas = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        for (unsigned i = 0; i < c->sets[p].len; i++)
            placement_find(&c->nodes, c->sets[p].ids[i])->replicas++;
}

/* Places all again; returns how many replicas are new. */
static unsigned place(struct cluster *c)
{
    unsigned moved = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct placement_wish w = wish(c, p);
        struct placement_set out;
        count(c);
        placement_choose(&c->nodes, &w, &out);
        for (unsigned i = 0; i < out.len; i++)
            moved += !placement_set_has(&c->sets[p], out.ids[i]);
        c->sets[p] = out;
    }
    count(c);
    return moved;
}

/* By trying all sets of candidates. */
static bool can_be_satisfied(const struct cluster *c)
{
    for (uint32_t mask = 0; mask < 1u << c->nodes.len; mask++) {
        struct placement_set s = {.len = 0};
        for (size_t i = 0; i < c->nodes.len; i++)
            if (mask >> i & 1 && c->items[i].candidate)
                s.ids[s.len++] = c->items[i].id;
        if (s.len == replication_copies(&c->replication) &&
            placement_satisfies(&c->nodes, &c->replication, &s))
            return true;
    }
    return false;
}

static unsigned spread(const struct cluster *c)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (size_t i = 0; i < c->nodes.len; i++)
        if (c->items[i].candidate) {
            low = c->items[i].replicas < low ? c->items[i].replicas : low;
            high = c->items[i].replicas > high ? c->items[i].replicas : high;
        }
    return high - low;
}

static void sets_satisfy_the_property_if_any_can(void **state)
{
    unsigned satisfiable = 0;
    for (uint64_t seed = 1; seed <= 1500; seed++) {
        struct cluster c;
        random_cluster(&c, seed);
        for (size_t i = 0; i < c.nodes.len; i++)
            if (below(&c, 6) == 0)
                c.items[i].candidate = c.items[i].keeps = false;
        bool possible = can_be_satisfied(&c);
        satisfiable += possible;
        place(&c);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            if (possible != placement_satisfies(&c.nodes, &c.replication, &c.sets[p]))
                fail_msg("seed %llu", (unsigned long long)seed);
            for (unsigned i = 0; i < c.sets[p].len; i++)
                assert_true(placement_find(&c.nodes, c.sets[p].ids[i])->candidate);
        }
        assert_int_equal(place(&c), 0); /* the same again */
        sim_env_free(&c.env);
    }
    assert_true(satisfiable > 300 && satisfiable < 1400);
}

static void sets_are_even(void **state)
{
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct cluster c;
        random_cluster(&c, seed);
        c.replication = replication_nodes((uint8_t)(1 + below(&c, 4)));
        place(&c);
        if (c.nodes.len >= c.replication.copies[SCOPE_NODE])
            assert_true(spread(&c) <= 1);
        sim_env_free(&c.env);
    }
}

/* With zones of the same size the scopes do not stand in the way. */
static void sets_over_zones_are_even(void **state)
{
    struct cluster c;
    random_cluster(&c, 1);
    c.nodes.len = 0;
    for (uint32_t i = 0; i < 9; i++)
        add_node(&c, 0, i % 3);
    c.replication = (struct replication){{3, 3, 0}};
    place(&c);
    assert_true(spread(&c) <= 1);
    sim_env_free(&c.env);
}

static void only_what_was_lost_moves(void **state)
{
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct cluster c;
        random_cluster(&c, seed);
        c.replication = replication_nodes((uint8_t)(1 + below(&c, 3)));
        place(&c);
        struct placement_node *dead = &c.items[below(&c, c.nodes.len)];
        unsigned had = dead->replicas;
        dead->candidate = false;
        assert_int_equal(place(&c), 0); /* it may still keep what it has */
        dead->keeps = false;
        unsigned moved = place(&c);
        if (c.nodes.len > c.replication.copies[SCOPE_NODE]) {
            assert_int_equal(moved, had);
            assert_int_equal(dead->replicas, 0);
        } else {
            assert_int_equal(moved, 0); /* too few others: it stays a member */
            assert_int_equal(dead->replicas, had);
        }
        dead->candidate = dead->keeps = true;
        assert_int_equal(place(&c), 0); /* its return moves nothing by itself */
        sim_env_free(&c.env);
    }
}

static void swaps_even_out_and_end(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct cluster c;
        random_cluster(&c, seed);
        size_t all = c.nodes.len;
        c.nodes.len = 1 + below(&c, all);
        place(&c);
        c.nodes.len = all; /* new nodes, empty */
        place(&c);
        bool satisfied = placement_satisfies(&c.nodes, &c.replication, &c.sets[0]);
        unsigned swaps = 0;
        for (bool again = true; again;) {
            again = false;
            for (uint32_t p = 0; p < PARTITIONS; p++) {
                struct placement_wish w = wish(&c, p);
                struct placement_set out;
                uint32_t from, to;
                w.leader = c.sets[p].ids[0];
                if (!placement_swap(&c.nodes, &w, 1, true, &out, &from, &to))
                    continue;
                assert_true(placement_set_has(&c.sets[p], from) && !placement_set_has(&out, from));
                assert_true(placement_set_has(&out, to) && !placement_set_has(&c.sets[p], to));
                assert_true(placement_satisfies(&c.nodes, &c.replication, &out));
                c.sets[p] = out;
                count(&c);
                again = true;
                assert_true(++swaps < PARTITIONS * 5);
            }
        }
        bool free_of_scopes = !c.replication.copies[SCOPE_ZONE] && !c.replication.copies[SCOPE_REGION];
        if (satisfied && free_of_scopes)
            assert_true(spread(&c) <= 1);
        sim_env_free(&c.env);
    }
}

static void leaders_are_not_swapped_out_unless_asked(void **state)
{
    struct cluster c;
    random_cluster(&c, 1);
    c.nodes.len = 0;
    add_node(&c, 0, 0);
    add_node(&c, 0, 0);
    c.replication = replication_nodes(1);
    c.items[0].replicas = 9;
    struct placement_wish w = {
        .replication = c.replication, .members = (uint32_t[]){1}, .n_members = 1, .leader = 1};
    struct placement_set out;
    uint32_t from, to;
    assert_false(placement_swap(&c.nodes, &w, 1, false, &out, &from, &to));
    assert_true(placement_swap(&c.nodes, &w, 1, true, &out, &from, &to));
    assert_true(placement_set_is(&out, (uint32_t[]){2}, 1));
    assert_false(placement_swap(&c.nodes, &w, 9, true, &out, &from, &to));
    sim_env_free(&c.env);
}

/* ---- leaders ---- */

/* The smallest possible maximum of leaders, by exhaustive search. */
static unsigned best_maximum(const struct leaders_partition *p, size_t n, uint32_t *count, size_t nodes)
{
    unsigned best = 0;
    if (n == 0) {
        for (size_t i = 0; i < nodes; i++)
            best = count[i] > best ? count[i] : best;
        return best;
    }
    best = UINT32_MAX;
    for (size_t k = 0; k <= p->n_others; k++) {
        uint32_t at = k < p->n_others ? p->others[k] : p->leader;
        count[at]++;
        unsigned m = best_maximum(p + 1, n - 1, count, nodes);
        count[at]--;
        best = m < best ? m : best;
    }
    return best;
}

#define L_NODES      4
#define L_PARTITIONS 7

static void leaders_end_as_even_as_possible(void **state)
{
    struct sim_env env;
    sim_env_init(&env, 5);
    unsigned moves_seen = 0;
    for (int run = 0; run < 1000; run++) {
        struct leaders_partition p[L_PARTITIONS];
        uint32_t others[L_PARTITIONS][L_NODES], count[L_NODES] = {0}, fixed[L_NODES];
        for (size_t i = 0; i < L_NODES; i++)
            fixed[i] = count[i] = (uint32_t)sim_env_below(&env, 3); /* leaders that may not be moved */
        for (uint32_t i = 0; i < L_PARTITIONS; i++) {
            p[i] = (struct leaders_partition){i, (uint32_t)sim_env_below(&env, L_NODES), others[i], 0};
            count[p[i].leader]++;
            for (uint32_t n = 0; n < L_NODES; n++)
                if (n != p[i].leader && sim_env_below(&env, 2))
                    others[i][p[i].n_others++] = n;
        }
        unsigned best = best_maximum(p, L_PARTITIONS, fixed, L_NODES);
        /* Round after round, as the controller does. */
        for (int round = 0; round < 50; round++) {
            struct leaders_move moves[L_NODES];
            size_t n = leaders_balance(p, L_PARTITIONS, count, L_NODES, moves, L_NODES);
            assert_true(n <= L_NODES);
            for (size_t k = 0; k < n; k++) {
                struct leaders_partition *q = &p[moves[k].partition];
                size_t at = 0;
                while (q->others[at] != moves[k].to)
                    assert_true(++at < q->n_others);
                others[moves[k].partition][at] = q->leader;
                q->leader = moves[k].to;
                moves_seen++;
            }
            if (n == 0)
                break;
            assert_true(round < 49);
        }
        uint32_t check[L_NODES], high = 0;
        for (size_t i = 0; i < L_NODES; i++)
            check[i] = fixed[i];
        for (size_t i = 0; i < L_PARTITIONS; i++)
            check[p[i].leader]++;
        for (size_t i = 0; i < L_NODES; i++) {
            assert_int_equal(check[i], count[i]);
            high = check[i] > high ? check[i] : high;
        }
        if (high != best)
            fail_msg("run %d: %u instead of %u", run, high, best);
    }
    assert_true(moves_seen > 500);
    sim_env_free(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_satisfy_the_property_if_any_can),
        cmocka_unit_test(sets_are_even),
        cmocka_unit_test(sets_over_zones_are_even),
        cmocka_unit_test(only_what_was_lost_moves),
        cmocka_unit_test(swaps_even_out_and_end),
        cmocka_unit_test(leaders_are_not_swapped_out_unless_asked),
        cmocka_unit_test(leaders_end_as_even_as_possible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
