/* Nodes, the metadata store, the log and the clients of the model of leadership, see model_leadership.h. */
#include "sim/model_leadership.h"

typedef unsigned long long ull;

/* ---- the metadata store ---- */

static void told(struct ld_node *n, struct kv_op *op, enum rc rc)
{
    struct kv_result r = {.rc = rc, .message = rc == RC_OK ? "" : rc_name(rc)};
    struct kv_entry e;
    char key[EPOCH_KEY_SIZE];
    epoch_key(0, key);
    if (rc == RC_OK && op->kind != KV_PUT) {
        ASSERT(kv_table_get(&n->world->table, slice_cstr(key), &e));
        r.entry = e;
        r.entries = &e;
        r.n_entries = 1;
    }
    op->done(op, &r);
    sim_env_run(&n->env);
}

static void kv_take(struct kv *kv, struct kv_op *op)
{
    struct ld_node *n = CONTAINER_OF(kv, struct ld_node, kv);
    struct ld_ask a = {
        op, n->index, op->kind, op->value, op->precondition, op->version, op->expected_version};
    op->value = BYTES_EMPTY;
    VEC_PUSH(&n->world->asks, a);
}

static enum rc execute(struct ld_world *w, const struct ld_ask *a)
{
    char key[EPOCH_KEY_SIZE];
    const char *message;
    epoch_key(0, key);
    struct kv_write write = {true,        a->precondition, a->version,
                             a->expected, slice_cstr(key), bytes_slice(a->value)};
    if (a->kind != KV_PUT)
        return RC_OK;
    if (w->scenario->wrong != BLIND_SWAP && kv_table_judge(&w->table, &write, &message) != RC_OK)
        return RC_CONFLICT;
    kv_table_put(&w->table, write.key, bytes_ref(a->value), a->version);
    return RC_OK;
}

static struct ld_ask take_ask(struct ld_world *w, size_t i)
{
    struct ld_ask a = w->asks.items[i];
    memmove(&w->asks.items[i], &w->asks.items[i + 1], (--w->asks.len - i) * sizeof(a));
    return a;
}

void ld_arrive(struct ld_world *w, size_t i, enum ld_fate fate)
{
    static const char *const fates[] = {"", ", unheard", ", no answer, not done", ", no answer yet"};
    struct ld_ask a = take_ask(w, i);
    struct kv_op *op = a.op;
    enum rc rc = RC_TIMEOUT;
    w->left.undecided -= fate != DONE;
    explore_note(w->x, "N%u: %s%s%s", a.node + 1, a.kind == KV_PUT ? "swap" : "read", fates[fate],
                 op ? "" : " (late)");
    if (fate == DONE || fate == DONE_UNHEARD) {
        enum rc outcome = execute(w, &a);
        rc = fate == DONE ? outcome : RC_TIMEOUT;
    }
    a.op = NULL;
    if (fate == DONE_LATER)
        VEC_PUSH(&w->asks, a);
    else
        bytes_unref(&a.value);
    if (op)
        told(&w->nodes[a.node], op, rc);
}

/* ---- the log ---- */

static enum rc log_take(struct log *log, struct bytes record, struct log_append_wait *wait)
{
    struct ld_node *n = CONTAINER_OF(log, struct ld_node, log);
    VEC_PUSH(&n->pending, ((struct ld_pending){record, wait}));
    return RC_OK;
}

static void log_read(struct log *log, lsn_t from, const struct log_reader_ops *ops, void *ctx)
{
    struct ld_node *n = CONTAINER_OF(log, struct ld_node, log);
    n->reader = ops;
    n->reader_ctx = ctx;
    n->next = from;
}

static void log_stop(struct log *log)
{
    CONTAINER_OF(log, struct ld_node, log)->reader = NULL;
}

static void log_trim_nothing(struct log *log, lsn_t upto) {}

static void log_end(struct log *log, void (*done)(void *ctx), void *ctx)
{
    struct ld_node *n = CONTAINER_OF(log, struct ld_node, log);
    for (size_t i = 0; i < n->pending.len; i++) {
        struct ld_pending *p = &n->pending.items[i];
        if (p->wait)
            p->wait->done(p->wait, RC_CLOSED, 0);
        VEC_PUSH(&n->late, ((struct ld_pending){p->record, NULL}));
    }
    n->pending.len = 0;
    done(ctx);
}

