/* Proves the partition processor over a simulated log and a fake host: requests and replies, retries with the
 * same request id, leader change and fencing, timers, shuffle with truncation, refused appends, cancel, close
 * (spec/invocation-lifecycle.md §3, §10, §11). */
#include "partition/limits.h"
#include "processor_fixture.h"

static void call_and_send(void **state)
{
    struct world *w = *state;
    struct test_rpc call = call_rpc(1), send = send_rpc(2);
    processor_rpc(w->replicas[0].p, &call.rpc);
    processor_rpc(w->replicas[0].p, &send.rpc);
    assert_int_equal(call.replies + send.replies, 0);
    settle(w);
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.reply.status, RPC_OK);
    assert_string_equal(call.value, "done");
    assert_int_equal(send.replies, 1);
    assert_true(send.reply.is_new);
    assert_int_equal(w->replicas[0].effects_applied, 2);
    struct processor_status st;
    processor_get_status(w->replicas[0].p, &st);
    assert_int_equal(st.self_inflight, 0);
    assert_int_equal(st.waiting_rpcs, 0);
    assert_int_equal(st.oldest_waiting_ms, 0);
    assert_int_equal(st.applied, st.committed);
}

static void a_retry_replaces_the_waiter(void **state)
{
    struct world *w = *state;
    struct test_rpc first = call_rpc(1), again = call_rpc(1);
    processor_rpc(w->replicas[0].p, &first.rpc);
    processor_rpc(w->replicas[0].p, &again.rpc);
    settle(w);
    assert_int_equal(first.replies, 1);
    assert_int_equal(first.reply.rc, RC_CANCELED);
    assert_int_equal(again.replies, 1);
    assert_string_equal(again.value, "done");
    size_t n;
    sim_log_records(w->logs, 0, &n);
    assert_int_equal(n, 3); /* announcement, one Invoke, effects */
}

static void point_reads_and_attach(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc send = send_rpc(1);
    processor_rpc(r->p, &send.rpc);
    settle(w);
    struct test_rpc output = new_rpc(RPC_GET_OUTPUT, 2, id_of(1)), status = new_rpc(RPC_STATUS, 3, id_of(1)),
                    attach = new_rpc(RPC_ATTACH, 4, id_of(1)), unknown = new_rpc(RPC_ATTACH, 5, id_of(99));
    processor_rpc(r->p, &output.rpc);
    processor_rpc(r->p, &status.rpc);
    processor_rpc(r->p, &attach.rpc);
    processor_rpc(r->p, &unknown.rpc);
    assert_int_equal(output.replies, 0); /* never from inside */
    settle(w);
    assert_int_equal(output.reply.status, RPC_NOT_READY);
    assert_int_equal(status.reply.invocation_status, INV_INVOKED);
    assert_int_equal(unknown.reply.status, RPC_NOT_FOUND);
    assert_int_equal(attach.replies, 0);
    struct writer e = WRITER_INIT;
    record_begin(&e, 64);
    effects_begin(&e, id_of(1), 1, 1);
    output_entry(&e, "done");
    end_effect(&e);
    assert_int_equal(processor_propose_effects(r->p, writer_take(&e)), RC_OK);
    settle(w);
    assert_int_equal(attach.replies, 1);
    assert_string_equal(attach.value, "done");
    output = new_rpc(RPC_GET_OUTPUT, 6, id_of(1));
    attach = new_rpc(RPC_ATTACH, 7, id_of(1));
    processor_rpc(r->p, &output.rpc);
    processor_rpc(r->p, &attach.rpc);
    sim_env_run(&w->env);
    assert_string_equal(output.value, "done");
    assert_true(output.reply.expiry_ms > 0);
    assert_string_equal(attach.value, "done");
}

