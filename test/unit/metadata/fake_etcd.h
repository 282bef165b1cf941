/* An etcd in memory for tests of metadata/etcd_client.h: range reads and transactions by key, in order, with
 * revisions; answers come in a deferred task, and can be made to fail. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#include "base/env.h"
#include "http/grpc.h"
#include "metadata/etcd_client.h"
#include "metadata/etcd_messages.h"
#include "wire/pb.h"

enum fake_etcd_fault {
    FAKE_ETCD_OK,
    FAKE_ETCD_UNSENT,      /* no connection */
    FAKE_ETCD_LOST_BEFORE, /* the request never arrives, but nobody knows */
    FAKE_ETCD_LOST_AFTER,  /* applied, the answer is lost */
    FAKE_ETCD_STATUS,      /* the status and text below, nothing is done */
    FAKE_ETCD_GARBAGE,     /* applied, the answer is no message */
};
struct fake_etcd_key {
    struct bytes key, value;
    uint64_t writes; /* since it was created */
};
struct fake_etcd_request {
    struct list link;
    struct etcd_call *call;
    struct bytes message;
};
struct fake_etcd {
    struct env *env;
    struct etcd_client *client;
    struct fake_etcd_key keys[64]; /* in order */
    size_t n_keys;
    uint64_t revision;
    struct list requests;
    struct env_task task;
    enum fake_etcd_fault fault; /* of the next `n_faults` requests, at `fault_endpoint` only unless -1 */
    unsigned n_faults;
    int fault_endpoint;
    unsigned status;
    const char *status_text;
    /* Before the next request: what somebody else does. */
    void (*meanwhile)(struct fake_etcd *f);
    unsigned n_requests;
    size_t last_endpoint;
};

static inline struct fake_etcd_key *fake_etcd_find(struct fake_etcd *f, struct slice key)
{
    for (size_t i = 0; i < f->n_keys; i++)
        if (slice_eq(bytes_slice(f->keys[i].key), key))
            return &f->keys[i];
    return NULL;
}

static inline void fake_etcd_put(struct fake_etcd *f, struct slice key, struct slice value)
{
    struct fake_etcd_key *k = fake_etcd_find(f, key);
    if (!k) {
        size_t i = 0;
        ASSERT(f->n_keys < ARRAY_LEN(f->keys));
        while (i < f->n_keys && slice_cmp(bytes_slice(f->keys[i].key), key) < 0)
            i++;
        memmove(&f->keys[i + 1], &f->keys[i], (f->n_keys - i) * sizeof(f->keys[0]));
        f->n_keys++;
        k = &f->keys[i];
        *k = (struct fake_etcd_key){.key = bytes_copy(key)};
    }
    bytes_unref(&k->value);
    k->value = bytes_copy(value);
    k->writes++;
}

static inline void fake_etcd_delete(struct fake_etcd *f, struct slice key)
{
    struct fake_etcd_key *k = fake_etcd_find(f, key);
    if (!k)
        return;
    bytes_unref(&k->key);
    bytes_unref(&k->value);
    memmove(k, k + 1, (size_t)(f->keys + f->n_keys - (k + 1)) * sizeof(*k));
    f->n_keys--;
}

/* The fields of a message that are read here: the last LEN and varint of each number. */
struct fake_etcd_fields {
    struct slice bytes[12];
    uint64_t numbers[12];
};
static inline struct fake_etcd_fields fake_etcd_fields(struct slice message)
{
    struct fake_etcd_fields out = {0};
    struct reader r = reader_make(message);
    struct pb_field f;
    while (pb_next(&r, &f)) {
        if (f.number < 12 && f.wire == PB_LEN)
            out.bytes[f.number] = f.bytes;
        else if (f.number < 12)
            out.numbers[f.number] = f.value;
    }
    ASSERT(!r.failed);
    return out;
}

static inline void fake_etcd_header(struct fake_etcd *f, struct writer *w)
{
    struct writer header = WRITER_INIT;
    pb_write_u64(&header, 2, 42);
    pb_write_u64(&header, 3, f->revision);
    pb_put_message(w, 1, &header);
}

static inline void fake_etcd_range(struct fake_etcd *f, struct slice message, struct writer *w)
{
    struct fake_etcd_fields q = fake_etcd_fields(message);
    struct slice key = q.bytes[1], end = q.bytes[2];
    uint64_t n = 0, limit = q.numbers[3];
    bool all = slice_eq(end, SLICE_LIT("\0"));
    fake_etcd_header(f, w);
    for (size_t i = 0; i < f->n_keys; i++) {
        struct slice k = bytes_slice(f->keys[i].key);
        bool in = end.len ? slice_cmp(k, key) >= 0 && (all || slice_cmp(k, end) < 0) : slice_eq(k, key);
        if (!in)
            continue;
        if (limit && n == limit) {
            pb_write_bool(w, 3, true);
            break;
        }
        struct writer pair = WRITER_INIT;
        n++;
        pb_write_bytes(&pair, 1, k);
        pb_write_u64(&pair, 4, f->keys[i].writes);
        pb_write_bytes(&pair, 5, bytes_slice(f->keys[i].value));
        pb_put_message(w, 2, &pair);
    }
    pb_write_u64(w, 4, n);
}

