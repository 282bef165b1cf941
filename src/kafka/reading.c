/* Reading records and handing them over, as far as the budget goes. On the consumer's thread. */
#include <stdlib.h>

#include "kafka/internal.h"

#define ROUND_MAX     256  /* records of one topic partition before the next one's turn */
#define HELD_RETRY_MS 300u /* the reference restarts its consumer about as often */
#define HELD_TELL_MS  60000u
#define IDLE_MS       300
#define FULL_MS       50

static struct event_target target_of(const struct consumer *c, const struct assigned *a,
                                     const struct schema_subscription *s)
{
    return (struct event_target){.schema = c->schema,
                                 .defaults = &c->defaults,
                                 .subscription = s,
                                 .producer = a->producer,
                                 .version = c->config.version,
                                 .scopes = c->config.scopes};
}

/* The last header of this name; ptr NULL if there is none, or its value is null. */
static struct slice header_of(const rd_kafka_message_t *m, const char *name)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR || !value)
        return SLICE_EMPTY;
    return slice_make(value, len);
}

static struct kafka_event event_of(const struct consumer *c, const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(m, &type);
    return (struct kafka_event){
        .topic = slice_cstr(c->topic),
        .partition = m->partition,
        .offset = m->offset,
        .timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
        .key = m->key ? slice_make(m->key, m->key_len) : SLICE_EMPTY,
        .value = m->payload ? slice_make(m->payload, m->len) : SLICE_EMPTY,
        .scope = c->config.scopes.from_headers ? header_of(m, "x-restate-scope") : SLICE_EMPTY,
        .limit_key = c->config.scopes.from_headers ? header_of(m, "x-restate-limit-key") : SLICE_EMPTY,
    };
}

static void tell_bad(struct consumer *c, const rd_kafka_message_t *m, const struct err *err, const char *what)
{
    LOG(LOG_WARN, TARGET, LOG_FIELDS({"restate.subscription.id", c->name}),
        "The record %s[%d]@%lld cannot become an invocation: %s. %s", c->topic, (int)m->partition,
        (long long)m->offset, err->msg, what);
}

/* Stop here until the cause is gone. */
static void hold(struct consumer *c, struct assigned *a, rd_kafka_message_t *m, const struct err *err)
{
    uint64_t now = consumer_now_ms();
    bool fresh = a->held != m;
    if (fresh)
        metric_inc(c->blocked);
    a->held = m;
    a->held_until_ms = now + HELD_RETRY_MS;
    if (!fresh && now - a->held_told_ms < HELD_TELL_MS)
        return;
    a->held_told_ms = now;
    tell_bad(c, m, err, "Its topic partition waits until the cause is gone or the subscription is deleted.");
}

/* One message of this topic partition into `out`, and true; or it is held. Takes it unless it is held. */
static bool convert(struct consumer *c, struct assigned *a, rd_kafka_message_t *m, struct handed *out)
{
    const struct schema_subscription *s = schema_subscription(c->schema, c->config.subscription);
    struct kafka_event event = event_of(c, m);
    struct event_target target = target_of(c, a, s);
    struct err err = {0};
    *out = (struct handed){.offset = m->offset};
    enum rc rc = s ? event_to_record(&target, &event, &out->record, &out->partition_key, &err)
                   : err_set(&err, RC_NOT_FOUND, "the subscription is gone");
    bool skip = (rc == RC_INVALID || rc == RC_TOO_LARGE) && s->skip_bad;
    if (rc != RC_OK && !skip) {
        hold(c, a, m, &err);
        return false;
    }
    if (skip) {
        metric_inc(c->skipped);
        tell_bad(c, m, &err, "It is skipped.");
    }
    if (a->held == m) {
        a->held = NULL;
        metric_add(c->blocked, -1);
    }
    rd_kafka_message_destroy(m);
    atomic_fetch_add(&c->config.budget->used, out->record.len);
    return true;
}

static bool may_read(const struct consumer *c, const struct assigned *a, size_t collected)
{
    return atomic_load(&c->config.budget->used) < c->config.budget->limit || a->unconfirmed + collected == 0;
}

/* A message without a record. Takes it. */
static void take_event(struct consumer *c, rd_kafka_message_t *m)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        /* nothing to do */
    } else if (m->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || m->err == RD_KAFKA_RESP_ERR__TRANSPORT ||
               m->err == RD_KAFKA_RESP_ERR__RESOLVE || m->err == RD_KAFKA_RESP_ERR__TIMED_OUT ||
               m->err == RD_KAFKA_RESP_ERR__NO_OFFSET) {
        LOG(LOG_DEBUG, TARGET, LOG_FIELDS({"restate.subscription.id", c->name}), "librdkafka: %s",
            rd_kafka_message_errstr(m)); /* it tries again by itself */
    } else {
        consumer_fail(c, "%s", rd_kafka_message_errstr(m));
    }
    rd_kafka_message_destroy(m);
}

static rd_kafka_message_t *next_message(struct consumer *c, struct assigned *a)
{
    for (;;) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(a->queue, 0);
        if (!m || m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return m;
        take_event(c, m);
    }
}

/* True if there may be more, and room for it. */
static bool read_partition(struct consumer *c, struct assigned *a, uint64_t now)
{
    struct handed round[ROUND_MAX];
    size_t n = 0;
    bool room = may_read(c, a, 0);
    if (a->held && now < a->held_until_ms)
        return false;
    while (room && n < ROUND_MAX) {
        rd_kafka_message_t *m = a->held ? a->held : next_message(c, a);
        if (!m || !convert(c, a, m, &round[n]))
            break;
        n++;
        room = may_read(c, a, n);
    }
    if (n > 0) {
        struct handoff *h = handoff_new(c, HANDOFF_RECORDS, a->partition, a->generation, n);
        memcpy(h->items, round, n * sizeof(round[0]));
        h->n = n;
        a->unconfirmed += n;
        loop_post(c->config.loop, &h->msg);
    }
    return n == ROUND_MAX && room;
}

int reading_pass(struct consumer *c)
{
    uint64_t now = consumer_now_ms();
    bool more = false, full = atomic_load(&c->config.budget->used) >= c->config.budget->limit;
    for (size_t i = 0; i < c->assigned.len && c->failure.rc == RC_OK; i++)
        more |= read_partition(c, c->assigned.items[i], now);
    /* Room that others make is not told to this thread. */
    return more ? 0 : full ? FULL_MS : IDLE_MS;
}

void reading_take(struct consumer *c, rd_kafka_message_t *m)
{
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_event(c, m);
        return;
    }
    /* Records come through the queues of their topic partitions only (assignment.c). One that did not would
     * be read out of turn: begin again from what is committed. */
    consumer_fail(c, "a record of %s[%d] came on another way than expected", c->topic, (int)m->partition);
    rd_kafka_message_destroy(m);
}
