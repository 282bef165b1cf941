/* Durations, byte sizes, calendar text: the accepted and refused forms of spec/config.md §1.5 and ingress.md
 * §5.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/codec.h"
#include "base/time.h"

#define US   1000ull
#define MS   1000000ull
#define S    1000000000ull
#define MIN_ (60 * S)
#define H    (3600 * S)
#define D    (24 * H)

static void test_duration_accepts(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {
        {"5s", 5 * S},
        {"5 s", 5 * S},
        {"5sec", 5 * S},
        {"5 secs", 5 * S},
        {"5 seconds", 5 * S},
        {"5m", 5 * MIN_},
        {"5 min", 5 * MIN_},
        {"5mins", 5 * MIN_},
        {"5 minutes", 5 * MIN_},
        {"2h", 2 * H},
        {"2 hr", 2 * H},
        {"2hrs", 2 * H},
        {"2 hours", 2 * H},
        {"1d", D},
        {"2 days", 2 * D},
        {"1w", 7 * D},
        {"2 weeks", 14 * D},
        {"500ms", 500 * MS},
        {"500 millis", 500 * MS},
        {"1us", US},
        {"1 \xc2\xb5s", US},
        {"1 ns", 1},
        {"1m30s", 90 * S},
        {"1m 30s", 90 * S},
        {"1h, 30m", 90 * MIN_},
        {"1 d 2 h", D + 2 * H},
        {"1.5h", 90 * MIN_},
        {"1.5m", 90 * S},
        {"1,5s", 1500 * MS},
        {"00:01:30", 90 * S},
        {"1d 02:00:00", D + 2 * H},
        {"00:00:02.25", 2250 * MS},
        {"0:0:7", 7 * S},
        {"00:60:100,5", H + 100500 * MS},
        {"PT5S", 5 * S},
        {"P1D", D},
        {"P1DT2H", D + 2 * H},
        {"P2W", 14 * D},
        {"PT0.5S", 500 * MS},
        {"pt5s", 5 * S},
        {"P1W2D", 9 * D},
        {"PT1.5H", 90 * MIN_},
        {"0", 0},
        {"+1s", S},
        {"-0s", 0},
        {"0s ago", 0},
        {"1day2hours", D + 2 * H},
        {"60 sec", 60 * S},
        {"1wk", 7 * D},
        {"1s ", S},
        {"1.000000001s", S + 1},
        {"0.5ns", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t ns = 12345;
        struct err err = {0};
        if (duration_parse(slice_cstr(cases[i].text), &ns, &err) || ns != cases[i].ns)
            fail_msg("'%s': %s, %llu", cases[i].text, err.msg, (unsigned long long)ns);
    }
}

static void test_duration_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "5",
        "1mo",
        "1y",
        "1 year",
        "P1M",
        "P1Y",
        "h",
        "1h 1d",
        "1h and 2m",
        "infinite",
        "1:30",
        "02:00",
        "-5s",
        "5s ago",
        "5S",
        "5 Seconds",
        "1M",
        "0.5",
        "abc",
        "1H",
        "1h30",
        "1.5d",
        "1e3s",
        "1s,1ms",
        "1s 1s",
        "P",
        "PT",
        "P1DT",
        "PT-1S",
        " 1s",
        "1.5h 3m",
        "1h 00:01:00",
        "1:2.5:3",
        "1: 2:3",
        "1:2:3 1s",
        "-1s ago",
        "+0s ago",
        "1s,",
        "1.0000000001s",
        "99999999999999999999s",
        "400000000d",
        "PT5",
        "P5H",
        "1s ago 2s",
        "+",
        "-",
        "1s x",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t ns;
        struct err err = {0};
        if (duration_parse(slice_cstr(bad[i]), &ns, &err) != RC_INVALID || !err.msg[0])
            fail_msg("'%s' was accepted", bad[i]);
    }
    uint64_t ns;
    struct err err;
    duration_parse(SLICE_LIT("1mo"), &ns, &err);
    assert_string_equal(err.msg, "please use units of days or smaller");
}

static void check_text(struct writer *w, const char *expected)
{
    assert_true(slice_eq_cstr(writer_slice(w), expected));
    writer_reset(w);
}

static void test_duration_format(void **state)
{
    struct writer w = WRITER_INIT;
    duration_format(&w, 0);
    check_text(&w, "0s");
    duration_format(&w, 1500 * MS);
    check_text(&w, "1s 500ms");
    duration_format(&w, D + 2 * H);
    check_text(&w, "1d 2h");
    duration_format(&w, 14 * D);
    check_text(&w, "14d");
    duration_format(&w, 4 * MIN_ + 59 * S + 234 * MS + 958 * US + 594);
    check_text(&w, "4m 59s 234ms 958\xc2\xb5s 594ns");
    writer_free(&w);
}

static void test_byte_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1024", 1024},
        {"5 MB", 5000000},
        {"1.5GiB", 1610612736},
        {"5b", 5},
        {"1 k", 1000},
        {"1KIB", 1024},
        {"2ki", 2048},
        {"1e", 1000000000000000000ull},
        {"15Ei", 15ull << 60},
        {"0.5 kB", 500},
        {"1.9", 1},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "1 XB",
                                      "1_000",
                                      "1e3",
                                      "-1",
                                      "1.",
                                      ".5k",
                                      "16EiB",
                                      "1kbb",
                                      "1 k b",
                                      "18446744073709551616",
                                      "MB"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t v = 777;
        struct err err = {0};
        if (byte_size_parse(slice_cstr(good[i].text), &v, &err) || v != good[i].bytes)
            fail_msg("'%s': %s, %llu", good[i].text, err.msg, (unsigned long long)v);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t v;
        if (byte_size_parse(slice_cstr(bad[i]), &v, NULL) != RC_INVALID)
            fail_msg("'%s' was accepted", bad[i]);
    }
    struct writer w = WRITER_INIT;
    byte_size_format(&w, 5);
    check_text(&w, "5 B");
    byte_size_format(&w, 5000);
    check_text(&w, "4.9 KiB");
    byte_size_format(&w, 5000000);
    check_text(&w, "4.8 MiB");
    byte_size_format(&w, 32u << 20);
    check_text(&w, "32.0 MiB");
    byte_size_format(&w, 2ull << 30);
    check_text(&w, "2.0 GiB");
    writer_free(&w);
}

static void test_rfc3339(void **state)
{
    struct writer w = WRITER_INIT;
    time_format_rfc3339(&w, 1795369096633123ull, 3, "Z");
    check_text(&w, "2026-11-22T17:38:16.633Z");
    time_format_rfc3339(&w, 1795369096633123ull, 6, "+00:00");
    check_text(&w, "2026-11-22T17:38:16.633123+00:00");
    time_format_rfc3339(&w, 1795369096633123ull, 9, "Z");
    check_text(&w, "2026-11-22T17:38:16.633123000Z");
    time_format_rfc3339(&w, 0, 0, "Z");
    check_text(&w, "1970-01-01T00:00:00Z");
    writer_free(&w);
}

/* Days over eight centuries, against the C library, there and back. */
static void test_http_date_round_trip(void **state)
{
    for (uint64_t s = 0; s < 800ull * 365 * 86400; s += 86400 * 13 + 3607) {
        char text[30], expected[64];
        struct tm tm;
        time_t t = (time_t)s;
        gmtime_r(&t, &tm);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        time_format_http(text, s);
        assert_string_equal(text, expected);
        uint64_t back = 0;
        assert_true(time_parse_http(slice_cstr(text), &back));
        assert_true(back == s);
    }
}

