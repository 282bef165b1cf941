/* Which topic partitions this consumer has, from where it reads them, and how far the logs have them. On the
 * consumer's thread. */
#include <stdio.h>
#include <stdlib.h>

#include "kafka/internal.h"

#define QUERY_MS 5000

struct assigned *assignment_find(struct consumer *c, int32_t partition)
{
    for (size_t i = 0; i < c->assigned.len; i++)
        if (c->assigned.items[i]->partition == partition)
            return c->assigned.items[i];
    return NULL;
}

size_t assignment_unconfirmed(const struct consumer *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->assigned.len; i++)
        n += c->assigned.items[i]->unconfirmed;
    return n;
}

static struct metric *partition_metric(struct consumer *c, int32_t partition, bool gauge)
{
    char labels[512];
    snprintf(labels, sizeof(labels), "subscription=\"%s\",topic=\"%.249s\",partition=\"%d\"", c->name,
             c->topic, (int)partition);
    return gauge ? metric_gauge("restate_kafka_ingress_consumer_lag", labels,
                                "Records of a topic partition that are not in the log yet")
                 : metric_counter("restate_kafka_ingress_requests_total", labels,
                                  "Records of a topic partition that are in the log");
}

static void add(struct consumer *c, int32_t partition)
{
    struct assigned *a = xcalloc(1, sizeof(*a));
    uint64_t one = 1;
    a->partition = partition;
    a->generation = ++c->generation;
    a->next_offset = -1;
    a->producer =
        event_producer(c->config.subscription, slice_cstr(c->group), slice_cstr(c->topic), partition);
    a->requests = partition_metric(c, partition, false);
    a->lag = partition_metric(c, partition, true);
    /* Its messages do not go to the consumer's queue: whoever is not read from stops being fetched. */
    a->queue = rd_kafka_queue_get_partition(c->rk, c->topic, partition);
    ASSERT(a->queue);
    rd_kafka_queue_forward(a->queue, NULL);
    rd_kafka_queue_io_event_enable(a->queue, c->wake, &one, sizeof(one));
    VEC_PUSH(&c->assigned, a);
    loop_post(c->config.loop, &handoff_new(c, HANDOFF_OPEN, partition, a->generation, 0)->msg);
}

static void drop(struct consumer *c, size_t i)
{
    struct assigned *a = c->assigned.items[i];
    loop_post(c->config.loop, &handoff_new(c, HANDOFF_CLOSE, a->partition, a->generation, 0)->msg);
    if (a->held) {
        rd_kafka_message_destroy(a->held);
        metric_add(c->blocked, -1);
    }
    metric_set(a->lag, 0);
    rd_kafka_queue_io_event_enable(a->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(a->queue);
    c->assigned.items[i] = c->assigned.items[--c->assigned.len];
    free(a);
}

void assignment_drop_all(struct consumer *c)
{
    while (c->assigned.len > 0)
        drop(c, c->assigned.len - 1);
}

/* ---- where to begin ---- */

/* "latest" is decided once and committed before anything is read. Otherwise a crash before the first commit
 * would decide again, later, and lose what came in between. */
static bool decide_start(struct consumer *c, rd_kafka_topic_partition_t *p, bool *decided)
{
    int64_t low, high;
    if (p->offset >= 0 || c->settings.reset == RESET_ERROR)
        return true;
    rd_kafka_resp_err_t err =
        rd_kafka_query_watermark_offsets(c->rk, p->topic, p->partition, &low, &high, QUERY_MS);
    if (err) {
        consumer_fail(c, "cannot ask for the offsets of %s[%d]: %s", p->topic, (int)p->partition,
                      rd_kafka_err2str(err));
        return false;
    }
    p->offset = c->settings.reset == RESET_EARLIEST ? low : high;
    *decided = true;
    return true;
}

static bool decide_starts(struct consumer *c, rd_kafka_topic_partition_list_t *list)
{
    bool decided = false;
    rd_kafka_resp_err_t err = rd_kafka_committed(c->rk, list, QUERY_MS);
    for (int i = 0; i < list->cnt && !err; i++)
        err = list->elems[i].err;
    if (err) {
        consumer_fail(c, "cannot ask for committed offsets: %s", rd_kafka_err2str(err));
        return false;
    }
    for (int i = 0; i < list->cnt; i++)
        if (!decide_start(c, &list->elems[i], &decided))
            return false;
    err = decided ? rd_kafka_commit(c->rk, list, 0) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (err) {
        consumer_fail(c, "cannot commit the first offsets: %s", rd_kafka_err2str(err));
        return false;
    }
    return true;
}

/* ---- given and taken ---- */

static bool is_cooperative(rd_kafka_t *rk)
{
    const char *protocol = rd_kafka_rebalance_protocol(rk);
    return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

static void tell_assignment(struct consumer *c, const char *what, const rd_kafka_topic_partition_list_t *list)
{
    struct writer w = WRITER_INIT;
    for (int i = 0; i < list->cnt; i++)
        write_fmt(&w, "%s%d", i ? "," : "", (int)list->elems[i].partition);
    write_u8(&w, 0);
    LOG(LOG_INFO, TARGET,
        LOG_FIELDS({"restate.subscription.id", c->name}, {"topic", c->topic},
                   {"partitions", (const char *)writer_slice(&w).ptr}),
        "%s", what);
    writer_free(&w);
}

static void take(struct consumer *c, rd_kafka_topic_partition_list_t *list)
{
    bool ok = decide_starts(c, list);
    if (ok)
        tell_assignment(c, "Topic partitions assigned", list);
    for (int i = 0; ok && i < list->cnt; i++)
        add(c, list->elems[i].partition);
    if (is_cooperative(c->rk))
        rd_kafka_error_destroy(rd_kafka_incremental_assign(c->rk, list));
    else
        rd_kafka_assign(c->rk, ok ? list : NULL);
}

static void give(struct consumer *c, rd_kafka_topic_partition_list_t *list)
{
    tell_assignment(c, "Topic partitions revoked", list);
    for (int i = 0; i < list->cnt; i++)
        for (size_t j = c->assigned.len; j > 0; j--)
            if (c->assigned.items[j - 1]->partition == list->elems[i].partition)
                drop(c, j - 1);
    if (is_cooperative(c->rk))
        rd_kafka_error_destroy(rd_kafka_incremental_unassign(c->rk, list));
    else
        rd_kafka_assign(c->rk, NULL);
}

void assignment_changed(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                        void *opaque)
{
    struct consumer *c = opaque;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        take(c, list);
    else
        give(c, list);
}

/* ---- progress ---- */

void assignment_confirm(struct consumer *c, const struct progress *p)
{
    struct assigned *a = assignment_find(c, p->partition);
    if (!a || a->generation != p->generation)
        return; /* somebody else has it */
    a->unconfirmed -= p->records;
    a->next_offset = p->next_offset;
    metric_add(a->requests, (int64_t)p->records);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, c->topic, p->partition)->offset = p->next_offset;
    rd_kafka_offsets_store(c->rk,
                           list); /* refused when it was just taken from us: then it is not ours to say */
    rd_kafka_topic_partition_list_destroy(list);
}

void assignment_tell_lag(struct consumer *c)
{
    for (size_t i = 0; i < c->assigned.len; i++) {
        struct assigned *a = c->assigned.items[i];
        int64_t low, high;
        bool known = a->next_offset >= 0 &&
                     !rd_kafka_get_watermark_offsets(c->rk, c->topic, a->partition, &low, &high) && high >= 0;
        if (known)
            metric_set(a->lag, MAX(high - a->next_offset, (int64_t)0));
    }
}
