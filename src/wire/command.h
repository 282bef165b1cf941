/* Log records: the inputs of the partition state machine (spec/invocation-lifecycle.md §3). The encoding is
 * private to this server and versioned by the header's first byte.
 *
 * A record is one buffer: a header of fixed size that the proposing leader fills in place, then the body.
 * Whoever builds a command (ingress, invoker, another partition's state machine) reserves the header's room,
 * so that a payload is copied once, into the record, and never again (principle 4): the state machine keeps
 * references into the record's buffer.
 *
 * Decoders validate everything (spec/service-protocol.md §13: whatever enters the log must be decodable by
 * every replica): they return false on any malformed input and never crash. */
#pragma once
#include "base/codec.h"
#include "wire/id.h"

enum command_kind {
    CMD_ANNOUNCE_LEADER = 1,
    CMD_VERSION_BARRIER = 2,
    CMD_PARTITION_DURABILITY = 3,
    CMD_PATCH_STATE = 4,
    CMD_TERMINATE = 5, /* kill or cancel */
    CMD_PURGE = 6,
    CMD_PURGE_JOURNAL = 7,
    CMD_INVOKE = 8,
    CMD_TRUNCATE_OUTBOX = 9,
    CMD_PROXY_THROUGH = 10,
    CMD_ATTACH = 11,
    CMD_RESUME = 12,
    CMD_RESTART_AS_NEW = 13,
    CMD_INVOKER_EFFECTS = 14, /* one or more effects of one attempt, in stream order */
    CMD_TIMER = 15,
    CMD_INVOCATION_RESPONSE = 17,
    CMD_OUTPUT_RESPONSE = 18,
    CMD_SIGNAL = 19,
    CMD_RULE_BOOK = 21,
    CMD_ADMIT = 22,       /* go on with what the limits of scopes let start; no body */
    CMD_PAUSE_QUEUE = 23, /* of a scope: cmd_target_id with the queue's id */
    CMD_RESUME_QUEUE = 24,
    CMD_PAUSE = 25,
    CMD_FORGET_PRODUCERS = 26,
};
const char *command_kind_name(enum command_kind kind); /* "Invoke", ... for logs and metrics */

enum dedup_kind {
    DEDUP_NONE = 0,
    DEDUP_SELF = 1,     /* seq_hi = leader epoch, seq_lo = n */
    DEDUP_FOREIGN = 2,  /* producer.lo = source partition id, seq_lo = outbox index */
    DEDUP_PRODUCER = 3, /* producer = 128-bit id, seq_lo = sequence (Kafka offset), seq_hi = producer_owner */
};
/* For CMD_FORGET_PRODUCERS: the subscription, shortened, and the version of a schema in which it stood. The
 * leader that takes the record fills it in. 0: not said (records of older builds). */
uint32_t producer_tag(struct u128 subscription); /* never 0 */
static inline uint64_t producer_owner(uint32_t schema_version, struct u128 subscription)
{
    return (uint64_t)schema_version << 32 | producer_tag(subscription);
}

#define RECORD_VERSION     1
#define RECORD_HEADER_SIZE 64
struct record_header {
    uint8_t version, kind, dedup;
    uint64_t created_at_ms; /* proposer's clock, never decreasing within a log: the state machine's "now" */
    uint64_t key_start,
        key_end; /* partition keys the record concerns, inclusive; 0..2^64-1 for partition-wide commands */
    struct u128 producer;
    uint64_t seq_hi, seq_lo;
};
/* Write the header into the first RECORD_HEADER_SIZE bytes of a record that is not shared yet. */
void record_header_put(uint8_t *record, const struct record_header *h);
bool record_header_get(struct slice record, struct record_header *out);
static inline struct slice record_body(struct slice record)
{
    return slice_sub(record, RECORD_HEADER_SIZE, record.len - RECORD_HEADER_SIZE);
}
/* Begin a record: reserves the header room (zeroed) in an empty writer. */
void record_begin(struct writer *w, size_t body_size_hint);