/* Found by the conformance suite: without new records the time of the last one stands still. */
static void retention_ends_in_an_idle_partition(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc call = invoke_rpc(
        1, (struct invoke_options){.id = id_of(1), .request = 1, .journal_retention_ms = RETENTION_MS / 2});
    processor_rpc(r->p, &call.rpc);
    settle(w);
    sim_env_advance(&w->env, RETENTION_MS / 2 + 1);
    struct test_rpc restart = new_rpc(RPC_RESTART_AS_NEW, 2, id_of(1)),
                    output = new_rpc(RPC_GET_OUTPUT, 3, id_of(1));
    processor_rpc(r->p, &restart.rpc);
    processor_rpc(r->p, &output.rpc);
    sim_env_run(&w->env);
    assert_int_equal(restart.reply.status, RPC_GONE);
    assert_string_equal(output.value, "done");
    sim_env_advance(&w->env, RETENTION_MS);
    output = new_rpc(RPC_GET_OUTPUT, 4, id_of(1));
    struct test_rpc attach = new_rpc(RPC_ATTACH, 5, id_of(1)), status = new_rpc(RPC_STATUS, 6, id_of(1));
    processor_rpc(r->p, &output.rpc);
    processor_rpc(r->p, &attach.rpc);
    processor_rpc(r->p, &status.rpc);
    sim_env_run(&w->env);
    assert_int_equal(output.replies, 0); /* said when the log has confirmed who leads */
    settle(w);
    assert_int_equal(output.reply.status, RPC_NOT_FOUND);
    assert_int_equal(attach.reply.status, RPC_NOT_FOUND);
    assert_int_equal(status.reply.status, RPC_NOT_FOUND);
}

static void commit_replied_requests(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc signal = new_rpc(RPC_SIGNAL, 1, id_of(5)), patch = new_rpc(RPC_PATCH_STATE, 2, id_of(5));
    struct writer b = WRITER_INIT;
    record_begin(&b, 64);
    cmd_signal_write(&b,
                     &(struct cmd_signal){.id = id_of(5), .index = 17, .outcome = {.kind = OUTCOME_VOID}});
    signal.rpc.record = writer_take(&b);
    record_begin(&b, 64);
    struct writer entries = WRITER_INIT;
    write_lp(&entries, SLICE_LIT("a"));
    write_lp(&entries, SLICE_LIT("1"));
    cmd_patch_state_write(&b, &(struct cmd_patch_state){.service = SLICE_LIT("Obj"),
                                                        .key = SLICE_LIT("k"),
                                                        .entries = writer_slice(&entries)});
    writer_free(&entries);
    patch.rpc.record = writer_take(&b);
    processor_rpc(r->p, &signal.rpc);
    processor_rpc(r->p, &patch.rpc);
    settle(w);
    assert_int_equal(signal.replies, 1);
    assert_int_equal(signal.reply.status, RPC_OK);
    assert_int_equal(patch.reply.status, RPC_OK);
    struct bytes v;
    assert_true(store_state_get(processor_store(r->p), SLICE_LIT("Obj"), SLICE_LIT("k"), SLICE_LIT("a"), &v));
    bytes_unref(&v);
}

/* Queues of scopes are paused on all replicas, and stay so under another leader. */
static void a_queue_is_paused(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0], *other = &w->replicas[1];
    struct limit_address a = {.scope = SLICE_LIT("s"), .service = SLICE_LIT("Svc")};
    struct invocation_id queue = limits_queue_id(&a);
    start_replica(w, 1);
    struct test_rpc pause = new_rpc(RPC_PAUSE_QUEUE, 1, queue), resume = new_rpc(RPC_RESUME_QUEUE, 2, queue),
                    late = new_rpc(RPC_PAUSE_QUEUE, 3, queue);
    pause.rpc.partition_key = resume.rpc.partition_key = late.rpc.partition_key = id_of(1).partition_key;
    processor_rpc(r->p, &pause.rpc);
    settle(w);
    assert_int_equal(pause.reply.status, RPC_OK);
    assert_true(limits_paused(store_limits(processor_store(r->p)), queue));
    assert_true(limits_paused(store_limits(processor_store(other->p)), queue));
    processor_step_down(r->p);
    processor_become_leader(other->p, 2);
    settle(w);
    assert_true(limits_paused(store_limits(processor_store(other->p)), queue));
    processor_rpc(r->p, &late.rpc);
    processor_rpc(other->p, &resume.rpc);
    settle(w);
    assert_int_equal(late.reply.status, RPC_FAILED);
    assert_int_equal(resume.reply.status, RPC_OK);
    assert_false(limits_paused(store_limits(processor_store(other->p)), queue));
    assert_false(limits_paused(store_limits(processor_store(r->p)), queue));
}

