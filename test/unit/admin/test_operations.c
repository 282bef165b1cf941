/* Everything of the REST API that is not the registry: routes and versions, operations on invocations, state,
 * batches (spec/admin-api.md §1, §2, §3, §6, §9, §10, §11). */
#include "unit/admin/admin_fixture.h"

#define ID      "inv_10SHxgluLUdD1lkTq88qQW0vbQvK1e6i9b"
#define PATH(x) "/v4/invocations/" ID "/" x

static void routes_and_versions(void **state)
{
    struct fixture *f = *state;
    static const char *const prefixes[] = {"", "/v2", "/v3", "/v4"};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        char path[32];
        snprintf(path, sizeof(path), "%s/health", prefixes[i]);
        expect(f, "GET", path, NULL, 200, "");
        assert_string_equal(f->content_type, "");
        expect(f, "HEAD", path, NULL, 200, "");
    }
    expect(f, "GET", "/v1/version", NULL, 400,
           "Unsupported Admin API version V1. This server supports versions between V2 and V4.");
    expect_text(f, "GET", "/v1", NULL, 400, "Unsupported Admin API version V1.");
    expect(f, "GET", "/v1/", NULL, 404, "");
    static const char *const unknown[] = {"/v5/version",
                                          "/v0/version",
                                          "/nope",
                                          "/services/",
                                          "/v4/",
                                          "//",
                                          "/health/x",
                                          "/services//handlers",
                                          "/invocations/x",
                                          "/metadata/foo",
                                          "/v4x/health",
                                          "/internal/invocations_batch_operations/foo",
                                          "",
                                          "*"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        if (strcmp(unknown[i], "/invocations/x") != 0 && strncmp(unknown[i], "/internal", 9) != 0)
            expect(f, "GET", unknown[i], NULL, 404, "");
    expect(f, "POST", "/internal/invocations_batch_operations/foo", "{}", 404, "");
    expect(f, "POST", "/health", "{}", 405, "");
    assert_string_equal(f->allow, "GET,HEAD");
    expect(f, "OPTIONS", "/deployments", NULL, 405, "");
    assert_string_equal(f->allow, "GET,HEAD,POST");
    expect(f, "GET", "/invocations/x", NULL, 405, "");
    assert_string_equal(f->allow, "DELETE");
    expect(f, "GET", "/limits/rules", NULL, 405, "");
    expect(f, "GET", "/?a=b", NULL, 308, "");
    assert_string_equal(f->location, "/ui/?a=b");
    expect(f, "GET", "/ui", NULL, 308, "");
    expect(f, "GET", "/v4", NULL, 308, "");
    assert_string_equal(f->location, "/ui/");
}

static void plain_answers(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET", "/version", NULL, 200,
           "{\"version\":\"1.7.12\",\"min_admin_api_version\":2,\"max_admin_api_version\":4,\"ingress_"
           "endpoint\":\"http://127.0.0.1:8080/\","
           "\"features\":{\"vqueues\":false,\"protocol_v7\":false,\"invoker_yield\":false,\"unique_random_"
           "seeds\":false,\"kafka_scope\":false,"
           "\"scoped_virtual_objects\":false,\"scoped_state_table_migration\":false,\"scoped_promise_table_"
           "migration\":false,"
           "\"vqueues_async_refill\":false,\"vqueues_migration_skip_completed\":false,\"vqueue_obsolete_"
           "cleanup\":false,"
           "\"preflight_invocation_termination_retention\":false}}");
    expect(f, "GET", "/cluster-health", NULL, 200,
           "{\"cluster_name\":\"localcluster\",\"metadata_cluster_health\":{\"members\":[1]}}");
    expect(f, "GET", "/v4/subscriptions", NULL, 200, "{\"subscriptions\":[]}");
    expect(f, "GET", "/v4/kafka-clusters", NULL, 200, "{\"clusters\":[]}");
    static const struct {
        const char *method, *path;
    } missing[] = {
        {"PUT", "/limits/rules"},
        {"POST", "/limits/rules/bulk-delete"},
    };
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        expect(f, missing[i].method, missing[i].path, "{}", 501, NULL);
        assert_non_null(strstr(f->body, "\"message\":"));
    }
    expect(f, "GET", "/ui/a/b", NULL, 200, NULL);
    assert_non_null(strstr(f->body, "<!doctype html>"));
    expect(f, "GET", "/openapi", NULL, 200, NULL);
    json_error_t error;
    json_t *doc = json_loads(f->body, JSON_REJECT_DUPLICATES, &error);
    if (!doc)
        fail_msg("%s: %s", error.text, f->body);
    assert_non_null(json_object_get(json_object_get(doc, "paths"), "/services/{service}/handlers/{handler}"));
    json_decref(doc);
}

