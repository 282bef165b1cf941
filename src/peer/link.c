/* One link: greeting as dialer, frames, keep-alive, its end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "peer/internal.h"

enum { CONTROL_SERVICE = 0, CONTROL_PING = 1, CONTROL_PONG = 2, CONTROL_GOODBYE = 3 };

static void timer_fire(struct env_timer *t);
static void report_down(struct env_task *t);

/* ---- life ---- */

static struct link *link_new(struct peers *p, enum peer_channel channel)
{
    struct link *l = xcalloc(1, sizeof(*l));
    l->peers = p;
    l->info.id = ++p->next_link;
    l->info.channel = channel;
    l->info.address = l->address;
    l->frames.limit = peer_frame_limit(channel);
    env_task_init(&l->report, report_down);
    env_timer_init(&l->timer, timer_fire);
    hmap_insert(&p->links_by_id, &l->by_id, l->info.id);
    list_push_back(&p->links, &l->member);
    return l;
}

static void link_free_if_over(struct link *l)
{
    if (l->conn || (l->peers && !l->reported))
        return;
    writer_free(&l->early);
    peer_frames_free(&l->frames);
    free(l);
}

static void drop_waiting(struct link *l)
{
    for (size_t i = 0; i < l->waiting.len; i++)
        bytes_unref(&l->waiting.items[i]);
    VEC_FREE(&l->waiting);
    l->waiting_bytes = 0;
}

static struct metric *link_gauge(const struct link *l)
{
    return l->info.accepted ? l->peers->metrics.accepted : l->peers->metrics.dialed;
}

static void close_socket(struct link *l)
{
    if (!l->conn)
        return;
    net_conn_close(l->conn);
    if (l->state == LINK_CONNECTING)
        l->conn = NULL; /* nobody is told: net forgets it by itself */
}

static void send_control(struct link *l, uint8_t kind, struct slice text)
{
    struct writer w = WRITER_INIT;
    writer_init(&w, PEER_FRAME_HEAD + 1 + text.len);
    write_u32le(&w, (uint32_t)(1 + text.len));
    write_u8(&w, CONTROL_SERVICE);
    write_u8(&w, kind);
    write_slice_raw(&w, text);
    l->queued_total += w.len;
    net_conn_write(l->conn, writer_take(&w));
}

void link_down(struct link *l, enum peer_down_reason reason, const char *fmt, ...)
{
    if (l->state == LINK_DOWN)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(l->why, sizeof(l->why), fmt, ap);
    va_end(ap);
    struct peers *p = l->peers;
    l->down = (struct peer_down){reason, l->state == LINK_UP, l->why, l->too_early};
    if (l->down.was_up) {
        metric_add(link_gauge(l), -1);
        metric_inc(p->metrics.lost);
        if (l->conn && reason != PEER_DOWN_GONE)
            send_control(l, CONTROL_GOODBYE, slice_cstr(l->why));
    }
    close_socket(l);
    l->state = LINK_DOWN;
    env_timer_cancel(p->env, &l->timer);
    drop_waiting(l);
    env_defer(p->env, &l->report);
    struct peer_dial *d = l->dial;
    l->dial = NULL;
    if (d)
        dial_link_down(d, l);
}

static void report_down(struct env_task *t)
{
    struct link *l = CONTAINER_OF(t, struct link, report);
    struct peers *p = l->peers;
    hmap_remove(&p->links_by_id, &l->by_id);
    list_remove(&l->member);
    if (l->down.was_up)
        LOG0(LOG_DEBUG, PEER_TARGET, "Link to N%u:%u (%s, %s) is down: %s", l->info.node.id,
             l->info.node.generation, peer_channel_name(l->info.channel), l->address, l->why);
    for (size_t i = 0; i < PEER_SERVICES; i++) {
        if (p->services[i].ops && p->services[i].ops->on_down)
            p->services[i].ops->on_down(p->services[i].ctx, &l->info, &l->down);
    }
    l->reported = true;
    link_free_if_over(l);
}

void link_abandon(struct link *l)
{
    struct peers *p = l->peers;
    if (l->state == LINK_UP) {
        metric_add(link_gauge(l), -1);
        send_control(l, CONTROL_GOODBYE, SLICE_LIT("the node stops"));
    }
    close_socket(l);
    l->state = LINK_DOWN;
    env_timer_cancel(p->env, &l->timer);
    env_undefer(&l->report);
    drop_waiting(l);
    hmap_remove(&p->links_by_id, &l->by_id);
    list_remove(&l->member);
    l->peers = NULL;
    link_free_if_over(l);
}

