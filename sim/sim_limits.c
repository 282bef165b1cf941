/* Scopes, limit keys and rules in the simulation (spec/invocation-lifecycle.md §12.4, §12.5): rules that
 * change at random and reach the nodes late, and what must hold after every record, by a model that counts
 * anew: no counter goes above its limit by starting somebody; the limits are those of the rules; who is held
 * is held by a full counter or because its queue is paused; nobody of a paused queue starts. */
#include <stdio.h>
#include <stdlib.h>

#include "partition/limits.h"
#include "sim/sim_world.h"
#include "wire/scope.h"

#define NAMES 3
#define BATCH 20 /* records between two counts of everything */

static const char *const scope_names[NAMES] = {"s0", "s1", "s2"};
static const char *const level1_names[NAMES] = {"a", "b", "*"};
static const char *const level2_names[NAMES] = {"x", "y", "*"};

/* ---- making them ---- */

struct slice sim_scope(uint64_t dice)
{
    return slice_cstr(scope_names[dice % NAMES]);
}

struct slice sim_object_scope(const struct sim_world *w, uint32_t object)
{
    return w->options.scopes && object % 2 ? sim_scope(object) : SLICE_EMPTY;
}

struct slice sim_limit_key(uint64_t dice)
{
    static const char *const keys[] = {"", "a", "b", "a/x", "a/y", "b/x", "c/y"};
    const char *key = keys[dice % ARRAY_LEN(keys)];
    return *key ? slice_cstr(key) : SLICE_EMPTY;
}

struct invocation_id sim_queue(struct sim_world *w)
{
    bool object = sim_env_below(&w->env, 4) == 0;
    struct limit_address a = {.scope = sim_scope(sim_env_random(&w->env)),
                              .service = object ? SLICE_LIT("Object") : SLICE_LIT("Flow")};
    if (!object)
        limit_key_split(sim_limit_key(sim_env_random(&w->env)), &a.l1, &a.l2);
    return limits_queue_id(&a);
}

struct pattern {
    char text[16];
    uint32_t limit;
};

static int cmp_patterns(const void *a, const void *b)
{
    return strcmp(((const struct pattern *)a)->text, ((const struct pattern *)b)->text);
}

static void write_pattern(struct sim_world *w, char out[16])
{
    uint64_t s = sim_env_below(&w->env, NAMES + 1), depth = sim_env_below(&w->env, 3);
    const char *scope = s == NAMES ? "*" : scope_names[s], *a = level1_names[sim_env_below(&w->env, NAMES)],
               *b = level2_names[sim_env_below(&w->env, NAMES)];
    snprintf(out, 16, "%s%s%s%s%s", scope, depth ? "/" : "", depth ? a : "", depth > 1 ? "/" : "",
             depth > 1 ? b : "");
}

static void new_rules(struct sim_world *w)
{
    struct pattern rules[6];
    size_t n = sim_env_below(&w->env, ARRAY_LEN(rules) + 1);
    for (size_t i = 0; i < n; i++) {
        write_pattern(w, rules[i].text);
        rules[i].limit = 1 + (uint32_t)sim_env_below(&w->env, 3);
    }
    if (n)
        qsort(rules, n, sizeof(rules[0]), cmp_patterns);
    struct writer list = WRITER_INIT, body = WRITER_INIT;
    struct cmd_rule_book book = {.version = (uint32_t)w->books.len + 1};
    for (size_t i = 0; i < n; i++) {
        if (i && strcmp(rules[i].text, rules[i - 1].text) == 0)
            continue;
        cmd_rule_book_add(&list, slice_cstr(rules[i].text), rules[i].limit);
        book.n_rules++;
    }
    book.rules = writer_slice(&list);
    cmd_rule_book_write(&body, &book);
    VEC_PUSH(&w->books, writer_take(&body));
    writer_free(&list);
}

void sim_limits_tick(struct sim_world *w)
{
    if (!w->options.scopes)
        return;
    if (w->books.len == 0 || sim_chance(w, 10))
        new_rules(w);
    for (uint32_t n = 0; n < w->options.nodes; n++)
        for (uint32_t i = 0; w->node_up[n] && i < w->options.partitions; i++) {
            struct processor *p = w->replicas[n][i].p;
            if (p && !w->replicas[n][i].closing && sim_env_below(&w->env, 5) == 0)
                processor_set_rules(p, (uint32_t)w->books.len, w->books.items[w->books.len - 1]);
        }
}

void sim_limits_free(struct sim_world *w)
{
    for (size_t i = 0; i < w->books.len; i++)
        bytes_unref(&w->books.items[i]);
    VEC_FREE(&w->books);
}

