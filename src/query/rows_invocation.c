/* Rows of the tables of invocations: status, attempts, journal, events (query/tables.h; spec/sql.md §3.1 to
 * §3.6). */
#include <string.h>

#include "query/documents.h"
#include "query/tables.h"

enum invocation_field {
    F_NULL, /* features that this server does not have */
    F_PARTITION_KEY,
    F_ID,
    F_RAW_STATUS,
    F_STATUS, /* of the view */
    F_COMPLETION_RESULT,
    F_COMPLETION_FAILURE,
    F_TARGET,
    F_SERVICE,
    F_KEY,
    F_HANDLER,
    F_SERVICE_TYPE,
    F_SCOPE,
    F_QUEUE,
    F_LIMIT_KEY,
    F_IDEMPOTENCY_KEY,
    F_INVOKED_BY,
    F_INVOKED_BY_ID,
    F_INVOKED_BY_SUBSCRIPTION,
    F_INVOKED_BY_SERVICE,
    F_INVOKED_BY_TARGET,
    F_RESTARTED_FROM,
    F_PINNED_DEPLOYMENT,
    F_PINNED_PROTOCOL,
    F_TRACE_ID,
    F_JOURNAL_SIZE,
    F_JOURNAL_COMMANDS,
    F_CREATED_AT,
    F_CREATED_USING,
    F_MODIFIED_AT,
    F_INBOXED_AT,
    F_SCHEDULED_AT,
    F_SCHEDULED_START_AT,
    F_RUNNING_AT,
    F_COMPLETED_AT,
    F_COMPLETION_RETENTION,
    F_JOURNAL_RETENTION,
    F_WAITING_COMPLETIONS,
    F_WAITING_SIGNALS,
    F_WAITING_FUTURE,
    F_FIRST_OF_ATTEMPT,
    F_IN_FLIGHT = F_FIRST_OF_ATTEMPT,
    F_RETRY_COUNT,
    F_LAST_START_AT,
    F_ATTEMPT_DEPLOYMENT,
    F_ATTEMPT_SERVER,
    F_AWAITING_ON,
    F_NEXT_RETRY_AT,
    F_LAST_FAILURE,
    F_LAST_FAILURE_CODE,
    F_COMMAND_INDEX,
    F_COMMAND_NAME,
    F_COMMAND_TYPE,
};

static const struct {
    const char *name;
    enum invocation_field field;
} fields[] = {
    {"partition_key", F_PARTITION_KEY},
    {"id", F_ID},
    {"vqueue_id", F_QUEUE},
    {"status", F_RAW_STATUS},
    {"completion_result", F_COMPLETION_RESULT},
    {"completion_failure", F_COMPLETION_FAILURE},
    {"target", F_TARGET},
    {"target_service_name", F_SERVICE},
    {"target_service_key", F_KEY},
    {"target_handler_name", F_HANDLER},
    {"target_service_ty", F_SERVICE_TYPE},
    {"scope", F_SCOPE},
    {"limit_key", F_LIMIT_KEY},
    {"idempotency_key", F_IDEMPOTENCY_KEY},
    {"invoked_by", F_INVOKED_BY},
    {"invoked_by_id", F_INVOKED_BY_ID},
    {"invoked_by_subscription_id", F_INVOKED_BY_SUBSCRIPTION},
    {"invoked_by_service_name", F_INVOKED_BY_SERVICE},
    {"invoked_by_target", F_INVOKED_BY_TARGET},
    {"restarted_from", F_RESTARTED_FROM},
    {"pinned_deployment_id", F_PINNED_DEPLOYMENT},
    {"pinned_service_protocol_version", F_PINNED_PROTOCOL},
    {"trace_id", F_TRACE_ID},
    {"journal_size", F_JOURNAL_SIZE},
    {"journal_commands_size", F_JOURNAL_COMMANDS},
    {"created_at", F_CREATED_AT},
    {"created_using_restate_version", F_CREATED_USING},
    {"modified_at", F_MODIFIED_AT},
    {"inboxed_at", F_INBOXED_AT},
    {"scheduled_at", F_SCHEDULED_AT},
    {"scheduled_start_at", F_SCHEDULED_START_AT},
    {"running_at", F_RUNNING_AT},
    {"completed_at", F_COMPLETED_AT},
    {"completion_retention", F_COMPLETION_RETENTION},
    {"journal_retention", F_JOURNAL_RETENTION},
    {"suspended_waiting_for_completions", F_WAITING_COMPLETIONS},
    {"suspended_waiting_for_signals", F_WAITING_SIGNALS},
    {"suspended_waiting_future_json", F_WAITING_FUTURE},
    {"in_flight", F_IN_FLIGHT},
    {"retry_count", F_RETRY_COUNT},
    {"last_start_at", F_LAST_START_AT},
    {"last_attempt_deployment_id", F_ATTEMPT_DEPLOYMENT},
    {"last_attempt_server", F_ATTEMPT_SERVER},
    {"last_awaiting_on_future_json", F_AWAITING_ON},
    {"next_retry_at", F_NEXT_RETRY_AT},
    {"last_failure", F_LAST_FAILURE},
    {"last_failure_error_code", F_LAST_FAILURE_CODE},
    {"last_failure_related_command_index", F_COMMAND_INDEX},
    {"last_failure_related_command_name", F_COMMAND_NAME},
    {"last_failure_related_command_type", F_COMMAND_TYPE},
};

