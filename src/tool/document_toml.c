/* TOML documents (tool/document.h), by way of JSON. */
#include <stdlib.h>

#include "tool/document.h"

bool toml_to_json(const char *text, size_t len, char **out); /* toml.cc */

enum rc doc_parse_toml(struct arena *a, struct slice toml, struct doc **out, const char **error)
{
    char *text;
    struct err err = {0};
    bool good = toml_to_json((const char *)toml.ptr, toml.len, &text);
    enum rc rc = good ? doc_parse(a, slice_cstr(text), out, &err) : RC_INVALID;
    if (rc != RC_OK)
        *error = arena_copy_slice(a, slice_cstr(good ? err.msg : text));
    free(text);
    return rc;
}
