/* Provider `replicated`: moving on to a better segment, by request and by itself (spec/cluster.md §5.9). */
#include "bifrost/replicated_log_internal.h"

#define ROUND_MS       500
#define FRAGILE_FACTOR 10 /* so much sooner */

static struct replicated_log *self(struct log *l)
{
    return CONTAINER_OF(l, struct replicated_log, log);
}

void replicated_log_reconfigure(struct log *l)
{
    struct replicated_log *log = self(l);
    if (!log->seq || !log->claimed)
        return;
    log->reconfigure = true;
    log->improve_at = 0;
    rl_wake(log);
}

bool replicated_log_improvable(struct log *l)
{
    struct replicated_log *log = self(l);
    const struct replicated_logs_config *c = &log->logs->config;
    struct nodeset set;
    if (!log->seq || !log->claimed)
        return false;
    struct nodeset_wish wish = {.replication = c->replication,
                                .target_size = c->target_nodeset_size,
                                .sequencer = c->calls->me.id,
                                .preferred = &log->params.nodeset,
                                .salt = l->log_id};
    if (nodeset_select(c->calls->nodes, &wish, &set, NULL) != RC_OK)
        return false;
    return !replication_eq(&c->replication, &log->params.replication) ||
           !nodeset_eq(&set, &log->params.nodeset);
}

/* ---- by itself ---- */

/* While this is the sequencer. Every member holds every record: nothing can be written without one of them.
 * So it is in a young cluster, whose first segments know the nodes that came first only; it does not keep its
 * promise before they grow. */
static bool is_fragile(const struct replicated_log *log)
{
    unsigned copies = replication_copies(&log->params.replication);
    return copies > 1 && log->params.nodeset.len <= copies;
}

/* True if its time has come: so long after the possibility was noticed, if it still exists. */
static bool is_due(struct replicated_log *log, uint64_t now)
{
    uint64_t after = log->logs->config.improve_ms;
    if (log->reconfigure || log->extend || log->closing || log->broken ||
        !replicated_log_improvable(&log->log)) {
        log->improve_at = 0;
        return false;
    }
    if (is_fragile(log))
        after /= FRAGILE_FACTOR;
    if (!log->improve_at)
        log->improve_at = now + after / 2 + env_random(rl_env(log)) % (after + 1);
    return now >= log->improve_at;
}

void rl_improve(struct replicated_logs *l)
{
    uint64_t now = env_mono_ms(l->config.calls->env);
    size_t n_logs = 0;
    if (!l->config.improve_ms || now - l->improved_ms < MIN(l->config.improve_ms, (uint64_t)ROUND_MS))
        return;
    l->improved_ms = now;
    LIST_FOREACH(n, &l->open)
    {
        n_logs++;
    }
    size_t allowed = MAX(n_logs / 3, (size_t)1);
    LIST_FOREACH(n, &l->open)
    {
        struct replicated_log *log = CONTAINER_OF(n, struct replicated_log, link);
        if (!is_due(log, now) || allowed == 0)
            continue;
        allowed--;
        replicated_log_reconfigure(&log->log);
    }
}
