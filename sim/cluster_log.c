/* What really happened in the logs of the simulated cluster, and the invariants L-1 to L-10 and N-5 of
 * spec/cluster.md §11.2 checked against it: every durable write of every log-server, every offset that a
 * sequencer assigns or calls committed, every request and reply of a log-server, every tail that is told,
 * every record that a replica applies. The functions are replaced when linking.
 *
 * Bits of a mask are hosts. Members of a segment whose disk was lost count as holders of what they had:
 * losing it is not the log's fault. */
#include <stdlib.h>

#include "base/hash.h"
#include "bifrost/log_server.h"
#include "bifrost/replicated_client.h"
#include "bifrost/replicated_sequencer.h"
#include "sim/cluster_sim.h"

#define CHECK(cond, ...) SIM_CHECK(&csim->base, cond, __VA_ARGS__)
#define SPECIAL_LOGLETS  (UINT64_C(1) << 63) /* the storage marker */
#define U(x)             ((unsigned long)(x))

struct offset {
    uint64_t hash;   /* of the record that the sequencer assigned; 0: none yet */
    uint32_t stored; /* hosts that ever had it durable */
    uint32_t now;    /* hosts that have it now */
};

struct loglet {
    bool known; /* it has parameters */
    uint64_t id;
    struct loglet_params params;
    lsn_t base;
    uint64_t end; /* decided tail; 0: open */
    bool sequenced;
    struct {
        struct offset *items; /* [offset - 1] */
        size_t len, cap;
    } offsets;
    uint64_t quorum_tail;  /* everything below was durable on a write quorum */
    uint32_t sealed;       /* hosts that sealed it durably */
    uint32_t lost;         /* hosts that had it, or could have had, on a disk that is lost */
    uint32_t without;      /* hosts whose disk was away while it existed: they may say that they lost it */
    uint64_t sealed_bound; /* nothing at or above is committed, once an f-majority is sealed */
    uint64_t committed, delivered; /* highest tails */
    uint64_t least_tail;           /* no later answer is lower */
    uint64_t trim_asked, trimmed[CSIM_NODES_MAX], tail[CSIM_NODES_MAX];
};

static struct {
    struct loglet **items; /* by segment index */
    size_t len, cap;
} logs[CSIM_PARTITIONS_MAX];
static uint32_t first_index[CSIM_PARTITIONS_MAX]; /* of the newest chain */

static struct loglet *loglet_of(uint64_t id)
{
    uint64_t log_id = id >> 32;
    uint32_t index = (uint32_t)id;
    CHECK(log_id < CSIM_PARTITIONS_MAX, "a loglet %lx, which no chain can have", U(id));
    while (logs[log_id].len <= index) {
        struct loglet *l = xcalloc(1, sizeof(*l));
        l->id = log_id << 32 | logs[log_id].len;
        l->quorum_tail = l->committed = l->delivered = l->least_tail = 1;
        for (unsigned i = 0; i < CSIM_NODES_MAX; i++)
            l->tail[i] = 1;
        VEC_PUSH(&logs[log_id], l);
    }
    return logs[log_id].items[index];
}

static struct offset *offset_at(struct loglet *l, uint64_t offset)
{
    while (l->offsets.len < offset)
        VEC_PUSH(&l->offsets, ((struct offset){0}));
    return &l->offsets.items[offset - 1];
}

static uint64_t hash_of(struct slice body)
{
    uint64_t h = hash64(body);
    return h ? h : 1;
}

static struct csim_host *host(void)
{
    return csim->current_process->host;
}

/* ---- quorums: the plain rule, whatever the nodes believe ---- */

static uint32_t members(const struct loglet *l)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < l->params.nodeset.len; i++) {
        for (unsigned h = 0; h < csim->options.nodes; h++)
            mask |= csim->hosts[h].node_id == l->params.nodeset.ids[i] ? 1u << h : 0;
    }
    return mask;
}

static uint32_t hosts_without(bool (*has)(const struct csim_host *h))
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < csim->options.nodes; i++)
        mask |= has(&csim->hosts[i]) ? 0 : 1u << i;
    return mask;
}

static bool hindered(const struct csim_host *h)
{
    return h->lost_log;
}

static bool is_write_quorum(const struct loglet *l, uint32_t mask)
{
    return (unsigned)__builtin_popcount(mask & members(l)) >= l->params.replication.copies[SCOPE_NODE];
}