static void payloads_are_shown_by_their_serdes(void **state)
{
    struct fixture *f = *state;
#define SERDES "/internal/services/Greeter/serdes/"
    expect_error(f, "POST", SERDES "decode/x", "1", 404, "The requested service 'Greeter' does not exist");
    announces(f, MANIFEST(GREETER));
    expect(f, "POST", "/deployments", "{\"uri\":\"http://a/\"}", 201, NULL);
    f->preview_pieces[0] = "one ";
    f->preview_pieces[1] = "two";
    expect(f, "POST", "/v4" SERDES "encode/greet/in%20put", "{}", 200, "one two");
    assert_string_equal(f->content_type, "");
    assert_false(f->cut);
    assert_string_equal(f->preview_serde, "Greeter/encode/greet/in put");
    assert_string_equal(f->preview_body, "{}");
    assert_string_equal(f->preview.deployment->uri, "http://a/");
    assert_int_equal(f->preview_consumed, 7);
    f->preview_failure = "it broke";
    expect(f, "POST", SERDES "decode/x", "1", 200, "one two");
    assert_true(f->cut);
    f->preview_pieces[0] = NULL;
    expect_error(f, "POST", SERDES "decode/x", "1", 500, "Internal server error: it broke");
    f->preview_failure = NULL;
    expect(f, "POST", SERDES "decode/x", "1", 200, "");
    expect_text(f, "POST", SERDES "decode/x?deployment=zzz", "1", 400,
                "Failed to deserialize query string: deployment: bad format");
    expect(f, "POST", SERDES "decode/x?deployment=dp_11IAuYzvOnVGso0bwkHQ6bL", "1", 404, NULL);
    expect(f, "POST", SERDES "decode/", "1", 404, "");
    /* the client leaves */
    f->preview_stalls = true;
    f->answers = 0;
    struct admin_exchange *x = send_with(f, "POST", SERDES "decode/x", NULL, SLICE_LIT("1"));
    fake_env_run(&f->fenv);
    x->gone(x);
    assert_true(f->preview_canceled && f->cut);
    assert_int_equal(f->answers, 1);
    assert_int_equal(admin_requests_in_progress(f->admin), 0);
}

static void queues_are_paused_and_resumed(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *id, *reason;
    } bad[] = {{"zzz", "bad format"},
               {"vq_1", "bad length"},
               {"vq_1bq5Tlc9tQyk6N6u7ROIoxXsqh8cyIEcCTx", "bad length"},
               {ID, "id doesn't match the expected type"}};
    char path[128], message[160];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(path, sizeof(path), "/v4/vqueues/%s/pause", bad[i].id);
        snprintf(message, sizeof(message), "The request field 'vqueue_id' is invalid. Reason: %s",
                 bad[i].reason);
        expect_error(f, "POST", path, NULL, 400, message);
    }
