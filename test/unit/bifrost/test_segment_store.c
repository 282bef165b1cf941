/* The segment store on a disk in memory: what was committed can be read, survives reopening, is trimmed,
 * rewritten and recycled; disk use stays within a factor of the live data; a full disk refuses appends and
 * nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "bifrost/disk_memory.h"
#include "bifrost/segment_store.h"

static const struct segment_store_options small = {
    .random = 42, .first_segment_bytes = 64 << 10, .max_segment_bytes = 256 << 10, .reserve_bytes = 64 << 10};

static struct segment_store *open_store(struct disk *d)
{
    static uint64_t salt = 1;
    struct segment_store_options o = small;
    o.random = salt++;
    struct segment_store *s;
    struct err err = {0};
    enum rc rc = segment_store_open(d, &o, &s, &err);
    if (rc != RC_OK)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, RC_OK);
    return s;
}

static struct segment_store *reopen(struct segment_store *s, struct disk *d)
{
    segment_store_close(s);
    return open_store(d);
}

/* The body of a record follows from its loglet, offset and length. */
static uint8_t *body_of(uint64_t loglet, uint64_t offset, size_t len)
{
    uint8_t *p = malloc(len + 16);
    uint64_t x = loglet * 1000003 + offset * 7919 + 1;
    for (size_t i = 0; i < len; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        p[i] = (uint8_t)x;
    }
    return p;
}

static void put(struct segment_store *s, uint64_t loglet, uint64_t offset, size_t len)
{
    uint8_t *p = body_of(loglet, offset, len);
    segment_store_put(s, loglet, offset, slice_make(p, len));
    free(p);
}

static enum rc append(struct segment_store *s, uint64_t loglet, uint64_t first, size_t n, size_t len)
{
    struct err err = {0};
    enum rc rc = segment_store_begin(s, SEGMENT_ROOM_DATA, n, n * len, &err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < n; i++)
        put(s, loglet, first + i, len);
    return segment_store_commit(s, &err);
}

static enum rc trim(struct segment_store *s, uint64_t loglet, uint64_t upto)
{
    struct err err = {0};
    enum rc rc = segment_store_begin(s, SEGMENT_ROOM_CONTROL, 1, 0, &err);
    if (rc != RC_OK)
        return rc;
    segment_store_put_trim(s, loglet, upto);
    return segment_store_commit(s, &err);
}

static void housekeep(struct segment_store *s)
{
    struct err err = {0};
    enum rc rc;
    while ((rc = segment_store_housekeep(s, &err)) == RC_OK)
        ;
    if (rc != RC_AGAIN)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, RC_AGAIN);
}

static void check_body(const struct stored_record *r, uint64_t loglet, size_t len)
{
    uint8_t *p = body_of(loglet, r->offset, len);
    assert_int_equal(r->body.len, len);
    assert_memory_equal(r->body.ptr, p, len);
    free(p);
}

/* Offsets from..to are there, each with the expected body, and none after `to`. */
static void check_range(struct segment_store *s, uint64_t loglet, uint64_t from, uint64_t to, size_t len)
{
    struct stored_records out = {0};
    struct err err = {0};
    uint64_t next = from;
    enum rc rc;
    while ((rc = segment_store_read(s, loglet, next, 10000, &out, &err)) == RC_OK) {
        for (size_t i = 0; i < out.len; i++) {
            assert_int_equal(out.items[i].offset, next);
            check_body(&out.items[i], loglet, len);
            next++;
        }
        stored_records_clear(&out);
    }
    if (rc != RC_AGAIN)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, RC_AGAIN);
    assert_int_equal(next, to + 1);
    stored_records_free(&out);
}

static void appended_records_are_read_back_also_after_reopening(void **state)
{
    for (size_t block = 512; block <= 4096; block *= 8) {
        struct disk *d = disk_memory_new(block);
        struct segment_store *s = open_store(d);
        for (uint64_t i = 0; i < 50; i++)
            assert_int_equal(append(s, 7, 1 + i * 10, 10, 100), RC_OK);
        check_range(s, 7, 1, 500, 100);
        check_range(s, 7, 333, 500, 100);
        s = reopen(s, d);
        check_range(s, 7, 1, 500, 100);
        struct loglet_info info;
        assert_int_equal(segment_store_info(s, 7, &info), RC_OK);
        assert_int_equal(info.tail, 501);
        assert_int_equal(segment_store_info(s, 8, &info), RC_NOT_FOUND);
        assert_int_equal(append(s, 7, 501, 1, 100), RC_OK);
        check_range(s, 7, 499, 501, 100);
        segment_store_close(s);
        d->ops->free(d);
    }
}

