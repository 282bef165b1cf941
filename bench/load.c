/* Load generator for the ingress: HTTP/1.1 keep-alive connections from one thread, closed loop (each
 * connection sends when its answer has come) or open loop (a fixed rate; latency counts from the moment a
 * request was due, so that a stalled server is not flattered). Prints one JSON line.
 *
 *   bench_load --url http://127.0.0.1:8080 --path /Bench/greet [--body TEXT] [--method POST]
 *              [--connections 1] [--duration SECONDS | --count REQUESTS] [--warmup SECONDS] [--rate
 * PER_SECOND]
 *              [--keys N] [--scenario NAME] [--pid SERVER]
 *
 * Templates in path and body: load_target.h. With --pid the line also tells the server's CPU, written bytes
 * and memory over the measured time. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/rc.h"
#include "base/time.h"
#include "histogram.h"
#include "load_conn.h"
#include "load_target.h"
#include "process_stat.h"

#define DRAIN_LIMIT_NS (30ull * 1000000000ull) /* wait for the last answers this long */

static struct {
    struct load_target target;
    const char *scenario;
    size_t connections;
    double duration_s, warmup_s, rate;
    uint64_t count; /* 0: by duration */
    long pid;
} options = {
    .target = {.method = "POST", .path = "/Bench/greet", .keys = 1}, .scenario = "", .connections = 1};

