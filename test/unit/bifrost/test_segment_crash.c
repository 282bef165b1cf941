/* The segment store after crashes and damage. A script of appends, trims, preparation and housekeeping runs
 * on a disk in memory that crashes during each of its operations, with the last write torn in many ways:
 * after reopening everything acknowledged is there, an unacknowledged batch is there completely or not at
 * all, and the store goes on working. Then bytes are flipped everywhere: damage is reported, never skipped or
 * returned as data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "bifrost/disk_memory.h"
#include "bifrost/segment_store.h"

#define LOGLETS 3

/* What the writer knows. */
struct model {
    uint64_t tail[LOGLETS], trim[LOGLETS];           /* acknowledged */
    uint64_t want_tail[LOGLETS], want_trim[LOGLETS]; /* with the batch whose commit failed */
    uint64_t random;
    bool keep; /* never trim */
};

static uint64_t next_random(struct model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

static size_t body_len(uint64_t loglet, uint64_t offset)
{
    return offset % 11 == 0 ? 3000 + loglet : 40 + (offset * 37 + loglet) % 500;
}

static void fill_body(uint8_t *p, size_t len, uint64_t loglet, uint64_t offset)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(offset * 13 + loglet * 101 + i * 7);
}

static struct segment_store *open_store(struct disk *d, enum rc *rc, struct err *err)
{
    static uint64_t salt = 1000;
    struct segment_store_options o = {.random = salt++,
                                      .first_segment_bytes = 32 << 10,
                                      .max_segment_bytes = 64 << 10,
                                      .reserve_bytes = 32 << 10,
                                      .rewrite_percent = 40};
    struct segment_store *s = NULL;
    *err = (struct err){0};
    *rc = segment_store_open(d, &o, &s, err);
    return s;
}

static struct segment_store *must_open(struct disk *d)
{
    enum rc rc;
    struct err err;
    struct segment_store *s = open_store(d, &rc, &err);
    if (rc != RC_OK)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, RC_OK);
    return s;
}

static void put_record(struct segment_store *s, uint64_t l, uint64_t offset)
{
    uint8_t body[4000];
    fill_body(body, body_len(l, offset), l, offset);
    segment_store_put(s, l, offset, slice_make(body, body_len(l, offset)));
}

/* What the random number `r` says that loglet `l` does in a batch; only counted if there is no store. */
static void batch_part(struct segment_store *s, struct model *m, uint64_t r, uint64_t l, size_t *entries,
                       uint64_t *bytes)
{
    bool trims = r % 8 == 3;
    if (trims && l != 2) { /* loglet 2 is never trimmed: its segments are rewritten */
        if (!m->keep)
            m->want_trim[l] = MAX(m->trim[l], m->tail[l] - 1 - MIN(m->tail[l] - 1, r / 8 % 40));
        if (s)
            segment_store_put_trim(s, l, m->want_trim[l]);
        ++*entries;
        return;
    }
    size_t n = l == 2 ? r / 64 % 8 == 0 : (r >> (8 * l)) % 4;
    m->want_tail[l] = m->tail[l];
    for (size_t i = 0; i < n; i++) {
        uint64_t offset = m->want_tail[l]++;
        ++*entries;
        *bytes += body_len(l, offset);
        if (s)
            put_record(s, l, offset);
    }
}

/* The process is killed: what a close would write is not written. */
static void kill_store(struct segment_store *s, struct disk *d)
{
    disk_memory_crash_at(d, 0, 0);
    segment_store_close(s);
    disk_memory_restart(d);
}

/* One step of the script. */
static enum rc step(struct segment_store *s, struct model *m)
{
    struct err err = {0};
    uint64_t r = next_random(m);
    struct {
        size_t entries;
        uint64_t bytes;
    } plan = {0};
    memcpy(m->want_tail, m->tail, sizeof(m->tail));
    memcpy(m->want_trim, m->trim, sizeof(m->trim));
    if (r % 8 == 0) {
        enum rc rc = segment_store_prepare(s, &err);
        return rc == RC_AGAIN ? RC_OK : rc;
    }
    if (r % 8 <= 2) {
        enum rc rc = segment_store_housekeep(s, &err);
        return rc == RC_AGAIN ? RC_OK : rc;
    }
    enum rc rc = RC_OK;
    for (int pass = 0; pass < 2 && rc == RC_OK; pass++) { /* measure, then put */
        size_t entries = 0;
        uint64_t bytes = 0;
        if (pass)
            rc = segment_store_begin(s, SEGMENT_ROOM_DATA, plan.entries, plan.bytes, &err);
        for (uint64_t l = 0; l < LOGLETS && rc == RC_OK; l++)
            batch_part(pass ? s : NULL, m, r, l, &entries, &bytes);
        plan.entries = entries;
        plan.bytes = bytes;
    }
    if (rc == RC_OK)
        rc = segment_store_commit(s, &err);
    if (rc == RC_OK) {
        memcpy(m->tail, m->want_tail, sizeof(m->tail));
        memcpy(m->trim, m->want_trim, sizeof(m->trim));
    }
    return rc;
}