static void one_commit_is_one_write(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    uint64_t writes = d->writes;
    struct err err = {0};
    assert_int_equal(segment_store_begin(s, SEGMENT_ROOM_DATA, 100, 100 * 20, &err), RC_OK);
    for (uint64_t l = 1; l <= 100; l++)
        put(s, l, 1, 20);
    assert_int_equal(segment_store_commit(s, &err), RC_OK);
    assert_int_equal(d->writes, writes + 1);
    segment_store_close(s);
    d->ops->free(d);
}

static void many_loglets_over_many_segments(void **state)
{
    struct disk *d = disk_memory_new(512);
    struct segment_store *s = open_store(d);
    struct err err = {0};
    for (uint64_t round = 1; round <= 200; round++) {
        assert_int_equal(segment_store_begin(s, SEGMENT_ROOM_DATA, 128 * 2, 128 * 2 * 30, &err), RC_OK);
        for (uint64_t l = 1; l <= 128; l++) {
            put(s, l << 32, round * 2 - 1, 30);
            put(s, l << 32, round * 2, 30);
        }
        assert_int_equal(segment_store_commit(s, &err), RC_OK);
        if (round % 3 == 0)
            segment_store_prepare(s, &err);
        if (round % 50 == 0)
            housekeep(s);
        if (round % 70 == 0)
            s = reopen(s, d);
    }
    struct segment_store_stats stats;
    segment_store_get_stats(s, &stats);
    assert_true(stats.segments > 5);
    for (int pass = 0; pass < 3; pass++) {
        for (uint64_t l = 1; l <= 128; l++)
            check_range(s, l << 32, 1, 400, 30);
        housekeep(s);
        s = reopen(s, d);
    }
    segment_store_close(s);
    d->ops->free(d);
}

static void footers_save_reading_the_segments(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    for (uint64_t i = 0; i < 300; i++)
        assert_int_equal(append(s, 1, 1 + i, 1, 3000), RC_OK);
    housekeep(s);
    s = reopen(s, d);
    /* Damage in the records of a closed segment is not met by an opening that goes by the footer, only by
     * reading. */
    size_t len;
    uint8_t *file = disk_memory_content(d, "segment-0000000000000002", &len);
    file[20480 + 100] ^= 1;
    s = reopen(s, d);
    struct stored_records out = {0};
    struct err err = {0};
    uint64_t next = 1;
    enum rc rc;
    while ((rc = segment_store_read(s, 1, next, 1 << 20, &out, &err)) == RC_OK)
        next = out.items[out.len - 1].offset + 1;
    assert_int_equal(rc, RC_CORRUPT);
    assert_non_null(strstr(err.msg, "segment-0000000000000002"));
    stored_records_free(&out);
    segment_store_close(s);
    d->ops->free(d);
}

static void large_records_get_a_segment_that_fits(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    size_t lens[] = {60000, 65536, 100000, 262144, 1 << 20, (32 << 20) + 4096};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++)
        assert_int_equal(append(s, 9, i + 1, 1, lens[i]), RC_OK);
    for (int pass = 0; pass < 2; pass++) {
        struct stored_records out = {0};
        struct err err = {0};
        for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
            assert_int_equal(segment_store_read(s, 9, i + 1, 1, &out, &err), RC_OK);
            assert_int_equal(out.len, 1);
            check_body(&out.items[0], 9, lens[i]);
            stored_records_clear(&out);
        }
        stored_records_free(&out);
        housekeep(s);
        s = reopen(s, d);
    }
    segment_store_close(s);
    d->ops->free(d);
}

/* Every size of a record fits somewhere: the arithmetic of roll and fits agrees. */
static void every_size_fits(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    uint64_t offset = 1;
    for (size_t len = 1; len < (5 << 20); len = len * 9 / 8 + 1) {
        assert_int_equal(append(s, 1, offset, 1, len), RC_OK);
        assert_int_equal(trim(s, 1, offset), RC_OK);
        housekeep(s);
        offset++;
    }
    segment_store_close(s);
    d->ops->free(d);
}