/* A write quorum; or all that could be written, where storage states leave too few. */
static bool enough_copies(const struct loglet *l, uint32_t mask)
{
    uint32_t able = members(l) & ~l->lost & hosts_without(hindered);
    return is_write_quorum(l, is_write_quorum(l, able) ? mask : mask | ~able);
}

static bool is_f_majority(const struct loglet *l, uint32_t mask)
{
    unsigned n = l->params.nodeset.len, r = l->params.replication.copies[SCOPE_NODE];
    return l->known && (unsigned)__builtin_popcount(mask & members(l)) + r > n;
}

static void advance(struct loglet *l)
{
    while (l->known && l->quorum_tail <= l->offsets.len &&
           enough_copies(l, l->offsets.items[l->quorum_tail - 1].stored))
        l->quorum_tail++;
}

/* ---- the chain ---- */

static void end_segment(struct loglet *l, lsn_t base)
{
    CHECK(base >= l->base, "L-7: loglet %lx ends before it begins", U(l->id));
    uint64_t end = base - l->base + 1;
    CHECK(!l->end || l->end == end, "L-7: the end of loglet %lx is decided twice", U(l->id));
    if (l->end)
        return;
    l->end = end;
    advance(l);
    CHECK(end >= l->committed, "L-7: loglet %lx ends at %lu, but was committed below %lu", U(l->id), U(end),
          U(l->committed));
    CHECK(end >= l->delivered, "L-8: loglet %lx ends at %lu, but was delivered below %lu (TR-1)", U(l->id),
          U(end), U(l->delivered));
    CHECK(end <= l->quorum_tail, "loglet %lx ends at %lu, but only what is below %lu is on a write quorum",
          U(l->id), U(end), U(l->quorum_tail));
    CHECK(is_f_majority(l, l->sealed), "L-6: loglet %lx is ended without being sealed", U(l->id));
}

void csim_log_chain(const struct log_chain *c)
{
    first_index[c->log_id] = c->segments[0].index;
    for (size_t i = 0; i < c->n_segments; i++) {
        const struct log_segment *s = &c->segments[i];
        struct loglet_params p;
        struct err err = {0};
        if (s->kind != SEGMENT_REPLICATED)
            continue;
        CHECK(loglet_params_decode(slice_cstr(s->params), &p, &err) == RC_OK, "%s", err.msg);
        struct loglet *l = loglet_of(loglet_id_make(c->log_id, s->index));
        CHECK(p.loglet_id == l->id, "L-11: segment %u of log %u is loglet %lx", s->index, c->log_id,
              U(p.loglet_id));
        CHECK(!l->known || (node_ref_eq(l->params.sequencer, p.sequencer) &&
                            nodeset_eq(&l->params.nodeset, &p.nodeset) && l->base == s->base_lsn),
              "L-11: loglet id %lx is used again", U(l->id));
        l->known = true;
        l->params = p;
        l->base = s->base_lsn;
        if (i + 1 < c->n_segments)
            end_segment(l, c->segments[i + 1].base_lsn);
        /* An empty last segment gives way to its successor, and is not in the chain any more. */
        for (uint32_t k = s->index; i + 1 == c->n_segments && k-- > 0;) {
            struct loglet *before = loglet_of(loglet_id_make(c->log_id, k));
            if (before->known && !before->end && before->base == s->base_lsn)
                end_segment(before, s->base_lsn);
        }
    }
}

/* L-1, L-8: an applied record is the one that the sequencer put there, below the decided end. */
void csim_log_delivered(uint32_t log_id, lsn_t lsn, struct slice record)
{
    for (size_t i = logs[log_id].len; i-- > 0;) {
        struct loglet *l = logs[log_id].items[i];
        if (!l->known || l->base > lsn || (l->end && lsn >= l->base + l->end - 1))
            continue;
        uint64_t offset = lsn - l->base + 1;
        CHECK(offset <= l->offsets.len && l->offsets.items[offset - 1].hash == hash_of(record),
              "L-1: LSN %lu of log %u is not what was put at offset %lu of loglet %lx", U(lsn), log_id,
              U(offset), U(l->id));
        advance(l);
        CHECK(offset < l->quorum_tail, "L-8: LSN %lu of log %u is applied before it is on a write quorum",
              U(lsn), log_id);
        l->delivered = MAX(l->delivered, offset + 1);
        return;
    }
    CHECK(false, "L-8: LSN %lu of log %u is in no segment", U(lsn), log_id);
}

