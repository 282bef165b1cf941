/* The world of the log's small models, see model_log.h. */
#include <stdlib.h>

#include "bifrost/log_server_internal.h"
#include "sim/model_log_internal.h"

const char *ml_mutation_name(unsigned m)
{
    static const char *const names[ML_MUTATIONS] = {
        "nothing",
        "acknowledged at one copy less than a write quorum",
        "the seal forgotten in a crash",
        "a sealed log-server takes records",
        "sealed on one log-server less than an f-majority",
        "repaired to one copy less than a write quorum",
        "a repair raises what readers trust (TR-1)",
        "other bytes to one log-server (TR-5)",
        "the chain store does not compare",
        "a conflict taken for success",
    };
    return names[m];
}

/* ---- packets ---- */

enum packet_kind { TO_SERVER, TO_CLIENT, ACT, CHAIN_ASK, CHAIN_ANSWER };
struct chain_call {
    struct chain_request *request; /* NULL: nobody waits any more */
    bool swap, absent;
    struct chain expected, next;
    enum rc rc;
    struct chain chain;
    uint64_t version;
};
struct ml_packet {
    enum packet_kind kind;
    unsigned client, server;
    uint64_t hash;
    struct bytes frame;
    void (*act)(struct ml_client *c, unsigned arg);
    unsigned arg;
    struct chain_call call;
};

static void packet_free(struct ml_packet *p)
{
    bytes_unref(&p->frame);
    chain_free(&p->call.expected);
    chain_free(&p->call.next);
    chain_free(&p->call.chain);
    free(p);
}

static struct ml_packet *push(struct ml_world *w, enum packet_kind kind, unsigned client, unsigned server)
{
    struct ml_packet *p = xcalloc(1, sizeof(*p));
    p->kind = kind;
    p->client = client;
    p->server = server;
    VEC_PUSH(&w->packets, p);
    return p;
}

static struct ml_packet *take(struct ml_world *w, size_t i)
{
    struct ml_packet *p = w->packets.items[i];
    w->packets.len--;
    memmove(&w->packets.items[i], &w->packets.items[i + 1],
            (w->packets.len - i) * sizeof(w->packets.items[0]));
    return p;
}

/* Packets of one link keep their order when any link may be next. */
static unsigned link_of(const struct ml_packet *p)
{
    return ((unsigned)p->kind * ML_CLIENTS_MAX + p->client) * ML_SERVERS_MAX + p->server;
}
#define LINKS (5 * ML_CLIENTS_MAX * ML_SERVERS_MAX)

static void describe(struct ml_world *w, const char *what, const struct ml_packet *p)
{
    static struct loglet_message_room room;
    struct loglet_message m;
    const char *name = w->clients[p->client].name;
    if (!w->x->tracing)
        return;
    if (p->kind == ACT)
        explore_note(w->x, "%s: %s acts (%u)", what, name, p->arg);
    else if (p->kind == CHAIN_ASK)
        explore_note(w->x, "%s: %s of the chain by %s", what, p->call.swap ? "swap" : "read", name);
    else if (p->kind == CHAIN_ANSWER)
        explore_note(w->x, "%s: answer about the chain to %s: %s", what, name, rc_name(p->call.rc));
    else if (loglet_message_decode(p->frame, &room, &m))
        explore_note(w->x, "%s: %s %s N%u: %s loglet %llx offset %llu+%u committed %llu repaired %llu%s",
                     what, name, p->kind == TO_SERVER ? "->" : "<-", p->server + 1,
                     loglet_message_kind_name(m.kind), (unsigned long long)m.loglet_id,
                     (unsigned long long)m.first_offset, m.n_records, (unsigned long long)m.committed_tail,
                     (unsigned long long)m.repaired_tail, m.sealed ? " sealed" : "");
}

/* ---- disks ---- */

struct ml_disk_loglet *ml_disk_find(struct ml_server *s, uint64_t id)
{
    for (unsigned i = 0; i < s->n_loglets; i++) {
        if (s->loglets[i].id == id)
            return &s->loglets[i];
    }
    return NULL;
}

