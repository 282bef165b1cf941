/* Compare-and-swap of epoch metadata by the controller. Undecided writes are read back (TR-6): the decision
 * is made anew on whatever is found. */
#include <stdlib.h>

#include "base/log.h"
#include "controller/controller_internal.h"

#define PAUSE_FIRST_MS 50u
#define PAUSE_MAX_MS   1000u

struct write {
    struct controller *controller;
    uint32_t partition;
    struct bytes value; /* a second reference to what is written */
    char key[EPOCH_KEY_SIZE];
    struct kv_op op;
};

bool controller_may_write(const struct controller *c)
{
    return c->writing < c->config.parallel && env_mono_ms(c->env) >= c->paused_until_ms;
}

static void pause(struct controller *c)
{
    c->pause_ms = c->pause_ms ? MIN(2 * c->pause_ms, PAUSE_MAX_MS) : PAUSE_FIRST_MS;
    c->paused_until_ms = env_mono_ms(c->env) + c->pause_ms;
}

static void conclude(struct controller *c, struct write *w, const struct kv_result *r)
{
    struct kv_entry e = {slice_cstr(w->key), w->value, w->op.version};
    switch (r->rc) {
    case RC_OK:
        c->pause_ms = 0;
        c->stats.writes++;
        metric_inc(c->metrics.writes);
        epochs_seen(c->epochs, &e);
        return;
    case RC_CONFLICT:
        c->stats.conflicts++;
        metric_inc(c->metrics.conflicts);
        epochs_refresh(c->epochs, w->partition, NULL);
        return;
    case RC_TIMEOUT:
    case RC_CLOSED:
        c->stats.undecided++;
        epochs_refresh(c->epochs, w->partition, NULL);
        return;
    case RC_INVALID:
    case RC_TOO_LARGE:
        LOG0(LOG_ERROR, CONTROLLER_LOG, "The metadata store refuses the epoch metadata of partition %u: %s",
             w->partition, r->message);
        pause(c);
        return;
    default: /* not done */
        pause(c);
    }
}

static void write_done(struct kv_op *op, const struct kv_result *r)
{
    struct write *w = CONTAINER_OF(op, struct write, op);
    struct controller *c = w->controller;
    c->writing--;
    c->slots[w->partition].writing = false;
    if (!c->closed) {
        conclude(c, w, r);
        controller_poke(c);
    }
    bytes_unref(&w->value);
    free(w);
    controller_free_if_idle(c);
}

void controller_write(struct controller *c, uint32_t partition, uint32_t expected,
                      const struct epoch_metadata *m)
{
    struct write *w = xcalloc(1, sizeof(*w));
    struct writer out = WRITER_INIT;
    const struct partition_configuration *set = m->has_next ? &m->next : &m->current;
    struct controller_slot *s = &c->slots[partition];
    epoch_metadata_encode(&out, partition, m);
    w->controller = c;
    w->partition = partition;
    w->value = writer_take(&out);
    epoch_key(partition, w->key);
    w->op = (struct kv_op){.kind = KV_PUT,
                           .key = slice_cstr(w->key),
                           .value = bytes_ref(w->value),
                           .version = m->version,
                           .precondition = CONTROLLER_MUTATED(CONTROLLER_MUT_BLIND_WRITE) ? KV_NONE
                                           : expected                                     ? KV_MATCHES_VERSION
                                                                                          : KV_DOES_NOT_EXIST,
                           .expected_version = expected,
                           .done = write_done};
    s->writing = true;
    s->written.len = 0;
    for (size_t i = 0; i < set->n_replicas && i < PLACEMENT_MAX; i++)
        s->written.ids[s->written.len++] = set->replicas[i];
    c->writing++;
    kv_submit(c->kv, &w->op);
}
