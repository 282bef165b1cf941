/* Aggregates that SQLite lacks: the first or last row of a group, lists, statistics (query/functions.h).
 *
 * Ordered forms take, after their own arguments, a text with two letters per key - a or d, then f or l for
 * the place of NULL - and the keys. */
#define _GNU_SOURCE /* qsort_r */
#include <math.h>
#include <stdlib.h>

#include "query/functions.h"

#define ITEMS_MAX 10000000u

/* Kept with SQLite's allocator, so that the memory limit of queries covers it. */
struct item {
    sqlite3_value *value;
    sqlite3_value **keys;
    size_t order; /* of arrival */
};
struct group {
    struct item *items;
    size_t len, cap;
    size_t n_keys;
    char spec[64];
    char *separator;
    bool failed;
};

static void item_free(struct item *i, size_t n_keys)
{
    sqlite3_value_free(i->value);
    for (size_t k = 0; i->keys && k < n_keys; k++)
        sqlite3_value_free(i->keys[k]);
    sqlite3_free(i->keys);
}

static void group_free(struct group *g)
{
    for (size_t i = 0; i < g->len; i++)
        item_free(&g->items[i], g->n_keys);
    sqlite3_free(g->items);
    sqlite3_free(g->separator);
    g->items = NULL;
    g->separator = NULL;
    g->len = 0;
}

static int key_order(const struct group *g, sqlite3_value **a, sqlite3_value **b)
{
    for (size_t k = 0; k < g->n_keys; k++) {
        bool descending = g->spec[2 * k] == 'd', nulls_first = g->spec[2 * k + 1] == 'f';
        bool an = sqlite3_value_type(a[k]) == SQLITE_NULL, bn = sqlite3_value_type(b[k]) == SQLITE_NULL;
        int order = 0;
        if (an || bn)
            order = an == bn ? 0 : (an == nulls_first ? -1 : 1);
        else
            order = value_compare(a[k], b[k]) * (descending ? -1 : 1);
        if (order)
            return order;
    }
    return 0;
}

/* The keys that follow the arguments; `first` is the position of the letters, or n. */
static void learn_spec(struct group *g, int n, sqlite3_value **v, int first)
{
    if (g->spec[0] || first >= n)
        return;
    struct slice s = value_text(v[first]);
    size_t len = MIN(s.len, sizeof(g->spec) - 1);
    memcpy(g->spec, s.ptr, len);
    g->n_keys = MIN(len / 2, (size_t)(n - first - 1));
}

static bool item_set(struct group *g, struct item *i, sqlite3_value *value, sqlite3_value **keys)
{
    *i = (struct item){.value = sqlite3_value_dup(value)};
    if (g->n_keys) {
        i->keys = sqlite3_malloc64(g->n_keys * sizeof(*i->keys));
        if (!i->keys)
            return false;
        memset(i->keys, 0, g->n_keys * sizeof(*i->keys));
    }
    bool ok = i->value != NULL;
    for (size_t k = 0; k < g->n_keys; k++)
        ok &= (i->keys[k] = sqlite3_value_dup(keys[k])) != NULL;
    return ok;
}

static void add(sqlite3_context *c, struct group *g, sqlite3_value *value, sqlite3_value **keys)
{
    if (g->failed)
        return;
    if (g->len == g->cap) {
        size_t cap = g->cap ? g->cap * 2 : 8;
        struct item *items = cap > ITEMS_MAX ? NULL : sqlite3_realloc64(g->items, cap * sizeof(*items));
        if (!items) {
            g->failed = true;
            sqlite3_result_error_nomem(c);
            return;
        }
        g->items = items;
        g->cap = cap;
    }
    struct item *i = &g->items[g->len];
    if (!item_set(g, i, value, keys)) {
        item_free(i, g->n_keys);
        g->failed = true;
        sqlite3_result_error_nomem(c);
        return;
    }
    i->order = g->len++;
}

static struct group *group_of(sqlite3_context *c)
{
    return sqlite3_aggregate_context(c, sizeof(struct group));
}

/* ---- first and last ---- */

static void keep(sqlite3_context *c, int n, sqlite3_value **v, bool last)
{
    struct group *g = group_of(c);
    if (!g)
        return;
    learn_spec(g, n, v, 1);
    sqlite3_value **keys = v + 2;
    if (g->len) {
        int order = g->n_keys ? key_order(g, keys, g->items[0].keys) : 0;
        bool better = last ? order >= 0 : order < 0;
        if (!better)
            return;
        item_free(&g->items[0], g->n_keys);
        g->len = 0;
    }
    add(c, g, v[0], keys);
}

static void first_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    keep(c, n, v, false);
}

static void last_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    keep(c, n, v, true);
}

/* The value of a scalar subquery. */
static void only_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct group *g = group_of(c);
    if (g && g->len)
        result_error(c, "Execution error: Scalar subquery returned more than one row");
    else if (g)
        add(c, g, v[0], NULL);
}

static void kept(sqlite3_context *c)
{
    struct group *g = sqlite3_aggregate_context(c, 0);
    if (!g)
        return;
    if (g->len && !g->failed)
        sqlite3_result_value(c, g->items[0].value);
    group_free(g);
}

/* ---- lists ---- */

