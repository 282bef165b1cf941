/* Raft: both ends of appends and snapshots, counting of commits and rounds. See raft_core.h. */
#include <stdlib.h>

#include "base/hash.h"
#include "metadata/raft_internal.h"

#define SNAPSHOT_MAX (64u << 20)

/* ---- what the leader knows of the others ---- */

struct raft_progress *raft_progress_of(struct raft *r, struct raft_member m)
{
    for (uint32_t i = 0; i < r->n_progress; i++)
        if (raft_member_eq(r->progress[i].member, m))
            return &r->progress[i];
    return NULL;
}

struct raft_progress *raft_progress_add(struct raft *r, struct raft_member m)
{
    struct raft_progress *p = raft_progress_of(r, m);
    if (!p) {
        ASSERT(r->n_progress < PROGRESS_MAX);
        p = &r->progress[r->n_progress++];
    }
    bytes_unref(&p->snapshot.data);
    *p = (struct raft_progress){.member = m, .next = raft_last_index(r) + 1, .heard_ms = env_mono_ms(r->env)};
    return p;
}

void raft_progress_drop(struct raft *r, struct raft_progress *p)
{
    bytes_unref(&p->snapshot.data);
    *p = r->progress[--r->n_progress];
    r->progress[r->n_progress] = (struct raft_progress){0};
}

void raft_progress_clear(struct raft *r)
{
    while (r->n_progress)
        raft_progress_drop(r, &r->progress[r->n_progress - 1]);
}

/* The value that a majority of the members has reached. */
static uint64_t majority(const struct raft *r, uint64_t own, uint64_t (*of)(const struct raft_progress *p))
{
    uint64_t values[RAFT_MEMBERS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->members.n; i++) {
        uint64_t v = raft_member_eq(r->members.items[i], r->self) ? own : 0;
        for (uint32_t k = 0; k < r->n_progress; k++)
            if (raft_member_eq(r->progress[k].member, r->members.items[i]))
                v = of(&r->progress[k]);
        uint32_t at = n++;
        for (; at > 0 && values[at - 1] < v; at--)
            values[at] = values[at - 1];
        values[at] = v;
    }
    return n ? values[raft_quorum(&r->members) - 1] : 0;
}

static uint64_t match_of(const struct raft_progress *p)
{
    return p->match;
}

static uint64_t round_of(const struct raft_progress *p)
{
    return p->round;
}

void raft_count_commit(struct raft *r)
{
    uint64_t own = RAFT_MUTATED(RAFT_MUT_ACK_EARLY) ? raft_last_index(r) : r->durable;
    uint64_t index = majority(r, own, match_of);
    /* Entries of earlier terms are committed only together with one of this term. */
    if (index > r->commit && (raft_term_at(r, index) == r->term || RAFT_MUTATED(RAFT_MUT_COMMIT_OLD_TERM)))
        raft_advance_commit(r, index);
}

void raft_count_rounds(struct raft *r)
{
    uint64_t round = majority(r, r->round, round_of);
    if (round <= r->confirmed)
        return;
    r->confirmed = round;
    raft_note(r);
}

/* ---- leader: sending ---- */

static void send_append(struct raft *r, struct raft_progress *p, uint64_t prev, bool with_entries)
{
    struct writer w = WRITER_INIT;
    uint32_t n = 0;
    uint64_t last = raft_last_index(r);
    while (with_entries && prev + n < last && n < METADATA_ENTRIES_MAX) {
        const struct raft_log_entry *e = raft_entry(r, prev + n + 1);
        if (n && w.len + e->data.len > r->opt.message_bytes)
            break;
        raft_entry_write(&w, &(struct raft_entry_view){e->term, e->kind, bytes_slice(e->data)});
        n++;
    }
    struct metadata_message m = {.kind = RAFT_APPEND};
    m.append = (struct raft_append){
        .term = r->term,
        .prev_index = prev,
        .prev_term = raft_term_at(r, prev),
        .commit = r->commit,
        .round = r->round,
        .n_entries = n,
        .entries = writer_slice(&w),
    };
    raft_send(r, p->member, &m);
    writer_free(&w);
    if (p->state == PROGRESS_STREAM)
        p->next = prev + n + 1;
}

