/* Model of Raft: three members of the metadata server, of which one leads, a few requests, and all that may
 * go wrong; see model_raft.h. */
#include "sim/model_raft.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "sim/models.h"

static const char *wrong_name(unsigned wrong)
{
    static const char *const names[MR_WRONGS] = {
        [MR_RIGHT] = "nothing",
        [RAFT_MUT_COMMIT_OLD_TERM] = "entries of earlier terms are committed by counting",
        [RAFT_MUT_READ_UNCONFIRMED] = "reads are answered without asking the others",
        [RAFT_MUT_ACK_EARLY] = "entries are acknowledged that are not on disk",
        [RAFT_MUT_VOTE_EARLY] = "votes are sent that are not on disk",
        [RAFT_MUT_CHANGE_ANYTIME] = "a membership change does not wait for the one before",
        [MR_WIPED_KEEPS_ID] = "a new disk under the old member id",
        [MR_VOTE_FORGOTTEN] = "a member forgets for whom it voted",
    };
    return names[wrong];
}

/* ---- packets ---- */

static struct mr_packet take(struct mr_world *w, size_t i)
{
    struct mr_packet p = w->packets.items[i];
    w->packets.len--;
    memmove(&w->packets.items[i], &w->packets.items[i + 1], (w->packets.len - i) * sizeof(p));
    return p;
}

static void describe(struct mr_world *w, const char *what, const struct mr_packet *p)
{
    static const char *const kinds[] = {
        [RAFT_VOTE] = "vote?",           [RAFT_VOTE_RESULT] = "vote",
        [RAFT_APPEND] = "append",        [RAFT_APPEND_RESULT] = "appended",
        [RAFT_SNAPSHOT] = "snapshot",    [RAFT_SNAPSHOT_RESULT] = "snapshot taken",
        [RAFT_TIMEOUT_NOW] = "take over"};
    struct metadata_message m;
    char text[128] = "";
    if (!w->x->tracing)
        return;
    if (p->write) {
        explore_note(w->x, "%s: write of N%u", what, p->to + 1);
        return;
    }
    ASSERT(metadata_message_decode(bytes_slice(p->data), &m, NULL) == RC_OK);
    if (m.kind == RAFT_VOTE)
        snprintf(text, sizeof(text), "term %llu%s", (unsigned long long)m.vote.term,
                 m.vote.pre ? " pre" : "");
    else if (m.kind == RAFT_VOTE_RESULT)
        snprintf(text, sizeof(text), "term %llu%s %s", (unsigned long long)m.vote_result.term,
                 m.vote_result.pre ? " pre" : "", m.vote_result.granted ? "granted" : "denied");
    else if (m.kind == RAFT_APPEND)
        snprintf(text, sizeof(text), "term %llu behind %llu: %u entries, commit %llu",
                 (unsigned long long)m.append.term, (unsigned long long)m.append.prev_index,
                 m.append.n_entries, (unsigned long long)m.append.commit);
    else if (m.kind == RAFT_APPEND_RESULT)
        snprintf(text, sizeof(text), "term %llu %s match %llu", (unsigned long long)m.append_result.term,
                 m.append_result.ok ? "ok" : "no", (unsigned long long)m.append_result.match);
    explore_note(w->x, "%s: N%u -> N%u: %s %s", what, p->from + 1, p->to + 1, kinds[m.kind], text);
}

static void deliver(struct mr_world *w, const struct mr_packet *p)
{
    struct mr_node *n = &w->nodes[p->to];
    describe(w, "arrives", p);
    if (p->write)
        mr_disk_write(n, p, true);
    else
        raft_server_receive(n->server, bytes_slice(p->data), NULL);
    sim_env_run(&n->env);
    if (w->left.wrong == MR_VOTE_FORGOTTEN && mr_raft(n) && raft_role(mr_raft(n)) == RAFT_FOLLOWER)
        mr_raft(n)->vote = (struct raft_member){0};
    mr_check_node(n);
}

