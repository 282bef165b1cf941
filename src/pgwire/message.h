/* Messages of the PostgreSQL protocol 3.0 (spec/sql.md §14): cutting what clients send, writing what they
 * get. No sockets, no state. */
#pragma once
#include "base/codec.h"

#define PG_MESSAGE_MAX    (4u << 20) /* of a client */
#define PG_STARTUP_MAX    10000u
#define PG_PARAMETERS_MAX 1000u
#define PG_PROTOCOL       196608u
#define PG_REQUEST_CANCEL 80877102u
#define PG_REQUEST_SSL    80877103u
#define PG_REQUEST_GSS    80877104u

/* The first message of a connection. */
struct pg_startup {
    uint32_t code; /* protocol or request */
    uint32_t cancel_pid, cancel_key;
    struct slice options;     /* name NUL value NUL ... NUL, as sent */
    uint32_t unknown_options; /* names that begin with _pq_. */
};
/* RC_AGAIN: more bytes are needed; else *used is the length of the message. */
enum rc pg_startup_next(struct slice in, struct pg_startup *out, size_t *used);
/* Takes one pair from `options`; false at the end. */
bool pg_option_next(struct slice *options, struct slice *name, struct slice *value);

struct pg_message {
    char type;
    struct slice body;
};
/* RC_AGAIN: more bytes are needed. RC_INVALID, RC_TOO_LARGE: the connection cannot go on. */
enum rc pg_message_next(struct slice in, struct pg_message *out, size_t *used);

struct pg_parse {
    struct slice name, text;
    uint16_t n_oids;
    uint32_t oids[PG_PARAMETERS_MAX];
};
bool pg_parse_read(struct slice body, struct pg_parse *out);
struct pg_value {
    struct slice bytes; /* ptr NULL: NULL */
    bool binary;
};
struct pg_bind {
    struct slice portal, statement;
    uint16_t n_values, n_formats;
    struct pg_value values[PG_PARAMETERS_MAX];
    bool formats[PG_PARAMETERS_MAX * 2]; /* of results; binary */
};
bool pg_bind_read(struct slice body, struct pg_bind *out);
/* Describe and Close: 'S' or 'P' and a name. Execute: a portal and a number of rows. */
bool pg_target_read(struct slice body, char *kind, struct slice *name);
bool pg_execute_read(struct slice body, struct slice *portal, uint32_t *max_rows);
/* A text that ends with NUL, and nothing behind it. */
bool pg_text_read(struct slice body, struct slice *text);

/* Writing: begin, content, end. */
size_t pg_begin(struct writer *w, char type);
void pg_end(struct writer *w, size_t begin);
void pg_text(struct writer *w, struct slice text); /* with NUL */
void pg_empty(struct writer *w, char type);
void pg_ready(struct writer *w, bool in_transaction);
void pg_tag(struct writer *w, const char *tag);
void pg_parameter(struct writer *w, const char *name, const char *value);
struct pg_error {
    bool fatal;
    char code[6];      /* SQLSTATE */
    uint32_t position; /* characters from 1 into the statement; 0: not known */
    struct slice message;
};
void pg_error(struct writer *w, const struct pg_error *e);
