/* Implementation of node/metadata_host.h. */
#include "node/metadata_host.h"

#include <stdio.h>
#include <stdlib.h>

#include "metadata/kv_edit.h"
#include "metadata/kv_watch.h"
#include "node/metadata_store.h"

#define TARGET           "restate_metadata_server"
#define JOIN_INTERVAL_MS 500u
#define REFRESHES_MAX    64u
#define PROBE_ATTEMPT    (UINT64_C(1) << 63) /* and the number of the address: no attempt of the client's */

struct refresh {
    struct kv_op op;
    struct metadata_host *host;
    char key[64];
    bool busy;
};

struct metadata_host {
    struct env *env;
    const struct node_config *config;
    const struct metadata_host_ops *ops;
    void *ctx;
    struct metadata_store *store; /* outside of the cluster's nodes; then there is none of the next three */
    struct raft_server *server;
    struct raft_client *client;
    struct raft_joiner *joiner;
    struct kv *kv;
    const struct nodes_config *nodes; /* NULL: not known yet */
    char *own_address;
    struct refresh refreshes[REFRESHES_MAX];

    struct kv_edit states; /* of the members, in the nodes configuration */
    bool states_busy, states_again;
    struct env_task states_task;

    struct {
        void (*done)(void *ctx, const char *address);
        void *ctx;
        uint32_t waiting; /* bit set of addresses that have not answered */
        const char *found;
        struct env_timer timer;
    } probe;

    bool stopping;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    struct env_task stopped_task;
};

/* ---- duties of the leader: members' states in the nodes configuration (spec §2.4) ---- */

static bool is_member(const struct raft_members *m, uint32_t node)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->items[i].node == node)
            return true;
    }
    return false;
}

/* A member is shown as member; who was one and is not any more, as standby. */
static bool correct_states(const struct raft_members *members, struct nodes_config *c)
{
    bool changed = false;
    for (size_t i = 0; i < c->n_nodes; i++) {
        struct node_entry *n = &c->nodes[i];
        if (n->tombstone)
            continue;
        enum metadata_server_state want = n->metadata_server;
        if (is_member(members, n->id))
            want = METADATA_SERVER_MEMBER;
        else if (want == METADATA_SERVER_MEMBER)
            want = METADATA_SERVER_STANDBY;
        changed |= want != n->metadata_server;
        n->metadata_server = want;
    }
    return changed;
}

static enum rc states_change(struct kv_edit *e, const struct kv_entry *current, struct writer *w,
                             uint32_t *version, struct err *err)
{
    struct metadata_host *h = CONTAINER_OF(e, struct metadata_host, states);
    struct raft_server_status status;
    struct arena arena = {0};
    struct nodes_config c;
    raft_server_status(h->server, &status);
    if (!current || !status.leads || status.members.n == 0)
        return RC_EOF;
    enum rc rc = nodes_config_decode(&arena, bytes_slice(current->value), &c, err);
    if (rc == RC_OK && !correct_states(&status.members, &c))
        rc = RC_EOF;
    if (rc == RC_OK) {
        *version = ++c.version;
        c.modified_at = hybrid_timestamp(env_wall_ms(h->env));
        nodes_config_encode(w, &c);
    }
    arena_free(&arena);
    return rc;
}

static void states_done(struct kv_edit *e, const struct err *err)
{
    struct metadata_host *h = CONTAINER_OF(e, struct metadata_host, states);
    h->states_busy = false;
    if (err && err->rc != RC_CLOSED)
        LOG0(LOG_WARN, TARGET, "Cannot update the states of the metadata servers: %s", err->msg);
    if (h->states_again && !h->stopping)
        env_defer(h->env, &h->states_task);
}

