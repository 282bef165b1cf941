/* Questions of query threads to the loops of the node (node/query_source.h). The asker blocks; if it gives up
 * because its query is canceled, the question goes on without it and what it brings is dropped. */
#define _GNU_SOURCE /* pthread_cond_clockwait */
#include "node/query_source.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "node/node_internal.h"
#include "node/query_gather.h"
#include "node/query_remote.h"

#define WAIT_SLICE_NS 20000000 /* between looks at the query's cancellation */

struct question {
    struct loop_msg msg;
    struct node *node;
    pthread_mutex_t lock; /* of the next two */
    pthread_cond_t answered_cond;
    bool answered;
    int refs; /* the asker, the loop */
    bool of_partition;
    struct partition_request partition;
    struct rows_request rows;
    uint8_t *text; /* what the filter's slices point to */
};

static struct question *question_new(struct node *n)
{
    struct question *q = xcalloc(1, sizeof(*q));
    q->node = n;
    q->refs = 2;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->answered_cond, NULL);
    return q;
}

/* With the lock held; gives it up. */
static void question_unref(struct question *q)
{
    bool last = --q->refs == 0;
    pthread_mutex_unlock(&q->lock);
    if (!last)
        return;
    if (q->of_partition)
        partition_request_release(&q->partition);
    row_set_free(&q->rows.rows);
    writer_free(&q->rows.warnings);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->answered_cond);
    free(q->text);
    free(q);
}

static void question_answered(void *ctx)
{
    struct question *q = ctx;
    pthread_mutex_lock(&q->lock);
    q->answered = true;
    pthread_cond_signal(&q->answered_cond);
    question_unref(q);
}

/* Takes the lock; true: answered. */
static bool question_wait(struct question *q, const struct query_wait *wait)
{
    pthread_mutex_lock(&q->lock);
    while (!q->answered) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_nsec += WAIT_SLICE_NS;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_clockwait(&q->answered_cond, &q->lock, CLOCK_MONOTONIC, &t);
        if (!q->answered && wait->canceled && wait->canceled(wait->ctx))
            return false;
    }
    return true;
}

/* ---- partitions ---- */

/* On the shard's loop. */
static void visit_partition(void *ctx, struct partition_store *store, struct invoker_partition *invoker)
{
    struct question *q = ctx;
    struct partition_request *r = &q->partition;
    if (!store) {
        uint32_t leader = atomic_load(&q->node->map->slots[r->partition].leader_node);
        if (leader && leader != q->node->joined.node_id)
            err_set(&r->err, RC_NOT_LEADER, "Internal error: partition %u is led by N%u", r->partition,
                    leader);
        else
            err_set(&r->err, RC_UNAVAILABLE, "Internal error: partition %u has no leader yet", r->partition);
        question_answered(q);
        return;
    }
    if (atomic_load(&q->node->cut_off)) {
        err_set(
            &r->err, RC_UNAVAILABLE,
            "Internal error: too few nodes are alive to tell whether partition %u is still led by this node",
            r->partition);
        question_answered(q);
        return;
    }
    partition_request_serve(r, store);
    struct invocation_attempt_status status;
    if (r->want_attempts && !r->filter.by_id)
        invoker_scan(invoker, query_attempts_add, &r->attempts);
    else if (r->want_attempts && invoker_status(invoker, r->filter.id, &status))
        query_attempts_add(&r->attempts, r->filter.id, &status);
    question_answered(q);
}

/* The filter's texts belong to a query that may end before the visit. */
static void keep_filter(struct question *q)
{
    struct scan_filter *f = &q->partition.filter;
    q->text = xmalloc(f->service.len + f->key.len + 1);
    if (f->service.len)
        memcpy(q->text, f->service.ptr, f->service.len);
    if (f->key.len)
        memcpy(q->text + f->service.len, f->key.ptr, f->key.len);
    f->service = slice_make(q->text, f->service.len);
    f->key = slice_make(q->text + f->service.len, f->key.len);
}

static enum rc visit(void *ctx, struct partition_request *r, const struct query_wait *wait)
{
    struct node *n = ctx;
    struct question *q = question_new(n);
    q->of_partition = true;
    q->partition = *r;
    keep_filter(q);
    shard_visit(n->shards[r->partition % n->n_shards], (uint16_t)r->partition, visit_partition, q);
    if (!question_wait(q, wait)) {
        question_unref(q);
        return err_set(&r->err, RC_CANCELED, "the query was canceled");
    }
    struct scan_filter filter = r->filter;
    *r = q->partition;
    r->filter = filter;
    q->of_partition = false; /* moved */
    question_unref(q);
    return r->err.rc;
}

/* ---- tables of the cluster ---- */

static void ask_rows(struct loop_msg *m)
{
    struct question *q = CONTAINER_OF(m, struct question, msg);
    query_gather(q->node, &q->rows, question_answered, q);
}

static enum rc rows(void *ctx, struct rows_request *r, const struct query_wait *wait)
{
    struct node *n = ctx;
    struct question *q = question_new(n);
    q->rows.table = r->table;
    q->msg.deliver = ask_rows;
    loop_post(n->loop, &q->msg);
    if (!question_wait(q, wait)) {
        question_unref(q);
        return err_set(&r->err, RC_CANCELED, "the query was canceled");
    }
    *r = q->rows;
    q->rows.rows = (struct row_set){0}; /* moved */
    q->rows.warnings = (struct writer){0};
    question_unref(q);
    return r->err.rc;
}

/* ---- the rest ---- */

static uint32_t partition_count(void *ctx)
{
    const struct node *n = ctx;
    return n->map->count;
}

static uint32_t partition_of(void *ctx, uint64_t partition_key)
{
    const struct node *n = ctx;
    return partition_map_find(n->map, partition_key);
}

static struct schema *current_schema(void *ctx)
{
    const struct node *n = ctx;
    return schema_ref(n->schema_cell.schema);
}

static void current_defaults(void *ctx, struct schema_defaults *out)
{
    const struct node *n = ctx;
    *out = n->schema_cell.defaults;
}

static uint64_t wall_ms(void *ctx)
{
    const struct node *n = ctx;
    return env_wall_ms(n->env);
}

const struct query_source_ops node_query_source_ops = {
    .partition_count = partition_count,
    .schema = current_schema,
    .wall_ms = wall_ms,
    .defaults = current_defaults,
    .partition_of = partition_of,
    .visit = visit,
    .rows = rows,
    .remote = query_remote_open,
};
