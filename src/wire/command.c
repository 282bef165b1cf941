/* Record header and the bodies of all commands except the invoker's effects (wire/command.h). Encodings are
 * fixed-width big endian for ids, varints for numbers, length-prefixed strings; every reader accepts exactly
 * what its writer makes. */
#include "wire/command.h"

#include "base/hash.h"
#include "wire/fields.h"
#include "wire/scope.h"
#include "wire/service_protocol.h"

/* ---- record header ---- */

/* Layout: version, kind, dedup, 5 reserved zero bytes, then seven u64: created_at, key range, producer (hi,
 * lo), sequence (hi, lo). */
_Static_assert(8 + 7 * 8 == RECORD_HEADER_SIZE, "record header layout");

const char *command_kind_name(enum command_kind kind)
{
    switch (kind) {
    case CMD_ANNOUNCE_LEADER:
        return "AnnounceLeader";
    case CMD_VERSION_BARRIER:
        return "VersionBarrier";
    case CMD_PARTITION_DURABILITY:
        return "UpdatePartitionDurability";
    case CMD_PATCH_STATE:
        return "PatchState";
    case CMD_TERMINATE:
        return "TerminateInvocation";
    case CMD_PURGE:
        return "PurgeInvocation";
    case CMD_PURGE_JOURNAL:
        return "PurgeJournal";
    case CMD_INVOKE:
        return "Invoke";
    case CMD_TRUNCATE_OUTBOX:
        return "TruncateOutbox";
    case CMD_PROXY_THROUGH:
        return "ProxyThrough";
    case CMD_ATTACH:
        return "AttachInvocation";
    case CMD_RESUME:
        return "ResumeInvocation";
    case CMD_RESTART_AS_NEW:
        return "RestartAsNewInvocation";
    case CMD_INVOKER_EFFECTS:
        return "InvokerEffect";
    case CMD_TIMER:
        return "Timer";
    case CMD_INVOCATION_RESPONSE:
        return "InvocationResponse";
    case CMD_OUTPUT_RESPONSE:
        return "NotifyGetInvocationOutputResponse";
    case CMD_SIGNAL:
        return "NotifySignal";
    case CMD_RULE_BOOK:
        return "UpsertRuleBook";
    case CMD_ADMIT:
        return "VQSchedulerDecisions";
    case CMD_PAUSE_QUEUE:
        return "VQueuesPause";
    case CMD_RESUME_QUEUE:
        return "VQueuesResume";
    case CMD_FORGET_PRODUCERS:
        return "ForgetProducers";
    case CMD_PAUSE:
        return "PauseInvocation";
    }
    return "unknown";
}

static bool command_kind_known(uint8_t kind)
{
    return (kind >= CMD_ANNOUNCE_LEADER && kind <= CMD_TIMER) ||
           (kind >= CMD_INVOCATION_RESPONSE && kind <= CMD_SIGNAL) ||
           (kind >= CMD_RULE_BOOK && kind <= CMD_FORGET_PRODUCERS);
}

void record_header_put(uint8_t *record, const struct record_header *h)
{
    ASSERT(h->version == RECORD_VERSION && command_kind_known(h->kind) && h->dedup <= DEDUP_PRODUCER);
    ASSERT(h->key_start <= h->key_end);
    memset(record, 0, 8);
    record[0] = h->version;
    record[1] = h->kind;
    record[2] = h->dedup;
    put_u64be(record + 8, h->created_at_ms);
    put_u64be(record + 16, h->key_start);
    put_u64be(record + 24, h->key_end);
    put_u64be(record + 32, h->producer.hi);
    put_u64be(record + 40, h->producer.lo);
    put_u64be(record + 48, h->seq_hi);
    put_u64be(record + 56, h->seq_lo);
}

bool record_header_get(struct slice record, struct record_header *out)
{
    static const uint8_t reserved[5];
    if (record.len < RECORD_HEADER_SIZE)
        return false;
    const uint8_t *p = record.ptr;
    if (p[0] != RECORD_VERSION || !command_kind_known(p[1]) || p[2] > DEDUP_PRODUCER ||
        memcmp(p + 3, reserved, sizeof(reserved)) != 0)
        return false;
    *out = (struct record_header){
        .version = p[0],
        .kind = p[1],
        .dedup = p[2],
        .created_at_ms = get_u64be(p + 8),
        .key_start = get_u64be(p + 16),
        .key_end = get_u64be(p + 24),
        .producer = {get_u64be(p + 32), get_u64be(p + 40)},
        .seq_hi = get_u64be(p + 48),
        .seq_lo = get_u64be(p + 56),
    };
    return out->key_start <= out->key_end;
}

