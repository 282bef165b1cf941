/* The partition state machine: decode a record, drop what is out of range or a duplicate, and hand it to the
 * one function of its command (spec/invocation-lifecycle.md §3.4, §3.6). The commands live in machine_*.c by
 * topic. */
#include "partition/machine.h"

#include "base/log.h"
#include "partition/machine_internal.h"

/* Feature bits of a VersionBarrier this build understands: journal_v2. */
#define KNOWN_FEATURES (UINT64_C(1) << 1)
/* The release whose semantics this build implements; a barrier above it stops the replica (§5.10). */
static const uint32_t implemented_version[3] = {1, 7, 9999};

enum rc machine_undecodable(const struct machine *m, enum command_kind kind, struct err *err)
{
    return err_set(err, RC_CORRUPT, "the %s record at LSN %lu cannot be decoded", command_kind_name(kind),
                   (unsigned long)m->lsn);
}

/* "1.7.2-dev": the leading numbers decide; text that is no version is older than everything. */
static bool version_too_new(struct slice text)
{
    size_t pos = 0;
    for (int part = 0; part < 3; part++) {
        uint32_t n = 0;
        while (pos < text.len && text.ptr[pos] >= '0' && text.ptr[pos] <= '9' && n < 100000)
            n = n * 10 + (uint32_t)(text.ptr[pos++] - '0');
        if (n != implemented_version[part])
            return n > implemented_version[part];
        if (pos >= text.len || text.ptr[pos] != '.')
            return false;
        pos++;
    }
    return false;
}

static enum rc apply_announce_leader(struct machine *m, struct apply_result *result, struct err *err)
{
    struct cmd_announce_leader c;
    struct reader r = reader_make(m->body);
    if (!cmd_announce_leader_read(&r, &c))
        return machine_undecodable(m, CMD_ANNOUNCE_LEADER, err);
    m->vars->leader_epoch = c.epoch;
    m->vars->leader_node_id = c.node_id;
    m->vars->leader_node_generation = c.node_generation;
    result->leader_announced = true;
    result->epoch = c.epoch;
    result->node_id = c.node_id;
    result->node_generation = c.node_generation;
    return RC_OK;
}

static enum rc apply_version_barrier(struct machine *m, struct err *err)
{
    struct cmd_version_barrier c;
    struct reader r = reader_make(m->body);
    if (!cmd_version_barrier_read(&r, &c))
        return machine_undecodable(m, CMD_VERSION_BARRIER, err);
    if (version_too_new(c.min_version) || (c.features & ~KNOWN_FEATURES))
        return err_set(err, RC_UNSUPPORTED, "the partition needs version %.*s or features %#lx: %.*s",
                       SLICE_FMT(c.min_version), (unsigned long)c.features, SLICE_FMT(c.reason));
    m->vars->features |= c.features;
    return RC_OK;
}

static enum rc apply_partition_durability(struct machine *m, struct err *err)
{
    struct cmd_partition_durability c;
    struct reader r = reader_make(m->body);
    if (!cmd_partition_durability_read(&r, &c))
        return machine_undecodable(m, CMD_PARTITION_DURABILITY, err);
    m->vars->durable_lsn = MAX(m->vars->durable_lsn, c.durable_lsn);
    return RC_OK;
}

static enum rc apply_truncate_outbox(struct machine *m, struct err *err)
{
    struct cmd_truncate_outbox c;
    struct reader r = reader_make(m->body);
    if (!cmd_truncate_outbox_read(&r, &c))
        return machine_undecodable(m, CMD_TRUNCATE_OUTBOX, err);
    if (c.index >= m->vars->outbox_head && c.index < m->vars->outbox_seq)
        store_outbox_truncate(m->store, c.index);
    return RC_OK;
}

static enum rc apply_forget_producers(struct machine *m, struct err *err)
{
    struct cmd_forget_producers c;
    struct reader r = reader_make(m->body);
    if (!cmd_forget_producers_read(&r, &c))
        return machine_undecodable(m, CMD_FORGET_PRODUCERS, err);
    size_t n = store_dedup_forget(m->store, c.tag, c.schema_version);
    LOG0(LOG_DEBUG, "restate_partition::machine",
         "partition %u: %zu topic partitions of a deleted subscription are forgotten", m->partition_id, n);
    return RC_OK;
}

