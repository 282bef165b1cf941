/* POST /services/{service}/state: replace the whole state of an object or workflow key (spec/admin-api.md
 * §9). */
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "wire/scope.h"

struct pair {
    struct slice key, value;
};

static int compare_pairs(const void *a, const void *b)
{
    return slice_cmp(((const struct pair *)a)->key, ((const struct pair *)b)->key);
}

/* A value is a list of bytes, or a string that stands for its UTF-8 bytes. */
static bool read_value(struct admin_call *c, const json_t *v, struct slice *out)
{
    if (json_is_string(v)) {
        *out = slice_make(json_string_value(v), json_string_length(v));
        return true;
    }
    if (!json_is_array(v))
        return false;
    size_t n = json_array_size(v);
    uint8_t *bytes = arena_alloc(&c->arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > 255)
            return false;
        bytes[i] = (uint8_t)json_integer_value(item);
    }
    *out = slice_make(bytes, n);
    return true;
}

/* `entries` as the log wants them: in order of keys, so that equal requests are equal records. */
static bool read_new_state(struct admin_call *c, const json_t *body, struct slice *entries, size_t *n_entries)
{
    json_t *object = json_object_get(body, "new_state");
    if (!json_is_object(object)) {
        answer_bad_shape(c, "new_state",
                         object ? "invalid type: expected an object" : "missing field `new_state`");
        return false;
    }
    struct pair *pairs = arena_array(&c->arena, struct pair, json_object_size(object) + 1);
    size_t n = 0, key_len;
    const char *key;
    json_t *value;
    json_object_keylen_foreach(object, key, key_len, value)
    {
        pairs[n].key = slice_make(key, key_len);
        if (!read_value(c, value, &pairs[n++].value)) {
            answer_bad_shape(c, "new_state", "invalid value: expected a list of bytes or a string");
            return false;
        }
    }
    qsort(pairs, n, sizeof(*pairs), compare_pairs);
    struct writer w = WRITER_INIT;
    for (size_t i = 0; i < n; i++) {
        write_lp(&w, pairs[i].key);
        write_lp(&w, pairs[i].value);
    }
    *entries = slice_make(arena_copy_slice(&c->arena, writer_slice(&w)), w.len);
    *n_entries = n;
    writer_free(&w);
    return true;
}

/* A text member where NUL may occur: keys are bytes. ptr NULL if absent. */
static bool read_bytes(struct admin_call *c, const json_t *body, const char *key, bool required,
                       struct slice *out)
{
    const json_t *v = json_member(body, key);
    *out = SLICE_EMPTY;
    if (json_is_string(v)) {
        *out = slice_make(json_string_value(v), json_string_length(v));
        return true;
    }
    if (!v && !required)
        return true;
    answer_bad_shape(c, key, v ? "invalid type: expected a string" : "missing field");
    return false;
}

static bool target_allowed(struct admin_call *c, size_t n_entries, struct slice scope)
{
    const struct schema_service *s = schema_service(call_schema(c), slice_cstr(c->params[0]));
    if (!s && n_entries) {
        answer_error(c, 404, "The requested service '%s' does not exist", c->params[0]);
        return false;
    }
    if (s && s->type == SERVICE_PLAIN) {
        answer_error(c, 400, "Cannot modify state for service type Service");
        return false;
    }
    char room[LABEL_ROOM];
    const char *fault = scope.ptr ? label_problem(scope, room) : NULL;
    if (fault) {
        /* The reference says 500 here, which would make clients repeat the request (spec/admin-api.md §9). */
        answer_error(c, 400, "bad scope: %s", fault);
        return false;
    }
    return true;
}

static void on_patched(struct admin_call *c, const struct rpc_reply *reply)
{
    if (reply->status == RPC_FAILED)
        answer_rpc_failed(c, reply);
    else
        answer_empty(c, 202);
}

void handle_modify_state(struct admin_call *c)
{
    struct cmd_patch_state patch = {.service = slice_cstr(c->params[0])};
    size_t n_entries;
    json_t *body = call_json_object(c);
    if (!body || !read_bytes(c, body, "object_key", true, &patch.key) ||
        !read_bytes(c, body, "version", false, &patch.expected_version) ||
        !read_bytes(c, body, "scope", false, &patch.scope) ||
        !read_new_state(c, body, &patch.entries, &n_entries) || !target_allowed(c, n_entries, patch.scope))
        return;
    struct writer w = WRITER_INIT;
    record_begin(&w, patch.entries.len + 256);
    cmd_patch_state_write(&w, &patch);
    struct slice record = slice_make(arena_copy_slice(&c->arena, writer_slice(&w)), w.len);
    writer_free(&w);
    c->rpc.kind = RPC_PATCH_STATE;
    c->rpc.partition_key = partition_key_of_key(patch.scope.ptr ? patch.scope : patch.key);
    call_rpc(c, record, on_patched);
}
