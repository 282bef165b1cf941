/* Schema snapshots and edits: registration, overwriting, breaking changes, updates, deletion with fallback,
 * patched options, and that the records of every edit decode to the same snapshot (spec/admin-api.md §7, §8).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "metadata/deployment_uri.h"
#include "metadata/schema_edit.h"
#include "metadata/schema_records.h"
#include "wire/id.h"

/* A schema together with the records that an edit left behind: what a restart would read. */
struct world {
    struct schema *schema;
    struct schema_op records[64];
    size_t n_records;
    struct problem problem;
    struct u128 last_id;
    enum schema_register_outcome outcome;
};

static void compare(const struct schema *a, const struct schema *b)
{
    const struct schema_service *const *x, *const *y;
    size_t n = schema_services(a, &x);
    assert_int_equal(n, schema_services(b, &y));
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(x[i]->name, y[i]->name);
        assert_int_equal(x[i]->revision, y[i]->revision);
        assert_true(u128_eq(x[i]->deployment->id, y[i]->deployment->id));
        assert_int_equal(x[i]->is_public, y[i]->is_public);
        assert_int_equal(x[i]->options.journal_retention_ms, y[i]->options.journal_retention_ms);
    }
    const struct schema_deployment *const *d, *const *e;
    n = schema_deployments(a, &d);
    assert_int_equal(n, schema_deployments(b, &e));
    for (size_t i = 0; i < n; i++)
        assert_true(u128_eq(d[i]->id, e[i]->id));
    assert_int_equal(schema_version(a), schema_version(b));
}

static void restart(struct world *w)
{
    struct schema_record list[64];
    for (size_t i = 0; i < w->n_records; i++)
        list[i] = (struct schema_record){slice_cstr(w->records[i].key), slice_cstr(w->records[i].value)};
    struct schema *again;
    struct err err = {0};
    if (schema_decode(list, w->n_records, schema_version(w->schema), &again, &err))
        fail_msg("%s", err.msg);
    compare(w->schema, again);
    schema_unref(w->schema);
    w->schema = again;
}

static void apply(struct world *w, struct schema_change *c)
{
    for (size_t i = 0; i < c->ops.len; i++) {
        struct schema_op *op = &c->ops.items[i];
        for (size_t j = 0; j < w->n_records; j++)
            if (strcmp(w->records[j].key, op->key) == 0) {
                free(w->records[j].key);
                free(w->records[j].value);
                w->records[j--] = w->records[--w->n_records];
            }
        if (op->value)
            w->records[w->n_records++] = (struct schema_op){xstrdup(op->key), xstrdup(op->value)};
    }
    schema_unref(w->schema);
    w->schema = schema_ref(c->next);
    schema_change_free(c);
    restart(w);
}

static bool reg(struct world *w, const char *uri, bool force, bool breaking, uint64_t now, uint64_t id,
                const char *services)
{
    char json[8192];
    snprintf(json, sizeof(json),
             "{\"minProtocolVersion\":5,\"maxProtocolVersion\":7,\"protocolMode\":\"BIDI_STREAM\","
             "\"services\":[%s]}",
             services);
    struct manifest m;
    if (!manifest_parse(slice_cstr(json), NULL, false, &m, &w->problem))
        fail_msg("%s", w->problem.message);
    struct schema_header headers[] = {{"x-a", "b"}};
    struct schema_register r = {.kind = DEPLOYMENT_HTTP,
                                .uri = uri,
                                .headers = headers,
                                .n_headers = 1,
                                .overwrite = force,
                                .breaking = breaking,
                                .metadata_json = "{\"env\":\"prod\"}"};
    struct schema_discovered found = {.http_1_1 = false, .sdk_version = "sdk/1", .manifest = &m};
    struct schema_change c;
    bool good = schema_register(w->schema, &r, schema_find_same(w->schema, &r, NULL, 0), &found, now,
                                (struct u128){now, id}, &c, &w->outcome, &w->last_id, &w->problem);
    manifest_free(&m);
    if (good)
        apply(w, &c);
    return good;
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->schema = schema_empty();
}
static void world_free(struct world *w)
{
    for (size_t i = 0; i < w->n_records; i++) {
        free(w->records[i].key);
        free(w->records[i].value);
    }
    schema_unref(w->schema);
}

