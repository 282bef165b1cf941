/* Small helpers around JSON: a writer that keeps the order of keys (answers of the admin API have a fixed
 * order), and typed reading on top of jansson. */
#pragma once
#include <jansson.h>

#include "base/codec.h"

/* Writes JSON into a struct writer and puts the commas. Keys are literals of ours and are not escaped. */
struct json_out {
    struct writer *w;
    bool comma;
};
static inline struct json_out json_out_make(struct writer *w)
{
    return (struct json_out){w, false};
}
void json_open(struct json_out *o, char bracket); /* '{' or '[', as an element */
void json_open_at(struct json_out *o, const char *key, char bracket);
void json_close(struct json_out *o, char bracket);
void json_key(struct json_out *o, const char *key);
/* Values; `key` NULL: an element of an array, or the value after json_key. */
void json_text(struct json_out *o, const char *key, const char *text); /* NULL text: null */
void json_text_slice(struct json_out *o, const char *key, struct slice text);
void json_text_opt(struct json_out *o, const char *key, const char *text); /* nothing when NULL */
void json_number(struct json_out *o, const char *key, uint64_t v);
void json_real_number(struct json_out *o, const char *key,
                      double v); /* shortest form that reads back equal; always with a point */
void json_flag(struct json_out *o, const char *key, bool v);
void json_nothing(struct json_out *o, const char *key); /* null */
void json_raw(struct json_out *o, const char *key, const char *json);
void json_raw_opt(struct json_out *o, const char *key, const char *json); /* nothing when NULL */

/* Compact text of a value with sorted keys; heap, the caller frees. */
char *json_text_of(const json_t *v);
/* Member of an object or NULL; JSON null counts as absent. */
json_t *json_member(const json_t *object, const char *key);
