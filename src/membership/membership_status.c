/* What the partitions of each node do, and who leads: see membership.h. */
#include <stdlib.h>

#include "membership/membership_internal.h"

/* Index of the first status of `partition` or a later one. */
static size_t lower_bound(const struct node_statuses *list, uint16_t partition)
{
    size_t lo = 0, hi = list->len;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (list->items[mid].status.partition < partition)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct membership_status *find(const struct node_statuses *list, uint16_t partition)
{
    size_t i = lower_bound(list, partition);
    return i < list->len && list->items[i].status.partition == partition ? &list->items[i] : NULL;
}

/* The entry for `partition`, added if there is none. */
static struct membership_status *put(struct node_statuses *list, uint16_t partition, bool *added)
{
    size_t i = lower_bound(list, partition);
    *added = i == list->len || list->items[i].status.partition != partition;
    if (*added) {
        if (list->len == list->cap)
            list->items = vec_grow(list->items, &list->cap, list->len + 1, sizeof(*list->items));
        memmove(list->items + i + 1, list->items + i, (list->len - i) * sizeof(*list->items));
        list->items[i] = (struct membership_status){.status.partition = partition};
        list->len++;
    }
    return &list->items[i];
}

/* The replica is gone, and with it the leadership that it may have had. */
static void drop(struct membership *m, struct peer *p, size_t i)
{
    struct node_statuses *list = &p->statuses;
    struct partition_info *info = membership_partition(m, list->items[i].status.partition);
    if (info->leader.id == p->id)
        info->leader = (struct node_ref){0, 0};
    list->len--;
    memmove(list->items + i, list->items + i + 1, (list->len - i) * sizeof(*list->items));
    membership_note(m, MEMBERSHIP_LEADERS);
}

/* More than mere progress? */
static bool differs(const struct partition_status *a, const struct partition_status *b)
{
    return a->mode != b->mode || a->run != b->run || a->leader_epoch != b->leader_epoch ||
           !node_ref_eq(a->leader, b->leader) || a->planned_leader != b->planned_leader ||
           a->epoch_metadata_version != b->epoch_metadata_version;
}

/* Epochs have one leader each, so the highest one heard of is enough to remember. */
static void note_claim(struct membership *m, const struct partition_status *s)
{
    struct partition_info *info = membership_partition(m, s->partition);
    bool lower = s->leader_epoch <= info->leader_epoch && !MUTATED(MEMBERSHIP_MUT_LAST_CLAIM);
    if (lower || s->leader.id == 0)
        return;
    info->leader_epoch = s->leader_epoch;
    info->leader = s->leader;
    membership_note(m, MEMBERSHIP_LEADERS);
}

void membership_clear_statuses(struct membership *m, struct peer *p)
{
    if (p->statuses.len)
        membership_note(m, MEMBERSHIP_LEADERS);
    p->statuses.len = 0;
    p->told = false;
}

/* ---- own ones ---- */

void membership_publish(struct membership *m, const struct partition_status *statuses, size_t n)
{
    struct peer *own = membership_own(m);
    if (!own)
        return; /* not in the configuration (any more) */
    uint64_t now = env_mono_ms(m->env);
    for (size_t i = 0; i < n; i++) {
        bool added;
        struct membership_status *s = put(&own->statuses, statuses[i].partition, &added);
        bool urgent = added || differs(&s->status, &statuses[i]);
        s->status = statuses[i];
        s->updated_ms = now;
        note_claim(m, &s->status);
        if (!urgent)
            continue;
        s->urgent = URGENT_TIMES;
        m->urgent = true;
        membership_note(m, MEMBERSHIP_LEADERS);
        membership_flush_later(m);
    }
}

void membership_withdraw(struct membership *m, uint16_t partition)
{
    struct peer *own = membership_own(m);
    if (!own || !find(&own->statuses, partition))
        return;
    drop(m, own, lower_bound(&own->statuses, partition));
    VEC_PUSH(&m->withdrawn, partition);
    membership_flush_later(m);
}

/* ---- those of others ---- */

static void take_status(struct membership *m, struct peer *p, const struct gossip_status *in, uint64_t seq,
                        bool in_order)
{
    note_claim(m, &in->status);
    struct membership_status *s = find(&p->statuses, in->status.partition);
    if (s ? seq <= s->seq : !in_order)
        return; /* something newer was said, perhaps that the partition is gone */
    bool added;
    s = put(&p->statuses, in->status.partition, &added);
    if (added || differs(&s->status, &in->status))
        membership_note(m, MEMBERSHIP_LEADERS);
    uint64_t now = env_mono_ms(m->env);
    s->status = in->status;
    s->updated_ms = now - MIN(in->age_ms, now);
    s->seq = seq;
}

/* Partitions that the message speaks for and does not list do not run there any more. */
static void drop_absent(struct membership *m, struct peer *p, const struct gossip_cover *c, uint64_t seq)
{
    for (size_t i = lower_bound(&p->statuses, c->from); i < p->statuses.len;) {
        const struct membership_status *s = &p->statuses.items[i];
        uint16_t id = s->status.partition;
        if (id > c->to)
            return;
        if (id % c->divisor == c->remainder && s->seq < seq)
            drop(m, p, i);
        else
            i++;
    }
}

void membership_receive_statuses(struct membership *m, struct peer *p, const struct gossip_message *msg,
                                 bool in_order)
{
    struct slice section = msg->statuses;
    struct gossip_status s;
    while (gossip_next_status(&section, &s))
        take_status(m, p, &s, msg->header.seq, in_order);
    if (msg->cover.divisor == 0)
        return;
    p->told = true;
    if (!MUTATED(MEMBERSHIP_MUT_KEEP_ABSENT))
        drop_absent(m, p, &msg->cover, msg->header.seq);
}

/* ---- questions ---- */

const struct membership_status *membership_statuses(const struct membership *m, uint32_t node, size_t *n)
{
    const struct peer *p = membership_peer(m, node);
    *n = p ? p->statuses.len : 0;
    return p ? p->statuses.items : NULL;
}

const struct membership_status *membership_status(const struct membership *m, uint32_t node,
                                                  uint16_t partition)
{
    const struct peer *p = membership_peer(m, node);
    return p ? find(&p->statuses, partition) : NULL;
}

bool membership_leader(const struct membership *m, uint16_t partition, struct node_ref *leader,
                       uint64_t *epoch)
{
    if (partition >= m->n_partitions)
        return false;
    const struct partition_info *info = &m->partitions[partition];
    const struct peer *p = membership_peer(m, info->leader.id);
    if (!p || p->verdict == MEMBERSHIP_DEAD || p->generation != info->leader.generation)
        return false;
    const struct membership_status *own = find(&p->statuses, partition);
    if (!own && (membership_is_self(m, p) || (p->told && membership_hears(m, p))))
        return false; /* does not run it; those who are not heard themselves may be told of by others */
    if (own && own->status.mode != PARTITION_MODE_LEADER && own->status.leader_epoch >= info->leader_epoch)
        return false; /* stepped down */
    *leader = info->leader;
    *epoch = info->leader_epoch;
    return true;
}
