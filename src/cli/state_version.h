/* The version of an object's state, as tools and server compute it (spec/admin-api.md §9). */
#pragma once
#include "base/bytes.h"

struct entry {
    const char *key;
    struct slice value;
};
#define STATE_VERSION_SIZE 44
/* `entries` ascending by key. URL-safe base64 of a SHA-256, without padding. */
void state_version(const struct entry *entries, size_t n, char out[STATE_VERSION_SIZE]);
