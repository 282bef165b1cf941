/* The main loop of a node: signals, configuration reloads, and the frame around start-up and shutdown. */
#include "node/node.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/time.h"
#include "node/node_internal.h"
#include "node/version.h"

static void on_terminate(void *ctx, int signum)
{
    struct node *n = ctx;
    if (n->stopping) {
        LOG0(LOG_WARN, "restate_server", "Received a second signal, exiting immediately.");
        _exit(1);
    }
    LOG0(LOG_INFO, "restate_server", "Received signal, starting shutdown.");
    node_stop(n);
}

static void on_dump(void *ctx, int signum)
{
    struct node *n = ctx;
    LOG0(LOG_WARN, "restate_server", "Received SIGUSR1, dumping configuration");
    struct bytes text = config_dump(n->reloaded[0] ? n->reloaded[0] : n->config);
    fwrite(text.ptr, 1, text.len, stderr);
    bytes_unref(&text);
}

static void on_ignored(void *ctx, int signum)
{
    LOG0(LOG_INFO, "restate_server", "Received %s: nothing to do, stores flush by themselves",
         signum == SIGHUP ? "SIGHUP" : "SIGUSR2");
}

static void on_config_changed(void *ctx)
{
    struct node *n = ctx;
    LOG0(LOG_WARN, "restate_server", "Detected configuration file changes: \"%s\"", n->config->config_file);
    struct node_config *fresh;
    struct err err = {0};
    if (config_reload(n->config, &fresh, &err) != RC_OK) {
        LOG0(LOG_WARN, "restate_server", "Error updating configuration, config was not updated: %s", err.msg);
        return;
    }
    if (n->reloaded[1])
        config_free(n->reloaded[1]);
    n->reloaded[1] = n->reloaded[0];
    n->reloaded[0] = fresh;
    n->schema_cell.defaults = fresh->defaults;
    shard_throttles_config(fresh, &n->throttles);
    for (uint32_t i = 0; i < n->n_shards; i++)
        shard_set_config(n->shards[i], fresh);
}

static void log_start(const struct node_config *c)
{
    char cpus[16];
    snprintf(cpus, sizeof(cpus), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    LOG(LOG_INFO, "restate_server",
        LOG_FIELDS({"node_name", c->node_name},
                   {"config_source", c->config_file ? c->config_file : "[default]"},
                   {"base_dir", c->base_dir}, {"cpus", cpus}),
        "Starting Restate Server %s (C)", RESTATE_VERSION);
}

/* After the loop has returned: release what is left, in the reverse order of start-up. */
static void release(struct node *n)
{
    node_admin_free(n);
    if (n->shared.lambda)
        lambda_access_free(n->shared.lambda);
    if (n->ingress)
        ingress_shared_free(n->ingress);
    if (n->fabric)
        fabric_free(n->fabric);
    if (n->snapshots)
        node_snapshots_free(n->snapshots);
    if (n->logs)
        node_logs_free(n->logs);
    if (n->log_host)
        log_host_close(n->log_host);
    if (n->log_links)
        log_server_links_free(n->log_links);
    if (n->db)
        rocks_db_close(n->db);
    if (n->metadata)
        metadata_host_close(n->metadata);
    if (n->cluster)
        cluster_free(n->cluster);
    cluster_view_free(&n->view);
    arena_free(&n->storage.arena);
    if (n->schemas)
        schema_store_free(n->schemas);
    if (n->rules)
        rule_store_free(n->rules);
    n->rules = NULL;
    if (n->router)
        router_free(n->router);
    if (n->map)
        partition_map_free(n->map);
    schema_unref(n->schema_cell.schema);
    loop_free(n->loop);
    data_dir_close(&n->dir);
    free(n->shards);
    free(n->ingress_listeners);
    free(n->shared.identity_key_pem);
    for (size_t i = 0; i < ARRAY_LEN(n->reloaded); i++) {
        if (n->reloaded[i])
            config_free(n->reloaded[i]);
    }
    config_free(n->config);
}

int node_run(struct node_config *config)
{
    struct node n = {.config = config, .started_mono_ns = os_mono_ns(), .dir.lock_fd = -1};
    log_start(config);
    config_log_warnings(config);
    n.loop = loop_new("main");
    n.env = loop_env(n.loop);
    list_init(&n.leader_calls);
    list_init(&n.compactions);
    loop_on_signal(n.loop, SIGTERM, on_terminate, &n);
    loop_on_signal(n.loop, SIGINT, on_terminate, &n);
    loop_on_signal(n.loop, SIGUSR1, on_dump, &n);
    loop_on_signal(n.loop, SIGUSR2, on_ignored, &n);
    loop_on_signal(n.loop, SIGHUP, on_ignored, &n);
    if (config->config_file)
        loop_watch_file(n.loop, config->config_file, on_config_changed, &n);
    node_start(&n);
    if (n.exit_code == 0)
        loop_run(n.loop);
    if (n.exit_code != 0) {
        /* Other loops may be in any state: nothing acknowledged depends on an orderly end. */
        fflush(stdout);
        _exit(n.exit_code);
    }
    uint64_t began = os_mono_ns();
    release(&n);
    LOG0(LOG_INFO, "restate_server", "Restate has gracefully shutdown in %.1fms",
         (double)(os_mono_ns() - began) / 1e6);
    return 0;
}
