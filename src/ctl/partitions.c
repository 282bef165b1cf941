/* `partitions list` (spec/restatectl.md §11.4) and the table of the partitions group. */
#include <stdlib.h>

#include "ctl/ctl.h"

struct line {
    const struct node_state *node;
    const struct processor *p;
};
struct lines {
    struct line *items;
    size_t len;
};

static const char *sort_key;

static unsigned run_mode(const struct processor *p) /* as MODE: leader first */
{
    return p->effective == MODE_LEADER ? 0 : p->effective == MODE_FOLLOWER ? 1 : 2;
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_sort_key(const void *x, const void *y)
{
    const struct line *a = x, *b = y;
    int by_node = compare(a->node->id, b->node->id), by_partition = compare(a->p->partition, b->p->partition);
    if (strcmp(sort_key, "node") == 0 && by_node)
        return by_node;
    if (strcmp(sort_key, "active") == 0) {
        int by_mode = compare(run_mode(a->p), run_mode(b->p));
        return by_mode ? by_mode : by_partition ? by_partition : by_node;
    }
    return by_partition ? by_partition : by_node;
}

/* ---- cells ---- */

/* DetailedRunMode, with the coarse mode where a node does not say. */
static const char *mode_name(const struct processor *p)
{
    static const char *const detailed[] = {NULL, "Candidate", "Follower", "BecomingLeader", "Leader"};
    if (p->detailed < ARRAY_LEN(detailed) && detailed[p->detailed])
        return detailed[p->detailed];
    return p->effective == MODE_LEADER ? "Leader" : p->effective == MODE_FOLLOWER ? "Follower" : "UNKNOWN";
}

static void mode_cell(struct table *tb, const struct processor *p, uint64_t newest_epoch)
{
    const char *now = mode_name(p);
    const char *planned = p->planned == MODE_LEADER     ? "Leader"
                          : p->planned == MODE_FOLLOWER ? "Follower"
                                                        : NULL;
    bool leader = p->effective == MODE_LEADER, outdated = leader && p->has_epoch && p->epoch < newest_epoch;
    if (!planned)
        table_text(tb, STYLE_PLAIN, "UNKNOWN");
    else if (strcmp(now, planned) == 0)
        table_text(tb, !leader ? STYLE_PLAIN : outdated ? STYLE_RED : STYLE_BLUE | STYLE_BOLD, now);
    else
        table_cell(tb, outdated ? STYLE_RED : STYLE_MAGENTA, "%s->%s", now, planned);
}

static void status_cell(struct table *tb, const struct processor *p)
{
    bool leader = p->effective == MODE_LEADER;
    if (p->broken == 1)
        table_text(tb, STYLE_RED | STYLE_BOLD, "Broken (ahead-of-log)");
    else if (p->broken)
        table_text(tb, STYLE_RED | STYLE_BOLD, "Broken");
    else if (p->replay == 1)
        table_text(tb, STYLE_YELLOW, "Starting");
    else if (p->replay == 2)
        table_text(tb, leader ? STYLE_GREEN : STYLE_PLAIN, "Active");
    else if (p->replay == 3 && p->has_target)
        table_cell(tb, STYLE_MAGENTA, "Catching Up (%llu)", (unsigned long long)p->target);
    else if (p->replay == 3)
        table_text(tb, STYLE_MAGENTA, "Catching Up (-)");
    else
        table_text(tb, STYLE_RED, "UNKNOWN");
}

static void number_cell(struct table *tb, unsigned style, const char *prefix, bool has, uint64_t value)
{
    if (has)
        table_cell(tb, style, "%s%llu", prefix, (unsigned long long)value);
    else
        table_text(tb, STYLE_PLAIN, "-");
}

static void processor_row(struct tool *t, struct table *tb, const struct line *l, uint64_t newest_epoch)
{
    const struct processor *p = l->p;
    bool leader = p->effective == MODE_LEADER, outdated = p->has_epoch && p->epoch < newest_epoch;
    uint64_t reached = p->applied + 1;
    table_row(tb);
    table_cell(tb, STYLE_PLAIN, "%u", p->partition);
    table_cell(tb, STYLE_PLAIN, "N%u:%u", l->node->id, l->node->generation);
    mode_cell(tb, p, newest_epoch);
    status_cell(tb, p);
    number_cell(tb,
                outdated ? (leader ? STYLE_RED : STYLE_YELLOW)
                : leader ? STYLE_GREEN
                         : STYLE_PLAIN,
                "e", p->has_epoch, p->epoch);
    number_cell(tb, STYLE_PLAIN, "", p->has_applied, p->applied);
    number_cell(tb, STYLE_PLAIN, "", p->has_durable, p->durable);
    number_cell(tb, STYLE_PLAIN, "", p->has_archived, p->archived);
    number_cell(tb, STYLE_PLAIN, "", p->has_target && p->has_applied,
                p->target > reached ? p->target - reached : 0);
    number_cell(tb, STYLE_PLAIN, "v", p->has_schema, p->schema);
    number_cell(tb, STYLE_PLAIN, "v", p->has_rule_book, p->rule_book);
    table_text(tb, STYLE_PLAIN, *p->features ? p->features : "-");
    if (p->updated_at_ms)
        table_text(tb, STYLE_PLAIN, ago_text(t, p->updated_at_ms));
    else
        table_text(tb, STYLE_RED, "-");
}

/* ---- the two tables ---- */

static uint64_t newest_epoch(const struct lines *lines, uint32_t partition)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < lines->len; i++)
        if (lines->items[i].p->partition == partition && lines->items[i].p->has_epoch)
            newest = MAX(newest, lines->items[i].p->epoch);
    return newest;
}

