/* Frame decoding for attempts: see attempt_input.h. */
#include "invoker/attempt_input.h"

#define FIRST_BODY_ROOM (16u << 10)

/* Append to the message under assembly. The buffer grows fourfold with what arrived, so a lying header costs
 * little, and a large message is not copied over and over. */
static void body_append(struct frame_input *in, const uint8_t *p, size_t n)
{
    size_t need = in->body_len + n;
    if (!in->body) {
        in->body = buf_new(MIN((size_t)in->header.length, MAX(need, FIRST_BODY_ROOM)));
    } else if (in->body->cap < need) {
        in->body = buf_grow(in->body, MIN((size_t)in->header.length, MAX(need, in->body->cap * 4)));
    }
    memcpy(in->body->data + in->body_len, p, n);
    in->body_len = need;
}

/* Take up to a whole header from the chunk; true once it is complete. */
static bool take_header(struct frame_input *in, struct slice *rest)
{
    size_t n = MIN(rest->len, (size_t)FRAME_HEADER_SIZE - in->head_len);
    memcpy(in->head + in->head_len, rest->ptr, n);
    in->head_len = (uint8_t)(in->head_len + n);
    *rest = slice_sub(*rest, n, rest->len - n);
    if (in->head_len < FRAME_HEADER_SIZE)
        return false;
    in->header = frame_header_get(in->head);
    in->head_len = 0;
    in->in_body = true;
    return true;
}

enum rc frame_input_feed(struct frame_input *in, struct slice chunk, uint64_t limit, frame_fn fn, void *ctx)
{
    struct slice rest = chunk;
    while (rest.len > 0 || (in->in_body && in->header.length == 0)) {
        if (!in->in_body) {
            if (!take_header(in, &rest))
                return RC_OK;
            if (in->header.length >= limit)
                return RC_TOO_LARGE;
        }
        size_t missing = in->header.length - in->body_len;
        if (in->body_len == 0 && rest.len >= missing) {
            struct slice payload = slice_sub(rest, 0, missing);
            rest = slice_sub(rest, missing, rest.len - missing);
            in->in_body = false;
            if (!fn(ctx, &in->header, payload))
                return RC_CANCELED;
            continue;
        }
        if (rest.len == 0)
            return RC_OK;
        size_t n = MIN(rest.len, missing);
        body_append(in, rest.ptr, n);
        rest = slice_sub(rest, n, rest.len - n);
        if (in->body_len < in->header.length)
            return RC_OK;
        struct buf *body = in->body;
        size_t len = in->body_len;
        in->body = NULL;
        in->body_len = 0;
        in->in_body = false;
        bool more = fn(ctx, &in->header, slice_make(body->data, len));
        buf_unref(body);
        if (!more)
            return RC_CANCELED;
    }
    return RC_OK;
}

void frame_input_free(struct frame_input *in)
{
    if (in->body)
        buf_unref(in->body);
    *in = (struct frame_input){0};
}