uint8_t invocation_field_find(const char *column)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].name, column) == 0)
            return fields[i].field;
    return F_NULL;
}

/* ---- status ---- */

static bool started(const struct invocation *inv)
{
    return inv->status >= INV_INVOKED && (inv->status != INV_HELD || inv->at.running_at);
}

/* spec/sql.md §3.3 */
static const char *view_status(const struct invocation *inv, const struct query_attempt *a)
{
    if (inv->status == INV_HELD && inv->backoff.resume_at_ms)
        return "backing-off";
    if (inv->status == INV_INBOXED || inv->status == INV_HELD)
        return "pending";
    if (inv->status != INV_INVOKED)
        return invocation_status_name(inv->status);
    if (a && a->status.in_flight)
        return "running";
    return a && a->status.retry_count > 0 ? "backing-off" : "ready";
}

static const char *service_type(enum target_kind kind)
{
    if (kind == TARGET_SERVICE)
        return "service";
    return target_is_workflow(kind) ? "workflow" : "virtual_object";
}

static const char *invoked_by(enum source_kind source)
{
    static const char *const names[] = {[SOURCE_INGRESS] = "ingress",
                                        [SOURCE_SUBSCRIPTION] = "subscription",
                                        [SOURCE_SERVICE] = "service",
                                        [SOURCE_RESTART] = "restart_as_new",
                                        [SOURCE_INTERNAL] = "restate"};
    return names[source];
}

/* Of a trace context: 00-<trace id>-... */
static void out_trace(sqlite3_context *out, struct slice traceparent)
{
    if (traceparent.len < 36 || traceparent.ptr[2] != '-' || traceparent.ptr[35] != '-')
        return;
    struct slice id = slice_sub(traceparent, 3, 32);
    for (size_t i = 0; i < id.len; i++)
        if (id.ptr[i] != '0') {
            out_text(out, id);
            return;
        }
}

static void out_target(struct cursor *c, sqlite3_context *out, const struct target *t)
{
    writer_reset(&c->text);
    target_format(&c->text, t);
    out_text(out, writer_slice(&c->text));
}

static void out_completion(struct cursor *c, sqlite3_context *out, const struct invocation *inv)
{
    struct failure_view f;
    if (inv->status != INV_COMPLETED || inv->result.kind != OUTCOME_FAILURE)
        return;
    if (failure_parse(inv->result.value, &f))
        out_failure(out, &c->text, f.code, f.message, false);
}

static void out_waiting(struct cursor *c, sqlite3_context *out, const struct invocation *inv, uint8_t field)
{
    if (inv->status != INV_SUSPENDED)
        return;
    writer_reset(&c->text);
    if (field == F_WAITING_FUTURE)
        document_future(&c->text, &inv->awaiting);
    else
        document_leaves(&c->text, &inv->awaiting,
                        field == F_WAITING_COMPLETIONS ? LEAVES_COMPLETIONS : LEAVES_SIGNALS);
    out_text(out, writer_slice(&c->text));
}

