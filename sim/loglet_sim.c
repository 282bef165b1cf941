/* sim_loglet: runs seeds of the replicated log's simulator, scripted scenarios, and the mutations that the
 * checkers must notice. See loglet_sim.h.
 *
 *   sim_loglet --seeds 100 [--first 1]     random runs; a failing seed prints how to repeat it
 *   sim_loglet --seed 17 --trace           one run, with its faults
 *   sim_loglet --mutations                 every mutation must make some seed fail */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/loglet_sim.h"

#define HEAL_LIMIT_MS  10000 /* spec V-1 */
#define MUTATION_SEEDS 200

static const char *const mutation_names[MUTATIONS] = {
    "nothing",          "repair-raises-trust", "repair-is-delivered", "ack-before-sync",
    "second-sequencer", "other-bytes",         "seal-forgotten",      "holes",
    "swap-blind",       "write-quorum-of-one"};

const char *sim_mutation_name(enum sim_mutation m)
{
    return mutation_names[m];
}

/* ---- the world's helpers ---- */

uint64_t sim_random(struct sim_world *w, uint64_t below)
{
    return below ? sim_rng_next(w->rng) % below : 0;
}

bool sim_chance(struct sim_world *w, unsigned percent)
{
    return sim_random(w, 100) < percent;
}

void sim_at(struct sim_world *w, struct sim_event *e, uint64_t after_ms)
{
    heap_node_init(&e->heap);
    heap_push(&w->events, &e->heap, w->now_ms + after_ms);
}

/* Who waits for what, for a person. */
static void dump(struct sim_world *w)
{
    for (unsigned l = 1; l <= w->options.logs && w->options.trace; l++) {
        lsn_t tail;
        sim_check_tail_begin(w, l, &tail);
        printf("log %u: leader N%u, known tail %llu, trimmed to %llu\n", l, w->leader[l],
               (unsigned long long)tail, (unsigned long long)w->trimmed[l]);
        for (size_t i = 0; i < w->chains[l].len; i++) {
            const struct chain_segment *s = &w->chains[l].segments[i];
            printf("  segment %u at %llu %s %.*s\n", s->index, (unsigned long long)s->base_lsn,
                   segment_kind_name(s->kind), SLICE_FMT(bytes_slice(s->params)));
            for (unsigned n = 1; n <= w->options.nodes; n++) {
                const struct sim_disk_loglet *d =
                    sim_disk_find(w->nodes[n].disk, chain_loglet_id(l, s->index));
                if (d && s->kind == SEGMENT_REPLICATED)
                    printf("    N%u: tail %llu trim %llu%s\n", n, (unsigned long long)d->tail,
                           (unsigned long long)d->trim_point, d->sealed ? " sealed" : "");
            }
        }
        for (unsigned i = 1; i <= w->options.nodes; i++) {
            struct replicated_log_status st;
            if (!w->nodes[i].up || !w->nodes[i].handles[l].log)
                continue;
            replicated_log_get_status(w->nodes[i].handles[l].log, &st);
            printf("  N%u: role %d segment %u base %llu waiting %zu stalled %llu; read to %llu\n", i,
                   (int)st.role, st.segment_index, (unsigned long long)st.base_lsn, st.waiting,
                   (unsigned long long)st.stalled_ms, (unsigned long long)w->nodes[i].handles[l].next);
        }
    }
}

void sim_fail(struct sim_world *w, const char *fmt, ...)
{
    va_list ap;
    dump(w);
    fflush(stdout);
    va_start(ap, fmt);
    fprintf(stderr, "seed %llu, %llu ms: ", (unsigned long long)w->seed, (unsigned long long)w->now_ms);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n  again with: sim_loglet --seed %llu --trace", (unsigned long long)w->seed);
    if (w->options.mutation)
        fprintf(stderr, " --mutate %s", mutation_names[w->options.mutation]);
    fprintf(stderr, "\n");
    _exit(1);
}

