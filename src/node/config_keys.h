/* The table of all configuration keys (spec/config.md §2): path, type, default. It drives type checks, the
 * dump, and the warning about unknown keys. Keys that this server accepts without further effect are in it
 * too. */
#pragma once
#include "node/config_value.h"

enum key_type {
    K_BOOL,
    K_STRING,
    K_PATH,
    K_INT,
    K_INT_POSITIVE,
    K_PORT,
    K_U8_POSITIVE, /* 1 to 255 */
    K_FLOAT,
    K_DURATION,
    K_DURATION_POSITIVE,
    K_BYTES,
    K_BYTES_POSITIVE,
    K_ENUM, /* `choices` */
    K_ROLES,
    K_STRING_LIST,
    K_STRING_TABLE,
    K_REPLICATION,
    K_LOCATION,
    K_BIND_ADDRESS,
    K_IP,
    K_ADDRESS,
    K_ADDRESS_LIST,
    K_RETRY,      /* table: type, interval, factor, ... (§2.3) */
    K_ATTEMPTS,   /* positive integer or "unlimited" */
    K_RANGE,      /* "250ms..1m" */
    K_RATE,       /* {rate, capacity} */
    K_NO_PROXY,   /* list or comma-separated text */
    K_TABLE_LIST, /* kafka-clusters */
    K_REMOVED,    /* keys of older releases: any value, no effect */
};
enum key_flags {
    KF_HIDDEN = 1,    /* not in the dump while at its default */
    KF_ROOT_FLAG = 2, /* the environment variable is read by a command-line flag: raw text */
};
struct config_key {
    const char *path;
    enum key_type type;
    const char *default_text; /* in the notation of environment values; NULL: unset */
    unsigned flags;
    const char *choices; /* K_ENUM: "a,b,c" */
};
extern const struct config_key config_keys[];
extern const size_t config_key_count;
const struct config_key *config_key_find(const char *path);
/* True if some key lies below `path` (it is a known table). */
bool config_key_is_table(const char *path);

/* Check `v` against the key's type and replace its content by the canonical form (durations and sizes as
 * CV_INT nanoseconds / bytes). RC_INVALID with the reference's phrases. */
enum rc config_key_check(const struct config_key *key, struct cv *v, struct err *err);
/* Print the canonical value as TOML. */
struct writer;
void config_key_print(const struct config_key *key, const struct cv *v, struct writer *w);
/* Is `s` one of the comma-separated `choices`? */
bool choice_listed(const char *choices, const char *s);
