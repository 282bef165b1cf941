/* A partition store over the memory backend, records built by hand and applied one by one: what the tests of
 * the state machine share. Every record is kept, so that a test can apply the same history to a second store.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "partition/machine_internal.h"
#include "sim/sim_env.h"

#define FIXTURE_PARTITION 3
#define RETENTION_MS      60000u

struct fixture {
    struct sim_env env;
    struct kv_backend *kv;
    struct partition_store *store;
    struct actions actions; /* of the last record */
    struct apply_result result;
    uint64_t now_ms, next_uuid;
    struct {
        struct bytes *items;
        size_t len, cap;
    } history;
};

static inline struct store_config fixture_store_config(void)
{
    return (struct store_config){.partition_id = FIXTURE_PARTITION,
                                 .key_end = UINT64_MAX,
                                 .cache_bytes = 64 << 20,
                                 .flush_dirty_bytes = 4 << 20,
                                 .flush_interval_ms = 10000};
}

static inline void fixture_open(struct fixture *fx)
{
    struct store_config config = fixture_store_config();
    struct err err = {0};
    assert_int_equal(store_open(fx->kv, &fx->env.env, &config, &fx->store, &err), RC_OK);
}

static inline void fixture_init(struct fixture *fx)
{
    memset(fx, 0, sizeof(*fx));
    sim_env_init(&fx->env, 1);
    fx->kv = memory_backend_new(&fx->env.env);
    fx->now_ms = 1000000;
    fixture_open(fx);
}

static inline void fixture_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static inline void fixture_close_store(struct fixture *fx, bool abandon)
{
    bool closed = false;
    store_close(fx->store, abandon, fixture_closed, &closed);
    for (int i = 0; i < 100 && !closed; i++)
        sim_env_advance(&fx->env, 1000);
    assert_true(closed);
}

static inline void fixture_free(struct fixture *fx)
{
    fixture_close_store(fx, true);
    memory_backend_free(fx->kv);
    actions_free(&fx->actions);
    for (size_t i = 0; i < fx->history.len; i++)
        bytes_unref(&fx->history.items[i]);
    VEC_FREE(&fx->history);
    sim_env_free(&fx->env);
}

/* Of a test of cmocka. */
static inline int fixture_setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    fixture_init(fx);
    *state = fx;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    fixture_free(*state);
    free(*state);
    return 0;
}

/* ---- applying ---- */

static inline enum rc fixture_apply_bytes(struct fixture *fx, struct bytes record, bool leader)
{
    struct err err = {0};
    actions_clear(&fx->actions);
    lsn_t lsn = store_vars(fx->store)->applied_lsn + 1;
    enum rc rc = machine_apply(fx->store, lsn, record, leader ? &fx->actions : NULL, &fx->result, &err);
    if (rc == RC_OK)
        store_maintain(fx->store);
    return rc;
}

/* The record in `w` (begun with record_begin) with this header; kept in the history. */
static inline enum rc fixture_apply_header(struct fixture *fx, struct record_header h, struct writer *w)
{
    struct bytes record = writer_take(w);
    uint8_t kind = h.kind, *raw = (uint8_t *)record.ptr;
    h.version = RECORD_VERSION;
    h.kind = CMD_INVOKE;
    h.created_at_ms = fx->now_ms;
    record_header_put(raw, &h);
    raw[1] = kind; /* possibly one that does not exist */
    VEC_PUSH(&fx->history, record);
    return fixture_apply_bytes(fx, record, true);
}

static inline void fixture_apply(struct fixture *fx, enum command_kind kind, struct writer *w)
{
    struct record_header h = {.kind = (uint8_t)kind, .key_end = UINT64_MAX};
    assert_int_equal(fixture_apply_header(fx, h, w), RC_OK);
    assert_false(fx->result.skipped);
}

static inline struct writer record_writer(void)
{
    struct writer w = WRITER_INIT;
    record_begin(&w, 64);
    return w;
}

/* ---- looking ---- */

static inline size_t count_actions(struct fixture *fx, enum action_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < fx->actions.len; i++)
        n += fx->actions.items[i].kind == kind;
    return n;
}

