/* The host of a leader as the simulator plays it: invoker and SDK in one. An attempt re-executes its handler
 * from the beginning on every event, as SDKs do after a suspension: commands that were sent before are
 * compared with the journal, new ones are proposed, results are looked up in the journal. Attempts fail at
 * random and are retried once everything they proposed was applied. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/sim_world.h"

enum mode { MODE_STEP, MODE_IDLE, MODE_RETRY };

struct attempt {
    struct hmap_node node;
    struct list link;
    struct sim_replica *r;
    struct invocation_id id;
    uint64_t token, batch;
    bool fresh;             /* nothing sent yet: commands are those of the journal */
    uint32_t sent_commands; /* stored or proposed */
    uint32_t runs_sent;     /* bit per completion id */
    uint32_t inflight;      /* batches not applied yet */
    enum mode mode;
    struct env_timer timer;
};

/* One execution of the handler. */
struct exec {
    struct attempt *a;
    struct sim_world *w;
    struct partition_store *store;
    struct invocation *inv;
    struct writer effects;
    bool wrote, ended, canceled;
    bool failed;                /* the attempt ends with an error that is told */
    uint32_t command, next_cid; /* cursors */
    struct writer awaited;      /* notification ids; not empty: blocked */
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
    effects_begin(&x->effects, x->a->id, x->a->token, x->a->batch++);
    if (!x->inv->pinned && x->a->sent_commands <= 1)
        effect_write(&x->effects, &(struct effect){.kind = EFFECT_PIN_DEPLOYMENT,
                                                   .deployment_id = {1, 1},
                                                   .protocol_version = x->a->id.uuid.lo & 1 ? 7 : 6});
}

static const struct journal_entry *stored_command(struct invocation *inv, uint32_t command)
{
    for (size_t i = 0; i < inv->journal.len; i++)
        if (message_is_command(inv->journal.items[i].type) && command-- == 0)
            return &inv->journal.items[i];
    return NULL;
}

/* The next command of the handler. True: it is new and has to be written. */
static bool command(struct exec *x, uint16_t type)
{
    uint32_t k = x->command++;
    if (k >= x->a->sent_commands) {
        x->a->sent_commands++;
        return true;
    }
    const struct journal_entry *e = stored_command(x->inv, k);
    SIM_CHECK(x->w, !e || e->type == type, "replay differs at command %u: stored %04x, executed %04x", k,
              e->type, type);
    return false;
}

static void write_entry(struct exec *x, struct effect *e, uint16_t type, struct writer *payload)
{
    begin(x);
    e->kind = EFFECT_ENTRY;
    e->entry_type = type;
    e->ack = sim_chance(x->w, 50);
    e->payload = writer_slice(payload);
    effect_write(&x->effects, e);
    writer_free(payload);
}

static void put_value(struct writer *p, uint32_t field, struct slice content)
{
    pb_write_len_header(p, field, content.len ? pb_len_field_size(1, content.len) : 0);
    pb_write_bytes(p, 1, content);
}

/* ---- results ---- */

