/* Tables: see table.h. */
#define _GNU_SOURCE
#include "tool/table.h"

#include <stdarg.h>
#include <stdlib.h>

#define COLUMNS_MAX 192
#define COLUMN_MIN  4 /* a column is not wrapped below this */

struct cell {
    const char *text; /* NULL: blank */
    unsigned style;
};
struct row {
    struct cell *cells;
    size_t n;
};
struct table {
    struct tool *t;
    const char *name;
    const char *headers[COLUMNS_MAX];
    size_t n_headers;
    bool has_header, marker_first;
    struct {
        struct row *items;
        size_t len, cap;
    } rows;
    struct cell scratch[COLUMNS_MAX]; /* the row being filled */
    size_t n_scratch;
    bool row_open;
    size_t n_columns;
    size_t width[COLUMNS_MAX];
};

struct table *table_new(struct tool *t, const char *name)
{
    struct table *tb = arena_alloc(&t->arena, sizeof(*tb));
    tb->t = t;
    tb->name = name;
    return tb;
}

void table_column(struct table *tb, const char *header)
{
    ASSERT(tb->n_headers < COLUMNS_MAX);
    tb->has_header = true;
    tb->headers[tb->n_headers++] = header;
    tb->n_columns = MAX(tb->n_columns, tb->n_headers);
}

void table_header(struct table *tb, ...)
{
    va_list ap;
    va_start(ap, tb);
    for (const char *h; (h = va_arg(ap, const char *));)
        table_column(tb, h);
    va_end(ap);
}

void table_marker_first(struct table *tb)
{
    tb->marker_first = true;
}

static void close_row(struct table *tb)
{
    if (!tb->row_open)
        return;
    struct row row = {.n = tb->n_scratch};
    row.cells = arena_array(&tb->t->arena, struct cell, row.n ? row.n : 1);
    if (row.n)
        memcpy(row.cells, tb->scratch, row.n * sizeof(*row.cells));
    /* doubling in the arena: a table lives as long as the run */
    if (tb->rows.len == tb->rows.cap) {
        size_t cap = tb->rows.cap ? tb->rows.cap * 2 : 16;
        struct row *items = arena_array(&tb->t->arena, struct row, cap);
        if (tb->rows.len)
            memcpy(items, tb->rows.items, tb->rows.len * sizeof(*items));
        tb->rows.items = items;
        tb->rows.cap = cap;
    }
    tb->rows.items[tb->rows.len++] = row;
    tb->n_columns = MAX(tb->n_columns, row.n);
    tb->row_open = false;
}

void table_row(struct table *tb)
{
    close_row(tb);
    tb->row_open = true;
    tb->n_scratch = 0;
}

void table_text(struct table *tb, unsigned style, const char *text)
{
    ASSERT(tb->row_open && tb->n_scratch < COLUMNS_MAX);
    tb->scratch[tb->n_scratch++] = (struct cell){text, style};
}

void table_cell(struct table *tb, unsigned style, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    char *text = arena_alloc(&tb->t->arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, ap);
    va_end(ap);
    table_text(tb, style, text);
}

void table_key_value(struct table *tb, const char *key, const char *fmt, ...)
{
    va_list ap;
    struct writer w = WRITER_INIT;
    char *text = NULL;
    va_start(ap, fmt);
    ASSERT(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);
    write_fmt(&w, "%s", text);
    free(text);
    table_row(tb);
    table_cell(tb, STYLE_BOLD, "%s:", key);
    table_text(tb, STYLE_PLAIN, arena_copy_slice(&tb->t->arena, writer_slice(&w)));
    writer_free(&w);
}

size_t table_rows(const struct table *tb)
{
    return tb->rows.len + tb->row_open;
}

/* ---- width ---- */

static uint32_t code_point(const uint8_t *p, size_t n)
{
    if (n == 1)
        return p[0];
    uint32_t c = p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static size_t code_point_width(uint32_t c)
{
    static const uint32_t wide[][2] = {
        {0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x2e80, 0x303e},
        {0x3041, 0xa4cf},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
        {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff},
        {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}, {0x2705, 0x2705},   {0x274c, 0x274c}};
    if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200f) ||
        (c >= 0xfe00 && c <= 0xfe0f))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(wide); i++)
        if (c >= wide[i][0] && c <= wide[i][1])
            return 2;
    return 1;
}

