/* Threads for work that may take seconds: transfers to an object store, exports and imports of partitions.
 * They are apart from the loop's pool (loop_work_submit), where a slow network would hold up writes of the
 * partition stores. Threads start when there is something to do and stay until the end. */
#pragma once
#include "base/job.h"
#include "loop/loop.h"

struct workers;
/* At most `max_threads` at a time; `name` (at most 12 bytes are shown) is copied. Starts no thread yet. */
struct workers *workers_new(const char *name, unsigned max_threads);
/* Before the first job: its threads get this nice value (0 to 19) and so leave the processors to others when
 * these are busy. */
void workers_set_nice(struct workers *w, int nice);
/* Every job must be done, also its callback. Joins the threads. */
void workers_free(struct workers *w);
/* A runner whose jobs' `done` runs on `loop`. Freed with free() when no job of it is left. */
struct job_runner *workers_runner_new(struct workers *w, struct loop *loop);
