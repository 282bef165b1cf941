/* The listener and its sessions (pgwire/server.h). */
#include "pgwire/server.h"

#include <stdlib.h>

#include "pgwire/session.h"

static void on_accept(void *ctx, struct net_conn *conn)
{
    struct pg_server *s = ctx;
    if (s->n_sessions >= 2 * PG_SESSIONS_MAX) /* those above PG_SESSIONS_MAX are told why, these are not */
        net_conn_close(conn);
    else
        pg_session_new(s, conn);
}

/* "host:port", the host also in brackets. */
static bool parse_address(const char *text, struct net_address *out)
{
    const char *colon = strrchr(text, ':');
    char *end;
    if (!colon)
        return false;
    unsigned long port = strtoul(colon + 1, &end, 10);
    size_t n = (size_t)(colon - text);
    if (*end || end == colon + 1 || port > 65535 || n >= sizeof(out->host))
        return false;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    *out = (struct net_address){.family = NET_TCP, .port = (uint16_t)port};
    memcpy(out->host, text, n);
    return n > 0;
}

enum rc pg_server_new(struct loop *loop, struct query_engine *engine, const char *address,
                      struct pg_server **out, struct err *err)
{
    static const struct net_listener_ops ops = {on_accept};
    struct net_address a;
    if (!parse_address(address, &a))
        return err_set(err, RC_INVALID, "admin.query-engine.pgsql-bind-address: \"%s\" is not host:port",
                       address);
    struct pg_server *s = xcalloc(1, sizeof(*s));
    s->loop = loop;
    s->engine = engine;
    list_init(&s->sessions);
    enum rc rc = net_listen(loop, &a, false, &ops, s, &s->listener, err);
    if (rc == RC_OK && (rc = net_listener_start(s->listener, err)) != RC_OK)
        net_listener_close(s->listener);
    if (rc != RC_OK) {
        free(s);
        return rc;
    }
    *out = s;
    return RC_OK;
}

void pg_server_address(const struct pg_server *s, struct net_address *out)
{
    net_listener_address(s->listener, out);
}

void pg_server_cancel(struct pg_server *s, uint32_t pid, uint32_t key)
{
    LIST_FOREACH(n, &s->sessions)
    {
        struct pg_session *x = CONTAINER_OF(n, struct pg_session, link);
        if (x->pid == pid && x->key == key) {
            pg_session_cancel(x);
            return;
        }
    }
}

void pg_server_free(struct pg_server *s)
{
    net_listener_close(s->listener);
    while (!list_empty(&s->sessions))
        pg_session_close(CONTAINER_OF(s->sessions.next, struct pg_session, link));
    free(s);
}
