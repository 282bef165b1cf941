/* Filling of struct problem: see problem.h. */
#include "metadata/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

bool problem_set(struct problem *p, int http_status, const char *code, const char *fmt, ...)
{
    p->http_status = http_status;
    snprintf(p->code, sizeof(p->code), "%s", code ? code : "");
    int n = p->code[0] ? snprintf(p->message, sizeof(p->message), "[%s] ", p->code) : 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->message + n, sizeof(p->message) - (size_t)n, fmt, ap);
    va_end(ap);
    /* A cut must not leave half a UTF-8 sequence behind: the message goes into JSON. */
    size_t len = strlen(p->message), at = 0;
    while (at < len) {
        size_t step = utf8_sequence((const uint8_t *)p->message + at, len - at);
        if (step == 0 && len - at < 4 && len + 1 == sizeof(p->message))
            break;
        at += step ? step : 1;
    }
    p->message[at] = '\0';
    return false;
}
