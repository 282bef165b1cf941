/* Paths: normalisation, every route, and the refusal of everything else with the documented sentence
 * (spec/ingress.md §2.1, §4). */
#include "schema_fixture.h"

#include "ingress/route.h"

static struct schema *schema;

static void targets_are_split_and_normalised(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"/Vec/echo", "/Vec/echo", ""},
        {"//Vec/echo//", "/Vec/echo", ""},
        {"/Vec//echo", "/Vec//echo", ""},
        {"/", "/", ""},
        {"///", "/", ""},
        {"", "", ""},
        {"*", "*", ""},
        {"/Vec/req/?a=1/", "/Vec/req", "?a=1/"},
        {"/Vec/req?", "/Vec/req", "?"},
        {"/Vec/req?a?b", "/Vec/req", "?a?b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice path, query;
        target_split(slice_cstr(cases[i].target), &path, &query);
        if (!slice_eq_cstr(path, cases[i].path) || !slice_eq_cstr(query, cases[i].query))
            fail_msg("%s: '%.*s' '%.*s'", cases[i].target, SLICE_FMT(path), SLICE_FMT(query));
    }
}

/* A route as text: kind and parts. */
static void describe(const struct route *r, char *out, size_t cap)
{
    static const char *const kinds[] = {"health", "call",   "send",     "invocation",
                                        "body",   "lookup", "awakeable"};
    struct writer w = WRITER_INIT;
    write_fmt(&w, "%s", kinds[r->kind]);
    if (r->kind == ROUTE_CALL || r->kind == ROUTE_SEND)
        write_fmt(&w, " %s", r->service->name);
    if (r->kind == ROUTE_INVOCATION || r->kind == ROUTE_BODY_TARGET)
        write_fmt(&w, r->output ? " output" : " attach");
    if (r->kind == ROUTE_INVOCATION && r->by == BY_WORKFLOW)
        write_fmt(&w, " wf=%.*s", SLICE_FMT(r->service_name));
    if (r->kind == ROUTE_INVOCATION && r->by == BY_IDEMPOTENCY_KEY)
        write_fmt(&w, " %s ik=%.*s", r->service->name, SLICE_FMT(r->idempotency_key));
    if (r->handler.ptr)
        write_fmt(&w, " handler=%.*s", SLICE_FMT(r->handler));
    if (r->key.ptr)
        write_fmt(&w, " key=%.*s", SLICE_FMT(r->key));
    if (r->scope.ptr)
        write_fmt(&w, " scope=%.*s", SLICE_FMT(r->scope));
    if (r->kind == ROUTE_AWAKEABLE || (r->kind == ROUTE_INVOCATION && r->by == BY_ID))
        write_fmt(&w, " id=%.*s", SLICE_FMT(r->id));
    if (r->kind == ROUTE_AWAKEABLE)
        write_fmt(&w, r->reject ? " reject" : " resolve");
    snprintf(out, cap, "%.*s", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
}

static void paths_lead_to_routes(void **state)
{
    static const struct {
        const char *path, *route;
    } cases[] = {
        {"/restate/health", "health"},
        {"/restate/health/foo/bar", "health"},
        {"/Vec/echo", "call Vec handler=echo"},
        {"/Vec/echo/send", "send Vec handler=echo"},
        {"/Vec/nope", "call Vec handler=nope"}, /* handlers are looked up later */
        {"/Vec/e%63ho", "call Vec handler=e%63ho"},
        {"/VecObj/k1/key", "call VecObj handler=key key=k1"},
        {"/VecObj/a%2Fb%20c/key", "call VecObj handler=key key=a/b c"},
        {"/VecObj/a+b/key", "call VecObj handler=key key=a+b"},
        {"/VecObj//key", "call VecObj handler=key key="},
        {"/VecObj/k/send", "call VecObj handler=send key=k"},
        {"/VecObj/k/send/send", "send VecObj handler=send key=k"},
        {"/VecObj/100%/key", "call VecObj handler=key key=100%"},
        {"/VecWf/w/run/send", "send VecWf handler=run key=w"},
        {"/restate/call/Vec/echo", "call Vec handler=echo"},
        {"/restate/send/VecObj/k/key", "send VecObj handler=key key=k"},
        {"/restate/scope/s%2d1/call/Vec/echo", "call Vec handler=echo scope=s-1"},
        {"/restate/scope//send/Vec/echo", "send Vec handler=echo scope="},
        {"/restate/scope/s1/call/VecObj/k/key", "call VecObj handler=key key=k scope=s1"},
        {"/restate/invocation/inv_1/attach", "invocation attach id=inv_1"},
        {"/restate/invocation/foo/output", "invocation output id=foo"},
        {"/restate/invocation/Vec/greet/o%201/output", "invocation output Vec ik=o%201 handler=greet"},
        {"/restate/invocation/Vec/gone/k/attach", "invocation attach Vec ik=k handler=gone"},
        {"/restate/invocation/VecObj/a%20b/add/k/attach",
         "invocation attach VecObj ik=k handler=add key=a b"},
        {"/restate/invocation/Vec/greet/k/attach/x", "invocation attach Vec ik=k handler=greet"},
        {"/restate/workflow/Nope/w%20x/attach", "invocation attach wf=Nope key=w x"},
        {"/restate/workflow/VecWf/w/output/x/y", "invocation output wf=VecWf key=w"},
        {"/restate/attach/inv_1x", "invocation attach id=inv_1x"},
        {"/restate/output/inv_1x", "invocation output id=inv_1x"},
        {"/restate/attach", "body attach"},
        {"/restate/output", "body output"},
        {"/restate/lookup", "lookup"},
        {"/restate/awakeables/sign_1x/resolve", "awakeable id=sign_1x resolve"},
        {"/restate/a/sign_1x/reject", "awakeable id=sign_1x reject"},
        {"/restate/a/sign_1x/reject/more", "awakeable id=sign_1x reject"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route r;
        char text[256];
        if (!route_parse(slice_cstr(cases[i].path), schema, &r))
            fail_msg("%s: refused %d", cases[i].path, r.status);
        describe(&r, text, sizeof(text));
        if (strcmp(text, cases[i].route) != 0)
            fail_msg("%s: %s", cases[i].path, text);
        route_free(&r);
    }
}

#define OLD_FORM "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler"
#define NEW_FORM                                                                                             \
    "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler, "                  \
    "/restate/scope/:scope/call/:service/:handler, /restate/attach/:invocation_id, "                         \
    "/restate/output/:invocation_id, or /restate/lookup"
#define INVOCATION                                                                                           \
    "bad path, expected either /restate/invocation/:invocation_id/output or "                                \
    "/restate/invocation/:invocation_id/attach or "                                                          \
    "/restate/invocation/:invocation_target/:idempotency_key/output or "                                     \
    "/restate/invocation/:invocation_target/:idempotency_key/attach"
#define WORKFLOW                                                                                             \
    "bad path, expected either /restate/workflow/:workflow_name/:workflow_key/output or "                    \
    "/restate/workflow/:workflow_name/:workflow_key/attach"
#define AWAKEABLE                                                                                            \
    "bad path, expected either /restate/awakeables/:id/resolve or /restate/awakeables/:id/reject"
#define UTF8_ERROR(bytes, valid, len)                                                                        \
    "bad path, cannot decode key: FromUtf8Error { bytes: [" bytes                                            \
    "], error: Utf8Error { valid_up_to: " valid ", error_len: " len " } }"

static void other_paths_are_refused(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *message;
    } cases[] = {
        {"/", 400, "bad path: /"},
        {"", 400, "bad path: "},
        {"/Vec", 400, "bad path: /Vec"},
        {"/restate", 400, "bad path: /restate"},
        {"/openapi", 400, "bad path: /openapi"},
        {"/a/b/c/d/e/f/g/h", 400, "bad path: /a/b/c/d/e/f/g/h"},
        {"a/b/c", 400, "bad path: a/b/c"},
        {"/Nope/hi", 404, "service 'Nope' not found, make sure to register the service before calling it."},
        {"/Nope/hi/x/y", 404,
         "service 'Nope' not found, make sure to register the service before calling it."},
        {"/V%65c/echo", 404,
         "service 'V%65c' not found, make sure to register the service before calling it."},
        {"/Vec/echo/foo", 400, OLD_FORM},
        {"/Vec/echo/send/foo", 400, OLD_FORM},
        {"/VecObj/key", 400, OLD_FORM},
        {"/VecObj/%FF/key", 400, UTF8_ERROR("255", "0", "Some(1)")},
        {"/VecObj/a%E2%82/key", 400, UTF8_ERROR("97, 226, 130", "1", "None")},
        {"/VecObj/%E2%82x/key", 400, UTF8_ERROR("226, 130, 120", "0", "Some(2)")},
        {"/VecObj/%ED%A0%80/key", 400, UTF8_ERROR("237, 160, 128", "0", "Some(1)")},
        {"/VecObj/%F0%9F%98x/key", 400, UTF8_ERROR("240, 159, 152, 120", "0", "Some(3)")},
        {"/restate/call/Vec", 400, NEW_FORM},
        {"/restate/call/Vec/echo/x", 400, NEW_FORM},
        {"/restate/call/Nope/hi", 404,
         "service 'Nope' not found, make sure to register the service before calling it."},
        {"/restate/scope/s1", 400, NEW_FORM},
        {"/restate/scope/s1/foo/Vec/echo", 400, NEW_FORM},
        {"/restate/scope/%FF/call/Vec/echo", 400, UTF8_ERROR("255", "0", "Some(1)")},
        {"/restate/foo/x", 404, "not found"},
        {"/restate//x", 404, "not found"},
        {"/openapi/x", 404, "not found"},
        {"/restate/invocation", 400, INVOCATION},
        {"/restate/invocation/inv_1", 400, INVOCATION},
        {"/restate/invocation/inv_1/foo", 404, "not found"},
        {"/restate/invocation/Vec/greet/x", 400, INVOCATION},
        {"/restate/invocation/Vec/greet/x/foo", 404, "not found"},
        {"/restate/invocation/Nope/greet/x/output", 404,
         "service 'Nope' not found, make sure to register the service before calling it."},
        {"/restate/workflow/VecWf", 400, WORKFLOW},
        {"/restate/workflow/VecWf/w", 400, WORKFLOW},
        {"/restate/workflow/VecWf/w/foo", 404, "not found"},
        {"/restate/awakeables", 400, AWAKEABLE},
        {"/restate/awakeables/foo", 400, AWAKEABLE},
        {"/restate/awakeables/foo/bar", 404, "not found"},
        {"/restate/attach/x/y", 400, NEW_FORM},
        {"/restate/lookup/x", 400, NEW_FORM},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route r;
        if (route_parse(slice_cstr(cases[i].path), schema, &r))
            fail_msg("%s was accepted", cases[i].path);
        struct slice message = writer_slice(&r.message);
        if (r.status != cases[i].status || !slice_eq_cstr(message, cases[i].message))
            fail_msg("%s: %d %.*s", cases[i].path, r.status, SLICE_FMT(message));
        route_free(&r);
    }
}

static int setup(void **state)
{
    schema = fixture_schema();
    return 0;
}

static int teardown(void **state)
{
    schema_unref(schema);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_split_and_normalised),
        cmocka_unit_test(paths_lead_to_routes),
        cmocka_unit_test(other_paths_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
