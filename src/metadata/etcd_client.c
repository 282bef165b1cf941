/* The etcd key-value provider: see etcd_client.h. */
#include "metadata/etcd_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "http/grpc.h"
#include "metadata/etcd_messages.h"
#include "metadata/kv_inbox.h"

#define FAILED_TEXT_MAX 256u
#define BLIND_TRIES     10u /* of a write without a precondition, which others overtake */

struct operation {
    struct list link;
    struct etcd_client *client;
    struct kv_op *op;
    struct etcd_call call;
    bool calling;
    unsigned tried; /* endpoints in this round */
    uint64_t until_ms;
    struct env_timer pause;
    char last_error[FAILED_TEXT_MAX];

    /* A put without a precondition: the version must not go back, so it is bound to the one that is there. */
    bool blind_exists;
    uint32_t blind_version;
    unsigned blind_tries;

    /* A list, page by page as of one revision. */
    struct {
        uint64_t revision;
        struct bytes from; /* EMPTY: the beginning */
        size_t bytes;
        struct {
            struct bytes *items;
            size_t len, cap;
        } pages; /* the answers: pairs lie in them */
        struct {
            struct etcd_pair *items;
            size_t len, cap;
        } pairs;
    } list;
};

struct etcd_client {
    struct kv base;
    struct env *env;
    struct etcd_client_options opt;
    const struct etcd_client_ops *ops;
    void *ctx;
    size_t n_endpoints, current;
    struct kv_inbox inbox;
    struct list running; /* struct operation */
    uint32_t n_operations;
    bool stopped;
};

void etcd_client_options_default(struct etcd_client_options *o)
{
    *o = (struct etcd_client_options){.read_ms = 1000,
                                      .write_ms = 2000,
                                      .pause_ms = 100,
                                      .operation_ms = 10000,
                                      .operations_max = 4096,
                                      .list_page = 128};
}

/* ---- ends ---- */

static bool is_write(const struct operation *o)
{
    return o->op->kind == KV_PUT || o->op->kind == KV_DELETE;
}

static void list_reset(struct operation *o)
{
    for (size_t i = 0; i < o->list.pages.len; i++)
        bytes_unref(&o->list.pages.items[i]);
    VEC_FREE(&o->list.pages);
    VEC_FREE(&o->list.pairs);
    bytes_unref(&o->list.from);
    o->list.revision = 0;
    o->list.bytes = 0;
}

static void finish(struct operation *o, const struct kv_result *r)
{
    struct etcd_client *c = o->client;
    struct kv_op *op = o->op;
    ASSERT(!o->calling);
    env_timer_cancel(c->env, &o->pause);
    list_remove(&o->link);
    c->n_operations--;
    bytes_unref(&op->value);
    op->done(op, r);
    list_reset(o);
    free(o);
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
             SLICE_FMT(o->op->key), o->last_error[0] ? o->last_error : "etcd does not answer");
    finish_rc(o, RC_UNAVAILABLE, text);
}

static void undecided(struct operation *o)
{
    char text[FAILED_TEXT_MAX + 80];
    snprintf(text, sizeof(text), "etcd did not confirm the write, it may have happened: %s", o->last_error);
    finish_rc(o, RC_TIMEOUT, text);
}

/* ---- requests ---- */

static void write_change(struct operation *o, struct writer *w)
{
    const struct kv_op *op = o->op;
    struct etcd_change change = {.key = op->key,
                                 .value = bytes_slice(op->value),
                                 .put = op->kind == KV_PUT,
                                 .version = op->version,
                                 .expected = op->expected_version};
    switch (op->precondition) {
    case KV_DOES_NOT_EXIST:
        change.condition = ETCD_IF_ABSENT;
        break;
    case KV_MATCHES_VERSION:
        change.condition = ETCD_IF_VERSION;
        break;
    case KV_NONE:
        if (op->kind == KV_DELETE)
            break;
        change.condition = o->blind_exists ? ETCD_IF_VERSION : ETCD_IF_ABSENT;
        change.expected = o->blind_version;
        break;
    }
    etcd_write_change(w, &change);
}

static void send(struct operation *o)
{
    struct etcd_client *c = o->client;
    struct writer w = WRITER_INIT;
    bool list = o->op->kind == KV_LIST;
    if (list)
        etcd_write_list(&w, o->op->key, o->list.from.len ? bytes_slice(o->list.from) : o->op->key,
                        c->opt.list_page, o->list.revision);
    else if (o->op->kind == KV_GET)
        etcd_write_get(&w, o->op->key);
    else
        write_change(o, &w);
    o->call.endpoint = c->current;
    o->call.path = list ? ETCD_RANGE_PATH : ETCD_TXN_PATH;
    o->call.timeout_ms = is_write(o) ? c->opt.write_ms : c->opt.read_ms;
    o->calling = true;
    c->ops->send(c->ctx, &o->call, writer_take(&w));
}

