/* Metrics of the failure detector (spec/config.md §5.3), brought up to date with every tick. */
#include "base/metrics.h"
#include "membership/membership_internal.h"

static const char *const states[] = {"state=\"dead\"", "state=\"suspect\"", "state=\"alive\"",
                                     "state=\"failing_over\""};
static const struct {
    const char *name, *labels, *help;
    size_t offset; /* of the count in struct membership_stats */
} counters[] = {
    {"restate_failure_detector_gossip_sent_total", NULL, "Messages of the failure detector sent",
     offsetof(struct membership_stats, sent)},
    {"restate_failure_detector_gossip_received_total", NULL, "Messages of the failure detector received",
     offsetof(struct membership_stats, received)},
    {"restate_failure_detector_dropped_total", "reason=\"malformed\"",
     "Messages dropped: undecodable, or of strangers and former processes",
     offsetof(struct membership_stats, malformed)},
    {"restate_failure_detector_dropped_total", "reason=\"foreign\"",
     "Messages dropped: undecodable, or of strangers and former processes",
     offsetof(struct membership_stats, foreign)},
    {"restate_failure_detector_deaths_total", "cause=\"silence\"",
     "Nodes declared dead for silence, or because the transport said that their process has ended",
     offsetof(struct membership_stats, deaths)},
    {"restate_failure_detector_deaths_total", "cause=\"connection\"",
     "Nodes declared dead for silence, or because the transport said that their process has ended",
     offsetof(struct membership_stats, hints)},
    {"restate_failure_detector_gaps_total", NULL,
     "Times in which this process did not run long enough to listen, discounted from the silence of others",
     offsetof(struct membership_stats, gaps)},
};
_Static_assert(ARRAY_LEN(counters) == MEMBERSHIP_COUNTERS, "one handle each");
_Static_assert(ARRAY_LEN(states) == MEMBERSHIP_VERDICTS, "one gauge each");

void membership_metrics_init(struct membership *m)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        m->metrics.nodes[i] = metric_gauge("restate_failure_detector_nodes_total", states[i],
                                           "Nodes of the configuration by verdict, this one included");
    m->metrics.lonely = metric_gauge("restate_failure_detector_lonely", NULL,
                                     "1 if nobody was heard for long although there are others");
    m->metrics.instance =
        metric_gauge("restate_failure_detector_instance", NULL, "Generation of this node's process");
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        m->metrics.counters[i] = metric_counter(counters[i].name, counters[i].labels, counters[i].help);
}

void membership_metrics_update(struct membership *m)
{
    int64_t nodes[MEMBERSHIP_VERDICTS] = {0};
    for (size_t i = 0; i < m->n_peers; i++)
        nodes[membership_verdict(m, m->peers[i].id)]++;
    for (size_t i = 0; i < MEMBERSHIP_VERDICTS; i++)
        metric_set(m->metrics.nodes[i], nodes[i]);
    metric_set(m->metrics.lonely, membership_lonely(m));
    metric_set(m->metrics.instance, m->self.generation);
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        uint64_t now, before;
        memcpy(&now, (const char *)&m->stats + counters[i].offset, sizeof(now));
        memcpy(&before, (const char *)&m->metrics.told + counters[i].offset, sizeof(before));
        metric_add(m->metrics.counters[i], (int64_t)(now - before));
    }
    m->metrics.told = m->stats;
}
