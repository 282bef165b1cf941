/* Implementation of node/grpc_compaction.h. */
#include "node/grpc_compaction.h"

#include <stdlib.h>

#include "node/node_internal.h"
#include "partition/rocks_compact.h"
#include "wire/pb.h"

enum { DATABASE_PARTITION_STORE = 2, DATABASE_LOG_SERVER, DATABASE_METADATA_SERVER, DATABASE_LOCAL_LOGLET };
enum { LEVEL_UNSPECIFIED, LEVEL_SKIP, LEVEL_IF_HAVE_FILTER, LEVEL_FORCE, LEVEL_FORCE_OPTIMIZED };

struct compaction {
    struct list link;
    struct node *node;
    struct rpc *rpc;
    struct compaction_request request;
    struct rocks_compaction rocks;
};

/* ---- the request ---- */

static enum rc select_database(uint64_t kind, struct compaction_request *q, struct err *err)
{
    if (kind < DATABASE_PARTITION_STORE || kind > DATABASE_LOCAL_LOGLET)
        return err_set(err, RC_INVALID, "database kind '%s' is not a valid selection",
                       kind == 0 ? "unspecified" : "unknown");
    q->databases |= 1u << kind;
    return RC_OK;
}

static enum rc read_databases(const struct pb_field *f, struct compaction_request *q, struct err *err)
{
    struct reader packed = reader_make(f->bytes);
    uint64_t kind;
    enum rc rc = RC_OK;
    if (f->wire == PB_VARINT)
        return select_database(f->value, q, err);
    while (rc == RC_OK && f->wire == PB_LEN && pb_packed_next(&packed, &kind))
        rc = select_database(kind, q, err);
    return rc;
}

static enum rc read_options(struct slice message, struct compaction_request *q, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    uint64_t level = LEVEL_UNSPECIFIED;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            level = f.value;
        if (f.number == 2 && f.wire == PB_VARINT)
            q->recalculate_level = f.value != 0;
    }
    if (level > LEVEL_FORCE_OPTIMIZED)
        return err_set(err, RC_INVALID, "unknown bottommost_level_compaction");
    q->bottommost = level == LEVEL_UNSPECIFIED ? ROCKS_IF_HAVE_FILTER : (unsigned)level - LEVEL_SKIP;
    return RC_OK;
}

enum rc compaction_request_decode(struct slice message, struct compaction_request *out, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    enum rc rc = RC_OK;
    *out = (struct compaction_request){.bottommost = ROCKS_IF_HAVE_FILTER};
    while (rc == RC_OK && pb_next(&r, &f)) {
        if (f.number == 1)
            rc = read_databases(&f, out, err);
        else if (f.number == 2 && f.wire == PB_LEN)
            rc = read_options(f.bytes, out, err);
    }
    if (rc == RC_OK && r.failed)
        rc = err_set(err, RC_INVALID, "malformed request");
    if (!out->databases)
        out->databases = ~0u;
    return rc;
}

/* ---- the work ---- */

static void put_result(struct writer *w, const char *name, unsigned families, const struct err *err)
{
    struct writer result = WRITER_INIT;
    pb_put_text(&result, 1, name);
    pb_write_bool(&result, 2, !err);
    pb_put_text(&result, 3, err ? err->msg : "");
    pb_write_u64(&result, 4, families);
    pb_put_message(w, 1, &result);
}

static void answer(struct rpc *rpc, struct node *n, unsigned databases, bool store, const struct err *err)
{
    struct writer w = WRITER_INIT;
    if ((databases & 1u << DATABASE_LOG_SERVER) && n->log_host)
        put_result(&w, "log-server", 0, NULL);
    if ((databases & 1u << DATABASE_METADATA_SERVER) && n->kv && (n->config->roles & ROLE_METADATA_SERVER))
        put_result(&w, "replicated-metadata-server", 0, NULL);
    if (store)
        put_result(&w, "db", err ? 0 : 1, err);
    rpc_reply(rpc, &w);
}

static void compacted(struct rocks_compaction *rocks, const struct err *err)
{
    struct compaction *c = CONTAINER_OF(rocks, struct compaction, rocks);
    struct node *n = c->node;
    answer(c->rpc, n, c->request.databases, true, err);
    list_remove(&c->link);
    free(c);
    if (n->compactions_stopped && list_empty(&n->compactions))
        n->compactions_stopped(n);
}

void grpc_trigger_compaction(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct compaction_request q;
    struct err err = {0};
    if (compaction_request_decode(bytes_slice(message), &q, &err) != RC_OK) {
        rpc_fail(rpc, GRPC_INVALID_ARGUMENT, "%s", err.msg);
        return;
    }
    if (!(q.databases & 1u << DATABASE_PARTITION_STORE) || !n->db) {
        answer(rpc, n, q.databases, false, NULL);
        return;
    }
    struct compaction *c = xcalloc(1, sizeof(*c));
    *c = (struct compaction){.node = n, .rpc = rpc, .request = q};
    c->rocks.bottommost = (enum rocks_bottommost)q.bottommost;
    c->rocks.change_level = q.recalculate_level;
    c->rocks.loop = n->loop;
    c->rocks.done = compacted;
    list_push_back(&n->compactions, &c->link);
    rocks_db_compact(n->db, &c->rocks);
}

void grpc_compactions_stop(struct node *n, void (*done)(void *ctx))
{
    if (n->db)
        rocks_db_compact_stop(n->db);
    n->compactions_stopped = done;
    if (list_empty(&n->compactions))
        done(n);
}
