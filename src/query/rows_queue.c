/* Rows of the queues of scopes (spec/sql.md §3.13): their entries - the scoped invocations - one by one, and
 * the queues, counted from them (query/tables.h). */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "query/tables.h"
#include "wire/scope.h"

#define QUEUES_MAX    100000u /* of one partition, in memory while they are counted */
#define CANCELED_EACH 1024u   /* invocations between two looks at whether somebody still waits */

enum queue_field {
    Q_NULL, /* what is not kept */
    Q_PARTITION_KEY,
    Q_QUEUE,
    Q_ENTRY,
    Q_STAGE,
    Q_STATUS,
    Q_HAS_LOCK,
    Q_RUN_AT,
    Q_NEXT_AT,
    Q_SEQUENCE,
    Q_KIND,
    Q_CREATED_AT,
    Q_MOVED_AT,
    Q_ATTEMPTS,
    Q_ERRORS,
    Q_PAUSES,
    Q_SUSPENSIONS,
    Q_YIELDS,
    Q_FIRST_ATTEMPT,
    Q_LATEST_ATTEMPT,
    Q_FIRST_RUNNABLE,
    Q_DEPLOYMENT,
    Q_RETRIES,
    Q_RETRIES_SINCE_COMMAND,
};

uint8_t queue_field_find(const char *column)
{
    static const struct {
        const char *name;
        enum queue_field field;
    } fields[] = {
        {"partition_key", Q_PARTITION_KEY},
        {"id", Q_QUEUE},
        {"vqueue_id", Q_QUEUE},
        {"entry_id", Q_ENTRY},
        {"stage", Q_STAGE},
        {"status", Q_STATUS},
        {"has_lock", Q_HAS_LOCK},
        {"run_at", Q_RUN_AT},
        {"next_at", Q_NEXT_AT},
        {"sequence_number", Q_SEQUENCE},
        {"entry_kind", Q_KIND},
        {"created_at", Q_CREATED_AT},
        {"transitioned_at", Q_MOVED_AT},
        {"num_attempts", Q_ATTEMPTS},
        {"num_errors", Q_ERRORS},
        {"num_pauses", Q_PAUSES},
        {"num_suspensions", Q_SUSPENSIONS},
        {"num_yields", Q_YIELDS},
        {"first_attempt_at", Q_FIRST_ATTEMPT},
        {"latest_attempt_at", Q_LATEST_ATTEMPT},
        {"first_runnable_at", Q_FIRST_RUNNABLE},
        {"deployment", Q_DEPLOYMENT},
        {"retry_attempts", Q_RETRIES},
        {"retry_count_since_last_stored_command", Q_RETRIES_SINCE_COMMAND},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].name, column) == 0)
            return fields[i].field;
    return Q_NULL;
}

static struct limit_address address_of(const struct invocation *inv)
{
    struct limit_address a = {.scope = inv->si.target.scope, .service = inv->si.target.service};
    limit_key_split(inv->si.limit_key, &a.l1, &a.l2);
    return a;
}

/* ---- entries ---- */

static const char *stage_name(enum queue_stage s)
{
    static const char *const names[] = {NULL, "inbox", "running", "suspended", "paused", "finished"};
    return names[s];
}

/* Of a failed one; the server's kill and the SDKs' cancellation are failures like others. */
static const char *failed_status(const struct invocation *inv)
{
    struct failure_view f;
    if (!failure_parse(inv->result.value, &f) || f.code != 409)
        return "failed";
    if (slice_eq_nocase(f.message, SLICE_LIT("killed")))
        return "killed";
    return slice_eq_nocase(f.message, SLICE_LIT("cancelled")) ||
                   slice_eq_nocase(f.message, SLICE_LIT("canceled"))
               ? "cancelled"
               : "failed";
}

static const char *entry_status(const struct invocation *inv)
{
    if (inv->status == INV_COMPLETED)
        return inv->result.kind == OUTCOME_FAILURE ? failed_status(inv) : "succeeded";
    if (inv->queue.backing_off)
        return "backing-off";
    if (inv->queue.attempts > 0)
        return "started";
    return inv->si.execution_time_ms ? "scheduled" : "new";
}

static uint64_t first_runnable_at(const struct invocation *inv)
{
    return inv->si.execution_time_ms ? inv->si.execution_time_ms : inv->at.created_at;
}

/* Whole seconds, of a wait never earlier than it is over. */
static uint64_t run_at(const struct invocation *inv)
{
    if (inv->backoff.resume_at_ms)
        return (inv->backoff.resume_at_ms + 999) / 1000 * 1000;
    if (inv->si.execution_time_ms)
        return (MIN(inv->si.execution_time_ms, UINT64_MAX - 999) + 999) / 1000 * 1000;
    return inv->at.created_at / 1000 * 1000;
}

