/* The dialect (spec/sql.md §11): what statements without tables give, and how they are refused. */
#include "unit/query/query_fixture.h"

static struct query_fixture f;
static int setup(void **state)
{
    qf_init(&f);
    return 0;
}
static int teardown(void **state)
{
    qf_free(&f);
    return 0;
}

struct pair {
    const char *sql, *expected;
};
static void expect_all(const struct pair *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        qf_expect(&f, cases[i].sql, cases[i].expected);
}

static void numbers(void **state)
{
    static const struct pair cases[] = {
        {"select 7/2 as a, -7/2 as b, 7%3 as c, -7%3 as d", "{\"a\":3,\"b\":-3,\"c\":1,\"d\":-1}"},
        {"select 7/2.0 as a, 1.0 as b, 1e16 as c, 1.5e-7 as d, 100000.0 as e",
         "{\"a\":3.5,\"b\":1.0,\"c\":1.0e16,\"d\":1.5e-7,\"e\":100000.0}"},
        {"select 9223372036854775807 + 1 as a, 9223372036854775807 * 2 as b",
         "{\"a\":-9223372036854775808,\"b\":-2}"},
        {"select 18446744073709551615 as m", "{\"m\":18446744073709551615}"},
        {"select 1/0", "Arrow error: Divide by zero error"},
        {"select 1%0", "Arrow error: Divide by zero error"},
        {"select 1.0/0 as a, abs(-3) as b, round(2.567, 2) as c", "{\"a\":null,\"b\":3,\"c\":2.57}"},
        {"select -1.0/0 < 5 as a, 1.0/(1-1) > 5 as b, cast(1.0/0 as varchar) as c",
         "{\"a\":true,\"b\":true,\"c\":\"inf\"}"},
        {"select 1e9 as a, 1e10 as b, 123456789012.5 as c, 1e-5 as d, 1e-6 as e, -1.5e15 as f",
         "{\"a\":1000000000.0,\"b\":1.0e10,\"c\":1.234567890125e11,\"d\":0.00001,\"e\":1.0e-6,\"f\":-1."
         "5e15}"},
        {"select cast(1e15 as varchar) as a, cast(1e16 as varchar) as b, 1.5e-7::text as c, 1e-6::text as d",
         "{\"a\":\"1000000000000000.0\",\"b\":\"1e16\",\"c\":\"1.5e-7\",\"d\":\"1e-6\"}"},
        {"select ordinal_position / 0 from information_schema.columns", "Arrow error: Divide by zero error"},
        {"select ordinal_position / (ordinal_position - ordinal_position) from information_schema.columns",
         "Arrow error: Divide by zero error"},
        {"select ordinal_position % 0 from information_schema.columns", "Arrow error: Divide by zero error"},
        {"select min(ordinal_position) - sum(ordinal_position) as u from information_schema.columns where "
         "ordinal_position < 2 and table_name = 'state'",
         "{\"u\":18446744073709551615}"},
        {"select nullif('12', 3) as a, nullif(3, 2.5) as b, nullif(1, 1) as c, nullif(null, 1) as d, "
         "coalesce('12', 2.5) as "
         "e, greatest(3, '12') as f, least('12', 2.5) as g",
         "{\"a\":12,\"b\":3.0,\"e\":12.0,\"f\":12,\"g\":2.5}"},
        {"select sqrt('4')",
         "Error during planning: Internal error: Failed to match any signature, errors: No function matches "
         "the given name and argument types 'sqrt(Utf8)'. You might need to add explicit type casts."},
        {"select sum(x) as s, avg(x) as a, count(*) as n from (values (1),(2),(4)) t(x)",
         "{\"s\":7,\"a\":2.3333333333333335,\"n\":3}"},
        {"select cast('12' as bigint) as a, '1'::int as b, 1::text as c, cast('x' as int)",
         "Arrow error: Cast error: Cannot cast string 'x' to value of Int32 type"},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void texts(void **state)
{
    static const struct pair cases[] = {
        {"select 'it''s' as a, 'a' || 1 as b, 'a' || null as c", "{\"a\":\"it's\",\"b\":\"a1\"}"},
        {"select 'Abc' like 'a%' as a, 'Abc' ilike 'a%' as b, 'a_c' like 'a\\_c' as c, 'abc' like 'a\\_c' as "
         "d",
         "{\"a\":false,\"b\":true,\"c\":true,\"d\":false}"},
        {"select 'abc' ~ '^a.c$' as a, 'ABC' ~* 'b' as b, 'abc' !~ 'z' as c",
         "{\"a\":true,\"b\":true,\"c\":true}"},
        {"select concat('a', null, 'b') as a, concat_ws('/', 'x', null, 'y') as b, greatest(1, null, 3) as c",
         "{\"a\":\"ab\",\"b\":\"x/y\",\"c\":3}"},
        {"select upper('ä') as a, length('äö') as b, octet_length('äö') as c, substr('hello', 2, 3) as d",
         "{\"a\":\"Ä\",\"b\":2,\"c\":4,\"d\":\"ell\"}"},
        {"select split_part('a/b/c', '/', 2) as a, starts_with('abc', 'ab') as b, replace('aba', 'a', 'x') "
         "as c",
         "{\"a\":\"b\",\"b\":true,\"c\":\"xbx\"}"},
        {"select substring('hello' for 2) as a, substring('hello' from 2 for 3) as b, position('l' in "
         "'hello') as c, "
         "position('b' in 'abc') in (2) as d",
         "{\"a\":\"he\",\"b\":\"ell\",\"c\":3,\"d\":true}"},
        {"select arrow_typeof(max(length(key))) as a, arrow_typeof(octet_length('x')) as b, "
         "arrow_typeof(max(strpos(key, 'x'))) as c from state",
         "{\"a\":\"Int64\",\"b\":\"Int32\",\"c\":\"Int64\"}"},
        {"select arrow_typeof(max(ordinal_position)) as a, count(*) > 1 as b from information_schema.columns",
         "{\"a\":\"UInt64\",\"b\":true}"},
        {"select encode('hi', 'hex') as a, encode('hi', 'base64') as b", "{\"a\":\"6869\",\"b\":\"aGk\"}"},
        {"select json_get_int('{\"a\":{\"b\":5}}', 'a', 'b') as a, '{\"x\":1}' ->> 'x' as b",
         "{\"a\":5,\"b\":\"1\"}"},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void times(void **state)
{
    static const struct pair cases[] = {
        {"select timestamp '2026-11-22 17:00:00' as a, timestamp '2026-11-22T17:00:00.5Z' as b",
         "{\"a\":\"2026-11-22T17:00:00\",\"b\":\"2026-11-22T17:00:00.500\"}"},
        {"select timestamp '2026-11-22' - timestamp '2026-11-21' as d, timestamp '2026-01-31' + interval '1 "
         "month' as m",
         "{\"d\":\"PT86400S\",\"m\":\"2026-02-28T00:00:00\"}"},
        {"select interval '1 day 2 hours' as a, interval '90' minute as b",
         "{\"a\":\"1 days 2 hours\",\"b\":\"1 hours 30 mins\"}"},
        {"select timestamp '2026-11-22' - '1 day'::interval as a, cast('-90 minutes' as interval) + "
         "timestamp "
         "'2026-11-22' as b",
         "{\"a\":\"2026-11-21T00:00:00\",\"b\":\"2026-11-21T22:30:00\"}"},
        {"select avg(d) as a, avg(d) filter (where d > interval '1 minute') as b, arrow_typeof(avg(d)) as t "
         "from "
         "(select timestamp '2026-01-01 00:01:00' - x as d from (values (timestamp '2026-01-01'), (timestamp "
         "'2026-01-01 00:00:57')) t(x))",
         "{\"a\":\"PT31.5S\",\"t\":\"Duration(ms)\"}"},
        {"select date_part('epoch', d) as e, date_part('hour', d) as h, date_part('second', d) as s from "
         "(select "
         "timestamp '2026-01-02 00:00:01.5' - timestamp '2026-01-01' as d)",
         "{\"e\":86401.5,\"h\":24,\"s\":86401}"},
        {"select date_part('isodow', timestamp '2026-11-22') as a, date_part('isodow', timestamp "
         "'2026-11-23') as b",
         "{\"a\":7,\"b\":1}"},
        {"select interval '1 day 5 hours' - interval '1 month 2 hours' as a, timestamp '2026-01-01' + "
         "(interval '1 day' + "
         "interval '1 hour') as b",
         "{\"a\":\"-1 mons 1 days 3 hours\",\"b\":\"2026-01-02T01:00:00\"}"},
        {"select 'a' ~ null as a, null !~* 'a' as b, 1 as c", "{\"c\":1}"},
        {"select date '2026-03-01' - date '2026-02-28' as a, cast(3 as timestamp) as b, cast(-7 as "
         "timestamp) as c",
         "{\"a\":1,\"b\":\"1970-01-01T00:00:03\",\"c\":\"1969-12-31T23:59:53\"}"},
        {"select cast(9223372036854775807 as timestamp)",
         "Arrow error: Cast error: Can't cast value 9223372036854775807 to type Timestamp(ns)"},
        {"select nullif(date '2026-02-28', timestamp '2026-03-01') as a", "{\"a\":\"2026-02-28T00:00:00\"}"},
        {"select now() as a, current_date as b, now() - now() as c",
         "{\"a\":\"1970-01-01T00:16:40\",\"b\":\"1970-01-01\",\"c\":\"P0D\"}"},
        {"select date_trunc('hour', timestamp '2026-11-22 17:45:01') as a, date_part('hour', timestamp "
         "'2026-11-22 "
         "17:45:01') as b",
         "{\"a\":\"2026-11-22T17:00:00\",\"b\":17}"},
        {"select to_unixtime(date_bin(interval '5 minutes', timestamp '1970-01-01 00:07:01', timestamp "
         "'1970-01-01')) "
         "as a",
         "{\"a\":300}"},
        {"select timestamp '2026-11-22' > '2026-11-21T00:00:00Z' as a, timestamp '2026-11-22' between "
         "'2026-01-01' and "
         "'2027-01-01' as b",
         "{\"a\":true,\"b\":true}"},
        {"select to_timestamp_millis(1500) as a, to_timestamp(1) as b",
         "{\"a\":\"1970-01-01T00:00:01.500\",\"b\":\"1970-01-01T00:00:01\"}"},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void queries(void **state)
{
    static const struct pair cases[] = {
        {"select n from (values (2),(null),(1)) t(n) order by n", "{\"n\":1},{\"n\":2},{}"},
        {"select n from (values (2),(null),(1)) t(n) order by n desc", "{},{\"n\":2},{\"n\":1}"},
        {"select n from (values (2),(null),(1)) t(n) order by n desc nulls last limit 1 offset 1",
         "{\"n\":1}"},
        {"select a.x, b.x as y from (values (1),(2)) a(x) left join (values (2),(3)) b(x) on a.x = b.x order "
         "by 1",
         "{\"x\":1},{\"x\":2,\"y\":2}"},
        {"select a.x, b.x as y from (values (1),(2)) a(x) full join (values (2),(3)) b(x) on a.x = b.x order "
         "by 1, 2",
         "{\"x\":1},{\"x\":2,\"y\":2},{\"y\":3}"},
        {"with t as (select 1 as x union all select 2) select sum(x) as s from t", "{\"s\":3}"},
        {"select x from (values (1),(2),(3)) t(x) where x not in (select 2) order by x",
         "{\"x\":1},{\"x\":3}"},
        {"select (select x from (values (1),(2)) t(x) where x > 1) as a, (select x from (values (1)) t(x) "
         "where x > 1) "
         "as b, (select max(x) from (values (1),(2)) t(x)) as c, (select x from (values (1),(2)) t(x) order "
         "by x desc "
         "limit 1) as d",
         "{\"a\":2,\"c\":2,\"d\":2}"},
        {"select t.x, (select u.y from (values (1,'a'),(2,'b')) u(x,y) where u.x = t.x) as y from (values "
         "(1),(2),(3)) "
         "t(x) order by 1",
         "{\"x\":1,\"y\":\"a\"},{\"x\":2,\"y\":\"b\"},{\"x\":3}"},
        {"select (select x from (values (1),(2)) t(x)) as a",
         "Execution error: Scalar subquery returned more than one row"},
        {"select x from (values (1),(2)) t(x) where x = (values (1), (2))",
         "Execution error: Scalar subquery returned more than one row"},
        {"select (select y from (values (1),(1)) u(y) where u.y = t.x) as a from (values (1)) t(x)",
         "Execution error: Scalar subquery returned more than one row"},
        {"select schema_name, schema_owner from information_schema.schemata", "{\"schema_name\":\"public\"}"},
        {"select count(*) as n from information_schema.views where table_name in ('tables', 'views', "
         "'columns')",
         "{\"n\":0}"},
        {"select column_name as c, numeric_precision as p from information_schema.columns where table_name = "
         "'sys_journal' and "
         "column_name in ('partition_key', 'index') order by 1",
         "{\"c\":\"index\",\"p\":32},{\"c\":\"partition_key\"}"},
        {"values (1), (2) except select 1", "{\"column1\":2}"},
        {"select x, row_number() over (order by x desc) as r from (values (5),(6)) t(x) order by x",
         "{\"x\":5,\"r\":2},{\"x\":6,\"r\":1}"},
        {"select array_agg(x order by x desc) as l, string_agg(y, '-' order by x) as s, first_value(y order "
         "by x) as f "
         "from (values (1,'a'),(2,'b')) t(x, y)",
         "{\"l\":[2,1],\"s\":\"a-b\",\"f\":\"a\"}"},
        {"select count(*) filter (where x > 1) as c, count(distinct x) as d from (values (1),(2),(2)) t(x)",
         "{\"c\":2,\"d\":2}"},
        {"select case when x > 1 then 'big' else 'small' end as c, count(*) as n from (values (1),(2),(3)) "
         "t(x) "
         "group by c having n > 1",
         "{\"c\":\"big\",\"n\":2}"},
        {"select x, unnest(l) as u from (select 1 as x, array_agg(y) as l from (values (7),(8)) t(y)) s "
         "order by u",
         "{\"x\":1,\"u\":7},{\"x\":1,\"u\":8}"},
        {"select 1 is distinct from null as a, null is not true as b, true and null as c, not false as d",
         "{\"a\":true,\"b\":true,\"d\":true}"},
        {"SELECT 1 AS \"Upper\", 2 as Lower -- comment\n /* and /* nested */ */;",
         "{\"Upper\":1,\"lower\":2}"},
        {"set x = 1", ""},
        {"select (select max(x) from (values (1),(9)) t(x)) as m, exists (select 1) as e",
         "{\"m\":9,\"e\":true}"},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

static void refusals(void **state)
{
    static const struct pair cases[] = {
        {"", "Error during planning: No SQL statements were provided in the query string"},
        {"selec",
         "SQL error: ParserError(\"Expected: an SQL statement, found: selec at Line: 1, Column: 1\")"},
        {"select 1; select 2",
         "This feature is not implemented: The context currently only supports a single SQL statement"},
        {"drop table x", "Error during planning: DDL not supported: DropTable"},
        {"insert into state values (1)", "Error during planning: DML not supported: Insert Into"},
        {"select * from nodes", "Error during planning: table 'restate.public.nodes' not found"},
        {"select true = 1",
         "Error during planning: Cannot infer common argument type for comparison operation Boolean = Int64"},
        {"select nope(1)", "Error during planning: Invalid function 'nope'."},
        {"select 'abc", "SQL error: TokenizerError(\"Unterminated string literal at Line: 1, Column: 8\")"},
        {"select * from state where service_key = 1 group by",
         "SQL error: ParserError(\"Expected: an expression, found: EOF at Line: 1, Column: 51\")"},
        {"select id from sys_invocation where id = 'xx'", "External error: non valid invocation id"},
        {"select status from sys_invocation group by target",
         "Error during planning: Column in SELECT must be in GROUP BY or an aggregate function: While "
         "expanding "
         "wildcard, column \"sys_invocation.status\" must appear in the GROUP BY clause or must be part of "
         "an "
         "aggregate function"},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

/* Deep nesting and long lists are refused or served, never a crash. */
static void bounds(void **state)
{
    struct sql_error err;
    struct writer deep = WRITER_INIT;
    write_fmt(&deep, "select ");
    for (int i = 0; i < 5000; i++)
        write_u8(&deep, '(');
    write_raw(&deep, "1", 2);
    struct writer w = qf_run(&f, SQL_CONTEXT_ADMIN, (const char *)deep.buf->data, RESULT_JSON, &err);
    assert_int_equal(err.kind, SQL_ERROR_PARSE);
    writer_free(&w);
    writer_reset(&deep);
    write_fmt(&deep, "select count(*) as n from sys_service where name in ('x'");
    for (int i = 0; i < 2000; i++)
        write_fmt(&deep, ", 'name-%d'", i);
    write_raw(&deep, ")", 2);
    qf_expect(&f, (const char *)deep.buf->data, "{\"n\":0}");
    writer_reset(&deep);
    write_fmt(&deep, "select 1");
    for (int i = 0; i < 3000; i++)
        write_fmt(&deep, "+1");
    write_u8(&deep, 0);
    w = qf_run(&f, SQL_CONTEXT_ADMIN, (const char *)deep.buf->data, RESULT_JSON, &err);
    writer_free(&w);
    writer_free(&deep);
}

static void parameters(void **state)
{
    static const struct {
        const char *sql;
        enum sql_type types[3];
    } cases[] = {
        {"select * from sys_invocation where created_at > $2 and status = $1 and journal_size between $3 and "
         "5",
         {SQL_LARGE_UTF8, SQL_TIME_MS, SQL_I64}},
        {"select id from sys_journal where index in (1, $1) and partition_key = $2 limit $3",
         {SQL_I64, SQL_U64_KEY, SQL_I64}},
        {"select $1::int + 1 as a, $2 as b, cast($3 as boolean) as c", {SQL_I32, SQL_NULL, SQL_BOOL}},
        {"select coalesce($1, completed_at) from sys_invocation where $2 = completed_at and value_length(1) "
         "= $3",
         {SQL_NULL, SQL_NULL, SQL_NULL}}, /* no such function */
        {"select case when public = $1 then revision else $2 end as x from sys_service where name like $3",
         {SQL_BOOL, SQL_U64, SQL_NULL}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sql_plan plan;
        struct sql_error err;
        enum sql_type types[3];
        bool ok = sql_plan_describe(&plan, slice_cstr(cases[i].sql), SQL_CONTEXT_ADMIN, types, 3, &err);
        assert_int_equal(ok, strstr(cases[i].sql, "value_length(") == NULL);
        sql_plan_free(&plan);
        for (size_t n = 0; n < 3 && ok; n++)
            if (types[n] != cases[i].types[n])
                fail_msg("%s: $%zu is %s", cases[i].sql, n + 1, sql_type_name(types[n]));
    }
    qf_expect(&f, "select $1", "Execution error: Placeholder '$1' was not provided a value for execution.");
    qf_expect(&f, "select 1 limit $2",
              "Execution error: Placeholder '$2' was not provided a value for execution.");
    qf_expect(&f, "select $99999999999999999999999",
              "Execution error: Placeholder '$9223372036854775807' was not provided a value for execution.");
    qf_expect(&f, "select $0",
              "SQL error: ParserError(\"Expected: an expression, found: 0 at Line: 1, Column: 8\")");
}

/* What clients write beyond the reference's own statements. */
static void postgres_forms(void **state)
{
    static const struct pair cases[] = {
        {"select distinct on (a) a, b from (values (1,2),(1,3),(2,9),(2,1)) as t(a,b) order by a, b desc",
         "{\"a\":1,\"b\":3},{\"a\":2,\"b\":9}"},
        {"select distinct on (a) b as z from (values (1,2),(1,3),(2,9),(2,1)) as t(a,b) order by a desc, b "
         "limit 1",
         "{\"z\":1}"},
        {"select distinct on (1) a, count(*) n from (values (1,2),(1,3),(2,9)) as t(a,b) group by a, b order "
         "by 1",
         "{\"a\":1,\"n\":1},{\"a\":2,\"n\":1}"},
        {"select count(*) as n from (select distinct on (a % 2) a from (values (1),(2),(3)) as t(a))",
         "{\"n\":2}"},
        {"select distinct on (a) a from (values (1,2)) as t(a,b) order by b",
         "Error during planning: SELECT DISTINCT ON expressions must match initial ORDER BY expressions"},
        {"select x from (values (1),(1),(1),(2),(null)) as t(x) except all select x from (values (1),(null)) "
         "as "
         "u(x) order by 1",
         "{\"x\":1},{\"x\":1},{\"x\":2}"},
        {"select x from (values (1),(1),(1),(2)) as t(x) intersect all select x from (values (1),(1),(3)) as "
         "u(x)",
         "{\"x\":1},{\"x\":1}"},
        {"select 1 = any(array[1,2]) a, 3 = some(array[1,2]) b, 3 <> all(array[1,2]) e, 1 = any(select 1) f",
         "{\"a\":true,\"b\":false,\"e\":true,\"f\":true}"},
        {"select 'x' = any('{x,\"y z\"}') a, 'y z' = any('{x,\"y z\"}'::text[]) b, 1 = any('{}'::int[]) c, "
         "'\"' = any('{\"a\\\"\",\"\\\"\"}') d, 'q' <> all('{}') e, 'a' = any('{null}') f",
         "{\"a\":true,\"b\":true,\"c\":false,\"d\":true,\"e\":true}"},
        {"select x = any(l) as a, not x = any(l) as b from (select 'p' as x, array_agg(y) as l from (values "
         "('p'),('q')) as t(y))",
         "{\"a\":true,\"b\":false}"},
        {"select 1 > any(array[1])", "This feature is not implemented: > ANY"},
        {"select '{a}'::text[]", "This feature is not implemented: a cast to a list"},
        {"with recursive t as (select 1 as n union all select n + 1 from t where n < 5) select sum(n) s from "
         "t",
         "{\"s\":15}"},
        {"with recursive t(n, p) as (select 1, 'a' union select n + 1, p || 'b' from t where n < 3) select * "
         "from t "
         "order by n desc",
         "{\"n\":3,\"p\":\"abb\"},{\"n\":2,\"p\":\"ab\"},{\"n\":1,\"p\":\"a\"}"},
        {"with recursive t as (select 1 as n union all select n + 1 from t) select * from t limit 2",
         "{\"n\":1},{\"n\":2}"},
        {"with recursive x as (select 1 as a), y as (select a + 1 as b from x) select * from x, y",
         "{\"a\":1,\"b\":2}"},
        {"with recursive t as (select 1 as n union all select max(n) from t) select * from t",
         "This feature is not implemented: grouping, DISTINCT, ORDER BY or LIMIT in the recursive part of a "
         "query"},
        {"with recursive t as (select 1 as n union all select n, n as m from t) select * from t",
         "Error during planning: UNION queries have different number of columns: left has 1 columns whereas "
         "right "
         "has 2 columns"},
    };
    expect_all(cases, ARRAY_LEN(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(postgres_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(texts, setup, teardown),
        cmocka_unit_test_setup_teardown(times, setup, teardown),
        cmocka_unit_test_setup_teardown(queries, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
