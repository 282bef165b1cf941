/* Completing placements: see epoch_sync.h. */
#include "node/epoch_sync.h"

#include <stdlib.h>

#include "metadata/kv_edit.h"
#include "node/node_internal.h"

struct epoch_sync {
    struct kv_edit edit;
    struct node *node;
    uint32_t partition;
    char key[EPOCH_KEY_SIZE];
    void (*done)(void *ctx, const struct err *err);
    void *ctx;
};

static bool served_here(const struct partition_configuration *c, uint32_t node_id)
{
    return c->n_replicas == 1 && c->replicas[0] == node_id;
}

static enum rc change(struct kv_edit *e, const struct kv_entry *current, struct writer *w, uint32_t *version,
                      struct err *err)
{
    struct epoch_sync *s = CONTAINER_OF(e, struct epoch_sync, edit);
    struct arena arena = {0};
    struct epoch_metadata m;
    if (!current)
        return RC_EOF;
    enum rc rc = epoch_metadata_decode(&arena, bytes_slice(current->value), s->partition, &m, err);
    if (rc == RC_OK && !(m.has_next && served_here(&m.next, s->node->joined.node_id)))
        rc = RC_EOF;
    if (rc == RC_OK) {
        epoch_metadata_complete_next(&m);
        *version = m.version;
        epoch_metadata_encode(w, s->partition, &m);
    }
    arena_free(&arena);
    return rc;
}

static void finished(struct kv_edit *e, const struct err *err)
{
    struct epoch_sync *s = CONTAINER_OF(e, struct epoch_sync, edit);
    if (err)
        LOG0(LOG_WARN, "restate_node", "Cannot complete the placement of partition %u: %s", s->partition,
             err->msg);
    if (s->done)
        s->done(s->ctx, err);
    free(s);
}

void epoch_sync_start(struct node *n, uint32_t partition, void (*done)(void *ctx, const struct err *err),
                      void *ctx)
{
    struct epoch_sync *s = xcalloc(1, sizeof(*s));
    s->node = n;
    s->partition = partition;
    s->done = done;
    s->ctx = ctx;
    epoch_key(partition, s->key);
    s->edit = (struct kv_edit){.kv = n->kv, .key = s->key, .change = change, .done = finished};
    kv_edit_start(&s->edit);
}