/* ---- outcome of an invocation, a promise, a signal ---- */
enum outcome_kind { OUTCOME_NONE = 0, OUTCOME_VOID = 1, OUTCOME_SUCCESS = 2, OUTCOME_FAILURE = 3 };
struct outcome {
    enum outcome_kind kind;
    struct slice value; /* SUCCESS: content bytes. FAILURE: an encoded service-protocol Failure {1 code, 2
                           message, 3 metadata*} */
    struct slice stacktrace; /* FAILURE made from an attempt's error: may be non-empty */
};
void outcome_write(struct writer *w, const struct outcome *o);
bool outcome_read(struct reader *r, struct outcome *out);
/* Encode a Failure without metadata at the end of `w`; returns the slice only valid until `w` grows. */
void failure_write(struct writer *w, uint32_t code, struct slice message);
/* Codes have 16 bits; others are 500 (spec/service-protocol.md §9.1). */
static inline uint32_t failure_code(uint32_t code)
{
    return code > UINT16_MAX ? 500 : code;
}
struct failure_view {
    uint32_t code; /* in range, whatever is encoded */
    struct slice message;
    struct slice metadata; /* the encoded Failure again, to iterate field 3 */
};
/* "Internal", "Not found", ... as failures are printed (spec/errors.md); NULL: the code has no name. */
const char *failure_code_name(uint32_t code);
bool failure_parse(struct slice encoded, struct failure_view *out);
/* Iterate metadata pairs: start with *pos = 0. */
bool failure_metadata_next(struct slice encoded, size_t *pos, struct slice *key, struct slice *value);

/* ---- targets ---- */
enum target_kind {
    TARGET_SERVICE = 0,
    TARGET_OBJECT_EXCLUSIVE = 1,
    TARGET_OBJECT_SHARED = 2,
    TARGET_WORKFLOW_RUN = 3,
    TARGET_WORKFLOW_SHARED = 4,
};
static inline bool target_is_keyed(enum target_kind k)
{
    return k != TARGET_SERVICE;
}
static inline bool target_is_workflow(enum target_kind k)
{
    return k == TARGET_WORKFLOW_RUN || k == TARGET_WORKFLOW_SHARED;
}
static inline bool target_writes_state(enum target_kind k)
{
    return k == TARGET_OBJECT_EXCLUSIVE || k == TARGET_WORKFLOW_RUN;
}
struct target {
    enum target_kind kind;
    struct slice service, handler;
    struct slice key;   /* ptr NULL if unkeyed; may be empty */
    struct slice scope; /* ptr NULL if none */
};
/* "Svc/handler", "Obj/key/handler". */
void target_format(struct writer *w, const struct target *t);

/* ---- where results go ---- */
enum sink_kind { SINK_NONE = 0, SINK_INVOCATION = 1, SINK_INGRESS = 2 };
struct sink {
    enum sink_kind kind;
    struct invocation_id caller; /* SINK_INVOCATION */
    uint32_t completion_id;      /* SINK_INVOCATION */
    struct u128 request_id;      /* SINK_INGRESS: waiting RPC, see partition/rpc.h */
};

enum source_kind {
    SOURCE_INGRESS = 0,
    SOURCE_SUBSCRIPTION = 1,
    SOURCE_SERVICE = 2,
    SOURCE_RESTART = 3,
    SOURCE_INTERNAL = 4
};

/* ---- Invoke: ServiceInvocation (spec/invocation-lifecycle.md §4.2) ---- */
struct service_invocation {
    struct invocation_id id;
    struct target target;
    struct slice input; /* an encoded InputCommandMessage {1 headers*, 14 value{1 content}}: journal entry 0,
                           verbatim */
    enum source_kind source;
    struct u128 source_request_id;  /* INGRESS; also subscription id (SUBSCRIPTION) */
    struct invocation_id source_id; /* SERVICE: caller; RESTART: original */
    struct target source_target;    /* SERVICE: caller's target */
    uint64_t execution_time_ms;     /* 0: now */
    uint64_t completion_retention_ms, journal_retention_ms;
    struct slice idempotency_key; /* ptr NULL if none */
    struct slice limit_key;       /* ptr NULL if none */
    struct slice traceparent;     /* trace context (trace/context.h); empty if none */
    struct slice created_using;   /* version text of the proposer */
    struct sink response_sink;
    bool notify_submission; /* SINK_INGRESS submit notification to source_request_id */
};
void service_invocation_write(struct writer *w, const struct service_invocation *si);
/* Everything but the input, which comes last: the caller goes on to write exactly `input_len` bytes of it in
 * place with input_write_header and input_write_value, so that a payload is copied once. `si->input` is not
 * looked at. */
void service_invocation_write_head(struct writer *w, const struct service_invocation *si, size_t input_len);
bool service_invocation_read(struct reader *r, struct service_invocation *out);

