/* The chain of a log: its operations keep the invariants of spec/cluster.md §5.1, and LSNs map to segments
 * and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "bifrost/chain.h"

static struct bytes params(const char *text)
{
    return bytes_copy(slice_cstr(text));
}

static enum rc extend(struct chain *c, uint32_t expected, lsn_t base)
{
    struct err err = {0};
    return chain_append_segment(c, expected, base, SEGMENT_REPLICATED, params("p"), &err);
}

static enum rc mark(struct chain *c, uint32_t expected, lsn_t tail)
{
    struct err err = {0};
    return chain_append_seal_marker(c, expected, tail, params("{}"), &err);
}

static void a_new_log_starts_at_lsn_1(void **state)
{
    struct chain c = chain_create(3, SEGMENT_LOCAL, params("x"));
    assert_int_equal(chain_first_lsn(&c), 1);
    assert_int_equal(chain_last_index(&c), 0);
    assert_int_equal(chain_tail(&c)->kind, SEGMENT_LOCAL);
    assert_int_equal(chain_loglet_id(3, 0), 3ull << 32);
    chain_free(&c);
}

static void segments_follow_at_the_tail(void **state)
{
    struct chain c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    assert_int_equal(extend(&c, 0, 1064), RC_OK);
    assert_int_equal(extend(&c, 1, 29709), RC_OK);
    assert_int_equal(c.len, 3);
    assert_int_equal(chain_last_index(&c), 2);
    struct {
        lsn_t lsn, end;
        uint32_t index;
        uint64_t offset;
    } cases[] = {{1, 1064, 0, 1},
                 {1063, 1064, 0, 1063},
                 {1064, 29709, 1, 1},
                 {29708, 29709, 1, 28645},
                 {30000, 0, 2, 292}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        lsn_t end;
        const struct chain_segment *s = chain_find(&c, cases[i].lsn, &end);
        assert_int_equal(s->index, cases[i].index);
        assert_int_equal(end, cases[i].end);
        assert_int_equal(chain_offset(s, cases[i].lsn), cases[i].offset);
        assert_int_equal(chain_lsn(s, cases[i].offset), cases[i].lsn);
    }
    chain_free(&c);
}

static void a_racing_writer_is_told(void **state)
{
    struct chain c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    assert_int_equal(extend(&c, 0, 10), RC_OK);
    assert_int_equal(extend(&c, 0, 10), RC_CONFLICT);
    assert_int_equal(mark(&c, 0, 10), RC_CONFLICT);
    assert_int_equal(extend(&c, 1, 9), RC_INVALID); /* bases never decrease */
    assert_int_equal(c.len, 2);
    chain_free(&c);
}

static void an_empty_segment_is_replaced(void **state)
{
    struct chain c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    assert_int_equal(extend(&c, 0, 10), RC_OK);
    assert_int_equal(extend(&c, 1, 10), RC_OK);
    assert_int_equal(c.len, 2);
    assert_int_equal(chain_last_index(&c), 2); /* indexes are not reused */
    lsn_t end;
    assert_int_equal(chain_find(&c, 10, &end)->index, 2);
    assert_int_equal(chain_find(&c, 9, &end)->index, 0);
    chain_free(&c);
    c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    assert_int_equal(extend(&c, 0, 1), RC_OK); /* also the first one */
    assert_int_equal(c.len, 1);
    assert_int_equal(chain_last_index(&c), 1);
    chain_free(&c);
}

static void a_seal_marker_ends_the_log_until_a_segment_follows(void **state)
{
    struct chain c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    assert_int_equal(mark(&c, 0, 50), RC_OK);
    assert_null(chain_tail(&c));
    assert_int_equal(chain_last_index(&c), 0);
    lsn_t end;
    assert_null(chain_find(&c, 50, &end));
    assert_int_equal(chain_find(&c, 49, &end)->index, 0);
    assert_int_equal(end, 50);
    assert_int_equal(mark(&c, 0, 50), RC_SEALED);
    assert_int_equal(extend(&c, 0, 51), RC_INVALID);
    assert_int_equal(extend(&c, 0, 50), RC_OK);
    assert_int_equal(chain_last_index(&c), 1);
    assert_int_equal(chain_find(&c, 50, &end)->index, 1);
    assert_int_equal(chain_find(&c, 49, &end)->index, 0);
    assert_int_equal(end, 50);
    chain_free(&c);
}

static void a_sealed_empty_log_can_go_on(void **state)
{
    struct chain c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    assert_int_equal(mark(&c, 0, 1), RC_OK);
    assert_int_equal(extend(&c, 0, 1), RC_OK);
    assert_int_equal(c.len, 1);
    assert_int_equal(chain_last_index(&c), 1);
    chain_free(&c);
}

static void trimming_drops_what_ends_below(void **state)
{
    struct chain c = chain_create(3, SEGMENT_REPLICATED, params("x"));
    extend(&c, 0, 10);
    extend(&c, 1, 20);
    struct chain before = chain_copy(&c);
    assert_int_equal(chain_trim_prefix(&c, 9), 0);
    assert_int_equal(chain_trim_prefix(&c, 10), 1);
    assert_int_equal(chain_first_lsn(&c), 10);
    lsn_t end;
    assert_null(chain_find(&c, 9, &end));
    assert_int_equal(chain_trim_prefix(&c, 1000), 1); /* never the last one */
    assert_int_equal(c.len, 1);
    assert_int_equal(before.len, 3);
    assert_true(slice_eq_cstr(bytes_slice(before.segments[0].params), "x"));
    chain_free(&before);
    chain_free(&c);
}

static void kinds_have_their_public_names(void **state)
{
    for (int k = 0; k <= SEGMENT_SEALED; k++) {
        enum segment_kind parsed;
        assert_true(segment_kind_parse(slice_cstr(segment_kind_name((enum segment_kind)k)), &parsed));
        assert_int_equal(parsed, k);
    }
    enum segment_kind parsed;
    assert_false(segment_kind_parse(SLICE_LIT("Local"), &parsed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_log_starts_at_lsn_1),
        cmocka_unit_test(segments_follow_at_the_tail),
        cmocka_unit_test(a_racing_writer_is_told),
        cmocka_unit_test(an_empty_segment_is_replaced),
        cmocka_unit_test(a_seal_marker_ends_the_log_until_a_segment_follows),
        cmocka_unit_test(a_sealed_empty_log_can_go_on),
        cmocka_unit_test(trimming_drops_what_ends_below),
        cmocka_unit_test(kinds_have_their_public_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
