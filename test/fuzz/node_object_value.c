/* Objects of metadata and their names: what is read can be written again and is the same. */
#include <stdlib.h>

#include "node/object_kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Of exactly its size, so that a read past the end is seen. */
    struct bytes input = bytes_copy(slice_make(data, size));
    struct object_value v;
    struct err err;
    if (object_value_read(bytes_slice(input), &v, &err) == RC_OK) {
        struct writer w = WRITER_INIT;
        object_value_write(&w, &v, get_u64le(input.ptr + 2));
        ASSERT(slice_eq(writer_slice(&w), bytes_slice(input)));
        writer_free(&w);
    }
    char key[KV_KEY_MAX], name[OBJECT_KEY_MAX + 1];
    size_t len;
    if (object_kv_key(bytes_slice(input), key, &len) &&
        object_kv_name(SLICE_EMPTY, slice_make(key, len), name))
        ASSERT(slice_eq_cstr(bytes_slice(input), name));
    if (size && size <= KV_KEY_MAX && object_kv_name(SLICE_EMPTY, bytes_slice(input), name)) {
        ASSERT(object_key_is_valid(name));
        ASSERT(object_kv_key(slice_cstr(name), key, &len));
        ASSERT(slice_eq(slice_make(key, len), bytes_slice(input)));
    }
    bytes_unref(&input);
    return 0;
}
