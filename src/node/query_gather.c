/* Implementation of node/query_gather.h. A question is the number of the table; the answer is the number of
 * rows and the rows. */
#include "node/query_gather.h"

#include <stdlib.h>

#include "loop/loop.h"
#include "node/node_internal.h"
#include "node/partition_reports.h"
#include "node/query_source.h"

#define PATIENCE_MS 5000u
#define NO_END      UINT64_MAX /* a reader that follows its log */

/* ---- what this node has ---- */

struct local {
    struct node *node;
    struct rows_request *r;
    void (*done)(void *ctx);
    void *ctx;
    struct loop_msg msg; /* to the log loop and back */
    struct row_set rows; /* of the log loop: those of the request grow meanwhile, by other nodes' answers */
    uint64_t now_mono_ms, now_wall_ms;
};

static void local_done(struct local *l)
{
    l->done(l->ctx);
    free(l);
}

static void put_self(struct row_set *s, const struct node *n)
{
    row_fmt(s, "N%u", n->joined.node_id);
    row_fmt(s, "N%u:%u", n->joined.node_id, n->joined.generation);
}

static void put_worker(void *ctx, const struct log_server_loglet_view *v)
{
    struct local *l = ctx;
    struct row_set *s = &l->rows;
    put_self(s, l->node);
    row_fmt(s, "%u_%u", (unsigned)(v->id >> 32), (unsigned)v->id);
    row_int(s, (int64_t)(v->id >> 32));
    row_int(s, (int64_t)(v->id & UINT32_MAX));
    row_int(s, (int64_t)v->local_tail);
    row_bool(s, v->sealed);
    row_int(s, (int64_t)v->trim_point);
    row_int(s, (int64_t)MAX(v->committed_tail, v->trim_point + 1));
    if (v->sequencer.id)
        row_fmt(s, "N%u:%u", v->sequencer.id, v->sequencer.generation);
    else
        row_null(s);
    row_bool(s, true); /* those that nobody uses are not in memory */
    row_int(s, (int64_t)v->staged_tail);
    row_bool(s, v->sealing);
    row_bool(s, v->accepting_writes);
    row_int(s, v->pending_seals);
    row_int(s, v->waiters);
    row_int(s, (int64_t)(l->now_wall_ms - (l->now_mono_ms - MIN(v->used_ms, l->now_mono_ms))));
    row_end(s);
}

static void workers_known(struct loop_msg *m)
{
    struct local *l = CONTAINER_OF(m, struct local, msg);
    write_slice_raw(&l->r->rows.bytes, writer_slice(&l->rows.bytes));
    l->r->rows.rows += l->rows.rows;
    row_set_free(&l->rows);
    local_done(l);
}

/* On the log loop. */
static void look_at_workers(struct loop_msg *m)
{
    struct local *l = CONTAINER_OF(m, struct local, msg);
    struct env *env = loop_env(log_host_loop(l->node->log_host));
    l->now_mono_ms = env_mono_ms(env);
    l->now_wall_ms = env_wall_ms(env);
    log_host_each_loglet(l->node->log_host, put_worker, l);
    l->msg.deliver = workers_known;
    loop_post(l->node->loop, &l->msg);
}

/* Where a reader stands: the last segment that begins at or before `lsn`. */
static const struct log_segment *segment_at(const struct node *n, uint32_t log_id, lsn_t lsn)
{
    const struct log_chain *chain = logs_config_chain(&n->view.logs, log_id);
    const struct log_segment *found = NULL;
    for (size_t i = 0; chain && i < chain->n_segments; i++) {
        const struct log_segment *g = &chain->segments[i];
        if (g->kind != SEGMENT_SEALED && (!found || g->base_lsn <= lsn))
            found = g;
    }
    return found;
}

/* Every replica that runs reads the log of its partition. */
static void readers_known(void *ctx, struct node *n, const struct partition_reports *reports)
{
    struct local *l = ctx;
    struct row_set *s = &l->r->rows;
    for (size_t i = 0; i < reports->n; i++) {
        const struct partition_report *p = &reports->items[i];
        const struct log_segment *g = segment_at(n, (uint32_t)i, p->applied + 1);
        if (!reports->present[i] || p->state <= REPLICA_STARTING || !g)
            continue;
        lsn_t tail = MAX(p->committed, p->applied) + 1;
        put_self(s, n);
        row_int(s, (int64_t)i);
        row_fmt(s, "%u_%u", (unsigned)i, g->index);
        row_int(s, (int64_t)p->applied + 1);
        row_int(s, u64_to_key(NO_END));
        row_fmt(s, "Reading");
        row_int(s, (int64_t)tail);
        row_int(s, g->index);
        row_bool(s, p->applied + 1 >= tail);
        row_end(s);
    }
    local_done(l);
}

static void local_rows(struct node *n, struct rows_request *r, void (*done)(void *ctx), void *ctx)
{
    struct local *l = xcalloc(1, sizeof(*l));
    *l = (struct local){.node = n, .r = r, .done = done, .ctx = ctx};
    if (r->table == TABLE_LOGLET_WORKERS && n->log_host && !n->stopping) {
        l->msg.deliver = look_at_workers;
        loop_post(log_host_loop(n->log_host), &l->msg);
    } else if (r->table == TABLE_BIFROST_READ_STREAMS && n->n_shards && !n->stopping) {
        partition_reports_collect(n, readers_known, l);
    } else {
        if (r->table != TABLE_LOGLET_WORKERS && r->table != TABLE_BIFROST_READ_STREAMS)
            node_query_rows(n, r);
        local_done(l);
    }
}

