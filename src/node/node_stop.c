/* Shutdown (spec/cluster.md §1.11): tell the other nodes, so that they take the leaderships over; stop
 * accepting, let requests in progress finish for up to five seconds; step down, flush, close; hand the
 * leadership of the metadata over. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "node/grpc_compaction.h"
#include "node/leader_call.h"
#include "node/metadata_migration.h"
#include "node/node_internal.h"

#define DRAIN_MS  5000u
#define LEAVE_MS  3000u
#define TRACES_MS 2000u

static void deadline(struct env_timer *t)
{
    LOG0(LOG_WARN, "restate_server",
         "Shutdown did not finish within the shutdown-timeout: exiting now. Nothing acknowledged is lost.");
    _exit(1);
}

/* The sockets of the links report their end in one more iteration. */
static void links_gone(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, retry_timer);
    loop_stop(n->loop);
}

static void metadata_stopped(void *ctx)
{
    struct node *n = ctx;
    if (n->remote)
        remote_free_keeping_peers(n->remote);
    n->remote = NULL;
    control_link_set_metadata(n->control, NULL);
    control_link_free(n->control);
    links_free(n->links);
    if (n->logs)
        loop_logs_free(node_logs_main(n->logs)); /* closed before; its links were told of until now */
    n->control = NULL;
    n->links = NULL;
    env_timer_init(&n->retry_timer, links_gone);
    env_timer_arm(n->env, &n->retry_timer, 0);
}

static void log_links_closed(void *ctx)
{
    struct node *n = ctx;
    metadata_host_stop(n->metadata, metadata_stopped, n);
}

static void logs_closed(void *ctx)
{
    struct node *n = ctx;
    if (n->log_host)
        log_server_links_close(n->log_links, n->loop, log_links_closed, n);
    else
        log_links_closed(n);
}

static void traces_sent(void *ctx)
{
    struct node *n = ctx;
    n->shared.traces = NULL;
    if (n->cluster)
        cluster_close(n->cluster);
    if (n->logs)
        loop_logs_close(node_logs_main(n->logs), logs_closed, n);
    else
        metadata_host_stop(n->metadata, metadata_stopped, n);
}

static void all_stopped(struct node *n)
{
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_free(n->shards[i]);
    n->n_shards = 0;
    if (n->client) /* of discoveries; while the loop still runs, so that its connections can end */
        http_client_free(n->client);
    n->client = NULL;
    if (n->shared.traces)
        trace_exporter_close(n->shared.traces, TRACES_MS, traces_sent, n);
    else
        traces_sent(n);
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
    links_stop(n->links);
    if (n->logs)
        node_logs_stop_news(n->logs);
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_stop(n->shards[i], n->loop, part_stopped, n);
    part_stopped(n);
}

static void discoveries_closed(void *ctx)
{
    struct node *n = ctx;
    node_queries_stop(n, close_shards); /* they read from the partitions' stores */
}

static void part_drained(void *ctx)
{
    struct node *n = ctx;
    if (--n->draining > 0)
        return;
    if (n->invoker)
        invoker_close(n->invoker, discoveries_closed, n);
    else
        discoveries_closed(n);
}

/* Others lead now what this node led; requests that arrive here are still answered, by them. */
static void left(void *ctx)
{
    struct node *n = ctx;
    n->draining = 3 + n->n_shards;
    service_close(&n->admin_service);
    if (n->admin_server) {
        n->draining++;
        http_server_drain(n->admin_server, DRAIN_MS, part_drained, n);
    }
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_drain(n->shards[i], DRAIN_MS, n->loop, part_drained, n);
    grpc_compactions_stop(n, part_drained);
    metadata_migration_stop(n, part_drained);
    part_drained(n);
}

void node_stop(struct node *n)
{
    bool served = n->state == NODE_ALIVE;
    n->stopping = true;
    n->state = NODE_SHUTTING_DOWN;
    leader_calls_stop(n);
    env_timer_cancel(n->env, &n->retry_timer);
    env_timer_cancel(n->env, &n->leaders_timer);
    env_timer_cancel(n->env, &n->states_timer);
    if (n->log_host)
        env_timer_cancel(n->env, &n->storage.timer);
    env_timer_init(&n->deadline_timer, deadline);
    env_timer_arm(n->env, &n->deadline_timer, n->config->shutdown_timeout_ms);
    if (served)
        cluster_leave(n->cluster, LEAVE_MS, left, n);
    else
        left(n);
}
