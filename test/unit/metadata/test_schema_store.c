/* The schema in the metadata store: edits survive a failure of every single write, in the middle of an edit
 * of several records too, and two nodes that edit at once do not lose anything (metadata/schema_store.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metadata/schema_records.h"
#include "metadata/schema_store.h"
#include "unit/metadata/fake_env.h"
#include "wire/id.h"

/* A key-value store in memory whose writes fail, or end the world, on demand. */
struct memory_kv {
    struct kv base;
    struct fake_env *fenv;
    struct {
        char key[128];
        struct bytes value;
        uint32_t version;
    } items[64];
    size_t n;
    struct list queue;
    struct env_task task;
    int writes_until_failure; /* -1: never */
    bool dead;                /* after the failure nothing is answered: a crash */
    bool crash;
    size_t writes;
    unsigned lists_until_success;
};

static size_t locate(struct memory_kv *m, struct slice key)
{
    size_t i = 0;
    while (i < m->n && !slice_eq_cstr(key, m->items[i].key))
        i++;
    return i;
}

static enum rc write_op(struct memory_kv *m, struct kv_op *op)
{
    size_t i = locate(m, op->key);
    bool exists = i < m->n;
    if ((op->precondition == KV_DOES_NOT_EXIST && exists) ||
        (op->precondition == KV_MATCHES_VERSION && (!exists || m->items[i].version != op->expected_version)))
        return RC_CONFLICT;
    m->writes++;
    if (m->writes_until_failure == 0) {
        m->dead = m->crash;
        return RC_NO_SPACE;
    }
    if (m->writes_until_failure > 0)
        m->writes_until_failure--;
    if (op->kind == KV_DELETE) {
        if (exists) {
            bytes_unref(&m->items[i].value);
            m->items[i] = m->items[--m->n];
        }
        return RC_OK;
    }
    if (!exists) {
        snprintf(m->items[i].key, sizeof(m->items[i].key), "%.*s", SLICE_FMT(op->key));
        m->items[i].value = BYTES_EMPTY;
        m->n++;
    }
    bytes_unref(&m->items[i].value);
    m->items[i].value = op->value;
    op->value = BYTES_EMPTY;
    m->items[i].version = op->version;
    return RC_OK;
}

static void serve(struct env_task *t)
{
    struct memory_kv *m = CONTAINER_OF(t, struct memory_kv, task);
    struct list *n;
    while (!m->dead && (n = list_pop_front(&m->queue))) {
        struct kv_op *op = CONTAINER_OF(n, struct kv_op, link);
        struct kv_result r = {.message = ""};
        struct kv_entry entries[64];
        if (op->kind == KV_LIST) {
            for (size_t i = 0; i < m->n; i++)
                entries[r.n_entries++] =
                    (struct kv_entry){slice_cstr(m->items[i].key), m->items[i].value, m->items[i].version};
            r.entries = entries;
            if (m->lists_until_success) {
                m->lists_until_success--;
                r = (struct kv_result){.rc = RC_TIMEOUT, .message = "nobody answers"};
            }
        } else {
            r.rc = write_op(m, op);
            bytes_unref(&op->value);
            r.message = r.rc ? "refused" : "";
        }
        if (m->dead)
            list_push_back(&m->queue, n);
        else
            op->done(op, &r);
    }
}

static void submit(struct kv *kv, struct kv_op *op)
{
    struct memory_kv *m = CONTAINER_OF(kv, struct memory_kv, base);
    list_push_back(&m->queue, &op->link);
    env_defer(&m->fenv->env, &m->task);
}

static void memory_init(struct memory_kv *m, struct fake_env *fenv)
{
    static const struct kv_provider provider = {submit, NULL};
    memset(m, 0, sizeof(*m));
    m->base.provider = &provider;
    m->fenv = fenv;
    m->writes_until_failure = -1;
    list_init(&m->queue);
    env_task_init(&m->task, serve);
}

