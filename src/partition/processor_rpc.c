/* Requests of ingress and admin to the leader (spec/invocation-lifecycle.md §3.3, §8): point reads and
 * pre-checks are answered in the pass; proposals wait for the action that carries their request id; plain
 * appends for their commit. Replies never run inside processor_rpc. */
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "partition/limits.h"
#include "partition/machine_internal.h"
#include "partition/processor_internal.h"

enum rpc_state {
    RPC_STATE_EVALUATE,  /* on `ready`: look at it in the pass */
    RPC_STATE_CONFIRMED, /* the same, and this node led when the request came */
    RPC_STATE_ANSWERED,  /* on `ready`: private_.stored is the reply */
    RPC_STATE_WAITING,   /* in `waiting`: an action will resolve it */
    RPC_STATE_APPENDING, /* the log will call back */
    RPC_STATE_CANCELED,  /* the same, and the caller is no longer interested */
    RPC_STATE_DONE,
};

void rpcs_init(struct processor *p)
{
    hmap_init(&p->waiting);
    list_init(&p->waiting_order);
    list_init(&p->ready);
}

void rpcs_free(struct processor *p)
{
    ASSERT(list_empty(&p->waiting_order) && list_empty(&p->ready));
    hmap_free(&p->waiting);
}

/* ---- replies ---- */

static void reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct rpc_reply *stored = rpc->private_.stored;
    rpc->private_.state = RPC_STATE_DONE;
    rpc->private_.stored = NULL;
    rpc->reply(rpc, reply); /* may free the request */
    free(stored);
}

struct rpc_reply *rpc_reply_later(struct processor *p, struct partition_rpc *rpc)
{
    ASSERT(!rpc->private_.stored);
    struct rpc_reply *r = xcalloc(1, sizeof(*r));
    r->id = rpc->id;
    rpc->private_.stored = r;
    rpc->private_.state = RPC_STATE_ANSWERED;
    if (!list_linked(&rpc->private_.link)) /* an EVALUATE request is on the list already */
        list_push_back(&p->ready, &rpc->private_.link);
    processor_schedule(p);
    return r;
}

void rpc_fail_later(struct processor *p, struct partition_rpc *rpc, enum rc rc, const char *detail)
{
    bytes_unref(&rpc->record);
    struct rpc_reply *r = rpc_reply_later(p, rpc);
    r->status = RPC_FAILED;
    r->rc = rc;
    snprintf(r->detail, sizeof(r->detail), "%s", detail);
}

/* Only for requests that are not yet on any list but `ready`: the pass has just taken them off it. */
static void refuse(struct partition_rpc *rpc, enum rpc_status status, const char *detail)
{
    struct rpc_reply r = {.status = status, .id = rpc->id};
    snprintf(r.detail, sizeof(r.detail), "%s", detail);
    bytes_unref(&rpc->record);
    reply(rpc, &r);
}

/* ---- waiting for an action ---- */

static uint64_t request_hash(struct u128 id)
{
    return hash64_combine(id.hi, id.lo);
}

static struct partition_rpc *find_waiting(struct processor *p, struct u128 request_id)
{
    struct hmap_node *n = hmap_first(&p->waiting, request_hash(request_id));
    for (; n; n = hmap_next_same(n)) {
        struct partition_rpc *rpc = CONTAINER_OF(n, struct partition_rpc, private_.node);
        if (u128_eq(rpc->request_id, request_id))
            return rpc;
    }
    return NULL;
}

static void start_waiting(struct processor *p, struct partition_rpc *rpc)
{
    rpc->private_.state = RPC_STATE_WAITING;
    hmap_insert(&p->waiting, &rpc->private_.node, request_hash(rpc->request_id));
    list_push_back(&p->waiting_order, &rpc->private_.link);
}

static void stop_waiting(struct processor *p, struct partition_rpc *rpc)
{
    hmap_remove(&p->waiting, &rpc->private_.node);
    list_remove(&rpc->private_.link);
}

static enum rc refusal_code(enum rc rc)
{
    return rc == RC_OVERLOADED || rc == RC_NOT_LEADER ? rc : RC_UNAVAILABLE;
}

