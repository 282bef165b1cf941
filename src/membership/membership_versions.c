/* Which versions of metadata exist (spec/cluster.md §2.6). */
#include <stdlib.h>

#include "membership/membership_internal.h"

struct partition_info *membership_partition(struct membership *m, uint16_t partition)
{
    if (partition >= m->n_partitions) {
        size_t n = (size_t)partition + 1;
        m->partitions = xrealloc(m->partitions, n * sizeof(*m->partitions));
        memset(m->partitions + m->n_partitions, 0, (n - m->n_partitions) * sizeof(*m->partitions));
        m->n_partitions = n;
    }
    return &m->partitions[partition];
}

void membership_set_version(struct membership *m, enum gossip_kind kind, uint16_t partition, uint32_t version)
{
    uint32_t *own = kind == GOSSIP_EPOCH ? &membership_partition(m, partition)->epoch_own : &m->own[kind];
    if (version <= *own)
        return;
    *own = version;
    if (kind == GOSSIP_EPOCH) {
        m->partitions[partition].urgent = URGENT_TIMES;
        m->urgent = true;
    }
    m->announce = true;
    membership_flush_later(m);
}

/* Is it news that `version` exists, given that `heard_from` told of `heard`? The highest counts, unless the
 * one that knew it cannot be asked any more. */
static bool worth_asking(const struct membership *m, uint32_t version, uint32_t own, uint32_t heard,
                         uint32_t heard_from)
{
    if (version <= own)
        return false;
    return version >= heard || membership_verdict(m, heard_from) == MEMBERSHIP_DEAD;
}

void membership_receive_versions(struct membership *m, const struct gossip_message *msg)
{
    uint32_t from = msg->header.from.id;
    for (size_t k = 0; k < GOSSIP_GLOBAL_KINDS; k++) {
        uint32_t version = msg->header.versions[k];
        if (!worth_asking(m, version, m->own[k], m->heard[k], m->heard_from[k]))
            continue;
        m->heard[k] = version;
        m->heard_from[k] = from;
        membership_notify_later(m);
    }
    struct slice epochs = msg->epochs;
    uint16_t partition;
    uint32_t version;
    while (gossip_next_epoch(&epochs, &partition, &version)) {
        struct partition_info *info = membership_partition(m, partition);
        if (!worth_asking(m, version, info->epoch_own, info->epoch_heard, info->epoch_from))
            continue;
        info->epoch_heard = version;
        info->epoch_from = from;
        m->epochs_behind = true;
        membership_notify_later(m);
    }
}

bool membership_behind(const struct membership *m)
{
    for (size_t k = 0; k < GOSSIP_GLOBAL_KINDS; k++)
        if (m->heard[k] > m->own[k])
            return true;
    return m->epochs_behind;
}

/* Is it time to tell the host about `heard`? */
static bool due(uint32_t own, uint32_t heard, uint32_t *asked, uint64_t *asked_ms, uint64_t now)
{
    if (heard <= own || (heard == *asked && now - *asked_ms < ASK_AGAIN_MS))
        return false;
    *asked = heard;
    *asked_ms = now;
    return true;
}

void membership_ask(struct membership *m)
{
    uint64_t now = env_mono_ms(m->env);
    for (size_t k = 0; k < GOSSIP_GLOBAL_KINDS; k++)
        if (due(m->own[k], m->heard[k], &m->asked[k], &m->asked_ms[k], now))
            m->ops->newer(m->ctx, (enum gossip_kind)k, 0, m->heard[k], m->heard_from[k]);
    if (!m->epochs_behind)
        return;
    bool behind = false;
    for (size_t i = 0; i < m->n_partitions; i++) { /* the host may set versions meanwhile */
        struct partition_info *p = &m->partitions[i];
        behind |= p->epoch_heard > p->epoch_own;
        if (due(p->epoch_own, p->epoch_heard, &p->epoch_asked, &p->epoch_asked_ms, now))
            m->ops->newer(m->ctx, GOSSIP_EPOCH, (uint16_t)i, p->epoch_heard, p->epoch_from);
    }
    m->epochs_behind = behind;
}

uint32_t membership_epoch_version(const struct membership *m, uint16_t partition)
{
    if (partition >= m->n_partitions)
        return 0;
    return MAX(m->partitions[partition].epoch_own, m->partitions[partition].epoch_heard);
}
