/* Every exchange captured between release 1.7.12 and the TypeScript SDK
 * (test/vectors/service-protocol-exchanges.txt), played against the invoker: given the journal, it must send
 * the same Start and replay; it must accept what the SDK sent, and forward the notifications at the same
 * places. Only the duration in Start (field 8) is left out of the comparison. */
#include "invoker_fixture.h"

#define MAX_LINES 64
struct line {
    bool from_server, is_end, is_reset;
    struct bytes frame; /* header and payload */
};
static struct {
    char name[32], service[32], handler[32], key[32];
    int version;
    struct line lines[MAX_LINES];
    size_t n;
    size_t at; /* next line to happen */
    size_t n_known, n_injected, n_appending, injected_at;
    uint16_t last_from_sdk;
} X;

static uint16_t type_of(const struct line *l)
{
    return frame_header_get(l->frame.ptr).type;
}
static struct slice payload_of(const struct line *l)
{
    return slice_sub(bytes_slice(l->frame), FRAME_HEADER_SIZE, l->frame.len - FRAME_HEADER_SIZE);
}

/* ---- the file ---- */

static void parse_line(char *text)
{
    assert_true(X.n < MAX_LINES);
    struct line *l = &X.lines[X.n++];
    *l = (struct line){.from_server = text[0] == '>'};
    if (strncmp(text + 2, "end", 3) == 0 || strncmp(text + 2, "reset", 5) == 0) {
        l->is_end = text[2] == 'e';
        l->is_reset = text[2] == 'r';
        return;
    }
    uint8_t raw[4096];
    l->frame = bytes_copy(hex_bytes(text + 2, raw, sizeof(raw)));
}

static void forget_exchange(void)
{
    for (size_t i = 0; i < X.n; i++)
        bytes_unref(&X.lines[i].frame);
    memset(&X, 0, sizeof(X));
}

/* ---- what the endpoint does ---- */

/* Send what the SDK sent next, up to the point where it waited for the server. */
static void sdk_goes_on(struct exchange *x)
{
    while (X.at < X.n && !X.lines[X.at].from_server) {
        struct line *l = &X.lines[X.at++];
        if (!x->responded)
            respond_head(x, 200, x->content_type);
        X.last_from_sdk = type_of(l);
        X.n_appending += message_is_command(X.last_from_sdk) || X.last_from_sdk == MSG_PROPOSE_RUN;
        http_response_write(x->req, bytes_ref(l->frame));
    }
}

static void play_captured(struct exchange *x, enum play_event event, uint16_t type, struct slice payload)
{
    if (event == PLAY_FRAME) {
        struct line *l = &X.lines[X.at];
        if (X.at >= X.n || !l->from_server || l->is_end || l->is_reset)
            fail_msg("%s: unexpected frame 0x%04x", X.name, type);
        assert_int_equal(type, type_of(l));
        assert_true(slice_eq(payload, payload_of(l)));
        X.at++;
    }
    if (event == PLAY_HALF_CLOSED && X.at < X.n) {
        assert_true(X.lines[X.at].is_end);
        X.at++;
    }
    if (event != PLAY_OPEN && x->replayed)
        sdk_goes_on(x);
    if (event == PLAY_HALF_CLOSED && X.at == X.n && x->responded)
        end_response(x);
}

/* ---- what the partition does: the notification that comes next, once everything before it is stored ---- */

static bool step(void)
{
    if (X.at == X.n || X.lines[X.at].is_reset)
        return true;
    struct line *l = &X.lines[X.at];
    bool ours = l->from_server && !l->is_end && type_of(l) != MSG_N_RUN && type_of(l) != MSG_PROPOSE_RUN_ACK;
    size_t applied = F.invocation.journal.len - X.n_known - X.n_injected;
    if (ours && F.n_exchanges > 0 && F.exchanges[0].replayed && applied == X.n_appending &&
        X.injected_at != X.at) {
        X.injected_at = X.at; /* once: the frame is on its way */
        X.n_injected++;
        uint32_t index = append_entry(type_of(l), bytes_copy(payload_of(l)));
        invoker_notify(F.p, &F.invocation, index);
    }
    return false;
}

/* ---- one exchange ---- */

static const char services[] =
    "{\"name\":\"Greeter\",\"ty\":\"SERVICE\",\"handlers\":[%s]},{\"name\":\"Opts\",\"ty\":\"SERVICE\","
    "\"inactivityTimeout\":30,"
    "\"handlers\":[{\"name\":\"inactAll\"},{\"name\":\"inactNested\"},{\"name\":\"inactSleep\"}]},"
    "{\"name\":\"Counter\",\"ty\":\"VIRTUAL_OBJECT\",\"handlers\":[{\"name\":\"add\",\"ty\":\"EXCLUSIVE\"},{"
    "\"name\":\"wipe\",\"ty\":"
    "\"EXCLUSIVE\"},{\"name\":\"keys\",\"ty\":\"SHARED\"}]},{\"name\":\"LazyCounter\",\"ty\":\"VIRTUAL_"
    "OBJECT\",\"enableLazyState\":true,"
    "\"handlers\":[{\"name\":\"add\",\"ty\":\"EXCLUSIVE\"}]},{\"name\":\"Flow\",\"ty\":\"WORKFLOW\","
    "\"handlers\":[{\"name\":\"run\","
    "\"ty\":\"WORKFLOW\"},{\"name\":\"signal\",\"ty\":\"SHARED\"}]}";

