/* The request that the load generator sends, as a template. In path and body
 *   {n}  is a number that no other run repeats (start time plus sequence),
 *   {i}  the sequence number of the request, from 0,
 *   {k}  a random number below `keys`. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_target {
    struct sockaddr_in addr;
    char host[128];
    const char *method, *path, *body; /* body may be NULL */
    uint64_t keys, unique_base, random_state;
};

/* `url`: http://IPV4:PORT. False if it is not. */
bool load_target_set_url(struct load_target *t, const char *url);
/* Write request number `index`; returns its length. The buffer is enlarged as needed. */
size_t load_target_render(struct load_target *t, uint64_t index, char **buf, size_t *cap);
