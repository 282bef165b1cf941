/* Changes of epoch metadata: see partitions_edit.h. */
#include "ctl/partitions_edit.h"

struct ids existing_partitions(struct tool *t, const struct partition_table *table)
{
    struct ids asked = arg_ranges(t, "PARTITION_ID"), found = {0};
    found.items = arena_array(&t->arena, uint32_t, MAX(asked.len, table->n_partitions) + 1);
    for (size_t i = 0; i < asked.len; i++) {
        if (asked.items[i] < table->n_partitions)
            found.items[found.len++] = asked.items[i];
        else
            tool_item_failed(t,
                             tool_format(t, "restatectl::commands::partition::%s::%s",
                                         t->parsed.path[2]->name, t->parsed.path[3]->name),
                             "Partition %u does not exist, skipping.", asked.items[i]);
    }
    for (uint32_t p = 0; asked.len == 0 && p < table->n_partitions; p++)
        found.items[found.len++] = p;
    return found;
}

bool read_epoch(struct tool *t, uint32_t partition, struct epoch_metadata *out, const char **error)
{
    char key[EPOCH_KEY_SIZE];
    struct slice stored;
    struct answer a;
    struct err err = {0};
    uint32_t version;
    bool present;
    *error = NULL;
    epoch_key(partition, key);
    if (!metadata_get(t, key, &stored, &version, &present, &a)) {
        *error = a.error;
        return false;
    }
    if (!present)
        return false;
    if (epoch_metadata_decode(&t->arena, stored, partition, out, &err) == RC_OK)
        return true;
    *error = tool_format(t, "%s", err.msg);
    return false;
}

struct epoch_edit {
    struct metadata_edit edit;
    uint32_t partition;
    epoch_change change;
    const void *arg;
};

static enum rc change_epoch(struct metadata_edit *edit, const struct slice *stored, struct writer *w,
                            uint32_t *version, struct err *err)
{
    struct epoch_edit *e = CONTAINER_OF(edit, struct epoch_edit, edit);
    struct epoch_metadata m;
    if (!stored)
        return err_set(err, RC_NOT_FOUND, "partition %u has not been created yet", e->partition);
    enum rc rc = epoch_metadata_decode(&edit->t->arena, *stored, e->partition, &m, err);
    if (rc != RC_OK)
        return rc;
    uint32_t before = m.version;
    const char *why = e->change(edit->t, &m, e->partition, e->arg);
    if (why)
        return err_set(err, RC_CONFLICT, "%s", why);
    if (m.version == before)
        return RC_EOF;
    *version = m.version;
    epoch_metadata_encode(w, e->partition, &m);
    return RC_OK;
}

/* The controller may be any admin node: the others say so, and the next one is tried. */
static int sync_partitions(struct tool *t, const uint32_t *ids, size_t n)
{
    struct writer request = WRITER_INIT, packed = WRITER_INIT;
    for (size_t i = 0; i < n; i++)
        write_varint(&packed, ids[i]);
    pb_write_bytes(&request, 1, writer_slice(&packed));
    writer_free(&packed);
    struct answer a =
        ctl_call(ctl_of(t), ROLE_ADMIN, "/restate.cluster_ctrl.ClusterCtrlSvc/SyncEpochMetadata", &request);
    return a.good ? 0 : tool_fail(t, "%s", a.error);
}

int edit_partitions(struct tool *t, const struct ids *partitions, epoch_change change, const void *arg,
                    const char *said)
{
    size_t changed = 0;
    const char *error = NULL;
    for (size_t i = 0; i < partitions->len; i++) {
        struct epoch_edit e = {.edit = {.change = change_epoch},
                               .partition = partitions->items[i],
                               .change = change,
                               .arg = arg};
        char key[EPOCH_KEY_SIZE];
        epoch_key(e.partition, key);
        enum rc rc = metadata_edit_run(t, key, &e.edit, &error);
        if (rc != RC_OK && rc != RC_EOF)
            break;
        error = NULL;
        changed++;
    }
    int rc = changed ? sync_partitions(t, partitions->items, changed) : 0;
    for (size_t i = 0; rc == 0 && i < changed; i++) {
        struct slice text = slice_cstr(said);
        size_t percent = (size_t)slice_find(text, '%', 0);
        tool_say(t, "%.*s%u%s\n", (int)percent, said, partitions->items[i], said + percent + 2);
    }
    if (error)
        rc = tool_fail(t, "%s", error);
    return rc ? rc : tool_done(t);
}

int edit_asked_partitions(struct tool *t, epoch_change change, const void *arg, const char *said)
{
    const struct partition_table *table;
    if (!need_cluster(t) || !(table = need_partitions(t)))
        return 1;
    struct ids ids = existing_partitions(t, table);
    return edit_partitions(t, &ids, change, arg, said);
}