static void paused(struct env_timer *t)
{
    struct operation *o = CONTAINER_OF(t, struct operation, pause);
    o->tried = 0;
    send(o);
}

/* At another endpoint; when all were asked, after a pause. */
static void again(struct operation *o)
{
    struct etcd_client *c = o->client;
    if (env_mono_ms(c->env) >= o->until_ms) {
        give_up(o);
        return;
    }
    if (++o->tried < c->n_endpoints)
        send(o);
    else
        env_timer_arm(c->env, &o->pause, c->opt.pause_ms / 2 + env_random(c->env) % c->opt.pause_ms);
}

/* ---- answers ---- */

static void got_value(struct operation *o, const struct etcd_answer *a)
{
    struct slice key = o->op->key;
    const struct etcd_pair *value = NULL, *version = NULL;
    struct kv_result r = {.rc = RC_NOT_FOUND, .message = ""};
    for (size_t i = 0; i < a->pairs.len; i++) {
        const struct etcd_pair *p = &a->pairs.items[i];
        if (slice_eq(p->key, key))
            value = p;
        else if (etcd_is_version_key(p->key, key))
            version = p;
    }
    if (!value && !version) {
        finish(o, &r);
        return;
    }
    if (!value || !version || !etcd_version_parse(version->value, &r.entry.version)) {
        finish_rc(o, RC_CORRUPT, "what etcd holds under this key was not written by this server");
        return;
    }
    r.rc = RC_OK;
    r.entry.key = key;
    r.entry.value = bytes_copy(value->value);
    struct bytes copy = r.entry.value;
    finish(o, &r);
    bytes_unref(&copy);
}

/* A put without a precondition met another version than it thought: bind it to that one. */
static void blind_again(struct operation *o, const struct etcd_answer *a)
{
    o->blind_exists = false;
    for (size_t i = 0; i < a->pairs.len; i++)
        if (etcd_is_version_key(a->pairs.items[i].key, o->op->key))
            o->blind_exists = etcd_version_parse(a->pairs.items[i].value, &o->blind_version);
    if (o->blind_exists && o->op->version < o->blind_version)
        finish_rc(o, RC_CONFLICT, "the version of a key cannot go back");
    else if (++o->blind_tries >= BLIND_TRIES)
        finish_rc(o, RC_UNAVAILABLE, "other writers of the key were faster every time");
    else
        send(o);
}

static void changed(struct operation *o, const struct etcd_answer *a)
{
    if (a->succeeded)
        finish_rc(o, RC_OK, "");
    else if (o->op->precondition == KV_NONE)
        blind_again(o, a);
    else
        finish_rc(o, RC_CONFLICT,
                  o->op->precondition == KV_DOES_NOT_EXIST ? "the key exists already"
                                                           : "the version of the key is another one");
}

/* ---- lists ---- */

