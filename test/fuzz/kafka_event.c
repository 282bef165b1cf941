/* Records of a topic: whatever key and value, either a sentence says why not, or the record for the log can
 * be decoded by every replica and goes to the partition of its key. */
#include <stdlib.h>

#include "base/codec.h"
#include "fuzz_schema.h"
#include "kafka/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema *schema;
    static const struct schema_defaults defaults;
    if (!schema)
        schema = fuzz_schema();
    if (size < 12)
        return 0;
    size_t key = data[1] % (size - 10);
    struct schema_subscription s = {.id = {1, 2},
                                    .service = data[0] & 1 ? "O" : "S",
                                    .handler = data[0] & 2 ? "h" : "x",
                                    .kind = data[0] & 1 ? TARGET_OBJECT_EXCLUSIVE : TARGET_SERVICE};
    struct kafka_event e = {.topic = SLICE_LIT("t"),
                            .partition = data[2],
                            .offset = (int64_t)get_u64le(data + 2),
                            .timestamp_ms = data[0] & 4 ? -1 : (int64_t)get_u32be(data + 3),
                            .key = data[0] & 8 ? SLICE_EMPTY : slice_make(data + 10, key),
                            .value = slice_make(data + 10 + key, size - 10 - key)};
    if (data[0] & 16) /* the value's first bytes as headers, too */
        e.scope = slice_sub(e.value, 0, MIN(e.value.len, (size_t)data[9] % 40));
    if (data[0] & 32)
        e.limit_key = slice_sub(e.value, e.scope.len, MIN(e.value.len - e.scope.len, (size_t)data[8]));
    struct event_target t = {.schema = schema,
                             .defaults = &defaults,
                             .subscription = &s,
                             .producer = event_producer(s.id, SLICE_LIT("g"), e.topic, 1),
                             .version = "1",
                             .scopes = {true, !(data[0] & 64), !(data[0] & 128)}};
    struct bytes record;
    uint64_t partition_key;
    struct err err = {0};
    if (event_to_record(&t, &e, &record, &partition_key, &err) != RC_OK) {
        ASSERT(err.msg[0]);
        return 0;
    }
    struct record_header h;
    struct service_invocation si;
    ASSERT(record_header_get(bytes_slice(record), &h) && h.seq_lo == (uint64_t)e.offset);
    struct reader r = reader_make(record_body(bytes_slice(record)));
    ASSERT(service_invocation_read(&r, &si) && reader_done(&r));
    ASSERT(si.id.partition_key == partition_key && h.key_start == partition_key);
    bytes_unref(&record);
    return 0;
}
