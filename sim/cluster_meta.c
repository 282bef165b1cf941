/* The metadata servers of the simulated cluster, looked at where they are put together (spec/cluster.md
 * §11.2): what one member commits at an index everybody commits there (M-3), a term has one leader (M-3),
 * memberships change by one member at a time (M-5), a disk that was lost is never heard again (M-4), answers
 * to reads are not older than what anybody was told before the question (M-1), and every value that any
 * member applies goes into the history (cluster_history.c). */
#include <stdlib.h>

#include "base/hash.h"
#include "metadata/raft_server.h"
#include "sim/cluster_sim.h"

#define CHECK(cond, ...) SIM_CHECK(&csim->base, cond, __VA_ARGS__)

struct entry {
    uint64_t term, hash; /* term 0: not seen */
};
struct reign {
    uint64_t term;
    struct raft_member leader;
};
static struct {
    struct entry *items; /* of index i */
    size_t len, cap;
} entries;
static struct {
    struct reign *items;
    size_t len, cap;
} reigns;
static struct {
    struct raft_members *items; /* in order of versions */
    size_t len, cap;
} memberships;
static struct {
    struct raft_member *items;
    size_t len, cap;
} lost;

struct watched {
    struct raft_server_ops ops;
    const struct raft_server_ops *inner;
    void *ctx;
    struct raft_server *server; /* NULL: not there yet */
    void (*stopped)(void *ctx);
};
static struct {
    struct watched **items;
    size_t len, cap;
} servers;

/* ---- M-3, M-5: what is committed ---- */

static unsigned missing(const struct raft_members *from, const struct raft_members *in)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < from->n; i++) {
        bool found = false;
        for (uint32_t k = 0; k < in->n; k++)
            found |= raft_member_eq(from->items[i], in->items[k]);
        n += !found;
    }
    return n;
}

static void see_members(struct slice data)
{
    struct raft_members m;
    struct reader r = reader_make(data);
    raft_members_read(&r, &m);
    CHECK(reader_done(&r), "M-5: members that nobody can read");
    for (size_t i = 0; i < memberships.len; i++) {
        if (memberships.items[i].version == m.version) {
            CHECK(!missing(&m, &memberships.items[i]) && !missing(&memberships.items[i], &m),
                  "M-5: two memberships of version %u", m.version);
            return;
        }
    }
    const struct raft_members *last = memberships.len ? &memberships.items[memberships.len - 1] : NULL;
    CHECK(!last || (m.version == last->version + 1 && missing(&m, last) + missing(last, &m) == 1),
          "M-5: membership %u is more than one step from %u", m.version, last->version);
    VEC_PUSH(&memberships, m);
}

static void on_committed(void *ctx, uint64_t index, const struct raft_log_entry *e)
{
    struct watched *w = ctx;
    if (e) {
        struct entry seen = {e->term, hash64_combine(hash64(bytes_slice(e->data)), (uint64_t)e->kind)};
        while (entries.len <= index)
            VEC_PUSH(&entries, (struct entry){0});
        struct entry *at = &entries.items[index];
        CHECK(!at->term || (at->term == seen.term && at->hash == seen.hash),
              "M-3: two entries are committed at index %lu", (unsigned long)index);
        *at = seen;
        if (e->kind == RAFT_MEMBERS)
            see_members(bytes_slice(e->data));
    }
    if (w->inner->committed)
        w->inner->committed(w->ctx, index, e);
}

static void on_applied(void *ctx, struct slice key, uint32_t version)
{
    struct watched *w = ctx;
    struct kv_entry e;
    if (w->server && kv_table_get(raft_server_local(w->server), key, &e))
        csim_history_see(&e);
    if (w->inner->applied)
        w->inner->applied(w->ctx, key, version);
}

/* ---- M-3, M-4, M-5: who speaks ---- */

