/* gRPC for servers, on top of one http_request: message framing, request decompression, status in trailers
 * (spec/restatectl.md §3.2 to §3.4). Unary and all streaming shapes. Messages are opaque bytes here. All
 * calls and callbacks on the loop's thread. */
#pragma once
#include "base/codec.h"
#include "http/server.h"

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16
};

#define GRPC_NO_TIMEOUT UINT64_MAX

struct grpc_call; /* valid until on_finished returns */

struct grpc_call_ops {
    /* One request message, decompressed and lent. A unary call gets exactly one, unless it fails before. */
    void (*on_message)(struct grpc_call *c, struct bytes message);
    /* The client sends no more messages. Not called for unary calls. May be NULL. */
    void (*on_end)(struct grpc_call *c);
    /* Below the low-water mark again (see grpc_call_send). May be NULL. */
    void (*on_writable)(struct grpc_call *c);
    /* Last callback, exactly once; `completed` as in http_request_ops. May be NULL. */
    void (*on_finished)(struct grpc_call *c, bool completed);
};

/* Take over a request within on_request. Its user pointer and ops belong to the call from here on. A request
 * that cannot be served (unsupported encoding, oversized or broken message, unary without a message) is
 * answered here with the documented status. `max_message_bytes` bounds a decoded message. */
struct grpc_call *grpc_call_accept(struct http_request *r, bool unary, size_t max_message_bytes,
                                   const struct grpc_call_ops *ops, void *user);
void *grpc_call_user(const struct grpc_call *c);
struct http_request *grpc_call_request(const struct grpc_call *c);
/* Before the first message: replies are compressed in the first encoding of `grpc-accept-encoding` that is
 * known here, as far as that makes them smaller. */
void grpc_call_compress(struct grpc_call *c);
/* From `grpc-timeout`, GRPC_NO_TIMEOUT without (or with a malformed) one. Nothing is enforced here. */
uint64_t grpc_call_timeout_ms(const struct grpc_call *c);
/* True once a status was sent, by the handler or for a fault found here: send and finish are ignored then. */
bool grpc_call_ended(const struct grpc_call *c);

/* Send one message (consumes the reference). Returns the bytes queued; above NET_HIGH_WATER wait for
 * on_writable. */
size_t grpc_call_send(struct grpc_call *c, struct bytes take);
/* End the call. `message` may be NULL; it is percent-encoded. Without a message sent before, and with an
 * error, one HEADERS frame carries it all. */
void grpc_call_finish(struct grpc_call *c, enum grpc_code code, const char *message);
/* One message and GRPC_OK. */
void grpc_call_reply(struct grpc_call *c, struct bytes take);
/* The same without a call: for methods that do not exist. */
void grpc_refuse(struct http_request *r, enum grpc_code code, const char *message);

/* ---- frames, apart from HTTP ---- */

enum grpc_encoding { GRPC_IDENTITY, GRPC_GZIP, GRPC_ZSTD };
/* By its name in a header; false if it is not known here. */
bool grpc_encoding_parse(struct slice name, enum grpc_encoding *out);
const char *grpc_encoding_name(enum grpc_encoding e);
/* The message in that encoding, or RC_EOF when it is better sent as it is. */
enum rc grpc_deflate(enum grpc_encoding e, struct slice message, struct writer *w);

/* Splits a byte stream into messages. Zero-initialise, then set encoding and limit. */
struct grpc_reader {
    enum grpc_encoding encoding;
    size_t limit;
    uint8_t header[5];
    size_t header_len;
    size_t need; /* payload bytes of the message being read */
    struct buf *partial;
    size_t partial_len;
};
/* Next message from the front of `*in` (which is advanced): RC_OK and a reference; RC_AGAIN when more input
 * is needed; RC_TOO_LARGE or RC_INVALID with the sentence for grpc-message. `owner` is what `in` points into.
 */
enum rc grpc_reader_next(struct grpc_reader *g, struct bytes owner, struct slice *in, struct bytes *message,
                         struct err *err);
void grpc_reader_free(struct grpc_reader *g);
/* True in the middle of a message. */
bool grpc_reader_partial(const struct grpc_reader *g);