/* ---- sequencers ---- */

struct watched {
    struct loglet *loglet;
    struct sequencer *sequencer;
    void (*committed)(void *ctx, uint64_t tail);
    void (*sealed)(void *ctx);
    void *ctx;
};

static struct {
    struct watched **items;
    size_t len, cap;
} sequencers;

static void on_committed(void *ctx, uint64_t tail)
{
    struct watched *s = ctx;
    struct loglet *l = s->loglet;
    for (uint64_t o = l->committed; o < tail; o++) {
        const struct offset *at = offset_at(l, o);
        CHECK(is_write_quorum(l, at->now | (at->stored & l->lost)),
              "L-2: offset %lu of loglet %lx is committed on hosts %x", U(o), U(l->id), at->now);
    }
    CHECK(!l->sealed_bound || tail <= l->sealed_bound,
          "L-6: loglet %lx is committed below %lu after an f-majority was sealed below %lu", U(l->id),
          U(tail), U(l->sealed_bound));
    CHECK(!l->end || tail <= l->end, "L-7: loglet %lx is committed below %lu, but ends at %lu", U(l->id),
          U(tail), U(l->end));
    l->committed = MAX(l->committed, tail);
    l->least_tail = MAX(l->least_tail, tail);
    s->committed(s->ctx, tail);
}

static void on_sealed(void *ctx)
{
    struct watched *s = ctx;
    s->sealed(s->ctx);
}

struct sequencer *__real_sequencer_new(const struct sequencer_config *config);
struct sequencer *__wrap_sequencer_new(const struct sequencer_config *config);
struct sequencer *__wrap_sequencer_new(const struct sequencer_config *config)
{
    const struct node *n = &csim->current_process->node;
    struct node_ref me = {n->joined.node_id, n->joined.generation};
    struct loglet *l = loglet_of(config->params->loglet_id);
    CHECK(node_ref_eq(me, config->params->sequencer), "L-10: N%u:%u writes loglet %lx of N%u:%u", me.id,
          me.generation, U(l->id), config->params->sequencer.id, config->params->sequencer.generation);
    CHECK(!l->sequenced, "L-10: loglet %lx gets a second sequencer (TR-4)", U(l->id));
    CHECK(l->known, "L-11: loglet %lx is written before it is in the chain", U(l->id));
    l->sequenced = true;
    struct watched *s = xcalloc(1, sizeof(*s));
    struct sequencer_config c = *config;
    *s = (struct watched){l, NULL, config->committed, config->sealed, config->ctx};
    c.committed = on_committed;
    c.sealed = on_sealed;
    c.ctx = s;
    s->sequencer = __real_sequencer_new(&c);
    VEC_PUSH(&sequencers, s);
    return s->sequencer;
}

static struct loglet *written_by(const struct sequencer *s)
{
    for (size_t i = sequencers.len; i-- > 0;) {
        if (sequencers.items[i]->sequencer == s)
            return sequencers.items[i]->loglet;
    }
    UNREACHABLE("a sequencer that nobody made");
}

uint64_t __real_sequencer_append(struct sequencer *s, const struct bytes *records, size_t n);
uint64_t __wrap_sequencer_append(struct sequencer *s, const struct bytes *records, size_t n);
uint64_t __wrap_sequencer_append(struct sequencer *s, const struct bytes *records, size_t n)
{
    struct loglet *l = written_by(s);
    uint64_t first = __real_sequencer_append(s, records, n);
    for (size_t i = 0; i < n; i++) {
        struct offset *o = offset_at(l, first + i);
        CHECK(!o->hash, "L-3: offset %lu of loglet %lx is assigned twice", U(first + i), U(l->id));
        o->hash = hash_of(bytes_slice(records[i]));
    }
    return first;
}

/* ---- the disks of the log-servers ---- */

struct watched_store {
    struct log_server_store base;
    struct log_server_store *inner;
    struct store_batch *batch; /* on its way */
    void (*done)(struct store_batch *b, enum rc rc);
    struct loglet *unsealed; /* a mutation */
};
static struct watched_store *store_of[CSIM_NODES_MAX]; /* of the host's last process */

