/* The tables that SQL sees: names, columns, types, order (spec/sql.md §3, §4, §6). There are two catalogs
 * that do not know each other: the one behind /query and the one of the cluster. Immutable, any thread. */
#pragma once
#include "query/types.h"

enum sql_context { SQL_CONTEXT_ADMIN, SQL_CONTEXT_CLUSTER };

enum sql_table_id {
    /* partitioned, from the stores and the leaders' memory */
    TABLE_SYS_INVOCATION_STATUS,
    TABLE_SYS_INVOCATION_STATE,
    TABLE_SYS_INVOCATION,
    TABLE_SYS_INBOX,
    TABLE_SYS_JOURNAL,
    TABLE_SYS_JOURNAL_EVENTS,
    TABLE_SYS_KEYED_SERVICE_STATUS,
    TABLE_SYS_PROMISE,
    TABLE_STATE_ENTRIES,
    TABLE_SYS_LOCKS,
    TABLE_SYS_USER_LIMITS,
    TABLE_SYS_SCHEDULER,
    TABLE_SYS_VQUEUES,
    TABLE_SYS_VQUEUE_ENTRY_STATUS,
    TABLE_SYS_VQUEUE_META,
    TABLE_SYS_IDEMPOTENCY,
    /* from the schema registry */
    TABLE_SYS_SERVICE,
    TABLE_SYS_DEPLOYMENT,
    /* of the cluster */
    TABLE_SYS_RULES,
    TABLE_NODES,
    TABLE_PARTITIONS,
    TABLE_PARTITION_STATE,
    TABLE_PARTITION_REPLICA_SET,
    TABLE_LOGS,
    TABLE_LOGS_TAIL_SEGMENTS,
    TABLE_BIFROST_READ_STREAMS,
    TABLE_LOGLET_WORKERS,
    TABLE_CONFIG,
    /* information_schema */
    TABLE_IS_TABLES,
    TABLE_IS_COLUMNS,
    TABLE_IS_VIEWS,
    TABLE_IS_SCHEMATA,
    SQL_TABLES,
    TABLE_CLUSTER_FIRST = TABLE_SYS_RULES,
};

struct sql_column {
    const char *name;
    enum sql_type type;
    bool not_null;
    bool invocation_id; /* a literal compared with it must be one (spec/sql.md §7) */
};
struct sql_table {
    enum sql_table_id id;
    const char *name;
    const struct sql_column *columns;
    size_t n_columns;
    bool view;
    bool hidden;        /* not in information_schema */
    const char *schema; /* "public" or "information_schema" */
};

/* In the order of enum sql_table_id. */
extern const struct sql_table sql_tables[SQL_TABLES];
static inline bool sql_table_is_information(enum sql_table_id id)
{
    return id >= TABLE_IS_TABLES;
}
static inline bool sql_table_of_queue_entries(enum sql_table_id id)
{
    return id == TABLE_SYS_VQUEUES || id == TABLE_SYS_VQUEUE_ENTRY_STATUS;
}
bool sql_table_in(const struct sql_table *t, enum sql_context context);
/* NULL if there is none. `schema` NULL: public. */
const struct sql_table *sql_table_find(enum sql_context context, struct slice schema, struct slice name);

/* Positions of columns that code refers to. */
enum { STATUS_COLUMNS = 38, STATE_COLUMNS = 17, INVOCATION_COLUMNS = 51 };
