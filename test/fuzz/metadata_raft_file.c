/* Content of the file of a metadata server (frames of raft_durable records): no crash, the good prefix lies
 * inside, and scanning that prefix again gives the same. The fuzzer cannot guess checksums, so they are put
 * right first when the input's first byte asks for it. */
#include <stdlib.h>

#include "base/hash.h"
#include "metadata/raft_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *ctx, struct slice body)
{
    ASSERT(raft_durable_readable(body));
    ++*(size_t *)ctx;
}

static void mend(uint8_t *file, size_t size)
{
    for (size_t at = 8; at + 20 <= size;) {
        size_t len = get_u32le(file + at + 4);
        if (get_u32le(file + at) != 0x314d5246u || len > size - at - 20)
            return;
        put_u32le(file + at + 8, crc32c(crc32c(0, file + at + 4, 4), file + at + 12, 8 + len));
        at += 20 + len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t *file = malloc(size);
    memcpy(file, data + 1, size - 1);
    if (data[0] & 1)
        mend(file, size - 1);
    size_t good, again, n = 0, m = 0;
    uint64_t sequence;
    struct err err = {0};
    enum rc rc =
        frame_scan(&raft_frame_format, slice_make(file, size - 1), count, &n, &good, &sequence, &err);
    ASSERT(good <= size - 1 && (rc == RC_OK || err.msg[0]));
    if (rc == RC_OK)
        ASSERT(frame_scan(&raft_frame_format, slice_make(file, good), count, &m, &again, &sequence, &err) ==
                   RC_OK &&
               again == good && m == n);
    free(file);
    return 0;
}
