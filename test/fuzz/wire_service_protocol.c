/* Messages of the service protocol: no crash, no over-read, and everything a decoder accepts satisfies what
 * its users rely on. The first two bytes are the message type. */
#include "wire/service_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_command(uint16_t type, struct slice payload)
{
    struct command_view c;
    struct err err = {0};
    struct slice key, value;
    size_t pos = 0;
    if (command_decode(type, payload, &c, &err) != RC_OK) {
        ASSERT(err.msg[0] != '\0');
        return;
    }
    ASSERT(slice_is_utf8(c.name) && slice_is_utf8(c.key) && slice_is_utf8(c.service) &&
           slice_is_utf8(c.handler));
    while (command_header_next(&c, &pos, &key, &value))
        ASSERT(slice_is_utf8(key) && slice_is_utf8(value));
}

static void check_suspension(struct slice payload)
{
    struct writer ids = WRITER_INIT;
    struct notification_id id;
    size_t count, read = 0;
    if (suspension_decode(payload, &ids, &count)) {
        struct reader r = reader_make(writer_slice(&ids));
        while (reader_left(&r) && notification_id_read(&r, &id))
            read++;
        ASSERT(reader_done(&r) && read == count);
    }
    writer_free(&ids);
}

static void check_notification(struct slice payload)
{
    struct notification_view n, again;
    if (!notification_decode(payload, &n) || n.has_other_result)
        return;
    struct writer w = WRITER_INIT;
    notification_write(&w, &n.id, &n.outcome);
    ASSERT(notification_decode(writer_slice(&w), &again));
    ASSERT(again.id.kind == n.id.kind && again.outcome.kind == n.outcome.kind);
    writer_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint16_t type = get_u16be(data);
    struct slice payload = slice_make(data + 2, size - 2), future, key;
    struct error_view error;
    struct propose_run_view run;
    (void)message_type_name(type);
    if (message_is_command(type))
        check_command(type, payload);
    else if (message_is_notification(type))
        check_notification(payload);
    else if (type == MSG_SUSPENSION)
        check_suspension(payload);
    else if (type == MSG_ERROR)
        (void)error_decode(payload, &error);
    else if (type == MSG_PROPOSE_RUN)
        (void)propose_run_decode(payload, &run);
    else if (type == MSG_AWAITING_ON)
        (void)future_decode(payload, 1, 1000, &future);
    else
        (void)eager_state_key(payload, &key);
    return 0;
}
