/* The oracle: what really happened, and the invariants L-1 to L-11 of spec/cluster.md §11.2 checked against
 * it. */
#include <stdlib.h>

#include "base/hash.h"
#include "sim/loglet_sim.h"

struct or_offset {
    uint64_t hash;       /* of the record that the sequencer assigned; 0: none yet */
    struct marks stored; /* members that ever had it durable */
};

struct or_loglet {
    struct omap_node node;
    uint64_t id;
    struct loglet_params params;
    struct quorum quorum;
    lsn_t base;
    uint64_t end; /* decided tail; 0: open */
    struct {
        struct or_offset *items; /* [offset - 1] */
        size_t len, cap;
    } offsets;
    uint64_t quorum_tail;  /* everything below was durable on a write quorum */
    struct marks sealed;   /* durably */
    uint64_t sealed_bound; /* no ack at or above once an f-majority is sealed */
    uint64_t max_acked, max_committed_heard, max_delivered;
    uint64_t hole_checked[SIM_NODES_MAX + 1];
};

struct or_log {
    struct {
        uint64_t *items; /* uid by LSN - 1; 0: not seen */
        size_t len, cap;
    } records;
    lsn_t least_tail; /* tails that were told, acknowledged records: no later answer is lower */
    uint32_t next_index;
    struct {
        uint64_t *items; /* loglet ids in order of index */
        size_t len, cap;
    } segments;
};

struct sim_oracle {
    struct omap loglets;
    struct or_log logs[SIM_LOGS_MAX + 1];
    struct node_directory directory;
};

static int cmp(const struct omap_node *a, const struct omap_node *b)
{
    uint64_t x = CONTAINER_OF(a, struct or_loglet, node)->id, y = CONTAINER_OF(b, struct or_loglet, node)->id;
    return x < y ? -1 : x > y;
}

static int key_cmp(const void *key, const struct omap_node *n)
{
    uint64_t x = *(const uint64_t *)key, y = CONTAINER_OF(n, struct or_loglet, node)->id;
    return x < y ? -1 : x > y;
}

static struct or_loglet *find(struct sim_oracle *o, uint64_t id)
{
    struct omap_node *n = omap_find(&o->loglets, &id, key_cmp);
    return n ? CONTAINER_OF(n, struct or_loglet, node) : NULL;
}

static struct or_offset *offset_at(struct or_loglet *l, uint64_t offset)
{
    while (l->offsets.len < offset)
        VEC_PUSH(&l->offsets, ((struct or_offset){0}));
    return &l->offsets.items[offset - 1];
}

struct sim_oracle *sim_oracle_new(struct sim_world *w)
{
    struct sim_oracle *o = xcalloc(1, sizeof(*o));
    omap_init(&o->loglets, cmp);
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        struct node_info info = {.id = i, .generation = 1, .storage = STORAGE_READ_WRITE};
        if (w->options.zones) {
            info.location.region[0] = 'r';
            info.location.zone[0] = 'z';
            info.location.zone[1] = (char)('0' + i % 3);
        }
        node_directory_put(&o->directory, &info);
    }
    for (unsigned l = 1; l <= w->options.logs; l++)
        o->logs[l].least_tail = 1;
    return o;
}

void sim_oracle_free(struct sim_oracle *o)
{
    struct omap_node *n;
    while ((n = omap_first(&o->loglets))) {
        struct or_loglet *l = CONTAINER_OF(n, struct or_loglet, node);
        omap_remove(&o->loglets, n);
        VEC_FREE(&l->offsets);
        free(l);
    }
    for (unsigned i = 0; i <= SIM_LOGS_MAX; i++) {
        VEC_FREE(&o->logs[i].records);
        VEC_FREE(&o->logs[i].segments);
    }
    node_directory_free(&o->directory);
    free(o);
}

/* ---- durable writes ---- */

static uint64_t hash_of(struct slice body)
{
    uint64_t h = hash64(body);
    return h ? h : 1;
}

/* A write quorum; members that lost their disk count as holders where the others are too few
 * (quorum_is_best_write). */
static bool enough_copies(struct sim_world *w, const struct or_loglet *l, struct marks m)
{
    struct marks lost = {{0}}, all = {{0}};
    for (unsigned i = 0; i < l->params.nodeset.len; i++) {
        marks_add(&all, i);
        if (w->nodes[l->params.nodeset.ids[i]].wiped)
            marks_add(&lost, i);
    }
    bool possible = quorum_is_write(&l->quorum, marks_minus(all, lost));
    return quorum_is_write(&l->quorum, possible ? m : marks_or(m, lost));
}

