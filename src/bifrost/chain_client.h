/* `struct chain_store` for the logs of one loop, over mailboxes to the chain service on its loop. */
#pragma once
#include "bifrost/chain_service.h"
#include "bifrost/replicated_chain.h"
#include "loop/loop.h"

struct chain_client;
/* May be created on another loop's thread, before `loop` runs. The service outlives it. */
struct chain_client *chain_client_new(struct chain_service *service, struct loop *service_loop,
                                      struct loop *loop);
struct chain_store *chain_client_store(struct chain_client *c);
/* Asks nothing more; `done` when all answers have arrived, never from inside. */
void chain_client_close(struct chain_client *c, void (*done)(void *ctx), void *ctx);
/* A closed one, or one that was never used. */
void chain_client_free(struct chain_client *c);
