/* Claims of leadership: see claims.h. */
#include "controller/claims.h"

#include "controller/controller_internal.h"

#define READ_AGAIN_MS 50u

static void read_done(struct kv_op *op, const struct kv_result *r);
static void put_done(struct kv_op *op, const struct kv_result *r);

static void finish(struct claim *c, enum rc rc, uint64_t epoch, const char *message)
{
    env_timer_cancel(c->env, &c->again);
    bytes_unref(&c->value);
    c->done(c, rc, epoch, message);
}

static void read_fresh(struct claim *c)
{
    c->op = (struct kv_op){.kind = KV_GET, .key = slice_cstr(c->key), .done = read_done};
    kv_submit(c->kv, &c->op);
}

static void read_again(struct env_timer *t)
{
    read_fresh(CONTAINER_OF(t, struct claim, again));
}

/* `m` is the value of version `version`; the claimed one is made from it and dropped again. */
static void put(struct claim *c, struct epoch_metadata m)
{
    struct writer w = WRITER_INIT;
    uint32_t expected = m.version;
    epoch_metadata_claim(&m, c->me.id, c->me.generation);
    epoch_metadata_encode(&w, c->partition, &m);
    bytes_unref(&c->value);
    c->value = writer_take(&w);
    c->version = m.version;
    c->tried = m.epoch;
    c->tries++;
    c->op = (struct kv_op){.kind = KV_PUT,
                           .key = slice_cstr(c->key),
                           .value = bytes_ref(c->value),
                           .version = m.version,
                           .precondition = KV_MATCHES_VERSION,
                           .expected_version = expected,
                           .done = put_done};
    kv_submit(c->kv, &c->op);
}

static bool is_ours(const struct claim *c, const struct epoch_metadata *m)
{
    if (CONTROLLER_MUTATED(CLAIM_MUT_NODE_IS_ENOUGH))
        return c->tried && m->node_id == c->me.id;
    return c->tried && m->epoch == c->tried && m->node_id == c->me.id &&
           m->node_generation == c->me.generation;
}

static void act_on(struct claim *c, const struct epoch_metadata *m)
{
    if (is_ours(c, m)) {
        finish(c, RC_OK, c->tried, "");
        return;
    }
    if (c->fresh && c->read_epoch && m->epoch != c->read_epoch) {
        finish(c, RC_CONFLICT, 0, "another node claimed the leadership of the partition");
        return;
    }
    if (!configuration_has(&m->current, c->me.id) && !CONTROLLER_MUTATED(CLAIM_MUT_ANYBODY)) {
        finish(c, m->current.version ? RC_NOT_LEADER : RC_NOT_FOUND, 0,
               m->current.version ? "this node is not in the current replica set of the partition"
                                  : "the partition has no configuration yet");
        return;
    }
    if (c->tries >= CLAIM_TRIES) {
        finish(c, RC_CONFLICT, 0, "the epoch metadata of the partition changes all the time");
        return;
    }
    c->read_epoch = c->fresh ? m->epoch : 0;
    put(c, *m);
}

static void read_failed(struct claim *c, const struct kv_result *r)
{
    if (r->rc == RC_NOT_FOUND) {
        finish(c, RC_NOT_FOUND, 0, "the partition has no configuration yet");
    } else if (r->rc == RC_CLOSED || env_mono_ms(c->env) >= c->deadline_ms) {
        finish(c, c->tried ? RC_TIMEOUT : r->rc, 0, r->message);
    } else {
        env_timer_arm(c->env, &c->again, READ_AGAIN_MS);
    }
}

static void read_done(struct kv_op *op, const struct kv_result *r)
{
    struct claim *c = CONTAINER_OF(op, struct claim, op);
    struct arena arena = {0};
    struct epoch_metadata m;
    struct err err = {0};
    if (r->rc != RC_OK) {
        read_failed(c, r);
        return;
    }
    epochs_seen(c->epochs, &r->entry);
    enum rc rc = epoch_metadata_decode(&arena, bytes_slice(r->entry.value), c->partition, &m, &err);
    if (rc == RC_OK && m.version != r->entry.version)
        rc = err_set(&err, RC_CORRUPT, "the epoch metadata contains another version");
    if (rc != RC_OK) {
        arena_free(&arena);
        finish(c, rc, 0, err.msg);
        return;
    }
    c->fresh = true;
    act_on(c, &m);
    arena_free(&arena);
}

static void put_done(struct kv_op *op, const struct kv_result *r)
{
    struct claim *c = CONTAINER_OF(op, struct claim, op);
    if (r->rc == RC_TIMEOUT && CONTROLLER_MUTATED(CLAIM_MUT_TIMEOUT_IS_YES)) {
        finish(c, RC_OK, c->tried, "");
    } else if (r->rc == RC_OK) {
        struct kv_entry e = {slice_cstr(c->key), c->value, c->version};
        epochs_seen(c->epochs, &e);
        finish(c, RC_OK, c->tried, "");
    } else if (r->rc == RC_CLOSED) {
        finish(c, RC_CLOSED, 0, r->message);
    } else if (r->rc == RC_CONFLICT || r->rc == RC_TIMEOUT) {
        c->deadline_ms = env_mono_ms(c->env) + CLAIM_READ_MS;
        read_fresh(c);
    } else {
        finish(c, r->rc, 0, r->message);
    }
}

static void begin(struct env_task *t)
{
    struct claim *c = CONTAINER_OF(t, struct claim, begin);
    const struct epoch_metadata *known =
        epochs_state(c->epochs, c->partition) == EPOCHS_PRESENT ? epochs_get(c->epochs, c->partition) : NULL;
    if (known && configuration_has(&known->current, c->me.id))
        act_on(c, known);
    else
        read_fresh(c);
}

void claim_start(struct claim *c, struct env *env, struct kv *kv, struct epochs *epochs, struct node_ref me,
                 uint32_t partition)
{
    *c = (struct claim){.done = c->done,
                        .env = env,
                        .kv = kv,
                        .epochs = epochs,
                        .me = me,
                        .partition = partition,
                        .deadline_ms = env_mono_ms(env) + CLAIM_READ_MS};
    epoch_key(partition, c->key);
    env_timer_init(&c->again, read_again);
    env_task_init(&c->begin, begin);
    env_defer(env, &c->begin);
}
