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
    case INV_HELD:
        return "held";
    case INV_COMPLETED:
        return "completed";
    }
    return "unknown";
}

struct object_name object_name_make(struct slice service, struct slice key, struct slice scope)
{
    struct object_name n = {.service = service, .key = key};
    if (!scope.ptr)
        return n;
    writer_init(&n.room, service.len + 1 + scope.len);
    write_slice_raw(&n.room, service);
    write_u8(&n.room, 0);
    write_slice_raw(&n.room, scope);
    n.service = writer_slice(&n.room);
    return n;
}

void object_name_split(struct slice name, struct slice *service, struct slice *scope)
{
    ptrdiff_t at = slice_find(name, 0, 0);
    *service = at < 0 ? name : slice_sub(name, 0, (size_t)at);
    *scope = at < 0 ? SLICE_EMPTY : slice_sub(name, (size_t)at + 1, name.len - (size_t)at - 1);
}

enum queue_stage queue_stage_of(enum invocation_status s)
{
    switch (s) {
    case INV_FREE:
        return STAGE_NONE;
    case INV_SCHEDULED:
    case INV_INBOXED:
    case INV_HELD:
        return STAGE_INBOX;
    case INV_INVOKED:
        return STAGE_RUNNING;
    case INV_SUSPENDED:
        return STAGE_SUSPENDED;
    case INV_PAUSED:
        return STAGE_PAUSED;
    case INV_COMPLETED:
        return STAGE_FINISHED;
    }
    UNREACHABLE("status %d", (int)s);
}
