/* restate.log_server.LogServerSvc (spec/restatectl.md §5.5, §8.5): this node's copy of a loglet. The local
 * log of a partition is its one segment, stored here only; offsets are its LSNs. */
#include <stdlib.h>

#include "node/grpc_messages.h"
#include "node/grpc_server.h"
#include "node/node_internal.h"
#include "node/partition_reports.h"

enum { STATUS_OK = 1 };
enum { RECORD_TRIMMED = 1, RECORD_EXISTS = 3 };

struct loglet_question {
    struct rpc *rpc;
    uint64_t loglet_id, from, to;
};

struct loglet_state {
    uint32_t tail, trim_point; /* tail: next offset to be written */
};

static uint32_t offset_of(lsn_t lsn)
{
    return (uint32_t)MIN(lsn, UINT32_MAX);
}

/* A loglet that was never seen is an empty one, not an error. */
static struct loglet_state look_up(const struct node *n, const struct partition_reports *r,
                                   uint64_t loglet_id)
{
    struct loglet_state s = {.tail = 1};
    uint64_t log_id = loglet_id >> 32;
    const struct log_chain *chain = log_id < r->n ? logs_config_chain(&n->view.logs, (uint32_t)log_id) : NULL;
    if (!chain || !r->present[log_id] || chain->segments[chain->n_segments - 1].index != (uint32_t)loglet_id)
        return s;
    s.tail = offset_of(r->items[log_id].committed + 1);
    s.trim_point = offset_of(r->items[log_id].trimmed);
    return s;
}

static void put_header(struct writer *w, struct loglet_state s)
{
    struct writer header = WRITER_INIT;
    pb_write_u64(&header, 1, STATUS_OK);
    pb_write_u64(&header, 2, s.tail);
    pb_write_u64(&header, 3, s.tail);
    pb_put_message(w, 1, &header);
}

static struct loglet_question *read_question(struct rpc *rpc, struct bytes message)
{
    struct loglet_question *q = xcalloc(1, sizeof(*q));
    struct reader r = reader_make(bytes_slice(message));
    struct pb_field f;
    q->rpc = rpc;
    while (pb_next(&r, &f)) {
        if (f.wire != PB_VARINT)
            continue;
        if (f.number == 1)
            q->loglet_id = f.value;
        else if (f.number == 2)
            q->from = f.value;
        else if (f.number == 3)
            q->to = f.value;
    }
    return q;
}

/* ---- GetLogletInfo ---- */

static void info_known(void *ctx, struct node *n, const struct partition_reports *r)
{
    struct loglet_question *q = ctx;
    struct loglet_state s = look_up(n, r, q->loglet_id);
    struct writer w = WRITER_INIT, info = WRITER_INIT;
    put_header(&info, s);
    pb_write_u64(&info, 2, s.trim_point);
    pb_put_message(&w, 1, &info);
    rpc_reply(q->rpc, &w);
    free(q);
}

static void get_loglet_info(struct rpc *rpc, struct node *n, struct bytes message)
{
    partition_reports_collect(n, info_known, read_question(rpc, message));
}

/* ---- GetDigest ---- */

static void put_entry(struct writer *w, uint64_t from, uint64_t to, unsigned status)
{
    struct writer entry = WRITER_INIT;
    if (from > to)
        return;
    pb_write_u64(&entry, 1, from);
    pb_write_u64(&entry, 2, to);
    pb_write_u64(&entry, 3, status);
    pb_put_message(w, 2, &entry);
}

static void digest_known(void *ctx, struct node *n, const struct partition_reports *r)
{
    struct loglet_question *q = ctx;
    struct loglet_state s = look_up(n, r, q->loglet_id);
    struct writer w = WRITER_INIT, digest = WRITER_INIT;
    put_header(&digest, s);
    uint64_t from = MAX(q->from, 1u);
    put_entry(&digest, from, MIN(q->to, s.trim_point), RECORD_TRIMMED);
    put_entry(&digest, MAX(from, (uint64_t)s.trim_point + 1), MIN(q->to, (uint64_t)s.tail - 1),
              RECORD_EXISTS);
    pb_put_message(&w, 1, &digest);
    rpc_reply(q->rpc, &w);
    free(q);
}

static void get_digest(struct rpc *rpc, struct node *n, struct bytes message)
{
    partition_reports_collect(n, digest_known, read_question(rpc, message));
}

static bool ready(const struct node *n)
{
    return n->state == NODE_ALIVE;
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
