/* Replication properties, quorums and the choice of node sets (spec/cluster.md §4.2, §5.3). The property test
 * of Lemma Q (§11.3): over random node sets of up to 8 nodes, 3 zones per region and 2 regions, with every
 * replication property that fits and every storage state, no f-majority misses a write quorum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "bifrost/nodeset.h"
#include "sim/sim_env.h"

static struct replication parse(const char *text)
{
    struct replication r;
    struct err err = {0};
    enum rc rc = replication_parse(slice_cstr(text), &r, &err);
    if (rc != RC_OK)
        print_message("%s: %s\n", text, err.msg);
    assert_int_equal(rc, RC_OK);
    return r;
}

static void properties_are_parsed_and_printed(void **state)
{
    static const struct {
        const char *text, *printed;
        unsigned copies;
    } good[] = {
        {"2", "{node: 2}", 2},
        {" 255 ", "{node: 255}", 255},
        {"\"3\"", "{node: 3}", 3},
        {"{node: 2}", "{node: 2}", 2},
        {"{ NODE :2 }", "{node: 2}", 2},
        {"{region: 2, zone: 3, node: 5}", "{node: 5, zone: 3, region: 2}", 5},
        {"{zone: 2}", "{zone: 2}", 2},
        {"{region:2,zone:2}", "{zone: 2, region: 2}", 2},
        {"{\"node\":3,\"zone\":2}", "{node: 3, zone: 2}", 3},
        {"\"{node: 2}\"", "{node: 2}", 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct replication r = parse(good[i].text);
        struct writer w = WRITER_INIT;
        replication_print(&w, &r);
        assert_true(slice_eq_cstr(writer_slice(&w), good[i].printed));
        assert_int_equal(replication_copies(&r), good[i].copies);
        assert_int_equal(replication_at(&r, SCOPE_NODE), good[i].copies);
        writer_free(&w);
    }
    static const char *const bad[] = {"",
                                      "0",
                                      "256",
                                      "{}",
                                      "{node: 0}",
                                      "{node 2}",
                                      "{node: 2",
                                      "{nod: 2}",
                                      "2 3",
                                      "{zone: 3, node: 2}",
                                      "{node: 2,}",
                                      "{region: 3, zone: 2}",
                                      "{node: 2, node: 2}",
                                      "-1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct replication r;
        assert_int_equal(replication_parse(slice_cstr(bad[i]), &r, NULL), RC_INVALID);
    }
}

static void locations_are_parsed(void **state)
{
    struct location l;
    assert_true(location_parse(slice_cstr(" eu.a "), &l));
    assert_string_equal(l.region, "eu");
    assert_string_equal(l.zone, "a");
    static const char *const good[] = {"", ".", "r", "r.", "r.z"}, *const bad[] = {".z", "r.z.x", "r..x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(location_parse(slice_cstr(good[i]), &l));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(location_parse(slice_cstr(bad[i]), &l));
}

/* `places[i]` is the location of node i + 1. */
static struct node_directory cluster(const char *const *places, unsigned n)
{
    struct node_directory d = {0};
    for (unsigned i = 0; i < n; i++) {
        struct node_info node = {
            .id = i + 1, .generation = 1, .storage = STORAGE_READ_WRITE, .liveness = LIVENESS_ALIVE};
        assert_true(location_parse(slice_cstr(places ? places[i] : ""), &node.location));
        node_directory_put(&d, &node);
    }
    return d;
}

static struct nodeset all_nodes(const struct node_directory *d)
{
    struct nodeset s = {.len = 0};
    for (size_t i = 0; i < d->len; i++)
        nodeset_add(&s, d->nodes[i].id);
    return s;
}

static struct marks mask(uint64_t bits)
{
    return (struct marks){{bits, 0}};
}

static void plain_quorums_count_nodes(void **state)
{
    for (unsigned n = 1; n <= 7; n++) {
        struct node_directory d = cluster(NULL, n);
        struct nodeset set = all_nodes(&d);
        for (unsigned copies = 1; copies <= n; copies++) {
            struct replication r = replication_nodes((uint8_t)copies);
            struct quorum q;
            quorum_init(&q, &r, &set, &d);
            for (uint64_t m = 0; m < 1u << n; m++) {
                unsigned size = (unsigned)__builtin_popcountll(m);
                assert_int_equal(quorum_is_write(&q, mask(m)), size >= copies);
                assert_int_equal(quorum_is_f_majority(&q, mask(m)), size >= n - copies + 1);
            }
            struct quorum_tolerance t = quorum_tolerance(&q);
            assert_int_equal(t.writable, n - copies);
            assert_int_equal(t.sealable, copies - 1);
        }
        node_directory_free(&d);
    }
}

