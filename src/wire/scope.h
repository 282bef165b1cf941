/* Scopes, limit keys and the patterns of concurrency rules (spec/invocation-lifecycle.md §12.4, §12.5;
 * spec/ingress.md §5.7; spec/admin-api.md §14): how they are written. */
#pragma once
#include "base/codec.h"

#define LABEL_MAX        36
#define LIMIT_KEY_LEVELS 2
#define LABEL_ROOM       64

/* NULL if `value` is a valid scope or limit-key level, else the reason, which may live in `room`. */
const char *label_problem(struct slice value, char room[LABEL_ROOM]);

/* A limit key is one or two labels, "l1" or "l1/l2"; a trailing slash is tolerated. False: `message` gets the
 * reason. */
bool limit_key_check(struct slice value, struct writer *message);
bool limit_key_valid(struct slice value); /* the same without a reason */
/* Without the tolerated slash; ptr NULL for what names no level. */
struct slice limit_key_trim(struct slice value);
/* The levels of a valid limit key; ptr NULL where there is none. */
void limit_key_split(struct slice value, struct slice *l1, struct slice *l2);

/* A rule's pattern: 1 to 3 labels or `*`. Sets the levels (ptr NULL where there is none) and returns NULL, or
 * the reason. */
#define PATTERN_LEVELS 3
#define PATTERN_MAX    (PATTERN_LEVELS * (LABEL_MAX + 1) - 1)
const char *pattern_problem(struct slice value, struct slice levels[PATTERN_LEVELS], char room[128]);
