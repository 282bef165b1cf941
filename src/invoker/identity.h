/* Request identity v1: Ed25519 signed tokens on every request to an endpoint (spec/service-protocol.md §3.6).
 */
#pragma once
#include "base/codec.h"

struct identity;

/* `pem`: text of the file, exactly one PKCS#8 Ed25519 private key. RC_INVALID with a sentence otherwise. */
enum rc identity_new(const char *pem, uint64_t expiration_s, struct identity **out, struct err *err);
void identity_free(struct identity *id);
/* "publickeyv1_" + base58 of the public key. */
const char *identity_key_id(const struct identity *id);
/* Append the compact JWS for this request. `subject.ptr` NULL: no "sub". */
void identity_sign(struct identity *id, struct slice audience, struct slice subject, uint64_t now_s,
                   struct writer *out);
