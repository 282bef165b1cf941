/* Implementation of peer/hello.h. */
#include "peer/hello.h"

static void write_node(struct writer *w, struct node_ref n)
{
    write_varint(w, n.id);
    write_varint(w, n.generation);
}

static uint32_t read_u32_varint(struct reader *r)
{
    uint64_t v = read_varint(r);
    if (v > UINT32_MAX)
        r->failed = true;
    return (uint32_t)v;
}

static struct node_ref read_node(struct reader *r)
{
    struct node_ref n;
    n.id = read_u32_varint(r);
    n.generation = read_u32_varint(r);
    if (n.id == 0 && n.generation != 0)
        r->failed = true;
    return n;
}

/* Magic and room for the length; returns where the body starts. */
static size_t greeting_begin(struct writer *w)
{
    write_raw(w, PEER_MAGIC, PEER_MAGIC_LEN);
    write_u32le(w, 0);
    return w->len;
}

static void greeting_end(struct writer *w, size_t body)
{
    ASSERT(w->len - body <= PEER_GREETING_MAX);
    put_u32le(w->buf->data + body - 4, (uint32_t)(w->len - body));
}

/* The text, cut so that the greeting stays within its limit. */
static void write_text(struct writer *w, struct slice s)
{
    write_lp(w, slice_sub(s, 0, MIN(s.len, (size_t)2048)));
}

void peer_hello_encode(struct writer *w, const struct peer_hello *h)
{
    size_t body = greeting_begin(w);
    write_u16le(w, h->min_version);
    write_u16le(w, h->max_version);
    write_u8(w, (uint8_t)h->channel);
    write_u64le(w, h->fingerprint);
    write_node(w, h->from);
    write_varint(w, h->expected_id);
    write_text(w, h->cluster_name);
    greeting_end(w, body);
}

void peer_answer_encode(struct writer *w, const struct peer_answer *a)
{
    size_t body = greeting_begin(w);
    write_u8(w, a->accepted);
    write_u16le(w, a->version);
    write_u64le(w, a->fingerprint);
    write_node(w, a->me);
    write_text(w, a->reason);
    greeting_end(w, body);
}

bool peer_magic_matches(struct slice in)
{
    return memcmp(in.ptr, PEER_MAGIC, MIN(in.len, (size_t)PEER_MAGIC_LEN)) == 0;
}

/* The body of a greeting. */
static enum rc greeting_body(struct slice in, size_t *used, struct reader *out)
{
    if (in.len > 0 && !peer_magic_matches(in))
        return RC_INVALID;
    if (in.len < PEER_MAGIC_LEN + 4)
        return RC_AGAIN;
    size_t len = get_u32le(in.ptr + PEER_MAGIC_LEN);
    if (len > PEER_GREETING_MAX)
        return RC_INVALID;
    if (in.len - PEER_MAGIC_LEN - 4 < len)
        return RC_AGAIN;
    *used = PEER_MAGIC_LEN + 4 + len;
    *out = reader_make(slice_sub(in, PEER_MAGIC_LEN + 4, len));
    return RC_OK;
}

enum rc peer_hello_decode(struct slice in, size_t *used, struct peer_hello *out)
{
    struct reader r;
    enum rc rc = greeting_body(in, used, &r);
    if (rc != RC_OK)
        return rc;
    *out = (struct peer_hello){0};
    out->min_version = read_u16le(&r);
    out->max_version = read_u16le(&r);
    out->channel = (enum peer_channel)read_u8(&r);
    out->fingerprint = read_u64le(&r);
    out->from = read_node(&r);
    out->expected_id = read_u32_varint(&r);
    out->cluster_name = read_lp(&r);
    if (r.failed || out->min_version > out->max_version || out->channel < 1 ||
        out->channel >= PEER_CHANNELS || !slice_is_utf8(out->cluster_name))
        return RC_INVALID;
    return RC_OK;
}

enum rc peer_answer_decode(struct slice in, size_t *used, struct peer_answer *out)
{
    struct reader r;
    enum rc rc = greeting_body(in, used, &r);
    if (rc != RC_OK)
        return rc;
    *out = (struct peer_answer){0};
    uint8_t accepted = read_u8(&r);
    out->accepted = accepted == 1;
    out->version = read_u16le(&r);
    out->fingerprint = read_u64le(&r);
    out->me = read_node(&r);
    out->reason = read_lp(&r);
    return r.failed || accepted > 1 || !slice_is_utf8(out->reason) ? RC_INVALID : RC_OK;
}

/* ---- frames ---- */

static bool body_complete(const struct peer_frames *f)
{
    return f->body && f->filled == f->body_len;
}

/* The head is complete and not all of its body is in `data`: a buffer for the whole. */
static void begin_body(struct peer_frames *f, size_t len)
{
    f->body = buf_new(MAX(len, (size_t)1));
    f->body_len = len;
    f->filled = 0;
}

enum rc peer_frames_feed(struct peer_frames *f, struct bytes data,
                         bool (*on_frame)(void *ctx, uint8_t service, struct bytes payload), void *ctx)
{
    size_t at = 0;
    while (at < data.len) {
        if (!f->body) {
            size_t n = MIN(PEER_FRAME_HEAD - f->head_len, data.len - at);
            memcpy(f->head + f->head_len, data.ptr + at, n);
            f->head_len += n;
            at += n;
            if (f->head_len < PEER_FRAME_HEAD)
                break;
            size_t len = get_u32le(f->head);
            if (len > f->limit)
                return RC_TOO_LARGE;
            if (len <= data.len - at) {
                f->head_len = 0;
                struct bytes payload = {data.ptr + at, len, data.owner};
                at += len;
                if (!on_frame(ctx, f->head[4], payload))
                    return RC_OK;
                continue;
            }
            begin_body(f, len);
        }
        size_t n = MIN(f->body_len - f->filled, data.len - at);
        memcpy(f->body->data + f->filled, data.ptr + at, n);
        f->filled += n;
        at += n;
        if (body_complete(f)) {
            struct bytes payload = bytes_take_buf(f->body, 0, f->body_len);
            f->body = NULL;
            f->head_len = 0;
            bool go_on = on_frame(ctx, f->head[4], payload);
            bytes_unref(&payload);
            if (!go_on)
                return RC_OK;
        }
    }
    return RC_OK;
}

void peer_frames_free(struct peer_frames *f)
{
    if (f->body)
        buf_unref(f->body);
    f->body = NULL;
    f->head_len = 0;
}
