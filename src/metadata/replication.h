/* The replication property: how many copies, spread over how many zones and regions (spec/restatectl.md §7.6,
 * spec/cluster.md §4.2). */
#pragma once
#include "wire/flexbuffers.h"

enum location_scope { SCOPE_NODE, SCOPE_ZONE, SCOPE_REGION, SCOPES };

/* Copies that must lie in distinct domains of each scope; 0: the scope was not given. At least one is. */
struct replication {
    uint8_t copies[SCOPES];
};
static inline struct replication replication_nodes(uint8_t n)
{
    return (struct replication){{n, 0, 0}};
}
/* `2`, `"2"`, `{node: 2}`, `{node: 3, zone: 2}` in any order; case-insensitive, blanks free, quotes around
 * keys and values allowed (JSON). RC_INVALID with the reference's sentence. */
enum rc replication_parse(struct slice text, struct replication *out, struct err *err);
/* `{node: 3, zone: 2}`: narrowest scope first, given scopes only. */
void replication_print(struct writer *w, const struct replication *r);
#define REPLICATION_TEXT_SIZE 48
void replication_format(const struct replication *r, char out[REPLICATION_TEXT_SIZE]);
/* The same as JSON, for the parameters of a segment: `{"node":3,"zone":2}`. */
void replication_print_json(struct writer *w, const struct replication *r);
/* Number of copies of a record: that of the narrowest scope given. */
unsigned replication_copies(const struct replication *r);
/* What the scope demands; 0: nothing. The node scope always demands replication_copies. */
unsigned replication_at(const struct replication *r, enum location_scope scope);
bool replication_eq(const struct replication *a, const struct replication *b);

/* In stored values: a plain number (when `number_for_nodes` and only the node scope is given) or the text.
 * Reading accepts numbers, numeric strings, texts and maps. */
void replication_write(struct flex_writer *f, const struct replication *r, bool number_for_nodes);
bool replication_read(struct flex v, struct replication *out);
