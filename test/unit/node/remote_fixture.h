/* Nodes in one process: each with links (peer/), a partition map, a router, and real partition processors
 * over logs in memory that all nodes share, so that a partition can move from one to another. Everything on
 * one loop; partitions 0 and 1. The handlers end at once with "done", unless the node is idle, or call
 * others. */
#pragma once
#include "unit/partition/machine_fixture.h"

#include "node/remote.h"
#include "node/shipper.h"
#include "peer/acceptor.h"

#define PARTITIONS 2u
#define KEY_0      5u                /* a partition key of partition 0 */
#define KEY_1      (UINT64_MAX - 5u) /* ... of partition 1 */

static struct loop *loop;
static struct memory_logs *logs;

struct rnode;
struct rpartition {
    struct rnode *node;
    uint16_t id;
    struct kv_backend *kv;
    struct processor *p;
    struct shipper *shipper;
    bool closed;
    uint64_t tokens;
    int leading, invoked;
};

struct rnode {
    uint32_t id;
    struct peers *peers;
    struct net_listener *listener;
    struct peer_acceptor *acceptor;
    char address[64];
    struct partition_map *map;
    struct partition_router *router;
    struct remote *remote;
    struct rpartition partitions[PARTITIONS];
    bool idle;
    uint32_t calls; /* handlers of partition 0 make so many one-way calls to partition 1 */
    uint64_t *next_callee;
};

/* ---- the processor's host ---- */

static inline void h_invoke(void *host, struct processor *p, struct invocation *inv)
{
    struct rpartition *rp = host;
    rp->invoked++;
    if (rp->node->idle)
        return;
    struct writer w = record_writer();
    effects_begin(&w, inv->id, ++rp->tokens, 0);
    for (uint32_t i = 0; rp->id == 0 && i < rp->node->calls; i++) {
        struct invocation_id callee = {.partition_key = KEY_1, .uuid = {9, ++*rp->node->next_callee}};
        call_entry(&w, true, callee, TARGET_SERVICE, i + 1, 0);
    }
    output_entry(&w, "done");
    end_effect(&w);
    processor_propose_effects(p, writer_take(&w));
}

static inline void h_ship(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                          struct bytes record)
{
    struct rpartition *rp = host;
    shipper_ship(rp->shipper, index, partition_key, record);
}

static inline void h_leading(void *host, struct processor *p, uint64_t epoch)
{
    ((struct rpartition *)host)->leading++;
}

static inline void h_following(void *host, struct processor *p)
{
    struct rpartition *rp = host;
    rp->leading = 0;
    shipper_reset(rp->shipper);
}

static inline void h_abort(void *host, struct processor *p, struct invocation_id id) {}

static inline void h_forward(void *host, struct processor *p, struct invocation *inv, uint32_t entry_index) {}

static inline void h_ack(void *host, struct processor *p, struct invocation_id id, uint32_t command_index) {}

static inline void h_applied(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                             uint64_t batch, bool dropped)
{
}

static inline bool h_pause(void *host, struct processor *p, struct invocation_id id)
{
    return true;
}

static inline void h_failed(void *host, struct processor *p, const struct err *err)
{
    fail_msg("replica failed: %s", err->msg);
}

static const struct processor_host_ops rnode_host = {.invoke = h_invoke,
                                                     .abort = h_abort,
                                                     .forward_notification = h_forward,
                                                     .ack_command = h_ack,
                                                     .retry_now = h_abort,
                                                     .effects_applied = h_applied,
                                                     .pause = h_pause,
                                                     .ship = h_ship,
                                                     .leading = h_leading,
                                                     .following = h_following,
                                                     .failed = h_failed};

/* ---- running ---- */

static struct env_timer poll_timer;
static bool (*poll_done)(void *ctx);
static void *poll_ctx;
static uint64_t poll_deadline;
static bool poll_reached;

