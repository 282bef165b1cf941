/* Log-server: records and digests, from what is durable. */
#include "bifrost/log_server_internal.h"

#define READ_MAX_BYTES ((uint32_t)4 << 20)

/* The records at and after `start`, as long as they follow each other. */
static uint32_t read_run(struct ls_loglet *l, uint64_t start, const struct loglet_message *m,
                         struct stored_records *room, struct bytes *out, enum rc *rc)
{
    struct log_server_store *store = l->server->config.store;
    struct err err = {0};
    uint32_t n = 0;
    *rc = store->ops->read(store, l->id, start, MIN(m->max_bytes, READ_MAX_BYTES), room, &err);
    if (*rc != RC_OK)
        return 0;
    while (n < room->len && n < LOGLET_RECORDS_MAX && room->items[n].offset == start + n &&
           start + n <= m->to) {
        out[n] = room->items[n].body;
        n++;
    }
    return n;
}

void ls_get_records(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    struct stored_records room = {0};
    struct bytes bodies[LOGLET_RECORDS_MAX];
    struct loglet_message reply;
    enum rc rc = RC_AGAIN;
    /* A trim gap is visible from trim_point >= from. */
    uint64_t start = MAX(m->from, l->trim_point + 1);
    uint32_t n = start <= m->to ? read_run(l, start, m, &room, bodies, &rc) : 0;
    bool broken = rc != RC_OK && rc != RC_AGAIN && rc != RC_TRIMMED;
    ls_reply_head(l, LOGLET_RECORDS, m->request_id, broken ? LOGLET_UNKNOWN : LOGLET_OK, &reply);
    reply.first_offset = start;
    reply.next_offset = start + n;
    reply.records = bodies;
    reply.n_records = n;
    l->server->config.reply(l->server->config.ctx, from, &reply);
    stored_records_free(&room);
}

void ls_get_digest(struct ls_loglet *l, const struct log_server_peer *from, const struct loglet_message *m)
{
    struct log_server_store *store = l->server->config.store;
    struct loglet_range ranges[LOGLET_RANGES_MAX];
    uint32_t n = 0;
    uint64_t at = m->from, first, last;
    if (at <= l->trim_point) {
        ranges[n++] = (struct loglet_range){at, MIN(m->to, l->trim_point), LOGLET_RANGE_TRIMMED};
        at = l->trim_point + 1;
    }
    while (at <= m->to && n < LOGLET_RANGES_MAX && store->ops->extent(store, l->id, at, &first, &last)) {
        if (first > m->to)
            break;
        last = MIN(last, m->to);
        if (n > 0 && ranges[n - 1].kind == LOGLET_RANGE_EXISTS && ranges[n - 1].to + 1 == first)
            ranges[n - 1].to = last; /* the store may cut a stretch where its files are cut */
        else
            ranges[n++] = (struct loglet_range){first, last, LOGLET_RANGE_EXISTS};
        at = last + 1;
    }
    struct loglet_message reply;
    ls_reply_head(l, LOGLET_DIGEST, m->request_id, LOGLET_OK, &reply);
    /* Where the answer ends: short of `to` only if there were too many ranges. */
    reply.next_offset = n == LOGLET_RANGES_MAX ? at : MAX(m->to + 1, at);
    reply.ranges = ranges;
    reply.n_ranges = n;
    l->server->config.reply(l->server->config.ctx, from, &reply);
}
