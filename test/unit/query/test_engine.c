/* Queries in the background of a loop (query/engine.h): results, back-pressure, cancellation, limits. */
#include "query/engine.h"
#include "unit/query/query_fixture.h"

#define MANY                                                                                                 \
    "select x.a from (values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) x(a)"                                 \
    " cross join (values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) y(a)"                                     \
    " cross join (values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) z(a)"                                     \
    " cross join (values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) u(a)"                                     \
    " cross join (values (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) v(a)"
#define ENDLESS "select count(*) from (" MANY ") a cross join (" MANY ") b"

static struct query_fixture f;
static struct loop *loop;
static struct query_engine *engine;

struct asker {
    struct query_job *job;
    struct writer text;
    size_t received, untaken, columns;
    bool hold, ended, stop_at_end;
    struct sql_error err;
    uint64_t rows;
    unsigned retry_after_s;
};

static void on_columns(void *ctx, const struct sql_plan *plan)
{
    ((struct asker *)ctx)->columns = plan->n_columns;
}
static void on_data(void *ctx, struct bytes take)
{
    struct asker *a = ctx;
    a->received += take.len;
    write_slice_raw(&a->text, bytes_slice(take));
    if (a->hold)
        a->untaken += take.len;
    else
        query_taken(a->job, take.len);
    bytes_unref(&take);
}
static void on_end(void *ctx, const struct sql_error *err, uint64_t rows, unsigned retry_after_s)
{
    struct asker *a = ctx;
    assert_false(a->ended);
    a->ended = true;
    a->err = *err;
    a->rows = rows;
    a->retry_after_s = retry_after_s;
    if (a->stop_at_end)
        loop_stop(loop);
}
static const struct query_events events = {.on_columns = on_columns, .on_data = on_data, .on_end = on_end};

static void ask(struct asker *a, const char *sql, enum result_format format)
{
    *a = (struct asker){.stop_at_end = true};
    struct query_request r = {.sql = slice_cstr(sql), .format = format};
    a->job = query_start(engine, &r, &events, a);
}

/* Run the loop for a while, or until something stops it. */
struct alarm {
    struct env_timer timer;
};
static void ring(struct env_timer *t)
{
    loop_stop(loop);
}
static void run_for(uint64_t ms)
{
    struct alarm a;
    env_timer_init(&a.timer, ring);
    env_timer_arm(loop_env(loop), &a.timer, ms);
    loop_run(loop);
    env_timer_cancel(loop_env(loop), &a.timer);
}

static void stopped(void *ctx)
{
    *(bool *)ctx = true;
    loop_stop(loop);
}

static void start(struct query_engine_config config)
{
    qf_init(&f);
    loop = loop_new("test");
    config.threads = config.threads ? config.threads : 2;
    config.window_bytes = config.window_bytes ? config.window_bytes : 1u << 20;
    config.stall_limit_ms = config.stall_limit_ms ? config.stall_limit_ms : 10000;
    engine = query_engine_new(loop, &f.source, &config);
}

static void finish(void)
{
    bool done = false;
    query_engine_stop(engine, stopped, &done);
    if (!done)
        run_for(20000);
    assert_true(done);
    query_engine_free(engine);
    loop_free(loop);
    qf_free(&f);
}

static void a_result(void **state)
{
    start((struct query_engine_config){0});
    struct asker a;
    ask(&a, "select 1 as x, 'y' as y", RESULT_JSON);
    run_for(20000);
    assert_true(a.ended && a.err.kind == SQL_ERROR_NONE && a.rows == 1 && a.columns == 2);
    assert_true(slice_eq_cstr(writer_slice(&a.text), "{\"rows\":[{\"x\":1,\"y\":\"y\"}]}"));
    writer_free(&a.text);
    ask(&a, "selec", RESULT_JSON);
    run_for(20000);
    assert_true(a.ended && a.err.kind == SQL_ERROR_PARSE && a.received == 0);
    finish();
}

