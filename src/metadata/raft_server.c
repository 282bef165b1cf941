/* A node's metadata server: identity, requests, joining. See raft_server.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "metadata/raft_server_internal.h"

#define TARGET            "restate_metadata_server"
#define WARN_PERCENT      80u
#define ALARM_PERCENT     95u
#define STOP_ELECTIONS    2u
#define IDENTITY_AGAIN_MS 500u

void raft_server_options_default(struct raft_server_options *o)
{
    *o = (struct raft_server_options){
        .cluster_name = "localcluster", .state_bytes_max = 32u << 20, .requests_max = 4096};
    raft_options_default(&o->raft);
}

void raft_member_format(struct raft_member m, char out[RAFT_MEMBER_TEXT])
{
    snprintf(out, RAFT_MEMBER_TEXT, "N%u:%x", m.node, (unsigned)(m.storage & 0xffff));
}

/* ---- commands in the log ----
 * command := u8 put, u8 precondition, u32 version, u32 expected version, varint-prefixed key, value */

static void write_command(struct writer *w, const struct metadata_request *q)
{
    write_u8(w, q->kind == METADATA_PUT);
    write_u8(w, q->precondition);
    write_u32le(w, q->version);
    write_u32le(w, q->expected_version);
    write_lp(w, q->key);
    write_lp(w, q->value);
}

static bool read_command(struct slice in, struct kv_write *out)
{
    struct reader r = reader_make(in);
    *out = (struct kv_write){.put = read_u8(&r) == 1};
    out->precondition = (enum kv_precondition)read_u8(&r);
    out->version = read_u32le(&r);
    out->expected_version = read_u32le(&r);
    out->key = read_lp(&r);
    out->value = read_lp(&r);
    return reader_done(&r);
}

/* ---- answers ---- */

static enum metadata_outcome outcome_of(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return METADATA_DONE;
    case RC_CONFLICT:
        return METADATA_CONFLICT;
    case RC_TOO_LARGE:
        return METADATA_TOO_LARGE;
    case RC_NO_SPACE:
        return METADATA_NO_SPACE;
    case RC_NOT_LEADER:
        return METADATA_NOT_LEADER;
    case RC_AGAIN:
    case RC_OVERLOADED:
    case RC_UNAVAILABLE:
        return METADATA_BUSY;
    default:
        return METADATA_REFUSED;
    }
}

/* Whom to ask instead: the leader, or while none is known some other member, so that a client that knows only
 * a removed one finds its way. */
static struct raft_member hint(struct raft_server *s)
{
    struct raft_member m = s->raft ? raft_leader(s->raft) : (struct raft_member){0};
    if (m.node || !s->raft)
        return m;
    const struct raft_members *all = raft_members_committed(s->raft);
    if (all->n)
        m = all->items[env_random(s->env) % all->n];
    return raft_member_eq(m, raft_self(s->raft)) ? (struct raft_member){0} : m;
}

static void answer(struct raft_server *s, struct raft_call *call, uint64_t id, enum metadata_outcome outcome,
                   const char *message)
{
    struct metadata_response p = {.id = id, .outcome = outcome, .message = slice_cstr(message)};
    if (outcome == METADATA_NOT_LEADER)
        p.leader = hint(s);
    if (p.leader.node && s->ops->address_of)
        p.leader_address = slice_cstr(s->ops->address_of(s->ctx, p.leader.node));
    call->done(call, &p);
}

static void answer_get(struct raft_server *s, struct raft_call *call, uint64_t id, struct slice key)
{
    struct kv_entry e;
    struct metadata_response p = {.id = id, .outcome = METADATA_ABSENT};
    if (kv_table_get(&s->table, key, &e)) {
        p.outcome = METADATA_DONE;
        p.version = e.version;
        p.value = bytes_slice(e.value);
    }
    call->done(call, &p);
}