/* ---- what else happens ---- */

static void fire_timer(struct mr_node *n, bool late)
{
    explore_note(n->world->x, "a timer of N%u fires%s", n->index + 1, late ? " late" : "");
    n->world->left.timers--;
    if (late)
        n->env.mono_ms += mr_raft(n)->opt.election_ms + 1;
    sim_env_next(&n->env, UINT32_MAX);
    mr_check_node(n);
}

static void crash(struct mr_node *n, bool written, bool wipe)
{
    struct mr_world *w = n->world;
    explore_note(w->x, "N%u crashes%s%s", n->index + 1, written ? ", its write was done" : "",
                 wipe ? " and loses its disk" : "");
    for (unsigned i = 0; i < w->n_requests; i++) {
        if (w->requests[i].state == MR_OPEN && w->requests[i].node == n->index)
            w->requests[i].state = MR_UNDECIDED;
    }
    for (size_t i = 0; i < w->packets.len; i++) {
        if (!w->packets.items[i].write || w->packets.items[i].to != n->index)
            continue;
        struct mr_packet p = take(w, i--);
        if (written && !wipe)
            mr_disk_write(n, &p, false);
        bytes_unref(&p.data);
    }
    mr_node_stop(n);
    if (wipe)
        mr_disk_wipe(n);
    mr_node_start(n);
    if (wipe)
        mr_node_identify(n, NULL);
    mr_check_node(n);
}

static void answered(struct raft_call *c, const struct metadata_response *p)
{
    struct mr_request *r = CONTAINER_OF(c, struct mr_request, call);
    if (r->state == MR_OPEN) /* else its node died */
        mr_check_answer(r, p);
}

static void ask(struct mr_request *r, struct mr_node *n)
{
    uint8_t value[4];
    struct metadata_request q = {.id = r->number, .kind = METADATA_GET, .key = SLICE_LIT(MR_KEY)};
    put_u32le(value, r->number);
    if (r->kind == 'P') {
        q.kind = METADATA_PUT;
        q.precondition = KV_MATCHES_VERSION;
        q.expected_version = 1;
        q.version = 2;
        q.value = slice_make(value, sizeof(value));
    }
    explore_note(r->world->x, "request %u (%s) to N%u", r->number, r->kind == 'P' ? "put" : "get",
                 n->index + 1);
    r->state = MR_OPEN;
    r->node = n->index;
    r->floor = r->world->floor;
    r->call.done = answered;
    raft_server_submit(n->server, &q, &r->call);
    sim_env_run(&n->env);
    mr_check_node(n);
}

static void no_reply(struct raft_reply *reply, struct slice message) {}

static void join(struct mr_node *newcomer, struct mr_node *leader)
{
    struct mr_world *w = leader->world;
    struct writer out = WRITER_INIT;
    struct metadata_message m = {.kind = METADATA_REQUEST};
    m.header.fingerprint = MR_FINGERPRINT;
    m.header.cluster_name = slice_cstr(leader->server->cluster_name);
    m.header.from = raft_self(mr_raft(newcomer));
    m.request = (struct metadata_request){.kind = METADATA_JOIN, .replace = true};
    metadata_message_encode(&out, &m);
    explore_note(w->x, "N%u asks N%u to take it in", newcomer->index + 1, leader->index + 1);
    w->no_reply.send = no_reply;
    raft_server_receive(leader->server, writer_slice(&out), &w->no_reply);
    writer_free(&out);
    sim_env_run(&leader->env);
    mr_check_node(leader);
}

static void remove_member(struct mr_node *leader, unsigned node)
{
    struct err err = {0};
    enum rc rc = raft_server_remove(leader->server, node + 1, &err);
    explore_note(leader->world->x, "N%u is told to remove N%u: %s", leader->index + 1, node + 1, rc_name(rc));
    sim_env_run(&leader->env);
    mr_check_node(leader);
}