static inline struct action *find_action(struct fixture *fx, enum action_kind kind)
{
    for (size_t i = 0; i < fx->actions.len; i++)
        if (fx->actions.items[i].kind == kind)
            return &fx->actions.items[i];
    fail_msg("no action of kind %d", (int)kind);
    return NULL;
}

static inline enum invocation_status status_of(struct fixture *fx, struct invocation_id id)
{
    struct invocation *inv = store_invocation_get(fx->store, id);
    return inv ? inv->status : INV_FREE;
}

/* "Input Call +CallInvocationId": + marks notifications. */
static inline void assert_journal(struct fixture *fx, struct invocation_id id, const char *expected)
{
    struct invocation *inv = store_invocation_get(fx->store, id);
    assert_non_null(inv);
    store_journal_load(fx->store, inv);
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < inv->journal.len; i++) {
        uint16_t type = inv->journal.items[i].type;
        write_fmt(&w, "%s%s%s", i ? " " : "", message_is_notification(type) ? "+" : "",
                  message_type_name(type));
    }
    write_u8(&w, 0);
    assert_string_equal((const char *)w.buf->data, expected);
    writer_free(&w);
}

static inline void assert_failure(struct outcome o, uint32_t code, const char *message)
{
    struct failure_view f;
    assert_int_equal(o.kind, OUTCOME_FAILURE);
    assert_true(failure_parse(o.value, &f));
    assert_int_equal(f.code, code);
    assert_true(slice_eq_cstr(f.message, message));
}

static inline void assert_success(struct outcome o, const char *value)
{
    assert_int_equal(o.kind, OUTCOME_SUCCESS);
    assert_true(slice_eq_cstr(o.value, value));
}

/* The result in a notification of the journal. */
static inline struct outcome notification_at(struct fixture *fx, struct invocation_id id, size_t index)
{
    struct invocation *inv = store_invocation_get(fx->store, id);
    struct notification_view view;
    assert_non_null(inv);
    assert_true(index < inv->journal.len);
    assert_true(notification_decode(bytes_slice(inv->journal.items[index].payload), &view));
    return view.outcome;
}

/* ---- ids and requests ---- */

static inline struct invocation_id fresh_id(struct fixture *fx)
{
    return (struct invocation_id){.partition_key = 42, .uuid = {7, ++fx->next_uuid}};
}

static inline struct u128 request(uint64_t n)
{
    return (struct u128){0xabc, n};
}

struct invoke_options {
    struct invocation_id id; /* zero: fresh */
    enum target_kind kind;
    const char *service, *key, *input, *scope, *limit_key;
    uint64_t execution_time_ms, request; /* request != 0: wait for the result */
    uint64_t submit;                     /* != 0: tell when submitted */
    bool no_retention;
    uint64_t journal_retention_ms; /* 0: RETENTION_MS, 1: none */
    struct u128 subscription;      /* not zero: it comes from one */
};

static inline void invocation_write(struct writer *w, const struct invoke_options *o, struct invocation_id id)
{
    struct writer input = WRITER_INIT;
    input_write_header(&input, SLICE_LIT("x-test"), SLICE_LIT("1"));
    input_write_value(&input, slice_cstr(o->input ? o->input : "in"));
    struct service_invocation si = {
        .id = id,
        .target = {.kind = o->kind,
                   .service = slice_cstr(o->service ? o->service : "Svc"),
                   .handler = SLICE_LIT("run")},
        .input = writer_slice(&input),
        .source = o->subscription.lo ? SOURCE_SUBSCRIPTION : SOURCE_INGRESS,
        .execution_time_ms = o->execution_time_ms,
        .completion_retention_ms = o->no_retention ? 0 : RETENTION_MS,
        .journal_retention_ms = o->no_retention || o->journal_retention_ms == 1 ? 0 : RETENTION_MS,
        .created_using = SLICE_LIT("1.7.0"),
    };
    if (o->journal_retention_ms > 1)
        si.journal_retention_ms = o->journal_retention_ms;
    if (target_is_keyed(o->kind))
        si.target.key = slice_cstr(o->key ? o->key : "k");
    si.target.scope = o->scope ? slice_cstr(o->scope) : SLICE_EMPTY;
    si.limit_key = o->limit_key ? slice_cstr(o->limit_key) : SLICE_EMPTY;
    si.source_request_id =
        o->subscription.lo ? o->subscription : request(o->request ? o->request : o->submit);
    if (o->request)
        si.response_sink = (struct sink){.kind = SINK_INGRESS, .request_id = request(o->request)};
    si.notify_submission = o->submit != 0;
    service_invocation_write(w, &si);
    writer_free(&input);
}

