/* Reads /proc/PID/stat, io and status. */
#include "process_stat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_text(long pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n < 0)
        return false;
    text[n] = 0;
    return true;
}

static uint64_t field(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

bool process_stat_read(long pid, struct process_stat *out)
{
    char text[4096];
    memset(out, 0, sizeof(*out));
    if (!read_text(pid, "stat", text, sizeof(text)))
        return false;
    const char *at = strrchr(text, ')'); /* the name may hold anything; fields 3.. follow */
    unsigned long long user = 0, system = 0;
    if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return false;
    out->cpu_us = (user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    if (!read_text(pid, "io", text, sizeof(text)))
        return false;
    out->write_bytes = field(text, "\nwrite_bytes:");
    if (!read_text(pid, "status", text, sizeof(text)))
        return false;
    out->rss_kb = field(text, "VmRSS:");
    out->peak_rss_kb = field(text, "VmHWM:");
    return true;
}