static const char *refusal_text(enum rc rc)
{
    switch (rc) {
    case RC_OVERLOADED:
        return "the partition has too many requests in flight";
    case RC_NO_SPACE:
        return "the disk of the log is full";
    default:
        return "the log of the partition takes no appends";
    }
}

void rpc_refuse_later(struct processor *p, struct partition_rpc *rpc, enum rc rc)
{
    rpc_fail_later(p, rpc, refusal_code(rc), refusal_text(rc));
}

/* Propose `record_take` and let `rpc` wait, or join the proposal of an earlier try of the same request. */
static void propose(struct processor *p, struct partition_rpc *rpc, enum command_kind kind,
                    struct bytes record_take)
{
    struct partition_rpc *earlier = find_waiting(p, rpc->request_id);
    if (earlier && earlier->kind == rpc->kind) {
        bytes_unref(&record_take);
        stop_waiting(p, earlier);
        start_waiting(p, rpc);
        rpc_fail_later(p, earlier, RC_CANCELED, "replaced by a retry of the same request");
        return;
    }
    enum rc rc = p->self_bytes > p->config.self_proposal_limit_bytes ? RC_OVERLOADED : RC_OK;
    if (rc == RC_OK)
        rc = processor_propose(p, kind, rpc->partition_key, rpc->partition_key, record_take);
    else
        bytes_unref(&record_take);
    if (rc == RC_OK)
        start_waiting(p, rpc);
    else
        rpc_refuse_later(p, rpc, rc);
}

/* ---- plain appends, answered at commit ---- */

static bool is_read(const struct partition_rpc *rpc)
{
    return rpc->kind == RPC_ATTACH || rpc->kind == RPC_GET_OUTPUT || rpc->kind == RPC_STATUS;
}

void rpc_append_done(struct processor *p, struct partition_rpc *rpc, enum rc rc)
{
    if (rpc->private_.state == RPC_STATE_CANCELED) {
        rpc_fail_later(p, rpc, RC_CANCELED, "");
    } else if (rc == RC_OK && is_read(rpc)) {
        rpc->private_.state = RPC_STATE_CONFIRMED;
        list_push_back(&p->ready, &rpc->private_.link);
        processor_schedule(p);
    } else if (rc == RC_OK)
        rpc_reply_later(p, rpc)->status = RPC_OK;
    else if (rc == RC_NOT_LEADER || is_read(rpc))
        rpc_fail_later(p, rpc, RC_NOT_LEADER, "another node writes the log of the partition");
    else
        rpc_fail_later(p, rpc, RC_LOST_LEADERSHIP, "the log was closed before the append was confirmed");
}

static void append_done(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct partition_rpc *rpc = CONTAINER_OF(w, struct partition_rpc, private_.append);
    rpc_append_done(rpc->private_.b, rpc, rc);
}

void rpc_appending(struct partition_rpc *rpc)
{
    rpc->private_.state = RPC_STATE_APPENDING;
}

/* Consumes `record`, which has room for its header. */
static void append(struct processor *p, struct partition_rpc *rpc, enum command_kind kind,
                   struct bytes record)
{
    struct record_header h = {
        .version = RECORD_VERSION,
        .kind = (uint8_t)kind,
        .dedup = DEDUP_NONE,
        .created_at_ms = processor_clock(p),
        .key_start = rpc->partition_key,
        .key_end = rpc->partition_key,
    };
    record_header_put((uint8_t *)record.ptr, &h);
    rpc->private_.append = (struct log_append_wait){.done = append_done};
    list_init(&rpc->private_.append.link);
    rpc->private_.state = RPC_STATE_APPENDING;
    enum rc rc = p->self_bytes > p->config.self_proposal_limit_bytes ? RC_OVERLOADED : RC_OK;
    if (rc == RC_OK)
        rc = processor_append(p, record, &rpc->private_.append);
    else
        bytes_unref(&record);
    if (rc != RC_OK)
        rpc_refuse_later(p, rpc, rc);
}

