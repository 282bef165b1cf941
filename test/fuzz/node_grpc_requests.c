/* Every request message of the operator services (node/grpc_requests.h): anyone who reaches the node port can
 * send one. */
#include "node/grpc_compaction.h"
#include "node/grpc_reflection.h"
#include "node/grpc_requests.h"

static void count(void *ctx, uint64_t partition)
{
    ++*(uint64_t *)ctx;
}

static void logs(struct slice in)
{
    struct log_change_request change;
    struct err err = {0};
    uint64_t numbers[3];
    seal_request_decode(in, &change, &err);
    json_decref(change.context);
    if (extend_request_decode(in, &change, &err) == RC_OK)
        ASSERT(change.nodes.len <= NODESET_MAX);
    ASSERT(!change.context);
    numbers_request_decode(in, numbers, ARRAY_LEN(numbers), &err);
}

static void configuration(struct slice in)
{
    struct err err = {0};
    /* over what the server's own configuration says */
    struct provision_settings own = {.n_partitions = 24,
                                     .partition_replication = replication_nodes(1),
                                     .provider = LOG_PROVIDER_REPLICATED,
                                     .log_replication = replication_nodes(1)};
    struct provision_request provision = {.settings = own};
    struct config_request config = {.wanted = own};
    struct compaction_request compaction;
    if (provision_request_decode(in, &provision, &err) == RC_OK)
        ASSERT(provision.settings.n_partitions <= UINT16_MAX + 1u);
    if (config_request_decode(in, &config, &err) == RC_OK)
        ASSERT(config.has_configuration && config.has_provider);
    if (compaction_request_decode(in, &compaction, &err) == RC_OK)
        ASSERT(compaction.databases && compaction.bottommost <= 3);
}

static void metadata(struct slice in)
{
    static const struct store_request_layout *const layouts[] = {&store_get_layout, &store_put_layout,
                                                                 &store_delete_layout};
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        struct store_request q;
        if (store_request_decode(in, layouts[i], &q))
            ASSERT(q.key.len + q.value.len + q.cluster_name.len <= in.len);
    }
}

/* The settings of a target store, in JSON. */
static void migration(struct slice in)
{
    struct metadata_client_target *target;
    struct err err = {0};
    if (metadata_client_target_parse(in, &target, &err) == RC_OK)
        metadata_client_target_free(target);
    else
        ASSERT(err.msg[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct bytes input = bytes_copy(slice_make(data + 1, size - 1));
    struct slice in = bytes_slice(input), part;
    struct writer w = WRITER_INIT;
    uint64_t n = 0;
    switch (data[0] % 5) {
    case 0:
        logs(in);
        break;
    case 1:
        configuration(in);
        break;
    case 2:
        metadata(in);
        sync_request_each(in, count, &n);
        bytes_request_decode(in, 1, &part);
        break;
    case 3:
        migration(in);
        break;
    default:
        if (grpc_reflection_answer(in, ~0u, &w) == RC_OK)
            ASSERT(w.len >= in.len);
        break;
    }
    writer_free(&w);
    bytes_unref(&input);
    return 0;
}
