/* Queries over stores in memory, on the calling thread: a source with a few partitions, each a store. */
#pragma once
#include "metadata/schema_records.h"
#include "query/remote.h"
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
    /* From this partition on another node leads: its answers come in pieces. */
    unsigned remote_from, remote_scans, remote_open;
    bool serving;         /* as that node */
    unsigned break_after; /* pieces; 0: never */
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
    if (!f->serving && r->partition >= f->remote_from)
        return err_set(&r->err, RC_NOT_LEADER, "partition %u is led by another node", r->partition);
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

/* The other node: runs the request to its end at once and keeps the pieces. */
struct qf_stream {
    struct row_stream base;
    struct query_fixture *f;
    struct {
        struct bytes *items;
        size_t len, cap;
    } pieces;
    size_t at;
};
static inline bool qf_keep(void *ctx, struct bytes take)
{
    struct qf_stream *s = ctx;
    if (take.len)
        VEC_PUSH(&s->pieces, take);
    return true;
}
static inline enum rc qf_next(struct row_stream *base, struct bytes *out, struct err *err)
{
    struct qf_stream *s = CONTAINER_OF(base, struct qf_stream, base);
    *out = BYTES_EMPTY;
    if (s->f->break_after && s->at >= s->f->break_after)
        return err_set(err, RC_UNAVAILABLE, "the connection to the leader was lost");
    if (s->at < s->pieces.len)
        *out = bytes_ref(s->pieces.items[s->at++]);
    return RC_OK;
}
static inline void qf_close(struct row_stream *base)
{
    struct qf_stream *s = CONTAINER_OF(base, struct qf_stream, base);
    s->f->remote_open--;
    for (size_t i = 0; i < s->pieces.len; i++)
        bytes_unref(&s->pieces.items[i]);
    VEC_FREE(&s->pieces);
    free(s);
}
static const struct row_stream_ops qf_stream_ops = {qf_next, qf_close};
static inline enum rc qf_remote(void *ctx, uint32_t partition, struct slice request,
                                const struct query_wait *wait, struct row_stream **out, struct err *err)
{
    struct query_fixture *f = ctx;
    struct scan_request r;
    struct query q;
    struct sql_plan plan;
    struct result result;
    struct qf_stream *s = xcalloc(1, sizeof(*s));
    s->base.ops = &qf_stream_ops;
    s->f = f;
    assert_true(scan_request_decode(request, &r));
    assert_int_equal(r.partition, partition);
    query_init(&q, &f->source, SQL_CONTEXT_ADMIN);
    q.restricted = true;
    q.only_partition = partition;
    q.now_ms = r.now_ms;
    scan_request_plan(&plan, &r);
    struct query_output to = {qf_keep, s};
    result_init(&result, RESULT_CUSTOM, plan.columns, plan.n_columns, &row_set_encoder, NULL);
    f->serving = true;
    if (!query_run(&q, &plan, &result, &to))
        fail_msg("%s: %s", plan.text, q.err.message);
    f->serving = false;
    result_free(&result);
    sql_plan_free(&plan);
    query_free(&q);
    f->remote_scans++;
    f->remote_open++;
    *out = &s->base;
    return RC_OK;
}
static void qf_defaults(void *ctx, struct schema_defaults *out)
{
    *out = (struct schema_defaults){0};
}
static const struct query_source_ops qf_ops = {qf_count, qf_schema, qf_wall_ms, qf_defaults,
                                               qf_of,    qf_visit,  qf_rows,    qf_remote};

static inline void qf_init(struct query_fixture *f)
{
    memset(f, 0, sizeof(*f));
    for (size_t i = 0; i < QF_PARTITIONS; i++)
        sf_init(&f->stores[i], false);
    f->source = (struct query_source){.ops = &qf_ops, .ctx = f};
    f->schema = schema_empty();
    f->down = QF_PARTITIONS;
    f->remote_from = QF_PARTITIONS;
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
    assert_int_equal(f->remote_open, 0);
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
