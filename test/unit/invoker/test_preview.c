/* Preview of serdes: back pressure, silence, leaving, shutdown (spec/service-protocol.md §3.11). Requests and
 * errors against an SDK: test/sdk/conformance/serdes.test.mjs. */
#include "invoker_fixture.h"

static struct {
    struct preview *preview;
    size_t bytes, chunks;
    bool take; /* consume at once */
    int done;
    char failure[256];
} P;

static void on_data(void *ctx, struct bytes data)
{
    P.bytes += data.len;
    P.chunks++;
    if (P.take)
        preview_consumed(P.preview, data.len);
}
static void on_done(void *ctx, const char *failure)
{
    P.done++;
    snprintf(P.failure, sizeof(P.failure), "%s", failure ? failure : "");
}
static bool done(void)
{
    return P.done > 0;
}
static bool some(void)
{
    return P.chunks > 0;
}

static void start(bool take)
{
    memset(&P, 0, sizeof(P));
    P.take = take;
    const struct schema_deployment *const *all;
    assert_int_equal(schema_deployments(F.cell.schema, &all), 1);
    struct preview_request r = {.deployment = all[0],
                                .service = SLICE_LIT("Svc"),
                                .serde = SLICE_LIT("a b/c"),
                                .body = SLICE_LIT("payload"),
                                .on_data = on_data,
                                .on_done = on_done};
    P.preview = invoker_preview(F.inv, &r);
    assert_int_equal(P.done, 0);
}

#define ANSWER_BYTES (8u << 20) /* more than any window */
static void play_large(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event != PLAY_OPEN)
        return;
    static char zeros[ANSWER_BYTES];
    http_response_start(x->req, 200, NULL, 0);
    http_response_write(x->req, bytes_static(slice_make(zeros, sizeof(zeros))));
    http_response_end(x->req, NULL, 0);
}
static void play_silence(struct exchange *x, enum play_event event, uint16_t type, struct slice payload) {}

static void play_piece(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event != PLAY_OPEN)
        return;
    http_response_start(x->req, 200, NULL, 0);
    http_response_write(x->req, bytes_static(SLICE_LIT("piece")));
}

/* The invoker's time: as the loop's, but the limit of silence passes when the test says so. */
static struct {
    struct env env;
    struct env_ops ops;
    struct env_timer *limit;
    uint64_t limit_ms;
} watch;

static void watch_arm(struct env *env, struct env_timer *t, uint64_t at_mono_ms)
{
    watch.limit = t;
    watch.limit_ms = at_mono_ms - env_mono_ms(F.env);
    env_timer_arm_at(F.env, t, at_mono_ms);
}
static void watch_cancel(struct env *env, struct env_timer *t)
{
    env_timer_cancel(F.env, t);
}
static uint64_t watch_mono_ms(struct env *env)
{
    return env_mono_ms(F.env);
}
static uint64_t watch_wall_ms(struct env *env)
{
    return env_wall_ms(F.env);
}
static void watch_silence(void)
{
    watch.ops = (struct env_ops){.wall_ms = watch_wall_ms,
                                 .mono_ms = watch_mono_ms,
                                 .timer_arm = watch_arm,
                                 .timer_cancel = watch_cancel};
    watch.env.ops = &watch.ops;
    watch.limit = NULL;
    F.inv->env = &watch.env;
}
static bool limit_runs(void)
{
    return watch.limit && env_timer_armed(watch.limit);
}
static void limit_passes(void)
{
    assert_true(limit_runs());
    assert_int_equal(watch.limit_ms, 30000);
    env_timer_arm(F.env, watch.limit, 0);
    assert_true(run_until(done, 5000));
    assert_non_null(strstr(P.failure, "nothing arrived for 30 seconds"));
    assert_true(run_until(all_finished, 5000));
    assert_false(F.exchanges[0].completed);
    assert_true(list_empty(&F.inv->previews));
    F.inv->env = F.env;
}
static bool asked(void)
{
    return F.n_exchanges == 1;
}

static void what_is_not_taken_holds_the_endpoint_back(void **state)
{
    F.play = play_large;
    start(false);
    assert_true(run_until(some, 5000));
    run_for(50);
    assert_in_range(P.bytes, 1, ANSWER_BYTES / 2);
    assert_false(P.done);
    P.take = true;
    preview_consumed(P.preview, P.bytes);
    assert_true(run_until(done, 10000));
    assert_int_equal(P.bytes, ANSWER_BYTES);
    assert_string_equal(P.failure, "");
    const char *path = F.exchanges[0].path;
    assert_string_equal(path + strlen(path) - strlen("/serdes/Svc/decode/a%20b/c"),
                        "/serdes/Svc/decode/a%20b/c");
}

static void a_silent_endpoint_is_given_up(void **state)
{
    watch_silence();
    F.play = play_silence;
    start(true);
    assert_true(run_until(asked, 5000));
    assert_int_equal(P.done, 0);
    limit_passes();
    assert_int_equal(P.chunks, 0);
}

/* Nor is it silent while it may be waiting for us. */
static void an_endpoint_may_fall_silent_in_the_middle(void **state)
{
    watch_silence();
    F.play = play_piece;
    start(false);
    assert_true(run_until(some, 5000));
    assert_false(limit_runs());
    preview_consumed(P.preview, P.bytes);
    assert_int_equal(P.done, 0);
    limit_passes();
    assert_int_equal(P.bytes, 5);
}

static void nothing_is_told_after_leaving(void **state)
{
    F.play = play_large;
    start(false);
    assert_true(run_until(some, 5000));
    size_t chunks = P.chunks;
    preview_cancel(P.preview);
    assert_true(run_until(all_finished, 5000));
    run_for(20);
    assert_int_equal(P.chunks, chunks);
    assert_int_equal(P.done, 0);
    assert_false(F.exchanges[0].completed);
    assert_true(list_empty(&F.inv->previews));
}

static void shutdown_answers_what_is_open(void **state)
{
    F.play = play_silence;
    start(true);
    run_for(20);
    assert_int_equal(F.n_exchanges, 1);
    preview_cancel_all(F.inv);
    assert_int_equal(P.done, 1);
    assert_string_equal(P.failure, "the server is shutting down");
    run_for(20);
    assert_int_equal(P.done, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    log_set_filter("error", NULL);
    const struct CMUnitTest tests[] = {
        T(what_is_not_taken_holds_the_endpoint_back),
        T(a_silent_endpoint_is_given_up),
        T(an_endpoint_may_fall_silent_in_the_middle),
        T(nothing_is_told_after_leaving),
        T(shutdown_answers_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
