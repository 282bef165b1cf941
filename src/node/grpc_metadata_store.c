/* Get, GetVersion, Put and Delete of metadata values: see grpc_metadata_store.h. Values written here are
 * those of operators' tools: a value of the server's own is checked first and takes effect like any other
 * update. */
#include "node/grpc_metadata_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/grpc_messages.h"
#include "node/grpc_requests.h"
#include "node/grpc_schema.h"
#include "node/node_internal.h"

struct store_call {
    struct rpc *rpc;
    struct node *node;
    bool proxy; /* sentences of the store carry the address of its server */
    struct bytes message;
    struct kv_op op;

    struct store_request request;
};

static void release(struct store_call *c)
{
    bytes_unref(&c->message);
    free(c);
}

static const char *address_prefix(const struct store_call *c, char out[720])
{
    out[0] = 0;
    if (c->proxy)
        snprintf(out, 720, "[%s] ", c->node->fabric_service.advertised);
    return out;
}

static void fail(struct store_call *c, enum grpc_code code, const char *text)
{
    rpc_fail(c->rpc, code, "%s", text);
    release(c);
}

static bool check_identity(struct store_call *c)
{
    const struct nodes_config *mine = &c->node->view.nodes;
    char text[400], expected[12], got[12];
    if (c->proxy)
        return true;
    if (c->request.fingerprint && c->request.fingerprint != mine->cluster_fingerprint) {
        cluster_fingerprint_format(mine->cluster_fingerprint, expected);
        cluster_fingerprint_format(c->request.fingerprint, got);
        snprintf(text, sizeof(text),
                 "rejecting request because it seems to target a different cluster: cluster fingerprint "
                 "mismatch: expected %s, got %s",
                 expected, got);
        fail(c, GRPC_PERMISSION_DENIED, text);
        return false;
    }
    if (c->request.has_cluster_name && !slice_eq_cstr(c->request.cluster_name, mine->cluster_name)) {
        snprintf(text, sizeof(text),
                 "rejecting request because it seems to target a different cluster: cluster name mismatch: "
                 "expected %s, got %.*s",
                 mine->cluster_name, (int)MIN(c->request.cluster_name.len, 100),
                 (const char *)c->request.cluster_name.ptr);
        fail(c, GRPC_PERMISSION_DENIED, text);
        return false;
    }
    return true;
}

static struct store_call *begin(struct rpc *rpc, struct node *n, struct bytes message, bool proxy,
                                const struct store_request_layout *layout)
{
    struct store_call *c = xcalloc(1, sizeof(*c));
    char prefix[720], text[900];
    c->rpc = rpc;
    c->node = n;
    c->proxy = proxy;
    c->message = bytes_ref(message);
    if (!store_request_decode(bytes_slice(c->message), layout, &c->request)) {
        fail(c, GRPC_INTERNAL, "failed to decode Protobuf message");
        return NULL;
    }
    if (n->view.nodes_value.version == 0) {
        snprintf(text, sizeof(text), "%s%s%sMetadata store has not been provisioned yet",
                 proxy ? "other error: [retryable] " : "", address_prefix(c, prefix),
                 proxy ? "The service is currently unavailable: " : "");
        fail(c, GRPC_UNAVAILABLE, text);
        return NULL;
    }
    return check_identity(c) ? c : NULL;
}

static void submit(struct store_call *c, enum kv_op_kind kind,
                   void (*done)(struct kv_op *op, const struct kv_result *r))
{
    c->op.kind = kind;
    c->op.key = c->request.key;
    c->op.done = done;
    kv_submit(c->node->kv, &c->op);
}

static bool failed(struct store_call *c, const struct kv_result *r)
{
    if (r->rc == RC_OK || r->rc == RC_NOT_FOUND)
        return false;
    rpc_fail(c->rpc, grpc_code_of(r->rc), "%s", r->message);
    release(c);
    return true;
}

/* ---- Get, GetVersion ---- */

