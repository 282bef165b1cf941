/* What a client of the PostgreSQL endpoint may send: messages are cut and read without leaving their bytes,
 * texts are split and parameters put in without changing anything else. */
#include <stdlib.h>

#include "pgwire/catalog.h"
#include "pgwire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void statements_of(struct slice text)
{
    struct slice rest = text;
    size_t n = 0;
    for (;;) {
        struct slice s = pg_first_statement(rest, &rest);
        if (s.len == 0)
            break;
        ASSERT(s.ptr >= text.ptr && s.ptr + s.len <= text.ptr + text.len && ++n <= text.len);
        const char *tag;
        if (pg_classify(s, &tag) == PG_STATEMENT_LOCAL) {
            struct pg_local l;
            pg_local_answer(s, &l);
            struct reader r = reader_make(writer_slice(&l.rows.bytes));
            struct sql_value values[PG_LOCAL_COLUMNS];
            uint32_t rows = 0;
            while (row_read(&r, values, l.n_columns))
                rows++;
            ASSERT(reader_done(&r) && rows == l.rows.rows);
            pg_local_free(&l);
        }
    }
}

static void substitute(struct slice text, const struct pg_bind *b)
{
    struct writer w = WRITER_INIT;
    struct pg_parameters p = {b ? b->values : NULL, b ? b->n_values : 0, NULL, 0};
    unsigned highest;
    char code[6] = "";
    struct err err = {0};
    if (!pg_substitute(&w, text, &p, &highest, code, &err))
        ASSERT(code[0] && err.msg[0]);
    else if (highest == 0)
        ASSERT(slice_eq(writer_slice(&w), text));
    writer_free(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_make(data, size);
    struct pg_startup startup;
    struct pg_message m;
    size_t used;
    if (pg_startup_next(in, &startup, &used) == RC_OK)
        ASSERT(used <= in.len);
    struct pg_parse *parse = malloc(sizeof(*parse));
    struct pg_bind *bind = malloc(sizeof(*bind));
    while (pg_message_next(in, &m, &used) == RC_OK) {
        ASSERT(used >= 5 && used <= in.len);
        in = slice_sub(in, used, in.len - used);
        struct slice text;
        char kind;
        uint32_t rows;
        bool bound = pg_bind_read(m.body, bind);
        if (pg_parse_read(m.body, parse))
            substitute(parse->text, bound ? bind : NULL);
        pg_target_read(m.body, &kind, &text);
        pg_execute_read(m.body, &text, &rows);
        if (pg_text_read(m.body, &text))
            statements_of(text);
    }
    substitute(in, NULL);
    statements_of(in);
    free(parse);
    free(bind);
    return 0;
}