static void operations(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc send = send_rpc(1);
    processor_rpc(r->p, &send.rpc);
    settle(w);
    struct test_rpc pause = new_rpc(RPC_PAUSE, 2, id_of(1)), resume = new_rpc(RPC_RESUME, 3, id_of(1)),
                    repin = new_rpc(RPC_RESUME, 4, id_of(1)),
                    restart_running = new_rpc(RPC_RESTART_AS_NEW, 5, id_of(1)),
                    purge = new_rpc(RPC_PURGE, 6, id_of(1));
    repin.rpc.repin = true;
    processor_rpc(r->p, &pause.rpc);
    processor_rpc(r->p, &resume.rpc);
    processor_rpc(r->p, &repin.rpc);
    processor_rpc(r->p, &restart_running.rpc);
    processor_rpc(r->p, &purge.rpc);
    settle(w);
    assert_int_equal(pause.reply.status, RPC_APPENDED);
    assert_int_equal(resume.reply.status, RPC_OK);
    assert_int_equal(repin.reply.status, RPC_BAD_DEPLOYMENT);
    assert_true(repin.reply.detail[0] != 0);
    assert_int_equal(restart_running.reply.status, RPC_STILL_RUNNING);
    assert_int_equal(purge.reply.status, RPC_NOT_COMPLETED);

    struct test_rpc kill = new_rpc(RPC_TERMINATE, 7, id_of(1));
    kill.rpc.kill = true;
    processor_rpc(r->p, &kill.rpc);
    settle(w);
    assert_int_equal(kill.reply.status, RPC_OK);
    assert_int_equal(r->aborted, 1);

    struct test_rpc again = new_rpc(RPC_RESTART_AS_NEW, 8, id_of(1));
    again.rpc.new_id = id_of(50);
    processor_rpc(r->p, &again.rpc);
    settle(w);
    assert_int_equal(again.reply.status, RPC_OK);
    assert_true(invocation_id_eq(again.reply.new_id, id_of(50)));
    purge = new_rpc(RPC_PURGE_JOURNAL, 9, id_of(1));
    processor_rpc(r->p, &purge.rpc);
    settle(w);
    assert_int_equal(purge.reply.status, RPC_OK);
}

static void cancel_answers_once(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc call = call_rpc(1), read = new_rpc(RPC_STATUS, 2, id_of(1));
    processor_rpc(r->p, &call.rpc);
    processor_rpc(r->p, &read.rpc);
    processor_rpc_cancel(r->p, &read.rpc);
    settle(w);
    assert_int_equal(read.reply.rc, RC_CANCELED);
    processor_rpc_cancel(r->p, &call.rpc);
    assert_int_equal(call.replies, 0);
    settle(w);
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.reply.rc, RC_CANCELED);
}

static void refused_appends_fail_safely(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    sim_logs_refuse(w->logs, RC_NO_SPACE);
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    assert_int_equal(call.reply.status, RPC_FAILED);
    assert_int_equal(call.reply.rc, RC_UNAVAILABLE);
    sim_logs_refuse(w->logs, RC_OK);
    call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    assert_string_equal(call.value, "done");
}

static struct bytes rule_book(uint32_t version, const char *pattern, uint32_t limit)
{
    struct writer rules = WRITER_INIT, w = WRITER_INIT;
    cmd_rule_book_add(&rules, slice_cstr(pattern), limit);
    cmd_rule_book_write(
        &w, &(struct cmd_rule_book){.version = version, .n_rules = 1, .rules = writer_slice(&rules)});
    writer_free(&rules);
    return writer_take(&w);
}

