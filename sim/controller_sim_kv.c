/* The metadata store of the simulator: linearizable, but its answers get lost, and a write whose answer was
 * lost may still happen seconds later. See controller_sim.h. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/controller_sim.h"

struct call {
    struct world *world;
    struct node *node;
    struct kv_op *op; /* NULL: answered */
    struct list link;
    unsigned refs; /* of its two events */
    enum kv_op_kind kind;
    char key[EPOCH_KEY_SIZE];
    struct bytes value;
    enum kv_precondition precondition;
    uint32_t version, expected;
    enum rc rc;
};

static void unref(struct call *c)
{
    if (--c->refs)
        return;
    bytes_unref(&c->value);
    free(c);
}

static void reply(struct call *c, enum rc rc)
{
    struct kv_op *op = c->op;
    struct kv_result r = {.rc = rc, .message = rc == RC_OK ? "" : rc_name(rc)};
    struct kv_entry *list = NULL;
    size_t cap = 0;
    if (!op)
        return;
    c->op = NULL;
    list_remove(&c->link);
    if (rc == RC_OK && c->kind == KV_GET && !kv_table_get(&c->world->table, slice_cstr(c->key), &r.entry))
        r.rc = RC_NOT_FOUND;
    if (rc == RC_OK && c->kind == KV_LIST) {
        struct kv_cursor at = kv_table_seek(&c->world->table, slice_cstr(c->key));
        struct kv_entry e;
        while (kv_cursor_next(&at, &e) && slice_starts_with(e.key, slice_cstr(c->key))) {
            list = vec_grow(list, &cap, r.n_entries + 1, sizeof(*list));
            list[r.n_entries++] = e;
        }
        r.entries = list;
    }
    if (rc == RC_CONFLICT)
        c->world->conflicts++;
    op->done(op, &r);
    free(list);
}

static enum sim_writer writer_of(const struct epoch_metadata *before, const struct epoch_metadata *after)
{
    return before->version && before->epoch != after->epoch ? BY_CLAIM : BY_CONTROLLER;
}

static void put(struct world *w, uint32_t partition, int by, struct bytes value, uint32_t version)
{
    char key[EPOCH_KEY_SIZE];
    struct arena a = {0};
    struct epoch_metadata before = {0}, after;
    struct err err = {0};
    epoch_key(partition, key);
    sim_kv_get(w, partition, &a, &before);
    if (epoch_metadata_decode(&a, bytes_slice(value), partition, &after, &err) != RC_OK)
        sim_fail(w, "partition %u: unreadable value written: %s", partition, err.msg);
    if (after.version != version)
        sim_fail(w, "partition %u: version %u inside of version %u", partition, after.version, version);
    sim_check_write(w, partition, by < 0 ? writer_of(&before, &after) : (enum sim_writer)by, &before, &after);
    kv_table_put(&w->table, slice_cstr(key), bytes_ref(value), version);
    arena_free(&a);
}

static void apply(struct world *w, void *arg)
{
    struct call *c = arg;
    const char *message;
    uint32_t partition;
    if (c->kind == KV_PUT && epoch_key_parse(slice_cstr(c->key), &partition)) {
        struct kv_write write = {true,        c->precondition,    c->version,
                                 c->expected, slice_cstr(c->key), bytes_slice(c->value)};
        c->rc = kv_table_judge(&w->table, &write, &message);
        if (c->rc == RC_OK)
            put(w, partition, -1, c->value, c->version);
    }
    unref(c);
}

static void answer(struct world *w, void *arg)
{
    struct call *c = arg;
    reply(c, c->rc);
    unref(c);
}

/* It may have happened or not, or may happen yet. */
static void lose_answer(struct world *w, void *arg)
{
    struct call *c = arg;
    w->undecided += c->op != NULL;
    reply(c, c->kind == KV_PUT ? RC_TIMEOUT : RC_UNAVAILABLE);
    unref(c);
}

static void refuse(struct world *w, void *arg)
{
    reply(arg, RC_UNAVAILABLE);
    unref(arg);
}

static void never(struct world *w, void *arg)
{
    unref(arg);
}

/* How long until it happens and until somebody hears of it. */
static void dispatch(struct call *c)
{
    struct world *w = c->world;
    uint64_t to = 1 + below(w, 4), back = 1 + below(w, 4);
    c->refs = 2;
    if (w->chaos && chance(w, w->refused_permille)) {
        sim_later(w, to + back, refuse, c);
        sim_later(w, to, never, c);
    } else if (c->node->isolated) {
        sim_later(w, 300 + below(w, 700), lose_answer, c);
        sim_later(w, to, never, c);
    } else if (w->chaos && chance(w, w->undecided_permille)) {
        /* The answer is lost; the request may be late, too. */
        sim_later(w, 200 + below(w, 800), lose_answer, c);
        sim_later(w, to + below(w, 3000), chance(w, 300) ? never : apply, c);
    } else {
        sim_later(w, to, apply, c);
        sim_later(w, to + back, answer, c); /* after it: same time or later, armed later */
    }
}

static void submit(struct kv *kv, struct kv_op *op)
{
    struct node *n = CONTAINER_OF(kv, struct node, kv);
    struct call *c = xcalloc(1, sizeof(*c));
    c->world = n->world;
    c->node = n;
    c->op = op;
    c->kind = op->kind;
    ASSERT(op->key.len < sizeof(c->key));
    memcpy(c->key, op->key.ptr, op->key.len);
    c->value = op->value;
    op->value = BYTES_EMPTY;
    c->precondition = op->precondition;
    c->version = op->version;
    c->expected = op->expected_version;
    list_push_back(&n->calls, &c->link);
    dispatch(c);
}

struct kv *sim_kv_open(struct node *n)
{
    static const struct kv_provider provider = {submit, NULL};
    n->kv.provider = &provider;
    list_init(&n->calls);
    return &n->kv;
}

void sim_kv_close(struct node *n)
{
    while (!list_empty(&n->calls))
        reply(CONTAINER_OF(n->calls.next, struct call, link), RC_CLOSED);
}

bool sim_kv_get(struct world *w, uint32_t partition, struct arena *a, struct epoch_metadata *out)
{
    char key[EPOCH_KEY_SIZE];
    struct kv_entry e;
    epoch_key(partition, key);
    if (!kv_table_get(&w->table, slice_cstr(key), &e))
        return false;
    ASSERT(epoch_metadata_decode(a, bytes_slice(e.value), partition, out, NULL) == RC_OK);
    return true;
}

bool sim_kv_put(struct world *w, uint32_t partition, const struct epoch_metadata *m)
{
    struct writer out = WRITER_INIT;
    epoch_metadata_encode(&out, partition, m);
    struct bytes value = writer_take(&out);
    put(w, partition, BY_OPERATOR, value, m->version);
    bytes_unref(&value);
    return true;
}