bool ml_disk_holds(const struct ml_disk_loglet *l, uint64_t offset)
{
    return l && offset >= 1 && offset <= ML_OFFSETS_MAX && l->records[offset - 1].ptr;
}

static void disk_write(struct env_task *t)
{
    struct ml_server *s = CONTAINER_OF(t, struct ml_server, write);
    struct store_batch *b = s->batch;
    s->batch = NULL;
    for (size_t i = 0; i < b->len; i++) {
        const struct store_entry *e = &b->items[i];
        struct ml_disk_loglet *l = ml_disk_find(s, e->loglet);
        if (!l) {
            ASSERT(s->n_loglets < ML_LOGLETS_MAX);
            l = &s->loglets[s->n_loglets++];
            *l = (struct ml_disk_loglet){.id = e->loglet, .tail = 1};
        }
        if (e->kind == STORE_RECORD) {
            ASSERT(e->offset <= ML_OFFSETS_MAX && !ml_disk_holds(l, e->offset));
            l->records[e->offset - 1] = bytes_copy(e->body);
            l->tail = MAX(l->tail, e->offset + 1);
        } else if (e->kind == STORE_META) {
            bytes_unref(&l->meta);
            l->meta = bytes_copy(e->body);
        } else if (e->kind == STORE_SEAL) {
            l->sealed = true;
        }
        ml_check_written(s, e);
    }
    b->done(b, RC_OK);
}

static struct ml_server *server_of(struct log_server_store *store)
{
    return CONTAINER_OF(store, struct ml_server, store);
}

static void disk_submit(struct log_server_store *store, struct store_batch *b)
{
    struct ml_server *s = server_of(store);
    s->batch = b;
    env_defer(&s->env.env, &s->write);
}

static enum rc disk_info(struct log_server_store *store, uint64_t loglet, struct loglet_info *out)
{
    const struct ml_disk_loglet *l = ml_disk_find(server_of(store), loglet);
    *out = (struct loglet_info){.tail = 1};
    if (!l)
        return RC_NOT_FOUND;
    *out = (struct loglet_info){l->tail, 0, l->sealed, bytes_slice(l->meta)};
    return RC_OK;
}

static bool disk_has(struct log_server_store *store, uint64_t loglet, uint64_t offset)
{
    return ml_disk_holds(ml_disk_find(server_of(store), loglet), offset);
}

static bool disk_extent(struct log_server_store *store, uint64_t loglet, uint64_t from, uint64_t *first,
                        uint64_t *last)
{
    const struct ml_disk_loglet *l = ml_disk_find(server_of(store), loglet);
    uint64_t o = from;
    while (l && o < l->tail && !ml_disk_holds(l, o))
        o++;
    if (!ml_disk_holds(l, o))
        return false;
    *first = o;
    while (ml_disk_holds(l, o + 1))
        o++;
    *last = o;
    return true;
}

static enum rc disk_read(struct log_server_store *store, uint64_t loglet, uint64_t from, size_t max_bytes,
                         struct stored_records *out, struct err *err)
{
    const struct ml_disk_loglet *l = ml_disk_find(server_of(store), loglet);
    size_t before = out->len;
    for (uint64_t o = from; l && o < l->tail; o++) {
        if (ml_disk_holds(l, o)) {
            struct stored_record r = {o, bytes_ref(l->records[o - 1])};
            VEC_PUSH(out, r);
        }
    }
    return out->len > before ? RC_OK : RC_AGAIN;
}

static bool disk_full(struct log_server_store *store)
{
    return false;
}

static const struct log_server_store_ops disk_ops = {.submit = disk_submit,
                                                     .info = disk_info,
                                                     .has = disk_has,
                                                     .extent = disk_extent,
                                                     .read = disk_read,
                                                     .full = disk_full};

/* ---- log-servers ---- */