static void set_vector_services(void)
{
    static const char *const greeter[] = {
        "greet",    "any",        "attach",  "awake",     "callFail",  "callGreet",  "callIdem", "callObj",
        "cancelMe", "cancelTree", "flaky",   "mismatch",  "rejectAwk", "resolveAwk", "run",      "runFail",
        "runTerm",  "send",       "sendSig", "sideSleep", "sig",       "sleepy",     "terminal"};
    struct writer handlers = WRITER_INIT;
    for (size_t i = 0; i < ARRAY_LEN(greeter); i++)
        write_fmt(&handlers, "%s{\"name\":\"%s\"}", i ? "," : "", greeter[i]);
    char *all = xasprintf(services, text_of(&handlers));
    set_services(all, 5, 7, "BIDI_STREAM", false);
    free(all);
    writer_free(&handlers);
}

static enum target_kind kind_of(void)
{
    const struct schema_handler *h =
        schema_handler(schema_service(F.cell.schema, slice_cstr(X.service)), slice_cstr(X.handler));
    assert_non_null(h);
    return h->kind;
}

/* Journal, state and counters as they must have been, from the captured Start and replay. */
static uint32_t restore(void)
{
    struct reader r = reader_make(payload_of(&X.lines[0]));
    struct pb_field f, s;
    uint32_t retries = 0;
    struct invocation_id id = {0};
    while (pb_next(&r, &f)) {
        if (f.number == 1)
            id = invocation_id_from_bytes(f.bytes.ptr);
        if (f.number == 3)
            X.n_known = f.value;
        if (f.number == 6)
            snprintf(X.key, sizeof(X.key), "%.*s", SLICE_FMT(f.bytes));
        if (f.number == 7)
            retries = (uint32_t)f.value;
        if (f.number == 4) {
            struct reader entry = reader_make(f.bytes);
            while (pb_next(&entry, &s)) {
                if (s.number == 1)
                    snprintf(F.state[F.n_state].key, sizeof(F.state[0].key), "%.*s", SLICE_FMT(s.bytes));
                else
                    F.state[F.n_state].value = bytes_copy(s.bytes);
            }
            F.n_state++;
        }
    }
    enum target_kind kind = kind_of();
    make_invocation(kind, X.service, X.handler, target_is_keyed(kind) ? X.key : NULL);
    drop_invocation();
    F.invocation.commands = 0;
    F.invocation.id = id;
    for (size_t i = 1; i <= X.n_known; i++)
        append_entry(type_of(&X.lines[i]), bytes_copy(payload_of(&X.lines[i])));
    X.at = 1 + X.n_known;
    return retries;
}

static void write_start_without_duration(struct writer *w, struct slice start)
{
    struct reader r = reader_make(start);
    struct pb_field f;
    const uint8_t *from = r.p;
    while (pb_next(&r, &f)) {
        if (f.number != 8)
            write_hex(w, slice_make(from, (size_t)(r.p - from)));
        from = r.p;
    }
}

static void check_replay(const struct exchange *x)
{
    struct writer expected = WRITER_INIT, got = WRITER_INIT;
    write_start_without_duration(&expected, payload_of(&X.lines[0]));
    write_start_without_duration(&got, writer_slice(&x->start));
    assert_string_equal(text_of(&got), text_of(&expected));
    writer_reset(&expected);
    write_fmt(&expected, "start");
    for (size_t i = 1; i <= X.n_known; i++) {
        write_fmt(&expected, "|%04x ", type_of(&X.lines[i]));
        write_hex(&expected, payload_of(&X.lines[i]));
    }
    assert_memory_equal(text_of((struct writer *)&x->frames), text_of(&expected), expected.len);
    writer_free(&expected);
    writer_free(&got);
}

static bool retry_scheduled(void)
{
    struct entry *e = entry_find(F.p, F.invocation.id);
    return e && e->state == ENTRY_BACKOFF;
}

static void check_result(void)
{
    const char *last = NULL;
    switch (X.last_from_sdk) {
    case MSG_END:
        last = "END ";
        break;
    case MSG_SUSPENSION:
        last = X.version == 7 ? "SUSPEND_TREE " : "SUSPEND ";
        break;
    case MSG_ERROR:
        assert_true(run_until(retry_scheduled, 2000));
        return;
    default:
        invoker_abort(F.p, F.invocation.id);
        run_until(all_finished, 1000);
        return;
    }
    assert_true(run_until(has_ended, 2000));
    const char *proposed = text_of(&F.proposed);
    assert_string_equal(proposed + strlen(proposed) - strlen(last), last);
}

static void play_exchange(void)
{
    setup(NULL);
    set_vector_services();
    F.inv->config.enable_v7 = X.version == 7;
    F.play = play_captured;
    uint32_t retries = restore();
    invoker_invoke(F.p, &F.invocation);
    entry_find(F.p, F.invocation.id)->retries_since_command = retries;
    if (!run_until(step, 3000))
        fail_msg("%s: nothing happens at line %zu of %zu", X.name, X.at, X.n);
    check_replay(&F.exchanges[0]);
    check_result();
    teardown(NULL);
}

static void captured_exchanges(void **state)
{
    FILE *file = fopen("test/vectors/service-protocol-exchanges.txt", "r");
    assert_non_null(file);
    static char text[16384];
    int played = 0;
    while (true) {
        char *line = fgets(text, sizeof(text), file);
        if (!line || strncmp(line, "exchange ", 9) == 0) {
            if (X.n > 0) {
                play_exchange();
                played++;
            }
            forget_exchange();
            if (!line)
                break;
            assert_int_equal(sscanf(line, "exchange %31s %d /invoke/%31[^/]/%31s", X.name, &X.version,
                                    X.service, X.handler),
                             4);
        } else if (line[0] == '>' || line[0] == '<') {
            line[strcspn(line, "\n")] = 0;
            parse_line(line);
        }
    }
    fclose(file);
    assert_int_equal(played, 56);
}

int main(void)
{
    log_set_filter("error", NULL);
    const struct CMUnitTest tests[] = {cmocka_unit_test(captured_exchanges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
