/* Values of options: node ids, ranges, loglets, replication (spec/restatectl.md §10.6). */
#include <stdlib.h>

#include "ctl/ctl.h"

#define IDS_MAX 65536u

bool parse_node_id(const char *text, uint32_t *id, uint32_t *generation)
{
    char plain[32];
    uint64_t a, b = 0;
    if (*text == 'N' || *text == 'n')
        text++;
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : strlen(text);
    if (len >= sizeof(plain))
        return false;
    memcpy(plain, text, len);
    plain[len] = 0;
    if (!parse_u64(plain, UINT32_MAX, &a) || (colon && !parse_u64(colon + 1, UINT32_MAX, &b)))
        return false;
    *id = (uint32_t)a;
    *generation = (uint32_t)b;
    return true;
}

enum rc check_node_id(const char *value, struct err *err)
{
    uint32_t id, generation;
    if (!parse_node_id(value, &id, &generation) || strchr(value, ':'))
        return err_set(err, RC_INVALID, "invalid plain node id: %s", value);
    return RC_OK;
}

enum rc check_generational_id(const char *value, struct err *err)
{
    uint32_t id, generation;
    if (!parse_node_id(value, &id, &generation) || !strchr(value, ':'))
        return err_set(err, RC_INVALID, "invalid generational node id: %s", value);
    return RC_OK;
}

static bool parse_range(const char *text, uint32_t *from, uint32_t *to)
{
    char first[16];
    uint64_t a, b;
    const char *dash = strchr(text, '-');
    size_t len = dash ? (size_t)(dash - text) : strlen(text);
    if (len >= sizeof(first))
        return false;
    memcpy(first, text, len);
    first[len] = 0;
    if (!parse_u64(first, UINT32_MAX, &a))
        return false;
    b = a;
    if (dash && !parse_u64(dash + 1, UINT32_MAX, &b))
        return false;
    *from = (uint32_t)a;
    *to = (uint32_t)b;
    return true;
}

enum rc check_range(const char *value, struct err *err)
{
    uint32_t from, to;
    if (!parse_range(value, &from, &to))
        return err_set(err, RC_INVALID, "Invalid range syntax '%s'", value);
    if (from > to)
        return err_set(err, RC_INVALID, "Invalid id range: %u..%u start must be <= end range", from, to);
    if (to - from >= IDS_MAX)
        return err_set(err, RC_INVALID, "Invalid id range: more than %u ids", IDS_MAX);
    return RC_OK;
}

bool parse_loglet(const char *text, uint64_t *out)
{
    const char *bar = strchr(text, '_');
    char log[16];
    uint64_t id, segment;
    if (!bar)
        return parse_u64(text, UINT64_MAX, out);
    if ((size_t)(bar - text) >= sizeof(log))
        return false;
    memcpy(log, text, (size_t)(bar - text));
    log[bar - text] = 0;
    if (!parse_u64(log, UINT32_MAX, &id) || !parse_u64(bar + 1, UINT32_MAX, &segment))
        return false;
    *out = loglet_id_make((uint32_t)id, (uint32_t)segment);
    return true;
}

enum rc check_loglet(const char *value, struct err *err)
{
    uint64_t id;
    return parse_loglet(value, &id) ? RC_OK : err_set(err, RC_INVALID, "invalid loglet id: %s", value);
}

enum rc check_replication(const char *value, struct err *err)
{
    struct replication r;
    return replication_parse(slice_cstr(value), &r, err);
}

enum rc check_address(const char *value, struct err *err)
{
    struct http_uri uri;
    char full[1100];
    bool has_scheme = strstr(value, "://") || strncmp(value, "unix:", 5) == 0;
    snprintf(full, sizeof(full), "%s%s", has_scheme ? "" : "http://", value);
    return http_uri_parse(slice_cstr(full), &uri, err);
}

enum rc check_key(const char *value, struct err *err)
{
    if (!*value)
        return err_set(err, RC_INVALID, "the key is empty");
    if (strlen(value) > KV_KEY_MAX)
        return err_set(err, RC_INVALID, "the key is longer than %u bytes", KV_KEY_MAX);
    return RC_OK;
}

static void push(struct tool *t, struct ids *ids, uint32_t id)
{
    for (size_t i = 0; i < ids->len; i++)
        if (ids->items[i] == id)
            return;
    if (ids->len == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 8;
        uint32_t *items = arena_array(&t->arena, uint32_t, cap);
        if (ids->len)
            memcpy(items, ids->items, ids->len * sizeof(*items));
        ids->items = items;
        ids->cap = cap;
    }
    ids->items[ids->len++] = id;
}

struct ids arg_nodes(struct tool *t, const char *name)
{
    struct ids ids = {0};
    const char *text;
    for (size_t i = 0; (text = tool_item(t, name, i)); i++) {
        uint32_t id, generation;
        if (parse_node_id(text, &id, &generation))
            push(t, &ids, id);
    }
    return ids;
}

struct ids arg_ranges(struct tool *t, const char *name)
{
    struct ids ids = {0};
    const char *text;
    for (size_t i = 0; (text = tool_item(t, name, i)); i++) {
        uint32_t from, to;
        if (!parse_range(text, &from, &to))
            continue;
        for (uint64_t id = from; id <= to && ids.len < IDS_MAX; id++)
            push(t, &ids, (uint32_t)id);
    }
    return ids;
}

const char *arg_replication(struct tool *t, const char *name)
{
    const char *text = tool_text(t, name) ? tool_text(t, name) : tool_text(t, "replication");
    return text ? normal_replication(t, text) : NULL;
}
