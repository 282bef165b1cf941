/* Durations and byte sizes as text (base/time.h; spec/config.md §1.5, spec/ingress.md §5.3). */
#include "base/codec.h"
#include "base/time.h"

#define NS_US   1000ull
#define NS_MS   1000000ull
#define NS_S    1000000000ull
#define NS_MIN  (60 * NS_S)
#define NS_HOUR (3600 * NS_S)
#define NS_DAY  (24 * NS_HOUR)
#define NS_WEEK (7 * NS_DAY)

/* From large to small; an item must have a larger rank than the one before it. */
enum rank {
    RANK_NONE,
    RANK_YEAR,
    RANK_MONTH,
    RANK_WEEK,
    RANK_DAY,
    RANK_HOUR,
    RANK_MIN,
    RANK_S,
    RANK_MS,
    RANK_US,
    RANK_NS
};

static const uint64_t rank_ns[] = {
    [RANK_YEAR] = 0,     [RANK_MONTH] = 0, [RANK_WEEK] = NS_WEEK, [RANK_DAY] = NS_DAY, [RANK_HOUR] = NS_HOUR,
    [RANK_MIN] = NS_MIN, [RANK_S] = NS_S,  [RANK_MS] = NS_MS,     [RANK_US] = NS_US,   [RANK_NS] = 1,
};

static const struct {
    const char *word;
    enum rank rank;
} unit_words[] = {
    {"y", RANK_YEAR},       {"yr", RANK_YEAR},        {"yrs", RANK_YEAR},        {"year", RANK_YEAR},
    {"years", RANK_YEAR},   {"mo", RANK_MONTH},       {"mos", RANK_MONTH},       {"month", RANK_MONTH},
    {"months", RANK_MONTH}, {"w", RANK_WEEK},         {"wk", RANK_WEEK},         {"wks", RANK_WEEK},
    {"week", RANK_WEEK},    {"weeks", RANK_WEEK},     {"d", RANK_DAY},           {"day", RANK_DAY},
    {"days", RANK_DAY},     {"h", RANK_HOUR},         {"hr", RANK_HOUR},         {"hrs", RANK_HOUR},
    {"hour", RANK_HOUR},    {"hours", RANK_HOUR},     {"m", RANK_MIN},           {"min", RANK_MIN},
    {"mins", RANK_MIN},     {"minute", RANK_MIN},     {"minutes", RANK_MIN},     {"s", RANK_S},
    {"sec", RANK_S},        {"secs", RANK_S},         {"second", RANK_S},        {"seconds", RANK_S},
    {"ms", RANK_MS},        {"msec", RANK_MS},        {"msecs", RANK_MS},        {"milli", RANK_MS},
    {"millis", RANK_MS},    {"millisecond", RANK_MS}, {"milliseconds", RANK_MS}, {"us", RANK_US},
    {"\xc2\xb5s", RANK_US}, {"\xce\xbcs", RANK_US},   {"usec", RANK_US},         {"usecs", RANK_US},
    {"micro", RANK_US},     {"micros", RANK_US},      {"microsecond", RANK_US},  {"microseconds", RANK_US},
    {"ns", RANK_NS},        {"nsec", RANK_NS},        {"nsecs", RANK_NS},        {"nano", RANK_NS},
    {"nanos", RANK_NS},     {"nanosecond", RANK_NS},  {"nanoseconds", RANK_NS},
};

/* A parse in progress. `total_ns` is 128 bits wide so that sums cannot wrap before the check at the end. */
struct duration_parser {
    struct reader in;
    unsigned __int128 total_ns;
    enum rank last;
    bool fraction_seen; /* nothing may follow a fraction */
    struct err *err;
};

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static int peek(const struct reader *r, size_t at)
{
    return reader_left(r) > at ? r->p[at] : -1;
}

static bool peek_digit(const struct reader *r, size_t at)
{
    int c = peek(r, at);
    return c >= 0 && is_digit((uint8_t)c);
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
}

struct number {
    uint64_t whole;
    uint32_t frac_ns; /* billionths */
    bool has_frac;
};