static void conn_on_closed(void *ctx, const struct err *why)
{
    struct link *l = ctx;
    l->conn = NULL;
    if (l->state == LINK_DOWN) {
        link_free_if_over(l);
        return;
    }
    /* Whoever refuses says why. This one has not come to it: it ends, or has just been killed, and is tried
     * again. */
    if (l->state == LINK_GREETING && why->rc == RC_EOF)
        link_down(l, PEER_DOWN_CLOSED, "%s closed the connection instead of answering", l->address);
    else
        link_down(l, why->rc == RC_TIMEOUT ? PEER_DOWN_SILENT : PEER_DOWN_GONE, "%s", why->msg);
}

/* ---- frames ---- */

static void on_control(struct link *l, struct bytes payload)
{
    uint8_t kind = payload.len ? payload.ptr[0] : 0;
    if (kind == CONTROL_PING) {
        send_control(l, CONTROL_PONG, SLICE_EMPTY);
    } else if (kind == CONTROL_GOODBYE) {
        struct slice why = slice_sub(bytes_slice(payload), 1, MIN(payload.len - 1, (size_t)400));
        if (!slice_is_utf8(why))
            why = SLICE_EMPTY;
        link_down(l, PEER_DOWN_CLOSED, "closed by the other end: %.*s", SLICE_FMT(why));
    }
}

static bool on_frame(void *ctx, uint8_t service, struct bytes payload)
{
    struct link *l = ctx;
    struct peers *p = l->peers;
    if (service == CONTROL_SERVICE) {
        on_control(l, payload);
    } else if (l->info.node.id == 0 && service != PEER_METADATA) {
        link_down(l, PEER_DOWN_CLOSED, "a node that has not joined may use the metadata service only");
    } else if (service < PEER_SERVICES && p->services[service].ops && p->services[service].ops->on_frame) {
        p->services[service].ops->on_frame(p->services[service].ctx, &l->info, payload);
    }
    return l->state == LINK_UP;
}

static void feed(struct link *l, struct bytes data)
{
    if (peer_frames_feed(&l->frames, data, on_frame, l) != RC_OK)
        link_down(l, PEER_DOWN_CLOSED, "a frame above the limit of %zu bytes arrived from %s",
                  l->frames.limit, l->address);
}

static void link_up(struct link *l)
{
    struct peers *p = l->peers;
    l->state = LINK_UP;
    metric_inc(link_gauge(l));
    l->last_heard = env_mono_ms(p->env);
    l->timer_due = l->last_heard + p->config.keep_alive_interval_ms;
    env_timer_arm_at(p->env, &l->timer, l->timer_due);
    for (size_t i = 0; i < l->waiting.len; i++) {
        l->queued_total += l->waiting.items[i].len;
        net_conn_write(l->conn, l->waiting.items[i]);
    }
    l->waiting.len = 0;
    drop_waiting(l);
    if (l->dial)
        dial_link_up(l->dial);
    if (l->info.node.id)
        peers_learn(p, l->info.node);
    LOG0(LOG_DEBUG, PEER_TARGET, "Link to N%u:%u (%s, %s) is up", l->info.node.id, l->info.node.generation,
         peer_channel_name(l->info.channel), l->address);
    for (size_t i = 0; i < PEER_SERVICES && l->state == LINK_UP; i++) {
        if (p->services[i].ops && p->services[i].ops->on_up)
            p->services[i].ops->on_up(p->services[i].ctx, &l->info);
    }
}

/* ---- greeting, dialer's side ---- */

/* RC_OK if this is whom we wanted. RC_AGAIN: it was, but that process has ended since; its greeting was on
 * the way for long. */
static enum rc check_answer(const struct link *l, const struct peer_answer *a, struct err *err)
{
    const struct peers *p = l->peers;
    if (!a->accepted)
        return err_set(err, RC_CONFLICT, "%s refused: %.*s", l->address, (int)MIN(a->reason.len, (size_t)380),
                       (const char *)a->reason.ptr);
    if (a->version < PEER_VERSION_MIN || a->version > PEER_VERSION_MAX)
        return err_set(err, RC_UNSUPPORTED, "%s chose version %u of the protocol", l->address, a->version);
    if (p->fingerprint && a->fingerprint && p->fingerprint != a->fingerprint)
        return err_set(err, RC_CONFLICT, "%s belongs to another cluster of the same name", l->address);
    if (l->expected_id && a->me.id != l->expected_id)
        return err_set(err, RC_CONFLICT, "%s is N%u, not N%u", l->address, a->me.id, l->expected_id);
    uint32_t known = a->me.id ? peers_generation(p, a->me.id) : 0;
    if (a->me.generation < known)
        return err_set(err, RC_AGAIN, "%s is N%u:%u, an older process than N%u:%u", l->address, a->me.id,
                       a->me.generation, a->me.id, known);
    return RC_OK;
}

