/* Journal entries as JSON (query/documents.h). Field order as listed in spec/sql.md §5. */
#include "query/documents.h"

#include <inttypes.h>

#include "metadata/json.h"

struct document {
    struct json_out o;
    const struct journal_entry *e;
    const struct schema *schema;
    const struct schema_defaults *defaults; /* NULL: lite */
    bool lite;
};

static void write_bytes(struct document *d, const char *key, struct slice bytes)
{
    json_key(&d->o, key);
    struct writer *w = d->o.w;
    if (d->o.comma)
        write_u8(w, ',');
    write_u8(w, '[');
    for (size_t i = 0; i < bytes.len; i++)
        write_fmt(w, i ? ",%u" : "%u", bytes.ptr[i]);
    write_u8(w, ']');
    d->o.comma = true;
}

static void write_failure(struct document *d, struct slice encoded)
{
    struct failure_view f = {0};
    failure_parse(encoded, &f);
    json_open_at(&d->o, "Failure", '{');
    json_number(&d->o, "code", f.code);
    json_text_slice(&d->o, "message", f.message);
    size_t pos = 0, n = 0;
    struct slice key, value;
    while (failure_metadata_next(f.metadata, &pos, &key, &value)) {
        if (n++ == 0)
            json_open_at(&d->o, "metadata", '[');
        json_open(&d->o, '{');
        json_text_slice(&d->o, "key", key);
        json_text_slice(&d->o, "value", value);
        json_close(&d->o, '}');
    }
    if (n)
        json_close(&d->o, ']');
    json_close(&d->o, '}');
}

static void write_outcome(struct document *d, const char *key, const struct outcome *o)
{
    static const char *const names[] = {"Void", "Void", "Success", "Failure"};
    if (d->lite || o->kind <= OUTCOME_VOID) {
        json_text(&d->o, key, names[o->kind]);
        return;
    }
    json_open_at(&d->o, key, '{');
    if (o->kind == OUTCOME_SUCCESS)
        write_bytes(d, "Success", o->value);
    else
        write_failure(d, o->value);
    json_close(&d->o, '}');
}

static void write_id(struct document *d, const char *key, struct invocation_id id)
{
    char text[INVOCATION_ID_TEXT + 1];
    invocation_id_format(id, text);
    json_text(&d->o, key, text);
}

/* ---- calls ---- */

static const struct schema_handler *callee(const struct document *d, const struct command_view *c)
{
    const struct schema_service *s = d->schema ? schema_service(d->schema, c->service) : NULL;
    return s ? schema_handler(s, c->handler) : NULL;
}

static enum target_kind callee_kind(const struct document *d, const struct command_view *c)
{
    const struct schema_handler *h = callee(d, c);
    if (h)
        return h->kind;
    return c->key.len ? TARGET_OBJECT_EXCLUSIVE : TARGET_SERVICE;
}

static void write_scope(struct document *d, const struct command_view *c)
{
    if (c->has_scope)
        json_text_slice(&d->o, "scope", c->scope);
    else
        json_nothing(&d->o, "scope");
}

static void write_target(struct document *d, const struct command_view *c)
{
    enum target_kind kind = callee_kind(d, c);
    const char *variant = kind == TARGET_SERVICE     ? "Service"
                          : target_is_workflow(kind) ? "Workflow"
                                                     : "VirtualObject";
    static const char *const types[] = {"", "Exclusive", "Shared", "Workflow", "Shared"};
    json_open_at(&d->o, "invocation_target", '{');
    json_open_at(&d->o, variant, '{');
    json_text_slice(&d->o, "name", c->service);
    if (kind != TARGET_SERVICE)
        json_text_slice(&d->o, "key", c->key);
    json_text_slice(&d->o, "handler", c->handler);
    if (kind != TARGET_SERVICE)
        json_text(&d->o, "handler_ty", types[kind]);
    write_scope(d, c);
    json_close(&d->o, '}');
    json_close(&d->o, '}');
}

static void write_headers(struct document *d, const struct command_view *c)
{
    json_open_at(&d->o, "headers", '[');
    size_t pos = 0;
    struct slice name, value;
    while (command_header_next(c, &pos, &name, &value)) {
        json_open(&d->o, '{');
        json_text_slice(&d->o, "name", name);
        json_text_slice(&d->o, "value", value);
        json_close(&d->o, '}');
    }
    json_close(&d->o, ']');
}

static void write_retention(struct document *d, const char *key, uint64_t ms)
{
    json_open_at(&d->o, key, '{');
    json_number(&d->o, "secs", ms / 1000);
    json_number(&d->o, "nanos", ms % 1000 * 1000000);
    json_close(&d->o, '}');
}

