/* The event loop: life cycle, the turn before every sleep, and struct env over libuv (loop/loop.h).
 *
 * All work that callbacks put off (mailbox, deferred tasks, flushes) is done in one place, the uv_prepare
 * callback: it runs after socket events, close callbacks and timers of the iteration and right before the
 * poll, whose timeout uv computes afterwards. So one pass per iteration sees everything, and nothing is left
 * behind when the loop sleeps. */
#define _GNU_SOURCE /* pthread_setname_np */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/time.h"
#include "loop/internal.h"

/* A pass that runs longer than this many tasks lets sockets and timers have their turn first. */
#define TURN_TASK_LIMIT 100000
/* So late are timers when this thread was busy or stood still: then what has arrived meanwhile goes first.
 * Most timers wait for something - an answer, a sign of life - that may be there already. */
#define LATE_MS         20

static _Thread_local struct loop *current_loop;

enum rc err_set_uv(struct err *err, enum rc rc, int uv_error, const char *fmt, ...)
{
    char msg[ERR_MESSAGE_SIZE];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (uv_error == UV_ENOSPC)
        rc = RC_NO_SPACE;
    return err_set(err, rc, "%s: %s", msg, uv_strerror(uv_error));
}

/* ---- struct env ---- */

static struct loop *env_loop(struct env *env)
{
    return CONTAINER_OF(env, struct loop, env);
}

static uint64_t loop_wall_ms(struct env *env)
{
    return os_wall_ms();
}

