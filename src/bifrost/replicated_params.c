/* Parameters of a replicated segment as JSON: see replicated_params.h. */
#include "bifrost/replicated_params.h"

#include <stdio.h>
#include <stdlib.h>

#include "metadata/json.h"

struct bytes loglet_params_encode(const struct loglet_params *p)
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "{\"loglet_id\":%llu,\"sequencer\":\"N%u:%u\",\"replication\":",
              (unsigned long long)p->loglet_id, p->sequencer.id, p->sequencer.generation);
    replication_print_json(&w, &p->replication);
    write_fmt(&w, ",\"nodeset\":[");
    for (unsigned i = 0; i < p->nodeset.len; i++)
        write_fmt(&w, "%s%u", i ? "," : "", p->nodeset.ids[i]);
    write_fmt(&w, "]}");
    return writer_take(&w);
}

static bool read_number(const char **text, uint32_t *out)
{
    uint64_t v = 0;
    const char *p = *text;
    for (; *p >= '0' && *p <= '9' && v <= UINT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    bool good = p > *text && v <= UINT32_MAX;
    *text = p;
    *out = (uint32_t)v;
    return good;
}

/* `N1:2` */
static bool read_node_ref(const char *text, struct node_ref *out)
{
    if (!text || *text++ != 'N' || !read_number(&text, &out->id) || *text++ != ':')
        return false;
    return read_number(&text, &out->generation) && !*text && out->id > 0;
}

static bool read_replication(const json_t *v, struct replication *out)
{
    if (!v)
        return false;
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    enum rc rc = text ? replication_parse(slice_cstr(text), out, NULL) : RC_INVALID;
    free(text);
    return rc == RC_OK;
}

static bool read_nodeset(const json_t *v, struct nodeset *out)
{
    out->len = 0;
    size_t n = json_array_size(v);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(v, i);
        json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id <= 0 || id > UINT32_MAX || !nodeset_add(out, (uint32_t)id))
            return false;
    }
    return out->len > 0;
}

enum rc loglet_params_decode(struct slice json, struct loglet_params *out, struct err *err)
{
    *out = (struct loglet_params){0};
    json_t *o = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *id = json_object_get(o, "loglet_id");
    bool good = json_is_integer(id) && json_integer_value(id) >= 0 &&
                read_node_ref(json_string_value(json_object_get(o, "sequencer")), &out->sequencer) &&
                read_replication(json_object_get(o, "replication"), &out->replication) &&
                read_nodeset(json_object_get(o, "nodeset"), &out->nodeset);
    if (good)
        out->loglet_id = (uint64_t)json_integer_value(id);
    json_decref(o);
    return good ? RC_OK
                : err_set(err, RC_CORRUPT, "these are not the parameters of a replicated segment: %.*s",
                          (int)MIN(json.len, (size_t)200), (const char *)json.ptr);
}