/* The store finds the last one; the first decides. */
static ptrdiff_t first_notification(const struct invocation *inv, const struct notification_id *id)
{
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
static bool first_of(struct exec *x, const struct notification_id *ids, size_t n,
                     struct notification_view *view)
{
    struct notification_id cancel = {.kind = NOTIFICATION_SIGNAL, .index = SIGNAL_INDEX_CANCEL};
    ptrdiff_t canceled = first_notification(x->inv, &cancel), first = -1;
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t at = first_notification(x->inv, &ids[i]);
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

static bool completed(struct exec *x, uint32_t cid, struct notification_view *view)
{
    return first_of(x, &(struct notification_id){.kind = NOTIFICATION_COMPLETION, .index = cid}, 1, view);
}

/* ---- operations ---- */

static uint32_t op_sleep(struct exec *x, uint64_t delay_ms)
{
    uint32_t cid = x->next_cid++;
    if (command(x, MSG_SLEEP)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_u64(&p, 1, env_wall_ms(x->a->r->env) + delay_ms);
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, MSG_SLEEP, &p);
    }
    return cid;
}

/* Returns the completion id of the result (of the invocation id for sends). */
static uint32_t op_call(struct exec *x, bool one_way, const char *service, enum target_kind kind,
                        const char *key, struct slice scope, struct slice parameter, uint64_t delay_ms)
{
    uint32_t id_cid = x->next_cid++, cid = one_way ? id_cid : x->next_cid++;
    uint16_t type = one_way ? MSG_ONE_WAY_CALL : MSG_CALL;
    if (!command(x, type))
        return cid;
    struct writer p = WRITER_INIT;
    pb_write_bytes(&p, 1, slice_cstr(service));
    pb_write_bytes(&p, 2, SLICE_LIT("handle"));
    pb_write_bytes(&p, 3, parameter);
    if (one_way)
        pb_write_u64(&p, 4, delay_ms ? env_wall_ms(x->a->r->env) + delay_ms : 0);
    if (key)
        pb_write_bytes(&p, one_way ? 6 : 5, slice_cstr(key));
    struct slice limit_key =
        scope.ptr && kind == TARGET_SERVICE ? sim_limit_key(parameter.ptr[2]) : SLICE_EMPTY;
    if (scope.ptr)
        pb_write_bytes(&p, one_way ? 8 : 7, scope);
    if (limit_key.ptr)
        pb_write_bytes(&p, one_way ? 9 : 8, limit_key);
    pb_write_u64(&p, 10, id_cid);
    if (!one_way)
        pb_write_u64(&p, 11, cid);
    struct effect e = {
        .has_callee = true,
        .callee = {.kind = kind,
                   .id = {.partition_key = scope.ptr ? partition_key_of_key(scope)
                                           : key     ? partition_key_of_key(slice_cstr(key))
                                                     : sim_env_random(&x->w->env),
                          .uuid = {sim_env_random(&x->w->env), sim_env_random(&x->w->env)}},
                   .completion_retention_ms = sim_env_below(&x->w->env, 2) ? SIM_DAY_MS : 0,
                   .journal_retention_ms = SIM_DAY_MS},
    };
    write_entry(x, &e, type, &p);
    return cid;
}

static uint32_t op_append(struct exec *x, bool one_way, const struct sim_program *prog, size_t i,
                          uint64_t delay_ms)
{
    uint8_t parameter[16];
    char key[16];
    put_u64be(parameter, prog->seed);
    put_u64be(parameter + 8, i);
    sim_object_key(prog->ops[i].object, key);
    return op_call(x, one_way, "Object", TARGET_OBJECT_EXCLUSIVE, key,
                   sim_object_scope(x->w, prog->ops[i].object), slice_make(parameter, 16), delay_ms);
}

static bool op_run(struct exec *x, struct notification_view *view)
{
    uint32_t cid = x->next_cid++;
    struct writer p = WRITER_INIT;
    struct effect e = {0};
    if (command(x, MSG_RUN)) {
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, MSG_RUN, &p);
    }
    if (completed(x, cid, view))
        return true;
    if (!x->canceled && !(x->a->runs_sent & UINT32_C(1) << (cid % 32))) {
        x->a->runs_sent |= UINT32_C(1) << (cid % 32);
        struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = cid};
        notification_write(&p, &id, &(struct outcome){.kind = OUTCOME_SUCCESS, .value = SLICE_LIT("ran")});
        write_entry(x, &e, MSG_N_RUN, &p);
    }
    return false;
}

/* A one-way call tells somebody the id of the awakeable; the handler waits for the signal. */
static bool op_awakeable(struct exec *x, uint32_t index)
{
    char text[48];
    awakeable_id_format((struct awakeable_id){.invocation = x->a->id, .index = index}, text);
    op_call(x, true, "Resolver", TARGET_SERVICE, NULL, SLICE_EMPTY, slice_cstr(text), 0);
    struct notification_id id = {.kind = NOTIFICATION_SIGNAL, .index = index};
    struct notification_view view;
    return first_of(x, &id, 1, &view);
}

/* The same with a signal that has a name: "<invocation>/<name>". */
static bool op_signal(struct exec *x, size_t i)
{
    char text[INVOCATION_ID_TEXT + 32];
    invocation_id_format(x->a->id, text);
    snprintf(text + INVOCATION_ID_TEXT, sizeof(text) - INVOCATION_ID_TEXT, "/signal-%zu", i);
    op_call(x, true, "Signaler", TARGET_SERVICE, NULL, SLICE_EMPTY, slice_cstr(text), 0);
    struct notification_id id = {.kind = NOTIFICATION_NAMED_SIGNAL,
                                 .name = slice_cstr(text + INVOCATION_ID_TEXT + 1)};
    struct notification_view view;
    return first_of(x, &id, 1, &view);
}

