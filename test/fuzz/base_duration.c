/* Fuzzes duration_parse: it never fails without a sentence, and what duration_format prints parses to the
 * same value. */
#include "base/codec.h"
#include "base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t ns, again;
    struct err err = {0};
    if (duration_parse(slice_make(data, size), &ns, &err)) {
        ASSERT(err.rc == RC_INVALID && err.msg[0]);
        return 0;
    }
    struct writer w = WRITER_INIT;
    duration_format(&w, ns);
    ASSERT(duration_parse(writer_slice(&w), &again, &err) == RC_OK && again == ns);
    writer_free(&w);
    return 0;
}
