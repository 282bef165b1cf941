/* Implementation of node/metadata_store.h. */
#include "node/metadata_store_internal.h"

enum rc metadata_store_open(struct loop *loop, const struct metadata_client_config *config,
                            struct metadata_store **out, struct err *err)
{
    enum rc rc = config->type == METADATA_ETCD ? metadata_etcd_open(loop, config, out, err)
                                               : metadata_objects_open(loop, config, out, err);
    if (rc != RC_OK)
        err_prefix(err, "metadata-client: ");
    return rc;
}

struct kv *metadata_store_kv(struct metadata_store *s)
{
    return s->kv;
}

void metadata_store_stop(struct metadata_store *s, void (*done)(void *ctx), void *ctx)
{
    s->stopped = true;
    s->ops->stop(s, done, ctx);
}

void metadata_store_abandon(struct metadata_store *s)
{
    if (!s->stopped)
        s->ops->abandon(s);
}

void metadata_store_free(struct metadata_store *s)
{
    s->ops->free(s);
}
