/* A call to whichever node of a role answers: see ctl.h (spec/restatectl.md §4.3 to §4.5). */
#include <stdlib.h>

#include "ctl/ctl.h"

void failures_add(struct tool *t, struct failures *f, const char *address, const struct grpc_status *s)
{
    if (f->list.len == f->list.cap) { /* in the arena, doubling */
        size_t cap = f->list.cap ? f->list.cap * 2 : 4;
        void *items = arena_alloc(&t->arena, cap * sizeof(*f->list.items));
        if (f->list.len)
            memcpy(items, f->list.items, f->list.len * sizeof(*f->list.items));
        f->list.items = items;
        f->list.cap = cap;
    }
    f->list.items[f->list.len].address = address;
    f->list.items[f->list.len++].status = *s;
}

const char *failures_text(struct tool *t, const struct failures *f)
{
    struct writer w = WRITER_INIT;
    if (f->list.len == 1) {
        write_fmt(&w, "%s: %s\n", f->list.items[0].address, status_text(t, &f->list.items[0].status));
    } else {
        write_fmt(&w, "Encountered multiple errors:\n");
        for (size_t i = 0; i < f->list.len; i++)
            write_fmt(&w, " - %s -> %s\n", f->list.items[i].address,
                      status_text(t, &f->list.items[i].status));
    }
    return tool_take_text(t, &w);
}

static struct answer no_answer(struct tool *t, const char *error)
{
    return (struct answer){.error = error, .status = {.code = GRPC_UNAVAILABLE, .transport = true}};
}

/* The nodes to try: connected ones first, then by id. */
static size_t candidates(struct ctl *c, enum node_role role, const struct node_entry **out)
{
    size_t n = 0;
    for (int connected = 1; connected >= 0; connected--)
        for (size_t i = 0; i < c->nodes->n_nodes; i++) {
            const struct node_entry *e = &c->nodes->nodes[i];
            if (e->tombstone || (role && !(e->roles & role)) ||
                ctl_peer(c, e->address)->connected != (connected == 1))
                continue;
            out[n++] = e;
        }
    return n;
}

static struct answer call_one(struct ctl *c, const char *address, const char *path, struct bytes request,
                              uint64_t timeout_ms, struct failures *failures)
{
    struct peer *p = ctl_peer(c, address);
    struct rpc r = {
        .address = p->address, .path = path, .request = request, .dead = p->dead, .timeout_ms = timeout_ms};
    rpc_run(c, &r, 1);
    struct answer a = {
        .good = rpc_good(&r), .reply = bytes_slice(r.reply), .address = p->address, .status = r.status};
    if (!a.good) {
        p->dead |= r.status.code == GRPC_UNAVAILABLE || r.status.code == GRPC_DEADLINE_EXCEEDED;
        failures_add(c->tool, failures, p->address, &r.status);
    }
    return a;
}

static struct answer call_single(struct ctl *c, enum node_role role, const char *path, struct bytes request,
                                 uint64_t timeout_ms)
{
    struct failures failures = {0};
    struct ident ident;
    struct answer a;
    if (role) {
        a = call_one(c, c->seeds[0], "/restate.node_ctl_svc.NodeCtlSvc/GetIdent", BYTES_EMPTY, 0, &failures);
        bool has = false;
        if (a.good && ident_decode(c->tool, a.reply, &ident))
            for (size_t i = 0; i < ident.n_roles; i++)
                has |= node_role_parse(slice_cstr(ident.roles[i])) == (uint32_t)role;
        if (a.good && !has) {
            bytes_unref(&request);
            struct writer list = WRITER_INIT;
            for (size_t i = 0; i < ident.n_roles; i++)
                write_fmt(&list, "%s%s", i ? ", " : "", ident.roles[i]);
            a = no_answer(c->tool,
                          tool_format(c->tool,
                                      "Single address mode: node %s does not have the required role '%s'. "
                                      "Node has roles: [%s]",
                                      c->seeds[0], node_role_name(role), tool_take_text(c->tool, &list)));
            return a;
        }
        if (!a.good) {
            bytes_unref(&request);
            a.error = failures_text(c->tool, &failures);
            return a;
        }
    }
    a = call_one(c, c->seeds[0], path, request, timeout_ms, &failures);
    if (!a.good)
        a.error = failures_text(c->tool, &failures);
    return a;
}

struct answer ctl_call_for(struct ctl *c, enum node_role role, const char *path, struct writer *request_take,
                           uint64_t timeout_ms)
{
    struct bytes request = request_take ? writer_take(request_take) : BYTES_EMPTY;
    struct failures failures = {0};
    struct answer a = {0};
    if (c->single)
        return call_single(c, role, path, request, timeout_ms);
    const struct node_entry **list =
        arena_array(&c->tool->arena, const struct node_entry *, c->nodes->n_nodes + 1);
    size_t n = candidates(c, role, list);
    for (size_t i = 0; i < n && !a.good; i++) {
        a = call_one(c, list[i]->address, path, bytes_ref(request), timeout_ms, &failures);
        if (a.status.code == GRPC_FAILED_PRECONDITION || a.status.code == GRPC_OUT_OF_RANGE)
            break;
    }
    bytes_unref(&request);
    if (n == 0)
        return no_answer(c->tool, role ? tool_format(c->tool, "No available %s nodes to satisfy the request",
                                                     node_role_name(role))
                                       : "No available nodes to satisfy the request");
    if (!a.good)
        a.error = failures_text(c->tool, &failures);
    return a;
}

struct answer ctl_call(struct ctl *c, enum node_role role, const char *path, struct writer *request_take)
{
    return ctl_call_for(c, role, path, request_take, 0);
}
