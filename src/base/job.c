/* The runner of jobs for tests and the simulator (base/job.h). */
#include "base/job.h"

static void run_jobs(struct env_task *t)
{
    struct job_runner_deferred *r = CONTAINER_OF(t, struct job_runner_deferred, task);
    struct list *n;
    while ((n = list_pop_front(&r->jobs))) {
        struct job *j = CONTAINER_OF(n, struct job, link);
        j->work(j);
        j->done(j);
    }
}

static void deferred_submit(struct job_runner *base, struct job *j)
{
    struct job_runner_deferred *r = CONTAINER_OF(base, struct job_runner_deferred, base);
    list_push_back(&r->jobs, &j->link);
    env_defer(r->env, &r->task);
}

void job_runner_deferred_init(struct job_runner_deferred *r, struct env *env)
{
    r->base.submit = deferred_submit;
    r->env = env;
    env_task_init(&r->task, run_jobs);
    list_init(&r->jobs);
}

void job_runner_deferred_free(struct job_runner_deferred *r)
{
    env_undefer(&r->task);
    while (list_pop_front(&r->jobs))
        ;
}
