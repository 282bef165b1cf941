/* Raft: roles, terms, time, the log in memory and its way to the disk. See raft_core.h. */
#include <stdlib.h>

#include "metadata/raft_internal.h"

#define RETRY_WRITE_MS 250u
#define NEVER          UINT64_MAX

#ifdef RAFT_MUTATIONS
enum raft_mutation raft_mutation;
#endif

void raft_options_default(struct raft_options *o)
{
    *o = (struct raft_options){
        .heartbeat_ms = 100,
        .election_ms = 500,
        .trim_entries = 1000,
        .trim_bytes = 1u << 20,
        .message_bytes = 64u << 10,
        .in_flight_bytes = 1u << 20,
        .uncommitted_bytes = 4u << 20,
    };
}

/* ---- members ---- */

int raft_member_at(const struct raft_members *m, struct raft_member who)
{
    int at = raft_node_at(m, who.node);
    return at >= 0 && m->items[at].storage == who.storage ? at : -1;
}

int raft_node_at(const struct raft_members *m, uint32_t node)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (m->items[i].node == node)
            return (int)i;
    return -1;
}

uint32_t raft_quorum(const struct raft_members *m)
{
    return m->n / 2 + 1;
}

/* ---- the log in memory ---- */

uint64_t raft_last_index(const struct raft *r)
{
    return r->base_index + r->log.len;
}

const struct raft_log_entry *raft_entry(const struct raft *r, uint64_t index)
{
    if (index <= r->base_index || index > raft_last_index(r))
        return NULL;
    return &r->log.items[index - r->base_index - 1];
}

uint64_t raft_term_at(const struct raft *r, uint64_t index)
{
    const struct raft_log_entry *e = raft_entry(r, index);
    return e ? e->term : index == r->base_index ? r->base_term : 0;
}

static uint64_t bytes_of(const struct raft_log_entry *e)
{
    return e->data.len + 16;
}

uint64_t raft_bytes_upto(const struct raft *r, uint64_t index)
{
    const struct raft_log_entry *e = raft_entry(r, MIN(index, raft_last_index(r)));
    return e ? e->bytes_before + bytes_of(e) : r->base_bytes;
}

static void use_members(struct raft *r, const struct raft_members *m, uint64_t index)
{
    r->members = *m;
    r->members_index = index;
    raft_note(r);
}

static struct raft_members decode_members(const struct raft_log_entry *e)
{
    struct reader in = reader_make(bytes_slice(e->data));
    struct raft_members m;
    raft_members_read(&in, &m);
    ASSERT_MSG(reader_done(&in), "a membership in the log was checked when it came in");
    return m;
}

/* The last membership of the log, after entries vanished. */
static void find_members(struct raft *r)
{
    for (uint64_t i = raft_last_index(r); i > r->base_index && i > r->snapshot.index; i--) {
        const struct raft_log_entry *e = raft_entry(r, i);
        if (e->kind != RAFT_MEMBERS)
            continue;
        struct raft_members m = decode_members(e);
        use_members(r, &m, i);
        return;
    }
    use_members(r, &r->snapshot.members, r->snapshot.index);
}

void raft_append_local(struct raft *r, uint64_t term, enum raft_entry_kind kind, struct bytes data_take)
{
    struct raft_log_entry e = {.term = term, .kind = kind, .data = data_take};
    e.bytes_before = raft_bytes_upto(r, raft_last_index(r));
    ASSERT(term >= raft_term_at(r, raft_last_index(r)));
    VEC_PUSH(&r->log, e);
    uint64_t index = raft_last_index(r);
    r->entries_from = MIN(r->entries_from, index);
    if (kind == RAFT_MEMBERS) {
        struct raft_members m = decode_members(&e);
        use_members(r, &m, index);
    }
    raft_wake(r);
}

void raft_truncate(struct raft *r, uint64_t from)
{
    ASSERT_MSG(from > r->commit, "committed entry %llu would vanish", (unsigned long long)from);
    while (raft_last_index(r) >= from)
        bytes_unref(&r->log.items[--r->log.len].data);
    r->durable = MIN(r->durable, from - 1);
    r->writing_last = MIN(r->writing_last, from - 1);
    r->verified = MIN(r->verified, from - 1);
    if (r->members_index >= from)
        find_members(r);
}

