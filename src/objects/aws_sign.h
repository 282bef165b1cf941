/* AWS Signature Version 4. Pure. The path is signed as it is given: S3 wants it as it is sent, all other
 * services percent-encoded once more. curl's own (7.88) signs neither conditions nor the payload hash and
 * does not sort the query. */
#pragma once
#include "base/codec.h"

#define SHA256_HEX_SIZE 65u
#define AWS_DATE_SIZE   17u

struct aws_credentials {
    char access_key_id[160], secret_access_key[256];
    char session_token[8192]; /* "": none */
    uint64_t expires_ms;      /* since the epoch; 0: never */
};

struct aws_header {
    const char *name; /* lower case */
    const char *value;
};
struct aws_to_sign {
    const char *method;
    const char *path;  /* percent-encoded, begins with a slash; other services than S3: encoded twice */
    const char *query; /* percent-encoded and in order of names; "" for none */
    const struct aws_header *headers; /* all are signed, `host` and `x-amz-date` among them; any order */
    size_t n_headers;
    const char *payload_hash; /* SHA-256 in hex */
    const char *date;         /* as in x-amz-date */
    const char *region, *service;
};

/* 20130524T000000Z */
void aws_date(uint64_t wall_ms, char out[AWS_DATE_SIZE]);
void sha256_hex(struct slice data, char out[SHA256_HEX_SIZE]);
/* The value of the header `authorization`, NUL-terminated. */
void aws_sign(const struct aws_to_sign *request, const struct aws_credentials *credentials,
              struct writer *out);
