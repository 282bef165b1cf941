/* Log output for people and for machines (spec/config.md §5.1). Thread-safe; one line (json, compact) or
 * block (pretty) is written with one write(2). WARN and ERROR go to stderr, the rest to stdout. */
#pragma once
#include "base/bytes.h"

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };
enum log_format { LOG_PRETTY, LOG_COMPACT, LOG_JSON };

struct log_field {
    const char *key;
    const char *value; /* text; shown quoted in json */
};

struct log_config {
    enum log_format format;
    bool ansi;
};
/* Call once before other threads start; may be called again to change format. */
void log_configure(const struct log_config *config);
/* Directives `LEVEL`, `target=LEVEL`, comma-separated; the longest matching target prefix (at a `::` boundary
 * or exact, and "restate" covers "restate_*") wins. Span filters are accepted and ignored. RC_INVALID with a
 * sentence if malformed; the previous filter then stays. */
enum rc log_set_filter(const char *filter, struct err *err);
/* Only say whether log_set_filter would take it. */
enum rc log_check_filter(const char *filter, struct err *err);
bool log_enabled(enum log_level level, const char *target);
void log_write(enum log_level level, const char *target, const struct log_field *fields, size_t n_fields,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* LOG(LOG_INFO, "restate_node", LOG_FIELDS({"node_name", name}), "My Node ID is %s", id);
 * LOG0(LOG_WARN, "restate_server", "text"): the same without fields. Arguments are not evaluated when
 * filtered. */
#define LOG_FIELDS(...)                                                                                      \
    ((const struct log_field[]){__VA_ARGS__}),                                                               \
        (sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
#define LOG0(level, target, ...)                                                                             \
    do {                                                                                                     \
        if (log_enabled(level, target))                                                                      \
            log_write(level, target, NULL, 0, __VA_ARGS__);                                                  \
    } while (0)
#define LOG_WITH(level, target, fields, n_fields, ...)                                                       \
    do {                                                                                                     \
        if (log_enabled(level, target))                                                                      \
            log_write(level, target, fields, n_fields, __VA_ARGS__);                                         \
    } while (0)
#define LOG(level, target, ...) LOG_EXPAND_(level, target, __VA_ARGS__)
#define LOG_EXPAND_(level, target, fields, n_fields, ...)                                                    \
    LOG_WITH(level, target, fields, n_fields, __VA_ARGS__)
/* Capture for tests: every line goes to `sink` instead of the file descriptors until set to NULL. */
void log_set_sink(void (*sink)(void *ctx, enum log_level level, struct slice line), void *ctx);