#define GREETER        "{\"name\":\"Greeter\",\"ty\":\"SERVICE\",\"handlers\":[{\"name\":\"greet\"}]}"
#define GREETER_OBJECT "{\"name\":\"Greeter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"greet\"}]}"
#define COUNTER                                                                                              \
    "{\"name\":\"Counter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"add\"}],"                     \
    "\"journalRetention\":77}"
#define WF                                                                                                   \
    "{\"name\":\"Wf\",\"ty\":\"WORKFLOW\",\"handlers\":[{\"name\":\"run\",\"ty\":\"WORKFLOW\"},{\"name\":"   \
    "\"sig\",\"ty\":\"SHARED\"}]}"

static uint32_t revision(struct world *w, const char *service)
{
    const struct schema_service *s = schema_service(w->schema, slice_cstr(service));
    return s ? s->revision : 0;
}

static void register_and_look_up(void **state)
{
    struct world w;
    world_init(&w);
    assert_null(schema_service(w.schema, SLICE_LIT("Greeter")));
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER "," COUNTER));
    assert_int_equal(w.outcome, SCHEMA_CREATED);
    assert_int_equal(revision(&w, "Greeter"), 1);
    const struct schema_deployment *d = schema_deployment(w.schema, (struct u128){100, 1});
    assert_non_null(d);
    assert_null(schema_deployment(w.schema, (struct u128){100, 2}));
    assert_string_equal(d->uri, "http://h:1/");
    assert_string_equal(d->sdk_version, "sdk/1");
    assert_string_equal(d->metadata_json, "{\"env\":\"prod\"}");
    assert_int_equal(d->created_at_ms, 100);
    assert_int_equal(d->n_headers, 1);
    assert_string_equal(d->headers[0].value, "b");
    assert_int_equal(d->n_services, 2);
    assert_string_equal(schema_deployment_service(d, SLICE_LIT("Counter"))->name, "Counter");
    const struct schema_service *const *list;
    assert_int_equal(schema_services(w.schema, &list), 2);
    assert_string_equal(list[0]->name, "Counter");
    world_free(&w);
}

static void a_second_deployment_takes_over_and_falls_back(void **state)
{
    struct world w;
    world_init(&w);
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER "," COUNTER));
    assert_true(reg(&w, "http://h:2/", false, false, 200, 2, GREETER));
    assert_int_equal(w.outcome, SCHEMA_CREATED);
    assert_int_equal(revision(&w, "Greeter"), 2);
    assert_int_equal(revision(&w, "Counter"), 1);
    const struct schema_service *all[4];
    assert_int_equal(schema_service_revisions(w.schema, SLICE_LIT("Greeter"), all, 4), 2);
    assert_int_equal(all[0]->revision, 2);
    assert_int_equal(all[1]->revision, 1);
    struct schema_change c;
    assert_true(schema_delete_deployment(w.schema, (struct u128){200, 2}, &c, &w.problem));
    apply(&w, &c);
    assert_int_equal(revision(&w, "Greeter"), 1);
    assert_false(schema_delete_deployment(w.schema, (struct u128){200, 2}, &c, &w.problem));
    assert_int_equal(w.problem.http_status, 404);
    assert_non_null(strstr(w.problem.message, "not found in the schema registry: deployment with id 'dp_1"));
    assert_true(schema_delete_deployment(w.schema, (struct u128){100, 1}, &c, &w.problem));
    apply(&w, &c);
    assert_int_equal(revision(&w, "Greeter"), 0);
    assert_int_equal(w.n_records, 0);
    world_free(&w);
}

static void overwriting_keeps_the_id_and_raises_revisions(void **state)
{
    struct world w;
    world_init(&w);
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER "," COUNTER));
    assert_true(reg(&w, "https://h:1/?x=1", true, false, 300, 9, GREETER_OBJECT));
    assert_int_equal(w.outcome, SCHEMA_OVERWRITTEN);
    assert_true(u128_eq(w.last_id, (struct u128){100, 1}));
    assert_int_equal(revision(&w, "Greeter"), 2);
    assert_int_equal(revision(&w, "Counter"), 0);
    assert_int_equal(schema_deployment(w.schema, w.last_id)->created_at_ms, 300);
    world_free(&w);
}