static void a_zone_counts_only_when_complete(void **state)
{
    const char *places[] = {"r.a", "r.a", "r.b", "r.b", "r.c", "r.c"};
    struct node_directory d = cluster(places, 6);
    struct nodeset set = all_nodes(&d);
    struct replication r = parse("{zone: 2}");
    struct quorum q;
    quorum_init(&q, &r, &set, &d);
    assert_false(quorum_is_write(&q, mask(0x03))); /* two nodes, one zone */
    assert_true(quorum_is_write(&q, mask(0x05)));
    assert_false(quorum_is_f_majority(&q, mask(0x15))); /* one of each zone */
    assert_true(quorum_is_f_majority(&q, mask(0x0f)));  /* two whole zones: 3 - 2 + 1 */
    assert_true(quorum_is_f_majority(&q, mask(0x1f)));  /* or five nodes: 6 - 2 + 1 */
    struct quorum_tolerance t = quorum_tolerance(&q);
    assert_int_equal(t.writable, 3); /* any three: one zone is lost whole, two are left */
    assert_int_equal(t.sealable, 1);
    node_directory_free(&d);
}

static void storage_states_decide_who_counts(void **state)
{
    struct node_directory d = cluster(NULL, 3);
    struct nodeset set = all_nodes(&d);
    struct replication r = replication_nodes(2);
    struct quorum q;
    d.nodes[2].storage = STORAGE_DATA_LOSS;
    quorum_init(&q, &r, &set, &d);
    assert_int_equal(quorum_authority(&q, mask(3)), AUTHORITY_SUCCESS);
    assert_int_equal(quorum_authority(&q, mask(5)), AUTHORITY_WITH_RISK);
    assert_int_equal(quorum_authority(&q, mask(1)), AUTHORITY_NONE);
    assert_int_equal(marks_count(q.writable), 2);
    d.nodes[1].storage = STORAGE_DATA_LOSS;
    quorum_init(&q, &r, &set, &d);
    assert_int_equal(quorum_authority(&q, mask(1)), AUTHORITY_BEST_EFFORT);
    d.nodes[1].storage = STORAGE_DISABLED;
    d.nodes[2].storage = STORAGE_PROVISIONING;
    quorum_init(&q, &r, &set, &d);
    assert_int_equal(marks_count(q.effective), 2);
    assert_int_equal(quorum_authority(&q, mask(1)), AUTHORITY_SUCCESS); /* 2 - 2 + 1 */
    assert_false(q.all_provisioning);
    d.nodes[0].storage = STORAGE_PROVISIONING;
    quorum_init(&q, &r, &set, &d);
    assert_true(q.all_provisioning);
    set.len = 0;
    nodeset_add(&set, 77); /* unknown: provisioning */
    quorum_init(&q, &r, &set, &d);
    assert_true(q.all_provisioning && marks_count(q.effective) == 1 && marks_empty(q.writable));
    node_directory_free(&d);
}

/* A random cluster: labels may be missing, states are whatever. */
static struct node_directory random_cluster(struct sim_env *e)
{
    struct node_directory d = {0};
    unsigned n = 1 + (unsigned)sim_env_below(e, 8);
    for (unsigned i = 0; i < n; i++) {
        struct node_info node = {.id = i + 1, .storage = STORAGE_READ_WRITE};
        if (sim_env_below(e, 4) == 0)
            node.storage = (enum storage_state)sim_env_below(e, STORAGE_DISABLED + 1);
        if (sim_env_below(e, 8) > 0)
            snprintf(node.location.region, 8, "r%u", (unsigned)sim_env_below(e, 2));
        if (node.location.region[0] && sim_env_below(e, 8) > 0)
            snprintf(node.location.zone, 8, "z%u", (unsigned)sim_env_below(e, 3));
        node_directory_put(&d, &node);
    }
    return d;
}

static struct replication random_replication(struct sim_env *e)
{
    struct replication r = {{0}};
    unsigned limit = 1 + (unsigned)sim_env_below(e, 5);
    for (int s = 0; s < SCOPES; s++) {
        if (s == SCOPE_NODE ? sim_env_below(e, 5) > 0 : sim_env_below(e, 2)) {
            r.copies[s] = (uint8_t)limit;
            limit = 1 + (unsigned)sim_env_below(e, limit);
        }
    }
    if (r.copies[0] + r.copies[1] + r.copies[2] == 0)
        r.copies[SCOPE_NODE] = (uint8_t)limit;
    return r;
}

/* What a brute-force look at all sets of dead nodes says. */
static struct quorum_tolerance brute_tolerance(const struct quorum *q)
{
    int writable = (int)q->len, sealable = (int)q->len;
    for (uint64_t dead = 0; dead < UINT64_C(1) << q->len; dead++) {
        int n = __builtin_popcountll(dead);
        if (!quorum_is_write(q, marks_minus(q->writable, mask(dead))))
            writable = MIN(writable, n - 1);
        if (!quorum_is_f_majority(q, marks_minus(q->effective, mask(dead))))
            sealable = MIN(sealable, n - 1);
    }
    return (struct quorum_tolerance){writable, sealable};
}

static bool fully_labelled(const struct node_directory *d)
{
    for (size_t i = 0; i < d->len; i++) {
        if (!d->nodes[i].location.zone[0])
            return false;
    }
    return true;
}

