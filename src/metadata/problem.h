/* What an operation on the schema answers when it is refused: the HTTP status, the code and the sentence that
 * the admin API sends (spec/errors.md §3, §7, §8). */
#pragma once
#include "base/rc.h"

#define PROBLEM_MESSAGE_SIZE 2048

struct problem {
    int http_status;
    char code[12]; /* "META0006", or "" */
    char message[PROBLEM_MESSAGE_SIZE];
};

/* Fill and return false, so that `return problem_set(...)` reads well. With a code the message gets the
 * prefix `[CODE] `. A message that is too long is cut. */
bool problem_set(struct problem *p, int http_status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
