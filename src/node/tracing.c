/* Implementation of node/tracing.h. */
#include "node/tracing.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define RESOURCE_MAX 64 /* further attributes of OTEL_RESOURCE_ATTRIBUTES are ignored */

struct resource {
    struct span_attribute items[RESOURCE_MAX];
    size_t n;
};

static void add(struct resource *r, struct slice key, struct slice value)
{
    if (r->n < RESOURCE_MAX)
        r->items[r->n++] =
            (struct span_attribute){.key = slice_dup_cstr(key), .text = slice_cstr(slice_dup_cstr(value))};
}

static void add_from_environment(void *ctx, struct slice key, struct slice value)
{
    add(ctx, key, value);
}

static void fill_resource(struct resource *r, const struct node_config *config, const char *version)
{
    char instance[sizeof(config->cluster_name) + sizeof(config->node_name) + 2];
    snprintf(instance, sizeof(instance), "%s/%s", config->cluster_name, config->node_name);
    add(r, SLICE_LIT("service.name"), SLICE_LIT("Restate"));
    add(r, SLICE_LIT("service.namespace"), SLICE_LIT("Restate"));
    add(r, SLICE_LIT("service.instance.id"), slice_cstr(instance));
    add(r, SLICE_LIT("service.version"), slice_cstr(version));
    trace_resource_parse(slice_cstr(getenv("OTEL_RESOURCE_ATTRIBUTES")), add_from_environment, r);
}

/* Lower case, as HTTP/2 wants them. */
static struct http_header *copy_headers(const struct node_config *config)
{
    struct http_header *headers = xcalloc(config->tracing.n_headers + 1, sizeof(*headers));
    for (size_t i = 0; i < config->tracing.n_headers; i++) {
        char *name = xstrdup(config->tracing.headers[i].name);
        for (char *p = name; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        headers[i] = (struct http_header){slice_cstr(name), slice_cstr(config->tracing.headers[i].value)};
    }
    return headers;
}

struct trace_exporter *node_tracing_new(struct loop *loop, const struct node_config *config,
                                        const char *version)
{
    if (!config->tracing.endpoint)
        return NULL;
    struct trace_exporter_config x = {.n_headers = config->tracing.n_headers};
    struct resource resource = {.n = 0};
    struct http_header *headers = copy_headers(config);
    ASSERT(trace_endpoint_parse(config->tracing.endpoint, &x.endpoint, NULL) == RC_OK);
    fill_resource(&resource, config, version);
    x.headers = headers;
    x.resource = resource.items;
    x.n_resource = resource.n;
    struct trace_exporter *exporter = trace_exporter_new(loop, &x);
    for (size_t i = 0; i < resource.n; i++) {
        free((char *)resource.items[i].key);
        free((char *)resource.items[i].text.ptr);
    }
    for (size_t i = 0; i < config->tracing.n_headers; i++)
        free((char *)headers[i].name.ptr);
    free(headers);
    return exporter;
}
