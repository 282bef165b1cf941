/* Durations, byte sizes and time stamps as text (spec/config.md §1.5, spec/ingress.md §5.3). */
#pragma once
#include "base/bytes.h"

struct writer;

/* Wall clock and monotonic clock of the operating system. Cores use env.h instead. */
uint64_t os_wall_ms(void);
uint64_t os_wall_us(void);
uint64_t os_mono_ns(void);

/* Parse the friendly (`1h 30m`, `1.5s`, `00:01:30`) and ISO 8601 (`PT5S`, `P1D`) forms of config.md §1.5.
 * Nanoseconds. RC_INVALID with a reason (for instance "please use units of days or smaller"). A bare "0" is
 * zero. Negative: RC_INVALID. */
enum rc duration_parse(struct slice text, uint64_t *out_ns, struct err *err);
/* `1d 2h`, `1s 500ms`, `0s` (largest unit days). */
void duration_format(struct writer *w, uint64_t ns);
/* `5 MB`, `1.5GiB`, `1024`. */
enum rc byte_size_parse(struct slice text, uint64_t *out, struct err *err);
void byte_size_format(struct writer *w, uint64_t bytes); /* `32.0 MiB`, `5 B` */

/* 2026-11-22T17:38:16.633Z; `fraction_digits` 0, 3, 6 or 9. */
void time_format_rfc3339(struct writer *w, uint64_t wall_us, int fraction_digits, const char *zone_suffix);
/* Sun, 22 Nov 2026 17:22:26 GMT (HTTP date); needs 30 bytes with NUL. */
void time_format_http(char out[30], uint64_t wall_s);
/* RFC 2822 / HTTP date to seconds since the epoch. */
bool time_parse_http(struct slice text, uint64_t *out_s);
