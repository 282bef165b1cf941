/* Metrics: identity of series, Prometheus text, quantiles of summaries, concurrent updates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/metrics.h"

static char *render(void)
{
    struct writer w = WRITER_INIT;
    metrics_render(&w, "cluster_name=\"c\"");
    char *text = slice_dup_cstr(writer_slice(&w));
    writer_free(&w);
    return text;
}

static void test_counters_and_gauges(void **state)
{
    struct metric *a = metric_counter("t_requests_total", "status=\"ok\"", "Requests.\nAll");
    assert_ptr_equal(a, metric_counter("t_requests_total", "status=\"ok\"", NULL));
    struct metric *b = metric_counter("t_requests_total", "status=\"bad\"", NULL);
    assert_ptr_not_equal(a, b);
    metric_inc(a);
    metric_add(a, 4);
    metric_set(metric_gauge("t_size", NULL, NULL), -7);
    assert_int_equal(metric_value(a), 5);
    char *text = render();
    assert_non_null(strstr(text, "# TYPE t_requests_total counter\n"
                                 "t_requests_total{cluster_name=\"c\",status=\"bad\"} 0\n"
                                 "t_requests_total{cluster_name=\"c\",status=\"ok\"} 5\n"));
    assert_non_null(strstr(text, "t_size{cluster_name=\"c\"} -7\n"));
    free(text);
}

static double quantile(const char *text, const char *line_start)
{
    const char *at = strstr(text, line_start);
    assert_non_null(at);
    return strtod(at + strlen(line_start), NULL);
}

static void test_summary_quantiles(void **state)
{
    struct metric *s = metric_summary("t_seconds", NULL, "Time.");
    for (uint64_t us = 1; us <= 10000; us++)
        metric_observe_us(s, us);
    metric_observe_us(s, UINT64_MAX / 2); /* beyond the largest bucket */
    char *text = render();
    assert_non_null(strstr(text, "# HELP t_seconds Time.\n# TYPE t_seconds summary\n"));
    double p50 = quantile(text, "t_seconds{cluster_name=\"c\",quantile=\"0.5\"} ");
    double p99 = quantile(text, "t_seconds{cluster_name=\"c\",quantile=\"0.99\"} ");
    assert_true(p50 > 0.0046 && p50 < 0.0054);
    assert_true(p99 > 0.0092 && p99 < 0.0106);
    assert_true(quantile(text, "t_seconds{cluster_name=\"c\",quantile=\"1\"} ") > 1e12);
    assert_true(quantile(text, "t_seconds_count{cluster_name=\"c\"} ") == 10001);
    free(text);
    metric_summary("t_empty_seconds", NULL, NULL);
    text = render();
    assert_non_null(strstr(text, "t_empty_seconds{cluster_name=\"c\",quantile=\"0.99\"} 0\n"));
    free(text);
}

static void *hammer(void *arg)
{
    struct metric *c = metric_counter("t_hammer_total", NULL, NULL);
    struct metric *s = metric_summary("t_hammer_seconds", NULL, NULL);
    for (unsigned i = 0; i < 20000; i++) {
        metric_inc(c);
        metric_observe_us(s, i);
    }
    return NULL;
}

static void test_concurrent_updates(void **state)
{
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, hammer, NULL);
    for (int i = 0; i < 20; i++)
        free(render());
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_value(metric_counter("t_hammer_total", NULL, NULL)), 80000);
    assert_int_equal(metric_value(metric_summary("t_hammer_seconds", NULL, NULL)), 80000);
}

static void refresh(void *ctx)
{
    metric_set(metric_gauge("t_refreshed", NULL, NULL), ++*(int *)ctx);
}

static void test_refresh_runs_before_render(void **state)
{
    static int calls;
    metrics_on_render(refresh, &calls);
    char *text = render();
    assert_non_null(strstr(text, "t_refreshed{cluster_name=\"c\"} 1\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_and_gauges),
        cmocka_unit_test(test_summary_quantiles),
        cmocka_unit_test(test_concurrent_updates),
        cmocka_unit_test(test_refresh_runs_before_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