static void source_column(struct cursor *c, sqlite3_context *out, uint8_t field)
{
    const struct service_invocation *si = &c->inv->si;
    bool service = si->source == SOURCE_SERVICE;
    switch (field) {
    case F_INVOKED_BY:
        out_cstr(out, invoked_by(si->source));
        break;
    case F_INVOKED_BY_ID:
        if (service)
            out_id(out, si->source_id);
        break;
    case F_INVOKED_BY_SUBSCRIPTION:
        if (si->source == SOURCE_SUBSCRIPTION)
            out_resource(out, RESOURCE_SUBSCRIPTION, si->source_request_id);
        break;
    case F_INVOKED_BY_SERVICE:
        if (service)
            out_text(out, si->source_target.service);
        break;
    case F_INVOKED_BY_TARGET:
        if (service)
            out_target(c, out, &si->source_target);
        break;
    case F_RESTARTED_FROM:
        if (si->source == SOURCE_RESTART)
            out_id(out, si->source_id);
        break;
    }
}

static void time_column(struct cursor *c, sqlite3_context *out, uint8_t field)
{
    const struct invocation_timestamps *at = &c->inv->at;
    switch (field) {
    case F_CREATED_AT:
        out_time(out, at->created_at);
        break;
    case F_MODIFIED_AT:
        out_time(out, at->modified_at);
        break;
    case F_INBOXED_AT:
        out_time(out, at->inboxed_at);
        break;
    case F_SCHEDULED_AT:
        out_time(out, at->scheduled_at);
        break;
    case F_SCHEDULED_START_AT:
        out_time(out, c->inv->si.execution_time_ms);
        break;
    case F_RUNNING_AT:
        out_time(out, at->running_at);
        break;
    case F_COMPLETED_AT:
        out_time(out, at->completed_at);
        break;
    }
}

static void status_column(struct cursor *c, sqlite3_context *out, uint8_t field)
{
    const struct invocation *inv = c->inv;
    const struct service_invocation *si = &inv->si;
    switch (field) {
    case F_RAW_STATUS:
        out_cstr(out, invocation_status_name(inv->status));
        break;
    case F_STATUS:
        out_cstr(out, view_status(inv, c->attempt));
        break;
    case F_COMPLETION_RESULT:
        if (inv->status == INV_COMPLETED)
            out_cstr(out, inv->result.kind == OUTCOME_FAILURE ? "failure" : "success");
        break;
    case F_COMPLETION_FAILURE:
        out_completion(c, out, inv);
        break;
    case F_TARGET:
        out_target(c, out, &si->target);
        break;
    case F_SERVICE:
        out_text(out, si->target.service);
        break;
    case F_KEY:
        if (target_is_keyed(si->target.kind))
            out_text(out, si->target.key.ptr ? si->target.key : SLICE_LIT(""));
        break;
    case F_HANDLER:
        out_text(out, si->target.handler);
        break;
    case F_SERVICE_TYPE:
        out_cstr(out, service_type(si->target.kind));
        break;
    case F_SCOPE:
        out_text(out, si->target.scope);
        break;
    case F_QUEUE:
        if (si->target.scope.ptr)
            queue_id_column(out, inv);
        break;
    case F_LIMIT_KEY:
        out_text(out, si->limit_key);
        break;
    case F_IDEMPOTENCY_KEY:
        out_text(out, si->idempotency_key);
        break;
    case F_PINNED_DEPLOYMENT:
        if (inv->pinned)
            out_resource(out, RESOURCE_DEPLOYMENT, inv->deployment_id);
        break;
    case F_PINNED_PROTOCOL:
        if (inv->pinned)
            sqlite3_result_int64(out, inv->protocol_version);
        break;
    case F_TRACE_ID:
        if (started(inv))
            out_trace(out, si->traceparent);
        break;
    case F_JOURNAL_SIZE:
        if (started(inv))
            sqlite3_result_int64(out, (sqlite3_int64)inv->journal.len);
        break;
    case F_JOURNAL_COMMANDS:
        if (started(inv))
            sqlite3_result_int64(out, inv->commands);
        break;
    case F_CREATED_USING:
        out_text(out, si->created_using);
        break;
    case F_COMPLETION_RETENTION:
        sqlite3_result_int64(out, (sqlite3_int64)MIN(si->completion_retention_ms, (uint64_t)INT64_MAX));
        break;
    case F_JOURNAL_RETENTION:
        sqlite3_result_int64(out, (sqlite3_int64)MIN(si->journal_retention_ms, (uint64_t)INT64_MAX));
        break;
    case F_WAITING_COMPLETIONS:
    case F_WAITING_SIGNALS:
    case F_WAITING_FUTURE:
        out_waiting(c, out, inv, field);
        break;
    default:
        source_column(c, out, field);
        time_column(c, out, field);
    }
}

