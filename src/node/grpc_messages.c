/* Shared protobuf messages: see grpc_messages.h. */
#include "node/grpc_messages.h"

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
