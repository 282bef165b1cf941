/* Fixture of the invoker tests: a loop on the test's thread, an endpoint on a loopback port whose answers the
 * test scripts frame by frame, a partition that records what is proposed, keeps the journal and applies it in
 * a later task, and a schema made from a manifest. Include once per test program. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* after the system headers: */
#include <cmocka.h>

#include "base/codec.h"
#include "base/hash.h"
#include "base/log.h"
#include "http/server.h"
#include "invoker/invoker_internal.h"
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

/* ---- the endpoint ---- */

struct exchange; /* one attempt as the endpoint sees it */
enum play_event {
    PLAY_OPEN,        /* the request head is here */
    PLAY_REPLAYED,    /* Start and all announced entries are here */
    PLAY_FRAME,       /* a message after the replay */
    PLAY_HALF_CLOSED, /* the server ended the request */
};
typedef void (*play_fn)(struct exchange *x, enum play_event event, uint16_t type, struct slice payload);

struct exchange {
    struct http_request *req;
    int number; /* 1, 2, ... in order of opening */
    struct frame_input input;
    uint32_t known_entries, received;
    bool started, replayed, half_closed, finished, completed, responded;
    struct writer frames; /* "0400 7200|8011 ..." */
    struct writer start;
    uint64_t opened_ms, half_closed_ms, finished_ms;
    char path[256], content_type[80], key[80], jwt[1024], extra[80];
    bool has_key;
};

#define MAX_EXCHANGES 16

/* ---- the partition ---- */

struct fixture {
    struct loop *loop;
    struct env *env;
    struct http_server *server;
    struct http_client *client;
    struct net_listener *listener;
    struct net_address addr;
    char url[96];

    play_fn play;
    struct exchange exchanges[MAX_EXCHANGES];
    int n_exchanges;

    struct schema_cell cell;
    struct schema_change change;
    struct invoker_config config;
    struct invoker *inv;
    struct invoker_partition *p;

    struct invocation invocation;
    bool ended;                /* End, Failed or Paused was applied, or the invocation was suspended */
    struct writer proposed;    /* "PIN Run | Output END | ..." records separated by " | " */
    struct writer events;      /* JSON of events and of Paused, one per line */
    struct writer entries_hex; /* payloads of proposed entries */
    size_t n_records;
    struct bytes last_record;
    enum rc propose_rc;
    size_t refused;
    bool hold_applied; /* do not report records as applied */
    struct env_task apply_task;
    struct {
        struct bytes *items;
        size_t len, cap;
    } to_apply;
    struct {
        char key[32];
        struct bytes value;
    } state[8];
    size_t n_state;
    struct effect last_failed; /* slices into last_record */
    struct effect last_call;
    bool last_value_from_state;
};

static struct fixture F;

/* What the invoker uses of the partition's store. */
void store_journal_load(struct partition_store *s, struct invocation *inv) {}
bool store_state_get(struct partition_store *s, struct slice service, struct slice key,
                     struct slice state_key, struct bytes *out)
{
    for (size_t i = 0; i < F.n_state; i++) {
        if (slice_eq_cstr(state_key, F.state[i].key)) {
            *out = bytes_ref(F.state[i].value);
            return true;
        }
    }
    return false;
}
void store_state_scan(struct partition_store *s, struct slice service, struct slice key,
                      bool (*visit)(void *ctx, struct slice state_key, struct bytes value), void *ctx)
{
    for (size_t i = 0; i < F.n_state; i++)
        if (!visit(ctx, slice_cstr(F.state[i].key), F.state[i].value))
            return;
}

static inline struct slice hex_bytes(const char *hex, uint8_t *out, size_t cap)
{
    size_t n = 0;
    char pair[2];
    int have = 0;
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        pair[have++] = *hex;
        if (have == 2) {
            assert_true(n < cap && hex_decode(slice_make(pair, 2), out + n));
            n++;
            have = 0;
        }
    }
    assert_int_equal(have, 0);
    return slice_make(out, n);
}

