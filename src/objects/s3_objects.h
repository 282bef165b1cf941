/* An object store in a bucket of S3 or of what speaks its protocol and has conditional writes (MinIO, R2,
 * GCS's XML API, ...). Every operation is one blocking job; several run at a time. Requests are signed
 * (SigV4). Large unconditional writes go in parts. Nothing is repeated here: see object_retry_new. */
#pragma once
#include "base/job.h"
#include "objects/aws_credentials.h"
#include "objects/object_store.h"

struct s3_objects_config {
    const char *bucket;
    /* NULL: from the environment (AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL) or the profile */
    const char *region;   /* then us-east-1 */
    const char *endpoint; /* http(s)://host[:port][/path]; then AWS itself */
    bool allow_http;      /* plain text to a configured endpoint (or AWS_ALLOW_HTTP=true) */
    struct aws_credentials_config credentials;
    uint32_t connect_timeout_ms; /* 0: 5 s */
    uint32_t stall_timeout_ms;   /* an operation in which nothing moves for so long is undecided; 0: 30 s */
    size_t part_size;            /* 0: S3_PART_SIZE; less only for tests */
};
#define S3_PART_SIZE ((size_t)5 << 20) /* the least S3 accepts */

/* Takes over `runner` (free), also on failure. RC_INVALID: endpoint without http(s), or plain text that is
 * not allowed. Credentials are looked for by the first operation. */
enum rc s3_objects_new(struct env *env, struct job_runner *runner, const struct s3_objects_config *config,
                       struct object_store **out, struct err *err);
