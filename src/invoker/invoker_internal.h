/* What the files of the invoker share: the chain of attempts of one invocation (`struct entry`), one HTTP
 * exchange (`struct attempt`), and the precomputed facts of a deployment (`struct endpoint`). Everything
 * lives on the invoker's loop. */
#pragma once
#include "invoker/attempt_input.h"
#include "invoker/attempt_trace.h"
#include "invoker/carrier.h"
#include "invoker/identity.h"
#include "invoker/invoker.h"
#include "invoker/metrics.h"
#include "invoker/retry.h"

#define ATTEMPT_BASE_CHARGE                                                                                  \
    (32u << 10) /* reserved from the node's pool when an attempt starts (lifecycle §12.2) */
#define MESSAGE_SIZE_SLACK (256u << 10) /* spec/service-protocol.md §3.10 */
#define DRAIN_TIMEOUT_MS   5000         /* §3.9 */
#define PROPOSE_RETRY_MS   20           /* after RC_OVERLOADED / RC_NO_SPACE */
#define COPY_LIMIT         4096 /* payloads up to this size are coalesced, larger ones written by reference */
#define PENDING_WRITES_MAX 32
#define PROTOCOL_MIN       5u
#define PROTOCOL_MAX       7u

struct entry;
struct attempt;

/* ---- endpoint.c: a deployment as the invoker dials it ---- */
struct endpoint {
    uint32_t refs;
    struct hmap_node by_id;
    struct u128 id;
    uint32_t schema_version; /* last compared with */
    char *uri_text;          /* of a Lambda function: its ARN, and no `uri` and `protocol` */
    struct http_uri uri;
    enum http_client_protocol protocol;
    bool http_1_1, is_lambda, lambda_zstd;
    char *assume_role_arn;       /* NULL */
    struct bytes path_prefix;    /* without trailing slash */
    struct bytes path_query;     /* "?q" or empty */
    struct http_header *headers; /* of the registration; text in `header_text` */
    size_t n_headers;
    struct bytes header_text;
};
/* The cached endpoint of a deployment, a new reference. NULL with `err` if the stored URI or ARN cannot be
 * used.
 */
struct endpoint *endpoint_get(struct invoker *inv, const struct schema_deployment *d, struct err *err);
void endpoint_unref(struct endpoint *ep);
void endpoint_cache_clear(struct invoker *inv);
/* The cause of a failed call as users know it (spec/admin-api.md §7.3): connect errors in the words of the
 * OS. */
void dial_cause(const struct err *err, bool http_1_1, char *out, size_t cap);
/* `prefix` + suffix + query of a registered URI (§2.2): one trailing slash stripped, the query kept. */
void uri_path_write(struct writer *w, const struct http_uri *uri, struct slice suffix);
/* A POST with the headers in invoker.head; its body is open. Not open at all when too much waits already. */
struct carrier endpoint_post(struct invoker *inv, const struct endpoint *ep, struct slice path,
                             const struct http_stream_ops *ops, void *ctx);
/* Overwrites `w`: `{"content-type": "text/html", ...}`, for error messages. */
void headers_show(struct writer *w, const struct http_header *headers, size_t n);

/* ---- the invoker of a loop ---- */
struct invoker {
    struct env *env;
    struct http_client *client;
    struct lambda *lambda; /* NULL: no access to AWS Lambda (tests) */
    const struct schema_cell *cell;
    struct invoker_config config;      /* strings owned */
    struct http_header *extra_headers; /* config.additional_headers */
    struct identity *identity;         /* NULL: no signatures */
    uint64_t token_counter;
    uint64_t memory_used;
    struct metric *memory_usage, *memory_capacity; /* of all invokers of the node */
    bool memory_short;                             /* somebody waits for memory */
    struct list partitions;                        /* invoker_partition.link */
    struct list attempts;                          /* attempt.link, also detached ones */
    struct list discoveries, previews;
    struct hmap endpoints;
    struct writer scratch; /* for pieces that are copied at once */
    struct {
        struct http_header *items;
        size_t len, cap;
    } head;
    uint64_t attempts_started, attempts_failed;
    struct invoker_metrics metrics;
};
/* To the headers of the next request. */
static inline void head_push(struct invoker *inv, const struct http_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        VEC_PUSH(&inv->head, headers[i]);
}
void memory_charge(struct invoker *inv, uint64_t n);
void memory_release(struct invoker *inv, uint64_t n);
/* May one message of an invocation have this size (per-invocation-memory-limit, 0: no limit)? */
static inline bool memory_fits(const struct invoker *inv, uint64_t message_bytes)
{
    uint64_t limit = inv->config.per_invocation_memory_limit;
    return limit == 0 || message_bytes <= limit;
}
#define MEMORY_TEXT_MAX 256
/* What an invocation is told that needed more than that. Trying again would not help: not retryable. */
void memory_exhausted_text(char text[MEMORY_TEXT_MAX], const char *doing, uint64_t needed);
static inline uint64_t message_limit(const struct invoker *inv)
{
    return inv->config.message_size_limit + MESSAGE_SIZE_SLACK;
}

