/* Client over TLS: a TLS-terminating proxy made with OpenSSL stands before our cleartext server; its
 * certificate is signed by a CA made here. */
#include "harness.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

static struct {
    EVP_PKEY *ca_key, *key;
    X509 *ca, *cert;
    char ca_file[64];
    SSL_CTX *ctx;
    const char *alpn; /* what the proxy selects, NULL: none */
    struct net_listener *nl;
    char url[64], url_ip[64];
    char sni[64];
} T;

static X509 *make_cert(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key, const char *san)
{
    X509 *x = X509_new();
    X509V3_CTX v3;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), issuer ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
    X509V3_set_ctx(&v3, issuer ? issuer : x, x, NULL, NULL, 0);
    X509_EXTENSION *e = san ? X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, san)
                            : X509V3_EXT_conf_nid(NULL, &v3, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    X509_sign(x, issuer_key, EVP_sha256());
    return x;
}

/* ---- the proxy ---- */

struct proxied {
    SSL *ssl;
    BIO *in, *out;
    struct net_conn *front, *back;
    bool back_ready;
    struct out {
        struct bytes b[64];
        size_t n;
    } early;
};

static void proxy_flush(struct proxied *p)
{
    char buf[4096];
    int n;
    while (p->front && (n = BIO_read(p->out, buf, sizeof(buf))) > 0)
        net_conn_write(p->front, bytes_copy(slice_make(buf, (size_t)n)));
}

static void proxy_closed(struct proxied *p)
{
    if (p->front || p->back)
        return;
    SSL_free(p->ssl);
    for (size_t i = 0; i < p->early.n; i++)
        bytes_unref(&p->early.b[i]);
    free(p);
}