/* Pairs are in order of keys: where is the version key of `of`? */
static const struct etcd_pair *find_version(const struct operation *o, struct slice of)
{
    uint8_t name[KV_KEY_MAX + sizeof(ETCD_VERSION_SUFFIX)];
    size_t low = 0, high = o->list.pairs.len;
    if (of.len > KV_KEY_MAX)
        return NULL;
    memcpy(name, of.ptr, of.len);
    memcpy(name + of.len, ETCD_VERSION_SUFFIX, sizeof(ETCD_VERSION_SUFFIX) - 1);
    struct slice key = slice_make(name, of.len + sizeof(ETCD_VERSION_SUFFIX) - 1);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_cmp(o->list.pairs.items[middle].key, key);
        if (order == 0)
            return &o->list.pairs.items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void finish_list(struct operation *o)
{
    struct kv_result r = {.rc = RC_OK, .message = ""};
    struct kv_entry *entries = xcalloc(o->list.pairs.len + 1, sizeof(*entries));
    for (size_t i = 0; i < o->list.pairs.len; i++) {
        const struct etcd_pair *p = &o->list.pairs.items[i];
        const struct etcd_pair *version = find_version(o, p->key);
        struct kv_entry *e = &entries[r.n_entries];
        if (!version || etcd_has_version_suffix(p->key) || !etcd_version_parse(version->value, &e->version))
            continue;
        e->key = p->key;
        e->value = bytes_copy(p->value);
        r.n_entries++;
    }
    r.entries = entries;
    size_t n = r.n_entries;
    finish(o, &r);
    for (size_t i = 0; i < n; i++)
        bytes_unref(&entries[i].value);
    free(entries);
}

static void got_page(struct operation *o, const struct etcd_answer *a, struct bytes body)
{
    if (!o->list.revision)
        o->list.revision = a->revision;
    for (size_t i = 0; i < a->pairs.len; i++) {
        const struct etcd_pair *p = &a->pairs.items[i];
        const struct etcd_pair *before =
            o->list.pairs.len ? &o->list.pairs.items[o->list.pairs.len - 1] : NULL;
        if (before && slice_cmp(before->key, p->key) >= 0) {
            finish_rc(o, RC_CORRUPT, "the keys that etcd lists are not in order");
            return;
        }
        o->list.bytes += p->key.len + p->value.len;
        VEC_PUSH(&o->list.pairs, *p);
    }
    VEC_PUSH(&o->list.pages, bytes_ref(body));
    if (!a->more || !a->pairs.len) {
        finish_list(o);
        return;
    }
    if (o->list.bytes > ETCD_LIST_BYTES_MAX) {
        finish_rc(o, RC_TOO_LARGE, "the metadata under this prefix is larger than 256 MiB");
        return;
    }
    struct writer next = WRITER_INIT;
    write_slice_raw(&next, a->pairs.items[a->pairs.len - 1].key);
    write_u8(&next, 0); /* the key that follows it */
    bytes_unref(&o->list.from);
    o->list.from = writer_take(&next);
    o->tried = 0;
    send(o);
}

static void answered(struct operation *o, struct bytes body)
{
    struct etcd_answer a;
    struct err err = {0};
    bool list = o->op->kind == KV_LIST;
    enum rc rc =
        list ? etcd_read_list(bytes_slice(body), &a, &err) : etcd_read_txn(bytes_slice(body), &a, &err);
    if (rc != RC_OK) {
        snprintf(o->last_error, sizeof(o->last_error), "%s", err.msg);
        if (is_write(o))
            undecided(o);
        else
            finish_rc(o, rc, err.msg);
        return;
    }
    if (list)
        got_page(o, &a, body);
    else if (o->op->kind == KV_GET)
        got_value(o, &a);
    else
        changed(o, &a);
    etcd_answer_release(&a);
}

/* ---- refusals ---- */

enum verdict { TRY_AGAIN, UNDECIDED, REFUSED };

static bool says(const struct etcd_reply *reply, const char *text)
{
    return strstr(reply->message, text) != NULL;
}

/* What an error says about the request. etcd answers UNAVAILABLE both for what it did not begin and for what
 * it lost sight of; and "database space exceeded" may come for a write that was applied. */
static enum verdict judge(const struct operation *o, const struct etcd_reply *reply)
{
    bool write = is_write(o);
    if (reply->unsent)
        return TRY_AGAIN;
    if (reply->transport)
        return write ? UNDECIDED : TRY_AGAIN;
    switch (reply->code) {
    case GRPC_INVALID_ARGUMENT:
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
    case GRPC_UNIMPLEMENTED:
    case GRPC_FAILED_PRECONDITION:
        return REFUSED;
    case GRPC_RESOURCE_EXHAUSTED:
        if (says(reply, "too many requests"))
            return TRY_AGAIN;
        if (says(reply, "larger than max"))
            return REFUSED;
        return write ? UNDECIDED : TRY_AGAIN;
    case GRPC_OUT_OF_RANGE: /* a list: its revision was compacted; or larger than the shell takes */
        return write ? UNDECIDED : says(reply, "compacted") ? TRY_AGAIN : REFUSED;
    case GRPC_UNAVAILABLE:
        if (says(reply, "no leader"))
            return TRY_AGAIN;
        return write ? UNDECIDED : TRY_AGAIN;
    default:
        return write ? UNDECIDED : TRY_AGAIN;
    }
}

static void refused(struct operation *o, const struct etcd_reply *reply)
{
    char text[FAILED_TEXT_MAX + 40];
    bool large = says(reply, "too large") || says(reply, "larger than") || reply->code == GRPC_OUT_OF_RANGE;
    snprintf(text, sizeof(text), "etcd refuses: %s", o->last_error);
    finish_rc(o, large ? RC_TOO_LARGE : RC_INVALID, text);
}

static void failed(struct operation *o, const struct etcd_reply *reply)
{
    struct etcd_client *c = o->client;
    snprintf(o->last_error, sizeof(o->last_error), "%s", reply->message);
    if (reply->transport || reply->code == GRPC_UNAVAILABLE) {
        if (c->current == o->call.endpoint) /* nobody else has moved on yet */
            c->current = (c->current + 1) % c->n_endpoints;
    }
    switch (judge(o, reply)) {
    case TRY_AGAIN:
        list_reset(o); /* begins anew: another member, or another revision */
        again(o);
        return;
    case UNDECIDED:
        undecided(o);
        return;
    case REFUSED:
        refused(o, reply);
        return;
    }
}

void etcd_client_answered(struct etcd_client *c, struct etcd_call *call, const struct etcd_reply *reply)
{
    struct operation *o = CONTAINER_OF(call, struct operation, call);
    o->calling = false;
    if (!reply->transport && reply->code == GRPC_OK)
        answered(o, reply->body);
    else if (c->stopped)
        finish_rc(o, RC_CLOSED, "this node stops");
    else
        failed(o, reply);
}

/* ---- life ---- */

/* NULL, or why the operation is not possible. */
static const char *check(const struct kv_op *op, enum rc *rc)
{
    *rc = RC_INVALID;
    if (op->kind == KV_LIST)
        return op->key.len <= KV_KEY_MAX ? NULL : "a prefix has at most 512 bytes";
    if (op->key.len == 0 || op->key.len > KV_KEY_MAX)
        return "a metadata key has 1 to 512 bytes";
    if (etcd_has_version_suffix(op->key))
        return "a metadata key in etcd cannot end in '" ETCD_VERSION_SUFFIX "'";
    if (op->kind == KV_PUT && op->value.len > KV_VALUE_MAX) {
        *rc = RC_TOO_LARGE;
        return "the metadata value is larger than 8 MiB";
    }
    *rc = RC_CONFLICT;
    if (op->kind == KV_PUT && op->precondition == KV_MATCHES_VERSION && op->version < op->expected_version)
        return "the version of a key cannot go back";
    return NULL;
}

static void begin(struct kv_inbox *inbox, struct kv_op *op)
{
    struct etcd_client *c = CONTAINER_OF(inbox, struct etcd_client, inbox);
    enum rc rc;
    const char *problem = check(op, &rc);
    if (c->stopped)
        kv_answer(op, RC_CLOSED, "this node stops");
    else if (problem)
        kv_answer(op, rc, problem);
    else if (c->n_operations >= c->opt.operations_max)
        kv_answer(op, RC_OVERLOADED, "too many operations on metadata are in progress");
    else {
        struct operation *o = xcalloc(1, sizeof(*o));
        o->client = c;
        o->op = op;
        o->until_ms = env_mono_ms(c->env) + c->opt.operation_ms;
        env_timer_init(&o->pause, paused);
        list_push_back(&c->running, &o->link);
        c->n_operations++;
        send(o);
    }
}

static void client_submit(struct kv *kv, struct kv_op *op)
{
    kv_inbox_submit(&CONTAINER_OF(kv, struct etcd_client, base)->inbox, op);
}

void etcd_client_stop(struct etcd_client *c)
{
    c->stopped = true;
    LIST_FOREACH_SAFE(n, tmp, &c->running)
    {
        struct operation *o = CONTAINER_OF(n, struct operation, link);
        if (!o->calling)
            finish_rc(o, RC_CLOSED, "this node stops");
    }
}

static void client_close(struct kv *kv)
{
    struct etcd_client *c = CONTAINER_OF(kv, struct etcd_client, base);
    etcd_client_stop(c);
    ASSERT_MSG(list_empty(&c->running), "calls to etcd that were not answered");
    kv_inbox_close(&c->inbox);
    free(c);
}

struct etcd_client *etcd_client_new(struct env *env, const struct etcd_client_options *o, size_t n_endpoints,
                                    const struct etcd_client_ops *ops, void *ctx)
{
    static const struct kv_provider provider = {client_submit, client_close};
    struct etcd_client *c = xcalloc(1, sizeof(*c));
    ASSERT(n_endpoints >= 1 && n_endpoints <= ETCD_ENDPOINTS_MAX);
    c->base.provider = &provider;
    c->env = env;
    c->opt = *o;
    c->n_endpoints = n_endpoints;
    c->ops = ops;
    c->ctx = ctx;
    kv_inbox_init(&c->inbox, env, begin);
    list_init(&c->running);
    return c;
}

struct kv *etcd_client_kv(struct etcd_client *c)
{
    return &c->base;
}
