/* Implementation of objects/aws_metadata.h. */
#include "objects/aws_metadata.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/time.h"
#include "loop/read_file.h"
#include "objects/s3_xml.h"

#define ANSWER_MAX ((size_t)64 << 10)

static const char *variable(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

/* NULL: there is no such file, or it cannot be read. Without white space at the end. */
static char *read_text(const char *path)
{
    struct bytes content;
    if (read_file(path, ANSWER_MAX, &content, NULL) != RC_OK)
        return NULL;
    char *text = xasprintf("%.*s", SLICE_FMT(bytes_slice(content)));
    size_t n = strlen(text);
    bytes_unref(&content);
    while (n && strchr(" \t\r\n", text[n - 1]))
        text[--n] = 0;
    return text;
}

static enum rc ask(struct aws_http *http, const _Atomic bool *canceled, struct aws_http_request *r,
                   struct bytes *answer, struct err *err)
{
    r->max_bytes = ANSWER_MAX;
    r->canceled = canceled;
    struct aws_http_response response;
    enum rc rc = aws_http_run(http, r, &response, err);
    if (rc != RC_OK)
        return rc == RC_TIMEOUT ? (err->rc = RC_UNAVAILABLE) : rc;
    if (response.status != 200) {
        struct slice s = bytes_slice(response.body);
        rc = err_set(err, response.status >= 500 ? RC_UNAVAILABLE : RC_INVALID, "%s answered %ld: %.*s",
                     r->url, response.status, (int)MIN(s.len, 150u), (const char *)s.ptr);
        bytes_unref(&response.body);
        return rc;
    }
    *answer = response.body;
    return RC_OK;
}

static enum rc ask_credentials(struct aws_http *http, const _Atomic bool *canceled,
                               struct aws_http_request *r, struct aws_credentials *out, struct err *err)
{
    struct bytes answer;
    enum rc rc = ask(http, canceled, r, &answer, err);
    if (rc != RC_OK)
        return rc;
    rc = aws_credentials_parse(bytes_slice(answer), out, err);
    if (rc != RC_OK)
        err_prefix(err, "%s: ", r->url);
    bytes_unref(&answer);
    return rc;
}

enum rc aws_container_credentials(struct aws_http *http, const _Atomic bool *canceled,
                                  struct aws_credentials *out, struct err *err)
{
    const char *relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *token_file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    if (!relative && !full)
        return err_set(err, RC_NOT_FOUND, "no container");
    char *url = relative ? xasprintf("http://169.254.170.2%s", relative) : xstrdup(full);
    char *from_file = token_file ? read_text(token_file) : NULL;
    struct aws_header header = {"authorization", from_file ? from_file : token};
    struct aws_http_request r = {
        .method = "GET",
        .url = url,
        .headers = &header,
        .n_headers = header.value && !strpbrk(header.value, "\r\n") ? 1 : 0,
        .direct = true,
        .connect_ms = 2000,
        .stall_ms = 5000,
    };
    enum rc rc = ask_credentials(http, canceled, &r, out, err);
    free(url);
    free(from_file);
    return rc;
}

/* A machine without the service does not answer at all: then there are none, and it costs a second. */
enum rc aws_instance_credentials(struct aws_http *http, const _Atomic bool *canceled,
                                 struct aws_credentials *out, struct err *err)
{
    const char *disabled = variable("AWS_EC2_METADATA_DISABLED");
    const char *base = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if (disabled && strcmp(disabled, "true") == 0)
        return err_set(err, RC_NOT_FOUND, "no instance");
    base = base ? base : "http://169.254.169.254";
    char *url = xasprintf("%s/latest/api/token", base);
    struct aws_header header = {"x-aws-ec2-metadata-token-ttl-seconds", "300"};
    struct aws_http_request r = {.method = "PUT",
                                 .url = url,
                                 .headers = &header,
                                 .n_headers = 1,
                                 .direct = true,
                                 .connect_ms = 1000,
                                 .stall_ms = 2000};
    struct bytes token = BYTES_EMPTY, role = BYTES_EMPTY;
    enum rc rc = ask(http, canceled, &r, &token, err);
    free(url);
    if (rc != RC_OK)
        return rc == RC_CANCELED ? rc : err_set(err, RC_NOT_FOUND, "no instance");
    char *token_text = slice_dup_cstr(bytes_slice(token));
    header = (struct aws_header){"x-aws-ec2-metadata-token", token_text};
    r.method = "GET";
    r.url = url = xasprintf("%s/latest/meta-data/iam/security-credentials/", base);
    rc = strpbrk(token_text, "\r\n") ? err_set(err, RC_INVALID, "%s gave a token with line breaks", base)
                                     : ask(http, canceled, &r, &role, err);
    if (rc == RC_INVALID)
        rc = err_set(err, RC_NOT_FOUND, "the instance has no role");
    if (rc == RC_OK) {
        struct slice name = bytes_slice(role);
        name.len = slice_find(name, '\n', 0) < 0 ? name.len : (size_t)slice_find(name, '\n', 0);
        char *role_url = xasprintf("%s%.*s", url, SLICE_FMT(name));
        r.url = role_url;
        rc = ask_credentials(http, canceled, &r, out, err);
        free(role_url);
    }
    free(url);
    free(token_text);
    bytes_unref(&token);
    bytes_unref(&role);
    return rc;
}

/* ---- web identity ---- */

static enum rc parse_identity(struct slice xml, struct aws_credentials *out, struct err *err)
{
    char expiration[40];
    struct writer json = WRITER_INIT; /* one parser for what they have in common */
    bool ok = xml_find(xml, "AccessKeyId", out->access_key_id, sizeof(out->access_key_id)) &&
              xml_find(xml, "SecretAccessKey", out->secret_access_key, sizeof(out->secret_access_key)) &&
              xml_find(xml, "SessionToken", out->session_token, sizeof(out->session_token)) &&
              xml_find(xml, "Expiration", expiration, sizeof(expiration));
    if (!ok)
        return err_set(err, RC_CORRUPT, "the token service's answer has no credentials");
    const char *const fields[][2] = {{"AccessKeyId", out->access_key_id},
                                     {"SecretAccessKey", out->secret_access_key},
                                     {"Token", out->session_token},
                                     {"Expiration", expiration}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        write_fmt(&json, "%s\"%s\":", i ? "," : "{", fields[i][0]);
        write_json_string(&json, slice_cstr(fields[i][1]));
    }
    write_u8(&json, '}');
    struct aws_credentials parsed = {0};
    enum rc rc = aws_credentials_parse(writer_slice(&json), &parsed, err);
    *out = parsed;
    writer_free(&json);
    return rc;
}

enum rc aws_web_identity(struct aws_http *http, const _Atomic bool *canceled, struct aws_credentials *out,
                         struct err *err)
{
    const char *file = variable("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = variable("AWS_ROLE_ARN");
    const char *session = variable("AWS_ROLE_SESSION_NAME"), *endpoint = variable("AWS_ENDPOINT_URL_STS");
    const char *region = variable("AWS_REGION");
    if (!file || !role)
        return err_set(err, RC_NOT_FOUND, "no web identity");
    char *token = read_text(file);
    if (!token)
        return err_set(err, RC_INVALID, "AWS_WEB_IDENTITY_TOKEN_FILE cannot be read: %s", file);
    struct writer url = WRITER_INIT;
    if (endpoint)
        write_fmt(&url, "%s", endpoint);
    else if (region)
        write_fmt(&url, "https://sts.%s.amazonaws.com", region);
    else
        write_fmt(&url, "https://sts.amazonaws.com");
    write_fmt(&url, "/?Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    percent_encode(&url, slice_cstr(role));
    write_fmt(&url, "&RoleSessionName=");
    percent_encode(&url, slice_cstr(session ? session : "restate"));
    write_fmt(&url, "&WebIdentityToken=");
    percent_encode(&url, slice_cstr(token));
    write_u8(&url, 0);
    struct aws_http_request r = {
        .method = "GET", .url = (const char *)writer_slice(&url).ptr, .connect_ms = 5000, .stall_ms = 10000};
    struct bytes answer = BYTES_EMPTY;
    enum rc rc = ask(http, canceled, &r, &answer, err);
    if (rc == RC_OK)
        rc = parse_identity(bytes_slice(answer), out, err);
    else /* without the token that is in the URL */
        err_set(err, rc, "the token service refused AssumeRoleWithWebIdentity for %s", role);
    bytes_unref(&answer);
    writer_free(&url);
    free(token);
    return rc;
}

/* ---- roles ---- */

/* In order of the names, as it must be for the signature. */
static void write_role_query(struct writer *w, const struct aws_assume_role *role, uint64_t now_ms)
{
    write_fmt(w, "Action=AssumeRole");
    if (role->external_id) {
        write_fmt(w, "&ExternalId=");
        percent_encode(w, slice_cstr(role->external_id));
    }
    write_fmt(w, "&RoleArn=");
    percent_encode(w, slice_cstr(role->role_arn));
    write_fmt(w, "&RoleSessionName=restate-%llu&Version=2011-06-15", (unsigned long long)(now_ms / 1000));
    write_u8(w, 0);
}

static enum rc send_assume_role(struct aws_http *http, const _Atomic bool *canceled,
                                const struct aws_assume_role *role, const char *base, const char *query,
                                struct bytes *answer, struct err *err)
{
    char date[AWS_DATE_SIZE], hash[SHA256_HEX_SIZE];
    const char *host = strstr(base, "://");
    aws_date(os_wall_ms(), date);
    sha256_hex(SLICE_EMPTY, hash);
    struct aws_header headers[4] = {{"host", host ? host + 3 : base}, {"x-amz-date", date}};
    size_t n = 2;
    if (role->credentials->session_token[0])
        headers[n++] = (struct aws_header){"x-amz-security-token", role->credentials->session_token};
    struct aws_to_sign sign = {.method = "GET",
                               .path = "/",
                               .query = query,
                               .headers = headers,
                               .n_headers = n,
                               .payload_hash = hash,
                               .date = date,
                               .region = role->region,
                               .service = "sts"};
    struct writer authorization = WRITER_INIT;
    aws_sign(&sign, role->credentials, &authorization);
    headers[n++] = (struct aws_header){"authorization", (const char *)writer_slice(&authorization).ptr};
    char *url = xasprintf("%s/?%s", base, query);
    struct aws_http_request r = {.method = "GET",
                                 .url = url,
                                 .headers = headers,
                                 .n_headers = n,
                                 .connect_ms = 5000,
                                 .stall_ms = 10000};
    enum rc rc = ask(http, canceled, &r, answer, err);
    free(url);
    writer_free(&authorization);
    return rc;
}

enum rc aws_assume_role(struct aws_http *http, const _Atomic bool *canceled,
                        const struct aws_assume_role *role, struct aws_credentials *out, struct err *err)
{
    const char *endpoint = variable("AWS_ENDPOINT_URL_STS");
    endpoint = endpoint ? endpoint : variable("AWS_ENDPOINT_URL");
    char *base = endpoint ? xstrdup(endpoint) : xasprintf("https://sts.%s.amazonaws.com", role->region);
    size_t len = strlen(base);
    if (len && base[len - 1] == '/')
        base[len - 1] = 0;
    struct writer query = WRITER_INIT;
    struct bytes answer = BYTES_EMPTY;
    write_role_query(&query, role, os_wall_ms());
    enum rc rc =
        send_assume_role(http, canceled, role, base, (const char *)writer_slice(&query).ptr, &answer, err);
    if (rc == RC_OK)
        rc = parse_identity(bytes_slice(answer), out, err);
    if (rc != RC_OK && rc != RC_CANCELED)
        err_prefix(err, "the role %s cannot be assumed: ", role->role_arn);
    bytes_unref(&answer);
    writer_free(&query);
    free(base);
    return rc;
}