static uint64_t loop_mono_ms(struct env *env)
{
    return uv_now(&env_loop(env)->uv);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* xoshiro256** */
static uint64_t loop_random_u64(struct env *env)
{
    uint64_t *s = env_loop(env)->random_state;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static void loop_timer_cancel(struct env *env, struct env_timer *t)
{
    if (env_timer_armed(t))
        heap_remove(&env_loop(env)->timers, &t->heap);
}

static void loop_timer_arm(struct env *env, struct env_timer *t, uint64_t at_mono_ms)
{
    loop_timer_cancel(env, t);
    /* Times in the past count as now, so that timers which are due fire in the order in which they became so.
     */
    heap_push(&env_loop(env)->timers, &t->heap, MAX(at_mono_ms, loop_mono_ms(env)));
}

static void loop_defer(struct env *env, struct env_task *t)
{
    if (!list_linked(&t->link))
        list_push_back(&env_loop(env)->deferred, &t->link);
}

static const struct env_ops loop_env_ops = {
    .wall_ms = loop_wall_ms,
    .mono_ms = loop_mono_ms,
    .random_u64 = loop_random_u64,
    .timer_arm = loop_timer_arm,
    .timer_cancel = loop_timer_cancel,
    .defer = loop_defer,
};

/* ---- one iteration ---- */

void loop_mark_awake(struct loop *l)
{
    if (l->sleep_since_ns == 0)
        return;
    atomic_store_explicit(&l->sleeping, false, memory_order_relaxed);
    uint64_t idle_ns = os_mono_ns() - l->sleep_since_ns;
    atomic_store_explicit(&l->idle_ns, atomic_load_explicit(&l->idle_ns, memory_order_relaxed) + idle_ns,
                          memory_order_relaxed);
    l->sleep_since_ns = 0;
}

static void run_timers(struct loop *l)
{
    uint64_t now = uv_now(&l->uv);
    uint64_t armed_before = l->timers.next_order; /* what callbacks arm fires in a later iteration */
    for (struct heap_node *n; (n = heap_min(&l->timers)) && n->key <= now && n->order < armed_before;) {
        heap_remove(&l->timers, n);
        struct env_timer *t = CONTAINER_OF(n, struct env_timer, heap);
        t->fire(t);
    }
}

static void on_timer(uv_timer_t *handle)
{
    struct loop *l = handle->data;
    struct heap_node *first = heap_min(&l->timers);
    loop_mark_awake(l);
    l->timer_armed_for = UINT64_MAX;
    l->timers_late = first && first->key + LATE_MS <= uv_now(&l->uv);
    if (!l->timers_late)
        run_timers(l);
}

/* Point the uv timer at the earliest env timer. */
static void sync_timer(struct loop *l)
{
    struct heap_node *first = heap_min(&l->timers);
    uint64_t want = first ? first->key : UINT64_MAX;
    if (want == l->timer_armed_for)
        return;
    l->timer_armed_for = want;
    if (!first) {
        uv_timer_stop(&l->timer);
        return;
    }
    uint64_t now = uv_now(&l->uv);
    uv_timer_start(&l->timer, on_timer, want > now ? want - now : 0, 0);
}

/* Deferred tasks, then flushes, until neither is left. */
static void run_tasks(struct loop *l)
{
    for (size_t n = 0; n < TURN_TASK_LIMIT; n++) {
        struct list *link;
        if ((link = list_pop_front(&l->deferred))) {
            struct env_task *t = CONTAINER_OF(link, struct env_task, link);
            t->run(t);
        } else if ((link = list_pop_front(&l->flushes))) {
            struct loop_flush *f = CONTAINER_OF(link, struct loop_flush, link);
            f->run(f);
        } else {
            return;
        }
    }
}

static bool work_left(const struct loop *l)
{
    return !mailbox_empty(l) || !list_empty(&l->deferred) || !list_empty(&l->flushes);
}

static void on_idle(uv_idle_t *handle) {}

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *l = handle->data;
    loop_mark_awake(l);
    mailbox_drain(l);
    run_tasks(l);
    sync_timer(l);
    if (atomic_load(&l->stop)) {
        uv_stop(&l->uv);
        return;
    }
    l->sleep_since_ns = os_mono_ns();
    atomic_store(&l->sleeping, true);
    if (l->timers_late ||
        work_left(l)) { /* also a message that came in before `sleeping` was visible to its sender */
        loop_mark_awake(l);
        uv_idle_start(&l->idle, on_idle);
    } else {
        uv_idle_stop(&l->idle);
    }
}

static void on_check(uv_check_t *handle)
{
    struct loop *l = handle->data;
    loop_mark_awake(l);
    if (l->timers_late) {
        l->timers_late = false;
        run_timers(l);
    }
}

static void on_wake(uv_poll_t *handle, int status, int events)
{
    struct loop *l = handle->data;
    uint64_t count;
    loop_mark_awake(l);
    ssize_t n = read(l->wake_fd, &count, sizeof(count));
    ASSERT(n == sizeof(count) || errno == EAGAIN || errno == EINTR);
}

void loop_wake(struct loop *l)
{
    const uint64_t one = 1;
    ssize_t n;
    do
        n = write(l->wake_fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    ASSERT(n == sizeof(one) ||
           errno == EAGAIN); /* EAGAIN: the counter is full, so the loop is woken anyway */
}

void loop_flush_request(struct loop *l, struct loop_flush *f)
{
    if (!list_linked(&f->link))
        list_push_back(&l->flushes, &f->link);
}

/* ---- life cycle ---- */

static void process_setup(void)
{
    /* A peer that is gone is a write error, not a reason to die. */
    signal(SIGPIPE, SIG_IGN);
}

static void seed_random(struct loop *l)
{
    uint8_t *p = (uint8_t *)l->random_state;
    size_t left = sizeof(l->random_state);
    while (left) {
        ssize_t n = getrandom(p, left, 0);
        ASSERT_MSG(n > 0 || errno == EINTR, "getrandom failed");
        if (n > 0) {
            p += n;
            left -= (size_t)n;
        }
    }
    l->random_state[0] |= 1; /* all zero is the one state to avoid */
}

void loop_open_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR); /* a child is to have them too */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

struct loop *loop_new(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, process_setup);
    struct loop *l = xcalloc(1, sizeof(*l));
    l->env.ops = &loop_env_ops;
    l->name = xstrdup(name);
    heap_init(&l->timers);
    l->timer_armed_for = UINT64_MAX;
    list_init(&l->deferred);
    list_init(&l->flushes);
    list_init(&l->resources);
    seed_random(l);
    int rc = uv_loop_init(&l->uv);
    ASSERT_MSG(rc == 0, "uv_loop_init: %s", uv_strerror(rc));
    rc |= uv_prepare_init(&l->uv, &l->prepare);
    rc |= uv_check_init(&l->uv, &l->check);
    rc |= uv_idle_init(&l->uv, &l->idle);
    rc |= uv_timer_init(&l->uv, &l->timer);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ASSERT_MSG(l->wake_fd >= 0, "no eventfd for loop %s (errno %d)", name, errno);
    rc |= uv_poll_init(&l->uv, &l->wake, l->wake_fd);
    l->prepare.data = l->check.data = l->idle.data = l->timer.data = l->wake.data = l;
    rc |= uv_prepare_start(&l->prepare, on_prepare);
    rc |= uv_check_start(&l->check, on_check);
    rc |= uv_poll_start(&l->wake, UV_READABLE, on_wake);
    ASSERT_MSG(rc == 0, "creating loop %s failed", name);
    return l;
}