static void append_own(struct processor *p, struct partition_rpc *rpc, enum command_kind kind)
{
    struct bytes record = rpc->record;
    rpc->record = BYTES_EMPTY;
    append(p, rpc, kind, record);
}

/* "There is no such invocation" and "not completed yet" are said only by who certainly leads. A leader that
 * was replaced and does not know it yet (cut off, paused) would deny what its successor has accepted since. A
 * record that does nothing has to become part of the log first: a log that another node has taken over does
 * not take it. What is completed stays as it is and needs no such proof. True: it may be said now. */
static bool confirmed(struct processor *p, struct partition_rpc *rpc)
{
    if (rpc->private_.state == RPC_STATE_CONFIRMED)
        return true;
    struct writer w = WRITER_INIT;
    record_begin(&w, 0);
    append(p, rpc, CMD_ADMIT, writer_take(&w));
    return false;
}

/* ---- entry points ---- */

#define HELD_MAX 1000000u

/* Those that wait are in memory: what clients add to them has a limit, what handlers send has not. */
static bool too_many_held(struct processor *p, const struct partition_rpc *rpc)
{
    size_t held = limits_held(store_limits(p->store));
    struct service_invocation si;
    if (held < (p->config.max_held ? p->config.max_held : HELD_MAX))
        return false;
    struct reader r = reader_make(record_body(bytes_slice(rpc->record)));
    return service_invocation_read(&r, &si) && si.target.scope.ptr;
}

/* Whatever enters the log must be decodable by every replica (spec/service-protocol.md §13): a record that is
 * not would stop them all. */
static bool record_valid(const struct partition_rpc *rpc)
{
    if (rpc->record.len < RECORD_HEADER_SIZE)
        return false;
    union {
        struct service_invocation invoke;
        struct cmd_signal signal;
        struct cmd_patch_state patch;
    } c;
    struct reader r = reader_make(record_body(bytes_slice(rpc->record)));
    switch (rpc->kind) {
    case RPC_INVOKE:
        return service_invocation_read(&r, &c.invoke) && reader_done(&r) &&
               c.invoke.id.partition_key == rpc->partition_key;
    case RPC_SIGNAL:
        return cmd_signal_read(&r, &c.signal) && reader_done(&r);
    default:
        return cmd_patch_state_read(&r, &c.patch) && reader_done(&r);
    }
}

void processor_rpc(struct processor *p, struct partition_rpc *rpc)
{
    rpc->private_.b = p;
    rpc->private_.stored = NULL;
    list_init(&rpc->private_.link);
    bool has_record = rpc->kind == RPC_INVOKE || rpc->kind == RPC_SIGNAL || rpc->kind == RPC_PATCH_STATE;
    if (p->closing || p->failed) {
        rpc_fail_later(p, rpc, RC_UNAVAILABLE, "the partition is closing");
    } else if (p->role != PROCESSOR_LEADER) {
        rpc_fail_later(p, rpc, RC_NOT_LEADER, "this node does not lead the partition");
    } else if (has_record && !record_valid(rpc)) {
        rpc_fail_later(p, rpc, RC_INVALID, "the record of the request cannot be decoded");
    } else if (rpc->kind == RPC_INVOKE && too_many_held(p, rpc)) {
        rpc_fail_later(p, rpc, RC_OVERLOADED, "too many invocations of scopes wait for their turn");
    } else if (rpc->kind == RPC_INVOKE) {
        struct bytes record = rpc->record;
        rpc->record = BYTES_EMPTY;
        propose(p, rpc, CMD_INVOKE, record);
    } else if (rpc->kind == RPC_SIGNAL) {
        append_own(p, rpc, CMD_SIGNAL);
    } else if (rpc->kind == RPC_PATCH_STATE) {
        append_own(p, rpc, CMD_PATCH_STATE);
    } else if (rpc->kind == RPC_INGEST) {
        ingest_run(p, rpc);
    } else {
        rpc->private_.state = RPC_STATE_EVALUATE;
        list_push_back(&p->ready, &rpc->private_.link);
        processor_schedule(p);
    }
}

