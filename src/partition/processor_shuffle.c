/* The shuffle (spec/invocation-lifecycle.md §10): outbox messages leave in order of their index through the
 * host, which appends them to the logs of their destinations; what is committed there is truncated here, many
 * at a time. */
#include <stdlib.h>

#include "partition/processor_internal.h"

#define TRUNCATE_EVERY    256
#define TRUNCATE_AFTER_MS 200
#define DEFAULT_WINDOW    1024

static void timer_fired(struct env_timer *t)
{
    struct processor *p = CONTAINER_OF(t, struct processor, shuffle.timer);
    p->shuffle.due = true;
    processor_schedule(p);
}

void shuffle_init(struct processor *p)
{
    struct shuffle *s = &p->shuffle;
    s->window = p->config.max_inflight_ship ? p->config.max_inflight_ship : DEFAULT_WINDOW;
    s->ring = xcalloc(s->window, sizeof(*s->ring));
    env_timer_init(&s->timer, timer_fired);
}

void shuffle_free(struct processor *p)
{
    free(p->shuffle.ring);
    p->shuffle.ring = NULL;
}

void shuffle_start(struct processor *p)
{
    struct shuffle *s = &p->shuffle;
    memset(s->ring, 0, s->window * sizeof(*s->ring));
    s->next = s->acked = s->truncated = store_vars(p->store)->outbox_head;
    s->truncating = s->due = false;
}

void shuffle_stop(struct processor *p)
{
    env_timer_cancel(p->env, &p->shuffle.timer);
}

static void acknowledge(struct shuffle *s, uint64_t index)
{
    s->ring[index % s->window] = true;
    while (s->acked < s->next && s->ring[s->acked % s->window]) {
        s->ring[s->acked % s->window] = false;
        s->acked++;
    }
}

static void ship(struct processor *p)
{
    struct shuffle *s = &p->shuffle;
    uint64_t end = store_vars(p->store)->outbox_seq;
    while (p->role == PROCESSOR_LEADER && s->next < end && s->next - s->acked < s->window) {
        const struct outbox_message *m = store_outbox_get(p->store, s->next);
        uint64_t index = s->next++;
        if (m)
            p->ops->ship(p->host, p, index, m->partition_key, bytes_ref(m->record));
        else
            acknowledge(s, index);
    }
}

static void truncate_outbox(struct processor *p)
{
    struct shuffle *s = &p->shuffle;
    uint64_t pending = s->acked - s->truncated;
    if (pending == 0 || s->truncating)
        return;
    if (pending < TRUNCATE_EVERY && !s->due) {
        if (!env_timer_armed(&s->timer))
            env_timer_arm(p->env, &s->timer, TRUNCATE_AFTER_MS);
        return;
    }
    s->due = false;
    env_timer_cancel(p->env, &s->timer);
    struct cmd_truncate_outbox c = {.index = s->acked - 1};
    struct writer w = WRITER_INIT;
    record_begin(&w, 16);
    cmd_truncate_outbox_write(&w, &c);
    if (processor_propose_writer(p, CMD_TRUNCATE_OUTBOX, &w) != RC_OK) {
        if (p->role == PROCESSOR_LEADER) /* else the log was taken over, and the shuffle has stopped */
            env_timer_arm(p->env, &s->timer, RETRY_MS);
        return;
    }
    s->truncating = true;
    s->truncated = s->acked;
}

void shuffle_truncated(struct processor *p)
{
    p->shuffle.truncating = false;
}

void shuffle_run(struct processor *p)
{
    if (p->role != PROCESSOR_LEADER)
        return;
    ship(p);
    if (p->role == PROCESSOR_LEADER) /* shipping to itself may have shown that the log was taken over */
        truncate_outbox(p);
}

void processor_outbox_shipped(struct processor *p, uint64_t index)
{
    struct shuffle *s = &p->shuffle;
    if (p->role != PROCESSOR_LEADER || index < s->acked || index >= s->next)
        return; /* of an earlier leadership */
    acknowledge(s, index);
    processor_schedule(p);
}