/* ---- attempts ---- */

static void out_last_failure(struct cursor *c, sqlite3_context *out,
                             const struct invocation_attempt_status *s)
{
    if (!s->last_error_doc_code[0]) /* the code itself may be 0: an Error without fields */
        return;
    struct writer w = WRITER_INIT;
    write_slice_raw(&w, s->last_error_message);
    if (s->last_error_stacktrace.len) {
        write_u8(&w, '\n');
        write_slice_raw(&w, s->last_error_stacktrace);
    }
    out_failure(out, &c->text, s->last_error_code, writer_slice(&w), true);
    writer_free(&w);
}

static void out_awaiting_on(struct cursor *c, sqlite3_context *out, struct slice future)
{
    if (!future.len)
        return;
    const struct awaiting awaiting = {.is_tree = true, .encoded = {.ptr = future.ptr, .len = future.len}};
    writer_reset(&c->text);
    document_future(&c->text, &awaiting);
    out_text(out, writer_slice(&c->text));
}

static void attempt_column(struct cursor *c, sqlite3_context *out, uint8_t field)
{
    if (!c->attempt)
        return;
    const struct invocation_attempt_status *s = &c->attempt->status;
    switch (field) {
    case F_IN_FLIGHT:
        sqlite3_result_int(out, s->in_flight);
        break;
    case F_RETRY_COUNT:
        sqlite3_result_int64(out, s->retry_count);
        break;
    case F_LAST_START_AT:
        out_time(out, s->last_start_at_ms);
        break;
    case F_ATTEMPT_DEPLOYMENT:
        if (s->last_attempt_deployment_id.hi || s->last_attempt_deployment_id.lo)
            out_resource(out, RESOURCE_DEPLOYMENT, s->last_attempt_deployment_id);
        break;
    case F_ATTEMPT_SERVER:
        if (s->last_attempt_server[0])
            out_text(out, slice_cstr(s->last_attempt_server));
        break;
    case F_AWAITING_ON:
        out_awaiting_on(c, out, s->awaiting_on);
        break;
    case F_NEXT_RETRY_AT:
        out_time(out, s->next_retry_at_ms);
        break;
    case F_LAST_FAILURE:
        out_last_failure(c, out, s);
        break;
    case F_LAST_FAILURE_CODE:
        if (s->last_error_doc_code[0])
            out_text(out, slice_cstr(s->last_error_doc_code));
        break;
    case F_COMMAND_INDEX:
        if (s->has_related_command_index)
            sqlite3_result_int64(out, s->related_command_index);
        break;
    case F_COMMAND_NAME:
        if (s->related_command_name.len)
            out_text(out, s->related_command_name);
        break;
    case F_COMMAND_TYPE:
        if (s->related_command_type.len)
            out_text(out, s->related_command_type);
        break;
    }
}

void invocation_column(struct cursor *c, sqlite3_context *out, uint8_t field)
{
    struct invocation_id id = c->inv ? c->inv->id : c->attempt->id;
    if (field == F_ID)
        out_id(out, id);
    else if (field == F_PARTITION_KEY)
        out_key(out, id.partition_key);
    else if (field >= F_FIRST_OF_ATTEMPT)
        attempt_column(c, out, field);
    else if (field != F_NULL && c->inv)
        status_column(c, out,
                      c->aux->table->id == TABLE_SYS_INVOCATION && field == F_RAW_STATUS ? F_STATUS : field);
}