static void check_states(struct env_task *t)
{
    struct metadata_host *h = CONTAINER_OF(t, struct metadata_host, states_task);
    struct raft_server_status status;
    raft_server_status(h->server, &status);
    h->states_again = false;
    if (!status.leads || !h->nodes || h->stopping)
        return;
    if (h->states_busy) {
        h->states_again = true;
        return;
    }
    bool wrong = false;
    for (size_t i = 0; i < h->nodes->n_nodes && !wrong; i++) {
        const struct node_entry *n = &h->nodes->nodes[i];
        wrong = !n->tombstone &&
                is_member(&status.members, n->id) != (n->metadata_server == METADATA_SERVER_MEMBER);
    }
    if (!wrong)
        return;
    h->states_busy = true;
    h->states =
        (struct kv_edit){.kv = h->kv, .key = NODES_CONFIG_KEY, .change = states_change, .done = states_done};
    kv_edit_start(&h->states);
}

/* ---- what the server asks of its surroundings ---- */

static const struct node_entry *node_of(const struct metadata_host *h, uint32_t id)
{
    const struct node_entry *n = h->nodes ? nodes_config_by_id(h->nodes, id) : NULL;
    return n && !n->tombstone ? n : NULL;
}

static void server_send(void *ctx, uint32_t node, struct slice message)
{
    struct metadata_host *h = ctx;
    h->ops->send(h->ctx, node, message);
}

static const char *server_address_of(void *ctx, uint32_t node)
{
    const struct node_entry *n = node_of(ctx, node);
    return n && !n->tombstone ? n->address : "";
}

static const char *server_may_join(void *ctx, uint32_t node)
{
    const struct node_entry *n = node_of(ctx, node);
    if (!n)
        return "the node is not in the nodes configuration";
    return n->roles & ROLE_METADATA_SERVER ? NULL : "the node does not have the role metadata-server";
}

static void server_changed(void *ctx)
{
    struct metadata_host *h = ctx;
    env_defer(h->env, &h->states_task);
    if (h->client)
        raft_client_wake(h->client);
    if (h->ops->changed)
        h->ops->changed(h->ctx);
}

static void server_applied(void *ctx, struct slice key, uint32_t version)
{
    struct metadata_host *h = ctx;
    struct kv_entry entry;
    /* While the server is being opened it replays: what it holds then is reported afterwards. */
    if (version && h->server && kv_table_get(raft_server_local(h->server), key, &entry))
        h->ops->seen(h->ctx, &entry);
}

static const struct raft_server_ops server_ops = {
    .send = server_send,
    .address_of = server_address_of,
    .may_join = server_may_join,
    .changed = server_changed,
    .applied = server_applied,
};

static void client_send(void *ctx, const char *address, uint64_t attempt, struct slice message)
{
    struct metadata_host *h = ctx;
    h->ops->send_request(h->ctx, address, attempt, message);
}

static const struct raft_client_ops client_ops = {.send = client_send};

static void kv_seen(void *ctx, const struct kv_entry *entry)
{
    struct metadata_host *h = ctx;
    h->ops->seen(h->ctx, entry);
}

/* By a leader of an older version, which does not replace a lost disk by itself: the other roles go on, the
 * copy is missing until an operator removes and adds the node (spec §2.4, S-9). */
static void join_refused(void *ctx, const char *message)
{
    LOG0(LOG_ERROR, TARGET, "%s", message);
}

/* ---- life ---- */

static enum rc open_server(struct metadata_host *h, struct loop *loop, const char *directory, struct err *err)
{
    struct raft_durable durable = {0};
    struct raft_store *store;
    struct raft_server_options o;
    char *path = xasprintf("%s/" METADATA_SERVER_DIRECTORY, directory);
    enum rc rc = raft_file_open(h->env, loop, path, &durable, &store, err);
    free(path);
    if (rc != RC_OK)
        return rc;
    raft_server_options_default(&o);
    o.cluster_name = h->config->cluster_name;
    o.raft.trim_entries = h->config->metadata.log_trim_threshold;
    o.replace_lost_storage = true;
    struct raft_server *server;
    rc = raft_server_new(h->env, store, &durable, &o, &server_ops, h, &server, err);
    if (rc == RC_OK)
        h->server = server;
    return rc;
}

static void report_local(struct metadata_host *h)
{
    struct kv_entry e;
    for (struct kv_cursor c = kv_table_seek(raft_server_local(h->server), SLICE_EMPTY);
         kv_cursor_next(&c, &e);)
        h->ops->seen(h->ctx, &e);
}