void raft_drop_prefix(struct raft *r, uint64_t upto, uint64_t term_of_upto)
{
    ASSERT(upto >= r->base_index && upto <= raft_last_index(r));
    uint64_t bytes = raft_bytes_upto(r, upto);
    size_t n = (size_t)(upto - r->base_index);
    for (size_t i = 0; i < n; i++)
        bytes_unref(&r->log.items[i].data);
    if (n)
        memmove(r->log.items, r->log.items + n, (r->log.len - n) * sizeof(r->log.items[0]));
    r->log.len -= n;
    r->base_index = upto;
    r->base_term = term_of_upto;
    r->base_bytes = bytes;
}

/* ---- sending ---- */

void raft_send(struct raft *r, struct raft_member to, struct metadata_message *m)
{
    m->header.to = to;
    r->host->ops->send(r->host, m);
}

static bool disk_dirty(const struct raft *r)
{
    return r->state_dirty || r->rewrite_wanted || r->entries_from != NEVER;
}

/* The write after which all that is decided now is on disk. */
static uint64_t covering_write(const struct raft *r)
{
    return r->n_writes + (disk_dirty(r) ? 1 : 0);
}

void raft_send_durable(struct raft *r, struct raft_member to, struct metadata_message *m)
{
    uint64_t after = covering_write(r);
    if (after <= r->n_written || RAFT_MUTATED(RAFT_MUT_VOTE_EARLY)) {
        raft_send(r, to, m);
        return;
    }
    if (r->n_held == HELD_MAX)
        return; /* as if lost: votes are asked for again */
    m->header.to = to;
    r->held[r->n_held++] = (struct raft_held){after, *m};
    raft_wake(r);
}

static void release_held(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_held; i++) {
        if (r->held[i].after_write <= r->n_written)
            r->host->ops->send(r->host, &r->held[i].message);
        else
            r->held[kept++] = r->held[i];
    }
    r->n_held = kept;
}

/* ---- disk ---- */

/* The file is rewritten when it is some times larger than what it says. */
static uint64_t journal_limit(const struct raft *r)
{
    uint64_t live = r->snapshot.data.len + raft_bytes_upto(r, raft_last_index(r)) - r->base_bytes;
    return 2 * live + 2 * r->opt.trim_bytes;
}

static void start_write(struct raft *r)
{
    if (r->writing || env_timer_armed(&r->retry) || !disk_dirty(r))
        return;
    struct writer w = WRITER_INIT;
    bool rewrite = r->rewrite_wanted || r->journal_bytes > journal_limit(r);
    if (rewrite) {
        raft_write_all(r, &w);
        r->journal_bytes = 0;
    } else {
        /* Entries before the state: its commit never points behind what the frame holds. */
        if (r->entries_from != NEVER)
            raft_write_entries(r, MAX(r->entries_from, r->base_index + 1), &w);
        raft_write_state(r, &w);
        r->journal_bytes += w.len;
    }
    r->writing = true;
    r->n_writes++;
    r->state_writing = r->state_dirty;
    r->rewrite_writing = rewrite;
    r->writing_from = r->entries_from;
    r->writing_last = raft_last_index(r);
    r->state_dirty = r->rewrite_wanted = false;
    r->entries_from = NEVER;
    r->host->ops->write(r->host, writer_take(&w), rewrite);
}

static void write_failed(struct raft *r)
{
    r->state_dirty |= r->state_writing;
    r->rewrite_wanted |= r->rewrite_writing;
    r->entries_from = MIN(r->entries_from, r->writing_from);
    if (r->entries_from > raft_last_index(r))
        r->entries_from = NEVER;
    if (!r->write_failed)
        raft_note(r);
    r->write_failed = true;
    env_timer_arm(r->env, &r->retry, RETRY_WRITE_MS);
}

void raft_written(struct raft *r, enum rc rc)
{
    ASSERT(r->writing);
    r->writing = false;
    if (rc) {
        write_failed(r);
        return;
    }
    if (r->write_failed)
        raft_note(r);
    r->write_failed = false;
    r->n_written = r->n_writes;
    r->durable = MAX(r->durable, MIN(r->writing_last, raft_last_index(r)));
    release_held(r);
    if (r->role == RAFT_LEADER)
        raft_count_commit(r);
    else if (r->role == RAFT_CANDIDATE)
        raft_tally(r);
    else
        raft_acknowledge(r);
    raft_wake(r);
}

/* ---- committing ---- */

