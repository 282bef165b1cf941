/* One HTTP/1.1 keep-alive connection of the load generator: one request at a time. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_conn {
    int fd;
    bool busy, want_write;
    uint64_t since_ns; /* when the request was sent, or should have been (open loop) */
    char *out;
    size_t out_len, out_off, out_cap;
    char *in;
    size_t in_len, in_cap;
    /* the response */
    bool head_done, chunked;
    int status;
    size_t body_off, body_len; /* body_len: content-length */
};

/* Connect (blocking, loopback), then non-blocking. False with errno. */
bool load_conn_open(struct load_conn *c, const struct sockaddr_in *addr);
void load_conn_close(struct load_conn *c);
/* Send what is left of out[]. False if the connection broke. */
bool load_conn_write(struct load_conn *c);

enum load_read { LOAD_READ_MORE, LOAD_READ_DONE, LOAD_READ_BROKEN };
/* Read; DONE: a whole response is there (status, body in in[body_off..]). */
enum load_read load_conn_read(struct load_conn *c);
/* Forget the response. */
void load_conn_reset(struct load_conn *c);
