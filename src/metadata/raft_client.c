/* The replicated key-value provider: see raft_client.h. */
#include "metadata/raft_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "metadata/kv_inbox.h"

#define LOCAL           (-1) /* as an endpoint */
#define NOBODY          (-2)
#define HINTS_MAX       3u /* followed in one round */
#define ATTEMPTS_MAX    2u
#define FAILED_TEXT_MAX 256u

struct attempt {
    uint64_t id; /* 0: free */
    int endpoint;
    bool look; /* of a write: only looks for a live leader */
    uint64_t until_ms;
};

struct operation {
    struct list link;
    struct raft_client *client;
    struct metadata_request request; /* slices of the caller's */
    struct raft_member from;
    struct kv_op *op;       /* or */
    struct raft_join *join; /* this */
    struct attempt attempts[ATTEMPTS_MAX];
    uint32_t tried; /* addresses of this round */
    bool tried_local;
    unsigned hints;
    uint64_t until_ms;
    struct env_timer timer; /* the end of an attempt, a hedge, or a pause */
    bool pausing;
    struct raft_call call; /* of the local attempt; alive until it is done */
    uint64_t local_attempt;
    bool local_busy, finished;
    char last_error[FAILED_TEXT_MAX];
};

struct raft_client {
    struct kv base;
    struct env *env;
    struct raft_client_options opt;
    char *cluster_name;
    struct raft_server *local;
    const struct raft_client_ops *ops;
    void *ctx;
    char *addresses[RAFT_CLIENT_ADDRESSES_MAX];
    size_t n_addresses;
    int leader; /* endpoint that answered as leader, or NOBODY */
    uint64_t leader_heard_ms;
    struct kv_inbox inbox;
    struct list running; /* struct operation */
    uint32_t n_operations;
    uint64_t next_attempt;
    bool closing;
};

void raft_client_options_default(struct raft_client_options *o)
{
    *o = (struct raft_client_options){.attempt_ms = 500,
                                      .hedge_ms = 100,
                                      .pause_ms = 100,
                                      .operation_ms = 10000,
                                      .operations_max = 4096,
                                      .cluster_name = "localcluster"};
}

/* ---- ends ---- */

static bool is_write(const struct operation *o)
{
    return o->request.kind == METADATA_PUT || o->request.kind == METADATA_DELETE;
}

/* Something was sent that may change the state. */
static bool write_sent(const struct operation *o)
{
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        if (o->attempts[i].id && !o->attempts[i].look)
            return is_write(o);
    return false;
}

static void release(struct operation *o)
{
    if (o->local_busy)
        return; /* the local server still knows it */
    free(o);
}

static void finish(struct operation *o, struct kv_result *result)
{
    struct raft_client *c = o->client;
    ASSERT(!o->finished);
    o->finished = true;
    env_timer_cancel(c->env, &o->timer);
    list_remove(&o->link);
    c->n_operations--;
    if (o->op) {
        struct kv_op *op = o->op;
        bytes_unref(&op->value);
        release(o);
        op->done(op, result);
    } else {
        struct raft_join *j = o->join;
        release(o);
        j->done(j, result->rc, result->message);
    }
}

static void finish_rc(struct operation *o, enum rc rc, const char *message)
{
    struct kv_result r = {.rc = rc, .message = message};
    finish(o, &r);
}

static void give_up(struct operation *o)
{
    char text[KV_KEY_MAX + FAILED_TEXT_MAX + 80];
    snprintf(text, sizeof(text), "retries for operation on key '%.*s' exhausted; last error: %s",
             SLICE_FMT(o->request.key), o->last_error[0] ? o->last_error : "no metadata server answers");
    finish_rc(o, RC_UNAVAILABLE, text);
}

static void undecided(struct operation *o)
{
    finish_rc(o, RC_TIMEOUT, "no answer from the metadata server, the write may have happened");
}

static void finish_get(struct operation *o, const struct metadata_response *p)
{
    struct kv_result r = {.rc = RC_OK, .message = ""};
    r.entry = (struct kv_entry){o->request.key, bytes_copy(p->value), p->version};
    struct bytes value = r.entry.value;
    finish(o, &r);
    bytes_unref(&value);
}

