/* Whatever a function answers is read within the limits; what a request carries comes back out of its
 * envelope.
 */
#include <stdlib.h>

#include "invoker/lambda_envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_answer(struct slice json)
{
    struct lambda_answer a;
    struct err err = {0};
    if (lambda_answer_read(json, &a, &err) != RC_OK) {
        ASSERT(err.msg[0] && !a.headers && !a.body.ptr);
        return;
    }
    ASSERT(a.status >= 100 && a.status <= 999 && a.body.len <= LAMBDA_BODY_MAX);
    lambda_answer_free(&a);
}

/* The envelope of a request, read as an answer. */
static void round_trip(struct slice body, bool zstd)
{
    struct http_header header = {SLICE_LIT("x"), body};
    struct writer w = WRITER_INIT, json = WRITER_INIT;
    struct err err = {0};
    struct lambda_answer a;
    ASSERT(lambda_request_write(&w, SLICE_LIT("POST"), body, &header, 1, body, zstd, &err) == RC_OK);
    write_fmt(&json, "{\"statusCode\":200,");
    write_slice_raw(&json, slice_sub(writer_slice(&w), 1, w.len - 1));
    ASSERT(lambda_answer_read(writer_slice(&json), &a, &err) == RC_OK);
    ASSERT(slice_eq(bytes_slice(a.body), body));
    lambda_answer_free(&a);
    writer_free(&w);
    writer_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lambda_arn arn;
    struct err err = {0};
    char *text = slice_dup_cstr(slice_make(data, size));
    read_answer(slice_make(data, size));
    lambda_arn_parse(text, &arn, &err);
    round_trip(slice_make(data, size), size % 2);
    free(text);
    return 0;
}
