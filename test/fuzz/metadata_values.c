/* Typed metadata values: no crash, and what decodes encodes to something that decodes to the same. The first
 * byte selects. */
#include "metadata/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void nodes(struct slice json)
{
    struct arena a = {0};
    struct nodes_config c, d;
    if (nodes_config_decode(&a, json, &c, NULL) == RC_OK) {
        struct writer w = WRITER_INIT;
        nodes_config_encode(&w, &c);
        ASSERT(nodes_config_decode(&a, writer_slice(&w), &d, NULL) == RC_OK && d.n_nodes == c.n_nodes);
        writer_free(&w);
    }
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice json = slice_make(data + 1, size - 1);
    struct partition_table t;
    struct leader_epoch e, f;
    if (data[0] % 3 == 0) {
        nodes(json);
    } else if (data[0] % 3 == 1) {
        if (partition_table_decode(json, &t, NULL) == RC_OK)
            ASSERT(partition_of_key(t.n_partitions, UINT64_MAX) == t.n_partitions - 1);
    } else if (leader_epoch_decode(json, &e, NULL) == RC_OK) {
        struct writer w = WRITER_INIT;
        leader_epoch_encode(&w, &e);
        ASSERT(leader_epoch_decode(writer_slice(&w), &f, NULL) == RC_OK && f.epoch == e.epoch);
        writer_free(&w);
    }
    return 0;
}
