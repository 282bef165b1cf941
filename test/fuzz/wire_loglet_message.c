/* Any bytes: the decoder of the replicated log's messages answers without a crash, and what it accepts is
 * encoded to a frame that it accepts as the same message. */
#include <stdlib.h>

#include "wire/loglet_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct loglet_message_room room, again_room;
    struct loglet_message m, again;
    if (!loglet_message_decode(bytes_static(slice_make(data, size)), &room, &m))
        return 0;
    struct writer w = WRITER_INIT;
    loglet_message_encode(&w, &m);
    ASSERT(loglet_message_decode(bytes_static(writer_slice(&w)), &again_room, &again));
    ASSERT(m.kind == again.kind && m.request_id == again.request_id && m.n_records == again.n_records &&
           m.n_ranges == again.n_ranges && m.local_tail == again.local_tail);
    ASSERT(loglet_message_body_bytes(&m) == loglet_message_body_bytes(&again));
    writer_free(&w);
    return 0;
}
