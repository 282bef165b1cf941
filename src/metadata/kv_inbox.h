/* Where a provider (metadata/kv.h) takes operations: they begin in a deferred task, so that nothing is
 * answered from inside kv_submit. */
#pragma once
#include "base/env.h"
#include "metadata/kv.h"

struct kv_inbox {
    struct env *env;
    struct list fresh; /* struct kv_op, in order */
    struct env_task task;
    void (*begin)(struct kv_inbox *inbox, struct kv_op *op);
};

/* What answers submit meanwhile begins in a turn of its own. */
static inline void kv_inbox_run(struct env_task *t)
{
    struct kv_inbox *inbox = CONTAINER_OF(t, struct kv_inbox, task);
    struct list now, *n;
    list_init(&now);
    list_splice(&now, &inbox->fresh);
    while ((n = list_pop_front(&now)))
        inbox->begin(inbox, CONTAINER_OF(n, struct kv_op, link));
}
static inline void kv_inbox_init(struct kv_inbox *inbox, struct env *env,
                                 void (*begin)(struct kv_inbox *inbox, struct kv_op *op))
{
    inbox->env = env;
    inbox->begin = begin;
    list_init(&inbox->fresh);
    env_task_init(&inbox->task, kv_inbox_run);
}
static inline void kv_inbox_submit(struct kv_inbox *inbox, struct kv_op *op)
{
    list_init(&op->link);
    list_push_back(&inbox->fresh, &op->link);
    env_defer(inbox->env, &inbox->task);
}
/* What waits begins now, for the last time. */
static inline void kv_inbox_close(struct kv_inbox *inbox)
{
    struct list *n;
    while ((n = list_pop_front(&inbox->fresh)))
        inbox->begin(inbox, CONTAINER_OF(n, struct kv_op, link));
    env_undefer(&inbox->task);
}

/* The end of an operation of which only this is to be said. */
static inline void kv_answer(struct kv_op *op, enum rc rc, const char *message)
{
    struct kv_result r = {.rc = rc, .message = message};
    bytes_unref(&op->value);
    op->done(op, &r);
}