static void note_sealed(struct loglet *l, unsigned h)
{
    l->sealed |= 1u << h;
    if (l->sealed_bound || !is_f_majority(l, l->sealed))
        return;
    l->sealed_bound = 1;
    for (unsigned i = 0; i < csim->options.nodes; i++)
        l->sealed_bound = MAX(l->sealed_bound, l->tail[i]);
}

static void note_stored(struct loglet *l, unsigned h, uint64_t offset)
{
    struct offset *o = offset_at(l, offset);
    o->stored |= 1u << h;
    o->now |= 1u << h;
    l->tail[h] = MAX(l->tail[h], offset + 1);
    advance(l);
    bool continues = offset == 1 || offset - 1 <= l->trimmed[h] || offset <= l->quorum_tail ||
                     l->offsets.items[offset - 2].now & 1u << h;
    CHECK(continues,
          "L-4: n%u has a hole before offset %lu of loglet %lx; only those below %lu are on a write quorum",
          h + 1, U(offset), U(l->id), U(l->quorum_tail));
}

static void note_trimmed(struct loglet *l, unsigned h, uint64_t upto)
{
    CHECK(upto <= l->trim_asked, "L-8: n%u trims loglet %lx up to %lu; %lu was asked for", h + 1, U(l->id),
          U(upto), U(l->trim_asked));
    l->trimmed[h] = MAX(l->trimmed[h], upto);
    l->tail[h] = MAX(l->tail[h], upto + 1);
}

static void batch_done(struct store_batch *b, enum rc rc)
{
    unsigned h = host()->index;
    struct watched_store *s = store_of[h];
    ASSERT(s && s->batch == b);
    for (size_t i = 0; i < b->len && rc == RC_OK; i++) {
        const struct store_entry *e = &b->items[i];
        if (e->loglet >= SPECIAL_LOGLETS)
            continue;
        struct loglet *l = loglet_of(e->loglet);
        if (e->kind == STORE_RECORD) {
            CHECK(offset_at(l, e->offset)->hash == hash_of(e->body),
                  "L-3: n%u stores other bytes at offset %lu of loglet %lx than were assigned", h + 1,
                  U(e->offset), U(l->id));
            note_stored(l, h, e->offset);
        } else if (e->kind == STORE_SEAL) {
            note_sealed(l, h);
        } else if (e->kind == STORE_TRIM) {
            note_trimmed(l, h, e->offset);
        }
    }
    if (s->unsealed && rc == RC_OK)
        note_sealed(s->unsealed, h);
    s->unsealed = NULL;
    s->batch = NULL;
    b->done = s->done;
    b->done(b, rc);
}

static struct watched_store *self(struct log_server_store *s)
{
    return CONTAINER_OF(s, struct watched_store, base);
}

static void store_submit(struct log_server_store *s, struct store_batch *b)
{
    self(s)->batch = b;
    self(s)->done = b->done;
    b->done = batch_done;
    for (size_t i = 0; i < b->len && csim_mutated(CSIM_SEAL_FORGOTTEN); i++) {
        if (b->items[i].kind != STORE_SEAL)
            continue;
        self(s)->unsealed = loglet_of(b->items[i].loglet);
        b->items[i].kind = STORE_TRIM;
        b->items[i].offset = 0;
    }
    self(s)->inner->ops->submit(self(s)->inner, b);
}

static enum rc store_info(struct log_server_store *s, uint64_t loglet, struct loglet_info *out)
{
    return self(s)->inner->ops->info(self(s)->inner, loglet, out);
}

static bool store_has(struct log_server_store *s, uint64_t loglet, uint64_t offset)
{
    return self(s)->inner->ops->has(self(s)->inner, loglet, offset);
}

static bool store_extent(struct log_server_store *s, uint64_t loglet, uint64_t from, uint64_t *first,
                         uint64_t *last)
{
    return self(s)->inner->ops->extent(self(s)->inner, loglet, from, first, last);
}

static enum rc store_read(struct log_server_store *s, uint64_t loglet, uint64_t from, size_t max_bytes,
                          struct stored_records *out, struct err *err)
{
    return self(s)->inner->ops->read(self(s)->inner, loglet, from, max_bytes, out, err);
}

static bool store_full(struct log_server_store *s)
{
    return self(s)->inner->ops->full(self(s)->inner);
}

