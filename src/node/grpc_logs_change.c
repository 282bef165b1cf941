/* SealChain and SealAndExtendChain (spec/restatectl.md §6.4, §8.2): an operator ends the last segment of a
 * log, with a marker or with a new segment. Works on the chain from any node. The writer of the log stays: a
 * new segment names the running process that writes the log already, which goes on in it when it sees the
 * chain; a marker is followed by a segment as soon as the partition wants to write. */
#include <stdlib.h>

#include "bifrost/replicated_client.h"
#include "metadata/json.h"
#include "node/grpc_logs.h"
#include "node/grpc_messages.h"
#include "node/grpc_requests.h"
#include "node/node_internal.h"

#define PATIENCE_MS 10000u
#define FORCE_SEAL_MS                                                                                        \
    2000u /* so long the log-servers are asked to seal a segment that is sealed by force                     \
           */

struct change {
    struct rpc *rpc;
    struct node *node;
    struct loop_logs *logs;
    struct loop_logs_user user;
    struct log_change_request wish;
    bool extend;
    struct chain_request request;
    bool asking;
    struct chain chain; /* before */
    struct replication replication;
    unsigned target_size;
    struct loglet_params last; /* of the last replicated segment; nodeset.len 0: there is none */
    struct loglet_op *op;
    struct env_timer patience, force;
};

/* ---- the end ---- */

static void forget(struct change *c)
{
    if (c->asking)
        loop_logs_chain_store(c->logs)->ops->cancel(loop_logs_chain_store(c->logs), &c->request);
    loglet_op_cancel(c->op);
    env_timer_cancel(c->node->env, &c->patience);
    env_timer_cancel(c->node->env, &c->force);
    loop_logs_leave(&c->user);
    chain_free(&c->chain);
    json_decref(c->wish.context);
    free(c);
}

static void fail(struct change *c, enum grpc_code code, const char *why)
{
    rpc_fail(c->rpc, code, "%s", why);
    forget(c);
}

static void put_sealed_segment(struct writer *w, const struct chain_segment *s, lsn_t tail)
{
    struct writer sealed = WRITER_INIT;
    pb_put_text(&sealed, 1, segment_kind_name(s->kind));
    pb_write_bytes(&sealed, 2, bytes_slice(s->params));
    pb_write_u64(&sealed, 3, tail);
    pb_put_message(w, 2, &sealed);
}

static void succeed(struct change *c, const struct chain *after)
{
    const struct chain_segment *end = &after->segments[after->len - 1];
    const struct chain_segment *before = &c->chain.segments[c->chain.len - 1];
    struct writer w = WRITER_INIT;
    if (c->extend) {
        pb_write_u64(&w, 1, end->index);
        put_sealed_segment(&w, before, end->base_lsn);
    } else {
        pb_write_u64(&w, 1, end->base_lsn);
    }
    rpc_reply(c->rpc, &w);
    forget(c);
}

static void on_extended(void *ctx, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct change *c = ctx;
    c->op = NULL;
    if (rc == RC_OK)
        succeed(c, chain);
    else
        fail(c, GRPC_INTERNAL,
             rc == RC_CONFLICT ? "the log was changed by somebody else at the same time"
                               : "the last segment of this log cannot be sealed by this server");
}

/* ---- seal ---- */

