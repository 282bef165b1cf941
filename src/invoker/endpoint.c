/* What an attempt needs to know of its deployment, computed once per deployment and kept: parsed URI, path
 * pieces, headers. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "invoker/invoker_internal.h"

static uint64_t id_hash(struct u128 id)
{
    return hash64(slice_make(&id, sizeof(id)));
}

void endpoint_unref(struct endpoint *ep)
{
    ASSERT(ep->refs > 0);
    if (--ep->refs > 0)
        return;
    free(ep->uri_text);
    free(ep->assume_role_arn);
    free(ep->headers);
    bytes_unref(&ep->path_prefix);
    bytes_unref(&ep->path_query);
    bytes_unref(&ep->header_text);
    free(ep);
}

static struct slice prefix_of(const struct http_uri *uri)
{
    struct slice path = uri->path;
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

void uri_path_write(struct writer *w, const struct http_uri *uri, struct slice suffix)
{
    write_slice_raw(w, prefix_of(uri));
    write_slice_raw(w, suffix);
    if (uri->query.len > 0) {
        write_u8(w, '?');
        write_slice_raw(w, uri->query);
    }
}

/* Header names go out in lower case, as HTTP/2 wants them. */
static void copy_headers(struct endpoint *ep, const struct schema_deployment *d)
{
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < d->n_headers; i++) {
        for (const char *p = d->headers[i].name; *p; p++)
            write_u8(&w, (uint8_t)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p));
        write_slice_raw(&w, slice_cstr(d->headers[i].value));
    }
    ep->header_text = writer_take(&w);
    ep->n_headers = d->n_headers;
    ep->headers = xcalloc(d->n_headers + 1, sizeof(*ep->headers));
    const uint8_t *at = ep->header_text.ptr;
    for (size_t i = 0; i < d->n_headers; i++) {
        ep->headers[i].name = slice_make(at, strlen(d->headers[i].name));
        at += ep->headers[i].name.len;
        ep->headers[i].value = slice_make(at, strlen(d->headers[i].value));
        at += ep->headers[i].value.len;
    }
}

void dial_cause(const struct err *err, bool http_1_1, char *out, size_t cap)
{
    static const struct {
        const char *ours, *os;
    } causes[] = {
        {"connection refused", "Connection refused (os error 111)"},
        {"host is unreachable", "No route to host (os error 113)"},
        {"network is unreachable", "Network is unreachable (os error 101)"},
        {"connection reset by peer", "Connection reset by peer (os error 104)"},
    };
    struct slice message = slice_cstr(err->msg);
    const char *cause = err->rc == RC_OK ? "the stream ended early" : err->msg;
    const char *pool = "";
    if (slice_starts_with(message, SLICE_LIT("cannot connect to "))) {
        pool = http_1_1 ? "" : "h2 pool connection error: ";
        for (size_t i = 0; i < ARRAY_LEN(causes); i++)
            if (slice_ends_with(message, slice_cstr(causes[i].ours)))
                cause = causes[i].os;
    }
    snprintf(out, cap, "%s%s", pool, cause);
}

static const char *address_of(const struct schema_deployment *d)
{
    const char *address = d->kind == DEPLOYMENT_LAMBDA ? d->arn : d->uri;
    return address ? address : "";
}

static struct endpoint *endpoint_new(const struct schema_deployment *d, struct err *err)
{
    struct endpoint *ep = xcalloc(1, sizeof(*ep));
    ep->refs = 1;
    ep->id = d->id;
    ep->is_lambda = d->kind == DEPLOYMENT_LAMBDA;
    ep->uri_text = xstrdup(address_of(d));
    copy_headers(ep, d);
    if (ep->is_lambda) {
        struct lambda_arn arn;
        ep->lambda_zstd = d->lambda_zstd;
        ep->assume_role_arn = d->assume_role_arn ? xstrdup(d->assume_role_arn) : NULL;
        if (lambda_arn_parse(ep->uri_text, &arn, err) == RC_OK)
            return ep;
        endpoint_unref(ep);
        return NULL;
    }
    if (http_uri_parse(slice_cstr(ep->uri_text), &ep->uri, err) != RC_OK) {
        endpoint_unref(ep);
        return NULL;
    }
    ep->http_1_1 = d->http_1_1;
    ep->protocol = d->http_1_1 ? HTTP_CLIENT_H1 : HTTP_CLIENT_H2;
    ep->path_prefix = bytes_copy(prefix_of(&ep->uri));
    struct writer query = WRITER_INIT;
    if (ep->uri.query.len > 0) {
        write_u8(&query, '?');
        write_slice_raw(&query, ep->uri.query);
    }
    ep->path_query = writer_take(&query);
    return ep;
}

