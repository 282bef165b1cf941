/* Limits of scopes as a structure (partition/limits.h): which rule counts, whose turn it is, and that the
 * order is a function of the entries and the rules, in whatever order they are read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "partition/limits.h"
#include "sim/sim_env.h"
#include "wire/command.h"
#include "wire/scope.h"

#define ENTRIES 400

struct fixture {
    struct limits *l;
    struct limit_entry entries[ENTRIES];
    size_t n;
};

static void rules(struct limits *l, size_t n, const char *const *patterns, const uint32_t *limits)
{
    struct writer list = WRITER_INIT, w = WRITER_INIT;
    for (size_t i = 0; i < n; i++)
        cmd_rule_book_add(&list, slice_cstr(patterns[i]), limits[i]);
    cmd_rule_book_write(
        &w, &(struct cmd_rule_book){.version = 1, .n_rules = (uint32_t)n, .rules = writer_slice(&list)});
    struct bytes encoded = writer_take(&w);
    limits_set_rules(l, encoded);
    bytes_unref(&encoded);
    writer_free(&list);
}
#define RULES(l, ...)                                                                                        \
    do {                                                                                                     \
        static const struct {                                                                                \
            const char *pattern;                                                                             \
            uint32_t limit;                                                                                  \
        } list[] = {__VA_ARGS__};                                                                            \
        const char *patterns[ARRAY_LEN(list)];                                                               \
        uint32_t numbers[ARRAY_LEN(list)];                                                                   \
        for (size_t k = 0; k < ARRAY_LEN(list); k++) {                                                       \
            patterns[k] = list[k].pattern;                                                                   \
            numbers[k] = list[k].limit;                                                                      \
        }                                                                                                    \
        rules(l, ARRAY_LEN(list), patterns, numbers);                                                        \
    } while (0)

static struct limit_address address(const char *scope, const char *limit_key, const char *service)
{
    struct limit_address a = {.scope = slice_cstr(scope), .service = slice_cstr(service)};
    limit_key_split(limit_key ? slice_cstr(limit_key) : SLICE_EMPTY, &a.l1, &a.l2);
    return a;
}

static struct limit_entry *enter(struct fixture *f, const char *scope, const char *limit_key,
                                 const char *service)
{
    struct limit_entry *e = &f->entries[f->n++];
    struct limit_address a = address(scope, limit_key, service);
    e->id = (struct invocation_id){1, {0, f->n}};
    limits_enter(f->l, e, &a, f->n, false);
    return e;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->l = limits_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    limits_free(f->l);
    free(f);
    return 0;
}

static void without_rules_everything_runs(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        assert_false(enter(f, "s", "a/b", "S")->held);
    assert_null(limits_next(f->l));
    for (size_t i = 0; i < f->n; i++)
        limits_leave(f->l, &f->entries[i]);
}

struct found {
    unsigned n;
    uint32_t limit[3], usage[3];
    char pattern[3][40];
};

static void note_counter(void *ctx, const struct limit_counter *c)
{
    struct found *found = ctx;
    found->n++;
    found->limit[c->level] = c->limit;
    found->usage[c->level] = c->usage;
    snprintf(found->pattern[c->level], 40, "%.*s", SLICE_FMT(c->pattern));
}

static void the_most_literal_pattern_of_a_depth_wins(void **state)
{
    struct fixture *f = *state;
    /* scope 4, l1 2, l2 1 (lifecycle §12.5) */
    RULES(f->l, {"*", 9}, {"*/a", 5}, {"*/a/b", 3}, {"s", 8}, {"s/*", 6}, {"s/*/b", 2}, {"s/a/*", 4});
    struct found found = {0};
    enter(f, "s", "a/b", "S");
    limits_visit_counters(f->l, note_counter, &found);
    assert_int_equal(found.n, 3);
    assert_string_equal(found.pattern[0], "s");
    assert_string_equal(found.pattern[1], "s/*");   /* 4 before */
    assert_string_equal(found.pattern[2], "s/a/*"); /* 6 before 5 before 3 */
    assert_int_equal(found.limit[2], 4);
    /* other rules reach the counters that exist; a pattern says nothing of other depths */
    RULES(f->l, {"*/*/*", 7});
    found = (struct found){0};
    limits_visit_counters(f->l, note_counter, &found);
    assert_true(found.limit[0] == NO_LIMIT && found.limit[1] == NO_LIMIT && found.limit[2] == 7);
    assert_true(found.usage[0] == 1 && found.usage[1] == 1 && found.usage[2] == 1);
}

