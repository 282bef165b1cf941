/* TLS for client connections over OpenSSL memory BIOs (http/tls.h). */
#include "http/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define TLS_READ_BYTES (16u << 10) /* one record */

struct tls_context {
    SSL_CTX *ctx;
};

struct tls_conn {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

static enum rc tls_error(struct err *err, enum rc rc, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(err, rc, "%s: %s", what, reason ? reason : "unexpected end");
}

static enum rc load_files(SSL_CTX *ctx, const struct tls_settings *s, struct err *err)
{
    if (s->ca_file && SSL_CTX_load_verify_file(ctx, s->ca_file) != 1)
        return tls_error(err, RC_INVALID, "cannot load the CA file");
    if (s->cert_file && SSL_CTX_use_certificate_chain_file(ctx, s->cert_file) != 1)
        return tls_error(err, RC_INVALID, "cannot load the certificate");
    if (s->key_file && SSL_CTX_use_PrivateKey_file(ctx, s->key_file, SSL_FILETYPE_PEM) != 1)
        return tls_error(err, RC_INVALID, "cannot load the key of the certificate");
    return RC_OK;
}

enum rc tls_context_new(const struct tls_settings *settings, struct tls_context **out, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    ASSERT(ctx != NULL);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(ctx, settings->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_verify_paths(ctx);
    ERR_clear_error();
    if (load_files(ctx, settings, err) != RC_OK) {
        SSL_CTX_free(ctx);
        return err->rc;
    }
    *out = xmalloc(sizeof(**out));
    (*out)->ctx = ctx;
    return RC_OK;
}

void tls_context_free(struct tls_context *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

static bool is_ip_literal(const char *host)
{
    unsigned char addr[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, addr) == 1 || inet_pton(AF_INET6, host, addr) == 1;
}

struct tls_conn *tls_conn_new(struct tls_context *t, struct slice host, struct slice alpn)
{
    struct tls_conn *c = xcalloc(1, sizeof(*c));
    char *name = slice_dup_cstr(host);
    c->ssl = SSL_new(t->ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    ASSERT(c->ssl && c->in && c->out);
    BIO_set_mem_eof_return(c->in, -1);
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_connect_state(c->ssl);
    if (is_ip_literal(name)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), name);
    } else {
        SSL_set_tlsext_host_name(c->ssl, name);
        SSL_set1_host(c->ssl, name);
    }
    if (alpn.len)
        SSL_set_alpn_protos(c->ssl, alpn.ptr, (unsigned)alpn.len);
    free(name);
    return c;
}

void tls_conn_free(struct tls_conn *c)
{
    if (!c)
        return;
    SSL_free(c->ssl);
    free(c);
}

void tls_conn_feed(struct tls_conn *c, struct slice encrypted)
{
    while (encrypted.len) {
        int chunk = (int)MIN(encrypted.len, (size_t)1 << 30);
        int n = BIO_write(c->in, encrypted.ptr, chunk);
        ASSERT(n == chunk);
        encrypted = slice_sub(encrypted, (size_t)n, encrypted.len - (size_t)n);
    }
}

enum rc tls_conn_handshake(struct tls_conn *c, struct err *err)
{
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl);
    if (n == 1)
        return RC_OK;
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return RC_AGAIN;
    long verify = SSL_get_verify_result(c->ssl);
    if (verify != X509_V_OK && SSL_get_verify_mode(c->ssl) != SSL_VERIFY_NONE) {
        ERR_clear_error();
        return err_set(err, RC_INVALID, "TLS: certificate rejected: %s",
                       X509_verify_cert_error_string(verify));
    }
    return tls_error(err, RC_INVALID, "TLS handshake failed");
}

struct slice tls_conn_alpn(const struct tls_conn *c)
{
    const unsigned char *p = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(c->ssl, &p, &len);
    return slice_make(p, len);
}

enum rc tls_conn_read(struct tls_conn *c, struct bytes *out, struct err *err)
{
    struct buf *b = buf_new(TLS_READ_BYTES);
    size_t n = 0;
    ERR_clear_error();
    int ok = SSL_read_ex(c->ssl, b->data, b->cap, &n);
    if (ok) {
        *out = bytes_take_buf(b, 0, n);
        return RC_OK;
    }
    int why = SSL_get_error(c->ssl, ok);
    buf_unref(b);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return RC_AGAIN;
    if (why == SSL_ERROR_ZERO_RETURN)
        return err_set(err, RC_EOF, "closed by the peer");
    return tls_error(err, RC_CORRUPT, "TLS");
}

enum rc tls_conn_write(struct tls_conn *c, struct slice plain)
{
    size_t n = 0;
    if (plain.len == 0)
        return RC_OK;
    ERR_clear_error();
    /* A memory BIO takes everything, so a write is never partial. */
    if (!SSL_write_ex(c->ssl, plain.ptr, plain.len, &n) || n != plain.len) {
        ERR_clear_error();
        return RC_CLOSED;
    }
    return RC_OK;
}

void tls_conn_close_notify(struct tls_conn *c)
{
    if (SSL_is_init_finished(c->ssl))
        SSL_shutdown(c->ssl);
    ERR_clear_error();
}

struct bytes tls_conn_output(struct tls_conn *c)
{
    size_t n = BIO_ctrl_pending(c->out);
    if (n == 0)
        return BYTES_EMPTY;
    struct buf *b = buf_new(n);
    int got = BIO_read(c->out, b->data, (int)n);
    ASSERT(got == (int)n);
    return bytes_take_buf(b, 0, n);
}
