/* Request identity: the byte-exact vector of spec/service-protocol-vectors.md X.6. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* after the system headers: */
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "base/hash.h"
#include "invoker/identity.h"

static char *pem_of(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    char *pem = slice_dup_cstr(slice_make(data, (size_t)n));
    BIO_free(bio);
    return pem;
}

static char *vector_pem(void)
{
    uint8_t seed[32];
    assert_true(
        hex_decode(SLICE_LIT("92025a08bbcc1e0635c41ff36d8c06c632381974adbd6163c0a59d8a764cdc2a"), seed));
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
    char *pem = pem_of(key);
    EVP_PKEY_free(key);
    return pem;
}

static void token_matches_the_vector(void **state)
{
    char *pem = vector_pem();
    struct identity *id;
    assert_int_equal(identity_new(pem, 60, &id, NULL), RC_OK);
    assert_string_equal(identity_key_id(id), "publickeyv1_GvHG9SQf2uj1F4ppwQFq3cn9M7YLiB82jvkyAqduFBw9");
    struct writer w = WRITER_INIT;
    identity_sign(id, SLICE_LIT("/discover"), SLICE_EMPTY, 1795370732, &w);
    assert_true(slice_eq_cstr(
        writer_slice(&w),
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSIsImtpZCI6InB1YmxpY2tleXYxX0d2SEc5U1FmMnVqMUY0cHB3UUZxM2NuOU03WUxp"
        "QjgyanZreUFxZHVGQnc5"
        "In0.eyJhdWQiOiIvZGlzY292ZXIiLCJleHAiOjE3OTUzNzA3OTIsImlhdCI6MTc5NTM3MDczMiwibmJmIjoxNzk1MzcwNjcyfQ."
        "lN7Gcd00TFfswsreSXonLSevawslYnjmS67-xfpQx3ssSspvvHfr2MURiN1H8keX3UqnKsBWPA995Y0haqzxDw"));
    /* the subject of keyed services is in the claims, not percent-encoded */
    size_t before = w.len;
    identity_sign(id, SLICE_LIT("/invoke/Counter/add"), SLICE_LIT("\xd0\xba/%a"), 1795370772, &w);
    struct slice token = slice_sub(writer_slice(&w), before, w.len - before);
    ptrdiff_t dot = slice_find(token, '.', 0), second = slice_find(token, '.', (size_t)dot + 1);
    uint8_t claims[256];
    size_t n;
    assert_true(base64_decode(slice_sub(token, (size_t)dot + 1, (size_t)(second - dot - 1)), claims, &n));
    assert_true(slice_eq_cstr(slice_make(claims, n),
                              "{\"aud\":\"/invoke/Counter/add\",\"exp\":1795370832,\"iat\":1795370772,"
                              "\"nbf\":1795370712,\"sub\":\"\xd0\xba/%a\"}"));
    writer_free(&w);
    identity_free(id);
    free(pem);
}

static void other_files_are_refused(void **state)
{
    struct identity *id;
    struct err err = {0};
    assert_int_equal(identity_new("nothing", 60, &id, &err), RC_INVALID);
    char *pem = vector_pem();
    char *twice = xasprintf("%s%s", pem, pem);
    assert_int_equal(identity_new(twice, 60, &id, &err), RC_INVALID);
    EVP_PKEY *x25519 = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    char *other = pem_of(x25519);
    assert_int_equal(identity_new(other, 60, &id, &err), RC_INVALID);
    EVP_PKEY_free(x25519);
    free(other);
    free(twice);
    free(pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(token_matches_the_vector),
                                       cmocka_unit_test(other_files_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
