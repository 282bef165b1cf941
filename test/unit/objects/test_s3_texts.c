/* The pure pieces of the S3 store: signatures against the examples that AWS publishes, URLs, XML, profiles,
 * credentials of services. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "objects/aws_credentials.h"
#include "objects/aws_sign.h"
#include "objects/object_url.h"
#include "objects/s3_xml.h"

/* ---- signatures ---- */

struct example {
    const char *method, *path, *query, *body;
    struct aws_header extra[2];
    const char *signature;
};

/* "Signature Calculations for the Authorization Header", Amazon S3 API reference. */
static void signs_the_examples_of_s3(void **state)
{
    static const struct aws_credentials who = {.access_key_id = "AKIAIOSFODNN7EXAMPLE",
                                               .secret_access_key =
                                                   "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
    static const struct example examples[] = {
        {"GET",
         "/test.txt",
         "",
         "",
         {{"range", "bytes=0-9"}},
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT",
         "/test%24file.text",
         "",
         "Welcome to Amazon S3.",
         {{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET",
         "/",
         "lifecycle",
         "",
         {{0}},
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET",
         "/",
         "max-keys=2&prefix=J",
         "",
         {{0}},
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const struct example *e = &examples[i];
        char hash[SHA256_HEX_SIZE], date[AWS_DATE_SIZE];
        sha256_hex(slice_cstr(e->body), hash);
        aws_date(1369353600000, date);
        assert_string_equal(date, "20130524T000000Z");
        struct aws_header headers[5] = {
            {"x-amz-date", date}, {"host", "examplebucket.s3.amazonaws.com"}, {"x-amz-content-sha256", hash}};
        size_t n = 3;
        for (size_t x = 0; x < 2 && e->extra[x].name; x++)
            headers[n++] = e->extra[x];
        struct aws_to_sign r = {.method = e->method,
                                .path = e->path,
                                .query = e->query,
                                .headers = headers,
                                .n_headers = n,
                                .payload_hash = hash,
                                .date = date,
                                .region = "us-east-1",
                                .service = "s3"};
        struct writer w = WRITER_INIT;
        aws_sign(&r, &who, &w);
        const char *text = (const char *)writer_slice(&w).ptr;
        assert_non_null(strstr(text, "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"));
        assert_string_equal(strstr(text, ",Signature=") + 11, e->signature);
        writer_free(&w);
    }
}

/* "get-vanilla" and "get-header-value-trim" of the Signature Version 4 test suite. */
static void signs_the_test_suite(void **state)
{
    static const struct aws_credentials who = {
        .access_key_id = "AKIDEXAMPLE", .secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};
    char empty[SHA256_HEX_SIZE];
    sha256_hex(SLICE_EMPTY, empty);
    struct aws_header headers[] = {{"host", "example.amazonaws.com"},
                                   {"x-amz-date", "20150830T123600Z"},
                                   {"my-header1", " value1"},
                                   {"my-header2", "  \"a   b   c\"  "}};
    struct aws_to_sign r = {.method = "GET",
                            .path = "/",
                            .query = "",
                            .headers = headers,
                            .n_headers = 2,
                            .payload_hash = empty,
                            .date = "20150830T123600Z",
                            .region = "us-east-1",
                            .service = "service"};
    struct writer w = WRITER_INIT;
    aws_sign(&r, &who, &w);
    assert_string_equal((const char *)writer_slice(&w).ptr,
                        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
                        "SignedHeaders=host;x-amz-date,"
                        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    writer_free(&w);
    r.n_headers = 4;
    aws_sign(&r, &who, &w);
    assert_non_null(strstr((const char *)writer_slice(&w).ptr,
                           "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"));
    writer_free(&w);
}

/* ---- URLs ---- */

static void parses_urls(void **state)
{
    struct object_url u;
    struct err err;
    assert_int_equal(object_url_parse(SLICE_LIT("s3://my-bucket/a/b/?x=y"), &u, &err), RC_OK);
    assert_int_equal(u.scheme, OBJECT_URL_S3);
    assert_string_equal(u.bucket, "my-bucket");
    assert_string_equal(u.prefix, "a/b");
    assert_int_equal(object_url_parse(SLICE_LIT("S3://bucket"), &u, &err), RC_OK);
    assert_string_equal(u.prefix, "");
    assert_int_equal(object_url_parse(SLICE_LIT("s3://bucket//"), &u, &err), RC_OK);
    assert_string_equal(u.prefix, "");
    assert_int_equal(object_url_parse(SLICE_LIT("file:///var/x"), &u, &err), RC_OK);
    assert_int_equal(u.scheme, OBJECT_URL_FILE);
    assert_string_equal(u.directory, "/var/x");
    static const char *const invalid[] = {
        "",           "bucket",           "s3:bucket",       "s3://",       "s3:///a",
        "s3://b",     "s3://bu cket",     "s3://a@b.c",      "file://host", "://bucket/x",
        "s3://-b-/a", "s3://bucket/a//b", "s3://bucket/../b"};
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++)
        assert_int_equal(object_url_parse(slice_cstr(invalid[i]), &u, &err), RC_INVALID);
    assert_int_equal(object_url_parse(SLICE_LIT("gs://bucket/a"), &u, &err), RC_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "gs://bucket/a"));
    assert_int_equal(object_url_parse(SLICE_LIT("az://container"), &u, &err), RC_UNSUPPORTED);
}

/* ---- XML ---- */

static void reads_listings(void **state)
{
    static const char page[] =
        "<?xml version=\"1.0\"?>\n<!-- > --><ListBucketResult xmlns=\"http://x/\"><Name>b</Name><Prefix/>"
        "<IsTruncated>true</IsTruncated><Contents><Key>b/&lt;&amp;&gt;&quot;&#39;&#x2f;x</Key><Size>12</Size>"
        "<Owner><ID>7</ID><Key>no</Key></Owner></Contents><Contents><Size>0</Size><Key>dir/</Key></Contents>"
        "<CommonPrefixes><Prefix>q/</Prefix></CommonPrefixes>"
        "<s3:Contents><Size>3</Size><Key>a</Key><Empty/></s3:Contents>"
        "<NextContinuationToken>t+/=&amp;</NextContinuationToken></ListBucketResult>";
    struct object_op op = {0};
    struct s3_list_page p;
    struct err err;
    assert_int_equal(s3_list_parse(slice_cstr(page), &op, &p, &err), RC_OK);
    assert_true(p.truncated);
    assert_string_equal(p.next_token, "t+/=&");
    assert_int_equal(op.listed.len, 2);
    assert_string_equal(op.listed.items[0].key, "b/<&>\"'/x");
    assert_int_equal(op.listed.items[0].size, 12);
    assert_string_equal(op.listed.items[1].key, "a");
    object_op_release(&op);
    /* every prefix of it is damaged, and none does harm */
    for (size_t n = 0; n < sizeof(page) - 1 - strlen("</ListBucketResult>"); n++) {
        enum rc rc = s3_list_parse(slice_make(page, n), &op, &p, &err);
        if (rc == RC_OK) /* between the elements: the end is missing, but not what counts */
            assert_true(n > 50);
        object_op_release(&op);
    }
    assert_int_equal(s3_list_parse(SLICE_LIT("<html></html>"), &op, &p, &err), RC_CORRUPT);
    assert_int_equal(
        s3_list_parse(SLICE_LIT("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"), &op,
                      &p, &err),
        RC_CORRUPT);
    assert_int_equal(s3_list_parse(SLICE_LIT("<ListBucketResult><Contents><Key>a"), &op, &p, &err),
                     RC_CORRUPT);
    object_op_release(&op);
    char code[16];
    assert_true(xml_find(SLICE_LIT("<Error><Code>NoSuchKey</Code></Error>"), "Code", code, sizeof(code)));
    assert_string_equal(code, "NoSuchKey");
    assert_false(xml_find(SLICE_LIT("<Error><Cod>x</Cod></Error>"), "Code", code, sizeof(code)));
    assert_true(xml_find(SLICE_LIT("<Code>0123456789abcdefgh</Code>"), "Code", code, sizeof(code)));
    assert_string_equal(code, "0123456789abcde");
}

/* ---- credentials ---- */

static void reads_profiles(void **state)
{
    static const char credentials[] = "# c\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n"
                                      "[ dev ]\r\naws_access_key_id=C\r\naws_secret_access_key = D\r\n"
                                      "aws_session_token=T\r\n[last]\naws_access_key_id=E";
    static const char config[] = "[default]\nregion = eu-west-1\n[profile dev]\nregion=us-west-2\n"
                                 "s3 =\n  region = wrong\nendpoint_url = http://x\n[profile sso]\n"
                                 "sso_session = s\n[dev2]\nregion = no";
    struct aws_profile p = {0};
    assert_true(aws_profile_read(slice_cstr(credentials), "default", false, &p));
    assert_true(aws_profile_read(slice_cstr(config), "default", true, &p));
    assert_string_equal(p.credentials.access_key_id, "A");
    assert_string_equal(p.credentials.secret_access_key, "B=");
    assert_string_equal(p.credentials.session_token, "");
    assert_string_equal(p.region, "eu-west-1");
    p = (struct aws_profile){0};
    assert_true(aws_profile_read(slice_cstr(credentials), "dev", false, &p));
    assert_true(aws_profile_read(slice_cstr(config), "dev", true, &p));
    assert_string_equal(p.credentials.secret_access_key, "D");
    assert_string_equal(p.credentials.session_token, "T");
    assert_string_equal(p.region, "us-west-2");
    assert_string_equal(p.endpoint, "http://x");
    p = (struct aws_profile){0};
    assert_true(aws_profile_read(slice_cstr(config), "sso", true, &p));
    assert_string_equal(p.unsupported, "sso_session");
    assert_false(aws_profile_read(slice_cstr(config), "dev2", true, &p));
    assert_false(aws_profile_read(slice_cstr(config), "sso", false, &p));
    assert_true(aws_profile_read(slice_cstr(credentials), "last", false, &p));
}

static void reads_credentials_of_services(void **state)
{
    struct aws_credentials c;
    struct err err;
    assert_int_equal(
        aws_credentials_parse(SLICE_LIT("{\"Code\":\"Success\",\"AccessKeyId\":\"a\",\"SecretAccessKey\":"
                                        "\"b\",\"Token\":\"c\",\"Expiration\":\"2026-11-28T18:00:00Z\"}"),
                              &c, &err),
        RC_OK);
    assert_string_equal(c.session_token, "c");
    assert_int_equal(c.expires_ms, 1795888800000);
    static const char *const bad[] = {
        "",
        "[]",
        "{\"AccessKeyId\":\"a\"}",
        "{\"AccessKeyId\":1,\"SecretAccessKey\":\"b\"}",
        "{\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\",\"Expiration\":\"soon\"}",
        "{\"AccessKeyId\":\"a\\r\\nx-evil: 1\",\"SecretAccessKey\":\"b\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(aws_credentials_parse(slice_cstr(bad[i]), &c, &err), RC_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_the_examples_of_s3),
        cmocka_unit_test(signs_the_test_suite),
        cmocka_unit_test(parses_urls),
        cmocka_unit_test(reads_listings),
        cmocka_unit_test(reads_profiles),
        cmocka_unit_test(reads_credentials_of_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
