/* Answers of etcd: whatever comes, every operation ends once, and what it reports lies in the answer. */
#include <stdlib.h>

#include "../unit/metadata/fake_env.h"
#include "metadata/etcd_client.h"
#include "metadata/etcd_messages.h"

struct run {
    struct etcd_call *call;
    struct kv_op op;
    int done;
    size_t bytes;
};

static void send_call(void *ctx, struct etcd_call *call, struct bytes message_take)
{
    struct run *r = ctx;
    bytes_unref(&message_take);
    r->call = call;
}

static void on_done(struct kv_op *op, const struct kv_result *result)
{
    struct run *r = CONTAINER_OF(op, struct run, op);
    r->done++;
    for (size_t i = 0; i < result->n_entries; i++)
        for (size_t k = 0; k < result->entries[i].value.len; k++)
            r->bytes += result->entries[i].value.ptr[k];
    for (size_t k = 0; result->rc == RC_OK && k < result->entry.value.len; k++)
        r->bytes += result->entry.value.ptr[k];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct etcd_client_ops ops = {.send = send_call};
    static const enum kv_op_kind kinds[] = {KV_GET, KV_LIST, KV_PUT, KV_DELETE};
    struct fake_env fenv;
    struct etcd_client_options o;
    struct run r = {0};
    if (size < 1)
        return 0;
    fake_env_init(&fenv);
    etcd_client_options_default(&o);
    struct etcd_client *c = etcd_client_new(&fenv.env, &o, 1, &ops, &r);
    r.op = (struct kv_op){.kind = kinds[data[0] % 4],
                          .key = SLICE_LIT("k"),
                          .version = 7,
                          .precondition = (enum kv_precondition)(1 + data[0] / 4 % 3),
                          .expected_version = 6,
                          .done = on_done};
    kv_submit(etcd_client_kv(c), &r.op);
    fake_env_run(&fenv);
    /* Of exactly its size, so that a read past the end is seen. */
    struct bytes body = bytes_copy(slice_make(data + 1, size - 1));
    for (unsigned i = 0; i < 20 && r.call; i++) {
        struct etcd_call *call = r.call;
        struct etcd_reply reply = {.message = "", .body = body};
        r.call = NULL;
        etcd_client_answered(c, call, &reply);
    }
    if (r.call) {
        struct etcd_reply lost = {.transport = true, .code = 14, .message = "lost"};
        etcd_client_stop(c);
        etcd_client_answered(c, r.call, &lost);
    }
    bytes_unref(&body);
    kv_close(etcd_client_kv(c));
    ASSERT(r.done == 1);
    fake_env_free(&fenv);
    return 0;
}