static void apply_members(struct raft *r, const struct raft_log_entry *e)
{
    struct raft_members m = decode_members(e);
    bool was = raft_member_at(&r->committed_members, r->self) >= 0;
    r->committed_members = m;
    if (was && raft_member_at(&m, r->self) < 0 && m.version > r->removed_in) {
        r->removed_in = m.version;
        r->state_dirty = true;
    }
    raft_note(r);
}

void raft_advance_commit(struct raft *r, uint64_t commit)
{
    commit = MIN(commit, raft_last_index(r));
    if (commit <= r->commit)
        return;
    r->commit = commit;
    bool members_changed = false;
    while (r->applied < r->commit) {
        const struct raft_log_entry *e = raft_entry(r, ++r->applied);
        ASSERT(e);
        if (e->kind == RAFT_MEMBERS) {
            apply_members(r, e);
            members_changed = true;
        }
        r->host->ops->apply(r->host, r->applied, e);
    }
    if (raft_snapshot_due(r))
        raft_take_snapshot(r);
    if (r->role == RAFT_LEADER && r->confirmed && r->commit >= r->first_of_term)
        raft_note(r); /* reads that waited for the first entry of the term */
    if (members_changed && r->role == RAFT_LEADER)
        raft_change_committed(r);
}

/* ---- roles ---- */

void raft_arm_election(struct raft *r)
{
    uint64_t spread = env_random(r->env) % r->opt.election_ms;
    env_timer_arm(r->env, &r->timer, r->opt.election_ms + spread);
}

void raft_become_follower(struct raft *r, uint64_t term, struct raft_member leader)
{
    ASSERT(term >= r->term);
    if (term > r->term) {
        r->term = term;
        r->vote = (struct raft_member){0};
        r->state_dirty = true;
    }
    raft_progress_clear(r);
    r->role = RAFT_FOLLOWER;
    r->leader = leader;
    r->heard_leader_ms = leader.node ? env_mono_ms(r->env) : 0;
    r->verified = r->commit;
    r->newcomer = r->transfer_to = (struct raft_member){0};
    raft_arm_election(r);
    raft_note(r);
}

void raft_step_down(struct raft *r)
{
    raft_become_follower(r, r->term, (struct raft_member){0});
}

void raft_become_leader(struct raft *r)
{
    r->role = RAFT_LEADER;
    r->leader = r->self;
    r->first_of_term = raft_last_index(r) + 1;
    r->newcomer = r->transfer_to = (struct raft_member){0};
    r->confirmed = r->round;
    raft_progress_clear(r);
    for (uint32_t i = 0; i < r->members.n; i++)
        if (!raft_member_eq(r->members.items[i], r->self))
            raft_progress_add(r, r->members.items[i]);
    raft_append_local(r, r->term, RAFT_NOOP, BYTES_EMPTY);
    r->heartbeat_wanted = true;
    env_timer_arm(r->env, &r->timer, r->opt.heartbeat_ms);
    raft_note(r);
}

/* A leader that hears no majority is none (spec §2.3 "check-quorum"). */
static bool hears_quorum(const struct raft *r)
{
    uint64_t now = env_mono_ms(r->env);
    uint32_t heard = 0;
    for (uint32_t i = 0; i < r->members.n; i++) {
        if (raft_member_eq(r->members.items[i], r->self)) {
            heard++;
            continue;
        }
        for (uint32_t k = 0; k < r->n_progress; k++)
            if (raft_member_eq(r->progress[k].member, r->members.items[i]) &&
                r->progress[k].heard_ms + r->opt.election_ms >= now)
                heard++;
    }
    return heard >= raft_quorum(&r->members);
}

static void timer_fired(struct env_timer *t)
{
    struct raft *r = CONTAINER_OF(t, struct raft, timer);
    if (r->role != RAFT_LEADER) {
        r->leader = (struct raft_member){0};
        raft_note(r);
        if (raft_may_stand(r))
            raft_campaign(r, true, false);
        else
            raft_arm_election(r);
        return;
    }
    if (!hears_quorum(r)) {
        raft_step_down(r);
        return;
    }
    raft_change_tick(r);
    if (r->role != RAFT_LEADER)
        return;
    r->heartbeat_wanted = true;
    env_timer_arm(r->env, &r->timer, r->opt.heartbeat_ms);
    raft_wake(r);
}

static void retry_fired(struct env_timer *t)
{
    raft_wake(CONTAINER_OF(t, struct raft, retry));
}