static const struct log_ops log_ops = {.append = log_take,
                                       .read_from = log_read,
                                       .read_stop = log_stop,
                                       .trim = log_trim_nothing,
                                       .close = log_end};

/* As a state machine without some rule would understand it. */
static struct bytes mutate(struct ld_world *w, struct bytes record, struct record_header h)
{
    bool announces = h.kind == CMD_ANNOUNCE_LEADER;
    bool change = (w->scenario->wrong == NO_FENCE && !announces) ||
                  (w->scenario->wrong == OLD_ANNOUNCEMENT && announces);
    if (!change || h.dedup != DEDUP_SELF || h.seq_hi >= w->epoch)
        return record;
    h.seq_hi = w->epoch;
    h.seq_lo = w->last_seq + 1;
    struct bytes copy = bytes_copy(bytes_slice(record));
    record_header_put((uint8_t *)copy.ptr, &h);
    bytes_unref(&record);
    return copy;
}

void ld_commit(struct ld_node *n, bool late)
{
    struct ld_world *w = n->world;
    struct ld_pending p = late ? n->late.items[0] : n->pending.items[0];
    struct ld_pending *items = late ? n->late.items : n->pending.items;
    size_t *len = late ? &n->late.len : &n->pending.len;
    memmove(items, items + 1, --*len * sizeof(p));
    struct record_header h;
    struct apply_result r;
    struct err err = {0};
    ASSERT(record_header_get(bytes_slice(p.record), &h) && w->committed < LD_RECORDS_MAX);
    lsn_t lsn = ++w->committed;
    p.record = mutate(w, p.record, h);
    w->log[lsn - 1] = p.record;
    ASSERT(machine_apply(w->store, lsn, p.record, NULL, &r, &err) == RC_OK);
    w->states[lsn] = store_vars(w->store)->state_hash;
    explore_note(w->x, "LSN %llu: %s of N%u%s, epoch %llu:%llu%s", (ull)lsn, command_kind_name(h.kind),
                 n->index + 1, late ? " (late)" : "", (ull)h.seq_hi, (ull)h.seq_lo,
                 r.skipped ? ", dropped" : "");
    ld_check_accepted(w, &h, &r);
    ld_check_object(w);
    if (p.wait) {
        p.wait->done(p.wait, RC_OK, lsn);
        sim_env_run(&n->env);
    }
}

void ld_deliver(struct ld_node *n)
{
    struct ld_world *w = n->world;
    struct log_record r = {n->next, w->log[n->next - 1]};
    explore_note(w->x, "N%u reads LSN %llu", n->index + 1, (ull)n->next);
    n->log.committed = n->next++;
    n->reader->on_records(n->reader_ctx, &r, 1);
    sim_env_run(&n->env);
}

/* ---- the processor's host ---- */

static void drop_attempts(struct ld_node *n)
{
    while (n->attempts.len)
        bytes_unref(&n->attempts.items[--n->attempts.len].state);
}

static void host_invoke(void *host, struct processor *p, struct invocation *inv)
{
    struct ld_node *n = host;
    struct ld_attempt a = {.request = (unsigned)inv->id.uuid.lo, .id = inv->id};
    if (!store_state_get(processor_store(p), SLICE_LIT("Object"), LD_KEY, LD_STATE, &a.state))
        a.state = BYTES_EMPTY;
    VEC_PUSH(&n->attempts, a);
}

static void host_abort(void *host, struct processor *p, struct invocation_id id)
{
    struct ld_node *n = host;
    for (size_t i = 0; i < n->attempts.len; i++) {
        if (!invocation_id_eq(n->attempts.items[i].id, id))
            continue;
        bytes_unref(&n->attempts.items[i].state);
        n->attempts.items[i] = n->attempts.items[--n->attempts.len];
        return;
    }
}

