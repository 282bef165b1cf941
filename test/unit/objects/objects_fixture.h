/* Shared by the tests of the object stores: an operation and its wait, and what every store must do. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/workers.h"
#include "objects/file_objects.h"
#include "objects/memory_objects.h"
#include "sim/sim_env.h"

struct world {
    struct sim_env sim;
    struct memory_objects *bucket;
    struct object_store *store;
    char dir[64];
    enum object_fault faults[32];
    size_t n_faults, asked;
    bool closed;
};

struct call {
    struct object_op op;
    bool done;
};

static void call_done(struct object_op *op)
{
    struct call *c = CONTAINER_OF(op, struct call, op);
    assert_false(c->done);
    c->done = true;
}

static void submit(struct world *w, struct call *c, enum object_op_kind kind, const char *key)
{
    c->op.kind = kind;
    c->op.key = key;
    c->op.done = call_done;
    c->op.max_bytes = c->op.max_bytes ? c->op.max_bytes : 1000;
    c->done = false;
    object_submit(w->store, &c->op);
    assert_false(c->done);
}

static void await_call(struct world *w, struct call *c)
{
    for (int i = 0; i < 1000 && !c->done; i++)
        sim_env_advance(&w->sim, 100);
    assert_true(c->done);
}

static enum rc put(struct world *w, const char *key, const char *text, enum object_condition condition,
                   char etag[OBJECT_ETAG_MAX])
{
    struct call c = {.op = {.body = bytes_static(slice_cstr(text)), .condition = condition}};
    if (etag)
        memcpy(c.op.etag, etag, OBJECT_ETAG_MAX);
    submit(w, &c, OBJECT_PUT, key);
    await_call(w, &c);
    if (etag && c.op.rc == RC_OK)
        memcpy(etag, c.op.etag, OBJECT_ETAG_MAX);
    assert_int_equal(c.op.rc == RC_OK ? 0 : c.op.rc, c.op.err.rc);
    object_op_release(&c.op);
    return c.op.rc;
}

static enum rc expect(struct world *w, const char *key, const char *text, char etag[OBJECT_ETAG_MAX])
{
    struct call c = {0};
    submit(w, &c, OBJECT_GET, key);
    await_call(w, &c);
    if (text) {
        assert_int_equal(c.op.rc, RC_OK);
        assert_true(slice_eq_cstr(bytes_slice(c.op.content), text));
    }
    if (etag)
        memcpy(etag, c.op.etag, OBJECT_ETAG_MAX);
    enum rc rc = c.op.rc;
    object_op_release(&c.op);
    return rc;
}

static enum rc delete (struct world *w, const char *key) {
    struct call c = {0}; submit(w, &c, OBJECT_DELETE, key); await_call(w, &c); return c.op.rc;
}

static void expect_list(struct world *w, const char *prefix, size_t n, const char *const *keys)
{
    struct call c = {0};
    submit(w, &c, OBJECT_LIST, prefix);
    await_call(w, &c);
    assert_int_equal(c.op.rc, RC_OK);
    assert_int_equal(c.op.listed.len, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(c.op.listed.items[i].key, keys[i]);
    object_op_release(&c.op);
}

static void on_closed(void *ctx)
{
    ((struct world *)ctx)->closed = true;
}

static void close_world(struct world *w)
{
    object_store_close(w->store, on_closed, w);
    sim_env_advance(&w->sim, 1000);
    assert_true(w->closed);
    if (w->bucket)
        memory_objects_free(w->bucket);
    sim_env_free(&w->sim);
    if (w->dir[0]) {
        char command[128];
        snprintf(command, sizeof(command), "rm -rf %s", w->dir);
        assert_int_equal(system(command), 0);
    }
}

static void contract(struct world *w)
{
    char etag[OBJECT_ETAG_MAX] = "", stale[OBJECT_ETAG_MAX];
    assert_int_equal(expect(w, "a/b", NULL, NULL), RC_NOT_FOUND);
    assert_int_equal(put(w, "a/b", "one", OBJECT_MATCHES, etag), RC_CONFLICT);
    assert_int_equal(put(w, "a/b", "one", OBJECT_ABSENT, etag), RC_OK);
    assert_int_equal(put(w, "a/b", "two", OBJECT_ABSENT, NULL), RC_CONFLICT);
    assert_int_equal(expect(w, "a/b", "one", stale), RC_OK);
    assert_string_equal(stale, etag);
    assert_int_equal(put(w, "a/b", "two", OBJECT_MATCHES, etag), RC_OK);
    assert_string_not_equal(stale, etag);
    assert_int_equal(put(w, "a/b", "three", OBJECT_MATCHES, stale), RC_CONFLICT);
    assert_int_equal(expect(w, "a/b", "two", NULL), RC_OK);
    assert_int_equal(put(w, "a/b", "three", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(put(w, "a/c/d", "", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(put(w, "ab", "x", OBJECT_ANY, NULL), RC_OK);
    assert_int_equal(expect(w, "a/c/d", "", NULL), RC_OK);
    assert_int_equal(expect(w, "a", NULL, NULL), RC_NOT_FOUND);
    expect_list(w, "", 3, (const char *const[]){"a/b", "a/c/d", "ab"});
    expect_list(w, "a/", 2, (const char *const[]){"a/b", "a/c/d"});
    expect_list(w, "a/c", 1, (const char *const[]){"a/c/d"});
    expect_list(w, "zz/", 0, NULL);
    struct call c = {.op = {.max_bytes = 4}};
    submit(w, &c, OBJECT_GET, "a/b");
    await_call(w, &c);
    assert_int_equal(c.op.rc, RC_TOO_LARGE);
    assert_int_equal(delete (w, "a/c/d"), RC_OK);
    assert_int_equal(delete (w, "a/c/d"), RC_OK);
    assert_int_equal(expect(w, "a/c/d", NULL, NULL), RC_NOT_FOUND);
    expect_list(w, "", 2, (const char *const[]){"a/b", "ab"});
    assert_int_equal(put(w, "a/c/d", "again", OBJECT_ANY, NULL), RC_OK);
}
