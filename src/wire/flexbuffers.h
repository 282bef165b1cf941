/* FlexBuffers, the self-describing encoding of cluster metadata (spec/restatectl.md §7.1 to §7.4): a reader
 * over borrowed bytes, a writer that reproduces the reference's bytes, JSON text of a value, and the storage
 * header (codec byte 2, u32 little-endian length) in front of every stored value. */
#pragma once
#include "base/codec.h"
#include "base/containers.h"

/* ---- reading ---- */

enum flex_kind {
    FLEX_NULL,
    FLEX_BOOL,
    FLEX_INT,  /* signed; a negative or non-negative number */
    FLEX_UINT, /* unsigned */
    FLEX_FLOAT,
    FLEX_TEXT, /* string or key */
    FLEX_BLOB,
    FLEX_SEQUENCE, /* any vector, typed or not */
    FLEX_MAP,
};

/* A value inside a document that flex_parse accepted; valid as long as the document's bytes. */
struct flex {
    const uint8_t *doc;
    size_t slot; /* offset of the slot that holds the value, or the distance back to it */
    uint8_t slot_width;
    uint8_t packed; /* type << 2 | width of what the slot refers to */
};

#define FLEX_MAX_DEPTH 64

/* Checks the whole document: every offset inside it, nesting at most FLEX_MAX_DEPTH, keys of maps strictly
 * ascending, strings and keys terminated and UTF-8, no more work than in proportion to its size (values may
 * share parts). RC_INVALID with a sentence. The functions below never fail on what was accepted. */
enum rc flex_parse(struct slice doc, struct flex *root, struct err *err);

enum flex_kind flex_kind(struct flex v);
/* The following return false if the value is of another kind (or the number does not fit). */
bool flex_bool(struct flex v, bool *out);
bool flex_u64(struct flex v, uint64_t *out);
bool flex_i64(struct flex v, int64_t *out);
bool flex_f64(struct flex v, double *out);
bool flex_text(struct flex v, struct slice *out);
/* Number of elements of a sequence or entries of a map; 0 for everything else. */
size_t flex_count(struct flex v);
struct flex flex_at(struct flex sequence_or_map, size_t i); /* i < flex_count; a map's i-th value */
struct slice flex_key_at(struct flex map, size_t i);
/* Value of `key`; false if `v` is no map or has no such key. */
bool flex_get(struct flex v, const char *key, struct flex *out);
/* Shorthands: false when absent or of another kind. */
bool flex_get_u64(struct flex map, const char *key, uint64_t *out);
bool flex_get_text(struct flex map, const char *key, struct slice *out);

/* JSON text: compact when `indent` is 0, else that many blanks per level. Maps in the order of their keys; at
 * the top level a member `version` comes first, as `metadata get` prints it. */
void flex_write_json(struct writer *w, struct flex v, unsigned indent);

/* ---- writing: values depth first in the order of calls, at most FLEX_MAX_DEPTH open containers ---- */

struct flex_pending {
    uint8_t type, width_bits; /* of the value, or of what an offset refers to */
    uint64_t value;           /* inline bits, or address */
};
struct flex_writer {
    struct writer out;
    struct {
        struct flex_pending *items;
        size_t len, cap;
    } stack;
    size_t open[FLEX_MAX_DEPTH]; /* where on the stack each open container begins */
    size_t depth;
    uint32_t *keys; /* open-addressed: address of a key + 1 */
    size_t n_keys, keys_cap;
};
#define FLEX_WRITER_INIT ((struct flex_writer){0})

void flex_open_map(struct flex_writer *f);
void flex_close_map(struct flex_writer *f);
void flex_open_sequence(struct flex_writer *f);
void flex_close_sequence(struct flex_writer *f);
/* Inside a map every value is preceded by its key; keys of one map differ. Must not contain NUL. */
void flex_key(struct flex_writer *f, const char *key);
void flex_key_slice(struct flex_writer *f, struct slice key);
void flex_put_u64(struct flex_writer *f, uint64_t v);
void flex_put_i64(struct flex_writer *f, int64_t v); /* non-negative numbers are written as unsigned */
void flex_put_f64(struct flex_writer *f, double v);
void flex_put_text(struct flex_writer *f, struct slice text);
void flex_put_bool(struct flex_writer *f, bool v);
void flex_put_null(struct flex_writer *f);
/* The document; exactly one value was put and every container is closed. Frees what the writer holds. */
struct bytes flex_finish(struct flex_writer *f);
void flex_writer_free(struct flex_writer *f);

/* ---- the storage header ---- */

enum storage_codec {
    CODEC_PROTOBUF = 1,
    CODEC_FLEXBUFFERS = 2,
    CODEC_RAW = 3,
    CODEC_JSON = 5,
    CODEC_BILROST = 6,
    CODEC_CUSTOM = 7,
};
/* flex_finish with the header in front, appended to `w`. */
void flex_finish_stored(struct flex_writer *f, struct writer *w);
/* The document behind the header. RC_UNSUPPORTED for another codec, RC_INVALID as flex_parse. */
enum rc flex_parse_stored(struct slice stored, struct flex *root, struct err *err);
