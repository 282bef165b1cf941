/* Implementation of kafka/event.h. */
#include "kafka/event.h"

#include <stdio.h>

#include "base/hash.h"
#include "wire/scope.h"
#include "wire/service_protocol.h"

/* New invocations need a protocol version that is still offered to them (spec/service-protocol.md §14). */
#define MIN_PROTOCOL_VERSION 5
#define EVENT_HEADERS        6

struct u128 event_producer(struct u128 subscription, struct slice group, struct slice topic,
                           int32_t partition)
{
    struct writer w = WRITER_INIT;
    write_u64le(&w, subscription.lo);
    write_u64le(&w, subscription.hi);
    write_lp(&w, group);
    write_lp(&w, topic);
    write_u32le(&w, (uint32_t)partition);
    struct u128 out;
    out.lo = hash64(writer_slice(&w));
    write_u8(&w, 1);
    out.hi = hash64(writer_slice(&w));
    writer_free(&w);
    return out;
}

static uint64_t event_hash(struct u128 producer, int64_t offset, uint64_t salt)
{
    uint8_t room[32];
    put_u64le(room, producer.lo);
    put_u64le(room + 8, producer.hi);
    put_u64le(room + 16, (uint64_t)offset);
    put_u64le(room + 24, salt);
    return hash64(slice_make(room, sizeof(room)));
}

/* Everything from the record alone. */
static struct invocation_id identify(const struct event_target *t, const struct kafka_event *e,
                                     const struct target *target)
{
    struct invocation_id id;
    if (target->scope.ptr)
        id.partition_key = partition_key_of_key(target->scope);
    else if (target->key.ptr)
        id.partition_key = partition_key_of_key(target->key);
    else
        id.partition_key = event_hash(t->producer, e->offset, 0);
    id.uuid = target->kind == TARGET_WORKFLOW_RUN
                  ? workflow_run_uuid(target->scope, target->service, target->key)
                  : ulid_make(e->timestamp_ms > 0 ? (uint64_t)e->timestamp_ms : 0,
                              event_hash(t->producer, e->offset, 1), event_hash(t->producer, e->offset, 2));
    return id;
}

struct event_headers {
    struct slice name[EVENT_HEADERS], value[EVENT_HEADERS];
    size_t n;
    char offset[24], partition[16], timestamp[24], subscription[RESOURCE_ID_TEXT_MAX];
    struct writer key;
};

static void add_header(struct event_headers *h, struct slice name, struct slice value)
{
    h->name[h->n] = name;
    h->value[h->n++] = value;
}

/* URL-safe base64 with padding. */
static void encode_key(struct writer *w, struct slice key)
{
    uint8_t *room = writer_reserve(w, (key.len + 2) / 3 * 4 + 1);
    size_t n = base64url_encode(key, (char *)room);
    for (; n % 4; n++)
        room[n] = '=';
    w->len += n;
}

static void fill_headers(struct event_headers *h, const struct event_target *t, const struct kafka_event *e)
{
    *h = (struct event_headers){0};
    snprintf(h->offset, sizeof(h->offset), "%lld", (long long)e->offset);
    snprintf(h->partition, sizeof(h->partition), "%d", (int)e->partition);
    resource_id_format(RESOURCE_SUBSCRIPTION, t->subscription->id, h->subscription);
    add_header(h, SLICE_LIT("kafka.offset"), slice_cstr(h->offset));
    add_header(h, SLICE_LIT("kafka.topic"), e->topic);
    add_header(h, SLICE_LIT("kafka.partition"), slice_cstr(h->partition));
    if (e->timestamp_ms >= 0) {
        snprintf(h->timestamp, sizeof(h->timestamp), "%lld", (long long)e->timestamp_ms);
        add_header(h, SLICE_LIT("kafka.timestamp"), slice_cstr(h->timestamp));
    }
    add_header(h, SLICE_LIT("restate.subscription.id"), slice_cstr(h->subscription));
    if (e->key.ptr) {
        encode_key(&h->key, e->key);
        add_header(h, SLICE_LIT("kafka.key"), writer_slice(&h->key));
    }
}