static inline const char *text_of(struct writer *w)
{
    *writer_reserve(w, 1) = 0;
    return (const char *)w->buf->data;
}

/* ---- running the loop ---- */

struct until {
    struct env_timer timer;
    bool (*cond)(void);
    uint64_t deadline;
};
static void until_fire(struct env_timer *t)
{
    struct until *u = CONTAINER_OF(t, struct until, timer);
    if (u->cond() || env_mono_ms(F.env) >= u->deadline)
        loop_stop(F.loop);
    else
        env_timer_arm(F.env, &u->timer, 1);
}
/* Run until `cond` holds; false after `ms`. */
static inline bool run_until(bool (*cond)(void), uint64_t ms)
{
    struct until u = {.cond = cond, .deadline = env_mono_ms(F.env) + ms};
    env_timer_init(&u.timer, until_fire);
    env_timer_arm(F.env, &u.timer, 0);
    loop_run(F.loop);
    env_timer_cancel(F.env, &u.timer);
    return cond();
}
static bool never(void)
{
    return false;
}
static inline void run_for(uint64_t ms)
{
    run_until(never, ms);
}
static inline bool has_ended(void)
{
    return F.ended;
}
static inline bool all_finished(void)
{
    for (int i = 0; i < F.n_exchanges; i++)
        if (!F.exchanges[i].finished)
            return false;
    return true;
}

/* ---- the endpoint's side ---- */

static inline void respond_head(struct exchange *x, int status, const char *content_type)
{
    struct http_header headers[3] = {{SLICE_LIT("content-type"), slice_cstr(content_type)},
                                     HTTP_HEADER_LIT("x-restate-server", "test-sdk/1.0")};
    x->responded = true;
    http_response_start(x->req, status, headers, 2);
}
/* Send frames given as hex; the head first if it was not sent yet. */
static inline void send_hex(struct exchange *x, const char *hex)
{
    uint8_t raw[4096];
    struct slice s = hex_bytes(hex, raw, sizeof(raw));
    if (!x->responded)
        respond_head(x, 200, x->content_type);
    http_response_write(x->req, bytes_copy(s));
}
static inline void end_response(struct exchange *x)
{
    http_response_end(x->req, NULL, 0);
}
#define FRAME_END          "0003000000000000"
#define FRAME_OUTPUT_5     "0401000000000005 72030a0135"
#define FRAME_RUN_1        "0411000000000005 5801620172"
#define FRAME_SLEEP_1      "040c000000000009 08fed6d9a3a0345801"
#define FRAME_PROPOSE_1    "0005000000000007 08017203225222"
#define FRAME_SUSPENSION_1 "0001000000000006 0a0101120101"

static bool on_endpoint_frame(void *ctx, const struct frame_header *h, struct slice payload)
{
    struct exchange *x = ctx;
    if (x->frames.len > 0)
        write_u8(&x->frames, '|');
    if (h->type == MSG_START && !x->started) {
        x->started = true;
        write_slice_raw(&x->start, payload);
        struct reader r = reader_make(payload);
        struct pb_field f;
        while (pb_next(&r, &f))
            if (f.number == 3)
                x->known_entries = (uint32_t)f.value;
        write_fmt(&x->frames, "start");
    } else {
        write_fmt(&x->frames, "%04x", h->type);
        if (payload.len <= 256) {
            write_u8(&x->frames, ' ');
            write_hex(&x->frames, payload);
        } else {
            write_fmt(&x->frames, " (%zu bytes)", payload.len);
        }
        x->received++;
    }
    if (!x->replayed && x->received == x->known_entries) {
        x->replayed = true;
        F.play(x, PLAY_REPLAYED, 0, SLICE_EMPTY);
    } else if (x->replayed) {
        F.play(x, PLAY_FRAME, h->type, payload);
    }
    return true;
}
static void endpoint_chunk(struct http_request *r, struct bytes chunk)
{
    struct exchange *x = http_request_user(r);
    frame_input_feed(&x->input, bytes_slice(chunk), UINT64_MAX, on_endpoint_frame, x);
    http_request_consumed(r, chunk.len);
}
static void endpoint_end(struct http_request *r)
{
    struct exchange *x = http_request_user(r);
    x->half_closed = true;
    x->half_closed_ms = env_mono_ms(F.env);
    F.play(x, PLAY_HALF_CLOSED, 0, SLICE_EMPTY);
}
static void endpoint_finished(struct http_request *r, bool completed)
{
    struct exchange *x = http_request_user(r);
    x->finished = true;
    x->completed = completed;
    x->finished_ms = env_mono_ms(F.env);
    x->req = NULL;
}
static const struct http_request_ops endpoint_request_ops = {
    .on_chunk = endpoint_chunk, .on_end = endpoint_end, .on_finished = endpoint_finished};

