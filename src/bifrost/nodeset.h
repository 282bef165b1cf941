/* Who stores a segment, and how many of them make a quorum (spec/cluster.md §1.4, §4.2, §5.3): locations,
 * node sets, and the predicates on them and on storage states. Plain values and pure
 * functions.
 *
 * Lemma Q, on which everything in the replicated log rests: with respect to one effective node set, every
 * f-majority intersects every write quorum. It holds only while the effective set and the locations of its
 * members do not change: a node may become `disabled` or change its location only when it is in no node set
 * that can still be read or sealed. */
#pragma once
#include "base/codec.h"
#include "metadata/nodes_config.h"
#include "metadata/replication.h"
#include "wire/node_ref.h"

/* ---- nodes as the log sees them ---- */

bool storage_takes_writes(enum storage_state s); /* of node sets that contain the node already */
bool storage_wants_writes(enum storage_state s); /* a candidate for new node sets */
bool storage_can_read(enum storage_state s);
bool storage_authoritative(enum storage_state s); /* its silence about a record means something */

#define LOCATION_LABEL_MAX 63
struct location { /* `region[.zone]`; empty strings: no label at that scope */
    char region[LOCATION_LABEL_MAX + 1], zone[LOCATION_LABEL_MAX + 1];
};
/* `""`, `.`, `r`, `r.`, `r.z` are legal, `.z` and `r.z.x` are not. */
bool location_parse(struct slice text, struct location *out);

/* A hint of the failure detector. Never decides anything about safety (F-1). */
enum liveness { LIVENESS_UNKNOWN, LIVENESS_ALIVE, LIVENESS_DEAD };

struct node_info {
    uint32_t id, generation;
    enum storage_state storage; /* tombstones: STORAGE_DISABLED */
    bool removed;               /* tombstone */
    enum liveness liveness;
    struct location location;
};

/* What a loop knows of NodesConfiguration and of the failure detector. The owner changes it and then tells
 * the users (loglet_calls_nodes_changed). */
struct node_directory {
    struct node_info *nodes; /* by id, ascending */
    size_t len, cap;
};
void node_directory_free(struct node_directory *d);
/* Insert or replace. */
void node_directory_put(struct node_directory *d, const struct node_info *node);
/* As registered; nobody's liveness is known. Adds to what is there. */
void node_directory_add(struct node_directory *d, const struct nodes_config *c);
/* NULL: unknown id; counts as `provisioning`. */
const struct node_info *node_directory_find(const struct node_directory *d, uint32_t id);
enum storage_state node_directory_storage(const struct node_directory *d, uint32_t id);
enum liveness node_directory_liveness(const struct node_directory *d, uint32_t id);
/* True if the process `ref` certainly does not run any more: a newer generation is known, or it was removed.
 */
bool node_directory_superseded(const struct node_directory *d, struct node_ref ref);

/* ---- node sets and sets of their members ---- */

#define NODESET_MAX 128
struct nodeset {
    uint32_t ids[NODESET_MAX]; /* ascending, no repetition */
    unsigned len;
};
bool nodeset_add(struct nodeset *s, uint32_t id); /* false: full (nothing happens if it is in it already) */
int nodeset_position(const struct nodeset *s, uint32_t id); /* -1: not a member */
bool nodeset_eq(const struct nodeset *a, const struct nodeset *b);

