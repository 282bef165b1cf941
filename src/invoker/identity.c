/* Signing of requests: see identity.h. OpenSSL does Ed25519; the JSON and the compact form are small enough
 * to write here. */
#include "invoker/identity.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/hash.h"

#define PUBLIC_KEY_SIZE 32
#define SIGNATURE_SIZE  64

struct identity {
    EVP_PKEY *key;
    uint64_t expiration_s;
    char key_id[80];
    struct writer signing_prefix; /* base64url(header) + "." */
};

/* Bitcoin alphabet, most significant digit first, one leading '1' per leading zero byte. */
static void base58_encode(const uint8_t *in, size_t n, char *out)
{
    static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    uint8_t digits[64] = {0};
    size_t len = 0, zeros = 0;
    ASSERT(n <= PUBLIC_KEY_SIZE);
    while (zeros < n && in[zeros] == 0)
        zeros++;
    for (size_t i = zeros; i < n; i++) {
        uint32_t carry = in[i];
        for (size_t j = 0; j < len; j++) {
            carry += (uint32_t)digits[j] << 8;
            digits[j] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry; carry /= 58)
            digits[len++] = (uint8_t)(carry % 58);
    }
    for (size_t i = 0; i < zeros; i++)
        *out++ = '1';
    while (len > 0)
        *out++ = alphabet[digits[--len]];
    *out = 0;
}

/* Encrypted keys are refused instead of asking for a passphrase on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
    return -1;
}

static enum rc read_key(const char *pem, EVP_PKEY **out, struct err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    ASSERT(bio);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    EVP_PKEY *second = key ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    enum rc rc = RC_OK;
    if (!key)
        rc = err_set(err, RC_INVALID, "the request identity file holds no readable PKCS#8 private key");
    else if (second)
        rc = err_set(err, RC_INVALID, "the request identity file must hold exactly one private key");
    else if (EVP_PKEY_id(key) != EVP_PKEY_ED25519)
        rc = err_set(err, RC_INVALID, "the request identity key must be an ed25519 key");
    EVP_PKEY_free(second);
    if (rc != RC_OK) {
        EVP_PKEY_free(key);
        return rc;
    }
    *out = key;
    return RC_OK;
}

enum rc identity_new(const char *pem, uint64_t expiration_s, struct identity **out, struct err *err)
{
    EVP_PKEY *key;
    enum rc rc = read_key(pem, &key, err);
    if (rc != RC_OK)
        return rc;
    struct identity *id = xcalloc(1, sizeof(*id));
    id->key = key;
    id->expiration_s = MAX(expiration_s, 1);
    uint8_t public_key[PUBLIC_KEY_SIZE];
    size_t len = sizeof(public_key);
    ASSERT(EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 && len == sizeof(public_key));
    strcpy(id->key_id, "publickeyv1_");
    base58_encode(public_key, len, id->key_id + strlen(id->key_id));

    struct writer header = WRITER_INIT;
    write_fmt(&header, "{\"typ\":\"JWT\",\"alg\":\"EdDSA\",\"kid\":\"%s\"}", id->key_id);
    write_base64url(&id->signing_prefix, writer_slice(&header));
    write_u8(&id->signing_prefix, '.');
    writer_free(&header);
    *out = id;
    return RC_OK;
}

void identity_free(struct identity *id)
{
    if (!id)
        return;
    EVP_PKEY_free(id->key);
    writer_free(&id->signing_prefix);
    free(id);
}

const char *identity_key_id(const struct identity *id)
{
    return id->key_id;
}

void identity_sign(struct identity *id, struct slice audience, struct slice subject, uint64_t now_s,
                   struct writer *out)
{
    struct writer claims = WRITER_INIT;
    write_fmt(&claims, "{\"aud\":");
    write_json_string(&claims, audience);
    write_fmt(&claims, ",\"exp\":%llu,\"iat\":%llu,\"nbf\":%llu",
              (unsigned long long)(now_s + id->expiration_s), (unsigned long long)now_s,
              (unsigned long long)(now_s > id->expiration_s ? now_s - id->expiration_s : 0));
    if (subject.ptr) {
        write_fmt(&claims, ",\"sub\":");
        write_json_string(&claims, subject);
    }
    write_u8(&claims, '}');

    size_t start = out->len;
    write_slice_raw(out, writer_slice(&id->signing_prefix));
    write_base64url(out, writer_slice(&claims));
    writer_free(&claims);

    uint8_t signature[SIGNATURE_SIZE];
    size_t len = sizeof(signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ASSERT(ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, id->key) == 1);
    ASSERT(EVP_DigestSign(ctx, signature, &len, out->buf->data + start, out->len - start) == 1);
    EVP_MD_CTX_free(ctx);
    write_u8(out, '.');
    write_base64url(out, slice_make(signature, len));
}
