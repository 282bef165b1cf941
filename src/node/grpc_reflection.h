/* grpc.reflection.v1.ServerReflection (spec/restatectl.md §3.5): tools such as grpcurl learn the operator
 * services of this node from it. What it tells are the files of src/node/proto. */
#pragma once
#include "base/codec.h"
#include "http/server.h"

#define GRPC_REFLECTION_SERVICE "grpc.reflection.v1.ServerReflection"

/* Take over a POST to the service. `roles`: of this node; services of other roles are not listed. */
void grpc_reflection_serve(struct http_request *r, struct slice method, unsigned roles);
/* The answer to one ServerReflectionRequest; RC_INVALID if it is malformed. */
enum rc grpc_reflection_answer(struct slice request, unsigned roles, struct writer *w);