static void advance_quorum_tail(struct sim_world *w, struct or_loglet *l)
{
    while (l->quorum_tail <= l->offsets.len &&
           enough_copies(w, l, l->offsets.items[l->quorum_tail - 1].stored))
        l->quorum_tail++;
}

void sim_check_durable(struct sim_world *w, unsigned node, const struct store_entry *e)
{
    struct or_loglet *l = find(w->oracle, e->loglet);
    int position = l ? nodeset_position(&l->params.nodeset, node) : -1;
    if (!l || position < 0)
        sim_fail(w, "N%u stores something of loglet %llx, of which it is no member", node,
                 (unsigned long long)e->loglet);
    if (e->kind == STORE_SEAL)
        marks_add(&l->sealed, (unsigned)position);
    if (e->kind != STORE_RECORD)
        return;
    struct or_offset *o = offset_at(l, e->offset);
    if (o->hash != hash_of(e->body))
        sim_fail(w, "L-3: N%u stores other bytes at offset %llu of loglet %llx than the sequencer assigned",
                 node, (unsigned long long)e->offset, (unsigned long long)e->loglet);
    marks_add(&o->stored, (unsigned)position);
    advance_quorum_tail(w, l);
}

void sim_check_disk(struct sim_world *w, unsigned node, uint64_t loglet)
{
    struct or_loglet *l = find(w->oracle, loglet);
    const struct sim_disk_loglet *d = sim_disk_find(w->nodes[node].disk, loglet);
    uint64_t *at = &l->hole_checked[node];
    for (*at = MAX(*at, d->trim_point + 1); *at < d->tail; (*at)++) {
        if (!d->records[*at - 1].ptr && *at >= l->quorum_tail)
            sim_fail(w,
                     "L-4: N%u has a hole at offset %llu of loglet %llx; only those below %llu are on a "
                     "write quorum",
                     node, (unsigned long long)*at, (unsigned long long)loglet,
                     (unsigned long long)l->quorum_tail);
    }
    if (l->sealed_bound || !quorum_is_f_majority(&l->quorum, l->sealed))
        return;
    l->sealed_bound = 1;
    for (unsigned i = 0; i < l->params.nodeset.len; i++) {
        const struct sim_disk_loglet *m = sim_disk_find(w->nodes[l->params.nodeset.ids[i]].disk, loglet);
        l->sealed_bound = MAX(l->sealed_bound, m ? m->tail : 1);
    }
}

/* ---- messages ---- */

static void check_store(struct sim_world *w, struct or_loglet *l, unsigned from,
                        const struct loglet_message *m)
{
    bool repair = m->flags & LOGLET_IGNORE_SEAL;
    if (!node_ref_eq(m->sequencer, l->params.sequencer) || (!repair && from != m->sequencer.id))
        sim_fail(w, "L-10: N%u assigns offsets in loglet %llx of N%u:%u", from, (unsigned long long)l->id,
                 l->params.sequencer.id, l->params.sequencer.generation);
    for (uint32_t i = 0; i < m->n_records; i++) {
        struct or_offset *o = offset_at(l, m->first_offset + i);
        uint64_t h = hash_of(bytes_slice(m->records[i]));
        if (!o->hash && repair)
            sim_fail(w, "L-10: a repair of loglet %llx writes offset %llu, which was never assigned",
                     (unsigned long long)l->id, (unsigned long long)(m->first_offset + i));
        if (o->hash && o->hash != h)
            sim_fail(w, "L-3: offset %llu of loglet %llx is sent with other bytes than before",
                     (unsigned long long)(m->first_offset + i), (unsigned long long)l->id);
        o->hash = h;
    }
}

void sim_check_reply(struct sim_world *w, unsigned from, const struct loglet_message *m)
{
    struct or_loglet *l = find(w->oracle, m->loglet_id);
    int position = l ? nodeset_position(&l->params.nodeset, from) : -1;
    if (position >= 0 && marks_has(l->sealed, (unsigned)position) && !m->sealed &&
        !log_server_failsafe(w->nodes[from].server))
        sim_fail(w, "L-6: N%u has sealed loglet %llx and says that it has not", from,
                 (unsigned long long)l->id);
}

