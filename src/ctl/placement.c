/* `partitions placement`, `partitions generate-metadata` (spec/restatectl.md §11.4). */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/partitions_edit.h"

/* ---- show ---- */

static const char *configuration_text(struct tool *t, const struct partition_configuration *c)
{
    if (c->version == 0)
        return "UNASSIGNED";
    return tool_format(t, "%s (v%u)", nodes_text(t, c->replicas, c->n_replicas, ", "), c->version);
}

static int show_run(struct tool *t)
{
    const struct partition_table *table;
    t->json = tool_flag(t, "json");
    if (!need_cluster(t) || !(table = need_partitions(t)))
        return 1;
    struct ids ids = existing_partitions(t, table);
    struct table *tb = table_new(t, "placement");
    table_header(tb, "PARTITION", "CURRENT", "NEXT", "AUTOMATIC PLACEMENT", NULL);
    for (size_t i = 0; i < ids.len; i++) {
        struct epoch_metadata e;
        const char *error;
        bool there = read_epoch(t, ids.items[i], &e, &error);
        if (error)
            return tool_fail(t, "%s", error);
        table_row(tb);
        table_cell(tb, STYLE_PLAIN, "%u", ids.items[i]);
        if (!there) {
            table_text(tb, STYLE_YELLOW, "MISSING");
            table_text(tb, STYLE_PLAIN, "-");
            table_text(tb, STYLE_PLAIN, "-");
            continue;
        }
        table_text(tb, STYLE_PLAIN, configuration_text(t, &e.current));
        table_text(tb, STYLE_PLAIN, e.has_next ? configuration_text(t, &e.next) : "-");
        if (e.placement_freeze)
            table_cell(tb, STYLE_RED | STYLE_BOLD, "FROZEN: %s", e.placement_freeze);
        else
            table_text(tb, STYLE_PLAIN, "ENABLED");
    }
    table_print(tb);
    return tool_done(t);
}

/* ---- set ---- */

struct placement {
    struct ids replicas;
    struct replication replication;
    const char *freeze;
};

static const char *set_placement(struct tool *t, struct epoch_metadata *e, uint32_t partition,
                                 const void *arg)
{
    const struct placement *p = arg;
    struct partition_configuration *c = &e->next;
    uint32_t last = e->has_next ? e->next.version : e->current.version;
    bool initial = e->current.version == 0;
    e->version++;
    if (initial)
        c = &e->current;
    else
        e->has_next = true;
    *c = (struct partition_configuration){.version = initial ? e->version : last + 1,
                                          .replication = p->replication,
                                          .replicas = p->replicas.items,
                                          .n_replicas = p->replicas.len,
                                          .modified_at_ms = os_wall_ms()};
    if (p->freeze) {
        e->version++;
        e->placement_freeze = p->freeze;
    }
    return NULL;
}

static int set_run(struct tool *t)
{
    const struct partition_table *table;
    struct placement p = {.replicas = arg_nodes(t, "replicas"), .freeze = tool_text(t, "freeze")};
    uint32_t partition = (uint32_t)tool_number(t, "PARTITION_ID");
    if (!need_cluster(t) || !(table = need_partitions(t)))
        return 1;
    if (partition >= table->n_partitions)
        return tool_fail(t, "Partition %u does not exist.", partition);
    size_t given = 0;
    while (tool_item(t, "replicas", given))
        given++;
    if (given != p.replicas.len)
        return tool_fail(t, "Replica node IDs must be unique.");
    for (size_t i = 0; i < p.replicas.len; i++) {
        const struct node_entry *e = nodes_config_by_id(ctl_of(t)->nodes, p.replicas.items[i]);
        if (!e || e->tombstone)
            return tool_fail(t, "Cannot place partition because node N%u is not part of the cluster.",
                             p.replicas.items[i]);
    }
    if (p.replicas.len > UINT8_MAX)
        return tool_fail(t, "A partition has at most %u replicas.", UINT8_MAX);
    p.replication = p.replicas.len ? replication_nodes((uint8_t)p.replicas.len) : table->replication;
    if (p.replicas.len == 0 &&
        !tool_confirm(
            t, tool_format(t, "Place partition %u on no node at all? It will not run any more.", partition)))
        return tool_aborted(t);
    struct ids one = {.items = &partition, .len = 1};
    return edit_partitions(t, &one, set_placement, &p, "Set placement for partition %u.");
}