/* ---- being asked ---- */

struct asked {
    struct node_answer *answer;
    struct rows_request r;
};

static void answer_rows(void *ctx)
{
    struct asked *a = ctx;
    struct writer w = WRITER_INIT;
    write_varint(&w, a->r.rows.rows);
    write_slice_raw(&w, writer_slice(&a->r.rows.bytes));
    node_answer_send(a->answer, a->r.err.rc, a->r.err.msg, writer_slice(&w));
    writer_free(&w);
    row_set_free(&a->r.rows);
    free(a);
}

static bool of_each_node(enum sql_table_id table)
{
    return table == TABLE_CONFIG || table == TABLE_LOGLET_WORKERS || table == TABLE_BIFROST_READ_STREAMS;
}

void query_gather_asked(struct node *n, struct slice payload, struct node_answer *answer)
{
    struct reader r = reader_make(payload);
    uint64_t table = read_varint(&r);
    if (!reader_done(&r) || table >= SQL_TABLES || !of_each_node((enum sql_table_id)table)) {
        node_answer_send(answer, RC_UNSUPPORTED, "this node has no such table", SLICE_EMPTY);
        return;
    }
    struct asked *a = xcalloc(1, sizeof(*a));
    a->answer = answer;
    a->r.table = (enum sql_table_id)table;
    local_rows(n, &a->r, answer_rows, a);
}

/* ---- gathering ---- */

struct gather {
    struct node *node;
    struct rows_request *r;
    void (*done)(void *ctx);
    void *ctx;
    size_t waiting;
};

struct gather_call {
    struct node_call call;
    struct gather *gather;
    uint32_t from;
};

static void gather_release(struct gather *g)
{
    if (--g->waiting > 0)
        return;
    g->done(g->ctx);
    free(g);
}

static void gathered_here(void *ctx)
{
    gather_release(ctx);
}

static void warn(struct gather *g, uint32_t node, const char *message)
{
    char name[16];
    struct writer text = WRITER_INIT;
    snprintf(name, sizeof(name), "N%u", node);
    write_fmt(&text, "External error: %s", message);
    write_lp(&g->r->warnings, slice_cstr(name));
    write_lp(&g->r->warnings, writer_slice(&text));
    writer_free(&text);
}

/* Rows of another release may have other columns. */
static bool rows_fit(enum sql_table_id table, struct slice bytes, uint64_t n)
{
    struct sql_value values[32];
    struct reader r = reader_make(bytes);
    ASSERT(sql_tables[table].n_columns <= ARRAY_LEN(values));
    while (n > 0 && row_read(&r, values, sql_tables[table].n_columns))
        n--;
    return n == 0 && reader_done(&r);
}

static void gathered_there(struct node_call *call, enum rc rc, const char *message, struct slice payload)
{
    struct gather_call *c = CONTAINER_OF(call, struct gather_call, call);
    struct gather *g = c->gather;
    struct reader r = reader_make(payload);
    uint64_t n = read_varint(&r);
    struct slice rows = slice_make(r.p, reader_left(&r));
    if (rc != RC_OK) {
        warn(g, c->from, message);
    } else if (r.failed || n > UINT32_MAX || !rows_fit(g->r->table, rows, n)) {
        warn(g, c->from, "its answer was not understood");
    } else {
        write_slice_raw(&g->r->rows.bytes, rows);
        g->r->rows.rows += (uint32_t)n;
    }
    free(c);
    gather_release(g);
}

static bool has_rows(const struct node_entry *e, enum sql_table_id table)
{
    unsigned role = table == TABLE_LOGLET_WORKERS         ? ROLE_LOG_SERVER
                    : table == TABLE_BIFROST_READ_STREAMS ? ROLE_WORKER
                                                          : ~0u;
    return !e->tombstone && (e->roles & role);
}

static void ask(struct gather *g, uint32_t node)
{
    struct membership_node m;
    if (!membership_node(cluster_membership(g->node->cluster), node, &m) || !query_node_is_alive(&m)) {
        warn(g, node, "the node is not alive");
        return;
    }
    struct gather_call *c = xcalloc(1, sizeof(*c));
    struct writer w = WRITER_INIT;
    *c = (struct gather_call){.call.done = gathered_there, .gather = g, .from = node};
    g->waiting++;
    write_varint(&w, g->r->table);
    control_link_call(g->node->control, &c->call, node, NODE_METHOD_ROWS, writer_slice(&w), PATIENCE_MS);
    writer_free(&w);
}

void query_gather(struct node *n, struct rows_request *r, void (*done)(void *ctx), void *ctx)
{
    struct gather *g = xcalloc(1, sizeof(*g));
    *g = (struct gather){.node = n, .r = r, .done = done, .ctx = ctx, .waiting = 2};
    local_rows(n, r, gathered_here, g);
    for (size_t i = 0; of_each_node(r->table) && n->control && !n->stopping && i < n->view.nodes.n_nodes;
         i++) {
        const struct node_entry *e = &n->view.nodes.nodes[i];
        if (e->id != n->joined.node_id && has_rows(e, r->table))
            ask(g, e->id);
    }
    gather_release(g);
}
