/* Who we are for AWS, and requests of the Invoke API with our signature (invoker/lambda_internal.h). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/time.h"
#include "invoker/lambda_internal.h"
#include "loop/workers.h"
#include "objects/aws_credentials.h"

#define THREADS_MAX 8u
#define ROLES_MAX   256u /* different roles in one life of a node; more are refused */

struct role {
    char *arn;
    struct aws_credential_source *source;
};

struct lambda_access {
    struct aws_http *http;
    struct aws_credential_source *own;
    char *external_id, *endpoint; /* NULL */
    struct workers *workers;
    _Atomic bool canceled;
    pthread_mutex_t lock; /* of what follows */
    struct role roles[ROLES_MAX];
    size_t n_roles;
};

struct lambda_access *lambda_access_new(const struct lambda_access_config *config)
{
    const char *endpoint = getenv("AWS_ENDPOINT_URL_LAMBDA"), *any = getenv("AWS_ENDPOINT_URL");
    struct lambda_access *a = xcalloc(1, sizeof(*a));
    struct aws_credentials_config credentials = {.profile = config->profile};
    a->http = aws_http_new();
    a->own = aws_credential_source_new(&credentials, a->http);
    a->external_id = config->external_id ? xstrdup(config->external_id) : NULL;
    endpoint = endpoint && *endpoint ? endpoint : any;
    a->endpoint = endpoint && *endpoint ? xstrdup(endpoint) : NULL;
    a->workers = workers_new("lambda", THREADS_MAX);
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

void lambda_access_free(struct lambda_access *a)
{
    workers_free(a->workers);
    for (size_t i = 0; i < a->n_roles; i++) {
        aws_credential_source_free(a->roles[i].source);
        free(a->roles[i].arn);
    }
    aws_credential_source_free(a->own);
    aws_http_free(a->http);
    pthread_mutex_destroy(&a->lock);
    free(a->external_id);
    free(a->endpoint);
    free(a);
}

struct job_runner *lambda_access_runner(struct lambda_access *a, struct loop *loop)
{
    return workers_runner_new(a->workers, loop);
}

void lambda_access_cancel(struct lambda_access *a)
{
    atomic_store(&a->canceled, true);
}

/* ---- credentials ---- */

static struct aws_credential_source *find_role(struct lambda_access *a, const char *arn)
{
    for (size_t i = 0; i < a->n_roles; i++)
        if (strcmp(a->roles[i].arn, arn) == 0)
            return a->roles[i].source;
    return NULL;
}

/* NULL: too many roles. */
static struct aws_credential_source *source_of(struct lambda_access *a, const char *role, const char *region)
{
    if (!role)
        return a->own;
    pthread_mutex_lock(&a->lock);
    struct aws_credential_source *s = find_role(a, role);
    if (!s && a->n_roles < ROLES_MAX) {
        struct aws_credentials_config config = {
            .role_arn = role, .external_id = a->external_id, .region = region, .assume_with = a->own};
        s = aws_credential_source_new(&config, a->http);
        a->roles[a->n_roles++] = (struct role){xstrdup(role), s};
    }
    pthread_mutex_unlock(&a->lock);
    return s;
}

void lambda_access_forget(struct lambda_access *a, const char *role)
{
    pthread_mutex_lock(&a->lock);
    struct aws_credential_source *s = role ? find_role(a, role) : a->own;
    pthread_mutex_unlock(&a->lock);
    if (s)
        aws_credentials_forget(s);
}

/* ---- the request ---- */

/* The ARN is one segment of the path, percent-encoded. Services other than S3 sign the path encoded again. */
static void write_paths(const char *arn, struct writer *path, struct writer *to_sign)
{
    struct writer once = WRITER_INIT;
    percent_encode(&once, slice_cstr(arn));
    write_fmt(path, "/2015-03-31/functions/%.*s/invocations", SLICE_FMT(writer_slice(&once)));
    write_fmt(to_sign, "/2015-03-31/functions/");
    percent_encode(to_sign, writer_slice(&once));
    write_fmt(to_sign, "/invocations");
    write_u8(to_sign, 0);
    writer_free(&once);
}

static void sign(const char *host, const char *region, const char *path, const struct aws_credentials *c,
                 struct slice payload, struct lambda_invoke *out)
{
    char hash[SHA256_HEX_SIZE];
    aws_date(os_wall_ms(), out->date);
    sha256_hex(payload, hash);
    struct aws_header headers[4] = {
        {"host", host}, {"x-amz-date", out->date}, {"x-amz-invocation-type", "RequestResponse"}};
    size_t n = 3;
    if (c->session_token[0]) {
        out->session_token = xstrdup(c->session_token);
        headers[n++] = (struct aws_header){"x-amz-security-token", out->session_token};
    }
    struct aws_to_sign request = {.method = "POST",
                                  .path = path,
                                  .query = "",
                                  .headers = headers,
                                  .n_headers = n,
                                  .payload_hash = hash,
                                  .date = out->date,
                                  .region = region,
                                  .service = "lambda"};
    aws_sign(&request, c, &out->authorization);
}

enum rc lambda_invoke_prepare(struct lambda_access *a, const char *arn, const char *role,
                              struct slice payload, struct lambda_invoke *out, struct err *err)
{
    struct lambda_arn function;
    struct http_uri uri;
    *out = (struct lambda_invoke){0};
    enum rc rc = lambda_arn_parse(arn, &function, err);
    if (rc != RC_OK)
        return rc;
    out->url = a->endpoint ? xstrdup(a->endpoint)
                           : xasprintf("https://lambda.%s.%s", function.region, function.dns_suffix);
    rc = http_uri_parse(slice_cstr(out->url), &uri, err);
    if (rc != RC_OK) {
        err_prefix(err, "the endpoint of AWS Lambda '%s' cannot be used: ", out->url);
        return rc;
    }
    struct aws_credential_source *source = source_of(a, role, function.region);
    if (!source)
        return err_set(err, RC_INVALID, "more than %u different roles to assume", ROLES_MAX);
    struct aws_credentials *c = xcalloc(1, sizeof(*c));
    rc = aws_credentials_get(source, &a->canceled, c, err);
    if (rc == RC_OK) {
        struct writer to_sign = WRITER_INIT;
        char *host = slice_dup_cstr(uri.authority);
        write_paths(arn, &out->path, &to_sign);
        sign(host, function.region, (const char *)writer_slice(&to_sign).ptr, c, payload, out);
        free(host);
        writer_free(&to_sign);
    }
    free(c);
    return rc;
}

void lambda_invoke_free(struct lambda_invoke *i)
{
    free(i->url);
    free(i->session_token);
    writer_free(&i->path);
    writer_free(&i->authorization);
    *i = (struct lambda_invoke){0};
}