static void metadata_survives_the_segments_it_was_written_in(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    struct err err = {0};
    assert_int_equal(append(s, 5, 1, 3, 100), RC_OK);
    assert_int_equal(segment_store_begin(s, SEGMENT_ROOM_CONTROL, 3, 5, &err), RC_OK);
    segment_store_put_meta(s, 5, SLICE_LIT("N1:2!"));
    segment_store_put_seal(s, 5);
    segment_store_put_trim(s, 5, 3);
    assert_int_equal(segment_store_commit(s, &err), RC_OK);
    for (uint64_t i = 1; i < 300; i++) {
        assert_int_equal(append(s, 6, i, 1, 5000), RC_OK);
        assert_int_equal(trim(s, 6, i), RC_OK);
        housekeep(s);
    }
    size_t len;
    assert_null(disk_memory_content(d, "segment-0000000000000001", &len));
    for (int pass = 0; pass < 2; pass++) {
        struct loglet_info info;
        assert_int_equal(segment_store_info(s, 5, &info), RC_OK);
        assert_true(info.sealed);
        assert_int_equal(info.trim_point, 3);
        assert_int_equal(info.tail, 4);
        assert_true(slice_eq_cstr(info.meta, "N1:2!"));
        s = reopen(s, d);
    }
    assert_int_equal(segment_store_begin(s, SEGMENT_ROOM_CONTROL, 1, 0, &err), RC_OK);
    segment_store_put_drop(s, 5);
    assert_int_equal(segment_store_commit(s, &err), RC_OK);
    s = reopen(s, d);
    struct loglet_info info;
    assert_int_equal(segment_store_info(s, 5, &info), RC_NOT_FOUND);
    segment_store_close(s);
    d->ops->free(d);
}

static void reading_below_the_trim_point_says_so(void **state)
{
    struct disk *d = disk_memory_new(512);
    struct segment_store *s = open_store(d);
    assert_int_equal(append(s, 1, 1, 10, 100), RC_OK);
    assert_int_equal(trim(s, 1, 4), RC_OK);
    assert_int_equal(trim(s, 1, 2), RC_OK); /* merged by maximum */
    struct stored_records out = {0};
    for (int pass = 0; pass < 2; pass++) {
        struct err err = {0};
        assert_int_equal(segment_store_read(s, 1, 4, 100, &out, &err), RC_TRIMMED);
        check_range(s, 1, 5, 10, 100);
        s = reopen(s, d);
    }
    segment_store_close(s);
    d->ops->free(d);
}

/* Stores of a repair may fill gaps below the tail, in any order. */
static void gaps_may_be_filled_later(void **state)
{
    struct disk *d = disk_memory_new(512);
    struct segment_store *s = open_store(d);
    static const uint64_t order[] = {1, 2, 5, 6, 9, 4, 3, 12, 8, 7, 10};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_false(segment_store_has(s, 3, order[i]));
        assert_int_equal(append(s, 3, order[i], 1, 50), RC_OK);
        assert_true(segment_store_has(s, 3, order[i]));
    }
    for (int pass = 0; pass < 2; pass++) {
        uint64_t first, last;
        assert_true(segment_store_extent(s, 3, 1, &first, &last));
        assert_int_equal(first, 1);
        assert_int_equal(last, 10);
        assert_true(segment_store_extent(s, 3, 11, &first, &last));
        assert_int_equal(first, 12);
        struct stored_records out = {0};
        struct err err = {0};
        assert_int_equal(segment_store_read(s, 3, 1, 1 << 20, &out, &err), RC_OK);
        assert_int_equal(out.len, 11);
        for (size_t i = 0; i < out.len; i++)
            check_body(&out.items[i], 3, 50);
        stored_records_free(&out);
        for (uint64_t i = 0; i < 200; i++)
            assert_int_equal(append(s, 4, 1 + i + 200 * (uint64_t)pass, 1, 2000), RC_OK);
        housekeep(s);
        s = reopen(s, d);
    }
    segment_store_close(s);
    d->ops->free(d);
}

/* One loglet keeps everything, another one writes and trims: the segments that the first one pins are
 * rewritten. */
