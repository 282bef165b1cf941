/* Functions on text: patterns, cutting, joining (query/functions.h). */
#include <locale.h>
#include <pthread.h>
#include <regex.h>
#include <stdlib.h>
#include <wctype.h>

#include "base/hash.h"
#include "query/functions.h"

#define RESULT_MAX     (64u << 20) /* bytes that repeat() and the like may make */
#define PATTERN_MAX    1000u
#define REPETITION_MAX 1000u

/* ---- characters ---- */

static size_t char_size(struct slice s, size_t at)
{
    size_t n = utf8_sequence(s.ptr + at, s.len - at);
    return n ? n : 1;
}

static uint32_t char_get(struct slice s, size_t *at)
{
    const uint8_t *p = s.ptr + *at;
    size_t n = char_size(s, *at);
    *at += n;
    switch (n) {
    case 2:
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    case 3:
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    case 4:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 | (uint32_t)(p[2] & 0x3f) << 6 |
               (p[3] & 0x3f);
    default:
        return p[0];
    }
}

/* Case of all of Unicode whatever the process' locale is; ASCII only where the C library lacks C.UTF-8. */
static locale_t unicode;
static void open_unicode(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static void fold(struct writer *w, struct slice s, bool upper)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_unicode);
    for (size_t at = 0; at < s.len;) {
        uint32_t c = char_get(s, &at);
        if (c < 0x80 && !unicode)
            c = (uint32_t)(upper ? (c >= 'a' && c <= 'z' ? c - 32 : c) : (c >= 'A' && c <= 'Z' ? c + 32 : c));
        else if (unicode)
            c = (uint32_t)(upper ? towupper_l((wint_t)c, unicode) : towlower_l((wint_t)c, unicode));
        write_utf8(w, c);
    }
}

static void run_fold(sqlite3_context *c, sqlite3_value *v, bool upper)
{
    if (any_null(1, &v))
        return;
    struct writer w = WRITER_INIT;
    fold(&w, value_text(v), upper);
    result_writer(c, &w);
}

static void sql_lower(sqlite3_context *c, int n, sqlite3_value **v)
{
    run_fold(c, v[0], false);
}

static void sql_upper(sqlite3_context *c, int n, sqlite3_value **v)
{
    run_fold(c, v[0], true);
}

/* ---- patterns ---- */

/* Does the pattern's element at *p match the character at *t? Advances both if so. */
static bool element_matches(struct slice text, size_t *t, struct slice pattern, size_t *p)
{
    size_t at = *p, size;
    if (pattern.ptr[at] == '_') {
        *t += char_size(text, *t);
        *p = at + 1;
        return true;
    }
    if (pattern.ptr[at] == '\\' && at + 1 < pattern.len)
        at++;
    size = char_size(pattern, at);
    if (text.len - *t < size || memcmp(text.ptr + *t, pattern.ptr + at, size) != 0)
        return false;
    *t += size;
    *p = at + size;
    return true;
}

bool like_matches(struct slice text, struct slice pattern)
{
    size_t t = 0, p = 0, star = SIZE_MAX, resume = 0;
    for (;;) {
        if (p < pattern.len && pattern.ptr[p] == '%') {
            star = ++p;
            resume = t;
            continue;
        }
        if (t == text.len && p == pattern.len)
            return true;
        if (t < text.len && p < pattern.len && element_matches(text, &t, pattern, &p))
            continue;
        if (star == SIZE_MAX || resume >= text.len)
            return false;
        resume += char_size(text, resume);
        t = resume;
        p = star;
    }
}

static void sql_like(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(2, v))
        sqlite3_result_int(c, like_matches(value_text(v[0]), value_text(v[1])));
}

static void sql_ilike(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(2, v))
        return;
    struct writer text = WRITER_INIT, pattern = WRITER_INIT;
    fold(&text, value_text(v[0]), false);
    fold(&pattern, value_text(v[1]), false);
    sqlite3_result_int(c, like_matches(writer_slice(&text), writer_slice(&pattern)));
    writer_free(&text);
    writer_free(&pattern);
}

/* The C library's matcher takes memory and time without bound for some patterns: those are refused. */
static const char *pattern_problem(const char *pattern)
{
    size_t len = strlen(pattern), total = 1;
    if (len > PATTERN_MAX)
        return "it is too long";
    for (const char *p = pattern; *p; p++) {
        if (*p == '\\' && p[1]) {
            if (p[1] >= '0' && p[1] <= '9')
                return "back references are not supported";
            p++;
        } else if (*p == '{') {
            size_t high = (size_t)strtoul(p + 1, NULL, 10);
            const char *comma = p + 1 + strspn(p + 1, "0123456789");
            if (*comma == ',')
                high = MAX(high, (size_t)strtoul(comma + 1, NULL, 10));
            total *= MIN(MAX(high, (size_t)1), (size_t)REPETITION_MAX + 1);
            if (total > REPETITION_MAX)
                return "it repeats too much";
        }
    }
    return NULL;
}

struct compiled {
    regex_t regex;
};