#define QUEUE "/vqueues/vq_1bq5Tlc9tQyk6N6u7ROIoxXsqh8cyIEcCT/"
    replies_with(f, RPC_OK);
    expect(f, "POST", QUEUE "pause", NULL, 202, "");
    assert_int_equal(f->last.kind, RPC_PAUSE_QUEUE);
    assert_true(f->last.partition_key == f->last.id.partition_key);
    char text[QUEUE_ID_TEXT + 1];
    queue_id_format(f->last.id, text);
    assert_string_equal(text, "vq_1bq5Tlc9tQyk6N6u7ROIoxXsqh8cyIEcCT");
    expect(f, "POST", QUEUE "resume", NULL, 202, "");
    assert_int_equal(f->last.kind, RPC_RESUME_QUEUE);
    replies_with(f, RPC_QUEUES_FULL);
    expect_error(f, "POST", QUEUE "pause", NULL, 503,
                 "Too many queues of the partition are paused: resume others first.");
    /* what may have been applied is not repeated, what was not is */
    struct rpc_reply lost = {.status = RPC_FAILED, .rc = RC_LOST_LEADERSHIP, .detail = "moved"},
                     elsewhere = {.status = RPC_FAILED, .rc = RC_NOT_LEADER}, done = {.status = RPC_OK};
    replies(f, 1, &lost);
    expect_error(f, "POST", QUEUE "pause", NULL, 503,
                 "Error when routing the request internally. Reason: moved");
    assert_int_equal(f->n_kinds, 1);
    replies(f, 2, (struct rpc_reply[]){elsewhere, done});
    expect(f, "POST", QUEUE "pause", NULL, 202, "");
    assert_int_equal(f->n_kinds, 2);
}

static void operations_and_their_outcomes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path;
        enum rpc_status status;
        int http;
        const char *message; /* NULL: empty body */
        enum rpc_kind kind;
    } cases[] = {
        {PATH("cancel"), RPC_OK, 200, NULL, RPC_TERMINATE},
        {PATH("cancel"), RPC_APPENDED, 202, NULL, RPC_TERMINATE},
        {PATH("cancel"), RPC_ALREADY_COMPLETED, 409, "The invocation '" ID "' was already completed.",
         RPC_TERMINATE},
        {PATH("cancel"), RPC_NOT_FOUND, 404, "The requested invocation '" ID "' does not exist",
         RPC_TERMINATE},
        {PATH("kill"), RPC_OK, 200, NULL, RPC_TERMINATE},
        {PATH("kill"), RPC_ALREADY_COMPLETED, 409, "The invocation '" ID "' was already completed.",
         RPC_TERMINATE},
        {PATH("purge"), RPC_OK, 200, NULL, RPC_PURGE},
        {PATH("purge"), RPC_NOT_COMPLETED, 409, "The invocation '" ID "' is not yet completed.", RPC_PURGE},
        {PATH("purge-journal"), RPC_OK, 200, NULL, RPC_PURGE_JOURNAL},
        {PATH("purge-journal"), RPC_NOT_COMPLETED, 409, "The invocation '" ID "' is not yet completed.",
         RPC_PURGE_JOURNAL},
        {PATH("pause"), RPC_OK, 200, NULL, RPC_PAUSE},
        {PATH("pause"), RPC_APPENDED, 202, NULL, RPC_PAUSE},
        {PATH("pause"), RPC_NOT_RUNNING, 409, "The invocation '" ID "' is not running, cannot be paused.",
         RPC_PAUSE},
        {PATH("pause"), RPC_ALREADY_COMPLETED, 409,
         "The invocation '" ID "' is not running, cannot be paused.", RPC_PAUSE},
        {PATH("resume"), RPC_OK, 200, NULL, RPC_RESUME},
        {PATH("resume?deployment=Keep"), RPC_OK, 200, NULL, RPC_RESUME},
        {PATH("resume"), RPC_NOT_STARTED, 425,
         "The invocation '" ID "' is either inboxed or scheduled, cannot be resumed.", RPC_RESUME},
        {PATH("resume"), RPC_ALREADY_COMPLETED, 409,
         "The invocation '" ID "' is completed, cannot be resumed.", RPC_RESUME},
        {PATH("restart-as-new?deployment=keep"), RPC_STILL_RUNNING, 409,
         "The invocation '" ID "' is still running.", RPC_RESTART_AS_NEW},
        {PATH("restart-as-new?deployment=keep"), RPC_NOT_STARTED, 425,
         "The invocation '" ID "' cannot be restarted because it's not running yet.", RPC_RESTART_AS_NEW},
        {PATH("restart-as-new?deployment=keep"), RPC_UNSUPPORTED, 422,
         "Restarting the invocation '" ID "' is not supported. Restarting workflows is not supported, and "
         "restarting invocations created using "
         "the old service protocol.",
         RPC_RESTART_AS_NEW},
        {PATH("restart-as-new?deployment=keep"), RPC_GONE, 410,
         "The invocation '" ID "' cannot be restarted because the input is not available. This indicates "
         "that the journal was already purged, or "
         "not retained at all.",
         RPC_RESTART_AS_NEW},
        {PATH("restart-as-new?from=99&deployment=keep"), RPC_BAD_PREFIX, 400,
         "The prefix of the journal '" ID
         "' up to 'from' (included) contains some Commands without respective Completions.",
         RPC_RESTART_AS_NEW},
        {"/invocations/" ID "/kill", RPC_NOT_FOUND, 404, "The requested invocation '" ID "' does not exist",
         RPC_TERMINATE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        replies_with(f, cases[i].status);
        if (cases[i].message)
            expect_error(f, "PATCH", cases[i].path, NULL, cases[i].http, cases[i].message);
        else
            expect(f, "PATCH", cases[i].path, NULL, cases[i].http, "");
        assert_int_equal(f->n_kinds, 1);
        assert_int_equal(f->kinds[0], cases[i].kind);
        assert_int_equal(f->last.kill, strstr(cases[i].path, "/kill") != NULL);
    }
    assert_int_equal(admin_requests_in_progress(f->admin), 0);
}

