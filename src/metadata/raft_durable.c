/* What a member keeps on disk: the records and how they fold into a state (raft_core.h). */
#include <stdlib.h>

#include "metadata/raft_internal.h"

enum record_kind { RECORD_IDENTITY = 1, RECORD_STATE, RECORD_ENTRIES, RECORD_SNAPSHOT };

/* ---- writing ---- */

/* Records are written into their own writer first, because the length comes before the content. */
static void write_record(struct writer *w, enum record_kind kind, struct writer *content)
{
    write_u8(w, (uint8_t)kind);
    write_lp(w, writer_slice(content));
    writer_free(content);
}

static void write_member(struct writer *w, struct raft_member m)
{
    write_u32le(w, m.node);
    write_u64le(w, m.storage);
}

static void write_identity(struct writer *w, struct raft_member self, uint64_t fingerprint,
                           struct slice cluster_name)
{
    struct writer c = WRITER_INIT;
    write_member(&c, self);
    write_u64le(&c, fingerprint);
    write_lp(&c, cluster_name);
    write_record(w, RECORD_IDENTITY, &c);
}

static void write_state(struct writer *w, uint64_t term, struct raft_member vote, uint64_t commit,
                        uint32_t removed_in)
{
    struct writer c = WRITER_INIT;
    write_u64le(&c, term);
    write_member(&c, vote);
    write_u64le(&c, commit);
    write_u32le(&c, removed_in);
    write_record(w, RECORD_STATE, &c);
}

static void write_snapshot(struct writer *w, const struct raft_snapshot_state *s, uint64_t base_index,
                           uint64_t base_term)
{
    struct writer c = WRITER_INIT;
    writer_init(&c, s->data.len + 256);
    write_u64le(&c, s->index);
    write_u64le(&c, s->term);
    write_u64le(&c, base_index);
    write_u64le(&c, base_term);
    raft_members_write(&c, &s->members);
    write_slice_raw(&c, bytes_slice(s->data));
    write_record(w, RECORD_SNAPSHOT, &c);
}

void raft_write_state(const struct raft *r, struct writer *w)
{
    write_state(w, r->term, r->vote, r->commit, r->removed_in);
}

void raft_write_entries(const struct raft *r, uint64_t from, struct writer *w)
{
    uint64_t last = raft_last_index(r);
    if (from > last)
        return;
    struct writer c = WRITER_INIT;
    write_u64le(&c, from);
    for (uint64_t i = from; i <= last; i++) {
        const struct raft_log_entry *e = raft_entry(r, i);
        raft_entry_write(&c, &(struct raft_entry_view){e->term, e->kind, bytes_slice(e->data)});
    }
    write_record(w, RECORD_ENTRIES, &c);
}

void raft_write_all(const struct raft *r, struct writer *w)
{
    write_identity(w, r->self, r->fingerprint, slice_cstr(r->cluster_name));
    if (r->snapshot.index)
        write_snapshot(w, &r->snapshot, r->base_index, r->base_term);
    raft_write_entries(r, r->base_index + 1, w);
    raft_write_state(r, w);
}

void raft_provision_write(struct writer *w, struct raft_member self, uint64_t fingerprint,
                          struct slice cluster_name, bool alone, struct slice data)
{
    write_identity(w, self, fingerprint, cluster_name);
    if (!alone) {
        write_state(w, 0, (struct raft_member){0}, 0, 0);
        return;
    }
    struct raft_snapshot_state s = {.index = 1, .term = 1, .data = bytes_static(data)};
    s.members = (struct raft_members){.version = 1, .n = 1, .items = {self}};
    write_snapshot(w, &s, 1, 1);
    write_state(w, 1, (struct raft_member){0}, 1, 0);
}

/* Members of the last entry that has some, or of the snapshot. */
bool raft_durable_members(const struct raft_durable *d, struct raft_members *out)
{
    *out = d->snapshot.members;
    for (size_t i = 0; i < d->entries.len; i++) {
        if (d->entries.items[i].kind != RAFT_MEMBERS)
            continue;
        struct reader r = reader_make(bytes_slice(d->entries.items[i].data));
        raft_members_read(&r, out);
        if (!reader_done(&r))
            return false;
    }
    return out->n > 0;
}

void raft_recover_write(struct writer *w, const struct raft_durable *d, struct raft_member self)
{
    struct raft_members members;
    bool some = raft_durable_members(d, &members);
    ASSERT(some);
    /* An entry of a term that nobody has seen, so that it is later than all others (M-3). */
    uint64_t index = d->base_index + d->entries.len + 1, term = d->term + 1;
    members = (struct raft_members){.version = members.version + 1, .n = 1, .items = {self}};
    struct writer data = WRITER_INIT, c = WRITER_INIT;
    raft_members_write(&data, &members);
    write_u64le(&c, index);
    raft_entry_write(&c, &(struct raft_entry_view){term, RAFT_MEMBERS, writer_slice(&data)});
    writer_free(&data);
    write_identity(w, self, d->fingerprint, slice_cstr(d->cluster_name));
    write_record(w, RECORD_ENTRIES, &c);
    write_state(w, term, (struct raft_member){0}, index, 0);
}

