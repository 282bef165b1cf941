/* Implementation of objects/s3_objects.h: operations, and where the bucket is. */
#include "objects/s3_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/hash.h"
#include "objects/s3_internal.h"

#define CONNECT_MS ((uint32_t)5000)
#define STALL_MS   ((uint32_t)30000)
#define ANSWER_MAX ((size_t)64 << 10)
#define PAGE_MAX   ((size_t)8 << 20) /* a page of a listing has 1000 keys of at most 1024 bytes */

/* ---- operations ---- */

static enum rc do_get(struct s3_objects *s, struct object_op *op)
{
    struct s3_request r = {.method = "GET", .key = op->key, .query = "", .max_bytes = op->max_bytes};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, false, &response, &op->err);
    if (rc == RC_OK) {
        op->content = response.body;
        snprintf(op->etag, sizeof(op->etag), "%s", response.etag);
    }
    return rc;
}

static enum rc do_put(struct s3_objects *s, struct object_op *op)
{
    if (op->condition == OBJECT_ANY && op->body.len > s->part_size)
        return s3_put_parts(s, op->key, bytes_slice(op->body), op->etag, &op->err);
    struct s3_request r = {
        .method = "PUT", .key = op->key, .query = "", .body = bytes_slice(op->body), .max_bytes = ANSWER_MAX};
    if (op->condition == OBJECT_ABSENT)
        r.condition = (struct aws_header){"if-none-match", "*"};
    else if (op->condition == OBJECT_MATCHES)
        r.condition = (struct aws_header){"if-match", op->etag[0] ? op->etag : "\"\""};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, true, &response, &op->err);
    if (rc == RC_OK) {
        bytes_unref(&response.body);
        snprintf(op->etag, sizeof(op->etag), "%s", response.etag);
    }
    return rc;
}

static enum rc do_delete(struct s3_objects *s, struct object_op *op)
{
    struct s3_request r = {.method = "DELETE", .key = op->key, .query = "", .max_bytes = ANSWER_MAX};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, true, &response, &op->err);
    if (rc == RC_OK)
        bytes_unref(&response.body);
    if (rc == RC_NOT_FOUND) {
        op->err = (struct err){0};
        rc = RC_OK;
    }
    return rc;
}

static enum rc list_page(struct s3_objects *s, struct object_op *op, struct s3_list_page *page)
{
    struct writer query = WRITER_INIT;
    if (page->next_token[0]) {
        write_fmt(&query, "continuation-token=");
        percent_encode(&query, slice_cstr(page->next_token));
        write_u8(&query, '&');
    }
    write_fmt(&query, "list-type=2&prefix=");
    percent_encode(&query, slice_cstr(op->key));
    write_u8(&query, 0);
    struct s3_request r = {
        .method = "GET", .query = (const char *)writer_slice(&query).ptr, .max_bytes = PAGE_MAX};
    struct aws_http_response response;
    enum rc rc = s3_call(s, &r, false, &response, &op->err);
    writer_free(&query);
    if (rc != RC_OK)
        return rc;
    rc = s3_list_parse(bytes_slice(response.body), op, page, &op->err);
    bytes_unref(&response.body);
    return rc;
}

static enum rc do_list(struct s3_objects *s, struct object_op *op)
{
    struct s3_list_page page = {0};
    enum rc rc;
    do {
        rc = list_page(s, op, &page);
        if (rc == RC_OK && op->listed.len > OBJECT_LIST_MAX)
            rc = err_set(&op->err, RC_TOO_LARGE, "more than %u objects below %s", OBJECT_LIST_MAX, op->key);
    } while (rc == RC_OK && page.truncated);
    if (rc == RC_NOT_FOUND)
        rc = err_set(&op->err, RC_INVALID, "there is no bucket '%s'", s->bucket);
    if (rc == RC_OK)
        object_list_sort(op);
    else
        object_op_release(op);
    return rc;
}

static void s3_work(struct job_store *jobs, struct object_op *op)
{
    struct s3_objects *s = CONTAINER_OF(jobs, struct s3_objects, jobs);
    switch (op->kind) {
    case OBJECT_GET:
        op->rc = do_get(s, op);
        return;
    case OBJECT_PUT:
        op->rc = do_put(s, op);
        return;
    case OBJECT_DELETE:
        op->rc = do_delete(s, op);
        return;
    case OBJECT_LIST:
        op->rc = do_list(s, op);
        return;
    }
}

/* ---- life ---- */