void sim_trace(struct sim_world *w, const char *fmt, ...)
{
    va_list ap;
    if (!w->options.trace)
        return;
    va_start(ap, fmt);
    printf("%8llu  ", (unsigned long long)w->now_ms);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

static struct sim_node *random_node(struct sim_world *w)
{
    return &w->nodes[1 + sim_random(w, w->options.nodes)];
}

static unsigned random_log(struct sim_world *w)
{
    return 1 + (unsigned)sim_random(w, w->options.logs);
}

/* ---- faults ---- */

static void cut_some(struct sim_world *w)
{
    unsigned a = random_node(w)->id, b = random_node(w)->id;
    if (a == b)
        return;
    switch (sim_random(w, 3)) {
    case 0: /* one direction */
        w->cut[a][b] = true;
        break;
    case 1: /* one link */
        w->cut[a][b] = w->cut[b][a] = true;
        break;
    default: /* one node from all */
        for (unsigned i = 1; i <= w->options.nodes; i++) {
            if (i != a)
                w->cut[a][i] = w->cut[i][a] = true;
        }
    }
    sim_trace(w, "cut between N%u and N%u", a, b);
    if (sim_chance(w, 50))
        sim_net_broken(w, a, b);
}

static void heal_links(struct sim_world *w)
{
    memset(w->cut, 0, sizeof(w->cut));
    memset(w->meta_cut, 0, sizeof(w->meta_cut));
    sim_trace(w, "links heal");
}

static void crash_some(struct sim_world *w)
{
    struct sim_node *n = random_node(w);
    if (!n->up)
        return;
    sim_trace(w, "N%u:%u crashes", n->id, n->generation);
    sim_node_crash(n);
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        if (i != n->id)
            sim_net_broken(w, i, n->id);
    }
}

static void restart_some(struct sim_world *w)
{
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        if (!w->nodes[i].up && sim_chance(w, 60)) {
            sim_node_start(&w->nodes[i]);
            sim_trace(w, "N%u:%u starts", i, w->nodes[i].generation);
        }
    }
}

/* One lost disk at most, and only where the others can bear it. */
static void wipe_some(struct sim_world *w)
{
    struct sim_node *n = random_node(w);
    if (w->stats.wipes > 0 || w->options.copies < 2 || w->options.nodes < w->options.copies + 1 ||
        w->options.zones)
        return;
    sim_trace(w, "N%u loses its disk", n->id);
    sim_node_crash(n);
    sim_disk_wipe(n->disk);
    n->wiped = true;
    n->storage = STORAGE_DATA_LOSS;
    w->stats.wipes++;
}

static void disk_trouble(struct sim_world *w)
{
    struct sim_node *n = random_node(w);
    switch (sim_random(w, 5)) {
    case 0:
        sim_disk_set_latency(n->disk, 200);
        sim_trace(w, "disk of N%u is slow", n->id);
        break;
    case 1:
        sim_disk_set_full(n->disk, true);
        sim_trace(w, "disk of N%u is full", n->id);
        break;
    case 2:
        sim_disk_fail_next(n->disk, true);
        sim_trace(w, "a write of N%u fails", n->id);
        break;
    default:
        sim_disk_set_latency(n->disk, 2);
        sim_disk_set_full(n->disk, false);
    }
}

static void pause_some(struct sim_world *w)
{
    struct sim_node *n = random_node(w);
    n->paused_until_ms = w->now_ms + sim_random(w, 4000);
    sim_trace(w, "N%u sleeps until %llu", n->id, (unsigned long long)n->paused_until_ms);
}

static void change_storage_state(struct sim_world *w)
{
    struct sim_node *n = random_node(w);
    if (n->wiped || w->options.zones)
        return;
    n->storage =
        n->storage == STORAGE_READ_WRITE && sim_chance(w, 30) ? STORAGE_READ_ONLY : STORAGE_READ_WRITE;
    sim_trace(w, "N%u is %s", n->id, storage_state_name(n->storage));
}