/* What was reported durable is there again; what was not reported may be. */
static void compare(struct watched_store *s, struct loglet *l, unsigned h)
{
    struct loglet_info info = {0};
    enum rc rc = store_info(&s->base, l->id, &info);
    if (l->lost & 1u << h) {
        CHECK(rc == RC_NOT_FOUND, "N-5: n%u has something of loglet %lx, which it lost", h + 1, U(l->id));
        return;
    }
    uint64_t trimmed = rc == RC_OK ? info.trim_point : 0;
    CHECK(trimmed >= l->trimmed[h], "n%u has forgotten that loglet %lx is trimmed up to %lu", h + 1, U(l->id),
          U(l->trimmed[h]));
    if (trimmed > l->trimmed[h])
        note_trimmed(l, h, trimmed);
    for (uint64_t o = 1; o <= l->offsets.len; o++) {
        bool there = rc == RC_OK && store_has(&s->base, l->id, o);
        CHECK(there || o <= trimmed || !(l->offsets.items[o - 1].now & 1u << h),
              "L-2: n%u has lost offset %lu of loglet %lx, which was durable", h + 1, U(o), U(l->id));
        if (there)
            note_stored(l, h, o);
    }
    bool sealed = rc == RC_OK && info.sealed;
    CHECK(sealed || !(l->sealed & 1u << h), "L-6: n%u has forgotten that loglet %lx is sealed", h + 1,
          U(l->id));
    if (sealed)
        note_sealed(l, h);
}

struct log_server_store *__real_log_server_segments_new(struct env *env, struct segment_store *segments);
struct log_server_store *__wrap_log_server_segments_new(struct env *env, struct segment_store *segments);
struct log_server_store *__wrap_log_server_segments_new(struct env *env, struct segment_store *segments)
{
    static const struct log_server_store_ops ops = {store_submit, store_info, store_has,
                                                    store_extent, store_read, store_full};
    struct watched_store *s = xcalloc(1, sizeof(*s));
    s->base.ops = &ops;
    s->inner = __real_log_server_segments_new(env, segments);
    store_of[host()->index] = s;
    for (unsigned i = 0; i < CSIM_PARTITIONS_MAX; i++) {
        for (size_t k = 0; k < logs[i].len; k++)
            compare(s, logs[i].items[k], host()->index);
    }
    return &s->base;
}

void __real_log_server_segments_observe(struct log_server_store *s,
                                        const struct log_server_segments_observer *o);
void __wrap_log_server_segments_observe(struct log_server_store *s,
                                        const struct log_server_segments_observer *o);
void __wrap_log_server_segments_observe(struct log_server_store *s,
                                        const struct log_server_segments_observer *o)
{
    __real_log_server_segments_observe(self(s)->inner, o);
}

void __real_log_server_segments_free(struct log_server_store *s);
void __wrap_log_server_segments_free(struct log_server_store *s);
void __wrap_log_server_segments_free(struct log_server_store *s)
{
    __real_log_server_segments_free(self(s)->inner);
}

void csim_log_lost(struct csim_host *h)
{
    for (unsigned i = 0; i < CSIM_PARTITIONS_MAX; i++) {
        for (size_t k = 0; k < logs[i].len; k++) {
            struct loglet *l = logs[i].items[k];
            for (size_t o = 0; o < l->offsets.len; o++)
                l->offsets.items[o].now &= ~(1u << h->index);
            if (l->known)
                l->lost |= 1u << h->index;
            advance(l);
        }
    }
}

void csim_log_back(const struct csim_host *h)
{
    for (unsigned i = 0; i < CSIM_PARTITIONS_MAX; i++) {
        for (size_t k = 0; k < logs[i].len; k++)
            logs[i].items[k]->without |= 1u << h->index;
    }
}

bool csim_log_may_lose(const struct csim_host *h)
{
    for (unsigned i = 0; i < CSIM_PARTITIONS_MAX; i++) {
        for (size_t k = first_index[i]; k < logs[i].len; k++) {
            const struct loglet *l = logs[i].items[k];
            uint32_t left = members(l) & ~(l->lost | l->without | 1u << h->index) & hosts_without(hindered);
            if (l->known && members(l) & 1u << h->index && !is_f_majority(l, left))
                return false;
        }
    }
    return true;
}

/* ---- requests and replies of log-servers ---- */

