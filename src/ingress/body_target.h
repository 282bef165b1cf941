/* JSON bodies of POST /restate/attach, /restate/output and /restate/lookup (spec/ingress.md §8): which
 * invocation is meant. */
#pragma once
#include "base/codec.h"
#include "wire/id.h"

/* False: refused with *status and the sentence in `message`. `what` is "request" or "lookup", for the
 * sentence. */
bool body_target_parse(struct slice body, const char *what, bool bucketed, struct invocation_id *id,
                       int *status, struct writer *message);
/* "bad invocation id '<id>': <reason>"; `noun` is "invocation" or "awakeable". */
void bad_id_message(struct writer *message, const char *noun, struct slice text, enum id_error e);
