/* JSON documents of the metadata store with whole 64-bit integers, unsigned ones too: parsed from JSON or
 * from a stored value, changed by JSON Patch (RFC 6902), written back. Everything in an arena. */
#pragma once
#include "metadata/arena.h"
#include "wire/flexbuffers.h"

enum doc_kind { DOC_NULL, DOC_BOOL, DOC_UINT, DOC_INT, DOC_FLOAT, DOC_TEXT, DOC_LIST, DOC_MAP };

struct doc {
    enum doc_kind kind;
    bool flag;
    uint64_t number;  /* DOC_UINT */
    int64_t negative; /* DOC_INT, below 0 */
    double real;
    struct slice text;
    struct doc **items; /* of a list or map */
    struct slice *keys; /* of a map, ascending, different */
    size_t n, cap;
};

#define DOC_DEPTH_MAX 60

/* RC_INVALID with line and column. */
enum rc doc_parse(struct arena *a, struct slice json, struct doc **out, struct err *err);
/* The same from TOML; RC_INVALID shows the line. */
enum rc doc_parse_toml(struct arena *a, struct slice toml, struct doc **out, const char **error);
/* What stands in a stored value: FlexBuffers or JSON. RC_UNSUPPORTED names another codec. */
enum rc doc_decode(struct arena *a, struct slice stored, struct doc **out, struct err *err);
/* Stored form of a map with its version in front. */
void doc_encode(struct writer *w, const struct doc *map, uint64_t version);
/* Two blanks per level; a member `version` of the top map first, the others by name. */
void doc_print(struct writer *w, const struct doc *d);
/* In one line, without blanks; members by name. */
void doc_print_compact(struct writer *w, const struct doc *d);
struct doc *doc_copy(struct arena *a, const struct doc *d);
struct doc *doc_new(struct arena *a, enum doc_kind kind);
struct doc *doc_member(const struct doc *map, struct slice key); /* NULL: not there */
void doc_set(struct arena *a, struct doc *map, struct slice key, struct doc *value);
bool doc_drop(struct doc *map, struct slice key);
bool doc_eq(const struct doc *a, const struct doc *b);
/* Apply a patch (a list of operations) to `*d`; on failure `*d` may be changed in part. */
enum rc doc_patch(struct arena *a, struct doc **d, const struct doc *patch, struct err *err);