static void write_retentions(struct document *d, const struct command_view *c)
{
    const struct schema_handler *h = callee(d, c);
    uint64_t completion_ms = 0, journal_ms = 0;
    if (h)
        schema_resolve_retention(d->defaults, h, c->has_idempotency_key, &completion_ms, &journal_ms);
    write_retention(d, "completion_retention_duration", completion_ms);
    write_retention(d, "journal_retention_duration", journal_ms);
}

static void write_request(struct document *d, const struct command_view *c)
{
    static const char span[] =
        "{\"span_context\":{\"trace_id\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0],\"span_id\":[0,0,0,0,0,"
        "0,0,0],\"trace_flags\":0,\"is_remote\":false,\"trace_state\":\"\"},\"cause\":null}";
    json_open_at(&d->o, "request", '{');
    write_id(d, "invocation_id", d->e->callee);
    write_target(d, c);
    json_raw(&d->o, "span_context", span);
    write_bytes(d, "parameter", c->parameter);
    write_headers(d, c);
    if (c->has_idempotency_key)
        json_text_slice(&d->o, "idempotency_key", c->idempotency_key);
    else
        json_nothing(&d->o, "idempotency_key");
    write_retentions(d, c);
    if (c->has_limit_key)
        json_text_slice(&d->o, "limit_key", c->limit_key);
    json_close(&d->o, '}');
}

static void write_call(struct document *d, const struct command_view *c)
{
    bool one_way = c->type == MSG_ONE_WAY_CALL;
    if (d->lite) {
        write_id(d, "invocation_id", d->e->callee);
        write_target(d, c);
    } else {
        write_request(d, c);
    }
    if (one_way)
        json_number(&d->o, "invoke_time", c->time_ms);
    json_number(&d->o, "invocation_id_completion_id", c->invocation_id_completion_id);
    if (!one_way)
        json_number(&d->o, "result_completion_id", c->completion_id);
}

static void write_attach(struct document *d, const struct command_view *c)
{
    json_open_at(&d->o, "target", '{');
    if (c->attach_kind == ATTACH_TARGET_ID) {
        json_text_slice(&d->o, "InvocationId", c->target_id);
    } else if (c->attach_kind == ATTACH_TARGET_IDEMPOTENT) {
        json_open_at(&d->o, "IdempotentRequest", '{');
        json_text_slice(&d->o, "service_name", c->attach_service);
        if (c->attach_key.ptr)
            json_text_slice(&d->o, "service_key", c->attach_key);
        else
            json_nothing(&d->o, "service_key");
        json_text_slice(&d->o, "service_handler", c->attach_handler);
        json_text_slice(&d->o, "idempotency_key", c->attach_idempotency_key);
        write_scope(d, c);
        json_close(&d->o, '}');
    } else {
        json_open_at(&d->o, "Workflow", '{');
        json_text_slice(&d->o, "service_name", c->attach_service);
        json_text_slice(&d->o, "key", c->attach_key);
        json_number(&d->o, "partition_key", partition_key_of_key(c->has_scope ? c->scope : c->attach_key));
        write_scope(d, c);
        json_close(&d->o, '}');
    }
    json_close(&d->o, '}');
    json_number(&d->o, "completion_id", c->completion_id);
}

static void write_signal(struct document *d, const struct command_view *c)
{
    json_text_slice(&d->o, "target_invocation_id", c->target_id);
    json_open_at(&d->o, "signal_id", '{');
    if (c->signal_named)
        json_text_slice(&d->o, "Name", c->signal_name);
    else
        json_number(&d->o, "Index", c->signal_index);
    json_close(&d->o, '}');
    write_outcome(d, "result", &c->value);
}

/* ---- lists of state keys ---- */

/* StateKeys {1 key*} in field `number`. */
static void write_state_keys(struct document *d, uint32_t number)
{
    json_open_at(&d->o, "state_keys", '[');
    struct reader r = reader_make(bytes_slice(d->e->payload));
    struct pb_field f, key;
    while (pb_next(&r, &f)) {
        if (f.number != number || f.wire != PB_LEN)
            continue;
        struct reader keys = reader_make(f.bytes);
        while (pb_next(&keys, &key))
            if (key.number == 1 && key.wire == PB_LEN)
                json_text_slice(&d->o, NULL, key.bytes);
    }
    json_close(&d->o, ']');
}

/* ---- commands ---- */

