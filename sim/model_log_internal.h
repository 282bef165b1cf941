/* Shared by model_log.c (the world) and model_log_check.c (the oracle). */
#pragma once
#include "bifrost/log_server_store.h"
#include "sim/model_log.h"

struct ml_disk_loglet {
    uint64_t id, tail;
    bool sealed;
    struct bytes meta, records[ML_OFFSETS_MAX];
};
struct ml_server {
    struct ml_world *world;
    unsigned index;
    struct sim_env env;
    struct log_server *server;
    struct log_server_store store;
    struct store_batch *batch;
    struct env_task write;
    struct ml_disk_loglet loglets[ML_LOGLETS_MAX];
    unsigned n_loglets;
};
struct ml_disk_loglet *ml_disk_find(struct ml_server *s, uint64_t id);
bool ml_disk_holds(const struct ml_disk_loglet *l, uint64_t offset);

/* ---- model_log_check.c ---- */
struct ml_loglet *ml_find(struct ml_world *w, uint64_t id);
void ml_check_written(struct ml_server *s, const struct store_entry *e); /* it is on the disk */
/* Sent. `from` NULL: by a log-server. */
void ml_check_message(struct ml_world *w, const struct ml_client *from, const struct loglet_message *m);
void ml_check_acked(struct ml_client *c, struct ml_loglet *l, uint64_t tail);
void ml_check_swap(struct ml_world *w, const struct chain *before, const struct chain *after);
