/* Entries, their queue and slots; proposals of a chain; the calls of the partition (see invoker.h). */
#include "invoker/invoker.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "invoker/invoker_internal.h"

/* ---- memory of the node ---- */

static void wake_waiters(struct invoker *inv)
{
    LIST_FOREACH(l, &inv->partitions)
    {
        struct invoker_partition *p = CONTAINER_OF(l, struct invoker_partition, link);
        env_defer(inv->env, &p->start_task);
    }
}

void memory_charge(struct invoker *inv, uint64_t n)
{
    inv->memory_used += n;
    metric_add(inv->memory_usage, (int64_t)n);
}

void memory_release(struct invoker *inv, uint64_t n)
{
    ASSERT(n <= inv->memory_used);
    inv->memory_used -= n;
    metric_add(inv->memory_usage, -(int64_t)n);
    if (inv->memory_short && n > 0) {
        inv->memory_short = false;
        wake_waiters(inv);
    }
}

void memory_exhausted_text(char text[MEMORY_TEXT_MAX], const char *doing, uint64_t needed)
{
    struct writer size = WRITER_INIT;
    byte_size_format(&size, needed);
    snprintf(text, MEMORY_TEXT_MAX,
             "memory budget exhausted (upper bound exceeded) while %s: needed %.*s; consider increasing "
             "'worker.invoker.per-invocation-memory-limit'",
             doing, SLICE_FMT(writer_slice(&size)));
    writer_free(&size);
}

/* ---- entries ---- */

struct entry *entry_find(struct invoker_partition *p, struct invocation_id id)
{
    for (struct hmap_node *n = hmap_first(&p->entries, invocation_id_hash(id)); n; n = hmap_next_same(n)) {
        struct entry *e = CONTAINER_OF(n, struct entry, by_id);
        if (invocation_id_eq(e->id, id))
            return e;
    }
    return NULL;
}

static void release_slot(struct entry *e)
{
    if (!e->has_slot)
        return;
    e->has_slot = false;
    metric_inc(e->p->inv->metrics.slots_released);
    ASSERT(e->p->slots_used > 0);
    e->p->slots_used--;
    if (!list_empty(&e->p->queue))
        env_defer(e->p->inv->env, &e->p->start_task);
}

void entry_free(struct entry *e)
{
    struct env *env = e->p->inv->env;
    env_timer_cancel(env, &e->retry_timer);
    env_timer_cancel(env, &e->propose_timer);
    env_undefer(&e->propose_task);
    struct attempt *a = e->attempt;
    if (a) {
        e->attempt = NULL;
        if (a->phase == ATTEMPT_DECIDED) {
            a->entry = NULL;
            attempt_consume(a);
        } else {
            attempt_abort(a);
        }
    }
    if (list_linked(&e->queue_link))
        list_remove(&e->queue_link);
    release_slot(e);
    hmap_remove(&e->p->entries, &e->by_id);
    writer_free(&e->effects);
    writer_free(&e->awaiting_on);
    bytes_unref(&e->refused);
    failure_record_free(&e->last);
    free(e);
}

static void on_retry_timer(struct env_timer *t)
{
    struct entry *e = CONTAINER_OF(t, struct entry, retry_timer);
    e->retry_due = true;
    entry_maybe_retry(e);
}

static void entry_propose(struct entry *e);
static void on_propose_task(struct env_task *t)
{
    entry_propose(CONTAINER_OF(t, struct entry, propose_task));
}
static void on_propose_timer(struct env_timer *t)
{
    entry_propose(CONTAINER_OF(t, struct entry, propose_timer));
}

static struct entry *entry_new(struct invoker_partition *p, struct invocation_id id)
{
    struct entry *e = xcalloc(1, sizeof(*e));
    e->p = p;
    e->id = id;
    e->token = ++p->inv->token_counter;
    list_init(&e->queue_link);
    env_timer_init(&e->retry_timer, on_retry_timer);
    env_timer_init(&e->propose_timer, on_propose_timer);
    env_task_init(&e->propose_task, on_propose_task);
    hmap_insert(&p->entries, &e->by_id, invocation_id_hash(id));
    return e;
}

/* ---- proposals: everything of one iteration is one record (§4 of the design: one batch, one fsync) ---- */

