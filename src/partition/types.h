/* The objects of a partition: what the state machine mutates and the store persists
 * (spec/invocation-lifecycle.md §4).
 *
 * Ownership: every object belongs to its partition_store, hence to one loop. Byte strings inside are
 * references into the records that brought them (principle 4). */
#pragma once
#include "base/containers.h"
#include "bifrost/log.h"
#include "wire/command.h"
#include "wire/service_protocol.h"

enum invocation_status {
    INV_FREE = 0, /* no record; never stored */
    INV_SCHEDULED,
    INV_INBOXED,
    INV_INVOKED,
    INV_SUSPENDED,
    INV_PAUSED,
    INV_COMPLETED,
    INV_HELD, /* could run, but the limits of its scope hold it back: no attempt */
};
const char *invocation_status_name(enum invocation_status s); /* "scheduled", ... */

/* One journal entry: a command or a notification. `payload` is the protobuf message body, verbatim. */
struct journal_entry {
    uint16_t type; /* enum message_type */
    uint8_t
        result; /* notifications: enum outcome_kind of the result (OUTCOME_SUCCESS also for ids and keys) */
    uint8_t notification_kind; /* notifications: enum notification_id_kind */
    uint32_t completion_id;    /* commands: field 11. notifications: completion id or signal index */
    uint32_t completion_id2;   /* Call, OneWayCall: invocation-id completion id */
    uint64_t appended_at_ms;
    struct invocation_id callee; /* Call, OneWayCall: the child (for kill); Attach, GetOutput: the target */
    bool has_callee;
    struct bytes payload;
    struct slice signal_name; /* named signals: inside payload */

    /* Private to the store: payload[blob_at, blob_at + blob_len) is the content of blob `blob_id` (0: none).
     */
    uint64_t blob_id;
    uint32_t blob_at, blob_len;
};

struct journal_event {
    uint64_t at_ms;
    lsn_t lsn;
    uint32_t after_entry_index;
    struct bytes json; /* {"ty":"TransientError",...} */
};

/* What a suspended invocation waits for: a flat any-of set (V5, V6) or a Future tree (V7, encoded). */
struct awaiting {
    bool is_tree;
    struct bytes encoded; /* flat: repeated notification ids (wire/command.h); tree: protobuf Future */
};
/* As a JSON document (spec/sql.md §5.4). Nothing here fails: what cannot be decoded is left out. */
void awaiting_write_json(struct writer *w, const struct awaiting *a);

struct invocation_timestamps {
    uint64_t created_at, modified_at, inboxed_at, scheduled_at, running_at, completed_at; /* ms, 0 = never */
};

/* The name of an object or workflow in the store's tables. Those of a scope stand under their service's name,
 * NUL (which no service name contains), scope; the others cost nothing. */
struct object_name {
    struct slice service, key;
    struct writer room;
};
struct object_name object_name_make(struct slice service, struct slice key, struct slice scope);
static inline struct object_name object_name_of(const struct target *t)
{
    if (t->scope.ptr)
        return object_name_make(t->service, t->key, t->scope);
    return (struct object_name){.service = t->service, .key = t->key};
}
static inline void object_name_free(struct object_name *n)
{
    writer_free(&n->room);
}
/* Service and scope (ptr NULL: none) of a name's `service`. */
void object_name_split(struct slice name, struct slice *service, struct slice *scope);

/* The way of a scoped invocation through its queue (spec/sql.md §3.13); all zero without a scope. */
struct queue_history {
    uint32_t attempts; /* times it was started from the queue; those that the invoker repeats are not */
    uint32_t errors;   /* times it gave its slot back to back off */
    uint32_t pauses, suspensions;
    uint64_t first_attempt_at, latest_attempt_at, moved_at; /* ms, 0 = never; moved: to another stage */
    bool backing_off;                                       /* has not been started since the last error */
};
enum queue_stage { STAGE_NONE, STAGE_INBOX, STAGE_RUNNING, STAGE_SUSPENDED, STAGE_PAUSED, STAGE_FINISHED };
enum queue_stage queue_stage_of(enum invocation_status s);

