/* The schema of every table (query/catalog.h). Column order is the order of `SELECT *`. */
#include "query/catalog.h"

#define ID(name)                                                                                             \
    {                                                                                                        \
        name, SQL_LARGE_UTF8, false, true                                                                    \
    }
#define COL(name, t)                                                                                         \
    {                                                                                                        \
        name, SQL_##t, false, false                                                                          \
    }
#define REQ(name, t)                                                                                         \
    {                                                                                                        \
        name, SQL_##t, true, false                                                                           \
    }

static const struct sql_column status_columns[] = {
    COL("partition_key", U64_KEY),
    ID("id"),
    COL("vqueue_id", LARGE_UTF8),
    COL("status", LARGE_UTF8),
    COL("completion_result", LARGE_UTF8),
    COL("completion_failure", LARGE_UTF8),
    COL("target", LARGE_UTF8),
    COL("target_service_name", LARGE_UTF8),
    COL("target_service_key", LARGE_UTF8),
    COL("target_handler_name", LARGE_UTF8),
    COL("target_service_ty", LARGE_UTF8),
    COL("scope", LARGE_UTF8),
    COL("limit_key", LARGE_UTF8),
    COL("idempotency_key", LARGE_UTF8),
    COL("invoked_by", LARGE_UTF8),
    COL("invoked_by_id", LARGE_UTF8),
    COL("invoked_by_subscription_id", LARGE_UTF8),
    COL("invoked_by_service_name", LARGE_UTF8),
    COL("invoked_by_target", LARGE_UTF8),
    COL("restarted_from", LARGE_UTF8),
    COL("pinned_deployment_id", LARGE_UTF8),
    COL("pinned_service_protocol_version", U32),
    COL("trace_id", LARGE_UTF8),
    COL("journal_size", U32),
    COL("journal_commands_size", U32),
    COL("created_at", TIME_MS),
    COL("created_using_restate_version", LARGE_UTF8),
    COL("modified_at", TIME_MS),
    COL("inboxed_at", TIME_MS),
    COL("scheduled_at", TIME_MS),
    COL("scheduled_start_at", TIME_MS),
    COL("running_at", TIME_MS),
    COL("completed_at", TIME_MS),
    COL("completion_retention", DURATION_MS),
    COL("journal_retention", DURATION_MS),
    COL("suspended_waiting_for_completions", LIST_U32),
    COL("suspended_waiting_for_signals", LIST_U32),
    COL("suspended_waiting_future_json", LARGE_UTF8),
};
static const struct sql_column state_columns[] = {
    COL("partition_key", U64_KEY),
    ID("id"),
    COL("in_flight", BOOL),
    COL("retry_count", U64),
    COL("last_start_at", TIME_MS),
    COL("last_attempt_deployment_id", LARGE_UTF8),
    COL("last_attempt_server", LARGE_UTF8),
    COL("next_retry_at", TIME_MS),
    COL("last_failure", LARGE_UTF8),
    COL("last_failure_error_code", LARGE_UTF8),
    COL("last_failure_related_command_index", U64),
    COL("last_failure_related_command_name", LARGE_UTF8),
    COL("last_failure_related_command_type", LARGE_UTF8),
    COL("last_failure_related_entry_index", U64),
    COL("last_failure_related_entry_name", LARGE_UTF8),
    COL("last_failure_related_entry_type", LARGE_UTF8),
    COL("last_awaiting_on_future_json", LARGE_UTF8),
};
static const struct sql_column invocation_columns[] = {
    ID("id"),
    COL("vqueue_id", LARGE_UTF8),
    COL("target", LARGE_UTF8),
    COL("target_service_name", LARGE_UTF8),
    COL("target_service_key", LARGE_UTF8),
    COL("target_handler_name", LARGE_UTF8),
    COL("target_service_ty", LARGE_UTF8),
    COL("scope", LARGE_UTF8),
    COL("limit_key", LARGE_UTF8),
    COL("idempotency_key", LARGE_UTF8),
    COL("invoked_by", LARGE_UTF8),
    COL("invoked_by_service_name", LARGE_UTF8),
    COL("invoked_by_id", LARGE_UTF8),
    COL("invoked_by_subscription_id", LARGE_UTF8),
    COL("invoked_by_target", LARGE_UTF8),
    COL("restarted_from", LARGE_UTF8),
    COL("pinned_deployment_id", LARGE_UTF8),
    COL("pinned_service_protocol_version", U32),
    COL("trace_id", LARGE_UTF8),
    COL("journal_size", U32),
    COL("journal_commands_size", U32),
    COL("created_at", TIME_MS),
    COL("created_using_restate_version", LARGE_UTF8),
    COL("modified_at", TIME_MS),
    COL("inboxed_at", TIME_MS),
    COL("scheduled_at", TIME_MS),
    COL("scheduled_start_at", TIME_MS),
    COL("running_at", TIME_MS),
    COL("completed_at", TIME_MS),
    COL("completion_retention", DURATION_MS),
    COL("journal_retention", DURATION_MS),
    COL("suspended_waiting_for_completions", LIST_U32),
    COL("suspended_waiting_for_signals", LIST_U32),
    COL("suspended_waiting_future_json", LARGE_UTF8),
    COL("retry_count", U64),
    COL("last_start_at", TIME_MS),
    COL("next_retry_at", TIME_MS),
    COL("last_attempt_deployment_id", LARGE_UTF8),
    COL("last_attempt_server", LARGE_UTF8),
    COL("last_failure", LARGE_UTF8),
    COL("last_failure_error_code", LARGE_UTF8),
    COL("last_failure_related_entry_index", U64),
    COL("last_failure_related_entry_name", LARGE_UTF8),
    COL("last_failure_related_entry_type", LARGE_UTF8),
    COL("last_failure_related_command_index", U64),
    COL("last_failure_related_command_name", LARGE_UTF8),
    COL("last_failure_related_command_type", LARGE_UTF8),
    COL("last_awaiting_on_future_json", LARGE_UTF8),
    REQ("status", LARGE_UTF8),
    COL("completion_result", LARGE_UTF8),
    COL("completion_failure", LARGE_UTF8),
};
static const struct sql_column inbox_columns[] = {
    COL("partition_key", U64_KEY), COL("service_name", LARGE_UTF8), COL("service_key", LARGE_UTF8), ID("id"),
    COL("sequence_number", U64),   COL("created_at", TIME_MS),
};
static const struct sql_column journal_columns[] = {
    COL("partition_key", U64_KEY),
    ID("id"),
    COL("index", U32),
    COL("entry_type", LARGE_UTF8),
    COL("name", LARGE_UTF8),
    COL("completed", BOOL),
    COL("invoked_id", LARGE_UTF8),
    COL("invoked_target", LARGE_UTF8),
    COL("sleep_wakeup_at", TIME_MS),
    COL("promise_name", LARGE_UTF8),
    COL("raw", LARGE_BINARY),
    COL("raw_length", U64),
    COL("version", U32),
    COL("entry_json", LARGE_UTF8),
    COL("entry_lite_json", LARGE_UTF8),
    COL("appended_at", TIME_MS),
};
static const struct sql_column journal_events_columns[] = {
    COL("partition_key", U64_KEY),         ID("id"),
    COL("after_journal_entry_index", U32), COL("appended_at", TIME_MS),
    COL("event_type", LARGE_UTF8),         COL("event_json", LARGE_UTF8),
};
static const struct sql_column keyed_columns[] = {
    COL("partition_key", U64_KEY),
    COL("service_name", LARGE_UTF8),
    COL("service_key", LARGE_UTF8),
    ID("invocation_id"),
};
static const struct sql_column promise_columns[] = {
    COL("partition_key", U64_KEY),
    COL("scope", LARGE_UTF8),
    COL("service_name", LARGE_UTF8),
    COL("service_key", LARGE_UTF8),
    COL("key", LARGE_UTF8),
    COL("completed", BOOL),
    COL("completion_success_value", LARGE_BINARY),
    COL("completion_success_value_utf8", LARGE_UTF8),
    COL("completion_failure", LARGE_UTF8),
};
static const struct sql_column state_entries_columns[] = {
    COL("partition_key", U64_KEY),  COL("scope", LARGE_UTF8),   COL("service_name", LARGE_UTF8),
    COL("service_key", LARGE_UTF8), COL("key", LARGE_UTF8),     COL("key_length", U64),
    COL("value_utf8", LARGE_UTF8),  COL("value", LARGE_BINARY), COL("value_length", U64),
};
static const struct sql_column idempotency_columns[] = {
    COL("partition_key", U64_KEY),      COL("service_name", LARGE_UTF8),    COL("service_key", LARGE_UTF8),
    COL("service_handler", LARGE_UTF8), COL("idempotency_key", LARGE_UTF8), COL("invocation_id", LARGE_UTF8),
};
static const struct sql_column service_columns[] = {
    COL("name", LARGE_UTF8),          COL("revision", U64), COL("public", BOOL), COL("ty", LARGE_UTF8),
    COL("deployment_id", LARGE_UTF8),
};
static const struct sql_column deployment_columns[] = {
    COL("id", LARGE_UTF8),
    COL("ty", LARGE_UTF8),
    COL("endpoint", LARGE_UTF8),
    COL("created_at", TIME_MS),
    COL("min_service_protocol_version", U32),
    COL("max_service_protocol_version", U32),
    COL("services", LIST_LARGE_UTF8),
};
static const struct sql_column rules_columns[] = {
    COL("pattern", LARGE_UTF8), COL("concurrency", U32), COL("description", LARGE_UTF8),
    COL("disabled", BOOL),      COL("version", U32),     COL("last_modified", TIME_MS),
};
static const struct sql_column locks_columns[] = {
    COL("partition_key", U64_KEY), COL("scope", LARGE_UTF8),       COL("lock_name", LARGE_UTF8),
    COL("acquired_at", TIME_MS),   COL("acquired_by", LARGE_UTF8),
};
static const struct sql_column user_limits_columns[] = {
    COL("partition_key", U64_KEY), COL("scope", LARGE_UTF8),        COL("l1", LARGE_UTF8),
    COL("l2", LARGE_UTF8),         COL("level", LARGE_UTF8),        COL("usage", U32),
    COL("concurrency_limit", U32), COL("rule_pattern", LARGE_UTF8), COL("available", U32),
    COL("num_waiters", U64),
};
static const struct sql_column scheduler_columns[] = {
    COL("partition_key", U64_KEY),
    COL("id", LARGE_UTF8),
    COL("num_inbox", U64),
    COL("status", LARGE_UTF8),
    COL("head_entry_id", LARGE_UTF8),
    COL("scheduled_at", TIME_MS),
    COL("blocked_on", LARGE_UTF8),
    COL("blocked_on_json", LARGE_UTF8),
    COL("invoker_concurrency_block_duration", DURATION_MS),
    COL("throttling_rules_block_duration", DURATION_MS),
    COL("invoker_throttling_block_duration", DURATION_MS),
    COL("invoker_memory_block_duration", DURATION_MS),
    COL("concurrency_rules_block_duration", DURATION_MS),
    COL("lock_block_duration", DURATION_MS),
    COL("deployment_concurrency_block_duration", DURATION_MS),
};
static const struct sql_column vqueues_columns[] = {
    COL("partition_key", U64_KEY),
    COL("id", LARGE_UTF8),
    COL("stage", LARGE_UTF8),
    COL("status", LARGE_UTF8),
    COL("has_lock", BOOL),
    COL("run_at", TIME_MS),
    COL("sequence_number", U64),
    COL("entry_id", LARGE_UTF8),
    COL("entry_kind", LARGE_UTF8),
    COL("created_at", TIME_MS),
    COL("transitioned_at", TIME_MS),
    COL("num_attempts", U32),
    COL("num_errors", U32),
    COL("num_pauses", U32),
    COL("num_suspensions", U32),
    COL("num_yields", U32),
    COL("first_attempt_at", TIME_MS),
    COL("latest_attempt_at", TIME_MS),
    COL("first_runnable_at", TIME_MS),
    COL("deployment", LARGE_UTF8),
};
static const struct sql_column vqueue_entry_status_columns[] = {
    COL("partition_key", U64_KEY),
    COL("entry_id", LARGE_UTF8),
    COL("vqueue_id", LARGE_UTF8),
    COL("stage", LARGE_UTF8),
    COL("status", LARGE_UTF8),
    COL("has_lock", BOOL),
    COL("next_at", TIME_MS),
    COL("sequence_number", U64),
    COL("entry_kind", LARGE_UTF8),
    COL("created_at", TIME_MS),
    COL("transitioned_at", TIME_MS),
    COL("num_attempts", U32),
    COL("num_errors", U32),
    COL("num_pauses", U32),
    COL("num_suspensions", U32),
    COL("num_yields", U32),
    COL("first_attempt_at", TIME_MS),
    COL("latest_attempt_at", TIME_MS),
    COL("first_runnable_at", TIME_MS),
    COL("deployment", LARGE_UTF8),
    COL("needed_memory", U64),
    COL("retry_attempts", U32),
    COL("retry_count_since_last_stored_command", U32),
    COL("latest_attempt_blocked_on_invoker_concurrency", DURATION_MS),
    COL("latest_attempt_blocked_on_throttling_rules", DURATION_MS),
    COL("latest_attempt_blocked_on_invoker_throttling", DURATION_MS),
    COL("latest_attempt_blocked_on_invoker_memory", DURATION_MS),
    COL("latest_attempt_blocked_on_concurrency_rules", DURATION_MS),
    COL("latest_attempt_blocked_on_lock", DURATION_MS),
    COL("latest_attempt_blocked_on_deployment_concurrency", DURATION_MS),
    COL("total_blocked_on_invoker_concurrency", DURATION_MS),
    COL("total_blocked_on_throttling_rules", DURATION_MS),
    COL("total_blocked_on_invoker_throttling", DURATION_MS),
    COL("total_blocked_on_invoker_memory", DURATION_MS),
    COL("total_blocked_on_concurrency_rules", DURATION_MS),
    COL("total_blocked_on_lock", DURATION_MS),
    COL("total_blocked_on_deployment_concurrency", DURATION_MS),
};
static const struct sql_column vqueue_meta_columns[] = {
    COL("partition_key", U64_KEY),
    COL("id", LARGE_UTF8),
    COL("is_active", BOOL),
    COL("queue_is_paused", BOOL),
    COL("service_name", LARGE_UTF8),
    COL("scope", LARGE_UTF8),
    COL("limit_key", LARGE_UTF8),
    COL("lock_name", LARGE_UTF8),
    COL("created_at", TIME_MS),
    COL("last_enqueued_at", TIME_MS),
    COL("last_start_at", TIME_MS),
    COL("last_attempt_at", TIME_MS),
    COL("last_finish_at", TIME_MS),
    COL("avg_queue_duration", DURATION_MS),
    COL("avg_inbox_duration", DURATION_MS),
    COL("avg_run_duration", DURATION_MS),
    COL("avg_suspension_duration", DURATION_MS),
    COL("avg_end_to_end_duration", DURATION_MS),
    COL("avg_blocked_on_concurrency_rules", DURATION_MS),
    COL("avg_blocked_on_invoker_concurrency", DURATION_MS),
    COL("avg_blocked_on_invoker_throttling", DURATION_MS),
    COL("avg_blocked_on_lock", DURATION_MS),
    COL("num_inbox", U64),
    COL("num_running", U64),
    COL("num_suspended", U64),
    COL("num_paused", U64),
    COL("num_finished", U64),
};
static const struct sql_column nodes_columns[] = {
    COL("plain_node_id", UTF8),
    COL("gen_node_id", UTF8),
    COL("state", UTF8),
    COL("name", UTF8),
    COL("address", UTF8),
    COL("ctrl_address", UTF8),
    COL("location", UTF8),
    COL("has_admin_role", BOOL),
    COL("has_worker_role", BOOL),
    COL("has_metadata_server_role", BOOL),
    COL("has_log_server_role", BOOL),
    COL("has_ingress_role", BOOL),
    COL("storage_state", UTF8),
    COL("worker_state", UTF8),
    COL("metadata_server_state", UTF8),
    COL("nodes_configuration_version", U32),
    COL("binary_version", UTF8),
};
static const struct sql_column partitions_columns[] = {
    COL("partition_id", U32),
    COL("start_key", U64_KEY),
    COL("end_key", U64_KEY),
    COL("log_id", U32),
    COL("cf_name", UTF8),
    COL("leader_gen_node_id", UTF8),
    COL("leader_plain_node_id", UTF8),
    COL("leader_epoch", UTF8),
    COL("v_current", U32),
    COL("current_replica_set", UTF8),
    COL("v_next", U32),
    COL("next_replica_set", UTF8),
    COL("partition_table_version", U32),
};
static const struct sql_column partition_state_columns[] = {
    COL("partition_id", U32),
    COL("plain_node_id", UTF8),
    COL("gen_node_id", UTF8),
    COL("target_mode", UTF8),
    COL("effective_mode", UTF8),
    COL("updated_at", TIME_MS),
    COL("leader_epoch", U64),
    COL("leader", UTF8),
    COL("applied_log_lsn", U64),
    COL("last_record_applied_at", TIME_MS),
    COL("replay_status", UTF8),
    COL("durable_log_lsn", U64),
    COL("archived_log_lsn", U64),
    COL("target_tail_lsn", U64),
    COL("applied_rule_book_version", U32),
    COL("applied_schema_version", U32),
    COL("enabled_features", LIST_UTF8),
    COL("broken_reason", UTF8),
    COL("enabled_storage_features", LIST_UTF8),
};
static const struct sql_column partition_replica_set_columns[] = {
    COL("partition_id", U32),  COL("plain_node_id", UTF8),     COL("alive_gen_node_id", UTF8),
    COL("is_leader", BOOL),    COL("membership_version", U32), COL("membership", UTF8),
    COL("leader_epoch", UTF8), COL("durable_lsn", U64),
};
static const struct sql_column logs_columns[] = {
    COL("log_id", U32),       COL("segment_index", U32), COL("base_lsn", U64),
    COL("kind", UTF8),        COL("loglet_id", UTF8),    COL("sequencer", UTF8),
    COL("replication", UTF8), COL("nodeset", UTF8),      COL("logs_metadata_version", U32),
};
static const struct sql_column logs_tail_segments_columns[] = {
    COL("log_id", U32),       COL("segment_index", U32), COL("base_lsn", U64),
    COL("kind", UTF8),        COL("loglet_id", UTF8),    COL("sequencer", UTF8),
    COL("replication", UTF8), COL("nodeset", UTF8),      COL("logs_metadata_version", U32),
};
static const struct sql_column bifrost_read_streams_columns[] = {
    COL("plain_node_id", UTF8),  COL("gen_node_id", UTF8), COL("log_id", U32), COL("loglet_id", UTF8),
    COL("read_pointer", U64),    COL("end_lsn", U64_KEY),  COL("state", UTF8), COL("safe_known_tail", U64),
    COL("current_segment", U32), COL("is_tailing", BOOL),
};
static const struct sql_column loglet_workers_columns[] = {
    COL("plain_node_id", UTF8),      COL("gen_node_id", UTF8),
    COL("loglet_id", UTF8),          COL("log_id", U32),
    COL("segment_index", U32),       COL("local_tail", U32),
    COL("is_sealed", BOOL),          COL("trim_point", U32),
    COL("known_global_tail", U32),   COL("sequencer", UTF8),
    COL("is_active", BOOL),          COL("staging_local_tail", U32),
    COL("seal_enqueued", BOOL),      COL("accepting_writes", BOOL),
    COL("pending_seals", U32),       COL("pending_tail_waiters", U32),
    COL("last_request_at", TIME_MS),
};
static const struct sql_column config_columns[] = {
    COL("plain_node_id", UTF8),
    COL("gen_node_id", UTF8),
    COL("key", UTF8),
    COL("value", UTF8),
};
static const struct sql_column is_tables_columns[] = {
    REQ("table_catalog", UTF8),
    REQ("table_schema", UTF8),
    REQ("table_name", UTF8),
    REQ("table_type", UTF8),
};
static const struct sql_column is_columns_columns[] = {
    REQ("table_catalog", UTF8),         REQ("table_schema", UTF8),      REQ("table_name", UTF8),
    REQ("column_name", UTF8),           REQ("ordinal_position", U64),   COL("column_default", UTF8),
    REQ("is_nullable", UTF8),           REQ("data_type", UTF8),         COL("character_maximum_length", U64),
    COL("character_octet_length", U64), COL("numeric_precision", U64),  COL("numeric_precision_radix", U64),
    COL("numeric_scale", U64),          COL("datetime_precision", U64), COL("interval_type", UTF8),
};
static const struct sql_column is_views_columns[] = {
    REQ("table_catalog", UTF8),
    REQ("table_schema", UTF8),
    REQ("table_name", UTF8),
    COL("definition", UTF8),
};
static const struct sql_column is_schemata_columns[] = {
    REQ("catalog_name", UTF8),
    REQ("schema_name", UTF8),
    COL("schema_owner", UTF8),
    COL("default_character_set_catalog", UTF8),
    COL("default_character_set_schema", UTF8),
    COL("default_character_set_name", UTF8),
    COL("sql_path", UTF8),
};

