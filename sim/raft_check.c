/* Checks of Raft, see raft_check.h. */
#include "sim/raft_check.h"

const char *raft_promise(const struct metadata_message *m)
{
    if (m->kind == RAFT_VOTE_RESULT && m->vote_result.granted && !m->vote_result.pre)
        return "votes";
    if (m->kind == RAFT_VOTE && !m->vote.pre)
        return "stands";
    if (m->kind == RAFT_APPEND_RESULT && m->append_result.ok && m->append_result.match)
        return "acknowledges";
    return NULL;
}

static bool voted(const struct raft_durable *disk, uint64_t term, struct raft_member candidate)
{
    return disk->term > term || (disk->term == term && raft_member_eq(disk->vote, candidate));
}

bool raft_promise_durable(const struct metadata_message *m, const struct raft_durable *disk)
{
    if (m->kind == RAFT_VOTE_RESULT)
        return voted(disk, m->vote_result.term, m->header.to);
    if (m->kind == RAFT_VOTE)
        return voted(disk, m->vote.term, m->header.from);
    return disk->base_index + disk->entries.len >= m->append_result.match;
}

bool raft_change_is_single(const struct raft_members *before, const struct raft_members *after)
{
    uint32_t common = 0;
    for (uint32_t i = 0; i < after->n; i++)
        for (uint32_t k = 0; k < before->n; k++)
            common += raft_member_eq(after->items[i], before->items[k]);
    return (after->n - common) + (before->n - common) <= 1;
}
