/* Shared by the files that load, fill and dump the configuration. */
#pragma once
#include "base/containers.h"
#include "node/config.h"
#include "node/config_value.h"

struct config_warning {
    char *text;
    bool to_stderr; /* deprecation notices; the rest goes to the log */
};
struct loaded {
    struct node_config config;
    struct cv *root;            /* effective, canonical */
    struct cv *explicit_layers; /* what file, environment and flags set */
    struct cv *file_layer;
    char *file_source;
    struct {
        struct config_warning *items;
        size_t len, cap;
    } warnings;
    int argc;
    char **argv, **envp;
};
/* Fill l->config from l->root. */
void config_fill(struct loaded *l);
/* The texts stay those of `section`; `addresses` is the caller's to free. */
void config_fill_metadata_client(const struct cv *section, struct metadata_client_config *out);

/* A whole [metadata-client] of values of the right types: is the type one that is supported, and complete?
 * Addresses of etcd become URIs. */
enum rc config_check_metadata_client(struct cv *client, struct err *err);

/* config_kafka.c: ingress.kafka-clusters. */
enum rc config_check_kafka_clusters(const struct cv *v, struct err *err);
void config_fill_kafka_clusters(const struct cv *v, struct schema_fixed_clusters *out);
void config_free_kafka_clusters(struct schema_fixed_clusters *c);
