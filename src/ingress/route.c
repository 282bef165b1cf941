/* Routing of paths (ingress/route.h). */
#include "ingress/route.h"

#include "base/hash.h"

#define MIN_SLASHES 2
#define MAX_SLASHES 7

static const char bad_old_form[] =
    "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler";
static const char bad_new_form[] =
    "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler, "
    "/restate/scope/:scope/call/:service/:handler, /restate/attach/:invocation_id, "
    "/restate/output/:invocation_id, or "
    "/restate/lookup";
static const char bad_awakeable[] =
    "bad path, expected either /restate/awakeables/:id/resolve or /restate/awakeables/:id/reject";
static const char bad_invocation[] = "bad path, expected either /restate/invocation/:invocation_id/output or "
                                     "/restate/invocation/:invocation_id/attach or "
                                     "/restate/invocation/:invocation_target/:idempotency_key/output or "
                                     "/restate/invocation/:invocation_target/:idempotency_key/attach";
static const char bad_workflow[] =
    "bad path, expected either /restate/workflow/:workflow_name/:workflow_key/output or "
    "/restate/workflow/:workflow_name/:workflow_key/attach";

void target_split(struct slice target, struct slice *path, struct slice *query)
{
    ptrdiff_t mark = slice_find(target, '?', 0);
    size_t end = mark < 0 ? target.len : (size_t)mark;
    *query = slice_sub(target, end, target.len - end);
    struct slice p = slice_sub(target, 0, end);
    while (p.len > 1 && p.ptr[0] == '/' && p.ptr[1] == '/')
        p = slice_sub(p, 1, p.len - 1);
    while (p.len > 1 && p.ptr[p.len - 1] == '/')
        p.len--;
    *path = p;
}

void route_free(struct route *r)
{
    writer_free(&r->message);
    writer_free(&r->key_room);
    writer_free(&r->scope_room);
}

static bool refuse(struct route *r, int status, struct slice message)
{
    r->status = status;
    writer_reset(&r->message);
    write_slice_raw(&r->message, message);
    return false;
}

static bool refuse_path(struct route *r, const char *message)
{
    return refuse(r, 400, slice_cstr(message));
}

static bool not_found(struct route *r)
{
    return refuse(r, 404, SLICE_LIT("not found"));
}

/* ---- segments ---- */

struct segments {
    struct slice rest; /* what follows the last slash that was consumed */
    bool more;
};

static bool next_segment(struct segments *s, struct slice *out)
{
    if (!s->more)
        return false;
    ptrdiff_t slash = slice_find(s->rest, '/', 0);
    size_t len = slash < 0 ? s->rest.len : (size_t)slash;
    *out = slice_sub(s->rest, 0, len);
    s->more = slash >= 0;
    if (s->more)
        s->rest = slice_sub(s->rest, len + 1, s->rest.len - len - 1);
    return true;
}

/* ---- decoding ---- */

/* Length of the malformed sequence at `p` as UTF-8 decoders report it (the valid prefix of a sequence), 0 if
 * the input just ends too early. */
static size_t utf8_error_len(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t need;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        need = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        need = 3;
        low = p[0] == 0xe0 ? 0xa0 : 0x80;
        high = p[0] == 0xed ? 0x9f : 0xbf;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        need = 4;
        low = p[0] == 0xf0 ? 0x90 : 0x80;
        high = p[0] == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 1;
    }
    for (size_t i = 1; i < need; i++) {
        if (i >= left)
            return 0;
        if (p[i] < low || p[i] > high)
            return i;
        low = 0x80;
        high = 0xbf;
    }
    return 0;
}

#define SHOWN_BYTES_MAX 256