static void fault(struct sim_world *w)
{
    switch (sim_random(w, 24)) {
    case 0:
    case 1:
        crash_some(w);
        break;
    case 2:
    case 3:
    case 4:
        restart_some(w);
        break;
    case 5:
    case 6:
        cut_some(w);
        break;
    case 7:
    case 8:
        heal_links(w);
        break;
    case 9:
        pause_some(w);
        break;
    case 10:
    case 11:
        disk_trouble(w);
        break;
    case 12:
        w->loss_percent = sim_chance(w, 50) ? 0 : (unsigned)sim_random(w, 30);
        break;
    case 13:
        w->dup_percent = (unsigned)sim_random(w, 20);
        w->delay_ms = sim_chance(w, 80) ? 5 : 100;
        break;
    case 14:
        w->meta_fault_percent = (unsigned)sim_random(w, 60);
        w->meta_cut[random_node(w)->id] = sim_chance(w, 50);
        break;
    case 15:
        if (sim_chance(w, 5))
            wipe_some(w);
        break;
    case 16:
        change_storage_state(w);
        break;
    default:
        break;
    }
}

/* ---- work ---- */

static void trim_some(struct sim_world *w)
{
    struct sim_node *n = random_node(w);
    unsigned l = random_log(w);
    if (!n->up || !n->handles[l].log || n->handles[l].closing)
        return;
    lsn_t committed = n->handles[l].log->committed;
    lsn_t upto = sim_random(w, committed + 1) + (sim_chance(w, 20) ? 5 : 0);
    w->trimmed[l] = MAX(w->trimmed[l], upto);
    w->stats.trims++;
    log_trim(n->handles[l].log, upto);
    sim_node_settle(n);
}

static void work(struct sim_world *w)
{
    unsigned l = random_log(w);
    struct sim_node *leader = &w->nodes[w->leader[l]];
    struct sim_node *any = random_node(w);
    unsigned what = (unsigned)sim_random(w, 100);
    if (what < 55)
        sim_node_append(sim_chance(w, 90) ? leader : any, l);
    else if (what < 63)
        sim_node_find_tail(any, l);
    else if (what < 66)
        w->leader[l] = any->id;
    else if (what < 70)
        sim_node_lone_sealer(any, l);
    else if (what < 72)
        sim_node_reread(any, l, 1 + sim_random(w, 10));
    else if (what < 74)
        sim_node_reopen(any, l);
    else if (what < 76)
        trim_some(w);
    else if (what < 77)
        sim_node_seal_log(sim_chance(w, 50) ? leader : any, l);
    else if (what < 79 && leader->up && leader->handles[l].log && !leader->handles[l].closing) {
        replicated_log_reconfigure(leader->handles[l].log);
        sim_node_settle(leader);
    }
}

/* ---- the loop ---- */

static void run_event(struct sim_world *w, struct sim_event *e)
{
    if (e->node) {
        struct sim_node *n = &w->nodes[e->node];
        if (!n->up || (e->incarnation && e->incarnation != n->incarnation)) {
            e->drop(e);
            return;
        }
        if (w->now_ms < n->paused_until_ms) { /* waits in the socket buffer */
            sim_at(w, e, n->paused_until_ms - w->now_ms);
            return;
        }
        n->env.mono_ms = w->now_ms;
        e->run(w, e);
        sim_node_settle(n);
        return;
    }
    e->run(w, e);
}

static uint64_t node_next_ms(const struct sim_world *w, const struct sim_node *n)
{
    const struct heap_node *t = n->up ? heap_min(&n->env.timers) : NULL;
    return t ? MAX(MAX(t->key, n->paused_until_ms), w->now_ms) : UINT64_MAX;
}

/* The next thing that happens until `limit_ms`; false: nothing. */
static bool step(struct sim_world *w, uint64_t limit_ms)
{
    struct heap_node *first = heap_min(&w->events);
    uint64_t at = first ? MAX(first->key, w->now_ms) : UINT64_MAX;
    struct sim_node *node = NULL;
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        uint64_t ms = node_next_ms(w, &w->nodes[i]);
        if (ms < at) {
            at = ms;
            node = &w->nodes[i];
        }
    }
    if (at > limit_ms) {
        w->now_ms = limit_ms;
        return false;
    }
    w->now_ms = at;
    if (node) {
        node->env.mono_ms = at;
        sim_env_next(&node->env, 0);
    } else {
        heap_remove(&w->events, first);
        run_event(w, CONTAINER_OF(first, struct sim_event, heap));
    }
    return true;
}