static void an_invocation_must_fit_all_its_counters(void **state)
{
    struct fixture *f = *state;
    RULES(f->l, {"s", 3}, {"s/a", 1});
    struct limit_entry *a1 = enter(f, "s", "a", "S"), *a2 = enter(f, "s", "a/x", "S");
    struct limit_entry *b1 = enter(f, "s", "b", "S"), *b2 = enter(f, "s", NULL, "S"),
                       *b3 = enter(f, "s", "b", "S");
    assert_false(a1->held);
    assert_true(a2->held); /* by a, not by the scope */
    assert_false(b1->held || b2->held);
    assert_true(b3->held); /* by the scope */
    limits_leave(f->l, b1);
    assert_ptr_equal(limits_next(f->l), b3); /* a2 came first, but a is full */
    limits_leave(f->l, a1);
    assert_ptr_equal(limits_next(f->l), a2);
    assert_null(limits_next(f->l));
    assert_int_equal(limits_held(f->l), 0);
}

/* Releases what runs and notes who is next, until nobody waits. */
static void drain(struct fixture *f, struct limit_entry *runs, char *order)
{
    struct limit_entry *next = runs;
    do {
        limits_leave(f->l, next);
        next = limits_next(f->l);
        if (next) {
            struct limit_address a;
            limits_address(next, &a);
            *order++ = a.l1.ptr ? (char)a.l1.ptr[0] : '-';
        }
        assert_null(limits_next(f->l));
    } while (next);
    *order = 0;
}

static void flows_take_turns(void **state)
{
    struct fixture *f = *state;
    char order[32];
    RULES(f->l, {"s", 1});
    struct limit_entry *first = enter(f, "s", "a", "S");
    for (int i = 0; i < 6; i++)
        enter(f, "s", "a", "S");
    for (int i = 0; i < 2; i++)
        enter(f, "s", "b", "S");
    enter(f, "s", "c", "S");
    drain(f, first, order);
    assert_string_equal(order, "abcabaaaa");
}

static void who_comes_late_does_not_pay_for_the_past(void **state)
{
    struct fixture *f = *state;
    char order[32];
    RULES(f->l, {"s", 1});
    struct limit_entry *runs = enter(f, "s", "a", "S"), *next;
    for (int i = 0; i < 9; i++)
        enter(f, "s", "a", "S");
    for (int i = 0; i < 4; i++) { /* a is served for a while */
        limits_leave(f->l, runs);
        next = limits_next(f->l);
        assert_non_null(next);
        runs = next;
    }
    for (int i = 0; i < 3; i++)
        enter(f, "s", "b", "S");
    drain(f, runs, order);
    assert_string_equal(order, "abababaa"); /* nor does it get what others had before it came */
}

static void services_of_one_limit_key_are_flows_too(void **state)
{
    struct fixture *f = *state;
    RULES(f->l, {"s", 1});
    struct limit_entry *runs = enter(f, "s", NULL, "A");
    for (int i = 0; i < 3; i++)
        enter(f, "s", NULL, "A");
    struct limit_entry *b = enter(f, "s", NULL, "B");
    limits_leave(f->l, runs);
    assert_ptr_equal(limits_next(f->l), &f->entries[1]);
    limits_leave(f->l, &f->entries[1]);
    assert_ptr_equal(limits_next(f->l), b);
}

static void the_woken_go_before_those_that_have_not_begun(void **state)
{
    struct fixture *f = *state;
    RULES(f->l, {"s", 1});
    struct limit_entry *sleeper = enter(f, "s", NULL, "S");
    for (int i = 0; i < 5; i++)
        enter(f, "s", NULL, "S");
    limits_leave(f->l, sleeper); /* it suspends */
    struct limit_entry *runs = limits_next(f->l);
    assert_ptr_equal(runs, &f->entries[1]);
    struct limit_address a = address("s", NULL, "S");
    assert_false(limits_enter(f->l, sleeper, &a, 1, true));
    limits_leave(f->l, runs);
    assert_ptr_equal(limits_next(f->l), sleeper);
}

