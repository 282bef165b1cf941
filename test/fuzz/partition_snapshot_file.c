/* The reader of snapshot files: any bytes are read or refused, never crash. So that the fuzzer gets past the
 * checksums, they are put right first: the header's and those of all blocks that the lengths lead to. */
#include <stdlib.h>

#include "base/hash.h"
#include "partition/snapshot.h"

#define HEADER 36u
#define BLOCK  20u

static void mend(uint8_t *p, size_t size)
{
    if (size < HEADER)
        return;
    memcpy(p, "RSTCSNAP", 8);
    put_u32le(p + HEADER - 4, crc32c(0, p, HEADER - 4));
    for (size_t at = HEADER; at + BLOCK <= size;) {
        uint32_t len = get_u32le(p + at + 8);
        if (len > size - at - BLOCK)
            return;
        put_u32le(p + at, crc32c(0, p + at + 4, BLOCK - 4 + len));
        at += BLOCK + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    memcpy(copy, data, size);
    if (size && data[0] % 2)
        mend(copy, size);
    uint64_t rows;
    struct err err = {0};
    enum rc rc = snapshot_file_verify(slice_make(copy, size), 0, 0, 0, &rows, &err);
    if (rc != RC_OK)
        ASSERT(err.rc == rc && err.msg[0]);
    free(copy);
    return 0;
}
