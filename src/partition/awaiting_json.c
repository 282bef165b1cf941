/* The JSON of what an invocation waits for (spec/sql.md §5.4): in SQL and in the Suspended event. */
#include <inttypes.h>

#include "partition/types.h"
#include "wire/pb.h"

#define DEPTH_MAX 256 /* deeper trees are cut here: the text is for people */

static void write_leaf(struct writer *w, enum notification_id_kind kind, uint64_t index, struct slice name)
{
    write_slice_raw(w, SLICE_LIT("{\"Single\":{"));
    if (kind == NOTIFICATION_NAMED_SIGNAL) {
        write_slice_raw(w, SLICE_LIT("\"SignalName\":"));
        write_json_string(w, name);
    } else {
        write_fmt(w, "\"%s\":%" PRIu64, kind == NOTIFICATION_SIGNAL ? "SignalIndex" : "CompletionId", index);
    }
    write_slice_raw(w, SLICE_LIT("}}"));
}

static void separate(struct writer *w, bool *first)
{
    if (!*first)
        write_u8(w, ',');
    *first = false;
}

static void write_leaves(struct writer *w, enum notification_id_kind kind, const struct pb_field *f,
                         bool *first)
{
    if (f->wire == PB_VARINT) {
        separate(w, first);
        write_leaf(w, kind, f->value, SLICE_EMPTY);
        return;
    }
    struct reader r = reader_make(f->bytes);
    uint64_t index;
    while (pb_packed_next(&r, &index)) {
        separate(w, first);
        write_leaf(w, kind, index, SLICE_EMPTY);
    }
}

static void write_tree(struct writer *w, struct slice future, unsigned depth)
{
    static const char *const combinators[] = {"Unknown", "FirstCompleted", "AllCompleted",
                                              "FirstSucceededOrAllFailed", "AllSucceededOrFirstFailed"};
    uint64_t type = 0;
    struct pb_field f;
    struct reader r = reader_make(future);
    while (pb_next(&r, &f))
        if (f.number == 5 && f.wire == PB_VARINT)
            type = f.value;
    write_fmt(w, "{\"%s\":[", combinators[type < ARRAY_LEN(combinators) ? type : 0]);
    bool first = true;
    r = reader_make(future);
    while (pb_next(&r, &f)) {
        if (f.number == 1 || f.number == 2) {
            write_leaves(w, f.number == 1 ? NOTIFICATION_COMPLETION : NOTIFICATION_SIGNAL, &f, &first);
        } else if (f.number == 3) {
            separate(w, &first);
            write_leaf(w, NOTIFICATION_NAMED_SIGNAL, 0, f.bytes);
        } else if (f.number == 4 && depth < DEPTH_MAX) {
            separate(w, &first);
            write_tree(w, f.bytes, depth + 1);
        }
    }
    write_slice_raw(w, SLICE_LIT("]}"));
}

void awaiting_write_json(struct writer *w, const struct awaiting *a)
{
    if (a->is_tree) {
        write_tree(w, bytes_slice(a->encoded), 0);
        return;
    }
    struct reader r = reader_make(bytes_slice(a->encoded));
    struct notification_id id;
    bool first = true;
    write_slice_raw(w, SLICE_LIT("{\"Unknown\":["));
    while (reader_left(&r) && notification_id_read(&r, &id)) {
        separate(w, &first);
        write_leaf(w, id.kind, id.index, id.name);
    }
    write_slice_raw(w, SLICE_LIT("]}"));
}
