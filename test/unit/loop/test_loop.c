/* The event loop: when timers, deferred tasks and flushes run, that it sleeps when idle, signals, pool work,
 * files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "loop/loop.h"

static struct loop *loop;
static struct env *env;
static char order[256]; /* what ran, one letter each */

static void note(char c)
{
    size_t n = strlen(order);
    assert_true(n + 1 < sizeof(order));
    order[n] = c;
    order[n + 1] = '\0';
}

static int setup(void **state)
{
    loop = loop_new("test");
    env = loop_env(loop);
    order[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    loop_free(loop);
    return 0;
}

struct test_timer {
    struct env_timer timer;
    char name;
    struct env_task *defers;
    struct env_timer *cancels;
    struct env_timer *arms;
    uint64_t fired_ms;
    int left; /* stop the loop after that many */
};

static void fire(struct env_timer *t)
{
    struct test_timer *x = CONTAINER_OF(t, struct test_timer, timer);
    assert_false(env_timer_armed(t));
    assert_ptr_equal(loop_current(), loop);
    note(x->name);
    x->fired_ms = env_mono_ms(env);
    if (x->defers)
        env_defer(env, x->defers);
    if (x->cancels)
        env_timer_cancel(env, x->cancels);
    if (x->arms)
        env_timer_arm(env, x->arms, 0);
    if (x->name == 'Z')
        loop_stop(loop);
}

static struct test_timer timer_make(char name)
{
    struct test_timer t = {.name = name};
    env_timer_init(&t.timer, fire);
    return t;
}

static void test_timers_fire_in_order(void **state)
{
    struct test_timer a = timer_make('a'), b = timer_make('b'), c = timer_make('c'), d = timer_make('d'),
                      z = timer_make('Z');
    uint64_t start = env_mono_ms(env);
    env_timer_arm(env, &c.timer, 20);
    env_timer_arm(env, &b.timer, 10);
    env_timer_arm_at(env, &a.timer, 0); /* past: at once */
    env_timer_arm(env, &d.timer, 20);   /* same time as c: after it */
    env_timer_arm(env, &z.timer, 1000);
    env_timer_arm(env, &z.timer, 30); /* re-armed */
    loop_run(loop);
    assert_string_equal(order, "abcdZ");
    assert_true(b.fired_ms >= start + 10 && c.fired_ms >= start + 20 && z.fired_ms >= start + 30);
    assert_true(z.fired_ms < start + 500);
}

static void test_timer_cancelled_by_sibling_and_rearm(void **state)
{
    struct test_timer a = timer_make('a'), b = timer_make('b'), c = timer_make('c'), z = timer_make('Z');
    a.cancels = &b.timer; /* both due in the same iteration: b must not fire */
    a.arms = &c.timer;    /* due at once, but fires in a later iteration */
    env_timer_arm(env, &a.timer, 1);
    env_timer_arm(env, &b.timer, 1);
    env_timer_arm(env, &z.timer, 15);
    loop_run(loop);
    assert_string_equal(order, "acZ");
}

struct test_task {
    struct env_task task;
    char name;
    struct env_task *then;
    struct loop_flush *flush;
};

static void run_task(struct env_task *t)
{
    struct test_task *x = CONTAINER_OF(t, struct test_task, task);
    note(x->name);
    if (x->then) {
        env_defer(env, x->then);
        x->then = NULL;
    }
    if (x->flush)
        loop_flush_request(loop, x->flush);
}

static struct test_task *flush_defers;

static void run_flush(struct loop_flush *f)
{
    note('F');
    if (flush_defers) {
        env_defer(env, &flush_defers->task);
        flush_defers = NULL;
    }
}

/* Work deferred in a timer runs before the loop sleeps (the next timer is far away), tasks before flushes,
 * and what a flush defers still runs in the same pass. */
static void test_deferred_then_flushes(void **state)
{
    struct test_task x = {.name = 'x'}, y = {.name = 'y'}, w = {.name = 'w'};
    struct loop_flush f;
    struct test_timer a = timer_make('a'), z = timer_make('Z');
    env_task_init(&x.task, run_task);
    env_task_init(&y.task, run_task);
    env_task_init(&w.task, run_task);
    loop_flush_init(&f, run_flush);
    x.then = &y.task;
    x.flush = &f;
    y.flush = &f; /* the same flush again: once */
    flush_defers = &w;
    a.defers = &x.task;
    env_timer_arm(env, &a.timer, 5);
    env_timer_arm(env, &z.timer, 60);
    loop_run(loop);
    assert_string_equal(order, "axyFwZ");
}

static void test_undefer(void **state)
{
    struct test_task x = {.name = 'x'};
    struct test_timer z = timer_make('Z');
    env_task_init(&x.task, run_task);
    env_defer(env, &x.task);
    env_defer(env, &x.task);
    env_undefer(&x.task);
    env_timer_arm(env, &z.timer, 1);
    loop_run(loop);
    assert_string_equal(order, "Z");
}

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void test_idle_loop_does_not_spin(void **state)
{
    struct test_task x = {.name = 'x'};
    struct test_timer z = timer_make('Z');
    env_task_init(&x.task, run_task);
    env_defer(env, &x.task);
    env_timer_arm(env, &z.timer, 200);
    uint64_t cpu_before = cpu_us();
    loop_run(loop);
    assert_true(cpu_us() - cpu_before < 100000);
    assert_true(loop_busy_us(loop) < 100000);
}

struct self_msg {
    struct loop_msg msg;
    int left;
    bool delivering;
};

static void deliver_again(struct loop_msg *m)
{
    struct self_msg *s = CONTAINER_OF(m, struct self_msg, msg);
    assert_false(s->delivering); /* never recursively */
    s->delivering = true;
    note('m');
    if (--s->left > 0)
        loop_post(loop, m);
    else
        loop_stop(loop);
    s->delivering = false;
}

static struct self_msg self;

static void post_self_from_task(struct env_task *t)
{
    note('t');
    loop_post(loop, &self.msg);
}

/* Also when the post comes from a deferred task, right before the loop would sleep. */
static void test_post_to_self_is_delivered(void **state)
{
    self = (struct self_msg){.msg.deliver = deliver_again, .left = 4};
    struct env_task t;
    env_task_init(&t, post_self_from_task);
    env_defer(env, &t);
    loop_run(loop);
    assert_string_equal(order, "tmmmm");
}

static void on_signal(void *ctx, int signum)
{
    assert_int_equal(signum, SIGUSR1);
    ++*(int *)ctx;
    loop_stop(loop);
}

static void raise_signal(struct env_timer *t)
{
    kill(getpid(), SIGUSR1);
}

static void test_signal(void **state)
{
    int count = 0;
    struct env_timer t;
    env_timer_init(&t, raise_signal);
    loop_on_signal(loop, SIGUSR1, on_signal, &count);
    env_timer_arm(env, &t, 1);
    loop_run(loop);
    assert_int_equal(count, 1);
}

struct test_work {
    struct loop_work work;
    bool worked;
};

static void work_fn(struct loop_work *w)
{
    assert_null(loop_current()); /* a pool thread */
    CONTAINER_OF(w, struct test_work, work)->worked = true;
}

static void work_done_fn(struct loop_work *w)
{
    assert_ptr_equal(loop_current(), loop);
    assert_true(CONTAINER_OF(w, struct test_work, work)->worked);
    note('d');
    loop_stop(loop);
}

static void test_work(void **state)
{
    struct test_work w = {.work.work = work_fn, .work.done = work_done_fn};
    loop_work_submit(loop, &w.work);
    loop_run(loop);
    assert_string_equal(order, "d");
}

/* A loop that is freed while work is in flight waits for it and does not call done. */
static void test_free_with_work_in_flight(void **state)
{
    static struct test_work w = {.work.work = work_fn, .work.done = work_done_fn};
    loop_work_submit(loop, &w.work);
}

static char watched[64];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void replace_watched(struct env_timer *t)
{
    char tmp[80];
    snprintf(tmp, sizeof(tmp), "%s.tmp", watched);
    write_file(tmp, "new content");
    assert_int_equal(rename(tmp, watched), 0);
}

static void touch_neighbour(struct env_timer *t)
{
    char other[80];
    snprintf(other, sizeof(other), "%s.other", watched);
    write_file(other, "x");
    unlink(other);
}

static void on_changed(void *ctx)
{
    note('c');
    loop_stop(loop);
}

static void test_watch_file_replaced_by_rename(void **state)
{
    char dir[] = "/tmp/restate-watch-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(watched, sizeof(watched), "%s/file", dir);
    write_file(watched, "old");
    struct env_timer neighbour, replace;
    env_timer_init(&neighbour, touch_neighbour);
    env_timer_init(&replace, replace_watched);
    loop_watch_file(loop, watched, on_changed, NULL);
    env_timer_arm(env, &neighbour, 1); /* must not count as a change */
    env_timer_arm(env, &replace, 600);
    uint64_t start = os_mono_ns();
    loop_run(loop);
    assert_true(os_mono_ns() - start >= 1000000000ull); /* 600 ms plus half a second of quiet */
    assert_string_equal(order, "c");
    unlink(watched);
    rmdir(dir);
}

static void test_random_differs_between_loops(void **state)
{
    struct loop *other = loop_new("other");
    assert_true(env_random(env) != env_random(loop_env(other)));
    assert_true(env_random(env) != env_random(env));
    loop_free(other);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    setenv("CMOCKA_TEST_ABORT", "1", 0); /* a failure cannot be unwound through the loop */
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_timers_fire_in_order),
        LOOP_TEST(test_timer_cancelled_by_sibling_and_rearm),
        LOOP_TEST(test_deferred_then_flushes),
        LOOP_TEST(test_undefer),
        LOOP_TEST(test_idle_loop_does_not_spin),
        LOOP_TEST(test_post_to_self_is_delivered),
        LOOP_TEST(test_signal),
        LOOP_TEST(test_work),
        LOOP_TEST(test_free_with_work_in_flight),
        LOOP_TEST(test_watch_file_replaced_by_rename),
        LOOP_TEST(test_random_differs_between_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
