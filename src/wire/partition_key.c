/* Partition keys, derived invocation ids and the random seed (wire/id.h; spec/service-protocol.md §11.2,
 * §11.5, spec/invocation-lifecycle.md §2). All are pure functions: every node computes the same. */
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/codec.h"
#include "base/hash.h"
#include "wire/id.h"

#define SERVICE_BUCKETS 512u
#define SCRATCH_SIZE    512

/* Concatenation on the stack, on the heap only for unusually long keys. */
struct scratch {
    uint8_t room[SCRATCH_SIZE];
    uint8_t *p;
    size_t len, cap;
};

static void scratch_init(struct scratch *s, size_t need)
{
    s->p = need <= SCRATCH_SIZE ? s->room : xmalloc(need);
    s->len = 0;
    s->cap = need;
}

static void scratch_add(struct scratch *s, struct slice part)
{
    ASSERT(part.len <= s->cap - s->len);
    if (part.len)
        memcpy(s->p + s->len, part.ptr, part.len);
    s->len += part.len;
}

static void scratch_free(struct scratch *s)
{
    if (s->p != s->room)
        free(s->p);
}

static const uint8_t string_end[1] = {0xff};

uint64_t partition_key_of_key(struct slice key)
{
    struct scratch s;
    scratch_init(&s, key.len + 1);
    scratch_add(&s, key);
    scratch_add(&s, slice_make(string_end, 1));
    uint64_t h = hash64(slice_make(s.p, s.len));
    scratch_free(&s);
    return h;
}

uint64_t partition_key_of_service_bucket(struct slice service, uint32_t bucket)
{
    static const char tag[] = "unscoped/service";
    ASSERT(bucket < SERVICE_BUCKETS);
    uint8_t number[8];
    put_u64le(number, bucket);
    struct scratch s;
    scratch_init(&s, service.len + sizeof(tag) + 2 + sizeof(number));
    scratch_add(&s, service);
    scratch_add(&s, slice_make(string_end, 1));
    scratch_add(&s, slice_cstr(tag));
    scratch_add(&s, slice_make(string_end, 1));
    scratch_add(&s, slice_make(number, sizeof(number)));
    uint64_t h = hash64(slice_make(s.p, s.len));
    scratch_free(&s);
    return h;
}

uint32_t idempotency_bucket(struct slice idempotency_key)
{
    return (uint32_t)(partition_key_of_key(idempotency_key) % SERVICE_BUCKETS);
}

static EVP_MD *sha256_algorithm;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

/* Looked up once: the lookup by name costs more than hashing a short text. */
static void sha256_setup(void)
{
    sha256_algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    ASSERT_MSG(sha256_algorithm, "OpenSSL offers no SHA-256");
}

/* First 16 bytes of SHA-256 over the parts joined by commas. Parts whose ptr is NULL are left out. */
static struct u128 sha256_joined(const struct slice *parts, size_t n)
{
    size_t need = 0;
    for (size_t i = 0; i < n; i++)
        need += parts[i].len + 1;
    struct scratch s;
    scratch_init(&s, need);
    for (size_t i = 0; i < n; i++) {
        if (!parts[i].ptr)
            continue;
        if (i > 0)
            scratch_add(&s, SLICE_LIT(","));
        scratch_add(&s, parts[i]);
    }
    pthread_once(&sha256_once, sha256_setup);
    uint8_t digest[EVP_MAX_MD_SIZE];
    int ok = EVP_Digest(s.p, s.len, digest, NULL, sha256_algorithm, NULL);
    ASSERT_MSG(ok == 1, "SHA-256 failed");
    scratch_free(&s);
    return (struct u128){get_u64be(digest), get_u64be(digest + 8)};
}

/* A required part takes part in the join even if its owner represents "empty" by a NULL pointer. */
static struct slice required(struct slice s)
{
    return s.ptr ? s : slice_make("", 0);
}

struct u128 workflow_run_uuid(struct slice scope, struct slice service, struct slice key)
{
    struct slice parts[] = {SLICE_LIT("wf"), scope, required(service), required(key)};
    return sha256_joined(parts, ARRAY_LEN(parts));
}

struct u128 idempotency_uuid(struct slice scope, struct slice service, struct slice key, struct slice handler,
                             struct slice idempotency_key)
{
    struct slice parts[] = {
        SLICE_LIT("ik"), scope, required(service), key, required(handler), required(idempotency_key),
    };
    return sha256_joined(parts, ARRAY_LEN(parts));
}

uint64_t invocation_random_seed(struct invocation_id id)
{
    uint8_t in[8 + INVOCATION_ID_BYTES];
    put_u64le(in, INVOCATION_ID_BYTES);
    invocation_id_to_bytes(id, in + 8);
    return siphash13(slice_make(in, sizeof(in)));
}
