/* The host of a leader as the simulator plays it: invoker and SDK in one. An attempt re-executes its handler
 * from the beginning on every event, as SDKs do after a suspension: commands that were sent before are
 * compared with the journal, new ones are proposed, results are looked up in the journal. Attempts fail at
 * random and are retried once everything they proposed was applied. */
#include <stdlib.h>

#include "sim/sim_exec.h"

enum mode { MODE_STEP, MODE_IDLE, MODE_RETRY };

struct attempt {
    struct hmap_node node;
    struct list link;
    struct sim_replica *r;
    struct invocation_id id;
    uint64_t token, batch;
    bool fresh;             /* nothing sent yet: commands are those of the journal */
    bool pinned;            /* as far as it has proposed it */
    uint32_t sent_commands; /* stored or proposed */
    uint32_t runs_sent;     /* bit per completion id */
    uint32_t inflight;      /* batches not applied yet */
    uint64_t eager_limit;
    enum mode mode;
    struct env_timer timer;
};

static struct attempt *find(struct sim_replica *r, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&r->attempts, invocation_id_hash(id)); n; n = hmap_next_same(n)) {
        struct attempt *a = CONTAINER_OF(n, struct attempt, node);
        if (invocation_id_eq(a->id, id))
            return a;
    }
    return NULL;
}

static void forget(struct attempt *a)
{
    env_timer_cancel(a->r->env, &a->timer);
    hmap_remove(&a->r->attempts, &a->node);
    list_remove(&a->link);
    free(a);
}

static void arm(struct attempt *a, enum mode mode, uint64_t min_ms, uint64_t max_ms)
{
    struct sim_env *env = &a->r->world->env;
    a->mode = mode;
    env_timer_arm(a->r->env, &a->timer, min_ms + sim_env_below(env, max_ms - min_ms + 1));
}

/* A long back-off: the slot is given back until then. */
static bool yield(struct attempt *a)
{
    struct sim_env *env = &a->r->world->env;
    struct invocation *inv = store_invocation_get(processor_store(a->r->p), a->id);
    if (!inv || inv->status != INV_INVOKED || !inv->si.target.scope.ptr || !sim_chance(a->r->world, 500))
        return false;
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    effects_begin(&w, a->id, a->token, a->batch++);
    effect_write(&w, &(struct effect){.kind = EFFECT_YIELD,
                                      .resume_at_ms = env_wall_ms(&env->env) + 1 + sim_env_below(env, 200),
                                      .retries = 1});
    return processor_propose_effects(a->r->p, writer_take(&w)) == RC_OK;
}

static void lose_connection(struct attempt *a)
{
    a->r->world->attempt_failures++;
    if (yield(a)) {
        forget(a);
        return;
    }
    arm(a, MODE_RETRY, 5, 60);
}

/* ---- talking to the partition ---- */

static void begin(struct exec *x)
{
    if (x->wrote)
        return;
    x->wrote = true;
    record_begin(&x->effects, 256);
    effects_begin(&x->effects, x->inv->id, x->a->token, x->a->batch++);
    if (x->inv->pinned || x->a->pinned)
        return;
    x->a->pinned = true;
    effect_write(&x->effects, &(struct effect){.kind = EFFECT_PIN_DEPLOYMENT,
                                               .deployment_id = {1, 1},
                                               .protocol_version = x->inv->id.uuid.lo & 1 ? 7 : 6});
}

const struct journal_entry *exec_stored_command(const struct exec *x, uint32_t command)
{
    const struct invocation *inv = x->inv;
    for (size_t i = 0; i < inv->journal.len; i++)
        if (message_is_command(inv->journal.items[i].type) && command-- == 0)
            return &inv->journal.items[i];
    return NULL;
}

/* The next command of the handler. True: it is new and has to be written. */
bool exec_command(struct exec *x, uint16_t type)
{
    uint32_t k = x->command++;
    if (k >= x->a->sent_commands) {
        x->a->sent_commands++;
        return true;
    }
    const struct journal_entry *e = exec_stored_command(x, k);
    SIM_CHECK(x->w, !e || e->type == type, "replay differs at command %u: stored %04x, executed %04x", k,
              e->type, type);
    return false;
}

void exec_write(struct exec *x, struct effect *e, uint16_t type, struct writer *payload)
{
    begin(x);
    e->kind = EFFECT_ENTRY;
    e->entry_type = type;
    e->ack = sim_chance(x->w, 50);
    e->payload = writer_slice(payload);
    effect_write(&x->effects, e);
    writer_free(payload);
}

void exec_simple_command(struct exec *x, uint16_t type)
{
    if (exec_command(x, type)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        exec_write(x, &e, type, &p);
    }
}

void exec_put_value(struct writer *p, uint32_t field, struct slice content)
{
    pb_write_len_header(p, field, content.len ? pb_len_field_size(1, content.len) : 0);
    pb_write_bytes(p, 1, content);
}