static void set_rules(struct replica *r, uint32_t version, uint32_t limit)
{
    struct bytes book = rule_book(version, "s", limit);
    processor_set_rules(r->p, version, book);
    bytes_unref(&book);
}

static struct test_rpc scoped_rpc(uint64_t n, const char *scope)
{
    return invoke_rpc(n, (struct invoke_options){.id = id_of(n), .submit = n, .scope = scope});
}

/* By the leader, once per version, also when the log refuses at first; a new leader brings what the old one
 * could not. */
static void rules_get_into_the_log(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    sim_logs_refuse(w->logs, RC_NO_SPACE);
    set_rules(r, 1, 1);
    settle(w);
    assert_int_equal(store_rules_version(processor_store(r->p)), 0);
    sim_logs_refuse(w->logs, RC_OK);
    sim_env_advance(&w->env, 200);
    assert_int_equal(store_rules_version(processor_store(r->p)), 1);
    lsn_t applied = store_vars(processor_store(r->p))->applied_lsn;
    set_rules(r, 1, 1); /* not news */
    settle(w);
    assert_true(store_vars(processor_store(r->p))->applied_lsn == applied);
    processor_step_down(r->p);
    set_rules(r, 2, 2);
    settle(w);
    assert_int_equal(store_rules_version(processor_store(r->p)), 1);
    processor_become_leader(r->p, 50);
    settle(w);
    assert_int_equal(store_rules_version(processor_store(r->p)), 2);
}

/* Found by the suite of the Rust SDK on a busy machine: requests that came in the same turn of the loop as
 * the rules got into the log before them. */
static void requests_do_not_overtake_rules(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc a = scoped_rpc(1, "s"), b = scoped_rpc(2, "s");
    set_rules(r, 1, 1);
    processor_rpc(r->p, &a.rpc);
    processor_rpc(r->p, &b.rpc);
    settle(w);
    assert_int_equal(r->invoked, 1);
}

static void clients_are_refused_when_too_many_are_held(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct bytes none = rule_book(2, "other", 1);
    set_rules(r, 1, 1);
    settle(w);
    r->idle = true;
    struct test_rpc first = scoped_rpc(100, "s");
    processor_rpc(r->p, &first.rpc);
    settle(w);
    struct test_rpc rpcs[4];
    for (uint64_t i = 0; i < ARRAY_LEN(rpcs); i++) {
        rpcs[i] = scoped_rpc(101 + i, "s");
        processor_rpc(r->p, &rpcs[i].rpc);
        settle(w);
    }
    assert_int_equal(rpcs[2].reply.status, RPC_OK);
    assert_int_equal(rpcs[3].reply.status, RPC_FAILED);
    assert_int_equal(rpcs[3].reply.rc, RC_OVERLOADED);
    struct test_rpc other = scoped_rpc(110, NULL);
    processor_rpc(r->p, &other.rpc);
    settle(w);
    assert_int_equal(other.reply.status, RPC_OK);
    r->idle = false;
    processor_set_rules(r->p, 2, none);
    bytes_unref(&none);
    settle(w);
    rpcs[3] = scoped_rpc(104, "s");
    processor_rpc(r->p, &rpcs[3].rpc);
    settle(w);
    assert_int_equal(rpcs[3].reply.status, RPC_OK);
}

static void undecodable_records_never_reach_the_log(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc call =
        invoke_rpc(1, (struct invoke_options){
                          .id = id_of(1), .kind = TARGET_OBJECT_SHARED, .key = "\xff\xfe", .request = 1});
    processor_rpc(r->p, &call.rpc);
    settle(w);
    assert_int_equal(call.reply.rc, RC_INVALID);
    assert_false(r->failed);
}

/* ---- timers and shuffle ---- */

