/* Shutdown (spec/cluster.md §1.11): stop accepting, let requests in progress finish for up to five seconds,
 * step down, flush, close. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "node/node_internal.h"

#define DRAIN_MS 5000u

static void deadline(struct env_timer *t)
{
    LOG0(LOG_WARN, "restate_server",
         "Shutdown did not finish within the shutdown-timeout: exiting now. Nothing acknowledged is lost.");
    _exit(1);
}

static void logs_closed(void *ctx)
{
    struct node *n = ctx;
    loop_logs_free(node_logs_main(n->logs));
    loop_stop(n->loop);
}

static void all_stopped(struct node *n)
{
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_free(n->shards[i]);
    n->n_shards = 0;
    if (n->logs)
        loop_logs_close(node_logs_main(n->logs), logs_closed, n);
    else
        loop_stop(n->loop);
}

static void part_stopped(void *ctx)
{
    struct node *n = ctx;
    if (--n->draining == 0)
        all_stopped(n);
}

/* All requests that could finish have: the partitions may go. */
static void close_shards(struct node *n)
{
    n->draining = 1 + n->n_shards;
    if (n->logs)
        node_logs_stop_news(n->logs);
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_stop(n->shards[i], n->loop, part_stopped, n);
    part_stopped(n);
}

static void part_drained(void *ctx)
{
    struct node *n = ctx;
    if (--n->draining == 0)
        close_shards(n);
}

void node_stop(struct node *n)
{
    n->stopping = true;
    n->state = NODE_SHUTTING_DOWN;
    env_timer_cancel(n->env, &n->retry_timer);
    env_timer_init(&n->deadline_timer, deadline);
    env_timer_arm(n->env, &n->deadline_timer, n->config->shutdown_timeout_ms);
    n->draining = 1 + n->n_shards;
    service_close(&n->admin_service);
    if (n->admin_server) {
        n->draining++;
        http_server_drain(n->admin_server, DRAIN_MS, part_drained, n);
    }
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_drain(n->shards[i], DRAIN_MS, n->loop, part_drained, n);
    part_drained(n);
}