/* Not more than the window is on its way while nobody takes it; then the rest comes. */
static void back_pressure(void **state)
{
    start((struct query_engine_config){.window_bytes = 4096});
    struct asker a;
    ask(&a, MANY, RESULT_JSON);
    a.hold = true;
    run_for(300);
    assert_false(a.ended);
    assert_in_range(a.received, 1, 4096);
    a.hold = false;
    query_taken(a.job, a.untaken);
    run_for(20000);
    assert_true(a.ended && a.err.kind == SQL_ERROR_NONE);
    assert_int_equal(a.rows, 100000);
    writer_free(&a.text);
    finish();
}

static void nobody_takes_anything(void **state)
{
    start((struct query_engine_config){.window_bytes = 4096, .stall_limit_ms = 200});
    struct asker a;
    ask(&a, MANY, RESULT_JSON);
    a.hold = true;
    run_for(20000);
    assert_true(a.ended && a.err.kind == SQL_ERROR_CANCELED);
    writer_free(&a.text);
    finish();
}

static void cancellation(void **state)
{
    start((struct query_engine_config){0});
    struct asker a;
    ask(&a, ENDLESS, RESULT_JSON);
    run_for(100);
    assert_false(a.ended);
    query_cancel(a.job);
    run_for(300);
    assert_false(a.ended);
    assert_int_equal(query_engine_running(engine), 0);
    finish();
}

static void time_limit(void **state)
{
    start((struct query_engine_config){.time_limit_ms = 100});
    struct asker a;
    ask(&a, ENDLESS, RESULT_ARROW);
    run_for(20000);
    assert_true(a.ended && a.err.kind == SQL_ERROR_RESOURCES);
    writer_free(&a.text);
    finish();
}

static void too_many(void **state)
{
    start((struct query_engine_config){.threads = 1, .waiting = 1});
    struct asker a, b, c;
    ask(&a, ENDLESS, RESULT_JSON);
    ask(&b, "select 1", RESULT_JSON);
    ask(&c, "select 1", RESULT_JSON);
    assert_false(c.ended); /* never from inside query_start */
    a.stop_at_end = false;
    query_cancel(a.job);
    while (!b.ended || !c.ended)
        run_for(20000);
    assert_true(b.err.kind == SQL_ERROR_NONE && c.err.kind == SQL_ERROR_UNAVAILABLE && c.retry_after_s == 0);
    writer_free(&b.text);
    finish();
}

static void rate_limit(void **state)
{
    start((struct query_engine_config){.rate_per_second = 0.1, .rate_burst = 1});
    struct asker a, b;
    ask(&a, "select 1", RESULT_JSON);
    run_for(20000);
    ask(&b, "select 1", RESULT_JSON);
    run_for(20000);
    assert_int_equal(a.err.kind, SQL_ERROR_NONE);
    assert_int_equal(b.err.kind, SQL_ERROR_UNAVAILABLE);
    assert_string_equal(b.err.message, "Rate limited");
    assert_in_range(b.retry_after_s, 9, 11);
    writer_free(&a.text);
    finish();
}

/* Stopping ends what runs, tells the askers, and waits for the threads. */
static void stop(void **state)
{
    start((struct query_engine_config){.threads = 1, .waiting = 4});
    struct asker a, b;
    ask(&a, ENDLESS, RESULT_JSON);
    ask(&b, ENDLESS, RESULT_JSON);
    a.stop_at_end = b.stop_at_end = false;
    run_for(50);
    finish();
    assert_true(a.ended && a.err.kind == SQL_ERROR_CANCELED);
    assert_true(b.ended && b.err.kind == SQL_ERROR_CANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result),
        cmocka_unit_test(back_pressure),
        cmocka_unit_test(nobody_takes_anything),
        cmocka_unit_test(cancellation),
        cmocka_unit_test(time_limit),
        cmocka_unit_test(too_many),
        cmocka_unit_test(rate_limit),
        cmocka_unit_test(stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
