/* Becoming a member of the cluster, again and again until it works, and finding out that the node is none any
 * more (spec/cluster.md §1.2, §1.7, §1.8, §1.10). */
#include <stdio.h>

#include "node/node_internal.h"

#define TARGET              "restate_node"
#define JOIN_RETRY_BLANK_MS 100u
#define JOIN_WARN_MS        120000u

static void joined(void *ctx, const struct joined *j, const struct err *err);

static void try_join(struct env_timer *t)
{
    struct node *n = CONTAINER_OF(t, struct node, retry_timer);
    if (n->joining || n->stopping)
        return;
    n->joining = true;
    join_start(n->env, n->kv, n->config, n->fabric_service.advertised, n->dir.fingerprint, joined, n);
}

void node_join_now(struct node *n)
{
    if (env_timer_armed(&n->retry_timer))
        env_timer_arm(n->env, &n->retry_timer, 0);
}

/* Why nobody lets this node in, which has no metadata of its own (any more). `member`: the address of a
 * metadata server that belongs to the cluster, NULL: none answered. */
static void members_asked(void *ctx, const char *member)
{
    struct node *n = ctx;
    if (n->stopping || n->joined.node_id)
        return;
    if (member) {
        LOG0(
            LOG_WARN, TARGET,
            "Waiting for the metadata servers of the cluster '%s': %s belongs to it, but no majority of them "
            "answers. Start the others. If the disks of so many are gone for good, `restate-server recover "
            "metadata` on one that has its disk makes it the only member (docs/operations.md, When too much "
            "is "
            "lost). Do not provision: that would make another cluster",
            n->config->cluster_name, member);
        return;
    }
    bool long_ago = env_mono_ms(n->env) - n->join_began_ms >= JOIN_WARN_MS;
    LOG0(
        long_ago ? LOG_WARN : LOG_INFO, TARGET,
        "Waiting for the cluster '%s' to be provisioned or reachable (%s). A new cluster is provisioned with "
        "`restatectl provision`; to join an existing one, metadata-client.addresses must name its metadata "
        "servers.",
        n->config->cluster_name, n->join_why.msg);
}

/* Not yet: the cluster is not provisioned, or nobody that knows it answers. Say so after a while, then now
 * and again (spec/cluster.md §1.7, §1.8). */
static void join_later(struct node *n, const struct err *why)
{
    uint64_t now = env_mono_ms(n->env), waited = now - n->join_began_ms;
    if (waited >= n->config->initialization_timeout_ms) {
        struct err err;
        err_set(&err, RC_TIMEOUT, "Cannot join the cluster within the initialization-timeout of %llu s: %s",
                (unsigned long long)n->config->initialization_timeout_ms / 1000, why->msg);
        node_fail(n, &err);
        return;
    }
    bool blank = metadata_host_is_blank(n->metadata), external = metadata_host_is_external(n->metadata);
    if (node_provision_external(n))
        n->join_told_ms = MAX(now, 1); /* it is not waited for somebody else */
    if (!n->join_told_ms || now - n->join_told_ms >= NODE_TELL_MS) {
        n->join_told_ms = MAX(now, 1);
        n->join_why = *why;
        if (blank && !metadata_host_probing(n->metadata))
            metadata_host_probe(n->metadata, NODE_PROBE_MS, members_asked, n);
        else if (!blank)
            LOG0(waited >= JOIN_WARN_MS ? LOG_WARN : LOG_INFO, TARGET,
                 "Waiting for the cluster '%s' to be provisioned or reachable (%s). %s",
                 n->config->cluster_name, why->msg,
                 n->dir.provisioned || !external
                     ? "This node was part of it before."
                     : "A new cluster is provisioned with `restatectl provision`.");
    }
    uint32_t pause = blank ? JOIN_RETRY_BLANK_MS : NODE_RETRY_MS;
    env_timer_arm(n->env, &n->retry_timer, pause / 2 + env_random(n->env) % pause);
}

static void log_joined(struct node *n)
{
    char roles[128], version[16];
    node_roles_format(n->config->roles, " | ", roles, sizeof(roles));
    snprintf(version, sizeof(version), "v%u", n->joined.nodes_config_version);
    LOG(LOG_INFO, TARGET,
        LOG_FIELDS({"node_name", n->config->node_name}, {"roles", roles},
                   {"address", n->fabric_service.advertised}, {"location", n->config->location},
                   {"nodes_config_version", version}, {"cluster_name", n->config->cluster_name}),
        "My Node ID is N%u:%u", n->joined.node_id, n->joined.generation);
}

static void joined(void *ctx, const struct joined *j, const struct err *join_err)
{
    struct node *n = ctx;
    n->joining = false;
    if (n->stopping)
        return;
    if (join_err && join_err->rc == RC_AGAIN) {
        join_later(n, join_err);
        return;
    }
    struct err err = {0};
    enum rc rc = RC_OK;
    if (join_err) {
        node_fail(n, join_err);
        return;
    }
    n->joined = *j;
    n->shared.node_id = j->node_id;
    n->shared.node_generation = j->generation;
    links_joined(n->links, (struct node_ref){j->node_id, j->generation}, j->fingerprint);
    links_nodes(n->links, &n->view.nodes);
    control_link_set_identity(n->control, j->node_id);
    metadata_host_joined(n->metadata, j->node_id, j->fingerprint);
    rc = data_dir_set_provisioned(&n->dir, j->fingerprint, &err);
    if (rc == RC_OK)
        log_joined(n);
    if (rc == RC_OK)
        rc = node_open_partitions(n, &err);
    if (rc != RC_OK)
        node_fail(n, &err);
}

void node_join_init(struct node *n)
{
    env_timer_init(&n->retry_timer, try_join);
}

void node_join(struct node *n)
{
    n->join_began_ms = env_mono_ms(n->env);
    try_join(&n->retry_timer);
}

void node_check_membership(struct node *n)
{
    const struct node_entry *me = nodes_config_by_id(&n->view.nodes, n->joined.node_id);
    struct err err;
    if (!n->joined.node_id || n->stopping)
        return;
    if (!me || me->tombstone)
        err_set(&err, RC_CLOSED, "This node has been removed from nodes configuration");
    else if (me->generation > n->joined.generation)
        err_set(&err, RC_CLOSED, "This node is N%u:%u and was replaced by N%u:%u", me->id,
                n->joined.generation, me->id, me->generation);
    else
        return;
    node_fail(n, &err);
}
