/* Mailboxes between loops: no message is lost, order per sender is kept, no wake-up is missed. Meant to be
 * run under the thread sanitizer as well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/loop.h"

#define SENDERS    4
#define PER_SENDER 50000

struct numbered {
    struct loop_msg msg;
    unsigned sender, number;
};

static struct loop *target;
static unsigned next_number[SENDERS];
static unsigned received;

static void deliver_numbered(struct loop_msg *m)
{
    struct numbered *n = CONTAINER_OF(m, struct numbered, msg);
    assert_ptr_equal(loop_current(), target);
    assert_int_equal(n->number, next_number[n->sender]);
    next_number[n->sender]++;
    free(n);
    if (++received == SENDERS * PER_SENDER)
        loop_stop(target);
}

static void *send_many(void *arg)
{
    unsigned sender = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < PER_SENDER; i++) {
        struct numbered *n = malloc(sizeof(*n));
        *n = (struct numbered){.msg.deliver = deliver_numbered, .sender = sender, .number = i};
        loop_post(target, &n->msg);
        if (i % 1000 == 0)
            usleep(100); /* let the loop fall asleep now and then */
    }
    return NULL;
}

static void test_many_senders(void **state)
{
    target = loop_new("target");
    loop_start(target);
    pthread_t threads[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_create(&threads[i], NULL, send_many, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    loop_join(target); /* hangs if a message or a wake-up was lost */
    assert_int_equal(received, SENDERS * PER_SENDER);
    loop_free(target);
}

/* One message back and forth between two loops: every hop finds the other loop asleep or about to be. */
#define HOPS 20000

struct ball {
    struct loop_msg msg;
    struct loop *court[2];
    unsigned hops;
};

static void deliver_ball(struct loop_msg *m)
{
    struct ball *b = CONTAINER_OF(m, struct ball, msg);
    if (++b->hops < HOPS) {
        loop_post(b->court[b->hops % 2], m);
        return;
    }
    loop_stop(b->court[0]);
    loop_stop(b->court[1]);
}

static void test_ping_pong(void **state)
{
    struct ball b = {.msg.deliver = deliver_ball, .court = {loop_new("ping"), loop_new("pong")}};
    loop_start(b.court[0]);
    loop_start(b.court[1]);
    loop_post(b.court[0], &b.msg);
    loop_join(b.court[0]);
    loop_join(b.court[1]);
    assert_int_equal(b.hops, HOPS);
    loop_free(b.court[0]);
    loop_free(b.court[1]);
}

static void deliver_never(struct loop_msg *m)
{
    fail_msg("delivered after the loop had ended");
}

static void test_messages_after_stop_are_dropped(void **state)
{
    struct loop *l = loop_new("short");
    loop_stop(l); /* before it runs */
    loop_start(l);
    loop_join(l);
    struct loop_msg m = {.deliver = deliver_never};
    loop_post(l, &m);
    loop_free(l);
}

int main(void)
{
    setenv("CMOCKA_TEST_ABORT", "1", 0); /* a failure cannot be unwound through the loop */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_senders),
        cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_messages_after_stop_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
