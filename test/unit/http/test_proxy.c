/* Which hosts go through the proxy (http/proxy.h); the table is what release 1.7.12 does, but for the
 * asterisk, which there leaves out addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* after the system headers: */
#include <cmocka.h>

#include "http/proxy.h"

static void exceptions(void **state)
{
    static const char *hosts[] = {"svc.test",  "a.svc.test", "asvc.test", "10.1.2.3",
                                  "127.0.0.1", "localhost",  "::1"};
    static const struct {
        const char *no_proxy, *serves; /* one letter per host: P through the proxy, - directly */
    } cases[] = {
        {NULL, "PPPPPPP"},
        {"", "PPPPPPP"},
        {",, ,", "PPPPPPP"},
        {"svc.test", "--PPPPP"},
        {".svc.test", "--PPPPP"},
        {"SVC.TEST", "--PPPPP"},
        {"*.svc.test", "PPPPPPP"},
        {"svc.test:9080", "PPPPPPP"},
        {"10.0.0.0/8", "PPP-PPP"},
        {"10.1.2.3", "PPP-PPP"},
        {"10.1.2.2/31", "PPP-PPP"},
        {"10.1.2.4/31", "PPPPPPP"},
        {"0.0.0.0/0", "PPP--PP"},
        {"10.0.0.0/33", "PPPPPPP"},
        {"10.0.0.0/", "PPPPPPP"},
        {"10.0.0.0/8x", "PPPPPPP"},
        {"::/0", "PPPPPP-"},
        {"::1", "PPPPPP-"},
        {" localhost , 127.0.0.0/8,::1", "PPPP---"},
        {"*", "-------"},
        {".", "PPPPPPP"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct http_proxy *p = NULL;
        assert_int_equal(http_proxy_new("http://proxy:3128", cases[i].no_proxy, &p, NULL), RC_OK);
        for (size_t h = 0; h < sizeof(hosts) / sizeof(*hosts); h++) {
            if (http_proxy_serves(p, hosts[h]) != (cases[i].serves[h] == 'P'))
                fail_msg("'%s': %s", cases[i].no_proxy ? cases[i].no_proxy : "", hosts[h]);
        }
        http_proxy_free(p);
    }
}

static void addresses(void **state)
{
    static const struct {
        const char *uri, *host; /* NULL: refused */
        uint16_t port;
    } cases[] = {
        {"http://proxy.example:3128", "proxy.example", 3128},
        {"proxy.example:3128", "proxy.example", 3128},
        {"http://proxy.example/", "proxy.example", 80},
        {"http://user:p%40ss@proxy.example:1", "proxy.example", 1},
        {"user@[::1]:8080", "::1", 8080},
        {"https://proxy.example", NULL, 0},
        {"unix:/run/proxy.sock", NULL, 0},
        {"socks5://proxy.example", NULL, 0},
        {"http://proxy.example:x", NULL, 0},
        {"", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct http_proxy *p = NULL;
        struct err err = {0};
        if (!cases[i].host) {
            assert_int_not_equal(http_proxy_new(cases[i].uri, NULL, &p, &err), RC_OK);
            assert_true(err.msg[0] != 0);
            continue;
        }
        assert_int_equal(http_proxy_new(cases[i].uri, NULL, &p, &err), RC_OK);
        assert_string_equal(http_proxy_host(p), cases[i].host);
        assert_int_equal(http_proxy_port(p), cases[i].port);
        http_proxy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exceptions), cmocka_unit_test(addresses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
