/* `partitions leadership` (spec/restatectl.md §11.4). */
#include <stdlib.h>

#include "ctl/partitions_edit.h"

/* ---- show ---- */

static uint32_t leader_of(const struct cluster_state *s, uint32_t partition)
{
    uint32_t leader = 0;
    uint64_t epoch = 0;
    for (size_t i = 0; i < s->n_nodes; i++)
        for (size_t j = 0; j < s->nodes[i].n_processors; j++) {
            const struct processor *p = &s->nodes[i].processors[j];
            if (p->partition == partition && p->effective == MODE_LEADER && (!leader || p->epoch > epoch)) {
                leader = s->nodes[i].id;
                epoch = p->epoch;
            }
        }
    return leader;
}

static bool replica(const struct epoch_metadata *e, uint32_t node)
{
    for (size_t i = 0; i < e->current.n_replicas; i++)
        if (e->current.replicas[i] == node)
            return true;
    return false;
}

static void leader_cell(struct tool *t, struct table *tb, const struct epoch_metadata *e, uint32_t leader)
{
    const char *now = leader ? tool_format(t, "N%u", leader) : "none";
    if (!e || !e->affinity_node)
        table_text(tb, STYLE_PLAIN, now);
    else if (e->affinity_node == leader)
        table_text(tb, STYLE_GREEN | STYLE_BOLD, now);
    else if (replica(e, e->affinity_node))
        table_cell(tb, STYLE_YELLOW, "%s → N%u", now, e->affinity_node);
    else
        table_cell(tb, STYLE_RED, "%s → N%u ✗", now, e->affinity_node);
}

static int show_run(struct tool *t)
{
    const struct partition_table *table;
    struct cluster_state state;
    t->json = tool_flag(t, "json");
    if (!need_cluster(t) || !(table = need_partitions(t)) || !need_cluster_state(t, &state))
        return 1;
    struct ids ids = existing_partitions(t, table);
    struct table *tb = table_new(t, "leadership");
    table_header(tb, "PARTITION", "LEADER", "FREEZE", NULL);
    for (size_t i = 0; i < ids.len; i++) {
        struct epoch_metadata e;
        const char *error;
        bool there = read_epoch(t, ids.items[i], &e, &error);
        if (error)
            return tool_fail(t, "%s", error);
        table_row(tb);
        table_cell(tb, STYLE_PLAIN, "%u", ids.items[i]);
        leader_cell(t, tb, there ? &e : NULL, leader_of(&state, ids.items[i]));
        if (there && e.leadership_freeze)
            table_cell(tb, STYLE_RED | STYLE_BOLD, "FROZEN: %s", e.leadership_freeze);
        else
            table_text(tb, STYLE_PLAIN, "-");
    }
    table_print(tb);
    return tool_done(t);
}

/* ---- changes ---- */

static const char *pin(struct tool *t, struct epoch_metadata *e, uint32_t partition, const void *arg)
{
    uint32_t node = *(const uint32_t *)arg;
    if (e->affinity_node != node || e->affinity_location)
        e->version++;
    e->affinity_node = node;
    e->affinity_location = NULL;
    return NULL;
}

static const char *unpin(struct tool *t, struct epoch_metadata *e, uint32_t partition, const void *arg)
{
    if (e->affinity_node || e->affinity_location)
        e->version++;
    e->affinity_node = 0;
    e->affinity_location = NULL;
    return NULL;
}

static const char *freeze(struct tool *t, struct epoch_metadata *e, uint32_t partition, const void *arg)
{
    if (!e->leadership_freeze || strcmp(e->leadership_freeze, arg) != 0)
        e->version++;
    e->leadership_freeze = arg;
    return NULL;
}

static const char *unfreeze(struct tool *t, struct epoch_metadata *e, uint32_t partition, const void *arg)
{
    if (e->leadership_freeze)
        e->version++;
    e->leadership_freeze = NULL;
    return NULL;
}

static int pin_run(struct tool *t)
{
    uint32_t node, generation;
    parse_node_id(tool_text(t, "node"), &node, &generation);
    if (!need_cluster(t))
        return 1;
    const struct node_entry *e = nodes_config_by_id(ctl_of(t)->nodes, node);
    if (!e || e->tombstone)
        return tool_fail(t, "Node N%u is not part of the cluster.", node);
    return edit_asked_partitions(t, pin, &node,
                                 tool_format(t, "Pinned partition %%u leader to node N%u.", node));
}

static int unpin_run(struct tool *t)
{
    return edit_asked_partitions(t, unpin, NULL, "Unpinned leader for partition %u.");
}

static int freeze_run(struct tool *t)
{
    return edit_asked_partitions(t, freeze, tool_text(t, "reason"),
                                 "Froze leader election for partition %u.");
}

static int unfreeze_run(struct tool *t)
{
    return edit_asked_partitions(t, unfreeze, NULL, "Unfroze leader election for partition %u.");
}

static const struct option show_options[] = {
    PARTITIONS_ARGUMENT(0, "; all without one"), {"json", .help = "Print JSON"}, {0}};
static const struct option pin_options[] = {
    PARTITIONS_ARGUMENT(OPTION_REQUIRED, ""),
    {"node", 0, "NODE", OPTION_REQUIRED, "Node that shall lead", .check = check_node_id},
    {0}};
static const struct option plain_options[] = {PARTITIONS_ARGUMENT(OPTION_REQUIRED, ""), {0}};
static const struct option freeze_options[] = {
    PARTITIONS_ARGUMENT(OPTION_REQUIRED, ""),
    {"reason", 0, "REASON", OPTION_REQUIRED, .help = "Shown to others"},
    {0}};

const struct command leadership_commands[] = {
    {"pin", "Let a node lead partitions whenever it can", .options = pin_options, .run = pin_run,
     .examples = "restatectl partitions leadership pin 0-3 --node N2"},
    {"unpin", "Let the controller choose the leader again", .options = plain_options, .run = unpin_run},
    {"freeze", "Keep the present leaders", .options = freeze_options, .run = freeze_run},
    {"unfreeze", "Allow changes of the leader again", .options = plain_options, .run = unfreeze_run},
    {"show", "Who leads, who should, and whether it is frozen", .options = show_options, .run = show_run},
    {0}};