static void answer_list(struct raft_server *s, struct raft_call *call, uint64_t id, struct slice prefix)
{
    struct writer w = WRITER_INIT;
    struct kv_entry e;
    for (struct kv_cursor c = kv_table_seek(&s->table, prefix); kv_cursor_next(&c, &e);) {
        if (!slice_starts_with(e.key, prefix))
            break;
        metadata_entry_write(&w, &(struct metadata_entry){e.version, e.key, bytes_slice(e.value)});
    }
    struct metadata_response p = {.id = id, .outcome = METADATA_DONE, .value = writer_slice(&w)};
    call->done(call, &p);
    writer_free(&w);
}

static void waiting_free(struct raft_server *s, struct waiting *w)
{
    list_remove(&w->link);
    s->n_waiting--;
    bytes_unref(&w->command);
    bytes_unref(&w->key);
    free(w);
}

static struct waiting *wait_for(struct raft_server *s, const struct metadata_request *q, struct raft_call *c)
{
    struct waiting *w = xcalloc(1, sizeof(*w));
    list_init(&w->link);
    list_push_back(&s->waiting, &w->link);
    s->n_waiting++;
    w->id = q->id;
    w->kind = q->kind;
    w->call = c;
    w->term = raft_term(s->raft);
    return w;
}

/* ---- applying ---- */

static void watch_size(struct raft_server *s)
{
    size_t percent = s->table.bytes * 100 / s->opt.state_bytes_max;
    unsigned level = percent >= ALARM_PERCENT ? 2 : percent >= WARN_PERCENT ? 1 : 0;
    if (level > s->size_level)
        LOG0(level == 2 ? LOG_ERROR : LOG_WARN, TARGET,
             "the metadata takes %zu of %zu bytes that it may have; writes above are refused", s->table.bytes,
             s->opt.state_bytes_max);
    s->size_level = level;
}

static enum rc apply_command(struct raft_server *s, struct slice command, const char **message)
{
    struct kv_write w;
    *message = "";
    if (!read_command(command, &w))
        return RC_INVALID; /* the same on every member */
    enum rc rc = kv_table_judge(&s->table, &w, message);
    if (rc)
        return rc;
    if (w.put)
        kv_table_put(&s->table, w.key, bytes_copy(w.value), w.version);
    else
        kv_table_delete(&s->table, w.key);
    if (s->ops->applied)
        s->ops->applied(s->ctx, w.key, w.put ? w.version : 0);
    return RC_OK;
}

static void host_apply(struct raft_host *h, uint64_t index, const struct raft_log_entry *e)
{
    struct raft_server *s = CONTAINER_OF(h, struct raft_server, host);
    const char *message;
    enum rc rc = e->kind == RAFT_COMMAND ? apply_command(s, bytes_slice(e->data), &message) : RC_OK;
    if (s->ops->committed)
        s->ops->committed(s->ctx, index, e);
    if (e->kind != RAFT_COMMAND)
        return;
    watch_size(s);
    LIST_FOREACH_SAFE(n, next, &s->waiting)
    {
        struct waiting *w = CONTAINER_OF(n, struct waiting, link);
        if (w->what != WAIT_COMMIT || w->index != index || w->term != e->term)
            continue;
        struct raft_call *call = w->call;
        uint64_t id = w->id;
        waiting_free(s, w);
        answer(s, call, id, outcome_of(rc), message);
        return;
    }
}

static void host_snapshot(struct raft_host *h, struct writer *w)
{
    kv_table_write(&CONTAINER_OF(h, struct raft_server, host)->table, w);
}

static enum rc host_restore(struct raft_host *h, uint64_t index, struct slice data, struct err *err)
{
    struct raft_server *s = CONTAINER_OF(h, struct raft_server, host);
    struct kv_table fresh;
    kv_table_init(&fresh);
    enum rc rc = kv_table_read(&fresh, data, err);
    if (rc)
        return rc;
    kv_table_free(&s->table);
    s->table = fresh;
    watch_size(s);
    if (s->ops->committed)
        s->ops->committed(s->ctx, index, NULL);
    if (s->ops->applied) {
        struct kv_entry e;
        for (struct kv_cursor c = kv_table_seek(&s->table, SLICE_EMPTY); kv_cursor_next(&c, &e);)
            s->ops->applied(s->ctx, e.key, e.version);
    }
    return RC_OK;
}