static void back_read(void *ctx, struct bytes data)
{
    struct proxied *p = ctx;
    SSL_write(p->ssl, data.ptr, (int)data.len);
    proxy_flush(p);
}
static void back_closed(void *ctx, const struct err *why)
{
    struct proxied *p = ctx;
    p->back = NULL;
    if (p->front)
        net_conn_close(p->front);
    proxy_closed(p);
}
static void back_connected(void *ctx, struct net_conn *conn, const struct err *err)
{
    static const struct net_conn_ops ops = {.on_read = back_read, .on_closed = back_closed};
    struct proxied *p = ctx;
    p->back_ready = true;
    net_conn_start(conn, &ops, p);
    for (size_t i = 0; i < p->early.n; i++)
        net_conn_write(conn, p->early.b[i]);
    p->early.n = 0;
}
static void front_read(void *ctx, struct bytes data)
{
    struct proxied *p = ctx;
    char buf[16384];
    int n;
    BIO_write(p->in, data.ptr, (int)data.len);
    while ((n = SSL_read(p->ssl, buf, sizeof(buf))) > 0) {
        struct bytes b = bytes_copy(slice_make(buf, (size_t)n));
        if (p->back_ready && p->back) {
            net_conn_write(p->back, b);
        } else {
            assert_true(p->early.n < 64);
            p->early.b[p->early.n++] = b;
        }
    }
    const char *sni = SSL_get_servername(p->ssl, TLSEXT_NAMETYPE_host_name);
    if (SSL_is_init_finished(p->ssl))
        snprintf(T.sni, sizeof(T.sni), "%s", sni ? sni : "none");
    proxy_flush(p);
}
static void front_closed(void *ctx, const struct err *why)
{
    struct proxied *p = ctx;
    p->front = NULL;
    if (p->back)
        net_conn_close(p->back);
    proxy_closed(p);
}
static void proxy_accept(void *ctx, struct net_conn *conn)
{
    static const struct net_conn_ops ops = {.on_read = front_read, .on_closed = front_closed};
    struct proxied *p = xcalloc(1, sizeof(*p));
    p->front = conn;
    p->ssl = SSL_new(T.ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    SSL_set_bio(p->ssl, p->in, p->out);
    SSL_set_accept_state(p->ssl);
    p->back = net_connect(F.loop, &F.addr, 20000, back_connected, p);
    net_conn_start(conn, &ops, p);
}
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    if (!T.alpn)
        return SSL_TLSEXT_ERR_NOACK;
    static unsigned char want[16];
    want[0] = (unsigned char)strlen(T.alpn);
    memcpy(want + 1, T.alpn, want[0]);
    if (SSL_select_next_proto((unsigned char **)out, out_len, want, want[0] + 1u, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

static int tls_setup(void **state)
{
    static const struct net_listener_ops lops = {proxy_accept};
    struct net_address a = {.host = "127.0.0.1"};
    struct http_client_config cc;
    struct err err;
    memset(&T, 0, sizeof(T));
    T.ca_key = EVP_EC_gen("P-256");
    T.key = EVP_EC_gen("P-256");
    T.ca = make_cert(T.ca_key, "Test CA", NULL, T.ca_key, NULL);
    T.cert = make_cert(T.key, "localhost", T.ca, T.ca_key, "DNS:localhost,IP:127.0.0.1");
    T.ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(T.ctx, T.cert);
    SSL_CTX_use_PrivateKey(T.ctx, T.key);
    SSL_CTX_set_alpn_select_cb(T.ctx, select_alpn, NULL);
    snprintf(T.ca_file, sizeof(T.ca_file), "/tmp/http-test-ca-%d.pem", (int)getpid());
    FILE *f = fopen(T.ca_file, "w");
    PEM_write_X509(f, T.ca);
    fclose(f);
    http_client_config_default(&cc);
    cc.ca_file = T.ca_file;
    cc.connect_timeout_ms = 20 * 1000;
    fixture_start(NULL, &cc);
    assert_int_equal(net_listen(F.loop, &a, false, &lops, NULL, &T.nl, &err), RC_OK);
    assert_int_equal(net_listener_start(T.nl, &err), RC_OK);
    net_listener_address(T.nl, &a);
    snprintf(T.url, sizeof(T.url), "https://localhost:%u", a.port);
    snprintf(T.url_ip, sizeof(T.url_ip), "https://127.0.0.1:%u", a.port);
    return 0;
}
static int tls_teardown(void **state)
{
    http_client_free(F.client);
    F.client = NULL;
    run_for(10);
    net_listener_close(T.nl);
    fixture_stop();
    unlink(T.ca_file);
    SSL_CTX_free(T.ctx);
    X509_free(T.ca);
    X509_free(T.cert);
    EVP_PKEY_free(T.ca_key);
    EVP_PKEY_free(T.key);
    return 0;
}

static void expect_exchange(const char *url, enum http_client_protocol p, enum http_version version)
{
    struct call c;
    const size_t size = 3u << 20;
    struct buf *b = buf_new(size);
    memset(b->data, 'z', size);
    call_open_at(&c, url, p, "POST", "/echo");
    http_stream_write(c.stream, bytes_take_buf(b, 0, size));
    call_write(&c, "end");
    http_stream_end(c.stream);
    call_finish(&c);
    if (c.err.rc != RC_OK)
        fail_msg("%s", c.err.msg);
    assert_int_equal(c.version, version);
    assert_int_equal(c.body.len, size + 3);
    assert_memory_equal(c.body.buf->data + size, "end", 3);
    call_free(&c);
}

static void alpn_decides_the_version(void **state)
{
    T.alpn = "h2";
    expect_exchange(T.url, HTTP_CLIENT_H2, HTTP_2);
    assert_string_equal(T.sni, "localhost");
    expect_exchange(T.url, HTTP_CLIENT_NEGOTIATE, HTTP_2);
    expect_exchange(T.url_ip, HTTP_CLIENT_NEGOTIATE, HTTP_2);
    assert_string_equal(T.sni, "none");
}

static void http1_is_negotiated_or_assumed(void **state)
{
    T.alpn = "http/1.1";
    expect_exchange(T.url, HTTP_CLIENT_NEGOTIATE, HTTP_1_1);
    expect_exchange(T.url, HTTP_CLIENT_H1, HTTP_1_1);
    T.alpn = NULL;
    expect_exchange(T.url_ip, HTTP_CLIENT_NEGOTIATE, HTTP_1_1);
}

static void expect_failure(const char *url, enum http_client_protocol p, enum rc rc, const char *text)
{
    struct call c;
    call_open_at(&c, url, p, "GET", "/");
    http_stream_end(c.stream);
    call_finish(&c);
    assert_int_equal(c.err.rc, rc);
    if (!strstr(c.err.msg, text))
        fail_msg("unexpected message: %s", c.err.msg);
}

static void h2_must_be_offered(void **state)
{
    T.alpn = NULL;
    expect_failure(T.url, HTTP_CLIENT_H2, RC_UNSUPPORTED, "h2");
}

static void certificates_are_checked(void **state)
{
    struct http_client_config cc;
    char url[64];
    T.alpn = "h2";
    snprintf(url, sizeof(url), "https://localhost.localdomain%s", strrchr(T.url, ':'));
    http_client_free(F.client);
    http_client_config_default(&cc);
    F.client = http_client_new(F.loop, &cc); /* without our CA */
    expect_failure(T.url, HTTP_CLIENT_H2, RC_INVALID, "certificate rejected");
    http_client_free(F.client);
    cc.ca_file = "/nonexistent.pem";
    F.client = http_client_new(F.loop, &cc);
    expect_failure(T.url, HTTP_CLIENT_H2, RC_INVALID, "CA file");
    /* a name the certificate does not carry */
    http_client_free(F.client);
    cc.ca_file = T.ca_file;
    F.client = http_client_new(F.loop, &cc);
    snprintf(url, sizeof(url), "https://127.0.0.2%s", strrchr(T.url, ':'));
    X509_free(T.cert);
    T.cert = make_cert(T.key, "other", T.ca, T.ca_key, "DNS:other.example");
    SSL_CTX_use_certificate(T.ctx, T.cert);
    expect_failure(T.url, HTTP_CLIENT_H2, RC_INVALID, "mismatch");
    expect_failure(T.url_ip, HTTP_CLIENT_H2, RC_INVALID, "mismatch");
}

static void new_client(const struct http_client_config *cc)
{
    http_client_free(F.client);
    F.client = http_client_new(F.loop, cc);
}

/* A server that wants a certificate of its clients; and a client that takes any of the server. */
static void clients_have_certificates_too(void **state)
{
    struct http_client_config cc;
    char cert_file[64], key_file[64];
    snprintf(cert_file, sizeof(cert_file), "/tmp/http-test-cert-%d.pem", (int)getpid());
    snprintf(key_file, sizeof(key_file), "/tmp/http-test-key-%d.pem", (int)getpid());
    FILE *f = fopen(cert_file, "w");
    PEM_write_X509(f, T.cert);
    fclose(f);
    f = fopen(key_file, "w");
    PEM_write_PrivateKey(f, T.key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    T.alpn = "h2";
    http_client_config_default(&cc);
    cc.tls_skip_verify = true;
    new_client(&cc);
    expect_exchange(T.url, HTTP_CLIENT_H2, HTTP_2);
    SSL_CTX_set_max_proto_version(T.ctx, TLS1_2_VERSION); /* a refusal is part of the handshake there */
    SSL_CTX_set_verify(T.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(T.ctx), T.ca);
    new_client(&cc);
    expect_failure(T.url, HTTP_CLIENT_H2, RC_INVALID, "handshake");
    cc.ca_file = T.ca_file;
    cc.tls_skip_verify = false;
    cc.cert_file = cert_file;
    cc.key_file = key_file;
    new_client(&cc);
    expect_exchange(T.url, HTTP_CLIENT_H2, HTTP_2);
    cc.key_file = "/nonexistent.pem";
    new_client(&cc);
    expect_failure(T.url, HTTP_CLIENT_H2, RC_INVALID, "key of the certificate");
    unlink(cert_file);
    unlink(key_file);
}

static void cleartext_peers_and_silence_fail(void **state)
{
    char url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u",
             F.addr.port); /* our own cleartext server answers 400 */
    expect_failure(url, HTTP_CLIENT_H2, RC_INVALID, "TLS handshake failed");
}

int main(void)
{
#define TT(f) cmocka_unit_test_setup_teardown(f, tls_setup, tls_teardown)
    const struct CMUnitTest tests[] = {
        TT(alpn_decides_the_version),
        TT(http1_is_negotiated_or_assumed),
        TT(h2_must_be_offered),
        TT(certificates_are_checked),
        TT(clients_have_certificates_too),
        TT(cleartext_peers_and_silence_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
