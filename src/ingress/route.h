/* Paths: normalisation, routing, percent-decoding (spec/ingress.md §2.1, §4). Pure functions of the request
 * target and the schema. */
#pragma once
#include "base/codec.h"
#include "metadata/schema.h"

enum route_kind {
    ROUTE_HEALTH,
    ROUTE_CALL,
    ROUTE_SEND,
    ROUTE_INVOCATION,  /* attach or output of the invocation named in the path */
    ROUTE_BODY_TARGET, /* attach or output of the invocation named in the body */
    ROUTE_LOOKUP,
    ROUTE_AWAKEABLE,
};
enum route_target { BY_ID, BY_IDEMPOTENCY_KEY, BY_WORKFLOW };

struct route {
    enum route_kind kind;
    bool output;                          /* INVOCATION, BODY_TARGET: output, else attach */
    bool reject;                          /* AWAKEABLE: reject, else resolve */
    enum route_target by;                 /* INVOCATION */
    const struct schema_service *service; /* CALL, SEND; INVOCATION by idempotency key */
    struct slice service_name;            /* INVOCATION by workflow */
    struct slice handler;                 /* verbatim */
    struct slice key;                     /* decoded; ptr NULL if the service is not keyed */
    struct slice scope;                   /* decoded; ptr NULL if none */
    struct slice idempotency_key;         /* INVOCATION by idempotency key; verbatim */
    struct slice id;                      /* INVOCATION by id, AWAKEABLE; verbatim */
    /* Refusal: status and sentence. */
    int status;
    struct writer message;
    /* Room of decoded values. */
    struct writer key_room, scope_room;
};

/* Split a request target: leading slashes collapse to one, trailing ones go; `query` starts with '?', or is
 * empty. Both borrow. */
void target_split(struct slice target, struct slice *path, struct slice *query);
/* False: refused with r->status and r->message. Slices borrow from `path` and from the route; call route_free
 * in either case. The schema must outlive the route. */
bool route_parse(struct slice path, const struct schema *schema, struct route *r);
void route_free(struct route *r);
