/* Depth-first search by repetition, see explore.h. */
#include "sim/explore.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define STEPS_MAX 100000 /* of one run: it does not end */

/* ---- states ---- */

static bool insert(uint64_t *table, size_t cap, uint64_t h)
{
    size_t i = (size_t)h & (cap - 1);
    for (; table[i]; i = (i + 1) & (cap - 1)) {
        if (table[i] == h)
            return false;
    }
    table[i] = h;
    return true;
}

static void grow(struct explore *x)
{
    size_t cap = x->seen_cap ? x->seen_cap * 2 : 1 << 16;
    uint64_t *table = xcalloc(cap, sizeof(*table));
    for (size_t i = 0; i < x->seen_cap; i++) {
        if (x->seen[i])
            insert(table, cap, x->seen[i]);
    }
    free(x->seen);
    x->seen = table;
    x->seen_cap = cap;
}

bool explore_seen(struct explore *x, uint64_t state)
{
    if (explore_over(x))
        return true;
    if (explore_repeating(x))
        return false;
    if (x->seen_len * 2 >= x->seen_cap)
        grow(x);
    if (!insert(x->seen, x->seen_cap, state ? state : 1)) {
        x->ended = true;
        return true;
    }
    x->seen_len++;
    x->stats.states++;
    return false;
}

/* ---- choices ---- */

unsigned explore_choose(struct explore *x, unsigned n)
{
    ASSERT(n >= 1);
    x->stats.steps++;
    if (n == 1)
        return 0;
    if (x->depth == x->path.len) {
        ASSERT_MSG(x->depth < STEPS_MAX, "a run of the model never ends");
        VEC_PUSH(&x->path, ((struct explore_choice){n, 0}));
    }
    struct explore_choice *c = &x->path.items[x->depth++];
    ASSERT_MSG(c->of == n, "the model is not deterministic: %u possibilities instead of %u at choice %zu", n,
               c->of, x->depth);
    return c->at;
}

/* To the next path in order; false if there is none. */
static bool advance(struct explore *x)
{
    while (x->path.len > 0) {
        struct explore_choice *c = &x->path.items[x->path.len - 1];
        if (++c->at < c->of)
            return true;
        x->path.len--;
    }
    return false;
}

static void run_once(struct explore *x, void (*run)(struct explore *x, void *ctx), void *ctx)
{
    x->depth = 0;
    x->replay = x->path.len;
    x->ended = false;
    run(x, ctx);
    x->stats.runs++;
    x->stats.complete += !x->ended;
    x->stats.depth = MAX(x->stats.depth, (unsigned)x->depth);
}

bool explore_all(struct explore *x, void (*run)(struct explore *x, void *ctx), void *ctx)
{
    do {
        run_once(x, run, ctx);
        if (explore_over(x) && !x->explain)
            return false;
        if (explore_over(x)) {
            char violation[sizeof(x->violation)];
            memcpy(violation, x->violation, sizeof(violation));
            x->violation[0] = 0;
            x->tracing = true;
            run_once(x, run, ctx);
            x->tracing = false;
            memcpy(x->violation, violation, sizeof(violation));
            return false;
        }
        if (x->max_runs && x->stats.runs >= x->max_runs) {
            x->stats.truncated = true;
            return true;
        }
    } while (advance(x));
    return true;
}

void explore_free(struct explore *x)
{
    VEC_FREE(&x->path);
    free(x->seen);
    x->seen = NULL;
}

/* ---- what is said ---- */

void explore_violated(struct explore *x, const char *fmt, ...)
{
    if (explore_over(x))
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(x->violation, sizeof(x->violation), fmt, ap);
    va_end(ap);
    if (x->tracing)
        printf("    violated: %s\n", x->violation);
}

void explore_note(struct explore *x, const char *fmt, ...)
{
    if (!x->tracing)
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("    ");
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}