struct writer *entry_effects(struct entry *e)
{
    ASSERT_MSG(!e->effects_terminal, "an effect after the terminal one");
    if (e->effects.len == 0) {
        e->batch++;
        record_begin(&e->effects, 192);
        effects_begin(&e->effects, e->id, e->token, e->batch);
        env_defer(e->p->inv->env, &e->propose_task);
    }
    return &e->effects;
}

/* Offer a record. True: taken. False: kept in `refused` for later, or the chain is gone. */
static bool offer(struct entry *e, struct bytes record, bool terminal)
{
    struct bytes ours = bytes_ref(record);
    enum rc rc = e->p->ops->propose(e->p->ctx, record);
    if (rc == RC_OK) {
        bytes_unref(&ours);
        return true;
    }
    if (rc == RC_OVERLOADED || rc == RC_NO_SPACE || rc == RC_AGAIN) {
        e->refused = ours;
        e->refused_terminal = terminal;
        env_timer_arm(e->p->inv->env, &e->propose_timer, PROPOSE_RETRY_MS);
        return false;
    }
    bytes_unref(&ours);
    LOG0(LOG_DEBUG, "restate_invoker", "partition %u takes no effects (%s), aborting the attempt", e->p->id,
         rc_name(rc));
    entry_free(e);
    return false;
}

/* action-throttling: must the effects wait? The stream is given no window meanwhile. What comes in the
 * meantime goes along, at the expense of those after it. */
static bool wait_for_actions(struct entry *e)
{
    struct invoker *inv = e->p->inv;
    uint64_t wait = inv->config.throttles && e->actions
                        ? throttle_reserve(&inv->config.throttles->actions, e->actions, env_mono_ms(inv->env))
                        : 0;
    e->actions = 0;
    e->actions_granted = wait > 0 && !e->actions_granted;
    if (e->actions_granted)
        env_timer_arm(inv->env, &e->propose_timer, wait);
    return e->actions_granted;
}

static void entry_propose(struct entry *e)
{
    env_timer_cancel(e->p->inv->env, &e->propose_timer);
    if (e->refused.ptr) {
        struct bytes record = e->refused;
        bool terminal = e->refused_terminal;
        e->refused = BYTES_EMPTY;
        if (!offer(e, record, terminal))
            return;
        if (terminal) {
            entry_free(e);
            return;
        }
    }
    if (e->effects.len > 0 && wait_for_actions(e))
        return;
    if (e->effects.len > 0) {
        bool terminal = e->effects_terminal;
        e->effects_terminal = false;
        if (!offer(e, writer_take(&e->effects), terminal))
            return;
        if (terminal) {
            entry_free(e);
            return;
        }
    }
    if (e->attempt)
        attempt_consume(e->attempt);
}

/* ---- queue and slots (lifecycle §12.1) ---- */

/* invocation-throttling: is the token for the next start there? */
static bool start_granted(struct invoker_partition *p)
{
    struct invoker *inv = p->inv;
    if (p->start_granted || !inv->config.throttles)
        return true;
    if (env_timer_armed(&p->start_timer))
        return false;
    uint64_t wait = throttle_reserve(&inv->config.throttles->starts, 1, env_mono_ms(inv->env));
    if (wait > 0)
        env_timer_arm(inv->env, &p->start_timer, wait);
    return p->start_granted = wait == 0;
}

static void on_start_timer(struct env_timer *t)
{
    struct invoker_partition *p = CONTAINER_OF(t, struct invoker_partition, start_timer);
    p->start_granted = true;
    env_defer(p->inv->env, &p->start_task);
}

static void on_start_task(struct env_task *t)
{
    struct invoker_partition *p = CONTAINER_OF(t, struct invoker_partition, start_task);
    struct invoker *inv = p->inv;
    while (!list_empty(&p->queue)) {
        struct entry *e = CONTAINER_OF(p->queue.next, struct entry, queue_link);
        if (!e->has_slot && p->slots_used >= inv->config.concurrent_invocations_limit)
            return;
        /* With nothing charged an attempt always starts, else a limit below one attempt's need would stop the
         * node. */
        if (inv->memory_used > 0 && inv->memory_used + ATTEMPT_BASE_CHARGE > inv->config.memory_limit) {
            inv->memory_short = true;
            return;
        }
        if (!e->has_slot && !start_granted(p))
            return;
        list_remove(&e->queue_link);
        if (!e->has_slot) {
            p->start_granted = false;
            e->has_slot = true;
            p->slots_used++;
            metric_inc(inv->metrics.slots_acquired);
        }
        attempt_start(e);
    }
}