static inline struct invocation_id invoke(struct fixture *fx, struct invoke_options o)
{
    struct invocation_id id = o.id.uuid.lo ? o.id : fresh_id(fx);
    struct writer w = record_writer();
    invocation_write(&w, &o, id);
    fixture_apply(fx, CMD_INVOKE, &w);
    return id;
}

/* ---- effects ---- */

static inline struct writer effects_of(struct invocation_id id)
{
    struct writer w = record_writer();
    effects_begin(&w, id, 11, 22);
    return w;
}

static inline void entry(struct writer *w, uint16_t type, struct writer *payload)
{
    struct effect e = {.kind = EFFECT_ENTRY, .entry_type = type, .payload = writer_slice(payload)};
    effect_write(w, &e);
    writer_free(payload);
}

static inline void put_value(struct writer *p, uint32_t field, const char *content)
{
    struct slice s = slice_cstr(content);
    pb_write_len_header(p, field, s.len ? pb_len_field_size(1, s.len) : 0);
    pb_write_bytes(p, 1, s);
}

static inline void put_failure(struct writer *p, uint32_t field, uint32_t code, const char *message)
{
    struct writer f = WRITER_INIT;
    failure_write(&f, code, slice_cstr(message));
    pb_write_bytes_always(p, field, writer_slice(&f));
    writer_free(&f);
}

static inline void output_entry(struct writer *w, const char *content)
{
    struct writer p = WRITER_INIT;
    put_value(&p, 14, content);
    entry(w, MSG_OUTPUT, &p);
}

static inline void end_effect(struct writer *w)
{
    effect_write(w, &(struct effect){.kind = EFFECT_END});
}

static inline void pin_effect(struct writer *w, uint64_t deployment, uint32_t version)
{
    effect_write(w, &(struct effect){.kind = EFFECT_PIN_DEPLOYMENT,
                                     .deployment_id = {1, deployment},
                                     .protocol_version = version});
}

static inline void sleep_entry(struct writer *w, uint64_t wake_up_ms, uint32_t cid)
{
    struct writer p = WRITER_INIT;
    pb_write_u64(&p, 1, wake_up_ms);
    pb_write_u64(&p, 11, cid);
    entry(w, MSG_SLEEP, &p);
}

static inline void set_state_entry(struct writer *w, const char *key, const char *value)
{
    struct writer p = WRITER_INIT;
    pb_write_bytes(&p, 1, slice_cstr(key));
    put_value(&p, 3, value);
    entry(w, MSG_SET_STATE, &p);
}

static inline void keyed_entry(struct writer *w, uint16_t type, const char *key, uint32_t cid)
{
    struct writer p = WRITER_INIT;
    pb_write_bytes(&p, 1, slice_cstr(key));
    pb_write_u64(&p, 11, cid);
    entry(w, type, &p);
}

static inline void run_entry(struct writer *w, uint32_t cid)
{
    struct writer p = WRITER_INIT;
    pb_write_u64(&p, 11, cid);
    entry(w, MSG_RUN, &p);
}

static inline void run_completion_entry(struct writer *w, uint32_t cid, const char *value)
{
    struct writer p = WRITER_INIT;
    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = cid};
    struct outcome o = {.kind = OUTCOME_SUCCESS, .value = slice_cstr(value)};
    notification_write(&p, &id, &o);
    entry(w, MSG_N_RUN, &p);
}