static void breaking_changes_need_permission(void **state)
{
    struct world w;
    world_init(&w);
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER));
    assert_false(reg(&w, "http://h:2/", false, false, 200, 2, GREETER_OBJECT));
    assert_int_equal(w.problem.http_status, 409);
    assert_string_equal(w.problem.code, "META0006");
    assert_string_equal(
        w.problem.message,
        "[META0006] detected a new service revision for 'Greeter' changing the service type from previous "
        "revision. Service type cannot be changed across revisions.");
    assert_true(reg(&w, "http://h:2/", false, true, 200, 2, GREETER_OBJECT));
    assert_int_equal(revision(&w, "Greeter"), 2);
    assert_false(reg(&w, "http://h:3/", false, false, 300, 3, COUNTER "," COUNTER));
    assert_int_equal(w.problem.http_status, 400);
    world_free(&w);
}

static void same_means_authority_path_and_routing_headers(void **state)
{
    struct world w;
    world_init(&w);
    assert_true(reg(&w, "http://u@h:1/p", false, false, 100, 1, GREETER));
    struct schema_header other[] = {{"x-a", "c"}}, equal[] = {{"x-a", "b"}};
    const char *const routing[] = {"x-a"};
    struct schema_register r = {.kind = DEPLOYMENT_HTTP, .uri = "https://u@h:1/p?q"};
    assert_non_null(schema_find_same(w.schema, &r, NULL, 0));
    assert_null(schema_find_same(w.schema, &r, routing, 1));
    r.headers = other;
    r.n_headers = 1;
    assert_null(schema_find_same(w.schema, &r, routing, 1));
    r.headers = equal;
    assert_non_null(schema_find_same(w.schema, &r, routing, 1));
    r.uri = "http://h:1/p";
    assert_null(schema_find_same(w.schema, &r, NULL, 0));
    r.uri = "http://u@h:1/p/";
    assert_null(schema_find_same(w.schema, &r, NULL, 0));
    r = (struct schema_register){.kind = DEPLOYMENT_LAMBDA, .arn = "arn"};
    assert_null(schema_find_same(w.schema, &r, NULL, 0));
    world_free(&w);
}

static bool update(struct world *w, struct u128 id, const char *uri, bool overwrite, int max,
                   const char *services)
{
    char json[8192];
    snprintf(json, sizeof(json),
             "{\"minProtocolVersion\":5,\"maxProtocolVersion\":%d,\"protocolMode\":\"BIDI_STREAM\","
             "\"services\":[%s]}",
             max, services);
    struct manifest m;
    if (!manifest_parse(slice_cstr(json), NULL, false, &m, &w->problem))
        fail_msg("%s", w->problem.message);
    struct schema_update u = {.kind = DEPLOYMENT_HTTP, .uri = uri, .overwrite = overwrite};
    struct schema_discovered found = {.http_1_1 = true, .sdk_version = "sdk/2", .manifest = &m};
    struct schema_change c;
    bool good = schema_update_deployment(w->schema, id, &u, &found, &c, &w->problem);
    manifest_free(&m);
    if (good)
        apply(w, &c);
    return good;
}

static void updates_in_place(void **state)
{
    struct world w;
    world_init(&w);
    struct u128 id = {100, 1};
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER "," COUNTER));
    assert_true(reg(&w, "http://h:1/", true, false, 100, 1, GREETER "," COUNTER));
    assert_false(update(&w, id, "http://h:9/", false, 6, GREETER));
    assert_string_equal(w.problem.code, "META0016");
    assert_string_equal(w.problem.message,
                        "[META0016] an update deployment operation must provide an endpoint with the same "
                        "services and handlers. "
                        "The update tried to change the supported protocol versions from 5..=7 to 5..=6");
    assert_false(update(&w, (struct u128){1, 1}, "http://h:9/", false, 7, GREETER));
    assert_int_equal(w.problem.http_status, 404);
    assert_true(update(&w, id, "http://h:9/", false, 7, WF));
    const struct schema_deployment *d = schema_deployment(w.schema, id);
    assert_string_equal(d->uri, "http://h:9/");
    assert_string_equal(d->sdk_version, "sdk/2");
    assert_true(d->http_1_1);
    assert_int_equal(d->n_headers, 0);
    assert_string_equal(d->metadata_json, "{\"env\":\"prod\"}");
    assert_int_equal(revision(&w, "Greeter"), 2);
    assert_int_equal(revision(&w, "Wf"), 0);
    assert_true(update(&w, id, "http://h:9/", true, 7, GREETER_OBJECT "," WF));
    assert_int_equal(revision(&w, "Greeter"), 2);
    assert_int_equal(schema_service(w.schema, SLICE_LIT("Greeter"))->type, SERVICE_OBJECT);
    assert_int_equal(revision(&w, "Wf"), 1);
    assert_int_equal(revision(&w, "Counter"), 0);
    world_free(&w);
}