/* Digits, optionally '.' or ',' and one to nine digits. */
static enum rc take_number(struct duration_parser *d, struct number *out)
{
    struct reader *r = &d->in;
    *out = (struct number){0, 0, false};
    if (!peek_digit(r, 0))
        return err_set(d->err, RC_INVALID, "expected a number at '%.*s'",
                       (int)MIN(reader_left(r), (size_t)20), (const char *)r->p);
    while (peek_digit(r, 0)) {
        unsigned digit = (unsigned)(*r->p++ - '0');
        if (out->whole > (UINT64_MAX - digit) / 10)
            return err_set(d->err, RC_INVALID, "number is too large");
        out->whole = out->whole * 10 + digit;
    }
    if ((peek(r, 0) != '.' && peek(r, 0) != ',') || !peek_digit(r, 1))
        return RC_OK;
    r->p++;
    out->has_frac = true;
    uint32_t scale = 100000000;
    while (peek_digit(r, 0)) {
        if (scale == 0)
            return err_set(d->err, RC_INVALID, "at most nine fractional digits are allowed");
        out->frac_ns += (uint32_t)(*r->p++ - '0') * scale;
        scale /= 10;
    }
    return RC_OK;
}

static enum rc add_item(struct duration_parser *d, struct number n, enum rank rank)
{
    if (d->fraction_seen)
        return err_set(d->err, RC_INVALID, "only the last unit may have a fraction");
    if (rank <= d->last)
        return err_set(d->err, RC_INVALID, "units must go from large to small, each at most once");
    if (rank <= RANK_MONTH && (n.whole || n.frac_ns))
        return err_set(d->err, RC_INVALID, "please use units of days or smaller");
    if (n.has_frac && rank < RANK_HOUR)
        return err_set(d->err, RC_INVALID, "a fraction is only allowed for hours or smaller units");
    d->last = rank;
    d->fraction_seen = n.has_frac;
    d->total_ns += (unsigned __int128)n.whole * rank_ns[rank];
    d->total_ns += (unsigned __int128)n.frac_ns * rank_ns[rank] / NS_S;
    return RC_OK;
}

/* :MM:SS[.fraction] after the hours. Any number of digits will do, and more than 59 too, as in the reference.
 */
static enum rc take_clock(struct duration_parser *d, struct number hours)
{
    struct reader *r = &d->in;
    if (d->last >= RANK_HOUR || hours.has_frac)
        return err_set(d->err, RC_INVALID,
                       "HH:MM:SS must be the last item and not follow hours or smaller units");
    struct number minutes, seconds;
    enum rc rc;
    r->p++;
    if ((rc = take_number(d, &minutes)))
        return rc;
    if (peek(r, 0) != ':')
        return err_set(d->err, RC_INVALID, "expected HH:MM:SS");
    r->p++;
    if ((rc = take_number(d, &seconds)) || (rc = add_item(d, hours, RANK_HOUR)) ||
        (rc = add_item(d, minutes, RANK_MIN)))
        return rc;
    return add_item(d, seconds, RANK_S);
}

static enum rank take_unit_word(struct reader *r)
{
    const uint8_t *from = r->p;
    while (r->p < r->end && ((*r->p >= 'a' && *r->p <= 'z') || *r->p >= 0x80))
        r->p++;
    struct slice word = slice_make(from, (size_t)(r->p - from));
    for (size_t i = 0; i < ARRAY_LEN(unit_words); i++) {
        if (slice_eq_cstr(word, unit_words[i].word))
            return unit_words[i].rank;
    }
    r->p = from;
    return RANK_NONE;
}

