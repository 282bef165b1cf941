/* Id texts: no crash, and whatever parses formats back to the same text. */
#include "base/rc.h"
#include "wire/id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct invocation_id id;
    struct awakeable_id awakeable;
    struct u128 ulid;
    char out[64], message[64];
    enum id_error e = invocation_id_parse(text, &id);
    if (e == ID_OK) {
        invocation_id_format(id, out);
        ASSERT(slice_eq_cstr(text, out));
    }
    id_error_message(e, text, message, sizeof(message));
    if (queue_id_parse(text, &id) == ID_OK) {
        queue_id_format(id, out);
        ASSERT(slice_eq_cstr(text, out));
    }
    for (int kind = RESOURCE_DEPLOYMENT; kind <= RESOURCE_MUTATION; kind++) {
        if (resource_id_parse((enum resource_kind)kind, text, &ulid) == ID_OK) {
            resource_id_format((enum resource_kind)kind, ulid, out);
            ASSERT(slice_eq_cstr(text, out));
        }
    }
    if (awakeable_id_parse(text, &awakeable) == ID_OK) {
        struct awakeable_id again;
        awakeable_id_format(awakeable, out);
        ASSERT(awakeable_id_parse(slice_cstr(out), &again) == ID_OK);
        ASSERT(invocation_id_eq(again.invocation, awakeable.invocation) && again.index == awakeable.index);
    }
    return 0;
}