static void patched_options_last_until_the_next_revision(void **state)
{
    struct world w;
    world_init(&w);
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER "," COUNTER "," WF));
    struct schema_service_patch p;
    struct schema_change c;
    schema_service_patch_init(&p);
    assert_true(schema_service_patch_empty(&p));
    p.is_public = 0;
    p.journal_retention_ms = 5;
    assert_true(schema_patch_service(w.schema, SLICE_LIT("Counter"), &p, &c, &w.problem));
    apply(&w, &c);
    schema_service_patch_init(&p);
    p.abort_timeout_ms = 6;
    assert_true(schema_patch_service(w.schema, SLICE_LIT("Counter"), &p, &c, &w.problem));
    apply(&w, &c);
    const struct schema_service *s = schema_service(w.schema, SLICE_LIT("Counter"));
    assert_false(s->is_public);
    assert_int_equal(s->options.journal_retention_ms, 5);
    assert_int_equal(s->options.abort_timeout_ms, 6);
    assert_int_equal(s->revision, 1);
    assert_int_equal(w.n_records, 2);
    p.workflow_completion_retention_ms = 1;
    assert_false(schema_patch_service(w.schema, SLICE_LIT("Counter"), &p, &c, &w.problem));
    assert_string_equal(w.problem.message,
                        "modifying retention time for service type VirtualObject is unsupported");
    assert_true(schema_patch_service(w.schema, SLICE_LIT("Wf"), &p, &c, &w.problem));
    apply(&w, &c);
    assert_false(schema_patch_service(w.schema, SLICE_LIT("Nope"), &p, &c, &w.problem));
    assert_string_equal(w.problem.message, "not found in the schema registry: service with name 'Nope'");
    /* a new revision elsewhere leaves the options of the old one to it */
    assert_true(reg(&w, "http://h:2/", false, false, 200, 2, COUNTER));
    assert_int_equal(schema_service(w.schema, SLICE_LIT("Counter"))->options.journal_retention_ms, 77);
    assert_true(schema_delete_deployment(w.schema, (struct u128){200, 2}, &c, &w.problem));
    apply(&w, &c);
    assert_int_equal(schema_service(w.schema, SLICE_LIT("Counter"))->options.journal_retention_ms, 5);
    /* overwriting resets them, and their records go */
    assert_true(reg(&w, "http://h:1/", true, false, 300, 3, COUNTER));
    assert_int_equal(schema_service(w.schema, SLICE_LIT("Counter"))->options.journal_retention_ms, 77);
    assert_int_equal(w.n_records, 1);
    world_free(&w);
}

static void broken_records_are_named(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"v\":2}",
        "{\"v\":1,\"id\":\"zzz\"}",
        "{\"v\":1,\"id\":\"dp_10000000000000000000000\",\"kind\":\"http\",\"uri\":\"http://h/"
        "\",\"min\":5,\"max\":7,\"created_at\":1,\"services\":[{}]}",
        "{\"v\":1,\"id\":\"dp_10000000000000000000000\",\"kind\":\"http\",\"uri\":\"http://h/"
        "\",\"min\":5,\"max\":7,\"created_at\":1}",
        "{\"v\":1,\"id\":\"dp_10000000000000000000001\",\"kind\":\"http\",\"uri\":\"http://h/"
        "\",\"min\":5,\"max\":7,\"created_at\":1,\"services\":[]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct schema_record r = {SLICE_LIT("schema/deployment/dp_10000000000000000000000"),
                                  slice_cstr(bad[i])};
        struct schema *s = NULL;
        struct err err = {0};
        assert_int_equal(schema_decode(&r, 1, 1, &s, &err), RC_CORRUPT);
        assert_non_null(strstr(err.msg, "schema/deployment/dp_10000000000000000000000"));
    }
}

