/* What the handlers of the simulator do: programs of calls, sends, sleeps, steps and signals (sim_program.c),
 * workflows, and small helpers. Objects are in sim_objects.c. */
#include <stdio.h>

#include "sim/sim_exec.h"

/* ---- operations ---- */

static uint32_t op_call(struct exec *x, bool one_way, const char *service, enum target_kind kind,
                        const char *key, struct slice scope, struct slice parameter, uint64_t delay_ms)
{
    uint32_t id_cid = x->next_cid++, cid = one_way ? id_cid : x->next_cid++;
    uint16_t type = one_way ? MSG_ONE_WAY_CALL : MSG_CALL;
    if (!exec_command(x, type))
        return cid;
    struct writer p = WRITER_INIT;
    pb_write_bytes(&p, 1, slice_cstr(service));
    pb_write_bytes(&p, 2, SLICE_LIT("handle"));
    pb_write_bytes(&p, 3, parameter);
    if (one_way)
        pb_write_u64(&p, 4, delay_ms ? env_wall_ms(x->env) + delay_ms : 0);
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
    exec_write(x, &e, type, &p);
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

static bool op_awakeable(struct exec *x, uint32_t index)
{
    char text[48];
    awakeable_id_format((struct awakeable_id){.invocation = x->inv->id, .index = index}, text);
    op_call(x, true, "Resolver", TARGET_SERVICE, NULL, SLICE_EMPTY, slice_cstr(text), 0);
    struct notification_id id = {.kind = NOTIFICATION_SIGNAL, .index = index};
    struct notification_view view;
    return exec_first_of(x, &id, 1, &view);
}

/* The same with a signal that has a name: "<invocation>/<name>". */
static bool op_signal(struct exec *x, size_t i)
{
    char text[INVOCATION_ID_TEXT + 32];
    invocation_id_format(x->inv->id, text);
    snprintf(text + INVOCATION_ID_TEXT, sizeof(text) - INVOCATION_ID_TEXT, "/signal-%zu", i);
    op_call(x, true, "Signaler", TARGET_SERVICE, NULL, SLICE_EMPTY, slice_cstr(text), 0);
    struct notification_id id = {.kind = NOTIFICATION_NAMED_SIGNAL,
                                 .name = slice_cstr(text + INVOCATION_ID_TEXT + 1)};
    struct notification_view view;
    return exec_first_of(x, &id, 1, &view);
}

/* A step tells somebody outside of a signal; the handler waits for it. What comes first counts. */
static bool op_outside(struct exec *x, const struct sim_op *op, size_t i)
{
    struct sim_signal s = {
        .id = x->inv->id, .index = 40 + (uint32_t)i, .value = op->child_seed, .reject = op->child_seed & 4};
    if (op->child_seed & 2)
        snprintf(s.name, sizeof(s.name), "outside-%zu", i);
    struct notification_id id = sim_signal_id(&s);
    struct notification_view view;
    if (!exec_run(x, &s, &view) || !exec_first_of(x, &id, 1, &view))
        return false;
    SIM_CHECK(x->w, view.outcome.kind == (s.reject ? OUTCOME_FAILURE : OUTCOME_SUCCESS),
              "a signal from outside has outcome %d", (int)view.outcome.kind);
    SIM_CHECK(x->w, s.reject || (view.outcome.value.len == 8 && get_u64be(view.outcome.value.ptr) == s.value),
              "a signal from outside has another value");
    return true;
}

/* The id that a stored CallInvocationId tells. */
static struct invocation_id told_id(struct exec *x, uint32_t cid)
{
    struct notification_id wanted = {.kind = NOTIFICATION_COMPLETION, .index = cid};
    struct reader r = reader_make(bytes_slice(x->inv->journal.items[exec_notification(x, &wanted)].payload));
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
    if (exec_command(x, type)) {
        char text[INVOCATION_ID_TEXT + 1];
        struct writer p = WRITER_INIT;
        struct effect e = {.attach_id = of};
        invocation_id_format(of, text);
        pb_write_bytes(&p, 1, slice_cstr(text));
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, type, &p);
    }
    struct notification_view view;
    return exec_completed(x, cid, &view);
}

/* What was sent is attached to (whether its result was kept or not), then its output is asked for. */
static bool op_attach(struct exec *x, const struct sim_program *prog, size_t i)
{
    struct notification_view view;
    uint32_t cid = op_append(x, true, prog, i, 0);
    if (!exec_completed(x, cid, &view))
        return false;
    struct invocation_id child = told_id(x, cid);
    return op_ask(x, MSG_ATTACH, child) && op_ask(x, MSG_GET_OUTPUT, child);
}

static bool op_read(struct exec *x, uint32_t object)
{
    char key[16];
    struct notification_view view;
    sim_object_key(object, key);
    uint32_t cid = op_call(x, false, "Object", TARGET_OBJECT_SHARED, key, sim_object_scope(x->w, object),
                           SLICE_LIT("read"), 0);
    return exec_completed(x, cid, &view);
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
    return exec_completed(x, cid, &view);
}

