/* The virtual table module: plans, cursors, partitions one after the other (query/tables.h). */
#include "query/tables.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/remote.h"

#define CACHE_ATTEMPTS_AFTER 8u /* single look-ups in a partition before all of them are fetched */

/* ---- results of columns ---- */

void out_text(sqlite3_context *out, struct slice s)
{
    if (s.ptr)
        sqlite3_result_text64(out, (const char *)s.ptr, s.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

void out_cstr(sqlite3_context *out, const char *s)
{
    if (s)
        sqlite3_result_text(out, s, -1, SQLITE_STATIC);
}

void out_time(sqlite3_context *out, uint64_t ms)
{
    if (ms)
        sqlite3_result_int64(out, (sqlite3_int64)MIN(ms, (uint64_t)INT64_MAX));
}

void out_utf8(sqlite3_context *out, struct slice s)
{
    if (slice_is_utf8(s))
        out_text(out, s.ptr ? s : SLICE_LIT(""));
}

void out_blob(sqlite3_context *out, struct slice s)
{
    if (s.len)
        sqlite3_result_blob64(out, s.ptr, s.len, SQLITE_TRANSIENT);
    else
        sqlite3_result_zeroblob(out, 0);
}

void out_id(sqlite3_context *out, struct invocation_id id)
{
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(id, text);
    sqlite3_result_text(out, text, INVOCATION_ID_TEXT, SQLITE_TRANSIENT);
}

void out_resource(sqlite3_context *out, enum resource_kind kind, struct u128 id)
{
    char text[RESOURCE_ID_TEXT_MAX];
    resource_id_format(kind, id, text);
    sqlite3_result_text(out, text, -1, SQLITE_TRANSIENT);
}

void out_key(sqlite3_context *out, uint64_t partition_key)
{
    sqlite3_result_int64(out, u64_to_key(partition_key));
}

void out_failure(sqlite3_context *out, struct writer *w, uint32_t code, struct slice message, bool named)
{
    const char *name = named ? failure_code_name(code) : NULL;
    writer_reset(w);
    write_fmt(w, "[%u%s%s] ", code, name ? " " : "", name ? name : "");
    write_slice_raw(w, message);
    out_text(out, writer_slice(w));
}

/* ---- life of tables ---- */

static bool partitioned(enum sql_table_id id)
{
    return id <= TABLE_SYS_IDEMPOTENCY;
}

static bool of_objects(enum sql_table_id id)
{
    return id == TABLE_SYS_INBOX || id == TABLE_SYS_KEYED_SERVICE_STATUS || id == TABLE_SYS_PROMISE ||
           id == TABLE_STATE_ENTRIES || id == TABLE_SYS_LOCKS;
}

/* Rows that come whole from the partition's loop. */
static bool of_limits(enum sql_table_id id)
{
    return id == TABLE_SYS_USER_LIMITS || id == TABLE_SYS_SCHEDULER;
}

/* Rows that are read as bytes. */
static bool row_bytes(enum sql_table_id id)
{
    return of_limits(id) || id == TABLE_SYS_VQUEUE_META;
}

static int column_of(const struct sql_table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return (int)i;
    return -1;
}

static int table_connect(sqlite3 *db, void *aux_, int argc, const char *const *argv, sqlite3_vtab **out,
                         char **err)
{
    struct table_aux *aux = aux_;
    struct writer w = WRITER_INIT;
    write_fmt(&w, "CREATE TABLE x(");
    for (size_t i = 0; i < aux->table->n_columns; i++)
        write_fmt(&w, "%sc%zu", i ? "," : "", i);
    write_raw(&w, ")", 2);
    int rc = sqlite3_declare_vtab(db, (const char *)w.buf->data);
    writer_free(&w);
    if (rc != SQLITE_OK)
        return rc;
    struct table *t = sqlite3_malloc(sizeof(*t));
    if (!t)
        return SQLITE_NOMEM;
    memset(t, 0, sizeof(*t));
    const struct sql_table *def = aux->table;
    bool objects = of_objects(def->id), entries = sql_table_of_queue_entries(def->id),
         view = def->id == TABLE_SYS_INVOCATION || def->id == TABLE_SYS_INVOCATION_STATUS;
    t->aux = aux;
    t->id = objects || row_bytes(def->id) ? -1 : column_of(def, entries ? "entry_id" : "id");
    t->service = objects ? column_of(def, "service_name") : -1;
    t->key = objects ? column_of(def, "service_key") : view ? column_of(def, "target_service_key") : -1;
    t->partition_key = column_of(def, "partition_key");
    t->status = view ? column_of(def, "status") : entries ? column_of(def, "stage") : -1;
    t->ended = entries ? "finished" : "completed";
    bool scope_decides =
        objects || view || def->id == TABLE_SYS_USER_LIMITS || def->id == TABLE_SYS_VQUEUE_META;
    t->scope = scope_decides ? column_of(def, "scope") : -1;
    sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    *out = &t->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *v)
{
    sqlite3_free(v);
    return SQLITE_OK;
}

/* ---- plans ---- */

struct found {
    int id, service, key, partition_key, status, not_status, scope; /* position of the constraint, or -1 */
    bool unscoped;                                                  /* scope IS NULL */
};

static struct found find_constraints(const struct table *t, const sqlite3_index_info *info)
{
    struct found f = {-1, -1, -1, -1, -1, -1, -1, false};
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (!c->usable || c->iColumn < 0)
            continue;
        if (c->op == SQLITE_INDEX_CONSTRAINT_NE && c->iColumn == t->status)
            f.not_status = i;
        if (c->op == SQLITE_INDEX_CONSTRAINT_ISNULL && c->iColumn == t->scope)
            f.unscoped = true;
        if (c->op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (c->iColumn == t->id)
            f.id = i;
        else if (c->iColumn == t->service)
            f.service = i;
        else if (c->iColumn == t->key)
            f.key = i;
        else if (c->iColumn == t->partition_key)
            f.partition_key = i;
        else if (c->iColumn == t->status)
            f.status = i;
        else if (c->iColumn == t->scope)
            f.scope = i;
    }
    /* With a scope, the key of an object says nothing about where its rows are. */
    if (t->aux->query->source->scopes && !f.unscoped)
        f.key = -1;
    return f;
}

static void use(sqlite3_index_info *info, int constraint, int *argument)
{
    info->aConstraintUsage[constraint].argvIndex = ++*argument;
}

/* Everything is checked again by SQLite: plans only say where not to look. */
static int table_best_index(sqlite3_vtab *v, sqlite3_index_info *info)
{
    struct table *t = (struct table *)v;
    struct found f = find_constraints(t, info);
    int argument = 0;
    bool big = partitioned(t->aux->table->id);
    info->idxStr = sqlite3_mprintf("%llx", info->colUsed);
    info->needToFreeIdxStr = 1;
    info->estimatedCost = big ? 1e6 : 1e2;
    info->estimatedRows = big ? 100000 : 50;
    if (!big)
        return SQLITE_OK;
    if (f.id >= 0) {
        info->idxNum = PLAN_BY_ID;
        use(info, f.id, &argument);
        info->estimatedCost = 10;
        info->estimatedRows = 1;
    } else if (f.scope >= 0) {
        info->idxNum = PLAN_BY_SCOPE;
        use(info, f.scope, &argument);
        info->estimatedCost = 1e5;
    } else if (f.service >= 0 && f.key >= 0) {
        info->idxNum = PLAN_BY_OBJECT;
        use(info, f.service, &argument);
        use(info, f.key, &argument);
        info->estimatedCost = 20;
        info->estimatedRows = 5;
    } else if (f.key >= 0) {
        info->idxNum = PLAN_BY_KEY;
        use(info, f.key, &argument);
        info->estimatedCost = 1e5;
    } else if (f.partition_key >= 0) {
        info->idxNum = PLAN_BY_PARTITION;
        use(info, f.partition_key, &argument);
        info->estimatedCost = 1e5;
    }
    if (f.id < 0 && f.status >= 0) {
        info->idxNum |= PLAN_STATUS;
        use(info, f.status, &argument);
        info->estimatedCost /= 2;
        info->estimatedRows /= 2;
    } else if (f.id < 0 && f.not_status >= 0) {
        info->idxNum |= PLAN_NOT_STATUS;
        use(info, f.not_status, &argument);
        info->estimatedCost /= 2;
    }
    return SQLITE_OK;
}

/* ---- cursors ---- */

static int cursor_open(sqlite3_vtab *v, sqlite3_vtab_cursor **out)
{
    struct cursor *c = xcalloc(1, sizeof(*c));
    c->t = (struct table *)v;
    c->aux = c->t->aux;
    c->q = c->aux->query;
    *out = &c->base;
    return SQLITE_OK;
}

static void close_partition(struct cursor *c)
{
    if (c->stream)
        c->stream->ops->close(c->stream);
    else if (c->open)
        partition_request_release(&c->request);
    c->stream = NULL;
    bytes_unref(&c->piece);
    c->piece = BYTES_EMPTY;
    c->open = false;
    c->inv = NULL;
    c->attempt = NULL;
    c->item = 0;
}

static void cursor_reset(struct cursor *c)
{
    close_partition(c);
    free(c->service);
    free(c->key);
    c->service = c->key = NULL;
    c->by_id = c->by_object = c->one_partition = c->live_only = c->none = c->eof = false;
    c->index = c->column = 0;
    c->rowid = 0;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    cursor_reset(c);
    writer_free(&c->text);
    free(c->values);
    free(c);
    return SQLITE_OK;
}

static int cursor_fail(struct cursor *c, enum sql_error_kind kind, const char *message)
{
    sql_fail(&c->q->err, kind, "%s", message);
    sqlite3_free(c->base.pVtab->zErrMsg);
    c->base.pVtab->zErrMsg = sqlite3_mprintf("%s", message);
    return SQLITE_ERROR;
}

static enum scan_kind scan_of(enum sql_table_id id)
{
    switch (id) {
    case TABLE_SYS_JOURNAL:
    case TABLE_SYS_JOURNAL_EVENTS:
        return SCAN_JOURNALS;
    case TABLE_SYS_KEYED_SERVICE_STATUS:
    case TABLE_SYS_LOCKS:
        return SCAN_LOCKS;
    case TABLE_SYS_INBOX:
        return SCAN_INBOX;
    case TABLE_STATE_ENTRIES:
        return SCAN_STATE;
    case TABLE_SYS_PROMISE:
        return SCAN_PROMISES;
    default:
        return SCAN_INVOCATIONS;
    }
}

static struct query_wait wait_of(const struct query *q)
{
    return (struct query_wait){q->canceled, q->canceled_ctx};
}

static enum rc ask(struct cursor *c, struct partition_request *r)
{
    const struct query_source *s = c->q->source;
    struct query_wait wait = wait_of(c->q);
    enum rc rc = s->ops->visit(s->ctx, r, &wait);
    return rc == RC_OK && r->scan ? store_scan_error(r->scan, &r->err) : rc;
}

static int visited(struct cursor *c, struct partition_request *r, enum rc asked)
{
    if (asked == RC_OK)
        return SQLITE_OK;
    enum sql_error_kind kind = r->err.rc == RC_CANCELED ? SQL_ERROR_CANCELED : SQL_ERROR_EXECUTION;
    int rc = cursor_fail(c, kind, r->err.msg);
    partition_request_release(r);
    return rc;
}

/* ---- partitions of other nodes ---- */

static int remote_failed(struct cursor *c, const struct err *err)
{
    return cursor_fail(c, err->rc == RC_CANCELED ? SQL_ERROR_CANCELED : SQL_ERROR_EXECUTION, err->msg);
}

static void rows_begin(struct cursor *c, struct slice rows)
{
    if (!c->values)
        c->values = xcalloc(c->aux->table->n_columns, sizeof(*c->values));
    c->rows = reader_make(rows);
}

static int open_remote(struct cursor *c, uint32_t partition)
{
    const struct query_source *s = c->q->source;
    struct query_wait wait = wait_of(c->q);
    struct scan_request r = {.partition = partition,
                             .table = c->aux->table->id,
                             .used = c->used,
                             .now_ms = c->q->now_ms,
                             .by_id = c->by_id,
                             .by_object = c->by_object,
                             .live_only = c->live_only,
                             .id = c->id,
                             .service = slice_cstr(c->service),
                             .key = slice_cstr(c->key)};
    struct writer w = WRITER_INIT;
    struct err err = {0};
    scan_request_encode(&w, &r);
    partition_request_release(&c->request);
    enum rc rc = s->ops->remote(s->ctx, partition, writer_slice(&w), &wait, &c->stream, &err);
    writer_free(&w);
    if (rc != RC_OK)
        return remote_failed(c, &err);
    rows_begin(c, SLICE_EMPTY);
    c->open = true;
    return SQLITE_OK;
}

/* 1: a row, 0: the end, -1: failed. */
static int remote_row(struct cursor *c)
{
    struct err err = {0};
    while (!row_read(&c->rows, c->values, c->aux->table->n_columns)) {
        bytes_unref(&c->piece);
        c->piece = BYTES_EMPTY;
        if (c->rows.failed)
            err_set(&err, RC_CORRUPT, "rows of another node are damaged");
        else
            c->stream->ops->next(c->stream, &c->piece, &err);
        if (err.rc != RC_OK) {
            remote_failed(c, &err);
            return -1;
        }
        if (c->piece.len == 0)
            return 0;
        c->rows = reader_make(bytes_slice(c->piece));
    }
    return 1;
}

/* Single look-ups of attempts, as in joins: after some of them the whole partition is fetched and kept. */
static bool from_cache(struct cursor *c, uint32_t partition, int *rc)
{
    struct attempts_cache *cache = &c->q->attempts[partition];
    if (!cache->filled && ++cache->asked <= CACHE_ATTEMPTS_AFTER)
        return false;
    *rc = SQLITE_OK;
    if (!cache->filled) {
        struct partition_request r = {.partition = partition, .want_attempts = true};
        enum rc asked = ask(c, &r);
        if (asked == RC_NOT_LEADER && c->q->source->ops->remote) {
            partition_request_release(&r);
            return false; /* asked one by one */
        }
        *rc = visited(c, &r, asked);
        if (*rc != SQLITE_OK)
            return true;
        cache->attempts = r.attempts;
        cache->filled = true;
    }
    c->attempt = query_attempts_find(&cache->attempts, c->id);
    return true;
}

static int open_partition(struct cursor *c, uint32_t partition)
{
    enum sql_table_id id = c->aux->table->id;
    c->request = (struct partition_request){
        .partition = partition,
        .want_store = id != TABLE_SYS_INVOCATION_STATE && !of_limits(id),
        .want_rows = row_bytes(id) ? id : 0,
        .want_attempts = id == TABLE_SYS_INVOCATION_STATE || id == TABLE_SYS_INVOCATION,
        .kind = scan_of(id),
        .filter = {.by_id = c->by_id,
                   .id = c->id,
                   .by_object = c->by_object,
                   .service = slice_cstr(c->service),
                   .key = slice_cstr(c->key),
                   .live_only = c->live_only,
                   .now_ms = c->q->now_ms},
    };
    enum rc asked = ask(c, &c->request);
    if (asked == RC_NOT_LEADER && c->q->source->ops->remote && !c->q->restricted)
        return open_remote(c, partition);
    int rc = visited(c, &c->request, asked);
    c->open = rc == SQLITE_OK;
    const char *failure = c->open && id == TABLE_SYS_VQUEUE_META ? queue_rows(c) : NULL;
    if (failure)
        return cursor_fail(c, SQL_ERROR_EXECUTION, failure);
    if (c->open && row_bytes(id))
        rows_begin(c, writer_slice(&c->request.rows.bytes));
    return rc;
}

static bool row_of_partition(struct cursor *c)
{
    switch (c->aux->table->id) {
    case TABLE_SYS_USER_LIMITS:
    case TABLE_SYS_SCHEDULER:
    case TABLE_SYS_VQUEUE_META:
        return row_read(&c->rows, c->values, c->aux->table->n_columns);
    case TABLE_SYS_INVOCATION_STATE:
        return attempt_row_next(c);
    case TABLE_SYS_JOURNAL:
    case TABLE_SYS_JOURNAL_EVENTS:
        return journal_row_next(c);
    case TABLE_SYS_INVOCATION:
    case TABLE_SYS_INVOCATION_STATUS:
    case TABLE_SYS_VQUEUES:
    case TABLE_SYS_VQUEUE_ENTRY_STATUS:
    case TABLE_SYS_IDEMPOTENCY:
        return invocation_row_next(c);
    default:
        return object_row_next(c);
    }
}

/* To the next row, over the ends of partitions. */
static int partitioned_next(struct cursor *c)
{
    for (;;) {
        if (c->q->canceled && c->q->canceled(c->q->canceled_ctx))
            return cursor_fail(c, SQL_ERROR_CANCELED, "the query was canceled");
        int remote = c->stream ? remote_row(c) : 0;
        if (remote < 0)
            return SQLITE_ERROR;
        if (remote > 0 || (c->open && !c->stream && row_of_partition(c)))
            return SQLITE_OK;
        struct err err = {0};
        if (c->open && !c->stream && c->request.scan && store_scan_error(c->request.scan, &err) != RC_OK)
            return cursor_fail(c, SQL_ERROR_EXECUTION, err.msg);
        close_partition(c);
        if (c->partition >= c->end) {
            c->eof = true;
            return SQLITE_OK;
        }
        int rc = open_partition(c, c->partition++);
        if (rc != SQLITE_OK)
            return rc;
    }
}

/* ---- tables of the cluster ---- */

static bool of_cluster(enum sql_table_id id)
{
    return id >= TABLE_CLUSTER_FIRST && id < TABLE_IS_TABLES;
}

static int cluster_next(struct cursor *c)
{
    c->eof = !row_read(&c->rows, c->values, c->aux->table->n_columns);
    return c->rows.failed ? cursor_fail(c, SQL_ERROR_EXECUTION, "rows of the cluster are damaged")
                          : SQLITE_OK;
}

static int cluster_open(struct cursor *c)
{
    struct table_rows *t = &c->q->cluster_rows[c->aux->table->id - TABLE_CLUSTER_FIRST];
    if (!t->filled) {
        const struct query_source *s = c->q->source;
        struct rows_request r = {.table = c->aux->table->id};
        struct query_wait wait = wait_of(c->q);
        if (s->ops->rows(s->ctx, &r, &wait) != RC_OK) {
            row_set_free(&r.rows);
            writer_free(&r.warnings);
            enum sql_error_kind kind = r.err.rc == RC_CANCELED ? SQL_ERROR_CANCELED : SQL_ERROR_EXECUTION;
            return cursor_fail(c, kind, r.err.msg);
        }
        t->rows = r.rows;
        t->filled = true;
        if (r.warnings.len && c->q->warn)
            c->q->warn(c->q->warn_ctx, writer_take(&r.warnings));
        writer_free(&r.warnings);
    }
    rows_begin(c, writer_slice(&t->rows.bytes));
    return cluster_next(c);
}

static void out_value(sqlite3_context *out, const struct sql_value *v)
{
    switch (v->kind) {
    case VALUE_NULL:
        break;
    case VALUE_INT:
        sqlite3_result_int64(out, v->integer);
        break;
    case VALUE_REAL:
        sqlite3_result_double(out, v->real);
        break;
    case VALUE_TEXT:
        out_text(out, v->bytes.ptr ? v->bytes : SLICE_LIT(""));
        break;
    case VALUE_BLOB:
        out_blob(out, v->bytes);
        break;
    }
}

static int cursor_next(sqlite3_vtab_cursor *base)
{
    struct cursor *c = (struct cursor *)base;
    c->rowid++;
    if (c->none) {
        c->eof = true;
        return SQLITE_OK;
    }
    if (partitioned(c->aux->table->id))
        return partitioned_next(c);
    if (of_cluster(c->aux->table->id))
        return cluster_next(c);
    if (c->aux->table->id == TABLE_IS_COLUMNS)
        c->column++;
    else
        c->index++;
    c->eof = !meta_row_at(c);
    return SQLITE_OK;
}

static char *argument_text(sqlite3_value *v)
{
    return sqlite3_value_type(v) == SQLITE_TEXT ? xstrdup((const char *)sqlite3_value_text(v)) : NULL;
}

static void only_partition_of(struct cursor *c, uint64_t key)
{
    const struct query_source *s = c->q->source;
    c->partition = s->ops->partition_of(s->ctx, key);
    c->end = c->partition + 1;
}

/* Does the status that is wanted, or not wanted, leave only invocations that have not completed? */
static bool leaves_live(const struct table *t, int plan, sqlite3_value *v)
{
    bool text = sqlite3_value_type(v) == SQLITE_TEXT;
    bool completed = text && strcmp((const char *)sqlite3_value_text(v), t->ended) == 0;
    return text && (plan & PLAN_STATUS ? !completed : completed);
}

static void plan_apply(struct cursor *c, int plan, sqlite3_value **v)
{
    int argument = 0;
    if (plan & PLAN_BY_ID) {
        const char *text = (const char *)sqlite3_value_text(v[argument]);
        bool is_text = sqlite3_value_type(v[argument++]) == SQLITE_TEXT;
        c->by_id = true;
        if (!is_text || invocation_id_parse(slice_cstr(text), &c->id) != ID_OK)
            c->none = true;
        else
            only_partition_of(c, c->id.partition_key);
    } else if (plan & PLAN_BY_OBJECT) {
        c->service = argument_text(v[argument++]);
        c->key = argument_text(v[argument++]);
        c->by_object = true;
        c->none = !c->service || !c->key;
        if (!c->none)
            only_partition_of(c, partition_key_of_key(slice_cstr(c->key)));
    } else if (plan & (PLAN_BY_KEY | PLAN_BY_SCOPE)) {
        char *key = argument_text(v[argument++]);
        c->none = !key;
        if (key)
            only_partition_of(c, partition_key_of_key(slice_cstr(key)));
        free(key);
    } else if (plan & PLAN_BY_PARTITION) {
        if (sqlite3_value_type(v[argument]) == SQLITE_INTEGER)
            only_partition_of(c, u64_from_key(sqlite3_value_int64(v[argument])));
        else
            c->none = true;
        argument++;
    }
    if (plan & (PLAN_STATUS | PLAN_NOT_STATUS))
        c->live_only = leaves_live(c->t, plan, v[argument]);
}

static int cursor_filter(sqlite3_vtab_cursor *base, int plan, const char *name, int n, sqlite3_value **v)
{
    struct cursor *c = (struct cursor *)base;
    cursor_reset(c);
    if (of_cluster(c->aux->table->id))
        return cluster_open(c);
    if (!partitioned(c->aux->table->id)) {
        c->eof = !meta_row_at(c);
        return SQLITE_OK;
    }
    c->partition = 0;
    c->end = c->q->n_partitions;
    c->used = name ? strtoull(name, NULL, 16) : UINT64_MAX;
    plan_apply(c, plan, v);
    if (c->q->restricted) {
        bool within = c->partition <= c->q->only_partition && c->q->only_partition < c->end;
        c->partition = c->q->only_partition;
        c->end = within ? c->partition + 1 : c->partition;
    }
    if (c->none) {
        c->eof = true;
        return SQLITE_OK;
    }
    int rc;
    if (c->by_id && c->aux->table->id == TABLE_SYS_INVOCATION_STATE && from_cache(c, c->partition, &rc)) {
        c->none = true; /* there is no second row */
        c->eof = !c->attempt;
        return rc;
    }
    return partitioned_next(c);
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->eof;
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *out, int column)
{
    struct cursor *c = (struct cursor *)base;
    if (c->stream) {
        out_value(out, &c->values[column]);
        return SQLITE_OK;
    }
    switch (c->aux->table->id) {
    case TABLE_SYS_INVOCATION_STATUS:
    case TABLE_SYS_INVOCATION_STATE:
    case TABLE_SYS_INVOCATION:
        invocation_column(c, out, c->aux->fields[column]);
        break;
    case TABLE_SYS_VQUEUES:
    case TABLE_SYS_VQUEUE_ENTRY_STATUS:
        queue_column(c, out, c->aux->fields[column]);
        break;
    case TABLE_SYS_JOURNAL:
        journal_column(c, out, column);
        break;
    case TABLE_SYS_JOURNAL_EVENTS:
        event_column(c, out, column);
        break;
    case TABLE_SYS_IDEMPOTENCY:
        idempotency_column(c, out, column);
        break;
    case TABLE_SYS_INBOX:
    case TABLE_SYS_LOCKS:
    case TABLE_SYS_KEYED_SERVICE_STATUS:
    case TABLE_SYS_PROMISE:
    case TABLE_STATE_ENTRIES:
        object_column(c, out, column);
        break;
    default:
        if (of_cluster(c->aux->table->id) || row_bytes(c->aux->table->id))
            out_value(out, &c->values[column]);
        else
            meta_column(c, out, column);
    }
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    *rowid = ((struct cursor *)base)->rowid;
    return SQLITE_OK;
}

static sqlite3_module module = {
    .iVersion = 1,
    .xConnect = table_connect, /* xCreate NULL: the module is its own only table */
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xDestroy = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

bool tables_register(sqlite3 *db, struct query *q)
{
    for (size_t i = 0; i < SQL_TABLES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "v%zu", i);
        if (sqlite3_create_module_v2(db, name, &module, &q->aux[i], NULL) != SQLITE_OK)
            return false;
    }
    return true;
}

/* ---- queries ---- */

void query_init(struct query *q, const struct query_source *source, enum sql_context context)
{
    *q = (struct query){.source = source, .context = context};
    q->schema = source->ops->schema(source->ctx);
    source->ops->defaults(source->ctx, &q->defaults);
    q->now_ms = source->ops->wall_ms(source->ctx);
    q->n_partitions = source->ops->partition_count(source->ctx);
    q->attempts = xcalloc(MAX(q->n_partitions, 1u), sizeof(*q->attempts));
    q->cluster_rows = xcalloc(TABLE_IS_TABLES - TABLE_CLUSTER_FIRST, sizeof(*q->cluster_rows));
    q->aux = xcalloc(SQL_TABLES, sizeof(*q->aux));
    for (size_t i = 0; i < SQL_TABLES; i++) {
        const struct sql_table *t = &sql_tables[i];
        q->aux[i] = (struct table_aux){.query = q, .table = t};
        bool entries = sql_table_of_queue_entries(t->id);
        if (i > TABLE_SYS_INVOCATION && !entries)
            continue;
        q->aux[i].fields = xcalloc(t->n_columns, 1);
        for (size_t k = 0; k < t->n_columns; k++)
            q->aux[i].fields[k] =
                entries ? queue_field_find(t->columns[k].name) : invocation_field_find(t->columns[k].name);
    }
}

void query_free(struct query *q)
{
    for (uint32_t i = 0; i < q->n_partitions; i++)
        query_attempts_free(&q->attempts[i].attempts);
    free(q->attempts);
    for (size_t i = 0; i < TABLE_IS_TABLES - TABLE_CLUSTER_FIRST; i++)
        row_set_free(&q->cluster_rows[i].rows);
    free(q->cluster_rows);
    for (size_t i = 0; q->aux && i < SQL_TABLES; i++)
        free(q->aux[i].fields);
    free(q->aux);
    schema_unref(q->schema);
}
