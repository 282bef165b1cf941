/* What a suspended invocation waits for: flat any-of sets (V5, V6) and trees of futures (V7),
 * spec/invocation-lifecycle.md §5.7. */
#include "partition/machine_internal.h"

/* Deeper trees count as undecidable here, so the SDK is asked; the invoker refuses them long before (RT0025).
 */
#define MAX_DEPTH 4096

enum verdict { UNDECIDED, INDETERMINATE, SUCCEEDED, FAILED };
enum combinator {
    UNKNOWN = 0,
    FIRST_COMPLETED = 1,
    ALL_COMPLETED = 2,
    FIRST_SUCCEEDED = 3,
    ALL_SUCCEEDED = 4
};

struct decision {
    enum verdict verdict;
    ptrdiff_t at; /* journal index of the notification that decided it: orders the children of a race */
};

struct evaluation {
    struct partition_store *store;
    struct invocation *inv;
    bool ask_sdk; /* an undetermined child where its result matters: resume and let the SDK decide */
};

/* The state of one node while its children are visited. */
struct node {
    enum combinator type;
    size_t children, decided, succeeded, failed;
    struct decision first, last; /* by journal index */
    struct decision first_success, first_failure;
};

static void node_add(struct node *n, struct decision d)
{
    n->children++;
    if (d.verdict == UNDECIDED)
        return;
    if (n->decided == 0 || d.at < n->first.at)
        n->first = d;
    if (n->decided == 0 || d.at > n->last.at)
        n->last = d;
    n->decided++;
    if (d.verdict == SUCCEEDED && (n->succeeded++ == 0 || d.at < n->first_success.at))
        n->first_success = d;
    if (d.verdict == FAILED && (n->failed++ == 0 || d.at < n->first_failure.at))
        n->first_failure = d;
}

static struct decision node_decide(struct evaluation *ev, const struct node *n)
{
    const struct decision undecided = {UNDECIDED, -1};
    bool undetermined = n->decided > n->succeeded + n->failed;
    switch (n->type) {
    case UNKNOWN:
        return n->decided ? (struct decision){INDETERMINATE, n->first.at} : undecided;
    case FIRST_COMPLETED:
        return n->decided ? n->first : undecided;
    case ALL_COMPLETED:
        return n->decided == n->children ? (struct decision){SUCCEEDED, n->last.at} : undecided;
    case FIRST_SUCCEEDED:
        ev->ask_sdk |= undetermined;
        if (n->succeeded)
            return n->first_success;
        return n->failed == n->children ? (struct decision){FAILED, n->last.at} : undecided;
    case ALL_SUCCEEDED:
        ev->ask_sdk |= undetermined;
        if (n->failed)
            return n->first_failure;
        return n->succeeded == n->children ? (struct decision){SUCCEEDED, n->last.at} : undecided;
    }
    return (struct decision){INDETERMINATE, 0}; /* a type from the future */
}

static struct decision leaf(struct evaluation *ev, const struct notification_id *id)
{
    ptrdiff_t at = store_find_notification(ev->store, ev->inv, id);
    if (at < 0)
        return (struct decision){UNDECIDED, -1};
    store_journal_load(ev->store, ev->inv);
    return (struct decision){ev->inv->journal.items[at].result == OUTCOME_FAILURE ? FAILED : SUCCEEDED, at};
}

static void leaves(struct evaluation *ev, struct node *n, enum notification_id_kind kind,
                   const struct pb_field *f)
{
    struct notification_id id = {.kind = kind};
    if (f->wire == PB_VARINT) {
        id.index = (uint32_t)f->value;
        node_add(n, leaf(ev, &id));
        return;
    }
    struct reader r = reader_make(f->bytes);
    uint64_t index;
    while (pb_packed_next(&r, &index)) {
        id.index = (uint32_t)index;
        node_add(n, leaf(ev, &id));
    }
}

static struct decision evaluate(struct evaluation *ev, struct slice future, int depth)
{
    if (depth > MAX_DEPTH)
        return (struct decision){INDETERMINATE, 0};
    struct node n = {.type = UNKNOWN};
    struct reader r = reader_make(future);
    struct pb_field f;
    while (pb_next(&r, &f)) {
        switch (f.number) {
        case 1:
            leaves(ev, &n, NOTIFICATION_COMPLETION, &f);
            break;
        case 2:
            leaves(ev, &n, NOTIFICATION_SIGNAL, &f);
            break;
        case 3: {
            struct notification_id id = {.kind = NOTIFICATION_NAMED_SIGNAL, .name = f.bytes};
            node_add(&n, leaf(ev, &id));
            break;
        }
        case 4:
            node_add(&n, evaluate(ev, f.bytes, depth + 1));
            break;
        case 5:
            n.type = f.value > INT32_MAX ? (enum combinator)INT32_MAX : (enum combinator)f.value;
            break;
        }
        if (ev->ask_sdk)
            break;
    }
    return node_decide(ev, &n);
}

static bool tree_decided(struct partition_store *s, struct invocation *inv, struct slice future)
{
    struct evaluation ev = {.store = s, .inv = inv};
    struct decision d = evaluate(&ev, future, 0);
    return ev.ask_sdk || d.verdict != UNDECIDED;
}

bool machine_awaiting_decided(struct partition_store *s, struct invocation *inv,
                              const struct awaiting *awaiting)
{
    if (awaiting->is_tree)
        return tree_decided(s, inv, bytes_slice(awaiting->encoded));
    struct reader r = reader_make(bytes_slice(awaiting->encoded));
    struct notification_id id;
    while (reader_left(&r) && notification_id_read(&r, &id))
        if (store_find_notification(s, inv, &id) >= 0)
            return true;
    return false;
}

static bool notification_id_eq(const struct notification_id *a, const struct notification_id *b)
{
    if (a->kind != b->kind)
        return false;
    return a->kind == NOTIFICATION_NAMED_SIGNAL ? slice_eq(a->name, b->name) : a->index == b->index;
}

bool awaiting_decided_by(struct partition_store *s, struct invocation *inv, const struct notification_id *id)
{
    if (inv->awaiting.is_tree)
        return tree_decided(s, inv, bytes_slice(inv->awaiting.encoded));
    struct reader r = reader_make(bytes_slice(inv->awaiting.encoded));
    struct notification_id one;
    while (reader_left(&r) && notification_id_read(&r, &one))
        if (notification_id_eq(&one, id))
            return true;
    return false;
}

static bool has_leaf(struct slice future, int depth)
{
    struct reader r = reader_make(future);
    struct pb_field f;
    bool found = false;
    while (pb_next(&r, &f)) {
        if (f.number <= 2 && (f.wire == PB_VARINT || f.bytes.len))
            found = true;
        else if (f.number == 3)
            found = true;
        else if (f.number == 4 && depth < MAX_DEPTH && has_leaf(f.bytes, depth + 1))
            found = true;
    }
    return found && !r.failed;
}

bool awaiting_valid(const struct awaiting *awaiting)
{
    if (awaiting->is_tree)
        return has_leaf(bytes_slice(awaiting->encoded), 0);
    struct reader r = reader_make(bytes_slice(awaiting->encoded));
    struct notification_id id;
    if (reader_left(&r) == 0)
        return false;
    while (reader_left(&r))
        if (!notification_id_read(&r, &id))
            return false;
    return true;
}