static struct {
    int epoll;
    struct load_conn *conns;
    struct load_conn **idle; /* open loop: stack of connections without a request */
    size_t n_idle;
    uint64_t sent, answered, errors; /* all of the run */
    size_t in_flight;
    bool measuring, stopping;
    uint64_t start_ns, measure_ns, end_ns, due_ns;
    struct histogram latency;
    uint64_t ops, window_errors;
    struct process_stat before, after;
    bool have_stat;
    char first_error[300];
} run;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct load_conn *c, int op)
{
    struct epoll_event e = {.events = EPOLLIN | (c->want_write ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(run.epoll, op, c->fd, &e) != 0)
        die("epoll_ctl");
}

static void open_conn(struct load_conn *c)
{
    if (!load_conn_open(c, &options.target.addr))
        die("connect");
    watch(c, EPOLL_CTL_ADD);
}

static bool may_send(void)
{
    return !run.stopping && (options.count == 0 || run.sent < options.count);
}

static void note_error(const struct load_conn *c, const char *text)
{
    run.errors++;
    run.window_errors += run.measuring;
    if (run.first_error[0] == 0)
        snprintf(run.first_error, sizeof(run.first_error), "%d %s", c->status, text);
}

static void flush_conn(struct load_conn *c)
{
    bool ok = load_conn_write(c);
    bool want = ok && c->out_off < c->out_len;
    if (want != c->want_write) {
        c->want_write = want;
        watch(c, EPOLL_CTL_MOD);
    }
}

static void send_request(struct load_conn *c, uint64_t since_ns)
{
    c->out_len = load_target_render(&options.target, run.sent, &c->out, &c->out_cap);
    c->out_off = 0;
    c->busy = true;
    c->since_ns = since_ns;
    run.sent++;
    run.in_flight++;
    flush_conn(c);
}

static void conn_free(struct load_conn *c, uint64_t now)
{
    c->busy = false;
    run.in_flight--;
    if (options.rate > 0)
        run.idle[run.n_idle++] = c;
    else if (may_send())
        send_request(c, now);
}

static void on_answer(struct load_conn *c, uint64_t now)
{
    run.answered++;
    if (c->status < 200 || c->status > 299) {
        note_error(c, c->in + c->body_off);
    } else if (run.measuring) {
        run.ops++;
        histogram_record(&run.latency, (now - c->since_ns) / 1000);
    }
    load_conn_reset(c);
    conn_free(c, now);
}

static void on_broken(struct load_conn *c, uint64_t now)
{
    bool busy = c->busy;
    load_conn_close(c);
    if (busy)
        note_error(c, "connection closed by the server");
    if (run.stopping && run.in_flight <= busy) {
        run.in_flight = 0;
        return;
    }
    open_conn(c);
    if (busy)
        conn_free(c, now);
}

static void begin_measuring(uint64_t now)
{
    run.measuring = true;
    run.measure_ns = now;
    run.end_ns = options.count ? UINT64_MAX : now + (uint64_t)(options.duration_s * 1e9);
    if (options.pid)
        run.have_stat = process_stat_read(options.pid, &run.before);
}

static void end_measuring(uint64_t now)
{
    run.stopping = true;
    run.measuring = false;
    run.end_ns = now;
    if (options.pid)
        run.have_stat = run.have_stat && process_stat_read(options.pid, &run.after);
}

static void send_due(uint64_t now)
{
    double step = 1e9 / options.rate;
    while (may_send() && run.due_ns <= now && run.n_idle) {
        send_request(run.idle[--run.n_idle], run.due_ns);
        run.due_ns = run.start_ns + (uint64_t)((double)run.sent * step);
    }
}

static void wait_and_handle(void)
{
    struct epoll_event events[256];
    uint64_t now = os_mono_ns();
    uint64_t until = run.measuring ? run.end_ns : run.start_ns + (uint64_t)(options.warmup_s * 1e9);
    if (options.rate > 0 && run.n_idle && may_send() && run.due_ns < until)
        until = run.due_ns;
    if (run.stopping)
        until = run.end_ns + DRAIN_LIMIT_NS;
    uint64_t wait_ns = until > now ? until - now : 0;
    if (wait_ns > 1000000000ull)
        wait_ns = 1000000000ull;
    struct timespec ts = {.tv_sec = (time_t)(wait_ns / 1000000000ull),
                          .tv_nsec = (long)(wait_ns % 1000000000ull)};
    int n = epoll_pwait2(run.epoll, events, 256, &ts, NULL);
    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    for (int i = 0; i < n; i++) {
        struct load_conn *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            flush_conn(c);
        if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            continue;
        now = os_mono_ns();
        enum load_read r = load_conn_read(c);
        if (r == LOAD_READ_DONE)
            on_answer(c, now);
        else if (r == LOAD_READ_BROKEN)
            on_broken(c, now);
    }
}

static void generate(void)
{
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.conns = xcalloc(options.connections, sizeof(*run.conns));
    run.idle = xcalloc(options.connections, sizeof(struct load_conn *));
    for (size_t i = 0; i < options.connections; i++)
        open_conn(&run.conns[i]);
    run.start_ns = run.due_ns = os_mono_ns();
    if (options.warmup_s <= 0)
        begin_measuring(run.start_ns);
    for (size_t i = 0; i < options.connections; i++) {
        if (options.rate > 0)
            run.idle[run.n_idle++] = &run.conns[i];
        else if (may_send())
            send_request(&run.conns[i], run.start_ns);
    }
    for (;;) {
        uint64_t now = os_mono_ns();
        if (!run.measuring && !run.stopping && now >= run.start_ns + (uint64_t)(options.warmup_s * 1e9))
            begin_measuring(now);
        if (options.rate > 0)
            send_due(now);
        bool all_answered = options.count && run.sent >= options.count && run.in_flight == 0;
        if (!run.stopping && (now >= run.end_ns || all_answered) && run.measuring)
            end_measuring(now);
        if (run.stopping && (run.in_flight == 0 || now > run.end_ns + DRAIN_LIMIT_NS))
            return;
        wait_and_handle();
    }
}

static void print_result(void)
{
    const struct histogram *h = &run.latency;
    double seconds = (double)(run.end_ns - run.measure_ns) / 1e9;
    printf(
        "{\"scenario\":\"%s\",\"connections\":%zu,\"seconds\":%.3f,\"ops\":%llu,\"ops_per_s\":%.1f,"
        "\"mean_us\":%llu,\"p50_us\":%llu,\"p99_us\":%llu,\"p999_us\":%llu,\"max_us\":%llu,\"errors\":%llu,"
        "\"unanswered\":%zu,\"all_ops\":%llu",
        options.scenario, options.connections, seconds, (unsigned long long)run.ops,
        seconds > 0 ? (double)run.ops / seconds : 0, (unsigned long long)histogram_mean(h),
        (unsigned long long)histogram_quantile(h, 0.5), (unsigned long long)histogram_quantile(h, 0.99),
        (unsigned long long)histogram_quantile(h, 0.999), (unsigned long long)h->max_us,
        (unsigned long long)run.errors, run.in_flight, (unsigned long long)run.answered);
    if (options.rate > 0)
        printf(",\"rate\":%.1f", options.rate);
    if (run.have_stat && run.ops) {
        printf(",\"cpu_us_per_op\":%.2f,\"write_bytes_per_op\":%.0f,\"rss_kb\":%llu,\"peak_rss_kb\":%llu",
               (double)(run.after.cpu_us - run.before.cpu_us) / (double)run.ops,
               (double)(run.after.write_bytes - run.before.write_bytes) / (double)run.ops,
               (unsigned long long)run.after.rss_kb, (unsigned long long)run.after.peak_rss_kb);
    }
    printf("}\n");
    if (run.errors)
        fprintf(stderr, "bench_load: %s: %llu errors, the first: %s\n", options.scenario,
                (unsigned long long)run.errors, run.first_error);
}

static void parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"url", 1, NULL, 'u'},    {"path", 1, NULL, 'p'},        {"body", 1, NULL, 'b'},
        {"method", 1, NULL, 'm'}, {"connections", 1, NULL, 'c'}, {"duration", 1, NULL, 'd'},
        {"count", 1, NULL, 'n'},  {"warmup", 1, NULL, 'w'},      {"rate", 1, NULL, 'r'},
        {"keys", 1, NULL, 'k'},   {"scenario", 1, NULL, 's'},    {"pid", 1, NULL, 'P'},
        {NULL, 0, NULL, 0},
    };
    bool has_url = false;
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'u':
            has_url = load_target_set_url(&options.target, optarg);
            break;
        case 'p':
            options.target.path = optarg;
            break;
        case 'b':
            options.target.body = optarg;
            break;
        case 'm':
            options.target.method = optarg;
            break;
        case 'c':
            options.connections = strtoul(optarg, NULL, 10);
            break;
        case 'd':
            options.duration_s = atof(optarg);
            break;
        case 'n':
            options.count = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            options.warmup_s = atof(optarg);
            break;
        case 'r':
            options.rate = atof(optarg);
            break;
        case 'k':
            options.target.keys = strtoull(optarg, NULL, 10);
            break;
        case 's':
            options.scenario = optarg;
            break;
        case 'P':
            options.pid = atol(optarg);
            break;
        default:
            exit(2);
        }
    }
    if (!has_url || options.connections == 0 || (options.count == 0 && options.duration_s <= 0)) {
        fprintf(stderr,
                "bench_load: needs --url http://IP:PORT and --duration or --count; see bench/load.c\n");
        exit(2);
    }
    options.target.unique_base = os_wall_us() * 100;
    options.target.random_state = options.target.unique_base;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    generate();
    print_result();
    for (size_t i = 0; i < options.connections; i++)
        load_conn_close(&run.conns[i]);
    close(run.epoll);
    free(run.conns);
    free(run.idle);
    return run.answered == 0;
}
