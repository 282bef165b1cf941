/* Operations on a key-value store in tests of its providers, in an env driven by hand: whoever includes this
 * opens `kv` in `fenv`. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metadata/kv.h"
#include "unit/metadata/fake_env.h"

static struct fake_env fenv;
static struct kv *kv;

/* One operation, and what was answered. */
struct call {
    struct kv_op op;
    int answered;
    enum rc rc;
    uint32_t version;
    char value[64], message[200], keys[400];
};

static inline void on_done(struct kv_op *op, const struct kv_result *r)
{
    struct call *c = CONTAINER_OF(op, struct call, op);
    c->answered++;
    c->rc = r->rc;
    c->version = r->entry.version;
    snprintf(c->message, sizeof(c->message), "%s", r->message);
    snprintf(c->value, sizeof(c->value), "%.*s", (int)r->entry.value.len, (const char *)r->entry.value.ptr);
    for (size_t i = 0; i < r->n_entries; i++)
        snprintf(c->keys + strlen(c->keys), sizeof(c->keys) - strlen(c->keys), "%.*s@%u=%.*s ",
                 SLICE_FMT(r->entries[i].key), r->entries[i].version, (int)r->entries[i].value.len,
                 (const char *)r->entries[i].value.ptr);
}

static inline void start(struct call *c, enum kv_op_kind kind, const char *key, const char *value,
                         uint32_t version, enum kv_precondition pre, uint32_t expected)
{
    memset(c, 0, sizeof(*c));
    c->op = (struct kv_op){.kind = kind,
                           .key = slice_cstr(key),
                           .version = version,
                           .precondition = pre,
                           .expected_version = expected,
                           .done = on_done};
    if (value)
        c->op.value = bytes_copy(slice_cstr(value));
    kv_submit(kv, &c->op);
    assert_int_equal(c->answered, 0);
}

static inline enum rc run(struct call *c)
{
    fake_env_run(&fenv);
    for (int i = 0; i < 2000 && !c->answered; i++)
        fake_env_advance(&fenv, 10);
    assert_int_equal(c->answered, 1);
    return c->rc;
}

static inline enum rc put(const char *key, const char *value, uint32_t version, enum kv_precondition pre,
                          uint32_t expected)
{
    struct call c;
    start(&c, KV_PUT, key, value, version, pre, expected);
    return run(&c);
}

static inline enum rc delete (const char *key, enum kv_precondition pre, uint32_t expected) {
    struct call c; start(&c, KV_DELETE, key, NULL, 0, pre, expected); return run(&c);
}

static inline struct call get(const char *key)
{
    struct call c;
    start(&c, KV_GET, key, NULL, 0, KV_NONE, 0);
    run(&c);
    return c;
}

/* The rules of every key-value store (spec/cluster.md §2.1): "a" is not there before, and has version 2 and
 * the value "two" afterwards. */
static inline void check_preconditions(void)
{
    assert_int_equal(get("a").rc, RC_NOT_FOUND);
    assert_int_equal(put("a", "x", 1, KV_MATCHES_VERSION, 1), RC_CONFLICT);
    assert_int_equal(put("a", "one", 1, KV_DOES_NOT_EXIST, 0), RC_OK);
    assert_int_equal(put("a", "x", 1, KV_DOES_NOT_EXIST, 0), RC_CONFLICT);
    assert_int_equal(put("a", "x", 3, KV_MATCHES_VERSION, 2), RC_CONFLICT);
    assert_int_equal(put("a", "two", 2, KV_MATCHES_VERSION, 1), RC_OK);
    assert_int_equal(put("a", "x", 1, KV_MATCHES_VERSION, 2), RC_CONFLICT); /* it would go back */
    struct call c = get("a");
    assert_int_equal(c.rc, RC_OK);
    assert_int_equal(c.version, 2);
    assert_string_equal(c.value, "two");
}
