/* Gossip messages: see gossip_message.h. */
#include "wire/gossip_message.h"

#include "wire/fields.h"

enum section_tag { SECTION_NODES = 1, SECTION_STATUSES = 2, SECTION_EPOCHS = 3 };

/* ---- writing ---- */

void gossip_begin(struct writer *w, const struct gossip_header *h)
{
    write_u8(w, GOSSIP_VERSION);
    write_u8(w, GOSSIP_VERSION); /* compat: what we write today is the first form */
    write_u32le(w, h->from.id);
    write_u32le(w, h->from.generation);
    write_u64le(w, h->fingerprint);
    write_u64le(w, h->tick);
    write_u64le(w, h->seq);
    write_u64le(w, h->uptime_ms);
    write_u8(w, (uint8_t)h->flags);
    for (size_t i = 0; i < GOSSIP_GLOBAL_KINDS; i++)
        write_u32le(w, h->versions[i]);
}

static size_t section_begin(struct writer *w, enum section_tag tag)
{
    write_u8(w, (uint8_t)tag);
    size_t start = w->len;
    write_u32le(w, 0);
    return start;
}

void gossip_section_end(struct writer *w, size_t start)
{
    put_u32le(w->buf->data + start, (uint32_t)(w->len - start - 4));
}

size_t gossip_nodes_begin(struct writer *w)
{
    return section_begin(w, SECTION_NODES);
}

size_t gossip_epochs_begin(struct writer *w)
{
    return section_begin(w, SECTION_EPOCHS);
}

size_t gossip_statuses_begin(struct writer *w, struct gossip_cover cover)
{
    size_t start = section_begin(w, SECTION_STATUSES);
    write_u16le(w, cover.divisor);
    write_u16le(w, cover.remainder);
    write_u16le(w, cover.from);
    write_u16le(w, cover.to);
    return start;
}

/* Entries are shorter than 128 bytes each field by field, but not together: leave room for two bytes of
 * length, which as a varint of fixed width is never the shortest form of a small one and is read all the
 * same. */
static size_t entry_begin(struct writer *w)
{
    size_t start = w->len;
    write_u16le(w, 0);
    return start;
}

static void entry_end(struct writer *w, size_t start)
{
    size_t len = w->len - start - 2;
    ASSERT(len < 1u << 14);
    w->buf->data[start] = (uint8_t)(len | 0x80);
    w->buf->data[start + 1] = (uint8_t)(len >> 7);
}

void gossip_put_node(struct writer *w, const struct gossip_node *n)
{
    size_t start = entry_begin(w);
    write_varint(w, n->node.id);
    write_varint(w, n->node.generation);
    write_varint(w, n->tick);
    write_varint(w, n->age_ms);
    write_u8(w, (uint8_t)n->flags);
    entry_end(w, start);
}

void gossip_put_status(struct writer *w, const struct gossip_status *s)
{
    const struct partition_status *p = &s->status;
    size_t start = entry_begin(w);
    write_u16le(w, p->partition);
    write_u8(w, (uint8_t)p->mode);
    write_u8(w, (uint8_t)p->run);
    write_bool(w, p->planned_leader);
    write_varint(w, p->leader_epoch);
    write_varint(w, p->leader.id);
    write_varint(w, p->leader.generation);
    write_varint(w, p->epoch_metadata_version);
    write_varint(w, p->schema_version);
    write_varint(w, p->rule_book_version);
    write_varint(w, p->applied);
    write_varint(w, p->tail);
    write_varint(w, p->target_tail);
    write_varint(w, p->durable);
    write_varint(w, p->archived);
    write_varint(w, p->record_applied_ms);
    write_varint(w, p->features);
    write_varint(w, s->age_ms);
    entry_end(w, start);
}

void gossip_put_epoch(struct writer *w, uint16_t partition, uint32_t version)
{
    write_varint(w, partition);
    write_varint(w, version);
}

/* ---- reading ---- */

/* Unknown values come from newer senders: read as the one that promises least. `exact` is cleared then. */
static uint8_t read_known(struct reader *r, uint8_t least, uint8_t last, bool *exact)
{
    uint8_t v = read_u8(r);
    if (v >= 1 && v <= last)
        return v;
    *exact = false;
    return least;
}

static void read_node(struct reader *r, struct gossip_node *n)
{
    n->node.id = read_varint32(r);
    n->node.generation = read_varint32(r);
    n->tick = read_varint(r);
    n->age_ms = read_varint(r);
    n->flags = read_u8(r);
    if (n->node.id == 0)
        field_fail(r);
}

static void read_status(struct reader *r, struct gossip_status *s, bool *exact)
{
    struct partition_status *p = &s->status;
    p->partition = read_u16le(r);
    p->mode = (enum partition_mode)read_known(r, PARTITION_MODE_FOLLOWER, PARTITION_MODE_LEADER, exact);
    p->run = (enum partition_run)read_known(r, PARTITION_RUN_STARTING, PARTITION_RUN_BROKEN, exact);
    p->planned_leader = read_bool(r);
    p->leader_epoch = read_varint(r);
    p->leader.id = read_varint32(r);
    p->leader.generation = read_varint32(r);
    p->epoch_metadata_version = read_varint32(r);
    p->schema_version = read_varint32(r);
    p->rule_book_version = read_varint32(r);
    p->applied = read_varint(r);
    p->tail = read_varint(r);
    p->target_tail = read_varint(r);
    p->durable = read_varint(r);
    p->archived = read_varint(r);
    p->record_applied_ms = read_varint(r);
    p->features = read_varint32(r);
    s->age_ms = read_varint(r);
}

