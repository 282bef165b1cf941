/* What kafka_clusters.c and subscriptions.c share. */
#pragma once
#include "admin/admin_internal.h"
#include "base/time.h"
#include "metadata/schema_kafka.h"

const struct schema_fixed_clusters *call_fixed_clusters(const struct admin_call *c);
/* An object of properties; secrets are not shown. */
void json_properties(struct json_out *o, const char *key, const struct schema_header *list, size_t n);
void json_subscription(struct json_out *o, const struct schema_subscription *s);
/* A member that is an object of strings, or absent; in the call's arena. False after having answered. */
bool call_json_properties(struct admin_call *c, const json_t *body, const char *key,
                          struct schema_header **out, size_t *n);
