/* Requests for rows of another node, and their plans (query/remote.h). */
#include "query/remote.h"

#include "query/row_set.h"

#define FORMAT_VERSION 2u /* numbers of tables */

enum { FLAG_BY_ID = 1, FLAG_BY_OBJECT = 2, FLAG_LIVE_ONLY = 4 };

void scan_request_encode(struct writer *w, const struct scan_request *r)
{
    write_u8(w, FORMAT_VERSION);
    write_u8(w, (uint8_t)r->table);
    write_u8(w, (r->by_id ? FLAG_BY_ID : 0) | (r->by_object ? FLAG_BY_OBJECT : 0) |
                    (r->live_only ? FLAG_LIVE_ONLY : 0));
    write_u32le(w, r->partition);
    write_u64le(w, r->used);
    write_u64le(w, r->now_ms);
    if (r->by_id) {
        char text[INVOCATION_ID_TEXT + 1];
        invocation_id_format(r->id, text);
        write_lp(w, slice_cstr(text));
    }
    if (r->by_object) {
        write_lp(w, r->service);
        write_lp(w, r->key);
    }
}

bool scan_request_decode(struct slice in, struct scan_request *out)
{
    struct reader r = reader_make(in);
    *out = (struct scan_request){0};
    bool known = read_u8(&r) == FORMAT_VERSION;
    out->table = (enum sql_table_id)read_u8(&r);
    uint8_t flags = read_u8(&r);
    out->partition = read_u32le(&r);
    out->used = read_u64le(&r);
    out->now_ms = read_u64le(&r);
    out->by_id = flags & FLAG_BY_ID;
    out->by_object = flags & FLAG_BY_OBJECT;
    out->live_only = flags & FLAG_LIVE_ONLY;
    if (out->by_id && invocation_id_parse(read_lp(&r), &out->id) != ID_OK)
        return false;
    if (out->by_object) {
        out->service = read_lp(&r);
        out->key = read_lp(&r);
    }
    return known && reader_done(&r) && out->table <= TABLE_SYS_IDEMPOTENCY;
}

/* ---- the plan ---- */

static void put_string(struct writer *w, struct slice text)
{
    write_u8(w, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            write_u8(w, '\'');
        if (text.ptr[i])
            write_u8(w, text.ptr[i]);
    }
    write_u8(w, '\'');
}

static void put_condition(struct writer *w, const struct sql_table *t, const char *column, const char *op,
                          struct slice value, bool *any)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i].name, column) != 0)
            continue;
        write_fmt(w, "%sc%zu %s ", *any ? " AND " : " WHERE ", i, op);
        put_string(w, value);
        *any = true;
    }
}

void scan_request_plan(struct sql_plan *p, const struct scan_request *r)
{
    const struct sql_table *t = &sql_tables[r->table];
    *p = (struct sql_plan){.returns = true, .n_columns = t->n_columns};
    struct result_column *columns = arena_array(&p->arena, struct result_column, t->n_columns);
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < t->n_columns; i++) {
        columns[i] = (struct result_column){t->columns[i].name, t->columns[i].type, true};
        bool used = r->used >> MIN(i, (size_t)63) & 1;
        write_fmt(&w, used ? "%sc%zu" : "%sNULL", i ? ", " : "SELECT ", i);
    }
    write_fmt(&w, " FROM v%d", (int)r->table);
    bool any = false;
    char id[INVOCATION_ID_TEXT + 1];
    if (r->by_id) {
        invocation_id_format(r->id, id);
        put_condition(&w, t, sql_table_of_queue_entries(t->id) ? "entry_id" : "id", "=", slice_cstr(id),
                      &any);
    }
    if (r->by_object) {
        put_condition(&w, t, "service_name", "=", r->service, &any);
        put_condition(&w, t, "service_key", "=", r->key, &any);
    }
    if (r->live_only && sql_table_of_queue_entries(t->id))
        put_condition(&w, t, "stage", "!=", SLICE_LIT("finished"), &any);
    else if (r->live_only)
        put_condition(&w, t, "status", "!=", SLICE_LIT("completed"), &any);
    p->columns = columns;
    p->text = arena_copy_slice(&p->arena, writer_slice(&w));
    writer_free(&w);
}

static void encode_row(void *ctx, struct writer *w, const struct sql_value *values,
                       const struct result_column *columns, size_t n)
{
    struct row_set s = {.bytes = *w};
    for (size_t i = 0; i < n; i++)
        row_value(&s, &values[i]);
    *w = s.bytes;
}
const struct result_encoder row_set_encoder = {encode_row};
