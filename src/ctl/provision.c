/* `provision` (spec/restatectl.md §11.7). */
#include <stdlib.h>

#include "ctl/ctl.h"

#define PATH                           "/restate.node_ctl_svc.NodeCtlSvc/ProvisionCluster"
#define FEATURE_IDEMPOTENT_SHARDING_ID 1

const struct option provision_options[] = {
    {"num-partitions", 'n', "NUM_PARTITIONS", 0, "Number of partitions, fixed from then on",
     .check = check_u16},
    CLUSTER_OPTIONS,
    {"disable-feature", 0, "DISABLE_FEATURE", OPTION_LIST | OPTION_MANY,
     "Features that the cluster shall not have", .choices = FEATURE_CONTROLLED_IDEMPOTENT_SHARDING},
    {"dry-run", 0, .help = "Only show the configuration"},
    {0}};

struct wish {
    bool has_partitions, has_nodeset_size;
    struct cluster_config config; /* texts NULL: not given */
};

static struct bytes encode(struct tool *t, bool dry_run, const struct wish *w)
{
    struct writer out = WRITER_INIT;
    pb_write_bool(&out, 1, dry_run);
    if (w->has_partitions)
        pb_write_u64_always(&out, 2, w->config.partitions);
    msg_put_replication(&out, 3, w->config.partition_replication);
    if (w->config.provider)
        pb_write_bytes_always(&out, 4, slice_cstr(w->config.provider));
    msg_put_replication(&out, 5, w->config.log_replication);
    if (w->has_nodeset_size)
        pb_write_u64_always(&out, 6, w->config.nodeset_size);
    if (tool_given(t, "disable-feature"))
        pb_write_bytes_always(&out, 7, slice_make((const uint8_t[]){FEATURE_IDEMPOTENT_SHARDING_ID}, 1));
    return writer_take(&out);
}

static struct wish wish_of_options(struct tool *t)
{
    return (struct wish){.has_partitions = tool_given(t, "num-partitions"),
                         .has_nodeset_size = tool_given(t, "log-default-nodeset-size"),
                         .config = {.partitions = tool_number(t, "num-partitions"),
                                    .partition_replication = arg_replication(t, "partition-replication"),
                                    .log_replication = arg_replication(t, "log-replication"),
                                    .provider = tool_text(t, "log-provider"),
                                    .nodeset_size = tool_number(t, "log-default-nodeset-size")}};
}

static void print_features(struct tool *t, struct slice reply)
{
    struct reader r = reader_make(reply);
    struct pb_field f;
    bool any = false;
    while (pb_next(&r, &f)) {
        if (f.number != 3)
            continue;
        struct reader packed = reader_make(f.bytes);
        uint64_t id = f.value;
        while (f.wire == PB_VARINT || pb_packed_next(&packed, &id)) {
            if (!any)
                tool_say(t, "Features to enable:\n");
            any = true;
            if (id == FEATURE_IDEMPOTENT_SHARDING_ID)
                tool_say(t, "  - %s\n", FEATURE_CONTROLLED_IDEMPOTENT_SHARDING);
            else
                tool_say(t, "  - Unknown feature (%llu)\n", (unsigned long long)id);
            if (f.wire == PB_VARINT)
                break;
        }
    }
    if (tool_given(t, "disable-feature"))
        tool_say(t, "Features explicitly disabled:\n  - %s\n", FEATURE_CONTROLLED_IDEMPOTENT_SHARDING);
}

static bool call(struct tool *t, bool dry_run, const struct wish *w, struct rpc *r)
{
    *r = (struct rpc){.address = ctl_of(t)->seeds[0], .path = PATH, .request = encode(t, dry_run, w)};
    rpc_run(ctl_of(t), r, 1);
    return rpc_good(r);
}

static int failed(struct tool *t, const char *what, const struct grpc_status *s)
{
    t->failures++;
    tool_warn(t, "❌", "[ERR]:", "%s: %s", what, s->message[0] ? s->message : grpc_description(s->code));
    return tool_done(t);
}

int provision_run(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    struct wish w = wish_of_options(t);
    struct rpc r;
    if (c->n_seeds > 1)
        tool_say(t, "Cluster provisioning must be performed on a single node. Using %s for provisioning.\n",
                 c->seeds[0]);
    if (!call(t, true, &w, &r))
        return failed(t, "Failed to provision cluster during dry run", &r.status);
    struct slice reply = bytes_slice(r.reply);
    cluster_config_decode(t, msg_bytes(reply, 2), &w.config);
    tool_say(t, "%s\n", cluster_config_text(t, &w.config));
    print_features(t, reply);
    if (tool_flag(t, "dry-run"))
        return 0;
    if (strcmp(w.config.provider, "replicated") != 0)
        tool_warning_box(
            t, "You are about to provision a cluster with a Bifrost provider that only supports a single "
               "node cluster.");
    if (!tool_confirm(t, "Provision cluster with this configuration?"))
        return tool_aborted(t);
    w.has_partitions = w.has_nodeset_size = true; /* exactly what was shown */
    if (!call(t, false, &w, &r)) {
        if (r.status.code != GRPC_ALREADY_EXISTS)
            return failed(t, "Failed to provision cluster", &r.status);
        tool_say(t, "🤷 Cluster has been provisioned by somebody else.\n");
        t->failures++;
        return tool_done(t);
    }
    tool_say(t, "✅ Cluster has been successfully provisioned.\n");
    return 0;
}
