/* Differences of two texts by lines: see table.h. */
#include <stdlib.h>

#include "tool/table.h"

#define DIFF_LINES_MAX 400 /* beyond that everything counts as changed */

static struct slice next_line(struct slice *rest)
{
    ptrdiff_t end = slice_find(*rest, '\n', 0);
    size_t len = end < 0 ? rest->len : (size_t)end, skip = MIN(len + 1, rest->len);
    struct slice line = slice_sub(*rest, 0, len);
    *rest = slice_sub(*rest, skip, rest->len - skip);
    return line;
}

static size_t split(struct tool *t, const char *text, struct slice **out)
{
    size_t n = 0;
    for (struct slice rest = slice_cstr(text); rest.len; n++)
        next_line(&rest);
    *out = arena_array(&t->arena, struct slice, n + 1);
    n = 0;
    for (struct slice rest = slice_cstr(text); rest.len;)
        (*out)[n++] = next_line(&rest);
    return n;
}

static void line(struct table *tb, unsigned style, char mark, struct slice text)
{
    table_row(tb);
    table_cell(tb, style, "%c%.*s", mark, SLICE_FMT(text));
}

void table_diff(struct table *tb, struct tool *t, const char *before, const char *after)
{
    struct slice *a, *b;
    size_t na = split(t, before, &a), nb = split(t, after, &b), i = 0, j = 0;
    bool small = na <= DIFF_LINES_MAX && nb <= DIFF_LINES_MAX;
    /* common[i][j]: longest common subsequence of the lines from i and from j on */
    uint16_t *common = arena_array(&t->arena, uint16_t, small ? (na + 1) * (nb + 1) : 1);
#define COMMON(x, y) common[(x) * (nb + 1) + (y)]
    for (size_t x = na; small && x-- > 0;)
        for (size_t y = nb; y-- > 0;)
            COMMON(x, y) = slice_eq(a[x], b[y]) ? (uint16_t)(COMMON(x + 1, y + 1) + 1)
                                                : MAX(COMMON(x + 1, y), COMMON(x, y + 1));
    while (i < na || j < nb) {
        if (small && i < na && j < nb && slice_eq(a[i], b[j])) {
            line(tb, STYLE_PLAIN, ' ', a[i++]);
            j++;
        } else if (i < na && (!small || j == nb || COMMON(i + 1, j) >= COMMON(i, j + 1))) {
            line(tb, STYLE_RED, '-', a[i++]);
        } else {
            line(tb, STYLE_GREEN, '+', b[j++]);
        }
    }
#undef COMMON
}
