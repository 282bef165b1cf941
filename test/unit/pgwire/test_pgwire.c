/* The PostgreSQL protocol without sockets: messages, values in text and binary, parameters, cutting and
 * recognising statements (spec/sql.md §14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "pgwire/catalog.h"
#include "pgwire/value.h"

static void expect_hex(struct writer *w, const char *expected)
{
    struct writer hex = WRITER_INIT;
    write_hex(&hex, writer_slice(w));
    if (!slice_eq_cstr(writer_slice(&hex), expected))
        fail_msg("%.*s instead of %s", SLICE_FMT(writer_slice(&hex)), expected);
    writer_free(&hex);
    writer_free(w);
}

/* The bytes that spec/sql.md §14 gives. */
static void documented_bytes(void **state)
{
    struct writer w = WRITER_INIT;
    pg_ready(&w, false);
    expect_hex(&w, "5a0000000549");
    pg_tag(&w, "SELECT 1");
    expect_hex(&w, "430000000d53454c454354203100");
    struct result_column c[] = {{"a", SQL_I32, true}};
    pg_row_description(&w, c, 1, NULL);
    expect_hex(&w, "540000001a0001610000000000000000000017"
                   "0004ffffffff0000");
    struct result_column columns[] = {{"i", SQL_I64, true},  {"s", SQL_UTF8, true},
                                      {"b", SQL_BOOL, true}, {"x", SQL_LARGE_BINARY, true},
                                      {"f", SQL_F64, true},  {"l", SQL_LIST_UTF8, true}};
    struct sql_value values[] = {
        {.kind = VALUE_INT, .integer = 1}, {.kind = VALUE_TEXT, .bytes = SLICE_LIT("x")},
        {.kind = VALUE_INT, .integer = 0}, {.kind = VALUE_BLOB, .bytes = SLICE_LIT("ab")},
        {.kind = VALUE_REAL, .real = 1.5}, {.kind = VALUE_TEXT, .bytes = SLICE_LIT("[\"a\",\"b\"]")},
    };
    pg_data_row(&w, values, columns, 6, NULL);
    expect_hex(&w, "440000002f000600000001310000000178000000016600000006"
                   "5c783631363200000003312e35000000057b612c627d");
}

static void expect_pg(enum sql_type t, struct sql_value v, bool binary, const char *expected)
{
    struct writer w = WRITER_INIT;
    struct result_column c = {"x", t, true};
    pg_data_row(&w, &v, &c, 1, &binary);
    struct slice content = slice_sub(writer_slice(&w), 11, w.len - 11);
    struct writer shown = WRITER_INIT;
    if (binary)
        write_hex(&shown, content);
    else
        write_slice_raw(&shown, content);
    if (!slice_eq_cstr(writer_slice(&shown), expected))
        fail_msg("%s: %.*s instead of %s", sql_type_name(t), SLICE_FMT(writer_slice(&shown)), expected);
    writer_free(&shown);
    writer_free(&w);
}
#define INT(v)  ((struct sql_value){.kind = VALUE_INT, .integer = (v)})
#define REAL(v) ((struct sql_value){.kind = VALUE_REAL, .real = (v)})
#define TEXT(v) ((struct sql_value){.kind = VALUE_TEXT, .bytes = SLICE_LIT(v)})

