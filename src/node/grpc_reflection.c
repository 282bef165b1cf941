/* Implementation of node/grpc_reflection.h. */
#include "node/grpc_reflection.h"

#include "http/grpc.h"
#include "node/config.h"
#include "node/proto.h"
#include "wire/pb.h"
#include "wire/pb_describe.h"

#define REQUEST_MAX (64u << 10)

enum { FILE_BY_NAME = 3, FILE_OF_SYMBOL, EXTENSION, EXTENSION_NUMBERS, LIST_SERVICES };
enum { ANSWER_FILES = 4, ANSWER_SERVICES = 6, ANSWER_ERROR };

static const struct {
    const char *name;
    unsigned role; /* 0: every node */
} services[] = {
    {GRPC_REFLECTION_SERVICE, 0},
    {"restate.cluster_ctrl.ClusterCtrlSvc", ROLE_ADMIN},
    {"restate.log_server.LogServerSvc", ROLE_LOG_SERVER},
    {"restate.metadata_proxy_svc.MetadataProxySvc", 0},
    {"restate.metadata_server_svc.MetadataServerSvc", ROLE_METADATA_SERVER},
    {"restate.node_ctl_svc.NodeCtlSvc", 0},
};

static void put_error(struct writer *w, enum grpc_code code, const char *what, struct slice which)
{
    struct writer e = WRITER_INIT, text = WRITER_INIT;
    write_fmt(&text, "%s '%.*s'", what, SLICE_FMT(slice_sub(which, 0, MIN(which.len, 200u))));
    pb_write_u64(&e, 1, code);
    pb_write_bytes(&e, 2, writer_slice(&text));
    writer_free(&text);
    pb_put_message(w, ANSWER_ERROR, &e);
}

static void put_services(struct writer *w, unsigned roles)
{
    struct writer list = WRITER_INIT;
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        struct writer service = WRITER_INIT;
        if (services[i].role && !(roles & services[i].role))
            continue;
        pb_put_text(&service, 1, services[i].name);
        pb_put_message(&list, 1, &service);
    }
    pb_put_message(w, ANSWER_SERVICES, &list);
}

struct files {
    bool seen[PROTO_FILES_MAX];
    struct writer out;
};

/* The file first, then what it imports. */
static void put_file(void *ctx, size_t i)
{
    struct files *f = ctx;
    ASSERT(i < proto_n_files);
    if (f->seen[i])
        return;
    f->seen[i] = true;
    struct writer w = WRITER_INIT;
    pb_describe(proto_files, proto_n_files, i, &w);
    pb_put_message(&f->out, 1, &w);
    pb_imports(proto_files, proto_n_files, i, put_file, f);
}

enum rc grpc_reflection_answer(struct slice request, unsigned roles, struct writer *w)
{
    struct reader r = reader_make(request);
    struct pb_field f, asked = {0};
    struct files files = {.out = WRITER_INIT};
    while (pb_next(&r, &f)) {
        if (f.number == 1 && f.wire == PB_LEN)
            pb_write_bytes(w, 1, f.bytes);
        else if (f.number >= FILE_BY_NAME && f.number <= LIST_SERVICES && f.wire == PB_LEN)
            asked = f;
    }
    if (r.failed)
        return RC_INVALID;
    pb_write_bytes_always(w, 2, request);
    if (asked.number == LIST_SERVICES) {
        put_services(w, roles);
        return RC_OK;
    }
    if (asked.number != FILE_BY_NAME && asked.number != FILE_OF_SYMBOL) {
        put_error(w, asked.number ? GRPC_NOT_FOUND : GRPC_INVALID_ARGUMENT,
                  asked.number ? "there are no extensions of" : "nothing was asked",
                  asked.number == EXTENSION_NUMBERS ? asked.bytes : SLICE_EMPTY);
        return RC_OK;
    }
    size_t i = asked.number == FILE_BY_NAME ? pb_find_file(proto_files, proto_n_files, asked.bytes)
                                            : pb_find_symbol(proto_files, proto_n_files, asked.bytes);
    if (i == proto_n_files) {
        put_error(w, GRPC_NOT_FOUND,
                  asked.number == FILE_BY_NAME ? "no such file:" : "no such symbol:", asked.bytes);
        return RC_OK;
    }
    put_file(&files, i);
    pb_put_message(w, ANSWER_FILES, &files.out);
    return RC_OK;
}

/* ---- the stream ---- */

static void on_message(struct grpc_call *c, struct bytes message)
{
    struct writer w = WRITER_INIT;
    unsigned roles = (unsigned)(uintptr_t)grpc_call_user(c);
    if (grpc_reflection_answer(bytes_slice(message), roles, &w) == RC_OK)
        grpc_call_send(c, writer_take(&w));
    else
        grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "malformed request");
    writer_free(&w);
}

static void on_end(struct grpc_call *c)
{
    grpc_call_finish(c, GRPC_OK, NULL);
}

void grpc_reflection_serve(struct http_request *r, struct slice method, unsigned roles)
{
    static const struct grpc_call_ops ops = {.on_message = on_message, .on_end = on_end};
    if (slice_eq_cstr(method, "ServerReflectionInfo"))
        grpc_call_accept(r, false, REQUEST_MAX, &ops, (void *)(uintptr_t)roles);
    else
        grpc_refuse(r, GRPC_UNIMPLEMENTED, NULL);
}