static bool same_address(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    la -= la && a[la - 1] == '/';
    lb -= lb && b[lb - 1] == '/';
    return la == lb && memcmp(a, b, la) == 0;
}

/* From the configuration, then from the nodes configuration; the own server is asked directly. */
static void set_addresses(struct metadata_host *h)
{
    const char *list[RAFT_CLIENT_ADDRESSES_MAX];
    size_t n = 0;
    if (!h->client)
        return;
    for (size_t i = 0; h->nodes && i < h->nodes->n_nodes; i++) {
        const struct node_entry *e = &h->nodes->nodes[i];
        if (e->tombstone || !(e->roles & ROLE_METADATA_SERVER))
            continue; /* a removed node has no address */
        bool own = h->server && same_address(e->address, h->own_address);
        if (!own && n < RAFT_CLIENT_ADDRESSES_MAX)
            list[n++] = e->address;
    }
    for (size_t i = 0; i < h->config->metadata.client.n_addresses && n < RAFT_CLIENT_ADDRESSES_MAX; i++) {
        const char *address = h->config->metadata.client.addresses[i];
        bool known = h->server && same_address(address, h->own_address);
        for (size_t k = 0; k < n && !known; k++)
            known = same_address(list[k], address);
        if (!known)
            list[n++] = address;
    }
    raft_client_set_addresses(h->client, list, n);
}

static void probe_over(struct env_timer *t);

static void server_stopped(void *ctx)
{
    struct metadata_host *h = ctx;
    env_defer(h->env, &h->stopped_task);
}

static void run_stopped(struct env_task *t)
{
    struct metadata_host *h = CONTAINER_OF(t, struct metadata_host, stopped_task);
    h->stopped(h->stopped_ctx);
}

static enum rc open_external(struct metadata_host *h, struct loop *loop, struct kv **kv, struct err *err)
{
    enum rc rc = metadata_store_open(loop, &h->config->metadata.client, &h->store, err);
    if (rc == RC_OK)
        *kv = metadata_store_kv(h->store);
    return rc;
}

static enum rc open_replicated(struct metadata_host *h, struct loop *loop, const char *directory,
                               struct kv **kv, struct err *err)
{
    struct raft_client_options o;
    enum rc rc = h->config->roles & ROLE_METADATA_SERVER ? open_server(h, loop, directory, err) : RC_OK;
    if (rc != RC_OK)
        return rc;
    raft_client_options_default(&o);
    o.cluster_name = h->config->cluster_name;
    h->client = raft_client_new(h->env, &o, h->server, &client_ops, h);
    *kv = raft_client_kv(h->client);
    return RC_OK;
}

enum rc metadata_host_open(struct env *env, struct loop *loop, const struct node_config *config,
                           const char *directory, const char *own_address,
                           const struct metadata_host_ops *ops, void *ctx, struct metadata_host **out,
                           struct err *err)
{
    struct metadata_host *h = xcalloc(1, sizeof(*h));
    h->env = env;
    h->config = config;
    h->ops = ops;
    h->ctx = ctx;
    h->own_address = xstrdup(own_address);
    env_task_init(&h->states_task, check_states);
    env_task_init(&h->stopped_task, run_stopped);
    env_timer_init(&h->probe.timer, probe_over);
    struct kv *kv = NULL;
    enum rc rc = config->metadata.client.type == METADATA_REPLICATED
                     ? open_replicated(h, loop, directory, &kv, err)
                     : open_external(h, loop, &kv, err);
    if (rc != RC_OK) {
        free(h->own_address);
        free(h);
        return rc;
    }
    h->kv = kv_watch_new(kv, kv_seen, h);
    if (h->server)
        h->joiner = raft_joiner_new(env, h->server, h->client, JOIN_INTERVAL_MS, true, join_refused, h);
    set_addresses(h);
    *out = h;
    if (h->server)
        report_local(h);
    return RC_OK;
}

struct kv *metadata_host_kv(struct metadata_host *h)
{
    return h->kv;
}

