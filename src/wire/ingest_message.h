/* Outbox messages of partitions on their way to a partition on another node, as messages (spec/cluster.md
 * §4.8, spec/invocation-lifecycle.md §10.2). Private to this server and versioned by the first byte. */
#pragma once
#include "base/codec.h"

struct ingest_message {
    uint64_t id;     /* names the message on its link */
    uint64_t stream; /* after a refused one, everything with this number or a lower one is refused */
    uint16_t source, destination; /* partitions */
    struct slice record;          /* the rest of the message; not written by the encoder */
};
void ingest_message_encode(struct writer *w, const struct ingest_message *m);
/* Total; the record borrows from `in` and is as long as a record's header at least. */
bool ingest_message_decode(struct slice in, struct ingest_message *out);

struct ingest_reply {
    uint64_t id;
    bool committed; /* else refused, or unknown */
};
void ingest_reply_encode(struct writer *w, const struct ingest_reply *r);
bool ingest_reply_decode(struct slice in, struct ingest_reply *out);