/* Read one loglet completely. RC_OK: everything above its trim point up to `tail` - 1 is there and right. */
static enum rc check_loglet(struct segment_store *s, uint64_t l, uint64_t trim, uint64_t tail)
{
    struct stored_records out = {0};
    struct err err = {0};
    uint64_t next = trim + 1;
    enum rc rc;
    while ((rc = segment_store_read(s, l, next, 5000, &out, &err)) == RC_OK) {
        for (size_t i = 0; i < out.len; i++, next++) {
            uint8_t body[4000];
            assert_int_equal(out.items[i].offset, next);
            assert_int_equal(out.items[i].body.len, body_len(l, next));
            fill_body(body, body_len(l, next), l, next);
            assert_memory_equal(out.items[i].body.ptr, body, body_len(l, next));
        }
        stored_records_clear(&out);
    }
    stored_records_free(&out);
    if (rc == RC_AGAIN)
        assert_int_equal(next, tail);
    return rc == RC_AGAIN ? RC_OK : rc;
}

/* The store is as the model says, with or without the batch in flight; the model then follows the store. */
static void check_store(struct segment_store *s, struct model *m)
{
    int with = 0, without = 0;
    for (uint64_t l = 0; l < LOGLETS; l++) {
        struct loglet_info info;
        segment_store_info(s, l, &info);
        bool old = info.tail == m->tail[l] && info.trim_point == m->trim[l];
        bool new = info.tail == m->want_tail[l] && info.trim_point == m->want_trim[l];
        assert_true(old || new);
        with += new && !old;
        without += old && !new;
        m->tail[l] = info.tail;
        m->trim[l] = info.trim_point;
        assert_int_equal(check_loglet(s, l, m->trim[l], m->tail[l]), RC_OK);
    }
    assert_true(with == 0 || without == 0);
    memcpy(m->want_tail, m->tail, sizeof(m->tail));
    memcpy(m->want_trim, m->trim, sizeof(m->trim));
}

static void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.random = seed * 0x9e3779b97f4a7c15u + 1};
    for (int l = 0; l < LOGLETS; l++)
        m->tail[l] = m->want_tail[l] = 1;
}

/* Run the script until `steps` are done or the disk crashes; then check, go on, check again. */
static bool run_with_crash(uint64_t seed, size_t steps, uint64_t operation, uint64_t keep)
{
    struct disk *d = disk_memory_new(seed % 2 ? 512 : 4096);
    struct model m;
    model_init(&m, seed);
    disk_memory_crash_at(d, operation, keep);
    enum rc rc;
    struct err err;
    struct segment_store *s = open_store(d, &rc, &err);
    for (size_t i = 0; i < steps && rc == RC_OK; i++)
        rc = step(s, &m);
    bool crashed = disk_memory_crashed(d);
    assert_true(crashed || rc == RC_OK);
    if (!crashed) { /* the script goes through everything that touches the disk */
        struct segment_store_stats stats;
        segment_store_get_stats(s, &stats);
        assert_true(stats.segments >= 3 && stats.rewritten_bytes > 0);
        assert_int_equal(stats.file_bytes, disk_memory_used(d));
    }
    if (s)
        segment_store_close(s);
    disk_memory_restart(d);
    for (int round = 0; round < 2; round++) {
        s = must_open(d);
        check_store(s, &m);
        for (int i = 0; i < 12; i++)
            assert_int_equal(step(s, &m), RC_OK);
        check_store(s, &m);
        if (round == (int)(operation % 2))
            segment_store_close(s);
        else
            kill_store(s, d);
    }
    s = must_open(d);
    check_store(s, &m);
    segment_store_close(s);
    d->ops->free(d);
    return crashed;
}

