/* Messages between the replicated log's cores (spec/cluster.md §5.5): sequencers, sealers, repairers and
 * readers ask, log-servers answer. Private to this server and versioned by the first byte; nodes of
 * neighbouring versions must understand each other.
 *
 * Every message, in both directions, carries what its sender knows about the tail of the loglet, as two
 * watermarks (trap TR-1). Receivers merge each by maximum and never one into the other:
 *
 *   committed_tail  all offsets below are committed by the sequencer: part of the log for ever, may be
 * delivered repaired_tail   all offsets below are on a write quorum because a sealer repaired them. Whether
 * they belong to the log is decided by the chain alone; they justify holes and nothing else
 *
 * A message is a plain struct that borrows its record bodies; a transport within the process passes it as it
 * is. Encoded: a head with everything but the bodies, then the bodies one after the other, so that a
 * transport can send them from where they lie (principle 4). */
#pragma once
#include "base/codec.h"
#include "wire/node_ref.h"

#define LOGLET_MESSAGE_VERSION 1
#define LOGLET_RECORDS_MAX     1024 /* records in one message */
#define LOGLET_RANGES_MAX      1024 /* ranges in one digest */
#define LOGLET_OFFSET_MAX      ((uint64_t)1 << 31)

enum loglet_message_kind {
    LOGLET_STORE = 1,     /* sequencer, first_offset, flags, timeout_ms, records */
    LOGLET_STORED,        /* a reply: see below */
    LOGLET_RELEASE,       /* nothing more; has no reply */
    LOGLET_SEAL,          /* sequencer */
    LOGLET_SEALED,        /* reply */
    LOGLET_GET_INFO,      /* nothing more */
    LOGLET_INFO,          /* reply */
    LOGLET_GET_RECORDS,   /* from, to, max_bytes */
    LOGLET_RECORDS,       /* reply; first_offset, records, next_offset */
    LOGLET_GET_DIGEST,    /* from, to */
    LOGLET_DIGEST,        /* reply; next_offset, ranges */
    LOGLET_WAIT_FOR_TAIL, /* from, timeout_ms: answer when committed_tail >= from, or sealed, or time is up */
    LOGLET_TAIL,          /* reply */
    LOGLET_TRIM,          /* to */
    LOGLET_TRIMMED,       /* reply */
    LOGLET_MESSAGE_KINDS
};
const char *loglet_message_kind_name(enum loglet_message_kind kind);

enum loglet_status {
    LOGLET_UNKNOWN = 0,
    LOGLET_OK = 1,
    LOGLET_REFUSES = 2, /* Disabled: the storage state, or a failed or full disk, forbids it */
    LOGLET_DROPPED = 3, /* shed or expired: certainly not done */
    LOGLET_IS_SEALED = 4,
    LOGLET_SEALING = 5,
    LOGLET_SEQUENCER_MISMATCH = 6,
    LOGLET_OUT_OF_BOUNDS = 7,
    LOGLET_MALFORMED = 8,
    LOGLET_LOST = 9, /* the node had this loglet on a disk that is lost: it counts for nothing, for ever */
};
const char *loglet_status_name(enum loglet_status status);

enum loglet_store_flags {
    LOGLET_IGNORE_SEAL = 1, /* repair: rewrites offsets that the sequencer assigned, never new ones */
};

enum loglet_range_kind { LOGLET_RANGE_EXISTS = 1, LOGLET_RANGE_TRIMMED = 2 };
struct loglet_range {
    uint64_t from, to; /* inclusive */
    enum loglet_range_kind kind;
};

struct loglet_message {
    enum loglet_message_kind kind;
    uint64_t request_id; /* chosen by the asker, repeated in the reply; 0 in RELEASE */
    uint64_t loglet_id;
    uint64_t committed_tail, repaired_tail; /* 1 if nothing is known */

    /* Replies: the state of the loglet on the answering log-server. */
    enum loglet_status status;
    bool sealed;         /* durably */
    uint64_t local_tail; /* offset after the last durable record */
    uint64_t trim_point; /* 0: none */

    /* By kind. */
    struct node_ref sequencer; /* of the segment's parameters */
    uint64_t first_offset, next_offset;
    uint64_t from, to;
    uint32_t flags, timeout_ms, max_bytes;
    const struct bytes *records; /* lent: take references to what is kept */
    uint32_t n_records;
    const struct loglet_range *ranges; /* lent; ascending, disjoint */
    uint32_t n_ranges;
};

static inline bool loglet_message_is_reply(enum loglet_message_kind kind)
{
    return kind == LOGLET_STORED || kind == LOGLET_SEALED || kind == LOGLET_INFO || kind == LOGLET_RECORDS ||
           kind == LOGLET_DIGEST || kind == LOGLET_TAIL || kind == LOGLET_TRIMMED;
}
/* Sum of the bodies. */
size_t loglet_message_body_bytes(const struct loglet_message *m);

/* Head only; the caller sends the bodies of m->records after it. */
void loglet_message_encode_head(struct writer *w, const struct loglet_message *m);
/* Head and bodies. */
void loglet_message_encode(struct writer *w, const struct loglet_message *m);

/* Where a decoded message keeps its arrays. */
struct loglet_message_room {
    struct bytes records[LOGLET_RECORDS_MAX];
    struct loglet_range ranges[LOGLET_RANGES_MAX];
};
/* Total: any bytes give true or false. The message lends from `frame` and `room`. Checks that tails are at
 * least 1, offsets within bounds, ranges ascending. */
bool loglet_message_decode(struct bytes frame, struct loglet_message_room *room, struct loglet_message *out);
