/* Handler programs as pure functions of a seed, and the effects they must have exactly once. */
#include "sim/sim_world.h"

#include <stdio.h>

void sim_object_key(uint32_t object, char out[16])
{
    snprintf(out, 16, "object-%u", object);
}

void sim_patched_key(uint32_t n, char out[16])
{
    snprintf(out, 16, "patched-%u", n);
}

uint32_t sim_object_extras(struct slice log)
{
    if (log.len < 16)
        return 0;
    return (log.ptr[log.len - 10] + log.ptr[log.len - 1]) % 4;
}

void sim_extra_key(uint32_t n, char out[16])
{
    snprintf(out, 16, "x%u", n);
}

void sim_program_make(struct sim_program *p, uint64_t seed, uint32_t depth, uint32_t objects)
{
    uint64_t rng[4];
    sim_rng_seed(rng, seed);
    *p = (struct sim_program){.seed = seed, .depth = depth, .n = 1 + sim_rng_next(rng) % SIM_MAX_OPS};
    for (size_t i = 0; i < p->n; i++) {
        struct sim_op *op = &p->ops[i];
        op->kind = (enum sim_op_kind)(sim_rng_next(rng) % OP_KINDS);
        if (op->kind == OP_CALL_FLOW && depth >= 2)
            op->kind = OP_SLEEP;
        op->object = (uint32_t)(sim_rng_next(rng) % objects);
        op->delay_ms = 1 + sim_rng_next(rng) % 300;
        op->child_seed = sim_rng_next(rng) | 1;
    }
}

void sim_program_expect(const struct sim_program *p, uint32_t objects, bool maybe, struct sim_appends *out)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct sim_op *op = &p->ops[i];
        switch (op->kind) {
        case OP_CALL_APPEND:
        case OP_SEND_APPEND:
        case OP_SEND_APPEND_LATER:
        case OP_RACE_SLEEP_CALL:
        case OP_ATTACH:
            VEC_PUSH(out, ((struct sim_append){p->seed, i, op->object, op->kind != OP_SEND_APPEND_LATER,
                                               maybe, false}));
            break;
        case OP_CALL_FLOW: {
            struct sim_program child;
            sim_program_make(&child, op->child_seed, p->depth + 1, objects);
            sim_program_expect(&child, objects, maybe, out);
            break;
        }
        default:
            break;
        }
    }
}