/* UINT64_MAX: never. */
static uint64_t retention_end(const struct invocation *inv)
{
    uint64_t retention = inv->si.completion_retention_ms;
    return retention > UINT64_MAX - inv->at.completed_at ? UINT64_MAX : inv->at.completed_at + retention;
}

static uint64_t next_at(const struct invocation *inv)
{
    switch (queue_stage_of(inv->status)) {
    case STAGE_INBOX:
        return run_at(inv);
    case STAGE_FINISHED:
        return retention_end(inv) == UINT64_MAX ? 0 : retention_end(inv) / 1000 * 1000;
    default:
        return 0;
    }
}

static bool has_lock(const struct invocation *inv)
{
    enum queue_stage s = queue_stage_of(inv->status);
    return inv->si.target.kind == TARGET_OBJECT_EXCLUSIVE && s != STAGE_FINISHED &&
           inv->status != INV_SCHEDULED && inv->status != INV_INBOXED;
}

static void history_column(sqlite3_context *out, const struct queue_history *q, uint8_t field)
{
    switch (field) {
    case Q_MOVED_AT:
        out_time(out, q->moved_at);
        break;
    case Q_ATTEMPTS:
        sqlite3_result_int64(out, q->attempts);
        break;
    case Q_ERRORS:
        sqlite3_result_int64(out, q->errors);
        break;
    case Q_PAUSES:
        sqlite3_result_int64(out, q->pauses);
        break;
    case Q_SUSPENSIONS:
        sqlite3_result_int64(out, q->suspensions);
        break;
    case Q_YIELDS: /* slots are given back for errors only */
        sqlite3_result_int64(out, 0);
        break;
    case Q_FIRST_ATTEMPT:
        out_time(out, q->first_attempt_at);
        break;
    case Q_LATEST_ATTEMPT:
        out_time(out, q->latest_attempt_at);
        break;
    }
}

void queue_id_column(sqlite3_context *out, const struct invocation *inv)
{
    struct limit_address a = address_of(inv);
    char text[QUEUE_ID_TEXT + 1];
    queue_id_format(limits_queue_id(&a), text);
    sqlite3_result_text(out, text, QUEUE_ID_TEXT, SQLITE_TRANSIENT);
}

void queue_column(struct cursor *c, sqlite3_context *out, uint8_t field)
{
    const struct invocation *inv = c->inv;
    switch (field) {
    case Q_NULL:
        break;
    case Q_PARTITION_KEY:
        out_key(out, inv->id.partition_key);
        break;
    case Q_QUEUE:
        queue_id_column(out, inv);
        break;
    case Q_ENTRY:
        out_id(out, inv->id);
        break;
    case Q_STAGE:
        out_cstr(out, stage_name(queue_stage_of(inv->status)));
        break;
    case Q_STATUS:
        out_cstr(out, entry_status(inv));
        break;
    case Q_HAS_LOCK:
        sqlite3_result_int(out, has_lock(inv));
        break;
    case Q_RUN_AT:
        if (queue_stage_of(inv->status) == STAGE_INBOX)
            out_time(out, run_at(inv));
        break;
    case Q_NEXT_AT:
        out_time(out, next_at(inv));
        break;
    case Q_SEQUENCE:
        if (inv->inbox_seq)
            sqlite3_result_int64(out, (sqlite3_int64)inv->inbox_seq);
        break;
    case Q_KIND:
        out_cstr(out, "invocation");
        break;
    case Q_CREATED_AT:
        out_time(out, inv->at.created_at);
        break;
    case Q_FIRST_RUNNABLE:
        out_time(out, first_runnable_at(inv));
        break;
    case Q_DEPLOYMENT:
        if (inv->pinned)
            out_resource(out, RESOURCE_DEPLOYMENT, inv->deployment_id);
        break;
    case Q_RETRIES:
        sqlite3_result_int64(out, inv->backoff.retries);
        break;
    case Q_RETRIES_SINCE_COMMAND:
        sqlite3_result_int64(out, inv->backoff.retries_since_command);
        break;
    default:
        history_column(out, &inv->queue, field);
    }
}

/* ---- queues ---- */

struct queue {
    struct hmap_node node;
    struct invocation_id id;
    bool paused;
    char *service, *scope, *limit_key; /* scope NULL: only its id is known */
    uint64_t entries[STAGE_FINISHED + 1];
    uint64_t created_at, enqueued_at, first_attempt_at, latest_attempt_at, finished_at;
};
struct queues {
    struct hmap by_id;
    struct {
        struct queue **items;
        size_t len, cap;
    } list;
};