static void print_processors(struct tool *t, const struct cluster_state *s, const char *sort)
{
    struct lines lines = {0};
    size_t n = 0;
    for (size_t i = 0; i < s->n_nodes; i++)
        n += s->nodes[i].n_processors;
    lines.items = arena_array(&t->arena, struct line, n + 1);
    for (size_t i = 0; i < s->n_nodes; i++)
        for (size_t j = 0; s->nodes[i].alive && j < s->nodes[i].n_processors; j++)
            lines.items[lines.len++] = (struct line){&s->nodes[i], &s->nodes[i].processors[j]};
    sort_key = sort;
    qsort(lines.items, lines.len, sizeof(*lines.items), by_sort_key);
    struct table *tb = table_new(t, "partitions");
    table_header(tb, "ID", "NODE", "MODE", "STATUS", "EPOCH", "APPLIED", "DURABLE", "ARCHIVED", "LSN-LAG",
                 "SCHEMA", "RULE-BOOK", "FEATURES", "UPDATED", NULL);
    for (size_t i = 0; i < lines.len; i++)
        processor_row(t, tb, &lines.items[i], newest_epoch(&lines, lines.items[i].p->partition));
    table_print(tb);
}

static void print_dead(struct tool *t, const struct cluster_state *s)
{
    struct table *tb = table_new(t, "dead_nodes");
    table_header(tb, "NODE", "LAST-SEEN", NULL);
    for (size_t i = 0; i < s->n_nodes; i++)
        if (!s->nodes[i].alive) {
            table_row(tb);
            table_cell(tb, STYLE_RED, "N%u", s->nodes[i].id);
            if (s->nodes[i].last_seen_ms)
                table_text(tb, STYLE_PLAIN, ago_text(t, s->nodes[i].last_seen_ms));
            else
                table_text(tb, STYLE_RED, "-");
        }
    if (table_rows(tb)) {
        tool_say(t, "\n☠️ Dead nodes\n");
        table_print(tb);
    }
}

static int print_list(struct tool *t, const char *sort)
{
    struct cluster_state state;
    if (!need_cluster(t) || !need_cluster_state(t, &state))
        return 1;
    tool_say(t, "Alive partition processors (nodes config v%llu, partition table v%llu)\n",
             (unsigned long long)state.nodes_version, (unsigned long long)state.partition_table_version);
    print_processors(t, &state, sort);
    print_dead(t, &state);
    return 0;
}

int partitions_list_print(struct tool *t)
{
    return print_list(t, "partition");
}

static int partitions_list_run(struct tool *t)
{
    t->json = tool_flag(t, "json");
    return print_list(t, tool_text(t, "sort"));
}

static const struct option list_options[] = {
    {"sort", 0, "SORT", 0, "Order of the lines", .choices = "partition|node|active", .fallback = "partition"},
    {"json", .help = "Print JSON"},
    {0}};

static const struct option generate_options[] = {
    {"num-partition", 'n', "NUM_PARTITION", OPTION_REQUIRED, "Number of partitions", .check = check_u16},
    {"version", 0, "VERSION", OPTION_HIDDEN, "Version of the value", .fallback = "2", .check = check_u32},
    {"pretty", .help = "With line breaks"},
    {0}};

const struct command partitions_commands[] = {
    {"list", "Partitions and the processors that run them", .aliases = "ls|status", .options = list_options,
     .run = partitions_list_run, .examples = "restatectl partitions list --sort node"},
    {"generate-metadata", "Print a partition table as JSON, without a server", .options = generate_options,
     .run = partitions_generate_run},
    {"placement", "Which nodes run a partition", .children = placement_commands},
    {"leadership", "Which node leads a partition", .children = leadership_commands},
    {0}};