static inline void copy_header(struct http_request *req, const char *name, char *out, size_t cap)
{
    snprintf(out, cap, "%.*s", SLICE_FMT(http_request_header(req, name)));
}
static void endpoint_request(void *ctx, struct http_request *req)
{
    assert_true(F.n_exchanges < MAX_EXCHANGES);
    struct exchange *x = &F.exchanges[F.n_exchanges++];
    x->req = req;
    x->number = F.n_exchanges;
    x->opened_ms = env_mono_ms(F.env);
    snprintf(x->path, sizeof(x->path), "%.*s", SLICE_FMT(http_request_target(req)));
    copy_header(req, "content-type", x->content_type, sizeof(x->content_type));
    copy_header(req, "x-restate-service-key", x->key, sizeof(x->key));
    copy_header(req, "x-restate-jwt-v1", x->jwt, sizeof(x->jwt));
    copy_header(req, "x-extra", x->extra, sizeof(x->extra));
    x->has_key = http_request_header(req, "x-restate-service-key").ptr != NULL;
    http_request_set_user(req, x);
    http_request_set_ops(req, &endpoint_request_ops);
    http_request_stream(req);
    F.play(x, PLAY_OPEN, 0, SLICE_EMPTY);
}
static const struct http_server_ops endpoint_ops = {.on_request = endpoint_request};
static void endpoint_accept(void *ctx, struct net_conn *conn)
{
    http_server_accept(F.server, conn);
}
static const struct net_listener_ops endpoint_listener_ops = {.on_accept = endpoint_accept};

/* ---- the partition's side ---- */

static struct invocation *ops_invocation(void *ctx, struct invocation_id id)
{
    return invocation_id_eq(id, F.invocation.id) ? &F.invocation : NULL;
}
static struct partition_store *ops_store(void *ctx)
{
    return NULL;
}

static enum rc ops_propose(void *ctx, struct bytes record_take)
{
    if (F.propose_rc != RC_OK) {
        F.refused++;
        bytes_unref(&record_take);
        return F.propose_rc;
    }
    VEC_PUSH(&F.to_apply, record_take);
    env_defer(F.env, &F.apply_task);
    return RC_OK;
}
static const struct invoker_ops partition_ops = {
    .propose = ops_propose, .invocation = ops_invocation, .store = ops_store};

static inline uint32_t append_entry(uint16_t type, struct bytes payload_take)
{
    struct journal_entry entry = {.type = type, .payload = payload_take};
    struct notification_view view;
    if (message_is_notification(type) && notification_decode(bytes_slice(payload_take), &view))
        entry.completion_id = view.id.index;
    VEC_PUSH(&F.invocation.journal, entry);
    F.invocation.commands += message_is_command(type);
    return (uint32_t)F.invocation.journal.len - 1;
}
/* A notification is stored and forwarded, as by a timer or a callee. */
static inline void notify_hex(uint16_t type, const char *hex)
{
    uint8_t raw[512];
    uint32_t index = append_entry(type, bytes_copy(hex_bytes(hex, raw, sizeof(raw))));
    invoker_notify(F.p, &F.invocation, index);
}

