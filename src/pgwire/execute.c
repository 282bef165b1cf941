/* Statements and what becomes of them: the simple and the extended protocol (pgwire/session.h; spec/sql.md
 * §14.4, §14.5). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "pgwire/session.h"

/* ---- errors ---- */

static bool message_has(const struct sql_error *e, const char *text)
{
    return strstr(e->message, text) != NULL;
}

static const char *sqlstate(const struct sql_error *e)
{
    switch (e->kind) {
    case SQL_ERROR_PARSE:
        return "42601";
    case SQL_ERROR_SCHEMA:
        return message_has(e, "Ambiguous") ? "42702" : "42703";
    case SQL_ERROR_NOT_IMPLEMENTED:
        return "0A000";
    case SQL_ERROR_PLAN:
    case SQL_ERROR_PLAN_POSITION:
        if (message_has(e, "DML not supported: COPY"))
            return "0A000";
        return message_has(e, "' not found")                                    ? "42P01"
               : message_has(e, "Invalid function")                             ? "42883"
               : message_has(e, "DDL not supp") || message_has(e, "DML not su") ? "25006"
               : message_has(e, "must be in GROUP BY")                          ? "42803"
                                                                                : "42601";
    case SQL_ERROR_EXECUTION:
        return message_has(e, "Divide by zero")                                     ? "22012"
               : message_has(e, "Cast error") || message_has(e, "non valid invoca") ? "22P02"
                                                                                    : "XX000";
    case SQL_ERROR_RESOURCES:
        return message_has(e, "ran for more") ? "57014" : "53200";
    case SQL_ERROR_CANCELED:
        return "57014";
    case SQL_ERROR_UNAVAILABLE:
        return message_has(e, "Rate") ? "53400" : "53300";
    default:
        return "XX000";
    }
}

/* "... at Line: 1, Column: 8" of the statement as characters from the beginning of the whole text, of which
 * it is a part; 0: not said. */
static uint32_t position_of(const struct sql_error *e, struct slice whole, struct slice text)
{
    unsigned line, column;
    const char *at = NULL;
    for (const char *p = e->message; (p = strstr(p, " at Line: ")); p++)
        at = p;
    if (!at || sscanf(at, " at Line: %u, Column: %u", &line, &column) != 2)
        return 0;
    uint32_t position = 0;
    for (const uint8_t *p = whole.ptr; p && text.ptr && p < text.ptr; p++)
        position += (*p & 0xc0) != 0x80;
    for (size_t i = 0; i < text.len && line > 1; i++) {
        position += (text.ptr[i] & 0xc0) != 0x80;
        line -= text.ptr[i] == '\n';
    }
    return position + column;
}

static void end_simple(struct pg_session *s)
{
    s->in_simple = false;
    s->current = SLICE_EMPTY;
    bytes_unref(&s->simple);
    s->simple = BYTES_EMPTY;
    pg_ready(&s->out, s->in_transaction);
}

/* What follows an error: in the simple protocol the rest of the text is dropped, in the extended one
 * everything up to Sync. */
static void after_error(struct pg_session *s)
{
    if (s->in_simple)
        end_simple(s);
    else
        s->skipping = true;
}

void pg_fail(struct pg_session *s, const char *code, const char *fmt, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    struct pg_error e = {.message = slice_cstr(text)};
    snprintf(e.code, sizeof(e.code), "%s", code);
    pg_error(&s->out, &e);
    after_error(s);
}

static void fail_sql(struct pg_session *s, const struct sql_error *err, struct slice text)
{
    struct writer w = WRITER_INIT;
    sql_error_write(&w, err, false);
    struct pg_error e = {.message = writer_slice(&w),
                         .position = position_of(err, s->in_simple ? bytes_slice(s->simple) : text, text)};
    snprintf(e.code, sizeof(e.code), "%s", sqlstate(err));
    pg_error(&s->out, &e);
    writer_free(&w);
    after_error(s);
}

