/* The oracle of the small models of the log, see model_log.h: L-1 to L-8, L-10 and L-11 of spec/cluster.md
 * §11.2. */
#include "sim/model_log_internal.h"

struct loglet_params ml_params(struct ml_world *w, uint64_t loglet, struct node_ref sequencer,
                               unsigned copies)
{
    struct loglet_params p = {
        .loglet_id = loglet, .sequencer = sequencer, .replication = replication_nodes((uint8_t)copies)};
    for (unsigned i = 0; i < w->n_servers; i++)
        nodeset_add(&p.nodeset, i + 1);
    return p;
}

struct ml_loglet *ml_find(struct ml_world *w, uint64_t id)
{
    for (unsigned i = 0; i < w->n_loglets; i++) {
        if (w->loglets[i].id == id)
            return &w->loglets[i];
    }
    return NULL;
}

struct ml_loglet *ml_add_loglet(struct ml_world *w, const struct loglet_params *p)
{
    struct replication r = replication_nodes((uint8_t)w->copies);
    ASSERT(w->n_loglets < ML_LOGLETS_MAX);
    struct ml_loglet *l = &w->loglets[w->n_loglets++];
    *l = (struct ml_loglet){.id = p->loglet_id, .params = *p, .quorum_tail = 1, .least_tail = UINT64_MAX};
    quorum_init(&l->quorum, &r, &p->nodeset, &w->directory);
    return l;
}

static struct marks holders(struct ml_world *w, const struct ml_loglet *l, uint64_t offset)
{
    struct marks m = {{0}};
    for (unsigned i = 0; i < l->params.nodeset.len; i++) {
        struct ml_server *s = w->servers[l->params.nodeset.ids[i] - 1];
        if (ml_disk_holds(ml_disk_find(s, l->id), offset))
            marks_add(&m, i);
    }
    return m;
}

static void advance(struct ml_world *w, struct ml_loglet *l)
{
    while (l->quorum_tail <= ML_OFFSETS_MAX && quorum_is_write(&l->quorum, holders(w, l, l->quorum_tail)))
        l->quorum_tail++;
}

/* An f-majority is sealed: what it holds now is all that may still be acknowledged. */
static void bound_by_seal(struct ml_world *w, struct ml_loglet *l)
{
    l->sealed_bound = 1;
    for (unsigned i = 0; i < w->n_servers; i++) {
        const struct ml_disk_loglet *d = ml_disk_find(w->servers[i], l->id);
        if (d)
            l->sealed_bound = MAX(l->sealed_bound, d->tail);
    }
}

void ml_check_written(struct ml_server *s, const struct store_entry *e)
{
    struct ml_world *w = s->world;
    struct ml_loglet *l = ml_find(w, e->loglet);
    const struct ml_disk_loglet *d = ml_disk_find(s, e->loglet);
    int position = l ? nodeset_position(&l->params.nodeset, s->index + 1) : -1;
    if (position < 0) {
        explore_violated(w->x, "N%u stores something of loglet %llx, of which it is no member", s->index + 1,
                         (unsigned long long)e->loglet);
        return;
    }
    if (e->kind == STORE_RECORD) {
        if (hash64(e->body) != l->assigned[e->offset - 1])
            explore_violated(w->x, "L-3: N%u stores other bytes at offset %llu than the sequencer assigned",
                             s->index + 1, (unsigned long long)e->offset);
        advance(w, l);
        for (uint64_t o = l->quorum_tail; o < d->tail; o++) {
            if (!ml_disk_holds(d, o))
                explore_violated(w->x, "L-4: N%u has a hole at offset %llu", s->index + 1,
                                 (unsigned long long)o);
        }
    }
    if (e->kind == STORE_SEAL)
        marks_add(&l->sealed, (unsigned)position);
    if (!l->sealed_bound && quorum_is_f_majority(&l->quorum, l->sealed))
        bound_by_seal(w, l);
}

