/* A metadata store in memory, an env driven by hand, and a configuration to join with. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "metadata/kv_watch.h"
#include "node/cluster_view.h"
#include "node/join.h"
#include "node/provision.h"
#include "unit/metadata/fake_env.h"
#include "unit/metadata/memory_kv.h"

static struct fake_env fenv;
static struct kv *kv;
static struct cluster_view view;
static struct node_config config;

static void seen(void *ctx, const struct kv_entry *entry)
{
    cluster_view_seen(&view, entry);
}

static inline int setup(void **state)
{
    fake_env_init(&fenv);
    view = (struct cluster_view){0};
    config = (struct node_config){.roles = 31,
                                  .node_name = "n1",
                                  .cluster_name = "vec",
                                  .auto_provision = true,
                                  .num_partitions = 2,
                                  .default_replication = {{1, 0, 0}},
                                  .log_replication = {{1, 0, 0}},
                                  .default_provider = LOG_PROVIDER_REPLICATED};
    kv = kv_watch_new(memory_kv_new(&fenv.env), seen, NULL);
    return 0;
}

static inline int teardown(void **state)
{
    kv_close(kv);
    cluster_view_free(&view);
    fake_env_free(&fenv);
    return 0;
}

static void ignored(struct kv_op *op, const struct kv_result *r) {}

/* ---- joining ---- */

static struct joined joined;
static struct err join_err;
static int answers;

static void on_joined(void *ctx, const struct joined *j, const struct err *err)
{
    answers++;
    join_err = err ? *err : (struct err){0};
    joined = j ? *j : (struct joined){0};
}

/* What provisioning puts into a new metadata store. */
static inline void provision_with(const struct provision_settings *s)
{
    struct kv_table values;
    struct provision_identity identity;
    struct kv_entry e;
    provision_values(&fenv.env, &config, "http://127.0.0.1:5122/", s, &values, &identity);
    for (struct kv_cursor c = kv_table_seek(&values, SLICE_EMPTY); kv_cursor_next(&c, &e);) {
        struct kv_op op = {.kind = KV_PUT,
                           .key = e.key,
                           .value = bytes_ref(e.value),
                           .version = e.version,
                           .precondition = KV_NONE,
                           .done = ignored};
        kv_submit(kv, &op);
        fake_env_run(&fenv);
    }
    kv_table_free(&values);
}

static inline void provision(void)
{
    struct provision_settings s;
    provision_settings_from(&config, &s);
    provision_with(&s);
}

/* Returns the result code; the details are in `joined` and `join_err`. */
static inline enum rc join(uint64_t known_fingerprint)
{
    answers = 0;
    join_start(&fenv.env, kv, &config, "http://127.0.0.1:5122/", known_fingerprint, on_joined, NULL);
    fake_env_run(&fenv);
    assert_int_equal(answers, 1);
    return join_err.rc;
}

/* ---- direct access ---- */

struct access {
    struct kv_op op;
    bool done;
    enum rc rc;
    struct bytes value;
    uint32_t version;
};

static void accessed(struct kv_op *op, const struct kv_result *r)
{
    struct access *a = CONTAINER_OF(op, struct access, op);
    a->done = true;
    a->rc = r->rc;
    if (r->rc == RC_OK && op->kind == KV_GET) {
        a->value = bytes_ref(r->entry.value);
        a->version = r->entry.version;
    }
}

static inline struct access run(enum kv_op_kind kind, const char *key, struct bytes value_take,
                                uint32_t version)
{
    struct access a = {.op = {.kind = kind,
                              .key = slice_cstr(key),
                              .value = value_take,
                              .version = version,
                              .precondition = KV_NONE,
                              .done = accessed}};
    kv_submit(kv, &a.op);
    fake_env_run(&fenv);
    assert_true(a.done);
    return a;
}