static inline bool fake_etcd_compare(struct fake_etcd *f, struct slice message)
{
    struct fake_etcd_fields q = fake_etcd_fields(message);
    struct fake_etcd_key *k = fake_etcd_find(f, q.bytes[3]);
    ASSERT(q.numbers[1] == 0);
    if (q.numbers[2] == 0)
        return (k ? k->writes : 0) == q.numbers[4];
    ASSERT(q.numbers[2] == 3);
    return k && slice_eq(bytes_slice(k->value), q.bytes[7]);
}

static inline void fake_etcd_op(struct fake_etcd *f, struct slice message, struct writer *w)
{
    struct fake_etcd_fields q = fake_etcd_fields(message);
    struct writer inner = WRITER_INIT, op = WRITER_INIT;
    if (q.bytes[1].ptr) {
        fake_etcd_range(f, q.bytes[1], &inner);
        pb_put_message(&op, 1, &inner);
    } else if (q.bytes[2].ptr) {
        struct fake_etcd_fields put = fake_etcd_fields(q.bytes[2]);
        fake_etcd_put(f, put.bytes[1], put.bytes[2]);
        pb_put_message(&op, 2, &inner);
    } else {
        fake_etcd_delete(f, fake_etcd_fields(q.bytes[3]).bytes[1]);
        pb_put_message(&op, 3, &inner);
    }
    pb_put_message(w, 3, &op);
}

static inline void fake_etcd_txn(struct fake_etcd *f, struct slice message, struct writer *w)
{
    struct reader r = reader_make(message);
    struct pb_field x;
    bool holds = true;
    while (pb_next(&r, &x))
        if (x.number == 1)
            holds &= fake_etcd_compare(f, x.bytes);
    f->revision++;
    fake_etcd_header(f, w);
    pb_write_bool(w, 2, holds);
    r = reader_make(message);
    while (pb_next(&r, &x))
        if (x.number == (holds ? 2u : 3u))
            fake_etcd_op(f, x.bytes, w);
}

static inline void fake_etcd_answer(struct fake_etcd *f, struct fake_etcd_request *q)
{
    struct writer w = WRITER_INIT;
    struct etcd_reply reply = {.message = ""};
    enum fake_etcd_fault fault = FAKE_ETCD_OK;
    if (f->meanwhile) {
        void (*meanwhile)(struct fake_etcd * f) = f->meanwhile;
        f->meanwhile = NULL;
        meanwhile(f);
    }
    f->n_requests++;
    f->last_endpoint = q->call->endpoint;
    if (f->n_faults && (f->fault_endpoint < 0 || (size_t)f->fault_endpoint == q->call->endpoint)) {
        f->n_faults--;
        fault = f->fault;
    }
    if (fault == FAKE_ETCD_OK || fault == FAKE_ETCD_LOST_AFTER || fault == FAKE_ETCD_GARBAGE) {
        if (strcmp(q->call->path, ETCD_RANGE_PATH) == 0)
            fake_etcd_range(f, bytes_slice(q->message), &w);
        else
            fake_etcd_txn(f, bytes_slice(q->message), &w);
    }
    if (fault == FAKE_ETCD_GARBAGE) {
        writer_free(&w);
        write_raw(&w, "\x0a\x7f", 2);
    }
    reply.body = writer_take(&w);
    if (fault == FAKE_ETCD_STATUS) {
        reply.code = f->status;
        reply.message = f->status_text;
    } else if (fault != FAKE_ETCD_OK && fault != FAKE_ETCD_GARBAGE) {
        reply.transport = true;
        reply.unsent = fault == FAKE_ETCD_UNSENT;
        reply.code = GRPC_UNAVAILABLE;
        reply.message = "connection lost";
    }
    etcd_client_answered(f->client, q->call, &reply);
    bytes_unref(&reply.body);
    bytes_unref(&q->message);
    free(q);
}

static inline void fake_etcd_run(struct env_task *t)
{
    struct fake_etcd *f = CONTAINER_OF(t, struct fake_etcd, task);
    struct list *n;
    while ((n = list_pop_front(&f->requests)))
        fake_etcd_answer(f, CONTAINER_OF(n, struct fake_etcd_request, link));
}

static inline void fake_etcd_send(void *ctx, struct etcd_call *call, struct bytes message_take)
{
    struct fake_etcd *f = ctx;
    struct fake_etcd_request *q = xcalloc(1, sizeof(*q));
    q->call = call;
    q->message = message_take;
    list_push_back(&f->requests, &q->link);
    env_defer(f->env, &f->task);
}

static inline struct kv *fake_etcd_init(struct fake_etcd *f, struct env *env, size_t n_endpoints,
                                        uint32_t list_page)
{
    static const struct etcd_client_ops ops = {.send = fake_etcd_send};
    struct etcd_client_options o;
    *f = (struct fake_etcd){.env = env, .revision = 1, .fault_endpoint = -1};
    list_init(&f->requests);
    env_task_init(&f->task, fake_etcd_run);
    etcd_client_options_default(&o);
    o.list_page = list_page;
    f->client = etcd_client_new(env, &o, n_endpoints, &ops, f);
    return etcd_client_kv(f->client);
}

static inline void fake_etcd_free(struct fake_etcd *f)
{
    while (f->n_keys)
        fake_etcd_delete(f, bytes_slice(f->keys[0].key));
}
