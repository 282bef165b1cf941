/* Versioned metadata from the nodes: see ctl.h (spec/restatectl.md §4.2). */
#include <stdlib.h>

#include "ctl/ctl.h"
#include "tool/document.h"

#define IDENT_PATH    "/restate.node_ctl_svc.NodeCtlSvc/GetIdent"
#define METADATA_PATH "/restate.node_ctl_svc.NodeCtlSvc/GetMetadata"

enum kind { KIND_NODES = 1, KIND_PARTITION_TABLE = 3, KIND_LOGS = 4 };

bool ident_decode(struct tool *t, struct slice message, struct ident *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    size_t n = 0;
    *out = (struct ident){.cluster_name = msg_text(t, message, 3)};
    while (pb_next(&r, &f))
        n += f.number == 4;
    out->roles = arena_array(&t->arena, const char *, n + 1);
    for (r = reader_make(message); pb_next(&r, &f);)
        if (f.number == 4 && f.wire == PB_LEN)
            out->roles[out->n_roles++] = arena_copy_slice(&t->arena, f.bytes);
    struct slice id = msg_bytes(message, 2);
    out->status = (unsigned)msg_u64(message, 1);
    out->id = (uint32_t)msg_u64(id, 1);
    out->generation = (uint32_t)msg_u64(id, 2);
    out->age_s = msg_u64(message, 5);
    out->admin = (unsigned)msg_u64(message, 6);
    out->worker = (unsigned)msg_u64(message, 7);
    out->log_server = (unsigned)msg_u64(message, 8);
    out->metadata_server = (unsigned)msg_u64(message, 9);
    out->nodes_version = (uint32_t)msg_u64(message, 10);
    out->logs_version = (uint32_t)msg_u64(message, 11);
    out->schema_version = (uint32_t)msg_u64(message, 12);
    out->partition_table_version = (uint32_t)msg_u64(message, 13);
    return !r.failed;
}

struct fetched {
    struct nodes_config *nodes;
    struct logs_config *logs;
    struct partition_table *partitions;
    uint32_t version;
};

static uint32_t ident_version(const struct ident *i, enum kind kind)
{
    return kind == KIND_NODES  ? i->nodes_version
           : kind == KIND_LOGS ? i->logs_version
                               : i->partition_table_version;
}

/* A server may send values as JSON (spec/restatectl.md §7.2): the same members, so the decoders get them in
 * the form that they know. */
static enum rc from_json(struct tool *t, struct slice *stored, struct err *err)
{
    struct doc *d;
    struct writer w = WRITER_INIT;
    if (stored->len == 0 || stored->ptr[0] != CODEC_JSON)
        return RC_OK;
    enum rc rc = doc_decode(&t->arena, *stored, &d, err);
    if (rc != RC_OK)
        return rc;
    struct doc *version = doc_member(d, SLICE_LIT("version"));
    if (!version || version->kind != DOC_UINT)
        return err_set(err, RC_CORRUPT, "missing field `version`");
    doc_encode(&w, d, version->number);
    *stored = slice_make(arena_copy_slice(&t->arena, writer_slice(&w)), w.len);
    writer_free(&w);
    return RC_OK;
}

static enum rc decode(struct tool *t, enum kind kind, struct slice stored, struct fetched *out,
                      struct err *err)
{
    *out = (struct fetched){0};
    enum rc rc = from_json(t, &stored, err);
    if (rc != RC_OK)
        return rc;
    if (kind == KIND_NODES) {
        out->nodes = arena_alloc(&t->arena, sizeof(*out->nodes));
        rc = nodes_config_decode(&t->arena, stored, out->nodes, err);
        out->version = out->nodes->version;
    } else if (kind == KIND_LOGS) {
        out->logs = arena_alloc(&t->arena, sizeof(*out->logs));
        rc = logs_config_decode(&t->arena, stored, out->logs, err);
        out->version = out->logs->version;
    } else {
        out->partitions = arena_alloc(&t->arena, sizeof(*out->partitions));
        rc = partition_table_decode(stored, out->partitions, err);
        out->version = out->partitions->version;
    }
    return rc;
}

static void remember(struct tool *t, struct contacts *contacts, const char *address,
                     const struct ident *ident)
{
    if (contacts->seen.len == contacts->seen.cap) {
        size_t cap = contacts->seen.cap ? contacts->seen.cap * 2 : 4;
        struct seen_node *items = arena_array(&t->arena, struct seen_node, cap);
        if (contacts->seen.len)
            memcpy(items, contacts->seen.items, contacts->seen.len * sizeof(*items));
        contacts->seen.items = items;
        contacts->seen.cap = cap;
    }
    contacts->seen.items[contacts->seen.len++] = (struct seen_node){address, *ident};
}

