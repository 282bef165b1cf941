/* latest.json and metadata.json from anywhere: decoded or refused, never a crash; what was decoded is encoded
 * and decoded to the same again. */
#include <stdlib.h>

#include "partition/snapshot_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct err err = {0};
    struct writer a = WRITER_INIT, b = WRITER_INIT;
    struct snapshot_latest l, l2;
    if (snapshot_latest_decode(text, &l, &err) == RC_OK) {
        snapshot_latest_encode(&a, &l);
        ASSERT(snapshot_latest_decode(writer_slice(&a), &l2, &err) == RC_OK);
        snapshot_latest_encode(&b, &l2);
        ASSERT(slice_eq(writer_slice(&a), writer_slice(&b)));
        snapshot_latest_free(&l2);
        snapshot_latest_free(&l);
    }
    writer_reset(&a);
    writer_reset(&b);
    struct snapshot_metadata m, m2;
    if (snapshot_metadata_decode(text, &m, &err) == RC_OK) {
        snapshot_metadata_encode(&a, &m);
        ASSERT(snapshot_metadata_decode(writer_slice(&a), &m2, &err) == RC_OK);
        snapshot_metadata_encode(&b, &m2);
        ASSERT(slice_eq(writer_slice(&a), writer_slice(&b)));
        snapshot_metadata_free(&m2);
        snapshot_metadata_free(&m);
    }
    writer_free(&a);
    writer_free(&b);
    return 0;
}
