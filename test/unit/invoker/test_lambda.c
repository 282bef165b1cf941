/* The JSON envelopes of AWS Lambda and names of functions (spec/service-protocol.md §12.3). Calls are tested
 * against a fake of the Invoke API in test/sdk/conformance/lambda.test.mjs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after the system headers: */
#include <cmocka.h>
#include <zstd.h>

#include "base/hash.h"
#include "invoker/lambda_envelope.h"

static void names_of_functions(void **state)
{
    struct lambda_arn arn;
    struct err err = {0};
    assert_int_equal(
        lambda_arn_parse("arn:aws:lambda:eu-central-1:123456789012:function:f:$LATEST", &arn, &err), RC_OK);
    assert_string_equal(arn.region, "eu-central-1");
    assert_string_equal(arn.dns_suffix, "amazonaws.com");
    assert_int_equal(lambda_arn_parse("arn:aws-cn:lambda:cn-north-1:1:function:f:7", &arn, &err), RC_OK);
    assert_string_equal(arn.dns_suffix, "amazonaws.com.cn");
    static const char *const bad[] = {
        "",
        "arn",
        "arn:aws:lambda:eu-central-1:1:function:f",     /* not qualified */
        "arn:aws:lambda:eu-central-1:1:function:f:1:2", /* too long */
        "arn:aws:lambda:eu-central-1:1:function:f:",    /* no version */
        "arn:aws:lambda:eu-central-1:1:function::1",    /* no name */
        "arn:aws:lambda::1:function:f:1",               /* no region */
        "arn:aws:lambda:evil.example/:1:function:f:1",  /* would become part of a host name */
        "arn:aws:lambda:EU:1:function:f:1",             /* upper case */
        "arn:aws:s3:eu-central-1:1:function:f:1",       /* another service */
        "arn:aws:lambda:eu-central-1:1:layer:f:1",      /* not a function */
        "arn:aws:lambda:a-region-with-a-name-that-is-longer-than-any:1:function:f:1",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err = (struct err){0};
        assert_int_equal(lambda_arn_parse(bad[i], &arn, &err), RC_INVALID);
        assert_non_null(strstr(err.msg, "is not the ARN of a version or an alias"));
    }
}

static void request(struct slice body, bool zstd, const char *expected)
{
    struct http_header headers[] = {HTTP_HEADER_LIT("accept", "a/b"), HTTP_HEADER_LIT("x", "first"),
                                    HTTP_HEADER_LIT("x", "the \"last\" one")};
    struct writer w = WRITER_INIT;
    struct err err = {0};
    assert_int_equal(lambda_request_write(&w, SLICE_LIT("POST"), SLICE_LIT("/invoke/Lam/greet"), headers, 3,
                                          body, zstd, &err),
                     RC_OK);
    write_u8(&w, 0);
    assert_string_equal((const char *)writer_slice(&w).ptr, expected);
    writer_free(&w);
}

static void requests(void **state)
{
    request(SLICE_EMPTY, false,
            "{\"path\":\"/invoke/Lam/greet\",\"httpMethod\":\"POST\",\"headers\":{\"accept\":\"a/"
            "b\",\"x\":\"the \\\"last\\\" one\"},\"body\":\"\",\"isBase64Encoded\":true}");
    request(SLICE_LIT("\0\xff?"), false,
            "{\"path\":\"/invoke/Lam/greet\",\"httpMethod\":\"POST\",\"headers\":{\"accept\":\"a/"
            "b\",\"x\":\"the \\\"last\\\" one\"},\"body\":\"AP8/\",\"isBase64Encoded\":true}");
}

static struct lambda_answer A;
static struct err E;
static enum rc answer(const char *json)
{
    lambda_answer_free(&A);
    E = (struct err){0};
    return lambda_answer_read(slice_cstr(json), &A, &E);
}
static bool body_is(const char *text)
{
    return slice_eq_cstr(bytes_slice(A.body), text);
}

static void answers(void **state)
{
    /* What the SDK sends (vectors X.5). */
    assert_int_equal(answer("{\"headers\":{\"content-type\":\"application/vnd.restate.invocation.v6\","
                            "\"X-Restate-Server\":\"restate-sdk-typescript/1.17.2\"},\"statusCode\":200,"
                            "\"isBase64Encoded\":true,\"body\":\"BAEAAAAAAApyCAoGIkwgQnYiAAMAAAAAAAA=\"}"),
                     RC_OK);
    assert_int_equal(A.status, 200);
    assert_true(slice_eq_cstr(http_header_find(A.headers, A.n_headers, "x-restate-server"),
                              "restate-sdk-typescript/1.17.2"));
    assert_int_equal(A.body.len, 26);
    assert_memory_equal(A.body.ptr, "\x04\x01\0\0\0\0\0\x0a\x72\x08\x0a\x06\"L Bv\"\0\x03\0\0\0\0\0\0", 26);

    assert_int_equal(answer("{\"statusCode\":500,\"body\":\"{\\\"message\\\":\\\"no\\\"}\"}"), RC_OK);
    assert_int_equal(A.status, 500);
    assert_true(body_is("{\"message\":\"no\"}"));
    assert_int_equal(answer("{\"statusCode\":204,\"headers\":null,\"body\":null,\"cookies\":[1]}"), RC_OK);
    assert_int_equal(A.body.len, 0);
    assert_int_equal(answer("{\"statusCode\":200,\"isBase64Encoded\":false,\"body\":\"AP8/\"}"), RC_OK);
    assert_true(body_is("AP8/"));
}