/* The id that a stored CallInvocationId tells. */
static struct invocation_id told_id(struct exec *x, uint32_t cid)
{
    struct notification_id wanted = {.kind = NOTIFICATION_COMPLETION, .index = cid};
    struct reader r =
        reader_make(bytes_slice(x->inv->journal.items[first_notification(x->inv, &wanted)].payload));
    struct invocation_id id = {0};
    struct pb_field f;
    bool told = false;
    while (pb_next(&r, &f))
        told = told || (f.number == 16 && invocation_id_parse(f.bytes, &id) == ID_OK);
    SIM_CHECK(x->w, told, "a call's id does not parse");
    return id;
}

static bool op_ask(struct exec *x, uint16_t type, struct invocation_id of)
{
    uint32_t cid = x->next_cid++;
    if (command(x, type)) {
        char text[INVOCATION_ID_TEXT + 1];
        struct writer p = WRITER_INIT;
        struct effect e = {.attach_id = of};
        invocation_id_format(of, text);
        pb_write_bytes(&p, 1, slice_cstr(text));
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, type, &p);
    }
    struct notification_view view;
    return completed(x, cid, &view);
}

/* What was sent is attached to (whether its result was kept or not), then its output is asked for. */
static bool op_attach(struct exec *x, const struct sim_program *prog, size_t i)
{
    struct notification_view view;
    uint32_t cid = op_append(x, true, prog, i, 0);
    if (!completed(x, cid, &view))
        return false;
    struct invocation_id child = told_id(x, cid);
    return op_ask(x, MSG_ATTACH, child) && op_ask(x, MSG_GET_OUTPUT, child);
}

static bool op_hold(struct exec *x, uint64_t delay_ms)
{
    char key[16];
    uint8_t parameter[8];
    struct notification_view view;
    sim_patched_key((uint32_t)(delay_ms % SIM_PATCHED), key);
    put_u64be(parameter, delay_ms);
    uint32_t cid = op_call(x, false, "Patched", TARGET_OBJECT_EXCLUSIVE, key, SLICE_EMPTY,
                           slice_make(parameter, sizeof(parameter)), 0);
    return completed(x, cid, &view);
}

static bool op_race(struct exec *x, const struct sim_program *prog, size_t i)
{
    struct notification_id ids[2] = {
        {.kind = NOTIFICATION_COMPLETION, .index = op_sleep(x, prog->ops[i].delay_ms)},
        {.kind = NOTIFICATION_COMPLETION},
    };
    ids[1].index = op_append(x, false, prog, i, 0);
    struct notification_view view;
    return first_of(x, ids, 2, &view);
}

static void end_with(struct exec *x, struct slice value)
{
    if (command(x, MSG_OUTPUT)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        put_value(&p, 14, value);
        write_entry(x, &e, MSG_OUTPUT, &p);
    }
    begin(x);
    effect_write(&x->effects, &(struct effect){.kind = EFFECT_END});
    x->ended = true;
}

static void end_canceled(struct exec *x)
{
    if (command(x, MSG_OUTPUT)) {
        struct writer p = WRITER_INIT, failure = WRITER_INIT;
        struct effect e = {0};
        failure_write(&failure, 409, SLICE_LIT("Cancelled"));
        pb_write_bytes_always(&p, 15, writer_slice(&failure));
        writer_free(&failure);
        write_entry(x, &e, MSG_OUTPUT, &p);
    }
    begin(x);
    effect_write(&x->effects, &(struct effect){.kind = EFFECT_END});
    x->ended = true;
}

/* ---- handlers ---- */

