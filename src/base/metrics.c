/* Metrics registry and Prometheus text output (base/metrics.h, spec/config.md §5.2).
 *
 * Summaries are log-linear histograms over microseconds: 8 steps per power of two, so a quantile is off by at
 * most 1/16 of its value. Quantiles describe the last one to two windows of a minute (rotated when somebody
 * scrapes); _sum and _count are totals since the start. */
#include "base/metrics.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/containers.h"
#include "base/hash.h"
#include "base/time.h"

#define STEP_BITS   3
#define STEPS       (1u << STEP_BITS)
#define MAX_POWER   40 /* 2^40 us is 12 days; longer values count as that */
#define BUCKETS     ((MAX_POWER - STEP_BITS + 1) * STEPS)
#define WINDOW_NS   60000000000ull
#define MAX_SERIES  20000
#define MAX_REFRESH 64

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_SUMMARY };

struct window {
    _Atomic uint32_t buckets[BUCKETS];
    _Atomic uint64_t max_us;
};

struct histogram {
    _Atomic uint64_t count, sum_us;
    _Atomic unsigned active; /* index of the window being filled */
    uint64_t rotated_ns;     /* under the registry lock */
    struct window windows[2];
};

struct metric {
    struct hmap_node by_series;
    struct omap_node by_name;
    enum metric_kind kind;
    _Atomic int64_t value;
    struct histogram *histogram; /* summaries only */
    char *name, *labels, *help;
};

static int cmp_series(const struct omap_node *a, const struct omap_node *b)
{
    const struct metric *x = CONTAINER_OF(a, struct metric, by_name),
                        *y = CONTAINER_OF(b, struct metric, by_name);
    int c = strcmp(x->name, y->name);
    return c ? c : strcmp(x->labels, y->labels);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hmap series;
static struct omap ordered = {NULL, 0, cmp_series};
static struct {
    void (*fn)(void *ctx);
    void *ctx;
} refreshers[MAX_REFRESH];
static size_t n_refreshers;

static struct metric *metric_new(enum metric_kind kind, const char *name, const char *labels,
                                 const char *help)
{
    struct metric *m = xcalloc(1, sizeof(*m));
    m->kind = kind;
    m->name = xstrdup(name);
    m->labels = xstrdup(labels);
    m->help = xstrdup(help ? help : "");
    if (kind == METRIC_SUMMARY) {
        m->histogram = xcalloc(1, sizeof(*m->histogram));
        m->histogram->rotated_ns = os_mono_ns();
    }
    return m;
}

/* Series beyond the limit share one handle per kind that is never rendered: labels that come from users
 * cannot exhaust memory. */
static struct metric *overflow_metric(enum metric_kind kind)
{
    static struct metric *shared[3];
    if (!shared[kind])
        shared[kind] = metric_new(kind, "overflow", "", "");
    return shared[kind];
}

static struct metric *metric_register(enum metric_kind kind, const char *name, const char *labels,
                                      const char *help)
{
    if (!labels)
        labels = "";
    uint64_t hash = hash64_combine(hash64(slice_cstr(name)), hash64(slice_cstr(labels)));
    pthread_mutex_lock(&lock);
    struct metric *m = NULL;
    for (struct hmap_node *n = hmap_first(&series, hash); n; n = hmap_next_same(n)) {
        struct metric *candidate = CONTAINER_OF(n, struct metric, by_series);
        if (strcmp(candidate->name, name) == 0 && strcmp(candidate->labels, labels) == 0) {
            m = candidate;
            break;
        }
    }
    if (m) {
        ASSERT_MSG(m->kind == kind, "metric %s registered with two types", name);
    } else if (series.count >= MAX_SERIES) {
        m = overflow_metric(kind);
    } else {
        m = metric_new(kind, name, labels, help);
        hmap_insert(&series, &m->by_series, hash);
        omap_insert(&ordered, &m->by_name);
    }
    pthread_mutex_unlock(&lock);
    return m;
}

struct metric *metric_counter(const char *name, const char *labels, const char *help)
{
    return metric_register(METRIC_COUNTER, name, labels, help);
}

struct metric *metric_gauge(const char *name, const char *labels, const char *help)
{
    return metric_register(METRIC_GAUGE, name, labels, help);
}

struct metric *metric_summary(const char *name, const char *labels, const char *help)
{
    return metric_register(METRIC_SUMMARY, name, labels, help);
}

void metric_add(struct metric *m, int64_t delta)
{
    atomic_fetch_add_explicit(&m->value, delta, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t value)
{
    atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
    if (m->histogram)
        return (int64_t)atomic_load_explicit(&m->histogram->count, memory_order_relaxed);
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

static unsigned bucket_of(uint64_t us)
{
    if (us < STEPS)
        return (unsigned)us;
    unsigned power = 63u - (unsigned)__builtin_clzll(us);
    if (power >= MAX_POWER)
        return BUCKETS - 1;
    unsigned step = (unsigned)(us >> (power - STEP_BITS)) & (STEPS - 1);
    return (power - STEP_BITS + 1) * STEPS + step;
}

/* The middle of a bucket. */
static double bucket_value_us(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    unsigned power = bucket / STEPS + STEP_BITS - 1, step = bucket % STEPS;
    double width = (double)(1ull << (power - STEP_BITS));
    return (STEPS + step) * width + width / 2;
}

void metric_observe_us(struct metric *m, uint64_t us)
{
    struct histogram *h = m->histogram;
    ASSERT_MSG(h, "metric %s is not a summary", m->name);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
    struct window *w = &h->windows[atomic_load_explicit(&h->active, memory_order_relaxed)];
    atomic_fetch_add_explicit(&w->buckets[bucket_of(us)], 1, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&w->max_us, memory_order_relaxed);
    while (us > max && !atomic_compare_exchange_weak_explicit(&w->max_us, &max, us, memory_order_relaxed,
                                                              memory_order_relaxed))
        ;
}

/* Observations that race with the clearing may be lost from the quantiles, never from _sum and _count. */
static void histogram_rotate(struct histogram *h, uint64_t now_ns)
{
    if (now_ns - h->rotated_ns < WINDOW_NS)
        return;
    h->rotated_ns = now_ns;
    unsigned next = 1 - atomic_load_explicit(&h->active, memory_order_relaxed);
    for (unsigned i = 0; i < BUCKETS; i++)
        atomic_store_explicit(&h->windows[next].buckets[i], 0, memory_order_relaxed);
    atomic_store_explicit(&h->windows[next].max_us, 0, memory_order_relaxed);
    atomic_store_explicit(&h->active, next, memory_order_relaxed);
}

static void write_name(struct writer *w, const struct metric *m, const char *suffix, const char *common,
                       const char *quantile)
{
    const char *parts[3] = {common, m->labels, quantile};
    char separator = '{';
    write_fmt(w, "%s%s", m->name, suffix);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!parts[i] || !parts[i][0])
            continue;
        write_u8(w, (uint8_t)separator);
        write_raw(w, parts[i], strlen(parts[i]));
        separator = ',';
    }
    write_fmt(w, "%s ", separator == ',' ? "}" : "");
}

static void render_summary(struct writer *w, struct metric *m, const char *common, uint64_t now_ns)
{
    static const struct {
        double q;
        const char *label;
    } quantiles[] = {{0.5, "quantile=\"0.5\""}, {0.9, "quantile=\"0.9\""}, {0.99, "quantile=\"0.99\""}};
    struct histogram *h = m->histogram;
    histogram_rotate(h, now_ns);
    uint32_t merged[BUCKETS];
    uint64_t total = 0, max_us = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        merged[i] = atomic_load_explicit(&h->windows[0].buckets[i], memory_order_relaxed) +
                    atomic_load_explicit(&h->windows[1].buckets[i], memory_order_relaxed);
        total += merged[i];
    }
    for (int i = 0; i < 2; i++)
        max_us = MAX(max_us, atomic_load_explicit(&h->windows[i].max_us, memory_order_relaxed));
    unsigned bucket = 0;
    uint64_t below = merged[0];
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
        uint64_t rank = (uint64_t)(quantiles[i].q * (double)total);
        while (bucket + 1 < BUCKETS && below <= rank && below < total)
            below += merged[++bucket];
        double us = total ? MIN(bucket_value_us(bucket), (double)max_us) : 0;
        write_name(w, m, "", common, quantiles[i].label);
        write_fmt(w, "%.9g\n", us / 1e6);
    }
    write_name(w, m, "", common, "quantile=\"1\"");
    write_fmt(w, "%.9g\n", (double)max_us / 1e6);
    write_name(w, m, "_sum", common, NULL);
    write_fmt(w, "%.9g\n", (double)atomic_load_explicit(&h->sum_us, memory_order_relaxed) / 1e6);
    write_name(w, m, "_count", common, NULL);
    write_fmt(w, "%llu\n", (unsigned long long)atomic_load_explicit(&h->count, memory_order_relaxed));
}