static void disk_use_stays_within_a_factor_of_live_data(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    struct segment_store_stats stats;
    uint64_t kept = 0, peak = 0;
    struct err err = {0};
    for (uint64_t i = 1; i <= 4000; i++) {
        assert_int_equal(append(s, 1, i, 1, 3000), RC_OK);
        if (i % 20 == 0)
            assert_int_equal(append(s, 2, ++kept, 1, 200), RC_OK);
        if (i % 10 == 0)
            assert_int_equal(trim(s, 1, i - 5), RC_OK);
        segment_store_prepare(s, &err);
        if (i % 4 == 0)
            assert_true(segment_store_housekeep(s, &err) <= RC_AGAIN);
        segment_store_get_stats(s, &stats);
        peak = MAX(peak, stats.file_bytes);
        if (i % 1000 == 0)
            s = reopen(s, d);
    }
    housekeep(s);
    check_range(s, 2, 1, kept, 200);
    check_range(s, 1, 3996, 4000, 3000);
    segment_store_get_stats(s, &stats);
    /* 16 MiB went through; 46 KiB are live. Five times that, plus: active, two spares, reserve, one on its
     * way. */
    assert_true(stats.file_bytes <= 5 * stats.live_bytes + 4 * small.max_segment_bytes + small.reserve_bytes);
    assert_true(peak <= 5 * stats.live_bytes + 6 * small.max_segment_bytes + small.reserve_bytes);
    size_t checkpoint = 0;
    disk_memory_content(d, "checkpoint", &checkpoint);
    assert_int_equal(stats.file_bytes + checkpoint, disk_memory_used(d));
    s = reopen(s, d);
    check_range(s, 2, 1, kept, 200);
    segment_store_close(s);
    d->ops->free(d);
}

static void small_commits_are_packed_by_rewriting(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    struct segment_store_stats stats;
    for (uint64_t i = 1; i <= 2000; i++) {
        assert_int_equal(append(s, 1, i, 1, 50), RC_OK);
        housekeep(s);
    }
    segment_store_get_stats(s, &stats);
    assert_true(stats.file_bytes < 2000 * 4096 / 4);
    check_range(s, 1, 1, 2000, 50);
    s = reopen(s, d);
    check_range(s, 1, 1, 2000, 50);
    segment_store_close(s);
    d->ops->free(d);
}

/* B18: on a full disk appends are refused; reads and trims go on, even after a restart; space that returns is
 * used. */
static void full_disk_refuses_appends_and_recovers_by_itself(void **state)
{
    struct disk *d = disk_memory_new(4096);
    disk_memory_set_capacity(d, 1 << 20);
    struct segment_store *s = open_store(d);
    struct err err = {0};
    uint64_t last = 0;
    enum rc rc;
    while ((rc = append(s, 1, last + 1, 1, 3000)) == RC_OK) {
        last++;
        segment_store_prepare(s, &err);
        segment_store_housekeep(s, &err);
    }
    assert_int_equal(rc, RC_NO_SPACE);
    assert_true(segment_store_full(s));
    assert_true(last > 100);
    check_range(s, 1, 1, last, 3000);
    s = reopen(s, d);
    check_range(s, 1, 1, last, 3000);
    while (append(s, 1, last + 1, 1, 3000) == RC_OK) /* a restart may find a little room */
        last++;
    assert_int_equal(append(s, 1, last + 1, 1, 3000), RC_NO_SPACE);
    /* Very many trims that free nothing: the reserve takes them. */
    for (int i = 0; i < 12; i++)
        assert_int_equal(trim(s, 2, 1 + (uint64_t)i), RC_OK);
    assert_int_equal(append(s, 1, last + 1, 1, 3000), RC_NO_SPACE);
    assert_int_equal(trim(s, 1, last - 10), RC_OK);
    for (int i = 0; i < 20; i++) {
        segment_store_housekeep(s, &err);
        segment_store_prepare(s, &err);
    }
    assert_false(segment_store_full(s));
    assert_int_equal(append(s, 1, last + 1, 1, 3000), RC_OK);
    s = reopen(s, d);
    check_range(s, 1, last - 9, last + 1, 3000);
    segment_store_close(s);
    d->ops->free(d);
}

/* A batch that is larger than the files at hand: they do not count as space, and do not stand in its way. */
static void a_full_disk_recovers_for_a_batch_larger_than_its_spares(void **state)
{
    struct disk *d = disk_memory_new(4096);
    disk_memory_set_capacity(d, 2 << 20);
    struct segment_store *s = open_store(d);
    struct err err = {0};
    uint64_t last = 0;
    while (append(s, 1, last + 1, 200, 3000) == RC_OK) {
        last += 200;
        while (segment_store_prepare(s, &err) == RC_OK) /* a spare and the reserve */
            ;
    }
    assert_true(segment_store_full(s) && last >= 200);
    assert_int_equal(trim(s, 1, last), RC_OK);
    for (int i = 0; i < 40; i++) {
        segment_store_housekeep(s, &err);
        segment_store_prepare(s, &err);
    }
    assert_false(segment_store_full(s));
    assert_int_equal(append(s, 1, last + 1, 200, 3000), RC_OK);
    check_range(s, 1, last + 1, last + 200, 3000);
    segment_store_close(s);
    d->ops->free(d);
}

