/* Process-wide metrics in Prometheus form (spec/config.md §5.2, §5.3). Registration is done once (static
 * initialisers or start-up) and returns a handle that any thread may update: counters and gauges are relaxed
 * atomics; summaries are per-handle histograms under relaxed atomics. Series with the same name and labels
 * are one. */
#pragma once
#include "base/bytes.h"

struct writer;
struct metric;

/* `labels` is the text between the braces, e.g. `status="admitted"`, or NULL. Strings are copied. */
struct metric *metric_counter(const char *name, const char *labels, const char *help);
struct metric *metric_gauge(const char *name, const char *labels, const char *help);
/* Values are seconds, exported as quantiles 0.5, 0.9, 0.99, 1 plus _sum and _count. */
struct metric *metric_summary(const char *name, const char *labels, const char *help);
void metric_add(struct metric *m, int64_t delta);
static inline void metric_inc(struct metric *m)
{
    metric_add(m, 1);
}
void metric_set(struct metric *m, int64_t value);
void metric_observe_us(struct metric *m, uint64_t microseconds);
int64_t metric_value(const struct metric *m);
/* All series with `common_labels` (e.g. `cluster_name="c",node_name="n"`) first in the braces. */
void metrics_render(struct writer *w, const char *common_labels);
/* Called at the beginning of each metrics_render on the rendering thread, to refresh gauges. */
void metrics_on_render(void (*refresh)(void *ctx), void *ctx);