static void bad_ids_and_parameters(void **state)
{
    struct fixture *f = *state;
    expect_error(f, "PATCH", "/v4/invocations/zzz/cancel", NULL, 400,
                 "The request field 'invocation_id' is invalid. Reason: bad format");
    expect_error(f, "PATCH", "/v4/invocations/inv_1/cancel", NULL, 400,
                 "The request field 'invocation_id' is invalid. Reason: bad length");
    expect_error(f, "PATCH", "/v4/invocations/dp_13lvCWWoY8ZmF5Rv9mtTDhM/cancel", NULL, 400,
                 "The request field 'invocation_id' is invalid. Reason: id doesn't match the expected type");
    expect_error(f, "PATCH", PATH("resume?deployment=zzz"), NULL, 400,
                 "The query parameter 'deployment' is invalid. Reason: bad format");
    expect_text(f, "PATCH", PATH("restart-as-new?from=x"), NULL, 400,
                "Failed to deserialize query string: from: ");
    expect_text(f, "PATCH", PATH("restart-as-new?from=-1"), NULL, 400,
                "Failed to deserialize query string: from: ");
    expect_text(f, "PATCH", PATH("restart-as-new?from=4294967296"), NULL, 400,
                "Failed to deserialize query string: from: ");
    assert_int_equal(f->n_kinds, 0);
}

static void restart_gives_an_id_with_the_same_partition_key(void **state)
{
    struct fixture *f = *state;
    replies_with(f, RPC_OK);
    expect(f, "PATCH", PATH("restart-as-new?deployment=keep&from=7"), NULL, 200, NULL);
    assert_memory_equal(f->body, "{\"new_invocation_id\":\"inv_10SHxgluLUdD", 38);
    assert_string_equal(f->content_type, "application/json");
    assert_int_equal(f->last.copy_prefix_up_to, 7);
    assert_false(f->last.repin);
    assert_int_equal(f->last.new_id.partition_key, f->last.id.partition_key);
}