static void server_reply(void *ctx, const struct log_server_peer *to, const struct loglet_message *m)
{
    struct ml_server *s = ctx;
    struct ml_world *w = s->world;
    const struct ml_loglet *l = ml_find(w, m->loglet_id);
    unsigned client = to->node.id - ML_CLIENT_ID;
    if (marks_has(l->sealed, s->index) && !m->sealed)
        explore_violated(w->x, "L-6: N%u has sealed loglet %llx and says that it has not", s->index + 1,
                         (unsigned long long)l->id);
    ml_check_message(w, NULL, m);
    if (w->clients[client].dead)
        return;
    struct writer out = WRITER_INIT;
    loglet_message_encode(&out, m);
    struct ml_packet *p = push(w, TO_CLIENT, client, s->index);
    p->frame = writer_take(&out);
    p->hash = hash64(bytes_slice(p->frame));
}

static void server_start(struct ml_server *s)
{
    sim_env_init(&s->env, 1);
    env_task_init(&s->write, disk_write);
    s->server = log_server_new(
        &(struct log_server_config){.env = &s->env.env, .store = &s->store, .reply = server_reply, .ctx = s});
}

static void server_stop(struct ml_server *s)
{
    log_server_free(s->server);
    sim_env_free(&s->env);
    s->batch = NULL;
}

static void server_crash(struct ml_server *s)
{
    explore_note(s->world->x, "N%u crashes and starts again", s->index + 1);
    server_stop(s);
    for (unsigned i = 0; i < s->n_loglets && s->world->mutation == ML_SEAL_FORGOTTEN; i++)
        s->loglets[i].sealed = false;
    server_start(s);
}

static struct ml_server *server_new(struct ml_world *w, unsigned index)
{
    struct ml_server *s = xcalloc(1, sizeof(*s));
    s->world = w;
    s->index = index;
    s->store.ops = &disk_ops;
    server_start(s);
    return s;
}

static void server_free(struct ml_server *s)
{
    server_stop(s);
    for (unsigned i = 0; i < s->n_loglets; i++) {
        bytes_unref(&s->loglets[i].meta);
        for (unsigned o = 0; o < ML_OFFSETS_MAX; o++)
            bytes_unref(&s->loglets[i].records[o]);
    }
    free(s);
}

/* Everything that its future depends on: no operation is under way between two steps. */
static uint64_t server_hash(const struct ml_server *s)
{
    uint64_t h = s->index;
    for (unsigned i = 0; i < s->n_loglets; i++) {
        const struct ml_disk_loglet *l = &s->loglets[i];
        h = hash64_combine(h, l->id ^ l->tail << 40 ^ (uint64_t)l->sealed << 62);
        h = hash64_combine(h, hash64(bytes_slice(l->meta)));
        for (unsigned o = 0; o < ML_OFFSETS_MAX; o++)
            h = hash64_combine(h, hash64(bytes_slice(l->records[o])));
    }
    for (struct omap_node *n = omap_first(&s->server->loglets); n; n = omap_next(n)) {
        const struct ls_loglet *l = CONTAINER_OF(n, struct ls_loglet, node);
        ASSERT(list_empty(&l->ops));
        h = hash64_combine(h, l->id ^ (uint64_t)l->sealed << 60 ^ (uint64_t)l->sealing << 61 ^
                                  (uint64_t)l->meta_saved << 62);
        h = hash64_combine(h, l->sequencer.id ^ (uint64_t)l->sequencer.generation << 32);
        h = hash64_combine(h, l->local_tail ^ l->staged_tail << 32);
        h = hash64_combine(h, l->committed_tail ^ l->repaired_tail << 32);
        h = hash64_combine(h, l->saved_committed ^ l->saved_repaired << 32);
        LIST_FOREACH(i, &l->waiters)
        {
            const struct ls_waiter *waiter = CONTAINER_OF(i, struct ls_waiter, link);
            h = hash64_combine(h, waiter->peer.node.id);
            h = hash64_combine(h, waiter->request_id ^ waiter->committed_tail << 32);
        }
    }
    return h;
}

/* ---- clients ---- */