static void check_watermarks(struct loglet *l, const struct loglet_message *m, const char *who, uint32_t id)
{
    if (csim_mutated(CSIM_HOLES)) /* they are to be found on the disks */
        return;
    advance(l);
    CHECK(m->committed_tail <= l->committed || (l->end && m->committed_tail <= l->end),
          "L-5: %s N%u: loglet %lx is said to be committed below %lu, its sequencer said %lu", who, id,
          U(l->id), U(m->committed_tail), U(l->committed));
    CHECK(
        m->committed_tail <= l->quorum_tail && m->repaired_tail <= l->quorum_tail,
        "L-5: %s N%u: loglet %lx is said to be committed below %lu and repaired below %lu, but only what is "
        "below %lu is on a write quorum",
        who, id, U(l->id), U(m->committed_tail), U(m->repaired_tail), U(l->quorum_tail));
}

static void check_store(struct loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    bool repair = m->flags & LOGLET_IGNORE_SEAL;
    CHECK(!l->known || node_ref_eq(m->sequencer, l->params.sequencer),
          "L-10: N%u writes loglet %lx as N%u:%u", from->node.id, U(l->id), m->sequencer.id,
          m->sequencer.generation);
    CHECK(repair || node_ref_eq(from->node, m->sequencer),
          "L-10: N%u:%u assigns offsets in loglet %lx of N%u:%u", from->node.id, from->node.generation,
          U(l->id), m->sequencer.id, m->sequencer.generation);
    for (uint32_t i = 0; i < m->n_records; i++)
        CHECK(offset_at(l, m->first_offset + i)->hash == hash_of(bytes_slice(m->records[i])),
              "L-3: offset %lu of loglet %lx is sent with other bytes than were assigned",
              U(m->first_offset + i), U(l->id));
}

void __real_log_server_on_message(struct log_server *s, const struct log_server_peer *from,
                                  const struct loglet_message *m);
void __wrap_log_server_on_message(struct log_server *s, const struct log_server_peer *from,
                                  const struct loglet_message *m);
void __wrap_log_server_on_message(struct log_server *s, const struct log_server_peer *from,
                                  const struct loglet_message *m)
{
    struct loglet_message changed = *m;
    struct log_server_peer sender = *from;
    if (csim_mutated(CSIM_SECOND_SENDER) && csim_chance(20))
        sender.node.id++;
    if (m->loglet_id < SPECIAL_LOGLETS && m->loglet_id >> 32 < csim->options.partitions) {
        struct loglet *l = loglet_of(m->loglet_id);
        struct bytes first = BYTES_EMPTY;
        if (csim_mutated(CSIM_OTHER_BYTES) && m->n_records == 1 && csim_chance(20)) {
            first = bytes_copy(bytes_slice(m->records[0]));
            ((uint8_t *)first.ptr)[first.len - 1] ^= 1;
            changed.records = &first;
        }
        check_watermarks(l, m, "asked by", from->node.id);
        if (m->kind == LOGLET_STORE)
            check_store(l, &sender, &changed);
        bytes_unref(&first);
        changed = *m;
        if (csim_mutated(CSIM_HOLES) && m->kind == LOGLET_STORE)
            changed.committed_tail = m->first_offset;
        if (csim_mutated(CSIM_REPAIR_TRUSTED))
            changed.committed_tail = MAX(m->committed_tail, m->repaired_tail);
    }
    __real_log_server_on_message(s, from, &changed);
}

struct watched_server {
    struct log_server *server;
    void (*reply)(void *ctx, const struct log_server_peer *to, const struct loglet_message *m);
    void *ctx;
};

/* A new storage generation also counts as lost what began between the loss and its own beginning. */
static void disown(struct loglet *l, unsigned h)
{
    for (size_t o = 0; o < l->offsets.len; o++)
        CHECK(!(l->offsets.items[o].now & 1u << h),
              "N-5: n%u has offset %zu of loglet %lx and says that it lost it", h + 1, o + 1, U(l->id));
    l->lost |= 1u << h;
    advance(l);
}

