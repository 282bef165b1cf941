/* Inside the room: one connection (pgwire/server.h). */
#pragma once
#include "pgwire/catalog.h"
#include "pgwire/message.h"
#include "pgwire/server.h"
#include "pgwire/value.h"

#define PG_STATEMENTS_MAX 1000u /* prepared ones, and portals, of a session */

struct pg_server {
    struct loop *loop;
    struct query_engine *engine;
    struct net_listener *listener;
    struct list sessions;
    size_t n_sessions;
    uint32_t next_pid;
    bool closing;
};

struct pg_prepared {
    struct list link;
    char *name;
    struct slice text; /* owned */
    uint32_t *oids;
    uint16_t n_oids;
    unsigned n_parameters;
};
struct pg_portal {
    struct list link;
    char *name;
    struct slice text; /* owned; parameters are in it */
    bool *formats;
    uint16_t n_formats;
};

enum pg_phase { PG_STARTING, PG_READY, PG_RUNNING, PG_CLOSED };
struct pg_session {
    struct pg_server *server;
    struct net_conn *conn;
    struct list link;
    enum pg_phase phase;
    uint32_t pid, key;
    bool in_transaction;
    bool skipping;    /* after an error of the extended protocol, up to Sync */
    struct writer in; /* bytes that were not taken yet */
    struct writer out;
    struct list prepared, portals;
    size_t n_prepared, n_portals;

    /* the text of a simple query, and where its next statement begins */
    struct bytes simple;
    struct slice simple_left;
    bool in_simple, simple_any;
    struct slice current; /* the statement that runs: part of `simple`, or of a portal */
    /* the query that runs */
    struct query_job *job;
    bool describe; /* send RowDescription before its rows */
    size_t held;
};

struct pg_session *pg_session_new(struct pg_server *s, struct net_conn *conn);
/* The server is being freed: end everything. */
void pg_session_close(struct pg_session *s);
/* Another connection asks to cancel what runs. */
void pg_session_cancel(struct pg_session *s);
void pg_server_cancel(struct pg_server *s, uint32_t pid, uint32_t key);

/* execute.c */
/* Go on with the statements of s->simple until one has to wait for its query. */
void pg_simple_run(struct pg_session *s);
void pg_extended(struct pg_session *s, const struct pg_message *m);
void pg_session_drop_all(struct pg_session *s);
/* Run what has arrived, until a query runs. */
void pg_session_go_on(struct pg_session *s);
void pg_session_flush(struct pg_session *s);
void pg_fail(struct pg_session *s, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