static void transfer(struct mr_node *leader)
{
    enum rc rc = raft_transfer(mr_raft(leader), 0);
    explore_note(leader->world->x, "N%u is told to hand over: %s", leader->index + 1, rc_name(rc));
    sim_env_run(&leader->env);
    mr_check_node(leader);
}

/* ---- steps ---- */

static uint64_t world_hash(const struct mr_world *w)
{
    const struct mr_case *l = &w->left;
    uint64_t h = l->delays | l->losses << 4 | l->repeats << 8 | l->crashes << 12 | l->wipes << 16 |
                 l->joins << 20 | l->removals << 24;
    h = hash64_combine(h, l->transfers | l->timers << 4 | l->early << 12 | l->limbo << 20);
    for (unsigned i = 0; i < MR_NODES; i++)
        h = hash64_combine(h, mr_node_hash(&w->nodes[i]));
    for (size_t i = 0; i < w->packets.len; i++) {
        const struct mr_packet *p = &w->packets.items[i];
        h = hash64_combine(h, p->write | p->rewrite << 1 | p->from << 2 | p->to << 4);
        h = hash64_combine(h, hash64(bytes_slice(p->data)));
    }
    for (unsigned i = 0; i < w->n_requests; i++) {
        const struct mr_request *r = &w->requests[i];
        h = hash64_combine(h, r->state == MR_OPEN ? r->state | r->node << 4 | r->floor << 8 : r->state);
    }
    for (uint64_t i = 1; i <= w->committed; i++)
        h = hash64_combine(h, w->log[i].entry);
    for (unsigned i = 0; i < MR_TERMS_MAX; i++) {
        if (w->leaders[i].node)
            h = hash64_combine(h, mr_member_hash(w->leaders[i]) << 8 | i);
    }
    return hash64_combine(h, w->floor);
}

struct option {
    enum {
        DELIVER,
        LOSE,
        POSTPONE,
        REPEAT,
        TIMER,
        LATE,
        CRASH,
        CRASH_WRITTEN,
        WIPE,
        ASK,
        JOIN,
        REMOVE,
        TRANSFER
    } kind;
    unsigned a, b;
};
#define OPTIONS_MAX 64

static size_t add_packet(const struct mr_world *w, struct option *out)
{
    size_t n = 0;
    if (w->packets.len == 0)
        return 0;
    out[n++] = (struct option){.kind = DELIVER};
    if (w->left.losses > 0 && !w->packets.items[0].write)
        out[n++] = (struct option){.kind = LOSE};
    if (w->left.repeats > 0 && !w->packets.items[0].write)
        out[n++] = (struct option){.kind = REPEAT};
    if (w->left.delays > 0 && w->packets.len > 1)
        out[n++] = (struct option){.kind = POSTPONE};
    return n;
}

static size_t add_time(const struct mr_world *w, struct option *out)
{
    size_t n = 0;
    for (unsigned i = 0; i < MR_NODES && w->left.timers > 0; i++) {
        const struct mr_node *node = &w->nodes[i];
        if (!mr_raft(node) || !heap_min((struct heap *)&node->env.timers))
            continue;
        if (w->packets.len == 0 || w->left.early > 0)
            out[n++] = (struct option){.kind = TIMER, .a = i};
        if (mr_leads(node) && w->left.early > 0)
            out[n++] = (struct option){.kind = LATE, .a = i};
    }
    return n;
}

static bool writes(const struct mr_world *w, unsigned node)
{
    for (size_t i = 0; i < w->packets.len; i++) {
        if (w->packets.items[i].write && w->packets.items[i].to == node)
            return true;
    }
    return false;
}

static size_t add_crashes(const struct mr_world *w, struct option *out)
{
    size_t n = 0;
    for (unsigned i = 0; i < MR_NODES; i++) {
        if (!mr_raft(&w->nodes[i]))
            continue;
        if (w->left.crashes > 0)
            out[n++] = (struct option){.kind = CRASH, .a = i};
        if (w->left.crashes > 0 && writes(w, i))
            out[n++] = (struct option){.kind = CRASH_WRITTEN, .a = i};
        if (w->left.wipes > 0)
            out[n++] = (struct option){.kind = WIPE, .a = i};
    }
    return n;
}

