/* Requests to S3 and the meaning of the answers (objects/s3_internal.h). */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/time.h"
#include "objects/s3_internal.h"

static void write_path(const struct s3_objects *s, const char *key, struct writer *w)
{
    write_fmt(w, "%s/", s->base_path);
    for (const char *p = key ? key : ""; *p;) {
        size_t n = strcspn(p, "/");
        percent_encode(w, slice_make(p, n));
        p += n;
        if (*p == '/') {
            write_u8(w, '/');
            p++;
        }
    }
}

enum rc s3_send(struct s3_objects *s, const struct s3_request *r, struct aws_http_response *out,
                struct err *err)
{
    struct aws_credentials *credentials = xcalloc(1, sizeof(*credentials));
    enum rc rc = aws_credentials_get(s->credentials, &s->jobs.canceled, credentials, err);
    if (rc != RC_OK) {
        free(credentials);
        return rc;
    }
    char date[AWS_DATE_SIZE], hash[SHA256_HEX_SIZE];
    aws_date(os_wall_ms(), date);
    sha256_hex(r->body, hash);
    struct aws_header headers[6] = {{"host", s->host}, {"x-amz-content-sha256", hash}, {"x-amz-date", date}};
    size_t n = 3;
    if (credentials->session_token[0])
        headers[n++] = (struct aws_header){"x-amz-security-token", credentials->session_token};
    if (r->condition.name)
        headers[n++] = r->condition;

    struct writer path = WRITER_INIT, authorization = WRITER_INIT;
    write_path(s, r->key, &path);
    write_u8(&path, 0);
    const char *encoded = (const char *)writer_slice(&path).ptr;
    struct aws_to_sign sign = {
        .method = r->method,
        .path = encoded,
        .query = r->query,
        .headers = headers,
        .n_headers = n,
        .payload_hash = hash,
        .date = date,
        .region = s->region,
        .service = "s3",
    };
    aws_sign(&sign, credentials, &authorization);
    headers[n++] = (struct aws_header){"authorization", (const char *)writer_slice(&authorization).ptr};
    char *url = xasprintf("%s%s%s%s", s->base_url, encoded, r->query[0] ? "?" : "", r->query);
    struct aws_http_request http = {
        .method = r->method,
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = r->body,
        .max_bytes = r->max_bytes,
        .fresh = r->condition.name || strcmp(r->method, "POST") == 0, /* not twice */
        .connect_ms = s->connect_ms,
        .stall_ms = s->stall_ms,
        .canceled = &s->jobs.canceled,
    };
    rc = aws_http_run(s->http, &http, out, err);
    free(url);
    writer_free(&path);
    writer_free(&authorization);
    free(credentials);
    return rc;
}

/* ---- what answers mean ---- */

static enum rc wrong_region(const struct s3_objects *s, const char *region, struct err *err)
{
    if (region[0])
        return err_set(err, RC_INVALID, "bucket '%s' is in region '%s', not in '%s': set aws-region",
                       s->bucket, region, s->region);
    return err_set(err, RC_INVALID,
                   "bucket '%s' is not in region '%s' or has another endpoint: set aws-region", s->bucket,
                   s->region);
}

static enum rc refused(const struct s3_objects *s, const char *code, const char *message, struct err *err)
{
    if (strcmp(code, "RequestTimeTooSkewed") == 0)
        return err_set(err, RC_INVALID,
                       "the clock of this machine differs too much from that of the object store");
    if (strcmp(code, "InvalidAccessKeyId") == 0)
        return err_set(err, RC_INVALID, "the object store does not know the AWS access key id");
    if (strcmp(code, "SignatureDoesNotMatch") == 0)
        return err_set(err, RC_INVALID, "the AWS secret access key is wrong (SignatureDoesNotMatch)");
    return err_set(err, RC_INVALID, "access to bucket '%s' was denied (403 %s %s)", s->bucket, code, message);
}