static void answers_that_are_none(void **state)
{
    static const struct {
        const char *json, *reason;
    } bad[] = {
        {"", "not a response"},
        {"null", "not a response"},
        {"\"hello\"", "not a response"},
        {"{\"statusCode\":200", "not a response"},
        {"{}", "without a statusCode"},
        {"{\"statusCode\":\"200\"}", "without a statusCode"},
        {"{\"statusCode\":99}", "without a statusCode"},
        {"{\"statusCode\":1000}", "without a statusCode"},
        {"{\"statusCode\":4294967496}", "without a statusCode"},
        {"{\"statusCode\":200,\"headers\":[]}", "headers that are not an object"},
        {"{\"statusCode\":200,\"headers\":{\"good\":\"a\",\"Bad\":1}}", "header 'Bad' that is not a text"},
        {"{\"statusCode\":200,\"body\":{}}", "body that is not a text"},
        {"{\"statusCode\":200,\"body\":\"\",\"isBase64Encoded\":\"yes\"}", "isBase64Encoded that is not"},
        {"{\"statusCode\":200,\"body\":\"AP8\\u0000\",\"isBase64Encoded\":true}", "not base64"},
        {"{\"statusCode\":200,\"headers\":{\"content-encoding\":\"zstd\"},\"body\":\"AP8/\","
         "\"isBase64Encoded\":true}",
         "cannot be decompressed"},
        {"{\"statusCode\":200,\"headers\":{\"content-encoding\":\"zstd\"},\"body\":\"\"}", "cut off"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(answer(bad[i].json), RC_INVALID);
        assert_non_null(strstr(E.msg, bad[i].reason));
        assert_null(A.headers);
        assert_null(A.body.ptr);
    }
}

/* The answer with this body, compressed. */
static enum rc compressed_answer(struct slice plain, const char *encoding)
{
    size_t room = ZSTD_compressBound(plain.len);
    uint8_t *packed = xmalloc(room);
    size_t n = ZSTD_compress(packed, room, plain.ptr, plain.len, 3);
    assert_false(ZSTD_isError(n));
    char *text = xcalloc(1, n / 3 * 4 + 8);
    base64_encode(slice_make(packed, n), text);
    char *json = xasprintf("{\"statusCode\":200,\"headers\":{\"Content-Encoding\":\"%s\"},\"body\":\"%s\","
                           "\"isBase64Encoded\":true}",
                           encoding, text);
    enum rc rc = answer(json);
    free(json);
    free(text);
    free(packed);
    return rc;
}

static void compression(void **state)
{
    assert_int_equal(compressed_answer(SLICE_LIT("plain"), " ZSTD\\t"), RC_OK);
    assert_true(body_is("plain"));
    assert_int_equal(compressed_answer(SLICE_LIT("plain"), "gzip"), RC_OK);
    assert_false(body_is("plain")); /* not for us to decode */

    /* A bomb: two kilobytes that want to be more than the limit. */
    uint8_t *zeros = xcalloc(1, LAMBDA_BODY_MAX + 1);
    assert_int_equal(compressed_answer(slice_make(zeros, LAMBDA_BODY_MAX), "zstd"), RC_OK);
    assert_int_equal(A.body.len, LAMBDA_BODY_MAX);
    assert_int_equal(compressed_answer(slice_make(zeros, LAMBDA_BODY_MAX + 1), "zstd"), RC_TOO_LARGE);
    struct writer w = WRITER_INIT;
    struct err err = {0};
    assert_int_equal(lambda_request_write(&w, SLICE_LIT("POST"), SLICE_LIT("/"), NULL, 0,
                                          slice_make(zeros, LAMBDA_BODY_MAX + 1), true, &err),
                     RC_TOO_LARGE);
    free(zeros);
    writer_free(&w);

    /* What a request compresses, an answer decompresses. */
    assert_int_equal(
        lambda_request_write(&w, SLICE_LIT("POST"), SLICE_LIT("/"), NULL, 0, SLICE_LIT("body"), true, &err),
        RC_OK);
    write_u8(&w, 0);
    char *json = xasprintf("{\"statusCode\":200,%s", (const char *)writer_slice(&w).ptr + 1);
    assert_non_null(strstr(json, "\"headers\":{\"content-encoding\":\"zstd\"}"));
    assert_int_equal(answer(json), RC_OK);
    assert_true(body_is("body"));
    free(json);
    writer_free(&w);
    lambda_answer_free(&A);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_functions),    cmocka_unit_test(requests),    cmocka_unit_test(answers),
        cmocka_unit_test(answers_that_are_none), cmocka_unit_test(compression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
