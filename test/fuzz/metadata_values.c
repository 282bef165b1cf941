/* Typed metadata values: no crash, and what decodes encodes to something that decodes and encodes to the same
 * bytes. The first byte selects. */
#include "metadata/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool recode(struct arena *a, unsigned kind, struct slice in, struct writer *w)
{
    struct nodes_config n;
    struct logs_config l;
    struct partition_table t;
    struct epoch_metadata e;
    switch (kind) {
    case 0:
        if (nodes_config_decode(a, in, &n, NULL) != RC_OK)
            return false;
        nodes_config_encode(w, &n);
        return true;
    case 1:
        if (logs_config_decode(a, in, &l, NULL) != RC_OK)
            return false;
        logs_config_encode(w, &l);
        return true;
    case 2:
        if (partition_table_decode(in, &t, NULL) != RC_OK)
            return false;
        partition_table_encode(w, &t);
        return true;
    default:
        if (epoch_metadata_decode(a, in, 0, &e, NULL) != RC_OK)
            return false;
        epoch_metadata_encode(w, 0, &e);
        return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct arena a = {0};
    struct writer first = WRITER_INIT, second = WRITER_INIT;
    if (recode(&a, data[0] % 4, slice_make(data + 1, size - 1), &first)) {
        ASSERT(recode(&a, data[0] % 4, writer_slice(&first), &second));
        ASSERT(slice_eq(writer_slice(&first), writer_slice(&second)));
    }
    writer_free(&first);
    writer_free(&second);
    arena_free(&a);
    return 0;
}
