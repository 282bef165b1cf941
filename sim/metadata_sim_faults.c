/* What goes wrong in the simulated world, and its end. See metadata_sim.h. */
#include "sim/metadata_sim.h"

static struct sim_node *random_node(struct world *w, bool alive)
{
    uint32_t start = (uint32_t)sim_below(w, w->n_nodes);
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct sim_node *n = &w->nodes[(start + i) % w->n_nodes];
        if (n->started && !n->gone && n->alive == alive)
            return n;
    }
    return NULL;
}

static struct sim_node *leader(struct world *w)
{
    struct sim_node *best = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct raft_server_status st;
        if (!w->nodes[i].alive || w->nodes[i].paused)
            continue;
        raft_server_status(w->nodes[i].server, &st);
        if (st.leads && st.raft.term >= term) {
            best = &w->nodes[i];
            term = st.raft.term;
        }
    }
    return best;
}

static bool is_wiped(const struct world *w, struct raft_member m)
{
    for (uint32_t i = 0; i < w->n_wiped; i++)
        if (raft_member_eq(w->wiped[i], m))
            return true;
    return false;
}

/* How many members of these have their disk. */
static uint32_t intact(const struct world *w, const struct raft_members *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++)
        n += !is_wiped(w, m->items[i]);
    return n;
}

/* The last membership that any disk knows, committed or not, and the one before it. */
static void latest_members(const struct world *w, struct raft_members *last, uint32_t *min_intact,
                           uint32_t *min_quorum_gap)
{
    *last = w->members[w->members_max];
    *min_intact = UINT32_MAX;
    *min_quorum_gap = 0;
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        const struct raft_durable *d = &w->nodes[i].disk.model;
        for (size_t k = 0; k < d->entries.len; k++) {
            const struct raft_log_entry *e = &d->entries.items[k];
            if (e->kind != RAFT_MEMBERS)
                continue;
            struct reader r = reader_make(bytes_slice(e->data));
            struct raft_members m;
            raft_members_read(&r, &m);
            if (m.version >= last->version)
                *last = m;
        }
        if (d->snapshot.members.version > last->version)
            *last = d->snapshot.members;
    }
    if (last->version == 0)
        *last = (struct raft_members){.version = 1, .n = 1};
    *min_intact = intact(w, last);
    *min_quorum_gap = last->n / 2 + 1;
}

bool sim_quorum_possible(struct world *w)
{
    if (w->n_wiped == 0)
        return true;
    struct raft_members last;
    uint32_t n, quorum;
    latest_members(w, &last, &n, &quorum);
    const struct raft_members *committed = &w->members[w->members_max];
    return n >= quorum && intact(w, committed) >= committed->n / 2 + 1;
}

/* One disk less must leave a majority in all memberships that may be in force. */
static bool may_wipe(struct world *w, const struct sim_node *victim)
{
    struct raft_members last;
    uint32_t n, quorum;
    latest_members(w, &last, &n, &quorum);
    const struct raft_members *committed = &w->members[w->members_max];
    struct sim_node *lead = leader(w);
    struct raft_server_status st;
    if (!lead || committed->version < 2 || last.version != committed->version || w->n_wiped > 20)
        return false;
    raft_server_status(lead->server, &st);
    for (uint32_t i = 0; i < committed->n; i++)
        if (raft_member_eq(committed->items[i], victim->last_self) && is_wiped(w, victim->last_self))
            return false;
    return st.members.version == committed->version && n >= quorum + 1 && victim != lead;
}

static void cut_some(struct world *w)
{
    bool one_way = sim_chance(w, 300);
    uint32_t total = NODES_MAX + CLIENTS_MAX;
    bool side[NODES_MAX + CLIENTS_MAX];
    uint32_t alone = sim_chance(w, 500) ? (uint32_t)sim_below(w, w->n_nodes) : UINT32_MAX;
    for (uint32_t i = 0; i < total; i++)
        side[i] = alone == UINT32_MAX ? sim_chance(w, 500) : i == alone;
    for (uint32_t i = 0; i < total; i++)
        for (uint32_t k = 0; k < total; k++) {
            bool clients = i >= NODES_MAX || k >= NODES_MAX;
            if (side[i] != side[k] && (!one_way || side[i]) && (!clients || sim_chance(w, 300)))
                w->blocked[i][k] = true;
        }
    sim_trace(w, "network cut%s", one_way ? " one way" : "");
}

static void mend_network(struct world *w)
{
    memset(w->blocked, 0, sizeof(w->blocked));
}

/* The others see the connections break at once, or only the silence. */
static void tell_peers(struct world *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        if (!n->alive || n->paused || !sim_chance(w, 700))
            continue;
        sim_enter(w, &n->env);
        raft_server_peer_lost(n->server, node);
        sim_leave(w, n, &n->env);
    }
}

static void crash_some(struct world *w, struct sim_node *n)
{
    sim_node_crash(n);
    if (sim_chance(w, 500))
        tell_peers(w, n->id);
    if (w->healed)
        return;
    if (sim_chance(w, 350) && may_wipe(w, n))
        sim_node_wipe(n);
    env_timer_arm(sim_env_get(&w->env), &n->boot, sim_below(w, 1500));
}

static void stopped(void *ctx)
{
    struct sim_node *n = ctx;
    env_timer_arm(sim_env_get(&n->world->env), &n->boot, 0);
}

/* SIGTERM: hand over, then end. */
static void stop_some(struct world *w, struct sim_node *n)
{
    sim_trace(w, "N%u is asked to stop", n->id);
    w->n_transfers++;
    n->stopping = true;
    sim_enter(w, &n->env);
    raft_server_stop(n->server, stopped);
    sim_leave(w, n, &n->env);
}

