/* Records of a topic: whatever key and value, either a sentence says why not, or the record for the log can
 * be decoded by every replica and goes to the partition of its key. */
#include <stdlib.h>

#include "base/codec.h"
#include "kafka/event.h"
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct schema *make_schema(void)
{
    static const char json[] =
        "{\"protocolMode\":\"BIDI_STREAM\",\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"services\":["
        "{\"name\":\"S\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"}]},"
        "{\"name\":\"O\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"h\"}]}]}";
    struct manifest m;
    struct problem problem;
    ASSERT(manifest_parse(slice_cstr(json), NULL, false, &m, &problem));
    struct schema_register r = {.kind = DEPLOYMENT_HTTP, .uri = "http://127.0.0.1:1/"};
    struct schema_discovered found = {.manifest = &m};
    struct schema_change change;
    enum schema_register_outcome outcome;
    struct u128 id;
    struct schema *empty = schema_empty();
    ASSERT(
        schema_register(empty, &r, NULL, &found, 1, (struct u128){1, 2}, &change, &outcome, &id, &problem));
    struct schema *s = schema_ref(change.next); /* kept as long as the process lives */
    schema_change_free(&change);
    schema_unref(empty);
    manifest_free(&m);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct schema *schema;
    static const struct schema_defaults defaults;
    if (!schema)
        schema = make_schema();
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
    struct event_target t = {schema, &defaults, &s, event_producer(s.id, SLICE_LIT("g"), e.topic, 1), "1"};
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
