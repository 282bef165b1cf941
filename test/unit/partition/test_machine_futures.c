/* Proves when a suspended invocation resumes: flat sets and every combinator of the V7 trees, alone and
 * nested (spec/invocation-lifecycle.md §5.7, spec/service-protocol.md §8). */
#include "machine_fixture.h"

enum { UNKNOWN, FIRST, ALL, ANY_SUCCESS, ALL_SUCCESS };

/* Leaves are signals 20, 21, ...; `nested` is an encoded child or NULL. */
static struct writer future(int type, uint32_t first_leaf, uint32_t leaves, struct writer *nested)
{
    struct writer f = WRITER_INIT, packed = WRITER_INIT;
    for (uint32_t i = 0; i < leaves; i++)
        write_varint(&packed, first_leaf + i);
    if (leaves)
        pb_write_bytes(&f, 2, writer_slice(&packed));
    writer_free(&packed);
    if (nested) {
        pb_write_bytes_always(&f, 4, writer_slice(nested));
        writer_free(nested);
    }
    pb_write_u64(&f, 5, (uint64_t)type);
    return f;
}

static struct invocation_id suspended_on(struct fixture *fx, struct writer tree)
{
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    struct writer w = effects_of(id);
    effect_write(&w, &(struct effect){.kind = EFFECT_SUSPEND_TREE, .payload = writer_slice(&tree)});
    apply_effects(fx, &w);
    writer_free(&tree);
    return id;
}

static bool resumes_after(struct fixture *fx, struct invocation_id id, uint32_t leaf, bool success)
{
    struct bytes owner = BYTES_EMPTY;
    struct outcome o = {.kind = OUTCOME_VOID};
    if (!success)
        o = machine_failure(500, "x", &owner);
    signal_index(fx, id, leaf, o);
    bytes_unref(&owner);
    return status_of(fx, id) == INV_INVOKED;
}

static void any_child(void **state)
{
    struct fixture *fx = *state;
    for (int type = UNKNOWN; type <= FIRST; type++) {
        struct invocation_id id = suspended_on(fx, future(type, 20, 3, NULL));
        assert_int_equal(status_of(fx, id), INV_SUSPENDED);
        assert_int_equal(store_invocation_get(fx->store, id)->events.len, 1);
        assert_false(resumes_after(fx, id, 19, true));
        assert_true(resumes_after(fx, id, 21, false));
    }
}

static void all_children(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = suspended_on(fx, future(ALL, 20, 3, NULL));
    assert_false(resumes_after(fx, id, 20, false));
    assert_false(resumes_after(fx, id, 22, true));
    assert_true(resumes_after(fx, id, 21, true));
}

static void first_success_or_all_failed(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = suspended_on(fx, future(ANY_SUCCESS, 20, 3, NULL));
    assert_false(resumes_after(fx, id, 20, false));
    assert_true(resumes_after(fx, id, 21, true));
    id = suspended_on(fx, future(ANY_SUCCESS, 20, 2, NULL));
    assert_false(resumes_after(fx, id, 20, false));
    assert_true(resumes_after(fx, id, 21, false));
}

static void all_success_or_first_failure(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = suspended_on(fx, future(ALL_SUCCESS, 20, 3, NULL));
    assert_false(resumes_after(fx, id, 20, true));
    assert_true(resumes_after(fx, id, 22, false));
    id = suspended_on(fx, future(ALL_SUCCESS, 20, 2, NULL));
    assert_false(resumes_after(fx, id, 20, true));
    assert_true(resumes_after(fx, id, 21, true));
}

