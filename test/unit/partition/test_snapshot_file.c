/* Data files of snapshots: what is written is read back, and no damage goes unnoticed - every cut and every
 * flipped bit of a small file is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "partition/snapshot.h"
#include "partition/store_codec.h"
#include "sim/sim_env.h"

static struct bytes random_bytes(uint64_t rng[4], size_t len)
{
    struct buf *b = buf_new(len + 1);
    for (size_t i = 0; i < len; i++)
        b->data[i] = (uint8_t)sim_rng_next(rng);
    return bytes_take_buf(b, 0, len);
}

static void row(uint32_t n, char key[16])
{
    snprintf(key, 16, "\3%08u", n); /* a table that exists */
}

static size_t value_len(uint32_t n)
{
    return n % 1000 == 7 ? 600000 : n % 100;
}

static struct bytes sample(uint32_t rows, bool compressible)
{
    uint64_t rng[4];
    sim_rng_seed(rng, 5);
    struct snapshot_writer w;
    snapshot_writer_begin(&w, 7, 1234, 3);
    for (uint32_t i = 0; i < rows; i++) {
        char key[16];
        row(i, key);
        struct bytes v = random_bytes(rng, value_len(i));
        if (compressible)
            memset((uint8_t *)v.ptr, 'x', v.len);
        snapshot_writer_add(&w, slice_cstr(key), bytes_slice(v));
        bytes_unref(&v);
    }
    struct bytes file = snapshot_writer_finish(&w);
    snapshot_writer_free(&w);
    return file;
}

static void check_rows(struct bytes file, uint32_t rows)
{
    struct snapshot_reader r;
    struct err err = {0};
    assert_int_equal(snapshot_reader_open(&r, bytes_slice(file), &err), RC_OK);
    assert_int_equal(r.partition_id, 7);
    assert_int_equal(r.lsn, 1234);
    assert_int_equal(r.index, 3);
    struct slice k, v;
    for (uint32_t i = 0; i < rows; i++) {
        char key[16];
        row(i, key);
        assert_int_equal(snapshot_reader_next(&r, &k, &v, &err), RC_OK);
        assert_true(slice_eq_cstr(k, key));
        assert_int_equal(v.len, value_len(i));
    }
    assert_int_equal(snapshot_reader_next(&r, &k, &v, &err), RC_EOF);
    snapshot_reader_close(&r);
}

static void written_is_read(void **state)
{
    static const uint32_t counts[] = {0, 1, 8, 5000};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        for (int compressible = 0; compressible < 2; compressible++) {
            struct bytes file = sample(counts[i], compressible);
            check_rows(file, counts[i]);
            if (compressible && counts[i] == 5000)
                assert_true(file.len < 100000);
            uint64_t rows;
            struct err err = {0};
            assert_int_equal(snapshot_file_verify(bytes_slice(file), 7, 1234, 3, &rows, &err), RC_OK);
            assert_int_equal(rows, counts[i]);
            /* it says whose it is */
            assert_int_equal(snapshot_file_verify(bytes_slice(file), 8, 1234, 3, &rows, &err), RC_CORRUPT);
            assert_int_equal(snapshot_file_verify(bytes_slice(file), 7, 1235, 3, &rows, &err), RC_CORRUPT);
            assert_int_equal(snapshot_file_verify(bytes_slice(file), 7, 1234, 2, &rows, &err), RC_CORRUPT);
            bytes_unref(&file);
        }
    }
}

static enum rc verify(struct slice file)
{
    uint64_t rows;
    struct err err = {0};
    enum rc rc = snapshot_file_verify(file, 7, 1234, 3, &rows, &err);
    assert_true(rc == RC_OK || err.msg[0]);
    return rc;
}