/* The process died: what was not answered never will be. Releases the store's side. */
static void after_crash(struct memory_kv *m, struct schema_store *store)
{
    struct list *n;
    schema_store_free(store);
    m->dead = false;
    m->writes_until_failure = -1;
    while ((n = list_pop_front(&m->queue))) {
        struct kv_op *op = CONTAINER_OF(n, struct kv_op, link);
        struct kv_result r = {.rc = RC_CLOSED, .message = "gone"};
        bytes_unref(&op->value);
        op->done(op, &r);
    }
}

static void memory_free(struct memory_kv *m)
{
    for (size_t i = 0; i < m->n; i++)
        bytes_unref(&m->items[i].value);
}

static void changed(void *ctx, struct schema *schema) {}
static void loaded(void *ctx, const struct err *err)
{
    *(enum rc *)ctx = err->rc;
}

static struct schema_store *open_store(struct memory_kv *m, enum rc *rc)
{
    *rc = RC_AGAIN;
    struct schema_store *s = schema_store_new(&m->fenv->env, &m->base, changed, loaded, rc);
    fake_env_run(m->fenv);
    return s;
}

/* Steps: register twice at one address with patched options in between (the overwriting edit writes one
 * record and deletes two). */
enum { STEPS = 5 };
struct step {
    struct schema_edit edit;
    int number;
    int done;
    enum rc rc;
};

static bool plan_register(const struct schema *current, struct schema_change *out)
{
    static const char json[] =
        "{\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"protocolMode\":\"BIDI_STREAM\",\"services\":["
        "{\"name\":\"A\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"h\"}]},{\"name\":\"B\",\"ty\":"
        "\"SERVICE\",\"handlers\":[]}]}";
    struct manifest m;
    struct problem p;
    assert_true(manifest_parse(slice_cstr(json), NULL, false, &m, &p));
    struct schema_register r = {.kind = DEPLOYMENT_HTTP, .uri = "http://h/", .overwrite = true};
    struct schema_discovered found = {.manifest = &m};
    enum schema_register_outcome outcome;
    struct u128 id;
    bool good = schema_register(current, &r, schema_find_same(current, &r, NULL, 0), &found, 5,
                                (struct u128){1, 2}, out, &outcome, &id, &p);
    manifest_free(&m);
    return good;
}

static bool plan_step(struct schema_edit *e, const struct schema *current, struct schema_change *out)
{
    struct step *s = CONTAINER_OF(e, struct step, edit);
    struct problem problem;
    struct schema_service_patch p;
    schema_service_patch_init(&p);
    p.journal_retention_ms = 77;
    switch (s->number) {
    case 1:
        return schema_patch_service(current, SLICE_LIT("A"), &p, out, &problem);
    case 2:
        return schema_patch_service(current, SLICE_LIT("B"), &p, out, &problem);
    case 4:
        return schema_delete_deployment(current, (struct u128){1, 2}, out, &problem);
    default:
        return plan_register(current, out);
    }
}

static void step_done(struct schema_edit *e, enum rc rc, const char *message, struct schema *schema)
{
    struct step *s = CONTAINER_OF(e, struct step, edit);
    s->done++;
    s->rc = rc;
}

static void describe(const struct schema *s, char out[256])
{
    const struct schema_service *const *list;
    size_t n = schema_services(s, &list);
    snprintf(out, 256, "v%u:", schema_version(s));
    for (size_t i = 0; i < n; i++)
        snprintf(out + strlen(out), 256 - strlen(out), " %s@%u/%lld", list[i]->name, list[i]->revision,
                 (long long)list[i]->options.journal_retention_ms);
}

static enum rc run_step(struct memory_kv *m, struct schema_store *store, int number)
{
    struct step s = {.edit = {.plan = plan_step, .done = step_done}, .number = number};
    assert_int_equal(schema_store_edit(store, &s.edit), RC_OK);
    fake_env_run(m->fenv);
    if (m->dead) {
        after_crash(m, store);
        assert_int_equal(s.done, 1);
        return RC_CLOSED;
    }
    assert_int_equal(s.done, 1);
    return s.rc;
}