static void every_operation_may_be_the_last(void **state)
{
    static const uint64_t keeps[] = {
        0, ~0ull, 1, ~1ull, 3, ~3ull, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa, 0x7f, ~0x80ull};
    for (uint64_t seed = 1; seed <= 2; seed++) {
        bool crashed = true;
        for (uint64_t operation = 0; crashed; operation += 1 + seed) {
            for (size_t k = 0; k < ARRAY_LEN(keeps); k++)
                crashed = run_with_crash(seed, 400, operation, keeps[k]);
        }
    }
}

/* Crash while recovering from a crash. */
static void recovery_may_crash_too(void **state)
{
    for (uint64_t seed = 10; seed < 40; seed++) {
        struct disk *d = disk_memory_new(512);
        struct model m;
        model_init(&m, seed);
        enum rc rc;
        struct err err;
        struct segment_store *s = must_open(d);
        disk_memory_crash_at(d, 30 + seed, 1 | seed << 3);
        do
            rc = step(s, &m);
        while (rc == RC_OK);
        segment_store_close(s);
        for (uint64_t operation = 0; operation < 4; operation++) {
            disk_memory_restart(d);
            disk_memory_crash_at(d, operation, seed);
            s = open_store(d, &rc, &err);
            if (s)
                segment_store_close(s);
        }
        disk_memory_restart(d);
        s = must_open(d);
        check_store(s, &m);
        segment_store_close(s);
        d->ops->free(d);
    }
}

/* Find where two versions of a file differ. */
static void changed_range(const uint8_t *a, const uint8_t *b, size_t len, size_t *from, size_t *to)
{
    *from = len;
    *to = 0;
    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i]) {
            *from = MIN(*from, i);
            *to = i + 1;
        }
    }
}

/* Stricter than any disk: the last write torn at every byte, from either end. */
static void the_last_write_may_be_torn_at_every_byte(void **state)
{
    const char *name = "segment-0000000000000001";
    for (int variant = 0; variant < 4; variant++) {
        bool recycled = variant & 1, clean = variant & 2;
        struct disk *before = disk_memory_new(512);
        struct model m;
        model_init(&m, 5);
        struct segment_store *s = must_open(before);
        for (int i = 0; i < 7; i++)
            assert_int_equal(step(s, &m), RC_OK);
        if (clean)
            segment_store_close(s);
        else
            kill_store(s, before);
        if (recycled) { /* rubbish of former times behind the tail */
            size_t len, used = 0;
            uint8_t *p = disk_memory_content(before, name, &len);
            for (size_t i = 0; i < len; i++)
                used = p[i] ? i + 1 : used;
            for (size_t i = (used + 511) / 512 * 512; i < len; i++)
                p[i] = (uint8_t)(i * 31 + 1);
        }
        struct disk *after = disk_memory_clone(before);
        struct model old = m;
        s = must_open(after);
        struct err e = {0};
        assert_int_equal(segment_store_begin(s, SEGMENT_ROOM_DATA, 3, 4200, &e), RC_OK);
        memcpy(m.want_tail, m.tail, sizeof(m.tail));
        memcpy(m.want_trim, m.trim, sizeof(m.trim));
        for (int i = 0; i < 3; i++)
            put_record(s, 1, m.want_tail[1]++);
        assert_int_equal(segment_store_commit(s, &e), RC_OK);
        kill_store(s, after);
        disk_memory_restart(before);
        size_t len, from, to;
        uint8_t *a = disk_memory_content(before, name, &len), *b = disk_memory_content(after, name, &len);
        changed_range(a, b, len, &from, &to);
        assert_true(to > from + 600);
        for (size_t at = from; at <= to; at++) {
            for (int end = 0; end < 2; end++) {
                struct disk *d = disk_memory_clone(end ? after : before);
                uint8_t *p = disk_memory_content(d, name, &len);
                memcpy(p + from, (end ? a : b) + from, at - from);
                s = must_open(d);
                struct model now = old;
                memcpy(now.want_tail, m.want_tail, sizeof(m.want_tail));
                check_store(s, &now);
                segment_store_close(s);
                d->ops->free(d);
            }
        }
        before->ops->free(before);
        after->ops->free(after);
    }
}

struct names {
    char items[32][40];
    size_t len;
};