/* ---- other bodies; each has <name>_write and <name>_read ---- */
struct cmd_announce_leader {
    uint32_t node_id, node_generation;
    uint64_t epoch;
    uint64_t key_start, key_end;
    struct slice configuration; /* opaque placement document, empty on a single node */
};
struct cmd_version_barrier {
    struct slice min_version, reason;
    uint64_t features; /* bit set, bit 1 = journal_v2 */
};
struct cmd_partition_durability {
    uint64_t durable_lsn, at_ms;
};
struct cmd_patch_state {
    struct slice service, key, scope;
    struct slice expected_version; /* ptr NULL: unconditional */
    struct slice entries;          /* repeated {lp key, lp value} */
};
struct cmd_terminate {
    struct invocation_id id;
    bool kill;                    /* else cancel */
    struct u128 reply_request_id; /* zero: none */
};
struct cmd_target_id { /* PURGE, PURGE_JOURNAL, PAUSE */
    struct invocation_id id;
    struct u128 reply_request_id;
};
struct cmd_truncate_outbox {
    uint64_t index; /* delete rows <= index */
};
enum attach_query_kind { ATTACH_BY_ID = 0 };
struct cmd_attach {
    struct invocation_id id; /* derived by the proposer for workflow and idempotency targets */
    bool block;
    struct sink sink;
};
struct cmd_resume {
    struct invocation_id id;
    bool repin;
    struct u128 deployment_id; /* when repin */
    struct u128 reply_request_id;
};
struct cmd_restart_as_new {
    struct invocation_id id, new_id;
    uint32_t copy_prefix_up_to; /* journal index, inclusive */
    bool repin;
    struct u128 deployment_id;
    struct u128 reply_request_id;
    struct slice created_using;
};
enum timer_kind { TIMER_INVOKE = 0, TIMER_SLEEP = 1, TIMER_CLEANUP = 2, TIMER_RETRY = 3 };
struct timer_key { /* ordered by wake_up_ms, kind, id, index */
    uint64_t wake_up_ms;
    enum timer_kind kind;
    struct invocation_id id;
    uint32_t index; /* SLEEP: completion id */
};
int timer_key_cmp(const struct timer_key *a, const struct timer_key *b);
struct cmd_invocation_response { /* also OUTPUT_RESPONSE */
    struct invocation_id caller;
    uint32_t completion_id;
    struct outcome outcome; /* FAILURE, SUCCESS; VOID for a GetInvocationOutput that is not ready */
};
struct cmd_signal {
    struct invocation_id id;
    bool named;
    uint32_t index;    /* !named; 1 = cancel */
    struct slice name; /* named */
    struct outcome outcome;
};
#define SIGNAL_INDEX_CANCEL 1u
/* The subscription with this tag was deleted: it does not stand in the schema of this version. What is known
 * of its producers is removed, and leaders whose schema is older take no more records of subscriptions. */
struct cmd_forget_producers {
    uint32_t tag, schema_version;
};
struct cmd_rule_book { /* the rules that limit something, in ascending order of patterns */
    uint32_t version, n_rules;
    struct slice rules; /* repeated {lp pattern, varint limit} */
};

void cmd_announce_leader_write(struct writer *w, const struct cmd_announce_leader *c);
bool cmd_announce_leader_read(struct reader *r, struct cmd_announce_leader *out);
void cmd_version_barrier_write(struct writer *w, const struct cmd_version_barrier *c);
bool cmd_version_barrier_read(struct reader *r, struct cmd_version_barrier *out);
void cmd_partition_durability_write(struct writer *w, const struct cmd_partition_durability *c);
bool cmd_partition_durability_read(struct reader *r, struct cmd_partition_durability *out);
void cmd_patch_state_write(struct writer *w, const struct cmd_patch_state *c);
bool cmd_patch_state_read(struct reader *r, struct cmd_patch_state *out); /* validates `entries` too */
void cmd_terminate_write(struct writer *w, const struct cmd_terminate *c);
bool cmd_terminate_read(struct reader *r, struct cmd_terminate *out);
void cmd_target_id_write(struct writer *w, const struct cmd_target_id *c);
bool cmd_target_id_read(struct reader *r, struct cmd_target_id *out);
void cmd_truncate_outbox_write(struct writer *w, const struct cmd_truncate_outbox *c);
bool cmd_truncate_outbox_read(struct reader *r, struct cmd_truncate_outbox *out);
void cmd_attach_write(struct writer *w, const struct cmd_attach *c);
bool cmd_attach_read(struct reader *r, struct cmd_attach *out);
void cmd_resume_write(struct writer *w, const struct cmd_resume *c);
bool cmd_resume_read(struct reader *r, struct cmd_resume *out);
void cmd_restart_as_new_write(struct writer *w, const struct cmd_restart_as_new *c);
bool cmd_restart_as_new_read(struct reader *r, struct cmd_restart_as_new *out);
void timer_key_write(struct writer *w, const struct timer_key *k);
bool timer_key_read(struct reader *r, struct timer_key *out);
void cmd_invocation_response_write(struct writer *w, const struct cmd_invocation_response *c);
bool cmd_invocation_response_read(struct reader *r, struct cmd_invocation_response *out);
void cmd_forget_producers_write(struct writer *w, const struct cmd_forget_producers *c);
bool cmd_forget_producers_read(struct reader *r, struct cmd_forget_producers *out);
void cmd_rule_book_write(struct writer *w, const struct cmd_rule_book *c);
void cmd_rule_book_add(struct writer *rules, struct slice pattern, uint32_t limit);
bool cmd_rule_book_read(struct reader *r, struct cmd_rule_book *out); /* validates `rules` too */
/* Takes the first rule off `c`; false at the end. */
bool cmd_rule_book_next(struct cmd_rule_book *c, struct slice *pattern, uint32_t *limit);
void cmd_signal_write(struct writer *w, const struct cmd_signal *c);
bool cmd_signal_read(struct reader *r, struct cmd_signal *out);

