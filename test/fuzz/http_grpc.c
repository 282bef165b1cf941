/* gRPC frames with each encoding: decoded messages stay within the limit. */
#include "http/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct grpc_reader g = {.encoding = data[0] % 3, .limit = 10000};
    struct bytes all = bytes_copy(slice_make(data + 2, size - 2));
    size_t step = data[1] ? data[1] : all.len + 1;
    enum rc rc = RC_AGAIN;
    for (size_t at = 0; at < all.len && rc == RC_AGAIN; at += step) {
        struct slice in = slice_make(all.ptr + at, MIN(step, all.len - at));
        struct bytes m = BYTES_EMPTY;
        while ((rc = grpc_reader_next(&g, all, &in, &m, NULL)) == RC_OK) {
            ASSERT(m.len <= g.limit);
            bytes_unref(&m);
        }
        bytes_unref(&m);
    }
    grpc_reader_free(&g);
    bytes_unref(&all);
    return 0;
}
