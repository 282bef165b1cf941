/* Raft: elections. See raft_core.h. */
#include "metadata/raft_internal.h"

static uint32_t count_bits(uint32_t bits)
{
    return (uint32_t)__builtin_popcount(bits);
}

/* The last version in which this member counts, as far as it knows. */
static uint32_t counting_version(const struct raft *r)
{
    return raft_member_at(&r->members, r->self) >= 0 ? r->members.version : r->committed_members.version;
}

void raft_campaign(struct raft *r, bool pre, bool transfer)
{
    int self = raft_member_at(&r->members, r->self);
    r->leader = (struct raft_member){0};
    r->granted = self >= 0 ? 1u << self : 0;
    r->denied = 0;
    r->role = pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
    if (!pre) {
        r->term++;
        r->vote = r->self;
        r->state_dirty = true;
        r->vote_after_write = r->n_writes + 1;
    }
    raft_note(r);
    raft_arm_election(r);
    uint64_t last = raft_last_index(r);
    for (uint32_t i = 0; i < r->members.n; i++) {
        struct metadata_message m = {.kind = RAFT_VOTE};
        m.vote = (struct raft_vote){
            .term = r->term + (pre ? 1 : 0),
            .last_index = last,
            .last_term = raft_term_at(r, last),
            .members_version = counting_version(r),
            .pre = pre,
            .transfer = transfer,
        };
        if ((int)i == self)
            continue;
        if (pre)
            raft_send(r, r->members.items[i], &m);
        else
            raft_send_durable(r, r->members.items[i], &m);
    }
    raft_tally(r);
}

void raft_tally(struct raft *r)
{
    uint32_t granted = r->granted;
    int self = raft_member_at(&r->members, r->self);
    bool durable = r->n_written >= r->vote_after_write || RAFT_MUTATED(RAFT_MUT_VOTE_EARLY);
    if (r->role == RAFT_CANDIDATE && !durable && self >= 0)
        granted &= ~(1u << self);
    uint32_t quorum = raft_quorum(&r->members);
    if (count_bits(granted) >= quorum) {
        if (r->role == RAFT_PRE_CANDIDATE)
            raft_campaign(r, false, false);
        else if (r->role == RAFT_CANDIDATE)
            raft_become_leader(r);
    } else if (count_bits(r->denied) > r->members.n - quorum) {
        raft_step_down(r);
    }
}

/* The leader was heard not long ago: whoever wants to replace it has only lost sight of it. */
static bool leader_alive(const struct raft *r)
{
    if (r->role == RAFT_LEADER)
        return true;
    return r->leader.node && env_mono_ms(r->env) < r->heard_leader_ms + r->opt.election_ms;
}

static bool up_to_date(const struct raft *r, const struct raft_vote *v)
{
    uint64_t last = raft_last_index(r);
    uint64_t term = raft_term_at(r, last);
    return v->last_term > term || (v->last_term == term && v->last_index >= last);
}

/* The members' version of which the candidate was removed without knowing, or 0. */
static uint32_t removed_in(const struct raft *r, const struct raft_vote *v, struct raft_member candidate)
{
    const struct raft_members *m = &r->committed_members;
    return m->version > v->members_version && raft_member_at(m, candidate) < 0 ? m->version : 0;
}

static void answer(struct raft *r, struct raft_member to, bool pre, bool granted, uint64_t term,
                   uint32_t removed)
{
    struct metadata_message m = {.kind = RAFT_VOTE_RESULT};
    m.vote_result = (struct raft_vote_result){term, pre, granted, removed};
    if (pre || !granted)
        raft_send(r, to, &m);
    else
        raft_send_durable(r, to, &m);
}

void raft_on_vote(struct raft *r, const struct metadata_message *m)
{
    const struct raft_vote *v = &m->vote;
    struct raft_member from = m->header.from;
    uint32_t removed = removed_in(r, v, from);
    if (v->pre) {
        bool grant = v->term > r->term && !leader_alive(r) && !removed && up_to_date(r, v);
        answer(r, from, true, grant, grant ? v->term : r->term, removed);
        return;
    }
    if (leader_alive(r) && !v->transfer)
        return;
    if (v->term > r->term)
        raft_become_follower(r, v->term, (struct raft_member){0});
    bool free_vote = r->vote.node == 0 || raft_member_eq(r->vote, from);
    bool grant = v->term == r->term && free_vote && !removed && up_to_date(r, v) && r->role != RAFT_LEADER &&
                 r->leader.node == 0;
    if (grant && r->vote.node == 0) {
        r->vote = from;
        r->state_dirty = true;
        r->role = RAFT_FOLLOWER;
        raft_arm_election(r);
    }
    answer(r, from, false, grant, r->term, removed);
}

void raft_on_vote_result(struct raft *r, const struct metadata_message *m)
{
    const struct raft_vote_result *v = &m->vote_result;
    int at = raft_member_at(&r->members, m->header.from);
    if (at < 0)
        return;
    if (v->removed_in > counting_version(r) && v->removed_in > r->removed_in) {
        r->removed_in = v->removed_in;
        r->state_dirty = true;
        raft_step_down(r);
        return;
    }
    bool mine = v->pre ? r->role == RAFT_PRE_CANDIDATE && (!v->granted || v->term == r->term + 1)
                       : r->role == RAFT_CANDIDATE && v->term == r->term;
    if (!mine)
        return;
    if (v->granted)
        r->granted |= 1u << at;
    else
        r->denied |= 1u << at;
    raft_tally(r);
}
