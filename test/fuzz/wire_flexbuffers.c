/* FlexBuffers: no input crashes the reader or is read outside; what is accepted has a JSON text, and copied
 * through the writer it has the same one again. */
#include <stdlib.h>

#include "wire/flexbuffers.h"

static bool copy(struct flex_writer *f, struct flex v)
{
    uint64_t u;
    int64_t i;
    bool flag;
    struct slice text;
    if (flex_bool(v, &flag))
        flex_put_bool(f, flag);
    else if (flex_u64(v, &u))
        flex_put_u64(f, u);
    else if (flex_i64(v, &i))
        flex_put_i64(f, i);
    else if (flex_text(v, &text))
        flex_put_text(f, text);
    else if (flex_kind(v) == FLEX_NULL)
        flex_put_null(f);
    else if (flex_kind(v) == FLEX_MAP || flex_kind(v) == FLEX_SEQUENCE) {
        bool map = flex_kind(v) == FLEX_MAP;
        map ? flex_open_map(f) : flex_open_sequence(f);
        for (size_t e = 0; e < flex_count(v); e++) {
            if (map && slice_find(flex_key_at(v, e), 0, 0) >= 0)
                return false;
            if (map)
                flex_key_slice(f, flex_key_at(v, e));
            if (!copy(f, flex_at(v, e)))
                return false;
        }
        map ? flex_close_map(f) : flex_close_sequence(f);
    } else {
        return false; /* floats and blobs are only read */
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct flex root, again;
    if (flex_parse_stored(slice_make(data, size), &root, NULL) != RC_OK &&
        flex_parse(slice_make(data, size), &root, NULL) != RC_OK)
        return 0;
    struct writer a = WRITER_INIT, b = WRITER_INIT, stored = WRITER_INIT;
    flex_write_json(&a, root, 0);
    struct flex_writer f = FLEX_WRITER_INIT;
    if (copy(&f, root)) {
        flex_finish_stored(&f, &stored);
        ASSERT(flex_parse_stored(writer_slice(&stored), &again, NULL) == RC_OK);
        flex_write_json(&b, again, 0);
        ASSERT(slice_eq(writer_slice(&a), writer_slice(&b)));
    }
    flex_writer_free(&f);
    writer_free(&a);
    writer_free(&b);
    writer_free(&stored);
    return 0;
}
