/* Nodes and disks of the model of Raft, see model_raft.h. */
#include <stdlib.h>

#include "base/hash.h"
#include "sim/model_raft.h"

#define CLUSTER "model"

struct raft *mr_raft(const struct mr_node *n)
{
    return n->server->raft;
}

bool mr_leads(const struct mr_node *n)
{
    return mr_raft(n) && raft_role(mr_raft(n)) == RAFT_LEADER;
}

/* ---- surroundings of the server ---- */

static void push(struct mr_world *w, struct mr_packet p)
{
    VEC_PUSH(&w->packets, p);
}

static void server_send(void *ctx, uint32_t node, struct slice message)
{
    struct mr_node *n = ctx;
    struct metadata_message m;
    ASSERT(metadata_message_decode(message, &m, NULL) == RC_OK && node >= 1 && node <= MR_NODES);
    mr_check_sent(n, &m);
    if (n->world->begun && n->world->left.limbo > 0 && m.kind == RAFT_APPEND && m.append.n_entries > 0) {
        n->world->left.limbo--;
        return;
    }
    push(n->world, (struct mr_packet){.from = n->index, .to = node - 1, .data = bytes_copy(message)});
}

static void server_committed(void *ctx, uint64_t index, const struct raft_log_entry *e)
{
    mr_check_committed(ctx, index, e);
}

static const struct raft_server_ops server_ops = {.send = server_send, .committed = server_committed};

static void store_write(struct raft_store *s, struct bytes body_take, bool rewrite)
{
    struct mr_node *n = CONTAINER_OF(s, struct mr_node, store);
    push(n->world, (struct mr_packet){true, rewrite, n->index, n->index, body_take});
}

static void store_close(struct raft_store *s) {}

static const struct raft_store_ops store_ops = {store_write, store_close};

/* ---- disk ---- */

static void forget(struct mr_node *n)
{
    while (n->bodies.len)
        bytes_unref(&n->bodies.items[--n->bodies.len]);
    raft_durable_free(&n->disk);
    n->disk = (struct raft_durable){0};
}

void mr_disk_write(struct mr_node *n, const struct mr_packet *p, bool tell)
{
    static const struct err fine = {0};
    struct err err = {0};
    if (p->rewrite)
        forget(n);
    VEC_PUSH(&n->bodies, bytes_ref(p->data));
    if (raft_durable_fold(&n->disk, bytes_slice(p->data), &err))
        explore_violated(n->world->x, "N%u wrote what cannot be read: %s", n->index + 1, err.msg);
    else if (tell)
        n->store.done(n->store.ctx, RC_OK, &fine);
}

void mr_disk_wipe(struct mr_node *n)
{
    struct mr_world *w = n->world;
    ASSERT(w->n_wiped < ARRAY_LEN(w->wiped));
    if (n->disk.self.node)
        w->wiped[w->n_wiped++] = n->disk.self;
    forget(n);
    n->disks_lost++;
}

/* ---- life ---- */

void mr_node_init(struct mr_world *w, unsigned index)
{
    struct mr_node *n = &w->nodes[index];
    n->world = w;
    n->index = index;
    n->store.ops = &store_ops;
    mr_node_start(n);
}

void mr_node_start(struct mr_node *n)
{
    struct mr_world *w = n->world;
    struct raft_server_options o;
    struct raft_durable durable = {0};
    struct err err = {0};
    for (size_t i = 0; i < n->bodies.len; i++)
        ASSERT(raft_durable_fold(&durable, bytes_slice(n->bodies.items[i]), &err) == RC_OK);
    sim_env_init(&n->env, 1);
    memset(n->env.rng, 0, sizeof(n->env.rng)); /* only zeros follow */
    n->env.mono_ms = 1000;
    n->applied = n->led = 0;
    raft_server_options_default(&o);
    o.cluster_name = CLUSTER;
    o.replace_lost_storage = true;
    if (w->left.trim_entries)
        o.raft.trim_entries = w->left.trim_entries;
    if (w->left.one_by_one)
        o.raft.message_bytes = 1;
    enum rc rc = raft_server_new(&n->env.env, &n->store, &durable, &o, &server_ops, n, &n->server, &err);
    ASSERT_MSG(rc == RC_OK, "%s", err.msg);
    sim_env_run(&n->env);
}

void mr_node_stop(struct mr_node *n)
{
    raft_server_free(n->server);
    n->server = NULL;
    sim_env_free(&n->env);
}

void mr_node_free(struct mr_node *n)
{
    mr_node_stop(n);
    forget(n);
    VEC_FREE(&n->bodies);
}

/* The storage id is the time at which the disk was new. */
void mr_node_identify(struct mr_node *n, const struct kv_table *initial)
{
    unsigned disk = n->world->left.wrong == MR_WIPED_KEEPS_ID ? 0 : n->disks_lost;
    n->env.wall_base_ms = 1000 * (disk + 1) - n->env.mono_ms;
    enum rc rc = initial ? raft_server_provision(n->server, n->index + 1, MR_FINGERPRINT, initial)
                         : raft_server_identify(n->server, n->index + 1, MR_FINGERPRINT);
    ASSERT(rc == RC_OK);
    sim_env_run(&n->env);
}

