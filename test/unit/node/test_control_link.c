/* What the main loops of two nodes say to each other (node/control_link.h), over real sockets: orders,
 * gossip, questions and their answers, and what becomes of a question whose answer does not come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "node/control_link.h"
#include "peer/acceptor.h"

struct end {
    struct peers *peers;
    struct peer_acceptor *acceptor;
    struct net_listener *listener;
    struct control_link *link;
    struct node_ref me;
    char address[64];
    uint32_t led, gossips, seen, lost;
    char refused[200];
    struct node_answer *owed; /* NODE_METHOD_SCAN is answered later, or never */
};

static struct loop *loop;
static struct end a, b;
static struct env_timer give_up;

static void stop(struct env_timer *t)
{
    loop_stop(loop);
}

static void on_gossip(void *ctx, struct slice message)
{
    ((struct end *)ctx)->gossips++;
    loop_stop(loop);
}

static void on_command(void *ctx, const struct node_ref *from, enum link_command command, uint16_t partition)
{
    struct end *e = ctx;
    assert_int_equal(from->id, 1);
    e->led = partition;
    loop_stop(loop);
}

static void on_question(void *ctx, const struct node_ref *from, enum node_method method, struct slice payload,
                        struct node_answer *answer)
{
    struct end *e = ctx;
    if (method == NODE_METHOD_SCAN) {
        e->owed = answer;
        loop_stop(loop);
        return;
    }
    assert_true(slice_eq_cstr(payload, "which?"));
    node_answer_send(answer, RC_CONFLICT, "not that one", SLICE_LIT("this one"));
}

static void on_seen(void *ctx, struct node_ref node)
{
    ((struct end *)ctx)->seen++;
}

static void on_lost(void *ctx, struct node_ref node, bool gone)
{
    ((struct end *)ctx)->lost++;
}

static void on_refused(void *ctx, const char *why)
{
    snprintf(((struct end *)ctx)->refused, 200, "%s", why);
    loop_stop(loop);
}

static const struct control_link_ops ops = {on_gossip, on_command, on_question, on_seen, on_lost, on_refused};

static void refuse_http(void *ctx, struct net_conn *conn)
{
    net_conn_close(conn);
}

static void on_accept(void *ctx, struct net_conn *conn)
{
    peer_acceptor_accept(((struct end *)ctx)->acceptor, conn);
}

static const struct net_listener_ops listener_ops = {on_accept};

static void open_end(struct end *e, uint32_t id)
{
    struct peers_config config;
    struct net_address address = {.family = NET_TCP, .host = "127.0.0.1"};
    peers_config_default(&config);
    config.cluster_name = "test";
    *e = (struct end){.me = {id, 1}};
    e->peers = peers_new(loop, &config);
    e->link = control_link_new(loop_env(loop), e->peers, &ops, e);
    e->acceptor = peer_acceptor_new(e->peers, refuse_http, e);
    peer_acceptor_add(e->acceptor, PEER_CONTROL, e->peers);
    assert_int_equal(net_listen(loop, &address, false, &listener_ops, e, &e->listener, NULL), RC_OK);
    assert_int_equal(net_listener_start(e->listener, NULL), RC_OK);
    net_listener_address(e->listener, &address);
    snprintf(e->address, sizeof(e->address), "http://127.0.0.1:%u/", address.port);
    peer_acceptor_set_identity(e->acceptor, e->me, 7);
    control_link_set_identity(e->link, id);
}

static void close_end(struct end *e)
{
    control_link_free(e->link);
    net_listener_close(e->listener);
    peer_acceptor_free(e->acceptor);
    peers_free(e->peers);
}

static void run_ms(uint64_t ms)
{
    env_timer_init(&give_up, stop);
    env_timer_arm(loop_env(loop), &give_up, ms);
    loop_run(loop);
    env_timer_cancel(loop_env(loop), &give_up);
}

static int setup(void **state)
{
    loop = loop_new("test");
    open_end(&a, 1);
    open_end(&b, 2);
    peer_acceptor_set_node(a.acceptor, b.me, b.address);
    peer_acceptor_set_node(b.acceptor, a.me, a.address);
    return 0;
}

static int teardown(void **state)
{
    if (a.link)
        close_end(&a);
    if (b.link)
        close_end(&b);
    run_ms(20);
    loop_free(loop);
    return 0;
}

struct question {
    struct node_call call;
    bool done;
    enum rc rc;
    char message[64], payload[64];
};

static void answered(struct node_call *c, enum rc rc, const char *message, struct slice payload)
{
    struct question *q = CONTAINER_OF(c, struct question, call);
    assert_false(q->done);
    q->done = true;
    q->rc = rc;
    snprintf(q->message, sizeof(q->message), "%s", message);
    snprintf(q->payload, sizeof(q->payload), "%.*s", SLICE_FMT(payload));
    loop_stop(loop);
}

static void orders_and_gossip_arrive(void **state)
{
    control_link_send_command(a.link, 2, LINK_COMMAND_LEAD, 513);
    run_ms(2000);
    assert_int_equal(b.led, 513);
    control_link_send_gossip(a.link, 2, SLICE_LIT("news"));
    run_ms(2000);
    assert_int_equal(b.gossips, 1);
    assert_true(a.seen >= 1 && b.seen >= 1);
}