static void finish_list(struct operation *o, const struct metadata_response *p)
{
    struct {
        struct kv_entry *items;
        size_t len, cap;
    } found = {0};
    struct bytes all = bytes_copy(p->value);
    struct reader in = reader_make(bytes_slice(all));
    while (reader_left(&in) && !in.failed) {
        struct metadata_entry e;
        metadata_entry_read(&in, &e);
        struct kv_entry entry = {e.key, {e.value.ptr, e.value.len, all.owner}, e.version};
        if (!in.failed)
            VEC_PUSH(&found, entry);
    }
    struct kv_result r = {.rc = RC_OK, .message = "", .entries = found.items, .n_entries = found.len};
    if (in.failed)
        r = (struct kv_result){.rc = RC_INTERNAL, .message = "malformed answer of the metadata server"};
    finish(o, &r);
    bytes_unref(&all);
    VEC_FREE(&found);
}

/* ---- trying ---- */

static void continue_op(struct operation *o);

static void arm(struct operation *o)
{
    struct raft_client *c = o->client;
    uint64_t at = o->until_ms, now = env_mono_ms(c->env);
    unsigned n = 0;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        if (!o->attempts[i].id)
            continue;
        n++;
        at = MIN(at, o->attempts[i].until_ms);
    }
    bool may_hedge = n == 1 && c->n_addresses > 1 && !write_sent(o);
    if (may_hedge)
        at = MIN(at, now + c->opt.hedge_ms);
    env_timer_arm_at(c->env, &o->timer, MAX(at, now + 1));
}

static void local_done(struct raft_call *call, const struct metadata_response *p);

static struct attempt *new_attempt(struct operation *o, int endpoint, bool look)
{
    struct raft_client *c = o->client;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        struct attempt *a = &o->attempts[i];
        if (a->id)
            continue;
        *a = (struct attempt){++c->next_attempt, endpoint, look, env_mono_ms(c->env) + c->opt.attempt_ms};
        /* The own member answers when it loses the leadership; a slow disk is no reason to doubt. */
        if (endpoint == LOCAL)
            a->until_ms = o->until_ms;
        return a;
    }
    return NULL;
}

static void try_endpoint(struct operation *o, int endpoint, bool look)
{
    struct raft_client *c = o->client;
    if (is_write(o) && !look)
        memset(o->attempts, 0, sizeof(o->attempts)); /* what still looks does not matter any more */
    struct attempt *a = new_attempt(o, endpoint, look);
    if (!a) {
        arm(o);
        return;
    }
    struct metadata_request q = o->request;
    if (look)
        q = (struct metadata_request){.kind = METADATA_GET, .key = q.key};
    q.id = a->id;
    if (endpoint == LOCAL) {
        o->tried_local = true;
        o->local_busy = true;
        o->local_attempt = a->id;
        o->call.done = local_done;
        arm(o);
        raft_server_submit(c->local, &q, &o->call);
        return;
    }
    o->tried |= 1u << endpoint;
    struct metadata_message m = {.kind = METADATA_REQUEST, .request = q};
    m.header.fingerprint = c->opt.fingerprint;
    m.header.cluster_name = slice_cstr(c->cluster_name);
    m.header.from = o->from;
    struct writer w = WRITER_INIT;
    metadata_message_encode(&w, &m);
    arm(o);
    c->ops->send(c->ctx, c->addresses[endpoint], q.id, writer_slice(&w));
    writer_free(&w);
}

static bool leader_fresh(const struct raft_client *c)
{
    return c->leader >= 0 && c->leader_heard_ms + c->opt.attempt_ms >= env_mono_ms(c->env);
}

/* Whom to ask next in this round, or NOBODY. */
static int choose(struct operation *o)
{
    struct raft_client *c = o->client;
    /* A join is about the others; the own member would only say that it does not lead. */
    if (c->local && !o->tried_local && !o->local_busy && !o->join)
        return LOCAL;
    if (c->leader >= 0 && !(o->tried & 1u << c->leader))
        return c->leader;
    if (c->n_addresses == 0)
        return NOBODY;
    size_t start = (size_t)(env_random(c->env) % c->n_addresses);
    for (size_t i = 0; i < c->n_addresses; i++) {
        size_t at = (start + i) % c->n_addresses;
        if (!(o->tried & 1u << at))
            return (int)at;
    }
    return NOBODY;
}

static unsigned outstanding(const struct operation *o)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        n += o->attempts[i].id != 0;
    return n;
}