void entry_maybe_retry(struct entry *e)
{
    if (e->state != ENTRY_BACKOFF || !e->retry_due || !entry_settled(e) || e->effects.len > 0 || e->attempt)
        return;
    e->state = ENTRY_QUEUED;
    e->retry_due = false;
    e->next_retry_wall_ms = 0;
    list_push_front(&e->p->queue,
                    &e->queue_link); /* it still has its slot: it does not wait behind new ones */
    env_defer(e->p->inv->env, &e->p->start_task);
}

/* ---- calls of the partition ---- */

void invoker_invoke(struct invoker_partition *p, struct invocation *inv)
{
    if (entry_find(p, inv->id))
        return;
    struct entry *e = entry_new(p, inv->id);
    e->state = ENTRY_QUEUED;
    e->policy_retries = e->attempts = inv->backoff.retries;
    e->retries_since_command = inv->backoff.retries_since_command;
    metric_inc(p->metrics.enqueued);
    list_push_back(&p->queue, &e->queue_link);
    env_defer(p->inv->env, &p->start_task);
}

void invoker_abort(struct invoker_partition *p, struct invocation_id id)
{
    struct entry *e = entry_find(p, id);
    if (e)
        entry_free(e);
}

void invoker_notify(struct invoker_partition *p, struct invocation *inv, uint32_t entry_index)
{
    struct entry *e = entry_find(p, inv->id);
    if (!e || !e->attempt || e->attempt->phase != ATTEMPT_DUPLEX)
        return; /* the next replay contains it */
    if (entry_index < e->attempt->known_entries)
        return; /* the replay contained it (§6.2) */
    store_journal_load(p->ops->store(p->ctx), inv);
    ASSERT(entry_index < inv->journal.len);
    attempt_forward(e->attempt, &inv->journal.items[entry_index]);
}

void invoker_ack_command(struct invoker_partition *p, struct invocation_id id, uint32_t command_index)
{
    struct entry *e = entry_find(p, id);
    if (!e || !e->attempt || e->attempt->phase != ATTEMPT_DUPLEX)
        return;
    struct writer w = WRITER_INIT;
    pb_write_u64(&w, 1, command_index);
    struct bytes payload = writer_take(&w);
    attempt_write_frame(e->attempt, MSG_COMMAND_ACK, payload);
    bytes_unref(&payload);
}

void invoker_effects_applied(struct invoker_partition *p, struct invocation_id id, uint64_t token,
                             uint64_t batch, bool dropped)
{
    struct entry *e = entry_find(p, id);
    if (!e || e->token != token)
        return;
    /* A dropped record had no effect; the partition also aborts the chain. Either way it is out of the log.
     */
    e->applied = MAX(e->applied, batch);
    entry_maybe_retry(e);
}

bool invoker_pause(struct invoker_partition *p, struct invocation_id id)
{
    struct entry *e = entry_find(p, id);
    if (!e)
        return false;
    if (e->effects_terminal || e->refused_terminal)
        return true; /* its result is on the way */
    if (e->state == ENTRY_RUNNING) {
        e->pause_requested = true;
        attempt_half_close(e->attempt);
        return true;
    }
    env_timer_cancel(p->inv->env, &e->retry_timer);
    e->retry_due = false;
    entry_propose_paused(e, e->last.set ? &e->last.f : NULL);
    if (list_linked(&e->queue_link))
        list_remove(&e->queue_link);
    return true;
}

void invoker_retry_now(struct invoker_partition *p, struct invocation_id id)
{
    struct entry *e = entry_find(p, id);
    if (!e || e->state != ENTRY_BACKOFF)
        return;
    env_timer_cancel(p->inv->env, &e->retry_timer);
    e->retry_due = true;
    entry_maybe_retry(e);
}

static void status_of_failure(const struct failure *f, struct invocation_attempt_status *out)
{
    snprintf(out->last_error_doc_code, sizeof(out->last_error_doc_code), "%s", f->doc_code);
    out->last_error_code = f->code;
    out->last_error_message = f->message;
    out->last_error_stacktrace = f->stacktrace;
    out->has_related_command_index = f->has_command_index;
    out->related_command_index = f->command_index;
    out->related_command_name = f->command_name;
    out->related_command_type =
        f->command_type ? slice_cstr(message_type_name((uint16_t)f->command_type)) : SLICE_EMPTY;
}