static void add_name(void *ctx, const char *name)
{
    struct names *n = ctx;
    if (strncmp(name, "segment-", 8) == 0)
        snprintf(n->items[n->len++], 40, "%s", name);
}

/* Flip a byte: the store must not open, or not read, or everything must be right. Only a flip in the very
 * last batch may look like a torn write; it then takes that batch away and nothing else. */
static void flip(struct disk *good, const char *name, size_t at, bool last_segment, const struct model *m,
                 const struct model *without_last)
{
    struct disk *d = disk_memory_clone(good);
    size_t len;
    disk_memory_content(d, name, &len)[at] ^= (uint8_t)(1 + at % 255);
    enum rc rc;
    struct err err;
    struct segment_store *s = open_store(d, &rc, &err);
    if (!s) {
        assert_int_equal(rc == RC_UNSUPPORTED ? RC_CORRUPT : rc, RC_CORRUPT);
        assert_non_null(strstr(err.msg, "segment-"));
    }
    for (uint64_t l = 0; l < LOGLETS && s; l++) {
        struct loglet_info info;
        segment_store_info(s, l, &info);
        bool cut = last_segment && info.tail == without_last->tail[l];
        assert_true(cut || info.tail == m->tail[l]);
        assert_int_equal(info.trim_point, m->trim[l]);
        rc = check_loglet(s, l, info.trim_point, info.tail);
        assert_true(rc == RC_OK || rc == RC_CORRUPT);
    }
    if (s)
        segment_store_close(s);
    d->ops->free(d);
}

static void damage_is_never_silent(void **state)
{
    for (int variant = 0; variant < 4; variant++) {
        bool footers = variant & 1, clean = variant & 2;
        struct disk *d = disk_memory_new(512);
        struct model m, last;
        model_init(&m, 77);
        m.keep = true;
        struct segment_store *s = must_open(d);
        for (int i = 0; i < 110; i++)
            assert_int_equal(step(s, &m), RC_OK);
        struct err err = {0};
        while (footers && segment_store_housekeep(s, &err) == RC_OK)
            ;
        for (int i = 0; i < 3; i++) { /* end with appends that trim nothing */
            last = m;
            assert_int_equal(segment_store_begin(s, SEGMENT_ROOM_DATA, 1, 4000, &err), RC_OK);
            put_record(s, 0, m.tail[0]);
            assert_int_equal(segment_store_commit(s, &err), RC_OK);
            m.tail[0]++;
        }
        if (clean)
            segment_store_close(s);
        else
            kill_store(s, d);
        struct names names = {0};
        d->ops->list(d, add_name, &names, &err);
        assert_true(names.len >= 3);
        for (size_t i = 0; i < names.len; i++) {
            size_t len;
            disk_memory_content(d, names.items[i], &len);
            for (size_t at = 0; at < len; at += at % 512 < 60 && at < 8192 ? 1 : 29)
                flip(d, names.items[i], at, i + 1 == names.len, &m, &last);
        }
        d->ops->free(d);
    }
}

/* A segment that vanished or was cut short does not go unnoticed. */
static void missing_bytes_are_noticed(void **state)
{
    struct disk *d = disk_memory_new(512);
    struct model m;
    model_init(&m, 3);
    struct segment_store *s = must_open(d);
    for (int i = 0; i < 100; i++)
        assert_int_equal(step(s, &m), RC_OK);
    segment_store_close(s);
    struct names names = {0};
    struct err err;
    d->ops->list(d, add_name, &names, &err);
    for (size_t i = 0; i < names.len; i++) {
        struct disk *cut = disk_memory_clone(d);
        size_t len;
        uint8_t *p = disk_memory_content(d, names.items[i], &len);
        disk_memory_put(cut, names.items[i], p, len - 4096);
        enum rc rc;
        assert_null(open_store(cut, &rc, &err));
        assert_int_equal(rc, RC_CORRUPT);
        cut->ops->free(cut);
    }
    d->ops->free(d);
}

static void drop_line(void *ctx, enum log_level level, struct slice line) {}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_may_be_the_last),
        cmocka_unit_test(recovery_may_crash_too),
        cmocka_unit_test(the_last_write_may_be_torn_at_every_byte),
        cmocka_unit_test(damage_is_never_silent),
        cmocka_unit_test(missing_bytes_are_noticed),
    };
    log_set_sink(drop_line, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
