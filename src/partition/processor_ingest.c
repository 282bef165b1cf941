/* RPC_INGEST: records of outside producers (Kafka) go into the log in their order, each with the producer's
 * sequence, by which the state machine drops repeats (spec/invocation-lifecycle.md §3.2). What the producer
 * relies on: no record is in the log while an earlier one of its batch was refused. */
#include <stdlib.h>

#include "partition/processor_internal.h"

struct ingest_batch;
struct ingest_append {
    struct log_append_wait wait;
    struct ingest_batch *batch;
};
/* Alive until the log has answered for all records that it took. */
struct ingest_batch {
    struct processor *p;
    struct partition_rpc *rpc;
    size_t waiting;
    enum rc refused; /* by the log, when it was offered the record after those that wait */
    enum rc rc;      /* the first answer that is not RC_OK */
    struct ingest_append appends[];
};

/* Whatever enters the log must be decodable by every replica (spec/service-protocol.md §13). */
static bool record_valid(const struct processor *p, struct slice record)
{
    struct record_header h;
    struct service_invocation si;
    if (!record_header_get(record, &h) || h.kind != CMD_INVOKE || h.dedup != DEDUP_PRODUCER ||
        h.key_start != h.key_end)
        return false;
    struct reader r = reader_make(record_body(record));
    return service_invocation_read(&r, &si) && reader_done(&r) && si.id.partition_key == h.key_start &&
           h.key_start >= p->config.key_start && h.key_start <= p->config.key_end;
}

/* How many records; 0: none, or a malformed one. */
static size_t count_valid(const struct processor *p, struct slice batch)
{
    struct reader r = reader_make(batch);
    struct slice record;
    size_t n = 0;
    for (; rpc_ingest_next(&r, &record); n++) {
        if (!record_valid(p, record))
            return 0;
    }
    return r.failed ? 0 : n;
}

static void batch_finish(struct ingest_batch *b)
{
    if (b->rc == RC_OK && b->refused != RC_OK)
        rpc_refuse_later(b->p, b->rpc, b->refused);
    else
        rpc_append_done(b->p, b->rpc, b->rc);
    free(b);
}

static void append_done(struct log_append_wait *w, enum rc rc, lsn_t lsn)
{
    struct ingest_batch *b = CONTAINER_OF(w, struct ingest_append, wait)->batch;
    if (b->rc == RC_OK)
        b->rc = rc;
    if (--b->waiting == 0)
        batch_finish(b);
}

/* The record with the leader's time. A copy: what stays of it must not pin the whole batch. */
static struct bytes stamped(struct slice record, uint64_t now_ms)
{
    struct bytes copy = bytes_copy(record);
    struct record_header h;
    bool ok = record_header_get(record, &h);
    ASSERT(ok);
    h.created_at_ms = now_ms;
    record_header_put((uint8_t *)copy.ptr, &h);
    return copy;
}

static void append_all(struct processor *p, struct ingest_batch *b, struct slice batch)
{
    struct reader r = reader_make(batch);
    struct slice record;
    uint64_t now_ms = processor_clock(p);
    while (b->refused == RC_OK && rpc_ingest_next(&r, &record)) {
        struct ingest_append *a = &b->appends[b->waiting];
        a->batch = b;
        a->wait = (struct log_append_wait){.done = append_done};
        list_init(&a->wait.link);
        b->refused = processor_append(p, stamped(record, now_ms), &a->wait);
        b->waiting += b->refused == RC_OK;
    }
}

void ingest_run(struct processor *p, struct partition_rpc *rpc)
{
    struct bytes batch = rpc->record;
    rpc->record = BYTES_EMPTY;
    size_t n = count_valid(p, bytes_slice(batch));
    if (n == 0) {
        rpc_fail_later(p, rpc, RC_INVALID, "the records of the request cannot be decoded");
    } else if (p->self_bytes > p->config.self_proposal_limit_bytes) {
        rpc_refuse_later(p, rpc, RC_OVERLOADED);
    } else {
        struct ingest_batch *b = xcalloc(1, sizeof(*b) + n * sizeof(b->appends[0]));
        b->p = p;
        b->rpc = rpc;
        rpc_appending(rpc);
        append_all(p, b, bytes_slice(batch));
        if (b->waiting == 0)
            batch_finish(b);
    }
    bytes_unref(&batch);
}