static void apply_entry(const struct effect *e)
{
    const char *name = message_type_name(e->entry_type);
    write_fmt(&F.proposed, "%s%s%s ", name ? name : "?", e->entry_type == MSG_N_RUN ? "Completion" : "",
              e->value_from_state ? "*" : "");
    write_hex(&F.entries_hex, e->payload);
    write_u8(&F.entries_hex, ' ');
    F.last_value_from_state = e->value_from_state;
    if (e->has_callee)
        F.last_call = *e;
    uint32_t command_index = F.invocation.commands;
    uint32_t index = append_entry(e->entry_type, bytes_part(F.last_record, e->payload));
    if (e->entry_type == MSG_N_RUN)
        invoker_notify(F.p, &F.invocation, index);
    else if (e->ack)
        invoker_ack_command(F.p, F.invocation.id, command_index);
}

static void apply_effect(const struct effect *e)
{
    switch (e->kind) {
    case EFFECT_PIN_DEPLOYMENT:
        write_fmt(&F.proposed, "PIN%u ", e->protocol_version);
        F.invocation.pinned = true;
        F.invocation.deployment_id = e->deployment_id;
        F.invocation.protocol_version = e->protocol_version;
        break;
    case EFFECT_ENTRY:
        apply_entry(e);
        break;
    case EFFECT_EVENT:
        write_fmt(&F.proposed, "EVENT ");
        write_slice_raw(&F.events, e->payload);
        write_u8(&F.events, '\n');
        break;
    case EFFECT_PAUSED:
        write_fmt(&F.proposed, "PAUSED ");
        write_slice_raw(&F.events, e->payload);
        write_u8(&F.events, '\n');
        F.ended = true;
        break;
    case EFFECT_SUSPEND:
        write_fmt(&F.proposed, "SUSPEND ");
        F.ended = true;
        break;
    case EFFECT_SUSPEND_TREE:
        write_fmt(&F.proposed, "SUSPEND_TREE ");
        F.ended = true;
        break;
    case EFFECT_YIELD:
        write_fmt(&F.proposed, "YIELD ");
        F.invocation.backoff.resume_at_ms = e->resume_at_ms;
        F.invocation.backoff.retries = e->retries;
        F.invocation.backoff.retries_since_command = e->retries_since_command;
        F.ended = true;
        break;
    case EFFECT_END:
        write_fmt(&F.proposed, "END ");
        F.ended = true;
        break;
    case EFFECT_FAILED:
        write_fmt(&F.proposed, "FAILED ");
        F.last_failed = *e;
        F.ended = true;
        break;
    }
}

static void apply_record(struct bytes record)
{
    bytes_unref(&F.last_record);
    F.last_record = record;
    F.n_records++;
    struct reader r = reader_make(record_body(bytes_slice(record)));
    struct effects_head head;
    struct effect e;
    assert_true(effects_begin_read(&r, &head));
    if (F.proposed.len > 0)
        write_fmt(&F.proposed, "| ");
    while (effect_read(&r, &e))
        apply_effect(&e);
    assert_false(r.failed); /* whatever is proposed must be decodable by every replica */
    if (!F.hold_applied)
        invoker_effects_applied(F.p, head.id, head.token, head.batch, false);
}
static void run_apply(struct env_task *t)
{
    for (size_t i = 0; i < F.to_apply.len; i++)
        apply_record(F.to_apply.items[i]);
    F.to_apply.len = 0;
}

/* ---- set-up ---- */

