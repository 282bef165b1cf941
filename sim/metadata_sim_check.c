/* Invariants of the metadata server, watched while the simulation runs (spec/cluster.md §11.2: M-2 to M-5,
 * N-3, N-4). M-1 is in metadata_sim_history.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "sim/metadata_sim.h"
#include "sim/raft_check.h"

static struct committed_entry *slot(struct world *w, uint64_t index)
{
    while (w->log.len <= index) {
        struct committed_entry none = {0};
        VEC_PUSH(&w->log, none);
    }
    return &w->log.items[index];
}

/* M-5: versions go up one by one, and consecutive memberships differ in at most one member, so that their
 * majorities intersect. */
static void check_members(struct sim_node *n, const struct raft_log_entry *e)
{
    struct world *w = n->world;
    struct reader r = reader_make(bytes_slice(e->data));
    struct raft_members m;
    raft_members_read(&r, &m);
    if (m.version == 0 || m.version >= ARRAY_LEN(w->members))
        return;
    const struct raft_members *before = &w->members[m.version - 1];
    if (m.version > 2 && before->version == 0)
        sim_fail(w, "M-5: members of version %u without version %u", m.version, m.version - 1);
    if (before->version && !raft_change_is_single(before, &m))
        sim_fail(w, "M-5: members of version %u differ from the ones before in more than one", m.version);
    if (w->members[m.version].version == 0)
        w->n_changes++;
    w->members[m.version] = m;
    w->members_max = MAX(w->members_max, m.version);
}

/* M-3: what is committed at an index is the same everywhere and for ever. */
void sim_check_committed(struct sim_node *n, uint64_t index, const struct raft_log_entry *e)
{
    struct world *w = n->world;
    if (!e) {
        w->n_restores++;
        return;
    }
    struct committed_entry *c = slot(w, index);
    uint64_t hash = hash64_combine(hash64(bytes_slice(e->data)), e->term << 8 | e->kind);
    hash += hash == 0;
    if (c->hash && c->hash != hash)
        sim_fail(w, "M-3: N%u committed something else at index %llu (term %llu)", n->id,
                 (unsigned long long)index, (unsigned long long)e->term);
    bool first = c->hash == 0;
    c->hash = hash;
    if (first && e->kind == RAFT_MEMBERS)
        check_members(n, e);
}

/* N-3: what a node has seen of a key only moves forward (the last key may be deleted and begins again). */
void sim_check_applied(struct sim_node *n, struct slice key, uint32_t version)
{
    if (key.len != 5 || memcmp(key.ptr, "key-", 4) != 0)
        return;
    uint32_t k = (uint32_t)(key.ptr[4] - '0');
    if (k >= KEYS - 1)
        return;
    if (version < n->seen[k])
        sim_fail(n->world, "N-3: N%u saw version %u of key-%u after %u", n->id, version, k, n->seen[k]);
    n->seen[k] = version;
}

static void check_leader(struct sim_node *n, const struct raft_server_status *st)
{
    struct world *w = n->world;
    uint64_t term = st->raft.term;
    if (!st->leads)
        return;
    if (term > 1000000)
        sim_fail(w, "N-4: a message of another cluster had an effect");
    while (w->leaders.len <= term) {
        struct raft_member none = {0};
        VEC_PUSH(&w->leaders, none);
    }
    struct raft_member *known = &w->leaders.items[term];
    if (known->node && !raft_member_eq(*known, st->self))
        sim_fail(w, "M-3: N%u and N%u lead in term %llu", known->node, n->id, (unsigned long long)term);
    *known = st->self;
}

