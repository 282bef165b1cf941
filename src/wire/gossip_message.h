/* Messages of the failure detector and of the spread of small facts (spec/cluster.md §3; the encoding is
 * ours). Every message says who is alive and which versions it knows; a heartbeat adds the sender's table of
 * nodes, and most carry some of its partition statuses. They may be lost, repeated or reordered by the
 * carrier. There is no wall clock in them: `tick` and `seq` order the statements of one process.
 *
 *   message  := u8 version, u8 compat, header, section*
 *   header   := u32 node, u32 generation, u64 fingerprint, u64 tick, u64 seq, u64 uptime ms, u8 flags,
 *               u32 version of each global kind
 *   section  := u8 tag, u32 length, content;  each tag at most once
 *     1 nodes     := (lp entry)*             in ascending order of ids
 *     2 statuses  := u16 each of struct gossip_cover, (lp entry)*   in ascending order of partitions
 *     3 epochs    := (varint partition, varint version)*  ascending
 *
 * Integers little endian. Newer senders: a message whose `compat` is at most our version is read; sections
 * with unknown tags, unknown values of enumerations, and what follows the fields we know in an entry of nodes
 * or statuses, are passed over if `version` is above ours. The decoder checks everything once, borrows from
 * its input, and rejects what is longer than the limits below. */
#pragma once
#include "base/codec.h"
#include "wire/partition_status.h"

#define GOSSIP_VERSION     1u
#define GOSSIP_MESSAGE_MAX (64u << 10) /* what a sender may produce; receivers refuse more */
#define GOSSIP_NODES_MAX   512u        /* entries of one table */
#define GOSSIP_STATUS_MAX  192u        /* bytes that one status can take, its length included */

/* Versioned things whose news travel with every message. GOSSIP_EPOCH is one per partition. */
enum gossip_kind { GOSSIP_NODES, GOSSIP_LOGS, GOSSIP_PARTITION_TABLE, GOSSIP_SCHEMA, GOSSIP_EPOCH };
#define GOSSIP_GLOBAL_KINDS 4u

enum gossip_flags {                          /* of the sender */
                    GOSSIP_FAILING_OVER = 1, /* is stopping: take its leaderships away */
                    GOSSIP_LONELY = 2,       /* has heard from nobody for long: cannot receive */
};
enum gossip_node_flags {                               /* of a node in the sender's table */
                         GOSSIP_NODE_FAILING_OVER = 1, /* has said so */
                         GOSSIP_NODE_HEARD = 2,        /* the sender hears it directly at present */
                         GOSSIP_NODE_DEAD = 4,         /* the sender's verdict */
};

struct gossip_header {
    uint8_t version; /* of the sender; set by the encoder */
    struct node_ref from;
    uint64_t fingerprint; /* of the cluster */
    uint64_t tick;        /* of the process, from 1; goes on while it lives */
    uint64_t seq;         /* of the message, goes up with each that differs */
    uint64_t uptime_ms;
    uint32_t flags;
    uint32_t versions[GOSSIP_GLOBAL_KINDS]; /* 0: not known */
};
struct gossip_node {
    struct node_ref node;
    uint64_t tick;   /* highest that the sender knows of, 0: none */
    uint64_t age_ms; /* since it went up, as far as the sender knows */
    uint32_t flags;
};
/* Which partitions the statuses of a message speak for: of those with from <= id <= to and
 * id % divisor == remainder, the sender runs exactly the listed ones. divisor 0: nothing follows from
 * absence. */
struct gossip_cover {
    uint16_t divisor, remainder;
    uint16_t from, to;
};
struct gossip_status {
    struct partition_status status;
    uint64_t age_ms; /* since the replica reported it to its node */
};

struct gossip_message {
    struct gossip_header header;
    bool has_nodes, has_statuses, has_epochs;
    struct gossip_cover cover;            /* of the statuses */
    struct slice nodes, statuses, epochs; /* checked; read with the functions below */
};
enum rc gossip_message_decode(struct slice in, struct gossip_message *out, struct err *err);
/* Take the next entry from a section; false at its end. */
bool gossip_next_node(struct slice *section, struct gossip_node *out);
bool gossip_next_status(struct slice *section, struct gossip_status *out);
bool gossip_next_epoch(struct slice *section, uint16_t *partition, uint32_t *version);

/* Writing: begin, then at most one of each section, entries in order. */
void gossip_begin(struct writer *w, const struct gossip_header *h);
/* Returns where the section started, for gossip_section_end. */
size_t gossip_nodes_begin(struct writer *w);
size_t gossip_statuses_begin(struct writer *w, struct gossip_cover cover);
size_t gossip_epochs_begin(struct writer *w);
void gossip_section_end(struct writer *w, size_t start);
void gossip_put_node(struct writer *w, const struct gossip_node *n);
void gossip_put_status(struct writer *w, const struct gossip_status *s);
void gossip_put_epoch(struct writer *w, uint16_t partition, uint32_t version);