/* Call (one_way false: result completion id cid, invocation id in cid - 1) of a keyed or unkeyed service. */
static inline void call_entry(struct writer *w, bool one_way, struct invocation_id callee,
                              enum target_kind kind, uint32_t cid, uint64_t invoke_time)
{
    struct writer p = WRITER_INIT;
    pb_write_bytes(&p, 1, SLICE_LIT("Callee"));
    pb_write_bytes(&p, 2, SLICE_LIT("handle"));
    pb_write_bytes(&p, 3, SLICE_LIT("arg"));
    struct slice header = SLICE_LIT("\x0a\x01h\x12\x01v"); /* h: v */
    if (!one_way)
        pb_write_bytes(&p, 4, header);
    if (one_way) {
        pb_write_u64(&p, 4, invoke_time);
        if (target_is_keyed(kind))
            pb_write_bytes(&p, 6, SLICE_LIT("ck"));
    } else if (target_is_keyed(kind)) {
        pb_write_bytes(&p, 5, SLICE_LIT("ck"));
    }
    pb_write_u64(&p, 10, one_way ? cid : cid - 1);
    if (one_way)
        pb_write_bytes(&p, 5, header);
    else
        pb_write_u64(&p, 11, cid);
    struct effect e = {
        .kind = EFFECT_ENTRY,
        .entry_type = one_way ? MSG_ONE_WAY_CALL : MSG_CALL,
        .has_callee = true,
        .callee = {.id = callee, .kind = kind, .completion_retention_ms = 5000, .journal_retention_ms = 4000},
        .payload = writer_slice(&p),
    };
    effect_write(w, &e);
    writer_free(&p);
}

static inline void suspend_on(struct writer *w, enum notification_id_kind kind, uint32_t index,
                              const char *name)
{
    struct writer ids = WRITER_INIT;
    struct notification_id cancel = {.kind = NOTIFICATION_SIGNAL, .index = SIGNAL_INDEX_CANCEL};
    struct notification_id id = {.kind = kind, .index = index, .name = slice_cstr(name)};
    notification_id_write(&ids, &cancel);
    notification_id_write(&ids, &id);
    effect_write(w, &(struct effect){.kind = EFFECT_SUSPEND, .payload = writer_slice(&ids)});
    writer_free(&ids);
}

static inline void apply_effects(struct fixture *fx, struct writer *w)
{
    fixture_apply(fx, CMD_INVOKER_EFFECTS, w);
}

static inline void finish(struct fixture *fx, struct invocation_id id, const char *output)
{
    struct writer w = effects_of(id);
    output_entry(&w, output);
    end_effect(&w);
    apply_effects(fx, &w);
}

/* ---- other commands ---- */

static inline void timer(struct fixture *fx, uint64_t wake_up_ms, enum timer_kind kind,
                         struct invocation_id id, uint32_t index)
{
    struct timer_key k = {.wake_up_ms = wake_up_ms, .kind = kind, .id = id, .index = index};
    struct writer w = record_writer();
    timer_key_write(&w, &k);
    fixture_apply(fx, CMD_TIMER, &w);
}

static inline void respond(struct fixture *fx, enum command_kind command, struct invocation_id caller,
                           uint32_t cid, struct outcome o)
{
    struct cmd_invocation_response c = {.caller = caller, .completion_id = cid, .outcome = o};
    struct writer w = record_writer();
    cmd_invocation_response_write(&w, &c);
    fixture_apply(fx, command, &w);
}

static inline void signal_index(struct fixture *fx, struct invocation_id id, uint32_t index, struct outcome o)
{
    struct cmd_signal c = {.id = id, .index = index, .outcome = o};
    struct writer w = record_writer();
    cmd_signal_write(&w, &c);
    fixture_apply(fx, CMD_SIGNAL, &w);
}

static inline void signal_named(struct fixture *fx, struct invocation_id id, const char *name,
                                struct outcome o)
{
    struct cmd_signal c = {.id = id, .named = true, .name = slice_cstr(name), .outcome = o};
    struct writer w = record_writer();
    cmd_signal_write(&w, &c);
    fixture_apply(fx, CMD_SIGNAL, &w);
}