/* One address. true: it gave a better value. */
static bool ask(struct ctl *c, const char *address, enum kind kind, struct fetched *best,
                struct contacts *contacts, struct err *err)
{
    struct peer *p = ctl_peer(c, address);
    struct rpc r = {.address = p->address, .path = IDENT_PATH, .dead = p->dead};
    struct ident ident;
    rpc_run(c, &r, 1);
    if (!rpc_good(&r)) {
        p->dead = true;
        failures_add(c->tool, &contacts->failures, p->address, &r.status);
        return false;
    }
    if (!ident_decode(c->tool, bytes_slice(r.reply), &ident))
        return false;
    remember(c->tool, contacts, p->address, &ident);
    if (ident.status != 1 || ident_version(&ident, kind) <= best->version)
        return false;
    struct writer request = WRITER_INIT;
    pb_write_u64(&request, 2, kind);
    struct rpc get = {.address = p->address, .path = METADATA_PATH, .request = writer_take(&request)};
    rpc_run(c, &get, 1);
    if (!rpc_good(&get)) {
        failures_add(c->tool, &contacts->failures, p->address, &get.status);
        return false;
    }
    struct fetched got;
    enum rc rc = decode(c->tool, kind, msg_bytes(bytes_slice(get.reply), 1), &got, err);
    if (rc != RC_OK) {
        err_prefix(err, "Failed to decode metadata from node %s: ", p->address);
        return false;
    }
    if (got.version <= best->version)
        return false;
    *best = got;
    return true;
}

/* RC_OK; RC_NOT_FOUND: somebody answered, but has no value; RC_UNAVAILABLE: nobody answered; else fatal. */
static enum rc latest(struct ctl *c, enum kind kind, const char *const *addresses, size_t n,
                      size_t stop_after, struct fetched *best, struct contacts *contacts, struct err *err)
{
    *best = (struct fetched){0};
    for (size_t i = 0; i < n && stop_after > 0; i++) {
        if (ask(c, addresses[i], kind, best, contacts, err))
            stop_after--;
        if (err->rc != RC_OK)
            return err->rc;
    }
    if (best->version)
        return RC_OK;
    if (contacts->seen.len == 0)
        return err_set(err, RC_UNAVAILABLE, "nobody answered");
    contacts->not_available = true;
    return err_set(err, RC_NOT_FOUND, NO_METADATA_TEXT);
}

const struct nodes_config *fetch_nodes(struct ctl *c, struct contacts *contacts, struct err *err)
{
    struct contacts own = {0};
    struct fetched best;
    if (!contacts)
        contacts = &own;
    if (!c->nodes && latest(c, KIND_NODES, c->seeds, c->n_seeds, c->single ? 1 : c->n_seeds, &best, contacts,
                            err) == RC_OK)
        c->nodes = best.nodes;
    return c->nodes;
}

static void print_fetch_error(struct tool *t, const struct contacts *contacts, const struct err *err)
{
    if (err->rc == RC_UNAVAILABLE)
        tool_fail(t, "%s", failures_text(t, &contacts->failures));
    else
        tool_fail(t, "%s", err->msg);
}

const struct nodes_config *need_nodes(struct tool *t)
{
    struct contacts contacts = {0};
    struct err err = {0};
    const struct nodes_config *nodes = fetch_nodes(ctl_of(t), &contacts, &err);
    if (!nodes)
        print_fetch_error(t, &contacts, &err);
    return nodes;
}

/* Addresses of all nodes, those with a connection first; the rest in an order that spreads the load. */
static size_t all_addresses(struct ctl *c, const char **out)
{
    size_t n = 0, first_new;
    if (c->single) {
        out[0] = c->seeds[0];
        return 1;
    }
    for (size_t i = 0; i < c->nodes->n_nodes; i++)
        if (!c->nodes->nodes[i].tombstone && ctl_peer(c, c->nodes->nodes[i].address)->connected)
            out[n++] = c->nodes->nodes[i].address;
    first_new = n;
    for (size_t i = 0; i < c->nodes->n_nodes; i++)
        if (!c->nodes->nodes[i].tombstone && !ctl_peer(c, c->nodes->nodes[i].address)->connected)
            out[n++] = c->nodes->nodes[i].address;
    for (size_t i = n; i > first_new + 1; i--) {
        size_t j = first_new + env_random(loop_env(c->loop)) % (i - first_new);
        const char *swap = out[i - 1];
        out[i - 1] = out[j];
        out[j] = swap;
    }
    return n;
}

static bool fetch_rest(struct tool *t, enum kind kind, struct fetched *best)
{
    struct ctl *c = ctl_of(t);
    struct contacts contacts = {0};
    struct err err = {0};
    if (!need_nodes(t))
        return false;
    const char **addresses = arena_array(&t->arena, const char *, c->nodes->n_nodes + 1);
    size_t n = all_addresses(c, addresses);
    if (latest(c, kind, addresses, n, c->single ? 1 : n / 2 + 1, best, &contacts, &err) == RC_OK)
        return true;
    print_fetch_error(t, &contacts, &err);
    return false;
}

const struct logs_config *need_logs(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    struct fetched best;
    if (!c->logs && fetch_rest(t, KIND_LOGS, &best))
        c->logs = best.logs;
    return c->logs;
}

const struct partition_table *need_partitions(struct tool *t)
{
    struct ctl *c = ctl_of(t);
    struct fetched best;
    if (!c->partitions && fetch_rest(t, KIND_PARTITION_TABLE, &best))
        c->partitions = best.partitions;
    return c->partitions;
}