static void flush(struct env_task *t)
{
    struct raft *r = CONTAINER_OF(t, struct raft, flush);
    if (r->role == RAFT_LEADER) {
        if (r->round_wanted) {
            r->round++;
            r->round_wanted = false;
            r->heartbeat_wanted = true;
            raft_count_rounds(r);
        }
        if (r->heartbeat_wanted)
            raft_heartbeat(r);
        r->heartbeat_wanted = false;
        raft_send_more(r);
    }
    start_write(r);
    if (r->changed) {
        r->changed = false;
        r->host->ops->changed(r->host);
    }
}

void raft_wake(struct raft *r)
{
    env_defer(r->env, &r->flush);
}

void raft_note(struct raft *r)
{
    r->changed = true;
    raft_wake(r);
}

void raft_peer_lost(struct raft *r, uint32_t node)
{
    if (r->role != RAFT_FOLLOWER || node == 0 || r->leader.node != node)
        return;
    r->heard_leader_ms = 0;
    r->leader = (struct raft_member){0};
    env_timer_arm(r->env, &r->timer, env_random(r->env) % r->opt.heartbeat_ms);
    raft_note(r);
}

/* ---- input ---- */

/* False: dropped. A higher term makes a follower of us, except where the question is only whether. */
static bool admit(struct raft *r, const struct metadata_message *m, uint64_t term)
{
    if (term <= r->term)
        return true;
    bool from_leader = m->kind == RAFT_APPEND || m->kind == RAFT_SNAPSHOT;
    raft_become_follower(r, term, from_leader ? m->header.from : (struct raft_member){0});
    return true;
}

void raft_receive(struct raft *r, const struct metadata_message *m)
{
    /* Meant for another disk under this node's id, or not for us: M-4. */
    if (!raft_member_eq(m->header.to, r->self) || m->header.from.node == 0 ||
        raft_member_eq(m->header.from, r->self))
        return;
    switch (m->kind) {
    case RAFT_VOTE:
        raft_on_vote(r, m);
        break;
    case RAFT_VOTE_RESULT:
        if (!(m->vote_result.pre && m->vote_result.granted))
            admit(r, m, m->vote_result.term);
        raft_on_vote_result(r, m);
        break;
    case RAFT_APPEND:
        admit(r, m, m->append.term);
        raft_on_append(r, m);
        break;
    case RAFT_APPEND_RESULT:
        admit(r, m, m->append_result.term);
        raft_on_append_result(r, m);
        break;
    case RAFT_SNAPSHOT:
        admit(r, m, m->snapshot.term);
        raft_on_snapshot(r, m);
        break;
    case RAFT_SNAPSHOT_RESULT:
        admit(r, m, m->snapshot_result.term);
        raft_on_snapshot_result(r, m);
        break;
    case RAFT_TIMEOUT_NOW:
        raft_on_timeout_now(r, m);
        break;
    case METADATA_REQUEST:
    case METADATA_RESPONSE:
        return;
    }
    raft_wake(r);
}

enum rc raft_propose(struct raft *r, struct slice command, uint64_t *index)
{
    if (r->role != RAFT_LEADER)
        return RC_NOT_LEADER;
    if (r->transfer_to.node || raft_member_at(&r->members, r->self) < 0)
        return RC_UNAVAILABLE;
    if (r->write_failed)
        return RC_NO_SPACE;
    uint64_t last = raft_last_index(r);
    if (raft_bytes_upto(r, last) - raft_bytes_upto(r, r->commit) > r->opt.uncommitted_bytes)
        return RC_OVERLOADED;
    raft_append_local(r, r->term, RAFT_COMMAND, bytes_copy(command));
    *index = raft_last_index(r);
    return RC_OK;
}

uint64_t raft_read_ticket(struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return 0;
    r->round_wanted = true;
    raft_wake(r);
    return r->round + 1;
}

uint64_t raft_confirmed(const struct raft *r)
{
    if (RAFT_MUTATED(RAFT_MUT_READ_UNCONFIRMED) && r->role == RAFT_LEADER)
        return r->round + 1;
    return r->role == RAFT_LEADER && r->commit >= r->first_of_term ? r->confirmed : 0;
}

/* ---- accessors ---- */

enum raft_role raft_role(const struct raft *r)
{
    return r->role;
}