static inline void terminate(struct fixture *fx, struct invocation_id id, bool kill)
{
    struct cmd_terminate c = {.id = id, .kill = kill, .reply_request_id = request(900)};
    struct writer w = record_writer();
    cmd_terminate_write(&w, &c);
    fixture_apply(fx, CMD_TERMINATE, &w);
}

static inline void operate(struct fixture *fx, enum command_kind kind, struct invocation_id id)
{
    struct cmd_target_id c = {.id = id, .reply_request_id = request(900)};
    struct writer w = record_writer();
    cmd_target_id_write(&w, &c);
    fixture_apply(fx, kind, &w);
}

static inline void resume(struct fixture *fx, struct invocation_id id, bool repin, uint64_t deployment)
{
    struct cmd_resume c = {
        .id = id, .repin = repin, .deployment_id = {1, deployment}, .reply_request_id = request(900)};
    struct writer w = record_writer();
    cmd_resume_write(&w, &c);
    fixture_apply(fx, CMD_RESUME, &w);
}

static inline void restart(struct fixture *fx, struct invocation_id id, struct invocation_id new_id,
                           uint32_t upto)
{
    struct cmd_restart_as_new c = {.id = id,
                                   .new_id = new_id,
                                   .copy_prefix_up_to = upto,
                                   .repin = true,
                                   .deployment_id = {1, 77},
                                   .reply_request_id = request(900)};
    struct writer w = record_writer();
    cmd_restart_as_new_write(&w, &c);
    fixture_apply(fx, CMD_RESTART_AS_NEW, &w);
}

static inline void attach(struct fixture *fx, struct invocation_id id, bool block, struct sink sink)
{
    struct cmd_attach c = {.id = id, .block = block, .sink = sink};
    struct writer w = record_writer();
    cmd_attach_write(&w, &c);
    fixture_apply(fx, CMD_ATTACH, &w);
}

static inline void patch_state(struct fixture *fx, const char *service, const char *key, const char *version,
                               const char *state_key, const char *value)
{
    struct writer entries = WRITER_INIT, w = record_writer();
    if (state_key) {
        write_lp(&entries, slice_cstr(state_key));
        write_lp(&entries, slice_cstr(value));
    }
    struct cmd_patch_state c = {
        .service = slice_cstr(service),
        .key = slice_cstr(key),
        .expected_version = slice_cstr(version),
        .entries = writer_slice(&entries),
    };
    cmd_patch_state_write(&w, &c);
    fixture_apply(fx, CMD_PATCH_STATE, &w);
    writer_free(&entries);
}

static inline int reply_status(struct fixture *fx)
{
    struct action *a = find_action(fx, ACTION_OPERATION_REPLY);
    assert_true(u128_eq(a->request_id, request(900)));
    return a->status;
}

static inline void assert_state(struct fixture *fx, const char *service, const char *key,
                                const char *state_key, const char *expected)
{
    struct bytes value = BYTES_EMPTY;
    bool found =
        store_state_get(fx->store, slice_cstr(service), slice_cstr(key), slice_cstr(state_key), &value);
    assert_int_equal(found, expected != NULL);
    if (expected)
        assert_true(slice_eq_cstr(bytes_slice(value), expected));
    bytes_unref(&value);
}

/* The `back`-th outbox message from the end (0: the last), its body decoded by the caller. */
static inline struct reader outbox_body(struct fixture *fx, uint64_t back, enum command_kind kind)
{
    uint64_t seq = store_vars(fx->store)->outbox_seq;
    assert_true(seq > back);
    const struct outbox_message *m = store_outbox_get(fx->store, seq - 1 - back);
    assert_non_null(m);
    assert_int_equal(m->kind, kind);
    struct record_header h;
    assert_true(record_header_get(bytes_slice(m->record), &h));
    assert_int_equal(h.kind, kind);
    assert_int_equal(h.dedup, DEDUP_FOREIGN);
    assert_int_equal(h.producer.lo, FIXTURE_PARTITION);
    assert_int_equal(h.seq_lo, seq - 1 - back);
    assert_int_equal(h.key_start, m->partition_key);
    return reader_make(record_body(bytes_slice(m->record)));
}