static void run_until(struct sim_world *w, uint64_t ms)
{
    while (step(w, ms))
        ;
}

static void gossip(struct sim_world *w, unsigned percent)
{
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        if (w->now_ms >= w->nodes[i].paused_until_ms && sim_chance(w, percent))
            sim_node_gossip(&w->nodes[i]);
    }
}

static void chaos(struct sim_world *w)
{
    uint64_t end = w->now_ms + w->options.chaos_ms;
    while (w->now_ms < end) {
        run_until(w, w->now_ms + sim_random(w, 40));
        work(w);
        if (sim_chance(w, 15))
            fault(w);
        if (sim_chance(w, 10))
            gossip(w, 60);
    }
}

/* ---- afterwards everything must work again (V-1) ---- */

static void heal(struct sim_world *w)
{
    w->healing = true;
    sim_trace(w, "everything heals");
    heal_links(w);
    w->loss_percent = w->dup_percent = w->meta_fault_percent = 0;
    w->delay_ms = 3;
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        n->paused_until_ms = 0;
        sim_disk_set_latency(n->disk, 2);
        sim_disk_set_full(n->disk, false);
        sim_disk_fail_next(n->disk, false);
        if (!n->wiped)
            n->storage = STORAGE_READ_WRITE;
        if (n->up && n->server && log_server_failsafe(n->server))
            sim_node_crash(n); /* its operator restarts it */
        if (!n->up)
            sim_node_start(n);
        if (n->sealer) {
            loglet_op_cancel(n->sealer);
            n->sealer = NULL;
        }
    }
    for (unsigned l = 1; l <= w->options.logs; l++)
        w->leader[l] = random_node(w)->id;
}

/* Nothing that was accepted by a living handle waits any more, and every reader has everything. */
static bool is_quiet(struct sim_world *w)
{
    for (size_t i = 0; i < w->appends.len; i++) {
        struct sim_append *a = w->appends.items[i];
        if (a->outcome == OUTCOME_PENDING && w->nodes[a->node].up &&
            w->nodes[a->node].incarnation == a->incarnation)
            return false;
    }
    for (unsigned l = 1; l <= w->options.logs; l++) {
        lsn_t tail;
        sim_check_tail_begin(w, l, &tail);
        for (unsigned i = 1; i <= w->options.nodes; i++) {
            if (w->nodes[i].handles[l].next < tail)
                return false;
        }
    }
    return true;
}

/* The leader appends; others may still take the log away from it, because they wanted to before. It insists.
 */
static bool leader_appended(struct sim_world *w, unsigned log, size_t *at)
{
    struct sim_append *a = *at ? w->appends.items[*at - 1] : NULL;
    if (!a || (a->outcome != OUTCOME_PENDING && a->outcome != OUTCOME_COMMITTED)) {
        sim_node_append(&w->nodes[w->leader[log]], log);
        *at = w->appends.len;
    }
    return a && a->outcome == OUTCOME_COMMITTED;
}

static void converge(struct sim_world *w)
{
    uint64_t start = w->now_ms;
    size_t last[SIM_LOGS_MAX + 1] = {0};
    bool done;
    do {
        done = true;
        for (unsigned l = 1; l <= w->options.logs; l++)
            done &= leader_appended(w, l, &last[l]);
        run_until(w, w->now_ms + 50);
        gossip(w, 100);
        if (w->now_ms - start > HEAL_LIMIT_MS)
            sim_fail(w, "V-1: %u ms after everything healed, appends or readers still wait", HEAL_LIMIT_MS);
    } while (!done || !is_quiet(w));
    w->stats.max_heal_ms = w->now_ms - start;
}