/* ---- requests ---- */

static void submit_proposal(struct raft_server *s, const struct metadata_request *q, struct slice command,
                            struct raft_call *c)
{
    uint64_t index;
    enum rc rc = raft_propose(s->raft, command, &index);
    if (rc) {
        answer(s, c, q->id, outcome_of(rc),
               rc == RC_NO_SPACE ? "the disk of the metadata server refuses writes" : "");
        return;
    }
    struct waiting *w = wait_for(s, q, c);
    w->what = WAIT_COMMIT;
    w->index = index;
}

static void submit_write(struct raft_server *s, const struct metadata_request *q, struct raft_call *c)
{
    struct kv_write w = {q->kind == METADATA_PUT,
                         (enum kv_precondition)q->precondition,
                         q->version,
                         q->expected_version,
                         q->key,
                         q->value};
    const char *message;
    enum rc rc = kv_table_judge(&s->table, &w, &message);
    if (rc == RC_OK && w.put && s->table.bytes + q->value.len > s->opt.state_bytes_max) {
        rc = RC_TOO_LARGE;
        message = "the metadata store is full";
    }
    if (rc == RC_INVALID || rc == RC_TOO_LARGE) {
        answer(s, c, q->id, outcome_of(rc), message);
        return;
    }
    struct writer command = WRITER_INIT;
    write_command(&command, q);
    if (rc == RC_OK) {
        submit_proposal(s, q, writer_slice(&command), c);
        writer_free(&command);
        return;
    }
    /* Looks refused. But a leader that was replaced without knowing sees an old state: refusing is a read,
     * and must be confirmed like one. */
    struct waiting *waiting = wait_for(s, q, c);
    waiting->what = WAIT_ROUND;
    waiting->ticket = raft_read_ticket(s->raft);
    waiting->command = writer_take(&command);
}

static void submit_read(struct raft_server *s, const struct metadata_request *q, struct raft_call *c)
{
    struct waiting *w = wait_for(s, q, c);
    w->what = WAIT_ROUND;
    w->ticket = raft_read_ticket(s->raft);
    w->key = bytes_copy(q->key);
}

static void refuse_lost_disk(struct raft_server *s, const struct metadata_request *q, struct raft_member who,
                             struct raft_call *c)
{
    char name[RAFT_MEMBER_TEXT], text[256];
    raft_member_format(who, name);
    if (s->opt.replace_lost_storage && q->replace) {
        enum rc rc = raft_remove(s->raft, who.node);
        LOG0(LOG_WARN, TARGET,
             "node '%s' comes back with a new storage: the lost one leaves the members (%s)", name,
             rc_name(rc));
        answer(s, c, q->id, METADATA_BUSY, "the lost storage is being removed");
        return;
    }
    snprintf(text, sizeof(text),
             "Node '%s' has registered before with a different storage id. This indicates that this node has "
             "lost its disk. Rejecting the join attempt.",
             name);
    answer(s, c, q->id, METADATA_CONFLICT, text);
}

static void submit_join(struct raft_server *s, const struct metadata_request *q, struct raft_member who,
                        struct raft_call *c)
{
    const char *reason = who.node == 0 ? "the node has no id yet" : NULL;
    if (!reason && s->ops->may_join)
        reason = s->ops->may_join(s->ctx, who.node);
    if (reason) {
        answer(s, c, q->id, METADATA_REFUSED, reason);
        return;
    }
    enum rc rc = raft_add(s->raft, who);
    if (rc == RC_CONFLICT)
        refuse_lost_disk(s, q, who, c);
    else if (rc == RC_EXISTS)
        answer(s, c, q->id, METADATA_DONE, "");
    else if (rc == RC_OK || rc == RC_AGAIN)
        answer(s, c, q->id, METADATA_BUSY, rc == RC_OK ? "joining" : "another membership change is pending");
    else
        answer(s, c, q->id, outcome_of(rc), "the metadata server has as many members as it may have");
}