void sim_check_message(struct sim_world *w, unsigned from, const struct loglet_message *m)
{
    struct or_loglet *l = find(w->oracle, m->loglet_id);
    if (!l)
        sim_fail(w, "a message about loglet %llx, which no chain has ever had",
                 (unsigned long long)m->loglet_id);
    advance_quorum_tail(w, l);
    if (m->committed_tail > l->quorum_tail || m->repaired_tail > l->quorum_tail)
        sim_fail(w,
                 "L-5: N%u says %s that loglet %llx is committed below %llu and repaired below %llu, but "
                 "only what is "
                 "below %llu is on a write quorum",
                 from, loglet_message_kind_name(m->kind), (unsigned long long)l->id,
                 (unsigned long long)m->committed_tail, (unsigned long long)m->repaired_tail,
                 (unsigned long long)l->quorum_tail);
    bool look_away = w->options.mutation == MUTATE_REPAIR_IS_DELIVERED;
    if (l->end && m->committed_tail > l->end && !look_away)
        sim_fail(w, "L-5: N%u says %s that loglet %llx is committed below %llu; the chain ended it at %llu",
                 from, loglet_message_kind_name(m->kind), (unsigned long long)l->id,
                 (unsigned long long)m->committed_tail, (unsigned long long)l->end);
    if (l->end && m->repaired_tail > l->end)
        w->stats.tr1++; /* two sealers, two tails: what the two watermarks are for */
    l->max_committed_heard = MAX(l->max_committed_heard, m->committed_tail);
    if (m->kind == LOGLET_STORE)
        check_store(w, l, from, m);
}

/* ---- the chain ---- */

static void new_segment(struct sim_world *w, unsigned log_id, const struct chain_segment *s)
{
    struct or_log *log = &w->oracle->logs[log_id];
    struct loglet_params p;
    struct err err = {0};
    if (s->index != log->next_index)
        sim_fail(w, "L-7: log %u gets segment %u after segment %d", log_id, s->index,
                 (int)log->next_index - 1);
    if (loglet_params_decode(bytes_slice(s->params), &p, &err) != RC_OK)
        sim_fail(w, "%s", err.msg);
    if (p.loglet_id != chain_loglet_id(log_id, s->index) || find(w->oracle, p.loglet_id))
        sim_fail(w, "L-11: loglet id %llx is used again", (unsigned long long)p.loglet_id);
    struct or_loglet *l = xcalloc(1, sizeof(*l));
    l->id = p.loglet_id;
    l->params = p;
    l->base = s->base_lsn;
    l->quorum_tail = l->max_committed_heard = 1;
    /* The truth about quorums, whatever the writer believed (MUTATE_WRITE_QUORUM_OF_ONE). */
    struct replication r = replication_nodes((uint8_t)w->options.copies);
    if (w->options.zones)
        r.copies[SCOPE_ZONE] = 2;
    quorum_init(&l->quorum, &r, &p.nodeset, &w->oracle->directory);
    omap_insert(&w->oracle->loglets, &l->node);
    VEC_PUSH(&log->segments, l->id);
    log->next_index = s->index + 1;
}

static void end_segment(struct sim_world *w, struct or_loglet *l, lsn_t base)
{
    if (base < l->base)
        sim_fail(w, "L-7: the base goes back");
    uint64_t end = base - l->base + 1;
    if (l->end)
        sim_fail(w, "L-7: the end of loglet %llx is decided twice", (unsigned long long)l->id);
    if (end <= l->max_acked)
        sim_fail(w, "L-7: loglet %llx ends at %llu, but offset %llu was acknowledged",
                 (unsigned long long)l->id, (unsigned long long)end, (unsigned long long)l->max_acked);
    if (end <= l->max_delivered)
        sim_fail(w, "L-8: loglet %llx ends at %llu, but offset %llu was delivered (TR-1)",
                 (unsigned long long)l->id, (unsigned long long)end, (unsigned long long)l->max_delivered);
    if (end < l->max_committed_heard && w->options.mutation != MUTATE_REPAIR_IS_DELIVERED)
        sim_fail(w, "L-5: loglet %llx ends at %llu, but was called committed below %llu",
                 (unsigned long long)l->id, (unsigned long long)end,
                 (unsigned long long)l->max_committed_heard);
    advance_quorum_tail(w, l);
    if (end > l->quorum_tail)
        sim_fail(w, "loglet %llx ends at %llu, but only what is below %llu is on a write quorum",
                 (unsigned long long)l->id, (unsigned long long)end, (unsigned long long)l->quorum_tail);
    if (!quorum_is_f_majority(&l->quorum, l->sealed))
        sim_fail(w, "L-6: loglet %llx is ended without being sealed", (unsigned long long)l->id);
    l->end = end;
}