static const char default_services[] =
    "{\"name\":\"Greeter\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"greet\"},"
    "{\"name\":\"fast\",\"retryPolicyInitialInterval\":20,\"retryPolicyMaxAttempts\":3,"
    "\"retryPolicyOnMaxAttempts\":\"PAUSE\"},"
    "{\"name\":\"killed\",\"retryPolicyInitialInterval\":5,\"retryPolicyMaxAttempts\":2,"
    "\"retryPolicyOnMaxAttempts\":\"KILL\"},"
    "{\"name\":\"idle\",\"inactivityTimeout\":40,\"abortTimeout\":60},"
    "{\"name\":\"oneway\",\"inactivityTimeout\":0}]},"
    "{\"name\":\"Counter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"add\",\"ty\":\"EXCLUSIVE\"},"
    "{\"name\":\"get\",\"ty\":\"SHARED\"},{\"name\":\"lazy\",\"ty\":\"EXCLUSIVE\",\"enableLazyState\":true}]}"
    ","
    "{\"name\":\"Flow\",\"ty\":\"WORKFLOW\",\"handlers\":[{\"name\":\"run\",\"ty\":\"WORKFLOW\"},{\"name\":"
    "\"signal\",\"ty\":\"SHARED\"}]}";

static inline void set_services(const char *services, int min, int max, const char *mode, bool http_1_1)
{
    struct writer json = WRITER_INIT;
    write_fmt(
        &json,
        "{\"minProtocolVersion\":%d,\"maxProtocolVersion\":%d,\"protocolMode\":\"%s\",\"services\":[%s]}",
        min, max, mode, services);
    struct manifest manifest;
    struct problem problem = {0};
    assert_true(manifest_parse(writer_slice(&json), NULL, false, &manifest, &problem));
    static const struct schema_header headers[] = {{"x-extra", "yes"}};
    struct schema_register reg = {.kind = DEPLOYMENT_HTTP, .uri = F.url, .headers = headers, .n_headers = 1};
    struct schema_discovered found = {.http_1_1 = http_1_1, .manifest = &manifest};
    enum schema_register_outcome outcome;
    struct u128 id;
    struct schema *empty = schema_empty();
    schema_change_free(&F.change);
    assert_true(schema_register(empty, &reg, NULL, &found, 1000, (struct u128){1, 2}, &F.change, &outcome,
                                &id, &problem));
    schema_unref(empty);
    manifest_free(&manifest);
    writer_free(&json);
    F.cell.schema = F.change.next;
}

static inline void set_defaults(struct schema_defaults *d)
{
    *d = (struct schema_defaults){.inactivity_timeout_ms = 60000,
                                  .abort_timeout_ms = 600000,
                                  .journal_retention_ms = 86400000,
                                  .idempotency_retention_ms = 86400000,
                                  .workflow_completion_retention_ms = 86400000,
                                  .max_journal_retention_ms = OPTION_UNSET,
                                  .max_idempotency_retention_ms = OPTION_UNSET,
                                  .max_workflow_completion_retention_ms = OPTION_UNSET,
                                  .retry_initial_interval_ms = 500,
                                  .retry_max_interval_ms = 60000,
                                  .retry_max_attempts = 70,
                                  .retry_max_attempts_cap = OPTION_UNSET,
                                  .retry_factor = 2.0};
}

static void start_invoker(void)
{
    struct err err = {0};
    assert_int_equal(invoker_new(F.loop, F.env, F.client, &F.config, &F.cell, &F.inv, &err), RC_OK);
    F.p = invoker_partition_new(F.inv, 0, &partition_ops, NULL);
}

static inline void play_nothing(struct exchange *x, enum play_event event, uint16_t type,
                                struct slice payload)
{
}