static void every_damage_is_found(void **state)
{
    struct bytes file = sample(7, false); /* without the long value: small enough for every byte */
    for (size_t n = 0; n < file.len; n++) {
        struct bytes cut =
            bytes_copy(slice_sub(bytes_slice(file), 0, n)); /* a buffer of its own: ASan sees */
        assert_int_equal(verify(bytes_slice(cut)), RC_CORRUPT);
        bytes_unref(&cut);
    }
    struct bytes copy = bytes_copy(bytes_slice(file));
    for (size_t i = 0; i < copy.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            ((uint8_t *)copy.ptr)[i] ^= (uint8_t)(1 << bit);
            assert_int_not_equal(verify(bytes_slice(copy)), RC_OK);
            ((uint8_t *)copy.ptr)[i] ^= (uint8_t)(1 << bit);
        }
    }
    assert_int_equal(verify(bytes_slice(copy)), RC_OK);
    bytes_unref(&copy);
    struct writer w = WRITER_INIT;
    write_slice_raw(&w, bytes_slice(file));
    write_u8(&w, 0);
    assert_int_equal(verify(writer_slice(&w)), RC_CORRUPT);
    writer_free(&w);
    bytes_unref(&file);
}

static void rows_out_of_order_are_refused(void **state)
{
    static const char *const keys[][2] = {{"\3b", "\3a"}, {"\3a", "\3a"}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        for (int apart = 0; apart < 2; apart++) {
            struct bytes filler = apart ? bytes_take_buf(buf_new(300000), 0, 300000) : BYTES_EMPTY;
            if (apart)
                memset((uint8_t *)filler.ptr, 1, filler.len);
            struct snapshot_writer w;
            snapshot_writer_begin(&w, 7, 1234, 3);
            snapshot_writer_add(&w, slice_cstr(keys[i][0]), bytes_slice(filler)); /* ends its block */
            snapshot_writer_add(&w, slice_cstr(keys[i][1]), SLICE_EMPTY);
            struct bytes file = snapshot_writer_finish(&w);
            snapshot_writer_free(&w);
            assert_int_equal(verify(bytes_slice(file)), RC_CORRUPT);
            bytes_unref(&file);
            bytes_unref(&filler);
        }
    }
}

/* What an import relies on: the first row of all is the variables of that LSN, and every table is known. */
static void rows_are_checked(void **state)
{
    struct stored_vars v = {.vars.applied_lsn = 1234};
    struct writer vars = WRITER_INIT;
    stored_vars_encode(&vars, &v);
    _Static_assert(TABLE_LAST == 17, "the table that nobody knows, 18 below, is the one after the last");
    static const struct {
        const char *first, *second;
        uint32_t index;
        lsn_t lsn;
        enum rc rc;
    } cases[] = {
        {"\1", "\3a", 0, 1234, RC_OK},       {"\1", "\3a", 0, 1235, RC_CORRUPT},
        {"\1", "\1\1", 0, 1234, RC_CORRUPT}, {"\3a", "\3b", 0, 1234, RC_CORRUPT},
        {"\1", "\3a", 1, 1234, RC_CORRUPT},  {"\1", "\22", 0, 1234, RC_UNSUPPORTED},
        {NULL, NULL, 0, 1234, RC_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct snapshot_writer w;
        snapshot_writer_begin(&w, 7, cases[i].lsn, cases[i].index);
        if (cases[i].first) {
            snapshot_writer_add(&w, slice_cstr(cases[i].first), writer_slice(&vars));
            snapshot_writer_add(&w, slice_cstr(cases[i].second), SLICE_LIT("x"));
        }
        struct bytes file = snapshot_writer_finish(&w);
        snapshot_writer_free(&w);
        uint64_t rows;
        struct err err = {0};
        assert_int_equal(
            snapshot_file_verify(bytes_slice(file), 7, cases[i].lsn, cases[i].index, &rows, &err),
            cases[i].rc);
        bytes_unref(&file);
    }
    writer_free(&vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(every_damage_is_found),
        cmocka_unit_test(rows_out_of_order_are_refused),
        cmocka_unit_test(rows_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