void sim_check_swap(struct sim_world *w, unsigned log_id, const struct chain *before,
                    const struct chain *after)
{
    const struct chain_segment *last = &after->segments[after->len - 1];
    if (before->len == 0) {
        if (after->len != 1 || last->base_lsn != 1 || last->index != 0)
            sim_fail(w, "L-7: a new log begins at LSN %llu", (unsigned long long)last->base_lsn);
        new_segment(w, log_id, last);
        return;
    }
    const struct chain_segment *old = &before->segments[before->len - 1];
    if (last->index == old->index && last->kind == old->kind) { /* the prefix was trimmed */
        if (chain_first_lsn(after) > w->trimmed[log_id] + 1)
            sim_fail(w, "L-8: the chain is trimmed to LSN %llu; %llu was asked for",
                     (unsigned long long)chain_first_lsn(after), (unsigned long long)w->trimmed[log_id]);
        return;
    }
    if (last->base_lsn < old->base_lsn || (old->kind == SEGMENT_SEALED && last->base_lsn != old->base_lsn))
        sim_fail(w, "L-7: the base goes from %llu to %llu", (unsigned long long)old->base_lsn,
                 (unsigned long long)last->base_lsn);
    if (old->kind != SEGMENT_SEALED)
        end_segment(w, find(w->oracle, chain_loglet_id(log_id, old->index)), last->base_lsn);
    if (last->kind != SEGMENT_SEALED)
        new_segment(w, log_id, last);
}

/* ---- LSNs ---- */

static struct or_loglet *segment_of(struct sim_world *w, unsigned log_id, lsn_t lsn)
{
    struct or_log *log = &w->oracle->logs[log_id];
    for (size_t i = log->segments.len; i-- > 0;) {
        struct or_loglet *l = find(w->oracle, log->segments.items[i]);
        if (l->base <= lsn && (l->end == 0 || lsn < l->base + l->end - 1))
            return l;
    }
    sim_fail(w, "LSN %llu of log %u is in no segment", (unsigned long long)lsn, log_id);
}

/* L-1: one record per LSN, for everybody, for ever. */
static void see_record(struct sim_world *w, unsigned log_id, lsn_t lsn, uint64_t uid, const char *who)
{
    struct or_log *log = &w->oracle->logs[log_id];
    while (log->records.len < lsn)
        VEC_PUSH(&log->records, 0);
    uint64_t *at = &log->records.items[lsn - 1];
    if (*at && *at != uid)
        sim_fail(w, "L-1: LSN %llu of log %u was record %llu; %s says %llu", (unsigned long long)lsn, log_id,
                 (unsigned long long)*at, who, (unsigned long long)uid);
    *at = uid;
}

static bool durable_at(struct sim_world *w, struct or_loglet *l, unsigned position, uint64_t offset)
{
    struct sim_node *n = &w->nodes[l->params.nodeset.ids[position]];
    const struct sim_disk_loglet *d = sim_disk_find(n->disk, l->id);
    if (n->wiped) /* had it when it was promised; losing a disk is not the log's fault */
        return marks_has(offset_at(l, offset)->stored, position);
    return d && (d->trim_point >= offset || sim_disk_has(n->disk, l->id, offset));
}

void sim_check_append_done(struct sim_world *w, struct sim_append *a)
{
    if (a->outcome != OUTCOME_COMMITTED) {
        w->stats.not_committed += a->outcome == OUTCOME_NOT;
        w->stats.unknown += a->outcome == OUTCOME_UNKNOWN;
        return;
    }
    struct or_log *log = &w->oracle->logs[a->log];
    struct or_loglet *l = segment_of(w, a->log, a->lsn);
    uint64_t offset = a->lsn - l->base + 1;
    struct marks m = {{0}};
    w->stats.committed++;
    see_record(w, a->log, a->lsn, a->uid, "the appender");
    for (unsigned i = 0; i < l->params.nodeset.len; i++) {
        if (durable_at(w, l, i, offset))
            marks_add(&m, i);
    }
    if (!enough_copies(w, l, m))
        sim_fail(w, "L-2: LSN %llu of log %u was acknowledged on %u copies", (unsigned long long)a->lsn,
                 a->log, marks_count(m));
    /* By the sequencer, that is; when the chain has decided, what lies below its end was saved by a sealer.
     */
    if (!l->end && l->sealed_bound && offset >= l->sealed_bound)
        sim_fail(w,
                 "L-6: offset %llu of loglet %llx was acknowledged after an f-majority was sealed below %llu",
                 (unsigned long long)offset, (unsigned long long)l->id, (unsigned long long)l->sealed_bound);
    l->max_acked = MAX(l->max_acked, offset);
    log->least_tail = MAX(log->least_tail, a->lsn + 1);
}

