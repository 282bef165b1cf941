/* PUT /limits/rules and POST /limits/rules/bulk-delete: concurrency rules of scopes (spec/admin-api.md §14).
 * Reading goes through SQL. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_internal.h"

/* One request, in the arena of its call. */
struct rules_call {
    struct rule_edit edit;
    struct admin_call *call;
    struct rule_change *changes;
    size_t n;
};

/* ---- input: each reader answers 422 and returns false ---- */

static bool bad_member(struct admin_call *c, size_t index, const char *member, const char *reason)
{
    char path[96];
    snprintf(path, sizeof(path), "[%zu]%s%s", index, member[0] ? "." : "", member);
    answer_bad_shape(c, path, reason);
    return false;
}

static bool read_pattern(struct admin_call *c, size_t i, const json_t *o, const char **out)
{
    const json_t *v = json_object_get(o, "pattern");
    struct slice levels[PATTERN_LEVELS];
    char room[128];
    if (!json_is_object(o))
        return bad_member(c, i, "", "invalid type: expected a rule");
    if (!v)
        return bad_member(c, i, "", "missing field `pattern`");
    if (!json_is_string(v))
        return bad_member(c, i, "pattern", "invalid type: expected a string");
    struct slice text = slice_make(json_string_value(v), json_string_length(v));
    const char *problem = pattern_problem(text, levels, room);
    if (problem)
        return bad_member(c, i, "pattern", problem);
    if (text.ptr[text.len - 1] == '/')
        text.len--;
    *out = arena_copy_slice(&c->arena, text);
    return true;
}

static bool read_u32(struct admin_call *c, size_t i, const char *name, const json_t *v, uint32_t min,
                     uint32_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= UINT32_MAX) {
        *out = (uint32_t)json_integer_value(v);
        return true;
    }
    char reason[96];
    if (json_is_integer(v))
        snprintf(reason, sizeof(reason), "invalid value: integer `%lld`, expected a %su32",
                 (long long)json_integer_value(v), min ? "nonzero " : "");
    else
        snprintf(reason, sizeof(reason), "invalid type: expected a %su32", min ? "nonzero " : "");
    return bad_member(c, i, name, reason);
}

static bool read_precondition(struct admin_call *c, size_t i, const json_t *o, struct rule_change *out)
{
    const json_t *p = json_member(o, "precondition"), *version = json_member(p, "version");
    if (!p)
        return true;
    const char *type = json_string_value(json_object_get(p, "type"));
    if (!type)
        return bad_member(c, i, "precondition", "missing field `type`");
    if (strcmp(type, "none") == 0)
        return true;
    if (strcmp(type, "does_not_exist") == 0) {
        out->precondition = RULE_ABSENT;
        return true;
    }
    if (strcmp(type, "matches") != 0) {
        char reason[160];
        snprintf(reason, sizeof(reason),
                 "unknown variant `%.40s`, expected one of `none`, `matches`, `does_not_exist`", type);
        return bad_member(c, i, "precondition.type", reason);
    }
    out->precondition = RULE_AT_VERSION;
    if (!version)
        return bad_member(c, i, "precondition", "missing field `version`");
    return read_u32(c, i, "precondition.version", version, 0, &out->expected_version);
}

static bool read_text_member(struct admin_call *c, size_t i, const json_t *o, const char *key,
                             const char **out)
{
    const json_t *v = json_member(o, key);
    if (!v)
        return true;
    *out = json_string_value(v);
    return *out && strlen(*out) == json_string_length(v)
               ? true
               : bad_member(c, i, key, "invalid type: expected a string");
}

static bool read_put(struct admin_call *c, size_t i, const json_t *o, struct rule_change *out)
{
    if (!read_pattern(c, i, o, &out->pattern))
        return false;
    const json_t *limits = json_member(o, "limits"), *concurrency = json_member(limits, "concurrency"),
                 *disabled = json_member(o, "disabled");
    if (limits && !json_is_object(limits))
        return bad_member(c, i, "limits", "invalid type: expected an object");
    if (concurrency && !read_u32(c, i, "limits.concurrency", concurrency, 1, &out->concurrency))
        return false;
    if (disabled && !json_is_boolean(disabled))
        return bad_member(c, i, "disabled", "invalid type: expected a boolean");
    out->disabled = json_is_true(disabled);
    return read_text_member(c, i, o, "description", &out->description) && read_precondition(c, i, o, out);
}

