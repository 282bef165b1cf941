/* Service protocol messages (spec/service-protocol.md §4, §5), versions 5 to 7. Zero-copy: views borrow the
 * received bytes, and the payload of an entry is stored and replayed verbatim. */
#pragma once
#include "wire/command.h"
#include "wire/pb.h"

#define FRAME_HEADER_SIZE 8
#define FRAME_FLAG_ACK    0x80u

enum message_type {
    MSG_START = 0x0000,
    MSG_SUSPENSION = 0x0001,
    MSG_ERROR = 0x0002,
    MSG_END = 0x0003,
    MSG_COMMAND_ACK = 0x0004,
    MSG_PROPOSE_RUN = 0x0005,
    MSG_AWAITING_ON = 0x0006,
    MSG_PROPOSE_RUN_ACK = 0x0007,
    MSG_INPUT = 0x0400,
    MSG_OUTPUT = 0x0401,
    MSG_GET_LAZY_STATE = 0x0402,
    MSG_SET_STATE = 0x0403,
    MSG_CLEAR_STATE = 0x0404,
    MSG_CLEAR_ALL_STATE = 0x0405,
    MSG_GET_LAZY_STATE_KEYS = 0x0406,
    MSG_GET_EAGER_STATE = 0x0407,
    MSG_GET_EAGER_STATE_KEYS = 0x0408,
    MSG_GET_PROMISE = 0x0409,
    MSG_PEEK_PROMISE = 0x040A,
    MSG_COMPLETE_PROMISE = 0x040B,
    MSG_SLEEP = 0x040C,
    MSG_CALL = 0x040D,
    MSG_ONE_WAY_CALL = 0x040E,
    MSG_SEND_SIGNAL = 0x0410,
    MSG_RUN = 0x0411,
    MSG_ATTACH = 0x0412,
    MSG_GET_OUTPUT = 0x0413,
    MSG_COMPLETE_AWAKEABLE = 0x0414,
    MSG_N_GET_LAZY_STATE = 0x8002,
    MSG_N_GET_LAZY_STATE_KEYS = 0x8006,
    MSG_N_GET_PROMISE = 0x8009,
    MSG_N_PEEK_PROMISE = 0x800A,
    MSG_N_COMPLETE_PROMISE = 0x800B,
    MSG_N_SLEEP = 0x800C,
    MSG_N_CALL = 0x800D,
    MSG_N_CALL_INVOCATION_ID = 0x800E,
    MSG_N_RUN = 0x8011,
    MSG_N_ATTACH = 0x8012,
    MSG_N_GET_OUTPUT = 0x8013,
    MSG_N_SIGNAL = 0xFBFF,
};
static inline bool message_is_command(uint16_t t)
{
    return t >= 0x0400 && t <= 0x0414 && t != 0x040F;
}
static inline bool message_is_notification(uint16_t t)
{
    return t >= 0x8000;
}
/* "Call", "Sleep", ... as SQL and error texts print the command (without the "Command: " prefix); NULL if
 * unknown. */
const char *message_type_name(uint16_t type);

struct frame_header {
    uint16_t type;
    bool ack;
    uint32_t length;
};
void frame_header_put(uint8_t out[FRAME_HEADER_SIZE], uint16_t type, uint32_t length);
struct frame_header frame_header_get(const uint8_t in[FRAME_HEADER_SIZE]);

/* A decoded command: every field any command has; which are set depends on the type. Decoding validates fully
 * per §13: presence of oneofs, UTF-8 of names and keys, ids. */