static void begin_snapshot(struct raft *r, struct raft_progress *p)
{
    ASSERT_MSG(r->snapshot.index, "a log without its beginning has a snapshot");
    bytes_unref(&p->snapshot.data);
    p->snapshot = r->snapshot;
    p->snapshot.data = bytes_ref(r->snapshot.data);
    p->snapshot_crc = crc32c(0, r->snapshot.data.ptr, r->snapshot.data.len);
    p->snapshot_offset = 0;
    p->state = PROGRESS_SNAPSHOT;
    p->probe_sent = false;
}

static bool silent(const struct raft *r, const struct raft_progress *p)
{
    return p->heard_ms + r->opt.election_ms < env_mono_ms(r->env);
}

static void send_snapshot_part(struct raft *r, struct raft_progress *p)
{
    size_t left = p->snapshot.data.len - p->snapshot_offset;
    size_t len = silent(r, p) ? 0 : MIN(left, r->opt.message_bytes); /* does it answer at all? */
    struct metadata_message m = {.kind = RAFT_SNAPSHOT};
    m.snapshot = (struct raft_snapshot_part){
        .term = r->term,
        .round = r->round,
        .index = p->snapshot.index,
        .last_term = p->snapshot.term,
        .total = p->snapshot.data.len,
        .offset = p->snapshot_offset,
        .crc = p->snapshot_crc,
        .members = p->snapshot.members,
        .data = slice_sub(bytes_slice(p->snapshot.data), p->snapshot_offset, len),
    };
    raft_send(r, p->member, &m);
    p->probe_sent = true;
}

/* One message to everybody, whether there is something to say or not. */
void raft_heartbeat(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_progress; i++) {
        struct raft_progress *p = &r->progress[i];
        p->probe_sent = false;
        if (p->state != PROGRESS_SNAPSHOT && p->next <= r->base_index)
            begin_snapshot(r, p);
        if (p->state == PROGRESS_SNAPSHOT) {
            send_snapshot_part(r, p);
        } else {
            send_append(r, p, p->next - 1, p->state == PROGRESS_PROBE && !silent(r, p));
            p->probe_sent = p->state == PROGRESS_PROBE;
        }
    }
}

static bool window_open(const struct raft *r, const struct raft_progress *p)
{
    uint64_t match = MAX(p->match, r->base_index);
    return raft_bytes_upto(r, p->next - 1) - raft_bytes_upto(r, MIN(match, p->next - 1)) <
           r->opt.in_flight_bytes;
}

void raft_send_more(struct raft *r)
{
    for (uint32_t i = 0; i < r->n_progress; i++) {
        struct raft_progress *p = &r->progress[i];
        if (p->state != PROGRESS_SNAPSHOT && p->next <= r->base_index)
            begin_snapshot(r, p);
        if (p->state == PROGRESS_SNAPSHOT) {
            if (!p->probe_sent)
                send_snapshot_part(r, p);
        } else if (p->state == PROGRESS_PROBE) {
            if (!p->probe_sent)
                send_append(r, p, p->next - 1, true);
            p->probe_sent = true;
        } else {
            while (p->next <= raft_last_index(r) && window_open(r, p))
                send_append(r, p, p->next - 1, true);
        }
    }
}

/* ---- leader: answers ---- */

