/* Fuzzes the reader: a script of reads taken from the input never leaves its bounds, and after a failure all
 * is empty. */
#include "base/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_something(struct reader *r, uint8_t op)
{
    uint64_t sum = 0; /* so that every byte is really read */
    bool failed = r->failed;
    struct slice s = SLICE_EMPTY;
    uint64_t v = 0;
    switch (op % 9) {
    case 0:
        v = read_u8(r);
        break;
    case 1:
        v = read_u16le(r);
        break;
    case 2:
        v = read_u32le(r);
        break;
    case 3:
        v = read_u64le(r);
        break;
    case 4:
        v = read_u16be(r);
        break;
    case 5:
        v = read_u64be(r);
        break;
    case 6:
        v = read_varint(r);
        break;
    case 7:
        s = read_raw(r, op / 9);
        break;
    default:
        s = read_lp(r);
    }
    for (size_t i = 0; i < s.len; i++)
        sum += s.ptr[i];
    ASSERT(sum <= 255 * s.len);
    ASSERT(!failed || (v == 0 && s.len == 0 && r->failed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t script = size / 2;
    struct reader r = reader_make(slice_make(data + script, size - script));
    for (size_t i = 0; i < script; i++)
        read_something(&r, data[i]);
    struct writer w = WRITER_INIT;
    write_json_string(&w, slice_make(data, size));
    ASSERT(slice_is_utf8(writer_slice(&w)));
    writer_free(&w);
    return 0;
}
