/* The schema registry in the form of the node port (spec/restatectl.md §7.5, kind 2 and key
 * `schema_registry`): deployments with their services. To be looked at; it is kept in records of its own
 * (metadata/schema_store.h) and changed through the admin API. */
#pragma once
#include "base/codec.h"
#include "metadata/schema.h"

/* The stored form of a document. */
void grpc_schema_document(const struct schema *s, struct writer *stored);
