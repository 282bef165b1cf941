/* The captured request/response pairs of test/vectors/ingress-vectors.json that need no handler: everything
 * the ingress answers by itself must be byte for byte what the reference answered (spec/ingress.md §14). The
 * rest is replayed against a real server by test/vectors/run-ingress-vectors.mjs. */
#include "ingress_fixture.h"

#include <jansson.h>
#include <regex.h>

static json_t *vectors;

/* Answered without a partition: no steps, and not the result of an invocation. */
static bool answered_by_ingress(const json_t *v)
{
    const json_t *setup_part = json_object_get(v, "setup"), *response = json_object_get(v, "response");
    const json_t *headers = json_object_get(response, "headers");
    if (strcmp(json_string_value(json_object_get(setup_part, "profile")), "default") != 0)
        return false;
    if (json_object_get(setup_part, "steps") || json_object_get(json_object_get(v, "request"), "http"))
        return false;
    const char *name = json_string_value(json_object_get(v, "name"));
    const char *source = json_string_value(json_object_get(headers, "x-restate-error-source"));
    if (source) /* outputs are looked up in a partition */
        return strcmp(source, "ingress") == 0 && !strstr(name, "output-unknown-i") &&
               strcmp(name, "workflow-output-unknown") != 0;
    return strncmp(name, "health", 6) == 0 || strncmp(name, "cors", 4) == 0 ||
           strncmp(name, "lookup", 6) == 0 || strncmp(name, "options", 7) == 0;
}

static void append_header(struct writer *w, const char *name, const json_t *value)
{
    write_fmt(w, "%s: ", name);
    const char *text = json_string_value(value); /* code points up to U+00FF stand for bytes */
    for (const uint8_t *p = (const uint8_t *)text; *p; p++) {
        if (*p < 0x80) {
            write_u8(w, *p);
        } else {
            write_u8(w, (uint8_t)((p[0] & 0x1f) << 6 | (p[1] & 0x3f)));
            p++;
        }
    }
    write_fmt(w, "\n");
}

static char *request_headers(const json_t *request)
{
    struct writer w = WRITER_INIT;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(request, "headers"), name, value)
    {
        if (json_is_array(value)) {
            size_t i;
            json_t *item;
            json_array_foreach(value, i, item) append_header(&w, name, item);
        } else {
            append_header(&w, name, value);
        }
    }
    char *text = slice_dup_cstr(writer_slice(&w));
    writer_free(&w);
    return text;
}

static bool matches(const char *pattern, const char *text)
{
    regex_t re;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        fail_msg("cannot compile %s", pattern);
    bool ok = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return ok;
}

static size_t check_response(const char *name, const json_t *want, const struct response *r)
{
    size_t problems = 0;
    const char *key;
    json_t *value;
    if (r->status != json_integer_value(json_object_get(want, "status"))) {
        print_error("%s: status %d\n", name, r->status);
        problems++;
    }
    json_object_foreach(json_object_get(want, "headers"), key, value)
    {
        const char *got = header(r, key);
        bool ok = json_is_null(value) ? !got
                  : json_is_string(value)
                      ? got && strcmp(got, json_string_value(value)) == 0
                      : got && matches(json_string_value(json_object_get(value, "regex")), got);
        if (!ok) {
            print_error("%s: header %s is %s\n", name, key, got ? got : "absent");
            problems++;
        }
    }
    const char *body = json_string_value(json_object_get(want, "body"));
    const char *body_regex = json_string_value(json_object_get(want, "body_regex"));
    if ((body && strcmp(body, r->body) != 0) || (body_regex && !matches(body_regex, r->body))) {
        print_error("%s: body %s\n", name, r->body);
        problems++;
    }
    return problems;
}

static void what_the_ingress_answers_is_what_the_reference_answered(void **state)
{
    size_t i, run = 0, problems = 0;
    json_t *v;
    json_array_foreach(vectors, i, v)
    {
        if (!answered_by_ingress(v))
            continue;
        const json_t *request = json_object_get(v, "request");
        char *headers = request_headers(request);
        struct response r;
        exchange(&r, json_string_value(json_object_get(request, "method")),
                 json_string_value(json_object_get(request, "path")), headers,
                 json_string_value(json_object_get(request, "body")));
        problems +=
            check_response(json_string_value(json_object_get(v, "name")), json_object_get(v, "response"), &r);
        run++;
        response_free(&r);
        free(headers);
    }
    assert_int_equal(F.n_submitted, 0);
    assert_int_equal(problems, 0);
    assert_true(run >= 70);
}

int main(void)
{
    json_error_t error;
    vectors = json_load_file("test/vectors/ingress-vectors.json", 0, &error);
    if (!vectors) {
        fprintf(stderr, "test/vectors/ingress-vectors.json: %s (run from the top of the repository)\n",
                error.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_the_ingress_answers_is_what_the_reference_answered, setup,
                                        teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(vectors);
    return failed;
}