void processor_rpc_cancel(struct processor *p, struct partition_rpc *rpc)
{
    switch ((enum rpc_state)rpc->private_.state) {
    case RPC_STATE_WAITING:
        stop_waiting(p, rpc);
        rpc_fail_later(p, rpc, RC_CANCELED, "");
        return;
    case RPC_STATE_EVALUATE:
    case RPC_STATE_CONFIRMED:
        rpc_fail_later(p, rpc, RC_CANCELED, "");
        return;
    case RPC_STATE_APPENDING:
        rpc->private_.state = RPC_STATE_CANCELED;
        return;
    case RPC_STATE_ANSWERED:
    case RPC_STATE_CANCELED:
    case RPC_STATE_DONE:
        return;
    }
}

/* ---- evaluation in the pass ---- */

static void reply_result(struct partition_rpc *rpc, const struct invocation *inv)
{
    struct rpc_reply r = {
        .status = RPC_OK,
        .id = inv->id,
        .outcome = inv->result,
        .outcome_bytes = inv->result_bytes,
        .target = inv->si.target,
        .target_bytes = inv->origin,
        .expiry_ms = retained_until(inv),
    };
    reply(rpc, &r);
}

static void propose_target_id(struct processor *p, struct partition_rpc *rpc, enum command_kind kind)
{
    struct cmd_target_id c = {.id = rpc->id, .reply_request_id = rpc->request_id};
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    cmd_target_id_write(&w, &c);
    propose(p, rpc, kind, writer_take(&w));
}

static void evaluate_attach(struct processor *p, struct partition_rpc *rpc, const struct invocation *inv)
{
    if (!inv) {
        if (confirmed(p, rpc))
            refuse(rpc, RPC_NOT_FOUND, "");
        return;
    }
    if (inv->status == INV_COMPLETED) {
        reply_result(rpc, inv);
        return;
    }
    struct cmd_attach c = {
        .id = rpc->id,
        .block = true,
        .sink = {.kind = SINK_INGRESS, .request_id = rpc->request_id},
    };
    struct writer w = WRITER_INIT;
    record_begin(&w, 96);
    cmd_attach_write(&w, &c);
    propose(p, rpc, CMD_ATTACH, writer_take(&w));
}

static void evaluate_output(struct processor *p, struct partition_rpc *rpc, const struct invocation *inv)
{
    if (inv && inv->status == INV_COMPLETED)
        reply_result(rpc, inv);
    else if (confirmed(p, rpc))
        refuse(rpc, inv ? RPC_NOT_READY : RPC_NOT_FOUND, "");
}

static void evaluate_status(struct processor *p, struct partition_rpc *rpc, const struct invocation *inv)
{
    if (!inv) {
        if (confirmed(p, rpc))
            refuse(rpc, RPC_NOT_FOUND, "");
        return;
    }
    struct rpc_reply r = {
        .status = RPC_OK,
        .id = inv->id,
        .invocation_status = inv->status,
        .pinned = inv->pinned,
        .deployment_id = inv->deployment_id,
        .protocol_version = inv->protocol_version,
        .target = inv->si.target,
        .target_bytes = inv->origin,
    };
    reply(rpc, &r);
}

static void evaluate_terminate(struct processor *p, struct partition_rpc *rpc)
{
    struct cmd_terminate c = {.id = rpc->id, .kill = rpc->kill, .reply_request_id = rpc->request_id};
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    cmd_terminate_write(&w, &c);
    propose(p, rpc, CMD_TERMINATE, writer_take(&w));
}

/* Without a log record: the running attempt is asked to pause (§8.5). Those of a queue that have no attempt
 * are paused by a record. */