static void retention_and_options(void **state)
{
    struct schema_defaults d = {.inactivity_timeout_ms = 60000,
                                .abort_timeout_ms = 600000,
                                .journal_retention_ms = 1000,
                                .idempotency_retention_ms = 2000,
                                .workflow_completion_retention_ms = 3000,
                                .max_journal_retention_ms = OPTION_UNSET,
                                .max_idempotency_retention_ms = 1500,
                                .max_workflow_completion_retention_ms = OPTION_UNSET,
                                .retry_initial_interval_ms = 500,
                                .retry_max_interval_ms = 60000,
                                .retry_max_attempts = 70,
                                .retry_max_attempts_cap = 50,
                                .retry_factor = 2,
                                .retry_on_max_attempts = ON_MAX_ATTEMPTS_PAUSE};
    struct world w;
    world_init(&w);
    assert_true(reg(&w, "http://h:1/", false, false, 100, 1, GREETER "," COUNTER "," WF));
    const struct schema_handler *greet =
        schema_handler(schema_service(w.schema, SLICE_LIT("Greeter")), SLICE_LIT("greet"));
    const struct schema_handler *add =
        schema_handler(schema_service(w.schema, SLICE_LIT("Counter")), SLICE_LIT("add"));
    const struct schema_handler *run =
        schema_handler(schema_service(w.schema, SLICE_LIT("Wf")), SLICE_LIT("run"));
    const struct schema_handler *sig =
        schema_handler(schema_service(w.schema, SLICE_LIT("Wf")), SLICE_LIT("sig"));
    struct {
        const struct schema_handler *h;
        bool key;
        uint64_t completion, journal;
    } cases[] = {
        {greet, false, 1000, 1000}, {greet, true, 1500, 1000}, {add, false, 77, 77},
        {add, true, 1500, 77},      {run, false, 3000, 1000},  {sig, false, 1000, 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t c, j;
        schema_resolve_retention(&d, cases[i].h, cases[i].key, &c, &j);
        assert_int_equal(c, cases[i].completion);
        assert_int_equal(j, cases[i].journal);
    }
    struct invocation_options o;
    schema_resolve_options(&d, greet, &o);
    assert_int_equal(o.inactivity_timeout_ms, 60000);
    assert_int_equal(o.retry_max_attempts, 50);
    assert_true(o.retry_factor == 2.0);
    assert_false(o.lazy_state);
    d.retry_max_attempts = RETRY_UNLIMITED;
    d.retry_max_attempts_cap = OPTION_UNSET;
    schema_resolve_options(&d, greet, &o);
    assert_true(o.retry_max_attempts == RETRY_UNLIMITED);
    world_free(&w);
}

static void addresses(void **state)
{
    struct {
        const char *in;
        enum rc rc;
        const char *out;
    } cases[] = {
        {"http://127.0.0.1:9080", RC_OK, "http://127.0.0.1:9080/"},
        {"HTTP://Host/a?b#c", RC_OK, "http://Host/a?b"},
        {"https://u:p@[::1]:1/x", RC_OK, "https://u:p@[::1]:1/x"},
        {"/a", RC_NOT_FOUND, NULL},
        {"host:9080", RC_NOT_FOUND, NULL},
        {"http://", RC_NOT_FOUND, NULL},
        {"", RC_INVALID, NULL},
        {"http://a b/", RC_INVALID, NULL},
        {"http://h:99999/", RC_INVALID, NULL},
        {"http://h?x", RC_OK, "http://h/?x"},
        {"http://@/", RC_INVALID, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct writer w = WRITER_INIT;
        enum rc rc = deployment_uri_normalize(slice_cstr(cases[i].in), &w, NULL);
        if (rc != cases[i].rc || (!rc && !slice_eq_cstr(writer_slice(&w), cases[i].out)))
            fail_msg("%s gave %s %.*s", cases[i].in, rc_name(rc), SLICE_FMT(writer_slice(&w)));
        writer_free(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(register_and_look_up),
        cmocka_unit_test(a_second_deployment_takes_over_and_falls_back),
        cmocka_unit_test(overwriting_keeps_the_id_and_raises_revisions),
        cmocka_unit_test(breaking_changes_need_permission),
        cmocka_unit_test(same_means_authority_path_and_routing_headers),
        cmocka_unit_test(updates_in_place),
        cmocka_unit_test(patched_options_last_until_the_next_revision),
        cmocka_unit_test(broken_records_are_named),
        cmocka_unit_test(retention_and_options),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
