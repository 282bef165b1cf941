/* Record headers and every body: no crash, no over-read; what is accepted reads the same after being written
 * again. The first byte selects the body. */
#include "wire/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decoding is not injective (varints may be overlong), but encoding what was decoded must be a fixed point.
 */
#define CHECK(name, type)                                                                                    \
    do {                                                                                                     \
        struct type value, again;                                                                            \
        if (name##_read(&r, &value)) {                                                                       \
            struct writer w = WRITER_INIT, w2 = WRITER_INIT;                                                 \
            name##_write(&w, &value);                                                                        \
            struct reader r2 = reader_make(writer_slice(&w));                                                \
            ASSERT(name##_read(&r2, &again) && reader_done(&r2));                                            \
            name##_write(&w2, &again);                                                                       \
            ASSERT(slice_eq(writer_slice(&w), writer_slice(&w2)));                                           \
            writer_free(&w);                                                                                 \
            writer_free(&w2);                                                                                \
        }                                                                                                    \
    } while (0)

static void check_effects(struct reader *r)
{
    struct effects_head head;
    struct effect e, again;
    if (!effects_begin_read(r, &head))
        return;
    while (effect_read(r, &e)) {
        struct writer w = WRITER_INIT;
        effect_write(&w, &e);
        struct reader r2 = reader_make(writer_slice(&w));
        ASSERT(effect_read(&r2, &again) && reader_done(&r2));
        writer_free(&w);
    }
}

static void check_failure(struct slice encoded)
{
    struct failure_view view;
    struct slice key, value;
    size_t pos = 0;
    if (!failure_parse(encoded, &view))
        return;
    while (failure_metadata_next(encoded, &pos, &key, &value))
        ASSERT(slice_is_utf8(key) && slice_is_utf8(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_header header;
    record_header_get(slice_make(data, size), &header);
    if (size == 0)
        return 0;
    struct slice body = slice_make(data + 1, size - 1);
    struct reader r = reader_make(body);
    switch (data[0] % 19) {
    case 0:
        CHECK(service_invocation, service_invocation);
        break;
    case 1:
        CHECK(cmd_announce_leader, cmd_announce_leader);
        break;
    case 2:
        CHECK(cmd_version_barrier, cmd_version_barrier);
        break;
    case 3:
        CHECK(cmd_partition_durability, cmd_partition_durability);
        break;
    case 4:
        CHECK(cmd_patch_state, cmd_patch_state);
        break;
    case 5:
        CHECK(cmd_terminate, cmd_terminate);
        break;
    case 6:
        CHECK(cmd_target_id, cmd_target_id);
        break;
    case 7:
        CHECK(cmd_truncate_outbox, cmd_truncate_outbox);
        break;
    case 8:
        CHECK(cmd_attach, cmd_attach);
        break;
    case 9:
        CHECK(cmd_resume, cmd_resume);
        break;
    case 10:
        CHECK(cmd_restart_as_new, cmd_restart_as_new);
        break;
    case 11:
        CHECK(timer_key, timer_key);
        break;
    case 12:
        CHECK(cmd_invocation_response, cmd_invocation_response);
        break;
    case 13:
        CHECK(cmd_signal, cmd_signal);
        break;
    case 14:
        CHECK(outcome, outcome);
        break;
    case 15:
        CHECK(notification_id, notification_id);
        break;
    case 17:
        CHECK(cmd_rule_book, cmd_rule_book);
        break;
    case 16:
        check_effects(&r);
        break;
    default:
        check_failure(body);
    }
    return 0;
}