/* The next length-prefixed entry; its reader. */
static bool entry_open(struct slice *section, struct reader *entry, bool *failed)
{
    struct reader r = reader_make(*section);
    if (reader_done(&r))
        return false;
    *entry = reader_make(read_lp(&r));
    *failed = r.failed;
    *section = slice_make(r.p, reader_left(&r));
    return !r.failed;
}

bool gossip_next_node(struct slice *section, struct gossip_node *out)
{
    struct reader entry;
    bool failed;
    if (!entry_open(section, &entry, &failed))
        return false;
    read_node(&entry, out);
    return !entry.failed;
}

bool gossip_next_status(struct slice *section, struct gossip_status *out)
{
    struct reader entry;
    bool failed, exact = true;
    if (!entry_open(section, &entry, &failed))
        return false;
    read_status(&entry, out, &exact);
    return !entry.failed;
}

bool gossip_next_epoch(struct slice *section, uint16_t *partition, uint32_t *version)
{
    struct reader r = reader_make(*section);
    if (reader_done(&r))
        return false;
    uint32_t p = read_varint32(&r);
    *version = read_varint32(&r);
    *section = slice_make(r.p, reader_left(&r));
    *partition = (uint16_t)p;
    return !r.failed && p <= UINT16_MAX;
}

static bool nodes_valid(struct slice section, bool newer)
{
    struct reader entry;
    struct gossip_node n;
    bool failed = false;
    uint32_t last = 0;
    for (size_t count = 1; entry_open(&section, &entry, &failed); count++) {
        read_node(&entry, &n);
        if (entry.failed || (!newer && !reader_done(&entry)) || n.node.id <= last || count > GOSSIP_NODES_MAX)
            return false;
        last = n.node.id;
    }
    return !failed;
}

static bool statuses_valid(struct slice section, struct gossip_cover c, bool newer)
{
    struct reader entry;
    struct gossip_status s;
    bool failed = false, exact = true;
    int32_t last = -1;
    while (entry_open(&section, &entry, &failed)) {
        read_status(&entry, &s, &exact);
        uint16_t id = s.status.partition;
        if (entry.failed || (!newer && (!exact || !reader_done(&entry))) || id <= last)
            return false;
        if (c.divisor && (id < c.from || id > c.to || id % c.divisor != c.remainder))
            return false;
        last = id;
    }
    return !failed;
}

static bool epochs_valid(struct slice section)
{
    uint16_t partition;
    uint32_t version;
    for (int32_t last = -1; section.len; last = partition)
        if (!gossip_next_epoch(&section, &partition, &version) || partition <= last)
            return false;
    return true;
}

static void read_statuses(struct reader *r, struct slice content, bool newer, struct gossip_message *out)
{
    struct reader s = reader_make(content);
    out->cover.divisor = read_u16le(&s);
    out->cover.remainder = read_u16le(&s);
    out->cover.from = read_u16le(&s);
    out->cover.to = read_u16le(&s);
    out->statuses = slice_make(s.p, reader_left(&s));
    if (out->has_statuses || s.failed || (out->cover.divisor && out->cover.remainder >= out->cover.divisor) ||
        !statuses_valid(out->statuses, out->cover, newer))
        field_fail(r);
    out->has_statuses = true;
}

static void read_section(struct reader *r, bool newer, struct gossip_message *out)
{
    uint8_t tag = read_u8(r);
    struct slice content = read_raw(r, read_u32le(r));
    if (r->failed)
        return;
    switch (tag) {
    case SECTION_NODES:
        if (out->has_nodes || !nodes_valid(content, newer))
            field_fail(r);
        out->has_nodes = true;
        out->nodes = content;
        return;
    case SECTION_STATUSES:
        read_statuses(r, content, newer, out);
        return;
    case SECTION_EPOCHS:
        if (out->has_epochs || !epochs_valid(content))
            field_fail(r);
        out->has_epochs = true;
        out->epochs = content;
        return;
    default:
        if (!newer)
            field_fail(r);
    }
}

static void read_header(struct reader *r, struct gossip_header *h)
{
    h->from.id = read_u32le(r);
    h->from.generation = read_u32le(r);
    h->fingerprint = read_u64le(r);
    h->tick = read_u64le(r);
    h->seq = read_u64le(r);
    h->uptime_ms = read_u64le(r);
    h->flags = read_u8(r);
    for (size_t i = 0; i < GOSSIP_GLOBAL_KINDS; i++)
        h->versions[i] = read_u32le(r);
    if (h->from.id == 0 || h->from.generation == 0 || h->tick == 0)
        field_fail(r);
}

enum rc gossip_message_decode(struct slice in, struct gossip_message *out, struct err *err)
{
    memset(out, 0, sizeof(*out));
    if (in.len > GOSSIP_MESSAGE_MAX)
        return err_set(err, RC_TOO_LARGE, "gossip message of %zu bytes", in.len);
    struct reader r = reader_make(in);
    uint8_t version = read_u8(&r), compat = read_u8(&r);
    if (!r.failed && (version < GOSSIP_VERSION || compat > GOSSIP_VERSION))
        return err_set(err, RC_UNSUPPORTED,
                       "gossip message of version %u for readers of version %u; this server speaks %u",
                       version, compat, GOSSIP_VERSION);
    out->header.version = version;
    read_header(&r, &out->header);
    while (!r.failed && reader_left(&r))
        read_section(&r, version > GOSSIP_VERSION, out);
    return reader_done(&r) ? RC_OK : err_set(err, RC_INVALID, "malformed gossip message");
}
