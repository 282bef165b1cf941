/* Replicas of a partition with a processor over a simulated log and a fake host, and requests to them: what
 * the tests of the processor share. */
#pragma once
#include "machine_fixture.h"
#include "partition/processor.h"
#include "sim/sim_log.h"

/* A replica with a host that answers every attempt at once with output "done" (unless `idle`) and ships to
 * the replica itself. */
struct replica {
    struct world *world;
    struct kv_backend *kv;
    struct log *log;
    struct processor *p;
    bool idle, hold_shipping, failed, crashed;
    unsigned leading, following, invoked, aborted, effects_applied, effects_dropped, shipped;
    struct bytes held; /* effects prepared by an idle host */
    uint64_t next_token;
};

struct world {
    struct sim_env env;
    struct sim_logs *logs;
    struct replica replicas[3];
    bool owner_trims; /* processor_set_durability */
};

struct shipping {
    struct log_append_wait wait;
    struct replica *r;
    uint64_t index;
};

static inline void h_invoke(void *host, struct processor *p, struct invocation *inv)
{
    struct replica *r = host;
    r->invoked++;
    if (r->idle)
        return;
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    effects_begin(&w, inv->id, ++r->next_token, 0);
    output_entry(&w, "done");
    end_effect(&w);
    processor_propose_effects(p, writer_take(&w));
}

static inline void h_abort(void *host, struct processor *p, struct invocation_id id)
{
    ((struct replica *)host)->aborted++;
}

static inline void h_forward(void *host, struct processor *p, struct invocation *inv, uint32_t entry_index) {}

static inline void h_ack(void *host, struct processor *p, struct invocation_id id, uint32_t command_index) {}

static inline void h_retry(void *host, struct processor *p, struct invocation_id id) {}

static inline void h_applied(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                             uint64_t batch, bool dropped)
{
    struct replica *r = host;
    if (dropped)
        r->effects_dropped++;
    else
        r->effects_applied++;
}

static inline bool h_pause(void *host, struct processor *p, struct invocation_id id)
{
    return ((struct replica *)host)->idle;
}

static inline void ship_done(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct shipping *s = CONTAINER_OF(w, struct shipping, wait);
    if (rc == RC_OK && s->r->p)
        processor_outbox_shipped(s->r->p, s->index);
    free(s);
}

static inline void h_ship(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                          struct bytes record)
{
    struct replica *r = host;
    r->shipped++;
    if (r->hold_shipping) {
        bytes_unref(&record);
        return;
    }
    struct shipping *s = xcalloc(1, sizeof(*s));
    s->wait.done = ship_done;
    s->r = r;
    s->index = index;
    if (processor_ingest(p, record, &s->wait) != RC_OK)
        free(s);
}

static inline void h_leading(void *host, struct processor *p, uint64_t epoch)
{
    ((struct replica *)host)->leading++;
}

static inline void h_following(void *host, struct processor *p)
{
    ((struct replica *)host)->following++;
}

static inline void h_failed(void *host, struct processor *p, const struct err *err)
{
    ((struct replica *)host)->failed = true;
}

static const struct processor_host_ops host_ops = {
    .invoke = h_invoke,
    .abort = h_abort,
    .forward_notification = h_forward,
    .ack_command = h_ack,
    .retry_now = h_retry,
    .effects_applied = h_applied,
    .pause = h_pause,
    .ship = h_ship,
    .leading = h_leading,
    .following = h_following,
    .failed = h_failed,
};

static inline void start_replica(struct world *w, int i)
{
    struct replica *r = &w->replicas[i];
    r->world = w;
    if (!r->kv)
        r->kv = memory_backend_new(&w->env.env);
    struct store_config sc = fixture_store_config();
    struct processor_config config = {
        .partition_id = FIXTURE_PARTITION,
        .node_id = (uint32_t)i + 1,
        .node_generation = 1,
        .key_end = UINT64_MAX,
        .max_inflight_ship = 8,
        .self_proposal_limit_bytes = 1 << 20,
        .max_timers_in_memory = 4,
        .max_held = 3,
        .trim_delay_ms = 1000,
        .trim_log = !w->owner_trims,
        .version = "1.7.0",
    };
    struct partition_store *store;
    struct err err = {0};
    assert_int_equal(store_open(r->kv, &w->env.env, &sc, &store, &err), RC_OK);
    r->log = sim_log_open(w->logs, 0);
    r->p = processor_new(&w->env.env, &config, store, r->log, &host_ops, r);
}

static inline void closed(void *ctx)
{
    ((struct replica *)ctx)->p = NULL;
}

static inline void stop_replica(struct world *w, int i, bool abandon)
{
    struct replica *r = &w->replicas[i];
    processor_close(r->p, abandon, closed, r);
    sim_env_advance(&w->env, 5000);
    assert_null(r->p);
    if (abandon)
        memory_backend_crash(r->kv);
}

static inline void settle(struct world *w)
{
    sim_env_advance(&w->env, 50);
}

static inline int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    sim_env_init(&w->env, 7);
    w->logs = sim_logs_new(&w->env, 1);
    start_replica(w, 0);
    processor_become_leader(w->replicas[0].p, 1);
    settle(w);
    assert_int_equal(w->replicas[0].leading, 1);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 3; i++) {
        if (w->replicas[i].p)
            stop_replica(w, i, true);
        if (w->replicas[i].kv)
            memory_backend_free(w->replicas[i].kv);
    }
    sim_logs_free(w->logs);
    sim_env_free(&w->env);
    free(w);
    return 0;
}

/* ---- requests ---- */

struct test_rpc {
    struct partition_rpc rpc;
    struct rpc_reply reply; /* outcome copied to `value` */
    char value[64];
    unsigned replies;
};

static inline void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct test_rpc *t = CONTAINER_OF(rpc, struct test_rpc, rpc);
    t->replies++;
    t->reply = *reply;
    if (reply->outcome.kind == OUTCOME_SUCCESS)
        snprintf(t->value, sizeof(t->value), "%.*s", SLICE_FMT(reply->outcome.value));
}

static inline struct test_rpc new_rpc(enum rpc_kind kind, uint64_t request_number, struct invocation_id id)
{
    return (struct test_rpc){.rpc = {.kind = kind,
                                     .request_id = request(request_number),
                                     .partition_key = id.partition_key,
                                     .id = id,
                                     .deployment_max_protocol = 7,
                                     .reply = on_reply}};
}

static inline struct invocation_id id_of(uint64_t n)
{
    return (struct invocation_id){.partition_key = 42, .uuid = {9, n}};
}

static inline struct test_rpc invoke_rpc(uint64_t request_number, struct invoke_options o)
{
    struct test_rpc t = new_rpc(RPC_INVOKE, request_number, o.id);
    t.rpc.wait_result = o.request != 0;
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    invocation_write(&w, &o, o.id);
    t.rpc.record = writer_take(&w);
    return t;
}

static inline struct test_rpc call_rpc(uint64_t n)
{
    return invoke_rpc(n, (struct invoke_options){.id = id_of(n), .request = n});
}

static inline struct test_rpc send_rpc(uint64_t n)
{
    return invoke_rpc(n, (struct invoke_options){.id = id_of(n), .submit = n});
}
