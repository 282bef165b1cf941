/* Raft: membership changes, one at a time, and handing over the leadership. See raft_core.h. */
#include "metadata/raft_internal.h"

#define CAUGHT_UP_ENTRIES 64u
#define CATCH_UP_SILENCES 10u /* election timeouts without progress after which a newcomer is given up */
#define LEAVING_SILENCES  10u

bool raft_change_pending(const struct raft *r)
{
    return r->members_index > r->commit || r->newcomer.node;
}

/* May a change begin? Not before this leader has committed something of its own term: only then does it know
 * the last committed membership (the flaw that Ongaro found in single-server changes). */
static enum rc may_change(const struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return RC_NOT_LEADER;
    if (RAFT_MUTATED(RAFT_MUT_CHANGE_ANYTIME))
        return RC_OK;
    if (r->transfer_to.node || raft_change_pending(r) || r->commit < r->first_of_term)
        return RC_AGAIN;
    return RC_OK;
}

static void propose_members(struct raft *r, struct raft_members *m)
{
    struct writer w = WRITER_INIT;
    m->version = r->members.version + 1;
    raft_members_write(&w, m);
    raft_append_local(r, r->term, RAFT_MEMBERS, writer_take(&w));
}

enum rc raft_add(struct raft *r, struct raft_member who)
{
    int at = raft_node_at(&r->members, who.node);
    if (r->role != RAFT_LEADER)
        return RC_NOT_LEADER;
    if (at >= 0)
        return r->members.items[at].storage == who.storage ? RC_EXISTS : RC_CONFLICT;
    enum rc rc = may_change(r);
    if (rc)
        return rc;
    if (r->members.n == RAFT_MEMBERS_MAX)
        return RC_TOO_LARGE;
    for (uint32_t i = 0; i < r->n_progress;)
        if (r->progress[i].leaving)
            raft_progress_drop(r, &r->progress[i]);
        else
            i++;
    if (r->n_progress == PROGRESS_MAX)
        return RC_AGAIN;
    raft_progress_add(r, who);
    r->newcomer = who;
    r->newcomer_until_ms = env_mono_ms(r->env) + (uint64_t)CATCH_UP_SILENCES * r->opt.election_ms;
    r->heartbeat_wanted = true;
    raft_wake(r);
    return RC_OK;
}

static void send_timeout_now(struct raft *r, struct raft_member to)
{
    struct metadata_message m = {.kind = RAFT_TIMEOUT_NOW};
    m.timeout_now.term = r->term;
    raft_send(r, to, &m);
}

/* An answer came. A newcomer that has all but the newest counts from here on. */
void raft_change_progressed(struct raft *r, struct raft_progress *p)
{
    if (r->transfer_to.node && raft_member_eq(p->member, r->transfer_to) && p->match == raft_last_index(r))
        send_timeout_now(r, p->member);
    if (!r->newcomer.node || !raft_member_eq(p->member, r->newcomer))
        return;
    r->newcomer_until_ms = env_mono_ms(r->env) + (uint64_t)CATCH_UP_SILENCES * r->opt.election_ms;
    if (p->match < r->commit || p->match + CAUGHT_UP_ENTRIES < raft_last_index(r))
        return;
    struct raft_members m = r->members;
    uint32_t at = m.n++;
    for (; at > 0 && m.items[at - 1].node > r->newcomer.node; at--)
        m.items[at] = m.items[at - 1];
    m.items[at] = r->newcomer;
    r->newcomer = (struct raft_member){0};
    propose_members(r, &m);
}

enum rc raft_remove(struct raft *r, uint32_t node)
{
    int at = raft_node_at(&r->members, node);
    if (r->role != RAFT_LEADER)
        return RC_NOT_LEADER;
    if (at < 0)
        return RC_NOT_FOUND;
    if (r->members.n == 1)
        return RC_CONFLICT;
    enum rc rc = may_change(r);
    if (rc)
        return rc;
    struct raft_members m = r->members;
    struct raft_progress *p = raft_progress_of(r, m.items[at]);
    for (uint32_t i = (uint32_t)at; i + 1 < m.n; i++)
        m.items[i] = m.items[i + 1];
    m.n--;
    if (p) {
        p->leaving = true;
        p->left_at_ms = env_mono_ms(r->env);
    }
    propose_members(r, &m);
    return RC_OK;
}

/* The member that has most and was heard lately. */
static struct raft_progress *successor(struct raft *r, uint32_t node)
{
    struct raft_progress *best = NULL;
    for (uint32_t i = 0; i < r->n_progress; i++) {
        struct raft_progress *p = &r->progress[i];
        if (raft_member_at(&r->members, p->member) < 0 || (node && p->member.node != node) ||
            p->heard_ms + r->opt.election_ms < env_mono_ms(r->env))
            continue;
        if (!best || p->match > best->match)
            best = p;
    }
    return best;
}

enum rc raft_transfer(struct raft *r, uint32_t node)
{
    if (r->role != RAFT_LEADER)
        return RC_NOT_LEADER;
    if (r->transfer_to.node)
        return RC_AGAIN;
    struct raft_progress *p = successor(r, node);
    if (!p)
        return RC_NOT_FOUND;
    r->transfer_to = p->member;
    r->transfer_until_ms = env_mono_ms(r->env) + r->opt.election_ms;
    raft_change_tick(r);
    return RC_OK;
}

void raft_on_timeout_now(struct raft *r, const struct metadata_message *m)
{
    if (m->timeout_now.term != r->term || r->role != RAFT_FOLLOWER || !raft_may_stand(r))
        return;
    raft_campaign(r, false, true);
}

/* A change of the members is committed: the removed leader leaves, the removed follower is told for a while.
 */
void raft_change_committed(struct raft *r)
{
    r->heartbeat_wanted = true;
    raft_wake(r);
    if (raft_member_at(&r->committed_members, r->self) >= 0 || r->members_index > r->commit)
        return;
    raft_heartbeat(r); /* the commit of the change itself */
    struct raft_progress *p = successor(r, 0);
    if (p)
        send_timeout_now(r, p->member);
    raft_step_down(r);
}

static void drop_left(struct raft *r)
{
    uint64_t now = env_mono_ms(r->env);
    bool committed = r->members_index <= r->commit;
    for (uint32_t i = 0; i < r->n_progress;) {
        struct raft_progress *p = &r->progress[i];
        bool told =
            committed && p->match >= r->members_index && now > p->left_at_ms + 5 * r->opt.heartbeat_ms;
        if (p->leaving && (told || now > p->left_at_ms + LEAVING_SILENCES * (uint64_t)r->opt.election_ms))
            raft_progress_drop(r, p);
        else
            i++;
    }
}

/* With every heartbeat, and when something could go on at once. */
void raft_change_tick(struct raft *r)
{
    uint64_t now = env_mono_ms(r->env);
    drop_left(r);
    if (r->newcomer.node && now > r->newcomer_until_ms) {
        struct raft_progress *p = raft_progress_of(r, r->newcomer);
        if (p)
            raft_progress_drop(r, p);
        r->newcomer = (struct raft_member){0};
        raft_note(r);
    }
    if (!r->transfer_to.node)
        return;
    struct raft_progress *p = raft_progress_of(r, r->transfer_to);
    if (!p || now > r->transfer_until_ms) {
        r->transfer_to = (struct raft_member){0};
        raft_note(r);
    } else if (p->match == raft_last_index(r)) {
        send_timeout_now(r, p->member);
    }
}
