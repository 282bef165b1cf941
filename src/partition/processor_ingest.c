/* RPC_INGEST: records of outside producers (Kafka) go into the log in their order, each with the producer's
 * sequence, by which the state machine drops repeats (spec/invocation-lifecycle.md §3.2). What the producer
 * relies on: no record is in the log while an earlier one of its batch was refused. */
#include <stdio.h>
#include <stdlib.h>

#include "partition/processor_internal.h"

/* ---- whose records are taken, and what is forgotten ---- */

void processor_set_subscriptions(struct processor *p, uint32_t schema_version, const struct u128 *ids,
                                 size_t n)
{
    struct subscriptions *s = &p->subscriptions;
    if (schema_version <= s->version || p->closing)
        return;
    s->version = schema_version;
    s->n = n;
    s->ids = xrealloc(s->ids, MAX(n, 1) * sizeof(*ids));
    if (n)
        memcpy(s->ids, ids, n * sizeof(*ids));
    s->check = true;
    processor_schedule(p);
}

void subscriptions_free(struct processor *p)
{
    free(p->subscriptions.ids);
}

void subscriptions_start(struct processor *p)
{
    p->subscriptions.check = true;
}

/* Deleted, and not just unknown to an old schema: its record was taken when it stood in one that was not
 * newer, and ids of subscriptions do not come back. */
static bool owner_gone(void *ctx, uint64_t owner)
{
    const struct subscriptions *s = ctx;
    if (owner == 0 || owner >> 32 > s->version)
        return false;
    for (size_t i = 0; i < s->n; i++) {
        if (producer_tag(s->ids[i]) == (uint32_t)owner)
            return false;
    }
    return true;
}

/* It was taken while the subscription stood and is applied after that was found to be gone. */
void subscriptions_on_record(struct processor *p, const struct apply_result *r)
{
    if (p->role == PROCESSOR_LEADER && owner_gone(&p->subscriptions, r->seq_hi))
        p->subscriptions.check = true;
}

void subscriptions_run(struct processor *p)
{
    struct subscriptions *s = &p->subscriptions;
    uint64_t owner;
    if (p->role != PROCESSOR_LEADER || !s->check || s->forgetting)
        return;
    if (!store_dedup_orphan(p->store, owner_gone, s, &owner)) {
        s->check = false;
        return;
    }
    struct writer w = WRITER_INIT;
    record_begin(&w, 8);
    cmd_forget_producers_write(&w, &(struct cmd_forget_producers){(uint32_t)owner, s->version});
    s->forgetting = processor_propose_writer(p, CMD_FORGET_PRODUCERS, &w) == RC_OK;
    if (!s->forgetting)
        env_timer_arm(p->env, &p->housekeeping, RETRY_MS);
}

static bool subscription_stands(const struct processor *p, struct u128 id)
{
    for (size_t i = 0; i < p->subscriptions.n; i++) {
        if (u128_eq(p->subscriptions.ids[i], id))
            return true;
    }
    return false;
}

/* ---- requests ---- */

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
static bool record_valid(const struct processor *p, struct slice record, struct u128 *subscription)
{
    struct record_header h;
    struct service_invocation si;
    if (!record_header_get(record, &h) || h.kind != CMD_INVOKE || h.dedup != DEDUP_PRODUCER ||
        h.key_start != h.key_end)
        return false;
    struct reader r = reader_make(record_body(record));
    if (!service_invocation_read(&r, &si) || !reader_done(&r) || si.source != SOURCE_SUBSCRIPTION)
        return false;
    *subscription = si.source_request_id;
    return si.id.partition_key == h.key_start && h.key_start >= p->config.key_start &&
           h.key_start <= p->config.key_end;
}

/* How many records; 0: none, or a malformed one. `stand`: so do the subscriptions of all of them. */
static size_t count_valid(const struct processor *p, struct slice batch, bool *stand)
{
    struct reader r = reader_make(batch);
    struct slice record;
    struct u128 subscription;
    size_t n = 0;
    for (*stand = true; rpc_ingest_next(&r, &record); n++) {
        if (!record_valid(p, record, &subscription))
            return 0;
        *stand = *stand && subscription_stands(p, subscription);
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

/* The record with the leader's time and the owner. A copy: what stays of it must not pin the whole batch. */
static struct bytes stamped(const struct processor *p, struct slice record, uint64_t now_ms)
{
    struct bytes copy = bytes_copy(record);
    struct record_header h;
    struct u128 subscription;
    bool ok = record_header_get(record, &h) && record_valid(p, record, &subscription);
    ASSERT(ok);
    h.created_at_ms = now_ms;
    h.seq_hi = producer_owner(p->subscriptions.version, subscription);
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
        b->refused = processor_append(p, stamped(p, record, now_ms), &a->wait);
        b->waiting += b->refused == RC_OK;
    }
}

void ingest_run(struct processor *p, struct partition_rpc *rpc)
{
    struct bytes batch = rpc->record;
    rpc->record = BYTES_EMPTY;
    uint32_t needed = store_vars(p->store)->subscriptions_version;
    bool stand;
    size_t n = count_valid(p, bytes_slice(batch), &stand);
    if (n == 0) {
        rpc_fail_later(p, rpc, RC_INVALID, "the records of the request cannot be decoded");
    } else if (p->subscriptions.version < needed) {
        char text[128];
        snprintf(text, sizeof(text), "the leader's schema has version %u, version %u is needed",
                 p->subscriptions.version, needed);
        rpc_fail_later(p, rpc, RC_UNAVAILABLE, text);
    } else if (!stand) {
        rpc_fail_later(p, rpc, RC_UNAVAILABLE, "the leader's schema has no such subscription");
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