static void submit(struct raft_server *s, const struct metadata_request *q, struct raft_member from,
                   struct raft_call *c)
{
    if (!s->raft || (raft_members_committed(s->raft)->n == 0 && raft_leader(s->raft).node == 0)) {
        answer(s, c, q->id, METADATA_NOT_PROVISIONED, "Metadata store has not been provisioned yet");
    } else if (raft_role(s->raft) != RAFT_LEADER || s->stopping) {
        answer(s, c, q->id, METADATA_NOT_LEADER, "");
    } else if (s->n_waiting >= s->opt.requests_max) {
        answer(s, c, q->id, METADATA_BUSY, "too many metadata requests are waiting");
    } else if (q->kind == METADATA_PUT || q->kind == METADATA_DELETE) {
        submit_write(s, q, c);
    } else if (q->kind == METADATA_GET || q->kind == METADATA_LIST) {
        submit_read(s, q, c);
    } else {
        submit_join(s, q, from, c);
    }
}

void raft_server_submit(struct raft_server *s, const struct metadata_request *q, struct raft_call *c)
{
    struct raft_member self = s->raft ? raft_self(s->raft) : (struct raft_member){0};
    submit(s, q, self, c);
}

/* ---- what became due ---- */

static void answer_confirmed(struct raft_server *s, struct waiting *w)
{
    struct waiting own = *w;
    w->command = w->key = BYTES_EMPTY;
    waiting_free(s, w);
    if (own.kind == METADATA_GET) {
        answer_get(s, own.call, own.id, bytes_slice(own.key));
    } else if (own.kind == METADATA_LIST) {
        answer_list(s, own.call, own.id, bytes_slice(own.key));
    } else {
        struct kv_write write;
        const char *message;
        bool readable = read_command(bytes_slice(own.command), &write);
        ASSERT(readable);
        enum rc rc = kv_table_judge(&s->table, &write, &message);
        struct metadata_request q = {.id = own.id, .kind = own.kind};
        if (rc)
            answer(s, own.call, own.id, outcome_of(rc), message);
        else
            submit_proposal(s, &q, bytes_slice(own.command), own.call);
    }
    bytes_unref(&own.command);
    bytes_unref(&own.key);
}

/* Leadership was lost since: an entry may still become committed, a read has not happened. */
static void fail_waiting(struct raft_server *s, struct waiting *w)
{
    struct raft_call *call = w->call;
    uint64_t id = w->id;
    enum waiting_for what = w->what;
    waiting_free(s, w);
    if (what == WAIT_COMMIT)
        answer(s, call, id, METADATA_UNDECIDED, "the leadership of the metadata server changed");
    else
        answer(s, call, id, METADATA_NOT_LEADER, "");
}

static void settle(struct raft_server *s)
{
    bool leads = raft_role(s->raft) == RAFT_LEADER;
    uint64_t confirmed = raft_confirmed(s->raft);
    /* Answers may submit more: those wait for later rounds. Walk over what is there now. */
    struct list now;
    list_init(&now);
    list_splice(&now, &s->waiting);
    struct list *n;
    while ((n = list_pop_front(&now))) {
        struct waiting *w = CONTAINER_OF(n, struct waiting, link);
        list_push_back(&s->waiting, n);
        if (!leads || w->term != raft_term(s->raft))
            fail_waiting(s, w);
        else if (w->what == WAIT_ROUND && w->ticket <= confirmed)
            answer_confirmed(s, w);
    }
}

static void finish_stop(struct raft_server *s)
{
    void (*stopped)(void *ctx) = s->stopped;
    s->stopped = NULL;
    env_timer_cancel(s->env, &s->stop_timer);
    if (stopped)
        stopped(s->ctx);
}