static struct bytes build(const struct event_target *t, const struct kafka_event *e,
                          const struct service_invocation *si)
{
    struct event_headers h;
    fill_headers(&h, t, e);
    size_t input = input_value_size(e->value.len);
    for (size_t i = 0; i < h.n; i++)
        input += input_header_size(h.name[i], h.value[i]);
    struct writer w = WRITER_INIT;
    record_begin(&w, 256 + si->target.service.len + si->target.handler.len + si->target.key.len +
                         si->created_using.len + input);
    service_invocation_write_head(&w, si, input);
    for (size_t i = 0; i < h.n; i++)
        input_write_header(&w, h.name[i], h.value[i]);
    input_write_value(&w, e->value);
    writer_free(&h.key);
    struct bytes record = writer_take(&w);
    struct record_header header = {
        .version = RECORD_VERSION,
        .kind = CMD_INVOKE,
        .dedup = DEDUP_PRODUCER,
        .key_start = si->id.partition_key,
        .key_end = si->id.partition_key,
        .producer = t->producer,
        .seq_lo = (uint64_t)e->offset,
    };
    record_header_put((uint8_t *)record.ptr, &header);
    return record;
}

static enum rc find_handler(const struct event_target *t, const struct schema_handler **out, struct err *err)
{
    const struct schema_subscription *s = t->subscription;
    const struct schema_service *service = schema_service(t->schema, slice_cstr(s->service));
    *out = service ? schema_handler(service, slice_cstr(s->handler)) : NULL;
    if (!*out)
        return err_set(err, RC_NOT_FOUND, "%.100s/%.100s is not registered", s->service, s->handler);
    if (service->deployment->max_protocol_version < MIN_PROTOCOL_VERSION)
        return err_set(err, RC_NOT_FOUND, "the service %.100s is exposed by a deprecated deployment",
                       s->service);
    return RC_OK;
}

static enum rc check(const struct event_target *t, const struct kafka_event *e, struct err *err)
{
    if (e->key.len + e->value.len > EVENT_MAX_BYTES - 4096)
        return err_set(err, RC_TOO_LARGE, "key and value have %zu bytes, at most %u are possible",
                       e->key.len + e->value.len, EVENT_MAX_BYTES - 4096);
    if (target_is_keyed(t->subscription->kind) && e->key.ptr && !slice_is_utf8(e->key))
        return err_set(err, RC_INVALID, "its key is not UTF-8");
    if (e->offset < 0)
        return err_set(err, RC_INVALID, "its offset is negative");
    return RC_OK;
}

/* As for requests (spec/ingress.md §5.7). */
static enum rc check_scope(const struct event_target *t, const struct kafka_event *e, struct err *err)
{
    char room[LABEL_ROOM];
    if (e->limit_key.len > 0 && !limit_key_valid(e->limit_key))
        return err_set(err, RC_INVALID, "its limit key is not valid");
    if (e->limit_key.len > 0 && !e->scope.ptr)
        return err_set(err, RC_INVALID, "its limit key requires a scope");
    if (!e->scope.ptr)
        return RC_OK;
    const char *problem = label_problem(e->scope, room);
    if (problem)
        return err_set(err, RC_INVALID, "bad scope value: %s", problem);
    if (!t->scopes.allowed)
        return err_set(err, RC_UNSUPPORTED, "scoped invocations require vqueues to be enabled");
    enum target_kind kind = t->subscription->kind;
    if (target_is_keyed(kind) && !target_is_workflow(kind) && !t->scopes.of_objects)
        return err_set(err, RC_UNSUPPORTED, "scope is not supported for Virtual Object targets");
    return RC_OK;
}

enum rc event_to_record(const struct event_target *t, const struct kafka_event *e, struct bytes *record,
                        uint64_t *partition_key, struct err *err)
{
    const struct schema_subscription *s = t->subscription;
    const struct schema_handler *handler;
    enum rc rc = check(t, e, err);
    if (rc == RC_OK)
        rc = check_scope(t, e, err);
    if (rc == RC_OK)
        rc = find_handler(t, &handler, err);
    if (rc != RC_OK)
        return rc;
    struct service_invocation si = {
        .target = {.kind = s->kind,
                   .service = slice_cstr(s->service),
                   .handler = slice_cstr(s->handler),
                   .scope = e->scope},
        .limit_key = limit_key_trim(e->limit_key),
        .source = SOURCE_SUBSCRIPTION,
        .source_request_id = s->id,
        .created_using = slice_cstr(t->version),
    };
    if (target_is_keyed(s->kind)) /* no key: the empty one */
        si.target.key = e->key.ptr ? e->key : SLICE_LIT("");
    si.id = identify(t, e, &si.target);
    schema_resolve_retention(t->defaults, handler, false, &si.completion_retention_ms,
                             &si.journal_retention_ms);
    *record = build(t, e, &si);
    *partition_key = si.id.partition_key;
    return RC_OK;
}