void record_begin(struct writer *w, size_t body_size_hint)
{
    ASSERT(w->len == 0);
    memset(writer_reserve(w, RECORD_HEADER_SIZE + body_size_hint), 0, RECORD_HEADER_SIZE);
    w->len = RECORD_HEADER_SIZE;
}

/* ---- Invoke ---- */

void service_invocation_write_head(struct writer *w, const struct service_invocation *si, size_t input_len)
{
    write_id(w, si->id);
    target_write(w, &si->target);
    write_u8(w, (uint8_t)si->source);
    if (si->source == SOURCE_INGRESS || si->source == SOURCE_SUBSCRIPTION)
        write_u128(w, si->source_request_id);
    if (si->source == SOURCE_SERVICE || si->source == SOURCE_RESTART)
        write_id(w, si->source_id);
    if (si->source == SOURCE_SERVICE)
        target_write(w, &si->source_target);
    write_varint(w, si->execution_time_ms);
    write_varint(w, si->completion_retention_ms);
    write_varint(w, si->journal_retention_ms);
    write_opt_text(w, si->idempotency_key);
    write_opt_text(w, si->limit_key);
    write_lp(w, si->traceparent);
    write_lp(w, si->created_using);
    sink_write(w, &si->response_sink);
    write_bool(w, si->notify_submission);
    write_varint(w, input_len);
}

void service_invocation_write(struct writer *w, const struct service_invocation *si)
{
    service_invocation_write_head(w, si, si->input.len);
    write_slice_raw(w, si->input);
}

bool service_invocation_read(struct reader *r, struct service_invocation *out)
{
    *out = (struct service_invocation){.id = read_id(r)};
    target_read(r, &out->target);
    out->source = (enum source_kind)read_enum(r, SOURCE_INTERNAL + 1);
    if (out->source == SOURCE_INGRESS || out->source == SOURCE_SUBSCRIPTION)
        out->source_request_id = read_u128(r);
    if (out->source == SOURCE_SERVICE || out->source == SOURCE_RESTART)
        out->source_id = read_id(r);
    if (out->source == SOURCE_SERVICE)
        target_read(r, &out->source_target);
    out->execution_time_ms = read_varint(r);
    out->completion_retention_ms = read_varint(r);
    out->journal_retention_ms = read_varint(r);
    out->idempotency_key = read_opt_text(r);
    out->limit_key = read_opt_limit_key(r);
    out->traceparent = read_text(r);
    out->created_using = read_text(r);
    sink_read(r, &out->response_sink);
    out->notify_submission = read_bool(r);
    out->input = read_lp(r);
    if (!r->failed && !input_valid(out->input))
        field_fail(r);
    return !r->failed;
}

/* ---- leadership, versions, durability ---- */

void cmd_announce_leader_write(struct writer *w, const struct cmd_announce_leader *c)
{
    write_u32be(w, c->node_id);
    write_u32be(w, c->node_generation);
    write_u64be(w, c->epoch);
    write_u64be(w, c->key_start);
    write_u64be(w, c->key_end);
    write_lp(w, c->configuration);
}

bool cmd_announce_leader_read(struct reader *r, struct cmd_announce_leader *out)
{
    out->node_id = read_u32be(r);
    out->node_generation = read_u32be(r);
    out->epoch = read_u64be(r);
    out->key_start = read_u64be(r);
    out->key_end = read_u64be(r);
    out->configuration = read_lp(r);
    return !r->failed && out->key_start <= out->key_end;
}

void cmd_version_barrier_write(struct writer *w, const struct cmd_version_barrier *c)
{
    write_lp(w, c->min_version);
    write_lp(w, c->reason);
    write_u64be(w, c->features);
}

bool cmd_version_barrier_read(struct reader *r, struct cmd_version_barrier *out)
{
    out->min_version = read_text(r);
    out->reason = read_text(r);
    out->features = read_u64be(r);
    return !r->failed;
}

void cmd_partition_durability_write(struct writer *w, const struct cmd_partition_durability *c)
{
    write_varint(w, c->durable_lsn);
    write_varint(w, c->at_ms);
}

bool cmd_partition_durability_read(struct reader *r, struct cmd_partition_durability *out)
{
    out->durable_lsn = read_varint(r);
    out->at_ms = read_varint(r);
    return !r->failed;
}

/* ---- operations on invocations and state ---- */