/* Width of the first character; its bytes in `*n`. Bytes that are no UTF-8 count one each. */
static size_t char_width(struct slice text, size_t at, size_t *n)
{
    *n = utf8_sequence(text.ptr + at, text.len - at);
    if (*n == 0) {
        *n = 1;
        return 1;
    }
    /* U+FE0F asks for the wide picture of a narrow character */
    bool picture = text.len - at - *n >= 3 && memcmp(text.ptr + at + *n, "\xef\xb8\x8f", 3) == 0;
    size_t width = code_point_width(code_point(text.ptr + at, *n));
    return picture && width == 1 ? 2 : width;
}

size_t display_width(struct slice text)
{
    size_t width = 0, n;
    for (size_t at = 0; at < text.len; at += n)
        width += char_width(text, at, &n);
    return width;
}

/* The next line of a cell, at most `width` wide; broken at blanks where possible. */
static struct slice take_line(struct slice *rest, size_t width)
{
    size_t used = 0, n, at = 0, blank = 0;
    while (at < rest->len && rest->ptr[at] != '\n') {
        size_t w = char_width(*rest, at, &n);
        if (used + w > width && at > 0)
            break;
        if (rest->ptr[at] == ' ')
            blank = at;
        used += w;
        at += n;
    }
    bool wrapped = at < rest->len && rest->ptr[at] != '\n';
    if (wrapped && rest->ptr[at] != ' ' && blank > 0)
        at = blank;
    struct slice line = slice_sub(*rest, 0, at);
    size_t skip = at < rest->len && (rest->ptr[at] == '\n' || rest->ptr[at] == ' ') ? 1 : 0;
    *rest = slice_sub(*rest, at + skip, rest->len - at - skip);
    return line;
}

static size_t cell_width(const char *text)
{
    size_t widest = 0;
    struct slice rest = slice_cstr(text);
    while (rest.len) {
        struct slice line = take_line(&rest, SIZE_MAX);
        widest = MAX(widest, display_width(line));
    }
    return widest;
}

static size_t total_width(const struct table *tb)
{
    size_t total = tb->t->borders ? tb->n_columns + 1 : 0;
    for (size_t i = 0; i < tb->n_columns; i++)
        total += tb->width[i] + (tb->marker_first && i == 0 ? 0 : 2);
    return total;
}

static void measure(struct table *tb)
{
    for (size_t i = 0; i < tb->n_columns; i++)
        tb->width[i] = i < tb->n_headers ? cell_width(tb->headers[i]) : 0;
    for (size_t r = 0; r < tb->rows.len; r++)
        for (size_t i = 0; i < tb->rows.items[r].n; i++)
            if (tb->rows.items[r].cells[i].text)
                tb->width[i] = MAX(tb->width[i], cell_width(tb->rows.items[r].cells[i].text));
    /* too wide for the terminal: take from the widest column, as long as that helps */
    while (tb->t->columns && total_width(tb) > tb->t->columns) {
        size_t widest = 0;
        for (size_t i = 1; i < tb->n_columns; i++)
            if (tb->width[i] > tb->width[widest])
                widest = i;
        if (tb->n_columns == 0 || tb->width[widest] <= COLUMN_MIN)
            break;
        tb->width[widest]--;
    }
}

/* ---- text ---- */

static void print_line_rule(struct table *tb, const char *left, const char *fill, const char *cross,
                            const char *right)
{
    struct writer *w = &tb->t->out;
    write_fmt(w, "%s", left);
    for (size_t i = 0; i < tb->n_columns; i++) {
        for (size_t n = tb->width[i] + 2; n-- > 0;)
            write_fmt(w, "%s", fill);
        write_fmt(w, "%s", i + 1 < tb->n_columns ? cross : right);
    }
    write_u8(w, '\n');
}

