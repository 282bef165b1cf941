/* Operators: they cancel, kill, pause, resume, purge and restart the invocations of victims, attach to
 * anything, read outputs, patch state, pause and resume queues of scopes. Whatever they do, nobody else is
 * harmed and everything ends; what is left paused is resumed once the faults have healed, copies that wait
 * are terminated. */
#include <stdlib.h>

#include "partition/limits.h"
#include "sim/sim_world.h"

struct operation {
    struct partition_rpc rpc;
    struct sim_world *world;
};

static bool allowed(enum rpc_kind kind, enum rpc_status s)
{
    switch (kind) {
    case RPC_TERMINATE:
        return s == RPC_OK || s == RPC_APPENDED || s == RPC_NOT_FOUND || s == RPC_ALREADY_COMPLETED;
    case RPC_PURGE:
    case RPC_PURGE_JOURNAL:
        return s == RPC_OK || s == RPC_NOT_FOUND || s == RPC_NOT_COMPLETED;
    case RPC_PAUSE:
        return s == RPC_OK || s == RPC_APPENDED || s == RPC_NOT_FOUND || s == RPC_NOT_RUNNING;
    case RPC_RESUME:
        return s == RPC_OK || s == RPC_NOT_FOUND || s == RPC_NOT_STARTED || s == RPC_ALREADY_COMPLETED;
    case RPC_RESTART_AS_NEW:
        return s == RPC_OK || s == RPC_NOT_FOUND || s == RPC_NOT_STARTED || s == RPC_STILL_RUNNING ||
               s == RPC_GONE || s == RPC_BAD_PREFIX || s == RPC_UNSUPPORTED;
    case RPC_GET_OUTPUT:
        return s == RPC_OK || s == RPC_NOT_FOUND || s == RPC_NOT_READY;
    default:
        return s == RPC_OK || s == RPC_NOT_FOUND;
    }
}

static void on_reply(struct partition_rpc *rpc, const struct rpc_reply *reply)
{
    struct operation *op = CONTAINER_OF(rpc, struct operation, rpc);
    struct sim_world *w = op->world;
    SIM_CHECK(w, reply->status == RPC_FAILED || allowed(rpc->kind, reply->status),
              "operation %d answered with status %d", (int)rpc->kind, (int)reply->status);
    w->operations_out--;
    free(op);
}

static void submit_record(struct sim_world *w, enum rpc_kind kind, struct invocation_id id, struct bytes take)
{
    struct processor *p = sim_leader(w, sim_partition_of(w, id.partition_key));
    if (!p) {
        bytes_unref(&take);
        return;
    }
    struct operation *op = xcalloc(1, sizeof(*op));
    op->world = w;
    op->rpc = (struct partition_rpc){
        .kind = kind,
        .request_id = {sim_env_random(&w->env), sim_env_random(&w->env) | 1},
        .partition_key = id.partition_key,
        .id = id,
        .kill = sim_env_below(&w->env, 2),
        .new_id = {.partition_key = id.partition_key, .uuid = {2, sim_env_random(&w->env)}},
        .copy_prefix_up_to = (uint32_t)sim_env_below(&w->env, 6),
        .record = take,
        .reply = on_reply,
    };
    w->operations++;
    w->operations_out++;
    processor_rpc(p, &op->rpc);
}

static void submit(struct sim_world *w, enum rpc_kind kind, struct invocation_id id)
{
    submit_record(w, kind, id, BYTES_EMPTY);
}

/* The whole state of one of the patched objects: between one and three keys, all with the patch's number. */
static void patch(struct sim_world *w)
{
    uint8_t number[8];
    char key[16];
    struct writer entries = WRITER_INIT, record = WRITER_INIT;
    uint64_t n = w->operations + 1;
    put_u64be(number, n);
    sim_patched_key((uint32_t)sim_env_below(&w->env, SIM_PATCHED), key);
    for (uint64_t i = 0; i <= n % 3; i++) {
        const char name[] = {'k', (char)('0' + i)};
        write_lp(&entries, slice_make(name, sizeof(name)));
        write_lp(&entries, slice_make(number, sizeof(number)));
    }
    record_begin(&record, entries.len + 64);
    cmd_patch_state_write(&record, &(struct cmd_patch_state){.service = SLICE_LIT("Patched"),
                                                             .key = slice_cstr(key),
                                                             .entries = writer_slice(&entries)});
    writer_free(&entries);
    uint64_t partition_key = partition_key_of_key(slice_cstr(key));
    submit_record(w, RPC_PATCH_STATE, (struct invocation_id){.partition_key = partition_key},
                  writer_take(&record));
}

static bool tidy_up(void *ctx, const struct invocation *inv)
{
    struct sim_world *w = ctx;
    SIM_CHECK(w, !inv->quarantined, "an invocation was quarantined: %.*s",
              SLICE_FMT(bytes_slice(inv->events.items[inv->events.len - 1].json)));
    if (inv->status == INV_PAUSED)
        submit(w, RPC_RESUME, inv->id);
    /* A copy may wait for good: what it awaits was asked for by the copied prefix, with the id of its
     * original. */
    if (inv->status == INV_SUSPENDED && inv->si.source == SOURCE_RESTART)
        submit(w, RPC_TERMINATE, inv->id);
    return true;
}

static void resume_queue(void *ctx, struct invocation_id queue)
{
    submit(ctx, RPC_RESUME_QUEUE, queue);
}

void sim_operator_tick(struct sim_world *w)
{
    static const enum rpc_kind on_victims[] = {RPC_TERMINATE, RPC_PURGE,  RPC_PURGE_JOURNAL,  RPC_PAUSE,
                                               RPC_PAUSE,     RPC_RESUME, RPC_RESTART_AS_NEW, RPC_TERMINATE};
    static const enum rpc_kind on_anyone[] = {RPC_ATTACH, RPC_GET_OUTPUT, RPC_STATUS, RPC_RESUME};
    struct invocation_id id;
    if (sim_chance(w, 400) && sim_clients_pick(w, true, &id))
        submit(w, on_victims[sim_env_below(&w->env, ARRAY_LEN(on_victims))], id);
    if (sim_chance(w, 100) && sim_clients_pick(w, false, &id))
        submit(w, on_anyone[sim_env_below(&w->env, ARRAY_LEN(on_anyone))], id);
    if (sim_chance(w, 40))
        patch(w);
    if (w->options.scopes && w->faulty && sim_chance(w, 100))
        submit(w, sim_env_below(&w->env, 2) ? RPC_PAUSE_QUEUE : RPC_RESUME_QUEUE, sim_queue(w));
    if (w->faulty || sim_env_below(&w->env, 20))
        return;
    for (uint32_t i = 0; i < w->options.partitions; i++)
        if (sim_leader(w, i)) {
            struct partition_store *s = processor_store(sim_leader(w, i));
            store_scan_invocations(s, tidy_up, w);
            limits_visit_paused(store_limits(s), resume_queue, w);
        }
}