static struct queue *queue_get(struct queues *q, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&q->by_id, invocation_id_hash(id)); n; n = hmap_next_same(n)) {
        struct queue *x = CONTAINER_OF(n, struct queue, node);
        if (invocation_id_eq(x->id, id))
            return x;
    }
    struct queue *x = xcalloc(1, sizeof(*x));
    x->id = id;
    hmap_insert(&q->by_id, &x->node, invocation_id_hash(id));
    VEC_PUSH(&q->list, x);
    return x;
}

static void queue_count(struct queues *q, const struct invocation *inv)
{
    struct limit_address a = address_of(inv);
    struct queue *x = queue_get(q, limits_queue_id(&a));
    if (!x->scope) {
        x->scope = slice_dup_cstr(a.scope);
        x->service = slice_dup_cstr(a.service);
        x->limit_key = inv->si.limit_key.ptr ? slice_dup_cstr(inv->si.limit_key) : NULL;
        x->created_at = inv->at.created_at;
    }
    x->entries[queue_stage_of(inv->status)]++;
    x->created_at = MIN(x->created_at, inv->at.created_at);
    x->enqueued_at = MAX(x->enqueued_at, inv->at.created_at);
    x->first_attempt_at = MAX(x->first_attempt_at, inv->queue.first_attempt_at);
    x->latest_attempt_at = MAX(x->latest_attempt_at, inv->queue.latest_attempt_at);
    x->finished_at = MAX(x->finished_at, inv->at.completed_at);
}

static void row_time(struct row_set *s, uint64_t ms)
{
    if (ms)
        row_int(s, (int64_t)MIN(ms, (uint64_t)INT64_MAX));
    else
        row_null(s);
}

static void queue_row(struct row_set *s, const struct queue *q)
{
    char id[QUEUE_ID_TEXT + 1];
    uint64_t waiting = q->entries[STAGE_INBOX] + q->entries[STAGE_SUSPENDED] + q->entries[STAGE_PAUSED];
    queue_id_format(q->id, id);
    row_int(s, u64_to_key(q->id.partition_key));
    row_text(s, slice_cstr(id));
    row_bool(s, q->entries[STAGE_RUNNING] > 0 || (!q->paused && waiting > 0));
    row_bool(s, q->paused);
    row_text(s, slice_cstr(q->service));
    row_text(s, slice_cstr(q->scope));
    row_text(s, slice_cstr(q->limit_key));
    row_null(s); /* lock_name: no queue is that of one object */
    row_time(s, q->created_at);
    row_time(s, q->enqueued_at);
    row_time(s, q->first_attempt_at);
    row_time(s, q->latest_attempt_at);
    row_time(s, q->finished_at);
    for (int averages = 0; averages < 9; averages++)
        row_null(s);
    for (int stage = STAGE_INBOX; stage <= STAGE_FINISHED; stage++)
        row_int(s, (int64_t)q->entries[stage]);
    row_end(s);
}

static void queues_free(struct queues *q)
{
    for (size_t i = 0; i < q->list.len; i++) {
        free(q->list.items[i]->service);
        free(q->list.items[i]->scope);
        free(q->list.items[i]->limit_key);
        free(q->list.items[i]);
    }
    VEC_FREE(&q->list);
    hmap_free(&q->by_id);
}

/* All invocations of the partition, whatever is asked of its queues: there is no index of them. */
static const char *count_all(struct cursor *c, struct queues *q)
{
    const struct invocation *inv;
    for (unsigned n = 1; (inv = store_scan_invocation(c->request.scan)); n++) {
        if (inv->si.target.scope.ptr)
            queue_count(q, inv);
        if (q->list.len > QUEUES_MAX)
            return "a partition has more queues than sys_vqueue_meta can count";
        if (n % CANCELED_EACH == 0 && c->q->canceled && c->q->canceled(c->q->canceled_ctx))
            return "the query was canceled";
    }
    store_scan_error(c->request.scan, &c->request.err);
    return NULL;
}

const char *queue_rows(struct cursor *c)
{
    struct queues q = {0};
    hmap_init(&q.by_id);
    struct reader paused = reader_make(writer_slice(&c->request.rows.bytes));
    while (reader_left(&paused) > 0) {
        struct slice raw = read_raw(&paused, INVOCATION_ID_BYTES);
        ASSERT(!paused.failed); /* limit_rows made it */
        queue_get(&q, invocation_id_from_bytes(raw.ptr))->paused = true;
    }
    row_set_free(&c->request.rows);
    c->request.rows = (struct row_set){0};
    const char *failure = count_all(c, &q);
    for (size_t i = 0; i < q.list.len && !failure; i++)
        queue_row(&c->request.rows, q.list.items[i]);
    queues_free(&q);
    return failure;
}
