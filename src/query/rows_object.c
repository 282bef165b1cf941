/* Rows of what belongs to objects: inbox, locks, promises, state (query/tables.h; spec/sql.md §3.4, §3.7,
 * §3.8, §3.11). */
#include "query/tables.h"

bool object_row_next(struct cursor *c)
{
    while (store_scan_row(c->request.scan, &c->row))
        if (c->aux->table->id != TABLE_SYS_INBOX || c->row.inbox == INBOX_INVOCATION)
            return true; /* state mutations that wait in an inbox are not listed */
    return false;
}

static void inbox_column(struct cursor *c, sqlite3_context *out, int column)
{
    switch (column) {
    case 1:
        out_text(out, c->row.service);
        break;
    case 2:
        out_text(out, c->row.key);
        break;
    case 3:
        out_id(out, c->row.id);
        break;
    case 4:
        sqlite3_result_int64(out, (sqlite3_int64)c->row.seq);
        break;
    default: /* created_at: never known */
        break;
    }
}

static void lock_column(struct cursor *c, sqlite3_context *out, int column)
{
    if (column == 3)
        out_id(out, c->row.id);
    else
        out_text(out, column == 1 ? c->row.service : c->row.key);
}

static void promise_column(struct cursor *c, sqlite3_context *out, int column)
{
    const struct outcome *o = &c->row.outcome;
    struct failure_view f;
    switch (column) {
    case 2:
        out_text(out, c->row.service);
        break;
    case 3:
        out_text(out, c->row.key);
        break;
    case 4:
        out_text(out, c->row.name);
        break;
    case 5:
        sqlite3_result_int(out, o->kind != OUTCOME_NONE);
        break;
    case 6:
        if (o->kind == OUTCOME_SUCCESS)
            out_blob(out, o->value);
        break;
    case 7:
        if (o->kind == OUTCOME_SUCCESS)
            out_utf8(out, o->value);
        break;
    case 8:
        if (o->kind == OUTCOME_FAILURE && failure_parse(o->value, &f))
            out_failure(out, &c->text, f.code, f.message, true);
        break;
    default: /* scope */
        break;
    }
}

static void state_column(struct cursor *c, sqlite3_context *out, int column)
{
    switch (column) {
    case 2:
        out_text(out, c->row.service);
        break;
    case 3:
        out_text(out, c->row.key);
        break;
    case 4:
        out_utf8(out, c->row.name);
        break;
    case 5:
        sqlite3_result_int64(out, (sqlite3_int64)c->row.name.len);
        break;
    case 6:
        out_utf8(out, c->row.value);
        break;
    case 7:
        out_blob(out, c->row.value);
        break;
    case 8:
        sqlite3_result_int64(out, (sqlite3_int64)c->row.value.len);
        break;
    default: /* scope */
        break;
    }
}

void object_column(struct cursor *c, sqlite3_context *out, int column)
{
    if (column == 0) {
        out_key(out, partition_key_of_key(c->row.key));
        return;
    }
    switch (c->aux->table->id) {
    case TABLE_SYS_INBOX:
        inbox_column(c, out, column);
        break;
    case TABLE_SYS_KEYED_SERVICE_STATUS:
        lock_column(c, out, column);
        break;
    case TABLE_SYS_PROMISE:
        promise_column(c, out, column);
        break;
    default:
        state_column(c, out, column);
    }
}
