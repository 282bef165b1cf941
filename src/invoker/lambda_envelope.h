/* What goes over the wire to AWS Lambda (spec/service-protocol.md §12.3): names of functions, the request in
 * its JSON envelope, and the answer out of its own. Pure; any thread. */
#pragma once
#include "base/codec.h"
#include "http/http.h"

/* Largest answer of the Invoke API that is read. AWS stops at 6 MB. */
#define LAMBDA_ANSWER_MAX ((size_t)8 << 20)
/* Largest body of a request (before compression) and of an answer (after decompression). */
#define LAMBDA_BODY_MAX   ((size_t)64 << 20)

/* arn:<partition>:lambda:<region>:<account>:function:<name>:<version or alias> */
struct lambda_arn {
    char region[32];
    const char *dns_suffix; /* of the partition: "amazonaws.com" */
};
/* RC_INVALID with a sentence if it is not the name of a version or alias of a function. */
enum rc lambda_arn_parse(const char *arn, struct lambda_arn *out, struct err *err);

/* The payload of Invoke. Of headers with the same name the last one goes. `zstd`: compress the body and say
 * so. RC_TOO_LARGE above LAMBDA_BODY_MAX. */
enum rc lambda_request_write(struct writer *w, struct slice method, struct slice path,
                             const struct http_header *headers, size_t n, struct slice body, bool zstd,
                             struct err *err);

/* The function's response. Texts of headers belong to it; names are in lower case. */
struct lambda_answer {
    int status; /* 100 to 999 */
    struct http_header *headers;
    size_t n_headers;
    struct bytes body; /* out of base64, decompressed */
};
/* Reads `{"statusCode":200,"headers":{...},"body":"...","isBase64Encoded":true}`; other members are ignored.
 * RC_INVALID with a sentence; RC_TOO_LARGE: the body is larger than LAMBDA_BODY_MAX. Nothing to free then. */
enum rc lambda_answer_read(struct slice json, struct lambda_answer *out, struct err *err);
void lambda_answer_free(struct lambda_answer *a);
