/* What a failed attempt leads to (spec/service-protocol.md §9.2): a retry, Paused, or the end of the
 * invocation; and the journal events that tell about it (spec/invocation-lifecycle.md §9.5). */
#include "base/log.h"
#include "invoker/invoker_internal.h"
#include "invoker/rt_codes.h"

static const char log_target[] = "restate_invoker";

/* ---- the remembered failure ---- */

void failure_record_free(struct failure_record *r)
{
    writer_free(&r->text);
    *r = (struct failure_record){0};
}

void failure_record_set(struct failure_record *r, const struct failure *f)
{
    /* `f` may point into the record itself (pause of a backing-off invocation reports it again). */
    struct writer text = WRITER_INIT;
    writer_init(&text, f->message.len + f->stacktrace.len + f->command_name.len + 1);
    write_slice_raw(&text, f->message);
    write_slice_raw(&text, f->stacktrace);
    write_slice_raw(&text, f->command_name);
    struct failure copy = *f;
    copy.message = slice_make(text.buf->data, f->message.len);
    copy.stacktrace = slice_make(text.buf->data + f->message.len, f->stacktrace.len);
    copy.command_name = slice_make(text.buf->data + f->message.len + f->stacktrace.len, f->command_name.len);
    writer_free(&r->text);
    r->text = text;
    r->f = copy;
    r->set = true;
}

/* "Differs in code, message or related command" (§9.2). */
bool failure_differs(const struct failure *a, const struct failure *b)
{
    return a->code != b->code || !slice_eq(a->message, b->message) ||
           a->has_command_index != b->has_command_index ||
           (a->has_command_index && a->command_index != b->command_index) ||
           a->command_type != b->command_type || a->has_command_name != b->has_command_name ||
           !slice_eq(a->command_name, b->command_name);
}

void failure_write_json(struct writer *w, const struct failure *f, const char *type)
{
    write_u8(w, '{');
    if (type)
        write_fmt(w, "\"ty\":\"%s\",", type);
    write_fmt(w, "\"error_code\":%u,\"error_message\":", f->code);
    write_json_string(w, f->message);
    if (f->stacktrace.len > 0) {
        write_fmt(w, ",\"error_stacktrace\":");
        write_json_string(w, f->stacktrace);
    }
    if (f->doc_code && f->doc_code[0])
        write_fmt(w, ",\"restate_doc_error_code\":\"%s\"", f->doc_code);
    if (f->has_command_index)
        write_fmt(w, ",\"related_command_index\":%u", f->command_index);
    if (f->has_command_name && f->command_name.len > 0) {
        write_fmt(w, ",\"related_command_name\":");
        write_json_string(w, f->command_name);
    }
    const char *command = f->command_type ? message_type_name((uint16_t)f->command_type) : NULL;
    if (command)
        write_fmt(w, ",\"related_command_type\":\"%s\"", command);
    write_u8(w, '}');
}

/* ---- effects ---- */

static void propose_json(struct entry *e, enum effect_kind kind, struct writer *json)
{
    struct effect effect = {.kind = kind, .payload = writer_slice(json)};
    effect_write(entry_effects(e), &effect);
}

static void propose_event(struct entry *e, const struct failure *f)
{
    struct writer *json = &e->p->inv->scratch;
    writer_reset(json);
    failure_write_json(json, f, "TransientError");
    propose_json(e, EFFECT_EVENT, json);
}

void entry_propose_paused(struct entry *e, const struct failure *f)
{
    struct writer *json = &e->p->inv->scratch;
    writer_reset(json);
    write_fmt(json, "{\"ty\":\"Paused\"");
    if (f) {
        write_fmt(json, ",\"last_failure\":");
        failure_write_json(json, f, NULL);
    }
    write_u8(json, '}');
    propose_json(e, EFFECT_PAUSED, json);
    e->effects_terminal = true;
}

static void propose_failed(struct entry *e, const struct failure *f)
{
    struct writer *encoded = &e->p->inv->scratch;
    writer_reset(encoded);
    failure_write(encoded, f->code, f->message);
    struct effect effect = {.kind = EFFECT_FAILED};
    effect.failure = (struct outcome){OUTCOME_FAILURE, writer_slice(encoded), f->stacktrace};
    effect_write(entry_effects(e), &effect);
    e->effects_terminal = true;
}

/* ---- the decision ---- */

static void log_failure(const struct entry *e, const struct failure *f, const char *what)
{
    if (!log_enabled(LOG_WARN, log_target))
        return;
    char id[INVOCATION_ID_TEXT + 1];
    invocation_id_format(e->id, id);
    log_write(LOG_WARN, log_target,
              LOG_FIELDS({"restate.invocation.id", id}, {"restate.error.code", f->doc_code}),
              "Invocation attempt failed: [%u] %.*s, %s", f->code, SLICE_FMT(f->message), what);
}

static void schedule_retry(struct entry *e, uint64_t delay_ms)
{
    struct env *env = e->p->inv->env;
    e->state = ENTRY_BACKOFF;
    e->retry_due = false;
    e->next_retry_wall_ms = env_wall_ms(env) + delay_ms;
    env_timer_arm(env, &e->retry_timer, delay_ms);
}

/* A scoped invocation that will wait for long lets others of its limit run: the partition knows when to go
 * on. */
static bool yields(const struct entry *e, uint64_t delay_ms)
{
    uint64_t threshold = e->p->inv->config.yield_threshold_ms;
    if (!threshold || delay_ms < threshold)
        return false;
    const struct invocation *inv = e->p->ops->invocation(e->p->ctx, e->id);
    return inv && inv->si.target.scope.ptr;
}

static void propose_yield(struct entry *e, uint64_t delay_ms)
{
    struct effect effect = {.kind = EFFECT_YIELD,
                            .resume_at_ms = env_wall_ms(e->p->inv->env) + delay_ms,
                            .retries = e->policy_retries,
                            .retries_since_command = e->retries_since_command};
    effect_write(entry_effects(e), &effect);
    e->effects_terminal = true;
}

void entry_failed(struct entry *e, const struct failure *f)
{
    struct invoker *inv = e->p->inv;
    inv->attempts_failed++;
    if (!f->not_reached)
        e->retries_since_command++;

    uint64_t delay_ms = f->delay_ms;
    bool retry = f->behavior == FAILURE_RETRY && !e->pause_requested;
    if (retry && !f->has_delay) {
        retry = !f->not_retryable &&
                retry_policy_next(&e->options, e->policy_retries, env_random(inv->env), &delay_ms);
        if (retry)
            e->policy_retries++;
    }
    if (retry) {
        log_failure(e, f, "retrying");
        if (!e->last_emitted || !e->last.set || failure_differs(f, &e->last.f))
            propose_event(e, f);
        e->last_emitted = true;
        failure_record_set(&e->last, f);
        if (yields(e, delay_ms))
            propose_yield(e, delay_ms);
        else
            schedule_retry(e, delay_ms);
        return;
    }
    failure_record_set(&e->last, f);
    bool fail = !e->pause_requested &&
                (f->behavior == FAILURE_FAIL ||
                 (f->behavior == FAILURE_RETRY && e->options.retry_on_max_attempts == ON_MAX_ATTEMPTS_KILL));
    log_failure(e, f, fail ? "the invocation ends with this error" : "pausing");
    if (fail)
        propose_failed(e, &e->last.f);
    else
        entry_propose_paused(e, &e->last.f);
}
