/* The tables as SQLite virtual tables: one read-only module per table, named v<table id>, columns c0, c1, ...
 * Rows come from partitions (one after the other, each opened when it is reached), from the schema registry,
 * or from the catalog. On the query's thread. */
#pragma once
#include <sqlite3.h>

#include "partition/limits.h"
#include "query/bind.h"
#include "query/source.h"

/* Attempts of a partition, kept for the rest of the query once single ones have been asked for often. */
struct attempts_cache {
    unsigned asked;
    bool filled;
    struct query_attempts attempts;
};

/* The rows of a table of the cluster, fetched once. */
struct table_rows {
    bool filled;
    struct row_set rows;
};

/* A query that runs. */
struct query {
    const struct query_source *source;
    enum sql_context context;
    struct schema *schema;
    struct schema_defaults defaults;
    uint64_t now_ms;
    bool (*canceled)(void *ctx); /* asked now and then */
    void *canceled_ctx;
    void (*warn)(void *ctx, struct bytes take); /* warnings of rows_request; NULL: nobody is told */
    void *warn_ctx;
    struct sql_error err; /* why a table could not be read */
    uint32_t n_partitions;
    bool restricted; /* to only_partition: the request of another node is answered */
    uint32_t only_partition;
    struct attempts_cache *attempts;
    struct table_rows *cluster_rows; /* by table, from TABLE_CLUSTER_FIRST on */
    struct table_aux *aux;
};
void query_init(struct query *q, const struct query_source *source, enum sql_context context);
void query_free(struct query *q);
/* Registers the modules; false if SQLite refuses. */
bool tables_register(sqlite3 *db, struct query *q);

/* ---- inside ---- */
enum plan {
    PLAN_BY_ID = 1,        /* argument: an id */
    PLAN_BY_OBJECT = 2,    /* arguments: service, key */
    PLAN_BY_KEY = 4,       /* argument: an object key, which decides the partition */
    PLAN_BY_PARTITION = 8, /* argument: a partition key */
    PLAN_NOT_STATUS = 16,  /* argument: the status that is excluded */
    PLAN_STATUS = 32,      /* argument: the only status */
    PLAN_BY_SCOPE = 64,    /* argument: a scope, which decides the partition */
};
struct table_aux {
    struct query *query;
    const struct sql_table *table;
    uint8_t *fields; /* per column: enum invocation_field, enum queue_field, for their tables; else NULL */
};
struct table {
    sqlite3_vtab base;
    struct table_aux *aux;
    /* columns that plans look at, or -1 */
    int id, service, key, partition_key, status, scope;
    const char *ended; /* what `status` says of an invocation that has completed */
};
struct cursor {
    sqlite3_vtab_cursor base;
    struct query *q;
    const struct table_aux *aux;
    struct table *t;
    bool eof, none;
    sqlite3_int64 rowid;
    /* partitioned tables */
    int plan;
    bool by_id, by_object, one_partition, live_only;
    struct invocation_id id;
    char *service, *key;
    uint32_t partition, end; /* [partition, end) are still to be opened */
    struct partition_request request;
    bool open;
    const struct invocation *inv;
    const struct query_attempt *attempt;
    size_t item; /* journal entry, event, attempt */
    struct scan_row row;
    /* others */
    size_t index, column;
    struct reader rows; /* of the cluster, or the current piece of `stream` */
    struct sql_value *values;
    struct row_stream *stream; /* the partition is read from another node */
    struct bytes piece;
    uint64_t used; /* columns */
    struct writer text;
};

/* rows_invocation.c */
uint8_t invocation_field_find(const char *column);
/* The next row of what is open; false at its end. */
bool invocation_row_next(struct cursor *c);
void invocation_column(struct cursor *c, sqlite3_context *out, uint8_t field);
bool journal_row_next(struct cursor *c);
void journal_column(struct cursor *c, sqlite3_context *out, int column);
void event_column(struct cursor *c, sqlite3_context *out, int column);
bool attempt_row_next(struct cursor *c);
void idempotency_column(struct cursor *c, sqlite3_context *out, int column);
/* rows_queue.c */
uint8_t queue_field_find(const char *column);
void queue_column(struct cursor *c, sqlite3_context *out, uint8_t field);
void queue_id_column(sqlite3_context *out, const struct invocation *inv); /* of one with a scope */
/* Counts the queues of the partition that is open into c->request.rows. A failure's text, NULL if none; what
 * the scan failed with is in c->request.err. */
const char *queue_rows(struct cursor *c);
/* rows_object.c */
bool object_row_next(struct cursor *c);
void object_column(struct cursor *c, sqlite3_context *out, int column);
/* rows_meta.c: position c->index; false at the end */
bool meta_row_at(struct cursor *c);
void meta_column(struct cursor *c, sqlite3_context *out, int column);

/* ---- results of columns ---- */
void out_text(sqlite3_context *out, struct slice s); /* ptr NULL: NULL */
void out_cstr(sqlite3_context *out, const char *s);  /* static text, or NULL */
void out_time(sqlite3_context *out, uint64_t ms);    /* 0: NULL */
void out_utf8(sqlite3_context *out, struct slice s); /* NULL unless UTF-8 */
void out_blob(sqlite3_context *out, struct slice s);
void out_id(sqlite3_context *out, struct invocation_id id);
void out_resource(sqlite3_context *out, enum resource_kind kind, struct u128 id);
void out_key(sqlite3_context *out, uint64_t partition_key);
/* "[418] message", with the status' name between if `named`. */
void out_failure(sqlite3_context *out, struct writer *w, uint32_t code, struct slice message, bool named);