static void write_command_fields(struct document *d, const struct command_view *c)
{
    switch (c->type) {
    case MSG_INPUT:
        if (d->lite)
            break;
        write_headers(d, c);
        write_bytes(d, "payload", c->value.kind == OUTCOME_SUCCESS ? c->value.value : c->parameter);
        break;
    case MSG_OUTPUT:
        write_outcome(d, "result", &c->value);
        break;
    case MSG_GET_LAZY_STATE:
    case MSG_GET_PROMISE:
    case MSG_PEEK_PROMISE:
        json_text_slice(&d->o, "key", c->key);
        json_number(&d->o, "completion_id", c->completion_id);
        break;
    case MSG_SET_STATE:
        json_text_slice(&d->o, "key", c->key);
        if (!d->lite)
            write_bytes(d, "value", c->value.value);
        break;
    case MSG_CLEAR_STATE:
        json_text_slice(&d->o, "key", c->key);
        break;
    case MSG_GET_LAZY_STATE_KEYS:
    case MSG_RUN:
        json_number(&d->o, "completion_id", c->completion_id);
        break;
    case MSG_GET_EAGER_STATE:
        json_text_slice(&d->o, "key", c->key);
        write_outcome(d, "result", &c->value);
        break;
    case MSG_GET_EAGER_STATE_KEYS:
        if (!d->lite)
            write_state_keys(d, 14);
        break;
    case MSG_COMPLETE_PROMISE:
        json_text_slice(&d->o, "key", c->key);
        if (!d->lite)
            write_outcome(d, "value", &c->value);
        json_number(&d->o, "completion_id", c->completion_id);
        break;
    case MSG_SLEEP:
        json_number(&d->o, "wake_up_time", c->time_ms);
        json_number(&d->o, "completion_id", c->completion_id);
        break;
    case MSG_CALL:
    case MSG_ONE_WAY_CALL:
        write_call(d, c);
        break;
    case MSG_SEND_SIGNAL:
        write_signal(d, c);
        break;
    case MSG_ATTACH:
    case MSG_GET_OUTPUT:
        write_attach(d, c);
        break;
    case MSG_COMPLETE_AWAKEABLE:
        json_text_slice(&d->o, "id", c->target_id);
        write_outcome(d, "result", &c->value);
        break;
    default:
        break;
    }
}

static bool write_command(struct document *d)
{
    const char *type = message_type_name(d->e->type);
    struct command_view c;
    struct err err;
    if (!type || command_decode(d->e->type, bytes_slice(d->e->payload), &c, &err) != RC_OK)
        return false;
    json_open(&d->o, '{');
    json_open_at(&d->o, "Command", '{');
    json_open_at(&d->o, type, '{');
    write_command_fields(d, &c);
    if (!d->lite || c.name.len)
        json_text_slice(&d->o, "name", c.name);
    json_close(&d->o, '}');
    json_close(&d->o, '}');
    json_close(&d->o, '}');
    return true;
}

/* ---- notifications ---- */

/* The invocation_id result, field 16. */
static struct slice invocation_id_result(const struct journal_entry *e)
{
    struct reader r = reader_make(bytes_slice(e->payload));
    struct pb_field f;
    while (pb_next(&r, &f))
        if (f.number == 16 && f.wire == PB_LEN)
            return f.bytes;
    return SLICE_EMPTY;
}

static bool write_lite_notification(struct document *d, const char *type, const struct notification_view *n)
{
    bool signal = d->e->type == MSG_N_SIGNAL;
    json_open(&d->o, '{');
    json_open_at(&d->o, "Notification", '{');
    if (signal) {
        json_text(&d->o, "ty", "Signal");
    } else {
        json_open_at(&d->o, "ty", '{');
        json_text(&d->o, "Completion", type);
        json_close(&d->o, '}');
    }
    json_open_at(&d->o, "id", '{');
    if (n->id.kind == NOTIFICATION_NAMED_SIGNAL)
        json_text_slice(&d->o, "SignalName", n->id.name);
    else
        json_number(&d->o, n->id.kind == NOTIFICATION_SIGNAL ? "SignalIndex" : "CompletionId", n->id.index);
    json_close(&d->o, '}');
    if (n->has_other_result)
        json_text(&d->o, "result", d->e->type == MSG_N_CALL_INVOCATION_ID ? "InvocationId" : "StateKeys");
    else
        write_outcome(d, "result", &n->outcome);
    json_close(&d->o, '}');
    json_close(&d->o, '}');
    return true;
}

