/* The invoker reads whatever an endpoint sends: frames out of chunks of any size, and every message decoded
 * and checked as an attempt does. What passes the checks must be accepted by the decoder of log records too
 * (spec/service-protocol.md §13). */
#include <stdlib.h>

#include "invoker/invoker_internal.h"
#include "metadata/schema_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct schema *schema;
static struct schema_defaults defaults;

static uint64_t fixed(struct env *e)
{
    return 42;
}
static const struct env_ops env_ops = {.wall_ms = fixed, .mono_ms = fixed, .random_u64 = fixed};
static struct env env = {&env_ops};

/* A record with this one effect can be read back. */
static void check_record(const struct effect *effect)
{
    struct writer w = WRITER_INIT;
    struct invocation_id id = {1, {2, 3}};
    record_begin(&w, 0);
    effects_begin(&w, id, 1, 1);
    effect_write(&w, effect);
    struct reader r = reader_make(record_body(writer_slice(&w)));
    struct effects_head head;
    struct effect back;
    ASSERT(effects_begin_read(&r, &head) && effect_read(&r, &back) && reader_done(&r));
    writer_free(&w);
}

static void check_command(uint16_t type, struct slice payload)
{
    static const enum target_kind kinds[] = {TARGET_SERVICE, TARGET_OBJECT_EXCLUSIVE, TARGET_OBJECT_SHARED,
                                             TARGET_WORKFLOW_RUN};
    for (size_t i = 0; i < 2 * ARRAY_LEN(kinds); i++) { /* scopes off, then on */
        bool scopes = i >= ARRAY_LEN(kinds);
        struct command_context ctx = {.schema = schema,
                                      .defaults = &defaults,
                                      .env = &env,
                                      .kind = kinds[i % ARRAY_LEN(kinds)],
                                      .scopes = scopes,
                                      .scoped_objects = scopes};
        struct command_view c;
        struct effect effect = {.kind = EFFECT_ENTRY, .entry_type = type, .payload = payload};
        const char *doc_code;
        struct err err = {0};
        if (command_prepare(&ctx, type, payload, &c, &effect, &doc_code, &err) == RC_OK)
            check_record(&effect);
        else
            ASSERT(doc_code && err.msg[0]);
    }
}

static bool on_frame(void *ctx, const struct frame_header *h, struct slice payload)
{
    struct writer w = WRITER_INIT;
    struct error_view error;
    struct propose_run_view run;
    struct slice future;
    size_t count = 0;
    if (message_is_command(h->type))
        check_command(h->type, payload);
    error_decode(payload, &error);
    future_decode(payload, 4, 100, &future);
    if (h->type == MSG_SUSPENSION && suspension_decode(payload, &w, &count) && count > 0) {
        struct effect effect = {.kind = EFFECT_SUSPEND, .payload = writer_slice(&w)};
        check_record(&effect);
    }
    if (h->type == MSG_PROPOSE_RUN && propose_run_decode(payload, &run) && run.outcome.kind != OUTCOME_NONE) {
        struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = run.completion_id};
        writer_reset(&w);
        notification_write(&w, &id, &run.outcome);
        struct effect effect = {.kind = EFFECT_ENTRY, .entry_type = MSG_N_RUN, .payload = writer_slice(&w)};
        check_record(&effect);
    }
    writer_free(&w);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!schema)
        schema = schema_empty();
    if (size < 1)
        return 0;
    size_t chunk = (size_t)data[0] + 1;
    struct frame_input in = {0};
    for (size_t at = 1; at < size; at += chunk)
        if (frame_input_feed(&in, slice_make(data + at, MIN(chunk, size - at)), 1 << 20, on_frame, NULL) !=
            RC_OK)
            break;
    frame_input_free(&in);
    return 0;
}
