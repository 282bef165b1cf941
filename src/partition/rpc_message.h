/* Requests to partition leaders and their replies as messages between nodes (partition/rpc.h; spec/cluster.md
 * §4.8). Private to this server and versioned by the first byte. A head with everything but the largest part,
 * then that part (the record of a request, the value of an outcome), so that it is sent from where it lies.
 */
#pragma once
#include "partition/rpc.h"

enum rpc_message_kind { RPC_MESSAGE_REQUEST = 1, RPC_MESSAGE_REPLY = 2, RPC_MESSAGE_CANCEL = 3 };

/* Followed by rpc->record, if it has one. `call` names the request on its link. */
void rpc_request_encode(struct writer *w, uint64_t call, const struct partition_rpc *rpc);
/* Followed by reply->outcome.value, if there is one. */
void rpc_reply_encode(struct writer *w, uint64_t call, const struct rpc_reply *reply);
void rpc_cancel_encode(struct writer *w, uint64_t call);

/* Total. What kind of message, and whose; 0 if it is none of a known version. */
enum rpc_message_kind rpc_message_peek(struct slice message, uint64_t *call);
/* Total. Fills the upper part of `out`; the record is a reference into `message`, compact, or empty. The
 * reply callback stays NULL. False if malformed: nothing has to be released then. */
bool rpc_request_decode(struct bytes message, uint64_t *call, struct partition_rpc *out);
/* Total. Slices and bytes of `out` are lent from `message`. */
bool rpc_reply_decode(struct bytes message, uint64_t *call, struct rpc_reply *out);
