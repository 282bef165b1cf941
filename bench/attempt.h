/* One attempt of one invocation at the benchmark's endpoint: the received journal, and what the handler
 * sends back (spec/service-protocol.md §4 to §8, versions 5 and 6).
 *
 * A handler is a deterministic function that is run again from its beginning whenever something arrived. The
 * attempt_* functions below emit a command only the first time: they walk the journal with a cursor, and what
 * is recorded already is checked and passed over. A handler therefore returns as soon as attempt_await says
 * that a result is not there yet. All on the loop's thread. */
#pragma once
#include "http/server.h"
#include "wire/service_protocol.h"

#define ATTEMPT_MAX_COMMANDS    32
#define ATTEMPT_MAX_COMPLETIONS 32

struct attempt;

struct bench_handler {
    const char *path; /* "Service/handler" */
    void (*run)(struct attempt *a);
};
/* NULL if there is none. */
const struct bench_handler *bench_handler_find(struct slice path);

struct attempt_stats {
    uint64_t attempts, ended, suspended, failed, lost;
};
extern struct attempt_stats attempt_stats;

/* A place in `in`, which moves when it grows. */
struct attempt_part {
    size_t off, len;
};

struct attempt {
    struct http_request *req;
    const struct bench_handler *handler;
    char content_type[64]; /* of the request, echoed */
    bool response_started, decided, half_closed, response_ended;

    struct writer in; /* everything received */
    size_t parsed;
    struct attempt_part start, input;
    bool has_start;
    uint32_t known_entries, entries_seen;

    /* The journal: commands without Input, and completions by id with their order of arrival (0: none). */
    uint32_t n_commands;
    uint16_t command_types[ATTEMPT_MAX_COMMANDS];
    struct attempt_part commands[ATTEMPT_MAX_COMMANDS];
    uint32_t arrived[ATTEMPT_MAX_COMPLETIONS];
    struct attempt_part completions[ATTEMPT_MAX_COMPLETIONS];
    uint32_t arrivals, cancel_arrived;

    uint32_t cursor;   /* next command of this run of the handler */
    uint64_t proposed; /* bit per completion id: proposed in this attempt */
    uint32_t awaiting; /* completion id the handler stopped at; 0: none */
    bool suspend_now;  /* do not hold the stream open while waiting */
    struct writer out;
};

/* The request is an attempt of `handler`: takes over its streams. */
void attempt_begin(struct http_request *req, const struct bench_handler *handler);

/* ---- for handlers ---- */
struct slice attempt_slice(const struct attempt *a, struct attempt_part part);
/* The argument of the invocation. */
struct slice attempt_input(const struct attempt *a);
/* Value of an eager state key. False with *known: there is no such key; false without: ask lazily. */
bool attempt_state(const struct attempt *a, struct slice key, struct slice *value, bool *known);
/* Is the next command in the journal? True: skip it, *recorded (may be NULL) is its payload. False: the
 * caller must emit it with attempt_frame_begin / _end. A command of another type there is error 570. */
bool attempt_next_recorded(struct attempt *a, uint16_t type, struct slice *recorded);
size_t attempt_frame_begin(struct attempt *a, uint16_t type);
void attempt_frame_end(struct attempt *a, size_t frame);

enum attempt_result { ATTEMPT_PENDING, ATTEMPT_SUCCESS, ATTEMPT_FAILURE };
/* The completion `id`: SUCCESS with the value (empty for void); PENDING: the handler must return. FAILURE:
 * the completion is a failure, or the invocation was canceled first; the handler has been ended with it. */
enum attempt_result attempt_await(struct attempt *a, uint32_t id, struct slice *value);
/* Output (unless recorded) and End. */
void attempt_succeed(struct attempt *a, struct slice value);
void attempt_fail(struct attempt *a, uint32_t code, struct slice message);
/* Error: the attempt failed, the server will retry. */
void attempt_error(struct attempt *a, uint32_t code, const char *message);