/* By the code in the answer; RC_OK: the status decides. */
static enum rc outcome_of_code(const struct s3_objects *s, const char *code,
                               const struct aws_http_response *response, struct err *err)
{
    char region[64];
    if (strcmp(code, "NoSuchBucket") == 0)
        return err_set(err, RC_INVALID, "there is no bucket '%s'", s->bucket);
    if (strcmp(code, "ExpiredToken") == 0 || strcmp(code, "TokenRefreshRequired") == 0) {
        aws_credentials_forget(s->credentials);
        return err_set(err, RC_UNAVAILABLE, "the AWS credentials have expired");
    }
    if (strcmp(code, "PermanentRedirect") == 0 || strcmp(code, "AuthorizationHeaderMalformed") == 0 ||
        strcmp(code, "IllegalLocationConstraintException") == 0) {
        if (!xml_find(bytes_slice(response->body), "Region", region, sizeof(region)))
            snprintf(region, sizeof(region), "%s", response->region);
        return wrong_region(s, region, err);
    }
    if (strcmp(code, "SlowDown") == 0 || strcmp(code, "RequestLimitExceeded") == 0)
        return err_set(err, RC_UNAVAILABLE, "the object store asks to slow down");
    if (strcmp(code, "XMinioStorageFull") == 0 || strcmp(code, "QuotaExceeded") == 0)
        return err_set(err, RC_NO_SPACE, "the object store is full (%s)", code);
    return RC_OK;
}

static enum rc outcome_of_status(const struct s3_objects *s, const struct s3_request *r, bool write,
                                 long status, const char *code, const char *message, struct err *err)
{
    const char *key = r->key ? r->key : "";
    switch (status) {
    case 404: /* If-Match of what is not there */
        return write && r->condition.name
                   ? err_set(err, RC_CONFLICT, "%s is not there any more", key)
                   : err_set(err, RC_NOT_FOUND, "there is no %s in bucket '%s'", key, s->bucket);
    case 412:
        return err_set(err, RC_CONFLICT, "%s was changed by somebody else", key);
    case 409: /* another conditional write of it is under way; nothing was done */
        return r->condition.name ? err_set(err, RC_CONFLICT, "%s is being changed by somebody else", key)
                                 : err_set(err, RC_UNAVAILABLE, "%s is busy (409 %s)", key, code);
    case 301:
    case 307:
        return wrong_region(s, "", err);
    case 401:
    case 403:
        return refused(s, code, message, err);
    case 408:
    case 429:
    case 503:
        return err_set(err, RC_UNAVAILABLE, "the object store answered %ld %s %s", status, code, message);
    case 501:
        return err_set(err, RC_INVALID, "the object store does not support %s (501 %s)",
                       r->condition.name ? "conditional writes, which snapshots need" : "this operation",
                       code);
    case 507:
        return err_set(err, RC_NO_SPACE, "the object store is full");
    default:
        if (status >= 500)
            return err_set(err, write ? RC_TIMEOUT : RC_UNAVAILABLE, "the object store answered %ld %s %s",
                           status, code, message);
        return err_set(err, RC_INVALID, "the object store refused %s %s: %ld %s %s", r->method, key, status,
                       code, message);
    }
}

enum rc s3_outcome(const struct s3_objects *s, const struct s3_request *r, bool write,
                   const struct aws_http_response *response, struct err *err)
{
    char code[64] = "", message[200] = "";
    struct slice body = bytes_slice(response->body);
    xml_find(body, "Code", code, sizeof(code));
    xml_find(body, "Message", message, sizeof(message));
    if (response->region[0] && strcmp(response->region, s->region) != 0 &&
        (response->status == 301 || response->status == 400))
        return wrong_region(s, response->region, err);
    enum rc rc = outcome_of_code(s, code, response, err);
    return rc != RC_OK ? rc : outcome_of_status(s, r, write, response->status, code, message, err);
}

enum rc s3_call(struct s3_objects *s, const struct s3_request *r, bool write, struct aws_http_response *out,
                struct err *err)
{
    enum rc rc = s3_send(s, r, out, err);
    if (rc == RC_TIMEOUT && !write)
        return err->rc = RC_UNAVAILABLE; /* reading changes nothing */
    if (rc != RC_OK || (out->status >= 200 && out->status < 300))
        return rc;
    rc = s3_outcome(s, r, write, out, err);
    bytes_unref(&out->body);
    return rc;
}
