/* Nodes of the simulator: controller, claims, processors that follow a modelled log, reports to the others.
 * See controller_sim.h. */
#include <stdlib.h>
#include <string.h>

#include "sim/controller_sim.h"

/* ---- processors ---- */

static struct partition_history *history(struct processor *p)
{
    return &p->node->world->history[p->partition];
}

static void announce(struct env_timer *t)
{
    struct processor *p = CONTAINER_OF(t, struct processor, announce);
    struct node *n = p->node;
    if (!p->epoch)
        return;
    if (n->isolated) {
        env_timer_arm(sim_env_get(&n->env), &p->announce, 50);
        return;
    }
    VEC_PUSH(&history(p)->log, ((struct announcement){p->epoch, n->id, n->generation}));
}

static void claimed(struct claim *c, enum rc rc, uint64_t epoch, const char *message)
{
    struct processor *p = CONTAINER_OF(c, struct processor, claim);
    struct world *w = p->node->world;
    p->claiming = false;
    if (rc != RC_OK)
        return;
    w->claims++;
    sim_check_won(w, p->partition, epoch, (struct node_ref){p->node->id, p->node->generation});
    if (!p->present)
        return; /* stopped meanwhile */
    p->epoch = epoch;
    env_timer_arm(sim_env_get(&p->node->env), &p->announce, 1 + below(w, 20));
}

static void become_leader(struct processor *p)
{
    struct node *n = p->node;
    if ((!p->present && controller_mutation != CLAIM_MUT_ANYBODY) || p->claiming || p->epoch ||
        n->failing_over)
        return;
    p->claiming = true;
    p->claim.done = claimed;
    claim_start(&p->claim, sim_env_get(&n->env), &n->kv, n->epochs, (struct node_ref){n->id, n->generation},
                p->partition);
}

static void follow_log(struct processor *p)
{
    struct partition_history *h = history(p);
    for (; p->read < h->log.len; p->read++) {
        const struct announcement *a = &h->log.items[p->read];
        if (a->epoch <= p->last_epoch)
            continue;
        p->last_epoch = a->epoch;
        p->leads = a->epoch == p->epoch && a->node == p->node->id && a->generation == p->node->generation;
        if (!p->leads && a->epoch > p->epoch)
            p->epoch = 0;
    }
}

static void set_member(struct processor *p, bool member)
{
    struct world *w = p->node->world;
    if (member == p->present)
        return;
    p->present = member;
    p->caught_up_at_ms = now_ms(w) + (chance(w, 200) ? below(w, 4000) : below(w, 300));
    p->epoch = p->last_epoch = 0;
    p->leads = false;
    p->read = 0;
    env_timer_cancel(sim_env_get(&p->node->env), &p->announce);
}

/* ---- what the others hear ---- */

struct message {
    uint32_t from, to, partition, version;
    uint64_t to_life;
    struct report report;
    uint32_t versions[SIM_PARTITIONS_MAX];
};

static bool arrives(struct world *w, const struct message *m)
{
    const struct node *to = &w->nodes[m->to];
    return to->up && to->life == m->to_life && sim_reaches(w, m->from, m->to);
}

static void send(struct node *n, uint32_t to, void (*run)(struct world *w, void *arg), struct message m)
{
    struct world *w = n->world;
    if (w->chaos && to != n->id && chance(w, w->lost_permille))
        return;
    struct message *copy = xmalloc(sizeof(*copy));
    m.from = n->id;
    m.to = to;
    m.to_life = w->nodes[to].life;
    *copy = m;
    sim_later(w, to == n->id ? 0 : 1 + below(w, w->chaos ? 20 : 5), run, copy);
}

static void hear_version(struct world *w, void *arg)
{
    struct message *m = arg;
    if (arrives(w, m))
        epochs_heard(w->nodes[m->to].epochs, m->partition, m->version);
    free(m);
}

static void hear_report(struct world *w, void *arg)
{
    struct message *m = arg;
    if (arrives(w, m)) {
        struct node *n = &w->nodes[m->to];
        n->reports[m->from] = m->report;
        for (uint32_t p = 0; p < w->n_partitions; p++)
            epochs_heard(n->epochs, p, m->versions[p]);
        controller_poke(n->controller);
    }
    free(m);
}

static void hear_hint(struct world *w, void *arg)
{
    struct message *m = arg;
    if (arrives(w, m))
        become_leader(&w->nodes[m->to].processors[m->partition]);
    free(m);
}

static void send_report(struct node *n)
{
    struct world *w = n->world;
    struct message m = {.report.generation = n->generation};
    for (uint32_t p = 0; p < w->n_partitions; p++) {
        const struct processor *q = &n->processors[p];
        m.versions[p] = n->seen[p];
        m.report.replica[p] = (struct controller_replica){
            .known = q->present,
            .caught_up = q->present && now_ms(w) >= q->caught_up_at_ms,
            .leads = q->leads,
            .epoch = q->last_epoch,
            .applied_lsn = q->read,
        };
    }
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        send(n, id, hear_report, m);
}

/* ---- the controller's view ---- */

static void view_node(void *ctx, uint32_t node, struct controller_node *out)
{
    struct node *n = ctx;
    out->liveness = n->sees[node];
    out->reachable_by_all = n->reaches[node];
}

static void view_replica(void *ctx, uint32_t node, uint32_t partition, struct controller_replica *out)
{
    struct node *n = ctx;
    const struct report *r = &n->reports[node];
    if (r->generation == n->world->entries[node - 1].generation)
        *out = r->replica[partition];
}

