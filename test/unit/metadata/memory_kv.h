/* A key-value store (metadata/kv.h) in memory for tests: answers in a deferred task of its env, by the rules
 * of kv_table. */
#pragma once
#include <stdlib.h>

#include "base/env.h"
#include "metadata/kv_table.h"

struct memory_kv {
    struct kv base;
    struct env *env;
    struct kv_table table;
    struct list waiting; /* kv_op.link */
    struct env_task task;
};

static inline void memory_kv_list(struct memory_kv *m, struct kv_op *op, struct kv_result *r)
{
    struct kv_entry *entries = NULL, e;
    for (struct kv_cursor c = kv_table_seek(&m->table, op->key);
         kv_cursor_next(&c, &e) && slice_starts_with(e.key, op->key);) {
        entries = realloc(entries, (r->n_entries + 1) * sizeof(e));
        entries[r->n_entries++] = e;
    }
    r->entries = entries;
    op->done(op, r);
    free(entries);
}

static inline void memory_kv_answer(struct memory_kv *m, struct kv_op *op)
{
    struct kv_result r = {.rc = RC_OK, .message = ""};
    bool put = op->kind == KV_PUT;
    if (op->kind == KV_LIST) {
        memory_kv_list(m, op, &r);
        return;
    }
    if (op->kind == KV_GET) {
        r.rc = kv_table_get(&m->table, op->key, &r.entry) ? RC_OK : RC_NOT_FOUND;
        op->done(op, &r);
        return;
    }
    struct kv_write w = {put,     op->precondition,      op->version, op->expected_version,
                         op->key, bytes_slice(op->value)};
    r.rc = kv_table_judge(&m->table, &w, &r.message);
    struct bytes value = op->value;
    op->value = BYTES_EMPTY;
    if (r.rc == RC_OK && put)
        kv_table_put(&m->table, op->key, bytes_ref(value), op->version);
    else if (r.rc == RC_OK)
        kv_table_delete(&m->table, op->key);
    r.entry = (struct kv_entry){op->key, value, op->version};
    op->done(op, &r);
    bytes_unref(&value);
}

static inline void memory_kv_run(struct env_task *t)
{
    struct memory_kv *m = CONTAINER_OF(t, struct memory_kv, task);
    struct list now, *n;
    list_init(&now);
    list_splice(&now, &m->waiting);
    while ((n = list_pop_front(&now)))
        memory_kv_answer(m, CONTAINER_OF(n, struct kv_op, link));
}

static inline void memory_kv_submit(struct kv *kv, struct kv_op *op)
{
    struct memory_kv *m = CONTAINER_OF(kv, struct memory_kv, base);
    list_init(&op->link);
    list_push_back(&m->waiting, &op->link);
    env_defer(m->env, &m->task);
}

static inline void memory_kv_close(struct kv *kv)
{
    struct memory_kv *m = CONTAINER_OF(kv, struct memory_kv, base);
    struct list *n;
    env_undefer(&m->task);
    while ((n = list_pop_front(&m->waiting))) {
        struct kv_op *op = CONTAINER_OF(n, struct kv_op, link);
        bytes_unref(&op->value);
        op->done(op, &(struct kv_result){.rc = RC_CLOSED, .message = "closed"});
    }
    kv_table_free(&m->table);
    free(m);
}

static inline struct kv *memory_kv_new(struct env *env)
{
    static const struct kv_provider provider = {memory_kv_submit, memory_kv_close};
    struct memory_kv *m = xcalloc(1, sizeof(*m));
    m->base.provider = &provider;
    m->env = env;
    kv_table_init(&m->table);
    list_init(&m->waiting);
    env_task_init(&m->task, memory_kv_run);
    return &m->base;
}
