/* Choosing replica sets: see placement.h. */
#include "controller/placement.h"

#include "base/hash.h"

struct placement_node *placement_find(const struct placement_nodes *n, uint32_t id)
{
    size_t low = 0, high = n->len;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (n->items[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n->len && n->items[low].id == id ? &n->items[low] : NULL;
}

bool placement_set_has(const struct placement_set *s, uint32_t id)
{
    for (unsigned i = 0; i < s->len; i++)
        if (s->ids[i] == id)
            return true;
    return false;
}

bool placement_set_is(const struct placement_set *s, const uint32_t *ids, size_t n)
{
    if (n != s->len)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!placement_set_has(s, ids[i]))
            return false;
    return true;
}

uint64_t placement_hash(uint32_t partition, uint32_t node)
{
    uint32_t both[2] = {partition, node};
    return hash64(slice_make(both, sizeof(both)));
}

/* ---- scopes ---- */

/* True if no member of the set is in the domain of the node at that scope, and it has one. */
static bool new_domain(const struct placement_nodes *n, const struct placement_set *s,
                       const struct placement_node *node, enum location_scope scope)
{
    if (node->domain[scope] == NO_DOMAIN)
        return false;
    for (unsigned i = 0; i < s->len; i++) {
        const struct placement_node *other = placement_find(n, s->ids[i]);
        if (other && other->domain[scope] == node->domain[scope])
            return false;
    }
    return true;
}

static unsigned domains(const struct placement_nodes *n, const struct placement_set *s,
                        enum location_scope scope)
{
    struct placement_set seen = {.len = 0};
    for (unsigned i = 0; i < s->len; i++) {
        const struct placement_node *node = placement_find(n, s->ids[i]);
        if (node && new_domain(n, &seen, node, scope))
            seen.ids[seen.len++] = s->ids[i];
    }
    return seen.len;
}

bool placement_satisfies(const struct placement_nodes *n, const struct replication *r,
                         const struct placement_set *s)
{
    if (s->len < replication_copies(r))
        return false;
    for (enum location_scope scope = SCOPE_ZONE; scope < SCOPES; scope++)
        if (replication_at(r, scope) > 0 && domains(n, s, scope) < replication_at(r, scope))
            return false;
    return true;
}

/* At how many scopes that still lack domains the node would add one. */
static unsigned gain(const struct placement_nodes *n, const struct replication *r,
                     const struct placement_set *s, const struct placement_node *node)
{
    unsigned total = 0;
    for (enum location_scope scope = SCOPE_ZONE; scope < SCOPES; scope++)
        if (replication_at(r, scope) > 0 && new_domain(n, s, node, scope) &&
            domains(n, s, scope) < replication_at(r, scope))
            total++;
    return total;
}

/* ---- choosing ---- */

struct rank { /* compared member by member, higher is better */
    unsigned gain;
    bool stays, leads, candidate, member;
    uint32_t load;
    uint64_t hash;
};

static bool better(const struct rank *a, const struct rank *b)
{
    if (a->gain != b->gain)
        return a->gain > b->gain;
    if (a->stays != b->stays)
        return a->stays;
    if (a->leads != b->leads)
        return a->leads;
    if (a->candidate != b->candidate)
        return a->candidate;
    if (a->member != b->member)
        return a->member;
    if (a->load != b->load)
        return a->load < b->load;
    return a->hash > b->hash;
}

static bool is_member(const struct placement_wish *w, uint32_t id)
{
    for (size_t i = 0; i < w->n_members; i++)
        if (w->members[i] == id)
            return true;
    return false;
}

/* One after the other the best that is left; `hopeless`: also members that are down for long or on their way
 * out, because there are too few others. */
static void fill(const struct placement_nodes *n, const struct placement_wish *w, bool hopeless,
                 struct placement_set *out)
{
    unsigned copies = replication_copies(&w->replication);
    out->len = 0;
    while (out->len < copies) {
        const struct placement_node *best = NULL;
        struct rank best_rank = {0};
        for (size_t i = 0; i < n->len; i++) {
            const struct placement_node *node = &n->items[i];
            bool member = is_member(w, node->id);
            bool stays = member && node->keeps;
            if (node->gone || !(stays || node->candidate || (hopeless && member)) ||
                placement_set_has(out, node->id))
                continue;
            struct rank r = {gain(n, &w->replication, out, node),
                             stays,
                             stays && node->id == w->leader,
                             node->candidate,
                             member,
                             node->replicas,
                             placement_hash(w->partition, node->id)};
            if (!best || better(&r, &best_rank)) {
                best = node;
                best_rank = r;
            }
        }
        if (!best)
            return;
        out->ids[out->len++] = best->id;
    }
}

/* Members first, in their order. */
static void sort_members_first(const struct placement_wish *w, struct placement_set *s)
{
    struct placement_set sorted = {.len = 0};
    for (size_t i = 0; i < w->n_members; i++)
        if (placement_set_has(s, w->members[i]) && !placement_set_has(&sorted, w->members[i]))
            sorted.ids[sorted.len++] = w->members[i];
    for (unsigned i = 0; i < s->len; i++)
        if (!is_member(w, s->ids[i]))
            sorted.ids[sorted.len++] = s->ids[i];
    *s = sorted;
}

/* The members as they are, if all may stay and they do what is wanted. */
static bool members_will_do(const struct placement_nodes *n, const struct placement_wish *w,
                            struct placement_set *out)
{
    if (w->n_members != replication_copies(&w->replication))
        return false;
    out->len = 0;
    for (size_t i = 0; i < w->n_members; i++) {
        const struct placement_node *node = placement_find(n, w->members[i]);
        if (!node || node->gone || !node->keeps || placement_set_has(out, node->id))
            return false;
        out->ids[out->len++] = node->id;
    }
    return placement_satisfies(n, &w->replication, out);
}

void placement_choose(const struct placement_nodes *n, const struct placement_wish *w,
                      struct placement_set *out)
{
    if (members_will_do(n, w, out))
        return;
    fill(n, w, false, out);
    if (!placement_satisfies(n, &w->replication, out))
        fill(n, w, true, out);
    sort_members_first(w, out);
}

/* ---- evening out ---- */

static bool swapped(const struct placement_nodes *n, const struct placement_wish *w, uint32_t from,
                    uint32_t to, struct placement_set *out)
{
    out->len = 0;
    for (size_t i = 0; i < w->n_members; i++)
        out->ids[out->len++] = w->members[i] == from ? to : w->members[i];
    return placement_satisfies(n, &w->replication, out);
}

/* The candidate with the fewest replicas that can take the place of `from`. */
static const struct placement_node *taker(const struct placement_nodes *n, const struct placement_wish *w,
                                          const struct placement_node *from, uint32_t slack)
{
    const struct placement_node *best = NULL;
    struct placement_set set;
    for (size_t i = 0; i < n->len; i++) {
        const struct placement_node *node = &n->items[i];
        if (!node->candidate || node->gone || is_member(w, node->id) ||
            node->replicas + slack >= from->replicas || (best && node->replicas > best->replicas) ||
            (best && node->replicas == best->replicas &&
             placement_hash(w->partition, node->id) < placement_hash(w->partition, best->id)) ||
            !swapped(n, w, from->id, node->id, &set))
            continue;
        best = node;
    }
    return best;
}

bool placement_swap(const struct placement_nodes *n, const struct placement_wish *w, uint32_t slack,
                    bool move_leader, struct placement_set *out, uint32_t *from, uint32_t *to)
{
    const struct placement_node *giver = NULL, *best = NULL;
    for (size_t i = 0; i < w->n_members && w->n_members <= PLACEMENT_MAX; i++) {
        const struct placement_node *member = placement_find(n, w->members[i]);
        if (!member || (member->id == w->leader && !move_leader) ||
            (giver && member->replicas <= giver->replicas))
            continue;
        const struct placement_node *t = taker(n, w, member, slack);
        if (t) {
            giver = member;
            best = t;
        }
    }
    if (!giver)
        return false;
    *from = giver->id;
    *to = best->id;
    return swapped(n, w, *from, *to, out);
}