static void host_forward(void *host, struct processor *p, struct invocation *inv, uint32_t entry_index) {}
static void host_ack(void *host, struct processor *p, struct invocation_id id, uint32_t command_index) {}
static void host_retry_now(void *host, struct processor *p, struct invocation_id id) {}
static void host_applied(void *host, struct processor *p, struct invocation_id id, uint64_t token,
                         uint64_t batch, bool dropped)
{
}
static bool host_pause(void *host, struct processor *p, struct invocation_id id)
{
    return false;
}
static void host_ship(void *host, struct processor *p, uint64_t index, uint64_t partition_key,
                      struct bytes record_take)
{
    ASSERT_MSG(false, "nothing is sent to other partitions");
}
static void host_leading(void *host, struct processor *p, uint64_t epoch)
{
    struct ld_node *n = host;
    explore_note(n->world->x, "  N%u leads with epoch %llu", n->index + 1, (ull)epoch);
}
static void host_following(void *host, struct processor *p)
{
    struct ld_node *n = host;
    explore_note(n->world->x, "  N%u follows", n->index + 1);
    drop_attempts(n);
}
static void host_failed(void *host, struct processor *p, const struct err *err)
{
    struct ld_node *n = host;
    explore_violated(n->world->x, "N%u fails: %s", n->index + 1, err->msg);
}
static const struct processor_host_ops host_ops = {
    .invoke = host_invoke,
    .abort = host_abort,
    .forward_notification = host_forward,
    .ack_command = host_ack,
    .retry_now = host_retry_now,
    .effects_applied = host_applied,
    .pause = host_pause,
    .ship = host_ship,
    .leading = host_leading,
    .following = host_following,
    .failed = host_failed,
};

static void put_value(struct writer *p, uint32_t field, struct slice value)
{
    pb_write_len_header(p, field, pb_len_field_size(1, value.len));
    pb_write_bytes(p, 1, value);
}

static void entry(struct writer *w, uint16_t type, struct writer *payload)
{
    effect_write(
        w, &(struct effect){.kind = EFFECT_ENTRY, .entry_type = type, .payload = writer_slice(payload)});
    writer_free(payload);
}

/* The attempt ends: state := state as it was when it began + the number of the request. */
void ld_finish(struct ld_node *n, size_t i)
{
    struct ld_attempt a = n->attempts.items[i];
    struct writer w = WRITER_INIT, value = WRITER_INIT, p = WRITER_INIT;
    n->attempts.items[i] = n->attempts.items[--n->attempts.len];
    explore_note(n->world->x, "N%u: the attempt of request %u ends", n->index + 1, a.request + 1);
    write_slice_raw(&value, bytes_slice(a.state));
    write_u8(&value, (uint8_t)('1' + a.request));
    record_begin(&w, 256);
    effects_begin(&w, a.id, 1, 0);
    pb_write_bytes(&p, 1, LD_STATE);
    put_value(&p, 3, writer_slice(&value));
    entry(&w, MSG_SET_STATE, &p);
    put_value(&p, 14, SLICE_LIT("done"));
    entry(&w, MSG_OUTPUT, &p);
    effect_write(&w, &(struct effect){.kind = EFFECT_END});
    processor_propose_effects(n->p, writer_take(&w)); /* refused: it does not lead any more */
    writer_free(&value);
    bytes_unref(&a.state);
    sim_env_run(&n->env);
}

/* ---- clients ---- */

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct ld_request *r = CONTAINER_OF(rpc, struct ld_request, rpc);
    struct ld_world *w = r->world;
    explore_note(w->x, "  request %u is answered: %s", r->number + 1,
                 reply->status == RPC_OK ? "done" : rc_name(reply->rc));
    r->open = false;
    r->done = reply->status == RPC_OK;
    if (!r->done && w->scenario->wrong == RETRY_AS_NEW)
        r->incarnation++;
    if (r->done)
        ld_check_object(w);
}

void ld_ask(struct ld_request *r, struct ld_node *n)
{
    struct writer input = WRITER_INIT, w = WRITER_INIT;
    explore_note(n->world->x, "request %u to N%u", r->number + 1, n->index + 1);
    r->open = true;
    r->node = n->index;
    r->tries++;
    r->rpc = (struct partition_rpc){
        .kind = RPC_INVOKE, .request_id = {7 + r->incarnation, r->number}, .wait_result = true};
    r->rpc.id.partition_key = r->rpc.partition_key = partition_key_of_key(LD_KEY);
    r->rpc.id.uuid = (struct u128){1 + r->incarnation, r->number};
    r->rpc.reply = on_reply;
    input_write_value(&input, SLICE_LIT("in"));
    struct service_invocation si = {
        .id = r->rpc.id,
        .target = {.kind = TARGET_OBJECT_EXCLUSIVE,
                   .service = SLICE_LIT("Object"),
                   .key = LD_KEY,
                   .handler = SLICE_LIT("append")},
        .input = writer_slice(&input),
        .source = SOURCE_INGRESS,
        .source_request_id = r->rpc.request_id,
        .completion_retention_ms = 60000,
        .idempotency_key = SLICE_LIT("key"),
        .created_using = SLICE_LIT("1.7.0"),
        .response_sink = {.kind = SINK_INGRESS, .request_id = r->rpc.request_id},
    };
    record_begin(&w, 256);
    service_invocation_write(&w, &si);
    r->rpc.record = writer_take(&w);
    writer_free(&input);
    processor_rpc(n->p, &r->rpc);
    sim_env_run(&n->env);
}

