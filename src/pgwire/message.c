/* Messages of the PostgreSQL protocol (pgwire/message.h). */
#include "pgwire/message.h"

#include <stdio.h>

/* Up to the NUL, which is taken too. */
static bool take_text(struct reader *r, struct slice *out)
{
    const uint8_t *end = memchr(r->p, 0, reader_left(r));
    if (!end || r->failed) {
        r->failed = true;
        return false;
    }
    *out = read_raw(r, (size_t)(end - r->p));
    read_u8(r);
    return true;
}

enum rc pg_startup_next(struct slice in, struct pg_startup *out, size_t *used)
{
    *out = (struct pg_startup){0};
    if (in.len < 8)
        return RC_AGAIN;
    uint32_t len = get_u32be(in.ptr);
    if (len < 8 || len > PG_STARTUP_MAX)
        return RC_INVALID;
    if (in.len < len)
        return RC_AGAIN;
    *used = len;
    struct reader r = reader_make(slice_sub(in, 4, len - 4));
    out->code = read_u32be(&r);
    if (out->code == PG_REQUEST_CANCEL) {
        out->cancel_pid = read_u32be(&r);
        out->cancel_key = read_u32be(&r);
        return reader_done(&r) ? RC_OK : RC_INVALID;
    }
    if (out->code >> 16 != 3)
        return RC_OK;
    out->options = slice_make(r.p, reader_left(&r));
    struct slice left = out->options, name, value;
    while (pg_option_next(&left, &name, &value))
        out->unknown_options += slice_starts_with(name, SLICE_LIT("_pq_."));
    return left.len == 1 && left.ptr[0] == 0 ? RC_OK : RC_INVALID;
}

bool pg_option_next(struct slice *options, struct slice *name, struct slice *value)
{
    struct reader r = reader_make(*options);
    if (reader_left(&r) < 2 || r.p[0] == 0 || !take_text(&r, name) || !take_text(&r, value))
        return false;
    *options = slice_make(r.p, reader_left(&r));
    return true;
}

enum rc pg_message_next(struct slice in, struct pg_message *out, size_t *used)
{
    if (in.len < 5)
        return RC_AGAIN;
    uint32_t len = get_u32be(in.ptr + 1);
    if (len < 4)
        return RC_INVALID;
    if (len > PG_MESSAGE_MAX)
        return RC_TOO_LARGE;
    if (in.len < 1 + (size_t)len)
        return RC_AGAIN;
    *out = (struct pg_message){(char)in.ptr[0], slice_sub(in, 5, len - 4)};
    *used = 1 + (size_t)len;
    return RC_OK;
}

bool pg_parse_read(struct slice body, struct pg_parse *out)
{
    struct reader r = reader_make(body);
    if (!take_text(&r, &out->name) || !take_text(&r, &out->text))
        return false;
    out->n_oids = read_u16be(&r);
    if (out->n_oids > PG_PARAMETERS_MAX)
        return false;
    for (size_t i = 0; i < out->n_oids; i++)
        out->oids[i] = read_u32be(&r);
    return reader_done(&r);
}

/* A count and as many format codes; what they mean for item `i`. */
struct formats {
    uint16_t n;
    struct slice codes;
};
static bool take_formats(struct reader *r, struct formats *f)
{
    f->n = read_u16be(r);
    f->codes = read_raw(r, 2u * f->n);
    return !r->failed && f->n <= 2 * PG_PARAMETERS_MAX;
}
static bool is_binary(const struct formats *f, size_t i)
{
    if (f->n == 1)
        i = 0;
    return i < f->n && get_u16be(f->codes.ptr + 2 * i) == 1;
}

bool pg_bind_read(struct slice body, struct pg_bind *out)
{
    struct reader r = reader_make(body);
    struct formats in, results;
    if (!take_text(&r, &out->portal) || !take_text(&r, &out->statement) || !take_formats(&r, &in))
        return false;
    out->n_values = read_u16be(&r);
    if (r.failed || out->n_values > PG_PARAMETERS_MAX || (in.n > 1 && in.n != out->n_values))
        return false;
    for (size_t i = 0; i < out->n_values; i++) {
        int32_t len = (int32_t)read_u32be(&r);
        out->values[i] = (struct pg_value){.binary = is_binary(&in, i)};
        if (len < -1)
            return false;
        if (len >= 0) {
            out->values[i].bytes = read_raw(&r, (size_t)len);
            if (!out->values[i].bytes.ptr)
                out->values[i].bytes.ptr = (const uint8_t *)"";
        }
    }
    if (!take_formats(&r, &results) || !reader_done(&r))
        return false;
    out->n_formats = results.n;
    for (size_t i = 0; i < results.n; i++)
        out->formats[i] = is_binary(&results, i);
    return true;
}

bool pg_target_read(struct slice body, char *kind, struct slice *name)
{
    struct reader r = reader_make(body);
    *kind = (char)read_u8(&r);
    return take_text(&r, name) && reader_done(&r) && (*kind == 'S' || *kind == 'P');
}

bool pg_execute_read(struct slice body, struct slice *portal, uint32_t *max_rows)
{
    struct reader r = reader_make(body);
    if (!take_text(&r, portal))
        return false;
    *max_rows = read_u32be(&r);
    return reader_done(&r);
}

bool pg_text_read(struct slice body, struct slice *text)
{
    struct reader r = reader_make(body);
    return take_text(&r, text) && reader_done(&r);
}

/* ---- writing ---- */

size_t pg_begin(struct writer *w, char type)
{
    write_u8(w, (uint8_t)type);
    size_t at = w->len;
    write_u32be(w, 0);
    return at;
}

void pg_end(struct writer *w, size_t begin)
{
    put_u32be(w->buf->data + begin, (uint32_t)(w->len - begin));
}

void pg_text(struct writer *w, struct slice text)
{
    const uint8_t *nul = text.len ? memchr(text.ptr, 0, text.len) : NULL;
    write_slice_raw(w, nul ? slice_sub(text, 0, (size_t)(nul - text.ptr)) : text);
    write_u8(w, 0);
}

void pg_empty(struct writer *w, char type)
{
    pg_end(w, pg_begin(w, type));
}

void pg_ready(struct writer *w, bool in_transaction)
{
    size_t at = pg_begin(w, 'Z');
    write_u8(w, in_transaction ? 'T' : 'I');
    pg_end(w, at);
}

void pg_tag(struct writer *w, const char *tag)
{
    size_t at = pg_begin(w, 'C');
    pg_text(w, slice_cstr(tag));
    pg_end(w, at);
}

void pg_parameter(struct writer *w, const char *name, const char *value)
{
    size_t at = pg_begin(w, 'S');
    pg_text(w, slice_cstr(name));
    pg_text(w, slice_cstr(value));
    pg_end(w, at);
}

static void error_field(struct writer *w, char field, struct slice value)
{
    write_u8(w, (uint8_t)field);
    pg_text(w, value);
}

void pg_error(struct writer *w, const struct pg_error *e)
{
    struct slice severity = e->fatal ? SLICE_LIT("FATAL") : SLICE_LIT("ERROR");
    size_t at = pg_begin(w, 'E');
    error_field(w, 'S', severity);
    error_field(w, 'V', severity);
    error_field(w, 'C', slice_cstr(e->code));
    error_field(w, 'M', e->message);
    if (e->position) {
        char text[12];
        snprintf(text, sizeof(text), "%u", e->position);
        error_field(w, 'P', slice_cstr(text));
    }
    write_u8(w, 0);
    pg_end(w, at);
}