static char *marker_params(struct change *c)
{
    char me[32];
    snprintf(me, sizeof(me), "N%u:%u", c->node->joined.node_id, c->node->joined.generation);
    json_t *context = c->wish.context ? json_incref(c->wish.context) : json_object();
    json_object_set_new(context, "node", json_string(me));
    json_t *o = json_object();
    json_object_set_new(o, "sealed_at", json_integer((json_int_t)env_wall_ms(c->node->env)));
    json_object_set_new(o, "context", context);
    json_object_set_new(o, "tail_ts", json_null());
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static void on_forced(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct change *c = CONTAINER_OF(r, struct change, request);
    c->asking = false;
    if (rc == RC_OK)
        succeed(c, chain);
    else
        fail(c, GRPC_INTERNAL,
             rc == RC_CONFLICT ? "the log was changed by somebody else at the same time"
                               : "it is unknown whether the chain was changed");
}

/* The operator knows better than the log-servers where the log ends. */
static void force_marker(struct change *c)
{
    struct err err = {0};
    struct chain next = chain_copy(&c->chain);
    char *params = marker_params(c);
    enum rc rc = chain_append_seal_marker(&next, chain_last_index(&next), c->wish.forced_tail,
                                          bytes_copy(slice_cstr(params)), &err);
    free(params);
    if (rc == RC_OK) {
        struct chain_store *store = loop_logs_chain_store(c->logs);
        c->request.done = on_forced;
        c->asking = true;
        store->ops->swap(store, (uint32_t)c->wish.log_id, &c->chain, &next, &c->request);
    }
    chain_free(&next);
    if (rc != RC_OK)
        fail(c, GRPC_INTERNAL, err.msg);
}

static void force_over(struct env_timer *t)
{
    struct change *c = CONTAINER_OF(t, struct change, force);
    loglet_op_cancel(c->op);
    c->op = NULL;
    force_marker(c);
}

static void on_force_sealed(void *ctx, const struct loglet_seal_result *r)
{
    struct change *c = ctx;
    c->op = NULL;
    env_timer_cancel(c->node->env, &c->force);
    /* Enough of them answer to know that nothing is stored behind this. */
    lsn_t end = c->chain.segments[c->chain.len - 1].base_lsn + MAX(r->max_tail, 1u) - 1;
    if (r->rc == RC_OK && !r->with_risk && c->wish.forced_tail > end) {
        struct err err = {0};
        err_set(&err, RC_INVALID,
                "log %llu ends at LSN %llu: a tail behind that would be a hole that no reader gets over. "
                "`logs seal` ends a log whose log-servers answer",
                (unsigned long long)c->wish.log_id, (unsigned long long)end);
        fail(c, GRPC_FAILED_PRECONDITION, err.msg);
        return;
    }
    force_marker(c);
}

static void begin_forced(struct change *c)
{
    if (c->last.nodeset.len == 0) {
        force_marker(c);
        return;
    }
    c->op = loglet_seal(loop_logs_calls(c->logs), &c->last, on_force_sealed, c);
    env_timer_arm(c->node->env, &c->force, FORCE_SEAL_MS);
}

/* ---- extend ---- */

/* The process that writes the new segment: who writes the log now, if it still runs; else whom the operator
 * names; else this one. */
static struct node_ref choose_sequencer(const struct change *c)
{
    const struct node_directory *nodes = loop_logs_calls(c->logs)->nodes;
    const struct node_info *named = node_directory_find(nodes, c->wish.sequencer);
    bool runs = c->last.nodeset.len && !node_directory_superseded(nodes, c->last.sequencer) &&
                node_directory_liveness(nodes, c->last.sequencer.id) != LIVENESS_DEAD;
    if (runs)
        return c->last.sequencer;
    if (named && !named->removed && named->liveness != LIVENESS_DEAD)
        return (struct node_ref){named->id, named->generation};
    return loop_logs_calls(c->logs)->me;
}

static bool enough_nodes(struct change *c, struct node_ref sequencer, struct err *err)
{
    struct nodeset set;
    struct nodeset_wish wish = {.replication = c->replication,
                                .target_size = c->target_size,
                                .sequencer = sequencer.id,
                                .preferred = c->wish.nodes.len ? &c->wish.nodes : &c->last.nodeset,
                                .salt = c->wish.log_id};
    return nodeset_select(loop_logs_calls(c->logs)->nodes, &wish, &set, err) == RC_OK;
}

static void begin_op(struct change *c)
{
    struct err err = {0};
    char *params = c->extend ? NULL : marker_params(c);
    struct extend_request r = {.calls = loop_logs_calls(c->logs),
                               .store = loop_logs_chain_store(c->logs),
                               .log_id = (uint32_t)c->wish.log_id,
                               .expected_index = chain_last_index(&c->chain),
                               .seal_marker = !c->extend,
                               .sequencer = c->extend ? choose_sequencer(c) : (struct node_ref){0},
                               .replication = &c->replication,
                               .target_nodeset_size = c->target_size,
                               .preferred = c->wish.nodes.len ? &c->wish.nodes : NULL,
                               .marker_params = params};
    if (c->extend && !enough_nodes(c, r.sequencer, &err))
        fail(c, GRPC_INTERNAL, err.msg);
    else
        c->op = replicated_extend(&r, on_extended, c);
    free(params);
}

/* ---- beginning ---- */

static void use_settings(struct change *c)
{
    const struct chain_set *set = chain_service_newest(node_logs_chains(c->node->logs));
    c->replication = c->wish.has_replication ? c->wish.replication : set->replication;
    c->target_size = c->wish.nodes.len ? c->wish.nodes.len : set->target_nodeset_size;
}

static void on_chain(struct chain_request *r, enum rc rc, const struct chain *chain, uint64_t version)
{
    struct change *c = CONTAINER_OF(r, struct change, request);
    c->asking = false;
    if (rc != RC_OK) {
        fail(c, rc == RC_NOT_FOUND ? GRPC_INTERNAL : GRPC_UNAVAILABLE,
             rc == RC_NOT_FOUND ? "Unknown log id" : "the metadata store does not answer");
        return;
    }
    c->chain = chain_copy(chain);
    if (c->wish.has_index && chain_last_index(chain) != c->wish.index) {
        fail(c, GRPC_INTERNAL, "segment index mismatch: another segment is the last one of this log");
        return;
    }
    for (size_t i = chain->len; i-- > 0 && c->last.nodeset.len == 0;) {
        if (chain->segments[i].kind == SEGMENT_REPLICATED &&
            loglet_params_decode(bytes_slice(chain->segments[i].params), &c->last, NULL) != RC_OK)
            c->last = (struct loglet_params){0};
    }
    use_settings(c);
    if (!c->extend && c->wish.forced_tail)
        begin_forced(c);
    else
        begin_op(c);
}

static void out_of_patience(struct env_timer *t)
{
    struct change *c = CONTAINER_OF(t, struct change, patience);
    fail(c, GRPC_UNAVAILABLE,
         c->asking ? "the metadata store does not answer"
                   : "not enough log-servers of the last segment answer to seal it");
}

static void closing(struct loop_logs_user *u)
{
    fail(CONTAINER_OF(u, struct change, user), GRPC_UNAVAILABLE, "the node is shutting down");
}

static void begin(struct rpc *rpc, struct node *n, const struct log_change_request *wish, bool extend)
{
    struct change *c = xcalloc(1, sizeof(*c));
    c->rpc = rpc;
    c->node = n;
    c->logs = node_logs_main(n->logs);
    c->wish = *wish;
    c->extend = extend;
    c->user.closing = closing;
    loop_logs_join(c->logs, &c->user);
    env_timer_init(&c->patience, out_of_patience);
    env_timer_init(&c->force, force_over);
    env_timer_arm(n->env, &c->patience, PATIENCE_MS);
    c->request.done = on_chain;
    c->asking = true;
    struct chain_store *store = loop_logs_chain_store(c->logs);
    store->ops->read(store, (uint32_t)wish->log_id, &c->request);
}

void grpc_seal_log(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct log_change_request wish;
    struct err err = {0};
    enum rc rc = seal_request_decode(bytes_slice(message), &wish, &err);
    bool known = wish.log_id <= UINT32_MAX && logs_config_chain(&n->view.logs, (uint32_t)wish.log_id);
    if (rc == RC_OK && known) {
        begin(rpc, n, &wish, false);
        return;
    }
    rpc_fail(rpc, GRPC_INTERNAL, "%s", rc == RC_OK ? "Unknown log id" : err.msg);
    json_decref(wish.context);
}

void grpc_reconfigure_log(struct rpc *rpc, struct node *n, struct bytes message)
{
    struct log_change_request wish;
    struct err err = {0};
    enum rc rc = extend_request_decode(bytes_slice(message), &wish, &err);
    if (rc != RC_OK)
        rpc_fail(rpc, rc == RC_INVALID ? GRPC_INVALID_ARGUMENT : GRPC_UNIMPLEMENTED, "%s", err.msg);
    else if (wish.log_id > UINT32_MAX || !logs_config_chain(&n->view.logs, (uint32_t)wish.log_id))
        rpc_fail(rpc, GRPC_INTERNAL, "Unknown log id '%llu'", (unsigned long long)wish.log_id);
    else if (wish.min_version > n->view.logs_value.version)
        rpc_fail(rpc, GRPC_UNAVAILABLE, "version %llu of the logs is not known here yet, only %u",
                 (unsigned long long)wish.min_version, n->view.logs_value.version);
    else
        begin(rpc, n, &wish, true);
}