static void pause_op(struct operation *o)
{
    struct raft_client *c = o->client;
    o->pausing = true;
    uint64_t wait = c->opt.pause_ms / 2 + env_random(c->env) % (c->opt.pause_ms + 1);
    uint64_t at = env_mono_ms(c->env) + wait;
    env_timer_arm_at(c->env, &o->timer, MIN(at, o->until_ms));
}

/* Ask somebody else; if all were asked and nothing is expected any more, pause and begin again. */
static void continue_op(struct operation *o)
{
    struct raft_client *c = o->client;
    if (env_mono_ms(c->env) >= o->until_ms) {
        if (write_sent(o))
            undecided(o);
        else
            give_up(o);
        return;
    }
    int endpoint = choose(o);
    /* A write goes to a remote leader only if that has just answered. */
    bool look = is_write(o) && endpoint != LOCAL && !(endpoint == c->leader && leader_fresh(c));
    if (endpoint != NOBODY)
        try_endpoint(o, endpoint, look);
    else if (outstanding(o) == 0)
        pause_op(o);
    else
        arm(o);
}

static void begin_round(struct operation *o)
{
    o->tried = 0;
    o->tried_local = false;
    o->hints = 0;
    o->pausing = false;
    continue_op(o);
}

static void timer_fired(struct env_timer *t)
{
    struct operation *o = CONTAINER_OF(t, struct operation, timer);
    uint64_t now = env_mono_ms(o->client->env);
    if (o->pausing) {
        begin_round(o);
        return;
    }
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        struct attempt *a = &o->attempts[i];
        if (!a->id || a->until_ms > now)
            continue;
        if (is_write(o) && !a->look) {
            undecided(o);
            return;
        }
        if (a->endpoint == o->client->leader)
            o->client->leader = NOBODY;
        snprintf(o->last_error, sizeof(o->last_error), "a metadata server does not answer");
        a->id = 0;
    }
    continue_op(o);
}

/* ---- answers ---- */

static int endpoint_of(const struct raft_client *c, struct slice address)
{
    for (size_t i = 0; i < c->n_addresses; i++)
        if (slice_eq_cstr(address, c->addresses[i]))
            return (int)i;
    return NOBODY;
}

/* The leader named by another member; an address that we did not know is one from now on. */
static int endpoint_of_hint(struct raft_client *c, const struct metadata_response *p)
{
    if (p->leader.node == 0 || p->leader_address.len == 0)
        return NOBODY;
    int at = endpoint_of(c, p->leader_address);
    if (at == NOBODY && c->n_addresses < RAFT_CLIENT_ADDRESSES_MAX) {
        at = (int)c->n_addresses;
        c->addresses[c->n_addresses++] = slice_dup_cstr(p->leader_address);
    }
    return at;
}

static void remember_error(struct operation *o, struct slice message, const char *otherwise)
{
    if (message.len)
        snprintf(o->last_error, sizeof(o->last_error), "%.*s", SLICE_FMT(message));
    else
        snprintf(o->last_error, sizeof(o->last_error), "%s", otherwise);
}

static void not_leader(struct operation *o, int endpoint, const struct metadata_response *p)
{
    struct raft_client *c = o->client;
    if (c->leader == endpoint)
        c->leader = NOBODY;
    remember_error(o, p->message, "the metadata servers have no leader");
    int hint = endpoint_of_hint(c, p);
    if (hint >= 0 && hint != endpoint && o->hints < HINTS_MAX) {
        o->hints++;
        o->tried &= ~(1u << hint);
        c->leader = hint;
        c->leader_heard_ms = 0;
    }
    continue_op(o);
}

static const char *text_of(const struct metadata_response *p, char *room, size_t size)
{
    snprintf(room, size, "%.*s", SLICE_FMT(p->message));
    return room;
}

/* The leader has spoken. */
static void final_answer(struct operation *o, bool look, const struct metadata_response *p)
{
    char text[METADATA_TEXT_MAX + 1];
    if (look && o->client->leader >= 0) {
        try_endpoint(o, o->client->leader, false);
    } else if (look) {
        continue_op(o);
    } else if (p->outcome == METADATA_ABSENT) {
        finish_rc(o, RC_NOT_FOUND, "");
    } else if (p->outcome == METADATA_CONFLICT) {
        finish_rc(o, RC_CONFLICT, text_of(p, text, sizeof(text)));
    } else if (o->request.kind == METADATA_GET) {
        finish_get(o, p);
    } else if (o->request.kind == METADATA_LIST) {
        finish_list(o, p);
    } else {
        finish_rc(o, RC_OK, "");
    }
}

