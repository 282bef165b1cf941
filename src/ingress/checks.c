/* Checks of a request's parts (ingress/checks.h). */
#include "ingress/checks.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/time.h"

#define NS_PER_MS          1000000u
#define LAST_EXECUTABLE_MS 253402300799999u /* end of the year 9999 */

bool header_value_ok(struct slice value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((value.ptr[i] < 0x20 && value.ptr[i] != '\t') || value.ptr[i] > 0x7e)
            return false;
    return true;
}

/* ---- query ---- */

/* application/x-www-form-urlencoded: '+' is a space. */
static void form_decode(struct writer *w, struct slice s)
{
    size_t from = 0;
    for (;;) {
        ptrdiff_t plus = slice_find(s, '+', from);
        size_t end = plus < 0 ? s.len : (size_t)plus;
        percent_decode(w, slice_sub(s, from, end - from));
        if (plus < 0)
            return;
        write_u8(w, ' ');
        from = end + 1;
    }
}

static bool name_matches(struct slice raw, const char *name)
{
    struct writer decoded = WRITER_INIT;
    bool equal;
    if (slice_find(raw, '%', 0) < 0) {
        equal = slice_eq_nocase(raw, slice_cstr(name));
    } else {
        form_decode(&decoded, raw);
        equal = slice_eq_nocase(writer_slice(&decoded), slice_cstr(name));
    }
    writer_free(&decoded);
    return equal;
}

bool query_find(struct slice query, const char *name, struct writer *value)
{
    size_t from = 1;
    while (from < query.len) {
        ptrdiff_t amp = slice_find(query, '&', from);
        size_t end = amp < 0 ? query.len : (size_t)amp;
        struct slice pair = slice_sub(query, from, end - from);
        ptrdiff_t equals = slice_find(pair, '=', 0);
        size_t name_len = equals < 0 ? pair.len : (size_t)equals;
        if (name_matches(slice_sub(pair, 0, name_len), name)) {
            if (equals >= 0)
                form_decode(value, slice_sub(pair, name_len + 1, pair.len - name_len - 1));
            return true;
        }
        from = end + 1;
    }
    return false;
}

bool delay_parse(struct slice delay, uint64_t now_ms, uint64_t *execution_time_ms, struct writer *message)
{
    uint64_t ns;
    struct err err = {0};
    enum rc rc = duration_parse(delay, &ns, &err);
    if (rc == RC_OK && now_ms + ns / NS_PER_MS > LAST_EXECUTABLE_MS)
        rc = err_set(&err, RC_INVALID, "the time of execution is too far in the future");
    if (rc != RC_OK) {
        write_fmt(message, "bad delay query parameter, must be a ISO8601 duration: %s", err.msg);
        return false;
    }
    *execution_time_ms = now_ms + ns / NS_PER_MS;
    return true;
}

/* ---- input and output ---- */

static bool content_type_matches(struct slice value, struct slice rule)
{
    if (slice_eq_cstr(rule, "*/*"))
        return true;
    ptrdiff_t semicolon = slice_find(value, ';', 0);
    if (semicolon >= 0)
        value.len = (size_t)semicolon;
    value = slice_trim(value);
    ptrdiff_t value_slash = slice_find(value, '/', 0), rule_slash = slice_find(rule, '/', 0);
    if (value_slash < 0 || rule_slash < 0)
        return false;
    if (rule.len == (size_t)rule_slash + 2 && rule.ptr[rule_slash + 1] == '*')
        return slice_eq(slice_sub(value, 0, (size_t)value_slash), slice_sub(rule, 0, (size_t)rule_slash));
    return slice_eq(value, rule);
}

static bool rule_check(const struct input_rule *rule, struct slice content_type, size_t body_len,
                       struct writer *why)
{
    writer_reset(why);
    if (rule->kind == INPUT_NOTHING) {
        if (!content_type.ptr && body_len == 0)
            return true;
        write_fmt(why, "Expected body and content-type to be empty, but wasn't with content-type '");
        if (content_type.ptr)
            write_fmt(why, "Some(\"%.*s\")'", SLICE_FMT(content_type));
        else
            write_fmt(why, "None'");
        return false;
    }
    if (!content_type.ptr) {
        write_fmt(why, "Empty content-type");
        return false;
    }
    if (!content_type_matches(content_type, slice_cstr(rule->content_type))) {
        write_fmt(why, "Content-type '%.*s' does not match '%s'", SLICE_FMT(content_type),
                  rule->content_type);
        return false;
    }
    if (rule->kind == INPUT_JSON && body_len == 0) {
        write_fmt(why, "Empty body not allowed");
        return false;
    }
    return true;
}

bool input_check(const struct schema_handler *h, struct slice content_type, size_t body_len,
                 struct writer *message)
{
    struct writer why = WRITER_INIT;
    bool ok = false;
    for (size_t i = 0; i < h->n_input_rules && !ok; i++)
        ok = rule_check(&h->input_rules[i], content_type, body_len, &why);
    if (!ok) {
        if (h->n_input_rules == 0)
            write_fmt(&why, "Bad configuration of the input validation rules");
        write_fmt(message, "input validation error: ");
        write_slice_raw(message, writer_slice(&why));
    }
    writer_free(&why);
    return ok;
}

const char *output_content_type(const struct schema_handler *h, size_t body_len)
{
    if (h->output_absent)
        return body_len ? "application/json" : NULL;
    if (body_len == 0 && !h->output_set_if_empty)
        return NULL;
    return h->output_content_type;
}