static enum rc dispatch(struct machine *m, enum command_kind kind, struct apply_result *result,
                        struct err *err)
{
    switch (kind) {
    case CMD_ANNOUNCE_LEADER:
        return apply_announce_leader(m, result, err);
    case CMD_VERSION_BARRIER:
        return apply_version_barrier(m, err);
    case CMD_PARTITION_DURABILITY:
        return apply_partition_durability(m, err);
    case CMD_PATCH_STATE:
        return apply_patch_state(m, err);
    case CMD_TERMINATE:
        return apply_terminate(m, err);
    case CMD_PURGE:
        return apply_purge(m, false, err);
    case CMD_PURGE_JOURNAL:
        return apply_purge(m, true, err);
    case CMD_INVOKE:
        return apply_invoke(m, err);
    case CMD_TRUNCATE_OUTBOX:
        return apply_truncate_outbox(m, err);
    case CMD_PROXY_THROUGH:
        return apply_proxy_through(m, err);
    case CMD_ATTACH:
        return apply_attach(m, err);
    case CMD_RESUME:
        return apply_resume(m, err);
    case CMD_RESTART_AS_NEW:
        return apply_restart_as_new(m, err);
    case CMD_INVOKER_EFFECTS:
        return apply_invoker_effects(m, err);
    case CMD_TIMER:
        return apply_timer(m, err);
    case CMD_INVOCATION_RESPONSE:
    case CMD_OUTPUT_RESPONSE:
        return apply_response(m, kind, err);
    case CMD_SIGNAL:
        return apply_signal(m, err);
    case CMD_PAUSE:
        return apply_pause(m, err);
    case CMD_RULE_BOOK:
        return apply_rule_book(m, err);
    case CMD_PAUSE_QUEUE:
        return apply_queue(m, true, err);
    case CMD_RESUME_QUEUE:
        return apply_queue(m, false, err);
    case CMD_FORGET_PRODUCERS:
        return apply_forget_producers(m, err);
    case CMD_ADMIT:
        return RC_OK; /* what is left to do is done after every record */
    }
    return err_set(err, RC_UNSUPPORTED, "command kind %d at LSN %lu is not known to this version", (int)kind,
                   (unsigned long)m->lsn);
}

/* From a newer version, or broken? */
static enum rc bad_header(lsn_t lsn, struct bytes record, struct err *err)
{
    if (record.len < RECORD_HEADER_SIZE)
        return err_set(err, RC_CORRUPT, "the record at LSN %lu is shorter than its header",
                       (unsigned long)lsn);
    if (record.ptr[0] != RECORD_VERSION)
        return err_set(err, RC_UNSUPPORTED, "the record at LSN %lu has version %d, this build knows %d",
                       (unsigned long)lsn, record.ptr[0], RECORD_VERSION);
    if (strcmp(command_kind_name((enum command_kind)record.ptr[1]), "unknown") == 0)
        return err_set(err, RC_UNSUPPORTED, "command kind %d at LSN %lu is not known to this version",
                       record.ptr[1], (unsigned long)lsn);
    return err_set(err, RC_CORRUPT, "the record at LSN %lu has a malformed header", (unsigned long)lsn);
}

enum rc machine_apply(struct partition_store *s, lsn_t lsn, struct bytes record, struct actions *actions,
                      struct apply_result *result, struct err *err)
{
    *result = (struct apply_result){0};
    struct record_header h;
    if (!record_header_get(bytes_slice(record), &h))
        return bad_header(lsn, record, err);
    result->kind = h.kind;
    result->dedup = h.dedup;
    result->seq_hi = h.seq_hi;
    result->seq_lo = h.seq_lo;

    const struct store_config *config = store_get_config(s);
    struct partition_vars *vars = store_vars(s);
    struct machine m = {
        .store = s,
        .vars = vars,
        .actions = actions,
        .record = record,
        .body = record_body(bytes_slice(record)),
        .lsn = lsn,
        /* A message from another partition carries that partition's time: ours never goes back. */
        .now_ms = MAX(h.created_at_ms, vars->applied_time_ms),
        .partition_id = config->partition_id,
    };
    store_apply_begin(s, lsn, m.now_ms);
    enum rc rc = RC_OK;
    if (h.key_start > config->key_end || h.key_end < config->key_start)
        result->skipped = true;
    else if (h.dedup != DEDUP_NONE && !store_dedup_check(s, &h))
        result->skipped = true;
    else
        rc = dispatch(&m, (enum command_kind)h.kind, result, err);
    if (rc == RC_OK && !result->skipped && store_slot_any_next(s))
        machine_admit_held(&m);
    store_apply_end(s);
    return rc;
}
