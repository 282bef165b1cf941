/* Object state and durable promises: state patches (spec/invocation-lifecycle.md §6.3), reads that the server
 * completes, promises (§7.5). */
#include "partition/machine_internal.h"

/* ---- patches ---- */

static bool version_matches(struct machine *m, const struct cmd_patch_state *c, const struct object_name *o)
{
    char version[44];
    if (!c->expected_version.ptr)
        return true;
    store_state_version(m->store, o->service, o->key, version);
    return slice_eq_cstr(c->expected_version, version);
}

void machine_patch_state(struct machine *m, struct bytes patch)
{
    struct cmd_patch_state c;
    struct reader r = reader_make(bytes_slice(patch));
    if (!cmd_patch_state_read(&r, &c))
        return; /* was decoded when its record was applied; cannot happen */
    struct object_name o = object_name_make(c.service, c.key, c.scope);
    if (version_matches(m, &c, &o)) {
        store_state_clear_all(m->store, o.service, o.key);
        struct reader entries = reader_make(c.entries);
        while (reader_left(&entries)) {
            struct slice key = read_lp(&entries);
            struct slice content = read_lp(&entries);
            struct bytes value = bytes_part(patch, content);
            bytes_compact(&value);
            store_state_put(m->store, o.service, o.key, key, value);
        }
    }
    object_name_free(&o);
}

enum rc apply_patch_state(struct machine *m, struct err *err)
{
    struct cmd_patch_state c;
    struct reader r = reader_make(m->body);
    if (!cmd_patch_state_read(&r, &c))
        return machine_undecodable(m, CMD_PATCH_STATE, err);
    struct bytes patch = bytes_part(m->record, m->body);
    struct object_name o = object_name_make(c.service, c.key, c.scope);
    struct invocation_id owner;
    if (store_lock_get(m->store, o.service, o.key, &owner)) { /* in turn, between two invocations */
        struct inbox_entry e = {.seq = m->vars->inbox_seq++, .kind = INBOX_STATE_PATCH, .patch = patch};
        store_inbox_push(m->store, o.service, o.key, &e);
    } else {
        machine_patch_state(m, patch);
        bytes_unref(&patch);
    }
    object_name_free(&o);
    return RC_OK;
}

/* ---- lazy reads ---- */

void machine_get_lazy_state(struct machine *m, struct invocation *inv, const struct command_view *c)
{
    struct object_name name = object_name_of(&inv->si.target);
    struct bytes value = BYTES_EMPTY;
    struct outcome o = {.kind = OUTCOME_VOID};
    if (store_state_get(m->store, name.service, name.key, c->key, &value))
        o = (struct outcome){.kind = OUTCOME_SUCCESS, .value = bytes_slice(value)};
    object_name_free(&name);
    machine_complete(m, inv, MSG_N_GET_LAZY_STATE, c->completion_id, &o);
    bytes_unref(&value);
}

static bool collect_key(void *ctx, struct slice state_key, struct bytes value)
{
    write_lp(ctx, state_key);
    return true;
}

void machine_get_lazy_state_keys(struct machine *m, struct invocation *inv, const struct command_view *c)
{
    struct object_name o = object_name_of(&inv->si.target);
    struct writer keys = WRITER_INIT, w = WRITER_INIT;
    store_state_scan(m->store, o.service, o.key, collect_key, &keys);
    object_name_free(&o);
    notification_state_keys_write(&w, c->completion_id, writer_slice(&keys));
    writer_free(&keys);
    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = c->completion_id};
    machine_notify(m, inv, MSG_N_GET_LAZY_STATE_KEYS, &id, OUTCOME_SUCCESS, writer_take(&w));
}

/* ---- promises ---- */

/* Zeroed if there is none. */
static void promise_get(struct machine *m, const struct invocation *inv, struct slice key,
                        struct promise *out)
{
    struct object_name o = object_name_of(&inv->si.target);
    if (!store_promise_get(m->store, o.service, o.key, key, out))
        *out = (struct promise){0};
    object_name_free(&o);
}

void machine_get_promise(struct machine *m, struct invocation *inv, const struct command_view *c)
{
    struct promise p;
    promise_get(m, inv, c->key, &p);
    if (p.outcome.kind != OUTCOME_NONE) {
        machine_complete(m, inv, MSG_N_GET_PROMISE, c->completion_id, &p.outcome);
        return;
    }
    struct object_name o = object_name_of(&inv->si.target);
    store_promise_listen(m->store, o.service, o.key, c->key,
                         (struct promise_listener){inv->id, c->completion_id});
    object_name_free(&o);
}

void machine_peek_promise(struct machine *m, struct invocation *inv, const struct command_view *c)
{
    struct promise p;
    promise_get(m, inv, c->key, &p);
    if (p.outcome.kind == OUTCOME_NONE)
        p.outcome.kind = OUTCOME_VOID;
    machine_complete(m, inv, MSG_N_PEEK_PROMISE, c->completion_id, &p.outcome);
}

void machine_complete_promise(struct machine *m, struct invocation *inv, const struct command_view *c)
{
    struct promise p;
    promise_get(m, inv, c->key, &p);
    if (p.outcome.kind != OUTCOME_NONE) {
        struct bytes owner;
        struct outcome failure = machine_failure(409, "promise was already completed", &owner);
        machine_complete(m, inv, MSG_N_COMPLETE_PROMISE, c->completion_id, &failure);
        bytes_unref(&owner);
        return;
    }
    for (size_t i = 0; i < p.n_listeners; i++)
        machine_send_response(m, CMD_INVOCATION_RESPONSE, p.listeners[i].id, p.listeners[i].completion_id,
                              &c->value);
    struct object_name o = object_name_of(&inv->si.target);
    store_promise_complete(m->store, o.service, o.key, c->key, &c->value);
    object_name_free(&o);
    machine_complete(m, inv, MSG_N_COMPLETE_PROMISE, c->completion_id,
                     &(struct outcome){.kind = OUTCOME_VOID});
}
