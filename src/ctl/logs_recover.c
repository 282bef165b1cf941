/* `logs recover` (ours; BETTER B4, B13): logs whose log-servers are gone for good. Says which LSNs nobody has
 * any more, and ends a last segment whose own log-servers cannot agree on its end any more at the highest LSN
 * up to which everything is left; the leader of the partition puts a new segment behind it by itself. */
#include <stdlib.h>

#include "ctl/loglet.h"

#define MODULE "restatectl::commands::log::"

struct range {
    uint64_t from, to;
};
struct ranges {
    struct range *items;
    size_t len, cap;
};

struct loss {
    uint32_t log, segment;
    const char *loglet;
    uint64_t base;
    bool last, agreed;     /* enough log-servers answer to know what it holds */
    struct ranges missing; /* offsets that were part of it and that nobody who answers has */
    uint64_t end;          /* last segment: offset behind what is left without a hole */
    uint64_t
        known_end; /* offset behind the last record that was acknowledged, as far as those who answer know */
};

static uint64_t lsn_of(const struct loss *s, uint64_t offset)
{
    return s->base + offset - 1;
}

/* ---- what is there ---- */

static int by_from(const void *x, const void *y)
{
    const struct range *a = x, *b = y;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* What stands on some node, was archived, or is not needed any more. */
static struct ranges present(const struct loglet *l, const struct digest *d)
{
    struct ranges all = {0};
    for (size_t i = 0; i < l->n_nodes; i++) {
        if (!d->replies[i].ptr)
            continue;
        if (l->nodes[i].trim_point)
            VEC_PUSH(&all, ((struct range){1, l->nodes[i].trim_point}));
        struct reader r = reader_make(d->replies[i]);
        struct pb_field f;
        while (pb_next(&r, &f)) {
            if (f.number != 2 || f.wire != PB_LEN)
                continue;
            struct range range = {msg_u64(f.bytes, 1), msg_u64(f.bytes, 2)};
            if (msg_u64(f.bytes, 3) != 0 && range.from <= range.to)
                VEC_PUSH(&all, range);
        }
    }
    if (all.len)
        qsort(all.items, all.len, sizeof(*all.items), by_from);
    return all;
}

static void find_missing(struct loss *s, const struct ranges *present, uint64_t to)
{
    uint64_t next = 1;
    for (size_t i = 0; i < present->len && next <= to; i++) {
        if (present->items[i].from > next)
            VEC_PUSH(&s->missing, ((struct range){next, MIN(present->items[i].from - 1, to)}));
        if (present->items[i].to >= next)
            next = present->items[i].to + 1;
    }
    if (next <= to)
        VEC_PUSH(&s->missing, ((struct range){next, to}));
}

/* Do those who answer know every record that was acknowledged? A node that was disabled by force while it was
 * in the node set does not make the rest know more. */
static bool agreed(struct tool *t, const struct loglet *l)
{
    struct node_directory directory = {0};
    struct quorum q;
    struct marks answered = {{0}};
    node_directory_add(&directory, ctl_of(t)->nodes);
    for (size_t i = 0; i < directory.len; i++) {
        if (directory.nodes[i].storage == STORAGE_DISABLED)
            directory.nodes[i].storage = STORAGE_DATA_LOSS;
        directory.nodes[i].removed = false;
    }
    quorum_init(&q, &l->params.replication, &l->params.nodeset, &directory);
    for (size_t i = 0; i < l->n_nodes; i++) {
        int position = nodeset_position(&l->params.nodeset, l->nodes[i].entry->id);
        if (l->nodes[i].answered && position >= 0)
            marks_add(&answered, (unsigned)position);
    }
    bool enough = quorum_is_f_majority(&q, marks_and(answered, q.authoritative));
    node_directory_free(&directory);
    return enough;
}

/* `size`: number of records of a segment that is not the last; false after an error was printed. */
static bool examine(struct tool *t, struct loss *s, uint64_t id, uint64_t size)
{
    struct loglet l;
    if (!loglet_find(t, id, &l))
        return false;
    loglet_ask(t, &l);
    s->loglet = loglet_text(t, id);
    s->agreed = agreed(t, &l);
    if (s->agreed)
        return true;
    uint64_t local = 1;
    s->known_end = 1;
    for (size_t i = 0; i < l.n_nodes; i++) {
        if (!l.nodes[i].answered)
            continue;
        local = MAX(local, l.nodes[i].local_tail);
        s->known_end = MAX(s->known_end, l.nodes[i].global_tail);
    }
    struct digest d = {.from = 1, .to = s->last ? MAX(local, s->known_end) - 1 : size};
    if (!s->last)
        s->known_end = size + 1;
    struct ranges there = {0};
    if (d.to >= d.from) {
        loglet_ask_digests(t, &l, &d);
        there = present(&l, &d);
    }
    find_missing(s, &there, d.to);
    VEC_FREE(&there);
    /* Whatever stands behind a hole in the last segment cannot be applied. */
    s->end = s->missing.len ? s->missing.items[0].from : d.to + 1;
    return true;
}

/* ---- what is said ---- */

static uint64_t applied_of(const struct cluster_state *state, uint32_t partition, uint32_t *node)
{
    uint64_t applied = 0;
    for (size_t i = 0; i < state->n_nodes; i++) {
        const struct node_state *n = &state->nodes[i];
        for (size_t k = 0; k < n->n_processors; k++)
            if (n->processors[k].partition == partition && n->processors[k].applied > applied) {
                applied = n->processors[k].applied;
                *node = n->id;
            }
    }
    return applied;
}

static void say_range(struct tool *t, const struct loss *s, struct range r, const char *text)
{
    tool_say(t, " ├ LSN %llu to %llu (%llu records): %s\n", (unsigned long long)lsn_of(s, r.from),
             (unsigned long long)lsn_of(s, r.to), (unsigned long long)(r.to - r.from + 1), text);
}

static void say_closed(struct tool *t, const struct loss *s, uint64_t applied, uint32_t node)
{
    tool_say(t, "log %u, segment %u (%s): not enough of its log-servers answer\n", s->log, s->segment,
             s->loglet);
    for (size_t i = 0; i < s->missing.len; i++) {
        bool in_state = lsn_of(s, s->missing.items[i].to) <= applied;
        say_range(t, s, s->missing.items[i],
                  in_state ? tool_format(t, "no copy is left; the state of N%u has them", node)
                           : "LOST, no copy is left and no state has them");
    }
    if (s->missing.len == 0)
        tool_say(t, " └ all of its records are readable\n\n");
    else
        tool_say(t, " └ a partition that has to read them waits; `snapshots create --trim-log` lets it start "
                    "behind\n\n");
}

/* Where the last segment is to end, as LSN: behind what is left, and never before what a state has applied
 * already. */
static uint64_t say_last(struct tool *t, const struct loss *s, uint64_t applied, uint32_t node)
{
    uint64_t left = lsn_of(s, s->end), tail = MAX(left, applied + 1), known = lsn_of(s, s->known_end);
    tool_say(t, "log %u, segment %u (%s), the last: not enough of its log-servers answer to know its end\n",
             s->log, s->segment, s->loglet);
    if (left > s->base)
        tool_say(t, " ├ LSN %llu to %llu: readable\n", (unsigned long long)s->base,
                 (unsigned long long)(left - 1));
    if (tail > left)
        tool_say(t, " ├ LSN %llu to %llu: no copy is left; the state of N%u has them\n",
                 (unsigned long long)left, (unsigned long long)(tail - 1), node);
    if (known > tail)
        tool_say(t, " ├ LSN %llu to %llu (%llu records): LOST, they were acknowledged\n",
                 (unsigned long long)tail, (unsigned long long)(known - 1),
                 (unsigned long long)(known - tail));
    tool_say(
        t,
        " ├ from LSN %llu on: what only the log-servers had that are gone is LOST; nobody knows how much\n",
        (unsigned long long)MAX(known, tail));
    tool_say(t, " └ end the log at LSN %llu\n\n", (unsigned long long)tail);
    return tail;
}

/* ---- the command ---- */

struct cut {
    uint32_t log, segment;
    uint64_t tail;
};
struct plan {
    struct cut *items;
    size_t len, cap;
    bool all_well;
};

static bool look_at(struct tool *t, const struct log_chain *chain, const struct cluster_state *state,
                    struct plan *plan)
{
    uint32_t node = 0;
    uint64_t applied = applied_of(state, chain->log_id, &node);
    for (size_t j = 0; j < chain->n_segments; j++) {
        const struct log_segment *seg = &chain->segments[j];
        struct loglet_params params;
        if (!segment_params(seg, &params))
            continue;
        struct loss s = {.log = chain->log_id,
                         .segment = seg->index,
                         .base = seg->base_lsn,
                         .last = j + 1 == chain->n_segments};
        uint64_t size = s.last ? 0 : chain->segments[j + 1].base_lsn - seg->base_lsn;
        if (!examine(t, &s, params.loglet_id, size))
            return false;
        if (!s.agreed) {
            plan->all_well = false;
            if (!s.last)
                say_closed(t, &s, applied, node);
            else
                VEC_PUSH(plan, ((struct cut){s.log, s.segment, say_last(t, &s, applied, node)}));
        }
        VEC_FREE(&s.missing);
    }
    return true;
}

static int carry_out(struct tool *t, const struct plan *plan)
{
    if (!tool_confirm(t, tool_format(t, "End %zu logs there? What is lost stays lost", plan->len)))
        return tool_aborted(t);
    for (size_t i = 0; i < plan->len; i++) {
        const struct cut *c = &plan->items[i];
        struct answer a = logs_seal(t, c->log, &c->segment,
                                    tool_given(t, "reason") ? tool_text(t, "reason") : "recover", c->tail);
        if (!a.good)
            tool_item_failed(t, MODULE "recover", "Failed to end log %u: %s", c->log, a.error);
    }
    return tool_done(t);
}

static int recover(struct tool *t, const struct logs_config *logs, struct plan *plan)
{
    struct cluster_state state;
    struct ids ids = arg_ranges(t, "LOG_ID");
    if (!need_cluster_state(t, &state))
        return 1;
    for (size_t i = 0; i < logs->n_chains; i++) {
        bool wanted = ids.len == 0;
        for (size_t k = 0; k < ids.len; k++)
            wanted |= ids.items[k] == logs->chains[i].log_id;
        if (wanted && !look_at(t, &logs->chains[i], &state, plan))
            return 1;
    }
    if (plan->all_well)
        tool_say(t, "Enough log-servers of every segment answer: nothing is lost\n");
    if (plan->len == 0)
        return 0;
    if (tool_flag(t, "dry-run")) {
        tool_say(t, "Nothing was changed (--dry-run)\n");
        return 0;
    }
    return carry_out(t, plan);
}

int logs_recover_run(struct tool *t)
{
    const struct logs_config *logs;
    struct plan plan = {.all_well = true};
    if (!need_cluster(t) || !(logs = need_logs(t)))
        return 1;
    int rc = recover(t, logs, &plan);
    VEC_FREE(&plan);
    return rc;
}