static void print_cells(struct table *tb, const struct cell *cells, size_t n)
{
    struct writer *w = &tb->t->out;
    struct slice rest[COLUMNS_MAX];
    bool more = true, color = tb->t->color;
    for (size_t i = 0; i < tb->n_columns; i++)
        rest[i] = slice_cstr(i < n ? cells[i].text : NULL);
    bool last_empty[COLUMNS_MAX] = {false}; /* a cell that ends with a newline has an empty line at its end */
    for (size_t i = 0; i < tb->n_columns; i++)
        last_empty[i] = rest[i].len && rest[i].ptr[rest[i].len - 1] == '\n';
    while (more) {
        more = false;
        if (tb->t->borders)
            write_fmt(w, "│");
        for (size_t i = 0; i < tb->n_columns; i++) {
            struct slice line = take_line(&rest[i], MAX(tb->width[i], 1));
            unsigned style = i < n ? cells[i].style : STYLE_PLAIN;
            const char *pad = tb->marker_first && i == 0 && !tb->t->borders ? "" : " ";
            size_t used = display_width(line);
            write_fmt(w, "%s%s%.*s%*s%s%s", style_begin(color, style), pad, SLICE_FMT(line),
                      (int)(tb->width[i] > used ? tb->width[i] - used : 0), "", pad, style_end(color, style));
            if (tb->t->borders)
                write_fmt(w, "%s", i + 1 < tb->n_columns ? "┆" : "│");
            more |= rest[i].len > 0 || last_empty[i];
            if (rest[i].len == 0)
                last_empty[i] = false;
        }
        write_u8(w, '\n');
    }
}

static void print_text(struct table *tb)
{
    bool borders = tb->t->borders;
    measure(tb);
    if (borders)
        print_line_rule(tb, "╭", "─", "┬", "╮");
    if (tb->has_header) {
        struct cell headers[COLUMNS_MAX] = {{NULL, STYLE_PLAIN}};
        for (size_t i = 0; i < tb->n_headers; i++)
            headers[i] = (struct cell){tb->headers[i], STYLE_BOLD};
        print_cells(tb, headers, tb->n_headers);
        if (borders && tb->rows.len)
            print_line_rule(tb, "╞", "═", "╪", "╡");
    }
    for (size_t r = 0; r < tb->rows.len; r++) {
        if (borders && r > 0)
            print_line_rule(tb, "├", "╌", "┼", "┤");
        print_cells(tb, tb->rows.items[r].cells, tb->rows.items[r].n);
    }
    if (borders)
        print_line_rule(tb, "╰", "─", "┴", "╯");
}

/* ---- JSON: {"<name>": [{"column": "text", ...}, ...], ...} ---- */

static void print_json_key(struct writer *w, const char *header, size_t column)
{
    char key[64];
    size_t n = 0;
    for (; *header && n + 1 < sizeof(key); header++) {
        char c = *header;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        key[n++] = c == '-' || c == ' ' ? '_' : c;
    }
    if (n == 0)
        n = (size_t)snprintf(key, sizeof(key), "column_%zu", column);
    write_json_string(w, slice_make(key, n));
}

static void print_json(struct table *tb)
{
    struct writer *w = &tb->t->out;
    write_fmt(w, tb->t->json_open ? ",\n  " : "{\n  ");
    tb->t->json_open = true;
    write_json_string(w, slice_cstr(tb->name));
    write_fmt(w, tb->has_header ? ": [" : ": {");
    for (size_t r = 0; r < tb->rows.len; r++) {
        const struct row *row = &tb->rows.items[r];
        if (!tb->has_header) { /* key and value */
            struct slice key = slice_cstr(row->n ? row->cells[0].text : NULL);
            if (slice_ends_with(key, SLICE_LIT(":")))
                key.len--;
            write_fmt(w, "%s\n    ", r ? "," : "");
            write_json_string(w, key);
            write_fmt(w, ": ");
            write_json_string(w, slice_cstr(row->n > 1 ? row->cells[1].text : NULL));
            continue;
        }
        write_fmt(w, "%s\n    {", r ? "," : "");
        for (size_t i = tb->marker_first; i < tb->n_headers; i++) {
            write_fmt(w, "%s", i > (size_t)tb->marker_first ? ", " : "");
            print_json_key(w, tb->headers[i], i);
            write_fmt(w, ": ");
            if (i < row->n && row->cells[i].text)
                write_json_string(w, slice_cstr(row->cells[i].text));
            else
                write_fmt(w, "null");
        }
        write_u8(w, '}');
    }
    write_fmt(w, "%s%c", tb->rows.len ? "\n  " : "", tb->has_header ? ']' : '}');
}

void table_json_end(struct tool *t)
{
    if (t->json_open)
        write_fmt(&t->out, "\n}\n");
    t->json_open = false;
}

void table_print(struct table *tb)
{
    close_row(tb);
    if (tb->t->json)
        print_json(tb);
    else
        print_text(tb);
}