/* ---- formats of results ---- */

/* Lives as long as the query. */
struct row_format {
    bool *given, *binary; /* binary: per column, filled in with the first row */
    uint16_t n_given;
};

static bool *formats_of(const bool *given, uint16_t n_given, size_t columns)
{
    bool *out = xcalloc(columns + 1, sizeof(bool));
    for (size_t i = 0; i < columns; i++)
        out[i] = n_given == 1 ? given[0] : i < n_given && given[i];
    return out;
}

static void encode_row(void *ctx, struct writer *w, const struct sql_value *values,
                       const struct result_column *columns, size_t n)
{
    struct row_format *f = ctx;
    if (!f->binary)
        f->binary = formats_of(f->given, f->n_given, n);
    pg_data_row(w, values, columns, n, f->binary);
}

static void row_format_free(void *ctx)
{
    struct row_format *f = ctx;
    free(f->given);
    free(f->binary);
    free(f);
}

/* ---- a query of the engine ---- */

static void on_columns(void *ctx, const struct sql_plan *plan)
{
    struct pg_session *s = ctx;
    if (s->describe)
        pg_row_description(&s->out, plan->columns, plan->n_columns, NULL);
}

static void on_data(void *ctx, struct bytes take)
{
    struct pg_session *s = ctx;
    size_t n = take.len;
    pg_session_flush(s);
    net_conn_write(s->conn, take);
    if (net_conn_write_pending(s->conn) > NET_HIGH_WATER)
        s->held += n;
    else
        query_taken(s->job, n);
}

static void on_end(void *ctx, const struct sql_error *err, uint64_t rows, unsigned retry_after_s)
{
    struct pg_session *s = ctx;
    s->job = NULL;
    s->held = 0;
    s->phase = PG_READY;
    if (err->kind != SQL_ERROR_NONE) {
        fail_sql(s, err, s->current);
    } else {
        char tag[40];
        snprintf(tag, sizeof(tag), "SELECT %llu", (unsigned long long)rows);
        pg_tag(&s->out, tag);
    }
    pg_simple_run(s);
    pg_session_go_on(s);
}

static void start_query(struct pg_session *s, struct slice sql, const bool *formats, uint16_t n_formats,
                        bool describe)
{
    static const struct query_events events = {
        .on_columns = on_columns, .on_data = on_data, .on_end = on_end};
    static const struct result_encoder encoder = {encode_row};
    struct row_format *f = xcalloc(1, sizeof(*f));
    f->given = formats_of(formats, n_formats, n_formats);
    f->n_given = n_formats;
    struct query_request request = {.sql = sql,
                                    .context = SQL_CONTEXT_ADMIN,
                                    .format = RESULT_CUSTOM,
                                    .encoder = &encoder,
                                    .encoder_ctx = f,
                                    .encoder_free = row_format_free};
    s->describe = describe;
    s->phase = PG_RUNNING;
    s->job = query_start(s->server->engine, &request, &events, s);
}

/* ---- what is answered here ---- */

static void local_result(struct pg_session *s, struct slice sql, const bool *formats, uint16_t n_formats,
                         bool describe)
{
    struct pg_local l;
    pg_local_answer(sql, &l);
    bool *binary = formats_of(formats, n_formats, l.n_columns);
    if (describe)
        pg_row_description(&s->out, l.columns, l.n_columns, NULL);
    struct reader r = reader_make(writer_slice(&l.rows.bytes));
    struct sql_value values[PG_LOCAL_COLUMNS];
    while (row_read(&r, values, l.n_columns))
        pg_data_row(&s->out, values, l.columns, l.n_columns, binary);
    char tag[40];
    snprintf(tag, sizeof(tag), "SELECT %u", l.rows.rows);
    free(binary);
    pg_local_free(&l);
    pg_tag(&s->out, tag);
}