static void write_help(struct writer *w, const struct metric *m)
{
    static const char *const kinds[] = {"counter", "gauge", "summary"};
    if (m->help[0]) {
        write_fmt(w, "# HELP %s ", m->name);
        for (const char *p = m->help; *p; p++) {
            if (*p == '\n')
                write_raw(w, "\\n", 2);
            else if (*p == '\\')
                write_raw(w, "\\\\", 2);
            else
                write_u8(w, (uint8_t)*p);
        }
        write_u8(w, '\n');
    }
    write_fmt(w, "# TYPE %s %s\n", m->name, kinds[m->kind]);
}

void metrics_render(struct writer *w, const char *common_labels)
{
    pthread_mutex_lock(&lock);
    size_t n = n_refreshers;
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++) /* outside of the lock: they register and update metrics */
        refreshers[i].fn(refreshers[i].ctx);
    pthread_mutex_lock(&lock);
    uint64_t now_ns = os_mono_ns();
    const char *last_name = "";
    for (struct omap_node *node = omap_first(&ordered); node; node = omap_next(node)) {
        struct metric *m = CONTAINER_OF(node, struct metric, by_name);
        if (strcmp(m->name, last_name) != 0) {
            write_help(w, m);
            last_name = m->name;
        }
        if (m->kind == METRIC_SUMMARY) {
            render_summary(w, m, common_labels, now_ns);
        } else {
            write_name(w, m, "", common_labels, NULL);
            write_fmt(w, "%lld\n", (long long)atomic_load_explicit(&m->value, memory_order_relaxed));
        }
    }
    pthread_mutex_unlock(&lock);
}

void metrics_on_render(void (*refresh)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&lock);
    ASSERT(n_refreshers < MAX_REFRESH);
    refreshers[n_refreshers].fn = refresh;
    refreshers[n_refreshers].ctx = ctx;
    n_refreshers++;
    pthread_mutex_unlock(&lock);
}