static void write_completion(struct document *d, const char *type, const struct notification_view *n)
{
    json_open_at(&d->o, "Completion", '{');
    json_open_at(&d->o, type, '{');
    json_number(&d->o, "completion_id", n->id.index);
    if (d->e->type == MSG_N_CALL_INVOCATION_ID)
        json_text_slice(&d->o, "invocation_id", invocation_id_result(d->e));
    else if (d->e->type == MSG_N_GET_LAZY_STATE_KEYS)
        write_state_keys(d, 17);
    else if (d->e->type != MSG_N_SLEEP)
        write_outcome(d, "result", &n->outcome);
    json_close(&d->o, '}');
    json_close(&d->o, '}');
}

static bool write_notification(struct document *d)
{
    const char *type = message_type_name(d->e->type);
    struct notification_view n;
    if (!type || !notification_decode(bytes_slice(d->e->payload), &n))
        return false;
    if (d->lite)
        return write_lite_notification(d, type, &n);
    json_open(&d->o, '{');
    json_open_at(&d->o, "Notification", '{');
    if (d->e->type == MSG_N_SIGNAL) {
        json_open_at(&d->o, "Signal", '{');
        json_open_at(&d->o, "id", '{');
        if (n.id.kind == NOTIFICATION_NAMED_SIGNAL)
            json_text_slice(&d->o, "Name", n.id.name);
        else
            json_number(&d->o, "Index", n.id.index);
        json_close(&d->o, '}');
        write_outcome(d, "result", &n.outcome);
        json_close(&d->o, '}');
    } else {
        write_completion(d, type, &n);
    }
    json_close(&d->o, '}');
    json_close(&d->o, '}');
    return true;
}

static bool write_entry(struct writer *w, const struct journal_entry *e, const struct schema *schema,
                        const struct schema_defaults *defaults)
{
    struct document d = {json_out_make(w), e, schema, defaults, defaults == NULL};
    size_t start = w->len;
    if (message_is_command(e->type) ? write_command(&d) : write_notification(&d))
        return true;
    w->len = start;
    return false;
}

bool document_entry(struct writer *w, const struct journal_entry *e, const struct schema *schema,
                    const struct schema_defaults *defaults)
{
    return write_entry(w, e, schema, defaults);
}

bool document_entry_lite(struct writer *w, const struct journal_entry *e, const struct schema *schema)
{
    return write_entry(w, e, schema, NULL);
}

bool document_entry_type(struct writer *w, uint16_t type)
{
    const char *name = message_type_name(type);
    if (name)
        write_fmt(w, "%s: %s", message_is_command(type) ? "Command" : "Notification", name);
    return name != NULL;
}

bool document_entry_name(const struct journal_entry *e, struct slice *name)
{
    struct command_view c;
    struct err err;
    if (!message_is_command(e->type) || command_decode(e->type, bytes_slice(e->payload), &c, &err) != RC_OK)
        return false;
    *name = c.name;
    return true;
}

/* ---- futures ---- */

enum { FUTURE_DEPTH_MAX = 256 };

static void separate(struct writer *w, bool *first)
{
    if (!*first)
        write_u8(w, ',');
    *first = false;
}

void document_future(struct writer *w, const struct awaiting *a)
{
    awaiting_write_json(w, a);
}

static void list_number(struct writer *w, uint64_t v, bool *first)
{
    separate(w, first);
    write_fmt(w, "%" PRIu64, v);
}

static void list_tree(struct writer *w, struct slice future, uint32_t wanted, unsigned depth, bool *first)
{
    struct reader r = reader_make(future);
    struct pb_field f;
    uint64_t index;
    while (pb_next(&r, &f)) {
        if (f.number == wanted && f.wire == PB_VARINT) {
            list_number(w, f.value, first);
        } else if (f.number == wanted && f.wire == PB_LEN) {
            struct reader packed = reader_make(f.bytes);
            while (pb_packed_next(&packed, &index))
                list_number(w, index, first);
        } else if (f.number == 4 && f.wire == PB_LEN && depth < FUTURE_DEPTH_MAX) {
            list_tree(w, f.bytes, wanted, depth + 1, first);
        }
    }
}

void document_leaves(struct writer *w, const struct awaiting *a, enum document_leaves which)
{
    bool first = true;
    write_u8(w, '[');
    if (a->is_tree) {
        list_tree(w, bytes_slice(a->encoded), which == LEAVES_COMPLETIONS ? 1 : 2, 0, &first);
    } else {
        struct reader r = reader_make(bytes_slice(a->encoded));
        struct notification_id id;
        enum notification_id_kind kind =
            which == LEAVES_COMPLETIONS ? NOTIFICATION_COMPLETION : NOTIFICATION_SIGNAL;
        while (reader_left(&r) && notification_id_read(&r, &id))
            if (id.kind == kind)
                list_number(w, id.index, &first);
    }
    write_u8(w, ']');
}
