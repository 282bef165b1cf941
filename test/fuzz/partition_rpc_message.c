/* Any bytes: requests and replies between nodes are decoded without a crash, and what is accepted survives a
 * round trip. */
#include <stdlib.h>

#include "base/codec.h"
#include "partition/rpc_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_static(slice_make(data, size));
    struct partition_rpc rpc, rpc2;
    struct rpc_reply reply, reply2;
    uint64_t call, call2;
    struct writer w = WRITER_INIT;
    if (rpc_request_decode(in, &call, &rpc)) {
        rpc_request_encode(&w, call, &rpc);
        write_slice_raw(&w, bytes_slice(rpc.record));
        ASSERT(rpc_request_decode(bytes_static(writer_slice(&w)), &call2, &rpc2));
        ASSERT(call == call2 && rpc.kind == rpc2.kind && rpc.partition_key == rpc2.partition_key &&
               invocation_id_eq(rpc.id, rpc2.id) &&
               slice_eq(bytes_slice(rpc.record), bytes_slice(rpc2.record)));
        ASSERT(rpc_message_peek(writer_slice(&w), &call2) == RPC_MESSAGE_REQUEST);
        bytes_unref(&rpc.record);
        bytes_unref(&rpc2.record);
    }
    writer_reset(&w);
    if (rpc_reply_decode(in, &call, &reply)) {
        rpc_reply_encode(&w, call, &reply);
        write_slice_raw(&w, reply.outcome.value);
        ASSERT(rpc_reply_decode(bytes_static(writer_slice(&w)), &call2, &reply2));
        ASSERT(call == call2 && reply.status == reply2.status && reply.rc == reply2.rc &&
               slice_eq(reply.outcome.value, reply2.outcome.value) &&
               slice_eq(reply.target.service, reply2.target.service) && reply.expiry_ms == reply2.expiry_ms);
    }
    writer_free(&w);
    return 0;
}
