/* Implementation of invoker/lambda_envelope.h. */
#include "invoker/lambda_envelope.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/hash.h"

#define ZSTD_LEVEL 3
#define ARN_PARTS  8u

/* ---- names ---- */

static bool is_label(struct slice s)
{
    bool ok = s.len > 0;
    for (size_t i = 0; i < s.len; i++)
        ok = ok && ((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= '0' && s.ptr[i] <= '9') ||
                    s.ptr[i] == '-');
    return ok;
}

static unsigned split(const char *text, struct slice parts[ARN_PARTS])
{
    unsigned n = 0;
    for (const char *p = text;; n++) {
        size_t len = strcspn(p, ":");
        if (n < ARN_PARTS)
            parts[n] = slice_make(p, len);
        if (!p[len])
            return n + 1;
        p += len + 1;
    }
}

enum rc lambda_arn_parse(const char *arn, struct lambda_arn *out, struct err *err)
{
    struct slice p[ARN_PARTS];
    bool ok = split(arn, p) == ARN_PARTS && slice_eq_cstr(p[0], "arn") && is_label(p[1]) &&
              slice_eq_cstr(p[2], "lambda") && is_label(p[3]) && p[3].len < sizeof(out->region) &&
              p[4].len > 0 && slice_eq_cstr(p[5], "function") && p[6].len > 0 && p[7].len > 0;
    if (!ok)
        return err_set(err, RC_INVALID,
                       "'%.200s' is not the ARN of a version or an alias of an AWS Lambda function", arn);
    snprintf(out->region, sizeof(out->region), "%.*s", SLICE_FMT(p[3]));
    out->dns_suffix = slice_eq_cstr(p[1], "aws-cn") ? "amazonaws.com.cn" : "amazonaws.com";
    return RC_OK;
}

/* ---- the request ---- */

static bool comes_again(const struct http_header *headers, size_t n, size_t i)
{
    for (size_t later = i + 1; later < n; later++)
        if (slice_eq(headers[later].name, headers[i].name))
            return true;
    return false;
}

static void write_headers(struct writer *w, const struct http_header *headers, size_t n, bool zstd)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (comes_again(headers, n, i))
            continue;
        if (any)
            write_u8(w, ',');
        write_json_string(w, headers[i].name);
        write_u8(w, ':');
        write_json_string(w, headers[i].value);
        any = true;
    }
    if (zstd)
        write_fmt(w, "%s\"content-encoding\":\"zstd\"", any ? "," : "");
}

static void write_base64(struct writer *w, struct slice in)
{
    uint8_t *to = writer_reserve(w, in.len / 3 * 4 + 4);
    w->len += base64_encode(in, (char *)to);
}

static enum rc compress(struct slice in, struct writer *w, struct err *err)
{
    size_t room = ZSTD_compressBound(in.len);
    size_t n = ZSTD_compress(writer_reserve(w, room), room, in.ptr, in.len, ZSTD_LEVEL);
    if (ZSTD_isError(n))
        return err_set(err, RC_INTERNAL, "the request cannot be compressed: %s", ZSTD_getErrorName(n));
    w->len += n;
    return RC_OK;
}

enum rc lambda_request_write(struct writer *w, struct slice method, struct slice path,
                             const struct http_header *headers, size_t n, struct slice body, bool zstd,
                             struct err *err)
{
    if (body.len > LAMBDA_BODY_MAX)
        return err_set(err, RC_TOO_LARGE, "a request of %zu bytes is larger than a Lambda function takes",
                       body.len);
    struct writer compressed = WRITER_INIT;
    enum rc rc = zstd ? compress(body, &compressed, err) : RC_OK;
    if (rc == RC_OK) {
        struct slice sent = zstd ? writer_slice(&compressed) : body;
        writer_init(w, sent.len / 3 * 4 + path.len + 2048);
        write_fmt(w, "{\"path\":");
        write_json_string(w, path);
        write_fmt(w, ",\"httpMethod\":");
        write_json_string(w, method);
        write_fmt(w, ",\"headers\":{");
        write_headers(w, headers, n, zstd);
        write_fmt(w, "},\"body\":\"");
        write_base64(w, sent);
        write_fmt(w, "\",\"isBase64Encoded\":true}");
    }
    writer_free(&compressed);
    return rc;
}

/* ---- the answer ---- */

void lambda_answer_free(struct lambda_answer *a)
{
    for (size_t i = 0; i < a->n_headers; i++) {
        free((char *)a->headers[i].name.ptr);
        free((char *)a->headers[i].value.ptr);
    }
    free(a->headers);
    bytes_unref(&a->body);
    *a = (struct lambda_answer){0};
}

