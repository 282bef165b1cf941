/* The replicated log's messages (wire/loglet_message.h) over links between nodes (peer/): what sequencers,
 * readers and operators' requests of one loop ask, and what this node's log-server answers. */
#pragma once
#include "bifrost/log_host.h"
#include "bifrost/log_port.h"
#include "peer/peer.h"

/* ---- asking: one per loop, on that loop ---- */
struct log_client_links;
/* Dials LOG links of `peers`, which serves PEER_LOGLET from now on. `peers` outlives it. */
struct log_client_links *log_client_links_new(struct peers *peers);
/* Freed with nothing in flight, after the port that uses it. */
void log_client_links_free(struct log_client_links *l);
struct log_links *log_client_links_base(struct log_client_links *l);
/* Whom answers and signs of life are for; NULL: nobody. */
void log_client_links_set_calls(struct log_client_links *l, struct loglet_calls *calls);

/* ---- answering: on the log loop ---- */
struct log_server_links;
struct log_server_links *log_server_links_new(void);
/* As log_host_config.remote_reply, with these links as context. */
void log_server_links_reply(void *links, const struct log_server_peer *to, const struct loglet_message *m);
/* Before the log loop runs: requests that arrive over the LOG links of `peers_take` are for `host`. */
void log_server_links_serve(struct log_server_links *l, struct peers *peers_take, struct log_host *host);
/* Main loop: end the links; `done` on `reply_loop`, then log_server_links_free. */
void log_server_links_close(struct log_server_links *l, struct loop *reply_loop, void (*done)(void *ctx),
                            void *ctx);
/* After the log loop has ended. */
void log_server_links_free(struct log_server_links *l);
