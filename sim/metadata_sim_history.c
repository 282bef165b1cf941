/* M-1: the history of each key is linearizable. A search over the orders in which the operations may have
 * taken effect (Wing and Gong), remembering (set of operations, state) pairs that led nowhere. A write
 * without an answer may have happened at any later time, or never. */
#include <stdlib.h>

#include "base/hash.h"
#include "sim/metadata_sim.h"

#define WORDS     (OPS_MAX / 64u)
#define NEVER     UINT64_MAX
#define STEPS_MAX 3000000u

struct search {
    struct world *world;
    const struct op_record *ops[OPS_MAX]; /* of one key, by beginning */
    uint32_t n, n_required;
    uint64_t done[WORDS];
    struct {
        uint64_t *items; /* hashes of dead ends, open addressing */
        size_t cap, len;
    } seen;
    uint32_t steps;
};

struct state {
    uint32_t writer; /* operation + 1 that wrote the value; 0: absent */
    uint32_t version;
};

static bool required(const struct op_record *r)
{
    return r->end == END_OK || r->end == END_ABSENT || r->end == END_CONFLICT;
}

static bool holds(const struct op_record *r, const struct state *s)
{
    if (r->op.precondition == KV_DOES_NOT_EXIST && s->writer)
        return false;
    if (r->op.precondition == KV_MATCHES_VERSION && (!s->writer || s->version != r->op.expected_version))
        return false;
    return r->op.kind != KV_PUT || !s->writer || r->op.version >= s->version;
}

/* Can `r` take effect in state `s`, with the answer it got? */
static bool step(const struct op_record *r, struct state *s)
{
    if (r->op.kind == KV_GET) {
        if (r->end == END_ABSENT)
            return s->writer == 0;
        return s->writer == r->value && s->version == r->version;
    }
    bool ok = holds(r, s);
    if (r->end == END_CONFLICT)
        return !ok;
    if (!ok)
        return false; /* an undecided write that changes nothing is as good as none */
    *s = r->op.kind == KV_PUT ? (struct state){r->value, r->op.version} : (struct state){0};
    return true;
}

static bool get_bit(const struct search *q, uint32_t i)
{
    return q->done[i / 64] >> (i % 64) & 1;
}

static void grow(struct search *q)
{
    size_t cap = q->seen.cap ? q->seen.cap * 2 : 1024;
    uint64_t *items = xcalloc(cap, sizeof(*items));
    for (size_t i = 0; i < q->seen.cap; i++) {
        uint64_t h = q->seen.items[i];
        if (!h)
            continue;
        size_t at = h & (cap - 1);
        while (items[at])
            at = (at + 1) & (cap - 1);
        items[at] = h;
    }
    free(q->seen.items);
    q->seen.items = items;
    q->seen.cap = cap;
}

/* True if it is new. */
static bool remember(struct search *q, const struct state *s)
{
    uint64_t h = hash64(slice_make(q->done, sizeof(q->done)));
    h = hash64_combine(h, (uint64_t)s->writer << 32 | s->version);
    h += h == 0;
    if (q->seen.len * 2 >= q->seen.cap)
        grow(q);
    size_t at = h & (q->seen.cap - 1);
    while (q->seen.items[at]) {
        if (q->seen.items[at] == h)
            return false;
        at = (at + 1) & (q->seen.cap - 1);
    }
    q->seen.items[at] = h;
    q->seen.len++;
    return true;
}

static bool search(struct search *q, struct state s, uint32_t left, uint32_t from)
{
    if (left == 0)
        return true;
    if (++q->steps > STEPS_MAX)
        return true; /* too hard to tell: not counted as a failure */
    if (!remember(q, &s))
        return false;
    while (from < q->n && get_bit(q, from))
        from++;
    /* Nothing may take effect after the end of something that has not. */
    uint64_t limit = NEVER;
    for (uint32_t i = from; i < q->n && q->ops[i]->begun < limit; i++)
        if (!get_bit(q, i) && required(q->ops[i]))
            limit = MIN(limit, q->ops[i]->ended);
    for (uint32_t i = from; i < q->n && q->ops[i]->begun < limit; i++) {
        struct state next = s;
        if (get_bit(q, i) || !step(q->ops[i], &next))
            continue;
        q->done[i / 64] |= UINT64_C(1) << (i % 64);
        if (search(q, next, left - (required(q->ops[i]) ? 1 : 0), from))
            return true;
        q->done[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
    return false;
}

static void check_key(struct world *w, uint32_t key)
{
    struct search *q = xcalloc(1, sizeof(*q));
    q->world = w;
    for (uint32_t i = 0; i < w->n_ops; i++) {
        const struct op_record *r = &w->ops[i];
        bool write = r->op.kind != KV_GET;
        bool maybe = write && (r->end == END_UNDECIDED || r->end == END_OPEN);
        if (r->key != key || (!required(r) && !maybe))
            continue;
        q->ops[q->n++] = r;
        q->n_required += required(r);
    }
    bool ok = search(q, (struct state){0}, q->n_required, 0);
    bool hard = q->steps > STEPS_MAX;
    free(q->seen.items);
    free(q);
    if (hard)
        sim_trace(w, "the history of key-%u is too hard to check", key);
    if (!ok)
        sim_fail(w, "M-1: the history of key-%u is not linearizable", key);
}

void sim_check_history(struct world *w)
{
    for (uint32_t key = 0; key < KEYS; key++)
        check_key(w, key);
}
