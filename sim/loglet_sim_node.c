/* A simulated node: start, crash, and what its user does with the logs. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/loglet_sim.h"

/* ---- reader ---- */

static void on_records(void *ctx, const struct log_record *records, size_t n)
{
    struct sim_handle *h = ctx;
    for (size_t i = 0; i < n; i++)
        sim_check_delivery(h->node->world, h, records[i].lsn, bytes_slice(records[i].body));
}

static void on_trim_gap(void *ctx, lsn_t from, lsn_t to)
{
    struct sim_handle *h = ctx;
    sim_check_gap(h->node->world, h, from, to);
}

static void on_error(void *ctx, const struct err *err)
{
    struct sim_handle *h = ctx;
    sim_fail(h->node->world, "N%u: the reader of log %u failed: %s", h->node->id, h->log_id, err->msg);
}

static const struct log_reader_ops reader_ops = {
    .on_records = on_records, .on_trim_gap = on_trim_gap, .on_error = on_error};

void sim_node_reread(struct sim_node *n, unsigned log_id, lsn_t from)
{
    struct sim_handle *h = &n->handles[log_id];
    if (!n->up || !h->log || h->closing)
        return;
    h->next = from;
    log_read_from(h->log, from, &reader_ops, h);
    sim_node_settle(n);
}

static void open_handle(struct sim_node *n, unsigned log_id)
{
    struct sim_handle *h = &n->handles[log_id];
    *h = (struct sim_handle){.node = n, .log_id = log_id, .id = ++n->world->next_handle, .next = 1};
    h->log = replicated_log_open(n->logs, log_id);
    log_read_from(h->log, 1, &reader_ops, h);
}

static void on_closed(void *ctx)
{
    struct sim_handle *h = ctx;
    h->log = NULL;
    open_handle(h->node, h->log_id);
}

void sim_node_reopen(struct sim_node *n, unsigned log_id)
{
    struct sim_handle *h = &n->handles[log_id];
    if (!n->up || !h->log || h->closing)
        return;
    h->closing = true;
    log_close(h->log, on_closed, h);
    sim_node_settle(n);
}

/* ---- appends ---- */

static void on_appended(struct log_append_wait *wait, enum rc rc, lsn_t lsn)
{
    struct sim_append *a = CONTAINER_OF(wait, struct sim_append, wait);
    a->outcome = rc == RC_OK ? OUTCOME_COMMITTED : rc == RC_NOT_LEADER ? OUTCOME_NOT : OUTCOME_UNKNOWN;
    a->lsn = lsn;
    sim_check_append_done(a->world, a);
}

void sim_node_append(struct sim_node *n, unsigned log_id)
{
    struct sim_world *w = n->world;
    struct sim_handle *h = &n->handles[log_id];
    struct replicated_log_status status;
    if (!n->up || !h->log || h->closing)
        return;
    replicated_log_get_status(h->log, &status);
    if (status.role == REPLICATED_LOG_LOST || status.role == REPLICATED_LOG_SEALED) {
        if (w->leader[log_id] != n->id)
            return;
        replicated_log_claim(h->log);
    }
    unsigned count = 1 + (unsigned)sim_random(w, 6);
    for (unsigned i = 0; i < count; i++) {
        struct sim_append *a = xcalloc(1, sizeof(*a));
        VEC_PUSH(&w->appends, a);
        a->world = w;
        a->uid = w->appends.len;
        a->log = log_id;
        a->node = n->id;
        a->incarnation = n->incarnation;
        a->handle = h->id;
        a->order = h->appended++;
        a->at_ms = w->now_ms;
        a->wait.done = on_appended;
        size_t len = 16 + (size_t)sim_random(w, 40);
        struct buf *b = buf_new(len);
        memset(b->data, (int)(a->uid & 0xff), len);
        put_u64le(b->data, a->uid);
        enum rc rc = log_append(h->log, bytes_take_buf(b, 0, len), &a->wait);
        w->stats.appends++;
        if (rc != RC_OK) {
            a->outcome = OUTCOME_NOT;
            break;
        }
    }
    sim_node_settle(n);
}

/* ---- other wishes ---- */

struct tail_ask {
    struct sim_world *world;
    unsigned log_id;
    lsn_t least;
};

static void on_tail(void *ctx, enum rc rc, lsn_t tail)
{
    struct tail_ask *t = ctx;
    if (rc == RC_OK)
        sim_check_tail_end(t->world, t->log_id, t->least, tail);
}

/* NULL: the node has no such log now. */
static struct tail_ask *tail_ask_new(struct sim_node *n, unsigned log_id)
{
    struct sim_handle *h = &n->handles[log_id];
    if (!n->up || !h->log || h->closing)
        return NULL;
    struct tail_ask *t = xcalloc(1, sizeof(*t));
    t->world = n->world;
    VEC_PUSH(&n->world->asks, t);
    t->log_id = log_id;
    sim_check_tail_begin(n->world, log_id, &t->least);
    return t;
}