/* M-5: a leader does not begin a change while another one is not committed. */
static void see_append(const struct raft_append *a)
{
    static struct {
        uint64_t term, index;
    } last; /* change that was sent */
    struct reader r = reader_make(a->entries);
    for (uint64_t i = a->prev_index + 1; i <= a->prev_index + a->n_entries; i++) {
        struct raft_entry_view e;
        raft_entry_read(&r, &e);
        if (e.kind != RAFT_MEMBERS || e.term != a->term)
            continue;
        CHECK(last.term != a->term || last.index == i || MIN(last.index, i) <= a->commit,
              "M-5: the members change at index %lu, and the change at %lu is not committed",
              (unsigned long)i, (unsigned long)last.index);
        last.term = a->term;
        last.index = i;
    }
}

static void on_send(void *ctx, uint32_t node, struct slice message)
{
    struct watched *w = ctx;
    struct raft_server_status s;
    struct metadata_message m;
    struct err err = {0};
    raft_server_status(w->server, &s);
    if (metadata_message_decode(message, &m, &err) == RC_OK && m.kind == RAFT_APPEND)
        see_append(&m.append);
    for (size_t i = 0; i < lost.len; i++)
        CHECK(!raft_member_eq(lost.items[i], s.self), "M-4: N%u speaks as the member whose disk was lost",
              s.self.node);
    bool known = false;
    for (size_t i = reigns.len; s.leads && i-- > 0 && !known;) {
        known = reigns.items[i].term == s.raft.term;
        CHECK(!known || raft_member_eq(reigns.items[i].leader, s.self), "M-3: N%u and N%u lead in term %lu",
              s.self.node, reigns.items[i].leader.node, (unsigned long)s.raft.term);
    }
    if (s.leads && !known)
        VEC_PUSH(&reigns, ((struct reign){s.raft.term, s.self}));
    w->inner->send(w->ctx, node, message);
}

void csim_meta_lost(struct raft_member m)
{
    VEC_PUSH(&lost, m);
}

bool csim_meta_has_lost(const struct raft_members *m)
{
    for (size_t i = 0; i < lost.len; i++) {
        for (uint32_t k = 0; k < m->n; k++) {
            if (raft_member_eq(lost.items[i], m->items[k]))
                return true;
        }
    }
    return false;
}

/* The functions without a check of their own. */

static const char *address_of(void *ctx, uint32_t node)
{
    struct watched *w = ctx;
    return w->inner->address_of(w->ctx, node);
}

static const char *may_join(void *ctx, uint32_t node)
{
    struct watched *w = ctx;
    return w->inner->may_join(w->ctx, node);
}

static void on_changed(void *ctx)
{
    struct watched *w = ctx;
    w->inner->changed(w->ctx);
}

enum rc __real_raft_server_new(struct env *env, struct raft_store *store, struct raft_durable *durable,
                               const struct raft_server_options *o, const struct raft_server_ops *ops,
                               void *ctx, struct raft_server **out, struct err *err);
enum rc __wrap_raft_server_new(struct env *env, struct raft_store *store, struct raft_durable *durable,
                               const struct raft_server_options *o, const struct raft_server_ops *ops,
                               void *ctx, struct raft_server **out, struct err *err);
enum rc __wrap_raft_server_new(struct env *env, struct raft_store *store, struct raft_durable *durable,
                               const struct raft_server_options *o, const struct raft_server_ops *ops,
                               void *ctx, struct raft_server **out, struct err *err)
{
    struct watched *w = xcalloc(1, sizeof(*w)); /* as long as the process */
    w->inner = ops;
    w->ctx = ctx;
    w->ops = (struct raft_server_ops){.send = on_send,
                                      .address_of = ops->address_of ? address_of : NULL,
                                      .may_join = ops->may_join ? may_join : NULL,
                                      .changed = ops->changed ? on_changed : NULL,
                                      .applied = on_applied,
                                      .committed = on_committed};
    enum rc rc = __real_raft_server_new(env, store, durable, o, &w->ops, w, out, err);
    w->server = rc == RC_OK ? *out : NULL;
    VEC_PUSH(&servers, w);
    return rc;
}

static void on_stopped(void *ctx)
{
    struct watched *w = ctx;
    w->stopped(w->ctx);
}