static void host_changed(struct raft_host *h)
{
    struct raft_server *s = CONTAINER_OF(h, struct raft_server, host);
    settle(s);
    /* A leader that cannot write should not lead while others can (BETTER B18). */
    if (raft_disk_full(s->raft) && raft_role(s->raft) == RAFT_LEADER)
        raft_transfer(s->raft, 0);
    if (s->ops->changed)
        s->ops->changed(s->ctx);
    if (s->stopped && s->n_waiting == 0 && (raft_role(s->raft) != RAFT_LEADER || !s->hands_over))
        finish_stop(s);
}

/* ---- messages ---- */

static void host_send(struct raft_host *h, const struct metadata_message *m)
{
    struct raft_server *s = CONTAINER_OF(h, struct raft_server, host);
    struct metadata_message out = *m;
    struct raft_server_status status;
    raft_server_status(s, &status);
    out.header.fingerprint = status.fingerprint;
    out.header.cluster_name = slice_cstr(s->cluster_name);
    out.header.from = status.self;
    struct writer w = WRITER_INIT;
    metadata_message_encode(&w, &out);
    s->ops->send(s->ctx, m->header.to.node, writer_slice(&w));
    writer_free(&w);
}

struct remote_call {
    struct raft_call base;
    struct raft_server *server;
    struct raft_reply *reply;
};

static void send_response(struct raft_server *s, struct raft_reply *reply, const struct metadata_response *p)
{
    struct raft_server_status status;
    raft_server_status(s, &status);
    struct metadata_message m = {.kind = METADATA_RESPONSE, .response = *p};
    m.header.fingerprint = status.fingerprint;
    m.header.cluster_name = slice_cstr(s->cluster_name);
    m.header.from = status.self;
    struct writer w = WRITER_INIT;
    metadata_message_encode(&w, &m);
    reply->send(reply, writer_slice(&w));
    writer_free(&w);
}

static void remote_done(struct raft_call *c, const struct metadata_response *p)
{
    struct remote_call *r = CONTAINER_OF(c, struct remote_call, base);
    send_response(r->server, r->reply, p);
    free(r);
}

/* Fingerprint first, then the name (spec §2.4, §2.5). */
static bool same_cluster(struct raft_server *s, const struct metadata_header *h, char *text, size_t size)
{
    struct raft_server_status status;
    raft_server_status(s, &status);
    if (h->fingerprint && status.fingerprint && h->fingerprint != status.fingerprint) {
        snprintf(text, size, "cluster fingerprint mismatch: expected %llu, got %llu",
                 (unsigned long long)status.fingerprint, (unsigned long long)h->fingerprint);
        return false;
    }
    if (!slice_eq_cstr(h->cluster_name, s->cluster_name)) {
        snprintf(text, size, "cluster name mismatch: expected '%s', got '%.*s'", s->cluster_name,
                 SLICE_FMT(h->cluster_name));
        return false;
    }
    return true;
}

void raft_server_receive(struct raft_server *s, struct slice message, struct raft_reply *reply)
{
    struct metadata_message m;
    struct metadata_response p = {0};
    struct err err = {0};
    char text[METADATA_CLUSTER_NAME_MAX * 2 + 128];
    enum rc rc = metadata_message_decode(message, &m, &err);
    bool request = !rc && m.kind == METADATA_REQUEST;
    if (!rc && !same_cluster(s, &m.header, text, sizeof(text))) {
        LOG0(LOG_WARN, TARGET, "message from node N%u refused: %s", m.header.from.node, text);
        p = (struct metadata_response){m.request.id, METADATA_WRONG_CLUSTER, .message = slice_cstr(text)};
        if (request && reply)
            send_response(s, reply, &p);
        return;
    }
    if (rc) {
        p = (struct metadata_response){.outcome = METADATA_REFUSED, .message = slice_cstr(err.msg)};
        if (reply)
            send_response(s, reply, &p);
    } else if (request && reply) {
        struct remote_call *c = xcalloc(1, sizeof(*c));
        *c = (struct remote_call){{remote_done}, s, reply};
        submit(s, &m.request, m.header.from, &c->base);
    } else if (!request && m.kind != METADATA_RESPONSE && s->raft) {
        raft_receive(s->raft, &m);
    }
}

