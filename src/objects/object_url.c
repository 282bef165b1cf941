/* Implementation of objects/object_url.h. */
#include "objects/object_url.h"

#include <ctype.h>

#include "objects/object_store.h"

static bool bucket_is_valid(struct slice b)
{
    if (b.len < 3 || b.len > 63)
        return false;
    for (size_t i = 0; i < b.len; i++) {
        char c = (char)b.ptr[i];
        if (!isalnum((unsigned char)c) && c != '-' && c != '.' && c != '_')
            return false;
    }
    return isalnum(b.ptr[0]) && isalnum(b.ptr[b.len - 1]);
}

static enum rc parse_s3(struct slice text, struct slice rest, struct object_url *out, struct err *err)
{
    ptrdiff_t slash = slice_find(rest, '/', 0);
    struct slice bucket = slash < 0 ? rest : slice_sub(rest, 0, (size_t)slash);
    struct slice prefix = slash < 0 ? SLICE_EMPTY : slice_sub(rest, (size_t)slash, rest.len - (size_t)slash);
    if (!bucket_is_valid(bucket))
        return err_set(err, RC_INVALID, "'%.*s' does not name a bucket: expected s3://bucket/prefix",
                       SLICE_FMT(text));
    while (prefix.len && prefix.ptr[0] == '/')
        prefix = slice_sub(prefix, 1, prefix.len - 1);
    while (prefix.len && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    if (prefix.len > OBJECT_PREFIX_MAX)
        return err_set(err, RC_INVALID, "the prefix of '%.60s...' is longer than %u bytes",
                       (const char *)text.ptr, OBJECT_PREFIX_MAX);
    out->scheme = OBJECT_URL_S3;
    memcpy(out->bucket, bucket.ptr, bucket.len);
    memcpy(out->prefix, prefix.len ? prefix.ptr : (const uint8_t *)"", prefix.len);
    if (prefix.len && !object_key_is_valid(out->prefix))
        return err_set(err, RC_INVALID, "the prefix of '%.*s' has empty, '.' or '..' parts", SLICE_FMT(text));
    return RC_OK;
}

static enum rc parse_file(struct slice text, struct slice rest, struct object_url *out, struct err *err)
{
    if (rest.len == 0 || rest.ptr[0] != '/' || rest.len >= sizeof(out->directory))
        return err_set(err, RC_INVALID, "'%.*s' does not name a directory: expected file:///directory",
                       SLICE_FMT(text));
    out->scheme = OBJECT_URL_FILE;
    memcpy(out->directory, rest.ptr, rest.len);
    return RC_OK;
}

enum rc object_url_parse(struct slice text, struct object_url *out, struct err *err)
{
    *out = (struct object_url){0};
    ptrdiff_t colon = slice_find(text, ':', 0);
    if (colon < 1 || text.len < (size_t)colon + 3 || text.len > 4000 || memchr(text.ptr, 0, text.len) ||
        memcmp(text.ptr + colon, "://", 3) != 0)
        return err_set(err, RC_INVALID, "'%.*s' is not a URL: expected s3://bucket/prefix",
                       (int)MIN(text.len, 100u), (const char *)text.ptr);
    struct slice scheme = slice_sub(text, 0, (size_t)colon);
    struct slice rest = slice_sub(text, (size_t)colon + 3, text.len - (size_t)colon - 3);
    ptrdiff_t query = slice_find(rest, '?', 0);
    if (query >= 0)
        rest.len = (size_t)query;
    if (slice_eq_nocase(scheme, SLICE_LIT("s3")))
        return parse_s3(text, rest, out, err);
    if (slice_eq_nocase(scheme, SLICE_LIT("file")))
        return parse_file(text, rest, out, err);
    return err_set(
        err, RC_UNSUPPORTED,
        "the scheme of '%.*s' is not supported: this server speaks the S3 protocol (s3://bucket/prefix, "
        "with aws-endpoint-url for what is compatible with it); Google Cloud Storage has it too, for "
        "Azure (az://) a gateway is needed",
        SLICE_FMT(text));
}