static inline void poll_fire(struct env_timer *t)
{
    poll_reached = poll_done && poll_done(poll_ctx);
    if (poll_reached || env_mono_ms(loop_env(loop)) >= poll_deadline)
        loop_stop(loop);
    else
        env_timer_arm(loop_env(loop), t, 1);
}

static inline bool run_until(bool (*done)(void *ctx), void *ctx, uint64_t ms)
{
    poll_done = done;
    poll_ctx = ctx;
    poll_deadline = env_mono_ms(loop_env(loop)) + ms;
    env_timer_init(&poll_timer, poll_fire);
    env_timer_arm(loop_env(loop), &poll_timer, 0);
    loop_run(loop);
    return poll_reached;
}

static inline void run_for(uint64_t ms)
{
    run_until(NULL, NULL, ms);
}

static inline bool at_least_one(void *ctx)
{
    return *(int *)ctx > 0;
}

/* ---- nodes ---- */

static inline void r_accept(void *ctx, struct net_conn *conn)
{
    peer_acceptor_accept(((struct rnode *)ctx)->acceptor, conn);
}

static const struct net_listener_ops r_listener_ops = {r_accept};

static inline void r_not_http(void *ctx, struct net_conn *conn)
{
    fail_msg("unexpected connection");
}

static inline void rnode_start(struct rnode *n, uint32_t id)
{
    struct peers_config c;
    struct net_address a = {.family = NET_TCP, .host = "127.0.0.1"};
    peers_config_default(&c);
    c.retry_min_ms = 10;
    c.retry_max_ms = 50;
    *n = (struct rnode){.id = id};
    n->peers = peers_new(loop, &c);
    n->acceptor = peer_acceptor_new(n->peers, r_not_http, n);
    peer_acceptor_add(n->acceptor, PEER_PARTITION, n->peers);
    peer_acceptor_set_identity(n->acceptor, (struct node_ref){id, 1}, 7);
    assert_int_equal(net_listen(loop, &a, false, &r_listener_ops, n, &n->listener, NULL), RC_OK);
    assert_int_equal(net_listener_start(n->listener, NULL), RC_OK);
    net_listener_address(n->listener, &a);
    snprintf(n->address, sizeof(n->address), "http://127.0.0.1:%u/", a.port);
    n->map = partition_map_new(PARTITIONS);
    n->map->node_id = id;
    n->router = router_new(loop, n->map);
    n->remote = remote_new(loop, n->peers, n->map, n->router, true);
    for (uint16_t i = 0; i < PARTITIONS; i++) {
        n->map->slots[i].loop = loop;
        n->partitions[i] = (struct rpartition){.node = n, .id = i};
    }
}

static inline void rnode_know(struct rnode *n, const struct rnode *other)
{
    peer_acceptor_set_node(n->acceptor, (struct node_ref){other->id, 1}, other->address);
}

/* Open the partition on this node and lead it; `others` learn of it. */
static inline void partition_lead(struct rnode *n, uint16_t id, uint64_t epoch)
{
    struct rpartition *rp = &n->partitions[id];
    struct env *env = loop_env(loop);
    const struct partition_slot *slot = &n->map->slots[id];
    struct store_config sc = {.partition_id = id,
                              .key_start = slot->key_start,
                              .key_end = slot->key_end,
                              .cache_bytes = 64 << 20,
                              .flush_dirty_bytes = 4 << 20,
                              .flush_interval_ms = 10000};
    struct processor_config pc = {.partition_id = id,
                                  .node_id = n->id,
                                  .node_generation = 1,
                                  .key_start = slot->key_start,
                                  .key_end = slot->key_end,
                                  .self_proposal_limit_bytes = 64 << 20,
                                  .version = "1.7.0"};
    struct partition_store *store;
    if (!rp->kv)
        rp->kv = memory_backend_new(env);
    assert_int_equal(store_open(rp->kv, env, &sc, &store, NULL), RC_OK);
    rp->closed = false;
    rp->p = processor_new(env, &pc, store, memory_log_open(logs, env, id), &rnode_host, rp);
    rp->shipper = shipper_new(loop, n->map, rp->p, id);
    shipper_set_remote(rp->shipper, n->remote->ships);
    n->map->slots[id].processor = rp->p;
    processor_become_leader(rp->p, epoch);
    assert_true(run_until(at_least_one, &rp->leading, 5000));
}

