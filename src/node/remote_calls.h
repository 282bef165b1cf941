/* Requests of one loop to partition leaders on other nodes (spec/cluster.md §4.8): the asking side. The
 * answering side is node/partition_server.h. One per loop, on that loop.
 *
 * A request ends for the caller, at the latest, when its link does: links that go silent are given up by
 * their keep-alive. What the reply says about it: RC_UNAVAILABLE      not sent: no link, or it never came up
 * certainly not processed RC_OVERLOADED       too many requests, or bytes, on the link     certainly not
 * processed RC_NOT_LEADER ...   what the other node answered                 as partition/rpc.h says
 *   RC_LOST_LEADERSHIP  the link ended after the request was sent, or another node leads now and the asked
 * one does not answer                              unknown RC_CANCELED         remote_calls_cancel */
#pragma once
#include "node/router.h"
#include "peer/peer.h"

#define REMOTE_CALLS_MAX 16384u /* waiting per node; more are RC_OVERLOADED */

struct remote_calls;
struct remote_calls *remote_calls_new(struct loop *loop, struct peers *peers, struct partition_map *map);
/* Requests that wait are answered RC_LOST_LEADERSHIP before this returns. Before peers_free, whose callbacks
 * it no longer hears. */
void remote_calls_free(struct remote_calls *c);
/* `rpc` as for partition_router_submit: consumes its record; the reply comes once, never from inside. */
void remote_calls_submit(struct remote_calls *c, uint32_t node, struct partition_slot *slot,
                         struct partition_rpc *rpc);
/* The reply (RC_CANCELED) comes later, unless it is being delivered. */
void remote_calls_cancel(struct remote_calls *c, struct partition_rpc *rpc);
size_t remote_calls_waiting(const struct remote_calls *c);