/* ---- results ---- */

/* The store finds the last one; the first decides. */
ptrdiff_t exec_notification(const struct exec *x, const struct notification_id *id)
{
    const struct invocation *inv = x->inv;
    for (size_t i = 0; i < inv->journal.len; i++) {
        const struct journal_entry *e = &inv->journal.items[i];
        if (!message_is_notification(e->type) || e->notification_kind != id->kind)
            continue;
        if (id->kind == NOTIFICATION_NAMED_SIGNAL ? slice_eq(e->signal_name, id->name)
                                                  : e->completion_id == id->index)
            return (ptrdiff_t)i;
    }
    return -1;
}

static void await(struct exec *x, struct notification_id id)
{
    notification_id_write(&x->awaited, &id);
}

/* The first of `ids` that is there; otherwise wait for any: false, blocked or canceled. Every await is also
 * one for the cancel signal: what came first counts, now and in every replay. */
bool exec_first_of(struct exec *x, const struct notification_id *ids, size_t n,
                   struct notification_view *view)
{
    struct notification_id cancel = {.kind = NOTIFICATION_SIGNAL, .index = SIGNAL_INDEX_CANCEL};
    ptrdiff_t canceled = exec_notification(x, &cancel), first = -1;
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = exec_notification(x, &ids[i]);
        if (at >= 0 && (first < 0 || at < first))
            first = at;
    }
    if (canceled >= 0 && (first < 0 || canceled < first)) {
        x->canceled = true;
        return false;
    }
    for (size_t i = 0; i < n && first < 0; i++)
        await(x, ids[i]);
    if (first < 0)
        return false;
    bool ok = notification_decode(bytes_slice(x->inv->journal.items[first].payload), view);
    SIM_CHECK(x->w, ok, "stored notification %ld does not decode", (long)first);
    return true;
}

bool exec_completed(struct exec *x, uint32_t cid, struct notification_view *view)
{
    return exec_first_of(x, &(struct notification_id){.kind = NOTIFICATION_COMPLETION, .index = cid}, 1,
                         view);
}

/* ---- commands that every handler has ---- */

uint32_t exec_sleep(struct exec *x, uint64_t delay_ms)
{
    uint32_t cid = x->next_cid++;
    if (exec_command(x, MSG_SLEEP)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_u64(&p, 1, env_wall_ms(x->env) + delay_ms);
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, MSG_SLEEP, &p);
    }
    return cid;
}

bool exec_run(struct exec *x, const struct sim_signal *outside, struct notification_view *view)
{
    uint32_t cid = x->next_cid++;
    struct writer p = WRITER_INIT;
    struct effect e = {0};
    if (exec_command(x, MSG_RUN)) {
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, MSG_RUN, &p);
    }
    if (exec_completed(x, cid, view))
        return true;
    if (!x->canceled && !(x->a->runs_sent & UINT32_C(1) << (cid % 32))) {
        x->a->runs_sent |= UINT32_C(1) << (cid % 32);
        if (outside)
            sim_outside_ask(x->w, outside);
        struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = cid};
        notification_write(&p, &id, &(struct outcome){.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("ran")});
        exec_write(x, &e, MSG_N_RUN, &p);
    }
    return false;
}

void exec_end(struct exec *x, struct slice value)
{
    if (exec_command(x, MSG_OUTPUT)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        exec_put_value(&p, 14, value);
        exec_write(x, &e, MSG_OUTPUT, &p);
    }
    begin(x);
    effect_write(&x->effects, &(struct effect){.kind = EFFECT_END});
    x->ended = true;
}

void exec_end_canceled(struct exec *x)
{
    if (exec_command(x, MSG_OUTPUT)) {
        struct writer p = WRITER_INIT, failure = WRITER_INIT;
        struct effect e = {0};
        failure_write(&failure, 409, SLICE_LIT("Cancelled"));
        pb_write_bytes_always(&p, 15, writer_slice(&failure));
        writer_free(&failure);
        exec_write(x, &e, MSG_OUTPUT, &p);
    }
    begin(x);
    effect_write(&x->effects, &(struct effect){.kind = EFFECT_END});
    x->ended = true;
}

/* ---- the attempt ---- */

/* V7: race(awaited...), as SDKs send it for a single await. */
static void write_future(struct writer *f, struct slice awaited)
{
    struct reader r = reader_make(awaited);
    struct notification_id id;
    while (reader_left(&r) && notification_id_read(&r, &id)) {
        if (id.kind == NOTIFICATION_NAMED_SIGNAL)
            pb_write_bytes(f, 3, id.name);
        else
            pb_write_u64_always(f, id.kind == NOTIFICATION_SIGNAL ? 2 : 1, id.index);
    }
    pb_write_u64(f, 5, 1);
}