static inline void r_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static inline bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

static inline void partition_close(struct rnode *n, uint16_t id)
{
    struct rpartition *rp = &n->partitions[id];
    if (!rp->p)
        return;
    n->map->slots[id].processor = NULL;
    processor_step_down(rp->p);
    shipper_free(rp->shipper);
    processor_close(rp->p, false, r_closed, &rp->closed);
    assert_true(run_until(is_true, &rp->closed, 5000));
    rp->p = NULL;
    rp->leading = 0;
}

static inline void set_leader(struct rnode *const *nodes, size_t n, uint16_t partition, uint32_t leader)
{
    for (size_t i = 0; i < n; i++)
        partition_map_set_leader(nodes[i]->map, partition, leader);
}

static inline void rnode_stop(struct rnode *n)
{
    for (uint16_t i = 0; i < PARTITIONS; i++) {
        partition_close(n, i);
        if (n->partitions[i].kv)
            memory_backend_free(n->partitions[i].kv);
    }
    if (n->listener)
        net_listener_close(n->listener);
    peer_acceptor_free(n->acceptor);
    remote_free(n->remote);
    run_for(5);
    router_free(n->router);
    partition_map_free(n->map);
}

static inline int setup(void **state)
{
    loop = loop_new("test");
    logs = memory_logs_new();
    return 0;
}

static inline int teardown(void **state)
{
    run_for(10);
    memory_logs_free(logs);
    loop_free(loop);
    assert_int_equal(buf_live_bytes(), 0);
    return 0;
}

/* ---- a request ---- */

struct ask {
    struct partition_rpc rpc;
    int replied;
    struct rpc_reply reply;
    char value[64], service[64];
    bool in_submit;
};

static inline void ask_replied(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct ask *a = CONTAINER_OF(rpc, struct ask, rpc);
    assert_false(a->in_submit);
    a->replied++;
    a->reply = *reply;
    snprintf(a->value, sizeof(a->value), "%.*s", SLICE_FMT(reply->outcome.value));
    snprintf(a->service, sizeof(a->service), "%.*s", SLICE_FMT(reply->target.service));
    bytes_unref(&rpc->record);
}

static uint64_t next_request;

static inline void ask_init(struct ask *a, enum rpc_kind kind, struct invocation_id id)
{
    *a = (struct ask){.rpc = {.kind = kind,
                              .request_id = request(++next_request),
                              .partition_key = id.partition_key,
                              .id = id,
                              .reply = ask_replied}};
}

static inline void ask_invoke(struct ask *a, struct invocation_id id, const char *input)
{
    ask_init(a, RPC_INVOKE, id);
    a->rpc.wait_result = true;
    struct writer w = record_writer();
    struct invoke_options o = {.id = id, .request = next_request, .input = input};
    invocation_write(&w, &o, id);
    a->rpc.record = writer_take(&w);
}

static inline void ask_submit(struct ask *a, struct rnode *n)
{
    a->in_submit = true;
    partition_router_submit(n->router, &a->rpc);
    a->in_submit = false;
}

static inline void ask_wait(struct ask *a, struct rnode *n)
{
    ask_submit(a, n);
    assert_true(run_until(at_least_one, &a->replied, 10000));
    assert_int_equal(a->replied, 1);
}

static inline void assert_refused(const struct ask *a, enum rc rc)
{
    assert_int_equal(a->replied, 1);
    assert_int_equal(a->reply.status, RPC_FAILED);
    if (a->reply.rc != rc)
        fail_msg("%s instead of %s: %s", rc_name(a->reply.rc), rc_name(rc), a->reply.detail);
}

static inline struct invocation_id id_in(uint64_t key, uint64_t n)
{
    return (struct invocation_id){.partition_key = key, .uuid = {7, n}};
}