struct raft_member raft_self(const struct raft *r)
{
    return r->self;
}

struct raft_member raft_leader(const struct raft *r)
{
    return r->leader;
}

uint64_t raft_term(const struct raft *r)
{
    return r->term;
}

const struct raft_members *raft_members_committed(const struct raft *r)
{
    return &r->committed_members;
}

bool raft_is_member(const struct raft *r)
{
    return raft_member_at(&r->committed_members, r->self) >= 0 &&
           r->committed_members.version > r->removed_in;
}

bool raft_may_stand(const struct raft *r)
{
    /* Whoever is taken out by a change that is not committed may be needed to commit it: the others may have
     * less in their logs and not be electable. */
    bool counts = raft_member_at(&r->members, r->self) >= 0 ||
                  (r->members_index > r->commit && raft_member_at(&r->committed_members, r->self) >= 0);
    return counts && r->members.version > r->removed_in;
}

bool raft_removed(const struct raft *r)
{
    return r->removed_in && !raft_is_member(r);
}

uint64_t raft_fingerprint(const struct raft *r)
{
    return r->fingerprint;
}

bool raft_disk_full(const struct raft *r)
{
    return r->write_failed;
}

void raft_numbers(const struct raft *r, struct raft_numbers *out)
{
    *out = (struct raft_numbers){
        .term = r->term,
        .applied = r->applied,
        .commit = r->commit,
        .first_index = r->base_index + 1,
        .last_index = raft_last_index(r),
        .snapshot_index = r->snapshot.index,
        .snapshot_bytes = r->snapshot.data.len,
        .log_bytes = raft_bytes_upto(r, raft_last_index(r)) - r->base_bytes,
    };
}

/* ---- life ---- */

/* Move what was read from the disk into the object. */
static void take_durable(struct raft *r, struct raft_durable *d)
{
    r->self = d->self;
    r->fingerprint = d->fingerprint;
    r->cluster_name = d->cluster_name;
    r->term = d->term;
    r->vote = d->vote;
    r->removed_in = d->removed_in;
    r->snapshot = d->snapshot;
    r->base_index = d->base_index;
    r->base_term = d->base_term;
    r->log.items = d->entries.items;
    r->log.len = d->entries.len;
    r->log.cap = d->entries.cap;
    *d = (struct raft_durable){0};
    uint64_t before = 0;
    for (size_t i = 0; i < r->log.len; i++) {
        r->log.items[i].bytes_before = before;
        before += bytes_of(&r->log.items[i]);
    }
    r->durable = raft_last_index(r);
    r->commit = r->applied = r->snapshot.index;
    r->committed_members = r->snapshot.members;
    find_members(r);
}

enum rc raft_new(struct env *env, struct raft_host *host, const struct raft_options *o,
                 struct raft_durable *durable, struct raft **out, struct err *err)
{
    ASSERT(durable->self.node);
    ASSERT(o->heartbeat_ms && o->election_ms > o->heartbeat_ms && o->message_bytes);
    struct raft *r = xcalloc(1, sizeof(*r));
    r->env = env;
    r->host = host;
    r->opt = *o;
    r->entries_from = NEVER;
    env_timer_init(&r->timer, timer_fired);
    env_timer_init(&r->retry, retry_fired);
    env_task_init(&r->flush, flush);
    uint64_t commit = durable->commit;
    take_durable(r, durable);
    if (r->snapshot.index) {
        enum rc rc = host->ops->restore(host, r->snapshot.index, bytes_slice(r->snapshot.data), err);
        if (rc) {
            raft_free(r);
            return rc;
        }
    }
    raft_advance_commit(r, commit);
    /* Nobody else to wait for, or ask at once: pre-vote disturbs no leader. */
    uint64_t wait = r->members.n > 1 ? env_random(env) % o->heartbeat_ms : 0;
    env_timer_arm(env, &r->timer, wait);
    *out = r;
    return RC_OK;
}

void raft_free(struct raft *r)
{
    env_timer_cancel(r->env, &r->timer);
    env_timer_cancel(r->env, &r->retry);
    env_undefer(&r->flush);
    raft_progress_clear(r);
    for (size_t i = 0; i < r->log.len; i++)
        bytes_unref(&r->log.items[i].data);
    VEC_FREE(&r->log);
    bytes_unref(&r->snapshot.data);
    bytes_unref(&r->incoming.data);
    free(r->cluster_name);
    free(r);
}
