/* A `struct log` over virtual time for tests and the simulator: several handles on one log (leader, deposed
 * leader, followers), commits after a random latency in groups, crashes that keep some unacknowledged appends
 * and lose others, refusals on demand. */
#pragma once
#include "bifrost/log.h"
#include "sim/sim_env.h"

struct sim_logs;

struct sim_logs *sim_logs_new(struct sim_env *env, uint32_t n_logs);
/* All handles closed or crashed. */
void sim_logs_free(struct sim_logs *l);
/* A group of appends commits 0..max_ms later (default 2). */
void sim_logs_set_latency(struct sim_logs *l, uint64_t max_ms);
/* From now on every append is refused with `rc`; RC_OK: taken again. */
void sim_logs_refuse(struct sim_logs *l, enum rc rc);
/* Another node takes the log over: appends that were not committed are lost, and their handles are told. */
void sim_log_take_over(struct sim_logs *l, uint32_t log_id);
struct log *sim_log_open(struct sim_logs *l, uint32_t log_id);
/* The process that holds the handle dies: log_close, which must follow at once, keeps a random prefix of the
 * appends that were not committed and tells their waiters RC_CLOSED (a broken connection). Without this,
 * log_close drops them all. */
void sim_log_crash(struct log *log);
/* Committed records, for checkers: LSN i + 1 is at [i]; trimmed ones are kept here. */
const struct bytes *sim_log_records(struct sim_logs *l, uint32_t log_id, size_t *n);