/* As release 1.7.12 writes it (the shape was captured from it). */
static void the_event_tells_the_tree(void **state)
{
    struct fixture *fx = *state;
    struct writer inner = future(ALL_SUCCESS, 20, 2, NULL);
    struct invocation_id id = suspended_on(fx, future(FIRST, 1, 1, &inner));
    const struct invocation *inv = store_invocation_get(fx->store, id);
    assert_int_equal(inv->events.len, 1);
    assert_true(slice_eq_cstr(
        bytes_slice(inv->events.items[0].json),
        "{\"ty\":\"Suspended\",\"awaiting_on\":{\"FirstCompleted\":[{\"Single\":{\"SignalIndex\":1}},"
        "{\"AllSucceededOrFirstFailed\":[{\"Single\":{\"SignalIndex\":20}},{\"Single\":{\"SignalIndex\":21}}]"
        "}]}}"));

    id = suspended_on(fx, future(ALL, 20, 20000, NULL)); /* too large to be kept twice */
    inv = store_invocation_get(fx->store, id);
    assert_true(slice_eq_cstr(bytes_slice(inv->events.items[0].json),
                              "{\"ty\":\"Suspended\",\"awaiting_on\":{\"Unknown\":[]}}"));
}

static void nested(void **state)
{
    struct fixture *fx = *state;
    /* cancel or all(20, 21): what SDKs send */
    struct writer inner = future(ALL, 20, 2, NULL);
    struct invocation_id id = suspended_on(fx, future(FIRST, 1, 1, &inner));
    assert_false(resumes_after(fx, id, 20, true));
    assert_true(resumes_after(fx, id, 21, true));
    inner = future(ALL, 20, 2, NULL);
    id = suspended_on(fx, future(FIRST, 1, 1, &inner));
    terminate(fx, id, false);
    assert_int_equal(status_of(fx, id), INV_INVOKED);

    /* all_success(30, race(20, 21)): the race passes the outcome of its winner up */
    inner = future(FIRST, 20, 2, NULL);
    id = suspended_on(fx, future(ALL_SUCCESS, 30, 1, &inner));
    assert_false(resumes_after(fx, id, 20, true));
    assert_false(resumes_after(fx, id, 21, false)); /* lost the race */
    assert_true(resumes_after(fx, id, 30, true));

    /* all_success(30, unknown(20)): undetermined where it matters, the SDK is asked */
    inner = future(UNKNOWN, 20, 1, NULL);
    id = suspended_on(fx, future(ALL_SUCCESS, 30, 1, &inner));
    assert_true(resumes_after(fx, id, 20, true));
    /* all(30, unknown(20)): the outcome does not matter */
    inner = future(UNKNOWN, 20, 1, NULL);
    id = suspended_on(fx, future(ALL, 30, 1, &inner));
    assert_false(resumes_after(fx, id, 20, true));
    assert_true(resumes_after(fx, id, 30, true));
}

static void decided_before_suspending(void **state)
{
    struct fixture *fx = *state;
    struct invocation_id id = invoke(fx, (struct invoke_options){0});
    signal_index(fx, id, 20, (struct outcome){.kind = OUTCOME_VOID});
    struct writer tree = future(ALL, 20, 1, NULL), w = effects_of(id);
    effect_write(&w, &(struct effect){.kind = EFFECT_SUSPEND_TREE, .payload = writer_slice(&tree)});
    apply_effects(fx, &w);
    writer_free(&tree);
    assert_int_equal(status_of(fx, id), INV_INVOKED);
    assert_int_equal(count_actions(fx, ACTION_INVOKE), 1);
}

static void tree_without_leaves_quarantines(void **state)
{
    struct fixture *fx = *state;
    struct writer inner = future(ALL, 0, 0, NULL);
    struct invocation_id id = suspended_on(fx, future(FIRST, 0, 0, &inner));
    assert_true(store_invocation_get(fx->store, id)->quarantined);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        CASE(any_child),
        CASE(all_children),
        CASE(first_success_or_all_failed),
        CASE(all_success_or_first_failure),
        CASE(the_event_tells_the_tree),
        CASE(nested),
        CASE(decided_before_suspending),
        CASE(tree_without_leaves_quarantines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
