/* What the simulated cluster does not have: HTTP, operators' gRPC, the admin API, SQL, traces. The node
 * starts and stops them; here nothing stands behind that. An ingress is a door to the router of its loop.
 * When sim_cluster does not link because of something defined twice, node/ uses a further function of such a
 * room, which needs its stand-in here. */
#include <stdlib.h>

#include "http/client.h"
#include "invoker/identity.h"
#include "invoker/lambda.h"
#include "node/grpc_server.h"
#include "node/leader_call.h"
#include "node/node_metrics.h"
#include "node/query_gather.h"
#include "node/query_remote.h"
#include "node/tracing.h"
#include "sim/cluster_sim.h"

/* ---- http/ ---- */

void http_client_config_default(struct http_client_config *c)
{
    *c = (struct http_client_config){0};
}

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config)
{
    return xcalloc(1, 1);
}

void http_client_free(struct http_client *c)
{
    free(c);
}

void http_server_config_default(struct http_server_config *c)
{
    *c = (struct http_server_config){0};
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_config *config,
                                    const struct http_server_ops *ops, void *ctx)
{
    return xcalloc(1, 1);
}

void http_server_accept(struct http_server *s, struct net_conn *conn)
{
    net_conn_close(conn);
}

void http_server_drain(struct http_server *s, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    done(ctx);
}

void http_server_free(struct http_server *s)
{
    free(s);
}

void http_respond(struct http_request *r, int status, const struct http_header *headers, size_t n,
                  struct bytes body)
{
    UNREACHABLE("there are no requests");
}

struct slice http_request_method(const struct http_request *r)
{
    return SLICE_EMPTY;
}

struct slice http_request_target(const struct http_request *r)
{
    return SLICE_EMPTY;
}

/* ---- ingress/ ---- */

struct ingress {
    struct csim_door door;
    void (*drained)(void *ctx);
    void *ctx;
    struct env_task task;
};

struct ingress_shared *ingress_shared_new(const struct ingress_config *config)
{
    return xcalloc(1, 1);
}

void ingress_shared_free(struct ingress_shared *shared)
{
    free(shared);
}

struct ingress *ingress_new(struct ingress_shared *shared, struct loop *loop, struct partition_router *router,
                            const struct schema_cell *schema)
{
    struct ingress *in = xcalloc(1, sizeof(*in));
    in->door = (struct csim_door){loop, router};
    VEC_PUSH(&csim_process_of(loop)->doors, &in->door);
    return in;
}

static void ingress_accepted(void *ctx, struct net_conn *conn)
{
    net_conn_close(conn);
}

const struct net_listener_ops ingress_listener_ops = {.on_accept = ingress_accepted};

static void ingress_drained(struct env_task *t)
{
    struct ingress *in = CONTAINER_OF(t, struct ingress, task);
    in->drained(in->ctx);
}

void ingress_drain(struct ingress *in, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    csim_process_of(in->door.loop)->doors.len = 0;
    in->drained = done;
    in->ctx = ctx;
    env_task_init(&in->task, ingress_drained);
    env_defer(loop_env(in->door.loop), &in->task);
}

void ingress_free(struct ingress *in) {}

void ingress_set_tracer(struct ingress *in, struct tracer *tracer) {}

/* ---- metrics, traces ---- */

void node_metrics_register(struct node *n) {}

struct trace_exporter *node_tracing_new(struct loop *loop, const struct node_config *config,
                                        const char *version)
{
    return NULL;
}

void trace_exporter_close(struct trace_exporter *e, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    done(ctx);
}

struct tracer *tracer_new(struct trace_exporter *e, struct loop *loop)
{
    return NULL;
}

void tracer_free(struct tracer *t) {}

void invocation_end_span(struct tracer *t, const struct trace_context *context, struct invocation_id id,
                         const struct target *target, const struct outcome *result)
{
}

/* ---- operators, admin, SQL ---- */

bool grpc_server_serve(struct node *n, struct http_request *r, struct slice service, struct slice method)
{
    return false;
}

void leader_call_asked(struct node *n, enum node_method method, struct slice payload,
                       struct node_answer *answer)
{
    node_answer_send(answer, RC_UNSUPPORTED, "not simulated", SLICE_EMPTY);
}

void leader_calls_stop(struct node *n) {}

void query_gather_asked(struct node *n, struct slice payload, struct node_answer *answer)
{
    node_answer_send(answer, RC_UNSUPPORTED, "not simulated", SLICE_EMPTY);
}

void query_scans_question(struct query_scans *s, struct slice payload, struct node_answer *answer)
{
    node_answer_send(answer, RC_UNSUPPORTED, "not simulated", SLICE_EMPTY);
}

void node_queries_start(struct node *n) {}

void node_queries_stop(struct node *n, void (*done)(struct node *n))
{
    done(n);
}

enum rc node_admin_new(struct node *n, struct err *err)
{
    return RC_OK;
}

struct lambda_access *lambda_access_new(const struct lambda_access_config *config)
{
    return NULL;
}

enum rc identity_new(const char *pem, uint64_t expiration_s, struct identity **out, struct err *err)
{
    return err_set(err, RC_UNSUPPORTED, "not simulated");
}

const char *identity_key_id(const struct identity *id)
{
    return "";
}

void identity_free(struct identity *id) {}
