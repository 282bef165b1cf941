/* Implementation of node/grpc_schema.h. */
#include "node/grpc_schema.h"

#include "wire/flexbuffers.h"
#include "wire/id.h"

static void put_text(struct flex_writer *f, const char *key, const char *text)
{
    flex_key(f, key);
    if (text)
        flex_put_text(f, slice_cstr(text));
    else
        flex_put_null(f);
}

static void put_deployment(struct flex_writer *f, const struct schema_deployment *d)
{
    char id[RESOURCE_ID_TEXT_MAX];
    resource_id_format(RESOURCE_DEPLOYMENT, d->id, id);
    flex_open_map(f);
    put_text(f, "id", id);
    put_text(f, d->kind == DEPLOYMENT_HTTP ? "uri" : "arn", d->kind == DEPLOYMENT_HTTP ? d->uri : d->arn);
    put_text(f, "sdk_version", d->sdk_version);
    flex_key(f, "created_at");
    flex_put_u64(f, d->created_at_ms);
    flex_key(f, "services");
    flex_open_sequence(f);
    for (size_t i = 0; i < d->n_services; i++) {
        flex_open_map(f);
        put_text(f, "name", d->services[i]->name);
        flex_key(f, "revision");
        flex_put_u64(f, d->services[i]->revision);
        flex_close_map(f);
    }
    flex_close_sequence(f);
    flex_close_map(f);
}

void grpc_schema_document(const struct schema *s, struct writer *stored)
{
    struct flex_writer f = FLEX_WRITER_INIT;
    const struct schema_deployment *const *deployments;
    size_t n = s ? schema_deployments(s, &deployments) : 0;
    flex_open_map(&f);
    flex_key(&f, "version");
    flex_put_u64(&f, s ? schema_version(s) : 0);
    flex_key(&f, "deployments_v2");
    flex_open_sequence(&f);
    for (size_t i = 0; i < n; i++)
        put_deployment(&f, deployments[i]);
    flex_close_sequence(&f);
    flex_close_map(&f);
    flex_finish_stored(&f, stored);
}
