/* Provider `replicated`: moving on to a better segment, by request and by itself (spec/cluster.md §5.9). */
#include "bifrost/replicated_log_internal.h"

#define ROUND_MS  1000
#define URGENT_MS 200 /* several nodes that come at once are worth one segment, not several */

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
           !nodeset_eq(&set, &log->params.nodeset) || sequencer_lost_members(log->seq) > 0;
}

/* ---- by itself ---- */

/* A node set below 2R - 1 does not survive the R - 1 failures that R copies promise (spec/cluster.md §5.3):
 * records of its end may be on too few of the nodes that are left to be repaired, and the log waits for the
 * others to return. That is what the first logs of a new cluster are like, made when only some of the nodes
 * had come (G-7). So this does not wait for its turn; nor does a segment that one of its members has lost
 * with its disk: a new one can have that member again. */
static bool is_fragile(const struct replicated_log *log)
{
    const struct replicated_logs_config *c = &log->logs->config;
    const struct nodeset *set = &log->params.nodeset;
    unsigned alive = 0;
    if (!log->seq || !log->claimed)
        return false;
    if (sequencer_lost_members(log->seq) > 0)
        return true;
    if (set->len + 1 >= 2 * replication_copies(&c->replication))
        return false;
    for (size_t i = 0; i < c->calls->nodes->len; i++) {
        const struct node_info *n = &c->calls->nodes->nodes[i];
        alive += !n->removed && storage_wants_writes(n->storage) && n->liveness != LIVENESS_DEAD;
    }
    return alive > set->len;
}

static bool is_urgent(struct replicated_log *log, uint64_t now)
{
    bool idle = !log->reconfigure && !log->extend && !log->closing && !log->broken;
    if (!idle || !is_fragile(log)) {
        log->fragile_since = 0;
        return false;
    }
    if (!log->fragile_since)
        log->fragile_since = now;
    return now - log->fragile_since >= URGENT_MS && replicated_log_improvable(&log->log);
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
    if (!log->improve_at)
        log->improve_at = now + after / 2 + env_random(rl_env(log)) % (after + 1);
    return now >= log->improve_at;
}

void rl_improve(struct replicated_logs *l)
{
    uint64_t now = env_mono_ms(l->config.calls->env);
    size_t n_logs = 0;
    LIST_FOREACH(n, &l->open)
    {
        struct replicated_log *log = CONTAINER_OF(n, struct replicated_log, link);
        if (l->config.improve_ms && is_urgent(log, now))
            replicated_log_reconfigure(&log->log);
    }
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