void loop_run(struct loop *l)
{
    ASSERT_MSG(current_loop == NULL, "loop %s started on a thread that runs a loop", l->name);
    current_loop = l;
    if (atomic_load(&l->started_ns) == 0)
        atomic_store(&l->started_ns, os_mono_ns());
    uv_run(&l->uv, UV_RUN_DEFAULT);
    /* The last poll may have brought events: finish their iteration. */
    loop_mark_awake(l);
    mailbox_drain(l);
    run_tasks(l);
    atomic_store(&l->stop, false);
    current_loop = NULL;
}

struct pause {
    struct env_timer timer;
    struct loop *loop;
};

static void end_pause(struct env_timer *t)
{
    loop_stop(CONTAINER_OF(t, struct pause, timer)->loop);
}

void loop_run_for(struct loop *l, uint64_t ms)
{
    struct pause p = {.loop = l};
    env_timer_init(&p.timer, end_pause);
    env_timer_arm(loop_env(l), &p.timer, ms);
    loop_run(l);
    env_timer_cancel(loop_env(l), &p.timer); /* another may have stopped the loop */
}

static void *thread_main(void *arg)
{
    struct loop *l = arg;
    char name[16];
    snprintf(name, sizeof(name), "%s", l->name);
    pthread_setname_np(pthread_self(), name);
    loop_run(l);
    return NULL;
}

void loop_start(struct loop *l)
{
    ASSERT(!l->thread_started);
    l->thread_started = true;
    int rc = pthread_create(&l->thread, NULL, thread_main, l);
    ASSERT_MSG(rc == 0, "cannot create the thread of loop %s (error %d)", l->name, rc);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    loop_wake(l);
}

void loop_join(struct loop *l)
{
    ASSERT(l->thread_started);
    int rc = pthread_join(l->thread, NULL);
    ASSERT(rc == 0);
    l->thread_started = false;
}

void loop_free(struct loop *l)
{
    ASSERT_MSG(!l->thread_started && current_loop != l, "loop %s is still running", l->name);
    l->freeing = true;
    for (struct list *link; (link = list_pop_front(&l->resources));) {
        struct loop_resource *r = CONTAINER_OF(link, struct loop_resource, link);
        r->destroy(r);
    }
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
    int rc = uv_run(&l->uv, UV_RUN_DEFAULT);
    ASSERT_MSG(rc == 0, "handles are left on loop %s", l->name);
    rc = uv_loop_close(&l->uv);
    ASSERT_MSG(rc == 0, "closing loop %s: %s", l->name, uv_strerror(rc));
    close(l->wake_fd);
    /* Owners may look at their timers and tasks after the loop: leave them in the state "not armed". */
    while (heap_pop(&l->timers))
        ;
    while (list_pop_front(&l->deferred) || list_pop_front(&l->flushes))
        ;
    heap_free(&l->timers);
    buf_unref(l->read_buf);
    free(l->name);
    free(l);
}

struct env *loop_env(struct loop *l)
{
    return &l->env;
}

struct loop *loop_current(void)
{
    return current_loop;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

uint64_t loop_busy_us(const struct loop *l)
{
    uint64_t started_ns = atomic_load_explicit(&l->started_ns, memory_order_relaxed);
    if (started_ns == 0)
        return 0;
    uint64_t alive_ns = os_mono_ns() - started_ns;
    uint64_t idle_ns = atomic_load_explicit(&l->idle_ns, memory_order_relaxed);
    return alive_ns > idle_ns ? (alive_ns - idle_ns) / 1000 : 0;
}
