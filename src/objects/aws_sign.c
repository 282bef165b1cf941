/* Implementation of objects/aws_sign.h. */
#include "objects/aws_sign.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"

#define HASH_SIZE 32u

void aws_date(uint64_t wall_ms, char out[AWS_DATE_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    ASSERT(gmtime_r(&seconds, &tm) && strftime(out, AWS_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm) > 0);
}

static void hash_format(const uint8_t hash[HASH_SIZE], char out[SHA256_HEX_SIZE])
{
    hex_encode(slice_make(hash, HASH_SIZE), out);
    out[2 * HASH_SIZE] = 0;
}

void sha256_hex(struct slice data, char out[SHA256_HEX_SIZE])
{
    uint8_t hash[HASH_SIZE];
    SHA256(data.ptr, data.len, hash);
    hash_format(hash, out);
}

static void hmac(struct slice key, const char *text, uint8_t out[HASH_SIZE])
{
    unsigned len = 0;
    ASSERT(HMAC(EVP_sha256(), key.ptr, (int)key.len, (const uint8_t *)text, strlen(text), out, &len) &&
           len == HASH_SIZE);
}

static int header_cmp(const void *a, const void *b)
{
    return strcmp(((const struct aws_header *)a)->name, ((const struct aws_header *)b)->name);
}

/* Values without blanks at their ends, and with one blank where there are several. */
static void write_value(struct writer *w, const char *v)
{
    bool any = false, blank = false;
    for (; *v; v++) {
        if (*v == ' ' || *v == '\t') {
            blank = any;
            continue;
        }
        if (blank)
            write_u8(w, ' ');
        blank = false;
        any = true;
        write_u8(w, (uint8_t)*v);
    }
}

static void write_names(struct writer *w, const struct aws_header *sorted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        write_fmt(w, "%s%s", i ? ";" : "", sorted[i].name);
}

static void canonical_hash(const struct aws_to_sign *r, const struct aws_header *sorted,
                           char out[SHA256_HEX_SIZE])
{
    struct writer w = WRITER_INIT;
    write_fmt(&w, "%s\n%s\n", r->method, r->path);
    const char *query = r->query; /* a name without a value is signed with an equals sign */
    while (*query) {
        size_t n = strcspn(query, "&");
        write_raw(&w, query, n);
        if (!memchr(query, '=', n))
            write_u8(&w, '=');
        query += n;
        if (*query == '&') {
            write_u8(&w, '&');
            query++;
        }
    }
    write_u8(&w, '\n');
    for (size_t i = 0; i < r->n_headers; i++) {
        write_fmt(&w, "%s:", sorted[i].name);
        write_value(&w, sorted[i].value);
        write_u8(&w, '\n');
    }
    write_u8(&w, '\n');
    write_names(&w, sorted, r->n_headers);
    write_fmt(&w, "\n%s", r->payload_hash);
    sha256_hex(writer_slice(&w), out);
    writer_free(&w);
}

void aws_sign(const struct aws_to_sign *r, const struct aws_credentials *c, struct writer *out)
{
    struct aws_header sorted[16];
    ASSERT(r->n_headers <= ARRAY_LEN(sorted) && strlen(r->date) == AWS_DATE_SIZE - 1);
    memcpy(sorted, r->headers, r->n_headers * sizeof(*sorted));
    qsort(sorted, r->n_headers, sizeof(*sorted), header_cmp);

    char day[9], scope[160], request_hash[SHA256_HEX_SIZE];
    snprintf(day, sizeof(day), "%.8s", r->date);
    snprintf(scope, sizeof(scope), "%s/%s/%s/aws4_request", day, r->region, r->service);
    canonical_hash(r, sorted, request_hash);
    char *to_sign = xasprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", r->date, scope, request_hash);

    uint8_t key[HASH_SIZE];
    char *secret = xasprintf("AWS4%s", c->secret_access_key);
    hmac(slice_cstr(secret), day, key);
    hmac(slice_make(key, sizeof(key)), r->region, key);
    hmac(slice_make(key, sizeof(key)), r->service, key);
    hmac(slice_make(key, sizeof(key)), "aws4_request", key);
    hmac(slice_make(key, sizeof(key)), to_sign, key);
    char signature[SHA256_HEX_SIZE];
    hash_format(key, signature);

    write_fmt(out, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", c->access_key_id, scope);
    write_names(out, sorted, r->n_headers);
    write_fmt(out, ",Signature=%s", signature);
    write_u8(out, 0);
    free(secret);
    free(to_sign);
}
