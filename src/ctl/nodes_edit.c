/* `nodes set-storage-state`, `set-worker-state`: read, check, write back (spec/restatectl.md §11.2). */
#include <stdlib.h>

#include "base/time.h"
#include "ctl/ctl.h"

/* ---- who is meant ---- */

static const struct node_entry *find(struct tool *t, uint32_t id)
{
    const struct node_entry *e = nodes_config_by_id(ctl_of(t)->nodes, id);
    if (!e)
        tool_fail(t, "node N%u was not found in config", id);
    else if (e->tombstone)
        tool_fail(t, "node N%u has been permanently deleted from config", id);
    return e && !e->tombstone ? e : NULL;
}

static bool has_role(struct tool *t, const struct node_entry *e, enum node_role role)
{
    struct writer w = WRITER_INIT;
    if (e->roles & role)
        return true;
    for (size_t i = 0; node_role_at(i); i++)
        if (e->roles & node_role_at(i))
            write_fmt(&w, "%s%s", w.len ? ", " : "", node_role_name(node_role_at(i)));
    tool_fail(t, "Node N%u doesn't have `%s` role. Its last-observed generation N%u:%u has roles: [%.*s]",
              e->id, node_role_name(role), e->id, e->generation, SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
    return false;
}

static bool among(const struct ids *ids, uint32_t id)
{
    for (size_t i = 0; i < ids->len; i++)
        if (ids->items[i] == id)
            return true;
    return false;
}

/* Could `r` be met by nodes that pass? NULL, or why not. */
static const char *can_replicate(struct tool *t, const struct replication *r, const struct ids *without,
                                 bool (*candidate)(const struct node_entry *e))
{
    const struct nodes_config *nodes = ctl_of(t)->nodes;
    struct node_directory directory = {0};
    struct nodeset chosen;
    unsigned available = 0;
    struct err err = {0};
    for (size_t i = 0; i < nodes->n_nodes; i++) {
        const struct node_entry *e = &nodes->nodes[i];
        if (e->tombstone || !candidate(e) || among(without, e->id))
            continue;
        struct node_info info = {.id = e->id, .generation = e->generation, .storage = STORAGE_READ_WRITE};
        location_parse(slice_cstr(e->location), &info.location); /* none if it cannot be read */
        node_directory_put(&directory, &info);
        available++;
    }
    struct nodeset_wish wish = {.replication = *r};
    bool good = nodeset_select(&directory, &wish, &chosen, &err) == RC_OK;
    node_directory_free(&directory);
    if (good)
        return NULL;
    if (available < replication_copies(r))
        return tool_format(t,
                           "not enough candidate nodes to satisfy the replication factor; available=%u nodes "
                           "but replication=%u",
                           available, replication_copies(r));
    return "not enough locations to satisfy the replication property with the remaining nodes";
}

/* ---- the edit ---- */

struct state_edit {
    struct metadata_edit edit;
    const struct ids *ids;
    bool worker; /* else storage */
    enum storage_state storage;
    enum worker_state worker_state;
};

static bool same_node(const struct state_edit *e, const struct node_entry *now, const struct node_entry *seen)
{
    return now && !now->tombstone && now->generation == seen->generation &&
           (e->worker ? now->worker == seen->worker : now->storage == seen->storage);
}

static enum rc change_states(struct metadata_edit *edit, const struct slice *stored, struct writer *w,
                             uint32_t *version, struct err *err)
{
    struct state_edit *e = CONTAINER_OF(edit, struct state_edit, edit);
    struct tool *t = edit->t;
    struct nodes_config config;
    if (!stored)
        return err_set(err, RC_NOT_FOUND, NO_METADATA_TEXT);
    enum rc rc = nodes_config_decode(&t->arena, *stored, &config, err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < e->ids->len; i++) {
        const struct node_entry *seen = nodes_config_by_id(ctl_of(t)->nodes, e->ids->items[i]);
        struct node_entry *now = nodes_config_by_id(&config, e->ids->items[i]);
        if (!same_node(e, now, seen))
            return err_set(err, RC_CONFLICT,
                           "Unknown error: Node N%u:%u has changed it state during the update, "
                           "expected=%s, found=%s",
                           seen->id, seen->generation,
                           e->worker ? worker_state_name(seen->worker) : storage_state_name(seen->storage),
                           !now || now->tombstone ? "removed"
                           : e->worker            ? worker_state_name(now->worker)
                                                  : storage_state_name(now->storage));
        if (e->worker)
            now->worker = e->worker_state;
        else
            now->storage = e->storage;
    }
    config.version++;
    config.modified_at = hybrid_timestamp(os_wall_ms());
    *version = config.version;
    nodes_config_encode(w, &config);
    return RC_OK;
}

/* ---- storage ---- */

static bool writes(const struct node_entry *e)
{
    return (e->roles & ROLE_LOG_SERVER) && e->storage == STORAGE_READ_WRITE;
}

static bool storage_move_is_safe(enum storage_state from, enum storage_state to)
{
    return from == to || (from == STORAGE_PROVISIONING && to == STORAGE_DISABLED) ||
           (from == STORAGE_READ_ONLY && to == STORAGE_READ_WRITE) ||
           (from == STORAGE_READ_WRITE && to == STORAGE_READ_ONLY);
}

static int check_storage(struct tool *t, const struct ids *ids, enum storage_state to)
{
    bool force = tool_flag(t, "force");
    for (size_t i = 0; i < ids->len; i++) {
        const struct node_entry *e = find(t, ids->items[i]);
        if (!e)
            return 1;
        if (force)
            continue;
        if (!has_role(t, e, ROLE_LOG_SERVER))
            return 1;
        if (!storage_move_is_safe(e->storage, to))
            return tool_fail(
                t, "This node is currently in `%s` storage-state. Transitioning into `%s` is unsafe.",
                storage_state_name(e->storage), storage_state_name(to));
    }
    if (force || to == STORAGE_READ_WRITE)
        return 0;
    const struct logs_config *logs = need_logs(t);
    if (!logs)
        return 1;
    const char *why =
        logs->provider == LOG_PROVIDER_REPLICATED ? can_replicate(t, &logs->replication, ids, writes) : NULL;
    return why ? tool_fail_cause(t, why, "Safety-check failed: lost the ability to generate nodesets") : 0;
}

int nodes_set_storage_run(struct tool *t)
{
    struct ids ids = arg_nodes(t, "nodes");
    struct state_edit e = {.edit = {.change = change_states}, .ids = &ids};
    const char *error, *to = tool_text(t, "storage-state");
    storage_state_parse(slice_cstr(to), &e.storage);
    if (!need_cluster(t) || check_storage(t, &ids, e.storage) != 0)
        return 1;
    if (metadata_edit_run(t, NODES_CONFIG_KEY, &e.edit, &error) != RC_OK)
        return tool_fail(t, "%s", error);
    for (size_t i = 0; i < ids.len; i++)
        tool_say(t, "N%u storage-state has been updated from %s to %s\n", ids.items[i],
                 storage_state_name(nodes_config_by_id(ctl_of(t)->nodes, ids.items[i])->storage), to);
    return 0;
}

/* ---- worker ---- */

static bool works(const struct node_entry *e)
{
    return (e->roles & ROLE_WORKER) && e->worker == WORKER_ACTIVE;
}

static bool worker_move_is_safe(enum worker_state from, enum worker_state to)
{
    return from == to || from == WORKER_PROVISIONING || (from == WORKER_ACTIVE && to == WORKER_DRAINING) ||
           (from == WORKER_DRAINING && to == WORKER_ACTIVE) ||
           (from == WORKER_DISABLED && to == WORKER_ACTIVE);
}

static int check_worker(struct tool *t, const struct ids *ids, enum worker_state to)
{
    bool force = tool_flag(t, "force");
    for (size_t i = 0; i < ids->len; i++) {
        const struct node_entry *e = find(t, ids->items[i]);
        if (!e)
            return 1;
        if (force)
            continue;
        if (!has_role(t, e, ROLE_WORKER))
            return 1;
        if (!worker_move_is_safe(e->worker, to))
            return tool_fail(t, "Node N%u is in state %s. It's not safe to change its worker-state to %s",
                             e->id, worker_state_name(e->worker), worker_state_name(to));
    }
    if (force || to == WORKER_ACTIVE)
        return 0;
    const struct partition_table *table = need_partitions(t);
    if (!table)
        return 1;
    const char *why = can_replicate(t, &table->replication, ids, works);
    return why ? tool_fail(
                     t,
                     "Safety-check failed: Can no longer create new replica sets with worker-state changes.")
               : 0;
}

int nodes_set_worker_run(struct tool *t)
{
    struct ids ids = arg_nodes(t, "nodes");
    struct state_edit e = {.edit = {.change = change_states}, .ids = &ids, .worker = true};
    const char *error, *to = tool_text(t, "worker-state");
    worker_state_parse(slice_cstr(to), &e.worker_state);
    if (!need_cluster(t) || check_worker(t, &ids, e.worker_state) != 0)
        return 1;
    if (metadata_edit_run(t, NODES_CONFIG_KEY, &e.edit, &error) != RC_OK)
        return tool_fail(t, "%s", error);
    for (size_t i = 0; i < ids.len; i++) {
        const struct node_entry *seen = nodes_config_by_id(ctl_of(t)->nodes, ids.items[i]);
        tool_say(t, "N%u:%u worker-state has been updated from %s to %s\n", seen->id, seen->generation,
                 worker_state_name(seen->worker), to);
    }
    return 0;
}
