/* What the HTTP/2 server and client share: the outgoing side of a session. All frames of one iteration are
 * gathered by h2_io_flush; payloads above H2_COPY_BELOW travel by reference. Private to http/. */
#pragma once
#include <nghttp2/nghttp2.h>

#include "base/codec.h"
#include "http/head.h"
#include "http/out_queue.h"

#define H2_COPY_BELOW  4096u       /* smaller payloads are copied next to their frame header */
#define H2_BATCH_BYTES (64u << 10) /* gathered frames are handed over at this size */

/* The outgoing body of one stream. One item of the queue becomes one DATA frame, as long as it fits the frame
 * size and the windows (spec/service-protocol.md §3.3). */
struct h2_out {
    struct out_queue queue;
    bool ended;       /* nothing more will be pushed */
    bool deferred;    /* nghttp2 waits for nghttp2_session_resume_data */
    bool aborted;     /* send nothing more */
    bool above_water; /* the writer was told to stop; `on_low` is due below NET_LOW_WATER */
    bool has_trailers;
    struct http_head trailers;
    void (*on_low)(struct h2_out *out);
};
void h2_out_init(struct h2_out *out, void (*on_low)(struct h2_out *out));
void h2_out_free(struct h2_out *out);
/* Data provider for nghttp2_submit_request / _response. */
nghttp2_data_provider h2_out_provider(struct h2_out *out);

/* The connection-level part; the session's user data must point at it. */
struct h2_io {
    nghttp2_session *session;
    struct writer batch;
    void (*send)(struct h2_io *io, struct bytes take);
    size_t (*pending)(struct h2_io *io); /* bytes the connection has not handed to the kernel yet */
};
/* Set the callback that frames DATA without copying. */
void h2_io_set_callbacks(nghttp2_session_callbacks *cbs);
/* Send everything that is ready, until the connection holds more than NET_HIGH_WATER. False: the session is
 * broken. */
bool h2_io_flush(struct h2_io *io);
void h2_io_free(struct h2_io *io);

/* A name/value list under construction, reused between messages. Nothing is copied until it is submitted. */
struct h2_nv_list {
    nghttp2_nv *items;
    size_t len, cap;
};
void h2_nv_add(struct h2_nv_list *l, struct slice name, struct slice value);
/* True for fields that belong to an HTTP/1 connection and must not appear in HTTP/2. `name` is lower case. */
bool http_header_is_hop_by_hop(struct slice name);
/* True if the field may be put on the wire: no CR, LF, NUL or other control bytes, and a non-empty name. */
bool http_header_is_sane(const struct http_header *h);
