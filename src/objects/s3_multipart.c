/* Writing a large object in parts (objects/s3_internal.h): create, upload, complete; abort when something
 * fails. What a crash leaves half way costs space until the bucket's lifecycle rule removes it, but is no
 * object. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "objects/s3_internal.h"

#define ANSWER_MAX ((size_t)64 << 10)
#define PARTS_MAX  10000u

static char *upload_query(const char *upload, size_t part)
{
    struct writer w = WRITER_INIT;
    if (part)
        write_fmt(&w, "partNumber=%zu&", part);
    write_fmt(&w, "uploadId=");
    percent_encode(&w, slice_cstr(upload));
    char *text = slice_dup_cstr(writer_slice(&w));
    writer_free(&w);
    return text;
}

static enum rc begin(struct s3_objects *s, const char *key, char *upload, size_t cap, struct err *err)
{
    struct s3_request r = {.method = "POST", .key = key, .query = "uploads=", .max_bytes = ANSWER_MAX};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, false, &response, err);
    if (rc != RC_OK)
        return rc;
    if (!xml_find(bytes_slice(response.body), "UploadId", upload, cap) || !upload[0])
        rc = err_set(err, RC_CORRUPT, "the object store's answer has no UploadId");
    bytes_unref(&response.body);
    return rc;
}

/* Adds the part to the document that completes. Parts are no object yet: a lost answer harms nothing. */
static enum rc put_part(struct s3_objects *s, const char *key, const char *upload, size_t number,
                        struct slice part, struct writer *document, struct err *err)
{
    char *query = upload_query(upload, number);
    struct s3_request r = {
        .method = "PUT", .key = key, .query = query, .body = part, .max_bytes = ANSWER_MAX};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, false, &response, err);
    free(query);
    if (rc != RC_OK)
        return rc;
    bytes_unref(&response.body);
    write_fmt(document, "<Part><PartNumber>%zu</PartNumber><ETag>%s</ETag></Part>", number, response.etag);
    return RC_OK;
}

/* The answer may be 200 and an error inside, which was found while it was being assembled. */
static enum rc complete(struct s3_objects *s, const char *key, const char *upload, struct slice document,
                        char etag[OBJECT_ETAG_MAX], struct err *err)
{
    char *query = upload_query(upload, 0);
    char code[64];
    struct s3_request r = {
        .method = "POST", .key = key, .query = query, .body = document, .max_bytes = ANSWER_MAX};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, true, &response, err);
    free(query);
    if (rc != RC_OK)
        return rc;
    struct slice body = bytes_slice(response.body);
    if (xml_find(body, "ETag", etag, OBJECT_ETAG_MAX))
        ;
    else if (xml_find(body, "Code", code, sizeof(code)))
        rc = err_set(err, RC_TIMEOUT, "the parts of %s could not be put together: %s", key, code);
    else
        rc = err_set(err, RC_TIMEOUT, "the object store's answer to the end of %s was not understood", key);
    bytes_unref(&response.body);
    return rc;
}

static void abort_upload(struct s3_objects *s, const char *key, const char *upload)
{
    char *query = upload_query(upload, 0);
    struct s3_request r = {.method = "DELETE", .key = key, .query = query, .max_bytes = ANSWER_MAX};
    struct aws_http_response response;
    struct err ignored;
    if (s3_call(s, &r, true, &response, &ignored) == RC_OK)
        bytes_unref(&response.body);
    free(query);
}

enum rc s3_put_parts(struct s3_objects *s, const char *key, struct slice body, char etag[OBJECT_ETAG_MAX],
                     struct err *err)
{
    char upload[1024];
    size_t size = MAX(s->part_size, (body.len + PARTS_MAX - 1) / PARTS_MAX);
    enum rc rc = begin(s, key, upload, sizeof(upload), err);
    if (rc != RC_OK)
        return rc;
    struct writer document = WRITER_INIT;
    write_fmt(&document, "<CompleteMultipartUpload>");
    for (size_t at = 0, number = 1; rc == RC_OK && at < body.len; at += size, number++)
        rc = put_part(s, key, upload, number, slice_sub(body, at, MIN(size, body.len - at)), &document, err);
    write_fmt(&document, "</CompleteMultipartUpload>");
    if (rc == RC_OK)
        rc = complete(s, key, upload, writer_slice(&document), etag, err);
    writer_free(&document);
    if (rc != RC_OK && rc != RC_TIMEOUT) /* after a time-out it may be complete */
        abort_upload(s, key, upload);
    if (rc == RC_NOT_FOUND) /* somebody aborted it */
        rc = err_set(err, RC_UNAVAILABLE, "the upload of %s is gone", key);
    return rc;
}