static void removal_and_lower_limits(void **state)
{
    struct fixture *f = *state;
    RULES(f->l, {"s", 3});
    for (int i = 0; i < 8; i++)
        enter(f, "s", NULL, "S");
    assert_int_equal(limits_held(f->l), 5);
    limits_leave(f->l, &f->entries[3]); /* canceled while it waits */
    RULES(f->l, {"s", 1});
    limits_leave(f->l, &f->entries[0]);
    limits_leave(f->l, &f->entries[1]);
    assert_null(limits_next(f->l)); /* two above the limit ended: one still runs */
    limits_leave(f->l, &f->entries[2]);
    assert_ptr_equal(limits_next(f->l), &f->entries[4]);
    assert_null(limits_next(f->l));
    RULES(f->l, {"other", 1});
    assert_true(limits_any_next(f->l));
    struct limit_entry *late = enter(f, "s", NULL, "S");
    assert_true(late->held); /* those that may run already come first */
    for (size_t i = 5; i < 8; i++)
        assert_ptr_equal(limits_next(f->l), &f->entries[i]);
    assert_ptr_equal(limits_next(f->l), late);
}

static void a_paused_queue_starts_nobody(void **state)
{
    struct fixture *f = *state;
    struct limit_address a = address("s", "k", "A");
    struct invocation_id queue = limits_queue_id(&a);
    struct limit_entry *runs = enter(f, "s", "k", "A");
    assert_true(limits_pause(f->l, queue));
    assert_true(limits_pause(f->l, queue)); /* again */
    assert_int_equal(limits_paused_count(f->l), 1);
    struct limit_entry *first = enter(f, "s", "k", "A"), *second = enter(f, "s", "k", "A");
    assert_true(first->held && second->held && !runs->held);
    assert_false(enter(f, "s", "k", "B")->held); /* another service, key, scope */
    assert_false(enter(f, "s", "k/x", "A")->held);
    assert_false(enter(f, "s", NULL, "A")->held);
    assert_false(enter(f, "t", "k", "A")->held);
    assert_null(limits_next(f->l));
    limits_leave(f->l, runs);
    assert_null(limits_next(f->l));
    limits_leave(f->l, first); /* it was killed, say */
    limits_resume(f->l, queue);
    assert_int_equal(limits_paused_count(f->l), 0);
    assert_ptr_equal(limits_next(f->l), second);
    assert_null(limits_next(f->l));
    assert_false(enter(f, "s", "k", "A")->held);
}

/* The rules hold for what was paused, and what is paused stands in nobody's way. */
static void pauses_and_limits(void **state)
{
    struct fixture *f = *state;
    struct limit_address a = address("s", NULL, "A");
    struct invocation_id queue = limits_queue_id(&a);
    RULES(f->l, {"s", 1});
    struct limit_entry *runs = enter(f, "s", NULL, "B"), *waits = enter(f, "s", NULL, "A");
    assert_true(limits_pause(f->l, queue));
    struct limit_entry *other = enter(f, "s", NULL, "B");
    struct found found = {0};
    limits_visit_counters(f->l, note_counter, &found);
    assert_int_equal(found.usage[0], 1);
    limits_leave(f->l, runs);
    assert_ptr_equal(limits_next(f->l), other);
    limits_resume(f->l, queue);
    assert_null(limits_next(f->l));
    limits_leave(f->l, other);
    assert_ptr_equal(limits_next(f->l), waits);
}

static void note_queue(void *ctx, struct invocation_id queue)
{
    struct invocation_id *last = ctx;
    assert_true(invocation_id_cmp(*last, queue) < 0);
    *last = queue;
}

static void pauses_are_bounded_and_in_order(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 0; i < QUEUES_PAUSED_MAX; i++)
        assert_true(limits_pause(f->l, (struct invocation_id){i * 7919 % 1000, {1, i}}));
    assert_false(limits_pause(f->l, (struct invocation_id){5, {5, 5}}));
    assert_true(limits_pause(f->l, (struct invocation_id){0, {1, 0}})); /* is already */
    struct invocation_id last = {0};
    limits_visit_paused(f->l, note_queue, &last);
    limits_resume(f->l, (struct invocation_id){0, {1, 0}});
    assert_true(limits_pause(f->l, (struct invocation_id){5, {5, 5}}));
}

/* ---- read back ---- */

static void random_rules(struct limits *l, uint64_t rng[4])
{
    static const char *const patterns[] = {"*", "*/*", "s", "s/a", "s/a/x", "t/*/x"};
    const char *chosen[6];
    uint32_t numbers[6];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        if (sim_rng_next(rng) % 3) {
            chosen[n] = patterns[i];
            numbers[n++] = 1 + (uint32_t)(sim_rng_next(rng) % 4);
        }
    rules(l, n, chosen, numbers);
}