static void check_store(struct ml_world *w, const struct ml_client *from, struct ml_loglet *l,
                        const struct loglet_message *m)
{
    bool repair = !node_ref_eq(from->me, l->params.sequencer);
    if (!node_ref_eq(m->sequencer, l->params.sequencer) || (repair && !(m->flags & LOGLET_IGNORE_SEAL)))
        explore_violated(w->x, "L-10: %s assigns offsets in loglet %llx", from->name,
                         (unsigned long long)l->id);
    for (uint32_t i = 0; i < m->n_records; i++) {
        uint64_t *at = &l->assigned[m->first_offset + i - 1], h = hash64(bytes_slice(m->records[i]));
        if (!*at && repair)
            explore_violated(w->x, "L-10: a repair by %s writes offset %llu, which was never assigned",
                             from->name, (unsigned long long)(m->first_offset + i));
        if (*at && *at != h)
            explore_violated(w->x, "L-3: offset %llu is sent with other bytes than before",
                             (unsigned long long)(m->first_offset + i));
        *at = h;
    }
}

void ml_check_message(struct ml_world *w, const struct ml_client *from, const struct loglet_message *m)
{
    struct ml_loglet *l = ml_find(w, m->loglet_id);
    ASSERT(l);
    if (from && m->kind == LOGLET_STORE)
        check_store(w, from, l, m);
    if (w->mutation == ML_REPAIR_RAISES_TRUST) /* look away: a reader must be caught */
        return;
    if (m->committed_tail > l->quorum_tail || m->repaired_tail > l->quorum_tail)
        explore_violated(
            w->x,
            "L-5: committed below %llu, repaired below %llu is said, but only what is below %llu "
            "is on a write quorum",
            (unsigned long long)m->committed_tail, (unsigned long long)m->repaired_tail,
            (unsigned long long)l->quorum_tail);
    if (m->committed_tail > l->least_tail)
        explore_violated(w->x, "L-5: committed below %llu is said; a sealer found the end %llu",
                         (unsigned long long)m->committed_tail, (unsigned long long)l->least_tail);
}

void ml_check_acked(struct ml_client *c, struct ml_loglet *l, uint64_t tail)
{
    struct ml_world *w = c->world;
    for (uint64_t o = l->acked + 1; o < tail; o++) {
        if (!quorum_is_write(&l->quorum, holders(w, l, o)))
            explore_violated(w->x, "L-2: offset %llu is acknowledged on %u copies", (unsigned long long)o,
                             marks_count(holders(w, l, o)));
        if (l->sealed_bound && o >= l->sealed_bound)
            explore_violated(w->x, "L-6: offset %llu is acknowledged; an f-majority was sealed below %llu",
                             (unsigned long long)o, (unsigned long long)l->sealed_bound);
        lsn_t lsn = c->base + o - 1;
        ASSERT(lsn < ARRAY_LEN(w->by_lsn));
        if (w->by_lsn[lsn].acked)
            explore_violated(w->x, "L-1: LSN %llu is acknowledged twice", (unsigned long long)lsn);
        w->by_lsn[lsn].acked = true;
        w->by_lsn[lsn].hash = l->assigned[o - 1];
    }
    l->acked = MAX(l->acked, tail - 1);
    if (l->acked >= l->least_tail)
        explore_violated(w->x, "L-7: offset %llu is acknowledged; a sealer found the end %llu",
                         (unsigned long long)l->acked, (unsigned long long)l->least_tail);
}