static int setup(void **state)
{
    memset(&F, 0, sizeof(F));
    F.loop = loop_new("test");
    F.env = loop_env(F.loop);
    struct http_server_config server_config;
    http_server_config_default(&server_config);
    F.server = http_server_new(F.loop, &server_config, &endpoint_ops, NULL);
    struct net_address any = {.family = NET_TCP, .host = "127.0.0.1", .port = 0};
    struct err err = {0};
    assert_int_equal(net_listen(F.loop, &any, false, &endpoint_listener_ops, NULL, &F.listener, &err), RC_OK);
    assert_int_equal(net_listener_start(F.listener, &err), RC_OK);
    net_listener_address(F.listener, &F.addr);
    snprintf(F.url, sizeof(F.url), "http://127.0.0.1:%u/", F.addr.port);
    struct http_client_config client_config;
    http_client_config_default(&client_config);
    F.client = http_client_new(F.loop, &client_config);
    F.play = play_nothing;
    env_task_init(&F.apply_task, run_apply);
    set_services(default_services, 5, 7, "BIDI_STREAM", false);
    set_defaults(&F.cell.defaults);
    F.config = (struct invoker_config){.concurrent_invocations_limit = 10,
                                       .message_size_warning = 10 << 20,
                                       .message_size_limit = 32 << 20,
                                       .eager_state_size_limit = 32 << 20,
                                       .memory_limit = 1 << 30,
                                       .per_invocation_memory_limit = 32 << 20,
                                       .max_awaited_future_depth = 1000};
    start_invoker();
    return 0;
}

static void drop_invocation(void)
{
    for (size_t i = 0; i < F.invocation.journal.len; i++)
        bytes_unref(&F.invocation.journal.items[i].payload);
    VEC_FREE(&F.invocation.journal);
}

static int teardown(void **state)
{
    if (F.p)
        invoker_partition_free(F.p);
    invoker_free(F.inv);
    http_client_free(F.client);
    if (F.listener)
        net_listener_close(F.listener);
    http_server_free(F.server);
    run_for(2);
    env_undefer(&F.apply_task);
    for (size_t i = 0; i < F.to_apply.len; i++)
        bytes_unref(&F.to_apply.items[i]);
    VEC_FREE(&F.to_apply);
    for (int i = 0; i < F.n_exchanges; i++) {
        frame_input_free(&F.exchanges[i].input);
        writer_free(&F.exchanges[i].frames);
        writer_free(&F.exchanges[i].start);
    }
    for (size_t i = 0; i < F.n_state; i++)
        bytes_unref(&F.state[i].value);
    drop_invocation();
    schema_change_free(&F.change);
    bytes_unref(&F.last_record);
    writer_free(&F.proposed);
    writer_free(&F.events);
    writer_free(&F.entries_hex);
    loop_free(F.loop);
    return 0;
}

/* An Invoked invocation with its Input in the journal. */
static inline void make_invocation(enum target_kind kind, const char *service, const char *handler,
                                   const char *key)
{
    drop_invocation();
    memset(&F.invocation, 0, sizeof(F.invocation));
    F.invocation.id = (struct invocation_id){0x548ae3cba54055b3, {0xd54e878239a6891a, 0xd7af57d8fdf2d024}};
    F.invocation.status = INV_INVOKED;
    F.invocation.si.target =
        (struct target){kind, slice_cstr(service), slice_cstr(handler), slice_cstr(key), SLICE_EMPTY};
    if (!key)
        F.invocation.si.target.key = SLICE_EMPTY;
    F.invocation.at.modified_at = env_wall_ms(F.env);
    uint8_t raw[8];
    append_entry(MSG_INPUT, bytes_copy(hex_bytes("72030a0132", raw, sizeof(raw))));
}
static inline void invoke(enum target_kind kind, const char *service, const char *handler, const char *key)
{
    make_invocation(kind, service, handler, key);
    invoker_invoke(F.p, &F.invocation);
}
static inline void invoke_greet(void)
{
    invoke(TARGET_SERVICE, "Greeter", "greet", NULL);
}
static inline void put_state(const char *key, const char *value)
{
    snprintf(F.state[F.n_state].key, sizeof(F.state[0].key), "%s", key);
    F.state[F.n_state++].value = bytes_copy(slice_cstr(value));
}