static void only_tag(struct pg_session *s, const char *tag)
{
    if (strcmp(tag, "BEGIN") == 0)
        s->in_transaction = true;
    else if (strcmp(tag, "COMMIT") == 0 || strcmp(tag, "ROLLBACK") == 0)
        s->in_transaction = false;
    pg_tag(&s->out, tag);
}

static void execute(struct pg_session *s, struct slice sql, const bool *formats, uint16_t n_formats,
                    bool describe)
{
    const char *tag = NULL;
    s->current = sql;
    switch (pg_classify(sql, &tag)) {
    case PG_STATEMENT_EMPTY:
        pg_empty(&s->out, 'I');
        break;
    case PG_STATEMENT_TAG:
        only_tag(s, tag);
        break;
    case PG_STATEMENT_LOCAL:
        local_result(s, sql, formats, n_formats, describe);
        break;
    case PG_STATEMENT_UNKNOWN:
        pg_fail(s, "42P01", "this statement about pg_catalog is not supported; use DESCRIBE and SHOW TABLES");
        break;
    case PG_STATEMENT_QUERY:
        start_query(s, sql, formats, n_formats, describe);
    }
}

/* ---- the simple protocol ---- */

static void simple_step(struct pg_session *s)
{
    struct slice rest, sql = pg_first_statement(s->simple_left, &rest);
    s->simple_left = rest;
    if (sql.len) {
        s->simple_any = true;
        execute(s, sql, NULL, 0, true);
        return;
    }
    if (!s->simple_any)
        pg_empty(&s->out, 'I');
    end_simple(s);
}

void pg_simple_run(struct pg_session *s)
{
    while (s->in_simple && s->phase == PG_READY)
        simple_step(s);
}

/* ---- prepared statements and portals ---- */

static struct pg_prepared *find_prepared(const struct pg_session *s, struct slice name)
{
    LIST_FOREACH(n, &s->prepared)
    {
        struct pg_prepared *p = CONTAINER_OF(n, struct pg_prepared, link);
        if (slice_eq_cstr(name, p->name))
            return p;
    }
    return NULL;
}

static struct pg_portal *find_portal(const struct pg_session *s, struct slice name)
{
    LIST_FOREACH(n, &s->portals)
    {
        struct pg_portal *p = CONTAINER_OF(n, struct pg_portal, link);
        if (slice_eq_cstr(name, p->name))
            return p;
    }
    return NULL;
}

static void drop_prepared(struct pg_session *s, struct pg_prepared *p)
{
    list_remove(&p->link);
    s->n_prepared--;
    free(p->name);
    free((void *)p->text.ptr);
    free(p->oids);
    free(p);
}

static void drop_portal(struct pg_session *s, struct pg_portal *p)
{
    list_remove(&p->link);
    s->n_portals--;
    free(p->name);
    free((void *)p->text.ptr);
    free(p->formats);
    free(p);
}

void pg_session_drop_all(struct pg_session *s)
{
    while (!list_empty(&s->prepared))
        drop_prepared(s, CONTAINER_OF(s->prepared.next, struct pg_prepared, link));
    while (!list_empty(&s->portals))
        drop_portal(s, CONTAINER_OF(s->portals.next, struct pg_portal, link));
}

static struct slice keep(struct slice text)
{
    return slice_make(slice_dup_cstr(text), text.len);
}

