/* PostgreSQL's protocol over TCP, for psql and drivers: the tables of the admin context, read only, without
 * authentication or TLS (spec/sql.md §14). Everything on one loop. */
#pragma once
#include "loop/net.h"
#include "query/engine.h"

#define PG_SESSIONS_MAX 200u

struct pg_server;
/* `address`: "host:port". RC_INVALID, or RC_IO with a sentence if it is taken. Accepts at once. */
enum rc pg_server_new(struct loop *loop, struct query_engine *engine, const char *address,
                      struct pg_server **out, struct err *err);
void pg_server_address(const struct pg_server *s, struct net_address *out);
/* No new connections, running queries end, everybody is told. The sockets report their end in another
 * iteration of the loop. */
void pg_server_free(struct pg_server *s);