/* Choosing a deployment: status first, then the operation with the pin. */
static void deployments_for_resume_and_restart(void **state)
{
    struct fixture *f = *state;
    announces(f, MANIFEST(GREETER));
    expect(f, "POST", "/deployments", "{\"uri\":\"http://a/\"}", 201, NULL);
    struct u128 a, b;
    resource_id_parse(RESOURCE_DEPLOYMENT, slice_cstr(answered_id(f)), &a);
    fake_env_advance(&f->fenv, 5);
    expect(f, "POST", "/deployments", "{\"uri\":\"http://b/\"}", 201, NULL);
    char path[160], id[64];
    strcpy(id, answered_id(f));
    resource_id_parse(RESOURCE_DEPLOYMENT, slice_cstr(id), &b);
    struct rpc_reply paused = {.invocation_status = INV_PAUSED,
                               .pinned = true,
                               .deployment_id = a,
                               .protocol_version = 6,
                               .target = {.service = SLICE_LIT("Greeter")}};
    struct rpc_reply done = {.status = RPC_OK};

    replies(f, 2, (struct rpc_reply[]){paused, done});
    expect(f, "PATCH", PATH("resume?deployment=latest"), NULL, 200, "");
    assert_int_equal(f->kinds[0], RPC_STATUS);
    assert_int_equal(f->kinds[1], RPC_RESUME);
    assert_true(f->last.repin && u128_eq(f->last.deployment_id, b));
    assert_int_equal(f->last.deployment_max_protocol, 7);

    replies(f, 2, (struct rpc_reply[]){paused, done});
    snprintf(path, sizeof(path), PATH("resume?deployment=%s"), id);
    expect(f, "PATCH", path, NULL, 200, "");
    assert_true(f->last.repin && u128_eq(f->last.deployment_id, b));

    replies(f, 1, (struct rpc_reply[]){paused});
    expect_error(f, "PATCH", PATH("resume?deployment=dp_13lvCWWoY8ZmF5Rv9mtTDhM"), NULL, 400,
                 "The given deployment was not found when trying to resume the invocation '" ID "'.");

    struct rpc_reply old = paused;
    old.protocol_version = 4;
    char message[256];
    snprintf(
        message, sizeof(message),
        "The invocation '" ID
        "' is running on protocol version '4', while the chosen deployment '%s' supports the range 5..=7.",
        id);
    replies(f, 1, &old);
    expect_error(f, "PATCH", PATH("resume?deployment=latest"), NULL, 400, message);

    struct rpc_reply running = paused;
    running.invocation_status = INV_INVOKED;
    replies(f, 1, &running);
    expect_error(
        f, "PATCH", path, NULL, 409,
        "The invocation '" ID
        "' is still running or the deployment id is not pinned yet, deployment id cannot be changed.");

    running.pinned = false; /* the attempt may pin it any moment */
    replies(f, 1, &running);
    expect(f, "PATCH", PATH("resume?deployment=latest"), NULL, 409, NULL);

    struct rpc_reply unpinned = {.invocation_status = INV_SUSPENDED};
    replies(f, 2, (struct rpc_reply[]){unpinned, done});
    expect(f, "PATCH", PATH("resume?deployment=latest"), NULL, 200, "");
    assert_false(f->last.repin);
    replies(f, 1, &unpinned);
    expect(f, "PATCH", path, NULL, 409, NULL);

    struct rpc_reply completed = paused;
    completed.invocation_status = INV_COMPLETED;
    replies(f, 2, (struct rpc_reply[]){completed, done});
    expect(f, "PATCH", PATH("restart-as-new"), NULL, 200, NULL);
    assert_int_equal(f->kinds[1], RPC_RESTART_AS_NEW);
    assert_true(f->last.repin && u128_eq(f->last.deployment_id, b));
    replies(f, 2, (struct rpc_reply[]){running, {.status = RPC_STILL_RUNNING}});
    expect_error(f, "PATCH", PATH("restart-as-new"), NULL, 409, "The invocation '" ID "' is still running.");
    replies_with(f, RPC_NOT_FOUND);
    expect_error(f, "PATCH", PATH("restart-as-new"), NULL, 404,
                 "The requested invocation '" ID "' does not exist");
}