static void status_of_entry(const struct entry *e, struct invocation_attempt_status *out)
{
    *out = (struct invocation_attempt_status){
        .in_flight = e->state == ENTRY_RUNNING,
        .retry_count = e->attempts,
        .last_start_at_ms = e->last_start_wall_ms,
        .next_retry_at_ms = e->state == ENTRY_BACKOFF ? e->next_retry_wall_ms : 0,
        .last_attempt_deployment_id = e->last_deployment,
        .awaiting_on = writer_slice(&e->awaiting_on),
    };
    memcpy(out->last_attempt_server, e->last_server, sizeof(out->last_attempt_server));
    if (e->last.set)
        status_of_failure(&e->last.f, out);
}

bool invoker_status(struct invoker_partition *p, struct invocation_id id,
                    struct invocation_attempt_status *out)
{
    const struct entry *e = entry_find(p, id);
    if (e)
        status_of_entry(e, out);
    return e != NULL;
}

void invoker_scan(struct invoker_partition *p,
                  void (*visit)(void *ctx, struct invocation_id id,
                                const struct invocation_attempt_status *status),
                  void *ctx)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&p->entries, &it); n; n = hmap_step(&p->entries, &it)) {
        const struct entry *e = CONTAINER_OF(n, struct entry, by_id);
        struct invocation_attempt_status status;
        status_of_entry(e, &status);
        visit(ctx, e->id, &status);
    }
}

/* ---- partitions ---- */

struct invoker_partition *invoker_partition_new(struct invoker *inv, uint16_t partition_id,
                                                const struct invoker_ops *ops, void *ctx)
{
    struct invoker_partition *p = xcalloc(1, sizeof(*p));
    p->inv = inv;
    p->id = partition_id;
    p->ops = ops;
    p->ctx = ctx;
    invoker_partition_metrics_init(&p->metrics, partition_id);
    hmap_init(&p->entries);
    list_init(&p->queue);
    list_push_back(&inv->partitions, &p->link);
    env_task_init(&p->start_task, on_start_task);
    env_timer_init(&p->start_timer, on_start_timer);
    return p;
}

void invoker_partition_free(struct invoker_partition *p)
{
    struct hmap_iter it;
    for (struct hmap_node *n = hmap_begin(&p->entries, &it); n; n = hmap_step(&p->entries, &it))
        entry_free(CONTAINER_OF(n, struct entry, by_id));
    env_undefer(&p->start_task);
    env_timer_cancel(p->inv->env, &p->start_timer);
    list_remove(&p->link);
    hmap_free(&p->entries);
    free(p);
}

/* ---- the invoker ---- */

static void free_headers(struct invoker *inv)
{
    for (size_t i = 0; i < inv->config.n_additional_headers; i++) {
        free((char *)inv->extra_headers[i].name.ptr);
        free((char *)inv->extra_headers[i].value.ptr);
    }
    free(inv->extra_headers);
    inv->extra_headers = NULL;
}

