/* Implementation of node/grpc_requests.h. */
#include "node/grpc_requests.h"

#include <stdlib.h>

#include "node/grpc_messages.h"
#include "wire/pb.h"

static enum rc malformed(struct err *err)
{
    return err_set(err, RC_INVALID, "failed to decode Protobuf message");
}

enum rc numbers_request_decode(struct slice message, uint64_t *out, size_t n, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    memset(out, 0, n * sizeof(*out));
    while (pb_next(&r, &f)) {
        if (f.wire == PB_VARINT && f.number <= n)
            out[f.number - 1] = f.value;
    }
    return r.failed ? malformed(err) : RC_OK;
}

bool bytes_request_decode(struct slice message, uint32_t number, struct slice *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    *out = SLICE_EMPTY;
    while (pb_next(&r, &f)) {
        if (f.number == number && f.wire == PB_LEN)
            *out = f.bytes;
    }
    return !r.failed;
}

bool sync_request_each(struct slice message, void (*visit)(void *ctx, uint64_t partition), void *ctx)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool named = false;
    while (pb_next(&r, &f)) {
        if (f.number != 1)
            continue;
        named = true;
        struct reader packed = reader_make(f.bytes);
        uint64_t partition;
        if (f.wire == PB_VARINT)
            visit(ctx, f.value);
        while (f.wire == PB_LEN && pb_packed_next(&packed, &partition))
            visit(ctx, partition);
    }
    return named;
}

/* ---- logs ---- */

/* An entry of a `map<string, string>`. */
static void read_context(struct slice entry, json_t **context)
{
    struct reader r = reader_make(entry);
    struct pb_field f;
    struct slice key = SLICE_EMPTY, value = SLICE_EMPTY;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            key = f.bytes;
        if (f.number == 2 && f.wire == PB_LEN)
            value = f.bytes;
    }
    if (!*context)
        *context = json_object();
    json_t *text = json_stringn((const char *)value.ptr, value.len); /* NULL: no UTF-8 */
    char *name = slice_dup_cstr(key);
    if (text)
        json_object_set_new(*context, name, text);
    free(name);
}

enum rc seal_request_decode(struct slice message, struct log_change_request *out, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    *out = (struct log_change_request){0};
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            out->log_id = f.value;
        if (f.number == 2 && f.wire == PB_VARINT) {
            out->has_index = true;
            out->index = f.value;
        }
        if (f.number == 3 && f.wire == PB_LEN)
            read_context(f.bytes, &out->context);
        if (f.number == 4 && f.wire == PB_VARINT)
            out->forced_tail = f.value;
    }
    return r.failed ? malformed(err) : RC_OK;
}

/* NodeId: `{1 id, 2 generation}`. */
static uint32_t read_node_id(struct slice message)
{
    uint64_t id = 0;
    struct reader r = reader_make(message);
    struct pb_field f;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            id = f.value;
    }
    return (uint32_t)MIN(id, UINT32_MAX);
}

static enum rc read_extension(struct slice message, struct log_change_request *out, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    struct slice provider = SLICE_EMPTY;
    enum rc rc = RC_OK;
    while (rc == RC_OK && pb_next(&r, &f)) {
        if (f.number == 2 && f.wire == PB_VARINT) {
            out->has_index = true;
            out->index = f.value;
        }
        if (f.number == 4 && f.wire == PB_LEN)
            provider = f.bytes;
        if (f.number == 6 && f.wire == PB_LEN) {
            out->has_replication = true;
            rc = pb_read_replication(f.bytes, &out->replication, err);
        }
        if (f.number == 7 && f.wire == PB_LEN)
            out->sequencer = read_node_id(f.bytes);
        if (f.number == 8 && f.wire == PB_LEN && !nodeset_add(&out->nodes, read_node_id(f.bytes)))
            rc = err_set(err, RC_INVALID, "node set size is too big, please keep it under %d", NODESET_MAX);
    }
    if (rc == RC_OK && r.failed)
        rc = malformed(err);
    if (rc == RC_OK && provider.len && !slice_eq_cstr(provider, "replicated"))
        rc = err_set(err, RC_UNSUPPORTED, "new segments can only be replicated, not %.*s",
                     (int)MIN(provider.len, 100u), (const char *)provider.ptr);
    return rc;
}

enum rc extend_request_decode(struct slice message, struct log_change_request *out, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    enum rc rc = RC_OK;
    *out = (struct log_change_request){0};
    while (rc == RC_OK && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            out->log_id = f.value;
        if (f.number == 2 && f.wire == PB_LEN && !pb_read_wrapped(f.bytes, &out->min_version))
            rc = err_set(err, RC_INVALID, "malformed version");
        if (f.number == 3 && f.wire == PB_LEN)
            rc = read_extension(f.bytes, out, err);
    }
    return rc == RC_OK && r.failed ? malformed(err) : rc;
}

/* ---- provisioning, configuration ---- */

enum { FEATURE_ID_IDEMPOTENT_SHARDING = 1 };

static enum rc disable_feature(struct provision_settings *s, uint64_t feature, struct err *err)
{
    if (feature != FEATURE_ID_IDEMPOTENT_SHARDING)
        return err_set(err, RC_INVALID, "unknown cluster feature id %llu", (unsigned long long)feature);
    s->idempotent_sharding = false;
    return RC_OK;
}

