/* Metadata in an object store: threads and the store of node/object_kv.h. */
#include <stdlib.h>

#include "loop/workers.h"
#include "node/metadata_store_internal.h"
#include "node/object_kv.h"
#include "node/objects.h"

#define THREADS_MAX      8u
#define STALL_TIMEOUT_MS 5000u /* small objects: who says nothing for so long is gone */

struct object_metadata {
    struct metadata_store base;
    struct object_url url;
    struct object_access access;
    struct workers *workers;
    struct object_store *objects;
    struct object_kv *core;
    bool closed;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

static void objects_closed(void *ctx)
{
    struct object_metadata *s = ctx;
    s->closed = true;
    s->stopped(s->stopped_ctx);
}

static void objects_stop(struct metadata_store *base, void (*done)(void *ctx), void *ctx)
{
    struct object_metadata *s = CONTAINER_OF(base, struct object_metadata, base);
    s->stopped = done;
    s->stopped_ctx = ctx;
    object_kv_stop(s->core);
    object_store_close(s->objects, objects_closed, s);
}

static void objects_abandon(struct metadata_store *base)
{
    object_kv_stop(CONTAINER_OF(base, struct object_metadata, base)->core);
}

static void objects_free(struct metadata_store *base)
{
    struct object_metadata *s = CONTAINER_OF(base, struct object_metadata, base);
    if (!s->closed)
        return; /* abandoned: the threads may still use it */
    workers_free(s->workers);
    free(s);
}

enum rc metadata_objects_open(struct loop *loop, const struct metadata_client_config *config,
                              struct metadata_store **out, struct err *err)
{
    static const struct metadata_store_ops ops = {objects_stop, objects_abandon, objects_free};
    struct object_metadata *s = xcalloc(1, sizeof(*s));
    enum rc rc = object_url_parse(slice_cstr(config->path), &s->url, err);
    if (rc == RC_OK) {
        s->access = config->access;
        s->access.connect_timeout_ms = (uint32_t)config->connect_timeout_ms;
        s->access.stall_timeout_ms = STALL_TIMEOUT_MS;
        s->workers = workers_new("metadata", THREADS_MAX);
        rc = node_objects_open(&s->url, &s->access, loop_env(loop), workers_runner_new(s->workers, loop),
                               &s->objects, err);
        if (rc != RC_OK)
            workers_free(s->workers);
    }
    if (rc != RC_OK) {
        free(s);
        return rc;
    }
    s->base.ops = &ops;
    s->core = object_kv_new(loop_env(loop), s->objects, s->url.prefix);
    s->base.kv = object_kv_provider(s->core);
    *out = &s->base;
    return RC_OK;
}