/* ---- freeze, unfreeze ---- */

static const char *freeze_placement(struct tool *t, struct epoch_metadata *e, uint32_t partition,
                                    const void *arg)
{
    if (e->current.version == 0)
        return tool_format(t, "partition %u has no valid current placement", partition);
    if (!e->placement_freeze || strcmp(e->placement_freeze, arg) != 0)
        e->version++;
    e->placement_freeze = arg;
    return NULL;
}

static const char *unfreeze_placement(struct tool *t, struct epoch_metadata *e, uint32_t partition,
                                      const void *arg)
{
    if (e->placement_freeze)
        e->version++;
    e->placement_freeze = NULL;
    return NULL;
}

static int freeze_run(struct tool *t)
{
    return edit_asked_partitions(t, freeze_placement, tool_text(t, "reason"),
                                 "Froze automatic placement for partition %u.");
}

static int unfreeze_run(struct tool *t)
{
    return edit_asked_partitions(t, unfreeze_placement, NULL,
                                 "Unfroze automatic placement for partition %u.");
}

/* ---- generate-metadata ---- */

int partitions_generate_run(struct tool *t)
{
    bool p = tool_flag(t, "pretty");
    uint32_t n = (uint32_t)tool_number(t, "num-partition");
    struct writer *w = &t->out;
    const char *nl1 = p ? "\n  " : "", *nl2 = p ? "\n    " : "", *nl3 = p ? "\n      " : "",
               *nl4 = p ? "\n        " : "";
    const char *nl5 = p ? "\n          " : "", *sp = p ? " " : "";
    if (n == 0)
        return tool_fail(t, "a cluster has at least one partition");
    write_fmt(w, "{%s\"version\":%s%llu,%s\"num_partitions\":%s%u,%s\"partitions\":%s[", nl1, sp,
              (unsigned long long)tool_number(t, "version"), nl1, sp, n, nl1, sp);
    for (uint32_t i = 0; i < n; i++) {
        struct key_range r = partition_key_range(n, i);
        write_fmt(
            w, "%s%s[%s%u,%s{%s\"log_id\":%snull,%s\"key_range\":%s{%s\"start\":%s%llu,%s\"end\":%s%llu%s},",
            i ? "," : "", nl2, nl3, i, nl3, nl4, sp, nl4, sp, nl5, sp, (unsigned long long)r.start, nl5, sp,
            (unsigned long long)r.end, nl4);
        write_fmt(w, "%s\"db_name\":%snull,%s\"cf_name\":%snull%s}%s]", nl4, sp, nl4, sp, nl3, nl2);
    }
    write_fmt(w, "%s],%s\"replication\":%s{%s\"limit\":%s1%s}%s}\n", nl1, nl1, sp, nl2, sp, nl1,
              p ? "\n" : "");
    return 0;
}

/* ---- the group ---- */

static const struct option show_options[] = {
    PARTITIONS_ARGUMENT(0, "; all without one"), {"json", .help = "Print JSON"}, {0}};
static const struct option set_options[] = {
    {"PARTITION_ID", .value = "PARTITION_ID", .flags = OPTION_POSITIONAL | OPTION_REQUIRED,
     .help = "Partition", .check = check_u16},
    {"replicas", 'r', "REPLICAS", OPTION_REQUIRED | OPTION_LIST | OPTION_MANY,
     "Nodes that shall run the partition", .check = check_node_id},
    {"freeze", 0, "REASON", .help = "Also stop automatic placement"},
    {0}};
static const struct option freeze_options[] = {
    PARTITIONS_ARGUMENT(OPTION_REQUIRED, ""),
    {"reason", 0, "REASON", OPTION_REQUIRED, .help = "Shown to others"},
    {0}};
static const struct option unfreeze_options[] = {PARTITIONS_ARGUMENT(OPTION_REQUIRED, ""), {0}};

const struct command placement_commands[] = {
    {"set", "Say which nodes run a partition", .options = set_options, .run = set_run,
     .examples = "restatectl partitions placement set 0 --replicas N1,N2 --freeze \"maintenance of N3\""},
    {"freeze", "Stop automatic placement of partitions", .options = freeze_options, .run = freeze_run},
    {"unfreeze", "Let the controller place partitions again", .options = unfreeze_options,
     .run = unfreeze_run},
    {"show", "Which nodes run the partitions", .options = show_options, .run = show_run},
    {0}};