static void retried_until_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct rpc_reply not_leader = {.status = RPC_FAILED, .rc = RC_NOT_LEADER};
    replies(f, 4, (struct rpc_reply[]){not_leader, not_leader, not_leader, {.status = RPC_OK}});
    expect(f, "PATCH", PATH("kill"), NULL, 200, "");
    assert_int_equal(f->n_kinds, 4);
    struct rpc_reply unavailable = {.status = RPC_FAILED, .rc = RC_UNAVAILABLE, .detail = "no leader"};
    replies(f, 1, &unavailable);
    uint64_t start = f->fenv.mono;
    expect_error(f, "PATCH", PATH("kill"), NULL, 503,
                 "Error when routing the request internally. Reason: no leader");
    assert_true(f->fenv.mono - start <= 11000);
    struct rpc_reply unknown = {.status = RPC_FAILED, .rc = RC_LOST_LEADERSHIP};
    replies(f, 1, &unknown);
    expect_error(f, "PATCH", PATH("kill"), NULL, 503,
                 "Error when routing the request internally. Reason: lost_leadership");
    assert_int_equal(f->n_kinds, 1);
}

static void deprecated_delete(void **state)
{
    struct fixture *f = *state;
    static const char *const modes[] = {"", "?mode=cancel", "?mode=Kill", "?mode=purge"};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        char path[128];
        replies_with(f, RPC_NOT_FOUND);
        snprintf(path, sizeof(path), "/v4/invocations/" ID "%s", modes[i]);
        expect(f, "DELETE", path, NULL, 202, "");
        assert_int_equal(f->kinds[0], i == 3 ? RPC_PURGE : RPC_TERMINATE);
    }
    expect_text(f, "DELETE", "/v4/invocations/" ID "?mode=foo", NULL, 400,
                "Failed to deserialize query string: mode: unknown variant `foo`");
    expect(f, "DELETE", "/v4/invocations/zzz?mode=kill", NULL, 400, NULL);
}

static void check_patch(struct fixture *f, const char *key, const char *version, const char *entries)
{
    struct reader r = reader_make(record_body(bytes_slice(f->last_record)));
    struct cmd_patch_state p;
    assert_true(cmd_patch_state_read(&r, &p));
    assert_true(slice_eq_cstr(p.key, key));
    assert_true(version ? slice_eq_cstr(p.expected_version, version) : p.expected_version.ptr == NULL);
    char text[256] = "";
    struct reader e = reader_make(p.entries);
    while (reader_left(&e)) {
        struct slice k = read_lp(&e), v = read_lp(&e);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s=%.*s;", SLICE_FMT(k), SLICE_FMT(v));
    }
    assert_string_equal(text, entries);
    assert_int_equal(f->last.partition_key, partition_key_of_key(slice_cstr(key)));
}

static void state_of_objects(void **state)
{
    struct fixture *f = *state;
    announces(f, MANIFEST(GREETER "," COUNTER "," WF));
    expect(f, "POST", "/deployments", "{\"uri\":\"http://a/\"}", 201, NULL);
    replies_with(f, RPC_OK);
    expect(f, "POST", "/v4/services/Counter/state",
           "{\"version\":null,\"object_key\":\"s1\",\"new_state\":{\"last\":[123,125],\"count\":[55]}}", 202,
           "");
    check_patch(f, "s1", NULL, "count=7;last={};");
    expect(f, "POST", "/v4/services/Wf/state",
           "{\"version\":\"7_yD\",\"object_key\":\"\",\"new_state\":{\"a\":\"text\"}}", 202, "");
    check_patch(f, "", "7_yD", "a=text;");
    expect(f, "POST", "/v4/services/Nope/state", "{\"object_key\":\"a\",\"new_state\":{}}", 202, "");
    expect_error(f, "POST", "/v4/services/Nope/state", "{\"object_key\":\"a\",\"new_state\":{\"a\":[1]}}",
                 404, "The requested service 'Nope' does not exist");
    expect_error(f, "POST", "/v4/services/Greeter/state", "{\"object_key\":\"a\",\"new_state\":{}}", 400,
                 "Cannot modify state for service type Service");
    expect_error(f, "POST", "/v4/services/Counter/state",
                 "{\"object_key\":\"a\",\"new_state\":{},\"scope\":\"a b\"}", 400,
                 "bad scope: value contains characters outside the allowed set [a-zA-Z0-9_.-]");
    static const char *const bad[] = {"{}",
                                      "{\"object_key\":\"a\"}",
                                      "{\"object_key\":1,\"new_state\":{}}",
                                      "{\"new_state\":{}}",
                                      "{\"object_key\":\"a\",\"new_state\":[]}",
                                      "{\"object_key\":\"a\",\"new_state\":{\"a\":[256]}}",
                                      "{\"object_key\":\"a\",\"new_state\":{\"a\":[-1]}}",
                                      "{\"object_key\":\"a\",\"new_state\":{\"a\":1}}",
                                      "{\"object_key\":\"a\",\"new_state\":{},\"version\":1}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_text(f, "POST", "/v4/services/Counter/state", bad[i], 422,
                    "Failed to deserialize the JSON body into the target type: ");
    expect(f, "POST", "/v4/services/Counter/state", "{", 400, NULL);
    expect(f, "POST", "/v4/services/Counter/state", NULL, 415, NULL);
    struct rpc_reply busy = {.status = RPC_FAILED, .rc = RC_OVERLOADED};
    replies(f, 2, (struct rpc_reply[]){busy, {.status = RPC_OK}});
    expect(f, "POST", "/v4/services/Counter/state", "{\"object_key\":\"k\",\"new_state\":{\"a\":[65]}}", 202,
           "");
    check_patch(f, "k", NULL, "a=A;");
    assert_int_equal(f->n_kinds, 2);
}