/* What every state looks like, and how many writes it takes to get there. */
static int reference(char states[STEPS + 1][256])
{
    struct fake_env fenv;
    struct memory_kv m;
    enum rc rc;
    fake_env_init(&fenv);
    memory_init(&m, &fenv);
    struct schema_store *store = open_store(&m, &rc);
    assert_int_equal(rc, RC_OK);
    describe(schema_store_current(store), states[0]);
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(run_step(&m, store, i), RC_OK);
        describe(schema_store_current(store), states[i + 1]);
    }
    assert_int_equal(m.n, 1); /* only the head is left */
    schema_store_free(store);
    memory_free(&m);
    fake_env_free(&fenv);
    return (int)m.writes;
}

/* Fail the n-th write; then everything is done again from what is stored. */
static void failing(char states[STEPS + 1][256], int n, bool crash)
{
    struct fake_env fenv;
    struct memory_kv m;
    enum rc rc;
    fake_env_init(&fenv);
    memory_init(&m, &fenv);
    m.writes_until_failure = n;
    m.crash = crash;
    struct schema_store *store = open_store(&m, &rc);
    char now[256];
    for (int i = 0; i < STEPS;) {
        rc = run_step(&m, store, i);
        if (rc == RC_CLOSED) {
            store = open_store(&m, &rc);
            assert_int_equal(rc, RC_OK);
            describe(schema_store_current(store), now);
            /* all of the edit or nothing of it */
            if (strcmp(now, states[i + 1]) == 0)
                i++;
            else
                assert_string_equal(now, states[i]);
            continue;
        }
        m.writes_until_failure = -1;
        describe(schema_store_current(store), now);
        assert_string_equal(now, states[rc ? i : i + 1]);
        i += rc == RC_OK;
        if (rc == RC_OK)
            m.writes_until_failure = m.writes > (size_t)n ? -1 : n - (int)m.writes;
    }
    schema_store_free(store);
    store = open_store(&m, &rc);
    assert_int_equal(rc, RC_OK);
    describe(schema_store_current(store), now);
    assert_string_equal(now, states[STEPS]);
    schema_store_free(store);
    fake_env_run(&fenv);
    memory_free(&m);
    fake_env_free(&fenv);
}

static void every_write_fails_once(void **state)
{
    char states[STEPS + 1][256];
    int writes = reference(states);
    assert_string_equal(states[3], "v3: A@1/77 B@1/77");
    assert_string_equal(states[4], "v4: A@2/-1 B@2/-1");
    assert_string_equal(states[5], "v5:");
    assert_true(writes > 10);
    for (int n = 0; n < writes; n++) {
        failing(states, n, false);
        failing(states, n, true);
    }
}

/* Two stores on the same keys: the slower one reads again and plans again. */
static void two_nodes(void **state)
{
    struct fake_env fenv;
    struct memory_kv m;
    enum rc rc;
    fake_env_init(&fenv);
    memory_init(&m, &fenv);
    struct schema_store *one = open_store(&m, &rc), *two = open_store(&m, &rc);
    assert_int_equal(run_step(&m, one, 0), RC_OK);
    assert_int_equal(run_step(&m, two, 3), RC_OK);
    assert_int_equal(run_step(&m, one, 1), RC_OK);
    struct step a = {.edit = {.plan = plan_step, .done = step_done}, .number = 1}, b = a;
    b.number = 2;
    assert_int_equal(schema_store_edit(one, &a.edit), RC_OK);
    assert_int_equal(schema_store_edit(two, &b.edit), RC_OK);
    fake_env_run(&fenv);
    assert_int_equal(a.rc, RC_OK);
    assert_int_equal(b.rc, RC_OK);
    schema_store_free(one);
    schema_store_free(two);
    one = open_store(&m, &rc);
    char now[256];
    describe(schema_store_current(one), now);
    assert_string_equal(now, "v5: A@2/77 B@2/77");
    schema_store_free(one);
    fake_env_run(&fenv);
    memory_free(&m);
    fake_env_free(&fenv);
}