static bool read_delete(struct admin_call *c, size_t i, const json_t *o, struct rule_change *out)
{
    if (!read_pattern(c, i, o, &out->pattern))
        return false;
    const json_t *version = json_member(o, "expected_version");
    out->remove = true;
    out->precondition = version ? RULE_AT_VERSION : RULE_ANY;
    return !version || read_u32(c, i, "expected_version", version, 0, &out->expected_version);
}

/* ---- answers ---- */

static void json_rule(struct json_out *o, const struct rule *r)
{
    json_open(o, '{');
    json_text(o, "pattern", r->pattern);
    json_open_at(o, "limits", '{');
    if (r->concurrency)
        json_number(o, "concurrency", r->concurrency);
    json_close(o, '}');
    json_text_opt(o, "description", r->description);
    json_flag(o, "disabled", r->disabled);
    json_number(o, "version", r->version);
    json_number(o, "last_modified_millis_since_epoch", r->modified_ms);
    json_close(o, '}');
}

static void refused(struct admin_call *c, const struct err *err)
{
    if (err->rc == RC_CONFLICT)
        answer_error(c, 409, "%s", err->msg);
    else if (err->rc == RC_NO_SPACE)
        answer_error(c, 422, "%s", err->msg);
    else
        answer_error(c, 500, "metadata store I/O failed: %s", err->msg);
}

/* The answer to an edit: what `item` writes about each change. */
static void answer_each(struct rules_call *q, const struct rule_book *book, const struct err *err,
                        void (*item)(struct json_out *o, const struct rule_change *change,
                                     const struct rule_book *book))
{
    if (err) {
        refused(q->call, err);
        return;
    }
    struct writer w = WRITER_INIT;
    struct json_out o = json_out_make(&w);
    json_open(&o, '[');
    for (size_t i = 0; i < q->n; i++)
        item(&o, &q->changes[i], book);
    json_close(&o, ']');
    answer_json(q->call, 200, &w, NULL);
}

/* The final state of each rule that was asked for; a conflict of the metadata store itself is none of the
 * rules. */
static void put_item(struct json_out *o, const struct rule_change *change, const struct rule_book *book)
{
    json_rule(o, rule_book_find(book, change->pattern));
}

static void put_done(struct rule_edit *e, const struct rule_book *book, const struct err *err)
{
    answer_each(CONTAINER_OF(e, struct rules_call, edit), book, err, put_item);
}

static void delete_item(struct json_out *o, const struct rule_change *change, const struct rule_book *book)
{
    if (change->existed)
        json_text(o, NULL, change->pattern);
}

static void delete_done(struct rule_edit *e, const struct rule_book *book, const struct err *err)
{
    answer_each(CONTAINER_OF(e, struct rules_call, edit), book, err, delete_item);
}

static void start(struct admin_call *c,
                  bool (*read)(struct admin_call *, size_t, const json_t *, struct rule_change *),
                  void (*done)(struct rule_edit *, const struct rule_book *, const struct err *))
{
    if (!c->admin->deps.rules) {
        answer_not_implemented(c, "Concurrency rules are");
        return;
    }
    const json_t *body = call_json(c);
    if (!body)
        return;
    if (!json_is_array(body)) {
        answer_bad_shape(c, "", "invalid type: expected a sequence");
        return;
    }
    struct rules_call *q = arena_alloc(&c->arena, sizeof(*q));
    q->call = c;
    q->n = json_array_size(body);
    q->changes = arena_array(&c->arena, struct rule_change, q->n + 1);
    for (size_t i = 0; i < q->n; i++)
        if (!read(c, i, json_array_get(body, i), &q->changes[i]))
            return;
    q->edit.changes = q->changes;
    q->edit.n_changes = q->n;
    q->edit.done = done;
    rule_store_edit(c->admin->deps.rules, &q->edit);
}

void handle_put_rules(struct admin_call *c)
{
    start(c, read_put, put_done);
}

void handle_delete_rules(struct admin_call *c)
{
    start(c, read_delete, delete_done);
}
