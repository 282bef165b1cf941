/* The failure detector of the simulated cluster (spec/cluster.md §11.2). In one of four runs what it says is
 * made up while there are faults: nothing that must be right may depend on it (F-1). A generation that a node
 * has seen is never taken back (F-3), and in the end all agree on who runs (F-2). */
#include <stdlib.h>

#include "bifrost/nodeset.h"
#include "membership/membership_internal.h"
#include "sim/cluster_sim.h"

#define LIES_PER_THOUSAND 150u
#define NODE_IDS          16u
#define AGREE_MS          10000u

struct watched {
    struct membership *membership;
    struct csim_process *process;
    const struct membership_ops *ops;
    void *ctx;
};
static struct {
    struct watched *items;
    size_t len, cap;
} detectors;

static bool lies(void)
{
    return csim->options.seed % 4 == 3 && csim->options.faults && csim_chance(LIES_PER_THOUSAND);
}

enum membership_verdict __real_membership_verdict(const struct membership *m, uint32_t node);
enum membership_verdict __wrap_membership_verdict(const struct membership *m, uint32_t node);
enum membership_verdict __wrap_membership_verdict(const struct membership *m, uint32_t node)
{
    return lies() ? (enum membership_verdict)csim_below(MEMBERSHIP_VERDICTS)
                  : __real_membership_verdict(m, node);
}

void __real_membership_node_at(const struct membership *m, size_t i, struct membership_node *out);
void __wrap_membership_node_at(const struct membership *m, size_t i, struct membership_node *out);
void __wrap_membership_node_at(const struct membership *m, size_t i, struct membership_node *out)
{
    __real_membership_node_at(m, i, out);
    if (lies())
        out->verdict = (enum membership_verdict)csim_below(MEMBERSHIP_VERDICTS);
}

enum liveness __real_node_directory_liveness(const struct node_directory *d, uint32_t id);
enum liveness __wrap_node_directory_liveness(const struct node_directory *d, uint32_t id);
enum liveness __wrap_node_directory_liveness(const struct node_directory *d, uint32_t id)
{
    return lies() ? (enum liveness)csim_below(LIVENESS_DEAD + 1) : __real_node_directory_liveness(d, id);
}

struct membership *__real_membership_new(struct env *env, const struct membership_config *config,
                                         const struct membership_ops *ops, void *ctx);
struct membership *__wrap_membership_new(struct env *env, const struct membership_config *config,
                                         const struct membership_ops *ops, void *ctx);
struct membership *__wrap_membership_new(struct env *env, const struct membership_config *config,
                                         const struct membership_ops *ops, void *ctx)
{
    struct watched w = {__real_membership_new(env, config, ops, ctx), csim->current_process, ops, ctx};
    VEC_PUSH(&detectors, w);
    return w.membership;
}

void __real_membership_free(struct membership *m);
void __wrap_membership_free(struct membership *m);
void __wrap_membership_free(struct membership *m)
{
    for (size_t i = 0; i < detectors.len; i++) {
        if (detectors.items[i].membership == m)
            detectors.items[i].membership = NULL;
    }
    __real_membership_free(m);
}

/* F-3 */
void __real_membership_receive(struct membership *m, struct slice message);
void __wrap_membership_receive(struct membership *m, struct slice message);
void __wrap_membership_receive(struct membership *m, struct slice message)
{
    uint32_t before[NODE_IDS];
    if (csim_mutated(CSIM_DEAF) && csim->current_process->host->starts > 1)
        return;
    for (uint32_t i = 0; i < NODE_IDS; i++)
        before[i] = membership_generation(m, i);
    __real_membership_receive(m, message);
    for (uint32_t i = 0; i < NODE_IDS; i++)
        SIM_CHECK(&csim->base, membership_generation(m, i) >= before[i],
                  "F-3: the detector takes N%u from generation %u to %u", i, before[i],
                  membership_generation(m, i));
}

static struct membership *of(const struct csim_process *p)
{
    for (size_t i = 0; i < detectors.len; i++) {
        if (detectors.items[i].process == p)
            return detectors.items[i].membership;
    }
    return NULL;
}

static void tell_again(void *ctx)
{
    struct watched *w = ctx;
    if (w->membership)
        w->ops->changed(w->ctx, MEMBERSHIP_NODES | MEMBERSHIP_LEADERS);
}

/* The truth again: whoever acted on something else looks again. */
void csim_detectors_heal(void)
{
    for (size_t i = 0; i < detectors.len; i++) {
        struct watched *w = &detectors.items[i];
        if (w->membership && w->process->alive && !w->process->paused)
            csim_enter(w->process->node.loop, tell_again, w);
    }
}

static bool agree(void)
{
    for (uint32_t i = 0; i < csim->options.nodes; i++) {
        const struct csim_host *h = &csim->hosts[i];
        const struct membership *m = h->process && !h->gone ? of(h->process) : NULL;
        for (uint32_t k = 0; m && k < csim->options.nodes; k++) {
            const struct csim_host *other = &csim->hosts[k];
            bool dead = __real_membership_verdict(m, other->node_id) == MEMBERSHIP_DEAD;
            bool alive = __real_membership_verdict(m, other->node_id) == MEMBERSHIP_ALIVE;
            if (!h->gone && other->node_id && (other->gone ? !dead : !alive))
                return false;
        }
    }
    return true;
}

bool csim_detectors_agree(void)
{
    static uint64_t all_there_us;
    for (uint32_t i = 0; i < csim->options.nodes && !all_there_us; i++) {
        const struct csim_host *h = &csim->hosts[i];
        if (!h->gone && (!h->process || h->process->node.state != NODE_ALIVE))
            return false;
    }
    if (!all_there_us)
        all_there_us = csim->now_us;
    bool ok = agree();
    /* Who leaves later, as an operator wants it, begins anew. */
    if (ok || csim_operator_busy())
        all_there_us = csim->now_us;
    SIM_CHECK(&csim->base, csim->now_us <= all_there_us + AGREE_MS * 1000,
              "F-2: %u ms after all nodes are there they do not agree on that", AGREE_MS);
    return ok;
}