static void told(struct ml_client *c, uint64_t what)
{
    c->inputs = hash64_combine(c->inputs, what);
}

static struct bytes record(unsigned uid)
{
    struct buf *b = buf_new(8);
    put_u64le(b->data, uid);
    return bytes_take_buf(b, 0, 8);
}

static void net_send(struct loglet_net *net, uint32_t to, const struct loglet_message *message)
{
    struct ml_client *c = CONTAINER_OF(net, struct ml_client, net);
    struct ml_world *w = c->world;
    struct loglet_message m = *message;
    struct bytes other = BYTES_EMPTY;
    bool repair = m.kind == LOGLET_STORE && (m.flags & LOGLET_IGNORE_SEAL);
    if (w->mutation == ML_REPAIR_RAISES_TRUST && repair)
        m.committed_tail = MAX(m.committed_tail, m.first_offset + m.n_records);
    if (w->mutation == ML_SEAL_IGNORED && m.kind == LOGLET_STORE)
        m.flags |= LOGLET_IGNORE_SEAL;
    if (w->mutation == ML_OTHER_BYTES && m.kind == LOGLET_STORE && to == 2) {
        other = record(99);
        m.records = &other;
        m.n_records = 1;
    }
    ml_check_message(w, c, &m);
    if (w->left.limbo > 0 && m.kind == LOGLET_STORE) {
        w->left.limbo--;
        bytes_unref(&other);
        return;
    }
    struct writer out = WRITER_INIT;
    loglet_message_encode(&out, &m);
    struct ml_packet *p = push(w, TO_SERVER, c->index, to - 1);
    p->frame = writer_take(&out);
    p->hash = hash64(bytes_slice(p->frame));
    bytes_unref(&other);
}

static const struct chain_store_ops chain_ops;

struct ml_client *ml_add_client(struct ml_world *w, const char *name)
{
    ASSERT(w->n_clients < ML_CLIENTS_MAX);
    struct ml_client *c = &w->clients[w->n_clients];
    *c = (struct ml_client){.world = w, .index = w->n_clients++, .name = name};
    c->me = (struct node_ref){ML_CLIENT_ID + c->index, 1};
    c->timers_left = w->left.timers;
    sim_env_init(&c->env, 1);
    c->net.send = net_send;
    c->chains.ops = &chain_ops;
    loglet_calls_init(&c->calls, &c->env.env, &c->net, &w->directory, c->me);
    return c;
}

/* The process is gone: nothing of it remains but what it has sent. */
static void client_stop(struct ml_client *c)
{
    loglet_op_cancel(c->op);
    c->op = NULL;
    if (c->sequencer)
        sequencer_free(c->sequencer);
    c->sequencer = NULL;
    loglet_calls_free(&c->calls);
    sim_env_free(&c->env);
    c->dead = true;
}

void ml_act(struct ml_client *c, void (*act)(struct ml_client *c, unsigned arg), unsigned arg)
{
    struct ml_packet *p = push(c->world, ACT, c->index, 0);
    p->act = act;
    p->arg = arg;
    p->hash = arg;
}

/* ---- the chain store ---- */

static uint64_t chain_hash(const struct chain *c)
{
    uint64_t h = c->len;
    for (size_t i = 0; i < c->len; i++) {
        h = hash64_combine(h, hash64(bytes_slice(c->segments[i].params)));
        h = hash64_combine(h, c->segments[i].base_lsn);
    }
    return h;
}

static struct ml_packet *chain_ask(struct chain_store *store, struct chain_request *r)
{
    struct ml_client *c = CONTAINER_OF(store, struct ml_client, chains);
    struct ml_packet *p = push(c->world, CHAIN_ASK, c->index, 0);
    p->call.request = r;
    r->private_ = p;
    return p;
}

static void chains_read(struct chain_store *store, uint32_t log_id, struct chain_request *r)
{
    chain_ask(store, r)->hash = 1;
}