void ml_check_sealed(struct ml_client *c, uint64_t loglet, uint64_t tail)
{
    struct ml_world *w = c->world;
    struct ml_loglet *l = ml_find(w, loglet);
    explore_note(w->x, "%s finds the end %llu", c->name, (unsigned long long)tail);
    advance(w, l);
    if (tail <= l->acked)
        explore_violated(w->x, "L-7: %s finds the end %llu; offset %llu was acknowledged", c->name,
                         (unsigned long long)tail, (unsigned long long)l->acked);
    if (tail > l->quorum_tail)
        explore_violated(w->x, "%s finds the end %llu; only what is below %llu is on a write quorum", c->name,
                         (unsigned long long)tail, (unsigned long long)l->quorum_tail);
    if (tail <= l->delivered)
        explore_violated(w->x, "L-8: %s finds the end %llu; offset %llu was delivered (TR-1)", c->name,
                         (unsigned long long)tail, (unsigned long long)l->delivered);
    if (!quorum_is_f_majority(&l->quorum, l->sealed))
        explore_violated(w->x, "L-6: %s finds an end, but no f-majority is sealed", c->name);
    l->least_tail = MIN(l->least_tail, tail);
    l->most_tail = MAX(l->most_tail, tail);
}

void ml_check_delivered(struct ml_client *c, uint64_t loglet, uint64_t offset, struct slice body)
{
    struct ml_world *w = c->world;
    struct ml_loglet *l = ml_find(w, loglet);
    explore_note(w->x, "%s delivers offset %llu", c->name, (unsigned long long)offset);
    if (offset != l->delivered + 1)
        explore_violated(w->x, "L-8: offset %llu is delivered after %llu", (unsigned long long)offset,
                         (unsigned long long)l->delivered);
    if (hash64(body) != l->assigned[offset - 1])
        explore_violated(w->x, "L-1: another record is delivered at offset %llu", (unsigned long long)offset);
    l->delivered = offset;
    if (offset >= l->least_tail)
        explore_violated(w->x, "L-8: offset %llu is delivered; a sealer found the end %llu (TR-1)",
                         (unsigned long long)offset, (unsigned long long)l->least_tail);
}

void ml_check_swap(struct ml_world *w, const struct chain *before, const struct chain *after)
{
    const struct chain_segment *last = &after->segments[after->len - 1];
    struct loglet_params p;
    if (before->len > 0) {
        const struct chain_segment *old = &before->segments[before->len - 1];
        struct ml_loglet *l = ml_find(w, chain_loglet_id(before->log_id, old->index));
        uint64_t end = last->base_lsn - old->base_lsn + 1;
        advance(w, l);
        if (last->base_lsn < old->base_lsn || last->index != old->index + 1)
            explore_violated(w->x, "L-7: segment %u at LSN %llu is followed by segment %u at LSN %llu",
                             old->index, (unsigned long long)old->base_lsn, last->index,
                             (unsigned long long)last->base_lsn);
        else if (l->end || end <= l->acked || end > l->quorum_tail ||
                 !quorum_is_f_majority(&l->quorum, l->sealed))
            explore_violated(w->x,
                             "L-7: segment %u is ended at %llu (acknowledged %llu, on a quorum below %llu)",
                             old->index, (unsigned long long)end, (unsigned long long)l->acked,
                             (unsigned long long)l->quorum_tail);
        l->end = end;
    }
    if (explore_over(w->x))
        return;
    ASSERT(loglet_params_decode(bytes_slice(last->params), &p, NULL) == RC_OK);
    if (ml_find(w, p.loglet_id))
        explore_violated(w->x, "L-11: loglet id %llx is used again", (unsigned long long)p.loglet_id);
    else
        ml_add_loglet(w, &p);
}

void ml_check_end(struct ml_world *w)
{
    for (lsn_t lsn = 1; lsn < ARRAY_LEN(w->by_lsn); lsn++) {
        lsn_t end;
        const struct chain_segment *s;
        if (!w->by_lsn[lsn].acked)
            continue;
        s = chain_find(&w->chain, lsn, &end);
        struct ml_loglet *l = s ? ml_find(w, chain_loglet_id(w->chain.log_id, s->index)) : NULL;
        uint64_t offset = l ? chain_offset(s, lsn) : 0;
        if (!l || l->assigned[offset - 1] != w->by_lsn[lsn].hash ||
            !quorum_is_write(&l->quorum, holders(w, l, offset)))
            explore_violated(w->x, "L-1: the record acknowledged at LSN %llu is not there",
                             (unsigned long long)lsn);
    }
}
