/* See state_version.h. */
#include "cli/state_version.h"

#include <openssl/evp.h>

#include "base/codec.h"
#include "base/hash.h"

void state_version(const struct entry *entries, size_t n, char out[STATE_VERSION_SIZE])
{
    struct writer w = WRITER_INIT;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    for (size_t i = 0; i < n; i++) {
        write_u64be(&w, i);
        write_u8(&w, 1);
        write_raw(&w, entries[i].key, strlen(entries[i].key));
        write_u8(&w, 2);
        write_slice_raw(&w, entries[i].value);
        write_u8(&w, 3);
    }
    struct slice all = writer_slice(&w);
    ASSERT(EVP_Digest(all.len ? all.ptr : (const uint8_t *)"", all.len, digest, &len, EVP_sha256(), NULL) ==
               1 &&
           len == 32);
    writer_free(&w);
    size_t chars = base64url_encode(slice_make(digest, len), out);
    ASSERT(chars < STATE_VERSION_SIZE);
    out[chars] = 0;
}