static void timers_fire_even_when_many_and_refused(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc sends[40];
    uint64_t start = env_wall_ms(&w->env.env);
    for (uint64_t i = 0; i < ARRAY_LEN(sends); i++) { /* ten times what is kept in memory */
        sends[i] =
            invoke_rpc(i + 1, (struct invoke_options){.id = id_of(i + 1),
                                                      .submit = i + 1,
                                                      .execution_time_ms = start + 1000 + (i * 7919) % 5000});
        processor_rpc(r->p, &sends[i].rpc);
    }
    settle(w);
    assert_int_equal(sends[39].reply.execution_time_ms, start + 1000 + (39 * 7919) % 5000);
    assert_int_equal(r->invoked, 0);
    sim_env_advance(&w->env, 900);
    assert_int_equal(r->invoked, 0);
    sim_logs_refuse(w->logs, RC_NO_SPACE);
    sim_env_advance(&w->env, 1000);
    assert_int_equal(r->invoked, 0);
    sim_logs_refuse(w->logs, RC_OK);
    sim_env_advance(&w->env, 6000);
    assert_int_equal(r->invoked, 40);
    struct processor_status st;
    processor_get_status(r->p, &st);
    assert_int_equal(st.timers, 0);
}

/* Found by the simulator of clusters: who learned from a due timer (or from the outbox) that the log was
 * taken over kept a timer armed, which outlived the processor. */
static void the_log_is_taken_over_when_a_timer_is_due(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc send =
        invoke_rpc(1, (struct invoke_options){
                          .id = id_of(1), .submit = 1, .execution_time_ms = env_wall_ms(&w->env.env) + 1000});
    processor_rpc(r->p, &send.rpc);
    settle(w);
    sim_logs_refuse(w->logs, RC_NOT_LEADER);
    while (r->following == 0)
        sim_env_advance(&w->env, 1);
    assert_int_equal(r->invoked, 0);
    stop_replica(w, 0, true);
    sim_env_advance(&w->env, 1000);
    sim_logs_refuse(w->logs, RC_OK);
}

/* Found by the simulator of clusters (seed 101004 at fd6d20d): the log was taken over while the last
 * proposals were on their way, and the new writer died before anybody could read its announcement. Clients
 * repeated the requests that waited, which proposes nothing: nobody told the old leader, and the partition
 * stood still. */
static void the_log_is_taken_over_when_nothing_more_is_proposed(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc call = call_rpc(1), again = call_rpc(1);
    sim_logs_set_latency(w->logs, 1000);
    processor_rpc(r->p, &call.rpc);
    sim_log_take_over(w->logs, 0);
    sim_logs_refuse(w->logs, RC_NOT_LEADER);
    settle(w);
    assert_int_equal(r->following, 1);
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.reply.rc, RC_LOST_LEADERSHIP);
    processor_rpc(r->p, &again.rpc);
    settle(w);
    assert_int_equal(again.reply.rc, RC_NOT_LEADER);
    sim_logs_refuse(w->logs, RC_OK);
    sim_logs_set_latency(w->logs, 2);
}

/* The same before its own announcement was committed: it will never be. */
static void the_log_is_taken_over_from_a_candidate(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    sim_logs_set_latency(w->logs, 1000);
    processor_become_leader(r->p, 2);
    settle(w);
    unsigned before = r->following;
    sim_log_take_over(w->logs, 0);
    settle(w);
    assert_int_equal(r->following, before + 1);
    assert_int_equal(r->leading, 1);
    sim_logs_set_latency(w->logs, 2);
}

/* Found by the simulator: a timer registered while the ones in memory were all proposed was dropped for good.
 */
