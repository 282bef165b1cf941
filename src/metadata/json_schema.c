/* A modest check of the JSON schemas that endpoints announce (spec/service-protocol.md §2.5). Schemas are
 * documentation here, values are never validated against them; the check catches keywords of a wrong type and
 * references that leave the document. */
#include <string.h>

#include "metadata/manifest.h"

#define DEPTH_MAX 64

static enum rc check(const json_t *schema, int depth, struct err *err);

static bool type_name_valid(const char *type)
{
    static const char *const names[] = {"null", "boolean", "object", "array", "number", "string", "integer"};
    for (size_t i = 0; type && i < ARRAY_LEN(names); i++)
        if (strcmp(type, names[i]) == 0)
            return true;
    return false;
}

static enum rc check_type(const json_t *v, struct err *err)
{
    if (json_is_string(v) && type_name_valid(json_string_value(v)))
        return RC_OK;
    bool valid = json_is_array(v) && json_array_size(v) > 0;
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)v, i, item) valid =
        valid && json_is_string(item) && type_name_valid(json_string_value(item));
    return valid ? RC_OK : err_set(err, RC_INVALID, "\"type\" is not the name of a type, or a list of them");
}

static enum rc check_each_member(const json_t *v, const char *keyword, int depth, struct err *err)
{
    if (!json_is_object(v))
        return err_set(err, RC_INVALID, "\"%s\" is not of type \"object\"", keyword);
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)v, key, item) if (check(item, depth + 1, err)) return RC_INVALID;
    return RC_OK;
}

static enum rc check_each_item(const json_t *v, const char *keyword, int depth, struct err *err)
{
    if (!json_is_array(v) || json_array_size(v) == 0)
        return err_set(err, RC_INVALID, "\"%s\" is not a list of schemas", keyword);
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)v, i, item) if (check(item, depth + 1, err)) return RC_INVALID;
    return RC_OK;
}

static bool is_one_of(const char *key, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(key, *names) == 0)
            return true;
    return false;
}

static enum rc check_keyword(const char *key, const json_t *v, int depth, struct err *err)
{
    static const char *const members[] = {"properties",  "patternProperties", "$defs",
                                          "definitions", "dependentSchemas",  NULL};
    static const char *const lists[] = {"allOf", "anyOf", "oneOf", "prefixItems", NULL};
    static const char *const schemas[] = {"not",
                                          "if",
                                          "then",
                                          "else",
                                          "contains",
                                          "propertyNames",
                                          "additionalProperties",
                                          "additionalItems",
                                          "unevaluatedItems",
                                          "unevaluatedProperties",
                                          NULL};
    static const char *const numbers[] = {"minimum", "maximum", "multipleOf", NULL};
    static const char *const counts[] = {"minLength",     "maxLength",     "minItems", "maxItems",
                                         "minProperties", "maxProperties", NULL};
    if (strcmp(key, "type") == 0)
        return check_type(v, err);
    if (strcmp(key, "$ref") == 0 || strcmp(key, "$dynamicRef") == 0) {
        if (!json_is_string(v))
            return err_set(err, RC_INVALID, "\"%s\" is not of type \"string\"", key);
        if (json_string_value(v)[0] != '#')
            return err_set(err, RC_INVALID, "external references are not supported: %.200s",
                           json_string_value(v));
        return RC_OK;
    }
    if (is_one_of(key, members))
        return check_each_member(v, key, depth, err);
    if (is_one_of(key, lists))
        return check_each_item(v, key, depth, err);
    if (strcmp(key, "items") == 0 && json_is_array(v))
        return json_array_size(v) ? check_each_item(v, key, depth, err) : RC_OK;
    if (is_one_of(key, schemas) || strcmp(key, "items") == 0)
        return check(v, depth + 1, err);
    if (is_one_of(key, numbers) && !json_is_number(v))
        return err_set(err, RC_INVALID, "\"%s\" is not of type \"number\"", key);
    if (is_one_of(key, counts) && (!json_is_number(v) || json_number_value(v) < 0))
        return err_set(err, RC_INVALID, "\"%s\" is not a non-negative integer", key);
    return RC_OK;
}

static enum rc check(const json_t *schema, int depth, struct err *err)
{
    if (depth > DEPTH_MAX)
        return err_set(err, RC_INVALID, "nested deeper than %d", DEPTH_MAX);
    if (json_is_boolean(schema))
        return RC_OK;
    if (!json_is_object(schema))
        return err_set(err, RC_INVALID, "a schema is not of types \"boolean\", \"object\"");
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)schema, key, v) if (check_keyword(key, v, depth, err)) return RC_INVALID;
    return RC_OK;
}

enum rc json_schema_check(const json_t *schema, struct err *err)
{
    return check(schema, 0, err);
}