/* Everybody reads everything again. */
static void reread_all(struct sim_world *w)
{
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        for (unsigned l = 1; l <= w->options.logs; l++)
            sim_node_reread(&w->nodes[i], l, 1);
    }
    uint64_t start = w->now_ms;
    do {
        run_until(w, w->now_ms + 50);
        if (w->now_ms - start > HEAL_LIMIT_MS)
            sim_fail(w, "V-1: reading everything again does not end");
    } while (!is_quiet(w));
}

/* ---- one run ---- */

static const struct {
    unsigned nodes, copies;
    bool zones;
} shapes[] = {{1, 1, false}, {2, 1, false}, {3, 2, false}, {3, 2, false}, {3, 2, false}, {3, 3, false},
              {4, 2, false}, {5, 3, false}, {5, 3, false}, {5, 4, false}, {5, 2, true},  {6, 3, true}};

static void choose_options(struct sim_world *w)
{
    size_t shape = sim_random(w, ARRAY_LEN(shapes));
    struct sim_options *o = &w->options;
    o->nodes = shapes[shape].nodes;
    o->copies = shapes[shape].copies;
    o->zones = shapes[shape].zones;
    if (o->mutation && o->copies == 1) {
        o->nodes = 3;
        o->copies = 2;
    }
    o->logs = 1 + (unsigned)sim_random(w, SIM_LOGS_MAX);
    o->random_detector = sim_chance(w, 25);
    o->chaos_ms = 10000 + sim_random(w, 20000);
    w->dup_percent = (unsigned)sim_random(w, 5);
    w->loss_percent = sim_chance(w, 50) ? 0 : (unsigned)sim_random(w, 10);
    w->delay_ms = 5;
    w->meta_fault_percent = (unsigned)sim_random(w, 20);
}

static void world_init(struct sim_world *w, uint64_t seed, enum sim_mutation mutation, bool trace)
{
    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->options.mutation = mutation;
    w->options.trace = trace;
    sim_rng_seed(w->rng, seed);
    heap_init(&w->events);
    choose_options(w);
    w->oracle = sim_oracle_new(w);
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        n->world = w;
        n->id = i;
        n->storage = STORAGE_READ_WRITE;
        n->disk = sim_disk_new(w, i);
    }
    for (unsigned i = 1; i <= w->options.nodes; i++)
        sim_node_start(&w->nodes[i]);
    for (unsigned l = 1; l <= w->options.logs; l++)
        w->leader[l] = random_node(w)->id;
    sim_trace(w, "%u nodes, replication %u%s, %u logs%s", w->options.nodes, w->options.copies,
              w->options.zones ? " over 2 zones" : "", w->options.logs,
              w->options.random_detector ? ", random detector" : "");
}

static void world_free(struct sim_world *w)
{
    for (unsigned i = 1; i <= w->options.nodes; i++) {
        sim_node_crash(&w->nodes[i]);
        sim_disk_free(w->nodes[i].disk);
        node_directory_free(&w->nodes[i].directory);
    }
    struct heap_node *n;
    while ((n = heap_pop(&w->events))) {
        struct sim_event *e = CONTAINER_OF(n, struct sim_event, heap);
        e->drop(e);
    }
    heap_free(&w->events);
    for (unsigned l = 0; l <= SIM_LOGS_MAX; l++)
        chain_free(&w->chains[l]);
    for (size_t i = 0; i < w->appends.len; i++)
        free(w->appends.items[i]);
    for (size_t i = 0; i < w->asks.len; i++)
        free(w->asks.items[i]);
    VEC_FREE(&w->appends);
    VEC_FREE(&w->asks);
    sim_oracle_free(w->oracle);
}

static void add_stats(struct sim_stats *sum, const struct sim_stats *s)
{
    uint64_t *a = (uint64_t *)sum;
    const uint64_t *b = (const uint64_t *)s;
    uint64_t heal = MAX(sum->max_heal_ms, s->max_heal_ms);
    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        a[i] += b[i];
    sum->max_heal_ms = heal;
}