static void copy_config(struct invoker *inv, const struct invoker_config *config)
{
    metric_add(inv->memory_capacity, (int64_t)config->memory_limit - (int64_t)inv->config.memory_limit);
    inv->config = *config;
    metric_set(inv->metrics.concurrency_limit, config->concurrent_invocations_limit);
    inv->config.identity_key_pem = NULL; /* lives on in `identity` */
    inv->config.additional_headers = NULL;
    inv->config.created_using_version = NULL;
    inv->extra_headers = xcalloc(config->n_additional_headers + 1, sizeof(*inv->extra_headers));
    for (size_t i = 0; i < config->n_additional_headers; i++) {
        char *name = xstrdup(config->additional_headers[i].name);
        for (char *c = name; *c; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
        inv->extra_headers[i] =
            (struct http_header){slice_cstr(name), slice_cstr(xstrdup(config->additional_headers[i].value))};
    }
}

/* What responses of Lambda functions hold counts like what streams hold. */
static void lambda_holds(void *ctx, int64_t delta)
{
    if (delta >= 0)
        memory_charge(ctx, (uint64_t)delta);
    else
        memory_release(ctx, (uint64_t)-delta);
}

enum rc invoker_new(struct loop *loop, struct env *env, struct http_client *client,
                    const struct invoker_config *config, const struct schema_cell *cell, struct invoker **out,
                    struct err *err)
{
    struct identity *identity = NULL;
    if (config->identity_key_pem) {
        enum rc rc = identity_new(config->identity_key_pem, config->identity_expiration_s, &identity, err);
        if (rc != RC_OK)
            return rc;
    }
    struct invoker *inv = xcalloc(1, sizeof(*inv));
    inv->env = env;
    inv->client = client;
    inv->cell = cell;
    inv->identity = identity;
    inv->token_counter = env_random(env); /* so that tokens of earlier leaderships cannot come back */
    list_init(&inv->partitions);
    list_init(&inv->attempts);
    list_init(&inv->discoveries);
    list_init(&inv->previews);
    hmap_init(&inv->endpoints);
    const char *labels = "name=\"invoker\"";
    inv->memory_usage =
        metric_gauge("restate_memory_pool_usage_bytes", labels, "Bytes taken from the memory pool");
    inv->memory_capacity =
        metric_gauge("restate_memory_pool_capacity_bytes", labels, "Capacity of the memory pool in bytes");
    invoker_metrics_init(&inv->metrics);
    copy_config(inv, config);
    inv->lambda = config->lambda ? lambda_new(config->lambda, loop, client, lambda_holds, inv) : NULL;
    *out = inv;
    return RC_OK;
}

void invoker_reconfigure(struct invoker *inv, const struct invoker_config *config)
{
    free_headers(inv);
    copy_config(inv, config);
    wake_waiters(inv);
}

void invoker_close(struct invoker *inv, void (*closed)(void *ctx), void *ctx)
{
    ASSERT_MSG(inv->lambda, "an invoker without Lambda functions need not be closed");
    discovery_cancel_all(inv);
    preview_cancel_all(inv);
    lambda_close(inv->lambda, closed, ctx);
}

void invoker_free(struct invoker *inv)
{
    ASSERT_MSG(list_empty(&inv->partitions), "free the partitions before the invoker");
    discovery_cancel_all(inv);
    preview_cancel_all(inv);
    LIST_FOREACH_SAFE(l, next, &inv->attempts)
    attempt_abort(CONTAINER_OF(l, struct attempt, link));
    LIST_FOREACH_SAFE(l, next, &inv->attempts)
    {
        struct attempt *a = CONTAINER_OF(l, struct attempt, link);
        memory_release(inv, a->charged);
        a->charged = 0;
        a->inv = NULL;
        list_remove(&a->link);
    }
    if (inv->lambda)
        lambda_free(inv->lambda);
    metric_add(inv->memory_capacity, -(int64_t)inv->config.memory_limit);
    endpoint_cache_clear(inv);
    hmap_free(&inv->endpoints);
    free_headers(inv);
    identity_free(inv->identity);
    writer_free(&inv->scratch);
    VEC_FREE(&inv->head);
    free(inv);
}

const char *invoker_identity_key_id(const struct invoker *inv)
{
    return inv->identity ? identity_key_id(inv->identity) : NULL;
}

void invoker_get_stats(const struct invoker *inv, struct invoker_stats *out)
{
    *out = (struct invoker_stats){.memory_used = inv->memory_used,
                                  .attempts_started = inv->attempts_started,
                                  .attempts_failed = inv->attempts_failed};
    LIST_FOREACH(l, &inv->attempts)
    *(CONTAINER_OF(l, struct attempt, link)->phase == ATTEMPT_DECIDED ? &out->draining : &out->running) += 1;
    LIST_FOREACH(l, &inv->partitions)
    {
        struct invoker_partition *p = CONTAINER_OF(l, struct invoker_partition, link);
        LIST_FOREACH(q, &p->queue)
        out->queued++;
        struct hmap_iter it;
        for (struct hmap_node *n = hmap_begin(&p->entries, &it); n; n = hmap_step(&p->entries, &it))
            out->backing_off += CONTAINER_OF(n, struct entry, by_id)->state == ENTRY_BACKOFF;
    }
}

size_t signature_headers(struct invoker *inv, struct slice audience, struct slice subject, struct writer *jwt,
                         struct http_header out[2])
{
    if (!inv->identity)
        return 0;
    writer_reset(jwt);
    identity_sign(inv->identity, audience, subject, env_wall_ms(inv->env) / 1000, jwt);
    out[0] = HTTP_HEADER_LIT("x-restate-signature-scheme", "v1");
    out[1] = (struct http_header){SLICE_LIT("x-restate-jwt-v1"), writer_slice(jwt)};
    return 2;
}