static void compiled_free(void *p)
{
    struct compiled *r = p;
    regfree(&r->regex);
    free(r);
}

/* Compiled once per statement when the pattern is constant. */
static struct compiled *compile(sqlite3_context *c, int argument, const char *pattern, bool fold_case)
{
    struct compiled *r = sqlite3_get_auxdata(c, argument);
    if (r)
        return r;
    const char *problem = pattern_problem(pattern);
    char text[200];
    if (!problem) {
        r = xcalloc(1, sizeof(*r));
        int rc = regcomp(&r->regex, pattern, REG_EXTENDED | REG_NOSUB | (fold_case ? REG_ICASE : 0));
        if (rc != 0) {
            regerror(rc, &r->regex, text, sizeof(text));
            free(r);
            problem = text;
        }
    }
    if (problem) {
        result_error(c, "Arrow error: Compute error: Regular expression did not compile: %s", problem);
        return NULL;
    }
    sqlite3_set_auxdata(c, argument, r, compiled_free);
    return sqlite3_get_auxdata(c, argument); /* NULL if SQLite chose not to keep it */
}

static void match(sqlite3_context *c, const char *text, int argument, const char *pattern, bool fold_case)
{
    struct compiled *r = compile(c, argument, pattern, fold_case);
    if (r)
        sqlite3_result_int(c, regexec(&r->regex, text, 0, NULL, 0) == 0);
}

static void sql_regexp(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(2, v))
        return;
    bool fold_case = n > 2 && slice_find(value_text(v[2]), 'i', 0) >= 0;
    match(c, (const char *)sqlite3_value_text(v[0]), 1, (const char *)sqlite3_value_text(v[1]), fold_case);
}

/* SQL's own patterns: % and _ as in LIKE, the rest as in regular expressions, anchored. */
static void sql_similar(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(2, v))
        return;
    struct writer w = WRITER_INIT;
    struct slice p = value_text(v[1]);
    write_slice_raw(&w, SLICE_LIT("^("));
    for (size_t i = 0; i < p.len; i++) {
        if (p.ptr[i] == '%')
            write_slice_raw(&w, SLICE_LIT(".*"));
        else if (p.ptr[i] == '.' || p.ptr[i] == '^' || p.ptr[i] == '$')
            write_fmt(&w, "\\%c", p.ptr[i]);
        else
            write_u8(&w, p.ptr[i] == '_' ? '.' : p.ptr[i]);
    }
    write_raw(&w, ")$", 3);
    match(c, (const char *)sqlite3_value_text(v[0]), 1, (const char *)w.buf->data, false);
    writer_free(&w);
}

/* ---- cutting ---- */

static int64_t char_count(struct slice s)
{
    int64_t n = 0;
    for (size_t at = 0; at < s.len; at += char_size(s, at))
        n++;
    return n;
}

/* Characters [from, to) counted from 0; bounds are clamped. */
static struct slice chars(struct slice s, int64_t from, int64_t to)
{
    size_t start = s.len, at = 0;
    int64_t i = 0;
    for (; at < s.len && i < to; i++) {
        if (i == MAX(from, 0))
            start = at;
        at += char_size(s, at);
    }
    return start < at ? slice_sub(s, start, at - start) : slice_sub(s, s.len, 0);
}

static void sql_substr(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    int64_t start = sqlite3_value_int64(v[1]), length = n > 2 ? sqlite3_value_int64(v[2]) : INT64_MAX, end;
    if (length < 0) {
        result_error(c, "Execution error: negative substring length not allowed: substr(<str>, %lld, %lld)",
                     (long long)start, (long long)length);
        return;
    }
    if (__builtin_sub_overflow(start, 1, &start) || __builtin_add_overflow(start, length, &end))
        end = INT64_MAX;
    result_slice(c, chars(value_text(v[0]), start, end));
}

static void sql_left(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice s = value_text(v[0]);
    int64_t k = sqlite3_value_int64(v[1]);
    result_slice(c, chars(s, 0, k >= 0 ? k : char_count(s) + MAX(k, -(int64_t)s.len)));
}

static void sql_right(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice s = value_text(v[0]);
    int64_t k = sqlite3_value_int64(v[1]);
    result_slice(
        c, chars(s, k >= 0 ? char_count(s) - MIN(k, (int64_t)s.len) : -MAX(k, -(int64_t)s.len), INT64_MAX));
}

static void sql_split_part(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice s = value_text(v[0]), by = value_text(v[1]);
    int64_t want = sqlite3_value_int64(v[2]), at = 1;
    if (want == 0) {
        result_error(c, "Execution error: field position must not be zero");
        return;
    }
    if (want < 0) { /* counted from the end */
        int64_t parts = 1;
        for (size_t i = 0; by.len && i + by.len <= s.len; i++)
            if (memcmp(s.ptr + i, by.ptr, by.len) == 0) {
                parts++;
                i += by.len - 1;
            }
        want = want < -parts ? 0 : parts + want + 1;
    }
    size_t start = 0;
    for (size_t i = 0; by.len && i + by.len <= s.len && at <= want; i++) {
        if (memcmp(s.ptr + i, by.ptr, by.len) != 0)
            continue;
        if (at++ == want) {
            result_slice(c, slice_sub(s, start, i - start));
            return;
        }
        i += by.len - 1;
        start = i + 1;
    }
    result_slice(c, at == want ? slice_sub(s, start, s.len - start) : SLICE_LIT(""));
}

