/* Tells the shards whether this is a cluster, which decides how logs are trimmed when nothing is configured,
 * and warns of a cluster whose logs cannot be trimmed (spec/cluster.md §6.4). */
#include "node/node_internal.h"

#define LOOK_MS 1000u

static unsigned count_workers(const struct nodes_config *c)
{
    unsigned n = 0;
    for (size_t i = 0; i < c->n_nodes; i++) {
        const struct node_entry *e = &c->nodes[i];
        n += !e->tombstone && (e->roles & ROLE_WORKER) && e->worker != WORKER_DISABLED;
    }
    return n;
}

static void look(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, snapshots_timer);
    if (n->stopping)
        return;
    unsigned copies = n->view.logs_value.version ? replication_copies(&n->view.logs.replication) : 1;
    node_snapshots_set_cluster(n->snapshots, durability_is_cluster(copies, count_workers(&n->view.nodes)));
    node_snapshots_warn(n->snapshots, env_mono_ms(n->env));
    env_timer_arm(n->env, t, LOOK_MS);
}

void node_watch_snapshots(struct node *n)
{
    env_timer_init(&n->snapshots_timer, look);
    look(&n->snapshots_timer);
}