static void parse(struct pg_session *s, struct slice body)
{
    struct pg_parse m;
    if (!pg_parse_read(body, &m)) {
        pg_fail(s, "08P01", "invalid Parse message");
        return;
    }
    struct pg_prepared *old = find_prepared(s, m.name);
    if (old && m.name.len) {
        pg_fail(s, "42P05", "prepared statement \"%.*s\" already exists", (int)MIN(m.name.len, (size_t)200),
                m.name.ptr);
        return;
    }
    if (old)
        drop_prepared(s, old);
    if (s->n_prepared >= PG_STATEMENTS_MAX) {
        pg_fail(s, "53400", "too many prepared statements");
        return;
    }
    struct writer scratch = WRITER_INIT;
    struct pg_parameters none = {0};
    unsigned parameters;
    char code[6] = "";
    struct err err = {0};
    bool ok = pg_substitute(&scratch, m.text, &none, &parameters, code, &err);
    writer_free(&scratch);
    if (!ok) {
        pg_fail(s, code, "%s", err.msg);
        return;
    }
    struct pg_prepared *p = xcalloc(1, sizeof(*p));
    p->name = slice_dup_cstr(m.name);
    p->text = keep(m.text);
    p->n_oids = m.n_oids;
    p->oids = xcalloc(m.n_oids + 1u, sizeof(uint32_t));
    memcpy(p->oids, m.oids, m.n_oids * sizeof(uint32_t));
    p->n_parameters = parameters;
    list_push_back(&s->prepared, &p->link);
    s->n_prepared++;
    pg_empty(&s->out, '1');
}

static void bind(struct pg_session *s, struct slice body)
{
    struct pg_bind *m = xmalloc(sizeof(*m));
    if (!pg_bind_read(body, m)) {
        free(m);
        pg_fail(s, "08P01", "invalid Bind message");
        return;
    }
    struct pg_prepared *p = find_prepared(s, m->statement);
    struct pg_portal *old = find_portal(s, m->portal);
    if (p && old && m->portal.len == 0) {
        drop_portal(s, old);
        old = NULL;
    }
    struct writer text = WRITER_INIT;
    struct pg_parameters values = {m->values, m->n_values, p ? p->oids : NULL, p ? p->n_oids : 0};
    unsigned highest;
    char code[6] = "";
    struct err err = {0};
    if (!p) {
        pg_fail(s, "26000", "prepared statement \"%.*s\" does not exist",
                (int)MIN(m->statement.len, (size_t)200), m->statement.ptr);
    } else if (old) {
        pg_fail(s, "42P03", "portal \"%.*s\" already exists", (int)MIN(m->portal.len, (size_t)200),
                m->portal.ptr);
    } else if (s->n_portals >= PG_STATEMENTS_MAX) {
        pg_fail(s, "53400", "too many portals");
    } else if (!pg_substitute(&text, p->text, &values, &highest, code, &err)) {
        pg_fail(s, code, "%s", err.msg);
    } else {
        struct pg_portal *portal = xcalloc(1, sizeof(*portal));
        portal->name = slice_dup_cstr(m->portal);
        portal->text = keep(writer_slice(&text));
        portal->n_formats = m->n_formats;
        portal->formats = formats_of(m->formats, m->n_formats, m->n_formats);
        list_push_back(&s->portals, &portal->link);
        s->n_portals++;
        pg_empty(&s->out, '2');
    }
    writer_free(&text);
    free(m);
}

/* RowDescription or NoData of a statement without parameters. */
static void describe_text(struct pg_session *s, struct slice sql, const bool *formats, uint16_t n_formats)
{
    const char *tag;
    struct pg_local l;
    struct sql_plan plan;
    struct sql_error err;
    bool *binary;
    switch (pg_classify(sql, &tag)) {
    case PG_STATEMENT_LOCAL:
        pg_local_answer(sql, &l);
        binary = formats_of(formats, n_formats, l.n_columns);
        pg_row_description(&s->out, l.columns, l.n_columns, binary);
        free(binary);
        pg_local_free(&l);
        break;
    case PG_STATEMENT_QUERY:
        if (!sql_plan_make(&plan, sql, SQL_CONTEXT_ADMIN, 0, &err)) {
            fail_sql(s, &err, sql);
        } else {
            binary = formats_of(formats, n_formats, plan.n_columns);
            pg_row_description(&s->out, plan.columns, plan.n_columns, binary);
            free(binary);
        }
        sql_plan_free(&plan);
        break;
    default:
        pg_empty(&s->out, 'n');
    }
}

