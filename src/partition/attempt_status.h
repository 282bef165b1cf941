/* What the invoker of a partition's leader knows of an invocation, for introspection
 * (spec/invocation-lifecycle.md §9.4). It is the leader's memory and gone with it. */
#pragma once
#include "base/bytes.h"
#include "wire/id.h"

struct invocation_attempt_status {
    bool in_flight;
    uint32_t retry_count;
    uint64_t last_start_at_ms, next_retry_at_ms;
    struct u128 last_attempt_deployment_id;
    char last_attempt_server[64];
    char last_error_doc_code[8];
    uint32_t last_error_code;
    struct slice last_error_message, last_error_stacktrace; /* lent */
    bool has_related_command_index;
    uint32_t related_command_index;
    struct slice related_command_name,
        related_command_type; /* type as message_type_name prints it; empty if unknown */
    struct slice
        awaiting_on; /* lent: the encoded future that the SDK said last that it awaits (protocol 7) */
};