static bool op_race(struct exec *x, const struct sim_program *prog, size_t i)
{
    struct notification_id ids[2] = {
        {.kind = NOTIFICATION_COMPLETION, .index = exec_sleep(x, prog->ops[i].delay_ms)},
        {.kind = NOTIFICATION_COMPLETION},
    };
    ids[1].index = op_append(x, false, prog, i, 0);
    struct notification_view view;
    return exec_first_of(x, ids, 2, &view);
}

/* ---- handlers ---- */

static bool flow_op(struct exec *x, const struct sim_program *prog, size_t i)
{
    const struct sim_op *op = &prog->ops[i];
    struct notification_view view;
    switch (op->kind) {
    case OP_SLEEP:
        return exec_completed(x, exec_sleep(x, op->delay_ms), &view);
    case OP_CALL_APPEND:
        return exec_completed(x, op_append(x, false, prog, i, 0), &view);
    case OP_READ:
        return op_read(x, op->object);
    case OP_SEND_APPEND:
        op_append(x, true, prog, i, 0);
        return true;
    case OP_SEND_APPEND_LATER:
        op_append(x, true, prog, i, op->delay_ms);
        return true;
    case OP_RUN:
        return exec_run(x, NULL, &view);
    case OP_AWAKEABLE:
        return op_awakeable(x, 17 + (uint32_t)i);
    case OP_CALL_FLOW: {
        uint8_t parameter[9];
        put_u64be(parameter, op->child_seed);
        parameter[8] = (uint8_t)(prog->depth + 1);
        struct slice scope = x->w->options.scopes && parameter[0] % 3 ? sim_scope(parameter[1]) : SLICE_EMPTY;
        return exec_completed(
            x, op_call(x, false, "Flow", TARGET_SERVICE, NULL, scope, slice_make(parameter, 9), 0), &view);
    }
    case OP_RACE_SLEEP_CALL:
        return op_race(x, prog, i);
    case OP_SIGNAL:
        return op_signal(x, i);
    case OP_OUTSIDE:
        return op_outside(x, op, i);
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
    exec_end(x, slice_make(input.ptr, 8));
}

static void handle_resolver(struct exec *x, struct slice input)
{
    if (exec_command(x, MSG_COMPLETE_AWAKEABLE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, input);
        exec_put_value(&p, 2, SLICE_LIT("resolved"));
        exec_write(x, &e, MSG_COMPLETE_AWAKEABLE, &p);
    }
    exec_end(x, SLICE_LIT("ok"));
}

static void handle_signaler(struct exec *x, struct slice input)
{
    SIM_CHECK(x->w, input.len > INVOCATION_ID_TEXT, "input of %zu bytes", input.len);
    if (exec_command(x, MSG_SEND_SIGNAL)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, slice_sub(input, 0, INVOCATION_ID_TEXT));
        pb_write_bytes(&p, 3, slice_sub(input, INVOCATION_ID_TEXT + 1, input.len - INVOCATION_ID_TEXT - 1));
        exec_put_value(&p, 5, SLICE_LIT("signaled"));
        exec_write(x, &e, MSG_SEND_SIGNAL, &p);
    }
    exec_end(x, SLICE_LIT("ok"));
}

static bool peek(struct exec *x, struct notification_view *view)
{
    uint32_t cid = x->next_cid++;
    if (exec_command(x, MSG_PEEK_PROMISE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("promise"));
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, MSG_PEEK_PROMISE, &p);
    }
    return exec_completed(x, cid, view);
}

/* run looks at the promise, then waits for it; the shared handler completes it (the second time is refused,
 * which it reports). */
static void handle_workflow(struct exec *x, struct slice input)
{
    bool run = x->inv->si.target.kind == TARGET_WORKFLOW_RUN;
    uint16_t type = run ? MSG_GET_PROMISE : MSG_COMPLETE_PROMISE;
    struct notification_view view;
    if (run && !peek(x, &view))
        return;
    uint32_t cid = x->next_cid++;
    if (exec_command(x, type)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("promise"));
        if (!run)
            exec_put_value(&p, 2, input);
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, type, &p);
    }
    if (exec_completed(x, cid, &view))
        exec_end(x, run                                 ? view.outcome.value
                    : view.outcome.kind == OUTCOME_VOID ? SLICE_LIT("done")
                                                        : SLICE_LIT("late"));
}

void sim_run_handler(struct exec *x)
{
    struct command_view input;
    enum rc rc = command_decode(MSG_INPUT, bytes_slice(x->inv->journal.items[0].payload), &input, NULL);
    SIM_CHECK(x->w, rc == RC_OK, "stored Input does not decode");
    struct slice service = x->inv->si.target.service;
    if (slice_eq_cstr(service, "Flow"))
        handle_flow(x, input.value.value);
    else if (slice_eq_cstr(service, "Object") && x->inv->si.target.kind == TARGET_OBJECT_SHARED)
        sim_handle_reader(x);
    else if (slice_eq_cstr(service, "Object"))
        sim_handle_object(x, input.value.value);
    else if (slice_eq_cstr(service, "Resolver"))
        handle_resolver(x, input.value.value);
    else if (slice_eq_cstr(service, "Signaler"))
        handle_signaler(x, input.value.value);
    else if (slice_eq_cstr(service, "Patched"))
        sim_handle_patched(x, input.value.value);
    else
        handle_workflow(x, input.value.value);
}