/* The types that the client left open follow from where the parameters stand. */
static void infer_parameters(struct pg_prepared *p)
{
    const char *tag;
    if (p->n_parameters == 0 || pg_classify(p->text, &tag) != PG_STATEMENT_QUERY)
        return;
    if (p->n_oids < p->n_parameters) {
        p->oids = xrealloc(p->oids, p->n_parameters * sizeof(uint32_t));
        for (; p->n_oids < p->n_parameters; p->n_oids++)
            p->oids[p->n_oids] = 0;
    }
    struct sql_plan plan;
    struct sql_error err; /* what is wrong with it, the description says */
    enum sql_type *types = xcalloc(p->n_parameters, sizeof(*types));
    if (sql_plan_describe(&plan, p->text, SQL_CONTEXT_ADMIN, types, p->n_parameters, &err))
        for (unsigned i = 0; i < p->n_parameters; i++)
            if (p->oids[i] == 0 && types[i] != SQL_NULL)
                p->oids[i] = pg_type_of(types[i]);
    sql_plan_free(&plan);
    free(types);
}

static void describe_prepared(struct pg_session *s, struct pg_prepared *p)
{
    infer_parameters(p);
    size_t at = pg_begin(&s->out, 't');
    write_u16be(&s->out, (uint16_t)p->n_parameters);
    for (unsigned i = 0; i < p->n_parameters; i++)
        write_u32be(&s->out, i < p->n_oids && p->oids[i] ? p->oids[i] : PG_VARCHAR);
    pg_end(&s->out, at);
    struct writer text = WRITER_INIT;
    struct pg_parameters none = {0};
    unsigned highest;
    char code[6];
    struct err err = {0};
    pg_substitute(&text, p->text, &none, &highest, code, &err); /* Parse has done it already */
    describe_text(s, writer_slice(&text), NULL, 0);
    writer_free(&text);
}

static void describe(struct pg_session *s, struct slice body)
{
    char kind;
    struct slice name;
    if (!pg_target_read(body, &kind, &name)) {
        pg_fail(s, "08P01", "invalid Describe message");
        return;
    }
    struct pg_prepared *p = kind == 'S' ? find_prepared(s, name) : NULL;
    const struct pg_portal *portal = kind == 'P' ? find_portal(s, name) : NULL;
    if (p)
        describe_prepared(s, p);
    else if (portal)
        describe_text(s, portal->text, portal->formats, portal->n_formats);
    else
        pg_fail(s, kind == 'S' ? "26000" : "34000", "\"%.*s\" does not exist",
                (int)MIN(name.len, (size_t)200), name.ptr);
}

static void close_one(struct pg_session *s, struct slice body)
{
    char kind;
    struct slice name;
    if (!pg_target_read(body, &kind, &name)) {
        pg_fail(s, "08P01", "invalid Close message");
        return;
    }
    struct pg_prepared *p = kind == 'S' ? find_prepared(s, name) : NULL;
    struct pg_portal *portal = kind == 'P' ? find_portal(s, name) : NULL;
    if (p)
        drop_prepared(s, p);
    if (portal)
        drop_portal(s, portal);
    pg_empty(&s->out, '3');
}

void pg_extended(struct pg_session *s, const struct pg_message *m)
{
    struct slice name;
    uint32_t max_rows; /* all rows are sent whatever it says (spec/sql.md §14.5) */
    const struct pg_portal *portal;
    switch (m->type) {
    case 'P':
        parse(s, m->body);
        break;
    case 'B':
        bind(s, m->body);
        break;
    case 'D':
        describe(s, m->body);
        break;
    case 'C':
        close_one(s, m->body);
        break;
    default:
        if (!pg_execute_read(m->body, &name, &max_rows))
            pg_fail(s, "08P01", "invalid Execute message");
        else if (!(portal = find_portal(s, name)))
            pg_fail(s, "34000", "portal \"%.*s\" does not exist", (int)MIN(name.len, (size_t)200), name.ptr);
        else
            execute(s, portal->text, portal->formats, portal->n_formats, false);
    }
}