static void accepted(struct raft *r, struct raft_progress *p, const struct raft_append_result *a)
{
    if (a->match > p->match) {
        p->match = MIN(a->match, raft_last_index(r));
        raft_count_commit(r);
        if (r->role != RAFT_LEADER)
            return;
    }
    if (p->state == PROGRESS_SNAPSHOT) {
        /* Not needed any more, or installed: if the log was cut again since, the next one follows. Until its
         * disk has it, only heartbeats ask. */
        if (p->match < r->base_index && p->match < p->snapshot.index)
            return;
        bytes_unref(&p->snapshot.data);
    }
    p->probe_sent = false;
    uint64_t verified = MIN(a->verified, raft_last_index(r));
    if (p->state == PROGRESS_STREAM)
        p->next = MAX(p->next, verified + 1);
    else
        p->next = MAX(verified, p->match) + 1;
    p->state = PROGRESS_STREAM;
    raft_change_progressed(r, p);
}

static void rejected(struct raft *r, struct raft_progress *p, const struct raft_append_result *a)
{
    if (p->state == PROGRESS_SNAPSHOT || a->prev_index <= p->match)
        return;
    if (p->state == PROGRESS_PROBE && a->prev_index != p->next - 1)
        return;
    uint64_t at = MIN(a->hint_index, raft_last_index(r));
    while (at > r->base_index && raft_term_at(r, at) > a->hint_term)
        at--;
    p->next = MAX(p->match, MIN(at, a->prev_index - 1)) + 1;
    p->state = PROGRESS_PROBE;
    p->probe_sent = false;
}

void raft_on_append_result(struct raft *r, const struct metadata_message *m)
{
    const struct raft_append_result *a = &m->append_result;
    struct raft_progress *p = raft_progress_of(r, m->header.from);
    if (r->role != RAFT_LEADER || a->term != r->term || !p)
        return;
    p->heard_ms = env_mono_ms(r->env);
    if (a->round > p->round && a->round <= r->round) {
        p->round = a->round;
        raft_count_rounds(r);
    }
    if (a->ok)
        accepted(r, p, a);
    else
        rejected(r, p, a);
}

void raft_on_snapshot_result(struct raft *r, const struct metadata_message *m)
{
    const struct raft_snapshot_result *s = &m->snapshot_result;
    struct raft_progress *p = raft_progress_of(r, m->header.from);
    if (r->role != RAFT_LEADER || s->term != r->term || !p)
        return;
    p->heard_ms = env_mono_ms(r->env);
    if (s->round > p->round && s->round <= r->round) {
        p->round = s->round;
        raft_count_rounds(r);
    }
    if (p->state != PROGRESS_SNAPSHOT || s->index != p->snapshot.index ||
        s->next_offset > p->snapshot.data.len)
        return;
    bool stuck = s->next_offset == p->snapshot_offset;
    p->snapshot_offset = s->next_offset;
    /* All there: what follows is the acknowledgement of its disk. The same part again: the next heartbeat
     * repeats it. */
    if (s->next_offset < p->snapshot.data.len && !stuck)
        p->probe_sent = false;
}

/* ---- follower ---- */

static void send_result(struct raft *r, struct raft_member to, const struct raft_append *a, bool ok,
                        uint64_t hint)
{
    struct metadata_message m = {.kind = RAFT_APPEND_RESULT};
    uint64_t disk = RAFT_MUTATED(RAFT_MUT_ACK_EARLY) ? raft_last_index(r) : r->durable;
    m.append_result = (struct raft_append_result){
        .term = r->term,
        .round = a->round,
        .ok = ok,
        .prev_index = a->prev_index,
        .verified = ok ? r->verified : 0,
        .match = ok ? MIN(r->verified, disk) : 0,
        .hint_index = hint,
        .hint_term = raft_term_at(r, hint),
    };
    raft_send(r, to, &m);
}

void raft_acknowledge(struct raft *r)
{
    if (r->role != RAFT_FOLLOWER || r->leader.node == 0)
        return;
    struct raft_append none = {.term = r->term};
    send_result(r, r->leader, &none, true, 0);
}

