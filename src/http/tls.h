/* TLS for client connections over memory buffers: the caller moves bytes between this and the socket
 * (spec/service-protocol.md §3.5). Private to http/. */
#pragma once
#include "base/bytes.h"

struct tls_context; /* trust roots and options; shared by all connections of a client */
struct tls_conn;

/* System roots (SSL_CERT_FILE and SSL_CERT_DIR are honoured) plus `ca_file` (PEM) if not NULL; a certificate
 * of our own if `cert_file` and `key_file` are not NULL. RC_INVALID. */
struct tls_settings {
    const char *ca_file, *cert_file, *key_file;
    bool skip_verify;
};
enum rc tls_context_new(const struct tls_settings *settings, struct tls_context **out, struct err *err);
void tls_context_free(struct tls_context *t);

/* `host` is checked against the certificate and sent as SNI unless it is an IP literal. `alpn` is in wire
 * form (length-prefixed names), empty: no ALPN. */
struct tls_conn *tls_conn_new(struct tls_context *t, struct slice host, struct slice alpn);
void tls_conn_free(struct tls_conn *c);

/* Bytes from the socket. */
void tls_conn_feed(struct tls_conn *c, struct slice encrypted);
/* Advance the handshake: RC_AGAIN until it is complete, RC_OK then, RC_INVALID with the reason if it failed.
 */
enum rc tls_conn_handshake(struct tls_conn *c, struct err *err);
/* The protocol the server chose, empty if none. */
struct slice tls_conn_alpn(const struct tls_conn *c);
/* One piece of decrypted data: RC_OK and a reference, RC_AGAIN, RC_EOF after close_notify, RC_CORRUPT. */
enum rc tls_conn_read(struct tls_conn *c, struct bytes *out, struct err *err);
/* Encrypt. RC_CLOSED if the session is broken. */
enum rc tls_conn_write(struct tls_conn *c, struct slice plain);
void tls_conn_close_notify(struct tls_conn *c);
/* What must be sent to the socket; empty if nothing. */
struct bytes tls_conn_output(struct tls_conn *c);
