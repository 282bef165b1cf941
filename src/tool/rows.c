/* Rows of an SQL answer: see rows.h. */
#include "tool/rows.h"

void rows_begin(struct rows *r, struct tool *t)
{
    enum rows_form form = tool_flag(t, "json")    ? ROWS_JSON
                          : tool_flag(t, "jsonl") ? ROWS_JSON_LINES
                                                  : ROWS_TABLE;
    *r = (struct rows){.t = t, .form = form, .reader = {.arena = &t->arena}};
    if (form == ROWS_TABLE)
        r->table = table_new(t, "rows");
}

static void header(struct rows *r)
{
    for (size_t i = 0; i < r->reader.schema.n; i++) {
        char *name = arena_copy_text(&r->t->arena, r->reader.schema.fields[i].name);
        for (char *p = name; *p; p++)
            if (*p >= 'a' && *p <= 'z')
                *p = (char)(*p - 'a' + 'A');
        table_column(r->table, name);
    }
}

static void to_table(struct rows *r, const struct arrow_batch *b)
{
    struct writer w = WRITER_INIT;
    for (size_t row = 0; row < b->rows; row++) {
        table_row(r->table);
        for (size_t i = 0; i < r->reader.schema.n; i++) {
            writer_reset(&w);
            arrow_print(&w, &b->columns[i], row, false);
            table_text(r->table, STYLE_PLAIN, arena_copy_slice(&r->t->arena, writer_slice(&w)));
        }
    }
    writer_free(&w);
}

static void to_json(struct rows *r, const struct arrow_batch *b)
{
    struct writer *w = &r->t->out;
    bool lines = r->form == ROWS_JSON_LINES;
    for (size_t row = 0; row < b->rows; row++) {
        bool first = true;
        write_fmt(w, "%s{", lines ? "" : r->count + row ? "," : "[");
        for (size_t i = 0; i < r->reader.schema.n; i++) {
            if (arrow_is_null(&b->columns[i], row))
                continue;
            write_fmt(w, "%s", first ? "" : ",");
            first = false;
            write_json_string(w, slice_cstr(r->reader.schema.fields[i].name));
            write_u8(w, ':');
            arrow_print(w, &b->columns[i], row, true);
        }
        write_fmt(w, "}%s", lines ? "\n" : "");
    }
    tool_flush(r->t);
}

void rows_take(struct rows *r, struct slice in)
{
    while (r->err.rc == RC_OK) {
        struct arrow_batch batch;
        size_t before = in.len;
        bool had_schema = r->reader.has_schema;
        enum rc rc = arrow_next(&r->reader, &in, &batch, &r->err);
        if (!had_schema && r->reader.has_schema && r->table)
            header(r);
        if (rc == RC_EOF || (rc == RC_AGAIN && in.len == before))
            return;
        if (rc != RC_OK)
            continue; /* the schema, or an error */
        if (r->table)
            to_table(r, &batch);
        else
            to_json(r, &batch);
        r->count += batch.rows;
    }
}

bool rows_end(struct rows *r)
{
    if (r->form == ROWS_JSON)
        write_fmt(&r->t->out, r->count ? "]" : "[]");
    if (r->table && r->count) {
        table_print(r->table);
        tool_say(r->t, "\n");
    }
    tool_flush(r->t);
    return r->err.rc == RC_OK;
}

void rows_duration(struct writer *w, uint64_t ns)
{
    if (ns >= UINT64_C(1000000000))
        write_fmt(w, "%.9gs", (double)ns / 1e9);
    else if (ns >= 1000000)
        write_fmt(w, "%.9gms", (double)ns / 1e6);
    else
        write_fmt(w, "%.6gµs", (double)ns / 1e3);
}

void rows_say_took(const struct rows *r, uint64_t ns)
{
    struct writer took = WRITER_INIT;
    rows_duration(&took, ns);
    fprintf(stderr, "%llu rows. Query took %.*s\n", (unsigned long long)r->count,
            SLICE_FMT(writer_slice(&took)));
    writer_free(&took);
}