/* ---- nodes ---- */

static void on_claimed(struct claim *c, enum rc rc, uint64_t epoch, const char *message)
{
    struct ld_node *n = CONTAINER_OF(c, struct ld_node, claim);
    n->claiming = false;
    explore_note(n->world->x, "  the claim of N%u: %s %s", n->index + 1, rc_name(rc), message);
    if (rc != RC_OK)
        return;
    ld_check_owner(n->world, epoch, (struct node_ref){n->index + 1, n->generation}, "claims");
    processor_become_leader(n->p, epoch);
    if (n->world->scenario->wrong == LEADS_AT_ONCE)
        n->p->role = PROCESSOR_LEADER;
}

void ld_hint(struct ld_node *n)
{
    explore_note(n->world->x, "N%u is asked to lead", n->index + 1);
    n->claiming = true;
    n->claim.done = on_claimed;
    claim_start(&n->claim, &n->env.env, &n->kv, n->epochs, (struct node_ref){n->index + 1, n->generation}, 0);
    sim_env_run(&n->env);
}

struct partition_store *ld_open_store(struct kv_backend *backend, struct sim_env *env)
{
    struct store_config config = {.key_end = UINT64_MAX,
                                  .cache_bytes = 1 << 20,
                                  .flush_dirty_bytes = 1 << 20,
                                  .flush_interval_ms = 3600000};
    struct partition_store *store;
    struct err err = {0};
    ASSERT(store_open(backend, &env->env, &config, &store, &err) == RC_OK);
    return store;
}

void ld_node_start(struct ld_node *n)
{
    static const struct kv_provider provider = {kv_take, NULL};
    struct processor_config config = {.node_id = n->index + 1,
                                      .node_generation = ++n->generation,
                                      .key_end = UINT64_MAX,
                                      .max_inflight_ship = 8,
                                      .self_proposal_limit_bytes = 1 << 20,
                                      .version = "1.7.0"};
    n->kv.provider = &provider;
    n->log = (struct log){.ops = &log_ops};
    n->epochs = epochs_new(&n->env.env, &n->kv, &(struct epochs_config){0});
    epochs_set_partitions(n->epochs, 1);
    sim_env_run(&n->env);
    ld_arrive(n->world, n->world->asks.len - 1, DONE);
    n->p = processor_new(&n->env.env, &config, ld_open_store(n->backend, &n->env), &n->log, &host_ops, n);
    sim_env_run(&n->env);
}

void ld_on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

void ld_wait_closed(struct sim_env *env, const bool *closed)
{
    for (int i = 0; i < 100 && !*closed; i++) {
        sim_env_run(env);
        if (!*closed)
            sim_env_next(env, UINT32_MAX);
    }
    ASSERT(*closed);
}

void ld_node_stop(struct ld_node *n)
{
    struct ld_world *w = n->world;
    uint64_t now = n->env.mono_ms;
    for (size_t i = 0; i < w->asks.len; i++) {
        struct kv_op *op = w->asks.items[i].op;
        if (!op || w->asks.items[i].node != n->index)
            continue;
        w->asks.items[i].op = NULL;
        told(n, op, RC_CLOSED);
    }
    epochs_free(n->epochs);
    n->closed = false;
    processor_close(n->p, true, ld_on_closed, &n->closed);
    ld_wait_closed(&n->env, &n->closed);
    drop_attempts(n);
    memory_backend_crash(n->backend);
    n->env.mono_ms = now;
}

void ld_node_crash(struct ld_node *n)
{
    explore_note(n->world->x, "N%u crashes", n->index + 1);
    ld_node_stop(n);
    ld_node_start(n);
}
