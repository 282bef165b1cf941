/* Queries over stores in memory, on the calling thread: a source with a few partitions, each a store. */
#pragma once
#include "metadata/schema_records.h"
#include "query/run.h"
#include "unit/partition/store_fixture.h"

#define QF_PARTITIONS 4u

struct query_fixture {
    struct store_fixture stores[QF_PARTITIONS];
    struct query_source source;
    struct schema *schema;
    struct query_attempts attempts; /* copied for every visit of partition 0 */
    unsigned visits;                /* of stores and leaders, since the last query began */
    unsigned down;                  /* this partition has no leader; QF_PARTITIONS: all have */
    bool (*canceled)(void *ctx);
};

static inline uint32_t qf_count(void *ctx)
{
    return QF_PARTITIONS;
}
static inline struct schema *qf_schema(void *ctx)
{
    struct query_fixture *f = ctx;
    return schema_ref(f->schema);
}
static inline uint64_t qf_wall_ms(void *ctx)
{
    return 1000000;
}
static inline uint32_t qf_of(void *ctx, uint64_t key)
{
    return (uint32_t)(key / (UINT64_MAX / QF_PARTITIONS + 1));
}
static inline enum rc qf_visit(void *ctx, struct partition_request *r, const struct query_wait *wait)
{
    struct query_fixture *f = ctx;
    f->visits++;
    if (r->partition == f->down)
        return err_set(&r->err, RC_UNAVAILABLE, "partition %u has no leader", r->partition);
    partition_request_serve(r, f->stores[r->partition].s);
    for (size_t i = 0; r->want_attempts && i < f->attempts.list.len; i++) {
        const struct query_attempt *a = f->attempts.list.items[i];
        if (qf_of(f, a->id.partition_key) == r->partition &&
            (!r->filter.by_id || invocation_id_eq(r->filter.id, a->id)))
            query_attempts_add(&r->attempts, a->id, &a->status);
    }
    return RC_OK;
}
static inline enum rc qf_rows(void *ctx, struct rows_request *r, const struct query_wait *wait)
{
    if (r->table != TABLE_CONFIG)
        return err_set(&r->err, RC_UNAVAILABLE, "no such rows here");
    for (int i = 0; i < 2; i++) {
        row_fmt(&r->rows, "N1");
        row_null(&r->rows);
        row_fmt(&r->rows, "key-%d", i);
        row_text(&r->rows, SLICE_LIT(""));
        row_end(&r->rows);
    }
    return RC_OK;
}
static const struct query_source_ops qf_ops = {qf_count, qf_schema, qf_wall_ms, qf_of, qf_visit, qf_rows};

static inline void qf_init(struct query_fixture *f)
{
    memset(f, 0, sizeof(*f));
    for (size_t i = 0; i < QF_PARTITIONS; i++)
        sf_init(&f->stores[i], false);
    f->source = (struct query_source){&qf_ops, f};
    f->schema = schema_empty();
    f->down = QF_PARTITIONS;
    hmap_init(&f->attempts.by_id);
}
static inline void qf_free(struct query_fixture *f)
{
    for (size_t i = 0; i < QF_PARTITIONS; i++)
        sf_free(&f->stores[i]);
    schema_unref(f->schema);
    query_attempts_free(&f->attempts);
}

static inline bool qf_write(void *ctx, struct bytes take)
{
    write_slice_raw(ctx, bytes_slice(take));
    bytes_unref(&take);
    return true;
}
/* The answer's bytes, or the error's text; the caller frees. */
static inline struct writer qf_run(struct query_fixture *f, enum sql_context context, const char *sql,
                                   enum result_format format, struct sql_error *err)
{
    struct writer w = WRITER_INIT;
    struct query q;
    struct sql_plan plan;
    f->visits = 0;
    query_init(&q, &f->source, context);
    q.canceled = f->canceled;
    if (sql_plan_make(&plan, slice_cstr(sql), context, 1000000000000, err)) {
        struct result r;
        struct query_output out = {qf_write, &w};
        result_init(&r, format, plan.columns, plan.n_columns, NULL, NULL);
        query_run(&q, &plan, &r, &out);
        *err = q.err;
        result_free(&r);
    }
    if (err->kind != SQL_ERROR_NONE) {
        writer_reset(&w);
        sql_error_write(&w, err, false);
    }
    sql_plan_free(&plan);
    query_free(&q);
    return w;
}

/* The rows of a JSON answer, without the frame; or the error. */
static inline void qf_expect(struct query_fixture *f, const char *sql, const char *expected)
{
    struct sql_error err;
    struct writer w = qf_run(f, SQL_CONTEXT_ADMIN, sql, RESULT_JSON, &err);
    struct slice got = writer_slice(&w);
    if (err.kind == SQL_ERROR_NONE) {
        assert_true(slice_starts_with(got, SLICE_LIT("{\"rows\":[")) &&
                    slice_ends_with(got, SLICE_LIT("]}")));
        got = slice_sub(got, 9, got.len - 11);
    }
    if (!slice_eq_cstr(got, expected))
        fail_msg("%s\n  gave     %.*s\n  expected %s", sql, SLICE_FMT(got), expected);
    writer_free(&w);
}
