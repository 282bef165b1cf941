/* What the files of this room share and nobody else sees: the loop's fields and libuv. */
#pragma once
#include <pthread.h>
#include <uv.h>

#include "base/bytes.h"
#include "loop/loop.h"

/* Something that lives on the loop and owns uv handles. When the loop is freed, `destroy` must start closing
 * the handles and make sure that no callback reaches the outside any more. */
struct loop_resource {
    struct list link;
    void (*destroy)(struct loop_resource *r);
};

struct loop {
    struct env env;
    char *name;
    pthread_t thread;
    bool thread_started;
    bool freeing;

    uv_loop_t uv;
    uv_prepare_t prepare; /* the turn: runs right before the poll blocks */
    uv_check_t check;     /* right after the poll */
    uv_idle_t idle;       /* active while there is work left: keeps the poll from blocking */
    /* An eventfd of our own: a uv_async_t makes the woken loop spin until the sender, which it has often just
     * preempted, is done with uv_async_send. */
    uv_poll_t wake;
    int wake_fd;
    uv_timer_t timer; /* the one uv timer below all env timers */

    struct heap timers;
    bool timers_late;         /* they run after the next poll */
    uint64_t timer_armed_for; /* mono ms, UINT64_MAX if not armed */
    struct list deferred;     /* struct env_task.link */
    struct list flushes;      /* struct loop_flush.link */
    uint64_t random_state[4];
    struct list resources;
    struct buf *read_buf; /* reused by all connections of the loop (net.c) */

    /* Mailbox: a stack that senders push on and the loop takes as a whole (mailbox.c). */
    struct loop_msg *_Atomic inbox;
    _Atomic bool sleeping; /* the loop is (about to be) blocked in the poll: the next sender must wake it */
    _Atomic bool stop;

    uint64_t sleep_since_ns; /* 0 while awake */
    _Atomic uint64_t started_ns, idle_ns;
};

static inline void loop_resource_add(struct loop *l, struct loop_resource *r,
                                     void (*destroy)(struct loop_resource *r))
{
    r->destroy = destroy;
    list_push_back(&l->resources, &r->link);
}
static inline void loop_resource_remove(struct loop_resource *r)
{
    list_remove(&r->link);
}

/* Every uv callback that may be the first after a poll calls this: from here on senders need no wake-up call.
 */
void loop_mark_awake(struct loop *l);
/* Any thread: make the poll return. */
void loop_wake(struct loop *l);

/* Run all messages that were in the mailbox at the time of the call, oldest first. */
void mailbox_drain(struct loop *l);
bool mailbox_empty(const struct loop *l);

/* uv's text for one of its negative error numbers goes into `err`; ENOSPC and friends map as in
 * err_set_errno. */
enum rc err_set_uv(struct err *err, enum rc rc, int uv_error, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
