/* Messages out of a stream of chunks (spec/service-protocol.md §4.1). A message that lies inside one chunk is
 * handed out where it is; one that spans chunks is assembled in a buffer that grows with the bytes that
 * really arrived. */
#pragma once
#include "wire/service_protocol.h"

struct frame_input {
    uint8_t head[FRAME_HEADER_SIZE];
    uint8_t head_len;
    bool in_body;
    struct frame_header header;
    struct buf *body; /* while in_body and the message spans chunks */
    size_t body_len;
};
/* `payload` is valid during the call. Return false to stop. */
typedef bool (*frame_fn)(void *ctx, const struct frame_header *h, struct slice payload);

/* Feed a chunk. RC_OK; RC_CANCELED: `fn` returned false, the rest was not looked at; RC_TOO_LARGE: a header
 * announces `limit` bytes or more (in->header tells how many). After anything but RC_OK the input must not be
 * fed again. */
enum rc frame_input_feed(struct frame_input *in, struct slice chunk, uint64_t limit, frame_fn fn, void *ctx);
/* Bytes held for an unfinished message. */
static inline size_t frame_input_held(const struct frame_input *in)
{
    return in->body ? in->body->cap : 0;
}
void frame_input_free(struct frame_input *in);