bool metadata_host_is_external(const struct metadata_host *h)
{
    return h->store != NULL;
}

struct raft_server *metadata_host_server(struct metadata_host *h)
{
    return h->server;
}

bool metadata_host_is_blank(const struct metadata_host *h)
{
    struct raft_server_status status;
    if (!h->server)
        return false;
    raft_server_status(h->server, &status);
    return status.state == RAFT_UNINITIALIZED;
}

enum rc metadata_host_provision(struct metadata_host *h, uint32_t node, uint64_t fingerprint,
                                const struct kv_table *initial, struct err *err)
{
    if (!h->server)
        return err_set(err, RC_UNSUPPORTED,
                       "this node does not have the role metadata-server: provision a node that has it");
    enum rc rc = raft_server_provision(h->server, node, fingerprint, initial);
    return rc == RC_OK ? RC_OK : err_set(err, rc, "The cluster has already been provisioned");
}

void metadata_host_joined(struct metadata_host *h, uint32_t node, uint64_t fingerprint)
{
    if (h->client)
        raft_client_set_fingerprint(h->client, fingerprint);
    if (!h->server)
        return;
    raft_server_identify(h->server, node, fingerprint); /* RC_EXISTS: it is identified */
    if (h->config->metadata.auto_join)
        raft_joiner_start(h->joiner, false);
}

void metadata_host_set_nodes(struct metadata_host *h, const struct nodes_config *nodes)
{
    h->nodes = nodes;
    set_addresses(h);
    if (h->server)
        env_defer(h->env, &h->states_task);
}

/* ---- refreshing ---- */

static void refreshed(struct kv_op *op, const struct kv_result *r)
{
    struct refresh *f = CONTAINER_OF(op, struct refresh, op);
    f->busy = false; /* the value went to `seen` on its way; what failed is asked for again by whoever hears
                        of the version again */
}

void metadata_host_refresh(struct metadata_host *h, const char *key)
{
    struct refresh *unused = NULL;
    if (h->stopping)
        return;
    for (size_t i = 0; i < REFRESHES_MAX; i++) {
        struct refresh *f = &h->refreshes[i];
        if (f->busy && strcmp(f->key, key) == 0)
            return;
        if (!f->busy && !unused)
            unused = f;
    }
    if (!unused || strlen(key) >= sizeof(unused->key))
        return; /* told again later */
    unused->busy = true;
    snprintf(unused->key, sizeof(unused->key), "%s", key);
    unused->op = (struct kv_op){.kind = KV_GET, .key = slice_cstr(unused->key), .done = refreshed};
    kv_submit(h->kv, &unused->op);
}

/* ---- probing ---- */

static void probe_over(struct env_timer *t)
{
    struct metadata_host *h = CONTAINER_OF(t, struct metadata_host, probe.timer);
    void (*done)(void *ctx, const char *address) = h->probe.done;
    h->probe.done = NULL;
    if (done)
        done(h->probe.ctx, h->probe.found);
}

bool metadata_host_probing(const struct metadata_host *h)
{
    return h->probe.done != NULL;
}

static void probe_answered(struct metadata_host *h, uint64_t attempt, bool provisioned)
{
    size_t i = (size_t)(attempt & ~PROBE_ATTEMPT);
    if (!h->probe.done || i >= h->config->metadata.client.n_addresses)
        return;
    h->probe.waiting &= ~(1u << i);
    if (provisioned && !h->probe.found)
        h->probe.found = h->config->metadata.client.addresses[i];
    if (h->probe.found || !h->probe.waiting)
        env_timer_arm(h->env, &h->probe.timer, 0);
}

static void probe_response(struct metadata_host *h, uint64_t attempt, struct slice message)
{
    struct metadata_message m;
    struct err err;
    bool known = metadata_message_decode(message, &m, &err) == RC_OK && m.kind == METADATA_RESPONSE &&
                 m.response.outcome != METADATA_NOT_PROVISIONED &&
                 m.response.outcome != METADATA_WRONG_CLUSTER;
    probe_answered(h, attempt, known);
}