static bool refuse_key(struct route *r, struct slice decoded)
{
    size_t valid = 0, n;
    while (valid < decoded.len && (n = utf8_sequence(decoded.ptr + valid, decoded.len - valid)) > 0)
        valid += n;
    refuse(r, 400, SLICE_LIT("bad path, cannot decode key: FromUtf8Error { bytes: ["));
    for (size_t i = 0; i < MIN(decoded.len, (size_t)SHOWN_BYTES_MAX); i++)
        write_fmt(&r->message, "%s%u", i ? ", " : "", decoded.ptr[i]);
    if (decoded.len > SHOWN_BYTES_MAX)
        write_fmt(&r->message, ", ...");
    write_fmt(&r->message, "], error: Utf8Error { valid_up_to: %zu, error_len: ", valid);
    size_t error_len = utf8_error_len(decoded.ptr + valid, decoded.len - valid);
    if (error_len)
        write_fmt(&r->message, "Some(%zu)", error_len);
    else
        write_fmt(&r->message, "None");
    write_fmt(&r->message, " } }");
    return false;
}

static bool decode_segment(struct route *r, struct slice raw, struct writer *room, struct slice *out)
{
    if (slice_find(raw, '%', 0) < 0) {
        *out = raw;
    } else {
        percent_decode(room, raw);
        *out = writer_slice(room);
    }
    if (!out->ptr)
        *out = slice_make("", 0); /* an empty key is a key */
    return slice_is_utf8(*out) || refuse_key(r, *out);
}

/* ---- route families ---- */

static bool find_service(struct route *r, const struct schema *schema, struct slice name)
{
    r->service = schema_service(schema, name);
    if (r->service)
        return true;
    refuse(r, 404, SLICE_LIT("service '"));
    write_slice_raw(&r->message, name);
    write_fmt(&r->message, "' not found, make sure to register the service before calling it.");
    return false;
}

/* {service}/[{key}/]{handler} from here on. */
static bool parse_target(struct route *r, struct segments *s, const struct schema *schema, const char *bad)
{
    struct slice name, key;
    if (!next_segment(s, &name))
        return refuse_path(r, bad);
    if (!find_service(r, schema, name))
        return false;
    if (r->service->type != SERVICE_PLAIN) {
        if (!next_segment(s, &key))
            return refuse_path(r, bad);
        if (!decode_segment(r, key, &r->key_room, &r->key))
            return false;
    }
    return next_segment(s, &r->handler) || refuse_path(r, bad);
}

static bool parse_old_form(struct route *r, struct segments *s, const struct schema *schema)
{
    struct slice last;
    r->kind = ROUTE_CALL;
    if (!parse_target(r, s, schema, bad_old_form))
        return false;
    if (!next_segment(s, &last))
        return true;
    if (!slice_eq_cstr(last, "send") || s->more)
        return refuse_path(r, bad_old_form);
    r->kind = ROUTE_SEND;
    return true;
}

static bool parse_new_form(struct route *r, struct segments *s, const struct schema *schema, bool send)
{
    r->kind = send ? ROUTE_SEND : ROUTE_CALL;
    if (!parse_target(r, s, schema, bad_new_form))
        return false;
    return !s->more || refuse_path(r, bad_new_form);
}

static bool parse_scoped(struct route *r, struct segments *s, const struct schema *schema)
{
    struct slice scope, verb;
    if (!next_segment(s, &scope) || !next_segment(s, &verb))
        return refuse_path(r, bad_new_form);
    if (!decode_segment(r, scope, &r->scope_room, &r->scope))
        return false;
    bool send = slice_eq_cstr(verb, "send");
    if (!send && !slice_eq_cstr(verb, "call"))
        return refuse_path(r, bad_new_form);
    return parse_new_form(r, s, schema, send);
}

static bool parse_attach_verb(struct route *r, struct slice verb)
{
    r->kind = ROUTE_INVOCATION;
    r->output = slice_eq_cstr(verb, "output");
    return r->output || slice_eq_cstr(verb, "attach") || not_found(r);
}

