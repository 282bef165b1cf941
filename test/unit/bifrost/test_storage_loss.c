/* An empty disk under a known name (BETTER B14): when the other copies suffice, and what the metadata
 * remembers of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "bifrost/replicated_params.h"
#include "bifrost/storage_loss.h"

#define NODES 5

static struct {
    struct arena arena;
    struct nodes_config nodes;
    struct node_entry entries[NODES];
    struct logs_config logs;
    struct log_chain chains[2];
    struct log_segment segments[2][3];
    struct storage_generations generations;
} w;

static int setup(void **state)
{
    memset(&w, 0, sizeof(w));
    for (uint32_t i = 0; i < NODES; i++)
        w.entries[i] = (struct node_entry){.id = i + 1,
                                           .generation = 1,
                                           .name = "n",
                                           .location = "",
                                           .roles = ROLE_LOG_SERVER,
                                           .storage = STORAGE_READ_WRITE};
    w.nodes = (struct nodes_config){.nodes = w.entries, .n_nodes = NODES};
    w.logs.chains = w.chains;
    for (uint32_t i = 0; i < 2; i++)
        w.chains[i] = (struct log_chain){.log_id = 7 * i, .segments = w.segments[i]};
    return 0;
}

static int teardown(void **state)
{
    arena_free(&w.arena);
    return 0;
}

/* The next segment of chain `c`. */
static void segment(unsigned c, uint32_t index, uint8_t copies, const uint32_t *nodeset, size_t n)
{
    struct log_chain *chain = &w.chains[c];
    struct replication r = replication_nodes(copies);
    w.segments[c][chain->n_segments] = (struct log_segment){
        .base_lsn = 1 + 10 * chain->n_segments,
        .kind = SEGMENT_REPLICATED,
        .index = index,
        .params = replicated_params(&w.arena, loglet_id_make(chain->log_id, index), 1, 1, &r, nodeset, n)};
    chain->n_segments++;
    w.logs.n_chains = c + 1;
}
#define SEGMENT(c, index, copies, ...)                                                                       \
    segment(c, index, copies, (const uint32_t[]){__VA_ARGS__},                                               \
            sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static enum rc check(uint32_t node, struct err *err)
{
    *err = (struct err){0};
    return storage_loss_check(&w.nodes, &w.logs, &w.generations, node, err);
}

static void one_copy_of_two_may_go(void **state)
{
    struct err err;
    SEGMENT(0, 0, 2, 1, 2, 3);
    SEGMENT(0, 1, 2, 1, 2); /* as many nodes as copies: each has all */
    for (uint32_t node = 1; node <= NODES; node++)
        assert_int_equal(check(node, &err), RC_OK);
    w.entries[1].storage = STORAGE_DATA_LOSS;
    assert_int_equal(check(1, &err), RC_UNAVAILABLE);
    assert_non_null(strstr(err.msg, "log 0, segment 0_0 (and of 1 more segments)"));
    assert_non_null(strstr(err.msg, "{node: 2} on the nodes N1, N2, N3, of which N3 still has"));
    assert_int_equal(check(2, &err), RC_OK); /* its own state says nothing of the others */
    assert_int_equal(check(4, &err), RC_OK);
    w.entries[1].storage = STORAGE_DISABLED; /* by force: that does not make the rest know more */
    assert_int_equal(check(1, &err), RC_UNAVAILABLE);
    w.entries[1].tombstone = true;
    w.entries[1].storage = STORAGE_READ_WRITE;
    assert_int_equal(check(1, &err), RC_UNAVAILABLE);
}

static void one_copy_alone_may_not(void **state)
{
    struct err err;
    SEGMENT(0, 4, 1, 2, 3);
    assert_int_equal(check(1, &err), RC_OK);
    assert_int_equal(check(2, &err), RC_UNAVAILABLE);
    assert_int_equal(check(3, &err), RC_UNAVAILABLE);
}

static void two_of_three_copies_may_go(void **state)
{
    struct err err;
    SEGMENT(0, 0, 3, 1, 2, 3, 4, 5);
    w.entries[4].storage = STORAGE_DATA_LOSS;
    assert_int_equal(check(1, &err), RC_OK);
    w.entries[3].storage = STORAGE_DATA_LOSS;
    assert_int_equal(check(1, &err), RC_UNAVAILABLE);
}

/* A node that came back counts for the segments that began since, not for those before. */
static void what_others_lost_before_counts(void **state)
{
    struct err err;
    SEGMENT(0, 3, 2, 1, 2, 3);
    SEGMENT(1, 5, 2, 1, 2, 3);
    struct storage_generation back = {.node_id = 2, .created_at = 1000};
    storage_loss_everything(&w.arena, &w.logs, &back);
    assert_int_equal(back.n_lost, 2);
    storage_generations_put(&w.arena, &w.generations, &back);
    assert_int_equal(check(1, &err), RC_UNAVAILABLE);
    assert_int_equal(check(2, &err), RC_OK); /* a second time: nothing more is lost */
    w.chains[0].n_segments = w.chains[1].n_segments = 0;
    SEGMENT(0, 4, 2, 1, 2, 3);
    SEGMENT(1, 6, 2, 1, 2, 3);
    assert_int_equal(check(1, &err), RC_OK);
}

static void a_loss_names_all_segments_that_exist(void **state)
{
    SEGMENT(0, 3, 2, 1, 2, 3);
    SEGMENT(0, 4, 2, 1, 2, 3);
    SEGMENT(1, 0, 2, 1, 2, 3);
    struct storage_generation g = {.node_id = 3};
    storage_loss_everything(&w.arena, &w.logs, &g);
    assert_true(storage_generation_lost(&g, 0, 0)); /* trimmed before: its seal may be lost too */
    assert_true(storage_generation_lost(&g, 0, 4));
    assert_false(storage_generation_lost(&g, 0, 5));
    assert_true(storage_generation_lost(&g, 7, 0));
    assert_false(storage_generation_lost(&g, 7, 1));
    assert_false(storage_generation_lost(&g, 8, 0));
    assert_false(storage_generation_lost(NULL, 0, 0));
}

static void parameters_that_cannot_be_read_decide_nothing(void **state)
{
    struct err err;
    SEGMENT(0, 0, 2, 1, 2, 3);
    w.segments[0][0].params = "{}";
    assert_int_equal(check(1, &err), RC_CORRUPT);
}

static void generations_are_stored(void **state)
{
    struct storage_generations g = {0}, read;
    struct lost_log lost[] = {{0, 4}, {65535, UINT32_MAX}};
    struct err err = {0};
    storage_generations_put(&w.arena, &g, &(struct storage_generation){3, 1764400000000, lost, 2});
    storage_generations_put(&w.arena, &g, &(struct storage_generation){1, 5, NULL, 0});
    storage_generations_put(&w.arena, &g, &(struct storage_generation){3, 1764400000001, lost, 1});
    assert_int_equal(g.version, 3);
    struct writer out = WRITER_INIT;
    storage_generations_encode(&out, &g);
    assert_int_equal(storage_generations_decode(&w.arena, writer_slice(&out), &read, &err), RC_OK);
    assert_int_equal(read.version, 3);
    assert_int_equal(read.n_nodes, 2);
    assert_null(storage_generation_of(&read, 2));
    const struct storage_generation *n = storage_generation_of(&read, 3);
    assert_int_equal(n->created_at, 1764400000001);
    assert_int_equal(n->n_lost, 1);
    assert_int_equal(n->lost[0].last_index, 4);
    for (size_t cut = 0; cut < out.len; cut++) {
        struct slice part = slice_sub(writer_slice(&out), 0, cut);
        assert_int_equal(storage_generations_decode(&w.arena, part, &read, &err), RC_CORRUPT);
    }
    writer_free(&out);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(one_copy_of_two_may_go),
        CASE(one_copy_alone_may_not),
        CASE(two_of_three_copies_may_go),
        CASE(what_others_lost_before_counts),
        CASE(a_loss_names_all_segments_that_exist),
        CASE(parameters_that_cannot_be_read_decide_nothing),
        CASE(generations_are_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
