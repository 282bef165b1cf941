/* Event loops. One loop is one thread; it implements `struct env` over libuv, owns a mailbox for messages
 * from other threads, and runs deferred tasks at the end of every iteration. `loop/` is the only room that
 * includes uv.h.
 *
 * An iteration: socket and timer events -> mailbox drained in one batch -> deferred tasks (env_defer) ->
 * flush tasks (loop_flush_register: sockets write what was queued) -> sleep. */
#pragma once
#include "base/env.h"

struct loop;

/* A message to another loop, embedded in or allocated by the sender. `deliver` runs on the target loop and
 * then owns the message. Order is kept per (sender thread, target loop). */
struct loop_msg {
    struct loop_msg *next; /* private */
    void (*deliver)(struct loop_msg *m);
};

/* Standard streams that are closed get /dev/null, else a socket or file would take their numbers, which libuv
 * refuses to close. At the start of a process. */
void loop_open_standard_streams(void);

/* Creates the loop object; nothing runs yet. `name` (at most 15 bytes are shown as thread name) is copied. */
struct loop *loop_new(const char *name);
/* Start a thread that runs the loop until loop_stop. */
void loop_start(struct loop *l);
/* Run the loop on the calling thread until loop_stop. */
void loop_run(struct loop *l);
/* Run the loop on the calling thread for `ms` milliseconds, or until loop_stop. 0: once around, so that what
 * was closed before ends. */
void loop_run_for(struct loop *l, uint64_t ms);
/* Any thread. Asks the loop to finish: it completes the current iteration and returns. */
void loop_stop(struct loop *l);
void loop_join(struct loop *l);
/* After the loop has returned. Closes every remaining handle; messages still in the mailbox are dropped
 * undelivered. */
void loop_free(struct loop *l);

/* The deterministic cores' window. Only to be used on the loop's own thread. */
struct env *loop_env(struct loop *l);
/* The loop running on this thread, or NULL. */
struct loop *loop_current(void);
const char *loop_name(const struct loop *l);

/* Any thread (also the loop itself). Lock-free; wakes the target once per batch. Never fails and never
 * blocks: senders bound what they have in flight. */
void loop_post(struct loop *target, struct loop_msg *m);

/* Tasks that run after all deferred tasks of each iteration in which they were requested. Used by loop/net.c
 * and bifrost's port to hand over everything that the iteration produced in one go. */
struct loop_flush {
    struct list link;
    void (*run)(struct loop_flush *f);
};
static inline void loop_flush_init(struct loop_flush *f, void (*run)(struct loop_flush *f))
{
    list_init(&f->link);
    f->run = run;
}
void loop_flush_request(struct loop *l, struct loop_flush *f); /* idempotent within an iteration */

/* Blocking work on the pool threads. `work` runs on a pool thread, then `done` on the submitting loop. Work
 * that is still in flight when the loop is freed is waited for, but its `done` does not run. */
struct loop_work {
    struct loop *loop; /* private */
    void *uv;          /* private */
    void (*work)(struct loop_work *w);
    void (*done)(struct loop_work *w);
};
void loop_work_submit(struct loop *l, struct loop_work *w);

/* Signals (main loop only): `fire` runs on the loop for each arrival. */
void loop_on_signal(struct loop *l, int signum, void (*fire)(void *ctx, int signum), void *ctx);

/* Watch a file for changes (also replacement by rename); `changed` runs on the loop, debounced by 500 ms of
 * quiet. */
void loop_watch_file(struct loop *l, const char *path, void (*changed)(void *ctx), void *ctx);

/* Any thread. Microseconds that the loop has spent outside of sleep since it started to run; two readings
 * give the load in between. */
uint64_t loop_busy_us(const struct loop *l);