/* {id}/{verb}, or {service}/[{key}/]{handler}/{idempotency key}/{verb}; more segments are ignored. */
static bool parse_invocation(struct route *r, struct segments *s, const struct schema *schema)
{
    struct segments by_target = *s;
    struct slice verb;
    if (!next_segment(s, &r->id) || !next_segment(s, &verb))
        return refuse_path(r, bad_invocation);
    if (!s->more) {
        r->by = BY_ID;
        return parse_attach_verb(r, verb);
    }
    r->by = BY_IDEMPOTENCY_KEY;
    if (!parse_target(r, &by_target, schema, bad_invocation))
        return false;
    if (!next_segment(&by_target, &r->idempotency_key) || !next_segment(&by_target, &verb))
        return refuse_path(r, bad_invocation);
    return parse_attach_verb(r, verb);
}

static bool parse_workflow(struct route *r, struct segments *s)
{
    struct slice key, verb;
    r->by = BY_WORKFLOW;
    if (!next_segment(s, &r->service_name) || !next_segment(s, &key) || !next_segment(s, &verb))
        return refuse_path(r, bad_workflow);
    return decode_segment(r, key, &r->key_room, &r->key) && parse_attach_verb(r, verb);
}

static bool parse_attach(struct route *r, struct segments *s, bool output)
{
    r->output = output;
    r->by = BY_ID;
    r->kind = next_segment(s, &r->id) ? ROUTE_INVOCATION : ROUTE_BODY_TARGET;
    return !s->more || refuse_path(r, bad_new_form);
}

static bool parse_awakeable(struct route *r, struct segments *s)
{
    struct slice verb;
    r->kind = ROUTE_AWAKEABLE;
    if (!next_segment(s, &r->id) || !next_segment(s, &verb))
        return refuse_path(r, bad_awakeable);
    r->reject = slice_eq_cstr(verb, "reject");
    return r->reject || slice_eq_cstr(verb, "resolve") || not_found(r);
}

static bool parse_restate(struct route *r, struct segments *s, const struct schema *schema)
{
    struct slice verb;
    if (!next_segment(s, &verb))
        return refuse_path(r, bad_new_form);
    if (slice_eq_cstr(verb, "call"))
        return parse_new_form(r, s, schema, false);
    if (slice_eq_cstr(verb, "send"))
        return parse_new_form(r, s, schema, true);
    if (slice_eq_cstr(verb, "health")) {
        r->kind = ROUTE_HEALTH;
        return true;
    }
    if (slice_eq_cstr(verb, "attach"))
        return parse_attach(r, s, false);
    if (slice_eq_cstr(verb, "output"))
        return parse_attach(r, s, true);
    if (slice_eq_cstr(verb, "awakeables") || slice_eq_cstr(verb, "a"))
        return parse_awakeable(r, s);
    if (slice_eq_cstr(verb, "invocation"))
        return parse_invocation(r, s, schema);
    if (slice_eq_cstr(verb, "workflow"))
        return parse_workflow(r, s);
    if (slice_eq_cstr(verb, "scope"))
        return parse_scoped(r, s, schema);
    if (slice_eq_cstr(verb, "lookup")) {
        r->kind = ROUTE_LOOKUP;
        return !s->more || refuse_path(r, bad_new_form);
    }
    return not_found(r);
}

bool route_parse(struct slice path, const struct schema *schema, struct route *r)
{
    *r = (struct route){0};
    size_t slashes = 0;
    for (size_t i = 0; i < path.len; i++)
        slashes += path.ptr[i] == '/';
    if (slashes < MIN_SLASHES || slashes > MAX_SLASHES || path.ptr[0] != '/' || !slice_is_utf8(path)) {
        refuse(r, 400, SLICE_LIT("bad path: "));
        write_slice_raw(&r->message, path);
        return false;
    }
    struct segments s = {.rest = slice_sub(path, 1, path.len - 1), .more = true};
    struct segments rest = s;
    struct slice first;
    next_segment(&rest, &first);
    if (slice_eq_cstr(first, "restate"))
        return parse_restate(r, &rest, schema);
    if (slice_eq_cstr(first, "openapi"))
        return not_found(r);
    return parse_old_form(r, &s, schema);
}
