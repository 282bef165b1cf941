/* A finished span and its OTLP encodings (spec/config.md §5.6). Pure; everything is borrowed. */
#pragma once
#include "trace/context.h"
#include "wire/command.h"

enum span_status { SPAN_UNSET = 0, SPAN_OK = 1, SPAN_ERROR = 2 };

struct span_attribute {
    const char *key; /* static */
    struct slice text;
    bool is_int;
    int64_t number;
};
#define SPAN_ATTRIBUTES_MAX 12   /* besides those of the invocation */
#define SPAN_TEXT_MAX       4096 /* of one attribute or message: more is cut */

/* `restate.invocation.lifecycle.<what>` */
struct span_event {
    uint64_t at_ns; /* wall clock */
    const char *what;
    const char *key; /* of its attribute, NULL: none */
    struct slice value;
    struct slice name; /* restate.journal.command.name, "" if none */
};

struct span {
    const char *kind; /* "ingress", "invocation-start", ...: the name is this and the target's short form */
    const struct trace_context *context; /* trace, tracestate, link (on `invocation-start` only) */
    uint64_t id, parent;                 /* parent zero: a root */
    bool parent_is_remote;               /* it came with a request */
    bool linked;                         /* write the context's link */
    uint64_t start_ns, end_ns;           /* wall clock */
    struct invocation_id invocation;
    const struct target *target;
    struct span_attribute attributes[SPAN_ATTRIBUTES_MAX];
    size_t n_attributes;
    const struct span_event *events;
    size_t n_events, n_dropped_events;
    enum span_status status;
    struct slice message; /* of an error */
};
void span_text(struct span *s, const char *key, struct slice value);
void span_int(struct span *s, const char *key, int64_t value);
/* "Vec/req", "VecObj/{key}/add" */
void span_target_write(struct writer *w, const struct target *t);
/* At most SPAN_TEXT_MAX bytes, not cutting a character. */
struct slice span_text_cut(struct slice s);

/* The common attributes first (rpc.service, rpc.method, restate.invocation.id, restate.invocation.target),
 * then the span's own: called with each. `text` is valid during the call. */
void span_each_attribute(const struct span *s, void (*visit)(void *ctx, const struct span_attribute *a),
                         void *ctx);

enum otlp_format { OTLP_PROTOBUF, OTLP_JSON };
/* Append one span: a `spans` field of ScopeSpans, or a JSON object, after a comma unless `w` is empty. */
void span_encode(struct writer *w, enum otlp_format format, const struct span *s);
/* key=value pairs of the resource. */
struct otlp_resource {
    const struct span_attribute *attributes;
    size_t n;
};
/* ExportTraceServiceRequest around a batch of encoded spans. */
struct bytes otlp_request(enum otlp_format format, const struct otlp_resource *resource, struct slice spans);

/* ---- encode_proto.c, encode_json.c ---- */
void span_encode_proto(struct writer *w, const struct span *s);
void span_encode_json(struct writer *w, const struct span *s);
struct bytes otlp_request_proto(const struct otlp_resource *resource, struct slice spans);
struct bytes otlp_request_json(const struct otlp_resource *resource, struct slice spans);