/* qsort_r keeps no global: the group is the argument. */
static int item_order(const void *a, const void *b, void *group)
{
    const struct item *x = a, *y = b;
    int order = key_order(group, x->keys, y->keys);
    return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static void sort(struct group *g)
{
    if (g->n_keys && g->len > 1)
        qsort_r(g->items, g->len, sizeof(*g->items), item_order, g);
}

/* NULL: the result is, too. */
static struct group *sorted_group(sqlite3_context *c)
{
    struct group *g = sqlite3_aggregate_context(c, 0);
    if (g && (g->failed || g->len == 0)) {
        group_free(g);
        return NULL;
    }
    if (g)
        sort(g);
    return g;
}

static void array_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct group *g = group_of(c);
    if (!g)
        return;
    learn_spec(g, n, v, 1);
    add(c, g, v[0], v + 2);
}

static void array_final(sqlite3_context *c)
{
    struct group *g = sorted_group(c);
    if (!g)
        return;
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < g->len; i++) {
        sqlite3_value *v = g->items[i].value;
        write_u8(&w, i ? ',' : '[');
        if (sqlite3_value_type(v) == SQLITE_NULL)
            write_slice_raw(&w, SLICE_LIT("null"));
        else if (sqlite3_value_type(v) == SQLITE_INTEGER)
            write_fmt(&w, "%lld", (long long)sqlite3_value_int64(v));
        else
            write_json_string(&w, value_text(v));
    }
    write_u8(&w, ']');
    group_free(g);
    result_writer(c, &w);
}

static void string_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct group *g = group_of(c);
    if (!g || sqlite3_value_type(v[0]) == SQLITE_NULL)
        return;
    learn_spec(g, n, v, 2);
    if (!g->separator)
        g->separator = sqlite3_mprintf(
            "%s", sqlite3_value_type(v[1]) == SQLITE_NULL ? "" : (const char *)sqlite3_value_text(v[1]));
    add(c, g, v[0], v + 3);
}

static void string_final(sqlite3_context *c)
{
    struct group *g = sorted_group(c);
    if (!g)
        return;
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < g->len; i++) {
        if (i && g->separator)
            write_slice_raw(&w, slice_cstr(g->separator));
        write_slice_raw(&w, value_text(g->items[i].value));
    }
    group_free(g);
    result_writer(c, &w);
}

/* ---- statistics ---- */

static void median_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct group *g = group_of(c);
    if (g && sqlite3_value_type(v[0]) != SQLITE_NULL)
        add(c, g, v[0], NULL);
}

static int number_order(const void *a, const void *b)
{
    return value_compare(((const struct item *)a)->value, ((const struct item *)b)->value);
}

static void median_final(sqlite3_context *c)
{
    struct group *g = sqlite3_aggregate_context(c, 0);
    if (!g)
        return;
    if (g->len && !g->failed) {
        qsort(g->items, g->len, sizeof(*g->items), number_order);
        double high = sqlite3_value_double(g->items[g->len / 2].value);
        double low = sqlite3_value_double(g->items[(g->len - 1) / 2].value);
        sqlite3_result_double(c, (low + high) / 2);
    }
    group_free(g);
}

/* Welford's running mean and sum of squared distances. */
struct moments {
    uint64_t n;
    double mean, squares;
};

static void moments_step(sqlite3_context *c, int n, sqlite3_value **v)
{
    struct moments *m = sqlite3_aggregate_context(c, sizeof(*m));
    if (!m || sqlite3_value_type(v[0]) == SQLITE_NULL)
        return;
    double x = sqlite3_value_double(v[0]), before = x - m->mean;
    m->n++;
    m->mean += before / (double)m->n;
    m->squares += before * (x - m->mean);
}

static void moments_final(sqlite3_context *c, bool population, bool root)
{
    const struct moments *m = sqlite3_aggregate_context(c, 0);
    uint64_t degrees = m ? m->n - (population ? 0 : 1) : 0;
    if (!m || m->n == 0 || degrees == 0)
        return;
    double variance = m->squares / (double)degrees;
    sqlite3_result_double(c, root ? sqrt(variance) : variance);
}

static void stddev_final(sqlite3_context *c)
{
    moments_final(c, false, true);
}
static void stddev_pop_final(sqlite3_context *c)
{
    moments_final(c, true, true);
}
static void var_final(sqlite3_context *c)
{
    moments_final(c, false, false);
}
static void var_pop_final(sqlite3_context *c)
{
    moments_final(c, true, false);
}

const struct aggregate_entry aggregates[] = {
    {"sql_only", 1, only_step, kept},
    {"sql_first", 1, first_step, kept},
    {"sql_last", 1, last_step, kept},
    {"sql_first_by", -1, first_step, kept},
    {"sql_last_by", -1, last_step, kept},
    {"sql_array_agg", -1, array_step, array_final},
    {"sql_string_agg", -1, string_step, string_final},
    {"sql_median", 1, median_step, median_final},
    {"sql_stddev", 1, moments_step, stddev_final},
    {"sql_stddev_pop", 1, moments_step, stddev_pop_final},
    {"sql_var", 1, moments_step, var_final},
    {"sql_var_pop", 1, moments_step, var_pop_final},
    {NULL, 0, NULL, NULL},
};