static void timers_registered_while_others_fire(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    static struct test_rpc sends[180];
    size_t n = 0;
    for (int round = 0; round < 20; round++) {
        uint64_t now = env_wall_ms(&w->env.env);
        for (int i = 0; i < 9; i++, n++) {
            uint64_t due = now + (i < 8 ? 100 : 200);
            if (i == 8) { /* commits while the others are on their way */
                sim_env_advance(&w->env, 98);
                sim_logs_set_latency(w->logs, 30);
            }
            sends[n] = invoke_rpc(n + 1, (struct invoke_options){
                                             .id = id_of(n + 1), .submit = n + 1, .execution_time_ms = due});
            processor_rpc(r->p, &sends[n].rpc);
        }
        sim_env_advance(&w->env, 60);
        sim_logs_set_latency(w->logs, 2);
        sim_env_advance(&w->env, 200);
        assert_int_equal(r->invoked, n);
    }
}

static void propose_calls(struct replica *r, struct invocation_id id, uint64_t first_child, unsigned n)
{
    struct writer e = WRITER_INIT;
    record_begin(&e, 64);
    effects_begin(&e, id, 1, 1);
    for (unsigned i = 0; i < n; i++)
        call_entry(&e, true, id_of(first_child + i), TARGET_SERVICE, i + 1, 0);
    assert_int_equal(processor_propose_effects(r->p, writer_take(&e)), RC_OK);
}

static void outbox_is_shipped_and_truncated(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc send = send_rpc(1);
    processor_rpc(r->p, &send.rpc);
    settle(w);
    propose_calls(r, id_of(1), 100, 30); /* more than the window of 8 */
    sim_env_advance(&w->env, 150);
    assert_int_equal(r->shipped, 30);
    assert_int_equal(r->invoked, 31);
    struct processor_status st;
    processor_get_status(r->p, &st);
    assert_int_equal(st.outbox_depth, 30);
    sim_env_advance(&w->env, 300);
    processor_get_status(r->p, &st);
    assert_int_equal(st.outbox_depth, 0);
}

static void a_new_leader_ships_again_without_duplicates(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc send = send_rpc(1);
    processor_rpc(r->p, &send.rpc);
    settle(w);
    propose_calls(r, id_of(1), 100, 5);
    settle(w); /* shipped, not yet truncated */
    assert_int_equal(r->invoked, 6);
    stop_replica(w, 0, true);
    start_replica(w, 0);
    r->idle = true;
    r->invoked = 0;
    processor_become_leader(r->p, 2);
    sim_env_advance(&w->env, 500);
    assert_int_equal(r->shipped, 10);
    assert_int_equal(r->invoked, 6); /* leadership starts the six running ones; the repeats create nothing */
    struct processor_status st;
    processor_get_status(r->p, &st);
    assert_int_equal(st.outbox_depth, 0);
}

/* ---- leadership ---- */

static void a_newer_leader_fences_the_old_one(void **state)
{
    struct world *w = *state;
    struct replica *old = &w->replicas[0], *new = &w->replicas[1];
    old->idle = true;
    struct test_rpc call = call_rpc(1);
    processor_rpc(old->p, &call.rpc);
    settle(w);
    start_replica(w, 1);
    settle(w);
    struct test_rpc early = call_rpc(2);
    processor_rpc(new->p, &early.rpc);
    settle(w);
    assert_int_equal(early.reply.rc, RC_NOT_LEADER);

    processor_become_leader(new->p, 2);
    sim_env_run(&w->env);
    struct test_rpc race =
        call_rpc(3); /* proposed by the old leader around the announcement of the new one */
    processor_rpc(old->p, &race.rpc);
    settle(w);
    assert_int_equal(old->following, 1);
    assert_int_equal(new->leading, 1);
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.reply.rc, RC_LOST_LEADERSHIP);
    assert_int_equal(race.replies, 1);
    assert_int_equal(race.reply.rc, RC_LOST_LEADERSHIP);
    assert_string_equal(call.value, "");
    assert_int_equal(new->effects_applied,
                     new->invoked); /* the new leader ran what the old one had accepted */
    assert_true(new->invoked >= 1);

    struct writer e = WRITER_INIT;
    record_begin(&e, 64);
    effects_begin(&e, id_of(1), 1, 1);
    end_effect(&e);
    assert_int_equal(processor_propose_effects(old->p, writer_take(&e)), RC_NOT_LEADER);

    /* The client asks the new leader again with the same request id: it gets the one result. */
    struct test_rpc retry = call_rpc(1);
    processor_rpc(new->p, &retry.rpc);
    settle(w);
    assert_string_equal(retry.value, "done");
    assert_int_equal(store_vars(processor_store(old->p))->state_hash,
                     store_vars(processor_store(new->p))->state_hash);

    processor_become_leader(old->p, 1); /* an epoch of the past never leads */
    settle(w);
    assert_int_equal(old->following, 2);
    struct processor_status st;
    processor_get_status(old->p, &st);
    assert_int_equal(st.role, PROCESSOR_FOLLOWER);
    assert_int_equal(st.epoch, 2);
}

