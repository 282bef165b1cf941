/* HTTP/2 frames into the server engine: the preface and SETTINGS are given, the rest is arbitrary. */
#include "http_server_glue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    serve(preface, sizeof(preface) - 1, data, size);
    return 0;
}
