/* Messages of the replicated metadata server: see metadata_message.h. */
#include "wire/metadata_message.h"

#include "wire/fields.h"

#define KEY_MAX 512u

static void write_member(struct writer *w, struct raft_member m)
{
    write_u32le(w, m.node);
    write_u64le(w, m.storage);
}

static struct raft_member read_member(struct reader *r)
{
    uint32_t node = read_u32le(r);
    return (struct raft_member){node, read_u64le(r)};
}

/* Bytes of at most `max`. */
static struct slice read_limited(struct reader *r, size_t max)
{
    struct slice s = read_lp(r);
    if (s.len > max)
        field_fail(r);
    return r->failed ? SLICE_EMPTY : s;
}

void raft_members_write(struct writer *w, const struct raft_members *m)
{
    ASSERT(m->n <= RAFT_MEMBERS_MAX);
    write_u32le(w, m->version);
    write_u8(w, (uint8_t)m->n);
    for (uint32_t i = 0; i < m->n; i++)
        write_member(w, m->items[i]);
}

void raft_members_read(struct reader *r, struct raft_members *out)
{
    *out = (struct raft_members){.version = read_u32le(r)};
    uint32_t n = read_u8(r);
    if (n > RAFT_MEMBERS_MAX)
        field_fail(r);
    for (uint32_t i = 0; i < n && !r->failed; i++) {
        struct raft_member m = read_member(r);
        if (m.node == 0 || (i && m.node <= out->items[i - 1].node))
            field_fail(r);
        out->items[out->n++] = m;
    }
    if (r->failed)
        *out = (struct raft_members){0};
}

void raft_entry_write(struct writer *w, const struct raft_entry_view *e)
{
    write_u64le(w, e->term);
    write_u8(w, (uint8_t)e->kind);
    write_lp(w, e->data);
}

void raft_entry_read(struct reader *r, struct raft_entry_view *out)
{
    *out = (struct raft_entry_view){.term = read_u64le(r)};
    uint8_t kind = read_u8(r);
    out->data = read_limited(r, METADATA_MESSAGE_MAX);
    if (kind < RAFT_NOOP || kind > RAFT_MEMBERS)
        field_fail(r);
    out->kind = (enum raft_entry_kind)kind;
    if (!r->failed && out->kind == RAFT_MEMBERS) {
        struct reader inner = reader_make(out->data);
        struct raft_members m;
        raft_members_read(&inner, &m);
        if (!reader_done(&inner))
            field_fail(r);
    }
}

void metadata_entry_write(struct writer *w, const struct metadata_entry *e)
{
    write_u32le(w, e->version);
    write_lp(w, e->key);
    write_lp(w, e->value);
}

void metadata_entry_read(struct reader *r, struct metadata_entry *out)
{
    out->version = read_u32le(r);
    out->key = read_limited(r, KEY_MAX);
    out->value = read_lp(r);
}

/* ---- bodies ---- */

static void write_append(struct writer *w, const struct raft_append *a)
{
    write_u64le(w, a->term);
    write_u64le(w, a->prev_index);
    write_u64le(w, a->prev_term);
    write_u64le(w, a->commit);
    write_u64le(w, a->round);
    write_u32le(w, a->n_entries);
    write_slice_raw(w, a->entries);
}

static void read_append(struct reader *r, struct raft_append *a)
{
    a->term = read_u64le(r);
    a->prev_index = read_u64le(r);
    a->prev_term = read_u64le(r);
    a->commit = read_u64le(r);
    a->round = read_u64le(r);
    a->n_entries = read_u32le(r);
    if (a->n_entries > METADATA_ENTRIES_MAX)
        field_fail(r);
    const uint8_t *start = r->p;
    for (uint32_t i = 0; i < a->n_entries && !r->failed; i++) {
        struct raft_entry_view e;
        raft_entry_read(r, &e);
    }
    a->entries = r->failed ? SLICE_EMPTY : slice_make(start, (size_t)(r->p - start));
}

