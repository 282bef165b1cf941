/* One connection: start-up, taking messages, the end (pgwire/session.h; spec/sql.md §14.3). */
#include "pgwire/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void forget(struct pg_session *s)
{
    pg_session_drop_all(s);
    if (s->job)
        query_cancel(s->job);
    s->job = NULL;
    bytes_unref(&s->simple);
    s->simple = BYTES_EMPTY;
}

static void on_closed(void *ctx, const struct err *why)
{
    struct pg_session *s = ctx;
    forget(s);
    if (s->server) {
        list_remove(&s->link);
        s->server->n_sessions--;
    }
    writer_free(&s->in);
    writer_free(&s->out);
    free(s);
}

static void hang_up(struct pg_session *s)
{
    pg_session_flush(s);
    s->phase = PG_CLOSED;
    forget(s);
    net_conn_close(s->conn);
}

static void fatal(struct pg_session *s, const char *code, const char *message)
{
    struct pg_error e = {.fatal = true, .message = slice_cstr(message)};
    snprintf(e.code, sizeof(e.code), "%s", code);
    pg_error(&s->out, &e);
    hang_up(s);
}

void pg_session_flush(struct pg_session *s)
{
    if (s->out.len && s->phase != PG_CLOSED)
        net_conn_write(s->conn, writer_take(&s->out));
}

/* ---- start-up ---- */

/* Options of the protocol that begin with _pq_. are ours to refuse; so is a newer minor version. */
static void negotiate(struct pg_session *s, const struct pg_startup *m)
{
    if (m->code == PG_PROTOCOL && !m->unknown_options)
        return;
    size_t at = pg_begin(&s->out, 'v');
    write_u32be(&s->out, 0);
    write_u32be(&s->out, m->unknown_options);
    struct slice left = m->options, name, value;
    while (pg_option_next(&left, &name, &value))
        if (slice_starts_with(name, SLICE_LIT("_pq_.")))
            pg_text(&s->out, name);
    pg_end(&s->out, at);
}

static void welcome(struct pg_session *s)
{
    static const char *const parameters[][2] = {
        {"server_version", "15.0"}, {"server_encoding", "UTF8"},   {"client_encoding", "UTF8"},
        {"DateStyle", "ISO, MDY"},  {"integer_datetimes", "on"},   {"standard_conforming_strings", "on"},
        {"TimeZone", "UTC"},        {"IntervalStyle", "postgres"},
    };
    size_t at = pg_begin(&s->out, 'R');
    write_u32be(&s->out, 0);
    pg_end(&s->out, at);
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++)
        pg_parameter(&s->out, parameters[i][0], parameters[i][1]);
    at = pg_begin(&s->out, 'K');
    write_u32be(&s->out, s->pid);
    write_u32be(&s->out, s->key);
    pg_end(&s->out, at);
    pg_ready(&s->out, false);
    s->phase = PG_READY;
}

static void start_up(struct pg_session *s, const struct pg_startup *m)
{
    if (m->code == PG_REQUEST_SSL || m->code == PG_REQUEST_GSS) {
        write_u8(&s->out, 'N');
        return;
    }
    if (m->code == PG_REQUEST_CANCEL) {
        pg_server_cancel(s->server, m->cancel_pid, m->cancel_key);
        hang_up(s);
        return;
    }
    if (m->code >> 16 != 3) {
        fatal(s, "08P01", "unsupported frontend protocol");
        return;
    }
    if (s->server->n_sessions > PG_SESSIONS_MAX) {
        fatal(s, "53300", "sorry, too many clients already");
        return;
    }
    negotiate(s, m);
    welcome(s);
}

/* ---- messages ---- */

static void take(struct pg_session *s, const struct pg_message *m)
{
    struct slice text;
    switch (m->type) {
    case 'X':
        hang_up(s);
        break;
    case 'Q':
        s->skipping = false;
        if (!pg_text_read(m->body, &text)) {
            fatal(s, "08P01", "invalid query message");
            return;
        }
        s->simple = bytes_copy(text);
        s->simple_left = bytes_slice(s->simple);
        s->in_simple = true;
        s->simple_any = false;
        pg_simple_run(s);
        break;
    case 'S':
        s->skipping = false;
        pg_ready(&s->out, s->in_transaction);
        break;
    case 'H':
        break;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
        if (!s->skipping)
            pg_extended(s, m);
        break;
    case 'd': /* copying was never begun */
    case 'c':
    case 'f':
        break;
    default:
        fatal(s, "08P01", "invalid frontend message type");
    }
}

/* One message from the front of what has arrived; false: there is none yet, or this is the end. */
static bool next(struct pg_session *s, struct slice *in)
{
    size_t used = 0;
    struct pg_startup startup;
    struct pg_message message;
    bool starting = s->phase == PG_STARTING;
    enum rc rc = starting ? pg_startup_next(*in, &startup, &used) : pg_message_next(*in, &message, &used);
    if (rc == RC_AGAIN)
        return false;
    if (rc != RC_OK) {
        fatal(s, "08P01", rc == RC_TOO_LARGE ? "the message is too large" : "invalid message");
        return false;
    }
    *in = slice_sub(*in, used, in->len - used);
    if (starting)
        start_up(s, &startup);
    else
        take(s, &message);
    return s->phase != PG_CLOSED;
}

void pg_session_go_on(struct pg_session *s)
{
    struct slice in = writer_slice(&s->in);
    size_t before = in.len;
    while (s->phase != PG_RUNNING && s->phase != PG_CLOSED && next(s, &in))
        ;
    if (s->phase == PG_CLOSED)
        return;
    if (in.len < before) {
        if (in.len)
            memmove(s->in.buf->data, in.ptr, in.len);
        s->in.len = in.len;
    }
    pg_session_flush(s);
    if (s->phase == PG_RUNNING && s->in.len > PG_MESSAGE_MAX)
        net_conn_pause(s->conn);
    else
        net_conn_resume(s->conn);
}

static void on_read(void *ctx, struct bytes data)
{
    struct pg_session *s = ctx;
    if (s->phase == PG_CLOSED)
        return;
    write_slice_raw(&s->in, bytes_slice(data));
    if (s->phase != PG_RUNNING || s->in.len > PG_MESSAGE_MAX)
        pg_session_go_on(s);
}

static void on_drain(void *ctx)
{
    struct pg_session *s = ctx;
    if (s->job && s->held) {
        query_taken(s->job, s->held);
        s->held = 0;
    }
}

struct pg_session *pg_session_new(struct pg_server *server, struct net_conn *conn)
{
    static const struct net_conn_ops ops = {.on_read = on_read, .on_drain = on_drain, .on_closed = on_closed};
    struct pg_session *s = xcalloc(1, sizeof(*s));
    s->server = server;
    s->conn = conn;
    s->pid = ++server->next_pid;
    s->key = (uint32_t)env_random(loop_env(server->loop));
    list_init(&s->prepared);
    list_init(&s->portals);
    list_push_back(&server->sessions, &s->link);
    server->n_sessions++;
    net_conn_start(conn, &ops, s);
    return s;
}

void pg_session_close(struct pg_session *s)
{
    list_remove(&s->link);
    s->server = NULL;
    if (s->phase != PG_CLOSED)
        fatal(s, "57P01", "terminating connection due to administrator command");
}

void pg_session_cancel(struct pg_session *s)
{
    if (!s->job)
        return;
    query_cancel(s->job);
    s->job = NULL;
    s->held = 0;
    s->phase = PG_READY;
    pg_fail(s, "57014", "canceling statement due to user request");
    pg_session_go_on(s);
}