/* item { ["," 1*SP | *SP] item } ["ago"] *SP */
static enum rc parse_friendly(struct duration_parser *d, bool *ago)
{
    struct reader *r = &d->in;
    for (;;) {
        struct number n;
        enum rc rc = take_number(d, &n);
        if (rc)
            return rc;
        if (peek(r, 0) == ':') {
            if ((rc = take_clock(d, n)))
                return rc;
        } else {
            skip_blanks(r);
            const char *at = (const char *)r->p;
            size_t left = reader_left(r);
            enum rank rank = take_unit_word(r);
            if (rank == RANK_NONE && left == 0)
                return err_set(d->err, RC_INVALID,
                               "expected to find unit designator after the number, for example '5s'");
            if (rank == RANK_NONE)
                return err_set(d->err, RC_INVALID, "unknown unit at '%.*s'", (int)MIN(left, (size_t)20), at);
            if ((rc = add_item(d, n, rank)))
                return rc;
        }
        bool comma = peek(r, 0) == ',';
        if (comma) {
            r->p++;
            if (peek(r, 0) < 0 || !is_blank((uint8_t)peek(r, 0)))
                return err_set(d->err, RC_INVALID, "a comma must be followed by a blank");
        }
        skip_blanks(r);
        if (!comma && reader_left(r) >= 3 && memcmp(r->p, "ago", 3) == 0) {
            r->p += 3;
            *ago = true;
            skip_blanks(r);
        }
        if (!comma && reader_left(r) == 0)
            return RC_OK;
        if (*ago)
            return err_set(d->err, RC_INVALID, "nothing may follow 'ago'");
    }
}

/* After the "P": [nW][nD]["T" [nH][nM][nS]], letters in any case. */
static enum rc parse_iso8601(struct duration_parser *d)
{
    struct reader *r = &d->in;
    bool in_time = false, any = false;
    while (reader_left(r) > 0) {
        if (!in_time && (*r->p | 0x20) == 't') {
            r->p++;
            in_time = true;
            any = false;
            continue;
        }
        struct number n;
        enum rc rc = take_number(d, &n);
        if (rc)
            return rc;
        enum rank rank = RANK_NONE;
        int unit = peek(r, 0) < 0 ? 0 : peek(r, 0) | 0x20;
        if (in_time)
            rank = unit == 'h' ? RANK_HOUR : unit == 'm' ? RANK_MIN : unit == 's' ? RANK_S : RANK_NONE;
        else
            rank = unit == 'y'   ? RANK_YEAR
                   : unit == 'm' ? RANK_MONTH
                   : unit == 'w' ? RANK_WEEK
                   : unit == 'd' ? RANK_DAY
                                 : RANK_NONE;
        if (rank == RANK_NONE)
            return err_set(d->err, RC_INVALID, "unknown or missing unit designator in ISO 8601 duration");
        r->p++;
        if ((rc = add_item(d, n, rank)))
            return rc;
        any = true;
    }
    if (!any)
        return err_set(d->err, RC_INVALID, "ISO 8601 duration needs at least one unit after 'P' or 'T'");
    return RC_OK;
}

enum rc duration_parse(struct slice text, uint64_t *out_ns, struct err *err)
{
    struct duration_parser d = {.in = reader_make(text), .err = err};
    if (text.len == 0)
        return err_set(err, RC_INVALID, "an empty string is not a duration");
    if (text.len > 256)
        return err_set(err, RC_INVALID, "duration text is too long");
    bool is_signed = *d.in.p == '+' || *d.in.p == '-', negative = *d.in.p == '-';
    if (is_signed)
        d.in.p++;
    struct slice rest = slice_make(d.in.p, reader_left(&d.in));
    enum rc rc = RC_OK;
    if (peek(&d.in, 0) >= 0 && (*d.in.p | 0x20) == 'p') {
        d.in.p++;
        rc = parse_iso8601(&d);
    } else if (!slice_eq_cstr(rest, "0")) {
        bool ago = false;
        rc = parse_friendly(&d, &ago);
        if (rc == RC_OK && ago && is_signed)
            rc = err_set(err, RC_INVALID, "a sign and 'ago' exclude each other");
        negative |= ago;
    }
    if (rc)
        return rc;
    if (negative && d.total_ns)
        return err_set(err, RC_INVALID, "a duration cannot be negative");
    if (d.total_ns > UINT64_MAX)
        return err_set(err, RC_INVALID, "duration is too long (at most 213503 days)");
    *out_ns = (uint64_t)d.total_ns;
    return RC_OK;
}