static void sql_reverse(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice s = value_text(v[0]);
    struct writer w = WRITER_INIT;
    uint8_t *out = writer_reserve(&w, s.len + 1);
    for (size_t at = 0; at < s.len;) {
        size_t size = char_size(s, at);
        memcpy(out + s.len - at - size, s.ptr + at, size);
        at += size;
    }
    w.len = s.len;
    result_writer(c, &w);
}

static void sql_repeat(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice s = value_text(v[0]);
    int64_t times = MAX(sqlite3_value_int64(v[1]), (sqlite3_int64)0);
    if (s.len && (uint64_t)times > RESULT_MAX / s.len) {
        result_error(c, "Resources exhausted: the result of repeat is too long");
        return;
    }
    struct writer w = WRITER_INIT;
    for (int64_t i = 0; s.len && i < times; i++)
        write_slice_raw(&w, s);
    result_writer(c, &w);
}

/* ---- joining and searching ---- */

static void concat(sqlite3_context *c, int n, sqlite3_value **v, struct slice separator)
{
    struct writer w = WRITER_INIT;
    bool first = true;
    for (int i = 0; i < n; i++) {
        if (sqlite3_value_type(v[i]) == SQLITE_NULL)
            continue;
        if (!first)
            write_slice_raw(&w, separator);
        first = false;
        write_slice_raw(&w, value_text(v[i]));
    }
    result_writer(c, &w);
}

static void sql_concat(sqlite3_context *c, int n, sqlite3_value **v)
{
    concat(c, n, v, SLICE_EMPTY);
}

static void sql_concat_ws(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (n > 0 && sqlite3_value_type(v[0]) != SQLITE_NULL)
        concat(c, n - 1, v + 1, value_text(v[0]));
}

static void sql_starts_with(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(n, v))
        sqlite3_result_int(c, slice_starts_with(value_text(v[0]), value_text(v[1])));
}

static void sql_ends_with(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(n, v))
        sqlite3_result_int(c, slice_ends_with(value_text(v[0]), value_text(v[1])));
}

static void sql_position(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice what = value_text(v[0]), in = value_text(v[1]);
    int64_t position = 1;
    for (size_t at = 0; at + what.len <= in.len; position++) {
        if (what.len == 0 || memcmp(in.ptr + at, what.ptr, what.len) == 0) {
            sqlite3_result_int64(c, position);
            return;
        }
        at += char_size(in, at);
    }
    sqlite3_result_int(c, 0);
}

static void sql_octet_length(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (!any_null(n, v))
        sqlite3_result_int64(c, (sqlite3_int64)value_text(v[0]).len);
}

static void sql_to_hex(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct writer w = WRITER_INIT;
    write_fmt(&w, "%llx", (unsigned long long)sqlite3_value_int64(v[0]));
    result_writer(c, &w);
}

static void sql_encode(sqlite3_context *c, int n, sqlite3_value **v)
{
    if (any_null(n, v))
        return;
    struct slice s = value_text(v[0]), form = value_text(v[1]);
    struct writer w = WRITER_INIT;
    if (slice_eq_cstr(form, "hex")) {
        write_hex(&w, s);
    } else if (slice_eq_cstr(form, "base64")) {
        size_t chars = base64_encode(s, (char *)writer_reserve(&w, s.len / 3 * 4 + 4));
        w.len = chars - (3 - s.len % 3) % 3; /* without padding, as the reference */
    } else {
        result_error(c,
                     "Error during planning: There is no built-in encoding named '%.*s', currently supported "
                     "encodings are: base64, hex",
                     SLICE_FMT(form));
        return;
    }
    result_writer(c, &w);
}

const struct function_entry text_functions[] = {
    {"sql_lower", 1, sql_lower},
    {"sql_upper", 1, sql_upper},
    {"sql_like", 2, sql_like},
    {"sql_ilike", 2, sql_ilike},
    {"sql_regexp", -1, sql_regexp},
    {"sql_similar", 2, sql_similar},
    {"sql_substr", -1, sql_substr},
    {"sql_left", 2, sql_left},
    {"sql_right", 2, sql_right},
    {"sql_split_part", 3, sql_split_part},
    {"sql_reverse", 1, sql_reverse},
    {"sql_repeat", 2, sql_repeat},
    {"sql_concat", -1, sql_concat},
    {"sql_concat_ws", -1, sql_concat_ws},
    {"sql_starts_with", 2, sql_starts_with},
    {"sql_ends_with", 2, sql_ends_with},
    {"sql_position", 2, sql_position},
    {"sql_octet_length", 1, sql_octet_length},
    {"sql_to_hex", 1, sql_to_hex},
    {"sql_encode", 2, sql_encode},
    {NULL, 0, NULL},
};
