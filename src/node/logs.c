/* The replicated log in this process: see logs.h. */
#include "node/logs.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "bifrost/chain_client.h"
#include "node/log_links.h"

struct loop_logs {
    struct node_logs *node;
    struct list link; /* node_logs.loops; main loop */
    struct loop *loop;
    struct log_client_links *links; /* NULL: there are no other nodes */
    struct log_port *port;
    struct chain_client *chains;
    struct node_directory nodes;
    struct loglet_calls calls;
    struct replicated_logs *logs;
    struct list users; /* loop_logs_user.link */
    struct replicated_logs_stats counted;
    unsigned closing; /* parts that are not closed yet */
    void (*close_done)(void *ctx);
    void *close_ctx;
};

struct node_logs {
    struct node_logs_config config;
    struct chain_service *service;
    struct list loops; /* loop_logs.link */
    struct node_directory nodes;
    enum liveness (*liveness)(void *ctx, uint32_t node_id);
    void *liveness_ctx;
    struct loop_logs *main;
    bool writable; /* as the log-server was told */
    bool quiet;
};

/* ---- news to a loop ---- */

struct news {
    struct loop_msg msg;
    struct loop_logs *to;
    bool has_nodes;
    struct node_directory nodes;
    struct chain_set *set; /* or NULL */
};

static void use_chains(struct loop_logs *l, const struct chain_set *set)
{
    replicated_logs_set_replication(l->logs, &set->replication, set->target_nodeset_size);
    for (size_t i = 0; i < set->n; i++)
        replicated_logs_on_chain(l->logs, set->chains[i].log_id, &set->chains[i], set->version);
}

static void deliver_news(struct loop_msg *m)
{
    struct news *news = CONTAINER_OF(m, struct news, msg);
    struct loop_logs *l = news->to;
    if (news->has_nodes) {
        node_directory_free(&l->nodes);
        l->nodes = news->nodes;
        loglet_calls_nodes_changed(&l->calls);
    }
    if (news->set)
        use_chains(l, news->set);
    chain_set_unref(news->set);
    free(news);
}

static struct node_directory copy_directory(const struct node_directory *d)
{
    struct node_directory copy = {0};
    for (size_t i = 0; i < d->len; i++)
        node_directory_put(&copy, &d->nodes[i]);
    return copy;
}

static void broadcast(struct node_logs *n, bool nodes, struct chain_set *set)
{
    if (n->quiet)
        return;
    LIST_FOREACH(link, &n->loops)
    {
        struct loop_logs *l = CONTAINER_OF(link, struct loop_logs, link);
        struct news *news = xcalloc(1, sizeof(*news));
        news->msg.deliver = deliver_news;
        news->to = l;
        news->has_nodes = nodes;
        if (nodes)
            news->nodes = copy_directory(&n->nodes);
        news->set = set ? chain_set_ref(set) : NULL;
        loop_post(l->loop, &news->msg);
    }
}

static void chains_changed(void *ctx, struct chain_set *set)
{
    broadcast(ctx, false, set);
}

/* ---- nodes ---- */

static enum liveness ask_liveness(const struct node_logs *n, uint32_t id)
{
    return n->liveness ? n->liveness(n->liveness_ctx, id) : LIVENESS_ALIVE;
}

static void update_host(struct node_logs *n)
{
    bool writable = storage_takes_writes(node_directory_storage(&n->nodes, n->config.me.id));
    if (n->config.host && writable != n->writable)
        log_host_set_writable(n->config.host, writable);
    n->writable = writable;
}

void node_logs_on_nodes_config(struct node_logs *n, const struct nodes_config *c)
{
    node_directory_free(&n->nodes);
    node_directory_add(&n->nodes, c);
    for (size_t i = 0; i < n->nodes.len; i++)
        n->nodes.nodes[i].liveness = ask_liveness(n, n->nodes.nodes[i].id);
    update_host(n);
    broadcast(n, true, NULL);
}

void node_logs_set_liveness(struct node_logs *n, enum liveness (*liveness)(void *ctx, uint32_t node_id),
                            void *ctx)
{
    n->liveness = liveness;
    n->liveness_ctx = ctx;
    node_logs_liveness_changed(n);
}

void node_logs_liveness_changed(struct node_logs *n)
{
    bool changed = false;
    for (size_t i = 0; i < n->nodes.len; i++) {
        enum liveness now = ask_liveness(n, n->nodes.nodes[i].id);
        changed |= now != n->nodes.nodes[i].liveness;
        n->nodes.nodes[i].liveness = now;
    }
    if (changed)
        broadcast(n, true, NULL);
}

void node_logs_on_logs_config(struct node_logs *n, struct bytes value, uint32_t version)
{
    chain_service_on_logs_config(n->service, value, version);
}

void node_logs_stop_news(struct node_logs *n)
{
    n->quiet = true;
}

