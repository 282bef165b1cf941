/* Identifiers and partition keys (spec/service-protocol.md §11, spec/invocation-lifecycle.md §2). */
#pragma once
#include "base/bytes.h"

struct writer;

/* ---- invocation ids: partition key, then the unique part; 24 bytes big endian ---- */
struct invocation_id {
    uint64_t partition_key;
    struct u128 uuid;
};
#define INVOCATION_ID_BYTES 24
#define INVOCATION_ID_TEXT  38 /* "inv_1" + 11 + 22, without NUL */
static inline bool invocation_id_eq(struct invocation_id a, struct invocation_id b)
{
    return a.partition_key == b.partition_key && u128_eq(a.uuid, b.uuid);
}
int invocation_id_cmp(struct invocation_id a, struct invocation_id b);
uint64_t invocation_id_hash(struct invocation_id id);
void invocation_id_to_bytes(struct invocation_id id, uint8_t out[INVOCATION_ID_BYTES]);
struct invocation_id invocation_id_from_bytes(const uint8_t in[INVOCATION_ID_BYTES]);
void invocation_id_format(struct invocation_id id, char out[INVOCATION_ID_TEXT + 1]); /* with NUL */

/* Why an id text was refused, in the order of checking of spec/ingress.md §10.1. */
enum id_error {
    ID_OK = 0,
    ID_BAD_LENGTH,           /* "bad length" */
    ID_BAD_FORMAT,           /* "bad format" */
    ID_UNRECOGNIZED_TYPE,    /* "unrecognized resource type: <prefix>" */
    ID_UNRECOGNIZED_VERSION, /* "unrecognized codec version" */
    ID_TYPE_MISMATCH,        /* "id doesn't match the expected type" */
    ID_CODEC,                /* "base62 decode error" */
};
/* The sentence for `e`, as the reference prints it; `text` is the id that was parsed. */
void id_error_message(enum id_error e, struct slice text, char *out, size_t cap);
enum id_error invocation_id_parse(struct slice text, struct invocation_id *out);
/* Ids of virtual queues, `vq_1...`, have the same parts: partition key and a hash. */
#define QUEUE_ID_TEXT 37
void queue_id_format(struct invocation_id queue, char out[QUEUE_ID_TEXT + 1]); /* with NUL */
enum id_error queue_id_parse(struct slice text, struct invocation_id *out);

/* ---- deployment, subscription, snapshot, mutation ids: a ULID ---- */
enum resource_kind { RESOURCE_DEPLOYMENT, RESOURCE_SUBSCRIPTION, RESOURCE_SNAPSHOT, RESOURCE_MUTATION };
#define RESOURCE_ID_TEXT_MAX 32
void resource_id_format(enum resource_kind kind, struct u128 ulid, char out[RESOURCE_ID_TEXT_MAX]);
enum id_error resource_id_parse(enum resource_kind kind, struct slice text, struct u128 *out);
/* 48 bits of milliseconds, 80 bits random. */
struct u128 ulid_make(uint64_t wall_ms, uint64_t random_a, uint64_t random_b);
#define ULID_TEXT 26
void ulid_format(struct u128 ulid,
                 char out[ULID_TEXT + 1]); /* Crockford base32, as in automatic idempotency keys */

/* ---- awakeables: `sign_1` / `prom_1` + base64url(24 id bytes, u32 BE) ---- */
struct awakeable_id {
    struct invocation_id invocation;
    uint32_t index;  /* signal index, or journal entry index for the old form */
    bool is_promise; /* prom_1: protocol 3 and older */
};
/* Parses the sign_ form, then the prom_ form; reports the error of the second attempt. */
enum id_error awakeable_id_parse(struct slice text, struct awakeable_id *out);
/* 6 + 38 characters and NUL. */
void awakeable_id_format(struct awakeable_id id, char out[48]);

/* ---- partition keys and derived invocation ids ---- */
/* `scope.ptr` NULL: none. Services use 512 buckets (cluster feature controlled-idempotent-sharding). */
uint64_t partition_key_of_key(struct slice key); /* objects, workflows, scopes */
uint64_t partition_key_of_service_bucket(struct slice service, uint32_t bucket); /* bucket 0..511 */
uint32_t idempotency_bucket(struct slice idempotency_key);                       /* H(ik) mod 512 */
struct u128 workflow_run_uuid(struct slice scope, struct slice service, struct slice key);
/* `key.ptr` NULL for unkeyed services. */
struct u128 idempotency_uuid(struct slice scope, struct slice service, struct slice key, struct slice handler,
                             struct slice idempotency_key);
/* random_seed of spec/service-protocol.md §11.5. */
uint64_t invocation_random_seed(struct invocation_id id);
