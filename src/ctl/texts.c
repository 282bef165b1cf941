/* Texts that several commands print: see ctl.h. */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/ctl.h"

const char *roles_text(struct tool *t, uint32_t roles)
{
    struct writer w = WRITER_INIT;
    /* the bits are in the order of the names */
    for (uint32_t bit = 1; bit <= ROLE_WORKER; bit <<= 1)
        if (roles & bit)
            write_fmt(&w, "%s%s", w.len ? " | " : "", node_role_name((enum node_role)bit));
    return tool_take_text(t, &w);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *role_names_text(struct tool *t, const struct ident *ident)
{
    struct writer w = WRITER_INIT;
    qsort(ident->roles, ident->n_roles, sizeof(*ident->roles), by_text);
    for (size_t i = 0; i < ident->n_roles; i++)
        write_fmt(&w, "%s%s", i ? " | " : "", ident->roles[i]);
    return tool_take_text(t, &w);
}

const char *nodes_text(struct tool *t, const uint32_t *ids, size_t n, const char *separator)
{
    struct writer w = WRITER_INIT;
    write_u8(&w, '[');
    for (size_t i = 0; i < n; i++)
        write_fmt(&w, "%sN%u", i ? separator : "", ids[i]);
    write_u8(&w, ']');
    return tool_take_text(t, &w);
}

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

const char *nodeset_text(struct tool *t, const uint32_t *ids, size_t n)
{
    uint32_t *sorted = arena_array(&t->arena, uint32_t, n + 1);
    if (n)
        memcpy(sorted, ids, n * sizeof(*ids));
    qsort(sorted, n, sizeof(*sorted), by_number);
    return nodes_text(t, sorted, n, ", ");
}

const char *replication_text(struct tool *t, const struct replication *r)
{
    char text[REPLICATION_TEXT_SIZE];
    replication_format(r, text);
    return arena_copy_text(&t->arena, text);
}

const char *normal_replication(struct tool *t, const char *text)
{
    struct replication r;
    return replication_parse(slice_cstr(text), &r, NULL) == RC_OK ? replication_text(t, &r) : text;
}

const char *loglet_text(struct tool *t, uint64_t loglet_id)
{
    return tool_format(t, "%u_%u", (uint32_t)(loglet_id >> 32), (uint32_t)loglet_id);
}

void metadata_server_status_cell(struct table *tb, uint64_t status)
{
    static const struct {
        const char *name;
        unsigned style;
    } cells[] = {{"UNKNOWN", STYLE_RED},
                 {"Starting", STYLE_YELLOW},
                 {"Provisioning", STYLE_PLAIN},
                 {"Member", STYLE_GREEN},
                 {"Standby", STYLE_PLAIN}};
    size_t i = status < ARRAY_LEN(cells) ? status : 0;
    table_text(tb, cells[i].style, cells[i].name);
}

const char *ago_text(struct tool *t, uint64_t wall_ms)
{
    struct writer w = WRITER_INIT;
    if (ctl_of(t)->time_format == TIME_HUMAN) {
        uint64_t now = os_wall_ms();
        duration_precise(&w, now > wall_ms ? now - wall_ms : 0);
        write_fmt(&w, " ago");
    } else {
        instant_print(&w, ctl_of(t)->time_format, wall_ms);
    }
    return tool_take_text(t, &w);
}

void provider_text(struct writer *w, const char *provider, const char *replication, uint64_t nodeset_size,
                   unsigned depth)
{
    write_fmt(w, "%*s└ Logs Provider: %s\n", (int)depth, "", provider);
    if (strcmp(provider, "replicated") != 0)
        return;
    write_fmt(w, "%*s├ Log replication: %s\n", (int)depth + 1, "", replication ? replication : "*");
    write_fmt(w, "%*s└ Nodeset size: %llu\n", (int)depth + 1, "", (unsigned long long)nodeset_size);
}

const char *cluster_config_text(struct tool *t, const struct cluster_config *c)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w,
              "⚙️ Cluster Configuration\n├ Number of partitions: %llu\n├ Partition replication: %s\n",
              (unsigned long long)c->partitions, c->partition_replication ? c->partition_replication : "*");
    provider_text(&w, c->provider, c->log_replication, c->nodeset_size, 0);
    return tool_take_text(t, &w);
}

const struct log_segment *chain_tail(const struct log_chain *chain)
{
    return &chain->segments[chain->n_segments - 1];
}

bool segment_params(const struct log_segment *s, struct loglet_params *out)
{
    return s->kind == SEGMENT_REPLICATED && loglet_params_decode(slice_cstr(s->params), out, NULL) == RC_OK;
}
