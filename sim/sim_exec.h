/* One execution of a handler in the simulator: what it has to talk to its partition and to find results with
 * (sim_attempt.c), for the handlers (sim_handlers.c, sim_objects.c). */
#pragma once
#include "sim/sim_world.h"

struct attempt;

struct exec {
    struct attempt *a;
    struct sim_world *w;
    struct env *env; /* of the attempt's loop */
    struct partition_store *store;
    struct invocation *inv;
    uint64_t eager_limit; /* bytes of state that the attempt was sent eagerly */
    struct writer effects;
    bool wrote, ended, canceled;
    bool failed;                /* the attempt ends with an error that is told */
    uint32_t command, next_cid; /* cursors */
    struct writer awaited;      /* notification ids; not empty: blocked */
};

/* ---- sim_attempt.c ---- */
/* Is the next command of the handler new, so that it has to be written? Otherwise it was sent before. */
bool exec_command(struct exec *x, uint16_t type);
/* The journal's entry of a command, NULL while it is on its way. */
const struct journal_entry *exec_stored_command(const struct exec *x, uint32_t command);
void exec_write(struct exec *x, struct effect *e, uint16_t type, struct writer *payload);
void exec_put_value(struct writer *p, uint32_t field, struct slice content);
/* A command without fields. */
void exec_simple_command(struct exec *x, uint16_t type);
/* The first of `ids` that is there; otherwise wait for any: false, blocked or canceled. Every await is also
 * one for the cancel signal: what came first counts, now and in every replay. */
bool exec_first_of(struct exec *x, const struct notification_id *ids, size_t n,
                   struct notification_view *view);
bool exec_completed(struct exec *x, uint32_t cid, struct notification_view *view);
/* Where the first notification of an id is in the journal, -1: it is not there. */
ptrdiff_t exec_notification(const struct exec *x, const struct notification_id *id);
/* A durable step. `outside`: the signal that it has somebody outside send; NULL: nothing is sent. */
bool exec_run(struct exec *x, const struct sim_signal *outside, struct notification_view *view);
uint32_t exec_sleep(struct exec *x, uint64_t delay_ms);
void exec_end(struct exec *x, struct slice value);
void exec_end_canceled(struct exec *x);

/* ---- sim_handlers.c ---- */
void sim_run_handler(struct exec *x);

/* ---- sim_objects.c ---- */
void sim_handle_object(struct exec *x, struct slice input);
void sim_handle_reader(struct exec *x); /* the shared handler */
void sim_handle_patched(struct exec *x, struct slice input);