static void got(struct kv_op *op, const struct kv_result *r)
{
    struct store_call *c = CONTAINER_OF(op, struct store_call, op);
    struct writer w = WRITER_INIT, value = WRITER_INIT;
    if (failed(c, r))
        return;
    if (r->rc == RC_OK) {
        pb_put_wrapped(&value, 1, r->entry.version);
        pb_write_bytes(&value, 2, bytes_slice(r->entry.value));
        pb_put_message(&w, 1, &value);
    }
    rpc_reply(c->rpc, &w);
    release(c);
}

static void got_version(struct kv_op *op, const struct kv_result *r)
{
    struct store_call *c = CONTAINER_OF(op, struct store_call, op);
    struct writer w = WRITER_INIT;
    if (failed(c, r))
        return;
    if (r->rc == RC_OK)
        pb_put_wrapped(&w, 1, r->entry.version);
    rpc_reply(c->rpc, &w);
    release(c);
}

/* The schema registry is kept in records of its own: for those who look it is one value. */
static bool answer_schema(struct store_call *c)
{
    const struct schema *s = c->node->schemas ? schema_store_current(c->node->schemas) : NULL;
    struct writer w = WRITER_INIT, value = WRITER_INIT, stored = WRITER_INIT;
    if (!slice_eq_cstr(c->request.key, "schema_registry") || !s || schema_version(s) == 0)
        return false;
    grpc_schema_document(s, &stored);
    pb_put_wrapped(&value, 1, schema_version(s));
    pb_write_bytes(&value, 2, writer_slice(&stored));
    writer_free(&stored);
    pb_put_message(&w, 1, &value);
    rpc_reply(c->rpc, &w);
    release(c);
    return true;
}

static void get(struct rpc *rpc, struct node *n, struct bytes message, bool proxy)
{
    struct store_call *c = begin(rpc, n, message, proxy, &store_get_layout);
    if (c && !answer_schema(c))
        submit(c, KV_GET, got);
}

static void get_version(struct rpc *rpc, struct node *n, struct bytes message, bool proxy)
{
    struct store_call *c = begin(rpc, n, message, proxy, &store_get_layout);
    if (c)
        submit(c, KV_GET, got_version);
}

/* ---- Put, Delete ---- */

/* The precondition did not hold: what is there instead? */
static void conflict_read(struct kv_op *op, const struct kv_result *r)
{
    struct store_call *c = CONTAINER_OF(op, struct store_call, op);
    char prefix[720], found[32] = "None";
    if (failed(c, r))
        return;
    if (r->rc == RC_OK)
        snprintf(found, sizeof(found), "Some(v%u)", r->entry.version);
    address_prefix(c, prefix);
    if (c->request.precondition == KV_DOES_NOT_EXIST)
        rpc_fail(c->rpc, GRPC_FAILED_PRECONDITION, "%skey-value pair already exists", prefix);
    else if (c->request.precondition == KV_MATCHES_VERSION &&
             (r->rc != RC_OK || r->entry.version != c->request.expected))
        rpc_fail(c->rpc, GRPC_FAILED_PRECONDITION, "%sexpected version 'v%llu' but found version '%s'",
                 prefix, (unsigned long long)c->request.expected, found);
    else
        rpc_fail(c->rpc, GRPC_FAILED_PRECONDITION,
                 "%sthe version of a key cannot go back, found version '%s'", prefix, found);
    release(c);
}

static void written(struct kv_op *op, const struct kv_result *r)
{
    struct store_call *c = CONTAINER_OF(op, struct store_call, op);
    if (r->rc == RC_CONFLICT) {
        submit(c, KV_GET, conflict_read);
        return;
    }
    if (failed(c, r))
        return;
    rpc_reply_empty(c->rpc);
    release(c);
}