/* A deployment can be changed in place (address, headers). */
static bool same_as(const struct endpoint *ep, const struct schema_deployment *d)
{
    const char *role = d->assume_role_arn ? d->assume_role_arn : "";
    if (ep->is_lambda != (d->kind == DEPLOYMENT_LAMBDA) || strcmp(ep->uri_text, address_of(d)) != 0)
        return false;
    if (ep->is_lambda && (ep->lambda_zstd != d->lambda_zstd ||
                          strcmp(ep->assume_role_arn ? ep->assume_role_arn : "", role) != 0))
        return false;
    if ((!ep->is_lambda && ep->http_1_1 != d->http_1_1) || ep->n_headers != d->n_headers)
        return false;
    for (size_t i = 0; i < d->n_headers; i++)
        if (!slice_eq_nocase(ep->headers[i].name, slice_cstr(d->headers[i].name)) ||
            !slice_eq_cstr(ep->headers[i].value, d->headers[i].value))
            return false;
    return true;
}

static struct endpoint *cached(struct invoker *inv, struct u128 id)
{
    for (struct hmap_node *n = hmap_first(&inv->endpoints, id_hash(id)); n; n = hmap_next_same(n)) {
        struct endpoint *ep = CONTAINER_OF(n, struct endpoint, by_id);
        if (u128_eq(ep->id, id))
            return ep;
    }
    return NULL;
}

void endpoint_cache_clear(struct invoker *inv)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&inv->endpoints, &it); n; n = hmap_step(&inv->endpoints, &it)) {
        hmap_remove(&inv->endpoints, n);
        endpoint_unref(CONTAINER_OF(n, struct endpoint, by_id));
    }
}

struct endpoint *endpoint_get(struct invoker *inv, const struct schema_deployment *d, struct err *err)
{
    uint32_t version = schema_version(inv->cell->schema);
    struct endpoint *ep = cached(inv, d->id);
    if (ep && ep->schema_version != version && !same_as(ep, d)) {
        hmap_remove(&inv->endpoints, &ep->by_id);
        endpoint_unref(ep);
        ep = NULL;
    }
    if (!ep) {
        const struct schema_deployment *const *all;
        if (inv->endpoints.count > schema_deployments(inv->cell->schema, &all) + 64)
            endpoint_cache_clear(inv); /* forget deployments that were deleted */
        ep = endpoint_new(d, err);
        if (!ep)
            return NULL;
        hmap_insert(&inv->endpoints, &ep->by_id, id_hash(d->id));
    }
    ep->schema_version = version;
    ep->refs++;
    return ep;
}

struct carrier endpoint_post(struct invoker *inv, const struct endpoint *ep, struct slice path,
                             const struct http_stream_ops *ops, void *ctx)
{
    struct carrier carrier = {0};
    if (!ep->is_lambda) {
        carrier.http = http_client_open(inv->client, &ep->uri, ep->protocol, SLICE_LIT("POST"), path,
                                        inv->head.items, inv->head.len, ops, ctx);
        return carrier;
    }
    struct lambda_request r = {
        .arn = ep->uri_text,
        .assume_role_arn = ep->assume_role_arn,
        .method = SLICE_LIT("POST"),
        .path = path,
        .headers = inv->head.items,
        .n_headers = inv->head.len,
        .zstd = ep->lambda_zstd,
        .compress_from_bytes = inv->config.lambda_compression_threshold,
    };
    carrier.lambda = lambda_open(inv->lambda, &r, ops, ctx);
    return carrier;
}

void headers_show(struct writer *w, const struct http_header *headers, size_t n)
{
    writer_reset(w);
    write_u8(w, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            write_fmt(w, ", ");
        write_json_string(w, headers[i].name);
        write_fmt(w, ": ");
        write_json_string(w, headers[i].value);
    }
    write_u8(w, '}');
}