/* Found by the simulator of clusters (seed 401264): a node that was being made a member of the metadata
 * servers started again; without it the members had no leader, so it could not join, and because it had not
 * joined nobody could tell it that it was a member. */
static void a_metadata_server_is_found_before_it_has_joined(void **state)
{
    struct node_entry n = {.id = 2, .generation = 1, .name = "b", .address = b.address};
    struct nodes_config nodes = {.nodes = &n, .n_nodes = 1};
    control_link_set_nodes(a.link, &nodes);
    peer_acceptor_set_identity(b.acceptor, (struct node_ref){0}, 7);
    control_link_set_identity(b.link, 0);
    for (int i = 0; i < 50 && !b.seen; i++) {
        control_link_send_metadata(a.link, 2, SLICE_LIT("vote"));
        run_ms(20);
    }
    assert_true(b.seen >= 1); /* the link is up */
}

static void a_question_has_one_answer(void **state)
{
    struct question q = {.call.done = answered};
    control_link_call(a.link, &q.call, 2, NODE_METHOD_CREATE_SNAPSHOT, SLICE_LIT("which?"), 5000);
    assert_false(q.done);
    run_ms(5000);
    assert_true(q.done);
    assert_int_equal(q.rc, RC_CONFLICT);
    assert_string_equal(q.message, "not that one");
    assert_string_equal(q.payload, "this one");
}

static void an_answer_that_does_not_come_is_waited_for_so_long(void **state)
{
    struct question q = {.call.done = answered};
    control_link_call(a.link, &q.call, 2, NODE_METHOD_SCAN, SLICE_EMPTY, 200);
    run_ms(2000); /* it arrives */
    assert_non_null(b.owed);
    run_ms(2000);
    assert_int_equal(q.rc, RC_TIMEOUT);
    node_answer_send(b.owed, RC_OK, "", SLICE_EMPTY); /* too late: ignored */
    run_ms(50);
}

static void whom_nobody_knows_cannot_be_asked(void **state)
{
    struct question q = {.call.done = answered};
    control_link_call(a.link, &q.call, 9, NODE_METHOD_SCAN, SLICE_EMPTY, 5000);
    assert_false(q.done);
    run_ms(1000);
    assert_int_equal(q.rc, RC_UNAVAILABLE);
}

/* The other process ends while it owes an answer: nobody knows what it did. */
static void a_lost_link_ends_its_questions(void **state)
{
    struct question q = {.call.done = answered}, canceled = {.call.done = answered};
    control_link_call(a.link, &q.call, 2, NODE_METHOD_SCAN, SLICE_EMPTY, 60000);
    run_ms(2000);
    assert_non_null(b.owed);
    struct node_answer *owed = b.owed;
    control_link_call(a.link, &canceled.call, 2, NODE_METHOD_SCAN, SLICE_EMPTY, 60000);
    run_ms(2000);
    assert_ptr_not_equal(b.owed, owed);
    control_link_call_cancel(&canceled.call);
    close_end(&b);
    b.link = NULL;
    run_ms(5000);
    assert_true(q.done && !canceled.done);
    assert_int_equal(q.rc, RC_CLOSED);
    assert_int_equal(a.lost, 1);
    node_answer_send(owed, RC_OK, "", SLICE_EMPTY); /* to nobody */
    node_answer_send(b.owed, RC_OK, "", SLICE_EMPTY);
}

/* The own process ends while questions are open. */
static void closing_ends_open_questions(void **state)
{
    struct question q = {.call.done = answered};
    control_link_call(a.link, &q.call, 2, NODE_METHOD_SCAN, SLICE_EMPTY, 60000);
    run_ms(2000);
    close_end(&a);
    a.link = NULL;
    assert_true(q.done);
    assert_int_equal(q.rc, RC_CLOSED);
    node_answer_send(b.owed, RC_OK, "", SLICE_EMPTY);
}

/* A node that has not joined hears why it never will. */
static void another_cluster_refuses_a_newcomer(void **state)
{
    struct peers_config config;
    struct end c = {0};
    peers_config_default(&config);
    config.cluster_name = "another";
    c.peers = peers_new(loop, &config);
    c.link = control_link_new(loop_env(loop), c.peers, &ops, &c);
    control_link_request_metadata(c.link, a.address, 5, SLICE_LIT("hello"));
    run_ms(5000);
    assert_non_null(strstr(c.refused, "'test'"));
    assert_non_null(strstr(c.refused, "'another'"));
    control_link_free(c.link);
    peers_free(c.peers);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(orders_and_gossip_arrive),          TEST(a_metadata_server_is_found_before_it_has_joined),
        TEST(a_question_has_one_answer),         TEST(an_answer_that_does_not_come_is_waited_for_so_long),
        TEST(whom_nobody_knows_cannot_be_asked), TEST(a_lost_link_ends_its_questions),
        TEST(closing_ends_open_questions),       TEST(another_cluster_refuses_a_newcomer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