static void test_http_date_forms(void **state)
{
    static const char *const good[] = {"Sun, 22 Nov 2026 17:22:26 GMT", "22 Nov 2026 17:22:26 GMT",
                                       "Sun, 22 Nov 2026 18:22:26 +0100", "22 nov 2026 12:22:26 -0500",
                                       " Sun,  22 Nov 2026 17:22:26 UTC "};
    static const char *const bad[] = {"",
                                      "Sun, 22 Nov 2026",
                                      "Sun 22 Nov 2026 17:22:26 GMT",
                                      "Sun, 31 Feb 2026 17:22:26 GMT",
                                      "Sun, 22 Nov 2026 24:22:26 GMT",
                                      "Sun, 22 Nov 26 17:22:26 GMT",
                                      "Sun, 22 Nov 2026 17:22:26",
                                      "Sun, 22 Nov 2026 17:22:26 XST",
                                      "Sun, 22 Nov 2026 17:22:26 GMT x",
                                      "1 Jan 1969 00:00:00 GMT"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint64_t s = 0;
        assert_true(time_parse_http(slice_cstr(good[i]), &s));
        assert_int_equal(s, 1795368146);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t s;
        if (time_parse_http(slice_cstr(bad[i]), &s))
            fail_msg("'%s' was accepted", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration_accepts), cmocka_unit_test(test_duration_refuses),
        cmocka_unit_test(test_duration_format),  cmocka_unit_test(test_byte_sizes),
        cmocka_unit_test(test_rfc3339),          cmocka_unit_test(test_http_date_round_trip),
        cmocka_unit_test(test_http_date_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
