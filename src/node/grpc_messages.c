/* Shared protobuf messages: see grpc_messages.h. */
#include "node/grpc_messages.h"

void pb_put_message(struct writer *w, uint32_t field, struct writer *inner_take)
{
    pb_write_bytes_always(w, field, writer_slice(inner_take));
    writer_free(inner_take);
}

void pb_put_text(struct writer *w, uint32_t field, const char *text)
{
    pb_write_bytes(w, field, slice_cstr(text));
}

void pb_put_wrapped(struct writer *w, uint32_t field, uint64_t value)
{
    struct writer inner = WRITER_INIT;
    pb_write_u64(&inner, 1, value);
    pb_put_message(w, field, &inner);
}

void pb_put_time(struct writer *w, uint32_t field, uint64_t ms)
{
    struct writer inner = WRITER_INIT;
    pb_write_u64(&inner, 1, ms / 1000);
    pb_write_u64(&inner, 2, ms % 1000 * 1000000);
    pb_put_message(w, field, &inner);
}

void pb_put_node_id(struct writer *w, uint32_t field, uint32_t id, uint32_t generation)
{
    struct writer inner = WRITER_INIT;
    pb_write_u64(&inner, 1, id);
    pb_write_u64(&inner, 2, generation);
    pb_put_message(w, field, &inner);
}

bool pb_read_wrapped(struct slice message, uint64_t *value)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    *value = 0;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_VARINT)
            *value = f.value;
    }
    return reader_done(&r);
}

static void put_replication(struct writer *w, uint32_t field, const struct replication *r)
{
    char text[REPLICATION_TEXT_SIZE];
    struct writer inner = WRITER_INIT;
    replication_format(r, text);
    pb_put_text(&inner, 1, text);
    pb_put_message(w, field, &inner);
}

void pb_put_cluster_configuration(struct writer *w, uint32_t field, const struct provision_settings *s)
{
    struct writer configuration = WRITER_INIT, provider = WRITER_INIT;
    pb_write_u64(&configuration, 1, s->n_partitions);
    put_replication(&configuration, 2, &s->partition_replication);
    pb_put_text(&provider, 1, log_provider_name(s->provider));
    if (s->provider == LOG_PROVIDER_REPLICATED) {
        put_replication(&provider, 2, &s->log_replication);
        pb_write_u64(&provider, 3, s->target_nodeset_size);
    }
    pb_put_message(&configuration, 3, &provider);
    pb_put_message(w, field, &configuration);
}

enum rc pb_read_replication(struct slice message, struct replication *out, struct err *err)
{
    struct reader r = reader_make(message);
    struct pb_field f;
    struct slice text = SLICE_EMPTY;
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            text = f.bytes;
    }
    if (!reader_done(&r))
        return err_set(err, RC_INVALID, "malformed replication property");
    return replication_parse(text, out, err);
}