static void handle(struct operation *o, const struct attempt *from, const struct metadata_response *p)
{
    struct raft_client *c = o->client;
    char text[METADATA_TEXT_MAX + 1];
    int endpoint = from->endpoint;
    switch (p->outcome) {
    case METADATA_DONE:
    case METADATA_ABSENT:
    case METADATA_CONFLICT:
        if (endpoint >= 0) {
            c->leader = endpoint;
            c->leader_heard_ms = env_mono_ms(c->env);
        }
        final_answer(o, from->look, p);
        return;
    case METADATA_REFUSED:
        finish_rc(o, RC_INVALID, text_of(p, text, sizeof(text)));
        return;
    case METADATA_TOO_LARGE:
        finish_rc(o, RC_TOO_LARGE, text_of(p, text, sizeof(text)));
        return;
    case METADATA_NO_SPACE:
        finish_rc(o, RC_NO_SPACE, text_of(p, text, sizeof(text)));
        return;
    case METADATA_WRONG_CLUSTER:
        finish_rc(o, RC_INVALID, text_of(p, text, sizeof(text)));
        return;
    case METADATA_UNDECIDED:
        undecided(o);
        return;
    case METADATA_NOT_LEADER:
    case METADATA_NOT_PROVISIONED:
        not_leader(o, endpoint, p);
        return;
    case METADATA_BUSY:
    case METADATA_OUTCOME_END:
        remember_error(o, p->message, "the metadata server is busy");
        if (o->join)
            finish_rc(o, RC_AGAIN, text_of(p, text, sizeof(text)));
        else if (outstanding(o) == 0)
            pause_op(o);
        return;
    }
}

static void local_done(struct raft_call *call, const struct metadata_response *p)
{
    struct operation *o = CONTAINER_OF(call, struct operation, call);
    o->local_busy = false;
    if (o->finished) {
        free(o);
        return;
    }
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        if (o->attempts[i].id == o->local_attempt) {
            struct attempt a = o->attempts[i];
            o->attempts[i].id = 0;
            handle(o, &a, p);
            return;
        }
}

static struct operation *find(struct raft_client *c, uint64_t attempt, struct attempt **out)
{
    LIST_FOREACH(n, &c->running)
    {
        struct operation *o = CONTAINER_OF(n, struct operation, link);
        for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
            if (o->attempts[i].id == attempt) {
                *out = &o->attempts[i];
                return o;
            }
    }
    return NULL;
}

void raft_client_response(struct raft_client *c, uint64_t attempt, struct slice message)
{
    struct metadata_message m;
    struct attempt *a;
    struct operation *o = attempt ? find(c, attempt, &a) : NULL;
    if (!o)
        return;
    if (metadata_message_decode(message, &m, NULL) || m.kind != METADATA_RESPONSE ||
        m.response.id != attempt) {
        raft_client_failed(c, attempt, true);
        return;
    }
    struct attempt answered = *a;
    a->id = 0;
    handle(o, &answered, &m.response);
}

void raft_client_failed(struct raft_client *c, uint64_t attempt, bool sent)
{
    struct attempt *a;
    struct operation *o = attempt ? find(c, attempt, &a) : NULL;
    if (!o)
        return;
    if (c->leader == a->endpoint)
        c->leader = NOBODY;
    a->id = 0;
    if (sent && is_write(o) && !a->look) {
        undecided(o);
        return;
    }
    snprintf(o->last_error, sizeof(o->last_error), "cannot reach a metadata server");
    continue_op(o);
}

/* ---- the provider ---- */

static struct operation *new_operation(struct raft_client *c)
{
    struct operation *o = xcalloc(1, sizeof(*o));
    o->client = c;
    o->until_ms = env_mono_ms(c->env) + c->opt.operation_ms;
    list_init(&o->link);
    list_push_back(&c->running, &o->link);
    c->n_operations++;
    env_timer_init(&o->timer, timer_fired);
    return o;
}