/* ---- the node ---- */

struct chain_service *node_logs_chains(struct node_logs *n)
{
    return n->service;
}

struct log_host *node_logs_host(struct node_logs *n)
{
    return n->config.host;
}

struct loop_logs *node_logs_main(struct node_logs *n)
{
    return n->main;
}

static void refresh_metrics(void *ctx)
{
    struct node_logs *n = ctx;
    log_host_refresh_metrics(n->config.host);
}

struct node_logs *node_logs_new(const struct node_logs_config *config)
{
    struct node_logs *n = xcalloc(1, sizeof(*n));
    n->config = *config;
    n->writable = true;
    if (config->host)
        metrics_on_render(refresh_metrics, n);
    list_init(&n->loops);
    n->service = chain_service_new(&(struct chain_service_config){
        .env = loop_env(config->loop), .kv = config->kv, .changed = chains_changed, .ctx = n});
    n->main = loop_logs_new(n, config->loop, config->peers);
    return n;
}

void node_logs_free(struct node_logs *n)
{
    ASSERT(list_empty(&n->loops));
    chain_service_free(n->service);
    node_directory_free(&n->nodes);
    free(n);
}

/* ---- one loop ---- */

void loop_logs_publish(struct loop_logs *l)
{
    struct replicated_logs_stats s;
    replicated_logs_get_stats(l->logs, &s);
    metric_add(metric_counter("restate_bifrost_sequencer_committed_records_total", NULL,
                              "Records committed to the log"),
               (int64_t)(s.committed_records - l->counted.committed_records));
    metric_add(metric_counter("restate_bifrost_sequencer_committed_records_bytes_total", NULL,
                              "Bytes of records committed to the log"),
               (int64_t)(s.committed_bytes - l->counted.committed_bytes));
    l->counted = s;
}

struct loop_logs *loop_logs_new(struct node_logs *n, struct loop *loop, struct peers *peers)
{
    struct loop_logs *l = xcalloc(1, sizeof(*l));
    l->node = n;
    l->loop = loop;
    list_init(&l->users);
    list_push_back(&n->loops, &l->link);
    if (peers)
        l->links = log_client_links_new(peers);
    l->port =
        log_port_new(n->config.host, loop, n->config.me, l->links ? log_client_links_base(l->links) : NULL);
    l->chains = chain_client_new(n->service, n->config.loop, loop);
    l->nodes = copy_directory(&n->nodes);
    loglet_calls_init(&l->calls, loop_env(loop), log_port_net(l->port), &l->nodes, n->config.me);
    log_port_set_calls(l->port, &l->calls);
    if (l->links)
        log_client_links_set_calls(l->links, &l->calls);
    struct replicated_logs_config config = {.calls = &l->calls,
                                            .chains = chain_client_store(l->chains),
                                            .window_records = n->config.window_records,
                                            .retain_bytes = n->config.retain_bytes,
                                            .improve_ms = n->config.improve_ms};
    struct chain_set *set = chain_service_newest(n->service);
    if (set) {
        config.replication = set->replication;
        config.target_nodeset_size = set->target_nodeset_size;
    }
    l->logs = replicated_logs_new(&config);
    return l;
}

struct replicated_logs *loop_logs_replicated(struct loop_logs *l)
{
    return l->logs;
}

struct loglet_calls *loop_logs_calls(struct loop_logs *l)
{
    return &l->calls;
}

struct chain_store *loop_logs_chain_store(struct loop_logs *l)
{
    return chain_client_store(l->chains);
}

void loop_logs_join(struct loop_logs *l, struct loop_logs_user *u)
{
    ASSERT(!l->closing);
    list_init(&u->link);
    list_push_back(&l->users, &u->link);
}

void loop_logs_leave(struct loop_logs_user *u)
{
    list_remove(&u->link);
}

static void part_closed(void *ctx)
{
    struct loop_logs *l = ctx;
    if (--l->closing == 0)
        l->close_done(l->close_ctx);
}

void loop_logs_close(struct loop_logs *l, void (*done)(void *ctx), void *ctx)
{
    l->close_done = done;
    l->close_ctx = ctx;
    l->closing = 2;
    loop_logs_publish(l);
    while (!list_empty(&l->users)) {
        struct loop_logs_user *u = CONTAINER_OF(l->users.next, struct loop_logs_user, link);
        u->closing(u);
    }
    if (l->links)
        log_client_links_set_calls(l->links, NULL);
    log_port_close(l->port, part_closed, l);
    chain_client_close(l->chains, part_closed, l);
}

void loop_logs_free(struct loop_logs *l)
{
    list_remove(&l->link);
    replicated_logs_free(l->logs);
    loglet_calls_free(&l->calls);
    chain_client_free(l->chains);
    log_port_free(l->port);
    if (l->links)
        log_client_links_free(l->links);
    node_directory_free(&l->nodes);
    free(l);
}