void sim_check_node(struct sim_node *n)
{
    struct world *w = n->world;
    if (!n->alive)
        return;
    struct raft_server_status st;
    raft_server_status(n->server, &st);
    check_leader(n, &st);
    if (st.raft.term > 1000000)
        sim_fail(w, "N-4: a message of another cluster had an effect");
    if (st.raft.applied == n->seen_applied)
        return;
    if (st.raft.applied < n->seen_applied)
        sim_fail(w, "N%u went back from index %llu to %llu", n->id, (unsigned long long)n->seen_applied,
                 (unsigned long long)st.raft.applied);
    n->seen_applied = st.raft.applied;
    /* Equal prefixes make equal tables, also through snapshots. */
    struct writer t = WRITER_INIT;
    kv_table_write(raft_server_local(n->server), &t);
    uint64_t hash = hash64(writer_slice(&t)) | 1;
    writer_free(&t);
    struct committed_entry *c = slot(w, st.raft.applied);
    if (c->state && c->state != hash)
        sim_fail(w, "N%u has another state behind index %llu", n->id, (unsigned long long)st.raft.applied);
    c->state = hash;
    if (st.raft.last_index - st.raft.applied < 64 && !w->healed &&
        st.raft.log_bytes > w->options.raft.trim_bytes * 3 + w->options.raft.uncommitted_bytes +
                                2 * st.raft.snapshot_bytes + 65536)
        sim_fail(w, "the log of N%u has grown to %llu bytes", n->id, (unsigned long long)st.raft.log_bytes);
}

/* M-3: a vote and an acknowledgement are sent only when they are durable. M-4: a member whose disk was lost
 * does neither. */
void sim_check_sent(struct sim_node *n, struct slice message)
{
    struct world *w = n->world;
    struct metadata_message m;
    struct err err = {0};
    if (metadata_message_decode(message, &m, &err))
        sim_fail(w, "N%u sent what cannot be read: %s", n->id, err.msg);
    const char *promise = raft_promise(&m);
    if (promise && !raft_promise_durable(&m, &n->disk.model))
        sim_fail(w, "M-3: N%u %s before that is durable", n->id, promise);
    for (uint32_t i = 0; i < w->n_wiped; i++)
        if (raft_member_eq(w->wiped[i], m.header.from) && promise)
            sim_fail(w, "M-4: N%u %s as the member whose disk was lost", n->id, promise);
}

/* M-2: at most one successful put per key and expected version. */
static void check_swaps(struct world *w)
{
    for (uint32_t i = 0; i < w->n_ops; i++) {
        const struct op_record *a = &w->ops[i];
        if (a->op.kind != KV_PUT || a->end != END_OK || a->key == KEYS - 1)
            continue;
        for (uint32_t k = i + 1; k < w->n_ops; k++) {
            const struct op_record *b = &w->ops[k];
            if (b->op.kind == KV_PUT && b->end == END_OK && b->key == a->key &&
                b->op.expected_version == a->op.expected_version)
                sim_fail(w, "M-2: operations %u and %u both replaced version %u of key-%u", i, k,
                         a->op.expected_version, a->key);
        }
    }
}

/* After healing and some quiet: one leader, all members equal, nothing lost that was imported. */
static void check_converged(struct world *w)
{
    struct raft_server_status st, leader = {0};
    const struct sim_node *lead = NULL;
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        if (!w->nodes[i].alive)
            continue;
        raft_server_status(w->nodes[i].server, &st);
        if (st.leads && st.raft.term >= leader.raft.term) {
            leader = st;
            lead = &w->nodes[i];
        }
    }
    if (!lead)
        sim_fail(w, "V-1: no leader after healing");
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        if (!n->alive)
            continue;
        raft_server_status(n->server, &st);
        if (st.state != RAFT_MEMBER)
            continue;
        if (st.raft.applied + 50 < leader.raft.applied)
            sim_fail(w, "V-1: N%u is at %llu, the leader N%u at %llu", n->id,
                     (unsigned long long)st.raft.applied, lead->id, (unsigned long long)leader.raft.applied);
    }
    struct kv_entry e;
    if (!kv_table_get(raft_server_local(lead->server), SLICE_LIT("imported"), &e) || e.version != 7)
        sim_fail(w, "what was there at the beginning is lost");
}

void sim_check_end(struct world *w)
{
    check_swaps(w);
    if (!sim_quorum_possible(w))
        return;
    check_converged(w);
    for (uint32_t i = 0; i < w->n_clients; i++) {
        const struct sim_client *c = &w->clients[i];
        if (w->n_ops < OPS_MAX && c->ok_ms + 3000 < w->env.mono_ms)
            sim_fail(w, "V-1: client %u has had no success for %llu ms after healing", i,
                     (unsigned long long)(w->env.mono_ms - c->ok_ms));
    }
}