void metadata_host_probe(struct metadata_host *h, uint64_t timeout_ms,
                         void (*done)(void *ctx, const char *address), void *ctx)
{
    size_t n = MIN(h->config->metadata.client.n_addresses, RAFT_CLIENT_ADDRESSES_MAX);
    h->probe.done = done;
    h->probe.ctx = ctx;
    h->probe.found = NULL;
    h->probe.waiting = 0;
    for (size_t i = 0; i < n; i++) {
        const char *address = h->config->metadata.client.addresses[i];
        if (h->server && same_address(address, h->own_address))
            continue;
        struct metadata_message m = {
            .kind = METADATA_REQUEST,
            .header.cluster_name = slice_cstr(h->config->cluster_name),
            .request = {.id = PROBE_ATTEMPT | i, .kind = METADATA_GET, .key = SLICE_LIT(NODES_CONFIG_KEY)},
        };
        struct writer w = WRITER_INIT;
        metadata_message_encode(&w, &m);
        h->probe.waiting |= 1u << i;
        h->ops->send_request(h->ctx, address, m.request.id, writer_slice(&w));
        writer_free(&w);
    }
    env_timer_arm(h->env, &h->probe.timer, h->probe.waiting ? timeout_ms : 0);
}

/* ---- messages ---- */

void metadata_host_receive(struct metadata_host *h, struct slice message, struct raft_reply *reply)
{
    if (h->server)
        raft_server_receive(h->server, message, reply);
}

void metadata_host_response(struct metadata_host *h, uint64_t attempt, struct slice message)
{
    if (attempt & PROBE_ATTEMPT)
        probe_response(h, attempt, message);
    else if (h->client)
        raft_client_response(h->client, attempt, message);
}

void metadata_host_failed(struct metadata_host *h, uint64_t attempt, bool sent)
{
    if (attempt & PROBE_ATTEMPT)
        probe_answered(h, attempt, false);
    else if (h->client)
        raft_client_failed(h->client, attempt, sent);
}

void metadata_host_peer_seen(struct metadata_host *h)
{
    if (h->client)
        raft_client_wake(h->client);
}

void metadata_host_peer_lost(struct metadata_host *h, uint32_t node)
{
    if (h->server)
        raft_server_peer_lost(h->server, node);
}

enum rc metadata_host_add(struct metadata_host *h, struct err *err)
{
    struct raft_server_status status;
    if (!h->server)
        return err_set(err, RC_UNSUPPORTED, "this node does not have the role metadata-server");
    raft_server_status(h->server, &status);
    if (status.state == RAFT_MEMBER)
        return err_set(err, RC_EXISTS,
                       "cannot add node because it is still a member of the metadata cluster");
    if (status.state == RAFT_UNINITIALIZED)
        return err_set(err, RC_UNAVAILABLE,
                       "failed to add node: node needs to join the Restate cluster first before becoming a "
                       "metadata cluster member");
    raft_joiner_start(h->joiner, true);
    return RC_OK;
}

void metadata_host_stop(struct metadata_host *h, void (*done)(void *ctx), void *ctx)
{
    h->stopping = true;
    if (h->joiner)
        raft_joiner_free(h->joiner);
    h->joiner = NULL;
    h->stopped = done;
    h->stopped_ctx = ctx;
    if (h->store)
        metadata_store_stop(h->store, done, ctx);
    else if (h->server)
        raft_server_stop(h->server, server_stopped);
    else
        env_defer(h->env, &h->stopped_task);
}

void metadata_host_close(struct metadata_host *h)
{
    h->stopping = true;
    if (h->joiner)
        raft_joiner_free(h->joiner);
    env_undefer(&h->states_task);
    env_undefer(&h->stopped_task);
    env_timer_cancel(h->env, &h->probe.timer);
    if (h->store)
        metadata_store_abandon(h->store);
    kv_close(h->kv);
    if (h->store)
        metadata_store_free(h->store);
    if (h->server)
        raft_server_free(h->server);
    env_undefer(&h->states_task);
    free(h->own_address);
    free(h);
}