static bool flow_op(struct exec *x, const struct sim_program *prog, size_t i)
{
    const struct sim_op *op = &prog->ops[i];
    struct notification_view view;
    switch (op->kind) {
    case OP_SLEEP:
        return completed(x, op_sleep(x, op->delay_ms), &view);
    case OP_CALL_APPEND:
        return completed(x, op_append(x, false, prog, i, 0), &view);
    case OP_SEND_APPEND:
        op_append(x, true, prog, i, 0);
        return true;
    case OP_SEND_APPEND_LATER:
        op_append(x, true, prog, i, op->delay_ms);
        return true;
    case OP_RUN:
        return op_run(x, &view);
    case OP_AWAKEABLE:
        return op_awakeable(x, 17 + (uint32_t)i);
    case OP_CALL_FLOW: {
        uint8_t parameter[9];
        put_u64be(parameter, op->child_seed);
        parameter[8] = (uint8_t)(prog->depth + 1);
        struct slice scope = x->w->options.scopes && parameter[0] % 3 ? sim_scope(parameter[1]) : SLICE_EMPTY;
        return completed(
            x, op_call(x, false, "Flow", TARGET_SERVICE, NULL, scope, slice_make(parameter, 9), 0), &view);
    }
    case OP_RACE_SLEEP_CALL:
        return op_race(x, prog, i);
    case OP_SIGNAL:
        return op_signal(x, i);
    case OP_ATTACH:
        return op_attach(x, prog, i);
    case OP_HOLD:
        return op_hold(x, op->delay_ms);
    case OP_KINDS:
        break;
    }
    UNREACHABLE("operation %d", (int)op->kind);
}

static void handle_flow(struct exec *x, struct slice input)
{
    struct sim_program prog;
    SIM_CHECK(x->w, input.len == 9, "input of %zu bytes", input.len);
    sim_program_make(&prog, get_u64be(input.ptr), input.ptr[8], x->w->options.objects);
    for (size_t i = 0; i < prog.n; i++)
        if (!flow_op(x, &prog, i))
            return;
    end_with(x, slice_make(input.ptr, 8));
}

/* The object's log as the handler sees it: eagerly (recorded with the value the state machine finds) or
 * lazily. False: blocked. */
static bool read_log(struct exec *x, bool lazy, struct bytes *log)
{
    const struct target *t = &x->inv->si.target;
    struct writer p = WRITER_INIT;
    struct effect e = {.value_from_state = !lazy};
    uint32_t k = x->command;
    bool is_new = command(x, lazy ? MSG_GET_LAZY_STATE : MSG_GET_EAGER_STATE);
    uint32_t cid = lazy ? x->next_cid++ : 0;
    if (is_new) {
        pb_write_bytes(&p, 1, SLICE_LIT("log"));
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, lazy ? MSG_GET_LAZY_STATE : MSG_GET_EAGER_STATE, &p);
    }
    if (lazy) {
        struct notification_view view;
        if (!completed(x, cid, &view))
            return false;
        *log = bytes_copy(view.outcome.value);
        return true;
    }
    const struct journal_entry *stored = is_new ? NULL : stored_command(x->inv, k);
    if (stored) {
        struct command_view c;
        enum rc rc = command_decode(MSG_GET_EAGER_STATE, bytes_slice(stored->payload), &c, NULL);
        SIM_CHECK(x->w, rc == RC_OK, "stored GetEagerState does not decode");
        *log = bytes_copy(c.value.value);
    } else {
        struct object_name name = object_name_of(t);
        if (!store_state_get(x->store, name.service, name.key, SLICE_LIT("log"), log))
            *log = BYTES_EMPTY;
        object_name_free(&name);
    }
    return true;
}

/* A key that is set and cleared again, then the list of keys. False: blocked. */
static bool touch_state(struct exec *x)
{
    if (command(x, MSG_SET_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("touched"));
        put_value(&p, 3, SLICE_LIT("soon gone"));
        write_entry(x, &e, MSG_SET_STATE, &p);
    }
    if (command(x, MSG_CLEAR_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("touched"));
        write_entry(x, &e, MSG_CLEAR_STATE, &p);
    }
    uint32_t cid = x->next_cid++;
    if (command(x, MSG_GET_LAZY_STATE_KEYS)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, MSG_GET_LAZY_STATE_KEYS, &p);
    }
    struct notification_view view;
    return completed(x, cid, &view);
}

static void handle_object(struct exec *x, struct slice input)
{
    SIM_CHECK(x->w, input.len == 16, "input of %zu bytes", input.len);
    uint64_t variant = get_u64be(input.ptr) ^ get_u64be(input.ptr + 8);
    struct notification_view view;
    struct bytes log;
    if (!read_log(x, variant & 1, &log))
        return;
    bool go_on = (variant & 6) != 2 || op_run(x, &view);
    if (go_on && (variant & 6) == 4)
        go_on = completed(x, op_sleep(x, variant % 20), &view);
    if (go_on && (variant & 24) == 8)
        go_on = touch_state(x);
    if (go_on) {
        if (command(x, MSG_SET_STATE)) {
            struct writer p = WRITER_INIT, value = WRITER_INIT;
            struct effect e = {0};
            write_slice_raw(&value, bytes_slice(log));
            write_slice_raw(&value, input);
            pb_write_bytes(&p, 1, SLICE_LIT("log"));
            put_value(&p, 3, writer_slice(&value));
            writer_free(&value);
            write_entry(x, &e, MSG_SET_STATE, &p);
        }
        end_with(x, slice_make(input.ptr, 8));
    }
    bytes_unref(&log);
}

