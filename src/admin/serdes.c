/* POST /internal/services/{}/serdes/decode|encode/{*}: a payload as the endpoint's serde shows it, and back
 * (spec/admin-api.md §17). The endpoint's answer goes out as it comes, no faster than the client takes it. */
#include <stdlib.h>

#include "admin/admin_internal.h"
#include "loop/net.h"
#include "wire/id.h"

struct preview_call {
    struct admin_call *call;
    void *preview;
    bool started;
    size_t held; /* bytes that were written while the client did not take more */
};

static const struct admin_previews *previews(const struct preview_call *p)
{
    return &p->call->admin->deps.previews;
}

static void over(struct preview_call *p)
{
    call_close(p->call);
    free(p);
}

static void start_answer(struct preview_call *p)
{
    struct admin_answer head = {.status = 200};
    struct admin_exchange *x = p->call->exchange;
    x->start(x, &head);
    p->started = true;
}

static void on_data(void *ctx, struct bytes data)
{
    struct preview_call *p = ctx;
    struct admin_exchange *x = p->call->exchange;
    if (!p->started)
        start_answer(p);
    if (x->write(x, bytes_ref(data)) > NET_HIGH_WATER)
        p->held += data.len;
    else
        previews(p)->consumed(p->preview, data.len);
}

static void writable(struct admin_exchange *x)
{
    struct preview_call *p = x->user;
    size_t n = p->held;
    p->held = 0;
    previews(p)->consumed(p->preview, n);
}

static void gone(struct admin_exchange *x)
{
    struct preview_call *p = x->user;
    previews(p)->cancel(p->preview);
    x->end(x, false);
    over(p);
}

static void on_done(void *ctx, const char *failure)
{
    struct preview_call *p = ctx;
    struct admin_call *c = p->call;
    struct admin_exchange *x = c->exchange;
    x->gone = NULL;
    x->writable = NULL;
    if (failure && !p->started) {
        free(p);
        answer_error(c, 500, "Internal server error: %s", failure);
        return;
    }
    if (!p->started)
        start_answer(p);
    x->end(x, failure == NULL);
    over(p);
}

/* The deployment that the query names, else the latest one of the service; NULL after having answered. */
static const struct schema_deployment *deployment_of(struct admin_call *c)
{
    const char *given = call_query(c, "deployment");
    if (!given) {
        const struct schema_service *s = schema_service(call_schema(c), slice_cstr(c->params[0]));
        if (!s)
            answer_error(c, 404, "The requested service '%s' does not exist", c->params[0]);
        return s ? s->deployment : NULL;
    }
    struct u128 id;
    enum id_error e = resource_id_parse(RESOURCE_DEPLOYMENT, slice_cstr(given), &id);
    if (e != ID_OK) {
        char reason[128];
        id_error_message(e, slice_cstr(given), reason, sizeof(reason));
        answer_text(c, 400, "Failed to deserialize query string: deployment: %s", reason);
        return NULL;
    }
    const struct schema_deployment *d = schema_deployment(call_schema(c), id);
    if (!d)
        answer_deployment_missing(c, id);
    return d;
}

static void preview(struct admin_call *c, bool encode)
{
    if (c->body_too_large) {
        answer_text(c, 413, "Failed to buffer the request body: length limit exceeded");
        return;
    }
    const struct schema_deployment *d = deployment_of(c);
    if (!d)
        return;
    struct preview_call *p = xcalloc(1, sizeof(*p));
    p->call = c;
    struct admin_exchange *x = c->exchange;
    x->user = p;
    x->writable = writable;
    x->gone = gone;
    struct admin_preview_request request = {
        .deployment = d,
        .service = slice_cstr(c->params[0]),
        .serde = slice_cstr(c->params[1]),
        .encode = encode,
        .body = c->body,
        .on_data = on_data,
        .on_done = on_done,
        .ctx = p,
    };
    p->preview = previews(p)->start(previews(p)->ctx, &request);
}

void handle_decode(struct admin_call *c)
{
    preview(c, false);
}

void handle_encode(struct admin_call *c)
{
    preview(c, true);
}
