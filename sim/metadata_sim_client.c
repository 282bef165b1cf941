/* Simulated clients: reads, compare-and-swap, creation and deletion on a few keys, one operation at a time,
 * each recorded. See metadata_sim.h. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/metadata_sim.h"

static struct kv *kv_of(struct sim_client *c)
{
    if (c->home < 0)
        return raft_client_kv(c->client);
    struct sim_node *n = &c->world->nodes[c->home];
    return n->alive && !n->paused ? raft_client_kv(n->client) : NULL;
}

static void think(struct sim_client *c)
{
    struct world *w = c->world;
    env_timer_arm(sim_env_get(&w->env), &c->next, sim_below(w, w->healed ? 600 : 300));
}

static enum op_end end_of(struct world *w, const struct op_record *r, enum rc rc)
{
    bool write = r->op.kind != KV_GET;
    switch (rc) {
    case RC_OK:
        return END_OK;
    case RC_NOT_FOUND:
        return END_ABSENT;
    case RC_CONFLICT:
        return END_CONFLICT;
    case RC_TIMEOUT:
    case RC_CLOSED:
        if (w->mutation == SIM_MUT_TIMEOUT_IS_NO)
            return END_NOT_DONE;
        return write ? END_UNDECIDED : END_NOT_DONE;
    case RC_UNAVAILABLE:
    case RC_NO_SPACE:
    case RC_OVERLOADED:
        return END_NOT_DONE;
    default:
        return END_OPEN;
    }
}

static uint32_t value_number(struct slice value)
{
    uint32_t v;
    if (value.len < 4)
        return 0;
    memcpy(&v, value.ptr, 4);
    return v;
}

static void learn(struct sim_client *c, const struct op_record *r)
{
    uint32_t *known = &c->known[r->key];
    if (r->op.kind == KV_GET)
        *known = r->end == END_OK ? r->version : r->end == END_ABSENT ? 0 : *known;
    else if (r->end == END_OK)
        *known = r->op.kind == KV_PUT ? r->op.version : 0;
}

static void op_done(struct kv_op *op, const struct kv_result *result)
{
    struct op_record *r = CONTAINER_OF(op, struct op_record, op);
    struct world *w = r->world;
    struct sim_client *c = &w->clients[r->client];
    r->end = end_of(w, r, result->rc);
    if (r->end == END_OPEN)
        sim_fail(w, "client %u: %s: %s", r->client, rc_name(result->rc), result->message);
    r->ended = ++w->order;
    if (result->rc == RC_OK && op->kind == KV_GET) {
        r->version = result->entry.version;
        r->value = value_number(bytes_slice(result->entry.value));
    }
    learn(c, r);
    if (r->end == END_OK || r->end == END_ABSENT || r->end == END_CONFLICT) {
        w->n_done++;
        c->ok_ms = w->env.mono_ms;
    } else {
        w->n_undecided++;
    }
    sim_trace(w, "client %u op %u: %s (%s) version %u", r->client, (unsigned)(r - w->ops),
              rc_name(result->rc), result->message, r->version);
    c->busy = false;
    think(c);
}

/* A value that says which operation wrote it, padded so that parts and limits matter. */
static struct bytes value_of(struct world *w, uint32_t number)
{
    size_t len = 4 + sim_below(w, sim_chance(w, 100) ? 3000 : 60);
    struct buf *b = buf_new(len);
    memset(b->data, 'v', len);
    memcpy(b->data, &number, 4);
    return bytes_take_buf(b, 0, len);
}

static void fill(struct sim_client *c, struct op_record *r)
{
    struct world *w = c->world;
    struct kv_op *op = &r->op;
    uint32_t known = c->known[r->key];
    op->kind = sim_chance(w, 400) ? KV_GET : KV_PUT;
    if (op->kind == KV_PUT && r->key == KEYS - 1 && sim_chance(w, 200))
        op->kind = KV_DELETE;
    if (op->kind == KV_GET)
        return;
    if (known) {
        op->precondition = KV_MATCHES_VERSION;
        op->expected_version = known;
        op->version = known + 1;
    } else {
        op->precondition = KV_DOES_NOT_EXIST;
        op->version = 1;
    }
    if (op->kind == KV_DELETE && !known)
        op->precondition = KV_NONE;
    if (op->kind == KV_PUT) {
        r->value = (uint32_t)(r - w->ops) + 1;
        op->value = value_of(w, r->value);
    }
}

static void next_op(struct env_timer *t)
{
    struct sim_client *c = CONTAINER_OF(t, struct sim_client, next);
    struct world *w = c->world;
    struct kv *kv = kv_of(c);
    if (!kv || w->n_ops >= (w->healed ? OPS_MAX : OPS_MAX - OPS_KEPT) || c->busy) {
        think(c);
        return;
    }
    struct op_record *r = &w->ops[w->n_ops++];
    *r = (struct op_record){
        .world = w, .client = c->index, .key = (uint32_t)sim_below(w, KEYS), .end = END_OPEN};
    snprintf(r->key_text, sizeof(r->key_text), "key-%u", r->key);
    fill(c, r);
    r->op.key = slice_cstr(r->key_text);
    r->op.done = op_done;
    r->begun = ++w->order;
    r->begun_ms = w->env.mono_ms;
    c->busy = true;
    struct sim_node *n = c->home < 0 ? NULL : &w->nodes[c->home];
    struct sim_env *env = n ? &n->env : &c->env;
    sim_trace(w, "client %u op %u: kind %d %s expects %u", c->index, (unsigned)(r - w->ops), (int)r->op.kind,
              r->key_text, r->op.expected_version);
    if (w->mutation == SIM_MUT_LOCAL_READS && n && r->op.kind == KV_GET) {
        struct kv_entry e;
        bool there = kv_table_get(raft_server_local(n->server), r->op.key, &e);
        struct kv_result result = {.rc = there ? RC_OK : RC_NOT_FOUND, .message = "", .entry = e};
        op_done(&r->op, &result);
        return;
    }
    sim_enter(w, env);
    kv_submit(kv, &r->op);
    sim_leave(w, n, env);
}

void sim_client_init(struct world *w, uint32_t index, int home)
{
    struct sim_client *c = &w->clients[index];
    c->world = w;
    c->index = index;
    c->home = home;
    sim_env_init(&c->env, sim_env_random(&w->env));
    env_timer_init(&c->next, next_op);
    think(c);
    if (home >= 0)
        return;
    struct raft_client_options o;
    raft_client_options_default(&o);
    o.cluster_name = CLUSTER_NAME;
    o.fingerprint = FINGERPRINT;
    c->client = raft_client_new(sim_env_get(&c->env), &o, NULL, &sim_client_ops, c);
    /* Knows some of the nodes; hints lead to the others. */
    sim_client_learn(c, sim_chance(w, 700) ? w->n_start : 1 + (uint32_t)sim_below(w, w->n_start));
}

void sim_client_learn(struct sim_client *c, uint32_t n_addresses)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"};
    if (c->client)
        raft_client_set_addresses(c->client, names, n_addresses);
}

void sim_client_free(struct sim_client *c)
{
    if (c->client)
        kv_close(raft_client_kv(c->client));
    sim_env_free(&c->env);
}