static void chains_swap(struct chain_store *store, uint32_t log_id, const struct chain *expected,
                        const struct chain *next, struct chain_request *r)
{
    struct ml_packet *p = chain_ask(store, r);
    p->call.swap = true;
    p->call.absent = expected == NULL;
    if (expected)
        p->call.expected = chain_copy(expected);
    p->call.next = chain_copy(next);
    p->hash = chain_hash(next);
}

static void chains_cancel(struct chain_store *store, struct chain_request *r)
{
    ((struct ml_packet *)r->private_)->call.request = NULL;
}

static const struct chain_store_ops chain_ops = {
    .read = chains_read, .swap = chains_swap, .cancel = chains_cancel};

static void chain_execute(struct ml_world *w, struct chain_call *call)
{
    bool matches =
        call->absent ? w->chain.len == 0 : w->chain.len > 0 && chain_eq(&w->chain, &call->expected);
    call->rc = RC_OK;
    if (call->swap && !matches && w->mutation != ML_SWAP_BLIND) {
        call->rc = RC_CONFLICT;
    } else if (call->swap) {
        ml_check_swap(w, &w->chain, &call->next);
        chain_free(&w->chain);
        w->chain = chain_copy(&call->next);
        w->version++;
    } else if (w->chain.len == 0) {
        call->rc = RC_NOT_FOUND;
    }
    if (w->chain.len)
        call->chain = chain_copy(&w->chain);
    call->version = w->version;
}

static void chain_answer(struct ml_world *w, struct ml_packet *ask, enum rc rc)
{
    if (!ask->call.request)
        return;
    struct ml_packet *p = push(w, CHAIN_ANSWER, ask->client, 0);
    p->call.request = ask->call.request;
    p->call.request->private_ = p;
    p->call.rc = rc;
    p->call.version = ask->call.version;
    if (rc != RC_TIMEOUT && ask->call.chain.len)
        p->call.chain = chain_copy(&ask->call.chain);
    p->hash = hash64_combine(hash64_combine((uint64_t)rc, p->call.version), chain_hash(&p->call.chain));
    ask->call.request = NULL;
}

/* What becomes of a request to the metadata (TR-6). */
static void chain_arrives(struct ml_world *w, struct ml_packet *p)
{
    enum { DONE, DONE_UNKNOWN, NOT_DONE_UNKNOWN, DONE_LATER_UNKNOWN } fate = DONE;
    if (p->call.swap && p->call.request && w->left.unknown > 0)
        fate = explore_choose(w->x, 4);
    w->left.unknown -= fate != DONE;
    if (fate == NOT_DONE_UNKNOWN || fate == DONE_LATER_UNKNOWN) {
        explore_note(w->x, "  it has no answer%s", fate == NOT_DONE_UNKNOWN ? " and no effect" : " yet");
        chain_answer(w, p, RC_TIMEOUT);
    }
    if (fate == DONE_LATER_UNKNOWN) {
        VEC_PUSH(&w->packets, p);
        return;
    }
    if (fate != NOT_DONE_UNKNOWN) {
        chain_execute(w, &p->call);
        explore_note(w->x, "  it says %s%s", rc_name(p->call.rc), fate == DONE ? "" : ", unheard");
        chain_answer(w, p, fate == DONE ? p->call.rc : RC_TIMEOUT);
    }
    packet_free(p);
}

/* ---- steps ---- */

static void deliver(struct ml_world *w, struct ml_packet *p)
{
    static struct loglet_message_room room;
    struct ml_client *c = &w->clients[p->client];
    struct loglet_message m;
    describe(w, "arrives", p);
    if (p->kind == CHAIN_ASK) {
        chain_arrives(w, p);
        return;
    }
    if (p->kind == TO_SERVER) {
        struct ml_server *s = w->servers[p->server];
        struct log_server_peer peer = {c->me, c->index};
        ASSERT(loglet_message_decode(p->frame, &room, &m));
        log_server_on_message(s->server, &peer, &m);
        sim_env_run(&s->env);
    } else if (!c->dead) {
        told(c, (uint64_t)p->kind << 8 | p->server);
        told(c, p->hash);
        if (p->kind == TO_CLIENT) {
            ASSERT(loglet_message_decode(p->frame, &room, &m));
            loglet_calls_on_message(&c->calls, p->server + 1, &m);
        } else if (p->kind == ACT) {
            p->act(c, p->arg);
        } else if (p->call.request) {
            p->call.request->done(p->call.request, p->call.rc, p->call.chain.len ? &p->call.chain : NULL,
                                  p->call.version);
        }
        sim_env_run(&c->env);
    }
    packet_free(p);
}