/* ---- the model ---- */

struct counted {
    struct limit_address at;
    uint32_t usage, model_usage, limit;
};
struct counts {
    struct sim_world *w;
    uint32_t version;
    struct {
        struct counted *items;
        size_t len, cap;
    } all;
    struct sim_limits_state *state;
    const struct limits *limits;
    size_t held, n_paused;
    struct sim_queue paused[SIM_COUNTERS];
};

static bool level_matches(struct slice pattern, struct slice name)
{
    return slice_eq_cstr(pattern, "*") || slice_eq(pattern, name);
}

/* The limit of a counter, from the text of the rules. */
static uint32_t model_limit(struct sim_world *w, uint32_t version, const struct limit_address *at)
{
    if (version == 0)
        return NO_LIMIT;
    struct cmd_rule_book book;
    struct reader r = reader_make(bytes_slice(w->books.items[version - 1]));
    bool ok = cmd_rule_book_read(&r, &book);
    SIM_CHECK(w, ok, "rules that cannot be read");
    struct slice pattern, part[PATTERN_LEVELS];
    uint32_t limit, best_limit = NO_LIMIT;
    int best = -1;
    char room[128];
    while (cmd_rule_book_next(&book, &pattern, &limit)) {
        pattern_problem(pattern, part, room);
        if (!part[1].ptr != !at->l1.ptr || !part[2].ptr != !at->l2.ptr ||
            !level_matches(part[0], at->scope) || (part[1].ptr && !level_matches(part[1], at->l1)) ||
            (part[2].ptr && !level_matches(part[2], at->l2)))
            continue;
        int rank = 4 * !slice_eq_cstr(part[0], "*") + 2 * (part[1].ptr && !slice_eq_cstr(part[1], "*")) +
                   (part[2].ptr && !slice_eq_cstr(part[2], "*"));
        if (rank > best) {
            best = rank;
            best_limit = limit;
        }
    }
    return best_limit;
}

static bool same_counter(const struct limit_address *a, const struct limit_address *b)
{
    return slice_eq(a->scope, b->scope) && slice_eq(a->l1, b->l1) && slice_eq(a->l2, b->l2);
}

static struct counted *find_counter(struct counts *c, const struct limit_address *at)
{
    for (size_t i = 0; i < c->all.len; i++)
        if (same_counter(&c->all.items[i].at, at))
            return &c->all.items[i];
    return NULL;
}

static void take_counter(void *ctx, const struct limit_counter *counter)
{
    struct counts *c = ctx;
    uint32_t limit = model_limit(c->w, c->version, &counter->address);
    SIM_CHECK(c->w, limit == counter->limit, "the limit of %.*s/%.*s/%.*s is %u instead of %u",
              SLICE_FMT(counter->address.scope), SLICE_FMT(counter->address.l1),
              SLICE_FMT(counter->address.l2), counter->limit, limit);
    VEC_PUSH(&c->all, ((struct counted){.at = counter->address, .usage = counter->usage, .limit = limit}));
}

/* The counters an invocation is counted by, from the scope on. */
static size_t path_of(const struct invocation *inv, struct limit_address out[3])
{
    struct slice l1, l2;
    limit_key_split(inv->si.limit_key, &l1, &l2);
    out[0] = (struct limit_address){.scope = inv->si.target.scope};
    out[1] = (struct limit_address){.scope = inv->si.target.scope, .l1 = l1};
    out[2] = (struct limit_address){.scope = inv->si.target.scope, .l1 = l1, .l2 = l2};
    return l2.ptr ? 3 : l1.ptr ? 2 : 1;
}

static struct invocation_id queue_of(const struct invocation *inv)
{
    struct limit_address a = {.scope = inv->si.target.scope, .service = inv->si.target.service};
    limit_key_split(inv->si.limit_key, &a.l1, &a.l2);
    return limits_queue_id(&a);
}

static void take_paused(void *ctx, struct invocation_id queue)
{
    struct counts *c = ctx;
    SIM_CHECK(c->w, c->n_paused < SIM_COUNTERS, "more queues are paused than there are");
    c->paused[c->n_paused++] = (struct sim_queue){.id = queue};
}

static void count_queue(struct counts *c, const struct invocation *inv)
{
    struct invocation_id queue = queue_of(inv);
    for (size_t i = 0; i < c->n_paused; i++)
        c->paused[i].running += invocation_id_eq(c->paused[i].id, queue);
}

