/* The store that metadata is to be migrated to: see node/config.h. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/config_internal.h"
#include "node/config_keys.h"

#define DEPTH_MAX 8u

struct metadata_client_target {
    struct cv *table;
    struct metadata_client_config config;
};

/* NULL: absent. */
static struct cv *from_json(const json_t *j, unsigned depth)
{
    struct cv *v = NULL;
    if (json_is_string(j)) {
        v = cv_string(json_string_value(j), "");
    } else if (json_is_integer(j)) {
        v = cv_int(json_integer_value(j), "");
    } else if (json_is_real(j)) {
        v = cv_new(CV_FLOAT, "");
        v->number = json_real_value(j);
    } else if (json_is_boolean(j)) {
        v = cv_bool(json_boolean_value(j), "");
    } else if (json_is_array(j) && depth < DEPTH_MAX) {
        v = cv_new(CV_LIST, "");
        for (size_t i = 0; i < json_array_size(j); i++) {
            struct cv *item = from_json(json_array_get(j, i), depth + 1);
            if (item)
                cv_push(v, item);
        }
    } else if (json_is_object(j) && depth < DEPTH_MAX) {
        const char *key;
        json_t *member;
        v = cv_new(CV_TABLE, "");
        json_object_foreach((json_t *)j, key, member)
        {
            struct cv *item = from_json(member, depth + 1);
            if (item)
                cv_set_member(v, key, item);
        }
    }
    return v;
}

static enum rc check_keys(struct cv *table, struct err *err)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; i < table->len && rc == RC_OK; i++) {
        struct cv *v = table->items[i];
        char path[128];
        snprintf(path, sizeof(path), "metadata-client.%s", v->key);
        const struct config_key *key = config_key_find(path);
        if (!key)
            return err_set(err, RC_INVALID, "unknown field `%s`", v->key);
        rc = config_key_check(key, v, err);
        if (rc != RC_OK)
            err_prefix(err, "`%s`: ", v->key);
    }
    return rc;
}

enum rc metadata_client_target_parse(struct slice json, struct metadata_client_target **out, struct err *err)
{
    json_error_t parse;
    json_t *j = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &parse);
    struct metadata_client_target *t = xcalloc(1, sizeof(*t));
    enum rc rc = RC_OK;
    if (!json_is_object(j))
        rc = err_set(err, RC_INVALID, "%s", j ? "not an object" : parse.text);
    t->table = rc == RC_OK ? from_json(j, 0) : NULL;
    json_decref(j);
    if (rc == RC_OK)
        rc = check_keys(t->table, err);
    if (rc == RC_OK)
        rc = config_check_metadata_client(t->table, err);
    if (rc != RC_OK) {
        metadata_client_target_free(t);
        return rc;
    }
    config_fill_metadata_client(t->table, &t->config);
    *out = t;
    return RC_OK;
}

const struct metadata_client_config *metadata_client_target_config(const struct metadata_client_target *t)
{
    return &t->config;
}

void metadata_client_target_free(struct metadata_client_target *t)
{
    if (t->table)
        cv_free(t->table);
    free((void *)t->config.addresses);
    free(t);
}