static void batches(void **state)
{
    struct fixture *f = *state;
    expect(f, "POST", "/internal/invocations_batch_operations/kill", "{\"invocation_ids\":[]}", 200,
           "{\"succeeded\":[],\"failed\":[]}");
    replies(f, 2, (struct rpc_reply[]){{.status = RPC_ALREADY_COMPLETED}, {.status = RPC_NOT_FOUND}});
    expect(f, "POST", "/internal/invocations_batch_operations/cancel",
           "{\"invocation_ids\":[\"" ID "\",\"inv_1000000000000000000000000000000000\"]}", 200,
           "{\"succeeded\":[],\"failed\":[{\"invocation_id\":\"" ID "\",\"error\":\"Invocation '" ID
           "' was already completed\"},{\"invocation_id\":"
           "\"inv_1000000000000000000000000000000000\",\"error\":\"Invocation "
           "'inv_1000000000000000000000000000000000' not found\"}]}");
    replies(f, 3,
            (struct rpc_reply[]){{.status = RPC_OK},
                                 {.status = RPC_FAILED, .rc = RC_LOST_LEADERSHIP},
                                 {.status = RPC_APPENDED}});
    expect(f, "POST", "/internal/invocations_batch_operations/pause",
           "{\"invocation_ids\":[\"" ID "\",\"" ID "\",\"" ID "\"]}", 200,
           "{\"succeeded\":[\"" ID "\",\"" ID "\"],\"failed\":[{\"invocation_id\":\"" ID
           "\",\"error\":\"lost_leadership\"}]}");
    replies_with(f, RPC_OK);
    expect(f, "POST", "/internal/invocations_batch_operations/restart-as-new",
           "{\"invocation_ids\":[\"" ID "\"],\"deployment\":\"keep\"}", 200, NULL);
    assert_memory_equal(
        f->body, "{\"succeeded\":[{\"old_invocation_id\":\"" ID "\",\"new_invocation_id\":\"inv_1", 30);
    expect_text(f, "POST", "/internal/invocations_batch_operations/kill", "{\"invocation_ids\":[\"zzz\"]}",
                422, "Failed to deserialize");
    expect(f, "POST", "/internal/invocations_batch_operations/kill",
           "{\"invocation_ids\":[],\"deployment\":1}", 200, NULL); /* a key that only others know */
    expect_text(f, "POST", "/internal/invocations_batch_operations/resume",
                "{\"invocation_ids\":[],\"deployment\":1}", 422, "Failed to deserialize");
    expect_text(f, "POST", "/internal/invocations_batch_operations/kill", "{}", 422, "Failed to deserialize");
    expect_error(f, "POST", "/internal/invocations_batch_operations/resume",
                 "{\"invocation_ids\":[],\"deployment\":\"x\"}", 400,
                 "The request field 'deployment' is invalid. Reason: bad format");
    struct writer w = WRITER_INIT;
    for (int n = 1000; n <= 1001; n++) {
        writer_reset(&w);
        write_fmt(&w, "{\"invocation_ids\":[");
        for (int i = 0; i < n; i++)
            write_fmt(&w, "%s\"" ID "\"", i ? "," : "");
        write_fmt(&w, "]}");
        write_u8(&w, 0);
        if (n == 1000)
            expect(f, "POST", "/internal/invocations_batch_operations/kill",
                   (const char *)writer_slice(&w).ptr, 200, NULL);
        else
            expect_error(f, "POST", "/internal/invocations_batch_operations/kill",
                         (const char *)writer_slice(&w).ptr, 400,
                         "Batch size 1001 exceeds maximum allowed size of 1000");
    }
    writer_free(&w);
}