static void on_reply(void *ctx, const struct log_server_peer *to, const struct loglet_message *m)
{
    struct watched_server *w = ctx;
    struct csim_host *h = host();
    if (m->status == LOGLET_LOST) {
        disown(loglet_of(m->loglet_id), h->index);
        w->reply(w->ctx, to, m);
        return;
    }
    if (m->loglet_id < SPECIAL_LOGLETS && m->loglet_id >> 32 < csim->options.partitions) {
        struct loglet *l = loglet_of(m->loglet_id);
        CHECK(!(l->lost & 1u << h->index), "N-5: n%u answers about loglet %lx although its disk was lost",
              h->index + 1, U(l->id));
        check_watermarks(l, m, "answer of", h->node_id);
        CHECK(m->sealed || !(l->sealed & 1u << h->index) || log_server_failsafe(w->server),
              "L-6: n%u has sealed loglet %lx and says that it has not", h->index + 1, U(l->id));
        CHECK(m->local_tail <= l->tail[h->index],
              "L-2: n%u says that it has loglet %lx below %lu; durable is what is below %lu", h->index + 1,
              U(l->id), U(m->local_tail), U(l->tail[h->index]));
    }
    w->reply(w->ctx, to, m);
}

struct log_server *__real_log_server_new(const struct log_server_config *config);
struct log_server *__wrap_log_server_new(const struct log_server_config *config);
struct log_server *__wrap_log_server_new(const struct log_server_config *config)
{
    struct watched_server *w = xcalloc(1, sizeof(*w));
    struct log_server_config c = *config;
    w->reply = config->reply;
    w->ctx = config->ctx;
    c.reply = on_reply;
    c.ctx = w;
    w->server = __real_log_server_new(&c);
    return w->server;
}

/* ---- tails and trims ---- */

struct search {
    struct loglet *loglet;
    uint64_t least;
    void (*done)(void *ctx, const struct loglet_tail *t);
    void *ctx;
};

/* L-9. Sealed tails of several sealers may differ until the chain has decided (TR-1). */
static void tail_found(void *ctx, const struct loglet_tail *t)
{
    struct search *s = ctx;
    struct loglet *l = s->loglet;
    CHECK(t->tail >= s->least, "L-9: the tail of loglet %lx is said to be %lu; it was %lu at least", U(l->id),
          U(t->tail), U(s->least));
    if (t->kind != LOGLET_TAIL_SEALED)
        l->least_tail = MAX(l->least_tail, t->tail);
    s->done(s->ctx, t);
    free(s);
}

struct loglet_op *__real_loglet_find_tail(struct loglet_calls *c, const struct loglet_params *p,
                                          unsigned flags,
                                          void (*done)(void *ctx, const struct loglet_tail *t), void *ctx);
struct loglet_op *__wrap_loglet_find_tail(struct loglet_calls *c, const struct loglet_params *p,
                                          unsigned flags,
                                          void (*done)(void *ctx, const struct loglet_tail *t), void *ctx);
struct loglet_op *__wrap_loglet_find_tail(struct loglet_calls *c, const struct loglet_params *p,
                                          unsigned flags,
                                          void (*done)(void *ctx, const struct loglet_tail *t), void *ctx)
{
    struct search *s = xcalloc(1, sizeof(*s)); /* stays when the search is canceled */
    s->loglet = loglet_of(p->loglet_id);
    s->least = s->loglet->least_tail;
    s->done = done;
    s->ctx = ctx;
    return __real_loglet_find_tail(c, p, flags, tail_found, s);
}

struct loglet_op *__real_loglet_trim(struct loglet_calls *c, const struct loglet_params *p, uint64_t upto,
                                     uint64_t committed_tail, void (*done)(void *ctx), void *ctx);
struct loglet_op *__wrap_loglet_trim(struct loglet_calls *c, const struct loglet_params *p, uint64_t upto,
                                     uint64_t committed_tail, void (*done)(void *ctx), void *ctx);
struct loglet_op *__wrap_loglet_trim(struct loglet_calls *c, const struct loglet_params *p, uint64_t upto,
                                     uint64_t committed_tail, void (*done)(void *ctx), void *ctx)
{
    struct loglet *l = loglet_of(p->loglet_id);
    l->trim_asked = MAX(l->trim_asked, upto);
    csim_snapshot_trim((uint32_t)(p->loglet_id >> 32), l->base + upto - 1);
    if (csim_mutated(CSIM_TRIM_MORE))
        upto = committed_tail - 1;
    return __real_loglet_trim(c, p, upto, committed_tail, done, ctx);
}
