/* Stands in for libFuzzer in the unit tests: a fuzz target gets inputs of random bytes, the same in every
 * run. It shows that the target compiles and that the parser behind it survives garbage; to look for more is
 * what `make fuzz` is for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define INPUTS    2000
#define BYTES_MAX 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t random_state = 1;

static uint64_t random_u64(void)
{
    return hash64_combine(random_state++, 0);
}

/* What parsers look for is rare among random bytes: runs of small numbers, of text, and of anything. */
static uint8_t random_byte(unsigned style)
{
    static const char text[] = "{}[]\"':,/.-_=&%?;()<> \r\n0123456789aeinorstxyzSELECTfrom";
    uint64_t r = random_u64();
    return style == 0 ? (uint8_t)r : style == 1 ? (uint8_t)(r % 32) : (uint8_t)text[r % (sizeof(text) - 1)];
}

int main(void)
{
    for (int i = 0; i < INPUTS; i++) {
        size_t size = i == 0 ? 0 : random_u64() % (i % 2 ? BYTES_MAX : 16);
        uint8_t *data =
            malloc(size ? size : 1); /* of its own, so that the sanitizer sees reads past its end */
        unsigned style = (unsigned)(random_u64() % 3);
        for (size_t k = 0; k < size; k++) {
            if (random_u64() % 16 == 0)
                style = (unsigned)(random_u64() % 3);
            data[k] = random_byte(style);
        }
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    printf("%d inputs\n", INPUTS);
    return 0;
}