static void send_hint(void *ctx, uint32_t node, uint32_t partition)
{
    struct node *n = ctx;
    n->world->hints++;
    n->world->last_hint_ms = now_ms(n->world);
    sim_trace(n->world, "N%u: N%u shall lead %u", n->id, node, partition);
    send(n, node, hear_hint, (struct message){.partition = partition});
}

static void changed(struct epochs_listener *l, uint32_t partition, const struct epoch_metadata *m)
{
    struct node *n = CONTAINER_OF(l, struct node, listener);
    struct world *w = n->world;
    if (m->version <= n->seen[partition])
        sim_fail(w, "N-3: N%u saw version %u of partition %u after %u", n->id, m->version, partition,
                 n->seen[partition]);
    n->seen[partition] = m->version;
    set_member(&n->processors[partition], epoch_metadata_has(m, n->id));
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        if (id != n->id)
            send(n, id, hear_version, (struct message){.partition = partition, .version = m->version});
}

/* ---- life ---- */

void sim_node_configure(struct node *n)
{
    if (!n->up)
        return;
    controller_set_nodes(n->controller, &n->world->config);
    controller_set_table(n->controller, &n->world->partitions);
}

static void start_processors(struct node *n)
{
    for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++) {
        n->processors[p] = (struct processor){.node = n, .partition = p};
        env_timer_init(&n->processors[p].announce, announce);
        n->seen[p] = 0;
    }
}

void sim_node_start(struct node *n)
{
    static const struct controller_ops ops = {view_node, view_replica, send_hint, NULL};
    struct world *w = n->world;
    struct node_entry *entry = &w->entries[n->id - 1];
    sim_env_init(&n->env, w->seed * 100 + n->id * 10 + entry->generation);
    n->env.mono_ms = now_ms(w);
    n->life++;
    n->generation = ++entry->generation;
    w->config.version++;
    n->up = true;
    n->active = n->failing_over = false;
    start_processors(n);
    memset(n->reports, 0, sizeof(n->reports));
    for (uint32_t id = 1; id <= w->n_nodes; id++) {
        n->sees[id] = CONTROLLER_DEAD;
        n->reaches[id] = true;
        n->differs_since_ms[id] = now_ms(w);
    }
    n->epochs = epochs_new(sim_env_get(&n->env), sim_kv_open(n), &(struct epochs_config){0});
    n->listener.changed = changed;
    epochs_listen(n->epochs, &n->listener);
    n->controller =
        controller_new(sim_env_get(&n->env), &n->kv, n->epochs, &(struct controller_config){0}, &ops, n);
    for (uint32_t id = 1; id <= w->n_nodes; id++)
        sim_node_configure(&w->nodes[id]);
    sim_trace(w, "N%u:%u starts", n->id, n->generation);
}

void sim_node_crash(struct node *n)
{
    if (!n->up)
        return;
    n->up = false;
    n->life++;
    epochs_unlisten(&n->listener);
    controller_free(n->controller);
    epochs_free(n->epochs);
    sim_kv_close(n);
    sim_env_free(&n->env);
    /* A claim that waited to read back has lost its timer with the env and never ends. */
    for (uint32_t p = 0; p < SIM_PARTITIONS_MAX; p++)
        bytes_unref(&n->processors[p].claim.value);
    n->world->crashes++;
    sim_trace(n->world, "N%u crashed", n->id);
}

/* ---- time ---- */

static enum controller_liveness truth(const struct node *n, uint32_t id)
{
    const struct node *other = &n->world->nodes[id];
    if (!other->up || (id != n->id && !sim_reaches(n->world, id, n->id)))
        return CONTROLLER_DEAD;
    return other->failing_over ? CONTROLLER_FAILING_OVER : CONTROLLER_ALIVE;
}

static void detect(struct node *n, uint32_t id)
{
    struct world *w = n->world;
    enum controller_liveness is = truth(n, id);
    if (w->chaos && w->random_detector) {
        if (chance(w, 30))
            n->sees[id] = (enum controller_liveness)below(w, 3);
        n->reaches[id] = !chance(w, 100);
        return;
    }
    n->reaches[id] = true;
    if (is == n->sees[id]) {
        n->differs_since_ms[id] = now_ms(w);
        return;
    }
    uint64_t after = is == CONTROLLER_DEAD ? 1200 : is == CONTROLLER_FAILING_OVER || id == n->id ? 0 : 500;
    if (now_ms(w) - n->differs_since_ms[id] >= after)
        n->sees[id] = is;
}

/* Active: the alive node with the smallest id, by the own view. */
static void look_around(struct node *n)
{
    struct world *w = n->world;
    uint32_t first = 0;
    for (uint32_t id = w->n_nodes; id >= 1; id--) {
        enum controller_liveness before = n->sees[id];
        detect(n, id);
        if (n->sees[id] == CONTROLLER_ALIVE)
            first = id;
        if (n->sees[id] != before)
            controller_poke(n->controller);
    }
    n->active = first == n->id;
    controller_set_active(n->controller, n->active, (struct node_ref){first, first ? 1 : 0});
}

void sim_node_tick(struct node *n)
{
    struct world *w = n->world;
    if (!n->up)
        return;
    sim_env_advance(&n->env, now_ms(w) - n->env.mono_ms);
    uint64_t phase = now_ms(w) + n->id * 7;
    if (phase % 20 == 0)
        look_around(n);
    for (uint32_t p = 0; phase % 5 == 0 && !n->isolated && p < w->n_partitions; p++)
        if (n->processors[p].present)
            follow_log(&n->processors[p]);
    if (phase % 100 == 0)
        send_report(n);
    sim_env_run(&n->env);
}