static void check_queues(struct counts *c)
{
    struct sim_limits_state *before = c->state;
    for (size_t i = 0; i < c->n_paused && !before->resumed; i++)
        for (size_t k = 0; k < before->n_paused; k++)
            SIM_CHECK(c->w,
                      !invocation_id_eq(c->paused[i].id, before->paused[k].id) ||
                          c->paused[i].running <= before->paused[k].running,
                      "somebody of a paused queue was started");
    before->resumed = false;
    before->n_paused = c->n_paused;
    memcpy(before->paused, c->paused, sizeof(c->paused));
}

static bool count_one(void *ctx, const struct invocation *inv)
{
    struct counts *c = ctx;
    struct limit_address path[3];
    SIM_CHECK(c->w, inv->status != INV_HELD || inv->si.target.scope.ptr, "held without a scope");
    c->held += inv->status == INV_HELD && !inv->backoff.resume_at_ms;
    if (!inv->si.target.scope.ptr || inv->status != INV_INVOKED)
        return true;
    for (size_t n = path_of(inv, path); n-- > 0;) {
        struct counted *at = find_counter(c, &path[n]);
        SIM_CHECK(c->w, at, "a running invocation is not counted");
        at->model_usage++;
    }
    count_queue(c, inv);
    return true;
}

static bool held_with_reason(void *ctx, const struct invocation *inv)
{
    struct counts *c = ctx;
    struct limit_address path[3];
    bool reason =
        inv->status != INV_HELD || inv->backoff.resume_at_ms || limits_paused(c->limits, queue_of(inv));
    for (size_t n = reason ? 0 : path_of(inv, path); n-- > 0;) {
        struct counted *at = find_counter(c, &path[n]);
        SIM_CHECK(c->w, at, "a held invocation is not counted");
        reason = reason || at->model_usage >= at->limit;
    }
    SIM_CHECK(c->w, reason, "an invocation is held although it could run");
    return true;
}

static void count_everything(struct counts *c, struct partition_store *s)
{
    c->limits = store_limits(s);
    limits_visit_paused(c->limits, take_paused, c);
    store_scan_invocations(s, count_one, c);
    check_queues(c);
    for (size_t i = 0; i < c->all.len; i++) {
        const struct counted *at = &c->all.items[i];
        SIM_CHECK(c->w, at->usage == at->model_usage, "%.*s/%.*s/%.*s counts %u, but %u run",
                  SLICE_FMT(at->at.scope), SLICE_FMT(at->at.l1), SLICE_FMT(at->at.l2), at->usage,
                  at->model_usage);
    }
    SIM_CHECK(c->w, c->held == limits_held(store_limits(s)), "%zu are held, but %zu wait", c->held,
              limits_held(store_limits(s)));
    if (!store_slot_any_next(s))
        store_scan_invocations(s, held_with_reason, c);
}

void sim_limits_check(struct sim_world *w, struct partition_store *s, lsn_t lsn,
                      struct sim_limits_state *state)
{
    if (!w->options.scopes)
        return;
    struct counts now = {.w = w, .version = store_rules_version(s), .state = state};
    limits_visit_counters(store_limits(s), take_counter, &now);
    for (size_t i = 0; i < now.all.len; i++) {
        const struct counted *at = &now.all.items[i];
        uint32_t before = 0;
        for (size_t k = 0; k < state->n; k++)
            if (slice_eq_cstr(at->at.scope, state->scope[k]) && slice_eq_cstr(at->at.l1, state->l1[k]) &&
                slice_eq_cstr(at->at.l2, state->l2[k]))
                before = state->usage[k];
        SIM_CHECK(w, at->usage <= at->limit || at->usage <= before,
                  "LSN %lu: %.*s/%.*s/%.*s went from %u to %u with a limit of %u", (unsigned long)lsn,
                  SLICE_FMT(at->at.scope), SLICE_FMT(at->at.l1), SLICE_FMT(at->at.l2), before, at->usage,
                  at->limit);
    }
    state->n = 0;
    for (size_t i = 0; i < now.all.len && state->n < SIM_COUNTERS; i++) {
        const struct counted *at = &now.all.items[i];
        snprintf(state->scope[state->n], 8, "%.*s", SLICE_FMT(at->at.scope));
        snprintf(state->l1[state->n], 8, "%.*s", SLICE_FMT(at->at.l1));
        snprintf(state->l2[state->n], 8, "%.*s", SLICE_FMT(at->at.l2));
        state->usage[state->n++] = at->usage;
    }
    if (lsn % BATCH == 0)
        count_everything(&now, s);
    if (now.held > w->most_held)
        w->most_held = now.held;
    VEC_FREE(&now.all);
}