static void values(void **state)
{
    uint8_t raw[SQL_INTERVAL_BYTES];
    sql_interval_put(raw, (struct sql_interval){14, 3, -1500000000});
    struct sql_value interval = {.kind = VALUE_BLOB, .bytes = slice_make(raw, sizeof(raw))};
    const struct {
        enum sql_type type;
        struct sql_value value;
        const char *text, *binary;
    } cases[] = {
        {SQL_BOOL, INT(1), "t", "01"},
        {SQL_I32, INT(-2), "-2", "fffffffe"},
        {SQL_U64, INT(INT64_MAX), "9223372036854775807", "7fffffffffffffff"},
        {SQL_U64_KEY, INT(INT64_MAX), "18446744073709551615", "000500040000000007341a5802e103bb064f"},
        {SQL_U64_KEY, INT(INT64_MIN), "0", "0000000000000000"},
        {SQL_DECIMAL20, INT(-20000), "-20000", "00010001400000000002"},
        {SQL_F64, REAL(1e16), "1e+16", "4341c37937e08000"},
        {SQL_F64, REAL(0.1), "0.1", "3fb999999999999a"},
        {SQL_TIME_MS, INT(-1), "1969-12-31 23:59:59.999", "fffca2fec4c81c18"},
        {SQL_TIME_MS, INT(946684800500), "2000-01-01 00:00:00.5", "000000000007a120"},
        {SQL_TIME_NS, INT(946684800000001000), "2000-01-01 00:00:00.000001", "0000000000000001"},
        {SQL_DATE, INT(10958), "2000-01-02", "00000001"},
        {SQL_DURATION_MS, INT(90061001), "25:01:01.001", "00000014f80dd1280000000000000000"},
        {SQL_DURATION_MS, INT(-10), "-00:00:00.01", "ffffffffffffd8f00000000000000000"},
        {SQL_INTERVAL, interval, "1 year 2 mons 3 days -00:00:01.5",
         "ffffffffffe91ca0"
         "00000003"
         "0000000e"},
        {SQL_LIST_U32, TEXT("[1,17]"), "{1,17}",
         "000000010000000000000014"
         "0000000200000001"
         "000000080000000000000001"
         "000000080000000000000011"},
        {SQL_LIST_UTF8, TEXT("[\"b c\",null,\"\",\"q\\\"\"]"), "{\"b c\",NULL,\"\",\"q\\\"\"}",
         "000000010000000100000413"
         "0000000400000001"
         "00000003622063"
         "ffffffff"
         "00000000"
         "000000027122"},
        {SQL_LIST_UTF8, TEXT("[]"), "{}", "000000000000000000000413"},
        {SQL_LARGE_UTF8, TEXT("text"), "text", "74657874"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_pg(cases[i].type, cases[i].value, false, cases[i].text);
        expect_pg(cases[i].type, cases[i].value, true, cases[i].binary);
    }
}

static void expect_substituted(const char *sql, const struct pg_value *values, size_t n, const uint32_t *oids,
                               const char *expected)
{
    struct writer w = WRITER_INIT;
    struct pg_parameters p = {values, n, oids, oids ? n : 0};
    unsigned highest;
    char code[6] = "";
    struct err err = {0};
    bool ok = pg_substitute(&w, slice_cstr(sql), &p, &highest, code, &err);
    struct slice got = ok ? writer_slice(&w) : slice_cstr(code);
    if (!slice_eq_cstr(got, expected))
        fail_msg("%s: %.*s instead of %s", sql, SLICE_FMT(got), expected);
    writer_free(&w);
}

static void parameters(void **state)
{
    struct pg_value text = {SLICE_LIT("it's"), false}, number = {SLICE_LIT("-7"), false},
                    null = {SLICE_EMPTY, false};
    struct pg_value int4 = {SLICE_LIT("\xff\xff\xff\xfe"), true}, junk = {SLICE_LIT("7; drop"), false};
    struct pg_value nul = {SLICE_LIT("a\0b"), false};
    const uint32_t int_oid[] = {PG_INT4};
    expect_substituted("a = $1 and '$1' <> \"$1\" -- $1\n/* $1 /* $1 */ */ E'\\'$1' x$1 $1", &text, 1, NULL,
                       "a = 'it''s' and '$1' <> \"$1\" -- $1\n/* $1 /* $1 */ */ E'\\'$1' x$1 'it''s'");
    expect_substituted("x > $1", &number, 1, int_oid, "x > (-7)");
    expect_substituted("x > $1", &number, 1, NULL, "x > '-7'");
    expect_substituted("LIMIT $1", &(struct pg_value){SLICE_LIT("10"), false}, 1, NULL, "LIMIT 10");
    expect_substituted("$1", &int4, 1, int_oid, "(-2)");
    expect_substituted("$1", &null, 1, NULL, "NULL");
    expect_substituted("$1", NULL, 0, NULL, "NULL");
    expect_substituted("$2", &text, 1, NULL, "08P01");
    expect_substituted("$0", NULL, 0, NULL, "42P02");
    expect_substituted("$1", &junk, 1, int_oid, "22P02");
    expect_substituted("$1", &nul, 1, NULL, "22021");
    expect_substituted("$99999999", &text, 1, NULL, "54000");
    expect_substituted("'open $1", &text, 1, NULL, "'open $1");
}

static void binary_parameters(void **state)
{
    static const struct {
        uint32_t oid;
        const char *bytes;
        size_t n;
        const char *expected;
    } cases[] = {
        {PG_DATE, "\0\0\0\0", 4, "DATE '2000-01-01'"},
        {PG_DATE, "\xff\xff\xff\xff", 4, "DATE '1999-12-31'"},
        {PG_DATE, "\x7f\xff\xff\xff", 4, "22008"},
        {PG_DATE, "\0\0\0", 3, "0A000"},
        {PG_TIMESTAMP, "\0\0\0\0\0\x16\xe3\x60", 8, "TIMESTAMP '2000-01-01T00:00:01.500'"},
        {PG_TIMESTAMPTZ, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "TIMESTAMP '1999-12-31T23:59:59.999999'"},
        {PG_TIMESTAMP, "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, "22008"},
        {PG_INTERVAL, "\0\0\0\0\0\0\0\5\0\0\0\2\0\0\0\1", 16, "INTERVAL '1 months 2 days 5 microseconds'"},
        {PG_NUMERIC, "\0\0\0\0\0\0\0\0", 8, "0"},
        {PG_NUMERIC, "\0\2\0\0\x40\0\0\1\0\1\x13\x88", 12, "(-1.5000)"},
        {PG_NUMERIC, "\0\1\xff\xff\0\0\0\4\0\1", 10, "0.0001"},
        {PG_NUMERIC, "\0\1\xff\xfe\0\0\0\x8\0\1", 10, "0.00000001"},
        {PG_NUMERIC, "\0\1\0\2\0\0\0\0\0\7", 10, "700000000"},
        {PG_NUMERIC, "\0\1\0\0\xc0\0\0\0\0\0", 10, "22P03"},
        {PG_NUMERIC, "\0\1\0\0\0\0\0\0\x27\x10", 10, "22P03"},
        {PG_NUMERIC, "\0\2\0\0\0\0\0\0\0\1", 10, "22P03"},
        {PG_NUMERIC, "\0\1\x7f\xff\0\0\0\0\0\1", 10, "22003"},
        {PG_NUMERIC, "\0\0", 2, "22P03"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pg_value v = {slice_make((const uint8_t *)cases[i].bytes, cases[i].n), true};
        expect_substituted("$1", &v, 1, &cases[i].oid, cases[i].expected);
    }
    const uint32_t interval = PG_INTERVAL;
    expect_substituted("now() - $1", &(struct pg_value){SLICE_LIT("1 day"), false}, 1, &interval,
                       "now() - INTERVAL '1 day'");
}

static void statements(void **state)
{
    struct slice rest = SLICE_LIT(" ;; select ';' -- ;\n, \"a;\" /* ; */ ; E'\\';' ;\n-- end");
    const char *expected[] = {"select ';' -- ;\n, \"a;\" /* ; */ ", "E'\\';' ", ""};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        struct slice s = pg_first_statement(rest, &rest);
        if (!slice_eq_cstr(s, expected[i]))
            fail_msg("%.*s instead of %s", SLICE_FMT(s), expected[i]);
    }
    const struct {
        const char *sql;
        enum pg_statement kind;
        const char *tag;
    } cases[] = {
        {"", PG_STATEMENT_EMPTY, NULL},
        {"START transaction isolation level serializable", PG_STATEMENT_TAG, "BEGIN"},
        {"-- note\nset a = b", PG_STATEMENT_TAG, "SET"},
        {"show timezone", PG_STATEMENT_LOCAL, NULL},
        {"show tables", PG_STATEMENT_QUERY, NULL},
        {"select setting from x", PG_STATEMENT_QUERY, NULL},
        {"(select 1)", PG_STATEMENT_QUERY, NULL},
        {"SELECT pg_advisory_unlock_all()", PG_STATEMENT_LOCAL, NULL},
        {"UNLISTEN *", PG_STATEMENT_TAG, "UNLISTEN"},
        {"select 1 from pg_catalog.pg_type", PG_STATEMENT_UNKNOWN, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *tag = NULL;
        assert_int_equal(pg_classify(slice_cstr(cases[i].sql), &tag), cases[i].kind);
        if (cases[i].tag)
            assert_string_equal(tag, cases[i].tag);
    }
}

/* Every cut of a message asks for more or is refused; lengths that lie are refused. */
static void messages(void **state)
{
    static const char startup[] = "\0\0\0\x0f\0\x03\0\0user\0\0\0";
    struct pg_startup s;
    struct pg_message m;
    struct pg_bind *bind = malloc(sizeof(*bind));
    size_t used;
    for (size_t n = 0; n < 15; n++)
        assert_int_equal(pg_startup_next(slice_make(startup, n), &s, &used), RC_AGAIN);
    assert_int_equal(pg_startup_next(slice_make(startup, 15), &s, &used), RC_OK);
    assert_int_equal(used, 15);
    assert_int_equal(pg_startup_next(SLICE_LIT("\0\0\0\x04\0\0\0\0"), &s, &used), RC_INVALID);
    assert_int_equal(pg_message_next(SLICE_LIT("Q\0\0\0\x03"), &m, &used), RC_INVALID);
    assert_int_equal(pg_message_next(SLICE_LIT("Q\x7f\0\0\x03"), &m, &used), RC_TOO_LARGE);
    static const char body[] = "p\0s\0\0\1\0\1\0\2\0\0\0\1x\xff\xff\xff\xff\0\1\0\1";
    struct slice all = slice_make(body, sizeof(body) - 1);
    assert_true(pg_bind_read(all, bind));
    assert_true(bind->values[0].binary && bind->values[1].binary && !bind->values[1].bytes.ptr &&
                bind->formats[0]);
    for (size_t n = 0; n < all.len; n++)
        assert_false(pg_bind_read(slice_sub(all, 0, n), bind));
    free(bind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_bytes),  cmocka_unit_test(values),     cmocka_unit_test(parameters),
        cmocka_unit_test(binary_parameters), cmocka_unit_test(statements), cmocka_unit_test(messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
