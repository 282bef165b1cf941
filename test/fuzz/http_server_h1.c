/* Arbitrary bytes into the server engine (sniffing, HTTP/1). The first byte chooses how the rest is cut into
 * reads. */
#include "http_server_glue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    serve(NULL, 0, data, size);
    return 0;
}