void sim_check_delivery(struct sim_world *w, struct sim_handle *h, lsn_t lsn, struct slice body)
{
    if (lsn != h->next)
        sim_fail(w, "L-8: N%u reads LSN %llu of log %u instead of %llu", h->node->id, (unsigned long long)lsn,
                 h->log_id, (unsigned long long)h->next);
    h->next = lsn + 1;
    w->stats.delivered++;
    struct or_loglet *l = segment_of(w, h->log_id, lsn);
    uint64_t offset = lsn - l->base + 1;
    if (offset_at(l, offset)->hash != hash_of(body))
        sim_fail(
            w, "L-1: N%u reads a record at LSN %llu of log %u that is not that of offset %llu of loglet %llx",
            h->node->id, (unsigned long long)lsn, h->log_id, (unsigned long long)offset,
            (unsigned long long)l->id);
    see_record(w, h->log_id, lsn, get_u64le(body.ptr), "a reader");
    if (!l->end)
        l->max_delivered = MAX(l->max_delivered, offset);
}

void sim_check_gap(struct sim_world *w, struct sim_handle *h, lsn_t from, lsn_t to)
{
    if (from != h->next || to < from || to > w->trimmed[h->log_id])
        sim_fail(
            w,
            "L-8: N%u is told that LSNs %llu to %llu of log %u are trimmed; read up to %llu, trimmed to %llu",
            h->node->id, (unsigned long long)from, (unsigned long long)to, h->log_id,
            (unsigned long long)h->next - 1, (unsigned long long)w->trimmed[h->log_id]);
    h->next = to + 1;
    w->stats.gaps++;
}

void sim_check_tail_begin(struct sim_world *w, unsigned log_id, lsn_t *least)
{
    *least = w->oracle->logs[log_id].least_tail;
}

void sim_check_tail_end(struct sim_world *w, unsigned log_id, lsn_t least, lsn_t tail)
{
    struct or_log *log = &w->oracle->logs[log_id];
    w->stats.tails++;
    if (tail < least)
        sim_fail(w, "L-9: the tail of log %u is said to be %llu; before the question it was %llu at least",
                 log_id, (unsigned long long)tail, (unsigned long long)least);
    log->least_tail = MAX(log->least_tail, tail);
}

/* ---- at the end ---- */

void sim_check_end(struct sim_world *w)
{
    for (unsigned l = 1; l <= w->options.logs; l++) {
        struct or_log *log = &w->oracle->logs[l];
        uint64_t *last = xcalloc(w->next_handle + 1, sizeof(*last));
        bool *seen = xcalloc(w->appends.len + 1, sizeof(*seen));
        for (size_t i = 0; i < log->records.len; i++) {
            uint64_t uid = log->records.items[i];
            if (!uid)
                continue;
            struct sim_append *a = w->appends.items[uid - 1];
            if (seen[uid])
                sim_fail(w, "record %llu is in log %u twice", (unsigned long long)uid, l);
            if (a->log != l || a->outcome == OUTCOME_NOT)
                sim_fail(w, "record %llu is in log %u, but its append was refused", (unsigned long long)uid,
                         l);
            if (a->outcome == OUTCOME_COMMITTED && a->lsn != i + 1)
                sim_fail(w, "record %llu is at LSN %zu, but was acknowledged at %llu",
                         (unsigned long long)uid, i + 1, (unsigned long long)a->lsn);
            if (a->order + 1 <= last[a->handle])
                sim_fail(w, "the records of one handle changed their order in log %u", l);
            last[a->handle] = a->order + 1;
            seen[uid] = true;
        }
        free(last);
        free(seen);
    }
    for (size_t i = 0; i < w->appends.len; i++) {
        struct sim_append *a = w->appends.items[i];
        struct or_log *log = &w->oracle->logs[a->log];
        if (a->outcome == OUTCOME_COMMITTED &&
            (a->lsn > log->records.len || log->records.items[a->lsn - 1] != a->uid))
            sim_fail(w, "the acknowledged record %llu is not in log %u", (unsigned long long)a->uid, a->log);
    }
}
