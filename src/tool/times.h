/* Times and durations as the tools show them (spec/restatectl.md §10.5). */
#pragma once
#include "base/codec.h"

enum time_format { TIME_HUMAN, TIME_ISO8601, TIME_RFC2822 };

/* `1 day, 1 hour and 16 ms` */
void duration_precise(struct writer *w, uint64_t ms);
/* `now`, `14 seconds`, `an hour`, ... */
void duration_rough(struct writer *w, uint64_t seconds);
/* `1d 2h 3m 4s`; `n/a` for 0 */
void duration_friendly(struct writer *w, uint64_t seconds);
/* 2026-11-22T17:27:01.902+00:00, or the form of mails. */
void instant_print(struct writer *w, enum time_format format, uint64_t wall_ms);