static void remove_some(struct world *w)
{
    struct sim_node *lead = leader(w);
    if (!lead)
        return;
    struct err err = {0};
    uint32_t node = 1 + (uint32_t)sim_below(w, w->n_nodes);
    struct raft_server_status st;
    raft_server_status(lead->server, &st);
    /* A lost disk first; and mostly not below the members the run began with. */
    bool lost = false;
    for (uint32_t i = 0; i < st.members.n; i++)
        if (is_wiped(w, st.members.items[i])) {
            node = st.members.items[i].node;
            lost = true;
        }
    if (!lost && st.members.n <= w->n_start && !sim_chance(w, 300))
        return;
    if (!lost && intact(w, &st.members) <= st.members.n / 2 + 1 && st.members.n > 2)
        return;
    sim_enter(w, &lead->env);
    enum rc rc = raft_server_remove(lead->server, node, &err);
    sim_leave(w, lead, &lead->env);
    sim_trace(w, "remove N%u: %s %s", node, rc_name(rc), err.msg);
}

static void add_some(struct world *w)
{
    struct sim_node *n = random_node(w, true);
    if (!n || n->paused)
        return;
    n->again = true;
    n->refused = false;
    sim_enter(w, &n->env);
    raft_joiner_start(n->joiner, true);
    sim_leave(w, n, &n->env);
}

static void start_some(struct world *w)
{
    for (uint32_t i = 0; i < w->n_nodes; i++)
        if (!w->nodes[i].started) {
            sim_node_boot(&w->nodes[i]);
            return;
        }
}

/* N-4: something that calls itself the leader of a term far away, in another cluster. */
static void intrude(struct world *w, struct sim_node *n)
{
    struct raft_server_status st;
    raft_server_status(n->server, &st);
    struct metadata_message m = {.kind = RAFT_APPEND};
    m.header.fingerprint = FINGERPRINT + (w->mutation == SIM_MUT_OTHER_CLUSTER ? 0 : 1);
    m.header.cluster_name = slice_cstr(CLUSTER_NAME);
    m.header.from = (struct raft_member){n->id % w->n_nodes + 1, 1};
    m.header.to = st.self;
    m.append.term = 2000000;
    struct writer out = WRITER_INIT;
    metadata_message_encode(&out, &m);
    sim_enter(w, &n->env);
    raft_server_receive(n->server, writer_slice(&out), NULL);
    sim_leave(w, n, &n->env);
    writer_free(&out);
}

static void jump_clock(struct world *w, struct sim_node *n)
{
    if (w->mutation != SIM_MUT_WIPED_KEEPS_ID)
        n->env.wall_base_ms += sim_below(w, 20000) - 10000;
}

static void disk_trouble(struct world *w, struct sim_node *n)
{
    if (sim_chance(w, 400))
        sim_disk_full(n, !n->disk.full);
    else
        n->disk.slow_ms = sim_chance(w, 500) ? 0 : (uint32_t)sim_below(w, 700);
}

static void weather(struct world *w)
{
    w->drop_permille = sim_chance(w, 400) ? (uint32_t)sim_below(w, 250) : 0;
    w->repeat_permille = sim_chance(w, 400) ? (uint32_t)sim_below(w, 200) : 0;
    w->late_permille = sim_chance(w, 300) ? (uint32_t)sim_below(w, 60) : 0;
    w->delay_ms = sim_chance(w, 700) ? (uint32_t)sim_below(w, 10) : (uint32_t)sim_below(w, 120);
}

static void fault_fired(struct env_timer *t)
{
    struct world *w = CONTAINER_OF(t, struct world, fault);
    if (w->healed)
        return;
    env_timer_arm(sim_env_get(&w->env), t, 20 + sim_below(w, 500));
    struct sim_node *n = random_node(w, true);
    uint64_t what = sim_below(w, 100);
    if (what < 12)
        weather(w);
    else if (what < 20)
        cut_some(w);
    else if (what < 30)
        mend_network(w);
    else if (what < 38)
        remove_some(w);
    else if (what < 48)
        add_some(w);
    else if (what < 52)
        start_some(w);
    else if (!n)
        return;
    else if (what < 56)
        intrude(w, n);
    else if (what < 60)
        jump_clock(w, n);
    else if (what < 68)
        disk_trouble(w, n);
    else if (what < 72 && !n->paused && !n->stopping)
        stop_some(w, n);
    else if (what < 82)
        n->paused = !n->paused;
    else if (what < 88 && leader(w))
        crash_some(w, leader(w));
    else
        crash_some(w, n);
}

void sim_faults_start(struct world *w)
{
    env_timer_init(&w->fault, fault_fired);
    env_timer_arm(sim_env_get(&w->env), &w->fault, 300);
    weather(w);
}

/* Everybody runs, the network is whole, the disks are well. */
void sim_heal(struct world *w)
{
    sim_trace(w, "healing");
    w->healed = true;
    mend_network(w);
    w->drop_permille = w->repeat_permille = w->late_permille = 0;
    w->delay_ms = 3;
    for (uint32_t i = 0; i < w->n_clients; i++) /* the nodes configuration reaches everybody */
        sim_client_learn(&w->clients[i], w->n_nodes);
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        sim_disk_full(n, false);
        n->disk.slow_ms = 0;
        n->paused = false;
        if (n->alive)
            sim_node_crash(n); /* also whoever was asked to stop */
        env_timer_cancel(sim_env_get(&w->env), &n->boot);
        if (!n->started || n->gone)
            continue;
        sim_node_boot(n);
    }
}
