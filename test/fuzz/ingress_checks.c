/* Query strings, delays, limit keys and JSON targets: no crash; a refusal always comes with a sentence. The
 * first byte selects. */
#include "ingress/body_target.h"
#include "ingress/checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct slice text = slice_make(data + 1, size - 1);
    struct writer value = WRITER_INIT, message = WRITER_INIT;
    struct invocation_id id;
    uint64_t at;
    int status;
    char room[128];
    struct slice levels[PATTERN_LEVELS];
    switch (data[0] % 6) {
    case 0:
        if (query_find(text, "delay", &value) && !delay_parse(writer_slice(&value), 1, &at, &message))
            ASSERT(message.len > 0);
        break;
    case 1:
        if (!delay_parse(text, 1, &at, &message))
            ASSERT(message.len > 0);
        break;
    case 2:
        if (!limit_key_check(text, &message))
            ASSERT(message.len > 0);
        break;
    case 3:
        if (!body_target_parse(text, "lookup", true, &id, &status, &message))
            ASSERT((status == 400 || status == 500) && message.len > 0);
        break;
    case 4:
        if (!pattern_problem(text, levels, room))
            ASSERT(levels[0].len >= 1 && levels[0].len <= LABEL_MAX && text.len <= PATTERN_MAX + 1);
        break;
    default:
        if (!label_problem(text, room))
            ASSERT(text.len >= 1 && text.len <= 36 && header_value_ok(text));
    }
    writer_free(&value);
    writer_free(&message);
    return 0;
}