void cmd_patch_state_write(struct writer *w, const struct cmd_patch_state *c)
{
    write_lp(w, c->service);
    write_lp(w, c->key);
    write_opt_text(w, c->scope);
    write_opt_text(w, c->expected_version);
    write_lp(w, c->entries);
}

static bool state_entries_valid(struct slice entries)
{
    struct reader r = reader_make(entries);
    while (!r.failed && r.p != r.end) {
        read_text(&r); /* key */
        read_lp(&r);   /* value */
    }
    return reader_done(&r);
}

bool cmd_patch_state_read(struct reader *r, struct cmd_patch_state *out)
{
    out->service = read_text(r);
    out->key = read_text(r);
    out->scope = read_opt_scope(r);
    out->expected_version = read_opt_text(r);
    out->entries = read_lp(r);
    if (!r->failed && !state_entries_valid(out->entries))
        field_fail(r);
    return !r->failed;
}

void cmd_terminate_write(struct writer *w, const struct cmd_terminate *c)
{
    write_id(w, c->id);
    write_bool(w, c->kill);
    write_u128(w, c->reply_request_id);
}

bool cmd_terminate_read(struct reader *r, struct cmd_terminate *out)
{
    out->id = read_id(r);
    out->kill = read_bool(r);
    out->reply_request_id = read_u128(r);
    return !r->failed;
}

void cmd_target_id_write(struct writer *w, const struct cmd_target_id *c)
{
    write_id(w, c->id);
    write_u128(w, c->reply_request_id);
}

bool cmd_target_id_read(struct reader *r, struct cmd_target_id *out)
{
    out->id = read_id(r);
    out->reply_request_id = read_u128(r);
    return !r->failed;
}

void cmd_truncate_outbox_write(struct writer *w, const struct cmd_truncate_outbox *c)
{
    write_varint(w, c->index);
}

bool cmd_truncate_outbox_read(struct reader *r, struct cmd_truncate_outbox *out)
{
    out->index = read_varint(r);
    return !r->failed;
}

void cmd_attach_write(struct writer *w, const struct cmd_attach *c)
{
    write_id(w, c->id);
    write_bool(w, c->block);
    sink_write(w, &c->sink);
}

bool cmd_attach_read(struct reader *r, struct cmd_attach *out)
{
    out->id = read_id(r);
    out->block = read_bool(r);
    return sink_read(r, &out->sink);
}

static void repin_write(struct writer *w, bool repin, struct u128 deployment_id)
{
    write_bool(w, repin);
    if (repin)
        write_u128(w, deployment_id);
}

static bool repin_read(struct reader *r, struct u128 *deployment_id)
{
    bool repin = read_bool(r);
    *deployment_id = repin ? read_u128(r) : (struct u128){0, 0};
    return repin;
}

void cmd_resume_write(struct writer *w, const struct cmd_resume *c)
{
    write_id(w, c->id);
    repin_write(w, c->repin, c->deployment_id);
    write_u128(w, c->reply_request_id);
}

bool cmd_resume_read(struct reader *r, struct cmd_resume *out)
{
    out->id = read_id(r);
    out->repin = repin_read(r, &out->deployment_id);
    out->reply_request_id = read_u128(r);
    return !r->failed;
}

void cmd_restart_as_new_write(struct writer *w, const struct cmd_restart_as_new *c)
{
    write_id(w, c->id);
    write_id(w, c->new_id);
    write_varint(w, c->copy_prefix_up_to);
    repin_write(w, c->repin, c->deployment_id);
    write_u128(w, c->reply_request_id);
    write_lp(w, c->created_using);
}

bool cmd_restart_as_new_read(struct reader *r, struct cmd_restart_as_new *out)
{
    out->id = read_id(r);
    out->new_id = read_id(r);
    out->copy_prefix_up_to = read_varint32(r);
    out->repin = repin_read(r, &out->deployment_id);
    out->reply_request_id = read_u128(r);
    out->created_using = read_text(r);
    return !r->failed;
}

/* ---- timers, responses, signals ---- */

int timer_key_cmp(const struct timer_key *a, const struct timer_key *b)
{
    if (a->wake_up_ms != b->wake_up_ms)
        return a->wake_up_ms < b->wake_up_ms ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    int c = invocation_id_cmp(a->id, b->id);
    if (c != 0)
        return c;
    return a->index < b->index ? -1 : a->index > b->index;
}

