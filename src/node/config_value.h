/* A configuration tree: tables, lists and scalars, as read from TOML, the environment or the command line. */
#pragma once
#include "base/bytes.h"

enum cv_type { CV_TABLE, CV_LIST, CV_STRING, CV_INT, CV_UINT, CV_FLOAT, CV_BOOL, CV_CHAR };
struct cv {
    enum cv_type type;
    char *key;       /* in a table */
    char *string;    /* CV_STRING, CV_CHAR */
    int64_t integer; /* CV_INT; CV_UINT: from the environment, shown as "unsigned int" in errors */
    double number;
    bool boolean;
    struct cv **items; /* CV_TABLE, CV_LIST */
    size_t len, cap;
    const char *source; /* "in FILE TOML file", "in `RESTATE_` environment variable(s)", "" */
};
struct cv *cv_new(enum cv_type type, const char *source);
void cv_free(struct cv *v);
struct cv *cv_copy(const struct cv *v);
struct cv *cv_string(const char *s, const char *source);
struct cv *cv_int(int64_t i, const char *source);
struct cv *cv_bool(bool b, const char *source);
/* Direct member of a table, or NULL. */
struct cv *cv_member(const struct cv *table, const char *key);
/* Take `value` (owned afterwards) as member `key`, replacing what was there. */
void cv_set_member(struct cv *table, const char *key, struct cv *value);
void cv_push(struct cv *list, struct cv *value);
void cv_remove_member(struct cv *table, const char *key);
/* Dotted paths, e.g. "worker.invoker.abort-timeout". */
struct cv *cv_get(const struct cv *root, const char *path);
/* RC_CONFLICT if a step of the path is a scalar. Takes `value` in any case. */
enum rc cv_set(struct cv *root, const char *path, struct cv *value);
/* Overlay: tables are merged key by key, everything else is replaced. */
void cv_merge(struct cv *into, const struct cv *layer);
/* "string \"x\"", "signed int `5`", "a boolean"...: how errors name a value. */
void cv_describe(const struct cv *v, char *out, size_t cap);

/* Parse a TOML document. The error message has the reference's form: "TOML parse error at line L, column C",
 * the line, a caret, the cause. */
enum rc cv_parse_toml(struct slice text, const char *source, struct cv **out,
                      char **message); /* *message: heap */
/* The value grammar of environment variables (spec/config.md §1.3). */
struct cv *cv_parse_env(const char *text);