void duration_format(struct writer *w, uint64_t ns)
{
    static const struct {
        uint64_t ns;
        const char *name;
    } units[] = {{NS_DAY, "d"}, {NS_HOUR, "h"},       {NS_MIN, "m"}, {NS_S, "s"},
                 {NS_MS, "ms"}, {NS_US, "\xc2\xb5s"}, {1, "ns"}};
    if (ns == 0) {
        write_raw(w, "0s", 2);
        return;
    }
    const char *separator = "";
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        uint64_t n = ns / units[i].ns;
        ns %= units[i].ns;
        if (n) {
            write_fmt(w, "%s%llu%s", separator, (unsigned long long)n, units[i].name);
            separator = " ";
        }
    }
}

/* ---- byte sizes ---- */

/* "", b, k, kb, ki, kib, ... in any case; 0 if unknown. */
static uint64_t byte_unit(struct slice word)
{
    static const char prefixes[] = "kmgtpe";
    char lower[4] = {0};
    if (word.len > 3)
        return 0;
    for (size_t i = 0; i < word.len; i++)
        lower[i] = (char)(word.ptr[i] >= 'A' && word.ptr[i] <= 'Z' ? word.ptr[i] | 0x20 : word.ptr[i]);
    if (word.len == 0 || strcmp(lower, "b") == 0)
        return 1;
    const char *hit = strchr(prefixes, lower[0]);
    if (!hit)
        return 0;
    const char *tail = lower + 1;
    bool binary = tail[0] == 'i';
    tail += binary;
    if (tail[0] && strcmp(tail, "b") != 0)
        return 0;
    uint64_t unit = 1;
    for (const char *p = prefixes; p <= hit; p++)
        unit *= binary ? 1024 : 1000;
    return unit;
}

enum rc byte_size_parse(struct slice text, uint64_t *out, struct err *err)
{
    struct reader r = reader_make(text);
    unsigned __int128 whole = 0, frac = 0, scale = 1;
    if (!peek_digit(&r, 0))
        return err_set(err, RC_INVALID, "expected a byte size such as '5 MB' or '1.5GiB'");
    for (; peek_digit(&r, 0); r.p++) {
        whole = whole * 10 + (unsigned)(*r.p - '0');
        if (whole > UINT64_MAX)
            return err_set(err, RC_INVALID, "byte size is too large");
    }
    if (peek(&r, 0) == '.') {
        if (!peek_digit(&r, 1))
            return err_set(err, RC_INVALID, "expected digits after the decimal point");
        for (r.p++; peek_digit(&r, 0); r.p++) {
            if (scale >= 1000000000000000000ull)
                continue; /* below any unit's resolution */
            frac = frac * 10 + (unsigned)(*r.p - '0');
            scale *= 10;
        }
    }
    struct slice word = slice_make(r.p, reader_left(&r));
    while (word.len && *word.ptr == ' ')
        word = slice_sub(word, 1, word.len - 1);
    bool trailing_blank = word.len == 0 && reader_left(&r) > 0;
    uint64_t unit = byte_unit(word);
    if (unit == 0 || trailing_blank)
        return err_set(err, RC_INVALID, "unknown byte size unit '%.*s'", (int)MIN(word.len, (size_t)20),
                       word.ptr ? (const char *)word.ptr : "");
    unsigned __int128 total = whole * unit + frac * unit / scale;
    if (total > UINT64_MAX)
        return err_set(err, RC_INVALID, "byte size is too large");
    *out = (uint64_t)total;
    return RC_OK;
}

void byte_size_format(struct writer *w, uint64_t bytes)
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        write_fmt(w, "%llu B", (unsigned long long)bytes);
        return;
    }
    double v = (double)bytes / 1024;
    size_t i = 0;
    for (; v >= 1024 && i + 1 < ARRAY_LEN(names); i++)
        v /= 1024;
    write_fmt(w, "%.1f %s", v, names[i]);
}
