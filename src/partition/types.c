/* Names of the partition's enumerations. */
#include "partition/types.h"

const char *invocation_status_name(enum invocation_status s)
{
    switch (s) {
    case INV_FREE:
        return "free";
    case INV_SCHEDULED:
        return "scheduled";
    case INV_INBOXED:
        return "inboxed";
    case INV_INVOKED:
        return "invoked";
    case INV_SUSPENDED:
        return "suspended";
    case INV_PAUSED:
        return "paused";
    case INV_COMPLETED:
        return "completed";
    }
    return "unknown";
}
