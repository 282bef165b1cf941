/* The concurrency rules of a cluster (spec/invocation-lifecycle.md §12.5, spec/admin-api.md §14): one value
 * of the metadata store, because changes of several rules are atomic. JSON; the reference's form is one that
 * no tool of its own reads. */
#pragma once
#include "base/codec.h"
#include "metadata/arena.h"
#include "wire/scope.h"

#define RULE_BOOK_KEY       "rule_book"
#define RULES_MAX           10000u
#define RULE_BOOK_BYTES_MAX (4u << 20)

struct rule {
    const char *pattern;
    uint32_t concurrency;    /* 0: unlimited */
    const char *description; /* NULL: none */
    bool disabled;
    uint32_t version;
    uint64_t modified_ms; /* unix */
};
struct rule_book {
    uint32_t version;   /* 0: there never were rules */
    struct rule *rules; /* in order of patterns */
    size_t n_rules;
};
/* Texts and arrays live in the arena. RC_CORRUPT. */
enum rc rule_book_decode(struct arena *a, struct slice stored, struct rule_book *out, struct err *err);
void rule_book_encode(struct writer *w, const struct rule_book *b);
const struct rule *rule_book_find(const struct rule_book *b, const char *pattern);
/* As a command for partitions (struct cmd_rule_book): the rules that limit something. */
void rule_book_command(struct writer *w, const struct rule_book *b);

enum rule_precondition { RULE_ANY, RULE_ABSENT, RULE_AT_VERSION };
struct rule_change {
    const char *pattern; /* checked, without a slash at its end */
    bool remove;
    uint32_t concurrency; /* 0: unlimited */
    const char *description;
    bool disabled;
    enum rule_precondition precondition;
    uint32_t expected_version;
    bool existed; /* out: the rule was there */
};
/* All or none, in order, each seeing the ones before. `b` becomes the new book, with its version one higher
 * if anything changed
 * (*changed). RC_CONFLICT: a precondition does not hold; RC_NO_SPACE: too many rules. Then `b` is of no use
 * any more. */
enum rc rule_book_change(struct rule_book *b, struct arena *a, struct rule_change *changes, size_t n,
                         uint64_t now_ms, bool *changed, struct err *err);