/* Requests of one kind are the same: the first one goes first. */
static bool unsent_before(const struct mr_world *w, unsigned request)
{
    for (unsigned i = 0; i < request; i++) {
        if (w->requests[i].state == MR_UNSENT && w->requests[i].kind == w->requests[request].kind)
            return true;
    }
    return false;
}

/* What is asked of node `leader`. */
static size_t add_requests(const struct mr_world *w, unsigned leader, struct option *out)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->n_requests; i++) {
        if (w->requests[i].state == MR_UNSENT && !unsent_before(w, i))
            out[n++] = (struct option){ASK, leader, i};
    }
    for (unsigned i = 0; i < MR_NODES; i++) {
        const struct raft *r = mr_raft(&w->nodes[i]);
        if (w->left.joins > 0 && r && w->nodes[i].disks_lost && !raft_is_member(r) && !raft_removed(r))
            out[n++] = (struct option){JOIN, leader, i};
        if (w->left.removals > 0)
            out[n++] = (struct option){REMOVE, leader, i};
    }
    if (w->left.transfers > 0)
        out[n++] = (struct option){.kind = TRANSFER, .a = leader};
    return n;
}

static size_t options(const struct mr_world *w, struct option *out)
{
    size_t n = add_packet(w, out);
    n += add_time(w, out + n);
    n += add_crashes(w, out + n);
    for (unsigned i = 0; i < MR_NODES; i++) {
        if (mr_leads(&w->nodes[i]))
            n += add_requests(w, i, out + n);
    }
    ASSERT(n <= OPTIONS_MAX);
    return n;
}

static void step_packet(struct mr_world *w, int kind)
{
    struct mr_packet p = take(w, 0);
    if (kind == LOSE) {
        w->left.losses--;
        describe(w, "lost", &p);
    } else if (kind == POSTPONE) {
        w->left.delays--;
        describe(w, "delayed", &p);
    } else {
        deliver(w, &p);
    }
    w->left.repeats -= kind == REPEAT;
    if (kind == REPEAT || kind == POSTPONE)
        VEC_PUSH(&w->packets, p);
    else
        bytes_unref(&p.data);
}

static void act(struct mr_world *w, const struct option *o)
{
    struct mr_node *n = &w->nodes[o->a];
    switch (o->kind) {
    case DELIVER:
    case LOSE:
    case POSTPONE:
    case REPEAT:
        step_packet(w, o->kind);
        break;
    case TIMER:
        w->left.early -= w->packets.len > 0;
        fire_timer(n, false);
        break;
    case LATE:
        w->left.early--;
        fire_timer(n, true);
        break;
    case CRASH:
    case CRASH_WRITTEN:
        w->left.crashes--;
        crash(n, o->kind == CRASH_WRITTEN, false);
        break;
    case WIPE:
        w->left.wipes--;
        crash(n, false, true);
        break;
    case ASK:
        ask(&w->requests[o->b], n);
        break;
    case JOIN:
        w->left.joins--;
        join(&w->nodes[o->b], n);
        break;
    case REMOVE:
        w->left.removals--;
        remove_member(n, o->b);
        break;
    case TRANSFER:
        w->left.transfers--;
        transfer(n);
        break;
    }
}

static bool step(struct mr_world *w)
{
    struct option all[OPTIONS_MAX];
    int chosen = EXPLORE_STEP(w->x, world_hash(w), options(w, all));
    if (chosen < 0)
        return false;
    act(w, &all[chosen]);
    return !explore_over(w->x);
}

/* ---- the beginning: all three are members, the first one leads, nothing is on its way ---- */

static void settle(struct mr_world *w)
{
    while (w->packets.len > 0) {
        struct mr_packet p = take(w, 0);
        deliver(w, &p);
        bytes_unref(&p.data);
    }
}