static void begin(struct kv_inbox *inbox, struct kv_op *op)
{
    struct raft_client *c = CONTAINER_OF(inbox, struct raft_client, inbox);
    static const enum metadata_request_kind kinds[] = {[KV_GET] = METADATA_GET,
                                                       [KV_PUT] = METADATA_PUT,
                                                       [KV_DELETE] = METADATA_DELETE,
                                                       [KV_LIST] = METADATA_LIST};
    bool write = op->kind == KV_PUT || op->kind == KV_DELETE;
    if (c->closing) {
        kv_answer(op, RC_CLOSED, "the metadata client was closed");
        return;
    }
    if (op->key.len > KV_KEY_MAX || (write && op->key.len == 0)) {
        kv_answer(op, RC_INVALID, "a metadata key has 1 to 512 bytes");
        return;
    }
    if (op->value.len > KV_VALUE_MAX) {
        kv_answer(op, RC_TOO_LARGE, "the metadata value is larger than 8 MiB");
        return;
    }
    if (c->n_operations >= c->opt.operations_max) {
        kv_answer(op, RC_OVERLOADED, "too many metadata operations are in progress");
        return;
    }
    struct operation *o = new_operation(c);
    o->op = op;
    o->request = (struct metadata_request){.kind = kinds[op->kind],
                                           .precondition = write ? (uint8_t)op->precondition : 0,
                                           .version = op->version,
                                           .expected_version = op->expected_version,
                                           .key = op->key,
                                           .value = bytes_slice(op->value)};
    begin_round(o);
}

static void client_submit(struct kv *kv, struct kv_op *op)
{
    struct raft_client *c = CONTAINER_OF(kv, struct raft_client, base);
    ASSERT(!c->closing);
    kv_inbox_submit(&c->inbox, op);
}

static void client_close(struct kv *kv)
{
    struct raft_client *c = CONTAINER_OF(kv, struct raft_client, base);
    ASSERT(!c->closing);
    c->closing = true;
    while (!list_empty(&c->running))
        finish_rc(CONTAINER_OF(c->running.next, struct operation, link), RC_CLOSED,
                  "the metadata client was closed");
    kv_inbox_close(&c->inbox);
    for (size_t i = 0; i < c->n_addresses; i++)
        free(c->addresses[i]);
    free(c->cluster_name);
    free(c);
}

void raft_client_join(struct raft_client *c, struct raft_join *j)
{
    struct operation *o = new_operation(c);
    o->join = j;
    o->from = j->member;
    o->request = (struct metadata_request){.kind = METADATA_JOIN, .replace = j->replace};
    begin_round(o);
}

void raft_client_set_addresses(struct raft_client *c, const char *const *addresses, size_t n)
{
    char *fresh[RAFT_CLIENT_ADDRESSES_MAX];
    n = MIN(n, (size_t)RAFT_CLIENT_ADDRESSES_MAX);
    bool same = n == c->n_addresses;
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(c->addresses[i], addresses[i]) == 0;
    if (same)
        return;
    /* Positions mean something else now. */
    LIST_FOREACH(pos, &c->running)
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++)
        if (CONTAINER_OF(pos, struct operation, link)->attempts[i].endpoint >= 0)
            CONTAINER_OF(pos, struct operation, link)->attempts[i].endpoint = NOBODY;
    for (size_t i = 0; i < n; i++)
        fresh[i] = xstrdup(addresses[i]);
    for (size_t i = 0; i < c->n_addresses; i++)
        free(c->addresses[i]);
    memcpy(c->addresses, fresh, n * sizeof(fresh[0]));
    c->n_addresses = n;
    c->leader = NOBODY;
}

void raft_client_wake(struct raft_client *c)
{
    LIST_FOREACH_SAFE(n, next, &c->running)
    {
        struct operation *o = CONTAINER_OF(n, struct operation, link);
        if (o->pausing)
            env_timer_arm(c->env, &o->timer, 0);
    }
}

void raft_client_set_fingerprint(struct raft_client *c, uint64_t fingerprint)
{
    c->opt.fingerprint = fingerprint;
}

struct raft_client *raft_client_new(struct env *env, const struct raft_client_options *o,
                                    struct raft_server *local, const struct raft_client_ops *ops, void *ctx)
{
    static const struct kv_provider provider = {client_submit, client_close};
    struct raft_client *c = xcalloc(1, sizeof(*c));
    c->base.provider = &provider;
    c->env = env;
    c->opt = *o;
    c->cluster_name = xstrdup(o->cluster_name);
    c->local = local;
    c->ops = ops;
    c->ctx = ctx;
    c->leader = NOBODY;
    kv_inbox_init(&c->inbox, env, begin);
    list_init(&c->running);
    return c;
}

struct kv *raft_client_kv(struct raft_client *c)
{
    return &c->base;
}
