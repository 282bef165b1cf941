/* Rows of what belongs to objects: inbox, locks (twice), promises, state (query/tables.h; spec/sql.md §3.4,
 * §3.7, §3.8, §3.11, §3.13). */
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

/* sys_locks: by which record a lock was taken is not kept, hence no acquired_at. */
static void named_lock_column(struct cursor *c, sqlite3_context *out, int column)
{
    if (column == 1) {
        out_text(out, c->row.scope);
    } else if (column == 2) {
        writer_reset(&c->text);
        write_slice_raw(&c->text, c->row.service);
        write_u8(&c->text, '/');
        write_slice_raw(&c->text, c->row.key);
        out_text(out, writer_slice(&c->text));
    } else if (column == 4) {
        out_id(out, c->row.id);
    }
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
    default:
        out_text(out, c->row.scope);
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
    default:
        out_text(out, c->row.scope);
        break;
    }
}

void object_column(struct cursor *c, sqlite3_context *out, int column)
{
    if (column == 0) {
        out_key(out, partition_key_of_key(c->row.scope.ptr ? c->row.scope : c->row.key));
        return;
    }
    switch (c->aux->table->id) {
    case TABLE_SYS_INBOX:
        inbox_column(c, out, column);
        break;
    case TABLE_SYS_KEYED_SERVICE_STATUS:
        lock_column(c, out, column);
        break;
    case TABLE_SYS_LOCKS:
        named_lock_column(c, out, column);
        break;
    case TABLE_SYS_PROMISE:
        promise_column(c, out, column);
        break;
    default:
        state_column(c, out, column);
    }
}