static void fire_timer(struct ml_client *c)
{
    explore_note(c->world->x, "a timer of %s fires", c->name);
    told(c, 'T');
    c->timers_left--;
    sim_env_next(&c->env, UINT32_MAX);
}

static void lose(struct ml_world *w, struct ml_packet *p)
{
    describe(w, "lost", p);
    packet_free(p);
}

static bool can_be_lost(const struct ml_packet *p)
{
    return p->kind == TO_SERVER || p->kind == TO_CLIENT;
}

static uint64_t world_hash(const struct ml_world *w)
{
    uint64_t h = w->left.delays ^ (uint64_t)w->left.losses << 32 ^ (uint64_t)w->left.crashes << 36 ^
                 (uint64_t)w->left.unknown << 40 ^ (uint64_t)w->left.sequencer_dies << 44;
    uint64_t links[LINKS] = {0}, in_order = 0, unordered = 0;
    for (unsigned i = 0; i < w->n_servers; i++)
        h = hash64_combine(h, server_hash(w->servers[i]));
    for (unsigned i = 0; i < w->n_clients; i++) {
        h = hash64_combine(h, w->clients[i].inputs);
        h = hash64_combine(h, w->clients[i].timers_left ^ (uint64_t)w->clients[i].dead << 32);
    }
    for (size_t i = 0; i < w->packets.len; i++) {
        const struct ml_packet *p = w->packets.items[i];
        uint64_t hash = p->hash ^ (uint64_t)(p->call.request != NULL) << 63;
        links[link_of(p)] = hash64_combine(links[link_of(p)], hash);
        in_order = hash64_combine(in_order, hash64_combine(link_of(p), hash));
    }
    for (unsigned i = 0; i < LINKS; i++)
        unordered = hash64_combine(unordered, links[i]);
    h = hash64_combine(h, w->left.delays == ML_ANY_ORDER ? unordered : in_order);
    for (unsigned i = 0; i < w->n_loglets; i++)
        h = hash64_combine(h, w->loglets[i].sealed_bound);
    return hash64_combine(hash64_combine(h, chain_hash(&w->chain)), w->version);
}

struct option {
    enum { DELIVER, LOSE, POSTPONE, CRASH, DIE, TIMER } kind;
    size_t index;
};
#define OPTIONS_MAX 256

static size_t add_packets(struct ml_world *w, struct option *out)
{
    bool used[LINKS] = {false};
    size_t n = 0, any = w->left.delays == ML_ANY_ORDER ? w->packets.len : MIN(w->packets.len, (size_t)1);
    for (size_t i = 0; i < any; i++) {
        const struct ml_packet *p = w->packets.items[i];
        if (used[link_of(p)])
            continue;
        used[link_of(p)] = true;
        ASSERT(n + 4 < OPTIONS_MAX);
        out[n++] = (struct option){DELIVER, i};
        if (w->left.losses > 0 && can_be_lost(p))
            out[n++] = (struct option){LOSE, i};
        if (w->left.delays > 0 && w->left.delays != ML_ANY_ORDER && w->packets.len > 1)
            out[n++] = (struct option){POSTPONE, i};
    }
    return n;
}

/* Does time matter to it? An operation that waits, records that are not committed, or (to tell that they are)
 * somebody else who waits. */
