/* Objects in the simulator. The state of an object is its log and a few keys more, which follow from the last
 * append (sim_object_extras). A handler reads what it was sent eagerly or asks for it, and writes the whole
 * in one record, so that whoever looks, at any time, finds a log and the keys that belong to it. */
#include <stdio.h>

#include "sim/sim_exec.h"

/* ---- what the attempt was sent eagerly ---- */

struct eager {
    struct slice key;
    uint64_t left;
    bool found, partial;
};

static bool eager_entry(void *ctx, struct slice key, struct bytes value)
{
    struct eager *e = ctx;
    e->partial = key.len + value.len > e->left;
    if (e->partial)
        return false;
    e->left -= key.len + value.len;
    e->found = e->found || slice_eq(key, e->key);
    return true;
}

/* Has the attempt been told of this key, be it that there is none? An empty key: of all keys. The state is
 * still the one of the start: the handler holds the lock and reads before it writes. */
static bool told(const struct exec *x, struct slice key)
{
    struct object_name o = object_name_of(&x->inv->si.target);
    struct eager e = {.key = key, .left = x->eager_limit, .partial = x->eager_limit == 0};
    if (!e.partial)
        store_state_scan(x->store, o.service, o.key, eager_entry, &e);
    object_name_free(&o);
    return e.found || !e.partial;
}

/* ---- reads ---- */

static bool read_lazily(struct exec *x, struct slice key, struct bytes *value)
{
    uint32_t cid = x->next_cid++;
    if (exec_command(x, MSG_GET_LAZY_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, key);
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, MSG_GET_LAZY_STATE, &p);
    }
    struct notification_view view;
    if (!exec_completed(x, cid, &view))
        return false;
    *value = bytes_copy(view.outcome.value);
    return true;
}

/* Recorded with what the SDK was sent, or (`from_state`) with what the state machine finds. */
static void read_eagerly(struct exec *x, struct slice key, bool from_state, struct bytes *value)
{
    const struct journal_entry *stored = exec_stored_command(x, x->command);
    if (stored) {
        struct command_view c;
        enum rc rc = command_decode(MSG_GET_EAGER_STATE, bytes_slice(stored->payload), &c, NULL);
        SIM_CHECK(x->w, rc == RC_OK, "stored GetEagerState does not decode");
        *value = bytes_copy(c.value.value);
        exec_command(x, MSG_GET_EAGER_STATE);
        return;
    }
    struct object_name o = object_name_of(&x->inv->si.target);
    bool found = store_state_get(x->store, o.service, o.key, key, value);
    object_name_free(&o);
    if (!found)
        *value = BYTES_EMPTY;
    if (exec_command(x, MSG_GET_EAGER_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {.value_from_state = from_state};
        pb_write_bytes(&p, 1, key);
        if (!from_state && found)
            exec_put_value(&p, 14, bytes_slice(*value));
        else if (!from_state)
            pb_write_len_header(&p, 13, 0);
        exec_write(x, &e, MSG_GET_EAGER_STATE, &p);
    }
}

/* The value of a key, empty if there is none. False: blocked. */
static bool read_state(struct exec *x, struct slice key, bool from_state, struct bytes *value)
{
    const struct journal_entry *stored = exec_stored_command(x, x->command);
    if (stored ? stored->type == MSG_GET_LAZY_STATE : !told(x, key))
        return read_lazily(x, key, value);
    read_eagerly(x, key, from_state, value);
    return true;
}

static bool add_key(void *ctx, struct slice key, struct bytes value)
{
    pb_write_bytes(ctx, 1, key);
    return true;
}

/* The StateKeys in `field` of the message are those of an object with this log. */
static void check_keys(struct exec *x, struct slice message, uint32_t field, struct slice log)
{
    struct writer expected = WRITER_INIT;
    if (log.len)
        pb_write_bytes(&expected, 1, SLICE_LIT("log"));
    for (uint32_t i = 0; i < sim_object_extras(log); i++) {
        char key[16];
        sim_extra_key(i, key);
        pb_write_bytes(&expected, 1, slice_cstr(key));
    }
    struct reader r = reader_make(message);
    struct pb_field f;
    bool same = false;
    while (pb_next(&r, &f))
        same = same || (f.number == field && slice_eq(f.bytes, writer_slice(&expected)));
    SIM_CHECK(x->w, same, "an object with a log of %zu bytes has other keys", log.len);
    writer_free(&expected);
}

static uint32_t ask_for_keys(struct exec *x)
{
    uint32_t cid = x->next_cid++;
    if (exec_command(x, MSG_GET_LAZY_STATE_KEYS)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, MSG_GET_LAZY_STATE_KEYS, &p);
    }
    return cid;
}

static bool keys_arrived(struct exec *x, uint32_t cid, struct slice log)
{
    struct notification_id id = {.kind = NOTIFICATION_COMPLETION, .index = cid};
    struct notification_view view;
    if (!exec_completed(x, cid, &view))
        return false;
    check_keys(x, bytes_slice(x->inv->journal.items[exec_notification(x, &id)].payload), 17, log);
    return true;
}

/* Before the handler has written anything. False: blocked. */
static bool list_keys(struct exec *x, struct slice log)
{
    const struct journal_entry *stored = exec_stored_command(x, x->command);
    if (stored ? stored->type == MSG_GET_LAZY_STATE_KEYS : !told(x, SLICE_EMPTY))
        return keys_arrived(x, ask_for_keys(x), log);
    if (stored)
        check_keys(x, bytes_slice(stored->payload), 14, log);
    if (exec_command(x, MSG_GET_EAGER_STATE_KEYS)) {
        struct writer p = WRITER_INIT, keys = WRITER_INIT;
        struct effect e = {0};
        struct object_name o = object_name_of(&x->inv->si.target);
        store_state_scan(x->store, o.service, o.key, add_key, &keys);
        object_name_free(&o);
        pb_write_bytes_always(&p, 14, writer_slice(&keys));
        writer_free(&keys);
        check_keys(x, writer_slice(&p), 14, log);
        exec_write(x, &e, MSG_GET_EAGER_STATE_KEYS, &p);
    }
    return true;
}

