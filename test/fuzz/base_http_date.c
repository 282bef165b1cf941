/* Fuzzes time_parse_http: an accepted date, printed again, is the same second. */
#include "base/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t s, again;
    char text[30];
    if (!time_parse_http(slice_make(data, size), &s))
        return 0;
    time_format_http(text, s);
    if (s < 253402300800) /* up to the year 9999 the text is exact */
        ASSERT(time_parse_http(slice_cstr(text), &again) && again == s);
    return 0;
}