void sim_node_find_tail(struct sim_node *n, unsigned log_id)
{
    struct tail_ask *t = tail_ask_new(n, log_id);
    if (!t)
        return;
    log_find_tail(n->handles[log_id].log, on_tail, t);
    sim_node_settle(n);
}

void sim_node_seal_log(struct sim_node *n, unsigned log_id)
{
    struct tail_ask *t = tail_ask_new(n, log_id);
    if (!t)
        return;
    log_seal(n->handles[log_id].log, on_tail, t);
    sim_node_settle(n);
}

/* Seals a segment and finds its tail, repairing where needed, but leaves the chain alone: the sealer Y of
 * trap TR-1. */
static void on_lone_tail(void *ctx, const struct loglet_tail *t)
{
    struct sim_node *n = ctx;
    n->sealer = NULL;
}

void sim_node_lone_sealer(struct sim_node *n, unsigned log_id)
{
    struct chain *c = &n->world->chains[log_id];
    struct loglet_params p;
    if (!n->up || c->len == 0)
        return;
    if (n->sealer) {
        loglet_op_cancel(n->sealer);
        n->sealer = NULL;
        return;
    }
    size_t i = c->len - 1 - sim_random(n->world, MIN(c->len, (size_t)2));
    if (c->segments[i].kind != SEGMENT_REPLICATED ||
        loglet_params_decode(bytes_slice(c->segments[i].params), &p, NULL) != RC_OK)
        return;
    n->sealer = loglet_find_tail(&n->calls, &p, LOGLET_TAIL_SEAL, on_lone_tail, n);
    sim_node_settle(n);
}

/* ---- what the node believes of the others ---- */

void sim_node_gossip(struct sim_node *n)
{
    struct sim_world *w = n->world;
    if (!n->up)
        return;
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        struct sim_node *peer = &w->nodes[i];
        struct node_info info = {.id = i, .generation = peer->generation, .storage = peer->storage};
        bool reachable = peer->up && !w->cut[i][n->id] && w->now_ms >= peer->paused_until_ms;
        info.liveness = reachable || i == n->id ? LIVENESS_ALIVE : LIVENESS_DEAD;
        if (w->options.random_detector && !w->healing)
            info.liveness = (enum liveness)sim_random(w, 3);
        if (w->options.zones)
            snprintf(info.location.region, sizeof(info.location.region), "r"),
                snprintf(info.location.zone, sizeof(info.location.zone), "z%u", i % 3);
        node_directory_put(&n->directory, &info);
        if (reachable && i != n->id && sim_chance(w, 50))
            loglet_calls_node_alive(&n->calls, i);
    }
    loglet_calls_nodes_changed(&n->calls);
    sim_node_settle(n);
}

/* ---- life ---- */

void sim_node_settle(struct sim_node *n)
{
    if (!n->up)
        return;
    n->env.mono_ms = n->world->now_ms;
    sim_env_run(&n->env);
}

void sim_node_start(struct sim_node *n)
{
    struct sim_world *w = n->world;
    ASSERT(!n->up);
    n->up = true;
    n->incarnation++;
    if (w->options.mutation != MUTATE_SECOND_SEQUENCER || n->generation == 0)
        n->generation++;
    n->paused_until_ms = 0;
    sim_env_init(&n->env, sim_random(w, UINT64_MAX));
    n->env.mono_ms = w->now_ms;
    if (!n->wiped) /* a log-server that lost its data must not answer (N-5) */
        n->server = log_server_new(&(struct log_server_config){
            .env = &n->env.env, .store = sim_disk_store(n->disk), .reply = sim_net_reply, .ctx = n});
    sim_net_init(n);
    loglet_calls_init(&n->calls, &n->env.env, &n->net, &n->directory,
                      (struct node_ref){n->id, n->generation});
    n->chains = sim_chains_new(n);
    unsigned copies = w->options.copies;
    struct replicated_logs_config config = {.calls = &n->calls,
                                            .chains = sim_chains_store(n->chains),
                                            .replication = replication_nodes((uint8_t)copies),
                                            .retain_bytes = 4096,
                                            .window_records = 20,
                                            .recovery_ms = 3000};
    if (w->options.zones)
        config.replication.copies[SCOPE_ZONE] = 2;
    if (w->options.mutation == MUTATE_WRITE_QUORUM_OF_ONE)
        config.replication = replication_nodes(1);
    n->logs = replicated_logs_new(&config);
    sim_node_gossip(n);
    for (unsigned l = 1; l <= w->options.logs; l++)
        open_handle(n, l);
    sim_node_settle(n);
}

void sim_node_crash(struct sim_node *n)
{
    if (!n->up)
        return;
    n->world->stats.crashes++;
    loglet_op_cancel(n->sealer);
    n->sealer = NULL;
    replicated_logs_free(n->logs);
    sim_chains_free(n->chains);
    loglet_calls_free(&n->calls);
    sim_disk_crash(n->disk);
    if (n->server)
        log_server_free(n->server);
    n->server = NULL;
    n->up = false;
    for (unsigned l = 1; l <= n->world->options.logs; l++)
        n->handles[l].log = NULL;
    sim_env_free(&n->env);
}