static void random_step(struct fixture *f, uint64_t rng[4], uint64_t *seq)
{
    static const char *const scopes[] = {"s", "t"}, *const keys[] = {NULL, "a", "b", "a/x", "a/y"},
                             *const services[] = {"A", "B"};
    struct limit_entry *e = &f->entries[sim_rng_next(rng) % f->n];
    if (e->node) {
        limits_leave(f->l, e);
        e->node = NULL;
    } else {
        struct limit_address a = address(scopes[sim_rng_next(rng) % 2], keys[sim_rng_next(rng) % 5],
                                         services[sim_rng_next(rng) % 2]);
        limits_enter(f->l, e, &a, ++*seq, false);
    }
    for (unsigned i = sim_rng_next(rng) % 3; i > 0; i--)
        limits_next(f->l);
    struct limit_address a =
        address(scopes[sim_rng_next(rng) % 2], keys[sim_rng_next(rng) % 5], services[sim_rng_next(rng) % 2]);
    if (sim_rng_next(rng) % 8 == 0)
        limits_pause(f->l, limits_queue_id(&a));
    else if (sim_rng_next(rng) % 4 == 0)
        limits_resume(f->l, limits_queue_id(&a));
}

static void pause_too(void *ctx, struct invocation_id queue)
{
    limits_pause(ctx, queue);
}

static void keep_last(void *ctx, struct invocation_id queue)
{
    *(struct invocation_id *)ctx = queue;
}

static void resume_one(struct limits *f, struct limits *g)
{
    struct invocation_id queue = {0};
    limits_visit_paused(f, keep_last, &queue);
    limits_resume(f, queue);
    limits_resume(g, queue);
}

/* Another structure made of what is persisted of the entries, in reverse. */
static struct fixture *read_back(struct fixture *f, uint64_t rules_seed)
{
    struct fixture *g = calloc(1, sizeof(*g));
    uint64_t rng[4];
    sim_rng_seed(rng, rules_seed);
    g->l = limits_new();
    random_rules(g->l, rng);
    limits_visit_paused(f->l, pause_too, g->l);
    g->n = f->n;
    for (size_t i = f->n; i-- > 0;) {
        struct limit_entry *e = &f->entries[i], *copy = &g->entries[i];
        struct limit_address a;
        if (!e->node)
            continue;
        limits_address(e, &a);
        copy->id = e->id;
        copy->held = e->held;
        copy->fair.tag = e->fair.tag;
        copy->fair.seq = e->fair.seq;
        limits_restore(g->l, copy, &a);
    }
    return g;
}

static void the_order_survives_being_read_back(void **state)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct fixture *f = calloc(1, sizeof(*f)), *g;
        uint64_t rng[4], rules_rng[4], seq = 0;
        sim_rng_seed(rng, seed);
        sim_rng_seed(rules_rng, seed);
        f->l = limits_new();
        random_rules(f->l, rules_rng);
        f->n = 60;
        for (size_t i = 0; i < f->n; i++)
            f->entries[i].id = (struct invocation_id){seed, {0, i}};
        for (int step = 0; step < 300; step++)
            random_step(f, rng, &seq);
        g = read_back(f, seed);
        /* both go on alike */
        for (int step = 0; step < 200; step++) {
            if (step % 20 == 0)
                resume_one(f->l, g->l);
            struct limit_entry *x = limits_next(f->l), *y = limits_next(g->l);
            assert_int_equal(x ? x - f->entries : -1, y ? y - g->entries : -1);
            size_t i = sim_rng_next(rng) % f->n;
            if (!f->entries[i].node)
                continue;
            assert_int_equal(f->entries[i].held, g->entries[i].held);
            limits_leave(f->l, &f->entries[i]);
            limits_leave(g->l, &g->entries[i]);
            f->entries[i].node = g->entries[i].node = NULL;
        }
        assert_int_equal(limits_held(f->l), limits_held(g->l));
        limits_free(f->l);
        limits_free(g->l);
        free(f);
        free(g);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(without_rules_everything_runs),
        T(the_most_literal_pattern_of_a_depth_wins),
        T(an_invocation_must_fit_all_its_counters),
        T(flows_take_turns),
        T(who_comes_late_does_not_pay_for_the_past),
        T(services_of_one_limit_key_are_flows_too),
        T(the_woken_go_before_those_that_have_not_begun),
        T(removal_and_lower_limits),
        T(a_paused_queue_starts_nobody),
        T(pauses_and_limits),
        T(pauses_are_bounded_and_in_order),
        cmocka_unit_test(the_order_survives_being_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