/* ---- states: everything that its future depends on, times relative to its clock ---- */

static uint64_t hash_list(const uint64_t *values, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = hash64_combine(h, values[i]);
    return h;
}
#define HASH(...)                                                                                            \
    hash_list((const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

uint64_t mr_member_hash(struct raft_member m)
{
    return m.node ^ m.storage << 8;
}

/* How long ago, as far as it matters. */
static uint64_t ago(const struct mr_node *n, uint64_t at_ms, uint64_t most_ms)
{
    return at_ms ? MIN(n->env.mono_ms - at_ms, most_ms) + 1 : 0;
}

static uint64_t until(const struct mr_node *n, uint64_t at_ms)
{
    return at_ms > n->env.mono_ms ? at_ms - n->env.mono_ms : 0;
}

static uint64_t timer_hash(const struct mr_node *n, const struct env_timer *t)
{
    return env_timer_armed(t) ? 1 + until(n, t->heap.key) : 0;
}

static uint64_t entry_hash(const struct raft_log_entry *e)
{
    return HASH(e->term, e->kind, hash64(bytes_slice(e->data)));
}

static uint64_t progress_hash(const struct mr_node *n, const struct raft_progress *p)
{
    uint64_t election = mr_raft(n)->opt.election_ms;
    return HASH(mr_member_hash(p->member), p->state, p->match, p->next, p->round,
                ago(n, p->heard_ms, election + 1), p->probe_sent, p->leaving,
                p->leaving ? ago(n, p->left_at_ms, 10 * election + 1) : 0, p->snapshot.index,
                p->snapshot_offset);
}

static uint64_t held_hash(const struct raft *r, const struct raft_held *h)
{
    struct writer w = WRITER_INIT;
    metadata_message_encode(&w, &h->message);
    uint64_t hash = HASH(h->after_write - r->n_written, hash64(writer_slice(&w)));
    writer_free(&w);
    return hash;
}

static uint64_t raft_hash(const struct mr_node *n)
{
    const struct raft *r = mr_raft(n);
    uint64_t vote_wait = r->vote_after_write > r->n_written ? r->vote_after_write - r->n_written : 0;
    uint64_t h = HASH(mr_member_hash(r->self), r->term, mr_member_hash(r->vote), r->removed_in,
                      r->snapshot.index, r->base_index, r->base_term, r->commit, r->applied, r->members_index,
                      r->committed_members.version, r->role, mr_member_hash(r->leader), r->verified,
                      r->granted, r->denied, vote_wait, r->incoming.have, r->incoming.index);
    h = HASH(h, r->role == RAFT_LEADER ? r->first_of_term : 0, r->round, r->confirmed, r->round_wanted,
             r->heartbeat_wanted, mr_member_hash(r->newcomer),
             r->newcomer.node ? until(n, r->newcomer_until_ms) : 0, mr_member_hash(r->transfer_to),
             r->transfer_to.node ? until(n, r->transfer_until_ms) : 0,
             ago(n, r->heard_leader_ms, r->opt.election_ms));
    h = HASH(h, r->state_dirty, r->rewrite_wanted, r->writing, r->state_writing, r->rewrite_writing,
             r->entries_from, r->writing_from, r->writing_last, r->durable, r->n_writes - r->n_written,
             timer_hash(n, &r->timer), hash64(bytes_slice(r->snapshot.data)));
    for (size_t i = 0; i < r->log.len; i++)
        h = hash64_combine(h, entry_hash(&r->log.items[i]));
    for (uint32_t i = 0; i < r->n_progress; i++)
        h = hash64_combine(h, progress_hash(n, &r->progress[i]));
    for (size_t i = 0; i < r->n_held; i++)
        h = hash64_combine(h, held_hash(r, &r->held[i]));
    return h;
}

static uint64_t disk_hash(const struct raft_durable *d)
{
    uint64_t h = HASH(mr_member_hash(d->self), d->term, mr_member_hash(d->vote), d->commit, d->removed_in,
                      d->snapshot.index, d->base_index, d->base_term, hash64(bytes_slice(d->snapshot.data)));
    for (size_t i = 0; i < d->entries.len; i++)
        h = hash64_combine(h, entry_hash(&d->entries.items[i]));
    return h;
}

uint64_t mr_node_hash(const struct mr_node *n)
{
    struct writer table = WRITER_INIT;
    kv_table_write(&n->server->table, &table);
    uint64_t h = HASH(disk_hash(&n->disk), n->disks_lost, n->applied, hash64(writer_slice(&table)),
                      n->server->identity_body.len, mr_raft(n) ? raft_hash(n) : 0);
    writer_free(&table);
    LIST_FOREACH(i, &n->server->waiting)
    {
        const struct waiting *w = CONTAINER_OF(i, struct waiting, link);
        h = HASH(h, w->what, w->index, w->term, w->ticket, w->id, w->command.len);
    }
    return h;
}