static void leadership_resumes_everything_after_a_crash(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc call = call_rpc(1),
                    delayed = invoke_rpc(
                        2, (struct invoke_options){.id = id_of(2),
                                                   .submit = 2,
                                                   .execution_time_ms = env_wall_ms(&w->env.env) + 20000});
    processor_rpc(r->p, &call.rpc);
    processor_rpc(r->p, &delayed.rpc);
    settle(w);
    stop_replica(w, 0, true);
    assert_int_equal(call.reply.rc, RC_LOST_LEADERSHIP);
    start_replica(w, 0);
    r->invoked = 0;
    r->idle = false;
    processor_become_leader(r->p, 5);
    settle(w);
    assert_int_equal(r->invoked, 1);
    sim_env_advance(&w->env, 30000);
    assert_int_equal(r->invoked, 2);
    assert_int_equal(r->effects_applied, 2);
}

static void step_down_fails_waiters(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    r->idle = true;
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    processor_step_down(r->p);
    assert_int_equal(call.replies, 0);
    settle(w);
    assert_int_equal(call.reply.rc, RC_LOST_LEADERSHIP);
    assert_int_equal(r->following, 1);
}

static void unknown_command_stops_the_replica(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct writer b = WRITER_INIT;
    record_begin(&b, 1);
    struct bytes record = writer_take(&b);
    record_header_put(
        (uint8_t *)record.ptr,
        &(struct record_header){.version = RECORD_VERSION, .kind = CMD_PURGE, .key_end = UINT64_MAX});
    ((uint8_t *)record.ptr)[1] = 77;
    assert_int_equal(processor_ingest(r->p, record, NULL), RC_OK);
    settle(w);
    assert_true(r->failed);
    assert_int_equal(r->following, 1);
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    assert_int_equal(call.reply.rc, RC_UNAVAILABLE);
}

static void flushed(void *ctx, lsn_t durable)
{
    *(lsn_t *)ctx = durable;
}

static void the_log_is_trimmed_behind_durability(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    assert_int_equal(r->log->trim_point, 0);
    sim_env_advance(&w->env, 30000);
    assert_true(r->log->trim_point >= 3);
    struct processor_status st;
    processor_get_status(r->p, &st);
    assert_int_equal(st.durable, st.applied);
    assert_false(sim_env_next(&w->env, 3600000)); /* an idle partition sleeps */
    stop_replica(w, 0, true);
    start_replica(w, 0); /* reads on behind the trim point */
    processor_become_leader(r->p, 9);
    settle(w);
    assert_false(r->failed);
    struct test_rpc output = new_rpc(RPC_GET_OUTPUT, 6, id_of(1));
    processor_rpc(r->p, &output.rpc);
    settle(w);
    assert_string_equal(output.value, "done");
}