static bool all_know(const struct mr_world *w, uint32_t version)
{
    for (unsigned i = 0; i < version; i++) {
        if (!mr_raft(&w->nodes[i]) || raft_members_committed(mr_raft(&w->nodes[i]))->version != version)
            return false;
    }
    return true;
}

static void form(struct mr_world *w)
{
    static const uint8_t zero[4];
    struct kv_table initial;
    kv_table_init(&initial);
    kv_table_put(&initial, SLICE_LIT(MR_KEY), bytes_copy(slice_make(zero, sizeof(zero))), 1);
    mr_node_identify(&w->nodes[0], &initial);
    kv_table_free(&initial);
    settle(w);
    for (unsigned i = 1; i < MR_NODES; i++) {
        mr_node_identify(&w->nodes[i], NULL);
        settle(w);
        for (unsigned tries = 0; !all_know(w, i + 1); tries++) {
            ASSERT(tries < 10);
            w->left.timers++;
            fire_timer(&w->nodes[0], false);
            settle(w);
            if (mr_leads(&w->nodes[0]))
                join(&w->nodes[i], &w->nodes[0]);
            settle(w);
        }
    }
}

static void run(struct explore *x, void *ctx)
{
    struct mr_world *w = xcalloc(1, sizeof(*w));
    w->x = x;
    w->left = *(const struct mr_case *)ctx;
    raft_mutation = RAFT_MUT_NONE;
    for (unsigned i = 0; i < MR_NODES; i++)
        mr_node_init(w, i);
    form(w);
    for (unsigned i = 0; i < MR_NODES && w->left.leaderless; i++) {
        mr_node_stop(&w->nodes[i]);
        mr_node_start(&w->nodes[i]);
    }
    w->begun = true;
    if (w->left.wrong < MR_WIPED_KEEPS_ID)
        raft_mutation = (enum raft_mutation)w->left.wrong;
    for (const char *c = w->left.requests; c && *c; c++) {
        ASSERT(w->n_requests < MR_REQUESTS);
        struct mr_request *r = &w->requests[w->n_requests++];
        *r = (struct mr_request){.world = w, .number = w->n_requests, .kind = *c};
    }
    while (step(w))
        ;
    for (unsigned i = 0; i < w->n_requests; i++) {
        if (w->requests[i].state == MR_OPEN)
            w->requests[i].state = MR_UNDECIDED;
    }
    for (unsigned i = 0; i < MR_NODES; i++)
        mr_node_free(&w->nodes[i]);
    for (size_t i = 0; i < w->packets.len; i++)
        bytes_unref(&w->packets.items[i].data);
    VEC_FREE(&w->packets);
    free(w);
}