/* A holder that hands the snapshot on: the edit is answered after its last release, later edits after that.
 */
static void an_edit_waits_for_the_holders(void **state)
{
    struct fake_env fenv;
    struct memory_kv m;
    enum rc rc;
    fake_env_init(&fenv);
    memory_init(&m, &fenv);
    struct schema_store *s = open_store(&m, &rc);
    schema_store_hold(s);
    schema_store_hold(s);
    struct step a = {.edit = {.plan = plan_step, .done = step_done}}, b = a;
    b.number = 1;
    assert_int_equal(schema_store_edit(s, &a.edit), RC_OK);
    assert_int_equal(schema_store_edit(s, &b.edit), RC_OK);
    fake_env_run(&fenv);
    assert_int_equal(schema_version(schema_store_current(s)), 1); /* durable, and published */
    schema_store_release(s);
    fake_env_run(&fenv);
    assert_int_equal(a.done + b.done, 0);
    schema_store_release(s);
    fake_env_run(&fenv);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.rc, RC_OK);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.rc, RC_OK);
    schema_store_hold(s);
    struct step c = {.edit = {.plan = plan_step, .done = step_done}, .number = 2};
    assert_int_equal(schema_store_edit(s, &c.edit), RC_OK);
    fake_env_run(&fenv);
    assert_int_equal(c.done, 0);
    schema_store_free(s); /* the end does not wait */
    assert_int_equal(c.done, 1);
    assert_int_equal(c.rc, RC_CLOSED);
    memory_free(&m);
    fake_env_free(&fenv);
}

static void a_broken_record_stops_the_load(void **state)
{
    struct fake_env fenv;
    struct memory_kv m;
    enum rc rc;
    fake_env_init(&fenv);
    memory_init(&m, &fenv);
    snprintf(m.items[0].key, sizeof(m.items[0].key), SCHEMA_DEPLOYMENT_PREFIX "dp_x");
    m.items[0].value = bytes_copy(SLICE_LIT("{}"));
    m.n = 1;
    struct schema_store *s = open_store(&m, &rc);
    assert_int_equal(rc, RC_CORRUPT);
    struct step a = {.edit = {.plan = plan_step, .done = step_done}};
    assert_int_equal(schema_store_edit(s, &a.edit), RC_OVERLOADED);
    schema_store_free(s);
    memory_free(&m);
    fake_env_free(&fenv);
}

/* Found by the simulator of clusters (seed 400570): a node that had joined exited because the metadata could
 * not be reached for seconds. */
static void the_load_waits_until_the_metadata_can_be_reached(void **state)
{
    struct fake_env fenv;
    struct memory_kv m;
    enum rc rc;
    fake_env_init(&fenv);
    memory_init(&m, &fenv);
    m.lists_until_success = 3;
    struct schema_store *s = open_store(&m, &rc);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rc, RC_AGAIN); /* nothing was told */
        fake_env_advance(&fenv, 500);
    }
    assert_int_equal(rc, RC_OK);
    schema_store_free(s);
    m.lists_until_success = 1;
    s = open_store(&m, &rc);
    schema_store_free(s); /* while it waits */
    fake_env_advance(&fenv, 5000);
    assert_int_equal(rc, RC_AGAIN);
    memory_free(&m);
    fake_env_free(&fenv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_write_fails_once),
        cmocka_unit_test(two_nodes),
        cmocka_unit_test(an_edit_waits_for_the_holders),
        cmocka_unit_test(a_broken_record_stops_the_load),
        cmocka_unit_test(the_load_waits_until_the_metadata_can_be_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
