/* The replication property: see replication.h. */
#include "metadata/replication.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

static const char *const scope_names[SCOPES] = {"node", "zone", "region"};
static const char *const scope_titles[SCOPES] = {"Node", "Zone", "Region"};

static enum rc bad_syntax(struct err *err)
{
    return err_set(err, RC_INVALID, "Invalid replication property syntax");
}

/* Sets one scope; a wider scope may not need more domains than a narrower one. */
static enum rc set_scope(struct replication *r, size_t scope, uint64_t n, struct err *err)
{
    if (n == 0)
        return err_set(err, RC_INVALID, "Replication factor for scope %s cannot be zero",
                       scope_titles[scope]);
    if (n > UINT8_MAX || r->copies[scope] != 0)
        return bad_syntax(err);
    for (size_t other = 0; other < SCOPES; other++) {
        uint64_t m = r->copies[other];
        if (m && ((other < scope && n > m) || (other > scope && n < m)))
            return err_set(err, RC_INVALID, "Cannot set {\"%s\": %llu} as it conflicts with {\"%s\": %llu}",
                           scope_titles[scope], (unsigned long long)n, scope_titles[other],
                           (unsigned long long)m);
    }
    r->copies[scope] = (uint8_t)n;
    return RC_OK;
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && isspace(*r->p))
        r->p++;
}

static bool skip_char(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool read_number(struct reader *r, uint64_t *out)
{
    skip_blanks(r);
    const uint8_t *begin = r->p;
    *out = 0;
    while (r->p < r->end && isdigit(*r->p) && *out < 1000)
        *out = *out * 10 + (uint64_t)(*r->p++ - '0');
    return r->p > begin;
}

static bool read_scope(struct reader *r, size_t *scope)
{
    skip_blanks(r);
    for (*scope = 0; *scope < SCOPES; ++*scope) {
        size_t n = strlen(scope_names[*scope]);
        if (reader_left(r) >= n && strncasecmp((const char *)r->p, scope_names[*scope], n) == 0) {
            r->p += n;
            return true;
        }
    }
    return false;
}

static enum rc read_entry(struct reader *r, struct replication *out, struct err *err)
{
    size_t scope;
    uint64_t n;
    bool quoted = skip_char(r, '"');
    if (!read_scope(r, &scope) || (quoted && !skip_char(r, '"')) || !skip_char(r, ':'))
        return bad_syntax(err);
    quoted = skip_char(r, '"');
    if (!read_number(r, &n) || (quoted && !skip_char(r, '"')))
        return bad_syntax(err);
    return set_scope(out, scope, n, err);
}

static enum rc read_property(struct reader *r, struct replication *out, struct err *err)
{
    uint64_t n;
    if (read_number(r, &n))
        return n > 0 ? set_scope(out, SCOPE_NODE, n, err) : bad_syntax(err);
    if (!skip_char(r, '{'))
        return bad_syntax(err);
    enum rc rc;
    do {
        rc = read_entry(r, out, err);
    } while (rc == RC_OK && skip_char(r, ','));
    return rc == RC_OK && !skip_char(r, '}') ? bad_syntax(err) : rc;
}

enum rc replication_parse(struct slice text, struct replication *out, struct err *err)
{
    struct reader r = reader_make(text);
    *out = (struct replication){{0}};
    bool quoted = skip_char(&r, '"');
    enum rc rc = read_property(&r, out, err);
    if (rc != RC_OK)
        return rc;
    if (quoted && !skip_char(&r, '"'))
        return bad_syntax(err);
    skip_blanks(&r);
    return reader_done(&r) ? RC_OK : bad_syntax(err);
}

void replication_print(struct writer *w, const struct replication *r)
{
    const char *before = "{";
    for (size_t s = 0; s < SCOPES; s++) {
        if (!r->copies[s])
            continue;
        write_fmt(w, "%s%s: %u", before, scope_names[s], r->copies[s]);
        before = ", ";
    }
    write_u8(w, '}');
}

void replication_format(const struct replication *r, char out[REPLICATION_TEXT_SIZE])
{
    struct writer w = WRITER_INIT;
    replication_print(&w, r);
    snprintf(out, REPLICATION_TEXT_SIZE, "%.*s", SLICE_FMT(writer_slice(&w)));
    writer_free(&w);
}

void replication_print_json(struct writer *w, const struct replication *r)
{
    const char *before = "{";
    for (size_t s = 0; s < SCOPES; s++) {
        if (!r->copies[s])
            continue;
        write_fmt(w, "%s\"%s\":%u", before, scope_names[s], r->copies[s]);
        before = ",";
    }
    write_u8(w, '}');
}

unsigned replication_copies(const struct replication *r)
{
    for (size_t s = 0; s < SCOPES; s++) {
        if (r->copies[s])
            return r->copies[s];
    }
    UNREACHABLE("an empty replication property");
}

unsigned replication_at(const struct replication *r, enum location_scope scope)
{
    return scope == SCOPE_NODE ? replication_copies(r) : r->copies[scope];
}

bool replication_eq(const struct replication *a, const struct replication *b)
{
    return memcmp(a->copies, b->copies, sizeof(a->copies)) == 0;
}

void replication_write(struct flex_writer *f, const struct replication *r, bool number_for_nodes)
{
    char text[REPLICATION_TEXT_SIZE];
    if (number_for_nodes && r->copies[SCOPE_NODE] && !r->copies[SCOPE_ZONE] && !r->copies[SCOPE_REGION]) {
        flex_put_u64(f, r->copies[SCOPE_NODE]);
        return;
    }
    replication_format(r, text);
    flex_put_text(f, slice_cstr(text));
}

bool replication_read(struct flex v, struct replication *out)
{
    uint64_t n;
    struct slice text;
    *out = (struct replication){{0}};
    if (flex_u64(v, &n))
        return set_scope(out, SCOPE_NODE, n, NULL) == RC_OK;
    if (flex_text(v, &text))
        return replication_parse(text, out, NULL) == RC_OK;
    if (flex_kind(v) != FLEX_MAP || flex_count(v) == 0)
        return false;
    for (size_t i = 0; i < flex_count(v); i++) {
        struct reader r = reader_make(flex_key_at(v, i));
        size_t scope;
        if (!read_scope(&r, &scope) || !reader_done(&r) || !flex_u64(flex_at(v, i), &n) ||
            set_scope(out, scope, n, NULL) != RC_OK)
            return false;
    }
    return true;
}