struct command_view {
    uint16_t type;
    struct slice name;             /* 12: label */
    struct slice key;              /* state key, promise key, or target key of calls */
    struct slice service, handler; /* calls */
    struct slice parameter;        /* calls */
    struct slice payload;          /* the whole message, to iterate headers */
    uint32_t header_field;         /* field number of headers: Input 1, Call 4, OneWayCall 5 */
    bool has_idempotency_key, has_scope, has_limit_key;
    struct slice idempotency_key, scope, limit_key;
    uint64_t time_ms;                     /* Sleep wake_up_time, OneWayCall invoke_time */
    uint32_t completion_id;               /* field 11; 0 if none */
    uint32_t invocation_id_completion_id; /* calls: field 10 */
    struct outcome
        value; /* Output, SetState, CompletePromise, CompleteAwakeable, SendSignal, GetEagerState */
    struct slice target_id; /* SendSignal target, CompleteAwakeable id, Attach/GetOutput invocation_id */
    bool signal_named;
    uint32_t signal_index;
    struct slice signal_name;
    /* Attach / GetOutput targets */
    enum {
        ATTACH_TARGET_NONE,
        ATTACH_TARGET_ID,
        ATTACH_TARGET_IDEMPOTENT,
        ATTACH_TARGET_WORKFLOW
    } attach_kind;
    struct slice attach_service, attach_key, attach_handler,
        attach_idempotency_key; /* attach_key.ptr NULL if absent */
};
/* RC_INVALID with a sentence when malformed or incomplete. `type` must be a command. */
enum rc command_decode(uint16_t type, struct slice payload, struct command_view *out, struct err *err);
/* The key of a GetEagerState whose value was left out (EFFECT_ENTRY with value_from_state). */
bool eager_state_key(struct slice payload, struct slice *key);
/* Is this a complete InputCommandMessage? */
bool input_valid(struct slice payload);
/* Iterate Header {1 key, 2 value} of a command: start with *pos = 0. */
bool command_header_next(const struct command_view *c, size_t *pos, struct slice *key, struct slice *value);

struct error_view {
    uint32_t code;
    struct slice message, stacktrace;
    bool has_command_index, has_command_name, has_command_type, has_next_retry_delay;
    uint32_t command_index, command_type;
    struct slice command_name;
    uint64_t next_retry_delay_ms;
    uint32_t behavior; /* 0 retry, 1 pause, 2 fail */
};
bool error_decode(struct slice payload, struct error_view *out);
struct propose_run_view {
    uint32_t completion_id;
    struct outcome outcome; /* NONE: it lacks a result */
};
bool propose_run_decode(struct slice payload, struct propose_run_view *out);
/* Suspension of V5/V6: writes notification ids (wire/command.h) to `ids`; *count of them. */
bool suspension_decode(struct slice payload, struct writer *ids, size_t *count);
/* V7: the encoded Future (field 4 of Suspension, field 1 of AwaitingOn). Checks leaves, types and depth:
 * RC_INVALID, RC_TOO_LARGE. */
enum rc future_decode(struct slice payload, uint32_t field, uint32_t max_depth, struct slice *future);
/* The same for a Future by itself. A larger `max_depth` is lowered to the hard limit, which bounds the
 * recursion. */
#define FUTURE_DEPTH_HARD_LIMIT 4096u
enum rc future_validate(struct slice future, uint32_t max_depth);

struct start_message {
    struct invocation_id id;
    uint32_t known_entries;
    bool partial_state;
    struct slice key;
    uint32_t retry_count;
    uint64_t duration_since_last_entry_ms;
    uint64_t random_seed;
    struct slice scope, limit_key, idempotency_key; /* from protocol 7 on; ptr NULL: left out */
};
/* Start is written as a frame: header (8 bytes, length patched by start_finish), fields before the state map;
 * then any number of start_state; then start_finish. Field order ascending (4 before 5..9): start_begin
 * writes 1-3. The writer must be empty at start_begin; frames that follow may be appended after start_finish.
 */
void start_begin(struct writer *w, const struct start_message *m);
void start_state(struct writer *w, struct slice key, struct slice value);
void start_finish(struct writer *w, const struct start_message *m);

/* Notification payloads: id oneof and result (spec §5.4). */
void notification_write(struct writer *w, const struct notification_id *id, const struct outcome *o);
void notification_invocation_id_write(struct writer *w, uint32_t completion_id, struct invocation_id id);
/* `keys`: repeated lp strings. */
void notification_state_keys_write(struct writer *w, uint32_t completion_id, struct slice keys);
struct notification_view {
    struct notification_id id;
    struct outcome outcome; /* NONE for invocation id and state keys results */
    bool has_other_result;  /* fields 16, 17 */
};
bool notification_decode(struct slice payload, struct notification_view *out);
/* The notification type that completes a command with result_completion_id, e.g. MSG_CALL -> MSG_N_CALL; 0 if
 * none. */
uint16_t notification_type_for(uint16_t command_type);

/* InputCommandMessage {1 headers*, 14 value}: for ingress and for callees. */
void input_write_header(struct writer *w, struct slice name, struct slice value);
void input_write_value(struct writer *w, struct slice content); /* after all headers */
/* The bytes that these two will write, to announce the size beforehand (service_invocation_write_head). */
size_t input_header_size(struct slice name, struct slice value);
size_t input_value_size(size_t content_len);