static void suspend(struct exec *x)
{
    begin(x);
    await(x, (struct notification_id){.kind = NOTIFICATION_SIGNAL, .index = SIGNAL_INDEX_CANCEL});
    struct writer future = WRITER_INIT;
    struct effect e = {.kind = EFFECT_SUSPEND, .payload = writer_slice(&x->awaited)};
    if (x->inv->pinned && x->inv->protocol_version == 7) {
        write_future(&future, e.payload);
        e = (struct effect){.kind = EFFECT_SUSPEND_TREE, .payload = writer_slice(&future)};
    }
    effect_write(&x->effects, &e);
    writer_free(&future);
    x->ended = true;
    x->w->suspensions++;
}

/* An error that the journal's readers are told. */
static void fail(struct exec *x)
{
    begin(x);
    effect_write(&x->effects,
                 &(struct effect){.kind = EFFECT_EVENT, .payload = SLICE_LIT("{\"ty\":\"TransientError\"}")});
    x->failed = true;
}

/* Propose what was written, then go to sleep or away. */
static void conclude(struct exec *x)
{
    struct attempt *a = x->a;
    bool blocked = x->awaited.len > 0 && !x->ended;
    if (blocked && a->mode == MODE_IDLE)
        suspend(x);
    enum rc rc = RC_OK;
    if (x->wrote) {
        rc = processor_propose_effects(a->r->p, writer_take(&x->effects));
        a->inflight += rc == RC_OK;
    }
    if (rc != RC_OK || x->failed)
        lose_connection(a);
    else if (x->ended)
        forget(a);
    else
        arm(a, MODE_IDLE, 0, 40);
}

static void step(struct env_timer *t)
{
    struct attempt *a = CONTAINER_OF(t, struct attempt, timer);
    struct sim_world *w = a->r->world;
    struct exec x = {
        .a = a, .w = w, .env = a->r->env, .store = processor_store(a->r->p), .command = 1, .next_cid = 1};
    x.inv = store_invocation_get(x.store, a->id);
    SIM_CHECK(w, x.inv && x.inv->status == INV_INVOKED, "an attempt without its invocation");
    store_journal_load(x.store, x.inv);
    if (a->mode == MODE_RETRY) {
        if (a->inflight) { /* the journal is about to change */
            arm(a, MODE_RETRY, 1, 5);
            return;
        }
        a->fresh = true;
        a->mode = MODE_STEP;
    }
    if (a->fresh) {
        w->attempts++;
        a->fresh = false;
        a->sent_commands = x.inv->commands;
        a->runs_sent = 0;
        a->pinned = false;
        a->eager_limit = sim_env_below(&w->env, 3) * sim_env_below(&w->env, 400);
    }
    x.eager_limit = a->eager_limit;
    if (sim_chance(w, 15)) {
        lose_connection(a);
        return;
    }
    if (sim_chance(w, 10))
        fail(&x);
    else
        sim_run_handler(&x);
    if (x.canceled)
        exec_end_canceled(&x);
    conclude(&x);
    writer_free(&x.awaited);
}

void sim_attempt_start(struct sim_replica *r, struct invocation *inv)
{
    struct attempt *a = find(r, inv->id);
    SIM_CHECK(r->world, !a, "Invoke for an invocation that has an attempt already");
    a = xcalloc(1, sizeof(*a));
    a->r = r;
    a->id = inv->id;
    a->token = ++r->next_token;
    a->fresh = true;
    env_timer_init(&a->timer, step);
    hmap_insert(&r->attempts, &a->node, invocation_id_hash(a->id));
    list_push_back(&r->attempt_order, &a->link);
    arm(a, MODE_STEP, 0, 5);
}

void sim_attempt_abort(struct sim_replica *r, struct invocation_id id)
{
    struct attempt *a = find(r, id);
    if (a)
        forget(a);
}

void sim_attempt_abort_all(struct sim_replica *r)
{
    while (!list_empty(&r->attempt_order))
        forget(CONTAINER_OF(r->attempt_order.next, struct attempt, link));
}

void sim_attempt_notify(struct sim_replica *r, struct invocation_id id)
{
    struct attempt *a = find(r, id);
    if (a && a->mode == MODE_IDLE)
        arm(a, MODE_STEP, 0, 2);
}

void sim_attempt_applied(struct sim_replica *r, struct invocation_id id, uint64_t token, bool dropped)
{
    struct attempt *a = find(r, id);
    if (!a || a->token != token)
        return;
    SIM_CHECK(r->world, !dropped, "effects of a live attempt were dropped");
    a->inflight--;
}

bool sim_attempt_pause(struct sim_replica *r, struct invocation_id id)
{
    struct attempt *a = find(r, id);
    if (!a)
        return false;
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    effects_begin(&w, id, a->token, a->batch++);
    effect_write(&w, &(struct effect){.kind = EFFECT_PAUSED, .payload = SLICE_LIT("{\"ty\":\"Paused\"}")});
    if (processor_propose_effects(r->p, writer_take(&w)) == RC_OK)
        forget(a);
    else
        lose_connection(a);
    return true;
}