/* ---- disk and life ---- */

static void host_write(struct raft_host *h, struct bytes body_take, bool rewrite)
{
    struct raft_server *s = CONTAINER_OF(h, struct raft_server, host);
    s->store->ops->write(s->store, body_take, rewrite);
}

static const struct raft_host_ops host_ops = {
    .send = host_send,
    .write = host_write,
    .apply = host_apply,
    .snapshot = host_snapshot,
    .restore = host_restore,
    .changed = host_changed,
};

static enum rc start_raft(struct raft_server *s, struct raft_durable *durable, struct err *err)
{
    return raft_new(s->env, &s->host, &s->opt.raft, durable, &s->raft, err);
}

/* The identity is on disk: fold it like a restart would. */
static void identity_written(struct raft_server *s, enum rc rc, const struct err *werr)
{
    if (rc)
        LOG0(LOG_ERROR, TARGET, "cannot initialize the metadata server%s: %s",
             s->identity_again ? ", which is repeated" : "", werr->msg);
    if (rc && s->identity_again) {
        env_timer_arm(s->env, &s->identity_timer, IDENTITY_AGAIN_MS);
        return;
    }
    struct bytes body = s->identity_body;
    s->identity_body = BYTES_EMPTY;
    struct raft_durable durable = {0};
    struct err err = {0};
    if (rc == RC_OK) {
        enum rc folded = raft_durable_fold(&durable, bytes_slice(body), &err);
        if (!folded)
            folded = start_raft(s, &durable, &err);
        ASSERT_MSG(folded == RC_OK, "%s", err.msg);
    }
    bytes_unref(&body);
    if (s->ops->changed)
        s->ops->changed(s->ctx);
}

static void identity_again(struct env_timer *t)
{
    struct raft_server *s = CONTAINER_OF(t, struct raft_server, identity_timer);
    s->store->ops->write(s->store, bytes_ref(s->identity_body), true);
}

static void store_done(void *ctx, enum rc rc, const struct err *err)
{
    struct raft_server *s = ctx;
    if (!s->raft) {
        identity_written(s, rc, err);
        return;
    }
    if (rc && !raft_disk_full(s->raft))
        LOG0(LOG_ERROR, TARGET, "%s", err->msg);
    raft_written(s->raft, rc);
}

static enum rc write_identity(struct raft_server *s, uint32_t node, uint64_t fingerprint, bool alone,
                              const struct kv_table *initial)
{
    if (s->raft || s->identity_body.len)
        return RC_EXISTS;
    struct writer w = WRITER_INIT, data = WRITER_INIT;
    struct raft_member self = {node, env_wall_ms(s->env)};
    if (initial)
        kv_table_write(initial, &data);
    raft_provision_write(&w, self, fingerprint, slice_cstr(s->cluster_name), alone, writer_slice(&data));
    writer_free(&data);
    s->identity_body = writer_take(&w);
    s->identity_again = !alone;
    s->store->ops->write(s->store, bytes_ref(s->identity_body), true);
    return RC_OK;
}

enum rc raft_server_provision(struct raft_server *s, uint32_t node, uint64_t fingerprint,
                              const struct kv_table *initial)
{
    return write_identity(s, node, fingerprint, true, initial);
}

enum rc raft_server_identify(struct raft_server *s, uint32_t node, uint64_t fingerprint)
{
    return write_identity(s, node, fingerprint, false, NULL);
}