static void on_answer(struct link *l, struct bytes data)
{
    struct peer_answer a;
    struct err err = {0};
    size_t used;
    write_raw(&l->early, data.ptr, data.len);
    enum rc rc = peer_answer_decode(writer_slice(&l->early), &used, &a);
    if (rc == RC_AGAIN)
        return;
    if (rc != RC_OK)
        err_set(&err, RC_INVALID, "%s does not speak the protocol of this server's nodes", l->address);
    else
        rc = check_answer(l, &a, &err);
    if (rc != RC_OK) {
        bool outdated = rc == RC_AGAIN;
        if (!outdated)
            metric_inc(l->peers->metrics.refused);
        l->too_early = rc == RC_CONFLICT && !a.accepted && a.me.id == 0 && l->expected_id;
        link_down(l, outdated ? PEER_DOWN_CLOSED : PEER_DOWN_REFUSED, "%s", err.msg);
        return;
    }
    l->info.node = a.me;
    struct bytes all = writer_take(&l->early);
    link_up(l);
    if (l->state == LINK_UP && used < all.len)
        feed(l, (struct bytes){all.ptr + used, all.len - used, all.owner});
    bytes_unref(&all);
}

static void conn_on_read(void *ctx, struct bytes data)
{
    struct link *l = ctx;
    if (l->state == LINK_DOWN)
        return;
    metric_add(l->peers->metrics.received, (int64_t)data.len);
    l->last_heard = env_mono_ms(l->peers->env);
    if (l->state == LINK_GREETING)
        on_answer(l, data);
    else
        feed(l, data);
}

static const struct net_conn_ops conn_ops = {.on_read = conn_on_read, .on_closed = conn_on_closed};

static void conn_on_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    struct link *l = ctx;
    struct peers *p = l->peers;
    if (err->rc != RC_OK) {
        l->conn = NULL; /* net frees it */
        link_down(l, err->rc == RC_CLOSED ? PEER_DOWN_GONE : PEER_DOWN_SILENT, "%s", err->msg);
        return;
    }
    l->state = LINK_GREETING;
    net_conn_start(conn, &conn_ops, l);
    struct peer_hello h = {
        .min_version = PEER_VERSION_MIN,
        .max_version = PEER_VERSION_MAX,
        .channel = l->info.channel,
        .fingerprint = p->fingerprint,
        .from = p->me,
        .expected_id = l->expected_id,
        .cluster_name = slice_cstr(p->config.cluster_name),
    };
    struct writer w = WRITER_INIT;
    peer_hello_encode(&w, &h);
    net_conn_write(conn, writer_take(&w));
    env_timer_arm(p->env, &l->timer, p->config.handshake_timeout_ms);
}

static void link_connect(struct link *l, const struct net_address *address)
{
    struct peers *p = l->peers;
    l->connecting_since = env_mono_ms(p->env);
    l->conn = net_connect(p->loop, address, p->config.connect_timeout_ms, conn_on_connected, l);
}

struct link *link_dial(struct peer_dial *d, const struct net_address *address)
{
    struct link *l = link_new(d->peers, d->channel);
    l->dial = d;
    l->expected_id = d->node ? d->node->ref.id : 0;
    l->info.node.id = l->expected_id;
    l->info.node.generation = d->node ? d->node->ref.generation : 0;
    snprintf(l->address, sizeof(l->address), "%s", d->node ? d->node->address : d->address);
    link_connect(l, address);
    return l;
}

void link_reconnect(struct link *l)
{
    struct net_address address;
    if (l->state != LINK_CONNECTING || peer_address_parse(slice_cstr(l->address), &address, NULL) != RC_OK)
        return;
    close_socket(l);
    link_connect(l, &address);
}