static void write_append_result(struct writer *w, const struct raft_append_result *a)
{
    write_u64le(w, a->term);
    write_u64le(w, a->round);
    write_bool(w, a->ok);
    write_u64le(w, a->prev_index);
    write_u64le(w, a->verified);
    write_u64le(w, a->match);
    write_u64le(w, a->hint_index);
    write_u64le(w, a->hint_term);
}

static void read_append_result(struct reader *r, struct raft_append_result *a)
{
    a->term = read_u64le(r);
    a->round = read_u64le(r);
    a->ok = read_bool(r);
    a->prev_index = read_u64le(r);
    a->verified = read_u64le(r);
    a->match = read_u64le(r);
    a->hint_index = read_u64le(r);
    a->hint_term = read_u64le(r);
}

static void write_snapshot(struct writer *w, const struct raft_snapshot_part *s)
{
    write_u64le(w, s->term);
    write_u64le(w, s->round);
    write_u64le(w, s->index);
    write_u64le(w, s->last_term);
    write_u64le(w, s->total);
    write_u64le(w, s->offset);
    write_u32le(w, s->crc);
    raft_members_write(w, &s->members);
    write_lp(w, s->data);
}

static void read_snapshot(struct reader *r, struct raft_snapshot_part *s)
{
    s->term = read_u64le(r);
    s->round = read_u64le(r);
    s->index = read_u64le(r);
    s->last_term = read_u64le(r);
    s->total = read_u64le(r);
    s->offset = read_u64le(r);
    s->crc = read_u32le(r);
    raft_members_read(r, &s->members);
    s->data = read_limited(r, METADATA_MESSAGE_MAX);
    if (s->offset > s->total || s->data.len > s->total - s->offset)
        field_fail(r);
}

static void write_request(struct writer *w, const struct metadata_request *q)
{
    write_u64le(w, q->id);
    write_u8(w, (uint8_t)q->kind);
    write_u8(w, q->precondition);
    write_bool(w, q->replace);
    write_u32le(w, q->version);
    write_u32le(w, q->expected_version);
    write_lp(w, q->key);
    write_lp(w, q->value);
}

static void read_request(struct reader *r, struct metadata_request *q)
{
    q->id = read_u64le(r);
    q->kind = (enum metadata_request_kind)read_enum(r, METADATA_REQUEST_END);
    q->precondition = read_enum(r, 4);
    q->replace = read_bool(r);
    q->version = read_u32le(r);
    q->expected_version = read_u32le(r);
    q->key = read_limited(r, KEY_MAX);
    q->value = read_limited(r, METADATA_MESSAGE_MAX);
    if (q->kind == 0 || ((q->kind == METADATA_PUT || q->kind == METADATA_DELETE) && q->precondition == 0))
        field_fail(r);
}

static void write_response(struct writer *w, const struct metadata_response *p)
{
    write_u64le(w, p->id);
    write_u8(w, (uint8_t)p->outcome);
    write_u32le(w, p->version);
    write_member(w, p->leader);
    write_lp(w, p->leader_address);
    write_lp(w, p->message);
    write_lp(w, p->value);
}

static void read_response(struct reader *r, struct metadata_response *p)
{
    p->id = read_u64le(r);
    p->outcome = (enum metadata_outcome)read_enum(r, METADATA_OUTCOME_END);
    p->version = read_u32le(r);
    p->leader = read_member(r);
    p->leader_address = read_limited(r, METADATA_ADDRESS_MAX);
    p->message = read_limited(r, METADATA_TEXT_MAX);
    p->value = read_lp(r);
}

static void write_vote(struct writer *w, const struct raft_vote *v)
{
    write_u64le(w, v->term);
    write_u64le(w, v->last_index);
    write_u64le(w, v->last_term);
    write_u32le(w, v->members_version);
    write_bool(w, v->pre);
    write_bool(w, v->transfer);
}

static void read_vote(struct reader *r, struct raft_vote *v)
{
    v->term = read_u64le(r);
    v->last_index = read_u64le(r);
    v->last_term = read_u64le(r);
    v->members_version = read_u32le(r);
    v->pre = read_bool(r);
    v->transfer = read_bool(r);
}