static bool belongs(enum sql_table_id table, const struct invocation *inv)
{
    if (sql_table_of_queue_entries(table))
        return inv->si.target.scope.ptr;
    return table != TABLE_SYS_IDEMPOTENCY || inv->si.idempotency_key.ptr;
}

bool invocation_row_next(struct cursor *c)
{
    do {
        c->inv = store_scan_invocation(c->request.scan);
    } while (c->inv && !belongs(c->aux->table->id, c->inv));
    if (!c->inv)
        return false;
    c->attempt = c->request.want_attempts ? query_attempts_find(&c->request.attempts, c->inv->id) : NULL;
    return true;
}

bool attempt_row_next(struct cursor *c)
{
    if (c->item >= c->request.attempts.list.len)
        return false;
    c->attempt = c->request.attempts.list.items[c->item++];
    return true;
}

void idempotency_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct service_invocation *si = &c->inv->si;
    switch (column) {
    case 0:
        out_key(out, c->inv->id.partition_key);
        break;
    case 1:
        out_text(out, si->target.service);
        break;
    case 2:
        out_text(out, si->target.key);
        break;
    case 3:
        out_text(out, si->target.handler);
        break;
    case 4:
        out_text(out, si->idempotency_key);
        break;
    default:
        out_id(out, c->inv->id);
    }
}

/* ---- journal and events ---- */

bool journal_row_next(struct cursor *c)
{
    bool events = c->aux->table->id == TABLE_SYS_JOURNAL_EVENTS;
    for (c->item++;; c->item = 0) {
        if (c->inv && c->item < (events ? c->inv->events.len : c->inv->journal.len))
            return true;
        c->inv = store_scan_invocation(c->request.scan);
        if (!c->inv)
            return false;
        c->item = 0;
        if (c->item < (events ? c->inv->events.len : c->inv->journal.len))
            return true;
    }
}

void journal_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct journal_entry *e = &c->inv->journal.items[c->item];
    struct slice name;
    writer_reset(&c->text);
    switch (column) {
    case 0:
        out_key(out, c->inv->id.partition_key);
        break;
    case 1:
        out_id(out, c->inv->id);
        break;
    case 2:
        sqlite3_result_int64(out, (sqlite3_int64)c->item);
        break;
    case 3:
        if (document_entry_type(&c->text, e->type))
            out_text(out, writer_slice(&c->text));
        break;
    case 4:
        if (document_entry_name(e, &name))
            out_text(out, name.ptr ? name : SLICE_LIT(""));
        break;
    case 10:
        out_blob(out, bytes_slice(e->payload));
        break;
    case 11:
        sqlite3_result_int64(out, (sqlite3_int64)e->payload.len);
        break;
    case 12:
        sqlite3_result_int(out, 2);
        break;
    case 13:
        if (document_entry(&c->text, e, c->q->schema, &c->q->defaults))
            out_text(out, writer_slice(&c->text));
        break;
    case 14:
        if (document_entry_lite(&c->text, e, c->q->schema))
            out_text(out, writer_slice(&c->text));
        break;
    case 15:
        out_time(out, e->appended_at_ms);
        break;
    default: /* only entries of old protocol versions have these */
        break;
    }
}

/* {"ty":"<type>",...} */
static struct slice event_type(struct slice json)
{
    static const char head[] = "{\"ty\":\"";
    if (!slice_starts_with(json, SLICE_LIT(head)))
        return SLICE_LIT("Unknown");
    size_t from = sizeof(head) - 1;
    ptrdiff_t end = slice_find(json, '"', from);
    return end < 0 ? SLICE_LIT("Unknown") : slice_sub(json, from, (size_t)end - from);
}

void event_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct journal_event *e = &c->inv->events.items[c->item];
    switch (column) {
    case 0:
        out_key(out, c->inv->id.partition_key);
        break;
    case 1:
        out_id(out, c->inv->id);
        break;
    case 2:
        sqlite3_result_int64(out, e->after_entry_index);
        break;
    case 3:
        out_time(out, e->at_ms);
        break;
    case 4:
        out_text(out, event_type(bytes_slice(e->json)));
        break;
    default:
        out_text(out, bytes_slice(e->json));
    }
}
