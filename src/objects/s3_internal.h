/* Shared by s3_objects.c (the store), s3_request.c (requests and what their answers mean) and s3_multipart.c.
 */
#pragma once
#include "objects/job_store.h"
#include "objects/s3_objects.h"
#include "objects/s3_xml.h"

struct s3_objects {
    struct job_store jobs;
    struct aws_http *http;
    struct aws_credential_source *credentials;
    char *bucket, *region;
    char *base_url;  /* scheme and authority, no slash at the end */
    char *base_path; /* of the bucket: "" (virtual host) or "/path/bucket" */
    const char *host;
    uint32_t connect_ms, stall_ms;
    size_t part_size;
};

struct s3_request {
    const char *method;
    const char *key;   /* NULL: the bucket */
    const char *query; /* encoded and sorted, "" for none */
    struct slice body;
    struct aws_header condition; /* name NULL: none */
    size_t max_bytes;
};
/* Signs and sends. RC_OK: an answer of whatever status, its body to be released. */
enum rc s3_send(struct s3_objects *s, const struct s3_request *r, struct aws_http_response *out,
                struct err *err);
/* Like s3_send; RC_OK only for status 2xx. Otherwise the outcome as object_store.h defines it for a write
 * (`write`) or a read, and nothing to release. */
enum rc s3_call(struct s3_objects *s, const struct s3_request *r, bool write, struct aws_http_response *out,
                struct err *err);
/* What an answer that is not 2xx means (pure). `write`: it may have been done although an error is reported.
 */
enum rc s3_outcome(const struct s3_objects *s, const struct s3_request *r, bool write,
                   const struct aws_http_response *response, struct err *err);

/* s3_multipart.c: an unconditional write in parts. */
enum rc s3_put_parts(struct s3_objects *s, const char *key, struct slice body, char etag[OBJECT_ETAG_MAX],
                     struct err *err);