static enum rc read_headers(json_t *o, struct lambda_answer *out, struct err *err)
{
    if (!o || json_is_null(o))
        return RC_OK;
    if (!json_is_object(o))
        return err_set(err, RC_INVALID, "the function answered with headers that are not an object");
    out->headers = xcalloc(json_object_size(o) + 1, sizeof(*out->headers));
    const char *name;
    json_t *value;
    json_object_foreach(o, name, value)
    {
        if (!json_is_string(value))
            return err_set(err, RC_INVALID, "the function answered with a header '%.64s' that is not a text",
                           name);
        char *lower = xstrdup(name);
        for (char *c = lower; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
        out->headers[out->n_headers++] =
            (struct http_header){slice_cstr(lower), slice_cstr(xstrdup(json_string_value(value)))};
    }
    return RC_OK;
}

/* Stops above the limit: a small answer must not become a large allocation. */
static enum rc decompress(struct slice in, struct bytes *out, struct err *err)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer src = {in.ptr, in.len, 0};
    struct writer w = WRITER_INIT;
    size_t left = 1, room = ZSTD_DStreamOutSize();
    enum rc rc = RC_OK;
    ASSERT(d);
    while (rc == RC_OK && left != 0) {
        size_t before = src.pos;
        ZSTD_outBuffer dst = {writer_reserve(&w, room), room, 0};
        left = ZSTD_decompressStream(d, &dst, &src);
        w.len += dst.pos;
        if (ZSTD_isError(left))
            rc = err_set(err, RC_INVALID, "the function's answer cannot be decompressed: %s",
                         ZSTD_getErrorName(left));
        else if (w.len > LAMBDA_BODY_MAX)
            rc = err_set(err, RC_TOO_LARGE, "the function's answer has more than %zu bytes", LAMBDA_BODY_MAX);
        else if (left != 0 && src.pos == before && dst.pos == 0)
            rc = err_set(err, RC_INVALID, "the function's answer cannot be decompressed: it is cut off");
    }
    ZSTD_freeDCtx(d);
    if (rc == RC_OK)
        *out = writer_take(&w);
    writer_free(&w);
    return rc;
}

static enum rc read_body(json_t *o, struct lambda_answer *out, struct err *err)
{
    json_t *body = json_object_get(o, "body"), *flag = json_object_get(o, "isBase64Encoded");
    if (flag && !json_is_boolean(flag))
        return err_set(err, RC_INVALID, "the function answered with isBase64Encoded that is not a boolean");
    if (!body || json_is_null(body))
        return RC_OK;
    if (!json_is_string(body))
        return err_set(err, RC_INVALID, "the function answered with a body that is not a text");
    struct slice text = slice_make(json_string_value(body), json_string_length(body));
    if (!json_is_true(flag)) {
        out->body = bytes_copy(text);
    } else {
        struct writer w = WRITER_INIT;
        size_t len = 0;
        uint8_t *to = writer_reserve(&w, (text.len + 3) / 4 * 3 + 1);
        bool ok = base64_decode(text, to, &len);
        w.len = ok ? len : 0;
        out->body = writer_take(&w);
        if (!ok)
            return err_set(err, RC_INVALID, "the function answered with a body that is not base64");
    }
    struct slice encoding = slice_trim(http_header_find(out->headers, out->n_headers, "content-encoding"));
    if (!slice_eq_nocase(encoding, SLICE_LIT("zstd")))
        return RC_OK;
    struct bytes plain = BYTES_EMPTY;
    enum rc rc = decompress(bytes_slice(out->body), &plain, err);
    bytes_unref(&out->body);
    out->body = plain;
    return rc;
}

static enum rc read_members(json_t *o, struct lambda_answer *out, struct err *err)
{
    json_t *status = json_object_get(o, "statusCode");
    if (!json_is_integer(status) || json_integer_value(status) < 100 || json_integer_value(status) > 999)
        return err_set(err, RC_INVALID,
                       "the function answered without a statusCode: is it a Restate service?");
    out->status = (int)json_integer_value(status);
    enum rc rc = read_headers(json_object_get(o, "headers"), out, err);
    return rc == RC_OK ? read_body(o, out, err) : rc;
}

enum rc lambda_answer_read(struct slice json, struct lambda_answer *out, struct err *err)
{
    json_error_t e;
    *out = (struct lambda_answer){0};
    json_t *o = json_loadb((const char *)json.ptr, json.len, JSON_ALLOW_NUL, &e);
    enum rc rc = json_is_object(o) ? read_members(o, out, err)
                                   : err_set(err, RC_INVALID,
                                             "the function answered with something that is not a response: "
                                             "is it a Restate service?");
    json_decref(o);
    if (rc != RC_OK)
        lambda_answer_free(out);
    return rc;
}