static void s3_destroy(struct job_store *jobs)
{
    struct s3_objects *s = CONTAINER_OF(jobs, struct s3_objects, jobs);
    if (s->credentials)
        aws_credential_source_free(s->credentials);
    if (s->http)
        aws_http_free(s->http);
    job_store_release(jobs);
    free(s->bucket);
    free(s->region);
    free(s->base_url);
    free(s->base_path);
    free(s);
}

/* ---- where it is ---- */

static const char *first_of(const char *configured, const char *variable_a, const char *variable_b,
                            const char *in_profile)
{
    const char *a = getenv(variable_a), *b = getenv(variable_b);
    return configured && *configured ? configured
           : a && *a                 ? a
           : b && *b                 ? b
           : *in_profile             ? in_profile
                                     : NULL;
}

static enum rc place_endpoint(struct s3_objects *s, const char *endpoint, bool allow_http, struct err *err)
{
    bool plain = strncasecmp(endpoint, "http://", 7) == 0;
    if (!plain && strncasecmp(endpoint, "https://", 8) != 0)
        return err_set(err, RC_INVALID, "the endpoint '%s' is not a http(s) URL", endpoint);
    if (plain && !allow_http)
        return err_set(
            err, RC_INVALID,
            "the endpoint '%s' is not encrypted: use https, or allow it with aws-allow-http = true",
            endpoint);
    const char *host = endpoint + (plain ? 7 : 8);
    size_t authority = strcspn(host, "/?#");
    if (authority == 0 || host[authority] == '?' || host[authority] == '#' || memchr(host, '@', authority))
        return err_set(err, RC_INVALID, "the endpoint '%s' must be http(s)://host[:port][/path]", endpoint);
    size_t end = strlen(endpoint);
    while (endpoint[end - 1] == '/')
        end--;
    size_t base = (size_t)(host - endpoint) + authority;
    s->base_url = xasprintf("%.*s", (int)base, endpoint);
    s->base_path = xasprintf("%.*s/%s", (int)(end > base ? end - base : 0), endpoint + base, s->bucket);
    return RC_OK;
}

/* A bucket with dots has no certificate as a host, so it goes into the path. */
static void place_aws(struct s3_objects *s)
{
    const char *domain = strncmp(s->region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
    bool in_path = strchr(s->bucket, '.') || strchr(s->bucket, '_');
    s->base_url = in_path ? xasprintf("https://s3.%s.%s", s->region, domain)
                          : xasprintf("https://%s.s3.%s.%s", s->bucket, s->region, domain);
    s->base_path = in_path ? xasprintf("/%s", s->bucket) : xstrdup("");
}

static enum rc place(struct s3_objects *s, const struct s3_objects_config *c, struct err *err)
{
    struct aws_profile *p = xcalloc(1, sizeof(*p));
    const char *profile = first_of(c->credentials.profile, "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "default");
    aws_profile_load(profile, p);
    const char *region = first_of(c->region, "AWS_REGION", "AWS_DEFAULT_REGION", p->region);
    const char *endpoint = first_of(c->endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", p->endpoint);
    const char *allow = getenv("AWS_ALLOW_HTTP");
    s->region = xstrdup(region ? region : "us-east-1");
    enum rc rc = RC_OK;
    if (strspn(s->region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
            strlen(s->region) ||
        strlen(s->region) > 63)
        rc = err_set(err, RC_INVALID, "'%.100s' is not the name of a region", s->region);
    else if (endpoint)
        rc = place_endpoint(s, endpoint, c->allow_http || (allow && strcmp(allow, "true") == 0), err);
    else
        place_aws(s);
    free(p);
    return rc;
}

enum rc s3_objects_new(struct env *env, struct job_runner *runner, const struct s3_objects_config *config,
                       struct object_store **out, struct err *err)
{
    struct s3_objects *s = xcalloc(1, sizeof(*s));
    job_store_init(&s->jobs, env, runner, s3_work, s3_destroy);
    s->bucket = xstrdup(config->bucket);
    s->connect_ms = config->connect_timeout_ms ? config->connect_timeout_ms : CONNECT_MS;
    s->stall_ms = config->stall_timeout_ms ? config->stall_timeout_ms : STALL_MS;
    s->part_size = config->part_size ? config->part_size : S3_PART_SIZE;
    enum rc rc = place(s, config, err);
    if (rc != RC_OK) {
        s3_destroy(&s->jobs);
        return rc;
    }
    s->host = strstr(s->base_url, "://") + 3;
    s->http = aws_http_new();
    s->credentials = aws_credential_source_new(&config->credentials, s->http);
    *out = &s->jobs.base;
    return RC_OK;
}
