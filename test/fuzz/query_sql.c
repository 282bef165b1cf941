/* SQL text: cutting, parsing, binding and writing never crash, and what is accepted SQLite accepts too (but
 * for its own limits on size and depth). */
#include <stdio.h>
#include <stdlib.h>

#include "metadata/schema_records.h"
#include "query/functions.h"
#include "query/plan.h"
#include "query/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t no_partitions(void *ctx)
{
    return 0;
}
static struct schema *no_schema(void *ctx)
{
    return schema_empty();
}
static uint64_t epoch(void *ctx)
{
    return 0;
}

static void no_defaults(void *ctx, struct schema_defaults *out)
{
    *out = (struct schema_defaults){0};
}

static const struct query_source_ops ops = {
    .partition_count = no_partitions, .schema = no_schema, .wall_ms = epoch, .defaults = no_defaults};
static const struct query_source source = {.ops = &ops};

static bool prepares(enum sql_context context, const char *text)
{
    struct query q;
    sqlite3 *db;
    sqlite3_stmt *s = NULL;
    query_init(&q, &source, context);
    ASSERT(sqlite3_open(":memory:", &db) == SQLITE_OK);
    ASSERT(tables_register(db, &q) && functions_register(db));
    int rc = sqlite3_prepare_v2(db, text, -1, &s, NULL);
    const char *message = sqlite3_errmsg(db);
    bool ok = rc == SQLITE_OK || rc == SQLITE_TOOBIG || strstr(message, "too ") ||
              strstr(message, "overflow") || strstr(message, "at most") || strstr(message, "maximum");
    if (!ok)
        fprintf(stderr, "%s\n%s\n", text, message);
    sqlite3_finalize(s);
    sqlite3_close(db);
    query_free(&q);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 4096)
        return 0;
    enum sql_context context = data[0] & 1 ? SQL_CONTEXT_CLUSTER : SQL_CONTEXT_ADMIN;
    struct sql_plan plan;
    struct sql_error err;
    if (sql_plan_make(&plan, slice_make(data + 1, size - 1), context, 0, &err)) {
        ASSERT(err.kind == SQL_ERROR_NONE);
        if (plan.text)
            ASSERT(prepares(context, plan.text));
    } else {
        ASSERT(err.kind != SQL_ERROR_NONE && err.message[0]);
    }
    sql_plan_free(&plan);
    return 0;
}
