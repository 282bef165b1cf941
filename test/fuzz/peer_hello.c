/* Any bytes as the beginning of a link: greetings are decoded without a crash and survive a round trip;
 * frames cut out of two different divisions of the same stream are the same. */
#include <stdlib.h>

#include "base/hash.h"
#include "peer/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t hash;
    size_t n;
};

static bool see(void *ctx, uint8_t service, struct bytes payload)
{
    struct seen *s = ctx;
    s->hash = hash64_combine(hash64_combine(s->hash, service), hash64(bytes_slice(payload)));
    s->n++;
    return true;
}

static struct seen frames(struct slice in, size_t step, enum rc *rc)
{
    struct seen s = {0};
    struct peer_frames f = {.limit = 4096};
    *rc = RC_OK;
    for (size_t at = 0; at < in.len && *rc == RC_OK; at += step)
        *rc = peer_frames_feed(&f, bytes_static(slice_sub(in, at, MIN(step, in.len - at))), see, &s);
    peer_frames_free(&f);
    return s;
}

static void greetings(struct slice in)
{
    struct peer_hello h, h2;
    struct peer_answer a, a2;
    size_t used;
    struct writer w = WRITER_INIT;
    if (peer_hello_decode(in, &used, &h) == RC_OK && h.cluster_name.len <= 2048) {
        ASSERT(used <= in.len);
        peer_hello_encode(&w, &h);
        ASSERT(peer_hello_decode(writer_slice(&w), &used, &h2) == RC_OK && used == w.len);
        ASSERT(h.channel == h2.channel && node_ref_eq(h.from, h2.from) && h.expected_id == h2.expected_id &&
               slice_eq(h.cluster_name, h2.cluster_name));
    }
    writer_reset(&w);
    if (peer_answer_decode(in, &used, &a) == RC_OK && a.reason.len <= 2048) {
        peer_answer_encode(&w, &a);
        ASSERT(peer_answer_decode(writer_slice(&w), &used, &a2) == RC_OK);
        ASSERT(a.accepted == a2.accepted && node_ref_eq(a.me, a2.me) && slice_eq(a.reason, a2.reason));
    }
    writer_free(&w);
    struct net_address address;
    peer_address_parse(in, &address, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    greetings(in);
    /* With the magic in front more of them are greetings. */
    struct writer w = WRITER_INIT;
    write_raw(&w, PEER_MAGIC, PEER_MAGIC_LEN);
    write_u32le(&w, (uint32_t)size);
    write_slice_raw(&w, in);
    greetings(writer_slice(&w));
    writer_free(&w);
    if (size == 0)
        return 0;
    enum rc whole_rc, pieces_rc;
    struct seen whole = frames(in, size, &whole_rc), pieces = frames(in, 1 + data[size - 1] % 17, &pieces_rc);
    ASSERT(whole_rc == pieces_rc && whole.n == pieces.n && whole.hash == pieces.hash);
    return 0;
}