static void write_body(struct writer *w, const struct metadata_message *m)
{
    switch (m->kind) {
    case RAFT_VOTE:
        write_vote(w, &m->vote);
        return;
    case RAFT_VOTE_RESULT:
        write_u64le(w, m->vote_result.term);
        write_bool(w, m->vote_result.pre);
        write_bool(w, m->vote_result.granted);
        write_u32le(w, m->vote_result.removed_in);
        return;
    case RAFT_APPEND:
        write_append(w, &m->append);
        return;
    case RAFT_APPEND_RESULT:
        write_append_result(w, &m->append_result);
        return;
    case RAFT_SNAPSHOT:
        write_snapshot(w, &m->snapshot);
        return;
    case RAFT_SNAPSHOT_RESULT:
        write_u64le(w, m->snapshot_result.term);
        write_u64le(w, m->snapshot_result.round);
        write_u64le(w, m->snapshot_result.index);
        write_u64le(w, m->snapshot_result.next_offset);
        return;
    case RAFT_TIMEOUT_NOW:
        write_u64le(w, m->timeout_now.term);
        return;
    case METADATA_REQUEST:
        write_request(w, &m->request);
        return;
    case METADATA_RESPONSE:
        write_response(w, &m->response);
        return;
    }
    UNREACHABLE("message kind %d", (int)m->kind);
}

static void read_body(struct reader *r, struct metadata_message *m)
{
    switch (m->kind) {
    case RAFT_VOTE:
        read_vote(r, &m->vote);
        return;
    case RAFT_VOTE_RESULT:
        m->vote_result.term = read_u64le(r);
        m->vote_result.pre = read_bool(r);
        m->vote_result.granted = read_bool(r);
        m->vote_result.removed_in = read_u32le(r);
        return;
    case RAFT_APPEND:
        read_append(r, &m->append);
        return;
    case RAFT_APPEND_RESULT:
        read_append_result(r, &m->append_result);
        return;
    case RAFT_SNAPSHOT:
        read_snapshot(r, &m->snapshot);
        return;
    case RAFT_SNAPSHOT_RESULT:
        m->snapshot_result.term = read_u64le(r);
        m->snapshot_result.round = read_u64le(r);
        m->snapshot_result.index = read_u64le(r);
        m->snapshot_result.next_offset = read_u64le(r);
        return;
    case RAFT_TIMEOUT_NOW:
        m->timeout_now.term = read_u64le(r);
        return;
    case METADATA_REQUEST:
        read_request(r, &m->request);
        return;
    case METADATA_RESPONSE:
        read_response(r, &m->response);
        return;
    }
    field_fail(r);
}

void metadata_message_encode(struct writer *w, const struct metadata_message *m)
{
    write_u8(w, METADATA_WIRE_VERSION);
    write_u8(w, (uint8_t)m->kind);
    write_u64le(w, m->header.fingerprint);
    write_lp(w, m->header.cluster_name);
    write_member(w, m->header.from);
    write_member(w, m->header.to);
    write_body(w, m);
}

enum rc metadata_message_decode(struct slice in, struct metadata_message *out, struct err *err)
{
    struct reader r = reader_make(in);
    memset(out, 0, sizeof(*out));
    uint8_t version = read_u8(&r);
    if (!r.failed && version != METADATA_WIRE_VERSION)
        return err_set(err, RC_UNSUPPORTED, "metadata message of version %u, this server speaks %u", version,
                       METADATA_WIRE_VERSION);
    out->kind = (enum metadata_message_kind)read_u8(&r);
    out->header.fingerprint = read_u64le(&r);
    out->header.cluster_name = read_limited(&r, METADATA_CLUSTER_NAME_MAX);
    out->header.from = read_member(&r);
    out->header.to = read_member(&r);
    if (!r.failed)
        read_body(&r, out);
    if (!reader_done(&r))
        return err_set(err, RC_INVALID, "malformed metadata message");
    return RC_OK;
}