static void run_seed(uint64_t seed, enum sim_mutation mutation, bool trace, struct sim_stats *sum)
{
    struct sim_world *w = xcalloc(1, sizeof(*w));
    world_init(w, seed, mutation, trace);
    chaos(w);
    heal(w);
    gossip(w, 100);
    converge(w);
    reread_all(w);
    sim_check_end(w);
    if (sum)
        add_stats(sum, &w->stats);
    world_free(w);
    free(w);
}

/* ---- program ---- */

static void print_stats(uint64_t seeds, const struct sim_stats *s)
{
    printf("%llu seeds passed: %llu appends (%llu committed, %llu certainly not, %llu unknown), %llu "
           "deliveries, %llu trim "
           "gaps, %llu tails; %llu chain changes, %llu conflicts, %llu undecided; %llu crashes, %llu lost "
           "disks, %llu of "
           "%llu messages lost, %llu seals and %llu repairs sent; tails beyond the decided one met %llu "
           "times; slowest "
           "recovery %llu ms\n",
           (unsigned long long)seeds, (unsigned long long)s->appends, (unsigned long long)s->committed,
           (unsigned long long)s->not_committed, (unsigned long long)s->unknown,
           (unsigned long long)s->delivered, (unsigned long long)s->gaps, (unsigned long long)s->tails,
           (unsigned long long)s->swaps, (unsigned long long)s->conflicts, (unsigned long long)s->undecided,
           (unsigned long long)s->crashes, (unsigned long long)s->wipes, (unsigned long long)s->lost,
           (unsigned long long)s->messages, (unsigned long long)s->seals, (unsigned long long)s->repairs,
           (unsigned long long)s->tr1, (unsigned long long)s->max_heal_ms);
}

/* In a child, because it is expected to fail: true if the checkers noticed. */
static bool noticed(uint64_t seed, enum sim_mutation mutation, char *why, size_t why_len)
{
    int fds[2];
    ASSERT(pipe(fds) == 0);
    fflush(stdout);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], 2);
        close(fds[0]);
        run_seed(seed, mutation, false, NULL);
        _exit(0);
    }
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fds[0], why + len, why_len - 1 - len)) > 0 && len < why_len - 1)
        len += (size_t)n;
    why[len] = 0;
    close(fds[0]);
    int status;
    waitpid(pid, &status, 0);
    why[strcspn(why, "\n")] = 0;
    return status != 0;
}

static int run_mutations(void)
{
    int missed = 0;
    for (int m = MUTATE_NOTHING + 1; m < MUTATIONS; m++) {
        char why[600] = "";
        uint64_t seed = 1;
        while (seed <= MUTATION_SEEDS && !noticed(seed, (enum sim_mutation)m, why, sizeof(why)))
            seed++;
        bool caught = seed <= MUTATION_SEEDS;
        printf("%-22s %s %s\n", mutation_names[m], caught ? "noticed:" : "MISSED", why);
        missed += !caught;
    }
    return missed ? 1 : 0;
}

static enum sim_mutation parse_mutation(const char *name)
{
    for (int m = 0; m < MUTATIONS; m++) {
        if (strcmp(name, mutation_names[m]) == 0)
            return (enum sim_mutation)m;
    }
    fprintf(stderr, "unknown mutation %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    uint64_t seeds = 1, first = 1;
    bool trace = false;
    enum sim_mutation mutation = MUTATE_NOTHING;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "1";
        if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
            continue;
        }
        if (strcmp(argv[i], "--mutations") == 0)
            return run_mutations();
        if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--first") == 0 || strcmp(argv[i], "--seed") == 0)
            first = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--mutate") == 0)
            mutation = parse_mutation(value);
        else {
            fprintf(stderr, "usage: sim_loglet [--seeds N] [--first N] [--seed N] [--trace] [--mutate NAME] "
                            "[--mutations]\n");
            return 2;
        }
        i++;
    }
    struct sim_stats sum = {0};
    for (uint64_t s = first; s < first + seeds; s++)
        run_seed(s, mutation, trace, &sum);
    print_stats(seeds, &sum);
    return 0;
}