/* Someone leads our term: follow. False: it leads an old one, and was told. */
static bool follow(struct raft *r, struct raft_member leader, uint64_t term)
{
    if (term < r->term) {
        struct raft_append none = {0};
        send_result(r, leader, &none, false, 0); /* it steps down on seeing our term */
        return false;
    }
    ASSERT_MSG(r->role != RAFT_LEADER, "two leaders in term %llu", (unsigned long long)term);
    if (r->role != RAFT_FOLLOWER || !raft_member_eq(r->leader, leader))
        raft_become_follower(r, term, leader);
    r->heard_leader_ms = env_mono_ms(r->env);
    raft_arm_election(r);
    return true;
}

/* The best place to continue from when `prev` does not fit: nothing behind our end, no newer term. */
static uint64_t hint_for(const struct raft *r, const struct raft_append *a)
{
    uint64_t at = MIN(a->prev_index - 1, raft_last_index(r));
    while (at > r->commit && raft_term_at(r, at) > a->prev_term)
        at--;
    return MAX(at, r->commit);
}

/* True if all entries could be the leader's. */
static bool take_entries(struct raft *r, const struct raft_append *a)
{
    struct reader in = reader_make(a->entries);
    uint64_t index = a->prev_index;
    for (uint32_t i = 0; i < a->n_entries; i++) {
        struct raft_entry_view v;
        raft_entry_read(&in, &v);
        if (in.failed || v.term > a->term)
            return false;
        if (++index <= r->commit)
            continue;
        if (index <= raft_last_index(r)) {
            if (raft_term_at(r, index) == v.term)
                continue;
            raft_truncate(r, index);
        }
        if (v.term < raft_term_at(r, raft_last_index(r)))
            return false;
        raft_append_local(r, v.term, v.kind, bytes_copy(v.data));
    }
    return true;
}

void raft_on_append(struct raft *r, const struct metadata_message *m)
{
    const struct raft_append *a = &m->append;
    if (!follow(r, m->header.from, a->term))
        return;
    /* What is committed is the same everywhere, so a beginning before our commit needs no comparison. */
    bool fits = a->prev_index <= r->commit ||
                (a->prev_index <= raft_last_index(r) && raft_term_at(r, a->prev_index) == a->prev_term);
    if (!fits) {
        send_result(r, m->header.from, a, false, hint_for(r, a));
        return;
    }
    if (!take_entries(r, a))
        return;
    r->verified = MAX(r->verified, MAX(r->commit, a->prev_index + a->n_entries));
    raft_advance_commit(r, MIN(a->commit, r->verified));
    send_result(r, m->header.from, a, true, 0);
}

static void forget_incoming(struct raft *r)
{
    bytes_unref(&r->incoming.data);
    memset(&r->incoming, 0, sizeof(r->incoming));
}

static bool same_incoming(const struct raft *r, const struct raft_snapshot_part *s, struct raft_member from)
{
    return r->incoming.data.owner && raft_member_eq(r->incoming.from, from) && r->incoming.term == s->term &&
           r->incoming.index == s->index && r->incoming.last_term == s->last_term &&
           r->incoming.total == s->total && r->incoming.crc == s->crc;
}

static void send_snapshot_result(struct raft *r, const struct metadata_message *m, uint64_t next)
{
    struct metadata_message out = {.kind = RAFT_SNAPSHOT_RESULT};
    out.snapshot_result = (struct raft_snapshot_result){
        .term = r->term, .round = m->snapshot.round, .index = m->snapshot.index, .next_offset = next};
    raft_send(r, m->header.from, &out);
}