static void evaluate_pause(struct processor *p, struct partition_rpc *rpc, const struct invocation *inv)
{
    switch (inv ? inv->status : INV_FREE) {
    case INV_FREE:
        refuse(rpc, RPC_NOT_FOUND, "");
        return;
    case INV_INVOKED:
        refuse(rpc, p->ops->pause(p->host, p, rpc->id) ? RPC_APPENDED : RPC_NOT_RUNNING, "");
        return;
    case INV_HELD:
        if (held_unstarted(inv))
            refuse(rpc, RPC_NOT_RUNNING, "");
        else
            propose_target_id(p, rpc, CMD_PAUSE);
        return;
    case INV_SUSPENDED:
        if (inv->si.target.scope.ptr)
            propose_target_id(p, rpc, CMD_PAUSE);
        else
            refuse(rpc, RPC_OK, "");
        return;
    case INV_PAUSED:
        refuse(rpc, RPC_OK, "");
        return;
    case INV_SCHEDULED:
    case INV_INBOXED:
    case INV_COMPLETED:
        refuse(rpc, RPC_NOT_RUNNING, "");
        return;
    }
}

/* The journal is in the format of the pinned protocol version: another deployment must speak it. */
static bool deployment_fits(const struct partition_rpc *rpc, const struct invocation *inv)
{
    return !rpc->repin || !inv->pinned ||
           (inv->protocol_version >= rpc->deployment_min_protocol &&
            inv->protocol_version <= rpc->deployment_max_protocol);
}

#define DEPLOYMENT_MISFIT "the deployment does not support the service protocol version of the invocation"

static void evaluate_resume(struct processor *p, struct partition_rpc *rpc, const struct invocation *inv)
{
    enum rpc_status status = machine_resume_check(inv, rpc->repin);
    if (status == RPC_BAD_DEPLOYMENT) {
        refuse(rpc, status,
               inv->status == INV_INVOKED ? "the deployment of a running invocation cannot be changed"
                                          : "the invocation is not pinned to a deployment yet");
        return;
    }
    if (status != RPC_OK || !deployment_fits(rpc, inv)) {
        refuse(rpc, status != RPC_OK ? status : RPC_BAD_DEPLOYMENT,
               status != RPC_OK ? "" : DEPLOYMENT_MISFIT);
        return;
    }
    struct cmd_resume c = {
        .id = rpc->id,
        .repin = rpc->repin,
        .deployment_id = rpc->deployment_id,
        .reply_request_id = rpc->request_id,
    };
    struct writer w = WRITER_INIT;
    record_begin(&w, 96);
    cmd_resume_write(&w, &c);
    propose(p, rpc, CMD_RESUME, writer_take(&w));
}

static void evaluate_restart(struct processor *p, struct partition_rpc *rpc, struct invocation *inv)
{
    enum rpc_status status =
        machine_restart_check(p->store, inv, rpc->copy_prefix_up_to, env_wall_ms(p->env));
    if (status != RPC_OK || !deployment_fits(rpc, inv)) {
        refuse(rpc, status != RPC_OK ? status : RPC_BAD_DEPLOYMENT,
               status != RPC_OK ? "" : DEPLOYMENT_MISFIT);
        return;
    }
    struct cmd_restart_as_new c = {
        .id = rpc->id,
        .new_id = rpc->new_id,
        .copy_prefix_up_to = rpc->copy_prefix_up_to,
        .repin = rpc->repin,
        .deployment_id = rpc->deployment_id,
        .reply_request_id = rpc->request_id,
        .created_using = slice_cstr(p->config.version),
    };
    struct writer w = WRITER_INIT;
    record_begin(&w, 160);
    cmd_restart_as_new_write(&w, &c);
    propose(p, rpc, CMD_RESTART_AS_NEW, writer_take(&w));
}

/* The store decides expiry by the time of the last record, which stands still in an idle partition: what the
 * next record would find gone is not shown either. Workflows stay until their clean-up timer is applied, with
 * state and promises. */
static struct invocation *find_retained(struct processor *p, struct invocation_id id)
{
    struct invocation *inv = store_invocation_get(p->store, id);
    bool expired = inv && inv->status == INV_COMPLETED && inv->si.target.kind != TARGET_WORKFLOW_RUN &&
                   retained_until(inv) <= env_wall_ms(p->env);
    return expired ? NULL : inv;
}