static const struct mr_case cases[] = {
    {.losses = 1, .timers = 1, .requests = "PG"},
    {.crashes = 1, .timers = 2, .requests = "P"},
    {.leaderless = true, .timers = 2, .early = 1, .requests = "P"},
    {.wipes = 1, .joins = 2, .timers = 1, .requests = "P"},
    {.removals = 1, .timers = 2, .requests = "P"},
    {.transfers = 1, .timers = 1, .requests = "PG"},
    {.delays = 2, .timers = 2, .requests = "PG"},
    {.delays = 1, .losses = 1, .timers = 2, .requests = "PG"},
    {.losses = 2, .timers = 3, .requests = "PG"},
    {.delays = 1, .repeats = 1, .timers = 2, .requests = "PP"},
    {.crashes = 1, .timers = 2, .requests = "PPG"},
    {.leaderless = true, .timers = 3, .early = 2, .requests = "P"},
    {.leaderless = true, .delays = 1, .crashes = 1, .timers = 2, .early = 1},
    {.leaderless = true,
     .limbo = 2,
     .one_by_one = true,
     .losses = 1,
     .timers = 3,
     .early = 1,
     .requests = "P"},
    {.wipes = 1, .joins = 3, .timers = 2, .requests = "PG"},
    {.wipes = 1, .joins = 2, .losses = 1, .timers = 2, .requests = "P"},
    {.removals = 2, .timers = 2, .requests = "P"},
    {.removals = 1, .crashes = 1, .losses = 1, .timers = 2},
    {.trim_entries = 2, .crashes = 1, .wipes = 1, .joins = 3, .timers = 2},
};
static const struct model_part parts[] = {
    {"raft", "1 loss, 1 timer; put, get", run, &cases[0], true},
    {"raft", "1 crash, 2 timers; put", run, &cases[1], true},
    {"raft", "no leader, 2 timers, 1 early; put", run, &cases[2], true},
    {"raft", "1 disk lost, 2 joins, 1 timer; put", run, &cases[3], true},
    {"raft", "1 removal, 2 timers; put", run, &cases[4], true},
    {"raft", "1 transfer, 1 timer; put, get", run, &cases[5], true},
    {"raft", "2 delays, 2 timers; put, get", run, &cases[6], false},
    {"raft", "1 delay, 1 loss, 2 timers; put, get", run, &cases[7], false},
    {"raft", "2 losses, 3 timers; put, get", run, &cases[8], false},
    {"raft", "1 repeated, 1 delay, 2 timers; 2 puts", run, &cases[9], false},
    {"raft", "1 crash, 2 timers; 2 puts, get", run, &cases[10], false},
    {"raft", "no leader, 3 timers, 2 early; put", run, &cases[11], false},
    {"raft", "no leader, 1 delay, 1 crash, 2 timers, 1 early", run, &cases[12], false},
    {"raft", "no leader, first entry in limbo, 1 loss, 3 timers, 1 early; put", run, &cases[13], false},
    {"raft", "1 disk lost, 3 joins, 2 timers; put, get", run, &cases[14], false},
    {"raft", "1 disk lost, 2 joins, 1 loss, 2 timers; put", run, &cases[15], false},
    {"raft", "2 removals, 2 timers; put", run, &cases[16], false},
    {"raft", "1 removal, 1 crash, 1 loss, 2 timers", run, &cases[17], false},
    {"raft", "snapshots, 1 crash, 1 disk lost, 3 joins, 2 timers", run, &cases[18], false},
};

static const struct mr_case wrongs[] = {
    {.leaderless = true,
     .timers = 3,
     .early = 1,
     .limbo = 2,
     .one_by_one = true,
     .wrong = RAFT_MUT_COMMIT_OLD_TERM},
    {.timers = 2, .losses = 1, .wrong = RAFT_MUT_READ_UNCONFIRMED, .requests = "PG"},
    {.wrong = RAFT_MUT_ACK_EARLY, .requests = "P"},
    {.timers = 1, .leaderless = true, .wrong = RAFT_MUT_VOTE_EARLY},
    {.timers = 2, .limbo = 4, .removals = 2, .wrong = RAFT_MUT_CHANGE_ANYTIME},
    {.timers = 1, .wipes = 1, .wrong = MR_WIPED_KEEPS_ID, .requests = "P"},
    {.leaderless = true, .timers = 2, .early = 1, .wrong = MR_VOTE_FORGOTTEN},
};
static const struct model_mutation mutations[] = {
    {"raft", RAFT_MUT_COMMIT_OLD_TERM, run, &wrongs[0]}, {"raft", RAFT_MUT_READ_UNCONFIRMED, run, &wrongs[1]},
    {"raft", RAFT_MUT_ACK_EARLY, run, &wrongs[2]},       {"raft", RAFT_MUT_VOTE_EARLY, run, &wrongs[3]},
    {"raft", RAFT_MUT_CHANGE_ANYTIME, run, &wrongs[4]},  {"raft", MR_WIPED_KEEPS_ID, run, &wrongs[5]},
    {"raft", MR_VOTE_FORGOTTEN, run, &wrongs[6]},
};
const struct model model_raft = {parts, ARRAY_LEN(parts), mutations, ARRAY_LEN(mutations), wrong_name};
