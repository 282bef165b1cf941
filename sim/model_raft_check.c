/* The oracle of the model of Raft, see model_raft.h: M-1 to M-5 of spec/cluster.md §11.2. */
#include "base/hash.h"
#include "sim/model_raft.h"
#include "sim/raft_check.h"

typedef unsigned long long ull;

/* ---- M-3, M-5: what is committed ---- */

static void look_at_key(struct mr_node *n, uint32_t *version, uint32_t *value)
{
    struct kv_entry e;
    *version = *value = 0;
    if (!kv_table_get(&n->server->table, SLICE_LIT(MR_KEY), &e))
        return;
    *version = e.version;
    *value = get_u32le(e.value.ptr);
}

static void check_members(struct mr_world *w, const struct raft_log_entry *e)
{
    struct reader r = reader_make(bytes_slice(e->data));
    struct raft_members m;
    raft_members_read(&r, &m);
    if (w->members.version && m.version != w->members.version + 1)
        explore_violated(w->x, "M-5: members of version %u after version %u", m.version, w->members.version);
    if (w->members.version && !raft_change_is_single(&w->members, &m))
        explore_violated(w->x, "M-5: members of version %u differ from the ones before in more than one",
                         m.version);
    w->members = m;
}

static void check_state(struct mr_node *n, uint64_t index, uint32_t version, uint32_t value)
{
    struct mr_world *w = n->world;
    if (w->log[index].version != version || w->log[index].value != value)
        explore_violated(w->x, "M-3: N%u has another state behind index %llu", n->index + 1, (ull)index);
}

/* The table has it already. While the server starts again it cannot be looked at: mr_check_node does. */
void mr_check_committed(struct mr_node *n, uint64_t index, const struct raft_log_entry *e)
{
    struct mr_world *w = n->world;
    uint32_t version = 0, value = 0;
    ASSERT(index < MR_INDEX_MAX);
    uint64_t entry = e ? hash64_combine(hash64(bytes_slice(e->data)), e->term << 8 | e->kind) | 1 : 0;
    explore_note(w->x, "  N%u: index %llu is committed%s", n->index + 1, (ull)index, e ? "" : " (snapshot)");
    if (n->server)
        look_at_key(n, &version, &value);
    if (index <= w->committed) {
        if (e && w->log[index].entry && w->log[index].entry != entry)
            explore_violated(w->x, "M-3: N%u commits something else at index %llu", n->index + 1, (ull)index);
        else if (n->server)
            check_state(n, index, version, value);
        return;
    }
    ASSERT(n->server);
    if (e && index != w->committed + 1)
        explore_violated(w->x, "M-3: index %llu is committed after %llu", (ull)index, (ull)w->committed);
    w->committed = index;
    w->log[index].entry = entry;
    w->log[index].version = version;
    w->log[index].value = value;
    if (e && e->kind == RAFT_MEMBERS)
        check_members(w, e);
    for (unsigned i = 0; i < w->n_requests; i++) {
        if (w->requests[i].kind == 'P' && w->requests[i].state == MR_REFUSED && value == i + 1)
            explore_violated(w->x, "M-1: request %u was answered as not done, and is done", i + 1);
    }
}

/* ---- M-3, M-4: leaders and promises ---- */

void mr_check_node(struct mr_node *n)
{
    struct mr_world *w = n->world;
    const struct raft *r = mr_raft(n);
    if (!r || explore_over(w->x))
        return;
    struct raft_numbers numbers;
    raft_numbers(r, &numbers);
    if (numbers.applied < n->applied)
        explore_violated(w->x, "M-3: N%u goes back from index %llu to %llu", n->index + 1, (ull)n->applied,
                         (ull)numbers.applied);
    n->applied = numbers.applied;
    uint32_t version, value;
    look_at_key(n, &version, &value);
    check_state(n, n->applied, version, value);
    if (raft_role(r) != RAFT_LEADER) {
        n->led = 0;
        return;
    }
    /* An entry of an earlier term may be on a majority and still be replaced. */
    if (n->led == r->term && n->led_applied < n->applied && raft_term_at(r, n->applied) != r->term)
        explore_violated(w->x, "M-3: N%u, leader in term %llu, commits index %llu of term %llu by counting",
                         n->index + 1, (ull)r->term, (ull)n->applied, (ull)raft_term_at(r, n->applied));
    n->led = r->term;
    n->led_applied = n->applied;
    ASSERT(r->term < MR_TERMS_MAX);
    struct raft_member *known = &w->leaders[r->term];
    if (known->node && !raft_member_eq(*known, r->self))
        explore_violated(w->x, "M-3: N%u and N%u lead in term %llu", known->node, n->index + 1, (ull)r->term);
    *known = r->self;
}