struct invoker_partition {
    struct list link;
    struct invoker *inv;
    uint16_t id;
    const struct invoker_ops *ops;
    void *ctx;
    struct hmap entries;
    struct list queue; /* entries in ENTRY_QUEUED, FIFO */
    uint32_t slots_used;
    struct env_task start_task;
    struct env_timer start_timer; /* until the token for the next start is there */
    bool start_granted;           /* it is there */
    struct invoker_partition_metrics metrics;
};

/* ---- why an attempt failed ---- */
enum failure_behavior { FAILURE_RETRY, FAILURE_PAUSE, FAILURE_FAIL };
struct failure {
    uint32_t code;
    const char *doc_code; /* static, "" if none */
    struct slice message, stacktrace;
    bool has_command_index, has_command_name;
    uint32_t command_index;
    uint32_t command_type; /* 0: none */
    struct slice command_name;
    bool has_delay;
    uint64_t delay_ms;
    enum failure_behavior behavior;
    bool not_retryable; /* straight to on-max-attempts */
    bool not_reached;   /* the endpoint was never called: Start field 7 does not count it (§9.4) */
};
/* The last failure, kept for introspection and events; slices point into `text`. */
struct failure_record {
    bool set;
    struct failure f;
    struct writer text;
};

/* ---- entry: the chain of attempts of one Invoked invocation ---- */
enum entry_state { ENTRY_QUEUED, ENTRY_RUNNING, ENTRY_BACKOFF };
struct entry {
    struct hmap_node by_id;
    struct list queue_link;
    struct invoker_partition *p;
    struct invocation_id id;
    enum entry_state state;
    bool has_slot;
    bool pause_requested;
    struct attempt *attempt;           /* RUNNING; in BACKOFF the previous one until its stream is over */
    struct invocation_options options; /* of the deployment in use */

    uint32_t attempts;              /* started */
    uint32_t policy_retries;        /* retries that consumed an attempt */
    uint32_t retries_since_command; /* Start field 7 */
    struct env_timer retry_timer;
    bool retry_due;
    struct failure_record last;
    bool last_emitted; /* `last` was emitted as an event and no command came since */
    uint64_t last_start_wall_ms, next_retry_wall_ms;
    struct u128 last_deployment;
    char last_server[64];
    struct writer awaiting_on; /* the future of the last AwaitingOn; empty: none, or larger than is kept */

    /* effects not yet proposed; one record per loop iteration */
    uint64_t token, batch, applied; /* batch: last number given out */
    struct writer effects;
    bool effects_terminal; /* End, Suspend, Paused or Failed is among them: nothing may follow */
    struct env_task propose_task;
    struct bytes refused; /* a record the partition did not take yet, before `effects` */
    bool refused_terminal;
    uint64_t actions;     /* in `effects`, not paid for (action-throttling) */
    bool actions_granted; /* `propose_timer` is the wait for those before them */
    struct env_timer propose_timer;
};
static inline bool entry_settled(const struct entry *e)
{
    return e->applied == e->batch && !e->refused.ptr;
}
struct entry *entry_find(struct invoker_partition *p, struct invocation_id id);
/* Forget the chain: releases the slot. `attempt` is detached and goes on draining, or is reset if it has no
 * result yet. */
void entry_free(struct entry *e);
/* Where to write the next effect; proposed at the end of this iteration. */
struct writer *entry_effects(struct entry *e);
/* Start the next attempt if its time has come (§6.5). */
void entry_maybe_retry(struct entry *e);

/* failure.c: the consequences of a failed attempt (§9.2): event, Paused, Failed, or a retry in
 * e->retry_timer. */
void entry_failed(struct entry *e, const struct failure *f);
void entry_propose_paused(struct entry *e, const struct failure *f);
void failure_record_set(struct failure_record *r, const struct failure *f);
void failure_record_free(struct failure_record *r);
bool failure_differs(const struct failure *a, const struct failure *b);
/* The members of §9.2's TransientError event, with "ty" if `type` is not NULL. */
void failure_write_json(struct writer *w, const struct failure *f, const char *type);

