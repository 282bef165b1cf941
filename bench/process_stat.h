/* What /proc says about the server under test. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct process_stat {
    uint64_t cpu_us;      /* user and system time of all threads, resolution 10 ms */
    uint64_t write_bytes; /* sent to the block layer */
    uint64_t rss_kb, peak_rss_kb;
};
/* False if there is no such process (or, for write_bytes, no permission). */
bool process_stat_read(long pid, struct process_stat *out);