void mr_check_sent(struct mr_node *n, const struct metadata_message *m)
{
    struct mr_world *w = n->world;
    const char *promise = raft_promise(m);
    if (!promise)
        return;
    if (!raft_promise_durable(m, &n->disk))
        explore_violated(w->x, "M-3: N%u %s before that is durable", n->index + 1, promise);
    for (unsigned i = 0; i < w->n_wiped; i++)
        if (raft_member_eq(w->wiped[i], m->header.from))
            explore_violated(w->x, "M-4: N%u %s as the member whose disk was lost", n->index + 1, promise);
}

/* ---- M-1, M-2: requests ---- */

/* The first index, not before what had completed when the request began, behind which `fits`. Requests take
 * effect in the order of indexes, so the least is right. */
static uint64_t find(const struct mr_request *r,
                     bool (*fits)(const struct mr_world *w, uint64_t i, uint32_t a, uint32_t b), uint32_t a,
                     uint32_t b)
{
    const struct mr_world *w = r->world;
    for (uint64_t i = MAX(r->floor, 1); i <= w->committed; i++) {
        if (fits(w, i, a, b))
            return i;
    }
    return 0;
}

static bool is(const struct mr_world *w, uint64_t i, uint32_t version, uint32_t value)
{
    return w->log[i].version == version && w->log[i].value == value;
}

static bool is_not(const struct mr_world *w, uint64_t i, uint32_t version, uint32_t unused)
{
    return w->log[i].version != version;
}

static bool becomes(const struct mr_world *w, uint64_t i, uint32_t version, uint32_t value)
{
    return is(w, i, version, value) && !is(w, i - 1, version, value);
}

static void check_put(struct mr_request *r, enum metadata_outcome outcome)
{
    struct mr_world *w = r->world;
    uint64_t at = outcome == METADATA_DONE ? find(r, becomes, 2, r->number) : find(r, is_not, 1, 0);
    if (!at)
        explore_violated(w->x, "M-1: request %u is answered \"%s\": not so at any index from %llu to %llu",
                         r->number, outcome == METADATA_DONE ? "done" : "conflict", (ull)r->floor,
                         (ull)w->committed);
    for (unsigned i = 0; i < w->n_requests; i++) {
        const struct mr_request *other = &w->requests[i];
        if (outcome == METADATA_DONE && other != r && other->kind == 'P' && other->state == MR_DONE)
            explore_violated(w->x, "M-2: requests %u and %u both replaced version 1", r->number,
                             other->number);
    }
    w->floor = MAX(w->floor, at);
    r->state = outcome == METADATA_DONE ? MR_DONE : MR_REFUSED;
}

static void check_get(struct mr_request *r, const struct metadata_response *p)
{
    struct mr_world *w = r->world;
    uint32_t value = p->outcome == METADATA_DONE ? get_u32le(p->value.ptr) : 0;
    uint64_t at = find(r, is, p->version, value);
    if (!at)
        explore_violated(w->x, "M-1: request %u reads version %u: not so at any index from %llu to %llu",
                         r->number, p->version, (ull)r->floor, (ull)w->committed);
    w->floor = MAX(w->floor, at);
    r->state = MR_DONE;
}

void mr_check_answer(struct mr_request *r, const struct metadata_response *p)
{
    explore_note(r->world->x, "  request %u is answered: %u", r->number, (unsigned)p->outcome);
    if (p->outcome == METADATA_UNDECIDED)
        r->state = MR_UNDECIDED;
    else if (p->outcome != METADATA_DONE && p->outcome != METADATA_CONFLICT)
        r->state = MR_REFUSED;
    else if (r->kind == 'P')
        check_put(r, p->outcome);
    else
        check_get(r, p);
}
