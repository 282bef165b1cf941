/* Fuzzes byte_size_parse: a plain number parses to itself, every refusal has a sentence. */
#include "base/codec.h"
#include "base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t bytes, again;
    struct err err = {0};
    if (byte_size_parse(slice_make(data, size), &bytes, &err)) {
        ASSERT(err.rc == RC_INVALID && err.msg[0]);
        return 0;
    }
    struct writer w = WRITER_INIT;
    write_fmt(&w, "%llu", (unsigned long long)bytes);
    ASSERT(byte_size_parse(writer_slice(&w), &again, &err) == RC_OK && again == bytes);
    writer_reset(&w);
    byte_size_format(&w, bytes);
    ASSERT(byte_size_parse(writer_slice(&w), &again, &err) == RC_OK || bytes >= UINT64_MAX / 20 * 19);
    writer_free(&w);
    return 0;
}