static void the_owner_says_how_far_to_trim(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    stop_replica(w, 0, false);
    w->owner_trims = true;
    start_replica(w, 0);
    processor_become_leader(r->p, 9);
    settle(w);
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    sim_env_advance(&w->env, 30000);
    assert_int_equal(r->log->trim_point, 0); /* all is flushed, but nobody said so */
    lsn_t applied = store_vars(processor_store(r->p))->applied_lsn;
    assert_true(applied >= 3);
    processor_set_durability(r->p, 2);
    sim_env_advance(&w->env, 500);
    assert_int_equal(r->log->trim_point, 0); /* not before the delay */
    processor_set_durability(r->p, 1);       /* what waits is taken back */
    sim_env_advance(&w->env, 700);
    assert_int_equal(r->log->trim_point, 0);
    sim_env_advance(&w->env, 1000);
    assert_int_equal(r->log->trim_point, 1);
    processor_set_durability(r->p, 1000); /* of replicas that are ahead: never beyond what is applied here */
    sim_env_advance(&w->env, 3000);
    assert_int_equal(r->log->trim_point, applied);
    assert_false(sim_env_next(&w->env, 3600000));
}

/* Found by the simulator: a follower that had led kept waking up to trim. */
static void a_former_leader_is_idle(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    lsn_t durable = 0;
    store_flush(processor_store(r->p), flushed, &durable);
    sim_env_advance(&w->env, 1500);
    assert_true(durable > 0);
    processor_step_down(r->p);
    for (int i = 0; sim_env_next(&w->env, 3600000); i++)
        assert_true(i < 100);
}

static void a_trim_gap_without_snapshot_fails(void **state)
{
    struct world *w = *state;
    struct test_rpc call = call_rpc(1);
    processor_rpc(w->replicas[0].p, &call.rpc);
    sim_env_advance(&w->env, 30000);
    start_replica(w, 2);
    settle(w);
    assert_true(w->replicas[2].failed);
    struct processor_status st;
    processor_get_status(w->replicas[2].p, &st);
    assert_true(st.trim_gap > 0);
    assert_int_equal(st.trim_gap, w->replicas[0].log->trim_point);
}

static void close_flushes_and_reopens(void **state)
{
    struct world *w = *state;
    struct replica *r = &w->replicas[0];
    struct test_rpc call = call_rpc(1);
    processor_rpc(r->p, &call.rpc);
    settle(w);
    uint64_t hash = store_vars(processor_store(r->p))->state_hash;
    stop_replica(w, 0, false);
    memory_backend_crash(r->kv); /* nothing is left to lose */
    start_replica(w, 0);
    assert_int_equal(store_vars(processor_store(r->p))->state_hash, hash);
    assert_int_equal(store_vars(processor_store(r->p))->applied_lsn, 3);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(call_and_send),
        CASE(a_retry_replaces_the_waiter),
        CASE(point_reads_and_attach),
        CASE(retention_ends_in_an_idle_partition),
        CASE(commit_replied_requests),
        CASE(operations),
        CASE(a_queue_is_paused),
        CASE(cancel_answers_once),
        CASE(refused_appends_fail_safely),
        CASE(rules_get_into_the_log),
        CASE(requests_do_not_overtake_rules),
        CASE(clients_are_refused_when_too_many_are_held),
        CASE(undecodable_records_never_reach_the_log),
        CASE(timers_fire_even_when_many_and_refused),
        CASE(timers_registered_while_others_fire),
        CASE(the_log_is_taken_over_when_a_timer_is_due),
        CASE(the_log_is_taken_over_when_nothing_more_is_proposed),
        CASE(the_log_is_taken_over_from_a_candidate),
        CASE(outbox_is_shipped_and_truncated),
        CASE(a_new_leader_ships_again_without_duplicates),
        CASE(a_newer_leader_fences_the_old_one),
        CASE(leadership_resumes_everything_after_a_crash),
        CASE(step_down_fails_waiters),
        CASE(unknown_command_stops_the_replica),
        CASE(the_log_is_trimmed_behind_durability),
        CASE(the_owner_says_how_far_to_trim),
        CASE(a_former_leader_is_idle),
        CASE(a_trim_gap_without_snapshot_fails),
        CASE(close_flushes_and_reopens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