static bool set_precondition(struct store_call *c)
{
    if (!c->request.has_precondition) {
        fail(c, GRPC_INVALID_ARGUMENT, "precondition is required");
        return false;
    }
    if (c->request.precondition < KV_NONE || c->request.precondition > KV_MATCHES_VERSION) {
        fail(c, GRPC_INVALID_ARGUMENT, "invalid data 'unknown precondition kind'");
        return false;
    }
    c->op.precondition = (enum kv_precondition)c->request.precondition;
    c->op.expected_version = (uint32_t)MIN(c->request.expected, UINT32_MAX);
    return true;
}

/* Values that have their own way of being changed. */
static bool managed_elsewhere(struct slice key)
{
    return slice_eq_cstr(key, "schema_registry") || slice_eq_cstr(key, "rule_book") ||
           slice_starts_with(key, SLICE_LIT("schema/"));
}

static void put(struct rpc *rpc, struct node *n, struct bytes message, bool proxy)
{
    struct store_call *c = begin(rpc, n, message, proxy, &store_put_layout);
    struct err err = {0};
    if (!c)
        return;
    if (!c->request.has_value) {
        fail(c, GRPC_INVALID_ARGUMENT, "value is required");
        return;
    }
    if (!c->request.has_version || c->request.version > UINT32_MAX) {
        fail(c, GRPC_INVALID_ARGUMENT, "missing field 'version'");
        return;
    }
    if (!set_precondition(c))
        return;
    if (managed_elsewhere(c->request.key)) {
        fail(c, GRPC_INVALID_ARGUMENT, "this value is changed through the admin API only");
        return;
    }
    struct kv_entry entry = {
        c->request.key, {c->request.value.ptr, c->request.value.len, NULL}, (uint32_t)c->request.version};
    if (cluster_view_check(&n->view, &entry, &err) != RC_OK) {
        fail(c, GRPC_INVALID_ARGUMENT, err.msg);
        return;
    }
    c->op.value = bytes_copy(c->request.value);
    c->op.version = (uint32_t)c->request.version;
    submit(c, KV_PUT, written);
}

static void delete_key(struct rpc *rpc, struct node *n, struct bytes message, bool proxy)
{
    struct store_call *c = begin(rpc, n, message, proxy, &store_delete_layout);
    if (!c || !set_precondition(c))
        return;
    if (managed_elsewhere(c->request.key) || cluster_view_is_system_key(c->request.key)) {
        fail(c, GRPC_INVALID_ARGUMENT, "the server lives on this value: it cannot be deleted");
        return;
    }
    submit(c, KV_DELETE, written);
}

/* ---- the two services ---- */

void metadata_server_get(struct rpc *rpc, struct node *n, struct bytes message)
{
    get(rpc, n, message, false);
}

void metadata_server_get_version(struct rpc *rpc, struct node *n, struct bytes message)
{
    get_version(rpc, n, message, false);
}

void metadata_server_put(struct rpc *rpc, struct node *n, struct bytes message)
{
    put(rpc, n, message, false);
}

void metadata_server_delete(struct rpc *rpc, struct node *n, struct bytes message)
{
    delete_key(rpc, n, message, false);
}

static void proxy_get(struct rpc *rpc, struct node *n, struct bytes message)
{
    get(rpc, n, message, true);
}

static void proxy_get_version(struct rpc *rpc, struct node *n, struct bytes message)
{
    get_version(rpc, n, message, true);
}

static void proxy_put(struct rpc *rpc, struct node *n, struct bytes message)
{
    put(rpc, n, message, true);
}

static void proxy_delete(struct rpc *rpc, struct node *n, struct bytes message)
{
    delete_key(rpc, n, message, true);
}

static const struct rpc_method methods[] = {
    {"Get", proxy_get},
    {"GetVersion", proxy_get_version},
    {"Put", proxy_put},
    {"Delete", proxy_delete},
};
const struct rpc_service metadata_proxy_service = {
    .name = "restate.metadata_proxy_svc.MetadataProxySvc",
    .methods = methods,
    .n_methods = ARRAY_LEN(methods),
};
