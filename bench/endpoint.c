/* A service endpoint for benchmarks: cleartext HTTP/2, service protocol 5 and 6, one thread, as little work
 * per invocation as possible, so that the server under test is the bottleneck.
 *
 *   bench_endpoint [PORT]        default 9080, 0 picks a free one; listens on 127.0.0.1
 *
 * Prints one line with its address. Beside the service protocol it answers GET /stats: counters and the lag
 * of wake-ups from sleep as JSON; POST /stats also resets them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "attempt.h"
#include "base/time.h"
#include "endpoint.h"
#include "histogram.h"

static const char manifest[] =
    "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":6,\"services\":["
    "{\"name\":\"Bench\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"greet\"},{\"name\":\"echo\"}]},"
    "{\"name\":\"BenchCounter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":"
    "[{\"name\":\"add\",\"ty\":\"EXCLUSIVE\"},{\"name\":\"get\",\"ty\":\"SHARED\"}]},"
    "{\"name\":\"BenchState\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":"
    "[{\"name\":\"write\",\"ty\":\"EXCLUSIVE\"},{\"name\":\"read\",\"ty\":\"EXCLUSIVE\"},"
    "{\"name\":\"peek\",\"ty\":\"SHARED\"}]},"
    "{\"name\":\"BenchSteps\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"run\"}]},"
    "{\"name\":\"BenchFlow\",\"ty\":\"WORKFLOW\",\"handlers\":[{\"name\":\"run\",\"ty\":\"WORKFLOW\"}]},"
    "{\"name\":\"BenchChain\",\"ty\":\"SERVICE\",\"handlers\":"
    "[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]},"
    "{\"name\":\"BenchSleep\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"sleep\"}]}"
    "]}";

static struct {
    struct loop *loop;
    struct http_server *server;
    struct histogram lag;
} E;

void endpoint_record_wake_up(uint64_t due_wall_ms)
{
    uint64_t now_us = os_wall_us(), due_us = due_wall_ms * 1000;
    histogram_record(&E.lag, now_us > due_us ? now_us - due_us : 0);
}

static void respond_stats(struct http_request *r, bool reset)
{
    struct writer w = WRITER_INIT;
    const struct attempt_stats *s = &attempt_stats;
    write_fmt(&w, "{\"attempts\":%llu,\"ended\":%llu,\"suspended\":%llu,\"failed\":%llu,\"lost\":%llu,",
              (unsigned long long)s->attempts, (unsigned long long)s->ended, (unsigned long long)s->suspended,
              (unsigned long long)s->failed, (unsigned long long)s->lost);
    write_fmt(&w, "\"wakeups\":%llu,\"lag_p50_us\":%llu,\"lag_p99_us\":%llu,\"lag_max_us\":%llu}\n",
              (unsigned long long)E.lag.count, (unsigned long long)histogram_quantile(&E.lag, 0.5),
              (unsigned long long)histogram_quantile(&E.lag, 0.99), (unsigned long long)E.lag.max_us);
    if (reset) {
        histogram_reset(&E.lag);
        attempt_stats = (struct attempt_stats){0};
    }
    struct http_header type = HTTP_HEADER_LIT("content-type", "application/json");
    http_respond(r, 200, &type, 1, writer_take(&w));
}

static void on_request(void *ctx, struct http_request *r)
{
    struct slice target = http_request_target(r);
    if (slice_eq_cstr(target, "/discover")) {
        struct http_header headers[] = {
            HTTP_HEADER_LIT("content-type", "application/vnd.restate.endpointmanifest.v3+json"),
            HTTP_HEADER_LIT("x-restate-server", "restate-bench/1"),
        };
        http_respond(r, 200, headers, ARRAY_LEN(headers), bytes_static(SLICE_LIT(manifest)));
        return;
    }
    if (slice_eq_cstr(target, "/stats")) {
        respond_stats(r, slice_eq_cstr(http_request_method(r), "POST"));
        return;
    }
    const struct slice prefix = SLICE_LIT("/invoke/");
    const struct bench_handler *handler = NULL;
    if (slice_starts_with(target, prefix))
        handler = bench_handler_find(slice_sub(target, prefix.len, target.len - prefix.len));
    if (handler)
        attempt_begin(r, handler);
    else
        http_respond(r, 404, NULL, 0, BYTES_EMPTY);
}

static void on_accept(void *ctx, struct net_conn *conn)
{
    http_server_accept(E.server, conn);
}

static void on_signal(void *ctx, int signum)
{
    loop_stop(E.loop);
}

int main(int argc, char **argv)
{
    struct net_address addr = {.family = NET_TCP, .host = "127.0.0.1", .port = 9080};
    if (argc > 1)
        addr.port = (uint16_t)atoi(argv[1]);

    E.loop = loop_new("endpoint");
    struct http_server_config config;
    http_server_config_default(&config);
    config.max_concurrent_streams = 1024;
    const struct http_server_ops server_ops = {.on_request = on_request};
    E.server = http_server_new(E.loop, &config, &server_ops, NULL);

    struct err err = {0};
    struct net_listener *listener;
    const struct net_listener_ops ops = {.on_accept = on_accept};
    if (net_listen(E.loop, &addr, false, &ops, NULL, &listener, &err) != RC_OK ||
        net_listener_start(listener, &err) != RC_OK) {
        fprintf(stderr, "bench_endpoint: %s\n", err.msg);
        return 1;
    }
    net_listener_address(listener, &addr);
    printf("bench_endpoint: http://127.0.0.1:%u\n", (unsigned)addr.port);
    fflush(stdout);

    loop_on_signal(E.loop, SIGTERM, on_signal, NULL);
    loop_on_signal(E.loop, SIGINT, on_signal, NULL);
    loop_run(E.loop);
    net_listener_close(listener);
    http_server_free(E.server);
    loop_free(E.loop);
    return 0;
}
