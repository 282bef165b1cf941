/* How a link between two nodes begins (spec/cluster.md §2.6), and how frames are cut out of it afterwards.
 * Private to this server and versioned.
 *
 *   dialer:   magic (8 bytes), u32 length, hello   { u16 min, u16 max version, u8 channel, u64 fingerprint,
 *                                                    node from, varint expected id, cluster name }
 *   acceptor: magic (8 bytes), u32 length, answer  { u8 accepted, u16 version, u64 fingerprint, node me,
 *                                                    reason }
 *   then, in both directions, frames: u32 length of the payload, u8 service, payload
 *
 * Integers little endian, `node` two varints, texts with a varint length. What follows in a hello or answer
 * beyond these fields is ignored: later versions may add to it. */
#pragma once
#include "base/codec.h"
#include "peer/peer.h"

#define PEER_MAGIC        "\0RstPeer"
#define PEER_MAGIC_LEN    8u
#define PEER_VERSION_MIN  1u
#define PEER_VERSION_MAX  1u
#define PEER_GREETING_MAX 4096u /* hello or answer, without magic and length */
#define PEER_FRAME_HEAD   5u

struct peer_hello {
    uint16_t min_version, max_version;
    enum peer_channel channel;
    uint64_t fingerprint; /* 0: not known yet */
    struct node_ref from; /* id 0: not joined yet */
    uint32_t expected_id; /* whom the dialer wants to talk to; 0: whoever it is */
    struct slice cluster_name;
};
struct peer_answer {
    bool accepted;
    uint16_t version;     /* accepted: of the frames to come */
    uint64_t fingerprint; /* 0: not known yet */
    struct node_ref me;   /* id 0: not joined yet */
    struct slice reason;  /* refused: a sentence */
};

void peer_hello_encode(struct writer *w, const struct peer_hello *h);
void peer_answer_encode(struct writer *w, const struct peer_answer *a);

/* Whether `in`, a beginning of a stream, is (so far) that of a link. */
bool peer_magic_matches(struct slice in);
/* Total. RC_OK: `*used` bytes were read, `out` borrows from `in`. RC_AGAIN: more bytes are needed (never for
 * PEER_GREETING_MAX + 12 bytes or more). RC_INVALID: no greeting of ours. */
enum rc peer_hello_decode(struct slice in, size_t *used, struct peer_hello *out);
enum rc peer_answer_decode(struct slice in, size_t *used, struct peer_answer *out);

/* Cuts a stream into frames. Zero-initialise, then set `limit`. A frame that arrived in one piece borrows
 * from that piece; others are put together in a buffer of their own. */
struct peer_frames {
    size_t limit; /* of a payload */
    uint8_t head[PEER_FRAME_HEAD];
    size_t head_len;
    struct buf *body; /* NULL: between frames, or in a head */
    size_t body_len, filled;
};
/* Calls `on_frame` for each frame that `data` completes; the payload is lent. `on_frame` returns false to
 * stop (the rest of `data` is forgotten). RC_TOO_LARGE: a frame above the limit was announced; the stream is
 * of no more use. */
enum rc peer_frames_feed(struct peer_frames *f, struct bytes data,
                         bool (*on_frame)(void *ctx, uint8_t service, struct bytes payload), void *ctx);
void peer_frames_free(struct peer_frames *f);