static void evaluate(struct processor *p, struct partition_rpc *rpc)
{
    if (p->role != PROCESSOR_LEADER) {
        rpc_fail_later(p, rpc, RC_NOT_LEADER, "this node does not lead the partition");
        return;
    }
    struct invocation *inv = find_retained(p, rpc->id);
    switch (rpc->kind) {
    case RPC_ATTACH:
        evaluate_attach(p, rpc, inv);
        return;
    case RPC_GET_OUTPUT:
        evaluate_output(p, rpc, inv);
        return;
    case RPC_STATUS:
        evaluate_status(p, rpc, inv);
        return;
    case RPC_TERMINATE:
        evaluate_terminate(p, rpc);
        return;
    case RPC_PURGE:
        propose_target_id(p, rpc, CMD_PURGE);
        return;
    case RPC_PURGE_JOURNAL:
        propose_target_id(p, rpc, CMD_PURGE_JOURNAL);
        return;
    case RPC_PAUSE:
        evaluate_pause(p, rpc, inv);
        return;
    case RPC_RESUME:
        evaluate_resume(p, rpc, inv);
        return;
    case RPC_RESTART_AS_NEW:
        evaluate_restart(p, rpc, inv);
        return;
    case RPC_PAUSE_QUEUE:
        propose_target_id(p, rpc, CMD_PAUSE_QUEUE);
        return;
    case RPC_RESUME_QUEUE:
        propose_target_id(p, rpc, CMD_RESUME_QUEUE);
        return;
    case RPC_INVOKE:
    case RPC_SIGNAL:
    case RPC_PATCH_STATE:
    case RPC_INGEST:
        break;
    }
    UNREACHABLE("request kind %d", (int)rpc->kind);
}

void rpcs_run(struct processor *p)
{
    struct list *n;
    while ((n = list_pop_front(&p->ready))) {
        struct partition_rpc *rpc = CONTAINER_OF(n, struct partition_rpc, private_.link);
        if (rpc->private_.state == RPC_STATE_ANSWERED)
            reply(rpc, rpc->private_.stored);
        else
            evaluate(p, rpc);
    }
}

void rpcs_lost_leadership(struct processor *p)
{
    while (!list_empty(&p->waiting_order)) {
        struct partition_rpc *rpc = CONTAINER_OF(p->waiting_order.next, struct partition_rpc, private_.link);
        stop_waiting(p, rpc);
        rpc_fail_later(p, rpc, RC_LOST_LEADERSHIP,
                       "leadership of the partition moved; the outcome is unknown");
    }
}

/* ---- actions ---- */

static void resolve(struct processor *p, struct partition_rpc *rpc, const struct rpc_reply *r)
{
    stop_waiting(p, rpc);
    reply(rpc, r);
}

/* Who attached by id alone does not know whose result it is. Gone already if nothing is retained. */
static void tell_target(struct processor *p, const struct partition_rpc *rpc, struct rpc_reply *r)
{
    struct invocation *inv = rpc->kind == RPC_ATTACH ? store_invocation_get(p->store, rpc->id) : NULL;
    if (!inv)
        return;
    r->target = inv->si.target;
    r->target_bytes = inv->origin;
}

void rpcs_on_action(struct processor *p, const struct action *a)
{
    struct partition_rpc *rpc = find_waiting(p, a->request_id);
    if (!rpc)
        return; /* gone, or asked another leader */
    struct rpc_reply r = {.status = RPC_OK, .id = a->id};
    switch (a->kind) {
    case ACTION_RESPONSE:
        if (rpc->kind != RPC_ATTACH && !(rpc->kind == RPC_INVOKE && rpc->wait_result))
            return;
        r.outcome = a->outcome;
        r.outcome_bytes = a->outcome_bytes;
        tell_target(p, rpc, &r);
        r.expiry_ms = a->expiry_ms;
        break;
    case ACTION_SUBMITTED:
        if (rpc->kind != RPC_INVOKE || rpc->wait_result)
            return;
        r.execution_time_ms = a->execution_time_ms;
        r.is_new = a->is_new;
        break;
    case ACTION_OPERATION_REPLY:
        if (rpc->kind == RPC_INVOKE || rpc->kind == RPC_ATTACH)
            return;
        r.status = (enum rpc_status)a->status;
        r.new_id = a->new_id;
        break;
    default:
        return;
    }
    resolve(p, rpc, &r);
}
