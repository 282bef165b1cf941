/* The decoders of stored values: any bytes are decoded or refused, never crash; what was decoded is encoded
 * again and decodes to the same encoding. The first byte selects the decoder. */
#include <stdlib.h>

#include "partition/store_internal.h"

static bool fuzz_content(void *ctx, uint64_t id, struct bytes *out)
{
    static const uint8_t content[16] = {1, 2, 3};
    if (id > 3)
        return false;
    *out = bytes_static(slice_make(content, id * 4));
    return true;
}
static const struct blob_source blobs = {fuzz_content, NULL};

static void invocation(struct bytes value)
{
    struct invocation a = {0}, b = {0};
    struct err err;
    if (invocation_decode(value, &a, 1000, &blobs, &err) == RC_OK && a.origin.len) {
        struct writer w = WRITER_INIT, again = WRITER_INIT;
        bool packed = a.status == INV_COMPLETED;
        invocation_encode(&w, &a, packed);
        struct bytes encoded = writer_take(&w);
        ASSERT(invocation_decode(encoded, &b, 0, &blobs, &err) == RC_OK);
        ASSERT(a.journal.len == b.journal.len && a.events.len == b.events.len && a.sinks.len == b.sinks.len);
        for (size_t i = 0; packed && i < a.journal.len; i++)
            ASSERT(
                slice_eq(bytes_slice(a.journal.items[i].payload), bytes_slice(b.journal.items[i].payload)));
        invocation_encode(&again, &b, packed);
        writer_free(&again);
        bytes_unref(&encoded);
    }
    invocation_release(&a);
    invocation_release(&b);
}

static void entry(struct bytes value)
{
    struct journal_entry e;
    struct invocation inv = {.origin =
                                 bytes_static(SLICE_LIT("an origin that entries may refer to, long enough"))};
    struct reader r = reader_make(bytes_slice(value));
    struct err err;
    if (entry_decode(value, &r, &inv, &blobs, &e, &err) == RC_OK) {
        struct writer w = WRITER_INIT;
        entry_encode(&w, &inv, &e);
        writer_free(&w);
        bytes_unref(&e.payload);
    }
    struct journal_event ev;
    r = reader_make(bytes_slice(value));
    if (event_decode(value, &r, &ev, &err) == RC_OK)
        bytes_unref(&ev.json);
}

static void small_rows(struct bytes value)
{
    struct slice v = bytes_slice(value);
    struct stored_vars vars;
    stored_vars_decode(v, &vars);
    struct object_header h;
    struct reader r;
    struct slice k, x;
    if (object_header_decode(v, &h, &r))
        while (embedded_state_read(&r, &k, &x))
            ;
    struct inbox_entry in = {0};
    if (inbox_decode(value, &in))
        bytes_unref(&in.patch);
    struct stored_state st;
    state_decode(v, &st);
    struct promise p;
    struct promise_listener l;
    if (promise_decode(v, &p, &r))
        while (promise_listener_read(&r, &l))
            ;
    struct outbox_message m = {0};
    if (outbox_decode(value, &m))
        bytes_unref(&m.record);
    struct blob_meta meta;
    blob_meta_decode(v, &meta);
    struct limit_entry slot;
    struct limit_address at;
    slot_decode(v, &slot, &at);
    struct timer_key t;
    key_timer_decode(v, &t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct bytes value = bytes_copy(slice_make(data + 1, size - 1));
    size_t cut;
    uint8_t key[STORE_KEY_PREFIX + INVOCATION_ID_BYTES] = {0, 1, TABLE_INVOCATION};
    switch (data[0] % 4) {
    case 0:
        invocation(value);
        break;
    case 1:
        entry(value);
        break;
    case 2:
        small_rows(value);
        break;
    default: /* the compaction filter must judge without reading beyond the value */
        if (stored_fate(slice_make(key, sizeof(key)), bytes_slice(value), data[0], &cut) == ROW_CUT)
            ASSERT(cut <= value.len);
    }
    bytes_unref(&value);
    return 0;
}