struct link *link_adopt(struct peers *p, struct net_conn *conn, struct node_ref from,
                        enum peer_channel channel, struct bytes answer_take)
{
    struct link *l = link_new(p, channel);
    l->info.accepted = true;
    l->info.node = from;
    l->conn = conn;
    net_conn_peer(conn, l->address, sizeof(l->address));
    net_conn_write(conn, answer_take);
    net_conn_start(conn, &conn_ops, l);
    link_up(l);
    return l;
}

/* ---- sending ---- */

size_t link_pending(const struct link *l)
{
    return l->waiting_bytes + (l->conn && l->state == LINK_UP ? net_conn_write_pending(l->conn) : 0);
}

static void queue(struct link *l, struct bytes take)
{
    if (l->state == LINK_UP) {
        l->queued_total += take.len;
        net_conn_write(l->conn, take);
    } else {
        l->waiting_bytes += take.len;
        VEC_PUSH(&l->waiting, take);
    }
}

static void frame_head(uint8_t *out, size_t len, enum peer_service service)
{
    put_u32le(out, (uint32_t)len);
    out[4] = (uint8_t)service;
}

static void queue_small(struct link *l, enum peer_service service, const struct bytes *parts, size_t n_parts,
                        size_t len)
{
    struct buf *b = buf_new(PEER_FRAME_HEAD + len);
    frame_head(b->data, len, service);
    size_t at = PEER_FRAME_HEAD;
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].len)
            memcpy(b->data + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    queue(l, bytes_take_buf(b, 0, at));
}

enum rc link_send(struct link *l, enum peer_service service, const struct bytes *parts, size_t n_parts)
{
    struct peers *p = l->peers;
    ASSERT(service > 0 && service < PEER_SERVICES);
    size_t len = 0;
    for (size_t i = 0; i < n_parts; i++)
        len += parts[i].len;
    if (len > l->frames.limit)
        return RC_TOO_LARGE;
    size_t pending = link_pending(l);
    if (pending > 0 && pending + len > p->config.queue_limit_bytes) {
        metric_inc(p->metrics.dropped);
        return RC_OVERLOADED;
    }
    metric_add(p->metrics.sent, (int64_t)(PEER_FRAME_HEAD + len));
    if (len <= PEER_SMALL_BYTES) {
        queue_small(l, service, parts, n_parts, len);
        return RC_OK;
    }
    struct buf *head = buf_new(PEER_FRAME_HEAD);
    frame_head(head->data, len, service);
    queue(l, bytes_take_buf(head, 0, PEER_FRAME_HEAD));
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].len)
            queue(l, bytes_ref(parts[i]));
    }
    return RC_OK;
}

/* ---- keep-alive ---- */

/* A long queue that the kernel goes on taking from shows that the other end is there, even if it has nothing
 * to say: the ping stands behind the queue. */
static void note_progress(struct link *l, uint64_t now)
{
    size_t pending = net_conn_write_pending(l->conn);
    uint64_t taken = l->queued_total - MIN(pending, l->queued_total);
    if (l->pending_before > 0 && taken > l->taken_before)
        l->last_heard = now;
    l->pending_before = pending;
    l->taken_before = taken;
}

static void keep_alive(struct link *l)
{
    struct peers *p = l->peers;
    uint64_t now = env_mono_ms(p->env), interval = p->config.keep_alive_interval_ms;
    uint64_t limit = p->config.keep_alive_timeout_ms;
    if (limit <= interval)
        limit += interval;
    /* This process was stopped or busy: the other end had no chance to be heard. */
    if (now > l->timer_due + interval && now - l->last_heard > interval)
        l->last_heard = now - interval;
    note_progress(l, now);
    uint64_t silent = now - l->last_heard;
    if (silent >= limit) {
        link_down(l, PEER_DOWN_SILENT, "no sign of life for %llu ms", (unsigned long long)silent);
        return;
    }
    if (silent >= interval)
        send_control(l, CONTROL_PING, SLICE_EMPTY);
    l->timer_due = silent >= interval ? MIN(now + interval, l->last_heard + limit) : l->last_heard + interval;
    env_timer_arm_at(p->env, &l->timer, l->timer_due);
}

static void timer_fire(struct env_timer *t)
{
    struct link *l = CONTAINER_OF(t, struct link, timer);
    if (l->state == LINK_UP)
        keep_alive(l);
    else
        link_down(l, PEER_DOWN_SILENT, "%s did not answer the greeting within %llu ms", l->address,
                  (unsigned long long)l->peers->config.handshake_timeout_ms);
}
