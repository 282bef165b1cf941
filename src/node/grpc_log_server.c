/* restate.log_server.LogServerSvc (spec/restatectl.md §5.5, §8.5): what this node's log-server has of a
 * loglet, asked of it as any other node would. */
#include <stdlib.h>

#include "node/grpc_requests.h"
#include "node/grpc_server.h"
#include "node/node_internal.h"

#define PATIENCE_MS 5000u

enum { STATUS_OK = 1 };
enum { RECORD_TRIMMED = 1, RECORD_EXISTS = 3 };

struct loglet_question {
    struct rpc *rpc;
    struct loop_logs *logs;
    uint32_t me;
    uint64_t loglet_id, from, to;
    struct loop_logs_user user;
    struct loglet_call call;
    struct writer entries; /* of a digest, as far as it is known */
};

static void finish(struct loglet_question *q, struct writer *inner_take);

static void closing(struct loop_logs_user *u)
{
    finish(CONTAINER_OF(u, struct loglet_question, user), NULL);
}

static struct loglet_question *read_question(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct loglet_question *q = xcalloc(1, sizeof(*q));
    uint64_t fields[3];
    numbers_request_decode(bytes_slice(message), fields, 3, NULL);
    q->rpc = rpc;
    q->logs = node_logs_main(n->logs);
    q->me = n->joined.node_id;
    q->user.closing = closing;
    loop_logs_join(q->logs, &q->user);
    q->loglet_id = fields[0];
    q->from = fields[1];
    q->to = fields[2];
    return q;
}

static void ask(struct loglet_question *q, enum loglet_message_kind kind,
                void (*done)(struct loglet_call *call, const struct loglet_message *reply))
{
    struct loglet_message m = {.kind = kind,
                               .loglet_id = q->loglet_id,
                               .committed_tail = 1,
                               .repaired_tail = 1,
                               .from = q->from,
                               .to = q->to};
    loglet_call_init(&q->call, done);
    loglet_call_start(loop_logs_calls(q->logs), &q->call, q->me, &m, PATIENCE_MS);
}

static void put_header(struct writer *w, const struct loglet_message *m)
{
    struct writer header = WRITER_INIT;
    pb_write_u64(&header, 1, STATUS_OK);
    pb_write_u64(&header, 2, m->local_tail);
    pb_write_u64(&header, 3, MAX(m->committed_tail, m->trim_point + 1));
    pb_write_bool(&header, 4, m->sealed);
    pb_put_message(w, 1, &header);
}

/* Says so of a loglet that the node had on a disk that is lost; true then. */
static bool is_lost(struct loglet_question *q, const struct loglet_message *m)
{
    if (!m || m->status != LOGLET_LOST)
        return false;
    loop_logs_leave(&q->user);
    rpc_fail(q->rpc, GRPC_DATA_LOSS,
             "the log-server of this node has lost its disk since, and this loglet with it");
    writer_free(&q->entries);
    free(q);
    return true;
}

/* Wraps `inner_take` and ends the call; NULL: there was no answer. */
static void finish(struct loglet_question *q, struct writer *inner_take)
{
    struct writer w = WRITER_INIT;
    if (inner_take) {
        pb_put_message(&w, 1, inner_take);
        rpc_reply(q->rpc, &w);
    } else {
        rpc_fail(q->rpc, GRPC_UNAVAILABLE, "the log-server of this node does not answer");
    }
    loglet_call_cancel(&q->call);
    loop_logs_leave(&q->user);
    writer_free(&q->entries);
    free(q);
}

/* ---- GetLogletInfo ---- */

static void info_known(struct loglet_call *call, const struct loglet_message *m)
{
    struct loglet_question *q = CONTAINER_OF(call, struct loglet_question, call);
    struct writer info = WRITER_INIT;
    if (is_lost(q, m))
        return;
    if (m) {
        put_header(&info, m);
        pb_write_u64(&info, 2, m->trim_point);
    }
    finish(q, m ? &info : NULL);
}

static void get_loglet_info(struct rpc *rpc, struct node *n, struct bytes message)
{
    ask(read_question(rpc, n, message), LOGLET_GET_INFO, info_known);
}

/* ---- GetDigest ---- */

static void put_entry(struct writer *w, uint64_t from, uint64_t to, unsigned status)
{
    struct writer entry = WRITER_INIT;
    pb_write_u64(&entry, 1, from);
    pb_write_u64(&entry, 2, to);
    pb_write_u64(&entry, 3, status);
    pb_put_message(w, 2, &entry);
}

static void digest_known(struct loglet_call *call, const struct loglet_message *m)
{
    struct loglet_question *q = CONTAINER_OF(call, struct loglet_question, call);
    if (is_lost(q, m))
        return;
    for (uint32_t i = 0; m && i < m->n_ranges; i++)
        put_entry(&q->entries, m->ranges[i].from, m->ranges[i].to,
                  m->ranges[i].kind == LOGLET_RANGE_TRIMMED ? RECORD_TRIMMED : RECORD_EXISTS);
    if (m && m->kind == LOGLET_DIGEST && m->next_offset <= q->to) { /* more ranges than fit into one answer */
        q->from = m->next_offset;
        ask(q, LOGLET_GET_DIGEST, digest_known);
        return;
    }
    struct writer digest = WRITER_INIT;
    if (m) {
        put_header(&digest, m);
        write_slice_raw(&digest, writer_slice(&q->entries));
    }
    finish(q, m ? &digest : NULL);
}

static void get_digest(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct loglet_question *q = read_question(rpc, n, message);
    q->from = MAX(q->from, 1u);
    q->to = MIN(q->to, LOGLET_OFFSET_MAX);
    ask(q, q->from <= q->to ? LOGLET_GET_DIGEST : LOGLET_GET_INFO, digest_known);
}

static bool ready(const struct node *n)
{
    return n->state == NODE_ALIVE && n->log_host;
}

static const struct rpc_method methods[] = {
    {"GetLogletInfo", get_loglet_info},
    {"GetDigest", get_digest},
};
const struct rpc_service log_server_service = {
    .name = "restate.log_server.LogServerSvc",
    .role = ROLE_LOG_SERVER,
    .ready = ready,
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};