enum rc raft_server_remove(struct raft_server *s, uint32_t node, struct err *err)
{
    enum rc rc = s->raft ? raft_remove(s->raft, node) : RC_NOT_LEADER;
    if (rc == RC_NOT_LEADER)
        return err_set(err, rc, "command needs to be processed by the metadata cluster leader");
    if (rc == RC_NOT_FOUND)
        return err_set(err, rc, "node 'N%u' is not a member", node);
    if (rc == RC_CONFLICT)
        return err_set(err, rc, "cannot remove the only member 'N%u' of the metadata cluster", node);
    if (rc == RC_AGAIN)
        return err_set(err, rc, "pending reconfiguration, try at a later point");
    return rc;
}

void raft_server_peer_lost(struct raft_server *s, uint32_t node)
{
    if (s->raft)
        raft_peer_lost(s->raft, node);
}

void raft_server_status(const struct raft_server *s, struct raft_server_status *out)
{
    *out = (struct raft_server_status){.state = RAFT_UNINITIALIZED, .state_bytes = s->table.bytes};
    const struct raft *r = s->raft;
    if (!r)
        return;
    out->state = raft_is_member(r) ? RAFT_MEMBER : RAFT_STANDBY;
    out->self = raft_self(r);
    out->fingerprint = raft_fingerprint(r);
    out->removed = raft_removed(r);
    out->leads = raft_role(r) == RAFT_LEADER;
    out->disk_full = raft_disk_full(r);
    out->leader = raft_leader(r);
    out->members = *raft_members_committed(r);
    raft_numbers(r, &out->raft);
}

const struct kv_table *raft_server_local(const struct raft_server *s)
{
    return &s->table;
}

static void stop_timer_fired(struct env_timer *t)
{
    finish_stop(CONTAINER_OF(t, struct raft_server, stop_timer));
}

void raft_server_stop(struct raft_server *s, void (*stopped)(void *ctx))
{
    ASSERT(!s->stopping);
    s->stopping = true;
    s->stopped = stopped;
    s->hands_over = s->raft && raft_transfer(s->raft, 0) == RC_OK;
    uint64_t limit = STOP_ELECTIONS * (uint64_t)s->opt.raft.election_ms;
    env_timer_arm(s->env, &s->stop_timer, s->hands_over || s->n_waiting ? limit : 0);
}

enum rc raft_server_new(struct env *env, struct raft_store *store, struct raft_durable *durable,
                        const struct raft_server_options *o, const struct raft_server_ops *ops, void *ctx,
                        struct raft_server **out, struct err *err)
{
    struct raft_server *s = xcalloc(1, sizeof(*s));
    s->host.ops = &host_ops;
    s->env = env;
    s->store = store;
    s->opt = *o;
    s->cluster_name = xstrdup(o->cluster_name);
    s->ops = ops;
    s->ctx = ctx;
    store->done = store_done;
    store->ctx = s;
    kv_table_init(&s->table);
    list_init(&s->waiting);
    env_timer_init(&s->stop_timer, stop_timer_fired);
    env_timer_init(&s->identity_timer, identity_again);
    enum rc rc = RC_OK;
    if (durable->self.node && strcmp(durable->cluster_name, o->cluster_name) != 0)
        rc = err_set(err, RC_CONFLICT, "the metadata store belongs to cluster '%s', not to '%s'",
                     durable->cluster_name, o->cluster_name);
    else if (durable->self.node)
        rc = start_raft(s, durable, err);
    raft_durable_free(durable);
    if (rc) {
        raft_server_free(s);
        return rc;
    }
    *out = s;
    return RC_OK;
}

void raft_server_free(struct raft_server *s)
{
    s->stopping = true;
    LIST_FOREACH_SAFE(n, next, &s->waiting)
    fail_waiting(s, CONTAINER_OF(n, struct waiting, link));
    env_timer_cancel(s->env, &s->stop_timer);
    env_timer_cancel(s->env, &s->identity_timer);
    s->store->ops->close(s->store);
    if (s->raft)
        raft_free(s->raft);
    kv_table_free(&s->table);
    bytes_unref(&s->identity_body);
    free(s->cluster_name);
    free(s);
}
