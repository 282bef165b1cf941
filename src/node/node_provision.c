/* Making this node the first of a new cluster: on request, or by itself (spec/cluster.md §1.9). */
#include "node/node_internal.h"

#define TARGET "restate_node"

static void external_provisioned(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    void (*done)(void *ctx, const struct err *err) = n->provisioning.done;
    n->provisioning.done = NULL;
    if (n->stopping)
        return;
    done(n->provisioning.ctx, err);
    node_join_now(n);
}

void node_provision(struct node *n, const struct provision_settings *settings,
                    void (*done)(void *ctx, const struct err *err), void *ctx)
{
    struct kv_table values;
    struct provision_identity identity;
    struct err err = {0};
    bool external = metadata_host_is_external(n->metadata);
    /* In an external store whoever provisions completes what another node began. */
    bool complete = n->view.nodes_value.version &&
                    (!external || (n->view.logs_value.version && n->view.table_value.version));
    if (n->dir.provisioned || n->provisioning.done || complete) {
        err_set(&err, RC_EXISTS, "The cluster has already been provisioned");
        done(ctx, &err);
        return;
    }
    provision_values(n->env, n->config, n->fabric_service.advertised, settings, &values, &identity);
    if (external) {
        n->provisioning.done = done;
        n->provisioning.ctx = ctx;
        provision_store(n->kv, n->config->cluster_name, &values, external_provisioned, n);
        return;
    }
    enum rc rc = metadata_host_provision(n->metadata, identity.node_id, identity.fingerprint, &values, &err);
    kv_table_free(&values);
    if (rc != RC_OK) {
        done(ctx, &err);
        return;
    }
    n->provisioning.done = done;
    n->provisioning.ctx = ctx;
}

void node_provisioned(struct node *n)
{
    void (*done)(void *ctx, const struct err *err) = n->provisioning.done;
    if (!done)
        return;
    struct err err;
    bool failed = metadata_host_is_blank(n->metadata);
    if (failed)
        err_set(&err, RC_IO, "the metadata store cannot be written");
    n->provisioning.done = NULL;
    done(n->provisioning.ctx, failed ? &err : NULL);
    node_join_now(n);
}

static void provisioned_automatically(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (!err) {
        LOG0(LOG_INFO, TARGET, "Cluster '%s' has been automatically provisioned", n->config->cluster_name);
        return;
    }
    struct err why = *err;
    err_prefix(&why, "cannot provision the cluster: ");
    node_fail(n, &why);
}

/* A node whose disk was lost, or that was told to provision by mistake, would split the cluster in two that
 * can never merge (S-17): ask those that should know first. */
static void probed(void *ctx, const char *address)
{
    struct node *n = ctx;
    struct provision_settings settings;
    if (n->stopping || n->view.nodes_value.version)
        return;
    if (address) {
        LOG0(LOG_WARN, TARGET,
             "auto-provision is on, but %s belongs to a provisioned cluster '%s' already: joining it",
             address, n->config->cluster_name);
        return;
    }
    provision_settings_from(n->config, &settings);
    node_provision(n, &settings, provisioned_automatically, n);
}

/* The store arbitrates between nodes that provision at once; what was not reached is tried again when the
 * node tries to join again. */
static void provisioned_externally(void *ctx, const struct err *err)
{
    struct node *n = ctx;
    if (!err || err->rc == RC_CONFLICT)
        provisioned_automatically(n, err);
    else if (err->rc != RC_EXISTS)
        LOG0(LOG_DEBUG, TARGET, "Cannot provision the cluster yet: %s", err->msg);
}

bool node_provision_external(struct node *n)
{
    struct provision_settings settings;
    if (!metadata_host_is_external(n->metadata) || !n->config->auto_provision || n->dir.provisioned ||
        n->provisioning.done)
        return false;
    provision_settings_from(n->config, &settings);
    node_provision(n, &settings, provisioned_externally, n);
    return n->provisioning.done != NULL;
}

enum rc node_provision_automatically(struct node *n, struct err *err)
{
    struct provision_settings settings;
    bool blank = metadata_host_is_blank(n->metadata), external = metadata_host_is_external(n->metadata);
    if (n->dir.provisioned && blank && n->config->metadata.client.n_addresses == 0)
        return err_set(err, RC_CORRUPT,
                       "the data directory was provisioned, but its metadata store is empty: restore it from "
                       "a backup, or name other metadata servers in metadata-client.addresses");
    if (!n->config->auto_provision || n->dir.provisioned || !(blank || external))
        return RC_OK;
    provision_settings_from(n->config, &settings);
    enum rc rc = provision_settings_check(&settings, err);
    if (rc != RC_OK)
        err_prefix(err, "cannot provision the cluster: ");
    else if (!external) /* there: when the first try to join finds nothing */
        metadata_host_probe(n->metadata, NODE_PROBE_MS, probed, n);
    return rc;
}