static void lemma_q(void **state)
{
    struct sim_env e;
    sim_env_init(&e, 4711);
    unsigned writable = 0;
    for (int round = 0; round < 3000; round++) {
        struct node_directory d = random_cluster(&e);
        struct nodeset set = all_nodes(&d);
        struct replication r = random_replication(&e);
        struct quorum q;
        quorum_init(&q, &r, &set, &d);
        unsigned n = q.len;
        uint8_t kind[256] = {0}; /* 1: write quorum, 2: f-majority */
        for (uint64_t m = 0; m < 1u << n; m++)
            kind[m] = (uint8_t)(quorum_is_write(&q, mask(m)) + 2 * quorum_is_f_majority(&q, mask(m)));
        for (uint64_t a = 0; a < 1u << n; a++) {
            for (uint64_t b = 0; b < 1u << n && (kind[a] & 1); b++) {
                if (kind[b] & 2)
                    assert_true((a & b & q.effective.word[0]) != 0);
            }
            /* And the other half: what misses no write quorum is an f-majority, so nobody waits in vain. */
            if ((kind[a] & 2) == 0 && quorum_is_write(&q, q.effective))
                assert_true(kind[(~a) & ((1u << n) - 1)] & 1);
        }
        writable += quorum_is_write(&q, q.effective);
        if (quorum_is_write(&q, q.effective)) {
            struct quorum_tolerance brute = brute_tolerance(&q), t = quorum_tolerance(&q);
            assert_true(t.sealable <= brute.sealable &&
                        (t.sealable == brute.sealable || !fully_labelled(&d)));
            if (brute.writable >= 0)
                assert_int_equal(t.writable, brute.writable);
            else
                assert_int_equal(t.writable, -1);
        }
        node_directory_free(&d);
    }
    assert_true(writable > 500);
    sim_env_free(&e);
}

static void node_sets_are_chosen(void **state)
{
    struct node_directory d = cluster(NULL, 6);
    struct nodeset_wish wish = {.replication = replication_nodes(2), .sequencer = 4, .salt = 1};
    struct nodeset s, again;
    assert_int_equal(nodeset_select(&d, &wish, &s, NULL), RC_OK);
    assert_int_equal(s.len, 3);
    assert_true(nodeset_position(&s, 4) >= 0);
    assert_int_equal(nodeset_select(&d, &wish, &again, NULL), RC_OK);
    assert_true(nodeset_eq(&s, &again));
    /* The old set is kept as far as it is alive. */
    struct nodeset old = {.len = 0};
    nodeset_add(&old, 1), nodeset_add(&old, 2), nodeset_add(&old, 5);
    wish.preferred = &old;
    d.nodes[1].liveness = LIVENESS_DEAD;
    assert_int_equal(nodeset_select(&d, &wish, &s, NULL), RC_OK);
    assert_true(nodeset_position(&s, 1) >= 0 && nodeset_position(&s, 4) >= 0 && nodeset_position(&s, 5) >= 0);
    /* Draining and broken nodes are no candidates; a dead one fills up. */
    for (int i = 2; i < 6; i++)
        d.nodes[i].storage = i % 2 ? STORAGE_READ_ONLY : STORAGE_DATA_LOSS;
    assert_int_equal(nodeset_select(&d, &wish, &s, NULL), RC_OK);
    assert_int_equal(s.len, 2);
    d.nodes[0].storage = STORAGE_READ_ONLY;
    struct err err = {0};
    assert_int_equal(nodeset_select(&d, &wish, &s, &err), RC_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "Insufficient writeable nodes in the nodeset"));
    node_directory_free(&d);
}

static void node_sets_spread_over_zones(void **state)
{
    const char *places[] = {"r.a", "r.a", "r.a", "r.a", "r.b", "r.b", "r.c", "r.c"};
    struct node_directory d = cluster(places, 8);
    struct nodeset_wish wish = {.replication = parse("{node: 3, zone: 2}"), .salt = 9};
    struct nodeset s;
    assert_int_equal(nodeset_select(&d, &wish, &s, NULL), RC_OK);
    unsigned in_zone[3] = {0};
    for (unsigned i = 0; i < s.len; i++)
        in_zone[node_directory_find(&d, s.ids[i])->location.zone[0] - 'a']++;
    for (int z = 0; z < 3; z++)
        assert_true(in_zone[z] >= 2); /* copies - factor + 1 */
    struct quorum q;
    quorum_init(&q, &wish.replication, &s, &d);
    for (unsigned lost = 0; lost < 3; lost++) { /* any whole zone may go */
        struct marks left = q.effective;
        for (unsigned i = 0; i < s.len; i++) {
            if (node_directory_find(&d, s.ids[i])->location.zone[0] == (char)('a' + lost))
                marks_remove(&left, i);
        }
        assert_true(quorum_is_write(&q, left) && quorum_is_f_majority(&q, left));
    }
    node_directory_free(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_are_parsed_and_printed),
        cmocka_unit_test(locations_are_parsed),
        cmocka_unit_test(plain_quorums_count_nodes),
        cmocka_unit_test(a_zone_counts_only_when_complete),
        cmocka_unit_test(storage_states_decide_who_counts),
        cmocka_unit_test(lemma_q),
        cmocka_unit_test(node_sets_are_chosen),
        cmocka_unit_test(node_sets_spread_over_zones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