static enum rc disable_features(const struct pb_field *f, struct provision_settings *s, struct err *err)
{
    struct reader packed = reader_make(f->bytes);
    uint64_t feature;
    enum rc rc = RC_OK;
    if (f->wire == PB_VARINT)
        return disable_feature(s, f->value, err);
    while (rc == RC_OK && f->wire == PB_LEN && pb_packed_next(&packed, &feature))
        rc = disable_feature(s, feature, err);
    return rc;
}

static enum rc provision_field(struct provision_request *q, const struct pb_field *f, struct err *err)
{
    struct provision_settings *s = &q->settings;
    switch (f->number) {
    case 1:
        q->dry_run = f->value != 0;
        return RC_OK;
    case 2:
        s->n_partitions = (uint32_t)MIN(f->value, UINT32_MAX);
        return RC_OK;
    case 3:
        return pb_read_replication(f->bytes, &s->partition_replication, err);
    case 4:
        return log_provider_parse(f->bytes, &s->provider) ? RC_OK
                                                          : err_set(err, RC_INVALID, "Unknown provider kind");
    case 5:
        return pb_read_replication(f->bytes, &s->log_replication, err);
    case 6:
        s->target_nodeset_size = (uint32_t)MIN(f->value, UINT32_MAX);
        return RC_OK;
    case 7:
        return disable_features(f, s, err);
    default:
        return RC_OK;
    }
}

enum rc provision_request_decode(struct slice message, struct provision_request *q, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    enum rc rc = RC_OK;
    while (rc == RC_OK && pb_next(&r, &f))
        rc = provision_field(q, &f, err);
    if (rc == RC_OK && r.failed)
        rc = err_set(err, RC_INVALID, "malformed request");
    return rc == RC_OK ? provision_settings_check(&q->settings, err) : rc;
}

static enum rc read_provider(struct config_request *q, struct slice message, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    enum rc rc = RC_OK;
    struct slice name = SLICE_EMPTY;
    q->has_provider = true;
    while (rc == RC_OK && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN) {
            name = f.bytes;
        } else if (f.number == 2 && f.wire == PB_LEN) {
            rc = pb_read_replication(f.bytes, &q->wanted.log_replication, err);
            q->has_log_replication = true;
        } else if (f.number == 3) {
            q->wanted.target_nodeset_size = (uint32_t)MIN(f.value, UINT32_MAX);
        }
    }
    if (rc == RC_OK && !log_provider_parse(name, &q->wanted.provider))
        rc = err_set(err, RC_INVALID, "Unknown provider kind");
    return rc;
}

static enum rc read_configuration(struct config_request *q, struct slice message, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    enum rc rc = RC_OK;
    q->has_configuration = true;
    while (rc == RC_OK && pb_next(&r, &f)) {
        if (f.number == 1) {
            q->wanted.n_partitions = (uint32_t)MIN(f.value, UINT32_MAX);
        } else if (f.number == 2 && f.wire == PB_LEN) {
            rc = pb_read_replication(f.bytes, &q->wanted.partition_replication, err);
            q->has_partition_replication = true;
        } else if (f.number == 3 && f.wire == PB_LEN) {
            rc = read_provider(q, f.bytes, err);
        }
    }
    return rc;
}

enum rc config_request_decode(struct slice message, struct config_request *q, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    enum rc rc = RC_OK;
    while (rc == RC_OK && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            rc = read_configuration(q, f.bytes, err);
    }
    if (rc == RC_OK && r.failed)
        rc = err_set(err, RC_INVALID, "malformed request");
    if (rc == RC_OK && !q->has_configuration)
        rc = err_set(err, RC_INVALID, "cluster_configuration is a required field");
    if (rc == RC_OK && !q->has_provider)
        rc = err_set(err, RC_INVALID, "default_provider is a required field");
    return rc;
}

/* ---- metadata ---- */

const struct store_request_layout store_get_layout = {0, 0, 2, 3};
const struct store_request_layout store_put_layout = {2, 3, 4, 5};
const struct store_request_layout store_delete_layout = {0, 2, 3, 4};

static bool read_value(struct store_request *q, struct slice message)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    q->has_value = true;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            q->has_version = pb_read_wrapped(f.bytes, &q->version);
        if (f.number == 2 && f.wire == PB_LEN)
            q->value = f.bytes;
    }
    return reader_done(&r);
}

static bool read_precondition(struct store_request *q, struct slice message)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool good = true;
    q->has_precondition = true;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            q->precondition = f.value;
        if (f.number == 2 && f.wire == PB_LEN)
            good = pb_read_wrapped(f.bytes, &q->expected);
    }
    return good && reader_done(&r);
}

bool store_request_decode(struct slice message, const struct store_request_layout *layout,
                          struct store_request *out)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    bool good = true;
    *out = (struct store_request){0};
    while (good && pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN) {
            out->key = f.bytes;
        } else if (f.number == layout->value && f.wire == PB_LEN) {
            good = read_value(out, f.bytes);
        } else if (f.number == layout->precondition && f.wire == PB_LEN) {
            good = read_precondition(out, f.bytes);
        } else if (f.number == layout->fingerprint && f.wire == PB_VARINT) {
            out->fingerprint = f.value;
        } else if (f.number == layout->cluster_name && f.wire == PB_LEN) {
            out->has_cluster_name = true;
            out->cluster_name = f.bytes;
        }
    }
    return good && !r.failed;
}