/* ---- InvokerEffects: what an attempt said, several effects per record ----
 * body := id, u64 attempt token, u64 batch number, effect*. Token and batch number are only echoed to the
 * leader's invoker. */
enum effect_kind {
    EFFECT_PIN_DEPLOYMENT = 1,
    EFFECT_ENTRY = 2,        /* a command or a run completion, verbatim, plus what the proposer resolved */
    EFFECT_EVENT = 3,        /* journal event, JSON */
    EFFECT_SUSPEND = 4,      /* V5/V6: any of these notification ids */
    EFFECT_SUSPEND_TREE = 5, /* V7: a Future tree, encoded protobuf */
    EFFECT_PAUSED = 6,       /* event JSON */
    EFFECT_END = 7,
    EFFECT_FAILED = 8, /* Failure + stack trace */
    EFFECT_YIELD = 9,  /* of a scoped invocation: it backs off for long and gives its slot back meanwhile */
};
/* What the invoker resolved for a Call or OneWayCall before proposing (spec/service-protocol.md §7.1). The
 * callee's request itself is taken from the command's payload when applied. */
struct callee {
    struct invocation_id id;
    enum target_kind kind;
    uint64_t completion_retention_ms, journal_retention_ms;
    struct slice trace_context; /* empty: the caller's stored one is passed on */
};
/* A notification id: completion id, signal index or signal name. */
enum notification_id_kind {
    NOTIFICATION_COMPLETION = 0,
    NOTIFICATION_SIGNAL = 1,
    NOTIFICATION_NAMED_SIGNAL = 2
};
struct notification_id {
    enum notification_id_kind kind;
    uint32_t index;
    struct slice name;
};
struct effect {
    enum effect_kind kind;
    /* PIN_DEPLOYMENT */
    struct u128 deployment_id;
    uint32_t protocol_version;
    /* ENTRY */
    uint16_t entry_type; /* service-protocol message type id */
    bool ack;            /* the SDK asked for an acknowledgement */
    bool has_callee;
    bool value_from_state; /* GetEagerState: `payload` carries no value; the state machine takes it from the
                            * object's state, so that large values are not written to the log again */
    struct callee callee;
    struct invocation_id attach_id; /* AttachInvocation, GetInvocationOutput: target derived by the invoker */
    struct slice payload; /* ENTRY: protobuf body; EVENT, PAUSED: JSON; SUSPEND_TREE: encoded Future; SUSPEND:
                             repeated notification ids (see below) */
    /* FAILED */
    struct outcome failure;
    /* YIELD: when to go on, and how often was tried: for the next attempt */
    uint64_t resume_at_ms;
    uint32_t retries, retries_since_command;
};
void effects_begin(struct writer *w, struct invocation_id id, uint64_t token, uint64_t batch);
void effect_write(struct writer *w, const struct effect *e);
struct effects_head {
    struct invocation_id id;
    uint64_t token, batch;
};
bool effects_begin_read(struct reader *r, struct effects_head *out);
/* Next effect; false at the end or on malformed input (r->failed). */
bool effect_read(struct reader *r, struct effect *out);
void notification_id_write(struct writer *w, const struct notification_id *id);
bool notification_id_read(struct reader *r, struct notification_id *out);
