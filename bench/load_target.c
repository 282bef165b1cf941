/* Request templates of the load generator. */
#include "load_target.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"

bool load_target_set_url(struct load_target *t, const char *url)
{
    const char *prefix = "http://";
    if (strncmp(url, prefix, strlen(prefix)) != 0)
        return false;
    snprintf(t->host, sizeof(t->host), "%s", url + strlen(prefix));
    t->host[strcspn(t->host, "/")] = 0;
    char ip[sizeof(t->host)];
    snprintf(ip, sizeof(ip), "%s", t->host);
    char *colon = strchr(ip, ':');
    if (!colon)
        return false;
    *colon = 0;
    t->addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    return inet_pton(AF_INET, strcmp(ip, "localhost") == 0 ? "127.0.0.1" : ip, &t->addr.sin_addr) == 1;
}

static uint64_t random_below(struct load_target *t, uint64_t bound)
{
    t->random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = t->random_state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % (bound ? bound : 1);
}

struct text {
    char *ptr;
    size_t len, cap;
};

static void append(struct text *t, const char *s, size_t n)
{
    if (t->len + n + 1 > t->cap) {
        t->cap = (t->len + n + 1) * 2;
        t->ptr = xrealloc(t->ptr, t->cap);
    }
    memcpy(t->ptr + t->len, s, n);
    t->len += n;
    t->ptr[t->len] = 0;
}

static void append_template(struct load_target *t, uint64_t index, const char *text, struct text *out)
{
    while (*text) {
        size_t plain = strcspn(text, "{");
        append(out, text, plain);
        text += plain;
        if (!*text)
            break;
        bool known = text[1] && text[2] == '}' && strchr("nik", text[1]);
        if (!known) {
            append(out, text++, 1);
            continue;
        }
        uint64_t v = text[1] == 'n'   ? t->unique_base + index
                     : text[1] == 'i' ? index
                                      : random_below(t, t->keys);
        char number[24];
        append(out, number, (size_t)snprintf(number, sizeof(number), "%llu", (unsigned long long)v));
        text += 3;
    }
}

size_t load_target_render(struct load_target *t, uint64_t index, char **buf, size_t *cap)
{
    static struct text body; /* scratch, kept between calls */
    struct text out = {*buf, 0, *cap};
    char line[160];
    append(&out, t->method, strlen(t->method));
    append(&out, " ", 1);
    append_template(t, index, t->path, &out);
    append(&out, line, (size_t)snprintf(line, sizeof(line), " HTTP/1.1\r\nhost: %s\r\n", t->host));
    body.len = 0;
    if (t->body) {
        append_template(t, index, t->body, &body);
        append(&out, line,
               (size_t)snprintf(line, sizeof(line),
                                "content-type: application/json\r\ncontent-length: %zu\r\n\r\n", body.len));
        append(&out, body.ptr, body.len);
    } else {
        append(&out, "\r\n", 2);
    }
    *buf = out.ptr;
    *cap = out.cap;
    return out.len;
}