static void files_are_recycled_not_rewritten_with_zeros(void **state)
{
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    struct err err = {0};
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(append(s, 1, i, 1, 3000), RC_OK);
        assert_int_equal(trim(s, 1, i), RC_OK);
        housekeep(s);
        segment_store_prepare(s, &err);
    }
    assert_true(disk_memory_used(d) <= 4 * small.max_segment_bytes + small.reserve_bytes);
    segment_store_close(s);
    d->ops->free(d);
}

/* A replica on another node reads what was written a moment ago, batch by batch: that costs no I/O, also over
 * the ends of windows and segments, and nothing is kept when nobody reads. */
static void who_reads_behind_the_writer_reads_no_disk(void **state)
{
    enum { N = 300, LEN = 20000 };
    struct disk *d = disk_memory_new(512);
    struct segment_store *s = open_store(d);
    assert_int_equal(append(s, 1, 1, 1, LEN), RC_OK);
    check_range(s, 1, 1, 1, LEN); /* from the disk: nobody had read before */
    uint64_t reads = disk_memory_reads(d);
    assert_true(reads > 0);
    for (uint64_t i = 2; i <= N; i++) {
        assert_int_equal(append(s, 1, i, 1, LEN), RC_OK);
        check_range(s, 1, i, i, LEN);
    }
    assert_int_equal(disk_memory_reads(d), reads);
    check_range(s, 1, 1, N, LEN); /* who lags reads the disk, and the same */
    assert_true(disk_memory_reads(d) > reads);
    segment_store_forget_reads(s);
    assert_int_equal(append(s, 1, N + 1, 1, LEN), RC_OK);
    reads = disk_memory_reads(d);
    check_range(s, 1, N + 1, N + 1, LEN);
    assert_true(disk_memory_reads(d) > reads);
    segment_store_close(s);
    d->ops->free(d);
}

static void large_batches_are_kept_whole(void **state)
{
    static const size_t lens[] = {100, 700 << 10, 3 << 20, 5, 900 << 10, 900 << 10};
    struct disk *d = disk_memory_new(4096);
    struct segment_store *s = open_store(d);
    assert_int_equal(append(s, 1, 1, 1, 10), RC_OK);
    check_range(s, 1, 1, 1, 10);
    uint64_t reads = disk_memory_reads(d);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        struct stored_records out = {0};
        struct err err = {0};
        assert_int_equal(append(s, 2, 1 + i, 1, lens[i]), RC_OK);
        assert_int_equal(segment_store_read(s, 2, 1 + i, 1, &out, &err), RC_OK);
        assert_int_equal(out.len, 1);
        check_body(&out.items[0], 2, lens[i]);
        stored_records_free(&out);
    }
    assert_int_equal(disk_memory_reads(d), reads);
    segment_store_close(s);
    d->ops->free(d);
}

static void drop_line(void *ctx, enum log_level level, struct slice line) {}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_records_are_read_back_also_after_reopening),
        cmocka_unit_test(one_commit_is_one_write),
        cmocka_unit_test(many_loglets_over_many_segments),
        cmocka_unit_test(footers_save_reading_the_segments),
        cmocka_unit_test(large_records_get_a_segment_that_fits),
        cmocka_unit_test(every_size_fits),
        cmocka_unit_test(metadata_survives_the_segments_it_was_written_in),
        cmocka_unit_test(reading_below_the_trim_point_says_so),
        cmocka_unit_test(gaps_may_be_filled_later),
        cmocka_unit_test(disk_use_stays_within_a_factor_of_live_data),
        cmocka_unit_test(small_commits_are_packed_by_rewriting),
        cmocka_unit_test(full_disk_refuses_appends_and_recovers_by_itself),
        cmocka_unit_test(a_full_disk_recovers_for_a_batch_larger_than_its_spares),
        cmocka_unit_test(files_are_recycled_not_rewritten_with_zeros),
        cmocka_unit_test(who_reads_behind_the_writer_reads_no_disk),
        cmocka_unit_test(large_batches_are_kept_whole),
    };
    log_set_sink(drop_line, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