static bool waits(const struct ml_client *c)
{
    if (c->dead || c->timers_left == 0 || !heap_min((struct heap *)&c->env.timers))
        return false;
    if (c->op)
        return true;
    const struct ml_client *reader = &c->world->clients[c->world->n_clients - 1];
    return c->sequencer && !sequencer_sealed(c->sequencer) &&
           (sequencer_stalled_since_ms(c->sequencer) || (reader != c && reader->op));
}

static size_t options(struct ml_world *w, struct option *out)
{
    size_t n = add_packets(w, out);
    for (unsigned i = 0; i < w->n_servers && w->left.crashes > 0; i++)
        out[n++] = (struct option){CRASH, i};
    if (w->left.sequencer_dies && !w->clients[0].dead)
        out[n++] = (struct option){DIE, 0};
    for (unsigned i = 0; i < w->n_clients && w->packets.len == 0; i++) {
        if (waits(&w->clients[i]))
            out[n++] = (struct option){TIMER, i};
    }
    return n;
}

bool ml_step(struct ml_world *w)
{
    struct option all[OPTIONS_MAX];
    int chosen = EXPLORE_STEP(w->x, world_hash(w), options(w, all));
    if (chosen < 0)
        return false;
    const struct option *o = &all[chosen];
    switch (o->kind) {
    case DELIVER:
        deliver(w, take(w, o->index));
        break;
    case LOSE:
        w->left.losses--;
        lose(w, take(w, o->index));
        break;
    case POSTPONE: {
        struct ml_packet *p = take(w, o->index);
        w->left.delays--;
        describe(w, "delayed", p);
        VEC_PUSH(&w->packets, p);
        break;
    }
    case CRASH:
        w->left.crashes--;
        server_crash(w->servers[o->index]);
        break;
    case DIE:
        explore_note(w->x, "%s dies", w->clients[0].name);
        w->left.sequencer_dies = false;
        client_stop(&w->clients[0]);
        break;
    case TIMER:
        fire_timer(&w->clients[o->index]);
        break;
    }
    return !explore_over(w->x);
}

/* ---- life ---- */

struct ml_world *ml_new(struct explore *x, const struct ml_bounds *b, enum ml_mutation mutation)
{
    struct ml_world *w = xcalloc(1, sizeof(*w));
    w->x = x;
    w->left = *b;
    w->mutation = mutation;
    w->n_servers = b->servers;
    w->copies = b->copies;
    for (unsigned i = 0; i < b->servers; i++) {
        struct node_info info = {
            .id = i + 1, .generation = 1, .storage = STORAGE_READ_WRITE, .liveness = LIVENESS_ALIVE};
        node_directory_put(&w->directory, &info);
        w->servers[i] = server_new(w, i);
    }
    return w;
}

void ml_free(struct ml_world *w)
{
    for (unsigned i = 0; i < w->n_clients; i++) {
        if (!w->clients[i].dead)
            client_stop(&w->clients[i]);
    }
    for (size_t i = 0; i < w->packets.len; i++)
        packet_free(w->packets.items[i]);
    VEC_FREE(&w->packets);
    for (unsigned i = 0; i < w->n_servers; i++)
        server_free(w->servers[i]);
    chain_free(&w->chain);
    node_directory_free(&w->directory);
    free(w);
}

/* ---- writing ---- */

static void on_committed(void *ctx, uint64_t tail)
{
    struct ml_client *c = ctx;
    ml_check_acked(c, ml_find(c->world, c->loglet), tail);
}

static void on_sealed(void *ctx) {}

void ml_start_sequencer(struct ml_client *c, const struct loglet_params *p, lsn_t base)
{
    c->base = base;
    c->loglet = p->loglet_id;
    c->sequencer = sequencer_new(&(struct sequencer_config){
        .calls = &c->calls, .params = p, .committed = on_committed, .sealed = on_sealed, .ctx = c});
}

void ml_append(struct ml_client *c, unsigned uid)
{
    struct bytes body = record(uid);
    if (c->sequencer && sequencer_room(c->sequencer, &body, 1) == 1)
        sequencer_append(c->sequencer, &body, 1);
    bytes_unref(&body);
}