/* A set of positions in a node set. */
struct marks {
    uint64_t word[NODESET_MAX / 64];
};
static inline bool marks_has(struct marks m, unsigned i)
{
    return m.word[i / 64] >> (i % 64) & 1;
}
static inline void marks_add(struct marks *m, unsigned i)
{
    m->word[i / 64] |= UINT64_C(1) << (i % 64);
}
static inline void marks_remove(struct marks *m, unsigned i)
{
    m->word[i / 64] &= ~(UINT64_C(1) << (i % 64));
}
static inline struct marks marks_and(struct marks a, struct marks b)
{
    return (struct marks){{a.word[0] & b.word[0], a.word[1] & b.word[1]}};
}
static inline struct marks marks_or(struct marks a, struct marks b)
{
    return (struct marks){{a.word[0] | b.word[0], a.word[1] | b.word[1]}};
}
static inline struct marks marks_minus(struct marks a, struct marks b)
{
    return (struct marks){{a.word[0] & ~b.word[0], a.word[1] & ~b.word[1]}};
}
static inline bool marks_empty(struct marks m)
{
    return !(m.word[0] | m.word[1]);
}
static inline bool marks_intersect(struct marks a, struct marks b)
{
    return !marks_empty(marks_and(a, b));
}
static inline unsigned marks_count(struct marks m)
{
    return (unsigned)(__builtin_popcountll(m.word[0]) + __builtin_popcountll(m.word[1]));
}
_Static_assert(NODESET_MAX == 128, "the functions on marks are written for two words");

/* ---- quorums ---- */

/* A node set with everything that the predicates need, taken from a directory at one moment. */
struct quorum {
    struct replication replication;
    unsigned len;
    struct marks effective;              /* not disabled */
    struct marks authoritative;          /* effective, not data-loss */
    struct marks writable;               /* takes writes */
    bool all_provisioning;               /* no effective member has ever accepted data */
    uint8_t domain[SCOPES][NODESET_MAX]; /* QUORUM_NO_DOMAIN: no label, or not effective */
    unsigned n_domains[SCOPES];          /* among the effective members */
};
#define QUORUM_NO_DOMAIN 0xff
void quorum_init(struct quorum *q, const struct replication *r, const struct nodeset *set,
                 const struct node_directory *d);
/* These members had the segment on a disk that they lost (LOGLET_LOST): for it they are what a node in state
 * `data-loss` is for all. */
void quorum_lose(struct quorum *q, struct marks lost);
/* At every scope that demands something, `m` touches enough domains. */
bool quorum_is_write(const struct quorum *q, struct marks m);
/* A write quorum; or, if the storage states leave no way to form one (a member lost its data and the others
 * are too few), every member that can be written at all. For repair and trim, which must come to an end also
 * then (B4): what they achieve is `with risk`. Never for acknowledging an append. */
bool quorum_is_best_write(const struct quorum *q, struct marks m);
/* At some scope that demands something, `m` contains all nodes of so many domains that fewer than a write
 * quorum needs are left untouched. */
bool quorum_is_f_majority(const struct quorum *q, struct marks m);

enum quorum_authority {
    AUTHORITY_NONE,
    AUTHORITY_BEST_EFFORT, /* not enough, but nobody else could be asked */
    AUTHORITY_WITH_RISK,   /* an f-majority, but it needs nodes that lost data */
    AUTHORITY_SUCCESS,
};
enum quorum_authority quorum_authority(const struct quorum *q, struct marks m);
static inline bool quorum_passes(const struct quorum *q, struct marks m)
{
    return quorum_authority(q, m) >= AUTHORITY_WITH_RISK;
}

struct quorum_tolerance {
    int writable; /* so many arbitrary members may be down and it can still be written; -1: it cannot now */
    int sealable; /* ... and it can still be sealed, and read for recovery (at least: where labels are
                     missing, it may be more) */
};
struct quorum_tolerance quorum_tolerance(const struct quorum *q);

/* ---- choosing a node set (§5.3) ---- */

struct nodeset_wish {
    struct replication replication;
    unsigned target_size;            /* 0: automatic */
    uint32_t sequencer;              /* preferred; 0: none */
    const struct nodeset *preferred; /* the old set, or an operator's list; may be NULL */
    uint64_t salt;                   /* the log id: spreads logs over nodes, stably */
};
/* RC_UNAVAILABLE `Insufficient writeable nodes in the nodeset`. */
enum rc nodeset_select(const struct node_directory *d, const struct nodeset_wish *wish, struct nodeset *out,
                       struct err *err);