/* ---- attempt: one exchange with a deployment ---- */
enum attempt_phase {
    ATTEMPT_DUPLEX,      /* request open: notifications are forwarded, inactivity timer runs */
    ATTEMPT_HALF_CLOSED, /* request ended: abort timer runs */
    ATTEMPT_DECIDED,     /* result known: drain timer runs */
};
struct pending_write {
    uint64_t key_hash;
    uint64_t batch;
};
struct attempt {
    struct list link;    /* invoker.attempts */
    struct invoker *inv; /* NULL once the invoker is gone */
    struct entry *entry; /* NULL once detached */
    struct carrier stream;
    struct endpoint *ep;
    enum attempt_phase phase;
    bool head_ok;
    bool pinned;     /* by an earlier attempt, or a Pin effect was written */
    bool has_output; /* an Output is in the journal or was received */
    bool warned_trailing;
    uint32_t version;
    enum target_kind kind;
    uint32_t known_entries; /* journal length of the replay: earlier notifications are duplicates */
    uint32_t next_command_index;
    uint64_t last_activity_ms; /* monotonic */
    struct env_timer timer;
    struct frame_input input;
    uint64_t unconsumed;    /* received, window not yet given back */
    uint64_t charged;       /* from the node's memory pool, all in all */
    uint64_t queued_charge; /* of it: written and not yet taken by a slow peer */
    struct writer out;      /* frames of this iteration */
    struct env_task flush_task;
    /* run proposals to be acknowledged instead of completed (V7) */
    struct {
        uint32_t *items;
        size_t len, cap;
    } run_acks;
    /* own state writes that may not be applied yet, to know whether the store already shows what a read
     * returns */
    struct pending_write writes[PENDING_WRITES_MAX];
    uint32_t n_writes;
    bool writes_overflow;
    uint64_t last_clear_all_batch;
    struct attempt_trace *trace; /* NULL: no tracing */
    enum carrier_type carrier_type;
    bool counted_task; /* as started; the end is still to be counted */
    uint64_t started_mono_ms;
};

/* attempt_start.c: choose deployment and version, open the request, send Start and the replay (§3.1, §3.2,
 * §6.2, §10). */
void attempt_start(struct entry *e);
/* content-type and accept of a protocol version. */
struct slice attempt_media_type(uint32_t version);
/* attempt.c */
struct attempt *attempt_new(struct entry *e);
void attempt_free(struct attempt *a);
extern const struct http_stream_ops attempt_stream_ops;
void attempt_begin_timers(struct attempt *a);
void attempt_touch(struct attempt *a);
/* Write a frame on the open stream; payloads above COPY_LIMIT by reference. */
void attempt_write_frame(struct attempt *a, uint16_t type, struct bytes payload);
void attempt_flush_out(struct attempt *a);
/* Half close: what is written goes out, then END_STREAM. */
void attempt_half_close(struct attempt *a);
/* The result is known: ends the request, starts the drain. The caller has told, or tells now, the entry. */
void attempt_decided(struct attempt *a);
/* Decided + entry_failed. */
void attempt_fail(struct attempt *a, const struct failure *f);
void attempt_failf(struct attempt *a, uint32_t code, const char *doc_code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Reset the stream and detach. */
void attempt_abort(struct attempt *a);
/* Give window back for everything that was handed over. */
void attempt_consume(struct attempt *a);
/* Hand a stored notification to the SDK; the attempt fails if it is larger than an invocation may hold. */
void attempt_forward(struct attempt *a, const struct journal_entry *entry);
/* attempt_messages.c: one message from the SDK. False: the attempt is decided, ignore the rest. */
bool attempt_on_frame(void *ctx, const struct frame_header *h, struct slice payload);

/* ---- attempt_commands.c: preconditions (§7) ---- */
struct command_context {
    const struct schema *schema;
    const struct schema_defaults *defaults;
    struct env *env;
    enum target_kind kind;
    bool scopes, scoped_objects; /* switched on */
};
/* Decode a command completely, check it against its context, and resolve what must be stable (§7.1) into
 * `effect`. RC_OK; RC_INVALID: a protocol violation; RC_CONFLICT: a failed precondition. The reason is in
 * `err`, the documentation code in `*doc_code`. */
enum rc command_prepare(const struct command_context *ctx, uint16_t type, struct slice payload,
                        struct command_view *c, struct effect *effect, const char **doc_code,
                        struct err *err);

/* ---- discovery.c, preview.c ---- */
void discovery_cancel_all(struct invoker *inv);
void preview_cancel_all(struct invoker *inv); /* preview.c */
/* extra headers: identity and additional-request-headers of the configuration. `jwt` is scratch that must
 * outlive the call. */
size_t signature_headers(struct invoker *inv, struct slice audience, struct slice subject, struct writer *jwt,
                         struct http_header out[2]);