/* ---- reading ---- */

static struct raft_member read_member(struct reader *r)
{
    uint32_t node = read_u32le(r);
    return (struct raft_member){node, read_u64le(r)};
}

static void drop_entries(struct raft_durable *d, size_t keep)
{
    while (d->entries.len > keep)
        bytes_unref(&d->entries.items[--d->entries.len].data);
}

void raft_durable_free(struct raft_durable *d)
{
    drop_entries(d, 0);
    VEC_FREE(&d->entries);
    bytes_unref(&d->snapshot.data);
    free(d->cluster_name);
    d->cluster_name = NULL;
}

static bool fold_identity(struct raft_durable *d, struct reader *r)
{
    d->self = read_member(r);
    d->fingerprint = read_u64le(r);
    struct slice name = read_lp(r);
    if (r->failed || d->self.node == 0 || name.len > METADATA_CLUSTER_NAME_MAX)
        return false;
    free(d->cluster_name);
    d->cluster_name = slice_dup_cstr(name);
    return true;
}

static bool fold_state(struct raft_durable *d, struct reader *r)
{
    uint64_t term = read_u64le(r);
    bool forward = term >= d->term;
    d->term = term;
    d->vote = read_member(r);
    d->commit = read_u64le(r);
    d->removed_in = read_u32le(r);
    return forward;
}

static bool fold_entries(struct raft_durable *d, struct reader *r)
{
    uint64_t first = read_u64le(r);
    if (first <= d->base_index || first > d->base_index + d->entries.len + 1)
        return false;
    drop_entries(d, (size_t)(first - d->base_index - 1));
    uint64_t term = d->entries.len ? d->entries.items[d->entries.len - 1].term : d->base_term;
    while (reader_left(r)) {
        struct raft_entry_view v;
        raft_entry_read(r, &v);
        if (r->failed || v.term < term)
            return false;
        term = v.term;
        struct raft_log_entry e = {.term = v.term, .kind = v.kind, .data = bytes_copy(v.data)};
        VEC_PUSH(&d->entries, e);
    }
    return true;
}

static bool fold_snapshot(struct raft_durable *d, struct reader *r)
{
    struct raft_snapshot_state s = {.index = read_u64le(r), .term = read_u64le(r)};
    uint64_t base_index = read_u64le(r), base_term = read_u64le(r);
    raft_members_read(r, &s.members);
    if (r->failed || s.index == 0 || base_index > s.index || base_term > s.term)
        return false;
    drop_entries(d, 0);
    bytes_unref(&d->snapshot.data);
    s.data = bytes_copy(slice_make(r->p, reader_left(r)));
    d->snapshot = s;
    d->base_index = base_index;
    d->base_term = base_term;
    r->p = r->end;
    return true;
}

static bool fold_record(struct raft_durable *d, uint8_t kind, struct reader *r)
{
    switch (kind) {
    case RECORD_IDENTITY:
        return fold_identity(d, r);
    case RECORD_STATE:
        return fold_state(d, r);
    case RECORD_ENTRIES:
        return fold_entries(d, r);
    case RECORD_SNAPSHOT:
        return fold_snapshot(d, r);
    }
    return false;
}

enum rc raft_durable_fold(struct raft_durable *d, struct slice body, struct err *err)
{
    struct reader r = reader_make(body);
    while (reader_left(&r)) {
        uint8_t kind = read_u8(&r);
        struct reader content = reader_make(read_lp(&r));
        if (r.failed || !fold_record(d, kind, &content) || !reader_done(&content))
            return err_set(err, RC_CORRUPT, "record of kind %u of the metadata server does not fit", kind);
    }
    uint64_t last = d->base_index + d->entries.len;
    if (d->commit > last || (d->snapshot.index && last < d->snapshot.index) ||
        (d->self.node == 0 && body.len))
        return err_set(err, RC_CORRUPT, "the records of the metadata server contradict each other");
    return RC_OK;
}

bool raft_durable_readable(struct slice body)
{
    struct reader r = reader_make(body);
    while (reader_left(&r)) {
        uint8_t kind = read_u8(&r);
        read_lp(&r);
        if (r.failed || kind < RECORD_IDENTITY || kind > RECORD_SNAPSHOT)
            return false;
    }
    return true;
}