/* Private to the store: where an object is between memory and the backend (store_internal.h). */
struct write_back {
    struct list link;    /* on the owner's dirty, flushing or clean list */
    uint64_t generation; /* last batch that contains it */
    uint8_t flags;
};
struct journal_index;

/* An invocation in any status but Free. `si` and its slices point into `origin` (the encoded
 * ServiceInvocation of the Invoke record). */
struct invocation {
    struct invocation_id id;
    enum invocation_status status;
    struct bytes origin;
    struct service_invocation si;
    struct {
        struct sink *items;
        size_t len, cap;
    } sinks; /* who gets the result */
    struct invocation_timestamps at;
    uint64_t inbox_seq;       /* INBOXED; with a scope: its place among all */
    struct awaiting awaiting; /* SUSPENDED */
    /* HELD: resume_at_ms 0: it waits for a slot; else it backs off without one until then (TIMER_RETRY). The
     * counts are of the attempts before, while the invoker does not know them. */
    struct {
        uint64_t resume_at_ms;
        uint32_t retries, retries_since_command;
    } backoff;

    struct queue_history queue;

    bool pinned; /* in flight and completed */
    struct u128 deployment_id;
    uint32_t protocol_version;
    bool has_random_seed; /* only copies made by restart-as-new store one */
    uint64_t random_seed;

    struct {
        struct journal_entry *items;
        size_t len, cap;
    } journal;           /* entry 0 = Input */
    uint32_t commands;   /* commands among the entries */
    bool journal_purged; /* completed, journal dropped */
    struct {
        struct journal_event *items;
        size_t len, cap;
    } events;

    /* COMPLETED: result; `result_bytes` owns what the slices of `result` point to */
    struct outcome result;
    struct bytes result_bytes;

    bool quarantined; /* applying a record met an impossible state (B2); visible as paused with a reason */

    /* Private to the store. */
    struct hmap_node by_id;
    struct write_back wb;
    uint32_t store_flags;
    uint32_t persisted_entries, persisted_events;
    uint32_t settled_entries, settled_events; /* persisted before the batch that is being written */
    enum invocation_status live_row; /* status in the persisted index of live invocations, INV_FREE: no row */
    size_t journal_bytes, charged_bytes;
    struct journal_index *index;
};

/* A message waiting to be appended to another partition's log: a whole record (header room + body), see
 * wire/command.h. */
struct outbox_message {
    uint64_t index;
    uint64_t partition_key; /* of the destination */
    enum command_kind kind;
    struct bytes record;
};

enum inbox_entry_kind { INBOX_INVOCATION = 0, INBOX_STATE_PATCH = 1 };
struct inbox_entry {
    uint64_t seq;
    enum inbox_entry_kind kind;
    struct invocation_id id; /* INBOX_INVOCATION */
    struct bytes patch;      /* INBOX_STATE_PATCH: encoded cmd_patch_state */
};

/* (invocation, completion id) waiting for a promise. */
struct promise_listener {
    struct invocation_id id;
    uint32_t completion_id;
};

/* State machine variables of the partition, one persisted value. */
struct partition_vars {
    lsn_t applied_lsn;
    uint64_t applied_time_ms; /* created_at of the last applied record: expiry is judged by it */
    uint64_t inbox_seq;       /* next */
    uint64_t outbox_seq;      /* next; rows are outbox_head..outbox_seq-1 */
    uint64_t outbox_head;
    uint64_t leader_epoch; /* of the last AnnounceLeader */
    uint32_t leader_node_id, leader_node_generation;
    uint64_t durable_lsn; /* UpdatePartitionDurability */
    uint64_t features;
    /* A leader whose schema is older takes no records of subscriptions (processor_set_subscriptions). */
    uint32_t subscriptions_version;
    uint64_t state_hash; /* chained over every mutation: equal on replicas at equal LSN */
};