void __real_raft_server_stop(struct raft_server *s, void (*stopped)(void *ctx));
void __wrap_raft_server_stop(struct raft_server *s, void (*stopped)(void *ctx));
void __wrap_raft_server_stop(struct raft_server *s, void (*stopped)(void *ctx))
{
    for (size_t i = 0; i < servers.len; i++) {
        if (servers.items[i]->server == s)
            servers.items[i]->stopped = stopped;
    }
    __real_raft_server_stop(s, on_stopped);
}

/* ---- M-1: what is answered ---- */

struct told {
    struct bytes key;
    uint32_t version;
};
static struct {
    struct told *items; /* highest version that any answer showed */
    size_t len, cap;
} told;

static struct told *told_of(struct slice key)
{
    for (size_t i = 0; i < told.len; i++) {
        if (slice_eq(bytes_slice(told.items[i].key), key))
            return &told.items[i];
    }
    VEC_PUSH(&told, ((struct told){bytes_copy(key), 0}));
    return &told.items[told.len - 1];
}

/* A question on its way through a member. */
struct question {
    struct raft_call call;
    struct raft_reply reply;
    struct raft_call *inner_call;
    struct raft_reply *inner_reply;
    enum metadata_request_kind kind;
    struct bytes key;
    uint32_t version, least; /* of a put; told before */
};

static struct question *ask(const struct metadata_request *q)
{
    struct question *k = xcalloc(1, sizeof(*k)); /* a process that dies answers nobody */
    k->kind = q->kind;
    k->key = bytes_copy(q->key);
    k->version = q->version;
    k->least = told_of(q->key)->version;
    return k;
}

static void answered(struct question *k, const struct metadata_response *p)
{
    bool reads = k->kind == METADATA_GET && (p->outcome == METADATA_DONE || p->outcome == METADATA_ABSENT);
    uint32_t version = reads && p->outcome == METADATA_DONE ? p->version : 0;
    struct told *t = told_of(bytes_slice(k->key));
    CHECK(!reads || version >= k->least,
          "M-1: %.*s is answered with version %u; before the question it was %u",
          SLICE_FMT(bytes_slice(k->key)), version, k->least);
    if (k->kind == METADATA_PUT && p->outcome == METADATA_DONE) {
        CHECK(k->version > k->least, "M-1: %.*s v%u is written behind v%u", SLICE_FMT(bytes_slice(k->key)),
              k->version, k->least);
        version = k->version;
    }
    t->version = MAX(t->version, version);
}

static void call_done(struct raft_call *c, const struct metadata_response *p)
{
    struct question *k = CONTAINER_OF(c, struct question, call);
    answered(k, p);
    k->inner_call->done(k->inner_call, p);
}

static void reply_send(struct raft_reply *r, struct slice message)
{
    struct question *k = CONTAINER_OF(r, struct question, reply);
    struct metadata_message m;
    struct err err = {0};
    if (metadata_message_decode(message, &m, &err) == RC_OK && m.kind == METADATA_RESPONSE)
        answered(k, &m.response);
    k->inner_reply->send(k->inner_reply, message);
}

void __real_raft_server_submit(struct raft_server *s, const struct metadata_request *q, struct raft_call *c);
void __wrap_raft_server_submit(struct raft_server *s, const struct metadata_request *q, struct raft_call *c);
void __wrap_raft_server_submit(struct raft_server *s, const struct metadata_request *q, struct raft_call *c)
{
    struct question *k = ask(q);
    k->call.done = call_done;
    k->inner_call = c;
    __real_raft_server_submit(s, q, &k->call);
}

void __real_raft_server_receive(struct raft_server *s, struct slice message, struct raft_reply *reply);
void __wrap_raft_server_receive(struct raft_server *s, struct slice message, struct raft_reply *reply);
void __wrap_raft_server_receive(struct raft_server *s, struct slice message, struct raft_reply *reply)
{
    struct metadata_message m;
    struct err err = {0};
    bool asks = reply && metadata_message_decode(message, &m, &err) == RC_OK && m.kind == METADATA_REQUEST;
    struct question *k = asks ? ask(&m.request) : NULL;
    if (k) {
        k->reply.send = reply_send;
        k->inner_reply = reply;
    }
    __real_raft_server_receive(s, message, k ? &k->reply : reply);
}