void timer_key_write(struct writer *w, const struct timer_key *k)
{
    write_u64be(w, k->wake_up_ms);
    write_u8(w, (uint8_t)k->kind);
    write_id(w, k->id);
    write_u32be(w, k->index);
}

bool timer_key_read(struct reader *r, struct timer_key *out)
{
    out->wake_up_ms = read_u64be(r);
    out->kind = (enum timer_kind)read_enum(r, TIMER_RETRY + 1);
    out->id = read_id(r);
    out->index = read_u32be(r);
    return !r->failed;
}

void cmd_invocation_response_write(struct writer *w, const struct cmd_invocation_response *c)
{
    write_id(w, c->caller);
    write_varint(w, c->completion_id);
    outcome_write(w, &c->outcome);
}

bool cmd_invocation_response_read(struct reader *r, struct cmd_invocation_response *out)
{
    out->caller = read_id(r);
    out->completion_id = read_varint32(r);
    return outcome_read(r, &out->outcome) && out->outcome.kind != OUTCOME_NONE;
}

void cmd_signal_write(struct writer *w, const struct cmd_signal *c)
{
    write_id(w, c->id);
    write_bool(w, c->named);
    if (c->named)
        write_lp(w, c->name);
    else
        write_varint(w, c->index);
    outcome_write(w, &c->outcome);
}

bool cmd_signal_read(struct reader *r, struct cmd_signal *out)
{
    *out = (struct cmd_signal){.id = read_id(r), .named = false};
    out->named = read_bool(r);
    if (out->named)
        out->name = read_text(r);
    else
        out->index = read_varint32(r);
    return outcome_read(r, &out->outcome) && out->outcome.kind != OUTCOME_NONE;
}

const char *failure_code_name(uint32_t code)
{
    static const struct {
        uint32_t code;
        const char *name;
    } names[] = {{400, "Bad request"},
                 {404, "Not found"},
                 {409, "Aborted"},
                 {410, "Gone"},
                 {415, "Unsupported media type"},
                 {470, "Not ready"},
                 {500, "Internal"},
                 {570, "Journal mismatch"},
                 {571, "Protocol violation"},
                 {572, "Awaiting two async results"},
                 {573, "Unsupported feature"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i].code == code)
            return names[i].name;
    return NULL;
}

/* ---- producers ---- */

uint32_t producer_tag(struct u128 subscription)
{
    uint32_t tag = (uint32_t)hash64_combine(subscription.hi, subscription.lo);
    return tag ? tag : 1;
}

void cmd_forget_producers_write(struct writer *w, const struct cmd_forget_producers *c)
{
    write_u32be(w, c->tag);
    write_u32be(w, c->schema_version);
}

bool cmd_forget_producers_read(struct reader *r, struct cmd_forget_producers *out)
{
    out->tag = read_u32be(r);
    out->schema_version = read_u32be(r);
    if (!r->failed && out->tag == 0)
        field_fail(r);
    return !r->failed;
}

/* ---- rules ---- */

void cmd_rule_book_add(struct writer *rules, struct slice pattern, uint32_t limit)
{
    write_lp(rules, pattern);
    write_varint(rules, limit);
}

void cmd_rule_book_write(struct writer *w, const struct cmd_rule_book *c)
{
    write_u32be(w, c->version);
    write_varint(w, c->n_rules);
    write_lp(w, c->rules);
}

bool cmd_rule_book_next(struct cmd_rule_book *c, struct slice *pattern, uint32_t *limit)
{
    if (c->n_rules == 0)
        return false;
    struct reader r = reader_make(c->rules);
    *pattern = read_lp(&r);
    *limit = read_varint32(&r);
    c->n_rules--;
    c->rules = slice_make(r.p, reader_left(&r));
    return !r.failed;
}

static bool rules_valid(struct cmd_rule_book book)
{
    struct slice pattern, before = SLICE_EMPTY, levels[PATTERN_LEVELS];
    uint32_t limit;
    while (book.n_rules) {
        char room[128];
        if (!cmd_rule_book_next(&book, &pattern, &limit) || limit == 0 || pattern.len > PATTERN_MAX ||
            pattern_problem(pattern, levels, room) || (before.ptr && slice_cmp(before, pattern) >= 0))
            return false;
        before = pattern;
    }
    return book.rules.len == 0;
}

bool cmd_rule_book_read(struct reader *r, struct cmd_rule_book *out)
{
    out->version = read_u32be(r);
    out->n_rules = read_varint32(r);
    out->rules = read_lp(r);
    if (!r->failed && !rules_valid(*out))
        field_fail(r);
    return !r->failed;
}
