/* Any bytes: outbox messages between nodes and their confirmations are decoded without a crash, and what is
 * accepted survives a round trip. */
#include <stdlib.h>

#include "wire/ingest_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    struct ingest_message m, m2;
    struct ingest_reply r, r2;
    struct writer w = WRITER_INIT;
    if (ingest_message_decode(in, &m)) {
        ingest_message_encode(&w, &m);
        write_slice_raw(&w, m.record);
        ASSERT(ingest_message_decode(writer_slice(&w), &m2));
        ASSERT(m.id == m2.id && m.stream == m2.stream && m.source == m2.source &&
               m.destination == m2.destination && slice_eq(m.record, m2.record));
    }
    writer_reset(&w);
    if (ingest_reply_decode(in, &r)) {
        ingest_reply_encode(&w, &r);
        ASSERT(ingest_reply_decode(writer_slice(&w), &r2));
        ASSERT(r.id == r2.id && r.committed == r2.committed);
    }
    writer_free(&w);
    return 0;
}
