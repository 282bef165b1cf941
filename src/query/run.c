/* Execution of plans by SQLite (query/run.h). */
#include "query/run.h"

#include "query/functions.h"

#define STEPS_BETWEEN_CHECKS 4000 /* of SQLite's machine; well below a millisecond */

static bool canceled(const struct query *q)
{
    return q->canceled && q->canceled(q->canceled_ctx);
}

static int progress(void *ctx)
{
    return canceled(ctx);
}

/* Plans only read the tables of ours; whatever else a bug of the emitter might ask for is refused. */
static int authorize(void *ctx, int action, const char *a, const char *b, const char *c, const char *d)
{
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_UPDATE: /* how SQLite (3.40) notes the columns of a virtual table; statements cannot do it */
        return a && strcmp(a, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

static bool fail(struct query *q, sqlite3 *db)
{
    if (q->err.kind != SQL_ERROR_NONE)
        return false;
    int rc = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    if (rc == SQLITE_INTERRUPT || canceled(q))
        return sql_fail(&q->err, SQL_ERROR_CANCELED, "the query was canceled");
    if (rc == SQLITE_NOMEM || rc == SQLITE_FULL || rc == SQLITE_TOOBIG)
        return sql_fail(&q->err, SQL_ERROR_RESOURCES,
                        "the query needs more memory than there is for queries");
    return sql_fail(&q->err, SQL_ERROR_EXECUTION, "%s", sqlite3_errmsg(db));
}

static sqlite3 *open_database(struct query *q)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
    bool ok = sqlite3_open_v2(":memory:", &db, flags, NULL) == SQLITE_OK;
    if (ok) {
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
        ok = tables_register(db, q) && functions_register(db);
    }
    if (ok) {
        sqlite3_set_authorizer(db, authorize, NULL);
        sqlite3_progress_handler(db, STEPS_BETWEEN_CHECKS, progress, q);
        return db;
    }
    fail(q, db);
    sqlite3_close_v2(db);
    return NULL;
}

static bool write_batch(struct query *q, struct result *r, const struct query_output *out, bool last)
{
    struct bytes batch = result_take(r, last);
    return out->write(out->ctx, batch) || sql_fail(&q->err, SQL_ERROR_CANCELED, "the query was canceled");
}

static bool run_statement(struct query *q, sqlite3 *db, sqlite3_stmt *s, struct result *r,
                          const struct query_output *out)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        result_row(r, s);
        if (result_full(r) && !write_batch(q, r, out, false))
            return false;
    }
    if (rc != SQLITE_DONE)
        return fail(q, db);
    /* The end mark is a batch of its own (spec/restatectl.md §9.1). */
    if (r->rows && r->format == RESULT_ARROW && !write_batch(q, r, out, false))
        return false;
    return write_batch(q, r, out, true);
}

bool query_run(struct query *q, const struct sql_plan *plan, struct result *r, const struct query_output *out)
{
    if (canceled(q))
        return sql_fail(&q->err, SQL_ERROR_CANCELED, "the query was canceled");
    if (!plan->text)
        return write_batch(q, r, out, true);
    sqlite3 *db = open_database(q);
    if (!db)
        return false;
    sqlite3_stmt *s = NULL;
    bool ok = sqlite3_prepare_v2(db, plan->text, -1, &s, NULL) == SQLITE_OK ? run_statement(q, db, s, r, out)
                                                                            : fail(q, db);
    sqlite3_finalize(s);
    sqlite3_close_v2(db);
    return ok;
}

void query_set_limits(uint64_t memory_bytes, const char *tmp_dir)
{
    sqlite3_hard_heap_limit64((sqlite3_int64)MIN(memory_bytes, (uint64_t)INT64_MAX));
    sqlite3_free(sqlite3_temp_directory);
    sqlite3_temp_directory = tmp_dir && tmp_dir[0] ? sqlite3_mprintf("%s", tmp_dir) : NULL;
}
