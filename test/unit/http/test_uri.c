/* Parsing of the addresses we dial, and the small vocabulary of http.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after the system headers: */
#include <cmocka.h>

#include "http/http.h"
#include "http/server_internal.h"

#define assert_slice(s, text) assert_true(slice_eq_cstr(s, text))

static void uris(void **state)
{
    struct {
        const char *text, *host, *authority, *path, *query;
        uint16_t port;
        bool tls;
    } cases[] = {
        {"http://localhost", "localhost", "localhost", "/", "", 80, false},
        {"HTTPS://a.b/", "a.b", "a.b", "/", "", 443, true},
        {"http://h:9080/p/q?x=1&y=%20#frag", "h", "h:9080", "/p/q", "x=1&y=%20", 9080, false},
        {"http://h?x", "h", "h", "/", "x", 80, false},
        {"http://[::1]:81/x", "::1", "[::1]:81", "/x", "", 81, false},
        {"https://[fe80::1]", "fe80::1", "[fe80::1]", "/", "", 443, true},
        {"http://h:", "h", "h:", "/", "", 80, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct http_uri u;
        struct err err = {0};
        assert_int_equal(http_uri_parse(slice_cstr(cases[i].text), &u, &err), RC_OK);
        assert_slice(u.host, cases[i].host);
        assert_slice(u.authority, cases[i].authority);
        assert_slice(u.path, cases[i].path);
        assert_slice(u.query, cases[i].query);
        assert_int_equal(u.port, cases[i].port);
        assert_int_equal(u.tls, cases[i].tls);
        assert_false(u.is_unix);
    }
    struct http_uri u;
    assert_int_equal(http_uri_parse(SLICE_LIT("unix:/run/x.sock"), &u, NULL), RC_OK);
    assert_true(u.is_unix);
    assert_slice(u.host, "/run/x.sock");
}

static void bad_uris(void **state)
{
    const char *bad[] = {
        "",           "h",          "ftp://h",        "http://",     "http://:80",    "http://h:x",
        "http://h y", "http://u@h", "http://h:65536", "http://[::1", "http://[::1]x", "unix:",
        "http:///p",  "//h",        "http://h\n",     "http:/h",     "http://[]:80"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct http_uri u;
        struct err err = {0};
        assert_int_equal(http_uri_parse(slice_cstr(bad[i]), &u, &err), RC_INVALID);
        assert_true(err.msg[0] != 0);
    }
}

static void targets(void **state)
{
    const char *cases[][2] = {{"/a?b", "/a?b"},
                              {"/a#f", "/a"},
                              {"http://h/a?b#c", "/a?b"},
                              {"http://h", "/"},
                              {"/x?u=http://h/", "/x?u=http://h/"},
                              {"*", "*"},
                              {"", ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_slice(server_reduce_target(slice_cstr(cases[i][0])), cases[i][1]);
}

static void vocabulary(void **state)
{
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(431), "Request Header Fields Too Large");
    assert_string_equal(http_reason(599), "<none>");
    struct http_header h[] = {HTTP_HEADER_LIT("a", "1"), HTTP_HEADER_LIT("b", "2"),
                              HTTP_HEADER_LIT("b", "3")};
    assert_slice(http_header_find(h, 3, "b"), "2");
    assert_null(http_header_find(h, 3, "c").ptr);
    assert_true(http_header_is_sane(&h[0]));
    assert_false(http_header_is_sane(&(struct http_header)HTTP_HEADER_LIT("a", "x\r\ny: z")));
    assert_false(http_header_is_sane(&(struct http_header)HTTP_HEADER_LIT(":status", "200")));
    assert_false(http_header_is_sane(&(struct http_header)HTTP_HEADER_LIT("a b", "1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(uris), cmocka_unit_test(bad_uris),
                                       cmocka_unit_test(targets), cmocka_unit_test(vocabulary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