/* The snapshot is complete: the state becomes its, the log what it does not cover. */
static void install(struct raft *r, const struct raft_snapshot_part *s)
{
    struct err err = {0};
    struct bytes data = bytes_part(r->incoming.data, slice_make(r->incoming.data.ptr, s->total));
    if (crc32c(0, data.ptr, data.len) != s->crc ||
        r->host->ops->restore(r->host, s->index, bytes_slice(data), &err)) {
        bytes_unref(&data);
        return;
    }
    bool was = raft_member_at(&r->committed_members, r->self) >= 0;
    bytes_unref(&r->snapshot.data);
    r->snapshot = (struct raft_snapshot_state){s->index, s->last_term, s->members, data};
    if (s->index <= raft_last_index(r) && raft_term_at(r, s->index) == s->last_term) {
        raft_drop_prefix(r, s->index, s->last_term);
    } else {
        raft_drop_prefix(r, raft_last_index(r), raft_term_at(r, raft_last_index(r)));
        r->base_index = s->index;
        r->base_term = s->last_term;
        r->durable = r->writing_last = 0;
        r->entries_from = UINT64_MAX;
        r->members_index = UINT64_MAX; /* found anew below */
    }
    r->commit = r->applied = s->index;
    r->committed_members = s->members;
    r->verified = MAX(r->verified, s->index);
    if (r->members_index == UINT64_MAX || r->members_index <= s->index) {
        r->members = s->members;
        r->members_index = s->index;
    }
    if (was && raft_member_at(&s->members, r->self) < 0 && s->members.version > r->removed_in)
        r->removed_in = s->members.version;
    r->rewrite_wanted = true;
    raft_note(r);
}

void raft_on_snapshot(struct raft *r, const struct metadata_message *m)
{
    const struct raft_snapshot_part *s = &m->snapshot;
    if (!follow(r, m->header.from, s->term))
        return;
    if (s->index <= r->commit) {
        struct raft_append have = {.term = s->term, .round = s->round};
        forget_incoming(r);
        r->verified = MAX(r->verified, r->commit);
        send_result(r, m->header.from, &have, true, 0);
        return;
    }
    if (s->total > SNAPSHOT_MAX || s->index == 0)
        return;
    if (!same_incoming(r, s, m->header.from)) {
        forget_incoming(r);
        r->incoming.data = bytes_take_buf(buf_new(s->total ? s->total : 1), 0, s->total);
        r->incoming.index = s->index;
        r->incoming.last_term = s->last_term;
        r->incoming.total = s->total;
        r->incoming.crc = s->crc;
        r->incoming.from = m->header.from;
        r->incoming.term = s->term;
    }
    if (s->offset == r->incoming.have && s->data.len) {
        memcpy(r->incoming.data.owner->data + s->offset, s->data.ptr, s->data.len);
        r->incoming.have += s->data.len;
    }
    uint64_t next = r->incoming.have;
    if (next == s->total) {
        install(r, s);
        forget_incoming(r);
    }
    send_snapshot_result(r, m, next);
}

/* ---- snapshots of our own ---- */

bool raft_snapshot_due(const struct raft *r)
{
    if (r->rewrite_wanted || (r->writing && r->rewrite_writing) || r->applied == r->snapshot.index)
        return false;
    uint64_t since = MAX(r->snapshot.index, r->base_index);
    uint64_t bytes = raft_bytes_upto(r, r->applied) - raft_bytes_upto(r, since);
    return r->applied - r->snapshot.index >= r->opt.trim_entries ||
           (bytes > r->opt.trim_bytes && bytes > r->snapshot.data.len);
}

/* Of the state as applied; the log keeps a little, so that a follower that is just behind needs no snapshot.
 */
void raft_take_snapshot(struct raft *r)
{
    struct writer w = WRITER_INIT;
    r->host->ops->snapshot(r->host, &w);
    bytes_unref(&r->snapshot.data);
    r->snapshot = (struct raft_snapshot_state){r->applied, raft_term_at(r, r->applied), r->committed_members,
                                               writer_take(&w)};
    uint64_t keep = r->applied;
    while (keep > r->base_index && r->applied - keep < r->opt.trim_entries / 4 &&
           raft_bytes_upto(r, r->applied) - raft_bytes_upto(r, keep - 1) < r->opt.trim_bytes / 4)
        keep--;
    if (keep > r->base_index)
        raft_drop_prefix(r, keep, raft_term_at(r, keep));
    r->rewrite_wanted = true;
    raft_wake(r);
}
