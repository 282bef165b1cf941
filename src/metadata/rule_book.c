/* Concurrency rules: see rule_book.h. */
#include "metadata/rule_book.h"

#include <stdio.h>
#include <string.h>

#include "metadata/json.h"
#include "wire/command.h"

/* ---- the stored form:
 * {"v":1,"version":n,"rules":[{"pattern","concurrency"?,"description"?,"disabled","version","modified"}]} */

void rule_book_encode(struct writer *w, const struct rule_book *b)
{
    struct json_out o = json_out_make(w);
    json_open(&o, '{');
    json_number(&o, "v", 1);
    json_number(&o, "version", b->version);
    json_open_at(&o, "rules", '[');
    for (size_t i = 0; i < b->n_rules; i++) {
        const struct rule *r = &b->rules[i];
        json_open(&o, '{');
        json_text(&o, "pattern", r->pattern);
        if (r->concurrency)
            json_number(&o, "concurrency", r->concurrency);
        json_text_opt(&o, "description", r->description);
        json_flag(&o, "disabled", r->disabled);
        json_number(&o, "version", r->version);
        json_number(&o, "modified", r->modified_ms);
        json_close(&o, '}');
    }
    json_close(&o, ']');
    json_close(&o, '}');
}

static bool number_of(const json_t *o, const char *key, uint64_t max, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    *out = 0;
    if (!v)
        return true;
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool decode_rule(struct arena *a, const json_t *o, struct rule *out)
{
    uint64_t concurrency, version, modified;
    char room[128];
    struct slice levels[PATTERN_LEVELS];
    const char *pattern = json_string_value(json_object_get(o, "pattern"));
    const char *description = json_string_value(json_object_get(o, "description"));
    if (!pattern || pattern_problem(slice_cstr(pattern), levels, room) || strlen(pattern) > PATTERN_MAX ||
        !number_of(o, "concurrency", UINT32_MAX, &concurrency) ||
        !number_of(o, "version", UINT32_MAX, &version) || !number_of(o, "modified", INT64_MAX, &modified))
        return false;
    *out = (struct rule){.pattern = arena_copy_text(a, pattern),
                         .concurrency = (uint32_t)concurrency,
                         .description = arena_copy_text(a, description),
                         .disabled = json_is_true(json_object_get(o, "disabled")),
                         .version = (uint32_t)version,
                         .modified_ms = modified};
    return true;
}

enum rc rule_book_decode(struct arena *a, struct slice stored, struct rule_book *out, struct err *err)
{
    json_t *o = json_loadb((const char *)stored.ptr, stored.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(o, "rules");
    uint64_t format, version;
    bool ok = number_of(o, "v", 1, &format) && format == 1 && number_of(o, "version", UINT32_MAX, &version) &&
              json_is_array(list) && json_array_size(list) <= RULES_MAX;
    *out = (struct rule_book){0};
    if (ok) {
        out->version = (uint32_t)version;
        out->rules = arena_array(a, struct rule, json_array_size(list) + 1);
    }
    for (size_t i = 0; ok && i < json_array_size(list); i++) {
        struct rule *r = &out->rules[out->n_rules++];
        ok = decode_rule(a, json_array_get(list, i), r) && (i == 0 || strcmp(r[-1].pattern, r->pattern) < 0);
    }
    json_decref(o);
    return ok ? RC_OK : err_set(err, RC_CORRUPT, "the metadata value " RULE_BOOK_KEY " cannot be read");
}

void rule_book_command(struct writer *w, const struct rule_book *b)
{
    struct writer rules = WRITER_INIT;
    struct cmd_rule_book c = {.version = b->version};
    for (size_t i = 0; i < b->n_rules; i++) {
        const struct rule *r = &b->rules[i];
        if (r->disabled || !r->concurrency)
            continue;
        cmd_rule_book_add(&rules, slice_cstr(r->pattern), r->concurrency);
        c.n_rules++;
    }
    c.rules = writer_slice(&rules);
    cmd_rule_book_write(w, &c);
    writer_free(&rules);
}

/* ---- changes ---- */

/* Where the pattern is, or would be. */
static size_t position(const struct rule_book *b, const char *pattern)
{
    size_t lo = 0, hi = b->n_rules;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (strcmp(b->rules[mid].pattern, pattern) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct rule *rule_book_find(const struct rule_book *b, const char *pattern)
{
    size_t at = position(b, pattern);
    return at < b->n_rules && strcmp(b->rules[at].pattern, pattern) == 0 ? &b->rules[at] : NULL;
}

static enum rc check(const struct rule_change *c, const struct rule *there, struct err *err)
{
    bool holds = c->precondition == RULE_ANY || (c->precondition == RULE_ABSENT && !there) ||
                 (c->precondition == RULE_AT_VERSION && there && there->version == c->expected_version);
    if (holds)
        return RC_OK;
    char wanted[32] = "DoesNotExist", actual[32] = "None";
    if (c->precondition == RULE_AT_VERSION)
        snprintf(wanted, sizeof(wanted), "Matches(v%u)", c->expected_version);
    if (there)
        snprintf(actual, sizeof(actual), "Some(v%u)", there->version);
    return err_set(err, RC_CONFLICT, "rule precondition %s for pattern %s failed (actual version: %s)",
                   wanted, c->pattern, actual);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void remove_at(struct rule_book *b, size_t at)
{
    memmove(&b->rules[at], &b->rules[at + 1], (b->n_rules - at - 1) * sizeof(*b->rules));
    b->n_rules--;
}

static void insert_at(struct rule_book *b, size_t at, struct rule r)
{
    memmove(&b->rules[at + 1], &b->rules[at], (b->n_rules - at) * sizeof(*b->rules));
    b->rules[at] = r;
    b->n_rules++;
}

/* A rule's version tells of its effect only: a new description leaves it. */
static bool update(struct rule *r, const struct rule_change *c, struct arena *a, uint64_t now_ms)
{
    bool effect = r->concurrency != c->concurrency || r->disabled != c->disabled;
    bool text = !same_text(r->description, c->description);
    if (effect) {
        r->concurrency = c->concurrency;
        r->disabled = c->disabled;
        r->version++;
        r->modified_ms = now_ms;
    }
    if (text)
        r->description = arena_copy_text(a, c->description);
    return effect || text;
}

static enum rc apply(struct rule_book *b, struct arena *a, struct rule_change *c, uint64_t now_ms,
                     bool *changed, struct err *err)
{
    size_t at = position(b, c->pattern);
    const struct rule *there = rule_book_find(b, c->pattern);
    c->existed = there != NULL;
    enum rc rc = check(c, there, err);
    if (rc != RC_OK)
        return rc;
    if (c->remove) {
        if (there)
            remove_at(b, at);
        *changed = *changed || there;
        return RC_OK;
    }
    if (there) {
        *changed = update(&b->rules[at], c, a, now_ms) || *changed;
        return RC_OK;
    }
    if (b->n_rules >= RULES_MAX)
        return err_set(err, RC_NO_SPACE, "rule book is full (%u rules)", RULES_MAX);
    insert_at(b, at,
              (struct rule){.pattern = arena_copy_text(a, c->pattern),
                            .concurrency = c->concurrency,
                            .description = arena_copy_text(a, c->description),
                            .disabled = c->disabled,
                            .version = b->version + 1,
                            .modified_ms = now_ms});
    *changed = true;
    return RC_OK;
}

enum rc rule_book_change(struct rule_book *b, struct arena *a, struct rule_change *changes, size_t n,
                         uint64_t now_ms, bool *changed, struct err *err)
{
    struct rule *room = arena_array(a, struct rule, b->n_rules + n + 1);
    if (b->n_rules)
        memcpy(room, b->rules, b->n_rules * sizeof(*room));
    b->rules = room;
    *changed = false;
    enum rc rc = RC_OK;
    for (size_t i = 0; i < n && rc == RC_OK; i++)
        rc = apply(b, a, &changes[i], now_ms, changed, err);
    if (rc == RC_OK && *changed)
        b->version++;
    return rc;
}