_Static_assert(ARRAY_LEN(status_columns) == STATUS_COLUMNS, "spec/sql.md 3.1");
_Static_assert(ARRAY_LEN(state_columns) == STATE_COLUMNS, "spec/sql.md 3.2");
_Static_assert(ARRAY_LEN(invocation_columns) == INVOCATION_COLUMNS, "spec/sql.md 3.3");

#define TABLE(id, name, columns, view, hidden, schema)                                                       \
    [id] = {id, name, columns, ARRAY_LEN(columns), view, hidden, schema}
const struct sql_table sql_tables[SQL_TABLES] = {
    TABLE(TABLE_SYS_INVOCATION_STATUS, "sys_invocation_status", status_columns, false, false, "public"),
    TABLE(TABLE_SYS_INVOCATION_STATE, "sys_invocation_state", state_columns, false, false, "public"),
    TABLE(TABLE_SYS_INVOCATION, "sys_invocation", invocation_columns, true, false, "public"),
    TABLE(TABLE_SYS_INBOX, "sys_inbox", inbox_columns, false, false, "public"),
    TABLE(TABLE_SYS_JOURNAL, "sys_journal", journal_columns, false, false, "public"),
    TABLE(TABLE_SYS_JOURNAL_EVENTS, "sys_journal_events", journal_events_columns, false, false, "public"),
    TABLE(TABLE_SYS_KEYED_SERVICE_STATUS, "sys_keyed_service_status", keyed_columns, false, false, "public"),
    TABLE(TABLE_SYS_PROMISE, "sys_promise", promise_columns, false, false, "public"),
    TABLE(TABLE_STATE_ENTRIES, "state", state_entries_columns, false, false, "public"),
    TABLE(TABLE_SYS_IDEMPOTENCY, "sys_idempotency", idempotency_columns, false, true, "public"),
    TABLE(TABLE_SYS_SERVICE, "sys_service", service_columns, false, false, "public"),
    TABLE(TABLE_SYS_DEPLOYMENT, "sys_deployment", deployment_columns, false, false, "public"),
    TABLE(TABLE_SYS_RULES, "sys_rules", rules_columns, false, false, "public"),
    TABLE(TABLE_SYS_LOCKS, "sys_locks", locks_columns, false, false, "public"),
    TABLE(TABLE_SYS_USER_LIMITS, "sys_user_limits", user_limits_columns, false, false, "public"),
    TABLE(TABLE_SYS_SCHEDULER, "sys_scheduler", scheduler_columns, false, false, "public"),
    TABLE(TABLE_SYS_VQUEUES, "sys_vqueues", vqueues_columns, false, false, "public"),
    TABLE(TABLE_SYS_VQUEUE_ENTRY_STATUS, "sys_vqueue_entry_status", vqueue_entry_status_columns, false, false,
          "public"),
    TABLE(TABLE_SYS_VQUEUE_META, "sys_vqueue_meta", vqueue_meta_columns, false, false, "public"),
    TABLE(TABLE_NODES, "nodes", nodes_columns, false, false, "public"),
    TABLE(TABLE_PARTITIONS, "partitions", partitions_columns, false, false, "public"),
    TABLE(TABLE_PARTITION_STATE, "partition_state", partition_state_columns, false, false, "public"),
    TABLE(TABLE_PARTITION_REPLICA_SET, "partition_replica_set", partition_replica_set_columns, false, false,
          "public"),
    TABLE(TABLE_LOGS, "logs", logs_columns, false, false, "public"),
    TABLE(TABLE_LOGS_TAIL_SEGMENTS, "logs_tail_segments", logs_tail_segments_columns, true, false, "public"),
    TABLE(TABLE_BIFROST_READ_STREAMS, "bifrost_read_streams", bifrost_read_streams_columns, false, false,
          "public"),
    TABLE(TABLE_LOGLET_WORKERS, "loglet_workers", loglet_workers_columns, false, false, "public"),
    TABLE(TABLE_CONFIG, "config", config_columns, false, false, "public"),
    TABLE(TABLE_IS_TABLES, "tables", is_tables_columns, true, false, "information_schema"),
    TABLE(TABLE_IS_COLUMNS, "columns", is_columns_columns, true, false, "information_schema"),
    TABLE(TABLE_IS_VIEWS, "views", is_views_columns, true, false, "information_schema"),
    TABLE(TABLE_IS_SCHEMATA, "schemata", is_schemata_columns, true, false, "information_schema"),
};

bool sql_table_in(const struct sql_table *t, enum sql_context context)
{
    if (sql_table_is_information(t->id))
        return true;
    return (t->id >= TABLE_NODES) == (context == SQL_CONTEXT_CLUSTER);
}

const struct sql_table *sql_table_find(enum sql_context context, struct slice schema, struct slice name)
{
    if (!schema.ptr)
        schema = SLICE_LIT("public");
    for (size_t i = 0; i < SQL_TABLES; i++) {
        const struct sql_table *t = &sql_tables[i];
        if (slice_eq_cstr(name, t->name) && slice_eq_cstr(schema, t->schema) && sql_table_in(t, context))
            return t;
    }
    return NULL;
}