static bool read_extra(struct exec *x, struct slice log, bool from_state)
{
    struct bytes value;
    if (!read_state(x, SLICE_LIT("x0"), from_state, &value))
        return false;
    struct slice expected = sim_object_extras(log) ? slice_sub(log, log.len - 16, 16) : SLICE_EMPTY;
    SIM_CHECK(x->w, slice_eq(bytes_slice(value), expected), "x0 does not belong to the log");
    bytes_unref(&value);
    return true;
}

/* ---- writes ---- */

static void set(struct exec *x, struct slice key, struct slice value)
{
    if (exec_command(x, MSG_SET_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, key);
        exec_put_value(&p, 3, value);
        exec_write(x, &e, MSG_SET_STATE, &p);
    }
}

static void clear(struct exec *x, struct slice key)
{
    if (exec_command(x, MSG_CLEAR_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, key);
        exec_write(x, &e, MSG_CLEAR_STATE, &p);
    }
}

/* From what belongs to the old log to what belongs to the new one. */
static void write_state(struct exec *x, struct slice old_log, struct slice log, bool clear_all)
{
    char key[16];
    if (clear_all)
        exec_simple_command(x, MSG_CLEAR_ALL_STATE);
    for (uint32_t i = 0; !clear_all && i < sim_object_extras(old_log); i++) {
        sim_extra_key(i, key);
        clear(x, slice_cstr(key));
    }
    set(x, SLICE_LIT("log"), log);
    for (uint32_t i = 0; i < sim_object_extras(log); i++) {
        sim_extra_key(i, key);
        set(x, slice_cstr(key), slice_sub(log, log.len - 16, 16));
    }
}

/* A key that is set and cleared again. */
static bool touch(struct exec *x, struct slice log)
{
    set(x, SLICE_LIT("touched"), SLICE_LIT("soon gone"));
    clear(x, SLICE_LIT("touched"));
    return keys_arrived(x, ask_for_keys(x), log);
}

/* ---- handlers ---- */

/* What a handler does before it writes. False: blocked. */
static bool prepare(struct exec *x, uint64_t variant, struct slice log)
{
    struct notification_view view;
    if ((variant & 32) && !read_extra(x, log, variant & 64))
        return false;
    if ((variant & 128) && !list_keys(x, log))
        return false;
    if ((variant & 6) == 2 && !exec_run(x, NULL, &view))
        return false;
    if ((variant & 6) == 4 && !exec_completed(x, exec_sleep(x, variant % 20), &view))
        return false;
    return (variant & 24) != 8 || touch(x, log);
}

static void append(struct exec *x, uint64_t variant, struct slice old_log, struct slice input)
{
    struct writer log = WRITER_INIT;
    write_slice_raw(&log, old_log);
    write_slice_raw(&log, input);
    write_state(x, old_log, writer_slice(&log), variant & 256);
    if (!(variant & 512) || keys_arrived(x, ask_for_keys(x), writer_slice(&log)))
        exec_end(x, slice_sub(input, 0, 8));
    writer_free(&log);
}

void sim_handle_object(struct exec *x, struct slice input)
{
    SIM_CHECK(x->w, input.len == 16, "input of %zu bytes", input.len);
    uint64_t variant = get_u64be(input.ptr) ^ get_u64be(input.ptr + 8);
    struct bytes log;
    if (!read_state(x, SLICE_LIT("log"), variant & 64, &log))
        return;
    if (prepare(x, variant, bytes_slice(log)))
        append(x, variant, bytes_slice(log), input);
    bytes_unref(&log);
}

/* Log and keys are asked for in one record: they belong together, though nobody is locked out. */
void sim_handle_reader(struct exec *x)
{
    struct notification_view log;
    uint32_t cid = x->next_cid++;
    if (exec_command(x, MSG_GET_LAZY_STATE)) {
        struct writer p = WRITER_INIT;
        struct effect e = {0};
        pb_write_bytes(&p, 1, SLICE_LIT("log"));
        pb_write_u64(&p, 11, cid);
        exec_write(x, &e, MSG_GET_LAZY_STATE, &p);
    }
    uint32_t keys = ask_for_keys(x);
    if (exec_completed(x, cid, &log) && keys_arrived(x, keys, log.outcome.value))
        exec_end(x, SLICE_LIT("seen"));
}

/* Holds the lock of an object for a while: nobody patches its state meanwhile. */
void sim_handle_patched(struct exec *x, struct slice input)
{
    struct notification_view view;
    struct bytes before, after;
    SIM_CHECK(x->w, input.len == 8, "input of %zu bytes", input.len);
    uint64_t ms = get_u64be(input.ptr);
    if (!read_state(x, SLICE_LIT("k0"), ms & 1, &before))
        return;
    if (exec_completed(x, exec_sleep(x, ms % 40), &view) && read_lazily(x, SLICE_LIT("k0"), &after)) {
        SIM_CHECK(x->w, slice_eq(bytes_slice(before), bytes_slice(after)),
                  "state was patched under the lock");
        bytes_unref(&after);
        exec_end(x, SLICE_LIT("held"));
    }
    bytes_unref(&before);
}
