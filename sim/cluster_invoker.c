/* invoker/ in the simulated cluster: attempts are those of sim_attempt.c, invoker and SDK in one. */
#include <stdlib.h>

#include "invoker/invoker.h"
#include "node/replica.h"
#include "sim/cluster_sim.h"

struct invoker {
    struct loop *loop;
    struct env_task closed_task;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

struct invoker_partition {
    struct sim_replica replica;
};

static void run_closed(struct env_task *t)
{
    struct invoker *inv = CONTAINER_OF(t, struct invoker, closed_task);
    inv->closed(inv->closed_ctx);
}

enum rc invoker_new(struct loop *loop, struct env *env, struct http_client *client,
                    const struct invoker_config *config, const struct schema_cell *cell, struct invoker **out,
                    struct err *err)
{
    struct invoker *inv = xcalloc(1, sizeof(*inv));
    inv->loop = loop;
    env_task_init(&inv->closed_task, run_closed);
    *out = inv;
    return RC_OK;
}

void invoker_reconfigure(struct invoker *inv, const struct invoker_config *config) {}

void invoker_close(struct invoker *inv, void (*closed)(void *ctx), void *ctx)
{
    inv->closed = closed;
    inv->closed_ctx = ctx;
    env_defer(loop_env(inv->loop), &inv->closed_task);
}

void invoker_free(struct invoker *inv)
{
    free(inv);
}

struct invoker_partition *invoker_partition_new(struct invoker *inv, uint16_t partition_id,
                                                const struct invoker_ops *ops, void *ctx)
{
    struct invoker_partition *p = xcalloc(1, sizeof(*p));
    struct sim_replica *r = &p->replica;
    r->world = &csim->base;
    r->env = loop_env(inv->loop);
    r->node = csim_process_of(inv->loop)->host->index;
    r->partition = partition_id;
    r->p = replica_processor(ctx);
    hmap_init(&r->attempts);
    list_init(&r->attempt_order);
    csim->leaderships++;
    return p;
}

void invoker_partition_free(struct invoker_partition *p)
{
    sim_attempt_abort_all(&p->replica);
    hmap_free(&p->replica.attempts);
    free(p);
}

void invoker_invoke(struct invoker_partition *p, struct invocation *inv)
{
    sim_attempt_start(&p->replica, inv);
}

void invoker_abort(struct invoker_partition *p, struct invocation_id id)
{
    sim_attempt_abort(&p->replica, id);
}

void invoker_notify(struct invoker_partition *p, struct invocation *inv, uint32_t entry_index)
{
    sim_attempt_notify(&p->replica, inv->id);
}

void invoker_ack_command(struct invoker_partition *p, struct invocation_id id, uint32_t command_index) {}

void invoker_effects_applied(struct invoker_partition *p, struct invocation_id id, uint64_t token,
                             uint64_t batch, bool dropped)
{
    sim_attempt_applied(&p->replica, id, token, dropped);
}

bool invoker_pause(struct invoker_partition *p, struct invocation_id id)
{
    return sim_attempt_pause(&p->replica, id);
}

void invoker_retry_now(struct invoker_partition *p, struct invocation_id id) {}