static void bounded_and_shut_down(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    fixture_open(f, 2);
    struct rpc_reply busy = {.status = RPC_FAILED, .rc = RC_UNAVAILABLE};
    replies(f, 1, &busy);
    f->answers = 0;
    send_with(f, "PATCH", PATH("kill"), NULL, SLICE_EMPTY);
    send_with(f, "POST", "/internal/invocations_batch_operations/kill", "application/json",
              SLICE_LIT("{\"invocation_ids\":[\"" ID "\",\"" ID "\"]}"));
    assert_int_equal(f->answers, 0);
    assert_int_equal(admin_requests_in_progress(f->admin), 2);
    send_with(f, "GET", "/health", NULL, SLICE_EMPTY);
    assert_int_equal(f->status, 429);
    fake_env_run(&f->fenv);
    assert_int_equal(f->answers, 1);
    /* all wait for their retry: shutting down answers them */
    admin_free(f->admin);
    assert_int_equal(f->answers, 3);
    struct admin_deps deps = {
        .env = &f->fenv.env, .router = &f->router, .schema = f->store, .defaults = &f->defaults};
    f->admin = admin_new(&deps);
    /* one that waits for the leader keeps the object alive */
    send_with(f, "PATCH", PATH("kill"), NULL, SLICE_EMPTY);
    admin_free(f->admin);
    fake_env_run(&f->fenv);
    assert_int_equal(f->answers, 4);
    assert_int_equal(f->status, 503);
    f->admin = admin_new(&deps);
}

/* Shapes of bodies; no engine here, so what is well-formed gets 503. */
static void queries(void **state)
{
    struct fixture *f = *state;
    const char *unavailable = "{\"message\":\"Query service not available\"}";
    expect(f, "POST", "/query", "{\"query\":\"select 1\"}", 503, unavailable);
    expect(f, "POST", "/v4/query", "[\"select 1\"]", 503, unavailable);
    expect_text(
        f, "POST", "/query", "{}", 422,
        "Failed to deserialize the JSON body into the target type: missing field `query` at line 1 column 2");
    expect_text(f, "POST", "/query", "[]", 422, "Failed to deserialize the JSON body");
    expect_text(f, "POST", "/query", "{\"query\":1}", 422, "Failed to deserialize the JSON body");
    expect_text(f, "POST", "/query", "3", 422, "Failed to deserialize the JSON body");
    expect_text(f, "POST", "/query", "{", 400, "Failed to parse the request body as JSON: ");
    expect(f, "GET", "/query", NULL, 405, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(routes_and_versions),
        TEST(plain_answers),
        TEST(queries),
        TEST(operations_and_their_outcomes),
        TEST(queues_are_paused_and_resumed),
        TEST(payloads_are_shown_by_their_serdes),
        TEST(bad_ids_and_parameters),
        TEST(restart_gives_an_id_with_the_same_partition_key),
        TEST(deployments_for_resume_and_restart),
        TEST(retried_until_the_deadline),
        TEST(deprecated_delete),
        TEST(state_of_objects),
        TEST(batches),
        TEST(bounded_and_shut_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