static void handle_resolver(struct exec *x, struct slice input)
{
    if (command(x, MSG_COMPLETE_AWAKEABLE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, input);
        put_value(&p, 2, SLICE_LIT("resolved"));
        write_entry(x, &e, MSG_COMPLETE_AWAKEABLE, &p);
    }
    end_with(x, SLICE_LIT("ok"));
}

static void handle_signaler(struct exec *x, struct slice input)
{
    SIM_CHECK(x->w, input.len > INVOCATION_ID_TEXT, "input of %zu bytes", input.len);
    if (command(x, MSG_SEND_SIGNAL)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, slice_sub(input, 0, INVOCATION_ID_TEXT));
        pb_write_bytes(&p, 3, slice_sub(input, INVOCATION_ID_TEXT + 1, input.len - INVOCATION_ID_TEXT - 1));
        put_value(&p, 5, SLICE_LIT("signaled"));
        write_entry(x, &e, MSG_SEND_SIGNAL, &p);
    }
    end_with(x, SLICE_LIT("ok"));
}

/* Holds the lock of an object for a while. */
static void handle_patched(struct exec *x, struct slice input)
{
    struct notification_view view;
    SIM_CHECK(x->w, input.len == 8, "input of %zu bytes", input.len);
    if (completed(x, op_sleep(x, get_u64be(input.ptr) % 40), &view))
        end_with(x, SLICE_LIT("held"));
}

static bool peek(struct exec *x, struct notification_view *view)
{
    uint32_t cid = x->next_cid++;
    if (command(x, MSG_PEEK_PROMISE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("promise"));
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, MSG_PEEK_PROMISE, &p);
    }
    return completed(x, cid, view);
}

/* run looks at the promise, then waits for it; the shared handler completes it (the second time is refused,
 * which it reports).
 */
static void handle_workflow(struct exec *x, struct slice input)
{
    bool run = x->inv->si.target.kind == TARGET_WORKFLOW_RUN;
    uint16_t type = run ? MSG_GET_PROMISE : MSG_COMPLETE_PROMISE;
    struct notification_view view;
    if (run && !peek(x, &view))
        return;
    uint32_t cid = x->next_cid++;
    if (command(x, type)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("promise"));
        if (!run)
            put_value(&p, 2, input);
        pb_write_u64(&p, 11, cid);
        write_entry(x, &e, type, &p);
    }
    if (completed(x, cid, &view))
        end_with(x, run                                 ? view.outcome.value
                    : view.outcome.kind == OUTCOME_VOID ? SLICE_LIT("done")
                                                        : SLICE_LIT("late"));
}

static void run_handler(struct exec *x)
{
    struct command_view input;
    enum rc rc = command_decode(MSG_INPUT, bytes_slice(x->inv->journal.items[0].payload), &input, NULL);
    SIM_CHECK(x->w, rc == RC_OK, "stored Input does not decode");
    struct slice service = x->inv->si.target.service;
    if (slice_eq_cstr(service, "Flow"))
        handle_flow(x, input.value.value);
    else if (slice_eq_cstr(service, "Object"))
        handle_object(x, input.value.value);
    else if (slice_eq_cstr(service, "Resolver"))
        handle_resolver(x, input.value.value);
    else if (slice_eq_cstr(service, "Signaler"))
        handle_signaler(x, input.value.value);
    else if (slice_eq_cstr(service, "Patched"))
        handle_patched(x, input.value.value);
    else
        handle_workflow(x, input.value.value);
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
    struct exec x = {.a = a, .w = w, .store = processor_store(a->r->p), .command = 1, .next_cid = 1};
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
    }
    if (sim_chance(w, 15)) {
        lose_connection(a);
        return;
    }
    if (sim_chance(w, 10))
        fail(&x);
    else
        run_handler(&x);
    if (x.canceled)
        end_canceled(&x);
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
